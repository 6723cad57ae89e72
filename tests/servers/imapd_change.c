/* Commands that change messages: STORE, COPY, MOVE, EXPUNGE, CLOSE, APPEND. */
#include "tests/servers/imapd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- STORE ---- */

struct store {
    struct slice set;
    char sign; /* '+', '-', or 0: replace */
    bool is_silent, is_conditional;
    uint64_t unchanged_since;
    char *flags;
};

/* [" (UNCHANGEDSINCE" n ")"] SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags */
static bool parse_store(struct cursor *arguments, struct store *store)
{
    if (!take_space(arguments) || !take_set(arguments, &store->set) || !take_space(arguments))
        return false;
    if (take_char(arguments, '(')) {
        store->is_conditional = take_word(arguments, "UNCHANGEDSINCE") && take_space(arguments) &&
                                take_number(arguments, &store->unchanged_since) && take_char(arguments, ')') &&
                                take_space(arguments);
        if (!store->is_conditional)
            return false;
    }
    store->sign = take_char(arguments, '+') ? '+' : take_char(arguments, '-') ? '-' : '\0';
    store->is_silent = take_word(arguments, "FLAGS.SILENT");
    return (store->is_silent || take_word(arguments, "FLAGS")) && take_space(arguments) &&
           take_flags(arguments, &store->flags) && take_end(arguments);
}

static void store_one(struct session *session, const struct store *store, struct message *message, size_t index)
{
    struct seen *seen = &session->seen[index];
    bool was_told = message->modseq <= seen->modseq;
    char *flags = store->sign == '-'   ? flags_change(message->flags, "", store->flags)
                  : store->sign == '+' ? flags_change(message->flags, store->flags, "")
                                       : flags_change("", store->flags, "");
    if (strcmp(flags, message->flags) != 0)
        mailbox_set_flags(session->mailbox, message, flags);
    free(flags);
    if (!store->is_silent || session->has_condstore) {
        text_addf(&session->out, "* %zu FETCH (", index + 1);
        if (session->is_uid)
            text_addf(&session->out, "UID %" PRIu32 " ", message->uid);
        if (!store->is_silent)
            sync_add_flags(&session->out, message, seen);
        if (session->has_condstore)
            text_addf(&session->out, "%sMODSEQ (%" PRIu64 ")", store->is_silent ? "" : " ", message->modseq);
        text_puts(&session->out, ")\r\n");
    }
    /* Silence is for what this client does itself; what another did before is still to be told. */
    if (!store->is_silent || was_told)
        seen->modseq = message->modseq;
}

const char *do_store(struct session *session, struct cursor *arguments)
{
    struct store store = {0};
    struct text modified = {0};
    bool has_lost = false;
    if (!parse_store(arguments, &store)) {
        free(store.flags);
        return "BAD STORE set FLAGS (flags)";
    }
    session->has_condstore = session->has_condstore || store.is_conditional;
    for (size_t i = 0; i < session->seen_len && !session->is_read_only; i++) {
        if (!sync_is_in(session, store.set, i))
            continue;
        struct message *message = mailbox_message(session->mailbox, session->seen[i].uid);
        if (message == NULL)
            has_lost = true;
        else if (store.is_conditional && message->modseq > store.unchanged_since)
            text_addf(&modified, "%s%zu", modified.len > 0 ? "," : "", session->is_uid ? (size_t)message->uid : i + 1);
        else
            store_one(session, &store, message, i);
    }
    if (modified.len > 0)
        text_addf(&session->code, "MODIFIED %s", modified.bytes);
    text_free(&modified);
    free(store.flags);
    if (session->is_read_only)
        return "NO [READ-ONLY] Opened with EXAMINE";
    sync_wake(session->imapd, session->mailbox);
    return has_lost ? "NO [EXPUNGEISSUED] Some are gone" : "OK Stored";
}

/* ---- COPY, MOVE ---- */

struct copied {
    uint32_t *from, *to;
    size_t len;
};

static void copy_one(struct session *session, struct mailbox *target, uint32_t uid, struct copied *copied)
{
    struct text content = {0};
    if (!mailbox_read(session->mailbox, uid, &content))
        server_fail("cannot read a message");
    struct message *message = mailbox_message(session->mailbox, uid);
    char *flags = strdup(message->flags);
    copied->from[copied->len] = uid;
    copied->to[copied->len++] = mailbox_add(target, (struct slice){content.bytes, content.len}, flags, message->date);
    free(flags);
    text_free(&content);
}

/* COPYUID validity from to (RFC 4315 §3). */
static void add_copyuid(struct session *session, const struct mailbox *target, const struct copied *copied,
                        struct text *out)
{
    if (copied->len == 0 || !imapd_has(session, "UIDPLUS"))
        return;
    text_addf(out, "COPYUID %" PRIu32 " ", target->uid_validity);
    sync_add_set(out, copied->from, copied->len);
    text_puts(out, " ");
    sync_add_set(out, copied->to, copied->len);
}

static void copy_all(struct session *session, struct mailbox *target, struct slice set, bool is_move)
{
    struct copied copied = {calloc(session->seen_len + 1, sizeof(uint32_t)),
                            calloc(session->seen_len + 1, sizeof(uint32_t)), 0};
    struct text code = {0};
    if (copied.from == NULL || copied.to == NULL)
        abort();
    for (size_t i = 0; i < session->seen_len; i++)
        if (sync_is_in(session, set, i) && mailbox_message(session->mailbox, session->seen[i].uid) != NULL)
            copy_one(session, target, session->seen[i].uid, &copied);
    add_copyuid(session, target, &copied, &code);
    if (is_move && code.len > 0)
        text_addf(&session->out, "* OK [%s] Moved\r\n", code.bytes);
    else if (code.len > 0)
        text_add(&session->code, code.bytes, code.len);
    for (size_t i = 0; is_move && i < copied.len; i++)
        mailbox_expunge(session->mailbox, copied.from[i]);
    text_free(&code);
    free(copied.from);
    free(copied.to);
}

const char *do_copy(struct session *session, struct cursor *arguments)
{
    struct slice set;
    char *name = NULL;
    bool is_move = strcmp(session->verb, "move") == 0;
    const char *result = "BAD COPY set mailbox";
    if (take_space(arguments) && take_set(arguments, &set) && take_space(arguments) &&
        take_mailbox(session, arguments, &name) && take_end(arguments)) {
        struct mailbox *target = mailbox_find(session->imapd, name);
        if (target == NULL)
            result = "NO [TRYCREATE] There is no such mailbox";
        else if (is_move && session->is_read_only)
            result = "NO [READ-ONLY] Opened with EXAMINE";
        else {
            copy_all(session, target, set, is_move);
            sync_wake(session->imapd, target);
            sync_wake(session->imapd, session->mailbox);
            result = is_move ? "OK Moved" : "OK Copied";
        }
    }
    free(name);
    return result;
}

/* ---- EXPUNGE, CLOSE ---- */

static void expunge(struct session *session, const struct slice *uids)
{
    struct mailbox *mailbox = session->mailbox;
    for (size_t i = mailbox->len; i-- > 0;) {
        const struct message *message = &mailbox->messages[i];
        if (flags_have(message->flags, "\\Deleted") &&
            (uids == NULL || set_has(*uids, message->uid, sync_highest(session))))
            mailbox_expunge(mailbox, message->uid);
    }
    sync_wake(session->imapd, mailbox);
}

const char *do_expunge(struct session *session, struct cursor *arguments)
{
    struct slice set;
    bool has_set = session->is_uid;
    if (has_set && (!imapd_has(session, "UIDPLUS") || !take_space(arguments) || !take_set(arguments, &set)))
        return "BAD UID EXPUNGE set";
    if (!take_end(arguments))
        return "BAD EXPUNGE";
    if (session->is_read_only)
        return "NO [READ-ONLY] Opened with EXAMINE";
    expunge(session, has_set ? &set : NULL);
    return "OK Expunged";
}

const char *do_close(struct session *session, struct cursor *arguments)
{
    if (!take_end(arguments))
        return "BAD CLOSE";
    if (!session->is_read_only)
        expunge(session, NULL);
    sync_unselect(session);
    return "OK Closed";
}

/* ---- APPEND ---- */

const char *append_refusal(struct session *session, struct cursor arguments)
{
    char *name = NULL;
    const char *result = "BAD APPEND mailbox {literal}";
    if (!session->is_authenticated)
        result = "BAD Not now";
    else if (take_space(&arguments) && take_mailbox(session, &arguments, &name)) {
        pthread_mutex_lock(&session->imapd->mail);
        result = mailbox_find(session->imapd, name) == NULL ? "NO [TRYCREATE] There is no such mailbox" : NULL;
        pthread_mutex_unlock(&session->imapd->mail);
    }
    free(name);
    return result;
}

struct appended {
    char *flags, *content;
    size_t content_len;
    int64_t date;
    struct appended *next;
};

/* [SP flag-list] [SP date-time] SP (literal / "UTF8" SP "(" literal8 ")") */
static struct appended *parse_appended(struct session *session, struct cursor *arguments)
{
    struct appended *message = calloc(1, sizeof(*message));
    if (message == NULL)
        abort();
    message->date = time(NULL);
    bool is_good = take_space(arguments);
    if (is_good && arguments->at < arguments->end && *arguments->at == '(')
        is_good = take_flags(arguments, &message->flags) && take_space(arguments);
    if (is_good && arguments->at < arguments->end && *arguments->at == '"')
        is_good = take_date_time(arguments, &message->date) && take_space(arguments);
    bool is_utf8 = is_good && imapd_has(session, "UTF8=ACCEPT") && take_word(arguments, "UTF8");
    if (is_utf8)
        is_good = take_space(arguments) && take_char(arguments, '(') && take_char(arguments, '~');
    if (is_good && arguments->at < arguments->end && *arguments->at == '{' &&
        take_string(arguments, &message->content, &message->content_len) && (!is_utf8 || take_char(arguments, ')')))
        return message;
    free(message->content);
    free(message->flags);
    free(message);
    return NULL;
}

/* Stores all or nothing (RFC 3502). */
static void append_all(struct session *session, struct mailbox *target, const struct appended *first)
{
    struct text uids = {0};
    for (; first != NULL; first = first->next) {
        uint32_t uid = mailbox_add(target, (struct slice){first->content, first->content_len},
                                   first->flags != NULL ? first->flags : "", first->date);
        text_addf(&uids, "%s%" PRIu32, uids.len > 0 ? "," : "", uid);
    }
    if (imapd_has(session, "UIDPLUS"))
        text_addf(&session->code, "APPENDUID %" PRIu32 " %s", target->uid_validity, uids.bytes);
    text_free(&uids);
    sync_wake(session->imapd, target);
}

static bool has_nul(const struct appended *first)
{
    for (; first != NULL; first = first->next)
        if (memchr(first->content, '\0', first->content_len) != NULL)
            return true;
    return false;
}

const char *do_append(struct session *session, struct cursor *arguments)
{
    char *name = NULL;
    struct appended *first = NULL, **end = &first;
    size_t count = 0;
    bool is_good = take_space(arguments) && take_mailbox(session, arguments, &name);
    while (is_good && !take_end(arguments)) {
        *end = parse_appended(session, arguments);
        is_good = *end != NULL;
        end = is_good ? &(*end)->next : end;
        count++;
    }
    struct mailbox *target = is_good ? mailbox_find(session->imapd, name) : NULL;
    const char *result = "OK Appended";
    if (!is_good || count == 0 || (count > 1 && !imapd_has(session, "MULTIAPPEND")))
        result = "BAD APPEND mailbox {literal}";
    else if (target == NULL)
        result = "NO [TRYCREATE] There is no such mailbox";
    else if (has_nul(first))
        result = "NO [CANNOT] There is a NUL in it";
    else
        append_all(session, target, first);
    free(name);
    for (struct appended *next; first != NULL; first = next) {
        next = first->next;
        free(first->flags);
        free(first->content);
        free(first);
    }
    return result;
}
