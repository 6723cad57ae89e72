/*
 * Parameters of Content-Type and Content-Disposition as BODYSTRUCTURE shows them: as they stand, but for the
 * continuations of RFC 2231 §3, which are joined to one parameter, `name*` if any of them is percent-encoded.
 */
#include "imap/content_internal.h"
#include "imap/token.h"

#include <stdlib.h>
#include <string.h>

struct param {
    size_t name_at, name_len; /* in the texts */
    size_t value_at, value_len;
    size_t order;   /* as they came */
    unsigned index; /* of a continuation */
    bool is_extended;
    bool is_section;
};

struct params {
    struct buf texts;
    struct param *items;
    size_t len, capacity;
};

static struct span name_of(const struct params *params, const struct param *param)
{
    return (struct span){params->texts.data + param->name_at, param->name_len};
}

static struct span value_of(const struct params *params, const struct param *param)
{
    return (struct span){params->texts.data + param->value_at, param->value_len};
}

static enum err append(struct params *params, const struct param *param)
{
    if (params->len == params->capacity) {
        size_t capacity = params->capacity > 0 ? 2 * params->capacity : 8;
        struct param *items = reallocarray(params->items, capacity, sizeof *items);

        if (items == NULL)
            return ERR_MEMORY;
        params->items = items;
        params->capacity = capacity;
    }
    params->items[params->len] = *param;
    params->items[params->len].order = params->len;
    params->len++;
    return ERR_OK;
}

/* value := token / quoted-string. Some mailers write `name==?utf-8?Q?...?=`, which holds no blank. */
static enum imap_word take_value(struct imap_words *words, struct buf *out)
{
    size_t start = words->at;

    if (imap_words_peek(words) == '"')
        return imap_words_quoted(words, out);
    if (imap_words_peek(words) != '=')
        return imap_words_token(words, out);
    while (!imap_words_is_end(words) && strchr("; \t\r\n", imap_words_peek(words)) == NULL)
        words->at++;
    imap_words_put(words, out, span_slice(words->text, start, words->at));
    return IMAP_WORD_MORE;
}

/* ";" attribute "=" value. False if it is none; the reader is then somewhere in it. */
static bool take_param(struct imap_words *words, struct params *params, struct param *param)
{
    struct buf *texts = &params->texts;

    *param = (struct param){.name_at = texts->len};
    if (imap_words_peek(words) != ';')
        return false;
    words->at++;
    if (imap_words_skip(words) != IMAP_WORD_MORE || imap_words_token(words, texts) != IMAP_WORD_MORE ||
        imap_words_peek(words) != '=')
        return false;
    param->name_len = texts->len - param->name_at;
    param->value_at = texts->len;
    words->at++;
    switch (imap_words_skip(words)) {
    case IMAP_WORD_BROKEN:
        return false;
    case IMAP_WORD_LAST:
        return true;
    case IMAP_WORD_MORE:
        break;
    }
    if (take_value(words, texts) == IMAP_WORD_BROKEN)
        return false;
    param->value_len = texts->len - param->value_at;
    return true;
}

/* section := "*" 1*DIGIT, with another "*" if it is extended; or "*" alone (RFC 2231 §7). `*index` stays where there is
   no number: so does Dovecot's. */
static void read_section(const struct params *params, struct param *param, unsigned *index)
{
    struct span name = name_of(params, param);
    size_t star = span_find_byte(name, 0, '*'), at = star + 1;

    if (star == name.len)
        return;
    if (at < name.len) {
        for (*index = 0; at < name.len && name.ptr[at] >= '0' && name.ptr[at] <= '9'; at++)
            *index = *index * 10 + (unsigned)(name.ptr[at] - '0');
        param->is_extended = at < name.len && name.ptr[at] == '*';
        at += param->is_extended;
    } else {
        param->is_extended = true;
    }
    if (at < name.len)
        return;
    param->is_section = true;
    param->index = *index;
    param->name_len = star;
}

static enum err read_all(struct imap_words *words, struct params *params)
{
    unsigned index = 0;
    enum err result = ERR_OK;

    while (result == ERR_OK && !imap_words_is_end(words)) {
        struct param param;

        if (take_param(words, params, &param)) {
            read_section(params, &param, &index);
            result = append(params, &param);
        } else if (!imap_words_is_end(words)) {
            words->at++;
        }
        if (result == ERR_OK)
            result = words->err;
    }
    return result;
}

static int compare_names(const struct params *params, const struct param *a, const struct param *b)
{
    struct span one = name_of(params, a), other = name_of(params, b);
    size_t len = one.len < other.len ? one.len : other.len;
    int order = len > 0 ? memcmp(one.ptr, other.ptr, len) : 0;

    return order != 0 ? order : (one.len > other.len) - (one.len < other.len);
}

/* Those that are no sections in the order in which they came; then the sections by name and number. */
static int compare(const void *a_item, const void *b_item, void *context)
{
    const struct param *a = a_item, *b = b_item;
    int order = (int)a->is_section - (int)b->is_section;

    if (order == 0 && a->is_section)
        order = compare_names(context, a, b);
    if (order == 0 && a->is_section)
        order = (a->index > b->index) - (a->index < b->index);
    return order != 0 ? order : (a->order > b->order) - (a->order < b->order);
}

/* What the joined or single parameters are given to. */
typedef enum err (*param_fn)(struct span name, struct span value, void *context);

static enum err give_single(const struct params *params, const struct param *param, param_fn fn, void *context)
{
    struct buf name;
    enum err result;

    if (!param->is_section)
        return fn(name_of(params, param), value_of(params, param), context);
    buf_init(&name, param->name_len + 16);
    result = buf_add_span(&name, name_of(params, param));
    if (result == ERR_OK)
        result = buf_addf(&name, param->is_extended ? "*%u*" : "*%u", param->index);
    if (result == ERR_OK)
        result = fn(buf_span(&name), value_of(params, param), context);
    buf_fini(&name);
    return result;
}

/* A section that is not encoded, among others that are: its percent signs are text. */
static enum err add_escaped(struct buf *out, struct span text)
{
    enum err result = ERR_OK;

    for (size_t i = 0; i < text.len && result == ERR_OK; i++)
        result = text.ptr[i] == '%' ? buf_add_string(out, "%25") : buf_add_byte(out, text.ptr[i]);
    return result;
}

static enum err give_joined(const struct params *params, const struct param *first, size_t count, bool is_extended,
                            param_fn fn, void *context)
{
    struct buf name, value;
    enum err result = ERR_OK;

    buf_init(&name, first->name_len + 2);
    buf_init(&value, 3 * params->texts.len + 3);
    if (is_extended && !first->is_extended)
        result = buf_add_string(&value, "''");
    for (size_t i = 0; i < count && result == ERR_OK; i++) {
        struct span text = value_of(params, &first[i]);

        result = is_extended && !first[i].is_extended ? add_escaped(&value, text) : buf_add_span(&value, text);
    }
    if (result == ERR_OK)
        result = buf_add_span(&name, name_of(params, first));
    if (result == ERR_OK && is_extended)
        result = buf_add_byte(&name, '*');
    if (result == ERR_OK)
        result = fn(buf_span(&name), buf_span(&value), context);
    buf_fini(&value);
    buf_fini(&name);
    return result;
}

/* The sections that begin at `first`: joined if none is missing, else each alone. */
static enum err give_sections(const struct params *params, size_t first, size_t *count_out, param_fn fn, void *context)
{
    const struct param *items = params->items + first;
    bool is_whole = true, is_extended = false;
    size_t count = 0;
    enum err result = ERR_OK;

    while (first + count < params->len &&
           span_is_case_equal(name_of(params, &items[count]), name_of(params, &items[0]))) {
        is_whole = is_whole && items[count].index == count;
        is_extended = is_extended || items[count].is_extended;
        count++;
    }
    *count_out = count;
    if (is_whole)
        return give_joined(params, items, count, is_extended, fn, context);
    for (size_t i = 0; i < count && result == ERR_OK; i++)
        result = give_single(params, &items[i], fn, context);
    return result;
}

static enum err walk(struct imap_words *words, param_fn fn, void *context)
{
    struct params params = {0};
    enum err result;

    buf_init(&params.texts, words->text.len + 1);
    result = read_all(words, &params);
    if (result == ERR_OK && params.len > 1)
        qsort_r(params.items, params.len, sizeof *params.items, compare, &params);
    for (size_t i = 0, count; i < params.len && result == ERR_OK; i += count) {
        count = 1;
        if (params.items[i].is_section)
            result = give_sections(&params, i, &count, fn, context);
        else
            result = give_single(&params, &params.items[i], fn, context);
    }
    free(params.items);
    buf_fini(&params.texts);
    return result;
}

struct adding {
    struct buf *out;
    bool is_first;
    bool *has_charset;
};

static enum err add_string(struct buf *out, struct span text)
{
    return imap_add_nstring(out, (struct span){text.len > 0 ? text.ptr : "", text.len});
}

static enum err add_param(struct span name, struct span value, void *context)
{
    struct adding *adding = context;
    enum err result = adding->is_first ? ERR_OK : buf_add_byte(adding->out, ' ');

    adding->is_first = false;
    if (adding->has_charset != NULL && span_is_case_equal(name, SPAN_LIT("charset")))
        *adding->has_charset = true;
    if (result == ERR_OK)
        result = add_string(adding->out, name);
    if (result == ERR_OK)
        result = buf_add_byte(adding->out, ' ');
    return result == ERR_OK ? add_string(adding->out, value) : result;
}

enum err imap_params_add(struct imap_words *words, struct buf *out, bool *has_charset_out)
{
    struct adding adding = {.out = out, .is_first = true, .has_charset = has_charset_out};

    if (has_charset_out != NULL)
        *has_charset_out = false;
    return walk(words, add_param, &adding);
}

struct finding {
    struct span name;
    struct buf *out;
    bool is_there;
};

static enum err find_param(struct span name, struct span value, void *context)
{
    struct finding *finding = context;

    if (finding->is_there || !span_is_case_equal(name, finding->name))
        return ERR_OK;
    finding->is_there = true;
    return buf_add_span(finding->out, value);
}

enum err imap_params_find(struct imap_words *words, const char *name, struct buf *out, bool *is_there_out)
{
    struct finding finding = {.name = span_of(name), .out = out};
    enum err result = walk(words, find_param, &finding);

    *is_there_out = finding.is_there;
    return result;
}

bool imap_type_read(struct imap_words *words, struct buf *type, struct buf *subtype)
{
    enum imap_word word = imap_words_skip(words);

    if (word == IMAP_WORD_MORE)
        word = imap_words_token(words, type);
    if (word == IMAP_WORD_LAST && type->len > 0) {
        /* A type alone; but a multipart must say which. */
        if (span_is_case_equal(buf_span(type), SPAN_LIT("multipart"))) {
            buf_clear(type);
            imap_words_put(words, type, SPAN_LIT("application"));
            imap_words_put(words, subtype, SPAN_LIT("octet-stream"));
        }
        return false;
    }
    if (word == IMAP_WORD_MORE && type->len > 0 && imap_words_peek(words) == '/') {
        words->at++;
        word = imap_words_skip(words);
        if (word == IMAP_WORD_MORE)
            word = imap_words_token(words, subtype);
        if (word != IMAP_WORD_BROKEN && subtype->len > 0 && (word == IMAP_WORD_LAST || imap_words_peek(words) == ';'))
            return true;
    }
    buf_clear(type);
    buf_clear(subtype);
    return false;
}
