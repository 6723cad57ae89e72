/*
 * wot_dump HOME [NOW]: prints what keyring/wot.h says of a GnuPG home, for tests/interop/test_wot.py. For each user ID:
 *   uid FINGERPRINT VALIDITY TEXT
 * then for each certification of its path, in order:
 *   edge SIGNER KEY LEVEL MADE TEXT
 * and at last "left-out N" and "strangers N".
 */
#include "base/log.h"
#include "keyring/gpg.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void dump_path(const struct keyring_wot *wot, size_t user_id)
{
    struct keyring_wot_path path;
    if (keyring_wot_path(wot, user_id, &path) != ERR_OK)
        exit(3);
    for (size_t i = 0; i < path.len; i++) {
        const struct keyring_wot_certification *it = keyring_wot_certification(wot, path.certifications[i]);
        const struct keyring_wot_user_id *on = keyring_wot_user_id(wot, it->user_id);
        printf("edge %s %s %u %lld %s\n", keyring_wot_key(wot, it->signer)->fingerprint,
               keyring_wot_key(wot, on->key)->fingerprint, it->level, (long long)it->made, on->text);
    }
}

int main(int argc, char **argv)
{
    char wrapper[4096];
    struct keyring_gpg *gpg;
    struct keyring *keyring;
    struct keyring_wot *wot;
    size_t strangers = 0;
    log_init("wot_dump", LOG_LEVEL_WARNING);
    if (argc < 2 || keyring_gpg_wrapper(wrapper, sizeof wrapper) != ERR_OK ||
        keyring_gpg_open(argv[1], wrapper, &gpg) != ERR_OK || keyring_new(&keyring) != ERR_OK ||
        keyring_gpg_list(gpg, keyring) != ERR_OK || keyring_gpg_wot(gpg, keyring, &wot) != ERR_OK ||
        keyring_wot_judge(wot, argc > 2 ? strtoll(argv[2], NULL, 10) : (int64_t)time(NULL)) != ERR_OK)
        return 3;
    for (size_t i = 0; i < keyring_wot_keys_len(wot); i++) {
        const struct keyring_wot_key *key = keyring_wot_key(wot, i);
        strangers += key->strangers;
        for (size_t j = key->user_ids_first; j < key->user_ids_first + key->user_ids_len; j++) {
            const struct keyring_wot_user_id *user_id = keyring_wot_user_id(wot, j);
            const bool is_revoked = user_id->is_revoked || key->is_revoked;
            printf("uid %s %s %s\n", key->fingerprint,
                   is_revoked                    ? "revoked"
                   : keyring_wot_is_dead(wot, j) ? "expired"
                                                 : keyring_wot_trust_name(user_id->validity),
                   user_id->text);
            dump_path(wot, j);
        }
    }
    printf("left-out %zu\nstrangers %zu\n", keyring_wot_left_out(wot), strangers);
    keyring_wot_free(&wot);
    keyring_free(&keyring);
    keyring_gpg_close(&gpg);
    return 0;
}
