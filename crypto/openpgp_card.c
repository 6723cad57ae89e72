#include "crypto/openpgp.h"

#include "base/memfd.h"

#include <limits.h>
#include <unistd.h>

#define SIZE_MAX_OF_TEST 65536

/* Any card takes one operation for one PIN; which key of it is asked is the agent's business. */
static enum err encrypt(struct keyring_gpg *gpg, const char *key_cache_dir, const char *fingerprint, int fd)
{
    char path[PATH_MAX];
    const char *const paths[] = {path};
    struct mime_pieces text;
    enum err err = keyring_gpg_key_file(gpg, key_cache_dir, fingerprint, path, sizeof(path));
    mime_pieces_init(&text);
    if (err == ERR_OK)
        err = mime_pieces_borrow(&text, SPAN_LIT("test"));
    if (err == ERR_OK)
        err = crypto_openpgp_encrypt(gpg, "", false, paths, 1, &text, fd, SIZE_MAX_OF_TEST);
    mime_pieces_fini(&text);
    return err == ERR_OK ? memfd_seal(fd) : err;
}

enum err crypto_openpgp_unlock_card(struct keyring_gpg *gpg, const char *key_cache_dir, const char *fingerprint)
{
    const struct crypto_openpgp_how how = {.text_max = SIZE_MAX_OF_TEST, .asks_person = true};
    struct crypto_openpgp_opened opened;
    struct span cipher = SPAN_NONE;
    int fd;
    enum err err = memfd_new("test", &fd);
    if (err != ERR_OK)
        return err;
    err = encrypt(gpg, key_cache_dir, fingerprint, fd);
    if (err == ERR_OK)
        err = memfd_map(fd, SIZE_MAX_OF_TEST, &cipher);
    if (err == ERR_OK) {
        err = crypto_openpgp_decrypt(gpg, cipher, &how, &opened);
        if (err == ERR_OK)
            crypto_openpgp_opened_fini(&opened);
        memfd_unmap(&cipher);
    }
    close(fd);
    return err;
}
