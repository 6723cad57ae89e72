/*
 * What is known of one correspondent's address apart from the rings: who said that which key is theirs, what Autocrypt
 * knows, when mail came and went. The store keeps one record for each address of each account (store/peer.h), and this
 * is all that reads or changes one.
 *
 * A record is changed by events (mail came, a source said something, a person pinned a key), each of which is a pure
 * function of the record, the event and its time. From records come words: (address, key, trust, until), which a
 * keeper or command lays over the listed ring (keyring_vouch), so that proxy and command line give the same answer.
 * Nothing weak takes the place of something strong: a word says what its source may give at most. Bounded: what no
 * longer fits makes the oldest of the weakest go. Runs in the vault, keepers and the command line; holds no secret, but
 * tells whom the person writes to.
 */
#ifndef KEYRING_PEER_H
#define KEYRING_PEER_H

#include "base/buf.h"
#include "keyring/index.h"

#define KEYRING_PEER_WORDS_MAX 16
#define KEYRING_PEER_KEY_MAX ((size_t)65536)    /* bytes of an Autocrypt key, in binary */
#define KEYRING_PEER_SAVED_MAX ((size_t)196608) /* bytes of a saved record, two such keys and the rest */
#define KEYRING_WORDS_MAX 1000000
#define KEYRING_WORDS_SIZE_MAX ((size_t)1 << 28) /* bytes of the saved forms of all words of an account */
#define KEYRING_HEARD_SIZE_MAX ((size_t)8 << 20) /* bytes of the saved forms of what one message tells */

/* One source's word that a key is an address's. */
struct keyring_word {
    char address[MIME_ADDR_SIZE]; /* normal form */
    char fingerprint[KEYRING_FPR_SIZE];
    enum keyring_format format;
    enum keyring_source source;
    enum keyring_trust trust; /* what it gives while it counts, at most keyring_source_trust_max; NEVER, of a person: it
                                 is not theirs */
    enum keyring_advice advice;
    char title[64];       /* of the source's section; "" where it has none */
    int64_t since, until; /* until 0: for ever */
};

/* What Autocrypt level 1 keeps of a peer (section 2.2 there); times in seconds, 0: never. */
struct keyring_autocrypt {
    int64_t last_seen, timestamp, gossip_timestamp;
    char fingerprint[KEYRING_FPR_SIZE], gossip_fingerprint[KEYRING_FPR_SIZE];
    struct buf key, gossip_key; /* binary, at most KEYRING_PEER_KEY_MAX */
    bool is_mutual;             /* prefer-encrypt=mutual */
};

struct keyring_peer {
    char address[MIME_ADDR_SIZE];
    int64_t first_seen, last_seen; /* mail from it or to it */
    int64_t refreshed;             /* when the sources were last asked for what has become of its keys; 0: never */
    uint64_t received, sent;       /* messages; received with a From of it, whoever wrote them */
    struct keyring_word words[KEYRING_PEER_WORDS_MAX];
    size_t words_len;
    /* The key last encrypted to, of each format (OpenPGP, S/MIME); "": never. */
    char chosen[2][KEYRING_FPR_SIZE];
    struct keyring_autocrypt autocrypt;
};

void keyring_peer_init(struct keyring_peer *peer, const char *address);
void keyring_peer_fini(struct keyring_peer *peer);
/* Adds the saved form; loading gives ERR_STORE for what is none. The caller finishes `peer_out` after ERR_OK. */
ERR_RETURN enum err keyring_peer_save(const struct keyring_peer *peer, struct buf *out);
ERR_RETURN enum err keyring_peer_load(struct span saved, struct keyring_peer *peer_out);

/* ---- events ---- */
/* A source said that the key is theirs: in place of its earlier word for that key. A person's pin replaces that of any
   other key of the format, too (what the person said is not theirs stays so). ERR_REFUSED: it gives more than its
   source may, or comes of a state that only received mail changes (Autocrypt), or is of another address. */
ERR_RETURN enum err keyring_peer_hear(struct keyring_peer *peer, const struct keyring_word *word);
/* Hears words (saved forms) one after the other. One without a fingerprint says that its source has told all that it
   has: keyring_peer_all with the words beside it. `*changed_out`: some word is not what it was. With any error some
   of them may have been heard. ERR_PEER_PROTOCOL. */
ERR_RETURN enum err keyring_peer_hear_all(struct keyring_peer *peer, struct span words, bool *changed_out);
/* A source has said all that it has: its words (of `source` and `title`) for keys that are not among
   `fingerprints` go. */
void keyring_peer_all(struct keyring_peer *peer, enum keyring_source source, const char *title,
                      const char *const *fingerprints, size_t fingerprints_len);
/* `key pin --remove`: the person's words of this format go; false if there was none. */
bool keyring_peer_unpin(struct keyring_peer *peer, enum keyring_format format);
/* Whether a person has said something of this address, which must not be forgotten for want of room. */
bool keyring_peer_is_pinned(const struct keyring_peer *peer);
/* A message was sent to the address, encrypted to `fingerprint` ("": not encrypted, or not by us). */
void keyring_peer_sent(struct keyring_peer *peer, enum keyring_format format, const char *fingerprint, int64_t at);

/* The sources were asked what has become of its keys, or are to be taken to have been asked then. */
void keyring_peer_refreshed(struct keyring_peer *peer, int64_t at);
/* When they are to be asked again, once in about `period_s`: each address at a time of its own, which is the same after
   a restart. False: no key of it is in use, which one is that was encrypted to and had mail in the last 90 days. */
bool keyring_peer_refresh_due(const struct keyring_peer *peer, int64_t now, uint32_t period_s, int64_t *due_out);

/* What a received message tells of an address, already parsed: its From (Autocrypt 2.3), or one of those it gossips
   of. */
struct keyring_heard {
    char address[MIME_ADDR_SIZE];
    int64_t at; /* the effective date: the earlier of Date and when it was received */
    bool is_gossip;
    bool has_key; /* false: mail from it without one valid Autocrypt field */
    bool is_mutual;
    bool is_attached; /* alone with `fingerprint`: a key that came with mail of it that verified, and is in the ring */
    char fingerprint[KEYRING_FPR_SIZE];
    struct span key; /* borrowed; binary */
};
/* Autocrypt's transitions (sections 2.3 and 2.4 there, gossip 5), and the counts of mail; of an attached key the word
   of signed mail. `*changed_out`: something that a word comes of has changed. */
ERR_RETURN enum err keyring_peer_received(struct keyring_peer *peer, const struct keyring_heard *heard,
                                          bool *changed_out);
/* Saved forms of what was heard, one after the other, as they travel to the vault; ERR_END, ERR_PEER_PROTOCOL as
   keyring_found_take. The key is borrowed from there. */
ERR_RETURN enum err keyring_heard_add(struct buf *out, const struct keyring_heard *heard);
ERR_RETURN enum err keyring_heard_take(struct span *rest, struct keyring_heard *heard_out);

/* ---- words ---- */
/* Whether it counts at `now`. What is `found` by a source stands until the source takes it back; how far after its time
   is for keyring_judge to say (keyring_is_stale). */
bool keyring_word_counts(const struct keyring_word *word, int64_t now);
/* Those that count at `now`, Autocrypt's own (with its advice) among them, after one another into `words_out`, which
   has room for KEYRING_PEER_WORDS_MAX + 2. */
size_t keyring_peer_words(const struct keyring_peer *peer, int64_t now, struct keyring_word *words_out);
/* Saved forms of words, one after the other, as they travel from the vault; ERR_END, ERR_PEER_PROTOCOL as
   keyring_found_take. */
ERR_RETURN enum err keyring_word_add(struct buf *out, const struct keyring_word *word);
/* The word that stands for what cannot be read: what a person has said of some address is missing among the words of
   `account` (which is not that address). */
struct keyring_word keyring_word_unread(const char *account);
ERR_RETURN enum err keyring_word_take(struct span *rest, struct keyring_word *word_out);
/* Lays words (saved forms, those of one address one after the other) over `listed`: a new index in which the entry
   (address, key) has the strongest trust of those that count at `now`, with its source and until when; a person's NEVER
   beats all but OWN, and the ring's own NEVER all but a person's pin. For a key that is listed without that address one
   is added by the word of Autocrypt, which does not look at user IDs, or of a person; no source that is asked may give
   a key an address that it does not carry. A word for a key that is not listed does nothing. What is gossiped counts
   less than the correspondent's own Autocrypt key, unless that can no longer be used. With the word that stands for
   what cannot be read the new index is incomplete. ERR_PEER_PROTOCOL. */
ERR_RETURN enum err keyring_vouch(const struct keyring *listed, struct span words, int64_t now,
                                  struct keyring **vouched_out);

#endif
