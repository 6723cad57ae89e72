/* A MIME parser of its own: slices of the message, nothing copied. */
#include "tests/servers/imapd.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 60

size_t slice_lines(struct slice slice)
{
    size_t lines = 0;
    for (size_t i = 0; i < slice.len; i++)
        lines += slice.at[i] == '\n';
    return lines;
}

/* Takes a line with its end off `rest`. */
static bool line_next(struct slice *rest, struct slice *line_out)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->at, '\n', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->at) + 1 : rest->len;
    *line_out = (struct slice){rest->at, len};
    *rest = (struct slice){rest->at + len, rest->len - len};
    return true;
}

static bool is_empty_line(struct slice line)
{
    return (line.len == 1 && line.at[0] == '\n') || (line.len == 2 && line.at[0] == '\r' && line.at[1] == '\n');
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

bool field_next(struct slice *header, struct slice *name_out, struct slice *whole_out)
{
    struct slice line, ahead;
    if (!line_next(header, &line) || is_empty_line(line))
        return false;
    *whole_out = line;
    for (ahead = *header; line_next(&ahead, &line) && is_blank(line.at[0]) && !is_empty_line(line); *header = ahead)
        whole_out->len += line.len;
    const char *colon = memchr(whole_out->at, ':', whole_out->len);
    *name_out = (struct slice){whole_out->at, colon != NULL ? (size_t)(colon - whole_out->at) : 0};
    while (name_out->len > 0 && is_blank(name_out->at[name_out->len - 1]))
        name_out->len--;
    return true;
}

bool field_get(struct slice header, const char *name, struct text *value_out)
{
    struct slice found, whole;
    while (field_next(&header, &found, &whole)) {
        if (!slice_is(found, name))
            continue;
        const char *at = (const char *)memchr(whole.at, ':', whole.len) + 1, *end = whole.at + whole.len;
        while (at < end && strchr(" \t\r\n", *at) != NULL)
            at++;
        while (end > at && strchr(" \t\r\n", end[-1]) != NULL)
            end--;
        text_add(value_out, "", 0);
        for (; at < end; at++)
            if (*at != '\r' && *at != '\n')
                text_add(value_out, at, 1);
        return true;
    }
    return false;
}

/* The header is what comes before the first empty line, with it. */
static void split(struct slice whole, struct slice *header_out, struct slice *body_out)
{
    struct slice rest = whole, line;
    while (line_next(&rest, &line) && !is_empty_line(line))
        ;
    *header_out = (struct slice){whole.at, whole.len - rest.len};
    *body_out = rest;
}

static struct slice word_of(const char **at)
{
    const char *start = *at += strspn(*at, " \t");
    *at += strcspn(*at, " \t;/=");
    return (struct slice){start, (size_t)(*at - start)};
}

static void read_type(struct part *part, bool is_in_digest)
{
    part->type = (struct slice){is_in_digest ? "MESSAGE" : "TEXT", is_in_digest ? 7 : 4};
    part->subtype = (struct slice){is_in_digest ? "RFC822" : "PLAIN", is_in_digest ? 6 : 5};
    part->parameters = (struct slice){"", 0};
    if (!field_get(part->header, "Content-Type", &part->content_type))
        return;
    const char *at = part->content_type.bytes;
    struct slice type = word_of(&at), subtype = {0};
    at += strspn(at, " \t");
    if (*at == '/') {
        at++;
        subtype = word_of(&at);
    }
    if (type.len == 0 || subtype.len == 0)
        return;
    part->type = type;
    part->subtype = subtype;
    part->parameters = (struct slice){at, strlen(at)};
}

/* The boundary among the parameters. */
static bool find_boundary(struct slice parameters, struct text *boundary_out)
{
    const char *at = strcasestr(parameters.at, "boundary");
    if (at == NULL)
        return false;
    at += strlen("boundary");
    at += strspn(at, " \t");
    if (*at++ != '=')
        return false;
    at += strspn(at, " \t");
    bool is_quoted = *at == '"';
    at += is_quoted;
    while (*at != '\0' && (is_quoted ? *at != '"' : strchr(" \t;", *at) == NULL)) {
        at += *at == '\\' && at[1] != '\0';
        text_add(boundary_out, at++, 1);
    }
    return boundary_out->len > 0;
}

/* 0: an ordinary line, 1: a delimiter, 2: the last. */
static int delimiter(struct slice line, const struct text *boundary)
{
    if (line.len < boundary->len + 2 || memcmp(line.at, "--", 2) != 0 ||
        memcmp(line.at + 2, boundary->bytes, boundary->len) != 0)
        return 0;
    const char *at = line.at + 2 + boundary->len, *end = line.at + line.len;
    bool is_last = end - at >= 2 && memcmp(at, "--", 2) == 0;
    at += is_last ? 2 : 0;
    while (at < end && strchr(" \t\r\n", *at) != NULL)
        at++;
    return at < end ? 0 : is_last ? 2 : 1;
}

static struct part *parse(struct slice whole, bool is_in_digest, unsigned depth);

static void add_child(struct part *part, struct slice content, bool is_in_digest, unsigned depth)
{
    if (part->children_len == PART_CHILDREN_MAX)
        return;
    struct part **children = realloc(part->children, (part->children_len + 1) * sizeof(struct part *));
    if (children == NULL)
        abort();
    part->children = children;
    part->children[part->children_len++] = parse(content, is_in_digest, depth + 1);
}

/* What precedes a delimiter: the line end there is the delimiter's (RFC 2046 §5.1.1). */
static struct slice before_delimiter(const char *start, const char *delimiter_at)
{
    const char *end = delimiter_at;
    if (end > start && end[-1] == '\n')
        end--;
    if (end > start && end[-1] == '\r')
        end--;
    return (struct slice){start, (size_t)(end - start)};
}

static void parse_multipart(struct part *part, unsigned depth)
{
    struct text boundary = {0};
    struct slice rest = part->body, line;
    const char *start = NULL;
    bool is_digest = slice_is(part->subtype, "digest");
    if (!find_boundary(part->parameters, &boundary))
        return;
    while (line_next(&rest, &line)) {
        int kind = delimiter(line, &boundary);
        if (kind == 0)
            continue;
        if (start != NULL)
            add_child(part, before_delimiter(start, line.at), is_digest, depth);
        start = kind == 1 ? line.at + line.len : NULL;
        if (kind == 2)
            break;
    }
    if (start != NULL)
        add_child(part, (struct slice){start, (size_t)(part->body.at + part->body.len - start)}, is_digest, depth);
    text_free(&boundary);
}

static struct part *parse(struct slice whole, bool is_in_digest, unsigned depth)
{
    struct part *part = calloc(1, sizeof(*part));
    if (part == NULL)
        abort();
    split(whole, &part->header, &part->body);
    read_type(part, is_in_digest);
    if (depth < DEPTH_MAX && slice_is(part->type, "multipart"))
        parse_multipart(part, depth);
    part->is_multipart = part->children_len > 0;
    if (slice_is(part->type, "multipart") && !part->is_multipart) {
        /* One without parts is shown as text: BODYSTRUCTURE has no word for it. */
        part->type = (struct slice){"TEXT", 4};
        part->subtype = (struct slice){"PLAIN", 5};
    }
    if (depth < DEPTH_MAX && slice_is(part->type, "message") && slice_is(part->subtype, "rfc822")) {
        add_child(part, part->body, false, depth);
        part->is_message = true;
    }
    return part;
}

struct part *part_parse(struct slice message)
{
    return parse(message, false, 0);
}

void part_free(struct part *part)
{
    for (size_t i = 0; i < part->children_len; i++)
        part_free(part->children[i]);
    free(part->children);
    text_free(&part->content_type);
    free(part);
}
