/* Saved indexes: what loads is in order, can be looked up, and is saved to the same bytes a second time. */
#include "keyring/index.h"

#include <stdlib.h>
#include <string.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_entries(const struct keyring *keyring)
{
    const struct keyring_want want = {KEYRING_ENCRYPT, KEYRING_OPENPGP | KEYRING_SMIME, KEYRING_SEEN, 1000};
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);
        enum keyring_reason reason;
        size_t first;
        size_t count = keyring_find(keyring, entry->address, &first);
        check(first <= i && i < first + count);
        const struct keyring_entry *best = keyring_choose(keyring, entry->address, &want, &reason);
        check(best == NULL || (keyring_judge(best, &want) == KEYRING_TAKEN && best->trust >= KEYRING_SEEN));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyring *keyring, *again;
    struct buf saved, twice;
    if (keyring_load((struct span){(const char *)data, size}, &keyring) != ERR_OK)
        return 0;
    check_entries(keyring);
    buf_init(&saved, size);
    buf_init(&twice, size);
    check(keyring_save(keyring, &saved) == ERR_OK && saved.len == size);
    check(keyring_load(buf_span(&saved), &again) == ERR_OK);
    check(keyring_save(again, &twice) == ERR_OK && span_is_equal(buf_span(&saved), buf_span(&twice)));
    keyring_free(&keyring);
    keyring_free(&again);
    buf_fini(&saved);
    buf_fini(&twice);
    return 0;
}
