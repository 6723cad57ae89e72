/*
 * A source of keys of the configuration, ready to be asked without waiting: an LDAP directory, and whatever else is in
 * the table of proxy/source.c. In the finder, and on the command line.
 *
 * A source is a row of functions. It hands up pieces that it has bounded and not judged; whether they are the
 * address's, and what its word counts, is for others to say.
 */
#ifndef PROXY_SOURCE_H
#define PROXY_SOURCE_H

#include "keyring/learn.h"
#include "proxy/config.h"

struct proxy_source_ops {
    /* Makes `*state_out`, and reads what it needs of files: before a sandbox closes. `config` is borrowed for life; it
       is part of its own section (PROXY_SECTION). What is missing is logged, and the source then fails when it is
       asked. ERR_MEMORY. */
    enum err (*open)(const struct config_source *config, struct event_base *base, struct evdns_base *dns,
                     void **state_out);
    /* Questions that are open are forgotten; their functions do not fire. Not from within such a function. */
    void (*close)(void *state);
    /* Asks for the keys of `address` (normal form). With ERR_OK `fn` fires later, out of the loop, within the source's
       timeout; without, never. What goes wrong is logged by the source. ERR_UPSTREAM_DOWN is for what concerns every
       other address, too: of this source or, with `is_of_domain`, of this address's domain. */
    enum err (*ask)(void *state, const char *address, keyring_answer_fn fn, void *context);
    /* Asks whether it is there: the same without an address. NULL: there is nothing that could be tried. */
    enum err (*try)(void *state, keyring_answer_fn fn, void *context);
    /* Asks for one key, which is known and may have changed, by its fingerprint. NULL: it is asked for by `ask`. */
    enum err (*ask_key)(void *state, const char *address, const char *fingerprint, keyring_answer_fn fn, void *context);
    /* Sends a public key (binary), as keyring_web_send. NULL: nothing can be sent there. */
    enum err (*send)(void *state, struct span key, keyring_answer_fn fn, void *context);
    bool is_of_domain; /* each domain has servers of its own: one that is down says nothing of the others */
};

struct proxy_source {
    const struct config_source *config;
    const struct proxy_source_ops *ops;
    void *state;
};

/* The section of which `config_source` is the member `source`. */
#define PROXY_SECTION(type, config_source)                                                                             \
    ((const type *)(const void *)((const char *)(config_source)-offsetof(type, source)))

/* Calls of the table's row. */
ERR_RETURN enum err proxy_source_open(const struct config_source *config, struct event_base *base,
                                      struct evdns_base *dns, struct proxy_source *source_out);
void proxy_source_close(struct proxy_source *source);

/* "directory corp", "wkd". */
#define PROXY_SOURCE_NAME_SIZE 80
void proxy_source_name(const struct config_source *config, char name_out[PROXY_SOURCE_NAME_SIZE]);

/* Adds one piece of its answer for `address` to `found_out` (keyring/found.h). It counts as found if the source is
   believed for the address, and for every other one that a certificate names. */
ERR_RETURN enum err proxy_source_keep(const struct config_source *config, const char *address,
                                      const struct keyring_piece *piece, struct buf *found_out);

/* Those that are asked for `address` in a stage (proxy/config.h), as the learner is to hear them, into `tellers_out`
   (KEYRING_TELLERS_MAX); how many. */
size_t proxy_source_tellers(const struct config *config, const char *address, size_t stage,
                            struct keyring_teller *tellers_out);

extern const struct proxy_source_ops proxy_source_dane; /* source_dane.c */
/* source_ldap.c; after keyring_ldap_init. */
extern const struct proxy_source_ops proxy_source_ldap;
/* source_web.c */
extern const struct proxy_source_ops proxy_source_wkd, proxy_source_keyserver;
/* The directory of a source; NULL: it is none. */
struct keyring_ldap *proxy_source_directory(const struct proxy_source *source);

#endif
