#include "keyring/x509_key.h"

#include "base/log.h"
#include "keyring/x509_key_internal.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>

#define RSA_BITS_MAX 16384
#define EXPORT_ITERATIONS 100000

void keyring_key_files_init(struct keyring_key_files *files, uint64_t iterations_max)
{
    *files = (struct keyring_key_files){.iterations_max = iterations_max};
}

void keyring_key_files_fini(struct keyring_key_files *files)
{
    for (size_t i = 0; i < files->pairs_len; i++) {
        X509_free(files->pairs[i].certificate);
        EVP_PKEY_free(files->pairs[i].key);
    }
    sk_X509_pop_free(files->others, X509_free);
    keyring_key_files_init(files, files->iterations_max);
}

bool keyring_key_fits(X509 *certificate, EVP_PKEY *key)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    const bool fits =
        context != NULL && X509_check_private_key(certificate, key) == 1 && EVP_PKEY_pairwise_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    ERR_clear_error();
    return fits;
}

static enum err add_other(struct keyring_key_files *files, X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(files->others); i++)
        if (X509_cmp(sk_X509_value(files->others, i), certificate) == 0)
            return ERR_OK;
    if (files->others == NULL && (files->others = sk_X509_new_null()) == NULL)
        return ERR_MEMORY;
    if (sk_X509_num(files->others) >= KEYRING_KEY_CERTIFICATES_MAX)
        return ERR_LIMIT;
    return X509_add_cert(files->others, certificate, X509_ADD_FLAG_UP_REF) == 1 ? ERR_OK : ERR_MEMORY;
}

/* A key that has two certificates, as after a renewal, stands in two pairs. */
static enum err add_second(struct keyring_key_files *files, X509 *certificate, EVP_PKEY *key)
{
    if (files->pairs_len == KEYRING_KEYS_MAX)
        return ERR_LIMIT;
    files->pairs[files->pairs_len++] = (struct keyring_key_pair){certificate, key};
    X509_up_ref(certificate);
    EVP_PKEY_up_ref(key);
    return ERR_OK;
}

enum err keyring_key_files_add(struct keyring_key_files *files, X509 *certificate)
{
    for (size_t i = 0; i < files->pairs_len; i++)
        if (files->pairs[i].certificate != NULL && X509_cmp(files->pairs[i].certificate, certificate) == 0)
            return ERR_OK;
    for (size_t i = 0; i < files->pairs_len; i++) {
        struct keyring_key_pair *pair = &files->pairs[i];
        if (!keyring_key_fits(certificate, pair->key))
            continue;
        if (pair->certificate != NULL)
            return add_second(files, certificate, pair->key);
        X509_up_ref(certificate);
        pair->certificate = certificate;
        return ERR_OK;
    }
    return add_other(files, certificate);
}

/* A certificate that came before its key has been among the others. */
static void find_certificate(struct keyring_key_files *files, struct keyring_key_pair *pair)
{
    for (int i = 0; pair->certificate == NULL && i < sk_X509_num(files->others); i++)
        if (keyring_key_fits(sk_X509_value(files->others, i), pair->key))
            pair->certificate = sk_X509_delete(files->others, i);
}

/* What CMS can be made and read with here. */
static bool is_usable(const EVP_PKEY *key)
{
    char group[64];
    const int type = EVP_PKEY_get_base_id(key), bits = EVP_PKEY_get_bits(key);
    if (type == EVP_PKEY_EC)
        return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1;
    return (type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS) && bits > 0 && bits <= RSA_BITS_MAX;
}

enum err keyring_key_files_take(struct keyring_key_files *files, EVP_PKEY *key)
{
    enum err err = key == NULL ? ERR_MALFORMED : is_usable(key) ? ERR_OK : ERR_KEY_UNUSABLE;
    for (size_t i = 0; err == ERR_OK && i < files->pairs_len; i++)
        if (EVP_PKEY_eq(files->pairs[i].key, key) == 1) {
            EVP_PKEY_free(key);
            return ERR_OK;
        }
    if (err == ERR_OK && files->pairs_len == KEYRING_KEYS_MAX)
        err = ERR_LIMIT;
    if (err != ERR_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    struct keyring_key_pair *pair = &files->pairs[files->pairs_len++];
    *pair = (struct keyring_key_pair){NULL, key};
    find_certificate(files, pair);
    return ERR_OK;
}

/* ---- how it is kept ---- */

enum err keyring_key_save(EVP_PKEY *key, struct buf *out)
{
    unsigned char *bytes = NULL;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    const int len = info == NULL ? -1 : i2d_PKCS8_PRIV_KEY_INFO(info, &bytes);
    enum err err = len <= 0                              ? ERR_KEY_UNUSABLE
                   : (size_t)len > KEYRING_KEY_SAVED_MAX ? ERR_LIMIT
                                                         : buf_add(out, bytes, (size_t)len);
    if (bytes != NULL)
        OPENSSL_clear_free(bytes, (size_t)len);
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    return err;
}

enum err keyring_key_load(struct span saved, EVP_PKEY **key_out)
{
    const unsigned char *at = (const unsigned char *)saved.ptr;
    *key_out = NULL;
    if (saved.len == 0 || saved.len > KEYRING_KEY_SAVED_MAX)
        return ERR_MALFORMED;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)saved.len);
    if (info != NULL && at == (const unsigned char *)saved.ptr + saved.len)
        *key_out = EVP_PKCS82PKEY(info);
    PKCS8_PRIV_KEY_INFO_free(info);
    ERR_clear_error();
    if (*key_out != NULL && !is_usable(*key_out)) {
        EVP_PKEY_free(*key_out);
        *key_out = NULL;
    }
    return *key_out == NULL ? ERR_MALFORMED : ERR_OK;
}

enum err keyring_key_export(X509 *certificate, EVP_PKEY *key, STACK_OF(X509) * issuers, const struct secret *passphrase,
                            struct buf *out)
{
    unsigned char *bytes = NULL;
    PKCS12 *file = PKCS12_create(passphrase->data, NULL, key, certificate, issuers, NID_aes_256_cbc, NID_aes_256_cbc,
                                 EXPORT_ITERATIONS, EXPORT_ITERATIONS, 0);
    const int len = file == NULL ? -1 : i2d_PKCS12(file, &bytes);
    enum err err = len <= 0 ? ERR_ENGINE : buf_add(out, bytes, (size_t)len);
    if (bytes != NULL)
        OPENSSL_clear_free(bytes, (size_t)len);
    PKCS12_free(file);
    ERR_clear_error();
    return err;
}
