/*
 * What the server says (RFC 3501 §7): responses cut into fragments and literals, kept as a whole or streamed, as the
 * owner wants; tagged responses to their commands. Literals that are streamed are never looked at.
 */
#include "imap/client_internal.h"

#include "base/log.h"
#include "base/memfd.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LITERAL_HERE 65536u
/* Only messages are long: a literal in another response that is kept is a name or a value. */
#define LITERAL_OTHER_MAX ((uint64_t)1 << 20)
#define PIECE_SIZE 65536u
#define LINE_KEPT_MAX 1024u /* an idle session shall be small */
/* A server that is not logged in to has little to say, and each word of it starts the time anew that it may take. */
#define BEFORE_LOGIN_MAX 65536u

/* ---- reading words ---- */

bool imap_client_parse_reply(struct span rest, struct imap_reply *reply_out)
{
    static const struct {
        const char *word;
        enum imap_status status;
    } words[] = {{"OK", IMAP_OK}, {"NO", IMAP_NO}, {"BAD", IMAP_BAD}};
    struct imap_cursor cursor;
    imap_cursor_init_text(&cursor, rest);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!imap_take_word(&cursor, words[i].word))
            continue;
        *reply_out = (struct imap_reply){.status = words[i].status, .code = SPAN_NONE, .rest = rest};
        if (imap_take_space(&cursor) && imap_peek(&cursor) == '[')
            (void)imap_take_code(&cursor, &reply_out->code);
        return true;
    }
    return false;
}

/* response-data = "*" SP (resp-cond-state / resp-cond-bye / mailbox-data / message-data / capability-data) CRLF */
static bool parse_head(struct imap_client *client, struct span text)
{
    static const struct {
        const char *word;
        enum imap_response_kind kind;
        bool has_number;
    } words[] = {{"FETCH", IMAP_RESPONSE_FETCH, true},     {"EXISTS", IMAP_RESPONSE_EXISTS, true},
                 {"EXPUNGE", IMAP_RESPONSE_EXPUNGE, true}, {"RECENT", IMAP_RESPONSE_RECENT, true},
                 {"OK", IMAP_RESPONSE_STATUS, false},      {"NO", IMAP_RESPONSE_STATUS, false},
                 {"BAD", IMAP_RESPONSE_STATUS, false},     {"BYE", IMAP_RESPONSE_BYE, false},
                 {"PREAUTH", IMAP_RESPONSE_STATUS, false}};
    struct imap_head *head = &client->head;
    struct imap_cursor cursor;
    uint64_t number = 0;
    imap_cursor_init_text(&cursor, text);
    *head = (struct imap_head){.kind = IMAP_RESPONSE_OTHER, .text = text};
    if (!imap_take_char(&cursor, '*') || !imap_take_space(&cursor))
        return false;
    bool has_number = imap_peek(&cursor) >= '0' && imap_peek(&cursor) <= '9';
    if (has_number && (!imap_take_number(&cursor, UINT32_MAX, &number) || !imap_take_space(&cursor)))
        return false;
    if (!imap_take_atom(&cursor, &head->word))
        return false;
    head->number = (uint32_t)number;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (has_number == words[i].has_number && span_is_case_equal(head->word, span_of(words[i].word)))
            head->kind = words[i].kind;
    client->word_at = (size_t)(head->word.ptr - text.ptr);
    client->word_len = head->word.len;
    client->first_len = text.len;
    /* message-data = nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att)); msg-att = "(" ... (RFC 3501 §9) */
    if (head->kind == IMAP_RESPONSE_FETCH)
        return number > 0 && imap_take_space(&cursor) && imap_peek(&cursor) == '(';
    return head->kind != IMAP_RESPONSE_EXPUNGE || number > 0;
}

static bool is_word(const struct imap_client *client, const char *word)
{
    return span_is_case_equal(client->head.word, span_of(word));
}

/* ---- what concerns the session itself ---- */

static void take_greeting(struct imap_client *client, struct span rest)
{
    struct imap_reply reply;
    if (!is_word(client, "OK") || !imap_client_parse_reply(rest, &reply)) {
        /* PREAUTH: whoever sent it chose the account, and the capabilities, in clear (design 1.1.9). */
        imap_client_fail(client, log_failure(ERR_UPSTREAM_PROTOCOL, "%s: no greeting", conn_peer(client->conn)));
        return;
    }
    imap_client_hear_code(client, reply.code);
    imap_client_take_greeting(client);
}

/* Takes note of what is for us. False: it is not for the owner. */
static bool hear(struct imap_client *client)
{
    struct span rest = span_skip(client->head.text, client->word_at);
    struct imap_reply reply;
    if (client->head.kind == IMAP_RESPONSE_BYE) {
        struct span words = span_trim(rest);
        log_info("%s: the server says %.*s", conn_peer(client->conn), words.len < 500 ? (int)words.len : 500,
                 words.ptr);
        imap_client_fail(client, ERR_UPSTREAM_REJECTED);
        return false;
    }
    if (client->state == CLIENT_GREETING) {
        take_greeting(client, rest);
        return false;
    }
    if (is_word(client, "PREAUTH"))
        imap_client_fail(client, ERR_UPSTREAM_PROTOCOL);
    else if (is_word(client, "CAPABILITY"))
        imap_client_hear_capabilities(client, span_skip(rest, client->word_len));
    else if (is_word(client, "OK") && imap_client_parse_reply(rest, &reply))
        imap_client_hear_code(client, reply.code);
    return client->state == CLIENT_READY && client->failure == ERR_OK && !client->is_quitting;
}

/* ---- untagged responses ---- */

static void drop_file(struct imap_client *client)
{
    if (client->literal_fd >= 0)
        close(client->literal_fd);
    client->literal_fd = -1;
}

void imap_client_drop_response(struct imap_client *client)
{
    drop_file(client);
    if (client->unit != NULL)
        imap_unit_fini(client->unit);
    free(client->unit);
    client->unit = NULL;
    client->mode = RESPONSE_NONE;
}

static enum err begin_unit(struct imap_client *client)
{
    if (client->unit != NULL)
        return ERR_OK;
    client->unit = calloc(1, sizeof *client->unit);
    if (client->unit == NULL)
        return ERR_MEMORY;
    imap_unit_init(client->unit, client->options.response_max, false);
    return ERR_OK;
}

/* A message that is longer than what may be kept is read and forgotten: the owner sees that it is GONE. */
static enum err begin_literal(struct imap_client *client)
{
    uint64_t len = client->mark.len;
    client->place = IMAP_LITERAL_GONE;
    if (client->mode == RESPONSE_KEPT && len <= LITERAL_HERE)
        client->place = IMAP_LITERAL_HERE;
    else if (client->mode == RESPONSE_KEPT && client->head.kind != IMAP_RESPONSE_FETCH && len > LITERAL_OTHER_MAX)
        return ERR_UPSTREAM_PROTOCOL;
    else if (client->mode == RESPONSE_KEPT && len <= client->options.literal_max)
        client->place = IMAP_LITERAL_FILE;
    client->piece_taken = 0;
    if (client->place == IMAP_LITERAL_FILE)
        return memfd_new("imap-literal", &client->literal_fd);
    return imap_unit_literal(client->unit, client->place, len, -1);
}

static void end_response(struct imap_client *client)
{
    struct span text = buf_span(&client->unit->text);
    client->head.text = span_slice(text, 0, client->first_len);
    client->head.word = span_slice(text, client->word_at, client->word_at + client->word_len);
    client->mode = RESPONSE_NONE;
    client->options.handlers->on_response(client, &client->head, client->unit, client->options.owner);
    if (client->unit != NULL)
        imap_unit_clear(client->unit);
}

/* A fragment of an untagged response whose mode is known. */
static enum err take_fragment(struct imap_client *client, struct span text)
{
    if (client->mode == RESPONSE_DROPPED) {
        if (!client->mark.is_there)
            client->mode = RESPONSE_NONE;
        client->place = IMAP_LITERAL_GONE;
        return ERR_OK;
    }
    enum err err = imap_unit_text(client->unit, text);
    if (err != ERR_OK)
        return err;
    if (client->mode == RESPONSE_STREAMED)
        client->options.handlers->on_text(client, text, &client->mark, client->options.owner);
    if (imap_client_is_over(client))
        return ERR_OK;
    if (client->mark.is_there)
        return begin_literal(client);
    end_response(client);
    return ERR_OK;
}

static enum err begin_response(struct imap_client *client, struct span text)
{
    const struct imap_client_handlers *handlers = client->options.handlers;
    if (!parse_head(client, text))
        return ERR_UPSTREAM_PROTOCOL;
    if (client->head.kind == IMAP_RESPONSE_STATUS || client->head.kind == IMAP_RESPONSE_BYE) {
        /* resp-text is text to the end of the line: braces mean nothing there. */
        client->mark = (struct imap_literal_mark){0};
        client->splitter.literal_left = 0;
    }
    client->mode = RESPONSE_DROPPED;
    if (hear(client)) {
        enum err err = begin_unit(client);
        if (err != ERR_OK)
            return err;
        client->mode = RESPONSE_KEPT;
        if (handlers->on_head != NULL && handlers->on_head(client, &client->head, client->options.owner))
            client->mode = RESPONSE_STREAMED;
    }
    return imap_client_is_over(client) ? ERR_OK : take_fragment(client, text);
}

/* ---- literals ---- */

static enum err keep_here(struct imap_client *client, struct evbuffer *input, size_t count)
{
    enum err err = ERR_OK;
    while (count > 0 && err == ERR_OK) {
        struct evbuffer_iovec block;
        if (evbuffer_peek(input, -1, NULL, &block, 1) < 1)
            return ERR_INTERNAL;
        size_t part = block.iov_len < count ? block.iov_len : count;
        err = imap_unit_literal_bytes(client->unit, (struct span){block.iov_base, part});
        evbuffer_drain(input, part);
        count -= part;
    }
    return err;
}

static enum err keep_in_file(struct imap_client *client, struct evbuffer *input, size_t count)
{
    while (count > 0) {
        int written = evbuffer_write_atmost(input, client->literal_fd, (ev_ssize_t)count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return log_failure(ERR_DISK_FULL, "%s: keeping a message", conn_peer(client->conn));
        count -= (size_t)written;
    }
    return ERR_OK;
}

static enum err seal_file(struct imap_client *client)
{
    int fd = client->literal_fd;
    enum err err = memfd_seal(fd);
    if (err != ERR_OK)
        return err;
    client->literal_fd = -1;
    return imap_unit_literal(client->unit, IMAP_LITERAL_FILE, client->mark.len, fd);
}

/* What the owner leaves of its bytes is removed all the same: they must not be read as text. */
static void stream(struct imap_client *client, struct evbuffer *input, size_t count)
{
    size_t before = evbuffer_get_length(input);
    client->options.handlers->on_literal(client, input, count, client->options.owner);
    size_t taken = before - evbuffer_get_length(input);
    if (taken < count)
        evbuffer_drain(input, count - taken);
}

static enum err take_literal(struct imap_client *client, struct evbuffer *input)
{
    size_t waiting = evbuffer_get_length(input);
    uint64_t left = client->splitter.literal_left;
    size_t count = left < waiting ? (size_t)left : waiting;
    enum err err = ERR_OK;
    if (count == 0)
        return ERR_AGAIN;
    if (client->mode == RESPONSE_STREAMED)
        stream(client, input, count);
    else if (client->place == IMAP_LITERAL_HERE)
        err = keep_here(client, input, count);
    else if (client->place == IMAP_LITERAL_FILE)
        err = keep_in_file(client, input, count);
    else
        evbuffer_drain(input, count);
    imap_splitter_took(&client->splitter, count);
    client->piece_taken += count;
    if (client->piece_taken >= PIECE_SIZE || client->splitter.literal_left == 0) {
        client->piece_taken = 0;
        client->has_moved = true;
    }
    return err;
}

/* ---- tagged responses and continuations ---- */

/* response-tagged = tag SP resp-cond-state CRLF */
static enum err take_tagged(struct imap_client *client, struct span text)
{
    size_t end = span_find_byte(text, 0, ' ');
    uint64_t number;
    if (text.ptr[0] != 'P' || !span_to_u64(span_slice(text, 1, end), UINT64_MAX, &number))
        return ERR_UPSTREAM_PROTOCOL;
    struct client_command *command = imap_client_find(client, number);
    if (command == NULL)
        return ERR_UPSTREAM_PROTOCOL;
    imap_client_answer(client, command, span_skip(text, end + 1));
    return ERR_OK;
}

/* continue-req = "+" SP (resp-text / base64) CRLF; some servers leave the blank out. */
static enum err take_continuation(struct imap_client *client, struct span text)
{
    struct span words = span_slice(text, 1, text.len - 2);
    if (words.len > 0 && words.ptr[0] == ' ')
        words = span_skip(words, 1);
    return imap_client_continue(client) ? ERR_OK : imap_client_take_challenge(client, words);
}

static enum err take_text(struct imap_client *client, struct evbuffer *input)
{
    struct span text;
    enum err err = imap_splitter_text(&client->splitter, input, &text, &client->mark);
    if (err == ERR_AGAIN)
        conn_want_more(client->conn);
    if (err != ERR_OK)
        return err == ERR_AGAIN || err == ERR_MEMORY ? err : ERR_UPSTREAM_PROTOCOL;
    client->has_moved = true;
    if (client->mode != RESPONSE_NONE)
        return take_fragment(client, text);
    if (text.ptr[0] == '*')
        return begin_response(client, text);
    client->mark = (struct imap_literal_mark){0};
    client->splitter.literal_left = 0;
    return text.ptr[0] == '+' ? take_continuation(client, text) : take_tagged(client, text);
}

static enum err take_step(struct imap_client *client)
{
    struct evbuffer *input = conn_input(client->conn);
    if (!client->is_logged_in && client->heard + evbuffer_get_length(input) > BEFORE_LOGIN_MAX) {
        log_info("%s: the server says too much before login", conn_peer(client->conn));
        return ERR_LIMIT;
    }
    if (client->splitter.literal_left > 0)
        return take_literal(client, input);
    if (client->literal_fd >= 0) {
        enum err err = seal_file(client);
        if (err != ERR_OK)
            return err;
    }
    return take_text(client, input);
}

void imap_client_take_input(struct imap_client *client)
{
    struct evbuffer *input = conn_input(client->conn);
    enum err err = ERR_OK;
    while (err == ERR_OK && !client->is_paused && !imap_client_is_over(client) && client->state != CLIENT_HANDSHAKE) {
        size_t before = evbuffer_get_length(input);
        err = take_step(client);
        client->heard += before - evbuffer_get_length(input);
    }
    if (err != ERR_OK && err != ERR_AGAIN) {
        if (client->failure == ERR_OK)
            log_info("%s: the server's words make no sense: %s", conn_peer(client->conn), err_sentence(err));
        imap_client_fail(client, err == ERR_LIMIT ? ERR_UPSTREAM_PROTOCOL : err);
    }
    if (client->mode == RESPONSE_NONE)
        imap_client_drop_response(client);
    if (client->splitter.line.capacity > LINE_KEPT_MAX)
        buf_fini(&client->splitter.line);
    if (client->has_moved && !imap_client_is_over(client))
        imap_client_set_timeout(client);
    client->has_moved = false;
}
