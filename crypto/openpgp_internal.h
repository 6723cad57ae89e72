/*
 * What openpgp.c and openpgp_open.c share. Nobody else includes this.
 */
#ifndef CRYPTO_OPENPGP_INTERNAL_H
#define CRYPTO_OPENPGP_INTERNAL_H

#include "crypto/openpgp.h"

/* Where GPGME's output goes: into `buf`, or appended to `fd`. */
struct openpgp_sink {
    struct buf *buf; /* NULL: `fd` */
    int fd;
    size_t size_max; /* of what `fd` may grow to */
    bool is_armour;  /* gpg ends armoured lines with LF; mail wants CRLF */
    enum err err;    /* why a write was refused */
};
/* A GPGME data object that writes to `sink`. */
ERR_RETURN enum err openpgp_sink_data(struct openpgp_sink *sink, gpgme_data_t *data_out);

/* Where GPGME's input comes from. */
struct openpgp_source {
    const struct mime_pieces *pieces;
    size_t at, hint;
};
ERR_RETURN enum err openpgp_source_data(struct openpgp_source *source, gpgme_data_t *data_out);

#endif
