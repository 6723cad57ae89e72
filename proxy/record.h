/*
 * What is kept of a view for answering a mail program without the message: its sizes, header, ENVELOPE, BODY and
 * BODYSTRUCTURE. Made in a keeper from the view's bytes, kept by the vault, served by net. The saved form is checked
 * when it is read.
 */
#ifndef PROXY_RECORD_H
#define PROXY_RECORD_H

#include "base/buf.h"
#include "mime/part.h"

struct proxy_record {
    uint64_t size;        /* of the view: RFC822.SIZE */
    struct span header;   /* with its empty line: BODY[HEADER] */
    struct span envelope; /* values as they stand in a FETCH response */
    struct span body;
    struct span structure;
};

/* `root` is of imap_content_parse. Adds the record. ERR_LIMIT: `out` has no room for it. */
ERR_RETURN enum err proxy_record_save(const struct mime_part *root, struct span view, struct buf *out);
/* The same with as little as there must be: the short structures, and an ENVELOPE that is empty if it would be large.
   Has room in STORE_RECORD_MAX if the header has no more than 1 MiB. */
ERR_RETURN enum err proxy_record_save_short(const struct mime_part *root, struct span view, struct buf *out);
/* The spans point into `saved`. ERR_PEER_PROTOCOL. */
ERR_RETURN enum err proxy_record_load(struct span saved, struct proxy_record *record_out);

#endif
