/* Replies: what is read from a server and written to a client is one reply, line by line, that reads back as the same.
 */
#include "smtp/reply.h"

#include <stdlib.h>
#include <string.h>

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Feeds lines (ended by CRLF) until a reply is whole; false if it never is. */
static bool feed(struct smtp_reply *reply, struct span *rest)
{
    while (rest->len > 0) {
        size_t len = span_find(*rest, 0, SPAN_LIT("\r\n"));
        enum err err = smtp_reply_feed(reply, span_slice(*rest, 0, len));
        *rest = len == SIZE_MAX ? SPAN_NONE : span_skip(*rest, len + 2);
        check(reply->text.len <= SMTP_REPLY_TEXT_MAX);
        if (err != ERR_AGAIN)
            return err == ERR_OK;
    }
    return false;
}

/* Folding may change where lines end, and drops the blank there, but not the other bytes. */
static void check_same_text(const struct smtp_reply *a, const struct smtp_reply *b)
{
    size_t i = 0, j = 0;
    while (i < a->text.len || j < b->text.len) {
        if (i < a->text.len && (a->text.data[i] == ' ' || a->text.data[i] == '\n'))
            i++;
        else if (j < b->text.len && (b->text.data[j] == ' ' || b->text.data[j] == '\n'))
            j++;
        else
            check(i < a->text.len && j < b->text.len && a->text.data[i++] == b->text.data[j++]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = {(const char *)data, size};
    struct smtp_reply reply, back;
    struct buf out;
    smtp_reply_init(&reply);
    smtp_reply_init(&back);
    buf_init(&out, 1 << 20);
    if (feed(&reply, &rest)) {
        check(reply.code >= 200 && reply.code <= 599);
        check(smtp_reply_format(&reply, &out) == ERR_OK);
        struct span wire = buf_span(&out);
        check(span_find_byte(wire, 0, '\0') == wire.len);
        bool is_whole = reply.code / 100 == 3 || feed(&back, &wire);
        check(is_whole);
        if (reply.code / 100 != 3) {
            check(wire.len == 0 && back.code == reply.code);
            if (reply.enhanced[0] != '\0') {
                check(strcmp(reply.enhanced, back.enhanced) == 0);
                check_same_text(&reply, &back);
            }
        }
    }
    smtp_reply_fini(&reply);
    smtp_reply_fini(&back);
    buf_fini(&out);
    return 0;
}
