/* Message bodies by DATA and BDAT, their limits, what smuggling would look like, and STARTTLS. */
#include "smtp_session.h"

#define GO "354 End data with <CR><LF>.<CR><LF>\r\n"

static SSL_CTX *server_tls, *client_tls;

static void begin_transaction(struct session *session)
{
    peer_send(&session->peer, SPAN_LIT("MAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\n"));
    peer_expect(&session->peer, "250 said\r\n250 said\r\n");
    buf_clear(&session->told);
}

static void send_repeated(struct session *session, const char *text, size_t times)
{
    struct buf bytes;
    buf_init(&bytes, 1 << 24);
    for (size_t i = 0; i < times; i++)
        assert_int_equal(buf_add_string(&bytes, text), ERR_OK);
    peer_send(&session->peer, buf_span(&bytes));
    buf_fini(&bytes);
}

static void test_data(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    session_talk(&session, "A: b\r\n\r\n..c\r\n.\r\n", "250 said\r\n");
    session_expect_told(&session, "message 12;");
    assert_string_equal(session.message.data, "A: b\r\n\r\n.c\r\n");
    /* The transaction is over, whatever the answer was. */
    session_talk_code(&session, "RCPT TO:<d@e.f>\r\n", 503);
    session.message_code = 451;
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n.\r\n", GO "451 said\r\n");
    session_expect_told(&session, "message 0;");
    session_talk_code(&session, "DATA\r\n", 503);
    session_fini(&session);
}

static void test_data_without_accepted_recipient(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nRCPT TO:<bad@e.f>\r\nDATA\r\n",
                 "250 said\r\n550 said\r\n554 5.5.1 No valid recipients\r\n");
    /* The client may still name another. */
    session_talk(&session, "RCPT TO:<d@e.f>\r\nDATA\r\n.\r\n", "250 said\r\n" GO "250 said\r\n");
    session_fini(&session);
}

static void test_too_big(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    send_repeated(&session, "0123456\r\n", 111);
    session_talk(&session, "\r\n.\r\n", "552 5.3.4 Message too big\r\n");
    session_expect_told(&session, "reset;");
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    send_repeated(&session, "01234567\r\n", 100);
    session_talk(&session, ".\r\n", "250 said\r\n");
    session_expect_told(&session, "message 1000;");
    /* Much too big: still read to its end, and nothing in it is a command. */
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    send_repeated(&session, "QUIT\r\n", 200000);
    session_talk(&session, ".\r\nNOOP\r\n", "552 5.3.4 Message too big\r\n250 2.0.0 Done\r\n");
    session_expect_told(&session, "reset;");
    session_fini(&session);
}

static void test_own_limit_counts_without_size(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.features.flags &= ~(unsigned)SMTP_HAS_SIZE;
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    send_repeated(&session, "01234567\r\n", 200);
    session_talk(&session, ".\r\n", "250 said\r\n");
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    send_repeated(&session, "01234567\r\n", 201);
    session_talk(&session, ".\r\n", "552 5.3.4 Message too big\r\n");
    session_fini(&session);
}

static void test_smuggling(void **state)
{
    static const char *const ends[] = {"\n.\n", "\n.\r\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n.\r\n\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct session session;
        session_init(&session);
        session_login(&session);
        begin_transaction(&session);
        session_talk(&session, "DATA\r\n", GO);
        session_talk(&session, "x", "");
        session_talk(&session, ends[i], "");
        session_talk(&session, "MAIL FROM:<evil@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\n", "");
        session_talk(&session, "\r\n.\r\n", "550 5.6.0 Message holds a bare CR or LF\r\n");
        session_expect_told(&session, "reset;");
        session_fini(&session);
    }
}

static void test_nul_is_refused(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    peer_send(&session.peer, SPAN_LIT("a\0b\r\n.\r\n"));
    peer_expect(&session.peer, "550 5.6.0 Message holds a NUL byte\r\n");
    session_fini(&session);
}

static void test_repair(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.is_repairing = true;
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    session_talk(&session, "a\nb\n.\nQUIT\n\r\n.\r\n", "250 said\r\n");
    assert_string_equal(session.message.data, "a\r\nb\r\n.\r\nQUIT\r\n\r\n");
    session_fini(&session);
}

static void test_bdat(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "BDAT 7\r\nA: b\r\n\r", "250 2.0.0 7 octets received\r\n");
    session_talk(&session, "RCPT TO:<d@e.f>\r\nDATA\r\nMAIL FROM:<a@b.c>\r\n",
                 "503 5.5.1 Command not allowed at this point\r\n503 5.5.1 Command not allowed at this point\r\n"
                 "503 5.5.1 Command not allowed at this point\r\n");
    session_talk(&session, "bdat 8 last\r\n\n.\r\n..\r\n", "250 said\r\n");
    session_expect_told(&session, "message 15;");
    assert_string_equal(session.message.data, "A: b\r\n\r\n.\r\n..\r\n");
    begin_transaction(&session);
    session_talk(&session, "BDAT 3\r\nx\r\nBDAT 0 LAST\r\n", "250 2.0.0 3 octets received\r\n250 said\r\n");
    session_expect_told(&session, "message 3;");
    session_fini(&session);
}

static void test_bdat_is_skipped_where_it_is_refused(void **state)
{
    static const char refused[] = "503 5.5.1 Command not allowed at this point\r\n250 2.0.0 Done\r\n";
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk(&session, "BDAT 6\r\nQUIT\r\nNOOP\r\n", refused);
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 235);
    session_talk(&session, "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n", refused);
    session_talk(&session, "MAIL FROM:<a@b.c>\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n",
                 "250 said\r\n554 5.5.1 No valid recipients\r\n250 2.0.0 Done\r\n");
    session_talk(&session, "RSET\r\n", "250 2.0.0 Done\r\n");
    begin_transaction(&session);
    /* Too big by its own word; what was pipelined behind it is refused too, and skipped. */
    session_talk(&session, "BDAT 6\r\nQUIT\r\n", "250 2.0.0 6 octets received\r\n");
    session_talk(&session, "BDAT 996\r\n", "");
    send_repeated(&session, "QUIT\r\n", 166);
    peer_expect(&session.peer, "552 5.3.4 Message too big\r\n");
    session_expect_told(&session, "reset;");
    session_fini(&session);
}

static void test_refused_chunk_ends_its_transaction(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "BDAT 1002\r\n", "");
    send_repeated(&session, "QUIT\r\n", 167);
    session_talk(&session, "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
                 "552 5.3.4 Message too big\r\n503 5.5.1 Command not allowed at this point\r\n"
                 "503 5.5.1 Command not allowed at this point\r\n250 2.0.0 Done\r\n");
    session_expect_told(&session, "reset;");
    session_fini(&session);
}

static void test_bdat_without_a_size_ends(void **state)
{
    static const char *const lines[] = {"BDAT x\r\nNOOP\r\n", "BDAT\r\nNOOP\r\n", "BDAT 1 MORE\r\nNOOP\r\n",
                                        "BDAT 99999999999999999999\r\nNOOP\r\n", "BDAT -1\r\nNOOP\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct session session;
        session_init(&session);
        session_login(&session);
        begin_transaction(&session);
        session_talk(&session, lines[i],
                     "501 5.5.4 Syntax error in a parameter\r\n421 4.7.0 here closing: Chunk without a size\r\n");
        assert_true(session.peer.is_eof);
        session_fini(&session);
    }
}

static void test_bdat_bare_lf(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "BDAT 2\r\na\nBDAT 2 LAST\r\n\r\n",
                 "250 2.0.0 2 octets received\r\n550 5.6.0 Message holds a bare CR or LF\r\n");
    begin_transaction(&session);
    session_talk(&session, "BDAT 2 LAST\r\na\r", "550 5.6.0 Message holds a bare CR or LF\r\n");
    session_fini(&session);
}

static void test_reset_within_bdat(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "BDAT 3\r\nx\r\nRSET\r\n", "250 2.0.0 3 octets received\r\n250 2.0.0 Done\r\n");
    session_expect_told(&session, "reset;");
    begin_transaction(&session);
    session_talk(&session, "BDAT 3 LAST\r\ny\r\n", "250 said\r\n");
    assert_string_equal(session.message.data, "y\r\n");
    session_fini(&session);
}

static void test_timeout_within_data(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.data_timeout_ms = 40;
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\nhalf", GO);
    usleep(100000);
    peer_run(&session.peer);
    assert_memory_equal(session.peer.received.data, "421 4.4.2 ", 10);
    session_expect_told(&session, "close timeout;");
    session_fini(&session);
}

/* Neither by DATA nor in a chunk does a byte now and then hold the session. */
static void test_dripping_data(void **state)
{
    (void)state;
    for (int is_chunk = 0; is_chunk < 2; is_chunk++) {
        struct session session;
        session_init(&session);
        session.options.data_timeout_ms = 100;
        session_login(&session);
        begin_transaction(&session);
        session_talk(&session, is_chunk ? "BDAT 900 LAST\r\n" : "DATA\r\n", is_chunk ? "" : GO);
        for (int i = 0; i < 50 && session.server != NULL; i++) {
            usleep(10000);
            peer_send(&session.peer, SPAN_LIT("x"));
        }
        session_expect_told(&session, "close timeout;");
        session_fini(&session);
    }
}

/* A message of any size that comes at a fair rate is no late one. */
static void test_long_data_has_time(void **state)
{
    static char block[100000];
    struct session session;
    (void)state;
    memset(block, 'x', sizeof block);
    session_init(&session);
    session.features.size_max = session.options.message_max = 10000000;
    session.options.data_timeout_ms = 300;
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\n", GO);
    for (int i = 0; i < 6; i++) {
        usleep(100000);
        peer_send(&session.peer, (struct span){block, sizeof block});
    }
    session_talk_code(&session, "\r\n.\r\n", 250);
    session_fini(&session);
}

/* What is too big, or was refused, is read on for a while, but not for ever. */
static void test_endless_body_ends(void **state)
{
    static char block[1 << 20];
    (void)state;
    memset(block, 'x', sizeof block);
    for (int is_chunk = 0; is_chunk < 2; is_chunk++) {
        struct session session;
        session_init(&session);
        if (is_chunk)
            session_start(&session);
        else
            session_login(&session);
        if (is_chunk) {
            session_talk(&session, "BDAT 18446744073709551615 LAST\r\n", "");
        } else {
            begin_transaction(&session);
            session_talk(&session, "DATA\r\n", GO);
        }
        for (int i = 0; i < 100 && session.server != NULL; i++) {
            for (size_t at = 0; at < sizeof block && session.server != NULL; at += 65536) {
                (void)send(session.peer.fd, block + at, 65536, MSG_DONTWAIT | MSG_NOSIGNAL);
                peer_run(&session.peer);
            }
        }
        assert_null(session.server);
        assert_non_null(strstr(session.told.data, "close too-big;"));
        assert_memory_equal(session.peer.received.data, "421 4.7.0 ", 10);
        session_fini(&session);
    }
}

static void test_strangers_chunks_are_counted(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_talk_code(&session, "EHLO me\r\n", 250);
    for (int i = 0; i < 19; i++)
        session_talk_code(&session, "BDAT 1\r\nx", 503);
    session_talk_code(&session, "BDAT 1\r\nx", 421);
    session_fini(&session);
}

static void test_shutdown_within_data(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_login(&session);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\nhalf", GO);
    smtp_server_shutdown(session.server, ERR_BUSY, "Stopping");
    session_expect_told(&session, "");
    session_talk(&session, "\r\n.\r\n", "421 4.3.2 here closing: Stopping\r\n");
    session_expect_told(&session, "close busy;");
    session_fini(&session);
}

static void test_starttls(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session_login(&session);
    session_talk(&session, "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n");
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    /* Nothing of before counts. */
    session_talk_code(&session, "MAIL FROM:<a@b.c>\r\n", 503);
    assert_false(smtp_server_is_authenticated(session.server));
    peer_send(&session.peer, SPAN_LIT("EHLO me\r\n"));
    assert_null(strstr(session.peer.received.data, "STARTTLS"));
    assert_non_null(strstr(session.peer.received.data, "AUTH PLAIN"));
    buf_clear(&session.peer.received);
    session_talk_code(&session, "STARTTLS\r\n", 503);
    session_talk_code(&session, "MAIL FROM:<a@b.c>\r\n", 530);
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 235);
    begin_transaction(&session);
    session_talk(&session, "DATA\r\nx\r\n.\r\nQUIT\r\n", GO "250 said\r\n221 2.0.0 Goodbye\r\n");
    session_expect_told(&session, "message 3;close end;");
    session_fini(&session);
}

static void test_starttls_injection(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session_login(&session);
    session_talk(&session, "STARTTLS\r\nMAIL FROM:<evil@b.c>\r\nRCPT",
                 "554 5.5.1 Nothing may follow STARTTLS in clear\r\n");
    session_expect_told(&session, "");
    session_talk(&session, "NOOP\r\n", "250 2.0.0 Done\r\n");
    /* What comes in clear after the 220 is no handshake. */
    session_talk(&session, "STARTTLS\r\n", "220 2.0.0 Ready to start TLS\r\n");
    (void)send(session.peer.fd, "MAIL FROM:<evil@b.c>\r\n", 22, MSG_NOSIGNAL);
    peer_run(&session.peer);
    session_expect_told(&session, "close upstream-tls;");
    session_fini(&session);
}

static void test_starttls_needs_no_login_and_takes_no_word(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session.options.may_auth_in_clear = false;
    session_start(&session);
    session_talk_code(&session, "STARTTLS\r\n", 503);
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk_code(&session, "STARTTLS now\r\n", 501);
    session_talk_code(&session, "STARTTLS\r\n", 220);
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 235);
    session_fini(&session);
}

static void test_implicit_tls(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session.options.is_tls_implicit = true;
    session.options.may_auth_in_clear = false;
    session_connect(&session);
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    peer_expect(&session.peer, "220 here ESMTP privyseal\r\n");
    session_talk_code(&session, "EHLO me\r\n", 250);
    session_talk_code(&session, "AUTH PLAIN Z29vZA==\r\n", 235);
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_data),
                                       cmocka_unit_test(test_data_without_accepted_recipient),
                                       cmocka_unit_test(test_too_big),
                                       cmocka_unit_test(test_own_limit_counts_without_size),
                                       cmocka_unit_test(test_smuggling),
                                       cmocka_unit_test(test_nul_is_refused),
                                       cmocka_unit_test(test_repair),
                                       cmocka_unit_test(test_bdat),
                                       cmocka_unit_test(test_bdat_is_skipped_where_it_is_refused),
                                       cmocka_unit_test(test_refused_chunk_ends_its_transaction),
                                       cmocka_unit_test(test_bdat_without_a_size_ends),
                                       cmocka_unit_test(test_bdat_bare_lf),
                                       cmocka_unit_test(test_reset_within_bdat),
                                       cmocka_unit_test(test_timeout_within_data),
                                       cmocka_unit_test(test_dripping_data),
                                       cmocka_unit_test(test_long_data_has_time),
                                       cmocka_unit_test(test_endless_body_ends),
                                       cmocka_unit_test(test_strangers_chunks_are_counted),
                                       cmocka_unit_test(test_shutdown_within_data),
                                       cmocka_unit_test(test_starttls),
                                       cmocka_unit_test(test_starttls_injection),
                                       cmocka_unit_test(test_starttls_needs_no_login_and_takes_no_word),
                                       cmocka_unit_test(test_implicit_tls)};
    peer_make_contexts(&server_tls, &client_tls);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_CTX_free(server_tls);
    SSL_CTX_free(client_tls);
    return failed;
}
