#include "mime/addr.h"

#include "mime/addr_internal.h"

#include <string.h>

#define ADDRESSES_MAX 10000

struct walk {
    struct mime_scan scan;
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

/* A domain literal, in which ":" is no end of a group's name; or a bracket alone. */
static void skip_literal(struct mime_scan *scan)
{
    size_t from = ++scan->at;
    while (mime_is_dtext(mime_scan_peek(scan)))
        scan->at++;
    if (!mime_scan_take(scan, ']'))
        scan->at = from;
}

/*
 * Skips words, dots and at-signs up to one of "<" ":" ";" "," or the end.
 *
 * Whether `a@b` is an address or, as in `a@b <c@d>`, somebody's idea of a display name is known only there. Taking the
 * angle brackets always is what keeps a forged "From: boss@example.org <thief@example.net>" from being two things.
 */
static bool skip_lead(struct mime_scan *scan, struct lead *lead)
{
    *lead = (struct lead){.text = SPAN_NONE, .has_at = false};
    if (!mime_scan_skip_cfws(scan))
        return false;
    size_t from = scan->at, to = from;
    for (;;) {
        char byte = mime_scan_peek(scan);
        if (byte == '"') {
            if (!mime_scan_skip_quoted(scan))
                return false;
        } else if (mime_is_atext(byte)) {
            mime_scan_skip_atom(scan);
        } else if (byte == '[') {
            skip_literal(scan);
        } else if (byte == '.' || byte == '@' || byte == ']') {
            lead->has_at = lead->has_at || byte == '@';
            scan->at++;
        } else {
            if (to > from)
                lead->text = span_slice(scan->text, from, to);
            return true;
        }
        to = scan->at;
        if (!mime_scan_skip_cfws(scan))
            return false;
    }
}

/* obs-route = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) ":" (RFC 5322 §4.4), which is read over. */
static bool skip_route(struct mime_scan *scan)
{
    bool has_route = false;
    for (;;) {
        if (!mime_scan_skip_cfws(scan))
            return false;
        if (mime_scan_peek(scan) == '@') {
            scan->at++;
            has_route = true;
            if (!mime_scan_skip_domain(scan))
                return false;
        } else if (!mime_scan_take(scan, ',')) {
            return !has_route || mime_scan_take(scan, ':');
        }
    }
}

/* angle-addr = [CFWS] "<" [obs-route] addr-spec ">" [CFWS], the scan standing after "<". */
static enum err read_angle(struct mime_scan *scan, char address_out[MIME_ADDR_SIZE])
{
    if (!skip_route(scan))
        return ERR_MALFORMED;
    enum err err = mime_scan_read_addr_spec(scan, true, address_out);
    if (err != ERR_OK)
        return err;
    return mime_scan_take(scan, '>') && mime_scan_skip_cfws(scan) ? ERR_OK : ERR_MALFORMED;
}

/* mailbox = name-addr / addr-spec, whose lead has been skipped and began at `from`. */
static enum err walk_mailbox(struct walk *walk, size_t from, struct lead lead)
{
    struct mime_scan *scan = &walk->scan;
    struct mime_addr addr = {.display = SPAN_NONE};
    enum err err;
    if (mime_scan_take(scan, '<')) {
        addr.display = lead.text;
        err = read_angle(scan, addr.address);
    } else {
        scan->at = from;
        err = mime_scan_read_addr_spec(scan, true, addr.address);
    }
    if (err != ERR_OK)
        return err == ERR_ADDRESS_SYNTAX ? ERR_MALFORMED : err;
    if (!mime_scan_is_end(scan) && mime_scan_peek(scan) != ',' && !(walk->in_group && mime_scan_peek(scan) == ';'))
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
    struct mime_scan *scan = &walk->scan;
    size_t from = scan->at;
    struct lead lead;
    if (!skip_lead(scan, &lead))
        return ERR_MALFORMED;
    if (mime_scan_peek(scan) != ':')
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
    if (!walk->in_group || !mime_scan_take(&walk->scan, ';') || !mime_scan_skip_cfws(&walk->scan))
        return false;
    walk->in_group = false;
    return mime_scan_is_end(&walk->scan) || mime_scan_peek(&walk->scan) == ',';
}

enum err mime_addr_walk(struct span value, mime_addr_fn fn, void *context)
{
    struct walk walk = {.scan = {.text = value, .at = 0}, .fn = fn, .context = context};
    struct mime_scan *scan = &walk.scan;
    for (;;) {
        if (!mime_scan_skip_cfws(scan))
            return ERR_MALFORMED;
        if (mime_scan_is_end(scan))
            return ERR_OK;
        /* Empty elements of a list are obsolete but legal (RFC 5322 §4.4). */
        if (mime_scan_take(scan, ','))
            continue;
        if (mime_scan_peek(scan) == ';') {
            if (!end_group(&walk))
                return ERR_MALFORMED;
            continue;
        }
        enum err err = walk_address(&walk);
        if (err != ERR_OK)
            return err;
    }
}

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
