#include "mime/param.h"
#include "tests/unit/trickle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct query {
    const char *name;
    struct buf *out;
};

static enum err get(struct span value, void *context)
{
    struct query *query = context;

    return mime_param_get(value, query->name, query->out);
}

/* Asks for a parameter of an exact copy of the value, then of every beginning of it, where any answer will do. */
static void assert_param(struct span value, const char *name, const char *expected)
{
    struct buf text;
    struct query query = {name, &text};
    enum err result;

    buf_init(&text, MIME_PARAM_MAX);
    result = trickle(value, value.len, get, &query);
    assert_int_equal(result, expected != NULL ? ERR_OK : ERR_NOT_FOUND);
    assert_string_equal(text.data, expected != NULL ? expected : "");
    for (size_t len = 1; len < value.len; len++) {
        buf_clear(&text);
        result = trickle(span_slice(value, 0, len), len, get, &query);
        assert_true(result == ERR_OK || result == ERR_NOT_FOUND);
    }
    buf_fini(&text);
}

static void gets_params(void **state)
{
    static const struct {
        struct span value;
        const char *expected;
    } rows[] = {
        {SPAN_LIT("text/plain"), NULL},
        {SPAN_LIT("text/plain; n"), NULL},
        {SPAN_LIT("text/plain; n="), ""},
        {SPAN_LIT("text/plain; n=\"\""), ""},
        {SPAN_LIT("text/plain; n=v"), "v"},
        {SPAN_LIT("text/plain;n=v;"), "v"},
        {SPAN_LIT("text/plain; ;; x=y; N=v"), "v"},
        {SPAN_LIT("text/plain; n = v ; x=y"), "v"},
        {SPAN_LIT("text/plain;\r\n\tn=\r\n v\r\n"), "v"},
        {SPAN_LIT("text/plain; n=v; n=w"), "v"},
        {SPAN_LIT("text/plain; nn=x; xn=y; n=v"), "v"},
        {SPAN_LIT("text/plain; n=a/b:c=d@e?[f]"), "a/b:c=d@e?[f]"},
        {SPAN_LIT("text/plain; n=\xC3\xA9"), "\xC3\xA9"},
        {SPAN_LIT("text/plain; n=v w; x=y"), "v"},
        {SPAN_LIT("text/plain; n=\"v; w=\\\"x\\\\\" ; y=z"), "v; w=\"x\\"},
        {SPAN_LIT("text/plain; n=\"open; x=y"), "open; x=y"},
        {SPAN_LIT("text/plain; n=\"open\\"), "open\\"},
        {SPAN_LIT("text/plain; x=\"; n=no\"; n=v"), "v"},
        {SPAN_LIT("text/plain; n=\"a\r\n b\""), "a b"},
        {SPAN_LIT("text/plain; n=\"a\\\rb\\\nc\\\0d\""), "a b c d"},
        {SPAN_LIT("text/plain (c; n=no (d) \\) ); (e) n (f) = (g) v(h)"), "v"},
        {SPAN_LIT("text/plain (open; n=v"), NULL},
        {SPAN_LIT("n=v"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_param(rows[i].value, "n", rows[i].expected);
}

static void gets_extended_params(void **state)
{
    static const struct {
        struct span value;
        const char *expected;
    } rows[] = {
        {SPAN_LIT("x; n*=utf-8''%C3%A9%20b"), "\xC3\xA9 b"},
        {SPAN_LIT("x; n*=UTF-8'de'%c3%a9"), "\xC3\xA9"},
        {SPAN_LIT("x; n*=iso-8859-1''caf%E9"), "caf\xC3\xA9"},
        {SPAN_LIT("x; n*=us-ascii'en'a%2Ab"), "a*b"},
        {SPAN_LIT("x; n*=koi8-r''%C1"), "\xC1"},
        {SPAN_LIT("x; n*=a%20b"), "a b"},
        {SPAN_LIT("x; n*=''a%2"), "a%2"},
        {SPAN_LIT("x; n*=''a%zzb%"), "a%zzb%"},
        {SPAN_LIT("x; n*=''a%00%0D%0Ab"), "a   b"},
        {SPAN_LIT("x; n*=\"utf-8''%41\""), "A"},
        {SPAN_LIT("x; n=100%25"), "100%25"},
        {SPAN_LIT("x; n*0=a; n*1=b"), "ab"},
        {SPAN_LIT("x; n*1=b; n*0=a; n*2=\"c d\""), "abc d"},
        {SPAN_LIT("x; n*0*=utf-8''%C3; n*1*=%A9; n*2=%20"), "\xC3\xA9%20"},
        {SPAN_LIT("x; n*0*=iso-8859-1''%E9; n*1*=%E8'; n*2=c"), "\xC3\xA9\xC3\xA8'c"},
        {SPAN_LIT("x; n*0=a; n*2=c"), "a"},
        {SPAN_LIT("x; n*1=b"), NULL},
        {SPAN_LIT("x; n*00=a; n*01=b; n*-1=c; n*a=d; n**=e"), NULL},
        {SPAN_LIT("x; n*0=a; n*0=b; n*1=c"), "ac"},
        {SPAN_LIT("x; n*99999999999999999999=a"), NULL},
        {SPAN_LIT("x; n=plain; n*=utf-8''extended"), "plain"},
        {SPAN_LIT("x; n*=utf-8''extended; n=plain"), "extended"},
        {SPAN_LIT("x; n*0=continued; n=plain"), "continued"},
        {SPAN_LIT("x; n*1=continued; n=plain"), "plain"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_param(rows[i].value, "n", rows[i].expected);
}

static void bounds_params(void **state)
{
    struct buf value, text;

    (void)state;
    buf_init(&value, 100000);
    buf_init(&text, 100000);
    assert_int_equal(buf_add_string(&value, "x; n="), ERR_OK);
    for (size_t i = 0; i < MIME_PARAM_MAX; i++)
        assert_int_equal(buf_add_byte(&value, 'a'), ERR_OK);
    assert_int_equal(mime_param_get(buf_span(&value), "n", &text), ERR_OK);
    assert_int_equal(text.len, MIME_PARAM_MAX);
    buf_clear(&text);
    assert_int_equal(buf_add_byte(&value, 'a'), ERR_OK);
    assert_int_equal(mime_param_get(buf_span(&value), "n", &text), ERR_LIMIT);
    assert_int_equal(text.len, 0);
    assert_int_equal(mime_param_add(&text, "n", span_skip(buf_span(&value), 5)), ERR_LIMIT);
    buf_clear(&value);
    assert_int_equal(buf_add_string(&value, "x"), ERR_OK);
    for (int i = 0; i < 400; i++)
        assert_int_equal(buf_addf(&value, "; n*%d=a", i), ERR_OK);
    assert_int_equal(mime_param_get(buf_span(&value), "n", &text), ERR_OK);
    assert_int_equal(text.len, 300);
    buf_fini(&value);
    buf_fini(&text);
}

static void parses_types(void **state)
{
    static const struct {
        struct span value;
        const char *expected; /* "type subtype", NULL: malformed */
    } rows[] = {
        {SPAN_LIT("text/plain"), "text plain"},
        {SPAN_LIT(" Text/HTML; charset=x"), "text html"},
        {SPAN_LIT("\r\n text / plain"), "text plain"},
        {SPAN_LIT("(a) text (b) / (c) plain(d)"), "text plain"},
        {SPAN_LIT("application/vnd.x+xml charset=x"), "application vnd.x+xml"},
        {SPAN_LIT(""), NULL},
        {SPAN_LIT("text"), NULL},
        {SPAN_LIT("text/"), NULL},
        {SPAN_LIT("/plain"), NULL},
        {SPAN_LIT("; text/plain"), NULL},
        {SPAN_LIT("text; a/b"), NULL},
        {SPAN_LIT("te\xC3xt/plain"), NULL},
        {SPAN_LIT("te\0xt/plain"), NULL},
        {SPAN_LIT("0123456789012345678901234567890/plain"), "0123456789012345678901234567890 plain"},
        {SPAN_LIT("01234567890123456789012345678901/plain"), NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char type[32], subtype[32], both[65];

        assert_int_equal(mime_type_parse(rows[i].value, type, subtype, sizeof type), rows[i].expected != NULL);
        if (rows[i].expected != NULL) {
            assert_true(snprintf(both, sizeof both, "%s %s", type, subtype) < (int)sizeof both);
            assert_string_equal(both, rows[i].expected);
        }
    }
}

/* What is added is got back. */
static void assert_added(struct span text, const char *expected)
{
    struct buf value, got;

    buf_init(&value, 100000);
    buf_init(&got, 100000);
    assert_int_equal(buf_add_string(&value, "x"), ERR_OK);
    assert_int_equal(mime_param_add(&value, "n", text), ERR_OK);
    if (expected != NULL)
        assert_string_equal(value.data + 1, expected);
    assert_int_equal(mime_param_get(buf_span(&value), "n", &got), ERR_OK);
    assert_true(span_is_equal(buf_span(&got), text));
    /* No piece is longer than a line. */
    for (struct span rest = buf_span(&value), piece; span_take_until(&rest, ';', &piece);)
        assert_true(piece.len < 998);
    buf_fini(&value);
    buf_fini(&got);
}

static void adds_params(void **state)
{
    char text[MIME_PARAM_MAX];

    (void)state;
    assert_added(SPAN_LIT("pgp-sha256"), "; n=pgp-sha256");
    assert_added(SPAN_LIT("application/pgp"), "; n=\"application/pgp\"");
    assert_added(SPAN_LIT(""), "; n=\"\"");
    assert_added(SPAN_LIT("a \"b\\"), "; n=\"a \\\"b\\\\\"");
    assert_added(SPAN_LIT("caf\xC3\xA9 1*"), "; n*=utf-8''caf%C3%A9%201%2A");
    assert_added(SPAN_LIT("a\tb"), "; n*=utf-8''a%09b");
    assert_added(SPAN_LIT("\xF0\x9F\x94\x92\xF0\x9F\x94\x92\xF0\x9F\x94\x92\xF0\x9F\x94\x92\xF0\x9F\x94\x92"),
                 "; n*0*=utf-8''%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92%F0%9F%94%92");
    for (size_t len = 0; len <= sizeof text; len += 37) {
        memset(text, 'a', sizeof text);
        assert_added((struct span){text, len}, NULL);
        memset(text, '\xE9', sizeof text);
        assert_added((struct span){text, len}, NULL);
    }
}

static void removes_params(void **state)
{
    static const char *const names[] = {"n", "m", NULL};
    static const struct {
        struct span value;
        const char *expected;
    } rows[] = {
        {SPAN_LIT(""), ""},
        {SPAN_LIT(" text/plain\r\n"), " text/plain\r\n"},
        {SPAN_LIT(" text/plain; n=v"), " text/plain"},
        {SPAN_LIT(" text/plain;\r\n a=b;\r\n\tN=v; c = \"d; n=e\";m=\"x;y\"; o"),
         " text/plain;\r\n a=b; c = \"d; n=e\"; o"},
        {SPAN_LIT("x; n*=utf-8''a; n*0=b; n*1*=c; n*bad=d; nn=e"), "x; nn=e"},
        {SPAN_LIT("x (; n=v); n=v (;) ;;"), "x (; n=v);;"},
        {SPAN_LIT("n=v; n"), "n=v"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf text;

        buf_init(&text, 1000);
        assert_int_equal(mime_param_remove(rows[i].value, names, &text), ERR_OK);
        assert_string_equal(text.data, rows[i].expected);
        buf_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_params),  cmocka_unit_test(gets_extended_params), cmocka_unit_test(bounds_params),
        cmocka_unit_test(parses_types), cmocka_unit_test(adds_params),          cmocka_unit_test(removes_params),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
