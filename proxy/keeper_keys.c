/*
 * The keys of the account in the store: unwrapped for the vault, by the account's own OpenPGP key or a person's
 * passphrase, and wrapped to that key, over a line of our own to the vault. Net learns only whether it went well.
 */
#include "proxy/keeper_internal.h"

#include "base/log.h"
#include "base/secret.h"
#include "crypto/passphrase.h"
#include "crypto/wrap.h"
#include "keyring/ask.h"
#include "store/account.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define TRIES_MAX 3
#define CACHE_ID "privyseal:"

_Static_assert(CRYPTO_HOLDER_SIZE <= STORE_HOLDER_SIZE, "a holder's name fits into the store");
_Static_assert(STORE_KEYS_SIZE <= CRYPTO_WRAP_SECRET_MAX, "an account's keys can be wrapped");
_Static_assert(CRYPTO_RECIPE_SIZE <= STORE_HOLDER_SIZE, "a recipe fits into the store");
_Static_assert(CRYPTO_PASSPHRASE_KEY_SIZE == STORE_SEAL_SIZE, "what is made of a passphrase seals");

static void begin(struct keeper *keeper, uint16_t type, struct ipc_out *out)
{
    ipc_out_begin(out, type);
    ipc_put_string(out, keeper->setup.account);
}

/* The next answer; what the vault says unasked before it is done at once. */
static enum err hear(struct keeper *keeper, struct ipc_in *in)
{
    enum err err = ipc_recv(keeper->setup.vault, in);
    while (err == ERR_OK && ipc_type(in) == PROXY_PRIVATE_FORGET) {
        ipc_in_fini(in);
        keeper_private_fini(keeper);
        err = ipc_recv(keeper->setup.vault, in);
    }
    return err;
}

void keeper_wait(struct keeper *keeper)
{
    struct pollfd polls[] = {{.fd = KEEPER_SOCKET, .events = POLLIN}, {.fd = keeper->setup.vault, .events = POLLIN}};
    struct ipc_in in;
    for (;;) {
        if (poll(polls, 2, -1) < 0) {
            if (errno != EINTR)
                return;
            continue;
        }
        if (polls[1].revents != 0 && ipc_recv(keeper->setup.vault, &in) == ERR_OK) {
            if (ipc_type(&in) == PROXY_PRIVATE_FORGET)
                keeper_private_fini(keeper);
            ipc_in_fini(&in);
        } else if (polls[1].revents != 0) {
            polls[1].fd = -1; /* it has gone, as the next question finds */
        }
        if (polls[0].revents != 0)
            return;
    }
}

enum err keeper_ask_vault(struct keeper *keeper, struct ipc_out *out, struct ipc_in *in)
{
    enum err err = ipc_send(keeper->setup.vault, out);
    if (err == ERR_OK)
        err = hear(keeper, in);
    if (err != ERR_OK)
        return log_failure(ERR_STORE, "the vault has gone");
    const uint32_t result = ipc_get_u32(in);
    err = ipc_type(in) != PROXY_VAULT_DONE || in->err != ERR_OK || result >= ERR_COUNT ? ERR_PEER_PROTOCOL
                                                                                       : (enum err)result;
    if (err != ERR_OK)
        ipc_in_fini(in);
    return err;
}

static enum err ask_done(struct keeper *keeper, struct ipc_out *out)
{
    struct ipc_in in;
    enum err err = keeper_ask_vault(keeper, out, &in);
    if (err != ERR_OK)
        return err;
    err = ipc_in_end(&in);
    ipc_in_fini(&in);
    return err;
}

/* How they are kept; `wrapped` gets the message if somebody must open it. ERR_NOT_FOUND: there are none yet. */
static enum err get(struct keeper *keeper, struct store_kept *kept, struct buf *wrapped)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(keeper, PROXY_KEYS_GET, &out);
    enum err err = keeper_ask_vault(keeper, &out, &in);
    if (err != ERR_OK)
        return err;
    proxy_get_kept(&in, kept);
    const struct span message = ipc_get_span(&in);
    err = ipc_in_end(&in);
    if (err == ERR_OK)
        err = buf_add_span(wrapped, message);
    ipc_in_fini(&in);
    return err;
}

/* Whatever is wrong with the key or the message, the account is locked: a person must see to it. */
static enum err unwrap(struct keeper *keeper, const struct store_kept *kept, struct span wrapped, bool is_said)
{
    struct ipc_out out;
    struct buf keys;
    buf_init_secret(&keys, CRYPTO_WRAP_SECRET_MAX);
    enum err err = crypto_unwrap(keeper->gpg, false, wrapped, &keys);
    if (err == ERR_DECRYPT && is_said)
        log_error(
            "the store's keys of %s are wrapped to the OpenPGP key %.40s, which does not open them: mail that was "
            "opened stays locked; bring that key back, or begin anew with `privyseal store clear --all %s`",
            keeper->setup.account, kept->holder, keeper->setup.account);
    if (err == ERR_DECRYPT)
        err = ERR_KEY_LOCKED;
    if (err == ERR_OK) {
        log_info("the store's keys of %s: opened with the OpenPGP key %.40s", keeper->setup.account, kept->holder);
        begin(keeper, PROXY_KEYS_OPEN, &out);
        ipc_put_span(&out, buf_span(&keys));
        err = ask_done(keeper, &out);
    }
    buf_fini(&keys);
    return err;
}

/* ERR_DECRYPT: this is not the passphrase. */
static enum err unseal(struct keeper *keeper, const char *recipe, const struct secret *passphrase)
{
    uint8_t key[CRYPTO_PASSPHRASE_KEY_SIZE];
    struct ipc_out out;
    enum err err = crypto_passphrase_key(recipe, secret_span(passphrase), key);
    if (err == ERR_OK) {
        begin(keeper, PROXY_KEYS_UNSEAL, &out);
        ipc_put_span(&out, (struct span){(const char *)key, sizeof(key)});
        err = ask_done(keeper, &out);
    }
    secret_wipe(key, sizeof(key));
    return err;
}

/* One answer, of the agent's memory or of the person. */
static enum err try_passphrase(struct keeper *keeper, const char *recipe, const struct keyring_question *question)
{
    struct secret passphrase = {NULL, 0};
    enum err err = keyring_ask(keeper->gpg, question, &passphrase);
    if (err != ERR_OK)
        return err;
    err = unseal(keeper, recipe, &passphrase);
    secret_fini(&passphrase);
    /* Else the agent would go on to give what is wrong. */
    if (err == ERR_DECRYPT && keyring_ask_forget(keeper->gpg, question->cache_id) != ERR_OK)
        err = ERR_KEY_LOCKED;
    return err;
}

/* Each passphrase has a name of its own with the agent, which the salt gives. */
static enum err unseal_by_passphrase(struct keeper *keeper, const char *recipe, bool asks_person)
{
    char cache_id[KEYRING_ASK_CACHE_ID_SIZE], description[MIME_ADDR_SIZE + 128];
    struct span salt;
    enum err err = crypto_recipe_salt(recipe, &salt);
    if (err != ERR_OK)
        return ERR_KEY_LOCKED;
    snprintf(cache_id, sizeof(cache_id), CACHE_ID "%.*s", (int)salt.len, salt.ptr);
    snprintf(description, sizeof(description), "privyseal keeps what it knows of the mail of\n%s\nunder a passphrase.",
             keeper->setup.account);
    struct keyring_question question = {
        .description = description, .prompt = "Passphrase", .cache_id = cache_id, .is_only_remembered = true};
    err = try_passphrase(keeper, recipe, &question);
    question.is_only_remembered = false;
    for (int i = 0; asks_person && i < TRIES_MAX && (err == ERR_KEY_LOCKED || err == ERR_DECRYPT); i++) {
        err = try_passphrase(keeper, recipe, &question);
        if (err == ERR_KEY_LOCKED)
            break;
        question.error = "That is not the passphrase.";
    }
    if (err == ERR_OK)
        log_info("the store's keys of %s: opened with the passphrase", keeper->setup.account);
    else if (asks_person && err == ERR_DECRYPT)
        log_warning("the store's keys of %s: a wrong passphrase, %d times", keeper->setup.account, TRIES_MAX);
    return err == ERR_DECRYPT ? ERR_KEY_LOCKED : err;
}
_Static_assert(sizeof(CACHE_ID) + CRYPTO_RECIPE_SALT_LEN <= KEYRING_ASK_CACHE_ID_SIZE, "the agent takes the name");

/* Opens them if they are not. `is_said`: why that cannot be is logged; it is tried often. */
static enum err open_keys(struct keeper *keeper, bool asks_person, bool is_said, struct store_kept *kept)
{
    struct buf wrapped;
    buf_init(&wrapped, STORE_WRAPPED_MAX);
    enum err err = get(keeper, kept, &wrapped);
    if (err == ERR_OK && !kept->is_open) {
        switch (kept->wrap) {
        case STORE_WRAP_OPENPGP:
            err = unwrap(keeper, kept, buf_span(&wrapped), is_said);
            break;
        case STORE_WRAP_PASSPHRASE:
            err = unseal_by_passphrase(keeper, kept->holder, asks_person);
            break;
        default:
            err = ERR_KEY_LOCKED;
        }
    }
    if (err == ERR_KEY_LOCKED && kept->wrap == STORE_WRAP_CREDENTIAL && is_said)
        log_error("the store's keys of %s are sealed with a credential that is not here: start privyseal with "
                  "LoadCredential=privyseal.store as before",
                  keeper->setup.account);
    buf_fini(&wrapped);
    return err;
}

static enum err wrap(struct keeper *keeper, const char *holder, const char *reader, const char *signer)
{
    struct ipc_out out;
    struct ipc_in in;
    struct buf wrapped;
    begin(keeper, PROXY_KEYS_TAKE, &out);
    enum err err = keeper_ask_vault(keeper, &out, &in);
    if (err != ERR_OK)
        return err;
    const struct span keys = ipc_get_span(&in), proof = ipc_get_span(&in);
    buf_init(&wrapped, STORE_WRAPPED_MAX);
    err = ipc_in_end(&in);
    if (err == ERR_OK)
        err = crypto_wrap(keeper->gpg, keeper->setup.key_cache, reader, signer, true, keys, &wrapped);
    if (err == ERR_OK) {
        begin(keeper, PROXY_KEYS_WRAP, &out);
        ipc_put_string(&out, holder);
        ipc_put_span(&out, buf_span(&wrapped));
        ipc_put_span(&out, proof);
        err = ask_done(keeper, &out);
    }
    if (err == ERR_OK)
        log_info("the store's keys of %s: wrapped to the OpenPGP key %s", keeper->setup.account, reader);
    buf_fini(&wrapped);
    ipc_in_fini(&in);
    return err;
}

/* What lies in a file, or is wrapped to a key that is not the present one, is wrapped anew. A credential and a
   passphrase are somebody's choice. */
static bool wants_wrapping(enum err err, const struct store_kept *kept, const char *holder)
{
    if (err == ERR_NOT_FOUND)
        return true;
    if (kept->wrap == STORE_WRAP_OPENPGP)
        return strcmp(kept->holder, holder) != 0;
    return kept->wrap != STORE_WRAP_CREDENTIAL && kept->wrap != STORE_WRAP_PASSPHRASE;
}

enum err keeper_keys_keep(struct keeper *keeper, bool asks_person, const char *reader, const char *signer)
{
    char holder[CRYPTO_HOLDER_SIZE];
    struct store_kept kept;
    if (keeper->setup.vault < 0)
        return ERR_OK;
    enum err err = open_keys(keeper, asks_person, true, &kept);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    if (*reader == '\0' || *signer == '\0')
        return ERR_OK;
    enum err wrapping = crypto_wrap_holder(keeper->gpg, keeper->setup.key_cache, reader, signer, holder);
    if (wrapping == ERR_OK && wants_wrapping(err, &kept, holder))
        wrapping = wrap(keeper, holder, reader, signer);
    /* They are as well kept as they were. */
    if (wrapping != ERR_OK)
        log_failure(wrapping, "wrapping the store's keys of %s to the OpenPGP key %s", keeper->setup.account, reader);
    return ERR_OK;
}

enum err keeper_keys_open(struct keeper *keeper)
{
    struct store_kept kept;
    return keeper->setup.vault < 0 ? ERR_STORE : open_keys(keeper, false, false, &kept);
}

enum err keeper_keys(struct keeper *keeper, struct ipc_in *in)
{
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    err = keeper_keys_open(keeper);
    return keeper_answer(err == ERR_NOT_FOUND ? ERR_OK : err);
}
