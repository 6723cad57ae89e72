/*
 * What sealing for others (seal.c) and sealing for oneself (own.c) share. Nobody else includes this.
 */
#ifndef CRYPTO_SEAL_INTERNAL_H
#define CRYPTO_SEAL_INTERNAL_H

#include "crypto/engine.h"

/* Reads the result again, with strict eyes: ERR_NOT_SEALED unless it is what the request asked for of `engine` (NULL
   where nothing was). Sets size and is_8bit. */
ERR_RETURN enum err seal_check_file(const struct crypto_engine *engine, enum crypto_seal_action action, int fd,
                                    struct crypto_seal_result *result_out);
/* seal_autocrypt.c: adds the Autocrypt field that goes with the header, or the Autocrypt-Gossip fields that go inside
   with it; nothing where the message has such fields, or where a key cannot be told (said in the log). */
ERR_RETURN enum err seal_add_autocrypt(struct keyring_gpg *gpg, const struct crypto_seal_request *request,
                                       struct span header, struct buf *out);
ERR_RETURN enum err seal_add_gossip(struct keyring_gpg *gpg, const struct crypto_seal_request *request,
                                    struct span header, struct buf *out);

size_t seal_output_max(const struct crypto_seal_request *request);

#endif
