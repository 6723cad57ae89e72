#include "keyring/web.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyring/fetch.h"
#include "keyring/index.h"
#include "keyring/key_trim.h"
#include "keyring/web_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define PROBLEM_SIZE 160
/* All that is kept of one answer. */
#define KEPT_MAX (2 * KEYRING_FOUND_PIECE_MAX)

struct question {
    LIST_ENTRY(question) link;
    struct keyring_web *web;
    char address[MIME_ADDR_SIZE];       /* "": whether it is there */
    char fingerprint[KEYRING_FPR_SIZE]; /* of the only key that is wanted; "": by address */
    bool is_direct;                     /* the directory's second method */
    bool is_nameless;                   /* a host of it does not exist; names come unsigned: anybody can say so */
    struct buf sent;                    /* to a keyserver; empty: something is asked for */
    uint64_t until_ms;
    struct keyring_fetch_options options;
    struct keyring_fetch *fetch;
    struct event *turn; /* for what is known without asking */
    keyring_answer_fn fn;
    void *context;
    struct buf kept;
    size_t ends[KEY_TRIM_KEYS_MAX]; /* of each key in `kept` */
    size_t keys;
};

struct keyring_web {
    struct event_base *base;
    struct evdns_base *dns;
    const struct keyring_web_options *options;
    SSL_CTX *tls;
    const char *own_host; /* options->host, as a list */
    LIST_HEAD(, question) questions;
    size_t questions_len;
};

enum err web_add_escaped(struct span value, struct buf *out)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < value.len; i++) {
        const char byte = value.ptr[i];
        const bool is_unreserved = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                                   (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' ||
                                   byte == '~';
        err = is_unreserved ? buf_add_byte(out, byte) : buf_addf(out, "%%%02X", (unsigned)(unsigned char)byte);
    }
    return err;
}

static void question_free(struct question *question)
{
    LIST_REMOVE(question, link);
    question->web->questions_len--;
    keyring_fetch_cancel(&question->fetch);
    if (question->turn != NULL)
        event_free(question->turn);
    buf_fini(&question->kept);
    buf_fini(&question->sent);
    free(question);
}

static void finish(struct question *question, enum err err, const char *problem)
{
    struct keyring_piece pieces[KEY_TRIM_KEYS_MAX];
    const struct span kept = buf_span(&question->kept);
    const size_t len = err == ERR_OK ? question->keys : 0;
    for (size_t i = 0; i < len; i++)
        pieces[i] = (struct keyring_piece){KEYRING_FOUND_OPENPGP,
                                           span_slice(kept, i == 0 ? 0 : question->ends[i - 1], question->ends[i])};
    /* Most domains have no directory. */
    if (problem[0] != '\0' && err == ERR_OK && question->is_nameless)
        log_info("%s: %s", question->web->options->name, problem);
    else if (problem[0] != '\0')
        log_warning("%s: %s", question->web->options->name, problem);
    question->fn(err, pieces, len, problem, question->context);
    question_free(question);
}

/* ---- answers ---- */

static enum err keep(struct span key, void *context)
{
    struct question *question = context;
    enum err err = buf_add_span(&question->kept, key);
    if (err == ERR_OK)
        question->ends[question->keys++] = question->kept.len;
    /* As many as there is room for. */
    return err == ERR_LIMIT ? ERR_OK : err;
}

static void take_answer(struct question *question, struct span answer)
{
    const bool is_one = question->fingerprint[0] != '\0';
    const struct key_trim_want want = {.address = question->address,
                                       .fingerprint = is_one ? question->fingerprint : NULL,
                                       .key_max = KEYRING_FOUND_PIECE_MAX,
                                       .is_head_enough = is_one};
    enum err err = key_trim(answer, &want, keep, question);
    if (err != ERR_OK && err != ERR_MALFORMED)
        finish(question, ERR_LOOKUP, err_sentence(err));
    else if (err == ERR_MALFORMED && question->keys == 0)
        finish(question, ERR_OK, "its answer is no OpenPGP key");
    else if (err == ERR_MALFORMED)
        finish(question, ERR_OK, "its answer is damaged behind the first key");
    else
        finish(question, ERR_OK,
               question->keys > 0 ? ""
               : is_one           ? "its answer is another key"
                                  : "its answer has no key with the address");
}

static enum err begin(struct question *question);

static void on_turn(evutil_socket_t unused, short what, void *context)
{
    (void)unused;
    (void)what;
    finish(context, ERR_OK, "");
}

/* A directory whose first host does not exist is looked for at the domain itself. */
static void go_direct(struct question *question)
{
    question->is_direct = true;
    enum err err = begin(question);
    if (err != ERR_OK)
        finish(question, ERR_LOOKUP, err_sentence(err));
}

static void on_fetched(void *context, enum err err, struct span answer)
{
    struct question *question = context;
    const struct keyring_web_options *options = question->web->options;
    char problem[PROBLEM_SIZE];
    question->fetch = NULL;
    const bool is_try = question->address[0] == '\0';
    switch (err) {
    case ERR_OK:
        if (is_try)
            finish(question, ERR_OK, "");
        else
            take_answer(question, answer);
        return;
    case ERR_UPSTREAM_REJECTED:
    case ERR_UPSTREAM_PROTOCOL:
        /* Whoever refuses, or names another place, has not taken back what was said before. */
        if (question->sent.len > 0)
            finish(question, ERR_LOOKUP, "it does not take the key");
        else
            finish(question, ERR_OK,
                   is_try                         ? ""
                   : err == ERR_UPSTREAM_PROTOCOL ? "its answer does not say whether there is a key"
                   : question->is_nameless        ? "its first host does not exist, and the other has no key"
                                                  : "");
        return;
    case ERR_NOT_FOUND:
        question->is_nameless = true;
        if (!options->is_keyserver && options->method == KEYRING_WKD_ANY && !question->is_direct)
            go_direct(question);
        else if (!options->is_keyserver)
            /* Whoever says that there are no such names must not take back what was said before. */
            finish(question, ERR_OK, is_try ? "" : "there is no such host");
        else
            finish(question, ERR_UPSTREAM_DOWN, "there is no such host");
        return;
    case ERR_LIMIT:
        (void)snprintf(problem, sizeof problem, "its answer is larger than %zu bytes", question->options.answer_max);
        finish(question, is_try ? ERR_OK : ERR_LOOKUP, is_try ? "" : problem);
        return;
    case ERR_TIMEOUT:
        (void)snprintf(problem, sizeof problem, "no answer in %u seconds", options->timeout_ms / 1000);
        finish(question, ERR_UPSTREAM_DOWN, problem);
        return;
    case ERR_UPSTREAM_DOWN:
        finish(question, ERR_UPSTREAM_DOWN, "nobody can be connected to");
        return;
    case ERR_UPSTREAM_TLS:
        finish(question, ERR_UPSTREAM_DOWN, "its certificate is not good for it");
        return;
    case ERR_REFUSED:
        finish(question, ERR_LOOKUP, "its address is private, and not connected to");
        return;
    default:
        finish(question, ERR_LOOKUP, "its answer is none");
        return;
    }
}

/* ---- questions ---- */

static enum err find_url(const struct question *question, char url[KEYRING_WEB_URL_SIZE])
{
    const struct keyring_web_options *options = question->web->options;
    char search[KEYRING_FPR_SIZE + 2];
    if (question->sent.len > 0)
        return keyring_hkp_add_url(options, url);
    if (question->fingerprint[0] != '\0') {
        (void)snprintf(search, sizeof search, "0x%s", question->fingerprint);
        return keyring_hkp_url(options, search, url);
    }
    return options->is_keyserver
               ? keyring_hkp_url(options, question->address[0] == '\0' ? NULL : question->address, url)
               : keyring_wkd_url(question->address, question->is_direct, url);
}

static enum err begin(struct question *question)
{
    const bool is_sent = question->sent.len > 0;
    const uint64_t now = clock_monotonic_ms();
    char url[KEYRING_WEB_URL_SIZE];
    question->options.timeout_ms = question->until_ms > now ? (uint32_t)(question->until_ms - now) : 1;
    enum err err = find_url(question, url);
    /* There is no directory for such a domain. */
    if (err == ERR_ADDRESS_SYNTAX) {
        event_active(question->turn, EV_TIMEOUT, 0);
        return ERR_OK;
    }
    if (err == ERR_OK)
        err = keyring_fetch_begin(&question->options, url, is_sent ? KEYRING_HKP_ADD_TYPE : NULL,
                                  buf_span(&question->sent), on_fetched, question, &question->fetch);
    return err;
}

/* What is asked, or else sent; each may be NULL. */
static enum err ask(struct keyring_web *web, const char *address, const char *fingerprint, const struct span *key,
                    keyring_answer_fn fn, void *context)
{
    const struct keyring_web_options *options = web->options;
    if (web->tls == NULL && !options->is_clear)
        return ERR_UPSTREAM_TLS;
    if (web->questions_len >= (options->is_keyserver ? KEYRING_HKP_QUERIES_MAX : KEYRING_WKD_QUERIES_MAX))
        return ERR_BUSY;
    struct question *question = calloc(1, sizeof *question);
    if (question == NULL)
        return ERR_MEMORY;
    *question = (struct question){
        .web = web,
        .is_direct = options->method == KEYRING_WKD_DIRECT,
        .until_ms = clock_monotonic_ms() + options->timeout_ms,
        .options = {.base = web->base,
                    .dns = web->dns,
                    .tls = options->is_clear ? NULL : web->tls,
                    .hosts = options->is_keyserver ? &web->own_host : options->hosts,
                    .hosts_len = options->is_keyserver ? 1 : options->hosts_len,
                    .answer_max = options->is_keyserver ? KEYRING_HKP_ANSWER_MAX : KEYRING_WKD_ANSWER_MAX},
        .fn = fn,
        .context = context};
    buf_init(&question->kept, KEPT_MAX);
    buf_init(&question->sent, KEYRING_HKP_SENT_MAX);
    LIST_INSERT_HEAD(&web->questions, question, link);
    web->questions_len++;
    const bool is_taken =
        (address == NULL || span_copy(span_of(address), question->address, sizeof question->address)) &&
        (fingerprint == NULL || span_copy(span_of(fingerprint), question->fingerprint, sizeof question->fingerprint));
    enum err err = is_taken ? ERR_OK : ERR_LIMIT;
    if (err == ERR_OK && key != NULL)
        err = keyring_hkp_add_body(*key, &question->sent);
    question->turn = evtimer_new(web->base, on_turn, question);
    if (err == ERR_OK)
        err = question->turn == NULL ? ERR_MEMORY : begin(question);
    if (err != ERR_OK)
        question_free(question);
    return err;
}

enum err keyring_web_find(struct keyring_web *web, const char *address, keyring_answer_fn fn, void *context)
{
    return ask(web, address, NULL, NULL, fn, context);
}

enum err keyring_web_find_key(struct keyring_web *web, const char *address, const char *fingerprint,
                              keyring_answer_fn fn, void *context)
{
    return web->options->is_keyserver ? ask(web, address, fingerprint, NULL, fn, context) : ERR_INTERNAL;
}

enum err keyring_web_send(struct keyring_web *web, struct span key, keyring_answer_fn fn, void *context)
{
    return web->options->is_keyserver ? ask(web, NULL, NULL, &key, fn, context) : ERR_INTERNAL;
}

enum err keyring_web_new(struct event_base *base, struct evdns_base *dns, const struct keyring_web_options *options,
                         SSL_CTX *tls, struct keyring_web **web_out)
{
    struct keyring_web *web = calloc(1, sizeof *web);
    if (web == NULL)
        return ERR_MEMORY;
    *web = (struct keyring_web){.base = base, .dns = dns, .options = options, .tls = tls, .own_host = options->host};
    if (tls != NULL)
        SSL_CTX_up_ref(tls);
    *web_out = web;
    return ERR_OK;
}

void keyring_web_free(struct keyring_web **web_pointer)
{
    struct keyring_web *web = *web_pointer;
    *web_pointer = NULL;
    if (web == NULL)
        return;
    while (!LIST_EMPTY(&web->questions))
        question_free(LIST_FIRST(&web->questions));
    SSL_CTX_free(web->tls);
    free(web);
}
