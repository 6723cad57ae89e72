#include "imap/unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define LINE_MAX_HERE 64

static void add(struct evbuffer *input, struct span bytes)
{
    assert_int_equal(evbuffer_add(input, bytes.ptr, bytes.len), 0);
}

struct mark_row {
    const char *fragment;
    enum err err;
    struct imap_literal_mark mark;
};

static const struct mark_row mark_rows[] = {
    {"a1 NOOP\r\n", ERR_OK, {0}},
    {"\r\n", ERR_OK, {0}},
    {"}\r\n", ERR_OK, {0}},
    {"{}\r\n", ERR_MALFORMED, {0}},
    {"a {+}\r\n", ERR_MALFORMED, {0}},
    {"{5}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .len = 5}},
    {"a LOGIN {0}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .len = 0}},
    {"a LOGIN {11+}\r\n", ERR_OK, {.is_there = true, .len = 11}},
    {"a LOGIN {11-}\r\n", ERR_OK, {.is_there = true, .len = 11}},
    {"a APPEND x ~{7}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .is_binary = true, .len = 7}},
    {"a APPEND x ~{7+}\r\n", ERR_OK, {.is_there = true, .is_binary = true, .len = 7}},
    {"~{1}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .is_binary = true, .len = 1}},
    {"* OK see {here}\r\n", ERR_OK, {0}},
    {"* OK 5}\r\n", ERR_OK, {0}},
    {"a \"{5}\"\r\n", ERR_OK, {0}},
    {"a {5}", ERR_OK, {0}},
    {"a {5} \r\n", ERR_OK, {0}},
    {"a {-5}\r\n", ERR_OK, {0}},
    {"a {5++}\r\n", ERR_OK, {0}},
    {"a {9223372036854775807}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .len = INT64_MAX}},
    {"a {9223372036854775808}\r\n", ERR_MALFORMED, {0}},
    {"a {99999999999999999999999999999}\r\n", ERR_MALFORMED, {0}},
    {"a {00000000000000000000000000003}\r\n", ERR_OK, {.is_there = true, .is_sync = true, .len = 3}},
};

static void test_marks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mark_rows / sizeof mark_rows[0]; i++) {
        const struct mark_row *row = &mark_rows[i];
        struct imap_literal_mark mark;
        assert_int_equal(imap_literal_mark(span_of(row->fragment), &mark), row->err);
        assert_int_equal(mark.is_there, row->mark.is_there);
        assert_int_equal(mark.is_sync, row->mark.is_sync);
        assert_int_equal(mark.is_binary, row->mark.is_binary);
        assert_int_equal(mark.len, row->mark.len);
    }
}

/* Reads a dialogue in pieces of `step` bytes and writes down what was cut: "<text>" and "{literal}". */
static void split(struct span bytes, size_t step, struct buf *seen)
{
    struct imap_splitter splitter;
    struct evbuffer *input = evbuffer_new();
    assert_non_null(input);
    imap_splitter_init(&splitter, LINE_MAX_HERE, false);
    for (size_t at = 0; at < bytes.len; at += step) {
        add(input, span_slice(bytes, at, at + step));
        for (;;) {
            char piece[32];
            struct span text;
            struct imap_literal_mark mark;
            size_t want = splitter.literal_left < sizeof piece ? (size_t)splitter.literal_left : sizeof piece;
            if (want > 0) {
                int got = evbuffer_remove(input, piece, want);
                assert_true(got >= 0);
                imap_splitter_took(&splitter, (size_t)got);
                assert_int_equal(buf_add(seen, piece, (size_t)got), ERR_OK);
                if (got == 0)
                    break;
                continue;
            }
            enum err err = imap_splitter_text(&splitter, input, &text, &mark);
            if (err == ERR_AGAIN)
                break;
            assert_int_equal(err, ERR_OK);
            assert_int_equal(buf_addf(seen, "<%.*s>", (int)text.len, text.ptr), ERR_OK);
        }
    }
    assert_int_equal(evbuffer_get_length(input), 0);
    imap_splitter_fini(&splitter);
    evbuffer_free(input);
}

static void test_pieces(void **state)
{
    (void)state;
    static const char dialogue[] =
        "a NOOP\r\nb LOGIN {5}\r\nal\r\nx {3+}\r\n}\r\n\r\nc {0}\r\n\r\n* 1 FETCH (X {40}\r\n"
        "0123456789012345678901234567890123456789)\r\n";
    static const char expected[] = "<a NOOP\r\n><b LOGIN {5}\r\n>al\r\nx< {3+}\r\n>}\r\n<\r\n><c {0}\r\n><\r\n>"
                                   "<* 1 FETCH (X {40}\r\n>0123456789012345678901234567890123456789<)\r\n>";
    for (size_t step = 1; step < sizeof dialogue; step++) {
        struct buf seen;
        buf_init(&seen, 1000);
        split(span_of(dialogue), step, &seen);
        assert_string_equal(seen.data, expected);
        buf_fini(&seen);
    }
}

static enum err split_one(struct span bytes, size_t step)
{
    struct imap_splitter splitter;
    struct evbuffer *input = evbuffer_new();
    assert_non_null(input);
    struct span text;
    struct imap_literal_mark mark;
    enum err err = ERR_AGAIN;
    imap_splitter_init(&splitter, LINE_MAX_HERE, true);
    for (size_t at = 0; at < bytes.len && err == ERR_AGAIN; at += step) {
        add(input, span_slice(bytes, at, at + step));
        err = imap_splitter_text(&splitter, input, &text, &mark);
    }
    imap_splitter_fini(&splitter);
    evbuffer_free(input);
    return err;
}

static void test_wrong_lines(void **state)
{
    (void)state;
    static const char long_line[] = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    static const char just[] = "01234567890123456789012345678901234567890123456789012345678901\r\n"; /* 64 bytes */
    assert_int_equal(sizeof just - 1, LINE_MAX_HERE);
    for (size_t step = 1; step < 80; step += 13) {
        assert_int_equal(split_one(SPAN_LIT("a\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(SPAN_LIT("\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(SPAN_LIT("a\rb\r\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(SPAN_LIT("a\r\r\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(SPAN_LIT("a\0b\r\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(SPAN_LIT("a {}\r\n"), step), ERR_MALFORMED);
        assert_int_equal(split_one(span_of(long_line), step), ERR_LINE_TOO_LONG);
        assert_int_equal(split_one(span_slice(span_of(long_line), 0, LINE_MAX_HERE), step), ERR_LINE_TOO_LONG);
        assert_int_equal(split_one(span_of(just), step), ERR_OK);
        assert_int_equal(split_one(SPAN_LIT("\r"), step), ERR_AGAIN);
    }
}

static void test_unit(void **state)
{
    (void)state;
    struct imap_unit unit;
    int fd = memfd_create("test", MFD_CLOEXEC);
    int other = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0 && other >= 0);
    imap_unit_init(&unit, 100, false);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("a X {3}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_HERE, 3, -1), ERR_OK);
    assert_int_equal(imap_unit_literal_bytes(&unit, SPAN_LIT("a")), ERR_OK);
    assert_int_equal(imap_unit_literal_bytes(&unit, SPAN_LIT("bc")), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT(" {70000}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_FILE, 70000, fd), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT(" {9}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_FILE, 9, other), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("\r\n")), ERR_OK);
    assert_string_equal(unit.text.data, "a X {3}\r\nabc {70000}\r\n {9}\r\n\r\n");
    assert_int_equal(unit.literals[0].at, 9);
    assert_int_equal(unit.literals[1].at, 22);
    assert_int_equal(imap_unit_take_file(&unit, 0), -1);
    assert_int_equal(imap_unit_take_file(&unit, 7), -1);
    assert_int_equal(imap_unit_take_file(&unit, 1), fd);
    assert_int_equal(imap_unit_take_file(&unit, 1), -1);
    imap_unit_clear(&unit);
    assert_int_equal(unit.text.len, 0);
    assert_int_equal(unit.literals_len, 0);
    assert_int_equal(close(other), -1); /* nobody took it: closed by the unit */
    assert_int_equal(close(fd), 0);

    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("again\r\n")), ERR_OK);
    assert_string_equal(unit.text.data, "again\r\n");
    imap_unit_fini(&unit);
}

static void test_unit_limits(void **state)
{
    (void)state;
    struct imap_unit unit;
    imap_unit_init(&unit, 10, true);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("0123456789")), ERR_OK);
    assert_int_equal(imap_unit_text(&unit, SPAN_LIT("0")), ERR_LIMIT);
    assert_int_equal(imap_unit_literal_bytes(&unit, SPAN_LIT("0")), ERR_LIMIT);
    for (size_t i = 0; i < IMAP_LITERALS_MAX; i++)
        assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_GONE, 5, -1), ERR_OK);
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_int_equal(imap_unit_literal(&unit, IMAP_LITERAL_FILE, 5, fd), ERR_LIMIT);
    assert_int_equal(close(fd), -1); /* taken over also on failure */
    imap_unit_fini(&unit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks), cmocka_unit_test(test_pieces),      cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_unit),  cmocka_unit_test(test_unit_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
