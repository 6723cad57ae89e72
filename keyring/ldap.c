#include "keyring/ldap_internal.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FILTER_MAX 8192u
#define SENT_MAX 32 /* questions at once on one connection */

static void query_free(struct keyring_ldap_query *query)
{
    if (query->deadline != NULL)
        event_free(query->deadline);
    buf_fini(&query->filter);
    buf_fini(&query->answer.bytes);
    free(query);
}

static void take_out(struct keyring_ldap_query *query)
{
    TAILQ_REMOVE(&query->ldap->queries, query, link);
    query->ldap->queries_len--;
}

static void go_on(struct keyring_ldap *ldap)
{
    event_active(ldap->turn, EV_TIMEOUT, 0);
}

static void finish(struct keyring_ldap_query *query, enum err err, const char *problem)
{
    struct keyring_piece values[KEYRING_LDAP_VALUES_MAX];
    const struct ldap_answer *answer = &query->answer;
    const char *name = query->ldap->options->name;
    const size_t len = err == ERR_OK ? answer->pieces_len : 0;
    take_out(query);
    for (size_t i = 0; i < len; i++)
        values[i] = (struct keyring_piece){answer->pieces[i].kind,
                                           {answer->bytes.data + answer->pieces[i].at, answer->pieces[i].len}};
    if (err != ERR_OK)
        log_warning("directory %s: %s", name, problem);
    else if (answer->ignored > 0)
        log_warning("directory %s: %zu values ignored that are no certificates or keys, or too many", name,
                    answer->ignored);
    if (err == ERR_OK && problem[0] != '\0')
        log_info("directory %s: %s", name, problem);
    if (err == ERR_OK && problem[0] == '\0' && len == KEYRING_LDAP_VALUES_MAX)
        problem = "it has more than can be taken";
    if (query->ldap->queries_len > 0)
        go_on(query->ldap);
    query->fn(err, values, len, problem, query->context);
    query_free(query);
}

/* Only whether the base is there. */
static bool is_try(const struct keyring_ldap_query *query)
{
    return query->filter.len == 0 && query->attribute[0] == '\0';
}

static void reset(struct keyring_ldap_query *query)
{
    query->message = -1;
    query->targets_len = query->followed = 0;
    query->problem[0] = '\0';
    query->answer.pieces_len = query->answer.entries = query->answer.ignored = 0;
    buf_clear(&query->answer.bytes);
}

static struct keyring_ldap_query *first_failed(const struct keyring_ldap *ldap)
{
    struct keyring_ldap_query *query;
    TAILQ_FOREACH(query, &ldap->queries, link)
    if (query->is_failed)
        break;
    return query;
}

/* What stood on a connection that had been good gets another one, once; what other servers are asked does not stand on
   it. Whoever is told may ask and cancel others. */
static void lost(struct keyring_ldap *ldap, bool was_open, const char *problem)
{
    struct keyring_ldap_query *query;
    for (query = TAILQ_FIRST(&ldap->queries); query != NULL; query = TAILQ_NEXT(query, link)) {
        if (query->waiting > 0)
            continue;
        query->is_failed = !was_open || query->is_again;
        query->is_again = true;
        reset(query);
    }
    while ((query = first_failed(ldap)) != NULL)
        finish(query, ERR_UPSTREAM_DOWN, problem);
    if (ldap->queries_len > 0)
        go_on(ldap);
}

void ldap_on_lost(struct keyring_ldap *ldap, const char *problem)
{
    bool was_sent = false;
    struct keyring_ldap_query *query;
    TAILQ_FOREACH(query, &ldap->queries, link)
    was_sent = was_sent || query->message >= 0;
    lost(ldap, was_sent, problem);
}

void ldap_on_open(struct keyring_ldap *ldap)
{
    go_on(ldap);
}

static bool is_attribute(const char *wanted, const char *name)
{
    const size_t len = strcspn(name, ";");
    return strcspn(wanted, ";") == len && strncasecmp(wanted, name, len) == 0;
}

/* True if an attribute was asked for; options that the server adds to its name do not matter. */
static bool is_wanted(const struct keyring_ldap_query *query, const char *name)
{
    const struct keyring_ldap_options *options = query->ldap->options;
    if (query->attribute[0] != '\0')
        return is_attribute(query->attribute, name);
    for (size_t i = 0; i < options->attributes_len; i++)
        if (is_attribute(options->attributes[i], name))
            return true;
    return false;
}

static enum err take_values(struct keyring_ldap *ldap, struct keyring_ldap_query *query, LDAPMessage *entry,
                            const char *name)
{
    struct berval **values = ldap_get_values_len(ldap->handle, entry, name);
    enum err err = ERR_OK;
    for (size_t i = 0; values != NULL && values[i] != NULL && err == ERR_OK; i++) {
        const struct span value = {values[i]->bv_val, values[i]->bv_len};
        err = query->attribute[0] != '\0' ? ldap_answer_add_raw(&query->answer, value)
                                          : ldap_answer_add(&query->answer, value);
    }
    ldap_value_free_len(values);
    return err;
}

static enum err take_entry(struct keyring_ldap *ldap, struct keyring_ldap_query *query, LDAPMessage *entry)
{
    BerElement *at = NULL;
    enum err err = ++query->answer.entries > ldap->options->size_limit ? ERR_LIMIT : ERR_OK;
    if (err != ERR_OK || is_try(query))
        return err;
    char *name = ldap_first_attribute(ldap->handle, entry, &at);
    while (name != NULL) {
        if (err == ERR_OK && is_wanted(query, name))
            err = take_values(ldap, query, entry, name);
        ldap_memfree(name);
        name = err == ERR_OK ? ldap_next_attribute(ldap->handle, entry, at) : NULL;
    }
    if (at != NULL)
        ber_free(at, 0);
    return err;
}

void ldap_query_conclude(struct keyring_ldap_query *query)
{
    char problem[LDAP_PROBLEM_SIZE];
    const bool has_something = query->answer.pieces_len > 0 || (is_try(query) && query->answer.entries > 0);
    snprintf(problem, sizeof(problem), "%s", query->problem);
    finish(query, query->is_unanswered && !has_something ? ERR_LOOKUP : ERR_OK, problem);
}

/* Where all that was asked for is elsewhere, and nobody can be asked there, nothing is known. */
static void take_end(struct keyring_ldap_query *query, bool is_elsewhere)
{
    if (ldap_referral_follow(query))
        return;
    query->is_unanswered = query->is_unanswered || is_elsewhere;
    ldap_query_conclude(query);
}

static void take_result(struct keyring_ldap *ldap, struct keyring_ldap_query *query, LDAPMessage *message)
{
    char problem[LDAP_PROBLEM_SIZE];
    char *detail = NULL, **referrals = NULL;
    int code = LDAP_PROTOCOL_ERROR;
    ldap->received_at = ldap->received;
    if (ldap_parse_result(ldap->handle, message, &code, NULL, &detail, &referrals, NULL, 0) != LDAP_SUCCESS)
        code = LDAP_DECODING_ERROR;
    const bool is_elsewhere = code == LDAP_REFERRAL;
    if (is_elsewhere) {
        ldap_referral_add(query, referrals);
        code = LDAP_SUCCESS;
    }
    ldap_memvfree((void **)referrals);
    if (code == LDAP_SIZELIMIT_EXCEEDED && query->filter.len > 0) {
        log_warning("directory %s has more entries for an address than size_limit", ldap->options->name);
        code = LDAP_SUCCESS;
        snprintf(query->problem, sizeof(query->problem), "it has more entries for the address than size_limit");
    }
    if (code == LDAP_SUCCESS && is_try(query) && query->answer.entries == 0 && !is_elsewhere)
        code = LDAP_NO_SUCH_OBJECT;
    snprintf(problem, sizeof(problem), "searching below \"%.100s\": %s%s%.80s",
             query->dn[0] != '\0' ? query->dn : ldap->options->base, ldap_err2string(code),
             detail != NULL && detail[0] != '\0' ? ", " : "", detail != NULL ? detail : "");
    ldap_memfree(detail);
    if (code == LDAP_SUCCESS)
        take_end(query, is_elsewhere);
    else
        finish(query, ERR_LOOKUP, problem);
}

static void take_reference(struct keyring_ldap *ldap, struct keyring_ldap_query *query, LDAPMessage *message)
{
    char **referrals = NULL;
    if (ldap_parse_reference(ldap->handle, message, &referrals, NULL, 0) != LDAP_SUCCESS)
        referrals = NULL;
    ldap_referral_add(query, referrals);
    ldap_memvfree((void **)referrals);
}

static void give_up(struct keyring_ldap_query *query, enum err err, const char *problem)
{
    struct keyring_ldap *ldap = query->ldap;
    if (query->message >= 0 && ldap->handle != NULL) {
        (void)ldap_abandon_ext(ldap->handle, query->message, NULL, NULL);
        ldap_link_flush(ldap);
    }
    query->message = -1;
    if (problem != NULL)
        finish(query, err, problem);
}

void ldap_on_message(struct keyring_ldap *ldap, LDAPMessage *message)
{
    struct keyring_ldap_query *query;
    for (query = TAILQ_FIRST(&ldap->queries); query != NULL; query = TAILQ_NEXT(query, link))
        if (query->message == ldap_msgid(message))
            break;
    if (query == NULL)
        return;
    const int type = ldap_msgtype(message);
    if (type == LDAP_RES_SEARCH_RESULT)
        take_result(ldap, query, message);
    else if (type == LDAP_RES_SEARCH_REFERENCE)
        take_reference(ldap, query, message);
    else if (type == LDAP_RES_SEARCH_ENTRY && take_entry(ldap, query, message) != ERR_OK)
        give_up(query, ERR_LOOKUP, "the answer is longer than it may be, and ignored");
}

/* The last of the children that are told takes their parent along. */
static void expire(struct keyring_ldap_query *query)
{
    struct keyring_ldap *ldap = query->ldap;
    char problem[LDAP_PROBLEM_SIZE];
    size_t left = query->waiting;
    for (size_t i = 0; left > 0; i++)
        if (query->children[i] != NULL) {
            if (--left == 0) {
                expire(query->children[i]);
                return;
            }
            expire(query->children[i]);
        }
    /* Nothing has come since it was asked, or there is nobody to ask: the next question takes another connection. */
    const bool is_silent = ldap->state != LDAP_OPEN || (query->message >= 0 && ldap->received == query->received);
    snprintf(problem, sizeof(problem), "no answer in %u seconds", ldap->options->timeout_ms / 1000);
    give_up(query, ERR_UPSTREAM_DOWN, problem);
    if (is_silent && ldap->state != LDAP_OFF) {
        ldap_link_close(ldap);
        lost(ldap, true, problem);
    }
}

static void on_deadline(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    expire(context);
}

static enum err send_query(struct keyring_ldap *ldap, struct keyring_ldap_query *query)
{
    static const int scopes[] = {[KEYRING_LDAP_BASE] = LDAP_SCOPE_BASE,
                                 [KEYRING_LDAP_ONE] = LDAP_SCOPE_ONELEVEL,
                                 [KEYRING_LDAP_SUB] = LDAP_SCOPE_SUBTREE};
    const struct keyring_ldap_options *options = ldap->options;
    const bool is_search = query->filter.len > 0;
    char none[] = LDAP_NO_ATTRS;
    char *attributes[KEYRING_LDAP_ATTRIBUTES_MAX + 1] = {none};
    struct timeval limit = {options->time_limit_s, 0};
    if (query->attribute[0] != '\0')
        attributes[0] = query->attribute;
    for (size_t i = 0; is_search && i < options->attributes_len; i++)
        attributes[i] = (char *)(uintptr_t)options->attributes[i];
    query->received = ldap->received;
    const int scope = query->parent != NULL && query->at.scope >= 0 ? query->at.scope : scopes[options->scope];
    int code = ldap_search_ext(ldap->handle, query->dn[0] != '\0' ? query->dn : options->base,
                               is_search ? scope : LDAP_SCOPE_BASE, is_search ? query->filter.data : "(objectClass=*)",
                               attributes, 0, NULL, NULL, &limit, (int)options->size_limit, &query->message);
    ldap_link_flush(ldap);
    if (code == LDAP_SUCCESS)
        return ERR_OK;
    query->message = -1;
    finish(query, ERR_LOOKUP, ldap_err2string(code));
    return ERR_LOOKUP;
}

static void send_queries(struct keyring_ldap *ldap)
{
    struct keyring_ldap_query *query;
    size_t sent = 0;
    for (query = TAILQ_FIRST(&ldap->queries); query != NULL; query = TAILQ_NEXT(query, link))
        sent += query->message >= 0;
    if (sent == 0)
        ldap->received_at = ldap->received;
    while (sent < SENT_MAX && ldap->state == LDAP_OPEN) {
        for (query = TAILQ_FIRST(&ldap->queries); query != NULL; query = TAILQ_NEXT(query, link))
            if (query->message < 0 && query->waiting == 0)
                break;
        if (query == NULL)
            return;
        sent += send_query(ldap, query) == ERR_OK;
    }
}

static void on_turn(evutil_socket_t fd, short what, void *context)
{
    struct keyring_ldap *ldap = context;
    char problem[LDAP_PROBLEM_SIZE];
    (void)fd;
    (void)what;
    if (ldap->queries_len == 0)
        return;
    if (ldap->state == LDAP_OPEN)
        send_queries(ldap);
    else if (ldap->state == LDAP_OFF && ldap_link_open(ldap, problem) != ERR_OK)
        lost(ldap, false, problem);
}

enum err keyring_ldap_new(struct event_base *base, struct evdns_base *dns, const struct keyring_ldap_options *options,
                          const struct secret *password, SSL_CTX *tls, struct keyring_ldap **ldap_out)
{
    struct keyring_ldap *ldap = calloc(1, sizeof(*ldap));
    if (ldap == NULL)
        return ERR_MEMORY;
    *ldap = (struct keyring_ldap){.base = base, .dns = dns, .options = options, .password = password, .pair = -1};
    TAILQ_INIT(&ldap->queries);
    ldap->turn = evtimer_new(base, on_turn, ldap);
    if (ldap->turn == NULL) {
        free(ldap);
        return ERR_MEMORY;
    }
    if (tls != NULL)
        SSL_CTX_up_ref(tls);
    ldap->tls = tls;
    *ldap_out = ldap;
    return ERR_OK;
}

void keyring_ldap_free(struct keyring_ldap **ldap_pointer)
{
    struct keyring_ldap *ldap = *ldap_pointer;
    *ldap_pointer = NULL;
    if (ldap == NULL)
        return;
    ldap_referral_free(ldap);
    ldap_link_close(ldap);
    while (!TAILQ_EMPTY(&ldap->queries)) {
        struct keyring_ldap_query *query = TAILQ_FIRST(&ldap->queries);
        take_out(query);
        query_free(query);
    }
    event_free(ldap->turn);
    SSL_CTX_free(ldap->tls);
    free(ldap);
}

bool keyring_ldap_is_refused(const struct keyring_ldap *ldap, bool *was_taken_out)
{
    *was_taken_out = ldap->was_taken;
    return ldap->is_refused;
}

static enum err ask(struct keyring_ldap *ldap, const char *address, keyring_answer_fn fn, void *context,
                    struct keyring_ldap_query **query_out)
{
    const struct timeval time = {ldap->options->timeout_ms / 1000, ldap->options->timeout_ms % 1000 * 1000};
    if (ldap->queries_len >= KEYRING_LDAP_QUERIES_MAX)
        return ERR_BUSY;
    struct keyring_ldap_query *query = calloc(1, sizeof(*query));
    if (query == NULL)
        return ERR_MEMORY;
    *query = (struct keyring_ldap_query){.ldap = ldap, .fn = fn, .context = context, .message = -1};
    buf_init(&query->filter, FILTER_MAX);
    buf_init(&query->answer.bytes, KEYRING_LDAP_ANSWER_MAX);
    enum err err = address == NULL ? ERR_OK : keyring_ldap_filter(ldap->options->filter, address, &query->filter);
    query->deadline = evtimer_new(ldap->base, on_deadline, query);
    if (err == ERR_OK && (query->deadline == NULL || evtimer_add(query->deadline, &time) != 0))
        err = ERR_MEMORY;
    if (err != ERR_OK) {
        query_free(query);
        return err;
    }
    TAILQ_INSERT_TAIL(&ldap->queries, query, link);
    ldap->queries_len++;
    go_on(ldap);
    if (query_out != NULL)
        *query_out = query;
    return ERR_OK;
}

enum err keyring_ldap_find(struct keyring_ldap *ldap, const char *address, keyring_answer_fn fn, void *context,
                           struct keyring_ldap_query **query_out)
{
    return ask(ldap, address, fn, context, query_out);
}

enum err keyring_ldap_read(struct keyring_ldap *ldap, const char *dn, const char *attribute, keyring_answer_fn fn,
                           void *context, struct keyring_ldap_query **query_out)
{
    if (dn[0] == '\0' || strlen(dn) >= KEYRING_LDAP_DN_SIZE || attribute[0] == '\0' ||
        strlen(attribute) >= KEYRING_LDAP_ATTRIBUTE_SIZE)
        return ERR_LIMIT;
    enum err err = ask(ldap, NULL, fn, context, query_out);
    if (err == ERR_OK) {
        memcpy((*query_out)->dn, dn, strlen(dn) + 1);
        memcpy((*query_out)->attribute, attribute, strlen(attribute) + 1);
    }
    return err;
}

enum err keyring_ldap_try(struct keyring_ldap *ldap, keyring_answer_fn fn, void *context,
                          struct keyring_ldap_query **query_out)
{
    return ask(ldap, NULL, fn, context, query_out);
}

enum err ldap_query_refer(struct keyring_ldap *ldap, struct keyring_ldap_query *parent,
                          const struct ldap_target *target, keyring_answer_fn fn, struct keyring_ldap_query **query_out)
{
    struct keyring_ldap_query *query;
    enum err err = ask(ldap, NULL, fn, NULL, &query);
    if (err != ERR_OK)
        return err;
    query->context = query;
    query->parent = parent;
    query->at = *target;
    memcpy(query->dn, target->dn, sizeof(query->dn));
    memcpy(query->attribute, parent->attribute, sizeof(query->attribute));
    err = buf_add_span(&query->filter, buf_span(&parent->filter));
    if (err != ERR_OK)
        keyring_ldap_cancel(&query);
    else
        *query_out = query;
    return err;
}

void keyring_ldap_cancel(struct keyring_ldap_query **query_pointer)
{
    struct keyring_ldap_query *query = *query_pointer;
    *query_pointer = NULL;
    if (query == NULL)
        return;
    for (size_t i = 0; i < query->targets_len; i++)
        keyring_ldap_cancel(&query->children[i]);
    give_up(query, ERR_OK, NULL);
    take_out(query);
    query_free(query);
}
