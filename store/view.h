/*
 * Views of messages, where they stand, and what can be searched in them (design 1.2.1 and section 4).
 *
 * A view belongs to (account, digest of the raw message, generation). Its decision (verdict, size, digest of the view)
 * is kept for good and the first commit of it wins, so that a view never changes; what is large and can be made again
 * (record, searchable text) is dropped, oldest first, when the file passes its bound. Places say which UIDs of which
 * mailbox hold which view, or need none. Values are sealed under two keys per account (store/account.h), one
 * for views, text and places, one for session keys. While those are locked, all but counting, clearing and marking
 * gives ERR_KEY_LOCKED.
 *
 * Decisions, session keys, marks and the places of later generations lie in durable.sqlite and are on disk when a call
 * returns (in a group of calls, when store_group_end returns). The rest lies in views.sqlite, which may be deleted and
 * is made anew when it is damaged: it survives the end of the process at any point, but its last commits may be lost
 * with the machine's power, which costs nothing but making them again.
 *
 * A message whose place is not known has generation 0: places of later generations are never lost, so whatever has no
 * place has never been shown as another one.
 */
#ifndef STORE_VIEW_H
#define STORE_VIEW_H

#include "mime/text.h"
#include "store/store.h"

#define STORE_DIGEST_SIZE 32
#define STORE_RECORD_MAX ((size_t)16 << 20)
#define STORE_TEXT_MAX ((size_t)256 << 20)
#define STORE_DECISION_MAX 4096 /* also of the session keys */

struct store_view_key {
    const char *account;
    uint8_t digest[STORE_DIGEST_SIZE]; /* SHA-256 of the raw message */
    uint32_t generation;               /* 0, and one more for each `store reopen` of it */
};

/* What the store keeps for a view; opaque to it but for the saved text, which it can search. */
struct store_view {
    struct span decision;     /* at most 4 KiB; see crypto/decision.h */
    struct span session_keys; /* at most 4 KiB */
    struct span record;       /* header, ENVELOPE, BODYSTRUCTURE, ...: proxy/record.h; at most STORE_RECORD_MAX */
    struct span text;         /* mime/text.h; not given back by store_view_get */
    bool is_failed;           /* the decision says that it could not be opened; not given back by store_view_get */
    /* If it came encrypted and was opened: digests of its Message-IDs, one after the other (store/encrypted.h); not
       given back by store_view_get. */
    struct span encrypted_ids;
};

/* Keeps a view. If there is a decision for the key already, that one stays, and so do its session keys; the record and
   the text are kept if they were dropped and `decision` is the same as the old one (else ERR_EXISTS: look it up and
   make the view again from what was decided). */
ERR_RETURN enum err store_view_put(struct store *store, const struct store_view_key *key, const struct store_view *view,
                                   int64_t now);
/* ERR_NOT_FOUND: never decided. Parts that were dropped come back empty. `out` owns the bytes that the spans of
   `view_out` point to. */
struct buf;
ERR_RETURN enum err store_view_get(struct store *store, const struct store_view_key *key, struct buf *out,
                                   struct store_view *view_out);
/* The newest generation that has a decision, or that is due: the one after a marked one (store_view_reopen), which a
   place may have before anybody has decided it. ERR_NOT_FOUND. */
ERR_RETURN enum err store_view_generation(struct store *store, const char *account,
                                          const uint8_t digest[STORE_DIGEST_SIZE], uint32_t *generation_out);

/* Marks what could not be opened to be judged again: store_places_get tells of each place whether its view is marked.
   The mark stays, since other places may hold the same view: it says that this generation is not to be shown for
   longer than it must. Gives the number of messages that no generation has opened. */
ERR_RETURN enum err store_view_reopen(struct store *store, const char *account, uint64_t *messages_out);

/* A mailbox as the server names it, in one of its lives. */
struct store_mailbox {
    const char *account;
    struct span name;
    uint32_t uid_validity;
};

struct store_place {
    uint32_t uid;
    bool is_view; /* false: the message needs none; then the rest means nothing */
    uint8_t digest[STORE_DIGEST_SIZE];
    uint32_t generation;
    bool wants_reopen; /* given by store_places_get: `store reopen` has marked the view */
};
/* All places that are known of a mailbox, ascending by UID. Another UIDVALIDITY than that of the places which are kept
   forgets those. `*places_out` is allocated, the caller frees. */
ERR_RETURN enum err store_places_get(struct store *store, const struct store_mailbox *mailbox,
                                     struct store_place **places_out, size_t *len_out);
/* Adds (or replaces) places, in one commit; a place of a later generation is replaced only by a still later one. */
ERR_RETURN enum err store_places_put(struct store *store, const struct store_mailbox *mailbox,
                                     const struct store_place *places, size_t len);
ERR_RETURN enum err store_places_forget(struct store *store, const struct store_mailbox *mailbox, const uint32_t *uids,
                                        size_t len);
/* The mailbox has another name now; what was known under that one is forgotten. Mailboxes below it (name + separator)
   move, too. An empty `to`: deleted. */
ERR_RETURN enum err store_places_rename(struct store *store, const char *account, struct span from, struct span to,
                                        char separator);

/* Other names of an account's messages: what a server calls a content of which it says that it never changes (RFC 8474
   EMAILID), as a digest. Where the same name turns up again, so does the view, without a look at the message. Remembers
   which view the message has, or that it needs none; the UID and the generation of `place` mean nothing. */
ERR_RETURN enum err store_alias_put(struct store *store, const char *account, const uint8_t name[STORE_DIGEST_SIZE],
                                    const struct store_place *place);
/* What is known of names (all of one account; generations mean nothing): places whose `uid` is the number of the name,
   from 1 on, ascending; their generation is 0. One that was never decided is left out, and one of which there is
   a later generation: which of them counts depends on the place. `*places_out` is allocated, the caller frees. */
ERR_RETURN enum err store_aliases_get(struct store *store, const struct store_view_key *names, size_t len,
                                      struct store_place **places_out, size_t *len_out);

/* Tests the searchable text of each view against each leaf: `bits_out` gets leaves_len rows of (len + 7) / 8 bytes,
   view i being bit i % 8 (value 1 << i % 8) of byte i / 8. ERR_NOT_FOUND: the text of view number `*missing_out` was
   dropped or never kept; it must be made again first. */
ERR_RETURN enum err store_view_search(struct store *store, const struct store_view_key *keys, size_t len,
                                      const struct mime_text_leaf *leaves, size_t leaves_len, uint8_t *bits_out,
                                      size_t *missing_out);

struct store_totals {
    uint64_t views, failed; /* messages that were decided; of those, not opened, and not by a later generation either */
    uint64_t records;       /* with record and text at hand */
    uint64_t places, mailboxes;
    uint64_t bytes; /* of views.sqlite, all accounts together */
};
ERR_RETURN enum err store_view_totals(struct store *store, const char *account, struct store_totals *totals_out);
/* Drops records, texts, places and other names (of one account, or of all if NULL); decisions stay. */
ERR_RETURN enum err store_view_clear(struct store *store, const char *account);
/* Drops the oldest records and texts until views.sqlite holds at most `bytes_max`: a bounded number in one call,
   ERR_AGAIN says that more are left to be dropped. */
ERR_RETURN enum err store_view_shrink(struct store *store, uint64_t bytes_max);

#endif
