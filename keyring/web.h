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

/* Where the key of `address` (normal form) stands below a folder that a web server serves: by the advanced method, or
   the direct one. ERR_ADDRESS_SYNTAX: its domain is no host name. */
ERR_RETURN enum err keyring_wkd_path(const char *address, bool is_direct, char path_out[KEYRING_WEB_URL_SIZE]);
/* Where the file `policy` stands that says that there is a directory for the domain of `address`. */
ERR_RETURN enum err keyring_wkd_policy_path(const char *address, bool is_direct, char path_out[KEYRING_WEB_URL_SIZE]);
/* Where the key of `address` (normal form) is in its domain's directory: by the advanced method, at the host
   openpgpkey.DOMAIN, or by the direct one. ERR_ADDRESS_SYNTAX: its domain is no host name. */
ERR_RETURN enum err keyring_wkd_url(const char *address, bool is_direct, char url_out[KEYRING_WEB_URL_SIZE]);
/* What a keyserver is asked for: keys by an address or "0x" and a fingerprint, or, with NULL, whether it is there.
   ERR_LIMIT. */
ERR_RETURN enum err keyring_hkp_url(const struct keyring_web_options *options, const char *search,
                                    char url_out[KEYRING_WEB_URL_SIZE]);
/* Where keys are sent to (§4 there), and adds what is sent: `key` (binary) in armour, as a field of a form.
   ERR_REFUSED: it holds anything but what is of one public key (RFC 9580 §10.1). */
ERR_RETURN enum err keyring_hkp_add_url(const struct keyring_web_options *options, char url_out[KEYRING_WEB_URL_SIZE]);
ERR_RETURN enum err keyring_hkp_add_body(struct span key, struct buf *out);
#define KEYRING_HKP_ADD_TYPE "application/x-www-form-urlencoded"
#define KEYRING_HKP_SENT_MAX ((size_t)1 << 20) /* bytes of such a body */

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
/* Asks a keyserver for one key, by its fingerprint, and hands up no other. It comes with those of its user IDs that
   have `address`, or with none, as from keyservers that show user IDs only where their owners let them. */
ERR_RETURN enum err keyring_web_find_key(struct keyring_web *web, const char *address, const char *fingerprint,
                                         keyring_answer_fn fn, void *context);
/* Sends a public key (binary) to a keyserver. `fn` as above, without pieces: ERR_OK, the keyserver has taken it;
   ERR_LOOKUP: it has not. ERR_REFUSED: as keyring_hkp_add_body. */
ERR_RETURN enum err keyring_web_send(struct keyring_web *web, struct span key, keyring_answer_fn fn, void *context);

#endif
