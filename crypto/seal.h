/*
 * Protecting an outgoing message: from the message as the mail program wrote it to one copy as it leaves (RFC 3156, RFC
 * 9788).
 *
 * Runs in a keeper and in `privyseal seal`. Every copy, plain ones included, comes through here: Bcc fields,
 * privyseal's own verdict and request fields and the subject tag are removed from all of them. SEAL_REFUSE is the zero
 * value and always fails.
 */
#ifndef CRYPTO_SEAL_H
#define CRYPTO_SEAL_H

#include "crypto/inspect.h"
#include "crypto/smime_account.h"
#include "keyring/gpg.h"

/* What sealing leaves of a server's limit to the message: headers and certificates aside, base64 takes 4/3 and line
   ends. Twice, where a signature with the text inside is encrypted. */
#define CRYPTO_SEALED_HEADERS 65536u
#define CRYPTO_SEALED_PERCENT 73u
#define CRYPTO_SEALED_TWICE_PERCENT 53u
#define CRYPTO_GOSSIP_MAX 64 /* keys of others that a copy tells */

enum crypto_seal_action {
    CRYPTO_SEAL_REFUSE = 0,
    CRYPTO_SEAL_PLAIN, /* leaves as it is (less the removed fields) */
    CRYPTO_SEAL_SIGN,
    CRYPTO_SEAL_ENCRYPT,
    CRYPTO_SEAL_SIGN_ENCRYPT,
    CRYPTO_SEAL_PASS /* already encrypted; checked again here */
};

/* Whose key a field tells (Autocrypt level 1). */
struct crypto_announced {
    char address[MIME_ADDR_SIZE];       /* normal form */
    char fingerprint[KEYRING_FPR_SIZE]; /* "": none */
};

struct crypto_seal_request {
    enum crypto_seal_action action;
    enum keyring_format format;
    char signer[KEYRING_FPR_SIZE];              /* "" unless signing */
    const char (*recipients)[KEYRING_FPR_SIZE]; /* keys to encrypt to, the sender's own included */
    size_t recipients_len;
    bool is_quiet;             /* encrypted copies: a locked signing key is ERR_KEY_LOCKED at once, nobody is asked */
    bool wants_7bit;           /* PLAIN: re-encode 8bit because the upstream lacks 8BITMIME */
    const char *subject_tag;   /* removed from the subject */
    const char *key_cache_dir; /* for keyring_gpg_key_file */
    uint64_t output_max;       /* bytes */
    const struct crypto_smime *smime; /* what S/MIME has of the account; NULL: none */
    struct crypto_announced
        autocrypt;  /* own key that the copy tells, unless the message does so itself; not for PASS */
    bool is_mutual; /* and that encryption is preferred */
    const struct crypto_announced *gossip; /* keys of others that a copy encrypted by OpenPGP tells inside */
    size_t gossip_len;
};

struct crypto_seal_result {
    size_t size;
    bool is_8bit; /* needs BODY=8BITMIME */
    char signed_by[KEYRING_FPR_SIZE];
};

/* Seals `message` into `fd` (an empty memfd; not sealed here). On any error the file's content is worthless and nothing
   may be sent: ERR_REFUSED, ERR_NO_KEY (a recipient key is unusable), ERR_NO_SIGNING_KEY, ERR_KEY_LOCKED (pinentry
   cancelled or absent), ERR_MALFORMED (the header has a line that is no field), ERR_NEEDS_8BIT, ERR_NOT_SEALED,
   ERR_TOO_BIG, ERR_ENGINE. `gpg` may be NULL for PLAIN and PASS.
 */
ERR_RETURN enum err crypto_seal(struct keyring_gpg *gpg, const struct crypto_seal_request *request, struct span message,
                                int fd, struct crypto_seal_result *result_out);

#endif
