#include "keyring/dane_internal.h"

#include <openssl/err.h>
#include <openssl/x509.h>

#define CLASS_IN 1
#define LABEL_KIND 0xc0u /* two bits say what a label is: its length follows, or (both set) where the rest stands */
#define SMIMEA_HEAD_LEN 3

/* ---- messages (RFC 1035 §4.1) ---- */

static bool take(struct span *rest, size_t len, struct span *piece)
{
    if (rest->len < len)
        return false;
    *piece = span_slice(*rest, 0, len);
    *rest = span_skip(*rest, len);
    return true;
}

/* High byte first. */
static bool take_number(struct span *rest, size_t len, uint32_t *number)
{
    struct span bytes;
    if (!take(rest, len, &bytes))
        return false;
    *number = 0;
    for (size_t i = 0; i < len; i++)
        *number = *number << 8 | (unsigned char)bytes.ptr[i];
    return true;
}

/* Where it leads does not matter: libunbound has checked what belongs to the question. */
static bool skip_name(struct span *rest)
{
    uint32_t label;
    struct span bytes;
    while (take_number(rest, 1, &label)) {
        if (label == 0)
            return true;
        if ((label & LABEL_KIND) == LABEL_KIND)
            return take(rest, 1, &bytes);
        if ((label & LABEL_KIND) != 0 || !take(rest, label, &bytes))
            return false;
    }
    return false;
}

static bool skip_questions(struct span *rest, uint32_t len)
{
    struct span bytes;
    for (uint32_t i = 0; i < len; i++)
        if (!skip_name(rest) || !take(rest, 4, &bytes))
            return false;
    return true;
}

/* ---- records ---- */

static enum err add(struct dane_answer *answer, enum keyring_found_kind kind, struct span bytes)
{
    const struct dane_piece piece = {kind, answer->bytes.len, bytes.len};
    enum err err = buf_add_span(&answer->bytes, bytes);
    if (err == ERR_OK)
        answer->pieces[answer->pieces_len++] = piece;
    return err;
}

/* A public key packet comes first (RFC 4880 §4.2, §11.1), with either form of its header; never armour (RFC 7929
   §2.1). */
static enum err add_openpgpkey(struct dane_answer *answer, struct span rdata)
{
    const unsigned first = rdata.len > 0 ? (unsigned char)rdata.ptr[0] : 0;
    if (first == 0xc6 || (first & 0xfcu) == 0x98)
        return add(answer, KEYRING_FOUND_OPENPGP, rdata);
    answer->malformed++;
    return ERR_OK;
}

static bool is_certificate(struct span der)
{
    const unsigned char *at = (const unsigned char *)der.ptr;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.len);
    const bool is_whole = certificate != NULL && at == (const unsigned char *)der.ptr + der.len;
    X509_free(certificate);
    ERR_clear_error();
    return is_whole;
}

/* usage selector matching data (RFC 8162 §2, RFC 6698 §2.1). Only a whole certificate can be encrypted to. With usage 3
   it is the person's by this record alone; with 1 it needs a chain to an anchor besides; with 0 and 2 it is the
   issuer's, who may be part of such a chain. */
static enum err add_smimea(struct dane_answer *answer, struct span rdata)
{
    enum { USAGE_MAX = 3, SELECTOR_MAX = 1, MATCHING_MAX = 2 };
    uint32_t usage, selector, matching;
    if (!take_number(&rdata, 1, &usage) || !take_number(&rdata, 1, &selector) || !take_number(&rdata, 1, &matching) ||
        rdata.len == 0 || usage > USAGE_MAX || selector > SELECTOR_MAX || matching > MATCHING_MAX) {
        answer->malformed++;
        return ERR_OK;
    }
    if (selector != 0 || matching != 0) {
        answer->digests++;
        return ERR_OK;
    }
    if (is_certificate(rdata))
        return add(answer, usage == USAGE_MAX ? KEYRING_FOUND_CERTIFICATE : KEYRING_FOUND_HINT, rdata);
    answer->malformed++;
    return ERR_OK;
}

static enum err add_record(struct dane_answer *answer, enum keyring_dane_type type, struct span rdata, size_t number)
{
    answer->records++;
    if (number >= DANE_RECORDS_MAX) {
        answer->surplus++;
        return ERR_OK;
    }
    return type == KEYRING_DANE_SMIMEA ? add_smimea(answer, rdata) : add_openpgpkey(answer, rdata);
}

enum err dane_answer_read(struct dane_answer *answer, struct span message, enum keyring_dane_type type, unsigned *rcode)
{
    uint32_t id, flags, questions, answers, other;
    size_t number = 0;
    enum err err = ERR_OK;
    if (!take_number(&message, 2, &id) || !take_number(&message, 2, &flags) || !take_number(&message, 2, &questions) ||
        !take_number(&message, 2, &answers) || !take_number(&message, 4, &other) ||
        !skip_questions(&message, questions))
        return ERR_MALFORMED;
    *rcode = flags & 0xfu;
    for (uint32_t i = 0; err == ERR_OK && i < answers; i++) {
        uint32_t its_type, its_class, ttl, len;
        struct span rdata;
        if (!skip_name(&message) || !take_number(&message, 2, &its_type) || !take_number(&message, 2, &its_class) ||
            !take_number(&message, 4, &ttl) || !take_number(&message, 2, &len) || !take(&message, len, &rdata))
            return ERR_MALFORMED;
        if (its_type == (uint32_t)type && its_class == CLASS_IN)
            err = add_record(answer, type, rdata, number++);
    }
    return err;
}
