/*
 * What is known of the correspondent beside keys, as `why` shows it.
 */
#include "cli/why.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Of the word that Autocrypt's own key has, if it counts. */
static enum keyring_advice advice_of(const struct why *why)
{
    struct keyring_word words[KEYRING_PEER_WORDS_MAX + 2];
    const size_t len = keyring_peer_words(&why->peer, why->now, words);
    for (size_t i = 0; i < len; i++)
        if (words[i].source == KEYRING_SOURCE_AUTOCRYPT)
            return words[i].advice;
    return KEYRING_ADVICE_NONE;
}

static const char *advice_name(enum keyring_advice advice)
{
    static const char *const names[KEYRING_ADVICE_COUNT] = {[KEYRING_ADVICE_NONE] = "none",
                                                            [KEYRING_ADVICE_DISCOURAGE] = "discourage",
                                                            [KEYRING_ADVICE_AVAILABLE] = "available",
                                                            [KEYRING_ADVICE_MUTUAL] = "mutual"};
    return names[advice];
}

static enum err add_date(struct table *table, const char *name, int64_t at)
{
    char date[CLI_DATE_SIZE];
    cli_date(at, date);
    return at ? why_add(table, name, date) : ERR_OK;
}

static enum err add_autocrypt(const struct why *why, struct table *table)
{
    const struct keyring_autocrypt *autocrypt = &why->peer.autocrypt;
    char grouped[KEY_GROUPED_SIZE], date[CLI_DATE_SIZE], line[400];
    enum err err = ERR_OK;
    if (autocrypt->key.len > 0) {
        key_group(autocrypt->fingerprint, grouped);
        cli_date(autocrypt->timestamp, date);
        snprintf(line, sizeof line, "%s, last sent %s; %s", grouped, date, key_advice_text(advice_of(why)));
        err = why_add(table, "Autocrypt", line);
    }
    if (!err && autocrypt->gossip_key.len > 0) {
        key_group(autocrypt->gossip_fingerprint, grouped);
        cli_date(autocrypt->gossip_timestamp, date);
        snprintf(line, sizeof line, "%s, in others' mail of %s", grouped, date);
        err = why_add(table, "Autocrypt gossip", line);
    }
    return err;
}

enum err why_add_peer(const struct why *why, struct table *table)
{
    const struct keyring_peer *peer = &why->peer;
    char line[120];
    if (!why->has_peer)
        return ERR_OK;
    enum err err = add_date(table, "first mail", peer->first_seen);
    if (!err)
        err = add_date(table, "last mail", peer->last_seen);
    snprintf(line, sizeof line, "%" PRIu64 " received, %" PRIu64 " sent", peer->received, peer->sent);
    if (!err && (peer->received > 0 || peer->sent > 0))
        err = why_add(table, "messages", line);
    for (size_t i = 0; !err && i < 2; i++)
        if (peer->chosen[i][0]) {
            char grouped[KEY_GROUPED_SIZE];
            key_group(peer->chosen[i], grouped);
            err = why_add(table, "last encrypted to", grouped);
        }
    return err ? err : add_autocrypt(why, table);
}

static json_t *autocrypt_json(const struct why *why)
{
    const struct keyring_autocrypt *autocrypt = &why->peer.autocrypt;
    return json_pack("{s:s, s:I, s:I, s:b, s:s, s:s, s:I}", "fingerprint", autocrypt->fingerprint, "last_seen",
                     (json_int_t)autocrypt->last_seen, "timestamp", (json_int_t)autocrypt->timestamp, "mutual",
                     autocrypt->is_mutual, "advice", advice_name(advice_of(why)), "gossip_fingerprint",
                     autocrypt->gossip_fingerprint, "gossip_timestamp", (json_int_t)autocrypt->gossip_timestamp);
}

json_t *why_peer_json(const struct why *why)
{
    const struct keyring_peer *peer = &why->peer;
    if (!why->has_peer)
        return json_null();
    return json_pack("{s:I, s:I, s:I, s:I, s:{s:s, s:s}, s:o}", "first_seen", (json_int_t)peer->first_seen, "last_seen",
                     (json_int_t)peer->last_seen, "received", (json_int_t)peer->received, "sent",
                     (json_int_t)peer->sent, "chosen", "openpgp", peer->chosen[0], "smime", peer->chosen[1],
                     "autocrypt", autocrypt_json(why));
}
