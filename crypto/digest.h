/*
 * The digest by which a retry of a submission is known again (design 1.3).
 */
#ifndef CRYPTO_DIGEST_H
#define CRYPTO_DIGEST_H

#include "crypto/inspect.h"

/* SHA-256 over the content of `message`: every field (folding and runs of blanks evened out) but Date, Message-ID,
   Received and Return-Path of the message itself, and every body, with each boundary string left out. Any other
   difference between two messages makes their digests differ. */
ERR_RETURN enum err crypto_digest(struct span message, const struct mime_tree *tree,
                                  uint8_t digest_out[CRYPTO_DIGEST_SIZE]);

#endif
