/*
 * capability-data = "CAPABILITY" *(SP capability); capability = ("AUTH=" auth-type) / atom   (RFC 3501 §9)
 */
#include "imap/capability.h"

#include <stdio.h>

#define WORDS_MAX 16384u

enum treatment {
    HIDDEN,   /* never shown: the zero value, and what is not in the table */
    PASS,     /* the server's word stands */
    OWN,      /* of this leg alone: what the server says of it is about the other leg */
    REWRITTEN /* shown where the server has it, but answered for the view here */
};

/* The allow-list. A name that ends in "=" is followed by anything, one that ends in "*" also by nothing. */
static const struct rule {
    struct span name;
    enum treatment treatment;
    uint32_t feature;
} rules[] = {
    {SPAN_LIT("UIDPLUS"), PASS, IMAP_HAS_UIDPLUS},
    {SPAN_LIT("MOVE"), PASS, IMAP_HAS_MOVE},
    {SPAN_LIT("UNSELECT"), PASS, 0},
    {SPAN_LIT("IDLE"), PASS, IMAP_HAS_IDLE},
    {SPAN_LIT("NAMESPACE"), PASS, 0},
    {SPAN_LIT("CHILDREN"), PASS, 0},
    {SPAN_LIT("LIST-EXTENDED"), PASS, 0},
    {SPAN_LIT("LIST-STATUS"), PASS, 0},
    {SPAN_LIT("LIST-MYRIGHTS"), PASS, 0},
    {SPAN_LIT("SPECIAL-USE"), PASS, 0},
    {SPAN_LIT("CREATE-SPECIAL-USE"), PASS, 0},
    {SPAN_LIT("ACL"), PASS, 0},
    {SPAN_LIT("RIGHTS="), PASS, 0},
    {SPAN_LIT("METADATA"), PASS, 0},
    {SPAN_LIT("QUOTA*"), PASS, 0},
    {SPAN_LIT("SAVEDATE"), PASS, 0},
    {SPAN_LIT("OBJECTID"), PASS, IMAP_HAS_OBJECTID},
    {SPAN_LIT("INPROGRESS"), PASS, IMAP_HAS_INPROGRESS},
    {SPAN_LIT("XLIST"), PASS, 0},
    {SPAN_LIT("ENABLE"), PASS, IMAP_HAS_ENABLE},
    {SPAN_LIT("CONDSTORE"), PASS, IMAP_HAS_CONDSTORE},
    {SPAN_LIT("QRESYNC"), PASS, IMAP_HAS_QRESYNC},
    {SPAN_LIT("SEARCHRES"), PASS, IMAP_HAS_SEARCHRES}, /* our own SEARCH knows "$" */
    {SPAN_LIT("X-GM-EXT-1"), PASS, IMAP_HAS_GMAIL},    /* labels and ids */

    {SPAN_LIT("ID"), OWN, IMAP_HAS_ID},
    {SPAN_LIT("STARTTLS"), OWN, IMAP_HAS_STARTTLS},
    {SPAN_LIT("SASL-IR"), OWN, IMAP_HAS_SASL_IR},
    {SPAN_LIT("AUTH="), OWN, 0},
    {SPAN_LIT("LOGINDISABLED"), OWN, IMAP_HAS_LOGINDISABLED},
    {SPAN_LIT("LITERAL+"), OWN, IMAP_HAS_LITERAL_PLUS},
    {SPAN_LIT("LITERAL-"), OWN, IMAP_HAS_LITERAL_MINUS},
    {SPAN_LIT("COMPRESS=DEFLATE"), OWN, IMAP_HAS_COMPRESS},

    {SPAN_LIT("IMAP4rev1"), REWRITTEN, IMAP_HAS_IMAP4REV1},
    {SPAN_LIT("ESEARCH"), REWRITTEN, IMAP_HAS_ESEARCH},
    {SPAN_LIT("WITHIN"), REWRITTEN, 0},
    {SPAN_LIT("MULTIAPPEND"), REWRITTEN, IMAP_HAS_MULTIAPPEND},
    {SPAN_LIT("APPENDLIMIT"), REWRITTEN, IMAP_HAS_APPENDLIMIT},
    {SPAN_LIT("APPENDLIMIT="), REWRITTEN, IMAP_HAS_APPENDLIMIT},
    {SPAN_LIT("UTF8=ACCEPT"), REWRITTEN, IMAP_HAS_UTF8_ACCEPT},

    /* Until they answer for the view: */
    {SPAN_LIT("SORT*"), HIDDEN, 0},
    {SPAN_LIT("THREAD="), HIDDEN, 0},
    {SPAN_LIT("PREVIEW*"), HIDDEN, 0},
    {SPAN_LIT("SNIPPET*"), HIDDEN, 0},
    {SPAN_LIT("BINARY"), HIDDEN, 0},
    {SPAN_LIT("STATUS=SIZE"), HIDDEN, 0},
    {SPAN_LIT("PARTIAL"), HIDDEN, 0},
    {SPAN_LIT("SEARCH=FUZZY"), HIDDEN, 0},
    /* What would reach past the views: CATENATE, URLAUTH, REPLACE, CONVERT, ANNOTATE, CONTEXT, NOTIFY, MULTISEARCH,
       IMAP4rev2, UIDONLY, referrals, and every token that is not named here. */
};

static bool is_named(struct span name, struct span word)
{
    char last = name.ptr[name.len - 1];
    struct span stem = {name.ptr, last == '*' ? name.len - 1 : name.len};
    if (last == '*' || last == '=')
        return span_has_case_prefix(word, stem) && (last == '*' || word.len > stem.len);
    return span_is_case_equal(word, name);
}

static const struct rule *rule_of(struct span word)
{
    static const struct rule unknown = {.treatment = HIDDEN};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (is_named(rules[i].name, word))
            return &rules[i];
    return &unknown;
}

void imap_capabilities_init(struct imap_capabilities *capabilities)
{
    *capabilities = (struct imap_capabilities){0};
    buf_init(&capabilities->words, WORDS_MAX);
}

void imap_capabilities_fini(struct imap_capabilities *capabilities)
{
    buf_fini(&capabilities->words);
    capabilities->features = 0;
    capabilities->mechanisms = 0;
    capabilities->append_limit = 0;
}

static void note_word(struct span word, struct imap_capabilities *capabilities)
{
    static const struct span auth = SPAN_LIT("AUTH=");
    static const struct span limit = SPAN_LIT("APPENDLIMIT=");
    capabilities->features |= rule_of(word)->feature;
    if (span_has_case_prefix(word, auth)) {
        enum sasl_mechanism mechanism = sasl_parse(span_skip(word, auth.len));
        if (mechanism != SASL_NONE)
            capabilities->mechanisms |= (sasl_set)1 << mechanism;
    } else if (span_has_case_prefix(word, limit)) {
        (void)span_to_u64(span_skip(word, limit.len), UINT64_MAX, &capabilities->append_limit);
    }
}

static bool is_atom(struct span word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.ptr[i] <= ' ' || word.ptr[i] == 0x7f || word.ptr[i] == '(' || word.ptr[i] == ')' ||
            word.ptr[i] == '{' || word.ptr[i] == '"')
            return false;
    return true;
}

static enum err add_word(struct buf *out, struct span word)
{
    enum err err = out->len == 0 ? ERR_OK : buf_add_byte(out, ' ');
    return err == ERR_OK ? buf_add_span(out, word) : err;
}

/* Servers are known to put two blanks, or one at the end. */
enum err imap_capabilities_parse(struct span words, struct imap_capabilities *capabilities_out)
{
    struct span rest = span_trim(words);
    struct span word;
    enum err err = ERR_OK;
    imap_capabilities_fini(capabilities_out);
    while (err == ERR_OK && span_take_until(&rest, ' ', &word)) {
        if (word.len == 0)
            continue;
        err = is_atom(word) ? add_word(&capabilities_out->words, word) : ERR_MALFORMED;
        if (err == ERR_OK)
            note_word(word, capabilities_out);
    }
    if (err != ERR_OK)
        imap_capabilities_fini(capabilities_out);
    return err == ERR_LIMIT ? ERR_MALFORMED : err;
}

static enum err add_mechanisms(sasl_set mechanisms, struct buf *out)
{
    struct buf names;
    struct span name;
    buf_init(&names, 256);
    enum err err = sasl_format_set(mechanisms, &names);
    struct span rest = buf_span(&names);
    while (err == ERR_OK && rest.len > 0 && span_take_until(&rest, ' ', &name))
        err = buf_addf(out, " AUTH=%.*s", (int)name.len, name.ptr);
    buf_fini(&names);
    return err;
}

enum err imap_capabilities_before(const struct imap_offer *offer, struct buf *out)
{
    enum err err = buf_add_string(out, "IMAP4rev1 SASL-IR LITERAL+ ID");
    if (err == ERR_OK && offer->offers_starttls)
        err = buf_add_string(out, " STARTTLS");
    if (err == ERR_OK && offer->has_login_disabled)
        err = buf_add_string(out, " LOGINDISABLED");
    else if (err == ERR_OK)
        err = add_mechanisms(offer->mechanisms, out);
    return err;
}

uint64_t imap_append_room(uint64_t limit, unsigned sealed_percent, uint64_t sealed_headers)
{
    limit = limit > sealed_headers ? limit - sealed_headers : 0;
    /* limit * percent / 100 without overflow */
    return limit / 100 * sealed_percent + limit % 100 * sealed_percent / 100;
}

/* RFC 7889: APPENDLIMIT=n is a limit for all mailboxes; without a number each has one of its own, which STATUS tells.
   That one nobody rewrites, so it is shown only where nothing is sealed. */
static enum err add_append_limit(const struct imap_capabilities *server, struct span word, unsigned sealed_percent,
                                 uint64_t sealed_headers, struct buf *out)
{
    bool has_number = span_find_byte(word, 0, '=') != word.len;
    if (sealed_percent == 0)
        return add_word(out, word);
    if (!has_number)
        return ERR_OK;
    uint64_t room = imap_append_room(server->append_limit, sealed_percent, sealed_headers);
    return buf_addf(out, " APPENDLIMIT=%llu", (unsigned long long)room);
}

enum err imap_capabilities_after(const struct imap_capabilities *server, const struct imap_offer *offer,
                                 unsigned sealed_percent, uint64_t sealed_headers, struct buf *out)
{
    struct span rest = buf_span(&server->words);
    struct span word;
    enum err err = buf_add_string(out, "IMAP4rev1 SASL-IR LITERAL+ ID");
    if (err == ERR_OK && offer->offers_compress)
        err = buf_add_string(out, " COMPRESS=DEFLATE");
    while (err == ERR_OK && rest.len > 0 && span_take_until(&rest, ' ', &word)) {
        const struct rule *rule = rule_of(word);
        if (rule->feature == IMAP_HAS_APPENDLIMIT)
            err = add_append_limit(server, word, sealed_percent, sealed_headers, out);
        else if (rule->treatment == PASS || (rule->treatment == REWRITTEN && rule->feature != IMAP_HAS_IMAP4REV1))
            err = add_word(out, word);
    }
    return err;
}

bool imap_capabilities_has(struct span shown, const char *capability)
{
    struct span wanted = span_of(capability);
    struct span word;
    while (shown.len > 0 && span_take_until(&shown, ' ', &word))
        if (span_is_case_equal(word, wanted))
            return true;
    return false;
}
