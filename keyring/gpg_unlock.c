/*
 * Keys are used before they are needed, in gpg-agent's own protocol. Unlocking: the agent is asked for a signature over
 * nothing, which makes it ask the person for the passphrase and remember it. A key that can only decrypt is unlocked
 * the same way; that it then cannot sign does no harm.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGENT_LINE_MAX 1002 /* an Assuan line and its end */
#define GRIP_SIZE 41        /* 40 hexadecimal digits and a NUL */
#define GRIPS_MAX 256
#define DESCRIPTION_MAX 700

struct agent {
    int fd;
    char line[AGENT_LINE_MAX];
    size_t len; /* bytes at hand, of which the first `taken` have been given out */
    size_t taken;
};

struct grips {
    char items[GRIPS_MAX][GRIP_SIZE];
    size_t len;
};

/* Takes the next line, without its end; it stands until the next call. ERR_KEY_LOCKED if the agent goes away. */
static enum err take_line(struct agent *agent, struct span *line_out)
{
    memmove(agent->line, agent->line + agent->taken, agent->len - agent->taken);
    agent->len -= agent->taken;
    agent->taken = 0;
    for (;;) {
        struct span held = {agent->line, agent->len};
        size_t end = span_find_byte(held, 0, '\n');
        if (end < held.len) {
            *line_out = span_slice(held, 0, end);
            agent->taken = end + 1;
            return ERR_OK;
        }
        if (agent->len == sizeof agent->line)
            return log_failure(ERR_ENGINE, "gpg-agent: a line that is too long");
        ssize_t count = read(agent->fd, agent->line + agent->len, sizeof agent->line - agent->len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return log_failure(ERR_KEY_LOCKED, "gpg-agent went away");
        agent->len += (size_t)count;
    }
}

static enum err send_line(const struct agent *agent, const char *command, const char *argument)
{
    char line[AGENT_LINE_MAX];
    int len =
        snprintf(line, sizeof line, "%s%s%s\n", command, argument == NULL ? "" : " ", argument == NULL ? "" : argument);
    if (len < 0 || (size_t)len >= sizeof line)
        return ERR_LIMIT;
    return write(agent->fd, line, (size_t)len) == (ssize_t)len ? ERR_OK
                                                               : log_failure(ERR_KEY_LOCKED, "gpg-agent went away");
}

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
static void hear_keyinfo(struct span line, struct keyinfo *info)
{
    struct span word[8];
    size_t len = 0;
    while (len < 8 && span_take_until(&line, ' ', &word[len]))
        len++;
    if (len != 8 || !span_is_equal(word[0], SPAN_LIT("S")) || !span_is_equal(word[1], SPAN_LIT("KEYINFO")))
        return;
    if (span_is_equal(word[3], SPAN_LIT("T")))
        add_grip(&info->cards, word[2]);
    else if (!span_is_equal(word[3], SPAN_LIT("D")))
        return;
    else if (span_is_equal(word[7], SPAN_LIT("C")))
        add_grip(&info->clear, word[2]);
    else if (span_is_equal(word[6], SPAN_LIT("-")) && span_is_equal(word[7], SPAN_LIT("P")))
        add_grip(&info->locked, word[2]);
}

/* Sends a command and reads to its end: OK, or ERR <code> <text>, which is `*error_out`. */
static enum err ask(struct agent *agent, const char *command, const char *argument, struct keyinfo *info,
                    gpgme_error_t *error_out)
{
    struct span line, word, code;
    uint64_t number;
    *error_out = 0;
    enum err err = send_line(agent, command, argument);
    while (err == ERR_OK) {
        err = take_line(agent, &line);
        if (err != ERR_OK)
            return err;
        if (info != NULL)
            hear_keyinfo(line, info);
        if (!span_take_until(&line, ' ', &word) || span_is_equal(word, SPAN_LIT("OK")))
            return ERR_OK;
        /* Answered with nothing: it has no business of ours. */
        if (span_is_equal(word, SPAN_LIT("INQUIRE")))
            err = send_line(agent, "END", NULL);
        if (!span_is_equal(word, SPAN_LIT("ERR")))
            continue;
        if (!span_take_until(&line, ' ', &code) || !span_to_u64(code, UINT32_MAX, &number) || number == 0)
            return log_failure(ERR_ENGINE, "gpg-agent: an error without a number");
        *error_out = (gpgme_error_t)number;
        return ERR_OK;
    }
    return err;
}

/* Where the prompt is to appear; what is not set is as the agent was started. An option that it does not know is no
   failure. */
static enum err tell_place(struct agent *agent)
{
    static const struct {
        const char *variable, *option;
    } options[] = {{"GPG_TTY", "ttyname"},
                   {"TERM", "ttytype"},
                   {"DISPLAY", "display"},
                   {"XAUTHORITY", "xauthority"},
                   {"LC_CTYPE", "lc-ctype"},
                   {"LC_MESSAGES", "lc-messages"},
                   {"PINENTRY_USER_DATA", "pinentry-user-data"}};
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof options / sizeof *options; i++) {
        const char *value = getenv(options[i].variable);
        char argument[512];
        gpgme_error_t ignored;
        int len = value == NULL || *value == '\0'
                      ? -1
                      : snprintf(argument, sizeof argument, "%s=%s", options[i].option, value);
        if (len > 0 && (size_t)len < sizeof argument && strpbrk(argument, "\r\n") == NULL)
            err = ask(agent, "OPTION", argument, NULL, &ignored);
    }
    return err;
}

/* "+" for a blank, %XX for what is no plain character. */
static enum err describe(gpgme_key_t key, struct buf *out)
{
    const char *user_id = key->uids != NULL && key->uids->uid != NULL ? key->uids->uid : "";
    char text[DESCRIPTION_MAX / 3];
    (void)snprintf(text, sizeof text, "privyseal reads your mail with the OpenPGP key\n%s\n%.80s", key->fpr, user_id);
    enum err err = ERR_OK;
    for (const char *at = text; err == ERR_OK && *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        bool is_plain = byte > ' ' && byte < 0x7f && byte != '%' && byte != '+';
        err = is_plain ? buf_add_byte(out, *at) : byte == ' ' ? buf_add_byte(out, '+') : buf_addf(out, "%%%02X", byte);
    }
    return err;
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
static enum err use_grip(struct agent *agent, const char *grip, const char *description, gpgme_error_t *error_out)
{
    static const char hash[] = "--hash=sha256 0000000000000000000000000000000000000000000000000000000000000000";
    enum err err = ask(agent, "SIGKEY", grip, NULL, error_out);
    if (err == ERR_OK && *error_out == 0 && description != NULL)
        err = ask(agent, "SETKEYDESC", description, NULL, error_out);
    if (err == ERR_OK && *error_out == 0)
        err = ask(agent, "SETHASH", hash, NULL, error_out);
    if (err == ERR_OK && *error_out == 0)
        err = ask(agent, "PKSIGN", NULL, NULL, error_out);
    return err;
}

static enum err unlock_grip(struct agent *agent, const char *grip, const char *description)
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
static enum err unlock_key(struct agent *agent, gpgme_key_t key, const struct keyinfo *info, bool *is_on_card_out)
{
    struct buf description;
    buf_init(&description, DESCRIPTION_MAX);
    enum err err = describe(key, &description);
    if (err == ERR_OK)
        err = tell_place(agent);
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

enum err keyring_gpg_unlock(struct keyring_gpg *gpg, const char *fingerprint, bool *is_on_card_out)
{
    struct agent agent = {.fd = -1};
    struct keyinfo info = {.locked.len = 0};
    gpgme_error_t error;
    gpgme_key_t key = NULL;
    struct span rest_of_greeting;
    *is_on_card_out = false;
    enum err err = gpg_agent_connect(gpg, &agent.fd);
    if (err == ERR_OK)
        err = take_line(&agent, &rest_of_greeting);
    if (err == ERR_OK)
        err = ask(&agent, "KEYINFO", "--list", &info, &error);
    if (err == ERR_OK && info.locked.len + info.cards.len > 0)
        err = gpg_find(gpg, fingerprint, true, &key);
    if (key != NULL) {
        err = unlock_key(&agent, key, &info, is_on_card_out);
        gpgme_key_unref(key);
    }
    if (agent.fd >= 0)
        close(agent.fd);
    return err;
}

enum err keyring_gpg_agent_settle(const char *home, const char *user)
{
    struct agent agent = {.fd = -1};
    struct keyinfo info = {.locked.len = 0};
    gpgme_error_t error;
    struct span rest_of_greeting;
    enum err err = gpg_agent_connect_at(home, user, &agent.fd);
    if (err == ERR_OK)
        err = take_line(&agent, &rest_of_greeting);
    if (err == ERR_OK)
        err = ask(&agent, "OPTION", "pinentry-mode=error", NULL, &error);
    if (err == ERR_OK)
        err = ask(&agent, "KEYINFO", "--list", &info, &error);
    for (size_t i = 0; err == ERR_OK && i < info.clear.len; i++)
        err = use_grip(&agent, info.clear.items[i], NULL, &error);
    if (agent.fd >= 0)
        close(agent.fd);
    return err;
}
