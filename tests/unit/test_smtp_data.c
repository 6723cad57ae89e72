/* The bytes between DATA and its end. Above all: only CRLF . CRLF ends a message, whatever else looks like an end. */
#include "smtp/data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUT_MAX 4096
#define ALPHABET ".\r\n\0a"
#define ALPHABET_LEN 5
#define LENGTH_MAX 7

/* A string literal with NULs in it, as a span. */
#define BYTES(literal) SPAN_LIT(literal)

struct decoded {
    struct buf out;
    size_t used;
    bool is_ended;
    enum err judgement;
};

static struct decoded decode(struct span bytes, size_t first, size_t step, bool is_repairing)
{
    struct decoded decoded = {.used = 0};
    struct smtp_data_decoder decoder;
    buf_init(&decoded.out, OUT_MAX);
    smtp_data_begin(&decoder, is_repairing, false);
    for (size_t from = 0, to = first; from < bytes.len && !decoder.is_ended; from = to, to += step) {
        size_t used;
        struct span piece = span_slice(bytes, from, to);
        assert_int_equal(smtp_data_feed(&decoder, piece, &decoded.out, &used), ERR_OK);
        assert_true(used == piece.len || decoder.is_ended);
        decoded.used += used;
        to = from + piece.len;
    }
    decoded.is_ended = decoder.is_ended;
    decoded.judgement = smtp_data_judge(&decoder);
    return decoded;
}

static bool has_bare(struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char byte = bytes.ptr[i];
        if (byte == '\0' || (byte == '\r' && (i + 1 == bytes.len || bytes.ptr[i + 1] != '\n')) ||
            (byte == '\n' && (i == 0 || bytes.ptr[i - 1] != '\r')))
            return true;
    }
    return false;
}

static enum err encode(struct span message, size_t piece_max, struct buf *out)
{
    size_t at = 0;
    enum err err;
    do {
        size_t before = out->len;
        err = smtp_data_encode(message, &at, piece_max, out);
        assert_true(out->len - before <= 2 * piece_max + 5);
    } while (err == ERR_OK);
    return err;
}

/* What goes over the wire after the CRLF of DATA: one end, at the end, and nothing that could be read in two ways. */
static void check_wire(struct span wire)
{
    char whole[OUT_MAX + 2] = "\r\n";
    assert_true(wire.len <= OUT_MAX);
    memcpy(whole + 2, wire.ptr, wire.len);
    struct span span = {whole, wire.len + 2};
    assert_int_equal(span_find(span, 0, SPAN_LIT("\r\n.\r\n")), span.len - 5);
    assert_false(has_bare(span));
}

static void check_round_trip(struct span message)
{
    for (size_t piece = 1; piece <= message.len + 1; piece++) {
        struct buf wire;
        buf_init(&wire, OUT_MAX);
        assert_int_equal(encode(message, piece, &wire), ERR_END);
        check_wire(buf_span(&wire));
        struct decoded decoded = decode(buf_span(&wire), wire.len, 1, false);
        assert_true(decoded.is_ended);
        assert_int_equal(decoded.used, wire.len);
        assert_int_equal(decoded.judgement, ERR_OK);
        bool is_whole = message.len == 0 || message.ptr[message.len - 1] == '\n';
        assert_int_equal(decoded.out.len, message.len + (is_whole ? 0 : 2));
        assert_memory_equal(decoded.out.data, message.len > 0 ? message.ptr : "", message.len);
        buf_fini(&decoded.out);
        buf_fini(&wire);
    }
}

/* The content of one true line (without its CRLF), told in another way than the decoder's. */
static void add_expected(struct span line, struct buf *out)
{
    size_t nuls = 1;
    while (nuls < line.len && line.ptr[nuls] == '\0')
        nuls++;
    bool is_dotted = line.len > 0 && line.ptr[0] == '.';
    bool is_dot_line = is_dotted && (nuls >= line.len || line.ptr[nuls] == '\r' || line.ptr[nuls] == '\n');
    for (size_t i = is_dotted && !is_dot_line; i < line.len; i++) {
        if (line.ptr[i] == '\r' || line.ptr[i] == '\n')
            assert_int_equal(buf_add_string(out, "\r\n"), ERR_OK);
        else if (line.ptr[i] != '\0')
            assert_int_equal(buf_add_byte(out, line.ptr[i]), ERR_OK);
    }
}

static void check_one(struct span bytes)
{
    char whole[LENGTH_MAX + 3] = "\r\n";
    memcpy(whole + 2, bytes.ptr, bytes.len);
    size_t end = span_find((struct span){whole, bytes.len + 2}, 0, SPAN_LIT("\r\n.\r\n"));
    struct decoded strict = decode(bytes, bytes.len, 1, false);
    assert_int_equal(strict.is_ended, end != SIZE_MAX);
    for (size_t step = 1; step < bytes.len; step++) {
        struct decoded split = decode(bytes, step, step == 1 ? 1 : bytes.len, true);
        assert_int_equal(split.is_ended, strict.is_ended);
        assert_int_equal(split.used, strict.used);
        assert_int_equal(split.judgement, ERR_OK);
        assert_true(span_is_equal(buf_span(&split.out), buf_span(&strict.out)));
        buf_fini(&split.out);
    }
    if (strict.is_ended) {
        struct buf expected;
        buf_init(&expected, OUT_MAX);
        assert_int_equal(strict.used, end + 3);
        struct span content = span_slice(bytes, 0, end);
        for (size_t from = 0, to; from < end; from = to + 2) {
            to = span_find(content, from, SPAN_LIT("\r\n"));
            to = to == SIZE_MAX ? end : to;
            add_expected(span_slice(content, from, to), &expected);
            assert_int_equal(buf_add_string(&expected, "\r\n"), ERR_OK);
        }
        assert_true(span_is_equal(buf_span(&strict.out), buf_span(&expected)));
        assert_int_equal(strict.judgement == ERR_OK, !has_bare(span_slice(bytes, 0, end + 3)));
        assert_false(has_bare(buf_span(&strict.out)));
        struct buf wire;
        buf_init(&wire, OUT_MAX);
        assert_int_equal(encode(buf_span(&strict.out), 3, &wire), ERR_END);
        check_wire(buf_span(&wire));
        buf_fini(&wire);
        buf_fini(&expected);
    }
    buf_fini(&strict.out);
}

/* All 97,655 strings of up to seven bytes that matter. */
static void every_short_input_against_the_definition(void **state)
{
    (void)state;
    for (size_t len = 1; len <= LENGTH_MAX; len++) {
        size_t count = 1;
        for (size_t i = 0; i < len; i++)
            count *= ALPHABET_LEN;
        for (size_t n = 0; n < count; n++) {
            char bytes[LENGTH_MAX];
            for (size_t i = 0, rest = n; i < len; i++, rest /= ALPHABET_LEN)
                bytes[i] = ALPHABET[rest % ALPHABET_LEN];
            check_one((struct span){bytes, len});
        }
    }
}

struct variant {
    struct span false_end;
    struct span repaired; /* what the content becomes, CRLF before and after included */
    enum err judgement;
};

static const struct variant variants[] = {
    {BYTES("\n.\n"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r.\r"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\n.\r\n"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r.\r\n"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r\n.\n"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r\n.\r"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\n.\r"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r.\n"), BYTES("\r\n.\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r\r\n.\r\r\n"), BYTES("\r\n\r\n.\r\n\r\n"), ERR_BARE_CR_LF},
    {BYTES("\r\n.\r\0\n"), BYTES("\r\n.\r\n\r\n"), ERR_NUL},
    {BYTES("\r\n.\0\r\n"), BYTES("\r\n.\r\n"), ERR_NUL},
    {BYTES("\r\n\0.\r\n"), BYTES("\r\n.\r\n"), ERR_NUL},
    {BYTES("\r\0\n.\r\n"), BYTES("\r\n\r\n.\r\n"), ERR_NUL},
    {BYTES("\r\n.\0\0\n"), BYTES("\r\n.\r\n"), ERR_NUL},
};

static void no_other_dot_line_is_an_end(void **state)
{
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        struct buf bytes, expected;
        buf_init(&bytes, OUT_MAX);
        buf_init(&expected, OUT_MAX);
        assert_int_equal(buf_add_string(&bytes, "one"), ERR_OK);
        assert_int_equal(buf_add_span(&bytes, variants[v].false_end), ERR_OK);
        assert_int_equal(buf_add_string(&bytes, "MAIL FROM:<mallory@example.org>\r\n.\r\nQUIT\r\n"), ERR_OK);
        assert_int_equal(buf_add_string(&expected, "one"), ERR_OK);
        assert_int_equal(buf_add_span(&expected, variants[v].repaired), ERR_OK);
        assert_int_equal(buf_add_string(&expected, "MAIL FROM:<mallory@example.org>\r\n"), ERR_OK);
        for (size_t split = 1; split <= bytes.len; split++) {
            for (int is_repairing = 0; is_repairing < 2; is_repairing++) {
                struct decoded decoded = decode(buf_span(&bytes), split, split, is_repairing != 0);
                assert_true(decoded.is_ended);
                assert_int_equal(decoded.used, bytes.len - 6);
                assert_int_equal(decoded.judgement, is_repairing ? ERR_OK : variants[v].judgement);
                assert_true(span_is_equal(buf_span(&decoded.out), buf_span(&expected)));
                struct buf wire;
                buf_init(&wire, OUT_MAX);
                assert_int_equal(encode(buf_span(&decoded.out), 7, &wire), ERR_END);
                check_wire(buf_span(&wire));
                buf_fini(&wire);
                buf_fini(&decoded.out);
            }
        }
        buf_fini(&bytes);
        buf_fini(&expected);
    }
}

static void encoding_and_decoding_are_inverse(void **state)
{
    (void)state;
    check_round_trip(SPAN_NONE);
    check_round_trip(SPAN_LIT("\r\n"));
    check_round_trip(SPAN_LIT("."));
    check_round_trip(SPAN_LIT(".\r\n"));
    check_round_trip(SPAN_LIT("..\r\n.\r\n..."));
    check_round_trip(SPAN_LIT("Subject: a\r\n\r\n.hidden\r\n\r\n.\r\nno line end"));
    check_round_trip(SPAN_LIT("a\r\n.\r\n.\r\n.b.\r\n"));
    check_round_trip(SPAN_LIT("\xc3\xa4\xff\r\n"));
}

static void the_encoder_sends_nothing_ambiguous(void **state)
{
    (void)state;
    static const struct {
        struct span message;
        enum err err;
    } bad[] = {
        {BYTES("a\n.\nb\r\n"), ERR_BARE_CR_LF}, {BYTES("a\r.\rb\r\n"), ERR_BARE_CR_LF}, {BYTES("a\r"), ERR_BARE_CR_LF},
        {BYTES("\n"), ERR_BARE_CR_LF},          {BYTES("a\r\r\n"), ERR_BARE_CR_LF},     {BYTES("a\0b\r\n"), ERR_NUL},
        {BYTES("a\r\n\n"), ERR_BARE_CR_LF},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (size_t piece = 1; piece < 8; piece++) {
            struct buf wire;
            buf_init(&wire, OUT_MAX);
            assert_int_equal(encode(bad[i].message, piece, &wire), bad[i].err);
            assert_int_equal(span_find(buf_span(&wire), 0, SPAN_LIT(".\r\n")), SIZE_MAX);
            buf_fini(&wire);
        }
    }
}

static void a_full_buffer_changes_nothing(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 5);
    assert_int_equal(buf_add_string(&out, "abc"), ERR_OK);
    size_t at = 0;
    assert_int_equal(smtp_data_encode(SPAN_LIT(".x\r\n"), &at, 100, &out), ERR_LIMIT);
    assert_int_equal(at, 0);
    assert_string_equal(out.data, "abc");
    struct smtp_data_decoder decoder;
    smtp_data_begin(&decoder, false, false);
    size_t used;
    assert_int_equal(smtp_data_feed(&decoder, SPAN_LIT("a\r\nrest"), &out, &used), ERR_LIMIT);
    assert_int_equal(used, 2); /* "a" and the CR, which is held */
    buf_clear(&out);
    assert_int_equal(smtp_data_feed(&decoder, SPAN_LIT("\n.\r\n"), &out, &used), ERR_OK);
    assert_string_equal(out.data, "\r\n");
    assert_true(decoder.is_ended);
    buf_fini(&out);
}

static void chunks_have_no_dots(void **state)
{
    (void)state;
    struct span bytes = SPAN_LIT("a\r\n.\r\n..b\r\n");
    for (size_t split = 1; split <= bytes.len; split++) {
        struct smtp_data_decoder decoder;
        struct buf out;
        size_t used;
        buf_init(&out, OUT_MAX);
        smtp_data_begin(&decoder, false, true);
        assert_int_equal(smtp_data_feed(&decoder, span_slice(bytes, 0, split), &out, &used), ERR_OK);
        assert_int_equal(smtp_data_feed(&decoder, span_skip(bytes, split), &out, &used), ERR_OK);
        assert_false(decoder.is_ended);
        assert_int_equal(smtp_data_end(&decoder, &out), ERR_OK);
        assert_true(decoder.is_ended);
        assert_int_equal(smtp_data_judge(&decoder), ERR_OK);
        assert_true(span_is_equal(buf_span(&out), bytes));
        buf_fini(&out);
    }
    struct smtp_data_decoder decoder;
    struct buf out;
    size_t used;
    buf_init(&out, OUT_MAX);
    smtp_data_begin(&decoder, false, true);
    assert_int_equal(smtp_data_feed(&decoder, SPAN_LIT("held\r"), &out, &used), ERR_OK);
    assert_int_equal(used, 5);
    assert_string_equal(out.data, "held");
    assert_int_equal(smtp_data_judge(&decoder), ERR_OK);
    assert_int_equal(smtp_data_end(&decoder, &out), ERR_OK);
    assert_string_equal(out.data, "held\r\n");
    assert_int_equal(smtp_data_judge(&decoder), ERR_BARE_CR_LF);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_input_against_the_definition),
        cmocka_unit_test(no_other_dot_line_is_an_end),
        cmocka_unit_test(encoding_and_decoding_are_inverse),
        cmocka_unit_test(the_encoder_sends_nothing_ambiguous),
        cmocka_unit_test(a_full_buffer_changes_nothing),
        cmocka_unit_test(chunks_have_no_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
