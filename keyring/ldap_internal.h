/*
 * What keyring/ldap*.c share: ldap.c has the questions, ldap_link.c the connection under them, ldap_value.c what is
 * read out of an entry, ldap_filter.c what is put into a filter, ldap_referral.c what other servers are asked.
 */
#ifndef KEYRING_LDAP_INTERNAL_H
#define KEYRING_LDAP_INTERNAL_H

#include "base/buf.h"
#include "base/conn.h"
#include "keyring/ldap.h"

#include <ldap.h>
#include <sys/queue.h>

#define LDAP_PROBLEM_SIZE 300

/* What has been read for one question. */
struct ldap_answer {
    struct buf bytes;
    struct ldap_piece {
        enum keyring_found_kind kind;
        size_t at, len;
    } pieces[KEYRING_LDAP_VALUES_MAX];
    size_t pieces_len;
    size_t entries;
    size_t ignored; /* values that are neither certificate nor key, or too many */
};

/* Takes a value as it is. */
ERR_RETURN enum err ldap_answer_add_raw(struct ldap_answer *answer, struct span value);
/* Takes a value of an attribute: a certificate, a PKCS #7 of certificates (RFC 2798 §2.8), an OpenPGP key; anything
   else is counted and left out. ERR_LIMIT: more than an answer may hold. */
ERR_RETURN enum err ldap_answer_add(struct ldap_answer *answer, struct span value);

/* Where a server says that more is to be had. */
struct ldap_target {
    char host[256];
    int port;
    enum keyring_ldap_security security;
    char dn[KEYRING_LDAP_DN_SIZE];
    int scope; /* libldap's; -1: as it was */
};

enum ldap_state { LDAP_OFF, LDAP_CONNECTING, LDAP_ASKING_TLS, LDAP_HANDSHAKE, LDAP_BINDING, LDAP_OPEN };

struct keyring_ldap_query {
    TAILQ_ENTRY(keyring_ldap_query) link;
    struct keyring_ldap *ldap;
    keyring_answer_fn fn;
    void *context;
    struct buf filter; /* empty: what the entry `dn` has, or, without that, whether the base is there */
    char dn[KEYRING_LDAP_DN_SIZE], attribute[KEYRING_LDAP_ATTRIBUTE_SIZE];
    int message;       /* libldap's number of it; -1: not sent */
    bool is_again;     /* the connection was lost once already */
    bool is_failed;    /* is about to be told so */
    uint64_t received; /* of ldap->received, when it was sent */
    struct event *deadline;
    struct ldap_answer answer;
    struct keyring_ldap_query *parent;                               /* whose referral this follows; NULL: none */
    struct ldap_target at;                                           /* that referral */
    struct ldap_target targets[KEYRING_LDAP_REFERRALS_MAX];          /* to follow when the result has come */
    struct keyring_ldap_query *children[KEYRING_LDAP_REFERRALS_MAX]; /* that follow them; NULL: done */
    size_t targets_len, waiting;                                     /* children that are there */
    size_t followed;                                                 /* by all below a question that has no parent */
    char problem[LDAP_PROBLEM_SIZE];                                 /* of the servers that were referred to */
    bool is_unanswered;                                              /* one of them could not be asked */
};

struct keyring_ldap {
    struct keyring_ldap *top;                                    /* the directory that referred here; NULL: it is one */
    struct keyring_ldap *others[KEYRING_LDAP_REFERRALS_MAX * 2]; /* of a top, made when first referred to */
    size_t others_len;
    struct event_base *base;
    struct evdns_base *dns;
    const struct keyring_ldap_options *options;
    const struct secret *password;
    SSL_CTX *tls;
    enum ldap_state state;
    bool was_taken, is_refused; /* the password: by an earlier login, by the last one */
    struct conn *conn;
    LDAP *handle;         /* reads and writes the other end of `pair` */
    int pair;             /* what comes from `conn` goes in here, what comes out goes to `conn`; never waits */
    int message;          /* of StartTLS or bind */
    uint64_t received;    /* bytes, on this connection */
    uint64_t received_at; /* of that, when the last question was answered */
    TAILQ_HEAD(, keyring_ldap_query) queries;
    size_t queries_len;
    struct event *turn; /* goes on from the loop */
};

/* ldap_link.c. Begins to connect; the rest comes through the three functions below. ERR_LOOKUP. */
ERR_RETURN enum err ldap_link_open(struct keyring_ldap *ldap, char problem_out[LDAP_PROBLEM_SIZE]);
void ldap_link_close(struct keyring_ldap *ldap);
/* Sends what libldap has written. */
void ldap_link_flush(struct keyring_ldap *ldap);

/* ldap.c, for ldap_referral.c. Asks what `parent` asks, at `target`, whose server `ldap` is. The context of `fn` is the
   new question. ERR_BUSY. */
ERR_RETURN enum err ldap_query_refer(struct keyring_ldap *ldap, struct keyring_ldap_query *parent,
                                     const struct ldap_target *target, keyring_answer_fn fn,
                                     struct keyring_ldap_query **query_out);
/* The servers that it was referred to have answered, as far as they will. */
void ldap_query_conclude(struct keyring_ldap_query *query);

/* ldap_referral.c. Notes the first of `urls`, which are alternatives, that may be followed; else that something is
   missing. */
void ldap_referral_add(struct keyring_ldap_query *query, char *const *urls);
/* Follows what was noted. False if there is nothing to wait for. */
bool ldap_referral_follow(struct keyring_ldap_query *query);
void ldap_referral_free(struct keyring_ldap *top);

/* ldap.c, for ldap_link.c. Logged in, if need be: questions may be sent. */
void ldap_on_open(struct keyring_ldap *ldap);
/* A message that concerns a question. */
void ldap_on_message(struct keyring_ldap *ldap, LDAPMessage *message);
/* The connection has failed, and is closed. */
void ldap_on_lost(struct keyring_ldap *ldap, const char *problem);

#endif
