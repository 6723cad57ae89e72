/* Private keys as a keeper gives them to the engine: asked of the vault once, and only for what belongs together. */
#include "proxy/keeper_internal.h"

#include "keyring/x509_key.h"
#include "tests/unit/x509_made.h"

#include <sys/socket.h>

#define ALICE "alice@example.org"

static struct made alice, bob;
static struct keeper keeper;
static int vault; /* the vault's end of the keeper's line */

static int make_all(void **state)
{
    static const struct made_wish wishes[] = {{.name = "Alice", .san = "email:alice@example.org"},
                                              {.name = "Bob", .san = "email:bob@example.org"}};
    (void)state;
    alice = made_certificate(&wishes[0], NULL);
    bob = made_certificate(&wishes[1], NULL);
    return 0;
}

static int drop_all(void **state)
{
    (void)state;
    made_free(&alice);
    made_free(&bob);
    return 0;
}

static int begin(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    vault = ends[0];
    keeper = (struct keeper){.setup.vault = ends[1]};
    (void)snprintf(keeper.setup.account, sizeof(keeper.setup.account), ALICE);
    return 0;
}

static int end(void **state)
{
    (void)state;
    keeper_private_fini(&keeper);
    close(keeper.setup.vault);
    close(vault);
    return 0;
}

static struct keyring_certificate certificate_of(const struct made *made, const char *place)
{
    struct keyring_certificate certificate = {.certificate = made->certificate};
    assert_int_equal(keyring_x509_fingerprint(made->certificate, certificate.fingerprint), ERR_OK);
    (void)snprintf(certificate.key_place, sizeof(certificate.key_place), "%s", place);
    return certificate;
}

/* Answers lie ready before they are asked for. */
static void answer(enum err err, const struct made *made)
{
    struct ipc_out out;
    struct buf saved;
    buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
    ipc_out_begin(&out, PROXY_VAULT_DONE);
    ipc_put_u32(&out, (uint32_t)err);
    if (made != NULL) {
        assert_int_equal(keyring_key_save(made->key, &saved), ERR_OK);
        ipc_put_span(&out, buf_span(&saved));
    }
    assert_int_equal(ipc_send(vault, &out), ERR_OK);
    buf_fini(&saved);
}

static void answer_kept(bool is_open, enum store_wrap wrap)
{
    const struct store_kept kept = {.wrap = wrap, .is_open = is_open};
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_VAULT_DONE);
    ipc_put_u32(&out, ERR_OK);
    proxy_put_kept(&out, &kept);
    ipc_put_span(&out, SPAN_NONE);
    assert_int_equal(ipc_send(vault, &out), ERR_OK);
}

/* What was asked, one after the other; 0: nothing (more). */
static uint16_t asked(const char *fingerprint)
{
    char account[MIME_ADDR_SIZE], name[KEYRING_FPR_SIZE];
    struct ipc_in in;
    if (ipc_recv(vault, &in) != ERR_OK)
        return 0;
    const uint16_t type = ipc_type(&in);
    ipc_get_string(&in, account, sizeof(account));
    assert_string_equal(account, ALICE);
    if (type == PROXY_PRIVATE_GET) {
        ipc_get_string(&in, name, sizeof(name));
        assert_string_equal(name, fingerprint);
    }
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return type;
}

static enum err get(const struct keyring_certificate *certificate, const struct made *wanted)
{
    EVP_PKEY *key;
    const enum err err = keeper_private_key(&keeper, certificate, false, &key);
    if (err == ERR_OK)
        assert_int_equal(EVP_PKEY_eq(key, wanted->key), 1);
    else
        assert_null(key);
    EVP_PKEY_free(key);
    return err;
}

static void test_asked_once(void **state)
{
    const struct keyring_certificate one = certificate_of(&alice, "store"), other = certificate_of(&bob, "store");
    (void)state;
    answer(ERR_OK, &alice);
    for (int i = 0; i < 3; i++)
        assert_int_equal(get(&one, &alice), ERR_OK);
    assert_int_equal(asked(one.fingerprint), PROXY_PRIVATE_GET);
    assert_int_equal(asked(NULL), 0);
    answer(ERR_OK, &bob);
    assert_int_equal(get(&other, &bob), ERR_OK);
    assert_int_equal(get(&one, &alice), ERR_OK);
    assert_int_equal(asked(other.fingerprint), PROXY_PRIVATE_GET);
    assert_int_equal(asked(NULL), 0);
}

static void say_forget(void)
{
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_PRIVATE_FORGET);
    assert_int_equal(ipc_send(vault, &out), ERR_OK);
}

/* When a key has been removed all are asked for again: in the midst of a job, and between two. */
static void test_forgotten(void **state)
{
    const struct keyring_certificate one = certificate_of(&alice, "store"), other = certificate_of(&bob, "store");
    (void)state;
    answer(ERR_OK, &alice);
    assert_int_equal(get(&one, &alice), ERR_OK);
    say_forget();
    answer(ERR_OK, &bob);
    assert_int_equal(get(&other, &bob), ERR_OK);
    assert_int_equal(keeper.private_keys_len, 1);
    answer(ERR_NOT_FOUND, NULL);
    assert_int_equal(get(&one, NULL), ERR_NO_KEY);

    int pipe_ends[2];
    assert_int_equal(pipe(pipe_ends), 0);
    say_forget(); /* by a descriptor that may be the one that is lent to the job */
    const int kept = dup(KEEPER_SOCKET);
    assert_int_equal(dup2(pipe_ends[0], KEEPER_SOCKET), KEEPER_SOCKET);
    assert_int_equal(write(pipe_ends[1], "x", 1), 1); /* a job */
    keeper_wait(&keeper);
    assert_int_equal(keeper.private_keys_len, 0);
    assert_int_equal(dup2(kept, KEEPER_SOCKET), KEEPER_SOCKET);
    close(kept);
    close(pipe_ends[1]);
    if (pipe_ends[0] != KEEPER_SOCKET)
        close(pipe_ends[0]);
}

/* What failed is asked again. */
static void test_not_there(void **state)
{
    const struct keyring_certificate one = certificate_of(&alice, "store"), none = certificate_of(&alice, "");
    (void)state;
    assert_int_equal(get(&none, NULL), ERR_NO_KEY);
    assert_int_equal(asked(NULL), 0);
    answer(ERR_NOT_FOUND, NULL);
    assert_int_equal(get(&one, NULL), ERR_NO_KEY);
    answer(ERR_OK, &bob);
    assert_int_equal(get(&one, NULL), ERR_KEY_UNUSABLE);
    answer(ERR_OK, &alice);
    assert_int_equal(get(&one, &alice), ERR_OK);
}

static void test_no_vault(void **state)
{
    const struct keyring_certificate one = certificate_of(&alice, "store");
    const int line = keeper.setup.vault;
    (void)state;
    keeper.setup.vault = -1;
    assert_int_equal(get(&one, NULL), ERR_STORE);
    keeper.setup.vault = line;
    assert_int_equal(shutdown(vault, SHUT_RDWR), 0);
    assert_int_equal(get(&one, NULL), ERR_STORE);
}

/* The account's keys in the store are opened first, if that asks nobody. */
static void test_locked(void **state)
{
    const struct keyring_certificate one = certificate_of(&alice, "store");
    (void)state;
    answer(ERR_KEY_LOCKED, NULL);
    answer_kept(false, STORE_WRAP_CREDENTIAL);
    assert_int_equal(get(&one, NULL), ERR_KEY_LOCKED);
    assert_int_equal(asked(one.fingerprint), PROXY_PRIVATE_GET);
    assert_int_equal(asked(NULL), PROXY_KEYS_GET);
    assert_int_equal(asked(NULL), 0);
    answer(ERR_KEY_LOCKED, NULL);
    answer_kept(true, STORE_WRAP_OPENPGP);
    answer(ERR_OK, &alice);
    assert_int_equal(get(&one, &alice), ERR_OK);
    assert_int_equal(asked(one.fingerprint), PROXY_PRIVATE_GET);
    assert_int_equal(asked(NULL), PROXY_KEYS_GET);
    assert_int_equal(asked(one.fingerprint), PROXY_PRIVATE_GET);
}

/* The oldest of many make room. */
static void test_many(void **state)
{
    struct keyring_certificate many = certificate_of(&alice, "store");
    (void)state;
    for (unsigned i = 0; i < KEEPER_PRIVATE_KEYS_MAX + 3; i++) {
        (void)snprintf(many.fingerprint, sizeof(many.fingerprint), "%064X", i);
        answer(ERR_OK, &alice);
        assert_int_equal(get(&many, &alice), ERR_OK);
        assert_int_equal(asked(many.fingerprint), PROXY_PRIVATE_GET);
    }
    assert_int_equal(get(&many, &alice), ERR_OK);
    assert_int_equal(asked(NULL), 0);
    (void)snprintf(many.fingerprint, sizeof(many.fingerprint), "%064X", 0);
    answer(ERR_OK, &alice);
    assert_int_equal(get(&many, &alice), ERR_OK);
    assert_int_equal(asked(many.fingerprint), PROXY_PRIVATE_GET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asked_once, begin, end),
        cmocka_unit_test_setup_teardown(test_forgotten, begin, end),
        cmocka_unit_test_setup_teardown(test_not_there, begin, end),
        cmocka_unit_test_setup_teardown(test_no_vault, begin, end),
        cmocka_unit_test_setup_teardown(test_locked, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
    };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
