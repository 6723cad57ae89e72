/*
 * What a command has of S/MIME: the account's trust anchors and certificates, and how it seals.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "cli/vault.h"
#include "keyring/revocation_ask.h"
#include "keyring/x509_key.h"

#include <string.h>

/* For all issuers of a path together. */
#define REVOCATION_MAX_MS 10000

static enum err open_both(struct cli *cli)
{
    char folder[CONFIG_PATH_SIZE];
    if (!cli->anchors && keyring_anchors_open(cli->account->smime_ca, &cli->anchors)) {
        (void)cli_fail(cli, ERR_CONFIG, "reading the trust anchors in %s", cli->account->smime_ca);
        return ERR_CONFIG;
    }
    enum err err = config_certificates(cli->config, cli->account, folder) ? ERR_OK : ERR_CONFIG;
    if (!err)
        err = cli->certificates ? keyring_certificates_refresh(cli->certificates)
                                : keyring_certificates_open(folder, &cli->certificates);
    if (err)
        (void)cli_fail(cli, err, "reading the certificates of %s", cli->account->address);
    return err;
}

static enum err get_stored(struct cli *cli, const char *fingerprint, bool asks_person, EVP_PKEY **key_out)
{
    const char *account = cli->account->address;
    struct cli_vault vault;
    struct buf saved;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (err)
        return err == ERR_NOT_FOUND ? ERR_NO_KEY : err;
    buf_init_secret(&saved, STORE_PRIVATE_KEY_MAX + 1);
    err = cli_vault_private_get(&vault, account, fingerprint, &saved);
    if (err == ERR_KEY_LOCKED && asks_person) {
        err = cli_vault_unlock(&vault, cli->gpg, account);
        if (!err)
            err = cli_vault_private_get(&vault, account, fingerprint, &saved);
    }
    if (!err)
        err = keyring_key_load(buf_span(&saved), key_out);
    buf_fini(&saved);
    cli_vault_close(&vault);
    return err == ERR_NOT_FOUND ? ERR_NO_KEY : err;
}

static enum err get_on_token(struct cli *cli, const char *uri, bool asks_person, EVP_PKEY **key_out)
{
    char cache[CONFIG_PATH_SIZE];
    enum err err = config_key_cache(cli->config, cli->account, cache) ? ERR_OK : ERR_CONFIG;
    if (!err && !cli->account->pkcs11_module[0])
        err = ERR_NO_KEY;
    if (!err && !cli->token)
        err = keyring_token_open(cli->account->pkcs11_module, &cli->token);
    return err ? err : keyring_token_unlock(cli->token, cli->gpg, cache, uri, asks_person, key_out);
}

/* The crypto_private_key_fn of a command, which is its context. */
static enum err get_private_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                                EVP_PKEY **key_out)
{
    struct cli *cli = context;
    *key_out = NULL;
    if (!certificate->key_place[0])
        return ERR_NO_KEY;
    enum err err = strcmp(certificate->key_place, "store") == 0
                       ? get_stored(cli, certificate->fingerprint, asks_person, key_out)
                       : get_on_token(cli, certificate->key_place, asks_person, key_out);
    if (err || X509_check_private_key(certificate->certificate, *key_out) == 1)
        return err;
    EVP_PKEY_free(*key_out);
    *key_out = NULL;
    return ERR_KEY_UNUSABLE;
}

enum err cli_ask_revocation(const struct cli *cli, STACK_OF(X509) * path, int64_t at,
                            struct keyring_revocation revocations_out[KEYRING_CHAIN_MAX], size_t *len_out)
{
    const struct config *config = cli->config;
    *len_out = 0;
    if (sk_X509_num(path) <= 1) /* An anchor is believed by whoever named it as one. */
        return ERR_OK;
    return keyring_ask_now((const char *const *)config->revocation_hosts, config->revocation_hosts_len, path,
                           clock_real(), at, REVOCATION_MAX_MS, revocations_out, len_out);
}

/* The crypto_revocation_fn of a command. */
static enum err judge_revocation(void *context, STACK_OF(X509) * path, int64_t at, bool *is_unknown_out)
{
    const struct cli *cli = context;
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    size_t len = 0;
    if (path == NULL)
        return keyring_revocation_sum(NULL, 0, cli->account->revocation, is_unknown_out);
    *is_unknown_out = false;
    enum err err = cli_ask_revocation(cli, path, at, revocations, &len);
    return err ? err : keyring_revocation_sum(revocations, len, cli->account->revocation, is_unknown_out);
}

enum err cli_open_smime(struct cli *cli, struct crypto_smime *smime_out)
{
    *smime_out = cli->account->smime;
    enum err err = open_both(cli);
    smime_out->anchors = cli->anchors;
    smime_out->certificates = cli->certificates;
    smime_out->private_key = get_private_key;
    smime_out->revocation = cli->account->revocation == KEYRING_REVOCATION_OFF ? NULL : judge_revocation;
    smime_out->context = cli;
    return err;
}

enum err cli_list_certificates(struct cli *cli)
{
    enum err err = open_both(cli);
    if (err)
        return err;
    err = keyring_certificates_list(cli->certificates, cli->anchors, (const char *const *)cli->account->addresses,
                                    cli->account->addresses_len, clock_now(), cli->keyring);
    if (!err)
        err = keyring_certificates_list_issuers(cli->certificates, cli->anchors, clock_now(), cli->keyring);
    if (err)
        (void)cli_fail(cli, err, "listing the certificates of %s", cli->account->address);
    return err;
}
