/*
 * The life of an own key after it was made: it gets another name, another end, a voucher, and is revoked.
 *
 * gpg's exit code is not known here (gpg_run), so each step is followed by a look at what came of it.
 */
#include "keyring/gpg_life.h"
#include "keyring/gpg_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyring/file.h"
#include "keyring/key_trim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OUTPUT_MAX (4u << 20)
#define CERTIFICATE_MAX ((size_t)65536)
#define SUBKEYS_MAX 200
#define INPUT_SIZE 1024

/* The key with its secret part, that of the primary key, which all of this takes; ERR_NO_SIGNING_KEY. */
static enum err find_own(struct keyring_gpg *gpg, const char *fingerprint, gpgme_key_t *key_out)
{
    enum err err = gpg_find(gpg, fingerprint, true, key_out);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_NO_SIGNING_KEY : err;
    if ((*key_out)->subkeys->secret)
        return ERR_OK;
    gpgme_key_unref(*key_out);
    *key_out = NULL;
    log_warning("the secret part of the primary key of %s is kept elsewhere", fingerprint);
    return ERR_NO_SIGNING_KEY;
}

/* What stands between the dashes of the armour; gpg's status lines stand around it. */
static bool find_armour(struct span output, struct span *armour_out)
{
    const struct span begin = SPAN_LIT("-----BEGIN PGP PUBLIC KEY BLOCK-----"),
                      end = SPAN_LIT("-----END PGP PUBLIC KEY BLOCK-----");
    const size_t first = span_find(output, 0, begin), last = span_find(output, 0, end);
    if (first == SIZE_MAX || last == SIZE_MAX || last < first)
        return false;
    *armour_out = span_slice(output, first, last + end.len);
    return true;
}

enum err keyring_gpg_revocation(struct keyring_gpg *gpg, const char *fingerprint, enum keyring_gpg_reason reason,
                                const char *text, const struct secret *passphrase, struct buf *out)
{
    char input[INPUT_SIZE];
    gpgme_key_t key;
    struct span armour;
    const char *end = *text == '\0' ? "" : "\n";
    const int len = snprintf(input, sizeof input, "y\n%d\n%s%s\ny\n", (int)reason, text, end);
    if (len < 0 || (size_t)len >= sizeof input || strpbrk(text, "\r\n") != NULL)
        return ERR_USAGE;
    enum err err = find_own(gpg, fingerprint, &key);
    if (err != ERR_OK)
        return err;
    const char *const arguments[] = {"--no-batch", "--command-fd", "0", "--armor", "--gen-revoke", key->fpr, NULL};
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    err = gpg_run_with(gpg, passphrase, arguments, input, &output);
    /* gpg says in words alone that no signature was to be had. */
    if (err == ERR_OK && !find_armour(buf_span(&output), &armour))
        err = log_failure(ERR_KEY_LOCKED, "gpg: making a revocation certificate");
    else if (err == ERR_OK)
        err = buf_add_span(out, armour);
    if (err == ERR_OK)
        err = buf_add_byte(out, '\n');
    gpgme_key_unref(key);
    buf_fini(&output);
    return err;
}

enum err keyring_gpg_revocation_file(const struct keyring_gpg *gpg, const char *fingerprint, char *path_out,
                                     size_t path_size)
{
    const int len = snprintf(path_out, path_size, "%s/openpgp-revocs.d/%s.rev", gpg->home, fingerprint);
    return len > 0 && (size_t)len < path_size && gpg_is_fingerprint(fingerprint) ? ERR_OK : ERR_LIMIT;
}

static enum err write_revocation(const char *path, struct span text)
{
    char folder[GPG_PATH_SIZE];
    const int len = snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (len < 0 || (size_t)len >= sizeof folder)
        return ERR_LIMIT;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return log_failure(err_of_errno(errno), "making %s", folder);
    return keyring_file_write(folder, path, text, true);
}

enum err keyring_gpg_put_revocation(const struct keyring_gpg *gpg, const char *fingerprint, struct span text)
{
    char path[GPG_PATH_SIZE];
    enum err err = keyring_gpg_revocation_file(gpg, fingerprint, path, sizeof path);
    return err != ERR_OK || access(path, F_OK) == 0 ? err : write_revocation(path, text);
}

enum err keyring_gpg_keep_revocation(struct keyring_gpg *gpg, const char *fingerprint, const struct secret *passphrase,
                                     char *path_out, size_t path_size)
{
    static const char head[] = "This is a revocation certificate: whoever imports it gives this OpenPGP key up for "
                               "good.\nA colon stands before its first dashes so that this does not happen by "
                               "accident.\n\n:";
    struct buf text;
    enum err err = keyring_gpg_revocation_file(gpg, fingerprint, path_out, path_size);
    if (err != ERR_OK)
        return err;
    /* gpg leaves one with every key that it makes. */
    if (access(path_out, F_OK) == 0)
        return chmod(path_out, 0600) == 0 ? ERR_OK : log_failure(err_of_errno(errno), "chmod %s", path_out);
    buf_init(&text, CERTIFICATE_MAX);
    err = buf_add_string(&text, head);
    if (err == ERR_OK)
        err = keyring_gpg_revocation(gpg, fingerprint, KEYRING_GPG_NO_REASON, "", passphrase, &text);
    if (err == ERR_OK)
        err = write_revocation(path_out, buf_span(&text));
    buf_fini(&text);
    return err;
}

static enum err check_revoked(struct keyring_gpg *gpg, const char *fingerprint)
{
    gpgme_key_t key;
    gpg_forget(gpg);
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    const bool is_revoked = key->revoked;
    gpgme_key_unref(key);
    return is_revoked ? ERR_OK : log_failure(ERR_REFUSED, "the revocation certificate is not of %s", fingerprint);
}

enum err keyring_gpg_revoke_by(struct keyring_gpg *gpg, const char *fingerprint, struct span certificate)
{
    struct keyring_import result;
    struct span armour;
    /* The colon that gpg puts before it, and what stands around it. */
    if (!find_armour(certificate, &armour))
        return ERR_MALFORMED;
    /* gpg would revoke whatever key it is of. */
    if (!key_trim_is_revocation(armour, fingerprint))
        return log_failure(ERR_REFUSED, "the revocation certificate is not of %s", fingerprint);
    enum err err = keyring_gpg_import(gpg, armour, true, &result);
    return err == ERR_OK ? check_revoked(gpg, fingerprint) : err;
}

enum err keyring_gpg_revoke(struct keyring_gpg *gpg, const char *fingerprint, enum keyring_gpg_reason reason,
                            const char *text, const struct secret *passphrase)
{
    struct buf certificate;
    buf_init(&certificate, CERTIFICATE_MAX);
    enum err err = keyring_gpg_revocation(gpg, fingerprint, reason, text, passphrase, &certificate);
    if (err == ERR_OK)
        err = keyring_gpg_revoke_by(gpg, fingerprint, buf_span(&certificate));
    buf_fini(&certificate);
    return err;
}

static gpgme_user_id_t find_user_id(gpgme_key_t key, const char *name)
{
    gpgme_user_id_t found = key->uids;
    while (found != NULL && (found->uid == NULL || strcmp(found->uid, name) != 0))
        found = found->next;
    return found;
}

/* Runs one of gpg's quick commands for a user ID of an own key, and looks whether it is revoked, or there, then. */
static enum err change_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *command,
                               const char *user_id, bool is_revoking, const struct secret *passphrase)
{
    gpgme_key_t key;
    struct buf output;
    enum err err = find_own(gpg, fingerprint, &key);
    if (err != ERR_OK)
        return err;
    if (is_revoking && find_user_id(key, user_id) == NULL)
        err = ERR_NOT_FOUND;
    gpgme_key_unref(key);
    if (err != ERR_OK)
        return err;
    const char *const arguments[] = {command, fingerprint, user_id, NULL};
    buf_init(&output, OUTPUT_MAX);
    err = gpg_run_with(gpg, passphrase, arguments, "", &output);
    gpg_forget(gpg);
    if (err == ERR_OK)
        err = find_own(gpg, fingerprint, &key);
    if (err == ERR_OK) {
        gpgme_user_id_t changed = find_user_id(key, user_id);
        if (changed == NULL || changed->revoked != is_revoking)
            err = gpg_run_failure(buf_span(&output), is_revoking ? "revoking a user ID" : "adding a user ID");
        gpgme_key_unref(key);
    }
    buf_fini(&output);
    return err;
}

enum err keyring_gpg_revoke_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                    const struct secret *passphrase)
{
    return change_user_id(gpg, fingerprint, "--quick-revoke-uid", user_id, true, passphrase);
}

enum err keyring_gpg_add_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                 const struct secret *passphrase)
{
    return change_user_id(gpg, fingerprint, "--quick-add-uid", user_id, false, passphrase);
}

enum err keyring_gpg_set_primary(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id,
                                 const struct secret *passphrase)
{
    return change_user_id(gpg, fingerprint, "--quick-set-primary-uid", user_id, false, passphrase);
}

static unsigned uses_of(gpgme_subkey_t subkey)
{
    return (subkey->can_encrypt ? 1u : 0u) | (subkey->can_sign ? 2u : 0u) | (subkey->can_authenticate ? 4u : 0u);
}

static bool is_usable(gpgme_subkey_t subkey)
{
    return !subkey->revoked && !subkey->invalid && !subkey->disabled;
}

/* What is in use goes on; of what has run out, each kind's youngest, if none of that kind is in use. Older subkeys were
   replaced by those, and are only read with. */
static bool is_renewed(gpgme_key_t key, gpgme_subkey_t subkey)
{
    if (!is_usable(subkey) || !subkey->expired)
        return is_usable(subkey);
    for (gpgme_subkey_t other = key->subkeys->next; other != NULL; other = other->next)
        if (other != subkey && is_usable(other) && (uses_of(other) & uses_of(subkey)) != 0 &&
            (!other->expired || other->timestamp > subkey->timestamp))
            return false;
    return true;
}

/* Whether all that was to be renewed now ends then. */
static bool has_end(gpgme_key_t before, gpgme_key_t now, int64_t expires)
{
    for (gpgme_subkey_t old = before->subkeys; old != NULL; old = old->next)
        for (gpgme_subkey_t subkey = now->subkeys; subkey != NULL; subkey = subkey->next)
            if (is_renewed(before, old) && strcmp(old->fpr, subkey->fpr) == 0 && subkey->expires != expires)
                return false;
    return true;
}

/* As gpg takes it: 20281130T024500, in UTC. */
static void write_end(int64_t expires, char text[CLOCK_TEXT_SIZE])
{
    char whole[CLOCK_TEXT_SIZE];
    size_t len = 0;
    clock_format(expires, whole);
    for (const char *at = whole; *at != '\0'; at++)
        if (*at != '-' && *at != ':' && *at != 'Z')
            text[len++] = *at;
    text[len] = '\0';
}

static enum err set_end(struct keyring_gpg *gpg, gpgme_key_t key, int64_t expires, bool is_of_subkeys,
                        const struct secret *passphrase)
{
    const char *arguments[SUBKEYS_MAX + 4] = {"--quick-set-expire", key->fpr};
    char end[CLOCK_TEXT_SIZE] = "0";
    size_t len = 3;
    if (expires != 0)
        write_end(expires, end);
    arguments[2] = end;
    for (gpgme_subkey_t subkey = key->subkeys->next; is_of_subkeys && subkey != NULL; subkey = subkey->next)
        if (is_renewed(key, subkey)) {
            if (len == SUBKEYS_MAX)
                return ERR_LIMIT;
            arguments[len++] = subkey->fpr;
        }
    if (is_of_subkeys && len == 3)
        return ERR_OK;
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run_with(gpg, passphrase, arguments, "", &output);
    gpgme_key_t now = NULL;
    if (err == ERR_OK)
        err = find_own(gpg, key->fpr, &now);
    const bool is_done = now != NULL && (is_of_subkeys ? has_end(key, now, expires) : now->subkeys->expires == expires);
    if (err == ERR_OK && !is_done)
        err = gpg_run_failure(buf_span(&output), "changing when a key expires");
    gpgme_key_unref(now);
    buf_fini(&output);
    return err;
}

enum err keyring_gpg_set_expiry(struct keyring_gpg *gpg, const char *fingerprint, int64_t expires,
                                const struct secret *passphrase)
{
    gpgme_key_t key;
    if (expires != 0 && expires <= clock_now())
        return ERR_USAGE;
    enum err err = find_own(gpg, fingerprint, &key);
    if (err != ERR_OK)
        return err;
    if (key->revoked)
        err = ERR_KEY_UNUSABLE;
    if (err == ERR_OK)
        err = set_end(gpg, key, expires, false, passphrase);
    /* Which subkeys are meant is as it was when the key had run out. */
    if (err == ERR_OK)
        err = set_end(gpg, key, expires, true, passphrase);
    gpgme_key_unref(key);
    gpg_forget(gpg);
    return err;
}

enum err keyring_gpg_vouch(struct keyring_gpg *gpg, const char *fingerprint, const char *signer,
                           const struct secret *passphrase)
{
    gpgme_key_t key, own;
    struct buf output;
    struct span rest, ignored;
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    gpgme_key_unref(key);
    err = find_own(gpg, signer, &own);
    if (err != ERR_OK)
        return err;
    gpgme_key_unref(own);
    const char *const arguments[] = {"--local-user", signer, "--quick-sign-key", fingerprint, NULL};
    buf_init(&output, OUTPUT_MAX);
    err = gpg_run_with(gpg, passphrase, arguments, "", &output);
    rest = buf_span(&output);
    if (err == ERR_OK && gpg_next_status(&rest, "ERROR", &ignored))
        err = gpg_run_failure(buf_span(&output), "certifying a key");
    buf_fini(&output);
    gpg_forget(gpg);
    return err;
}

/* GPGME says that all was well where gpg has begun a text and then got no passphrase for one of several signers. */
static enum err check_signed(gpgme_ctx_t context, size_t signers_len)
{
    const gpgme_sign_result_t result = gpgme_op_sign_result(context);
    size_t len = 0;
    for (gpgme_new_signature_t made = result == NULL ? NULL : result->signatures; made != NULL; made = made->next)
        len++;
    return len == signers_len ? ERR_OK
                              : log_failure(ERR_KEY_LOCKED, "gpg: of %zu signatures there are %zu", signers_len, len);
}

enum err keyring_gpg_clearsign(struct keyring_gpg *gpg, struct span text, const char *const *signers,
                               size_t signers_len, struct buf *out)
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    gpgme_data_t plain = NULL, signed_text = NULL;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < signers_len; i++) {
        gpgme_key_t signer;
        err = keyring_gpg_signer(gpg, signers[i], &signer);
        if (err == ERR_OK)
            err = keyring_gpg_error(gpgme_signers_add(context, signer), "taking a signer");
    }
    if (err == ERR_OK)
        err = gpg_data_of(text, &plain);
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_data_new(&signed_text), "data");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_op_sign(context, plain, signed_text, GPGME_SIG_MODE_CLEAR), "signing a text");
    if (err == ERR_OK)
        err = check_signed(context, signers_len);
    if (err == ERR_OK)
        err = gpg_data_read(signed_text, out);
    gpgme_data_release(plain);
    gpgme_data_release(signed_text);
    gpgme_signers_clear(context);
    return err;
}
