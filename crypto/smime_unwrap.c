/*
 * The key of the content, out of what a recipient was sent: by RSA (RFC 3370 §4.2.1, RFC 3560) or by ECDH, a KDF and
 * key wrap (RFC 5753, RFC 3565).
 */
#include "crypto/smime_internal.h"

#include "base/secret.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/rsa.h>
#include <string.h>

#define RSA_MAX 2048   /* octets of a modulus */
#define SHARED_MAX 80  /* octets of a coordinate; P-521 has 66 */
#define KEYING_MAX 512 /* octets of UserKeyingMaterial */

/* ---- RSA ---- */

/* The hash of mgf1SHA1 and the like: a mask generation function's parameter is an AlgorithmIdentifier. */
static const EVP_MD *mask_hash(const X509_ALGOR *mask)
{
    const ASN1_OBJECT *name, *hash_name;
    const EVP_MD *hash;
    X509_ALGOR *inner;

    if (mask == NULL)
        return EVP_sha1();
    X509_ALGOR_get0(&name, NULL, NULL, mask);
    inner =
        OBJ_obj2nid(name) == NID_mgf1 ? ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), mask->parameter) : NULL;
    if (inner == NULL)
        return NULL;
    X509_ALGOR_get0(&hash_name, NULL, NULL, inner);
    hash = EVP_get_digestbyobj(hash_name);
    X509_ALGOR_free(inner);
    return hash;
}

static bool set_label(EVP_PKEY_CTX *context, const X509_ALGOR *source)
{
    const ASN1_OBJECT *name;
    const ASN1_OCTET_STRING *label;
    const void *value;
    void *copy;
    int type, len;

    if (source == NULL)
        return true;
    X509_ALGOR_get0(&name, &type, &value, source);
    if (OBJ_obj2nid(name) != NID_pSpecified || type != V_ASN1_OCTET_STRING)
        return false;
    label = value;
    len = ASN1_STRING_length(label);
    if (len == 0)
        return true;
    copy = OPENSSL_memdup(ASN1_STRING_get0_data(label), (size_t)len);
    if (copy != NULL && EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy, len) == 1)
        return true;
    OPENSSL_free(copy);
    return false;
}

/* RSAES-OAEP-params of RFC 4055 §4.1; what is not there is SHA-1. */
static bool set_oaep(EVP_PKEY_CTX *context, struct span parameters)
{
    const unsigned char *at = (const unsigned char *)parameters.ptr;
    const ASN1_OBJECT *name = NULL;
    RSA_OAEP_PARAMS *oaep = parameters.len <= INT_MAX ? d2i_RSA_OAEP_PARAMS(NULL, &at, (long)parameters.len) : NULL;
    const EVP_MD *hash, *mask;
    bool is_set = false;

    if (oaep == NULL)
        return false;
    if (oaep->hashFunc != NULL)
        X509_ALGOR_get0(&name, NULL, NULL, oaep->hashFunc);
    hash = name == NULL ? EVP_sha1() : EVP_get_digestbyobj(name);
    mask = mask_hash(oaep->maskGenFunc);
    is_set = hash != NULL && mask != NULL && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) == 1 &&
             EVP_PKEY_CTX_set_rsa_oaep_md(context, hash) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(context, mask) == 1 &&
             set_label(context, oaep->pSourceFunc);
    RSA_OAEP_PARAMS_free(oaep);
    return is_set;
}

static bool set_transport(EVP_PKEY_CTX *context, struct span algorithm)
{
    switch (crypto_ber_take_oid(&algorithm)) {
    case NID_rsaEncryption:
        return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    case NID_rsaesOaep:
        return set_oaep(context, algorithm);
    default:
        return false;
    }
}

static bool transport(EVP_PKEY *own, const struct smime_recipient *recipient, struct smime_key *key)
{
    unsigned char octets[RSA_MAX];
    size_t len = sizeof octets;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
    bool is_done = context != NULL && EVP_PKEY_get_size(own) <= RSA_MAX && EVP_PKEY_decrypt_init(context) == 1 &&
                   set_transport(context, recipient->algorithm) &&
                   EVP_PKEY_decrypt(context, octets, &len, (const unsigned char *)recipient->wrapped.ptr,
                                    recipient->wrapped.len) == 1 &&
                   len > 0 && len <= SMIME_KEY_MAX;

    if (is_done) {
        memcpy(key->octets, octets, len);
        key->len = len;
    }
    secret_wipe(octets, sizeof octets);
    EVP_PKEY_CTX_free(context);
    return is_done;
}

/* ---- ECDH ---- */

static bool derive_shared(EVP_PKEY *own, struct span point, unsigned char shared[SHARED_MAX], size_t *len_out)
{
    EVP_PKEY *peer = EVP_PKEY_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
    bool is_done;

    *len_out = SHARED_MAX;
    /* The point must lie on the curve of one's own key. */
    is_done = peer != NULL && context != NULL && EVP_PKEY_copy_parameters(peer, own) == 1 &&
              EVP_PKEY_set1_encoded_public_key(peer, (const unsigned char *)point.ptr, point.len) == 1 &&
              EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer(context, peer) == 1 &&
              EVP_PKEY_derive(context, shared, len_out) == 1;
    EVP_PKEY_free(peer);
    EVP_PKEY_CTX_free(context);
    return is_done;
}

/* Adds tag, length and content; nothing here is long. */
static enum err add_item(struct buf *out, unsigned char tag, struct span content)
{
    enum err result = content.len < 0x10000 ? buf_add_byte(out, (char)tag) : ERR_LIMIT;

    if (result == ERR_OK && content.len >= 0x100)
        result = buf_add(out, (char[]){(char)0x82, (char)(content.len >> 8)}, 2);
    else if (result == ERR_OK && content.len >= 0x80)
        result = buf_add_byte(out, (char)0x81);
    if (result == ERR_OK)
        result = buf_add_byte(out, (char)(content.len & 0xff));
    return result == ERR_OK ? buf_add_span(out, content) : result;
}

/* ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier, entityUInfo [0] EXPLICIT OCTET STRING OPTIONAL,
   suppPubInfo [2] EXPLICIT OCTET STRING } (RFC 5753 §7.2): the last is the number of bits of the key, as 32 bits. */
static enum err add_shared_info(struct span wrap, struct span keying, size_t key_len, struct buf *out)
{
    const char bits[] = {0, 0, (char)(key_len * 8 >> 8), (char)(key_len * 8 & 0xff)};
    struct buf inner, octets;
    enum err result;

    buf_init(&inner, KEYING_MAX + 256);
    buf_init(&octets, KEYING_MAX + 16);
    result = buf_add_span(&inner, wrap);
    if (result == ERR_OK && keying.ptr != NULL)
        result = add_item(&octets, V_ASN1_OCTET_STRING, keying);
    if (result == ERR_OK && keying.ptr != NULL)
        result = add_item(&inner, 0xa0, buf_span(&octets));
    buf_clear(&octets);
    if (result == ERR_OK)
        result = add_item(&octets, V_ASN1_OCTET_STRING, (struct span){bits, sizeof bits});
    if (result == ERR_OK)
        result = add_item(&inner, 0xa2, buf_span(&octets));
    if (result == ERR_OK)
        result = add_item(out, V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED, buf_span(&inner));
    buf_fini(&inner);
    buf_fini(&octets);
    return result;
}

static bool derive_wrapping_key(const char *hash, struct span shared, struct span info, unsigned char *key, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "X963KDF", NULL);
    EVP_KDF_CTX *context = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)hash, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (char *)(uintptr_t)shared.ptr, shared.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (char *)(uintptr_t)info.ptr, info.len),
        OSSL_PARAM_construct_end()};
    bool is_done = context != NULL && EVP_KDF_derive(context, key, len, parameters) == 1;

    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return is_done;
}

static bool unwrap(const EVP_CIPHER *cipher, const unsigned char *wrapping, struct span wrapped, struct smime_key *key)
{
    unsigned char octets[SMIME_KEY_MAX + 32];
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    int len = 0;
    bool is_done = false;

    if (context != NULL && wrapped.len <= SMIME_KEY_MAX + 16) {
        EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        is_done = EVP_DecryptInit_ex(context, cipher, NULL, wrapping, NULL) == 1 &&
                  EVP_DecryptUpdate(context, octets, &len, (const unsigned char *)wrapped.ptr, (int)wrapped.len) == 1 &&
                  len > 0 && len <= SMIME_KEY_MAX;
    }
    if (is_done) {
        memcpy(key->octets, octets, (size_t)len);
        key->len = (size_t)len;
    }
    secret_wipe(octets, sizeof octets);
    EVP_CIPHER_CTX_free(context);
    return is_done;
}

static const char *hash_of(int scheme)
{
    static const struct {
        int standard, cofactor; /* the same on curves whose cofactor is 1, as all are that certificates have */
        const char *hash;
    } schemes[] = {
        {NID_dhSinglePass_stdDH_sha1kdf_scheme, NID_dhSinglePass_cofactorDH_sha1kdf_scheme, "SHA1"},
        {NID_dhSinglePass_stdDH_sha224kdf_scheme, NID_dhSinglePass_cofactorDH_sha224kdf_scheme, "SHA224"},
        {NID_dhSinglePass_stdDH_sha256kdf_scheme, NID_dhSinglePass_cofactorDH_sha256kdf_scheme, "SHA256"},
        {NID_dhSinglePass_stdDH_sha384kdf_scheme, NID_dhSinglePass_cofactorDH_sha384kdf_scheme, "SHA384"},
        {NID_dhSinglePass_stdDH_sha512kdf_scheme, NID_dhSinglePass_cofactorDH_sha512kdf_scheme, "SHA512"},
    };

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (scheme == schemes[i].standard || scheme == schemes[i].cofactor)
            return schemes[i].hash;
    return NULL;
}

static const EVP_CIPHER *wrap_of(int algorithm)
{
    switch (algorithm) {
    case NID_id_aes128_wrap:
        return EVP_aes_128_wrap();
    case NID_id_aes192_wrap:
        return EVP_aes_192_wrap();
    case NID_id_aes256_wrap:
        return EVP_aes_256_wrap();
    case NID_id_smime_alg_CMS3DESwrap:
        return EVP_des_ede3_wrap();
    default:
        return NULL;
    }
}

/* The parameter of the scheme is the AlgorithmIdentifier of the key wrap. */
static bool agree(EVP_PKEY *own, const struct smime_recipient *recipient, struct smime_key *key)
{
    unsigned char shared[SHARED_MAX], wrapping[EVP_MAX_KEY_LENGTH];
    struct span rest = recipient->algorithm, wrap = SPAN_NONE;
    const char *hash = hash_of(crypto_ber_take_oid(&rest));
    struct crypto_ber item;
    const EVP_CIPHER *cipher = NULL;
    size_t shared_len, wrapping_len;
    struct buf info;
    bool is_done;

    if (hash == NULL || recipient->keying.len > KEYING_MAX || !smime_take_whole(&rest, &item, &wrap))
        return false;
    if (item.class == V_ASN1_UNIVERSAL && item.tag == V_ASN1_SEQUENCE)
        cipher = wrap_of(crypto_ber_take_oid(&item.content));
    if (cipher == NULL || wrap.len > 64)
        return false;
    wrapping_len = (size_t)EVP_CIPHER_get_key_length(cipher);
    buf_init(&info, KEYING_MAX + 256);
    is_done = add_shared_info(wrap, recipient->keying, wrapping_len, &info) == ERR_OK &&
              derive_shared(own, recipient->originator, shared, &shared_len) &&
              derive_wrapping_key(hash, (struct span){(const char *)shared, shared_len}, buf_span(&info), wrapping,
                                  wrapping_len) &&
              unwrap(cipher, wrapping, recipient->wrapped, key);
    secret_wipe(shared, sizeof shared);
    secret_wipe(wrapping, sizeof wrapping);
    buf_fini(&info);
    return is_done;
}

enum err smime_unwrap(EVP_PKEY *own, const struct smime_recipient *recipient, struct smime_key *key_out)
{
    bool is_done = recipient->is_agreed ? EVP_PKEY_is_a(own, "EC") == 1 && agree(own, recipient, key_out)
                                        : EVP_PKEY_is_a(own, "RSA") == 1 && transport(own, recipient, key_out);

    ERR_clear_error();
    return is_done ? ERR_OK : ERR_DECRYPT;
}
