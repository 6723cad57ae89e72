#include "crypto/smime_sign.h"

#include "base/log.h"
#include "crypto/smime_out.h"
#include "crypto/smime_stream.h"
#include "keyring/x509.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

/* A hash no weaker than the key (RFC 8551 §2.2, RFC 5754 §3.3). */
static const EVP_MD *hash_for(const EVP_PKEY *key, const char **micalg_out)
{
    bool is_curve = EVP_PKEY_get_base_id(key) == EVP_PKEY_EC;
    int bits = is_curve ? EVP_PKEY_get_bits(key) : 0;

    *micalg_out = bits > 384 ? "sha-512" : bits > 256 ? "sha-384" : "sha-256";
    return bits > 384 ? EVP_sha512() : bits > 256 ? EVP_sha384() : EVP_sha256();
}

/* RFC 8551 §2.5.2: what this program reads, the best first. */
static bool add_capabilities(CMS_SignerInfo *info)
{
    static const int ciphers[] = {NID_aes_256_gcm, NID_aes_128_gcm, NID_aes_256_cbc, NID_aes_192_cbc, NID_aes_128_cbc};
    STACK_OF(X509_ALGOR) *all = NULL;
    bool is_added = true;

    for (size_t i = 0; is_added && i < sizeof(ciphers) / sizeof(ciphers[0]); i++)
        is_added = CMS_add_simple_smimecap(&all, ciphers[i], -1) == 1;
    is_added = is_added && CMS_add_smimecap(info, all) == 1;
    sk_X509_ALGOR_pop_free(all, X509_ALGOR_free);
    return is_added;
}

static bool add_time(CMS_SignerInfo *info, int64_t at)
{
    ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)at);
    bool is_added = time != NULL && CMS_signed_add1_attr_by_NID(info, NID_pkcs9_signingTime, time->type, time, -1) == 1;

    ASN1_TIME_free(time);
    return is_added;
}

/* RFC 4056 §2.2: the salt as long as the hash, and MGF1 with the same. The algorithm is named when the signature is
   made; until then OpenSSL needs some name, since nothing is written without one. */
static bool set_padding(CMS_SignerInfo *info, const EVP_MD *hash)
{
    EVP_PKEY_CTX *context = CMS_SignerInfo_get0_pkey_ctx(info);
    X509_ALGOR *algorithm = NULL;

    CMS_SignerInfo_get0_algs(info, NULL, NULL, NULL, &algorithm);
    return context != NULL && X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_UNDEF, NULL) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, hash) > 0;
}

static bool is_issuer(X509 *candidate, X509 *certificate)
{
    EVP_PKEY *key = X509_get0_pubkey(candidate);

    return X509_check_issued(candidate, certificate) == X509_V_OK && key != NULL && X509_verify(certificate, key) == 1;
}

/* Of several with one name and key (a renewed one), one that is valid. */
static X509 *find_issuer(const struct crypto_smime_signer *signer, X509 *certificate)
{
    time_t at = (time_t)signer->at;
    X509 *found = NULL;

    for (int i = 0; i < sk_X509_num(signer->issuers); i++) {
        X509 *candidate = sk_X509_value(signer->issuers, i);

        if (!is_issuer(candidate, certificate))
            continue;
        found = candidate;
        if (X509_cmp_time(X509_get0_notAfter(candidate), &at) > 0)
            break;
    }
    return found;
}

/* A root helps nobody: whoever believes it has it. */
static bool add_issuers(CMS_ContentInfo *cms, const struct crypto_smime_signer *signer)
{
    X509 *at = signer->certificate;
    bool is_added = true;

    for (int i = 0; is_added && i < KEYRING_CHAIN_MAX; i++) {
        at = signer->path != NULL ? sk_X509_value(signer->path, i + 1) : find_issuer(signer, at);
        if (at == NULL || X509_check_issued(at, at) == X509_V_OK)
            break;
        is_added = CMS_add1_cert(cms, at) == 1;
    }
    ERR_clear_error();
    return is_added;
}

/* Signed-data that still lacks its content. */
static CMS_ContentInfo *begin(const struct crypto_smime_signer *signer, bool is_detached, const char **micalg_out)
{
    unsigned flags = CMS_BINARY | CMS_PARTIAL | (is_detached ? CMS_DETACHED : CMS_STREAM);
    const EVP_MD *hash = hash_for(signer->key, micalg_out);
    int type = EVP_PKEY_get_base_id(signer->key);
    bool is_pss = type == EVP_PKEY_RSA_PSS || (type == EVP_PKEY_RSA && signer->is_pss);
    unsigned signer_flags = flags | CMS_CADES | CMS_NOSMIMECAP | (is_pss ? CMS_KEY_PARAM : 0);
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL, flags);
    CMS_SignerInfo *info =
        cms == NULL ? NULL : CMS_add1_signer(cms, signer->certificate, signer->key, hash, signer_flags);
    bool is_fine = info != NULL && add_capabilities(info) && add_time(info, signer->at) && add_issuers(cms, signer);

    if (is_fine && is_pss)
        is_fine = set_padding(info, hash);
    if (!is_fine) {
        CMS_ContentInfo_free(cms);
        cms = NULL;
    }
    return cms;
}

/* The key may be of a token: that the certificate is its own was checked by nobody yet. */
static enum err check(const struct crypto_smime_signer *signer)
{
    if (X509_check_private_key(signer->certificate, signer->key) == 1)
        return ERR_OK;
    ERR_clear_error();
    return log_failure(ERR_NO_SIGNING_KEY, "the private key is not that of the certificate");
}

static enum err add_der(CMS_ContentInfo *cms, struct buf *der_out)
{
    unsigned char *der = NULL;
    int len = i2d_CMS_ContentInfo(cms, &der);
    enum err result = len > 0 ? buf_add(der_out, der, (size_t)len) : ERR_ENGINE;

    OPENSSL_free(der);
    return result;
}

enum err crypto_smime_sign(const struct crypto_smime_signer *signer, const struct mime_pieces *payload,
                           struct buf *der_out, const char **micalg_out)
{
    enum err result = check(signer);
    CMS_ContentInfo *cms = result == ERR_OK ? begin(signer, true, micalg_out) : NULL;
    BIO *digests = cms == NULL ? NULL : CMS_dataInit(cms, NULL);

    if (result == ERR_OK && digests == NULL)
        result = crypto_smime_failure("beginning a signature");
    if (result == ERR_OK)
        result = crypto_smime_write(digests, payload);
    if (result == ERR_OK && (BIO_flush(digests) != 1 || CMS_dataFinal(cms, digests) != 1))
        result = crypto_smime_failure("signing");
    if (result == ERR_OK)
        result = add_der(cms, der_out);
    BIO_free_all(digests);
    CMS_ContentInfo_free(cms);
    return result;
}

enum err crypto_smime_sign_opaque(const struct crypto_smime_signer *signer, const struct mime_pieces *payload, BIO *out)
{
    const char *micalg;
    enum err result = check(signer);
    CMS_ContentInfo *cms = result == ERR_OK ? begin(signer, false, &micalg) : NULL;
    struct crypto_smime_stream stream;

    if (result == ERR_OK && cms == NULL)
        result = crypto_smime_failure("beginning a signature");
    if (result == ERR_OK)
        result = crypto_smime_stream_begin(&stream, cms, out);
    if (result == ERR_OK) {
        result = crypto_smime_write(stream.bio, payload);
        result = crypto_smime_stream_end(&stream, result);
    }
    CMS_ContentInfo_free(cms);
    return result;
}
