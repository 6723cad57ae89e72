/*
 * One GnuPG home through GPGME: the engine that crypto/openpgp uses, and all that is done with keys themselves.
 *
 * Used in keepers and by the command line; synchronous. gpg runs through the wrapper `privyseal-gpg`, whose fixed
 * options no gpg.conf can change. One engine set-up for a process's life (a second home in the same process needs the
 * first to be closed). No network: dirmngr is never asked.
 */
#ifndef KEYRING_GPG_H
#define KEYRING_GPG_H

#include "base/secret.h"
#include "keyring/index.h"
#include "keyring/wot.h"

#include <gpgme.h>

struct keyring_gpg;

/* Opens `home` (it must exist; 0700) with the wrapper at `wrapper`. */
ERR_RETURN enum err keyring_gpg_open(const char *home, const char *wrapper, struct keyring_gpg **gpg_out);
void keyring_gpg_close(struct keyring_gpg **gpg);
/* The context for crypto/openpgp, reset to defaults (no signers, armour on, binary text mode, offline). Borrowed. */
gpgme_ctx_t keyring_gpg_context(struct keyring_gpg *gpg);
const char *keyring_gpg_home(const struct keyring_gpg *gpg);
/* The wrapper beside the running program, or in PREFIX/libexec/privyseal; ERR_NOT_FOUND. */
ERR_RETURN enum err keyring_gpg_wrapper(char *path_out, size_t path_size);

/* Makes privyseal's own home if it is missing: 0700, gpg-agent.conf as measured (design, section 3), gpg.conf empty. */
ERR_RETURN enum err keyring_gpg_make_home(const char *home);
/* Something that changes when the ring or its trust database changes (sizes, inodes and times of the files). */
ERR_RETURN enum err keyring_gpg_stamp(const char *home, uint64_t *stamp_out);

/* Lists every key into `keyring`. Trust: OWN for a valid user ID whose secret key is here and whose ownertrust is
   ultimate; else from the user ID's own validity (FULL or ULTIMATE: FULL, MARGINAL: MARGINAL, NEVER: NEVER, else
   UNVERIFIED). */
ERR_RETURN enum err keyring_gpg_list(struct keyring_gpg *gpg, struct keyring *keyring);
/* The path of a file that holds this key's public part, minimal, for --recipient-file; made once per ring stamp below
   `cache_dir` and reused, so that sealing costs the same at any ring size. */
ERR_RETURN enum err keyring_gpg_key_file(struct keyring_gpg *gpg, const char *cache_dir, const char *fingerprint,
                                         char *path_out, size_t path_size);
/* The secret key with this fingerprint, cached while the ring's stamp stays. Borrowed. */
ERR_RETURN enum err keyring_gpg_signer(struct keyring_gpg *gpg, const char *fingerprint, gpgme_key_t *key_out);

/* The length in bits of the key or subkey with this fingerprint, cached while the ring's stamp stays. ERR_NOT_FOUND,
   also if gpg ended before it had told. */
ERR_RETURN enum err keyring_gpg_key_bits(struct keyring_gpg *gpg, const char *fingerprint, unsigned *bits_out);
/* What GPGME's `error` means here; logs it with what was being done. */
enum err keyring_gpg_error(gpgme_error_t error, const char *action);

struct keyring_import {
    unsigned considered, imported, changed, unchanged, secret_imported, rejected;
    char fingerprints[64][KEYRING_FPR_SIZE]; /* of the first 64 keys touched */
    size_t fingerprints_len;
};
/* Imports keys (binary or armoured), with import-options self-sigs-only,import-clean if `is_from_stranger`.
   ERR_MALFORMED if the data holds no key. */
ERR_RETURN enum err keyring_gpg_import(struct keyring_gpg *gpg, struct span data, bool is_from_stranger,
                                       struct keyring_import *result_out);
/* The same of a stranger's data, but only for keys that are in the ring already: what is newly signed by them. Says
   ERR_OK also of what holds no key, and without user IDs. */
ERR_RETURN enum err keyring_gpg_merge(struct keyring_gpg *gpg, struct span data, struct keyring_import *result_out);
/* Whether these bytes are the secret key with this fingerprint (all its digits, in capitals), and no other key; none is
   imported. */
ERR_RETURN enum err keyring_gpg_is_secret_of(struct keyring_gpg *gpg, struct span data, const char *fingerprint,
                                             bool *is_it_out);
/* Adds what these bytes (binary or armoured) hold, secret keys too, to the index, unverified; none is imported.
   ERR_MALFORMED: they hold no key. */
ERR_RETURN enum err keyring_gpg_peek(struct keyring_gpg *gpg, struct span bytes, struct keyring *keyring);
/* Whether these bytes (binary or armoured) are public keys each of which has a user ID with `address` (normal form);
   none is imported. ERR_MALFORMED: they hold no key. */
ERR_RETURN enum err keyring_gpg_carries(struct keyring_gpg *gpg, struct span bytes, const char *address,
                                        bool *is_theirs_out);
/* Adds the public key (or, if `is_secret`, the secret key as gpg-agent allows it) in armour. */
ERR_RETURN enum err keyring_gpg_export(struct keyring_gpg *gpg, const char *fingerprint, bool is_secret,
                                       struct buf *out);
/* Adds the public key in binary form with nothing but its newest self-signatures; ERR_NOT_FOUND. */
ERR_RETURN enum err keyring_gpg_export_minimal(struct keyring_gpg *gpg, const char *fingerprint, struct buf *out);
ERR_RETURN enum err keyring_gpg_delete(struct keyring_gpg *gpg, const char *fingerprint, bool with_secret);
/* Makes an ed25519 key with a cv25519 subkey for `user_id`, without AEAD in its preferences, ownertrust ultimate, then
   exports and re-imports it (decrypt+verify is twice as fast afterwards). `passphrase` NULL: gpg-agent asks by
   pinentry; an empty one: no protection. expires_s: seconds from now, 0: never. */
ERR_RETURN enum err keyring_gpg_make_key(struct keyring_gpg *gpg, const char *user_id, int64_t expires_s,
                                         const struct secret *passphrase, char fingerprint_out[KEYRING_FPR_SIZE]);
/* Sets ownertrust to ultimate ("this key is mine"). */
ERR_RETURN enum err keyring_gpg_own(struct keyring_gpg *gpg, const char *fingerprint);
/* ---- gpg_certify.c ---- */
/* How user IDs are certified: the person confirmed the fingerprint. */
struct keyring_gpg_certification {
    const char *signer;          /* fingerprint of the own key that signs */
    unsigned level;              /* 0: not said; 1 to 3: not checked, casually, carefully; gpg does not count 1 */
    bool is_exportable;          /* else it stays on this machine */
    const char *const *user_ids; /* as the index has them; no other is certified */
    size_t user_ids_len;         /* 1 to 64 */
};
/* A certification by the same key that is there already is replaced. ERR_NO_SIGNING_KEY, ERR_KEY_LOCKED; ERR_NOT_FOUND:
   the key has no such valid user ID; ERR_REFUSED: it has two that look like one of them. */
ERR_RETURN enum err keyring_gpg_certify_as(struct keyring_gpg *gpg, const char *fingerprint,
                                           const struct keyring_gpg_certification *how);
/* Withdraws what `signer` certified of these user IDs (none: of all), so that it counts for gpg no longer; may wait for
   the next second. ERR_REFUSED: what was certified counts nevertheless. */
ERR_RETURN enum err keyring_gpg_revoke_certification(struct keyring_gpg *gpg, const char *fingerprint,
                                                     const char *signer, const char *const *user_ids,
                                                     size_t user_ids_len);
/* Sets how far the owner of a key is trusted to certify others. */
ERR_RETURN enum err keyring_gpg_set_owner(struct keyring_gpg *gpg, const char *fingerprint,
                                          enum keyring_wot_trust trust);

/* Rewrites the preferences of an own key without AEAD. */
ERR_RETURN enum err keyring_gpg_drop_aead(struct keyring_gpg *gpg, const char *fingerprint);
/* Brings the trust database up to date (gpg --check-trustdb). */
ERR_RETURN enum err keyring_gpg_check_trust(struct keyring_gpg *gpg);

/* The web of trust of the ring that `keyring` lists, not judged yet: of each key that another one here has certified,
   and of those that certify or have an ownertrust. Every certification in it was checked by gpg. What was not looked
   at, for the limits of wot.h and wot_filter.h, is in keyring_wot_left_out; certifications by keys that are not here
   are only counted (wot_filter.h says why). */
ERR_RETURN enum err keyring_gpg_wot(struct keyring_gpg *gpg, const struct keyring *keyring,
                                    struct keyring_wot **wot_out);

/* gpg-agent for `home` with the master as parent: started in the foreground, ready when its socket answers. `*pid_out`
   is 0 if one was running already. */
ERR_RETURN enum err keyring_gpg_agent_start(const char *home, const char *user, pid_t *pid_out);
/* Has gpg-agent use every key of `home` once that needs no passphrase. It rewrites a key that was imported at its first
   use, in place, and whoever asks for it at that moment hears of no secret key: so this is done while nobody else asks.
   Asks nobody. ERR_KEY_LOCKED: no agent answers. */
ERR_RETURN enum err keyring_gpg_agent_settle(const char *home, const char *user);
/* Makes gpg-agent ask the person for the passphrase of this key and its subkeys, where they are locked; it waits for
   as long as the person does. What is not locked costs one question to the agent and no prompt. ERR_KEY_LOCKED: the
   person declined, or there is nobody to ask. ERR_NOT_FOUND: there is no such secret key. `*is_on_card_out`: what
   decrypts is on a card, of which only a decryption tells whether it wants its PIN. */
ERR_RETURN enum err keyring_gpg_unlock(struct keyring_gpg *gpg, const char *fingerprint, bool *is_on_card_out);
/* True if this key ID or fingerprint is that of a (sub)key for decrypting whose secret part gpg-agent holds; asked each
   time. */
bool keyring_gpg_has_secret(struct keyring_gpg *gpg, const char *key_id);
/* False if it is known that no agent answers for this home: gpg then says "no secret key" of every key. */
bool keyring_gpg_has_agent(struct keyring_gpg *gpg);

#endif
