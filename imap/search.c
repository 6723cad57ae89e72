#include "imap/search_internal.h"

#include <stdlib.h>
#include <string.h>

static struct span since(const struct imap_search_reading *reading, size_t start)
{
    return span_slice(reading->cursor->text, start, reading->cursor->at);
}

/* ---- nodes ---- */

static enum err add_node(struct imap_search_reading *reading, enum imap_search_kind kind, size_t *node_out)
{
    struct imap_search *search = reading->search;

    if (search->nodes_len == IMAP_SEARCH_NODES_MAX)
        return ERR_LIMIT;
    *node_out = search->nodes_len++;
    search->nodes[*node_out] = (struct imap_search_node){.kind = kind};
    return ERR_OK;
}

static enum err add_server(struct imap_search_reading *reading, size_t start, size_t *node_out)
{
    enum err result = add_node(reading, IMAP_SEARCH_SERVER, node_out);

    if (result == ERR_OK) {
        reading->search->nodes[*node_out].raw = since(reading, start);
        reading->search->nodes[*node_out].server = reading->search->servers_len++;
    }
    return result;
}

/* Takes over what `leaf` owns, whatever comes of it. */
static enum err add_view(struct imap_search_reading *reading, size_t start, struct mime_text_leaf *leaf,
                         size_t *node_out)
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
static void hang(struct imap_search_reading *reading, size_t parent, size_t *last, size_t node)
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
static void settle(struct imap_search_reading *reading, size_t node, size_t start)
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

static enum err take_sent(struct imap_search_reading *reading, uint64_t *number_out)
{
    int64_t days = 0;
    enum err result = imap_search_take_date(reading, &days);

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

static enum err take_modseq(struct imap_search_reading *reading)
{
    struct imap_cursor *cursor = reading->cursor;
    struct imap_string entry;
    uint64_t number;

    reading->search->has_modseq = true;
    if (!imap_search_take_blanks(cursor))
        return ERR_COMMAND_SYNTAX;
    if (imap_peek(cursor) == '"') {
        if (!imap_take_string(cursor, &entry) || !imap_search_take_blanks(cursor) ||
            (!imap_take_word(cursor, "priv") && !imap_take_word(cursor, "shared") && !imap_take_word(cursor, "all")) ||
            !imap_search_take_blanks(cursor))
            return ERR_COMMAND_SYNTAX;
    }
    return imap_take_number(cursor, INT64_MAX, &number) ? ERR_OK : ERR_COMMAND_SYNTAX;
}

static enum err take_set(struct imap_search_reading *reading)
{
    struct span set;
    bool is_saved;

    if (!imap_search_take_blanks(reading->cursor) || !imap_take_atom(reading->cursor, &set) ||
        !imap_search_is_set(set, &is_saved))
        return ERR_COMMAND_SYNTAX;
    reading->search->has_saved_set = reading->search->has_saved_set || is_saved;
    return ERR_OK;
}

static enum err take_number(struct imap_search_reading *reading, uint64_t min, uint64_t *number_out)
{
    if (!imap_search_take_blanks(reading->cursor) || !imap_take_number(reading->cursor, UINT64_MAX, number_out) ||
        *number_out < min)
        return ERR_COMMAND_SYNTAX;
    return ERR_OK;
}

/* A key of the server's: its arguments are stepped over. */
static enum err take_server_key(struct imap_search_reading *reading, const struct key *key, size_t start,
                                size_t *node_out)
{
    struct buf string;
    uint64_t number;
    int64_t days;
    enum err result = ERR_OK;

    switch (key->arguments) {
    case KEY_STRING:
        result = imap_search_take_astring(reading, &string);
        buf_fini(&string);
        break;
    case KEY_DATE:
        result = imap_search_take_date(reading, &days);
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

static enum err take_view_key(struct imap_search_reading *reading, const struct key *key, size_t start,
                              size_t *node_out)
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
        result = imap_search_take_field_name(reading, &leaf.name);
    if (key->arguments == KEY_SIZE)
        result = take_number(reading, 0, &leaf.number);
    else if (key->arguments == KEY_SENT)
        result = take_sent(reading, &leaf.number);
    else if (result == ERR_OK)
        result = imap_search_take_needle(reading, &leaf.needle);
    if (result == ERR_OK)
        return add_view(reading, start, &leaf, node_out);
    mime_text_leaf_fini(&leaf);
    return result;
}

static enum err take_key(struct imap_search_reading *reading, size_t *node_out);

/* "NOT" SP search-key / "OR" SP search-key SP search-key */
static enum err take_operator(struct imap_search_reading *reading, const struct key *key, size_t start,
                              size_t *node_out)
{
    bool is_or = key->arguments == KEY_OR;
    enum err result = add_node(reading, is_or ? IMAP_SEARCH_OR : IMAP_SEARCH_NOT, node_out);
    size_t last = 0, child;

    for (int i = 0; i < (is_or ? 2 : 1) && result == ERR_OK; i++) {
        result = imap_search_take_blanks(reading->cursor) ? take_key(reading, &child) : ERR_COMMAND_SYNTAX;
        if (result == ERR_OK)
            hang(reading, *node_out, &last, child);
    }
    if (result == ERR_OK)
        settle(reading, *node_out, start);
    return result;
}

/* search-key *(SP search-key), into the AND node `parent` */
static enum err take_keys(struct imap_search_reading *reading, size_t parent)
{
    size_t last = 0, child;
    enum err result;

    do {
        result = take_key(reading, &child);
        if (result == ERR_OK)
            hang(reading, parent, &last, child);
    } while (result == ERR_OK && imap_search_take_blanks(reading->cursor) && !imap_at_end(reading->cursor) &&
             imap_peek(reading->cursor) != ')');
    return result;
}

/* "(" search-key *(SP search-key) ")" */
static enum err take_list(struct imap_search_reading *reading, size_t start, size_t *node_out)
{
    enum err result = add_node(reading, IMAP_SEARCH_AND, node_out);

    (void)imap_search_take_blanks(reading->cursor);
    if (result == ERR_OK)
        result = take_keys(reading, *node_out);
    if (result == ERR_OK && !imap_take_char(reading->cursor, ')'))
        result = ERR_COMMAND_SYNTAX;
    if (result == ERR_OK)
        settle(reading, *node_out, start);
    return result;
}

static enum err take_word_key(struct imap_search_reading *reading, size_t *node_out)
{
    size_t start = reading->cursor->at;
    struct span word;
    const struct key *key;
    bool is_saved;

    if (!imap_take_atom(reading->cursor, &word))
        return ERR_COMMAND_SYNTAX;
    if (imap_search_is_set(word, &is_saved)) {
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

static enum err take_key(struct imap_search_reading *reading, size_t *node_out)
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
    if (!imap_search_take_blanks(cursor) || !imap_take_char(cursor, '('))
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
        } while (imap_search_take_blanks(cursor));
    return imap_take_char(cursor, ')') && imap_search_take_blanks(cursor) ? ERR_OK : ERR_COMMAND_SYNTAX;
}

/* ["CHARSET" SP charset SP] search-key *(SP search-key) */
static enum err take_program(struct imap_search_reading *reading)
{
    struct imap_cursor *cursor = reading->cursor;
    struct imap_search *search = reading->search;
    struct imap_string charset;
    size_t program_at = cursor->at, keys_at, root;
    enum err result;

    if (imap_take_word(cursor, "CHARSET")) {
        if (!imap_search_take_blanks(cursor) || !imap_take_astring(cursor, &charset) ||
            !imap_search_take_blanks(cursor))
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
    struct imap_search_reading reading = {.cursor = cursor, .search = search_out};
    enum err result;

    memset(search_out, 0, sizeof *search_out);
    (void)imap_search_take_blanks(cursor);
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
