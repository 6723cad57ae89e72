/*
 * Certificates out of a file: PEM, one block after the other, or DER; each a certificate or a PKCS#7 (CMS) bundle of
 * them.
 */
#include "keyring/x509_internal.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

static enum err add_certificate(const unsigned char *der, size_t len, STACK_OF(X509) * certificates)
{
    const unsigned char *at = der;
    X509 *certificate = d2i_X509(NULL, &at, (long)len);
    if (certificate == NULL || at != der + len) {
        X509_free(certificate);
        return ERR_MALFORMED;
    }
    if (sk_X509_push(certificates, certificate) > 0)
        return ERR_OK;
    X509_free(certificate);
    return ERR_MEMORY;
}

static enum err add_bundle(const unsigned char *der, size_t len, STACK_OF(X509) * certificates)
{
    const unsigned char *at = der;
    CMS_ContentInfo *bundle = d2i_CMS_ContentInfo(NULL, &at, (long)len);
    STACK_OF(X509) *inside = bundle == NULL ? NULL : CMS_get1_certs(bundle);
    CMS_ContentInfo_free(bundle);
    if (sk_X509_num(inside) <= 0) {
        sk_X509_pop_free(inside, X509_free);
        return ERR_MALFORMED;
    }
    enum err err = ERR_OK;
    while (err == ERR_OK && sk_X509_num(inside) > 0) {
        X509 *certificate = sk_X509_shift(inside);
        if (sk_X509_push(certificates, certificate) <= 0) {
            X509_free(certificate);
            err = ERR_MEMORY;
        }
    }
    sk_X509_pop_free(inside, X509_free);
    return err;
}

static bool is_named(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* Blocks of other kinds are passed over. */
static enum err add_block(const char *name, const unsigned char *bytes, long len, STACK_OF(X509) * certificates,
                          size_t *wrong)
{
    static const char *const plain[] = {PEM_STRING_X509, PEM_STRING_X509_OLD, NULL};
    static const char *const bundles[] = {PEM_STRING_PKCS7, PEM_STRING_PKCS7_SIGNED, PEM_STRING_CMS, NULL};
    enum err err = ERR_OK;
    if (is_named(name, plain))
        err = add_certificate(bytes, (size_t)len, certificates);
    else if (is_named(name, bundles))
        err = add_bundle(bytes, (size_t)len, certificates);
    *wrong += err == ERR_MALFORMED;
    return err == ERR_MALFORMED ? ERR_OK : err;
}

static enum err add_pem(struct span bytes, STACK_OF(X509) * certificates, size_t *wrong)
{
    enum err err = ERR_OK;
    char *name, *header;
    unsigned char *data;
    long len;
    BIO *source = BIO_new_mem_buf(bytes.ptr, (int)bytes.len);
    if (source == NULL)
        return ERR_MEMORY;
    for (size_t left = bytes.len + 1; err == ERR_OK && BIO_ctrl_pending(source) < left;) {
        left = BIO_ctrl_pending(source);
        if (PEM_read_bio(source, &name, &header, &data, &len) != 1) {
            /* A block that is none does not hide those after it. */
            if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
                break;
            ERR_clear_error();
            (*wrong)++;
            continue;
        }
        err = add_block(name, data, len, certificates, wrong);
        OPENSSL_free(name);
        OPENSSL_free(header);
        /* May have been a private key. */
        OPENSSL_clear_free(data, (size_t)len);
    }
    BIO_free(source);
    return err;
}

enum err keyring_x509_read(struct span bytes, STACK_OF(X509) * *certificates_out, size_t *wrong_out)
{
    STACK_OF(X509) *certificates = sk_X509_new_null();
    const unsigned char *der = (const unsigned char *)bytes.ptr;
    enum err err = certificates == NULL ? ERR_MEMORY : ERR_OK;
    *certificates_out = NULL;
    *wrong_out = 0;
    if (bytes.len > INT32_MAX || bytes.len == 0)
        err = err == ERR_OK ? ERR_MALFORMED : err;
    if (err == ERR_OK && span_find(bytes, 0, SPAN_LIT("-----BEGIN ")) != SIZE_MAX) {
        err = add_pem(bytes, certificates, wrong_out);
    } else if (err == ERR_OK) {
        err = add_certificate(der, bytes.len, certificates);
        if (err == ERR_MALFORMED)
            err = add_bundle(der, bytes.len, certificates);
    }
    ERR_clear_error();
    if (err == ERR_OK && sk_X509_num(certificates) == 0)
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        *certificates_out = certificates;
    else
        sk_X509_pop_free(certificates, X509_free);
    return err;
}
