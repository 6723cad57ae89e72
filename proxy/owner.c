#include "proxy/owner.h"

#include "base/log.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

enum err proxy_owner_open(int *diag_out)
{
    const struct timeval wait = {1, 0};
    int diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag < 0)
        return err_of_errno(errno);
    /* The kernel answers at once; should it not, the loop must not hang. */
    setsockopt(diag, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    *diag_out = diag;
    return ERR_OK;
}

/* Fills in the pair of addresses as the peer's own socket has them: its source is our destination. */
static bool fill_id(int fd, struct inet_diag_req_v2 *request)
{
    union address here, there;
    socklen_t here_len = sizeof(here), there_len = sizeof(there);
    if (getsockname(fd, &here.any, &here_len) != 0 || getpeername(fd, &there.any, &there_len) != 0)
        return false;
    request->sdiag_family = (uint8_t)here.any.sa_family;
    if (here.any.sa_family == AF_INET) {
        request->id.idiag_sport = there.v4.sin_port;
        request->id.idiag_dport = here.v4.sin_port;
        request->id.idiag_src[0] = there.v4.sin_addr.s_addr;
        request->id.idiag_dst[0] = here.v4.sin_addr.s_addr;
        return true;
    }
    if (here.any.sa_family != AF_INET6)
        return false;
    request->id.idiag_sport = there.v6.sin6_port;
    request->id.idiag_dport = here.v6.sin6_port;
    memcpy(request->id.idiag_src, &there.v6.sin6_addr, sizeof(request->id.idiag_src));
    memcpy(request->id.idiag_dst, &here.v6.sin6_addr, sizeof(request->id.idiag_dst));
    return true;
}

enum err proxy_owner_of(int diag, int fd, uid_t *uid_out)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } question = {
        .header = {.nlmsg_len = sizeof(question), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_protocol = IPPROTO_TCP,
                    .idiag_states = ~0u,
                    .id = {.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}}};
    union {
        struct nlmsghdr header;
        char bytes[2048];
    } answer;
    if (!fill_id(fd, &question.request))
        return ERR_NOT_FOUND;
    /* An answer that was not waited for long enough must not be taken for the next one's. */
    static uint32_t number;
    question.header.nlmsg_seq = ++number;
    while (recv(diag, &answer, sizeof(answer), MSG_DONTWAIT) > 0)
        continue;
    if (send(diag, &question, sizeof(question), 0) != (ssize_t)sizeof(question))
        return err_of_errno(errno);
    ssize_t len = recv(diag, &answer, sizeof(answer), 0);
    if (len < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        answer.header.nlmsg_seq != number)
        return ERR_NOT_FOUND;
    const struct inet_diag_msg *found = NLMSG_DATA(&answer.header);
    /* Where no connection fits, the kernel names a socket that listens at the peer's address. */
    if (found->id.idiag_sport != question.request.id.idiag_sport ||
        found->id.idiag_dport != question.request.id.idiag_dport)
        return ERR_NOT_FOUND;
    /* A socket whose owner has let go of it (time-wait) belongs to root in this table, but has no inode. */
    if (found->idiag_inode == 0)
        return ERR_NOT_FOUND;
    *uid_out = found->idiag_uid;
    return ERR_OK;
}

enum err proxy_owner_check(int diag, struct conn *client)
{
    uid_t uid = 0;
    if (!conn_is_loopback(client)) {
        /* Nobody beyond this machine has been given a way yet. */
        log_warning("%s: login from beyond this machine refused", conn_peer(client));
        return ERR_NOT_OWNER;
    }
    enum err err = proxy_owner_of(diag, conn_fd(client), &uid);
    if (err == ERR_OK && (uid == 0 || uid == getuid()))
        return ERR_OK;
    if (err == ERR_OK)
        log_warning("%s: login from a socket of user %u refused", conn_peer(client), (unsigned)uid);
    else
        log_warning("%s: login refused: whose socket it is cannot be learnt (%s)", conn_peer(client), err_name(err));
    return ERR_NOT_OWNER;
}
