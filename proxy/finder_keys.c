/*
 * Keys of correspondents: which sources are asked for an address, and what they said while it counts.
 */
#include "proxy/finder_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUCKETS 4096u
#define ENTRIES_MAX 20000u
#define BYTES_MAX ((size_t)64 << 20) /* of all that is kept */
#define WAITS_MAX 10000u
/* What was found counts no longer than this where another source could not be asked. */
#define PARTLY_S 60u
#define DOWN_SLOTS 512u

struct wait {
    STAILQ_ENTRY(wait) link;
    struct finder_client *client; /* NULL: gone */
    uint32_t number;
};

/* What one source is asked for an address. */
struct question {
    struct entry *entry;
    const struct proxy_source *source;
    bool is_by_key; /* it is asked for one key, so its answer is not all that it has */
};

/* A source that did not answer, or its servers for one domain: left alone for a while, so that not every address waits
   for it. */
struct down {
    const struct proxy_source *source;
    char domain[MIME_ADDR_SIZE];
    uint64_t until_ms;
};

/* One address in one stage (proxy/config.h): being asked for, or known from `settled` until `expires`: by the clock
   that certificates go by, which goes on while the machine sleeps. */
struct entry {
    LIST_ENTRY(entry) same; /* of its bucket */
    TAILQ_ENTRY(entry) age; /* oldest first */
    struct finder_keys *keys;
    struct question *questions; /* one for each source */
    char address[MIME_ADDR_SIZE];
    char fingerprint[KEYRING_FPR_SIZE]; /* of the key that is to be refreshed; "": any key is looked for */
    size_t stage;
    size_t open;      /* sources that have not answered */
    bool is_starting; /* not all of them have been asked */
    bool has_failed;  /* one of them could not be asked */
    uint32_t seconds; /* how long the answer counts */
    int64_t settled, expires;
    struct buf found;   /* keyring/found.h */
    uint32_t found_len; /* certificates and keys in it */
    STAILQ_HEAD(, wait) waits;
};

struct finder_keys {
    struct finder *finder;
    struct proxy_source *sources;
    size_t sources_len;
    struct down downs[DOWN_SLOTS]; /* by a hash; one that falls on another takes its place */
    LIST_HEAD(, entry) buckets[BUCKETS];
    TAILQ_HEAD(, entry) entries;
    size_t entries_len, bytes, waits_len;
};

static uint32_t bucket_of(const char *address)
{
    return span_hash(span_of(address)) % BUCKETS;
}

/* Nothing of it is open. */
static void entry_free(struct entry *entry)
{
    LIST_REMOVE(entry, same);
    TAILQ_REMOVE(&entry->keys->entries, entry, age);
    entry->keys->entries_len--;
    entry->keys->bytes -= entry->found.len;
    buf_fini(&entry->found);
    free(entry->questions);
    free(entry);
}

/* The oldest that nobody waits for go first. */
static void make_room(struct finder_keys *keys)
{
    struct entry *entry, *next;
    for (entry = TAILQ_FIRST(&keys->entries); entry != NULL; entry = next) {
        next = TAILQ_NEXT(entry, age);
        if (keys->entries_len < ENTRIES_MAX && keys->bytes < BYTES_MAX)
            return;
        if (entry->open == 0)
            entry_free(entry);
    }
}

static struct entry *find_entry(struct finder_keys *keys, const char *address, size_t stage, const char *fingerprint)
{
    struct entry *entry, *next;
    const int64_t now = clock_now();
    for (entry = LIST_FIRST(&keys->buckets[bucket_of(address)]); entry != NULL; entry = next) {
        next = LIST_NEXT(entry, same);
        if (entry->open == 0 && !entry->is_starting && (entry->expires <= now || entry->settled > now))
            entry_free(entry);
        else if (entry->stage == stage && strcmp(entry->address, address) == 0 &&
                 strcmp(entry->fingerprint, fingerprint) == 0)
            return entry;
    }
    return NULL;
}

/* Who refreshes a key wants to know what its sources say now, and so does whoever looks for it next: what they said
   before is forgotten, whichever key it was about. What they are being asked at this moment is as good. */
static void forget_answers(struct finder_keys *keys, const char *address, size_t stage)
{
    struct entry *entry, *next;
    for (entry = LIST_FIRST(&keys->buckets[bucket_of(address)]); entry != NULL; entry = next) {
        next = LIST_NEXT(entry, same);
        if (entry->open == 0 && !entry->is_starting && entry->stage == stage && strcmp(entry->address, address) == 0)
            entry_free(entry);
    }
}

static struct entry *add_entry(struct finder_keys *keys, const char *address, size_t stage, const char *fingerprint)
{
    make_room(keys);
    struct entry *entry = keys->entries_len < ENTRIES_MAX ? calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL || (entry->questions = calloc(keys->sources_len + 1, sizeof(struct question))) == NULL) {
        free(entry);
        return NULL;
    }
    entry->keys = keys;
    entry->stage = stage;
    memcpy(entry->address, address, strlen(address) + 1);
    memcpy(entry->fingerprint, fingerprint, strlen(fingerprint) + 1);
    entry->seconds = UINT32_MAX;
    buf_init(&entry->found, KEYRING_FOUND_SIZE_MAX);
    STAILQ_INIT(&entry->waits);
    LIST_INSERT_HEAD(&keys->buckets[bucket_of(address)], entry, same);
    TAILQ_INSERT_TAIL(&keys->entries, entry, age);
    keys->entries_len++;
    return entry;
}

/* One source that has answered, if with nothing, takes back what it said before, whatever the others do. */
static enum err result_of(const struct entry *entry)
{
    return entry->found.len == 0 && entry->has_failed ? ERR_LOOKUP : ERR_OK;
}

static void answer(const struct entry *entry, struct finder_client *client, uint32_t number)
{
    struct ipc_out out;
    int fd = -1;
    enum err err = result_of(entry);
    if (err == ERR_OK && entry->found.len > 0)
        err = memfd_of("found", buf_span(&entry->found), KEYRING_FOUND_SIZE_MAX, &fd);
    finder_answer_begin(&out, number, err);
    if (err == ERR_OK) {
        const int64_t now = clock_now();
        ipc_put_u32(&out, entry->expires > now ? (uint32_t)(entry->expires - now) : 0);
        ipc_put_u32(&out, entry->found_len);
        ipc_put_u32(&out, entry->has_failed);
        ipc_put_u32(&out, fd >= 0);
        if (fd >= 0)
            ipc_put_file(&out, fd);
    }
    finder_answer_send(client, &out);
    if (fd >= 0)
        close(fd);
}

/* All sources have answered. What is no answer is not kept. */
static void settle(struct entry *entry)
{
    struct wait *wait;
    if (entry->has_failed && entry->seconds > PARTLY_S)
        entry->seconds = PARTLY_S;
    if (entry->seconds == UINT32_MAX)
        entry->seconds = 0;
    entry->settled = clock_now();
    entry->expires = entry->settled + entry->seconds;
    while ((wait = STAILQ_FIRST(&entry->waits)) != NULL) {
        STAILQ_REMOVE_HEAD(&entry->waits, link);
        entry->keys->waits_len--;
        if (wait->client != NULL)
            answer(entry, wait->client, wait->number);
        free(wait);
    }
    if ((entry->found_len == 0 && entry->has_failed) || entry->seconds == 0)
        entry_free(entry);
}

/* ---- sources that are down ---- */

static const char *down_domain(const struct question *question)
{
    return question->source->ops->is_of_domain ? mime_addr_domain(question->entry->address) : "";
}

static struct down *down_slot(const struct question *question)
{
    struct finder_keys *keys = question->entry->keys;
    const size_t index = (size_t)(question->source - keys->sources);
    return &keys->downs[(span_hash(span_of(down_domain(question))) + index) % DOWN_SLOTS];
}

static bool is_down(const struct question *question)
{
    const struct down *down = down_slot(question);
    return down->source == question->source && strcmp(down->domain, down_domain(question)) == 0 &&
           clock_monotonic_ms() < down->until_ms;
}

static void note_down(const struct question *question, bool is_down_now)
{
    struct down *down = down_slot(question);
    if (!is_down_now && down->source != question->source)
        return;
    down->source = question->source;
    (void)span_copy(span_of(down_domain(question)), down->domain, sizeof(down->domain));
    down->until_ms = is_down_now ? clock_monotonic_ms() + (uint64_t)question->source->config->failed_s * 1000 : 0;
}

/* ---- questions ---- */

static enum err keep(struct entry *entry, const struct config_source *config, const struct keyring_piece *piece)
{
    const size_t before = entry->found.len;
    enum err err = proxy_source_keep(config, entry->address, piece, &entry->found);
    entry->keys->bytes += entry->found.len - before;
    entry->found_len += err == ERR_OK && piece->kind != KEYRING_FOUND_ALL;
    return err;
}

static void on_answer(enum err err, const struct keyring_piece *pieces, size_t pieces_len, const char *problem,
                      void *context)
{
    static const struct keyring_piece all = {.kind = KEYRING_FOUND_ALL};
    struct question *question = context;
    struct entry *entry = question->entry;
    const struct config_source *config = question->source->config;
    const struct keyring_ldap *ldap = proxy_source_directory(question->source);
    bool was_taken;
    if (err != ERR_OK && ldap != NULL && keyring_ldap_is_refused(ldap, &was_taken))
        finder_renew(entry->keys->finder, config->name, was_taken);
    note_down(question, err == ERR_UPSTREAM_DOWN && pieces_len == 0);
    for (size_t i = 0; i < pieces_len; i++) {
        const enum err kept = keep(entry, config, &pieces[i]);
        err = err == ERR_OK ? kept : err;
    }
    if (err == ERR_OK && problem[0] == '\0' && !question->is_by_key)
        err = keep(entry, config, &all);
    if (err != ERR_OK)
        entry->has_failed = true;
    const uint32_t seconds = pieces_len > 0 ? config->found_s : config->missing_s;
    if ((err == ERR_OK || pieces_len > 0) && seconds < entry->seconds)
        entry->seconds = seconds;
    entry->open--;
    if (entry->open == 0 && !entry->is_starting)
        settle(entry);
}

static void ask(struct entry *entry, size_t index)
{
    const struct proxy_source *source = &entry->keys->sources[index];
    struct question *question = &entry->questions[index];
    char name[PROXY_SOURCE_NAME_SIZE];
    const struct proxy_source_ops *ops = source->ops;
    const bool is_by_key = ops->ask_key != NULL && entry->fingerprint[0] != '\0';
    enum err err = ERR_UPSTREAM_DOWN;
    *question = (struct question){entry, source, is_by_key};
    if (!is_down(question))
        err = is_by_key ? ops->ask_key(source->state, entry->address, entry->fingerprint, on_answer, question)
                        : ops->ask(source->state, entry->address, on_answer, question);
    if (err == ERR_OK) {
        entry->open++;
        return;
    }
    entry->has_failed = true;
    proxy_source_name(source->config, name);
    if (err == ERR_UPSTREAM_DOWN)
        log_info("%s did not answer, and is not asked again yet", name);
    else
        log_failure(err, "asking %s", name);
}

static void ask_all(struct entry *entry)
{
    struct finder_keys *keys = entry->keys;
    entry->is_starting = true;
    /* No source hears of an address that is not for it, or not yet. */
    for (size_t i = 0; i < keys->sources_len; i++)
        if (config_source_stage(keys->finder->config, i, entry->address) == entry->stage)
            ask(entry, i);
    entry->is_starting = false;
    if (entry->open == 0)
        settle(entry);
}

static enum err enter(struct finder_keys *keys, struct finder_client *client, uint32_t number, const char *address,
                      size_t stage, const char *fingerprint)
{
    struct entry *entry = find_entry(keys, address, stage, fingerprint);
    if (entry != NULL && entry->open == 0) {
        answer(entry, client, number);
        return ERR_OK;
    }
    struct wait *wait = keys->waits_len < WAITS_MAX ? calloc(1, sizeof(*wait)) : NULL;
    if (wait == NULL)
        return ERR_BUSY;
    const bool is_new = entry == NULL;
    if (is_new)
        entry = add_entry(keys, address, stage, fingerprint);
    if (entry == NULL) {
        free(wait);
        return ERR_BUSY;
    }
    *wait = (struct wait){.client = client, .number = number};
    STAILQ_INSERT_TAIL(&entry->waits, wait, link);
    keys->waits_len++;
    if (is_new)
        ask_all(entry);
    return ERR_OK;
}

enum err finder_find(struct finder_client *client, uint32_t number, struct ipc_in *in)
{
    char address[MIME_ADDR_SIZE], normal[MIME_ADDR_SIZE], fingerprint[KEYRING_FPR_SIZE];
    struct ipc_out out;
    ipc_get_string(in, address, sizeof(address));
    const uint32_t stage = ipc_get_u32(in);
    ipc_get_string(in, fingerprint, sizeof(fingerprint));
    const bool is_refresh = ipc_get_u32(in) != 0;
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && fingerprint[strspn(fingerprint, "0123456789ABCDEF")] != '\0')
        return ERR_PEER_PROTOCOL;
    if (err != ERR_OK || mime_addr_normalise(span_of(address), normal) || strcmp(address, normal) != 0)
        return ERR_PEER_PROTOCOL;
    if (is_refresh)
        forget_answers(client->finder->keys, address, stage);
    err = enter(client->finder->keys, client, number, address, stage, fingerprint);
    if (err == ERR_OK)
        return ERR_OK;
    finder_answer_begin(&out, number, err);
    finder_answer_send(client, &out);
    return ERR_OK;
}

void finder_keys_forget(struct finder_keys *keys, const struct finder_client *client)
{
    struct entry *entry;
    struct wait *wait;
    if (keys == NULL)
        return;
    for (entry = TAILQ_FIRST(&keys->entries); entry != NULL; entry = TAILQ_NEXT(entry, age))
        for (wait = STAILQ_FIRST(&entry->waits); wait != NULL; wait = STAILQ_NEXT(wait, link))
            if (wait->client == client)
                wait->client = NULL;
}

struct keyring_fetch_directory *finder_keys_directories(const struct finder_keys *keys, size_t *len_out)
{
    size_t len = 0;
    struct keyring_fetch_directory *directories =
        keys == NULL || keys->sources_len == 0 ? NULL : calloc(keys->sources_len, sizeof(*directories));
    for (size_t i = 0; directories != NULL && i < keys->sources_len; i++) {
        const struct proxy_source *source = &keys->sources[i];
        if (proxy_source_directory(source) != NULL)
            directories[len++] = (struct keyring_fetch_directory){
                PROXY_SECTION(struct config_directory, source->config)->ldap.host, proxy_source_directory(source)};
    }
    *len_out = len;
    return directories;
}

enum err finder_keys_new(struct finder *finder, struct finder_keys **keys_out)
{
    const struct config *config = finder->config;
    struct finder_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return ERR_MEMORY;
    keys->finder = finder;
    TAILQ_INIT(&keys->entries);
    keys->sources = calloc(config->sources_len + 1, sizeof(*keys->sources));
    enum err err = keys->sources == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < config->sources_len; i++) {
        struct evdns_base *dns = config->sources[i]->kind == KEYRING_SOURCE_WKD ? finder->whole_dns : finder->dns;
        err = proxy_source_open(config->sources[i], finder->base, dns, &keys->sources[i]);
        keys->sources_len += err == ERR_OK;
    }
    if (err != ERR_OK)
        finder_keys_free(&keys);
    else
        *keys_out = keys;
    return err;
}

/* Questions that are still open with the sources go with the process. */
void finder_keys_free(struct finder_keys **keys_pointer)
{
    struct finder_keys *keys = *keys_pointer;
    *keys_pointer = NULL;
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->sources_len; i++)
        proxy_source_close(&keys->sources[i]);
    free(keys->sources);
    while (!TAILQ_EMPTY(&keys->entries)) {
        struct entry *entry = TAILQ_FIRST(&keys->entries);
        while (!STAILQ_EMPTY(&entry->waits)) {
            struct wait *wait = STAILQ_FIRST(&entry->waits);
            STAILQ_REMOVE_HEAD(&entry->waits, link);
            free(wait);
        }
        entry_free(entry);
    }
    free(keys);
}
