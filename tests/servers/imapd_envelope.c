/* ENVELOPE (RFC 3501 §7.4.2), with a small parser of address lists (RFC 5322 §3.4). */
#include "tests/servers/imapd.h"

#include <string.h>

/* One mailbox, put together from the tokens of a list. */
struct address {
    struct text words; /* a name, or what stands before the "@" */
    struct text domain;
    struct text comment;
    struct text name; /* the words before "<" */
    struct text route;
    bool has_at, has_angle, is_in_angle;
};

static void address_free(struct address *address)
{
    text_free(&address->words);
    text_free(&address->domain);
    text_free(&address->comment);
    text_free(&address->name);
    text_free(&address->route);
    *address = (struct address){0};
}

static void add_nstring(struct text *out, const struct text *value)
{
    text_string(out, value->len > 0 ? value->bytes : NULL, value->len);
}

/* Puts the address into the list, if there is one. */
static void address_end(struct text *out, struct address *address)
{
    if (address->words.len > 0 || address->domain.len > 0 || address->has_angle) {
        text_puts(out, "(");
        add_nstring(out, address->name.len > 0 ? &address->name : &address->comment);
        text_puts(out, " ");
        add_nstring(out, &address->route);
        text_puts(out, " ");
        text_string(out, address->words.bytes != NULL ? address->words.bytes : "", address->words.len);
        text_puts(out, " ");
        text_string(out, address->domain.bytes != NULL ? address->domain.bytes : "", address->domain.len);
        text_puts(out, ")");
    }
    address_free(address);
}

/* A comment: at "("; `out` may be NULL. */
static const char *skip_comment(const char *at, struct text *out)
{
    unsigned depth = 0;
    for (; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '(' && depth++ == 0)
            continue;
        else if (*at == ')' && --depth == 0)
            return at + 1;
        if (out != NULL)
            text_add(out, at, 1);
    }
    return at;
}

static const char *take_quoted(const char *at, struct text *out)
{
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        text_add(out, at, 1);
    }
    return *at == '"' ? at + 1 : at;
}

static void begin_angle(struct address *address)
{
    text_free(&address->name);
    address->name = address->words;
    address->words = (struct text){0};
    address->has_angle = address->is_in_angle = true;
    address->has_at = false;
}

/* "a b": words of a name are joined by one blank, the pieces of an address by nothing. */
static void add_blank(const struct address *address, struct text *target, bool has_blank)
{
    if (has_blank && target->len > 0 && !address->has_at && !address->is_in_angle &&
        target->bytes[target->len - 1] != '.')
        text_puts(target, " ");
}

static const char *take_group_name(const char *at, struct text *out, struct address *address)
{
    text_puts(out, "(NIL NIL ");
    text_string(out, address->words.bytes != NULL ? address->words.bytes : "", address->words.len);
    text_puts(out, " NIL)");
    address_free(address);
    return at + 1;
}

static const char *take_token(const char *at, struct text *out, struct address *address, bool *is_in_group)
{
    struct text *target = address->has_at ? &address->domain : &address->words;
    size_t blanks = strspn(at, " \t");
    at += blanks;
    if (*at == '(')
        return skip_comment(at, address->comment.len == 0 ? &address->comment : NULL);
    if (*at == '<') {
        begin_angle(address);
        return at + 1;
    }
    if (*at == '>') {
        address->is_in_angle = false;
        return at + 1;
    }
    if (*at == '@') {
        address->has_at = true;
        return at + 1;
    }
    if (*at == ',' || *at == ';') {
        address_end(out, address);
        if (*at == ';' && *is_in_group) {
            text_puts(out, "(NIL NIL NIL NIL)");
            *is_in_group = false;
        }
        return at + 1;
    }
    if (*at == ':' && !address->is_in_angle && !*is_in_group) {
        *is_in_group = true;
        return take_group_name(at, out, address);
    }
    add_blank(address, target, blanks > 0);
    if (*at == '"')
        return take_quoted(at, target);
    if (*at != '\0') {
        text_add(target, at, 1);
        at++;
    }
    return at;
}

static void add_addresses(struct text *out, struct slice header, const char *name, const char *instead)
{
    struct text value = {0}, list = {0};
    struct address address = {0};
    bool is_in_group = false;
    if (!field_get(header, name, &value) && instead != NULL)
        field_get(header, instead, &value);
    for (const char *at = value.bytes; at != NULL && *at != '\0';)
        at = take_token(at, &list, &address, &is_in_group);
    address_end(&list, &address);
    if (list.len > 0)
        text_addf(out, "(");
    text_add(out, list.len > 0 ? list.bytes : "NIL", list.len > 0 ? list.len : 3);
    if (list.len > 0)
        text_addf(out, ")");
    text_free(&value);
    text_free(&list);
}

static void add_field(struct text *out, struct slice header, const char *name)
{
    struct text value = {0};
    bool is_there = field_get(header, name, &value);
    text_string(out, is_there ? value.bytes : NULL, value.len);
    text_free(&value);
}

void envelope_add(struct text *out, struct slice header)
{
    static const struct {
        const char *name, *instead;
    } lists[] = {{"From", NULL}, {"Sender", "From"}, {"Reply-To", "From"}, {"To", NULL}, {"Cc", NULL}, {"Bcc", NULL}};
    text_puts(out, "(");
    add_field(out, header, "Date");
    text_puts(out, " ");
    add_field(out, header, "Subject");
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        text_puts(out, " ");
        add_addresses(out, header, lists[i].name, lists[i].instead);
    }
    text_puts(out, " ");
    add_field(out, header, "In-Reply-To");
    text_puts(out, " ");
    add_field(out, header, "Message-ID");
    text_puts(out, ")");
}
