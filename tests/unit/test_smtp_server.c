/* Order of commands, lines, login, envelope, life and end of a session. Bodies and TLS: test_smtp_server_data.c. */
#include "smtp_session.h"

static void test_greets_and_offers(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "EHLO me\r\n",
                 "250-here\r\n250-SIZE 1000\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
                 "250-CHUNKING\r\n250-DSN\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN\r\n");
    session_talk(&session, "HELO me\r\n", "250 here\r\n");
    session_talk(&session, "quit\r\n", "221 2.0.0 Goodbye\r\n");
    session_expect_told(&session, "hello;hello;close end;");
    assert_true(session.peer.is_eof);
    session_fini(&session);
}

enum stage { NEW, READY, MAIL, RCPT, BDAT, STAGES };

/* Brings a fresh session into `stage`, logged in from READY on. */
static void begin_stage(struct session *session, enum stage stage)
{
    session_init(session);
    if (stage == NEW)
        session_start(session);
    else
        session_login(session);
    if (stage >= MAIL)
        session_talk_code(session, "MAIL FROM:<a@b.c>\r\n", 250);
    if (stage >= RCPT)
        session_talk_code(session, "RCPT TO:<d@e.f>\r\n", 250);
    if (stage == BDAT)
        session_talk_code(session, "BDAT 4\r\nab\r\n", 250);
}

static void test_every_command_in_every_state(void **state)
{
    static const struct {
        const char *line;
        int codes[STAGES];
    } table[] = {{"HELO me\r\n", {250, 250, 250, 250, 250}},
                 {"EHLO me\r\n", {250, 250, 250, 250, 250}},
                 {"STARTTLS\r\n", {503, 500, 503, 503, 503}},
                 {"AUTH PLAIN Z29vZA==\r\n", {503, 503, 503, 503, 503}},
                 {"MAIL FROM:<a@b.c>\r\n", {503, 250, 503, 503, 503}},
                 {"RCPT TO:<d@e.f>\r\n", {503, 503, 250, 250, 503}},
                 {"DATA\r\n", {503, 503, 554, 354, 503}},
                 {"BDAT 2\r\n\r\n", {503, 503, 554, 250, 250}},
                 {"BDAT 0 LAST\r\n", {503, 503, 554, 250, 250}},
                 {"RSET\r\n", {250, 250, 250, 250, 250}},
                 {"NOOP\r\n", {250, 250, 250, 250, 250}},
                 {"noop with words\r\n", {250, 250, 250, 250, 250}},
                 {"VRFY someone\r\n", {252, 252, 252, 252, 252}},
                 {"VRFY\r\n", {501, 501, 501, 501, 501}},
                 {"EXPN list\r\n", {502, 502, 502, 502, 502}},
                 {"HELP\r\n", {214, 214, 214, 214, 214}},
                 {"QUIT\r\n", {221, 221, 221, 221, 221}},
                 {"QUIT now\r\n", {501, 501, 501, 501, 501}},
                 {"EHLO\r\n", {501, 501, 501, 501, 501}},
                 {"RSET x\r\n", {501, 501, 501, 501, 501}},
                 {"DATA x\r\n", {503, 503, 554, 501, 503}},
                 {"WORD\r\n", {500, 500, 500, 500, 500}},
                 {"\r\n", {500, 500, 500, 500, 500}},
                 {"NOOP \xc3\xa4\r\n", {500, 500, 500, 500, 500}}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (enum stage stage = NEW; stage < STAGES; stage++) {
            struct session session;
            begin_stage(&session, stage);
            session_talk_code(&session, table[i].line, table[i].codes[stage]);
            session_fini(&session);
        }
    }
}

static void test_mail_needs_login(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk(&session, "MAIL FROM:<a@b.c>\r\n", "530 5.7.0 Authentication required\r\n");
    assert_false(smtp_server_is_authenticated(session.server));
    session_fini(&session);
}

static void test_auth(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk_code(&session, "AUTH CRAM-MD5\r\n", 504);
    session_talk_code(&session, "AUTH NONSENSE\r\n", 504);
    session_talk(&session, "AUTH PLAIN !!!\r\n", "501 5.5.2 The response is no base64\r\n");
    session_expect_told(&session, "hello;");
    session_talk(&session, "AUTH PLAIN =\r\n", "535 said\r\n");
    session_expect_told(&session, "auth PLAIN =;");
    session_talk(&session, "AUTH LOGIN\r\n", "334 V2hvPw==\r\n");
    session_talk(&session, "*\r\n", "501 5.7.0 Authentication cancelled\r\n");
    session_expect_told(&session, "auth LOGIN -;cancel;");
    session_talk(&session, "AUTH LOGIN\r\n", "334 V2hvPw==\r\n");
    session_talk(&session, "no base64\r\n", "501 5.5.2 The response is no base64\r\n");
    session_expect_told(&session, "auth LOGIN -;cancel;");
    session_talk(&session, "AUTH LOGIN\r\n", "334 V2hvPw==\r\n");
    session_talk(&session, "\r\n", "535 said\r\n");
    session_expect_told(&session, "auth LOGIN -;response ;");
    session_talk(&session, "AUTH LOGIN\r\n", "334 V2hvPw==\r\n");
    session_talk(&session, "Z29vZA==\r\n", "235 said\r\n");
    assert_true(smtp_server_is_authenticated(session.server));
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 503);
    /* Not offered any more either. */
    peer_send(&session.peer, SPAN_LIT("EHLO me\r\n"));
    assert_null(strstr(session.peer.received.data, "AUTH"));
    session_fini(&session);
}

static void test_auth_needs_tls(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.may_auth_in_clear = false;
    session_start(&session);
    peer_send(&session.peer, SPAN_LIT("EHLO me\r\n"));
    assert_null(strstr(session.peer.received.data, "AUTH"));
    buf_clear(&session.peer.received);
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 530);
    session_talk_code(&session, "MAIL FROM:<a@b.c>\r\n", 530);
    session_expect_told(&session, "hello;");
    session_fini(&session);
}

/* A line of `len` bytes with its CRLF: `head`, then "A"s. */
static void send_long(struct session *session, const char *head, size_t len)
{
    struct buf line;
    buf_init(&line, len);
    assert_int_equal(buf_add_string(&line, head), ERR_OK);
    while (line.len < len - 2)
        assert_int_equal(buf_add_byte(&line, 'A'), ERR_OK);
    assert_int_equal(buf_add_string(&line, "\r\n"), ERR_OK);
    peer_send(&session->peer, buf_span(&line));
    buf_fini(&line);
}

static void test_line_lengths(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk_code(&session, "EHLO me\r\n", 250);
    send_long(&session, "NOOP ", SMTP_LINE_MAX);
    peer_expect(&session.peer, "250 2.0.0 Done\r\n");
    send_long(&session, "NOOP ", SMTP_LINE_MAX + 1);
    session_talk(&session, "NOOP\r\n", "500 5.5.6 Line too long\r\n250 2.0.0 Done\r\n");
    send_long(&session, "NOOP ", 100000);
    session_talk(&session, "NOOP\r\n", "500 5.5.6 Line too long\r\n250 2.0.0 Done\r\n");
    /* "AUTH PLAIN " and CRLF are 13 bytes; the rest is whole groups of base64, once its length is so. */
    send_long(&session, "AUTH PLAIN ", 12 * 1024 - 3);
    peer_expect(&session.peer, "535 said\r\n");
    send_long(&session, "AUTH PLAIN ", SMTP_AUTH_LINE_MAX + 1);
    peer_expect(&session.peer, "500 5.5.6 Line too long\r\n");
    session_talk_code(&session, "AUTH LOGIN\r\n", 334);
    buf_clear(&session.told);
    send_long(&session, "", SMTP_AUTH_LINE_MAX + 1);
    session_talk(&session, "NOOP\r\n", "500 5.5.6 Line too long\r\n250 2.0.0 Done\r\n");
    session_expect_told(&session, "cancel;");
    session_fini(&session);
}

static void test_line_ends(void **state)
{
    static const char bad[] = "500 5.5.2 Syntax error in the command\r\n";
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session_talk(&session, "NOOP\rMAIL FROM:<a@b.c>\r\n", bad);
    session_talk(&session, "NOOP\r\r\n", bad);
    peer_send(&session.peer, SPAN_LIT("NOOP\0\r\n"));
    peer_expect(&session.peer, bad);
    /* Answered at once; but what follows belongs to the same line and is not obeyed. */
    session_talk(&session, "NOOP\n", bad);
    session_talk(&session, "MAIL FROM:<a@b.c>\r\n", bad);
    session_expect_told(&session, "");
    session_talk(&session, "NOOP\r\n", "250 2.0.0 Done\r\n");
    /* The CR of the line end comes in another packet than what was too long. */
    send_long(&session, "NOOP ", SMTP_LINE_MAX + 10);
    peer_expect(&session.peer, "500 5.5.6 Line too long\r\n");
    session_talk(&session, "NOOP\r\n", "250 2.0.0 Done\r\n");
    session_fini(&session);
}

static const char dialogue[] = "EHLO me\r\nAUTH PLAIN Z29vZA==\r\nMAIL FROM:<a@b.c> SIZE=10\r\nRCPT TO:<d@e.f>\r\n"
                               "RCPT TO:<bad@e.f>\r\nDATA\r\nX: y\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRSET\r\n"
                               "MAIL FROM:<g@h.i>\r\nRCPT TO:<d@e.f>\r\nBDAT 6\r\nA: b\r\nBDAT 7 LAST\r\n\r\n\r\n.\r\n"
                               "NOOP\r\nQUIT\r\n";
static const char dialogue_told[] = "hello;auth PLAIN =good;mail a@b.c;rcpt d@e.f;rcpt bad@e.f;message 14;mail ;reset;"
                                    "mail g@h.i;rcpt d@e.f;message 13;close end;";

static void run_dialogue(size_t step, struct buf *replies)
{
    struct session session;
    struct span rest = SPAN_LIT(dialogue);
    session_init(&session);
    session_start(&session);
    while (rest.len > 0) {
        peer_send(&session.peer, span_slice(rest, 0, step));
        rest = span_skip(rest, step);
    }
    peer_run(&session.peer);
    session_expect_told(&session, dialogue_told);
    assert_int_equal(buf_add_span(replies, buf_span(&session.peer.received)), ERR_OK);
    session_fini(&session);
}

static void test_pipelined_and_byte_by_byte(void **state)
{
    static const size_t steps[] = {sizeof dialogue, 1, 2, 3, 7, 50};
    struct buf first, other;
    (void)state;
    buf_init(&first, 65536);
    buf_init(&other, 65536);
    run_dialogue(sizeof dialogue, &first);
    assert_non_null(
        strstr(first.data, "354 End data with <CR><LF>.<CR><LF>\r\n250 said\r\n250 said\r\n250 2.0.0 Done"));
    for (size_t i = 1; i < sizeof steps / sizeof *steps; i++) {
        buf_clear(&other);
        run_dialogue(steps[i], &other);
        assert_string_equal(first.data, other.data);
    }
    buf_fini(&first);
    buf_fini(&other);
}

static void test_commands_wait_for_the_owner(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.is_deferring = true;
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n", "");
    session_expect_told(&session, "mail a@b.c;");
    assert_true(smtp_server_is_waiting(session.server));
    smtp_server_reply_text(session.server, 250, "2.1.0", "Sender ok");
    /* Nothing happens from within the owner's call. */
    session_expect_told(&session, "");
    peer_expect(&session.peer, "250 2.1.0 Sender ok\r\n");
    session_expect_told(&session, "rcpt d@e.f;");
    smtp_server_fail(session.server, ERR_NO_KEY, "alice");
    peer_run(&session.peer);
    assert_non_null(strstr(session.peer.received.data, "no usable key was found: alice\r\n554 5.5.1 No valid"));
    buf_clear(&session.peer.received);
    session_talk(&session, "RCPT TO:<d@e.f>\r\n", "");
    smtp_server_reply_text(session.server, 250, NULL, "ok");
    session_talk(&session, "DATA\r\nx\r\n.\r\nNOOP\r\n", "250 ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n");
    smtp_server_reply_text(session.server, 451, "4.3.0", "Later");
    peer_expect(&session.peer, "451 4.3.0 Later\r\n250 2.0.0 Done\r\n");
    session_fini(&session);
}

static void test_vanished_client_is_noticed(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.is_deferring = true;
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n", "");
    buf_clear(&session.told);
    peer_close(&session.peer);
    peer_run(&session.peer);
    session_expect_told(&session, "close end;");
    assert_null(session.server);
    session_fini(&session);
}

static void test_parameters_that_were_not_offered(void **state)
{
    static const char *const lines[] = {"MAIL FROM:<a@b.c> SIZE=1\r\n",   "MAIL FROM:<a@b.c> BODY=8BITMIME\r\n",
                                        "MAIL FROM:<a@b.c> SMTPUTF8\r\n", "MAIL FROM:<a@b.c> RET=FULL\r\n",
                                        "MAIL FROM:<a@b.c> ENVID=x\r\n",  "MAIL FROM:<a@b.c> FOO=1\r\n"};
    struct session session;
    (void)state;
    session_init(&session);
    session.features.flags = SMTP_HAS_AUTH;
    session_login(&session);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        session_talk_code(&session, lines[i], 555);
    session_talk_code(&session, "MAIL FROM:<a@b.c>\r\n", 250);
    session_talk_code(&session, "RCPT TO:<d@e.f> NOTIFY=NEVER\r\n", 555);
    session_talk_code(&session, "RCPT TO:<d@e.f> ORCPT=rfc822;d@e.f\r\n", 555);
    session_talk_code(&session, "RCPT TO:<d@e.f>\r\n", 250);
    session_talk_code(&session, "BDAT 4\r\nQUIT\r\n", 500);
    session_expect_told(&session, "mail a@b.c;rcpt d@e.f;reset;");
    session_fini(&session);
}

static void test_parameters_that_were_offered(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session_talk_code(&session, "MAIL FROM:<a@b.c> BODY=BINARYMIME\r\n", 555);
    session_talk(&session, "MAIL FROM:<a@b.c> SIZE=1001\r\n", "552 5.3.4 Message too big\r\n");
    session_talk_code(&session, "MAIL FROM:<\xc3\xa4@b.c>\r\n", 553);
    session_talk_code(&session, "MAIL FROM:<\xc3\xa4@b.c> SMTPUTF8\r\n", 250);
    session_talk_code(&session, "RCPT TO:<\xc3\xb6@b.c>\r\n", 250);
    session_talk_code(&session, "RSET\r\n", 250);
    session_talk_code(&session, "MAIL FROM:<a@b.c> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=x AUTH=<>\r\n", 250);
    assert_true(session.mail.has_size && session.mail.size == 1000 && session.mail.body == SMTP_BODY_8BITMIME);
    session_talk_code(&session, "RCPT TO:<\xc3\xb6@b.c>\r\n", 553);
    session_talk_code(&session, "RCPT TO:<1@b.c> NOTIFY=SUCCESS,FAILURE\r\n", 250);
    session_talk_code(&session, "RCPT TO:<2@b.c>\r\n", 250);
    session_talk_code(&session, "RCPT TO:<3@b.c>\r\n", 250);
    session_talk(&session, "RCPT TO:<4@b.c>\r\n",
                 "452 4.5.3 Too many recipients, send the rest in another transaction\r\n");
    session_fini(&session);
}

static void test_twenty_bad_commands(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    for (int i = 0; i < 19; i++)
        session_talk_code(&session, "WORD\r\n", 500);
    session_talk(&session, "WORD\r\nNOOP\r\n", "421 4.7.0 here closing: Too many errors\r\n");
    session_expect_told(&session, "close busy;");
    assert_true(session.peer.is_eof);
    session_fini(&session);
}

static void test_refused_sender_is_forgiven(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.mail_code = 550;
    session_talk_code(&session, "MAIL FROM:<a@b.c>\r\n", 550);
    for (int i = 0; i < 30; i++)
        session_talk_code(&session, "RCPT TO:<d@e.f>\r\n", 503);
    session_talk_code(&session, "DATA\r\n", 503);
    session_fini(&session);
}

static void test_guessing_passwords_ends(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk_code(&session, "EHLO me\r\n", 250);
    for (int i = 0; i < 19; i++)
        session_talk_code(&session, "AUTH PLAIN YmFk\r\n", 535);
    session_talk(&session, "AUTH PLAIN YmFk\r\n", "535 said\r\n421 4.7.0 here closing: Too many errors\r\n");
    session_fini(&session);
}

static void test_timeout(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 40;
    session_start(&session);
    usleep(100000);
    peer_run(&session.peer);
    assert_memory_equal(session.peer.received.data, "421 4.4.2 ", 10);
    session_expect_told(&session, "close timeout;");
    assert_true(session.peer.is_eof);
    session_fini(&session);
}

/* A byte now and then is no command. */
static void test_dripping_command(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 100;
    session_start(&session);
    for (int i = 0; i < 50 && session.server != NULL; i++) {
        usleep(10000);
        peer_send(&session.peer, SPAN_LIT("N"));
    }
    session_expect_told(&session, "close timeout;");
    session_fini(&session);
}

static void test_commands_buy_time(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 300;
    session_start(&session);
    for (int i = 0; i < 5; i++) {
        usleep(100000);
        session_talk_code(&session, "NOOP\r\n", 250);
    }
    session_fini(&session);
}

/* As `nc -N` does it: QUIT and the end of the client's side come while a command is with the owner. */
static void test_half_closed_client_hears_the_rest(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.is_deferring = true;
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nRSET\r\nquit\r\n", "");
    assert_int_equal(shutdown(session.peer.fd, SHUT_WR), 0);
    peer_expect(&session.peer, "");
    session_expect_told(&session, "mail a@b.c;");
    smtp_server_reply_text(session.server, 250, NULL, "sender");
    peer_expect(&session.peer, "250 sender\r\n");
    assert_false(session.peer.is_eof);
    smtp_server_reply_text(session.server, 250, NULL, "recipient");
    peer_expect(&session.peer, "250 recipient\r\n250 2.0.0 Done\r\n221 2.0.0 Goodbye\r\n");
    assert_true(session.peer.is_eof);
    session_expect_told(&session, "rcpt d@e.f;reset;close end;");
    assert_null(session.server);
    session_fini(&session);
}

/* The owner may take its time, whatever the client's timeout. */
static void test_owner_has_time(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 40;
    session.is_deferring = true;
    session_start(&session);
    session_talk(&session, "EHLO me\r\n", "");
    usleep(100000);
    peer_expect(&session.peer, "");
    smtp_server_hello(session.server, &session.features);
    peer_run(&session.peer);
    assert_memory_equal(session.peer.received.data, "250-here", 8);
    session_fini(&session);
}

static void test_shutdown(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.is_deferring = true;
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nNOOP\r\n", "");
    smtp_server_shutdown(session.server, ERR_UPSTREAM_LOST, NULL);
    peer_expect(&session.peer, "");
    smtp_server_reply_text(session.server, 250, NULL, "ok");
    smtp_server_shutdown(session.server, ERR_BUSY, "twice");
    peer_run(&session.peer);
    assert_memory_equal(session.peer.received.data, "250 ok\r\n421 4.4.2 here closing: ", 31);
    session_expect_told(&session, "mail a@b.c;close upstream-lost;");
    session_fini(&session);
}

static void test_owner_says_421(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.mail_code = 421;
    session_login(&session);
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nNOOP\r\n", "421 said\r\n");
    session_expect_told(&session, "mail a@b.c;close upstream-lost;");
    session_fini(&session);
}

static void test_free_in_handler(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session.frees_in_handler = true;
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nNOOP\r\n", "");
    session_expect_told(&session, "mail a@b.c;");
    assert_true(session.peer.is_eof);
    session_fini(&session);
}

/* A client that never reads its replies must not make us keep them all. */
static void test_client_that_does_not_read(void **state)
{
    struct session session;
    size_t sent = 0;
    (void)state;
    session_init(&session);
    session_start(&session);
    for (int i = 0; i < 100000; i++) {
        ssize_t done = send(session.peer.fd, "NOOP\r\n", 6, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += done > 0 ? (size_t)done : 0;
        if (i % 100 == 0)
            event_base_loop(session.base, EVLOOP_NONBLOCK);
    }
    assert_true(sent < 500000);
    assert_true(conn_output_len(smtp_server_conn(session.server)) < 40000);
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greets_and_offers),
                                       cmocka_unit_test(test_every_command_in_every_state),
                                       cmocka_unit_test(test_mail_needs_login),
                                       cmocka_unit_test(test_auth),
                                       cmocka_unit_test(test_auth_needs_tls),
                                       cmocka_unit_test(test_line_lengths),
                                       cmocka_unit_test(test_line_ends),
                                       cmocka_unit_test(test_pipelined_and_byte_by_byte),
                                       cmocka_unit_test(test_commands_wait_for_the_owner),
                                       cmocka_unit_test(test_vanished_client_is_noticed),
                                       cmocka_unit_test(test_parameters_that_were_not_offered),
                                       cmocka_unit_test(test_parameters_that_were_offered),
                                       cmocka_unit_test(test_twenty_bad_commands),
                                       cmocka_unit_test(test_refused_sender_is_forgiven),
                                       cmocka_unit_test(test_guessing_passwords_ends),
                                       cmocka_unit_test(test_timeout),
                                       cmocka_unit_test(test_dripping_command),
                                       cmocka_unit_test(test_commands_buy_time),
                                       cmocka_unit_test(test_half_closed_client_hears_the_rest),
                                       cmocka_unit_test(test_owner_has_time),
                                       cmocka_unit_test(test_shutdown),
                                       cmocka_unit_test(test_owner_says_421),
                                       cmocka_unit_test(test_free_in_handler),
                                       cmocka_unit_test(test_client_that_does_not_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
