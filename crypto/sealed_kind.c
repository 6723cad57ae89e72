/* Is this message already encrypted? Only what is really encrypted, and nothing but that (design 1.1.1). */
#include "base/base64.h"
#include "crypto/ber_stream.h"
#include "crypto/inspect.h"
#include "crypto/packets.h"
#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/param.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MAX 4096       /* bytes that are looked at of a body */
#define PART_FIELD_MAX 200  /* bytes of one field in the header of a part of multipart/encrypted */
#define PART_HEADER_MAX 600 /* and of the whole of it */

/* Bytes that CMS may hold beside what is encrypted: more could be a text. */
#define RECIPIENT_MAX 4096
#define CIPHER_PARAMETERS_MAX 64
#define ATTRIBUTES_MAX 256
#define TAG_MIN 12 /* of AES-GCM and AES-CCM (RFC 5084) */
#define TAG_MAX 16

/* Only fields, and of those that say how to read the body no two: a reader might take either. */
static bool is_clear(struct span header)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);)
        if (field.name.len == 0)
            return false;
    return mime_field_count(header, "Content-Type") <= 1 && mime_field_count(header, "Content-Transfer-Encoding") <= 1;
}

/* The one Content-Type. */
static bool find_type(struct span header, struct span *value_out)
{
    struct mime_field field;

    if (!is_clear(header) || !mime_field_find(header, "Content-Type", &field))
        return false;
    *value_out = field.value;
    return true;
}

/* The parts of multipart/encrypted stand beside the encryption: their headers hold what names a part, in few words. */
static bool is_proper_part(const struct mime_part *part, struct span message)
{
    static const char *const names[] = {"Content-Type", "Content-Transfer-Encoding", "Content-Description",
                                        "Content-Disposition", "Content-ID"};
    struct span header = mime_part_header(part, message), type;
    struct mime_field field;

    if (header.len > PART_HEADER_MAX || !find_type(header, &type))
        return false;
    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        bool is_known = false;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            is_known = is_known || mime_field_is(&field, names[i]);
        if (!is_known || field.whole.len > PART_FIELD_MAX)
            return false;
    }
    return true;
}

static bool has_parameter(struct span type_value, const char *name, struct span wanted)
{
    struct buf found;
    bool is_same;

    buf_init(&found, MIME_PARAM_MAX);
    is_same = mime_param_get(type_value, name, &found) == ERR_OK && span_is_case_equal(buf_span(&found), wanted);
    buf_fini(&found);
    return is_same;
}

static bool has_protocol(struct span type_value, struct span protocol)
{
    return has_parameter(type_value, "protocol", protocol);
}

/* Strict, unlike mime_decode: what a lenient decoder skips could be text that stands beside the encryption. */
static bool decode_base64(struct span body, struct buf *out)
{
    struct span line;
    bool is_ended = false;

    while (crypto_line_take(&body, &line)) {
        line = span_trim(line);
        if (line.len == 0)
            continue;
        if (is_ended || base64_decode(line, out) != ERR_OK)
            return false;
        is_ended = line.ptr[line.len - 1] == '=';
    }
    return true;
}

/* The armour in a leaf; base64 and quoted-printable around it are harmless, as what they yield is read strictly. */
static bool has_encrypted_armour(const struct mime_part *leaf, struct span message)
{
    struct span body = mime_part_body(leaf, message);
    struct buf decoded;
    bool is_encrypted = false;

    buf_init(&decoded, body.len);
    switch (leaf->encoding) {
    case MIME_7BIT:
    case MIME_8BIT:
    case MIME_BINARY:
        is_encrypted = crypto_armour_is_encrypted(body);
        break;
    case MIME_BASE64:
        is_encrypted = decode_base64(body, &decoded) && crypto_armour_is_encrypted(buf_span(&decoded));
        break;
    case MIME_QUOTED_PRINTABLE:
        is_encrypted = mime_decode(MIME_QUOTED_PRINTABLE, body, &decoded) == ERR_OK &&
                       crypto_armour_is_encrypted(buf_span(&decoded));
        break;
    default:
        break;
    }
    buf_fini(&decoded);
    return is_encrypted;
}

/* Before the first part only what mail programs put there by rote: Enigmail and Thunderbird write one fixed line. */
static bool has_harmless_preamble(const struct mime_part *root, struct span message)
{
    static const char *const known[] = {"This is an OpenPGP/MIME encrypted message (RFC 4880 and 3156)",
                                        "This is an OpenPGP/MIME encrypted message (RFC 2440 and 3156)"};
    struct span gap = span_slice(message, root->body_at, root->first_child->header_at);
    size_t delimiter = span_find(gap, 0, SPAN_LIT("--"));

    if (!root->has_preamble)
        return true;
    gap = span_trim(span_slice(gap, 0, delimiter));
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (span_is_equal(gap, span_of(known[i])))
            return true;
    return false;
}

/* RFC 3156 §4: multipart/encrypted; first application/pgp-encrypted with "Version: 1", then the data. */
static bool is_pgp_mime(const struct mime_part *root, struct span message)
{
    const struct mime_part *control = root->first_child, *data;
    struct span type;

    if (!mime_part_is(root, "multipart", "encrypted") || root->kind != MIME_MULTIPART || control == NULL)
        return false;
    data = control->next;
    if (data == NULL || data->next != NULL || !root->is_closed || root->has_epilogue)
        return false;
    if (!find_type(mime_part_header(root, message), &type) ||
        !has_protocol(type, SPAN_LIT("application/pgp-encrypted")))
        return false;
    if (!mime_part_is(control, "application", "pgp-encrypted") || !mime_part_is(data, "application", "octet-stream") ||
        !is_proper_part(control, message) || !is_proper_part(data, message))
        return false;
    return span_is_case_equal(span_trim(mime_part_body(control, message)), SPAN_LIT("Version: 1")) &&
           has_harmless_preamble(root, message) && has_encrypted_armour(data, message);
}

/* A Content-Type is not needed for inline PGP, but two are too many. */
static bool is_inline_pgp(const struct mime_part *root, struct span message)
{
    struct span header = mime_part_header(root, message);

    return root->kind == MIME_LEAF && mime_part_is(root, "text", "plain") && is_clear(header) &&
           has_encrypted_armour(root, message);
}

/* Octets of content, in pieces or not: in pieces there could be anything else. */
static bool is_octets(struct crypto_ber_stream *stream, struct crypto_ber_item *item)
{
    struct crypto_ber_item piece;

    while (item->is_constructed && crypto_ber_next(stream, item, &piece))
        if (piece.class != V_ASN1_UNIVERSAL || piece.tag != V_ASN1_OCTET_STRING || piece.is_constructed ||
            !crypto_ber_skip(stream, &piece, UINT64_MAX))
            return false;
    return (item->is_constructed || crypto_ber_skip(stream, item, UINT64_MAX)) && !stream->is_wrong &&
           crypto_ber_read(stream, item) > 0;
}

/* AlgorithmIdentifier of a cipher; one that nobody knows may be none. */
static bool is_cipher(struct crypto_ber_stream *stream, struct crypto_ber_item *algorithm)
{
    int nid = crypto_ber_next_oid(stream, algorithm);

    return nid != NID_undef && EVP_get_cipherbynid(nid) != NULL &&
           crypto_ber_skip(stream, algorithm, crypto_ber_read(stream, algorithm) + CIPHER_PARAMETERS_MAX);
}

/* EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm, encryptedContent [0] IMPLICIT }
   (RFC 5652 §6.1). The content may be absent there by grammar; then nothing was encrypted. */
static bool is_encrypted_content(struct crypto_ber_stream *stream, struct crypto_ber_item *content)
{
    struct crypto_ber_item item;

    return crypto_ber_next_oid(stream, content) != NID_undef &&
           crypto_ber_next_is(stream, content, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) && is_cipher(stream, &item) &&
           crypto_ber_next_is(stream, content, V_ASN1_CONTEXT_SPECIFIC, 0, &item) && is_octets(stream, &item) &&
           crypto_ber_is_over(stream, content);
}

/* RecipientInfo ::= CHOICE { SEQUENCE, [1] kari, [2] kekri, [3] pwri, [4] ori } (RFC 5652 §6.2): of a key, and no
   longer than one is. Whom it is for stands there in clear, so text might, too. */
static bool are_recipients(struct crypto_ber_stream *stream, struct crypto_ber_item *set)
{
    struct crypto_ber_item item;
    bool has_any = false;

    while (crypto_ber_next(stream, set, &item)) {
        if (!item.is_constructed)
            return false;
        if (!(item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_SEQUENCE) &&
            !(item.class == V_ASN1_CONTEXT_SPECIFIC && (item.tag == 1 || item.tag == 2)))
            return false;
        if (!crypto_ber_skip(stream, &item, RECIPIENT_MAX))
            return false;
        has_any = true;
    }
    return has_any && !stream->is_wrong;
}

/* AuthEnvelopedData has authAttrs [1]?, mac, unauthAttrs [2]? at its end (RFC 5083 §2.1). */
static bool has_tag(struct crypto_ber_stream *stream, struct crypto_ber_item *content)
{
    struct crypto_ber_item item;

    if (!crypto_ber_next(stream, content, &item))
        return false;
    if (item.class == V_ASN1_CONTEXT_SPECIFIC && item.tag == 1 &&
        (!crypto_ber_skip(stream, &item, ATTRIBUTES_MAX) || !crypto_ber_next(stream, content, &item)))
        return false;
    return item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_OCTET_STRING && !item.is_constructed &&
           item.end - item.begin >= TAG_MIN && crypto_ber_skip(stream, &item, TAG_MAX);
}

/* EnvelopedData ::= SEQUENCE { version, originatorInfo [0]?, recipientInfos SET, encryptedContentInfo,
   unprotectedAttrs [1]? } (RFC 5652 §6.1). The originator's certificates and attributes that nothing protects could
   hold any text; mail programs write none. */
static bool is_enveloped(struct crypto_ber_stream *stream, struct crypto_ber_item *content, bool is_authenticated)
{
    struct crypto_ber_item item;

    return crypto_ber_next_is(stream, content, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) &&
           crypto_ber_skip(stream, &item, 1) && crypto_ber_read(stream, &item) == 1 &&
           crypto_ber_next_is(stream, content, V_ASN1_UNIVERSAL, V_ASN1_SET, &item) && are_recipients(stream, &item) &&
           crypto_ber_next_is(stream, content, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) &&
           is_encrypted_content(stream, &item) && (!is_authenticated || has_tag(stream, content)) &&
           crypto_ber_is_over(stream, content);
}

/* ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, content [0] EXPLICIT ANY } (RFC 5652 §3), and nothing after
   it; what follows the type may be looked at in between. */
struct cms {
    struct crypto_ber_stream stream;
    struct crypto_ber_item whole, info, content;
};

static int open_cms(struct cms *cms, struct span body, bool is_base64)
{
    int nid;

    crypto_ber_stream_begin(body, is_base64, &cms->stream, &cms->whole);
    if (!crypto_ber_next_is(&cms->stream, &cms->whole, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &cms->info))
        return NID_undef;
    nid = crypto_ber_next_oid(&cms->stream, &cms->info);
    return crypto_ber_next_is(&cms->stream, &cms->info, V_ASN1_CONTEXT_SPECIFIC, 0, &cms->content) ? nid : NID_undef;
}

static bool is_over(struct cms *cms)
{
    return crypto_ber_is_over(&cms->stream, &cms->content) && crypto_ber_is_over(&cms->stream, &cms->info) &&
           crypto_ber_is_over(&cms->stream, &cms->whole);
}

static bool is_enveloped_cms(struct span body, bool is_base64)
{
    struct cms cms;
    struct crypto_ber_item item;
    int nid = open_cms(&cms, body, is_base64);

    return (nid == NID_pkcs7_enveloped || nid == NID_id_smime_ct_authEnvelopedData) &&
           crypto_ber_next_is(&cms.stream, &cms.content, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) &&
           is_enveloped(&cms.stream, &item, nid == NID_id_smime_ct_authEnvelopedData) && is_over(&cms);
}

static bool is_signed_cms(struct span body, bool is_base64)
{
    struct cms cms;

    return open_cms(&cms, body, is_base64) == NID_pkcs7_signed &&
           crypto_ber_skip(&cms.stream, &cms.content, UINT64_MAX) && is_over(&cms);
}

/* Others may leave out what of S/MIME it is; what calls itself something else is left to whoever believes that. */
static bool is_called_encrypted(struct span type_value)
{
    return !has_parameter(type_value, "smime-type", SPAN_LIT("signed-data")) &&
           !has_parameter(type_value, "smime-type", SPAN_LIT("compressed-data")) &&
           !has_parameter(type_value, "smime-type", SPAN_LIT("certs-only"));
}

/* application/pkcs7-mime, alone, whose CMS is of the kind wanted. */
static bool is_smime(const struct mime_part *root, struct span message,
                     bool (*is_wanted)(struct span body, bool is_base64))
{
    struct span type;

    if (root->kind != MIME_LEAF || !find_type(mime_part_header(root, message), &type) ||
        (!mime_part_is(root, "application", "pkcs7-mime") && !mime_part_is(root, "application", "x-pkcs7-mime")))
        return false;
    return (root->encoding == MIME_BASE64 || root->encoding == MIME_BINARY) &&
           is_wanted(mime_part_body(root, message), root->encoding == MIME_BASE64);
}

enum crypto_sealed crypto_sealed_kind(struct span message, const struct mime_tree *tree)
{
    struct span type;

    if (is_pgp_mime(tree->root, message) || is_inline_pgp(tree->root, message))
        return CRYPTO_SEALED_OPENPGP;
    return is_smime(tree->root, message, is_enveloped_cms) && find_type(mime_part_header(tree->root, message), &type) &&
                   is_called_encrypted(type)
               ? CRYPTO_SEALED_SMIME
               : CRYPTO_NOT_SEALED;
}

bool crypto_is_smime_signed(struct span message, const struct mime_tree *tree)
{
    return is_smime(tree->root, message, is_signed_cms);
}

/* The first bytes of the body, decoded, are those of armour. */
static bool begins_with_armour(struct span body, struct span encoding)
{
    struct buf decoded;
    bool is_armour;

    buf_init(&decoded, LOOK_MAX);
    is_armour = mime_decode(encoding.ptr != NULL ? mime_encoding_parse(encoding) : MIME_7BIT,
                            span_slice(body, 0, LOOK_MAX / 4), &decoded) == ERR_OK &&
                span_has_prefix(span_trim(buf_span(&decoded)), SPAN_LIT("-----BEGIN PGP MESSAGE-----"));
    buf_fini(&decoded);
    return is_armour;
}

bool crypto_looks_sealed(struct span message, enum crypto_sealed kind)
{
    char text[2 * MIME_TYPE_MAX], type[MIME_TYPE_MAX] = "text", subtype[MIME_TYPE_MAX] = "plain";
    struct span value = SPAN_NONE, encoding = SPAN_NONE;
    struct mime_field field;
    size_t at = 0;

    while (mime_field_next(message, &at, &field)) {
        if (value.ptr == NULL && mime_field_is(&field, "Content-Type"))
            value = field.value;
        if (encoding.ptr == NULL && mime_field_is(&field, "Content-Transfer-Encoding"))
            encoding = field.value;
    }
    if (value.ptr != NULL && !mime_type_parse(value, type, subtype, sizeof(type)))
        return false;
    snprintf(text, sizeof(text), "%s/%s", type, subtype);
    if (kind == CRYPTO_SEALED_SMIME)
        return (strcmp(text, "application/pkcs7-mime") == 0 || strcmp(text, "application/x-pkcs7-mime") == 0) &&
               is_called_encrypted(value);
    if (kind != CRYPTO_SEALED_OPENPGP)
        return false;
    if (strcmp(text, "multipart/encrypted") == 0)
        return has_protocol(value, SPAN_LIT("application/pgp-encrypted"));
    return strcmp(text, "text/plain") == 0 && begins_with_armour(span_skip(message, at), encoding);
}
