/* BODY and BODYSTRUCTURE (RFC 3501 §7.4.2). */
#include "tests/servers/imapd.h"

#include <string.h>

/* A token or a quoted string of a MIME field (RFC 2045 §5.1); false at the end. */
static bool take_value(const char **at, struct text *out)
{
    bool is_quoted = **at == '"';
    *at += is_quoted;
    text_add(out, "", 0);
    while (**at != '\0' && (is_quoted ? **at != '"' : strchr(" \t;=", **at) == NULL)) {
        *at += is_quoted && **at == '\\' && (*at)[1] != '\0';
        text_add(out, (*at)++, 1);
    }
    *at += is_quoted && **at == '"';
    return is_quoted || out->len > 0;
}

/* "(name value ...)" or NIL. */
static void add_parameters(struct text *out, const char *at)
{
    size_t count = 0;
    while (at != NULL && (at = strchr(at, ';')) != NULL) {
        struct text name = {0}, value = {0};
        at += 1 + strspn(at + 1, " \t");
        bool has_name = take_value(&at, &name);
        at += strspn(at, " \t");
        if (has_name && *at == '=') {
            at += 1 + strspn(at + 1, " \t");
            take_value(&at, &value);
            text_puts(out, count++ > 0 ? " " : "(");
            text_string(out, name.bytes, name.len);
            text_puts(out, " ");
            text_string(out, value.bytes, value.len);
        }
        text_free(&name);
        text_free(&value);
    }
    text_puts(out, count > 0 ? ")" : "NIL");
}

static void add_field(struct text *out, struct slice header, const char *name, const char *otherwise)
{
    struct text value = {0};
    if (field_get(header, name, &value))
        text_string(out, value.bytes, value.len);
    else
        text_puts(out, otherwise);
    text_free(&value);
}

static void add_disposition(struct text *out, struct slice header)
{
    struct text value = {0};
    if (!field_get(header, "Content-Disposition", &value)) {
        text_puts(out, "NIL");
        return;
    }
    text_puts(out, "(");
    text_string(out, value.bytes, strcspn(value.bytes, " \t;"));
    text_puts(out, " ");
    add_parameters(out, value.bytes);
    text_puts(out, ")");
    text_free(&value);
}

static void add_extension(struct text *out, const struct part *part)
{
    text_puts(out, " ");
    add_disposition(out, part->header);
    text_puts(out, " ");
    add_field(out, part->header, "Content-Language", "NIL");
    text_puts(out, " ");
    add_field(out, part->header, "Content-Location", "NIL");
}

static void add_multipart(struct text *out, const struct part *part, bool is_extended)
{
    for (size_t i = 0; i < part->children_len; i++)
        structure_add(out, part->children[i], is_extended);
    text_puts(out, " ");
    text_string(out, part->subtype.at, part->subtype.len);
    if (is_extended) {
        text_puts(out, " ");
        add_parameters(out, part->parameters.at);
        add_extension(out, part);
    }
}

static void add_single(struct text *out, const struct part *part, bool is_extended)
{
    text_string(out, part->type.at, part->type.len);
    text_puts(out, " ");
    text_string(out, part->subtype.at, part->subtype.len);
    text_puts(out, " ");
    add_parameters(out, part->parameters.at);
    text_puts(out, " ");
    add_field(out, part->header, "Content-ID", "NIL");
    text_puts(out, " ");
    add_field(out, part->header, "Content-Description", "NIL");
    text_puts(out, " ");
    add_field(out, part->header, "Content-Transfer-Encoding", "\"7bit\"");
    text_addf(out, " %zu", part->body.len);
    if (part->is_message) {
        text_puts(out, " ");
        envelope_add(out, part->children[0]->header);
        text_puts(out, " ");
        structure_add(out, part->children[0], is_extended);
    }
    if (part->is_message || slice_is(part->type, "text"))
        text_addf(out, " %zu", slice_lines(part->body));
    if (is_extended) {
        text_puts(out, " ");
        add_field(out, part->header, "Content-MD5", "NIL");
        add_extension(out, part);
    }
}

void structure_add(struct text *out, const struct part *part, bool is_extended)
{
    text_puts(out, "(");
    if (part->is_multipart)
        add_multipart(out, part, is_extended);
    else
        add_single(out, part, is_extended);
    text_puts(out, ")");
}
