/*
 * Opening an incoming message: from the message as the server holds it to the view (design 1.1 and 1.2).
 *
 * Runs in a keeper and in `privyseal open`. The view is written only after every check has passed; inner bytes are
 * copied, never printed again. What cannot be opened is shown as it came, with a verdict.
 */
#ifndef CRYPTO_OPEN_H
#define CRYPTO_OPEN_H

#include "crypto/decision.h"
#include "crypto/heard.h"
#include "crypto/learnt.h"
#include "crypto/openpgp.h"
#include "crypto/smime_account.h"
#include "mime/part.h"

struct crypto_open_options {
    const struct keyring *keyring;    /* for the trust in signers; current */
    const struct crypto_smime *smime; /* NULL, or without anchors: signatures by S/MIME are not checked */
    enum keyring_trust least;         /* least trust for `good`: KEYRING_FOUND */
    /* Where `keyring` is incomplete: whether the author's own record can be read, or there is none. NULL: it cannot.
       Then a key that was ruled out cannot be told from others, and no signature is good. */
    bool (*can_read_record)(const char *author, void *context);
    void *record_context;
    uint64_t output_max;     /* bytes of the view and of each layer */
    unsigned layers_max;     /* nested layers: 8 */
    const char *authserv_id; /* name for Authentication-Results; NULL: that field is not written */
    bool asks_person;        /* may bring up a pinentry for a locked key; else that is ERR_KEY_LOCKED at once */
    /* Of an earlier opening of the same message: its view is made again, with the same bytes, whatever has become of
       keys, trust and this configuration; no signature is checked, and private keys are only used for layers whose
       session key is missing. NULL: the first time. */
    const struct crypto_decision *decided;
    const struct crypto_session_keys *session_keys; /* with `decided`; NULL: none are known */
    /* It was opened once, and what came out is too large for whoever wants it: shown as it came, encryption=failed. */
    bool is_too_large;
    /* With `heard` (the first time): what the message tells by Autocrypt is added there. */
    const struct crypto_hearer *hearer;
    struct buf *heard;
    /* The first time: OpenPGP keys attached to a message whose signature is good are added there (crypto/attached.h, of
       CRYPTO_ATTACHED_MAX), for verdict.signer. NULL: nobody wants them. */
    struct buf *attached;
};

struct crypto_opened {
    struct crypto_verdict verdict;
    bool is_changed;                         /* the view differs from the message (beyond the verdict fields) */
    bool is_plain;                           /* there is no protection, and the view is the message byte for byte */
    char reason[128];                        /* for a person: why it is failed or not good; "" otherwise */
    struct crypto_decision decision;         /* complete, for crypto_open_options.decided of a later time */
    struct crypto_session_keys session_keys; /* of the layers that were opened; end with crypto_session_keys_fini */
    struct crypto_learnt learnt;             /* certificates to keep, once the view is; end with crypto_learnt_fini */
};

/* Adds the view of `message` to `view_out` (a secret buffer). ERR_KEY_LOCKED: cannot be opened now, nothing written.
   ERR_DECRYPT: what was decided before cannot be followed. Other errors are the machine's; a message that is merely bad
   is ERR_OK with a verdict. */
ERR_RETURN enum err crypto_open(struct keyring_gpg *gpg, const struct crypto_open_options *options, struct span message,
                                struct buf *view_out, struct crypto_opened *opened_out);
/* Adds `header` without privyseal's own verdict fields and without Authentication-Results of `authserv_id`. */
ERR_RETURN enum err crypto_remove_verdicts(struct span header, const char *authserv_id, struct buf *out);

#endif
