#include "imap/set.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX 10000000

/* UIDs by number, 0 where not known. The first `prefix` of them are known and ascend: there a UID is found by
   bisection; beyond it (what has come since) one looks at each. */
struct imap_map {
    uint32_t *uids;
    uint32_t len, capacity;
    uint32_t prefix;
};

enum err imap_map_new(struct imap_map **map_out)
{
    *map_out = calloc(1, sizeof **map_out);
    return *map_out ? ERR_OK : ERR_MEMORY;
}

void imap_map_free(struct imap_map **map)
{
    if (!*map)
        return;
    free((*map)->uids);
    free(*map);
    *map = NULL;
}

void imap_map_clear(struct imap_map *map)
{
    map->len = 0;
    map->prefix = 0;
}

uint32_t imap_map_count(const struct imap_map *map)
{
    return map->len;
}

enum err imap_map_exists(struct imap_map *map, uint32_t count)
{
    if (count < map->len)
        return ERR_MALFORMED;
    if (count > MESSAGES_MAX)
        return ERR_LIMIT;
    if (count > map->capacity) {
        uint32_t capacity = map->capacity + map->capacity / 2;
        if (capacity < count)
            capacity = count;
        uint32_t *uids = reallocarray(map->uids, capacity, sizeof *uids);
        if (!uids)
            return ERR_MEMORY;
        map->uids = uids;
        map->capacity = capacity;
    }
    if (count > map->len)
        memset(map->uids + map->len, 0, (count - map->len) * sizeof *map->uids);
    map->len = count;
    return ERR_OK;
}

/* Takes what is known and ascends into the prefix. */
static enum err extend(struct imap_map *map)
{
    for (; map->prefix < map->len && map->uids[map->prefix] != 0; map->prefix++) {
        if (map->prefix > 0 && map->uids[map->prefix] <= map->uids[map->prefix - 1])
            return ERR_MALFORMED;
    }
    return ERR_OK;
}

enum err imap_map_expunge(struct imap_map *map, uint32_t number, uint32_t *uid_out)
{
    *uid_out = 0;
    if (number == 0 || number > map->len)
        return ERR_MALFORMED;
    *uid_out = map->uids[number - 1];
    memmove(map->uids + number - 1, map->uids + number, (map->len - number) * sizeof *map->uids);
    map->len--;
    if (number <= map->prefix)
        map->prefix--;
    /* What was not known may have been all that was between the prefix and more that is known. */
    return extend(map);
}

/* How many numbers between `low` and `high`, neither included, the set holds, up to `max`. */
static uint32_t count_between(const struct imap_set *set, uint32_t low, uint64_t high, uint32_t max)
{
    uint64_t count = 0;
    for (size_t i = 0; i < set->len && set->ranges[i].first < high && count < max; i++) {
        uint64_t first = set->ranges[i].first, last = set->ranges[i].last;
        first = first > low ? first : (uint64_t)low + 1;
        last = last < high ? last : high - 1;
        count += first <= last ? last - first + 1 : 0;
    }
    return count < max ? (uint32_t)count : max;
}

/* Of messages in a row that are known by their numbers alone, as many are gone as the set has UIDs between those of
   their neighbours: each UID of VANISHED takes one message away (RFC 7162 §3.2.10). */
enum err imap_map_vanished(struct imap_map *map, const struct imap_set *uids)
{
    uint32_t at = 0, kept = 0, low = 0, prefix = map->prefix;
    while (at < map->len) {
        uint32_t run = 0;
        while (at + run < map->len && map->uids[at + run] == 0)
            run++;
        uint64_t high = at + run < map->len ? map->uids[at + run] : (uint64_t)UINT32_MAX + 1;
        uint32_t left = run - count_between(uids, low, high, run);
        memset(map->uids + kept, 0, left * sizeof *map->uids);
        kept += left;
        at += run;
        if (at == map->len)
            break;
        low = map->uids[at];
        if (!imap_set_has(uids, low))
            map->uids[kept++] = low;
        else if (at < prefix)
            map->prefix--;
        at++;
    }
    map->len = kept;
    return extend(map);
}

enum err imap_map_learn(struct imap_map *map, uint32_t number, uint32_t uid)
{
    if (number == 0 || number > map->len || uid == 0)
        return ERR_MALFORMED;
    uint32_t *place = &map->uids[number - 1];
    if (*place != 0)
        return *place == uid ? ERR_OK : ERR_MALFORMED;
    if (map->prefix > 0 && uid <= map->uids[map->prefix - 1])
        return ERR_MALFORMED;
    *place = uid;
    return extend(map);
}

uint32_t imap_map_uid(const struct imap_map *map, uint32_t number)
{
    return number > 0 && number <= map->len ? map->uids[number - 1] : 0;
}

/* Index of the first UID of the prefix that is at least `uid`. */
static uint32_t find(const struct imap_map *map, uint32_t uid)
{
    uint32_t low = 0, high = map->prefix;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->uids[middle] < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t imap_map_number(const struct imap_map *map, uint32_t uid)
{
    uint32_t at = uid > 0 ? find(map, uid) : map->len;
    while (at >= map->prefix && at < map->len && map->uids[at] != uid)
        at++;
    return at < map->len && map->uids[at] == uid ? at + 1 : 0;
}

bool imap_map_is_known(const struct imap_map *map)
{
    return map->prefix == map->len;
}

enum err imap_map_unknown(const struct imap_map *map, struct imap_set *numbers_out)
{
    enum err err = ERR_OK;
    imap_set_clear(numbers_out);
    for (uint32_t i = map->prefix; i < map->len && err == ERR_OK; i++)
        if (map->uids[i] == 0)
            err = imap_set_add(numbers_out, i + 1);
    return err;
}

enum err imap_map_uids(const struct imap_map *map, const struct imap_set *numbers, struct imap_set *uids_out)
{
    struct imap_set_step step = {0};
    uint32_t number;
    enum err err = ERR_OK;
    imap_set_clear(uids_out);
    while (err == ERR_OK && imap_set_next(numbers, &step, &number)) {
        uint32_t uid = imap_map_uid(map, number);
        err = uid > 0 ? imap_set_add(uids_out, uid) : ERR_NOT_FOUND;
    }
    return err;
}

enum err imap_map_numbers(const struct imap_map *map, const struct imap_set *uids, struct imap_set *numbers_out)
{
    enum err err = ERR_OK;
    imap_set_clear(numbers_out);
    for (size_t i = 0; i < uids->len && err == ERR_OK; i++) {
        uint32_t last = uids->ranges[i].last;
        uint32_t from = find(map, uids->ranges[i].first);
        uint32_t to = last < UINT32_MAX ? find(map, last + 1) : map->prefix;
        if (to > from)
            err = imap_set_add_range(numbers_out, from + 1, to);
    }
    for (uint32_t at = map->prefix; at < map->len && err == ERR_OK; at++)
        if (imap_set_has(uids, map->uids[at]))
            err = imap_set_add(numbers_out, at + 1);
    return err;
}
