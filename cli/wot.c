#include "cli/wot.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

enum err cli_wot_open(const struct cli *cli, struct keyring_wot **wot_out)
{
    enum err err = keyring_gpg_wot(cli->gpg, cli->keyring, wot_out);
    if (!err)
        err = keyring_wot_judge(*wot_out, clock_now());
    if (err)
        (void)cli_fail(cli, err, "reading the web of trust of %s", cli->account->gnupghome);
    if (err)
        keyring_wot_free(wot_out);
    return err;
}

/* What stands between the angle brackets; else the whole. */
static void name_of(const char *user_id, char name_out[CLI_WOT_NAME_SIZE])
{
    const char *first = strrchr(user_id, '<'), *last = first ? strchr(first, '>') : NULL;
    const bool is_address = first && last && last > first + 1 && last - first < CLI_WOT_NAME_SIZE;
    if (is_address)
        snprintf(name_out, CLI_WOT_NAME_SIZE, "%.*s", (int)(last - first - 1), first + 1);
    else
        snprintf(name_out, CLI_WOT_NAME_SIZE, "%.300s", user_id);
}

/* The more valid one, and the living one. */
static bool is_better(const struct keyring_wot *wot, size_t a, size_t b)
{
    const bool is_dead = keyring_wot_is_dead(wot, a), is_other_dead = keyring_wot_is_dead(wot, b);
    if (is_dead != is_other_dead)
        return is_other_dead;
    return keyring_wot_user_id(wot, a)->validity > keyring_wot_user_id(wot, b)->validity;
}

void cli_wot_name(const struct keyring_wot *wot, size_t key, char name_out[CLI_WOT_NAME_SIZE])
{
    const struct keyring_wot_key *it = keyring_wot_key(wot, key);
    size_t chosen = KEYRING_WOT_NONE;
    for (size_t i = it->user_ids_first; i < it->user_ids_first + it->user_ids_len; i++)
        if (!keyring_wot_user_id(wot, i)->is_attribute && (chosen == KEYRING_WOT_NONE || is_better(wot, i, chosen)))
            chosen = i;
    const size_t len = strlen(it->fingerprint);
    if (chosen == KEYRING_WOT_NONE)
        snprintf(name_out, CLI_WOT_NAME_SIZE, "%s", it->fingerprint + (len > 16 ? len - 16 : 0));
    else
        name_of(keyring_wot_user_id(wot, chosen)->text, name_out);
}

static const char *role_of(const struct keyring_wot_key *key)
{
    if (key->round < 0)
        return key->ownertrust == KEYRING_WOT_ULTIMATE ? "ultimate, but expired" : "not reached by your web of trust";
    switch (key->word) {
    case KEYRING_WOT_ULTIMATE:
        return "you";
    case KEYRING_WOT_FULL:
        return "trusted fully";
    case KEYRING_WOT_MARGINAL:
        return "trusted marginally";
    case KEYRING_WOT_NEVER:
        return "never trusted";
    case KEYRING_WOT_UNKNOWN:
    case KEYRING_WOT_UNDEFINED:
    case KEYRING_WOT_TRUST_COUNT:
        break;
    }
    return "no ownertrust";
}

void cli_wot_line(const struct keyring_wot *wot, size_t certification, char line_out[CLI_WOT_LINE_SIZE])
{
    const struct keyring_wot_certification *it = keyring_wot_certification(wot, certification);
    char signer[CLI_WOT_NAME_SIZE], signed_one[CLI_WOT_NAME_SIZE], made[CLI_DATE_SIZE], until[CLI_DATE_SIZE];
    char level[24] = "", expiry[CLI_DATE_SIZE + 16] = "", introducer[200] = "";
    cli_wot_name(wot, it->signer, signer);
    name_of(keyring_wot_user_id(wot, it->user_id)->text, signed_one);
    cli_date(it->made, made);
    cli_date(it->expires, until);
    if (it->level)
        snprintf(level, sizeof level, ", level %u", it->level);
    if (it->expires)
        snprintf(expiry, sizeof expiry, ", until %s", until);
    if (it->depth)
        snprintf(introducer, sizeof introducer, ", as introducer of depth %u%s%.120s", it->depth,
                 it->domain ? " for " : "", it->domain ? it->domain : "");
    snprintf(line_out, CLI_WOT_LINE_SIZE, "%s (%s) signed %s%s%s%s%s → %s", signer,
             role_of(keyring_wot_key(wot, it->signer)), made, level, expiry, it->is_local ? ", locally" : "",
             introducer, signed_one);
}

const char *cli_wot_validity(const struct keyring_wot *wot, size_t user_id)
{
    const struct keyring_wot_user_id *it = keyring_wot_user_id(wot, user_id);
    if (it->is_revoked || keyring_wot_key(wot, it->key)->is_revoked)
        return "revoked";
    return keyring_wot_is_dead(wot, user_id) ? "expired" : keyring_wot_trust_name(it->validity);
}

/* An index's entry has the user ID cut, and made harmless; so the address decides where the text does not. */
size_t cli_wot_find(const struct keyring_wot *wot, const struct keyring_entry *entry)
{
    const size_t key = keyring_wot_find(wot, entry->fingerprint);
    size_t found = KEYRING_WOT_NONE;
    if (key == KEYRING_WOT_NONE)
        return found;
    const struct keyring_wot_key *it = keyring_wot_key(wot, key);
    for (size_t i = it->user_ids_first; i < it->user_ids_first + it->user_ids_len; i++) {
        const char *text = keyring_wot_user_id(wot, i)->text;
        char name[CLI_WOT_NAME_SIZE], address[MIME_ADDR_SIZE];
        if (strcmp(text, entry->user_id) == 0)
            return i;
        name_of(text, name);
        if (found == KEYRING_WOT_NONE && entry->address[0] && !mime_addr_normalise(span_of(name), address) &&
            strcmp(address, entry->address) == 0)
            found = i;
    }
    return found;
}

static enum err add_line(struct table *table, const char *name, const char *value)
{
    const char *const cells[] = {name, value};
    return table_add(table, cells);
}

/* Certifications that would count if their makers' word did. */
static enum err add_unheard(const struct keyring_wot *wot, const struct keyring_wot_user_id *user_id,
                            struct table *table)
{
    char line[CLI_WOT_LINE_SIZE], text[CLI_WOT_LINE_SIZE + 80];
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < user_id->certifications_len && i < KEYRING_WOT_PATH_MAX; i++) {
        const size_t at = user_id->certifications_first + i;
        const struct keyring_wot_certification *it = keyring_wot_certification(wot, at);
        if (it->state == KEYRING_WOT_COUNTED || it->state == KEYRING_WOT_SUPERSEDED || it->state == KEYRING_WOT_SPARE ||
            it->state == KEYRING_WOT_MISSING || it->is_revocation)
            continue;
        cli_wot_line(wot, at, line);
        const bool is_fit = keyring_wot_key(wot, it->signer)->round >= 0 && it->state == KEYRING_WOT_WITHOUT_WORD;
        snprintf(text, sizeof text, "%s; does not count: %s", line,
                 is_fit ? "see `privyseal key trust`" : keyring_wot_state_text(it->state));
        err = add_line(table, "certified", text);
    }
    return err;
}

static enum err add_left_out(const struct keyring_wot *wot, const struct keyring_wot_user_id *user_id,
                             struct table *table)
{
    const size_t strangers = keyring_wot_key(wot, user_id->key)->strangers, left_out = keyring_wot_left_out(wot);
    char text[160];
    enum err err = ERR_OK;
    if (strangers) {
        snprintf(text, sizeof text, "by %zu %s not here: nobody can say whose they are", strangers,
                 strangers == 1 ? "key that is" : "keys that are");
        err = add_line(table, "certified", text);
    }
    if (err || !left_out)
        return err;
    snprintf(text, sizeof text, "%zu certifications of the ring were not looked at: there are too many", left_out);
    return add_line(table, "left out", text);
}

enum err cli_wot_add_path(const struct keyring_wot *wot, size_t user_id, struct table *table)
{
    const struct keyring_wot_user_id *it = keyring_wot_user_id(wot, user_id);
    struct keyring_wot_path path;
    char line[CLI_WOT_LINE_SIZE];
    enum err err = keyring_wot_path(wot, user_id, &path);
    for (size_t i = 0; !err && i < path.len; i++) {
        cli_wot_line(wot, path.certifications[i], line);
        err = add_line(table, i == 0 ? "path" : "", line);
    }
    if (!err && path.is_cut)
        err = add_line(table, "", "... and more");
    if (!err && it->validity < KEYRING_WOT_FULL)
        err = add_unheard(wot, it, table);
    return err ? err : add_left_out(wot, it, table);
}

static json_t *certification_json(const struct keyring_wot *wot, size_t index)
{
    const struct keyring_wot_certification *it = keyring_wot_certification(wot, index);
    const struct keyring_wot_user_id *user_id = keyring_wot_user_id(wot, it->user_id);
    const bool is_here = it->signer != KEYRING_WOT_NONE;
    char name[CLI_WOT_NAME_SIZE] = "";
    if (is_here)
        cli_wot_name(wot, it->signer, name);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:b, s:b, s:i, s:i, s:s*, s:s}", "signer",
                     is_here ? keyring_wot_key(wot, it->signer)->fingerprint : it->fingerprint, "name", name, "word",
                     is_here ? keyring_wot_trust_name(keyring_wot_key(wot, it->signer)->word) : "unknown", "key",
                     keyring_wot_key(wot, user_id->key)->fingerprint, "user_id", user_id->text, "level", (int)it->level,
                     "made", (json_int_t)it->made, "expires", (json_int_t)it->expires, "local", it->is_local,
                     "revocation", it->is_revocation, "depth", (int)it->depth, "amount", (int)it->amount, "domain",
                     it->domain, "state", keyring_wot_state_text(it->state));
}

json_t *cli_wot_path_json(const struct keyring_wot *wot, size_t user_id)
{
    struct keyring_wot_path path;
    json_t *list = keyring_wot_path(wot, user_id, &path) ? NULL : json_array();
    for (size_t i = 0; list && i < path.len; i++)
        (void)json_array_append_new(list, certification_json(wot, path.certifications[i]));
    return list;
}

static json_t *user_id_json(const struct keyring_wot *wot, size_t index)
{
    const struct keyring_wot_user_id *it = keyring_wot_user_id(wot, index);
    json_t *certifications = json_array();
    for (size_t i = 0; i < it->certifications_len; i++)
        (void)json_array_append_new(certifications, certification_json(wot, it->certifications_first + i));
    return json_pack("{s:s, s:s, s:i, s:i, s:o, s:o}", "user_id", it->text, "validity", cli_wot_validity(wot, index),
                     "completes", (int)it->completes, "marginals", (int)it->marginals, "path",
                     cli_wot_path_json(wot, index), "certifications", certifications);
}

json_t *cli_wot_key_json(const struct keyring_wot *wot, size_t key)
{
    const struct keyring_wot_key *it = keyring_wot_key(wot, key);
    json_t *user_ids = json_array();
    for (size_t i = 0; i < it->user_ids_len; i++)
        (void)json_array_append_new(user_ids, user_id_json(wot, it->user_ids_first + i));
    return json_pack("{s:s, s:s, s:s, s:I, s:o}", "fingerprint", it->fingerprint, "ownertrust",
                     keyring_wot_trust_name(it->ownertrust), "word", keyring_wot_trust_name(it->word), "strangers",
                     (json_int_t)it->strangers, "user_ids", user_ids);
}

/* An own key needs nobody's word, and a certificate has a chain. */
static bool has_web(const struct keyring_entry *entry)
{
    return entry->format == KEYRING_OPENPGP && entry->trust != KEYRING_OWN;
}

enum err cli_wot_add_entry(const struct cli *cli, const struct keyring_entry *entry, struct table *table)
{
    struct keyring_wot *wot;
    enum err err = has_web(entry) ? cli_wot_open(cli, &wot) : ERR_NOT_FOUND;
    if (err)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    const size_t user_id = cli_wot_find(wot, entry);
    if (user_id != KEYRING_WOT_NONE)
        err = cli_wot_add_path(wot, user_id, table);
    keyring_wot_free(&wot);
    return err;
}

json_t *cli_wot_entry_json(const struct cli *cli, const struct keyring_entry *entry)
{
    struct keyring_wot *wot;
    if (!has_web(entry) || cli_wot_open(cli, &wot))
        return json_array();
    const size_t user_id = cli_wot_find(wot, entry);
    json_t *path = user_id == KEYRING_WOT_NONE ? json_array() : cli_wot_path_json(wot, user_id);
    keyring_wot_free(&wot);
    return path;
}

static bool is_certification_by(const struct keyring_wot *wot, const struct keyring_wot_certification *it,
                                const char *fingerprint)
{
    const bool is_good =
        it->state == KEYRING_WOT_COUNTED || it->state == KEYRING_WOT_SPARE || it->state == KEYRING_WOT_WITHOUT_WORD;
    return is_good && !it->is_revocation && it->signer != KEYRING_WOT_NONE &&
           strcmp(keyring_wot_key(wot, it->signer)->fingerprint, fingerprint) == 0;
}

bool cli_wot_is_certified_by(const struct cli *cli, const struct keyring_entry *entry,
                             const struct keyring_entry *signer)
{
    struct keyring_wot *wot;
    bool is_certified = false;
    if (!has_web(entry) || !has_web(signer) || cli_wot_open(cli, &wot))
        return false;
    const size_t at = cli_wot_find(wot, entry);
    const struct keyring_wot_user_id *user_id = at == KEYRING_WOT_NONE ? NULL : keyring_wot_user_id(wot, at);
    for (size_t i = 0; user_id && !is_certified && i < user_id->certifications_len; i++)
        is_certified = is_certification_by(wot, keyring_wot_certification(wot, user_id->certifications_first + i),
                                           signer->fingerprint);
    keyring_wot_free(&wot);
    return is_certified;
}
