/*
 * Revocation lists and responders' answers made for a test, each by a row of what is to be in it.
 */
#ifndef TESTS_UNIT_REVOCATION_MADE_H
#define TESTS_UNIT_REVOCATION_MADE_H

#include "keyring/revocation.h"
#include "tests/unit/x509_made.h"

#include <openssl/ocsp.h>

struct made_news {
    int64_t made_s, next_s; /* relative to MADE_NOW; both 0: from an hour ago for a day; next_s -1: not said */
    int64_t since_s;        /* relative to MADE_NOW; 0: not revoked */
    int64_t invalid_s;      /* relative to MADE_NOW; 0: not said */
    int reason;             /* CRLReason; 0: not said */
    const char *hash;       /* NULL: SHA256 */
    const char *scope;      /* issuingDistributionPoint; NULL: none */
    bool is_delta;          /* holds only what has changed */
    bool has_unknown;       /* a critical extension that nobody knows */
    bool is_other;          /* speaks of another certificate */
    bool is_unknown;        /* an answer: the responder does not know the certificate */
    const char *id_hash;    /* an answer: that the identifier is made with; NULL: SHA1 */
    bool is_busy;           /* an answer: tryLater */
};

__attribute__((unused)) static ASN1_TIME *made_time(int64_t from_now_s)
{
    return ASN1_TIME_set(NULL, (time_t)(MADE_NOW + from_now_s));
}

__attribute__((unused)) static void made_revoked(X509_CRL *list, const struct made_news *news,
                                                 const ASN1_INTEGER *serial)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *since = made_time(news->since_s);
    assert_int_equal(X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)(uintptr_t)serial), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(entry, since), 1);
    ASN1_TIME_free(since);
    if (news->reason != 0) {
        ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
        assert_int_equal(ASN1_ENUMERATED_set(reason, news->reason), 1);
        assert_int_equal(X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0), 1);
        ASN1_ENUMERATED_free(reason);
    }
    if (news->invalid_s != 0) {
        ASN1_GENERALIZEDTIME *invalid = ASN1_GENERALIZEDTIME_set(NULL, (time_t)(MADE_NOW + news->invalid_s));
        assert_int_equal(X509_REVOKED_add1_ext_i2d(entry, NID_invalidity_date, invalid, 0, 0), 1);
        ASN1_GENERALIZEDTIME_free(invalid);
    }
    assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
}

__attribute__((unused)) static void made_list_extensions(X509_CRL *list, const struct made_news *news)
{
    if (news->is_delta) {
        ASN1_INTEGER *base = ASN1_INTEGER_new();
        assert_int_equal(ASN1_INTEGER_set(base, 1), 1);
        assert_int_equal(X509_CRL_add1_ext_i2d(list, NID_delta_crl, base, 1, 0), 1);
        ASN1_INTEGER_free(base);
    }
    if (news->scope != NULL || news->has_unknown) {
        X509V3_CTX context;
        X509V3_set_ctx(&context, NULL, NULL, NULL, list, 0);
        X509_EXTENSION *extension =
            news->has_unknown ? X509V3_EXT_conf(NULL, &context, "1.3.6.1.4.1.55555.1", "critical,DER:0500")
                              : X509V3_EXT_conf_nid(NULL, &context, NID_issuing_distribution_point, news->scope);
        assert_non_null(extension);
        assert_int_equal(X509_CRL_add_ext(list, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
}

/* DER of a list that `signer` signs in the name of `issuer`; it names `certificate` if that is revoked. */
__attribute__((unused)) static void made_list(const struct made_news *news, const X509 *certificate,
                                              const struct made *issuer, const struct made *signer, struct buf *out)
{
    X509_CRL *list = X509_CRL_new();
    bool has_times = news->made_s != 0 || news->next_s > 0;
    ASN1_TIME *made = made_time(has_times ? news->made_s : -3600);
    ASN1_TIME *next = made_time(has_times ? news->next_s : 86400);
    ASN1_INTEGER *other = ASN1_INTEGER_new();
    unsigned char *bytes = NULL;
    assert_int_equal(ASN1_INTEGER_set(other, 1000000), 1);
    assert_int_equal(X509_CRL_set_version(list, 1), 1);
    assert_int_equal(X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate)), 1);
    assert_int_equal(X509_CRL_set1_lastUpdate(list, made), 1);
    if (news->next_s != -1)
        assert_int_equal(X509_CRL_set1_nextUpdate(list, next), 1);
    if (news->since_s != 0)
        made_revoked(list, news, news->is_other ? other : X509_get0_serialNumber(certificate));
    made_list_extensions(list, news);
    assert_true(X509_CRL_sort(list) == 1);
    assert_true(X509_CRL_sign(list, signer->key, EVP_get_digestbyname(news->hash == NULL ? "SHA256" : news->hash)) > 0);
    int len = i2d_X509_CRL(list, &bytes);
    assert_true(len > 0);
    assert_int_equal(buf_add(out, bytes, (size_t)len), ERR_OK);
    OPENSSL_free(bytes);
    ASN1_INTEGER_free(other);
    ASN1_TIME_free(made);
    ASN1_TIME_free(next);
    X509_CRL_free(list);
}

/* DER of an answer about `certificate`, which `issuer` has issued, that `signer` signs. */
__attribute__((unused)) static void made_answer(const struct made_news *news, const X509 *certificate,
                                                const struct made *issuer, const struct made *signer, struct buf *out)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    bool has_times = news->made_s != 0 || news->next_s > 0;
    const EVP_MD *id_hash = EVP_get_digestbyname(news->id_hash == NULL ? "SHA1" : news->id_hash);
    ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(certificate));
    if (news->is_other)
        assert_int_equal(ASN1_INTEGER_set(serial, 1000000), 1);
    OCSP_CERTID *id = OCSP_cert_id_new(id_hash, X509_get_subject_name(issuer->certificate),
                                       X509_get0_pubkey_bitstr(issuer->certificate), serial);
    ASN1_TIME *made = made_time(has_times ? news->made_s : -3600), *since = made_time(news->since_s);
    ASN1_TIME *next = made_time(has_times ? news->next_s : 86400);
    const int status = news->is_unknown     ? V_OCSP_CERTSTATUS_UNKNOWN
                       : news->since_s != 0 ? V_OCSP_CERTSTATUS_REVOKED
                                            : V_OCSP_CERTSTATUS_GOOD;
    unsigned char *bytes = NULL;
    assert_non_null(OCSP_basic_add1_status(basic, id, status, news->reason == 0 ? -1 : news->reason, since, made,
                                           news->next_s == -1 ? NULL : next));
    assert_int_equal(OCSP_basic_sign(basic, signer->certificate, signer->key,
                                     EVP_get_digestbyname(news->hash == NULL ? "SHA256" : news->hash), NULL, 0),
                     1);
    OCSP_RESPONSE *response = OCSP_response_create(
        news->is_busy ? OCSP_RESPONSE_STATUS_TRYLATER : OCSP_RESPONSE_STATUS_SUCCESSFUL, news->is_busy ? NULL : basic);
    int len = i2d_OCSP_RESPONSE(response, &bytes);
    assert_true(len > 0);
    assert_int_equal(buf_add(out, bytes, (size_t)len), ERR_OK);
    OPENSSL_free(bytes);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(made);
    ASN1_TIME_free(next);
    ASN1_TIME_free(since);
}

#endif
