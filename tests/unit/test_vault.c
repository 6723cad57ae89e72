/* The vault process as net sees it: everything that can be asked for, through a real one, which may be killed. */
#include "proxy/vault.h"

#include "base/memfd.h"
#include "crypto/decision.h"
#include "proxy/vault_views.h"
#include "proxy/wire.h"
#include "store_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define ALICE "alice@example.org"

static struct config config;
static struct event_base *base;
static struct proxy_vaultlink *link_;
static pid_t vault = -1;
static int control = -1;
static unsigned lost;

static void start_vault(void)
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

static void end_vault(int signal)
{
    int status;
    if (signal)
        kill(vault, signal);
    close(control);
    assert_int_equal(waitpid(vault, &status, 0), vault);
    assert_true(signal ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void on_lost(void *context)
{
    (void)context;
    lost++;
}

static int setup(void **state)
{
    (void)state;
    base = event_base_new();
    lost = 0;
    assert_int_equal(mkdir(in_directory("store"), 0700), 0);
    assert_int_equal(proxy_vaultlink_new(base, on_lost, NULL, &link_), ERR_OK);
    start_vault();
    return 0;
}

static int teardown(void **state)
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

static void run(const unsigned *times, unsigned wanted)
{
    while (*times < wanted)
        assert_int_equal(event_base_loop(base, EVLOOP_ONCE), 0);
}

static void on_done(enum err err, void *context)
{
    struct got *got = context;
    got->err = err;
    got->times++;
}

static void on_views(enum err err, const struct proxy_vault_found *views, size_t len, void *context)
{
    struct got *got = context;
    got->len = len;
    for (size_t i = 0; i < len && i < 8; i++) {
        got->is_found[i] = views[i].is_found;
        got->records[i] = views[i].view.record.len;
    }
    on_done(err, context);
}

static void on_generation(enum err err, uint32_t generation, void *context)
{
    ((struct got *)context)->generation = generation;
    on_done(err, context);
}

static void on_search(enum err err, const uint8_t *bits, size_t missing, void *context)
{
    struct got *got = context;
    if (err == ERR_OK)
        memcpy(got->bits, bits, 2);
    got->missing = missing;
    on_done(err, context);
}

static void on_places(enum err err, const struct store_place *places, size_t len, void *context)
{
    struct got *got = context;
    got->len = len;
    for (size_t i = 0; i < len && i < 8; i++)
        got->places[i] = places[i];
    on_done(err, context);
}

static struct store_view_key key_of(unsigned number)
{
    struct store_view_key key = {.account = ALICE};
    memcpy(key.digest, &number, sizeof number);
    return key;
}

static void save_decision(bool is_failed, uint64_t size, struct buf *out)
{
    struct crypto_decision decision;
    memset(&decision, 0, sizeof decision);
    decision.verdict.encryption = is_failed ? CRYPTO_ENC_FAILED : CRYPTO_ENC_OPENPGP;
    decision.size = size;
    buf_init(out, STORE_DECISION_MAX);
    assert_int_equal(crypto_decision_save(&decision, out), ERR_OK);
}

static void save_text(const char *text, struct buf *out)
{
    struct mime_tree *tree;
    const struct mime_limits limits = {.parts_max = 100, .depth_max = 10, .header_max = 10000};
    assert_int_equal(mime_parse(span_of(text), limits, &tree), ERR_OK);
    buf_init(out, 100000);
    assert_int_equal(mime_text_save(tree->root, span_of(text), out), ERR_OK);
    mime_tree_free(&tree);
}

static struct proxy_vault_request *begin_put(unsigned number, bool is_failed, size_t record_len, const char *text,
                                             struct got *got)
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
    assert_int_equal(proxy_vault_view_put(link_, &key, buf_span(&decision), SPAN_LIT("k"), record_fd, text_fd, on_done,
                                          got, &request),
                     ERR_OK);
    close(record_fd);
    close(text_fd);
    buf_fini(&decision);
    buf_fini(&saved);
    free(record);
    return request;
}

static void put(unsigned number, bool is_failed, const char *text)
{
    struct got got = {.times = 0};
    (void)begin_put(number, is_failed, 100 + number, text, &got);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
}

static void test_views(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[3] = {key_of(1), key_of(2), key_of(3)};
    put(1, false, "Subject: one\r\n\r\nhello\r\n");
    put(3, false, "Subject: three\r\n\r\nworld\r\n");
    assert_int_equal(proxy_vault_views_get(link_, keys, 3, on_views, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 3);
    assert_true(got.is_found[0] && !got.is_found[1] && got.is_found[2]);
    assert_int_equal(got.records[0], 101);
    assert_int_equal(got.records[2], 103);
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, keys[0].digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.generation, 0);
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, keys[1].digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 3);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    /* Another decision for what was decided. */
    struct proxy_vault_request *request = begin_put(1, true, 10, "\r\n", &got);
    assert_non_null(request);
    run(&got.times, 4);
    assert_int_equal(got.err, ERR_EXISTS);
    assert_int_equal(lost, 0);
}

static void test_search(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[3] = {key_of(1), key_of(2), key_of(3)};
    const struct mime_text_leaf leaves[] = {{.kind = MIME_TEXT_BODY, .needle = (char[]){"HELLO"}},
                                            {.kind = MIME_TEXT_ANY, .needle = (char[]){"SHARED"}}};
    put(1, false, "Subject: shared\r\n\r\nhello\r\n");
    put(3, false, "Subject: three\r\n\r\nshared\r\n");
    assert_int_equal(proxy_vault_view_search(link_, keys, 3, leaves, 2, on_search, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    assert_int_equal(got.missing, 1);
    keys[1] = key_of(3);
    assert_int_equal(proxy_vault_view_search(link_, keys, 3, leaves, 2, on_search, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.bits[0], 1);
    assert_int_equal(got.bits[1], 7);
    assert_int_equal(lost, 0);
}

static void test_places(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7}, moved = {ALICE, SPAN_LIT("Old"), 7};
    struct store_place places[] = {{.uid = 9, .is_view = true, .generation = 1}, {.uid = 2}, {.uid = 9}, {.uid = 4}};
    const uint32_t gone[] = {2, 77};
    places[2] = places[0];
    places[2].generation = 2;
    assert_int_equal(proxy_vault_places_put(link_, &inbox, places, 4, on_done, &got, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_forget(link_, &inbox, gone, 2, NULL, NULL, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_rename(link_, ALICE, inbox.name, moved.name, '/', on_done, &got, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_get(link_, &moved, on_places, &got, NULL), ERR_OK);
    run(&got.times, 3);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.places[0].uid, 4);
    assert_int_equal(got.places[1].uid, 9);
    assert_int_equal(got.places[1].generation, 2);
    assert_int_equal(proxy_vault_places_get(link_, &inbox, on_places, &got, NULL), ERR_OK);
    run(&got.times, 4);
    assert_int_equal(got.len, 0);
    assert_int_equal(lost, 0);
}

static void on_count(enum err err, struct ipc_in *answer, void *context)
{
    ((struct got *)context)->len = err == ERR_OK ? (size_t)ipc_get_u64(answer) : 0;
    on_done(err, context);
}

/* What the command line asks for: whatever could not be opened is marked. */
static void test_reopening(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7};
    struct store_place places[2] = {{.uid = 1, .is_view = true}, {.uid = 2, .is_view = true}};
    struct ipc_out out;
    for (unsigned i = 0; i < 2; i++) {
        memcpy(places[i].digest, key_of(i + 1).digest, STORE_DIGEST_SIZE);
        put(i + 1, i == 1, "\r\n");
    }
    assert_int_equal(proxy_vault_places_put(link_, &inbox, places, 2, NULL, NULL, NULL), ERR_OK);
    ipc_out_begin(&out, PROXY_STORE_REOPEN);
    ipc_put_string(&out, ALICE);
    assert_int_equal(proxy_vault_ask(link_, &out, on_count, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 1);
    assert_int_equal(proxy_vault_places_get(link_, &inbox, on_places, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.len, 2);
    assert_false(got.places[0].wants_reopen);
    assert_true(got.places[1].wants_reopen);
    assert_int_equal(lost, 0);
}

/* ---- keepers ---- */

static int keeper_line(const char *account)
{
    int ends[2];
    struct ipc_out out;
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    ipc_out_begin(&out, PROXY_VAULT_KEEPER);
    ipc_put_string(&out, account);
    ipc_put_file(&out, ends[1]);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    close(ends[1]);
    return ends[0];
}

/* Asks with up to two fields. ERR_END: the vault has ended the line. The first field of the answer is added to
   `field_out`. */
static enum err ask_as(int line, uint16_t type, const char *account, const struct span *fields, size_t len,
                       struct buf *field_out)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, type);
    ipc_put_string(&out, account);
    for (size_t i = 0; i < len; i++)
        ipc_put_span(&out, fields[i]);
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    if (ipc_recv(line, &in) != ERR_OK)
        return ERR_END;
    const enum err err = (enum err)ipc_get_u32(&in);
    if (err == ERR_OK && field_out)
        assert_int_equal(buf_add_span(field_out, ipc_get_span(&in)), ERR_OK);
    ipc_in_fini(&in);
    return err;
}

static struct store_kept kept_as(int line, const char *account, struct buf *wrapped_out)
{
    struct store_kept kept;
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_KEYS_GET);
    ipc_put_string(&out, account);
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    assert_int_equal(ipc_recv(line, &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), ERR_OK);
    proxy_get_kept(&in, &kept);
    assert_int_equal(buf_add_span(wrapped_out, ipc_get_span(&in)), ERR_OK);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return kept;
}

static void on_locked(const char *account, void *context)
{
    unsigned *times = context;
    assert_string_equal(account, ALICE);
    ++*times;
}

/* A keeper takes the keys, hands them in wrapped, and the next vault has them only when a keeper has opened them. */
static void test_keeper_wraps_and_opens(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct buf keys, wrapped;
    unsigned locked = 0;
    const struct span handed[] = {SPAN_LIT("KEY"), SPAN_LIT("a PGP message")};
    struct store_view_key key = key_of(1);
    buf_init_secret(&keys, 1000);
    buf_init(&wrapped, 1000);
    put(1, false, "\r\n");
    int line = keeper_line(ALICE);
    assert_int_equal(kept_as(line, ALICE, &wrapped).wrap, STORE_WRAP_FILE);
    assert_int_equal(ask_as(line, PROXY_KEYS_TAKE, ALICE, NULL, 0, &keys), ERR_OK);
    assert_int_equal(keys.len, STORE_KEYS_SIZE);
    assert_int_equal(ask_as(line, PROXY_KEYS_WRAP, ALICE, handed, 2, NULL), ERR_OK);
    assert_true(kept_as(line, ALICE, &wrapped).is_open);
    assert_int_equal(wrapped.len, 0);
    close(line);
    end_vault(SIGKILL);
    start_vault();
    line = keeper_line(ALICE);
    struct store_kept kept = kept_as(line, ALICE, &wrapped);
    assert_int_equal(kept.wrap, STORE_WRAP_OPENPGP);
    assert_string_equal(kept.holder, "KEY");
    assert_false(kept.is_open);
    assert_string_equal(wrapped.data, "a PGP message");
    assert_int_equal(ask_as(line, PROXY_KEYS_TAKE, ALICE, NULL, 0, NULL), ERR_KEY_LOCKED);
    assert_int_equal(ask_as(line, PROXY_KEYS_WRAP, ALICE, handed, 2, NULL), ERR_KEY_LOCKED);
    const struct span wrong = SPAN_LIT("nonsense"), right = buf_span(&keys);
    assert_int_equal(ask_as(line, PROXY_KEYS_OPEN, ALICE, &wrong, 1, NULL), ERR_STORE);
    /* Nobody is there who would open them. */
    assert_int_equal(proxy_vault_views_get(link_, &key, 1, on_views, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_KEY_LOCKED);
    /* Somebody is: questions wait for it, those of others do not; what nobody waits for waits for as long as it takes.
     */
    const struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7};
    const struct store_place place = {.uid = 5};
    proxy_vaultlink_on_locked(link_, on_locked, &locked);
    assert_int_equal(proxy_vault_places_put(link_, &inbox, &place, 1, NULL, NULL, NULL), ERR_OK);
    assert_int_equal(proxy_vault_views_get(link_, &key, 1, on_views, &got, NULL), ERR_OK);
    run(&locked, 2);
    proxy_vaultlink_unlocked(link_, "bob@example.org", ERR_KEY_LOCKED);
    assert_int_equal(got.times, 1);
    proxy_vaultlink_unlocked(link_, ALICE, ERR_KEY_LOCKED);
    assert_int_equal(got.times, 2);
    assert_int_equal(got.err, ERR_KEY_LOCKED);
    assert_int_equal(proxy_vault_views_get(link_, &key, 1, on_views, &got, NULL), ERR_OK);
    run(&locked, 3);
    assert_int_equal(ask_as(line, PROXY_KEYS_OPEN, ALICE, &right, 1, NULL), ERR_OK);
    proxy_vaultlink_unlocked(link_, ALICE, ERR_OK);
    run(&got.times, 3);
    assert_int_equal(got.err, ERR_OK);
    assert_true(got.is_found[0]);
    assert_int_equal(proxy_vault_places_get(link_, &inbox, on_places, &got, NULL), ERR_OK);
    run(&got.times, 4);
    assert_int_equal(got.len, 1);
    assert_int_equal(got.places[0].uid, 5);
    proxy_vaultlink_on_locked(link_, NULL, NULL);
    close(line);
    buf_fini(&keys);
    buf_fini(&wrapped);
}

/* What ends a keeper's line: another account, what is not a keeper's, what is malformed. A net that asks like a keeper
   is ended, too. */
static void test_keeper_has_its_own_account_only(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    const struct span one = SPAN_LIT("x"), two[] = {SPAN_LIT("KEY"), SPAN_LIT("message")};
    const struct {
        uint16_t type;
        const char *account;
        const struct span *fields;
        size_t len;
    } refused[] = {{PROXY_KEYS_GET, "bob@example.org", NULL, 0},
                   {PROXY_KEYS_TAKE, "bob@example.org", NULL, 0},
                   {PROXY_KEYS_OPEN, "bob@example.org", &one, 1},
                   {PROXY_KEYS_WRAP, "bob@example.org", two, 2},
                   {PROXY_KEYS_TAKE, "", NULL, 0},
                   {PROXY_KEYS_TAKE, "alice@example.orgx", NULL, 0},
                   {PROXY_KEYS_TAKE, ALICE, &one, 1},
                   {PROXY_KEYS_OPEN, ALICE, NULL, 0},
                   {PROXY_KEYS_WRAP, ALICE, &one, 1},
                   {PROXY_STORE_TOTALS, ALICE, NULL, 0},
                   {PROXY_STORE_KEPT, ALICE, NULL, 0},
                   {PROXY_DELIVERY_GET, ALICE, NULL, 0},
                   {PROXY_VAULT_KEEPER, ALICE, NULL, 0}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        int line = keeper_line(ALICE);
        assert_int_equal(ask_as(line, PROXY_KEYS_TAKE, ALICE, NULL, 0, NULL), ERR_OK);
        assert_int_equal(ask_as(line, refused[i].type, refused[i].account, refused[i].fields, refused[i].len, NULL),
                         ERR_END);
        close(line);
    }
    for (uint16_t type = PROXY_KEYS_GET; type <= PROXY_KEYS_WRAP; type++) {
        int ends[2];
        struct ipc_out out;
        assert_int_equal(ipc_pair(false, ends), ERR_OK);
        ipc_out_begin(&out, PROXY_VAULT_CLIENT);
        ipc_put_file(&out, ends[1]);
        assert_int_equal(ipc_send(control, &out), ERR_OK);
        close(ends[1]);
        assert_int_equal(ask_as(ends[0], type, ALICE, NULL, 0, NULL), ERR_END);
        close(ends[0]);
    }
    /* All others are served as before. */
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, key_of(1).digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    assert_int_equal(lost, 0);
}

/* Many keepers come and go, and leave nothing behind. */
static void test_many_keepers(void **state)
{
    (void)state;
    int lines[40];
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 40; i++)
            lines[i] = keeper_line(i % 2 ? ALICE : "bob@example.org");
        for (size_t i = 0; i < 40; i++)
            assert_int_equal(ask_as(lines[i], PROXY_KEYS_TAKE, i % 2 ? ALICE : "bob@example.org", NULL, 0, NULL),
                             ERR_OK);
        for (size_t i = 0; i < 40; i++)
            close(lines[i]);
    }
}

/* Many at once, of which every third is cancelled and every seventh cannot be answered for. */
static void test_many_at_once(void **state)
{
    enum { MANY = 500 };
    (void)state;
    static struct got all[MANY];
    memset(all, 0, sizeof all);
    struct got last = {.times = 0};
    for (unsigned i = 0; i < MANY; i++) {
        struct proxy_vault_request *request =
            begin_put(i - (i % 7 == 6), i % 7 == 6, 3000, "Subject: x\r\n\r\ntext\r\n", &all[i]);
        if (i % 3 == 0)
            proxy_vault_cancel(&request);
        assert_true((request == NULL) == (i % 3 == 0));
    }
    struct store_view_key key = key_of(MANY - 1);
    assert_int_equal(proxy_vault_views_get(link_, &key, 1, on_views, &last, NULL), ERR_OK);
    run(&last.times, 1);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(all[i].times, i % 3 == 0 ? 0 : 1);
        if (i % 3 != 0)
            assert_int_equal(all[i].err, i % 7 == 6 ? ERR_EXISTS : ERR_OK);
    }
    static struct store_view_key keys[MANY];
    for (unsigned i = 0; i < MANY; i++)
        keys[i] = key_of(i);
    assert_int_equal(proxy_vault_views_get(link_, keys, MANY, on_views, &last, NULL), ERR_OK);
    run(&last.times, 2);
    assert_int_equal(last.len, MANY);
    assert_int_equal(lost, 0);
}

/* Answers are bounded: what does not fit is asked for again. */
static void test_answers_are_bounded(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[5];
    for (unsigned i = 0; i < 5; i++) {
        keys[i] = key_of(i);
        (void)begin_put(i, false, (size_t)12 << 20, "\r\n", &got);
    }
    run(&got.times, 5);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(proxy_vault_views_get(link_, keys, 5, on_views, &got, NULL), ERR_OK);
    run(&got.times, 6);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 3);
    assert_int_equal(proxy_vault_views_get(link_, keys + 3, 2, on_views, &got, NULL), ERR_OK);
    run(&got.times, 7);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.records[1], 12 << 20);
}

static void test_a_killed_vault_loses_nothing(void **state)
{
    (void)state;
    static struct got all[60];
    memset(all, 0, sizeof all);
    struct got got = {.times = 0};
    for (unsigned i = 0; i < 60; i++) {
        (void)begin_put(i, false, 100, "\r\n", &all[i]);
        if (i == 30) {
            end_vault(SIGKILL);
            start_vault();
        }
    }
    struct store_view_key keys[60];
    for (unsigned i = 0; i < 60; i++)
        keys[i] = key_of(i);
    assert_int_equal(proxy_vault_views_get(link_, keys, 60, on_views, &got, NULL), ERR_OK);
    run(&got.times, 1);
    /* Those that the first one had not answered went to the next. */
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(all[i].times, 1);
        assert_int_equal(all[i].err, ERR_OK);
    }
    assert_int_equal(got.len, 60);
}

static void test_the_bound_is_kept(void **state)
{
    (void)state;
    static struct got all[100];
    memset(all, 0, sizeof all);
    end_vault(0);
    config.store_max = 1 << 20;
    start_vault();
    for (unsigned i = 0; i < 100; i++)
        (void)begin_put(i, false, 100000, "\r\n", &all[i]);
    run(&all[99].times, 1);
    struct got got = {.times = 0};
    struct store_view_key keys[2] = {key_of(0), key_of(99)};
    /* It is brought about a step at a time, between requests. */
    for (unsigned i = 0; i < 1000 && (got.times == 0 || got.records[0] > 0); i++) {
        assert_int_equal(proxy_vault_views_get(link_, keys, 2, on_views, &got, NULL), ERR_OK);
        run(&got.times, i + 1);
    }
    assert_true(got.is_found[0] && got.is_found[1]);
    assert_int_equal(got.records[0], 0);
    assert_int_equal(got.records[1], 100000);
    const struct mime_text_leaf leaf = {.kind = MIME_TEXT_LARGER, .number = 0};
    struct got found = {.times = 0};
    assert_int_equal(proxy_vault_view_search(link_, keys + 1, 1, &leaf, 1, on_search, &found, NULL), ERR_OK);
    run(&found.times, 1);
    assert_int_equal(found.err, ERR_OK);
    assert_int_equal(proxy_vault_view_search(link_, keys, 1, &leaf, 1, on_search, &found, NULL), ERR_OK);
    run(&found.times, 2);
    assert_int_equal(found.err, ERR_NOT_FOUND);
}

static void send_raw(struct ipc_out *out, enum err expected)
{
    int client[2];
    struct ipc_out give;
    struct ipc_in in;
    assert_int_equal(ipc_pair(false, client), ERR_OK);
    ipc_out_begin(&give, PROXY_VAULT_CLIENT);
    ipc_put_file(&give, client[1]);
    assert_int_equal(ipc_send(control, &give), ERR_OK);
    close(client[1]);
    assert_int_equal(ipc_send(client[0], out), ERR_OK);
    assert_int_equal(ipc_recv(client[0], &in), expected);
    if (expected == ERR_OK)
        ipc_in_fini(&in);
    close(client[0]);
}

/* Whatever makes no sense ends the client that sent it, and nobody else. */
static void test_malformed_requests(void **state)
{
    (void)state;
    struct ipc_out out;
    int fd, other;
    for (unsigned type = 0; type < PROXY_VAULT_DONE + 3; type++) {
        ipc_out_begin(&out, (uint16_t)type);
        send_raw(&out, ERR_END);
        ipc_out_begin(&out, (uint16_t)type);
        for (unsigned i = 0; i < 8; i++)
            ipc_put_u32(&out, i);
        send_raw(&out, ERR_END);
    }
    assert_int_equal(memfd_of("bad", SPAN_LIT("no keys"), 100, &fd), ERR_OK);
    assert_int_equal(memfd_of("bad", SPAN_LIT("no leaves"), 100, &other), ERR_OK);
    ipc_out_begin(&out, PROXY_VIEW_GET);
    ipc_put_string(&out, ALICE);
    ipc_put_file(&out, fd);
    send_raw(&out, ERR_END);
    ipc_out_begin(&out, PROXY_VIEW_SEARCH);
    ipc_put_string(&out, ALICE);
    ipc_put_file(&out, fd);
    ipc_put_file(&out, other);
    send_raw(&out, ERR_END);
    const uint16_t types[] = {PROXY_PLACES_PUT, PROXY_PLACES_FORGET};
    for (size_t i = 0; i < 2; i++) {
        ipc_out_begin(&out, types[i]);
        ipc_put_string(&out, ALICE);
        ipc_put_string(&out, "INBOX");
        ipc_put_u32(&out, 1);
        ipc_put_file(&out, fd);
        send_raw(&out, ERR_END);
    }
    /* A decision that is none. */
    ipc_out_begin(&out, PROXY_VIEW_PUT);
    const struct store_view_key key = key_of(1);
    ipc_put_string(&out, ALICE);
    ipc_put_span(&out, (struct span){(const char *)key.digest, sizeof key.digest});
    ipc_put_u32(&out, 0);
    ipc_put_u64(&out, 0);
    ipc_put_string(&out, "decided");
    ipc_put_string(&out, "k");
    ipc_put_file(&out, fd);
    ipc_put_file(&out, other);
    send_raw(&out, ERR_END);
    close(fd);
    close(other);
    ipc_out_begin(&out, PROXY_STORE_TOTALS);
    ipc_put_string(&out, ALICE);
    send_raw(&out, ERR_OK);
    put(1, false, "\r\n");
    assert_int_equal(lost, 0);
}

static int make_state(void **state)
{
    int result = make_directory(state);
    snprintf(config.state_dir, sizeof config.state_dir, "%s", directory);
    config.store_max = 1 << 30;
    config.log_level = LOG_LEVEL_ERROR;
    return result;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_search, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeper_wraps_and_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeper_has_its_own_account_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_keepers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_killed_vault_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bound_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_requests, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
