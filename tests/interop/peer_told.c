/*
 * Tells the store of a configuration (through the vault, where one runs) what sources that a test has not got would
 * say. For tests/interop.
 *
 * peer_told CONFIG ACCOUNT word ADDRESS FINGERPRINT SOURCE TRUST SINCE UNTIL
 *     without FINGERPRINT the source has told all
 * peer_told CONFIG ACCOUNT autocrypt ADDRESS FINGERPRINT mutual|nopreference|gossip|none AT
 *     the key (binary) on standard input
 * peer_told CONFIG ACCOUNT used ADDRESS FINGERPRINT SINCE ASKED
 *     mail was encrypted to it, first at SINCE; what has become of it was last asked at ASKED. Not while `serve` runs.
 */
#include "base/log.h"
#include "cli/vault.h"
#include "proxy/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t number_of(const char *text)
{
    uint64_t number;
    if (!span_to_u64(span_of(text), INT64_MAX, &number))
        exit(2);
    return (int64_t)number;
}

static enum err tell_word(struct cli_vault *vault, char **words)
{
    struct keyring_word word = {.format = strlen(words[4]) == 40 ? KEYRING_OPENPGP : KEYRING_SMIME,
                                .since = number_of(words[7]),
                                .until = number_of(words[8])};
    if (!span_copy(span_of(words[3]), word.address, sizeof word.address) ||
        !span_copy(span_of(words[4]), word.fingerprint, sizeof word.fingerprint) ||
        keyring_source_parse(span_of(words[5]), &word.source) || keyring_trust_parse(span_of(words[6]), &word.trust))
        return ERR_USAGE;
    return cli_vault_peer_hear(vault, words[1], &word);
}

static enum err tell_autocrypt(struct cli_vault *vault, char **words)
{
    static char key[KEYRING_PEER_KEY_MAX];
    struct keyring_heard heard = {.at = number_of(words[6]),
                                  .has_key = strcmp(words[5], "none") != 0,
                                  .is_gossip = strcmp(words[5], "gossip") == 0,
                                  .is_mutual = strcmp(words[5], "mutual") == 0};
    heard.key = (struct span){key, fread(key, 1, sizeof key, stdin)};
    if (!span_copy(span_of(words[3]), heard.address, sizeof heard.address) ||
        !span_copy(span_of(words[4]), heard.fingerprint, sizeof heard.fingerprint))
        return ERR_USAGE;
    return cli_vault_peer_received(vault, words[1], &heard);
}

static enum err tell_used(struct cli_vault *vault, char **words)
{
    if (vault->store == NULL)
        return ERR_BUSY;
    enum err err = proxy_peers_sent(vault->store, words[1], words[3], KEYRING_OPENPGP, words[4], number_of(words[5]));
    return err != ERR_OK ? err : proxy_peers_refreshed(vault->store, words[1], words[3], number_of(words[6]));
}

int main(int argc, char **argv)
{
    struct config *config;
    struct cli_vault vault;
    log_init("peer_told", LOG_LEVEL_WARNING);
    char **words = argv + 1;
    const bool is_word = argc == 10 && strcmp(words[2], "word") == 0;
    const bool is_autocrypt = argc == 8 && strcmp(words[2], "autocrypt") == 0;
    const bool is_used = argc == 8 && strcmp(words[2], "used") == 0;
    if ((!is_word && !is_autocrypt && !is_used) || config_read(words[0], &config))
        return 2;
    enum err err = cli_vault_open_to_keep(config, &vault);
    if (!err) {
        err = is_word ? tell_word(&vault, words) : is_used ? tell_used(&vault, words) : tell_autocrypt(&vault, words);
        cli_vault_close(&vault);
    }
    if (err)
        fprintf(stderr, "%s\n", err_name(err));
    config_free(&config);
    return err ? 1 : 0;
}
