/*
 * The issuers of a path asked whether its certificates have been revoked, without waiting.
 *
 * For each certificate but the anchor the places that it names are asked one after the other (keyring/revocation.h),
 * until one has given an answer that counts. Answers are kept until they run out, so that an issuer is asked once for
 * all of its certificates, and equal questions are asked once; a place that had no answer, or one that was of no use,
 * is not asked again for some minutes. All of it bounded. Runs in the finder and on the command line.
 */
#ifndef KEYRING_REVOCATION_ASK_H
#define KEYRING_REVOCATION_ASK_H

#include "keyring/fetch.h"
#include "keyring/revocation.h"

#define KEYRING_ASKS_MAX 1000                       /* under way */
#define KEYRING_ANSWERS_MAX 512                     /* kept */
#define KEYRING_ANSWERS_SIZE_MAX ((size_t)64 << 20) /* bytes of all that are kept; the oldest are forgotten first */
#define KEYRING_ANSWER_FAILED_S 300

/* How one certificate stands, and the bytes that say so (none if they are not known), borrowed during the call. */
struct keyring_asked {
    struct keyring_revocation revocation;
    enum keyring_answer_kind kind;
    struct span answer;
};

struct keyring_asker;
struct keyring_ask;

/* Fires once, out of the event loop: `asked[i]` is of certificate i of the path, up to but not including the anchor. */
typedef void (*keyring_asked_fn)(void *context, const struct keyring_asked *asked, size_t len);

/* `options` is copied, what it points to borrowed for life. */
ERR_RETURN enum err keyring_asker_new(const struct keyring_fetch_options *options, struct keyring_asker **asker_out);
/* What is under way is forgotten, and its functions do not fire. Not from within such a function. */
void keyring_asker_free(struct keyring_asker **asker);

/* Asks about `path` (leaf first, up to the anchor; counted up), which the caller has verified. `now` and `at` as for
   keyring_revocation_judge. After `deadline_ms` what is not known stays unknown. ERR_BUSY. */
ERR_RETURN enum err keyring_ask_begin(struct keyring_asker *asker, STACK_OF(X509) * path, int64_t now, int64_t at,
                                      uint32_t deadline_ms, keyring_asked_fn fn, void *context,
                                      struct keyring_ask **ask_out);
/* It is asked anew, also where an answer counts still; that one is kept if there is no other. Before control returns to
   the loop. */
void keyring_ask_anew(struct keyring_ask *ask);
/* `fn` will not fire. Clears the caller's pointer; NULL is nothing to cancel. */
void keyring_ask_cancel(struct keyring_ask **ask);

/* The same in one call, with an event loop of its own: for commands. `hosts` as in keyring/fetch.h. Gives one
   revocation for each certificate but the anchor. */
ERR_RETURN enum err keyring_ask_now(const char *const *hosts, size_t hosts_len, STACK_OF(X509) * path, int64_t now,
                                    int64_t at, uint32_t deadline_ms,
                                    struct keyring_revocation revocations_out[KEYRING_CHAIN_MAX], size_t *len_out);

#endif
