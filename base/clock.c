#include "base/clock.h"

#include "base/span.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The first and the last second of the years that RFC 3339 can write. */
#define SECONDS_LEAST (-62167219200)
#define SECONDS_MOST 253402300799

#define WAIT_MAX_S 2

static bool is_fixed;
static int64_t fixed_seconds;

int64_t clock_real(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with this clock */
    return now.tv_sec;
}

int64_t clock_now(void)
{
    return is_fixed ? fixed_seconds : clock_real();
}

void clock_fix(int64_t seconds)
{
    fixed_seconds = seconds;
    is_fixed = true;
}

bool clock_is_fixed(void)
{
    return is_fixed;
}

bool clock_wait_after(int64_t seconds)
{
    const struct timespec moment = {.tv_nsec = 20000000};
    if (seconds > clock_real() + WAIT_MAX_S)
        return false;
    while (clock_real() <= seconds)
        (void)nanosleep(&moment, NULL);
    return true;
}

uint64_t clock_monotonic_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void clock_format(int64_t seconds, char text_out[CLOCK_TEXT_SIZE])
{
    struct tm time = {0};
    time_t clamped = seconds < SECONDS_LEAST ? SECONDS_LEAST : seconds > SECONDS_MOST ? SECONDS_MOST : seconds;
    (void)gmtime_r(&clamped, &time);
    (void)strftime(text_out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &time);
    /* C leaves open whether %Y pads the years before 1000; RFC 3339 wants four digits. */
    if (time.tm_year < 1000 - 1900) {
        char padded[CLOCK_TEXT_SIZE];
        snprintf(padded, sizeof padded, "%04u%s", (unsigned)(time.tm_year + 1900) % 10000, strchr(text_out, '-'));
        memcpy(text_out, padded, sizeof padded);
    }
}

static bool take_number(struct span *rest, size_t digits, int *number_out)
{
    uint64_t number;
    bool is_number = rest->len >= digits && span_to_u64(span_slice(*rest, 0, digits), 9999, &number);
    *number_out = is_number ? (int)number : 0;
    *rest = span_skip(*rest, digits);
    return is_number;
}

static bool take_byte(struct span *rest, char byte)
{
    bool is_there = rest->len > 0 && rest->ptr[0] == byte;
    *rest = span_skip(*rest, 1);
    return is_there;
}

/* RFC 3339 §5.6: full-date ["T" partial-time "Z"], without fractions and leap seconds. */
static bool parse_date(struct span text, int64_t *seconds_out)
{
    struct tm time = {0};
    if (!take_number(&text, 4, &time.tm_year) || !take_byte(&text, '-') || !take_number(&text, 2, &time.tm_mon) ||
        !take_byte(&text, '-') || !take_number(&text, 2, &time.tm_mday))
        return false;
    if (text.len > 0 && (!take_byte(&text, 'T') || !take_number(&text, 2, &time.tm_hour) || !take_byte(&text, ':') ||
                         !take_number(&text, 2, &time.tm_min) || !take_byte(&text, ':') ||
                         !take_number(&text, 2, &time.tm_sec) || !take_byte(&text, 'Z') || text.len > 0))
        return false;
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    /* timegm carries 31 February over into March; a date that changes was none. */
    struct tm carried = time;
    *seconds_out = timegm(&carried);
    return carried.tm_mon == time.tm_mon && carried.tm_mday == time.tm_mday && carried.tm_hour == time.tm_hour &&
           carried.tm_min == time.tm_min && carried.tm_sec == time.tm_sec;
}

enum err clock_parse(const char *text, int64_t *seconds_out)
{
    uint64_t number;
    *seconds_out = 0;
    if (text && text[0] == '@') {
        if (!span_to_u64(span_of(text + 1), SECONDS_MOST, &number))
            return ERR_USAGE;
        *seconds_out = (int64_t)number;
        return ERR_OK;
    }
    int64_t seconds;
    if (!parse_date(span_of(text), &seconds))
        return ERR_USAGE;
    *seconds_out = seconds;
    return ERR_OK;
}
