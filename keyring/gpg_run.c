/*
 * Running the wrapper, and finding keys: what the other files of keyring/gpg.h stand on.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS_MAX 300
#define GPG_INPUT_MAX ((size_t)65536)

enum err gpg_data_of(struct span bytes, gpgme_data_t *data_out)
{
    return keyring_gpg_error(gpgme_data_new_from_mem(data_out, bytes.len == 0 ? "" : bytes.ptr, bytes.len, 0), "data");
}

enum err gpg_data_read(gpgme_data_t data, struct buf *out)
{
    char piece[4096];
    enum err err = ERR_OK;
    if (gpgme_data_seek(data, 0, SEEK_SET) != 0)
        return ERR_ENGINE;
    while (err == ERR_OK) {
        ssize_t count = gpgme_data_read(data, piece, sizeof piece);
        if (count <= 0) {
            err = count == 0 ? ERR_OK : ERR_ENGINE;
            break;
        }
        err = buf_add(out, piece, (size_t)count);
    }
    /* May have been a secret key. */
    secret_wipe(piece, sizeof piece);
    return err;
}

/* ---- the loop ----

   GPGME's own turns for ever where gpg ends before it has read more than a pipe holds, as it does at a damaged key: to
   poll(2) such a pipe is in error and not writable, and GPGME looks for the latter alone. */

#define WATCHES_MAX 8 /* standard input and output, and room for what GPGME adds */

struct watch {
    int fd;
    bool is_read;
    gpgme_io_cb_t fn; /* NULL: free */
    void *context;
};

struct loop {
    struct watch watches[WATCHES_MAX];
    gpg_key_fn fn; /* of keys that are listed, if they are */
    void *context;
    bool is_done;
    gpgme_error_t error;
};

static gpgme_error_t add_watch(void *context, int fd, int is_read, gpgme_io_cb_t fn, void *fn_context, void **tag)
{
    struct loop *loop = context;
    for (size_t i = 0; i < WATCHES_MAX; i++)
        if (loop->watches[i].fn == NULL) {
            loop->watches[i] = (struct watch){fd, is_read != 0, fn, fn_context};
            *tag = &loop->watches[i];
            return 0;
        }
    return gpgme_error(GPG_ERR_TOO_MANY);
}

static void remove_watch(void *tag)
{
    struct watch *watch = tag;
    watch->fn = NULL;
}

static void on_event(void *context, gpgme_event_io_t type, void *data)
{
    struct loop *loop = context;
    if (type == GPGME_EVENT_NEXT_KEY) {
        if (loop->fn != NULL)
            loop->fn(data, loop->context);
        gpgme_key_unref(data);
    }
    if (type != GPGME_EVENT_DONE)
        return;
    const struct gpgme_io_event_done_data *done = data;
    loop->is_done = true;
    loop->error = done->err;
}

/* Calls whoever has something to do; false: nobody is left, or waiting fails. */
static bool turn(struct loop *loop)
{
    struct pollfd files[WATCHES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < WATCHES_MAX; i++) {
        const struct watch *watch = &loop->watches[i];
        /* -1 is left out by poll(2). */
        files[i] =
            (struct pollfd){.fd = watch->fn != NULL ? watch->fd : -1, .events = watch->is_read ? POLLIN : POLLOUT};
        len += watch->fn != NULL;
    }
    if (len == 0 || (poll(files, WATCHES_MAX, -1) < 0 && errno != EINTR))
        return false;
    for (size_t i = 0; i < WATCHES_MAX && !loop->is_done; i++) {
        const struct watch watch = loop->watches[i];
        /* One before it may have ended it; what fails comes with the last event. */
        if (files[i].fd >= 0 && files[i].revents != 0 && watch.fn != NULL && watch.fd == files[i].fd)
            (void)watch.fn(watch.context, watch.fd);
    }
    return true;
}

/* Until what was begun on `context`, or not (`error`), has come to its end. */
static gpgme_error_t wait_for(gpgme_ctx_t context, struct loop *loop, gpgme_error_t error)
{
    while (error == 0 && !loop->is_done && turn(loop)) {
    }
    if (error == 0 && !loop->is_done) {
        (void)gpgme_cancel(context);
        error = gpgme_error(GPG_ERR_EIO);
    }
    gpgme_set_io_cbs(context, NULL);
    return error != 0 ? error : loop->error;
}

static gpgme_error_t spawn(gpgme_ctx_t runner, const char *program, const char *const *arguments, gpgme_data_t input,
                           gpgme_data_t output)
{
    struct loop loop = {.is_done = false};
    struct gpgme_io_cbs calls = {add_watch, &loop, remove_watch, on_event, &loop};
    gpgme_set_io_cbs(runner, &calls);
    return wait_for(runner, &loop,
                    gpgme_op_spawn_start(runner, program, (const char **)(uintptr_t)arguments, input, output, NULL, 0));
}

gpgme_error_t gpg_list_data(gpgme_ctx_t lister, gpgme_data_t data, gpg_key_fn fn, void *context)
{
    struct loop loop = {.fn = fn, .context = context};
    struct gpgme_io_cbs calls = {add_watch, &loop, remove_watch, on_event, &loop};
    gpgme_set_io_cbs(lister, &calls);
    return wait_for(lister, &loop, gpgme_op_keylist_from_data_start(lister, data, 0));
}

static enum err run(struct keyring_gpg *gpg, const char *home, const char *const *options, const char *const *arguments,
                    struct span input, gpgme_data_t output)
{
    const char *all[ARGUMENTS_MAX] = {gpg->wrapper, "--homedir", home,          "--batch",
                                      "--yes",      "--no-tty",  "--status-fd", "1"};
    const char *const *const lists[] = {options, arguments};
    size_t len = 8;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const char *const *next = lists[i]; *next != NULL; next++) {
            if (len + 1 >= ARGUMENTS_MAX)
                return ERR_INTERNAL;
            all[len++] = *next;
        }
    gpgme_data_t in = NULL;
    enum err err = gpg_data_of(input, &in);
    if (err == ERR_OK)
        err = keyring_gpg_error(spawn(gpg->runner, gpg->wrapper, all, in, output), "running gpg");
    gpgme_data_release(in);
    return err;
}

static const char *const no_options[] = {NULL};

enum err gpg_run_into(struct keyring_gpg *gpg, const char *home, const char *const *arguments, gpgme_data_t output)
{
    return run(gpg, home, no_options, arguments, SPAN_NONE, output);
}

static enum err run_here(struct keyring_gpg *gpg, const char *const *options, const char *const *arguments,
                         struct span input, struct buf *output)
{
    gpgme_data_t out = NULL;
    enum err err = keyring_gpg_error(gpgme_data_new(&out), "data");
    if (err == ERR_OK)
        err = run(gpg, gpg->home, options, arguments, input, out);
    if (err == ERR_OK)
        err = gpg_data_read(out, output);
    gpgme_data_release(out);
    return err;
}

enum err gpg_run(struct keyring_gpg *gpg, const char *const *arguments, struct span input, struct buf *output)
{
    return run_here(gpg, no_options, arguments, input, output);
}

/* gpg reads the passphrase byte by byte up to the end of its line; what follows is what it would have read anyway. */
enum err gpg_run_with(struct keyring_gpg *gpg, const struct secret *passphrase, const char *const *arguments,
                      const char *input, struct buf *output)
{
    static const char *const given[] = {"--pinentry-mode", "loopback", "--passphrase-fd", "0", NULL};
    struct buf all;
    if (passphrase == NULL)
        return gpg_run(gpg, arguments, span_of(input), output);
    if (memchr(passphrase->data == NULL ? "" : passphrase->data, '\n', passphrase->len) != NULL)
        return ERR_USAGE;
    buf_init_secret(&all, GPG_INPUT_MAX);
    enum err err = buf_add_span(&all, secret_span(passphrase));
    if (err == ERR_OK)
        err = buf_addf(&all, "\n%s", input);
    if (err == ERR_OK)
        err = run_here(gpg, given, arguments, buf_span(&all), output);
    buf_fini(&all);
    return err;
}

/* ERROR <where> <code>, FAILURE <where> <code>; the last of them is of gpg's end, and says no more than that it failed.
 */
enum err gpg_run_failure(struct span output, const char *action)
{
    static const char *const keywords[] = {"ERROR", "FAILURE"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        struct span rest = output, arguments, where, code;
        uint64_t number;
        while (gpg_next_status(&rest, keywords[i], &arguments)) {
            if (!span_take_until(&arguments, ' ', &where) || !span_take_until(&arguments, ' ', &code) ||
                !span_to_u64(code, UINT32_MAX, &number) || gpgme_err_code((gpgme_error_t)number) == GPG_ERR_GENERAL)
                continue;
            enum err err = keyring_gpg_error((gpgme_error_t)number, action);
            if (err != ERR_OK)
                return err;
        }
    }
    return log_failure(ERR_ENGINE, "gpg: %s", action);
}

bool gpg_next_status(struct span *rest, const char *keyword, struct span *arguments_out)
{
    struct span line;
    while (span_take_until(rest, '\n', &line)) {
        struct span prefix = SPAN_LIT("[GNUPG:] "), word = span_of(keyword);
        if (!span_has_prefix(line, prefix))
            continue;
        line = span_skip(line, prefix.len);
        if (!span_has_prefix(line, word) || (line.len > word.len && line.ptr[word.len] != ' '))
            continue;
        *arguments_out = span_trim(span_skip(line, word.len));
        return true;
    }
    return false;
}

bool gpg_is_fingerprint(const char *fingerprint)
{
    size_t len = strspn(fingerprint, "0123456789ABCDEFabcdef");
    return fingerprint[len] == '\0' && len >= 16 && len < KEYRING_FPR_SIZE;
}

enum err gpg_find(struct keyring_gpg *gpg, const char *fingerprint, bool is_secret, gpgme_key_t *key_out)
{
    *key_out = NULL;
    if (!gpg_is_fingerprint(fingerprint))
        return ERR_NOT_FOUND;
    (void)gpgme_set_keylist_mode(gpg->lister, GPGME_KEYLIST_MODE_LOCAL | GPGME_KEYLIST_MODE_WITH_SECRET);
    gpgme_error_t error = gpgme_get_key(gpg->lister, fingerprint, key_out, is_secret);
    if (gpgme_err_code(error) == GPG_ERR_EOF || gpgme_err_code(error) == GPG_ERR_NO_SECKEY)
        return ERR_NOT_FOUND;
    return keyring_gpg_error(error, "looking a key up");
}

bool keyring_gpg_has_secret(struct keyring_gpg *gpg, const char *key_id)
{
    gpgme_key_t key;
    bool has_it = false;
    if (gpg_find(gpg, key_id, true, &key) != ERR_OK)
        return false;
    for (gpgme_subkey_t subkey = key->subkeys; subkey != NULL; subkey = subkey->next)
        has_it = has_it ||
                 (subkey->secret && subkey->can_encrypt && span_has_case_suffix(span_of(subkey->fpr), span_of(key_id)));
    gpgme_key_unref(key);
    return has_it;
}

void gpg_forget(struct keyring_gpg *gpg)
{
    for (size_t i = 0; i < gpg->signers_len; i++) {
        gpgme_key_unref(gpg->signers[i]);
        gpg->signers[i] = NULL;
    }
    gpg->signers_len = gpg->signers_next = 0;
    gpg->bits_len = gpg->bits_next = 0;
}

enum err gpg_refresh(struct keyring_gpg *gpg)
{
    uint64_t stamp;
    enum err err = keyring_gpg_stamp(gpg->home, &stamp);
    if (err != ERR_OK)
        return err;
    if (stamp != gpg->stamp)
        gpg_forget(gpg);
    gpg->stamp = stamp;
    return ERR_OK;
}

enum err keyring_gpg_signer(struct keyring_gpg *gpg, const char *fingerprint, gpgme_key_t *key_out)
{
    gpgme_key_t key;
    enum err err = gpg_refresh(gpg);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < gpg->signers_len; i++)
        if (strcasecmp(gpg->signers[i]->fpr, fingerprint) == 0) {
            *key_out = gpg->signers[i];
            return ERR_OK;
        }
    err = gpg_find(gpg, fingerprint, true, &key);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_NO_SIGNING_KEY : err;
    size_t slot = gpg->signers_len < GPG_SIGNERS_MAX ? gpg->signers_len++ : gpg->signers_next++ % GPG_SIGNERS_MAX;
    gpgme_key_unref(gpg->signers[slot]);
    gpg->signers[slot] = key;
    *key_out = key;
    return ERR_OK;
}

static unsigned bits_of(gpgme_key_t key, const char *fingerprint)
{
    for (gpgme_subkey_t subkey = key->subkeys; subkey != NULL; subkey = subkey->next)
        if (subkey->fpr != NULL && strcasecmp(subkey->fpr, fingerprint) == 0)
            return subkey->length;
    return 0;
}

enum err keyring_gpg_key_bits(struct keyring_gpg *gpg, const char *fingerprint, unsigned *bits_out)
{
    gpgme_key_t key;
    enum err err = gpg_refresh(gpg);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < gpg->bits_len; i++)
        if (strcasecmp(gpg->bits[i].fingerprint, fingerprint) == 0) {
            *bits_out = gpg->bits[i].bits;
            return ERR_OK;
        }
    err = gpg_find(gpg, fingerprint, false, &key);
    if (err != ERR_OK)
        return err;
    *bits_out = bits_of(key, fingerprint);
    gpgme_key_unref(key);
    /* A listing that broke off within the key. */
    if (*bits_out == 0)
        return ERR_NOT_FOUND;
    size_t slot = gpg->bits_len < GPG_BITS_MAX ? gpg->bits_len++ : gpg->bits_next++ % GPG_BITS_MAX;
    gpg->bits[slot].bits = *bits_out;
    (void)span_copy(span_of(fingerprint), gpg->bits[slot].fingerprint, KEYRING_FPR_SIZE);
    return ERR_OK;
}
