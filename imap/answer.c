#include "imap/fetch.h"

/* msg-att = "(" msg-att-item *(SP msg-att-item) ")", each item a label and a value; "()" is let pass. */
enum err imap_fetch_answers(struct imap_cursor *cursor, struct imap_answer *answers_out, size_t *len_out)
{
    *len_out = 0;
    if (!imap_take_char(cursor, '('))
        return ERR_MALFORMED;
    while (!imap_take_char(cursor, ')')) {
        struct imap_answer answer;
        if (*len_out > 0 && !imap_take_space(cursor))
            return ERR_MALFORMED;
        char first = imap_peek(cursor);
        if (first == '(' || first == '"' || first == '{' || !imap_take_value(cursor, &answer.label) ||
            !imap_take_space(cursor) || !imap_take_value(cursor, &answer.value))
            return ERR_MALFORMED;
        if (*len_out == IMAP_ANSWERS_MAX)
            return ERR_LIMIT;
        answers_out[(*len_out)++] = answer;
    }
    return imap_at_end(cursor) ? ERR_OK : ERR_MALFORMED;
}

/* "*" SP nz-number SP "FETCH" SP msg-att CRLF */
enum err imap_fetch_response(const struct imap_unit *unit, uint32_t *number_out, struct imap_answer *answers_out,
                             size_t *len_out)
{
    struct imap_cursor cursor;
    uint64_t number;
    *len_out = 0;
    imap_cursor_init(&cursor, unit);
    if (!imap_take_char(&cursor, '*') || !imap_take_space(&cursor) || !imap_take_number(&cursor, UINT32_MAX, &number) ||
        !imap_take_space(&cursor) || !imap_take_word(&cursor, "FETCH") || !imap_take_space(&cursor))
        return ERR_MALFORMED;
    *number_out = (uint32_t)number;
    return imap_fetch_answers(&cursor, answers_out, len_out);
}

struct span imap_answer_find(const struct imap_answer *answers, size_t len, const char *label)
{
    for (size_t i = 0; i < len; i++)
        if (span_is_case_equal(answers[i].label, span_of(label)))
            return answers[i].value;
    return SPAN_NONE;
}

static enum err add_answer(struct buf *list, const struct imap_answer *answer)
{
    enum err err = buf_add_byte(list, list->len == 0 ? '(' : ' ');
    if (err == ERR_OK)
        err = buf_add_span(list, answer->label);
    if (err == ERR_OK)
        err = buf_add_byte(list, ' ');
    return err == ERR_OK ? buf_add_span(list, answer->value) : err;
}

static bool has_label(const struct imap_answer *answers, size_t len, struct span label)
{
    for (size_t i = 0; i < len; i++)
        if (span_is_case_equal(answers[i].label, label))
            return true;
    return false;
}

enum err imap_answers_gather(struct buf *list, const struct imap_answer *answers, size_t len)
{
    struct imap_answer old[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    struct buf text;
    size_t old_len = 0;
    if (len == 0)
        return ERR_OK;
    imap_cursor_init_text(&cursor, buf_span(list));
    enum err err = list->len > 0 ? imap_fetch_answers(&cursor, old, &old_len) : ERR_OK;
    buf_init(&text, list->len_max);
    for (size_t i = 0; i < old_len && err == ERR_OK; i++)
        if (!has_label(answers, len, old[i].label))
            err = add_answer(&text, &old[i]);
    for (size_t i = 0; i < len && err == ERR_OK; i++)
        err = add_answer(&text, &answers[i]);
    if (err == ERR_OK)
        err = buf_add_byte(&text, ')');
    if (err == ERR_OK) {
        buf_fini(list);
        *list = text;
    } else {
        buf_fini(&text);
    }
    return err;
}

bool imap_answer_is_content(const struct imap_answer *answer)
{
    static const struct span prefixes[] = {SPAN_LIT("BODY"),   SPAN_LIT("RFC822"),  SPAN_LIT("ENVELOPE"),
                                           SPAN_LIT("BINARY"), SPAN_LIT("PREVIEW"), SPAN_LIT("SNIPPET")};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (span_has_case_prefix(answer->label, prefixes[i]))
            return true;
    return false;
}
