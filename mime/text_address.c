#include "mime/addr_internal.h"
#include "mime/mailbox.h"
#include "mime/text_internal.h"

#include <string.h>

struct writing {
    struct buf *out;
    bool wants_comma;
};

/* Quoted if it is no atom; in a local part dots do not count. Encoded words would be none in quotes (RFC 2047 §5). */
static enum err add_word(struct span text, bool may_have_dots, struct buf *out)
{
    bool is_atom = true;
    enum err result = ERR_OK;

    for (size_t i = 0; i < text.len && is_atom; i++)
        is_atom = mime_is_atext(text.ptr[i]) || (may_have_dots && text.ptr[i] == '.');
    if (is_atom || (!may_have_dots && span_find(text, 0, SPAN_LIT("=?")) != SIZE_MAX))
        return buf_add_span(out, text);
    result = buf_add_byte(out, '"');
    for (size_t i = 0; i < text.len && result == ERR_OK; i++) {
        if (strchr("\"\\'", text.ptr[i]) != NULL && text.ptr[i] != '\0')
            result = buf_add_byte(out, '\\');
        if (result == ERR_OK)
            result = buf_add_byte(out, text.ptr[i]);
    }
    return result == ERR_OK ? buf_add_byte(out, '"') : result;
}

/* [name SP] "<" [route ":"] local@domain ">" */
static enum err add_mailbox(const struct mime_mailbox *mailbox, struct buf *out)
{
    enum err result = ERR_OK;

    if (mailbox->name.len > 0) {
        result = add_word(mailbox->name, false, out);
        if (result == ERR_OK)
            result = buf_add_byte(out, ' ');
    }
    if (result == ERR_OK)
        result = buf_add_byte(out, '<');
    if (result == ERR_OK && mailbox->route.ptr != NULL) {
        result = buf_add_span(out, mailbox->route);
        if (result == ERR_OK)
            result = buf_add_byte(out, ':');
    }
    if (result == ERR_OK)
        result = mailbox->local.len > 0 ? add_word(mailbox->local, true, out) : buf_add_string(out, "\"\"");
    if (result == ERR_OK)
        result = buf_add_byte(out, '@');
    if (result == ERR_OK)
        result = buf_add_span(out, mailbox->domain);
    return result == ERR_OK ? buf_add_byte(out, '>') : result;
}

static enum err write_mailbox(const struct mime_mailbox *mailbox, void *context)
{
    struct writing *writing = context;
    enum err result = ERR_OK;

    if (writing->wants_comma && mailbox->kind != MIME_GROUP_END)
        result = buf_add_string(writing->out, ", ");
    writing->wants_comma = mailbox->kind != MIME_GROUP_BEGIN;
    if (result != ERR_OK)
        return result;
    switch (mailbox->kind) {
    case MIME_GROUP_BEGIN:
        result = mailbox->local.len > 0 ? add_word(mailbox->local, false, writing->out)
                                        : buf_add_string(writing->out, "\"\"");
        return result == ERR_OK ? buf_add_string(writing->out, ": ") : result;
    case MIME_GROUP_END:
        /* The blank of an empty group goes. */
        if (writing->out->data[writing->out->len - 1] == ' ')
            buf_truncate(writing->out, writing->out->len - 1);
        return buf_add_byte(writing->out, ';');
    case MIME_MAILBOX:
        break;
    }
    return add_mailbox(mailbox, writing->out);
}

enum err mime_text_add_addresses(struct span value, struct buf *out)
{
    struct writing writing = {.out = out};

    return mime_mailbox_walk(value, write_mailbox, &writing);
}
