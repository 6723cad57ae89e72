/*
 * The store as commands use it: through the vault while `serve` runs, opened here when it does not.
 */
#ifndef CLI_VAULT_H
#define CLI_VAULT_H

#include "cli/cli.h"
#include "crypto/message_ids.h"
#include "keyring/gpg.h"
#include "keyring/peer.h"
#include "proxy/wire.h"
#include "store/account.h"
#include "store/private_key.h"
#include "store/view.h"

struct cli_vault {
    int socket;          /* -1: no vault runs */
    struct store *store; /* NULL: it is with the vault, or nothing was ever kept */
};

/* ERR_NOT_FOUND: nothing was ever kept. With `is_confined` a store that is opened here is opened in the vault's own
   sandbox: the process is then good for nothing else, but root may do it in place of the configured user. Without it,
   that is ERR_REFUSED. Anything but ERR_OK leaves nothing open. */
ERR_RETURN enum err cli_vault_open(const struct config *config, bool is_confined, struct cli_vault *vault_out);
/* The same for a command that has something to keep: a store that is missing is made. Not confined. */
ERR_RETURN enum err cli_vault_open_to_keep(const struct config *config, struct cli_vault *vault_out);
void cli_vault_close(struct cli_vault *vault);

/* Whether one of these is the ID of a message of the account that came encrypted (store/encrypted.h). */
ERR_RETURN enum err cli_vault_find_encrypted(struct cli_vault *vault, const char *account,
                                             const struct crypto_message_ids *ids, bool *is_found_out);
ERR_RETURN enum err cli_vault_totals(struct cli_vault *vault, const char *account, struct store_totals *totals_out);
/* NULL: all accounts. */
ERR_RETURN enum err cli_vault_clear(struct cli_vault *vault, const char *account);
/* Everything of one account: its keys and what was decided, too. ERR_EXISTS as store_account_forget. */
ERR_RETURN enum err cli_vault_forget(struct cli_vault *vault, const char *account, bool with_private_keys);
/* How the account's keys are kept; ERR_NOT_FOUND: it has none yet. */
ERR_RETURN enum err cli_vault_kept(struct cli_vault *vault, const char *account, struct store_kept *kept_out);
/* Opens the account's keys with `old_key` (NULL: they are open) and seals them under `key`, made by `recipe`; without a
   key a passphrase is taken away. ERR_DECRYPT: `old_key` is not theirs; else as store_account_seal and
   store_account_drop_seal. */
ERR_RETURN enum err cli_vault_passphrase(struct cli_vault *vault, const char *account, const uint8_t *old_key,
                                         const char *recipe, const uint8_t *key);
ERR_RETURN enum err cli_vault_reopen(struct cli_vault *vault, const char *account, uint64_t *messages_out);

/* Sends `out` to the vault that runs. With ERR_OK `in` stands after the error of the answer, and is finished by the
   caller. */
ERR_RETURN enum err cli_vault_ask(const struct cli_vault *vault, struct ipc_out *out, struct ipc_in *in);

/* ---- vault_private.c ---- */
/* Opens the account's keys in the store: the person may be asked for the passphrase of the OpenPGP key that they are
   wrapped to, or of the store. ERR_KEY_LOCKED. */
ERR_RETURN enum err cli_vault_unlock(struct cli_vault *vault, struct keyring_gpg *gpg, const char *account);
/* As those of store/private_key.h. */
ERR_RETURN enum err cli_vault_private_put(struct cli_vault *vault, const char *account, const char *fingerprint,
                                          struct span key);
ERR_RETURN enum err cli_vault_private_get(struct cli_vault *vault, const char *account, const char *fingerprint,
                                          struct buf *out);
ERR_RETURN enum err cli_vault_private_remove(struct cli_vault *vault, const char *account, const char *fingerprint);
ERR_RETURN enum err cli_vault_private_list(struct cli_vault *vault, const char *account, store_fingerprint_fn fn,
                                           void *context);

/* ---- vault_peer.c: records of correspondents ---- */
/* The caller finishes `peer_out` after ERR_OK. ERR_NOT_FOUND, ERR_DAMAGED. */
ERR_RETURN enum err cli_vault_peer_get(struct cli_vault *vault, const char *account, const char *address,
                                       struct keyring_peer *peer_out);
/* As keyring_peer_hear. */
ERR_RETURN enum err cli_vault_peer_hear(struct cli_vault *vault, const char *account, const struct keyring_word *word);
/* Saved forms of words, all of one address, as keyring_peer_hear_all. */
ERR_RETURN enum err cli_vault_peer_hear_all(struct cli_vault *vault, const char *account, struct span words);
/* ERR_NOT_FOUND: there is no record, or no person's word of this format in it. */
ERR_RETURN enum err cli_vault_peer_unpin(struct cli_vault *vault, const char *account, const char *address,
                                         enum keyring_format format);
/* Also one that is damaged. ERR_NOT_FOUND. */
ERR_RETURN enum err cli_vault_peer_remove(struct cli_vault *vault, const char *account, const char *address);
ERR_RETURN enum err cli_vault_peer_received(struct cli_vault *vault, const char *account,
                                            const struct keyring_heard *heard);
/* Adds all words of the account that count at `now`, as keyring_vouch takes them, to `out` (which may become as long as
   KEYRING_WORDS_SIZE_MAX). */
ERR_RETURN enum err cli_vault_words(struct cli_vault *vault, const char *account, int64_t now, struct buf *out);

#endif
