/*
 * What comes out of sealing: an encrypted message, and the last look at any result.
 */
#include "crypto/seal_internal.h"

#include "base/log.h"
#include "base/memfd.h"
#include "crypto/openpgp.h"
#include "crypto/protect.h"
#include "mime/transfer.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

size_t seal_output_max(const struct crypto_seal_request *request)
{
    return request->output_max > SIZE_MAX ? SIZE_MAX : (size_t)request->output_max;
}

struct key_files {
    char **paths;
    size_t len;
};

static void key_files_fini(struct key_files *files)
{
    for (size_t i = 0; i < files->len; i++)
        free(files->paths[i]);
    free(files->paths);
}

static enum err find_key_files(struct keyring_gpg *gpg, const struct crypto_seal_request *request,
                               struct key_files *files)
{
    char path[PATH_MAX];
    enum err result = ERR_OK;

    files->paths = calloc(request->recipients_len, sizeof(*files->paths));
    if (files->paths == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; result == ERR_OK && i < request->recipients_len; i++) {
        result = keyring_gpg_key_file(gpg, request->key_cache_dir, request->recipients[i], path, sizeof(path));
        if (result == ERR_OK && (files->paths[i] = span_dup(span_of(path))) == NULL)
            result = ERR_MEMORY;
        files->len = i + (result == ERR_OK);
    }
    return result == ERR_NOT_FOUND ? ERR_NO_KEY : result;
}

static enum err add_before(struct span outer, const char *boundary, struct buf *out)
{
    enum err result = buf_add_span(out, outer);

    if (result != ERR_OK)
        return result;
    return buf_addf(out,
                    "MIME-Version: 1.0\r\n"
                    "Content-Type: multipart/encrypted;\r\n"
                    " protocol=\"application/pgp-encrypted\"; boundary=\"%s\"\r\n"
                    "\r\n--%s\r\n"
                    "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
                    "\r\n--%s\r\n"
                    "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\r\n",
                    boundary, boundary, boundary);
}

enum err seal_write_encrypted(struct keyring_gpg *gpg, const struct crypto_seal_request *request, const char *signer,
                              struct span outer, const struct mime_pieces *payload, int fd)
{
    struct key_files files = {NULL, 0};
    size_t output_max = seal_output_max(request);
    char boundary[MIME_BOUNDARY_SIZE];
    struct buf text;
    enum err result = find_key_files(gpg, request, &files);

    buf_init(&text, CRYPTO_HEADER_MAX);
    if (result == ERR_OK)
        result = mime_boundary_make(boundary);
    if (result == ERR_OK)
        result = add_before(outer, boundary, &text);
    if (result == ERR_OK)
        result = memfd_add(fd, buf_span(&text), output_max);
    if (result == ERR_OK)
        result = crypto_openpgp_encrypt(gpg, signer, !request->is_quiet, (const char *const *)files.paths, files.len,
                                        payload, fd, output_max);
    buf_clear(&text);
    if (result == ERR_OK)
        result = buf_addf(&text, "\r\n--%s--\r\n", boundary);
    if (result == ERR_OK)
        result = memfd_add(fd, buf_span(&text), output_max);
    buf_fini(&text);
    key_files_fini(&files);
    return result;
}

/* The result is what was asked for: read again from the file, with the same strict eyes. */
static enum err check_sealed(enum crypto_seal_action action, struct span sealed, struct crypto_seal_result *result_out)
{
    struct mime_tree *tree = NULL;
    enum err result = mime_parse(sealed, MIME_LIMITS_DEFAULT, &tree);
    bool is_fine = true;

    if (result != ERR_OK)
        return result;
    switch (action) {
    case CRYPTO_SEAL_ENCRYPT:
    case CRYPTO_SEAL_SIGN_ENCRYPT:
        is_fine = crypto_sealed_kind(sealed, tree) == CRYPTO_SEALED_OPENPGP &&
                  mime_part_is(tree->root, "multipart", "encrypted");
        break;
    case CRYPTO_SEAL_PASS:
        is_fine = crypto_sealed_kind(sealed, tree) != CRYPTO_NOT_SEALED;
        break;
    case CRYPTO_SEAL_SIGN:
        is_fine = mime_part_is(tree->root, "multipart", "signed") && tree->root->first_child != NULL &&
                  tree->root->first_child->next != NULL && tree->root->first_child->next->next == NULL;
        break;
    default:
        break;
    }
    result_out->is_8bit = ((tree->root->header_flags | tree->root->body_flags) & MIME_HAS_8BIT) != 0;
    mime_tree_free(&tree);
    return is_fine ? ERR_OK : log_failure(ERR_NOT_SEALED, "the result is not what was asked for");
}

enum err seal_check_file(enum crypto_seal_action action, int fd, struct crypto_seal_result *result_out)
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
    result = check_sealed(action, (struct span){bytes, result_out->size}, result_out);
    munmap(bytes, result_out->size);
    return result;
}
