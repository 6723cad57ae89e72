/*
 * What directories said, looked at and kept: certificates in the account's folder, OpenPGP keys in its ring.
 *
 * Whatever is kept carries the address that was asked for or may issue others, is valid now, and is never put in the
 * place of something that a person or verified mail put there. What a directory no longer has for the address goes, if
 * it is there by that directory's word and the directory has told all. How far it is trusted is for the folder's
 * listing and for the record of the correspondent to say: a certificate by its chain or by the directory's word, while
 * that counts; an OpenPGP key by the word that is given here for the record (keyring/peer.h). Only sources that are
 * asked over the network are heard here, whatever the findings call themselves, and of OpenPGP keys what mail told; of
 * findings that come from another process those that were asked, within what the configuration gives them. In keepers
 * and on the command line; synchronous.
 */
#ifndef KEYRING_LEARN_H
#define KEYRING_LEARN_H

#include "keyring/certificates.h"
#include "keyring/found.h"
#include "keyring/gpg.h"
#include "keyring/peer.h"

#define KEYRING_LEARN_WORDS_MAX ((size_t)65536) /* bytes of the words of one learning */

/* A source that may be heard, and how far its word goes, whatever a finding says of itself. */
#define KEYRING_TELLERS_MAX 80
struct keyring_teller {
    enum keyring_source source;
    char title[64];   /* of its section; "" where it has none */
    bool is_believed; /* its word may count as `found` */
    uint32_t seconds; /* and for at most so long from now */
};

struct keyring_learner {
    const char *address; /* normal form */
    struct keyring_certificates *certificates;
    const struct keyring_anchors *anchors; /* NULL: no chain leads anywhere */
    struct keyring_gpg *gpg;               /* NULL: OpenPGP keys are left out */
    int64_t now;
    /* Of findings that come from elsewhere, as from the finder: only those of these sources are taken. NULL: the
       findings are one's own, and say what they are. */
    const struct keyring_teller *tellers;
    size_t tellers_len;
    bool is_mail; /* OpenPGP keys by the word of mail are heard, too: who learns has seen that mail verify */
    /* NULL: nobody wants to know. Gets what the sources say of OpenPGP keys that are kept (saved forms of words), and
       which of them have told all (keyring_peer_hear_all). */
    struct buf *words;
};

enum keyring_learnt {
    KEYRING_LEARNT_GARBAGE,  /* neither certificate nor key, or one that nothing can be encrypted to */
    KEYRING_LEARNT_STRANGER, /* it does not carry the address; an issuer: nothing shows that an anchor is above it */
    KEYRING_LEARNT_EXPIRED,  /* or not valid yet */
    KEYRING_LEARNT_ISSUER,   /* not the address's, but somebody's between such and an anchor: to be kept, for chains */
    KEYRING_LEARNT_KNOWN,    /* it is here already, by a word that is as good */
    KEYRING_LEARNT_NEW,      /* to be kept: new, or anew */
};
const char *keyring_learnt_text(enum keyring_learnt learnt);

/* What would be made of one, without keeping it. `certificate_out` (may be NULL) gets the certificate if it is one, and
   belongs to the caller. */
ERR_RETURN enum err keyring_learn_judge(const struct keyring_learner *learner, const struct keyring_found *found,
                                        enum keyring_learnt *learnt_out, X509 **certificate_out);
/* Judges all pieces of a saved form (keyring/found.h), keeps those that are to be kept, logs the others, and removes
   what is gone. `*kept_out`: how many of the address's are kept. ERR_PEER_PROTOCOL: it is no saved form. What is wrong
   with pieces themselves (keyring_learn_is_junk) is an error only if no other is kept; any other error says that a
   piece may be good and could not be kept. */
ERR_RETURN enum err keyring_learn(const struct keyring_learner *learner, struct span saved, size_t *kept_out);
/* True if the error says that what was found is no good, whenever it is looked at. */
bool keyring_learn_is_junk(enum err err);

/* Of an address's entries in an index: which keys need not be learnt from its record. */
#define KEYRING_LEARN_LISTED_MAX 16u
struct keyring_learn_listed {
    char fingerprints[KEYRING_LEARN_LISTED_MAX][KEYRING_FPR_SIZE];
    size_t len;
};
void keyring_learn_list(const struct keyring *keyring, const char *address, struct keyring_learn_listed *listed_out);
/* Adds the keys that mail has told by Autocrypt, out of the record, to `found_out` (keyring/found.h), but for those
   that are listed. */
ERR_RETURN enum err keyring_learn_heard(const struct keyring_peer *peer, const struct keyring_learn_listed *listed,
                                        struct buf *found_out);

#endif
