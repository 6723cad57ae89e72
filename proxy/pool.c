#include "proxy/pool.h"

#include "base/clock.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define JOBS_WAITING_MAX 10000
#define IDLE_MAX_S 60
/* After a keeper has died without finishing a single job, its account waits this long before it gets another. */
#define PAUSE_AFTER_DEATH_MS 1000
/* After the master's socket was full. */
#define ASK_AGAIN_MS 100

/* In the order in which they are handed out. */
enum job_class {
    JOB_PROMPT, /* somebody waits at the other end of an SMTP or IMAP command */
    JOB_UNLOCK, /* waits for a person: has no limit, and takes no place */
    JOB_OPEN,   /* there may be many */
    JOB_CLASSES
};

struct proxy_job {
    TAILQ_ENTRY(proxy_job) link;
    size_t account;
    enum job_class class;
    struct ipc_out request;
    int files[IPC_FILES_MAX]; /* our own copies: the submitter may close its own */
    proxy_job_fn fn;          /* NULL once cancelled */
    void *context;
    struct keeper *keeper; /* NULL while it waits */
};

struct keeper {
    TAILQ_ENTRY(keeper) link;
    struct proxy_pool *pool;
    size_t account;
    uint32_t pid;
    int socket;
    struct event *readable;
    struct event *timer;   /* busy: the job's time; idle: its own */
    struct proxy_job *job; /* NULL: idle */
    bool has_finished_one;
    bool is_old; /* gets no other job */
};

TAILQ_HEAD(job_queue, proxy_job);

struct account {
    size_t keepers, requested;
    size_t unlocking; /* of the keepers, those that wait for a person */
    uint64_t paused_until_ms;
};

struct proxy_pool {
    struct event_base *base;
    const struct config *config;
    int master;
    struct account *accounts;
    struct job_queue waiting[JOB_CLASSES];
    TAILQ_HEAD(, keeper) keepers;
    TAILQ_HEAD(, keeper) condemned; /* given up; the master has yet to be asked for their end */
    size_t waiting_len;
    size_t busy[JOB_CLASSES];
    struct event *kick; /* hands out jobs from the loop, never from within a submitter */
};

static void hand_out(struct proxy_pool *pool);

static enum job_class class_of(const struct ipc_out *request)
{
    switch (ipc_out_type(request)) {
    case PROXY_JOB_OPEN:
        return JOB_OPEN;
    case PROXY_JOB_UNLOCK:
        return JOB_UNLOCK;
    default:
        return JOB_PROMPT;
    }
}

/* True if one more job of this class may run at once, over all accounts. */
static bool has_place(const struct proxy_pool *pool, enum job_class class)
{
    size_t most = pool->config->keepers_max, open_most = most > 1 ? most - 1 : 1;
    if (class == JOB_UNLOCK)
        return true;
    return pool->busy[JOB_PROMPT] + pool->busy[JOB_OPEN] < most &&
           (class != JOB_OPEN || pool->busy[JOB_OPEN] < open_most);
}

/* A keeper begins (or has come to the end of) its job. */
static void count_job(struct keeper *keeper, bool is_begun)
{
    struct proxy_pool *pool = keeper->pool;
    size_t step = is_begun ? 1 : (size_t)-1;
    pool->busy[keeper->job->class] += step;
    if (keeper->job->class == JOB_UNLOCK)
        pool->accounts[keeper->account].unlocking += step;
}

static void job_free(struct proxy_job *job)
{
    ipc_out_fini(&job->request);
    for (size_t i = 0; i < IPC_FILES_MAX; i++)
        if (job->files[i] >= 0)
            close(job->files[i]);
    free(job);
}

static void job_finish(struct proxy_job *job, enum err err, struct ipc_in *answer)
{
    if (job->fn != NULL)
        job->fn(err, answer, job->context);
    job_free(job);
}

static void kick(struct proxy_pool *pool, uint32_t after_ms)
{
    const struct timeval after = {after_ms / 1000, (suseconds_t)(after_ms % 1000) * 1000};
    if (after_ms != 0 && evtimer_pending(pool->kick, NULL))
        return;
    evtimer_add(pool->kick, &after);
}

static void keeper_free(struct keeper *keeper)
{
    if (keeper->readable != NULL)
        event_free(keeper->readable);
    if (keeper->timer != NULL)
        event_free(keeper->timer);
    if (keeper->socket >= 0)
        close(keeper->socket);
    free(keeper);
}

/* Nothing that it still says counts; the entry stays until the master has been asked for its end. */
static void condemn(struct keeper *keeper)
{
    if (keeper->readable != NULL)
        event_free(keeper->readable);
    if (keeper->timer != NULL)
        event_free(keeper->timer);
    keeper->readable = keeper->timer = NULL;
    close(keeper->socket);
    keeper->socket = -1;
    TAILQ_INSERT_TAIL(&keeper->pool->condemned, keeper, link);
}

/* Asks the master for the end of those that may still be at work. */
static void end_condemned(struct proxy_pool *pool)
{
    struct keeper *keeper;
    while ((keeper = TAILQ_FIRST(&pool->condemned)) != NULL) {
        struct ipc_out out;
        ipc_out_begin(&out, PROXY_MASTER_KILL_KEEPER);
        ipc_put_u32(&out, keeper->pid);
        enum err err = ipc_send(pool->master, &out);
        if (err == ERR_AGAIN) {
            kick(pool, ASK_AGAIN_MS);
            return;
        }
        if (err != ERR_OK)
            log_failure(err, "asking for the end of keeper %u", keeper->pid);
        TAILQ_REMOVE(&pool->condemned, keeper, link);
        keeper_free(keeper);
    }
}

static void take_off(struct proxy_pool *pool, struct proxy_job *job)
{
    TAILQ_REMOVE(&pool->waiting[job->class], job, link);
    pool->waiting_len--;
}

/* Fails what waits for a keeper of this account. */
static void fail_waiting(struct proxy_pool *pool, size_t account)
{
    struct job_queue failed = TAILQ_HEAD_INITIALIZER(failed);
    struct proxy_job *job, *next;
    for (size_t class = 0; class < JOB_CLASSES; class ++) {
        for (job = TAILQ_FIRST(&pool->waiting[class]); job != NULL; job = next) {
            next = TAILQ_NEXT(job, link);
            if (job->account != account)
                continue;
            take_off(pool, job);
            TAILQ_INSERT_TAIL(&failed, job, link);
        }
    }
    /* Whoever is told may cancel another of them. */
    while ((job = TAILQ_FIRST(&failed)) != NULL) {
        TAILQ_REMOVE(&failed, job, link);
        job_finish(job, ERR_WORKER, NULL);
    }
}

/* Lets a keeper go: with its job failed if it had one, and ended by the master if it may be still at it. */
static void keeper_drop(struct keeper *keeper, bool must_kill)
{
    struct proxy_pool *pool = keeper->pool;
    struct account *account = &pool->accounts[keeper->account];
    struct proxy_job *job = keeper->job;
    size_t number = keeper->account;
    bool is_stillborn = !keeper->has_finished_one;
    if (job != NULL)
        count_job(keeper, false);
    if (is_stillborn)
        account->paused_until_ms = clock_monotonic_ms() + PAUSE_AFTER_DEATH_MS;
    TAILQ_REMOVE(&pool->keepers, keeper, link);
    account->keepers--;
    if (must_kill)
        condemn(keeper);
    else
        keeper_free(keeper);
    end_condemned(pool);
    if (job != NULL) {
        job_finish(job, ERR_WORKER, NULL);
    } else if (is_stillborn && account->keepers == 0) {
        /* Keepers do not even start: without this a job could wait for ever for one that does. */
        fail_waiting(pool, number);
    }
    kick(pool, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct keeper *keeper = context;
    (void)fd;
    (void)what;
    if (keeper->job != NULL) {
        log_warning("keeper %u took too long and is ended", keeper->pid);
        keeper_drop(keeper, true);
        return;
    }
    keeper->has_finished_one = true; /* idle to the end is no failure */
    keeper_drop(keeper, false);
}

static void set_timer(struct keeper *keeper, uint32_t ms)
{
    const struct timeval time = {ms / 1000, (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(keeper->timer, &time);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct keeper *keeper = context;
    struct proxy_pool *pool = keeper->pool;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_AGAIN)
        return;
    if (err != ERR_OK) {
        if (keeper->job != NULL)
            log_warning("keeper %u died in a job", keeper->pid);
        keeper_drop(keeper, err != ERR_END);
        return;
    }
    uint32_t code = ipc_get_u32(&in);
    if (keeper->job == NULL || ipc_type(&in) != PROXY_JOB_DONE || code >= ERR_COUNT) {
        log_warning("keeper %u said what nobody asked", keeper->pid);
        ipc_in_fini(&in);
        keeper_drop(keeper, true);
        return;
    }
    struct proxy_job *job = keeper->job;
    count_job(keeper, false);
    keeper->job = NULL;
    keeper->has_finished_one = true;
    set_timer(keeper, IDLE_MAX_S * 1000);
    kick(pool, 0);
    if (keeper->is_old)
        keeper_drop(keeper, false);
    job_finish(job, (enum err)code, code == ERR_OK ? &in : NULL);
    ipc_in_fini(&in);
}

static bool give(struct keeper *keeper, struct proxy_job *job)
{
    enum err err = ipc_send(keeper->socket, &job->request);
    if (err != ERR_OK) {
        log_failure(err, "handing a job to keeper %u", keeper->pid);
        job_finish(job, ERR_WORKER, NULL);
        return false;
    }
    keeper->job = job;
    job->keeper = keeper;
    count_job(keeper, true);
    if (job->class == JOB_UNLOCK)
        evtimer_del(keeper->timer);
    else
        set_timer(keeper, keeper->pool->config->job_timeout_ms);
    return true;
}

static struct keeper *idle_keeper(struct proxy_pool *pool, size_t account)
{
    struct keeper *keeper;
    TAILQ_FOREACH(keeper, &pool->keepers, link)
    if (keeper->account == account && keeper->job == NULL)
        return keeper;
    return NULL;
}

/* Asks the master for a keeper if this account may have one more. */
static void ask_for_keeper(struct proxy_pool *pool, size_t number)
{
    struct account *account = &pool->accounts[number];
    uint64_t now = clock_monotonic_ms();
    struct ipc_out out;
    if (account->requested > 0 || account->keepers - account->unlocking >= pool->config->keepers_max)
        return;
    if (account->paused_until_ms > now) {
        kick(pool, (uint32_t)(account->paused_until_ms - now) + 1);
        return;
    }
    ipc_out_begin(&out, PROXY_MASTER_NEED_KEEPER);
    ipc_put_u32(&out, (uint32_t)number);
    ipc_put_string(&out, pool->config->accounts[number].address);
    enum err err = ipc_send(pool->master, &out);
    if (err == ERR_OK)
        account->requested++;
    else if (err == ERR_AGAIN)
        kick(pool, ASK_AGAIN_MS);
    else
        log_failure(err, "asking for a keeper");
}

static void hand_out_class(struct proxy_pool *pool, enum job_class class)
{
    struct proxy_job *job, *next;
    for (job = TAILQ_FIRST(&pool->waiting[class]); job != NULL && has_place(pool, class); job = next) {
        next = TAILQ_NEXT(job, link);
        if (job->fn == NULL) {
            take_off(pool, job);
            job_free(job);
            continue;
        }
        struct keeper *keeper = idle_keeper(pool, job->account);
        if (keeper == NULL) {
            ask_for_keeper(pool, job->account);
            continue;
        }
        take_off(pool, job);
        if (!give(keeper, job)) {
            /* This may have failed what waits for the account, the next one included; the kick looks again. */
            keeper_drop(keeper, true);
            return;
        }
    }
}

static void hand_out(struct proxy_pool *pool)
{
    end_condemned(pool);
    for (int class = 0; class < JOB_CLASSES; class ++)
        hand_out_class(pool, (enum job_class) class);
}

static void on_kick(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    hand_out(context);
}

enum err proxy_pool_submit(struct proxy_pool *pool, size_t account, struct ipc_out *request, proxy_job_fn fn,
                           void *context, struct proxy_job **job_out)
{
    struct proxy_job *job =
        request->err == ERR_OK && pool->waiting_len < JOBS_WAITING_MAX ? calloc(1, sizeof(*job)) : NULL;
    if (job == NULL) {
        enum err err = request->err != ERR_OK ? request->err : ERR_BUSY;
        ipc_out_fini(request);
        return err;
    }
    *job = (struct proxy_job){.account = account,
                              .class = class_of(request),
                              .request = *request,
                              .files = {-1, -1, -1, -1},
                              .fn = fn,
                              .context = context};
    for (size_t i = 0; i < request->files_len; i++) {
        job->files[i] = dup(request->files[i]);
        job->request.files[i] = job->files[i];
        if (job->files[i] < 0) {
            job_free(job);
            return ERR_IO;
        }
    }
    TAILQ_INSERT_TAIL(&pool->waiting[job->class], job, link);
    pool->waiting_len++;
    kick(pool, 0);
    *job_out = job;
    return ERR_OK;
}

void proxy_pool_cancel(struct proxy_job **job)
{
    if (*job != NULL)
        (*job)->fn = NULL;
    *job = NULL;
}

void proxy_pool_keeper(struct proxy_pool *pool, size_t account, uint32_t pid, int socket)
{
    struct keeper *keeper = account < pool->config->accounts_len ? calloc(1, sizeof(*keeper)) : NULL;
    if (keeper == NULL) {
        close(socket);
        return;
    }
    *keeper = (struct keeper){.pool = pool, .account = account, .pid = pid, .socket = socket};
    if (pool->accounts[account].requested > 0)
        pool->accounts[account].requested--;
    pool->accounts[account].keepers++;
    TAILQ_INSERT_TAIL(&pool->keepers, keeper, link);
    keeper->readable = event_new(pool->base, socket, EV_READ | EV_PERSIST, on_readable, keeper);
    keeper->timer = evtimer_new(pool->base, on_timer, keeper);
    if (keeper->readable == NULL || keeper->timer == NULL || event_add(keeper->readable, NULL) != 0) {
        keeper_drop(keeper, true);
        return;
    }
    set_timer(keeper, IDLE_MAX_S * 1000);
    kick(pool, 0);
}

void proxy_pool_no_keeper(struct proxy_pool *pool, size_t account)
{
    if (account >= pool->config->accounts_len)
        return;
    if (pool->accounts[account].requested > 0)
        pool->accounts[account].requested--;
    if (pool->accounts[account].keepers == 0)
        fail_waiting(pool, account);
}

void proxy_pool_renew(struct proxy_pool *pool)
{
    struct keeper *keeper, *next;
    for (keeper = TAILQ_FIRST(&pool->keepers); keeper != NULL; keeper = next) {
        next = TAILQ_NEXT(keeper, link);
        keeper->is_old = true;
        /* It is not its fault. */
        keeper->has_finished_one = true;
        if (keeper->job == NULL)
            keeper_drop(keeper, false);
    }
}

enum err proxy_pool_new(struct event_base *base, const struct config *config, int master, struct proxy_pool **pool_out)
{
    struct proxy_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return ERR_MEMORY;
    *pool = (struct proxy_pool){.base = base, .config = config, .master = master};
    for (size_t class = 0; class < JOB_CLASSES; class ++)
        TAILQ_INIT(&pool->waiting[class]);
    TAILQ_INIT(&pool->keepers);
    TAILQ_INIT(&pool->condemned);
    pool->accounts = calloc(config->accounts_len + 1, sizeof(*pool->accounts));
    pool->kick = evtimer_new(base, on_kick, pool);
    if (pool->accounts == NULL || pool->kick == NULL) {
        proxy_pool_free(&pool);
        return ERR_MEMORY;
    }
    *pool_out = pool;
    return ERR_OK;
}

void proxy_pool_free(struct proxy_pool **pool_pointer)
{
    struct proxy_pool *pool = *pool_pointer;
    struct proxy_job *job;
    struct keeper *keeper;
    *pool_pointer = NULL;
    if (pool == NULL)
        return;
    for (size_t class = 0; class < JOB_CLASSES; class ++) {
        while ((job = TAILQ_FIRST(&pool->waiting[class])) != NULL) {
            take_off(pool, job);
            job_free(job);
        }
    }
    while ((keeper = TAILQ_FIRST(&pool->keepers)) != NULL) {
        TAILQ_REMOVE(&pool->keepers, keeper, link);
        if (keeper->job != NULL)
            job_free(keeper->job);
        keeper_free(keeper);
    }
    while ((keeper = TAILQ_FIRST(&pool->condemned)) != NULL) {
        TAILQ_REMOVE(&pool->condemned, keeper, link);
        keeper_free(keeper);
    }
    if (pool->kick != NULL)
        event_free(pool->kick);
    free(pool->accounts);
    free(pool);
}
