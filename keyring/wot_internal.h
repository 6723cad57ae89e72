/*
 * What the files that make up keyring/wot.h share. Nobody else includes this.
 */
#ifndef KEYRING_WOT_INTERNAL_H
#define KEYRING_WOT_INTERNAL_H

#include "keyring/wot.h"

/* What trust signatures say of a key, while it is judged. */
struct wot_scope {
    unsigned depth, amount;
    const char *domain;
};

struct keyring_wot {
    struct keyring_wot_options options;
    struct keyring_wot_key *keys;
    struct keyring_wot_user_id *user_ids;
    struct keyring_wot_certification *certifications;
    size_t keys_len, user_ids_len, certifications_len;
    size_t keys_capacity, user_ids_capacity, certifications_capacity;
    size_t left_out;
    int64_t now; /* the time judged for */
};

/* The key ID: the last 16 digits of a fingerprint of version 4; 0 for what is none. */
uint64_t wot_key_id(const char *fingerprint);

#endif
