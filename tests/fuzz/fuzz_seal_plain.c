/* crypto_seal without gpg: what no copy may carry is gone, and the body is the one that came. */
#include "crypto/fields.h"
#include "crypto/protect.h"
#include "crypto/seal.h"
#include "crypto/subject.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TAG "[e]"
#define FORBIDDEN (CRYPTO_FIELD_VERDICT | CRYPTO_FIELD_REQUEST | CRYPTO_FIELD_BLIND)

static void check_fields(struct span header, unsigned forbidden)
{
    struct mime_field field;

    for (size_t at = 0; mime_field_next(header, &at, &field);) {
        if ((crypto_field_classes(&field) & forbidden) != 0)
            abort();
        if (mime_field_is(&field, "Subject") && crypto_subject_has_tag(field.value, TAG))
            abort();
    }
}

static void check_result(struct span sealed, struct span message, bool is_converted)
{
    struct mime_tree *before = NULL, *after = NULL;

    if (mime_parse(message, MIME_LIMITS_DEFAULT, &before) != ERR_OK ||
        mime_parse(sealed, MIME_LIMITS_DEFAULT, &after) != ERR_OK)
        abort();
    check_fields(mime_part_header(after->root, sealed), FORBIDDEN);
    if (!is_converted && !span_is_equal(mime_part_body(before->root, message), mime_part_body(after->root, sealed)))
        abort();
    mime_tree_free(&before);
    mime_tree_free(&after);
}

static void check_plain(struct span message, bool wants_7bit)
{
    struct crypto_seal_request request = {
        .action = CRYPTO_SEAL_PLAIN, .wants_7bit = wants_7bit, .subject_tag = TAG, .output_max = 16777216};
    struct crypto_seal_result result;
    int fd = memfd_create("sealed", MFD_CLOEXEC);

    if (fd < 0)
        abort();
    if (crypto_seal(NULL, &request, message, fd, &result) == ERR_OK) {
        char *sealed = malloc(result.size + 1);

        if (sealed == NULL || pread(fd, sealed, result.size, 0) != (ssize_t)result.size)
            abort();
        if (wants_7bit && result.is_8bit)
            abort();
        check_result((struct span){sealed, result.size}, message, wants_7bit);
        free(sealed);
    }
    close(fd);
}

/* The outer header of an encrypted message, which must say no more than it has to. */
static void check_outer(struct span message)
{
    struct mime_tree *tree = NULL;
    struct mime_field field;
    struct buf out;

    if (mime_parse(message, MIME_LIMITS_DEFAULT, &tree) != ERR_OK)
        return;
    buf_init(&out, CRYPTO_HEADER_MAX);
    if (crypto_protect_outer(mime_part_header(tree->root, message), CRYPTO_PROTECT_CIPHER, TAG, &out) == ERR_OK) {
        check_fields(buf_span(&out), FORBIDDEN | CRYPTO_FIELD_HIDDEN | CRYPTO_FIELD_STRUCTURAL);
        if (mime_field_count(buf_span(&out), "Subject") > 1)
            abort();
        if (mime_field_find(buf_span(&out), "Subject", &field) && !span_is_equal(field.value, SPAN_LIT(" [...]")))
            abort();
    }
    buf_clear(&out);
    (void)!crypto_protect_inner(mime_part_header(tree->root, message), tree->root, tree->root->encoding,
                                CRYPTO_PROTECT_CLEAR, TAG, &out);
    buf_fini(&out);
    mime_tree_free(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span message = {(const char *)data, size};

    check_plain(message, false);
    check_plain(message, true);
    check_outer(message);
    return 0;
}
