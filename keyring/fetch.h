/*
 * One question over HTTP (RFC 9110), asked without waiting: of a place that a certificate names, of a Web Key Directory
 * or of a keyserver; or over LDAP, of the directories that the configuration names, whatever a certificate says.
 *
 * What is asked is often a stranger's choice, so little is done for it: one scheme (http for lists and answers that are
 * signed themselves and would be needed for https' own certificates, https for all else, with the certificate checked
 * for the host); no redirect, cookie, proxy or password; the addresses of a name are looked at after it has been
 * resolved, and private ones are connected to only for hosts that the configuration names; size and time are bounded.
 * Runs in the finder and on the command line.
 */
#ifndef KEYRING_FETCH_H
#define KEYRING_FETCH_H

#include "base/address.h"
#include "base/buf.h"
#include "keyring/ldap.h"

#include <event2/event.h>

/* A directory, and the host by which it is known. */
struct keyring_fetch_directory {
    const char *host;
    struct keyring_ldap *ldap;
};

struct keyring_fetch_options {
    struct event_base *base;
    SSL_CTX *tls;             /* https:// is spoken, and nothing else; NULL: http:// and ldap:// */
    struct evdns_base *dns;   /* NULL: literal addresses and localhost alone */
    const char *const *hosts; /* those that may have private addresses, borrowed; case is ignored */
    size_t hosts_len;
    const struct keyring_fetch_directory *directories; /* that are asked about ldap:// URLs, borrowed */
    size_t directories_len;
    size_t answer_max;
    uint32_t timeout_ms; /* of all of it */
};

struct keyring_fetch;

/* Fires once, out of the event loop: ERR_OK with the body of an answer 200, valid during the call; ERR_NOT_FOUND: there
   is no such host; ERR_UPSTREAM_REJECTED: the host says that it is not there (404, 410);
   ERR_UPSTREAM_PROTOCOL: it does not say whether it is (any other answer from 300 to 499, but those for "later");
   ERR_UPSTREAM_DOWN: nobody could be connected to; ERR_UPSTREAM_TLS: its certificate is not the host's; ERR_LIMIT: it
   is larger than `answer_max`; ERR_TIMEOUT; ERR_REFUSED: the host has none but private addresses, or is no directory of
   ours; ERR_LOOKUP: anything else. The fetch is over by then. */
typedef void (*keyring_fetch_fn)(void *context, enum err err, struct span answer);

/* For ldap:// the value of one attribute of one entry (RFC 4516), of the directory with that host, or of the first if
   the URL names none; for http:// or https:// GET, or POST of `body` with the type `body_type` if that is not NULL.
   `options` must outlive the fetch. ERR_MALFORMED: `url` is none that is fetched. */
ERR_RETURN enum err keyring_fetch_begin(const struct keyring_fetch_options *options, const char *url,
                                        const char *body_type, struct span body, keyring_fetch_fn fn, void *context,
                                        struct keyring_fetch **fetch_out);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void keyring_fetch_cancel(struct keyring_fetch **fetch);

/* True for addresses that the Internet routes to one host: not private, loopback, link-local, multicast and the like
   (RFC 6890), nor those with such an IPv4 address inside. */
bool keyring_fetch_is_public(const struct address *address);

#endif
