#include "imap/search.h"

#include "mime/utf8.h"

#include <stdlib.h>
#include <string.h>

#define STRING_MAX ((size_t)1 << 20)

/* The reading of one search program. A node's children are written behind it, so that a subtree is always the last
   nodes there are while it is read. */
struct reading {
    struct imap_cursor *cursor;
    struct imap_search *search;
    unsigned depth;
};

/* One space, says the grammar; servers take more. */
static bool take_blanks(struct imap_cursor *cursor)
{
    bool is_there = false;

    while (imap_take_space(cursor))
        is_there = true;
    return is_there;
}

static struct span since(const struct reading *reading, size_t start)
{
    return span_slice(reading->cursor->text, start, reading->cursor->at);
}

/* ---- nodes ---- */

static enum err add_node(struct reading *reading, enum imap_search_kind kind, size_t *node_out)
{
    struct imap_search *search = reading->search;

    if (search->nodes_len == IMAP_SEARCH_NODES_MAX)
        return ERR_LIMIT;
    *node_out = search->nodes_len++;
    search->nodes[*node_out] = (struct imap_search_node){.kind = kind};
    return ERR_OK;
}

static enum err add_server(struct reading *reading, size_t start, size_t *node_out)
{
    enum err result = add_node(reading, IMAP_SEARCH_SERVER, node_out);

    if (result == ERR_OK) {
        reading->search->nodes[*node_out].raw = since(reading, start);
        reading->search->nodes[*node_out].server = reading->search->servers_len++;
    }
    return result;
}

/* Takes over what `leaf` owns, whatever comes of it. */
static enum err add_view(struct reading *reading, size_t start, struct mime_text_leaf *leaf, size_t *node_out)
{
    struct imap_search *search = reading->search;
    enum err result = add_node(reading, IMAP_SEARCH_VIEW, node_out);
    struct mime_text_leaf *leaves = NULL;

    if (result == ERR_OK) {
        leaves = reallocarray(search->leaves, search->leaves_len + 1, sizeof *leaves);
        result = leaves == NULL ? ERR_MEMORY : ERR_OK;
    }
    if (result != ERR_OK) {
        mime_text_leaf_fini(leaf);
        return result;
    }
    search->leaves = leaves;
    search->nodes[*node_out].raw = since(reading, start);
    search->nodes[*node_out].leaf = search->leaves_len;
    search->leaves[search->leaves_len++] = *leaf;
    return ERR_OK;
}

/* Hangs a node that has just been read onto `parent`. Neighbours that are all the server's are one question. */
static void hang(struct reading *reading, size_t parent, size_t *last, size_t node)
{
    struct imap_search_node *nodes = reading->search->nodes;
    bool is_server = nodes[node].kind == IMAP_SEARCH_SERVER;

    if (*last == 0) {
        nodes[parent].first_child = node;
    } else if (nodes[parent].kind == IMAP_SEARCH_AND && is_server && nodes[*last].kind == IMAP_SEARCH_SERVER) {
        nodes[*last].raw.len = (size_t)(nodes[node].raw.ptr + nodes[node].raw.len - nodes[*last].raw.ptr);
        reading->search->nodes_len = node;
        reading->search->servers_len--;
        return;
    } else {
        nodes[*last].next = node;
    }
    *last = node;
}

/* A node whose children are all the server's is the server's as a whole. */
static void settle(struct reading *reading, size_t node, size_t start)
{
    struct imap_search *search = reading->search;
    struct imap_search_node *nodes = search->nodes;
    size_t first = nodes[node].first_child;

    for (size_t child = first; child != 0; child = nodes[child].next)
        if (nodes[child].kind != IMAP_SEARCH_SERVER)
            return;
    search->servers_len = nodes[first].server + 1;
    search->nodes_len = node + 1;
    nodes[node] = (struct imap_search_node){
        .kind = IMAP_SEARCH_SERVER, .raw = since(reading, start), .server = search->servers_len - 1};
}

/* ---- strings ---- */

static enum err take_astring(struct reading *reading, struct buf *out)
{
    struct imap_string string;
    enum err result = ERR_COMMAND_SYNTAX;

    buf_init(out, STRING_MAX);
    if (take_blanks(reading->cursor) && imap_take_astring(reading->cursor, &string))
        result = imap_string_add(&string, out);
    if (result == ERR_OK && memchr(out->data, '\0', out->len) != NULL)
        result = ERR_COMMAND_SYNTAX;
    return result == ERR_MALFORMED ? ERR_COMMAND_SYNTAX : result;
}

static bool is_utf8(struct span charset)
{
    return charset.len == 0 || span_is_case_equal(charset, SPAN_LIT("UTF-8")) ||
           span_is_case_equal(charset, SPAN_LIT("US-ASCII"));
}

/* The next string in the form for searching. */
static enum err take_needle(struct reading *reading, char **needle_out)
{
    struct span charset = reading->search->charset;
    struct buf string, needle;
    enum err result = take_astring(reading, &string);

    buf_init(&needle, 8 * STRING_MAX);
    if (result == ERR_OK && is_utf8(charset) && !mime_utf8_is_valid(buf_span(&string)))
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK && !mime_text_has_charset(charset))
        result = ERR_NOT_FOUND;
    if (result == ERR_OK)
        result = mime_text_normalise(buf_span(&string), charset, &needle);
    /* What stands for bytes that are none in the charset. */
    if (result == ERR_OK && !is_utf8(charset) &&
        span_find(buf_span(&needle), 0, SPAN_LIT(MIME_UTF8_REPLACEMENT)) != SIZE_MAX)
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK) {
        *needle_out = buf_take(&needle);
        result = *needle_out == NULL ? ERR_MEMORY : ERR_OK;
    }
    buf_fini(&needle);
    buf_fini(&string);
    return result;
}

static enum err take_field_name(struct reading *reading, char **name_out)
{
    struct buf name;
    enum err result = take_astring(reading, &name);

    for (size_t i = 0; i < name.len; i++)
        name.data[i] = span_lower(name.data[i]);
    if (result == ERR_OK) {
        *name_out = buf_take(&name);
        result = *name_out == NULL ? ERR_MEMORY : ERR_OK;
    }
    buf_fini(&name);
    return result;
}

/* sequence-set, or "$" (RFC 5182): whether its numbers are there is the server's business. */
static bool is_set(struct span text, bool *is_saved_out)
{
    bool was_number = false, has_colon = false;

    *is_saved_out = span_is_equal(text, SPAN_LIT("$"));
    if (*is_saved_out)
        return true;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        bool is_digit = byte >= '0' && byte <= '9';

        if (byte == ',' || byte == ':') {
            if (!was_number || (byte == ':' && has_colon))
                return false;
            has_colon = byte == ':';
            was_number = false;
        } else if (is_digit || (byte == '*' && !was_number)) {
            /* A number does not begin with 0, and "*" stands alone. */
            if ((byte == '0' && !was_number) || (is_digit && i > 0 && text.ptr[i - 1] == '*'))
                return false;
            was_number = true;
        } else {
            return false;
        }
    }
    return was_number;
}

/* ---- dates ---- */

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* date-text = date-day "-" date-month "-" date-year (RFC 3501 §9), read as the Date field is. A day that the month does
   not have is before or after all others, as servers see it. */
static bool read_date(struct span text, int64_t *days_out)
{
    static const char midnight[] = " 00:00";
    char date[sizeof "01 Jan 1970" - 1 + sizeof midnight];
    bool is_month = false;
    uint64_t day, year;

    /* date-day-fixed has a blank for its first digit. */
    if (text.len == sizeof "1-Jan-1970" - 1 && text.ptr[0] != ' ') {
        date[0] = '0';
        memcpy(date + 1, text.ptr, text.len);
    } else if (text.len == sizeof "01-Jan-1970" - 1) {
        memcpy(date, text.ptr, text.len);
        date[0] = date[0] == ' ' ? '0' : date[0];
    } else {
        return false;
    }
    memcpy(date + sizeof date - sizeof midnight, midnight, sizeof midnight);
    for (size_t i = 0; i < 12; i++)
        is_month = is_month || span_is_case_equal((struct span){date + 3, 3}, span_of(months[i]));
    if (date[2] != '-' || date[6] != '-' || !is_month || !span_to_u64((struct span){date, 2}, 99, &day) ||
        !span_to_u64((struct span){date + 7, 4}, 9999, &year))
        return false;
    date[2] = date[6] = ' ';
    if (!mime_text_day(span_of(date), days_out))
        *days_out = year < 2000 ? INT64_MIN : INT64_MAX;
    return true;
}

static enum err take_date(struct reading *reading, int64_t *days_out)
{
    struct buf text;
    enum err result = take_astring(reading, &text);

    if (result == ERR_OK && !read_date(buf_span(&text), days_out))
        result = ERR_COMMAND_SYNTAX;
    buf_fini(&text);
    return result;
}

static enum err take_sent(struct reading *reading, uint64_t *number_out)
{
    int64_t days = 0;
    enum err result = take_date(reading, &days);

    *number_out = (uint64_t)days;
    return result;
}

/* ---- keys ---- */

enum key_arguments {
    KEY_NONE,
    KEY_STRING, /* one astring */
    KEY_DATE,
    KEY_NUMBER,  /* a number that is not 0 */
    KEY_SET,     /* "UID" */
    KEY_MODSEQ,  /* [entry-name SP entry-type-req SP] mod-sequence-valzer (RFC 7162 §3.1.5) */
    KEY_REFUSED, /* what cannot be answered for views */
    /* of the view: */
    KEY_FIELD, /* the field of the key's name */
    KEY_HEADER,
    KEY_TEXT,
    KEY_SIZE,
    KEY_SENT,
    /* with keys in them: */
    KEY_NOT,
    KEY_OR
};

struct key {
    const char *name;
    enum key_arguments arguments;
    enum mime_text_kind kind; /* of the view's leaf */
};

/* RFC 3501 §6.4.4 and those named in the header. */
static const struct key keys[] = {
    {"ALL", KEY_NONE, 0},
    {"ANSWERED", KEY_NONE, 0},
    {"BCC", KEY_FIELD, MIME_TEXT_ADDRESS},
    {"BEFORE", KEY_DATE, 0},
    {"BODY", KEY_TEXT, MIME_TEXT_BODY},
    {"CC", KEY_FIELD, MIME_TEXT_ADDRESS},
    {"DELETED", KEY_NONE, 0},
    {"DRAFT", KEY_NONE, 0},
    {"EMAILID", KEY_STRING, 0},
    {"FLAGGED", KEY_NONE, 0},
    {"FROM", KEY_FIELD, MIME_TEXT_ADDRESS},
    {"FUZZY", KEY_REFUSED, 0},
    {"HEADER", KEY_HEADER, MIME_TEXT_HEADER},
    {"KEYWORD", KEY_STRING, 0},
    {"LARGER", KEY_SIZE, MIME_TEXT_LARGER},
    {"MODSEQ", KEY_MODSEQ, 0},
    {"NEW", KEY_NONE, 0},
    {"NOT", KEY_NOT, 0},
    {"OLD", KEY_NONE, 0},
    {"OLDER", KEY_NUMBER, 0},
    {"ON", KEY_DATE, 0},
    {"OR", KEY_OR, 0},
    {"RECENT", KEY_NONE, 0},
    {"SAVEDATESUPPORTED", KEY_NONE, 0},
    {"SAVEDBEFORE", KEY_DATE, 0},
    {"SAVEDON", KEY_DATE, 0},
    {"SAVEDSINCE", KEY_DATE, 0},
    {"SEEN", KEY_NONE, 0},
    {"SENTBEFORE", KEY_SENT, MIME_TEXT_SENT_BEFORE},
    {"SENTON", KEY_SENT, MIME_TEXT_SENT_ON},
    {"SENTSINCE", KEY_SENT, MIME_TEXT_SENT_SINCE},
    {"SINCE", KEY_DATE, 0},
    {"SMALLER", KEY_SIZE, MIME_TEXT_SMALLER},
    {"SUBJECT", KEY_FIELD, MIME_TEXT_SUBJECT},
    {"TEXT", KEY_TEXT, MIME_TEXT_ANY},
    {"THREADID", KEY_STRING, 0},
    {"TO", KEY_FIELD, MIME_TEXT_ADDRESS},
    {"UID", KEY_SET, 0},
    {"UNANSWERED", KEY_NONE, 0},
    {"UNDELETED", KEY_NONE, 0},
    {"UNDRAFT", KEY_NONE, 0},
    {"UNFLAGGED", KEY_NONE, 0},
    {"UNKEYWORD", KEY_STRING, 0},
    {"UNSEEN", KEY_NONE, 0},
    {"X-GM-LABELS", KEY_STRING, 0},
    {"X-GM-MSGID", KEY_STRING, 0},
    {"X-GM-RAW", KEY_REFUSED, 0},
    {"X-GM-THRID", KEY_STRING, 0},
    {"YOUNGER", KEY_NUMBER, 0},
};

static const struct key *find_key(struct span word)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (span_is_case_equal(word, span_of(keys[i].name)))
            return &keys[i];
    return NULL;
}

static enum err take_modseq(struct reading *reading)
{
    struct imap_cursor *cursor = reading->cursor;
    struct imap_string entry;
    uint64_t number;

    reading->search->has_modseq = true;
    if (!take_blanks(cursor))
        return ERR_COMMAND_SYNTAX;
    if (imap_peek(cursor) == '"') {
        if (!imap_take_string(cursor, &entry) || !take_blanks(cursor) ||
            (!imap_take_word(cursor, "priv") && !imap_take_word(cursor, "shared") && !imap_take_word(cursor, "all")) ||
            !take_blanks(cursor))
            return ERR_COMMAND_SYNTAX;
    }
    return imap_take_number(cursor, INT64_MAX, &number) ? ERR_OK : ERR_COMMAND_SYNTAX;
}

static enum err take_set(struct reading *reading)
{
    struct span set;
    bool is_saved;

    if (!take_blanks(reading->cursor) || !imap_take_atom(reading->cursor, &set) || !is_set(set, &is_saved))
        return ERR_COMMAND_SYNTAX;
    reading->search->has_saved_set = reading->search->has_saved_set || is_saved;
    return ERR_OK;
}

static enum err take_number(struct reading *reading, uint64_t min, uint64_t *number_out)
{
    if (!take_blanks(reading->cursor) || !imap_take_number(reading->cursor, UINT64_MAX, number_out) ||
        *number_out < min)
        return ERR_COMMAND_SYNTAX;
    return ERR_OK;
}

/* A key of the server's: its arguments are stepped over. */
static enum err take_server_key(struct reading *reading, const struct key *key, size_t start, size_t *node_out)
{
    struct buf string;
    uint64_t number;
    int64_t days;
    enum err result = ERR_OK;

    switch (key->arguments) {
    case KEY_STRING:
        result = take_astring(reading, &string);
        buf_fini(&string);
        break;
    case KEY_DATE:
        result = take_date(reading, &days);
        break;
    case KEY_NUMBER:
        result = take_number(reading, 1, &number);
        break;
    case KEY_SET:
        result = take_set(reading);
        break;
    case KEY_MODSEQ:
        result = take_modseq(reading);
        break;
    default:
        break;
    }
    return result == ERR_OK ? add_server(reading, start, node_out) : result;
}

static enum err take_view_key(struct reading *reading, const struct key *key, size_t start, size_t *node_out)
{
    struct mime_text_leaf leaf = {.kind = key->kind};
    enum err result = ERR_OK;

    if (key->arguments == KEY_FIELD) {
        leaf.name = span_dup(span_of(key->name));
        for (char *at = leaf.name; at != NULL && *at != '\0'; at++)
            *at = span_lower(*at);
        result = leaf.name == NULL ? ERR_MEMORY : ERR_OK;
    }
    if (key->arguments == KEY_HEADER)
        result = take_field_name(reading, &leaf.name);
    if (key->arguments == KEY_SIZE)
        result = take_number(reading, 0, &leaf.number);
    else if (key->arguments == KEY_SENT)
        result = take_sent(reading, &leaf.number);
    else if (result == ERR_OK)
        result = take_needle(reading, &leaf.needle);
    if (result == ERR_OK)
        return add_view(reading, start, &leaf, node_out);
    mime_text_leaf_fini(&leaf);
    return result;
}

static enum err take_key(struct reading *reading, size_t *node_out);

/* "NOT" SP search-key / "OR" SP search-key SP search-key */
static enum err take_operator(struct reading *reading, const struct key *key, size_t start, size_t *node_out)
{
    bool is_or = key->arguments == KEY_OR;
    enum err result = add_node(reading, is_or ? IMAP_SEARCH_OR : IMAP_SEARCH_NOT, node_out);
    size_t last = 0, child;

    for (int i = 0; i < (is_or ? 2 : 1) && result == ERR_OK; i++) {
        result = take_blanks(reading->cursor) ? take_key(reading, &child) : ERR_COMMAND_SYNTAX;
        if (result == ERR_OK)
            hang(reading, *node_out, &last, child);
    }
    if (result == ERR_OK)
        settle(reading, *node_out, start);
    return result;
}

/* search-key *(SP search-key), into the AND node `parent` */
static enum err take_keys(struct reading *reading, size_t parent)
{
    size_t last = 0, child;
    enum err result;

    do {
        result = take_key(reading, &child);
        if (result == ERR_OK)
            hang(reading, parent, &last, child);
    } while (result == ERR_OK && take_blanks(reading->cursor) && !imap_at_end(reading->cursor) &&
             imap_peek(reading->cursor) != ')');
    return result;
}

/* "(" search-key *(SP search-key) ")" */
static enum err take_list(struct reading *reading, size_t start, size_t *node_out)
{
    enum err result = add_node(reading, IMAP_SEARCH_AND, node_out);

    (void)take_blanks(reading->cursor);
    if (result == ERR_OK)
        result = take_keys(reading, *node_out);
    if (result == ERR_OK && !imap_take_char(reading->cursor, ')'))
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK)
        settle(reading, *node_out, start);
    return result;
}

static enum err take_word_key(struct reading *reading, size_t *node_out)
{
    size_t start = reading->cursor->at;
    struct span word;
    const struct key *key;
    bool is_saved;

    if (!imap_take_atom(reading->cursor, &word))
        return ERR_COMMAND_SYNTAX;
    if (is_set(word, &is_saved)) {
        reading->search->has_saved_set = reading->search->has_saved_set || is_saved;
        return add_server(reading, start, node_out);
    }
    key = find_key(word);
    if (key == NULL)
        return ERR_COMMAND_SYNTAX;
    if (key->arguments == KEY_REFUSED)
        return ERR_REFUSED;
    if (key->arguments >= KEY_NOT)
        return take_operator(reading, key, start, node_out);
    if (key->arguments >= KEY_FIELD)
        return take_view_key(reading, key, start, node_out);
    return take_server_key(reading, key, start, node_out);
}

static enum err take_key(struct reading *reading, size_t *node_out)
{
    size_t start = reading->cursor->at;
    enum err result;

    if (reading->depth == IMAP_SEARCH_DEPTH_MAX)
        return ERR_LIMIT;
    reading->depth++;
    result =
        imap_take_char(reading->cursor, '(') ? take_list(reading, start, node_out) : take_word_key(reading, node_out);
    reading->depth--;
    return result;
}

/* ---- the whole ---- */

/* search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" (RFC 4466, RFC 4731) */
static enum err take_return(struct imap_cursor *cursor, struct imap_search *search)
{
    if (!imap_take_word(cursor, "RETURN"))
        return ERR_OK;
    search->is_extended = true;
    if (!take_blanks(cursor) || !imap_take_char(cursor, '('))
        return ERR_COMMAND_SYNTAX;
    if (imap_peek(cursor) == ')')
        search->wants_all = true;
    else
        do {
            if (imap_take_word(cursor, "MIN"))
                search->wants_min = true;
            else if (imap_take_word(cursor, "MAX"))
                search->wants_max = true;
            else if (imap_take_word(cursor, "ALL"))
                search->wants_all = true;
            else if (imap_take_word(cursor, "COUNT"))
                search->wants_count = true;
            else if (imap_take_word(cursor, "SAVE"))
                search->wants_save = true;
            else
                return ERR_COMMAND_SYNTAX;
        } while (take_blanks(cursor));
    return imap_take_char(cursor, ')') && take_blanks(cursor) ? ERR_OK : ERR_COMMAND_SYNTAX;
}

/* ["CHARSET" SP charset SP] search-key *(SP search-key) */
static enum err take_program(struct reading *reading)
{
    struct imap_cursor *cursor = reading->cursor;
    struct imap_search *search = reading->search;
    struct imap_string charset;
    size_t program_at = cursor->at, keys_at, root;
    enum err result;

    if (imap_take_word(cursor, "CHARSET")) {
        if (!take_blanks(cursor) || !imap_take_astring(cursor, &charset) || !take_blanks(cursor))
            return ERR_COMMAND_SYNTAX;
        search->charset = charset.raw;
    }
    keys_at = cursor->at;
    result = add_node(reading, IMAP_SEARCH_AND, &root);
    if (result == ERR_OK)
        result = take_keys(reading, root);
    if (result == ERR_OK && !imap_at_end(cursor))
        result = ERR_COMMAND_SYNTAX;
    search->program = since(reading, program_at);
    search->keys = since(reading, keys_at);
    return result;
}

enum err imap_search_parse(struct imap_cursor *cursor, struct imap_search *search_out)
{
    struct reading reading = {.cursor = cursor, .search = search_out};
    enum err result;

    memset(search_out, 0, sizeof *search_out);
    (void)take_blanks(cursor);
    result = take_return(cursor, search_out);
    if (result == ERR_OK)
        result = take_program(&reading);
    if (result != ERR_OK)
        imap_search_fini(search_out);
    return result;
}

void imap_search_fini(struct imap_search *search)
{
    for (size_t i = 0; i < search->leaves_len; i++)
        mime_text_leaf_fini(&search->leaves[i]);
    free(search->leaves);
    search->leaves = NULL;
    search->leaves_len = 0;
}

bool imap_search_is_server(const struct imap_search *search)
{
    return search->leaves_len == 0;
}
