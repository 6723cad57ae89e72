#include "keyring/revocation_ask.h"

#include "base/log.h"

#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define REQUEST_MAX 4096
#define REQUEST_TYPE "application/ocsp-request"

/* What one place has answered to one question. */
struct answer {
    struct keyring_asker *asker;
    unsigned char key[SHA256_DIGEST_LENGTH];
    char url[KEYRING_URL_SIZE];
    struct buf bytes;
    size_t held;          /* asks whose certificates were judged by it */
    int64_t until;        /* it is good until then; 0: of no use */
    int64_t failed_until; /* not asked again until then */
    bool is_silent;       /* there was no answer in time: nor is that place asked about anything else until then */
    struct keyring_fetch *fetch;
    TAILQ_HEAD(, keyring_ask) waiting;
    TAILQ_ENTRY(answer) link; /* used longest ago first */
};

struct keyring_asker {
    struct keyring_fetch_options options;
    TAILQ_HEAD(, answer) answers;
    size_t answers_len, answers_size;
    TAILQ_HEAD(, keyring_ask) asks;
    size_t asks_len;
};

struct keyring_ask {
    struct keyring_asker *asker;
    STACK_OF(X509) * path;
    int64_t now, at;
    keyring_asked_fn fn;
    void *context;
    struct event *turn, *deadline;
    struct keyring_asked asked[KEYRING_CHAIN_MAX];
    struct answer *by[KEYRING_CHAIN_MAX];
    size_t len, index; /* certificates; the one that is being asked about */
    struct keyring_revocation_question questions[KEYRING_QUESTIONS_MAX];
    size_t questions_len, question;
    struct answer *waits_for;
    bool is_anew;
    TAILQ_ENTRY(keyring_ask) link, waiting;
};

/* ---- answers that are kept ---- */

static void forget_answer(struct answer *answer)
{
    TAILQ_REMOVE(&answer->asker->answers, answer, link);
    answer->asker->answers_len--;
    answer->asker->answers_size -= answer->bytes.len;
    keyring_fetch_cancel(&answer->fetch);
    buf_fini(&answer->bytes);
    free(answer);
}

static void drop_bytes(struct answer *answer)
{
    answer->asker->answers_size -= answer->bytes.len;
    buf_fini(&answer->bytes);
    answer->until = 0;
}

/* Those that nobody holds or waits for, longest unused first. */
static void make_room(struct keyring_asker *asker)
{
    struct answer *answer = TAILQ_FIRST(&asker->answers);
    while (answer != NULL &&
           (asker->answers_len >= KEYRING_ANSWERS_MAX || asker->answers_size > KEYRING_ANSWERS_SIZE_MAX)) {
        struct answer *next = TAILQ_NEXT(answer, link);
        if (answer->held == 0 && answer->fetch == NULL && TAILQ_EMPTY(&answer->waiting))
            forget_answer(answer);
        answer = next;
    }
}

/* NULL: memory is short, or too many are in use. */
static struct answer *answer_of(struct keyring_asker *asker, const char *url, struct span request)
{
    unsigned char key[SHA256_DIGEST_LENGTH], both[SHA256_DIGEST_LENGTH * 2];
    struct answer *answer;
    SHA256((const unsigned char *)url, strlen(url), both);
    SHA256((const unsigned char *)request.ptr, request.len, both + SHA256_DIGEST_LENGTH);
    SHA256(both, sizeof both, key);
    TAILQ_FOREACH(answer, &asker->answers, link)
    {
        if (memcmp(answer->key, key, sizeof key) == 0) {
            TAILQ_REMOVE(&asker->answers, answer, link);
            TAILQ_INSERT_TAIL(&asker->answers, answer, link);
            return answer;
        }
    }
    make_room(asker);
    answer = asker->answers_len >= KEYRING_ANSWERS_MAX ? NULL : calloc(1, sizeof *answer);
    if (answer == NULL)
        return NULL;
    answer->asker = asker;
    memcpy(answer->key, key, sizeof key);
    (void)span_copy(span_of(url), answer->url, sizeof answer->url);
    buf_init(&answer->bytes, KEYRING_ANSWER_MAX);
    TAILQ_INIT(&answer->waiting);
    TAILQ_INSERT_TAIL(&asker->answers, answer, link);
    asker->answers_len++;
    return answer;
}

/* ---- one ask ---- */

static void ask_free(struct keyring_ask *ask)
{
    if (ask->waits_for != NULL)
        TAILQ_REMOVE(&ask->waits_for->waiting, ask, waiting);
    for (size_t i = 0; i < ask->len; i++)
        if (ask->by[i] != NULL)
            ask->by[i]->held--;
    if (ask->turn != NULL)
        event_free(ask->turn);
    if (ask->deadline != NULL)
        event_free(ask->deadline);
    TAILQ_REMOVE(&ask->asker->asks, ask, link);
    ask->asker->asks_len--;
    sk_X509_pop_free(ask->path, X509_free);
    free(ask);
}

void keyring_ask_anew(struct keyring_ask *ask)
{
    ask->is_anew = true;
}

void keyring_ask_cancel(struct keyring_ask **ask)
{
    if (*ask != NULL)
        ask_free(*ask);
    *ask = NULL;
}

static void finish(struct keyring_ask *ask)
{
    for (size_t i = 0; i < ask->len; i++)
        if (ask->by[i] != NULL)
            ask->asked[i].answer = buf_span(&ask->by[i]->bytes);
    ask->fn(ask->context, ask->asked, ask->len);
    ask_free(ask);
}

static void begin_certificate(struct keyring_ask *ask)
{
    ask->question = 0;
    ask->questions_len = 0;
    if (ask->index < ask->len)
        ask->questions_len = keyring_revocation_questions(sk_X509_value(ask->path, (int)ask->index), ask->questions);
    if (ask->index < ask->len && ask->questions_len > 0)
        ask->asked[ask->index].revocation.reason = "there was no answer";
}

/* What `bytes` say of the certificate that is being asked about. */
static struct keyring_revocation judge(const struct keyring_ask *ask, struct span bytes)
{
    struct keyring_revocation revocation;
    if (keyring_revocation_judge(ask->questions[ask->question].kind, bytes, sk_X509_value(ask->path, (int)ask->index),
                                 sk_X509_value(ask->path, (int)ask->index + 1), ask->now, ask->at,
                                 &revocation) != ERR_OK)
        revocation = (struct keyring_revocation){.reason = "memory is short"};
    return revocation;
}

/* Judges by an answer that is there, and goes on to the next certificate if it counts, else to the next place. */
static void take_answer(struct keyring_ask *ask, struct answer *answer)
{
    struct keyring_asked *asked = &ask->asked[ask->index];
    asked->kind = ask->questions[ask->question].kind;
    asked->revocation = judge(ask, buf_span(&answer->bytes));
    if (asked->revocation.state == KEYRING_REVOCATION_UNKNOWN) {
        log_info("%s: %s", answer->url, asked->revocation.reason);
        ask->question++;
        return;
    }
    answer->until = asked->revocation.until;
    answer->failed_until = 0;
    answer->held++;
    ask->by[ask->index++] = answer;
    begin_certificate(ask);
}

static void on_fetched(void *context, enum err err, struct span bytes);

/* Whoever waits for one certificate after the other at a place that says nothing waits for ever. */
static bool is_silent(const struct keyring_asker *asker, const char *url, int64_t now)
{
    const struct answer *answer = TAILQ_FIRST(&asker->answers);
    while (answer != NULL && !(answer->is_silent && answer->failed_until > now && strcmp(answer->url, url) == 0))
        answer = TAILQ_NEXT(answer, link);
    return answer != NULL;
}

/* True if an answer is under way. Not where others judge by the old one at this moment. */
static bool fetch_answer(struct keyring_ask *ask, struct answer *answer, bool is_post, struct span request)
{
    enum err err = ERR_OK;
    if (answer->fetch != NULL)
        return true;
    if (answer->held > 0)
        return false;
    err = keyring_fetch_begin(&ask->asker->options, answer->url, is_post ? REQUEST_TYPE : NULL, request, on_fetched,
                              answer, &answer->fetch);
    if (err != ERR_OK)
        answer->failed_until = ask->now + KEYRING_ANSWER_FAILED_S;
    return err == ERR_OK;
}

/* Asks the next place. True if its answer must be waited for. */
static bool ask_next(struct keyring_ask *ask)
{
    const struct keyring_revocation_question *question = &ask->questions[ask->question];
    struct buf request;
    bool waits = false;
    enum err err = ERR_OK;
    buf_init(&request, REQUEST_MAX);
    if (question->kind == KEYRING_ANSWER_OCSP)
        err = keyring_revocation_request(sk_X509_value(ask->path, (int)ask->index),
                                         sk_X509_value(ask->path, (int)ask->index + 1), &request);
    struct answer *answer = err == ERR_OK ? answer_of(ask->asker, question->url, buf_span(&request)) : NULL;
    if (answer != NULL && answer->until > ask->now && !ask->is_anew)
        take_answer(ask, answer);
    else if (answer == NULL || answer->failed_until > ask->now || is_silent(ask->asker, question->url, ask->now) ||
             !fetch_answer(ask, answer, question->kind == KEYRING_ANSWER_OCSP, buf_span(&request)))
        ask->question++;
    else
        waits = true;
    if (waits) {
        ask->waits_for = answer;
        TAILQ_INSERT_TAIL(&answer->waiting, ask, waiting);
    }
    buf_fini(&request);
    return waits;
}

static void go_on(struct keyring_ask *ask)
{
    while (ask->index < ask->len) {
        if (ask->question < ask->questions_len) {
            if (ask_next(ask))
                return;
        } else {
            ask->index++;
            begin_certificate(ask);
        }
    }
    finish(ask);
}

/* Whether an answer that counts still stands against this one: what is no answer, and what was made earlier (anybody
   between us can send that again), do not take its place. */
enum worth { WORTH_TAKING, WORTH_LESS, WORTH_NOTHING };

static enum worth worth_of(const struct answer *answer, struct span bytes)
{
    enum worth worth = answer->until == 0 ? WORTH_TAKING : WORTH_NOTHING;
    for (const struct keyring_ask *ask = TAILQ_FIRST(&answer->waiting); ask != NULL && worth != WORTH_TAKING;
         ask = TAILQ_NEXT(ask, waiting)) {
        const struct keyring_revocation fresh = judge(ask, bytes);
        if (fresh.state == KEYRING_REVOCATION_UNKNOWN) {
            log_info("%s: %s", answer->url, fresh.reason);
            continue;
        }
        const struct keyring_revocation old = judge(ask, buf_span(&answer->bytes));
        worth = old.state == KEYRING_REVOCATION_UNKNOWN || old.made <= fresh.made ? WORTH_TAKING : WORTH_LESS;
    }
    return worth;
}

static enum err replace(struct answer *answer, struct span bytes)
{
    struct buf fresh;
    buf_init(&fresh, KEYRING_ANSWER_MAX);
    enum err err = buf_add_span(&fresh, bytes);
    if (err != ERR_OK) {
        buf_fini(&fresh);
        return err;
    }
    drop_bytes(answer);
    answer->bytes = fresh;
    answer->asker->answers_size += fresh.len;
    return ERR_OK;
}

/* A place that was asked anew is not asked again by those who wait, whatever it has said. */
static void on_fetched(void *context, enum err err, struct span bytes)
{
    struct answer *answer = context;
    struct keyring_ask *ask = TAILQ_FIRST(&answer->waiting);
    answer->fetch = NULL;
    answer->is_silent = err == ERR_TIMEOUT;
    if (ask != NULL)
        answer->failed_until = ask->now + KEYRING_ANSWER_FAILED_S;
    const enum worth worth = err == ERR_OK ? worth_of(answer, bytes) : WORTH_NOTHING;
    if (worth == WORTH_TAKING)
        err = replace(answer, bytes);
    const bool is_answer = err == ERR_OK && worth != WORTH_NOTHING;
    if (err != ERR_OK)
        log_info("%s: %s", answer->url, err_sentence(err));
    /* Nobody forgets it while it is held. */
    answer->held++;
    while ((ask = TAILQ_FIRST(&answer->waiting)) != NULL) {
        TAILQ_REMOVE(&answer->waiting, ask, waiting);
        ask->waits_for = NULL;
        if (is_answer)
            take_answer(ask, answer);
        else
            ask->question++;
        go_on(ask);
    }
    answer->held--;
    if (answer->until == 0)
        drop_bytes(answer);
    make_room(answer->asker);
}

static void on_turn(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    go_on(context);
}

static void on_deadline(evutil_socket_t unused, short events, void *context)
{
    (void)unused;
    (void)events;
    finish(context);
}

enum err keyring_ask_begin(struct keyring_asker *asker, STACK_OF(X509) * path, int64_t now, int64_t at,
                           uint32_t deadline_ms, keyring_asked_fn fn, void *context, struct keyring_ask **ask_out)
{
    const struct timeval time = {deadline_ms / 1000, (suseconds_t)(deadline_ms % 1000) * 1000};
    const int len = sk_X509_num(path) - 1;
    struct keyring_ask *ask;
    *ask_out = NULL;
    if (asker->asks_len >= KEYRING_ASKS_MAX)
        return ERR_BUSY;
    if (len < 0 || len > KEYRING_CHAIN_MAX)
        return ERR_LIMIT;
    ask = calloc(1, sizeof *ask);
    if (ask == NULL)
        return ERR_MEMORY;
    *ask = (struct keyring_ask){.asker = asker, .now = now, .at = at, .fn = fn, .context = context, .len = (size_t)len};
    TAILQ_INSERT_TAIL(&asker->asks, ask, link);
    asker->asks_len++;
    for (size_t i = 0; i < ask->len; i++)
        ask->asked[i].revocation.reason = "it names nobody who could be asked";
    ask->path = X509_chain_up_ref(path);
    ask->turn = evtimer_new(asker->options.base, on_turn, ask);
    ask->deadline = evtimer_new(asker->options.base, on_deadline, ask);
    if (ask->path == NULL || ask->turn == NULL || ask->deadline == NULL || evtimer_add(ask->deadline, &time) != 0) {
        ask_free(ask);
        return ERR_MEMORY;
    }
    begin_certificate(ask);
    event_active(ask->turn, EV_TIMEOUT, 0);
    *ask_out = ask;
    return ERR_OK;
}

/* ---- the asker ---- */

enum err keyring_asker_new(const struct keyring_fetch_options *options, struct keyring_asker **asker_out)
{
    struct keyring_asker *asker = calloc(1, sizeof *asker);
    *asker_out = asker;
    if (asker == NULL)
        return ERR_MEMORY;
    asker->options = *options;
    TAILQ_INIT(&asker->answers);
    TAILQ_INIT(&asker->asks);
    return ERR_OK;
}

void keyring_asker_free(struct keyring_asker **asker)
{
    if (*asker == NULL)
        return;
    while (!TAILQ_EMPTY(&(*asker)->asks))
        ask_free(TAILQ_FIRST(&(*asker)->asks));
    while (!TAILQ_EMPTY(&(*asker)->answers))
        forget_answer(TAILQ_FIRST(&(*asker)->answers));
    free(*asker);
    *asker = NULL;
}

/* ---- in one call ---- */

struct now {
    struct keyring_revocation *revocations;
    size_t *len;
    bool is_done;
};

static void on_asked(void *context, const struct keyring_asked *asked, size_t len)
{
    struct now *now = context;
    for (size_t i = 0; i < len; i++)
        now->revocations[i] = asked[i].revocation;
    *now->len = len;
    now->is_done = true;
}

enum err keyring_ask_now(const char *const *hosts, size_t hosts_len, STACK_OF(X509) * path, int64_t now, int64_t at,
                         uint32_t deadline_ms, struct keyring_revocation revocations_out[KEYRING_CHAIN_MAX],
                         size_t *len_out)
{
    struct event_base *base = event_base_new();
    /* Without name servers only literal addresses can be asked. */
    struct evdns_base *dns = base == NULL ? NULL : evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    /* Strangers choose the names: no domain of ours is tried behind them. */
    if (dns != NULL)
        evdns_base_search_clear(dns);
    const struct keyring_fetch_options options = {.base = base,
                                                  .dns = dns,
                                                  .hosts = hosts,
                                                  .hosts_len = hosts_len,
                                                  .answer_max = KEYRING_ANSWER_MAX,
                                                  .timeout_ms = deadline_ms};
    struct now waiting = {revocations_out, len_out, false};
    struct keyring_asker *asker = NULL;
    struct keyring_ask *ask;
    *len_out = 0;
    enum err err = base == NULL ? ERR_MEMORY : keyring_asker_new(&options, &asker);
    if (err == ERR_OK)
        err = keyring_ask_begin(asker, path, now, at, deadline_ms, on_asked, &waiting, &ask);
    while (err == ERR_OK && !waiting.is_done)
        if (event_base_loop(base, EVLOOP_ONCE) != 0)
            err = ERR_IO;
    keyring_asker_free(&asker);
    if (dns != NULL)
        evdns_base_free(dns, 0);
    if (base != NULL)
        event_base_free(base);
    return err;
}
