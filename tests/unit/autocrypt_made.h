/*
 * A version 4 key of Ed25519 with a user ID, made by hand: enough of a transferable public key for what reads one
 * without checking a signature.
 */
#ifndef TESTS_UNIT_AUTOCRYPT_MADE_H
#define TESTS_UNIT_AUTOCRYPT_MADE_H

#include "base/span.h"

#include <stdio.h>
#include <string.h>

struct autocrypt_made {
    char bytes[256];
    size_t len;
};

/* Keys of another `letter` have another fingerprint. */
__attribute__((unused)) static struct span autocrypt_make(struct autocrypt_made *made, char letter, const char *user_id)
{
    static const char head[] = "\x98\x33\x04\x6b\x00\xc4\x00\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01\x01\x07\x40";
    memcpy(made->bytes, head, sizeof head - 1);
    made->len = sizeof head - 1;
    memset(made->bytes + made->len, letter, 32);
    made->len += 32;
    made->bytes[made->len++] = (char)0xb4;
    made->bytes[made->len++] = (char)strlen(user_id);
    memcpy(made->bytes + made->len, user_id, strlen(user_id));
    made->len += strlen(user_id);
    return (struct span){made->bytes, made->len};
}

#endif
