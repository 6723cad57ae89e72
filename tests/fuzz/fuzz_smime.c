/* CMS: whatever the bytes are, there is a verdict, and no signer is trusted where there is no anchor; text that is not
   encrypted comes out whole or not at all, and so does what is. */
#include "crypto/smime.h"
#include "crypto/smime_decrypt.h"

#include <ftw.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AT ((int64_t)1800000000)

#define TEXT_MAX 100000

/* Text comes out whole or not at all. */
static void check_texts(struct span cms)
{
    static enum err (*const takers[])(struct span, struct buf *) = {crypto_smime_signed_text, crypto_smime_expand};
    struct buf text;

    for (size_t i = 0; i < 2; i++) {
        buf_init(&text, TEXT_MAX);
        if (takers[i](cms, &text) != ERR_OK && text.len != 0)
            abort();
        buf_fini(&text);
    }
}

/* An account with a key for RSA (serial 1) and one for ECDH (serial 2), as the seeds name them. */
static EVP_PKEY *keys[2];

static enum err private_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                            EVP_PKEY **key_out)
{
    const long serial = ASN1_INTEGER_get(X509_get0_serialNumber(certificate->certificate));

    (void)context;
    if (!asks_person)
        return ERR_KEY_LOCKED;
    *key_out = keys[serial == 1 ? 0 : 1];
    return EVP_PKEY_up_ref(*key_out) == 1 ? ERR_OK : ERR_MEMORY;
}

static void add_own(struct keyring_certificates *folder, EVP_PKEY *key, long serial)
{
    struct keyring_certificate entry = {.certificate = X509_new(), .key_place = "store"};
    X509_NAME *name = X509_get_subject_name(entry.certificate);

    if (key == NULL ||
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"x", 1, -1, 0) != 1 ||
        X509_set_issuer_name(entry.certificate, name) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(entry.certificate), serial) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(entry.certificate), 0) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(entry.certificate), 86400) == NULL ||
        X509_set_pubkey(entry.certificate, key) != 1 || X509_sign(entry.certificate, key, EVP_sha256()) <= 0 ||
        keyring_certificates_put(folder, &entry) != ERR_OK)
        abort();
    X509_free(entry.certificate);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static const struct crypto_smime *account(void)
{
    static struct crypto_smime smime = {.private_key = private_key};
    char folder[] = "/tmp/privyseal-fuzz-XXXXXX";

    if (smime.certificates != NULL)
        return &smime;
    keys[0] = EVP_RSA_gen(2048);
    keys[1] = EVP_EC_gen("P-256");
    if (mkdtemp(folder) == NULL || keyring_certificates_open(folder, &smime.certificates) != ERR_OK)
        abort();
    add_own(smime.certificates, keys[0], 1);
    add_own(smime.certificates, keys[1], 2);
    if (nftw(folder, remove_one, 4, FTW_DEPTH | FTW_PHYS) != 0)
        abort();
    return &smime;
}

static void check_decryption(struct span cms)
{
    static const char *const session_keys[] = {NULL, "smime:00000000000000000000000000000000", "smime:0000000000"};

    (void)crypto_smime_has_password(cms);
    for (size_t i = 0; i < 3; i++) {
        struct crypto_smime_how how = {
            .smime = account(), .asks_person = true, .takes_cbc = true, .session_key = session_keys[i]};
        struct crypto_smime_opened opened;
        struct buf text;

        buf_init_secret(&text, TEXT_MAX);
        if (crypto_smime_decrypt(cms, &how, &text, &opened) != ERR_OK && text.len != 0)
            abort();
        buf_fini(&text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keyring_anchors *none;
    static const struct span text = {"Content-Type: text/plain\r\n\r\nxyzzy\r\n", 35};
    struct crypto_smime smime = {.certificates = NULL};
    struct crypto_smime_verified verified;
    struct crypto_learnt learnt = {.len = 0};
    struct keyring *certificates;

    check_texts((struct span){(const char *)data, size});
    check_decryption((struct span){(const char *)data, size});
    if ((none == NULL && keyring_anchors_open("", &none) != ERR_OK) || keyring_new(&certificates) != ERR_OK)
        abort();
    smime.anchors = none;
    if (crypto_smime_verify(&smime, (struct span){(const char *)data, size}, text, false, AT, certificates, &learnt,
                            &verified) != ERR_OK ||
        verified.len < 1 || verified.len > CRYPTO_SMIME_SIGNERS_MAX || learnt.len != 0)
        abort();
    for (size_t i = 0; i < keyring_len(certificates); i++)
        if (keyring_at(certificates, i)->trust != KEYRING_UNVERIFIED)
            abort();
    keyring_free(&certificates);
    return 0;
}
