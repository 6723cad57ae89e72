/*
 * Which messages may need a view: told from what a server says of a message in a few hundred bytes, so that the others
 * are never fetched (design 1.2.4). It errs on the side of looking: what turns out to need none passes through after
 * all.
 */
#ifndef PROXY_IMAP_CLASSIFY_H
#define PROXY_IMAP_CLASSIFY_H

#include "imap/fetch.h"
#include "store/view.h"

/* What is asked of a message that is not known yet, of a server with these features (imap/capability.h): also what it
   calls the message's content, if it has names that say so. */
const char *imap_classify_items(uint32_t features);

/* Reads the answer to imap_classify_items. Candidates are messages with an encrypted or signed part anywhere, with
   fields that look like privyseal's own verdict, or whose first part begins with OpenPGP armour, encoded or not; and
   those of which the server says NIL. ERR_NOT_FOUND: it is no such answer, or not all of it. */
ERR_RETURN enum err imap_classify(const struct imap_answer *answers, size_t len, bool *is_candidate_out,
                                  uint64_t *size_out);

/* Adds the header fields of such an answer that Autocrypt looks at, among others. ERR_NOT_FOUND: there are none;
   ERR_LIMIT. */
ERR_RETURN enum err imap_classify_fields(const struct imap_answer *answers, size_t len, struct buf *out);

/* By what name a candidate is known again wherever it stands, without fetching it: a digest of the server's name for
   its content (RFC 8474 EMAILID, X-GM-MSGID), size and structure. False: the server gives no name.

   A server can lie, and give an honest message's name to another one. If that has the same size and structure, the
   honest message is shown in its place, with its own verdict, which is no new power: a server can serve old bytes under
   any new UID. Names are learnt only from bytes that were hashed here, and raw bytes that are fetched later are told by
   their digest, so that no answer shows one message's text under the verdict of another. */
bool imap_classify_alias(const struct imap_answer *answers, size_t len, uint8_t alias_out[STORE_DIGEST_SIZE]);

#endif
