#include "crypto/heard.h"

#include "crypto/author.h"
#include "keyring/autocrypt.h"
#include "mime/param.h"
#include "mime/part.h"
#include "mime/text.h"

#include <string.h>

static bool is_own(const struct crypto_hearer *hearer, const char *address)
{
    for (size_t i = 0; i < hearer->own_len; i++)
        if (mime_addr_is_same(hearer->own[i], address))
            return true;
    return false;
}

/* Answers of machines say nothing of the program that a person writes with. */
static bool is_automatic(struct span header)
{
    char type[MIME_TYPE_MAX], subtype[MIME_TYPE_MAX];
    struct mime_field field;

    if (mime_field_find(header, "Auto-Submitted", &field) &&
        span_has_case_prefix(span_trim(field.value), SPAN_LIT("auto-replied")))
        return true;
    return mime_field_find(header, "Content-Type", &field) &&
           mime_type_parse(field.value, type, subtype, sizeof type) && strcasecmp(type, "multipart") == 0 &&
           strcasecmp(subtype, "report") == 0;
}

int64_t crypto_heard_at(struct span header, int64_t now)
{
    struct mime_field field;
    int64_t at;

    return mime_field_find(header, "Date", &field) && mime_text_time(field.value, &at) && at > 0 && at < now ? at : now;
}

static enum err add_field(const struct keyring_autocrypt_field *field, struct keyring_heard *heard, struct buf *out)
{
    heard->has_key = true;
    heard->is_mutual = field->is_mutual;
    heard->key = buf_span(&field->key);
    memcpy(heard->fingerprint, field->fingerprint, sizeof heard->fingerprint);
    return keyring_heard_add(out, heard);
}

enum err crypto_heard_add(const struct crypto_hearer *hearer, struct span header, struct buf *out)
{
    struct keyring_heard heard = {.at = crypto_heard_at(header, hearer->now)};
    struct keyring_autocrypt_field field;
    enum err result;

    if (crypto_author(header, heard.address) != 1 || heard.address[0] == '\0' || is_own(hearer, heard.address) ||
        is_automatic(header))
        return ERR_OK;
    result = keyring_autocrypt_pick(header, heard.address, &field);
    if (result == ERR_NOT_FOUND)
        return keyring_heard_add(out, &heard);
    if (result != ERR_OK)
        return result;
    result = add_field(&field, &heard, out);
    keyring_autocrypt_field_fini(&field);
    return result;
}

static enum err match_address(const struct mime_addr *addr, void *context)
{
    return mime_addr_is_same(addr->address, context) ? ERR_EXISTS : ERR_OK;
}

static bool names(struct span header, const char *address)
{
    struct mime_field field;
    char wanted[MIME_ADDR_SIZE];

    (void)span_copy(span_of(address), wanted, sizeof wanted);
    for (size_t at = 0; mime_field_next(header, &at, &field);)
        if ((mime_field_is(&field, "To") || mime_field_is(&field, "Cc") || mime_field_is(&field, "Reply-To")) &&
            mime_addr_walk(field.value, match_address, wanted) == ERR_EXISTS)
            return true;
    return false;
}

enum err crypto_heard_gossip(const struct crypto_hearer *hearer, struct span payload, struct span header,
                             struct buf *out)
{
    const int64_t at_time = crypto_heard_at(header, hearer->now);
    struct keyring_autocrypt_field parsed;
    struct mime_field field;
    size_t looked_at = 0;
    enum err result = ERR_OK;

    for (size_t at = 0; result == ERR_OK && mime_field_next(payload, &at, &field);) {
        struct keyring_heard heard = {.at = at_time, .is_gossip = true};

        if (!mime_field_is(&field, KEYRING_AUTOCRYPT_GOSSIP_NAME))
            continue;
        if (looked_at++ == KEYRING_AUTOCRYPT_GOSSIPS_MAX)
            break;
        result = keyring_autocrypt_parse(&field, &parsed);
        if (result == ERR_MALFORMED) {
            result = ERR_OK;
            continue;
        }
        if (result != ERR_OK)
            break;
        if (!is_own(hearer, parsed.address) && (names(header, parsed.address) || names(payload, parsed.address))) {
            memcpy(heard.address, parsed.address, sizeof heard.address);
            result = add_field(&parsed, &heard, out);
        }
        keyring_autocrypt_field_fini(&parsed);
    }
    return result;
}
