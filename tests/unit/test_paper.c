/* A key on paper: what was printed comes back, and what was typed wrongly is told by line. */
#include "tests/unit/failing_malloc.h"

#include "keyring/paper.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define FINGERPRINT "0123456789ABCDEF0123456789ABCDEF01234567"

static const struct keyring_paper alice = {
    .fingerprint = FINGERPRINT, .user_id = "Alice <alice@example.org>", .is_secret = true};
static struct keyring_paper paper;
static char problem[KEYRING_PAPER_PROBLEM_SIZE];
static struct buf text, key;

static void begin(size_t len)
{
    char bytes[1000];
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 7 + 3);
    buf_init(&text, KEYRING_PAPER_TEXT_MAX);
    buf_init_secret(&key, KEYRING_PAPER_BYTES_MAX);
    assert_int_equal(keyring_paper_write(&alice, (struct span){bytes, len}, &text), ERR_OK);
}

static void end(void)
{
    buf_fini(&text);
    buf_fini(&key);
}

static enum err read_text(const char *bytes, size_t len)
{
    buf_clear(&key);
    return keyring_paper_read((struct span){bytes, len}, &paper, &key, problem);
}

static void test_round(void **state)
{
    (void)state;
    for (size_t len = 1; len < 120; len++) {
        begin(len);
        assert_true(keyring_paper_is(buf_span(&text)));
        assert_int_equal(read_text(text.data, text.len), ERR_OK);
        assert_int_equal(key.len, len);
        for (size_t i = 0; i < len; i++)
            assert_int_equal((unsigned char)key.data[i], (unsigned char)(i * 7 + 3));
        assert_string_equal(paper.fingerprint, FINGERPRINT);
        assert_string_equal(paper.user_id, alice.user_id);
        assert_true(paper.is_secret);
        end();
    }
}

/* RFC 9580 §6.1 by its own definition, and RFC 4648 §10. */
static void test_known_answers(void **state)
{
    struct buf out;
    (void)state;
    assert_int_equal(keyring_crc24(KEYRING_CRC24_BEGIN, SPAN_LIT("123456789")), 0x21cf02);
    buf_init(&out, KEYRING_PAPER_TEXT_MAX);
    assert_int_equal(keyring_paper_write(&alice, SPAN_LIT("fooba"), &out), ERR_OK);
    assert_non_null(strstr(out.data, "  1: MZXW 6YTB = "));
    buf_fini(&out);
}

/* Case, blanks, line ends, letters that look alike, and words around it. */
static void test_tolerant(void **state)
{
    struct buf typed;
    (void)state;
    begin(200);
    buf_init(&typed, KEYRING_PAPER_TEXT_MAX * 2);
    assert_int_equal(buf_add_string(&typed, "\r\n \t\r\n"), ERR_OK);
    bool is_in_data = false;
    for (size_t i = 0; i < text.len; i++) {
        const char byte = text.data[i];
        is_in_data = byte == ':' || (is_in_data && byte != '\n');
        const bool is_first = i == 0 || text.data[i - 1] == '\n';
        if (is_first && byte == ' ')
            continue;
        char typed_byte = (char)tolower(byte);
        if (is_in_data && strncmp(text.data, "privyseal", 9) == 0 && i > 400)
            typed_byte = (char)(byte == 'O' ? '0' : byte == 'I' ? '1' : byte == 'B' ? '8' : typed_byte);
        if (byte == '\n')
            assert_int_equal(buf_add_string(&typed, " \r"), ERR_OK);
        assert_int_equal(buf_add_byte(&typed, typed_byte), ERR_OK);
        if (is_in_data && byte == ' ')
            assert_int_equal(buf_add_string(&typed, "  "), ERR_OK);
    }
    assert_int_equal(buf_add_string(&typed, "\r\nfound in the safe: good\r\n"), ERR_OK);
    assert_int_equal(read_text(typed.data, typed.len), ERR_OK);
    assert_int_equal(key.len, 200);
    buf_fini(&typed);
    end();
}

static size_t line_at(unsigned number)
{
    char head[8];
    snprintf(head, sizeof head, "\n%3u: ", number);
    const char *at = strstr(text.data, head);
    assert_non_null(at);
    return (size_t)(at - text.data) + 1;
}

/* Each letter of each line, put wrong: refused, and the line is named. */
static void test_each_letter(void **state)
{
    (void)state;
    begin(120);
    for (unsigned number = 1; number <= 5; number++) {
        char named[16];
        snprintf(named, sizeof named, "line %u ", number);
        for (size_t at = line_at(number) + 5; text.data[at] != '\n'; at++) {
            const char before = text.data[at];
            if (before == ' ')
                continue;
            const char others[] = {before == 'A' ? 'C' : 'A', before == '7' ? '6' : '7', '=', '9', '\xff'};
            for (size_t i = 0; i < sizeof others; i++) {
                if (others[i] == before)
                    continue;
                text.data[at] = others[i];
                assert_int_equal(read_text(text.data, text.len), ERR_MALFORMED);
                assert_int_equal(strncmp(problem, named, strlen(named)), 0);
            }
            text.data[at] = before;
        }
    }
    end();
}

/* Lines that are missing, exchanged, doubled; and the last one. */
static void test_lines(void **state)
{
    (void)state;
    begin(120);
    const size_t second = line_at(2), third = line_at(3), fourth = line_at(4);
    struct buf typed;
    buf_init(&typed, KEYRING_PAPER_TEXT_MAX);
    const struct span all = buf_span(&text);
    const struct span orders[][4] = {{span_slice(all, 0, second), span_slice(all, third, all.len)},
                                     {span_slice(all, 0, second), span_slice(all, third, fourth),
                                      span_slice(all, second, third), span_slice(all, fourth, all.len)},
                                     {span_slice(all, 0, third), span_slice(all, second, all.len)}};
    const char *const problems[] = {"line 2 ", "line 2 ", "line 3 "};
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&typed);
        for (size_t j = 0; j < 4; j++)
            assert_int_equal(buf_add_span(&typed, orders[i][j]), ERR_OK);
        assert_int_equal(read_text(typed.data, typed.len), ERR_MALFORMED);
        assert_int_equal(strncmp(problem, problems[i], strlen(problems[i])), 0);
    }
    /* The bytes of line 2 under the number of line 3, with line 3 gone. */
    buf_clear(&typed);
    assert_int_equal(buf_add_span(&typed, all), ERR_OK);
    memcpy(typed.data + third + 4, all.ptr + second + 4, third - second - 4);
    assert_int_equal(read_text(typed.data, typed.len), ERR_MALFORMED);
    assert_int_equal(strncmp(problem, "line 3 ", 7), 0);
    /* A line behind the last, though it is the next one and right by itself. */
    buf_clear(&typed);
    assert_int_equal(read_text(text.data, text.len), ERR_OK);
    const size_t end_line = (size_t)(strstr(text.data, "\nall: ") - text.data) + 1, fifth = line_at(5);
    assert_int_equal(buf_add_span(&typed, span_slice(all, 0, fifth)), ERR_OK);
    assert_int_equal(buf_add_string(&typed, "all: 100 bytes = "), ERR_OK);
    char check[6];
    const uint32_t sum = keyring_crc24(KEYRING_CRC24_BEGIN, span_slice(buf_span(&key), 0, 100));
    for (int i = 0; i < 5; i++)
        check[i] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[sum >> (20 - 5 * i) & 31];
    check[5] = '\n';
    assert_int_equal(buf_add(&typed, check, sizeof check), ERR_OK);
    assert_int_equal(read_text(typed.data, typed.len), ERR_OK);
    assert_int_equal(buf_add_span(&typed, span_slice(all, fifth, end_line)), ERR_OK);
    assert_int_equal(read_text(typed.data, typed.len), ERR_MALFORMED);
    assert_int_equal(strncmp(problem, "line 5 ", 7), 0);
    buf_fini(&typed);
    for (size_t at = (size_t)(strstr(text.data, "\nall: ") - text.data) + 6; text.data[at] != '\n'; at++) {
        const char before = text.data[at];
        if (strchr(" bytes", before))
            continue;
        text.data[at] = before == '9' || before == 'Z' ? 'Y' : (char)(before + 1);
        assert_int_equal(read_text(text.data, text.len), ERR_MALFORMED);
        assert_true(problem[0] != '\0');
        text.data[at] = before;
    }
    end();
}

/* Cut off anywhere it is none, but for what stands behind the last check. */
static void test_cut(void **state)
{
    (void)state;
    begin(80);
    for (size_t len = 0; len + 1 < text.len; len++)
        assert_int_equal(read_text(text.data, len), ERR_MALFORMED);
    assert_int_equal(read_text(text.data, text.len - 1), ERR_OK);
    end();
}

static void test_limits(void **state)
{
    static char large[KEYRING_PAPER_BYTES_MAX + 1];
    struct buf out;
    (void)state;
    buf_init(&out, KEYRING_PAPER_TEXT_MAX);
    assert_int_equal(keyring_paper_write(&alice, (struct span){large, sizeof large}, &out), ERR_LIMIT);
    assert_int_equal(keyring_paper_write(&alice, SPAN_NONE, &out), ERR_LIMIT);
    buf_clear(&out);
    assert_int_equal(keyring_paper_write(&alice, (struct span){large, sizeof large - 1}, &out), ERR_OK);
    buf_init_secret(&key, KEYRING_PAPER_BYTES_MAX);
    assert_int_equal(read_text(out.data, out.len), ERR_OK);
    buf_fini(&key);
    buf_init_secret(&key, 100);
    assert_int_equal(read_text(out.data, out.len), ERR_MALFORMED);
    assert_non_null(strstr(problem, "more lines"));
    buf_fini(&key);
    buf_fini(&out);
    assert_false(keyring_paper_is(SPAN_LIT("")));
    assert_false(keyring_paper_is(SPAN_LIT("privyseal paper keys\n")));
}

/* The name stands in the question whether the key is one's own. */
static void test_a_name_steers_no_terminal(void **state)
{
    static const char name[] = "\nUser ID: Eve\x1b[2J\xc2\x9b\xe2\x80\xae\n";
    struct buf typed;
    (void)state;
    begin(20);
    const char *at = strstr(text.data, "\nUser ID: ");
    assert_non_null(at);
    const size_t before = (size_t)(at - text.data);
    const char *rest = strchr(at + 1, '\n') + 1;
    buf_init(&typed, KEYRING_PAPER_TEXT_MAX * 2);
    assert_int_equal(buf_add(&typed, text.data, before), ERR_OK);
    assert_int_equal(buf_add_string(&typed, name), ERR_OK);
    assert_int_equal(buf_add_string(&typed, rest), ERR_OK);
    assert_int_equal(read_text(typed.data, typed.len), ERR_OK);
    assert_string_equal(paper.user_id, "Eve?[2J??");
    buf_fini(&typed);
    end();
}

static void test_no_memory(void **state)
{
    (void)state;
    begin(500);
    enum err err = ERR_MEMORY;
    for (size_t left = 0; err == ERR_MEMORY; left++) {
        buf_fini(&key);
        buf_init_secret(&key, KEYRING_PAPER_BYTES_MAX);
        failing_malloc_left = left;
        failing_malloc_has_failed = false;
        err = keyring_paper_read(buf_span(&text), &paper, &key, problem);
        failing_malloc_left = SIZE_MAX;
        assert_true(err == ERR_OK || failing_malloc_has_failed);
    }
    assert_int_equal(err, ERR_OK);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round),
                                       cmocka_unit_test(test_known_answers),
                                       cmocka_unit_test(test_tolerant),
                                       cmocka_unit_test(test_each_letter),
                                       cmocka_unit_test(test_lines),
                                       cmocka_unit_test(test_cut),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_no_memory),
                                       cmocka_unit_test(test_a_name_steers_no_terminal)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
