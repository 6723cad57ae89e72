/*
 * OpenPGP as PGP/MIME (RFC 3156), through GPGME.
 */
#include "crypto/engine.h"

#include "base/memfd.h"
#include "crypto/openpgp.h"
#include "crypto/packets.h"
#include "crypto/protect.h"
#include "mime/transfer.h"

#include <limits.h>
#include <stdlib.h>

#define SIGNATURE_MAX 1048576 /* bytes of an armoured signature */

static bool can_seal(const struct keyring_gpg *gpg, const struct crypto_seal_request *request)
{
    (void)request;
    return gpg != NULL;
}

/* Adds armour with CRLF line ends, whatever it came with. */
static enum err add_crlf(struct span text, struct buf *out)
{
    struct span line;
    enum err result = ERR_OK;

    text = span_trim(text);
    while (result == ERR_OK && crypto_line_take(&text, &line)) {
        result = buf_add_span(out, line);
        if (result == ERR_OK)
            result = buf_add_string(out, "\r\n");
    }
    return result;
}

static enum err write_parts(const struct crypto_engine_job *job, const char *micalg, struct span signature)
{
    char boundary[MIME_BOUNDARY_SIZE];
    struct buf before, after;
    enum err result = mime_boundary_make(boundary);

    buf_init(&before, CRYPTO_HEADER_MAX);
    buf_init(&after, SIGNATURE_MAX * 2);
    if (result == ERR_OK)
        result = buf_add_span(&before, job->outer);
    if (result == ERR_OK)
        result = buf_addf(&before,
                          "MIME-Version: 1.0\r\n"
                          "Content-Type: multipart/signed; micalg=\"%s\";\r\n"
                          " protocol=\"application/pgp-signature\"; boundary=\"%s\"\r\n"
                          "\r\n--%s\r\n",
                          micalg, boundary, boundary);
    if (result == ERR_OK)
        result = buf_addf(&after,
                          "\r\n--%s\r\n"
                          "Content-Type: application/pgp-signature; name=\"signature.asc\"\r\n\r\n",
                          boundary);
    if (result == ERR_OK)
        result = add_crlf(signature, &after);
    if (result == ERR_OK)
        result = buf_addf(&after, "\r\n--%s--\r\n", boundary);
    if (result == ERR_OK)
        result = memfd_add(job->fd, buf_span(&before), job->output_max);
    if (result == ERR_OK)
        result = mime_pieces_write(job->payload, job->fd, job->output_max);
    if (result == ERR_OK)
        result = memfd_add(job->fd, buf_span(&after), job->output_max);
    buf_fini(&before);
    buf_fini(&after);
    return result;
}

/* multipart/signed: the payload, then a detached signature over exactly its bytes (RFC 3156 §5). */
static enum err write_signed(const struct crypto_engine_job *job)
{
    struct buf signature;
    char micalg[24] = "";
    enum err result;

    buf_init(&signature, SIGNATURE_MAX);
    result = crypto_openpgp_sign(job->gpg, job->request->signer, job->payload, &signature, micalg);
    if (result == ERR_OK)
        result = write_parts(job, micalg, buf_span(&signature));
    buf_fini(&signature);
    return result;
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

static enum err find_key_files(const struct crypto_engine_job *job, struct key_files *files)
{
    const struct crypto_seal_request *request = job->request;
    char path[PATH_MAX];
    enum err result = ERR_OK;

    files->paths = calloc(request->recipients_len, sizeof(*files->paths));
    if (files->paths == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; result == ERR_OK && i < request->recipients_len; i++) {
        result = keyring_gpg_key_file(job->gpg, request->key_cache_dir, request->recipients[i], path, sizeof(path));
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

/* multipart/encrypted (RFC 3156 §4), signed in the same operation if a signature is wanted (§6.2). */
static enum err write_encrypted(const struct crypto_engine_job *job)
{
    struct key_files files = {NULL, 0};
    char boundary[MIME_BOUNDARY_SIZE];
    struct buf text;
    enum err result = find_key_files(job, &files);

    buf_init(&text, CRYPTO_HEADER_MAX);
    if (result == ERR_OK)
        result = mime_boundary_make(boundary);
    if (result == ERR_OK)
        result = add_before(job->outer, boundary, &text);
    if (result == ERR_OK)
        result = memfd_add(job->fd, buf_span(&text), job->output_max);
    if (result == ERR_OK)
        result =
            crypto_openpgp_encrypt(job->gpg, job->is_signed ? job->request->signer : "", !job->request->is_quiet,
                                   (const char *const *)files.paths, files.len, job->payload, job->fd, job->output_max);
    buf_clear(&text);
    if (result == ERR_OK)
        result = buf_addf(&text, "\r\n--%s--\r\n", boundary);
    if (result == ERR_OK)
        result = memfd_add(job->fd, buf_span(&text), job->output_max);
    buf_fini(&text);
    key_files_fini(&files);
    return result;
}

static bool is_signed(struct span message, const struct mime_tree *tree)
{
    (void)message;
    return crypto_engine_has_two_parts(tree);
}

static bool is_encrypted(struct span message, const struct mime_tree *tree)
{
    return mime_part_is(tree->root, "multipart", "encrypted") &&
           crypto_sealed_kind(message, tree) == CRYPTO_SEALED_OPENPGP;
}

const struct crypto_engine crypto_engine_openpgp = {.name = "GPGME",
                                                    .format = KEYRING_OPENPGP,
                                                    .can_seal = can_seal,
                                                    .write_signed = write_signed,
                                                    .write_encrypted = write_encrypted,
                                                    .is_signed = is_signed,
                                                    .is_encrypted = is_encrypted};
