/*
 * Whether a user ID is in the domain of a trust signature. GnuPG takes the regular expression for one of two shapes and
 * makes every other operator a plain character; so it is matched here without an engine, in linear time for each place.
 */
#include "keyring/wot.h"

#include <string.h>

/* A plain text in which "." is any character, and "\" takes the meaning off the next. */
struct literal {
    struct span text;
    size_t len; /* characters that it matches */
};

static struct literal literal_of(struct span text)
{
    struct literal literal = {text, 0};
    for (size_t i = 0; i < text.len; i++, literal.len++)
        if (text.ptr[i] == '\\' && i + 1 < text.len)
            i++;
    return literal;
}

/* `text` has at least as many characters as the literal. */
static bool matches_at(const struct literal *literal, const char *text)
{
    for (size_t i = 0; i < literal->text.len; i++, text++) {
        char wanted = literal->text.ptr[i];
        const bool is_any = wanted == '.';
        if (wanted == '\\' && i + 1 < literal->text.len)
            wanted = literal->text.ptr[++i];
        if (!is_any && span_lower(*text) != span_lower(wanted))
            return false;
    }
    return true;
}

static bool has_literal(const struct literal *literal, struct span text)
{
    for (size_t at = 0; at + literal->len <= text.len; at++)
        if (matches_at(literal, text.ptr + at))
            return true;
    return false;
}

/* "<", one or more that are no ">", "@" or ".", the literal, ">" at the end. */
static bool is_address_below(const struct literal *literal, struct span text)
{
    if (text.len < literal->len + 4 || text.ptr[text.len - 1] != '>')
        return false;
    const size_t begin = text.len - 1 - literal->len;
    const char before = text.ptr[begin - 1];
    if ((before != '@' && before != '.') || !matches_at(literal, text.ptr + begin))
        return false;
    for (size_t i = begin - 1; i-- > 0;) {
        if (text.ptr[i] == '<' && i + 2 < begin)
            return true;
        if (text.ptr[i] == '>')
            return false;
    }
    return false;
}

bool keyring_wot_is_in_domain(const char *domain, const char *user_id)
{
    static const struct span head = {"<[^>]+[@.]", 10}, tail = {">$", 2};
    const struct span pattern = span_of(domain), text = span_of(user_id);
    if (pattern.len >= head.len + tail.len && span_has_prefix(pattern, head) && span_has_case_suffix(pattern, tail)) {
        const struct literal literal = literal_of(span_slice(pattern, head.len, pattern.len - tail.len));
        return is_address_below(&literal, text);
    }
    const struct literal literal = literal_of(pattern);
    return has_literal(&literal, text);
}
