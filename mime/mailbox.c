#include "mime/mailbox.h"

#include "mime/addr_internal.h"

#define MAILBOXES_MAX 100000

/* What a reader of one thing comes to. */
enum step {
    STEP_BAD,
    STEP_END, /* of the field; what was read is whole */
    STEP_MORE
};

struct word {
    struct buf text;
    bool is_there;
};

struct walk {
    struct mime_scan scan;
    struct word name, route, local, domain; /* of the mailbox being read */
    struct buf comment;                     /* the last one */
    mime_mailbox_fn fn;
    void *context;
    size_t count;
    enum err err; /* what ends the walk, whatever the text */
};

static void add(struct walk *walk, struct buf *out, char byte)
{
    if (walk->err == ERR_OK)
        walk->err = buf_add_byte(out, byte);
}

static void begin_word(struct word *word)
{
    buf_clear(&word->text);
    word->is_there = true;
}

static enum step here(const struct walk *walk)
{
    return mime_scan_is_end(&walk->scan) ? STEP_END : STEP_MORE;
}

static char peek(const struct walk *walk)
{
    return mime_scan_peek(&walk->scan);
}

/* ---- words ---- */

static bool at_line_end(const struct walk *walk)
{
    struct span rest = span_skip(walk->scan.text, walk->scan.at);

    return span_has_prefix(rest, SPAN_LIT("\n")) || span_has_prefix(rest, SPAN_LIT("\r\n"));
}

/* comment = "(" *([FWS] ccontent) [FWS] ")"; nested ones keep their parentheses. One that does not end counts up to its
   last escape or line end, as servers have it. */
static enum step take_comment(struct walk *walk)
{
    size_t depth = 1, sure = 0;

    buf_clear(&walk->comment);
    for (walk->scan.at++; !mime_scan_is_end(&walk->scan); walk->scan.at++) {
        char byte = peek(walk);

        depth += byte == '(';
        depth -= byte == ')';
        if (depth == 0) {
            walk->scan.at++;
            return here(walk);
        }
        if (at_line_end(walk)) {
            sure = walk->comment.len;
            continue;
        }
        if (byte == '\\') {
            sure = walk->comment.len;
            walk->scan.at++;
            if (mime_scan_is_end(&walk->scan))
                break;
        }
        add(walk, &walk->comment, peek(walk));
    }
    buf_truncate(&walk->comment, sure);
    return STEP_BAD;
}

static enum step skip_blanks(struct walk *walk)
{
    while (!mime_scan_is_end(&walk->scan)) {
        char byte = peek(walk);

        if (byte == '(') {
            if (take_comment(walk) == STEP_BAD)
                return STEP_BAD;
        } else if (byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n') {
            walk->scan.at++;
        } else {
            break;
        }
    }
    return here(walk);
}

static bool at_atext(const struct walk *walk)
{
    return !mime_scan_is_end(&walk->scan) && mime_is_atext(peek(walk));
}

static void take_atext(struct walk *walk, struct buf *out)
{
    while (at_atext(walk)) {
        add(walk, out, peek(walk));
        walk->scan.at++;
    }
}

static bool take_dot(struct walk *walk, struct buf *out)
{
    bool is_there = mime_scan_take(&walk->scan, '.');

    if (is_there)
        add(walk, out, '.');
    return is_there;
}

/* dot-atom, blanks allowed around the dots (RFC 5322 §4.4) */
static enum step take_dot_atom(struct walk *walk, struct buf *out)
{
    while (at_atext(walk)) {
        enum step step;

        take_atext(walk, out);
        step = skip_blanks(walk);
        if (step != STEP_MORE || !mime_scan_take(&walk->scan, '.'))
            return step;
        add(walk, out, '.');
        if (skip_blanks(walk) != STEP_MORE)
            return STEP_BAD;
    }
    return STEP_BAD;
}

/* Atoms and any number of dots, as some write local parts; blanks may stand before a dot. */
static enum step take_loose_dot_atom(struct walk *walk, struct buf *out)
{
    enum step step = STEP_BAD;

    do {
        while (take_dot(walk, out))
            step = here(walk);
        if (mime_scan_is_end(&walk->scan) || peek(walk) == '@')
            return step;
        if (!at_atext(walk))
            return STEP_BAD;
        take_atext(walk, out);
        step = skip_blanks(walk);
    } while (step == STEP_MORE && peek(walk) == '.');
    return step;
}

/* quoted-string without its quotes; one that does not end counts up to its last escape or line end. */
static enum step take_quoted(struct walk *walk, struct buf *out)
{
    size_t sure = out->len;

    for (walk->scan.at++; !mime_scan_is_end(&walk->scan); walk->scan.at++) {
        char byte = peek(walk);

        if (byte == '"') {
            walk->scan.at++;
            return skip_blanks(walk);
        }
        if (byte == '\\') {
            walk->scan.at++;
            if (mime_scan_is_end(&walk->scan))
                break;
            sure = out->len;
            byte = peek(walk);
        } else if (at_line_end(walk)) {
            sure = out->len;
            continue;
        }
        add(walk, out, byte);
    }
    buf_truncate(out, sure);
    return STEP_BAD;
}

/* phrase = 1*word / obs-phrase, with one space between words */
static enum step take_phrase(struct walk *walk, struct buf *out)
{
    if (mime_scan_is_end(&walk->scan))
        return STEP_END;
    if (peek(walk) == '.')
        return STEP_BAD;
    for (;;) {
        enum step step;

        if (peek(walk) == '"') {
            step = take_quoted(walk, out);
        } else {
            do
                take_atext(walk, out);
            while (take_dot(walk, out));
            step = skip_blanks(walk);
        }
        if (step != STEP_MORE || (!at_atext(walk) && peek(walk) != '"' && peek(walk) != '.'))
            return step;
        add(walk, out, ' ');
    }
}

/* domain-literal = "[" *dtext "]"; dtext holds no "[" */
static enum step take_literal(struct walk *walk, struct buf *out)
{
    add(walk, out, '[');
    for (walk->scan.at++; !mime_scan_is_end(&walk->scan); walk->scan.at++) {
        char byte = peek(walk);

        if (byte == '[')
            return STEP_BAD;
        if (at_line_end(walk))
            continue;
        add(walk, out, byte);
        if (byte == '\\') {
            walk->scan.at++;
            if (mime_scan_is_end(&walk->scan))
                break;
            add(walk, out, peek(walk));
        } else if (byte == ']') {
            walk->scan.at++;
            return skip_blanks(walk);
        }
    }
    return STEP_BAD;
}

/* "@" domain */
static enum step take_domain(struct walk *walk, struct buf *out)
{
    walk->scan.at++;
    if (skip_blanks(walk) != STEP_MORE)
        return STEP_BAD;
    return peek(walk) == '[' ? take_literal(walk, out) : take_dot_atom(walk, out);
}

/* ---- mailboxes ---- */

static struct span span_or_none(const struct word *word)
{
    return word->is_there ? buf_span(&word->text) : SPAN_NONE;
}

/* Gives out what was read, and begins the next. */
static void give(struct walk *walk, enum mime_mailbox_kind kind)
{
    struct mime_mailbox mailbox = {
        .kind = kind,
        .name = span_or_none(&walk->name),
        .route = span_or_none(&walk->route),
        .local = span_or_none(&walk->local),
        .domain = span_or_none(&walk->domain),
    };

    if (kind == MIME_MAILBOX && !walk->local.is_there)
        mailbox.local = SPAN_LIT("MISSING_MAILBOX");
    if (kind == MIME_MAILBOX && mailbox.domain.len == 0)
        mailbox.domain = SPAN_LIT("MISSING_DOMAIN");
    walk->count++;
    if (walk->err == ERR_OK)
        walk->err = walk->fn(&mailbox, walk->context);
    walk->name.is_there = walk->route.is_there = walk->local.is_there = walk->domain.is_there = false;
}

static void set_word(struct walk *walk, struct word *word, const char *text)
{
    begin_word(word);
    if (walk->err == ERR_OK)
        walk->err = buf_add_string(&word->text, text);
}

/* local-part = dot-atom / quoted-string / obs-local-part; one that breaks off counts for nothing. */
static enum step take_local(struct walk *walk)
{
    enum step step;

    begin_word(&walk->local);
    step = peek(walk) == '"' ? take_quoted(walk, &walk->local.text) : take_loose_dot_atom(walk, &walk->local.text);
    walk->local.is_there = step != STEP_BAD;
    return step;
}

static enum step take_own_domain(struct walk *walk)
{
    enum step step;

    begin_word(&walk->domain);
    step = take_domain(walk, &walk->domain.text);
    walk->domain.is_there = step != STEP_BAD;
    return step;
}

/* obs-domain-list = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) (RFC 5322 §4.4) */
static enum step take_route(struct walk *walk)
{
    enum step step;

    begin_word(&walk->route);
    while (peek(walk) == '@') {
        if (walk->route.text.len > 0)
            add(walk, &walk->route.text, ',');
        add(walk, &walk->route.text, '@');
        step = take_domain(walk, &walk->route.text);
        if (step != STEP_MORE)
            return step;
        while (skip_blanks(walk) == STEP_MORE && peek(walk) == ',')
            walk->scan.at++;
        if (mime_scan_is_end(&walk->scan))
            return STEP_END;
    }
    return STEP_MORE;
}

/* angle-addr = "<" [route ":"] addr-spec ">"; what is broken behind a part of it leaves that part. */
static enum step take_angle(struct walk *walk)
{
    walk->scan.at++;
    if (skip_blanks(walk) != STEP_MORE)
        return STEP_BAD;
    if (peek(walk) == '@') {
        if (take_route(walk) != STEP_MORE || !mime_scan_take(&walk->scan, ':'))
            set_word(walk, &walk->route, "INVALID_ROUTE");
        if (skip_blanks(walk) != STEP_MORE)
            return STEP_BAD;
    }
    if (peek(walk) != '>') {
        if (take_local(walk) != STEP_MORE || (peek(walk) == '@' && take_own_domain(walk) != STEP_MORE))
            return STEP_BAD;
    }
    return mime_scan_take(&walk->scan, '>') ? skip_blanks(walk) : STEP_BAD;
}

/* name-addr = [phrase] angle-addr; STEP_BAD only if it is none. */
static enum step take_name_addr(struct walk *walk)
{
    enum step step;

    begin_word(&walk->name);
    step = take_phrase(walk, &walk->name.text);
    walk->name.is_there = false;
    if (step != STEP_MORE || peek(walk) != '<')
        return STEP_BAD;
    walk->name.is_there = walk->name.text.len > 0;
    if (take_angle(walk) == STEP_BAD)
        set_word(walk, &walk->domain, "SYNTAX_ERROR");
    return here(walk);
}

/* Words without a domain: one is the local part, more are a name without an address, as is one in quotes. What was
   taken for a local part goes before the rest. */
static void take_name_alone(struct walk *walk, bool is_quoted)
{
    struct buf *text = &walk->local.text;
    size_t len;

    add(walk, text, ' ');
    len = text->len;
    (void)take_phrase(walk, text);
    if (text->len == len) {
        buf_truncate(text, len > 0 ? len - 1 : 0);
        if (!is_quoted || !walk->local.is_there)
            return;
    }
    begin_word(&walk->name);
    if (walk->err == ERR_OK)
        walk->err = buf_add_span(&walk->name.text, buf_span(text));
    walk->local.is_there = false;
}

/* addr-spec with a comment behind it that tells the name: "a@b (Alice)" */
static enum step take_addr_spec(struct walk *walk)
{
    bool is_quoted = peek(walk) == '"', has_domain = false;
    enum step step, domain_step;

    buf_clear(&walk->comment);
    step = take_local(walk);
    if (step != STEP_END && !mime_scan_is_end(&walk->scan) && peek(walk) == '@') {
        has_domain = true;
        domain_step = take_own_domain(walk);
        if (domain_step != STEP_MORE)
            step = domain_step;
    }
    if (walk->comment.len > 0) {
        begin_word(&walk->name);
        if (walk->err == ERR_OK)
            walk->err = buf_add_span(&walk->name.text, buf_span(&walk->comment));
    } else if (!has_domain) {
        take_name_alone(walk, is_quoted);
        step = STEP_BAD;
    }
    return step;
}

static enum step take_mailbox(struct walk *walk)
{
    size_t start = walk->scan.at;
    enum step step = take_name_addr(walk);

    if (step == STEP_BAD) {
        walk->scan.at = start;
        step = take_addr_spec(walk);
    }
    give(walk, MIME_MAILBOX);
    return step;
}

static bool may_go_on(const struct walk *walk)
{
    return walk->err == ERR_OK && walk->count < MAILBOXES_MAX;
}

/* The mailboxes of a group up to its ";". */
static enum step take_members(struct walk *walk)
{
    while (may_go_on(walk)) {
        (void)take_mailbox(walk);
        if (!mime_scan_take(&walk->scan, ','))
            return STEP_MORE;
        if (skip_blanks(walk) != STEP_MORE)
            return STEP_BAD;
    }
    return STEP_BAD;
}

/* group = phrase ":" [mailbox-list] ";"; STEP_BAD only if it is none. */
static enum step take_group(struct walk *walk)
{
    enum step step;

    begin_word(&walk->local);
    step = take_phrase(walk, &walk->local.text);
    walk->local.is_there = false;
    if (step != STEP_MORE || !mime_scan_take(&walk->scan, ':'))
        return STEP_BAD;
    walk->local.is_there = true;
    step = skip_blanks(walk);
    give(walk, MIME_GROUP_BEGIN);
    if (step == STEP_MORE && peek(walk) != ';')
        step = take_members(walk);
    if (step != STEP_BAD)
        step = mime_scan_take(&walk->scan, ';') ? skip_blanks(walk) : STEP_BAD;
    give(walk, MIME_GROUP_END);
    return step == STEP_END ? STEP_END : STEP_MORE;
}

static enum step take_address(struct walk *walk)
{
    size_t start = walk->scan.at;
    enum step step = take_group(walk);

    if (step != STEP_BAD)
        return step;
    walk->scan.at = start;
    return take_mailbox(walk);
}

static void take_list(struct walk *walk)
{
    if (skip_blanks(walk) != STEP_MORE)
        return;
    while (may_go_on(walk)) {
        enum step step = take_address(walk);

        if (step == STEP_END || !mime_scan_take(&walk->scan, ','))
            return;
        step = skip_blanks(walk);
        if (step == STEP_BAD)
            give(walk, MIME_MAILBOX);
        if (step != STEP_MORE)
            return;
    }
}

enum err mime_mailbox_walk(struct span value, mime_mailbox_fn fn, void *context)
{
    struct walk walk = {.scan = {.text = value}, .fn = fn, .context = context};
    size_t len_max = value.len + sizeof "MISSING_MAILBOX";

    buf_init(&walk.name.text, len_max);
    buf_init(&walk.route.text, len_max);
    buf_init(&walk.local.text, len_max);
    buf_init(&walk.domain.text, len_max);
    buf_init(&walk.comment, len_max);
    take_list(&walk);
    buf_fini(&walk.name.text);
    buf_fini(&walk.route.text);
    buf_fini(&walk.local.text);
    buf_fini(&walk.domain.text);
    buf_fini(&walk.comment);
    return walk.err;
}
