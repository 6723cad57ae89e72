/*
 * The graph: filling it, and looking at it.
 */
#include "keyring/wot_internal.h"

#include <stdlib.h>
#include <string.h>

const struct keyring_wot_options keyring_wot_defaults = {
    .marginals_needed = 3, .completes_needed = 1, .depth_max = 5, .level_min = 2};

static const char *const trust_names[KEYRING_WOT_TRUST_COUNT] = {
    [KEYRING_WOT_UNKNOWN] = "unknown",   [KEYRING_WOT_UNDEFINED] = "undefined", [KEYRING_WOT_NEVER] = "never",
    [KEYRING_WOT_MARGINAL] = "marginal", [KEYRING_WOT_FULL] = "full",           [KEYRING_WOT_ULTIMATE] = "ultimate"};

const char *keyring_wot_trust_name(enum keyring_wot_trust trust)
{
    return trust < KEYRING_WOT_TRUST_COUNT ? trust_names[trust] : "unknown";
}

enum err keyring_wot_trust_parse(const char *name, enum keyring_wot_trust *trust_out)
{
    for (size_t i = 0; i < KEYRING_WOT_TRUST_COUNT; i++)
        if (strcmp(trust_names[i], name) == 0) {
            *trust_out = (enum keyring_wot_trust)i;
            return ERR_OK;
        }
    return ERR_USAGE;
}

const char *keyring_wot_state_text(enum keyring_wot_state state)
{
    switch (state) {
    case KEYRING_WOT_COUNTED:
        return "counted";
    case KEYRING_WOT_SPARE:
        return "not needed";
    case KEYRING_WOT_WITHOUT_WORD:
        return "its maker's word does not count";
    case KEYRING_WOT_UNCHECKED:
        return "its maker did not check the user ID";
    case KEYRING_WOT_OUT_OF_SCOPE:
        return "its maker is trusted for other domains";
    case KEYRING_WOT_SUPERSEDED:
        return "superseded";
    case KEYRING_WOT_EXPIRED:
        return "expired";
    case KEYRING_WOT_REVOKED:
        return "revoked";
    case KEYRING_WOT_MISSING:
        break;
    }
    return "its maker's key is not here";
}

enum err keyring_wot_new(const struct keyring_wot_options *options, struct keyring_wot **wot_out)
{
    struct keyring_wot *wot = calloc(1, sizeof *wot);
    *wot_out = wot;
    if (wot == NULL)
        return ERR_MEMORY;
    wot->options = options == NULL ? keyring_wot_defaults : *options;
    return ERR_OK;
}

void keyring_wot_free(struct keyring_wot **wot)
{
    if (*wot == NULL)
        return;
    for (size_t i = 0; i < (*wot)->user_ids_len; i++)
        free((void *)(uintptr_t)(*wot)->user_ids[i].text);
    for (size_t i = 0; i < (*wot)->certifications_len; i++)
        free((void *)(uintptr_t)(*wot)->certifications[i].domain);
    free((*wot)->keys);
    free((*wot)->user_ids);
    free((*wot)->certifications);
    free(*wot);
    *wot = NULL;
}

void keyring_wot_set_strangers(struct keyring_wot *wot, size_t key, size_t count)
{
    wot->keys[key].strangers = count;
}

void keyring_wot_leave_out(struct keyring_wot *wot, size_t count)
{
    wot->left_out += count;
}

/* Room for one more in `*list`, of `size` bytes each. */
static enum err grow(struct keyring_wot *wot, void **list, size_t len, size_t *capacity, size_t len_max, size_t size)
{
    if (len >= len_max) {
        wot->left_out++;
        return ERR_LIMIT;
    }
    if (len < *capacity)
        return ERR_OK;
    size_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(*list, wanted * size);
    if (grown == NULL)
        return ERR_MEMORY;
    *list = grown;
    *capacity = wanted;
    return ERR_OK;
}

enum err keyring_wot_add_key(struct keyring_wot *wot, const struct keyring_wot_key *key)
{
    void *list = wot->keys;
    enum err err = grow(wot, &list, wot->keys_len, &wot->keys_capacity, KEYRING_WOT_KEYS_MAX, sizeof *key);
    wot->keys = list;
    if (err != ERR_OK)
        return err;
    struct keyring_wot_key *added = &wot->keys[wot->keys_len++];
    *added = *key;
    added->user_ids_first = wot->user_ids_len;
    added->user_ids_len = 0;
    added->word = KEYRING_WOT_UNKNOWN;
    added->round = -1;
    return ERR_OK;
}

enum err keyring_wot_add_user_id(struct keyring_wot *wot, const struct keyring_wot_user_id *user_id)
{
    if (wot->keys_len == 0)
        return ERR_INTERNAL;
    void *list = wot->user_ids;
    enum err err =
        grow(wot, &list, wot->user_ids_len, &wot->user_ids_capacity, KEYRING_WOT_USER_IDS_MAX, sizeof *user_id);
    wot->user_ids = list;
    char *text = err == ERR_OK ? strdup(user_id->text) : NULL;
    if (text == NULL)
        return err == ERR_OK ? ERR_MEMORY : err;
    struct keyring_wot_user_id *added = &wot->user_ids[wot->user_ids_len++];
    *added = *user_id;
    added->text = text;
    added->key = wot->keys_len - 1;
    added->certifications_first = wot->certifications_len;
    added->certifications_len = 0;
    added->validity = KEYRING_WOT_UNKNOWN;
    added->completes = added->marginals = 0;
    added->round = -1;
    wot->keys[wot->keys_len - 1].user_ids_len++;
    return ERR_OK;
}

enum err keyring_wot_add_certification(struct keyring_wot *wot, const struct keyring_wot_certification *certification)
{
    if (wot->keys_len == 0 || wot->keys[wot->keys_len - 1].user_ids_len == 0)
        return ERR_INTERNAL;
    void *list = wot->certifications;
    enum err err = grow(wot, &list, wot->certifications_len, &wot->certifications_capacity,
                        KEYRING_WOT_CERTIFICATIONS_MAX, sizeof *certification);
    wot->certifications = list;
    char *domain = err == ERR_OK && certification->domain != NULL ? strdup(certification->domain) : NULL;
    if (err == ERR_OK && certification->domain != NULL && domain == NULL)
        err = ERR_MEMORY;
    if (err != ERR_OK)
        return err;
    struct keyring_wot_certification *added = &wot->certifications[wot->certifications_len++];
    *added = *certification;
    added->domain = domain;
    added->user_id = wot->user_ids_len - 1;
    added->signer = KEYRING_WOT_NONE;
    added->state = KEYRING_WOT_MISSING;
    added->round = -1;
    wot->user_ids[wot->user_ids_len - 1].certifications_len++;
    return ERR_OK;
}

uint64_t wot_key_id(const char *fingerprint)
{
    size_t len = strlen(fingerprint);
    uint64_t id = 0;
    for (size_t i = len > 16 ? len - 16 : 0; i < len; i++) {
        const char lower = span_lower(fingerprint[i]);
        id = id << 4 | (uint64_t)(lower >= 'a' ? lower - 'a' + 10 : lower - '0');
    }
    return id;
}

size_t keyring_wot_keys_len(const struct keyring_wot *wot)
{
    return wot->keys_len;
}

size_t keyring_wot_certifications_len(const struct keyring_wot *wot)
{
    return wot->certifications_len;
}

const struct keyring_wot_key *keyring_wot_key(const struct keyring_wot *wot, size_t index)
{
    return &wot->keys[index];
}

const struct keyring_wot_user_id *keyring_wot_user_id(const struct keyring_wot *wot, size_t index)
{
    return &wot->user_ids[index];
}

const struct keyring_wot_certification *keyring_wot_certification(const struct keyring_wot *wot, size_t index)
{
    return &wot->certifications[index];
}

size_t keyring_wot_find(const struct keyring_wot *wot, const char *fingerprint)
{
    for (size_t i = 0; i < wot->keys_len; i++)
        if (strcmp(wot->keys[i].fingerprint, fingerprint) == 0)
            return i;
    return KEYRING_WOT_NONE;
}

size_t keyring_wot_left_out(const struct keyring_wot *wot)
{
    return wot->left_out;
}

bool keyring_wot_is_key_dead(const struct keyring_wot *wot, size_t key)
{
    const struct keyring_wot_key *it = &wot->keys[key];
    return it->is_revoked || (it->expires != 0 && it->expires <= wot->now);
}

bool keyring_wot_is_dead(const struct keyring_wot *wot, size_t user_id)
{
    const struct keyring_wot_user_id *it = &wot->user_ids[user_id];
    return it->is_revoked || (it->expires != 0 && it->expires <= wot->now) || keyring_wot_is_key_dead(wot, it->key);
}
