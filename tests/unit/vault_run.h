/*
 * A real vault process, net's line to it, and what comes back over that. To be included by one file of a test program.
 */
#ifndef TESTS_UNIT_VAULT_RUN_H
#define TESTS_UNIT_VAULT_RUN_H

#include "proxy/vault.h"

#include "base/memfd.h"
#include "crypto/decision.h"
#include "proxy/vault_views.h"
#include "proxy/wire.h"
#include "store_dir.h"

#include <signal.h>
#include <sys/wait.h>

#define ALICE "alice@example.org"

static struct config config;
static struct event_base *base;
static struct proxy_vaultlink *link_;
static pid_t vault = -1;
static int control = -1;
static unsigned lost;

/* A line that the vault is told to be of this type: a keeper's (of an account), a command's, or net's. */
__attribute__((unused)) static int vault_line(uint16_t type, const char *account)
{
    int ends[2];
    struct ipc_out out;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    ipc_out_begin(&out, type);
    if (account)
        ipc_put_string(&out, account);
    if (type == PROXY_VAULT_COMMAND)
        ipc_put_span(&out, SPAN_LIT("its proof"));
    ipc_put_file(&out, ends[1]);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    close(ends[1]);
    return ends[0];
}

/* A command's line, over which it has shown what it must. */
__attribute__((unused)) static int command_line(void)
{
    struct ipc_out out;
    const int line = vault_line(PROXY_VAULT_COMMAND, NULL);
    ipc_out_begin(&out, PROXY_VAULT_PROOF);
    ipc_put_span(&out, SPAN_LIT("its proof"));
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    return line;
}

__attribute__((unused)) static void start_vault(void)
{
    int ends[2], client[2];
    struct ipc_out out;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    vault = fork();
    assert_true(vault >= 0);
    if (vault == 0) {
        close(ends[0]);
        _exit(proxy_vault_main(&config, ends[1]));
    }
    close(ends[1]);
    control = ends[0];
    assert_int_equal(ipc_pair(true, client), ERR_OK);
    ipc_out_begin(&out, PROXY_VAULT_CLIENT);
    ipc_put_file(&out, client[1]);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    close(client[1]);
    proxy_vaultlink_connect(link_, client[0]);
}

__attribute__((unused)) static void end_vault(int signal)
{
    int status;
    if (signal)
        kill(vault, signal);
    close(control);
    assert_int_equal(waitpid(vault, &status, 0), vault);
    assert_true(signal ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

__attribute__((unused)) static void on_lost(void *context)
{
    (void)context;
    lost++;
}

__attribute__((unused)) static int setup(void **state)
{
    (void)state;
    base = event_base_new();
    lost = 0;
    assert_int_equal(mkdir(in_directory("store"), 0700), 0);
    assert_int_equal(proxy_vaultlink_new(base, on_lost, NULL, &link_), ERR_OK);
    start_vault();
    return 0;
}

__attribute__((unused)) static int teardown(void **state)
{
    (void)state;
    proxy_vaultlink_free(&link_);
    end_vault(0);
    event_base_free(base);
    config.store_max = 1 << 30;
    const size_t len = strlen(directory);
    snprintf(directory + len, sizeof directory - len, "/store");
    empty_directory();
    const int result = rmdir(directory);
    directory[len] = '\0';
    return result;
}

/* What came back, whatever was asked. */
struct got {
    unsigned times;
    enum err err;
    size_t len, missing;
    uint32_t generation;
    uint8_t bits[8];
    struct store_place places[8];
    bool is_found[8];
    size_t records[8];
};

__attribute__((unused)) static void run(const unsigned *times, unsigned wanted)
{
    while (*times < wanted)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

__attribute__((unused)) static void on_done(enum err err, void *context)
{
    struct got *got = context;
    got->err = err;
    got->times++;
}

__attribute__((unused)) static void on_views(enum err err, const struct proxy_vault_found *views, size_t len,
                                             void *context)
{
    struct got *got = context;
    got->len = len;
    for (size_t i = 0; i < len && i < 8; i++) {
        got->is_found[i] = views[i].is_found;
        got->records[i] = views[i].view.record.len;
    }
    on_done(err, context);
}

__attribute__((unused)) static void on_generation(enum err err, uint32_t generation, void *context)
{
    ((struct got *)context)->generation = generation;
    on_done(err, context);
}

__attribute__((unused)) static void on_search(enum err err, const uint8_t *bits, size_t missing, void *context)
{
    struct got *got = context;
    if (err == ERR_OK)
        memcpy(got->bits, bits, 2);
    got->missing = missing;
    on_done(err, context);
}

__attribute__((unused)) static void on_places(enum err err, const struct store_place *places, size_t len, void *context)
{
    struct got *got = context;
    got->len = len;
    for (size_t i = 0; i < len && i < 8; i++)
        got->places[i] = places[i];
    on_done(err, context);
}

__attribute__((unused)) static struct store_view_key key_of(unsigned number)
{
    struct store_view_key key = {.account = ALICE};
    memcpy(key.digest, &number, sizeof number);
    return key;
}

__attribute__((unused)) static void save_decision(bool is_failed, uint64_t size, struct buf *out)
{
    struct crypto_decision decision;
    memset(&decision, 0, sizeof decision);
    decision.verdict.encryption = is_failed ? CRYPTO_ENC_FAILED : CRYPTO_ENC_OPENPGP;
    decision.size = size;
    buf_init(out, STORE_DECISION_MAX);
    assert_int_equal(crypto_decision_save(&decision, out), ERR_OK);
}

__attribute__((unused)) static void save_text(const char *text, struct buf *out)
{
    struct mime_tree *tree;
    const struct mime_limits limits = {.parts_max = 100, .depth_max = 10, .header_max = 10000};
    assert_int_equal(mime_parse(span_of(text), limits, &tree), ERR_OK);
    buf_init(out, 100000);
    assert_int_equal(mime_text_save(tree->root, span_of(text), out), ERR_OK);
    mime_tree_free(&tree);
}

__attribute__((unused)) static struct span id_of(unsigned number)
{
    static char id[32];
    memcpy(id, &number, sizeof number);
    return (struct span){id, sizeof id};
}

__attribute__((unused)) static struct proxy_vault_request *begin_put(unsigned number, bool is_failed, size_t record_len,
                                                                     const char *text, struct got *got)
{
    struct proxy_vault_request *request;
    struct store_view_key key = key_of(number);
    struct buf decision, saved;
    char *record = calloc(1, record_len + 1);
    int record_fd, text_fd;
    save_decision(is_failed, number, &decision);
    save_text(text, &saved);
    assert_int_equal(memfd_of("record", (struct span){record, record_len}, record_len, &record_fd), ERR_OK);
    assert_int_equal(memfd_of("text", buf_span(&saved), saved.len, &text_fd), ERR_OK);
    const struct proxy_open_answer opened = {.decision = buf_span(&decision),
                                             .session_keys = SPAN_LIT("k"),
                                             .encrypted_ids = is_failed ? SPAN_NONE : id_of(number)};
    assert_int_equal(proxy_vault_view_put(link_, &key, &opened, record_fd, text_fd, on_done, got, &request), ERR_OK);
    close(record_fd);
    close(text_fd);
    buf_fini(&decision);
    buf_fini(&saved);
    free(record);
    return request;
}

__attribute__((unused)) static void put(unsigned number, bool is_failed, const char *text)
{
    struct got got = {.times = 0};
    (void)begin_put(number, is_failed, 100 + number, text, &got);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
}

__attribute__((unused)) static int make_state(void **state)
{
    int result = make_directory(state);
    snprintf(config.state_dir, sizeof config.state_dir, "%s", directory);
    config.store_max = 1 << 30;
    config.log_level = LOG_LEVEL_ERROR;
    return result;
}

#endif
