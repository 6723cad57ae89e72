/* Keys that are looked for while a recipient waits: what is asked, what becomes of each answer, and for how long it is
   remembered; finder, keepers, vault and configuration are ours here, and so is the clock. */
#include "proxy/lookup.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "keyring/learn.h"
#include "proxy/source.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW INT64_C(1800000000)
#define KEEP_S 100u
#define TIMEOUT_MS 5000u
#define ERIN "erin@example.net"
#define FRANK "frank@example.net"

#define ALICE "alice@example.org"

static struct config_account accounts[2] = {{.address = ALICE}, {.address = "bob@example.org"}};
static struct config config = {.accounts = accounts, .accounts_len = 2, .has_autocrypt = true};
static struct proxy_lookups *lookups;

/* What is waited for, and what was asked. */
static proxy_finder_fn finder_fn;
static proxy_job_fn job_fn;
static proxy_vault_done_fn hear_fn;
static proxy_vault_peer_fn record_fn;
static void *waiting;
static uint32_t asked_ms;
static enum err hear_err;

/* What came of it. */
static enum err said;
static unsigned fired;

uint32_t config_stage_timeout_ms(const struct config *used, const char *address, size_t stage)
{
    (void)used;
    (void)address;
    return stage < 2 ? TIMEOUT_MS : 0;
}

uint32_t config_stage_keep_s(const struct config *used, const char *address, size_t stage)
{
    (void)used;
    (void)address;
    return stage == 0 ? KEEP_S : 2 * KEEP_S;
}

size_t proxy_source_tellers(const struct config *used, const char *address, size_t stage,
                            struct keyring_teller *tellers)
{
    (void)used;
    (void)address;
    (void)stage;
    tellers[0] = (struct keyring_teller){.source = KEYRING_SOURCE_WKD, .is_believed = true, .seconds = KEEP_S};
    return 1;
}

enum err proxy_finder_find(struct proxy_finderlink *link, const char *address, size_t stage, const char *fingerprint,
                           uint32_t timeout_ms, proxy_finder_fn fn, void *context,
                           struct proxy_finder_request **request_out)
{
    (void)link;
    (void)address;
    (void)stage;
    (void)fingerprint;
    (void)request_out;
    asked_ms = timeout_ms;
    finder_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_finder_cancel(struct proxy_finder_request **request)
{
    *request = NULL;
}

enum err proxy_pool_submit(struct proxy_pool *pool, size_t account, struct ipc_out *request, proxy_job_fn fn,
                           void *context, struct proxy_job **job_out)
{
    (void)pool;
    (void)account;
    (void)job_out;
    ipc_out_fini(request);
    job_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_pool_cancel(struct proxy_job **job)
{
    *job = NULL;
}

enum err proxy_vault_peer_get(struct proxy_vaultlink *link, const char *account, const char *address,
                              proxy_vault_peer_fn fn, void *context, struct proxy_vault_request **request_out)
{
    (void)link;
    (void)request_out;
    assert_string_equal(account, ALICE);
    assert_string_equal(address, ERIN);
    record_fn = fn;
    waiting = context;
    return ERR_OK;
}

enum err proxy_vault_peer_hear(struct proxy_vaultlink *link, const char *account, struct span words,
                               proxy_vault_done_fn fn, void *context, struct proxy_vault_request **request_out)
{
    (void)link;
    (void)request_out;
    assert_string_equal(account, ALICE);
    assert_true(span_is_equal(words, SPAN_LIT("words")));
    if (hear_err != ERR_OK)
        return hear_err;
    hear_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_vault_cancel(struct proxy_vault_request **request)
{
    *request = NULL;
}

/* ---- */

static void on_done(enum err err, void *context)
{
    (void)context;
    said = err;
    fired++;
}

static void ask(size_t account, const char *address, size_t stage, bool is_again, uint32_t most_ms)
{
    struct proxy_lookup *lookup;
    fired = 0;
    job_fn = NULL;
    assert_int_equal(proxy_lookup_begin(lookups, account, address, stage, is_again, most_ms, on_done, NULL, &lookup),
                     ERR_OK);
}

static void answer(uint32_t seconds, uint32_t pieces, bool is_partial)
{
    int file;
    assert_int_equal(memfd_of("found", SPAN_LIT("found"), 100, &file), ERR_OK);
    const struct proxy_finder_answer found = {seconds, pieces, is_partial, file};
    finder_fn(ERR_OK, &found, waiting);
    close(file);
}

/* The keeper's word: `err`, or that one was kept and these words come of it. */
static void learnt(enum err err, const char *words)
{
    struct ipc_out out;
    struct ipc_in in;
    int sockets[2];
    const proxy_job_fn fn = job_fn;
    assert_non_null(fn);
    job_fn = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, 1);
    ipc_put_span(&out, span_of(words));
    assert_int_equal(ipc_send(sockets[0], &out), ERR_OK);
    assert_int_equal(ipc_recv(sockets[1], &in), ERR_OK);
    fn(err, err == ERR_OK ? &in : NULL, waiting);
    ipc_in_fini(&in);
    close(sockets[0]);
    close(sockets[1]);
}

static bool is_due(size_t account, const char *address, size_t stage)
{
    size_t first = stage;
    return proxy_lookup_is_due(lookups, account, address, &first) && first == stage;
}

static int begin(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    hear_err = ERR_OK;
    clock_fix(NOW);
    assert_int_equal(proxy_lookups_new(&config, NULL, NULL, NULL, &lookups), ERR_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    proxy_lookups_free(&lookups);
    return 0;
}

/* For as long as it counts, and no longer than the configuration says; nobody else's is changed by it. */
static void how_long_an_answer_is_remembered(void **state)
{
    size_t stage = 0;
    char other[MIME_ADDR_SIZE];
    (void)state;
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(1000000, 0, false);
    /* Some of them share her bucket. */
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(other, sizeof(other), "person%u@example.net", i);
        assert_true(is_due(0, other, 0));
    }
    assert_int_equal(said, ERR_OK);
    assert_false(is_due(0, ERIN, 0));
    assert_true(is_due(1, ERIN, 0) && is_due(0, FRANK, 0) && is_due(0, ERIN, 1));
    assert_true(proxy_lookup_is_due(lookups, 0, ERIN, &stage));
    assert_int_equal(stage, 1);
    clock_fix(NOW + KEEP_S - 1);
    assert_false(is_due(0, ERIN, 0));
    clock_fix(NOW + KEEP_S);
    assert_true(is_due(0, ERIN, 0));

    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S / 2, 0, false);
    assert_false(is_due(0, ERIN, 0));
    clock_fix(NOW + KEEP_S + KEEP_S / 2);
    assert_true(is_due(0, ERIN, 0));
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(0, 0, false);
    assert_true(is_due(0, ERIN, 0));
    /* A clock that was set back brings no answer back to life. */
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 0, false);
    clock_fix(NOW - 1000);
    assert_true(is_due(0, ERIN, 0));
}

/* Whoever writes to many does not fill the memory: the oldest goes. */
static void how_many_answers_are_remembered(void **state)
{
    const struct proxy_finder_answer nothing = {.seconds = KEEP_S, .file = -1};
    char address[MIME_ADDR_SIZE];
    (void)state;
    for (unsigned i = 0; i <= 20000; i++) {
        (void)snprintf(address, sizeof(address), "person%u@example.net", i);
        ask(0, address, 0, false, UINT32_MAX);
        finder_fn(ERR_OK, &nothing, waiting);
    }
    assert_true(is_due(0, "person0@example.net", 0));
    assert_false(is_due(0, "person1@example.net", 0) || is_due(0, address, 0));
}

/* What was asked of a key that is in use says nothing of whoever looks for another. */
static void a_refresh_is_not_remembered(void **state)
{
    struct proxy_lookup *lookup;
    (void)state;
    assert_int_equal(proxy_lookup_refresh(lookups, 0, ERIN, "", 0, on_done, NULL, &lookup), ERR_OK);
    answer(KEEP_S, 1, false);
    learnt(ERR_OK, "");
    assert_int_equal(said, ERR_OK);
    assert_true(is_due(0, ERIN, 0));
}

static void who_could_not_be_asked_has_not_said_no(void **state)
{
    (void)state;
    ask(0, ERIN, 0, false, UINT32_MAX);
    finder_fn(ERR_TIMEOUT, NULL, waiting);
    assert_true(fired == 1 && said == ERR_LOOKUP && is_due(0, ERIN, 0));
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 0, true);
    assert_true(fired == 1 && said == ERR_LOOKUP && is_due(0, ERIN, 0));
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 1, true);
    learnt(ERR_OK, "");
    assert_true(fired == 1 && said == ERR_LOOKUP && is_due(0, ERIN, 0));
    ask(0, ERIN, 0, false, UINT32_MAX);
    assert_int_equal(asked_ms, TIMEOUT_MS + 1000);
    answer(KEEP_S, 0, false);
    ask(0, ERIN, 0, false, 300);
    assert_int_equal(asked_ms, 300);
    answer(KEEP_S, 0, false);
}

/* Where something is there by a source's word, that it has nothing any more is learnt, too. */
static void what_is_taken_back_is_learnt(void **state)
{
    (void)state;
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 0, false);
    assert_true(fired == 1 && job_fn == NULL);
    ask(0, ERIN, 0, true, UINT32_MAX);
    answer(KEEP_S, 0, false);
    assert_true(fired == 0 && job_fn != NULL);
    learnt(ERR_OK, "words");
    assert_true(fired == 0);
    hear_fn(ERR_OK, waiting);
    assert_true(fired == 1 && said == ERR_OK && !is_due(0, ERIN, 0));
}

/* Junk is its source's failure; what we cannot keep is ours, which nobody may take for "there is no key". */
static void whose_failure_it_is(void **state)
{
    static const struct {
        enum err keeper, told;
    } cases[] = {{ERR_MALFORMED, ERR_LOOKUP},
                 {ERR_MEMORY, ERR_MEMORY},
                 {ERR_DISK_FULL, ERR_DISK_FULL},
                 {ERR_LOOKUP, ERR_WORKER},
                 {ERR_PEER_PROTOCOL, ERR_PEER_PROTOCOL}};
    (void)state;
    assert_true(keyring_learn_is_junk(ERR_MALFORMED));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ask(0, ERIN, 0, false, UINT32_MAX);
        answer(KEEP_S, 1, false);
        learnt(cases[i].keeper, "");
        assert_true(fired == 1 && said != ERR_OK && err_is_temporary(said));
        assert_int_equal(said == ERR_LOOKUP, cases[i].told == ERR_LOOKUP);
        if (err_is_temporary(cases[i].told))
            assert_int_equal(said, cases[i].told);
        assert_true(is_due(0, ERIN, 0));
    }
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 1, false);
    learnt(ERR_OK, "words");
    hear_fn(ERR_STORE, waiting);
    assert_true(fired == 1 && said != ERR_OK && said != ERR_LOOKUP && is_due(0, ERIN, 0));
    hear_err = ERR_MEMORY;
    ask(0, ERIN, 0, false, UINT32_MAX);
    answer(KEEP_S, 1, false);
    learnt(ERR_OK, "words");
    assert_true(fired == 1 && said == ERR_MEMORY && is_due(0, ERIN, 0));
}

static void look_at_record(struct proxy_heard *heard, enum err err, const struct keyring_peer *peer)
{
    struct keyring *keyring;
    struct proxy_lookup *lookup;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    fired = 0;
    job_fn = NULL;
    assert_int_equal(proxy_lookup_heard(lookups, 0, ERIN, keyring, heard, on_done, NULL, &lookup), ERR_OK);
    keyring_free(&keyring);
    record_fn(err, peer, waiting);
}

/* It is settled when it says the same as before the ring was looked at; junk in it holds nothing up, and that it cannot
   be read does. */
static void what_the_record_says(void **state)
{
    struct proxy_heard heard = {.is_read = false};
    struct keyring_peer peer;
    (void)state;
    look_at_record(&heard, ERR_NOT_FOUND, NULL);
    assert_true(fired == 1 && said == ERR_OK && heard.is_settled);
    heard = (struct proxy_heard){.is_read = false};
    look_at_record(&heard, ERR_DAMAGED, NULL);
    assert_true(fired == 1 && said != ERR_OK && said != ERR_LOOKUP && !heard.is_settled && !heard.is_read);
    keyring_peer_init(&peer, ERIN);
    peer.received = 1;
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 1 && said == ERR_OK && heard.is_settled && job_fn == NULL);

    memset(peer.autocrypt.fingerprint, 'A', 40);
    assert_int_equal(buf_add_string(&peer.autocrypt.key, "a key"), ERR_OK);
    heard = (struct proxy_heard){.is_read = false};
    config.has_autocrypt = false;
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 1 && said == ERR_OK && heard.is_read && job_fn == NULL);
    config.has_autocrypt = true;
    heard = (struct proxy_heard){.is_read = false};
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 0 && !heard.is_settled && job_fn != NULL);
    learnt(ERR_MALFORMED, "");
    assert_true(fired == 1 && said == ERR_OK);
    peer.received = 2;
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 0 && !heard.is_settled);
    learnt(ERR_OK, "");
    memset(peer.autocrypt.fingerprint, 'B', 40);
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 0 && !heard.is_settled);
    learnt(ERR_OK, "");
    memset(peer.autocrypt.gossip_fingerprint, 'C', 40);
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 0 && !heard.is_settled);
    learnt(ERR_MEMORY, "");
    assert_true(fired == 1 && said == ERR_MEMORY);
    look_at_record(&heard, ERR_OK, &peer);
    assert_true(fired == 1 && said == ERR_OK && heard.is_settled && job_fn == NULL);
    keyring_peer_fini(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(how_long_an_answer_is_remembered, begin, end),
        cmocka_unit_test_setup_teardown(how_many_answers_are_remembered, begin, end),
        cmocka_unit_test_setup_teardown(a_refresh_is_not_remembered, begin, end),
        cmocka_unit_test_setup_teardown(who_could_not_be_asked_has_not_said_no, begin, end),
        cmocka_unit_test_setup_teardown(what_is_taken_back_is_learnt, begin, end),
        cmocka_unit_test_setup_teardown(whose_failure_it_is, begin, end),
        cmocka_unit_test_setup_teardown(what_the_record_says, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
