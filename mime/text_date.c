#include "mime/text.h"

/* [weekday ","] day month year hour ":" minute [":" second] [zone], with comments (RFC 5322 §3.3 and §4.3), as lenient
   as servers are. What is no date as a whole names none, neither a day nor a time. */

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* False for a comment that does not end. */
static bool skip_blanks(struct span *rest)
{
    size_t depth = 0;

    while (rest->len > 0) {
        char byte = *rest->ptr;

        if (byte == '(')
            depth++;
        else if (depth == 0 && byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n')
            return true;
        else if (byte == ')')
            depth--;
        else if (byte == '\\')
            *rest = span_skip(*rest, 1);
        *rest = span_skip(*rest, 1);
    }
    return depth == 0;
}

static bool is_word_byte(char byte)
{
    static const char others[] = "!#$%&'*+-/=?^_`{|}~";
    char lower = span_lower(byte);

    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || (unsigned char)byte >= 0x80 ||
           span_find_byte((struct span){others, sizeof others - 1}, 0, byte) < sizeof others - 1;
}

/* The next word, and the blanks after it. */
static bool take_word(struct span *rest, struct span *word_out)
{
    size_t len = 0;

    while (len < rest->len && is_word_byte(rest->ptr[len]))
        len++;
    *word_out = span_slice(*rest, 0, len);
    *rest = span_skip(*rest, len);
    return skip_blanks(rest) && len > 0;
}

static bool take_number(struct span *rest, size_t digits_min, size_t digits_max, unsigned *number_out)
{
    struct span word;
    uint64_t number;

    if (!take_word(rest, &word) || word.len < digits_min || word.len > digits_max || !span_to_u64(word, 9999, &number))
        return false;
    *number_out = (unsigned)number;
    return true;
}

static bool take_month(struct span *rest, unsigned *month_out)
{
    struct span word;

    if (!take_word(rest, &word) || word.len < 3)
        return false;
    for (unsigned i = 0; i < 12; i++) {
        if (span_is_case_equal(span_slice(word, 0, 3), span_of(months[i]))) {
            *month_out = i + 1;
            return true;
        }
    }
    return false;
}

static bool take_year(struct span *rest, unsigned *year_out)
{
    struct span before = *rest;
    size_t len;

    if (!take_number(rest, 2, 4, year_out))
        return false;
    len = 0;
    while (len < before.len && is_word_byte(before.ptr[len]))
        len++;
    if (len == 2)
        *year_out += *year_out < 70 ? 2000 : 1900;
    return len != 3 && *year_out >= 1900;
}

/* RFC 5322 has ":" alone; some write ".". */
static bool take_separator(struct span *rest)
{
    if (rest->len == 0 || (*rest->ptr != ':' && *rest->ptr != '.'))
        return false;
    *rest = span_skip(*rest, 1);
    return skip_blanks(rest);
}

/* zone = (("+" / "-") 4DIGIT) / obs-zone; what is not known counts as +0000 (§4.3). */
static int64_t zone_seconds(struct span zone)
{
    static const struct {
        const char name[4];
        int hours;
    } zones[] = {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6},
                 {"MDT", -6}, {"MST", -7}, {"PDT", -7}, {"PST", -8}};
    uint64_t number;

    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++)
        if (span_is_case_equal(zone, span_of(zones[i].name)))
            return zones[i].hours * 3600;
    if (zone.len != 5 || (*zone.ptr != '+' && *zone.ptr != '-') || !span_to_u64(span_skip(zone, 1), 9999, &number))
        return 0;
    int64_t seconds = (int64_t)(number / 100 * 3600 + number % 100 * 60);
    return *zone.ptr == '-' ? -seconds : seconds;
}

/* Seconds of the day, as they are in UTC: fewer than none or more than there are where that is another day. */
static bool take_time(struct span *rest, int64_t *seconds_out)
{
    unsigned hour, minute, second = 0;
    struct span zone = SPAN_NONE;

    if (!take_number(rest, 1, 2, &hour) || !take_separator(rest) || !take_number(rest, 2, 2, &minute))
        return false;
    if (take_separator(rest) && !take_number(rest, 2, 2, &second))
        return false;
    if (rest->len > 0 && !take_word(rest, &zone))
        return false;
    *seconds_out = (int64_t)hour * 3600 + minute * 60 + second - zone_seconds(zone);
    return hour < 24 && minute < 60 && second <= 60;
}

static unsigned days_in_month(unsigned month, unsigned year)
{
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* Days from 1970-01-01 in the Gregorian calendar; years begin in March here, so that the leap day is the last. */
static int64_t days_since_1970(unsigned day, unsigned month, unsigned year)
{
    int64_t march_year = (int64_t)year - (month < 3);
    int64_t march_month = (month + 9) % 12;

    return 365 * march_year + march_year / 4 - march_year / 100 + march_year / 400 + (153 * march_month + 2) / 5 + day -
           1 - 719468;
}

/* The day as the sender had it, and the seconds of it. */
static bool read_date(struct span date_value, int64_t *day_out, int64_t *seconds_out)
{
    struct span rest = date_value, word, before;
    unsigned day, month, year;

    if (!skip_blanks(&rest))
        return false;
    before = rest;
    if (take_word(&rest, &word) && word.len == 3) {
        if (rest.len == 0 || *rest.ptr != ',')
            return false;
        rest = span_skip(rest, 1);
        if (!skip_blanks(&rest))
            return false;
    } else {
        rest = before;
    }
    if (!take_number(&rest, 1, 2, &day) || !take_month(&rest, &month) || !take_year(&rest, &year) ||
        !take_time(&rest, seconds_out))
        return false;
    if (day < 1 || day > days_in_month(month, year))
        return false;
    *day_out = days_since_1970(day, month, year);
    return true;
}

bool mime_text_day(struct span date_value, int64_t *day_out)
{
    int64_t seconds;

    return read_date(date_value, day_out, &seconds);
}

bool mime_text_time(struct span date_value, int64_t *time_out)
{
    int64_t day, seconds;

    if (!read_date(date_value, &day, &seconds))
        return false;
    *time_out = day * 86400 + seconds;
    return true;
}
