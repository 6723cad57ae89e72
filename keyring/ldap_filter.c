#include "base/buf.h"
#include "keyring/ldap.h"
#include "mime/addr.h"

#include <string.h>

/* All but what no filter gives a meaning to: more than RFC 4515 §3 asks for, and nothing to get wrong. */
static enum err add_escaped(struct buf *out, struct span value)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < value.len; i++) {
        const char byte = value.ptr[i];
        const bool is_plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                              (byte >= '0' && byte <= '9') || byte == '@' || byte == '.' || byte == '-' || byte == '_';
        err = is_plain ? buf_add_byte(out, byte) : buf_addf(out, "\\%02x", (unsigned char)byte);
    }
    return err;
}

static enum err add_placeholder(struct buf *out, char letter, const char *address)
{
    const char *domain = mime_addr_domain(address);
    switch (letter) {
    case 'a':
        return add_escaped(out, span_of(address));
    case 'l':
        return add_escaped(out, (struct span){address, (size_t)(domain - address) - 1});
    case 'd':
        return add_escaped(out, span_of(domain));
    case '%':
        return buf_add_byte(out, '%');
    default:
        return ERR_CONFIG;
    }
}

/* Brackets must match: what libldap makes of others need not be what was meant. */
static bool is_bracketed(const char *pattern)
{
    int depth = 0;
    if (pattern[0] != '(')
        return false;
    for (const char *byte = pattern; *byte; byte++) {
        depth += *byte == '(' ? 1 : *byte == ')' ? -1 : 0;
        if (depth < 0 || (depth == 0 && byte[1] != '\0'))
            return false;
    }
    return depth == 0;
}

enum err keyring_ldap_filter(const char *pattern, const char *address, struct buf *out)
{
    char normal[MIME_ADDR_SIZE];
    bool has_address = false;
    if (mime_addr_normalise(span_of(address), normal) || strcmp(normal, address) != 0)
        return ERR_ADDRESS_SYNTAX;
    enum err err = is_bracketed(pattern) ? ERR_OK : ERR_CONFIG;
    for (const char *byte = pattern; !err && *byte; byte++) {
        if (*byte != '%') {
            err = buf_add_byte(out, *byte);
            continue;
        }
        byte++;
        has_address = has_address || *byte == 'a' || *byte == 'l';
        err = add_placeholder(out, *byte, address);
    }
    return err ? err : has_address ? ERR_OK : ERR_CONFIG;
}
