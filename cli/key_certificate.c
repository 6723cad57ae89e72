/*
 * What the key commands say of a certificate: where it came from, and where its chain leads.
 */
#include "cli/key.h"

#include "base/clock.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 256

const struct keyring_certificate *key_certificate(const struct cli *cli, const struct keyring_entry *entry)
{
    if (entry->format != KEYRING_SMIME || !cli->certificates)
        return NULL;
    return keyring_certificates_find(cli->certificates, entry->fingerprint);
}

void key_name(const X509_NAME *name, char *out, size_t size)
{
    BIO *text = BIO_new(BIO_s_mem());
    int len = -1;
    if (text && X509_NAME_print_ex(text, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0)
        len = BIO_read(text, out, (int)size - 1);
    out[len < 0 ? 0 : len] = '\0';
    BIO_free(text);
}

void key_certificate_source(const struct keyring_certificate *certificate, char out[KEY_TEXT_SIZE])
{
    char date[CLI_DATE_SIZE];
    cli_date(certificate->seen, date);
    switch (certificate->source) {
    case KEYRING_SOURCE_MAIL:
        snprintf(out, KEY_TEXT_SIZE, "signed mail, %s", date);
        return;
    case KEYRING_SOURCE_DIRECTORY:
        snprintf(out, KEY_TEXT_SIZE, "the directory \"%s\", %s", certificate->directory, date);
        return;
    case KEYRING_SOURCE_IMPORT:
    case KEYRING_SOURCE_COUNT:
        break;
    }
    snprintf(out, KEY_TEXT_SIZE, "imported %s", date);
}

/* The issuers' names, from the lowest to the anchor. */
static void say_path(STACK_OF(X509) * path, char out[KEY_TEXT_SIZE])
{
    size_t len = 0;
    for (int i = 1; i < sk_X509_num(path); i++) {
        char name[NAME_SIZE];
        key_name(X509_get_subject_name(sk_X509_value(path, i)), name, sizeof name);
        int count = snprintf(out + len, KEY_TEXT_SIZE - len, "%s%s", i > 1 ? " < " : "", name);
        if (count < 0 || (size_t)count >= KEY_TEXT_SIZE - len)
            return;
        len += (size_t)count;
    }
    if (len == 0)
        snprintf(out, KEY_TEXT_SIZE, "it is a trust anchor itself");
}

enum err key_certificate_chain(const struct cli *cli, const struct keyring_certificate *certificate,
                               enum keyring_purpose purpose, enum keyring_chain *chain_out, char out[KEY_TEXT_SIZE])
{
    static const char *const what[] = {[KEYRING_CHAIN_UNTRUSTED] = "leads to no trust anchor",
                                       [KEYRING_CHAIN_UNFIT] = "is not for this use",
                                       [KEYRING_CHAIN_WEAK] = "is too weak",
                                       [KEYRING_CHAIN_EXPIRED] = "has expired, or is not valid yet"};
    const char *reason;
    STACK_OF(X509) * path;
    STACK_OF(X509) *issuers = keyring_certificates_issuers(cli->certificates);
    enum err err = issuers ? keyring_x509_chain(cli->anchors, certificate->certificate, issuers, purpose, clock_now(),
                                                chain_out, &reason, &path)
                           : ERR_MEMORY;
    if (err)
        return err;
    if (*chain_out == KEYRING_CHAIN_GOOD)
        say_path(path, out);
    else
        snprintf(out, KEY_TEXT_SIZE, "%s: %s%s", what[*chain_out], reason,
                 cli->account->smime_ca[0] ? "" : " (the account has no `smime_ca`)");
    sk_X509_pop_free(path, X509_free);
    return ERR_OK;
}

const char *key_chain_name(enum keyring_chain chain)
{
    static const char *const names[] = {[KEYRING_CHAIN_UNTRUSTED] = "untrusted",
                                        [KEYRING_CHAIN_UNFIT] = "unfit",
                                        [KEYRING_CHAIN_WEAK] = "weak",
                                        [KEYRING_CHAIN_EXPIRED] = "expired",
                                        [KEYRING_CHAIN_GOOD] = "good"};
    return names[chain];
}

void key_serial(const X509 *certificate, char out[KEY_SERIAL_SIZE])
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
    char *digits = number ? BN_bn2hex(number) : NULL;
    snprintf(out, KEY_SERIAL_SIZE, "%s", digits ? digits : "");
    OPENSSL_free(digits);
    BN_free(number);
}

json_t *key_certificate_json(const struct cli *cli, const struct keyring_entry *entry)
{
    const struct keyring_certificate *certificate = key_certificate(cli, entry);
    const enum keyring_purpose purpose = entry->encrypt_until < 0 ? KEYRING_SIGN : KEYRING_ENCRYPT;
    char issuer[NAME_SIZE], serial[KEY_SERIAL_SIZE], source[KEY_TEXT_SIZE], chain[KEY_TEXT_SIZE];
    enum keyring_chain state;
    if (!certificate || key_certificate_chain(cli, certificate, purpose, &state, chain))
        return NULL;
    key_name(X509_get_issuer_name(certificate->certificate), issuer, sizeof issuer);
    key_serial(certificate->certificate, serial);
    key_certificate_source(certificate, source);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "issuer", issuer, "serial", serial, "source", source, "chain",
                     key_chain_name(state), "chain_detail", chain, "key_place", certificate->key_place);
}
