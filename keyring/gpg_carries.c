#include "keyring/gpg_internal.h"

#include "base/log.h"

#include <string.h>

static bool has_address(gpgme_key_t key, const char *address)
{
    char normal[MIME_ADDR_SIZE];
    for (gpgme_user_id_t user_id = key->uids; user_id != NULL; user_id = user_id->next)
        if (!user_id->revoked && gpg_address(user_id, normal) && mime_addr_is_same(normal, address))
            return true;
    return false;
}

/* Hears gpg sum up at its end what it has read. */
static gpgme_error_t hear_end(void *context, const char *keyword, const char *arguments)
{
    bool *is_whole = context;
    (void)arguments;
    *is_whole = *is_whole || strcmp(keyword, "IMPORT_RES") == 0;
    return 0;
}

struct looking {
    const char *address;
    size_t keys_len;
    bool is_theirs;
};

static void look_at_one(gpgme_key_t key, void *context)
{
    struct looking *looking = context;
    looking->keys_len++;
    looking->is_theirs = looking->is_theirs && !key->secret && has_address(key, looking->address);
}

/* A gpg that broke off must not pass for a key that is none: its source would seem to have taken the true one back. */
static enum err look(struct keyring_gpg *gpg, gpgme_data_t data, const char *address, bool *is_theirs)
{
    struct looking looking = {.address = address, .is_theirs = true};
    bool is_whole = false;
    gpgme_set_status_cb(gpg->lister, hear_end, &is_whole);
    const gpgme_error_t error = gpg_list_data(gpg->lister, data, look_at_one, &looking);
    gpgme_set_status_cb(gpg->lister, NULL, NULL);
    *is_theirs = looking.is_theirs;
    if (!is_whole)
        return error != 0 ? keyring_gpg_error(error, "looking at a key")
                          : log_failure(ERR_ENGINE, "gpg: looking at a key");
    return error != 0 || looking.keys_len == 0 ? ERR_MALFORMED : ERR_OK;
}

enum err keyring_gpg_carries(struct keyring_gpg *gpg, struct span bytes, const char *address, bool *is_theirs)
{
    gpgme_data_t data = NULL;
    struct buf trimmed;
    *is_theirs = true;
    enum err err = gpg_trim(&bytes, &trimmed);
    if (err == ERR_OK)
        err = gpg_data_of(bytes, &data);
    if (err == ERR_OK)
        err = look(gpg, data, address, is_theirs);
    gpgme_data_release(data);
    buf_fini(&trimmed);
    return err;
}
