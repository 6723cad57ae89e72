/*
 * Inside the views of the store: which rows a view has.
 */
#ifndef STORE_VIEW_INTERNAL_H
#define STORE_VIEW_INTERNAL_H

#include "store/store_internal.h"
#include "store/view.h"

/* A key, looked up: its account, and the tag by which the message's rows are found. */
struct store_view_row {
    struct store_account *account; /* borrowed until another account is looked up */
    uint8_t message[STORE_TAG_SIZE];
    uint32_t generation;
};

/* The kinds of tags and of sealed values. */
enum {
    STORE_TAG_MESSAGE = 'm',
    STORE_TAG_MAILBOX = 'b',
    STORE_TAG_ALIAS = 'a',
    STORE_TAG_PRIVATE_KEY = 'x',
    STORE_ROW_DECISION = 'd',
    STORE_ROW_KEYS = 'k',
    STORE_ROW_RECORD = 'r',
    STORE_ROW_TEXT = 't',
    STORE_ROW_MAILBOX = 'n',
    STORE_ROW_MAILBOX_LATER = 'N', /* in durable.sqlite */
    STORE_ROW_PLACES = 'p',
    STORE_ROW_PLACES_LATER = 'P',
    STORE_ROW_ALIAS = 'e',
    STORE_ROW_PRIVATE_KEY = 'X'
};

ERR_RETURN enum err store_view_row(struct store *store, const struct store_view_key *key,
                                   struct store_view_row *row_out);
/* Binds message and generation to the first two parameters. */
void store_bind_view(sqlite3_stmt *statement, const struct store_view_row *row);
/* Opens a value of the view that was sealed as `kind`, under the account's key for views. */
ERR_RETURN enum err store_view_unseal(struct store *store, const struct store_view_row *row, char kind,
                                      struct span sealed, struct buf *out);
/* Adds the IDs of a message that came encrypted, in the transaction that is open; those that are known stay. */
ERR_RETURN enum err store_encrypted_insert(struct store *store, const struct store_account *account, struct span ids);
/* Drops record and text. */
ERR_RETURN enum err store_view_drop(struct store *store, const struct store_view_row *row);

#endif
