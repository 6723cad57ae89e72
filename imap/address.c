/*
 * Addresses as ENVELOPE shows them (RFC 3501 §7.4.2): "(name route mailbox domain)" each, with a mark before and after
 * the members of a group. What is broken is shown as broken, with Dovecot's words in the places of what is missing.
 */
#include "imap/content_internal.h"
#include "imap/token.h"

enum piece { NAME, ROUTE, MAILBOX, DOMAIN, PIECES };

/* The address being read. A piece is there or not; it may be there and empty. */
struct reading {
    struct imap_words words;
    struct buf comment, phrase;
    struct buf pieces[PIECES];
    bool is_there[PIECES];
    struct buf *out;
};

static void set(struct reading *reading, enum piece piece, struct span text)
{
    buf_clear(&reading->pieces[piece]);
    imap_words_put(&reading->words, &reading->pieces[piece], text);
    reading->is_there[piece] = true;
}

/* Ends the address: "addr-name SP addr-adl SP addr-mailbox SP addr-host". */
static void finish(struct reading *reading)
{
    enum err result = reading->words.err;

    for (int i = 0; i < PIECES && result == ERR_OK; i++) {
        struct span text = reading->is_there[i] ? buf_span(&reading->pieces[i]) : SPAN_NONE;

        result = buf_add_byte(reading->out, i == 0 ? '(' : ' ');
        if (result == ERR_OK && i == NAME && reading->is_there[i])
            result = imap_add_readable(reading->out, text);
        else if (result == ERR_OK)
            result = imap_add_nstring(reading->out, text);
        reading->is_there[i] = false;
    }
    if (result == ERR_OK)
        result = buf_add_byte(reading->out, ')');
    reading->words.err = result;
}

static void finish_mailbox(struct reading *reading)
{
    if (!reading->is_there[MAILBOX])
        set(reading, MAILBOX, SPAN_LIT("MISSING_MAILBOX"));
    if (!reading->is_there[DOMAIN] || reading->pieces[DOMAIN].len == 0)
        set(reading, DOMAIN, SPAN_LIT("MISSING_DOMAIN"));
    finish(reading);
}

/* local-part = dot-atom / quoted-string, and many dots in a row, which are in use. What there is of it stays in
 * `phrase`. */
static enum imap_word take_local_part(struct reading *reading)
{
    enum imap_word word;

    buf_clear(&reading->phrase);
    if (imap_words_peek(&reading->words) == '"')
        word = imap_words_quoted(&reading->words, &reading->phrase);
    else
        word = imap_words_local_part(&reading->words, &reading->phrase);
    if (word != IMAP_WORD_BROKEN)
        set(reading, MAILBOX, buf_span(&reading->phrase));
    return word;
}

static enum imap_word take_domain(struct reading *reading)
{
    enum imap_word word;

    buf_clear(&reading->phrase);
    word = imap_words_domain(&reading->words, &reading->phrase);
    if (word != IMAP_WORD_BROKEN)
        set(reading, DOMAIN, buf_span(&reading->phrase));
    return word;
}

/* obs-domain-list = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]), up to the ":" of obs-route. False if it is
   none. */
static bool take_route(struct reading *reading)
{
    struct imap_words *words = &reading->words;
    bool is_good = true;

    buf_clear(&reading->phrase);
    while (is_good && imap_words_peek(words) == '@') {
        imap_words_put(words, &reading->phrase, reading->phrase.len > 0 ? SPAN_LIT(",@") : SPAN_LIT("@"));
        is_good = imap_words_domain(words, &reading->phrase) == IMAP_WORD_MORE;
        while (is_good && imap_words_skip(words) == IMAP_WORD_MORE && imap_words_peek(words) == ',')
            words->at++;
    }
    return is_good && !imap_words_is_end(words) && imap_words_peek(words) == ':';
}

/* angle-addr = "<" [obs-route] local-part "@" domain ">" */
static enum imap_word take_angle(struct reading *reading)
{
    struct imap_words *words = &reading->words;

    words->at++;
    if (imap_words_skip(words) != IMAP_WORD_MORE)
        return IMAP_WORD_BROKEN;
    if (imap_words_peek(words) == '@') {
        if (take_route(reading)) {
            set(reading, ROUTE, buf_span(&reading->phrase));
            words->at++;
        } else {
            set(reading, ROUTE, SPAN_LIT("INVALID_ROUTE"));
        }
        if (imap_words_skip(words) != IMAP_WORD_MORE)
            return IMAP_WORD_BROKEN;
    }
    if (imap_words_peek(words) != '>') {
        if (take_local_part(reading) != IMAP_WORD_MORE)
            return IMAP_WORD_BROKEN;
        if (imap_words_peek(words) == '@' && take_domain(reading) != IMAP_WORD_MORE)
            return IMAP_WORD_BROKEN;
    }
    if (imap_words_peek(words) != '>')
        return IMAP_WORD_BROKEN;
    words->at++;
    return imap_words_skip(words);
}

/* name-addr = [display-name] angle-addr; the name stands in `phrase`. */
static enum imap_word take_name_addr(struct reading *reading)
{
    if (reading->phrase.len > 0)
        set(reading, NAME, buf_span(&reading->phrase));
    if (take_angle(reading) == IMAP_WORD_BROKEN)
        set(reading, DOMAIN, SPAN_LIT("SYNTAX_ERROR"));
    finish_mailbox(reading);
    return imap_words_is_end(&reading->words) ? IMAP_WORD_LAST : IMAP_WORD_MORE;
}

/* addr-spec = local-part "@" domain. A comment beside it is the name, as before RFC 822. Words without "@" are a name,
   unless there is only one, which may be a mailbox. */
static enum imap_word take_addr_spec(struct reading *reading)
{
    struct imap_words *words = &reading->words;
    bool is_quoted = imap_words_peek(words) == '"', has_domain = false;
    enum imap_word word;

    buf_clear(&reading->comment);
    word = take_local_part(reading);
    if (word != IMAP_WORD_LAST && imap_words_peek(words) == '@') {
        enum imap_word domain = take_domain(reading);

        has_domain = true;
        word = domain != IMAP_WORD_MORE ? domain : word;
    }
    if (reading->comment.len > 0) {
        set(reading, NAME, buf_span(&reading->comment));
    } else if (!has_domain) {
        size_t len;

        imap_words_put(words, &reading->phrase, SPAN_LIT(" "));
        len = reading->phrase.len;
        (void)imap_words_phrase(words, &reading->phrase);
        if (reading->phrase.len != len || (is_quoted && reading->is_there[MAILBOX])) {
            set(reading, NAME,
                reading->phrase.len != len ? buf_span(&reading->phrase) : buf_span(&reading->pieces[MAILBOX]));
            reading->is_there[MAILBOX] = false;
        }
        word = IMAP_WORD_BROKEN;
    }
    finish_mailbox(reading);
    return word;
}

static enum imap_word take_mailbox(struct reading *reading)
{
    size_t start = reading->words.at;

    buf_clear(&reading->phrase);
    if (imap_words_phrase(&reading->words, &reading->phrase) == IMAP_WORD_MORE &&
        imap_words_peek(&reading->words) == '<')
        return take_name_addr(reading);
    reading->words.at = start;
    return take_addr_spec(reading);
}

/* group = display-name ":" [group-list] ";" [CFWS]; the name stands in `phrase`, the reader at the ":". */
static enum imap_word take_group(struct reading *reading)
{
    struct imap_words *words = &reading->words;
    enum imap_word word;

    words->at++;
    word = imap_words_skip(words);
    set(reading, MAILBOX, buf_span(&reading->phrase));
    finish(reading);
    for (bool is_open = word == IMAP_WORD_MORE && imap_words_peek(words) != ';'; is_open;) {
        (void)take_mailbox(reading);
        is_open = imap_words_peek(words) == ',';
        if (is_open) {
            words->at++;
            word = imap_words_skip(words);
            is_open = word == IMAP_WORD_MORE;
            word = is_open ? word : IMAP_WORD_BROKEN;
        }
    }
    if (word != IMAP_WORD_BROKEN && imap_words_peek(words) == ';') {
        words->at++;
        word = imap_words_skip(words);
    } else {
        word = IMAP_WORD_BROKEN;
    }
    finish(reading);
    return word == IMAP_WORD_LAST ? IMAP_WORD_LAST : IMAP_WORD_MORE;
}

/* address = mailbox / group */
static enum imap_word take_address(struct reading *reading)
{
    size_t start = reading->words.at;

    buf_clear(&reading->phrase);
    if (imap_words_phrase(&reading->words, &reading->phrase) == IMAP_WORD_MORE &&
        imap_words_peek(&reading->words) == ':')
        return take_group(reading);
    reading->words.at = start;
    return take_mailbox(reading);
}

/* address-list = (address *("," address)) / obs-addr-list; what follows the first thing that is no "," is left out. */
static void take_list(struct reading *reading)
{
    struct imap_words *words = &reading->words;

    for (bool is_open = imap_words_skip(words) == IMAP_WORD_MORE; is_open && words->err == ERR_OK;) {
        is_open = take_address(reading) != IMAP_WORD_LAST && imap_words_peek(words) == ',';
        if (is_open) {
            enum imap_word word;

            words->at++;
            word = imap_words_skip(words);
            is_open = word == IMAP_WORD_MORE;
            if (word == IMAP_WORD_BROKEN)
                finish_mailbox(reading);
        }
    }
}

enum err imap_addresses_add(struct span value, struct buf *out)
{
    struct reading reading = {.out = out};
    size_t len_before = out->len;

    buf_init(&reading.comment, value.len + 1);
    buf_init(&reading.phrase, 2 * value.len + 2);
    for (int i = 0; i < PIECES; i++)
        buf_init(&reading.pieces[i], 2 * value.len + 32);
    imap_words_init(&reading.words, value, &reading.comment);
    take_list(&reading);
    for (int i = 0; i < PIECES; i++)
        buf_fini(&reading.pieces[i]);
    buf_fini(&reading.phrase);
    buf_fini(&reading.comment);
    if (reading.words.err != ERR_OK)
        buf_truncate(out, len_before);
    return reading.words.err;
}
