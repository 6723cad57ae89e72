/*
 * Paths to an anchor (RFC 5280 §6). OpenSSL builds one path and judges that; where it fails, the issuers on it are left
 * out one after the other, so that another path is found if there is one.
 */
#include "keyring/x509_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

/* Paths that are tried for one certificate; a stranger chooses the certificates beside a signature. */
#define PATHS_MAX 16

struct judging {
    const struct keyring_anchors *anchors;
    X509 *certificate;
    STACK_OF(X509) * others;
    enum keyring_purpose purpose;
    int64_t at;
    size_t paths; /* tried so far */
    /* the best so far */
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
};

/* What is said of one path. */
struct said {
    enum keyring_purpose purpose;
    enum keyring_chain chain;
    int error;       /* the one that `chain` comes from */
    bool is_of_path; /* another path may be without it */
};

/* RFC 8550 §4.4: what OpenSSL does not know is that any purpose may be named for all, and that keys of curves agree. */
bool x509_is_fit(X509 *certificate, enum keyring_purpose purpose, bool is_leaf)
{
    uint32_t usage = X509_get_key_usage(certificate), extended = X509_get_extended_key_usage(certificate);
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    if ((extended & (XKU_SMIME | XKU_ANYEKU)) == 0 || key == NULL)
        return false;
    if (!is_leaf)
        return X509_check_ca(certificate) == 1 && (usage & KU_KEY_CERT_SIGN) != 0;
    if (purpose == KEYRING_SIGN)
        return (usage & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION)) != 0;
    return (usage & (EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? KU_KEY_ENCIPHERMENT
                                                               : KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT)) != 0;
}

static enum keyring_chain chain_of(int error, bool is_of_leaf)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return KEYRING_CHAIN_EXPIRED;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return KEYRING_CHAIN_WEAK;
    case X509_V_ERR_INVALID_PURPOSE:
        return is_of_leaf ? KEYRING_CHAIN_UNFIT : KEYRING_CHAIN_UNTRUSTED;
    default:
        return KEYRING_CHAIN_UNTRUSTED;
    }
}

/* OpenSSL asks after each error whether to go on: after an expired or weak certificate, to see whether there is worse,
   since it looks at times before all signatures have been checked. */
static int take_error(int ok, X509_STORE_CTX *context)
{
    struct said *said = X509_STORE_CTX_get_app_data(context);
    int error = X509_STORE_CTX_get_error(context);
    bool is_of_leaf = X509_STORE_CTX_get_error_depth(context) == 0;
    X509 *certificate = X509_STORE_CTX_get_current_cert(context);
    if (ok != 0)
        return 1;
    if (error == X509_V_ERR_INVALID_PURPOSE && certificate != NULL &&
        x509_is_fit(certificate, said->purpose, is_of_leaf))
        return 1;
    enum keyring_chain chain = chain_of(error, is_of_leaf);
    if (chain < said->chain) {
        said->chain = chain;
        said->error = error;
    }
    if (!is_of_leaf || chain == KEYRING_CHAIN_UNTRUSTED)
        said->is_of_path = true;
    return chain == KEYRING_CHAIN_EXPIRED || chain == KEYRING_CHAIN_WEAK;
}

static bool set_parameters(X509_STORE_CTX *context, enum keyring_purpose purpose, int64_t at)
{
    X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
    X509_VERIFY_PARAM_set_time(parameters, (time_t)at);
    X509_VERIFY_PARAM_set_depth(parameters, KEYRING_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(parameters, KEYRING_X509_LEVEL);
    /* An anchor need not be a root: whatever was named as one is one. */
    return X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_POLICY_CHECK) == 1 &&
           X509_VERIFY_PARAM_set_purpose(parameters, purpose == KEYRING_SIGN ? X509_PURPOSE_SMIME_SIGN
                                                                             : X509_PURPOSE_SMIME_ENCRYPT) == 1 &&
           X509_VERIFY_PARAM_set_trust(parameters, X509_TRUST_EMAIL) == 1 &&
           /* Any will do for us (RFC 5280 §6.1.1 c); an issuer may demand that there is one. */
           X509_VERIFY_PARAM_add0_policy(parameters, OBJ_nid2obj(NID_any_policy)) == 1;
}

/* Borrowed certificates of `all` that are not in `without`. */
static STACK_OF(X509) * rest_of(STACK_OF(X509) * all, STACK_OF(X509) * without)
{
    STACK_OF(X509) *rest = sk_X509_new_null();
    for (int i = 0; rest != NULL && i < sk_X509_num(all); i++) {
        X509 *certificate = sk_X509_value(all, i);
        bool is_out = false;
        for (int j = 0; !is_out && j < sk_X509_num(without); j++)
            is_out = X509_cmp(certificate, sk_X509_value(without, j)) == 0;
        if (!is_out && sk_X509_push(rest, certificate) <= 0) {
            sk_X509_free(rest);
            rest = NULL;
        }
    }
    return rest;
}

/* One path, without the issuers `without`. */
static enum err try_path(const struct judging *judging, STACK_OF(X509) * without, struct said *said,
                         STACK_OF(X509) * *path_out)
{
    enum err err = ERR_MEMORY;
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    STACK_OF(X509) *anchors = rest_of(judging->anchors->certificates, without);
    STACK_OF(X509) *others = rest_of(judging->others, without);
    *said = (struct said){.purpose = judging->purpose, .chain = KEYRING_CHAIN_GOOD, .error = X509_V_OK};
    *path_out = NULL;
    if (context != NULL && anchors != NULL && others != NULL &&
        X509_STORE_CTX_init(context, NULL, judging->certificate, others) == 1 &&
        set_parameters(context, judging->purpose, judging->at) && X509_STORE_CTX_set_app_data(context, said) == 1) {
        X509_STORE_CTX_set0_trusted_stack(context, anchors);
        X509_STORE_CTX_set_verify_cb(context, take_error);
        bool is_valid = X509_verify_cert(context) == 1;
        int error = X509_STORE_CTX_get_error(context);
        /* Also one that was not asked about. */
        if (!is_valid && said->chain > KEYRING_CHAIN_UNFIT) {
            said->chain = KEYRING_CHAIN_UNTRUSTED;
            said->error = error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
        }
        *path_out = X509_STORE_CTX_get1_chain(context);
        err = error == X509_V_ERR_OUT_OF_MEM || *path_out == NULL ? ERR_MEMORY : ERR_OK;
    }
    X509_STORE_CTX_free(context);
    sk_X509_free(anchors);
    sk_X509_free(others);
    return err;
}

/* Tries the path that OpenSSL likes best, then the others, each without one of its issuers, the highest first. */
// NOLINTNEXTLINE(misc-no-recursion)
static enum err search(struct judging *judging, STACK_OF(X509) * without)
{
    struct said said;
    STACK_OF(X509) * path;
    enum err err = try_path(judging, without, &said, &path);
    judging->paths++;
    if (err == ERR_OK && (judging->path == NULL || said.chain > judging->chain)) {
        sk_X509_pop_free(judging->path, X509_free);
        judging->path = X509_chain_up_ref(path);
        judging->chain = said.chain;
        judging->reason = X509_verify_cert_error_string(said.error);
        err = judging->path == NULL ? ERR_MEMORY : ERR_OK;
    }
    for (int i = sk_X509_num(path) - 1; i > 0 && err == ERR_OK && said.is_of_path; i--) {
        if (judging->chain == KEYRING_CHAIN_GOOD || judging->paths >= PATHS_MAX)
            break;
        err = sk_X509_push(without, sk_X509_value(path, i)) > 0 ? search(judging, without) : ERR_MEMORY;
        (void)sk_X509_pop(without);
    }
    sk_X509_pop_free(path, X509_free);
    return err;
}

static bool is_among(STACK_OF(X509) * certificates, const X509 *certificate)
{
    for (int i = 0; i < sk_X509_num(certificates); i++)
        if (sk_X509_value(certificates, i) == certificate)
            return true;
    return false;
}

/* Of very many only those that may stand in the chain, by their names. */
static STACK_OF(X509) * pick(X509 *certificate, STACK_OF(X509) * others)
{
    STACK_OF(X509) *picked = sk_X509_new_null();
    const X509 *below = certificate;
    for (int next = 0; picked != NULL && below != NULL; below = sk_X509_value(picked, next++))
        for (int i = 0; i < sk_X509_num(others) && sk_X509_num(picked) < KEYRING_OTHERS_MAX; i++) {
            X509 *other = sk_X509_value(others, i);
            if (X509_NAME_cmp(X509_get_subject_name(other), X509_get_issuer_name(below)) == 0 &&
                !is_among(picked, other))
                (void)sk_X509_push(picked, other);
        }
    return picked;
}

enum err keyring_x509_chain(const struct keyring_anchors *anchors, X509 *certificate, STACK_OF(X509) * others,
                            enum keyring_purpose purpose, int64_t at, enum keyring_chain *chain_out,
                            const char **reason_out, STACK_OF(X509) * *path_out)
{
    struct judging judging = {
        .anchors = anchors, .certificate = certificate, .others = others, .purpose = purpose, .at = at, .reason = ""};
    STACK_OF(X509) *without = sk_X509_new_null();
    STACK_OF(X509) *picked = sk_X509_num(others) > KEYRING_OTHERS_MAX ? pick(certificate, others) : NULL;
    if (sk_X509_num(others) > KEYRING_OTHERS_MAX)
        judging.others = picked;
    enum err err = without == NULL ? ERR_MEMORY : search(&judging, without);
    if (err != ERR_OK) {
        sk_X509_pop_free(judging.path, X509_free);
        judging = (struct judging){.chain = KEYRING_CHAIN_UNTRUSTED, .reason = ""};
    }
    *chain_out = judging.chain;
    *reason_out = judging.reason;
    *path_out = judging.path;
    sk_X509_free(without);
    sk_X509_free(picked);
    ERR_clear_error();
    return err;
}

enum err keyring_x509_judge(const struct keyring_anchors *anchors, X509 *certificate, STACK_OF(X509) * others,
                            enum keyring_purpose purpose, int64_t at, enum keyring_chain *chain_out,
                            const char **reason_out)
{
    STACK_OF(X509) * path;
    enum err err = keyring_x509_chain(anchors, certificate, others, purpose, at, chain_out, reason_out, &path);
    sk_X509_pop_free(path, X509_free);
    return err;
}
