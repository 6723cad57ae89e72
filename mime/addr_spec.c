#include "mime/addr_internal.h"
#include "mime/utf8.h"

#include <idn2.h>
#include <string.h>

#define LOCAL_MAX 64 /* RFC 5321 §4.5.3.1.1, quotes included */
#define DOMAIN_MAX 255

/* What a local part says, without quotes and escapes. */
struct local {
    char text[LOCAL_MAX];
    size_t len;
};

static bool local_add(struct local *local, char byte)
{
    if (local->len >= sizeof local->text || (unsigned char)byte < ' ' || byte == 0x7F)
        return false;
    local->text[local->len++] = byte;
    return true;
}

static bool read_quoted_word(struct mime_scan *scan, struct local *local)
{
    scan->at++;
    while (!mime_scan_take(scan, '"')) {
        mime_scan_take(scan, '\\');
        if (mime_scan_is_end(scan) || !local_add(local, mime_scan_peek(scan)))
            return false;
        scan->at++;
    }
    return true;
}

static bool read_atom_word(struct mime_scan *scan, struct local *local)
{
    for (; mime_is_atext(mime_scan_peek(scan)); scan->at++)
        if (!local_add(local, mime_scan_peek(scan)))
            return false;
    return true;
}

/*
 * local-part = dot-atom / quoted-string / obs-local-part
 * obs-local-part = word *("." word)
 *
 * Dots may stand anywhere, as they do in the wild ("a..b@"); two words without a dot between them are not one local
 * part.
 */
static bool read_local(struct mime_scan *scan, bool has_cfws, struct local *local)
{
    bool may_word = true;
    for (;;) {
        if (has_cfws && !mime_scan_skip_cfws(scan))
            return false;
        if (mime_scan_peek(scan) == '.') {
            scan->at++;
            may_word = true;
            if (!local_add(local, '.'))
                return false;
            continue;
        }
        bool is_quoted = mime_scan_peek(scan) == '"';
        if (!is_quoted && !mime_is_atext(mime_scan_peek(scan)))
            break;
        if (!may_word || !(is_quoted ? read_quoted_word(scan, local) : read_atom_word(scan, local)))
            return false;
        may_word = false;
    }
    return local->len > 0 && mime_utf8_is_valid((struct span){local->text, local->len});
}

/* dot-atom-text = 1*atext *("." 1*atext) */
static bool is_dot_atom(const struct local *local)
{
    bool after_dot = true;
    for (size_t i = 0; i < local->len; i++) {
        bool is_dot = local->text[i] == '.';
        if (is_dot ? after_dot : !mime_is_atext(local->text[i]))
            return false;
        after_dot = is_dot;
    }
    return !after_dot;
}

/* Writes the local part bare if it can stand so, else quoted with no more escapes than it needs. Returns its length, or
   0 if that passes what SMTP allows. */
static size_t write_local(const struct local *local, char *out)
{
    if (is_dot_atom(local)) {
        memcpy(out, local->text, local->len);
        return local->len;
    }
    size_t len = 0;
    char quoted[2 * LOCAL_MAX + 2];
    quoted[len++] = '"';
    for (size_t i = 0; i < local->len; i++) {
        if (local->text[i] == '"' || local->text[i] == '\\')
            quoted[len++] = '\\';
        quoted[len++] = local->text[i];
    }
    quoted[len++] = '"';
    if (len > LOCAL_MAX)
        return 0;
    memcpy(out, quoted, len);
    return len;
}

/* A domain as it was written, less comments and blanks; UTF-8 may take more bytes than its A-labels. */
struct domain {
    char text[4 * DOMAIN_MAX + 1];
    size_t len;
};

static bool domain_add(struct domain *domain, char byte)
{
    if (domain->len >= sizeof domain->text - 1)
        return false;
    domain->text[domain->len++] = byte;
    domain->text[domain->len] = '\0';
    return true;
}

/* domain-literal = "[" *dtext "]" */
static bool read_literal(struct mime_scan *scan, struct domain *domain)
{
    size_t from = scan->at;
    do {
        if (!domain_add(domain, span_lower(mime_scan_peek(scan))))
            return false;
        scan->at++;
    } while (mime_is_dtext(mime_scan_peek(scan)));
    if (scan->at == from + 1 || !mime_scan_take(scan, ']'))
        return false;
    return domain_add(domain, ']');
}

/* domain = dot-atom / domain-literal / obs-domain; obs-domain = atom *("." atom) */
static bool read_domain(struct mime_scan *scan, bool has_cfws, struct domain *domain)
{
    if (has_cfws && !mime_scan_skip_cfws(scan))
        return false;
    if (mime_scan_peek(scan) == '[')
        return read_literal(scan, domain) && (!has_cfws || mime_scan_skip_cfws(scan));
    for (;;) {
        size_t from = scan->at;
        for (; mime_is_atext(mime_scan_peek(scan)); scan->at++)
            if (!domain_add(domain, mime_scan_peek(scan)))
                return false;
        if (scan->at == from || (has_cfws && !mime_scan_skip_cfws(scan)))
            return false;
        if (!mime_scan_take(scan, '.'))
            return true;
        if (!domain_add(domain, '.') || (has_cfws && !mime_scan_skip_cfws(scan)))
            return false;
    }
}

/* True for labels of letters, digits, "-" and "_" (which hosts may not have but mail has) with single dots between
   them. IDN mapping may yield other characters (full-width forms of "@" or "."), so this is asked of its result. */
static bool is_host(const char *name)
{
    bool after_dot = true;
    for (; *name != '\0'; name++) {
        bool is_dot = *name == '.';
        if (is_dot ? after_dot : !mime_is_digit_or_letter(*name) && *name != '-' && *name != '_')
            return false;
        after_dot = is_dot;
    }
    return !after_dot;
}

static bool is_ascii(const char *text)
{
    while (*text != '\0')
        if ((unsigned char)*text++ >= 0x80)
            return false;
    return true;
}

static enum err copy_domain(const char *name, char *out)
{
    size_t len = strlen(name);
    if (len > DOMAIN_MAX || (name[0] != '[' && !is_host(name)))
        return ERR_ADDRESS_SYNTAX;
    for (size_t i = 0; i <= len; i++)
        out[i] = span_lower(name[i]);
    return ERR_OK;
}

static enum err write_domain(const struct domain *domain, char *out)
{
    if (is_ascii(domain->text))
        return copy_domain(domain->text, out);
    if (!mime_utf8_is_valid((struct span){domain->text, domain->len}))
        return ERR_ADDRESS_SYNTAX;
    uint8_t *labels = NULL;
    int status = idn2_lookup_u8((const uint8_t *)domain->text, &labels, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
    if (status != IDN2_OK)
        return status == IDN2_MALLOC ? ERR_MEMORY : ERR_ADDRESS_SYNTAX;
    enum err err = copy_domain((const char *)labels, out);
    idn2_free(labels);
    return err;
}

enum err mime_scan_read_addr_spec(struct mime_scan *scan, bool has_cfws, char address_out[MIME_ADDR_SIZE])
{
    struct local local = {.len = 0};
    struct domain domain = {.len = 0};
    address_out[0] = '\0';
    if (!read_local(scan, has_cfws, &local) || !mime_scan_take(scan, '@') || !read_domain(scan, has_cfws, &domain))
        return ERR_ADDRESS_SYNTAX;
    char whole[MIME_ADDR_SIZE];
    size_t len = write_local(&local, whole);
    if (len == 0)
        return ERR_ADDRESS_SYNTAX;
    whole[len++] = '@';
    enum err err = write_domain(&domain, whole + len);
    if (err == ERR_OK)
        memcpy(address_out, whole, sizeof whole);
    return err;
}

bool mime_scan_skip_domain(struct mime_scan *scan)
{
    struct domain domain = {.len = 0};
    return read_domain(scan, true, &domain);
}

enum err mime_addr_normalise(struct span addr_spec, char address_out[MIME_ADDR_SIZE])
{
    struct mime_scan scan = {.text = addr_spec, .at = 0};
    enum err err = mime_scan_read_addr_spec(&scan, false, address_out);
    if (err == ERR_OK && !mime_scan_is_end(&scan)) {
        address_out[0] = '\0';
        err = ERR_ADDRESS_SYNTAX;
    }
    return err;
}
