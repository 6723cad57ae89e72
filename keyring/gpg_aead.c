/*
 * Taking AEAD out of an own key's preferences. gpg 2.2 cannot do that: `setpref` copies the features of the signature
 * that it replaces. But it gives a new user ID fresh preferences; so each user ID is taken off and added again. Then
 * the key as it was is imported over the result, which brings back what others certified; of two self-signatures the
 * younger counts. That import also mends the key if a step fails.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"
#include "keyring/key_packets.h"

#include <stdio.h>
#include <string.h>

#define OUTPUT_MAX (4u << 20)
#define KEY_MAX (64u << 20)
#define USER_IDS_MAX 16
/* A key must never be without a user ID; this one is there only in between. */
#define INTERIM_USER_ID "privyseal interim user ID"

static enum err run(struct keyring_gpg *gpg, const char *const *arguments, const char *input)
{
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, span_of(input), &output);
    buf_fini(&output);
    return err;
}

static enum err add_user_id(struct keyring_gpg *gpg, const char *fingerprint, const char *user_id)
{
    const char *const arguments[] = {"--quick-add-uid", fingerprint, user_id, NULL};
    return run(gpg, arguments, "");
}

/* Takes off all valid user IDs that are the interim one, or all that are not. */
static enum err remove_user_ids(struct keyring_gpg *gpg, gpgme_key_t key, bool is_interim)
{
    char select[USER_IDS_MAX][64];
    const char *arguments[USER_IDS_MAX + 7] = {"--command-fd", "0", "--edit-key", key->fpr};
    size_t len = 4, count = 0;
    for (gpgme_user_id_t user_id = key->uids; user_id != NULL; user_id = user_id->next) {
        bool is_this = strcmp(user_id->uid, INTERIM_USER_ID) == 0;
        if (user_id->revoked || user_id->invalid || is_this != is_interim || user_id->uidhash == NULL)
            continue;
        if (count == USER_IDS_MAX)
            return ERR_LIMIT;
        (void)snprintf(select[count], sizeof *select, "uid %.50s", user_id->uidhash);
        arguments[len++] = select[count++];
    }
    arguments[len++] = "deluid";
    arguments[len++] = "save";
    arguments[len] = NULL;
    return count == 0 ? ERR_OK : run(gpg, arguments, "y\n");
}

static enum err renew(struct keyring_gpg *gpg, gpgme_key_t key)
{
    gpgme_key_t changed = NULL;
    enum err err = add_user_id(gpg, key->fpr, INTERIM_USER_ID);
    if (err == ERR_OK)
        err = remove_user_ids(gpg, key, false);
    for (gpgme_user_id_t user_id = key->uids; err == ERR_OK && user_id != NULL; user_id = user_id->next)
        if (!user_id->revoked && !user_id->invalid)
            err = add_user_id(gpg, key->fpr, user_id->uid);
    if (gpg_find(gpg, key->fpr, false, &changed) == ERR_OK) {
        enum err removal = remove_user_ids(gpg, changed, true);
        err = err == ERR_OK ? removal : err;
        gpgme_key_unref(changed);
    }
    return err;
}

static enum err note_aead(const struct key_packets_key *key, void *context)
{
    *(bool *)context = *(bool *)context || key->has_aead;
    return ERR_OK;
}

static enum err has_aead(struct keyring_gpg *gpg, const char *fingerprint, bool *has_aead_out)
{
    struct buf key;
    *has_aead_out = false;
    buf_init(&key, KEY_MAX);
    enum err err = keyring_gpg_export_minimal(gpg, fingerprint, &key);
    if (err == ERR_OK)
        err = key_packets_walk(buf_span(&key), note_aead, has_aead_out);
    buf_fini(&key);
    return err;
}

/* The user ID that was the main one becomes it again; the youngest would be it otherwise. */
static enum err restore_primary(struct keyring_gpg *gpg, gpgme_key_t key)
{
    if (key->uids == NULL || key->uids->next == NULL)
        return ERR_OK;
    const char *const arguments[] = {"--quick-set-primary-uid", key->fpr, key->uids->uid, NULL};
    return run(gpg, arguments, "");
}

static enum err renew_and_mend(struct keyring_gpg *gpg, gpgme_key_t key)
{
    struct keyring_import result;
    struct buf before;
    buf_init(&before, KEY_MAX);
    enum err err = keyring_gpg_export(gpg, key->fpr, false, &before);
    if (err == ERR_OK) {
        err = renew(gpg, key);
        enum err mending = keyring_gpg_import(gpg, buf_span(&before), false, &result);
        err = err == ERR_OK ? mending : err;
    }
    buf_fini(&before);
    return err == ERR_OK ? restore_primary(gpg, key) : err;
}

enum err keyring_gpg_drop_aead(struct keyring_gpg *gpg, const char *fingerprint)
{
    gpgme_key_t key;
    bool is_aead = false;
    enum err err = gpg_find(gpg, fingerprint, true, &key);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_NO_SIGNING_KEY : err;
    err = has_aead(gpg, key->fpr, &is_aead);
    if (err == ERR_OK && is_aead) {
        err = renew_and_mend(gpg, key);
        if (err == ERR_OK)
            err = has_aead(gpg, key->fpr, &is_aead);
        if (err == ERR_OK && is_aead)
            err = log_failure(ERR_ENGINE, "taking AEAD out of the preferences of %s", fingerprint);
    }
    gpgme_key_unref(key);
    gpg_forget(gpg);
    return err;
}
