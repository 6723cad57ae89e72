/* Whose keys are asked for in the background, and when: one address at a time, after random gaps; net, vault, sources
   and keepers are ours here, and so is the clock. */
#include "base/clock.h"
#include "base/log.h"
#include "proxy/net_internal.h"
#include "proxy/refresh.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1800000000
#define PERIOD_S 86400u
#define GAPS 200

static struct config_account accounts[2];
static struct config config;
static struct proxy_net net;
static struct proxy_refresh *refresh;

/* What it waits for. */
static struct event *timer;
static struct timeval gap;
static proxy_vault_due_fn due_fn;
static proxy_lookup_fn lookup_fn;
static proxy_job_fn job_fn;
static void *waiting;

/* What it has asked. */
static char account_asked[MIME_ADDR_SIZE], address_asked[MIME_ADDR_SIZE];
static size_t account_looked, stage_looked, stages;
static unsigned dues, lookups, jobs, noted;
static int64_t noted_at;

int event_add(struct event *event, const struct timeval *timeout)
{
    assert_null(timer);
    timer = event;
    gap = *timeout;
    return 0;
}

uint32_t config_stage_timeout_ms(const struct config *used, const char *address, size_t stage)
{
    (void)used;
    (void)address;
    return stage < stages ? 1000 : 0;
}

enum err proxy_vault_peer_due(struct proxy_vaultlink *link, const char *account, int64_t now, uint32_t period_s,
                              proxy_vault_due_fn fn, void *context, struct proxy_vault_request **request_out)
{
    (void)link;
    (void)request_out;
    assert_int_equal(now, clock_now());
    assert_int_equal(period_s, PERIOD_S);
    assert_true(due_fn == NULL && lookup_fn == NULL && job_fn == NULL);
    (void)snprintf(account_asked, sizeof(account_asked), "%s", account);
    dues++;
    due_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_vault_cancel(struct proxy_vault_request **request)
{
    *request = NULL;
}

enum err proxy_vault_peer_refreshed(struct proxy_vaultlink *link, const char *account, const char *address, int64_t at)
{
    (void)link;
    assert_string_equal(account, account_asked);
    assert_string_equal(address, "erin@example.net");
    noted++;
    noted_at = at;
    return ERR_OK;
}

enum err proxy_lookup_refresh(struct proxy_lookups *all, size_t account, const char *address, const char *fingerprint,
                              size_t stage, proxy_lookup_fn fn, void *context, struct proxy_lookup **lookup_out)
{
    (void)all;
    (void)lookup_out;
    assert_string_equal(fingerprint, "AA");
    assert_true(due_fn == NULL && lookup_fn == NULL && job_fn == NULL);
    (void)snprintf(address_asked, sizeof(address_asked), "%s", address);
    account_looked = account;
    stage_looked = stage;
    lookups++;
    lookup_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_lookup_cancel(struct proxy_lookup **lookup)
{
    *lookup = NULL;
}

enum err proxy_pool_submit(struct proxy_pool *pool, size_t account, struct ipc_out *request, proxy_job_fn fn,
                           void *context, struct proxy_job **job_out)
{
    (void)pool;
    (void)job_out;
    assert_int_equal(account, account_looked);
    assert_true(due_fn == NULL && lookup_fn == NULL && job_fn == NULL);
    ipc_out_fini(request);
    jobs++;
    job_fn = fn;
    waiting = context;
    return ERR_OK;
}

void proxy_pool_cancel(struct proxy_job **job)
{
    *job = NULL;
}

/* ---- */

/* The gap is over. */
static void wake(void)
{
    struct event *event = timer;
    assert_non_null(event);
    timer = NULL;
    event_active(event, EV_TIMEOUT, 0);
    assert_int_equal(event_base_loop(net.base, EVLOOP_NONBLOCK), 1);
}

/* The vault's word. `due`: 0, nobody's keys are in use. */
static void say_due(int64_t due, uint32_t used, const char *certificate)
{
    struct proxy_peer_due answer = {.used = used, .due = due, .address = "erin@example.net", .fingerprint = "AA"};
    const proxy_vault_due_fn fn = due_fn;
    (void)snprintf(answer.certificate, sizeof(answer.certificate), "%s", certificate);
    assert_non_null(fn);
    due_fn = NULL;
    fn(ERR_OK, &answer, waiting);
}

static void say_looked(enum err err)
{
    const proxy_lookup_fn fn = lookup_fn;
    assert_non_null(fn);
    lookup_fn = NULL;
    fn(err, waiting);
}

static void say_issuers(enum err err)
{
    const proxy_job_fn fn = job_fn;
    assert_non_null(fn);
    job_fn = NULL;
    fn(err, NULL, waiting);
}

static int begin(void **state)
{
    (void)state;
    clock_fix(NOW);
    timer = NULL;
    due_fn = NULL;
    lookup_fn = NULL;
    job_fn = NULL;
    dues = lookups = jobs = noted = 0;
    stages = 1;
    config = (struct config){.accounts = accounts, .accounts_len = 2, .sources_len = 1, .refresh_s = PERIOD_S};
    for (size_t i = 0; i < 2; i++) {
        accounts[i].revocation = KEYRING_REVOCATION_OFF;
        (void)snprintf(accounts[i].address, sizeof(accounts[i].address), "%s",
                       i == 0 ? "alice@example.org" : "bob@example.org");
    }
    net = (struct proxy_net){.config = &config, .base = event_base_new()};
    assert_int_equal(proxy_refresh_new(&net, &refresh), ERR_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    proxy_refresh_free(&refresh);
    event_base_free(net.base);
    return 0;
}

static int64_t gap_ms(void)
{
    return (int64_t)gap.tv_sec * 1000 + gap.tv_usec / 1000;
}

static void never_asks_nothing(void **state)
{
    struct proxy_refresh *none;
    (void)state;
    timer = NULL;
    config.refresh_s = 0;
    assert_int_equal(proxy_refresh_new(&net, &none), ERR_OK);
    assert_null(timer);
    proxy_refresh_free(&none);
}

/* After a start, too: nothing is asked before the first gap. Of two addresses nobody can tell who asked for both by
   when they were asked for. */
static void gaps_are_random(void **state)
{
    int64_t shortest = INT64_MAX, longest = 0;
    const int64_t mean = (int64_t)PERIOD_S * 1000 / 101;
    (void)state;
    assert_int_equal(dues, 0);
    for (int i = 0; i < GAPS; i++) {
        wake();
        say_due(NOW + 1, i % 2 == 0 ? 60 : 40, "");
        if (i < 2)
            continue;
        assert_in_range(gap_ms(), mean / 2 - 1, mean * 3 / 2 + 1);
        shortest = gap_ms() < shortest ? gap_ms() : shortest;
        longest = gap_ms() > longest ? gap_ms() : longest;
    }
    assert_true(longest - shortest > mean / 2);
    assert_int_equal(lookups, 0);
    /* Whoever has few correspondents, and a machine that runs for some hours, gets round; and many are no flood. */
    wake();
    say_due(NOW + 1, 0, "");
    wake();
    say_due(NOW + 1, 0, "");
    assert_true(gap_ms() <= 3600000 * 3 / 2);
    wake();
    say_due(NOW + 1, UINT32_MAX, "");
    assert_true(gap_ms() >= 250);
}

static void one_at_a_time_stage_by_stage(void **state)
{
    (void)state;
    stages = 3;
    wake();
    assert_null(timer);
    say_due(NOW, 1, "");
    for (size_t i = 0; i < stages; i++) {
        assert_null(timer);
        assert_int_equal(stage_looked, i);
        say_looked(ERR_OK);
    }
    assert_int_equal(lookups, 3);
    assert_int_equal(noted, 1);
    assert_int_equal(noted_at, NOW);
    /* The next address has a gap before it. */
    assert_int_equal(dues, 1);
    assert_non_null(timer);
}

static void accounts_take_turns(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        wake();
        assert_string_equal(account_asked, accounts[i % 2].address);
        say_due(NOW, 1, "");
        assert_int_equal(account_looked, i % 2);
        say_looked(ERR_OK);
        assert_int_equal(noted, i + 1);
    }
}

/* What could not be asked is not lost, and not asked again at once either. */
static void failure_is_for_later(void **state)
{
    (void)state;
    stages = 2;
    wake();
    say_due(NOW, 1, "");
    say_looked(ERR_LOOKUP);
    assert_int_equal(stage_looked, 1);
    say_looked(ERR_OK);
    assert_int_equal(lookups, 2);
    assert_int_equal(noted_at, NOW - PERIOD_S / 2);
    /* It says nothing of the next. */
    wake();
    say_due(NOW, 1, "");
    say_looked(ERR_OK);
    say_looked(ERR_OK);
    assert_int_equal(noted_at, NOW);
}

static void who_is_not_due_waits(void **state)
{
    (void)state;
    wake();
    say_due(NOW + 1, 1, "");
    wake();
    say_due(0, 0, "");
    assert_int_equal(lookups + noted, 0);
    net.is_draining = true;
    wake();
    say_due(NOW, 1, "");
    assert_int_equal(lookups + noted, 0);
}

/* An address that nobody is asked about costs no gap, but does not keep the vault busy without end. */
static void nobody_to_ask(void **state)
{
    (void)state;
    stages = 0;
    wake();
    while (timer == NULL)
        say_due(NOW, 1, "BB");
    assert_int_equal(lookups + jobs, 0);
    assert_int_equal(dues, noted);
    assert_in_range(dues, 2, 200);
}

static void issuers_are_asked(void **state)
{
    static const struct {
        enum err err;
        bool is_failure;
    } rows[] = {{ERR_OK, false}, {ERR_REVOKED, false}, {ERR_LOOKUP, true}};
    (void)state;
    accounts[0].revocation = accounts[1].revocation = KEYRING_REVOCATION_SOFT;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        wake();
        say_due(NOW, 1, "BB");
        say_looked(ERR_OK);
        assert_null(timer);
        assert_int_equal(jobs, i + 1);
        say_issuers(rows[i].err);
        assert_int_equal(noted_at, rows[i].is_failure ? NOW - PERIOD_S / 2 : NOW);
        assert_non_null(timer);
    }
    /* Not where there is no certificate. */
    wake();
    say_due(NOW, 1, "");
    say_looked(ERR_OK);
    assert_int_equal(jobs, 3);
    assert_non_null(timer);
}

#define TEST(F) cmocka_unit_test_setup_teardown(F, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(never_asks_nothing),  TEST(gaps_are_random),      TEST(one_at_a_time_stage_by_stage),
        TEST(accounts_take_turns), TEST(failure_is_for_later), TEST(who_is_not_due_waits),
        TEST(nobody_to_ask),       TEST(issuers_are_asked)};
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
