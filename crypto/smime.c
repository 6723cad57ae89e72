#include "crypto/smime.h"

#include "base/log.h"
#include "crypto/ber.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <string.h>

/* RFC 8551 §2.1: MD5 and SHA-1 are for old mail, and never good. */
static bool is_weak_hash(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *name;
    X509_ALGOR_get0(&name, NULL, NULL, algorithm);
    switch (OBJ_obj2nid(name)) {
    case NID_sha224:
    case NID_sha256:
    case NID_sha384:
    case NID_sha512:
    case NID_sha3_256:
    case NID_sha3_384:
    case NID_sha3_512:
        return false;
    default:
        return true;
    }
}

static int64_t signing_time(const CMS_SignerInfo *signer)
{
    struct tm broken = {0};
    int at = CMS_signed_get_attr_by_NID(signer, NID_pkcs9_signingTime, -1);
    const X509_ATTRIBUTE *attribute = at < 0 ? NULL : CMS_signed_get_attr(signer, at);
    X509_ATTRIBUTE *borrowed = (X509_ATTRIBUTE *)(uintptr_t)attribute;
    const ASN1_TYPE *value = borrowed == NULL ? NULL : X509_ATTRIBUTE_get0_type(borrowed, 0);
    bool is_time = value != NULL && (value->type == V_ASN1_UTCTIME || value->type == V_ASN1_GENERALIZEDTIME);
    if (!is_time || ASN1_TIME_to_tm(value->value.asn1_string, &broken) != 1)
        return 0;
    return (int64_t)timegm(&broken);
}

static enum crypto_signature_state state_of(enum keyring_chain chain)
{
    switch (chain) {
    case KEYRING_CHAIN_EXPIRED:
        return CRYPTO_SIG_EXPIRED;
    case KEYRING_CHAIN_WEAK:
        return CRYPTO_SIG_WEAK;
    case KEYRING_CHAIN_UNFIT:
        return CRYPTO_SIG_BAD;
    default:
        /* Valid; the trust of its entry says the rest. */
        return CRYPTO_SIG_GOOD;
    }
}

/* RFC 5652 §11.1: the one content type that the attributes name is that of the content, which is mail. */
static bool has_mail_type(CMS_SignerInfo *signer)
{
    const ASN1_OBJECT *type =
        CMS_signed_get0_data_by_OBJ(signer, OBJ_nid2obj(NID_pkcs9_contentType), -3, V_ASN1_OBJECT);
    return type != NULL && OBJ_obj2nid(type) == NID_pkcs7_data;
}

/* True if the signature is over this content, whoever made it. One without signed attributes is none: the attributes of
   another message, given out as a text, would be signed by whoever signed that message. */
static bool is_over(CMS_SignerInfo *signer, BIO *digested)
{
    return CMS_signed_get_attr_count(signer) > 0 && has_mail_type(signer) && CMS_SignerInfo_verify(signer) == 1 &&
           CMS_SignerInfo_verify_content(signer, digested) == 1;
}

/* SignedData begins with its version and a SET of digest algorithms (RFC 5652 §5.1), and OpenSSL digests all of the
   content once for each. */
static bool has_few_digests(struct span cms)
{
    struct crypto_ber item;
    struct span rest;
    unsigned count = 0;
    if (crypto_cms_content(cms, &rest) != NID_pkcs7_signed ||
        !crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
        return false;
    rest = item.content;
    if (!crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) ||
        !crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_SET, &item))
        return false;
    for (rest = item.content; rest.len > 0 && count <= CRYPTO_SMIME_SIGNERS_MAX; count++)
        if (!crypto_ber_take(&rest, &item))
            return false;
    return count <= CRYPTO_SMIME_SIGNERS_MAX;
}

struct verifying {
    const struct crypto_smime *smime;
    CMS_ContentInfo *cms;
    bool is_inside;
    int64_t at;
    struct keyring *certificates;
    struct crypto_learnt *learnt;
    struct crypto_smime_verified *verified;
};

static void give_reason(const struct verifying *verifying, const char *reason)
{
    if (verifying->verified->reason == NULL)
        verifying->verified->reason = reason;
}

/* Adds issuers of the certificates in `others` that have been seen before, and the issuers of those. */
static bool add_known_issuers(const struct verifying *verifying, STACK_OF(X509) * others)
{
    struct keyring_certificates *folder = verifying->smime->certificates;
    STACK_OF(X509) *known = folder == NULL ? NULL : keyring_certificates_issuers(folder);

    for (int i = 0; i < sk_X509_num(others); i++)
        for (int j = 0; j < sk_X509_num(known) && sk_X509_num(others) < KEYRING_OTHERS_MAX; j++) {
            X509 *issuer = sk_X509_value(known, j);

            if (X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(sk_X509_value(others, i))) == 0 &&
                !X509_add_cert(others, issuer, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP))
                return false;
        }
    return true;
}

/* The signer's certificate, and whatever may stand between it and an anchor. */
static enum err find_path(const struct verifying *verifying, X509 *certificate, enum keyring_chain *chain,
                          STACK_OF(X509) * *path_out)
{
    STACK_OF(X509) *others = CMS_get1_certs(verifying->cms);
    enum err err = ERR_MEMORY;
    const char *reason;

    *path_out = NULL;
    if (others == NULL)
        others = sk_X509_new_null();
    if (others != NULL && X509_add_cert(others, certificate, X509_ADD_FLAG_UP_REF | X509_ADD_FLAG_NO_DUP) == 1 &&
        add_known_issuers(verifying, others))
        err = keyring_x509_chain(verifying->smime->anchors, certificate, others, KEYRING_SIGN, verifying->at, chain,
                                 &reason, path_out);
    sk_X509_pop_free(others, X509_free);
    if (err == ERR_OK && *chain != KEYRING_CHAIN_GOOD) {
        log_info("a signer's certificate: %s", reason);
        give_reason(verifying, reason);
    }
    return err;
}

/* By issuer and number: of one certificate there can be several forms that verify (ECDSA), with as many fingerprints.
 */
static bool is_known_revoked(const struct verifying *verifying, const X509 *certificate)
{
    const struct keyring_certificates *folder = verifying->smime->certificates;
    size_t len = folder == NULL ? 0 : keyring_certificates_len(folder);

    for (size_t i = 0; i < len; i++) {
        const struct keyring_certificate *known = keyring_certificates_at(folder, i);

        if (known->revoked != 0 && X509_issuer_and_serial_cmp(known->certificate, certificate) == 0)
            return true;
    }
    return false;
}

/* What those who issued the chain say of it since. A failed look-up is not a pass (design 1.1.4). */
static enum err judge_revocation(const struct verifying *verifying, STACK_OF(X509) * path,
                                 struct crypto_signature *judged)
{
    const struct crypto_smime *smime = verifying->smime;
    bool is_unknown = false;
    enum err err = ERR_OK;

    for (int i = 0; err == ERR_OK && i < sk_X509_num(path); i++)
        if (is_known_revoked(verifying, sk_X509_value(path, i)))
            err = ERR_REVOKED;
    if (err == ERR_OK && smime->revocation != NULL)
        err = smime->revocation(smime->context, path, verifying->at, &is_unknown);
    if (err == ERR_MEMORY)
        return err;
    if (is_unknown || (err != ERR_OK && err != ERR_REVOKED))
        log_info("certificate %s: whether it is revoked could not be learnt", judged->fingerprint);
    if (err == ERR_REVOKED) {
        judged->state = CRYPTO_SIG_REVOKED;
        give_reason(verifying, "the signer's certificate, or that of an issuer, has been revoked");
    } else if (err != ERR_OK) {
        judged->state = CRYPTO_SIG_UNTRUSTED;
        give_reason(verifying, "whether the signer's certificate has been revoked could not be learnt");
    } else if (is_unknown) {
        give_reason(verifying, "whether the signer's certificate has been revoked is not known");
    }
    return ERR_OK;
}

static enum err judge_certificate(const struct verifying *verifying, CMS_SignerInfo *signer, X509 *certificate,
                                  bool is_weak, struct crypto_signature *judged)
{
    STACK_OF(X509) *path = NULL;
    enum keyring_chain chain = KEYRING_CHAIN_UNTRUSTED;
    enum err err = find_path(verifying, certificate, &chain, &path);
    bool is_full;

    judged->state = state_of(chain);
    if (judged->state == CRYPTO_SIG_GOOD && is_weak)
        judged->state = CRYPTO_SIG_WEAK;
    if (err == ERR_OK && judged->state == CRYPTO_SIG_GOOD && chain == KEYRING_CHAIN_GOOD)
        err = judge_revocation(verifying, path, judged);
    /* What is trusted is looked up by certificate, for every layer that it signed: a chain that was not good, whose
       signatures OpenSSL may not even have looked at, must not vouch for it there. */
    is_full = err == ERR_OK && judged->state == CRYPTO_SIG_GOOD && chain == KEYRING_CHAIN_GOOD;
    if (is_full)
        crypto_learnt_add(verifying->learnt, path, signer, judged->made);
    sk_X509_pop_free(path, X509_free);
    if (err == ERR_OK)
        err = keyring_x509_add(certificate, is_full ? KEYRING_FULL : KEYRING_UNVERIFIED, verifying->certificates);
    return err;
}

/* Who is known already may leave the certificate out (RFC 8551 §2.3). */
static X509 *find_known(const struct verifying *verifying, CMS_SignerInfo *signer)
{
    const struct keyring_certificates *folder = verifying->smime->certificates;
    for (size_t i = 0; folder != NULL && i < keyring_certificates_len(folder); i++) {
        X509 *known = keyring_certificates_at(folder, i)->certificate;
        if (CMS_SignerInfo_cert_cmp(signer, known) != 0)
            continue;
        CMS_SignerInfo_set1_signer_cert(signer, known);
        return known;
    }
    return NULL;
}

static enum err judge_signer(const struct verifying *verifying, CMS_SignerInfo *signer, BIO *digested,
                             struct crypto_signature *judged)
{
    X509 *certificate = NULL;
    X509_ALGOR *digest;
    CMS_SignerInfo_get0_algs(signer, NULL, &certificate, &digest, NULL);
    *judged = (struct crypto_signature){
        .state = CRYPTO_SIG_UNKNOWN_KEY, .format = KEYRING_SMIME, .made = signing_time(signer)};
    if (certificate == NULL && (certificate = find_known(verifying, signer)) == NULL)
        return ERR_OK;
    judged->state = CRYPTO_SIG_BAD;
    enum err err = keyring_x509_fingerprint(certificate, judged->fingerprint);
    if (err != ERR_OK || !is_over(signer, digested))
        return err;
    return judge_certificate(verifying, signer, certificate, is_weak_hash(digest), judged);
}

/* The digests that the signers ask for, over all of `content`. What is shown is digested, also
   if it came out of the signature: two readers of BER need not agree on what stands there. NULL: this is no signature
   over such a text. */
static BIO *digest(CMS_ContentInfo *cms, bool is_inside, struct span content)
{
    char piece[16384];
    if (OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed || CMS_is_detached(cms) != (is_inside ? 0 : 1) ||
        OBJ_obj2nid(CMS_get0_eContentType(cms)) != NID_pkcs7_data || content.len > INT_MAX)
        return NULL;
    BIO *source = BIO_new_mem_buf(content.len == 0 ? "" : content.ptr, (int)content.len);
    BIO *digested = source == NULL ? NULL : CMS_dataInit(cms, source);
    if (digested == NULL) {
        BIO_free(source);
        return NULL;
    }
    while (BIO_read(digested, piece, sizeof piece) > 0)
        continue;
    return digested;
}

static enum err verify(const struct verifying *verifying, struct span content)
{
    enum err err = ERR_OK;
    BIO *digested = digest(verifying->cms, verifying->is_inside, content);
    STACK_OF(CMS_SignerInfo) *signers = digested == NULL ? NULL : CMS_get0_SignerInfos(verifying->cms);
    int len = signers == NULL ? 0 : sk_CMS_SignerInfo_num(signers);
    if (len > CRYPTO_SMIME_SIGNERS_MAX)
        len = 0;
    if (len > 0)
        (void)CMS_set1_signers_certs(verifying->cms, NULL, 0);
    for (int i = 0; err == ERR_OK && i < len; i++)
        err =
            judge_signer(verifying, sk_CMS_SignerInfo_value(signers, i), digested, &verifying->verified->signatures[i]);
    verifying->verified->len = (size_t)(len < 0 ? 0 : len);
    BIO_free_all(digested);
    return err;
}

enum err crypto_smime_verify(const struct crypto_smime *smime, struct span signature, struct span content,
                             bool is_inside, int64_t at, struct keyring *certificates, struct crypto_learnt *learnt,
                             struct crypto_smime_verified *verified_out)
{
    const unsigned char *end = (const unsigned char *)signature.ptr;
    struct verifying verifying = {.smime = smime,
                                  .is_inside = is_inside,
                                  .at = at,
                                  .certificates = certificates,
                                  .learnt = learnt,
                                  .verified = verified_out};
    enum err err = ERR_OK;
    *verified_out = (struct crypto_smime_verified){.len = 0};
    if (signature.len <= INT_MAX && has_few_digests(signature))
        verifying.cms = d2i_CMS_ContentInfo(NULL, &end, (long)signature.len);
    if (verifying.cms != NULL)
        err = verify(&verifying, content);
    if (verified_out->len == 0) {
        verified_out->signatures[0] = (struct crypto_signature){.state = CRYPTO_SIG_BAD, .format = KEYRING_SMIME};
        verified_out->len = 1;
    }
    CMS_ContentInfo_free(verifying.cms);
    ERR_clear_error();
    return err;
}
