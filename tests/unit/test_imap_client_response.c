/* What the server says: heads, kept and streamed responses, literals of all sizes, lies and floods. */
#include "imap_talk.h"

static void test_heads(void **state)
{
    static const struct {
        const char *line;
        const char *told; /* by on_head */
    } table[] = {{"* 3 EXISTS\r\n", "exists 3 EXISTS"},
                 {"* 0 recent\r\n", "recent 0 recent"},
                 {"* 4294967295 EXPUNGE\r\n", "expunge 4294967295 EXPUNGE"},
                 {"* 7 FETCH (UID 9)\r\n", "fetch 7 FETCH"},
                 {"* LIST () \"/\" x\r\n", "other 0 LIST"},
                 {"* SEARCH\r\n", "other 0 SEARCH"},
                 {"* 5 ODD thing\r\n", "other 5 ODD"},
                 {"* FETCH 1 (UID 2)\r\n", "other 0 FETCH"},
                 {"* OK [UIDNEXT 5] next {3}\r\n", "status 0 OK"},
                 {"* no really\r\n", "status 0 no"},
                 {"* BAD\r\n", "status 0 BAD"},
                 {"* VANISHED (EARLIER) 1:3\r\n", "other 0 VANISHED"},
                 {"* 1 OK\r\n", "other 1 OK"}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char expected[300], line[100];
        struct talk talk;
        talk_start(&talk, "");
        say(&talk, table[i].line);
        snprintf(line, sizeof line, "%.*s", (int)strlen(table[i].line) - 2, table[i].line);
        const char *word = strrchr(table[i].told, ' ') + 1;
        snprintf(expected, sizeof expected, "%s:%s|;response %s %s|;", table[i].told, line, word, line);
        expect_told(&talk, expected);
        talk_fini(&talk);
    }
}

static void test_malformed(void **state)
{
    static const char *const lines[] = {"*\r\n",
                                        "* \r\n",
                                        "*3 EXISTS\r\n",
                                        "* 0 FETCH (UID 1)\r\n",
                                        "* 1 FETCH\r\n",
                                        "* 1 FETCH UID 1\r\n",
                                        "* 0 EXPUNGE\r\n",
                                        "* 3\r\n",
                                        "* 3x\r\n",
                                        "*  LIST\r\n",
                                        "* (LIST)\r\n",
                                        "* 4294967296 FETCH (UID 1)\r\n",
                                        "* PREAUTH again\r\n",
                                        "* 3 EXISTS\n",
                                        "* OK \r x\r\n",
                                        "* LIST () \"/\" {99999999999999999999}\r\n",
                                        "hello\r\n",
                                        "\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct talk talk;
        talk_start(&talk, "");
        say(&talk, lines[i]);
        peer_run(&talk.peer);
        if (strcmp(talk.told.data, "close upstream-protocol;") != 0)
            print_error("%s: %s\n", lines[i], talk.told.data);
        expect_told(&talk, "close upstream-protocol;");
        talk_fini(&talk);
    }
}

static void test_kept(void **state)
{
    struct talk talk;
    (void)state;
    talk_start_logged_in(&talk);
    say(&talk, "* LIST () \"/\" {3}\r\na b {0}\r\n\r\n* 1 FETCH (BODY[] {65537}\r\n");
    say_many(&talk, 'm', 65537);
    say(&talk, " X {2}\r\nhi BODY[1] {100000}\r\n");
    say_many(&talk, 'n', 100000);
    say(&talk, ")\r\n* 4 EXISTS\r\n");
    expect_told(&talk, "other 0 LIST:* LIST () \"/\" {3}|;response LIST * LIST () \"/\" {3}|a b {0}|| here 3 here 0;"
                       "fetch 1 FETCH:* 1 FETCH (BODY[] {65537}|;"
                       "response FETCH * 1 FETCH (BODY[] {65537}| X {2}|hi BODY[1] {100000}|)| file 65537 mm here 2 "
                       "file 100000 nn;"
                       "exists 4 EXISTS:* 4 EXISTS|;response EXISTS * 4 EXISTS|;");
    talk_fini(&talk);
}

static void test_streamed(void **state)
{
    struct talk talk;
    (void)state;
    talk_start_logged_in(&talk);
    talk.is_streaming = true;
    say(&talk, "* 1 FETCH (BODY[] {2000000}\r\n");
    say_many(&talk, 'm', 2000000);
    say(&talk, " X {2}\r\nhi)\r\n* 4 EXISTS\r\n");
    expect_told(&talk,
                "fetch 1 FETCH:* 1 FETCH (BODY[] {2000000}|;text * 1 FETCH (BODY[] {2000000}|2000000;"
                "text  X {2}|2;text )|0;response FETCH * 1 FETCH (BODY[] {2000000}| X {2}|)| gone 2000000 gone 2;"
                "exists 4 EXISTS:* 4 EXISTS|;text * 4 EXISTS|0;response EXISTS * 4 EXISTS|;");
    assert_int_equal(talk.streamed, 2000002);
    /* What the owner leaves is not read as text. */
    talk.leaves_literals = true;
    say(&talk, "* 1 FETCH (BODY[] {14}\r\n* 9 EXPUNGE\r\nx)\r\n");
    expect_told(&talk, "fetch 1 FETCH:* 1 FETCH (BODY[] {14}|;text * 1 FETCH (BODY[] {14}|14;text )|0;"
                       "response FETCH * 1 FETCH (BODY[] {14}|)| gone 14;");
    talk_fini(&talk);
}

/* A message that is longer than what may be kept does not end the session. */
static void test_too_long_to_keep(void **state)
{
    struct talk talk;
    (void)state;
    talk_start_logged_in(&talk);
    say(&talk, "* 1 FETCH (BODY[] {1000001}\r\n");
    say_many(&talk, 'm', 1000001);
    say(&talk, ")\r\n* 4 EXISTS\r\n");
    expect_told(&talk, "fetch 1 FETCH:* 1 FETCH (BODY[] {1000001}|;response FETCH * 1 FETCH (BODY[] {1000001}|)| gone "
                       "1000001;exists 4 EXISTS:* 4 EXISTS|;response EXISTS * 4 EXISTS|;");
    /* But nothing else is that long. */
    say(&talk, "* LIST () \"/\" {1048577}\r\n");
    expect_told(&talk, "other 0 LIST:* LIST () \"/\" {1048577}|;close upstream-protocol;");
    talk_fini(&talk);
}

static void test_text_too_long(void **state)
{
    struct talk talk;
    (void)state;
    talk_start_logged_in(&talk);
    say(&talk, "* SEARCH");
    say_many(&talk, ' ', 299990);
    say(&talk, "\r\n");
    peer_run(&talk.peer);
    assert_non_null(strstr(talk.told.data, "response SEARCH long;"));
    buf_clear(&talk.told);
    say(&talk, "* SEARCH");
    say_many(&talk, ' ', 300000 - 8);
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);

    /* All fragments of a response together. */
    talk_start_logged_in(&talk);
    talk.is_streaming = true;
    say(&talk, "* 1 FETCH (X {1}\r\nx");
    for (int i = 0; i < 3; i++) {
        say_many(&talk, ' ', 99990);
        say(&talk, "{1}\r\nx");
    }
    peer_run(&talk.peer);
    assert_non_null(strstr(talk.told.data, "close upstream-protocol;"));
    talk_fini(&talk);
}

/* A mail can make a server send hundreds of literals. */
static void test_many_literals(void **state)
{
    struct talk talk;
    struct buf response;
    (void)state;
    talk_start(&talk, "");
    buf_init(&response, 1 << 20);
    assert_int_equal(buf_add_string(&response, "* 1 FETCH (ENVELOPE ("), ERR_OK);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(buf_add_string(&response, "{1}\r\n\" "), ERR_OK);
    assert_int_equal(buf_add_string(&response, "))\r\n"), ERR_OK);
    peer_send(&talk.peer, buf_span(&response));
    peer_run(&talk.peer);
    assert_non_null(strstr(talk.told.data, "response FETCH long here 1 here 1"));
    buf_fini(&response);
    talk_fini(&talk);
}

static void test_in_pieces_of_any_size(void **state)
{
    static const char said[] =
        "* 1 FETCH (BODY[] {5}\r\na\r\nb) UID {0}\r\n)\r\n* OK [X] {3}\r\nP1 OK {3}\r\n* 2 EXISTS\r\n";
    (void)state;
    for (size_t step = 1; step < sizeof said; step++) {
        for (int is_streaming = 0; is_streaming < 2; is_streaming++) {
            struct talk talk;
            talk_start(&talk, "");
            talk.is_streaming = is_streaming == 1;
            assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
            for (size_t at = 0; at < sizeof said - 1; at += step)
                peer_send(&talk.peer, span_slice(SPAN_LIT(said), at, at + step));
            expect_told(&talk,
                        is_streaming == 0
                            ? "fetch 1 FETCH:* 1 FETCH (BODY[] {5}|;"
                              "response FETCH * 1 FETCH (BODY[] {5}|a|b) UID {0}|)| here 5 here 0;"
                              "status 0 OK:* OK [X] {3}|;response OK * OK [X] {3}|;OK [] OK {3}|;"
                              "exists 2 EXISTS:* 2 EXISTS|;response EXISTS * 2 EXISTS|;"
                            : "fetch 1 FETCH:* 1 FETCH (BODY[] {5}|;text * 1 FETCH (BODY[] {5}|5;text  UID {0}|0;"
                              "text )|0;response FETCH * 1 FETCH (BODY[] {5}| UID {0}|)| gone 5 gone 0;"
                              "status 0 OK:* OK [X] {3}|;text * OK [X] {3}|0;response OK * OK [X] {3}|;OK [] OK {3}|;"
                              "exists 2 EXISTS:* 2 EXISTS|;text * 2 EXISTS|0;response EXISTS * 2 EXISTS|;");
            talk_fini(&talk);
        }
    }
}

static void test_cut_inside_a_literal(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    say(&talk, "* 1 FETCH (BODY[] {100000}\r\nhalf");
    peer_close(&talk.peer);
    expect_told(&talk, "fetch 1 FETCH:* 1 FETCH (BODY[] {100000}|;close upstream-lost;");
    talk_fini(&talk);
}

static void test_pause(void **state)
{
    struct talk talk;
    char bytes[65536];
    (void)state;
    talk_start_logged_in(&talk);
    talk.is_streaming = true;
    say(&talk, "* 1 FETCH (BODY[] {100000000}\r\n");
    buf_clear(&talk.told);
    imap_client_pause(talk.client);
    memset(bytes, 'x', sizeof bytes);
    size_t total = 0;
    for (int i = 0; i < 1000; i++) {
        ssize_t sent = send(talk.peer.fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        total += sent > 0 ? (size_t)sent : 0;
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    }
    /* What the kernel holds is not ours; we have taken next to nothing. */
    assert_true(evbuffer_get_length(conn_input(imap_client_conn(talk.client))) < 300000);
    assert_int_equal(talk.streamed, 0);
    imap_client_resume(talk.client);
    for (int i = 0; i < 1000 && talk.streamed < total; i++)
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    assert_int_equal(talk.streamed, total);
    talk_fini(&talk);
}

/* The owner may pause between two responses that came together. */
static bool pausing_head(struct imap_client *client, const struct imap_head *head, void *owner)
{
    note(owner, "head %u;", head->number);
    imap_client_pause(client);
    return false;
}

static void test_pause_from_within(void **state)
{
    static struct imap_client_handlers pausing;
    struct talk talk;
    (void)state;
    pausing = handlers;
    pausing.on_head = pausing_head;
    talk_init(&talk, IMAP_CLEAR);
    talk.options.handlers = &pausing;
    talk_connect(&talk);
    say(&talk, "* OK [CAPABILITY IMAP4rev1] there\r\n* 1 EXISTS\r\n* 2 EXISTS\r\n");
    expect_told(&talk, "ready;head 1;response EXISTS * 1 EXISTS|;");
    imap_client_resume(talk.client);
    expect_told(&talk, "head 2;response EXISTS * 2 EXISTS|;");
    talk_fini(&talk);
}

/* Without on_head everything is kept. */
static void test_no_head_handler(void **state)
{
    static struct imap_client_handlers keeping;
    struct talk talk;
    (void)state;
    keeping = handlers;
    keeping.on_head = NULL;
    talk_init(&talk, IMAP_CLEAR);
    talk.options.handlers = &keeping;
    talk_connect(&talk);
    say(&talk, "* OK [CAPABILITY IMAP4rev1] there\r\n* 1 EXISTS\r\n");
    expect_told(&talk, "ready;response EXISTS * 1 EXISTS|;");
    talk_fini(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_streamed),
        cmocka_unit_test(test_too_long_to_keep),
        cmocka_unit_test(test_text_too_long),
        cmocka_unit_test(test_many_literals),
        cmocka_unit_test(test_in_pieces_of_any_size),
        cmocka_unit_test(test_cut_inside_a_literal),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_pause_from_within),
        cmocka_unit_test(test_no_head_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
