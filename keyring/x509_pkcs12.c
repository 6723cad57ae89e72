/*
 * PKCS#12 (RFC 7292): bags of keys and certificates, encrypted one by one and all together, under a MAC that is made
 * with the passphrase.
 *
 * A MAC that does not fit tells a wrong passphrase and a damaged file not apart; what is encrypted inside does: if it
 * opens and makes sense, the passphrase was right.
 */
#include "keyring/x509_key_internal.h"

#include "base/log.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <string.h>

#define DEPTH_MAX 4
#define BAGS_MAX 1024

struct reading {
    struct keyring_key_files *files;
    struct keyring_key_work *work;
    const char *passphrase; /* NULL and "" are not the same to old files */
    int passphrase_len;
    size_t opened; /* encrypted values */
    size_t bags;
};

OSSL_LIB_CTX *keyring_key_legacy(void)
{
    static OSSL_LIB_CTX *context;
    if (context == NULL && (context = OSSL_LIB_CTX_new()) != NULL) {
        if (OSSL_PROVIDER_load(context, "default") == NULL || OSSL_PROVIDER_load(context, "legacy") == NULL)
            log_warning("OpenSSL's legacy provider is not there: old PKCS#12 files cannot be read");
        ERR_clear_error();
    }
    return context;
}

/* How a decryption went wrong: by its key, as far as OpenSSL says. */
static enum err failed(void)
{
    const unsigned long error = ERR_peek_error(), last = ERR_peek_last_error();
    const bool is_unsupported = ERR_GET_REASON(error) == ERR_R_UNSUPPORTED ||
                                ERR_GET_REASON(last) == ERR_R_UNSUPPORTED ||
                                ERR_GET_REASON(last) == PKCS12_R_UNKNOWN_DIGEST_ALGORITHM;
    ERR_clear_error();
    return is_unsupported ? ERR_KEY_UNUSABLE : ERR_AUTH_FAILED;
}

/* Re-made in the ordinary library context. */
static enum err take_key(struct keyring_key_files *files, const PKCS8_PRIV_KEY_INFO *info)
{
    EVP_PKEY *key = EVP_PKCS82PKEY(info);
    ERR_clear_error();
    return key == NULL ? ERR_KEY_UNUSABLE : keyring_key_files_take(files, key);
}

static enum err open_key(struct reading *reading, const X509_SIG *sealed)
{
    const X509_ALGOR *algorithm;
    X509_SIG_get0(sealed, &algorithm, NULL);
    enum err err = keyring_key_work_for(reading->work, algorithm);
    if (err != ERR_OK)
        return err;
    PKCS8_PRIV_KEY_INFO *info =
        PKCS8_decrypt_ex(sealed, reading->passphrase, reading->passphrase_len, keyring_key_legacy(), NULL);
    err = info == NULL ? failed() : take_key(reading->files, info);
    reading->opened += info != NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return err;
}

static enum err take_certificate(struct reading *reading, const PKCS12_SAFEBAG *bag)
{
    if (PKCS12_SAFEBAG_get_bag_nid(bag) != NID_x509Certificate)
        return ERR_OK;
    X509 *certificate = PKCS12_SAFEBAG_get1_cert(bag);
    enum err err = certificate == NULL ? ERR_MALFORMED : keyring_key_files_add(reading->files, certificate);
    X509_free(certificate);
    return err;
}

static enum err read_bags(struct reading *reading, const STACK_OF(PKCS12_SAFEBAG) * bags, unsigned depth);

static enum err read_bag(struct reading *reading, const PKCS12_SAFEBAG *bag, unsigned depth)
{
    if (++reading->bags > BAGS_MAX || depth > DEPTH_MAX)
        return ERR_LIMIT;
    switch (PKCS12_SAFEBAG_get_nid(bag)) {
    case NID_keyBag:
        return take_key(reading->files, PKCS12_SAFEBAG_get0_p8inf(bag));
    case NID_pkcs8ShroudedKeyBag:
        return open_key(reading, PKCS12_SAFEBAG_get0_pkcs8(bag));
    case NID_certBag:
        return take_certificate(reading, bag);
    case NID_safeContentsBag:
        return read_bags(reading, PKCS12_SAFEBAG_get0_safes(bag), depth + 1);
    default:
        return ERR_OK;
    }
}

static enum err read_bags(struct reading *reading, const STACK_OF(PKCS12_SAFEBAG) * bags, unsigned depth)
{
    enum err err = ERR_OK;
    for (int i = 0; err == ERR_OK && i < sk_PKCS12_SAFEBAG_num(bags); i++)
        err = read_bag(reading, sk_PKCS12_SAFEBAG_value(bags, i), depth);
    return err;
}

static enum err open_safe(struct reading *reading, PKCS7 *safe, STACK_OF(PKCS12_SAFEBAG) * *bags_out)
{
    const PKCS7_ENCRYPT *encrypted = safe->d.encrypted;
    if (encrypted == NULL || encrypted->enc_data == NULL || encrypted->enc_data->algorithm == NULL)
        return ERR_MALFORMED;
    enum err err = keyring_key_work_for(reading->work, encrypted->enc_data->algorithm);
    if (err != ERR_OK)
        return err;
    *bags_out = PKCS12_unpack_p7encdata(safe, reading->passphrase, reading->passphrase_len);
    reading->opened += *bags_out != NULL;
    return *bags_out == NULL ? failed() : ERR_OK;
}

static enum err read_safe(struct reading *reading, PKCS7 *safe)
{
    STACK_OF(PKCS12_SAFEBAG) *bags = NULL;
    enum err err = ERR_OK;
    switch (OBJ_obj2nid(safe->type)) {
    case NID_pkcs7_data:
        bags = PKCS12_unpack_p7data(safe);
        break;
    case NID_pkcs7_encrypted:
        err = open_safe(reading, safe, &bags);
        break;
    default: /* encrypted to a certificate: nobody makes these */
        err = ERR_KEY_UNUSABLE;
    }
    if (err == ERR_OK && bags == NULL)
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        err = read_bags(reading, bags, 0);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    return err;
}

static enum err read_safes(struct reading *reading, const PKCS12 *file)
{
    STACK_OF(PKCS7) *safes = PKCS12_unpack_authsafes(file);
    enum err err = safes == NULL ? ERR_MALFORMED : ERR_OK;
    for (int i = 0; err == ERR_OK && i < sk_PKCS7_num(safes); i++)
        err = read_safe(reading, sk_PKCS7_value(safes, i));
    sk_PKCS7_pop_free(safes, PKCS7_free);
    return err;
}

/* ERR_AUTH_FAILED: it does not fit. A file without one is taken for what is in it. */
static enum err check_mac(struct reading *reading, PKCS12 *file)
{
    const ASN1_INTEGER *iterations;
    uint64_t number = 1;
    if (PKCS12_mac_present(file) != 1)
        return ERR_OK;
    PKCS12_get0_mac(NULL, NULL, NULL, &iterations, file);
    if (iterations != NULL && ASN1_INTEGER_get_uint64(&number, iterations) != 1)
        return ERR_LIMIT;
    enum err err = keyring_key_work_spend(reading->work, number);
    if (err != ERR_OK)
        return err;
    return PKCS12_verify_mac(file, reading->passphrase, reading->passphrase_len) == 1 ? ERR_OK : failed();
}

/* The passphrase is wrong unless something that is encrypted opens with it. */
static enum err judge_mac(const struct reading *reading, const PKCS12 *file)
{
    struct keyring_key_files none;
    struct reading trial = *reading;
    keyring_key_files_init(&none, 0);
    trial.files = &none;
    enum err err = read_safes(&trial, file);
    keyring_key_files_fini(&none);
    if (err == ERR_LIMIT)
        return err;
    return trial.opened > 0 || err == ERR_MALFORMED ? ERR_MALFORMED : ERR_AUTH_FAILED;
}

enum err keyring_key_pkcs12_read(struct keyring_key_files *files, PKCS12 *file, const struct secret *passphrase,
                                 struct keyring_key_work *work)
{
    const bool has_passphrase = passphrase != NULL && passphrase->len > 0;
    struct reading reading = {.files = files,
                              .work = work,
                              .passphrase = has_passphrase ? passphrase->data : "",
                              .passphrase_len = has_passphrase ? (int)passphrase->len : 0};
    enum err err = check_mac(&reading, file);
    if (err == ERR_AUTH_FAILED && !has_passphrase) {
        reading.passphrase = NULL;
        err = check_mac(&reading, file);
    }
    const bool is_mac_good = err == ERR_OK && PKCS12_mac_present(file) == 1;
    if (err == ERR_AUTH_FAILED)
        err = judge_mac(&reading, file);
    else if (err == ERR_OK)
        err = read_safes(&reading, file);
    /* The MAC was made with this passphrase: what does not open is damaged. */
    if (err == ERR_AUTH_FAILED && is_mac_good)
        err = ERR_MALFORMED;
    ERR_clear_error();
    return err == ERR_AUTH_FAILED && !has_passphrase ? ERR_KEY_LOCKED : err;
}

enum err keyring_key_pkcs8_read(struct keyring_key_files *files, const X509_SIG *sealed,
                                const struct secret *passphrase, struct keyring_key_work *work)
{
    struct reading reading = {.files = files, .work = work};
    if (passphrase == NULL || passphrase->len == 0)
        return ERR_KEY_LOCKED;
    reading.passphrase = passphrase->data;
    reading.passphrase_len = (int)passphrase->len;
    return open_key(&reading, sealed);
}
