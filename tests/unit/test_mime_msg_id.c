/* Message IDs out of header fields, as mail programs write them and as they should not be. */
#include "base/buf.h"
#include "mime/msg_id.h"
#include "tests/unit/trickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void note(struct span id, void *context)
{
    struct buf *out = context;
    assert_true(id.len > 0);
    assert_int_equal(buf_add_byte(out, '['), ERR_OK);
    assert_int_equal(buf_add_span(out, id), ERR_OK);
    assert_int_equal(buf_add_byte(out, ']'), ERR_OK);
}

static enum err walk(struct span value, void *context)
{
    mime_msg_id_walk(value, note, context);
    return ERR_OK;
}

/* An exact copy of the value, then every beginning of it, where any answer will do. */
static void assert_ids(const char *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(trickle(span_of(value), strlen(value) + 1, walk, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    for (size_t len = 1; len < strlen(value); len++)
        assert_int_equal(trickle(span_slice(span_of(value), 0, len), len, walk, &out), ERR_OK);
    buf_fini(&out);
}

static void test_as_they_should_be(void **state)
{
    (void)state;
    assert_ids("", "");
    assert_ids(" \r\n\t ", "");
    assert_ids(" <1@example.org>", "[1@example.org]");
    assert_ids(" <1@example.org>\r\n <2@[127.0.0.1]>\r\n\t<\"a b\"@x>", "[1@example.org][2@[127.0.0.1]][\"a b\"@x]");
    assert_ids("<a@x><b@y>,<c@z>", "[a@x][b@y][c@z]");
}

static void test_words_around_them(void **state)
{
    (void)state;
    assert_ids("Your message of \"Monday\" <a@x> (was: b@y)", "[a@x]");
    assert_ids(" (a comment that never ends <a@x>", "[a@x]");
}

static void test_broken_ones(void **state)
{
    (void)state;
    assert_ids("<a@x <b@y", "[a@x][b@y]");
    assert_ids("< a@\r\n x >", "[a@\r\n x]");
    assert_ids("<a@x> c@z>", "[a@x]");
    assert_ids("<<a@x>>", "[a@x]");
    assert_ids("<><\r\n ><a@x>", "[a@x]");
    assert_ids(">", "[>]");
}

static void test_without_brackets(void **state)
{
    (void)state;
    assert_ids(" a@x ", "[a@x]");
    assert_ids(" a@x\r\n b@y", "[a@x][b@y][a@x\r\n b@y]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_they_should_be),
        cmocka_unit_test(test_words_around_them),
        cmocka_unit_test(test_broken_ones),
        cmocka_unit_test(test_without_brackets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
