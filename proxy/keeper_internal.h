/*
 * The keeper's jobs: keeper.c runs the loop, keeper_seal.c, keeper_open.c, keeper_keys.c and keeper_learn.c do the
 * work; keeper_revocation.c asks the finder. Nobody else includes this.
 */
#ifndef PROXY_KEEPER_INTERNAL_H
#define PROXY_KEEPER_INTERNAL_H

#include "crypto/smime_account.h"
#include "keyring/revocation.h"
#include "proxy/wire.h"

#define KEEPER_SOCKET 3
#define KEEPER_INDEX_MAX ((size_t)1 << 31)

struct keeper {
    struct proxy_keeper_setup setup;
    struct keyring_gpg *gpg;
    struct keyring_anchors *anchors;
    struct keyring_certificates *certificates; /* NULL: not needed so far */
    struct crypto_smime smime;                 /* see keeper_smime */
    struct keyring *keyring;                   /* as it came with an earlier job; NULL: none did */
    uint64_t index_number;                     /* of `keyring` */
    uint32_t asked;                            /* of the finder, so far */
    struct keeper_known *known;                /* what issuers have said (keeper_revocation.c) */
};

/* Answers a job that has nothing but its error to tell. */
ERR_RETURN enum err keeper_answer(enum err result);

/* What there is of S/MIME, brought up to date; borrowed until the next call. */
ERR_RETURN enum err keeper_smime(struct keeper *keeper, const struct crypto_smime **smime_out);

/* Each reads its job to the end and answers it. An error is the peer's or the socket's, and ends the keeper; a job's
   own failure has been answered. */
ERR_RETURN enum err keeper_list(struct keeper *keeper, struct ipc_in *in);
ERR_RETURN enum err keeper_inspect(struct keeper *keeper, struct ipc_in *in);
/* Also for own copies: the request says by its type which of the two it is. */
ERR_RETURN enum err keeper_seal(struct keeper *keeper, struct ipc_in *in);
ERR_RETURN enum err keeper_open(struct keeper *keeper, struct ipc_in *in);
ERR_RETURN enum err keeper_unlock(struct keeper *keeper, struct ipc_in *in);
ERR_RETURN enum err keeper_keys(struct keeper *keeper, struct ipc_in *in);
ERR_RETURN enum err keeper_learn(struct keeper *keeper, struct ipc_in *in);

/* Opens the account's keys in the store, asking nobody, and wraps them to the key `reader`, signed with `signer`, if
   they are not (either may be "": then they stay as they are). A failure to wrap is logged: they stay as they were.
   ERR_KEY_LOCKED: they are locked. ERR_STORE: the vault has gone. */
ERR_RETURN enum err keeper_keys_keep(const struct keeper *keeper, const char *reader, const char *signer);

/* How a path that verified stands with its issuers: a crypto_revocation_fn, whose context is the keeper. They are asked
   by the finder; what they say is judged here, and kept until it runs out. */
ERR_RETURN enum err keeper_revocation(void *keeper, STACK_OF(X509) * path, int64_t at, bool *is_unknown_out);

#endif
