/*
 * One name for everything that can go wrong, and one table that says it to each kind of client.
 *
 * A function that can fail returns `enum err` and is declared ERR_RETURN; the detail (which file, which peer, what the
 * library said) is logged where it is found. What a client reads comes from the table alone, so nothing internal can
 * slip into a reply. Whether a failure is temporary follows from its SMTP code. Used in every process.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#define ERR_RETURN __attribute__((warn_unused_result))

enum err {
    ERR_OK = 0,
    ERR_AGAIN, /* not an error: more input is needed, or nothing is there yet */
    ERR_END,   /* not an error: the other side closed in an orderly way */
    /* the machine */
    ERR_MEMORY,
    ERR_IO,
    ERR_DISK_FULL,
    ERR_INTERNAL,
    ERR_SHUTDOWN,
    ERR_BUSY, /* too much is under way already */
    /* what a client said */
    ERR_COMMAND_UNKNOWN,
    ERR_COMMAND_SYNTAX,
    ERR_PARAMETER_SYNTAX,
    ERR_PARAMETER_UNKNOWN,
    ERR_SEQUENCE,
    ERR_LINE_TOO_LONG,
    ERR_ADDRESS_SYNTAX,
    ERR_AUTH_REQUIRED,
    ERR_AUTH_FAILED,
    ERR_AUTH_MECHANISM,
    ERR_AUTH_CANCELLED,
    ERR_TLS_REQUIRED,
    ERR_NOT_OWNER, /* a stranger on this machine, or beyond it, knocks at a listener */
    ERR_TOO_MANY_RECIPIENTS,
    ERR_NO_RECIPIENTS,
    /* the message */
    ERR_TOO_BIG,
    ERR_BARE_CR_LF,
    ERR_NUL,
    ERR_MALFORMED,
    ERR_LIMIT, /* too deep, too many parts, too long a header */
    ERR_NEEDS_8BIT,
    ERR_NEEDS_SMTPUTF8,
    /* policy and keys */
    ERR_REFUSED, /* a plan nobody made: the zero value */
    ERR_NO_KEY,
    ERR_CONFLICT, /* two sources name different keys, and one is required */
    ERR_NO_SIGNING_KEY,
    ERR_NOT_OWN_FROM,
    ERR_MIXED,
    ERR_TOO_MANY_GROUPS, /* seen at RCPT: the client may send the rest in another transaction */
    ERR_TOO_MANY_GROUPS_FINAL,
    ERR_KEY_LOCKED,
    ERR_KEY_UNUSABLE,
    ERR_REVOKED, /* found only now: what is known of the key has been brought up to date */
    ERR_LOOKUP,  /* a directory, or whoever tells what is revoked, did not answer, and must */
    /* the upstream server */
    ERR_UPSTREAM_DOWN,
    ERR_UPSTREAM_LOST,
    ERR_UPSTREAM_TLS,
    ERR_UPSTREAM_PROTOCOL,
    ERR_UPSTREAM_REJECTED,
    ERR_UPSTREAM_MISSING, /* the server lacks an extension that is needed */
    ERR_TIMEOUT,
    /* workers and records */
    ERR_WORKER,
    ERR_PEER_PROTOCOL, /* a malformed message between our own processes */
    ERR_STORE,
    ERR_DAMAGED, /* one record of the store cannot be read, and the others can */
    /* cryptography */
    ERR_ENGINE,
    ERR_DECRYPT,    /* all failures to decrypt look alike (design 1.1.7) */
    ERR_NOT_SEALED, /* a result that should be encrypted is not */
    /* command line and configuration */
    ERR_NOT_FOUND,
    ERR_EXISTS,
    ERR_CONFIG,
    ERR_USAGE,
    ERR_COUNT
};

/* One row of the table. All strings are static. */
struct err_entry {
    const char *name;      /* stable, for logs and --json: "no-key" */
    int smtp_code;         /* 250, 4xx or 5xx */
    const char *enhanced;  /* RFC 3463 enhanced status code: "5.7.5" */
    const char *imap_code; /* RFC 5530 response code without brackets, or NULL */
    const char *pop3_code; /* RFC 2449/3206 response code without brackets, or NULL */
    const char *sentence;  /* what happened, for a person; no final full stop */
};

/* Borrows the row of `err`; an unknown value gets the row of ERR_INTERNAL. Never NULL. */
const struct err_entry *err_entry(enum err err);

/* Short forms of the above. */
const char *err_name(enum err err);
const char *err_sentence(enum err err);

/* True if the SMTP code of `err` is 4xx: trying again later may help. */
bool err_is_temporary(enum err err);

/* Turns an errno value into an `enum err`: ENOMEM, ENOSPC/EDQUOT, EAGAIN/EINTR and the rest (ERR_IO). */
enum err err_of_errno(int errno_value);

#endif
