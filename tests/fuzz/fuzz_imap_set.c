/* Sets parsed from text keep their form; a map that is told anything at all stays consistent. */
#include "imap/set.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void check_set(const struct imap_set *set)
{
    for (size_t i = 0; i < set->len; i++) {
        check(set->ranges[i].first > 0 && set->ranges[i].first <= set->ranges[i].last);
        check(i == 0 || set->ranges[i].first > set->ranges[i - 1].last + 1);
        check(imap_set_has(set, set->ranges[i].first) && imap_set_has(set, set->ranges[i].last));
    }
}

static void parse_and_format(struct span text, struct imap_set *set)
{
    struct imap_set again, added;
    struct buf out;
    buf_init(&out, 30 * text.len + 100);
    imap_set_init(&again);
    imap_set_init(&added);
    if (imap_set_parse(text, 77, set, NULL) == ERR_OK) {
        check_set(set);
        check(imap_set_format(set, &out) == ERR_OK);
        check(imap_set_parse(buf_span(&out), 1, &again, NULL) == ERR_OK || set->len == 0);
        for (size_t i = set->len; i > 0; i--)
            check(imap_set_add_range(&added, set->ranges[i - 1].first, set->ranges[i - 1].last) == ERR_OK);
        check(again.len == set->len && added.len == set->len);
        if (set->len > 0)
            check(memcmp(again.ranges, set->ranges, set->len * sizeof *set->ranges) == 0 &&
                  memcmp(added.ranges, set->ranges, set->len * sizeof *set->ranges) == 0);
    }
    imap_set_fini(&again);
    imap_set_fini(&added);
    buf_fini(&out);
}

static void check_map(struct imap_map *map)
{
    bool is_complete = true;
    for (uint32_t number = 1; number <= imap_map_count(map); number++)
        is_complete = is_complete && imap_map_uid(map, number) > 0;
    for (uint32_t number = 1; number <= imap_map_count(map) && is_complete; number++)
        check(imap_map_number(map, imap_map_uid(map, number)) == number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct imap_set set, out;
    struct imap_map *map;
    if (imap_map_new(&map) != ERR_OK)
        abort();
    imap_set_init(&set);
    imap_set_init(&out);
    size_t text_len = size > 0 ? data[0] % 64 : 0;
    if (size > 0)
        parse_and_format(span_slice((struct span){(const char *)data, size}, 1, 1 + text_len), &set);
    for (size_t at = 1 + text_len; at + 2 < size; at += 3) {
        uint32_t uid;
        enum err err = ERR_OK;
        if (data[at] % 4 == 0)
            err = imap_map_exists(map, data[at + 1]);
        else if (data[at] % 4 == 1)
            err = imap_map_learn(map, data[at + 1], data[at + 2]);
        else if (data[at] % 4 == 2)
            err = imap_map_expunge(map, data[at + 1], &uid);
        else
            err = imap_map_vanished(map, &set);
        if (err == ERR_MALFORMED && data[at] % 4 != 0)
            break; /* the session would end */
        check_map(map);
        check(imap_map_unknown(map, &out) == ERR_OK && imap_map_numbers(map, &set, &out) == ERR_OK);
        check_set(&out);
    }
    imap_set_fini(&set);
    imap_set_fini(&out);
    imap_map_free(&map);
    return 0;
}
