/*
 * Words with gpg-agent in its own protocol (Assuan): one command and its answer after the other.
 */
#include "keyring/gpg_talk.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes the next line, without its end; it stands until the next call. ERR_KEY_LOCKED if the agent goes away. */
static enum err take_line(struct gpg_talk *talk, struct span *line_out)
{
    memmove(talk->line, talk->line + talk->taken, talk->len - talk->taken);
    talk->len -= talk->taken;
    talk->taken = 0;
    for (;;) {
        struct span held = {talk->line, talk->len};
        size_t end = span_find_byte(held, 0, '\n');
        if (end < held.len) {
            *line_out = span_slice(held, 0, end);
            talk->taken = end + 1;
            return ERR_OK;
        }
        if (talk->len == sizeof talk->line)
            return log_failure(ERR_ENGINE, "gpg-agent: a line that is too long");
        ssize_t count = read(talk->fd, talk->line + talk->len, sizeof talk->line - talk->len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return log_failure(ERR_KEY_LOCKED, "gpg-agent went away");
        talk->len += (size_t)count;
    }
}

static enum err send_line(const struct gpg_talk *talk, const char *command, const char *argument)
{
    char line[GPG_TALK_LINE_MAX];
    int len =
        snprintf(line, sizeof line, "%s%s%s\n", command, argument == NULL ? "" : " ", argument == NULL ? "" : argument);
    if (len < 0 || (size_t)len >= sizeof line)
        return ERR_LIMIT;
    return write(talk->fd, line, (size_t)len) == (ssize_t)len ? ERR_OK
                                                              : log_failure(ERR_KEY_LOCKED, "gpg-agent went away");
}

enum err gpg_talk_begin(struct gpg_talk *talk, int fd)
{
    struct span rest_of_greeting;
    *talk = (struct gpg_talk){.fd = fd};
    return take_line(talk, &rest_of_greeting);
}

void gpg_talk_end(struct gpg_talk *talk)
{
    if (talk->fd >= 0)
        close(talk->fd);
    secret_wipe(talk, sizeof *talk);
    talk->fd = -1;
}

/* ERR <code> <text> */
static enum err take_error(struct span line, gpgme_error_t *error_out)
{
    struct span code;
    uint64_t number;
    if (!span_take_until(&line, ' ', &code) || !span_to_u64(code, UINT32_MAX, &number) || number == 0)
        return log_failure(ERR_ENGINE, "gpg-agent: an error without a number");
    *error_out = (gpgme_error_t)number;
    return ERR_OK;
}

enum err gpg_talk(struct gpg_talk *talk, const char *command, const char *argument, gpg_talk_fn hear, void *context,
                  gpgme_error_t *error_out)
{
    *error_out = 0;
    enum err err = send_line(talk, command, argument);
    while (err == ERR_OK) {
        struct span line, rest, word;
        err = take_line(talk, &line);
        rest = line;
        if (err != ERR_OK)
            return err;
        if (!span_take_until(&rest, ' ', &word) || span_is_equal(word, SPAN_LIT("OK")))
            return ERR_OK;
        if (span_is_equal(word, SPAN_LIT("ERR")))
            return take_error(rest, error_out);
        if (span_is_equal(word, SPAN_LIT("INQUIRE")))
            err = send_line(talk, "END", NULL);
        else if (hear != NULL)
            err = hear(line, context);
    }
    return err;
}

/* What is not set is as the agent was started. An option that it does not know is no failure. */
enum err gpg_talk_place(struct gpg_talk *talk)
{
    static const struct {
        const char *variable, *option;
    } options[] = {{"GPG_TTY", "ttyname"},
                   {"TERM", "ttytype"},
                   {"DISPLAY", "display"},
                   {"XAUTHORITY", "xauthority"},
                   {"LC_CTYPE", "lc-ctype"},
                   {"LC_MESSAGES", "lc-messages"},
                   {"PINENTRY_USER_DATA", "pinentry-user-data"}};
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof options / sizeof *options; i++) {
        const char *value = getenv(options[i].variable);
        char argument[512];
        gpgme_error_t ignored;
        int len = value == NULL || *value == '\0'
                      ? -1
                      : snprintf(argument, sizeof argument, "%s=%s", options[i].option, value);
        if (len > 0 && (size_t)len < sizeof argument && strpbrk(argument, "\r\n") == NULL)
            err = gpg_talk(talk, "OPTION", argument, NULL, NULL, &ignored);
    }
    return err;
}

enum err gpg_talk_escape(const char *text, size_t escaped_max, struct buf *out)
{
    const size_t most = out->len + escaped_max;
    size_t whole = out->len; /* up to the last character that is wholly there */
    enum err err = ERR_OK;
    for (const char *at = text; err == ERR_OK && *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        bool is_plain = byte > ' ' && byte < 0x7f && byte != '%' && byte != '+';
        if ((byte & 0xC0) != 0x80)
            whole = out->len;
        if (out->len + (is_plain || byte == ' ' ? 1 : 3) > most) {
            buf_truncate(out, whole);
            return ERR_OK;
        }
        err = is_plain ? buf_add_byte(out, *at) : byte == ' ' ? buf_add_byte(out, '+') : buf_addf(out, "%%%02X", byte);
    }
    return err;
}
