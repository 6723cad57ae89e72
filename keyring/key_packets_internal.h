/*
 * What reading a key's packets (key_packets.c) and cutting them down (autocrypt_reduce.c) share. Nobody else includes
 * this.
 */
#ifndef KEYRING_KEY_PACKETS_INTERNAL_H
#define KEYRING_KEY_PACKETS_INTERNAL_H

#include "keyring/key_packets.h"

enum key_packets_tag {
    KEY_PACKETS_SIGNATURE = 2,
    KEY_PACKETS_KEY = 6,
    KEY_PACKETS_USER_ID = 13,
    KEY_PACKETS_SUBKEY = 14,
    KEY_PACKETS_ATTRIBUTE = 17
};

struct key_packets_packet {
    unsigned tag;
    struct span whole, body;
};

/* Takes a whole packet off the front of `*rest` (RFC 4880 §4.2); false: there is none. */
bool key_packets_take(struct span *rest, struct key_packets_packet *packet_out);
/* Takes a big-endian number of `bytes` bytes. */
bool key_packets_take_number(struct span *rest, size_t bytes, size_t *number_out);

struct key_packets_signature {
    size_t type;
    struct span hashed; /* its subpackets that are covered */
};
/* Of a version 4 signature packet's body (§5.2.3). */
bool key_packets_read_signature(struct span body, struct key_packets_signature *signature_out);
/* Takes the next subpacket (§5.2.3.1): its type without the critical bit, and what follows that. */
bool key_packets_take_subpacket(struct span *hashed, unsigned *type_out, struct span *value_out);

#endif
