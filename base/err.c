#include "base/err.h"

#include <errno.h>
#include <stddef.h>

/* __COUNTER__ counts the rows, so that one that is missing stops the build; a row given twice is a warning by itself.
 */
#define ROW(err, ...) [(err) + 0 * __COUNTER__] = {__VA_ARGS__}
enum { ROWS_BEGIN = __COUNTER__ };

/* Columns: name, SMTP code, RFC 3463 code, IMAP response code (RFC 5530), POP3 response code (RFC 3206), sentence.
   Everything but ERR_OK is a refusal, the two that are no errors included: one that slips through must never read as
   success. */
static const struct err_entry rows[] = {
    ROW(ERR_OK, "ok", 250, "2.0.0", NULL, NULL, "Done"),
    ROW(ERR_AGAIN, "again", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP", "Not complete yet, try again later"),
    ROW(ERR_END, "end", 421, "4.4.2", "UNAVAILABLE", "SYS/TEMP", "The connection was closed"),

    ROW(ERR_MEMORY, "memory", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP", "Out of memory, try again later"),
    ROW(ERR_IO, "io", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP", "Local error in reading or writing, try again later"),
    ROW(ERR_DISK_FULL, "disk-full", 452, "4.3.1", "UNAVAILABLE", "SYS/TEMP", "Local storage is full, try again later"),
    ROW(ERR_INTERNAL, "internal", 451, "4.3.0", "SERVERBUG", "SYS/TEMP", "Internal error, see the log"),
    ROW(ERR_SHUTDOWN, "shutdown", 421, "4.3.2", "UNAVAILABLE", "SYS/TEMP",
        "The service is shutting down, try again later"),
    ROW(ERR_BUSY, "busy", 451, "4.3.2", "UNAVAILABLE", "SYS/TEMP", "Too much is under way, try again later"),

    ROW(ERR_COMMAND_UNKNOWN, "command-unknown", 500, "5.5.1", "CLIENTBUG", NULL, "Command not known here"),
    ROW(ERR_COMMAND_SYNTAX, "command-syntax", 500, "5.5.2", "CLIENTBUG", NULL, "Syntax error in the command"),
    ROW(ERR_PARAMETER_SYNTAX, "parameter-syntax", 501, "5.5.4", "CLIENTBUG", NULL, "Syntax error in a parameter"),
    ROW(ERR_PARAMETER_UNKNOWN, "parameter-unknown", 555, "5.5.4", "CANNOT", NULL, "Parameter not known here"),
    ROW(ERR_SEQUENCE, "sequence", 503, "5.5.1", "CLIENTBUG", NULL, "Command not allowed at this point"),
    ROW(ERR_LINE_TOO_LONG, "line-too-long", 500, "5.5.2", "LIMIT", NULL, "Line too long"),
    ROW(ERR_ADDRESS_SYNTAX, "address-syntax", 553, "5.1.3", "CANNOT", NULL, "Syntax error in an address"),
    ROW(ERR_AUTH_REQUIRED, "auth-required", 530, "5.7.0", "AUTHORIZATIONFAILED", "AUTH", "Authentication required"),
    ROW(ERR_AUTH_FAILED, "auth-failed", 535, "5.7.8", "AUTHENTICATIONFAILED", "AUTH", "Authentication failed"),
    ROW(ERR_AUTH_MECHANISM, "auth-mechanism", 504, "5.5.4", "CANNOT", "AUTH", "Authentication mechanism not offered"),
    ROW(ERR_AUTH_CANCELLED, "auth-cancelled", 501, "5.7.0", NULL, NULL, "Authentication cancelled"),
    ROW(ERR_TLS_REQUIRED, "tls-required", 530, "5.7.0", "PRIVACYREQUIRED", "SYS/PERM",
        "TLS required, use STARTTLS first"),
    ROW(ERR_NOT_OWNER, "not-owner", 554, "5.7.1", "AUTHORIZATIONFAILED", "AUTH", "This service is not for you"),
    ROW(ERR_TOO_MANY_RECIPIENTS, "too-many-recipients", 452, "4.5.3", "LIMIT", NULL,
        "Too many recipients, send the rest in another transaction"),
    ROW(ERR_NO_RECIPIENTS, "no-recipients", 554, "5.5.1", "CANNOT", NULL, "No valid recipients"),

    ROW(ERR_TOO_BIG, "too-big", 552, "5.3.4", "LIMIT", "SYS/PERM", "Message too big"),
    ROW(ERR_BARE_CR_LF, "bare-cr-lf", 550, "5.6.0", "CANNOT", "SYS/PERM", "Message holds a bare CR or LF"),
    ROW(ERR_NUL, "nul", 550, "5.6.0", "CANNOT", "SYS/PERM", "Message holds a NUL byte"),
    ROW(ERR_MALFORMED, "malformed", 550, "5.6.0", "CANNOT", "SYS/PERM", "Message is malformed"),
    ROW(ERR_LIMIT, "limit", 554, "5.6.0", "LIMIT", "SYS/PERM", "Beyond a limit (size, parts, nesting or header)"),
    ROW(ERR_NEEDS_8BIT, "needs-8bit", 554, "5.6.3", "CANNOT", NULL,
        "Message has 8-bit content that the next server does not take"),
    ROW(ERR_NEEDS_SMTPUTF8, "needs-smtputf8", 553, "5.6.7", "CANNOT", NULL,
        "Address needs SMTPUTF8, which the next server does not take"),

    ROW(ERR_REFUSED, "refused", 550, "5.7.1", "NOPERM", "SYS/PERM", "Refused by policy"),
    ROW(ERR_NO_KEY, "no-key", 550, "5.7.5", "CANNOT", "SYS/PERM", "Encryption is required and no usable key was found"),
    ROW(ERR_CONFLICT, "conflict", 550, "5.7.5", "CANNOT", "SYS/PERM",
        "Encryption is required and two sources name different keys, confirm one with privyseal key pin"),
    ROW(ERR_NO_SIGNING_KEY, "no-signing-key", 550, "5.7.5", "CANNOT", "SYS/PERM",
        "A signature is required and the account has no key, make one with privyseal key make"),
    ROW(ERR_NOT_OWN_FROM, "not-own-from", 550, "5.7.1", "NOPERM", "SYS/PERM",
        "The From address is not the account's own"),
    ROW(ERR_MIXED, "mixed", 550, "5.7.1", "NOPERM", "SYS/PERM",
        "Another recipient requires encryption, and this one cannot be encrypted to"),
    ROW(ERR_TOO_MANY_GROUPS, "too-many-groups", 452, "4.5.3", "LIMIT", NULL,
        "Too many differently protected copies, send the rest in another transaction"),
    ROW(ERR_TOO_MANY_GROUPS_FINAL, "too-many-groups-final", 554, "5.5.3", "LIMIT", NULL,
        "Too many differently protected copies, send to fewer recipients at once"),
    ROW(ERR_KEY_LOCKED, "key-locked", 451, "4.7.0", "UNAVAILABLE", "SYS/TEMP",
        "The key is locked, unlock it and try again"),
    ROW(ERR_KEY_UNUSABLE, "key-unusable", 550, "5.7.5", "CANNOT", "SYS/PERM",
        "A key is expired, revoked or not usable"),
    ROW(ERR_REVOKED, "revoked", 451, "4.7.5", "UNAVAILABLE", "SYS/TEMP",
        "A certificate has just been found to be revoked, try again"),
    ROW(ERR_LOOKUP, "lookup", 451, "4.7.5", "UNAVAILABLE", "SYS/TEMP", "A key could not be looked up, try again later"),

    ROW(ERR_UPSTREAM_DOWN, "upstream-down", 451, "4.4.1", "UNAVAILABLE", "SYS/TEMP",
        "The mail server cannot be reached"),
    ROW(ERR_UPSTREAM_LOST, "upstream-lost", 451, "4.4.2", "UNAVAILABLE", "SYS/TEMP",
        "The connection to the mail server was lost"),
    ROW(ERR_UPSTREAM_TLS, "upstream-tls", 451, "4.7.5", "UNAVAILABLE", "SYS/TEMP",
        "No secure connection to the mail server"),
    ROW(ERR_UPSTREAM_PROTOCOL, "upstream-protocol", 451, "4.5.0", "UNAVAILABLE", "SYS/TEMP",
        "The mail server gave an answer that makes no sense"),
    ROW(ERR_UPSTREAM_REJECTED, "upstream-rejected", 554, "5.0.0", "CANNOT", "SYS/PERM", "The mail server refused"),
    ROW(ERR_UPSTREAM_MISSING, "upstream-missing", 554, "5.3.3", "CANNOT", "SYS/PERM",
        "The mail server lacks a feature that is needed"),
    ROW(ERR_TIMEOUT, "timeout", 451, "4.4.2", "UNAVAILABLE", "SYS/TEMP", "Timed out, try again later"),

    ROW(ERR_WORKER, "worker", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP", "A local process failed, try again later"),
    ROW(ERR_PEER_PROTOCOL, "peer-protocol", 451, "4.3.0", "SERVERBUG", "SYS/TEMP",
        "A local process gave an answer that makes no sense"),
    ROW(ERR_DAMAGED, "damaged", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP",
        "What is kept of this is damaged, see privyseal check"),
    ROW(ERR_STORE, "store", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP", "The local store failed, try again later"),

    ROW(ERR_ENGINE, "engine", 451, "4.3.0", "UNAVAILABLE", "SYS/TEMP",
        "The cryptographic engine failed, try again later"),
    ROW(ERR_DECRYPT, "decrypt", 550, "5.7.5", "CANNOT", "SYS/PERM", "The message could not be decrypted"),
    ROW(ERR_NOT_SEALED, "not-sealed", 451, "4.3.0", "SERVERBUG", "SYS/TEMP",
        "The message was not encrypted as planned, and so was not sent"),

    ROW(ERR_NOT_FOUND, "not-found", 550, "5.1.1", "NONEXISTENT", "SYS/PERM", "Not found"),
    ROW(ERR_EXISTS, "exists", 550, "5.3.0", "ALREADYEXISTS", "SYS/PERM", "Exists already"),
    ROW(ERR_CONFIG, "config", 451, "4.3.5", "CONTACTADMIN", "SYS/TEMP", "Error in the configuration"),
    ROW(ERR_USAGE, "usage", 501, "5.5.4", "CLIENTBUG", "SYS/PERM", "Wrong usage"),
};

_Static_assert(__COUNTER__ - ROWS_BEGIN - 1 == ERR_COUNT, "each value of enum err needs a row");
_Static_assert(sizeof rows / sizeof *rows == ERR_COUNT, "ERR_COUNT must stay the last value of enum err");

const struct err_entry *err_entry(enum err err)
{
    size_t index = (size_t)err;
    return index < ERR_COUNT ? &rows[index] : &rows[ERR_INTERNAL];
}

const char *err_name(enum err err)
{
    return err_entry(err)->name;
}

const char *err_sentence(enum err err)
{
    return err_entry(err)->sentence;
}

bool err_is_temporary(enum err err)
{
    return err_entry(err)->smtp_code / 100 == 4;
}

enum err err_of_errno(int errno_value)
{
    switch (errno_value) {
    case ENOMEM:
        return ERR_MEMORY;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case EAGAIN:
    case EINTR:
        return ERR_AGAIN;
    default:
        return ERR_IO;
    }
}
