#include "cli/key_life.h"

#include "cli/key.h"

#include <stdio.h>
#include <string.h>

bool key_read_life(const char *text, int64_t *seconds_out)
{
    static const struct {
        char letter;
        int64_t days;
    } units[] = {{'d', 1}, {'m', 30}, {'y', 365}};
    *seconds_out = 0;
    if (strcmp(text, "never") == 0)
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

static bool is_own(const struct keyring_entry *entry)
{
    return entry->format == KEYRING_OPENPGP && entry->has_secret && entry->trust == KEYRING_OWN && !entry->is_revoked;
}

const struct keyring_entry *key_own_of(const struct cli *cli, const char *address)
{
    size_t first;
    const size_t len = keyring_find(cli->keyring, address, &first);
    const struct keyring_entry *own = cli_own_key(cli, KEYRING_OPENPGP, address);
    for (size_t i = 0; !own && i < len; i++)
        if (is_own(keyring_at(cli->keyring, first + i)))
            own = keyring_at(cli->keyring, first + i);
    return own;
}

/* What a person means by an address is the key in use, whatever others there are. */
static const struct keyring_entry *find_by_address(const struct cli *cli, const char *name)
{
    char address[MIME_ADDR_SIZE];
    return mime_addr_normalise(span_of(name), address) ? NULL : key_own_of(cli, address);
}

static enum err refuse(const struct cli *cli, const struct keyring_entry *key, const char *certificates)
{
    if (key->format == KEYRING_SMIME)
        fprintf(stderr, "privyseal %s: %s is a certificate; %s\n", cli->command->name, key->fingerprint, certificates);
    else
        fprintf(stderr, "privyseal %s: %s is not a key of your own%s\n", cli->command->name, key->fingerprint,
                key->has_secret ? "; if it is, say so with `privyseal key import --own`"
                                : ": its secret part is not here");
    return ERR_REFUSED;
}

enum err key_open_own(struct cli *cli, const char *name, const char *certificates,
                      const struct keyring_entry **entry_out)
{
    enum err err = cli_open_account(cli, name);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return err;
    *entry_out = NULL;
    for (size_t i = 0; !name && !*entry_out && i < cli->account->addresses_len; i++)
        *entry_out = key_own_of(cli, cli->account->addresses[i]);
    if (!name && !*entry_out) {
        fprintf(stderr, "privyseal %s: %s has no own OpenPGP key; %s\n", cli->command->name, cli->account->address,
                cli_own_key(cli, KEYRING_SMIME, cli->account->address) ? certificates
                                                                       : "make one with `privyseal key make`");
        return ERR_NO_SIGNING_KEY;
    }
    if (name)
        *entry_out = find_by_address(cli, name);
    if (name && !*entry_out)
        err = key_find_named(cli, name, entry_out);
    if (err)
        return err;
    const struct keyring_entry *key = *entry_out;
    return key->format == KEYRING_OPENPGP && key->has_secret && (key->trust == KEYRING_OWN || key->is_revoked)
               ? ERR_OK
               : refuse(cli, key, certificates);
}
