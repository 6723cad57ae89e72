#include "cli/key_paper.h"

#include "cli/key_own.h"

#include "keyring/gpg_life.h"
#include "keyring/key_trim.h"
#include "keyring/paper.h"

#include <stdio.h>

#define ARMOUR_MAX ((size_t)16 << 20)

static enum err take(struct span key, void *context)
{
    return buf_add_span(context, key);
}

/* The secret key as a backup has it: its passphrase is made slow to guess, since paper lies about for years. */
static enum err collect_secret(struct cli *cli, const char *fingerprint, const char *passphrase_fd, struct buf *out)
{
    char what[KEYRING_FPR_SIZE + 64];
    struct secret passphrase = {NULL, 0};
    bool is_unprotected;
    enum err err = keyring_gpg_is_unprotected(cli->gpg, fingerprint, &is_unprotected);
    if (!err && is_unprotected) {
        fprintf(stderr,
                "privyseal key export: %s has no passphrase, so whoever finds the paper could use it; expected a key "
                "with one, or do `privyseal key backup`, which asks for one\n",
                fingerprint);
        return ERR_REFUSED;
    }
    snprintf(what, sizeof what, "The passphrase of the key %s", fingerprint);
    if (!err)
        err = key_ask_passphrase(cli, passphrase_fd, what, NULL, &passphrase);
    if (!err)
        err = keyring_gpg_backup(cli->gpg, fingerprint, &passphrase, &passphrase, out);
    secret_fini(&passphrase);
    if (err == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal key export: no passphrase was given that opens %s; nothing was written\n",
                fingerprint);
    return err;
}

enum err key_paper_export(struct cli *cli, const struct keyring_entry *key, bool is_secret, const char *passphrase_fd,
                          struct buf *out)
{
    const struct key_trim_want want = {
        .fingerprint = key->fingerprint, .is_secret = is_secret, .key_max = KEYRING_PAPER_BYTES_MAX};
    struct keyring_paper paper = {.is_secret = is_secret};
    struct buf whole, trimmed;
    buf_init_secret(&whole, ARMOUR_MAX);
    buf_init_secret(&trimmed, KEYRING_PAPER_BYTES_MAX);
    snprintf(paper.fingerprint, sizeof paper.fingerprint, "%s", key->fingerprint);
    snprintf(paper.user_id, sizeof paper.user_id, "%s", key->user_id);
    enum err err = is_secret ? collect_secret(cli, key->fingerprint, passphrase_fd, &whole)
                             : keyring_gpg_export_minimal(cli->gpg, key->fingerprint, &whole);
    if (!err)
        err = key_trim(buf_span(&whole), &want, take, &trimmed);
    if (!err)
        err = keyring_paper_write(&paper, buf_span(&trimmed), out);
    if (err == ERR_LIMIT)
        fprintf(stderr, "privyseal key export: %s is too large for paper (%zu bytes at most)\n", key->fingerprint,
                KEYRING_PAPER_BYTES_MAX);
    else if (err && err != ERR_REFUSED && err != ERR_KEY_LOCKED)
        (void)cli_fail(cli, err, "exporting %s", key->fingerprint);
    buf_fini(&whole);
    buf_fini(&trimmed);
    return err;
}
