/*
 * The view of what could have been changed on its way without anybody noticing (CBC without a good signature over all
 * of it, design 1.1.2): whoever changes it may put the text of a person into an address that a mail program fetches.
 * So a person reads text/plain, and all else is there to be saved.
 *
 * Nothing of the structure that came is kept, since two readers need not agree on it: the parts stand one after the
 * other, each under a header that is written here.
 */
#include "crypto/open_view.h"

#include "mime/field.h"
#include "mime/param.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define BOUNDARY_SIZE 48
#define NAME_MAX_LEN 200
#define VALUE_MAX 40 /* of a parameter that says how to read a text */

/* What is no multipart, or is one without parts. */
static const struct mime_part *first_unit(const struct mime_part *part)
{
    while (part->kind == MIME_MULTIPART && part->first_child != NULL)
        part = part->first_child;
    return part;
}

static const struct mime_part *next_unit(const struct mime_part *part, const struct mime_part *root)
{
    while (part != root && part->next == NULL)
        part = part->parent;
    return part == root ? NULL : first_unit(part->next);
}

static bool is_attachment(const struct mime_part *part, struct span bytes)
{
    struct mime_field field;

    return mime_field_find(mime_part_header(part, bytes), "Content-Disposition", &field) &&
           span_has_case_prefix(span_trim(field.value), SPAN_LIT("attachment"));
}

static bool is_read(const struct mime_part *part, struct span bytes)
{
    return part->kind == MIME_LEAF && mime_part_is(part, "text", "plain") && part->encoding != MIME_ENCODING_UNKNOWN &&
           !is_attachment(part, bytes);
}

static const char *encoding_name(const struct mime_part *part)
{
    switch (part->encoding) {
    case MIME_7BIT:
        return "7bit";
    case MIME_QUOTED_PRINTABLE:
        return "quoted-printable";
    case MIME_BASE64:
        return "base64";
    default:
        return "8bit";
    }
}

/* Adds a parameter as the part has it, if it is a word. */
static enum err add_word(struct span type_value, const char *name, struct buf *out)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+";
    struct buf text;
    enum err result;

    buf_init(&text, VALUE_MAX);
    result = mime_param_get(type_value, name, &text);
    if (result == ERR_OK && text.len > 0 && text.data[strspn(text.data, letters)] == '\0')
        result = mime_param_add(out, name, buf_span(&text));
    buf_fini(&text);
    return result == ERR_MEMORY || out->len >= out->len_max ? result : ERR_OK;
}

static enum err add_read_header(const struct mime_part *part, struct span bytes, struct buf *out)
{
    static const char *const kept[] = {"charset", "format", "delsp"};
    struct mime_field field;
    enum err result = buf_add_string(out, "Content-Type: text/plain");

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]) && result == ERR_OK; i++)
        if (mime_field_find(mime_part_header(part, bytes), "Content-Type", &field))
            result = add_word(field.value, kept[i], out);
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

/* ERR_NOT_FOUND: it has none that can be kept. */
static enum err find_name(const struct mime_part *part, struct span bytes, struct buf *name)
{
    static const char *const places[][2] = {{"Content-Disposition", "filename"}, {"Content-Type", "name"}};
    struct mime_field field;

    for (size_t i = 0; i < 2; i++) {
        enum err result = ERR_NOT_FOUND;

        buf_clear(name);
        if (mime_field_find(mime_part_header(part, bytes), places[i][0], &field))
            result = mime_param_get(field.value, places[i][1], name);
        if (result == ERR_MEMORY || (result == ERR_OK && name->len > 0))
            return result;
    }
    return ERR_NOT_FOUND;
}

static enum err add_saved_header(const struct mime_part *part, struct span bytes, size_t number, struct buf *out)
{
    struct buf name;
    enum err result;

    buf_init(&name, NAME_MAX_LEN);
    result = find_name(part, bytes, &name);
    if (result == ERR_NOT_FOUND) {
        buf_clear(&name);
        result = buf_addf(&name, "part-%zu%s", number, part->kind == MIME_MESSAGE ? ".eml" : "");
    }
    if (result == ERR_OK)
        result = buf_add_string(out, "Content-Type: application/octet-stream\r\nContent-Disposition: attachment");
    if (result == ERR_OK)
        result = mime_param_add(out, "filename", buf_span(&name));
    buf_fini(&name);
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

static enum err add_unit(const struct mime_part *part, struct span bytes, size_t number, struct buf *out)
{
    enum err result =
        is_read(part, bytes) ? add_read_header(part, bytes, out) : add_saved_header(part, bytes, number, out);

    if (result == ERR_OK)
        result = buf_addf(out, "Content-Transfer-Encoding: %s\r\n\r\n", encoding_name(part));
    return result == ERR_OK ? crypto_view_add_clean(mime_part_body(part, bytes), out) : result;
}

/* Always the same, and in none of the parts: whoever wrote them would have had to know the digest of what he wrote. */
static enum err make_boundary(struct span bytes, char out[BOUNDARY_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    int len = snprintf(out, BOUNDARY_SIZE, "privyseal-");

    if (EVP_Digest(bytes.ptr, bytes.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return ERR_MEMORY;
    for (size_t i = 0; i < 16; i++)
        len += snprintf(out + len, BOUNDARY_SIZE - (size_t)len, "%02x", digest[i]);
    return ERR_OK;
}

enum err crypto_view_add_text_alone(const struct mime_part *part, struct span bytes, struct buf *out)
{
    char boundary[BOUNDARY_SIZE];
    const struct mime_part *root = part, *unit;
    size_t number = 0;
    enum err result;

    while (root->parent != NULL)
        root = root->parent;
    result = buf_add_string(out, "MIME-Version: 1.0\r\n");
    unit = first_unit(root);
    if (result == ERR_OK && next_unit(unit, root) == NULL && is_read(unit, bytes))
        return add_unit(unit, bytes, 1, out);
    if (result == ERR_OK)
        result = make_boundary(bytes, boundary);
    if (result == ERR_OK)
        result = buf_addf(out, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n", boundary);
    for (; result == ERR_OK && unit != NULL; unit = next_unit(unit, root)) {
        result = buf_addf(out, "\r\n--%s\r\n", boundary);
        if (result == ERR_OK)
            result = add_unit(unit, bytes, ++number, out);
    }
    return result == ERR_OK ? buf_addf(out, "\r\n--%s--\r\n", boundary) : result;
}
