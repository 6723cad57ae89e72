/*
 * The keeper's jobs: keeper.c runs the loop, keeper_seal.c, keeper_open.c, keeper_keys.c and keeper_learn.c do the
 * work, keeper_revocation.c asks the finder. Nobody else includes this.
 */
#ifndef PROXY_KEEPER_INTERNAL_H
#define PROXY_KEEPER_INTERNAL_H

#include "crypto/smime_account.h"
#include "keyring/revocation.h"
#include "keyring/token.h"
#include "proxy/wire.h"

#define KEEPER_SOCKET 3
#define KEEPER_INDEX_MAX ((size_t)1 << 31)

#define KEEPER_PRIVATE_KEYS_MAX 64
#define KEEPER_ATTACHED_MAX 256

/* A private key that was used before. */
struct keeper_private_key {
    char fingerprint[KEYRING_FPR_SIZE];
    EVP_PKEY *key;
};

struct keeper {
    struct proxy_keeper_setup setup;
    struct keyring_gpg *gpg;
    struct keyring_anchors *anchors;
    uint32_t asked;                            /* of the finder, so far */
    bool asks_anew;                            /* what issuers have said before will not do */
    struct keeper_known *known;                /* what issuers have said (keeper_revocation.c) */
    struct keyring_certificates *certificates; /* NULL: not needed so far */
    struct crypto_smime smime;                 /* see keeper_smime */
    struct keyring *ring;                      /* the keys of the GnuPG home in the state `ring_number`; NULL */
    uint64_t ring_number;
    struct keyring *keyring;     /* as it came with an earlier job; NULL: none did */
    uint64_t index_number;       /* of `keyring` */
    struct keyring_token *token; /* NULL: the account has none, or it does not work */
    struct keeper_private_key private_keys[KEEPER_PRIVATE_KEYS_MAX];
    size_t private_keys_len;
    /* Of addresses with keys that were attached to their mail: most programs send the same with each. */
    uint8_t attached[KEEPER_ATTACHED_MAX][32];
    size_t attached_next;
};

/* What has come of a job: ERR_MEMORY, whatever `result` is, if OpenSSL was without memory (crypto/memory.h). Nothing is
   answered without it. Such a keeper ends after its answer. */
ERR_RETURN enum err keeper_outcome(enum err result);

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
ERR_RETURN enum err keeper_revoked(struct keeper *keeper, struct ipc_in *in);
/* Keeps keys (crypto/attached.h) that came with mail of `address` that verified, in the ring, and adds to `heard`
   (keyring_heard_add) which they are. Those that were looked at a short while ago are not again. What fails is logged:
   mail is read without that, too. */
void keeper_learn_attached(struct keeper *keeper, const char *address, struct span attached, struct buf *heard);

/* Opens the account's keys in the store, and wraps them to the key `reader`, signed with `signer`, if they are not
   (either may be "": then they stay as they are). Nobody is asked for the passphrase of the OpenPGP key; for that of
   the store, if it has one, only with `asks_person`. A failure to wrap is logged: they stay as they were.
   ERR_KEY_LOCKED: they are locked. ERR_STORE: the vault has gone. */
ERR_RETURN enum err keeper_keys_keep(struct keeper *keeper, bool asks_person, const char *reader, const char *signer);

/* Opens the account's keys in the store if they are not, asking nobody. ERR_NOT_FOUND: there are none yet. */
ERR_RETURN enum err keeper_keys_open(struct keeper *keeper);
/* keeper_words.c: lays what the vault knows of correspondents over `listed`, which it frees: a new index. */
ERR_RETURN enum err keeper_vouch(struct keeper *keeper, struct keyring **listed, int64_t now,
                                 struct keyring **vouched_out);
/* Whether the record of an address can be read, or there is none (crypto_open_options); `context` is the keeper. */
bool keeper_can_read_record(const char *address, void *context);
/* Asks the vault. With ERR_OK `in` stands after the error of the answer, and is finished by the caller. */
ERR_RETURN enum err keeper_ask_vault(struct keeper *keeper, struct ipc_out *out, struct ipc_in *in);
/* Waits for the next job, and does meanwhile what the vault says unasked. */
void keeper_wait(struct keeper *keeper);

/* keeper_private.c: the crypto_private_key_fn of a keeper, which is its context. A key is asked of the vault when it is
   first used, and kept. */
ERR_RETURN enum err keeper_private_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                                       EVP_PKEY **key_out);
/* Asks the person for the PINs of tokens that hold own keys and are locked; after a refusal for no other. */
ERR_RETURN enum err keeper_private_unlock(struct keeper *keeper);
void keeper_private_fini(struct keeper *keeper);

/* How a path that verified stands with its issuers: a crypto_revocation_fn, whose context is the keeper. They are asked
   by the finder; what they say is judged here, and kept until it runs out. */
ERR_RETURN enum err keeper_revocation(void *keeper, STACK_OF(X509) * path, int64_t at, bool *is_unknown_out);

#endif
