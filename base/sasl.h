/*
 * SASL as a relay needs it: which mechanisms may pass, and whose login a client's response claims.
 *
 * privyseal never checks a password: it forwards the client's responses to the upstream server and only reads the login
 * name out of them, because that chooses the account. An authorisation identity other than the login is refused (design
 * 1.1.7). Mechanisms in which the server speaks first can be relayed only where all accounts share one upstream.
 */
#ifndef BASE_SASL_H
#define BASE_SASL_H

#include "base/buf.h"

enum sasl_mechanism {
    SASL_NONE = 0,
    SASL_PLAIN, /* RFC 4616 */
    SASL_LOGIN, /* draft-murchison-sasl-login */
    SASL_XOAUTH2,
    SASL_OAUTHBEARER,   /* RFC 7628 */
    SASL_CRAM_MD5,      /* RFC 2195 */
    SASL_SCRAM_SHA_1,   /* RFC 5802; -PLUS variants are never offered: a relay cannot bind to a channel */
    SASL_SCRAM_SHA_256, /* RFC 7677 */
    SASL_COUNT
};

/* A set of mechanisms: bit 1 << mechanism. */
typedef uint32_t sasl_set;

/* By name without regard to case; SASL_NONE if unknown. */
enum sasl_mechanism sasl_parse(struct span name);
const char *sasl_name(enum sasl_mechanism mechanism);
/* True if the server must send a challenge before the client's login name is known (CRAM-MD5). SCRAM's first message
   comes from the client, but its proof is bound to the server's nonce; still the name is known at once. */
bool sasl_is_server_first(enum sasl_mechanism mechanism);
/* True if a response carries the password itself, so that the leg must be encrypted or loopback. */
bool sasl_is_plaintext(enum sasl_mechanism mechanism);
/* The names in `set`, strongest first, separated by blanks. */
ERR_RETURN enum err sasl_format_set(sasl_set set, struct buf *out);

/* Reads the login name out of a decoded client response (`step` counts responses from 0; LOGIN's name is step 0,
   CRAM-MD5's is step 0). ERR_AGAIN: this step carries no name. ERR_AUTH_FAILED: malformed, an authorisation identity
   that differs, or channel binding. The name is at most `login_size - 1` bytes, without NUL, CR, LF. */
ERR_RETURN enum err sasl_login(enum sasl_mechanism mechanism, unsigned step, struct span response, char *login_out,
                               size_t login_size);
/* Adds the PLAIN response for a login and a password (used when the client spoke LOGIN and upstream offers only PLAIN).
 */
ERR_RETURN enum err sasl_plain_response(struct span login, struct span password, struct buf *out);

#endif
