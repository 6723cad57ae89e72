/* Verbs and states, IDLE, the order of answers, life and end of a session. Login:
   test_imap_server_login.c; literals and TLS: test_imap_server_input.c; responses in pieces:
   test_imap_server_output.c. */
#include "imap_session.h"

#define BAD_UNKNOWN "BAD [CLIENTBUG] Command not known here\r\n"
#define BAD_SEQUENCE "BAD [CLIENTBUG] Command not allowed at this point\r\n"
#define BAD_SYNTAX "BAD [CLIENTBUG] Syntax error in the command\r\n"
#define BAD_PARAMETER "BAD [CLIENTBUG] Syntax error in a parameter\r\n"

static void test_greets_when_told(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_connect(&session);
    session_talk(&session, "a NOOP\r\n", "");
    imap_server_greet(session.server, 1u << SASL_PLAIN);
    peer_expect(&session.peer, "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN] privyseal ready\r\n"
                               "a OK NOOP completed\r\n");
    session_talk(&session, "b CAPABILITY\r\n",
                 "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN\r\nb OK Capability completed\r\n");
    session_talk(&session, "c logout\r\n", "* BYE Logging out\r\nc OK Logout completed\r\n");
    session_expect_told(&session, "logout;close end;");
    assert_true(session.peer.is_eof);
    session_fini(&session);
}

static void test_capability_after_login(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "b CAPABILITY\r\n", "* CAPABILITY " SESSION_SHOWN "\r\nb OK Capability completed\r\n");
    session_fini(&session);
}

static void test_own_commands(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "a ID NIL\r\n", "* ID (\"name\" \"privyseal\")\r\na OK ID completed\r\n");
    session_talk(&session, "a id (\"name\" \"x\" \"y\" NIL)\r\n",
                 "* ID (\"name\" \"privyseal\")\r\na OK ID completed\r\n");
    session_talk(&session, "a ID (\"name\" {3+}\r\na\"b)\r\n",
                 "* ID (\"name\" \"privyseal\")\r\na OK ID completed\r\n");
    session_talk(&session, "a ID\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a ID NIL NIL\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a ID (\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a NOOP x\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a CAPABILITY x\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a STARTTLS\r\n", "a " BAD_UNKNOWN);
    session_expect_told(&session, "");
    session_fini(&session);
}

/* Before login, after it, and with a mailbox. 0: unknown or hidden, 1: not at this point, 2: answered here, 3: the
   owner's. */
static const struct {
    const char *line;
    int result[3];
} table[] = {{"CAPABILITY", {2, 2, 2}},
             {"NOOP", {2, 3, 3}},
             {"ID NIL", {2, 2, 2}},
             {"LOGIN a b", {3, 1, 1}},
             {"AUTHENTICATE PLAIN YQ==", {3, 1, 1}},
             {"STARTTLS", {0, 1, 1}},
             {"COMPRESS GZIP", {1, 2, 2}},
             {"ENABLE CONDSTORE", {1, 3, 3}},
             {"SELECT x", {1, 3, 3}},
             {"EXAMINE x", {1, 3, 3}},
             {"CREATE x", {1, 3, 3}},
             {"DELETE x", {1, 3, 3}},
             {"RENAME x y", {1, 3, 3}},
             {"SUBSCRIBE x", {1, 3, 3}},
             {"UNSUBSCRIBE x", {1, 3, 3}},
             {"LIST \"\" *", {1, 3, 3}},
             {"LSUB \"\" *", {1, 3, 3}},
             {"STATUS x (MESSAGES)", {1, 3, 3}},
             {"APPEND x", {1, 3, 3}},
             {"XLIST \"\" *", {1, 0, 0}},
             {"NAMESPACE", {1, 0, 0}},
             {"GETACL x", {1, 0, 0}},
             {"SETACL x y z", {1, 0, 0}},
             {"DELETEACL x y", {1, 0, 0}},
             {"LISTRIGHTS x y", {1, 0, 0}},
             {"MYRIGHTS x", {1, 0, 0}},
             {"GETMETADATA x y", {1, 0, 0}},
             {"SETMETADATA x y", {1, 0, 0}},
             {"GETQUOTA x", {1, 0, 0}},
             {"GETQUOTAROOT x", {1, 0, 0}},
             {"SETQUOTA x ()", {1, 0, 0}},
             {"CHECK", {1, 1, 3}},
             {"CLOSE", {1, 1, 3}},
             {"UNSELECT", {1, 1, 3}},
             {"EXPUNGE", {1, 1, 3}},
             {"SEARCH ALL", {1, 1, 3}},
             {"FETCH 1 UID", {1, 1, 3}},
             {"STORE 1 FLAGS ()", {1, 1, 3}},
             {"COPY 1 x", {1, 1, 3}},
             {"MOVE 1 x", {1, 1, 3}},
             {"UID EXPUNGE 1", {1, 1, 3}},
             {"UID SEARCH ALL", {1, 1, 3}},
             {"uid fetch 1 UID", {1, 1, 3}},
             {"UID STORE 1 FLAGS ()", {1, 1, 3}},
             {"UID COPY 1 x", {1, 1, 3}},
             {"UID MOVE 1 x", {1, 1, 3}},
             {"SORT (DATE) UTF-8 ALL", {0, 0, 0}},
             {"UID SORT (DATE) UTF-8 ALL", {0, 0, 0}},
             {"THREAD REFERENCES UTF-8 ALL", {0, 0, 0}},
             {"UID", {0, 0, 0}},
             {"UID SELECT x", {0, 0, 0}},
             {"REPLACE 1 x", {0, 0, 0}},
             {"NOTIFY NONE", {0, 0, 0}},
             {"ESEARCH x", {0, 0, 0}},
             {"UNAUTHENTICATE", {0, 0, 0}},
             {"", {0, 0, 0}},
             {" SELECT x", {0, 0, 0}},
             {"SELECTX", {0, 0, 0}}};

static void test_every_command_in_every_state(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int stage = 0; stage < 3; stage++) {
            struct session session;
            char line[100];
            session_init(&session);
            stage == 0 ? session_start(&session) : stage == 1 ? session_log_in(&session) : session_select(&session);
            snprintf(line, sizeof line, "t %s\r\n", table[i].line);
            session_send(&session, line);
            peer_run(&session.peer);
            const char *answer = session.peer.received.data;
            int result = strcmp(answer, "t " BAD_UNKNOWN) == 0    ? 0
                         : strcmp(answer, "t " BAD_SEQUENCE) == 0 ? 1
                         : session.told.len > 0                   ? 3
                                                                  : 2;
            if (result != table[i].result[stage])
                print_error("%s in state %d: %s", table[i].line, stage, answer);
            assert_int_equal(result, table[i].result[stage]);
            assert_true(session.peer.received.len > 0);
            session_fini(&session);
        }
    }
}

static void test_hidden_until_shown(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "a NAMESPACE\r\n", "a " BAD_UNKNOWN);
    imap_server_set_capabilities(session.server, SPAN_LIT("IMAP4rev1 NAMESPACE"));
    session_talk(&session, "a NAMESPACE\r\n", "a OK done\r\n");
    session_talk(&session, "a IDLE\r\n", "a " BAD_UNKNOWN);
    session_fini(&session);
}

/* More than the client may be shown ends with a whole word. */
static void test_too_many_capabilities(void **state)
{
    struct buf words;
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    buf_init(&words, 10000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_addf(&words, "QUOTA%d ", i), ERR_OK);
    imap_server_set_capabilities(session.server, buf_span(&words));
    session_send(&session, "a CAPABILITY\r\n");
    peer_run(&session.peer);
    const char *last = strstr(session.peer.received.data, "\r\n") - 9;
    assert_string_equal(last, " QUOTA466\r\na OK Capability completed\r\n");
    buf_clear(&session.peer.received);
    buf_fini(&words);
    session_fini(&session);
}

static void test_arguments_and_line(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    session_send(&session, "A1 Uid  fetch 1\r\n");
    peer_expect(&session.peer, "A1 " BAD_UNKNOWN);
    session_send(&session, "A2 uid Fetch 1:* (FLAGS)\r\nA3 CHECK\r\nA4 CHECK \r\n");
    session_expect_told(&session, "command A2 uid Fetch 1:* (FLAGS) (1:* (FLAGS)\r\n);command A3 CHECK (\r\n);"
                                  "command A4 CHECK  (\r\n);");
    peer_expect(&session.peer, "A2 OK done\r\nA3 OK done\r\nA4 OK done\r\n");
    session_fini(&session);
}

static void test_tags(void **state)
{
    char line[200];
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "\r\n", "* " BAD_SYNTAX);
    session_talk(&session, " NOOP\r\n", "* " BAD_SYNTAX);
    session_talk(&session, "+ NOOP\r\n", "* " BAD_SYNTAX);
    session_talk(&session, "* NOOP\r\n", "* " BAD_SYNTAX);
    session_talk(&session, "a\"b NOOP\r\n", "* " BAD_SYNTAX);
    session_talk(&session, "a\xc3\xa4 NOOP\r\n", "* " BAD_SYNTAX);
    session_talk(&session, "a]b.-1 NOOP\r\n", "a]b.-1 OK NOOP completed\r\n");
    session_talk(&session, "a\r\n", "a " BAD_UNKNOWN);
    memset(line, 'a', sizeof line);
    memcpy(line + IMAP_TAG_MAX, " NOOP\r\n", 8);
    session_send(&session, line);
    peer_run(&session.peer);
    assert_non_null(strstr(session.peer.received.data, " OK NOOP completed\r\n"));
    buf_clear(&session.peer.received);
    memset(line, 'a', sizeof line);
    memcpy(line + IMAP_TAG_MAX + 1, " NOOP\r\n", 8);
    session_talk(&session, line, "* " BAD_SYNTAX);
    session_fini(&session);
}

static void test_answers_in_order(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    session.is_deferring = true;
    /* What is answered here waits for the owner, and what is legal goes on to it. */
    session_talk(&session, "a FETCH 1 UID\r\nb FETCH 2 UID\r\nc CAPABILITY\r\nd NOOP\r\n", "");
    session_expect_told(&session, "command a FETCH 1 UID (1 UID\r\n);command b FETCH 2 UID (2 UID\r\n);");
    imap_server_done(session.server, "b", IMAP_OK, NULL, "two");
    peer_expect(&session.peer, "b OK two\r\n");
    imap_server_done(session.server, "a", IMAP_NO, "CANNOT", "one");
    peer_expect(&session.peer, "a NO [CANNOT] one\r\n* CAPABILITY " SESSION_SHOWN "\r\nc OK Capability completed\r\n");
    session_expect_told(&session, "command d NOOP (\r\n);");
    session_talk(&session, "e NONSENSE\r\n", "");
    session.is_deferring = false;
    imap_server_fail(session.server, "d", ERR_KEY_LOCKED);
    peer_expect(&session.peer, "d NO [UNAVAILABLE] The key is locked, unlock it and try again\r\ne " BAD_UNKNOWN);
    session_fini(&session);
}

/* A command that is not legal yet may be so once the one before is done. */
static void test_pipelined_select(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session.is_deferring = true;
    session_talk(&session, "a SELECT x\r\nb FETCH 1 UID\r\n", "");
    session_expect_told(&session, "command a SELECT x (x\r\n);");
    imap_server_set_state(session.server, IMAP_STATE_SELECTED);
    imap_server_done(session.server, "a", IMAP_OK, "READ-WRITE", "selected");
    peer_expect(&session.peer, "a OK [READ-WRITE] selected\r\n");
    session_expect_told(&session, "command b FETCH 1 UID (1 UID\r\n);");
    imap_server_done(session.server, "b", IMAP_OK, NULL, NULL);
    peer_expect(&session.peer, "b OK Done\r\n");
    session_fini(&session);
}

static void test_pause(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    imap_server_pause(session.server);
    session_talk(&session, "a NOOP\r\n", "");
    imap_server_resume(session.server);
    peer_expect(&session.peer, "a OK done\r\n");
    session_fini(&session);
}

static void test_idle(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    session_talk(&session, "a IDLE\r\n", "+ idling\r\n");
    imap_server_write(session.server, SPAN_LIT("* 3 EXISTS\r\n"));
    peer_expect(&session.peer, "* 3 EXISTS\r\n");
    session_talk(&session, "done\r\nb NOOP\r\n", "a OK idled\r\nb OK done\r\n");
    session_expect_told(&session, "command a IDLE (\r\n);done;command b NOOP (\r\n);");
    /* Something else ends it, too, but is no DONE. */
    session_talk(&session, "a IDLE\r\n", "+ idling\r\n");
    session_talk(&session, "b NOOP\r\n", "a " BAD_SYNTAX);
    session_expect_told(&session, "command a IDLE (\r\n);done;");
    session_talk(&session, "a NOOP\r\n", "a OK done\r\n");
    /* Pipelined by a client that does not wait. */
    session_talk(&session, "c IDLE\r\nDONE\r\nd NOOP\r\n", "+ idling\r\nc OK idled\r\nd OK done\r\n");
    session_fini(&session);
}

static void test_too_many_bad_commands(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 19; i++)
            session_talk(&session, "a X\r\n", "a " BAD_UNKNOWN);
        session_talk(&session, "a NOOP\r\n", "a OK done\r\n");
    }
    for (int i = 0; i < 19; i++)
        session_talk(&session, "a X\r\n", "a " BAD_UNKNOWN);
    buf_clear(&session.told);
    session_talk(&session, "a X\r\nb NOOP\r\n", "a " BAD_UNKNOWN "* BYE [UNAVAILABLE] Too many invalid commands\r\n");
    session_expect_told(&session, "close busy;");
    session_fini(&session);
}

static void test_owners_bad_counts(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_select(&session);
    session.is_deferring = true;
    for (int i = 0; i < 20; i++) {
        session_send(&session, "a FETCH\r\n");
        assert_non_null(session.server);
        session.open_len = 0;
        imap_server_fail(session.server, "a", ERR_COMMAND_SYNTAX);
    }
    peer_run(&session.peer);
    assert_null(session.server);
    assert_non_null(strstr(session.peer.received.data, "* BYE "));
    session_fini(&session);
}

static void test_shutdown(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    imap_server_shutdown(session.server, ERR_UPSTREAM_LOST, NULL);
    imap_server_write(session.server, SPAN_LIT("* too late\r\n"));
    imap_server_done(session.server, "a", IMAP_OK, NULL, "too late");
    imap_server_fail(session.server, "a", ERR_BUSY);
    imap_server_done_line(session.server, "a", SPAN_LIT("OK too late\r\n"));
    peer_expect(&session.peer, "* BYE [UNAVAILABLE] The connection to the mail server was lost\r\n");
    session_expect_told(&session, "close upstream-lost;");
    assert_true(session.peer.is_eof);
    session_fini(&session);

    session_init(&session);
    session_start(&session);
    imap_server_shutdown(session.server, ERR_SHUTDOWN, "Good night");
    peer_expect(&session.peer, "* BYE [UNAVAILABLE] Good night\r\n");
    session_fini(&session);
}

static void test_timeouts(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.login_timeout_ms = 30;
    session_start(&session);
    for (int i = 0; i < 20 && session.server != NULL; i++) {
        session_send(&session, "a NOOP\r\n"); /* buys no time */
        usleep(5000);
    }
    peer_run(&session.peer);
    assert_null(session.server);
    assert_non_null(strstr(session.peer.received.data, "* BYE [UNAVAILABLE] Disconnected for inactivity\r\n"));
    session_expect_told(&session, "close timeout;");
    session_fini(&session);

    session_init(&session);
    session.options.command_timeout_ms = 500;
    session_log_in(&session);
    for (int i = 0; i < 10; i++) {
        session_talk(&session, "a NOOP\r\n", "a OK done\r\n");
        usleep(60000);
    }
    assert_non_null(session.server);
    /* While the owner works the client is not late. */
    session.is_deferring = true;
    session_send(&session, "a NOOP\r\n");
    usleep(600000);
    peer_run(&session.peer);
    assert_non_null(session.server);
    imap_server_done(session.server, "a", IMAP_OK, NULL, "at last");
    peer_expect(&session.peer, "a OK at last\r\n");
    usleep(600000);
    peer_expect(&session.peer, "* BYE [UNAVAILABLE] Disconnected for inactivity\r\n");
    session_fini(&session);
}

/* A long literal that comes on steadily is no silence. */
static void test_steady_literal(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 500;
    session_log_in(&session);
    session_talk(&session, "a APPEND x {100}\r\n", "+ OK\r\n");
    for (int i = 0; i < 10; i++) {
        session_send(&session, "0123456789");
        usleep(60000);
    }
    session_talk(&session, "\r\n", "a OK done\r\n");
    session_fini(&session);
}

static void test_client_goes(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    peer_close(&session.peer);
    peer_run(&session.peer);
    session_expect_told(&session, "close end;");
    session_fini(&session);
}

static void test_free_in_handler(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session.frees_in_handler = true;
    session_talk(&session, "a NOOP\r\nb NOOP\r\n", "");
    session_expect_told(&session, "command a NOOP (\r\n);");
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greets_when_told),
        cmocka_unit_test(test_capability_after_login),
        cmocka_unit_test(test_own_commands),
        cmocka_unit_test(test_every_command_in_every_state),
        cmocka_unit_test(test_hidden_until_shown),
        cmocka_unit_test(test_too_many_capabilities),
        cmocka_unit_test(test_arguments_and_line),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_answers_in_order),
        cmocka_unit_test(test_pipelined_select),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_too_many_bad_commands),
        cmocka_unit_test(test_owners_bad_counts),
        cmocka_unit_test(test_shutdown),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_steady_literal),
        cmocka_unit_test(test_client_goes),
        cmocka_unit_test(test_free_in_handler),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
