/*
 * An account with certificates and private keys, and mail that is encrypted to them by OpenSSL's own CMS: what the
 * tests of opening S/MIME share.
 */
#ifndef TESTS_UNIT_SMIME_OPEN_WORLD_H
#define TESTS_UNIT_SMIME_OPEN_WORLD_H

#include "crypto/smime_account.h"
#include "tests/unit/x509_made.h"

#include <openssl/cms.h>
#include <openssl/provider.h>

#define WORLD_OWN_MAX 8
#define WORLD_SIZE ((size_t)1 << 20)

struct world {
    char folder[64];
    struct keyring_certificates *certificates;
    struct crypto_smime smime;
    struct made own[WORLD_OWN_MAX];
    size_t own_len;
    bool is_locked; /* as long as nobody may be asked */
    bool is_empty;  /* no key is there any more */
    unsigned used;  /* how often a private key was given */
    bool refuses;   /* somebody is asked, and gives no PIN, or a wrong one */
    unsigned asked; /* how often */
};

__attribute__((unused)) static enum err world_private_key(void *context, const struct keyring_certificate *certificate,
                                                          bool asks_person, EVP_PKEY **key_out)
{
    struct world *world = context;
    if (world->is_locked && asks_person)
        world->asked++;
    if (world->is_locked && (!asks_person || world->refuses))
        return ERR_KEY_LOCKED;
    for (size_t i = 0; !world->is_empty && i < world->own_len; i++)
        if (X509_cmp(world->own[i].certificate, certificate->certificate) == 0) {
            EVP_PKEY_up_ref(world->own[i].key);
            *key_out = world->own[i].key;
            world->used++;
            return ERR_OK;
        }
    return ERR_NO_KEY;
}

__attribute__((unused)) static void world_init(struct world *world)
{
    *world = (struct world){.own_len = 0};
    (void)snprintf(world->folder, sizeof world->folder, "/tmp/privyseal-smime-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(keyring_certificates_open(world->folder, &world->certificates), ERR_OK);
    world->smime =
        (struct crypto_smime){.certificates = world->certificates, .private_key = world_private_key, .context = world};
}

/* Takes `made` over. */
__attribute__((unused)) static const struct made *world_own(struct world *world, struct made made)
{
    struct keyring_certificate entry = {.certificate = made.certificate, .key_place = "store"};
    assert_true(world->own_len < WORLD_OWN_MAX);
    assert_int_equal(keyring_certificates_put(world->certificates, &entry), ERR_OK);
    world->own[world->own_len] = made;
    return &world->own[world->own_len++];
}

__attribute__((unused)) static void world_fini(struct world *world)
{
    keyring_certificates_close(&world->certificates);
    for (size_t i = 0; i < world->own_len; i++)
        made_free(&world->own[i]);
    made_remove_folder(world->folder);
}

struct world_seal {
    const struct made *to[4]; /* up to the first NULL */
    const char *cipher;       /* NULL: AES-256-CBC */
    const char *oaep;         /* hash of OAEP; NULL: PKCS#1 v1.5 */
    const char *kdf;          /* hash of the KDF for ECDH; NULL: OpenSSL's choice */
    unsigned flags;           /* CMS_STREAM, CMS_USE_KEYID */
};

/* One that has what is old, too. */
__attribute__((unused)) static OSSL_LIB_CTX *world_library(void)
{
    static OSSL_LIB_CTX *library;
    if (library == NULL) {
        library = OSSL_LIB_CTX_new();
        assert_non_null(OSSL_PROVIDER_load(library, "default"));
        assert_non_null(OSSL_PROVIDER_load(library, "legacy"));
    }
    return library;
}

/* The DER or BER of an EnvelopedData or AuthEnvelopedData, in a buffer that is initialised here. */
__attribute__((unused)) static void world_seal(const struct world_seal *how, struct span text, struct buf *out)
{
    OSSL_LIB_CTX *library = world_library();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(library, how->cipher == NULL ? "AES-256-CBC" : how->cipher, NULL);
    const unsigned flags = CMS_BINARY | how->flags;
    BIO *in = BIO_new_mem_buf(text.ptr, (int)text.len), *der = BIO_new(BIO_s_mem());
    char *bytes;
    assert_non_null(cipher);
    CMS_ContentInfo *cms = CMS_encrypt_ex(NULL, in, cipher, flags | CMS_PARTIAL | CMS_STREAM, library, NULL);
    assert_non_null(cms);
    for (size_t i = 0; i < 4 && how->to[i] != NULL; i++) {
        CMS_RecipientInfo *one = CMS_add1_recipient_cert(cms, how->to[i]->certificate, flags | CMS_KEY_PARAM);
        assert_non_null(one);
        EVP_PKEY_CTX *parameters = CMS_RecipientInfo_get0_pkey_ctx(one);
        if (how->oaep != NULL) {
            assert_true(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_OAEP_PADDING) > 0);
            assert_true(EVP_PKEY_CTX_set_rsa_oaep_md(parameters, EVP_get_digestbyname(how->oaep)) > 0);
        }
        if (how->kdf != NULL)
            assert_true(EVP_PKEY_CTX_set_ecdh_kdf_md(parameters, EVP_get_digestbyname(how->kdf)) > 0);
    }
    if ((flags & CMS_STREAM) != 0) {
        assert_int_equal(i2d_CMS_bio_stream(der, cms, in, (int)flags), 1);
    } else {
        assert_int_equal(CMS_final(cms, in, NULL, flags), 1);
        assert_int_equal(i2d_CMS_bio(der, cms), 1);
    }
    long size = BIO_get_mem_data(der, &bytes);
    buf_init(out, (size_t)size);
    assert_int_equal(buf_add(out, bytes, (size_t)size), ERR_OK);
    CMS_ContentInfo_free(cms);
    EVP_CIPHER_free(cipher);
    BIO_free(in);
    BIO_free(der);
}

#endif
