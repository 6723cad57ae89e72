/*
 * Saying of others' keys whose they are, withdrawing it, and saying how far their owners are trusted to say so.
 */
#include "keyring/gpg_internal.h"
#include "keyring/gpg_life.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define OUTPUT_MAX (4u << 20)
#define USER_IDS_MAX 64
#define NAME_SIZE 2048

/* Runs a command on the key whose success the wrapper tells. */
static enum err run_watched(struct keyring_gpg *gpg, const char *const *arguments, const char *action)
{
    struct buf output;
    struct span rest, nothing;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, SPAN_NONE, &output);
    rest = buf_span(&output);
    if (err == ERR_OK && !gpg_next_status(&rest, "PRIVYSEAL_DONE", &nothing))
        err = gpg_run_failure(buf_span(&output), action);
    buf_fini(&output);
    gpg_forget(gpg);
    return err;
}

/* The names of the key and of the own key; and each user ID after "=", by which gpg takes it as it is. */
struct names {
    char texts[USER_IDS_MAX][NAME_SIZE];
    size_t len;
};

static enum err check_keys(struct keyring_gpg *gpg, const char *fingerprint, const char *signer)
{
    gpgme_key_t key, own;
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    gpgme_key_unref(key);
    return keyring_gpg_signer(gpg, signer, &own);
}

static enum err add_names(const char *const *user_ids, size_t user_ids_len, struct names *names, const char **arguments)
{
    for (size_t i = 0; i < user_ids_len; i++) {
        if (names->len == USER_IDS_MAX)
            return ERR_LIMIT;
        const int len = snprintf(names->texts[names->len], NAME_SIZE, "=%s", user_ids[i]);
        if (len < 0 || len >= NAME_SIZE)
            return ERR_LIMIT;
        arguments[i] = names->texts[names->len++];
    }
    arguments[user_ids_len] = NULL;
    return ERR_OK;
}

enum err keyring_gpg_certify_as(struct keyring_gpg *gpg, const char *fingerprint,
                                const struct keyring_gpg_certification *how)
{
    static struct names names;
    char level[2] = {(char)('0' + how->level), '\0'};
    const char *arguments[USER_IDS_MAX + 16] = {"--local-user",
                                                how->signer,
                                                "--force-sign-key",
                                                "--no-ask-cert-level",
                                                "--default-cert-level",
                                                level,
                                                how->is_exportable ? "--quick-sign-key" : "--quick-lsign-key",
                                                fingerprint};
    names.len = 0;
    if (how->level > 3 || !gpg_is_fingerprint(how->signer))
        return ERR_USAGE;
    enum err err = check_keys(gpg, fingerprint, how->signer);
    if (err == ERR_OK)
        err = add_names(how->user_ids, how->user_ids_len, &names, arguments + 8);
    if (err == ERR_OK)
        err = run_watched(gpg, arguments, "certifying a key");
    return err == ERR_OK ? keyring_gpg_check_trust(gpg) : err;
}

enum err keyring_gpg_revoke_certification(struct keyring_gpg *gpg, const char *fingerprint, const char *signer,
                                          const char *const *user_ids, size_t user_ids_len)
{
    static struct names names;
    const char *arguments[USER_IDS_MAX + 8] = {"--quick-revoke-sig", fingerprint, signer};
    names.len = 0;
    enum err err = check_keys(gpg, fingerprint, signer);
    if (err == ERR_OK)
        err = add_names(user_ids, user_ids_len, &names, arguments + 3);
    if (err == ERR_OK)
        err = run_watched(gpg, arguments, "revoking a certification");
    return err == ERR_OK ? keyring_gpg_check_trust(gpg) : err;
}

enum err keyring_gpg_set_owner(struct keyring_gpg *gpg, const char *fingerprint, enum keyring_wot_trust trust)
{
    /* "Unknown" is what gpg shows of an owner about whom a person decided nothing: it takes no 0. */
    static const unsigned numbers[KEYRING_WOT_TRUST_COUNT] = {2, 2, 3, 4, 5, 6};
    char line[KEYRING_FPR_SIZE + 8];
    gpgme_key_t key;
    if (trust >= KEYRING_WOT_TRUST_COUNT)
        return ERR_USAGE;
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    /* The file takes no short fingerprints. */
    (void)snprintf(line, sizeof line, "%s:%u:\n", key->fpr, numbers[trust]);
    gpgme_key_unref(key);
    err = keyring_gpg_set_ownertrust(gpg, span_of(line));
    if (err == ERR_OK)
        err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    const bool is_set = (unsigned)key->owner_trust == numbers[trust] - 1 || trust <= KEYRING_WOT_UNDEFINED;
    gpgme_key_unref(key);
    return is_set ? ERR_OK : log_failure(ERR_ENGINE, "setting the ownertrust of %s", fingerprint);
}

enum err keyring_gpg_own(struct keyring_gpg *gpg, const char *fingerprint)
{
    return keyring_gpg_set_owner(gpg, fingerprint, KEYRING_WOT_ULTIMATE);
}

enum err keyring_gpg_certify(struct keyring_gpg *gpg, const char *fingerprint, const char *signer)
{
    const struct keyring_gpg_certification how = {.signer = signer};
    return keyring_gpg_certify_as(gpg, fingerprint, &how);
}
