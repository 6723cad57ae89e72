#include "proxy/lookup.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "keyring/found.h"
#include "keyring/learn.h"
#include "proxy/source.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define BUCKETS 1024u
#define KNOWN_MAX 20000u
/* The finder keeps the sources' own deadlines; this is for one that does not. */
#define SLACK_MS 1000u

/* An answer that counts: by the clock that certificates go by, which goes on while the machine sleeps. */
struct known {
    LIST_ENTRY(known) same; /* of its bucket */
    TAILQ_ENTRY(known) age;
    size_t account;
    char address[MIME_ADDR_SIZE];
    size_t stage;
    int64_t since, until;
};

struct proxy_lookup {
    LIST_ENTRY(proxy_lookup) link;
    struct proxy_lookups *lookups;
    size_t account;
    char address[MIME_ADDR_SIZE];
    size_t stage;
    bool is_again;
    bool is_partial;  /* something could not be asked */
    bool is_refresh;  /* what comes is not all that there is for the address */
    uint32_t seconds; /* how long the answer counts */
    struct proxy_finder_request *request;
    struct proxy_job *job;
    struct proxy_vault_request *hearing;
    struct keyring_learn_listed listed; /* keys that are not imported again */
    struct proxy_heard *heard;          /* NULL: sources are asked, not the record */
    proxy_lookup_fn fn;
    void *context;
};

struct proxy_lookups {
    const struct config *config;
    struct proxy_pool *pool;
    struct proxy_finderlink *finder;
    struct proxy_vaultlink *vault;
    LIST_HEAD(, known) buckets[BUCKETS];
    TAILQ_HEAD(, known) ages;
    size_t known_len;
    LIST_HEAD(, proxy_lookup) open;
};

static uint32_t bucket_of(const char *address)
{
    return span_hash(span_of(address)) % BUCKETS;
}

static void forget(struct proxy_lookups *lookups, struct known *known)
{
    LIST_REMOVE(known, same);
    TAILQ_REMOVE(&lookups->ages, known, age);
    lookups->known_len--;
    free(known);
}

/* Without memory for it the finder is asked again, which remembers too. */
static void remember(const struct proxy_lookup *lookup)
{
    struct proxy_lookups *lookups = lookup->lookups;
    if (lookup->seconds == 0 || lookup->is_refresh)
        return;
    if (lookups->known_len >= KNOWN_MAX)
        forget(lookups, TAILQ_FIRST(&lookups->ages));
    struct known *known = calloc(1, sizeof(*known));
    if (known == NULL)
        return;
    known->account = lookup->account;
    known->stage = lookup->stage;
    memcpy(known->address, lookup->address, sizeof(known->address));
    known->since = clock_now();
    known->until = known->since + lookup->seconds;
    LIST_INSERT_HEAD(&lookups->buckets[bucket_of(known->address)], known, same);
    TAILQ_INSERT_TAIL(&lookups->ages, known, age);
    lookups->known_len++;
}

static bool is_known(struct proxy_lookups *lookups, size_t account, const char *address, size_t stage)
{
    struct known *known, *next;
    const int64_t now = clock_now();
    for (known = LIST_FIRST(&lookups->buckets[bucket_of(address)]); known != NULL; known = next) {
        next = LIST_NEXT(known, same);
        if (known->until <= now || known->since > now)
            forget(lookups, known);
        else if (known->account == account && known->stage == stage && strcmp(known->address, address) == 0)
            return true;
    }
    return false;
}

bool proxy_lookup_is_due(struct proxy_lookups *lookups, size_t account, const char *address, size_t *stage)
{
    while (config_stage_timeout_ms(lookups->config, address, *stage) > 0) {
        if (!is_known(lookups, account, address, *stage))
            return true;
        (*stage)++;
    }
    return false;
}

static void lookup_free(struct proxy_lookup *lookup)
{
    proxy_finder_cancel(&lookup->request);
    proxy_pool_cancel(&lookup->job);
    proxy_vault_cancel(&lookup->hearing);
    LIST_REMOVE(lookup, link);
    free(lookup);
}

static void finish(struct proxy_lookup *lookup, enum err err)
{
    proxy_lookup_fn fn = lookup->fn;
    void *context = lookup->context;
    /* What was found may not be what is wanted. */
    if (err == ERR_OK && lookup->is_partial)
        err = ERR_LOOKUP;
    if (err == ERR_OK)
        remember(lookup);
    lookup_free(lookup);
    fn(err, context);
}

/* Not a source's failure: there may be a key, and nobody knows. */
static void fail_here(struct proxy_lookup *lookup, enum err err)
{
    finish(lookup, err_is_temporary(err) && err != ERR_LOOKUP ? err : ERR_WORKER);
}

static void on_heard(enum err err, void *context)
{
    struct proxy_lookup *lookup = context;
    lookup->hearing = NULL;
    if (err == ERR_OK) {
        finish(lookup, ERR_OK);
        return;
    }
    log_failure(err, "keeping who has a key of %s", lookup->address);
    fail_here(lookup, err);
}

/* What the sources say of OpenPGP keys stands in the correspondent's record: the keeper has looked at it, and the vault
   believes no more of it than that a source said so. */
static enum err hear(struct proxy_lookup *lookup, struct span words)
{
    const struct proxy_lookups *lookups = lookup->lookups;
    return proxy_vault_peer_hear(lookups->vault, lookups->config->accounts[lookup->account].address, words, on_heard,
                                 lookup, &lookup->hearing);
}

static void on_learnt(enum err err, struct ipc_in *answer, void *context)
{
    struct proxy_lookup *lookup = context;
    lookup->job = NULL;
    const uint32_t kept = err == ERR_OK ? ipc_get_u32(answer) : 0;
    const struct span words = err == ERR_OK ? ipc_get_span(answer) : SPAN_NONE;
    if (err == ERR_OK)
        err = ipc_in_end(answer);
    if (err == ERR_OK)
        log_info("%u keys of %s kept", (unsigned)kept, lookup->address);
    if (err == ERR_OK && words.len > 0 && (err = hear(lookup, words)) == ERR_OK)
        return;
    if (err != ERR_OK)
        log_failure(err, "keeping what was found for %s", lookup->address);
    /* A stranger who tells junk in somebody's name must not hold up mail to them. */
    if (err == ERR_OK || keyring_learn_is_junk(err))
        finish(lookup, err == ERR_OK || lookup->heard != NULL ? ERR_OK : ERR_LOOKUP);
    else
        fail_here(lookup, err);
}

/* Has a keeper look at what `file` holds, by the word of those who were asked and no others. */
static enum err learn(struct proxy_lookup *lookup, const struct keyring_teller *tellers, size_t tellers_len, int file)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_LEARN);
    ipc_put_string(&out, lookup->address);
    proxy_put_tellers(&out, tellers, tellers_len);
    ipc_put_file(&out, file);
    return proxy_pool_submit(lookup->lookups->pool, lookup->account, &out, on_learnt, lookup, &lookup->job);
}

static void on_found(enum err err, const struct proxy_finder_answer *answer, void *context)
{
    struct proxy_lookup *lookup = context;
    struct keyring_teller tellers[KEYRING_TELLERS_MAX];
    lookup->request = NULL;
    const uint32_t most = config_stage_keep_s(lookup->lookups->config, lookup->address, lookup->stage);
    if (err == ERR_OK) {
        lookup->seconds = answer->seconds < most ? answer->seconds : most;
        lookup->is_partial = answer->is_partial;
    }
    if (err != ERR_OK || answer->file < 0 || (answer->pieces_len == 0 && !lookup->is_again)) {
        finish(lookup, err == ERR_OK ? ERR_OK : ERR_LOOKUP);
        return;
    }
    const size_t len = proxy_source_tellers(lookup->lookups->config, lookup->address, lookup->stage, tellers);
    err = learn(lookup, tellers, len, answer->file);
    if (err != ERR_OK)
        fail_here(lookup, err);
}

static enum err begin(struct proxy_lookups *lookups, size_t account, const char *address, const char *fingerprint,
                      size_t stage, bool is_again, uint32_t most_ms, proxy_lookup_fn fn, void *context,
                      struct proxy_lookup **lookup_out)
{
    struct proxy_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return ERR_MEMORY;
    *lookup = (struct proxy_lookup){
        .lookups = lookups, .account = account, .stage = stage, .is_again = is_again, .fn = fn, .context = context};
    (void)span_copy(span_of(address), lookup->address, sizeof(lookup->address));
    LIST_INSERT_HEAD(&lookups->open, lookup, link);
    const uint32_t deadline_ms = config_stage_timeout_ms(lookups->config, lookup->address, stage) + SLACK_MS;
    lookup->is_refresh = fingerprint != NULL;
    enum err err = proxy_finder_find(lookups->finder, lookup->address, stage, fingerprint,
                                     deadline_ms < most_ms ? deadline_ms : most_ms, on_found, lookup, &lookup->request);
    if (err != ERR_OK) {
        lookup_free(lookup);
        return err;
    }
    *lookup_out = lookup;
    return ERR_OK;
}

/* ---- what mail told ---- */

static enum err learn_heard(struct proxy_lookup *lookup, struct span found)
{
    static const struct keyring_teller tellers[] = {{.source = KEYRING_SOURCE_AUTOCRYPT},
                                                    {.source = KEYRING_SOURCE_GOSSIP}};
    int fd;
    enum err err = memfd_of("found", found, KEYRING_FOUND_SIZE_MAX, &fd);
    if (err != ERR_OK)
        return err;
    err = learn(lookup, tellers, sizeof(tellers) / sizeof(*tellers), fd);
    close(fd);
    return err;
}

/* Notes what the record says. It is settled if it says nothing, or the same as before the ring was last looked at: what
   was in force when that was listed is then known. */
static void note_heard(struct proxy_heard *heard, const struct keyring_peer *peer)
{
    struct proxy_heard now = {.is_read = true, .is_settled = true};
    if (peer != NULL) {
        now.received = peer->received;
        memcpy(now.fingerprint, peer->autocrypt.fingerprint, sizeof(now.fingerprint));
        memcpy(now.gossip_fingerprint, peer->autocrypt.gossip_fingerprint, sizeof(now.gossip_fingerprint));
        now.is_settled =
            (now.fingerprint[0] == '\0' && now.gossip_fingerprint[0] == '\0') ||
            (heard->is_read && now.received == heard->received && strcmp(now.fingerprint, heard->fingerprint) == 0 &&
             strcmp(now.gossip_fingerprint, heard->gossip_fingerprint) == 0);
    }
    *heard = now;
}

static void on_record(enum err err, const struct keyring_peer *peer, void *context)
{
    struct proxy_lookup *lookup = context;
    struct buf found;
    lookup->hearing = NULL;
    if (err == ERR_OK || err == ERR_NOT_FOUND)
        note_heard(lookup->heard, err == ERR_OK ? peer : NULL);
    /* Where mail is not listened to, the record was read only to see whether it is damaged. */
    if (err == ERR_NOT_FOUND ||
        (err == ERR_OK && (lookup->heard->is_settled || !lookup->lookups->config->has_autocrypt))) {
        finish(lookup, ERR_OK);
        return;
    }
    buf_init(&found, KEYRING_FOUND_SIZE_MAX);
    if (err == ERR_OK)
        err = keyring_learn_heard(peer, &lookup->listed, &found);
    const bool is_any = err == ERR_OK && found.len > 0;
    if (is_any)
        err = learn_heard(lookup, buf_span(&found));
    buf_fini(&found);
    if (is_any && err == ERR_OK)
        return;
    if (err == ERR_OK)
        finish(lookup, ERR_OK);
    else
        fail_here(lookup, log_failure(err, "looking at the record of %s", lookup->address));
}

enum err proxy_lookup_heard(struct proxy_lookups *lookups, size_t account, const char *address,
                            const struct keyring *keyring, struct proxy_heard *heard, proxy_lookup_fn fn, void *context,
                            struct proxy_lookup **lookup_out)
{
    struct proxy_lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return ERR_MEMORY;
    *lookup =
        (struct proxy_lookup){.lookups = lookups, .account = account, .heard = heard, .fn = fn, .context = context};
    (void)span_copy(span_of(address), lookup->address, sizeof(lookup->address));
    keyring_learn_list(keyring, address, &lookup->listed);
    LIST_INSERT_HEAD(&lookups->open, lookup, link);
    enum err err = proxy_vault_peer_get(lookups->vault, lookups->config->accounts[account].address, lookup->address,
                                        on_record, lookup, &lookup->hearing);
    if (err != ERR_OK) {
        lookup_free(lookup);
        return err;
    }
    *lookup_out = lookup;
    return ERR_OK;
}

enum err proxy_lookup_begin(struct proxy_lookups *lookups, size_t account, const char *address, size_t stage,
                            bool is_again, uint32_t most_ms, proxy_lookup_fn fn, void *context,
                            struct proxy_lookup **lookup_out)
{
    return begin(lookups, account, address, NULL, stage, is_again, most_ms, fn, context, lookup_out);
}

enum err proxy_lookup_refresh(struct proxy_lookups *lookups, size_t account, const char *address,
                              const char *fingerprint, size_t stage, proxy_lookup_fn fn, void *context,
                              struct proxy_lookup **lookup_out)
{
    return begin(lookups, account, address, fingerprint, stage, true, UINT32_MAX, fn, context, lookup_out);
}

void proxy_lookup_cancel(struct proxy_lookup **lookup)
{
    if (*lookup != NULL)
        lookup_free(*lookup);
    *lookup = NULL;
}

enum err proxy_lookups_new(const struct config *config, struct proxy_pool *pool, struct proxy_finderlink *finder,
                           struct proxy_vaultlink *vault, struct proxy_lookups **lookups_out)
{
    struct proxy_lookups *lookups = calloc(1, sizeof(*lookups));
    if (lookups == NULL)
        return ERR_MEMORY;
    *lookups = (struct proxy_lookups){.config = config, .pool = pool, .finder = finder, .vault = vault};
    TAILQ_INIT(&lookups->ages);
    *lookups_out = lookups;
    return ERR_OK;
}

void proxy_lookups_free(struct proxy_lookups **lookups_pointer)
{
    struct proxy_lookups *lookups = *lookups_pointer;
    *lookups_pointer = NULL;
    if (lookups == NULL)
        return;
    while (!LIST_EMPTY(&lookups->open))
        lookup_free(LIST_FIRST(&lookups->open));
    while (!TAILQ_EMPTY(&lookups->ages))
        forget(lookups, TAILQ_FIRST(&lookups->ages));
    free(lookups);
}
