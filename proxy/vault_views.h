/*
 * Views, places and searches, asked of the vault without waiting for it (proxy/vaultlink.h says how requests live and
 * are cancelled). What each means stands in store/view.h.
 *
 * Every function fires once with ERR_OK and what was asked for, valid during the call, or with what went wrong
 * (ERR_STORE when there is no vault; ERR_KEY_LOCKED when nobody could open the account's keys). The names of accounts
 * must live as long as the request. `request_out` may be NULL; so may `fn` where nobody waits (a failure is logged).
 */
#ifndef PROXY_VAULT_VIEWS_H
#define PROXY_VAULT_VIEWS_H

#include "proxy/vaultlink.h"
#include "proxy/wire.h"
#include "store/view.h"

/* At most this many views in one request; more is ERR_LIMIT. */
#define PROXY_VAULT_KEYS_MAX 100000u
#define PROXY_VAULT_PLACES_MAX 4000000u

struct proxy_vault_found {
    bool is_found;          /* false: never decided */
    struct store_view view; /* decision, session keys, record (empty: dropped); the text is never given */
};
/* `len` may be less than was asked for, but not 0: answers are bounded (32 MiB, or one view). They are the first of the
   keys; the rest is to be asked for again. */
typedef void (*proxy_vault_views_fn)(enum err err, const struct proxy_vault_found *views, size_t len, void *context);
typedef void (*proxy_vault_generation_fn)(enum err err, uint32_t generation, void *context);
/* ERR_NOT_FOUND: the text of view number `missing` must be made again first. `bits`: one row of (keys_len + 7) / 8
   bytes for each leaf; message i is bit i % 8 (value 1 << i % 8) of byte i / 8. */
typedef void (*proxy_vault_search_fn)(enum err err, const uint8_t *bits, size_t missing, void *context);
/* Ascending by UID. */
typedef void (*proxy_vault_places_fn)(enum err err, const struct store_place *places, size_t len, void *context);

/* The keys are all of one account; len > 0. */
ERR_RETURN enum err proxy_vault_views_get(struct proxy_vaultlink *link, const struct store_view_key *keys, size_t len,
                                          proxy_vault_views_fn fn, void *context,
                                          struct proxy_vault_request **request_out);
/* What a keeper answered, with its record and text as sealed memory files, which stay the caller's. ERR_EXISTS:
   something else was decided before. */
ERR_RETURN enum err proxy_vault_view_put(struct proxy_vaultlink *link, const struct store_view_key *key,
                                         const struct proxy_open_answer *opened, int record, int text,
                                         proxy_vault_done_fn fn, void *context,
                                         struct proxy_vault_request **request_out);
/* The newest generation that has a decision or is due, or ERR_NOT_FOUND: by which `store reopen` chooses the next. */
ERR_RETURN enum err proxy_vault_view_generation(struct proxy_vaultlink *link, const char *account,
                                                const uint8_t digest[STORE_DIGEST_SIZE], proxy_vault_generation_fn fn,
                                                void *context, struct proxy_vault_request **request_out);
ERR_RETURN enum err proxy_vault_view_search(struct proxy_vaultlink *link, const struct store_view_key *keys, size_t len,
                                            const struct mime_text_leaf *leaves, size_t leaves_len,
                                            proxy_vault_search_fn fn, void *context,
                                            struct proxy_vault_request **request_out);

ERR_RETURN enum err proxy_vault_places_get(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                           proxy_vault_places_fn fn, void *context,
                                           struct proxy_vault_request **request_out);
ERR_RETURN enum err proxy_vault_places_put(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                           const struct store_place *places, size_t len, proxy_vault_done_fn fn,
                                           void *context, struct proxy_vault_request **request_out);
ERR_RETURN enum err proxy_vault_places_forget(struct proxy_vaultlink *link, const struct store_mailbox *mailbox,
                                              const uint32_t *uids, size_t len, proxy_vault_done_fn fn, void *context,
                                              struct proxy_vault_request **request_out);
ERR_RETURN enum err proxy_vault_places_rename(struct proxy_vaultlink *link, const char *account, struct span from,
                                              struct span to, char separator, proxy_vault_done_fn fn, void *context,
                                              struct proxy_vault_request **request_out);

/* The names are all of one account; len > 0. */
ERR_RETURN enum err proxy_vault_aliases_get(struct proxy_vaultlink *link, const struct store_view_key *names,
                                            size_t len, proxy_vault_places_fn fn, void *context,
                                            struct proxy_vault_request **request_out);
/* Nobody waits. */
ERR_RETURN enum err proxy_vault_alias_put(struct proxy_vaultlink *link, const char *account,
                                          const uint8_t name[STORE_DIGEST_SIZE], const struct store_place *place);

#endif
