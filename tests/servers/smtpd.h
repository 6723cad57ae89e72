/*
 * The reference SMTP server of the tests: obedient, honest, and wrong to order.
 *
 * It stores what it accepts (N.eml and N.json). Its faults (see common.h) have these points: connect banner ehlo
 * starttls auth mail rcpt data body dot rset quit. The action is a reply ("550 5.1.1 no such user"), or cut (close at
 * once), stall (say nothing until the peer goes away), late (carry out, then close without the reply), inject
 * (starttls: clear text after the 220), missing (starttls, and every word of EHLO: not offered), garbage (a line that
 * is no reply), endless (a reply without end), unsolicited (a reply too many).
 */
#ifndef TESTS_SERVERS_SMTPD_H
#define TESTS_SERVERS_SMTPD_H

#include "tests/servers/common.h"

struct smtpd {
    struct server server;
    const char *features; /* words of EHLO, separated by commas: "PIPELINING,SIZE=1000000,8BITMIME" */
    bool is_lenient;      /* a line ends at a bare LF too, as in servers that can be smuggled to */
    unsigned number;      /* of the last message */
};

/* Serves one connection to its end. */
void smtpd_session(struct server_io *io);

#endif
