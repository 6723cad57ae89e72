#include "proxy/imap_guard.h"

static const struct span FIELD = SPAN_LIT("privyseal-verdict");

/* Where the label of the value that begins at `at` has its last word: "BODY[HEADER.FIELDS (A B)]<0>", "RFC822". */
static struct span label_before(struct span text, size_t at)
{
    struct span before = span_trim(span_slice(text, 0, at));
    size_t from = before.len;
    bool is_section = span_has_case_suffix(before, SPAN_LIT("]")) || span_has_case_suffix(before, SPAN_LIT("]<0>"));
    while (from > 0 && (is_section || (before.ptr[from - 1] != ' ' && before.ptr[from - 1] != '('))) {
        from--;
        if (is_section && span_has_case_prefix(span_skip(before, from), SPAN_LIT("BODY[")))
            break;
    }
    return span_skip(before, from);
}

/* From its first byte on: a piece from the middle says not whether it is header. */
static bool is_header(struct span label)
{
    if (span_is_case_equal(label, SPAN_LIT("RFC822")) || span_is_case_equal(label, SPAN_LIT("RFC822.HEADER")))
        return true;
    if (!span_has_case_suffix(label, SPAN_LIT("]")) && !span_has_case_suffix(label, SPAN_LIT("]<0>")))
        return false;
    return span_has_case_prefix(label, SPAN_LIT("BODY[]")) || span_has_case_prefix(label, SPAN_LIT("BODY[HEADER"));
}

enum err imap_guard_text(struct imap_guard *guard, struct span text, struct buf *changed_out)
{
    size_t at = span_find_case(text, 0, SPAN_LIT("\"privyseal-verdict"));
    struct span line = span_trim(text);
    size_t mark = line.len;
    *guard = (struct imap_guard){.is_watching = false};
    if (line.len > 0 && line.ptr[line.len - 1] == '}') {
        while (mark > 0 && line.ptr[mark - 1] != '{')
            mark--;
        guard->is_watching = mark > 0 && is_header(label_before(line, mark - 1));
        guard->is_line_empty = guard->is_matching = true;
    }
    if (at == SIZE_MAX || !is_header(label_before(text, at)))
        return ERR_OK;
    enum err err = buf_add_span(changed_out, text);
    if (err == ERR_OK)
        changed_out->data[at + FIELD.len] = 'X';
    return err;
}

void imap_guard_bytes(struct imap_guard *guard, char *bytes, size_t len)
{
    for (size_t i = 0; i < len && guard->is_watching; i++) {
        char byte = bytes[i];
        if (byte == '\n' || byte == '\r') {
            /* The empty line ends the header; a bare CR begins a line for some programs. */
            guard->is_watching = byte == '\r' || !guard->is_line_empty;
            guard->is_line_empty = guard->is_line_empty || byte == '\n';
            guard->matched = 0;
            guard->is_matching = true;
            continue;
        }
        guard->is_line_empty = false;
        guard->is_matching = guard->is_matching && span_lower(byte) == FIELD.ptr[guard->matched];
        if (guard->is_matching && ++guard->matched == FIELD.len) {
            bytes[i] = 'X';
            guard->is_matching = false;
        }
    }
}
