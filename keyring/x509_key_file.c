/*
 * Files of keys and certificates: which kind it is, and what is in it. PEM may hold any of them, one after the other.
 */
#include "keyring/x509_key_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define PEM_START "-----BEGIN "
#define OBJECTS_MAX 1024

struct pem {
    char *name, *header;
    unsigned char *bytes;
    long len;
};

static void pem_free(struct pem *pem)
{
    OPENSSL_free(pem->name);
    OPENSSL_free(pem->header);
    if (pem->bytes != NULL)
        OPENSSL_clear_free(pem->bytes, (size_t)pem->len);
    *pem = (struct pem){NULL, NULL, NULL, 0};
}

static struct span bytes_of(const struct pem *pem)
{
    return (struct span){(const char *)pem->bytes, (size_t)pem->len};
}

/* One structure in DER, which is to be all of `bytes`; NULL if it is none. */
static void *read_item(struct span bytes, const ASN1_ITEM *item)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    ASN1_VALUE *value = bytes.len == 0 ? NULL : ASN1_item_d2i(NULL, &at, (long)bytes.len, item);
    if (value != NULL && at != (const unsigned char *)bytes.ptr + bytes.len) {
        ASN1_item_free(value, item);
        value = NULL;
    }
    ERR_clear_error();
    return value;
}

static PKCS12 *read_pkcs12(struct span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    PKCS12 *file = PKCS12_init_ex(NID_pkcs7_data, keyring_key_legacy(), NULL);
    if (file != NULL && d2i_PKCS12(&file, &at, (long)bytes.len) == NULL)
        file = NULL; /* it was freed */
    if (file != NULL && at != (const unsigned char *)bytes.ptr + bytes.len) {
        PKCS12_free(file);
        file = NULL;
    }
    ERR_clear_error();
    return file;
}

/* As OpenSSL wrote them before it knew PKCS#8: the type stands in the PEM, or is guessed by the structure. */
static enum err read_traditional(struct keyring_key_files *files, struct span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr;
    EVP_PKEY *key = bytes.len == 0 ? NULL : d2i_AutoPrivateKey(NULL, &at, (long)bytes.len);
    ERR_clear_error();
    return keyring_key_files_take(files, key);
}

static enum err read_der(struct keyring_key_files *files, struct span bytes, const struct secret *passphrase,
                         struct keyring_key_work *work)
{
    enum err err;
    X509 *certificate = NULL;
    X509_SIG *sealed = NULL;
    PKCS12 *file = NULL;
    if ((certificate = read_item(bytes, ASN1_ITEM_rptr(X509))) != NULL)
        err = keyring_key_files_add(files, certificate);
    else if ((sealed = read_item(bytes, ASN1_ITEM_rptr(X509_SIG))) != NULL)
        err = keyring_key_pkcs8_read(files, sealed, passphrase, work);
    else if ((file = read_pkcs12(bytes)) != NULL)
        err = keyring_key_pkcs12_read(files, file, passphrase, work);
    else
        err = read_traditional(files, bytes);
    X509_free(certificate);
    X509_SIG_free(sealed);
    PKCS12_free(file);
    return err;
}

static int give_passphrase(char *out, int size, int is_writing, void *context)
{
    const struct secret *passphrase = context;
    (void)is_writing;
    return passphrase->len < (size_t)size && span_copy(secret_span(passphrase), out, (size_t)size)
               ? (int)passphrase->len
               : -1;
}

/* Encrypted as PEM itself has it (RFC 1421 §4.6), with one round of MD5. */
static enum err open_pem(struct pem *pem, const struct secret *passphrase)
{
    EVP_CIPHER_INFO cipher;
    if (pem->header[0] == '\0')
        return ERR_OK;
    if (PEM_get_EVP_CIPHER_INFO(pem->header, &cipher) != 1)
        return ERR_KEY_UNUSABLE;
    if (cipher.cipher == NULL)
        return ERR_OK;
    if (passphrase == NULL || passphrase->len == 0)
        return ERR_KEY_LOCKED;
    struct secret copy = *passphrase;
    return PEM_do_header(&cipher, pem->bytes, &pem->len, give_passphrase, &copy) == 1 ? ERR_OK : ERR_AUTH_FAILED;
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

static enum err read_pem(struct keyring_key_files *files, struct pem *pem, const struct secret *passphrase,
                         struct keyring_key_work *work, size_t *taken)
{
    static const char *const known[] = {
        "CERTIFICATE",  "X509 CERTIFICATE",      PEM_STRING_PKCS8,        PEM_STRING_PKCS8INF,
        PEM_STRING_RSA, PEM_STRING_ECPRIVATEKEY, PEM_STRING_X509_TRUSTED, NULL};
    if (!is_one_of(pem->name, known))
        return ERR_OK;
    ++*taken;
    enum err err = open_pem(pem, passphrase);
    ERR_clear_error();
    if (err != ERR_OK)
        return err;
    if (strcmp(pem->name, PEM_STRING_X509_TRUSTED) != 0)
        return read_der(files, bytes_of(pem), passphrase, work);
    const unsigned char *at = pem->bytes;
    X509 *certificate = d2i_X509_AUX(NULL, &at, pem->len);
    err = certificate == NULL ? ERR_MALFORMED : keyring_key_files_add(files, certificate);
    X509_free(certificate);
    ERR_clear_error();
    return err;
}

static enum err read_pems(struct keyring_key_files *files, struct span bytes, const struct secret *passphrase,
                          struct keyring_key_work *work)
{
    struct pem pem = {NULL, NULL, NULL, 0};
    size_t taken = 0, count = 0;
    enum err err = ERR_OK;
    BIO *source = BIO_new_mem_buf(bytes.ptr, (int)bytes.len);
    if (source == NULL)
        return ERR_MEMORY;
    while (err == ERR_OK && PEM_read_bio(source, &pem.name, &pem.header, &pem.bytes, &pem.len) == 1) {
        err = ++count > OBJECTS_MAX ? ERR_LIMIT : read_pem(files, &pem, passphrase, work, &taken);
        pem_free(&pem);
    }
    /* What ends the loop is the end, or a piece that is damaged. */
    const unsigned long last = ERR_peek_last_error();
    if (err == ERR_OK && (taken == 0 || (last != 0 && ERR_GET_REASON(last) != PEM_R_NO_START_LINE)))
        err = ERR_MALFORMED;
    BIO_free(source);
    ERR_clear_error();
    return err;
}

enum err keyring_key_files_read(struct keyring_key_files *files, struct span bytes, const struct secret *passphrase)
{
    struct keyring_key_work work = {files->iterations_max};
    if (bytes.len > KEYRING_KEY_FILE_MAX)
        return ERR_LIMIT;
    if (passphrase != NULL && (passphrase->len > KEYRING_KEY_PASSPHRASE_MAX ||
                               memchr(passphrase->data != NULL ? passphrase->data : "", '\0', passphrase->len) != NULL))
        return ERR_AUTH_FAILED;
    ERR_clear_error();
    if (span_find(bytes, 0, SPAN_LIT(PEM_START)) != SIZE_MAX)
        return read_pems(files, bytes, passphrase, &work);
    return read_der(files, bytes, passphrase, &work);
}
