/*
 * Addresses as ENVELOPE shows them (RFC 3501 §7.4.2): "(name route mailbox domain)" each, with a mark before and after
 * the members of a group. What is broken is shown as broken, with Dovecot's words in the places of what is missing.
 */
#include "imap/content_internal.h"
#include "imap/token.h"
#include "mime/mailbox.h"

/* "addr-name SP addr-adl SP addr-mailbox SP addr-host"; a group begins with its name for a mailbox, and ends with none.
 */
static enum err write_address(const struct mime_mailbox *mailbox, void *context)
{
    const struct span pieces[] = {mailbox->route, mailbox->local, mailbox->domain};
    struct buf *out = context;
    enum err result = buf_add_byte(out, '(');

    if (result == ERR_OK && mailbox->name.ptr != NULL)
        result = imap_add_readable(out, mailbox->name);
    else if (result == ERR_OK)
        result = imap_add_nstring(out, SPAN_NONE);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces && result == ERR_OK; i++) {
        result = buf_add_byte(out, ' ');
        if (result == ERR_OK)
            result = imap_add_nstring(out, pieces[i]);
    }
    return result == ERR_OK ? buf_add_byte(out, ')') : result;
}

enum err imap_addresses_add(struct span value, struct buf *out)
{
    size_t len_before = out->len;
    enum err result = mime_mailbox_walk(value, write_address, out);

    if (result != ERR_OK)
        buf_truncate(out, len_before);
    return result;
}
