/* What comes in: opened as a whole or shown as it came, with a verdict that nobody else can write. */
#include "tests/unit/open_mail.h"

#include "keyring/peer.h"

static void test_round_trip_encrypted(void **state)
{
    struct mail mail;

    (void)state;
    round_trip(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &mail);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_OPENPGP);
    assert_string_equal(after_verdict(&mail), VIEW);
    assert_true(mail.opened.is_changed);
    mail_fini(&mail);
}

static void test_round_trip_signed_and_encrypted(void **state)
{
    struct mail mail;

    (void)state;
    round_trip(CRYPTO_SEAL_SIGN_ENCRYPT, alice, MESSAGE, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_string_equal(mail.opened.verdict.signer, "alice@example.org");
    assert_string_equal(after_verdict(&mail), VIEW);
    mail_fini(&mail);
}

static void test_round_trip_signed(void **state)
{
    struct mail mail;

    (void)state;
    round_trip(CRYPTO_SEAL_SIGN, alice, MESSAGE, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_NONE);
    assert_string_equal(after_verdict(&mail), mail.sealed.data);
    assert_false(mail.opened.is_changed);
    mail_fini(&mail);
}

static bool can_read_record(const char *author, void *context)
{
    const bool *can_read = context;

    assert_string_equal(author, "alice@example.org");
    return *can_read;
}

/* A record is damaged: the author's own, which may rule the key out, or another's. */
static void test_records_that_cannot_be_read(void **state)
{
    struct crypto_open_options options = {.least = KEYRING_FOUND, .output_max = SIZE_OF_ALL, .layers_max = 8};
    struct keyring *incomplete;
    bool can_read = false;
    struct mail mail;

    (void)state;
    assert_int_equal(keyring_vouch(keyring, SPAN_NONE, 1, &incomplete), ERR_OK);
    keyring_set_incomplete(incomplete);
    options.keyring = incomplete;
    seal(CRYPTO_SEAL_SIGN, alice, MESSAGE, &mail.sealed);
    for (int i = 0; i < 3; i++) {
        options.can_read_record = i == 0 ? NULL : can_read_record;
        options.record_context = &can_read;
        can_read = i == 2;
        buf_init_secret(&mail.view, SIZE_OF_ALL);
        assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_OK);
        assert_verdict(&mail, can_read ? CRYPTO_SIG_GOOD : CRYPTO_SIG_UNTRUSTED, CRYPTO_ENC_NONE);
        buf_fini(&mail.view);
    }
    buf_fini(&mail.sealed);
    keyring_free(&incomplete);
}

/* RFC 9787: the layers of one message, in either order. */
static void test_both_orders_of_nesting(void **state)
{
    struct buf inner;
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN, alice, MESSAGE, &inner);
    round_trip(CRYPTO_SEAL_ENCRYPT, "", inner.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "Subject: plans") && has(&mail, "multipart/signed") && has(&mail, "the body"));
    mail_fini(&mail);
    buf_fini(&inner);
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &inner);
    round_trip(CRYPTO_SEAL_SIGN, alice, inner.data, &mail);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "Subject: plans") && has(&mail, "the body"));
    mail_fini(&mail);
    buf_fini(&inner);
}

static void test_own_verdicts_are_not_believed(void **state)
{
    struct mail mail;
    struct buf sealed;

    (void)state;
    buf_init(&mail.sealed, SIZE_OF_ALL);
    seal(CRYPTO_SEAL_SIGN, mallory,
         "From: mallory@example.org\r\nX-Kept: 1\r\nContent-Type: message/rfc822\r\n\r\n"
         "Privyseal-Verdict: inside\r\n\r\nx\r\n",
         &sealed);
    assert_int_equal(buf_add_string(&mail.sealed, "PRIVYSEAL-verdict :\r\n signature=good; forged\r\n"
                                                  "Authentication-Results: (c) Me.example ; x-privyseal=pass forged\r\n"
                                                  "Authentication-Results: other.example; dkim=pass\r\n"),
                     ERR_OK);
    assert_int_equal(buf_add_span(&mail.sealed, buf_span(&sealed)), ERR_OK);
    open_with(&mail, "me.example");
    assert_false(has(&mail, "forged"));
    assert_true(has(&mail, "Privyseal-Verdict: inside") && has(&mail, "other.example") && has(&mail, "X-Kept: 1"));
    assert_true(has(&mail, "Authentication-Results: me.example; x-privyseal=pass"));
    mail_fini(&mail);
    buf_fini(&sealed);
}

static void test_without_protection_nothing_is_added(void **state)
{
    struct mail mail;

    (void)state;
    open_text(MESSAGE, &mail);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_NONE);
    assert_string_equal(mail.view.data, MESSAGE);
    mail_fini(&mail);
    open_text("Privyseal-Verdict: signature=good\r\n" MESSAGE, &mail);
    assert_string_equal(mail.view.data, MESSAGE);
    mail_fini(&mail);
}

static void test_tampered_and_truncated(void **state)
{
    struct mail mail, cut;
    char *line;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, alice, MESSAGE, &mail.sealed);
    buf_init(&cut.sealed, SIZE_OF_ALL);
    line = strstr(strstr(mail.sealed.data, "-----BEGIN PGP MESSAGE-----"), "\r\n\r\n") + 4 + 66 * 3;
    assert_int_equal(buf_add(&cut.sealed, mail.sealed.data, (size_t)(line - mail.sealed.data)), ERR_OK);
    assert_int_equal(buf_add_string(&cut.sealed, strstr(mail.sealed.data, "-----END PGP MESSAGE-----")), ERR_OK);
    open_with(&cut, NULL);
    assert_verdict(&cut, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
    assert_string_equal(after_verdict(&cut), cut.sealed.data);
    line[5] = line[5] == 'A' ? 'B' : 'A';
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
    assert_string_equal(after_verdict(&mail), mail.sealed.data);
    assert_false(mail.opened.is_changed);
    mail_fini(&mail);
    mail_fini(&cut);
}

static void test_signed_body_was_changed(void **state)
{
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN, alice, MESSAGE, &mail.sealed);
    memcpy(strstr(mail.sealed.data, "the body"), "The", 3);
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_BAD, CRYPTO_ENC_NONE);
    mail_fini(&mail);
}

/* The outer subject of a signed message was rewritten on the way: the signed one counts. */
static void test_signed_header_was_changed(void **state)
{
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN, alice, MESSAGE, &mail.sealed);
    memcpy(strstr(mail.sealed.data, "plans"), "PLANS", 5);
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_NONE);
    assert_true(mail.opened.is_changed);
    assert_false(has(&mail, "PLANS"));
    mail_fini(&mail);
}

static void test_fields_added_outside(void **state)
{
    struct mail mail;
    struct buf sealed;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, alice, MESSAGE, &sealed);
    buf_init(&mail.sealed, SIZE_OF_ALL);
    assert_int_equal(buf_add_string(&mail.sealed, "Received: kept\r\nList-Id: kept\r\nReply-To: mallory@example.org\r\n"
                                                  "Cc: mallory@example.org\r\nX-Spam: kept\r\n"),
                     ERR_OK);
    assert_int_equal(buf_add_span(&mail.sealed, buf_span(&sealed)), ERR_OK);
    open_with(&mail, NULL);
    assert_false(has(&mail, "mallory"));
    assert_true(has(&mail, "Received: kept\r\nList-Id: kept\r\nX-Spam: kept\r\n"));
    mail_fini(&mail);
    buf_fini(&sealed);
}

/* Replaces the outer header's From of a sealed message. */
static void set_outer_from(struct buf *sealed, const char *from)
{
    struct buf changed;
    struct mime_field field;

    buf_init(&changed, SIZE_OF_ALL);
    assert_true(mime_field_find(buf_span(sealed), "From", &field));
    assert_int_equal(buf_addf(&changed, "From: %s\r\n", from), ERR_OK);
    assert_int_equal(buf_add_string(&changed, field.whole.ptr + field.whole.len), ERR_OK);
    buf_fini(sealed);
    *sealed = changed;
}

static void test_inner_author_without_signature(void **state)
{
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &mail.sealed);
    set_outer_from(&mail.sealed, "mallory@example.org");
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "From: mallory@example.org"));
    assert_false(has(&mail, "alice"));
    mail_fini(&mail);
}

static void test_inner_author_signed_by_another(void **state)
{
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, mallory, MESSAGE, &mail.sealed);
    set_outer_from(&mail.sealed, "mallory@example.org");
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_MISMATCH, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "From: mallory@example.org"));
    mail_fini(&mail);
    round_trip(CRYPTO_SEAL_SIGN_ENCRYPT, mallory, MESSAGE, &mail);
    assert_verdict(&mail, CRYPTO_SIG_MISMATCH, CRYPTO_ENC_OPENPGP);
    mail_fini(&mail);
}

static void test_inner_author_signed_well(void **state)
{
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, alice, MESSAGE, &mail.sealed);
    set_outer_from(&mail.sealed, "list@example.org");
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "From: Alice <alice@example.org>"));
    assert_false(has(&mail, "list@example.org"));
    mail_fini(&mail);
}

/* A list wraps the message and adds a footer: nothing is opened, nothing is spliced. */
static void test_beside_other_parts(void **state)
{
    static const enum crypto_seal_action actions[] = {CRYPTO_SEAL_SIGN, CRYPTO_SEAL_ENCRYPT};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct buf inner, wrapped;
        struct mail mail;

        seal(actions[i], i == 0 ? alice : "", MESSAGE, &inner);
        buf_init(&wrapped, SIZE_OF_ALL);
        assert_int_equal(buf_addf(&wrapped,
                                  FROM "Content-Type: multipart/mixed; boundary=w\r\n\r\n--w\r\n"
                                       "Content-Type: text/html\r\n\r\n<img src=\"http://mallory.example/\r\n--w\r\n%s"
                                       "\r\n--w\r\n\r\n\">\r\n--w--\r\n",
                                  strstr(inner.data, "Content-Type:")),
                         ERR_OK);
        open_text(wrapped.data, &mail);
        assert_verdict(&mail, i == 0 ? CRYPTO_SIG_PARTIAL : CRYPTO_SIG_NONE,
                       i == 0 ? CRYPTO_ENC_NONE : CRYPTO_ENC_PARTIAL);
        assert_string_equal(after_verdict(&mail), wrapped.data);
        mail_fini(&mail);
        buf_fini(&inner);
        buf_fini(&wrapped);
    }
}

static void test_round_trip_8bit(void **state)
{
    struct mail mail;

    (void)state;
    round_trip(CRYPTO_SEAL_ENCRYPT, "",
               FROM "Subject: caf\xc3\xa9\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9 \r\n-- \r\nFrom me\r\n",
               &mail);
    assert_string_equal(after_verdict(&mail), FROM "Subject: caf\xc3\xa9\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                                   "Content-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n\r\n"
                                                   "caf\xc3\xa9 \r\n-- \r\nFrom me\r\n");
    mail_fini(&mail);
}

static void test_smime_is_shown_as_it_came(void **state)
{
    static const char message[] = FROM "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
                                       "Content-Transfer-Encoding: base64\r\n\r\nMAA=\r\n";
    struct mail mail;

    (void)state;
    open_text(message, &mail);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
    assert_string_equal(after_verdict(&mail), message);
    mail_fini(&mail);
}

static void test_more_parts_than_anybody_sends(void **state)
{
    struct buf message;
    struct mail mail;

    (void)state;
    buf_init(&message, SIZE_OF_ALL);
    assert_int_equal(buf_add_string(&message, "Content-Type: multipart/mixed; boundary=b\r\n\r\n"), ERR_OK);
    for (int i = 0; i < 10100; i++)
        assert_int_equal(buf_add_string(&message, "--b\r\n\r\nx\r\n"), ERR_OK);
    buf_init(&mail.sealed, SIZE_OF_ALL);
    assert_int_equal(buf_addf(&mail.sealed, "Privyseal-Verdict: forged\r\n%s", message.data), ERR_OK);
    open_with(&mail, NULL);
    assert_string_equal(mail.view.data, message.data);
    assert_string_not_equal(mail.opened.reason, "");
    mail_fini(&mail);
    buf_fini(&message);
}

static void test_layers_and_size_are_bounded(void **state)
{
    struct crypto_open_options options = {
        .keyring = keyring, .least = KEYRING_FOUND, .output_max = SIZE_OF_ALL, .layers_max = 1};
    struct buf inner;
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &inner);
    seal(CRYPTO_SEAL_ENCRYPT, "", inner.data, &mail.sealed);
    buf_init_secret(&mail.view, SIZE_OF_ALL);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_OK);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_OPENPGP);
    assert_true(has(&mail, "multipart/encrypted"));
    options.output_max = 200; /* less than the payload */
    buf_clear(&mail.view);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_OK);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
    assert_string_equal(after_verdict(&mail), mail.sealed.data);
    buf_fini(&mail.view);
    buf_init_secret(&mail.view, 300); /* no room for the view: an error, and nothing of it */
    options.output_max = SIZE_OF_ALL;
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_LIMIT);
    assert_int_equal(mail.view.len, 0);
    mail_fini(&mail);
    buf_fini(&inner);
}

/* Shown as it came, the first time and whenever it is made again, also from the decision alone. */
static void test_too_large_for_its_reader(void **state)
{
    struct crypto_open_options options = {
        .keyring = keyring, .least = KEYRING_FOUND, .output_max = SIZE_OF_ALL, .layers_max = 1, .is_too_large = true};
    struct crypto_decision decided;
    struct buf first;
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &mail.sealed);
    buf_init_secret(&mail.view, SIZE_OF_ALL);
    buf_init_secret(&first, SIZE_OF_ALL);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_OK);
    assert_verdict(&mail, CRYPTO_SIG_NONE, CRYPTO_ENC_FAILED);
    assert_string_equal(after_verdict(&mail), mail.sealed.data);
    assert_int_equal(mail.opened.session_keys.len, 0);
    assert_string_not_equal(mail.opened.reason, "");
    assert_int_equal(buf_add_span(&first, buf_span(&mail.view)), ERR_OK);
    decided = mail.opened.decision;
    options.decided = &decided;
    options.is_too_large = false;
    buf_clear(&mail.view);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail.sealed), &mail.view, &mail.opened), ERR_OK);
    assert_string_equal(mail.view.data, first.data);
    buf_fini(&first);
    mail_fini(&mail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_encrypted),
        cmocka_unit_test(test_round_trip_signed_and_encrypted),
        cmocka_unit_test(test_round_trip_signed),
        cmocka_unit_test(test_records_that_cannot_be_read),
        cmocka_unit_test(test_both_orders_of_nesting),
        cmocka_unit_test(test_own_verdicts_are_not_believed),
        cmocka_unit_test(test_without_protection_nothing_is_added),
        cmocka_unit_test(test_tampered_and_truncated),
        cmocka_unit_test(test_signed_body_was_changed),
        cmocka_unit_test(test_signed_header_was_changed),
        cmocka_unit_test(test_fields_added_outside),
        cmocka_unit_test(test_inner_author_without_signature),
        cmocka_unit_test(test_inner_author_signed_by_another),
        cmocka_unit_test(test_inner_author_signed_well),
        cmocka_unit_test(test_beside_other_parts),
        cmocka_unit_test(test_round_trip_8bit),
        cmocka_unit_test(test_smime_is_shown_as_it_came),
        cmocka_unit_test(test_more_parts_than_anybody_sends),
        cmocka_unit_test(test_layers_and_size_are_bounded),
        cmocka_unit_test(test_too_large_for_its_reader),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
