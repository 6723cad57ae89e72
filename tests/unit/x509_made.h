/*
 * Keys and certificates made for a test, each by a row of what is to be in it.
 */
#ifndef TESTS_UNIT_X509_MADE_H
#define TESTS_UNIT_X509_MADE_H

#include "keyring/x509.h"

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

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
    int rsa_bits;           /* 0: P-256 */
    const char *hash;       /* that its issuer signs with; NULL: SHA256 */
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
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

__attribute__((unused)) static void made_name(X509_NAME *subject, const char *field, const char *value)
{
    if (value != NULL)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0), 1);
}

/* `issuer` NULL: signed by itself. */
__attribute__((unused)) static struct made made_certificate(const struct made_wish *wish, const struct made *issuer)
{
    static long serial = 1;
    struct made made = {X509_new(), wish->rsa_bits > 0 ? EVP_RSA_gen((unsigned)wish->rsa_bits) : EVP_EC_gen("P-256")};
    bool has_times = wish->from_s != 0 || wish->till_s != 0;
    X509 *by = issuer == NULL ? made.certificate : issuer->certificate;
    const char *hash = wish->hash == NULL ? "SHA256" : wish->hash;
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
    made_extension(made.certificate, by, NID_subject_key_identifier, "hash");
    made_extension(made.certificate, by, NID_basic_constraints, wish->basic);
    made_extension(made.certificate, by, NID_key_usage, wish->usage);
    made_extension(made.certificate, by, NID_ext_key_usage, wish->extended);
    made_extension(made.certificate, by, NID_name_constraints, wish->names);
    made_extension(made.certificate, by, NID_subject_alt_name, wish->san);
    assert_true(X509_sign(made.certificate, issuer == NULL ? made.key : issuer->key, EVP_get_digestbyname(hash)) > 0);
    return made;
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
