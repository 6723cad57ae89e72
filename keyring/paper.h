/*
 * A key on paper: lines of text that a person can read, print, and type in again.
 *
 *     privyseal paper key
 *     Key: ABCD EF01 ...
 *     User ID: Alice Liddell <alice@example.org>
 *     Part: secret
 *
 *       1: MFRG GZDF MZTW Q2LK NNWG 23TP OBYX E43U OV3H O6DZ = ABCDE
 *     ...
 *     all: 612 bytes = FGHIJ
 *
 * The letters are base32 (RFC 4648 §6), which has neither 0, 1 nor 8; the check behind each line is CRC-24 (RFC 9580
 * §6.1) of its number and its bytes, the last one that of all bytes. Reading is tolerant of blanks, of case, of other
 * lines before and after, and takes 0, 1 and 8 for what they look like. What else is wrong is told by line. Pure. The
 * checks find slips, not malice: what is read is never believed without a person's word.
 */
#ifndef KEYRING_PAPER_H
#define KEYRING_PAPER_H

#include "base/buf.h"
#include "keyring/index.h"

#define KEYRING_PAPER_BYTES_MAX ((size_t)16384) /* of a key: more is nothing to be typed */
#define KEYRING_PAPER_TEXT_MAX ((size_t)65536)

struct keyring_paper {
    char fingerprint[KEYRING_FPR_SIZE];
    char user_id[256]; /* printable UTF-8, one line */
    bool is_secret;
};

/* Adds the text for `key` (a transferable key, binary). ERR_LIMIT: it is too long for paper. */
ERR_RETURN enum err keyring_paper_write(const struct keyring_paper *paper, struct span key, struct buf *out);
/* Whether a text is one, as far as its first line that is not blank tells. */
bool keyring_paper_is(struct span text);
/* Reads one and adds the key to `key_out`, made with buf_init_secret. ERR_MALFORMED: `problem_out` tells people what is
   wrong and in which line. The fields before the lines are for people; the key itself says whose it is. */
#define KEYRING_PAPER_PROBLEM_SIZE 200
ERR_RETURN enum err keyring_paper_read(struct span text, struct keyring_paper *paper_out, struct buf *key_out,
                                       char problem_out[KEYRING_PAPER_PROBLEM_SIZE]);

/* CRC-24 (RFC 9580 §6.1), going on from `crc`. */
#define KEYRING_CRC24_BEGIN 0xb704ceu
uint32_t keyring_crc24(uint32_t crc, struct span bytes);

#endif
