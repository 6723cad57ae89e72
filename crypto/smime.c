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
    const struct keyring_anchors *anchors;
    CMS_ContentInfo *cms;
    bool is_inside;
    int64_t at;
    struct keyring *certificates;
};

static enum err judge_signer(const struct verifying *verifying, CMS_SignerInfo *signer, BIO *digested,
                             struct crypto_signature *judged)
{
    STACK_OF(X509) *others = NULL;
    enum keyring_chain chain;
    const char *reason;
    X509 *certificate = NULL;
    X509_ALGOR *digest;
    CMS_SignerInfo_get0_algs(signer, NULL, &certificate, &digest, NULL);
    *judged = (struct crypto_signature){
        .state = CRYPTO_SIG_UNKNOWN_KEY, .format = KEYRING_SMIME, .made = signing_time(signer)};
    if (certificate == NULL)
        return ERR_OK;
    judged->state = CRYPTO_SIG_BAD;
    enum err err = keyring_x509_fingerprint(certificate, judged->fingerprint);
    if (err != ERR_OK || !is_over(signer, digested))
        return err;
    others = CMS_get1_certs(verifying->cms);
    err = keyring_x509_judge(verifying->anchors, certificate, others, KEYRING_SIGN, verifying->at, &chain, &reason);
    sk_X509_pop_free(others, X509_free);
    if (err == ERR_OK && chain != KEYRING_CHAIN_GOOD)
        log_info("a signer's certificate: %s", reason);
    judged->state = state_of(chain);
    if (judged->state == CRYPTO_SIG_GOOD && is_weak_hash(digest))
        judged->state = CRYPTO_SIG_WEAK;
    if (err == ERR_OK)
        err = keyring_x509_add(certificate, chain == KEYRING_CHAIN_UNTRUSTED ? KEYRING_UNVERIFIED : KEYRING_FULL,
                               verifying->certificates);
    return err;
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

static enum err verify(const struct verifying *verifying, struct span content, struct crypto_signature *signatures,
                       size_t *len_out)
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
        err = judge_signer(verifying, sk_CMS_SignerInfo_value(signers, i), digested, &signatures[i]);
    *len_out = (size_t)(len < 0 ? 0 : len);
    BIO_free_all(digested);
    return err;
}

enum err crypto_smime_verify(const struct keyring_anchors *anchors, struct span signature, struct span content,
                             bool is_inside, int64_t at, struct keyring *certificates,
                             struct crypto_signature signatures_out[CRYPTO_SMIME_SIGNERS_MAX], size_t *len_out)
{
    const unsigned char *end = (const unsigned char *)signature.ptr;
    struct verifying verifying = {.anchors = anchors, .is_inside = is_inside, .at = at, .certificates = certificates};
    enum err err = ERR_OK;
    *len_out = 0;
    if (signature.len <= INT_MAX && has_few_digests(signature))
        verifying.cms = d2i_CMS_ContentInfo(NULL, &end, (long)signature.len);
    if (verifying.cms != NULL)
        err = verify(&verifying, content, signatures_out, len_out);
    if (*len_out == 0) {
        signatures_out[0] = (struct crypto_signature){.state = CRYPTO_SIG_BAD, .format = KEYRING_SMIME};
        *len_out = 1;
    }
    CMS_ContentInfo_free(verifying.cms);
    ERR_clear_error();
    return err;
}
