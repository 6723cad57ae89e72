/*
 * The connection to a directory. libldap reads and writes one end of a pair of sockets and never waits: what it has
 * written is taken from the other end and sent, what has come is put in there and libldap asked what it makes of it.
 */
#include "keyring/ldap_internal.h"

#include "base/log.h"

#include <errno.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE_MAX ((size_t)16384)
#define INPUT_MAX ((size_t)65536)
#define OUTPUT_MAX ((size_t)262144)
#define GREETING_MAX 65536u /* bytes before a question may be asked */
/* A message may be as long as an answer, and what stands around the values. */
#define MESSAGE_MAX ((ber_len_t)KEYRING_LDAP_ANSWER_MAX + 65536)

static void lose(struct keyring_ldap *ldap, const char *problem)
{
    ldap_link_close(ldap);
    ldap_on_lost(ldap, problem);
}

void ldap_link_close(struct keyring_ldap *ldap)
{
    ldap->state = LDAP_OFF;
    if (ldap->handle != NULL)
        (void)ldap_unbind_ext(ldap->handle, NULL, NULL);
    ldap->handle = NULL;
    if (ldap->pair >= 0)
        close(ldap->pair);
    ldap->pair = -1;
    conn_free(&ldap->conn);
    ldap->received = ldap->received_at = 0;
}

void ldap_link_flush(struct keyring_ldap *ldap)
{
    char bytes[PIECE_MAX];
    ssize_t len;
    while (ldap->conn != NULL && (len = read(ldap->pair, bytes, sizeof(bytes))) > 0) {
        enum err err = conn_write_secret(ldap->conn, (struct span){bytes, (size_t)len});
        secret_wipe(bytes, (size_t)len);
        if (err != ERR_OK)
            log_failure(err, "directory %s: asking", ldap->options->name);
    }
}

static void say_failure(struct keyring_ldap *ldap, const char *doing, int code, const char *detail)
{
    char problem[LDAP_PROBLEM_SIZE];
    const bool has_detail = detail != NULL && detail[0] != '\0';
    snprintf(problem, sizeof(problem), "%s: %s%s%.100s", doing, ldap_err2string(code), has_detail ? ", " : "",
             has_detail ? detail : "");
    lose(ldap, problem);
}

static void log_in(struct keyring_ldap *ldap)
{
    const struct keyring_ldap_options *options = ldap->options;
    struct berval password = {0, NULL}, empty = {0, (char[]){""}};
    int code;
    if (!options->is_external && options->bind_dn[0] == '\0') {
        ldap->state = LDAP_OPEN;
        ldap_on_open(ldap);
        return;
    }
    ldap->state = LDAP_BINDING;
    if (options->is_external) {
        /* Empty, not none: the name is what the channel shows (RFC 4422, appendix A). */
        code = ldap_sasl_bind(ldap->handle, NULL, "EXTERNAL", &empty, NULL, NULL, &ldap->message);
    } else {
        /* An empty password would be no login at all (RFC 4513 §5.1.2). */
        if (ldap->password == NULL || ldap->password->len == 0) {
            lose(ldap, "there is no password; see what password_command prints");
            return;
        }
        password = (struct berval){ldap->password->len, ldap->password->data};
        code = ldap_sasl_bind(ldap->handle, options->bind_dn, LDAP_SASL_SIMPLE, &password, NULL, NULL, &ldap->message);
    }
    ldap_link_flush(ldap);
    if (code != LDAP_SUCCESS)
        say_failure(ldap, "logging in", code, NULL);
}

static void ask_tls(struct keyring_ldap *ldap)
{
    ldap->state = LDAP_ASKING_TLS;
    const int code = ldap_start_tls(ldap->handle, NULL, NULL, &ldap->message);
    ldap_link_flush(ldap);
    if (code != LDAP_SUCCESS)
        say_failure(ldap, "StartTLS", code, NULL);
}

static void on_ready(struct conn *conn, void *owner)
{
    struct keyring_ldap *ldap = owner;
    (void)conn;
    if (ldap->state == LDAP_CONNECTING && ldap->options->security == KEYRING_LDAP_STARTTLS)
        ask_tls(ldap);
    else if (ldap->state == LDAP_CONNECTING || ldap->state == LDAP_HANDSHAKE)
        log_in(ldap);
}

static void take_greeting(struct keyring_ldap *ldap, LDAPMessage *message)
{
    const bool is_tls = ldap->state == LDAP_ASKING_TLS;
    const char *doing = is_tls ? "StartTLS" : "logging in";
    char *detail = NULL;
    int code = LDAP_PROTOCOL_ERROR;
    if (ldap_msgid(message) != ldap->message)
        return;
    if (ldap_msgtype(message) == (is_tls ? (int)LDAP_RES_EXTENDED : (int)LDAP_RES_BIND))
        if (ldap_parse_result(ldap->handle, message, &code, NULL, &detail, NULL, NULL, 0) != LDAP_SUCCESS)
            code = LDAP_DECODING_ERROR;
    ldap->is_refused = !is_tls && !ldap->options->is_external && code == LDAP_INVALID_CREDENTIALS;
    if (code != LDAP_SUCCESS) {
        say_failure(ldap, doing, code, detail);
    } else if (is_tls) {
        ldap->state = LDAP_HANDSHAKE;
        if (conn_start_tls_client(ldap->conn, ldap->tls, ldap->options->host) != ERR_OK)
            lose(ldap, "TLS could not be started");
    } else {
        ldap->was_taken = true;
        ldap->state = LDAP_OPEN;
        ldap_on_open(ldap);
    }
    ldap_memfree(detail);
}

/* Bytes that libldap has not read yet. */
static int unread(LDAP *handle)
{
    int fd = -1, len = 0;
    if (ldap_get_option(handle, LDAP_OPT_DESC, &fd) != LDAP_OPT_SUCCESS || ioctl(fd, FIONREAD, &len) != 0)
        return 0;
    return len;
}

/* All that libldap can make of what it has. A message that answers no question of ours it throws away, and says that
   there is nothing. */
static void take_messages(struct keyring_ldap *ldap)
{
    LDAP *const handle = ldap->handle;
    while (ldap->handle == handle && handle != NULL) {
        struct timeval now = {0, 0};
        LDAPMessage *message = NULL;
        const int before = unread(handle);
        const int type = ldap_result(handle, LDAP_RES_ANY, LDAP_MSG_ONE, &now, &message);
        if (type == 0 && unread(handle) < before)
            continue;
        if (type == 0)
            return;
        if (type < 0) {
            lose(ldap, "the answer is no LDAP, or too long");
            return;
        }
        if (ldap->state == LDAP_OPEN)
            ldap_on_message(ldap, message);
        else
            take_greeting(ldap, message);
        (void)ldap_msgfree(message);
    }
}

static bool is_too_much(const struct keyring_ldap *ldap)
{
    const uint64_t since = ldap->received - ldap->received_at;
    return since > (ldap->state == LDAP_OPEN ? KEYRING_LDAP_ANSWER_MAX * 2 : GREETING_MAX);
}

static void on_input(struct conn *conn, void *owner)
{
    struct keyring_ldap *ldap = owner;
    char bytes[PIECE_MAX];
    size_t len;
    while (ldap->conn == conn && (len = evbuffer_get_length(conn_input(conn))) > 0) {
        /* What follows the answer to StartTLS in clear is nobody's word: it is left for conn_start_tls_client to throw
           away. */
        size_t piece = ldap->state == LDAP_ASKING_TLS ? 1 : len < sizeof(bytes) ? len : sizeof(bytes);
        const int count = evbuffer_remove(conn_input(conn), bytes, piece);
        if (count <= 0 || write(ldap->pair, bytes, (size_t)count) != count) {
            lose(ldap, "libldap does not read");
            return;
        }
        ldap->received += (uint64_t)count;
        if (is_too_much(ldap)) {
            lose(ldap, "the answer has no end");
            return;
        }
        take_messages(ldap);
    }
}

static void on_close(struct conn *conn, enum err why, void *owner)
{
    struct keyring_ldap *ldap = owner;
    (void)conn;
    lose(ldap, why == ERR_END ? "the server closed the connection" : err_sentence(why));
}

static const struct conn_handlers handlers = {.on_ready = on_ready, .on_input = on_input, .on_close = on_close};

static enum err connect_local(const struct keyring_ldap *ldap, const struct conn_options *options, struct conn **conn)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", ldap->options->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_of_errno(errno);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        log_warning("directory %s: %s: %s", ldap->options->name, address.sun_path, strerror(errno));
        close(fd);
        return ERR_UPSTREAM_DOWN;
    }
    return conn_accept(options, fd, NULL, conn);
}

static enum err open_conn(struct keyring_ldap *ldap)
{
    const struct conn_options options = {
        .base = ldap->base, .handlers = &handlers, .owner = ldap, .input_max = INPUT_MAX, .output_max = OUTPUT_MAX};
    const bool needs_tls =
        ldap->options->security == KEYRING_LDAP_TLS || ldap->options->security == KEYRING_LDAP_STARTTLS;
    if (needs_tls && ldap->tls == NULL)
        return ERR_UPSTREAM_TLS;
    enum err err = ldap->options->security == KEYRING_LDAP_LOCAL
                       ? connect_local(ldap, &options, &ldap->conn)
                       : conn_connect(&options, ldap->dns, ldap->options->host, ldap->options->port,
                                      ldap->options->security == KEYRING_LDAP_TLS ? ldap->tls : NULL,
                                      ldap->options->timeout_ms, &ldap->conn);
    if (err == ERR_OK)
        conn_doing(ldap->conn, "asking a directory");
    return err;
}

/* libldap owns its end from here on, also on failure. */
static enum err open_handle(struct keyring_ldap *ldap)
{
    int ends[2];
    const int version = LDAP_VERSION3;
    ber_len_t most = MESSAGE_MAX;
    Sockbuf *buffer = NULL;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return err_of_errno(errno);
    ldap->pair = ends[0];
    if (ldap_init_fd(ends[1], LDAP_PROTO_TCP, NULL, &ldap->handle) != LDAP_SUCCESS) {
        close(ends[1]);
        ldap->handle = NULL;
        return ERR_MEMORY;
    }
    if (ldap_set_option(ldap->handle, LDAP_OPT_PROTOCOL_VERSION, &version) != LDAP_OPT_SUCCESS ||
        ldap_set_option(ldap->handle, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) != LDAP_OPT_SUCCESS ||
        ldap_get_option(ldap->handle, LDAP_OPT_SOCKBUF, &buffer) != LDAP_OPT_SUCCESS ||
        ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &most) < 0)
        return ERR_INTERNAL;
    return ERR_OK;
}

enum err ldap_link_open(struct keyring_ldap *ldap, char problem[LDAP_PROBLEM_SIZE])
{
    enum err err = open_handle(ldap);
    if (err == ERR_OK)
        err = open_conn(ldap);
    if (err == ERR_OK) {
        ldap->state = LDAP_CONNECTING;
        return ERR_OK;
    }
    ldap_link_close(ldap);
    snprintf(problem, LDAP_PROBLEM_SIZE, "connecting: %s", err_sentence(err));
    return ERR_LOOKUP;
}

void keyring_ldap_init(void)
{
    LDAP *handle = NULL;
    /* ldap.conf and .ldaprc could change what is asked, and whom is trusted. */
    (void)setenv("LDAPNOINIT", "1", 1);
    if (ldap_initialize(&handle, NULL) == LDAP_SUCCESS)
        (void)ldap_unbind_ext(handle, NULL, NULL);
}
