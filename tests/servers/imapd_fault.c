/* What is wrong to order: the actions that imapd.h names. */
#include "tests/servers/imapd.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The bytes that a text with \r \n \0 \xHH stands for. */
static void unescape(const char *text, struct text *bytes_out)
{
    text_add(bytes_out, "", 0);
    for (; *text != '\0'; text++) {
        char byte = *text, hex[3] = "";
        if (byte == '\\' && strchr("rn0\\x", text[1]) != NULL && text[1] != '\0') {
            text++;
            byte = *text == 'r' ? '\r' : *text == 'n' ? '\n' : *text == '0' ? '\0' : '\\';
            if (*text == 'x' && isxdigit((unsigned char)text[1]) && isxdigit((unsigned char)text[2])) {
                memcpy(hex, text + 1, 2);
                byte = (char)strtol(hex, NULL, 16);
                text += 2;
            }
        }
        text_add(bytes_out, &byte, 1);
    }
}

static void say_raw(struct session *session, const char *text)
{
    struct text bytes = {0};
    unescape(text, &bytes);
    text_add(&session->out, bytes.bytes, bytes.len);
    text_free(&bytes);
    imapd_flush(session);
}

static void say_without_end(struct session *session, const char *piece)
{
    imapd_flush(session);
    while (!session->io->is_over)
        server_write(session->io, piece, strlen(piece));
}

/* Message `number` of the session, as the mailbox has it. */
static struct message *message_at(struct session *session, const char *number)
{
    unsigned long index = strtoul(number, NULL, 10);
    if (session->mailbox == NULL || index == 0 || index > session->seen_len)
        return NULL;
    return mailbox_message(session->mailbox, session->seen[index - 1].uid);
}

/* What another client does to the mailbox at this moment; false if `action` is no such thing. */
static bool do_change(struct session *session, const char *action)
{
    bool is_known = true;
    pthread_mutex_lock(&session->imapd->mail);
    if (strncmp(action, "expunge ", 8) == 0) {
        const struct message *message = message_at(session, action + 8);
        if (message != NULL)
            mailbox_expunge(session->mailbox, message->uid);
    } else if (strncmp(action, "flag ", 5) == 0) {
        struct message *message = message_at(session, action + 5);
        const char *flag = strchr(action + 5, ' ');
        if (message != NULL && flag != NULL) {
            char *flags = flags_change(message->flags, flag, "");
            mailbox_set_flags(session->mailbox, message, flags);
            free(flags);
        }
    } else if (strcmp(action, "arrive") == 0) {
        static const char letter[] = "From: another@example.net\r\nSubject: arrived\r\n\r\nby another client\r\n";
        if (session->mailbox != NULL)
            mailbox_add(session->mailbox, (struct slice){letter, sizeof(letter) - 1}, "", 1700000000);
    } else
        is_known = false;
    if (is_known && session->mailbox != NULL)
        sync_wake(session->imapd, session->mailbox);
    pthread_mutex_unlock(&session->imapd->mail);
    return is_known;
}

/* Ends the connection in one way or another; false if `action` is no such thing. */
static bool do_end(struct session *session, const char *action)
{
    if (strcmp(action, "cut") == 0) {
        imapd_flush(session);
        server_cut(session->io);
    } else if (strcmp(action, "stall") == 0) {
        imapd_flush(session);
        server_stall(session->io);
    } else if (strncmp(action, "bye", 3) == 0) {
        text_addf(&session->out, "* BYE %s\r\n", action[3] == ' ' ? action + 4 : "Closing");
        imapd_flush(session);
        server_cut(session->io);
    } else if (strcmp(action, "endless") == 0)
        say_without_end(session, "* OK and so on and so forth and so on ");
    else if (strcmp(action, "flood") == 0)
        say_without_end(session, "* OK and so on and so forth and so on\r\n");
    else
        return false;
    return true;
}

bool imapd_fault(struct session *session, const char *point)
{
    char *action = session->ordered;
    action[0] = '\0';
    if (server_fault_at(session->io->server, point, session->ordered) == NULL)
        return false;
    if (do_end(session, action))
        return true;
    if (strcmp(action, "late") == 0)
        session->is_late = true;
    else if (strcmp(action, "behind") == 0) {
        text_add(&session->behind, session->command.bytes, session->command.len);
        return true;
    } else if (strncmp(action, "omit ", 5) == 0)
        session->omitted = strtoul(action + 5, NULL, 10);
    else if (strncmp(action, "nil ", 4) == 0)
        session->emptied = strtoul(action + 4, NULL, 10);
    else if (strncmp(action, "gone ", 5) == 0) {
        session->emptied = strtoul(action + 5, NULL, 10);
        text_puts(&session->code, "EXPUNGEISSUED");
    } else if (strcmp(action, "split") == 0)
        session->is_split = true;
    else if (strcmp(action, "weave") == 0)
        session->is_woven = true;
    else if (strcmp(action, "slow") == 0)
        session->io->is_slow = true;
    else if (strcmp(action, "garbage") == 0)
        say_raw(session, "what? \\xff (\\r\\n");
    else if (strncmp(action, "* ", 2) == 0)
        text_addf(&session->out, "%s\r\n", action);
    else if (strncmp(action, "raw ", 4) == 0)
        say_raw(session, action + 4);
    else if (strncmp(action, "only ", 5) == 0) {
        say_raw(session, action + 5);
        return true;
    } else if (strncmp(action, "NO ", 3) == 0 || strncmp(action, "BAD ", 4) == 0) {
        text_addf(&session->out, "%s %s\r\n", session->tag, action);
        return true;
    } else
        do_change(session, action);
    return false;
}

bool imapd_fault_at_command(struct session *session, const char *suffix)
{
    char point[40];
    snprintf(point, sizeof(point), "%s%s", session->verb, suffix);
    return imapd_fault(session, point);
}

void imapd_put_literal(struct session *session, const char *bytes, size_t len)
{
    char action[512] = "";
    server_fault_at(session->io->server, "literal", action);
    if (strncmp(action, "lie ", 4) == 0)
        text_addf(&session->out, "{%s}\r\n", action + 4);
    else
        text_addf(&session->out, "{%zu}\r\n", len);
    if (strcmp(action, "cut") == 0 || strcmp(action, "stall") == 0) {
        text_add(&session->out, bytes, len / 2);
        do_end(session, action);
        session->out.len = 0;
        return;
    }
    text_add(&session->out, bytes, len);
}
