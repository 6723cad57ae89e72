/*
 * The keys of an address as `why` shows them: by whose word, which were passed over, which contradict each other.
 */
#include "cli/why.h"
#include "cli/wot.h"

#include <stdio.h>
#include <string.h>

#define LINE_SIZE (KEY_TEXT_SIZE + KEY_GROUPED_SIZE + 200)

enum err why_add(struct table *table, const char *name, const char *value)
{
    const char *const cells[] = {name, value};
    return table_add(table, cells);
}

static const char *domain_of(const char *address)
{
    const char *at = strrchr(address, '@');
    return at ? at + 1 : address;
}

/* "just now", "3 days ago". */
static void say_age(int64_t seconds, char out[64])
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{INT64_C(31556952), "year"}, {2629746, "month"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const long long count = (long long)(seconds / units[i].seconds);
        if (count > 0) {
            snprintf(out, 64, "%lld %s%s ago", count, units[i].name, count == 1 ? "" : "s");
            return;
        }
    }
    snprintf(out, 64, "just now");
}

/* `title_max` bytes of the section's name, quoted. */
static void say_titled(const char *what, const char *title, char out[KEY_TEXT_SIZE])
{
    if (title[0])
        snprintf(out, KEY_TEXT_SIZE, "%s \"%s\"", what, title);
    else
        snprintf(out, KEY_TEXT_SIZE, "%s", what);
}

void why_word(const struct keyring_word *word, int64_t now, char out[KEY_TEXT_SIZE])
{
    char age[64];
    switch (word->source) {
    case KEYRING_SOURCE_WKD:
        snprintf(out, KEY_TEXT_SIZE, "the Web Key Directory of %s", domain_of(word->address));
        break;
    case KEYRING_SOURCE_DANE:
        snprintf(out, KEY_TEXT_SIZE, "the signed zone of %s", domain_of(word->address));
        break;
    case KEYRING_SOURCE_DIRECTORY:
        say_titled("the directory", word->title, out);
        break;
    case KEYRING_SOURCE_KEYSERVER:
        say_titled("the keyserver", word->title, out);
        break;
    case KEYRING_SOURCE_PERSON:
        snprintf(out, KEY_TEXT_SIZE, "you, with `privyseal key pin%s`", word->trust == KEYRING_NEVER ? " --not" : "");
        break;
    case KEYRING_SOURCE_IMPORT:
    case KEYRING_SOURCE_MAIL:
    case KEYRING_SOURCE_AUTOCRYPT:
    case KEYRING_SOURCE_GOSSIP:
    case KEYRING_SOURCE_COUNT:
        snprintf(out, KEY_TEXT_SIZE, "%s", keyring_source_text(word->source));
        break;
    }
    const size_t len = strlen(out);
    say_age(now - word->since, age);
    if (word->since > 0)
        snprintf(out + len, KEY_TEXT_SIZE - len, ", %s", age);
}

/* The words of the record that are about this key; how many. */
static size_t words_of(const struct why *why, const struct keyring_entry *entry,
                       struct keyring_word out[KEYRING_PEER_WORDS_MAX + 2])
{
    size_t kept = 0;
    const size_t len = why->has_peer ? keyring_peer_words(&why->peer, why->now, out) : 0;
    for (size_t i = 0; i < len; i++)
        if (out[i].format == entry->format && strcmp(out[i].fingerprint, entry->fingerprint) == 0)
            out[kept++] = out[i];
    return kept;
}

enum err why_add_words(const struct why *why, const struct keyring_entry *entry, struct table *table, size_t *len_out)
{
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    enum err err = ERR_OK;
    *len_out = words_of(why, entry, words);
    for (size_t i = 0; !err && i < *len_out; i++) {
        char text[KEY_TEXT_SIZE];
        why_word(&words[i], why->now, text);
        err = why_add(table, "source", text);
    }
    return err;
}

static int64_t stale_since(const struct keyring_entry *entry)
{
    return entry->ask_again + KEYRING_WORD_LONGER_S;
}

enum err why_add_stale(const struct why *why, const struct keyring_entry *entry, struct table *table)
{
    char date[CLI_DATE_SIZE], line[CLI_DATE_SIZE + 100];
    if (!keyring_is_stale(entry, why->now))
        return ERR_OK;
    cli_date(stale_since(entry), date);
    snprintf(line, sizeof line, "since %s its source has not answered%s", date,
             keyring_is_unconfirmed(entry, why->now) ? ", too long for it to count as found; it counts as seen" : "");
    enum err err = why_add(table, "stale", line);
    table_colour(table, 1, COLOUR_CARE);
    return err;
}

json_t *why_stale_json(const struct why *why, const struct keyring_entry *entry)
{
    return keyring_is_stale(entry, why->now) ? json_integer((json_int_t)stale_since(entry)) : json_null();
}

static bool is_of_rule(const struct why *why, enum keyring_format format)
{
    for (size_t i = 0; i < why->choice.rule->formats_len; i++)
        if (why->choice.rule->formats[i] == format)
            return true;
    return false;
}

/* The best key of a format is passed over, too, where the rule takes the other format or none. */
static const char *reason_text(const struct why *why, const struct keyring_candidate *candidate)
{
    if (!is_of_rule(why, candidate->entry->format))
        return keyring_reason_text(KEYRING_WRONG_FORMAT);
    return candidate->reason == KEYRING_TAKEN ? "usable, but the rule takes the other format first"
                                              : keyring_reason_text(candidate->reason);
}

static bool is_passed_over(const struct why *why, const struct keyring_candidate *candidate)
{
    return !why->choice.key || strcmp(candidate->entry->fingerprint, why->choice.key->fingerprint) != 0;
}

static enum err add_passed(const struct why *why, const struct keyring_candidate *candidate, struct table *table)
{
    const struct keyring_entry *entry = candidate->entry;
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    char grouped[KEY_GROUPED_SIZE], source[KEY_TEXT_SIZE] = "", line[LINE_SIZE];
    key_group(entry->fingerprint, grouped);
    const struct keyring_certificate *certificate = key_certificate(why->cli, entry);
    if (words_of(why, entry, words) > 0)
        why_word(&words[0], why->now, source);
    else if (certificate)
        key_certificate_source(certificate, source);
    else
        snprintf(source, sizeof source, "%s", keyring_source_text(entry->source));
    snprintf(line, sizeof line, "%s: %s (trust %s; %s)", grouped, reason_text(why, candidate),
             keyring_trust_name(entry->trust), source);
    return why_add(table, "passed over", line);
}

enum err why_add_passed(const struct why *why, struct table *table)
{
    enum err err = ERR_OK;
    size_t left_out = 0;
    for (size_t format = 0; format < WHY_FORMATS; format++) {
        const struct keyring_answer *answer = &why->formats[format];
        left_out += answer->left_out;
        for (size_t i = 0; !err && i < answer->candidates_len; i++)
            if (is_passed_over(why, &answer->candidates[i]))
                err = add_passed(why, &answer->candidates[i], table);
    }
    if (!err && left_out > 0) {
        char line[64];
        snprintf(line, sizeof line, "and %zu more", left_out);
        err = why_add(table, "passed over", line);
    }
    return err;
}

/* A later key of theirs, which the trusted one vouches for: the trusted one may be about to go, and only a person can
   say that the other is theirs, too. NULL: there is none. */
static const struct keyring_entry *successor(const struct why *why)
{
    const struct keyring_entry *key = why->choice.key;
    const struct keyring_answer *answer = &why->formats[0];
    if (!key || key->format != KEYRING_OPENPGP || key->trust < KEYRING_FULL)
        return NULL;
    for (size_t i = 0; i < answer->candidates_len; i++) {
        const struct keyring_entry *entry = answer->candidates[i].entry;
        if (is_passed_over(why, &answer->candidates[i]) && entry->trust < key->trust &&
            entry->created >= key->created && answer->candidates[i].reason != KEYRING_REVOKED &&
            cli_wot_is_certified_by(why->cli, entry, key))
            return entry;
    }
    return NULL;
}

enum err why_add_successor(const struct why *why, struct table *table)
{
    const struct keyring_entry *entry = successor(why);
    char grouped[KEY_GROUPED_SIZE], line[LINE_SIZE + MIME_ADDR_SIZE];
    if (!entry)
        return ERR_OK;
    key_group(entry->fingerprint, grouped);
    snprintf(line, sizeof line, "%s is certified by the key %s", grouped,
             why->choice.key->trust == KEYRING_PINNED ? "that you pinned" : "in use");
    enum err err = why_add(table, "new key", line);
    table_colour(table, 1, COLOUR_CARE);
    snprintf(line, sizeof line, "if its owner says that it is theirs, confirm it with `privyseal key pin %s %s`",
             why->address, entry->fingerprint);
    return err ? err : why_add(table, "", line);
}

json_t *why_successor_json(const struct why *why)
{
    const struct keyring_entry *entry = successor(why);
    return entry ? json_string(entry->fingerprint) : json_null();
}

enum err why_add_conflict(const struct why *why, struct table *table)
{
    const struct keyring_entry *key = why->choice.key, *rival = why->choice.rival;
    char line[LINE_SIZE + MIME_ADDR_SIZE];
    if (!rival)
        return ERR_OK;
    snprintf(line, sizeof line, "%s stands by the word of %s, and %s by that of %s", key->fingerprint,
             keyring_voucher_text(key), rival->fingerprint, keyring_voucher_text(rival));
    enum err err = why_add(table, "conflict", line);
    table_colour(table, 1, COLOUR_CARE);
    snprintf(line, sizeof line, "ask the owner which is right, and confirm it with `privyseal key pin %s FINGERPRINT`",
             why->address);
    return err ? err : why_add(table, "", line);
}

static json_t *word_json(const struct keyring_word *word, int64_t now)
{
    char text[KEY_TEXT_SIZE];
    why_word(word, now, text);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s}", "source", keyring_source_name(word->source), "title",
                     word->title, "trust", keyring_trust_name(word->trust), "since", (json_int_t)word->since, "until",
                     (json_int_t)word->until, "text", text);
}

json_t *why_words_json(const struct why *why, const struct keyring_entry *entry)
{
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    const size_t len = words_of(why, entry, words);
    json_t *list = json_array();
    for (size_t i = 0; i < len; i++)
        if (json_array_append_new(list, word_json(&words[i], why->now))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *candidate_json(const struct why *why, const struct keyring_candidate *candidate)
{
    json_t *json = key_json(candidate->entry);
    json_t *words = why_words_json(why, candidate->entry);
    const bool is_passed = is_passed_over(why, candidate);
    json_t *more = words ? json_pack("{s:o, s:b, s:s}", "words", words, "taken", !is_passed, "reason",
                                     is_passed ? reason_text(why, candidate) : keyring_reason_text(KEYRING_TAKEN))
                         : NULL;
    const bool is_whole = json && more && json_object_update(json, more) == 0 &&
                          json_object_set_new(json, "stale_since", why_stale_json(why, candidate->entry)) == 0;
    json_decref(more);
    if (is_whole)
        return json;
    json_decref(json);
    return NULL;
}

json_t *why_candidates_json(const struct why *why)
{
    json_t *list = json_array();
    for (size_t format = 0; format < WHY_FORMATS; format++)
        for (size_t i = 0; i < why->formats[format].candidates_len; i++)
            if (json_array_append_new(list, candidate_json(why, &why->formats[format].candidates[i]))) {
                json_decref(list);
                return NULL;
            }
    return list;
}

static json_t *side_json(const struct keyring_entry *entry)
{
    return json_pack("{s:s, s:s, s:s}", "fingerprint", entry->fingerprint, "trust", keyring_trust_name(entry->trust),
                     "voucher", keyring_voucher_text(entry));
}

json_t *why_conflict_json(const struct why *why)
{
    return why->choice.rival ? json_pack("[o, o]", side_json(why->choice.key), side_json(why->choice.rival))
                             : json_null();
}
