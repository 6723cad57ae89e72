/*
 * What IMAP says of a message's content, made from the bytes of a view: ENVELOPE, BODYSTRUCTURE and sections (RFC 3501
 * §6.4.5, §7.4.2). Written so that the answers equal Dovecot's for the same bytes.
 *
 * Keepers make the structures once; net cuts sections out of views.
 */
#ifndef IMAP_CONTENT_H
#define IMAP_CONTENT_H

#include "imap/fetch.h"
#include "mime/part.h"

/* The map of a message as IMAP servers see it, for the functions below; it fails for want of memory alone. Freed with
   mime_tree_free. Beyond 10,000 parts and a nesting of 100 nothing is taken apart. */
ERR_RETURN enum err imap_content_parse(struct span message, struct mime_tree **tree_out);

/* Adds "(date subject (from) ...)"; from the header alone. Raw bytes of fields, unfolded, as servers send them. */
ERR_RETURN enum err imap_envelope_add(struct span header, struct buf *out);
/* `root` is of imap_content_parse here and below. Adds the value of BODY, or with `is_extended` of BODYSTRUCTURE. */
ERR_RETURN enum err imap_structure_add(const struct mime_part *root, struct span message, bool is_extended,
                                       struct buf *out);

/* The same without what may be long: parameters, IDs, descriptions and the like are left out, a type that is longer
   than any should be is that of opaque bytes, and messages inside have an IMAP_ENVELOPE_EMPTY. Numbers of parts, octets
   and lines are right. At most 5 MiB. */
ERR_RETURN enum err imap_structure_add_short(const struct mime_part *root, struct span message, bool is_extended,
                                             struct buf *out);
#define IMAP_ENVELOPE_EMPTY "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

/* What a section of a message is: slices of it (HEADER.FIELDS may be several). */
struct imap_slices {
    struct span *items; /* owned array of borrowed bytes */
    size_t len, capacity;
    uint64_t size;
    bool exists; /* false: no such part; servers answer with an empty literal all the same */
};
void imap_slices_fini(struct imap_slices *slices);
/* The bytes of `section` without its partial. `root` may be NULL if only the header is at hand and
   imap_section_is_header says that it is enough. */
ERR_RETURN enum err imap_section_find(const struct imap_section *section, const struct mime_part *root,
                                      struct span message, struct span header, struct imap_slices *slices_out);
/* HEADER, HEADER.FIELDS and HEADER.FIELDS.NOT of the message itself. */
bool imap_section_is_header(const struct imap_section *section);
/* Cuts <offset.count> out, as RFC 3501 has it: beyond the end it is empty, not NIL. */
void imap_slices_cut(struct imap_slices *slices, uint64_t offset, uint64_t count);

#endif
