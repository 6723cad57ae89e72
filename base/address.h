/*
 * Socket addresses: from a host name to a short list of them, and from one to words for the log.
 *
 * Used by base/conn.c in the net process; nothing here blocks. "localhost" is always the loopback addresses and is
 * never asked of a name server (RFC 6761 §6.3).
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include "base/err.h"

#include <event2/dns.h>
#include <stddef.h>
#include <sys/socket.h>

#define ADDRESS_TEXT_SIZE 72  /* "[" IPv6 "%" interface "]:65535" and a NUL */
#define ADDRESS_LIST_MAX 16   /* further addresses of one name are not tried */
#define ADDRESS_HOST_SIZE 256 /* RFC 1035 §2.3.4: 255 octets */

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

struct address_list {
    struct address items[ADDRESS_LIST_MAX];
    size_t count;
};

/* "127.0.0.1:4711", "[::1]:4711", or "unknown" for another family. */
void address_format(const struct address *address, char text_out[ADDRESS_TEXT_SIZE]);
/* True for 127/8 and ::1, also as an IPv4-mapped IPv6 address. */
bool address_is_loopback(const struct address *address);

/* Copies `host` without brackets; ERR_CONFIG if it is empty or too long. */
ERR_RETURN enum err address_host(const char *host, char host_out[ADDRESS_HOST_SIZE]);
/* The addresses of a literal or of "localhost"; ERR_NOT_FOUND for a name that needs a look-up. */
ERR_RETURN enum err address_literal(const char *host, int port, struct address_list *list_out);

struct address_query;
/* Fires once, unless the query was cancelled: ERR_OK with at least one address; ERR_NOT_FOUND: the name does not exist,
   or has none; or ERR_UPSTREAM_DOWN. It may fire before address_query returns. `list` is valid during the call. */
typedef void (*address_fn)(enum err err, const struct address_list *list, void *context);

/* Asks `dns` for all addresses of a name. `*query_out` is NULL if the answer came at once. */
ERR_RETURN enum err address_query_begin(struct evdns_base *dns, const char *host, int port, address_fn fn,
                                        void *context, struct address_query **query_out);
/* Forgets a query that has not been answered; clears the caller's pointer. */
void address_query_cancel(struct address_query **query);

#endif
