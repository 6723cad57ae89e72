#include "cli/key.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

const struct keyring_entry *key_of_fingerprint(const struct keyring *keyring, const char *fingerprint)
{
    for (size_t i = 0; i < keyring_len(keyring); i++)
        if (strcmp(keyring_at(keyring, i)->fingerprint, fingerprint) == 0)
            return keyring_at(keyring, i);
    return NULL;
}

/* Blanks between the digits and "0x" before them are how people write fingerprints. */
static bool read_fingerprint(const char *text, char digits_out[KEYRING_FPR_SIZE])
{
    size_t len = 0;
    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    for (; *text; text++) {
        if (*text == ' ' || *text == ':')
            continue;
        const char lower = span_lower(*text);
        const bool is_letter = lower >= 'a' && lower <= 'f';
        if ((!is_letter && (lower < '0' || lower > '9')) || len + 1 >= KEYRING_FPR_SIZE)
            return false;
        digits_out[len++] = (char)(is_letter ? lower - 'a' + 'A' : lower);
    }
    digits_out[len] = '\0';
    return len >= 16;
}

static bool is_meant(const struct keyring_entry *entry, const char *digits, const char *address)
{
    if (!digits)
        return mime_addr_is_same(entry->address, address);
    const size_t len = strlen(digits), whole = strlen(entry->fingerprint);
    return len <= whole && strcmp(entry->fingerprint + whole - len, digits) == 0;
}

enum err key_find_named(const struct cli *cli, const char *name, const struct keyring_entry **entry_out)
{
    char digits[KEYRING_FPR_SIZE], address[MIME_ADDR_SIZE] = "";
    const bool is_fingerprint = read_fingerprint(name, digits);
    if (!is_fingerprint && mime_addr_normalise(span_of(name), address)) {
        (void)cli_usage(cli, "\"%s\" is neither a fingerprint (16 digits or more) nor an address", name);
        return ERR_USAGE;
    }
    const struct keyring_entry *found = NULL;
    *entry_out = NULL;
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (!is_meant(entry, is_fingerprint ? digits : NULL, address))
            continue;
        if (found && strcmp(found->fingerprint, entry->fingerprint) != 0) {
            fprintf(stderr, "privyseal %s: several keys are meant by %s; name one by its fingerprint (%s, %s, ...)\n",
                    cli->command->name, name, found->fingerprint, entry->fingerprint);
            return ERR_USAGE;
        }
        found = entry;
    }
    *entry_out = found;
    if (found)
        return ERR_OK;
    (void)cli_fail(cli, ERR_NOT_FOUND, "no key for %s; see `privyseal key list`", name);
    return ERR_NOT_FOUND;
}

enum err key_open(struct cli *cli, const char *name, const struct keyring_entry **entry_out)
{
    *entry_out = NULL;
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    return err ? err : key_find_named(cli, name, entry_out);
}

void key_group(const char *fingerprint, char grouped_out[KEY_GROUPED_SIZE])
{
    size_t len = 0;
    for (size_t i = 0; fingerprint[i] && len + 2 < KEY_GROUPED_SIZE; i++) {
        if (i > 0 && i % 4 == 0)
            grouped_out[len++] = ' ';
        grouped_out[len++] = fingerprint[i];
    }
    grouped_out[len] = '\0';
}

bool key_is_issuer(const struct keyring_entry *entry)
{
    return entry->format == KEYRING_SMIME && !entry->address[0] && entry->encrypt_until < 0 && entry->sign_until < 0;
}

const char *key_advice_text(enum keyring_advice advice)
{
    static const char *const texts[KEYRING_ADVICE_COUNT] = {
        [KEYRING_ADVICE_NONE] = "it cannot be used",
        [KEYRING_ADVICE_DISCOURAGE] = "it is old: used in replies to encrypted mail",
        [KEYRING_ADVICE_AVAILABLE] = "used in replies to encrypted mail, or where the message asks for it",
        [KEYRING_ADVICE_MUTUAL] = "they prefer encryption: used where the account does, too"};
    return texts[advice];
}

const char *key_state(const struct keyring_entry *entry)
{
    if (entry->is_revoked)
        return "revoked";
    if (entry->expires && entry->expires <= clock_now())
        return "expired";
    if (entry->is_disabled)
        return "disabled";
    if (key_is_issuer(entry))
        return "issuer";
    if (entry->encrypt_until < 0)
        return "cannot encrypt";
    return entry->has_secret ? "own" : "";
}

json_t *key_json(const struct keyring_entry *entry)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:b}", "address",
                     entry->address, "fingerprint", entry->fingerprint, "algorithm", entry->algorithm, "user_id",
                     entry->user_id, "format", entry->format == KEYRING_SMIME ? "smime" : "openpgp", "trust",
                     keyring_trust_name(entry->trust), "source", keyring_source_name(entry->source), "created",
                     (json_int_t)entry->created, "expires", (json_int_t)entry->expires, "encrypt_until",
                     (json_int_t)entry->encrypt_until, "sign_until", (json_int_t)entry->sign_until, "revoked",
                     entry->is_revoked, "disabled", entry->is_disabled, "secret", entry->has_secret, "aead",
                     entry->has_aead, "primary", entry->is_primary_uid);
}
