/*
 * What sealing for others (seal.c) and sealing for oneself (own.c) share. Nobody else includes this.
 */
#ifndef CRYPTO_SEAL_INTERNAL_H
#define CRYPTO_SEAL_INTERNAL_H

#include "crypto/seal.h"
#include "mime/pieces.h"

/* Writes a PGP/MIME encrypted message (RFC 3156 §4) into `fd`: `outer` fields, structural fields, and `payload`
   encrypted to the recipients of `request` and, if `signer` is not "", signed in the same operation (§6.2). */
ERR_RETURN enum err seal_write_encrypted(struct keyring_gpg *gpg, const struct crypto_seal_request *request,
                                         const char *signer, struct span outer, const struct mime_pieces *payload,
                                         int fd);
/* Reads the result again, with strict eyes: ERR_NOT_SEALED unless it is what the request asked for. Sets size and
   is_8bit. */
ERR_RETURN enum err seal_check_file(enum crypto_seal_action action, int fd, struct crypto_seal_result *result_out);
size_t seal_output_max(const struct crypto_seal_request *request);

#endif
