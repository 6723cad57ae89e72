#include "crypto/inspect.h"

#include "base/log.h"
#include "crypto/author.h"
#include "crypto/digest.h"
#include "crypto/fields.h"
#include "crypto/subject.h"
#include "crypto/verdict.h"

#include <string.h>

struct walk {
    struct crypto_facts *facts;
    const struct crypto_inspect_options *options;
    bool *is_visible;
};

static enum err take_visible(const struct mime_addr *addr, void *context)
{
    struct walk *walk = context;

    for (size_t i = 0; i < walk->options->recipients_len; i++)
        if (mime_addr_is_same(addr->address, walk->options->recipients[i]))
            walk->is_visible[i] = true;
    return ERR_OK;
}

/* A list that cannot be read to its end leaves the rest of the recipients invisible: they travel alone. */
static void read_visible(const struct mime_field *field, struct walk *walk)
{
    static const char *const names[] = {"To", "Cc", "Resent-To", "Resent-Cc"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (mime_field_is(field, names[i]) && mime_addr_walk(field->value, take_visible, walk) != ERR_OK)
            log_debug("a recipient list of the message cannot be read to its end");
}

/* request = "encrypt" "=" ( "required" / "never" ) *( ";" ... ). Whoever writes something else after "encrypt=" wanted
   something of encryption, so that it counts as "required". */
static void read_request(struct span value, struct crypto_facts *facts)
{
    struct span rest = value, item, name;

    while (span_take_until(&rest, ';', &item)) {
        item = span_trim(item);
        if (!span_take_until(&item, '=', &name) || !span_is_case_equal(span_trim(name), SPAN_LIT("encrypt")))
            continue;
        if (span_is_case_equal(span_trim(item), SPAN_LIT("never")))
            facts->wants_plain = true;
        else
            facts->wants_encryption = true;
    }
}

static void read_fields(struct span header, struct walk *walk)
{
    struct crypto_facts *facts = walk->facts;
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        read_visible(&field, walk);
        if (mime_field_is(&field, CRYPTO_REQUEST_FIELD))
            read_request(field.value, facts);
        else if (mime_field_is(&field, "Subject"))
            facts->wants_encryption |= crypto_subject_has_tag(field.value, walk->options->subject_tag);
        else if (mime_field_is(&field, "Sensitivity"))
            facts->wants_encryption |= span_is_case_equal(span_trim(field.value), SPAN_LIT("Company-Confidential"));
        else if (mime_field_is(&field, "Message-ID") && facts->message_id[0] == '\0')
            span_copy(span_trim(field.value), facts->message_id, sizeof(facts->message_id));
    }
    facts->wants_plain = facts->wants_plain && !facts->wants_encryption;
}

static bool has_field(struct span header)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);)
        if (field.name.len > 0)
            return true;
    return false;
}

enum err crypto_inspect(struct span message, const struct crypto_inspect_options *options,
                        struct crypto_facts *facts_out, bool *is_visible_out)
{
    static const char *const answered[] = {"In-Reply-To", "References", NULL};
    struct walk walk = {facts_out, options, is_visible_out};
    struct mime_tree *tree = NULL;
    struct span header;
    enum err result;

    memset(facts_out, 0, sizeof(*facts_out));
    for (size_t i = 0; i < options->recipients_len; i++)
        is_visible_out[i] = false;
    result = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);
    if (result != ERR_OK)
        return result;
    header = mime_part_header(tree->root, message);
    if (has_field(header)) {
        facts_out->from_len = crypto_author(header, facts_out->from);
        read_fields(header, &walk);
        facts_out->sealed = crypto_sealed_kind(message, tree);
        facts_out->has_8bit_header = (tree->root->header_flags & MIME_HAS_8BIT) != 0;
        facts_out->is_8bit = ((tree->root->header_flags | tree->root->body_flags) & MIME_HAS_8BIT) != 0;
        result = crypto_message_ids_add(&facts_out->answered, header, answered);
        if (result == ERR_OK)
            result = crypto_digest(message, tree, facts_out->digest);
    } else {
        result = ERR_MALFORMED;
    }
    mime_tree_free(&tree);
    return result;
}
