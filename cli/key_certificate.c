/*
 * What the key commands say of a certificate: where it came from, and where its chain leads.
 */
#include "cli/key.h"

#include "base/clock.h"
#include "cli/table.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 256
#define EXPLAINED_MAX 65536

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
        snprintf(out, KEY_TEXT_SIZE, "imported %s", date);
        return;
    case KEYRING_SOURCE_WKD:
    case KEYRING_SOURCE_DANE:
    case KEYRING_SOURCE_KEYSERVER:
    case KEYRING_SOURCE_AUTOCRYPT:
    case KEYRING_SOURCE_GOSSIP:
    case KEYRING_SOURCE_PERSON:
        break;
    }
    snprintf(out, KEY_TEXT_SIZE, "%s, %s", keyring_source_name(certificate->source), date);
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

static enum err find_path(const struct cli *cli, const struct keyring_certificate *certificate,
                          enum keyring_purpose purpose, enum keyring_chain *chain_out, const char **reason_out,
                          STACK_OF(X509) * *path_out)
{
    STACK_OF(X509) *issuers = keyring_certificates_issuers(cli->certificates);
    return issuers ? keyring_x509_chain(cli->anchors, certificate->certificate, issuers, purpose, clock_now(),
                                        chain_out, reason_out, path_out)
                   : ERR_MEMORY;
}

/* `*is_asked_out`: the account asks, and there is somebody to ask. */
static enum err ask_issuers(const struct cli *cli, enum keyring_chain chain, STACK_OF(X509) * path,
                            struct keyring_revocation revocations[KEYRING_CHAIN_MAX], bool *is_asked_out)
{
    size_t len;
    *is_asked_out = cli->account->revocation != KEYRING_REVOCATION_OFF && chain == KEYRING_CHAIN_GOOD;
    return *is_asked_out ? cli_ask_revocation(cli, path, clock_now(), revocations, &len) : ERR_OK;
}

enum err key_certificate_revocation(const struct cli *cli, const struct keyring_certificate *certificate,
                                    struct keyring_revocation *revocation_out)
{
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX] = {{.state = KEYRING_REVOCATION_UNKNOWN}};
    struct keyring_revocation_question questions[KEYRING_QUESTIONS_MAX];
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
    bool is_asked;
    *revocation_out = (struct keyring_revocation){.state = KEYRING_REVOCATION_UNKNOWN};
    enum err err = find_path(cli, certificate, KEYRING_ENCRYPT, &chain, &reason, &path);
    if (err)
        return err;
    err = ask_issuers(cli, chain, path, revocations, &is_asked);
    if (!err && is_asked && sk_X509_num(path) > 1 &&
        keyring_revocation_questions(certificate->certificate, questions) > 0)
        *revocation_out = revocations[0];
    sk_X509_pop_free(path, X509_free);
    return err;
}

static enum err add_lines(struct span text, struct table *table)
{
    struct span line;
    enum err err = ERR_OK;
    for (const char *name = "chain"; !err && span_take_until(&text, '\n', &line); name = "") {
        char copy[KEY_TEXT_SIZE];
        (void)span_copy(span_slice(line, 0, line.len < sizeof copy ? line.len : sizeof copy - 1), copy, sizeof copy);
        const char *const cells[] = {name, copy};
        err = table_add(table, cells);
    }
    return err;
}

enum err key_certificate_explain(const struct cli *cli, const struct keyring_certificate *certificate,
                                 enum keyring_purpose purpose, struct table *table)
{
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
    struct buf text;
    bool is_asked;
    enum err err = find_path(cli, certificate, purpose, &chain, &reason, &path);
    if (err)
        return err;
    buf_init(&text, EXPLAINED_MAX);
    err = ask_issuers(cli, chain, path, revocations, &is_asked);
    if (!err)
        err = keyring_x509_explain(chain, reason, path, is_asked ? revocations : NULL, &text);
    if (!err && !cli->account->smime_ca[0])
        err = buf_add_string(&text, "the account has no `smime_ca`\n");
    if (!err)
        err = add_lines(buf_span(&text), table);
    buf_fini(&text);
    sk_X509_pop_free(path, X509_free);
    return err;
}

static json_t *revocations_json(STACK_OF(X509) * path, const struct keyring_revocation *revocations)
{
    static const char *const states[] = {[KEYRING_REVOCATION_UNKNOWN] = "unknown",
                                         [KEYRING_REVOCATION_GOOD] = "good",
                                         [KEYRING_REVOCATION_REVOKED] = "revoked"};
    json_t *list = json_array();
    for (int i = 0; i + 1 < sk_X509_num(path); i++) {
        char name[NAME_SIZE];
        key_name(X509_get_subject_name(sk_X509_value(path, i)), name, sizeof name);
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s*}", "subject", name, "state",
                                                    states[revocations[i].state], "reason", revocations[i].reason));
    }
    return list;
}

/* NULL: nobody is asked. */
static json_t *revocation_json(const struct cli *cli, const struct keyring_certificate *certificate,
                               enum keyring_purpose purpose)
{
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
    bool is_asked = false;
    if (find_path(cli, certificate, purpose, &chain, &reason, &path))
        return NULL;
    enum err err = ask_issuers(cli, chain, path, revocations, &is_asked);
    json_t *list = err || !is_asked ? NULL : revocations_json(path, revocations);
    sk_X509_pop_free(path, X509_free);
    return list;
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
    enum err err = find_path(cli, certificate, purpose, chain_out, &reason, &path);
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

enum err key_certificate_is_marked(const X509 *certificate, bool *is_marked_out, char address_out[MIME_ADDR_SIZE])
{
    struct keyring *keyring;
    *is_marked_out = false;
    /* Looks only at what has been parsed; the certificate is not changed. */
    if (!(X509_get_extension_flags((X509 *)certificate) & EXFLAG_CA))
        return ERR_OK;
    enum err err = keyring_new(&keyring);
    if (!err)
        err = keyring_x509_add(certificate, KEYRING_UNVERIFIED, keyring);
    for (size_t i = 0; !err && !*is_marked_out && i < keyring_len(keyring); i++)
        *is_marked_out =
            span_copy(span_of(keyring_at(keyring, i)->address), address_out, MIME_ADDR_SIZE) && address_out[0] != '\0';
    keyring_free(&keyring);
    return err;
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
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o*}", "issuer", issuer, "serial", serial, "came_by", source,
                     "chain", key_chain_name(state), "chain_detail", chain, "key_place", certificate->key_place,
                     "revocation", revocation_json(cli, certificate, purpose));
}
