#include "keyring/revocation_internal.h"

#include <openssl/asn1t.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

/* An answer that does not say until when it is good. */
#define UNSAID_S 3600

/* ---- where to ask ---- */

struct questions {
    struct keyring_revocation_question *items;
    size_t len;
};

/* A URL is printable ASCII; whatever else is none that we would ask. */
static bool is_url(enum keyring_answer_kind kind, struct span text)
{
    if (!span_has_case_prefix(text, SPAN_LIT("http://")) &&
        (kind != KEYRING_ANSWER_LIST || !span_has_case_prefix(text, SPAN_LIT("ldap://"))))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return false;
    return true;
}

static void add_question(struct questions *questions, enum keyring_answer_kind kind, const GENERAL_NAME *name)
{
    int type;
    const ASN1_IA5STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type != GEN_URI || questions->len == KEYRING_QUESTIONS_MAX)
        return;
    struct span url = {(const char *)ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value)};
    struct keyring_revocation_question *question = &questions->items[questions->len];
    if (!is_url(kind, url) || !span_copy(url, question->url, sizeof question->url))
        return;
    for (size_t i = 0; i < questions->len; i++)
        if (questions->items[i].kind == kind && strcmp(questions->items[i].url, question->url) == 0)
            return;
    question->kind = kind;
    questions->len++;
}

/* A point that serves some reasons alone, or is another issuer's, is passed over. */
static void add_points(struct questions *questions, const X509 *certificate)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(certificate, NID_crl_distribution_points, NULL, NULL);
    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT *point = sk_DIST_POINT_value(points, i);
        if (point->reasons != NULL || point->CRLissuer != NULL || point->distpoint == NULL ||
            point->distpoint->type != 0)
            continue;
        for (int j = 0; j < sk_GENERAL_NAME_num(point->distpoint->name.fullname); j++)
            add_question(questions, KEYRING_ANSWER_LIST, sk_GENERAL_NAME_value(point->distpoint->name.fullname, j));
    }
    CRL_DIST_POINTS_free(points);
}

static void add_responders(struct questions *questions, const X509 *certificate)
{
    AUTHORITY_INFO_ACCESS *accesses = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(accesses); i++) {
        const ACCESS_DESCRIPTION *access = sk_ACCESS_DESCRIPTION_value(accesses, i);
        if (OBJ_obj2nid(access->method) == NID_ad_OCSP)
            add_question(questions, KEYRING_ANSWER_OCSP, access->location);
    }
    AUTHORITY_INFO_ACCESS_free(accesses);
}

size_t keyring_revocation_questions(const X509 *certificate,
                                    struct keyring_revocation_question questions_out[KEYRING_QUESTIONS_MAX])
{
    /* One place is left for a responder. */
    struct questions questions = {questions_out, 0};
    add_points(&questions, certificate);
    if (questions.len == KEYRING_QUESTIONS_MAX)
        questions.len--;
    add_responders(&questions, certificate);
    ERR_clear_error();
    return questions.len;
}

enum err keyring_revocation_request(const X509 *certificate, const X509 *issuer, struct buf *out)
{
    enum err err = ERR_MEMORY;
    unsigned char *bytes = NULL;
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), certificate, issuer);
    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL;
        int len = i2d_OCSP_REQUEST(request, &bytes);
        if (len > 0)
            err = buf_add(out, bytes, (size_t)len);
    }
    OPENSSL_free(bytes);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    return err;
}

/* ---- what an answer is worth ---- */

int64_t revocation_seconds(const ASN1_TIME *time)
{
    struct tm broken = {0};
    return time != NULL && ASN1_TIME_to_tm(time, &broken) == 1 ? (int64_t)timegm(&broken) : 0;
}

static bool is_strong_hash(int nid)
{
    return nid != NID_undef && nid != NID_md5 && nid != NID_sha1 && nid != NID_md4 && nid != NID_md2 &&
           nid != NID_md5_sha1 && nid != NID_ripemd160;
}

bool revocation_is_strong(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *name;
    int hash = NID_undef, key;
    X509_ALGOR_get0(&name, NULL, NULL, algorithm);
    int nid = OBJ_obj2nid(name);
    if (nid == NID_rsassaPss) {
        RSA_PSS_PARAMS *parameters = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
        if (parameters != NULL && parameters->hashAlgorithm != NULL)
            hash = OBJ_obj2nid(parameters->hashAlgorithm->algorithm);
        RSA_PSS_PARAMS_free(parameters);
        return is_strong_hash(hash);
    }
    return nid == NID_ED25519 || nid == NID_ED448 ||
           (OBJ_find_sigid_algs(nid, &hash, &key) == 1 && is_strong_hash(hash));
}

static const char *text_of_reason(int reason)
{
    static const char *const texts[] = {[0] = "no reason given",
                                        [OCSP_REVOKED_STATUS_KEYCOMPROMISE] = "its key fell into others' hands",
                                        [OCSP_REVOKED_STATUS_CACOMPROMISE] = "its issuer's key fell into others' hands",
                                        [OCSP_REVOKED_STATUS_AFFILIATIONCHANGED] = "its owner's affiliation changed",
                                        [OCSP_REVOKED_STATUS_SUPERSEDED] = "superseded by another",
                                        [OCSP_REVOKED_STATUS_CESSATIONOFOPERATION] = "no longer in use",
                                        [OCSP_REVOKED_STATUS_CERTIFICATEHOLD] = "on hold",
                                        [9] = "its owner's privilege was withdrawn",
                                        [10] = "its attribute authority fell into others' hands"};
    bool is_known = reason >= 0 && (size_t)reason < sizeof texts / sizeof *texts && texts[reason] != NULL;
    return is_known ? texts[reason] : texts[0];
}

/* Nobody knows since when a key was in others' hands. */
static bool counts_always(int reason)
{
    return reason == OCSP_REVOKED_STATUS_KEYCOMPROMISE || reason == OCSP_REVOKED_STATUS_CACOMPROMISE || reason == 10;
}

static const char *why_not_fresh(const struct revocation_news *news, int64_t now)
{
    if (news->made == 0 || news->made > now + KEYRING_CLOCKS_S)
        return "the answer is of a time to come";
    if (news->next != 0 ? news->next < now - KEYRING_CLOCKS_S : news->made < now - UNSAID_S)
        return "the answer is out of date";
    return NULL;
}

/* Turns the issuer's word into what it means at the time `at`. */
static void apply(const struct revocation_news *news, const X509 *certificate, int64_t now, int64_t at,
                  struct keyring_revocation *out)
{
    int64_t until = news->next != 0 ? news->next : news->made + UNSAID_S;
    out->reason = why_not_fresh(news, now);
    if (out->reason != NULL)
        return;
    if (news->since == 0 && revocation_seconds(X509_get0_notAfter(certificate)) < news->made) {
        out->reason = "the answer was made after the certificate had expired";
        return;
    }
    out->until = until < now + KEYRING_ANSWER_KEPT_S ? until : now + KEYRING_ANSWER_KEPT_S;
    out->since = news->since;
    out->made = news->made;
    out->state = news->since != 0 && (at >= news->since || counts_always(news->reason)) ? KEYRING_REVOCATION_REVOKED
                                                                                        : KEYRING_REVOCATION_GOOD;
    out->reason = news->since != 0 ? text_of_reason(news->reason) : "";
}

enum err keyring_revocation_judge(enum keyring_answer_kind kind, struct span answer, X509 *certificate, X509 *issuer,
                                  int64_t now, int64_t at, struct keyring_revocation *revocation_out)
{
    struct revocation_news news = {.reason = -1};
    *revocation_out = (struct keyring_revocation){.reason = "the answer is too large"};
    if (answer.len > KEYRING_ANSWER_MAX)
        return ERR_OK;
    ERR_clear_error();
    revocation_out->reason = kind == KEYRING_ANSWER_LIST
                                 ? revocation_read_list(answer, certificate, issuer, &news)
                                 : revocation_read_ocsp(answer, certificate, issuer, now, &news);
    if (revocation_out->reason == NULL)
        apply(&news, certificate, now, at, revocation_out);
    bool is_memory = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE;
    ERR_clear_error();
    return is_memory ? ERR_MEMORY : ERR_OK;
}

enum err keyring_revocation_sum(const struct keyring_revocation *revocations, size_t len,
                                enum keyring_revocation_mode mode, bool *is_unknown_out)
{
    *is_unknown_out = mode != KEYRING_REVOCATION_OFF && revocations == NULL;
    for (size_t i = 0; mode != KEYRING_REVOCATION_OFF && i < len; i++) {
        if (revocations[i].state == KEYRING_REVOCATION_REVOKED) {
            *is_unknown_out = false;
            return ERR_REVOKED;
        }
        *is_unknown_out = *is_unknown_out || revocations[i].state == KEYRING_REVOCATION_UNKNOWN;
    }
    if (mode == KEYRING_REVOCATION_HARD && *is_unknown_out) {
        *is_unknown_out = false;
        return ERR_LOOKUP;
    }
    return ERR_OK;
}
