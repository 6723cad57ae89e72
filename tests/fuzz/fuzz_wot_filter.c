/* An exported ring through the filter: any bytes, in any pieces, end in an answer; what is kept is made of packets. */
#include "keyring/key_packets.h"
#include "keyring/wot_filter.h"

#include <stdlib.h>
#include <string.h>

static enum err check(struct span packets, void *context)
{
    struct key_packets_head head;
    (void)context;
    if (packets.len > KEYRING_WOT_KEY_MAX || key_packets_head(packets, &head) != ERR_OK ||
        head.tag != KEY_PACKETS_PUBLIC_KEY)
        abort();
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span bytes = {(const char *)data, size};
    struct keyring_entry entry = {.format = KEYRING_OPENPGP};
    struct key_packets_head head;
    struct keyring_wot_filter *filter;
    struct keyring *keyring;
    /* The first key is one that is here. */
    if (keyring_new(&keyring) != ERR_OK)
        abort();
    if (key_packets_head(bytes, &head) == ERR_OK && head.body_len <= size - head.head_len &&
        key_packets_fingerprint(span_slice(bytes, head.head_len, head.head_len + head.body_len), entry.fingerprint) ==
            ERR_OK &&
        keyring_add(keyring, &entry) != ERR_OK)
        abort();
    if (keyring_wot_filter_new(keyring, check, NULL, &filter) != ERR_OK)
        abort();
    keyring_wot_filter_want(filter, entry.fingerprint);
    enum err err = ERR_OK;
    for (size_t at = 0; err == ERR_OK && at < size; at += 1 + at % 7)
        err = keyring_wot_filter_feed(filter, span_slice(bytes, at, at + 1 + at % 7));
    if (err == ERR_OK)
        err = keyring_wot_filter_end(filter);
    if (err != ERR_OK && err != ERR_MALFORMED)
        abort();
    keyring_wot_filter_free(&filter);
    keyring_free(&keyring);
    return 0;
}
