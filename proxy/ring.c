#include "proxy/ring.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "proxy/wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/queue.h>
#include <unistd.h>

#define INDEX_MAX ((size_t)1 << 31)
#define RELISTS_MAX 3
#define LAPSED_MS 60000   /* a listing counts for so long at least, though words in it run out one after the other */
#define UNWATCHED_MS 1000 /* for so long a listing counts where nothing tells of changes */
/* Not IN_CLOSE_WRITE: every gpg that looks at trust opens the trust database for writing, and seldom writes. */
#define WATCHED (IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE)

struct proxy_ring_wait {
    TAILQ_ENTRY(proxy_ring_wait) link;
    proxy_ring_fn fn; /* NULL once cancelled */
    void *context;
};

struct account {
    struct proxy_ring *ring;
    struct keyring *keyring; /* NULL: never listed */
    int file;                /* what `keyring` was read from; -1 with NULL */
    uint64_t number;         /* of `keyring` */
    int home_watch, secret_watch, certificates_watch;
    uint64_t home_changes;     /* of the GnuPG home, seen so far, and one */
    uint64_t listed_ms;        /* when `keyring` came */
    int64_t listed_from;       /* when it was asked for, by the clock that words run out by */
    int64_t lapses;            /* when the first word in it runs out; INT64_MAX: none does */
    bool is_stale;             /* the ring has changed since the listing that `keyring` came from was asked for */
    bool is_stale_by_mail;     /* what received mail tells has */
    struct proxy_job *listing; /* under way */
    unsigned relists;          /* listings in a row that the ring outran */
    TAILQ_HEAD(, proxy_ring_wait) waits;
};

struct proxy_ring {
    const struct config *config;
    struct proxy_pool *pool;
    int inotify;          /* -1: there is none to be had */
    uint64_t indexes_len; /* how many came so far: the last one's number */
    struct account *accounts;
};

/* True if a change of this file in a home may change the index; gpg's locks and temporary files come and go with every
 * call. */
static bool is_ring_file(const char *name)
{
    return strcmp(name, "pubring.kbx") == 0 || strcmp(name, "pubring.gpg") == 0 || strcmp(name, "trustdb.gpg") == 0;
}

/* Files of the certificates' folder come and go whole; what begins with a dot is on its way there. */
static bool is_certificate_file(const char *name)
{
    return name[0] != '.';
}

static void take_event(struct proxy_ring *ring, const struct inotify_event *event)
{
    for (size_t i = 0; i < ring->config->accounts_len; i++) {
        struct account *account = &ring->accounts[i];
        bool is_home = event->wd == account->home_watch && event->len > 0 && is_ring_file(event->name);
        bool is_certificate =
            event->wd == account->certificates_watch && event->len > 0 && is_certificate_file(event->name);
        bool is_any = (event->mask & IN_Q_OVERFLOW) != 0;
        if (is_home || event->wd == account->secret_watch || is_any)
            account->home_changes++;
        if (is_home || is_certificate || event->wd == account->secret_watch || is_any)
            account->is_stale = true;
    }
}

static void drain(struct proxy_ring *ring)
{
    char bytes[8192] __attribute__((aligned(8)));
    ssize_t len;
    for (size_t i = 0; ring->inotify < 0 && i < ring->config->accounts_len; i++)
        if (clock_monotonic_ms() - ring->accounts[i].listed_ms >= UNWATCHED_MS)
            ring->accounts[i].is_stale = true;
    for (size_t i = 0; i < ring->config->accounts_len; i++)
        if (ring->accounts[i].lapses <= clock_now() && clock_monotonic_ms() - ring->accounts[i].listed_ms >= LAPSED_MS)
            ring->accounts[i].is_stale = true;
    while (ring->inotify >= 0 && (len = read(ring->inotify, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= len;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
            take_event(ring, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
}

/* A source's word counts a while longer than it need not be asked again. */
static int64_t first_lapse(const struct keyring *keyring, int64_t now)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const int64_t again = keyring_at(keyring, i)->ask_again;
        if (again != 0 && again > now - KEYRING_WORD_LONGER_S && again < first - KEYRING_WORD_LONGER_S)
            first = again + KEYRING_WORD_LONGER_S;
    }
    return first;
}

static enum err load(struct account *account, struct ipc_in *answer)
{
    struct span saved = SPAN_NONE;
    struct keyring *keyring = NULL;
    int fd = ipc_get_file(answer);
    enum err err = ipc_in_end(answer);
    if (err == ERR_OK)
        err = memfd_map(fd, INDEX_MAX, &saved);
    if (err == ERR_OK)
        err = keyring_load(saved, &keyring);
    memfd_unmap(&saved);
    if (err != ERR_OK) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    keyring_free(&account->keyring);
    if (account->file >= 0)
        close(account->file);
    account->keyring = keyring;
    account->file = fd;
    account->number = ++account->ring->indexes_len;
    account->listed_ms = clock_monotonic_ms();
    account->lapses = first_lapse(keyring, clock_now());
    return ERR_OK;
}

static void fire(struct account *account, enum err err)
{
    struct proxy_ring_wait *wait;
    /* Whoever asks again from within its callback stands behind those who waited already. */
    TAILQ_HEAD(, proxy_ring_wait) waits = TAILQ_HEAD_INITIALIZER(waits);
    TAILQ_CONCAT(&waits, &account->waits, link);
    while ((wait = TAILQ_FIRST(&waits)) != NULL) {
        TAILQ_REMOVE(&waits, wait, link);
        if (wait->fn != NULL)
            wait->fn(err, account->keyring, wait->context);
        free(wait);
    }
}

static void on_listed(enum err err, struct ipc_in *answer, void *context);

static enum err list(struct account *account, size_t number)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_LIST);
    ipc_put_u64(&out, account->ring->inotify < 0 ? 0 : account->home_changes);
    account->is_stale = account->is_stale_by_mail = false;
    account->listed_from = clock_now();
    enum err err = proxy_pool_submit(account->ring->pool, number, &out, on_listed, account, &account->listing);
    if (err != ERR_OK)
        account->is_stale = true;
    return err;
}

static void on_listed(enum err err, struct ipc_in *answer, void *context)
{
    struct account *account = context;
    struct proxy_ring *ring = account->ring;
    size_t number = (size_t)(account - ring->accounts);
    account->listing = NULL;
    if (err == ERR_OK)
        err = load(account, answer);
    if (err != ERR_OK) {
        account->is_stale = true;
        log_failure(err, "listing the keys of %s", ring->config->accounts[number].address);
    }
    drain(ring);
    /* The ring changed while it was listed (its own upkeep of the trust database counts too): whoever waits may have
       asked after that change. A ring that changes all the time is answered for as of a moment ago. */
    if (err == ERR_OK && account->is_stale && !TAILQ_EMPTY(&account->waits) && account->relists < RELISTS_MAX) {
        account->relists++;
        err = list(account, number);
        if (err == ERR_OK)
            return;
    }
    account->relists = 0;
    fire(account, err);
}

const struct keyring *proxy_ring_current_to_read(struct proxy_ring *ring, size_t number)
{
    struct account *account = &ring->accounts[number];
    drain(ring);
    return account->is_stale || account->listing != NULL ? NULL : account->keyring;
}

const struct keyring *proxy_ring_current(struct proxy_ring *ring, size_t number)
{
    return ring->accounts[number].is_stale_by_mail ? NULL : proxy_ring_current_to_read(ring, number);
}

void proxy_ring_changed(struct proxy_ring *ring, size_t number)
{
    if (ring->inotify < 0)
        ring->accounts[number].is_stale = true;
}

void proxy_ring_check_lapsed(struct proxy_ring *ring, size_t number, const char *address)
{
    struct account *account = &ring->accounts[number];
    const int64_t now = clock_now();
    size_t first;
    const size_t len = account->keyring == NULL ? 0 : keyring_find(account->keyring, address, &first);
    for (size_t i = 0; i < len; i++) {
        const int64_t again = keyring_at(account->keyring, first + i)->ask_again;
        const int64_t until = again + KEYRING_WORD_LONGER_S;
        if (again != 0 && until <= now && until > account->listed_from)
            account->is_stale = true;
    }
}

void proxy_ring_words_changed(struct proxy_ring *ring, const char *address, bool is_by_mail)
{
    for (size_t i = 0; i < ring->config->accounts_len; i++)
        if (address == NULL || strcmp(ring->config->accounts[i].address, address) == 0)
            *(is_by_mail ? &ring->accounts[i].is_stale_by_mail : &ring->accounts[i].is_stale) = true;
}

int proxy_ring_file(const struct proxy_ring *ring, size_t number, uint64_t *number_out)
{
    *number_out = ring->accounts[number].number;
    return ring->accounts[number].file;
}

enum err proxy_ring_ask(struct proxy_ring *ring, size_t number, proxy_ring_fn fn, void *context,
                        struct proxy_ring_wait **wait_out)
{
    struct account *account = &ring->accounts[number];
    if (account->listing == NULL) {
        enum err err = list(account, number);
        if (err != ERR_OK)
            return err;
    }
    struct proxy_ring_wait *wait = calloc(1, sizeof(*wait));
    if (wait == NULL)
        return ERR_MEMORY;
    wait->fn = fn;
    wait->context = context;
    TAILQ_INSERT_TAIL(&account->waits, wait, link);
    *wait_out = wait;
    return ERR_OK;
}

void proxy_ring_cancel(struct proxy_ring_wait **wait)
{
    if (*wait != NULL)
        (*wait)->fn = NULL;
    *wait = NULL;
}

/* Others have used up what a user may have of it: then rings are listed again and again while they are in use. */
static void do_without(struct proxy_ring *ring)
{
    log_warning("cannot watch the key rings (%s; see fs.inotify.max_user_instances and max_user_watches): they are "
                "listed anew every second while they are in use",
                strerror(errno));
    if (ring->inotify >= 0)
        close(ring->inotify);
    ring->inotify = -1;
}

static enum err watch(struct proxy_ring *ring, struct account *account, const char *home, const char *certificates)
{
    char secrets[CONFIG_PATH_SIZE + 32];
    snprintf(secrets, sizeof(secrets), "%s/private-keys-v1.d", home);
    account->home_watch = inotify_add_watch(ring->inotify, home, WATCHED);
    if (account->home_watch >= 0)
        account->secret_watch = inotify_add_watch(ring->inotify, secrets, WATCHED);
    if ((account->home_watch < 0 || account->secret_watch < 0) && errno == ENOSPC) {
        do_without(ring);
        return ERR_OK;
    }
    if (account->home_watch < 0) {
        log_error("cannot watch %s: %s", home, strerror(errno));
        return ERR_IO;
    }
    account->certificates_watch = inotify_add_watch(ring->inotify, certificates, WATCHED);
    if (account->certificates_watch < 0 && errno == ENOSPC) {
        do_without(ring);
    } else if (account->certificates_watch < 0) {
        log_error("cannot watch %s: %s", certificates, strerror(errno));
        return ERR_IO;
    }
    return ERR_OK;
}

enum err proxy_ring_new(const struct config *config, struct proxy_ring **ring_out)
{
    struct proxy_ring *ring = calloc(1, sizeof(*ring));
    if (ring == NULL)
        return ERR_MEMORY;
    ring->config = config;
    ring->accounts = calloc(config->accounts_len + 1, sizeof(*ring->accounts));
    ring->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (ring->inotify < 0)
        do_without(ring);
    enum err err = ring->accounts == NULL ? ERR_MEMORY : ERR_OK;
    for (size_t i = 0; ring->accounts != NULL && i < config->accounts_len; i++) {
        TAILQ_INIT(&ring->accounts[i].waits);
        ring->accounts[i].ring = ring;
        ring->accounts[i].is_stale = true;
        ring->accounts[i].home_changes = 1;
        ring->accounts[i].file = -1;
        ring->accounts[i].lapses = INT64_MAX;
        char certificates[CONFIG_PATH_SIZE];
        if (err == ERR_OK && !config_certificates(config, &config->accounts[i], certificates))
            err = ERR_CONFIG;
        if (err == ERR_OK && ring->inotify >= 0)
            err = watch(ring, &ring->accounts[i], config->accounts[i].gnupghome, certificates);
    }
    if (err != ERR_OK)
        proxy_ring_free(&ring);
    else
        *ring_out = ring;
    return err;
}

void proxy_ring_set_pool(struct proxy_ring *ring, struct proxy_pool *pool)
{
    ring->pool = pool;
}

void proxy_ring_free(struct proxy_ring **ring_pointer)
{
    struct proxy_ring *ring = *ring_pointer;
    struct proxy_ring_wait *wait;
    *ring_pointer = NULL;
    if (ring == NULL)
        return;
    for (size_t i = 0; ring->accounts != NULL && i < ring->config->accounts_len; i++) {
        while ((wait = TAILQ_FIRST(&ring->accounts[i].waits)) != NULL) {
            TAILQ_REMOVE(&ring->accounts[i].waits, wait, link);
            free(wait);
        }
        keyring_free(&ring->accounts[i].keyring);
        if (ring->accounts[i].file >= 0)
            close(ring->accounts[i].file);
    }
    free(ring->accounts);
    if (ring->inotify >= 0)
        close(ring->inotify);
    free(ring);
}

const struct keyring_entry *proxy_own_key(const struct config_account *account, const struct keyring *keyring,
                                          enum keyring_format format, enum keyring_purpose purpose)
{
    const struct keyring_want want = {.purpose = purpose, .formats = format, .least = KEYRING_OWN, .now = clock_now()};
    const struct keyring_entry *entry = NULL;
    enum keyring_reason reason;
    for (size_t i = 0; entry == NULL && i < account->addresses_len; i++)
        entry = keyring_choose(keyring, account->addresses[i], &want, &reason);
    return entry;
}
