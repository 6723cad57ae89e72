/*
 * Records of correspondents in an open store: each change is read, made and written in one call, so that nobody's
 * change takes another's place. In the vault, and in commands while no vault runs.
 *
 * A record that is damaged gives ERR_DAMAGED to whoever wants to read or change it (said in the log) and stays as it is
 * until a person removes it. `*changed_out`: words of the account are not what they were.
 */
#ifndef PROXY_PEERS_H
#define PROXY_PEERS_H

#include "keyring/peer.h"
#include "store/peer.h"

/* ERR_NOT_FOUND. The caller finishes `peer_out` after ERR_OK. */
ERR_RETURN enum err proxy_peers_get(struct store *store, const char *account, const char *address,
                                    struct keyring_peer *peer_out);
/* As keyring_peer_hear_all, all of the first one's address. */
ERR_RETURN enum err proxy_peers_hear(struct store *store, const char *account, struct span words, bool *changed_out);
/* Saved forms of what a message tells (keyring_heard_add). One of which nothing can be kept does not stop the others;
   the first error is given. */
ERR_RETURN enum err proxy_peers_received(struct store *store, const char *account, struct span heard,
                                         bool *changed_out);
/* As keyring_peer_sent. */
ERR_RETURN enum err proxy_peers_sent(struct store *store, const char *account, const char *address,
                                     enum keyring_format format, const char *fingerprint, int64_t at);
/* Whose keys are to be refreshed first (keyring_peer_refresh_due), and how many addresses have keys in use. `due` 0:
   nobody's. Records that are damaged are passed over. */
struct proxy_peer_due {
    uint32_t used;
    int64_t due;
    char address[MIME_ADDR_SIZE];
    char fingerprint[KEYRING_FPR_SIZE]; /* of the OpenPGP key that is in use; "": none */
    char certificate[KEYRING_FPR_SIZE]; /* the same of S/MIME */
};
ERR_RETURN enum err proxy_peers_due(struct store *store, const char *account, int64_t now, uint32_t period_s,
                                    struct proxy_peer_due *due_out);
/* As keyring_peer_refreshed. ERR_NOT_FOUND. */
ERR_RETURN enum err proxy_peers_refreshed(struct store *store, const char *account, const char *address, int64_t at);
/* ERR_NOT_FOUND: a person has said nothing of this format there. */
ERR_RETURN enum err proxy_peers_unpin(struct store *store, const char *account, const char *address,
                                      enum keyring_format format);
/* Adds all words that count at `now` (saved forms), and the one that says so if a record is damaged
   (keyring_word_unread). */
ERR_RETURN enum err proxy_peers_words(struct store *store, const char *account, int64_t now, struct buf *out);

#endif
