/*
 * Which messages may need a view: told from what a server says of a message in a few hundred bytes, so that the others
 * are never fetched (design 1.2.4). It errs on the side of looking: what turns out to need none passes through after
 * all.
 */
#ifndef PROXY_IMAP_CLASSIFY_H
#define PROXY_IMAP_CLASSIFY_H

#include "imap/fetch.h"

/* What is asked of a message that is not known yet. */
#define IMAP_CLASSIFY_ITEMS                                                                                            \
    "(UID RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Privyseal-Verdict Authentication-Results)] "              \
    "BODY.PEEK[1]<0.1024>)"

/* Reads the answer to IMAP_CLASSIFY_ITEMS. Candidates are messages with an encrypted or signed part anywhere, with
   fields that look like privyseal's own verdict, or whose first part begins with OpenPGP armour, encoded or not.
   ERR_NOT_FOUND: it is no such answer. */
ERR_RETURN enum err imap_classify(const struct imap_answer *answers, size_t len, bool *is_candidate_out,
                                  uint64_t *size_out);

#endif
