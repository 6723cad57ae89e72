#include "cli/key.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PASSPHRASE_MAX 1024

static const char *real_name, *address_given, *expires_text, *passphrase_fd;
static bool is_unprotected, is_another;

static const struct cli_option options[] = {
    {"name", "NAME", "your name, as others will see it in the key", NULL, &real_name, NULL},
    {"address", "ADDRESS", "one of the account's addresses; default: the first", NULL, &address_given, NULL},
    {"expires", "TIME", "30d, 6m, 2y or never (default)", NULL, &expires_text, NULL},
    {"passphrase-fd", "N", "read the passphrase from this descriptor; default: gpg-agent asks", NULL, &passphrase_fd,
     NULL},
    {"no-passphrase", NULL, "protect the key by its file mode alone", &is_unprotected, NULL, NULL},
    {"another", NULL, "make one although the address has an own key", &is_another, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static bool read_expiry(const char *text, int64_t *seconds_out)
{
    static const struct {
        char letter;
        int64_t days;
    } units[] = {{'d', 1}, {'m', 30}, {'y', 365}};
    *seconds_out = 0;
    if (!text || strcmp(text, "never") == 0)
        return true;
    const size_t len = strlen(text);
    uint64_t number;
    if (len < 2 || !span_to_u64((struct span){text, len - 1}, 36500, &number) || number == 0)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (text[len - 1] == units[i].letter)
            *seconds_out = (int64_t)number * units[i].days * 86400;
    return *seconds_out > 0;
}

static enum err read_passphrase(struct cli *cli, struct secret *passphrase)
{
    uint64_t fd;
    if (!span_to_u64(span_of(passphrase_fd), 1023, &fd)) {
        (void)cli_usage(cli, "--passphrase-fd %s; expected the number of an open descriptor", passphrase_fd);
        return ERR_USAGE;
    }
    struct buf text;
    buf_init_secret(&text, PASSPHRASE_MAX);
    char byte;
    enum err err = ERR_OK;
    ssize_t count;
    while (!err && (count = read((int)fd, &byte, 1)) != 0 && byte != '\n')
        err = count < 0 ? ERR_IO : buf_add_byte(&text, byte);
    secret_wipe(&byte, sizeof byte);
    if (!err && text.len == 0) {
        (void)cli_usage(cli, "the passphrase is empty; expected one, or --no-passphrase");
        err = ERR_USAGE;
    } else if (err) {
        (void)cli_fail(cli, err, "reading the passphrase");
    } else {
        err = secret_set(passphrase, buf_span(&text), PASSPHRASE_MAX);
    }
    buf_fini(&text);
    return err;
}

static int report(const struct cli *cli, const char *user_id, const char *fingerprint)
{
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s}", "fingerprint", fingerprint, "user_id", user_id));
    char grouped[KEY_GROUPED_SIZE];
    key_group(fingerprint, grouped);
    printf("made a key for %s\n  %s\nGive others the public part: privyseal key export %s\n", user_id, grouped,
           fingerprint);
    return CLI_DONE;
}

static int make(struct cli *cli, const char *address, int64_t expires_s, const struct secret *passphrase)
{
    char user_id[700], fingerprint[KEYRING_FPR_SIZE];
    int count = real_name && real_name[0] ? snprintf(user_id, sizeof user_id, "%s <%s>", real_name, address)
                                          : snprintf(user_id, sizeof user_id, "%s", address);
    if (count < 0 || (size_t)count >= sizeof user_id || (real_name && strpbrk(real_name, "<>\r\n")))
        return cli_usage(cli, "--name is too long, or holds < or >");
    /* gpg refuses a second key of the very same name. */
    for (size_t i = 0; i < keyring_len(cli->keyring); i++)
        if (strcmp(keyring_at(cli->keyring, i)->user_id, user_id) == 0) {
            fprintf(stderr, "privyseal key make: there is a key for %s already; expected another --name\n", user_id);
            return CLI_REFUSED;
        }
    enum err err = keyring_gpg_make_key(cli->gpg, user_id, expires_s, passphrase, fingerprint);
    return err ? cli_fail(cli, err, "making a key for %s", address) : report(cli, user_id, fingerprint);
}

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    int64_t expires_s;
    if (!read_expiry(expires_text, &expires_s))
        return cli_usage(cli, "--expires %s; expected 30d, 6m, 2y or never", expires_text);
    if (passphrase_fd && is_unprotected)
        return cli_usage(cli, "--passphrase-fd and --no-passphrase; expected one of them");
    enum err err = cli_open_account(cli, address_given);
    if (err)
        return cli_exit_of(err);
    char address[MIME_ADDR_SIZE];
    snprintf(address, sizeof address, "%s", cli->account->address);
    if (address_given && (mime_addr_normalise(span_of(address_given), address) ||
                          config_account_of_address(cli->config, address) != cli->account))
        return cli_usage(cli, "--address %s; expected an address of account %s", address_given, cli->account->address);
    struct secret passphrase = {NULL, 0};
    if (passphrase_fd)
        err = read_passphrase(cli, &passphrase);
    if (!err)
        err = cli_open_ring(cli, false);
    int status = cli_exit_of(err);
    const struct keyring_entry *own = err ? NULL : cli_own_key(cli, KEYRING_OPENPGP, address);
    if (own && !is_another) {
        fprintf(stderr, "privyseal key make: %s has the own key %s already; expected --another to make one more\n",
                address, own->fingerprint);
        status = CLI_REFUSED;
    } else if (!err) {
        status = make(cli, address, expires_s, passphrase_fd || is_unprotected ? &passphrase : NULL);
    }
    secret_fini(&passphrase);
    return status;
}

const struct cli_command cli_key_make = {
    .name = "key make",
    .summary = "makes an own key for the account",
    .text =
        "Makes an OpenPGP key (ed25519, with cv25519 for encryption) for one of the account's addresses, trusted as\n"
        "your own. gpg-agent asks for a passphrase unless one is given by descriptor, or none is wanted.",
    .example = "privyseal key make --name \"Alice Liddell\"",
    .options = options,
    .run = run};
