#include "smtp/reply.h"

#include "mime/utf8.h"

#include <string.h>

#define WIRE_LINE_MAX 512 /* RFC 5321 §4.5.3.1.5: code and CRLF included */

void smtp_reply_init(struct smtp_reply *reply)
{
    reply->code = 0;
    reply->enhanced[0] = '\0';
    buf_init(&reply->text, SMTP_REPLY_TEXT_MAX);
}

void smtp_reply_fini(struct smtp_reply *reply)
{
    reply->code = 0;
    reply->enhanced[0] = '\0';
    buf_fini(&reply->text);
}

void smtp_reply_clear(struct smtp_reply *reply)
{
    reply->code = 0;
    reply->enhanced[0] = '\0';
    buf_clear(&reply->text);
}

/* Adds text in which no byte can end a line early: a bare CR would, for a lenient reader. LF is kept if `has_lines`.
   Servers that answer in their own language do so in UTF-8 (RFC 6531 §3.7.4.2); 8-bit bytes that are none say nothing
   to a client, and stop one that trusts them. */
static enum err add_text(struct smtp_reply *reply, struct span text, bool has_lines)
{
    size_t before = reply->text.len;
    bool is_utf8 = mime_utf8_is_valid(text);
    enum err err = buf_add_span(&reply->text, text);
    for (size_t i = before; err == ERR_OK && i < reply->text.len; i++) {
        unsigned char byte = (unsigned char)reply->text.data[i];
        if ((byte < ' ' && !(byte == '\n' && has_lines)) || byte == 0x7f)
            reply->text.data[i] = ' ';
        else if (byte >= 0x80 && !is_utf8)
            reply->text.data[i] = '?';
    }
    return err;
}

static size_t digits(struct span text, size_t from, size_t most)
{
    size_t count = 0;
    while (count < most && from + count < text.len && text.ptr[from + count] >= '0' && text.ptr[from + count] <= '9')
        count++;
    return count;
}

/*
 * status-code = class "." subject "." detail        (RFC 3463 §2)
 * class = "2"/"4"/"5"    subject = 1*3digit    detail = 1*3digit
 *
 * Its length at the front of `text`, or 0. RFC 2034 §4: the class must be the reply code's own, and a blank follows.
 */
static size_t enhanced_len(struct span text, int code)
{
    if (text.len < 5 || text.ptr[0] != (char)('0' + code / 100) || code / 100 == 3 || text.ptr[1] != '.')
        return 0;
    size_t subject = digits(text, 2, 3);
    if (subject == 0 || 2 + subject >= text.len || text.ptr[2 + subject] != '.')
        return 0;
    size_t detail = digits(text, 3 + subject, 3);
    size_t len = 3 + subject + detail;
    return detail > 0 && (len == text.len || text.ptr[len] == ' ') ? len : 0;
}

static bool is_enhanced(const char *enhanced, int code)
{
    struct span text = span_of(enhanced);
    return text.len > 0 && text.len < sizeof((struct smtp_reply *)NULL)->enhanced &&
           enhanced_len(text, code) == text.len;
}

enum err smtp_reply_set(struct smtp_reply *reply, int code, const char *enhanced, const char *text)
{
    bool has_enhanced = enhanced != NULL && *enhanced != '\0';
    if (code < 200 || code > 599 || (has_enhanced && !is_enhanced(enhanced, code)))
        return ERR_INTERNAL;
    smtp_reply_clear(reply);
    reply->code = code;
    if (has_enhanced)
        memcpy(reply->enhanced, enhanced, strlen(enhanced) + 1);
    return add_text(reply, span_of(text), true);
}

enum err smtp_reply_of_err(struct smtp_reply *reply, enum err err, const char *detail)
{
    const struct err_entry *entry = err_entry(err);
    enum err result = smtp_reply_set(reply, entry->smtp_code, entry->enhanced, entry->sentence);
    if (result == ERR_OK && detail != NULL)
        result = add_text(reply, SPAN_LIT(": "), false);
    if (result == ERR_OK && detail != NULL)
        result = add_text(reply, span_of(detail), true);
    return result;
}

enum err smtp_reply_copy(const struct smtp_reply *from, struct smtp_reply *to)
{
    if (from == to)
        return ERR_OK;
    smtp_reply_clear(to);
    to->code = from->code;
    memcpy(to->enhanced, from->enhanced, sizeof to->enhanced);
    return buf_add_span(&to->text, buf_span(&from->text));
}

/*
 * Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF        (RFC 5321 §4.2)
 *
 * The code, or 0; `*is_last_out` and `*text_out` tell the rest.
 */
static int parse_line(struct span line, bool *is_last_out, struct span *text_out)
{
    if (line.len > SMTP_REPLY_LINE_MAX || digits(line, 0, 3) != 3 || line.ptr[0] < '2' || line.ptr[0] > '5')
        return 0;
    if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
        return 0;
    *is_last_out = line.len == 3 || line.ptr[3] == ' ';
    *text_out = span_skip(line, 4);
    return (line.ptr[0] - '0') * 100 + (line.ptr[1] - '0') * 10 + (line.ptr[2] - '0');
}

enum err smtp_reply_feed(struct smtp_reply *reply, struct span line)
{
    bool is_first = reply->code == 0;
    bool is_last = false;
    struct span text;
    int code = parse_line(line, &is_last, &text);
    if (code == 0 || (!is_first && code != reply->code))
        return ERR_UPSTREAM_PROTOCOL;
    reply->code = code;
    size_t len = enhanced_len(text, code);
    if (is_first && len > 0)
        (void)span_copy(span_slice(text, 0, len), reply->enhanced, sizeof reply->enhanced);
    /* Further lines repeat the enhanced code; another one there is text. */
    if (len > 0 && span_is_equal(span_slice(text, 0, len), span_of(reply->enhanced)))
        text = span_skip(text, len + 1);
    enum err err = is_first ? ERR_OK : buf_add_byte(&reply->text, '\n');
    if (err == ERR_OK)
        err = add_text(reply, text, false);
    if (err != ERR_OK)
        return err == ERR_LIMIT ? ERR_UPSTREAM_PROTOCOL : err;
    return is_last ? ERR_OK : ERR_AGAIN;
}

/* How much of `text` goes into one line of `room` bytes: all of it, or up to a blank, or what fits. */
static size_t line_len(struct span text, size_t room)
{
    size_t len = span_find_byte(text, 0, '\n');
    if (len <= room)
        return len;
    for (size_t i = room; i > 0; i--)
        if (text.ptr[i] == ' ')
            return i;
    return room;
}

enum err smtp_reply_format(const struct smtp_reply *reply, struct buf *out)
{
    size_t before = out->len;
    struct span rest = buf_span(&reply->text);
    size_t prefix = sizeof "250 \r\n" - 1 + (reply->enhanced[0] != '\0' ? strlen(reply->enhanced) + 1 : 0);
    /* RFC 4954 §4: a challenge is one line, up to 12,288 octets. */
    size_t room = reply->code / 100 == 3 ? SIZE_MAX : WIRE_LINE_MAX - prefix;
    enum err err;
    bool is_last;
    do {
        struct span line = span_slice(rest, 0, line_len(rest, room));
        is_last = line.len == rest.len;
        /* The LF or the blank at which the line was cut; without one, nothing is dropped. */
        bool has_separator = !is_last && (rest.ptr[line.len] == '\n' || rest.ptr[line.len] == ' ');
        rest = span_skip(rest, line.len + has_separator);
        err = buf_addf(out, "%03d%c%s%s", reply->code, is_last ? ' ' : '-', reply->enhanced,
                       reply->enhanced[0] != '\0' ? " " : "");
        if (err == ERR_OK)
            err = buf_add_span(out, line);
        if (err == ERR_OK)
            err = buf_add(out, "\r\n", 2);
    } while (err == ERR_OK && !is_last);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}
