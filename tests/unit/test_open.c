/* What comes in: opened as a whole or shown as it came, with a verdict that nobody else can write. */
#include "crypto/open.h"
#include "crypto/seal.h"
#include "mime/field.h"
#include "tests/unit/plain_gpg.h"

#define SIZE_OF_ALL 1048576

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE], mallory[KEYRING_FPR_SIZE];
static struct keyring *keyring;

static int begin(void **state)
{
    (void)state;
    assert_int_equal(gpg_home_open(&home), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Alice <alice@example.org>", alice), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Mallory <mallory@example.org>", mallory), ERR_OK);
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    keyring_free(&keyring);
    gpg_home_close(&home);
    return 0;
}

/* A message and what became of it. */
struct mail {
    struct buf sealed, view;
    struct crypto_opened opened;
};

static void mail_fini(struct mail *mail)
{
    buf_fini(&mail->sealed);
    buf_fini(&mail->view);
}

static void open_with(struct mail *mail, const char *authserv_id)
{
    struct crypto_open_options options = {.keyring = keyring,
                                          .least = KEYRING_FOUND,
                                          .output_max = SIZE_OF_ALL,
                                          .layers_max = 8,
                                          .authserv_id = authserv_id};

    buf_init_secret(&mail->view, SIZE_OF_ALL);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail->sealed), &mail->view, &mail->opened), ERR_OK);
}

static void open_text(const char *message, struct mail *mail)
{
    buf_init(&mail->sealed, SIZE_OF_ALL);
    assert_int_equal(buf_add_string(&mail->sealed, message), ERR_OK);
    open_with(mail, NULL);
}

static void seal(enum crypto_seal_action action, const char *signer, const char *message, struct buf *out)
{
    struct crypto_seal_request request = {
        .action = action, .format = KEYRING_OPENPGP, .key_cache_dir = home.cache, .output_max = SIZE_OF_ALL};
    char recipients[1][KEYRING_FPR_SIZE];
    struct crypto_seal_result result;
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    char piece[4096];
    ssize_t count;

    memcpy(recipients[0], alice, sizeof(alice));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    request.recipients_len = 1;
    assert_true(span_copy(span_of(signer), request.signer, sizeof(request.signer)));
    assert_int_equal(crypto_seal(home.gpg, &request, span_of(message), fd, &result), ERR_OK);
    lseek(fd, 0, SEEK_SET);
    buf_init(out, SIZE_OF_ALL);
    while ((count = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    close(fd);
}

static void round_trip(enum crypto_seal_action action, const char *signer, const char *message, struct mail *mail)
{
    seal(action, signer, message, &mail->sealed);
    open_with(mail, NULL);
}

static void assert_verdict(const struct mail *mail, enum crypto_signature_state signature,
                           enum crypto_encryption_state encryption)
{
    assert_string_equal(crypto_signature_name(mail->opened.verdict.signature), crypto_signature_name(signature));
    assert_string_equal(crypto_encryption_name(mail->opened.verdict.encryption), crypto_encryption_name(encryption));
    if (signature != CRYPTO_SIG_NONE || encryption != CRYPTO_ENC_NONE)
        assert_memory_equal(mail->view.data, "Privyseal-Verdict: signature=", 29);
}

/* The view without its verdict field. */
static const char *after_verdict(const struct mail *mail)
{
    struct mime_field field;
    size_t at = 0;

    assert_true(mime_field_next(buf_span(&mail->view), &at, &field));
    assert_true(mime_field_is(&field, CRYPTO_VERDICT_FIELD));
    return mail->view.data + at;
}

static bool has(const struct mail *mail, const char *needle)
{
    return strstr(mail->view.data, needle) != NULL;
}

#define FROM "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\n"
#define TAIL "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe body\r\n.\r\n\r\n"
#define MESSAGE FROM "Subject: plans\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n" TAIL
/* MIME-Version comes after the structural fields of the payload */
#define VIEW                                                                                                           \
    FROM "Subject: plans\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"                  \
         "Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\nthe body\r\n.\r\n\r\n"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_encrypted),
        cmocka_unit_test(test_round_trip_signed_and_encrypted),
        cmocka_unit_test(test_round_trip_signed),
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
        cmocka_unit_test(test_inline_encrypted),
        cmocka_unit_test(test_clearsigned),
        cmocka_unit_test(test_mangled_by_exchange),
        cmocka_unit_test(test_legacy_protected_header),
        cmocka_unit_test(test_legacy_display_lines),
        cmocka_unit_test(test_bare_line_ends_inside),
        cmocka_unit_test(test_verdict_inside_is_not_believed),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
