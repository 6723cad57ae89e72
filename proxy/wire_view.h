/*
 * The fields and files of the messages about views, places and searches (proxy/wire.h), written and read by both sides.
 *
 * What may be long travels as a file, in the form of base/packed.h. A reader trusts nothing: a number out of range, a
 * length that does not fit, bytes left over make the file malformed (ERR_PEER_PROTOCOL).
 */
#ifndef PROXY_WIRE_VIEW_H
#define PROXY_WIRE_VIEW_H

#include "mime/addr.h"
#include "proxy/vault_views.h"

#define PROXY_LEAVES_MAX 1000u
#define PROXY_LEAVES_SIZE_MAX ((size_t)16 << 20)
/* An answer with views grows no more when it has passed this. */
#define PROXY_VIEWS_SIZE_ENOUGH ((size_t)32 << 20)
#define PROXY_VIEWS_SIZE_MAX (PROXY_VIEWS_SIZE_ENOUGH + STORE_RECORD_MAX + 65536)
#define PROXY_KEYS_SIZE_MAX ((size_t)PROXY_VAULT_KEYS_MAX * (STORE_DIGEST_SIZE + 4))
#define PROXY_PLACES_SIZE_MAX ((size_t)PROXY_VAULT_PLACES_MAX * (STORE_DIGEST_SIZE + 12))
#define PROXY_UIDS_SIZE_MAX ((size_t)PROXY_VAULT_PLACES_MAX * 4)
#define PROXY_BITS_SIZE_MAX ((size_t)PROXY_LEAVES_MAX * (PROXY_VAULT_KEYS_MAX / 8 + 1))
#define PROXY_MAILBOX_SIZE_MAX 8192u

/* Fields. Errors stay in the message; what was read then is empty. `account` is where the name goes that the result
   points to; a mailbox's name points into the message. */
void proxy_put_view_key(struct ipc_out *out, const struct store_view_key *key);
void proxy_get_view_key(struct ipc_in *in, char account[MIME_ADDR_SIZE], struct store_view_key *key_out);
void proxy_put_mailbox(struct ipc_out *out, const struct store_mailbox *mailbox);
void proxy_get_mailbox(struct ipc_in *in, char account[MIME_ADDR_SIZE], struct store_mailbox *mailbox_out);
void proxy_put_totals(struct ipc_out *out, const struct store_totals *totals);
void proxy_get_totals(struct ipc_in *in, struct store_totals *totals_out);

/* Puts a sealed file that holds `content`; the caller closes `*fd_out` (-1 on failure) when the message is sent. */
void proxy_put_content(struct ipc_out *out, const char *name, struct span content, int *fd_out);
/* Takes the next file and maps it; empty on failure. Ends with memfd_unmap. */
struct span proxy_get_content(struct ipc_in *in, size_t size_max);

/* What stands in files. The keys' accounts do not travel: they are `account` afterwards. Arrays are allocated, the
   caller frees; NULL and 0 on failure. */
ERR_RETURN enum err proxy_write_keys(const struct store_view_key *keys, size_t len, struct buf *out);
ERR_RETURN enum err proxy_read_keys(struct span content, const char *account, struct store_view_key **keys_out,
                                    size_t *len_out);
ERR_RETURN enum err proxy_write_leaves(const struct mime_text_leaf *leaves, size_t len, struct buf *out);
ERR_RETURN enum err proxy_read_leaves(struct span content, struct mime_text_leaf **leaves_out, size_t *len_out);
void proxy_free_leaves(struct mime_text_leaf *leaves, size_t len);
/* One view; ERR_OK adds it wholly. */
ERR_RETURN enum err proxy_write_view(const struct proxy_vault_found *found, struct buf *out);
/* At most `len_max` views, and at least one; they point into `content`. */
ERR_RETURN enum err proxy_read_views(struct span content, size_t len_max, struct proxy_vault_found **views_out,
                                     size_t *len_out);
/* Places ascend by UID, which is never 0. */
ERR_RETURN enum err proxy_write_places(const struct store_place *places, size_t len, struct buf *out);
ERR_RETURN enum err proxy_read_places(struct span content, struct store_place **places_out, size_t *len_out);
ERR_RETURN enum err proxy_write_uids(const uint32_t *uids, size_t len, struct buf *out);
ERR_RETURN enum err proxy_read_uids(struct span content, uint32_t **uids_out, size_t *len_out);

#endif
