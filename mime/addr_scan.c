#include "mime/addr_internal.h"

#include <string.h>

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool mime_is_digit_or_letter(char byte)
{
    char lower = span_lower(byte);
    return (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z');
}

bool mime_is_atext(char byte)
{
    if ((unsigned char)byte >= 0x80 || mime_is_digit_or_letter(byte))
        return true;
    return byte != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", byte) != NULL;
}

/* FWS = ([*WSP CRLF] 1*WSP): a line end counts only where a blank follows, anything else would end the field. */
static bool skip_fold(struct mime_scan *scan)
{
    size_t at = scan->at;
    if (at < scan->text.len && scan->text.ptr[at] == '\r')
        at++;
    if (at < scan->text.len && scan->text.ptr[at] == '\n')
        at++;
    else if (at != scan->at)
        return false;
    if (at >= scan->text.len || !is_blank(scan->text.ptr[at]))
        return false;
    scan->at = at + 1;
    return true;
}

/* quoted-pair = "\" (VCHAR / WSP) (RFC 5322 §3.2.1); the scan stands at the backslash. */
static bool skip_pair(struct mime_scan *scan)
{
    scan->at++;
    if (mime_scan_is_end(scan) || mime_scan_peek(scan) == '\0' || mime_scan_peek(scan) == '\r' ||
        mime_scan_peek(scan) == '\n')
        return false;
    scan->at++;
    return true;
}

/* One element of quoted text or comment text that is not a delimiter. */
static bool skip_content(struct mime_scan *scan)
{
    char byte = mime_scan_peek(scan);
    if (byte == '\\')
        return skip_pair(scan);
    if (byte == '\r' || byte == '\n')
        return skip_fold(scan);
    if (byte == '\0')
        return false;
    scan->at++;
    return true;
}

/* comment = "(" *([FWS] ccontent) [FWS] ")", and a comment is ccontent (RFC 5322 §3.2.2): counted, not recursed into.
 */
static bool skip_comment(struct mime_scan *scan)
{
    size_t depth = 0;
    do {
        if (mime_scan_take(scan, '('))
            depth++;
        else if (mime_scan_take(scan, ')'))
            depth--;
        else if (!skip_content(scan))
            return false;
    } while (depth > 0);
    return true;
}

bool mime_scan_skip_cfws(struct mime_scan *scan)
{
    for (;;) {
        char byte = mime_scan_peek(scan);
        if (byte == '(') {
            if (!skip_comment(scan))
                return false;
        } else if (is_blank(byte) || byte == '\r' || byte == '\n') {
            if (!skip_fold(scan))
                return false;
        } else {
            return true;
        }
    }
}

bool mime_scan_skip_quoted(struct mime_scan *scan)
{
    scan->at++;
    while (!mime_scan_take(scan, '"'))
        if (!skip_content(scan))
            return false;
    return true;
}

void mime_scan_skip_atom(struct mime_scan *scan)
{
    while (mime_is_atext(mime_scan_peek(scan)))
        scan->at++;
}

bool mime_is_dtext(char byte)
{
    return mime_is_digit_or_letter(byte) || (byte != '\0' && strchr(".:-", byte) != NULL);
}
