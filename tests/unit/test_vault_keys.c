/* The vault process as keepers see it: each is served the keys of its own account and nothing else. */
#include "tests/unit/vault_run.h"

static int keeper_line(const char *account)
{
    return vault_line(PROXY_VAULT_KEEPER, account);
}

/* What came last with keys that were taken. */
static char taken_proof[STORE_PROOF_SIZE];

static void take_proof(struct span proof)
{
    assert_int_equal(proof.len, sizeof taken_proof);
    memcpy(taken_proof, proof.ptr, proof.len);
}

/* Asks with fields. ERR_END: the vault has ended the line. The first field of the answer is added to `field_out`. */
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
    if (err == ERR_OK && type == PROXY_KEYS_TAKE && field_out)
        take_proof(ipc_get_span(&in));
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
    const struct span handed[] = {SPAN_LIT("KEY"), SPAN_LIT("a PGP message"), {taken_proof, sizeof taken_proof}};
    struct store_view_key key = key_of(1);
    buf_init_secret(&keys, 1000);
    buf_init(&wrapped, 1000);
    put(1, false, "\r\n");
    int line = keeper_line(ALICE);
    assert_int_equal(kept_as(line, ALICE, &wrapped).wrap, STORE_WRAP_FILE);
    assert_int_equal(ask_as(line, PROXY_KEYS_TAKE, ALICE, NULL, 0, &keys), ERR_OK);
    assert_int_equal(keys.len, STORE_KEYS_SIZE);
    /* Keys that are not the account's any more would stand where its own should be. */
    taken_proof[0] ^= 1;
    assert_int_equal(ask_as(line, PROXY_KEYS_WRAP, ALICE, handed, 3, NULL), ERR_STORE);
    taken_proof[0] ^= 1;
    assert_int_equal(ask_as(line, PROXY_KEYS_WRAP, ALICE, handed, 3, NULL), ERR_OK);
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
    assert_int_equal(ask_as(line, PROXY_KEYS_WRAP, ALICE, handed, 3, NULL), ERR_KEY_LOCKED);
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
    for (int type = PROXY_KEYS_GET; type <= PROXY_KEYS_WRAP; type++) {
        int line = vault_line(PROXY_VAULT_CLIENT, NULL);
        assert_int_equal(ask_as(line, (uint16_t)type, ALICE, NULL, 0, NULL), ERR_END);
        close(line);
    }
    /* All others are served as before. */
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, key_of(1).digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    assert_int_equal(lost, 0);
}

/* The key that was made of a passphrase comes from a keeper, or from the command line to change it; of no other length,
   and a keeper changes nothing. */
static void test_passphrase(void **state)
{
    (void)state;
    static const char right[STORE_SEAL_SIZE] = "right", wrong[STORE_SEAL_SIZE] = "wrong";
    const struct span key = {right, sizeof right}, other = {wrong, sizeof wrong}, half = {right, 16};
    const struct span sealing[] = {SPAN_NONE, SPAN_LIT("recipe"), key}, removing[] = {SPAN_NONE, SPAN_NONE, SPAN_NONE};
    const struct span changing[] = {other, SPAN_LIT("more"), other}, changing_well[] = {key, SPAN_LIT("more"), other};
    const struct span malformed[][3] = {{half, SPAN_LIT("recipe"), key},
                                        {SPAN_NONE, SPAN_LIT("recipe"), half},
                                        {SPAN_NONE, SPAN_NONE, key},
                                        {SPAN_NONE, SPAN_LIT("recipe"), SPAN_NONE}};
    struct buf wrapped;
    buf_init(&wrapped, 1000);
    int line = command_line();
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, removing, 3, NULL), ERR_NOT_FOUND);
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, sealing, 3, NULL), ERR_OK);
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        int another = command_line();
        assert_int_equal(ask_as(another, PROXY_STORE_PASSPHRASE, ALICE, malformed[i], 3, NULL), ERR_END);
        close(another);
    }
    close(line);
    end_vault(SIGKILL);
    start_vault();
    line = command_line();
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, removing, 3, NULL), ERR_KEY_LOCKED);
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, sealing, 3, NULL), ERR_KEY_LOCKED);
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, changing, 3, NULL), ERR_DECRYPT);
    assert_int_equal(ask_as(line, PROXY_KEYS_UNSEAL, ALICE, &other, 1, NULL), ERR_DECRYPT);
    close(line);
    int net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_as(net, PROXY_STORE_PASSPHRASE, ALICE, sealing, 3, NULL), ERR_END);
    close(net);
    int keeper = keeper_line(ALICE), stranger = keeper_line("bob@example.org");
    struct store_kept kept = kept_as(keeper, ALICE, &wrapped);
    assert_int_equal(kept.wrap, STORE_WRAP_PASSPHRASE);
    assert_string_equal(kept.holder, "recipe");
    assert_false(kept.is_open);
    assert_int_equal(wrapped.len, 0);
    assert_int_equal(ask_as(stranger, PROXY_KEYS_UNSEAL, ALICE, &key, 1, NULL), ERR_END);
    assert_int_equal(ask_as(keeper, PROXY_KEYS_UNSEAL, ALICE, &other, 1, NULL), ERR_DECRYPT);
    assert_false(kept_as(keeper, ALICE, &wrapped).is_open);
    assert_int_equal(ask_as(keeper, PROXY_KEYS_UNSEAL, ALICE, &key, 1, NULL), ERR_OK);
    assert_true(kept_as(keeper, ALICE, &wrapped).is_open);
    assert_int_equal(ask_as(keeper, PROXY_STORE_PASSPHRASE, ALICE, sealing, 3, NULL), ERR_END);
    close(keeper);
    for (size_t i = 0; i < 2; i++) {
        keeper = keeper_line(ALICE);
        assert_int_equal(ask_as(keeper, PROXY_KEYS_UNSEAL, ALICE, i == 0 ? &half : removing, 1, NULL), ERR_END);
        close(keeper);
    }
    close(stranger);
    end_vault(SIGKILL);
    start_vault();
    line = command_line();
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, changing_well, 3, NULL), ERR_OK);
    assert_int_equal(ask_as(line, PROXY_STORE_PASSPHRASE, ALICE, removing, 3, NULL), ERR_OK);
    close(line);
    keeper = keeper_line(ALICE);
    assert_int_equal(kept_as(keeper, ALICE, &wrapped).wrap, STORE_WRAP_FILE);
    close(keeper);
    buf_fini(&wrapped);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keeper_wraps_and_opens, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keeper_has_its_own_account_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passphrase, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_keepers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
