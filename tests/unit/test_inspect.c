/* What policy is told of a message: author, visible recipients, wishes, and the digest that knows a retry again. */
#include "crypto/inspect.h"
#include "crypto/subject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *const recipients[] = {"bob@example.org", "Carol@example.org", "dave@example.org",
                                         "erin@example.org"};
static const struct crypto_inspect_options options = {"[encrypt]", recipients, 4};

static struct crypto_facts inspect(const char *message, bool is_visible[4])
{
    struct crypto_facts facts;
    bool unused[4];

    assert_int_equal(crypto_inspect(span_of(message), &options, &facts, is_visible != NULL ? is_visible : unused),
                     ERR_OK);
    return facts;
}

static void test_author_and_recipients(void **state)
{
    bool is_visible[4];
    struct crypto_facts facts = inspect("From: Alice <alice@Example.ORG>\r\n"
                                        "To: \"B, ob\" <bob@example.org>\r\n"
                                        "CC: friends: carol@example.org;\r\n"
                                        "Resent-To: erin@example.org\r\n"
                                        "Bcc: dave@example.org\r\n"
                                        "Message-ID: <1@example.org>\r\n\r\nhello\r\n",
                                        is_visible);

    (void)state;
    assert_string_equal(facts.from, "alice@example.org");
    assert_int_equal(facts.from_len, 1);
    assert_string_equal(facts.message_id, "<1@example.org>");
    assert_true(is_visible[0] && is_visible[1] && is_visible[3]);
    assert_false(is_visible[2]);
    assert_false(facts.is_8bit || facts.has_8bit_header || facts.wants_encryption || facts.wants_plain);
    assert_int_equal(facts.sealed, CRYPTO_NOT_SEALED);
}

static void test_what_is_answered(void **state)
{
    struct crypto_facts facts = inspect("In-Reply-To: <2@x>\r\nReferences: <1@x>\r\n <2@x>\r\nMessage-ID: <3@x>\r\n\r\n"
                                        "References: <4@x>\r\n",
                                        NULL);

    (void)state;
    assert_int_equal(facts.answered.len, 3);
    assert_memory_equal(facts.answered.digests[0], facts.answered.digests[2], 32);
    assert_memory_not_equal(facts.answered.digests[0], facts.answered.digests[1], 32);
    assert_int_equal(inspect("Message-ID: <3@x>\r\n\r\n", NULL).answered.len, 0);
}

static void test_author_that_is_not_one(void **state)
{
    (void)state;
    assert_string_equal(inspect("From: a@example.org, b@example.org\r\n\r\n", NULL).from, "");
    assert_int_equal(inspect("From: a@example.org, b@example.org\r\n\r\n", NULL).from_len, 2);
    assert_string_equal(inspect("From: a@example.org\r\nFrom: a@example.org\r\n\r\n", NULL).from, "");
    assert_string_equal(inspect("From: a@example.org, \r\n (((\r\n\r\n", NULL).from, "");
    assert_string_equal(inspect("Subject: x\r\n\r\n", NULL).from, "");
}

static void test_no_header(void **state)
{
    struct crypto_facts facts;
    bool is_visible[4];

    (void)state;
    assert_int_equal(crypto_inspect(SPAN_LIT("no header at all\r\n"), &options, &facts, is_visible), ERR_MALFORMED);
    assert_int_equal(crypto_inspect(SPAN_LIT(""), &options, &facts, is_visible), ERR_MALFORMED);
}

static void test_wishes(void **state)
{
    struct crypto_facts facts;

    (void)state;
    assert_true(inspect("Privyseal: encrypt=required\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("pRIVYSEAL : sign=yes;\r\n ENCRYPT = Required\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("Privyseal: encrypt=requred\r\n\r\n", NULL).wants_encryption);
    assert_false(inspect("Privyseal: sign=never\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("Sensitivity: company-confidential\r\n\r\n", NULL).wants_encryption);
    assert_false(inspect("Sensitivity: Personal\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("Subject: [ENCRYPT] lunch\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("Subject: lunch =?utf-8?B?W2VuY3J5cHRd?=\r\n\r\n", NULL).wants_encryption);
    assert_true(inspect("Subject: a\r\nSubject: b [encrypt]\r\n\r\n", NULL).wants_encryption);
    assert_false(inspect("Subject: encrypt\r\n\r\n[encrypt]", NULL).wants_encryption);
    facts = inspect("Privyseal: encrypt=never\r\n\r\n", NULL);
    assert_true(facts.wants_plain && !facts.wants_encryption);
    facts = inspect("Privyseal: encrypt=never\r\nSubject: [encrypt]\r\n\r\n", NULL);
    assert_true(!facts.wants_plain && facts.wants_encryption);
}

static void test_8bit(void **state)
{
    (void)state;
    assert_true(inspect("Subject: x\r\n\r\ncaf\xc3\xa9\r\n", NULL).is_8bit);
    assert_false(inspect("Subject: x\r\n\r\ncaf\xc3\xa9\r\n", NULL).has_8bit_header);
    assert_true(inspect("Subject: caf\xc3\xa9\r\n\r\n", NULL).has_8bit_header);
}

static bool is_same_digest(const char *a, const char *b)
{
    struct crypto_facts first = inspect(a, NULL), second = inspect(b, NULL);

    return memcmp(first.digest, second.digest, sizeof(first.digest)) == 0;
}

#define MIXED(date, id, b)                                                                                             \
    "Received: by " id "\r\nDate: " date "\r\nMessage-ID: <" id ">\r\nFrom: a@example.org\r\nSubject: plan\r\n"        \
    "Content-Type: multipart/mixed; boundary=\"" b "\"\r\n\r\npreamble\r\n--" b "\r\n\r\none\r\n--" b                  \
    "\r\nContent-Type: multipart/alternative; boundary=in" b "\r\n\r\n--in" b "\r\n\r\ntwo\r\n--in" b "--\r\n--" b     \
    "--\r\n"

static void test_digest_knows_a_retry(void **state)
{
    (void)state;
    assert_true(is_same_digest(MIXED("Mon, 1 Jan 2026 00:00:00 +0000", "1@x", "AAA"),
                               MIXED("Mon, 1 Jan 2026 00:05:00 +0000", "2@x", "BBBBBB")));
    assert_true(is_same_digest("Subject: a b\r\nTo: x\r\n\r\ntext\r\n", "SUBJECT:a\r\n  b\r\nTo: x\r\n\r\ntext\r\n"));
}

static void test_digest_sees_an_edit(void **state)
{
    static const char *const others[] = {
        "Subject: plan\r\nTo: x\r\n\r\nhello\r\n",           "Subject: plans\r\nTo: x\r\n\r\nhello\r\n",
        "Subject: plan\r\nTo: y\r\n\r\nhello\r\n",           "To: x\r\nSubject: plan\r\n\r\nhello\r\n",
        "Subject: plan\r\nTo: x\r\n\r\nhello \r\n",          "Subject: plan\r\nTo: x\r\n\r\nhello\r\n\r\n",
        "Subject: plan\r\nTo: x\r\nCc:\r\n\r\nhello\r\n",    "Subject: plan To: x\r\n\r\nhello\r\n",
        "Subject: plan\r\nTo: x\r\nBcc: z\r\n\r\nhello\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        for (size_t j = 0; j < i; j++)
            assert_false(is_same_digest(others[i], others[j]));
    assert_false(
        is_same_digest("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--",
                       "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n\r\ntwo\r\n--b--"));
    assert_false(is_same_digest(MIXED("d", "1@x", "AAA") "epilogue\r\n", MIXED("d", "1@x", "AAA")));
    /* an enclosed message's Date is content */
    assert_false(is_same_digest("Content-Type: message/rfc822\r\n\r\nDate: 1\r\n\r\nx",
                                "Content-Type: message/rfc822\r\n\r\nDate: 2\r\n\r\nx"));
}

static void assert_stripped(const char *value, const char *expected)
{
    struct buf out;

    buf_init(&out, 4096);
    assert_int_equal(crypto_subject_strip(span_of(value), "[encrypt]", &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

static void test_subject_tag_is_cut_out(void **state)
{
    (void)state;
    assert_stripped(" lunch  at\tnoon ", " lunch  at\tnoon ");
    assert_stripped(" [Encrypt] lunch  at\tnoon ", " lunch  at\tnoon ");
    assert_stripped(" lunch [ENCRYPT]", " lunch");
    assert_stripped(" lunch [encrypt] now", " lunch now");
    assert_stripped(" [encrypt] =?utf-8?Q?caf=C3=A9?=", " =?utf-8?Q?caf=C3=A9?=");
    assert_stripped(" [enc[encrypt]rypt] x", " x");
    assert_stripped(" [encrypt]", "");
    assert_stripped(" lunch\r\n [encrypt]\r\n now", " lunch now");
}

static void test_subject_tag_in_encoded_word(void **state)
{
    static const char *const values[] = {" =?utf-8?Q?=5Bencrypt=5D_caf=C3=A9?=", " =?utf-8?Q?[encrypt]_caf=C3=A9?=",
                                         " =?utf-8?B?W2VuY3J5cHRdIGNhZsOp?="};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct buf out;

        buf_init(&out, 4096);
        assert_int_equal(crypto_subject_strip(span_of(values[i]), "[encrypt]", &out), ERR_OK);
        assert_false(crypto_subject_has_tag(buf_span(&out), "[encrypt]"));
        assert_true(crypto_subject_has_tag(buf_span(&out), "caf\xc3\xa9"));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_author_and_recipients),
        cmocka_unit_test(test_what_is_answered),
        cmocka_unit_test(test_author_that_is_not_one),
        cmocka_unit_test(test_no_header),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_8bit),
        cmocka_unit_test(test_digest_knows_a_retry),
        cmocka_unit_test(test_digest_sees_an_edit),
        cmocka_unit_test(test_subject_tag_is_cut_out),
        cmocka_unit_test(test_subject_tag_in_encoded_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
