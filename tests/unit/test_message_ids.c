/* Digests of message IDs: the same for the same ID however it is folded, bounded, and never half read. */
#include "base/buf.h"
#include "crypto/message_ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const ids_of_it[] = {"Message-ID", NULL};
static const char *const ids_of_others[] = {"In-Reply-To", "References", NULL};

static struct crypto_message_ids ids_in(const char *header, const char *const *names)
{
    struct crypto_message_ids ids = {.len = 0};
    assert_int_equal(crypto_message_ids_add(&ids, span_of(header), names), ERR_OK);
    return ids;
}

/* Whether a message with the one header would be found by the other's. */
static bool is_answered(const char *header, const char *reply)
{
    const struct crypto_message_ids known = ids_in(header, ids_of_it), asked = ids_in(reply, ids_of_others);
    for (size_t i = 0; i < known.len; i++)
        for (size_t j = 0; j < asked.len; j++)
            if (memcmp(known.digests[i], asked.digests[j], sizeof known.digests[i]) == 0)
                return true;
    return false;
}

static void test_replies(void **state)
{
    (void)state;
    const char *const message = "Subject: x\r\nMessage-ID: <a.long.one@example.org>\r\n\r\nMessage-ID: <body@x>\r\n";
    assert_true(is_answered(message, "In-Reply-To: <a.long.one@example.org>\r\n\r\n"));
    assert_true(is_answered(message, "references: <1@x>\r\n <a.long.one@\r\n example.org> <2@x>\r\n\r\n"));
    assert_true(is_answered(message, "In-Reply-To: a.long.one@example.org\r\n\r\n"));
    assert_false(is_answered(message, "In-Reply-To: <a.long.one@Example.org>\r\n\r\n"));
    assert_false(is_answered(message, "In-Reply-To: <a.long.one@example.or>\r\n\r\n"));
    assert_false(is_answered(message, "In-Reply-To: <body@x>\r\n\r\n"));
    assert_false(is_answered(message, "Subject: x\r\n\r\nIn-Reply-To: <a.long.one@example.org>\r\n"));
    assert_false(is_answered(message, "Message-ID: <a.long.one@example.org>\r\n\r\n"));
    assert_false(is_answered("Message-ID: <>\r\n\r\n", "In-Reply-To: <>\r\n\r\n"));
    /* Whichever of several a mail program takes. */
    assert_true(is_answered("Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", "In-Reply-To: <1@x>\r\n\r\n"));
    assert_true(is_answered("Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", "In-Reply-To: <2@x>\r\n\r\n"));
    assert_true(is_answered("Message-ID: a b\r\n\r\n", "In-Reply-To: <a b>\r\n\r\n"));
}

static void test_long_ids(void **state)
{
    (void)state;
    struct buf known, asked;
    buf_init(&known, 10000);
    buf_init(&asked, 10000);
    assert_int_equal(buf_addf(&known, "Message-ID: <%03000d@x>\r\n\r\n", 1), ERR_OK);
    assert_int_equal(buf_addf(&asked, "In-Reply-To: <%03000d@x>\r\n\r\n", 1), ERR_OK);
    assert_true(is_answered(known.data, asked.data));
    buf_clear(&asked);
    assert_int_equal(buf_addf(&asked, "In-Reply-To: <%03000d@x>\r\n\r\n", 2), ERR_OK);
    assert_false(is_answered(known.data, asked.data));
    buf_fini(&known);
    buf_fini(&asked);
}

/* The first half and the last: what was in the middle is not there any more. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 200, HALF = CRYPTO_MESSAGE_IDS_MAX / 2 };
    struct buf header;
    buf_init(&header, 10000);
    assert_int_equal(buf_add_string(&header, "References:"), ERR_OK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(buf_addf(&header, "\r\n <%d@x>", i), ERR_OK);
    assert_int_equal(buf_add_string(&header, "\r\n\r\n"), ERR_OK);
    assert_int_equal(ids_in(header.data, ids_of_others).len, CRYPTO_MESSAGE_IDS_MAX);
    for (int i = 0; i < MANY; i++) {
        char message[64];
        snprintf(message, sizeof message, "Message-ID: <%d@x>\r\n\r\n", i);
        assert_int_equal(is_answered(message, header.data), i < HALF || i >= MANY - HALF);
    }
    buf_fini(&header);
}

static void test_saved_form(void **state)
{
    (void)state;
    struct crypto_message_ids ids = ids_in("References: <1@x> <2@x>\r\n\r\n", ids_of_others), got;
    const struct span saved = crypto_message_ids_span(&ids);
    assert_int_equal(saved.len, 64);
    assert_true(crypto_message_ids_is(saved) && crypto_message_ids_load(saved, &got));
    assert_true(span_is_equal(crypto_message_ids_span(&got), saved));
    assert_true(crypto_message_ids_load(SPAN_NONE, &got));
    assert_int_equal(got.len, 0);
    for (size_t len = 0; len <= saved.len; len++) {
        assert_int_equal(crypto_message_ids_load(span_slice(saved, 0, len), &got), len % 32 == 0);
        assert_int_equal(got.len, len % 32 == 0 ? len / 32 : 0);
    }
    char most[(CRYPTO_MESSAGE_IDS_MAX + 1) * 32] = {0};
    assert_true(crypto_message_ids_load((struct span){most, sizeof most - 32}, &got));
    assert_false(crypto_message_ids_load((struct span){most, sizeof most}, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_long_ids),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_saved_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
