/* Command lines: whatever is taken is written back as one line, which reads back as the same. */
#include "smtp/command.h"

#include <stdlib.h>
#include <string.h>

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* The line without its CRLF; there is no other line break, and no NUL, in it. */
static struct span one_line(const struct buf *out)
{
    struct span line = buf_span(out);
    check(line.len > 2 && span_find(line, 0, SPAN_LIT("\r\n")) == line.len - 2);
    line.len -= 2;
    check(span_find_byte(line, 0, '\r') == line.len && span_find_byte(line, 0, '\n') == line.len);
    check(span_find_byte(line, 0, '\0') == line.len);
    return line;
}

static void try_mail(struct span argument)
{
    struct smtp_mail mail, back;
    if (smtp_mail_parse(argument, &mail) != ERR_OK)
        return;
    struct buf out;
    buf_init(&out, 4 * SMTP_LINE_MAX);
    check(smtp_mail_format(&mail, &out) == ERR_OK);
    struct span rest;
    check(smtp_command_split(one_line(&out), &rest) == SMTP_MAIL);
    check(smtp_mail_parse(rest, &back) == ERR_OK);
    check(strcmp(mail.from.path, back.from.path) == 0 && strcmp(mail.from.address, back.from.address) == 0);
    check(mail.has_size == back.has_size && mail.size == back.size && mail.body == back.body);
    check(mail.smtputf8 == back.smtputf8 && strcmp(mail.ret, back.ret) == 0);
    check(strcmp(mail.envid, back.envid) == 0 && strcmp(mail.auth, back.auth) == 0);
    buf_fini(&out);
}

static void try_rcpt(struct span argument)
{
    struct smtp_rcpt rcpt, back;
    if (smtp_rcpt_parse(argument, &rcpt) != ERR_OK)
        return;
    struct buf out;
    buf_init(&out, 4 * SMTP_LINE_MAX);
    check(rcpt.to.address[0] != '\0');
    check(smtp_rcpt_format(&rcpt, &out) == ERR_OK);
    struct span rest;
    check(smtp_command_split(one_line(&out), &rest) == SMTP_RCPT);
    check(smtp_rcpt_parse(rest, &back) == ERR_OK);
    check(strcmp(rcpt.to.path, back.to.path) == 0 && strcmp(rcpt.to.address, back.to.address) == 0);
    check(strcmp(rcpt.notify, back.notify) == 0 && strcmp(rcpt.orcpt, back.orcpt) == 0);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span argument;
    struct span line = {(const char *)data, size};
    enum smtp_verb verb = smtp_command_split(line, &argument);
    check(argument.len <= line.len);
    if (verb == SMTP_MAIL)
        try_mail(argument);
    if (verb == SMTP_RCPT)
        try_rcpt(argument);
    return 0;
}
