/*
 * Saying of others' keys whose they are, withdrawing it, and saying how far their owners are trusted to say so.
 */
#include "keyring/gpg_internal.h"
#include "keyring/gpg_life.h"

#include "base/clock.h"
#include "base/log.h"
#include "mime/utf8.h"

#include <stdio.h>
#include <string.h>

#define OUTPUT_MAX (4u << 20)
#define USER_IDS_MAX 64
#define NAME_SIZE 4096
#define KEY_ID_LEN 16

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

/* Each user ID after "=", by which gpg takes it as it is. */
struct names {
    char texts[USER_IDS_MAX][NAME_SIZE];
    const char *items[USER_IDS_MAX];
    size_t len;
};

/* Whether that is how the index has it. */
static bool is_like(gpgme_user_id_t user_id, const char *name)
{
    char shown[sizeof((struct keyring_entry *)NULL)->user_id];
    mime_utf8_copy_shown(span_of(user_id->uid == NULL ? "" : user_id->uid), shown, sizeof shown);
    return strcmp(shown, name) == 0;
}

static bool is_meant(gpgme_user_id_t user_id, const char *const *names, size_t names_len)
{
    for (size_t i = 0; i < names_len; i++)
        if (is_like(user_id, names[i]))
            return true;
    return names_len == 0;
}

/* Finds what the key calls the user ID that was shown as `shown`. */
static enum err add_name(gpgme_key_t key, const char *shown, struct names *names)
{
    size_t found = 0;
    if (names->len == USER_IDS_MAX)
        return ERR_LIMIT;
    for (gpgme_user_id_t user_id = key->uids; user_id != NULL; user_id = user_id->next) {
        if (user_id->revoked || user_id->invalid || !is_like(user_id, shown))
            continue;
        const int len = snprintf(names->texts[names->len], NAME_SIZE, "=%s", user_id->uid);
        if (len < 0 || len >= NAME_SIZE)
            return ERR_LIMIT;
        found++;
    }
    if (found == 0)
        return log_failure(ERR_NOT_FOUND, "%s has no valid user ID \"%s\" now", key->fpr, shown);
    if (found > 1)
        return log_failure(ERR_REFUSED, "%s has %zu user IDs that look like \"%s\"", key->fpr, found, shown);
    names->items[names->len] = names->texts[names->len];
    names->len++;
    return ERR_OK;
}

static enum err find_names(struct keyring_gpg *gpg, const char *fingerprint, const char *const *user_ids,
                           size_t user_ids_len, struct names *names)
{
    gpgme_key_t key;
    names->len = 0;
    enum err err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; err == ERR_OK && i < user_ids_len; i++)
        err = add_name(key, user_ids[i], names);
    gpgme_key_unref(key);
    return err;
}

/* When one key last certified user IDs, and last withdrew that; -1 is never. */
struct standing {
    int64_t certified, revoked;
    bool counts; /* of some user ID what was certified */
};

/* Of equal times gpg takes the packet that comes later, and it puts revocations before what they revoke. */
static void look_at(gpgme_user_id_t user_id, const char *signer, struct standing *standing)
{
    int64_t certified = -1, revoked = -1;
    for (gpgme_key_sig_t signature = user_id->signatures; signature != NULL; signature = signature->next) {
        if (signature->status != GPG_ERR_NO_ERROR || signature->keyid == NULL ||
            strlen(signature->keyid) != KEY_ID_LEN || !span_has_case_suffix(span_of(signer), span_of(signature->keyid)))
            continue;
        int64_t *latest = signature->revoked ? &revoked : &certified;
        *latest = signature->timestamp > *latest ? signature->timestamp : *latest;
    }
    standing->certified = certified > standing->certified ? certified : standing->certified;
    standing->revoked = revoked > standing->revoked ? revoked : standing->revoked;
    standing->counts = standing->counts || (certified >= 0 && certified >= revoked);
}

static enum err look(struct keyring_gpg *gpg, const char *fingerprint, const char *signer, const char *const *user_ids,
                     size_t user_ids_len, struct standing *standing_out)
{
    gpgme_key_t key;
    *standing_out = (struct standing){.certified = -1, .revoked = -1};
    (void)gpgme_set_keylist_mode(gpg->lister, GPGME_KEYLIST_MODE_LOCAL | GPGME_KEYLIST_MODE_SIGS);
    enum err err = keyring_gpg_error(gpgme_get_key(gpg->lister, fingerprint, &key, 0), "looking at certifications");
    if (err != ERR_OK)
        return err;
    for (gpgme_user_id_t user_id = key->uids; user_id != NULL; user_id = user_id->next)
        if (is_meant(user_id, user_ids, user_ids_len))
            look_at(user_id, signer, standing_out);
    gpgme_key_unref(key);
    return ERR_OK;
}

enum err keyring_gpg_certify_as(struct keyring_gpg *gpg, const char *fingerprint,
                                const struct keyring_gpg_certification *how)
{
    static struct names names;
    char level[2] = {(char)('0' + how->level), '\0'};
    /* The names are the very bytes, whatever the locale. */
    const char *arguments[USER_IDS_MAX + 16] = {"--utf8-strings",
                                                "--local-user",
                                                how->signer,
                                                "--force-sign-key",
                                                "--no-ask-cert-level",
                                                "--default-cert-level",
                                                level,
                                                how->is_exportable ? "--quick-sign-key" : "--quick-lsign-key",
                                                fingerprint};
    struct standing standing;
    gpgme_key_t own;
    /* Without a name gpg would certify all that there are by then. */
    if (how->level > 3 || !gpg_is_fingerprint(how->signer) || how->user_ids_len == 0)
        return ERR_USAGE;
    enum err err = find_names(gpg, fingerprint, how->user_ids, how->user_ids_len, &names);
    if (err == ERR_OK)
        err = keyring_gpg_signer(gpg, how->signer, &own);
    if (err == ERR_OK)
        err = look(gpg, fingerprint, own->fpr, how->user_ids, how->user_ids_len, &standing);
    if (err != ERR_OK)
        return err;
    /* Else gpg would take it for revoked for ever, and for good. */
    if (!clock_wait_after(standing.revoked))
        return log_failure(ERR_REFUSED, "%s was revoked in the future: the clock is wrong", fingerprint);
    memcpy(arguments + 9, names.items, names.len * sizeof *names.items);
    err = run_watched(gpg, arguments, "certifying a key");
    return err == ERR_OK ? keyring_gpg_check_trust(gpg) : err;
}

enum err keyring_gpg_revoke_certification(struct keyring_gpg *gpg, const char *fingerprint, const char *signer,
                                          const char *const *user_ids, size_t user_ids_len)
{
    static struct names names;
    const char *arguments[USER_IDS_MAX + 8] = {"--utf8-strings", "--quick-revoke-sig", fingerprint, signer};
    struct standing standing;
    gpgme_key_t own;
    enum err err = find_names(gpg, fingerprint, user_ids, user_ids_len, &names);
    if (err == ERR_OK)
        err = keyring_gpg_signer(gpg, signer, &own);
    if (err == ERR_OK)
        err = look(gpg, fingerprint, own->fpr, user_ids, user_ids_len, &standing);
    if (err != ERR_OK)
        return err;
    if (standing.counts && !clock_wait_after(standing.certified))
        return log_failure(ERR_REFUSED, "%s was certified in the future: the clock is wrong", fingerprint);
    memcpy(arguments + 4, names.items, names.len * sizeof *names.items);
    err = run_watched(gpg, arguments, "revoking a certification");
    if (err == ERR_OK)
        err = keyring_gpg_signer(gpg, signer, &own);
    if (err == ERR_OK)
        err = look(gpg, fingerprint, own->fpr, user_ids, user_ids_len, &standing);
    if (err == ERR_OK && standing.counts)
        err = log_failure(ERR_REFUSED, "what was certified of %s counts nevertheless", fingerprint);
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
