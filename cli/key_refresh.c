/*
 * privyseal key refresh: what the sources have to say of keys that are here, revocations above all.
 */
#include "cli/key.h"
#include "cli/source.h"
#include "cli/table.h"

#include "base/clock.h"
#include "keyring/learn.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_MAX ((size_t)64 << 20)
#define DETAIL_SIZE 400
#define ADDRESSES_MAX 64

static bool is_all;

static const struct cli_option options[] = {
    {"all", NULL, "every key and certificate of somebody else's", &is_all, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* One key, as it was before, and what came of asking. */
struct refreshed {
    struct keyring_entry before; /* the first of its entries */
    unsigned char digest[SHA256_DIGEST_LENGTH];
    size_t asked, failed; /* sources */
    char detail[DETAIL_SIZE];
    json_t *others; /* fingerprints of keys that are there for its addresses since */
};

struct refreshing {
    struct cli *cli;
    struct keyring_learner learner;
    struct refreshed *keys;
    size_t keys_len;
    struct keyring *before; /* the ring; NULL: the one that is open */
    bool is_down[CONFIG_SOURCES_MAX];
};

static void say(char detail[DETAIL_SIZE], const char *what)
{
    const size_t len = strlen(detail);
    snprintf(detail + len, DETAIL_SIZE - len, "%s%s", len > 0 ? "; " : "", what);
}

/* Of what counts of the key; of a certificate its fingerprint says all. */
static enum err digest_of(const struct cli *cli, const struct keyring_entry *entry,
                          unsigned char digest_out[SHA256_DIGEST_LENGTH])
{
    struct buf key;
    memset(digest_out, 0, SHA256_DIGEST_LENGTH);
    if (entry->format != KEYRING_OPENPGP)
        return ERR_OK;
    buf_init(&key, KEY_MAX);
    enum err err = keyring_gpg_export_minimal(cli->gpg, entry->fingerprint, &key);
    if (!err)
        (void)SHA256((const unsigned char *)key.data, key.len, digest_out);
    buf_fini(&key);
    return err;
}

/* ---- asking ---- */

/* Those that did not answer are not asked for every other key, too. */
static void note_answers(struct refreshing *refreshing, const struct cli_source *sources, struct refreshed *key,
                         bool is_left[CONFIG_SOURCES_MAX])
{
    for (size_t i = 0; i < refreshing->cli->config->sources_len; i++) {
        const struct cli_source *source = &sources[i];
        char text[PROXY_SOURCE_NAME_SIZE + 320], name[PROXY_SOURCE_NAME_SIZE];
        if (!source->is_asked)
            continue;
        key->asked++;
        is_left[i] = is_left[i] || source->is_by_key;
        if (!source->err)
            continue;
        key->failed++;
        proxy_source_name(source->config, name);
        snprintf(text, sizeof text, "%s: %s", name, source->problem);
        say(key->detail, text);
        if (source->err == ERR_UPSTREAM_DOWN && !source->source.ops->is_of_domain)
            refreshing->is_down[i] = true;
    }
}

static enum err learn(struct refreshing *refreshing, const struct cli_source *sources)
{
    struct buf said;
    enum err err = ERR_OK;
    buf_init(&said, KEYRING_LEARN_WORDS_MAX);
    refreshing->learner.words = &said;
    for (size_t i = 0; !err && i < refreshing->cli->config->sources_len; i++) {
        size_t kept;
        buf_clear(&said);
        err = keyring_learn(&refreshing->learner, buf_span(&sources[i].found), &kept);
        if (!err)
            err = cli_keep_words(refreshing->cli, buf_span(&said));
    }
    refreshing->learner.words = NULL;
    buf_fini(&said);
    return err;
}

/* `is_left`: sources that were asked for the key itself already. */
static enum err ask(struct refreshing *refreshing, struct refreshed *key, const char *address,
                    bool is_left[CONFIG_SOURCES_MAX])
{
    const struct config *config = refreshing->cli->config;
    bool is_quiet[CONFIG_SOURCES_MAX];
    struct cli_source *sources;
    for (size_t i = 0; i < config->sources_len; i++) {
        is_quiet[i] = is_left[i] || refreshing->is_down[i];
        key->failed += refreshing->is_down[i] && !is_left[i] && config_source_serves(config->sources[i], address);
    }
    const struct cli_question question = {.address = address,
                                          .fingerprint =
                                              key->before.format == KEYRING_OPENPGP ? key->before.fingerprint : "",
                                          .is_left = is_quiet};
    enum err err = cli_ask_sources(config, &question, &sources);
    if (!err) {
        note_answers(refreshing, sources, key, is_left);
        refreshing->learner.address = address;
        err = learn(refreshing, sources);
    }
    cli_sources_free(config, &sources);
    return err;
}

/* What its issuers have revoked stays so: it is written down with it. */
static enum err ask_issuers(struct refreshing *refreshing, struct refreshed *key)
{
    const struct cli *cli = refreshing->cli;
    struct keyring_certificates *certificates = refreshing->learner.certificates;
    struct keyring_revocation revocation;
    const struct keyring_certificate *known =
        key->before.format == KEYRING_SMIME ? keyring_certificates_find(certificates, key->before.fingerprint) : NULL;
    if (!known)
        return ERR_OK;
    enum err err = key_certificate_revocation(cli, known, &revocation);
    if (err || !revocation.reason)
        return err;
    key->asked++;
    if (revocation.state == KEYRING_REVOCATION_UNKNOWN) {
        char text[DETAIL_SIZE];
        key->failed++;
        snprintf(text, sizeof text, "it is not known whether it has been revoked: %s", revocation.reason);
        say(key->detail, text);
    }
    if (revocation.state != KEYRING_REVOCATION_REVOKED || known->revoked)
        return ERR_OK;
    struct keyring_certificate entry = *known;
    entry.revoked = revocation.since > 0 ? revocation.since : clock_now();
    return keyring_certificates_put(certificates, &entry);
}

static enum err refresh(struct refreshing *refreshing, struct refreshed *key)
{
    bool is_left[CONFIG_SOURCES_MAX] = {false};
    const char *addresses[ADDRESSES_MAX];
    size_t len = 0;
    const struct keyring *ring = refreshing->cli->keyring;
    for (size_t i = 0; i < keyring_len(ring); i++) {
        const struct keyring_entry *entry = keyring_at(ring, i);
        bool is_there = strcmp(entry->fingerprint, key->before.fingerprint) != 0 || !entry->address[0];
        for (size_t j = 0; j < len; j++)
            is_there = is_there || strcmp(addresses[j], entry->address) == 0;
        if (!is_there && len < ADDRESSES_MAX)
            addresses[len++] = entry->address;
    }
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < len; i++)
        err = ask(refreshing, key, addresses[i], is_left);
    return err ? err : ask_issuers(refreshing, key);
}

/* ---- what came of it ---- */

static bool is_in(const json_t *fingerprints, const char *fingerprint)
{
    size_t index;
    const json_t *each;
    json_array_foreach(fingerprints, index, each) if (strcmp(json_string_value(each), fingerprint) == 0) return true;
    return false;
}

static bool is_later(int64_t now, int64_t before)
{
    return before != 0 && (now == 0 || now > before);
}

/* True if it was one of its addresses' by the word of a source that no longer gives it. */
static bool is_gone(const struct keyring *before, const struct keyring *after, const char *fingerprint)
{
    for (size_t i = 0; i < keyring_len(before); i++) {
        const struct keyring_entry *then = keyring_at(before, i);
        size_t first;
        if (strcmp(then->fingerprint, fingerprint) != 0 || !keyring_source_is_asked(then->source))
            continue;
        const size_t len = keyring_find(after, then->address, &first);
        for (size_t j = first; j < first + len; j++)
            if (strcmp(keyring_at(after, j)->fingerprint, fingerprint) == 0 &&
                !keyring_source_is_asked(keyring_at(after, j)->source))
                return true;
    }
    return false;
}

static bool has_expired(const struct keyring_entry *entry, int64_t now)
{
    return (entry->expires != 0 && entry->expires <= now) || (entry->encrypt_until > 0 && entry->encrypt_until <= now);
}

/* Keys that are there for one of its addresses since. */
static enum err note_others(const struct keyring *before, const struct keyring *after, struct refreshed *key)
{
    for (size_t i = 0; i < keyring_len(before); i++) {
        const struct keyring_entry *own = keyring_at(before, i);
        size_t first;
        if (strcmp(own->fingerprint, key->before.fingerprint) != 0 || !own->address[0])
            continue;
        const size_t len = keyring_find(after, own->address, &first);
        for (size_t j = first; j < first + len; j++) {
            const char *fingerprint = keyring_at(after, j)->fingerprint;
            char text[KEYRING_FPR_SIZE + MIME_ADDR_SIZE + 64];
            if (key_of_fingerprint(before, fingerprint) || is_in(key->others, fingerprint))
                continue;
            if (json_array_append_new(key->others, json_string(fingerprint)))
                return ERR_MEMORY;
            snprintf(text, sizeof text, "there is another key: %s; see `privyseal why %s`", fingerprint, own->address);
            say(key->detail, text);
        }
    }
    return ERR_OK;
}

static enum err judge(const struct refreshing *refreshing, struct refreshed *key, const char **state_out)
{
    const struct cli *cli = refreshing->cli;
    const struct keyring_entry *now = key_of_fingerprint(cli->keyring, key->before.fingerprint);
    unsigned char digest[SHA256_DIGEST_LENGTH];
    enum err err = note_others(refreshing->before, cli->keyring, key);
    *state_out = "gone";
    if (err || !now)
        return err;
    err = digest_of(cli, now, digest);
    const bool is_changed = memcmp(digest, key->digest, sizeof digest) != 0;
    *state_out = now->is_revoked && !key->before.is_revoked ? "revoked"
                 : is_later(now->expires, key->before.expires) ||
                         (is_changed && now->encrypt_until >= 0 &&
                          (key->before.encrypt_until < 0 || is_later(now->encrypt_until, key->before.encrypt_until)))
                     ? "renewed"
                 : is_changed                                                  ? "changed"
                 : is_gone(refreshing->before, cli->keyring, now->fingerprint) ? "gone"
                 : key->failed > 0                                             ? "failed"
                 : has_expired(now, clock_now())                               ? "expired"
                 : key->asked == 0                                             ? "not asked"
                                                                               : "unchanged";
    if (key->asked == 0 && key->failed == 0)
        say(key->detail, "no source is for its addresses");
    return err;
}

static enum err report(const struct refreshing *refreshing, struct table *table, json_t *list, size_t *failures)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < refreshing->keys_len; i++) {
        struct refreshed *key = &refreshing->keys[i];
        const char *state;
        err = judge(refreshing, key, &state);
        *failures += strcmp(state, "failed") == 0;
        const char *const cells[] = {key->before.fingerprint, state, key->before.user_id, key->detail};
        if (!err)
            err = table_add(table, cells);
        if (!err &&
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "fingerprint",
                                                  key->before.fingerprint, "address", key->before.address, "format",
                                                  key->before.format == KEYRING_SMIME ? "smime" : "openpgp", "user_id",
                                                  key->before.user_id, "state", state, "detail", key->detail, "others",
                                                  key->others)))
            err = ERR_MEMORY;
    }
    return err;
}

/* ---- which ---- */

static enum err add(struct refreshing *refreshing, const struct keyring_entry *entry)
{
    for (size_t i = 0; i < refreshing->keys_len; i++)
        if (strcmp(refreshing->keys[i].before.fingerprint, entry->fingerprint) == 0)
            return ERR_OK;
    struct refreshed *keys = reallocarray(refreshing->keys, refreshing->keys_len + 1, sizeof *keys);
    if (!keys)
        return ERR_MEMORY;
    refreshing->keys = keys;
    struct refreshed *key = &keys[refreshing->keys_len++];
    *key = (struct refreshed){.before = *entry, .others = json_array()};
    return key->others ? digest_of(refreshing->cli, entry, key->digest) : ERR_MEMORY;
}

static enum err choose(struct refreshing *refreshing, int argc, char **argv)
{
    const struct cli *cli = refreshing->cli;
    enum err err = ERR_OK;
    for (int i = 0; !err && i < argc; i++) {
        const struct keyring_entry *entry;
        err = key_find_named(cli, argv[i], &entry);
        if (err)
            return err;
        err = add(refreshing, entry);
    }
    for (size_t i = 0; !err && is_all && i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (entry->address[0] && !entry->has_secret && !key_is_issuer(entry))
            err = add(refreshing, entry);
    }
    if (err)
        (void)cli_fail(cli, err, "looking at the keys");
    return err;
}

static enum err refresh_all(struct refreshing *refreshing)
{
    const bool is_shown = isatty(STDERR_FILENO) && refreshing->keys_len > 1;
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < refreshing->keys_len; i++) {
        if (is_shown)
            fprintf(stderr, "\r%zu of %zu", i + 1, refreshing->keys_len);
        err = refresh(refreshing, &refreshing->keys[i]);
    }
    if (is_shown)
        fprintf(stderr, "\r\033[K");
    return err;
}

static int finish(struct refreshing *refreshing)
{
    static const char *const heads[] = {"KEY", "STATE", "NAME", "DETAIL"};
    struct cli *cli = refreshing->cli;
    struct table *table = NULL;
    json_t *list = json_array();
    size_t failures = 0;
    enum err err = refresh_all(refreshing);
    if (!err) {
        refreshing->before = cli->keyring;
        cli->keyring = NULL;
        err = cli_list_ring_anew(cli);
    }
    if (!err)
        err = table_new(heads, 4, &table);
    if (!err)
        err = report(refreshing, table, list, &failures);
    int status = err ? cli_fail(cli, err, "refreshing keys") : CLI_DONE;
    if (!status && cli->is_json)
        status = cli_print_json(json_incref(list));
    else if (!status)
        table_print(table);
    table_free(&table);
    json_decref(list);
    keyring_free(&refreshing->before);
    return status ? status : failures > 0 ? CLI_FAILED : CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    char path[CONFIG_PATH_SIZE];
    struct keyring_certificates *certificates = NULL;
    struct keyring_anchors *anchors = NULL;
    struct refreshing refreshing = {.cli = cli};
    if ((argc > 0) == is_all)
        return cli_usage(cli, "expected fingerprints or addresses, or --all");
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    if (cli->config->sources_len == 0 && cli->account->revocation == KEYRING_REVOCATION_OFF)
        return cli_usage(cli, "there is nobody to ask; expected `sources`, or a section directory, in the "
                              "configuration");
    if (keyring_anchors_open(cli->account->smime_ca, &anchors))
        return cli_fail(cli, ERR_CONFIG, "reading the trust anchors in %s", cli->account->smime_ca);
    err = config_certificates(cli->config, cli->account, path) ? keyring_certificates_open(path, &certificates)
                                                               : ERR_CONFIG;
    refreshing.learner =
        (struct keyring_learner){.certificates = certificates, .anchors = anchors, .gpg = cli->gpg, .now = clock_now()};
    int status = err ? cli_fail(cli, err, "opening %s", path) : CLI_DONE;
    if (!status && (err = choose(&refreshing, argc, argv)) != ERR_OK)
        status = cli_exit_of(err);
    if (!status)
        status = finish(&refreshing);
    for (size_t i = 0; i < refreshing.keys_len; i++)
        json_decref(refreshing.keys[i].others);
    free(refreshing.keys);
    keyring_certificates_close(&certificates);
    keyring_anchors_close(&anchors);
    return status;
}

const struct cli_command cli_key_refresh = {
    .name = "key refresh",
    .operands = "[KEY...]",
    .summary = "asks the sources what has become of keys: revoked, renewed, changed",
    .text =
        "Asks the sources that serve the addresses of each KEY (a fingerprint or an address; --all: every one of\n"
        "somebody else's) for news of it: keyservers by its fingerprint, the others by address; of a certificate also\n"
        "its issuers, where the account's `revocation` says so. Revocations, later ends and new parts are taken. A\n"
        "source that names another key puts none in the place of this one: that is said, and `why` shows both.\n"
        "Exits 3 if a source could not be asked for a key of which nothing new is known.",
    .example = "privyseal key refresh --all",
    .options = options,
    .run = run};
