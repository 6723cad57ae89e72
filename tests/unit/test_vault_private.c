/* Who gets private keys of the vault: keepers those of their own account, commands, and never net. */
#include "tests/unit/vault_run.h"

#define BOB "bob@example.org"
#define FINGERPRINT "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF"
#define KEY SPAN_LIT("a private key")

/* Asks with account, and up to two fields more. ERR_END: the vault has ended the line. The answer's only field is added
   to `answer_out`. */
static enum err ask(int line, uint16_t type, const char *account, const char *fingerprint, struct span key,
                    struct buf *answer_out)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, type);
    ipc_put_string(&out, account);
    if (fingerprint)
        ipc_put_string(&out, fingerprint);
    if (key.ptr)
        ipc_put_span(&out, key);
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    if (ipc_recv(line, &in) != ERR_OK)
        return ERR_END;
    const enum err err = (enum err)ipc_get_u32(&in);
    if (err == ERR_OK && answer_out)
        assert_int_equal(buf_add_span(answer_out, ipc_get_span(&in)), ERR_OK);
    if (type != PROXY_PRIVATE_LIST && (err != ERR_OK || answer_out))
        assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return err;
}

static enum err get(int line, const char *account)
{
    struct buf key;
    buf_init_secret(&key, 1000);
    const enum err err = ask(line, PROXY_PRIVATE_GET, account, FINGERPRINT, SPAN_NONE, &key);
    if (err == ERR_OK)
        assert_true(span_is_equal(buf_span(&key), KEY));
    buf_fini(&key);
    return err;
}

static uint32_t count(int line, const char *account)
{
    struct ipc_out out;
    struct ipc_in in;
    char fingerprint[100];
    ipc_out_begin(&out, PROXY_PRIVATE_LIST);
    ipc_put_string(&out, account);
    assert_int_equal(ipc_send(line, &out), ERR_OK);
    assert_int_equal(ipc_recv(line, &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), ERR_OK);
    const uint32_t len = ipc_get_u32(&in);
    for (uint32_t i = 0; i < len; i++) {
        ipc_get_string(&in, fingerprint, sizeof fingerprint);
        assert_string_equal(fingerprint, FINGERPRINT);
    }
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return len;
}

static void test_command_and_keeper(void **state)
{
    (void)state;
    int command = command_line(), keeper = vault_line(PROXY_VAULT_KEEPER, ALICE);
    assert_int_equal(get(keeper, ALICE), ERR_NOT_FOUND);
    assert_int_equal(ask(command, PROXY_PRIVATE_PUT, ALICE, FINGERPRINT, KEY, NULL), ERR_OK);
    assert_int_equal(get(keeper, ALICE), ERR_OK);
    assert_int_equal(get(command, ALICE), ERR_OK);
    assert_int_equal(get(command, BOB), ERR_NOT_FOUND);
    assert_int_equal(count(command, ALICE), 1);
    assert_int_equal(count(command, BOB), 0);
    /* A command has all that net has, too. */
    assert_int_equal(ask(command, PROXY_STORE_TOTALS, ALICE, NULL, SPAN_NONE, NULL), ERR_OK);
    close(keeper);
    close(command);
    end_vault(SIGKILL);
    start_vault();
    command = command_line();
    assert_int_equal(get(command, ALICE), ERR_OK);
    assert_int_equal(ask(command, PROXY_PRIVATE_REMOVE, ALICE, FINGERPRINT, SPAN_NONE, NULL), ERR_OK);
    assert_int_equal(ask(command, PROXY_PRIVATE_REMOVE, ALICE, FINGERPRINT, SPAN_NONE, NULL), ERR_NOT_FOUND);
    assert_int_equal(get(command, ALICE), ERR_NOT_FOUND);
    close(command);
}

static uint16_t next(int line)
{
    struct ipc_in in;
    if (ipc_recv(line, &in) != ERR_OK)
        return 0;
    const uint16_t type = ipc_type(&in);
    ipc_in_fini(&in);
    return type;
}

/* Before the command hears that it is gone, the keepers of that account are told to forget it, and no others. */
static void test_keepers_forget(void **state)
{
    (void)state;
    int command = command_line(), alice = vault_line(PROXY_VAULT_KEEPER, ALICE),
        bob = vault_line(PROXY_VAULT_KEEPER, BOB);
    assert_int_equal(ask(command, PROXY_PRIVATE_REMOVE, ALICE, FINGERPRINT, SPAN_NONE, NULL), ERR_NOT_FOUND);
    assert_int_equal(ask(command, PROXY_PRIVATE_PUT, ALICE, FINGERPRINT, KEY, NULL), ERR_OK);
    assert_int_equal(get(alice, ALICE), ERR_OK);
    assert_int_equal(get(bob, BOB), ERR_NOT_FOUND);
    assert_int_equal(ask(command, PROXY_PRIVATE_REMOVE, ALICE, FINGERPRINT, SPAN_NONE, NULL), ERR_OK);
    assert_int_equal(next(alice), PROXY_PRIVATE_FORGET);
    assert_int_equal(get(alice, ALICE), ERR_NOT_FOUND);
    assert_int_equal(get(bob, BOB), ERR_NOT_FOUND);
    close(command);
    close(alice);
    close(bob);
}

/* A line that the master takes for a command's is one when it has shown what it must, at first and at once. */
static void test_who_is_no_command(void **state)
{
    static const struct span wrong[] = {SPAN_LIT(""), SPAN_LIT("its prooF"), SPAN_LIT("its proof and more"),
                                        SPAN_LIT("its")};
    struct ipc_out out;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int line = vault_line(PROXY_VAULT_COMMAND, NULL);
        ipc_out_begin(&out, PROXY_VAULT_PROOF);
        ipc_put_span(&out, wrong[i]);
        assert_int_equal(ipc_send(line, &out), ERR_OK);
        assert_int_equal(next(line), 0);
        close(line);
    }
    int line = vault_line(PROXY_VAULT_COMMAND, NULL);
    assert_int_equal(ask(line, PROXY_STORE_TOTALS, ALICE, NULL, SPAN_NONE, NULL), ERR_END);
    close(line);
    line = command_line();
    assert_int_equal(ask(line, PROXY_STORE_TOTALS, ALICE, NULL, SPAN_NONE, NULL), ERR_OK);
    close(line);
}

/* The line ends, and nothing has come over it. */
static void expect_refused(uint16_t line_type, const char *line_account, uint16_t type, const char *account,
                           const char *fingerprint, struct span key)
{
    int line = line_type == PROXY_VAULT_COMMAND ? command_line() : vault_line(line_type, line_account);
    assert_int_equal(ask(line, type, account, fingerprint, key, NULL), ERR_END);
    close(line);
}

static void test_who_is_refused(void **state)
{
    (void)state;
    int command = command_line();
    assert_int_equal(ask(command, PROXY_PRIVATE_PUT, ALICE, FINGERPRINT, KEY, NULL), ERR_OK);
    const uint16_t types[] = {PROXY_PRIVATE_GET, PROXY_PRIVATE_PUT, PROXY_PRIVATE_REMOVE, PROXY_PRIVATE_LIST};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *fingerprint = types[i] == PROXY_PRIVATE_LIST ? NULL : FINGERPRINT;
        const struct span key = types[i] == PROXY_PRIVATE_PUT ? KEY : SPAN_NONE;
        expect_refused(PROXY_VAULT_CLIENT, NULL, types[i], ALICE, fingerprint, key);
        expect_refused(PROXY_VAULT_KEEPER, BOB, types[i], ALICE, fingerprint, key);
        if (types[i] != PROXY_PRIVATE_GET)
            expect_refused(PROXY_VAULT_KEEPER, ALICE, types[i], ALICE, fingerprint, key);
        /* Malformed. */
        expect_refused(PROXY_VAULT_COMMAND, NULL, types[i], ALICE, FINGERPRINT FINGERPRINT, key);
        expect_refused(PROXY_VAULT_COMMAND, NULL, types[i], ALICE, fingerprint,
                       types[i] == PROXY_PRIVATE_PUT ? SPAN_NONE : KEY);
    }
    /* What only keepers have is not for commands either. */
    expect_refused(PROXY_VAULT_COMMAND, NULL, PROXY_KEYS_TAKE, ALICE, NULL, SPAN_NONE);
    assert_int_equal(get(command, ALICE), ERR_OK);
    close(command);
}

static void put_clear(struct ipc_out *out, uint32_t depth)
{
    ipc_out_begin(out, PROXY_STORE_CLEAR);
    ipc_put_string(out, ALICE);
    ipc_put_u32(out, depth);
}

/* Whoever has taken net over cannot destroy what nothing brings back. */
static void test_net_forgets_nothing(void **state)
{
    (void)state;
    int command = command_line();
    assert_int_equal(ask(command, PROXY_PRIVATE_PUT, ALICE, FINGERPRINT, KEY, NULL), ERR_OK);
    for (uint32_t depth = 0; depth < 3; depth++) {
        int net = vault_line(PROXY_VAULT_CLIENT, NULL);
        struct ipc_out out;
        struct ipc_in in;
        put_clear(&out, depth);
        assert_int_equal(ipc_send(net, &out), ERR_OK);
        assert_int_equal(ipc_recv(net, &in), ERR_END);
        close(net);
    }
    assert_int_equal(get(command, ALICE), ERR_OK);
    close(command);
}

/* Everything is forgotten of the account but not in passing. */
static void test_forgetting_asks(void **state)
{
    (void)state;
    int command = command_line();
    assert_int_equal(ask(command, PROXY_PRIVATE_PUT, ALICE, FINGERPRINT, KEY, NULL), ERR_OK);
    for (uint32_t depth = 0; depth < 3; depth++) {
        struct ipc_out out;
        struct ipc_in in;
        put_clear(&out, depth);
        assert_int_equal(ipc_send(command, &out), ERR_OK);
        assert_int_equal(ipc_recv(command, &in), ERR_OK);
        assert_int_equal(ipc_get_u32(&in), depth == 1 ? ERR_EXISTS : ERR_OK);
        ipc_in_fini(&in);
        assert_int_equal(get(command, ALICE), depth == 2 ? ERR_NOT_FOUND : ERR_OK);
    }
    close(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_command_and_keeper, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keepers_forget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_no_command, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_net_forgets_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forgetting_asks, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
