/* LOGIN and AUTHENTICATE as a client says them, before an owner that knows one password. */
#include "imap_session.h"

#define BAD_SYNTAX "BAD [CLIENTBUG] Syntax error in the command\r\n"
#define BAD_PARAMETER "BAD [CLIENTBUG] Syntax error in a parameter\r\n"
#define BAD_SEQUENCE "BAD [CLIENTBUG] Command not allowed at this point\r\n"

static void test_login(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "a LOGIN me wrong\r\n", "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
    session_talk(&session, "a LOGIN me\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a LOGIN me good more\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a LOGIN me \"unfinished\r\n", "a " BAD_PARAMETER);
    session_expect_told(&session, "login a me wrong;");
    session_talk(&session, "a LOGIN \"m\\\"e\" \"good\"\r\n", "a OK in\r\n");
    session_expect_told(&session, "login a m\"e good;");
    assert_int_equal(imap_server_get_state(session.server), IMAP_STATE_AUTHENTICATED);
    session_talk(&session, "a LOGIN me good\r\n", "a " BAD_SEQUENCE);
    session_fini(&session);
}

static void test_login_with_literals(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "a LOGIN {2}\r\n", "+ OK\r\n");
    session_talk(&session, "me {4}\r\n", "+ OK\r\n");
    session_talk(&session, "good\r\n", "a OK in\r\n");
    session_expect_told(&session, "login a me good;");
    session_fini(&session);

    session_init(&session);
    session_start(&session);
    session_talk(&session, "a LOGIN {2+}\r\nme {4-}\r\ngood\r\nb NOOP\r\n", "a OK in\r\nb OK done\r\n");
    session_fini(&session);

    /* A password of this size is none. */
    session_init(&session);
    session_start(&session);
    session_talk(&session, "a LOGIN me {8193}\r\n", "a NO [TOOBIG] Message too big\r\n");
    session_talk(&session, "a LOGIN me ~{4}\r\n", "a " BAD_SYNTAX);
    session_talk(&session, "a LOGIN me good\r\n", "a OK in\r\n");
    session_fini(&session);
}

static void test_nothing_goes_on_before_login_is_answered(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session.is_deferring = true;
    session_talk(&session, "a LOGIN me good\r\nb SELECT x\r\n", "");
    session_expect_told(&session, "login a me good;");
    session.is_deferring = false;
    imap_server_set_capabilities(session.server, SPAN_LIT(SESSION_SHOWN));
    imap_server_done_line(session.server, "a", SPAN_LIT("OK [CAPABILITY X] welcome\r\n"));
    peer_expect(&session.peer, "a OK [CAPABILITY X] welcome\r\nb OK done\r\n");
    session_fini(&session);
}

static void test_authenticate(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "a AUTHENTICATE CRAM-MD5\r\n", "a NO [CANNOT] Authentication mechanism not offered\r\n");
    session_talk(&session, "a AUTHENTICATE NONSENSE\r\n", "a NO [CANNOT] Authentication mechanism not offered\r\n");
    session_talk(&session, "a AUTHENTICATE PLAIN !!!\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a AUTHENTICATE PLAIN YQ== YQ==\r\n", "a " BAD_PARAMETER);
    session_talk(&session, "a AUTHENTICATE\r\n", "a " BAD_PARAMETER);
    session_expect_told(&session, "");
    session_talk(&session, "a AUTHENTICATE PLAIN =\r\n", "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
    session_expect_told(&session, "auth a PLAIN =;");
    session_talk(&session, "a AUTHENTICATE LOGIN\r\n", "+ V2hvPw==\r\n");
    session_talk(&session, "*\r\n", "a BAD Authentication cancelled\r\n");
    session_expect_told(&session, "auth a LOGIN -;cancel;");
    session_talk(&session, "a AUTHENTICATE login\r\n", "+ V2hvPw==\r\n");
    session_talk(&session, "no base64\r\n", "a " BAD_PARAMETER);
    session_expect_told(&session, "auth a LOGIN -;cancel;");
    session_talk(&session, "a AUTHENTICATE LOGIN\r\n", "+ V2hvPw==\r\n");
    session_talk(&session, "{5+}\r\n", "a " BAD_PARAMETER);
    session_expect_told(&session, "auth a LOGIN -;cancel;");
    session_talk(&session, "a AUTHENTICATE LOGIN\r\n", "+ V2hvPw==\r\n");
    session_talk(&session, "\r\n", "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
    session_expect_told(&session, "auth a LOGIN -;response ;");
    session_talk(&session, "a AUTHENTICATE LOGIN\r\n", "+ V2hvPw==\r\n");
    session_talk(&session, "Z29vZA==\r\nb NOOP\r\n", "a OK in\r\nb OK done\r\n");
    session_fini(&session);

    session_init(&session);
    session_start(&session);
    session_talk(&session, "a AUTHENTICATE PLAIN Z29vZA==\r\n", "a OK in\r\n");
    session_expect_told(&session, "auth a PLAIN =good;");
    session_fini(&session);
}

static void test_login_needs_tls_beyond_loopback(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.may_auth_in_clear = false;
    session_connect(&session);
    imap_server_greet(session.server, 1u << SASL_PLAIN);
    peer_expect(&session.peer, "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID LOGINDISABLED] privyseal ready\r\n");
    session_talk(&session, "a LOGIN me good\r\n", "a NO [PRIVACYREQUIRED] TLS required, use STARTTLS first\r\n");
    session_talk(&session, "a AUTHENTICATE PLAIN Z29vZA==\r\n",
                 "a NO [PRIVACYREQUIRED] TLS required, use STARTTLS first\r\n");
    /* Nor is the password asked for. */
    session_talk(&session, "a LOGIN me {4}\r\n", "a NO [PRIVACYREQUIRED] TLS required, use STARTTLS first\r\n");
    session_expect_told(&session, "");
    session_fini(&session);
}

/* Before login nothing in between makes up for a wrong password. */
static void test_too_many_logins(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    for (int i = 0; i < 19; i++)
        session_talk(&session, "a LOGIN me x\r\nb NOOP\r\nc AUTHENTICATE X\r\n",
                     "a NO [AUTHENTICATIONFAILED] Authentication failed\r\nb OK NOOP completed\r\n"
                     "c NO [CANNOT] Authentication mechanism not offered\r\n");
    session_talk(&session, "a LOGIN me x\r\nb NOOP\r\n",
                 "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n"
                 "* BYE [UNAVAILABLE] Too many invalid commands\r\n");
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_login_with_literals),
        cmocka_unit_test(test_nothing_goes_on_before_login_is_answered),
        cmocka_unit_test(test_authenticate),
        cmocka_unit_test(test_login_needs_tls_beyond_loopback),
        cmocka_unit_test(test_too_many_logins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
