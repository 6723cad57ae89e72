#include "proxy/vault_views.h"
#include "proxy/vaultlink.h"
#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct world {
    struct event_base *base;
    struct proxy_vaultlink *link;
    int vault; /* the vault's end */
    unsigned lost;
};

struct answer {
    unsigned times;
    enum err err;
    size_t len;
    char first[64];
};

static const struct store_delivery_key KEY = {.account = "alice@example.org", .message_id = "<1@x>"};

static void on_lost(void *context)
{
    struct world *world = context;
    world->lost++;
}

static void on_answer(enum err err, const char *const *addresses, size_t addresses_len, void *context)
{
    struct answer *answer = context;
    answer->times++;
    answer->err = err;
    answer->len = addresses_len;
    if (addresses_len > 0)
        snprintf(answer->first, sizeof(answer->first), "%s", addresses[0]);
}

static void connect_vault(struct world *world)
{
    int ends[2];
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    world->vault = ends[1];
    proxy_vaultlink_connect(world->link, ends[0]);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    world->base = event_base_new();
    assert_int_equal(proxy_vaultlink_new(world->base, on_lost, world, &world->link), ERR_OK);
    connect_vault(world);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    proxy_vaultlink_free(&world->link);
    if (world->vault >= 0)
        close(world->vault);
    event_base_free(world->base);
    free(world);
    return 0;
}

static void turn(struct world *world)
{
    event_base_loop(world->base, EVLOOP_NONBLOCK);
}

/* What the vault has been asked, or 0 if nothing. */
static uint16_t take_request(struct world *world)
{
    struct ipc_in in;
    char byte;
    if (recv(world->vault, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
        return 0;
    assert_int_equal(ipc_recv(world->vault, &in), ERR_OK);
    uint16_t type = ipc_type(&in);
    ipc_in_fini(&in);
    return type;
}

static void give_answer(struct world *world, enum err err, const char *address)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_VAULT_DONE);
    ipc_put_u32(&out, (uint32_t)err);
    if (err == ERR_OK)
        ipc_put_u32(&out, address == NULL ? 0 : 1);
    if (address != NULL)
        ipc_put_string(&out, address);
    assert_int_equal(ipc_send(world->vault, &out), ERR_OK);
}

static void test_answers_come_in_order(void **state)
{
    struct world *world = *state;
    struct answer first = {0}, second = {0};
    const char *const addresses[] = {"bob@example.net"};
    assert_int_equal(proxy_vault_get(world->link, &KEY, on_answer, &first), ERR_OK);
    assert_int_equal(proxy_vault_add(world->link, &KEY, addresses, 1, on_answer, &second), ERR_OK);
    assert_int_equal(take_request(world), PROXY_DELIVERY_GET);
    assert_int_equal(take_request(world), PROXY_DELIVERY_ADD);
    assert_int_equal(take_request(world), 0);
    give_answer(world, ERR_OK, "carol@example.com");
    turn(world);
    assert_int_equal(first.times, 1);
    assert_int_equal(first.len, 1);
    assert_string_equal(first.first, "carol@example.com");
    assert_int_equal(second.times, 0);
    give_answer(world, ERR_DISK_FULL, NULL);
    turn(world);
    assert_int_equal(second.times, 1);
    assert_int_equal(second.err, ERR_DISK_FULL);
}

/* Also with a request that the first vault had taken: all can be asked twice. */
static void test_requests_outlive_a_vault_once(void **state)
{
    struct world *world = *state;
    struct answer open = {0}, later = {0};
    assert_int_equal(proxy_vault_get(world->link, &KEY, on_answer, &open), ERR_OK);
    close(world->vault);
    turn(world);
    assert_int_equal(world->lost, 1);
    assert_int_equal(open.times, 0);
    assert_int_equal(proxy_vault_forget(world->link, &KEY), ERR_OK);
    assert_int_equal(proxy_vault_add(world->link, &KEY, NULL, 0, on_answer, &later), ERR_OK);
    connect_vault(world);
    assert_int_equal(take_request(world), PROXY_DELIVERY_GET);
    assert_int_equal(take_request(world), PROXY_DELIVERY_FORGET);
    assert_int_equal(take_request(world), PROXY_DELIVERY_ADD);
    close(world->vault);
    turn(world);
    assert_int_equal(open.times, 1);
    assert_int_equal(open.err, ERR_STORE);
    assert_int_equal(later.times, 0);
    connect_vault(world);
    assert_int_equal(take_request(world), PROXY_DELIVERY_FORGET);
    assert_int_equal(take_request(world), PROXY_DELIVERY_ADD);
    give_answer(world, ERR_OK, NULL);
    give_answer(world, ERR_OK, NULL);
    turn(world);
    turn(world);
    assert_int_equal(later.times, 1);
    assert_int_equal(later.err, ERR_OK);
    assert_int_equal(open.times, 1);
}

/* A vault that is slow to read: nothing is lost when the socket is full. */
static void test_full_socket_loses_nothing(void **state)
{
    enum { REQUESTS = 3000 };
    struct world *world = *state;
    struct answer answer = {0};
    unsigned taken = 0;
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(proxy_vault_get(world->link, &KEY, on_answer, &answer), ERR_OK);
    for (int i = 0; i < 10 * REQUESTS && taken < REQUESTS; i++) {
        while (take_request(world) != 0) {
            taken++;
            give_answer(world, ERR_OK, NULL);
            turn(world);
        }
        turn(world);
    }
    assert_int_equal(taken, REQUESTS);
    turn(world);
    assert_int_equal(answer.times, REQUESTS);
    assert_int_equal(answer.err, ERR_OK);
}

static void test_malformed_answer_ends_the_line(void **state)
{
    struct world *world = *state;
    struct answer answer = {0};
    struct ipc_out out;
    assert_int_equal(proxy_vault_get(world->link, &KEY, on_answer, &answer), ERR_OK);
    ipc_out_begin(&out, PROXY_VAULT_DONE);
    ipc_put_u32(&out, ERR_OK);
    ipc_put_u32(&out, 2);
    ipc_put_string(&out, "only one");
    assert_int_equal(ipc_send(world->vault, &out), ERR_OK);
    turn(world);
    assert_int_equal(answer.times, 1);
    assert_int_equal(answer.err, ERR_STORE);
    assert_int_equal(world->lost, 1);
    close(world->vault);
    /* What is no answer at all leaves the request open for the next vault, once. */
    connect_vault(world);
    answer = (struct answer){0};
    assert_int_equal(proxy_vault_get(world->link, &KEY, on_answer, &answer), ERR_OK);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(answer.times, 0);
        give_answer(world, ERR_COUNT, NULL);
        turn(world);
        assert_int_equal(world->lost, 2 + i);
        close(world->vault);
        connect_vault(world);
    }
    assert_int_equal(answer.times, 1);
    assert_int_equal(answer.err, ERR_STORE);
}

static void test_what_nobody_asked_ends_the_line(void **state)
{
    struct world *world = *state;
    give_answer(world, ERR_OK, NULL);
    turn(world);
    assert_int_equal(world->lost, 1);
}

static void on_locked(const char *account, void *context)
{
    unsigned *times = context;
    assert_string_equal(account, "alice@example.org");
    (*times)++;
}

static void put_place(struct world *world, uint32_t uid)
{
    const struct store_mailbox mailbox = {.account = "alice@example.org", .name = SPAN_LIT("INBOX"), .uid_validity = 1};
    const struct store_place place = {.uid = uid};
    assert_int_equal(proxy_vault_places_put(world->link, &mailbox, &place, 1, NULL, NULL, NULL), ERR_OK);
}

/* What nobody awaits is held until the keys are open, up to a bound; more of it is forgotten, once and for all. */
static void test_held_requests_are_bounded(void **state)
{
    enum { HELD = 1000, MORE = 10 };
    struct world *world = *state;
    unsigned locked = 0, taken = 0;
    proxy_vaultlink_on_locked(world->link, on_locked, &locked);
    for (uint32_t uid = 1; uid <= HELD + MORE; uid++) {
        put_place(world, uid);
        assert_int_equal(take_request(world), PROXY_PLACES_PUT);
        give_answer(world, ERR_KEY_LOCKED, NULL);
        turn(world);
    }
    assert_int_equal(locked, HELD);
    proxy_vaultlink_unlocked(world->link, "bob@example.net", ERR_OK);
    assert_int_equal(take_request(world), 0);
    proxy_vaultlink_unlocked(world->link, "alice@example.org", ERR_OK);
    for (unsigned turns = 0; turns < 10 * HELD && taken < HELD; turns++) {
        while (take_request(world) != 0) {
            taken++;
            give_answer(world, ERR_OK, NULL);
            turn(world);
        }
        turn(world);
    }
    assert_int_equal(taken, HELD);
    turn(world);
    assert_int_equal(take_request(world), 0);
    /* There is room again. */
    put_place(world, 1);
    assert_int_equal(take_request(world), PROXY_PLACES_PUT);
    give_answer(world, ERR_KEY_LOCKED, NULL);
    turn(world);
    assert_int_equal(locked, HELD + 1);
}

static void test_too_long_is_an_error_at_once(void **state)
{
    enum { ADDRESSES = 1000 };
    struct world *world = *state;
    struct answer answer = {0};
    static char address[200];
    static const char *addresses[ADDRESSES];
    memset(address, 'a', sizeof(address) - 1);
    for (size_t i = 0; i < ADDRESSES; i++)
        addresses[i] = address;
    assert_int_equal(proxy_vault_add(world->link, &KEY, addresses, ADDRESSES, on_answer, &answer), ERR_LIMIT);
    assert_int_equal(take_request(world), 0);
    turn(world);
    assert_int_equal(answer.times, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers_come_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_outlive_a_vault_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_socket_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_answer_ends_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_nobody_asked_ends_the_line, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_requests_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_long_is_an_error_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
