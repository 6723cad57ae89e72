/*
 * What commands say and read: errors, questions, files, JSON.
 */
#include "cli/cli.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int cli_exit_of(enum err err)
{
    switch (err) {
    case ERR_OK:
        return CLI_DONE;
    case ERR_USAGE:
    case ERR_CONFIG:
    case ERR_ADDRESS_SYNTAX:
        return CLI_USAGE;
    case ERR_REFUSED:
    case ERR_NO_RECIPIENTS:
    case ERR_TOO_MANY_RECIPIENTS:
    case ERR_NO_KEY:
    case ERR_CONFLICT:
    case ERR_NO_SIGNING_KEY:
    case ERR_NOT_OWN_FROM:
    case ERR_MIXED:
    case ERR_TOO_MANY_GROUPS:
    case ERR_TOO_MANY_GROUPS_FINAL:
    case ERR_KEY_UNUSABLE:
    case ERR_TOO_BIG:
    case ERR_BARE_CR_LF:
    case ERR_NUL:
    case ERR_MALFORMED:
    case ERR_LIMIT:
    case ERR_DECRYPT:
    case ERR_NOT_SEALED:
    case ERR_NOT_FOUND:
    case ERR_EXISTS:
        return CLI_REFUSED;
    default:
        return CLI_FAILED;
    }
}

static void say(const struct cli *cli, const char *format, va_list arguments, const char *after)
{
    fprintf(stderr, "privyseal %s: ", cli->command->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "%s\n", after);
}

int cli_fail(const struct cli *cli, enum err err, const char *format, ...)
{
    char after[300];
    snprintf(after, sizeof after, ": %s (%s)", err_sentence(err), err_name(err));
    va_list arguments;
    va_start(arguments, format);
    say(cli, format, arguments, after);
    va_end(arguments);
    return cli_exit_of(err);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(cli, format, arguments, "");
    va_end(arguments);
    fprintf(stderr, "See `privyseal %s --help`.\n", cli->command->name);
    return CLI_USAGE;
}

enum err cli_file_failure(const char *path)
{
    const enum err err = err_of_errno(errno);
    log_warning("%s: %s", path, strerror(errno));
    return err;
}

enum err cli_read_file(const char *path, struct buf *out)
{
    const bool is_input = !path || strcmp(path, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : cli_file_failure(path);
    char block[65536];
    enum err err = ERR_OK;
    ssize_t count;
    while (!err && (count = read(fd, block, sizeof block)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        err = count < 0 ? cli_file_failure(is_input ? "standard input" : path) : buf_add(out, block, (size_t)count);
    }
    if (!is_input)
        close(fd);
    return err == ERR_LIMIT ? ERR_TOO_BIG : err;
}

enum err cli_write(int fd, struct span bytes)
{
    while (bytes.len) {
        const ssize_t count = write(fd, bytes.ptr, bytes.len);
        if (count < 0 && errno != EINTR)
            return err_of_errno(errno);
        bytes = span_skip(bytes, count > 0 ? (size_t)count : 0);
    }
    return ERR_OK;
}

/* Where a bare CR or LF stands, or the length. */
static size_t find_bare(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n')
            return i;
        if (text.ptr[i] != '\r')
            continue;
        if (i + 1 == text.len || text.ptr[i + 1] != '\n')
            return i;
        i++;
    }
    return text.len;
}

enum err cli_read_message(const struct cli *cli, struct buf *out)
{
    struct buf raw;
    buf_init(&raw, cli->config->message_max);
    enum err err = cli_read_file(NULL, &raw);
    struct span rest = buf_span(&raw);
    const bool has_cr = span_find_byte(rest, 0, '\r') < rest.len;
    if (!err && memchr(raw.data, '\0', raw.len))
        err = ERR_NUL;
    if (!err && has_cr && !cli->config->is_repairing && find_bare(rest) < rest.len)
        err = ERR_BARE_CR_LF;
    while (!err && rest.len) {
        const size_t len = find_bare(rest);
        err = buf_add_span(out, span_slice(rest, 0, len));
        if (!err && len < rest.len)
            err = buf_add_string(out, "\r\n");
        rest = span_skip(rest, len + 1);
    }
    buf_fini(&raw);
    return err == ERR_LIMIT ? ERR_TOO_BIG : err;
}

bool cli_has_terminal(void)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

bool cli_confirm(const char *question)
{
    FILE *terminal = fopen("/dev/tty", "r+e");
    if (!terminal)
        return false;
    char answer[16] = "";
    fprintf(terminal, "%s [yes/no] ", question);
    fflush(terminal);
    const bool is_answered = fgets(answer, sizeof answer, terminal) != NULL;
    fclose(terminal);
    return is_answered && span_is_case_equal(span_trim(span_of(answer)), SPAN_LIT("yes"));
}

int cli_print_json(json_t *json)
{
    const bool is_done = json && json_dumpf(json, stdout, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 && puts("") >= 0;
    json_decref(json);
    return is_done ? CLI_DONE : CLI_FAILED;
}

void cli_date(int64_t seconds, char text_out[CLI_DATE_SIZE])
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(seconds, text);
    snprintf(text_out, CLI_DATE_SIZE, "%.10s", seconds ? text : "never");
}
