#include "base/memfd.h"
#include "mime/pieces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* "borrowed" + "copied" + "taken" + "!" */
static void fill(struct mime_pieces *pieces, char *changing)
{
    struct buf text;
    mime_pieces_init(pieces);
    assert_int_equal(mime_pieces_borrow(pieces, SPAN_LIT("borrowed")), ERR_OK);
    assert_int_equal(mime_pieces_borrow(pieces, SPAN_NONE), ERR_OK);
    memcpy(changing, "copied", 6);
    assert_int_equal(mime_pieces_copy(pieces, (struct span){changing, 6}), ERR_OK);
    assert_int_equal(mime_pieces_copy(pieces, SPAN_NONE), ERR_OK);
    memset(changing, '?', 6);
    buf_init(&text, 100);
    assert_int_equal(mime_pieces_take(pieces, &text), ERR_OK);
    assert_int_equal(buf_add_string(&text, "taken"), ERR_OK);
    assert_int_equal(mime_pieces_take(pieces, &text), ERR_OK);
    assert_int_equal(text.len, 0);
    buf_fini(&text);
    assert_int_equal(mime_pieces_borrow(pieces, SPAN_LIT("!")), ERR_OK);
}

static const char filled[] = "borrowedcopiedtaken!";

static void test_order_and_size(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    char changing[6], text[100];
    size_t hint = 0;
    fill(&pieces, changing);
    assert_int_equal(pieces.len, 4);
    assert_int_equal(pieces.size, sizeof filled - 1);
    assert_int_equal(mime_pieces_read(&pieces, 0, text, sizeof text, &hint), sizeof filled - 1);
    assert_memory_equal(text, filled, sizeof filled - 1);
    mime_pieces_fini(&pieces);
    assert_int_equal(pieces.len, 0);
    assert_int_equal(mime_pieces_read(&pieces, 0, text, sizeof text, &hint), 0);
}

static void test_any_slice_with_any_hint(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    char changing[6], text[100];
    fill(&pieces, changing);
    for (size_t at = 0; at <= sizeof filled; at++) {
        for (size_t count = 0; count <= sizeof filled; count++) {
            for (size_t first = 0; first < 6; first++) {
                size_t hint = first, rest = at < sizeof filled - 1 ? sizeof filled - 1 - at : 0;
                size_t want = count < rest ? count : rest;
                assert_int_equal(mime_pieces_read(&pieces, at, text, count, &hint), want);
                assert_memory_equal(text, filled + (want == 0 ? 0 : at), want);
            }
        }
    }
    mime_pieces_fini(&pieces);
}

static void test_sequential_reading(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    char changing[6];
    for (size_t step = 1; step < 8; step++) {
        char text[100];
        size_t hint = 0, at = 0, got;
        fill(&pieces, changing);
        while ((got = mime_pieces_read(&pieces, at, text + at, step, &hint)) > 0)
            at += got;
        assert_int_equal(at, sizeof filled - 1);
        assert_memory_equal(text, filled, at);
        mime_pieces_fini(&pieces);
    }
}

static void test_neighbours_become_one_piece(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    struct span whole = SPAN_LIT("one two");
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_slice(whole, 0, 3)), ERR_OK);
    assert_int_equal(mime_pieces_borrow(&pieces, span_slice(whole, 3, 7)), ERR_OK);
    assert_int_equal(pieces.len, 1);
    assert_int_equal(pieces.size, 7);
    assert_int_equal(mime_pieces_borrow(&pieces, span_slice(whole, 0, 3)), ERR_OK);
    assert_int_equal(pieces.len, 2);
    mime_pieces_fini(&pieces);
}

static void test_number_is_bounded(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    struct buf text;
    mime_pieces_init(&pieces);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(mime_pieces_copy(&pieces, SPAN_LIT("x")), ERR_OK);
    assert_int_equal(mime_pieces_copy(&pieces, SPAN_LIT("x")), ERR_LIMIT);
    assert_int_equal(mime_pieces_borrow(&pieces, SPAN_LIT("x")), ERR_LIMIT);
    buf_init(&text, 10);
    assert_int_equal(buf_add_string(&text, "x"), ERR_OK);
    assert_int_equal(mime_pieces_take(&pieces, &text), ERR_LIMIT);
    buf_fini(&text);
    assert_int_equal(pieces.size, 100000);
    mime_pieces_fini(&pieces);
}

static void test_write(void **state)
{
    (void)state;
    struct mime_pieces pieces;
    char changing[6], text[100];
    int fd;
    fill(&pieces, changing);
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_int_equal(mime_pieces_write(&pieces, fd, sizeof filled - 1), ERR_OK);
    assert_int_equal(pread(fd, text, sizeof text, 0), sizeof filled - 1);
    assert_memory_equal(text, filled, sizeof filled - 1);
    assert_int_equal(mime_pieces_write(&pieces, fd, 2 * sizeof filled - 3), ERR_LIMIT);
    close(fd);
    mime_pieces_fini(&pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_size),     cmocka_unit_test(test_any_slice_with_any_hint),
        cmocka_unit_test(test_sequential_reading), cmocka_unit_test(test_neighbours_become_one_piece),
        cmocka_unit_test(test_number_is_bounded),  cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
