#include "imap/unit.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LITERALS_FIRST 8

void imap_splitter_init(struct imap_splitter *splitter, size_t line_max, bool is_secret)
{
    *splitter = (struct imap_splitter){0};
    if (is_secret)
        buf_init_secret(&splitter->line, line_max);
    else
        buf_init(&splitter->line, line_max);
}

void imap_splitter_fini(struct imap_splitter *splitter)
{
    buf_fini(&splitter->line);
}

/* Length of the line at the front of `input`, with its LF; 0 if it is not complete. Goes on where it stopped. */
static size_t line_len(struct imap_splitter *splitter, struct evbuffer *input)
{
    struct evbuffer_ptr from;
    size_t len = evbuffer_get_length(input);
    if (splitter->scanned >= len || evbuffer_ptr_set(input, &from, splitter->scanned, EVBUFFER_PTR_SET) != 0)
        return 0;
    struct evbuffer_ptr found = evbuffer_search_eol(input, &from, NULL, EVBUFFER_EOL_LF);
    splitter->scanned = found.pos < 0 ? len : 0;
    return found.pos < 0 ? 0 : (size_t)found.pos + 1;
}

/* Takes `count` bytes off the input; a secret is wiped where it lies. */
static void drop(struct evbuffer *input, size_t count, bool is_secret)
{
    while (is_secret && count > 0) {
        struct evbuffer_iovec block;
        if (evbuffer_peek(input, -1, NULL, &block, 1) < 1)
            return;
        size_t part = block.iov_len < count ? block.iov_len : count;
        secret_wipe(block.iov_base, part);
        evbuffer_drain(input, part);
        count -= part;
    }
    evbuffer_drain(input, count);
}

static enum err take_line(struct buf *line, struct evbuffer *input, size_t len)
{
    buf_clear(line);
    enum err err = buf_reserve(line, len);
    if (err != ERR_OK)
        return err;
    if (evbuffer_copyout(input, line->data, len) != (ev_ssize_t)len)
        return ERR_INTERNAL;
    drop(input, len, line->is_secret);
    line->len = len;
    line->data[len] = '\0';
    return ERR_OK;
}

/* CRLF at the end, and neither a CR, a LF nor a NUL before it (design 1.1.9). */
static bool is_clean_line(struct span line)
{
    if (line.len < 2 || line.ptr[line.len - 2] != '\r' || line.ptr[line.len - 1] != '\n')
        return false;
    size_t len = line.len - 2;
    return !memchr(line.ptr, '\r', len) && !memchr(line.ptr, '\0', len);
}

enum err imap_splitter_text(struct imap_splitter *splitter, struct evbuffer *input, struct span *text_out,
                            struct imap_literal_mark *mark_out)
{
    size_t len_max = splitter->line.len_max;
    size_t len = line_len(splitter, input);
    if (len == 0)
        return evbuffer_get_length(input) >= len_max ? ERR_LINE_TOO_LONG : ERR_AGAIN;
    if (len > len_max)
        return ERR_LINE_TOO_LONG;
    enum err err = take_line(&splitter->line, input, len);
    if (err != ERR_OK)
        return err;
    *text_out = buf_span(&splitter->line);
    if (!is_clean_line(*text_out))
        return ERR_MALFORMED;
    err = imap_literal_mark(*text_out, mark_out);
    if (err == ERR_OK && mark_out->is_there)
        splitter->literal_left = mark_out->len;
    return err;
}

void imap_splitter_took(struct imap_splitter *splitter, size_t count)
{
    splitter->literal_left -= count < splitter->literal_left ? count : splitter->literal_left;
}

/* literal = "{" number ["+" / "-"] "}" CRLF (RFC 3501 §9, RFC 7888 §8), literal8 = "~{" number ["+"] "}" (RFC 3516).
   What stands in the braces but is made of other bytes is no literal's mark: servers end sentences like that. */
enum err imap_literal_mark(struct span fragment, struct imap_literal_mark *mark_out)
{
    *mark_out = (struct imap_literal_mark){0};
    size_t end = fragment.len;
    if (end < 4 || fragment.ptr[end - 3] != '}')
        return ERR_OK;
    end -= 3;
    bool is_sync = end > 0 && fragment.ptr[end - 1] != '+' && fragment.ptr[end - 1] != '-';
    size_t digits_end = is_sync ? end : end - 1;
    size_t at = digits_end;
    while (at > 0 && fragment.ptr[at - 1] >= '0' && fragment.ptr[at - 1] <= '9')
        at--;
    if (at == 0 || fragment.ptr[at - 1] != '{')
        return ERR_OK;
    uint64_t len;
    if (!span_to_u64(span_slice(fragment, at, digits_end), INT64_MAX, &len))
        return ERR_MALFORMED;
    bool is_binary = at >= 2 && fragment.ptr[at - 2] == '~';
    *mark_out = (struct imap_literal_mark){.is_there = true, .is_sync = is_sync, .is_binary = is_binary, .len = len};
    return ERR_OK;
}

/* ---- the unit ---- */

void imap_unit_init(struct imap_unit *unit, size_t text_max, bool is_secret)
{
    *unit = (struct imap_unit){.literals = NULL};
    if (is_secret)
        buf_init_secret(&unit->text, text_max);
    else
        buf_init(&unit->text, text_max);
}

static void close_files(struct imap_unit *unit)
{
    for (size_t i = 0; i < unit->literals_len; i++) {
        int fd = imap_unit_take_file(unit, i);
        if (fd >= 0)
            (void)close(fd);
    }
    unit->literals_len = 0;
}

void imap_unit_clear(struct imap_unit *unit)
{
    close_files(unit);
    buf_clear(&unit->text);
}

void imap_unit_fini(struct imap_unit *unit)
{
    close_files(unit);
    free(unit->literals);
    unit->literals = NULL;
    unit->literals_capacity = 0;
    buf_fini(&unit->text);
}

enum err imap_unit_text(struct imap_unit *unit, struct span fragment)
{
    return buf_add_span(&unit->text, fragment);
}

/* Room for one literal more. */
static enum err grow(struct imap_unit *unit)
{
    if (unit->literals_len == IMAP_LITERALS_MAX)
        return ERR_LIMIT;
    if (unit->literals_len < unit->literals_capacity)
        return ERR_OK;
    size_t capacity = unit->literals_capacity == 0 ? LITERALS_FIRST : unit->literals_capacity * 2;
    struct imap_literal *literals = realloc(unit->literals, capacity * sizeof *literals);
    if (literals == NULL)
        return ERR_MEMORY;
    unit->literals = literals;
    unit->literals_capacity = capacity;
    return ERR_OK;
}

enum err imap_unit_literal(struct imap_unit *unit, enum imap_literal_place place, uint64_t len, int fd)
{
    enum err err = grow(unit);
    if (err != ERR_OK) {
        if (place == IMAP_LITERAL_FILE && fd >= 0)
            (void)close(fd);
        return err;
    }
    unit->literals[unit->literals_len++] = (struct imap_literal){
        .at = unit->text.len, .len = len, .place = place, .fd = place == IMAP_LITERAL_FILE ? fd : -1};
    return ERR_OK;
}

enum err imap_unit_literal_bytes(struct imap_unit *unit, struct span bytes)
{
    return buf_add_span(&unit->text, bytes);
}

int imap_unit_take_file(struct imap_unit *unit, size_t index)
{
    if (index >= unit->literals_len || unit->literals[index].place != IMAP_LITERAL_FILE)
        return -1;
    int fd = unit->literals[index].fd;
    unit->literals[index].fd = -1;
    return fd;
}

bool imap_unit_is_whole(const struct imap_unit *unit)
{
    for (size_t i = 0; i < unit->literals_len; i++)
        if (unit->literals[i].place != IMAP_LITERAL_HERE)
            return false;
    return true;
}
