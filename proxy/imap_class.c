/*
 * What messages are that nothing is known of: asked of the server, some at a time. Its answer for one may come in
 * several responses, with those for others between; it is whole, or not, when the tagged reply has come.
 */
#include "proxy/imap_prepare.h"

#include "proxy/imap_classify.h"

#include <stdlib.h>

/* A server answers for this many before it is asked for more: the client may want to hear of progress, or leave. */
#define CLASSIFY_MAX 4096
/* Commands stay short where what is asked of lies scattered. */
#define RANGES_MAX 256
/* Answers that come in several responses, until all of them are there: of one message, and of all. */
#define GATHERED_ONE_MAX ((size_t)1 << 20)
#define GATHERED_MAX ((size_t)16 << 20)
/* Each is put to all that came before: servers that say what we ask for in more of them mean no good. */
#define PARTS_MAX 16
/* Fields that Autocrypt looks at. */
#define FIELDS_MAX ((size_t)65536)

void imap_class_drop(struct imap_prepare *prepare, size_t index)
{
    struct imap_pending *pending = &prepare->pending[index];
    if (!pending->gathered)
        return;
    prepare->gathered_size -= pending->gathered->len;
    buf_fini(pending->gathered);
    free(pending->gathered);
    pending->gathered = NULL;
}

/* What a plain message tells by Autocrypt. Where it cannot be kept the message is shown all the same. */
static void hear(struct imap_session *session, const struct imap_answer *answers, size_t len)
{
    struct buf fields;
    if (!imap_mailbox_is_heard(session->mailbox))
        return;
    buf_init(&fields, FIELDS_MAX);
    enum err err = imap_classify_fields(answers, len, &fields);
    if (err == ERR_OK)
        imap_mailbox_hear_fields(session->mailbox, buf_span(&fields));
    else if (err != ERR_NOT_FOUND)
        log_failure(err, "%s: reading what a message says of keys", session->peer);
    buf_fini(&fields);
}

static void note_class(struct imap_prepare *prepare, size_t index, bool is_candidate, const struct imap_answer *answers,
                       size_t len)
{
    struct imap_session *session = imap_prepare_session(prepare);
    struct imap_target *target = &prepare->targets[index];
    struct imap_pending *pending = &prepare->pending[index];
    if (is_candidate && pending->size > session->net->config->message_max) {
        log_info("%s: message with UID %u is too large to be opened: shown as it came", session->peer, target->uid);
        is_candidate = false;
    }
    if (is_candidate) {
        target->class = IMAP_CLASS_CANDIDATE;
        struct imap_candidate candidate = {.size = pending->size};
        candidate.has_alias = imap_classify_alias(answers, len, candidate.alias);
        imap_mailbox_set_candidate(session->mailbox, target->uid, &candidate);
        pending->state = PENDING_RAW;
        if ((prepare->needs & IMAP_PREPARE_CLASS) != 0)
            imap_prepare_settle(prepare, index, ERR_OK);
        return;
    }
    hear(session, answers, len);
    target->class = IMAP_CLASS_PLAIN;
    imap_mailbox_set_plain(session->mailbox, target->uid);
    imap_prepare_settle(prepare, index, ERR_OK);
}

/* False: this is not all that was asked. */
static bool take_class(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len)
{
    bool is_candidate;
    enum err err = imap_classify(answers, len, &is_candidate, &prepare->pending[index].size);
    if (err == ERR_OK)
        note_class(prepare, index, is_candidate, answers, len);
    else if (err != ERR_NOT_FOUND)
        imap_prepare_settle(prepare, index, err);
    return err != ERR_NOT_FOUND;
}

bool imap_class_is_ours(const struct imap_answer *answers, size_t len)
{
    bool is_name = len > 0;
    for (size_t i = 0; i < len; i++) {
        if (imap_answer_is_content(&answers[i]))
            return true;
        is_name = is_name && (span_is_case_equal(answers[i].label, SPAN_LIT("UID")) ||
                              span_is_case_equal(answers[i].label, SPAN_LIT("EMAILID")) ||
                              span_is_case_equal(answers[i].label, SPAN_LIT("X-GM-MSGID")));
    }
    return is_name;
}

/* What there is no room for is as if it had never come. */
static void gather(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len)
{
    struct imap_pending *pending = &prepare->pending[index];
    if (pending->parts > PARTS_MAX)
        return;
    if (!pending->gathered) {
        pending->gathered = malloc(sizeof *pending->gathered);
        if (pending->gathered)
            buf_init(pending->gathered, GATHERED_ONE_MAX);
    }
    enum err err = ERR_MEMORY;
    if (pending->gathered) {
        prepare->gathered_size -= pending->gathered->len;
        err = imap_answers_gather(pending->gathered, answers, len);
        prepare->gathered_size += pending->gathered->len;
    }
    if (err == ERR_OK && (++pending->parts > PARTS_MAX || prepare->gathered_size > GATHERED_MAX))
        err = ERR_LIMIT;
    if (err == ERR_OK)
        return;
    log_failure(err, "%s: what the server says of the message with UID %u", imap_prepare_session(prepare)->peer,
                prepare->targets[index].uid);
    imap_class_drop(prepare, index);
}

bool imap_class_hear(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len,
                     const struct imap_unit *unit)
{
    if (take_class(prepare, index, answers, len))
        return true;
    if (!imap_class_is_ours(answers, len))
        return false;
    if (imap_unit_is_whole(unit))
        gather(prepare, index, answers, len);
    return true;
}

/* What has come in several responses is all there now, or is missing. */
static void take_gathered(struct imap_prepare *prepare)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    for (size_t i = 0; i < prepare->len; i++) {
        if (prepare->pending[i].state != PENDING_ASKED || !prepare->pending[i].gathered)
            continue;
        imap_cursor_init_text(&cursor, buf_span(prepare->pending[i].gathered));
        if (imap_fetch_answers(&cursor, answers, &len) == ERR_OK)
            (void)take_class(prepare, i, answers, len);
        imap_class_drop(prepare, i);
    }
}

static void on_classified(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_prepare *prepare = context;
    (void)client;
    take_gathered(prepare);
    imap_prepare_answered(prepare, PENDING_ASKED, reply);
}

enum err imap_class_step(struct imap_prepare *prepare)
{
    struct imap_client *upstream = imap_prepare_session(prepare)->upstream;
    uint32_t features = upstream ? imap_client_capabilities(upstream)->features : 0;
    size_t asked = 0, ranges = 0;
    uint32_t before = 0;
    for (; prepare->next < prepare->len && asked < CLASSIFY_MAX; prepare->next++) {
        struct imap_pending *pending = &prepare->pending[prepare->next];
        uint32_t number = prepare->targets[prepare->next].number;
        if (pending->state != PENDING_CLASS)
            continue;
        ranges += before + 1 != number;
        if (ranges > RANGES_MAX)
            break;
        before = number;
        pending->state = PENDING_ASKED;
        asked++;
    }
    return asked > 0 ? imap_prepare_ask(prepare, PENDING_ASKED, imap_classify_items(features), on_classified) : ERR_OK;
}
