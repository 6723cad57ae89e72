/*
 * Keys of correspondents: which directories are asked for an address, and what they said while it counts.
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
/* What was found counts no longer than this where another directory could not be asked. */
#define PARTLY_S 60u

struct wait {
    STAILQ_ENTRY(wait) link;
    struct finder_client *client; /* NULL: gone */
    uint32_t number;
};

/* What one directory is asked for an address. */
struct question {
    struct entry *entry;
    struct place *place;
};

/* A directory; one that did not answer is left alone for a while, so that not every address waits for it. */
struct place {
    struct proxy_directory directory;
    uint64_t down_until_ms;
};

/* One address: being asked for, or known from `settled` until `expires`: by the clock that certificates go by, which
   goes on while the machine sleeps. */
struct entry {
    LIST_ENTRY(entry) same; /* of its bucket */
    TAILQ_ENTRY(entry) age; /* oldest first */
    struct finder_keys *keys;
    struct question *questions; /* one for each directory */
    char address[MIME_ADDR_SIZE];
    size_t open;      /* directories that have not answered */
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
    struct place *places;
    size_t places_len;
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

static struct entry *find_entry(struct finder_keys *keys, const char *address)
{
    struct entry *entry, *next;
    const int64_t now = clock_now();
    for (entry = LIST_FIRST(&keys->buckets[bucket_of(address)]); entry != NULL; entry = next) {
        next = LIST_NEXT(entry, same);
        if (entry->open == 0 && !entry->is_starting && (entry->expires <= now || entry->settled > now))
            entry_free(entry);
        else if (strcmp(entry->address, address) == 0)
            return entry;
    }
    return NULL;
}

static struct entry *add_entry(struct finder_keys *keys, const char *address)
{
    make_room(keys);
    struct entry *entry = keys->entries_len < ENTRIES_MAX ? calloc(1, sizeof(*entry)) : NULL;
    if (entry == NULL || (entry->questions = calloc(keys->places_len + 1, sizeof(struct question))) == NULL) {
        free(entry);
        return NULL;
    }
    entry->keys = keys;
    memcpy(entry->address, address, strlen(address) + 1);
    entry->seconds = UINT32_MAX;
    buf_init(&entry->found, KEYRING_FOUND_SIZE_MAX);
    STAILQ_INIT(&entry->waits);
    LIST_INSERT_HEAD(&keys->buckets[bucket_of(address)], entry, same);
    TAILQ_INSERT_TAIL(&keys->entries, entry, age);
    keys->entries_len++;
    return entry;
}

static enum err result_of(const struct entry *entry)
{
    return entry->found_len == 0 && entry->has_failed ? ERR_LOOKUP : ERR_OK;
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
        ipc_put_u32(&out, fd >= 0);
        if (fd >= 0)
            ipc_put_file(&out, fd);
    }
    finder_answer_send(client, &out);
    if (fd >= 0)
        close(fd);
}

/* All directories have answered. What is no answer is not kept. */
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
    if (result_of(entry) != ERR_OK || entry->seconds == 0)
        entry_free(entry);
}

static enum err keep(struct entry *entry, const struct config_directory *config, enum keyring_found_kind kind,
                     struct span bytes)
{
    const struct keyring_ldap_value value = {.kind = kind, .bytes = bytes};
    const size_t before = entry->found.len;
    enum err err = proxy_directory_keep(config, entry->address, &value, &entry->found);
    entry->keys->bytes += entry->found.len - before;
    entry->found_len += err == ERR_OK && kind != KEYRING_FOUND_ALL;
    return err;
}

static void on_answer(enum err err, const struct keyring_ldap_value *values, size_t values_len, const char *problem,
                      void *context)
{
    struct question *question = context;
    struct entry *entry = question->entry;
    const struct config_directory *config = question->place->directory.config;
    bool was_taken;
    if (err != ERR_OK && keyring_ldap_is_refused(question->place->directory.ldap, &was_taken))
        finder_renew(entry->keys->finder, config->ldap.name, was_taken);
    question->place->down_until_ms =
        err == ERR_UPSTREAM_DOWN ? clock_monotonic_ms() + (uint64_t)config->failed_s * 1000 : 0;
    for (size_t i = 0; err == ERR_OK && i < values_len; i++)
        err = keep(entry, config, values[i].kind, values[i].bytes);
    if (err == ERR_OK && problem[0] == '\0')
        err = keep(entry, config, KEYRING_FOUND_ALL, SPAN_NONE);
    if (err != ERR_OK)
        entry->has_failed = true;
    const uint32_t seconds = values_len > 0 ? config->found_s : config->missing_s;
    if (err == ERR_OK && seconds < entry->seconds)
        entry->seconds = seconds;
    entry->open--;
    if (entry->open == 0 && !entry->is_starting)
        settle(entry);
}

static void ask(struct entry *entry, size_t index)
{
    struct place *place = &entry->keys->places[index];
    struct question *question = &entry->questions[index];
    *question = (struct question){entry, place};
    enum err err = clock_monotonic_ms() < place->down_until_ms
                       ? ERR_UPSTREAM_DOWN
                       : keyring_ldap_find(place->directory.ldap, entry->address, on_answer, question, NULL);
    if (err == ERR_OK) {
        entry->open++;
        return;
    }
    entry->has_failed = true;
    if (err == ERR_UPSTREAM_DOWN)
        log_info("directory %s did not answer, and is not asked again yet", place->directory.config->ldap.name);
    else
        log_failure(err, "asking directory %s", place->directory.config->ldap.name);
}

static void ask_all(struct entry *entry)
{
    struct finder_keys *keys = entry->keys;
    entry->is_starting = true;
    /* No directory hears of an address that is not for it. */
    for (size_t i = 0; i < keys->places_len; i++)
        if (config_directory_serves(keys->places[i].directory.config, entry->address))
            ask(entry, i);
    entry->is_starting = false;
    if (entry->open == 0)
        settle(entry);
}

static enum err enter(struct finder_keys *keys, struct finder_client *client, uint32_t number, const char *address)
{
    struct entry *entry = find_entry(keys, address);
    if (entry != NULL && entry->open == 0) {
        answer(entry, client, number);
        return ERR_OK;
    }
    struct wait *wait = keys->waits_len < WAITS_MAX ? calloc(1, sizeof(*wait)) : NULL;
    if (wait == NULL)
        return ERR_BUSY;
    const bool is_new = entry == NULL;
    if (is_new)
        entry = add_entry(keys, address);
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
    char address[MIME_ADDR_SIZE], normal[MIME_ADDR_SIZE];
    struct ipc_out out;
    ipc_get_string(in, address, sizeof(address));
    enum err err = ipc_in_end(in);
    if (err != ERR_OK || mime_addr_normalise(span_of(address), normal) || strcmp(address, normal) != 0)
        return ERR_PEER_PROTOCOL;
    err = enter(client->finder->keys, client, number, address);
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

struct keyring_fetch_directory *finder_keys_directories(const struct finder_keys *keys, size_t *len)
{
    *len = keys == NULL ? 0 : keys->places_len;
    struct keyring_fetch_directory *directories = *len == 0 ? NULL : calloc(*len, sizeof(*directories));
    if (directories == NULL)
        *len = 0;
    for (size_t i = 0; i < *len; i++)
        directories[i] = (struct keyring_fetch_directory){keys->places[i].directory.config->ldap.host,
                                                          keys->places[i].directory.ldap};
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
    keys->places = calloc(config->directories_len + 1, sizeof(*keys->places));
    enum err err = keys->places == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < config->directories_len; i++) {
        err = proxy_directory_open(&config->directories[i], finder->base, finder->dns, &keys->places[i].directory);
        keys->places_len += err == ERR_OK;
    }
    if (err != ERR_OK)
        finder_keys_free(&keys);
    else
        *keys_out = keys;
    return err;
}

/* Questions that are still open with the directories go with the process. */
void finder_keys_free(struct finder_keys **keys_pointer)
{
    struct finder_keys *keys = *keys_pointer;
    *keys_pointer = NULL;
    if (keys == NULL)
        return;
    for (size_t i = 0; i < keys->places_len; i++)
        proxy_directory_close(&keys->places[i].directory);
    free(keys->places);
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
