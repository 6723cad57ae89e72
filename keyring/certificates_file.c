/*
 * One certificate as a file: lines "Name: value", an empty line, PEM. Each name at most once; what is unknown, or not
 * written as it is written here, makes the whole file malformed: nobody guesses what a key is for.
 */
#include "keyring/certificates_internal.h"

#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----\n"
#define PEM_END "-----END CERTIFICATE-----\n"

enum kind { KIND_SOURCE, KIND_TEXT, KIND_FLAG, KIND_TIME };

/* The lines, in the order in which they are written; what has its zero value is left out, but for the source. */
static const struct line {
    const char *name;
    enum kind kind;
    size_t offset, size;
} lines[] = {
#define LINE(name, kind, field)                                                                                        \
    {                                                                                                                  \
        name, kind, offsetof(struct keyring_certificate, field), sizeof((struct keyring_certificate *)0)->field        \
    }
    LINE("Source", KIND_SOURCE, source), LINE("Directory", KIND_TEXT, directory),
    LINE("Found", KIND_FLAG, is_found),  LINE("Takes-GCM", KIND_FLAG, takes_gcm),
    LINE("Key", KIND_TEXT, key_place),   LINE("Seen", KIND_TIME, seen),
    LINE("Until", KIND_TIME, until),     LINE("Revoked", KIND_TIME, revoked),
#undef LINE
};
#define LINES_LEN (sizeof lines / sizeof *lines)

static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return false;
    return text.len > 0 && text.ptr[0] != ' ' && text.ptr[text.len - 1] != ' ';
}

static bool parse_source(struct span value, enum keyring_source *source_out)
{
    return keyring_source_parse(value, source_out) == ERR_OK;
}

static bool parse_value(const struct line *line, struct span value, struct keyring_certificate *entry)
{
    char *field = (char *)entry + line->offset;
    uint64_t number;
    switch (line->kind) {
    case KIND_SOURCE:
        return parse_source(value, (enum keyring_source *)(void *)field);
    case KIND_TEXT:
        return is_printable(value) && span_copy(value, field, line->size);
    case KIND_FLAG:
        *(bool *)field = true;
        return span_is_equal(value, SPAN_LIT("yes"));
    case KIND_TIME:
        if (!span_to_u64(value, INT64_MAX, &number))
            return false;
        *(int64_t *)(void *)field = (int64_t)number;
        return number > 0;
    }
    return false;
}

static bool parse_line(struct span text, struct keyring_certificate *entry, unsigned *seen)
{
    struct span name;
    if (span_find(text, 0, SPAN_LIT(": ")) == SIZE_MAX || !span_take_until(&text, ':', &name))
        return false;
    for (size_t i = 0; i < LINES_LEN; i++)
        if (span_is_equal(name, span_of(lines[i].name)) && (*seen & 1u << i) == 0) {
            *seen |= 1u << i;
            return parse_value(&lines[i], span_skip(text, 1), entry);
        }
    return false;
}

/* Exactly one, and nothing after it. */
static X509 *parse_pem(struct span pem)
{
    struct span end = SPAN_LIT(PEM_END);
    if (!span_has_prefix(pem, SPAN_LIT(PEM_BEGIN)) || span_find(pem, 0, end) != pem.len - end.len)
        return NULL;
    BIO *source = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *certificate = source == NULL ? NULL : PEM_read_bio_X509(source, NULL, NULL, NULL);
    BIO_free(source);
    ERR_clear_error();
    return certificate;
}

enum err certificates_parse(struct span file, struct keyring_certificate *entry_out)
{
    unsigned seen = 0;
    struct span line;
    bool is_right = file.len <= CERTIFICATES_FILE_MAX;
    *entry_out = (struct keyring_certificate){.certificate = NULL};
    while (is_right && (is_right = span_take_until(&file, '\n', &line)) && line.len > 0)
        is_right = parse_line(line, entry_out, &seen);
    if (!is_right || (seen & 1u) == 0)
        return ERR_MALFORMED;
    entry_out->certificate = parse_pem(file);
    if (entry_out->certificate == NULL)
        return ERR_MALFORMED;
    enum err err = keyring_x509_fingerprint(entry_out->certificate, entry_out->fingerprint);
    /* X509_check_purpose with -1 reads the extensions: one that cannot be read makes it useless. */
    if (err == ERR_OK && (X509_check_purpose(entry_out->certificate, -1, 0) != 1 ||
                          i2d_X509(entry_out->certificate, NULL) > (int)KEYRING_CERTIFICATE_SIZE_MAX))
        err = ERR_MALFORMED;
    ERR_clear_error();
    if (err != ERR_OK) {
        X509_free(entry_out->certificate);
        entry_out->certificate = NULL;
    }
    return err;
}

static enum err print_line(const struct line *line, const struct keyring_certificate *entry, struct buf *out)
{
    const char *field = (const char *)entry + line->offset;
    int64_t number = 0;
    switch (line->kind) {
    case KIND_SOURCE:
        return entry->source < KEYRING_SOURCE_COUNT
                   ? buf_addf(out, "%s: %s\n", line->name, keyring_source_name(entry->source))
                   : ERR_MALFORMED;
    case KIND_TEXT:
        if (*field == '\0')
            return ERR_OK;
        return is_printable(span_of(field)) ? buf_addf(out, "%s: %s\n", line->name, field) : ERR_MALFORMED;
    case KIND_FLAG:
        return *(const bool *)field ? buf_addf(out, "%s: yes\n", line->name) : ERR_OK;
    case KIND_TIME:
        number = *(const int64_t *)(const void *)field;
        if (number == 0)
            return ERR_OK;
        return number > 0 ? buf_addf(out, "%s: %" PRId64 "\n", line->name, number) : ERR_MALFORMED;
    }
    return ERR_MALFORMED;
}

enum err certificates_print(const struct keyring_certificate *entry, struct buf *out)
{
    enum err err = ERR_OK;
    char *text;
    if (i2d_X509(entry->certificate, NULL) > (int)KEYRING_CERTIFICATE_SIZE_MAX)
        return ERR_TOO_BIG;
    for (size_t i = 0; err == ERR_OK && i < LINES_LEN; i++)
        err = print_line(&lines[i], entry, out);
    if (err == ERR_OK)
        err = buf_add_byte(out, '\n');
    BIO *pem = BIO_new(BIO_s_mem());
    if (err == ERR_OK && (pem == NULL || PEM_write_bio_X509(pem, entry->certificate) != 1))
        err = ERR_MEMORY;
    long len = pem == NULL ? 0 : BIO_get_mem_data(pem, &text);
    if (err == ERR_OK)
        err = buf_add(out, text, (size_t)len);
    BIO_free(pem);
    ERR_clear_error();
    return err;
}
