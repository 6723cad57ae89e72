/*
 * What a command has of S/MIME: the account's trust anchors and certificates, and how it seals.
 */
#include "cli/cli.h"

#include "base/clock.h"

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

enum err cli_open_smime(struct cli *cli, struct crypto_smime *smime_out)
{
    *smime_out = cli->account->smime;
    enum err err = open_both(cli);
    smime_out->anchors = cli->anchors;
    smime_out->certificates = cli->certificates;
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
