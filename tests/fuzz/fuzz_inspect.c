/* crypto_inspect: whatever a message says, the facts hold together, and a subject loses its tag for good. */
#include "crypto/inspect.h"
#include "crypto/subject.h"

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
            memcmp(facts.digest, again.digest, sizeof(facts.digest)) != 0)
            abort();
    }
    check_subject(message);
    return 0;
}
