/* crypto_inspect: whatever a message says, the facts hold together, and a subject loses its tag for good. */
#include "crypto/inspect.h"
#include "crypto/subject.h"
#include "mime/msg_id.h"

#include <stdlib.h>
#include <string.h>

static void check_subject(struct span value)
{
    struct buf out;

    buf_init(&out, 4u * CRYPTO_SUBJECT_MAX);
    if (crypto_subject_strip(value, "[e]", &out) == ERR_OK && crypto_subject_has_tag(buf_span(&out), "[e]"))
        abort();
    buf_fini(&out);
}

/* Every ID lies in what was read, and no more are kept than there is room for. */
static void check_id(struct span id, void *context)
{
    const struct span *value = context;

    if (id.len == 0 || id.ptr < value->ptr || id.ptr + id.len > value->ptr + value->len)
        abort();
}

static void check_ids(struct span bytes)
{
    static const char *const names[] = {"Message-ID", "In-Reply-To", "References", NULL};
    struct crypto_message_ids ids = {.len = 0};

    mime_msg_id_walk(bytes, check_id, &bytes);
    if (crypto_message_ids_add(&ids, bytes, names) == ERR_OK &&
        (ids.len > CRYPTO_MESSAGE_IDS_MAX || !crypto_message_ids_is(crypto_message_ids_span(&ids))))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const recipients[] = {"a@example.org", "b@example.org"};
    const struct crypto_inspect_options options = {"[e]", recipients, 2};
    struct span message = {(const char *)data, size};
    struct crypto_facts facts, again;
    bool is_visible[2];

    if (crypto_inspect(message, &options, &facts, is_visible) == ERR_OK) {
        if (facts.from[0] != '\0' && facts.from_len != 1)
            abort();
        if (facts.wants_plain && facts.wants_encryption)
            abort();
        if (crypto_inspect(message, &options, &again, is_visible) != ERR_OK ||
            memcmp(facts.digest, again.digest, sizeof(facts.digest)) != 0 ||
            !span_is_equal(crypto_message_ids_span(&facts.answered), crypto_message_ids_span(&again.answered)))
            abort();
    }
    check_subject(message);
    check_ids(message);
    return 0;
}
