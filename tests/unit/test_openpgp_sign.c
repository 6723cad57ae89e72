/* Signatures: made as mail wants them, and believed only for what gpg says of them in so many words. */
#include "tests/unit/openpgp_run.h"

#include <sys/stat.h>

static void signature_verifies_for_its_text_alone(void **state)
{
    (void)state;
    struct buf signature;
    sign_text(alice, TEXT, &signature);
    assert_only_crlf(&signature);
    assert_int_equal(state_of(buf_span(&signature), TEXT, alice), CRYPTO_SIG_GOOD);
    assert_int_equal(state_of(buf_span(&signature), TEXT "x", ""), CRYPTO_SIG_BAD);
    assert_int_equal(state_of(SPAN_LIT("nothing"), TEXT, ""), CRYPTO_SIG_BAD);
    assert_int_equal(state_of(SPAN_NONE, TEXT, ""), CRYPTO_SIG_BAD);
    buf_fini(&signature);
}

static void message_with_a_text_of_its_own_is_no_detached_signature(void **state)
{
    (void)state;
    struct buf message;
    char arguments[128];
    (void)snprintf(arguments, sizeof arguments, "--armor --local-user %s --sign", alice);
    assert_true(gpg_on(span_of(TEXT), arguments, &message));
    assert_int_equal(state_of(buf_span(&message), "another text", ""), CRYPTO_SIG_BAD);
    assert_int_equal(state_of(buf_span(&message), TEXT, ""), CRYPTO_SIG_BAD);
    buf_fini(&message);
}

static void weak_hash_is_weak(void **state)
{
    (void)state;
    static const char *const hashes[] = {"SHA1", "RIPEMD160"};
    char arguments[160], key[KEYRING_FPR_SIZE] = "";
    struct keyring *keyring;
    size_t first;
    /* EdDSA takes no hash that short. */
    assert_int_equal(gpg_home_shell(&home, "--quick-gen-key 'R <rsa@example.org>' rsa2048"), 0);
    assert_int_equal(gpg_home_shell(&home, "--quick-gen-key 'S <small@example.org>' rsa1024"), 0);
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    assert_int_equal(keyring_find(keyring, "rsa@example.org", &first), 1);
    (void)span_copy(span_of(keyring_at(keyring, first)->fingerprint), key, sizeof key);
    struct buf signature;
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(arguments, sizeof arguments, "--digest-algo %s --local-user %s -b", hashes[i], key);
        assert_true(gpg_on(span_of(TEXT), arguments, &signature));
        assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_WEAK);
        buf_fini(&signature);
    }
    (void)snprintf(arguments, sizeof arguments, "--digest-algo SHA256 --local-user %s -b", key);
    assert_true(gpg_on(span_of(TEXT), arguments, &signature));
    assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_GOOD);
    buf_fini(&signature);
    assert_int_equal(keyring_find(keyring, "small@example.org", &first), 1);
    (void)span_copy(span_of(keyring_at(keyring, first)->fingerprint), key, sizeof key);
    (void)snprintf(arguments, sizeof arguments, "--digest-algo SHA512 --local-user %s -b", key);
    assert_true(gpg_on(span_of(TEXT), arguments, &signature));
    assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_WEAK);
    buf_fini(&signature);
    keyring_free(&keyring);
}

/* Signed, then the key is withdrawn, then it is gone. */
static void signature_of_a_revoked_key_is_revoked(void **state)
{
    (void)state;
    char key[KEYRING_FPR_SIZE], command[512];
    struct buf signature, more;
    struct mime_pieces pieces;
    char micalg[24];
    assert_int_equal(gpg_home_make_key(&home, "Eve <eve@example.org>", key), ERR_OK);
    sign_text(key, TEXT, &signature);
    assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_GOOD);
    (void)snprintf(command, sizeof command,
                   "--version >/dev/null; sed 's/^:-/-/' %s/openpgp-revocs.d/%s.rev | gpg --homedir %s --batch -q "
                   "--import",
                   home.path, key, home.path);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_REVOKED);
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(TEXT)), ERR_OK);
    buf_init(&more, 1 << 16);
    assert_int_equal(crypto_openpgp_sign(home.gpg, key, &pieces, &more, micalg), ERR_NO_SIGNING_KEY);
    assert_int_equal(more.len, 0);
    const char *const recipients[] = {alice, key};
    struct buf sealed;
    assert_int_equal(encrypt("", recipients, 2, span_of(TEXT), SIZE_MOST, &sealed), ERR_NO_KEY);
    buf_fini(&sealed);
    assert_int_equal(keyring_gpg_delete(home.gpg, key, true), ERR_OK);
    assert_int_equal(state_of(buf_span(&signature), TEXT, ""), CRYPTO_SIG_UNKNOWN_KEY);
    assert_int_equal(crypto_openpgp_sign(home.gpg, key, &pieces, &more, micalg), ERR_NO_SIGNING_KEY);
    buf_fini(&more);
    mime_pieces_fini(&pieces);
    buf_fini(&signature);
}

static void expired_signature_and_key_are_expired(void **state)
{
    (void)state;
    char arguments[256], key[KEYRING_FPR_SIZE];
    struct buf signature;
    struct secret none = {0};
    (void)snprintf(arguments, sizeof arguments,
                   "--faked-system-time 20200101T000000 --default-sig-expire 1d --local-user %s -b", alice);
    /* The key is younger than such a signature, which is bad; so a key of that time is made. */
    assert_int_equal(gpg_home_shell(&home, "--faked-system-time 20200101T000000 --quick-gen-key "
                                           "'Old <old@example.org>' ed25519"),
                     0);
    assert_true(gpg_on(span_of(TEXT),
                       "--faked-system-time 20200102T000000 --default-sig-expire 1d --local-user "
                       "old@example.org -b",
                       &signature));
    assert_int_equal(state_of(buf_span(&signature), TEXT, NULL), CRYPTO_SIG_EXPIRED);
    buf_fini(&signature);
    assert_int_equal(keyring_gpg_make_key(home.gpg, "Short <short@example.org>", 1, &none, key), ERR_OK);
    (void)snprintf(arguments, sizeof arguments, "--faked-system-time %lld --local-user short@example.org -b",
                   (long long)clock_now() - 1);
    (void)gpg_on(span_of(TEXT), arguments, &signature);
    sleep(2);
    if (signature.len > 0)
        assert_int_not_equal(state_of(buf_span(&signature), TEXT, NULL), CRYPTO_SIG_GOOD);
    buf_fini(&signature);
    struct mime_pieces pieces;
    char micalg[24];
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(TEXT)), ERR_OK);
    buf_init(&signature, 1 << 16);
    assert_int_equal(crypto_openpgp_sign(home.gpg, key, &pieces, &signature, micalg), ERR_NO_SIGNING_KEY);
    buf_fini(&signature);
    mime_pieces_fini(&pieces);
    const char *const recipients[] = {key};
    assert_int_equal(encrypt("", recipients, 1, span_of(TEXT), SIZE_MOST, &signature), ERR_NO_KEY);
    buf_fini(&signature);
}

static void signature_from_the_future_is_not_good(void **state)
{
    (void)state;
    char arguments[256];
    struct buf signature;
    (void)snprintf(arguments, sizeof arguments, "--faked-system-time 20300101T000000 --local-user %s -b", bob);
    assert_true(gpg_on(span_of(TEXT), arguments, &signature));
    assert_int_not_equal(state_of(buf_span(&signature), TEXT, NULL), CRYPTO_SIG_GOOD);
    buf_fini(&signature);
}

static void several_signatures_are_each_judged(void **state)
{
    (void)state;
    char arguments[256];
    struct buf signature;
    struct crypto_openpgp_opened opened;
    (void)snprintf(arguments, sizeof arguments, "--local-user %s --local-user %s -b", alice, bob);
    assert_true(gpg_on(span_of(TEXT), arguments, &signature));
    assert_int_equal(crypto_openpgp_verify(home.gpg, buf_span(&signature), span_of(TEXT), &opened), ERR_OK);
    assert_int_equal(opened.signatures_len, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(opened.signatures[i].state, CRYPTO_SIG_GOOD);
    assert_string_not_equal(opened.signatures[0].fingerprint, opened.signatures[1].fingerprint);
    crypto_openpgp_opened_fini(&opened);
    buf_fini(&signature);
}

/* The fingerprint is the primary key's, whichever subkey signed. */
static void signing_subkey_counts_as_its_primary(void **state)
{
    (void)state;
    char key[KEYRING_FPR_SIZE], command[256];
    struct buf signature;
    assert_int_equal(gpg_home_make_key(&home, "Sub <sub@example.org>", key), ERR_OK);
    (void)snprintf(command, sizeof command, "--quick-add-key %s ed25519 sign", key);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    sign_text(key, TEXT, &signature);
    assert_int_equal(state_of(buf_span(&signature), TEXT, key), CRYPTO_SIG_GOOD);
    buf_fini(&signature);
}

/* gpg that lists no keys, or not all of one, as when it is killed: `script` stands before it. */
static void open_with(const char *script, struct keyring_gpg **gpg_out)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/short-gpg", home.path);
    (void)unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "#!/bin/sh\ncase \" $* \" in *' --list-keys '*|*' --list-secret-keys '*) %s;; esac\n"
                        "exec %s \"$@\"\n",
                        script, home.wrapper) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0700), 0);
    assert_int_equal(keyring_gpg_open(home.path, path, gpg_out), ERR_OK);
}

/* Nothing of what was found would be weak for good: the same signature is good when gpg answers again. */
static void a_key_that_cannot_be_looked_up_is_no_verdict(void **state)
{
    (void)state;
    static const char *const scripts[] = {"exit 2", "%s \"$@\" | sed -n '/^pub/p;/^uid/p'; exit 2"};
    char script[4200], arguments[256];
    struct buf signature, sealed;
    struct crypto_openpgp_opened opened;
    const struct crypto_openpgp_how how = {.text_max = 4096};
    assert_int_equal(gpg_home_shell(&home, "--quick-gen-key 'Late <late@example.org>' rsa2048"), 0);
    assert_true(gpg_on(span_of(TEXT), "--digest-algo SHA256 --local-user late@example.org -b", &signature));
    (void)snprintf(arguments, sizeof arguments,
                   "--digest-algo SHA256 --local-user late@example.org --trust-model always -r %s --sign --encrypt",
                   alice);
    assert_true(gpg_on(span_of(TEXT), arguments, &sealed));
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        struct keyring_gpg *gpg;
        (void)snprintf(script, sizeof script, scripts[i], home.wrapper);
        open_with(script, &gpg);
        for (int twice = 0; twice < 2; twice++) {
            assert_int_equal(crypto_openpgp_verify(gpg, buf_span(&signature), span_of(TEXT), &opened), ERR_LOOKUP);
            assert_int_equal(crypto_openpgp_decrypt(gpg, buf_span(&sealed), &how, &opened), ERR_LOOKUP);
            assert_int_equal(opened.text.len, 0);
        }
        keyring_gpg_close(&gpg);
    }
    assert_int_equal(state_of(buf_span(&signature), TEXT, NULL), CRYPTO_SIG_GOOD);
    assert_int_equal(crypto_openpgp_decrypt(home.gpg, buf_span(&sealed), &how, &opened), ERR_OK);
    assert_int_equal(opened.signatures[0].state, CRYPTO_SIG_GOOD);
    crypto_openpgp_opened_fini(&opened);
    buf_fini(&signature);
    buf_fini(&sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signature_verifies_for_its_text_alone),
        cmocka_unit_test(message_with_a_text_of_its_own_is_no_detached_signature),
        cmocka_unit_test(weak_hash_is_weak),
        cmocka_unit_test(signature_of_a_revoked_key_is_revoked),
        cmocka_unit_test(expired_signature_and_key_are_expired),
        cmocka_unit_test(signature_from_the_future_is_not_good),
        cmocka_unit_test(several_signatures_are_each_judged),
        cmocka_unit_test(signing_subkey_counts_as_its_primary),
        cmocka_unit_test(a_key_that_cannot_be_looked_up_is_no_verdict),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
