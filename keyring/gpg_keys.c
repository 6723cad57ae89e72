/*
 * What is done with keys themselves: made, brought in, taken out, certified.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"
#include "keyring/key_trim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX (4u << 20)
#define KEY_MAX (64u << 20)
#define TRIM_FROM 16384 /* bytes of a stranger's keys */

/* IMPORT_OK <reason> <fingerprint>; doc/DETAILS of GnuPG. */
static void note_import(struct span arguments, struct keyring_import *result)
{
    struct span reason;
    uint64_t bits;
    if (!span_take_until(&arguments, ' ', &reason) || !span_to_u64(reason, 255, &bits))
        return;
    if (bits != 0 && (bits & 1) == 0)
        result->changed++;
    for (size_t i = 0; i < result->fingerprints_len; i++)
        if (span_is_equal(arguments, span_of(result->fingerprints[i])))
            return;
    size_t room = sizeof result->fingerprints / sizeof *result->fingerprints;
    if (result->fingerprints_len < room &&
        span_copy(arguments, result->fingerprints[result->fingerprints_len], KEYRING_FPR_SIZE))
        result->fingerprints_len++;
}

/* IMPORT_RES <count> <no_user_id> <imported> 0 <unchanged> <n_uids> <n_subk> <n_sigs> <n_revoc> <sec_read>
   <sec_imported> <sec_dups> <skipped_new_keys> <not_imported> <skipped_v3_keys> */
static bool note_totals(struct span arguments, struct keyring_import *result)
{
    unsigned counts[15] = {0};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct span word;
        uint64_t number;
        if (!span_take_until(&arguments, ' ', &word) || !span_to_u64(word, 1000000000, &number))
            return i >= 14;
        counts[i] = (unsigned)number;
    }
    result->considered = counts[0];
    result->imported = counts[2];
    result->unchanged = counts[4];
    result->secret_imported = counts[10];
    result->rejected = counts[1] + counts[13];
    return true;
}

/* Lists what an import would bring, to its end; the ring stays as it is. */
static enum err show(struct keyring_gpg *gpg, struct span data, struct buf *output)
{
    /* As "show-only", which does not sum up at its end. */
    static const char *const arguments[] = {"--with-colons", "--dry-run", "--import-options",
                                            "import-show",   "--import",  NULL};
    enum err err = gpg_run(gpg, arguments, data, output);
    struct span rest = buf_span(output), totals;
    if (err == ERR_OK && !gpg_next_status(&rest, "IMPORT_RES", &totals))
        err = log_failure(ERR_ENGINE, "gpg: looking at keys");
    return err;
}

/* A key that a stranger sent must not bring a secret part into the ring. `*keys_out`: how many gpg can read. */
static enum err refuse_secret(struct keyring_gpg *gpg, struct span data, size_t *keys)
{
    struct buf output;
    buf_init(&output, KEY_MAX);
    enum err err = show(gpg, data, &output);
    struct span rest = buf_span(&output), line;
    *keys = 0;
    while (err == ERR_OK && span_take_until(&rest, '\n', &line)) {
        *keys += span_has_prefix(line, SPAN_LIT("pub:"));
        if (span_has_prefix(line, SPAN_LIT("sec")) || span_has_prefix(line, SPAN_LIT("ssb")))
            err = log_failure(ERR_MALFORMED, "a secret key from a stranger");
    }
    buf_fini(&output);
    return err;
}

/* ---- strangers' keys ---- */

static enum err take_trimmed(struct span key, void *context)
{
    return buf_add_span(context, key);
}

enum err gpg_trim(struct span *data, struct buf *trimmed)
{
    const struct key_trim_want want = {.key_max = data->len, .keys_max = SIZE_MAX};
    buf_init(trimmed, data->len + 1);
    if (data->len < TRIM_FROM)
        return ERR_OK;
    enum err err = key_trim(*data, &want, take_trimmed, trimmed);
    *data = buf_span(trimmed);
    return err == ERR_OK && data->len == 0 ? ERR_MALFORMED : err;
}

static enum err import(struct keyring_gpg *gpg, struct span data, const char *const *command,
                       struct keyring_import *result_out)
{
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, command, data, &output);
    struct span rest = buf_span(&output), arguments;
    while (err == ERR_OK && gpg_next_status(&rest, "IMPORT_OK", &arguments))
        note_import(arguments, result_out);
    rest = buf_span(&output);
    if (err == ERR_OK && (!gpg_next_status(&rest, "IMPORT_RES", &arguments) || !note_totals(arguments, result_out)))
        err = log_failure(ERR_ENGINE, "importing keys");
    rest = buf_span(&output);
    if (err == ERR_OK && result_out->considered == 0 && gpg_next_status(&rest, "ERROR", &arguments))
        err = gpg_run_failure(buf_span(&output), "importing keys");
    buf_fini(&output);
    return err;
}

/* "fpr:::::::::FINGERPRINT:" follows the line of each key, and of each subkey. */
enum err keyring_gpg_is_secret_of(struct keyring_gpg *gpg, struct span data, const char *fingerprint, bool *is_it_out)
{
    struct buf output;
    struct span rest, line, field;
    size_t keys = 0, named = 0;
    bool is_next = false;
    buf_init(&output, KEY_MAX);
    enum err err = show(gpg, data, &output);
    rest = buf_span(&output);
    while (err == ERR_OK && span_take_until(&rest, '\n', &line)) {
        const bool is_secret = span_has_prefix(line, SPAN_LIT("sec:"));
        keys += is_secret || span_has_prefix(line, SPAN_LIT("pub:"));
        if (is_next && span_has_prefix(line, SPAN_LIT("fpr:"))) {
            for (int i = 0; i < 10; i++)
                (void)span_take_until(&line, ':', &field);
            named += span_is_equal(field, span_of(fingerprint));
        }
        is_next = is_secret;
    }
    *is_it_out = err == ERR_OK && keys == 1 && named == 1;
    buf_fini(&output);
    return err;
}

enum err keyring_gpg_import(struct keyring_gpg *gpg, struct span data, bool is_from_stranger,
                            struct keyring_import *result_out)
{
    static const char *const ours[] = {"--import", NULL};
    static const char *const strangers[] = {"--import-options", "self-sigs-only,import-clean", "--import", NULL};
    struct buf trimmed;
    size_t readable = 0;
    *result_out = (struct keyring_import){0};
    buf_init(&trimmed, 0);
    enum err err = is_from_stranger ? gpg_trim(&data, &trimmed) : ERR_OK;
    if (err == ERR_OK && is_from_stranger)
        err = refuse_secret(gpg, data, &readable);
    if (err == ERR_OK)
        err = import(gpg, data, is_from_stranger ? strangers : ours, result_out);
    buf_fini(&trimmed);
    /* What it can read and does not come to is not for the key's sake: the ring cannot be written, the disk is full. */
    if (err == ERR_OK && result_out->considered == 0)
        err = readable > 0 ? log_failure(ERR_ENGINE, "importing keys into %s", gpg->home) : ERR_MALFORMED;
    if (err == ERR_OK && result_out->secret_imported > 0)
        err = keyring_gpg_agent_settle(gpg->home, NULL);
    return err;
}

enum err keyring_gpg_merge(struct keyring_gpg *gpg, struct span data, struct keyring_import *result_out)
{
    static const char *const arguments[] = {"--import-options", "merge-only,self-sigs-only,import-clean", "--import",
                                            NULL};
    struct buf trimmed;
    size_t readable;
    *result_out = (struct keyring_import){0};
    enum err err = gpg_trim(&data, &trimmed);
    if (err == ERR_MALFORMED) {
        buf_fini(&trimmed);
        return ERR_OK;
    }
    if (err == ERR_OK)
        err = refuse_secret(gpg, data, &readable);
    if (err == ERR_OK)
        err = import(gpg, data, arguments, result_out);
    buf_fini(&trimmed);
    return err;
}

static enum err export_key(gpgme_ctx_t context, const char *fingerprint, unsigned mode, struct buf *out)
{
    gpgme_data_t data = NULL;
    size_t before = out->len;
    if (!gpg_is_fingerprint(fingerprint))
        return ERR_NOT_FOUND;
    enum err err = keyring_gpg_error(gpgme_data_new(&data), "data");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_op_export(context, fingerprint, mode, data), "exporting a key");
    if (err == ERR_OK)
        err = gpg_data_read(data, out);
    gpgme_data_release(data);
    /* gpg reports success when there was nothing to export. */
    return err == ERR_OK && out->len == before ? ERR_NOT_FOUND : err;
}

enum err keyring_gpg_export(struct keyring_gpg *gpg, const char *fingerprint, bool is_secret, struct buf *out)
{
    return export_key(keyring_gpg_context(gpg), fingerprint, is_secret ? GPGME_EXPORT_MODE_SECRET : 0, out);
}

enum err keyring_gpg_export_minimal(struct keyring_gpg *gpg, const char *fingerprint, struct buf *out)
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    gpgme_set_armor(context, 0);
    return export_key(context, fingerprint, GPGME_EXPORT_MODE_MINIMAL, out);
}

enum err keyring_gpg_delete(struct keyring_gpg *gpg, const char *fingerprint, bool with_secret)
{
    gpgme_key_t key;
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    unsigned flags = GPGME_DELETE_FORCE | (with_secret ? GPGME_DELETE_ALLOW_SECRET : 0u);
    gpgme_error_t error = gpgme_op_delete_ext(keyring_gpg_context(gpg), key, flags);
    gpgme_key_unref(key);
    gpg_forget(gpg);
    /* The secret key is there and `with_secret` is not set. */
    if (gpgme_err_code(error) == GPG_ERR_CONFLICT)
        return log_failure(ERR_REFUSED, "deleting key %s, whose secret part is here", fingerprint);
    return keyring_gpg_error(error, "deleting a key");
}

/* GPGME asks for the passphrase that was given; the agent asks nobody. */
static gpgme_error_t give_passphrase(void *context, const char *hint, const char *info, int was_bad, int fd)
{
    const struct keyring_gpg *gpg = context;
    struct span passphrase = secret_span(gpg->passphrase);
    (void)hint;
    (void)info;
    if (was_bad || gpgme_io_writen(fd, passphrase.ptr, passphrase.len) != 0 || gpgme_io_writen(fd, "\n", 1) != 0)
        return gpgme_error(GPG_ERR_CANCELED);
    return 0;
}

/* Without a self-signature cache, which only an import fills, every verification by this key checks its
   self-signatures again. The secret part stays where it is: in the agent. */
static enum err fill_cache(struct keyring_gpg *gpg, const char *fingerprint)
{
    const char *const arguments[] = {"--expert", "--delete-keys", fingerprint, NULL};
    struct keyring_import result;
    struct buf key, output;
    buf_init(&key, KEY_MAX);
    buf_init(&output, OUTPUT_MAX);
    enum err err = keyring_gpg_export(gpg, fingerprint, false, &key);
    if (err == ERR_OK)
        err = gpg_run(gpg, arguments, SPAN_NONE, &output);
    if (err == ERR_OK)
        err = keyring_gpg_import(gpg, buf_span(&key), false, &result);
    buf_fini(&key);
    buf_fini(&output);
    return err;
}

static enum err create(struct keyring_gpg *gpg, const char *user_id, int64_t expires_s, const struct secret *passphrase,
                       char fingerprint_out[KEYRING_FPR_SIZE])
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    /* A second key of the very same name is made for good reasons: the first is replaced by it. */
    unsigned flags = GPGME_CREATE_FORCE | (expires_s == 0 ? GPGME_CREATE_NOEXPIRE : 0u);
    enum err err = ERR_OK;
    if (passphrase != NULL && passphrase->len == 0)
        flags |= GPGME_CREATE_NOPASSWD;
    if (passphrase != NULL && passphrase->len > 0) {
        gpg->passphrase = passphrase;
        gpgme_set_passphrase_cb(context, give_passphrase, gpg);
        err = keyring_gpg_error(gpgme_set_pinentry_mode(context, GPGME_PINENTRY_MODE_LOOPBACK), "loopback");
    }
    /* gpg 2.2's name for ed25519 with a cv25519 subkey; both under one passphrase, which is asked for once. */
    if (err == ERR_OK)
        err = keyring_gpg_error(
            gpgme_op_createkey(context, user_id, "future-default", 0, (unsigned long)expires_s, NULL, flags),
            "making a key");
    gpg->passphrase = NULL;
    (void)keyring_gpg_context(gpg);
    if (err != ERR_OK)
        return err == ERR_NO_SIGNING_KEY ? ERR_ENGINE : err;
    gpgme_genkey_result_t result = gpgme_op_genkey_result(context);
    if (result == NULL || result->fpr == NULL || !span_copy(span_of(result->fpr), fingerprint_out, KEYRING_FPR_SIZE))
        return ERR_ENGINE;
    return ERR_OK;
}

enum err keyring_gpg_make_key(struct keyring_gpg *gpg, const char *user_id, int64_t expires_s,
                              const struct secret *passphrase, char fingerprint_out[KEYRING_FPR_SIZE])
{
    fingerprint_out[0] = '\0';
    if (expires_s < 0 || *user_id == '\0' || strpbrk(user_id, "\r\n") != NULL)
        return ERR_USAGE;
    enum err err = create(gpg, user_id, expires_s, passphrase, fingerprint_out);
    if (err == ERR_OK)
        err = fill_cache(gpg, fingerprint_out);
    if (err == ERR_OK)
        err = keyring_gpg_own(gpg, fingerprint_out);
    return err;
}

enum err keyring_gpg_check_trust(struct keyring_gpg *gpg)
{
    static const char *const arguments[] = {"--check-trustdb", NULL};
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, SPAN_NONE, &output);
    buf_fini(&output);
    gpg_forget(gpg);
    return err;
}
