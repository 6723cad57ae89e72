#include "keyring/ask.h"

#include "base/log.h"
#include "keyring/gpg_talk.h"

#include <string.h>

#define DESCRIPTION_MAX 600
#define ERROR_MAX 150
#define PROMPT_MAX 60
#define ARGUMENTS_MAX 950 /* with the command it fits into a line */

static bool is_cache_id(const char *id)
{
    size_t len = strlen(id);
    for (size_t i = 0; i < len; i++)
        if (id[i] <= ' ' || id[i] > '~' || id[i] == '%' || id[i] == '+')
            return false;
    return len > 0 && len < KEYRING_ASK_CACHE_ID_SIZE && id[0] != '-';
}

/* "X" stands for none; one that begins so is written another way. */
static enum err add_text(struct buf *out, const char *text, size_t escaped_max)
{
    enum err err = buf_add_byte(out, ' ');
    if (err == ERR_OK && (text == NULL || *text == '\0'))
        return buf_add_byte(out, 'X');
    if (err == ERR_OK && strcmp(text, "X") == 0)
        return buf_add_string(out, "%58");
    return err == ERR_OK ? gpg_talk_escape(text, escaped_max, out) : err;
}

/* GET_PASSPHRASE --data [--no-ask] -- <cache id> <error> <prompt> <description> */
static enum err write_arguments(const struct keyring_question *question, struct buf *out)
{
    if (question->cache_id != NULL && !is_cache_id(question->cache_id))
        return ERR_INTERNAL;
    enum err err = buf_addf(out, "--data %s-- %s", question->is_only_remembered ? "--no-ask " : "",
                            question->cache_id == NULL ? "X" : question->cache_id);
    if (err == ERR_OK)
        err = add_text(out, question->error, ERROR_MAX);
    if (err == ERR_OK)
        err = add_text(out, question->prompt, PROMPT_MAX);
    if (err == ERR_OK)
        err = add_text(out, question->description, DESCRIPTION_MAX);
    return err;
}

static int hex_value(char byte)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *found = memchr(digits, byte, sizeof digits - 1);
    return found == NULL ? -1 : (int)(found - digits);
}

/* D <bytes>, of which %, CR and LF are written %XX. */
static enum err hear_data(struct span line, void *context)
{
    struct buf *answer = context;
    if (!span_has_prefix(line, SPAN_LIT("D ")))
        return ERR_OK;
    enum err err = ERR_OK;
    for (size_t i = 2; err == ERR_OK && i < line.len; i++) {
        char byte = line.ptr[i];
        if (byte == '%') {
            int high = i + 2 < line.len ? hex_value(line.ptr[i + 1]) : -1;
            int low = i + 2 < line.len ? hex_value(line.ptr[i + 2]) : -1;
            if (high < 0 || low < 0)
                return log_failure(ERR_ENGINE, "gpg-agent: data that is malformed");
            byte = (char)(high << 4 | low);
            i += 2;
        }
        err = buf_add_byte(answer, byte);
    }
    return err;
}

static enum err ask(struct gpg_talk *talk, const struct keyring_question *question, const char *arguments,
                    struct buf *answer)
{
    gpgme_error_t error = 0;
    enum err err = question->is_only_remembered ? ERR_OK : gpg_talk_place(talk);
    if (err == ERR_OK)
        err = gpg_talk(talk, "GET_PASSPHRASE", arguments, hear_data, answer, &error);
    if (err != ERR_OK || error == 0)
        return err;
    if (!question->is_only_remembered)
        log_warning("gpg-agent: asking for a secret: %s", gpgme_strerror(error));
    return ERR_KEY_LOCKED;
}

enum err keyring_ask(struct keyring_gpg *gpg, const struct keyring_question *question, struct secret *answer)
{
    struct gpg_talk talk;
    struct buf arguments, text;
    int fd;
    buf_init(&arguments, ARGUMENTS_MAX);
    buf_init_secret(&text, KEYRING_ASK_SECRET_MAX);
    enum err err = write_arguments(question, &arguments);
    if (err == ERR_OK)
        err = gpg_agent_connect(gpg, &fd);
    if (err == ERR_OK) {
        err = gpg_talk_begin(&talk, fd);
        if (err == ERR_OK)
            err = ask(&talk, question, arguments.data, &text);
        gpg_talk_end(&talk);
    }
    if (err == ERR_OK)
        err = secret_set(answer, buf_span(&text), KEYRING_ASK_SECRET_MAX);
    buf_fini(&text);
    buf_fini(&arguments);
    return err;
}

enum err keyring_ask_forget(struct keyring_gpg *gpg, const char *cache_id)
{
    struct gpg_talk talk;
    gpgme_error_t error = 0;
    int fd;
    if (!is_cache_id(cache_id))
        return ERR_INTERNAL;
    enum err err = gpg_agent_connect(gpg, &fd);
    if (err != ERR_OK)
        return err;
    err = gpg_talk_begin(&talk, fd);
    if (err == ERR_OK)
        err = gpg_talk(&talk, "CLEAR_PASSPHRASE", cache_id, NULL, NULL, &error);
    gpg_talk_end(&talk);
    return err == ERR_OK && error != 0 ? log_failure(ERR_ENGINE, "gpg-agent: %s", gpgme_strerror(error)) : err;
}
