#include "keyring/gpg_internal.h"

static bool has_address(gpgme_key_t key, const char *address)
{
    char normal[MIME_ADDR_SIZE];
    for (gpgme_user_id_t user_id = key->uids; user_id != NULL; user_id = user_id->next)
        if (!user_id->revoked && gpg_address(user_id, normal) && mime_addr_is_same(normal, address))
            return true;
    return false;
}

enum err keyring_gpg_carries(struct keyring_gpg *gpg, struct span bytes, const char *address, bool *is_theirs)
{
    gpgme_data_t data = NULL;
    gpgme_key_t key = NULL;
    struct buf trimmed;
    size_t keys_len = 0;
    *is_theirs = true;
    enum err err = gpg_trim(&bytes, &trimmed);
    if (err == ERR_OK)
        err = gpg_data_of(bytes, &data);
    if (err != ERR_OK) {
        buf_fini(&trimmed);
        return err;
    }
    gpgme_error_t error = gpgme_op_keylist_from_data_start(gpg->lister, data, 0);
    if (error != 0) {
        gpgme_data_release(data);
        return keyring_gpg_error(error, "looking at a key");
    }
    while ((error = gpgme_op_keylist_next(gpg->lister, &key)) == 0) {
        keys_len++;
        *is_theirs = *is_theirs && !key->secret && has_address(key, address);
        gpgme_key_unref(key);
    }
    (void)gpgme_op_keylist_end(gpg->lister);
    gpgme_data_release(data);
    buf_fini(&trimmed);
    if (gpgme_err_code(error) != GPG_ERR_EOF || keys_len == 0)
        return ERR_MALFORMED;
    return ERR_OK;
}
