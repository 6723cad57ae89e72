/* The client's greeting, TLS, capabilities, login and end. Commands: test_imap_client_queue.c; what the server says:
   test_imap_client_response.c. */
#include "imap_talk.h"

#define CAPABILITY "* OK [CAPABILITY IMAP4rev1] there\r\n"

static void test_capabilities_from_the_greeting(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "IDLE AUTH=PLAIN LITERAL+");
    const struct imap_capabilities *server = imap_client_capabilities(talk.client);
    assert_int_equal(server->features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_IDLE | IMAP_HAS_LITERAL_PLUS);
    assert_int_equal(server->mechanisms, 1u << SASL_PLAIN);
    hear(&talk, "");
    talk_fini(&talk);
}

static void test_capabilities_asked(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_CLEAR);
    talk_connect(&talk);
    say(&talk, "* ok there\r\n");
    hear(&talk, "P1 CAPABILITY\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1 MOVE\r\n* 3 EXISTS\r\n* OK hm {3}\r\n");
    expect_told(&talk, "");
    say(&talk, "P1 OK done\r\n");
    expect_told(&talk, "ready;");
    assert_int_equal(imap_client_capabilities(talk.client)->features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_MOVE);
    talk_fini(&talk);
}

static void expect_end(const char *greeting, const char *told)
{
    struct talk talk;
    talk_init(&talk, IMAP_CLEAR);
    talk_connect(&talk);
    say(&talk, greeting);
    expect_told(&talk, told);
    talk_fini(&talk);
}

static void test_greetings_that_are_none(void **state)
{
    (void)state;
    expect_end("* PREAUTH [CAPABILITY IMAP4rev1] welcome\r\n", "close upstream-protocol;");
    expect_end("* BYE go away\r\n", "close upstream-rejected;");
    expect_end("* NO\r\n", "close upstream-protocol;");
    expect_end("* CAPABILITY IMAP4rev1\r\n", "close upstream-protocol;");
    expect_end("+ OK\r\n", "close upstream-protocol;");
    expect_end("P1 OK\r\n", "close upstream-protocol;");
    expect_end("220 mail.example ESMTP\r\n", "close upstream-protocol;");
    expect_end("* OK there\n", "close upstream-protocol;");
    expect_end("* OK [CAPABILITY IMAP4rev2] new\r\n", "close upstream-missing;");
    expect_end("* OK [CAPABILITY IMAP4\"rev1] odd\r\n", "close upstream-protocol;");
    expect_end("\r\n", "close upstream-protocol;");
}

static void test_capability_refused(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_CLEAR);
    talk_connect(&talk);
    say(&talk, "* OK there\r\nP1 NO never\r\n");
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
}

static void test_nobody_there(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_CLEAR);
    talk.options.port = 1; /* nobody listens there */
    assert_int_equal(imap_client_new(&talk.options, &talk.client), ERR_OK);
    expect_told(&talk, "close upstream-down;");
    talk.options.security = IMAP_TLS_IMPLICIT;
    assert_int_equal(imap_client_new(&talk.options, &talk.client), ERR_INTERNAL);
    talk_fini(&talk);
}

/* ---- TLS ---- */

static void test_implicit_tls(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_TLS_IMPLICIT);
    talk_connect(&talk);
    assert_true(peer_start_tls(&talk.peer, server_tls, true));
    say(&talk, CAPABILITY);
    expect_told(&talk, "ready;");
    talk_fini(&talk);
}

/* What is said in clear is forgotten, and what follows the OK in clear is never heard. */
static void test_starttls(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_TLS_STARTTLS);
    talk_connect(&talk);
    say(&talk, "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] there\r\n");
    hear(&talk, "P1 CAPABILITY\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1 STARTTLS LITERAL+\r\nP1 OK\r\n");
    hear(&talk, "P2 STARTTLS\r\n");
    static const char injected[] =
        "P2 OK go\r\n* CAPABILITY IMAP4rev1 AUTH=X\r\nP3 OK [CAPABILITY IMAP4rev1 IDLE] injected\r\n* half {9}";
    /* Not by say(), which would read the handshake as text. */
    assert_int_equal(send(talk.peer.fd, injected, sizeof injected - 1, 0), sizeof injected - 1);
    assert_true(peer_start_tls(&talk.peer, server_tls, true));
    assert_int_equal(imap_client_capabilities(talk.client)->features, 0);
    expect_told(&talk, "");
    hear(&talk, "P3 CAPABILITY\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1 MOVE\r\nP3 OK\r\n");
    expect_told(&talk, "ready;");
    assert_int_equal(imap_client_capabilities(talk.client)->features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_MOVE);
    talk_fini(&talk);
}

static void test_starttls_refused(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_TLS_STARTTLS);
    talk_connect(&talk);
    say(&talk, "* OK there\r\n");
    hear(&talk, "P1 CAPABILITY\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1\r\nP1 OK\r\n");
    expect_told(&talk, "close upstream-tls;");
    talk_fini(&talk);

    talk_init(&talk, IMAP_TLS_STARTTLS);
    talk_connect(&talk);
    say(&talk, "* OK there\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1 STARTTLS\r\nP1 OK\r\n");
    say(&talk, "P2 NO not now\r\n");
    expect_told(&talk, "close upstream-tls;");
    talk_fini(&talk);

    talk_init(&talk, IMAP_TLS_STARTTLS);
    talk_connect(&talk);
    say(&talk, "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] there\r\n");
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
}

/* ---- login ---- */

static enum err log_in(struct talk *talk, const char *user, const char *password)
{
    return imap_client_login(talk->client, span_of(user), span_of(password), on_reply, talk);
}

static void test_login(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(log_in(&talk, "me", "pass word\""), ERR_OK);
    hear(&talk, "P1 LOGIN me \"pass word\\\"\"\r\n");
    say(&talk, "P1 NO [CAPABILITY IMAP4rev1 MOVE] hm\r\n");
    expect_told(&talk, "NO [CAPABILITY IMAP4rev1 MOVE] NO [CAPABILITY IMAP4rev1 MOVE] hm|;");
    assert_int_equal(imap_client_capabilities(talk.client)->features, IMAP_HAS_IMAP4REV1);
    assert_int_equal(log_in(&talk, "me", "x"), ERR_OK);
    hear(&talk, "P2 LOGIN me x\r\n");
    say(&talk, "P2 NO [AUTHENTICATIONFAILED] no {3}\r\n");
    expect_told(&talk, "NO [AUTHENTICATIONFAILED] NO [AUTHENTICATIONFAILED] no {3}|;");
    assert_int_equal(log_in(&talk, "NIL", "p\xc3\xa4ss"), ERR_OK);
    hear(&talk, "P3 LOGIN \"NIL\" {5}\r\n");
    say(&talk, "+ go on\r\n");
    hear(&talk, "p\xc3\xa4ss\r\n");
    say(&talk, "P3 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n");
    expect_told(&talk, "OK [CAPABILITY IMAP4rev1 IDLE] OK [CAPABILITY IMAP4rev1 IDLE] in|;");
    assert_int_equal(imap_client_capabilities(talk.client)->features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_IDLE);
    /* They are known. */
    assert_int_equal(imap_client_refresh(talk.client, on_reply, &talk), ERR_OK);
    assert_int_equal(imap_client_refresh(talk.client, on_reply, &talk), ERR_SEQUENCE);
    assert_string_equal(talk.told.data, "");
    expect_told(&talk, "OK [] OK Capabilities are known|;");
    hear(&talk, "");
    talk_fini(&talk);
}

static void test_refresh_asks(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "LITERAL+");
    assert_int_equal(log_in(&talk, "", "\n"), ERR_OK);
    hear(&talk, "P1 LOGIN \"\" {1+}\r\n\n\r\n");
    say(&talk, "P1 OK in\r\n");
    expect_told(&talk, "OK [] OK in|;");
    assert_int_equal(imap_client_refresh(talk.client, on_reply, &talk), ERR_OK);
    hear(&talk, "P2 CAPABILITY\r\n");
    say(&talk, "* CAPABILITY IMAP4rev1 MOVE\r\nP2 OK caps\r\n");
    expect_told(&talk,
                "other 0 CAPABILITY:* CAPABILITY IMAP4rev1 MOVE|;response CAPABILITY * CAPABILITY IMAP4rev1 MOVE|;"
                "OK [] OK caps|;");
    assert_int_equal(imap_client_capabilities(talk.client)->features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_MOVE);
    /* Dovecot tells them unasked while it logs in. */
    assert_int_equal(log_in(&talk, "a", "b"), ERR_OK);
    say(&talk, "* CAPABILITY IMAP4rev1 QRESYNC\r\nP3 OK in\r\n");
    buf_clear(&talk.told);
    peer_run(&talk.peer);
    buf_clear(&talk.peer.received);
    assert_int_equal(imap_client_refresh(talk.client, on_reply, &talk), ERR_OK);
    hear(&talk, "");
    expect_told(&talk, "OK [] OK Capabilities are known|;");
    talk_fini(&talk);
}

static void test_login_disabled(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "LOGINDISABLED SASL-IR AUTH=PLAIN");
    assert_int_equal(log_in(&talk, "me", "pw"), ERR_OK);
    hear(&talk, "P1 AUTHENTICATE PLAIN AG1lAHB3\r\n");
    say(&talk, "+ \r\n"); /* nobody can answer more */
    hear(&talk, "*\r\n");
    say(&talk, "P1 BAD cancelled\r\n");
    expect_told(&talk, "BAD [] BAD cancelled|;");
    talk_fini(&talk);

    talk_start(&talk, "LOGINDISABLED AUTH=XOAUTH2");
    assert_int_equal(log_in(&talk, "me", "pw"), ERR_UPSTREAM_MISSING);
    talk_fini(&talk);

    talk_start(&talk, "LOGINDISABLED AUTH=PLAIN");
    assert_int_equal(log_in(&talk, "me", "pw"), ERR_OK);
    hear(&talk, "P1 AUTHENTICATE PLAIN\r\n");
    say(&talk, "+\r\n");
    hear(&talk, "AG1lAHB3\r\n");
    say(&talk, "P1 OK in\r\n");
    expect_told(&talk, "OK [] OK in|;");
    talk_fini(&talk);
}

static void test_auth(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "SASL-IR");
    assert_int_equal(imap_client_auth_response(talk.client, SPAN_LIT("x")), ERR_SEQUENCE);
    assert_int_equal(imap_client_auth_cancel(talk.client), ERR_SEQUENCE);
    assert_int_equal(imap_client_auth(talk.client, SASL_PLAIN, true, SPAN_LIT("good"), on_more, on_reply, &talk),
                     ERR_OK);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK); /* waits */
    hear(&talk, "P1 AUTHENTICATE PLAIN Z29vZA==\r\n");
    say(&talk, "P1 NO no\r\n");
    expect_told(&talk, "NO [] NO no|;");
    hear(&talk, "P2 NOOP\r\n");
    say(&talk, "P2 OK\r\n");
    buf_clear(&talk.told);
    assert_int_equal(imap_client_auth(talk.client, SASL_PLAIN, true, SPAN_NONE, on_more, on_reply, &talk), ERR_OK);
    hear(&talk, "P3 AUTHENTICATE PLAIN =\r\n");
    say(&talk, "P3 NO no\r\n");
    buf_clear(&talk.told);
    assert_int_equal(imap_client_auth(talk.client, SASL_LOGIN, false, SPAN_NONE, on_more, on_reply, &talk), ERR_OK);
    hear(&talk, "P4 AUTHENTICATE LOGIN\r\n");
    assert_int_equal(imap_client_auth_response(talk.client, SPAN_LIT("me")), ERR_SEQUENCE);
    say(&talk, "+ VXNlcg==\r\n");
    expect_told(&talk, "more VXNlcg==;");
    assert_int_equal(imap_client_auth_response(talk.client, SPAN_LIT("me")), ERR_OK);
    assert_int_equal(imap_client_auth_response(talk.client, SPAN_LIT("me")), ERR_SEQUENCE);
    hear(&talk, "bWU=\r\n");
    say(&talk, "+ \r\n");
    expect_told(&talk, "more ;");
    assert_int_equal(imap_client_auth_cancel(talk.client), ERR_OK);
    hear(&talk, "*\r\n");
    say(&talk, "P4 BAD cancelled\r\n");
    expect_told(&talk, "BAD [] BAD cancelled|;");
    talk_fini(&talk);
}

static void test_auth_without_initial_response(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(imap_client_auth(talk.client, SASL_OAUTHBEARER, true, SPAN_LIT("good"), on_more, on_reply, &talk),
                     ERR_OK);
    hear(&talk, "P1 AUTHENTICATE OAUTHBEARER\r\n");
    say(&talk, "+ \r\n");
    hear(&talk, "Z29vZA==\r\n");
    expect_told(&talk, "");
    say(&talk, "+ e30=\r\n");
    expect_told(&talk, "more e30=;");
    assert_int_equal(imap_client_auth_response(talk.client, SPAN_NONE), ERR_OK);
    hear(&talk, "\r\n");
    say(&talk, "P1 NO no\r\n");
    expect_told(&talk, "NO [] NO no|;");
    talk_fini(&talk);
}

/* A flood before login ends soon, whatever it is made of; after login what a server says is for the owner to bear. */
static void test_floods_before_login(void **state)
{
    static const char *const lines[] = {"* OK and so on\r\n", "* LIST () {5}\r\n12345\r\n", "* 1 FETCH (FLAGS ())\r\n"};
    struct talk talk;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        size_t said = 0;
        talk_start(&talk, "AUTH=PLAIN");
        assert_int_equal(log_in(&talk, "a", "b"), ERR_OK);
        while (said < 100000 && strstr(talk.told.data, "close") == NULL) {
            buf_clear(&talk.told);
            say(&talk, lines[i]);
            said += strlen(lines[i]);
        }
        expect_told(&talk, "close upstream-protocol;");
        assert_true(said > 60000 && said < 70000);
        talk_fini(&talk);
    }
    talk_init(&talk, IMAP_CLEAR);
    talk_connect(&talk);
    say_many(&talk, '*', 70000);
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
    talk_start(&talk, "AUTH=PLAIN");
    assert_int_equal(log_in(&talk, "a", "b"), ERR_OK);
    say(&talk, "P1 OK in\r\n");
    for (size_t said = 0; said < 100000; said += strlen(lines[0])) {
        buf_clear(&talk.told);
        say(&talk, lines[0]);
        assert_null(strstr(talk.told.data, "close"));
    }
    talk_fini(&talk);
}

/* ---- the end ---- */

static void test_nothing_before_ready(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_CLEAR);
    talk_connect(&talk);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_SEQUENCE);
    assert_int_equal(log_in(&talk, "a", "b"), ERR_SEQUENCE);
    assert_int_equal(imap_client_line(talk.client, "DONE"), ERR_UPSTREAM_LOST);
    talk_fini(&talk);
}

static void test_bye_and_loss(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    say(&talk, "* BYE [UNAVAILABLE] closing\r\nP1 OK too late\r\n");
    expect_told(&talk, "close upstream-rejected;");
    talk_fini(&talk);

    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    say(&talk, "P1 OK last words\r\n");
    peer_close(&talk.peer);
    expect_told(&talk, "OK [] OK last words|;close upstream-lost;");
    talk_fini(&talk);
}

static void test_quit(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    hear(&talk, "P1 NOOP\r\n");
    imap_client_quit(&talk.client);
    assert_null(talk.client);
    hear(&talk, "");
    say(&talk, "* 1 EXISTS\r\n* 1 FETCH (BODY[] {3}\r\nabc)\r\nP1 OK\r\n");
    hear(&talk, "P0 LOGOUT\r\n");
    expect_told(&talk, "");
    say(&talk, "* BYE bye\r\n");
    assert_true(talk.peer.is_eof);
    talk_fini(&talk);

    talk_start(&talk, "");
    imap_client_quit(&talk.client);
    hear(&talk, "P0 LOGOUT\r\n");
    talk_fini(&talk);

    /* What the owner had stopped reading is read to its end. */
    talk_start(&talk, "");
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    hear(&talk, "P1 NOOP\r\n");
    imap_client_pause(talk.client);
    say(&talk, "P1 OK\r\n");
    imap_client_quit(&talk.client);
    hear(&talk, "P0 LOGOUT\r\n");
    talk_fini(&talk);

    /* In the middle of something that cannot be brought to its end. */
    talk_start(&talk, "");
    assert_int_equal(log_in(&talk, "me", "\n"), ERR_OK);
    hear(&talk, "P1 LOGIN me {1}\r\n");
    imap_client_quit(&talk.client);
    hear(&talk, "");
    assert_true(talk.peer.is_eof);
    talk_fini(&talk);

    talk_start(&talk, "");
    assert_int_equal(imap_client_auth(talk.client, SASL_LOGIN, false, SPAN_NONE, on_more, on_reply, &talk), ERR_OK);
    hear(&talk, "P1 AUTHENTICATE LOGIN\r\n");
    imap_client_quit(&talk.client);
    hear(&talk, "");
    assert_true(talk.peer.is_eof);
    talk_fini(&talk);
}

static void test_timeouts(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, IMAP_CLEAR);
    talk.options.timeout_percent = 0; /* a millisecond */
    talk_connect(&talk);
    usleep(5000);
    expect_told(&talk, "close timeout;");
    talk_fini(&talk);
}

static void test_free_in_callbacks(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    talk.frees_in_reply = true;
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    assert_int_equal(send_line(&talk, "NOOP"), ERR_OK);
    say(&talk, "P1 OK\r\nP2 OK\r\n* 3 EXISTS\r\n");
    expect_told(&talk, "OK [] OK|;");
    talk_fini(&talk);

    for (int i = 0; i < 4; i++) {
        talk_start(&talk, "");
        talk.is_streaming = true;
        talk.frees_in_head = i == 0;
        talk.frees_in_text = i == 1;
        talk.frees_in_literal = i == 2;
        talk.frees_in_response = i == 3;
        say(&talk, "* 1 FETCH (BODY[] {3}\r\nabc)\r\n* 2 FETCH (UID 3)\r\n");
        assert_null(talk.client);
        talk_fini(&talk);
    }
}

static int make_contexts(void **state)
{
    (void)state;
    peer_make_contexts(&server_tls, &client_tls);
    return 0;
}

static int free_contexts(void **state)
{
    (void)state;
    SSL_CTX_free(server_tls);
    SSL_CTX_free(client_tls);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capabilities_from_the_greeting),
        cmocka_unit_test(test_capabilities_asked),
        cmocka_unit_test(test_greetings_that_are_none),
        cmocka_unit_test(test_floods_before_login),
        cmocka_unit_test(test_capability_refused),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_implicit_tls),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_starttls_refused),
        cmocka_unit_test(test_login),
        cmocka_unit_test(test_refresh_asks),
        cmocka_unit_test(test_login_disabled),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_auth_without_initial_response),
        cmocka_unit_test(test_nothing_before_ready),
        cmocka_unit_test(test_bye_and_loss),
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_free_in_callbacks),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
