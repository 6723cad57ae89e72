#include "base/buf.h"
#include "mime/part_internal.h"

#include <stdlib.h>
#include <string.h>

/* Where the next line belongs, within the current part. */
enum state {
    IN_HEADER,
    IN_PREAMBLE, /* of a multipart */
    IN_BODY,     /* of a leaf */
    IN_EPILOGUE  /* of a multipart */
};

/* The public part with what only the parser needs. */
struct node {
    struct mime_part part; /* first, so that one pointer serves both */
    struct mime_part *last_child;
    bool is_open; /* a multipart whose boundary may come */
    size_t boundary_len;
};

struct mime_parser {
    struct mime_limits limits;
    mime_header_fn read_header; /* NULL: read as mail programs do, else as servers do */
    struct mime_tree *tree;
    struct mime_part *part; /* the innermost open part; NULL when all is done */
    enum state state;
    struct mime_line line;
    struct buf header;     /* the current part's header so far, with the current line */
    size_t header_line_at; /* where in it the current line begins */
    /* The end of the last body line: it belongs to that body only if no boundary follows (RFC 2046 §5.1.1). */
    size_t pending_len;
    unsigned pending_flags;
    size_t last_len;     /* length of the last line ... */
    size_t last_end_len; /* ... and of its line end */
};

static struct node *node_of(struct mime_part *part)
{
    return (struct node *)part;
}

static bool is_full(const struct mime_parser *parser)
{
    const struct mime_part *parent = parser->part;

    return parser->tree->parts_len >= parser->limits.parts_max ||
           (parent != NULL && parent->depth >= parser->limits.depth_max);
}

/* Makes the part whose header begins at `at`, below the current one. */
static enum err begin_part(struct mime_parser *parser, size_t at)
{
    struct mime_part *parent = parser->part;
    struct node *node;

    if (is_full(parser))
        return ERR_LIMIT;
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return ERR_MEMORY;
    node->part.parent = parent;
    node->part.depth = parent != NULL ? parent->depth + 1 : 0;
    node->part.header_at = node->part.body_at = node->part.body_end = at;
    if (parent == NULL) {
        parser->tree->root = &node->part;
    } else {
        struct node *above = node_of(parent);

        *(above->last_child != NULL ? &above->last_child->next : &parent->first_child) = &node->part;
        above->last_child = &node->part;
    }
    parser->tree->parts_len++;
    parser->part = &node->part;
    parser->state = IN_HEADER;
    buf_clear(&parser->header);
    parser->header_line_at = 0;
    parser->pending_len = 0;
    return ERR_OK;
}

/* What a server makes of a header. One that was broken off tells no boundary. */
static enum err read_as_server(struct mime_parser *parser, struct span header, bool is_whole)
{
    struct mime_part *part = parser->part;
    bool has_boundary = false;
    enum err result = parser->read_header(part, header, &has_boundary);

    if (is_full(parser))
        part->kind = MIME_LEAF;
    node_of(part)->is_open = part->kind == MIME_MULTIPART && has_boundary && is_whole;
    node_of(part)->boundary_len = strlen(part->boundary);
    return result;
}

/* The header of the current part is complete. A message begins inside it at once. */
static enum err finish_header(struct mime_parser *parser, size_t body_at, bool is_whole)
{
    struct mime_part *part = parser->part;
    struct span header = buf_span(&parser->header);
    enum err result;

    part->body_at = part->body_end = body_at;
    if (header.len > 0 && header.ptr[header.len - 1] != '\n')
        part->header_flags |= MIME_HAS_NO_FINAL_CRLF;
    if (parser->read_header != NULL)
        result = read_as_server(parser, header, is_whole);
    else
        result = mime_part_read_header(part, header);
    if (result != ERR_OK)
        return result;
    parser->state = part->kind == MIME_MULTIPART ? IN_PREAMBLE : IN_BODY;
    return part->kind == MIME_MESSAGE ? begin_part(parser, body_at) : ERR_OK;
}

/* A boundary or the end of the message breaks headers off where they stand. */
static enum err break_header(struct mime_parser *parser, size_t at)
{
    enum err result = ERR_OK;

    while (result == ERR_OK && parser->state == IN_HEADER)
        result = finish_header(parser, at, false);
    return result;
}

/* The line end that was waiting turns out to belong to `part`. */
static void settle_line_end(struct mime_parser *parser, struct mime_part *part)
{
    if (parser->pending_len > 0) {
        part->body_lines++;
        part->body_flags |= parser->pending_flags;
        parser->pending_len = 0;
    }
}

/* Closes the current part at `end` and adds what it holds to its parent. */
static void close_part(struct mime_parser *parser, size_t end, bool ends_in_line_end)
{
    struct mime_part *part = parser->part, *parent = part->parent;

    part->body_end = end;
    if (end > part->body_at && !ends_in_line_end)
        part->body_flags |= MIME_HAS_NO_FINAL_CRLF;
    if (part->kind == MIME_MULTIPART && part->first_child == NULL && parser->read_header == NULL) {
        part->kind = MIME_LEAF;
        part->boundary[0] = '\0';
        part->is_closed = part->has_preamble = part->has_epilogue = false;
    }
    if (parent != NULL) {
        parent->body_lines += part->header_lines + part->body_lines;
        parent->body_flags |= (part->header_flags | part->body_flags) & ~(unsigned)MIME_HAS_NO_FINAL_CRLF;
    }
    parser->part = parent;
}

/* The innermost open multipart of which the line is a delimiter, or NULL. The innermost counts so that nested
   multiparts with one boundary are read as IMAP servers read them. */
static struct mime_part *find_boundary(const struct mime_parser *parser, bool *is_closing_out)
{
    struct mime_part *part;

    if (parser->line.len < 3 || parser->line.head[0] != '-' || parser->line.head[1] != '-')
        return NULL;
    for (part = parser->part; part != NULL; part = part->parent) {
        if (part->kind == MIME_MULTIPART && !part->is_closed &&
            mime_line_is_boundary(&parser->line, part->boundary, is_closing_out))
            break;
    }
    return part;
}

/* The same as servers see it: the innermost whose delimiter is the whole line, else the longest that it begins with.
   Once there are enough parts, the last goes on to the end. */
static struct mime_part *find_boundary_as_server(const struct mime_parser *parser, bool *is_closing_out)
{
    struct mime_part *best = NULL;
    size_t best_len = 0;
    bool is_all = false;

    if (parser->tree->parts_len >= parser->limits.parts_max || parser->line.len < 2 || parser->line.head[0] != '-')
        return NULL;
    for (struct mime_part *part = parser->part; part != NULL && !is_all; part = part->parent) {
        size_t len = node_of(part)->boundary_len;
        bool is_closing;

        if (node_of(part)->is_open && (best == NULL || len > best_len) &&
            mime_line_begins_with(&parser->line, part->boundary, len, &is_closing, &is_all)) {
            best = part;
            best_len = len;
            *is_closing_out = is_closing;
        }
    }
    return best;
}

/* The innermost part below `owner` whose header, whole or not, ends at the line and has a line end to give. What is
   empty at the end of a message/rfc822 is passed over. */
static struct mime_part *find_giver(const struct mime_parser *parser, const struct mime_part *owner)
{
    struct mime_part *part = parser->part;
    size_t at = parser->line.at;

    while (part != owner && part->header_at == at && part->parent->kind == MIME_MESSAGE)
        part = part->parent;
    if (part == owner || part->header_lines == 0)
        return NULL;
    return part->body_at == at || (part == parser->part && parser->state == IN_HEADER) ? part : NULL;
}

/* For servers the line end before a boundary belongs to it, after a header as after a body; but only what was cut off
   loses it, what is around that keeps it. */
static enum err close_giver(struct mime_parser *parser, struct mime_part *giver)
{
    size_t end = parser->line.at - parser->last_end_len;
    enum err result = break_header(parser, end);

    while (result == ERR_OK && parser->part != giver->parent) {
        struct mime_part *part = parser->part;

        part->header_at = part == giver ? part->header_at : end;
        part->body_at = end;
        if (part == giver) {
            part->header_lines--;
            part->parent->body_lines++;
        }
        close_part(parser, end, false);
    }
    return result;
}

/* A boundary breaks headers off where they stand. */
static enum err end_headers(struct mime_parser *parser, const struct mime_part *owner)
{
    struct mime_part *giver = parser->read_header != NULL ? find_giver(parser, owner) : NULL;

    if (parser->state == IN_HEADER)
        buf_truncate(&parser->header, parser->header_line_at);
    return giver != NULL ? close_giver(parser, giver) : break_header(parser, parser->line.at);
}

/*
 * delimiter := CRLF "--" boundary; close-delimiter := delimiter "--" (RFC 2046 §5.1.1). What is open below `owner` ends
 * before the delimiter's CRLF, unless that CRLF ends a header. The line end after a delimiter is the owner's; the one
 * after a closing delimiter may still belong to the delimiter of an outer multipart.
 */
static enum err take_boundary(struct mime_parser *parser, struct mime_part *owner, bool is_closing)
{
    const struct mime_line *line = &parser->line;
    size_t end = line->at - parser->pending_len;
    bool ends_in_line_end = parser->pending_len == 0 || parser->last_len == 0;
    enum err result;

    result = end_headers(parser, owner);
    if (result != ERR_OK)
        return result;
    while (parser->part != owner)
        close_part(parser, end, ends_in_line_end);
    settle_line_end(parser, owner);
    owner->body_flags |= line->flags;
    parser->pending_len = line->end_len;
    parser->pending_flags = line->end_flags;
    if (is_closing || (parser->read_header != NULL && line->end_len == 0)) {
        owner->is_closed = is_closing;
        node_of(owner)->is_open = false;
        if (parser->read_header != NULL)
            settle_line_end(parser, owner);
        parser->state = IN_EPILOGUE;
        return ERR_OK;
    }
    settle_line_end(parser, owner);
    return begin_part(parser, parser->tree->size);
}

static enum err take_header_line(struct mime_parser *parser)
{
    const struct mime_line *line = &parser->line;
    struct mime_part *part = parser->part;

    part->header_flags |= line->flags | line->end_flags;
    part->header_lines += line->end_len > 0;
    parser->header_line_at = parser->header.len;
    return line->len == 0 ? finish_header(parser, parser->tree->size, true) : ERR_OK;
}

static void take_body_line(struct mime_parser *parser)
{
    const struct mime_line *line = &parser->line;
    struct mime_part *part = parser->part;

    settle_line_end(parser, part);
    part->body_flags |= line->flags;
    part->has_preamble |= parser->state == IN_PREAMBLE && line->len > 0;
    part->has_epilogue |= parser->state == IN_EPILOGUE && line->len > 0;
    parser->pending_len = line->end_len;
    parser->pending_flags = line->end_flags;
}

static enum err take_line(struct mime_parser *parser, bool has_lf)
{
    struct mime_line *line = &parser->line;
    struct mime_part *owner;
    bool is_closing = false;
    enum err result = ERR_OK;

    mime_line_end(line, has_lf);
    owner =
        parser->read_header != NULL ? find_boundary_as_server(parser, &is_closing) : find_boundary(parser, &is_closing);
    if (owner != NULL)
        result = take_boundary(parser, owner, is_closing);
    else if (parser->state == IN_HEADER)
        result = take_header_line(parser);
    else
        take_body_line(parser);
    parser->last_len = line->len;
    parser->last_end_len = line->end_len;
    mime_line_begin(line, parser->tree->size);
    return result;
}

enum err mime_parser_new(struct mime_limits limits, struct mime_parser **parser_out)
{
    struct mime_parser *parser = calloc(1, sizeof *parser);
    enum err result = ERR_MEMORY;

    *parser_out = NULL;
    if (parser == NULL)
        return ERR_MEMORY;
    parser->limits = limits;
    buf_init(&parser->header, limits.header_max);
    parser->tree = calloc(1, sizeof *parser->tree);
    if (parser->tree != NULL)
        result = begin_part(parser, 0);
    if (result == ERR_OK)
        *parser_out = parser;
    else
        mime_parser_free(&parser);
    return result;
}

enum err mime_parser_feed(struct mime_parser *parser, struct span bytes)
{
    enum err result = ERR_OK;

    while (bytes.len > 0 && result == ERR_OK) {
        const char *lf = memchr(bytes.ptr, '\n', bytes.len);
        size_t text = lf != NULL ? (size_t)(lf - bytes.ptr) : bytes.len;
        size_t taken = text + (lf != NULL);

        /* Before the line is known to be a boundary or not, so that the limit holds however the bytes arrive. */
        if (parser->state == IN_HEADER)
            result = buf_add(&parser->header, bytes.ptr, taken);
        if (result == ERR_LIMIT && parser->read_header != NULL)
            result = ERR_OK;
        mime_line_add(&parser->line, (struct span){bytes.ptr, text});
        parser->tree->size += taken;
        if (result == ERR_OK && lf != NULL)
            result = take_line(parser, true);
        bytes.ptr += taken;
        bytes.len -= taken;
    }
    return result;
}

enum err mime_parser_end(struct mime_parser *parser, struct mime_tree **tree_out)
{
    enum err result = ERR_OK;

    *tree_out = NULL;
    if (parser->line.len > 0 || parser->line.has_cr)
        result = take_line(parser, false);
    if (result == ERR_OK)
        result = break_header(parser, parser->tree->size);
    if (result != ERR_OK)
        return result;
    settle_line_end(parser, parser->part);
    while (parser->part != NULL)
        close_part(parser, parser->tree->size, parser->last_end_len > 0);
    *tree_out = parser->tree;
    parser->tree = NULL;
    return ERR_OK;
}

void mime_parser_free(struct mime_parser **parser)
{
    if (*parser == NULL)
        return;
    mime_tree_free(&(*parser)->tree);
    buf_fini(&(*parser)->header);
    free(*parser);
    *parser = NULL;
}

enum err mime_parse(struct span message, struct mime_limits limits, struct mime_tree **tree_out)
{
    return mime_parse_as_server(message, limits, NULL, tree_out);
}

enum err mime_parse_as_server(struct span message, struct mime_limits limits, mime_header_fn read_header,
                              struct mime_tree **tree_out)
{
    struct mime_parser *parser;
    enum err result;

    *tree_out = NULL;
    result = mime_parser_new(limits, &parser);
    if (result != ERR_OK)
        return result;
    parser->read_header = read_header;
    result = mime_parser_feed(parser, message);
    if (result == ERR_OK)
        result = mime_parser_end(parser, tree_out);
    mime_parser_free(&parser);
    return result;
}
