#include "keyring/ldap_internal.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#define CERTIFICATE_SIZE_MAX ((size_t)65536)

static bool is_known(const struct ldap_answer *answer, struct span bytes)
{
    const struct span all = buf_span(&answer->bytes);
    for (size_t i = 0; i < answer->pieces_len; i++)
        if (span_is_equal(span_slice(all, answer->pieces[i].at, answer->pieces[i].at + answer->pieces[i].len), bytes))
            return true;
    return false;
}

static enum err add(struct ldap_answer *answer, enum keyring_found_kind kind, struct span bytes)
{
    if (is_known(answer, bytes))
        return ERR_OK;
    if (answer->pieces_len == KEYRING_LDAP_VALUES_MAX) {
        answer->ignored++;
        return ERR_OK;
    }
    const struct ldap_piece piece = {kind, answer->bytes.len, bytes.len};
    enum err err = buf_add_span(&answer->bytes, bytes);
    if (!err)
        answer->pieces[answer->pieces_len++] = piece;
    return err;
}

/* Nothing before or after the certificate belongs to it. */
static bool is_certificate(struct span value)
{
    const unsigned char *at = (const unsigned char *)value.ptr;
    X509 *certificate = value.len <= CERTIFICATE_SIZE_MAX ? d2i_X509(NULL, &at, (long)value.len) : NULL;
    const bool is_whole = certificate && at == (const unsigned char *)value.ptr + value.len;
    X509_free(certificate);
    return is_whole;
}

static enum err add_collection(struct ldap_answer *answer, CMS_ContentInfo *cms)
{
    STACK_OF(X509) *certificates = CMS_get1_certs(cms);
    enum err err = ERR_OK;
    for (int i = 0; !err && i < sk_X509_num(certificates); i++) {
        unsigned char *der = NULL;
        const int len = i2d_X509(sk_X509_value(certificates, i), &der);
        const struct span bytes = {(const char *)der, len > 0 ? (size_t)len : 0};
        if (len > 0 && bytes.len <= CERTIFICATE_SIZE_MAX)
            err = add(answer, KEYRING_FOUND_CERTIFICATE, bytes);
        else
            answer->ignored++;
        OPENSSL_free(der);
    }
    sk_X509_pop_free(certificates, X509_free);
    return err;
}

static enum err add_der(struct ldap_answer *answer, struct span value)
{
    if (is_certificate(value))
        return add(answer, KEYRING_FOUND_CERTIFICATE, value);
    const unsigned char *at = (const unsigned char *)value.ptr;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)value.len);
    enum err err = ERR_OK;
    if (cms && OBJ_obj2nid(CMS_get0_type(cms)) == NID_pkcs7_signed)
        err = add_collection(answer, cms);
    else
        answer->ignored++;
    CMS_ContentInfo_free(cms);
    return err;
}

/* A public key packet comes first (RFC 4880 §4.2, §11.1), with either form of its header. */
static bool is_openpgp(struct span value)
{
    const unsigned first = (unsigned char)value.ptr[0];
    return first == 0xc6 || (first & 0xfcu) == 0x98 ||
           span_has_prefix(value, span_of("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
}

enum err ldap_answer_add_raw(struct ldap_answer *answer, struct span value)
{
    return add(answer, KEYRING_FOUND_RAW, value);
}

enum err ldap_answer_add(struct ldap_answer *answer, struct span value)
{
    enum err err = ERR_OK;
    const bool has_size = value.len > 0 && value.len <= KEYRING_FOUND_PIECE_MAX;
    if (has_size && value.ptr[0] == 0x30)
        err = add_der(answer, value);
    else if (has_size && is_openpgp(value))
        err = add(answer, KEYRING_FOUND_OPENPGP, value);
    else
        answer->ignored++;
    ERR_clear_error();
    return err;
}
