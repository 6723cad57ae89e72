/*
 * The envelope: MAIL and RCPT with the parameters of the extensions that were offered, and of no others.
 */
#include "smtp/server_internal.h"

#include <string.h>

bool server_has_8bit(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (((unsigned char)text.ptr[i] & 0x80) != 0)
            return true;
    return false;
}

uint64_t server_message_max(const struct smtp_server *server)
{
    uint64_t offered = (server->features.flags & SMTP_HAS_SIZE) != 0 ? server->features.size_max : 0;
    uint64_t own = server->options.message_max;
    return offered != 0 && offered < own ? offered : own;
}

static enum err judge_mail(const struct smtp_server *server, const struct smtp_mail *mail)
{
    unsigned offered = server->features.flags;
    const struct {
        bool is_used;
        unsigned feature;
    } parameters[] = {{mail->has_size, SMTP_HAS_SIZE},
                      {mail->body != SMTP_BODY_NONE, SMTP_HAS_8BITMIME},
                      {mail->smtputf8, SMTP_HAS_SMTPUTF8},
                      {mail->ret[0] != '\0' || mail->envid[0] != '\0', SMTP_HAS_DSN},
                      {mail->auth[0] != '\0', SMTP_HAS_AUTH}};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        if (parameters[i].is_used && (offered & parameters[i].feature) == 0)
            return ERR_PARAMETER_UNKNOWN;
    /* A message that need not have lines at all cannot be signed as text, nor checked for bare CR and LF. */
    if (mail->body == SMTP_BODY_BINARYMIME)
        return ERR_PARAMETER_UNKNOWN;
    if (!mail->smtputf8 && server_has_8bit(buf_span(&server->line)))
        return ERR_NEEDS_SMTPUTF8;
    if (mail->has_size && mail->size > server_message_max(server))
        return ERR_TOO_BIG;
    return ERR_OK;
}

/* A wrong address or a big message is a person's mistake; the rest is a program's, and counted. */
static void refuse(struct smtp_server *server, enum err err)
{
    if (err == ERR_PARAMETER_SYNTAX || err == ERR_PARAMETER_UNKNOWN || err == ERR_NEEDS_SMTPUTF8)
        server_say_bad(server, err);
    else
        server_say_err(server, err);
}

/* mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF (RFC 5321 §4.1.1.2) */
void server_do_mail(struct smtp_server *server, struct span argument)
{
    struct smtp_mail mail;
    enum err err = smtp_mail_parse(argument, &mail);
    if (err == ERR_OK)
        err = judge_mail(server, &mail);
    if (err != ERR_OK) {
        server->is_mail_refused = true;
        refuse(server, err);
        return;
    }
    server->is_utf8 = mail.smtputf8;
    server_open(server, SMTP_MAIL);
    server->options.handlers->on_mail(server, &mail, server->options.owner);
}

static enum err judge_rcpt(const struct smtp_server *server, const struct smtp_rcpt *rcpt)
{
    if ((rcpt->notify[0] != '\0' || rcpt->orcpt[0] != '\0') && (server->features.flags & SMTP_HAS_DSN) == 0)
        return ERR_PARAMETER_UNKNOWN;
    if (!server->is_utf8 && server_has_8bit(buf_span(&server->line)))
        return ERR_NEEDS_SMTPUTF8;
    if (server->recipients >= server->options.recipients_max)
        return ERR_TOO_MANY_RECIPIENTS;
    return ERR_OK;
}

/* rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
   (RFC 5321 §4.1.1.3) */
void server_do_rcpt(struct smtp_server *server, struct span argument)
{
    struct smtp_rcpt rcpt;
    enum err err = smtp_rcpt_parse(argument, &rcpt);
    if (err == ERR_OK)
        err = judge_rcpt(server, &rcpt);
    if (err != ERR_OK) {
        refuse(server, err);
        return;
    }
    server_open(server, SMTP_RCPT);
    server->options.handlers->on_rcpt(server, &rcpt, server->options.owner);
}
