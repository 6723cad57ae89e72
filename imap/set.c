#include "imap/set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void imap_set_init(struct imap_set *set)
{
    *set = (struct imap_set){0};
}

void imap_set_fini(struct imap_set *set)
{
    free(set->ranges);
    *set = (struct imap_set){0};
}

void imap_set_clear(struct imap_set *set)
{
    set->len = 0;
}

static enum err reserve(struct imap_set *set, size_t len)
{
    if (len > IMAP_SET_RANGES_MAX)
        return ERR_LIMIT;
    if (len <= set->capacity)
        return ERR_OK;
    size_t capacity = set->capacity > 0 ? 2 * set->capacity : 8;
    if (capacity < len)
        capacity = len;
    struct imap_range *ranges = reallocarray(set->ranges, capacity, sizeof *ranges);
    if (!ranges)
        return ERR_MEMORY;
    set->ranges = ranges;
    set->capacity = capacity;
    return ERR_OK;
}

/* Index of the first range that ends at `number` or beyond it. */
static size_t find(const struct imap_set *set, uint32_t number)
{
    size_t low = 0, high = set->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->ranges[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* True if there is no number between `a` and a later `b`: they make one range. */
static bool is_joined(uint32_t a, uint32_t b)
{
    return b <= a || b - a == 1;
}

static enum err insert(struct imap_set *set, size_t at, struct imap_range range)
{
    enum err err = reserve(set, set->len + 1);
    if (err != ERR_OK)
        return err;
    memmove(set->ranges + at + 1, set->ranges + at, (set->len - at) * sizeof range);
    set->ranges[at] = range;
    set->len++;
    return ERR_OK;
}

enum err imap_set_add_range(struct imap_set *set, uint32_t first, uint32_t last)
{
    if (first == 0 || first > last)
        return ERR_MALFORMED;
    /* The first range that the new one touches, and the one after the last such. */
    size_t from = set->len > 0 && set->ranges[set->len - 1].last < first ? set->len - 1 : find(set, first - 1);
    if (from < set->len && !is_joined(set->ranges[from].last, first))
        from++;
    size_t to = from;
    while (to < set->len && is_joined(last, set->ranges[to].first))
        to++;
    if (from == to)
        return insert(set, from, (struct imap_range){first, last});
    if (set->ranges[from].first > first)
        set->ranges[from].first = first;
    uint32_t end = set->ranges[to - 1].last;
    set->ranges[from].last = end > last ? end : last;
    memmove(set->ranges + from + 1, set->ranges + to, (set->len - to) * sizeof *set->ranges);
    set->len -= to - from - 1;
    return ERR_OK;
}

enum err imap_set_add(struct imap_set *set, uint32_t number)
{
    return imap_set_add_range(set, number, number);
}

enum err imap_set_copy(const struct imap_set *set, struct imap_set *copy_out)
{
    copy_out->len = 0;
    enum err err = reserve(copy_out, set->len);
    if (err == ERR_OK && set->len > 0)
        memcpy(copy_out->ranges, set->ranges, set->len * sizeof *set->ranges);
    if (err == ERR_OK)
        copy_out->len = set->len;
    return err;
}

void imap_set_remove_below(struct imap_set *set, uint32_t number)
{
    size_t at = find(set, number);
    memmove(set->ranges, set->ranges + at, (set->len - at) * sizeof *set->ranges);
    set->len -= at;
    if (set->len > 0 && set->ranges[0].first < number)
        set->ranges[0].first = number;
}

bool imap_set_has(const struct imap_set *set, uint32_t number)
{
    size_t at = find(set, number);
    return number > 0 && at < set->len && set->ranges[at].first <= number;
}

bool imap_set_is_empty(const struct imap_set *set)
{
    return set->len == 0;
}

uint64_t imap_set_count(const struct imap_set *set)
{
    uint64_t count = 0;
    for (size_t i = 0; i < set->len; i++)
        count += (uint64_t)set->ranges[i].last - set->ranges[i].first + 1;
    return count;
}

bool imap_set_next(const struct imap_set *set, struct imap_set_step *step, uint32_t *number_out)
{
    if (step->range >= set->len)
        return false;
    struct imap_range range = set->ranges[step->range];
    *number_out = range.first + step->done;
    step->done++;
    if (*number_out == range.last)
        *step = (struct imap_set_step){.range = step->range + 1};
    return true;
}

/* ---- as text ---- */

/* seq-number = nz-number / "*" */
static enum err parse_number(struct span text, uint32_t star, uint32_t *number_out, bool *has_star)
{
    uint64_t number;
    if (span_is_equal(text, SPAN_LIT("*"))) {
        *has_star = true;
        *number_out = star;
        return ERR_OK;
    }
    if (!span_to_u64(text, UINT32_MAX, &number) || number == 0)
        return ERR_MALFORMED;
    *number_out = (uint32_t)number;
    return ERR_OK;
}

/* seq-range = seq-number ":" seq-number, in either order (RFC 3501 §9). */
static enum err parse_range(struct span text, uint32_t star, struct imap_range *range_out, bool *has_star)
{
    size_t colon = span_find_byte(text, 0, ':');
    uint32_t a = 0, b = 0;
    enum err err = parse_number(span_slice(text, 0, colon), star, &a, has_star);
    if (err == ERR_OK && colon < text.len)
        err = parse_number(span_skip(text, colon + 1), star, &b, has_star);
    else
        b = a;
    *range_out = a < b ? (struct imap_range){a, b} : (struct imap_range){b, a};
    return err;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = ((const struct imap_range *)a)->first, y = ((const struct imap_range *)b)->first;
    return x < y ? -1 : x > y;
}

/* Puts ranges that stand in any order into the form that a set has. */
static void arrange(struct imap_set *set)
{
    bool is_arranged = true;
    for (size_t i = 1; i < set->len && is_arranged; i++)
        is_arranged =
            set->ranges[i - 1].last < set->ranges[i].first && !is_joined(set->ranges[i - 1].last, set->ranges[i].first);
    if (is_arranged)
        return;
    qsort(set->ranges, set->len, sizeof *set->ranges, compare);
    size_t len = 1;
    for (size_t i = 1; i < set->len; i++) {
        struct imap_range *before = &set->ranges[len - 1];
        if (!is_joined(before->last, set->ranges[i].first))
            set->ranges[len++] = set->ranges[i];
        else if (before->last < set->ranges[i].last)
            before->last = set->ranges[i].last;
    }
    set->len = len;
}

enum err imap_set_parse(struct span text, uint32_t star, struct imap_set *set_out, bool *has_star_out)
{
    struct span rest = text, piece;
    bool has_star = false;
    enum err err = text.len > 0 ? ERR_OK : ERR_MALFORMED;
    set_out->len = 0;
    while (err == ERR_OK && span_take_until(&rest, ',', &piece)) {
        struct imap_range range;
        err = parse_range(piece, star, &range, &has_star);
        /* In an empty mailbox "*" is 0, and a range with it holds no message. */
        if (err == ERR_OK && range.first > 0)
            err = reserve(set_out, set_out->len + 1);
        if (err == ERR_OK && range.first > 0)
            set_out->ranges[set_out->len++] = range;
    }
    if (err != ERR_OK)
        set_out->len = 0;
    else
        arrange(set_out);
    if (has_star_out)
        *has_star_out = has_star;
    return err;
}

enum err imap_set_format(const struct imap_set *set, struct buf *out)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < set->len && err == ERR_OK; i++) {
        const char *comma = i > 0 ? "," : "";
        struct imap_range range = set->ranges[i];
        if (range.first == range.last)
            err = buf_addf(out, "%s%" PRIu32, comma, range.first);
        else
            err = buf_addf(out, "%s%" PRIu32 ":%" PRIu32, comma, range.first, range.last);
    }
    return err;
}
