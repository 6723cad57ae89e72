/*
 * What the server says of messages without having been asked, as their new MODSEQ when \\Seen was set. It comes in the
 * middle of answers, since the messages with views are asked for apart; a mail program that speaks to the server itself
 * hears it after all of them.
 */
#include "proxy/imap_fetch.h"

#include <stdlib.h>

#define NEWS_MAX 1000

bool fetch_is_news(struct span text)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_literal_mark mark;
    struct imap_cursor cursor;
    uint64_t number;
    size_t len;
    imap_cursor_init_text(&cursor, text);
    if (imap_literal_mark(text, &mark) != ERR_OK || mark.is_there || !imap_take_char(&cursor, '*') ||
        !imap_take_space(&cursor) || !imap_take_number(&cursor, UINT32_MAX, &number) || !imap_take_space(&cursor) ||
        !imap_take_word(&cursor, "FETCH") || !imap_take_space(&cursor) ||
        imap_fetch_answers(&cursor, answers, &len) != ERR_OK)
        return false;
    for (size_t i = 0; i < len; i++)
        if (imap_answer_is_content(&answers[i]))
            return false;
    return true;
}

bool fetch_keep_news(struct fetch_work *fetch, uint32_t number, struct span text)
{
    if (!fetch->news_items)
        fetch->news_items = calloc(NEWS_MAX, sizeof *fetch->news_items);
    if (!fetch->news_items || fetch->news_len == NEWS_MAX || buf_add_span(&fetch->news, text) != ERR_OK)
        return false;
    fetch->news_items[fetch->news_len++] =
        (struct fetch_news){.number = number, .at = fetch->news.len - text.len, .len = text.len};
    return true;
}

void fetch_drop_news(struct fetch_work *fetch, uint32_t number)
{
    for (size_t i = 0; i < fetch->news_len; i++)
        if (fetch->news_items[i].number == number)
            fetch->news_items[i].len = 0;
}

static int compare(const void *a, const void *b)
{
    const struct fetch_news *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

void fetch_tell_news(struct fetch_work *fetch)
{
    struct imap_server *server = fetch_session(fetch)->server;
    if (fetch->news_len > 0)
        qsort(fetch->news_items, fetch->news_len, sizeof *fetch->news_items, compare);
    for (size_t i = 0; i < fetch->news_len; i++) {
        struct fetch_news *item = &fetch->news_items[i];
        if (item->len > 0)
            imap_server_write(server, span_slice(buf_span(&fetch->news), item->at, item->at + item->len));
    }
    fetch->news_len = 0;
    buf_clear(&fetch->news);
}
