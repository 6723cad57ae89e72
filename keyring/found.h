/*
 * What directories and other sources said about one address, on its way from the finder to a keeper: a saved form of
 * any number of certificates and keys, each with whose word it is and how long that counts, and of the sources that
 * have said all that they have. Nothing of it has been judged.
 */
#ifndef KEYRING_FOUND_H
#define KEYRING_FOUND_H

#include "base/buf.h"
#include "keyring/source.h"

#include <stdint.h>

#define KEYRING_FOUND_SIZE_MAX ((size_t)8 << 20) /* bytes of a saved form */
#define KEYRING_FOUND_PIECE_MAX ((size_t)262144) /* bytes of one certificate or key */

enum keyring_found_kind {
    KEYRING_FOUND_RAW = 0,         /* not looked at; in no saved form */
    KEYRING_FOUND_CERTIFICATE = 1, /* DER */
    KEYRING_FOUND_OPENPGP = 2,     /* binary or armour */
    KEYRING_FOUND_ALL = 3,         /* no bytes: the source has nothing else for the address */
    KEYRING_FOUND_HINT = 4         /* DER, and its source does not say that it is the address's; in no saved form */
};

/* One piece of a source's answer; its bytes are borrowed. */
struct keyring_piece {
    enum keyring_found_kind kind;
    struct span bytes;
};
/* How a source answers what it was asked. Fires once: ERR_OK with what was found, which may be nothing (borrowed during
   the call); ERR_LOOKUP: this question has no answer; ERR_UPSTREAM_DOWN: the source cannot be asked, or does not answer
   in time; in both cases there may be something that was found all the same, beside what could not be asked. `problem`
   says why, for people; with ERR_OK, why that is not all that the source has ("": it is). It may be asked again from
   there. */
typedef void (*keyring_answer_fn)(enum err err, const struct keyring_piece *pieces, size_t pieces_len,
                                  const char *problem, void *context);

struct keyring_found {
    enum keyring_found_kind kind;
    enum keyring_source source;
    bool is_found;      /* the source's word for the address counts as `found` */
    int64_t until;      /* when it must be asked again */
    char directory[64]; /* the title of its section; "" where a source has none */
    struct span bytes;
};

ERR_RETURN enum err keyring_found_add(struct buf *out, const struct keyring_found *found);
/* Takes the next off the front of `*rest`; its bytes are borrowed from there. ERR_END after the last;
   ERR_PEER_PROTOCOL: it is no saved form. */
ERR_RETURN enum err keyring_found_take(struct span *rest, struct keyring_found *found_out);

#endif
