/*
 * The reference SMTP server of the tests: obedient, honest, and wrong to order.
 *
 * It shares nothing with smtp/ on purpose, so that it cannot mirror a mistake: one thread for each session, blocking
 * reads, OpenSSL. It stores what it accepts (N.eml and N.json), records every byte that it receives after decryption,
 * and takes its faults from a file that may change while it runs:
 *
 *   POINT:N=ACTION    POINT is connect banner ehlo starttls auth mail rcpt data body dot rset quit; N counts from 1
 * since the file was written ("*": each time; for body: after N bytes). ACTION is a reply ("550 5.1.1 no such user"),
 * or cut (close at once), stall (say nothing until the peer goes away), late (carry out, then close without the reply),
 * inject (starttls: clear text after the 220), missing (starttls, and every word of EHLO: not offered), garbage (a line
 * that is no reply), endless (a reply without end), unsolicited (a reply too many).
 */
#ifndef TESTS_SERVERS_SMTPD_H
#define TESTS_SERVERS_SMTPD_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum smtpd_tls { SMTPD_CLEAR, SMTPD_STARTTLS, SMTPD_IMPLICIT };

struct smtpd {
    enum smtpd_tls tls;
    SSL_CTX *context;
    const char *features;   /* words of EHLO, separated by commas: "PIPELINING,SIZE=1000000,8BITMIME" */
    const char *mechanisms; /* "PLAIN LOGIN"; NULL: no AUTH, and none is needed */
    const char *user, *password;
    const char *store;    /* directory; NULL: accepted mail is counted and dropped */
    const char *faults;   /* file; NULL: none */
    FILE *wire;           /* NULL: not recorded */
    bool is_lenient;      /* a line ends at a bare LF too, as in servers that can be smuggled to */
    pthread_mutex_t lock; /* wire, number, faults */
    unsigned number;      /* of the last message */
    struct smtpd_fault {
        char point[16], action[512];
        long at; /* 0: each time */
        long seen;
    } fault[64];
    size_t faults_len;
    int64_t faults_stamp;
};

/* One side of a connection, in clear or under TLS. */
struct smtpd_io {
    struct smtpd *server;
    int fd;
    SSL *ssl;
    char input[65536];
    size_t at, len;
    bool is_over;
};

/* The next byte, or -1 at the end. */
int smtpd_get(struct smtpd_io *io);
/* A line without its end; -1 at the end of the connection or if it is longer than `size` - 1. */
long smtpd_get_line(struct smtpd_io *io, char *line, size_t size);
void smtpd_put(struct smtpd_io *io, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool smtpd_start_tls(struct smtpd_io *io);

/* What is ordered for this point now; NULL: nothing. Counts the visit. Valid until the file changes. */
const char *smtpd_fault_at(struct smtpd *server, const char *point);
/* Bytes of a body after which a fault is due, or -1; `*action_out` says which. */
long smtpd_fault_in_body(struct smtpd *server, const char **action_out);

/* Carries out an AUTH command; true after 235. `argument` is what followed AUTH; `login_out` gets the name. */
bool smtpd_auth(struct smtpd_io *io, const char *argument, char *login_out, size_t login_size);

/* Serves one connection to its end. */
void smtpd_session(struct smtpd_io *io);

#endif
