/*
 * Keys of correspondents out of an LDAP directory (RFC 4511), asked without waiting: libldap makes and reads the
 * messages, base/conn.h carries them, so that names, TLS and time-outs are on the event loop as everywhere else.
 *
 * The directory is believed nothing here: what it sends is bounded in entries, values, bytes and time, and handed up as
 * bytes that have the form of a certificate or of an OpenPGP key; whether they are the address's, and what the
 * directory's word counts, is for others to say. One connection for each directory, kept and made anew when it is lost.
 * TLS is required by all but loopback and local sockets, and a server that refuses StartTLS gets no question. Referrals
 * (RFC 4511 §4.1.10, §4.5.3) are followed only to servers that the options name, with the same question, the same login
 * and the same need of TLS, and within the time of the question. Runs in the finder and on the command line.
 */
#ifndef KEYRING_LDAP_H
#define KEYRING_LDAP_H

#include "base/buf.h"
#include "base/secret.h"
#include "keyring/found.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#define KEYRING_LDAP_ATTRIBUTES_MAX 16
#define KEYRING_LDAP_ATTRIBUTE_SIZE 64
#define KEYRING_LDAP_DN_SIZE 512
#define KEYRING_LDAP_VALUES_MAX 64                /* certificates and keys of one answer; further ones are left out */
#define KEYRING_LDAP_ANSWER_MAX ((size_t)2 << 20) /* bytes of one answer; a longer one is no answer */
#define KEYRING_LDAP_QUERIES_MAX 1000             /* waiting at one directory */
#define KEYRING_LDAP_HOSTS_MAX 8                  /* that referrals may lead to */
#define KEYRING_LDAP_REFERRALS_MAX 8              /* followed for one question; further ones are not */
#define KEYRING_LDAP_DEPTH_MAX 3                  /* referrals on the way to an answer */

enum keyring_ldap_security {
    KEYRING_LDAP_TLS,      /* ldaps:// */
    KEYRING_LDAP_STARTTLS, /* ldap://, required */
    KEYRING_LDAP_CLEAR,    /* ldap+clear://, loopback only */
    KEYRING_LDAP_LOCAL     /* ldapi:// */
};

enum keyring_ldap_scope { KEYRING_LDAP_BASE, KEYRING_LDAP_ONE, KEYRING_LDAP_SUB };

/* A server that referrals may lead to. */
struct keyring_ldap_host {
    char host[256];
    int port; /* 0: that of the referral's scheme, 389 or 636 */
};

/* One directory, as the configuration has it. */
struct keyring_ldap_options {
    char name[64];
    enum keyring_ldap_security security;
    char host[256]; /* also where certificates are checked */
    int port;
    char path[108]; /* of the socket of KEYRING_LDAP_LOCAL */
    char base[KEYRING_LDAP_DN_SIZE];
    enum keyring_ldap_scope scope;
    char bind_dn[KEYRING_LDAP_DN_SIZE]; /* "": anonymous */
    bool is_external;                   /* SASL EXTERNAL: by the local user, or by the client's certificate */
    char filter[512];                   /* see keyring_ldap_filter */
    char attributes[KEYRING_LDAP_ATTRIBUTES_MAX][KEYRING_LDAP_ATTRIBUTE_SIZE];
    size_t attributes_len;
    uint32_t timeout_ms;                                             /* of a question as a whole, connecting included */
    uint32_t time_limit_s;                                           /* what the server is told */
    uint32_t size_limit;                                             /* entries: what the server is told, and held to */
    struct keyring_ldap_host referral_hosts[KEYRING_LDAP_HOSTS_MAX]; /* none: referrals are not followed */
    size_t referral_hosts_len;
};

/* Adds the filter for one address to `out`: in the pattern, %a stands for the address, %l for its local part, %d for
   its domain and %% for a per cent sign; what is put in is escaped by RFC 4515 §3, so that it is a value and nothing
   else. ERR_ADDRESS_SYNTAX if the address is no address in normal form; ERR_CONFIG if the pattern is none. */
ERR_RETURN enum err keyring_ldap_filter(const char *pattern, const char *address, struct buf *out);

struct keyring_ldap;
struct keyring_ldap_query;

/* Sets libldap up so that it reads no configuration of its own. Once, before threads and sandbox. */
void keyring_ldap_init(void);

/* `options` and `password` (NULL: none) are borrowed for life. `tls` is for ldaps and StartTLS, also where a referral
   leads; counted up. `dns` may
   be NULL: then literal addresses and localhost only. Connects at the first question. */
ERR_RETURN enum err keyring_ldap_new(struct event_base *base, struct evdns_base *dns,
                                     const struct keyring_ldap_options *options, const struct secret *password,
                                     SSL_CTX *tls, struct keyring_ldap **ldap_out);
/* True if the password was refused by the last login. `*was_taken_out`: an earlier one of this directory took it. */
bool keyring_ldap_is_refused(const struct keyring_ldap *ldap, bool *was_taken_out);
/* Questions that are open are forgotten; their functions do not fire. Not from within such a function. */
void keyring_ldap_free(struct keyring_ldap **ldap);

/* Asks for what is known of `address` (normal form). With ERR_OK `fn` fires later, within the directory's timeout.
   ERR_ADDRESS_SYNTAX, ERR_BUSY. */
ERR_RETURN enum err keyring_ldap_find(struct keyring_ldap *ldap, const char *address, keyring_answer_fn fn,
                                      void *context, struct keyring_ldap_query **query_out);
/* Asks for the values of `attribute` of the entry `dn`, whatever they are: KEYRING_FOUND_RAW. */
ERR_RETURN enum err keyring_ldap_read(struct keyring_ldap *ldap, const char *dn, const char *attribute,
                                      keyring_answer_fn fn, void *context, struct keyring_ldap_query **query_out);
/* Asks whether the base is there: connects, TLS, bind and all. An error also if it is not. */
ERR_RETURN enum err keyring_ldap_try(struct keyring_ldap *ldap, keyring_answer_fn fn, void *context,
                                     struct keyring_ldap_query **query_out);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void keyring_ldap_cancel(struct keyring_ldap_query **query);

#endif
