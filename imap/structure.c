#include "imap/content_internal.h"
#include "imap/token.h"
#include "mime/encoding.h"

#include <string.h>

/* Dovecot looks at no more of a boundary, and neither do we: 70 are legal (RFC 2046 §5.1.1). */
#define BOUNDARY_SEEN 80

/* Dovecot's limits, too: it takes nothing apart that is deeper or comes later. */
#define PARTS_MAX 10000
#define DEPTH_MAX 99
/* A Content-Type that comes later is not seen. */
#define HEADER_MAX ((size_t)16 << 20)
/* What is longer is not in a short structure. */
#define SHORT_MAX 128

/* ---- the map ---- */

static void copy_lower(struct span text, char target[MIME_TYPE_MAX])
{
    if (!span_copy(text, target, MIME_TYPE_MAX))
        target[0] = '\0';
    for (char *at = target; *at != '\0'; at++)
        *at = span_lower(*at);
}

static enum err read_boundary(struct mime_part *part, struct imap_words *words, bool *has_boundary_out)
{
    struct buf boundary;
    enum err result;

    buf_init(&boundary, 4 * words->text.len + 4);
    result = imap_params_find(words, "boundary", &boundary, has_boundary_out);
    if (result == ERR_OK && *has_boundary_out)
        *has_boundary_out =
            span_copy(span_slice(buf_span(&boundary), 0, BOUNDARY_SEEN), part->boundary, sizeof part->boundary);
    buf_fini(&boundary);
    return result;
}

static enum err read_type(struct mime_part *part, struct span value, bool *has_boundary_out)
{
    struct imap_words words;
    struct buf type, subtype;
    enum err result;

    buf_init(&type, value.len + 16);
    buf_init(&subtype, value.len + 16);
    imap_words_init(&words, value);
    (void)imap_type_read(&words, &type, &subtype);
    result = words.err;
    copy_lower(buf_span(&type), part->type);
    copy_lower(buf_span(&subtype), part->subtype);
    if (result == ERR_OK && mime_part_is(part, "message", "rfc822"))
        part->kind = MIME_MESSAGE;
    if (result == ERR_OK && mime_part_is(part, "multipart", NULL)) {
        part->kind = MIME_MULTIPART;
        result = read_boundary(part, &words, has_boundary_out);
    }
    buf_fini(&subtype);
    buf_fini(&type);
    return result;
}

/* RFC 2045 §5.2: without a Content-Type text/plain; RFC 2046 §5.1.5: in a digest message/rfc822. */
static void use_default_type(struct mime_part *part)
{
    bool is_in_digest = part->parent != NULL && mime_part_is(part->parent, "multipart", "digest");

    copy_lower(is_in_digest ? SPAN_LIT("message") : SPAN_LIT("text"), part->type);
    copy_lower(is_in_digest ? SPAN_LIT("rfc822") : SPAN_LIT("plain"), part->subtype);
    part->kind = is_in_digest ? MIME_MESSAGE : MIME_LEAF;
}

static enum err read_header(struct mime_part *part, struct span header, bool *has_boundary_out)
{
    struct mime_field field;
    struct buf value;
    enum err result;

    if (mime_field_find(header, "Content-Transfer-Encoding", &field))
        part->encoding = mime_encoding_parse(field.value);
    if (!mime_field_find(header, "Content-Type", &field)) {
        use_default_type(part);
        return ERR_OK;
    }
    buf_init(&value, field.value.len + 1);
    result = imap_field_value(&field, &value);
    if (result == ERR_OK)
        result = read_type(part, buf_span(&value), has_boundary_out);
    buf_fini(&value);
    return result;
}

enum err imap_content_parse(struct span message, struct mime_tree **tree_out)
{
    const struct mime_limits limits = {PARTS_MAX, DEPTH_MAX, HEADER_MAX};

    return mime_parse_as_server(message, limits, read_header, tree_out);
}

/* ---- what a part's header says ---- */

enum place {
    TYPE,
    TYPE_PARAMS,
    ID,
    DESCRIPTION,
    ENCODING,
    MD5,
    DISPOSITION,
    DISPOSITION_PARAMS,
    LANGUAGE,
    LOCATION,
    PLACES
};

/* What stands for nothing at all. */
static const char *const plain[PLACES] = {
    [TYPE] = "\"text\" \"plain\"", [TYPE_PARAMS] = "\"charset\" \"us-ascii\"", [ENCODING] = "\"7bit\""};

/* Texts as they are written; an empty one stands for a field that is not there. */
struct description {
    struct buf texts[PLACES];
    bool is_text, has_charset;
    bool is_too_deep; /* to be taken apart, and so of no type that has parts */
};

static enum err add_string(struct buf *out, struct span text)
{
    return imap_add_nstring(out, (struct span){text.len > 0 ? text.ptr : "", text.len});
}

static enum err describe_type(struct description *about, struct span value)
{
    struct imap_words words;
    struct buf type, subtype;
    bool has_params;
    enum err result;

    buf_init(&type, value.len + 16);
    buf_init(&subtype, value.len + 16);
    imap_words_init(&words, value);
    has_params = imap_type_read(&words, &type, &subtype);
    if (about->is_too_deep) {
        buf_clear(&type);
        buf_clear(&subtype);
        imap_words_put(&words, &type, SPAN_LIT("application"));
        imap_words_put(&words, &subtype, SPAN_LIT("octet-stream"));
    }
    result = words.err;
    about->is_text = span_is_case_equal(buf_span(&type), SPAN_LIT("text"));
    if (result == ERR_OK && !span_is_case_equal(buf_span(&type), SPAN_LIT("multipart"))) {
        result = add_string(&about->texts[TYPE], buf_span(&type));
        if (result == ERR_OK)
            result = buf_add_byte(&about->texts[TYPE], ' ');
    }
    if (result == ERR_OK)
        result = add_string(&about->texts[TYPE], buf_span(&subtype));
    if (result == ERR_OK && has_params)
        result = imap_params_add(&words, &about->texts[TYPE_PARAMS], &about->has_charset);
    buf_fini(&subtype);
    buf_fini(&type);
    return result;
}

/* The token must be all that there is. */
static enum err describe_encoding(struct buf *out, struct span value)
{
    struct imap_words words;
    struct buf token;
    enum err result;

    buf_init(&token, value.len + 1);
    imap_words_init(&words, value);
    (void)imap_words_skip(&words);
    if (imap_words_token(&words, &token) == IMAP_WORD_LAST && token.len > 0 && words.err == ERR_OK)
        words.err = add_string(out, buf_span(&token));
    result = words.err;
    buf_fini(&token);
    return result;
}

static enum err describe_disposition(struct description *about, struct span value)
{
    struct imap_words words;
    struct buf token;

    buf_init(&token, value.len + 1);
    imap_words_init(&words, value);
    (void)imap_words_skip(&words);
    if (imap_words_token(&words, &token) != IMAP_WORD_BROKEN && words.err == ERR_OK) {
        buf_clear(&about->texts[DISPOSITION]);
        words.err = add_string(&about->texts[DISPOSITION], buf_span(&token));
        if (words.err == ERR_OK)
            words.err = imap_params_add(&words, &about->texts[DISPOSITION_PARAMS], NULL);
    }
    buf_fini(&token);
    return words.err;
}

/* Language-Header = "Content-Language" ":" 1#Language-tag (RFC 3282 §2) */
static enum err describe_languages(struct buf *out, struct span value)
{
    struct imap_words words;
    struct buf tag;

    buf_init(&tag, value.len + 1);
    imap_words_init(&words, value);
    (void)imap_words_skip(&words);
    while (words.err == ERR_OK && imap_words_atom(&words, &tag) != IMAP_WORD_BROKEN && words.err == ERR_OK) {
        if (out->len > 0)
            imap_words_put(&words, out, SPAN_LIT(" "));
        if (words.err == ERR_OK)
            words.err = add_string(out, buf_span(&tag));
        buf_clear(&tag);
        if (imap_words_peek(&words) != ',')
            break;
        words.at++;
        (void)imap_words_skip(&words);
    }
    buf_fini(&tag);
    return words.err;
}

static const struct {
    const char *name;
    enum place place, decides; /* the first field counts for which `decides` is not empty afterwards */
} fields[] = {
    {"Content-Type", TYPE, TYPE},
    {"Content-ID", ID, ID},
    {"Content-Description", DESCRIPTION, DESCRIPTION},
    {"Content-Transfer-Encoding", ENCODING, ENCODING},
    {"Content-MD5", MD5, MD5},
    {"Content-Disposition", DISPOSITION, DISPOSITION_PARAMS},
    {"Content-Language", LANGUAGE, LANGUAGE},
    {"Content-Location", LOCATION, LOCATION},
};

static enum err describe_field(struct description *about, enum place place, struct span value)
{
    switch (place) {
    case TYPE:
        return describe_type(about, value);
    case ENCODING:
        return describe_encoding(&about->texts[ENCODING], value);
    case DISPOSITION:
        return describe_disposition(about, value);
    case LANGUAGE:
        return describe_languages(&about->texts[LANGUAGE], value);
    default:
        return imap_add_value(&about->texts[place], value);
    }
}

static enum err describe_fields(struct description *about, struct span header)
{
    struct mime_field field;
    struct buf value;
    enum err result = ERR_OK;

    buf_init(&value, header.len + 1);
    for (size_t at = 0; result == ERR_OK && mime_field_next(header, &at, &field);) {
        for (size_t i = 0; i < sizeof fields / sizeof *fields && result == ERR_OK; i++) {
            if (!mime_field_is(&field, fields[i].name) || about->texts[fields[i].decides].len > 0)
                continue;
            buf_clear(&value);
            result = imap_field_value(&field, &value);
            if (result == ERR_OK)
                result = describe_field(about, fields[i].place, buf_span(&value));
        }
    }
    buf_fini(&value);
    return result;
}

/* RFC 2045 §4: without MIME-Version a message says nothing about its content; servers take a Content-Type for it. A
   part of a multipart needs neither. */
static enum err describe(struct description *about, const struct mime_part *part, struct span message, size_t len_max)
{
    struct span header = mime_part_header(part, message);
    bool is_mime = part->parent != NULL && part->parent->kind == MIME_MULTIPART;
    struct mime_field field;

    memset(about, 0, sizeof *about);
    about->is_text = true;
    about->is_too_deep =
        part->kind == MIME_LEAF && (mime_part_is(part, "multipart", NULL) || mime_part_is(part, "message", "rfc822"));
    for (int place = 0; place < PLACES; place++)
        buf_init(&about->texts[place], len_max);
    if (is_mime || mime_field_find(header, "MIME-Version", &field) || mime_field_find(header, "Content-Type", &field))
        return describe_fields(about, header);
    return ERR_OK;
}

/* What imap_structure_add_short keeps of a part. */
static enum err shorten(struct description *about, const struct mime_part *part)
{
    static const bool may_stay[PLACES] = {[TYPE] = true, [TYPE_PARAMS] = true, [ENCODING] = true};
    bool has_type = about->texts[TYPE].len <= SHORT_MAX;

    if (!has_type)
        about->is_text = false;
    for (int place = 0; place < PLACES; place++)
        if (!may_stay[place] || !has_type || about->texts[place].len > SHORT_MAX)
            buf_clear(&about->texts[place]);
    about->has_charset = about->has_charset && about->texts[TYPE_PARAMS].len > 0;
    return has_type || part->kind != MIME_LEAF
               ? ERR_OK
               : buf_add_string(&about->texts[TYPE], "\"application\" \"octet-stream\"");
}

static void description_fini(struct description *about)
{
    for (int place = 0; place < PLACES; place++)
        buf_fini(&about->texts[place]);
}

/* ---- writing ---- */

struct writer {
    struct span message;
    struct buf *out;
    bool is_extended, is_short;
    enum err err;
};

static void put(struct writer *writer, const char *text)
{
    if (writer->err == ERR_OK)
        writer->err = buf_add_string(writer->out, text);
}

/* The text between the words, or `otherwise` if there is none. */
static void put_text(struct writer *writer, const char *before, const struct buf *text, const char *after,
                     const char *otherwise)
{
    if (text->len == 0) {
        put(writer, otherwise);
        return;
    }
    put(writer, before);
    if (writer->err == ERR_OK)
        writer->err = buf_add_span(writer->out, buf_span(text));
    put(writer, after);
}

/* body-fld-dsp [SP body-fld-lang [SP body-fld-loc]], each after a space */
static void put_common(struct writer *writer, const struct description *about)
{
    const struct buf *texts = about->texts;

    if (texts[DISPOSITION].len > 0) {
        put_text(writer, " (", &texts[DISPOSITION], "", "");
        put_text(writer, " (", &texts[DISPOSITION_PARAMS], "))", " NIL)");
    } else {
        put(writer, " NIL");
    }
    put_text(writer, " (", &texts[LANGUAGE], ")", " NIL");
    put_text(writer, " ", &texts[LOCATION], "", " NIL");
}

/* media-subtype [SP body-ext-mpart], after the parts */
static void put_multipart_end(struct writer *writer, const struct description *about)
{
    put_text(writer, " ", &about->texts[TYPE], "", " \"mixed\"");
    if (writer->is_extended) {
        put_text(writer, " (", &about->texts[TYPE_PARAMS], ")", " NIL");
        put_common(writer, about);
    }
    put(writer, ")");
}

/* A message of nothing but plain text. Dovecot keeps no more of it than that. */
static bool is_plain(const struct mime_part *part, const struct description *about)
{
    const struct buf *texts = about->texts;

    if (part->parent != NULL || part->kind != MIME_LEAF || !about->is_text)
        return false;
    for (int place = 0; place < PLACES; place++) {
        struct span text = buf_span(&texts[place]);

        if (text.len > 0 && !span_is_case_equal(text, span_of(plain[place])))
            return false;
    }
    return true;
}

/* media-type SP body-fields, up to the size */
static void put_begin(struct writer *writer, const struct mime_part *part, const struct description *about)
{
    static const struct description nothing = {.is_text = true};
    const struct description *shown = is_plain(part, about) ? &nothing : about;
    const struct buf *texts = shown->texts;
    bool is_text = shown->is_text && part->kind == MIME_LEAF;

    put(writer, "(");
    if (part->kind == MIME_MESSAGE)
        put(writer, "\"message\" \"rfc822\"");
    else
        put_text(writer, "", &texts[TYPE], "", "\"text\" \"plain\"");
    if (is_text && !shown->has_charset) {
        put_text(writer, " (", &texts[TYPE_PARAMS], " ", " (");
        put(writer, "\"charset\" \"us-ascii\")");
    } else {
        put_text(writer, " (", &texts[TYPE_PARAMS], ")", " NIL");
    }
    put_text(writer, " ", &texts[ID], "", " NIL");
    put_text(writer, " ", &texts[DESCRIPTION], "", " NIL");
    put_text(writer, " ", &texts[ENCODING], "", " \"7bit\"");
    if (writer->err == ERR_OK)
        writer->err = buf_addf(writer->out, " %zu", part->body_end - part->body_at);
    if (is_text && writer->err == ERR_OK)
        writer->err = buf_addf(writer->out, " %zu", part->body_lines);
}

/* [SP body-ext-1part] */
static void put_end(struct writer *writer, const struct mime_part *part, const struct description *about)
{
    if (part->kind == MIME_MESSAGE && writer->err == ERR_OK)
        writer->err = buf_addf(writer->out, " %zu", part->body_lines);
    if (writer->is_extended) {
        put_text(writer, " ", &about->texts[MD5], "", " NIL");
        put_common(writer, about);
    }
    put(writer, ")");
}

static void describe_part(struct writer *writer, const struct mime_part *part, struct description *about)
{
    /* What will be left out must be read first: a header of this size, with all of its bytes escaped. */
    size_t len_max = writer->is_short ? 4 * HEADER_MAX : writer->out->len_max;

    writer->err = describe(about, part, writer->message, len_max);
    if (writer->err == ERR_OK && writer->is_short)
        writer->err = shorten(about, part);
}

static void put_envelope(struct writer *writer, const struct mime_part *message)
{
    put(writer, " ");
    if (writer->is_short)
        put(writer, IMAP_ENVELOPE_EMPTY);
    else if (writer->err == ERR_OK)
        writer->err = imap_envelope_add(mime_part_header(message, writer->message), writer->out);
    put(writer, " ");
}

/* What stands before a part's children. */
static void enter(struct writer *writer, const struct mime_part *part)
{
    const char *empty = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0";
    struct description about;

    if (part->kind == MIME_MULTIPART) {
        put(writer, "(");
        if (part->first_child == NULL) {
            put(writer, empty);
            put(writer, writer->is_extended ? " NIL NIL NIL NIL)" : ")");
        }
        return;
    }
    if (writer->err != ERR_OK)
        return;
    describe_part(writer, part, &about);
    put_begin(writer, part, &about);
    if (part->kind == MIME_MESSAGE && part->first_child != NULL)
        put_envelope(writer, part->first_child);
    if (part->kind == MIME_LEAF)
        put_end(writer, part, &about);
    description_fini(&about);
}

/* What stands after them. */
static void leave(struct writer *writer, const struct mime_part *part)
{
    struct description about;

    if (part->kind == MIME_LEAF || writer->err != ERR_OK)
        return;
    describe_part(writer, part, &about);
    if (part->kind == MIME_MULTIPART)
        put_multipart_end(writer, &about);
    else
        put_end(writer, part, &about);
    description_fini(&about);
}

static enum err write_tree(struct writer *writer, const struct mime_part *root)
{
    const struct mime_part *part = root;
    size_t len_before = writer->out->len;

    enter(writer, part);
    while (part != NULL && writer->err == ERR_OK) {
        if (part->first_child != NULL) {
            part = part->first_child;
            enter(writer, part);
            continue;
        }
        leave(writer, part);
        while (part != root && part->next == NULL) {
            part = part->parent;
            leave(writer, part);
        }
        part = part == root ? NULL : part->next;
        if (part != NULL)
            enter(writer, part);
    }
    if (writer->err != ERR_OK)
        buf_truncate(writer->out, len_before);
    return writer->err;
}

enum err imap_structure_add(const struct mime_part *root, struct span message, bool is_extended, struct buf *out)
{
    struct writer writer = {.message = message, .out = out, .is_extended = is_extended};

    return write_tree(&writer, root);
}

enum err imap_structure_add_short(const struct mime_part *root, struct span message, bool is_extended, struct buf *out)
{
    struct writer writer = {.message = message, .out = out, .is_extended = is_extended, .is_short = true};

    return write_tree(&writer, root);
}
