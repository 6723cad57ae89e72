/* UTF8=ACCEPT (RFC 6855): names are in UTF-8 for a session that has enabled it; here they are in modified UTF-7. */
#include "tests/servers/imapd.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>

/* The name in the other charset, or as it is if it has no such form. The caller frees. */
static char *converted(const char *to, const char *from, const char *name)
{
    size_t in_len = strlen(name), out_len = 4 * in_len + 16;
    char *in = strdup(name), *out = calloc(1, out_len + 1), *in_at = in, *out_at = out;
    iconv_t converter = iconv_open(to, from);
    if (converter == (iconv_t)-1 || in == NULL || out == NULL)
        abort();
    bool is_good = iconv(converter, &in_at, &in_len, &out_at, &out_len) != (size_t)-1 &&
                   iconv(converter, NULL, NULL, &out_at, &out_len) != (size_t)-1;
    iconv_close(converter);
    *out_at = '\0';
    free(is_good ? in : out);
    return is_good ? out : in;
}

bool take_mailbox(const struct session *session, struct cursor *cursor, char **name_out)
{
    char *name;
    if (!take_astring(cursor, name_out))
        return false;
    if (session->has_utf8) {
        name = *name_out;
        *name_out = converted("UTF-7-IMAP", "UTF-8", name);
        free(name);
    }
    return true;
}

void put_mailbox(struct session *session, const char *name)
{
    char *said = session->has_utf8 ? converted("UTF-8", "UTF-7-IMAP", name) : strdup(name);
    text_string(&session->out, said, strlen(said));
    free(said);
}
