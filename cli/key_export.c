#include "cli/key.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#define KEY_EXPORT_MAX 16777216

static bool is_secret;
static const char *output;

static const struct cli_option options[] = {
    {"secret", NULL, "export the secret key; gpg-agent asks for its passphrase", &is_secret, NULL, NULL},
    {"output", "FILE", "write a new file, readable by you alone, instead of standard output", NULL, &output, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static enum err write_out(struct span armour)
{
    if (!output)
        return cli_write(STDOUT_FILENO, armour);
    int fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, is_secret ? 0600 : 0644);
    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : err_of_errno(errno);
    enum err err = cli_write(fd, armour);
    if (close(fd) && !err)
        err = err_of_errno(errno);
    return err;
}

static enum err export_certificate(const struct keyring_certificate *certificate, struct buf *out)
{
    char *text;
    BIO *pem = BIO_new(BIO_s_mem());
    enum err err = pem && PEM_write_bio_X509(pem, certificate->certificate) == 1 ? ERR_OK : ERR_MEMORY;
    if (!err) {
        long len = BIO_get_mem_data(pem, &text);
        err = buf_add(out, text, (size_t)len);
    }
    BIO_free(pem);
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    const struct keyring_entry *key;
    enum err err = key_open(cli, argv[0], &key);
    if (err)
        return cli_exit_of(err);
    if (is_secret && !key->has_secret)
        return cli_fail(cli, ERR_NOT_FOUND, "the secret key of %s", key->fingerprint);
    struct buf armour;
    buf_init_secret(&armour, KEY_EXPORT_MAX);
    const struct keyring_certificate *certificate = key_certificate(cli, key);
    if (certificate && is_secret)
        return cli_fail(cli, ERR_NOT_FOUND, "a way to export the private key of a certificate (%s)", key->fingerprint);
    err = certificate ? export_certificate(certificate, &armour)
                      : keyring_gpg_export(cli->gpg, key->fingerprint, is_secret, &armour);
    int status = err ? cli_fail(cli, err, "exporting %s", key->fingerprint) : CLI_DONE;
    if (!err && (err = write_out(buf_span(&armour))))
        status = cli_fail(cli, err, "writing %s", output ? output : "standard output");
    buf_fini(&armour);
    return status;
}

const struct cli_command cli_key_export = {.name = "key export",
                                           .operands = "KEY",
                                           .summary = "writes a key in ASCII armour, a certificate in PEM",
                                           .text = "Writes the public key (or, with --secret, the secret key) in ASCII "
                                                   "armour, or the certificate in PEM. KEY is a fingerprint, its last\n"
                                                   "16 or more digits, or an address that one key alone carries.",
                                           .example = "privyseal key export alice@example.org > alice.asc",
                                           .options = options,
                                           .run = run};
