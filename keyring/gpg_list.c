/*
 * The ring as an index.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"
#include "keyring/key_packets.h"
#include "mime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_KEYS_MAX 4096
#define OWN_EXPORT_MAX (64u << 20)

/* The fingerprints of the own keys that ask for AEAD. */
struct aead_list {
    char (*fingerprints)[KEYRING_FPR_SIZE];
    size_t len;
};

static enum err note_aead(const struct key_packets_key *key, void *context)
{
    struct aead_list *list = context;
    if (!key->has_aead || list->len >= OWN_KEYS_MAX)
        return ERR_OK;
    char(*grown)[KEYRING_FPR_SIZE] = reallocarray(list->fingerprints, list->len + 1, sizeof *grown);
    if (grown == NULL)
        return ERR_MEMORY;
    list->fingerprints = grown;
    memcpy(grown[list->len++], key->fingerprint, KEYRING_FPR_SIZE);
    return ERR_OK;
}

/* Exports all own keys at once: a call per key would cost two forks each. */
static enum err find_aead(struct keyring_gpg *gpg, const gpgme_key_t *own, size_t own_len, struct aead_list *list)
{
    if (own_len == 0)
        return ERR_OK;
    const char **patterns = calloc(own_len + 1, sizeof *patterns);
    if (patterns == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < own_len; i++)
        patterns[i] = own[i]->fpr;
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    gpgme_set_armor(context, 0);
    gpgme_data_t data = NULL;
    struct buf packets;
    buf_init(&packets, OWN_EXPORT_MAX);
    enum err err = keyring_gpg_error(gpgme_data_new(&data), "data");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_op_export_ext(context, patterns, GPGME_EXPORT_MODE_MINIMAL, data), "export");
    if (err == ERR_OK)
        err = gpg_data_read(data, &packets);
    if (err == ERR_OK)
        err = key_packets_walk(buf_span(&packets), note_aead, list);
    /* A key of a kind that is not understood must not hide the others. */
    if (err == ERR_MALFORMED) {
        log_warning("the preferences of some own keys could not be read");
        err = ERR_OK;
    }
    gpgme_data_release(data);
    buf_fini(&packets);
    free(patterns);
    return err;
}

/* The later of two expiry times, where -1 is "none yet" and 0 "never". */
static int64_t later(int64_t a, int64_t b)
{
    if (a < 0 || b == 0)
        return b;
    return a == 0 || a > b ? a : b;
}

static void note_subkeys(gpgme_key_t key, struct keyring_entry *entry)
{
    entry->encrypt_until = entry->sign_until = -1;
    for (gpgme_subkey_t subkey = key->subkeys; subkey != NULL; subkey = subkey->next) {
        /* Those of a revoked key are all listed as revoked: what it was good for is known all the same, since it is not
           left for plain text (keyring_withdrawn). */
        if ((subkey->revoked && !key->revoked) || subkey->disabled || subkey->invalid)
            continue;
        if (subkey->can_encrypt)
            entry->encrypt_until = later(entry->encrypt_until, subkey->expires);
        /* Of an own key only what can be signed with here counts. */
        if (subkey->can_sign && (subkey->secret || !entry->has_secret))
            entry->sign_until = later(entry->sign_until, subkey->expires);
    }
}

static void name_algorithm(gpgme_key_t key, struct keyring_entry *entry)
{
    char *first = gpgme_pubkey_algo_string(key->subkeys), *second = NULL;
    for (gpgme_subkey_t subkey = key->subkeys->next; subkey != NULL && second == NULL; subkey = subkey->next)
        if (subkey->can_encrypt && !subkey->revoked)
            second = gpgme_pubkey_algo_string(subkey);
    bool is_mixed = first != NULL && second != NULL && strcmp(first, second) != 0;
    (void)snprintf(entry->algorithm, sizeof entry->algorithm, "%.11s%s%.11s", first == NULL ? "unknown" : first,
                   is_mixed ? "/" : "", is_mixed ? second : "");
    gpgme_free(first);
    gpgme_free(second);
}

static enum keyring_trust trust_of(gpgme_key_t key, gpgme_user_id_t user_id)
{
    if (user_id->revoked || user_id->invalid)
        return KEYRING_UNVERIFIED;
    if (key->secret && key->owner_trust == GPGME_VALIDITY_ULTIMATE)
        return KEYRING_OWN;
    switch (user_id->validity) {
    case GPGME_VALIDITY_ULTIMATE:
    case GPGME_VALIDITY_FULL:
        return KEYRING_FULL;
    case GPGME_VALIDITY_MARGINAL:
        return KEYRING_MARGINAL;
    case GPGME_VALIDITY_NEVER:
        return KEYRING_NEVER;
    case GPGME_VALIDITY_UNKNOWN:
    case GPGME_VALIDITY_UNDEFINED:
        break;
    }
    return KEYRING_UNVERIFIED;
}

/* "<a@x> <b@y>": which of the two whoever certified it had in mind nobody can tell. */
static bool has_two_addresses(const char *user_id)
{
    const char *first = user_id == NULL ? NULL : strchr(user_id, '<');
    return first != NULL && strchr(first + 1, '<') != NULL;
}

/* GPGME shows a NUL so. What stands before it and what behind it is read by some and not by others. */
static bool has_nul(const char *user_id)
{
    return user_id != NULL && strstr(user_id, "\\0") != NULL;
}

bool gpg_address(gpgme_user_id_t user_id, char address_out[MIME_ADDR_SIZE])
{
    const char *address = user_id->email != NULL && *user_id->email != '\0' ? user_id->email : user_id->address;
    address_out[0] = '\0';
    return address != NULL && !has_two_addresses(user_id->uid) && !has_nul(user_id->uid) &&
           mime_addr_normalise(span_of(address), address_out) == ERR_OK;
}

static enum err add_user_id(gpgme_key_t key, gpgme_user_id_t user_id, struct keyring_entry *entry,
                            struct keyring *keyring)
{
    if (!gpg_address(user_id, entry->address))
        entry->address[0] = '\0';
    mime_utf8_copy_shown(span_of(user_id->uid == NULL ? "" : user_id->uid), entry->user_id, sizeof entry->user_id);
    entry->trust = trust_of(key, user_id);
    entry->is_primary_uid = user_id == key->uids;
    /* An invalid one has no self-signature: as good as withdrawn. */
    entry->is_revoked = key->revoked || user_id->revoked || user_id->invalid;
    return keyring_add(keyring, entry);
}

static bool has_aead(const struct aead_list *list, const char *fingerprint)
{
    for (size_t i = 0; i < list->len; i++)
        if (strcmp(list->fingerprints[i], fingerprint) == 0)
            return true;
    return false;
}

static enum err add_key(gpgme_key_t key, const struct aead_list *list, struct keyring *keyring)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP};
    if (key->subkeys == NULL || key->fpr == NULL || !span_copy(span_of(key->fpr), entry.fingerprint, KEYRING_FPR_SIZE))
        return ERR_OK;
    entry.has_secret = key->secret;
    entry.is_disabled = key->disabled;
    entry.created = key->subkeys->timestamp;
    entry.expires = key->subkeys->expires;
    entry.has_aead = has_aead(list, entry.fingerprint);
    note_subkeys(key, &entry);
    name_algorithm(key, &entry);
    enum err err = ERR_OK;
    for (gpgme_user_id_t user_id = key->uids; err == ERR_OK && user_id != NULL; user_id = user_id->next)
        err = add_user_id(key, user_id, &entry, keyring);
    return err;
}

/* Hears the wrapper say that gpg came to its end (crypto/gpg_wrapper.c). */
static gpgme_error_t hear_listed(void *context, const char *keyword, const char *arguments)
{
    bool *is_whole = context;
    (void)arguments;
    if (strcmp(keyword, "PRIVYSEAL_DONE") == 0)
        *is_whole = true;
    return 0;
}

/* Adds the keys of others as they come; own ones are kept for later, since their preferences must be read first. */
static enum err walk(struct keyring_gpg *gpg, struct keyring *keyring, gpgme_key_t *own, size_t *own_len)
{
    gpgme_key_t key;
    struct aead_list nothing = {NULL, 0};
    bool is_whole = false;
    gpgme_set_status_cb(gpg->lister, hear_listed, &is_whole);
    (void)gpgme_set_keylist_mode(gpg->lister, GPGME_KEYLIST_MODE_LOCAL | GPGME_KEYLIST_MODE_WITH_SECRET);
    enum err err = keyring_gpg_error(gpgme_op_keylist_start(gpg->lister, NULL, 0), "listing keys");
    if (err != ERR_OK) {
        gpgme_set_status_cb(gpg->lister, NULL, NULL);
        return err;
    }
    gpgme_error_t error = 0;
    while (err == ERR_OK && (error = gpgme_op_keylist_next(gpg->lister, &key)) == 0) {
        if (key->secret && *own_len < OWN_KEYS_MAX) {
            own[(*own_len)++] = key;
            continue;
        }
        err = add_key(key, &nothing, keyring);
        gpgme_key_unref(key);
    }
    (void)gpgme_op_keylist_end(gpg->lister);
    gpgme_set_status_cb(gpg->lister, NULL, NULL);
    if (err == ERR_OK && gpgme_err_code(error) != GPG_ERR_EOF)
        err = keyring_gpg_error(error, "listing keys");
    if (err == ERR_OK && !is_whole) {
        log_error("gpg did not list the whole ring of %s", gpg->home);
        err = ERR_ENGINE;
    }
    return err;
}

enum err keyring_gpg_list(struct keyring_gpg *gpg, struct keyring *keyring)
{
    struct aead_list list = {NULL, 0};
    size_t own_len = 0;
    gpgme_key_t *own = calloc(OWN_KEYS_MAX, sizeof *own);
    if (own == NULL)
        return ERR_MEMORY;
    enum err err = walk(gpg, keyring, own, &own_len);
    if (err == ERR_OK)
        err = find_aead(gpg, own, own_len, &list);
    for (size_t i = 0; i < own_len; i++) {
        if (err == ERR_OK)
            err = add_key(own[i], &list, keyring);
        gpgme_key_unref(own[i]);
    }
    free(own);
    free(list.fingerprints);
    return err;
}

enum err keyring_gpg_peek(struct keyring_gpg *gpg, struct span bytes, struct keyring *keyring)
{
    const struct aead_list nothing = {NULL, 0};
    gpgme_data_t data = NULL;
    gpgme_key_t key = NULL;
    size_t keys_len = 0;
    enum err err = gpg_data_of(bytes, &data);
    if (err != ERR_OK)
        return err;
    gpgme_error_t error = gpgme_op_keylist_from_data_start(gpg->lister, data, 0);
    while (err == ERR_OK && error == 0 && (error = gpgme_op_keylist_next(gpg->lister, &key)) == 0) {
        keys_len++;
        err = add_key(key, &nothing, keyring);
        gpgme_key_unref(key);
    }
    (void)gpgme_op_keylist_end(gpg->lister);
    gpgme_data_release(data);
    return err == ERR_OK && (gpgme_err_code(error) != GPG_ERR_EOF || keys_len == 0) ? ERR_MALFORMED : err;
}
