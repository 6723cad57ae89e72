/* What streams through shows no verdict, in whatever pieces it comes, and is otherwise as it was. */
#include "proxy/imap_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static bool watches(const char *text)
{
    struct imap_guard guard;
    struct buf changed;
    buf_init(&changed, 1000);
    assert_int_equal(ERR_OK, imap_guard_text(&guard, span_of(text), &changed));
    assert_int_equal(changed.len, 0);
    return guard.is_watching;
}

static void test_labels(void **state)
{
    (void)state;
    assert_true(watches("* 1 FETCH (BODY[] {12}\r\n"));
    assert_true(watches("* 1 FETCH (UID 4 body[header] {12}\r\n"));
    assert_true(watches(" FLAGS (\\Seen) BODY[HEADER.FIELDS (FROM PRIVYSEAL-VERDICT)] {12}\r\n"));
    assert_true(watches("* 1 FETCH (BODY[]<0> {12}\r\n"));
    assert_true(watches("* 1 FETCH (RFC822 {12}\r\n"));
    assert_true(watches("* 1 FETCH (UID 3 RFC822.HEADER {12}\r\n"));
    assert_false(watches("* 1 FETCH (BODY[TEXT] {12}\r\n"));
    assert_false(watches("* 1 FETCH (BODY[1] {12}\r\n"));
    assert_false(watches("* 1 FETCH (BODY[1.HEADER] {12}\r\n"));
    assert_false(watches("* 1 FETCH (BODY[]<100> {12}\r\n"));
    assert_false(watches("* 1 FETCH (RFC822.TEXT {12}\r\n"));
    assert_false(watches("* 1 FETCH (ENVELOPE (\"x\" {12}\r\n"));
    assert_false(watches(" UID 4)\r\n"));
    assert_false(watches("{1}\r\n"));
    assert_false(watches(""));
    assert_false(watches("* 1 FETCH (ENVELOPE (NIL \"Privyseal-Verdict: x\" NIL))\r\n"));
}

static void check(const char *before, const char *after, size_t piece)
{
    struct imap_guard guard;
    struct buf changed;
    char bytes[400];
    size_t len = strlen(before);
    buf_init(&changed, 1000);
    memcpy(bytes, before, len + 1);
    assert_int_equal(ERR_OK, imap_guard_text(&guard, span_of("* 1 FETCH (BODY[] {400}\r\n"), &changed));
    for (size_t at = 0; at < len; at += piece)
        imap_guard_bytes(&guard, bytes + at, len - at < piece ? len - at : piece);
    assert_string_equal(bytes, after);
}

static void test_fields(void **state)
{
    static const struct {
        const char *before, *after;
    } rows[] = {
        {"Privyseal-Verdict: signature=good\r\n\r\nbody\r\n", "Privyseal-VerdicX: signature=good\r\n\r\nbody\r\n"},
        {"A: b\r\npRIVYSEAL-vERDICT : x\r\nPrivyseal-Verdict:\r\n y\r\n\r\n",
         "A: b\r\npRIVYSEAL-vERDICX : x\r\nPrivyseal-VerdicX:\r\n y\r\n\r\n"},
        {"A: b\nPrivyseal-Verdict: x\n\nPrivyseal-Verdict: y\n",
         "A: b\nPrivyseal-VerdicX: x\n\nPrivyseal-Verdict: y\n"},
        {"Subject: x\rPrivyseal-Verdict: y\r\n\r\n", "Subject: x\rPrivyseal-VerdicX: y\r\n\r\n"},
        {"A: b\r\n\r\nPrivyseal-Verdict: quoted\r\n", "A: b\r\n\r\nPrivyseal-Verdict: quoted\r\n"},
        {"A: Privyseal-Verdict: x\r\n Privyseal-Verdict: x\r\nX-Privyseal-Verdict: x\r\n\r\n",
         "A: Privyseal-Verdict: x\r\n Privyseal-Verdict: x\r\nX-Privyseal-Verdict: x\r\n\r\n"},
        {"PPrivyseal-Verdict: x\r\nPrivyseal-\r\nVerdict: x\r\n",
         "PPrivyseal-Verdict: x\r\nPrivyseal-\r\nVerdict: x\r\n"},
        {"", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        for (size_t piece = 1; piece < 60; piece++)
            check(rows[i].before, rows[i].after, piece);
}

static void test_quoted(void **state)
{
    struct imap_guard guard;
    struct buf changed;
    (void)state;
    buf_init(&changed, 1000);
    assert_int_equal(
        imap_guard_text(&guard, span_of("* 1 FETCH (BODY[HEADER] \"Privyseal-Verdict: x\" UID 4)\r\n"), &changed),
        ERR_OK);
    assert_string_equal(changed.data, "* 1 FETCH (BODY[HEADER] \"Privyseal-VerdicX: x\" UID 4)\r\n");
    assert_false(guard.is_watching);
    buf_fini(&changed);
    /* Without room for it nothing of it may pass. */
    buf_init(&changed, 3);
    assert_int_equal(ERR_LIMIT,
                     imap_guard_text(&guard, span_of("* 1 FETCH (RFC822 \"Privyseal-Verdict: x\")\r\n"), &changed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_labels), cmocka_unit_test(test_fields),
                                       cmocka_unit_test(test_quoted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
