/*
 * Commands being written. A literal whose content is neither borrowed nor in a file stands in the text itself, right
 * after its place.
 */
#include "imap/client.h"

#include <stdarg.h>
#include <unistd.h>

#define TEXT_MAX ((size_t)4 << 20)
#define LITERALS_MAX (sizeof((struct imap_out *)NULL)->literals / sizeof *((struct imap_out *)NULL)->literals)

void imap_out_init(struct imap_out *out)
{
    buf_init_secret(&out->text, TEXT_MAX);
    out->literals_len = 0;
    out->err = ERR_OK;
}

void imap_out_fini(struct imap_out *out)
{
    for (size_t i = 0; i < out->literals_len; i++)
        if (out->literals[i].fd >= 0)
            close(out->literals[i].fd);
    out->literals_len = 0;
    buf_fini(&out->text);
}

void imap_out_text(struct imap_out *out, struct span text)
{
    if (out->err == ERR_OK)
        out->err = buf_add_span(&out->text, text);
}

void imap_out_addf(struct imap_out *out, const char *format, ...)
{
    va_list arguments;
    if (out->err != ERR_OK)
        return;
    va_start(arguments, format);
    out->err = buf_addv(&out->text, format, arguments);
    va_end(arguments);
}

static void add_literal(struct imap_out *out, int fd, uint64_t len)
{
    if (out->err == ERR_OK && out->literals_len == LITERALS_MAX)
        out->err = ERR_LIMIT;
    if (out->err == ERR_OK)
        out->literals[out->literals_len++] =
            (struct imap_out_literal){.at = out->text.len, .bytes = SPAN_NONE, .fd = fd, .len = len};
    else if (fd >= 0)
        close(fd);
}

static void add_copy(struct imap_out *out, struct span content)
{
    add_literal(out, -1, content.len);
    imap_out_text(out, content);
}

void imap_out_file(struct imap_out *out, int fd, uint64_t len)
{
    add_literal(out, fd, len);
}

/* QUOTED-CHAR is 7-bit text without CR, LF and NUL (RFC 3501 §9). */
static bool needs_literal(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= 0 || text.ptr[i] == '\r' || text.ptr[i] == '\n')
            return true;
    return false;
}

void imap_out_astring(struct imap_out *out, struct span text)
{
    if (needs_literal(text))
        add_copy(out, text);
    else if (out->err == ERR_OK)
        out->err = imap_add_astring(&out->text, text, false);
}

/* Where the mark of the literal at `at` begins: at its "{"; a "~" before it belongs to the command. */
static size_t mark_at(struct span text, size_t at)
{
    size_t from = at;
    while (from > 0 && text.ptr[from - 1] != '{')
        from--;
    return from > 0 ? from - 1 : at;
}

void imap_out_part(struct imap_out *out, const struct imap_unit *unit, struct span part)
{
    struct span text = buf_span(&unit->text);
    size_t at = (size_t)(part.ptr - text.ptr), end = at + part.len;
    for (size_t i = 0; i < unit->literals_len && out->err == ERR_OK; i++) {
        const struct imap_literal *literal = &unit->literals[i];
        if (literal->at <= at || literal->at > end)
            continue;
        if (literal->place != IMAP_LITERAL_HERE) {
            out->err = ERR_INTERNAL;
            return;
        }
        imap_out_text(out, span_slice(text, at, mark_at(text, literal->at)));
        add_copy(out, span_slice(text, literal->at, literal->at + (size_t)literal->len));
        at = literal->at + (size_t)literal->len;
    }
    imap_out_text(out, span_slice(text, at, end));
}

void imap_out_command(struct imap_out *out, struct imap_command *command)
{
    struct imap_unit *unit = &command->unit;
    struct span text = buf_span(&unit->text);
    size_t at = (size_t)(command->line.ptr - text.ptr);
    for (size_t i = 0; i < unit->literals_len && out->err == ERR_OK; i++) {
        const struct imap_literal *literal = &unit->literals[i];
        imap_out_text(out, span_slice(text, at, mark_at(text, literal->at)));
        at = literal->at;
        if (literal->place == IMAP_LITERAL_HERE) {
            add_copy(out, span_slice(text, at, at + (size_t)literal->len));
            at += (size_t)literal->len;
        } else {
            int fd = imap_unit_take_file(unit, i);
            if (fd < 0)
                out->err = ERR_INTERNAL;
            else
                imap_out_file(out, fd, literal->len);
        }
    }
    imap_out_text(out, span_slice(text, at, text.len - 2));
}
