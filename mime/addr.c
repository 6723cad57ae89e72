#include "mime/addr.h"

#include "mime/utf8.h"

#include <idn2.h>
#include <string.h>

#define LOCAL_MAX 64 /* RFC 5321 §4.5.3.1.1, quotes included */
#define DOMAIN_MAX 255
#define ADDRESSES_MAX 10000

/* A position in a raw field value. */
struct scan {
    struct span text;
    size_t at;
};

/* ---- the lexical level: bytes, folding white space, comments, words ---- */

/* The next byte, or NUL at the end; a NUL in the text itself is no legal byte anywhere, so the two need no telling
 * apart. */
static char peek(const struct scan *scan)
{
    return scan->at < scan->text.len ? scan->text.ptr[scan->at] : '\0';
}

static bool is_end(const struct scan *scan)
{
    return scan->at >= scan->text.len;
}

static bool take(struct scan *scan, char byte)
{
    if (is_end(scan) || peek(scan) != byte)
        return false;
    scan->at++;
    return true;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_digit_or_letter(char byte)
{
    char lower = span_lower(byte);
    return (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z');
}

/* atext (RFC 5322 §3.2.3), widened by UTF8-non-ascii (RFC 6532 §3.2). */
static bool is_atext(char byte)
{
    if ((unsigned char)byte >= 0x80 || is_digit_or_letter(byte))
        return true;
    return byte != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", byte) != NULL;
}

/* FWS = ([*WSP CRLF] 1*WSP): a line end counts only where a blank follows, anything else would end the field. */
static bool skip_fold(struct scan *scan)
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
static bool skip_pair(struct scan *scan)
{
    scan->at++;
    if (is_end(scan) || peek(scan) == '\0' || peek(scan) == '\r' || peek(scan) == '\n')
        return false;
    scan->at++;
    return true;
}

/* One element of quoted text or comment text that is not a delimiter. */
static bool skip_content(struct scan *scan)
{
    char byte = peek(scan);
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
static bool skip_comment(struct scan *scan)
{
    size_t depth = 0;
    do {
        if (take(scan, '('))
            depth++;
        else if (take(scan, ')'))
            depth--;
        else if (!skip_content(scan))
            return false;
    } while (depth > 0);
    return true;
}

/* [CFWS]; false if a comment does not end or a line end is no folding. */
static bool skip_cfws(struct scan *scan)
{
    for (;;) {
        char byte = peek(scan);
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

/* quoted-string (RFC 5322 §3.2.4), the scan standing at its first quote. */
static bool skip_quoted(struct scan *scan)
{
    scan->at++;
    while (!take(scan, '"'))
        if (!skip_content(scan))
            return false;
    return true;
}

static void skip_atom(struct scan *scan)
{
    while (is_atext(peek(scan)))
        scan->at++;
}

/* ---- addr-spec = local-part "@" domain (RFC 5322 §3.4.1), brought to normal form ---- */

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

static bool read_quoted_word(struct scan *scan, struct local *local)
{
    scan->at++;
    while (!take(scan, '"')) {
        take(scan, '\\');
        if (is_end(scan) || !local_add(local, peek(scan)))
            return false;
        scan->at++;
    }
    return true;
}

static bool read_atom_word(struct scan *scan, struct local *local)
{
    for (; is_atext(peek(scan)); scan->at++)
        if (!local_add(local, peek(scan)))
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
static bool read_local(struct scan *scan, bool has_cfws, struct local *local)
{
    bool may_word = true;
    for (;;) {
        if (has_cfws && !skip_cfws(scan))
            return false;
        if (peek(scan) == '.') {
            scan->at++;
            may_word = true;
            if (!local_add(local, '.'))
                return false;
            continue;
        }
        bool is_quoted = peek(scan) == '"';
        if (!is_quoted && !is_atext(peek(scan)))
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
        if (is_dot ? after_dot : !is_atext(local->text[i]))
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

/* domain-literal = "[" *dtext "]"; what RFC 5321 §4.1.3 puts into one: addresses and tags. */
static bool read_literal(struct scan *scan, struct domain *domain)
{
    size_t from = scan->at;
    do {
        if (!domain_add(domain, span_lower(peek(scan))))
            return false;
        scan->at++;
    } while (is_digit_or_letter(peek(scan)) || (peek(scan) != '\0' && strchr(".:-", peek(scan)) != NULL));
    if (scan->at == from + 1 || !take(scan, ']'))
        return false;
    return domain_add(domain, ']');
}

/* domain = dot-atom / domain-literal / obs-domain; obs-domain = atom *("." atom) */
static bool read_domain(struct scan *scan, bool has_cfws, struct domain *domain)
{
    if (has_cfws && !skip_cfws(scan))
        return false;
    if (peek(scan) == '[')
        return read_literal(scan, domain) && (!has_cfws || skip_cfws(scan));
    for (;;) {
        size_t from = scan->at;
        for (; is_atext(peek(scan)); scan->at++)
            if (!domain_add(domain, peek(scan)))
                return false;
        if (scan->at == from || (has_cfws && !skip_cfws(scan)))
            return false;
        if (!take(scan, '.'))
            return true;
        if (!domain_add(domain, '.') || (has_cfws && !skip_cfws(scan)))
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
        if (is_dot ? after_dot : !is_digit_or_letter(*name) && *name != '-' && *name != '_')
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

static enum err read_addr_spec(struct scan *scan, bool has_cfws, char address_out[MIME_ADDR_SIZE])
{
    struct local local = {.len = 0};
    struct domain domain = {.len = 0};
    address_out[0] = '\0';
    if (!read_local(scan, has_cfws, &local) || !take(scan, '@') || !read_domain(scan, has_cfws, &domain))
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

enum err mime_addr_normalise(struct span addr_spec, char address_out[MIME_ADDR_SIZE])
{
    struct scan scan = {.text = addr_spec, .at = 0};
    enum err err = read_addr_spec(&scan, false, address_out);
    if (err == ERR_OK && !is_end(&scan)) {
        address_out[0] = '\0';
        err = ERR_ADDRESS_SYNTAX;
    }
    return err;
}

/* ---- address-list (RFC 5322 §3.4) ---- */

struct walk {
    struct scan scan;
    mime_addr_fn fn;
    void *context;
    size_t count;
    bool in_group;
};

/* What stands before the byte that says what kind of address this is. */
struct lead {
    struct span text; /* from the first to the last word, blanks and comments around it left out */
    bool has_at;      /* an "@" outside quotes and comments: no group name, and no address if "<" follows */
};

/*
 * Skips words, dots and at-signs up to one of "<" ":" ";" "," or the end.
 *
 * Whether `a@b` is an address or, as in `a@b <c@d>`, somebody's idea of a display name is known only there. Taking the
 * angle brackets always is what keeps a forged "From: boss@example.org <thief@example.net>" from being two things.
 */
static bool skip_lead(struct scan *scan, struct lead *lead)
{
    *lead = (struct lead){.text = SPAN_NONE, .has_at = false};
    if (!skip_cfws(scan))
        return false;
    size_t from = scan->at, to = from;
    for (;;) {
        char byte = peek(scan);
        if (byte == '"') {
            if (!skip_quoted(scan))
                return false;
        } else if (is_atext(byte)) {
            skip_atom(scan);
        } else if (byte != '\0' && strchr(".@[]", byte) != NULL) {
            lead->has_at = lead->has_at || byte == '@';
            scan->at++;
        } else {
            if (to > from)
                lead->text = span_slice(scan->text, from, to);
            return true;
        }
        to = scan->at;
        if (!skip_cfws(scan))
            return false;
    }
}

/* obs-route = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) ":" (RFC 5322 §4.4), which is read over. */
static bool skip_route(struct scan *scan)
{
    bool has_route = false;
    for (;;) {
        if (!skip_cfws(scan))
            return false;
        if (peek(scan) == '@') {
            struct domain domain = {.len = 0};
            scan->at++;
            has_route = true;
            if (!read_domain(scan, true, &domain))
                return false;
        } else if (!take(scan, ',')) {
            return !has_route || take(scan, ':');
        }
    }
}

/* angle-addr = [CFWS] "<" [obs-route] addr-spec ">" [CFWS], the scan standing after "<". */
static enum err read_angle(struct scan *scan, char address_out[MIME_ADDR_SIZE])
{
    if (!skip_route(scan))
        return ERR_MALFORMED;
    enum err err = read_addr_spec(scan, true, address_out);
    if (err != ERR_OK)
        return err;
    return take(scan, '>') && skip_cfws(scan) ? ERR_OK : ERR_MALFORMED;
}

/* mailbox = name-addr / addr-spec, whose lead has been skipped and began at `from`. */
static enum err walk_mailbox(struct walk *walk, size_t from, struct lead lead)
{
    struct scan *scan = &walk->scan;
    struct mime_addr addr = {.display = SPAN_NONE};
    enum err err;
    if (take(scan, '<')) {
        addr.display = lead.text;
        err = read_angle(scan, addr.address);
    } else {
        scan->at = from;
        err = read_addr_spec(scan, true, addr.address);
    }
    if (err != ERR_OK)
        return err == ERR_ADDRESS_SYNTAX ? ERR_MALFORMED : err;
    if (!is_end(scan) && peek(scan) != ',' && !(walk->in_group && peek(scan) == ';'))
        return ERR_MALFORMED;
    if (++walk->count > ADDRESSES_MAX)
        return ERR_LIMIT;
    return walk->fn(&addr, walk->context);
}

/*
 * address = mailbox / group
 * group = display-name ":" [group-list] ";" [CFWS]
 *
 * A group may also end with the field, since "undisclosed-recipients:" without its ";" is common and means one thing
 * only.
 */
static enum err walk_address(struct walk *walk)
{
    struct scan *scan = &walk->scan;
    size_t from = scan->at;
    struct lead lead;
    if (!skip_lead(scan, &lead))
        return ERR_MALFORMED;
    if (peek(scan) != ':')
        return walk_mailbox(walk, from, lead);
    if (walk->in_group || lead.has_at || lead.text.len == 0)
        return ERR_MALFORMED;
    scan->at++;
    walk->in_group = true;
    return ERR_OK;
}

/* Ends an open group; what follows must be a comma or the end. */
static bool end_group(struct walk *walk)
{
    if (!walk->in_group || !take(&walk->scan, ';') || !skip_cfws(&walk->scan))
        return false;
    walk->in_group = false;
    return is_end(&walk->scan) || peek(&walk->scan) == ',';
}

enum err mime_addr_walk(struct span value, mime_addr_fn fn, void *context)
{
    struct walk walk = {.scan = {.text = value, .at = 0}, .fn = fn, .context = context};
    struct scan *scan = &walk.scan;
    for (;;) {
        if (!skip_cfws(scan))
            return ERR_MALFORMED;
        if (is_end(scan))
            return ERR_OK;
        /* Empty elements of a list are obsolete but legal (RFC 5322 §4.4). */
        if (take(scan, ','))
            continue;
        if (peek(scan) == ';') {
            if (!end_group(&walk))
                return ERR_MALFORMED;
            continue;
        }
        enum err err = walk_address(&walk);
        if (err != ERR_OK)
            return err;
    }
}

/* ---- comparing normal forms ---- */

bool mime_addr_is_same(const char *a, const char *b)
{
    return span_is_case_equal(span_of(a), span_of(b));
}

const char *mime_addr_domain(const char *address)
{
    const char *at = strrchr(address, '@');
    return at == NULL ? address + strlen(address) : at + 1;
}

bool mime_addr_matches(const char *address, const char *pattern)
{
    if (strcmp(pattern, "*") == 0)
        return true;
    if (strncmp(pattern, "*@", 2) != 0)
        return mime_addr_is_same(address, pattern);
    struct span domain = span_of(mime_addr_domain(address));
    const char *wanted = pattern + 2;
    if (strncmp(wanted, "*.", 2) != 0)
        return span_is_case_equal(domain, span_of(wanted));
    struct span suffix = span_of(wanted + 1);
    return domain.len > suffix.len && span_has_case_suffix(domain, suffix);
}
