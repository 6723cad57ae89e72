#include "keyring/paper.h"

#include "mime/utf8.h"

#include <stdio.h>
#include <string.h>

#define TITLE "privyseal paper key"
#define LINE_BYTES 25 /* 40 letters */
#define LETTERS_MAX (LINE_BYTES * 8 / 5)
#define CHECK_SIZE 6 /* 24 bits in five letters, and NUL */
#define LINES_MAX (KEYRING_PAPER_BYTES_MAX / LINE_BYTES + 1)
#define SECRET "secret"
static const struct span KEY = SPAN_LIT("Key:"), USER_ID = SPAN_LIT("User ID:"), PART = SPAN_LIT("Part:"),
                         ALL = SPAN_LIT("all:");
static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

uint32_t keyring_crc24(uint32_t crc, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        crc ^= (uint32_t)(unsigned char)bytes.ptr[i] << 16;
        for (int bit = 0; bit < 8; bit++) {
            crc <<= 1;
            if ((crc & 0x1000000u) != 0)
                crc ^= 0x1864cfbu;
        }
    }
    return crc & 0xffffffu;
}

/* Of a line: a line that stands in another's place is wrong, too. */
static uint32_t check_of(unsigned number, struct span bytes)
{
    const char head[2] = {(char)(number >> 8), (char)number};
    return keyring_crc24(keyring_crc24(KEYRING_CRC24_BEGIN, (struct span){head, sizeof head}), bytes);
}

static void print_check(uint32_t check, char out[CHECK_SIZE])
{
    for (int i = 0; i < CHECK_SIZE - 1; i++)
        out[i] = letters[check >> (20 - 5 * i) & 31];
    out[CHECK_SIZE - 1] = '\0';
}

/* ---- writing ---- */

/* Letters in groups of four; the last may stand for bits that there are none of. */
static enum err add_letters(struct span bytes, struct buf *out)
{
    uint32_t bits = 0;
    unsigned bits_len = 0;
    size_t count = 0;
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < bytes.len; i++) {
        bits = bits << 8 | (unsigned char)bytes.ptr[i];
        bits_len += 8;
        const bool is_last = i + 1 == bytes.len;
        while (err == ERR_OK && (bits_len >= 5 || (is_last && bits_len > 0))) {
            const uint32_t index = bits_len >= 5 ? bits >> (bits_len - 5) : bits << (5 - bits_len);
            bits_len -= bits_len >= 5 ? 5 : bits_len;
            if (count > 0 && count % 4 == 0)
                err = buf_add_byte(out, ' ');
            if (err == ERR_OK)
                err = buf_add_byte(out, letters[index & 31]);
            count++;
        }
    }
    return err;
}

static enum err add_line(unsigned number, struct span bytes, struct buf *out)
{
    char check[CHECK_SIZE];
    print_check(check_of(number, bytes), check);
    enum err err = buf_addf(out, "%3u: ", number);
    if (err == ERR_OK)
        err = add_letters(bytes, out);
    return err == ERR_OK ? buf_addf(out, " = %s\n", check) : err;
}

static enum err add_head(const struct keyring_paper *paper, struct buf *out)
{
    enum err err = buf_add_string(out, TITLE "\n");
    if (err == ERR_OK)
        err = buf_add_span(out, KEY);
    for (size_t i = 0; err == ERR_OK && i < strlen(paper->fingerprint); i += 4)
        err = buf_addf(out, " %.4s", paper->fingerprint + i);
    if (err == ERR_OK)
        err = buf_addf(out, "\nUser ID: %s\nPart: %s\n\n", paper->user_id, paper->is_secret ? SECRET : "public");
    if (err == ERR_OK && paper->is_secret)
        err = buf_add_string(out, "Whoever has this paper and the passphrase of the key reads your mail, and signs as\n"
                                  "you: keep it where only you can find it.\n");
    return err == ERR_OK ? buf_add_string(out, "Type the lines below into a file, the first line of this paper above "
                                               "them, and do\n`privyseal key import FILE`. Blanks and case mean "
                                               "nothing; the letters behind = tell\nwhether a line is right.\n\n")
                         : err;
}

enum err keyring_paper_write(const struct keyring_paper *paper, struct span key, struct buf *out)
{
    char check[CHECK_SIZE];
    unsigned number = 0;
    if (key.len == 0 || key.len > KEYRING_PAPER_BYTES_MAX)
        return ERR_LIMIT;
    enum err err = add_head(paper, out);
    for (size_t at = 0; err == ERR_OK && at < key.len; at += LINE_BYTES)
        err = add_line(++number, span_slice(key, at, at + LINE_BYTES < key.len ? at + LINE_BYTES : key.len), out);
    print_check(keyring_crc24(KEYRING_CRC24_BEGIN, key), check);
    return err == ERR_OK ? buf_addf(out, "all: %zu bytes = %s\n", key.len, check) : err;
}

/* ---- reading ---- */

struct reading {
    struct keyring_paper *paper;
    struct buf *key;
    char *problem;
    unsigned number; /* of the last line that was read */
    bool is_over;    /* the line for all has been read */
};

static enum err complain(const struct reading *reading, const char *what)
{
    (void)snprintf(reading->problem, KEYRING_PAPER_PROBLEM_SIZE, "%s", what);
    return ERR_MALFORMED;
}

static enum err complain_of(const struct reading *reading, unsigned number, const char *what)
{
    (void)snprintf(reading->problem, KEYRING_PAPER_PROBLEM_SIZE, "line %u %s", number, what);
    return ERR_MALFORMED;
}

static struct span take_line(struct span *rest)
{
    struct span line;
    if (!span_take_until(rest, '\n', &line))
        line = SPAN_NONE;
    return span_trim(line);
}

bool keyring_paper_is(struct span text)
{
    while (text.len > 0) {
        const struct span line = take_line(&text);
        if (line.len > 0)
            return span_is_case_equal(line, SPAN_LIT(TITLE));
    }
    return false;
}

/* The value of a letter, and of what looks like one; -1: a blank; -2: anything else. */
static int value_of(char letter)
{
    static const struct {
        char seen, meant;
    } alike[] = {{'0', 'o'}, {'1', 'i'}, {'8', 'b'}};
    char lower = span_lower(letter);
    for (size_t i = 0; i < sizeof alike / sizeof *alike; i++)
        if (lower == alike[i].seen)
            lower = alike[i].meant;
    if (lower >= 'a' && lower <= 'z')
        return lower - 'a';
    if (lower >= '2' && lower <= '7')
        return lower - '2' + 26;
    return letter == ' ' || letter == '\t' || letter == '-' ? -1 : -2;
}

/* Whole bytes; bits that fill up the last letter must be none. */
static bool take_letters(struct span text, char bytes_out[LINE_BYTES], size_t *len_out)
{
    uint32_t bits = 0;
    unsigned bits_len = 0;
    size_t count = 0;
    *len_out = 0;
    for (size_t i = 0; i < text.len; i++) {
        const int value = value_of(text.ptr[i]);
        if (value == -1)
            continue;
        if (value < 0 || ++count > LETTERS_MAX)
            return false;
        bits = bits << 5 | (uint32_t)value;
        bits_len += 5;
        if (bits_len >= 8) {
            bits_len -= 8;
            bytes_out[(*len_out)++] = (char)(bits >> bits_len);
            bits &= (1u << bits_len) - 1;
        }
    }
    return bits_len < 5 && bits == 0;
}

static bool take_check(struct span text, uint32_t *check_out)
{
    uint32_t check = 0;
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        const int value = value_of(text.ptr[i]);
        if (value == -1)
            continue;
        if (value < 0 || ++count >= CHECK_SIZE)
            return false;
        check = check << 5 | (uint32_t)value;
    }
    *check_out = check;
    return count == CHECK_SIZE - 1 && check <= 0xffffffu;
}

/* "LETTERS = CHECK", behind the number. */
static enum err take_data(struct reading *reading, unsigned number, struct span text)
{
    char bytes[LINE_BYTES];
    size_t len;
    uint32_t check;
    const size_t sign = span_find_byte(text, 0, '=');
    if (reading->is_over || number != reading->number + 1)
        return complain_of(reading, reading->is_over ? number : reading->number + 1,
                           reading->is_over ? "stands behind the last one" : "is missing, or not in its place");
    if (sign == text.len)
        return complain_of(reading, number, "has no = and check");
    enum err err = ERR_OK;
    if (!take_letters(span_slice(text, 0, sign), bytes, &len) || !take_check(span_skip(text, sign + 1), &check) ||
        check != check_of(number, (struct span){bytes, len}))
        err = complain_of(reading, number, "is not what was printed; compare its letters with the paper");
    else
        err = buf_add(reading->key, bytes, len);
    explicit_bzero(bytes, sizeof bytes);
    reading->number = number;
    return err;
}

/* "612 bytes = CHECK". */
static enum err take_all(struct reading *reading, struct span text)
{
    uint64_t len;
    uint32_t check;
    struct span number = span_trim(text), rest = text;
    const size_t sign = span_find_byte(text, 0, '=');
    if (!span_take_until(&rest, '=', &number) || sign == text.len)
        return complain(reading, "the last line, \"all:\", has no = and check");
    const size_t blank = span_find_byte(span_trim(number), 0, ' ');
    if (!span_to_u64(span_slice(span_trim(number), 0, blank), KEYRING_PAPER_BYTES_MAX, &len) ||
        !take_check(rest, &check))
        return complain(reading, "the last line, \"all:\", is not what was printed");
    if (len != reading->key->len)
        return complain(reading, "lines are missing before the last one, \"all:\", or it is not what was printed");
    if (check != keyring_crc24(KEYRING_CRC24_BEGIN, buf_span(reading->key)))
        return complain(reading, "each line is right, and the check of all of them is not: they are of two papers, or "
                                 "the last line is wrong");
    reading->is_over = true;
    return ERR_OK;
}

static bool take_field(struct span line, struct span name, struct span *value_out)
{
    if (!span_has_case_prefix(line, name))
        return false;
    *value_out = span_trim(span_skip(line, name.len));
    return true;
}

/* For people alone, so what does not fit is left out. */
static void note_fingerprint(struct span value, struct keyring_paper *paper)
{
    size_t len = 0;
    for (size_t i = 0; i < value.len && len + 1 < sizeof paper->fingerprint; i++)
        if (value.ptr[i] != ' ')
            paper->fingerprint[len++] = value.ptr[i];
    paper->fingerprint[len] = '\0';
}

/* Lines that begin with a number and a colon are data; what is neither that nor a field is there for people. */
static enum err take(struct reading *reading, struct span line)
{
    struct span value, number;
    struct span rest = line;
    uint64_t which;
    if (take_field(line, ALL, &value))
        return take_all(reading, value);
    if (take_field(line, KEY, &value))
        note_fingerprint(value, reading->paper);
    else if (take_field(line, USER_ID, &value))
        mime_utf8_copy_shown(value, reading->paper->user_id, sizeof reading->paper->user_id);
    else if (take_field(line, PART, &value))
        reading->paper->is_secret = span_is_case_equal(value, SPAN_LIT(SECRET));
    else if (span_find_byte(line, 0, ':') < line.len && span_take_until(&rest, ':', &number) &&
             span_to_u64(span_trim(number), LINES_MAX, &which))
        return take_data(reading, (unsigned)which, rest);
    return ERR_OK;
}

enum err keyring_paper_read(struct span text, struct keyring_paper *paper, struct buf *key,
                            char problem[KEYRING_PAPER_PROBLEM_SIZE])
{
    struct reading reading = {.paper = paper, .key = key, .problem = problem};
    enum err err = ERR_OK;
    *paper = (struct keyring_paper){.is_secret = false};
    problem[0] = '\0';
    if (text.len > KEYRING_PAPER_TEXT_MAX || !keyring_paper_is(text))
        return complain(&reading, "it is no paper key");
    while (err == ERR_OK && text.len > 0)
        err = take(&reading, take_line(&text));
    if (err == ERR_LIMIT)
        return complain(&reading, "it has more lines than a key can have");
    if (err == ERR_OK && !reading.is_over)
        err = complain(&reading, "the last line, \"all:\", is missing");
    return err;
}
