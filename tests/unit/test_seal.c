/* What leaves: structure, header protection, and nothing outside that belongs inside. Plain gpg has the second word. */
#include "crypto/protect.h"
#include "crypto/seal.h"
#include "tests/unit/plain_gpg.h"

#define SIZE_OF_ALL 1048576
#define CANARY "xyzzy-canary"

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE], bob[KEYRING_FPR_SIZE];

static int begin(void **state)
{
    (void)state;
    assert_int_equal(gpg_home_open(&home), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Alice <alice@example.org>", alice), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Bob <bob@example.org>", bob), ERR_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static enum err seal_with(struct crypto_seal_request request, struct span message, struct buf *out,
                          struct crypto_seal_result *result_out)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    enum err result;
    char piece[4096];
    ssize_t count;

    if (request.output_max == 0)
        request.output_max = SIZE_OF_ALL;
    request.key_cache_dir = home.cache;
    result = crypto_seal(home.gpg, &request, message, fd, result_out);
    lseek(fd, 0, SEEK_SET);
    while (result == ERR_OK && (count = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    if (result == ERR_OK)
        assert_int_equal(out->len, result_out->size);
    close(fd);
    return result;
}

static struct crypto_seal_request request_for(enum crypto_seal_action action)
{
    static char recipients[2][KEYRING_FPR_SIZE];
    struct crypto_seal_request request = {.action = action, .format = KEYRING_OPENPGP, .subject_tag = "[encrypt]"};

    memcpy(recipients[0], alice, sizeof(alice));
    memcpy(recipients[1], bob, sizeof(bob));
    if (action == CRYPTO_SEAL_SIGN || action == CRYPTO_SEAL_SIGN_ENCRYPT)
        memcpy(request.signer, alice, sizeof(alice));
    if (action == CRYPTO_SEAL_ENCRYPT || action == CRYPTO_SEAL_SIGN_ENCRYPT) {
        request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
        request.recipients_len = 2;
    }
    return request;
}

static void seal(enum crypto_seal_action action, const char *message, struct buf *out)
{
    struct crypto_seal_result result;

    buf_init(out, SIZE_OF_ALL);
    assert_int_equal(seal_with(request_for(action), span_of(message), out, &result), ERR_OK);
    assert_string_equal(result.signed_by,
                        action == CRYPTO_SEAL_SIGN || action == CRYPTO_SEAL_SIGN_ENCRYPT ? alice : "");
}

static void assert_fails(struct crypto_seal_request request, const char *message, enum err expected)
{
    struct crypto_seal_result result;
    struct buf out;

    buf_init(&out, SIZE_OF_ALL);
    assert_int_equal(seal_with(request, span_of(message), &out, &result), expected);
    buf_fini(&out);
}

/* What plain gpg makes of the armour in `sealed`; `status` gets its status lines and the text. */
static void decrypt(const struct buf *sealed, struct buf *text)
{
    const char *arguments[] = {"--decrypt", NULL};
    const char *from = strstr(sealed->data, "-----BEGIN PGP MESSAGE-----");
    const char *to = strstr(sealed->data, "-----END PGP MESSAGE-----");

    assert_true(from != NULL && to != NULL);
    buf_init(text, SIZE_OF_ALL);
    assert_int_equal(plain_gpg(&home, arguments, (struct span){from, (size_t)(to - from) + 27}, text), 0);
}

static bool has(const struct buf *text, const char *needle)
{
    return strstr(text->data, needle) != NULL;
}

#define MESSAGE                                                                                                        \
    "Received: by mx.example.org\r\n"                                                                                  \
    "From: Alice <alice@example.org>\r\n"                                                                              \
    "To: Bob <bob@example.org>\r\n"                                                                                    \
    "BCC: Carol <carol@example.org>\r\n"                                                                               \
    "Subject: [encrypt] " CANARY " one\r\n"                                                                            \
    "sUBJECT: " CANARY " two\r\n"                                                                                      \
    "Comments: " CANARY "\r\n"                                                                                         \
    "Keywords: " CANARY "\r\n"                                                                                         \
    "Thread-Topic: " CANARY "\r\n"                                                                                     \
    "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"                                                                        \
    "Message-ID: <1@example.org>\r\n"                                                                                  \
    "privyseal-VERDICT :\r\n signature=good\r\n"                                                                       \
    "Privyseal: encrypt=required\r\n"                                                                                  \
    "HP-Outer: Subject: forged\r\n"                                                                                    \
    "MIME-Version: 1.0\r\n"                                                                                            \
    "Content-Type: text/plain; charset=utf-8\r\n"                                                                      \
    "Content-Description: " CANARY "\r\n"                                                                              \
    "\r\n"                                                                                                             \
    "." CANARY "\r\n.\r\n..\r\n"

static void assert_cipher_payload(const struct buf *text)
{
    static const char expected[] =
        "From: Alice <alice@example.org>\r\n"
        "To: Bob <bob@example.org>\r\n"
        "Subject: " CANARY " one\r\n"
        "sUBJECT: " CANARY " two\r\n"
        "Comments: " CANARY "\r\n"
        "Keywords: " CANARY "\r\n"
        "Thread-Topic: " CANARY "\r\n"
        "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
        "Message-ID: <1@example.org>\r\n"
        "HP-Outer: From: Alice <alice@example.org>\r\n"
        "HP-Outer: To: Bob <bob@example.org>\r\n"
        "HP-Outer: Subject: [...]\r\n"
        "HP-Outer: Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
        "HP-Outer: Message-ID: <1@example.org>\r\n"
        "Content-Type: text/plain; protected-headers=\"v1\"; hp=\"cipher\"; charset=utf-8\r\n"
        "Content-Description: " CANARY "\r\n\r\n"
        "." CANARY "\r\n.\r\n..\r\n";

    assert_string_equal(text->data, expected);
}

static void test_encrypted(void **state)
{
    static const char outer[] = "Received: by mx.example.org\r\n"
                                "From: Alice <alice@example.org>\r\n"
                                "To: Bob <bob@example.org>\r\n"
                                "Subject: [...]\r\n"
                                "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\n"
                                "Message-ID: <1@example.org>\r\n"
                                "MIME-Version: 1.0\r\n"
                                "Content-Type: multipart/encrypted;\r\n"
                                " protocol=\"application/pgp-encrypted\"; boundary=\"";
    struct buf sealed, text;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, MESSAGE, &sealed);
    assert_memory_equal(sealed.data, outer, sizeof(outer) - 1);
    assert_false(has(&sealed, CANARY) || has(&sealed, "carol") || has(&sealed, "forged"));
    assert_null(strstr(sealed.data, "signature=good"));
    assert_true(crypto_looks_sealed(buf_span(&sealed), CRYPTO_SEALED_OPENPGP));
    for (size_t i = 0; i < sealed.len; i++)
        assert_true(sealed.data[i] != '\n' || (i > 0 && sealed.data[i - 1] == '\r'));
    decrypt(&sealed, &text);
    assert_cipher_payload(&text);
    buf_fini(&sealed);
    buf_fini(&text);
}

static void test_signed_and_encrypted(void **state)
{
    const char *arguments[] = {"--status-fd", "1", "--decrypt", NULL};
    struct buf sealed, text, status;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, MESSAGE, &sealed);
    assert_false(has(&sealed, CANARY) || has(&sealed, "carol"));
    decrypt(&sealed, &text);
    assert_cipher_payload(&text);
    buf_init(&status, SIZE_OF_ALL);
    const char *from = strstr(sealed.data, "-----BEGIN PGP MESSAGE-----");
    assert_int_equal(plain_gpg(&home, arguments, span_of(from), &status), 0);
    assert_true(has(&status, "GOODSIG") && has(&status, alice));
    buf_fini(&status);
    buf_fini(&sealed);
    buf_fini(&text);
}

/* Splits multipart/signed with the eyes of mime/part.h and lets plain gpg verify. */
static void assert_verifies(const struct buf *sealed, struct span *content_out)
{
    char path[128];
    const char *arguments[] = {"--verify", path, "-", NULL};
    struct mime_tree *tree = NULL;
    struct span signature;
    FILE *file;

    assert_int_equal(mime_parse(buf_span(sealed), MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    assert_true(mime_part_is(tree->root, "multipart", "signed"));
    *content_out = mime_part_whole(tree->root->first_child, buf_span(sealed));
    signature = mime_part_body(tree->root->first_child->next, buf_span(sealed));
    assert_true(mime_part_is(tree->root->first_child->next, "application", "pgp-signature"));
    snprintf(path, sizeof(path), "%s/signature.asc", home.path);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(signature.ptr, 1, signature.len, file), signature.len);
    fclose(file);
    assert_int_equal(plain_gpg(&home, arguments, *content_out, NULL), 0);
    mime_tree_free(&tree);
}

static void test_signed(void **state)
{
    static const char outer[] = "Received: by mx.example.org\r\n"
                                "From: Alice <alice@example.org>\r\n"
                                "To: Bob <bob@example.org>\r\n"
                                "Subject: " CANARY " one\r\n"
                                "sUBJECT: " CANARY " two\r\n"
                                "Comments: " CANARY "\r\n";
    struct buf sealed;
    struct span content;

    (void)state;
    seal(CRYPTO_SEAL_SIGN, MESSAGE, &sealed);
    assert_memory_equal(sealed.data, outer, sizeof(outer) - 1);
    assert_true(has(&sealed, "micalg=\"pgp-sha") && has(&sealed, "protocol=\"application/pgp-signature\""));
    assert_false(has(&sealed, "carol") || has(&sealed, "HP-Outer") || has(&sealed, "[encrypt]"));
    assert_true(has(&sealed, "Content-Type: text/plain; protected-headers=\"v1\"; hp=\"clear\"; charset=utf-8\r\n"));
    assert_verifies(&sealed, &content);
    assert_true(span_has_prefix(content, SPAN_LIT("From: Alice <alice@example.org>\r\nTo:")));
    buf_fini(&sealed);
}

static void test_signed_is_7bit_safe(void **state)
{
    struct buf sealed;
    struct span content;

    (void)state;
    seal(CRYPTO_SEAL_SIGN,
         "From: alice@example.org \r\nX-Folded: a \r\n \t\r\n b\r\nContent-Type: text/plain; charset=utf-8\r\n"
         "Content-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n-- \r\nFrom here\r\n",
         &sealed);
    assert_verifies(&sealed, &content);
    for (size_t i = 0; i < content.len; i++) {
        assert_true((unsigned char)content.ptr[i] < 128);
        assert_true(content.ptr[i] != '\r' || (content.ptr[i - 1] != ' ' && content.ptr[i - 1] != '\t'));
    }
    assert_int_equal(span_find(content, 0, SPAN_LIT("\nFrom here")), SIZE_MAX);
    assert_int_not_equal(span_find(content, 0, SPAN_LIT("quoted-printable")), SIZE_MAX);
    assert_int_equal(span_find(content, 0, SPAN_LIT("8bit")), SIZE_MAX);
    assert_int_not_equal(span_find(content, 0, SPAN_LIT("X-Folded: a\r\n b\r\n")), SIZE_MAX);
    buf_fini(&sealed);
}

static void test_nested_signed_is_untouched(void **state)
{
#define NESTED                                                                                                         \
    "--o\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=i\r\n\r\n"                \
    "--i\r\n\r\ntrailing \r\nFrom me\r\n--i\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--i--\r\n"
    struct buf sealed;
    struct span content;

    (void)state;
    seal(CRYPTO_SEAL_SIGN,
         "From: alice@example.org\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n" NESTED
         "--o\r\n\r\nblank \r\n--o--\r\n",
         &sealed);
    assert_verifies(&sealed, &content);
    assert_int_not_equal(span_find(content, 0, SPAN_LIT(NESTED)), SIZE_MAX);
    assert_int_equal(span_find(content, 0, SPAN_LIT("blank \r\n")), SIZE_MAX);
    buf_fini(&sealed);
}

static void test_without_content_type(void **state)
{
    struct buf sealed, text;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "From: alice@example.org\r\n\r\nhello\r\n", &sealed);
    decrypt(&sealed, &text);
    assert_true(has(&text, "Content-Type: text/plain; protected-headers=\"v1\"; hp=\"cipher\"; charset=us-ascii\r\n\r\n"
                           "hello\r\n"));
    assert_true(has(&sealed, "MIME-Version: 1.0\r\n"));
    assert_false(has(&sealed, "Subject"));
    buf_fini(&sealed);
    buf_fini(&text);
}

/* Nothing of the subject outside, whatever field repeats it; the mark of protection is where readers find it. */
static void test_odd_fields(void **state)
{
    struct buf sealed, text;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT,
         "From alice@example.org Fri Nov 20 12:00:00 2026\r\nFrom: alice@example.org\r\n"
         "x-original-SUBJECT: " CANARY "\r\nX-Thread-Topic :\r\n " CANARY "\r\nSubject:\r\n\t" CANARY "\r\n"
         "bcc\t: carol@example.org\r\nBcc:\r\n carol@example.org,\r\n\tcarol@example.org\r\n"
         "Content-Type: (a;\\)b) text/plain (c;d); name=\"" CANARY "\"\r\nContent-Type: text/html\r\n\r\nhello\r\n",
         &sealed);
    assert_false(has(&sealed, CANARY) || has(&sealed, "carol"));
    decrypt(&sealed, &text);
    assert_true(has(&text, "Content-Type: (a;\\)b) text/plain (c;d); protected-headers=\"v1\"; hp=\"cipher\"; name="));
    assert_false(has(&text, "carol") || has(&text, "text/html"));
    buf_fini(&sealed);
    buf_fini(&text);
}

/* What the message's end broke off is a line of its own, not the beginning of the field that is added after it. */
static void test_header_that_breaks_off(void **state)
{
    struct buf sealed;
    struct span content;

    (void)state;
    seal(CRYPTO_SEAL_SIGN,
         "From: alice@example.org\r\nContent-Transfer-Encoding: 8bit\r\nContent-Description: broken off", &sealed);
    assert_verifies(&sealed, &content);
    assert_int_not_equal(span_find(content, 0, SPAN_LIT("\r\nContent-Description: broken off\r\n")), SIZE_MAX);
    assert_int_not_equal(span_find(content, 0, SPAN_LIT("\r\nContent-Transfer-Encoding: 7bit\r\n")), SIZE_MAX);
    buf_fini(&sealed);
}

/* Without the empty line after its header a message has its text there. */
static void test_text_within_the_header(void **state)
{
    static const char message[] = "From: alice@example.org\r\nTo: bob@example.org\r\n"
                                  "Dear Bob,\r\npassword: " CANARY "\r\n\r\nAlice\r\n";

    (void)state;
    assert_fails(request_for(CRYPTO_SEAL_ENCRYPT), message, ERR_MALFORMED);
    assert_fails(request_for(CRYPTO_SEAL_SIGN_ENCRYPT), message, ERR_MALFORMED);
    assert_fails(request_for(CRYPTO_SEAL_SIGN), message, ERR_MALFORMED);
}

static void test_bcc_that_is_folded_badly(void **state)
{
    struct buf sealed;

    (void)state;
    seal(CRYPTO_SEAL_PLAIN,
         "From: a@example.org\r\nBcc: b@example.org,\r\nc@example.org,\r\nd@example.org\r\nTo: e\r\n\r\nx", &sealed);
    assert_string_equal(sealed.data, "From: a@example.org\r\nTo: e\r\n\r\nx");
    buf_fini(&sealed);
}

static void test_plain_changes_nothing_else(void **state)
{
    struct buf sealed;

    (void)state;
    seal(CRYPTO_SEAL_PLAIN,
         "X-Odd:\tvalue \r\nnot a field\r\nFROM :alice@example.org\r\nbCC: carol@example.org,\r\n dave@example.org\r\n"
         "Resent-Bcc: x@example.org\r\nSubject:  a  [Encrypt]  b \r\nPRIVYSEAL: encrypt=never\r\n"
         "Privyseal-Verdict\t:\r\n\tx\r\n\r\n\r\nbody\xff \r\nBcc: stays\r\n.\r\nno end",
         &sealed);
    assert_string_equal(sealed.data, "X-Odd:\tvalue \r\nnot a field\r\nFROM :alice@example.org\r\n"
                                     "Subject:  a   b \r\n\r\n\r\nbody\xff \r\nBcc: stays\r\n.\r\nno end");
    buf_fini(&sealed);
}

static void test_plain_for_7bit(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_PLAIN);
    struct crypto_seal_result result;
    struct buf sealed;

    (void)state;
    buf_init(&sealed, SIZE_OF_ALL);
    request.wants_7bit = true;
    assert_int_equal(seal_with(request,
                               SPAN_LIT("Subject: x\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n"),
                               &sealed, &result),
                     ERR_OK);
    assert_string_equal(sealed.data, "Subject: x\r\nMIME-Version: 1.0\r\n"
                                     "Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9\r\n");
    assert_false(result.is_8bit);
    assert_fails(request, "Subject: \xc3\xa9\r\n\r\n", ERR_NEEDS_8BIT);
    assert_fails(request,
                 "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=i\r\n\r\n"
                 "--i\r\n\r\n\xc3\xa9\r\n--i\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--i--\r\n",
                 ERR_NEEDS_8BIT);
    buf_fini(&sealed);
}

static void test_passing(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_PASS);
    struct crypto_seal_result result;
    struct buf sealed, passed;

    (void)state;
    assert_fails(request, MESSAGE, ERR_NOT_SEALED);
    seal(CRYPTO_SEAL_SIGN, MESSAGE, &sealed);
    assert_fails(request, sealed.data, ERR_NOT_SEALED);
    buf_fini(&sealed);
    seal(CRYPTO_SEAL_ENCRYPT, MESSAGE, &sealed);
    buf_init(&passed, SIZE_OF_ALL);
    assert_int_equal(seal_with(request, buf_span(&sealed), &passed, &result), ERR_OK);
    assert_string_equal(passed.data, sealed.data);
    buf_fini(&passed);
    buf_fini(&sealed);
}

static void test_refusals(void **state)
{
    struct crypto_seal_request request = {0};

    (void)state;
    assert_fails(request, MESSAGE, ERR_REFUSED);
    request.action = (enum crypto_seal_action)99;
    assert_fails(request, MESSAGE, ERR_REFUSED);
    request = request_for(CRYPTO_SEAL_ENCRYPT);
    request.format = KEYRING_SMIME;
    assert_fails(request, MESSAGE, ERR_REFUSED);
    request = request_for(CRYPTO_SEAL_ENCRYPT);
    request.recipients_len = 0;
    assert_fails(request, MESSAGE, ERR_NO_RECIPIENTS);
    request = request_for(CRYPTO_SEAL_SIGN);
    request.signer[0] = '\0';
    assert_fails(request, MESSAGE, ERR_NO_SIGNING_KEY);
    request = request_for(CRYPTO_SEAL_ENCRYPT);
    request.output_max = 700;
    assert_fails(request, MESSAGE, ERR_TOO_BIG);
    assert_fails(request_for(CRYPTO_SEAL_PLAIN), "Subject: x\nBcc: y\r\n\r\n", ERR_BARE_CR_LF);
    assert_fails(request_for(CRYPTO_SEAL_PLAIN), "Subject: x\r\n\r\n.\rx\r\n", ERR_BARE_CR_LF);
}

/* Encrypted to the keys of the plan and to no other, whatever the person's gpg.conf says. */
static void test_exactly_the_recipients(void **state)
{
    const char *arguments[] = {"--status-fd", "1", "--list-only", "--decrypt", NULL};
    char path[128], eve[KEYRING_FPR_SIZE];
    struct buf sealed, status;
    size_t count = 0;
    FILE *file;

    (void)state;
    assert_int_equal(gpg_home_make_key(&home, "Eve <eve@example.org>", eve), ERR_OK);
    snprintf(path, sizeof(path), "%s/gpg.conf", home.path);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "encrypt-to %s\nhidden-encrypt-to %s\ngroup %s=%s\ndefault-key %s\nthrow-keyids\n", eve, eve, bob,
            eve, eve);
    fclose(file);
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, MESSAGE, &sealed);
    assert_int_equal(unlink(path), 0);
    buf_init(&status, SIZE_OF_ALL);
    plain_gpg(&home, arguments, span_of(strstr(sealed.data, "-----BEGIN PGP MESSAGE-----")), &status);
    for (const char *at = status.data; (at = strstr(at, "ENC_TO ")) != NULL; at++)
        count++;
    assert_int_equal(count, 2);
    assert_false(has(&status, "ENC_TO 0000000000000000"));
    buf_fini(&status);
    buf_fini(&sealed);
    assert_int_equal(keyring_gpg_delete(home.gpg, eve, true), ERR_OK);
}

/* The index would not have chosen them; gpg has the last word. */
static void test_unusable_keys(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_SIGN_ENCRYPT);
    char carol[KEYRING_FPR_SIZE], both[2][KEYRING_FPR_SIZE], command[512];

    (void)state;
    assert_int_equal(gpg_home_make_key(&home, "Carol <carol@example.org>", carol), ERR_OK);
    snprintf(command, sizeof(command), "--quick-set-expire %s seconds=1", carol);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    snprintf(command, sizeof(command), "--quick-set-expire %s seconds=1 '*'", carol);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    sleep(2);
    memcpy(both[0], alice, sizeof(alice));
    memcpy(both[1], carol, sizeof(carol));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])both;
    assert_fails(request, MESSAGE, ERR_NO_KEY);
    request = request_for(CRYPTO_SEAL_SIGN_ENCRYPT);
    memcpy(request.signer, carol, sizeof(carol));
    assert_fails(request, MESSAGE, ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_delete(home.gpg, carol, true), ERR_OK);
}

static void test_unknown_recipient_key(void **state)
{
    static const char recipients[2][KEYRING_FPR_SIZE] = {"", "0123456789ABCDEF0123456789ABCDEF01234567"};
    char both[2][KEYRING_FPR_SIZE];
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_ENCRYPT);

    (void)state;
    memcpy(both, recipients, sizeof(both));
    memcpy(both[0], bob, sizeof(bob));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])both;
    assert_fails(request, MESSAGE, ERR_NO_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encrypted),
        cmocka_unit_test(test_signed_and_encrypted),
        cmocka_unit_test(test_signed),
        cmocka_unit_test(test_signed_is_7bit_safe),
        cmocka_unit_test(test_nested_signed_is_untouched),
        cmocka_unit_test(test_without_content_type),
        cmocka_unit_test(test_odd_fields),
        cmocka_unit_test(test_header_that_breaks_off),
        cmocka_unit_test(test_text_within_the_header),
        cmocka_unit_test(test_bcc_that_is_folded_badly),
        cmocka_unit_test(test_plain_changes_nothing_else),
        cmocka_unit_test(test_plain_for_7bit),
        cmocka_unit_test(test_passing),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_exactly_the_recipients),
        cmocka_unit_test(test_unusable_keys),
        cmocka_unit_test(test_unknown_recipient_key),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
