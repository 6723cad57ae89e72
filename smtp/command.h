/*
 * SMTP commands and their parameters, as text and as values (RFC 5321 §4.1; SIZE RFC 1870, BODY RFC 6152 and 3030, DSN
 * RFC 3461, AUTH RFC 4954, SMTPUTF8 RFC 6531). Parsing is strict: what a next server might read otherwise is an error.
 * Pure functions over one line without its CRLF.
 */
#ifndef SMTP_COMMAND_H
#define SMTP_COMMAND_H

#include "base/buf.h"
#include "mime/addr.h"

#define SMTP_LINE_MAX 2048       /* a command line with all the extensions' allowances, CRLF included */
#define SMTP_AUTH_LINE_MAX 12288 /* an AUTH command or response (RFC 4954 §4) */

enum smtp_verb {
    SMTP_UNKNOWN,
    SMTP_HELO,
    SMTP_EHLO,
    SMTP_STARTTLS,
    SMTP_AUTH,
    SMTP_MAIL,
    SMTP_RCPT,
    SMTP_DATA,
    SMTP_BDAT,
    SMTP_RSET,
    SMTP_NOOP,
    SMTP_VRFY,
    SMTP_EXPN,
    SMTP_HELP,
    SMTP_QUIT,
    SMTP_VERB_COUNT
};

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME, SMTP_BODY_BINARYMIME };

/* The address of MAIL or RCPT in both forms: `path` as it was written between the angle brackets (without a source
   route), for the next server; `address` normalised, for policy and keys. The null reverse-path is "" in both. */
struct smtp_path {
    char path[MIME_ADDR_SIZE];
    char address[MIME_ADDR_SIZE];
};

struct smtp_mail {
    struct smtp_path from;
    bool has_size;
    uint64_t size;
    enum smtp_body body;
    bool smtputf8;
    char ret[5];     /* "", "FULL" or "HDRS" */
    char envid[101]; /* xtext as it came; "" if absent */
    char auth[512];  /* xtext as it came; "" if absent */
};

struct smtp_rcpt {
    struct smtp_path to;
    char notify[32]; /* as it came, upper case; "" if absent */
    char orcpt[512]; /* as it came; "" if absent */
};

/* Splits a line into verb and argument (blanks trimmed); SMTP_UNKNOWN if the verb is not known. */
enum smtp_verb smtp_command_split(struct span line, struct span *argument_out);
const char *smtp_verb_name(enum smtp_verb verb);

/* "FROM:<...> params" and "TO:<...> params". ERR_PARAMETER_SYNTAX, ERR_PARAMETER_UNKNOWN (555) or ERR_ADDRESS_SYNTAX.
 */
ERR_RETURN enum err smtp_mail_parse(struct span argument, struct smtp_mail *mail_out);
ERR_RETURN enum err smtp_rcpt_parse(struct span argument, struct smtp_rcpt *rcpt_out);
/* Adds the whole command line with CRLF. A parameter is written if its value is set. */
ERR_RETURN enum err smtp_mail_format(const struct smtp_mail *mail, struct buf *out);
ERR_RETURN enum err smtp_rcpt_format(const struct smtp_rcpt *rcpt, struct buf *out);

#endif
