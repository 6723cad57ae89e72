/* Commands on their way out: literals as the server takes them, files in pieces, dialogues, answers in any order. */
#include "imap_talk.h"

#include <fcntl.h>
#include <stdlib.h>

static enum err send_out(struct talk *talk, struct imap_out *out)
{
    return imap_client_send(talk->client, out, NULL, on_reply, talk);
}

/* A sealed file of `len` bytes that spell the alphabet. */
static int make_file(size_t len)
{
    char *bytes = malloc(len);
    int fd;
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)('a' + i % 26);
    assert_int_equal(memfd_of("test", (struct span){bytes, len}, len, &fd), ERR_OK);
    free(bytes);
    return fd;
}

static void test_many_at_once_in_any_order(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    assert_int_equal(send_line(&talk, "SELECT x"), ERR_OK);
    assert_int_equal(send_line(&talk, "CHECK"), ERR_OK);
    assert_int_equal(imap_client_open_len(talk.client), 3);
    hear(&talk, "P1 NOOP\r\nP2 SELECT x\r\nP3 CHECK\r\n");
    say(&talk, "P3 OK [X] three {9}\r\nP1 no one\r\nP2 BAD two\r\n");
    expect_told(&talk, "OK [X] OK [X] three {9}|;NO [] no one|;BAD [] BAD two|;");
    assert_int_equal(imap_client_open_len(talk.client), 0);
    talk_fini(&talk);
}

static void test_unknown_tags(void **state)
{
    static const char *const answers[] = {"P2 OK\r\n",   "P0 OK\r\n", "X OK\r\n",
                                          "P OK\r\n",    "P1\r\n",    "P1 MAYBE\r\n",
                                          "P1 OKAY\r\n", "p1 OK\r\n", "P18446744073709551617 OK\r\n",
                                          " OK\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct talk talk;
        talk_start(&talk, "");
        assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
        say(&talk, answers[i]);
        expect_told(&talk, "close upstream-protocol;");
        talk_fini(&talk);
    }
}

static void test_an_answer_twice(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    say(&talk, "P1 OK\r\nP1 OK\r\n");
    expect_told(&talk, "OK [] OK|;close upstream-protocol;");
    talk_fini(&talk);
}

/* A command with two literals, one copied and one borrowed, and text between. */
static void make_two(struct imap_out *out)
{
    imap_out_init(out);
    imap_out_text(out, SPAN_LIT("RENAME "));
    imap_out_astring(out, SPAN_LIT("a\xff"));
    imap_out_addf(out, " %d ", 7);
    out->literals[out->literals_len++] =
        (struct imap_out_literal){.at = out->text.len, .bytes = SPAN_LIT("borrowed"), .fd = -1, .len = 8};
    imap_out_text(out, SPAN_LIT(" end"));
}

static void test_synchronising_literals(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "");
    make_two(&out);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    hear(&talk, "P1 RENAME {2}\r\n");
    say(&talk, "+ go\r\n");
    hear(&talk, "a\xff 7 {8}\r\n");
    say(&talk, "+\r\n");
    hear(&talk, "borrowed end\r\nP2 NOOP\r\n");
    say(&talk, "P1 OK\r\n");
    expect_told(&talk, "OK [] OK|;");
    talk_fini(&talk);
}

static void test_refused_before_a_literal(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "");
    make_two(&out);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    hear(&talk, "P1 RENAME {2}\r\n");
    say(&talk, "P1 NO [TRYCREATE] no\r\n");
    hear(&talk, "P2 NOOP\r\n");
    expect_told(&talk, "NO [TRYCREATE] NO [TRYCREATE] no|;");
    say(&talk, "+ late\r\n");
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
}

static void test_literal_plus_and_minus(void **state)
{
    struct talk talk;
    struct imap_out out;
    struct buf long_text;
    (void)state;
    talk_start(&talk, "LITERAL+");
    make_two(&out);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    hear(&talk, "P1 RENAME {2+}\r\na\xff 7 {8+}\r\nborrowed end\r\n");
    talk_fini(&talk);

    talk_start(&talk, "LITERAL-");
    make_two(&out);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    hear(&talk, "P1 RENAME {2+}\r\na\xff 7 {8+}\r\nborrowed end\r\n");
    buf_init(&long_text, 5000);
    while (long_text.len < 4097)
        assert_int_equal(buf_add_byte(&long_text, '\n'), ERR_OK);
    imap_out_init(&out);
    imap_out_astring(&out, span_skip(buf_span(&long_text), 1));
    imap_out_astring(&out, buf_span(&long_text));
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    peer_run(&talk.peer);
    assert_int_equal(talk.peer.received.len, 12 + 4096 + 8);
    assert_memory_equal(talk.peer.received.data, "P2 {4096+}\r\n\n", 13);
    assert_string_equal(talk.peer.received.data + 12 + 4096, "{4097}\r\n");
    buf_clear(&talk.peer.received);
    buf_fini(&long_text);
    talk_fini(&talk);
}

static void test_files_in_pieces(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "LITERAL+");
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("APPEND x "));
    imap_out_file(&out, make_file(2000000), 2000000);
    imap_out_text(&out, SPAN_LIT(" "));
    imap_out_file(&out, make_file(3), 3);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    /* Not all of it lies in the output. */
    assert_true(conn_output_len(imap_client_conn(talk.client)) < 400000);
    peer_run(&talk.peer);
    static const char head[] = "P1 APPEND x {2000000+}\r\n";
    static const char tail[] = " {3+}\r\nabc\r\n";
    const struct buf *received = &talk.peer.received;
    assert_int_equal(received->len, sizeof head - 1 + 2000000 + sizeof tail - 1);
    assert_memory_equal(received->data, head, sizeof head - 1);
    for (size_t i = 0; i < 2000000; i++)
        assert_int_equal(received->data[sizeof head - 1 + i], 'a' + i % 26);
    assert_string_equal(received->data + sizeof head - 1 + 2000000, tail);
    say(&talk, "P1 OK [APPENDUID 1 2] done\r\n");
    expect_told(&talk, "OK [APPENDUID 1 2] OK [APPENDUID 1 2] done|;");
    talk_fini(&talk);
}

static void test_file_too_short(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "LITERAL+");
    imap_out_init(&out);
    imap_out_file(&out, make_file(5), 6);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    expect_told(&talk, "close io;");
    talk_fini(&talk);
}

/* RFC 7888: what was announced must follow, even when the server has said NO already. */
static void test_refused_while_a_literal_goes(void **state)
{
    char bytes[65536];
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "LITERAL+");
    const int small = 65536;
    assert_int_equal(setsockopt(conn_fd(imap_client_conn(talk.client)), SOL_SOCKET, SO_SNDBUF, &small, sizeof small),
                     0);
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("APPEND x "));
    imap_out_file(&out, make_file(20000000), 20000000);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    assert_int_equal(send(talk.peer.fd, "P1 NO [LIMIT] no\r\n", 18, 0), 18);
    for (int i = 0; i < 20; i++)
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    assert_string_equal(talk.told.data, "");
    size_t total = 0;
    for (int quiet = 0; quiet < 1000; quiet++) {
        ssize_t got = recv(talk.peer.fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0) {
            total += (size_t)got;
            quiet = 0;
        }
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(total, 25 + 20000000 + 2);
    expect_told(&talk, "NO [LIMIT] NO [LIMIT] no|;");
    assert_int_equal(imap_client_open_len(talk.client), 0);
    talk_fini(&talk);
}

static void test_success_while_a_literal_goes_is_a_lie(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "LITERAL+");
    imap_out_init(&out);
    imap_out_file(&out, make_file(20000000), 20000000);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    assert_int_equal(send(talk.peer.fd, "P1 OK sure\r\n", 12, 0), 12);
    for (int i = 0; i < 20; i++)
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    assert_string_equal(talk.told.data, "close upstream-protocol;");
    talk_fini(&talk);
}

static void test_clients_command(void **state)
{
    struct talk talk;
    struct imap_out out;
    struct imap_command *command = calloc(1, sizeof *command);
    (void)state;
    assert_non_null(command);
    struct imap_unit *unit = &command->unit;
    imap_unit_init(unit, 1000, false);
    assert_int_equal(imap_unit_text(unit, SPAN_LIT("tag APPEND {1}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(unit, IMAP_LITERAL_HERE, 1, -1), ERR_OK);
    assert_int_equal(imap_unit_literal_bytes(unit, SPAN_LIT("x")), ERR_OK);
    assert_int_equal(imap_unit_text(unit, SPAN_LIT(" (\\Seen) UTF8 (~{70000+}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(unit, IMAP_LITERAL_FILE, 5, make_file(5)), ERR_OK);
    assert_int_equal(imap_unit_text(unit, SPAN_LIT(")\r\n")), ERR_OK);
    command->line = span_skip(buf_span(&unit->text), 4);
    talk_start(&talk, "LITERAL+");
    imap_out_init(&out);
    imap_out_command(&out, command);
    imap_command_free(&command);
    assert_int_equal(send_out(&talk, &out), ERR_OK);
    hear(&talk, "P1 APPEND {1+}\r\nx (\\Seen) UTF8 (~{5+}\r\nabcde)\r\n");
    talk_fini(&talk);
}

static void test_clients_command_whose_literal_has_gone(void **state)
{
    struct talk talk;
    struct imap_out out;
    struct imap_command *command = calloc(1, sizeof *command);
    (void)state;
    assert_non_null(command);
    imap_unit_init(&command->unit, 1000, false);
    assert_int_equal(imap_unit_text(&command->unit, SPAN_LIT("X {70000+}\r\n")), ERR_OK);
    assert_int_equal(imap_unit_literal(&command->unit, IMAP_LITERAL_GONE, 70000, -1), ERR_OK);
    assert_int_equal(imap_unit_text(&command->unit, SPAN_LIT("\r\n")), ERR_OK);
    command->line = buf_span(&command->unit.text);
    talk_start(&talk, "LITERAL+");
    imap_out_init(&out);
    imap_out_command(&out, command);
    imap_command_free(&command);
    assert_int_equal(send_out(&talk, &out), ERR_INTERNAL);
    hear(&talk, "");
    talk_fini(&talk);
}

static void test_idle(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "IDLE");
    assert_int_equal(imap_client_line(talk.client, "DONE"), ERR_SEQUENCE);
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("IDLE"));
    assert_int_equal(imap_client_send(talk.client, &out, on_more, on_reply, &talk), ERR_OK);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    hear(&talk, "P1 IDLE\r\n");
    say(&talk, "+ idling\r\n");
    expect_told(&talk, "more idling;");
    assert_int_equal(imap_client_line(talk.client, "DONE"), ERR_OK);
    hear(&talk, "DONE\r\n");
    say(&talk, "P1 OK idled\r\n");
    hear(&talk, "P2 NOOP\r\n");
    expect_told(&talk, "OK [] OK idled|;");
    say(&talk, "P2 OK\r\n");
    buf_clear(&talk.told);
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("IDLE"));
    assert_int_equal(imap_client_send(talk.client, &out, on_more, on_reply, &talk), ERR_OK);
    say(&talk, "+ idling\r\n+ again\r\n");
    expect_told(&talk, "more idling;close upstream-protocol;");
    talk_fini(&talk);
}

static void test_continuations_that_nobody_waits_for(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    say(&talk, "+ hm\r\n");
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);

    talk_start(&talk, "LITERAL+");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    say(&talk, "+ hm\r\n");
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
}

static void test_errors_while_writing(void **state)
{
    struct talk talk;
    struct imap_out out;
    (void)state;
    talk_start(&talk, "");
    imap_out_init(&out);
    for (int i = 0; i < 65; i++)
        imap_out_file(&out, make_file(1), 1);
    assert_int_equal(out.err, ERR_LIMIT);
    imap_out_text(&out, SPAN_LIT("x"));
    imap_out_addf(&out, "x");
    imap_out_astring(&out, SPAN_LIT("x"));
    assert_int_equal(out.text.len, 0);
    assert_int_equal(send_out(&talk, &out), ERR_LIMIT);
    hear(&talk, "");
    imap_out_fini(&out);
    talk_fini(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_at_once_in_any_order),
        cmocka_unit_test(test_unknown_tags),
        cmocka_unit_test(test_an_answer_twice),
        cmocka_unit_test(test_synchronising_literals),
        cmocka_unit_test(test_refused_before_a_literal),
        cmocka_unit_test(test_literal_plus_and_minus),
        cmocka_unit_test(test_files_in_pieces),
        cmocka_unit_test(test_file_too_short),
        cmocka_unit_test(test_refused_while_a_literal_goes),
        cmocka_unit_test(test_success_while_a_literal_goes_is_a_lie),
        cmocka_unit_test(test_clients_command),
        cmocka_unit_test(test_clients_command_whose_literal_has_gone),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_continuations_that_nobody_waits_for),
        cmocka_unit_test(test_errors_while_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
