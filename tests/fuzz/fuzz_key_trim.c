/* Answers of keyservers and Web Key Directories: what is handed up is a key of no more than its bounds, and trimming it
   once more changes nothing. */
#include "keyring/key_trim.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS "bob@example.org"
#define KEY_MAX 65536

static enum err note(struct span key, void *context)
{
    struct buf *first = context;
    if (key.len == 0 || key.len > KEY_MAX)
        abort();
    if (first->len == 0 && buf_add_span(first, key) != ERR_OK)
        abort();
    return ERR_OK;
}

static enum err compare(struct span key, void *context)
{
    const struct buf *first = context;
    if (!span_is_equal(key, buf_span(first)))
        abort();
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct key_trim_want want = {.address = ADDRESS, .key_max = KEY_MAX};
    struct buf first;
    buf_init(&first, KEY_MAX);
    enum err err = key_trim((struct span){(const char *)data, size}, &want, note, &first);
    if (err != ERR_OK && err != ERR_MALFORMED)
        abort();
    if (first.len > 0 && key_trim(buf_span(&first), &want, compare, &first) != ERR_OK)
        abort();
    buf_fini(&first);
    return 0;
}
