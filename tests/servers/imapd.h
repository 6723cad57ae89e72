/*
 * The reference IMAP server of the tests: obedient, honest, and wrong to order.
 *
 * IMAP4rev1 (RFC 3501) with what CAPABILITIES below names, on a folder: each mailbox a folder, each message a file
 * UID.eml, flags and the rest in a journal; what was acknowledged is there after a restart. SEARCH compares raw bytes,
 * as RFC 3501 allows it to. With OBJECTID among --capabilities EMAILID is a hash of the message, or what its field
 * X-Email-Id says (a lie, if two have the same). UTF8=ACCEPT may be among them, too. Its faults (see common.h) have
 * these points:
 *
 *   connect, greeting, starttls       and the lower-case name of any command, without "uid": "fetch", "append"
 *   COMMAND.each                      after each untagged FETCH of that command
 *   COMMAND.end                       before the tagged response
 *   continue                          when a "+" is due for a literal
 *   body                              within the literal of an APPEND
 *   literal                           at a literal that is being sent
 *   offer                             whenever capabilities are said or asked for: words to add and take away, "+X -Y"
 *
 * The actions: cut (close at once), stall (say nothing until the peer goes away), slow (byte by byte from here on),
 * late (carry out, then close without the tagged response), garbage (a line that is no response), endless (a line
 * without end), flood (untagged responses without end), inject (starttls: clear text after the OK), preauth (greeting),
 * bye (BYE, then close), "NO text" and "BAD text" (instead of carrying out), "* text" (says so first), "raw bytes"
 * (with \r \n \0 \xHH; says so first), "only bytes" (the same, instead of carrying out), "expunge N", "arrive",
 * "flag N word" (does this to the selected mailbox, as another client would); at fetch: "omit N" (answers for all but
 * that message, and says OK), "nil N" (no content of that message: NIL), "gone N" (the same, and OK [EXPUNGEISSUED], as
 * Dovecot), "split" (each item of an answer in a response of its own), "weave" (the same, the first items of all
 * messages, then the second ones, and so on); at a command without literals: "behind" (carries out the next one first);
 * at a literal: cut and stall (in mid of it), "lie TEXT" (announces {TEXT} in place of its true size).
 */
#ifndef TESTS_SERVERS_IMAPD_H
#define TESTS_SERVERS_IMAPD_H

#include "tests/servers/common.h"

#define IMAPD_CAPABILITIES                                                                                             \
    "LITERAL+ ID ENABLE NAMESPACE CHILDREN SPECIAL-USE UIDPLUS MOVE UNSELECT IDLE CONDSTORE MULTIAPPEND"

/* ---- imapd_text.c: bytes that grow, and a cursor over a command ---- */

struct text {
    char *bytes;
    size_t len, capacity;
};

void text_add(struct text *text, const char *bytes, size_t len);
void text_puts(struct text *text, const char *string);
void text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A quoted string, or a literal if it cannot be one; NIL for bytes NULL. */
void text_string(struct text *text, const char *bytes, size_t len);
void text_free(struct text *text);

struct slice {
    const char *at;
    size_t len;
};

bool slice_is(struct slice slice, const char *word); /* without regard to case */

/* What is left of a command; its literals stand in it as they came. */
struct cursor {
    const char *at, *end;
};

/* Each takes what it names off the cursor; false, and nothing taken, if something else stands there. */
bool take_char(struct cursor *cursor, char byte);
bool take_space(struct cursor *cursor);
bool take_end(const struct cursor *cursor);
bool take_atom(struct cursor *cursor, struct slice *atom_out);
bool take_string(struct cursor *cursor, char **string_out, size_t *len_out); /* the caller frees */
bool take_astring(struct cursor *cursor, char **string_out);                 /* the caller frees */
bool take_list_mailbox(struct cursor *cursor, char **pattern_out);           /* the caller frees */
bool take_number(struct cursor *cursor, uint64_t *number_out);
bool take_word(struct cursor *cursor, const char *word); /* an atom that is this word */
/* "2,4:7,*": kept as text and asked with set_has. */
bool take_set(struct cursor *cursor, struct slice *set_out);
bool set_has(struct slice set, uint64_t number, uint64_t highest);
/* "(\Seen word)" or the same without brackets; joined by blanks; the caller frees. */
bool take_flags(struct cursor *cursor, char **flags_out);
bool take_date_time(struct cursor *cursor, int64_t *date_out);
bool take_date(struct cursor *cursor, int64_t *day_out);

/* ---- imapd_mime.c: what a message is made of ---- */

#define PART_CHILDREN_MAX 1000

struct part {
    struct slice header, body;              /* the header ends with its empty line */
    struct text content_type;               /* the field without its folding */
    struct slice type, subtype, parameters; /* in it, or constants; the parameters end with a NUL */
    bool is_multipart, is_message;
    struct part **children; /* of a multipart; the one message in message/rfc822 */
    size_t children_len;
};

/* The caller frees it; the bytes must outlive it. */
struct part *part_parse(struct slice message);
void part_free(struct part *part);
size_t slice_lines(struct slice slice);
/* The next field of a header, with its line ends; false at the end. */
bool field_next(struct slice *header, struct slice *name_out, struct slice *whole_out);
/* The first field of that name: its unfolded value without blanks around it, in `value_out` (appended); false: none. */
bool field_get(struct slice header, const char *name, struct text *value_out);

/* ---- imapd_envelope.c, imapd_structure.c ---- */

void envelope_add(struct text *out, struct slice header);
/* BODY or BODYSTRUCTURE. */
void structure_add(struct text *out, const struct part *part, bool is_extended);

/* ---- imapd_store.c: mailboxes on disk; with imapd.mail locked ---- */

struct message {
    uint32_t uid;
    uint64_t modseq;
    int64_t date; /* INTERNALDATE, seconds */
    char *flags;  /* joined by blanks */
};

struct mailbox {
    struct mailbox *next;
    char *name;
    char *folder;
    FILE *journal;
    uint32_t uid_validity, uid_next, first_recent;
    uint64_t modseq;
    struct message *messages;
    size_t len, capacity;
    bool is_gone;
};

struct session;

struct imapd {
    struct server server;
    const char *capabilities;
    pthread_mutex_t mail;
    struct mailbox *mailboxes; /* those that are gone stay in the list: sessions may have them selected */
    struct session *sessions;
};

void store_load(struct imapd *imapd);
struct mailbox *mailbox_find(struct imapd *imapd, const char *name);
struct mailbox *mailbox_create(struct imapd *imapd, const char *name);
void mailbox_delete(struct mailbox *mailbox);
void mailbox_rename(struct imapd *imapd, struct mailbox *mailbox, const char *name);
struct message *mailbox_message(struct mailbox *mailbox, uint32_t uid);
/* Adds a message; its UID. */
uint32_t mailbox_add(struct mailbox *mailbox, struct slice content, const char *flags, int64_t date);
void mailbox_set_flags(struct mailbox *mailbox, struct message *message, const char *flags);
void mailbox_expunge(struct mailbox *mailbox, uint32_t uid);
void mailbox_set_recent(struct mailbox *mailbox);
/* The whole of a message; false if it cannot be read. The caller frees. */
bool mailbox_read(const struct mailbox *mailbox, uint32_t uid, struct text *content_out);
bool flags_have(const char *flags, const char *flag);
/* With `added` and without `removed`; the caller frees. */
char *flags_change(const char *flags, const char *added, const char *removed);
bool is_subscribed(const struct imapd *imapd, const char *name);
void subscribe(const struct imapd *imapd, const char *name, bool is_on);

/* ---- imapd_session.c ---- */

/* A message as the session's client knows it. */
struct seen {
    uint32_t uid;
    uint64_t modseq; /* of the flags that it was told */
    bool is_recent;
};

struct session {
    struct session *next;
    struct imapd *imapd;
    struct server_io *io;
    struct text command; /* the one being carried out */
    struct text behind;  /* one that is to be carried out after the next */
    struct text out;     /* what is not yet sent */
    struct text code;    /* what goes into the brackets of OK, if anything */
    char tag[128];
    char verb[24]; /* in lower case, without "uid" */
    bool is_uid;   /* "UID ..." */
    bool is_authenticated;
    char ordered[512]; /* the fault at the last point, "" if none */
    bool is_late;      /* closes instead of answering */
    size_t omitted;    /* the message that FETCH says nothing of; 0: none */
    size_t emptied;    /* the message of which FETCH gives no content; 0: none */
    bool is_split, is_woven;
    bool has_condstore, has_utf8;
    bool is_read_only;
    struct mailbox *mailbox; /* NULL: none selected */
    struct seen *seen;
    size_t seen_len, seen_capacity;
    int wakeup; /* eventfd: something happened in the mailbox */
};

bool imapd_has(struct session *session, const char *capability);
void imapd_say_capabilities(struct session *session, struct text *out);
void imapd_flush(struct session *session);
/* Carries out what is ordered at the point; true if nothing more is to be done. */
bool imapd_fault(struct session *session, const char *point);
bool imapd_fault_at_command(struct session *session, const char *suffix);
/* A literal of a response; what is ordered at "literal" happens here. */
void imapd_put_literal(struct session *session, const char *bytes, size_t len);
/* Serves one connection to its end. */
void imapd_session(struct server_io *io);

/* ---- imapd_utf8.c: names of mailboxes, in UTF-8 if the session has enabled that (RFC 6855) ---- */

bool take_mailbox(const struct session *session, struct cursor *cursor, char **name_out); /* the caller frees */
void put_mailbox(struct session *session, const char *name);

/* ---- imapd_sync.c: what the client knows of the mailbox ---- */

void sync_select(struct session *session, struct mailbox *mailbox);
void sync_unselect(struct session *session);
/* Tells what has changed; EXPUNGE only where it may be said. */
void sync_tell(struct session *session, bool may_expunge);
/* Wakes all who have the mailbox selected. */
void sync_wake(struct imapd *imapd, const struct mailbox *mailbox);
/* The number that stands for `*` in a set of this command, and whether message `index` is in the set. */
uint64_t sync_highest(const struct session *session);
bool sync_is_in(const struct session *session, struct slice set, size_t index);
/* Appends "1:3,7" of ascending or unordered numbers. */
void sync_add_set(struct text *out, const uint32_t *numbers, size_t len);
void sync_add_flags(struct text *out, const struct message *message, const struct seen *seen);
void sync_idle(struct session *session);

/* ---- the commands: each gives the text of its tagged response ---- */

typedef const char *(*command_fn)(struct session *session, struct cursor *arguments);

const char *do_list(struct session *session, struct cursor *arguments);
const char *do_lsub(struct session *session, struct cursor *arguments);
const char *do_namespace(struct session *session, struct cursor *arguments);
const char *do_create(struct session *session, struct cursor *arguments);
const char *do_delete(struct session *session, struct cursor *arguments);
const char *do_rename(struct session *session, struct cursor *arguments);
const char *do_subscribe(struct session *session, struct cursor *arguments);
const char *do_unsubscribe(struct session *session, struct cursor *arguments);
const char *do_status(struct session *session, struct cursor *arguments);
const char *do_select(struct session *session, struct cursor *arguments);
const char *do_fetch(struct session *session, struct cursor *arguments);
const char *do_search(struct session *session, struct cursor *arguments);
const char *do_store(struct session *session, struct cursor *arguments);
const char *do_copy(struct session *session, struct cursor *arguments);
const char *do_expunge(struct session *session, struct cursor *arguments);
const char *do_close(struct session *session, struct cursor *arguments);
const char *do_append(struct session *session, struct cursor *arguments);
/* Before the literal of an APPEND is taken: the response that refuses it, or NULL. */
const char *append_refusal(struct session *session, struct cursor arguments);

#endif
