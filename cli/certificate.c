#include "cli/cli.h"

#include "base/tls.h"
#include "proxy/state.h"

#include <stdio.h>

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    char certificate[CONFIG_PATH_SIZE], key[CONFIG_PATH_SIZE], fingerprint[65];
    enum err err = cli_open_config(cli);
    if (err)
        return cli_exit_of(err);
    err = proxy_state_prepare(cli->config);
    if (!err)
        err = proxy_state_certificate(cli->config, certificate, key);
    if (!err)
        err = tls_fingerprint(certificate, fingerprint);
    if (err)
        return cli_fail(cli, err, "making the certificate");
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s}", "certificate", certificate, "sha256", fingerprint));
    printf("%s\n", certificate);
    fprintf(stderr, "SHA-256 %s\n", fingerprint);
    return CLI_DONE;
}

const struct cli_command cli_certificate = {
    .name = "certificate",
    .summary = "prints the path of this machine's certificate for mail programs",
    .text = "Prints the path of the certificate that the proxy shows to mail programs, made for this machine if there\n"
            "is none yet; its SHA-256 goes to standard error, to be compared with what the mail program shows.",
    .example = "privyseal certificate",
    .run = run};
