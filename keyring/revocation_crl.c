/*
 * Revocation lists (RFC 5280 §5). OpenSSL decides whether a list is the issuer's and speaks for the certificate, on the
 * path of these two alone, which has been judged before.
 */
#include "keyring/revocation_internal.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

/* What OpenSSL had to say of the list; errors of the path itself are others' concern. */
struct found {
    bool is_revoked;
    const char *reason; /* why the list is of no use */
};

static int take_error(int ok, X509_STORE_CTX *context)
{
    struct found *found = X509_STORE_CTX_get_app_data(context);
    int error = X509_STORE_CTX_get_error(context);
    if (ok != 0)
        return 1;
    switch (error) {
    case X509_V_ERR_CERT_REVOKED:
        found->is_revoked = true;
        return 1;
    /* Times are looked at elsewhere, with what clocks may differ by. */
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
        return 1;
    default:
        found->reason = X509_verify_cert_error_string(error);
        return 0;
    }
}

static bool ask_openssl(X509_CRL *list, X509 *certificate, X509 *issuer, struct found *found)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *anchors = sk_X509_new_null();
    STACK_OF(X509_CRL) *lists = sk_X509_CRL_new_null();
    bool is_done = false;
    if (context != NULL && anchors != NULL && lists != NULL && sk_X509_push(anchors, issuer) > 0 &&
        sk_X509_CRL_push(lists, list) > 0 && X509_STORE_CTX_init(context, NULL, certificate, NULL) == 1 &&
        X509_STORE_CTX_set_app_data(context, found) == 1) {
        X509_STORE_CTX_set0_trusted_stack(context, anchors);
        X509_STORE_CTX_set0_crls(context, lists);
        X509_STORE_CTX_set_flags(context, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_CRL_CHECK);
        X509_STORE_CTX_set_verify_cb(context, take_error);
        is_done = X509_verify_cert(context) == 1;
    }
    X509_STORE_CTX_free(context);
    sk_X509_free(anchors);
    sk_X509_CRL_free(lists);
    return is_done && found->reason == NULL;
}

/* The entry of a certificate that is revoked; the key may have been lost before it was (§5.3.2). */
static void read_entry(X509_CRL *list, X509 *certificate, struct revocation_news *news)
{
    X509_REVOKED *entry;
    /* Otherwise nobody knows since when. */
    news->since = 1;
    if (X509_CRL_get0_by_cert(list, &entry, certificate) != 1)
        return;
    ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    ASN1_GENERALIZEDTIME *invalid = X509_REVOKED_get_ext_d2i(entry, NID_invalidity_date, NULL, NULL);
    int64_t revoked = revocation_seconds(X509_REVOKED_get0_revocationDate(entry)), since = revocation_seconds(invalid);
    if (reason != NULL)
        news->reason = (int)ASN1_ENUMERATED_get(reason);
    news->since = since > 0 && since < revoked ? since : revoked > 0 ? revoked : 1;
    ASN1_ENUMERATED_free(reason);
    ASN1_GENERALIZEDTIME_free(invalid);
}

static const char *read_list(X509_CRL *list, X509 *certificate, X509 *issuer, struct revocation_news *news)
{
    struct found found = {.reason = NULL};
    const X509_ALGOR *algorithm;
    X509_CRL_get0_signature(list, NULL, &algorithm);
    /* OpenSSL would take it for a whole one. */
    if (X509_CRL_get_ext_by_NID(list, NID_delta_crl, -1) >= 0)
        return "the list holds only what has changed";
    if (!revocation_is_strong(algorithm))
        return "the list is signed with a weak hash";
    if (!ask_openssl(list, certificate, issuer, &found))
        return found.reason == NULL ? "the list cannot be checked" : found.reason;
    news->made = revocation_seconds(X509_CRL_get0_lastUpdate(list));
    news->next = revocation_seconds(X509_CRL_get0_nextUpdate(list));
    if (found.is_revoked)
        read_entry(list, certificate, news);
    return NULL;
}

const char *revocation_read_list(struct span answer, X509 *certificate, X509 *issuer, struct revocation_news *news_out)
{
    const unsigned char *at = (const unsigned char *)answer.ptr;
    X509_CRL *list = answer.len == 0 ? NULL : d2i_X509_CRL(NULL, &at, (long)answer.len);
    /* Some are given out as PEM. */
    BIO *text = list != NULL || answer.len == 0 ? NULL : BIO_new_mem_buf(answer.ptr, (int)answer.len);
    if (text != NULL)
        list = PEM_read_bio_X509_CRL(text, NULL, NULL, NULL);
    BIO_free(text);
    const char *why = list == NULL ? "the answer is no list" : read_list(list, certificate, issuer, news_out);
    X509_CRL_free(list);
    return why;
}
