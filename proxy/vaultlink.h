/*
 * Requests to the vault process, without waiting for it: net's end of the line.
 *
 * Any message of proxy/wire.h that the vault answers can be asked (proxy_vault_ask); what is asked of a submission
 * stands here, views, places and searches in proxy/vault_views.h. A request outlives the vault that it was sent to: it
 * goes to the next one too, once (asking twice does no harm, all requests can be repeated). When nothing comes for half
 * a minute, all that are open fail. An answer that is malformed ends the line.
 *
 * A request for which the vault lacks the keys of an account is held until somebody has tried to open them, and then
 * asked once more. One that nobody waits for is held until they are open.
 */
#ifndef PROXY_VAULTLINK_H
#define PROXY_VAULTLINK_H

#include "base/ipc.h"
#include "crypto/message_ids.h"
#include "keyring/peer.h"
#include "proxy/peers.h"
#include "store/delivery.h"

#include <event2/event.h>

struct proxy_vaultlink;
struct proxy_vault_request;

/* The line to the vault is lost: another is wanted (proxy_vaultlink_connect). */
typedef void (*proxy_vault_lost_fn)(void *context);

/* The vault lacks the keys of this account (once for each request): they are to be opened, and proxy_vaultlink_unlocked
   called when that was tried. */
typedef void (*proxy_vault_locked_fn)(const char *account, void *context);

ERR_RETURN enum err proxy_vaultlink_new(struct event_base *base, proxy_vault_lost_fn on_lost, void *context,
                                        struct proxy_vaultlink **link_out);
/* Requests that are open are forgotten; their functions do not fire. */
void proxy_vaultlink_free(struct proxy_vaultlink **link);
/* Takes a new socket to the vault over. */
void proxy_vaultlink_connect(struct proxy_vaultlink *link, int socket);
/* Without this nothing is held. */
void proxy_vaultlink_on_locked(struct proxy_vaultlink *link, proxy_vault_locked_fn on_locked, void *context);
/* The keys of the account are open, or, with any other `err`, they stay locked for now: what is held is asked again, or
   fails with ERR_KEY_LOCKED. */
void proxy_vaultlink_unlocked(struct proxy_vaultlink *link, const char *account, enum err err);

/* With ERR_OK: `answer` stands after its error, and `fn` reads all of it to its end; what it finds malformed it leaves
   in answer->err (by the gets, or by setting it), which ends the line. Files that it does not take are closed. With
   any other `err` there is no answer: what the vault said, or ERR_STORE when there is no vault. */
typedef void (*proxy_vault_answer_fn)(enum err err, struct ipc_in *answer, void *context);

/* Asks. Takes `request` over and finishes it in any case; its files stay the caller's (they are duplicated). With
   ERR_OK `fn` fires exactly once, later, unless the request is cancelled; a NULL `fn` lets a failure be logged. The
   caller forgets `*request_out` (which may be NULL) when `fn` fires. */
ERR_RETURN enum err proxy_vault_ask(struct proxy_vaultlink *link, struct ipc_out *request, proxy_vault_answer_fn fn,
                                    void *context, struct proxy_vault_request **request_out);
/* `fn` will not fire. The request may be carried out all the same. Clears `*request`; NULL is nothing to cancel. */
void proxy_vault_cancel(struct proxy_vault_request **request);

/* It is done, or not; fires once. */
typedef void (*proxy_vault_done_fn)(enum err err, void *context);

/* Delivery records (vaultlink_delivery.c). Fires once for each request: ERR_OK with the recipients (for a get), or what
   went wrong. The addresses are valid during the call. */
typedef void (*proxy_vault_fn)(enum err err, const char *const *addresses, size_t addresses_len, void *context);

/* With ERR_OK `fn` will fire, later; a NULL `fn` lets the answer be logged if it is a failure. */
ERR_RETURN enum err proxy_vault_get(struct proxy_vaultlink *link, const struct store_delivery_key *key,
                                    proxy_vault_fn fn, void *context);
ERR_RETURN enum err proxy_vault_add(struct proxy_vaultlink *link, const struct store_delivery_key *key,
                                    const char *const *addresses, size_t addresses_len, proxy_vault_fn fn,
                                    void *context);
ERR_RETURN enum err proxy_vault_forget(struct proxy_vaultlink *link, const struct store_delivery_key *key);

/* Whether one of these is the ID of a message of the account that came encrypted (store/encrypted.h). With ERR_OK `fn`
   fires once, later; with an error of the vault's the answer is not known. */
typedef void (*proxy_vault_found_fn)(enum err err, bool is_found, void *context);
ERR_RETURN enum err proxy_vault_find_encrypted(struct proxy_vaultlink *link, const char *account,
                                               const struct crypto_message_ids *ids, proxy_vault_found_fn fn,
                                               void *context, struct proxy_vault_request **request_out);

/* ---- records of correspondents (vaultlink_peers.c) ---- */
/* The words of an account have changed, whoever did it, so that its ring is to be listed anew; NULL: perhaps those of
   any account, since the line to the vault is new. `is_by_mail`: only by what received mail tells, which is trusted
   less than any verdict asks for. Fires before the answer to a request that changed them. */
typedef void (*proxy_vault_words_fn)(const char *account, bool is_by_mail, void *context);
void proxy_vaultlink_on_words(struct proxy_vaultlink *link, proxy_vault_words_fn on_words, void *context);

/* With ERR_OK the record, valid during the call. ERR_NOT_FOUND; ERR_STORE: it is damaged. */
typedef void (*proxy_vault_peer_fn)(enum err err, const struct keyring_peer *peer, void *context);
ERR_RETURN enum err proxy_vault_peer_get(struct proxy_vaultlink *link, const char *account, const char *address,
                                         proxy_vault_peer_fn fn, void *context,
                                         struct proxy_vault_request **request_out);
/* Saved forms of words (keyring_word_add), all of one address, as keyring_peer_hear_all takes them. A NULL `fn` lets a
   failure be logged, here and below. */
ERR_RETURN enum err proxy_vault_peer_hear(struct proxy_vaultlink *link, const char *account, struct span words,
                                          proxy_vault_done_fn fn, void *context,
                                          struct proxy_vault_request **request_out);
/* A sealed memory file of what a message tells (keyring_heard_add); it stays the caller's. */
ERR_RETURN enum err proxy_vault_peer_received(struct proxy_vaultlink *link, const char *account, int heard,
                                              proxy_vault_done_fn fn, void *context,
                                              struct proxy_vault_request **request_out);
/* Whose keys of the account are to be refreshed first, once in `period_s` (proxy/peers.h); valid during the call. */
typedef void (*proxy_vault_due_fn)(enum err err, const struct proxy_peer_due *due, void *context);
ERR_RETURN enum err proxy_vault_peer_due(struct proxy_vaultlink *link, const char *account, int64_t now,
                                         uint32_t period_s, proxy_vault_due_fn fn, void *context,
                                         struct proxy_vault_request **request_out);
/* They have been; a failure is logged. */
ERR_RETURN enum err proxy_vault_peer_refreshed(struct proxy_vaultlink *link, const char *account, const char *address,
                                               int64_t at);
/* A copy has been accepted for these addresses, encrypted in `format` to the key of each ("": not encrypted). */
struct proxy_vault_sent {
    const char *address, *fingerprint;
};
ERR_RETURN enum err proxy_vault_peer_sent(struct proxy_vaultlink *link, const char *account, int64_t at,
                                          enum keyring_format format, const struct proxy_vault_sent *sent, size_t len);

#endif
