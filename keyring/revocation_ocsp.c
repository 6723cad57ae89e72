/*
 * Answers of OCSP responders (RFC 6960 §3.2, §4.2.2). OpenSSL decides whether the issuer, or whom it has charged with
 * it, has signed one; whether it is about the certificate is looked at here.
 */
#include "keyring/revocation_internal.h"

#include "keyring/x509_internal.h"

#include <openssl/ocsp.h>

/* The issuer alone is trusted, and only for its own certificates and those that it has made responders. */
static bool is_by_issuer(OCSP_BASICRESP *basic, X509 *issuer, int64_t now)
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *others = sk_X509_new_null();
    bool is_good = false;
    if (store != NULL && others != NULL && sk_X509_push(others, issuer) > 0 &&
        X509_STORE_add_cert(store, issuer) == 1) {
        X509_VERIFY_PARAM *parameters = X509_STORE_get0_param(store);
        X509_VERIFY_PARAM_set_time(parameters, (time_t)now);
        X509_VERIFY_PARAM_set_auth_level(parameters, KEYRING_X509_LEVEL);
        is_good = X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                  OCSP_basic_verify(basic, others, store, OCSP_NOEXPLICIT | OCSP_PARTIAL_CHAIN) == 1;
    }
    X509_STORE_free(store);
    sk_X509_free(others);
    return is_good;
}

/* What is said of this certificate, whichever hash its identifier is made with. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const X509 *certificate, const X509 *issuer)
{
    const EVP_MD *const hashes[] = {EVP_sha1(), EVP_sha256(), EVP_sha384(), EVP_sha512()};
    OCSP_SINGLERESP *single = NULL;
    for (size_t i = 0; single == NULL && i < sizeof hashes / sizeof *hashes; i++) {
        OCSP_CERTID *id = OCSP_cert_to_id(hashes[i], certificate, issuer);
        int at = id == NULL ? -1 : OCSP_resp_find(basic, id, -1);
        single = at < 0 ? NULL : OCSP_resp_get0(basic, at);
        OCSP_CERTID_free(id);
    }
    return single;
}

static const char *read_basic(OCSP_BASICRESP *basic, X509 *certificate, X509 *issuer, int64_t now,
                              struct revocation_news *news)
{
    ASN1_GENERALIZEDTIME *revoked = NULL, *made = NULL, *next = NULL;
    int reason = -1;
    if (!revocation_is_strong(OCSP_resp_get0_tbs_sigalg(basic)))
        return "the answer is signed with a weak hash";
    if (!is_by_issuer(basic, issuer, now))
        return "the answer is not by the issuer, nor by whom it has charged with it";
    OCSP_SINGLERESP *single = find_single(basic, certificate, issuer);
    if (single == NULL)
        return "the answer is about another certificate";
    int status = OCSP_single_get0_status(single, &reason, &revoked, &made, &next);
    if (status != V_OCSP_CERTSTATUS_GOOD && status != V_OCSP_CERTSTATUS_REVOKED)
        return "the responder does not know the certificate";
    news->made = revocation_seconds(made);
    news->next = revocation_seconds(next);
    if (status == V_OCSP_CERTSTATUS_REVOKED) {
        int64_t since = revocation_seconds(revoked);
        news->since = since > 0 ? since : 1;
        news->reason = reason;
    }
    return NULL;
}

const char *revocation_read_ocsp(struct span answer, X509 *certificate, X509 *issuer, int64_t now,
                                 struct revocation_news *news_out)
{
    const unsigned char *at = (const unsigned char *)answer.ptr;
    const char *why = "the answer is none of a responder's";
    OCSP_RESPONSE *response = answer.len == 0 ? NULL : d2i_OCSP_RESPONSE(NULL, &at, (long)answer.len);
    OCSP_BASICRESP *basic = NULL;
    if (response != NULL && OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        why = "the responder does not answer such questions now";
    else if (response != NULL)
        basic = OCSP_response_get1_basic(response);
    if (basic != NULL)
        why = read_basic(basic, certificate, issuer, now, news_out);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return why;
}
