/*
 * A transferable public key (RFC 4880 §11.1, binary) as a row of packets, and what it says of itself that gpg's listing
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

/* Takes a packet off the front of `*rest` (RFC 4880 §4.2, RFC 9580 §4.2); its body is borrowed from there. False if
   none that a key may have begins there, or it is cut off. */
bool key_packets_take(struct span *rest, unsigned *tag_out, struct span *body_out);
/* The same for a subpacket of a signature: its first byte, if it has one, is its type (bit 7: critical). False at the
   end, too. */
bool key_packets_take_subpacket(struct span *rest, struct span *body_out);
/* The fingerprint of a version 4 public key's packet, in hexadecimal (RFC 4880 §12.2). */
ERR_RETURN enum err key_packets_fingerprint(struct span body, char fingerprint_out[KEYRING_FPR_SIZE]);

/* Calls `fn` for each version 4 key in `packets`; anything but ERR_OK from it ends the walk with that value.
   ERR_MALFORMED for what is no sequence of whole packets (what came before has been reported). */
ERR_RETURN enum err key_packets_walk(struct span packets, key_packets_fn fn, void *context);
/* Whether they are one transferable public key of version 4 with a user ID, and nothing else; its fingerprint.
   ERR_MALFORMED. */
ERR_RETURN enum err key_packets_single(struct span packets, char fingerprint_out[KEYRING_FPR_SIZE]);

#endif
