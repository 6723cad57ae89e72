#include "smtp/data.h"

#define CRLF SPAN_LIT("\r\n")

/*
 * Only a dot between two true CRLF is an end, and only after a true CRLF (or at the very beginning) is a dot looked at
 * at all. A line break or a line start that repair makes leads to IN_LINE, so what follows it is content.
 */
enum decoder_state {
    LINE_START,
    IN_LINE,
    HELD_CR, /* CR seen, not yet written: alone it is bare */
    DOT,     /* a dot at a true line start, not yet written */
    DOT_CR,  /* the same, and CR */
    DOT_NUL  /* the same, and nothing but NULs, which are dropped */
};

void smtp_data_begin(struct smtp_data_decoder *decoder, bool is_repairing, bool is_chunked)
{
    *decoder = (struct smtp_data_decoder){
        .state = is_chunked ? IN_LINE : LINE_START, .is_repairing = is_repairing, .is_chunked = is_chunked};
}

/* The state's answer to one byte: what is written, where it leads, and whether the byte is taken or looked at again
 * there. */
struct step {
    struct span output;
    enum decoder_state next;
    bool is_taken;
};

static struct step step_in_line(struct smtp_data_decoder *decoder, char byte)
{
    switch (byte) {
    case '\r':
        return (struct step){SPAN_NONE, HELD_CR, true};
    case '\n':
        decoder->has_bare_cr_lf = true;
        return (struct step){CRLF, IN_LINE, true};
    default:
        decoder->has_nul = true;
        return (struct step){SPAN_NONE, IN_LINE, true};
    }
}

static struct step step_held_cr(struct smtp_data_decoder *decoder, char byte)
{
    if (byte == '\n')
        return (struct step){CRLF, decoder->is_chunked ? IN_LINE : LINE_START, true};
    decoder->has_bare_cr_lf = true;
    return (struct step){CRLF, IN_LINE, false};
}

static struct step step_dot(struct smtp_data_decoder *decoder, char byte)
{
    switch (byte) {
    case '\r':
        return (struct step){SPAN_NONE, DOT_CR, true};
    case '\0':
        decoder->has_nul = true;
        return (struct step){SPAN_NONE, DOT_NUL, true};
    case '\n':
        return (struct step){SPAN_LIT("."), IN_LINE, false};
    default:
        /* RFC 5321 §4.5.2: "If the first character is a period and there are other characters on the line, the first
           character is deleted." */
        return (struct step){SPAN_NONE, IN_LINE, false};
    }
}

static struct step step_dot_cr(struct smtp_data_decoder *decoder, char byte)
{
    if (byte == '\n') {
        decoder->is_ended = true;
        return (struct step){SPAN_NONE, LINE_START, true};
    }
    return (struct step){SPAN_LIT("."), HELD_CR, false};
}

static struct step step_dot_nul(struct smtp_data_decoder *decoder, char byte)
{
    (void)decoder;
    if (byte == '\0')
        return (struct step){SPAN_NONE, DOT_NUL, true};
    if (byte == '\r' || byte == '\n')
        return (struct step){SPAN_LIT("."), IN_LINE, false};
    return (struct step){SPAN_NONE, IN_LINE, false};
}

static struct step step_line_start(struct smtp_data_decoder *decoder, char byte)
{
    (void)decoder;
    return byte == '.' ? (struct step){SPAN_NONE, DOT, true} : (struct step){SPAN_NONE, IN_LINE, false};
}

static struct step (*const steps[])(struct smtp_data_decoder *decoder, char byte) = {
    [LINE_START] = step_line_start, [IN_LINE] = step_in_line, [HELD_CR] = step_held_cr, [DOT] = step_dot,
    [DOT_CR] = step_dot_cr,         [DOT_NUL] = step_dot_nul,
};

static bool is_plain(char byte)
{
    return byte != '\r' && byte != '\n' && byte != '\0';
}

enum err smtp_data_feed(struct smtp_data_decoder *decoder, struct span bytes, struct buf *out, size_t *used_out)
{
    size_t at = 0;
    enum err err = ERR_OK;
    while (err == ERR_OK && at < bytes.len && !decoder->is_ended) {
        size_t run = at;
        while (decoder->state == IN_LINE && run < bytes.len && is_plain(bytes.ptr[run]))
            run++;
        if (run > at) {
            err = buf_add(out, bytes.ptr + at, run - at);
            at = err == ERR_OK ? run : at;
            continue;
        }
        struct step step = steps[decoder->state](decoder, bytes.ptr[at]);
        err = buf_add_span(out, step.output);
        if (err != ERR_OK)
            continue;
        decoder->state = (int)step.next;
        at += step.is_taken;
    }
    *used_out = at;
    return err;
}

enum err smtp_data_end(struct smtp_data_decoder *decoder, struct buf *out)
{
    decoder->is_ended = true;
    if (decoder->state != HELD_CR)
        return ERR_OK;
    decoder->has_bare_cr_lf = true;
    decoder->state = IN_LINE;
    return buf_add_span(out, CRLF);
}

enum err smtp_data_judge(const struct smtp_data_decoder *decoder)
{
    if (decoder->is_repairing)
        return ERR_OK;
    if (decoder->has_nul)
        return ERR_NUL;
    return decoder->has_bare_cr_lf ? ERR_BARE_CR_LF : ERR_OK;
}

/* Whether the byte at `i` may be sent where it stands. */
static enum err check_byte(struct span message, size_t i)
{
    switch (message.ptr[i]) {
    case '\0':
        return ERR_NUL;
    case '\r':
        return i + 1 < message.len && message.ptr[i + 1] == '\n' ? ERR_OK : ERR_BARE_CR_LF;
    case '\n':
        return i > 0 && message.ptr[i - 1] == '\r' ? ERR_OK : ERR_BARE_CR_LF;
    default:
        return ERR_OK;
    }
}

static bool is_line_start(struct span message, size_t i)
{
    return i == 0 || message.ptr[i - 1] == '\n';
}

/* Adds message bytes [from, to), stuffing dots. */
static enum err add_stuffed(struct span message, size_t from, size_t to, struct buf *out)
{
    enum err err = ERR_OK;
    size_t pending = from;
    for (size_t i = from; err == ERR_OK && i < to; i++) {
        err = check_byte(message, i);
        if (err != ERR_OK || message.ptr[i] != '.' || !is_line_start(message, i))
            continue;
        /* The dot itself goes out with what follows it. */
        err = buf_add(out, message.ptr + pending, i - pending);
        if (err == ERR_OK)
            err = buf_add_byte(out, '.');
        pending = i;
    }
    return err == ERR_OK ? buf_add(out, message.ptr + pending, to - pending) : err;
}

enum err smtp_data_encode(struct span message, size_t *at, size_t piece_max, struct buf *out)
{
    size_t before = out->len;
    size_t from = *at < message.len ? *at : message.len;
    size_t len = piece_max > 0 ? piece_max : 1;
    size_t to = len < message.len - from ? from + len : message.len;
    enum err err = from < to ? add_stuffed(message, from, to, out) : ERR_OK;
    bool is_last = to == message.len;
    if (err == ERR_OK && is_last && !is_line_start(message, to))
        err = buf_add_span(out, CRLF);
    if (err == ERR_OK && is_last)
        err = buf_add_span(out, SPAN_LIT(".\r\n"));
    if (err != ERR_OK) {
        buf_truncate(out, before);
        return err;
    }
    *at = to;
    return is_last ? ERR_END : ERR_OK;
}
