#include "base/clock.h"
#include "proxy/pool.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define JOB_TIMEOUT_MS 50

struct world {
    struct event_base *base;
    struct config config;
    struct config_account accounts[2];
    struct proxy_pool *pool;
    int own, master; /* the pool's end of the line to the master, and the master's */
};

struct outcome {
    unsigned times;
    enum err err;
    uint32_t number; /* out of the answer */
    unsigned place;  /* in the order of ends */
};

static unsigned ends_seen;

static void on_end(enum err err, struct ipc_in *answer, void *context)
{
    struct outcome *outcome = context;
    outcome->times++;
    outcome->err = err;
    outcome->place = ++ends_seen;
    if (err == ERR_OK)
        outcome->number = ipc_get_u32(answer);
    else
        assert_null(answer);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    int ends[2];
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    world->base = event_base_new();
    snprintf(world->accounts[0].address, sizeof(world->accounts[0].address), "alice@example.org");
    snprintf(world->accounts[1].address, sizeof(world->accounts[1].address), "bob@example.net");
    world->config.accounts = world->accounts;
    world->config.accounts_len = 2;
    world->config.keepers_max = 2;
    world->config.job_timeout_ms = JOB_TIMEOUT_MS;
    world->own = ends[0];
    world->master = ends[1];
    assert_int_equal(proxy_pool_new(world->base, &world->config, ends[0], &world->pool), ERR_OK);
    ends_seen = 0;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    proxy_pool_free(&world->pool);
    close(world->own);
    close(world->master);
    event_base_free(world->base);
    free(world);
    return 0;
}

static void turn(struct world *world)
{
    for (int i = 0; i < 5; i++)
        event_base_loop(world->base, EVLOOP_NONBLOCK);
}

static void turn_for(struct world *world, uint64_t ms)
{
    const struct timespec pause = {0, 1000000};
    for (uint64_t end = clock_monotonic_ms() + ms; clock_monotonic_ms() < end;) {
        turn(world);
        nanosleep(&pause, NULL);
    }
}

static struct proxy_job *submit_type(struct world *world, uint16_t type, size_t account, struct outcome *outcome)
{
    struct ipc_out out;
    struct proxy_job *job = NULL;
    ipc_out_begin(&out, type);
    assert_int_equal(proxy_pool_submit(world->pool, account, &out, on_end, outcome, &job), ERR_OK);
    return job;
}

static struct proxy_job *submit(struct world *world, size_t account, struct outcome *outcome)
{
    return submit_type(world, PROXY_JOB_LIST, account, outcome);
}

static bool has_message(int socket)
{
    char byte;
    return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* What the pool asked of the master; 0 if nothing. `number` is the account or the process. */
static uint16_t asked(struct world *world, uint32_t *number)
{
    struct ipc_in in;
    if (!has_message(world->master))
        return 0;
    assert_int_equal(ipc_recv(world->master, &in), ERR_OK);
    uint16_t type = ipc_type(&in);
    *number = ipc_get_u32(&in);
    ipc_in_fini(&in);
    return type;
}

static void expect_need(struct world *world, uint32_t account)
{
    uint32_t number = 99;
    assert_int_equal(asked(world, &number), PROXY_MASTER_NEED_KEEPER);
    assert_int_equal(number, account);
}

static void expect_silence(struct world *world)
{
    uint32_t number;
    assert_int_equal(asked(world, &number), 0);
}

/* Hands the pool a keeper and gives the keeper's end. */
static int give_keeper(struct world *world, size_t account, uint32_t pid)
{
    int ends[2];
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    proxy_pool_keeper(world->pool, account, pid, ends[0]);
    turn(world);
    return ends[1];
}

static void take_type(int keeper, uint16_t type)
{
    struct ipc_in in;
    assert_true(has_message(keeper));
    assert_int_equal(ipc_recv(keeper, &in), ERR_OK);
    assert_int_equal(ipc_type(&in), type);
    ipc_in_fini(&in);
}

static void take_job(int keeper)
{
    take_type(keeper, PROXY_JOB_LIST);
}

static void finish_job(struct world *world, int keeper, enum err err, uint32_t number)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, (uint32_t)err);
    if (err == ERR_OK)
        ipc_put_u32(&out, number);
    assert_int_equal(ipc_send(keeper, &out), ERR_OK);
    turn(world);
}

static void test_job_done(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    submit(world, 0, &outcome);
    turn(world);
    expect_need(world, 0);
    expect_silence(world);
    int keeper = give_keeper(world, 0, 100);
    take_job(keeper);
    finish_job(world, keeper, ERR_OK, 7);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.err, ERR_OK);
    assert_int_equal(outcome.number, 7);
    /* The same keeper takes the next one, and a job's own failure is no failure of the keeper. */
    submit(world, 0, &outcome);
    turn(world);
    expect_silence(world);
    take_job(keeper);
    finish_job(world, keeper, ERR_NO_KEY, 0);
    assert_int_equal(outcome.times, 2);
    assert_int_equal(outcome.err, ERR_NO_KEY);
    close(keeper);
}

static void test_order(void **state)
{
    struct world *world = *state;
    struct outcome outcomes[3] = {0};
    for (int i = 0; i < 3; i++)
        submit(world, 0, &outcomes[i]);
    turn(world);
    int keeper = give_keeper(world, 0, 100);
    for (int i = 0; i < 3; i++) {
        take_job(keeper);
        assert_false(has_message(keeper));
        finish_job(world, keeper, ERR_OK, 0);
        assert_int_equal(outcomes[i].place, i + 1);
    }
    close(keeper);
}

/* A job never goes to the keeper of another account. */
static void test_accounts_apart(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    int other = give_keeper(world, 1, 101);
    submit(world, 0, &outcome);
    turn(world);
    assert_false(has_message(other));
    expect_need(world, 0);
    int own = give_keeper(world, 0, 100);
    assert_false(has_message(other));
    take_job(own);
    close(own);
    close(other);
}

static void test_bound_of_busy(void **state)
{
    struct world *world = *state;
    struct outcome outcomes[3] = {0};
    int keepers[2];
    submit(world, 0, &outcomes[0]);
    submit(world, 1, &outcomes[1]);
    submit(world, 1, &outcomes[2]);
    turn(world);
    keepers[0] = give_keeper(world, 0, 100);
    keepers[1] = give_keeper(world, 1, 101);
    int third = give_keeper(world, 1, 102);
    take_job(keepers[0]);
    take_job(keepers[1]);
    assert_false(has_message(third));
    finish_job(world, keepers[0], ERR_OK, 0);
    take_job(third);
    close(third);
    close(keepers[0]);
    close(keepers[1]);
}

static void test_death_fails_one_job(void **state)
{
    struct world *world = *state;
    struct outcome first = {0}, second = {0};
    submit(world, 0, &first);
    submit(world, 0, &second);
    turn(world);
    expect_need(world, 0);
    int keeper = give_keeper(world, 0, 100);
    take_job(keeper);
    uint32_t number;
    (void)asked(world, &number); /* a second one, for the second job */
    close(keeper);
    turn(world);
    assert_int_equal(first.times, 1);
    assert_int_equal(first.err, ERR_WORKER);
    assert_int_equal(second.times, 0);
    keeper = give_keeper(world, 0, 101);
    take_job(keeper);
    finish_job(world, keeper, ERR_OK, 1);
    assert_int_equal(second.err, ERR_OK);
    assert_int_equal(first.times, 1);
    close(keeper);
}

/* Keepers that end before they have taken anything: what waits fails, rather than waiting for ever. */
static void test_stillborn_keepers(void **state)
{
    struct world *world = *state;
    struct outcome outcomes[3] = {0};
    int ends[2];
    for (int i = 0; i < 3; i++)
        submit(world, 0, &outcomes[i]);
    turn(world);
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    close(ends[1]);
    proxy_pool_keeper(world->pool, 0, 100, ends[0]);
    turn(world);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(outcomes[i].times, 1);
        assert_int_equal(outcomes[i].err, ERR_WORKER);
    }
}

static void test_time_out_ends_the_keeper(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    uint32_t number = 0;
    submit(world, 0, &outcome);
    turn(world);
    expect_need(world, 0);
    int keeper = give_keeper(world, 0, 100);
    take_job(keeper);
    turn_for(world, JOB_TIMEOUT_MS * 2);
    assert_int_equal(outcome.times, 1);
    assert_int_equal(outcome.err, ERR_WORKER);
    assert_int_equal(asked(world, &number), PROXY_MASTER_KILL_KEEPER);
    assert_int_equal(number, 100);
    close(keeper);
}

/* The master is slow: what it must hear is said later. */
static void test_full_master_socket(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    uint32_t number = 0;
    bool is_killed = false;
    int keeper = give_keeper(world, 0, 100);
    submit(world, 0, &outcome);
    turn(world);
    take_job(keeper);
    enum err err = ERR_OK;
    while (err == ERR_OK) {
        struct ipc_out out;
        ipc_out_begin(&out, PROXY_MASTER_READY);
        ipc_put_u32(&out, 0);
        err = ipc_send(world->own, &out);
    }
    assert_int_equal(err, ERR_AGAIN);
    turn_for(world, JOB_TIMEOUT_MS * 2);
    assert_int_equal(outcome.err, ERR_WORKER);
    while (asked(world, &number) != 0)
        assert_int_not_equal(number, 100);
    turn_for(world, 300);
    while (!is_killed && has_message(world->master))
        is_killed = asked(world, &number) == PROXY_MASTER_KILL_KEEPER && number == 100;
    assert_true(is_killed);
    close(keeper);
}

static void test_cancel(void **state)
{
    struct world *world = *state;
    struct outcome waiting = {0}, begun = {0}, next = {0};
    struct proxy_job *first = submit(world, 0, &begun);
    struct proxy_job *second = submit(world, 0, &waiting);
    turn(world);
    int keeper = give_keeper(world, 0, 100);
    take_job(keeper);
    proxy_pool_cancel(&first);
    proxy_pool_cancel(&second);
    assert_null(first);
    submit(world, 0, &next);
    finish_job(world, keeper, ERR_OK, 1);
    /* The answer to the job that had begun is not taken for another's. */
    take_job(keeper);
    finish_job(world, keeper, ERR_OK, 2);
    assert_int_equal(begun.times, 0);
    assert_int_equal(waiting.times, 0);
    assert_int_equal(next.number, 2);
    close(keeper);
}

static void test_no_keeper(void **state)
{
    struct world *world = *state;
    struct outcome alice = {0}, bob = {0};
    submit(world, 0, &alice);
    submit(world, 1, &bob);
    turn(world);
    proxy_pool_no_keeper(world->pool, 0);
    proxy_pool_no_keeper(world->pool, 99);
    assert_int_equal(alice.times, 1);
    assert_int_equal(alice.err, ERR_WORKER);
    assert_int_equal(bob.times, 0);
}

static void test_what_nobody_asked(void **state)
{
    struct world *world = *state;
    uint32_t number = 0;
    int keeper = give_keeper(world, 0, 100);
    finish_job(world, keeper, ERR_OK, 1);
    assert_int_equal(asked(world, &number), PROXY_MASTER_KILL_KEEPER);
    close(keeper);
    keeper = give_keeper(world, 0, 101);
    struct outcome outcome = {0};
    submit(world, 0, &outcome);
    turn(world);
    take_job(keeper);
    finish_job(world, keeper, ERR_COUNT, 0);
    assert_int_equal(asked(world, &number), PROXY_MASTER_KILL_KEEPER);
    assert_int_equal(number, 101);
    assert_int_equal(outcome.err, ERR_WORKER);
    close(keeper);
}

/* Many messages to open, then one to send: it overtakes them, and finds a place that they leave free. */
static void test_opening_does_not_hold_up_the_rest(void **state)
{
    struct world *world = *state;
    struct outcome opens[4] = {0}, sealed = {0}, sealed_too = {0};
    int keepers[3];
    for (int i = 0; i < 4; i++)
        submit_type(world, PROXY_JOB_OPEN, 0, &opens[i]);
    for (size_t i = 0; i < 3; i++)
        keepers[i] = give_keeper(world, 0, 100 + (uint32_t)i);
    take_type(keepers[0], PROXY_JOB_OPEN);
    assert_false(has_message(keepers[1]) || has_message(keepers[2]));
    submit_type(world, PROXY_JOB_SEAL, 0, &sealed);
    submit_type(world, PROXY_JOB_OWN, 0, &sealed_too);
    turn(world);
    take_type(keepers[1], PROXY_JOB_SEAL);
    finish_job(world, keepers[0], ERR_OK, 0);
    take_type(keepers[0], PROXY_JOB_OWN);
    assert_false(has_message(keepers[2]));
    finish_job(world, keepers[0], ERR_OK, 0);
    take_type(keepers[0], PROXY_JOB_OPEN);
    finish_job(world, keepers[1], ERR_OK, 0);
    assert_false(has_message(keepers[1]) || has_message(keepers[2]));
    for (size_t i = 0; i < 3; i++)
        close(keepers[i]);
}

/* A single place is not kept free for ever. */
static void test_opening_with_one_place(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    world->config.keepers_max = 1;
    submit_type(world, PROXY_JOB_OPEN, 0, &outcome);
    turn(world);
    expect_need(world, 0);
    int keeper = give_keeper(world, 0, 100);
    take_type(keeper, PROXY_JOB_OPEN);
    close(keeper);
}

/* It waits for a person: as long as that takes, and in nobody's place. */
static void test_unlocking_takes_no_place_and_no_time(void **state)
{
    struct world *world = *state;
    struct outcome unlocked = {0}, others[2] = {0};
    int keepers[3];
    submit_type(world, PROXY_JOB_UNLOCK, 0, &unlocked);
    turn(world);
    expect_need(world, 0);
    keepers[0] = give_keeper(world, 0, 100);
    take_type(keepers[0], PROXY_JOB_UNLOCK);
    turn_for(world, JOB_TIMEOUT_MS * 2);
    assert_int_equal(unlocked.times, 0);
    for (size_t i = 0; i < 2; i++) {
        submit(world, 0, &others[i]);
        turn(world);
        expect_need(world, 0);
        keepers[i + 1] = give_keeper(world, 0, 101 + (uint32_t)i);
        take_job(keepers[i + 1]);
    }
    finish_job(world, keepers[0], ERR_OK, 5);
    assert_int_equal(unlocked.times, 1);
    assert_int_equal(unlocked.number, 5);
    /* And it begins, whoever else is busy. */
    submit_type(world, PROXY_JOB_UNLOCK, 0, &unlocked);
    turn(world);
    take_type(keepers[0], PROXY_JOB_UNLOCK);
    finish_job(world, keepers[0], ERR_OK, 6);
    assert_int_equal(unlocked.times, 2);
    /* From here on it is a keeper as any other: there are as many at work as may be. */
    submit(world, 0, &unlocked);
    turn(world);
    assert_false(has_message(keepers[0]));
    finish_job(world, keepers[1], ERR_OK, 0);
    assert_true(has_message(keepers[0]) != has_message(keepers[1]));
    for (size_t i = 0; i < 3; i++)
        close(keepers[i]);
}

/* The pool keeps copies of a job's files: the submitter may close its own, and a cancelled job leaks none. */
static void test_files(void **state)
{
    struct world *world = *state;
    struct outcome outcome = {0};
    struct ipc_out out;
    struct ipc_in in;
    struct proxy_job *job;
    int pipe_ends[2];
    char byte = 0;
    assert_int_equal(pipe(pipe_ends), 0);
    ipc_out_begin(&out, PROXY_JOB_INSPECT);
    ipc_put_file(&out, pipe_ends[1]);
    assert_int_equal(proxy_pool_submit(world->pool, 0, &out, on_end, &outcome, &job), ERR_OK);
    close(pipe_ends[1]);
    int keeper = give_keeper(world, 0, 100);
    assert_int_equal(ipc_recv(keeper, &in), ERR_OK);
    int fd = ipc_get_file(&in);
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    ipc_in_fini(&in);
    finish_job(world, keeper, ERR_OK, 0);
    assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
    assert_int_equal(read(pipe_ends[0], &byte, 1), 0); /* the last copy is closed */
    close(pipe_ends[0]);
    close(keeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_job_done, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_accounts_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound_of_busy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_death_fails_one_job, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stillborn_keepers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_out_ends_the_keeper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_master_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_keeper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_nobody_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_does_not_hold_up_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(test_opening_with_one_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unlocking_takes_no_place_and_no_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
