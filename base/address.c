#include "base/address.h"

#include "base/log.h"
#include "base/span.h"

#include <arpa/inet.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct address_query {
    struct evdns_getaddrinfo_request *request;
    address_fn fn; /* NULL once cancelled */
    void *context;
    bool is_starting;
    bool is_answered;
};

void address_format(const struct address *address, char text_out[ADDRESS_TEXT_SIZE])
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    int family = address->storage.ss_family;
    snprintf(text_out, ADDRESS_TEXT_SIZE, "unknown");
    if (family != AF_INET && family != AF_INET6)
        return;
    if (getnameinfo((const struct sockaddr *)&address->storage, address->len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(text_out, ADDRESS_TEXT_SIZE, family == AF_INET6 ? "[%.60s]:%.5s" : "%.60s:%.5s", host, port);
}

bool address_is_loopback(const struct address *address)
{
    if (address->storage.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address->storage;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->storage.ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)&address->storage)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
    }
    return false;
}

enum err address_host(const char *host, char host_out[ADDRESS_HOST_SIZE])
{
    struct span name = span_of(host);
    if (name.len > 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = span_slice(name, 1, name.len - 1);
    return name.len > 0 && span_copy(name, host_out, ADDRESS_HOST_SIZE) ? ERR_OK : ERR_CONFIG;
}

static void add_all(struct address_list *list, const struct addrinfo *info)
{
    for (; info != NULL && list->count < ADDRESS_LIST_MAX; info = info->ai_next) {
        if (info->ai_addrlen > sizeof list->items[0].storage)
            continue;
        struct address *address = &list->items[list->count++];
        memcpy(&address->storage, info->ai_addr, info->ai_addrlen);
        address->len = info->ai_addrlen;
    }
}

static void add_literal(struct address_list *list, const char *literal, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(literal, port, &hints, &found) != 0)
        return;
    add_all(list, found);
    freeaddrinfo(found);
}

enum err address_literal(const char *host, int port, struct address_list *list_out)
{
    char port_text[12];
    snprintf(port_text, sizeof port_text, "%d", port);
    list_out->count = 0;
    if (span_is_case_equal(span_of(host), SPAN_LIT("localhost"))) {
        add_literal(list_out, "127.0.0.1", port_text);
        add_literal(list_out, "::1", port_text);
    } else {
        add_literal(list_out, host, port_text);
    }
    return list_out->count > 0 ? ERR_OK : ERR_NOT_FOUND;
}

static void on_answer(int result, struct evutil_addrinfo *found, void *context)
{
    struct address_query *query = context;
    struct address_list list = {.count = 0};
    if (query->fn != NULL) {
        const bool is_missing = result == EVUTIL_EAI_NONAME || result == EVUTIL_EAI_NODATA;
        if (result != 0)
            log_info("looking up a host name: %s", evutil_gai_strerror(result));
        else
            add_all(&list, found);
        query->fn(list.count > 0 ? ERR_OK : is_missing ? ERR_NOT_FOUND : ERR_UPSTREAM_DOWN, &list, query->context);
    }
    if (found != NULL)
        evutil_freeaddrinfo(found);
    query->is_answered = true;
    if (!query->is_starting)
        free(query);
}

enum err address_query_begin(struct evdns_base *dns, const char *host, int port, address_fn fn, void *context,
                             struct address_query **query_out)
{
    *query_out = NULL;
    struct address_query *query = calloc(1, sizeof *query);
    if (query == NULL)
        return ERR_MEMORY;
    *query = (struct address_query){.fn = fn, .context = context, .is_starting = true};
    char port_text[12];
    snprintf(port_text, sizeof port_text, "%d", port);
    const struct evutil_addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    query->request = evdns_getaddrinfo(dns, host, port_text, &hints, on_answer, query);
    query->is_starting = false;
    if (query->is_answered)
        free(query);
    else
        *query_out = query;
    return ERR_OK;
}

void address_query_cancel(struct address_query **query)
{
    if (*query == NULL)
        return;
    /* libevent still calls on_answer, which then frees. */
    (*query)->fn = NULL;
    evdns_getaddrinfo_cancel((*query)->request);
    *query = NULL;
}
