/*
 * Whether a certificate has been revoked (RFC 5280 §5 and §6.3, RFC 6960): where to ask, what to ask, and what an
 * answer is worth. Pure: fetches nothing. Only for certificates of a path that verified (keyring_x509_chain), so that
 * no stranger's certificate names a place to ask.
 *
 * Lists come before responders: a list tells nobody whose certificate is of interest, and serves for all of an issuer.
 * An answer counts only if the issuer vouches for it: it signed it, or for responders the certificate that did, which
 * is for that purpose (whether that one has been revoked is not asked). Delta and indirect lists and such for some
 * reasons alone are not taken. Whatever is wrong with an answer leaves what it says unknown, never good.
 *
 * Used by the finder, which fetches, and by keepers and the command line, which believe no one else's judgement.
 */
#ifndef KEYRING_REVOCATION_H
#define KEYRING_REVOCATION_H

#include "base/buf.h"
#include "keyring/x509.h"

#define KEYRING_QUESTIONS_MAX 4
#define KEYRING_URL_SIZE 512
#define KEYRING_ANSWER_MAX ((size_t)16 << 20) /* bytes; the largest lists in use have about as many */
#define KEYRING_ANSWER_KEPT_S (7 * 86400)     /* kept no longer, whatever it says of itself */
#define KEYRING_CLOCKS_S 300                  /* by which others' clocks may differ from ours */

enum keyring_answer_kind { KEYRING_ANSWER_LIST, KEYRING_ANSWER_OCSP, KEYRING_ANSWER_COUNT };

struct keyring_revocation_question {
    enum keyring_answer_kind kind;
    char url[KEYRING_URL_SIZE]; /* http://, or of a list ldap:// */
};

/* The places that the certificate names, in the order in which to ask: CRL distribution points, then OCSP responders.
   Others than http and, for lists, ldap, and more than there is room for, are left out. */
size_t keyring_revocation_questions(const X509 *certificate,
                                    struct keyring_revocation_question questions_out[KEYRING_QUESTIONS_MAX]);
/* The bytes of a request to a responder (RFC 6960 §4.1), in the form that all responders know (RFC 5019): SHA-1 in the
   identifier, where it protects nothing, and no nonce: most responders give out answers made beforehand, and ours is
   kept, too; how fresh an answer is says its time. */
ERR_RETURN enum err keyring_revocation_request(const X509 *certificate, const X509 *issuer, struct buf *out);

enum keyring_revocation_state {
    KEYRING_REVOCATION_UNKNOWN = 0,
    KEYRING_REVOCATION_GOOD,
    KEYRING_REVOCATION_REVOKED /* also where it is only on hold */
};

struct keyring_revocation {
    enum keyring_revocation_state state;
    const char *reason; /* why it is unknown or was revoked; static, for people */
    int64_t since;      /* when it was revoked, also where that is after the time of judging; 0: it was not */
    int64_t until;      /* the answer is good until then; 0: it is of no use */
    int64_t made;       /* when it was made; 0: it is of no use */
};

/* Judges what `answer` says of `certificate`, which `issuer` has issued. `now` is for the freshness of the answer, `at`
   the time of judging, usually the same. A certificate that was revoked later than `at` was good then, unless its key
   or its issuer's fell into others' hands: nobody knows since when it had. An answer that was made after the
   certificate had expired does not know it any more. ERR_MEMORY. */
ERR_RETURN enum err keyring_revocation_judge(enum keyring_answer_kind kind, struct span answer, X509 *certificate,
                                             X509 *issuer, int64_t now, int64_t at,
                                             struct keyring_revocation *revocation_out);

enum keyring_revocation_mode {
    KEYRING_REVOCATION_OFF,  /* nobody is asked */
    KEYRING_REVOCATION_SOFT, /* what cannot be learnt is noted */
    KEYRING_REVOCATION_HARD  /* what cannot be learnt is not good */
};

/* What all of a path comes to; `revocations[i]` is of its certificate i, up to but not including the anchor. NULL:
   there is no path, so that nothing could be learnt. ERR_OK; ERR_REVOKED; ERR_LOOKUP (hard). `*is_unknown_out`:
   something could not be learnt, and need not be. */
ERR_RETURN enum err keyring_revocation_sum(const struct keyring_revocation *revocations, size_t len,
                                           enum keyring_revocation_mode mode, bool *is_unknown_out);

/* Adds a text for people: the verdict, then each certificate of the path with its subject, its issuer, until when it is
   valid, and how it stands; `revocations` as above, NULL: nobody was asked. Lines end with LF. What came from a
   certificate is made harmless for a terminal. */
ERR_RETURN enum err keyring_x509_explain(enum keyring_chain chain, const char *reason, STACK_OF(X509) * path,
                                         const struct keyring_revocation *revocations, struct buf *out);

#endif
