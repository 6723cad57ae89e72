/*
 * ASN.1 items read from front to back (X.690, BER as mail has it), out of base64 or bare bytes: what a message of any
 * size is made of, in the memory of one block. For judging a structure; what is taken out of one is crypto/ber.h's.
 *
 * Strict in base64: what a lenient decoder skips could be text that stands beside. Whatever is wrong, in the encoding
 * or in an item, ends the reading for good: all further calls say no.
 */
#ifndef CRYPTO_BER_STREAM_H
#define CRYPTO_BER_STREAM_H

#include "base/buf.h"

#define CRYPTO_BER_BLOCK 3072

struct crypto_ber_stream {
    struct span text, line; /* what is to be decoded; of its current line */
    bool is_base64;
    bool is_ended; /* there was padding: nothing may follow */
    bool is_wrong;
    char bytes[CRYPTO_BER_BLOCK];
    size_t at, len;
    uint64_t taken; /* bytes, so far */
};

/* An item whose header has been read. */
struct crypto_ber_item {
    int tag, class;
    bool is_constructed, is_indefinite;
    uint64_t begin; /* of its content, in bytes taken */
    uint64_t end;   /* of its content if that is definite; else no item in it may reach beyond */
    bool is_over;   /* of an indefinite one: its end-of-contents octets have been read */
};

/* `text` is borrowed. `whole_out` stands for all of it: items are read from it as from a constructed one. */
void crypto_ber_stream_begin(struct span text, bool is_base64, struct crypto_ber_stream *stream_out,
                             struct crypto_ber_item *whole_out);
/* Reads the header of the next item of `parent`; false if there is none. What the one before holds must have been read,
   or skipped. */
bool crypto_ber_next(struct crypto_ber_stream *stream, struct crypto_ber_item *parent,
                     struct crypto_ber_item *item_out);
/* The same, if it is of this class and tag; else that is wrong. */
bool crypto_ber_next_is(struct crypto_ber_stream *stream, struct crypto_ber_item *parent, int class, int tag,
                        struct crypto_ber_item *item_out);
/* Reads over what is left of an item, of whose content in all there may be at most `max` bytes; more is wrong. */
bool crypto_ber_skip(struct crypto_ber_stream *stream, struct crypto_ber_item *item, uint64_t max);
/* True if nothing is left of an item, or of the whole. */
bool crypto_ber_is_over(struct crypto_ber_stream *stream, struct crypto_ber_item *item);
/* Reads an OBJECT IDENTIFIER; NID_undef if it is unknown or something else stands there. */
int crypto_ber_next_oid(struct crypto_ber_stream *stream, struct crypto_ber_item *parent);
/* Bytes of an item's content that have been read. */
uint64_t crypto_ber_read(const struct crypto_ber_stream *stream, const struct crypto_ber_item *item);

#endif
