/*
 * What was decided about a message when it was opened for the first time, so that its view can be made again with the
 * same bytes at any later time, whatever has become of keys and trust (design 1.2.1).
 *
 * Saved as a small versioned record, which the reader checks. Session keys are apart: they are secrets.
 */
#ifndef CRYPTO_DECISION_H
#define CRYPTO_DECISION_H

#include "crypto/verdict.h"

#define CRYPTO_AUTHSERV_ID_SIZE 272
#define CRYPTO_SESSION_KEYS_MAX 16
#define CRYPTO_SESSION_KEY_SIZE 160 /* "9:" or "smime:", and 64 hexadecimal digits and some */

struct crypto_decision {
    struct crypto_verdict verdict;
    bool is_changed; /* the view differs from the message beyond verdict fields */
    bool is_own;     /* our own sealed copy: unwrapped, without a verdict */
    bool is_unread;  /* beyond the limits: shown as it came; of the verdict `encryption` alone says something, if so */
    bool keeps_outer_from;
    bool keeps_outer_header; /* the header of the payload could have been changed, and none of it is taken */
    bool is_text_alone;      /* could have been changed, and shows what a person reads, all else as attachments */
    bool is_header_signed;   /* the header of the payload is believed */
    uint32_t layers;         /* encrypted layers that were opened */
    char authserv_id[CRYPTO_AUTHSERV_ID_SIZE]; /* under which Authentication-Results was written; "": it was not */
    uint64_t size;                             /* bytes of the view */
    uint8_t digest[32];                        /* SHA-256 of the view */
};

ERR_RETURN enum err crypto_decision_save(const struct crypto_decision *decision, struct buf *out);
/* ERR_PEER_PROTOCOL for anything but what save made. */
ERR_RETURN enum err crypto_decision_load(struct span saved, struct crypto_decision *decision_out);

/* The session keys of the encrypted layers, outermost first. */
struct crypto_session_keys {
    char keys[CRYPTO_SESSION_KEYS_MAX][CRYPTO_SESSION_KEY_SIZE];
    size_t len;
};
/* Whether that one is of a layer by S/MIME. */
bool crypto_session_key_is_smime(const struct crypto_session_keys *keys, size_t index);
ERR_RETURN enum err crypto_session_keys_save(const struct crypto_session_keys *keys, struct buf *out);
ERR_RETURN enum err crypto_session_keys_load(struct span saved, struct crypto_session_keys *keys_out);
void crypto_session_keys_fini(struct crypto_session_keys *keys);

#endif
