#include "imap/set.h"

#include "tests/unit/failing_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_set(const struct imap_set *set, const char *expected)
{
    struct buf out;
    buf_init(&out, 10000);
    assert_int_equal(imap_set_format(set, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

struct parse_row {
    const char *text;
    uint32_t star;
    const char *set; /* NULL: malformed */
    bool has_star;
};

static const struct parse_row parse_rows[] = {
    {"1", 9, "1", false},
    {"1:3,7,9:*", 12, "1:3,7,9:12", true},
    {"9:*", 3, "3:9", true},
    {"*", 5, "5", true},
    {"*:*", 5, "5", true},
    {"*:2", 5, "2:5", true},
    {"5:2", 9, "2:5", false},
    {"3,2,1", 9, "1:3", false},
    {"7,1:9,3", 9, "1:9", false},
    {"1:2,4:5,3", 9, "1:5", false},
    {"1,1,1", 9, "1", false},
    {"4294967295,1", 9, "1,4294967295", false},
    {"1:4294967295", 9, "1:4294967295", false},
    {"*", 0, "", true},
    {"1:*,4", 0, "4", true},
    {"", 9, NULL, false},
    {"0", 9, NULL, false},
    {"1:0", 9, NULL, false},
    {"1,", 9, NULL, false},
    {",1", 9, NULL, false},
    {"1:", 9, NULL, false},
    {"1:2:3", 9, NULL, false},
    {"4294967296", 9, NULL, false},
    {"1 ", 9, NULL, false},
    {"a", 9, NULL, false},
    {"$", 9, NULL, false},
    {"-1", 9, NULL, false},
    {"**", 9, NULL, true},
};

static void test_parse(void **state)
{
    (void)state;
    struct imap_set set;
    imap_set_init(&set);
    for (size_t i = 0; i < sizeof parse_rows / sizeof parse_rows[0]; i++) {
        const struct parse_row *row = &parse_rows[i];
        bool has_star;
        enum err err = imap_set_parse(span_of(row->text), row->star, &set, &has_star);
        assert_int_equal(err, row->set ? ERR_OK : ERR_MALFORMED);
        assert_set(&set, row->set ? row->set : "");
        if (row->set)
            assert_int_equal(has_star, row->has_star);
        assert_int_equal(imap_set_parse(span_of(row->text), row->star, &set, NULL), err);
    }
    imap_set_fini(&set);
}

#define UNIVERSE 60

static void assert_same(const struct imap_set *set, const bool *has)
{
    struct imap_set_step step = {0};
    uint32_t number, at = 0;
    uint64_t count = 0;
    for (uint32_t i = 1; i < UNIVERSE; i++) {
        assert_int_equal(imap_set_has(set, i), has[i]);
        count += has[i];
    }
    assert_int_equal(imap_set_count(set), count);
    assert_int_equal(imap_set_is_empty(set), count == 0);
    while (imap_set_next(set, &step, &number)) {
        for (at++; at < number; at++)
            assert_false(has[at]);
        assert_true(has[number]);
        count--;
    }
    assert_int_equal(count, 0);
    for (size_t i = 1; i < set->len; i++)
        assert_true(set->ranges[i].first > set->ranges[i - 1].last + 1);
}

static void test_add_at_random(void **state)
{
    (void)state;
    srandom(1);
    for (int round = 0; round < 2000; round++) {
        struct imap_set set, copy;
        bool has[UNIVERSE] = {false};
        imap_set_init(&set);
        imap_set_init(&copy);
        for (int i = 0; i < 12; i++) {
            uint32_t first = 1 + (uint32_t)random() % (UNIVERSE - 1);
            uint32_t last = first + (uint32_t)random() % 4;
            if (last >= UNIVERSE)
                last = first;
            assert_int_equal(imap_set_add_range(&set, first, last), ERR_OK);
            for (uint32_t n = first; n <= last; n++)
                has[n] = true;
            assert_same(&set, has);
        }
        assert_int_equal(imap_set_copy(&set, &copy), ERR_OK);
        assert_same(&copy, has);
        struct buf text;
        buf_init(&text, 1000);
        assert_int_equal(imap_set_format(&set, &text), ERR_OK);
        assert_int_equal(imap_set_parse(buf_span(&text), 1, &copy, NULL), ERR_OK);
        assert_same(&copy, has);
        buf_fini(&text);
        imap_set_fini(&set);
        imap_set_fini(&copy);
    }
}

static void test_set_edges(void **state)
{
    (void)state;
    struct imap_set set;
    uint32_t number;
    struct imap_set_step step = {0};
    imap_set_init(&set);
    assert_false(imap_set_has(&set, 1));
    assert_false(imap_set_next(&set, &step, &number));
    assert_int_equal(imap_set_add(&set, 0), ERR_MALFORMED);
    assert_int_equal(imap_set_add_range(&set, 3, 2), ERR_MALFORMED);
    assert_int_equal(imap_set_add(&set, UINT32_MAX), ERR_OK);
    assert_int_equal(imap_set_add(&set, UINT32_MAX - 1), ERR_OK);
    assert_int_equal(imap_set_add_range(&set, 1, UINT32_MAX - 2), ERR_OK);
    assert_set(&set, "1:4294967295");
    assert_int_equal(imap_set_count(&set), UINT32_MAX);
    assert_false(imap_set_has(&set, 0));
    imap_set_remove_below(&set, 7);
    assert_set(&set, "7:4294967295");
    imap_set_remove_below(&set, UINT32_MAX);
    assert_set(&set, "4294967295");
    assert_int_equal(imap_set_parse(SPAN_LIT("3,5:6,9"), 9, &set, NULL), ERR_OK);
    imap_set_remove_below(&set, 4);
    assert_set(&set, "5:6,9");
    imap_set_remove_below(&set, 6);
    assert_set(&set, "6,9");
    imap_set_remove_below(&set, 10);
    assert_true(imap_set_is_empty(&set));
    imap_set_remove_below(&set, 11);
    imap_set_clear(&set);
    for (uint32_t i = 1; i <= IMAP_SET_RANGES_MAX; i++)
        assert_int_equal(imap_set_add(&set, 2 * i), ERR_OK);
    assert_int_equal(imap_set_add(&set, 2 * IMAP_SET_RANGES_MAX + 2), ERR_LIMIT);
    assert_int_equal(imap_set_count(&set), IMAP_SET_RANGES_MAX);
    imap_set_fini(&set);
}

/* ---- the map ---- */

static struct imap_map *map_of(const uint32_t *uids, uint32_t len)
{
    struct imap_map *map;
    assert_int_equal(imap_map_new(&map), ERR_OK);
    assert_int_equal(imap_map_exists(map, len), ERR_OK);
    for (uint32_t i = 0; i < len; i++)
        if (uids[i] > 0)
            assert_int_equal(imap_map_learn(map, i + 1, uids[i]), ERR_OK);
    return map;
}

static void assert_map(const struct imap_map *map, const uint32_t *uids, uint32_t len)
{
    assert_int_equal(imap_map_count(map), len);
    for (uint32_t i = 0; i < len; i++) {
        assert_int_equal(imap_map_uid(map, i + 1), uids[i]);
        if (uids[i] > 0)
            assert_int_equal(imap_map_number(map, uids[i]), i + 1);
    }
    assert_int_equal(imap_map_uid(map, 0), 0);
    assert_int_equal(imap_map_uid(map, len + 1), 0);
    assert_int_equal(imap_map_number(map, 0), 0);
}

static void vanish(struct imap_map *map, const char *text)
{
    struct imap_set set;
    imap_set_init(&set);
    assert_int_equal(imap_set_parse(span_of(text), 1, &set, NULL), ERR_OK);
    assert_int_equal(imap_map_vanished(map, &set), ERR_OK);
    imap_set_fini(&set);
}

static void test_map_follows(void **state)
{
    (void)state;
    const uint32_t uids[] = {3, 5, 8, 20, 21};
    struct imap_map *map = map_of(uids, 5);
    uint32_t uid;
    assert_map(map, uids, 5);
    assert_true(imap_map_is_known(map));
    assert_int_equal(imap_map_number(map, 4), 0);
    assert_int_equal(imap_map_number(map, 22), 0);
    assert_int_equal(imap_map_expunge(map, 2, &uid), ERR_OK);
    assert_int_equal(uid, 5);
    assert_map(map, (const uint32_t[]){3, 8, 20, 21}, 4);
    assert_int_equal(imap_map_exists(map, 6), ERR_OK);
    assert_map(map, (const uint32_t[]){3, 8, 20, 21, 0, 0}, 6);
    assert_int_equal(imap_map_learn(map, 6, 40), ERR_OK);
    assert_false(imap_map_is_known(map));
    assert_map(map, (const uint32_t[]){3, 8, 20, 21, 0, 40}, 6);
    assert_int_equal(imap_map_expunge(map, 5, &uid), ERR_OK);
    assert_int_equal(uid, 0);
    assert_map(map, (const uint32_t[]){3, 8, 20, 21, 40}, 5);
    vanish(map, "1:8,21,30,50");
    assert_map(map, (const uint32_t[]){20, 40}, 2);
    assert_int_equal(imap_map_expunge(map, 2, &uid), ERR_OK);
    assert_int_equal(imap_map_expunge(map, 2, &uid), ERR_MALFORMED);
    assert_int_equal(imap_map_expunge(map, 0, &uid), ERR_MALFORMED);
    assert_int_equal(imap_map_expunge(map, 1, &uid), ERR_OK);
    assert_int_equal(uid, 20);
    assert_int_equal(imap_map_count(map), 0);
    imap_map_clear(map);
    imap_map_free(&map);
    assert_null(map);
}

/* Messages that came since the last look are known by number alone; those of them that vanish are among the UIDs above
   the known ones. */
static void test_map_vanished_unknown(void **state)
{
    (void)state;
    struct imap_map *map = map_of((const uint32_t[]){3, 5, 0, 0, 0}, 5);
    vanish(map, "5,7");
    assert_map(map, (const uint32_t[]){3, 0, 0}, 3);
    vanish(map, "1:2,4");
    assert_map(map, (const uint32_t[]){3, 0}, 2);
    assert_int_equal(imap_map_learn(map, 2, 10), ERR_OK);
    vanish(map, "11:4294967295");
    assert_map(map, (const uint32_t[]){3, 10}, 2);
    imap_map_free(&map);

    map = map_of((const uint32_t[]){3, 0, 9, 0}, 4);
    vanish(map, "9");
    assert_map(map, (const uint32_t[]){3, 0, 0}, 3);
    vanish(map, "4:4294967295");
    assert_map(map, (const uint32_t[]){3}, 1);
    imap_map_free(&map);

    map = map_of((const uint32_t[]){3, 0, 0, 0, 9}, 5);
    vanish(map, "8:9");
    assert_map(map, (const uint32_t[]){3, 0, 0}, 3);
    imap_map_free(&map);

    /* The one that is gone stood before one that is known. */
    map = map_of((const uint32_t[]){3, 0, 0, 9, 0}, 5);
    vanish(map, "5");
    assert_map(map, (const uint32_t[]){3, 0, 9, 0}, 4);
    vanish(map, "3,8");
    assert_map(map, (const uint32_t[]){9, 0}, 2);
    assert_int_equal(imap_map_learn(map, 2, 12), ERR_OK);
    assert_true(imap_map_is_known(map));
    imap_map_free(&map);
}

static void test_map_contradictions(void **state)
{
    (void)state;
    struct imap_map *map = map_of((const uint32_t[]){3, 5, 0, 9, 0}, 5);
    assert_int_equal(imap_map_exists(map, 4), ERR_MALFORMED);
    assert_int_equal(imap_map_exists(map, 20000000), ERR_LIMIT);
    assert_int_equal(imap_map_learn(map, 2, 5), ERR_OK);
    assert_int_equal(imap_map_learn(map, 2, 6), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 5, 5), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 3, 5), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 3, 0), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 0, 7), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 6, 70), ERR_MALFORMED);
    assert_int_equal(imap_map_learn(map, 3, 10), ERR_MALFORMED); /* 9 follows */
    imap_map_free(&map);
}

static void test_map_sets(void **state)
{
    (void)state;
    struct imap_map *map = map_of((const uint32_t[]){3, 4, 8, 20, 0, 30, 0}, 7);
    struct imap_set set, out;
    imap_set_init(&set);
    imap_set_init(&out);
    assert_int_equal(imap_map_unknown(map, &out), ERR_OK);
    assert_set(&out, "5,7");
    assert_int_equal(imap_set_parse(SPAN_LIT("1:3,6"), 7, &set, NULL), ERR_OK);
    assert_int_equal(imap_map_uids(map, &set, &out), ERR_OK);
    assert_set(&out, "3:4,8,30");
    assert_int_equal(imap_set_parse(SPAN_LIT("4:5"), 7, &set, NULL), ERR_OK);
    assert_int_equal(imap_map_uids(map, &set, &out), ERR_NOT_FOUND);
    assert_int_equal(imap_set_parse(SPAN_LIT("1:4294967295"), 7, &set, NULL), ERR_OK);
    assert_int_equal(imap_map_uids(map, &set, &out), ERR_NOT_FOUND);
    assert_int_equal(imap_map_numbers(map, &set, &out), ERR_OK);
    assert_set(&out, "1:4,6");
    assert_int_equal(imap_set_parse(SPAN_LIT("1:3,5:7,20,31"), 7, &set, NULL), ERR_OK);
    assert_int_equal(imap_map_numbers(map, &set, &out), ERR_OK);
    assert_set(&out, "1,4");
    imap_set_fini(&set);
    imap_set_fini(&out);
    imap_map_free(&map);
}

/* A second sync of a large mailbox learns and looks up every message. */
static void test_map_is_large(void **state)
{
    (void)state;
    struct imap_map *map;
    uint32_t uid;
    assert_int_equal(imap_map_new(&map), ERR_OK);
    assert_int_equal(imap_map_exists(map, 500000), ERR_OK);
    for (uint32_t i = 1; i <= 500000; i++)
        assert_int_equal(imap_map_learn(map, i, 3 * i), ERR_OK);
    for (uint32_t i = 1; i <= 500000; i++) {
        assert_int_equal(imap_map_number(map, 3 * i), i);
        assert_int_equal(imap_map_number(map, 3 * i + 1), 0);
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(imap_map_expunge(map, 1, &uid), ERR_OK);
    assert_int_equal(imap_map_uid(map, 1), 3003);
    imap_map_free(&map);
}

static bool follow_short_of_memory(void *context)
{
    struct imap_map *map = NULL;
    struct imap_set set, out;
    uint32_t uid;
    (void)context;
    imap_set_init(&set);
    imap_set_init(&out);
    enum err err = imap_map_new(&map);
    if (err == ERR_OK)
        err = imap_map_exists(map, 20);
    for (uint32_t number = 1; number <= 20 && err == ERR_OK; number++)
        err = imap_map_learn(map, number, 10 * number);
    if (err == ERR_OK)
        err = imap_map_expunge(map, 3, &uid);
    if (err == ERR_OK)
        err = imap_set_parse(SPAN_LIT("1,3,5,7,9,11,13,15,17,19"), 1, &set, NULL);
    if (err == ERR_OK)
        err = imap_map_uids(map, &set, &out);
    if (err == ERR_OK)
        err = imap_set_copy(&out, &set);
    if (err == ERR_OK)
        assert_int_equal(imap_set_count(&set), 10);
    else
        assert_int_equal(err, ERR_MEMORY);
    imap_set_fini(&set);
    imap_set_fini(&out);
    imap_map_free(&map);
    return err == ERR_OK;
}

static void test_short_of_memory(void **state)
{
    (void)state;
    failing_malloc_run(follow_short_of_memory, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_add_at_random),
        cmocka_unit_test(test_set_edges),
        cmocka_unit_test(test_map_follows),
        cmocka_unit_test(test_map_vanished_unknown),
        cmocka_unit_test(test_map_contradictions),
        cmocka_unit_test(test_map_sets),
        cmocka_unit_test(test_map_is_large),
        cmocka_unit_test(test_short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
