/*
 * Who a header says wrote the message.
 */
#ifndef CRYPTO_AUTHOR_H
#define CRYPTO_AUTHOR_H

#include "mime/addr.h"

/* How many mailboxes all From fields together name. `address_out` gets the one of the one field in normal form; it is
   "" if there are more of either, or if the list cannot be read to its end. */
size_t crypto_author(struct span header, char address_out[MIME_ADDR_SIZE]);

#endif
