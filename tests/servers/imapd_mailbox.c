/* Commands about mailboxes as a whole (RFC 3501 §6.3). */
#include "tests/servers/imapd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME_MAX_LEN 80

/* ---- LIST ---- */

/* "*" is anything, "%" anything within one level. */
static bool is_match(const char *pattern, const char *name)
{
    for (; *pattern != '\0'; pattern++, name++) {
        if (*pattern == '*' || *pattern == '%') {
            for (const char *rest = name;; rest++) {
                if (is_match(pattern + 1, rest))
                    return true;
                if (*rest == '\0' || (*pattern == '%' && *rest == '/'))
                    return false;
            }
        }
        if (*pattern != *name)
            return false;
    }
    return *name == '\0';
}

static bool is_child(const char *name, const char *parent)
{
    size_t len = strlen(parent);
    return strncmp(name, parent, len) == 0 && name[len] == '/';
}

static bool has_children(const struct imapd *imapd, const char *name)
{
    for (const struct mailbox *mailbox = imapd->mailboxes; mailbox != NULL; mailbox = mailbox->next)
        if (!mailbox->is_gone && is_child(mailbox->name, name))
            return true;
    return false;
}

static void say_mailbox(struct session *session, const char *word, const char *name)
{
    static const char *const uses[][2] = {
        {"Sent", "\\Sent"}, {"Drafts", "\\Drafts"}, {"Trash", "\\Trash"}, {"Junk", "\\Junk"}, {"Archive", "\\Archive"}};
    text_addf(&session->out, "* %s (%s", word,
              has_children(session->imapd, name) ? "\\HasChildren" : "\\HasNoChildren");
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
        if (strcmp(name, uses[i][0]) == 0 && imapd_has(session, "SPECIAL-USE"))
            text_addf(&session->out, " %s", uses[i][1]);
    text_puts(&session->out, ") \"/\" ");
    put_mailbox(session, name);
    text_puts(&session->out, "\r\n");
}

static const char *list(struct session *session, struct cursor *arguments, const char *word, bool only_subscribed)
{
    char *reference = NULL, *pattern = NULL;
    const char *result = "BAD LIST reference pattern";
    struct text whole = {0};
    if (take_space(arguments) && take_astring(arguments, &reference) && take_space(arguments) &&
        take_list_mailbox(arguments, &pattern) && take_end(arguments)) {
        text_addf(&whole, "%s%s", reference, pattern);
        if (pattern[0] == '\0')
            text_addf(&session->out, "* %s (\\Noselect) \"/\" \"\"\r\n", word);
        /* INBOX is written in any case. */
        if (strcasecmp(whole.bytes, "INBOX") == 0)
            memcpy(whole.bytes, "INBOX", 5);
        for (const struct mailbox *mailbox = session->imapd->mailboxes; mailbox != NULL; mailbox = mailbox->next)
            if (!mailbox->is_gone && is_match(whole.bytes, mailbox->name) &&
                (!only_subscribed || is_subscribed(session->imapd, mailbox->name)))
                say_mailbox(session, word, mailbox->name);
        result = "OK Listed";
    }
    free(reference);
    free(pattern);
    text_free(&whole);
    return result;
}

const char *do_list(struct session *session, struct cursor *arguments)
{
    return list(session, arguments, "LIST", false);
}

const char *do_lsub(struct session *session, struct cursor *arguments)
{
    return list(session, arguments, "LSUB", true);
}

const char *do_namespace(struct session *session, struct cursor *arguments)
{
    if (!take_end(arguments))
        return "BAD NAMESPACE";
    text_puts(&session->out, "* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
    return "OK Those are they";
}

/* ---- making, naming, ending ---- */

/* Each byte may take three in the name of its folder. */
static bool is_possible(const char *name)
{
    return name[0] != '\0' && name[0] != '/' && strlen(name) < NAME_MAX_LEN;
}

/* The one argument that is a mailbox name; NULL if it is not. The caller frees. */
static char *only_name(const struct session *session, struct cursor *arguments)
{
    char *name = NULL;
    if (take_space(arguments) && take_mailbox(session, arguments, &name) && take_end(arguments) && name[0] != '\0')
        return name;
    free(name);
    return NULL;
}

/* "a/b/c" makes "a" and "a/b" too, as RFC 3501 §6.3.3 would have it. */
static void create_with_parents(struct imapd *imapd, char *name)
{
    for (char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (name[0] != '\0' && mailbox_find(imapd, name) == NULL)
            mailbox_create(imapd, name);
        *slash = '/';
    }
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] != '/' && mailbox_find(imapd, name) == NULL)
        mailbox_create(imapd, name);
}

const char *do_create(struct session *session, struct cursor *arguments)
{
    char *name = only_name(session, arguments);
    if (name == NULL)
        return "BAD CREATE mailbox";
    const char *result = "OK Created";
    if (mailbox_find(session->imapd, name) != NULL)
        result = "NO [ALREADYEXISTS] There is one";
    else if (!is_possible(name))
        result = "NO [CANNOT] Not that name";
    else
        create_with_parents(session->imapd, name);
    free(name);
    return result;
}

const char *do_delete(struct session *session, struct cursor *arguments)
{
    char *name = only_name(session, arguments);
    if (name == NULL)
        return "BAD DELETE mailbox";
    struct mailbox *mailbox = mailbox_find(session->imapd, name);
    const char *result = "OK Deleted";
    if (mailbox == NULL)
        result = "NO [NONEXISTENT] There is none";
    else if (strcmp(mailbox->name, "INBOX") == 0 || has_children(session->imapd, name))
        result = "NO [CANNOT] Not this one";
    else {
        mailbox_delete(mailbox);
        sync_wake(session->imapd, mailbox);
    }
    free(name);
    return result;
}

/* INBOX stays, and its messages go (RFC 3501 §6.3.5). */
static void rename_inbox(struct imapd *imapd, struct mailbox *inbox, char *name)
{
    create_with_parents(imapd, name);
    struct mailbox *target = mailbox_find(imapd, name);
    while (inbox->len > 0) {
        struct text content = {0};
        const struct message *message = &inbox->messages[0];
        if (mailbox_read(inbox, message->uid, &content))
            mailbox_add(target, (struct slice){content.bytes, content.len}, message->flags, message->date);
        text_free(&content);
        mailbox_expunge(inbox, message->uid);
    }
    sync_wake(imapd, inbox);
}

static void rename_all(struct imapd *imapd, const char *from, char *to)
{
    char *slash = strrchr(to, '/');
    if (slash != NULL) {
        *slash = '\0';
        create_with_parents(imapd, to);
        *slash = '/';
    }
    for (struct mailbox *mailbox = imapd->mailboxes; mailbox != NULL; mailbox = mailbox->next) {
        if (mailbox->is_gone || (strcmp(mailbox->name, from) != 0 && !is_child(mailbox->name, from)))
            continue;
        struct text name = {0};
        text_addf(&name, "%s%s", to, mailbox->name + strlen(from));
        mailbox_rename(imapd, mailbox, name.bytes);
        text_free(&name);
    }
}

const char *do_rename(struct session *session, struct cursor *arguments)
{
    char *from = NULL, *to = NULL;
    const char *result = "BAD RENAME mailbox mailbox";
    if (take_space(arguments) && take_mailbox(session, arguments, &from) && take_space(arguments) &&
        take_mailbox(session, arguments, &to) && take_end(arguments) && to[0] != '\0') {
        struct mailbox *mailbox = mailbox_find(session->imapd, from);
        result = "OK Renamed";
        if (mailbox == NULL)
            result = "NO [NONEXISTENT] There is none";
        else if (mailbox_find(session->imapd, to) != NULL || is_child(to, from) || !is_possible(to))
            result = "NO [ALREADYEXISTS] There is one";
        else if (strcmp(mailbox->name, "INBOX") == 0)
            rename_inbox(session->imapd, mailbox, to);
        else
            rename_all(session->imapd, from, to);
    }
    free(from);
    free(to);
    return result;
}

static const char *set_subscription(struct session *session, struct cursor *arguments, bool is_on)
{
    char *name = only_name(session, arguments);
    if (name == NULL)
        return "BAD SUBSCRIBE mailbox";
    if (is_possible(name))
        subscribe(session->imapd, strcasecmp(name, "INBOX") == 0 ? "INBOX" : name, is_on);
    free(name);
    return "OK Noted";
}

const char *do_subscribe(struct session *session, struct cursor *arguments)
{
    return set_subscription(session, arguments, true);
}

const char *do_unsubscribe(struct session *session, struct cursor *arguments)
{
    return set_subscription(session, arguments, false);
}

/* ---- STATUS, SELECT ---- */

static size_t count_unseen(const struct mailbox *mailbox, size_t *first_out)
{
    size_t count = 0;
    *first_out = 0;
    for (size_t i = 0; i < mailbox->len; i++) {
        if (flags_have(mailbox->messages[i].flags, "\\Seen"))
            continue;
        if (count++ == 0)
            *first_out = i + 1;
    }
    return count;
}

static size_t count_recent(const struct mailbox *mailbox)
{
    size_t count = 0;
    for (size_t i = 0; i < mailbox->len; i++)
        count += mailbox->messages[i].uid >= mailbox->first_recent;
    return count;
}

static bool add_status(struct text *out, const struct mailbox *mailbox, struct slice item)
{
    size_t first;
    uint64_t number = 0;
    if (slice_is(item, "MESSAGES"))
        number = mailbox->len;
    else if (slice_is(item, "RECENT"))
        number = count_recent(mailbox);
    else if (slice_is(item, "UIDNEXT"))
        number = mailbox->uid_next;
    else if (slice_is(item, "UIDVALIDITY"))
        number = mailbox->uid_validity;
    else if (slice_is(item, "UNSEEN"))
        number = count_unseen(mailbox, &first);
    else if (slice_is(item, "HIGHESTMODSEQ"))
        number = mailbox->modseq;
    else
        return false;
    text_addf(out, "%s%.*s %" PRIu64, out->len > 0 ? " " : "", (int)item.len, item.at, number);
    return true;
}

const char *do_status(struct session *session, struct cursor *arguments)
{
    char *name = NULL;
    const char *result = "BAD STATUS mailbox (items)";
    struct text items = {0};
    if (take_space(arguments) && take_mailbox(session, arguments, &name) && take_space(arguments) &&
        take_char(arguments, '(')) {
        const struct mailbox *mailbox = mailbox_find(session->imapd, name);
        bool is_good = mailbox != NULL;
        struct slice item;
        while (is_good && take_atom(arguments, &item)) {
            is_good = add_status(&items, mailbox, item);
            take_space(arguments);
        }
        if (mailbox == NULL)
            result = "NO [NONEXISTENT] There is none";
        else if (is_good && take_char(arguments, ')') && take_end(arguments)) {
            text_puts(&session->out, "* STATUS ");
            put_mailbox(session, mailbox->name);
            text_addf(&session->out, " (%s)\r\n", items.len > 0 ? items.bytes : "");
            result = "OK That is it";
        }
    }
    free(name);
    text_free(&items);
    return result;
}

static void add_all_flags(struct text *flags, const struct mailbox *mailbox)
{
    char *all = strdup("\\Answered \\Flagged \\Deleted \\Seen \\Draft");
    for (size_t i = 0; i < mailbox->len; i++) {
        char *more = flags_change(all, mailbox->messages[i].flags, "");
        free(all);
        all = more;
    }
    text_puts(flags, all);
    free(all);
}

static void say_selected(struct session *session)
{
    struct mailbox *mailbox = session->mailbox;
    struct text flags = {0};
    size_t unseen, recent = 0;
    add_all_flags(&flags, mailbox);
    for (size_t i = 0; i < session->seen_len; i++)
        recent += session->seen[i].is_recent;
    text_puts(&session->out, "* FLAGS (");
    text_add(&session->out, flags.bytes, flags.len);
    text_puts(&session->out, ")\r\n* OK [PERMANENTFLAGS (");
    if (!session->is_read_only) {
        text_add(&session->out, flags.bytes, flags.len);
        text_puts(&session->out, " \\*");
    }
    text_addf(&session->out, ")] Flags\r\n* %zu EXISTS\r\n* %zu RECENT\r\n", session->seen_len, recent);
    if (count_unseen(mailbox, &unseen) > 0)
        text_addf(&session->out, "* OK [UNSEEN %zu] First\r\n", unseen);
    text_addf(&session->out, "* OK [UIDVALIDITY %" PRIu32 "] Valid\r\n* OK [UIDNEXT %" PRIu32 "] Next\r\n",
              mailbox->uid_validity, mailbox->uid_next);
    if (imapd_has(session, "CONDSTORE"))
        text_addf(&session->out, "* OK [HIGHESTMODSEQ %" PRIu64 "] Highest\r\n", mailbox->modseq);
    text_free(&flags);
}

/* SELECT and EXAMINE; parameters are those of CONDSTORE (RFC 7162 §3.1.8). */
const char *do_select(struct session *session, struct cursor *arguments)
{
    char *name = NULL;
    struct cursor ahead;
    bool is_good = take_space(arguments) && take_mailbox(session, arguments, &name);
    struct mailbox *mailbox = is_good ? mailbox_find(session->imapd, name) : NULL;
    free(name);
    ahead = *arguments;
    if (is_good && take_space(&ahead) && take_char(&ahead, '(') && take_word(&ahead, "CONDSTORE") &&
        take_char(&ahead, ')') && imapd_has(session, "CONDSTORE")) {
        session->has_condstore = true;
        *arguments = ahead;
    }
    if (!is_good || !take_end(arguments))
        return "BAD SELECT mailbox";
    sync_unselect(session);
    if (mailbox == NULL)
        return "NO [NONEXISTENT] There is none";
    session->is_read_only = strcmp(session->verb, "examine") == 0;
    sync_select(session, mailbox);
    say_selected(session);
    text_puts(&session->code, session->is_read_only ? "READ-ONLY" : "READ-WRITE");
    return "OK Selected";
}
