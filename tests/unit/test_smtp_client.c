/* The client against a server that a test plays by hand, on loopback. */
#include "smtp_talk.h"

static void test_features(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-PIPELINING\r\n250-size 12345\r\n250-AUTH PLAIN X-OTHER LOGIN\r\n250-8bitmime\r\n250-\r\n");
    const struct smtp_features *features = smtp_client_features(talk.client);
    assert_int_equal(features->flags, SMTP_HAS_PIPELINING | SMTP_HAS_SIZE | SMTP_HAS_AUTH | SMTP_HAS_8BITMIME);
    assert_int_equal(features->size_max, 12345);
    assert_int_equal(features->mechanisms, 1u << SASL_PLAIN | 1u << SASL_LOGIN);
    talk_fini(&talk);
}

static void test_one_command_at_a_time(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    assert_int_equal(send_rcpt(&talk, "d@e.f"), ERR_OK);
    hear(&talk, "MAIL FROM:<a@b.c>\r\n");
    say(&talk, "250-2.1.0 One\r\n250 2.1.0 Two\r\n");
    hear(&talk, "RCPT TO:<d@e.f>\r\n");
    expect_told(&talk, "250 2.1.0 One\nTwo;");
    say(&talk, "550 5.1.1 No\r\n");
    expect_told(&talk, "550 5.1.1 No;");
    talk_fini(&talk);
}

static void test_pipelining_keeps_order_and_waits_before_data(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-PIPELINING\r\n");
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    assert_int_equal(send_rcpt(&talk, "1@e.f"), ERR_OK);
    assert_int_equal(send_rcpt(&talk, "2@e.f"), ERR_OK);
    assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("A: b\r\n\r\n.c"), on_reply, &talk), ERR_OK);
    assert_int_equal(smtp_client_noop(talk.client, on_reply, &talk), ERR_OK);
    hear(&talk, "MAIL FROM:<a@b.c>\r\nRCPT TO:<1@e.f>\r\nRCPT TO:<2@e.f>\r\n");
    say(&talk, "250 m\r\n250 one\r\n");
    hear(&talk, "");
    say(&talk, "550 two\r\n");
    hear(&talk, "DATA\r\n");
    expect_told(&talk, "250  m;250  one;550  two;");
    assert_false(smtp_client_is_in_doubt(talk.client));
    say(&talk, "354 go\r\n");
    hear(&talk, "A: b\r\n\r\n..c\r\n.\r\n");
    assert_true(smtp_client_is_in_doubt(talk.client));
    say(&talk, "250 taken\r\n");
    assert_false(smtp_client_is_in_doubt(talk.client));
    hear(&talk, "NOOP\r\n");
    expect_told(&talk, "250  taken;");
    talk_fini(&talk);
}

static void test_replies_byte_by_byte(void **state)
{
    static const char replies[] = "250-2.1.0 a\r\n250 2.1.0 b\r\n550 no\r\n250 reset\r\n";
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-PIPELINING\r\n");
    assert_int_equal(send_mail(&talk, ""), ERR_OK);
    assert_int_equal(send_rcpt(&talk, "1@e.f"), ERR_OK);
    assert_int_equal(smtp_client_reset(talk.client, on_reply, &talk), ERR_OK);
    hear(&talk, "MAIL FROM:<>\r\nRCPT TO:<1@e.f>\r\nRSET\r\n");
    for (size_t i = 0; i < sizeof replies - 1; i++)
        peer_send(&talk.peer, (struct span){replies + i, 1});
    expect_told(&talk, "250 2.1.0 a\nb;550  no;250  reset;");
    talk_fini(&talk);
}

static void test_parameters(void **state)
{
    struct talk talk;
    struct smtp_mail mail = mail_from("a@b.c");
    struct smtp_rcpt rcpt = {.to.path = "d@e.f", .notify = "NEVER", .orcpt = "rfc822;x@y.z"};
    (void)state;
    mail.has_size = true;
    mail.size = 7;
    snprintf(mail.ret, sizeof mail.ret, "HDRS");
    talk_start(&talk, "");
    assert_int_equal(smtp_client_mail(talk.client, &mail, on_reply, &talk), ERR_OK);
    hear(&talk, "MAIL FROM:<a@b.c>\r\n");
    say(&talk, "250 ok\r\n");
    assert_int_equal(smtp_client_rcpt(talk.client, &rcpt, on_reply, &talk), ERR_OK);
    hear(&talk, "RCPT TO:<d@e.f>\r\n");
    say(&talk, "250 ok\r\n");
    mail.body = SMTP_BODY_8BITMIME;
    assert_int_equal(smtp_client_mail(talk.client, &mail, on_reply, &talk), ERR_UPSTREAM_MISSING);
    mail.body = SMTP_BODY_NONE;
    mail.smtputf8 = true;
    assert_int_equal(smtp_client_mail(talk.client, &mail, on_reply, &talk), ERR_UPSTREAM_MISSING);
    hear(&talk, "");
    talk_fini(&talk);

    talk_start(&talk, "250-SIZE\r\n250-DSN\r\n250-SMTPUTF8\r\n250-8BITMIME\r\n");
    mail.body = SMTP_BODY_BINARYMIME;
    assert_int_equal(smtp_client_mail(talk.client, &mail, on_reply, &talk), ERR_UPSTREAM_MISSING);
    mail.body = SMTP_BODY_8BITMIME;
    assert_int_equal(smtp_client_mail(talk.client, &mail, on_reply, &talk), ERR_OK);
    peer_run(&talk.peer);
    assert_non_null(strstr(talk.peer.received.data, " SIZE=7"));
    assert_non_null(strstr(talk.peer.received.data, " BODY=8BITMIME"));
    assert_non_null(strstr(talk.peer.received.data, " SMTPUTF8"));
    assert_non_null(strstr(talk.peer.received.data, " RET=HDRS"));
    talk_fini(&talk);
}

static void test_auth(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-AUTH PLAIN LOGIN\r\n250-PIPELINING\r\n");
    assert_int_equal(smtp_client_auth_response(talk.client, SPAN_LIT("x")), ERR_SEQUENCE);
    assert_int_equal(smtp_client_auth(talk.client, SASL_PLAIN, true, SPAN_LIT("good"), on_reply, &talk), ERR_OK);
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    hear(&talk, "AUTH PLAIN Z29vZA==\r\n");
    say(&talk, "535 5.7.8 no\r\n");
    expect_told(&talk, "535 5.7.8 no;");
    hear(&talk, "MAIL FROM:<a@b.c>\r\n");
    say(&talk, "530 no\r\n");
    assert_int_equal(smtp_client_auth(talk.client, SASL_PLAIN, true, SPAN_NONE, on_reply, &talk), ERR_OK);
    hear(&talk, "AUTH PLAIN =\r\n");
    say(&talk, "535 no\r\n");
    buf_clear(&talk.told);
    assert_int_equal(smtp_client_auth(talk.client, SASL_LOGIN, false, SPAN_NONE, on_reply, &talk), ERR_OK);
    hear(&talk, "AUTH LOGIN\r\n");
    say(&talk, "334 VXNlcg==\r\n");
    expect_told(&talk, "334  VXNlcg==;");
    assert_int_equal(smtp_client_auth_response(talk.client, SPAN_LIT("me")), ERR_OK);
    assert_int_equal(smtp_client_auth_response(talk.client, SPAN_LIT("me")), ERR_SEQUENCE);
    hear(&talk, "bWU=\r\n");
    say(&talk, "334 \r\n");
    assert_int_equal(smtp_client_auth_cancel(talk.client), ERR_OK);
    hear(&talk, "*\r\n");
    say(&talk, "501 5.7.0 cancelled\r\n");
    expect_told(&talk, "334  ;501 5.7.0 cancelled;");
    talk_fini(&talk);
}

static void test_large_body_streams(void **state)
{
    struct talk talk;
    struct buf message, expected;
    (void)state;
    buf_init(&message, 8 << 20);
    buf_init(&expected, 8 << 20);
    for (int i = 0; i < 60000; i++) {
        assert_int_equal(buf_addf(&message, ".line %d\r\n", i), ERR_OK);
        assert_int_equal(buf_addf(&expected, "..line %d\r\n", i), ERR_OK);
    }
    assert_int_equal(buf_add_string(&expected, ".\r\n"), ERR_OK);
    talk_start(&talk, "");
    assert_int_equal(smtp_client_data(talk.client, buf_span(&message), on_reply, &talk), ERR_OK);
    hear(&talk, "DATA\r\n");
    /* The server does not read yet: the rest of the message waits, and is not in doubt. */
    assert_int_equal(send(talk.peer.fd, "354 go\r\n", 8, 0), 8);
    for (int i = 0; i < 20; i++)
        event_base_loop(talk.base, EVLOOP_NONBLOCK);
    hear(&talk, expected.data);
    say(&talk, "250 ok\r\n");
    expect_told(&talk, "250  ok;");
    buf_fini(&message);
    buf_fini(&expected);
    talk_fini(&talk);
}

static void test_bare_lf_is_never_sent(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("A: b\n.\r\n"), on_reply, &talk), ERR_OK);
    hear(&talk, "DATA\r\n");
    say(&talk, "354 go\r\n");
    expect_told(&talk, "close bare-cr-lf;");
    assert_null(strstr(talk.peer.received.data, ".\r\n"));
    talk_fini(&talk);
}

/* What ends a session that has just become ready, and how it is told. */
static void test_wrong_replies(void **state)
{
    static const struct {
        const char *sent, *reply, *told;
    } table[] = {{"", "250 unasked\r\n", "close upstream-protocol;"},
                 {"", "421 4.3.2 going\r\n", "close upstream-lost;"},
                 {"M", "421 4.3.2 going\r\n", "421 4.3.2 going;close upstream-lost;"},
                 {"M", "354 go\r\n", "close upstream-protocol;"},
                 {"M", "334 go\r\n", "close upstream-protocol;"},
                 {"M", "25 short\r\n", "close upstream-protocol;"},
                 {"M", "250 bare\n", "close upstream-protocol;"},
                 {"M", "250-a\r\n550 b\r\n", "close upstream-protocol;"},
                 {"M", "250 a\r\n250 b\r\n", "250  a;close upstream-protocol;"},
                 {"D", "250 what\r\n", "close upstream-protocol;"},
                 {"D", "554 5.5.1 no\r\n", "554 5.5.1 no;"},
                 {"D", "354 go\r\n250 done already\r\n", "close upstream-protocol;"},
                 {"D", "354 go\r\n421 later\r\n", "close upstream-protocol;"}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct talk talk;
        talk_start(&talk, "");
        if (table[i].sent[0] == 'M')
            assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
        if (table[i].sent[0] == 'D')
            assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("x\r\n"), on_reply, &talk), ERR_OK);
        say(&talk, table[i].reply);
        expect_told(&talk, table[i].told);
        talk_fini(&talk);
    }
}

static void test_endless_replies(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    for (int i = 0; i < 3000 && talk.client != NULL; i++)
        (void)send(talk.peer.fd, "250-more and more\r\n", 19, MSG_NOSIGNAL), peer_run(&talk.peer);
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);

    talk_start(&talk, "");
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    for (int i = 0; i < 3000 && talk.client != NULL; i++)
        (void)send(talk.peer.fd, "250 more and more", 17, MSG_NOSIGNAL), peer_run(&talk.peer);
    expect_told(&talk, "close upstream-protocol;");
    talk_fini(&talk);
}

static void test_refused_at_the_door(void **state)
{
    static const char *const lines[][2] = {{"554 no\r\n", NULL}, {"421 busy\r\n", NULL}, {"220 hi\r\n", "550 no\r\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct talk talk;
        talk_init(&talk, SMTP_CLEAR);
        talk_connect(&talk);
        say(&talk, lines[i][0]);
        if (lines[i][1] != NULL)
            say(&talk, lines[i][1]);
        expect_told(&talk, "close upstream-rejected;");
        talk_fini(&talk);
    }
}

/* The server goes away after `steps` of its own words. */
static void test_loss_in_each_state(void **state)
{
    static const char *const words[] = {"220 hi\r\n", "250-a\r\n", "250 b\r\n", "354 go\r\n"};
    static const char *const told[] = {"close upstream-lost;", "close upstream-lost;", "close upstream-lost;",
                                       "ready;close upstream-lost;", "ready;close upstream-lost in doubt;"};
    (void)state;
    for (size_t steps = 0; steps <= sizeof words / sizeof *words; steps++) {
        struct talk talk;
        talk_init(&talk, SMTP_CLEAR);
        talk_connect(&talk);
        for (size_t i = 0; i < steps; i++) {
            say(&talk, words[i]);
            if (i == 2)
                assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("x\r\n"), on_reply, &talk), ERR_OK);
        }
        peer_run(&talk.peer);
        peer_close(&talk.peer);
        expect_told(&talk, told[steps]);
        talk_fini(&talk);
    }
}

static void test_nobody_there(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, SMTP_CLEAR);
    close(talk.listener);
    assert_int_equal(smtp_client_new(&talk.options, &talk.client), ERR_OK);
    expect_told(&talk, "close upstream-down;");
    talk.listener = -1;
    talk_fini(&talk);
}

static void test_timeout(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, SMTP_CLEAR);
    talk.options.timeout_percent = 0;
    talk_connect(&talk);
    usleep(20000);
    expect_told(&talk, "close timeout;");
    talk_fini(&talk);
}

static void start_tls(struct talk *talk, const char *answer)
{
    talk_init(talk, SMTP_TLS_STARTTLS);
    talk_connect(talk);
    say(talk, "220 there\r\n");
    hear(talk, "EHLO me.example\r\n");
    say(talk, "250-there\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n");
    hear(talk, "STARTTLS\r\n");
    /* Without looking at what comes: that is for the handshake. */
    assert_true(send(talk->peer.fd, answer, strlen(answer), 0) > 0);
}

static void test_starttls(void **state)
{
    struct talk talk;
    (void)state;
    /* What is said in clear behind the 220 is thrown away, and so is what EHLO offered in clear. */
    start_tls(&talk, "220 go\r\n250-evil\r\n250 AUTH LOGIN\r\n");
    assert_true(peer_start_tls(&talk.peer, server_tls, true));
    hear(&talk, "EHLO me.example\r\n");
    expect_told(&talk, "");
    say(&talk, "250-there\r\n250 SIZE 5\r\n");
    expect_told(&talk, "ready;");
    assert_int_equal(smtp_client_features(talk.client)->flags, SMTP_HAS_SIZE);
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    hear(&talk, "MAIL FROM:<a@b.c>\r\n");
    talk_fini(&talk);
}

static void test_starttls_stripped_or_refused(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, SMTP_TLS_STARTTLS);
    talk_connect(&talk);
    say(&talk, "220 there\r\n");
    hear(&talk, "EHLO me.example\r\n");
    say(&talk, "250-there\r\n250 AUTH PLAIN\r\n");
    expect_told(&talk, "close upstream-tls;");
    talk_fini(&talk);

    start_tls(&talk, "454 no\r\n");
    expect_told(&talk, "close upstream-tls;");
    talk_fini(&talk);

    start_tls(&talk, "220 go\r\n");
    peer_run(&talk.peer);
    (void)send(talk.peer.fd, "this is no handshake at all\r\n", 29, MSG_NOSIGNAL);
    expect_told(&talk, "close upstream-tls;");
    talk_fini(&talk);
}

static void test_implicit_tls(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, SMTP_TLS_IMPLICIT);
    talk_connect(&talk);
    assert_true(peer_start_tls(&talk.peer, server_tls, true));
    say(&talk, "220 there\r\n");
    hear(&talk, "EHLO me.example\r\n");
    say(&talk, "250 there\r\n");
    expect_told(&talk, "ready;");
    talk_fini(&talk);
}

static void test_quit(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-PIPELINING\r\n");
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    hear(&talk, "MAIL FROM:<a@b.c>\r\n");
    smtp_client_quit(&talk.client);
    assert_null(talk.client);
    hear(&talk, "");
    say(&talk, "250 ok\r\n");
    hear(&talk, "QUIT\r\n");
    assert_true(talk.peer.is_eof);
    expect_told(&talk, "");
    talk_fini(&talk);

    /* Nobody is left to answer a challenge. */
    talk_start(&talk, "");
    assert_int_equal(smtp_client_auth(talk.client, SASL_LOGIN, false, SPAN_NONE, on_reply, &talk), ERR_OK);
    smtp_client_quit(&talk.client);
    say(&talk, "334 \r\n");
    hear(&talk, "AUTH LOGIN\r\n");
    assert_true(talk.peer.is_eof);
    talk_fini(&talk);

    /* A message of which only a part has gone is not completed. */
    talk_start(&talk, "");
    assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("x\r\n"), on_reply, &talk), ERR_OK);
    hear(&talk, "DATA\r\n");
    smtp_client_quit(&talk.client);
    hear(&talk, "");
    assert_true(talk.peer.is_eof);
    talk_fini(&talk);
}

static void test_free_in_reply(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "250-PIPELINING\r\n");
    talk.frees_in_reply = true;
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_OK);
    assert_int_equal(send_rcpt(&talk, "a@b.c"), ERR_OK);
    say(&talk, "250 a\r\n250 b\r\n");
    expect_told(&talk, "250  a;");
    assert_null(talk.client);
    talk_fini(&talk);
}

static void test_too_early(void **state)
{
    struct talk talk;
    (void)state;
    talk_init(&talk, SMTP_CLEAR);
    talk_connect(&talk);
    assert_int_equal(send_mail(&talk, "a@b.c"), ERR_SEQUENCE);
    talk_fini(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_features),
                                       cmocka_unit_test(test_one_command_at_a_time),
                                       cmocka_unit_test(test_pipelining_keeps_order_and_waits_before_data),
                                       cmocka_unit_test(test_replies_byte_by_byte),
                                       cmocka_unit_test(test_parameters),
                                       cmocka_unit_test(test_auth),
                                       cmocka_unit_test(test_large_body_streams),
                                       cmocka_unit_test(test_bare_lf_is_never_sent),
                                       cmocka_unit_test(test_wrong_replies),
                                       cmocka_unit_test(test_endless_replies),
                                       cmocka_unit_test(test_refused_at_the_door),
                                       cmocka_unit_test(test_loss_in_each_state),
                                       cmocka_unit_test(test_nobody_there),
                                       cmocka_unit_test(test_timeout),
                                       cmocka_unit_test(test_starttls),
                                       cmocka_unit_test(test_starttls_stripped_or_refused),
                                       cmocka_unit_test(test_implicit_tls),
                                       cmocka_unit_test(test_quit),
                                       cmocka_unit_test(test_free_in_reply),
                                       cmocka_unit_test(test_too_early)};
    peer_make_contexts(&server_tls, &client_tls);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_CTX_free(server_tls);
    SSL_CTX_free(client_tls);
    return failed;
}
