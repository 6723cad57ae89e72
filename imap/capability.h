/*
 * Which capabilities a client may see (design 1.2.10): an allow-list over what the upstream server offers, with our own
 * put in. Every token that is not in the table is hidden. Tokens are parsed, never replaced as text.
 */
#ifndef IMAP_CAPABILITY_H
#define IMAP_CAPABILITY_H

#include "base/buf.h"
#include "base/sasl.h"

/* What the proxy itself must know of a server. */
enum imap_feature {
    IMAP_HAS_IMAP4REV1 = 1 << 0,
    IMAP_HAS_STARTTLS = 1 << 1,
    IMAP_HAS_LOGINDISABLED = 1 << 2,
    IMAP_HAS_SASL_IR = 1 << 3,
    IMAP_HAS_LITERAL_PLUS = 1 << 4,
    IMAP_HAS_LITERAL_MINUS = 1 << 5,
    IMAP_HAS_UIDPLUS = 1 << 6,
    IMAP_HAS_CONDSTORE = 1 << 7,
    IMAP_HAS_QRESYNC = 1 << 8,
    IMAP_HAS_ESEARCH = 1 << 9,
    IMAP_HAS_SEARCHRES = 1 << 10,
    IMAP_HAS_MULTIAPPEND = 1 << 11,
    IMAP_HAS_OBJECTID = 1 << 12,
    IMAP_HAS_COMPRESS = 1 << 13,
    IMAP_HAS_IDLE = 1 << 14,
    IMAP_HAS_ENABLE = 1 << 15,
    IMAP_HAS_UTF8_ACCEPT = 1 << 16,
    IMAP_HAS_ID = 1 << 17,
    IMAP_HAS_APPENDLIMIT = 1 << 18,
    IMAP_HAS_INPROGRESS = 1 << 19,
    IMAP_HAS_MOVE = 1 << 20,
    IMAP_HAS_GMAIL = 1 << 21
};

struct imap_capabilities {
    uint32_t features;
    sasl_set mechanisms;
    uint64_t append_limit; /* with IMAP_HAS_APPENDLIMIT; 0: per mailbox */
    struct buf words;      /* the tokens as they came, separated by blanks; at most 16 KiB */
};

void imap_capabilities_init(struct imap_capabilities *capabilities);
void imap_capabilities_fini(struct imap_capabilities *capabilities);
/* Reads the words after "CAPABILITY" (or in "[CAPABILITY ...]"); replaces what was there. ERR_MALFORMED. */
ERR_RETURN enum err imap_capabilities_parse(struct span words, struct imap_capabilities *capabilities_out);

/* What a listener says before login: IMAP4rev1, our own, AUTH= of `mechanisms`, STARTTLS or LOGINDISABLED as they
 * apply.
 */
struct imap_offer {
    bool offers_starttls;
    bool has_login_disabled;
    bool offers_compress;
    sasl_set mechanisms;
};
ERR_RETURN enum err imap_capabilities_before(const struct imap_offer *offer, struct buf *out);
/* What a client sees after login: those of the server's that pass, the rewritten ones, and our own. `sealed_percent`,
   `sealed_headers`: how APPENDLIMIT shrinks (limit - headers) * percent / 100; 0 percent: not at all (append = plain).
 */
ERR_RETURN enum err imap_capabilities_after(const struct imap_capabilities *server, const struct imap_offer *offer,
                                            unsigned sealed_percent, uint64_t sealed_headers, struct buf *out);
/* What is left for a message of a server's `limit` (of above). */
uint64_t imap_append_room(uint64_t limit, unsigned sealed_percent, uint64_t sealed_headers);
/* True if the client may use a command that belongs to `capability` (it is in what it was shown). */
bool imap_capabilities_has(struct span shown, const char *capability);

#endif
