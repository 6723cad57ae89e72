/* What other programs send: inline PGP, clear-signed text, older header protection, and what Exchange leaves of it. */
#include "crypto/packets.h"
#include "tests/unit/open_mail.h"

static void make_armour(const char *const *arguments, const char *text, struct buf *out)
{
    buf_init(out, SIZE_OF_ALL);
    assert_int_equal(plain_gpg(&home, arguments, span_of(text), out), 0);
}

static void test_inline_encrypted(void **state)
{
    const char *arguments[] = {"--armor", "--sign", "--encrypt", "-u", alice, "-r", alice, NULL};
    struct buf armour, message;
    struct mail mail;

    (void)state;
    make_armour(arguments, "Subject: not a header\n\ncaf\xc3\xa9\n", &armour);
    buf_init(&message, SIZE_OF_ALL);
    assert_int_equal(buf_addf(&message, FROM "Subject: outer\r\nContent-Type: text/plain\r\n\r\n%s", armour.data),
                     ERR_OK);
    open_text(message.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_string_equal(after_verdict(&mail),
                        FROM "Subject: outer\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                             "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: not a header\r\n\r\ncaf\xc3\xa9\r\n");
    mail_fini(&mail);
    assert_int_equal(buf_add_string(&message, "-- \r\nlist footer\r\n"), ERR_OK);
    open_text(message.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_PARTIAL);
    assert_string_equal(after_verdict(&mail), message.data);
    mail_fini(&mail);
    buf_fini(&message);
    buf_fini(&armour);
}

static void test_clearsigned(void **state)
{
    const char *arguments[] = {"--clearsign", "-u", alice, NULL};
    struct buf armour, message;
    struct mail mail;

    (void)state;
    make_armour(arguments, "- dash\r\nFrom me\r\nblanks  \r\n\r\nlast\r\n", &armour);
    buf_init(&message, SIZE_OF_ALL);
    assert_int_equal(buf_add_string(&message, FROM "\r\n"), ERR_OK);
    assert_int_equal(buf_add_span(&message, buf_span(&armour)), ERR_OK);
    open_text(message.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_NONE);
    assert_string_equal(after_verdict(&mail), message.data);
    mail_fini(&mail);
    memcpy(strstr(message.data, "last"), "lost", 4);
    open_text(message.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_BAD, CRYPTO_ENC_NONE);
    mail_fini(&mail);
    memcpy(strstr(message.data, "lost"), "last", 4);
    assert_int_equal(buf_add_string(&message, "unsigned\r\n"), ERR_OK);
    open_text(message.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_PARTIAL, CRYPTO_ENC_NONE);
    mail_fini(&mail);
    buf_fini(&message);
    buf_fini(&armour);
}

/* Wraps a payload as other programs do: plain gpg, then MIME by hand. */
static void open_payload(const char *payload, bool is_mangled, struct mail *mail)
{
    const char *arguments[] = {"--armor", "--encrypt", "-r", alice, NULL};
    struct buf armour;

    make_armour(arguments, payload, &armour);
    buf_init(&mail->sealed, SIZE_OF_ALL);
    assert_int_equal(buf_addf(&mail->sealed,
                              FROM "Subject: outer\r\nContent-Type: multipart/%s; boundary=b\r\n\r\n%s"
                                   "--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
                                   "--b\r\nContent-Type: application/octet-stream\r\n\r\n%s\r\n--b--\r\n",
                              is_mangled ? "mixed" : "encrypted; protocol=\"application/pgp-encrypted\"",
                              is_mangled ? "--b\r\nContent-Type: text/plain\r\n\r\n\r\n" : "", armour.data),
                     ERR_OK);
    open_with(mail, NULL);
    buf_fini(&armour);
}

static void test_mangled_by_exchange(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Subject: ignored\r\nContent-Type: text/plain\r\n\r\nthe body\r\n", true, &mail);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_OPENPGP);
    assert_string_equal(after_verdict(&mail),
                        FROM "Subject: outer\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\nthe body\r\n");
    mail_fini(&mail);
}

static void test_legacy_protected_header(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Subject: inner\r\nContent-Type: multipart/mixed; protected-headers=\"v1\"; boundary=l\r\n\r\n"
                 "--l\r\nContent-Type: text/rfc822-headers; protected-headers=\"v1\"\r\n\r\nSubject: inner\r\n\r\n"
                 "--l\r\nContent-Type: text/plain\r\n\r\nthe body\r\n--l--\r\n",
                 false, &mail);
    assert_string_equal(after_verdict(&mail),
                        FROM "Subject: inner\r\nContent-Type: multipart/mixed; boundary=l\r\nMIME-Version: 1.0\r\n\r\n"
                             "--l\r\nContent-Type: text/plain\r\n\r\nthe body\r\n--l--\r\n");
    mail_fini(&mail);
}

static void test_legacy_display_lines(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Subject: inner\r\nHP-Outer: Subject: [...]\r\n"
                 "Content-Type: text/plain; hp=\"cipher\"; hp-legacy-display=\"1\"\r\n\r\n"
                 "Subject: inner\r\n\r\nthe body\r\n",
                 false, &mail);
    assert_string_equal(strstr(mail.view.data, "Subject: inner"),
                        "Subject: inner\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\n\r\nthe body\r\n");
    mail_fini(&mail);
}

static void test_bare_line_ends_inside(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Content-Type: text/plain\n\nthe body\n.\nend\n", false, &mail);
    assert_non_null(strstr(mail.view.data, "text/plain\r\nMIME-Version: 1.0\r\n\r\nthe body\r\n.\r\nend\r\n"));
    mail_fini(&mail);
}

static void test_verdict_inside_is_not_believed(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Subject: inner\r\nprivyseal-VERDICT: forged\r\nReceived: forged\r\nAuthentication-Results: forged\r\n"
                 "Content-Type: text/plain; hp=\"cipher\"\r\n\r\nthe body\r\n",
                 false, &mail);
    assert_false(has(&mail, "forged"));
    mail_fini(&mail);
}

/* No reader may see a field begin within another one. */
static void test_fields_within_fields(void **state)
{
    struct mail mail;

    (void)state;
    open_payload("Subject: inner\rPrivyseal-Verdict: forged\nX-One: 1\rX-Two: 2\r\n"
                 "Content-Type: text/plain;\r hp=\"cipher\"\rPrivyseal-Verdict: signature=good; forged\r\n"
                 "Content-Language: en\rPrivyseal-Verdict: forged\n\r\nthe body\r\n",
                 false, &mail);
    assert_false(has(&mail, "\rPrivyseal-Verdict"));
    assert_false(has(&mail, "\nPrivyseal-Verdict"));
    assert_true(has(&mail, "\r\nX-One: 1 X-Two: 2\r\n"));
    mail_fini(&mail);
    open_payload("Content-Type: text/plain\rPrivyseal-Verdict: forged\n\nthe body\r\n", false, &mail);
    assert_false(has(&mail, "\nPrivyseal-Verdict"));
    mail_fini(&mail);
    open_text(FROM "X-One: 1\rprivyseal-verdict: forged\r\n\r\nthe body\r\n", &mail);
    assert_string_equal(mail.view.data, FROM "\r\nthe body\r\n");
    mail_fini(&mail);
}

static void test_results_of_our_name_are_removed(void **state)
{
    static const char *const forged[] = {"me.example; x=pass", " (a\\(b) \"me.example\" 1; x=pass", "(\\)) ME.example"};
    struct mail mail;

    (void)state;
    for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
        buf_init(&mail.sealed, SIZE_OF_ALL);
        assert_int_equal(buf_addf(&mail.sealed, FROM "Authentication-Results:%s\r\n\r\nthe body\r\n", forged[i]),
                         ERR_OK);
        open_with(&mail, "me.example");
        assert_string_equal(mail.view.data, FROM "\r\nthe body\r\n");
        mail_fini(&mail);
    }
}

/* Text that a person signed or encrypted by hand, in a message that was encrypted as a whole on its way: the header is
   that of the whole, and a signature over the text alone vouches for no author that only stands inside. */
static void test_inline_within_a_layer(void **state)
{
    const char *sign[] = {"--clearsign", "-u", alice, NULL};
    const char *encrypt[] = {"--armor", "--sign", "--encrypt", "-u", alice, "-r", alice, NULL};
    const char *const *const ways[] = {sign, encrypt};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf armour, message;
        struct mail mail;

        make_armour(ways[i], "by hand\xff\n", &armour);
        buf_init(&message, SIZE_OF_ALL);
        assert_int_equal(
            buf_addf(&message, FROM "Subject: inner\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n"), ERR_OK);
        for (const char *at = armour.data; *at != '\0'; at++)
            assert_int_equal(buf_add_string(&message, *at == '\n' ? "\r\n" : (char[]){*at, '\0'}), ERR_OK);
        round_trip(CRYPTO_SEAL_ENCRYPT, "", message.data, &mail);
        assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
        assert_true(has(&mail, "Subject: inner\r\n") && has(&mail, "by hand\xff"));
        assert_true(has(&mail, "charset=iso-8859-1\r\n"));
        assert_false(has(&mail, "[...]") || has(&mail, "multipart/encrypted") || has(&mail, "hp="));
        mail_fini(&mail);
        /* a text of Alice in a message of Mallory, which says inside that it is Alice's */
        seal(CRYPTO_SEAL_ENCRYPT, "", message.data, &mail.sealed);
        memcpy(strstr(mail.sealed.data, "alice@"), "mal12@", 6);
        open_with(&mail, NULL);
        assert_verdict(&mail, CRYPTO_SIG_MISMATCH, CRYPTO_ENC_OPENPGP);
        assert_true(has(&mail, "mal12@") && !has(&mail, "alice@"));
        mail_fini(&mail);
        buf_fini(&message);
        buf_fini(&armour);
    }
}

/* Nobody is asked for a password that a stranger chose: such mail is shown as it came. */
static void test_password(void **state)
{
    const char *alone[] = {"--armor", "--symmetric", "--pinentry-mode", "loopback", "--passphrase", "x", NULL};
    const char *both[] = {
        "--armor", "--symmetric", "--pinentry-mode", "loopback", "--passphrase", "x", "--encrypt", "-r", alice, NULL};
    const char *const *const ways[] = {alone, both};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct crypto_openpgp_how how = {.text_max = SIZE_OF_ALL};
        struct crypto_openpgp_opened opened;
        struct buf armour, message;
        struct mail mail;

        make_armour(ways[i], "Content-Type: text/plain\r\n\r\nthe body\r\n", &armour);
        assert_true(crypto_cipher_has_password(buf_span(&armour)));
        if (i == 0) /* and should that look have been deceived */
            assert_int_equal(crypto_openpgp_decrypt(home.gpg, buf_span(&armour), &how, &opened), ERR_DECRYPT);
        buf_init(&message, SIZE_OF_ALL);
        assert_int_equal(buf_addf(&message, FROM "\r\n%s", armour.data), ERR_OK);
        open_text(message.data, &mail);
        assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
        assert_string_equal(after_verdict(&mail), message.data);
        mail_fini(&mail);
        buf_fini(&message);
        buf_fini(&armour);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inline_encrypted),
        cmocka_unit_test(test_clearsigned),
        cmocka_unit_test(test_mangled_by_exchange),
        cmocka_unit_test(test_legacy_protected_header),
        cmocka_unit_test(test_legacy_display_lines),
        cmocka_unit_test(test_bare_line_ends_inside),
        cmocka_unit_test(test_verdict_inside_is_not_believed),
        cmocka_unit_test(test_fields_within_fields),
        cmocka_unit_test(test_inline_within_a_layer),
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_results_of_our_name_are_removed),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
