/*
 * Inside the vault: requests, each answered by one function of a table (vault_delivery.c, vault_view.c).
 *
 * All requests that wait are carried out as one group of the store; only when that is on disk are they answered.
 */
#ifndef PROXY_VAULT_INTERNAL_H
#define PROXY_VAULT_INTERNAL_H

#include "base/ipc.h"
#include "mime/addr.h"
#include "store/store.h"

struct vault_answer {
    struct ipc_out out;
    int file;                           /* -1: none */
    bool is_changed;                    /* the store was to be changed: nothing is said before that is on disk */
    const char *account;                /* whose keeper asks; NULL: no keeper does */
    bool is_command;                    /* a command of our own user asks */
    char words_changed[MIME_ADDR_SIZE]; /* the account of which net is to be told so; "": none */
    bool is_by_mail;                    /* by received mail, which changes nothing that a verdict goes by */
    char forgets[MIME_ADDR_SIZE];       /* the account whose keepers are to forget their private keys; "": none */
};

/* Reads the request to its end and writes what stands after the error into the answer. What it gives is what the client
   hears; ERR_PEER_PROTOCOL with `in` malformed ends the client instead. */
typedef enum err (*vault_serve_fn)(struct store *store, struct ipc_in *in, struct vault_answer *answer);

enum err vault_delivery_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_delivery_add(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_delivery_forget(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_encrypted_find(struct store *store, struct ipc_in *in, struct vault_answer *answer);

enum err vault_view_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_view_put(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_view_generation(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_view_search(struct store *store, struct ipc_in *in, struct vault_answer *answer);

enum err vault_places_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_places_put(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_places_forget(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_places_rename(struct store *store, struct ipc_in *in, struct vault_answer *answer);

enum err vault_aliases_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_alias_put(struct store *store, struct ipc_in *in, struct vault_answer *answer);

enum err vault_store_totals(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_store_clear(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_store_reopen(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_store_kept(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_store_passphrase(struct store *store, struct ipc_in *in, struct vault_answer *answer);

/* A keeper's own: another account's name is a malformed request. A command may name any. */
enum err vault_keys_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_keys_open(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_keys_take(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_keys_wrap(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_keys_unseal(struct store *store, struct ipc_in *in, struct vault_answer *answer);
/* The account that a keeper or a command asks about. */
enum err vault_get_account(struct ipc_in *in, const struct vault_answer *answer, char account_out[MIME_ADDR_SIZE]);

enum err vault_private_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_private_put(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_private_remove(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_private_list(struct store *store, struct ipc_in *in, struct vault_answer *answer);

/* vault_peers.c. Net tells what happened, and may ask for one record at a time. */
enum err vault_peer_get(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_hear(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_received(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_sent(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_due(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_refreshed(struct store *store, struct ipc_in *in, struct vault_answer *answer);
/* A keeper's own account; a command may name any. */
enum err vault_peer_words(struct store *store, struct ipc_in *in, struct vault_answer *answer);
/* A command's alone. */
enum err vault_peer_unpin(struct store *store, struct ipc_in *in, struct vault_answer *answer);
enum err vault_peer_remove(struct store *store, struct ipc_in *in, struct vault_answer *answer);

#endif
