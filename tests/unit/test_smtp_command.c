/* SMTP command lines: what is taken, what is refused, and that what is written reads back as the same. */
#include "smtp/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void verbs(void **state)
{
    (void)state;
    struct span argument;
    for (int verb = SMTP_UNKNOWN + 1; verb < SMTP_VERB_COUNT; verb++)
        assert_int_equal(smtp_command_split(span_of(smtp_verb_name((enum smtp_verb)verb)), &argument), verb);
    assert_int_equal(smtp_command_split(SPAN_LIT("mAiL \t FROM:<> \t"), &argument), SMTP_MAIL);
    assert_true(span_is_equal(argument, SPAN_LIT("FROM:<>")));
    assert_int_equal(smtp_command_split(SPAN_LIT("NOOP"), &argument), SMTP_NOOP);
    assert_int_equal(argument.len, 0);
    static const char *const unknown[] = {"",       " MAIL",   "MAILX",   "MAI",  "DATA\r",
                                          "DATA\n", "QUIT\rX", "unknown", "MAIL:"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        assert_int_equal(smtp_command_split(span_of(unknown[i]), &argument), SMTP_UNKNOWN);
    assert_int_equal(smtp_command_split(SPAN_LIT("DATA\0"), &argument), SMTP_UNKNOWN);
    assert_string_equal(smtp_verb_name((enum smtp_verb)99), "unknown");
}

struct path_case {
    const char *argument;
    const char *path; /* NULL: ERR_ADDRESS_SYNTAX */
    const char *address;
};

static const struct path_case paths[] = {
    {"TO:<bob@example.org>", "bob@example.org", "bob@example.org"},
    {"to:<Bob@EXAMPLE.org>", "Bob@EXAMPLE.org", "Bob@example.org"},
    {"TO: <bob@example.org>", "bob@example.org", "bob@example.org"},
    {"TO:<@a.example,@b.example:bob@example.org>", "bob@example.org", "bob@example.org"},
    {"TO:<\"bob\"@example.org>", "\"bob\"@example.org", "bob@example.org"},
    {"TO:<\"a > b\"@example.org>", "\"a > b\"@example.org", "\"a > b\"@example.org"},
    {"TO:<\"a\\\"b\"@example.org>", "\"a\\\"b\"@example.org", "\"a\\\"b\"@example.org"},
    {"TO:<b.+tag!#$%&'*/=?^_`{|}~@x-y.example>", "b.+tag!#$%&'*/=?^_`{|}~@x-y.example",
     "b.+tag!#$%&'*/=?^_`{|}~@x-y.example"},
    {"TO:<b@b\xc3\xbc"
     "cher.example>",
     "b@b\xc3\xbc"
     "cher.example",
     "b@xn--bcher-kva.example"},
    {"TO:<>", NULL, NULL},
    {"TO:<bob>", NULL, NULL},
    {"TO:<@example.org>", NULL, NULL},
    {"TO:<bob@>", NULL, NULL},
    {"TO:<bob@example..org>", NULL, NULL},
    {"TO:<bob@.example.org>", NULL, NULL},
    {"TO:<bob@example.org.>", NULL, NULL},
    {"TO:<bob@-example.org>", NULL, NULL},
    {"TO:<bob@example-.org>", NULL, NULL},
    {"TO:<bob@a@example.org>", NULL, NULL},
    {"TO:<bo b@example.org>", NULL, NULL},
    {"TO:<bob@exam ple.org>", NULL, NULL},
    {"TO:<bob@example.org", NULL, NULL},
    {"TO:<<bob@example.org>>", NULL, NULL},
    {"TO:<bob(x)@example.org>", NULL, NULL},
    {"TO:<bob,eve@example.org>", NULL, NULL},
    {"TO:<bob@example.org\r>", NULL, NULL},
    {"TO:<bob\n@example.org>", NULL, NULL},
    {"TO:<\"bob\r\"@example.org>", NULL, NULL},
    {"TO:<\"bob\\\n\"@example.org>", NULL, NULL},
    {"TO:<\"bob@example.org>", NULL, NULL},
    {"TO:<\"bob\"x@example.org>", NULL, NULL},
    {"TO:<@a.example bob@example.org>", NULL, NULL},
    {"TO:<@a.example,bob@example.org>", NULL, NULL},
    {"TO:<b\xff@example.org>", NULL, NULL},
    {"TO:<bob@[]>", NULL, NULL},
    {"TO:<bob@[1.2.3.4>", NULL, NULL},
    {"TO:<a1234567890123456789012345678901234567890123456789012345678901234@example.org>", NULL, NULL},
};

static void recipient_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct smtp_rcpt rcpt;
        enum err err = smtp_rcpt_parse(span_of(paths[i].argument), &rcpt);
        if (paths[i].path == NULL) {
            assert_int_equal(err, ERR_ADDRESS_SYNTAX);
            assert_string_equal(rcpt.to.path, "");
            continue;
        }
        assert_int_equal(err, ERR_OK);
        assert_string_equal(rcpt.to.path, paths[i].path);
        assert_string_equal(rcpt.to.address, paths[i].address);
    }
    struct smtp_rcpt rcpt;
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<bob\0@example.org>"), &rcpt), ERR_ADDRESS_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:bob@example.org"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("FROM:<bob@example.org>"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO :<bob@example.org>"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_NONE, &rcpt), ERR_PARAMETER_SYNTAX);
}

static void address_literals(void **state)
{
    (void)state;
    struct smtp_rcpt rcpt;
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<bob@[127.0.0.1]>"), &rcpt), ERR_OK);
    assert_string_equal(rcpt.to.path, "bob@[127.0.0.1]");
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<bob@[IPv6:::1]>"), &rcpt), ERR_OK);
    assert_string_equal(rcpt.to.path, "bob@[IPv6:::1]");
}

static void mail_parameters(void **state)
{
    (void)state;
    struct smtp_mail mail;
    assert_int_equal(
        smtp_mail_parse(SPAN_LIT("FROM:<a@b.example> size=1234  BODY=8bitmime SMTPUTF8 RET=hdrs ENVID=x+2By "
                                 "AUTH=a+2Bb@c.example"),
                        &mail),
        ERR_OK);
    assert_true(mail.has_size && mail.smtputf8);
    assert_int_equal(mail.size, 1234);
    assert_int_equal(mail.body, SMTP_BODY_8BITMIME);
    assert_string_equal(mail.ret, "HDRS");
    assert_string_equal(mail.envid, "x+2By");
    assert_string_equal(mail.auth, "a+2Bb@c.example");
    assert_int_equal(smtp_mail_parse(SPAN_LIT("FROM:<> AUTH=<> SIZE=18446744073709551615"), &mail), ERR_OK);
    assert_string_equal(mail.from.path, "");
    assert_string_equal(mail.from.address, "");
    assert_string_equal(mail.auth, "<>");
    assert_int_equal(mail.size, UINT64_MAX);
}

static void bad_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *parameters;
        enum err err;
    } bad[] = {
        {"SIZE=1", ERR_PARAMETER_SYNTAX}, /* no blank after ">" */
        {" SIZE=", ERR_PARAMETER_SYNTAX},
        {" SIZE", ERR_PARAMETER_SYNTAX},
        {" SIZE=-1", ERR_PARAMETER_SYNTAX},
        {" SIZE=1x", ERR_PARAMETER_SYNTAX},
        {" SIZE=18446744073709551616", ERR_PARAMETER_SYNTAX},
        {" SIZE=000000000000000000001", ERR_PARAMETER_SYNTAX},
        {" SIZE=1 SIZE=1", ERR_PARAMETER_SYNTAX},
        {" SIZE=1 size=2", ERR_PARAMETER_SYNTAX},
        {" BODY=9BIT", ERR_PARAMETER_SYNTAX},
        {" BODY=", ERR_PARAMETER_SYNTAX},
        {" SMTPUTF8=1", ERR_PARAMETER_SYNTAX},
        {" SMTPUTF8=", ERR_PARAMETER_SYNTAX},
        {" RET=ALL", ERR_PARAMETER_SYNTAX},
        {" RET=FULLFULL", ERR_PARAMETER_SYNTAX},
        {" ENVID=", ERR_PARAMETER_SYNTAX},
        {" ENVID=a+2", ERR_PARAMETER_SYNTAX},
        {" ENVID=a+2b", ERR_PARAMETER_SYNTAX},
        {" ENVID=a=b", ERR_PARAMETER_SYNTAX},
        {" AUTH=", ERR_PARAMETER_SYNTAX},
        {" =x", ERR_PARAMETER_SYNTAX},
        {" -X=x", ERR_PARAMETER_SYNTAX},
        {" X\tSIZE=1", ERR_PARAMETER_SYNTAX},
        {" X=\r", ERR_PARAMETER_SYNTAX},
        {" X=\xc3\xa4", ERR_PARAMETER_SYNTAX},
        {"\tSIZE=1", ERR_PARAMETER_SYNTAX},
        {" X-NEW=1", ERR_PARAMETER_UNKNOWN},
        {" NOTIFY=NEVER", ERR_PARAMETER_UNKNOWN},
        {" SIZE=1 HOLDFOR=3", ERR_PARAMETER_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf line;
        struct smtp_mail mail;
        buf_init(&line, 4096);
        assert_int_equal(buf_addf(&line, "FROM:<a@b.example>%s", bad[i].parameters), ERR_OK);
        assert_int_equal(smtp_mail_parse(buf_span(&line), &mail), bad[i].err);
        assert_string_equal(mail.from.path, "");
        buf_fini(&line);
    }
    struct smtp_mail mail;
    assert_int_equal(smtp_mail_parse(SPAN_LIT("FROM:<\xc3\xa4@b.example>"), &mail), ERR_NEEDS_SMTPUTF8);
    assert_int_equal(smtp_mail_parse(SPAN_LIT("FROM:<\xc3\xa4@b.example> SMTPUTF8"), &mail), ERR_OK);
}

static void dsn_parameters(void **state)
{
    (void)state;
    static const char *const good[] = {"NEVER", "never", "SUCCESS", "Delay,failure", "SUCCESS,FAILURE,DELAY"};
    static const char *const bad[] = {"",       "NEVER,DELAY", "DELAY,DELAY",
                                      "DELAY,", ",DELAY",      "DELAY;X",
                                      "OFTEN",  "DELAY,NEVER", "SUCCESS,FAILURE,DELAY,SUCCESS,X"};
    struct buf line;
    struct smtp_rcpt rcpt;
    buf_init(&line, 4096);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        buf_clear(&line);
        assert_int_equal(buf_addf(&line, "TO:<a@b.example> NOTIFY=%s", good[i]), ERR_OK);
        assert_int_equal(smtp_rcpt_parse(buf_span(&line), &rcpt), ERR_OK);
        assert_true(span_is_case_equal(span_of(rcpt.notify), span_of(good[i])));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        buf_clear(&line);
        assert_int_equal(buf_addf(&line, "TO:<a@b.example> NOTIFY=%s", bad[i]), ERR_OK);
        assert_int_equal(smtp_rcpt_parse(buf_span(&line), &rcpt), ERR_PARAMETER_SYNTAX);
    }
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<a@b.example> ORCPT=rfc822;A+2Bb@c.example"), &rcpt), ERR_OK);
    assert_string_equal(rcpt.orcpt, "rfc822;A+2Bb@c.example");
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<a@b.example> ORCPT=rfc822"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<a@b.example> ORCPT=;x"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<a@b.example> ORCPT=rfc822;"), &rcpt), ERR_PARAMETER_SYNTAX);
    assert_int_equal(smtp_rcpt_parse(SPAN_LIT("TO:<a@b.example> SIZE=1"), &rcpt), ERR_PARAMETER_UNKNOWN);
    buf_fini(&line);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    struct smtp_mail mail = {.from.path = "a@b.example",
                             .has_size = true,
                             .size = 7,
                             .body = SMTP_BODY_7BIT,
                             .smtputf8 = true,
                             .ret = "FULL",
                             .envid = "e",
                             .auth = "<>"};
    assert_int_equal(smtp_mail_format(&mail, &out), ERR_OK);
    assert_string_equal(out.data, "MAIL FROM:<a@b.example> SIZE=7 BODY=7BIT SMTPUTF8 RET=FULL ENVID=e AUTH=<>\r\n");
    struct span argument;
    struct smtp_mail back;
    assert_int_equal(smtp_command_split(span_slice(buf_span(&out), 0, out.len - 2), &argument), SMTP_MAIL);
    assert_int_equal(smtp_mail_parse(argument, &back), ERR_OK);
    assert_string_equal(back.from.path, mail.from.path);
    assert_int_equal(back.size, 7);
    buf_clear(&out);
    struct smtp_mail null = {.body = SMTP_BODY_NONE};
    assert_int_equal(smtp_mail_format(&null, &out), ERR_OK);
    assert_string_equal(out.data, "MAIL FROM:<>\r\n");
    buf_clear(&out);
    struct smtp_rcpt rcpt = {.to.path = "\"a b\"@c.example", .notify = "DELAY,FAILURE", .orcpt = "rfc822;x@y"};
    assert_int_equal(smtp_rcpt_format(&rcpt, &out), ERR_OK);
    assert_string_equal(out.data, "RCPT TO:<\"a b\"@c.example> NOTIFY=DELAY,FAILURE ORCPT=rfc822;x@y\r\n");
    buf_fini(&out);
}

/* Whoever fills the structs: no value leaves its place in the line. */
static void nothing_breaks_out_of_a_line(void **state)
{
    (void)state;
    static const char *const evil[] = {
        "a@b.example>\r\nRCPT TO:<eve@c.example", "a@b.example> SIZE=1", "a@b\n", "a\r@b", "a b@c", "a"};
    struct buf out;
    buf_init(&out, 4096);
    for (size_t i = 0; i < sizeof evil / sizeof evil[0]; i++) {
        struct smtp_mail mail = {.body = SMTP_BODY_NONE};
        struct smtp_rcpt rcpt = {.notify = ""};
        assert_true(span_copy(span_of(evil[i]), mail.from.path, MIME_ADDR_SIZE));
        assert_true(span_copy(span_of(evil[i]), rcpt.to.path, MIME_ADDR_SIZE));
        assert_int_equal(smtp_mail_format(&mail, &out), ERR_ADDRESS_SYNTAX);
        assert_int_equal(smtp_rcpt_format(&rcpt, &out), ERR_ADDRESS_SYNTAX);
    }
    struct smtp_rcpt empty = {.notify = ""};
    assert_int_equal(smtp_rcpt_format(&empty, &out), ERR_ADDRESS_SYNTAX);
    struct smtp_mail mail = {.from.path = "a@b.example", .envid = "x\r\nDATA"};
    assert_int_equal(smtp_mail_format(&mail, &out), ERR_PARAMETER_SYNTAX);
    mail = (struct smtp_mail){.from.path = "a@b.example", .auth = "x SIZE=1"};
    assert_int_equal(smtp_mail_format(&mail, &out), ERR_PARAMETER_SYNTAX);
    struct smtp_rcpt rcpt = {.to.path = "a@b.example", .notify = "DELAY\r\nDATA"};
    assert_int_equal(smtp_rcpt_format(&rcpt, &out), ERR_PARAMETER_SYNTAX);
    rcpt = (struct smtp_rcpt){.to.path = "a@b.example", .orcpt = "rfc822;x y"};
    assert_int_equal(smtp_rcpt_format(&rcpt, &out), ERR_PARAMETER_SYNTAX);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
    buf_init(&out, 20);
    mail = (struct smtp_mail){.from.path = "a@b.example"};
    assert_int_equal(smtp_mail_format(&mail, &out), ERR_LIMIT);
    assert_int_equal(out.len, 0);
    buf_fini(&out);
}

/* Every beginning of a good line is refused, up to where it is good itself. */
static void lines_that_grow(void **state)
{
    (void)state;
    struct span line = SPAN_LIT("FROM:<@r.example:a@b.example> SIZE=12 BODY=7BIT");
    size_t good_count = 0;
    for (size_t len = 0; len <= line.len; len++) {
        struct smtp_mail mail;
        char *copy = span_dup(span_slice(line, 0, len)); /* on the heap, so that reading past the end is seen */
        enum err err = smtp_mail_parse((struct span){copy, len}, &mail);
        free(copy);
        if (err == ERR_OK)
            assert_string_equal(mail.from.path, "a@b.example");
        good_count += err == ERR_OK;
    }
    /* "...>", "...> ", SIZE=1, SIZE=12, SIZE=12 and a blank, the whole */
    assert_int_equal(good_count, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verbs),
        cmocka_unit_test(recipient_paths),
        cmocka_unit_test(address_literals),
        cmocka_unit_test(mail_parameters),
        cmocka_unit_test(bad_parameters),
        cmocka_unit_test(dsn_parameters),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(nothing_breaks_out_of_a_line),
        cmocka_unit_test(lines_that_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
