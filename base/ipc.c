#include "base/ipc.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What stands before each field. Both ends are the same program on the same machine, so numbers keep its byte order. */
enum tag { TAG_U32 = 'n', TAG_U64 = 'N', TAG_SPAN = 's', TAG_FILE = 'f' };

/* The kernel's own overhead counts against the socket's buffer, so one message needs more than its size. */
#define SOCKET_BUFFER_SIZE (2 * IPC_SIZE_MAX)

enum err ipc_pair(bool is_first_async, int ends[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return err_of_errno(errno);
    const int size = SOCKET_BUFFER_SIZE;
    for (int i = 0; i < 2; i++)
        (void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (is_first_async && fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) {
        enum err err = err_of_errno(errno);
        close(ends[0]);
        close(ends[1]);
        ends[0] = ends[1] = -1;
        return err;
    }
    return ERR_OK;
}

/* Writing. */

static void put(struct ipc_out *out, const void *bytes, size_t count)
{
    if (out->err == ERR_OK)
        out->err = buf_add(&out->bytes, bytes, count);
}

static void put_tag(struct ipc_out *out, enum tag tag)
{
    const char byte = (char)tag;
    put(out, &byte, 1);
}

void ipc_out_begin(struct ipc_out *out, uint16_t type)
{
    *out = (struct ipc_out){.err = ERR_OK};
    buf_init_secret(&out->bytes, IPC_SIZE_MAX);
    put(out, &type, sizeof type);
}

uint16_t ipc_out_type(const struct ipc_out *out)
{
    uint16_t type = 0;
    if (out->bytes.len >= sizeof type)
        memcpy(&type, out->bytes.data, sizeof type);
    return type;
}

void ipc_put_u32(struct ipc_out *out, uint32_t number)
{
    put_tag(out, TAG_U32);
    put(out, &number, sizeof number);
}

void ipc_put_u64(struct ipc_out *out, uint64_t number)
{
    put_tag(out, TAG_U64);
    put(out, &number, sizeof number);
}

void ipc_put_span(struct ipc_out *out, struct span bytes)
{
    if (bytes.len > IPC_SIZE_MAX) {
        out->err = ERR_LIMIT;
        return;
    }
    const uint32_t len = (uint32_t)bytes.len;
    put_tag(out, TAG_SPAN);
    put(out, &len, sizeof len);
    put(out, bytes.ptr, bytes.len);
}

void ipc_put_string(struct ipc_out *out, const char *string)
{
    ipc_put_span(out, span_of(string));
}

void ipc_put_file(struct ipc_out *out, int fd)
{
    if (fd < 0 || out->files_len == IPC_FILES_MAX) {
        out->err = fd < 0 ? ERR_INTERNAL : ERR_LIMIT;
        return;
    }
    put_tag(out, TAG_FILE);
    out->files[out->files_len++] = fd;
}

/* Room for the files of one message, aligned for the kernel's header. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * IPC_FILES_MAX)];
};

static void attach_files(const struct ipc_out *out, struct msghdr *message, union control *control)
{
    const size_t size = out->files_len * sizeof(int);
    if (size == 0)
        return;
    message->msg_control = control->bytes;
    message->msg_controllen = CMSG_SPACE(size);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(header), out->files, size);
}

static enum err socket_error(int errno_value)
{
    switch (errno_value) {
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return ERR_END;
    case ENOBUFS:
        return ERR_MEMORY;
    case EAGAIN:
        return ERR_AGAIN;
    default:
        return log_failure(err_of_errno(errno_value), "a socket between processes: %s", strerror(errno_value));
    }
}

static enum err send_with(int socket, struct ipc_out *out, int flags)
{
    enum err err = out->err;
    if (err == ERR_OK) {
        union control control = {.bytes = {0}};
        struct iovec piece = {.iov_base = out->bytes.data, .iov_len = out->bytes.len};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        attach_files(out, &message, &control);
        ssize_t sent;
        do {
            sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
        } while (sent < 0 && errno == EINTR);
        err = sent < 0 ? socket_error(errno) : ERR_OK;
    }
    return err;
}

enum err ipc_send(int socket, struct ipc_out *out)
{
    enum err err = send_with(socket, out, 0);
    ipc_out_fini(out);
    return err;
}

enum err ipc_send_now(int socket, struct ipc_out *out)
{
    enum err err = send_with(socket, out, MSG_DONTWAIT);
    if (err != ERR_AGAIN)
        ipc_out_fini(out);
    return err;
}

void ipc_out_fini(struct ipc_out *out)
{
    buf_fini(&out->bytes);
    out->files_len = 0;
}

/* Reading. */

/* The length of the datagram that waits, without taking it. */
static enum err peek_length(int socket, size_t *len_out)
{
    char byte;
    ssize_t len;
    do {
        len = recv(socket, &byte, sizeof byte, MSG_PEEK | MSG_TRUNC);
    } while (len < 0 && errno == EINTR);
    if (len < 0)
        return socket_error(errno);
    *len_out = (size_t)len;
    /* An empty datagram looks the same as the end; no sender of ours makes one. */
    return len == 0 ? ERR_END : ERR_OK;
}

/* Takes ownership of the files that came. False if there were more than a message may have, or other control data. */
static bool take_files(struct ipc_in *in, struct msghdr *message)
{
    bool is_good = (message->msg_flags & MSG_CTRUNC) == 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
            is_good = false;
            continue;
        }
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (in->files_len < IPC_FILES_MAX) {
                in->files[in->files_len++] = fd;
            } else {
                close(fd);
                is_good = false;
            }
        }
    }
    return is_good;
}

/* Receives the datagram of in->len bytes into in->data. */
static enum err take_datagram(int socket, struct ipc_in *in)
{
    union control control;
    struct iovec piece = {.iov_base = in->data, .iov_len = in->len};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t len;
    do {
        len = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (len < 0 && errno == EINTR);
    if (len < 0)
        return socket_error(errno);
    bool has_files = take_files(in, &message);
    bool is_whole = (size_t)len == in->len && (message.msg_flags & MSG_TRUNC) == 0;
    return has_files && is_whole ? ERR_OK : ERR_PEER_PROTOCOL;
}

/* A datagram beyond the limits is still taken off the queue, so that the caller cannot be made to look at it for ever.
 */
static enum err refuse_datagram(int socket)
{
    char byte;
    /* Without room for control data the kernel closes the files that came with it. */
    ssize_t ignored = recv(socket, &byte, sizeof byte, 0);
    (void)ignored;
    return ERR_PEER_PROTOCOL;
}

enum err ipc_recv(int socket, struct ipc_in *in)
{
    *in = (struct ipc_in){.err = ERR_OK};
    enum err err = peek_length(socket, &in->len);
    if (err != ERR_OK)
        return err;
    if (in->len < sizeof in->type || in->len > IPC_SIZE_MAX)
        return refuse_datagram(socket);
    in->data = malloc(in->len);
    if (!in->data)
        return ERR_MEMORY;
    err = take_datagram(socket, in);
    if (err != ERR_OK) {
        ipc_in_fini(in);
        return err;
    }
    memcpy(&in->type, in->data, sizeof in->type);
    in->at = sizeof in->type;
    return ERR_OK;
}

uint16_t ipc_type(const struct ipc_in *in)
{
    return in->type;
}

/* The next `count` bytes, or NULL (and the message is malformed from here on) if there are fewer. */
static const char *get(struct ipc_in *in, size_t count)
{
    if (in->err != ERR_OK || count > in->len - in->at) {
        in->err = ERR_PEER_PROTOCOL;
        return NULL;
    }
    const char *bytes = in->data + in->at;
    in->at += count;
    return bytes;
}

static bool get_tag(struct ipc_in *in, enum tag tag)
{
    const char *byte = get(in, 1);
    if (byte && *byte != (char)tag)
        in->err = ERR_PEER_PROTOCOL;
    return in->err == ERR_OK;
}

uint32_t ipc_get_u32(struct ipc_in *in)
{
    uint32_t number = 0;
    const char *bytes = get_tag(in, TAG_U32) ? get(in, sizeof number) : NULL;
    if (bytes)
        memcpy(&number, bytes, sizeof number);
    return number;
}

uint64_t ipc_get_u64(struct ipc_in *in)
{
    uint64_t number = 0;
    const char *bytes = get_tag(in, TAG_U64) ? get(in, sizeof number) : NULL;
    if (bytes)
        memcpy(&number, bytes, sizeof number);
    return number;
}

struct span ipc_get_span(struct ipc_in *in)
{
    uint32_t len;
    const char *bytes = get_tag(in, TAG_SPAN) ? get(in, sizeof len) : NULL;
    if (!bytes)
        return SPAN_NONE;
    memcpy(&len, bytes, sizeof len);
    bytes = get(in, len);
    return bytes ? (struct span){bytes, len} : SPAN_NONE;
}

void ipc_get_string(struct ipc_in *in, char *target, size_t target_size)
{
    if (!span_copy(ipc_get_span(in), target, target_size))
        in->err = ERR_PEER_PROTOCOL;
}

int ipc_get_file(struct ipc_in *in)
{
    if (!get_tag(in, TAG_FILE))
        return -1;
    if (in->files_taken == in->files_len) {
        in->err = ERR_PEER_PROTOCOL;
        return -1;
    }
    return in->files[in->files_taken++];
}

enum err ipc_in_end(struct ipc_in *in)
{
    if (in->at != in->len || in->files_taken != in->files_len)
        in->err = ERR_PEER_PROTOCOL;
    return in->err;
}

void ipc_in_fini(struct ipc_in *in)
{
    for (size_t i = in->files_taken; i < in->files_len; i++)
        close(in->files[i]);
    if (in->data)
        secret_wipe(in->data, in->len);
    free(in->data);
    *in = (struct ipc_in){.err = ERR_PEER_PROTOCOL};
}
