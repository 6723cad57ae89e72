/*
 * Reads gpg's listing of checked signatures (`gpg --with-colons --check-sigs`, doc/DETAILS of GnuPG) into a web of
 * trust. Only what gpg found good counts; self-signatures are no certifications.
 */
#ifndef KEYRING_WOT_LISTING_H
#define KEYRING_WOT_LISTING_H

#include "keyring/wot.h"

struct keyring_wot_owner {
    char fingerprint[KEYRING_FPR_SIZE];
    enum keyring_wot_trust trust;
    bool is_disabled;
};
/* Reads what `gpg --export-ownertrust` prints into a fresh list, sorted by fingerprint, to be freed by the caller. */
ERR_RETURN enum err keyring_wot_read_owners(struct span text, struct keyring_wot_owner **owners_out, size_t *len_out);

/* Adds the keys of a listing. What goes beyond the limits of the graph is counted as left out. ERR_MALFORMED for what
   is no such listing; lines of other kinds are passed over. */
ERR_RETURN enum err keyring_wot_read_listing(struct span listing, const struct keyring_wot_owner *owners,
                                             size_t owners_len, struct keyring_wot *wot);

#endif
