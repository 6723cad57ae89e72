/*
 * Keys of correspondents out of the DNS: OPENPGPKEY (RFC 7929) and SMIMEA (RFC 8162), asked through libunbound, which
 * validates them (DNSSEC, RFC 4035) on our own event loop, without a thread or process of its own.
 *
 * Only what is signed from a trust anchor down to the record is an answer. A zone that is not signed says nothing, and
 * is told apart from one whose signatures are wrong: that one cannot be asked. What comes is bounded in records and
 * bytes, and handed up as bytes that have the form of a certificate or of an OpenPGP key; whether they are the
 * address's is for others to say. The names that are asked for hold a digest of the local part, from which whoever
 * carries the question can find out a name that is easily guessed. Runs in the finder and on the command line.
 */
#ifndef KEYRING_DANE_H
#define KEYRING_DANE_H

#include "base/buf.h"
#include "keyring/found.h"

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

enum keyring_dane_type { KEYRING_DANE_SMIMEA = 53, KEYRING_DANE_OPENPGPKEY = 61 }; /* as in the DNS */

/* ---- records of one's own ---- */

#define KEYRING_DANE_NAME_SIZE 254                    /* with NUL, without a dot at the end (RFC 1035 §2.3.4) */
#define KEYRING_DANE_RDATA_MAX ((size_t)65535)        /* bytes; in practice an answer must fit into as many */
#define KEYRING_DANE_PRINTED_MAX ((size_t)256 * 1024) /* bytes of a printed record */

/* Where the records of `address` (normal form) are: RFC 7929 §3, RFC 8162 §3. The local part keeps its case, since only
   its own server may say what else is the same (RFC 7929 §4). ERR_ADDRESS_SYNTAX: its domain is no name of the DNS, or
   the whole is too long. */
ERR_RETURN enum err keyring_dane_name(const char *address, enum keyring_dane_type type,
                                      char name_out[KEYRING_DANE_NAME_SIZE]);
/* Adds the record as a line of a zone file: `bytes` is a transferable public key in binary, or a certificate in DER,
   which is published to be used as it is (usage 3, whole, RFC 6698 §2.1). With `is_generic` in the form that programs
   understand which do not know the type (RFC 3597 §5). ERR_LIMIT: it is longer than a record can be. */
ERR_RETURN enum err keyring_dane_print(const char *address, enum keyring_dane_type type, struct span bytes,
                                       bool is_generic, struct buf *out);

/* ---- questions ---- */

#define KEYRING_DANE_SERVERS_MAX 8
#define KEYRING_DANE_SERVER_SIZE 64
#define KEYRING_DANE_QUERIES_MAX 1000 /* addresses that are asked for at once */

struct keyring_dane_options {
    char anchor[512]; /* a file of DS or DNSKEY records, as zone files have them (RFC 1035 §5) */
    /* Resolvers to ask, as "192.0.2.1" or "127.0.0.1@5353"; none: those of /etc/resolv.conf. */
    char servers[KEYRING_DANE_SERVERS_MAX][KEYRING_DANE_SERVER_SIZE];
    size_t servers_len;
    bool is_recursive;   /* no resolver: the zones' own servers, from the root down */
    uint32_t timeout_ms; /* of a question as a whole */
};

struct keyring_dane;
struct keyring_dane_query;

/* Reads the anchor and, unless there are `servers`, /etc/resolv.conf: before a sandbox closes. `options` are borrowed
   for life. What is wrong with them is logged; every question then fails. ERR_MEMORY. */
ERR_RETURN enum err keyring_dane_new(struct event_base *base, const struct keyring_dane_options *options,
                                     struct keyring_dane **dane_out);
/* Questions that are open are forgotten; their functions do not fire. Before the event base goes, and not from within
   such a function. */
void keyring_dane_free(struct keyring_dane **dane);

/* Asks for the records of both types of `address` (normal form). With ERR_OK `fn` fires later, within the timeout
   (keyring/found.h): ERR_OK with nothing also where the zone is not signed, and `problem` says so; ERR_LOOKUP: its
   signatures are wrong; ERR_UPSTREAM_DOWN: the servers of its domain cannot be asked. ERR_BUSY. */
ERR_RETURN enum err keyring_dane_find(struct keyring_dane *dane, const char *address, keyring_answer_fn fn,
                                      void *context, struct keyring_dane_query **query_out);
/* Asks whether `domain` ("." is the root) is signed, up to the anchor: ERR_LOOKUP if it is not, or wrongly. */
ERR_RETURN enum err keyring_dane_try(struct keyring_dane *dane, const char *domain, keyring_answer_fn fn, void *context,
                                     struct keyring_dane_query **query_out);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void keyring_dane_cancel(struct keyring_dane_query **query);

#endif
