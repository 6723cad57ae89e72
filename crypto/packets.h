/*
 * OpenPGP messages seen from outside, without a key: armour and the row of packets (RFC 9580 §4.2, §6.2).
 *
 * Strict on purpose: what decides whether a message may leave as "already encrypted" must not be led astray by a
 * generous reader (design 1.1.1). Copies nothing but one armour line at a time.
 */
#ifndef CRYPTO_PACKETS_H
#define CRYPTO_PACKETS_H

#include "base/buf.h"

enum crypto_packets_state {
    CRYPTO_PACKETS_TAG = 0,
    CRYPTO_PACKETS_LENGTH, /* the first length octet of the new format */
    CRYPTO_PACKETS_LENGTH_MORE,
    CRYPTO_PACKETS_BODY,
    CRYPTO_PACKETS_WRONG
};

/* A walk over packets; starts zeroed. */
struct crypto_packets {
    enum crypto_packets_state state;
    unsigned tag;
    unsigned length_left; /* length octets still to come */
    uint64_t length;      /* the length as read so far, then what is left of the chunk */
    uint64_t body_seen;   /* octets of the packet's body so far, over all its chunks */
    bool is_two_octet;    /* the length is of the two-octet form, which has an offset */
    bool is_partial;      /* another chunk of the same packet follows */
    unsigned keys_len;    /* PKESK packets: a password alone is no key of a recipient */
    bool has_password;    /* one of the session key packets is an SKESK */
    bool has_data;        /* the SEIPD packet has begun */
};

/* Takes the next bytes; false as soon as they cannot be session key packets, one of them a PKESK, followed by one SEIPD
 * packet. */
bool crypto_packets_feed(struct crypto_packets *packets, struct span bytes);
/* True if all that was fed is at least one PKESK packet, then one complete SEIPD packet, and nothing after it. */
bool crypto_packets_is_encrypted(const struct crypto_packets *packets);

/* True if `text` is one "-----BEGIN PGP <label>-----" block with nothing but white space around it; `inside_out` (or
   NULL) gets the lines between the two. A second BEGIN inside makes it false. */
bool crypto_armour_find(struct span text, const char *label, struct span *inside_out);
/* True if `text` is one armoured message, strictly, and its packets are encrypted data. */
bool crypto_armour_is_encrypted(struct span text);

/* True if a password would open `cipher` (armour with anything before it, or bare packets). Read generously: whoever
   asks gpg to decrypt such a message makes it ask the person for a password that a stranger chose. */
bool crypto_cipher_has_password(struct span cipher);

/* Takes one line off the front of `*rest`, without its CRLF or LF; false at the end. */
bool crypto_line_take(struct span *rest, struct span *line_out);

#endif
