/*
 * Commands that pass through: the server answers, the client hears it.
 */
#include "proxy/imap_internal.h"

#include <string.h>

static void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_work *work = context;
    (void)client;
    imap_work_reply(work, reply);
}

/* STATUS=SIZE is the sum of what the server holds, not of what the client would see; and LIST-STATUS asks for it in the
   same words. */
static bool asks_for_size(const struct imap_command *command)
{
    struct imap_cursor cursor = command->arguments;
    struct imap_string mailbox;
    struct span word;
    if (command->verb == IMAP_STATUS && (!imap_take_astring(&cursor, &mailbox) || !imap_take_space(&cursor)))
        return false;
    if (command->verb != IMAP_STATUS && command->verb != IMAP_LIST)
        return false;
    while (!imap_at_end(&cursor)) {
        if (imap_take_atom(&cursor, &word)) {
            if (span_is_case_equal(word, SPAN_LIT("SIZE")))
                return true;
        } else
            cursor.at++;
    }
    return false;
}

static void relay_start(struct imap_work *work)
{
    struct imap_out out;
    if (asks_for_size(work->command)) {
        imap_work_fail(work, ERR_COMMAND_UNKNOWN);
        return;
    }
    imap_out_init(&out);
    imap_out_command(&out, work->command);
    imap_session_send(work->session, &out, NULL, on_reply, work);
}

const struct imap_work_type imap_relay_type = {.name = "relay", .start = relay_start, .size = sizeof(struct imap_work)};

/* ---- IDLE (RFC 2177) ---- */

static void on_idling(struct imap_client *client, struct span text, void *context)
{
    struct imap_work *work = context;
    (void)client;
    (void)text;
    if (work->session->server != NULL)
        imap_server_idle(work->session->server);
}

static void idle_start(struct imap_work *work)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("IDLE"));
    imap_session_send(work->session, &out, on_idling, on_reply, work);
}

/* A client that goes away in the middle of IDLE has not said DONE; the server must hear it before anything else. */
static void idle_fini(struct imap_work *work)
{
    if (work->is_done || work->session->upstream == NULL)
        return;
    enum err err = imap_client_line(work->session->upstream, "DONE");
    if (err != ERR_OK)
        log_failure(err, "ending IDLE");
}

const struct imap_work_type imap_idle_type = {
    .name = "idle", .start = idle_start, .fini = idle_fini, .size = sizeof(struct imap_work)};

/* ---- ENABLE (RFC 5161): what the client was not shown it cannot enable ---- */

static void enable_start(struct imap_work *work)
{
    struct imap_session *session = work->session;
    struct imap_cursor cursor = work->command->arguments;
    struct imap_out out;
    struct span word;
    char name[64];
    size_t len = 0;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("ENABLE"));
    while (imap_take_atom(&cursor, &word)) {
        if (span_copy(word, name, sizeof(name)) && imap_capabilities_has(buf_span(&session->shown), name)) {
            imap_out_addf(&out, " %s", name);
            len++;
        }
        if (!imap_take_space(&cursor))
            break;
    }
    if (!imap_at_end(&cursor)) {
        imap_out_fini(&out);
        imap_work_fail(work, ERR_COMMAND_SYNTAX);
    } else if (len == 0) {
        imap_out_fini(&out);
        imap_server_write(session->server, SPAN_LIT("* ENABLED\r\n"));
        imap_server_done(session->server, work->command->tag, IMAP_OK, NULL, "Enabled.");
        imap_work_done(work);
    } else
        imap_session_send(session, &out, NULL, on_reply, work);
}

static enum imap_fate enable_on_head(struct imap_work *work, const struct imap_head *head)
{
    static const struct span utf8 = SPAN_LIT("UTF8=ACCEPT");
    if (span_is_case_equal(head->word, SPAN_LIT("ENABLED")) && span_find_case(head->text, 0, utf8) != SIZE_MAX)
        work->session->has_utf8 = true;
    return IMAP_FATE_PASS;
}

const struct imap_work_type imap_enable_type = {
    .name = "enable", .start = enable_start, .on_head = enable_on_head, .size = sizeof(struct imap_work)};
