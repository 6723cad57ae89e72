/* gpg's listing of checked signatures: any bytes end in an answer, and what is read can be judged and explained. */
#include "keyring/wot_listing.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct span text = {(const char *)data, size};
    struct keyring_wot_owner *owners = NULL;
    struct keyring_wot_path path;
    struct keyring_wot *wot;
    size_t owners_len = 0;
    if (keyring_wot_new(NULL, &wot) != ERR_OK || keyring_wot_read_owners(text, &owners, &owners_len) != ERR_OK)
        abort();
    const enum err err = keyring_wot_read_listing(text, owners, owners_len, wot);
    if ((err != ERR_OK && err != ERR_MALFORMED) || keyring_wot_judge(wot, 1000) != ERR_OK)
        abort();
    for (size_t i = 0; i < keyring_wot_keys_len(wot); i++) {
        const struct keyring_wot_key *key = keyring_wot_key(wot, i);
        for (size_t j = 0; j < key->user_ids_len; j++)
            if (keyring_wot_path(wot, key->user_ids_first + j, &path) != ERR_OK || path.len > KEYRING_WOT_PATH_MAX)
                abort();
    }
    free(owners);
    keyring_wot_free(&wot);
    return 0;
}
