/*
 * What copies tell of keys (Autocrypt level 1): the own one outside, where every reader finds it, those of other
 * recipients inside what is encrypted. The keys are those that recipients are encrypted to, as files that are there
 * already (keyring_gpg_key_file), cut down: no gpg runs for them.
 */
#include "crypto/seal_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyring/autocrypt.h"
#include "keyring/file.h"

#include <limits.h>

#define KEY_FILE_MAX ((size_t)1 << 20)
/* Of all gossip of a message: within what is kept free of a server's limit (CRYPTO_SEALED_HEADERS). */
#define GOSSIP_MAX ((size_t)32768)

/* Adds one field. ERR_NOT_FOUND, ERR_MALFORMED, ERR_LIMIT: the key cannot be told. */
static enum err add_field(struct keyring_gpg *gpg, const struct crypto_seal_request *request, const char *name,
                          const struct crypto_announced *announced, bool is_mutual, struct buf *out)
{
    char path[PATH_MAX];
    struct buf key, cut;
    enum err result = keyring_gpg_key_file(gpg, request->key_cache_dir, announced->fingerprint, path, sizeof(path));

    if (result != ERR_OK)
        return result == ERR_NO_KEY ? ERR_NOT_FOUND : result;
    buf_init(&key, KEY_FILE_MAX);
    buf_init(&cut, KEY_FILE_MAX);
    result = keyring_file_read(path, &key);
    if (result == ERR_OK)
        result = keyring_autocrypt_reduce(buf_span(&key), announced->address, clock_now(), &cut);
    if (result == ERR_OK)
        result = keyring_autocrypt_add(out, name, announced->address, is_mutual, buf_span(&cut));
    buf_fini(&key);
    buf_fini(&cut);
    return result;
}

/* Mail does not stay behind for want of a field that only helps later mail. */
static enum err forgive(enum err result, const struct crypto_announced *announced)
{
    if (result == ERR_OK || result == ERR_MEMORY)
        return result;
    log_warning("the key %s of %s is not told by Autocrypt: %s", announced->fingerprint, announced->address,
                err_sentence(result));
    return ERR_OK;
}

/* A mail program that has an Autocrypt of its own is left to it: two that tell different keys would take turns. */
static enum err has_own_field(struct span header, const char *from, bool *has_it_out)
{
    struct keyring_autocrypt_field field;
    enum err result = keyring_autocrypt_pick(header, from, &field);

    *has_it_out = result == ERR_OK;
    if (result == ERR_OK)
        keyring_autocrypt_field_fini(&field);
    return result == ERR_NOT_FOUND ? ERR_OK : result;
}

enum err seal_add_autocrypt(struct keyring_gpg *gpg, const struct crypto_seal_request *request, struct span header,
                            struct buf *out)
{
    bool has_it;
    enum err result;

    if (gpg == NULL || request->autocrypt.fingerprint[0] == '\0')
        return ERR_OK;
    result = has_own_field(header, request->autocrypt.address, &has_it);
    if (result != ERR_OK || has_it)
        return result;
    result = add_field(gpg, request, KEYRING_AUTOCRYPT_NAME, &request->autocrypt, request->is_mutual, out);
    return forgive(result, &request->autocrypt);
}

enum err seal_add_gossip(struct keyring_gpg *gpg, const struct crypto_seal_request *request, struct span header,
                         struct buf *out)
{
    size_t before = out->len;
    enum err result = ERR_OK;

    if (gpg == NULL || request->format != KEYRING_OPENPGP ||
        mime_field_count(header, KEYRING_AUTOCRYPT_GOSSIP_NAME) > 0)
        return ERR_OK;
    for (size_t i = 0; result == ERR_OK && i < request->gossip_len && out->len - before < GOSSIP_MAX; i++) {
        result = add_field(gpg, request, KEYRING_AUTOCRYPT_GOSSIP_NAME, &request->gossip[i], false, out);
        result = forgive(result, &request->gossip[i]);
    }
    return result;
}
