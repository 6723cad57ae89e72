#include "cli/check.h"

#include "base/clock.h"
#include "cli/key.h"
#include "keyring/expiry.h"
#include "proxy/state.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define AGENT_CONF_MAX 1048576

static void check_uses(struct check *check, const struct keyring_entry *key)
{
    if (key->format == KEYRING_OPENPGP && key->encrypt_until < 0)
        check_note(check, CHECK_WARNING, key->address,
                   "the own key cannot encrypt, so you will not be able to read your own sealed mail; make a key with "
                   "`privyseal key make --another`");
}

/* `has_other`: another own key or certificate signs for the address. Whether there is one of this format at all. */
static bool check_own(struct check *check, const char *address, enum keyring_format format, bool has_other)
{
    char text[KEYRING_EXPIRY_TEXT_SIZE], date[CLI_DATE_SIZE];
    enum keyring_expiry expiry;
    int64_t end;
    const struct keyring_entry *key =
        keyring_expiry_own(check->cli->keyring, address, format, clock_now(), &expiry, &end);
    if (!key)
        return false;
    keyring_expiry_text(key, expiry, end, text);
    cli_date(end, date);
    if (expiry == KEYRING_LASTS)
        check_note(check, CHECK_OK, address, "own %s %s, %s, expires %s",
                   format == KEYRING_SMIME ? "certificate" : "key", key->fingerprint, key->algorithm, date);
    else
        check_note(check, expiry == KEYRING_ENDS_SOON || has_other ? CHECK_WARNING : CHECK_BAD, address, "%s", text);
    check_uses(check, key);
    return true;
}

/* What is there, and can be of no use. */
static void check_certificates(struct check *check, const struct config_account *account)
{
    const struct keyring_certificates *certificates = check->cli->certificates;
    const size_t len = keyring_certificates_len(certificates);
    for (size_t i = 0; i < len; i++) {
        const struct keyring_certificate *entry = keyring_certificates_at(certificates, i);
        char address[MIME_ADDR_SIZE];
        bool is_marked;
        if (entry->key_place[0] && !key_certificate_is_marked(entry->certificate, &is_marked, address) && is_marked)
            check_note(check, CHECK_BAD, address,
                       "the own certificate %s is marked as one that issues others (CA:TRUE), so it is not used for "
                       "mail; have one with CA:FALSE",
                       entry->fingerprint);
    }
    if (len > 0 && !account->smime_ca[0])
        check_note(check, CHECK_WARNING, account->address,
                   "has certificates, but no trust anchors: nobody's certificate is trusted; set `smime_ca`");
}

static void check_addresses(struct check *check, const struct config_account *account)
{
    for (size_t i = 0; i < account->addresses_len; i++) {
        const char *address = account->addresses[i];
        const struct cli *cli = check->cli;
        const bool has_key = check_own(check, address, KEYRING_OPENPGP, cli_own_key(cli, KEYRING_SMIME, address));
        const bool has_certificate =
            check_own(check, address, KEYRING_SMIME, cli_own_key(cli, KEYRING_OPENPGP, address));
        if (!has_key && !has_certificate)
            check_note(check, i == 0 ? CHECK_BAD : CHECK_WARNING, address,
                       "has no own key that can sign; do `privyseal key make --address %s`, or import yours with "
                       "`privyseal key import --own`",
                       address);
    }
}

static bool has_line(struct span text, const char *option)
{
    struct span line;
    while (span_take_until(&text, '\n', &line)) {
        const struct span trimmed = span_trim(line);
        const size_t len = strlen(option);
        if (span_has_prefix(trimmed, span_of(option)) &&
            (trimmed.len == len || trimmed.ptr[len] == ' ' || trimmed.ptr[len] == '\t'))
            return true;
    }
    return false;
}

/* privyseal writes the agent's options into its own homes; a person's are the person's, and only looked at. */
static void check_agent_options(struct check *check, const struct config_account *account)
{
    char path[CONFIG_PATH_SIZE + 32];
    struct buf text;
    buf_init(&text, AGENT_CONF_MAX);
    snprintf(path, sizeof path, "%s/gpg-agent.conf", account->gnupghome);
    enum err err = access(path, F_OK) ? ERR_OK : cli_read_file(path, &text);
    if (err)
        check_note(check, CHECK_WARNING, account->address, "%s cannot be read", path);
    if (!err && !has_line(buf_span(&text), "auto-expand-secmem"))
        check_note(check, CHECK_WARNING, account->address,
                   "%s has no `auto-expand-secmem`: with many messages at once RSA keys fail for want of memory", path);
    if (!err && !has_line(buf_span(&text), "s2k-count"))
        check_note(check, CHECK_WARNING, account->address,
                   "%s has no `s2k-count`: each use of a protected key takes half a second; set `s2k-count 65536` and "
                   "change the key's passphrase once",
                   path);
    buf_fini(&text);
}

void check_keys(struct check *check, const struct config_account *account)
{
    struct cli *cli = check->cli;
    cli->account = account;
    /* gpg would wait for a lock of a process that is no more. */
    check_home(check, account);
    enum err err = cli_open_ring(cli, false);
    if (err == ERR_STORE) {
        check_store(check, account);
    } else if (err && cli->gpg) {
        check_damaged_ring(check, account);
    } else if (err) {
        check_note(check, CHECK_BAD, account->address, "the key ring cannot be opened: %s", err_sentence(err));
    } else {
        check_note(check, CHECK_OK, account->address, cli->agent ? "gpg-agent starts" : "gpg-agent is running");
        check_ring(check, account);
        check_addresses(check, account);
        check_certificates(check, account);
        if (!account->is_own_home)
            check_agent_options(check, account);
        check_store(check, account);
    }
    cli_close_ring(cli);
}
