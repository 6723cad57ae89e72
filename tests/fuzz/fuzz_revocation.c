/* Lists, responders' answers and the places that a certificate names, from anyone: judged or refused. */
#include "keyring/revocation.h"

#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define AT 1800000000

static X509 *make(X509 *issuer, EVP_PKEY *issuer_key, EVP_PKEY *key, const char *name)
{
    X509 *made = X509_new();
    if (made == NULL || X509_set_version(made, 2) != 1 || ASN1_INTEGER_set(X509_get_serialNumber(made), 7) != 1 ||
        ASN1_TIME_set(X509_getm_notBefore(made), 0) == NULL ||
        ASN1_TIME_set(X509_getm_notAfter(made), (time_t)AT * 2) == NULL || X509_set_pubkey(made, key) != 1 ||
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                                   -1, 0) != 1 ||
        X509_set_issuer_name(made, X509_get_subject_name(issuer == NULL ? made : issuer)) != 1 ||
        X509_sign(made, issuer_key, EVP_sha256()) <= 0)
        abort();
    return made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static X509 *issuer, *leaf;
    struct keyring_revocation_question questions[KEYRING_QUESTIONS_MAX];
    struct keyring_revocation revocation;
    const unsigned char *at = data;
    if (issuer == NULL) {
        EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
        issuer = make(NULL, key, key, "Issuer");
        leaf = make(issuer, key, other, "Leaf");
        EVP_PKEY_free(key);
        EVP_PKEY_free(other);
    }
    for (enum keyring_answer_kind kind = 0; kind < KEYRING_ANSWER_COUNT; kind++)
        /* Nobody has the key. */
        if (keyring_revocation_judge(kind, (struct span){(const char *)data, size}, leaf, issuer, AT, AT,
                                     &revocation) == ERR_OK &&
            revocation.state != KEYRING_REVOCATION_UNKNOWN)
            abort();
    X509 *certificate = d2i_X509(NULL, &at, (long)size);
    if (certificate != NULL && keyring_revocation_questions(certificate, questions) > KEYRING_QUESTIONS_MAX)
        abort();
    X509_free(certificate);
    return 0;
}
