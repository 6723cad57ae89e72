/*
 * The views of a net process: looked up, made, kept at hand.
 *
 * A view is known by account and digest of the raw message. Records come from memory or from the vault; what the vault
 * does not know is opened in a keeper, committed in the vault, and only then given out (design 1.2.1), as it was
 * decided by whoever was first. Bodies are kept in memory, least recently used dropped first, within
 * config.view_cache_max for all accounts together; what somebody holds (struct proxy_body) does not go. Requests for
 * one view at the same time share one job. A key that is locked: ERR_KEY_LOCKED.
 */
#ifndef PROXY_VIEWS_H
#define PROXY_VIEWS_H

#include "proxy/net_internal.h"
#include "proxy/record.h"
#include "store/view.h"

struct proxy_views;
struct proxy_view_wait;

struct proxy_view_id {
    size_t account;
    uint8_t digest[STORE_DIGEST_SIZE];
    uint32_t generation;
};

/* A view's bytes, held in memory as long as somebody holds them. */
struct proxy_body {
    struct span bytes;
    const struct mime_tree *tree;
};

/* `is_plain`: the message needs no view (nothing was found in it, nothing is changed); `record` is then NULL. Borrowed
   during the call. */
typedef void (*proxy_record_fn)(enum err err, const struct proxy_record *record, bool is_plain, void *context);
/* `body` is held for the receiver until proxy_views_release. */
typedef void (*proxy_body_fn)(enum err err, struct proxy_body *body, void *context);

ERR_RETURN enum err proxy_views_new(struct proxy_net *net, struct proxy_views **views_out);
void proxy_views_free(struct proxy_views **views);

/* The record if it is in memory; borrowed until control returns to the loop. */
bool proxy_views_peek(struct proxy_views *views, const struct proxy_view_id *id, struct proxy_record *record_out);
/* From memory or the vault; ERR_NOT_FOUND: the raw message is needed (proxy_views_open). `fn` fires from the loop. */
ERR_RETURN enum err proxy_views_record(struct proxy_views *views, const struct proxy_view_id *id, proxy_record_fn fn,
                                       void *context, struct proxy_view_wait **wait_out);
/* The same for many: brings what the vault has into memory in one request; `fn` fires once, with `record` NULL. */
ERR_RETURN enum err proxy_views_load(struct proxy_views *views, const struct proxy_view_id *ids, size_t len,
                                     proxy_record_fn fn, void *context, struct proxy_view_wait **wait_out);
/* Makes the view of the raw message in the sealed memfd `fd` (taken over), or looks up what was decided of it. If it is
   opened for the first time, and `is_heard`, the vault is told what it tells by Autocrypt. */
ERR_RETURN enum err proxy_views_open(struct proxy_views *views, const struct proxy_view_id *id, int fd, bool is_heard,
                                     proxy_record_fn fn, void *context, struct proxy_view_wait **wait_out);
/* The body if it is at hand (held for the caller), else NULL. */
struct proxy_body *proxy_views_hold(struct proxy_views *views, const struct proxy_view_id *id);
/* Makes the body again from the raw message. */
ERR_RETURN enum err proxy_views_body(struct proxy_views *views, const struct proxy_view_id *id, int fd,
                                     proxy_body_fn fn, void *context, struct proxy_view_wait **wait_out);
void proxy_views_release(struct proxy_views *views, struct proxy_body **body);
/* The function will not fire. Clears `*wait`. */
void proxy_views_cancel(struct proxy_view_wait **wait);

/* Asks for each of the account's keys that is locked, once: after a login (design 1.2.6), and when a message that is to
   be opened wants one. A prompt that was cancelled is not shown again for ten minutes. */
void proxy_views_unlock(struct proxy_views *views, size_t account);

#endif
