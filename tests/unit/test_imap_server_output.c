/* Responses that the owner passes on in pieces: what is said in between waits; bytes are moved or lent. */
#include "imap_session.h"

#include <stdlib.h>

static void write_text(struct session *session, const char *text)
{
    imap_server_write(session->server, span_of(text));
}

static void move_text(struct session *session, const char *text)
{
    struct evbuffer *source = evbuffer_new();
    evbuffer_add(source, text, strlen(text));
    evbuffer_add(source, "rest", 4);
    imap_server_move(session->server, source, strlen(text));
    assert_int_equal(evbuffer_get_length(source), 4);
    evbuffer_free(source);
}

static void test_answers_wait_for_a_whole_response(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    write_text(&session, "* 1 FETCH (BODY[] {6}\r\n");
    session_talk(&session, "a CAPABILITY\r\nb NOOP\r\nc X\r\nd APPEND x {3}\r\n", "* 1 FETCH (BODY[] {6}\r\n");
    session_expect_told(&session, "command b NOOP (\r\n);literal d 3;");
    move_text(&session, "abc");
    peer_expect(&session.peer, "abc");
    move_text(&session, "def");
    peer_expect(&session.peer, "def");
    write_text(&session, " FLAGS ()");
    peer_expect(&session.peer, " FLAGS ()");
    assert_true(imap_server_output_len(session.server) > 0);
    write_text(&session, ")\r\n");
    peer_expect(&session.peer, ")\r\n* CAPABILITY " SESSION_SHOWN "\r\na OK Capability completed\r\nb OK done\r\n"
                               "c BAD [CLIENTBUG] Command not known here\r\n+ OK\r\n");
    assert_int_equal(imap_server_output_len(session.server), 0);
    session_fini(&session);
}

/* Each of these is a whole response, or is none. */
static void test_what_is_whole(void **state)
{
    static const struct {
        const char *pieces[4];
        bool is_half;
    } table[] = {{{"* 3 EXISTS\r\n"}, false},
                 {{"* 3 EXISTS\r\n* 4 EXISTS\r\n"}, false},
                 {{"* 3 EXI", "STS\r\n"}, false},
                 {{"* 3 EXI"}, true},
                 {{"* LIST () \"/\" {3}\r\n"}, true},
                 {{"* LIST () \"/\" {3}\r\n", "abc"}, true},
                 {{"* LIST () \"/\" {3}\r\n", "abc", "\r\n"}, false},
                 {{"* LIST () \"/\" {3}\r\nabc\r\n"}, false},
                 {{"* LIST () \"/\" {3}\r\nab", "c\r\n"}, false},
                 {{"* LIST () \"/\" {3}\r\nab", "c"}, true},
                 {{"* LIST () \"/\" {3}\r\n\r\n{", "\r\n"}, false},
                 {{"* LIST () \"/\" {5}\r\n{9}\r\n", "\r\n"}, false},
                 {{"* LIST () \"/\" {0}\r\n"}, true},
                 {{"* LIST () \"/\" {0}\r\n", "\r\n"}, false},
                 {{"* 1 FETCH (A {1}\r\nx B {2}\r\n"}, true},
                 {{"* 1 FETCH (A {1}\r\nx B {2}\r\n", "xy)", "\r\n"}, false},
                 {{"* 1 FETCH (A ~{1}\r\n"}, true},
                 {{"* OK done {3}\r\n"}, false},
                 {{"* no {3}\r\n* BAD {4}\r\n* BYE {5}\r\n"}, false},
                 {{"+ go {3}\r\n"}, false},
                 {{"a OK {3}\r\n"}, false},
                 {{"* OK do", "ne {3}\r\n", "abc\r\n"}, false},
                 {{"* LIST {x}\r\n"}, false}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct session session;
        session_init(&session);
        session_log_in(&session);
        for (int j = 0; j < 4 && table[i].pieces[j] != NULL; j++)
            write_text(&session, table[i].pieces[j]);
        session_send(&session, "a CAPABILITY\r\n");
        peer_run(&session.peer);
        bool is_held = strstr(session.peer.received.data, "a OK Capability") == NULL;
        if (is_held != table[i].is_half)
            print_error("%s\n", table[i].pieces[0]);
        assert_int_equal(is_held, table[i].is_half);
        session_fini(&session);
    }
}

static void test_too_much_is_held(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    write_text(&session, "* 1 FETCH (BODY[] {1000}\r\n");
    for (int i = 0; i < 2000 && session.server != NULL; i++)
        peer_send(&session.peer, SPAN_LIT("a CAPABILITY\r\n"));
    session_expect_told(&session, "close limit;");
    session_fini(&session);
}

static void release(void *context)
{
    (*(int *)context)++;
}

/* Within a literal BYE, or anything else, would be taken for its content. All that was said before goes out, however
   much it is. */
static void test_no_bye_within_a_response(void **state)
{
    static const char mark[] = "* 1 FETCH (BODY[] {9000000}\r\n";
    struct session session;
    char *bytes = malloc(3000000);
    int released = 0;
    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'x', 3000000);
    session_init(&session);
    session_log_in(&session);
    write_text(&session, mark);
    move_text(&session, "abc");
    imap_server_lend(session.server, (struct span){bytes, 3000000}, release, &released);
    imap_server_shutdown(session.server, ERR_UPSTREAM_LOST, NULL);
    write_text(&session, "* 4 EXISTS\r\n");
    imap_server_done(session.server, "a", IMAP_OK, NULL, "late");
    peer_run(&session.peer);
    assert_int_equal(session.peer.received.len, sizeof mark - 1 + 3 + 3000000);
    assert_memory_equal(session.peer.received.data + session.peer.received.len - 3000000, bytes, 3000000);
    session_expect_told(&session, "close upstream-lost;");
    assert_true(session.peer.is_eof);
    assert_int_equal(released, 1);
    session_fini(&session);
    free(bytes);
}

static void test_lend(void **state)
{
    struct session session;
    char *bytes = malloc(1000000);
    int released = 0;
    (void)state;
    assert_non_null(bytes);
    memset(bytes, 'x', 1000000);
    session_init(&session);
    session_log_in(&session);
    write_text(&session, "* 1 FETCH (BODY[] {1000000}\r\n");
    imap_server_lend(session.server, (struct span){bytes, 1000000}, release, &released);
    write_text(&session, ")\r\n");
    assert_int_equal(released, 0);
    assert_true(imap_server_output_len(session.server) > 1000000);
    unsigned drains = session.drains;
    peer_run(&session.peer);
    assert_int_equal(released, 1);
    assert_int_equal(session.drains, drains + 1);
    assert_int_equal(session.peer.received.len, 29 + 1000000 + 3);
    buf_clear(&session.peer.received);
    imap_server_lend(session.server, SPAN_LIT(""), release, &released);
    assert_int_equal(released, 2);
    /* Never sent, but given back. */
    imap_server_lend(session.server, (struct span){bytes, 1000000}, release, &released);
    imap_server_free(&session.server);
    peer_run(&session.peer);
    assert_int_equal(released, 3);
    session_fini(&session);

    session_init(&session);
    session_log_in(&session);
    imap_server_shutdown(session.server, ERR_SHUTDOWN, NULL);
    imap_server_lend(session.server, (struct span){bytes, 1000000}, release, &released);
    assert_int_equal(released, 4);
    move_text(&session, "gone");
    session_fini(&session);
    free(bytes);
}

/* Large pieces are moved, small ones may be copied; the order stays. */
static void test_move(void **state)
{
    struct session session;
    struct evbuffer *source = evbuffer_new();
    struct buf expected;
    (void)state;
    buf_init(&expected, 1 << 22);
    session_init(&session);
    session_log_in(&session);
    for (int i = 0; i < 100000; i++) {
        evbuffer_add_printf(source, "%d ", i);
        assert_int_equal(buf_addf(&expected, "%d ", i), ERR_OK);
    }
    for (size_t step = 1; evbuffer_get_length(source) > 0; step = step * 3 / 2 + 1) {
        size_t len = evbuffer_get_length(source);
        imap_server_move(session.server, source, step < len ? step : len);
    }
    peer_expect(&session.peer, expected.data);
    evbuffer_free(source);
    buf_fini(&expected);
    session_fini(&session);
}

static void test_done_forms(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    imap_server_done(session.server, "a", IMAP_OK, NULL, NULL);
    imap_server_done(session.server, "a", IMAP_NO, "TRYCREATE", "no such mailbox");
    imap_server_done(session.server, "a", IMAP_BAD, NULL, "what?");
    imap_server_fail(session.server, "a", ERR_TOO_BIG);
    imap_server_fail(session.server, "a", ERR_COMMAND_SYNTAX);
    imap_server_fail(session.server, "a", ERR_AUTH_CANCELLED);
    imap_server_fail(session.server, "a", ERR_STORE);
    imap_server_done_line(session.server, "a", SPAN_LIT("ok [X] y\r\n"));
    peer_expect(&session.peer, "a OK Done\r\na NO [TRYCREATE] no such mailbox\r\na BAD what?\r\n"
                               "a NO [TOOBIG] Message too big\r\na BAD [CLIENTBUG] Syntax error in the command\r\n"
                               "a BAD Authentication cancelled\r\n"
                               "a NO [UNAVAILABLE] The local store failed, try again later\r\na ok [X] y\r\n");
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_wait_for_a_whole_response),
        cmocka_unit_test(test_what_is_whole),
        cmocka_unit_test(test_no_bye_within_a_response),
        cmocka_unit_test(test_too_much_is_held),
        cmocka_unit_test(test_lend),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_done_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
