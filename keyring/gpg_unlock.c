/*
 * Keys are used before they are needed, in gpg-agent's own protocol. Unlocking: the agent is asked for a signature over
 * nothing, which makes it ask the person for the passphrase and remember it. A key that can only decrypt is unlocked
 * the same way; that it then cannot sign does no harm.
 */
#include "keyring/gpg_life.h"
#include "keyring/gpg_talk.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRIP_SIZE 41 /* 40 hexadecimal digits and a NUL */
#define GRIPS_MAX 256
#define DESCRIPTION_MAX 700

struct grips {
    char items[GRIPS_MAX][GRIP_SIZE];
    size_t len;
};

/* What the agent knows of its keys. */
struct keyinfo {
    struct grips locked; /* on disk, with a passphrase that is not at hand */
    struct grips clear;  /* on disk, without a passphrase */
    struct grips cards;
};

static void add_grip(struct grips *grips, struct span grip)
{
    if (grips->len < GRIPS_MAX && span_copy(grip, grips->items[grips->len], GRIP_SIZE))
        grips->len++;
}

/* S KEYINFO <keygrip> <type> <serialno> <idstr> <cached> <protection> ... */
static enum err hear_keyinfo(struct span line, void *context)
{
    struct keyinfo *info = context;
    struct span word[8];
    size_t len = 0;
    while (len < 8 && span_take_until(&line, ' ', &word[len]))
        len++;
    if (len != 8 || !span_is_equal(word[0], SPAN_LIT("S")) || !span_is_equal(word[1], SPAN_LIT("KEYINFO")))
        return ERR_OK;
    if (span_is_equal(word[3], SPAN_LIT("T")))
        add_grip(&info->cards, word[2]);
    else if (!span_is_equal(word[3], SPAN_LIT("D")))
        return ERR_OK;
    else if (span_is_equal(word[7], SPAN_LIT("C")))
        add_grip(&info->clear, word[2]);
    else if (span_is_equal(word[6], SPAN_LIT("-")) && span_is_equal(word[7], SPAN_LIT("P")))
        add_grip(&info->locked, word[2]);
    return ERR_OK;
}

static enum err describe(gpgme_key_t key, struct buf *out)
{
    const char *user_id = key->uids != NULL && key->uids->uid != NULL ? key->uids->uid : "";
    char text[DESCRIPTION_MAX];
    (void)snprintf(text, sizeof text, "privyseal reads your mail with the OpenPGP key\n%s\n%.80s", key->fpr, user_id);
    return gpg_talk_escape(text, DESCRIPTION_MAX, out);
}

static bool is_refusal(gpgme_error_t error)
{
    switch (gpgme_err_code(error)) {
    case GPG_ERR_CANCELED:
    case GPG_ERR_FULLY_CANCELED:
    case GPG_ERR_NO_PIN_ENTRY:
    case GPG_ERR_NO_PASSPHRASE:
    case GPG_ERR_BAD_PASSPHRASE:
    case GPG_ERR_TIMEOUT:
        return true;
    default:
        return false;
    }
}

/* `*error_out` is the agent's own: a key that can only decrypt does not sign. `description` NULL: nobody is asked. */
static enum err use_grip(struct gpg_talk *agent, const char *grip, const char *description, gpgme_error_t *error_out)
{
    static const char hash[] = "--hash=sha256 0000000000000000000000000000000000000000000000000000000000000000";
    enum err err = gpg_talk(agent, "SIGKEY", grip, NULL, NULL, error_out);
    if (err == ERR_OK && *error_out == 0 && description != NULL)
        err = gpg_talk(agent, "SETKEYDESC", description, NULL, NULL, error_out);
    if (err == ERR_OK && *error_out == 0)
        err = gpg_talk(agent, "SETHASH", hash, NULL, NULL, error_out);
    if (err == ERR_OK && *error_out == 0)
        err = gpg_talk(agent, "PKSIGN", NULL, NULL, NULL, error_out);
    return err;
}

static enum err unlock_grip(struct gpg_talk *agent, const char *grip, const char *description)
{
    gpgme_error_t error;
    enum err err = use_grip(agent, grip, description, &error);
    if (err != ERR_OK || !is_refusal(error))
        return err;
    log_warning("gpg-agent: unlocking a key: %s", gpgme_strerror(error));
    return ERR_KEY_LOCKED;
}

static bool is_among(const struct grips *grips, const char *grip)
{
    for (size_t i = 0; grip != NULL && i < grips->len; i++)
        if (strcmp(grips->items[i], grip) == 0)
            return true;
    return false;
}

/* The passphrase of one is most often that of all, and the agent tries the last one before it asks. */
static enum err unlock_key(struct gpg_talk *agent, gpgme_key_t key, const struct keyinfo *info, bool *is_on_card_out)
{
    struct buf description;
    buf_init(&description, DESCRIPTION_MAX);
    enum err err = describe(key, &description);
    if (err == ERR_OK)
        err = gpg_talk_place(agent);
    for (gpgme_subkey_t subkey = key->subkeys; err == ERR_OK && subkey != NULL; subkey = subkey->next) {
        /* With an expired subkey old mail can still be read. */
        bool is_needed = subkey->can_encrypt || (subkey->can_sign && !subkey->expired && !subkey->revoked);
        if (is_needed && is_among(&info->locked, subkey->keygrip))
            err = unlock_grip(agent, subkey->keygrip, description.data);
        if (subkey->can_encrypt && is_among(&info->cards, subkey->keygrip))
            *is_on_card_out = true;
    }
    buf_fini(&description);
    return err;
}

/* Takes the connection, and hears what the agent knows of its keys. `option` NULL: it is left as it is. */
static enum err begin(struct gpg_talk *agent, int fd, const char *option, struct keyinfo *info)
{
    gpgme_error_t error;
    enum err err = gpg_talk_begin(agent, fd);
    if (err == ERR_OK && option != NULL)
        err = gpg_talk(agent, "OPTION", option, NULL, NULL, &error);
    return err == ERR_OK ? gpg_talk(agent, "KEYINFO", "--list", hear_keyinfo, info, &error) : err;
}

enum err keyring_gpg_unlock(struct keyring_gpg *gpg, const char *fingerprint, bool *is_on_card_out)
{
    struct gpg_talk agent;
    struct keyinfo info = {.locked.len = 0};
    gpgme_key_t key = NULL;
    int fd;
    *is_on_card_out = false;
    enum err err = gpg_agent_connect(gpg, &fd);
    if (err != ERR_OK)
        return err;
    err = begin(&agent, fd, NULL, &info);
    if (err == ERR_OK && info.locked.len + info.cards.len > 0)
        err = gpg_find(gpg, fingerprint, true, &key);
    if (key != NULL) {
        err = unlock_key(&agent, key, &info, is_on_card_out);
        gpgme_key_unref(key);
    }
    gpg_talk_end(&agent);
    return err;
}

enum err keyring_gpg_is_unprotected(struct keyring_gpg *gpg, const char *fingerprint, bool *is_unprotected_out)
{
    struct gpg_talk agent;
    struct keyinfo info = {.locked.len = 0};
    gpgme_key_t key = NULL;
    int fd;
    *is_unprotected_out = true;
    enum err err = gpg_agent_connect(gpg, &fd);
    if (err != ERR_OK)
        return err;
    err = begin(&agent, fd, NULL, &info);
    gpg_talk_end(&agent);
    if (err == ERR_OK)
        err = gpg_find(gpg, fingerprint, true, &key);
    for (gpgme_subkey_t subkey = err == ERR_OK ? key->subkeys : NULL; subkey != NULL; subkey = subkey->next)
        if (subkey->secret && !is_among(&info.clear, subkey->keygrip))
            *is_unprotected_out = false;
    gpgme_key_unref(key);
    return err == ERR_NOT_FOUND ? ERR_NO_SIGNING_KEY : err;
}

enum err keyring_gpg_agent_settle(const char *home, const char *user)
{
    struct gpg_talk agent;
    struct keyinfo info = {.locked.len = 0};
    gpgme_error_t error;
    int fd;
    enum err err = gpg_agent_connect_at(home, user, &fd);
    if (err != ERR_OK)
        return err;
    err = begin(&agent, fd, "pinentry-mode=error", &info);
    for (size_t i = 0; err == ERR_OK && i < info.clear.len; i++)
        err = use_grip(&agent, info.clear.items[i], NULL, &error);
    gpg_talk_end(&agent);
    return err;
}
