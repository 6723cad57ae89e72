/*
 * One's own certificates by their fingerprint: deleted and exported together with their private keys.
 */
#include "cli/key_own.h"

#include <string.h>

#define DIGITS_MIN 16

/* Blanks and colons between the digits are how people write fingerprints. */
static bool read_digits(const char *text, char digits_out[KEYRING_FPR_SIZE])
{
    size_t len = 0;
    for (; *text; text++) {
        const char lower = span_lower(*text);
        if (*text == ' ' || *text == ':')
            continue;
        if (((lower < '0' || lower > '9') && (lower < 'a' || lower > 'f')) || len + 1 >= KEYRING_FPR_SIZE)
            return false;
        digits_out[len++] = (char)(lower >= 'a' ? lower - 'a' + 'A' : lower);
    }
    digits_out[len] = '\0';
    return len >= DIGITS_MIN;
}

static const struct keyring_certificate *find(const struct keyring_certificates *certificates, const char *digits)
{
    const size_t len = strlen(digits);
    for (size_t i = 0; i < keyring_certificates_len(certificates); i++) {
        const struct keyring_certificate *entry = keyring_certificates_at(certificates, i);
        const size_t whole = strlen(entry->fingerprint);
        if (entry->key_place[0] && len <= whole && strcmp(entry->fingerprint + whole - len, digits) == 0)
            return entry;
    }
    return NULL;
}

bool key_own_open(struct cli *cli, const char *name, struct keyring_certificates **certificates_out,
                  const struct keyring_certificate **certificate_out)
{
    char digits[KEYRING_FPR_SIZE], dir[CONFIG_PATH_SIZE];
    *certificates_out = NULL;
    *certificate_out = NULL;
    if (!read_digits(name, digits) || cli_open_account(cli, NULL) ||
        !config_certificates(cli->config, cli->account, dir) || keyring_certificates_open(dir, certificates_out))
        return false;
    *certificate_out = find(*certificates_out, digits);
    if (*certificate_out && !cli_open_ring(cli, false))
        return true;
    keyring_certificates_close(certificates_out);
    return false;
}

static bool ask(const struct keyring_certificate *certificate)
{
    char question[300];
    (void)snprintf(question, sizeof question,
                   "Delete your certificate %s, with its PRIVATE KEY (mail sealed to it can never be read again)?",
                   certificate->fingerprint);
    return cli_confirm(question);
}

static int delete_own(struct cli *cli, struct keyring_certificates *certificates,
                      const struct keyring_certificate *certificate, bool is_sure)
{
    char fingerprint[KEYRING_FPR_SIZE];
    (void)span_copy(span_of(certificate->fingerprint), fingerprint, sizeof fingerprint);
    if (!is_sure && !ask(certificate)) {
        fprintf(stderr, "privyseal key delete: nothing was deleted; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    /* The certificate first: none says that its key is where it is not any more. */
    const struct keyring_certificate gone = *certificate;
    enum err err = keyring_certificates_remove(certificates, fingerprint);
    if (err)
        return cli_fail(cli, err, "deleting %s", fingerprint);
    err = key_own_remove(cli, &gone);
    if (err)
        return cli_exit_of(err);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s}", "deleted", fingerprint));
    printf("deleted %s\n", fingerprint);
    return CLI_DONE;
}

bool key_own_delete(struct cli *cli, const char *name, bool is_sure, int *status_out)
{
    struct keyring_certificates *certificates;
    const struct keyring_certificate *certificate;
    if (!key_own_open(cli, name, &certificates, &certificate))
        return false;
    *status_out = delete_own(cli, certificates, certificate, is_sure);
    keyring_certificates_close(&certificates);
    return true;
}
