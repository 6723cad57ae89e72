#include "crypto/wrap.h"

#include "base/log.h"
#include "base/memfd.h"
#include "base/secret.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* No message that is mail begins so. */
#define HEAD SPAN_LIT("privyseal store keys 1\n")
#define PATH_SIZE 1024
#define KEY_FILE_MAX (1 << 20)

/* Of the file, and of who signs: without either of them the keys are not to be had. */
static enum err digest_file(const char *path, const char *signer, uint8_t digest_out[32])
{
    char block[4096];
    ssize_t count = 0;
    size_t left = KEY_FILE_MAX;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    enum err err = fd < 0 || context == NULL ? ERR_IO : ERR_OK;
    if (err == ERR_OK && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        err = ERR_MEMORY;
    while (err == ERR_OK && (count = read(fd, block, sizeof block)) > 0 && (size_t)count <= left) {
        left -= (size_t)count;
        err = EVP_DigestUpdate(context, block, (size_t)count) == 1 ? ERR_OK : ERR_INTERNAL;
    }
    if (err == ERR_OK && EVP_DigestUpdate(context, signer, strlen(signer)) != 1)
        err = ERR_INTERNAL;
    if (err == ERR_OK && (count != 0 || EVP_DigestFinal_ex(context, digest_out, NULL) != 1))
        err = ERR_IO;
    EVP_MD_CTX_free(context);
    if (fd >= 0)
        close(fd);
    return err;
}

enum err crypto_wrap_holder(struct keyring_gpg *gpg, const char *key_cache_dir, const char *reader, const char *signer,
                            char holder[CRYPTO_HOLDER_SIZE])
{
    char path[PATH_SIZE];
    uint8_t digest[32];
    enum err err = keyring_gpg_key_file(gpg, key_cache_dir, reader, path, sizeof path);
    if (err == ERR_OK)
        err = digest_file(path, signer, digest);
    if (err != ERR_OK)
        return err;
    size_t len = (size_t)snprintf(holder, CRYPTO_HOLDER_SIZE, "%.*s ", KEYRING_FPR_SIZE - 1, reader);
    for (size_t i = 0; i < sizeof digest; i++, len += 2)
        (void)snprintf(holder + len, CRYPTO_HOLDER_SIZE - len, "%02x", digest[i]);
    return ERR_OK;
}

/* Of an own key: somebody else's is none to entrust this to, whoever says so. */
static bool is_own(struct keyring_gpg *gpg, const char *fingerprint)
{
    gpgme_key_t key;
    return *fingerprint != '\0' && keyring_gpg_signer(gpg, fingerprint, &key) == ERR_OK;
}

static enum err encrypt(struct keyring_gpg *gpg, const char *path, const char *signer, bool asks_person,
                        struct span secret, int fd)
{
    const char *const paths[] = {path};
    struct mime_pieces content;
    mime_pieces_init(&content);
    enum err err = mime_pieces_borrow(&content, HEAD);
    if (err == ERR_OK)
        err = mime_pieces_borrow(&content, secret);
    if (err == ERR_OK)
        err = crypto_openpgp_encrypt(gpg, signer, asks_person, paths, 1, &content, fd, CRYPTO_WRAP_MAX);
    mime_pieces_fini(&content);
    return err == ERR_OK ? memfd_seal(fd) : err;
}

/* A key that signs and cannot decrypt must not have the only copy. */
static enum err check(struct keyring_gpg *gpg, bool asks_person, struct span wrapped, struct span secret)
{
    struct buf again;
    buf_init_secret(&again, CRYPTO_WRAP_SECRET_MAX);
    enum err err = crypto_unwrap(gpg, asks_person, wrapped, &again);
    if (err == ERR_OK && !secret_is_equal(buf_span(&again), secret))
        err = ERR_ENGINE;
    buf_fini(&again);
    return err;
}

enum err crypto_wrap(struct keyring_gpg *gpg, const char *key_cache_dir, const char *reader, const char *signer,
                     bool asks_person, struct span secret, struct buf *out)
{
    char path[PATH_SIZE];
    struct span wrapped = SPAN_NONE;
    int fd = -1;
    if (secret.len > CRYPTO_WRAP_SECRET_MAX)
        return ERR_LIMIT;
    if (!is_own(gpg, reader) || !is_own(gpg, signer))
        return keyring_gpg_has_agent(gpg) ? ERR_NO_SIGNING_KEY : ERR_KEY_LOCKED;
    enum err err = keyring_gpg_key_file(gpg, key_cache_dir, reader, path, sizeof path);
    if (err == ERR_OK)
        err = memfd_new("wrapped", &fd);
    if (err == ERR_OK)
        err = encrypt(gpg, path, signer, asks_person, secret, fd);
    if (err == ERR_OK)
        err = memfd_map(fd, CRYPTO_WRAP_MAX, &wrapped);
    if (err == ERR_OK)
        err = check(gpg, asks_person, wrapped, secret);
    if (err == ERR_OK)
        err = buf_add_span(out, wrapped);
    memfd_unmap(&wrapped);
    if (fd >= 0)
        close(fd);
    return err;
}

/* An own key may have been revoked or have expired since: it was no stranger who signed. */
static bool is_ours(struct keyring_gpg *gpg, const struct crypto_openpgp_opened *opened)
{
    for (size_t i = 0; i < opened->signatures_len; i++) {
        const struct crypto_signature *signature = &opened->signatures[i];
        if ((signature->state == CRYPTO_SIG_GOOD || signature->state == CRYPTO_SIG_EXPIRED ||
             signature->state == CRYPTO_SIG_REVOKED) &&
            is_own(gpg, signature->fingerprint))
            return true;
    }
    return false;
}

enum err crypto_unwrap(struct keyring_gpg *gpg, bool asks_person, struct span wrapped, struct buf *out)
{
    const struct crypto_openpgp_how how = {.text_max = CRYPTO_WRAP_SECRET_MAX + HEAD.len, .asks_person = asks_person};
    struct crypto_openpgp_opened opened;
    enum err err = crypto_openpgp_decrypt(gpg, wrapped, &how, &opened);
    if (err != ERR_OK)
        return err;
    const struct span text = buf_span(&opened.text);
    if (!span_has_prefix(text, HEAD))
        err = log_failure(ERR_DECRYPT, "a message that holds no keys of the store");
    else if (!is_ours(gpg, &opened))
        err = log_failure(ERR_DECRYPT, "keys of the store that no own key has signed");
    else
        err = buf_add_span(out, span_skip(text, HEAD.len));
    crypto_openpgp_opened_fini(&opened);
    return err;
}
