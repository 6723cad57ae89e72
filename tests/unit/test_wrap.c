/* The store's keys as an OpenPGP message: they come back for who wrapped them, and from nobody else. */
#include "crypto/wrap.h"

#include "openpgp_run.h"

#define SECRET SPAN_LIT("129 bytes or so of keys, \0 among them\r\n\n")

static enum err wrap(const char *reader, const char *signer, struct buf *out)
{
    buf_init(out, CRYPTO_WRAP_MAX);
    return crypto_wrap(home.gpg, home.cache, reader, signer, false, SECRET, out);
}

static void expect(enum err wanted, struct span wrapped)
{
    struct buf out;
    buf_init_secret(&out, CRYPTO_WRAP_SECRET_MAX);
    assert_int_equal(crypto_unwrap(home.gpg, false, wrapped, &out), wanted);
    if (wanted == ERR_OK)
        assert_true(span_is_equal(buf_span(&out), SECRET));
    else
        assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static void test_comes_back(void **state)
{
    struct buf wrapped;
    (void)state;
    assert_int_equal(wrap(alice, alice, &wrapped), ERR_OK);
    assert_true(span_has_prefix(buf_span(&wrapped), SPAN_LIT("-----BEGIN PGP MESSAGE-----")));
    expect(ERR_OK, buf_span(&wrapped));
    buf_fini(&wrapped);
}

static void test_neither_cut_nor_changed(void **state)
{
    struct buf wrapped;
    (void)state;
    assert_int_equal(wrap(alice, alice, &wrapped), ERR_OK);
    for (size_t len = 0; len < wrapped.len; len += 97)
        expect(ERR_DECRYPT, span_slice(buf_span(&wrapped), 0, len));
    for (size_t at = wrapped.len / 2; at < wrapped.len - 100; at += 131) {
        const char was = wrapped.data[at];
        if (was == '\r' || was == '\n')
            continue;
        wrapped.data[at] = was == 'A' ? 'B' : 'A';
        expect(ERR_DECRYPT, buf_span(&wrapped));
        wrapped.data[at] = was;
    }
    buf_fini(&wrapped);
}

/* Anything that somebody encrypts to Alice, with or without a signature, and mail that she wrote herself. */
static void test_what_is_none(void **state)
{
    static const char *const head = "privyseal store keys 1\nattacker's keys";
    const char *const recipients[] = {alice};
    char carol[KEYRING_FPR_SIZE], command[200];
    struct buf sealed;
    (void)state;
    assert_int_equal(gpg_home_make_key(&home, "Carol <carol@example.org>", carol), ERR_OK);
    assert_int_equal(encrypt("", recipients, 1, span_of(head), SIZE_MOST, &sealed), ERR_OK);
    expect(ERR_DECRYPT, buf_span(&sealed));
    buf_fini(&sealed);
    assert_int_equal(encrypt(alice, recipients, 1, span_of(TEXT), SIZE_MOST, &sealed), ERR_OK);
    expect(ERR_DECRYPT, buf_span(&sealed));
    buf_fini(&sealed);
    assert_int_equal(encrypt(carol, recipients, 1, span_of(head), SIZE_MOST, &sealed), ERR_OK);
    /* Only the public key of a stranger is here. */
    (void)snprintf(command, sizeof command, "--delete-secret-keys %s", carol);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    expect(ERR_DECRYPT, buf_span(&sealed));
    buf_fini(&sealed);
    /* Nor is one to be given the keys, whoever says so. */
    assert_int_equal(wrap(carol, alice, &sealed), ERR_NO_SIGNING_KEY);
    assert_int_equal(sealed.len, 0);
    assert_int_equal(wrap(alice, carol, &sealed), ERR_NO_SIGNING_KEY);
    assert_int_equal(wrap(alice, "", &sealed), ERR_NO_SIGNING_KEY);
    assert_int_equal(wrap("--armor", alice, &sealed), ERR_NO_SIGNING_KEY);
    buf_fini(&sealed);
    expect(ERR_DECRYPT, SPAN_LIT("no message"));
}

static void test_holder_names_the_state_of_the_key(void **state)
{
    char first[CRYPTO_HOLDER_SIZE], second[CRYPTO_HOLDER_SIZE], command[200];
    (void)state;
    assert_int_equal(crypto_wrap_holder(home.gpg, home.cache, bob, bob, first), ERR_OK);
    assert_int_equal(strlen(first), strlen(bob) + 65);
    assert_memory_equal(first, bob, strlen(bob));
    assert_int_equal(crypto_wrap_holder(home.gpg, home.cache, bob, bob, second), ERR_OK);
    assert_string_equal(first, second);
    /* Who signs is a part of it. */
    assert_int_equal(crypto_wrap_holder(home.gpg, home.cache, bob, alice, second), ERR_OK);
    assert_memory_equal(second, bob, strlen(bob));
    assert_string_not_equal(first, second);
    (void)snprintf(command, sizeof command, "--quick-add-key %s cv25519 encr 0", bob);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    assert_int_equal(crypto_wrap_holder(home.gpg, home.cache, bob, bob, second), ERR_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(crypto_wrap_holder(home.gpg, home.cache, "0000000000000000000000000000000000000000", bob, second),
                     ERR_NO_KEY);
}

/* What was wrapped to a key that has been revoked since is not lost. */
static void test_revoked_since(void **state)
{
    char command[600], dave[KEYRING_FPR_SIZE];
    struct buf wrapped;
    (void)state;
    assert_int_equal(gpg_home_make_key(&home, "Dave <dave@example.org>", dave), ERR_OK);
    assert_int_equal(wrap(dave, dave, &wrapped), ERR_OK);
    (void)snprintf(
        command, sizeof command,
        "--import-options import-show --version >/dev/null; sed 's/^:-----BEGIN/-----BEGIN/' "
        "%s/openpgp-revocs.d/%s.rev >%s/rev; gpg --homedir %s --no-autostart --batch --quiet --import %s/rev",
        home.path, dave, home.path, home.path, home.path);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    expect(ERR_OK, buf_span(&wrapped));
    buf_fini(&wrapped);
}

/* Last: nobody can be asked. */
static void test_locked(void **state)
{
    struct buf wrapped, none;
    (void)state;
    assert_int_equal(wrap(alice, alice, &wrapped), ERR_OK);
    gpg_home_stop_agent(&home);
    expect(ERR_KEY_LOCKED, buf_span(&wrapped));
    assert_int_equal(wrap(alice, alice, &none), ERR_KEY_LOCKED);
    buf_fini(&wrapped);
    buf_fini(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),    cmocka_unit_test(test_neither_cut_nor_changed),
        cmocka_unit_test(test_what_is_none),  cmocka_unit_test(test_holder_names_the_state_of_the_key),
        cmocka_unit_test(test_revoked_since), cmocka_unit_test(test_locked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
