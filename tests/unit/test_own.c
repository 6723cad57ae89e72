/* Own copies: what is saved comes back byte for byte, and nobody else's message is taken for one. */
#include "crypto/own.h"

#include "tests/unit/open_mail.h"

#define BODY "Content-Type: text/plain; charset=utf-8\r\n\r\nthe body\r\n"
#define HEAD                                                                                                           \
    "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nFrom: Alice <alice@example.org>\r\nTo: bob@example.net\r\n"              \
    "Bcc: secret@example.net\r\nSubject: plans\r\nX-Mailer: a program\r\nMessage-ID: <1@example.org>\r\n"

/* Messages as programs save them, and as none should. */
static const char *const messages[] = {
    HEAD BODY,
    HEAD "MIME-Version: 1.0\r\n" BODY,
    HEAD "\r\nno type at all\r\n",
    HEAD "\r\nno type at all \xc3\xa4",
    HEAD "Content-Type: text/plain\r\n\r\n",
    HEAD "\r\n",
    HEAD,
    "\r\n",
    "\r\nbody alone",
    "x",
    "x\r\n\r\ny",
    ": \r\n\r\n",
    "From alice Fri Nov 20 2026\r\nSubject: a\r\n\r\nb\r\n",
    "Subject: a\r\nno field\r\n\r\nb\r\n",
    "Subject: a\nX: bare\n\nb\n",
    "To: a@x\nFrom: a\rb\r\nSubject: c",
    "To: no end",
    "Subject: a\r\n\r\nbare\nline\rends\r\n",
    "Subject: a\r\n folded\r\n\tand again\r\nTo: x@y\r\n\r\nb",
    "Subject: a\rPrivyseal-Own: header\r\n\r\nb",
    "Subject: a\r\nSubject: b\r\n\r\nc",
    "SUBJECT : odd\r\nsubject:\r\n\r\n",
    "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nb",
    "Content-Type: (c) text/plain\r\n\r\nb",
    "Content-Type: text / plain\r\n\r\nb",
    "Content-Type: nonsense\r\n\r\nb",
    "Content-Type:\r\n text/plain;\r\n charset=us-ascii\r\n\r\nb",
    "Content-Type: text/plain(comment); x=\"hp=1; \\\"\"\r\n\r\nb",
    "Content-Type: text/plain; hp=\"cipher\"\r\n\r\nb",
    "Content-Type: text/plain; protected-headers=\"v1\"; hp=\"cipher\"\r\n\r\nb",
    "HP-Outer: Subject: a\r\nSubject: b\r\n\r\nc",
    "Subject: b\r\nHP-Outer: Subject: a\r\n\r\nc",
    "Privyseal-Own: header\r\nSubject: b\r\n\r\nc",
    "Privyseal-Own: message\r\nContent-Type: message/rfc822\r\n\r\nSubject: c\r\n\r\nd",
    "Content-Type: message/rfc822\r\n\r\nPrivyseal-Own: message\r\n\r\nd",
    "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
    "Content-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n",
    "Content-Type: multipart/encrypted; protocol=\"application/pgp-encrypted\"; boundary=b\r\n\r\n--b\r\n"
    "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\n"
    "Content-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nx\r\n-----END PGP "
    "MESSAGE-----\r\n--b--\r\n",
    "From: \xe4\xf6 <alice@example.org>\r\nSubject: \xe4\r\n\r\n\xe4\r\n",
    "Subject: blanks at the end  \t\r\nX:   \r\n \r\nY: 1\r\n\r\nFrom here  \r\n-- \r\n",
};
#define MESSAGES_LEN (sizeof(messages) / sizeof(*messages))

static struct buf wrap(struct span message, struct buf *outer)
{
    struct mime_pieces payload;
    struct buf whole;
    size_t hint = 0;

    mime_pieces_init(&payload);
    buf_init(outer, SIZE_OF_ALL);
    buf_init(&whole, SIZE_OF_ALL);
    assert_int_equal(crypto_own_wrap(message, &payload, outer), ERR_OK);
    assert_int_equal(buf_reserve(&whole, payload.size + 1), ERR_OK);
    assert_int_equal(mime_pieces_read(&payload, 0, whole.data, payload.size, &hint), payload.size);
    whole.len = payload.size;
    whole.data[whole.len] = '\0';
    mime_pieces_fini(&payload);
    return whole;
}

/* Lines that every server reads the same way, and that end. */
static void assert_clean(const struct buf *outer)
{
    for (size_t i = 0; i < outer->len; i++) {
        assert_true(outer->data[i] != '\0' && (outer->data[i] != '\r' || outer->data[i + 1] == '\n'));
        assert_true(outer->data[i] != '\n' || (i > 0 && outer->data[i - 1] == '\r'));
    }
    assert_true(outer->len == 0 || outer->data[outer->len - 1] == '\n');
}

static void assert_comes_back(struct span message)
{
    struct buf outer, payload = wrap(message, &outer), out;

    buf_init(&out, SIZE_OF_ALL);
    assert_true(crypto_own_has_mark(buf_span(&payload)));
    assert_int_equal(crypto_own_unwrap(buf_span(&payload), &out), ERR_OK);
    assert_true(span_is_equal(buf_span(&out), message));
    assert_clean(&outer);
    assert_int_equal(span_find_case(buf_span(&outer), 0, SPAN_LIT("bcc")), SIZE_MAX);
    assert_int_equal(span_find_case(buf_span(&outer), 0, SPAN_LIT("x-mailer")), SIZE_MAX);
    assert_int_equal(span_find(buf_span(&outer), 0, SPAN_LIT("plans")), SIZE_MAX);
    buf_fini(&outer);
    buf_fini(&payload);
    buf_fini(&out);
}

static void test_wrapped_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGES_LEN; i++)
        assert_comes_back(span_of(messages[i]));
    assert_comes_back(SPAN_LIT(""));
    assert_comes_back(SPAN_LIT("Subject: a\0b\r\n\r\nc"));
    assert_comes_back(SPAN_LIT("Subject: a\r\n\r\nc\0d"));
}

/* Where it can be, the header stands under protection, so that other programs show it. */
static void test_header_form_is_used(void **state)
{
    struct buf outer, payload = wrap(span_of(messages[0]), &outer);

    (void)state;
    assert_true(strncmp(payload.data, "Privyseal-Own: header\r\nHP-Outer: Date:", 37) == 0);
    assert_non_null(strstr(payload.data, "\r\nHP-Outer: Subject: [...]\r\n"));
    assert_non_null(strstr(payload.data, "\r\nSubject: plans\r\n"));
    assert_non_null(strstr(payload.data, "Content-Type: text/plain; protected-headers=\"v1\"; hp=\"cipher\"; charset"));
    assert_string_equal(outer.data, "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nFrom: Alice <alice@example.org>\r\n"
                                    "To: bob@example.net\r\nSubject: [...]\r\nMessage-ID: <1@example.org>\r\n");
    buf_fini(&outer);
    buf_fini(&payload);
}

/* And where another program might read the header in another way than it was meant, the message stays whole. */
static void test_odd_headers_stay_whole(void **state)
{
    static const char *const odd[] = {
        "Subject: a",
        "Subject: a\r\n",
        "Subject: a\nX: 1\r\n\r\nb",
        "Subject: a\rb\r\n\r\nb",
        "From alice\r\nSubject: a\r\n\r\nb",
        "HP-Outer: a\r\nSubject: b\r\n\r\nc",
        "Subject: b\r\nHP-Outer: Subject: a\r\n\r\nc",
        "Subject: b\r\nPrivyseal-Own: header\r\n\r\nc",
        "Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nb",
        "Content-Type: nonsense\r\n\r\nb",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct buf outer, whole = wrap(span_of(odd[i]), &outer);

        assert_true(span_has_prefix(buf_span(&whole), SPAN_LIT("Privyseal-Own: message\r\n")));
        buf_fini(&outer);
        buf_fini(&whole);
    }
}

static void test_verdict_fields_are_left_out(void **state)
{
    struct buf outer, out, payload;

    (void)state;
    payload = wrap(SPAN_LIT("privyseal-VERDICT:\r\n forged\r\nSubject: a\r\nPrivyseal-Verdict: x\r\n\r\n"
                            "Privyseal-Verdict: body\r\n"),
                   &outer);
    buf_init(&out, SIZE_OF_ALL);
    assert_int_equal(crypto_own_unwrap(buf_span(&payload), &out), ERR_OK);
    assert_string_equal(out.data, "Subject: a\r\n\r\nPrivyseal-Verdict: body\r\n");
    buf_fini(&outer);
    buf_fini(&out);
    buf_fini(&payload);
}

static void test_what_is_not_wrapped(void **state)
{
    static const char *const without[] = {"",
                                          "Privyseal-Own",
                                          "Privyseal-Own: \r\n",
                                          "privyseal-own: header\r\n\r\n",
                                          " Privyseal-Own: header\r\n",
                                          "X: 1\r\nPrivyseal-Own: header\r\n\r\n"};
    static const char *const wrong[] = {
        "Privyseal-Own: header\r\n",
        "Privyseal-Own: header\r\n\r\nb",
        "Privyseal-Own: header\r\nContent-Type: text/plain\r\n\r\nb",
        "Privyseal-Own: header, type\r\nSubject: a\r\nContent-Type: text/plain\r\n\r\nb",
        "Privyseal-Own: message\r\nX: 1",
    };
    struct buf out;

    (void)state;
    buf_init(&out, SIZE_OF_ALL);
    for (size_t i = 0; i < sizeof(without) / sizeof(*without); i++)
        assert_int_equal(crypto_own_unwrap(span_of(without[i]), &out), ERR_NOT_FOUND);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_int_equal(crypto_own_unwrap(span_of(wrong[i]), &out), ERR_MALFORMED);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

static enum err seal_own_as(const char *signer, struct span message, struct crypto_seal_result *result, struct buf *out)
{
    struct crypto_seal_request request = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                                          .format = KEYRING_OPENPGP,
                                          .key_cache_dir = home.cache,
                                          .output_max = SIZE_OF_ALL};
    char recipients[1][KEYRING_FPR_SIZE], piece[4096];
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    ssize_t count;

    memcpy(recipients[0], alice, sizeof(alice));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    request.recipients_len = 1;
    assert_true(span_copy(span_of(signer), request.signer, sizeof(request.signer)));
    enum err err = crypto_seal_own(home.gpg, &request, message, fd, result);
    lseek(fd, 0, SEEK_SET);
    buf_init(out, SIZE_OF_ALL);
    while (err == ERR_OK && (count = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    close(fd);
    return err;
}

static void seal_own(struct span message, struct mail *mail)
{
    struct crypto_seal_result result;

    assert_int_equal(seal_own_as(alice, message, &result, &mail->sealed), ERR_OK);
    assert_string_equal(result.signed_by, alice);
    assert_int_equal(result.size, mail->sealed.len);
}

static void assert_own(const struct mail *mail, struct span message)
{
    assert_int_equal(mail->opened.verdict.signature, CRYPTO_SIG_NONE);
    assert_int_equal(mail->opened.verdict.encryption, CRYPTO_ENC_NONE);
    assert_true(mail->opened.decision.is_own);
    assert_true(mail->opened.is_changed);
    assert_false(mail->opened.is_plain);
    assert_true(span_is_equal(buf_span(&mail->view), message));
}

static void test_sealed_copy_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < MESSAGES_LEN; i++) {
        struct mail mail;

        seal_own(span_of(messages[i]), &mail);
        assert_null(strstr(mail.sealed.data, "secret@"));
        assert_null(strstr(mail.sealed.data, "plans"));
        assert_null(strstr(mail.sealed.data, "Privyseal-Own"));
        open_with(&mail, NULL);
        assert_own(&mail, span_of(messages[i]));
        mail_fini(&mail);
    }
}

/* The view keeps no verdict field of ours, whoever wrote it. */
static void test_results_of_our_name_are_not_shown(void **state)
{
    struct mail mail;

    (void)state;
    seal_own(SPAN_LIT("Authentication-Results: me.example; forged\r\nSubject: a\r\n\r\nb"), &mail);
    open_with(&mail, "me.example");
    assert_own(&mail, SPAN_LIT("Subject: a\r\n\r\nb"));
    mail_fini(&mail);
}

static void test_what_is_encrypted_stays_as_it_is(void **state)
{
    struct crypto_seal_result result;
    struct buf sealed;
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, alice, HEAD BODY, &sealed);
    assert_int_equal(seal_own_as(alice, buf_span(&sealed), &result, &mail.sealed), ERR_OK);
    assert_true(span_is_equal(buf_span(&mail.sealed), buf_span(&sealed)));
    assert_string_equal(result.signed_by, "");
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    buf_fini(&sealed);
}

/* A payload with the mark, encrypted by gpg itself as `ways` say. */
static void forge(const char *const *ways, const char *payload, struct mail *mail)
{
    struct buf armour;

    buf_init(&armour, SIZE_OF_ALL);
    buf_init(&mail->sealed, SIZE_OF_ALL);
    assert_int_equal(plain_gpg(&home, ways, span_of(payload), &armour), 0);
    assert_int_equal(buf_addf(&mail->sealed,
                              "From: alice@example.org\r\nContent-Type: multipart/encrypted; boundary=b; "
                              "protocol=\"application/pgp-encrypted\"\r\n\r\n--b\r\nContent-Type: "
                              "application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: "
                              "application/octet-stream\r\n\r\n%s\r\n--b--\r\n",
                              armour.data),
                     ERR_OK);
    buf_fini(&armour);
    open_with(mail, NULL);
}

static const char payload[] = "Privyseal-Own: message\r\nFrom: alice@example.org\r\n"
                              "Content-Type: message/rfc822; protected-headers=\"v1\"; hp=\"cipher\"\r\n\r\n"
                              "From: alice@example.org\r\nSubject: forged\r\n\r\nx\r\n";

static struct keyring *listed;

/* One key as it could stand in the ring. */
static void begin_judging(const char *fingerprint, bool has_secret, enum keyring_trust trust,
                          const struct keyring_entry *flags)
{
    listed = keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    for (size_t i = 0; i < keyring_len(listed); i++) {
        struct keyring_entry entry = *keyring_at(listed, i);

        if (strcmp(entry.fingerprint, fingerprint) == 0) {
            entry.has_secret = has_secret;
            entry.trust = trust;
            entry.is_revoked = flags != NULL && flags->is_revoked;
            entry.is_disabled = flags != NULL && flags->is_disabled;
        }
        assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
    }
}

static void end_judging(void)
{
    keyring_free(&keyring);
    keyring = listed;
}

/* Somebody who has nothing but the public key, or only a key that the account trusts. */
static void test_mark_of_others_counts_for_nothing(void **state)
{
    const char *unsigned_[] = {"--armor", "--trust-model", "always", "--encrypt", "-r", alice, NULL};
    const char *theirs[] = {"--armor", "--trust-model", "always", "--sign", "-u",
                            mallory,   "--encrypt",     "-r",     alice,    NULL};
    const char *ours[] = {"--armor", "--trust-model", "always", "--sign", "-u", alice, "--encrypt", "-r", alice, NULL};
    const char *const *const ways[] = {unsigned_, theirs, ours};

    (void)state;
    begin_judging(mallory, false, KEYRING_FULL, NULL);
    for (size_t i = 0; i < 3; i++) {
        struct mail mail;

        forge(ways[i], payload, &mail);
        assert_int_equal(mail.opened.decision.is_own, i == 2);
        if (i < 2)
            assert_verdict(&mail, i == 0 ? CRYPTO_SIG_NONE : CRYPTO_SIG_MISMATCH, CRYPTO_ENC_OPENPGP);
        mail_fini(&mail);
    }
    end_judging();
}

/* The own key must be in order, the signature good and the only one, and the mark in a part of MIME. */
static void test_own_signature_must_be_good(void **state)
{
    const char *weak[] = {"--armor", "--digest-algo", "SHA1", "--sign", "-u", alice, "--encrypt", "-r", alice, NULL};
    const char *both[] = {"--armor", "--sign", "-u", alice, "-u", mallory, "--encrypt", "-r", alice, NULL};
    const char *turned[] = {"--armor", "--sign", "-u", mallory, "-u", alice, "--encrypt", "-r", alice, NULL};
    const char *ours[] = {"--armor", "--sign", "-u", alice, "--encrypt", "-r", alice, NULL};
    const char *const *const ways[] = {weak, both, turned, ours};
    struct buf armour;
    struct mail mail;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        forge(ways[i], payload, &mail);
        assert_int_equal(mail.opened.decision.is_own, i == 3);
        mail_fini(&mail);
    }
    for (int i = 0; i < 4; i++) {
        struct keyring_entry flags = {.is_revoked = i == 2, .is_disabled = i == 3};

        begin_judging(alice, i != 0, i == 1 ? KEYRING_FULL : KEYRING_OWN, &flags);
        forge(ours, payload, &mail);
        assert_false(mail.opened.decision.is_own);
        mail_fini(&mail);
        end_judging();
    }
    buf_init(&armour, SIZE_OF_ALL);
    buf_init(&mail.sealed, SIZE_OF_ALL);
    assert_int_equal(plain_gpg(&home, ours, span_of(payload), &armour), 0);
    assert_int_equal(buf_addf(&mail.sealed, FROM "Content-Type: text/plain\r\n\r\n%s", armour.data), ERR_OK);
    open_with(&mail, NULL);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    buf_fini(&armour);
}

/* A message that the account only signed, to anybody, with the mark put before it on the way. */
static void test_mark_outside_counts_for_nothing(void **state)
{
    struct buf sealed;
    struct mail mail;

    (void)state;
    seal(CRYPTO_SEAL_SIGN, alice, HEAD BODY, &sealed);
    for (int i = 0; i < 2; i++) {
        buf_init(&mail.sealed, SIZE_OF_ALL);
        assert_int_equal(buf_addf(&mail.sealed, "Privyseal-Own: %s\r\n%s", i == 0 ? "message" : "header", sealed.data),
                         ERR_OK);
        open_with(&mail, NULL);
        assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_NONE);
        assert_false(mail.opened.decision.is_own);
        mail_fini(&mail);
    }
    buf_fini(&sealed);
}

/* What the account itself sends never carries the mark, signed as it is: whoever gets it could send it back. */
static void test_mark_does_not_leave(void **state)
{
    struct mail mail;

    (void)state;
    round_trip(CRYPTO_SEAL_SIGN_ENCRYPT, alice,
               "Privyseal-Own: message\r\nFrom: alice@example.org\r\nContent-Type: message/rfc822\r\n\r\n"
               "Subject: forged\r\n\r\nx\r\n",
               &mail);
    assert_false(mail.opened.decision.is_own);
    assert_verdict(&mail, CRYPTO_SIG_GOOD, CRYPTO_ENC_OPENPGP);
    assert_false(has(&mail, "Privyseal-Own"));
    mail_fini(&mail);
}

/* Another device of the same person, without privyseal: gpg gives an ordinary entity with the whole header. */
static void test_plain_gpg_reads_it(void **state)
{
    const char *decrypt[] = {"--decrypt", NULL};
    struct buf text;
    struct mail mail;

    (void)state;
    seal_own(span_of(HEAD BODY), &mail);
    buf_init(&text, SIZE_OF_ALL);
    assert_int_equal(plain_gpg(&home, decrypt, buf_span(&mail.sealed), &text), 0);
    assert_non_null(strstr(text.data, "\r\nSubject: plans\r\n"));
    assert_non_null(strstr(text.data, "\r\nBcc: secret@example.net\r\n"));
    assert_non_null(strstr(text.data, "\r\n\r\nthe body\r\n"));
    buf_fini(&text);
    buf_fini(&mail.sealed);
}

static void test_requests_that_are_refused(void **state)
{
    struct crypto_seal_request request = {.action = CRYPTO_SEAL_SIGN_ENCRYPT, .format = KEYRING_OPENPGP};
    struct crypto_seal_result result;
    int fd = memfd_create("sealed", MFD_CLOEXEC);

    (void)state;
    assert_int_equal(crypto_seal_own(home.gpg, &request, SPAN_LIT("x"), fd, &result), ERR_NO_SIGNING_KEY);
    memcpy(request.signer, alice, sizeof(alice));
    assert_int_equal(crypto_seal_own(home.gpg, &request, SPAN_LIT("x"), fd, &result), ERR_NO_RECIPIENTS);
    request.action = CRYPTO_SEAL_ENCRYPT;
    assert_int_equal(crypto_seal_own(home.gpg, &request, SPAN_LIT("x"), fd, &result), ERR_REFUSED);
    request.action = CRYPTO_SEAL_REFUSE;
    assert_int_equal(crypto_seal_own(home.gpg, &request, SPAN_LIT("x"), fd, &result), ERR_REFUSED);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrapped_comes_back),
        cmocka_unit_test(test_header_form_is_used),
        cmocka_unit_test(test_odd_headers_stay_whole),
        cmocka_unit_test(test_verdict_fields_are_left_out),
        cmocka_unit_test(test_what_is_not_wrapped),
        cmocka_unit_test(test_sealed_copy_comes_back),
        cmocka_unit_test(test_results_of_our_name_are_not_shown),
        cmocka_unit_test(test_what_is_encrypted_stays_as_it_is),
        cmocka_unit_test(test_mark_of_others_counts_for_nothing),
        cmocka_unit_test(test_own_signature_must_be_good),
        cmocka_unit_test(test_mark_outside_counts_for_nothing),
        cmocka_unit_test(test_mark_does_not_leave),
        cmocka_unit_test(test_plain_gpg_reads_it),
        cmocka_unit_test(test_requests_that_are_refused),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
