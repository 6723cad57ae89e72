/*
 * Keys and certificates made for a test, each by a row of what is to be in it.
 */
#ifndef TESTS_UNIT_X509_MADE_H
#define TESTS_UNIT_X509_MADE_H

#include "keyring/x509.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MADE_NOW ((int64_t)1800000000)
#define MADE_DAY ((int64_t)86400)

struct made_wish {
    const char *name;       /* common name */
    const char *email;      /* emailAddress of the subject; NULL: none */
    const char *san;        /* "email:alice@example.org"; NULL: none */
    const char *basic;      /* basicConstraints; NULL: none */
    const char *usage;      /* keyUsage; NULL: none */
    const char *extended;   /* extendedKeyUsage; NULL: none */
    const char *names;      /* nameConstraints; NULL: none */
    const char *policies;   /* certificatePolicies; NULL: none */
    const char *demand;     /* policyConstraints; NULL: none */
    const char *inhibit;    /* inhibitAnyPolicy; NULL: none */
    const char *crl;        /* crlDistributionPoints; NULL: none */
    const char *access;     /* authorityInfoAccess; NULL: none */
    const char *curve;      /* NULL: P-256 */
    int rsa_bits;           /* 0: a key of `curve` */
    const char *hash;       /* that its issuer signs with; NULL: SHA256 */
    bool has_unknown;       /* a critical extension that nobody knows */
    bool has_wrong_issuer;  /* an authorityKeyIdentifier that is not the issuer's; else the right one */
    bool has_no_ids;        /* neither key identifier */
    bool is_pss;            /* its issuer, with an RSA key, signs by PSS */
    int64_t from_s, till_s; /* relative to MADE_NOW; both 0: from a year ago for two years */
};

struct made {
    X509 *certificate;
    EVP_PKEY *key;
};

__attribute__((unused)) static void made_free(struct made *made)
{
    X509_free(made->certificate);
    EVP_PKEY_free(made->key);
    *made = (struct made){NULL, NULL};
}

__attribute__((unused)) static void made_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    if (value == NULL)
        return;
    CONF *none = NCONF_new(NULL); /* policies ask for one */
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509V3_set_nconf(&context, none);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL)
        fail_msg("extension %s: %s", OBJ_nid2sn(nid), value);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
    NCONF_free(none);
}

__attribute__((unused)) static void made_name(X509_NAME *subject, const char *field, const char *value)
{
    if (value != NULL)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0), 1);
}

__attribute__((unused)) static void made_odd_extensions(X509 *certificate, const struct made_wish *wish)
{
    if (wish->has_unknown) {
        ASN1_OBJECT *name = OBJ_txt2obj("1.3.6.1.4.1.55555.1", 1);
        ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
        assert_int_equal(ASN1_OCTET_STRING_set(value, (const unsigned char *)"\x05\x00", 2), 1);
        X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, name, 1, value);
        assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
        X509_EXTENSION_free(extension);
        ASN1_OCTET_STRING_free(value);
        ASN1_OBJECT_free(name);
    }
    if (wish->has_wrong_issuer) {
        AUTHORITY_KEYID *issuer = AUTHORITY_KEYID_new();
        issuer->keyid = ASN1_OCTET_STRING_new();
        assert_int_equal(ASN1_OCTET_STRING_set(issuer->keyid, (const unsigned char *)"somebody else", -1), 1);
        assert_int_equal(X509_add1_ext_i2d(certificate, NID_authority_key_identifier, issuer, 0, 0), 1);
        AUTHORITY_KEYID_free(issuer);
    }
}

__attribute__((unused)) static void made_signature(X509 *certificate, const struct made_wish *wish, EVP_PKEY *key)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *parameters;
    const char *hash = wish->hash == NULL ? "SHA256" : wish->hash;
    assert_int_equal(EVP_DigestSignInit(context, &parameters, EVP_get_digestbyname(hash), NULL, key), 1);
    if (wish->is_pss)
        assert_true(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) > 0);
    assert_true(X509_sign_ctx(certificate, context) > 0);
    EVP_MD_CTX_free(context);
}

/* `issuer` NULL: signed by itself; `key` NULL: a new one, else this one. */
__attribute__((unused)) static struct made made_with_key(const struct made_wish *wish, const struct made *issuer,
                                                         EVP_PKEY *key)
{
    static long serial = 1;
    const char *curve = wish->curve == NULL ? "P-256" : wish->curve;
    struct made made = {X509_new(), key};
    if (key != NULL)
        EVP_PKEY_up_ref(key);
    else
        made.key = wish->rsa_bits > 0 ? EVP_RSA_gen((unsigned)wish->rsa_bits) : EVP_EC_gen(curve);
    bool has_times = wish->from_s != 0 || wish->till_s != 0;
    X509 *by = issuer == NULL ? made.certificate : issuer->certificate;
    assert_true(made.certificate != NULL && made.key != NULL);
    X509_set_version(made.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
    ASN1_TIME_set(X509_getm_notBefore(made.certificate), MADE_NOW + (has_times ? wish->from_s : -365 * MADE_DAY));
    ASN1_TIME_set(X509_getm_notAfter(made.certificate), MADE_NOW + (has_times ? wish->till_s : 365 * MADE_DAY));
    X509_NAME *subject = X509_get_subject_name(made.certificate);
    made_name(subject, "CN", wish->name);
    made_name(subject, "emailAddress", wish->email);
    assert_int_equal(X509_set_issuer_name(made.certificate, X509_get_subject_name(by)), 1);
    assert_int_equal(X509_set_pubkey(made.certificate, made.key), 1);
    if (!wish->has_no_ids)
        made_extension(made.certificate, by, NID_subject_key_identifier, "hash");
    if (!wish->has_no_ids && !wish->has_wrong_issuer && issuer != NULL)
        made_extension(made.certificate, by, NID_authority_key_identifier, "keyid");
    made_extension(made.certificate, by, NID_basic_constraints, wish->basic);
    made_extension(made.certificate, by, NID_key_usage, wish->usage);
    made_extension(made.certificate, by, NID_ext_key_usage, wish->extended);
    made_extension(made.certificate, by, NID_name_constraints, wish->names);
    made_extension(made.certificate, by, NID_subject_alt_name, wish->san);
    made_extension(made.certificate, by, NID_certificate_policies, wish->policies);
    made_extension(made.certificate, by, NID_policy_constraints, wish->demand);
    made_extension(made.certificate, by, NID_inhibit_any_policy, wish->inhibit);
    made_extension(made.certificate, by, NID_crl_distribution_points, wish->crl);
    made_extension(made.certificate, by, NID_info_access, wish->access);
    made_odd_extensions(made.certificate, wish);
    made_signature(made.certificate, wish, issuer == NULL ? made.key : issuer->key);
    return made;
}

__attribute__((unused)) static struct made made_certificate(const struct made_wish *wish, const struct made *issuer)
{
    return made_with_key(wish, issuer, NULL);
}

/* A folder that holds nothing but files. */
__attribute__((unused)) static void made_remove_folder(const char *path)
{
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_type != DT_DIR)
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
    assert_int_equal(closedir(dir), 0);
    assert_int_equal(rmdir(path), 0);
}

/* A trust anchor in a file of its own, whose path goes to `path_out`. */
__attribute__((unused)) static struct keyring_anchors *made_anchors(const X509 *certificate, char path_out[64])
{
    struct keyring_anchors *anchors;
    (void)snprintf(path_out, 64, "/tmp/privyseal-anchor-XXXXXX");
    int fd = mkstemp(path_out);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(keyring_anchors_open(path_out, &anchors), ERR_OK);
    return anchors;
}

#endif
