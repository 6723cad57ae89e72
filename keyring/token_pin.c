/*
 * The PIN of a token. A file beside the account's keys says how it stands with what the agent remembers: 'g', it was
 * right when it was last used; anything else, nobody knows, and it is not to be used. That is written before the token
 * is asked, so that a process that dies over it leaves nothing behind that is tried again; and who is about it has the
 * file locked.
 */
#include "base/log.h"
#include "keyring/ask.h"
#include "keyring/token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define PATH_SIZE 1024
#define CACHE_ID "privyseal-pin:"
#define DIGEST_LEN 16

struct pin {
    int fd;
    char cache_id[KEYRING_ASK_CACHE_ID_SIZE];
};

/* The token that the URI names, without the object: keys on one token have one PIN. */
static enum err name_token(const char *uri, char name_out[2 * DIGEST_LEN + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    struct span rest = span_skip(span_of(uri), strlen("pkcs11:")), piece;
    struct buf token;
    buf_init(&token, 2048);
    enum err err = ERR_OK;
    while (err == ERR_OK && span_take_until(&rest, ';', &piece))
        if (span_has_prefix(piece, SPAN_LIT("token=")) || span_has_prefix(piece, SPAN_LIT("serial=")))
            err = buf_addf(&token, "%.*s;", (int)piece.len, piece.ptr);
    if (err == ERR_OK && EVP_Digest(token.data, token.len, digest, &len, EVP_sha256(), NULL) != 1)
        err = ERR_MEMORY;
    for (size_t i = 0; err == ERR_OK && i < DIGEST_LEN; i++)
        (void)snprintf(name_out + 2 * i, 3, "%02x", digest[i]);
    buf_fini(&token);
    return err;
}

static enum err pin_begin(struct pin *pin, const char *dir, const char *uri)
{
    char name[2 * DIGEST_LEN + 1], path[PATH_SIZE];
    pin->fd = -1;
    enum err err = name_token(uri, name);
    if (err != ERR_OK)
        return err;
    (void)snprintf(pin->cache_id, sizeof pin->cache_id, CACHE_ID "%s", name);
    if ((size_t)snprintf(path, sizeof path, "%s/pin-%s", dir, name) >= sizeof path)
        return ERR_LIMIT;
    pin->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (pin->fd < 0)
        return log_failure(err_of_errno(errno), "%s", path);
    return flock(pin->fd, LOCK_EX | LOCK_NB) == 0 ? ERR_OK : ERR_KEY_LOCKED;
}
_Static_assert(sizeof(CACHE_ID) + 2 * DIGEST_LEN <= KEYRING_ASK_CACHE_ID_SIZE, "the agent takes the name");

static void pin_end(struct pin *pin)
{
    if (pin->fd >= 0)
        close(pin->fd);
}

static bool is_good(const struct pin *pin)
{
    char state = '\0';
    return pread(pin->fd, &state, 1, 0) == 1 && state == 'g';
}

static enum err mark(const struct pin *pin, char state)
{
    if (pwrite(pin->fd, &state, 1, 0) != 1 || fdatasync(pin->fd) != 0)
        return log_failure(err_of_errno(errno), "noting how a PIN stands");
    return ERR_OK;
}

/* One answer, tried once. */
static enum err try_pin(struct keyring_token *token, struct keyring_gpg *gpg, const struct pin *pin, const char *uri,
                        const struct keyring_question *question, EVP_PKEY **key_out)
{
    struct secret answer = {NULL, 0};
    enum err err = mark(pin, '?');
    if (err == ERR_OK)
        err = keyring_ask(gpg, question, &answer);
    if (err == ERR_OK && answer.len == 0)
        err = ERR_KEY_LOCKED;
    if (err == ERR_OK)
        err = keyring_token_key(token, uri, &answer, key_out);
    secret_fini(&answer);
    if (err == ERR_OK) {
        if (mark(pin, 'g') != ERR_OK)
            log_warning("a person is asked for the PIN of %s again the next time", uri);
        return ERR_OK;
    }
    if (keyring_ask_forget(gpg, pin->cache_id) != ERR_OK)
        log_warning("gpg-agent could not be told to forget a PIN; it is not used again");
    if (err == ERR_AUTH_FAILED)
        log_warning("the token of %s refused its PIN, which is not tried again", uri);
    return err == ERR_AUTH_FAILED ? ERR_KEY_LOCKED : err;
}

static enum err unlock(struct keyring_token *token, struct keyring_gpg *gpg, const struct pin *pin, const char *uri,
                       bool asks_person, EVP_PKEY **key_out)
{
    char description[600];
    (void)snprintf(description, sizeof description, "privyseal needs the PIN of the token\n%.500s", uri);
    struct keyring_question question = {
        .description = description, .prompt = "PIN", .cache_id = pin->cache_id, .is_only_remembered = true};
    enum err err = ERR_KEY_LOCKED;
    const bool was_good = is_good(pin);
    if (was_good)
        err = try_pin(token, gpg, pin, uri, &question, key_out);
    if (err != ERR_KEY_LOCKED || !asks_person)
        return err;
    /* Whatever the agent may still know is not to be taken for an answer. */
    question.is_only_remembered = false;
    err = keyring_ask_forget(gpg, pin->cache_id);
    return err == ERR_OK ? try_pin(token, gpg, pin, uri, &question, key_out) : err;
}

/* Who is logged in needs no PIN. The engine may log in by itself with a PIN that it was given before, and that the
   token may refuse by now: so that the agent's is not tried after it. */
static enum err use_session(struct keyring_token *token, const char *dir, const char *uri, EVP_PKEY **key_out)
{
    struct pin pin = {.fd = -1};
    bool was_good = false;
    enum err err = ERR_OK;
    if (keyring_token_has_pin(token)) {
        err = pin_begin(&pin, dir, uri);
        was_good = err == ERR_OK && is_good(&pin);
        if (was_good)
            err = mark(&pin, '?');
    }
    if (err == ERR_OK)
        err = keyring_token_key(token, uri, NULL, key_out);
    if (err == ERR_OK && was_good && mark(&pin, 'g') != ERR_OK)
        log_warning("a person is asked for the PIN of %s again the next time", uri);
    pin_end(&pin);
    return err;
}

enum err keyring_token_unlock(struct keyring_token *token, struct keyring_gpg *gpg, const char *dir, const char *uri,
                              bool asks_person, EVP_PKEY **key_out)
{
    struct pin pin;
    *key_out = NULL;
    if (!keyring_token_is_uri(uri))
        return ERR_NO_KEY;
    enum err err = use_session(token, dir, uri, key_out);
    if (err != ERR_KEY_LOCKED)
        return err;
    err = pin_begin(&pin, dir, uri);
    if (err == ERR_OK)
        err = unlock(token, gpg, &pin, uri, asks_person, key_out);
    pin_end(&pin);
    return err;
}
