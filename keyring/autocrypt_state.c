#include "keyring/peer.h"

/* So far the counts alone: Autocrypt's transitions are to come. */
enum err keyring_peer_received(struct keyring_peer *peer, const struct keyring_heard *heard, bool *changed_out)
{
    *changed_out = false;
    if (heard->is_gossip)
        return ERR_OK;
    peer->received++;
    if (peer->first_seen == 0 || heard->at < peer->first_seen)
        peer->first_seen = heard->at;
    if (heard->at > peer->last_seen)
        peer->last_seen = heard->at;
    return ERR_OK;
}
