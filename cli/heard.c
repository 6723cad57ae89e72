/*
 * What mail has told by Autocrypt, imported when it is first wanted, as the proxy does it (proxy/lookup.c).
 */
#include "cli/heard.h"

#include "base/clock.h"
#include "crypto/smime.h"
#include "keyring/learn.h"

enum err cli_learn_heard(struct cli *cli, const struct keyring_peer *peer)
{
    struct keyring_learn_listed listed;
    struct crypto_smime smime;
    struct buf found;
    size_t kept = 0;
    keyring_learn_list(cli->keyring, peer->address, &listed);
    buf_init(&found, KEYRING_FOUND_SIZE_MAX);
    enum err err = keyring_learn_heard(peer, &listed, &found);
    if (!err && found.len > 0)
        err = cli_open_smime(cli, &smime);
    if (!err && found.len > 0) {
        const struct keyring_learner learner = {.address = peer->address,
                                                .certificates = cli->certificates,
                                                .anchors = cli->anchors,
                                                .gpg = cli->gpg,
                                                .now = clock_now()};
        err = keyring_learn(&learner, buf_span(&found), &kept);
    }
    buf_fini(&found);
    return err || kept == 0 ? err : cli_list_ring(cli);
}
