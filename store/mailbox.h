/*
 * The mailboxes whose places are kept: looked up by name, renamed, forgotten; in either of the two files.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/view_internal.h"

/* A mailbox, looked up in one of the files. */
struct store_mailbox_row {
    struct store *store;
    struct store_database *database;
    struct store_account *account;
    uint8_t tag[STORE_TAG_SIZE];
    int64_t id;
    uint32_t uid_validity;
};

/* Whether the row is one of durable.sqlite. What does not open there is an error; elsewhere it is learnt again. */
bool store_mailbox_is_durable(const struct store_mailbox_row *mailbox);

/* Finds the mailbox in its present life. Of an earlier one everything is forgotten, as of what does not open in
   views.sqlite: ERR_NOT_FOUND then, as if it had never been. In a transaction of the caller's. */
ERR_RETURN enum err store_mailbox_find(struct store *store, struct store_database *database,
                                       const struct store_mailbox *wanted, struct store_mailbox_row *mailbox_out);
/* Finds or makes it. */
ERR_RETURN enum err store_mailbox_need(struct store *store, struct store_database *database,
                                       const struct store_mailbox *wanted, struct store_mailbox_row *mailbox_out);

#endif
