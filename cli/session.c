/*
 * Configuration, account and key ring of a command, opened in this order and closed together.
 */
#include "cli/vault.h"

#include "base/clock.h"
#include "proxy/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum err cli_open_config(struct cli *cli)
{
    if (cli->config)
        return ERR_OK;
    enum err err = config_read(cli->config_file, &cli->config);
    if (err == ERR_NOT_FOUND) {
        fprintf(stderr,
                "privyseal %s: there is no configuration %s; expected ~/.config/privyseal/privyseal.conf or "
                "/etc/privyseal/privyseal.conf, or --config FILE\n",
                cli->command->name, cli->config_file ? cli->config_file : "yet");
        return ERR_CONFIG;
    }
    /* What is wrong in the file has been said by config_read. */
    return err == ERR_CONFIG ? ERR_CONFIG : err ? (cli_fail(cli, err, "reading the configuration"), err) : ERR_OK;
}

static void say_accounts(const struct cli *cli, const char *what, const char *name)
{
    fprintf(stderr, "privyseal %s: %s%s; expected --account with one of", cli->command->name, what, name);
    for (size_t i = 0; i < cli->config->accounts_len; i++)
        fprintf(stderr, " %s", cli->config->accounts[i].address);
    fputc('\n', stderr);
}

enum err cli_open_account(struct cli *cli, const char *address)
{
    enum err err = cli_open_config(cli);
    if (err)
        return err;
    char normal[MIME_ADDR_SIZE];
    if (cli->account_name) {
        if (!mime_addr_normalise(span_of(cli->account_name), normal))
            cli->account = config_account_of_address(cli->config, normal);
        if (!cli->account)
            say_accounts(cli, "there is no account ", cli->account_name);
    } else {
        if (address && !mime_addr_normalise(span_of(address), normal))
            cli->account = config_account_of_address(cli->config, normal);
        if (!cli->account && cli->config->accounts_len == 1)
            cli->account = &cli->config->accounts[0];
        if (!cli->account)
            say_accounts(cli, "there are several accounts", "");
    }
    return cli->account ? ERR_OK : ERR_USAGE;
}

/* What is known of correspondents. Where nothing was ever kept, nothing is. */
static enum err read_words(struct cli *cli)
{
    struct cli_vault vault;
    buf_fini(&cli->words);
    buf_init(&cli->words, KEYRING_WORDS_SIZE_MAX);
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (!err) {
        err = cli_vault_words(&vault, cli->account->address, clock_now(), &cli->words);
        cli_vault_close(&vault);
    }
    if (err == ERR_REFUSED)
        fprintf(stderr,
                "privyseal %s: what is known of correspondents belongs to %s; do this as that user, or while "
                "`privyseal serve` runs\n",
                cli->command->name, cli->config->user);
    else if (err)
        (void)cli_fail(cli, err, "reading what is known of correspondents");
    return err;
}

bool cli_can_read_record(const struct cli *cli, const char *address)
{
    struct cli_vault vault;
    struct keyring_peer peer;
    if (!keyring_is_incomplete(cli->keyring))
        return true;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (err)
        return false;
    err = cli_vault_peer_get(&vault, cli->account->address, address, &peer);
    if (!err)
        keyring_peer_fini(&peer);
    cli_vault_close(&vault);
    return !err || err == ERR_NOT_FOUND;
}

static enum err lay_words(struct cli *cli)
{
    struct keyring *vouched;
    enum err err = keyring_vouch(cli->keyring, buf_span(&cli->words), clock_now(), &vouched);
    if (err) {
        (void)cli_fail(cli, err, "applying what is known of correspondents");
        return err;
    }
    keyring_free(&cli->keyring);
    cli->keyring = vouched;
    return ERR_OK;
}

enum err cli_list_ring(struct cli *cli)
{
    keyring_free(&cli->keyring);
    /* A person's own home is brought up to date by the person's own gpg. */
    enum err err = cli->account->is_own_home || cli->copy[0] ? keyring_gpg_check_trust(cli->gpg) : ERR_OK;
    if (!err)
        err = keyring_new(&cli->keyring);
    if (!err)
        err = keyring_gpg_list(cli->gpg, cli->keyring);
    if (err) {
        (void)cli_fail(cli, err, "listing the keys in %s", cli->account->gnupghome);
        return err;
    }
    err = cli_list_certificates(cli);
    return err ? err : lay_words(cli);
}

enum err cli_list_ring_anew(struct cli *cli)
{
    enum err err = read_words(cli);
    return err ? err : cli_list_ring(cli);
}

/* A pinentry without windows asks on the terminal that gpg tells of, and gpg knows of none but this. */
static void name_terminal(void)
{
    const char *name = getenv("GPG_TTY") ? NULL : ttyname(STDIN_FILENO);
    if (name && setenv("GPG_TTY", name, 1))
        log_warning("GPG_TTY could not be set");
}

enum err cli_open_gpg(struct cli *cli, bool is_as_of)
{
    char wrapper[CONFIG_PATH_SIZE], faked[CONFIG_PATH_SIZE];
    const char *home = cli->account->gnupghome, *engine = wrapper;
    name_terminal();
    enum err err = keyring_gpg_wrapper(wrapper, sizeof wrapper);
    if (err) {
        (void)cli_fail(cli, err,
                       "looking for privyseal-gpg beside privyseal and in " PREFIX
                       "/libexec/privyseal (`make install` puts it there)");
        return err;
    }
    err = proxy_state_prepare_account(cli->config, cli->account);
    if (!err && is_as_of && clock_is_fixed()) {
        err = cli_copy_home(home, wrapper, clock_now(), cli->copy, faked);
        home = cli->copy;
        engine = faked;
    }
    if (!err)
        err = keyring_gpg_agent_start(home, NULL, &cli->agent);
    if (!err)
        err = keyring_gpg_open(home, engine, &cli->gpg);
    if (err) {
        (void)cli_fail(cli, err, "opening the key ring in %s", home);
        return err;
    }
    return ERR_OK;
}

enum err cli_open_ring(struct cli *cli, bool is_as_of)
{
    enum err err = cli_open_gpg(cli, is_as_of);
    return err ? err : cli_list_ring_anew(cli);
}

void cli_close_ring(struct cli *cli)
{
    keyring_free(&cli->keyring);
    buf_fini(&cli->words);
    keyring_certificates_close(&cli->certificates);
    keyring_anchors_close(&cli->anchors);
    keyring_token_close(&cli->token);
    keyring_gpg_close(&cli->gpg);
    if (cli->agent > 0) {
        kill(cli->agent, SIGTERM);
        (void)waitpid(cli->agent, NULL, 0);
        cli->agent = 0;
    }
    if (cli->copy[0])
        cli_remove_home(cli->copy);
    cli->copy[0] = '\0';
}

void cli_close(struct cli *cli)
{
    cli_close_ring(cli);
    config_free(&cli->config);
}

const struct keyring_entry *cli_own_key(const struct cli *cli, enum keyring_format format, const char *address)
{
    const struct keyring_want want = {
        .purpose = KEYRING_SIGN, .formats = (unsigned)format, .least = KEYRING_OWN, .now = clock_now()};
    enum keyring_reason reason;
    return keyring_choose(cli->keyring, address, &want, &reason);
}
