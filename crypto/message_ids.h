/*
 * The IDs by which a message is known, or of those that it answers (RFC 5322 §3.6.4): a digest of each, so that all are
 * of one size, however long the ID, and no process need hold the IDs themselves. Pure.
 */
#ifndef CRYPTO_MESSAGE_IDS_H
#define CRYPTO_MESSAGE_IDS_H

#include "base/err.h"
#include "base/span.h"

#define CRYPTO_MESSAGE_IDS_MAX 64

struct crypto_message_ids {
    uint8_t digests[CRYPTO_MESSAGE_IDS_MAX][32]; /* SHA-256 of the ID without brackets and blanks */
    size_t len;
};

/* Adds all IDs in the fields of `header` (which may go on with a body) whose name is in `names`, up to NULL. Of more
   than there is room for the first half and the last stay: a mail program that copies but one takes one of these, and
   of References the ends tell most. */
ERR_RETURN enum err crypto_message_ids_add(struct crypto_message_ids *ids, struct span header,
                                           const char *const *names);
/* The digests one after the other, borrowed. */
struct span crypto_message_ids_span(const struct crypto_message_ids *ids);
/* True for what crypto_message_ids_span can give. */
bool crypto_message_ids_is(struct span digests);
/* Takes what crypto_message_ids_span gave; false (and none taken) for anything else. */
bool crypto_message_ids_load(struct span digests, struct crypto_message_ids *ids_out);

#endif
