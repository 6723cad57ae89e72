#include "crypto/fields.h"

#include "mime/param.h"

static const struct {
    const char *name;
    unsigned classes;
} fields[] = {
    {"Privyseal-Verdict", CRYPTO_FIELD_VERDICT},
    {"Privyseal", CRYPTO_FIELD_REQUEST},
    {"Privyseal-Own", CRYPTO_FIELD_REQUEST}, /* the mark of own copies: nobody else's message may carry it signed */
    {"Bcc", CRYPTO_FIELD_BLIND},
    {"Resent-Bcc", CRYPTO_FIELD_BLIND},
    {"Received", CRYPTO_FIELD_TRACE},
    {"Return-Path", CRYPTO_FIELD_TRACE},
    {"DKIM-Signature", CRYPTO_FIELD_TRACE},
    {"DomainKey-Signature", CRYPTO_FIELD_TRACE},
    {"Authentication-Results", CRYPTO_FIELD_TRACE},
    {"ARC-Seal", CRYPTO_FIELD_TRACE},
    {"ARC-Message-Signature", CRYPTO_FIELD_TRACE},
    {"ARC-Authentication-Results", CRYPTO_FIELD_TRACE},
    {"Received-SPF", CRYPTO_FIELD_TRACE},
    {"X-Received", CRYPTO_FIELD_TRACE},
    {"Delivered-To", CRYPTO_FIELD_TRACE},
    {"X-Original-To", CRYPTO_FIELD_TRACE},
    {"Subject", CRYPTO_FIELD_SUBJECT | CRYPTO_FIELD_FACING},
    {"Comments", CRYPTO_FIELD_HIDDEN | CRYPTO_FIELD_FACING},
    {"Keywords", CRYPTO_FIELD_HIDDEN | CRYPTO_FIELD_FACING},
    /* keys that the Autocrypt specification allows only inside */
    {"Autocrypt-Gossip", CRYPTO_FIELD_HIDDEN},
    {"HP-Outer", CRYPTO_FIELD_HP_OUTER},
    {"From", CRYPTO_FIELD_FROM | CRYPTO_FIELD_FACING},
    {"To", CRYPTO_FIELD_FACING},
    {"Cc", CRYPTO_FIELD_FACING},
    {"Reply-To", CRYPTO_FIELD_FACING},
    {"Followup-To", CRYPTO_FIELD_FACING},
    {"Mail-Followup-To", CRYPTO_FIELD_FACING},
    {"Mail-Reply-To", CRYPTO_FIELD_FACING},
    {"In-Reply-To", CRYPTO_FIELD_FACING},
    {"References", CRYPTO_FIELD_FACING},
};

/* "X-Original-Subject", "X-Thread-Topic" and whatever else repeats what is hidden. */
static bool is_copy_of_hidden(struct span name)
{
    static const char *const ends[] = {"-Subject", "-Topic", "-Comments", "-Keywords"};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct span end = span_of(ends[i]);

        if (name.len > end.len && span_is_case_equal(span_skip(name, name.len - end.len), end))
            return true;
    }
    return false;
}

unsigned crypto_field_classes(const struct mime_field *field)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (mime_field_is(field, fields[i].name))
            return fields[i].classes;
    if (mime_field_is_structural(field))
        return CRYPTO_FIELD_STRUCTURAL;
    if (is_copy_of_hidden(field->name))
        return CRYPTO_FIELD_HIDDEN;
    return span_has_case_prefix(field->name, SPAN_LIT("List-")) ? CRYPTO_FIELD_LIST : 0;
}

enum err crypto_param_is(struct span header, const char *name, const char *wanted, bool *is_it_out)
{
    struct mime_field type;
    struct buf value;
    enum err result;

    *is_it_out = false;
    if (!mime_field_find(header, "Content-Type", &type))
        return ERR_OK;
    buf_init(&value, MIME_PARAM_MAX);
    result = mime_param_get(type.value, name, &value);
    if (result == ERR_OK)
        *is_it_out = wanted == NULL || span_is_case_equal(buf_span(&value), span_of(wanted));
    buf_fini(&value);
    return result == ERR_MEMORY ? result : ERR_OK;
}
