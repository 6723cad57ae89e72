#include "tests/servers/imapd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct seen *add_seen(struct session *session, const struct message *message, bool is_recent)
{
    if (session->seen_len == session->seen_capacity) {
        size_t capacity = session->seen_capacity * 2 + 64;
        struct seen *seen = realloc(session->seen, capacity * sizeof(*seen));
        if (seen == NULL)
            abort();
        session->seen = seen;
        session->seen_capacity = capacity;
    }
    struct seen *seen = &session->seen[session->seen_len++];
    *seen = (struct seen){message->uid, message->modseq, is_recent};
    return seen;
}

/* Takes the new messages over; how many. Those that no session has seen yet are recent in this one. */
static size_t take_new(struct session *session)
{
    struct mailbox *mailbox = session->mailbox;
    uint32_t last = session->seen_len > 0 ? session->seen[session->seen_len - 1].uid : 0;
    size_t before = session->seen_len, at = mailbox->len;
    while (at > 0 && mailbox->messages[at - 1].uid > last)
        at--;
    for (; at < mailbox->len; at++)
        add_seen(session, &mailbox->messages[at], mailbox->messages[at].uid >= mailbox->first_recent);
    if (session->seen_len > before && !session->is_read_only && mailbox->first_recent < mailbox->uid_next)
        mailbox_set_recent(mailbox);
    return session->seen_len - before;
}

void sync_select(struct session *session, struct mailbox *mailbox)
{
    session->mailbox = mailbox;
    session->seen_len = 0;
    take_new(session);
}

void sync_unselect(struct session *session)
{
    session->mailbox = NULL;
    session->seen_len = 0;
}

void sync_add_flags(struct text *out, const struct message *message, const struct seen *seen)
{
    const char *blank = seen != NULL && seen->is_recent && message->flags[0] != '\0' ? " " : "";
    text_addf(out, "FLAGS (%s%s%s)", message->flags, blank, seen != NULL && seen->is_recent ? "\\Recent" : "");
}

static void tell_gone(struct session *session)
{
    size_t kept = 0;
    for (size_t i = 0; i < session->seen_len; i++) {
        if (mailbox_message(session->mailbox, session->seen[i].uid) != NULL)
            session->seen[kept++] = session->seen[i];
        else
            text_addf(&session->out, "* %zu EXPUNGE\r\n", kept + 1);
    }
    session->seen_len = kept;
}

static void tell_flags(struct session *session)
{
    for (size_t i = 0; i < session->seen_len; i++) {
        struct seen *seen = &session->seen[i];
        const struct message *message = mailbox_message(session->mailbox, seen->uid);
        if (message == NULL || message->modseq <= seen->modseq)
            continue;
        text_addf(&session->out, "* %zu FETCH (", i + 1);
        sync_add_flags(&session->out, message, seen);
        if (session->is_uid)
            text_addf(&session->out, " UID %" PRIu32, message->uid);
        if (session->has_condstore)
            text_addf(&session->out, " MODSEQ (%" PRIu64 ")", message->modseq);
        text_puts(&session->out, ")\r\n");
        seen->modseq = message->modseq;
    }
}

static size_t count_recent(const struct session *session)
{
    size_t count = 0;
    for (size_t i = 0; i < session->seen_len; i++)
        count += session->seen[i].is_recent;
    return count;
}

void sync_tell(struct session *session, bool may_expunge)
{
    if (session->mailbox == NULL)
        return;
    size_t before = session->seen_len;
    if (may_expunge)
        tell_gone(session);
    bool has_fewer = session->seen_len < before;
    tell_flags(session);
    if (take_new(session) > 0)
        text_addf(&session->out, "* %zu EXISTS\r\n* %zu RECENT\r\n", session->seen_len, count_recent(session));
    else if (has_fewer)
        text_addf(&session->out, "* %zu RECENT\r\n", count_recent(session));
}

void sync_wake(struct imapd *imapd, const struct mailbox *mailbox)
{
    const uint64_t one = 1;
    for (struct session *session = imapd->sessions; session != NULL; session = session->next)
        if (session->mailbox == mailbox && write(session->wakeup, &one, sizeof(one)) != sizeof(one))
            abort();
}

uint64_t sync_highest(const struct session *session)
{
    if (!session->is_uid || session->seen_len == 0)
        return session->seen_len;
    return session->seen[session->seen_len - 1].uid;
}

bool sync_is_in(const struct session *session, struct slice set, size_t index)
{
    return set_has(set, session->is_uid ? session->seen[index].uid : index + 1, sync_highest(session));
}

void sync_add_set(struct text *out, const uint32_t *numbers, size_t len)
{
    for (size_t i = 0, last; i < len; i = last + 1) {
        for (last = i; last + 1 < len && numbers[last + 1] == numbers[last] + 1;)
            last++;
        text_addf(out, "%s%" PRIu32, i > 0 ? "," : "", numbers[i]);
        if (last > i)
            text_addf(out, ":%" PRIu32, numbers[last]);
    }
}

/* Tells of what happens until the client says something. */
void sync_idle(struct session *session)
{
    struct pollfd wait[2] = {{session->io->fd, POLLIN, 0}, {session->wakeup, POLLIN, 0}};
    uint64_t count;
    while (!server_has_input(session->io)) {
        pthread_mutex_lock(&session->imapd->mail);
        sync_tell(session, true);
        pthread_mutex_unlock(&session->imapd->mail);
        imapd_flush(session);
        if (poll(wait, 2, -1) < 0 || wait[0].revents != 0)
            return;
        if (read(session->wakeup, &count, sizeof(count)) != sizeof(count))
            return;
    }
}
