/* SEARCH (RFC 3501 §6.4.4). Each message is held against the criteria as they stand in the command; text is compared
   byte by byte, without regard to the case of ASCII letters, and is not decoded. */
#include "tests/servers/imapd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DEPTH_MAX 100

struct search {
    struct session *session;
    const struct message *message;
    size_t index;
    struct text content; /* read when first needed */
    struct part *part;
    bool has_modseq;
    uint64_t modseq_highest; /* of what was found */
    unsigned depth;
};

static const struct part *part_of(struct search *search)
{
    if (search->part == NULL) {
        if (!mailbox_read(search->session->mailbox, search->message->uid, &search->content))
            server_fail("cannot read a message");
        search->part = part_parse((struct slice){search->content.bytes, search->content.len});
    }
    return search->part;
}

static bool contains(struct slice bytes, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i + len <= bytes.len; i++)
        if (strncasecmp(bytes.at + i, word, len) == 0)
            return true;
    return false;
}

static bool has_field(struct search *search, const char *name, const char *word)
{
    struct slice rest = part_of(search)->header, found, whole;
    while (field_next(&rest, &found, &whole)) {
        struct text value = {0};
        if (!slice_is(found, name) || !field_get(whole, name, &value))
            continue;
        bool is_it = contains((struct slice){value.bytes, value.len}, word);
        text_free(&value);
        if (is_it)
            return true;
    }
    return false;
}

/* ---- keys, by what follows them ---- */

static bool has_flag(const struct search *search, const char *flag)
{
    return flags_have(search->message->flags, flag);
}

/* Keys without an argument; false if it is none of them. */
static bool match_flag(const struct search *search, struct slice key, bool *result_out)
{
    static const char *const flags[] = {"Answered", "Deleted", "Draft", "Flagged", "Seen"};
    bool is_recent = search->session->seen[search->index].is_recent;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        char name[16], negated[16];
        snprintf(name, sizeof(name), "\\%s", flags[i]);
        snprintf(negated, sizeof(negated), "UN%s", flags[i]);
        if (slice_is(key, flags[i]) || slice_is(key, negated)) {
            *result_out = has_flag(search, name) == slice_is(key, flags[i]);
            return true;
        }
    }
    if (slice_is(key, "ALL"))
        *result_out = true;
    else if (slice_is(key, "RECENT"))
        *result_out = is_recent;
    else if (slice_is(key, "OLD"))
        *result_out = !is_recent;
    else if (slice_is(key, "NEW"))
        *result_out = is_recent && !has_flag(search, "\\Seen");
    else
        return false;
    return true;
}

static bool match_text(struct search *search, struct slice key, const char *word, bool *result_out)
{
    static const char *const fields[] = {"From", "To", "Cc", "Bcc", "Subject"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (slice_is(key, fields[i])) {
            *result_out = has_field(search, fields[i], word);
            return true;
        }
    }
    if (slice_is(key, "BODY"))
        *result_out = contains(part_of(search)->body, word);
    else if (slice_is(key, "TEXT"))
        *result_out =
            part_of(search) != NULL && contains((struct slice){search->content.bytes, search->content.len}, word);
    else if (slice_is(key, "KEYWORD"))
        *result_out = has_flag(search, word);
    else if (slice_is(key, "UNKEYWORD"))
        *result_out = !has_flag(search, word);
    else
        return false;
    return true;
}

/* The day of the Date field, or a day before all. */
static int64_t sent_day(struct search *search)
{
    struct text value = {0};
    int64_t day = INT64_MIN;
    if (field_get(part_of(search)->header, "Date", &value)) {
        const char *at = strchr(value.bytes, ',');
        at = at != NULL ? at + 1 : value.bytes;
        int number = 0, year = 0;
        char month[4] = "", date[32];
        if (sscanf(at, " %d %3s %d", &number, month, &year) == 3) {
            snprintf(date, sizeof(date), "%d-%s-%d", number, month, year);
            struct cursor cursor = {date, date + strlen(date)};
            take_date(&cursor, &day);
        }
    }
    text_free(&value);
    return day;
}

static bool match_date(struct search *search, struct slice key, int64_t day, bool *result_out)
{
    bool is_sent = key.len > 4 && strncasecmp(key.at, "SENT", 4) == 0;
    struct slice rest = is_sent ? (struct slice){key.at + 4, key.len - 4} : key;
    bool is_before = slice_is(rest, "BEFORE"), is_on = slice_is(rest, "ON");
    if (!is_before && !is_on && !slice_is(rest, "SINCE"))
        return false;
    int64_t own = is_sent ? sent_day(search) : search->message->date / 86400;
    *result_out = own != INT64_MIN && (is_before ? own < day : is_on ? own == day : own >= day);
    return true;
}

static bool match_number(struct search *search, struct slice key, uint64_t number, bool *result_out)
{
    if (slice_is(key, "MODSEQ")) {
        search->has_modseq = true;
        *result_out = search->message->modseq >= number;
        return true;
    }
    if (!slice_is(key, "LARGER") && !slice_is(key, "SMALLER"))
        return false;
    part_of(search);
    *result_out = slice_is(key, "LARGER") ? search->content.len > number : search->content.len < number;
    return true;
}

static bool match_key(struct search *search, struct cursor *cursor, bool *result_out);

/* HEADER name text; OR a b; NOT a; UID set. False for anything else, with the syntax error noted as that. */
static bool match_structure(struct search *search, struct cursor *cursor, struct slice key, bool *result_out)
{
    bool second = false;
    struct slice set;
    if (slice_is(key, "NOT")) {
        bool is_good = take_space(cursor) && match_key(search, cursor, result_out);
        *result_out = !*result_out;
        return is_good;
    }
    if (slice_is(key, "OR")) {
        bool is_good = take_space(cursor) && match_key(search, cursor, result_out) && take_space(cursor) &&
                       match_key(search, cursor, &second);
        *result_out = *result_out || second;
        return is_good;
    }
    if (slice_is(key, "UID")) {
        const struct session *session = search->session;
        uint32_t highest = session->seen_len > 0 ? session->seen[session->seen_len - 1].uid : 0;
        bool is_good = take_space(cursor) && take_set(cursor, &set);
        *result_out = is_good && set_has(set, search->message->uid, highest);
        return is_good;
    }
    char *name = NULL, *word = NULL;
    bool is_good = slice_is(key, "HEADER") && take_space(cursor) && take_astring(cursor, &name) && take_space(cursor) &&
                   take_astring(cursor, &word);
    *result_out = is_good && has_field(search, name, word);
    free(name);
    free(word);
    return is_good;
}

static bool match_argument(struct search *search, struct cursor *cursor, struct slice key, bool *result_out)
{
    struct cursor ahead = *cursor;
    uint64_t number;
    int64_t day;
    char *word;
    if (!take_space(&ahead))
        return false;
    struct cursor argument = ahead;
    if (take_number(&ahead, &number) && match_number(search, key, number, result_out)) {
        *cursor = ahead;
        return true;
    }
    ahead = argument;
    if (take_date(&ahead, &day) && match_date(search, key, day, result_out)) {
        *cursor = ahead;
        return true;
    }
    if (!take_astring(&argument, &word))
        return false;
    bool is_good = match_text(search, key, word, result_out);
    free(word);
    if (is_good)
        *cursor = argument;
    return is_good;
}

static bool match_all(struct search *search, struct cursor *cursor, bool *result_out)
{
    *result_out = true;
    do {
        bool one = false;
        if (!match_key(search, cursor, &one))
            return false;
        *result_out = *result_out && one;
    } while (take_space(cursor));
    return true;
}

/* One search-key; false if it is none. */
static bool match_key(struct search *search, struct cursor *cursor, bool *result_out)
{
    struct slice key;
    bool is_good = false;
    *result_out = false;
    if (++search->depth > DEPTH_MAX)
        return false;
    if (take_char(cursor, '('))
        is_good = match_all(search, cursor, result_out) && take_char(cursor, ')');
    else if (take_set(cursor, &key)) {
        *result_out = set_has(key, search->index + 1, search->session->seen_len);
        is_good = true;
    } else if (take_atom(cursor, &key))
        is_good = match_flag(search, key, result_out) || match_argument(search, cursor, key, result_out) ||
                  match_structure(search, cursor, key, result_out);
    search->depth--;
    return is_good;
}

/* ---- the command ---- */

/* Whether message `index` is found; false in `*is_good` if the criteria are none. */
static bool is_found(struct search *search, struct cursor criteria, const struct message *message, size_t index,
                     bool *is_good)
{
    bool result = false;
    search->message = message;
    search->index = index;
    *is_good = match_all(search, &criteria, &result) && take_end(&criteria);
    if (search->part != NULL)
        part_free(search->part);
    search->part = NULL;
    search->content.len = 0;
    return *is_good && result;
}

static bool take_charset(const struct session *session, struct cursor *arguments, const char **refusal_out)
{
    char *charset;
    if (!take_word(arguments, "CHARSET"))
        return true;
    /* RFC 6855 §3 */
    if (session->has_utf8 || !take_space(arguments) || !take_astring(arguments, &charset))
        return false;
    if (strcasecmp(charset, "US-ASCII") != 0 && strcasecmp(charset, "UTF-8") != 0)
        *refusal_out = "NO [BADCHARSET (US-ASCII UTF-8)] Not that one";
    free(charset);
    return take_space(arguments);
}

const char *do_search(struct session *session, struct cursor *arguments)
{
    struct search search = {.session = session};
    struct text found = {0};
    const char *refusal = NULL;
    bool is_good = take_space(arguments) && take_charset(session, arguments, &refusal);
    text_puts(&found, "* SEARCH");
    for (size_t i = 0; i < session->seen_len && is_good && refusal == NULL; i++) {
        const struct message *message = mailbox_message(session->mailbox, session->seen[i].uid);
        if (message == NULL || !is_found(&search, *arguments, message, i, &is_good))
            continue;
        text_addf(&found, " %zu", session->is_uid ? (size_t)message->uid : i + 1);
        if (message->modseq > search.modseq_highest)
            search.modseq_highest = message->modseq;
    }
    if (search.has_modseq && search.modseq_highest > 0)
        text_addf(&found, " (MODSEQ %" PRIu64 ")", search.modseq_highest);
    session->has_condstore = session->has_condstore || search.has_modseq;
    if (is_good && refusal == NULL) {
        text_add(&session->out, found.bytes, found.len);
        text_puts(&session->out, "\r\n");
    }
    text_free(&found);
    text_free(&search.content);
    return !is_good ? "BAD SEARCH criteria" : refusal != NULL ? refusal : "OK Searched";
}
