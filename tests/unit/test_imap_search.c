#include "failing_malloc.h"
#include "imap/search.h"

#include <stdlib.h>
#include <string.h>

static struct imap_search search;

static enum err parse_span(struct span text)
{
    struct imap_cursor cursor;

    imap_cursor_init_text(&cursor, text);
    return imap_search_parse(&cursor, &search);
}

static enum err parse(const char *text)
{
    return parse_span(span_of(text));
}

static void add_tree(size_t index, struct buf *out)
{
    const struct imap_search_node *node = &search.nodes[index];
    static const char *const names[] = {"and", "or", "not"};

    if (node->kind == IMAP_SEARCH_SERVER) {
        assert_int_equal(buf_addf(out, "s%zu[%.*s]", node->server, (int)node->raw.len, node->raw.ptr), ERR_OK);
        return;
    }
    if (node->kind == IMAP_SEARCH_VIEW) {
        const struct mime_text_leaf *leaf = &search.leaves[node->leaf];

        assert_int_equal(buf_addf(out, "v%d", (int)leaf->kind), ERR_OK);
        if (leaf->name != NULL)
            assert_int_equal(buf_addf(out, " %s", leaf->name), ERR_OK);
        if (leaf->needle != NULL)
            assert_int_equal(buf_addf(out, " '%s'", leaf->needle), ERR_OK);
        else
            assert_int_equal(buf_addf(out, " %lld", (long long)leaf->number), ERR_OK);
        return;
    }
    assert_int_equal(buf_addf(out, "%s(", names[node->kind]), ERR_OK);
    for (size_t child = node->first_child; child != 0; child = search.nodes[child].next) {
        add_tree(child, out);
        assert_int_equal(buf_add_string(out, search.nodes[child].next != 0 ? ", " : ")"), ERR_OK);
    }
}

static void expect_tree(const char *text, const char *wanted)
{
    struct buf tree;

    assert_int_equal(parse(text), ERR_OK);
    buf_init(&tree, 1 << 20);
    add_tree(0, &tree);
    assert_string_equal(tree.data, wanted);
    buf_fini(&tree);
    imap_search_fini(&search);
}

static void expect_error(const char *text, enum err wanted)
{
    assert_int_equal(parse(text), wanted);
    assert_int_equal(search.leaves_len, 0);
}

/* ---- trees ---- */

static void test_server_keys(void **state)
{
    (void)state;
    expect_tree("ALL", "and(s0[ALL])");
    expect_tree("ALL\r\n", "and(s0[ALL])");
    expect_tree("1:3,5:* unseen Keyword $Junk", "and(s0[1:3,5:* unseen Keyword $Junk])");
    expect_tree("SINCE 1-Feb-1994 BEFORE \" 1-Feb-1994\" ON 01-feb-1994",
                "and(s0[SINCE 1-Feb-1994 BEFORE \" 1-Feb-1994\" ON 01-feb-1994])");
    expect_tree("UID 4 UID $ $", "and(s0[UID 4 UID $ $])");
    expect_tree("OLDER 1 YOUNGER 100000", "and(s0[OLDER 1 YOUNGER 100000])");
    expect_tree("MODSEQ 5 MODSEQ \"/flags/\\\\draft\" all 620162338",
                "and(s0[MODSEQ 5 MODSEQ \"/flags/\\\\draft\" all 620162338])");
    expect_tree("EMAILID M1 THREADID T1 X-GM-MSGID 1 X-GM-THRID 2 X-GM-LABELS \"a b\"",
                "and(s0[EMAILID M1 THREADID T1 X-GM-MSGID 1 X-GM-THRID 2 X-GM-LABELS \"a b\"])");
    expect_tree("SAVEDBEFORE 1-Feb-1994 SAVEDATESUPPORTED", "and(s0[SAVEDBEFORE 1-Feb-1994 SAVEDATESUPPORTED])");
    expect_tree("NOT (SEEN OR DRAFT ALL) NEW", "and(s0[NOT (SEEN OR DRAFT ALL) NEW])");
    expect_tree("X-GM-LABELS {3}\r\na)b SEEN", "and(s0[X-GM-LABELS {3}\r\na)b SEEN])");
}

static void test_view_keys(void **state)
{
    (void)state;
    expect_tree("BODY hello", "and(v3 'HELLO')");
    expect_tree("TEXT \"a \\\"b\\\"\"", "and(v4 'A \"B\"')");
    expect_tree("FROM x TO y CC z BCC {1+}\r\nw", "and(v1 from 'X', v1 to 'Y', v1 cc 'Z', v1 bcc 'W')");
    expect_tree("SUBJECT {0}\r\n", "and(v2 subject '')");
    expect_tree("HEADER X-Foo \"\" HEADER \"Message-ID\" <a@b>", "and(v0 x-foo '', v0 message-id '<A@B>')");
    expect_tree("LARGER 0 SMALLER 18446744073709551615", "and(v5 0, v6 -1)");
    expect_tree("SENTBEFORE 1-Jan-1970 SENTON 2-Jan-1970 SENTSINCE \"21-Nov-1997\"", "and(v7 0, v8 1, v9 10186)");
    expect_tree("SENTON 31-Feb-1999 SENTON 31-Feb-2000", "and(v8 -9223372036854775808, v8 9223372036854775807)");
    expect_tree("SENTON 31-Dec-1969", "and(v8 -1)");
    expect_tree("SUBJECT gr\xC3\xBC", "and(v2 subject 'GRU\xCC\x88')");
}

static void test_mixed_trees(void **state)
{
    (void)state;
    expect_tree("SEEN BODY x DRAFT FLAGGED", "and(s0[SEEN], v3 'X', s1[DRAFT FLAGGED])");
    expect_tree("SEEN DRAFT BODY x FLAGGED", "and(s0[SEEN DRAFT], v3 'X', s1[FLAGGED])");
    expect_tree("OR SEEN BODY x", "and(or(s0[SEEN], v3 'X'))");
    expect_tree("OR BODY x (SEEN DRAFT)", "and(or(v3 'X', s0[(SEEN DRAFT)]))");
    expect_tree("OR OR SEEN DRAFT BODY x", "and(or(s0[OR SEEN DRAFT], v3 'X'))");
    expect_tree("NOT (SEEN BODY x) ALL", "and(not(and(s0[SEEN], v3 'X')), s1[ALL])");
    expect_tree("NOT NOT BODY x", "and(not(not(v3 'X')))");
    expect_tree("(BODY x) (SEEN (ALL)) 1", "and(and(v3 'X'), s0[(SEEN (ALL)) 1])");
    /* More blanks than the grammar has. */
    expect_tree("  BODY  x  ( SEEN ) ", "and(v3 'X', s0[( SEEN )])");
}

static void test_charset(void **state)
{
    (void)state;
    assert_int_equal(parse("CHARSET iso-8859-1 BODY {3}\r\ngr\xFC SEEN"), ERR_OK);
    assert_true(span_is_equal(search.charset, SPAN_LIT("iso-8859-1")));
    assert_true(span_is_equal(search.program, SPAN_LIT("CHARSET iso-8859-1 BODY {3}\r\ngr\xFC SEEN")));
    assert_true(span_is_equal(search.keys, SPAN_LIT("BODY {3}\r\ngr\xFC SEEN")));
    assert_string_equal(search.leaves[0].needle, "GRU\xCC\x88");
    imap_search_fini(&search);
    expect_tree("CHARSET \"US-ASCII\" BODY x", "and(v3 'X')");
    expect_tree("CHARSET utf-8 BODY {2}\r\n\xC3\xBC", "and(v3 'U\xCC\x88')");
    expect_error("CHARSET x-unheard-of BODY x", ERR_NOT_FOUND);
    /* What the server answers alone it may judge alone. */
    expect_tree("CHARSET x-unheard-of SEEN", "and(s0[SEEN])");
    expect_error("BODY {1}\r\n\xFF", ERR_COMMAND_SYNTAX);
    expect_error("CHARSET utf-8 BODY {1}\r\n\xFF", ERR_COMMAND_SYNTAX);
    expect_error("CHARSET euc-jp BODY {2}\r\n\xFF.", ERR_COMMAND_SYNTAX);
}

static void test_return(void **state)
{
    (void)state;
    assert_int_equal(parse("RETURN () SEEN"), ERR_OK);
    assert_true(search.is_extended && search.wants_all && !search.wants_save && imap_search_is_server(&search));
    assert_int_equal(parse("RETURN (min MAX Count SAVE) $"), ERR_OK);
    assert_true(search.wants_min && search.wants_max && search.wants_count && search.wants_save && !search.wants_all);
    assert_true(search.has_saved_set && !search.has_modseq);
    assert_int_equal(parse("RETURN (ALL) CHARSET UTF-8 MODSEQ 1 BODY x"), ERR_OK);
    assert_true(search.wants_all && search.has_modseq && !imap_search_is_server(&search));
    assert_true(span_is_equal(search.program, SPAN_LIT("CHARSET UTF-8 MODSEQ 1 BODY x")));
    imap_search_fini(&search);
    expect_error("RETURN SEEN", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (MIN", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (MIN)", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (MIN)SEEN", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (PARTIAL 1:100) SEEN", ERR_COMMAND_SYNTAX);
    expect_error("RETURN (CONTEXT) SEEN", ERR_COMMAND_SYNTAX);
}

static void test_errors(void **state)
{
    static const char *const wrong[] = {
        "",
        "\r\n",
        "()",
        "(SEEN",
        "SEEN)",
        "NOT",
        "OR SEEN",
        "OR",
        "BODY",
        "BODY ",
        "BODY (x)",
        "HEADER x",
        "XYZZY",
        "0",
        "1:",
        ":1",
        "1,",
        "1:2:3",
        "**",
        "1*",
        "*1",
        "01",
        "UID",
        "UID x",
        "UID 0",
        "SENTON x",
        "SENTON 1-Jan",
        "SENTON 1-Foo-2000",
        "SENTON x-Jan-2000",
        "SENTON 001-Jan-2000",
        "LARGER",
        "LARGER x",
        "LARGER -1",
        "OLDER 0",
        "MODSEQ",
        "MODSEQ x",
        "MODSEQ \"/flags/x\" 1",
        "KEYWORD",
        "BODY {3}\r\nab",
        "BODY \"abc",
        "CHARSET",
        "CHARSET x",
        "SEEN\rDRAFT",
        "SEEN\tDRAFT",
        "NOTSEEN",
        "SUBJECT {3}\r\na\0b",
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong - 1; i++)
        expect_error(wrong[i], ERR_COMMAND_SYNTAX);
    assert_int_equal(parse_span(SPAN_LIT("SUBJECT {3}\r\na\0b")), ERR_COMMAND_SYNTAX);
    expect_error("BODY x BODY y XYZZY", ERR_COMMAND_SYNTAX);
    expect_error("X-GM-RAW \"has:attachment\"", ERR_REFUSED);
    expect_error("BODY x FUZZY BODY y", ERR_REFUSED);
}

static enum err parse_repeated(const char *before, size_t count, const char *after)
{
    struct buf text;
    enum err result;

    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(buf_add_string(&text, before), ERR_OK);
    assert_int_equal(buf_add_string(&text, after), ERR_OK);
    result = parse_span(buf_span(&text));
    if (result == ERR_OK)
        imap_search_fini(&search);
    buf_fini(&text);
    return result;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(parse_repeated("NOT ", IMAP_SEARCH_DEPTH_MAX - 1, "BODY x"), ERR_OK);
    assert_int_equal(parse_repeated("NOT ", IMAP_SEARCH_DEPTH_MAX, "BODY x"), ERR_LIMIT);
    assert_int_equal(parse_repeated("(", 100000, "SEEN"), ERR_LIMIT);
    assert_int_equal(parse_repeated("BODY x ", IMAP_SEARCH_NODES_MAX - 2, "SEEN"), ERR_OK);
    assert_int_equal(parse_repeated("BODY x ", IMAP_SEARCH_NODES_MAX - 1, "SEEN"), ERR_LIMIT);
    /* However many they are, they are one question. */
    assert_int_equal(parse_repeated("SEEN ", 20000, "DRAFT"), ERR_OK);
}

/* Whatever the text is cut off at, nothing beyond it is read, and nothing is left behind. */
static void test_every_end(void **state)
{
    static const char text[] =
        "RETURN (MIN ALL) CHARSET UTF-8 OR (SEEN BODY {4}\r\ntext) NOT HEADER \"X-A\" \"b\\\"c\" "
        "SENTON 1-Jan-2000 MODSEQ \"/flags/x\" all 5 LARGER 17";

    (void)state;
    for (size_t len = 0; len < sizeof text; len++) {
        char *exact = malloc(len == 0 ? 1 : len);

        assert_non_null(exact);
        memcpy(exact, text, len);
        if (parse_span((struct span){exact, len}) == ERR_OK)
            imap_search_fini(&search);
        free(exact);
    }
}

static bool parse_once(void *context)
{
    enum err result = parse("OR SUBJECT {3}\r\nabc (HEADER x y BODY z) SEEN");

    (void)context;
    assert_true(result == ERR_OK || result == ERR_MEMORY);
    if (result == ERR_OK)
        imap_search_fini(&search);
    return result == ERR_OK;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    failing_malloc_run(parse_once, NULL);
}

/* ---- combining ---- */

static void expect_bits(const char *text, size_t len, uint16_t wanted)
{
    static const uint8_t servers[2][2] = {{0x0F, 0x00}, {0xF0, 0x03}};
    static const uint8_t leaves[2][2] = {{0x55, 0x01}, {0xFF, 0x03}};
    const uint8_t *server_rows[2] = {servers[0], servers[1]}, *leaf_rows[2] = {leaves[0], leaves[1]};
    uint8_t result[3] = {0xAA, 0xAA, 0xAA};

    assert_int_equal(parse(text), ERR_OK);
    imap_search_combine(&search, server_rows, leaf_rows, len, result);
    assert_int_equal(result[0], wanted & 0xFF);
    assert_int_equal(result[1], len > 8 ? wanted >> 8 : 0xAA);
    assert_int_equal(result[2], 0xAA);
    imap_search_fini(&search);
}

static void test_combine(void **state)
{
    (void)state;
    expect_bits("SEEN BODY x", 10, 0x0005);
    expect_bits("OR SEEN BODY x", 10, 0x015F);
    expect_bits("NOT BODY x", 10, 0x02AA);
    expect_bits("NOT BODY x", 8, 0xAA);
    expect_bits("NOT BODY x", 3, 0x02);
    expect_bits("NOT BODY x", 0, 0xAA);
    expect_bits("NOT (SEEN BODY x)", 10, 0x03FA);
    expect_bits("BODY x BODY y", 10, 0x0155);
    expect_bits("OR (SEEN BODY x) (DRAFT NOT BODY y)", 10, 0x0005);
    expect_bits("OR (SEEN BODY x) (DRAFT BODY y)", 10, 0x03F5);
}

/* ---- answers ---- */

static void expect_answer(const char *text, bool is_uid, const struct imap_set *found, uint64_t modseq,
                          const char *wanted)
{
    struct buf out;

    assert_int_equal(parse(text), ERR_OK);
    buf_init(&out, 1000);
    assert_int_equal(imap_search_answer(&search, SPAN_LIT("a1"), is_uid, found, modseq, &out), ERR_OK);
    assert_string_equal(out.data, wanted);
    buf_fini(&out);
    buf_init(&out, strlen(wanted) == 0 ? 0 : strlen(wanted) - 1);
    assert_int_equal(imap_search_answer(&search, SPAN_LIT("a1"), is_uid, found, modseq, &out),
                     strlen(wanted) == 0 ? ERR_OK : ERR_LIMIT);
    buf_fini(&out);
    imap_search_fini(&search);
}

static void test_answers(void **state)
{
    struct imap_set found, none;

    (void)state;
    imap_set_init(&found);
    imap_set_init(&none);
    assert_int_equal(imap_set_add_range(&found, 2, 4), ERR_OK);
    assert_int_equal(imap_set_add(&found, 9), ERR_OK);
    expect_answer("BODY x", false, &found, 0, "* SEARCH 2 3 4 9\r\n");
    expect_answer("BODY x", true, &found, 77, "* SEARCH 2 3 4 9 (MODSEQ 77)\r\n");
    expect_answer("BODY x", false, &none, 0, "* SEARCH\r\n");
    expect_answer("RETURN () BODY x", false, &found, 0, "* ESEARCH (TAG \"a1\") ALL 2:4,9\r\n");
    expect_answer("RETURN (COUNT MAX MIN) BODY x", true, &found, 0,
                  "* ESEARCH (TAG \"a1\") UID MIN 2 MAX 9 COUNT 4\r\n");
    expect_answer("RETURN (ALL COUNT MIN) BODY x", true, &none, 0, "* ESEARCH (TAG \"a1\") UID COUNT 0\r\n");
    expect_answer("RETURN (ALL) MODSEQ 1 BODY x", false, &found, 77, "* ESEARCH (TAG \"a1\") ALL 2:4,9 MODSEQ 77\r\n");
    expect_answer("RETURN (SAVE) BODY x", false, &found, 0, "");
    expect_answer("RETURN (SAVE) MODSEQ 1 BODY x", false, &found, 77, "* ESEARCH (TAG \"a1\") MODSEQ 77\r\n");
    expect_answer("RETURN (SAVE COUNT) BODY x", false, &found, 0, "* ESEARCH (TAG \"a1\") COUNT 4\r\n");
    imap_set_fini(&found);
    imap_set_fini(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_keys),
        cmocka_unit_test(test_view_keys),
        cmocka_unit_test(test_mixed_trees),
        cmocka_unit_test(test_charset),
        cmocka_unit_test(test_return),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_every_end),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_combine),
        cmocka_unit_test(test_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
