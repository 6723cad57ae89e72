#include "cli/key.h"
#include "cli/key_import.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define DER_SEQUENCE '\x30'

bool key_import_is_certificates(struct span bytes)
{
    static const char *const blocks[] = {"-----BEGIN CERTIFICATE-----", "-----BEGIN X509 CERTIFICATE-----",
                                         "-----BEGIN PKCS7-----", "-----BEGIN CMS-----"};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (span_find(bytes, 0, span_of(blocks[i])) != SIZE_MAX)
            return true;
    return bytes.len > 0 && bytes.ptr[0] == DER_SEQUENCE;
}

/* What is known of one that is here already stays known. */
static enum err put(struct cli *cli, X509 *certificate, char fingerprint_out[KEYRING_FPR_SIZE], bool *is_new_out)
{
    struct keyring_certificate entry = {.certificate = NULL};
    enum err err = keyring_x509_fingerprint(certificate, fingerprint_out);
    if (err)
        return err;
    const struct keyring_certificate *known = keyring_certificates_find(cli->certificates, fingerprint_out);
    *is_new_out = !known;
    if (known)
        entry = *known;
    entry.certificate = certificate;
    entry.source = KEYRING_SOURCE_IMPORT;
    entry.seen = clock_now();
    entry.until = 0;
    entry.is_found = false;
    entry.directory[0] = '\0';
    return keyring_certificates_put(cli->certificates, &entry);
}

/* What a person should know of it. */
static void advise(const struct cli *cli, const struct keyring_entry *entry, FILE *words)
{
    char chain[KEY_TEXT_SIZE];
    enum keyring_chain state;
    const struct keyring_certificate *certificate = key_certificate(cli, entry);
    const enum keyring_purpose purpose = entry->encrypt_until < 0 ? KEYRING_SIGN : KEYRING_ENCRYPT;
    fprintf(words, "%s: %s\n", entry->fingerprint, entry->user_id);
    if (!certificate || key_certificate_chain(cli, certificate, purpose, &state, chain))
        return;
    bool is_marked;
    char address[MIME_ADDR_SIZE];
    if (key_certificate_is_marked(certificate->certificate, &is_marked, address))
        return;
    if (is_marked)
        fprintf(words,
                "%s: is marked as one that issues others (CA:TRUE), so nothing is sealed to it and no signature by it "
                "counts for %s; its owner needs one with CA:FALSE (`openssl req -x509` makes such only with -addext "
                "basicConstraints=CA:FALSE)\n",
                entry->fingerprint, address);
    else if (key_is_issuer(entry))
        fprintf(words,
                "%s: issues others; it helps chains together, and is no trust anchor unless it is in `smime_ca`\n",
                entry->fingerprint);
    else if (entry->trust == KEYRING_UNVERIFIED)
        fprintf(words, "%s: unverified; its chain %s\n", entry->fingerprint, chain);
    if (!key_is_issuer(entry) && entry->encrypt_until < 0)
        fprintf(words, "%s: not for encryption, so nothing can be sealed to it\n", entry->fingerprint);
}

static enum err import_each(struct cli *cli, STACK_OF(X509) * certificates, size_t *new_out,
                            char (*fingerprints)[KEYRING_FPR_SIZE])
{
    enum err err = ERR_OK;
    *new_out = 0;
    for (int i = 0; !err && i < sk_X509_num(certificates); i++) {
        bool is_new = false;
        err = put(cli, sk_X509_value(certificates, i), fingerprints[i], &is_new);
        *new_out += is_new;
    }
    return err ? err : cli_list_ring(cli);
}

static int report(struct cli *cli, char (*fingerprints)[KEYRING_FPR_SIZE], size_t len, size_t new, size_t wrong)
{
    FILE *words = cli->is_json ? stderr : stdout;
    json_t *list = json_array();
    for (size_t i = 0; i < len; i++) {
        const struct keyring_entry *entry = key_of_fingerprint(cli->keyring, fingerprints[i]);
        if (!entry)
            continue;
        advise(cli, entry, words);
        (void)json_array_append_new(list, key_json(entry));
    }
    if (cli->is_json)
        return key_import_report(json_pack("{s:i, s:i, s:i, s:i, s:o}", "considered", (int)(len + wrong), "imported",
                                           (int)new, "unchanged", (int)(len - new), "rejected", (int)wrong, "keys",
                                           list));
    json_decref(list);
    printf("%zu read: %zu new, %zu known, %zu rejected\n", len + wrong, new, len - new, wrong);
    return CLI_DONE;
}

int key_import_certificates(struct cli *cli, const char *name, struct span bytes)
{
    STACK_OF(X509) * certificates;
    size_t wrong, new = 0;
    enum err err = keyring_x509_read(bytes, &certificates, &wrong);
    if (err == ERR_MALFORMED) {
        fprintf(stderr, "privyseal key import: %s holds no certificate that can be read\n", name);
        return cli_exit_of(err);
    }
    if (err)
        return cli_fail(cli, err, "importing %s", name);
    const size_t len = (size_t)sk_X509_num(certificates);
    char(*fingerprints)[KEYRING_FPR_SIZE] = calloc(len, sizeof *fingerprints);
    err = fingerprints ? import_each(cli, certificates, &new, fingerprints) : ERR_MEMORY;
    int status = err ? cli_fail(cli, err, "importing %s", name) : report(cli, fingerprints, len, new, wrong);
    free(fingerprints);
    sk_X509_pop_free(certificates, X509_free);
    return status ? status : wrong ? CLI_REFUSED : CLI_DONE;
}
