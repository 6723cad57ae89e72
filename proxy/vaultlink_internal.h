/*
 * Inside vaultlink: requests whose answers are read by functions of a known type (vaultlink_delivery.c, vault_views.c).
 */
#ifndef PROXY_VAULTLINK_INTERNAL_H
#define PROXY_VAULTLINK_INTERNAL_H

#include "proxy/vault_views.h"

/* Whom an answer is for, and what it must be like. Kept in the request, so that cancelling has nothing to free. */
struct proxy_vault_typed {
    union {
        proxy_vault_fn recipients;
        proxy_vault_found_fn found;
        proxy_vault_views_fn views;
        proxy_vault_done_fn done;
        proxy_vault_generation_fn generation;
        proxy_vault_search_fn search;
        proxy_vault_places_fn places;
        proxy_vault_peer_fn peer;
        proxy_vault_due_fn due;
    } fn;
    void *context;
    const char *account; /* whose keys it takes; NULL: none's. Lives as long as the request */
    size_t len;          /* of what was asked for */
    size_t bytes_len;    /* of the file that answers */
};

/* proxy_vault_ask, but `fn` gets the request's copy of `typed` as its context. */
ERR_RETURN enum err proxy_vault_ask_typed(struct proxy_vaultlink *link, struct ipc_out *request,
                                          proxy_vault_answer_fn fn, const struct proxy_vault_typed *typed,
                                          struct proxy_vault_request **request_out);

#endif
