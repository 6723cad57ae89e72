/*
 * Referrals: what other servers are asked for a question. Which they are the options say; their URLs are believed a
 * place in the tree, and nothing about how to ask (RFC 4516: no filter, no attributes, no extension).
 */
#include "keyring/ldap_internal.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Which server, of those that are named. Only a directory that is itself asked in clear leads to others that are. */
static bool take_host(const struct keyring_ldap_options *options, const LDAPURLDesc *url, struct ldap_target *target)
{
    const bool is_tls = strcasecmp(url->lud_scheme, "ldaps") == 0;
    const int usual = is_tls ? LDAPS_PORT : LDAP_PORT, port = url->lud_port != 0 ? url->lud_port : usual;
    if (url->lud_host == NULL || (!is_tls && strcasecmp(url->lud_scheme, "ldap") != 0))
        return false;
    for (size_t i = 0; i < options->referral_hosts_len; i++) {
        const struct keyring_ldap_host *named = &options->referral_hosts[i];
        if (strcasecmp(named->host, url->lud_host) != 0 || (named->port != 0 ? named->port : usual) != port)
            continue;
        memcpy(target->host, named->host, sizeof(target->host));
        target->port = port;
        target->security = is_tls                                    ? KEYRING_LDAP_TLS
                           : options->security == KEYRING_LDAP_CLEAR ? KEYRING_LDAP_CLEAR
                                                                     : KEYRING_LDAP_STARTTLS;
        return true;
    }
    return false;
}

/* A part of the URL that is not there stays as it was (RFC 4511 §4.5.3). */
static bool take_place(const struct keyring_ldap_query *query, const LDAPURLDesc *url, struct ldap_target *target)
{
    const char *dn = url->lud_dn != NULL && url->lud_dn[0] != '\0' ? url->lud_dn
                     : query->dn[0] != '\0'                        ? query->dn
                                                                   : query->ldap->options->base;
    target->scope = url->lud_scope != LDAP_SCOPE_DEFAULT ? url->lud_scope
                    : query->parent != NULL              ? query->at.scope
                                                         : -1;
    return url->lud_crit_exts == 0 && span_copy(span_of(dn), target->dn, sizeof(target->dn));
}

static bool read_target(const struct keyring_ldap_query *query, const char *text, struct ldap_target *target)
{
    LDAPURLDesc *url = NULL;
    if (ldap_url_parse(text, &url) != LDAP_URL_SUCCESS)
        return false;
    const bool is_good = take_host(query->ldap->options, url, target) && take_place(query, url, target);
    ldap_free_urldesc(url);
    return is_good;
}

static struct keyring_ldap_query *question_of(struct keyring_ldap_query *query)
{
    while (query->parent != NULL)
        query = query->parent;
    return query;
}

static bool is_same(const struct ldap_target *target, const struct ldap_target *other)
{
    return strcmp(target->host, other->host) == 0 && target->port == other->port &&
           strcasecmp(target->dn, other->dn) == 0 && target->scope == other->scope;
}

/* Why it is not followed; NULL: it is. */
static const char *refusal(struct keyring_ldap_query *query, const struct ldap_target *target)
{
    unsigned depth = 1;
    for (const struct keyring_ldap_query *at = query; at->parent != NULL; at = at->parent, depth++)
        if (is_same(target, &at->at))
            return "its referrals go round in circles";
    if (depth > KEYRING_LDAP_DEPTH_MAX)
        return "its referrals lead from server to server too often";
    if (query->targets_len == KEYRING_LDAP_REFERRALS_MAX || question_of(query)->followed == KEYRING_LDAP_REFERRALS_MAX)
        return "it refers to too many servers";
    return NULL;
}

static void miss(struct keyring_ldap_query *query, const char *problem)
{
    if (query->problem[0] == '\0')
        snprintf(query->problem, sizeof(query->problem), "%s", problem);
}

void ldap_referral_add(struct keyring_ldap_query *query, char *const *urls)
{
    struct ldap_target target = {.port = 0};
    const char *problem = "other servers, which it refers to and referral_hosts does not name, have more";
    for (size_t i = 0; urls != NULL && urls[i] != NULL; i++)
        if (read_target(query, urls[i], &target)) {
            problem = refusal(query, &target);
            break;
        }
    if (problem != NULL) {
        miss(query, problem);
        return;
    }
    query->targets[query->targets_len++] = target;
    question_of(query)->followed++;
}

static struct keyring_ldap *find_server(const struct keyring_ldap *top, const struct ldap_target *target)
{
    for (size_t i = 0; i < top->others_len; i++) {
        const struct keyring_ldap_options *options = top->others[i]->options;
        if (strcmp(options->host, target->host) == 0 && options->port == target->port &&
            options->security == target->security)
            return top->others[i];
    }
    return NULL;
}

/* Its options are its own. */
static enum err add_server(struct keyring_ldap *top, const struct ldap_target *target, struct keyring_ldap **server)
{
    if (top->others_len == sizeof(top->others) / sizeof(*top->others))
        return ERR_LIMIT;
    struct keyring_ldap_options *options = malloc(sizeof(*options));
    if (options == NULL)
        return ERR_MEMORY;
    *options = *top->options;
    memcpy(options->host, target->host, sizeof(options->host));
    options->port = target->port;
    options->security = target->security;
    enum err err = keyring_ldap_new(top->base, top->dns, options, top->password, top->tls, server);
    if (err != ERR_OK) {
        free(options);
        return err;
    }
    (*server)->top = top;
    top->others[top->others_len++] = *server;
    return ERR_OK;
}

void ldap_referral_free(struct keyring_ldap *top)
{
    while (top->others_len > 0) {
        struct keyring_ldap *server = top->others[--top->others_len];
        void *options = (void *)(uintptr_t)server->options;
        keyring_ldap_free(&server);
        free(options);
    }
}

/* What was found there is part of the answer; what was not is missing in it. */
static void on_answer(enum err err, const struct keyring_piece *values, size_t values_len, const char *problem,
                      void *context)
{
    struct keyring_ldap_query *child = context, *query = child->parent;
    for (size_t i = 0; i < query->targets_len; i++)
        if (query->children[i] == child)
            query->children[i] = NULL;
    query->answer.entries += child->answer.entries;
    for (size_t i = 0; err == ERR_OK && i < values_len; i++)
        err = values[i].kind == KEYRING_FOUND_RAW ? ldap_answer_add_raw(&query->answer, values[i].bytes)
                                                  : ldap_answer_add(&query->answer, values[i].bytes);
    query->is_unanswered = query->is_unanswered || err != ERR_OK;
    if (err != ERR_OK || problem[0] != '\0')
        miss(query, problem[0] != '\0' ? problem : err_sentence(err));
    if (--query->waiting == 0)
        ldap_query_conclude(query);
}

bool ldap_referral_follow(struct keyring_ldap_query *query)
{
    struct keyring_ldap *top = query->ldap->top != NULL ? query->ldap->top : query->ldap;
    query->message = -1;
    for (size_t i = 0; i < query->targets_len; i++) {
        const struct ldap_target *target = &query->targets[i];
        struct keyring_ldap *server = find_server(top, target);
        enum err err = server != NULL ? ERR_OK : add_server(top, target, &server);
        if (err == ERR_OK)
            err = ldap_query_refer(server, query, target, on_answer, &query->children[i]);
        query->waiting += err == ERR_OK;
        if (err != ERR_OK) {
            log_failure(err, "directory %s: asking %s", top->options->name, target->host);
            query->is_unanswered = true;
            miss(query, err_sentence(err));
        }
    }
    return query->waiting > 0;
}
