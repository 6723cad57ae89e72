/* What is kept of a view for answering without it. */
#include "proxy/record.h"

#include "imap/content.h"
#include "store/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define VIEW                                                                                                           \
    "Subject: plans\r\nFrom: Alice <alice@example.org>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"           \
    "--b\r\n\r\none\r\n--b\r\nContent-Type: image/png\r\n\r\ntwo\r\n--b--\r\n"

static void save(struct span view, struct buf *out)
{
    struct mime_tree *tree;

    assert_int_equal(imap_content_parse(view, &tree), ERR_OK);
    buf_init(out, 1 << 20);
    assert_int_equal(proxy_record_save(tree->root, view, out), ERR_OK);
    mime_tree_free(&tree);
}

static void assert_value(struct span value, struct span view, int which)
{
    struct mime_tree *tree;
    struct buf wanted;

    assert_int_equal(imap_content_parse(view, &tree), ERR_OK);
    buf_init(&wanted, 1 << 20);
    assert_int_equal(which == 0 ? imap_envelope_add(mime_part_header(tree->root, view), &wanted)
                                : imap_structure_add(tree->root, view, which == 2, &wanted),
                     ERR_OK);
    assert_true(span_is_equal(value, buf_span(&wanted)));
    buf_fini(&wanted);
    mime_tree_free(&tree);
}

static void test_comes_back(void **state)
{
    static const struct span views[] = {SPAN_LIT(VIEW),
                                        SPAN_LIT(""),
                                        SPAN_LIT("\r\n"),
                                        SPAN_LIT("Subject: no end"),
                                        SPAN_LIT("\r\nno header"),
                                        SPAN_LIT("X: a\0b\r\n\r\nc\0d")};

    (void)state;
    for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++) {
        struct proxy_record record;
        struct buf saved;

        save(views[i], &saved);
        assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_OK);
        assert_int_equal(record.size, views[i].len);
        assert_true(span_has_prefix(views[i], record.header));
        assert_value(record.envelope, views[i], 0);
        assert_value(record.body, views[i], 1);
        assert_value(record.structure, views[i], 2);
        buf_fini(&saved);
    }
}

/* Shape and sizes are right, and nothing is longer than it must be. */
static void test_short_structures(void **state)
{
    struct buf message, out;
    struct mime_tree *tree;

    (void)state;
    buf_init(&message, 1 << 20);
    buf_init(&out, 1 << 20);
    assert_int_equal(buf_addf(&message,
                              "Content-Type: multipart/mixed; boundary=b; x=%0*d\r\nContent-Language: en\r\n\r\n"
                              "--b\r\nContent-Type: text/html; charset=utf-8\r\nContent-ID: <i>\r\n"
                              "Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n"
                              "--b\r\nContent-Type: text/plain; x=%0*d; charset=utf-8\r\n\r\nb\r\n"
                              "--b\r\nContent-Type: text/%0*d\r\n\r\nc\r\n"
                              "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\nd\r\n--b--\r\n",
                              200, 0, 200, 0, 200, 0),
                     ERR_OK);
    assert_int_equal(imap_content_parse(buf_span(&message), &tree), ERR_OK);
    assert_int_equal(imap_structure_add_short(tree->root, buf_span(&message), false, &out), ERR_OK);
    assert_string_equal(out.data,
                        "((\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"base64\" 4 0)"
                        "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0)"
                        "(\"application\" \"octet-stream\" NIL NIL NIL \"7bit\" 1)"
                        "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 15 " IMAP_ENVELOPE_EMPTY
                        " (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 2) \"mixed\")");
    buf_clear(&out);
    assert_int_equal(imap_structure_add_short(tree->root, buf_span(&message), true, &out), ERR_OK);
    assert_true(span_has_case_suffix(buf_span(&out), SPAN_LIT(" \"mixed\" NIL NIL NIL NIL)")));
    mime_tree_free(&tree);
    buf_fini(&out);
    buf_fini(&message);
}

/* What has no room as a whole has room without what is long; as many parts as there may be, as long as they may be. */
static void test_short(void **state)
{
    struct proxy_record record;
    struct mime_tree *tree;
    struct buf view, saved;

    (void)state;
    buf_init(&view, (size_t)64 << 20);
    buf_init(&saved, STORE_RECORD_MAX);
    assert_int_equal(buf_add_string(&view, "Content-Type: multipart/mixed; boundary=b\r\nFrom: "), ERR_OK);
    for (int i = 0; i < 250000; i++)
        assert_int_equal(buf_add_string(&view, "a@b,"), ERR_OK);
    assert_int_equal(buf_add_string(&view, "c@d\r\n\r\n"), ERR_OK);
    for (int i = 0; i < 9990; i++)
        assert_int_equal(buf_addf(&view,
                                  "--b\r\nContent-Type: text/%055d; x=\"%0100d\"\r\n"
                                  "Content-Transfer-Encoding: %0120d\r\nContent-Description: %0800d\r\n\r\n\r\n",
                                  i, i, i, i),
                         ERR_OK);
    assert_int_equal(buf_add_string(&view, "--b--\r\n"), ERR_OK);
    assert_int_equal(imap_content_parse(buf_span(&view), &tree), ERR_OK);
    assert_true(tree->parts_len > 9990);
    assert_int_equal(proxy_record_save(tree->root, buf_span(&view), &saved), ERR_LIMIT);
    assert_int_equal(saved.len, 0);
    assert_int_equal(proxy_record_save_short(tree->root, buf_span(&view), &saved), ERR_OK);
    assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_OK);
    assert_int_equal(record.size, view.len);
    assert_true(span_is_equal(record.envelope, SPAN_LIT(IMAP_ENVELOPE_EMPTY)));
    assert_true(span_has_case_suffix(record.header, SPAN_LIT("c@d\r\n\r\n")));
    mime_tree_free(&tree);
    buf_fini(&saved);
    buf_fini(&view);
}

static void test_header_has_its_empty_line(void **state)
{
    struct proxy_record record;
    struct buf saved;

    (void)state;
    save(SPAN_LIT(VIEW), &saved);
    assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_OK);
    assert_int_equal(record.header.len, strstr(VIEW, "\r\n\r\n") + 4 - VIEW);
    buf_fini(&saved);
}

static void test_what_is_not_whole_is_refused(void **state)
{
    struct proxy_record record = {.size = 77};
    struct buf saved;

    (void)state;
    save(SPAN_LIT(VIEW), &saved);
    for (size_t len = 0; len < saved.len; len++)
        assert_int_equal(proxy_record_load((struct span){saved.data, len}, &record), ERR_PEER_PROTOCOL);
    assert_int_equal(proxy_record_load((struct span){saved.data, saved.len + 1}, &record), ERR_PEER_PROTOCOL);
    assert_int_equal(record.size, 77);
    saved.data[0] = 2; /* another version */
    assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_PEER_PROTOCOL);
    saved.data[0] = 1;
    memset(saved.data + 1, 0, 8); /* smaller than its header */
    assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_PEER_PROTOCOL);
    buf_fini(&saved);
}

static void test_values_are_lists(void **state)
{
    struct proxy_record record;
    struct buf saved;

    (void)state;
    save(SPAN_LIT(VIEW), &saved);
    saved.data[saved.len - 1] = 'x';
    assert_int_equal(proxy_record_load(buf_span(&saved), &record), ERR_PEER_PROTOCOL);
    buf_fini(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_short_structures),
        cmocka_unit_test(test_header_has_its_empty_line),
        cmocka_unit_test(test_what_is_not_whole_is_refused),
        cmocka_unit_test(test_values_are_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
