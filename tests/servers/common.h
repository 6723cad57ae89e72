/*
 * What the reference servers share: connections in clear or under TLS, logins, faults to order.
 *
 * It shares nothing with the product on purpose, so that it cannot mirror a mistake: one thread for each session,
 * blocking reads, OpenSSL. Every byte that is received is recorded after decryption. Faults come from a file that may
 * change while the server runs, a line each:
 *
 *   POINT:N=ACTION    N counts from 1 since the file was written ("*": each time; for body: after N bytes)
 *
 * Which points and actions there are each server says.
 */
#ifndef TESTS_SERVERS_COMMON_H
#define TESTS_SERVERS_COMMON_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SERVER_FAULTS_MAX 64

enum server_tls { SERVER_CLEAR, SERVER_STARTTLS, SERVER_IMPLICIT };

/* A server's own struct begins with it. */
struct server {
    enum server_tls tls;
    SSL_CTX *context;
    const char *mechanisms; /* "PLAIN LOGIN"; NULL: no AUTH, and none is needed */
    const char *user, *password;
    const char *store;    /* directory; NULL: none */
    const char *faults;   /* file; NULL: none */
    FILE *wire;           /* NULL: not recorded */
    pthread_mutex_t lock; /* wire, faults, and what the server adds */
    struct server_fault {
        char point[24], action[512];
        long at; /* 0: each time */
        long seen;
    } fault[SERVER_FAULTS_MAX];
    size_t faults_len;
    int64_t faults_stamp;
};

/* One side of a connection. */
struct server_io {
    struct server *server;
    int fd;
    SSL *ssl;
    char input[65536];
    size_t at, len;
    bool is_over;
    bool is_slow; /* writes byte by byte */
};

/* ---- common_serve.c ---- */

/* What makes a server of one protocol. */
struct server_kind {
    const char *usage; /* of its own options */
    /* Takes an option of its own: how many words it was, 0 if it is unknown. */
    int (*take_option)(struct server *server, const char *name, const char *value);
    void (*start)(struct server *server);  /* before it listens; may be NULL */
    void (*session)(struct server_io *io); /* serves one connection to its end, in a thread of its own */
};

/* Reads the command line, listens on loopback, prints "ready PORT", and serves until it is killed. */
_Noreturn void server_run(struct server *server, int argc, char **argv, const struct server_kind *kind);
_Noreturn void server_fail(const char *what);

/* ---- common_io.c ---- */

/* The next byte, or -1 at the end. */
int server_get(struct server_io *io);
/* A line without its end; -1 at the end of the connection or if it is longer than `size` - 1. */
long server_get_line(struct server_io *io, char *line, size_t size);
/* True if there is something to read that poll() would not tell of. */
bool server_has_input(const struct server_io *io);
void server_write(struct server_io *io, const char *bytes, size_t len);
/* At most 8 KiB. */
void server_put(struct server_io *io, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What was buffered in clear is thrown away. */
bool server_start_tls(struct server_io *io);
/* Closes at once, without a word; what has come and is not read yet is lost. */
void server_cut(struct server_io *io);
/* Says nothing until the peer goes away. */
void server_stall(struct server_io *io);

/* ---- common_fault.c ---- */

/* Copies what is ordered for this point now into `action_out` and gives that back; NULL: nothing. Counts the visit. */
const char *server_fault_at(struct server *server, const char *point, char action_out[512]);
/* Bytes of a body after which a fault is due, or -1; `action_out` says which. */
long server_fault_in_body(struct server *server, char action_out[512]);

/* ---- common_sasl.c ---- */

enum server_sasl { SERVER_SASL_GOOD, SERVER_SASL_BAD, SERVER_SASL_MALFORMED, SERVER_SASL_UNKNOWN };

/* Sends a challenge (base64) as the protocol has it; takes the answer's line as server_get_line does. */
typedef long (*server_challenge_fn)(struct server_io *io, const char *challenge, char *line, size_t size);
/* Carries out a login; `initial` (base64) may be NULL; `login_out` gets the name. */
enum server_sasl server_sasl(struct server_io *io, const char *mechanism, const char *initial,
                             server_challenge_fn challenge, char *login_out, size_t login_size);
bool server_is_login(const struct server *server, const char *user, const char *password);

#endif
