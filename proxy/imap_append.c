/*
 * APPEND: what a mail program saves is sealed to the account's own key on its way (design 1.2.7).
 *
 * All messages of a command are sealed before the first byte of it goes upstream, so that a failure stores nothing.
 */
#include "proxy/imap_internal.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* With the mailbox's name they are as many literals as a command may have (struct imap_out). */
#define MESSAGES_MAX 63u
#define MAILBOX_MAX 4096u

struct append_work;

struct appended {
    struct append_work *append;
    struct span before; /* flags and date as the client wrote them, with the blanks around them */
    bool is_utf8;       /* sent with the UTF8 data extension (RFC 6855 §4): its header may be in UTF-8 */
    int fd;             /* the message, then its sealed copy; -1 */
    uint64_t size;
    struct proxy_job *job;
};

struct append_work {
    struct imap_work work;
    struct buf mailbox;
    struct appended *messages;
    size_t len;
    size_t unsealed;
    struct proxy_ring_wait *ring_wait;
};

static bool is_shown(const struct imap_session *session, const char *capability)
{
    return imap_capabilities_has(buf_span(&session->shown), capability);
}

/* What the server takes at most of one message; UINT64_MAX if it does not say. */
static uint64_t server_limit(const struct imap_session *session)
{
    const struct imap_capabilities *offered =
        session->upstream == NULL ? NULL : imap_client_capabilities(session->upstream);
    bool says_so = offered != NULL && (offered->features & IMAP_HAS_APPENDLIMIT) != 0 && offered->append_limit > 0;
    return says_so ? offered->append_limit : UINT64_MAX;
}

enum err imap_append_on_literal(struct imap_session *session, const struct imap_command *command,
                                const struct imap_literal_mark *mark)
{
    uint64_t limit = session->net->config->message_max;
    uint64_t room = server_limit(session);
    if (mark->is_binary && !is_shown(session, "UTF8=ACCEPT"))
        return ERR_COMMAND_SYNTAX;
    if (command->unit.literals_len > MESSAGES_MAX)
        return ERR_LIMIT;
    if (room < UINT64_MAX && !imap_session_account(session)->append_plain)
        room = imap_append_room(room, IMAP_SEALED_PERCENT, IMAP_SEALED_HEADERS);
    limit = room < limit ? room : limit;
    return mark->len <= limit ? ERR_OK : ERR_TOO_BIG;
}

/* ---- upstream ---- */

static void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)client;
    imap_work_reply(context, reply);
}

static void send_sealed(struct append_work *append)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("APPEND "));
    imap_out_astring(&out, buf_span(&append->mailbox));
    for (size_t i = 0; i < append->len; i++) {
        struct appended *message = &append->messages[i];
        imap_out_text(&out, message->before);
        if (message->is_utf8)
            imap_out_text(&out, SPAN_LIT("UTF8 (~"));
        imap_out_file(&out, message->fd, message->size);
        if (message->is_utf8)
            imap_out_text(&out, SPAN_LIT(")"));
        message->fd = -1;
    }
    imap_session_send(append->work.session, &out, NULL, on_reply, append);
}

/* ---- sealing ---- */

static enum err take_sealed(struct appended *message, struct ipc_in *answer)
{
    const struct config *config = message->append->work.session->net->config;
    struct span content;
    size_t size = 0;
    uint64_t said = ipc_get_u64(answer);
    (void)ipc_get_u32(answer);
    int fd = ipc_get_file(answer);
    enum err err = ipc_in_end(answer);
    if (err == ERR_OK)
        err = memfd_check(fd, config->message_max * 2, &size);
    if (err == ERR_OK && size != said)
        err = ERR_PEER_PROTOCOL;
    if (err == ERR_OK && size > server_limit(message->append->work.session))
        err = ERR_TOO_BIG;
    if (err == ERR_OK)
        err = memfd_map(fd, config->message_max * 2, &content);
    if (err == ERR_OK) {
        /* The last look before anything is sent. */
        bool is_sealed =
            crypto_looks_sealed(content, CRYPTO_SEALED_OPENPGP) || crypto_looks_sealed(content, CRYPTO_SEALED_SMIME);
        err = is_sealed ? ERR_OK : ERR_NOT_SEALED;
        memfd_unmap(&content);
    }
    if (err != ERR_OK) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    close(message->fd);
    message->fd = fd;
    message->size = size;
    return ERR_OK;
}

static void on_sealed(enum err err, struct ipc_in *answer, void *context)
{
    struct appended *message = context;
    struct append_work *append = message->append;
    message->job = NULL;
    if (append->work.is_done)
        return;
    if (err == ERR_OK)
        err = take_sealed(message, answer);
    if (err != ERR_OK)
        imap_work_fail(&append->work, log_failure(err, "sealing what a mail program saves"));
    else if (--append->unsealed == 0)
        send_sealed(append);
}

static enum err seal_one(struct appended *message, const struct crypto_seal_request *request)
{
    struct imap_session *session = message->append->work.session;
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_OWN);
    proxy_put_seal(&out, request);
    ipc_put_file(&out, message->fd);
    return proxy_pool_submit(session->net->pool, session->account, &out, on_sealed, message, &message->job);
}

/* Whichever format the account has keys of, OpenPGP first. */
static enum err choose_own(const struct config_account *account, const struct keyring *keyring,
                           struct crypto_seal_request *request, char recipient_out[KEYRING_FPR_SIZE])
{
    static const enum keyring_format formats[] = {KEYRING_OPENPGP, KEYRING_SMIME};
    for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
        const struct keyring_entry *signer = proxy_own_key(account, keyring, formats[i], KEYRING_SIGN);
        const struct keyring_entry *reader = proxy_own_key(account, keyring, formats[i], KEYRING_ENCRYPT);
        if (signer == NULL || reader == NULL)
            continue;
        request->format = formats[i];
        memcpy(request->signer, signer->fingerprint, sizeof(request->signer));
        memcpy(recipient_out, reader->fingerprint, KEYRING_FPR_SIZE);
        return ERR_OK;
    }
    log_warning("%s has no own key to save messages with: nothing was saved", account->address);
    return ERR_NO_SIGNING_KEY;
}

static void on_keyring(enum err err, const struct keyring *keyring, void *context)
{
    struct append_work *append = context;
    const struct config_account *account = imap_session_account(append->work.session);
    char recipient[1][KEYRING_FPR_SIZE];
    struct crypto_seal_request request = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                                          .recipients = (const char(*)[KEYRING_FPR_SIZE])recipient,
                                          .recipients_len = 1};
    append->ring_wait = NULL;
    if (err == ERR_OK)
        err = choose_own(account, keyring, &request, recipient[0]);
    append->unsealed = append->len;
    for (size_t i = 0; err == ERR_OK && i < append->len; i++)
        err = seal_one(&append->messages[i], &request);
    if (err != ERR_OK)
        imap_work_fail(&append->work, err);
}

/* ---- the command ---- */

/* A NUL could not be shown again in an ordinary literal (RFC 3501 §9, CHAR8). */
static enum err check_content(const struct appended *message, size_t size_max)
{
    struct span content;
    enum err err = memfd_map(message->fd, size_max, &content);
    if (err != ERR_OK)
        return err;
    err = content.len > 0 && memchr(content.ptr, '\0', content.len) != NULL ? ERR_NUL : ERR_OK;
    memfd_unmap(&content);
    return err;
}

static enum err take_message(struct append_work *append, const struct imap_string *string, struct span before)
{
    size_t size_max = append->work.session->net->config->message_max;
    enum err err = ERR_OK;
    struct imap_command *command = append->work.command;
    struct appended *message = &append->messages[append->len];
    const struct imap_literal *literal = &command->unit.literals[string->literal];
    *message = (struct appended){.append = append, .before = before, .fd = -1, .size = string->len};
    append->len++;
    /* RFC 3502 §6.3.11: a message of no bytes calls the whole command off. */
    if (string->len == 0)
        return ERR_MALFORMED;
    if (literal->place == IMAP_LITERAL_HERE)
        err = memfd_of("appended", string->raw, size_max, &message->fd);
    else
        message->fd = imap_unit_take_file(&command->unit, string->literal);
    if (err == ERR_OK && message->fd < 0)
        err = ERR_INTERNAL;
    return err == ERR_OK ? check_content(message, size_max) : err;
}

/* append = "APPEND" SP mailbox 1*append-message
   append-message = [SP flag-list] [SP date-time] SP (literal / "UTF8" SP "(" literal8 ")")   (RFC 3501, 3502, 6855) */
static bool take_literal(struct imap_session *session, struct imap_cursor *cursor, struct imap_string *string,
                         bool *is_utf8_out)
{
    bool is_utf8 = is_shown(session, "UTF8=ACCEPT") && imap_take_word(cursor, "UTF8");
    *is_utf8_out = is_utf8;
    if (is_utf8 && (!imap_take_space(cursor) || !imap_take_char(cursor, '(') || !imap_take_char(cursor, '~')))
        return false;
    return imap_take_string(cursor, string) && string->kind == IMAP_LITERAL &&
           (!is_utf8 || imap_take_char(cursor, ')'));
}

/* Takes the messages unless they are to pass as they are. */
static enum err parse(struct append_work *append, bool is_taken)
{
    struct imap_command *command = append->work.command;
    struct imap_cursor cursor = command->arguments;
    struct imap_string string;
    size_t count = 0;
    enum err err = ERR_OK;
    if (!imap_take_astring(&cursor, &string))
        return ERR_COMMAND_SYNTAX;
    append->messages = calloc(MESSAGES_MAX, sizeof(*append->messages));
    err = append->messages == NULL ? ERR_MEMORY : imap_string_add(&string, &append->mailbox);
    if (err != ERR_OK)
        return err == ERR_MEMORY ? err : ERR_COMMAND_SYNTAX;
    do {
        struct span raw;
        size_t from = cursor.at;
        if (count++ == MESSAGES_MAX || !imap_take_space(&cursor))
            return ERR_COMMAND_SYNTAX;
        if (imap_peek(&cursor) == '(' && (!imap_take_value(&cursor, &raw) || !imap_take_space(&cursor)))
            return ERR_COMMAND_SYNTAX;
        if (imap_peek(&cursor) == '"' && (!imap_take_string(&cursor, &string) || !imap_take_space(&cursor)))
            return ERR_COMMAND_SYNTAX;
        struct span before = span_slice(cursor.text, from, cursor.at);
        bool is_utf8;
        if (!take_literal(append->work.session, &cursor, &string, &is_utf8))
            return ERR_COMMAND_SYNTAX;
        if (is_taken)
            err = take_message(append, &string, before);
        if (is_taken)
            append->messages[append->len - 1].is_utf8 = is_utf8;
    } while (err == ERR_OK && !imap_at_end(&cursor));
    /* A server that does not know of more than one message would read the second as commands. */
    if (err == ERR_OK && count > 1 && !is_shown(append->work.session, "MULTIAPPEND"))
        err = ERR_COMMAND_SYNTAX;
    return err;
}

static void append_start(struct imap_work *work)
{
    struct append_work *append = (struct append_work *)work;
    struct imap_session *session = work->session;
    bool is_plain = imap_session_account(session)->append_plain;
    struct imap_out out;
    buf_init(&append->mailbox, MAILBOX_MAX);
    enum err err = parse(append, !is_plain);
    if (err == ERR_OK && !is_plain)
        err = proxy_ring_ask(session->net->ring, session->account, on_keyring, append, &append->ring_wait);
    if (err != ERR_OK) {
        imap_work_fail(work, err);
    } else if (is_plain) {
        imap_out_init(&out);
        imap_out_command(&out, work->command);
        imap_session_send(session, &out, NULL, on_reply, work);
    }
}

static void append_fini(struct imap_work *work)
{
    struct append_work *append = (struct append_work *)work;
    proxy_ring_cancel(&append->ring_wait);
    for (size_t i = 0; i < append->len; i++) {
        proxy_pool_cancel(&append->messages[i].job);
        if (append->messages[i].fd >= 0)
            close(append->messages[i].fd);
    }
    free(append->messages);
    buf_fini(&append->mailbox);
}

const struct imap_work_type imap_append_type = {
    .name = "append", .start = append_start, .fini = append_fini, .size = sizeof(struct append_work)};
