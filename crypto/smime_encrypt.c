#include "crypto/smime_encrypt.h"

#include "base/log.h"

#include <openssl/err.h>
#include <openssl/rsa.h>

/* RFC 3560: MGF1 with the same hash, no label. */
static bool set_oaep(EVP_PKEY_CTX *context)
{
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) > 0 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) > 0;
}

/* RFC 5753 §7.1.4: OpenSSL would take SHA-1. */
static bool set_kdf(EVP_PKEY_CTX *context, const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);

    return EVP_PKEY_CTX_set_ecdh_kdf_md(context, bits > 384   ? EVP_sha512()
                                                 : bits > 256 ? EVP_sha384()
                                                              : EVP_sha256()) > 0;
}

static enum err add_recipient(CMS_ContentInfo *cms, X509 *certificate, bool is_oaep)
{
    CMS_RecipientInfo *info = CMS_add1_recipient_cert(cms, certificate, CMS_KEY_PARAM);
    EVP_PKEY_CTX *context = info == NULL ? NULL : CMS_RecipientInfo_get0_pkey_ctx(info);
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    int type = key == NULL ? EVP_PKEY_NONE : EVP_PKEY_get_base_id(key);
    bool is_fine = context != NULL && (type == EVP_PKEY_RSA || type == EVP_PKEY_EC);

    if (is_fine && type == EVP_PKEY_EC)
        is_fine = set_kdf(context, key);
    else if (is_fine && is_oaep)
        is_fine = set_oaep(context);
    if (is_fine)
        return ERR_OK;
    return crypto_smime_failure("a recipient's certificate") == ERR_MEMORY ? ERR_MEMORY : ERR_NO_KEY;
}

enum err crypto_smime_encrypt_begin(const struct crypto_smime_envelope *envelope, BIO *out,
                                    struct crypto_smime_encrypting *encrypting_out)
{
    unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_STREAM;
    const EVP_CIPHER *cipher = envelope->is_gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
    CMS_ContentInfo *cms;
    enum err result = ERR_OK;

    if (sk_X509_num(envelope->recipients) <= 0)
        return log_failure(ERR_NO_RECIPIENTS, "encrypting");
    cms = CMS_encrypt(NULL, NULL, cipher, flags);
    if (cms == NULL)
        result = crypto_smime_failure("beginning to encrypt");
    for (int i = 0; result == ERR_OK && i < sk_X509_num(envelope->recipients); i++)
        result = add_recipient(cms, sk_X509_value(envelope->recipients, i), envelope->is_oaep);
    if (result == ERR_OK)
        result = crypto_smime_stream_begin(&encrypting_out->stream, cms, out);
    if (result == ERR_OK)
        encrypting_out->cms = cms;
    else
        CMS_ContentInfo_free(cms);
    return result;
}

enum err crypto_smime_encrypt_end(struct crypto_smime_encrypting *encrypting, enum err so_far)
{
    enum err result = crypto_smime_stream_end(&encrypting->stream, so_far);

    CMS_ContentInfo_free(encrypting->cms);
    encrypting->cms = NULL;
    return result;
}
