/*
 * Text out of CMS that is not encrypted, by hand: OpenSSL would copy a signed text once more, and Debian's has no
 * compression.
 */
#include "crypto/smime.h"

#include "crypto/ber.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <zlib.h>

#define EXPANSION_FREE ((size_t)16 << 20) /* bytes that any ratio may reach */
#define EXPANSION_RATIO_MAX 200

enum crypto_smime_kind crypto_smime_kind(struct span cms)
{
    struct span content;

    switch (crypto_cms_content(cms, &content)) {
    case NID_pkcs7_signed:
        return CRYPTO_SMIME_SIGNED;
    case NID_pkcs7_enveloped:
    case NID_id_smime_ct_authEnvelopedData:
        return CRYPTO_SMIME_ENCRYPTED;
    case NID_id_smime_ct_compressedData:
        return CRYPTO_SMIME_COMPRESSED;
    default:
        return CRYPTO_SMIME_NONE;
    }
}

/* EncapsulatedContentInfo ::= SEQUENCE { eContentType OBJECT IDENTIFIER, eContent [0] EXPLICIT OCTET STRING OPTIONAL }
   (RFC 5652 §5.2), with mail in it. */
static bool take_encapsulated(struct span *rest, struct crypto_ber *octets_out)
{
    struct crypto_ber item;
    struct span inside;

    if (!crypto_ber_expect(rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
        return false;
    inside = item.content;
    if (crypto_ber_take_oid(&inside) != NID_pkcs7_data ||
        !crypto_ber_expect(&inside, V_ASN1_CONTEXT_SPECIFIC, 0, &item) || inside.len > 0)
        return false;
    inside = item.content;
    return crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_OCTET_STRING, octets_out) && inside.len == 0;
}

/* Both begin with SEQUENCE { version, what a SET or an AlgorithmIdentifier says of the algorithms, encapContentInfo. */
static bool find_text(struct span cms, int type, int algorithms_tag, struct crypto_ber *octets_out)
{
    struct span content, rest;
    struct crypto_ber item;

    if (crypto_cms_content(cms, &content) != type ||
        !crypto_ber_expect(&content, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) || content.len > 0)
        return false;
    rest = item.content;
    return crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) &&
           crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, algorithms_tag, &item) && take_encapsulated(&rest, octets_out);
}

enum err crypto_smime_signed_text(struct span cms, struct buf *out)
{
    struct crypto_ber octets;
    size_t before = out->len;
    enum err result = ERR_MALFORMED;

    if (find_text(cms, NID_pkcs7_signed, V_ASN1_SET, &octets))
        result = crypto_ber_add_octets(&octets, out);
    if (result != ERR_OK)
        buf_truncate(out, before);
    return result;
}

/* All of `packed` is one zlib stream (RFC 1950), and nothing follows it. */
/* Texts of some size that are hundreds of times larger than what came are made to be so. */
static bool is_bomb(size_t packed, size_t expanded)
{
    return expanded > EXPANSION_FREE && expanded / EXPANSION_RATIO_MAX > packed;
}

static enum err inflate_all(struct span packed, struct buf *out)
{
    size_t before = out->len;
    z_stream stream = {.next_in = (z_const Bytef *)(uintptr_t)packed.ptr, .avail_in = (uInt)packed.len};
    unsigned char piece[16384];
    enum err result = ERR_OK;
    int state = inflateInit(&stream);

    if (state != Z_OK)
        return ERR_MEMORY;
    while (result == ERR_OK && state == Z_OK) {
        stream.next_out = piece;
        stream.avail_out = sizeof(piece);
        state = inflate(&stream, Z_NO_FLUSH);
        result = buf_add(out, (const char *)piece, sizeof(piece) - stream.avail_out);
        if (result == ERR_OK && is_bomb(packed.len, out->len - before))
            result = ERR_LIMIT;
    }
    if (result == ERR_OK && (state != Z_STREAM_END || stream.avail_in > 0))
        result = state == Z_MEM_ERROR ? ERR_MEMORY : ERR_MALFORMED;
    (void)inflateEnd(&stream);
    return result;
}

enum err crypto_smime_expand(struct span cms, struct buf *out)
{
    struct crypto_ber octets;
    struct buf packed;
    size_t before = out->len;
    enum err result = ERR_MALFORMED;

    buf_init_secret(&packed, cms.len);
    if (cms.len <= UINT_MAX && find_text(cms, NID_id_smime_ct_compressedData, V_ASN1_SEQUENCE, &octets))
        result = crypto_ber_add_octets(&octets, &packed);
    if (result == ERR_OK)
        result = inflate_all(buf_span(&packed), out);
    buf_fini(&packed);
    if (result != ERR_OK)
        buf_truncate(out, before);
    return result;
}
