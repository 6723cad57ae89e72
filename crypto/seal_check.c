/*
 * The last look at what came out of sealing.
 */
#include "crypto/seal_internal.h"

#include "base/log.h"

#include <sys/mman.h>
#include <sys/stat.h>

size_t seal_output_max(const struct crypto_seal_request *request)
{
    return request->output_max > SIZE_MAX ? SIZE_MAX : (size_t)request->output_max;
}

/* The result is what was asked for: read again from the file, with the same strict eyes. */
static enum err check_sealed(const struct crypto_engine *engine, enum crypto_seal_action action, struct span sealed,
                             struct crypto_seal_result *result_out)
{
    struct mime_tree *tree = NULL;
    enum err result = mime_parse(sealed, MIME_LIMITS_DEFAULT, &tree);
    bool is_fine = true;

    if (result != ERR_OK)
        return result;
    switch (action) {
    case CRYPTO_SEAL_ENCRYPT:
    case CRYPTO_SEAL_SIGN_ENCRYPT:
        is_fine = engine->is_encrypted(sealed, tree);
        break;
    case CRYPTO_SEAL_PASS:
        is_fine = crypto_sealed_kind(sealed, tree) != CRYPTO_NOT_SEALED;
        break;
    case CRYPTO_SEAL_SIGN:
        is_fine = engine->is_signed(sealed, tree);
        break;
    default:
        break;
    }
    result_out->is_8bit = ((tree->root->header_flags | tree->root->body_flags) & MIME_HAS_8BIT) != 0;
    mime_tree_free(&tree);
    return is_fine ? ERR_OK : log_failure(ERR_NOT_SEALED, "the result is not what was asked for");
}

enum err seal_check_file(const struct crypto_engine *engine, enum crypto_seal_action action, int fd,
                         struct crypto_seal_result *result_out)
{
    struct stat status;
    void *bytes;
    enum err result;

    if (fstat(fd, &status) != 0 || status.st_size <= 0)
        return log_failure(ERR_IO, "reading the sealed message again");
    result_out->size = (size_t)status.st_size;
    bytes = mmap(NULL, result_out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return log_failure(ERR_MEMORY, "mapping the sealed message");
    result = check_sealed(engine, action, (struct span){bytes, result_out->size}, result_out);
    munmap(bytes, result_out->size);
    return result;
}
