/* Commands out of the input: literals of all kinds, lengths and line ends, one byte at a time, floods; TLS. */
#include "imap_session.h"

#include <stdlib.h>

#define BAD_SYNTAX "BAD [CLIENTBUG] Syntax error in the command\r\n"
#define TOO_BIG "NO [TOOBIG] Message too big\r\n"

static void send_many(struct session *session, char byte, size_t count)
{
    char *bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, byte, count);
    peer_send(&session->peer, (struct span){bytes, count});
    free(bytes);
}

static void test_literals_here(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "a SELECT {1}\r\n", "+ OK\r\n");
    session_talk(&session, "x\r\n", "a OK done\r\n");
    session_expect_told(&session, "literal a 1;command a SELECT {1}\r\nx ({1}\r\nx\r\n);");
    session_talk(&session, "a RENAME {1+}\r\nx {0-}\r\n more\r\n", "a OK done\r\n");
    session_expect_told(&session, "literal a 1+;literal a 0+;command a RENAME {1+}\r\nx {0-}\r\n more "
                                  "({1+}\r\nx {0-}\r\n more\r\n);");
    /* Anything may stand in a literal but NUL is the owner's to judge. */
    session_talk(&session, "a SELECT {4+}\r\n\r\n\xff{\r\n", "a OK done\r\n");
    buf_clear(&session.told);
    /* What only looks like a literal is text. */
    session_talk(&session, "a SEARCH SUBJECT {x}\r\n", "a OK done\r\n");
    session_fini(&session);
}

static void test_literals_in_files(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "a APPEND x {65537}\r\n", "+ OK\r\n");
    send_many(&session, 'm', 65537);
    session_talk(&session, " {65536}\r\n", "+ OK\r\n");
    send_many(&session, 'n', 65536);
    session_send(&session, " {1000000+}\r\n");
    send_many(&session, 'o', 1000000);
    buf_clear(&session.told);
    session_talk(&session, "\r\n", "a OK done\r\n");
    assert_non_null(strstr(session.told.data, "command a APPEND x {65537}\r\n {65536}\r\nnnnn"));
    assert_non_null(strstr(session.told.data, " file 65537 mm file 1000000 oo;"));
    session_fini(&session);
}

static void test_refused_literals(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "a APPEND x {1000001}\r\nb NOOP\r\n", "a " TOO_BIG "b OK done\r\n");
    session_expect_told(&session, "command b NOOP (\r\n);");
    /* A client that does not wait is heard to the end of its command. */
    session_send(&session, "a APPEND x {1000001+}\r\n");
    send_many(&session, '\n', 1000001);
    session_talk(&session, " {5+}\r\nhello more\r\nb NOOP\r\n", "a " TOO_BIG "b OK done\r\n");
    session_expect_told(&session, "command b NOOP (\r\n);");
    session.literal_err = ERR_DISK_FULL;
    session_talk(&session, "a APPEND x {5}\r\n", "a NO [UNAVAILABLE] Local storage is full, try again later\r\n");
    session_talk(&session, "a APPEND x {5+}\r\nhello\r\n",
                 "a NO [UNAVAILABLE] Local storage is full, try again later\r\n");
    session_expect_told(&session, "literal a 5;literal a 5+;");
    session.literal_err = ERR_OK;
    /* Commands that have no strings, or are not known. */
    session_talk(&session, "a CAPABILITY {5+}\r\nhello\r\nb NOOP\r\n", "a " BAD_SYNTAX "b OK done\r\n");
    session_talk(&session, "a NONSENSE {5}\r\nb NOOP\r\n", "a BAD [CLIENTBUG] Command not known here\r\nb OK done\r\n");
    session_talk(&session, "a NONSENSE {5+}\r\nhello {6+}\r\na NOOP\r\nb NOOP\r\n",
                 "a BAD [CLIENTBUG] Command not known here\r\nb OK done\r\n");
    /* Without a tag. */
    session_talk(&session, "{5+}\r\nhello\r\nb NOOP\r\n", "* " BAD_SYNTAX "b OK done\r\n");
    session_talk(&session, "+ {5}\r\nb NOOP\r\n", "* " BAD_SYNTAX "b OK done\r\n");
    session_fini(&session);
}

static void test_literal_without_handler(void **state)
{
    static struct imap_server_handlers handlers;
    struct session session;
    (void)state;
    handlers = session_handlers;
    handlers.on_literal = NULL;
    session_init(&session);
    session.options.handlers = &handlers;
    session_log_in(&session);
    session_talk(&session, "a SELECT {1+}\r\nx\r\n", "a OK done\r\n");
    session_talk(&session, "a SELECT {65537}\r\n", "a " TOO_BIG);
    session_fini(&session);
}

static void test_too_many_literals(void **state)
{
    struct buf command;
    struct session session;
    (void)state;
    buf_init(&command, 1 << 20);
    assert_int_equal(buf_add_string(&command, "a SEARCH"), ERR_OK);
    for (int i = 0; i < 20100; i++)
        assert_int_equal(buf_add_string(&command, " {1+}\r\nx"), ERR_OK);
    assert_int_equal(buf_add_string(&command, "\r\n"), ERR_OK);
    session_init(&session);
    session_select(&session);
    peer_send(&session.peer, buf_span(&command));
    session_talk(&session, "b NOOP\r\n",
                 "a NO [LIMIT] Beyond a limit (size, parts, nesting or header)\r\nb OK done\r\n");
    buf_fini(&command);
    session_fini(&session);
}

/* MULTIAPPEND: each is small enough, but not all of them. */
static void test_literals_together(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.literal_max = 10;
    session_log_in(&session);
    session_send(&session, "a APPEND x");
    for (int i = 0; i < 4; i++)
        session_talk(&session, " {10}\r\n", "+ OK\r\n"), session_send(&session, "0123456789");
    session_talk(&session, " {1}\r\nb NOOP\r\n", "a " TOO_BIG "b OK done\r\n");
    session_fini(&session);
}

static void test_a_flood_of_skipped_literals_ends(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    session_talk(&session, "a APPEND x {68108865+}\r\n", "a " TOO_BIG "* BYE [LIMIT] Message too big\r\n");
    session_fini(&session);

    /* A stranger is not listened to as long. */
    session_init(&session);
    session_start(&session);
    session_send(&session, "a X {40000+}\r\n");
    send_many(&session, 'x', 40000);
    session_talk(&session, " {40000+}\r\n",
                 "a BAD [CLIENTBUG] Command not known here\r\n* BYE [LIMIT] Message too big\r\n");
    session_fini(&session);
}

static void test_line_ends(void **state)
{
    static const struct {
        const char *line;
        size_t len;
    } bad[] = {{"a NOOP\n", 7}, {"a NOOP\r\r\n", 9}, {"a NO\0OP\r\n", 9}, {"a NOOP\rb NOOP\r\n", 15}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct session session;
        session_init(&session);
        session_log_in(&session);
        peer_send(&session.peer, (struct span){bad[i].line, bad[i].len});
        peer_expect(&session.peer, "* " BAD_SYNTAX "* BYE [CLIENTBUG] Syntax error in the command\r\n");
        session_expect_told(&session, "close command-syntax;");
        session_fini(&session);
    }
}

static void test_line_lengths(void **state)
{
    static const char too_long[] =
        "* BAD [CLIENTBUG] Line too long\r\n* BYE [CLIENTBUG] Syntax error in the command\r\n";
    struct session session;
    (void)state;
    session_init(&session);
    session_start(&session);
    session_send(&session, "a LOGIN me ");
    send_many(&session, 'x', 65536 - 13);
    session_talk(&session, "\r\n", "a NO [AUTHENTICATIONFAILED] Authentication failed\r\n");
    session_send(&session, "a LOGIN me ");
    send_many(&session, 'x', 65536);
    peer_expect(&session.peer, too_long);
    session_fini(&session);

    session_init(&session);
    session_log_in(&session);
    session_send(&session, "a FETCH ");
    send_many(&session, '1', (1 << 20) - 10);
    session_talk(&session, "\r\nb NOOP\r\n", "a BAD [CLIENTBUG] Command not allowed at this point\r\nb OK done\r\n");
    session_send(&session, "a FETCH ");
    send_many(&session, '1', 1 << 20);
    peer_expect(&session.peer, too_long);
    session_fini(&session);
}

/* Text between literals may be too long together. */
static void test_command_too_long(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.command_max = 100000;
    session_select(&session);
    session_send(&session, "a SEARCH TEXT {60000+}\r\n");
    send_many(&session, 'x', 60000);
    session_send(&session, " {60000+}\r\n");
    send_many(&session, 'x', 60000);
    session_talk(&session, "\r\nb NOOP\r\n",
                 "a NO [LIMIT] Beyond a limit (size, parts, nesting or header)\r\nb OK done\r\n");
    session_send(&session, "a SEARCH TEXT {60000+}\r\n");
    send_many(&session, 'x', 60000);
    send_many(&session, 'x', 60000);
    session_talk(&session, "\r\nb NOOP\r\n", "a BAD [LIMIT] Line too long\r\nb OK done\r\n");
    session_fini(&session);
}

static const char dialogue[] =
    "a ID NIL\r\nb LOGIN {2+}\r\nme {4+}\r\ngood\r\nc SELECT \"x\"\r\nd FETCH 1 UID\r\n"
    "e APPEND x {10+}\r\n0\r\n{5+}\r\n9\r\nf X {3+}\r\n\r\n}\r\ng IDLE\r\nDONE\r\nh LOGOUT\r\n";
static const char answers[] = "* ID (\"name\" \"privyseal\")\r\na OK ID completed\r\nb OK in\r\nc OK done\r\n"
                              "d OK done\r\ne OK done\r\nf BAD [CLIENTBUG] Command not known here\r\n+ idling\r\n"
                              "g OK idled\r\n* BYE Logging out\r\nh OK Logout completed\r\n";

static void test_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t step = 1; step < sizeof dialogue; step++) {
        struct session session;
        session_init(&session);
        session_start(&session);
        for (size_t at = 0; at < sizeof dialogue - 1; at += step)
            peer_send(&session.peer, span_slice(SPAN_LIT(dialogue), at, at + step));
        peer_expect(&session.peer, answers);
        session_expect_told(&session,
                            "login b me good;command c SELECT \"x\" (\"x\"\r\n);command d FETCH 1 UID (1 UID\r\n);"
                            "literal e 10+;command e APPEND x {10+}\r\n0\r\n{5+}\r\n9 (x {10+}\r\n0\r\n{5+}\r\n9\r\n);"
                            "command g IDLE (\r\n);done;logout;close end;");
        session_fini(&session);
    }
}

/* Ten thousand commands in one piece, and a client that reads the answers late. */
static void test_pipelined_flood_is_bounded(void **state)
{
    struct buf commands;
    struct session session;
    (void)state;
    buf_init(&commands, 1 << 20);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_addf(&commands, "t%d CAPABILITY\r\n", i), ERR_OK);
    session_init(&session);
    session_log_in(&session);
    size_t sent = 0;
    for (int i = 0; i < 200 && sent < commands.len; i++) {
        ssize_t count = send(session.peer.fd, commands.data + sent, commands.len - sent, MSG_DONTWAIT);
        sent += count > 0 ? (size_t)count : 0;
        event_base_loop(session.base, EVLOOP_NONBLOCK);
        assert_true(imap_server_output_len(session.server) < 300000);
    }
    peer_send(&session.peer, span_skip(buf_span(&commands), sent));
    peer_run(&session.peer);
    assert_non_null(strstr(session.peer.received.data, "t9999 OK "));
    buf_fini(&commands);
    session_fini(&session);
}

/* ---- TLS ---- */

static SSL_CTX *server_tls, *client_tls;

static void test_starttls(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.may_auth_in_clear = false;
    session.options.tls = server_tls;
    session_connect(&session);
    imap_server_greet(session.server, 1u << SASL_PLAIN);
    peer_expect(&session.peer,
                "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS LOGINDISABLED] privyseal ready\r\n");
    /* What follows in clear is never heard. */
    session_talk(&session, "a STARTTLS\r\nb LOGIN me good\r\n", "a OK Begin TLS negotiation now\r\n");
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    session_expect_told(&session, "");
    session_talk(&session, "c CAPABILITY\r\n",
                 "* CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN\r\nc OK Capability completed\r\n");
    session_talk(&session, "d STARTTLS\r\n", "d BAD [CLIENTBUG] Command not allowed at this point\r\n");
    session_talk(&session, "e LOGIN me good\r\n", "e OK in\r\n");
    session_talk(&session, "f LOGOUT\r\n", "* BYE Logging out\r\nf OK Logout completed\r\n");
    session_fini(&session);
}

/* Half a command in clear is no beginning of one under TLS. */
static void test_starttls_with_half_a_command(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session_connect(&session);
    imap_server_greet(session.server, 1u << SASL_PLAIN);
    peer_expect(&session.peer,
                "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID STARTTLS AUTH=PLAIN] privyseal ready\r\n");
    session_talk(&session, "a STARTTLS\r\nb LOGIN me {4+}\r\ngo", "a OK Begin TLS negotiation now\r\n");
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    session_talk(&session, "c NOOP\r\n", "c OK NOOP completed\r\n");
    session_expect_told(&session, "");
    session_fini(&session);
}

static void test_starttls_with_no_handshake(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.tls = server_tls;
    session_connect(&session);
    imap_server_greet(session.server, 1u << SASL_PLAIN);
    session_send(&session, "a STARTTLS\r\n");
    session_send(&session, "b NOOP\r\n");
    peer_run(&session.peer);
    session_expect_told(&session, "close upstream-tls;");
    session_fini(&session);
}

static void test_implicit_tls(void **state)
{
    struct session session;
    (void)state;
    session_init(&session);
    session.options.may_auth_in_clear = false;
    session.options.is_tls_implicit = true;
    session.options.tls = server_tls;
    session_connect(&session);
    imap_server_greet(session.server, 1u << SASL_PLAIN); /* waits for the handshake */
    assert_true(peer_start_tls(&session.peer, client_tls, false));
    peer_expect(&session.peer, "* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN] privyseal ready\r\n");
    session_talk(&session, "a STARTTLS\r\n", "a BAD [CLIENTBUG] Command not allowed at this point\r\n");
    session_talk(&session, "a LOGIN me good\r\n", "a OK in\r\n");
    session_fini(&session);
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
        cmocka_unit_test(test_literals_here),
        cmocka_unit_test(test_literals_in_files),
        cmocka_unit_test(test_refused_literals),
        cmocka_unit_test(test_literal_without_handler),
        cmocka_unit_test(test_too_many_literals),
        cmocka_unit_test(test_literals_together),
        cmocka_unit_test(test_a_flood_of_skipped_literals_ends),
        cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_line_lengths),
        cmocka_unit_test(test_command_too_long),
        cmocka_unit_test(test_in_pieces_of_any_size),
        cmocka_unit_test(test_pipelined_flood_is_bounded),
        cmocka_unit_test(test_starttls),
        cmocka_unit_test(test_starttls_with_half_a_command),
        cmocka_unit_test(test_starttls_with_no_handshake),
        cmocka_unit_test(test_implicit_tls),
    };
    return cmocka_run_group_tests(tests, make_contexts, free_contexts);
}
