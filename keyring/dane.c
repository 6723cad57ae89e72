#include "keyring/dane_internal.h"

#include "base/log.h"
#include "mime/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unbound-event.h>
#include <unbound.h>

#define PROBLEM_SIZE 400
#define QUESTIONS_MAX 2
#define TYPE_SOA 6
#define CLASS_IN 1

/* What libunbound says of an answer's security. */
enum { SECURITY_NONE, SECURITY_BOGUS, SECURITY_SECURE };

enum dane_state {
    DANE_WAITING,
    DANE_SECURE,
    DANE_INSECURE, /* nobody has signed it */
    DANE_BOGUS,    /* it must be signed, and is not, or wrongly */
    DANE_UNANSWERED
};

struct dane_question {
    struct keyring_dane_query *query;
    int type;
    int id; /* libunbound's; while it waits */
    enum dane_state state;
};

struct keyring_dane_query {
    TAILQ_ENTRY(keyring_dane_query) link;
    struct keyring_dane *dane;
    keyring_answer_fn fn;
    void *context;
    struct event *turn; /* its deadline; and whatever happens is told from there */
    char domain[KEYRING_DANE_NAME_SIZE];
    bool is_try;
    struct dane_question questions[QUESTIONS_MAX];
    size_t questions_len;
    struct dane_answer answer;
    char detail[PROBLEM_SIZE / 2]; /* what libunbound finds wrong */
};

struct keyring_dane {
    struct event_base *base;
    const struct keyring_dane_options *options;
    struct ub_ctx *resolver; /* NULL: there is none, since: */
    char problem[PROBLEM_SIZE];
    TAILQ_HEAD(, keyring_dane_query) queries;
    size_t queries_len;
};

/* ---- the resolver ---- */

static int set_servers(struct ub_ctx *resolver, const struct keyring_dane_options *options)
{
    int failure = UB_NOERROR;
    if (options->is_recursive)
        return ub_ctx_set_option(resolver, "qname-minimisation:", "yes");
    for (size_t i = 0; failure == UB_NOERROR && i < options->servers_len; i++)
        failure = ub_ctx_set_fwd(resolver, options->servers[i]);
    if (options->servers_len == 0)
        failure = ub_ctx_resolvconf(resolver, NULL);
    /* A resolver on this machine is as good as any. */
    return failure == UB_NOERROR ? ub_ctx_set_option(resolver, "do-not-query-localhost:", "no") : failure;
}

static int set_up(struct ub_ctx *resolver, const struct keyring_dane_options *options)
{
    static const struct {
        const char *name, *value;
    } settings[] = {
        {"trust-anchor-signaling:", "no"}, /* which tells the world that we ask */
        {"outgoing-num-tcp:", "20"},       /* keys are longer than a datagram */
    };
    int failure = ub_ctx_debugout(resolver, NULL);
    for (size_t i = 0; failure == UB_NOERROR && i < sizeof(settings) / sizeof(*settings); i++)
        failure = ub_ctx_set_option(resolver, settings[i].name, settings[i].value);
    if (failure == UB_NOERROR)
        failure = ub_ctx_add_ta_file(resolver, options->anchor);
    return failure == UB_NOERROR ? set_servers(resolver, options) : failure;
}

static void on_nothing(void *context, int code, void *packet, int packet_len, int security, char *problem, int limited)
{
    (void)context;
    (void)code;
    (void)packet;
    (void)packet_len;
    (void)security;
    (void)problem;
    (void)limited;
}

/* libunbound reads its files when it is asked for the first time: here for what it knows itself (RFC 6761 §6.3). */
static enum err open_resolver(struct keyring_dane *dane)
{
    dane->resolver = ub_ctx_create_event(dane->base);
    if (dane->resolver == NULL)
        return ERR_MEMORY;
    int failure = set_up(dane->resolver, dane->options);
    if (failure == UB_NOERROR)
        failure = ub_resolve_event(dane->resolver, "localhost", TYPE_SOA, CLASS_IN, NULL, on_nothing, NULL);
    if (failure == UB_NOERROR)
        return ERR_OK;
    snprintf(dane->problem, sizeof(dane->problem), "its resolver cannot be set up with the anchor %.200s: %s",
             dane->options->anchor, ub_strerror(failure));
    log_warning("dane: %s", dane->problem);
    ub_ctx_delete(dane->resolver);
    dane->resolver = NULL;
    return failure == UB_NOMEM ? ERR_MEMORY : ERR_OK;
}

enum err keyring_dane_new(struct event_base *base, const struct keyring_dane_options *options,
                          struct keyring_dane **dane_out)
{
    struct keyring_dane *dane = calloc(1, sizeof(*dane));
    if (dane == NULL)
        return ERR_MEMORY;
    *dane = (struct keyring_dane){.base = base, .options = options};
    TAILQ_INIT(&dane->queries);
    enum err err = open_resolver(dane);
    if (err == ERR_OK)
        *dane_out = dane;
    else
        keyring_dane_free(&dane);
    return err;
}

/* ---- answers ---- */

static void query_free(struct keyring_dane_query *query)
{
    for (size_t i = 0; i < query->questions_len; i++)
        if (query->questions[i].state == DANE_WAITING && query->questions[i].id >= 0)
            (void)ub_cancel(query->dane->resolver, query->questions[i].id);
    TAILQ_REMOVE(&query->dane->queries, query, link);
    query->dane->queries_len--;
    if (query->turn != NULL)
        event_free(query->turn);
    buf_fini(&query->answer.bytes);
    free(query);
}

void keyring_dane_free(struct keyring_dane **dane_pointer)
{
    struct keyring_dane *dane = *dane_pointer;
    *dane_pointer = NULL;
    if (dane == NULL)
        return;
    while (!TAILQ_EMPTY(&dane->queries))
        query_free(TAILQ_FIRST(&dane->queries));
    if (dane->resolver != NULL)
        ub_ctx_delete(dane->resolver);
    free(dane);
}

static size_t count(const struct keyring_dane_query *query, enum dane_state state)
{
    size_t len = 0;
    for (size_t i = 0; i < query->questions_len; i++)
        len += query->questions[i].state == state;
    return len;
}

/* What is unusable of what was signed. */
static void describe_unusable(const struct dane_answer *answer, char problem[PROBLEM_SIZE])
{
    if (answer->surplus > 0)
        snprintf(problem, PROBLEM_SIZE, "it has more than %d records of a type, and %zu are left out", DANE_RECORDS_MAX,
                 answer->surplus);
    else if (answer->malformed > 0)
        snprintf(problem, PROBLEM_SIZE, "%zu of its records are no certificate and no key", answer->malformed);
    else if (answer->digests > 0)
        snprintf(problem, PROBLEM_SIZE, "%zu of its records only name a certificate, which nothing can be sealed to",
                 answer->digests);
}

/* The worst of both answers, and what it means for the question. */
static enum err judge(const struct keyring_dane_query *query, char problem[PROBLEM_SIZE])
{
    const char *domain = query->domain;
    problem[0] = '\0';
    if (query->questions_len == 0) {
        snprintf(problem, PROBLEM_SIZE, "%.200s has no name in the DNS that could hold keys", domain);
        return ERR_OK;
    }
    if (query->dane->resolver == NULL) {
        snprintf(problem, PROBLEM_SIZE, "%s", query->dane->problem);
        return ERR_UPSTREAM_DOWN;
    }
    if (count(query, DANE_BOGUS) > 0) {
        snprintf(problem, PROBLEM_SIZE, "the DNSSEC signatures of %.120s are wrong: %.199s", domain, query->detail);
        return ERR_LOOKUP;
    }
    if (count(query, DANE_WAITING) > 0) {
        snprintf(problem, PROBLEM_SIZE, "no answer about %.200s in %u seconds", domain,
                 query->dane->options->timeout_ms / 1000);
        return ERR_UPSTREAM_DOWN;
    }
    if (count(query, DANE_UNANSWERED) > 0) {
        snprintf(problem, PROBLEM_SIZE, "the name servers of %.200s cannot be asked", domain);
        return ERR_UPSTREAM_DOWN;
    }
    if (count(query, DANE_INSECURE) > 0) {
        snprintf(problem, PROBLEM_SIZE, "%.200s is not signed (DNSSEC), so nothing that it says counts", domain);
        return query->is_try ? ERR_LOOKUP : ERR_OK;
    }
    describe_unusable(&query->answer, problem);
    return ERR_OK;
}

static void finish(struct keyring_dane_query *query)
{
    struct keyring_piece pieces[DANE_PIECES_MAX];
    const struct dane_answer *answer = &query->answer;
    char problem[PROBLEM_SIZE];
    enum err err = judge(query, problem);
    /* What is signed is so whatever has become of the other question; which may still have known more. */
    for (size_t i = 0; i < answer->pieces_len; i++)
        pieces[i] = (struct keyring_piece){.kind = answer->pieces[i].kind,
                                           .bytes = span_slice(buf_span(&answer->bytes), answer->pieces[i].at,
                                                               answer->pieces[i].at + answer->pieces[i].len)};
    if (count(query, DANE_SECURE) + count(query, DANE_INSECURE) < query->questions_len)
        log_warning("dane: %s", problem);
    else if (problem[0] != '\0')
        log_info("dane: %s: %s", query->domain, problem);
    query->fn(err, pieces, answer->pieces_len, problem, query->context);
    query_free(query);
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    finish(context);
}

static enum dane_state read_secure(struct dane_question *question, struct span message)
{
    struct dane_answer *answer = &question->query->answer;
    unsigned code = 0;
    if (question->query->is_try)
        return DANE_SECURE;
    enum err err = dane_answer_read(answer, message, (enum keyring_dane_type)question->type, &code);
    if (err != ERR_OK)
        log_failure(err, "dane: an answer about %s", question->query->domain);
    return err == ERR_OK && (code == 0 || code == DANE_RCODE_NONE) ? DANE_SECURE : DANE_UNANSWERED;
}

static void on_answer(void *context, int code, void *packet, int packet_len, int security, char *problem, int limited)
{
    struct dane_question *question = context;
    struct keyring_dane_query *query = question->query;
    (void)limited;
    if (code != 0 || packet == NULL || packet_len < 0) {
        question->state = DANE_UNANSWERED;
    } else if (security == SECURITY_BOGUS) {
        question->state = DANE_BOGUS;
        snprintf(query->detail, sizeof(query->detail), "%s", problem != NULL ? problem : "they do not verify");
    } else if (security == SECURITY_SECURE) {
        question->state = read_secure(question, (struct span){packet, (size_t)packet_len});
    } else {
        question->state = DANE_INSECURE;
    }
    if (count(query, DANE_WAITING) == 0)
        event_active(query->turn, EV_TIMEOUT, 0);
}

/* ---- questions ---- */

static enum err query_new(struct keyring_dane *dane, keyring_answer_fn fn, void *context,
                          struct keyring_dane_query **query_out)
{
    const struct timeval time = {dane->options->timeout_ms / 1000, dane->options->timeout_ms % 1000 * 1000};
    if (dane->queries_len >= KEYRING_DANE_QUERIES_MAX)
        return ERR_BUSY;
    struct keyring_dane_query *query = calloc(1, sizeof(*query));
    if (query == NULL)
        return ERR_MEMORY;
    query->dane = dane;
    query->fn = fn;
    query->context = context;
    buf_init(&query->answer.bytes, 2 * KEYRING_DANE_RDATA_MAX);
    TAILQ_INSERT_TAIL(&dane->queries, query, link);
    dane->queries_len++;
    query->turn = evtimer_new(dane->base, on_turn, query);
    if (query->turn == NULL || evtimer_add(query->turn, &time) != 0) {
        query_free(query);
        return ERR_MEMORY;
    }
    *query_out = query;
    return ERR_OK;
}

/* One that cannot be asked is one that was not answered. An answer may come at once. */
static void ask(struct keyring_dane_query *query, size_t index, const char *name)
{
    struct dane_question *question = &query->questions[index];
    const int failure =
        ub_resolve_event(query->dane->resolver, name, question->type, CLASS_IN, question, on_answer, &question->id);
    if (failure != UB_NOERROR)
        question->state = DANE_UNANSWERED;
}

/* Asks `types_len` questions, for names[i] and types[i]. */
static void ask_all(struct keyring_dane_query *query, const char *const *names, const int *types, size_t types_len)
{
    query->questions_len = types_len;
    for (size_t i = 0; i < types_len; i++)
        query->questions[i] = (struct dane_question){.query = query, .type = types[i], .id = -1};
    for (size_t i = 0; i < types_len; i++)
        if (query->dane->resolver != NULL)
            ask(query, i, names[i]);
        else
            query->questions[i].state = DANE_UNANSWERED;
    if (count(query, DANE_WAITING) == 0)
        event_active(query->turn, EV_TIMEOUT, 0);
}

enum err keyring_dane_find(struct keyring_dane *dane, const char *address, keyring_answer_fn fn, void *context,
                           struct keyring_dane_query **query_out)
{
    static const int types[] = {KEYRING_DANE_OPENPGPKEY, KEYRING_DANE_SMIMEA};
    char key_name[KEYRING_DANE_NAME_SIZE], certificate_name[KEYRING_DANE_NAME_SIZE];
    const char *const names[] = {key_name, certificate_name};
    struct keyring_dane_query *query;
    enum err named = keyring_dane_name(address, KEYRING_DANE_OPENPGPKEY, key_name);
    if (named == ERR_OK)
        named = keyring_dane_name(address, KEYRING_DANE_SMIMEA, certificate_name);
    if (named != ERR_OK && named != ERR_ADDRESS_SYNTAX)
        return named;
    enum err err = query_new(dane, fn, context, &query);
    if (err != ERR_OK)
        return err;
    (void)snprintf(query->domain, sizeof(query->domain), "%.*s", (int)sizeof(query->domain) - 1,
                   mime_addr_domain(address));
    ask_all(query, names, types, named == ERR_OK ? QUESTIONS_MAX : 0);
    if (query_out != NULL)
        *query_out = query;
    return ERR_OK;
}

enum err keyring_dane_try(struct keyring_dane *dane, const char *domain, keyring_answer_fn fn, void *context,
                          struct keyring_dane_query **query_out)
{
    static const int types[] = {TYPE_SOA};
    struct keyring_dane_query *query;
    enum err err = query_new(dane, fn, context, &query);
    if (err != ERR_OK)
        return err;
    query->is_try = true;
    (void)snprintf(query->domain, sizeof(query->domain), "%.*s", (int)sizeof(query->domain) - 1, domain);
    ask_all(query, &domain, types, 1);
    if (query_out != NULL)
        *query_out = query;
    return ERR_OK;
}

void keyring_dane_cancel(struct keyring_dane_query **query_pointer)
{
    struct keyring_dane_query *query = *query_pointer;
    *query_pointer = NULL;
    if (query != NULL)
        query_free(query);
}
