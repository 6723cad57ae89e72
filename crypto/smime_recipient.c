/* Recipients of EnvelopedData, one after the other (RFC 5652 §6.2). */
#include "crypto/smime_internal.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#define SERIAL_MAX 64 /* octets, where 20 are allowed (RFC 5280 §4.1.2.2) */

/* The alternatives of RecipientInfo that are tagged. */
enum { AGREED = 1, KEY_ENCRYPTION_KEY = 2, PASSWORD = 3 };

bool smime_take_whole(struct span *rest, struct crypto_ber *item_out, struct span *whole_out)
{
    struct span before = *rest;

    if (!crypto_ber_take(rest, item_out))
        return false;
    *whole_out = span_slice(before, 0, (size_t)(rest->ptr - before.ptr));
    return true;
}

bool smime_take_octets(struct span *rest, struct span *octets_out)
{
    struct crypto_ber item;

    if (!crypto_ber_take(rest, &item) || item.is_constructed ||
        !((item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_OCTET_STRING) ||
          (item.class == V_ASN1_CONTEXT_SPECIFIC && item.tag == 0)))
        return false;
    *octets_out = item.content;
    return true;
}

/* CHOICE { issuerAndSerialNumber SEQUENCE, subjectKeyIdentifier [0] }; of KeyAgreeRecipientIdentifier [0] is a SEQUENCE
   that begins with it. */
static bool take_name(struct span *rest, struct smime_recipient *recipient)
{
    struct span ahead = *rest, inside;
    struct crypto_ber item, part;

    recipient->key_id = SPAN_NONE;
    if (!crypto_ber_take(&ahead, &item))
        return false;
    inside = item.content;
    if (item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_SEQUENCE) {
        *rest = ahead;
        return smime_take_whole(&inside, &part, &recipient->issuer) &&
               smime_take_whole(&inside, &part, &recipient->serial);
    }
    if (item.class != V_ASN1_CONTEXT_SPECIFIC || item.tag != 0)
        return false;
    if (!recipient->is_agreed)
        return smime_take_octets(rest, &recipient->key_id);
    *rest = ahead;
    return smime_take_octets(&inside, &recipient->key_id);
}

static bool take_algorithm(struct span *rest, struct smime_recipient *recipient)
{
    struct crypto_ber item;

    if (!crypto_ber_expect(rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
        return false;
    recipient->algorithm = item.content;
    return true;
}

/* OriginatorPublicKey, which is [1] of the originator: SEQUENCE { algorithm, publicKey BIT STRING }. Others name a
   certificate of a sender whose key does not change; nobody sends those. */
static bool take_originator(struct span *rest, struct smime_recipient *recipient)
{
    struct crypto_ber item;
    struct span inside;

    if (!crypto_ber_expect(rest, V_ASN1_CONTEXT_SPECIFIC, 0, &item))
        return false;
    inside = item.content;
    if (!crypto_ber_expect(&inside, V_ASN1_CONTEXT_SPECIFIC, 1, &item) || inside.len > 0)
        return false;
    inside = item.content;
    if (!crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) ||
        !crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_BIT_STRING, &item) || item.is_constructed ||
        item.content.len < 2 || item.content.ptr[0] != 0)
        return false;
    recipient->originator = span_skip(item.content, 1);
    return true;
}

static bool take_keying(struct span *rest, struct smime_recipient *recipient)
{
    struct span ahead = *rest;
    struct crypto_ber item;

    recipient->keying = SPAN_NONE;
    if (!crypto_ber_expect(&ahead, V_ASN1_CONTEXT_SPECIFIC, 1, &item))
        return true;
    *rest = ahead;
    ahead = item.content;
    return smime_take_octets(&ahead, &recipient->keying);
}

struct walk {
    smime_recipient_fn each;
    void *context;
    size_t left;
};

static enum err hand_out(struct walk *walk, const struct smime_recipient *recipient)
{
    if (walk->left-- == 0)
        return ERR_DECRYPT;
    return walk->each(recipient, walk->context);
}

/* KeyTransRecipientInfo ::= SEQUENCE { version, rid, keyEncryptionAlgorithm, encryptedKey } */
static enum err walk_transported(struct walk *walk, struct span inside)
{
    struct smime_recipient recipient = {.is_agreed = false};
    struct crypto_ber version;

    if (!crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &version) || !take_name(&inside, &recipient) ||
        !take_algorithm(&inside, &recipient) || !smime_take_octets(&inside, &recipient.wrapped))
        return ERR_DECRYPT;
    return hand_out(walk, &recipient);
}

/* KeyAgreeRecipientInfo ::= SEQUENCE { version, originator [0] EXPLICIT, ukm [1] EXPLICIT OPTIONAL,
   keyEncryptionAlgorithm, recipientEncryptedKeys SEQUENCE OF SEQUENCE { rid, encryptedKey } } */
static enum err walk_agreed(struct walk *walk, struct span inside)
{
    struct smime_recipient recipient = {.is_agreed = true};
    struct crypto_ber item;
    struct span keys;
    enum err result = ERR_OK;

    if (!crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) || !take_originator(&inside, &recipient) ||
        !take_keying(&inside, &recipient) || !take_algorithm(&inside, &recipient) ||
        !crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
        return ERR_DECRYPT;
    for (keys = item.content; result == ERR_OK && keys.len > 0;) {
        if (!crypto_ber_expect(&keys, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
            return ERR_DECRYPT;
        inside = item.content;
        if (!take_name(&inside, &recipient) || !smime_take_octets(&inside, &recipient.wrapped))
            return ERR_DECRYPT;
        result = hand_out(walk, &recipient);
    }
    return result;
}

enum err smime_each_recipient(struct span recipients, smime_recipient_fn each, void *context, bool *has_password_out)
{
    struct walk walk = {each, context, SMIME_RECIPIENTS_MAX};
    struct crypto_ber item;
    enum err result = ERR_OK;

    *has_password_out = false;
    for (size_t i = 0; result == ERR_OK && recipients.len > 0; i++) {
        if (i >= SMIME_RECIPIENTS_MAX || !crypto_ber_take(&recipients, &item))
            return ERR_DECRYPT;
        if (item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_SEQUENCE)
            result = walk_transported(&walk, item.content);
        else if (item.class == V_ASN1_CONTEXT_SPECIFIC && item.tag == AGREED)
            result = walk_agreed(&walk, item.content);
        else if (item.class == V_ASN1_CONTEXT_SPECIFIC && (item.tag == KEY_ENCRYPTION_KEY || item.tag == PASSWORD))
            *has_password_out = true;
    }
    return result;
}

static bool is_issued_as(const struct smime_recipient *recipient, const X509 *certificate)
{
    const unsigned char *name_at = (const unsigned char *)recipient->issuer.ptr;
    const unsigned char *serial_at = (const unsigned char *)recipient->serial.ptr;
    X509_NAME *name;
    ASN1_INTEGER *serial;
    bool is_it;

    int len = i2d_X509_NAME(X509_get_issuer_name(certificate), NULL);

    /* The same name may be written in other strings, but not at any length: thousands of long ones would take long. */
    if (len < 0 || recipient->issuer.len > 4 * (size_t)len || recipient->serial.len > SERIAL_MAX)
        return false;
    name = d2i_X509_NAME(NULL, &name_at, (long)recipient->issuer.len);
    serial = d2i_ASN1_INTEGER(NULL, &serial_at, (long)recipient->serial.len);
    is_it = name != NULL && serial != NULL && X509_NAME_cmp(name, X509_get_issuer_name(certificate)) == 0 &&
            ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(certificate)) == 0;
    X509_NAME_free(name);
    ASN1_INTEGER_free(serial);
    ERR_clear_error();
    return is_it;
}

bool smime_recipient_is(const struct smime_recipient *recipient, const X509 *certificate)
{
    const ASN1_OCTET_STRING *id;

    if (recipient->key_id.ptr == NULL)
        return is_issued_as(recipient, certificate);
    /* It asks for the extension to be read, and that is kept inside of the certificate. */
    id = X509_get0_subject_key_id((X509 *)(uintptr_t)certificate);
    return id != NULL && span_is_equal(recipient->key_id, (struct span){(const char *)ASN1_STRING_get0_data(id),
                                                                        (size_t)ASN1_STRING_length(id)});
}
