/*
 * What proxy/finder*.c share: finder.c is the process and its clients, finder_keys.c looks for keys,
 * finder_revocation.c asks what has been revoked. A kind of request
 * is a row in the table of finder.c and a function that reads it.
 */
#ifndef PROXY_FINDER_INTERNAL_H
#define PROXY_FINDER_INTERNAL_H

#include "base/ipc.h"
#include "keyring/fetch.h"
#include "proxy/finder.h"
#include "proxy/source.h"

#include <sys/queue.h>

struct finder;
struct finder_keys;
struct finder_revocation;

/* An answer that its client has not had room for; its files are its own. */
struct finder_answer {
    STAILQ_ENTRY(finder_answer) link;
    struct ipc_out out;
};

/* One client: a net process, or a keeper. */
struct finder_client {
    LIST_ENTRY(finder_client) link;
    struct finder *finder;
    const struct config_account *account; /* of a keeper; NULL: net */
    int socket;
    struct event *readable, *writable;
    STAILQ_HEAD(, finder_answer) answers;
    size_t answers_len;
    bool is_gone; /* freed when its callback returns */
};

struct finder {
    const struct config *config;
    struct event_base *base;
    struct evdns_base *dns;
    struct evdns_base *whole_dns; /* for names that strangers choose: without domains to be tried behind them */
    struct event *control;
    struct finder_keys *keys;
    struct finder_revocation *revocation;
    LIST_HEAD(, finder_client) clients;
    bool is_ending;
    int64_t started;
};

/* Reads a request to its end, after its number, and answers it sooner or later. An error is the client's and ends it.
 */
typedef enum err (*finder_serve_fn)(struct finder_client *client, uint32_t number, struct ipc_in *in);

/* Begins an answer: `err`, after which nothing follows unless it is ERR_OK. */
void finder_answer_begin(struct ipc_out *out, uint32_t number, enum err err);
/* Sends it, as soon as the client has room for it; one that leaves too many waiting is ended. Waits for nobody. */
void finder_answer_send(struct finder_client *client, struct ipc_out *out);

/* A directory has refused its password, which a sandbox keeps us from getting anew: the finder ends, and the master
   starts another, which runs the command again. It does where the password `was_taken` before, so that it has been
   changed; else at most every ten minutes. */
void finder_renew(struct finder *finder, const char *directory, bool was_taken);

/* finder_keys.c: opens all sources, before the sandbox. */
ERR_RETURN enum err finder_keys_new(struct finder *finder, struct finder_keys **keys_out);
void finder_keys_free(struct finder_keys **keys);
/* All directories, for others than net; they stand for as long as `keys` do. NULL: `keys` has none, or memory is short.
 */
struct keyring_fetch_directory *finder_keys_directories(const struct finder_keys *keys, size_t *len_out);
/* Its answers are for nobody any more. */
void finder_keys_forget(struct finder_keys *keys, const struct finder_client *client);
ERR_RETURN enum err finder_find(struct finder_client *client, uint32_t number, struct ipc_in *in);

/* finder_revocation.c: reads the trust anchors of all accounts, before the sandbox. It asks the directories of
   finder->keys, too, which must outlive it. */
ERR_RETURN enum err finder_revocation_new(struct finder *finder, struct finder_revocation **revocation_out);
void finder_revocation_free(struct finder_revocation **revocation);
void finder_revocation_forget(struct finder_revocation *revocation, const struct finder_client *client);
/* A keeper's request; asks about what leads to an anchor of its account, and nothing else. */
ERR_RETURN enum err finder_revocation_ask(struct finder_client *client, uint32_t number, struct ipc_in *in);

#endif
