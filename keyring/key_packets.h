/*
 * The packets of transferable public keys (RFC 4880 §11.1, binary), and what a key says of itself that gpg's listing
 * does not: whether it asks others for AEAD encryption, which is refused on opening (design 1.1.2). Reads, never
 * judges: no signature is checked.
 */
#ifndef KEYRING_KEY_PACKETS_H
#define KEYRING_KEY_PACKETS_H

#include "keyring/index.h"

struct key_packets_key {
    char fingerprint[KEYRING_FPR_SIZE];
    bool has_aead; /* of any of its self-signatures; exported minimally a key has only the newest ones */
};
typedef enum err (*key_packets_fn)(const struct key_packets_key *key, void *context);

/* Calls `fn` for each version 4 key in `packets`; anything but ERR_OK from it ends the walk with that value.
   ERR_MALFORMED for what is no sequence of whole packets (what came before has been reported). */
ERR_RETURN enum err key_packets_walk(struct span packets, key_packets_fn fn, void *context);
/* Whether they are one transferable public key of version 4 with a user ID, and nothing else; its fingerprint.
   ERR_MALFORMED. */
ERR_RETURN enum err key_packets_single(struct span packets, char fingerprint_out[KEYRING_FPR_SIZE]);

/* ---- one packet ---- */
enum key_packets_tag {
    KEY_PACKETS_SIGNATURE = 2,
    KEY_PACKETS_PUBLIC_KEY = 6,
    KEY_PACKETS_USER_ID = 13,
    KEY_PACKETS_SUBKEY = 14,
    KEY_PACKETS_ATTRIBUTE = 17
};
struct key_packets_head {
    size_t tag, head_len, body_len;
};
/* What stands before a packet's body (RFC 4880 §4.2). ERR_AGAIN: more bytes are needed. ERR_MALFORMED, also for lengths
   that are partial or not given, which no packet of a key has. */
ERR_RETURN enum err key_packets_head(struct span bytes, struct key_packets_head *head_out);
/* Takes a whole packet off the front of `*rest`; its body is borrowed from there. False where key_packets_head fails,
   or it is cut off. */
bool key_packets_take(struct span *rest, unsigned *tag_out, struct span *body_out);
/* Of a public key packet of version 4 (§12.2); ERR_NOT_FOUND for others. */
ERR_RETURN enum err key_packets_fingerprint(struct span body, char fingerprint_out[KEYRING_FPR_SIZE]);

struct key_packets_signature {
    size_t version;
    unsigned type;
    struct span hashed, unhashed; /* subpackets, borrowed; unhashed: none where the packet is cut */
};
/* False for what is no signature packet of version 4 (§5.2.3), whose `version` is given nevertheless. */
bool key_packets_signature(struct span body, struct key_packets_signature *signature_out);
/* Takes the next subpacket that is not empty (§5.2.3.1); false at the end, or where it makes no sense. */
bool key_packets_subpacket(struct span *rest, unsigned *type_out, struct span *body_out);

#endif
