/*
 * OpenPGP keys of correspondents over HTTPS, asked without waiting: a Web Key Directory (draft-koch-openpgp-webkey-
 * service), which each domain has of its own, or a keyserver (HKP, draft-gallagher-openpgp-hkp).
 *
 * Neither is believed anything here: answers are bounded in bytes and time and cut down to what can serve the address
 * (keyring/key_trim.h); certificates are checked for the host, redirects are not followed, private addresses only
 * connected to where the configuration says so (keyring/fetch.h). Runs in the finder and on the command line.
 */
#ifndef KEYRING_WEB_H
#define KEYRING_WEB_H

#include "base/buf.h"
#include "keyring/found.h"
#include "mime/addr.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <openssl/ssl.h>

#define KEYRING_WKD_ANSWER_MAX KEYRING_FOUND_PIECE_MAX
#define KEYRING_HKP_ANSWER_MAX ((size_t)4 << 20) /* flooded keys are large */
#define KEYRING_WKD_QUERIES_MAX 256              /* under way at once */
#define KEYRING_HKP_QUERIES_MAX 32
#define KEYRING_WEB_HOST_SIZE 256
/* A scheme, two hosts, a path, and an address each byte of which may become three. */
#define KEYRING_WEB_URL_SIZE (2 * KEYRING_WEB_HOST_SIZE + 3 * MIME_ADDR_SIZE + 128)

/* How a domain's directory is found. */
enum keyring_wkd_method {
    KEYRING_WKD_ANY, /* the advanced one; the direct one if its host does not exist */
    KEYRING_WKD_ADVANCED,
    KEYRING_WKD_DIRECT
};

struct keyring_web_options {
    char name[80]; /* for the log */
    bool is_keyserver;
    enum keyring_wkd_method method;   /* of the directories */
    bool is_clear;                    /* http, of a keyserver on this machine */
    char host[KEYRING_WEB_HOST_SIZE]; /* of the keyserver */
    int port;
    const char *const *hosts; /* those that may have private addresses, borrowed; a keyserver's own always may */
    size_t hosts_len;
    uint32_t timeout_ms; /* of a question as a whole */
};

/* Where the key of `address` (normal form) is in its domain's directory: by the advanced method, at the host
   openpgpkey.DOMAIN, or by the direct one. ERR_ADDRESS_SYNTAX: its domain is no host name. */
ERR_RETURN enum err keyring_wkd_url(const char *address, bool is_direct, char url_out[KEYRING_WEB_URL_SIZE]);
/* What a keyserver is asked for the keys of `address`, or, with NULL, whether it is there. ERR_LIMIT. */
ERR_RETURN enum err keyring_hkp_url(const struct keyring_web_options *options, const char *address,
                                    char url_out[KEYRING_WEB_URL_SIZE]);

struct keyring_web;

/* `options` is borrowed for life. `tls` is counted up; NULL: every question fails, but for is_clear. `dns` may be NULL:
   then literal addresses and localhost only. */
ERR_RETURN enum err keyring_web_new(struct event_base *base, struct evdns_base *dns,
                                    const struct keyring_web_options *options, SSL_CTX *tls,
                                    struct keyring_web **web_out);
/* Questions that are open are forgotten; their functions do not fire. Not from within such a function. */
void keyring_web_free(struct keyring_web **web);

/* Asks for the keys of `address` (normal form); with NULL, whether the keyserver is there. With ERR_OK `fn` fires
   later, out of the loop, within the timeout. ERR_BUSY, ERR_MEMORY, ERR_LIMIT. */
ERR_RETURN enum err keyring_web_find(struct keyring_web *web, const char *address, keyring_answer_fn fn, void *context);

#endif
