#include "imap/content_internal.h"
#include "imap/token.h"

/* envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc SP
   env-in-reply-to SP env-message-id ")" (RFC 3501 §9) */
enum place { DATE, SUBJECT, FROM, SENDER, REPLY_TO, TO, CC, BCC, IN_REPLY_TO, MESSAGE_ID, PLACES };
static const char *const names[PLACES] = {"Date", "Subject", "From", "Sender",      "Reply-To",
                                          "To",   "Cc",      "Bcc",  "In-Reply-To", "Message-ID"};

static bool is_list(int place)
{
    return place >= FROM && place <= BCC;
}

/* Adds what the field says to its place: of lists all count, of the others the last one. */
static enum err read_field(int place, struct span value, struct buf *text)
{
    if (is_list(place))
        return imap_addresses_add(value, text);
    buf_clear(text);
    if (place == SUBJECT)
        return imap_add_readable(text, value);
    return imap_add_value(text, value);
}

static enum err read_fields(struct span header, struct buf texts[PLACES])
{
    struct mime_field field;
    struct buf value;
    enum err result = ERR_OK;

    buf_init(&value, header.len + 1);
    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        for (int place = 0; place < PLACES && result == ERR_OK; place++) {
            if (!mime_field_is(&field, names[place]))
                continue;
            buf_clear(&value);
            result = imap_field_value(&field, &value);
            if (result == ERR_OK)
                result = read_field(place, buf_span(&value), &texts[place]);
        }
    }
    buf_fini(&value);
    return result;
}

static enum err write_place(int place, const struct buf texts[PLACES], struct buf *out)
{
    const struct buf *text = &texts[place];
    enum err result = ERR_OK;

    /* RFC 3501 §7.4.2: without a Sender or Reply-To they are what From is. */
    if (text->len == 0 && (place == SENDER || place == REPLY_TO))
        text = &texts[FROM];
    if (text->len == 0)
        return buf_add_string(out, "NIL");
    if (is_list(place))
        result = buf_add_byte(out, '(');
    if (result == ERR_OK)
        result = buf_add_span(out, buf_span(text));
    if (result == ERR_OK && is_list(place))
        result = buf_add_byte(out, ')');
    return result;
}

enum err imap_envelope_add(struct span header, struct buf *out)
{
    struct buf texts[PLACES];
    size_t len_before = out->len;
    enum err result;

    for (int place = 0; place < PLACES; place++)
        buf_init(&texts[place], out->len_max);
    result = read_fields(header, texts);
    for (int place = 0; place < PLACES && result == ERR_OK; place++) {
        result = buf_add_byte(out, place == 0 ? '(' : ' ');
        if (result == ERR_OK)
            result = write_place(place, texts, out);
    }
    if (result == ERR_OK)
        result = buf_add_byte(out, ')');
    for (int place = 0; place < PLACES; place++)
        buf_fini(&texts[place]);
    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}
