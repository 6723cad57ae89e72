#include "cli/key.h"
#include "cli/key_own.h"
#include "cli/key_paper.h"

#include "base/clock.h"
#include "crypto/autocrypt_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <unistd.h>

#define KEY_EXPORT_MAX 16777216

static bool is_secret, is_setup, is_paper;
static const char *output, *passphrase_fd;

static const struct cli_option options[] = {
    {"secret", NULL, "export the secret key; gpg-agent asks for its passphrase", &is_secret, NULL, NULL},
    {"autocrypt-setup", NULL, "write the message by which another mail program takes over your key, and show its code",
     &is_setup, NULL, NULL},
    {"paper", NULL, "write an OpenPGP key as lines to be printed, and typed in again", &is_paper, NULL, NULL},
    {"passphrase-fd", "N", "with --secret, of S/MIME or --paper: read its passphrase from this descriptor", NULL,
     &passphrase_fd, NULL},
    {"output", "FILE", "write a new file, readable by you alone, instead of standard output", NULL, &output, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static enum err write_out(struct span armour)
{
    if (!output)
        return cli_write(STDOUT_FILENO, armour);
    int fd = open(output, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, is_secret || is_setup ? 0600 : 0644);
    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : cli_file_failure(output);
    enum err err = cli_write(fd, armour);
    if (!err && fsync(fd))
        err = err_of_errno(errno);
    if (close(fd) && !err)
        err = err_of_errno(errno);
    /* Half a key is none, and stands in the way of the next attempt. */
    if (err)
        (void)unlink(output);
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

/* The code goes to the person, never where the message goes. */
static enum err export_setup(const struct cli *cli, const struct keyring_entry *key, struct buf *out)
{
    struct secret code = {NULL, 0};
    enum err err = crypto_setup_code(&code);
    if (!err)
        err = crypto_setup_write(cli->gpg, key->fingerprint, cli->account->address, cli->account->autocrypt, &code,
                                 clock_now(), out);
    if (!err)
        fprintf(stderr, "Setup code, to be typed into the other program:\n    %.*s\n", (int)secret_span(&code).len,
                secret_span(&code).ptr);
    secret_fini(&code);
    return err;
}

static int run(struct cli *cli, int argc, char **argv)
{
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    if (cli->is_json && !output)
        return cli_usage(cli, "--json needs --output FILE: else standard output is the key's");
    const struct keyring_entry *key;
    enum err err = key_open(cli, argv[0], &key);
    if (err)
        return cli_exit_of(err);
    if (is_setup && (is_secret || is_paper || key->format != KEYRING_OPENPGP))
        return cli_usage(cli, "--autocrypt-setup is for an OpenPGP key, and takes its secret part by itself");
    if ((is_secret || is_setup) && !key->has_secret)
        return cli_fail(cli, ERR_NOT_FOUND, "the secret key of %s", key->fingerprint);
    struct buf armour;
    buf_init_secret(&armour, KEY_EXPORT_MAX);
    const struct keyring_certificate *certificate = key_certificate(cli, key);
    if (is_paper && certificate)
        return cli_usage(cli, "--paper is for OpenPGP keys; a certificate is a file");
    bool is_said = is_paper || (certificate && is_secret);
    if (is_paper)
        err = key_paper_export(cli, key, is_secret, passphrase_fd, &armour);
    else if (certificate && is_secret)
        err = key_own_export(cli, cli->certificates, certificate, passphrase_fd, &armour);
    else if (certificate)
        err = export_certificate(certificate, &armour);
    else if (is_setup)
        err = export_setup(cli, key, &armour);
    else
        err = keyring_gpg_export(cli->gpg, key->fingerprint, is_secret, &armour);
    int status = err == ERR_KEY_LOCKED || err == ERR_REFUSED ? CLI_REFUSED : err ? cli_exit_of(err) : CLI_DONE;
    if (err && !is_said)
        status = cli_fail(cli, err, "exporting %s", key->fingerprint);
    if (!err && (err = write_out(buf_span(&armour))))
        status = cli_fail(cli, err, "writing %s", output ? output : "standard output");
    buf_fini(&armour);
    return status || !cli->is_json
               ? status
               : cli_print_json(json_pack("{s:s, s:s}", "fingerprint", key->fingerprint, "file", output));
}

const struct cli_command cli_key_export = {
    .name = "key export",
    .operands = "KEY",
    .summary = "writes a key in ASCII armour, a certificate in PEM",
    .text =
        "Writes the public key (or, with --secret, the secret key) in ASCII armour, or the certificate in PEM; with\n"
        "--secret one of your own certificates as PKCS#12 (AES-256), under a passphrase that is asked for. KEY is a\n"
        "fingerprint, its last 16 or more digits, or an address that one key alone carries.\n"
        "With --autocrypt-setup it is an Autocrypt setup message: save or send it to yourself, open it in the other\n"
        "mail program, and type the code there, which is shown on standard error.\n"
        "With --paper it is text to be printed: lines of letters, each with a check of its own, that `key import`\n"
        "takes back when they have been typed in. With --secret it stays under the passphrase of the key.",
    .example = "privyseal key export alice@example.org > alice.asc",
    .options = options,
    .run = run};
