#include "cli/cli.h"

#include "base/tls.h"
#include "proxy/state.h"

#include <ctype.h>
#include <stdio.h>

/* As mail programs show it, to be compared by eye: AA:BB:CC... */
static void print_fingerprint(const char *hexadecimal)
{
    fputs("SHA-256 ", stderr);
    for (size_t i = 0; hexadecimal[i] != '\0'; i++) {
        if (i > 0 && i % 2 == 0)
            fputc(':', stderr);
        fputc(toupper((unsigned char)hexadecimal[i]), stderr);
    }
    fputc('\n', stderr);
}

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
    print_fingerprint(fingerprint);
    return CLI_DONE;
}

const struct cli_command cli_certificate = {
    .name = "certificate",
    .summary = "prints the path of this machine's certificate for mail programs",
    .text = "Prints the path of the certificate that the proxy shows to mail programs, made for this machine if there\n"
            "is none yet; its SHA-256 goes to standard error, to be compared with what the mail program shows.",
    .example = "privyseal certificate",
    .run = run};
