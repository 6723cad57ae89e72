/*
 * Which messages came encrypted and were opened, by their Message-IDs, so that a reply to one is known for what it is
 * (design 1.1.1).
 *
 * They come with a view (store_view_put) and are kept for good in durable.sqlite, as its decision is: what is cleared
 * of views is not forgotten here. An ID is given as a digest of it and found by a tag with the store's key, so that the
 * file tells nobody which IDs they are. The key is the store's own, as for deliveries: mail is also sent while no key
 * of the account is at hand.
 */
#ifndef STORE_ENCRYPTED_H
#define STORE_ENCRYPTED_H

#include "store/store.h"

#define STORE_MESSAGE_ID_SIZE 32 /* of the digest of a Message-ID */

/* Whether one of `ids`, digests one after the other, is the ID of a message of this account that came encrypted. */
ERR_RETURN enum err store_encrypted_find(struct store *store, const char *account, struct span ids, bool *is_found_out);

#endif
