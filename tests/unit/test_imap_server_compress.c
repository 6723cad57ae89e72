/* COMPRESS=DEFLATE (RFC 4978) on the client's leg, as packed by the zlib of a mail program. */
#include "imap_session.h"

#include <stdlib.h>
#include <zlib.h>

struct packer {
    z_stream out, in;
};

static void packer_init(struct packer *packer)
{
    *packer = (struct packer){0};
    assert_int_equal(deflateInit2(&packer->out, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(inflateInit2(&packer->in, -15), Z_OK);
}

static void packer_fini(struct packer *packer)
{
    deflateEnd(&packer->out);
    inflateEnd(&packer->in);
}

/* `bytes` packed and flushed; to be freed. */
static struct span pack(struct packer *packer, struct span bytes)
{
    size_t room = bytes.len + 1000;
    char *packed = malloc(room);
    assert_non_null(packed);
    packer->out.next_in = (Bytef *)(uintptr_t)bytes.ptr;
    packer->out.avail_in = (uInt)bytes.len;
    packer->out.next_out = (Bytef *)packed;
    packer->out.avail_out = (uInt)room;
    assert_int_equal(deflate(&packer->out, Z_SYNC_FLUSH), Z_OK);
    return (struct span){packed, room - packer->out.avail_out};
}

static void send_packed(struct session *session, struct packer *packer, struct span bytes)
{
    struct span packed = pack(packer, bytes);
    peer_send(&session->peer, packed);
    free((void *)(uintptr_t)packed.ptr);
}

static void expect_packed(struct session *session, struct packer *packer, const char *text)
{
    static char unpacked[1 << 20];
    peer_run(&session->peer);
    packer->in.next_in = (Bytef *)session->peer.received.data;
    packer->in.avail_in = (uInt)session->peer.received.len;
    packer->in.next_out = (Bytef *)unpacked;
    packer->in.avail_out = sizeof unpacked - 1;
    int result = inflate(&packer->in, Z_SYNC_FLUSH);
    assert_true(result == Z_OK || result == Z_BUF_ERROR);
    unpacked[sizeof unpacked - 1 - packer->in.avail_out] = '\0';
    assert_string_equal(unpacked, text);
    buf_clear(&session->peer.received);
}

static void start_compress(struct session *session, struct packer *packer)
{
    session_init(session);
    session_log_in(session);
    packer_init(packer);
    session_talk(session, "z COMPRESS GZIP\r\n", "z BAD [CANNOT] Parameter not known here\r\n");
    session_talk(session, "z COMPRESS DEFLATE x\r\n", "z BAD [CANNOT] Parameter not known here\r\n");
    session_talk(session, "z COMPRESS DEFLATE\r\n", "z OK DEFLATE active\r\n");
}

static void count_release(void *context)
{
    (*(int *)context)++;
}

static void test_compress(void **state)
{
    struct session session;
    struct packer packer;
    int released = 0;
    (void)state;
    start_compress(&session, &packer);
    send_packed(&session, &packer, SPAN_LIT("a NOOP\r\nb COMPRESS DEFLATE\r\n"));
    expect_packed(&session, &packer, "a OK done\r\nb NO [COMPRESSIONACTIVE] Compression is active already\r\n");
    session_expect_told(&session, "command a NOOP (\r\n);");
    struct evbuffer *source = evbuffer_new();
    evbuffer_add(source, "moved", 5);
    imap_server_write(session.server, SPAN_LIT("* 1 FETCH (A {5}\r\n"));
    imap_server_move(session.server, source, 5);
    imap_server_write(session.server, SPAN_LIT(" B {4}\r\n"));
    imap_server_lend(session.server, SPAN_LIT("lent"), count_release, &released);
    imap_server_write(session.server, SPAN_LIT(")\r\n"));
    assert_int_equal(released, 1);
    evbuffer_free(source);
    expect_packed(&session, &packer, "* 1 FETCH (A {5}\r\nmoved B {4}\r\nlent)\r\n");
    send_packed(&session, &packer, SPAN_LIT("c LOGOUT\r\n"));
    expect_packed(&session, &packer, "* BYE Logging out\r\nc OK Logout completed\r\n");
    packer_fini(&packer);
    session_fini(&session);
}

static void test_compress_byte_by_byte_and_pipelined(void **state)
{
    struct session session;
    struct packer packer;
    (void)state;
    session_init(&session);
    session_log_in(&session);
    packer_init(&packer);
    struct span packed = pack(&packer, SPAN_LIT("a NOOP\r\nb SELECT {1+}\r\nx\r\n"));
    struct buf both;
    buf_init(&both, 1000);
    assert_int_equal(buf_add_string(&both, "z COMPRESS DEFLATE\r\n"), ERR_OK);
    assert_int_equal(buf_add_span(&both, packed), ERR_OK);
    peer_send(&session.peer, span_slice(buf_span(&both), 0, 30));
    for (size_t i = 30; i < both.len; i++)
        peer_send(&session.peer, span_slice(buf_span(&both), i, i + 1));
    free((void *)(uintptr_t)packed.ptr);
    buf_fini(&both);
    peer_run(&session.peer);
    static const char clear[] = "z OK DEFLATE active\r\n";
    assert_memory_equal(session.peer.received.data, clear, sizeof clear - 1);
    buf_drop(&session.peer.received, sizeof clear - 1);
    expect_packed(&session, &packer, "a OK done\r\nb OK done\r\n");
    packer_fini(&packer);
    session_fini(&session);
}

/* Packed commands may come with the command that asks for it, and the last words are packed, too. */
static void test_compress_pipelined_and_timed_out(void **state)
{
    struct session session;
    struct packer packer;
    struct buf both;
    (void)state;
    session_init(&session);
    session.options.command_timeout_ms = 300;
    session_log_in(&session);
    packer_init(&packer);
    struct span packed = pack(&packer, SPAN_LIT("a NOOP\r\n"));
    buf_init(&both, 1000);
    assert_int_equal(buf_add_string(&both, "z COMPRESS DEFLATE\r\n"), ERR_OK);
    assert_int_equal(buf_add_span(&both, packed), ERR_OK);
    peer_send(&session.peer, buf_span(&both));
    peer_run(&session.peer);
    buf_drop(&session.peer.received, sizeof "z OK DEFLATE active\r\n" - 1);
    expect_packed(&session, &packer, "a OK done\r\n");
    usleep(400000);
    expect_packed(&session, &packer, "* BYE [UNAVAILABLE] Disconnected for inactivity\r\n");
    free((void *)(uintptr_t)packed.ptr);
    buf_fini(&both);
    packer_fini(&packer);
    session_fini(&session);
}

/* A bomb is unpacked only as far as somebody takes what comes out of it. */
static void test_compress_bomb(void **state)
{
    struct session session;
    struct packer packer;
    struct buf bomb;
    (void)state;
    start_compress(&session, &packer);
    imap_server_pause(session.server);
    buf_init(&bomb, 1 << 25);
    assert_int_equal(buf_reserve(&bomb, 1 << 24), ERR_OK);
    memset(bomb.data, 'x', 1 << 24);
    bomb.len = 1 << 24;
    struct span packed = pack(&packer, buf_span(&bomb));
    assert_true(packed.len < 100000);
    (void)send(session.peer.fd, packed.ptr, packed.len, MSG_DONTWAIT);
    for (int i = 0; i < 100; i++)
        event_base_loop(session.base, EVLOOP_NONBLOCK);
    assert_true(evbuffer_get_length(conn_input(imap_server_conn(session.server))) <= 65536 + 16384);
    imap_server_resume(session.server);
    peer_run(&session.peer);
    session_expect_told(&session, "close command-syntax;"); /* a line of more than a megabyte */
    free((void *)(uintptr_t)packed.ptr);
    buf_fini(&bomb);
    packer_fini(&packer);
    session_fini(&session);
}

static void test_compress_garbage(void **state)
{
    struct session session;
    struct packer packer;
    (void)state;
    start_compress(&session, &packer);
    session_send(&session, "a NOOP\r\nno deflated stream at all\r\n");
    peer_run(&session.peer);
    session_expect_told(&session, "close upstream-lost;");
    packer_fini(&packer);
    session_fini(&session);
}

/* A long literal in packed pieces goes to its file, a long answer comes packed. */
static void test_compress_long(void **state)
{
    struct session session;
    struct packer packer;
    struct buf bytes;
    (void)state;
    start_compress(&session, &packer);
    buf_init(&bytes, 1 << 21);
    assert_int_equal(buf_add_string(&bytes, "a APPEND x {900000+}\r\n"), ERR_OK);
    for (int i = 0; i < 900000 / 6; i++)
        assert_int_equal(buf_addf(&bytes, "%06d", i * 7919 % 1000000), ERR_OK);
    assert_int_equal(buf_add_string(&bytes, "\r\nb NOOP\r\n"), ERR_OK);
    send_packed(&session, &packer, buf_span(&bytes));
    expect_packed(&session, &packer, "a OK done\r\nb OK done\r\n");
    assert_non_null(strstr(session.told.data, " file 900000 0"));
    imap_server_write(session.server, buf_span(&bytes));
    expect_packed(&session, &packer, bytes.data);
    buf_fini(&bytes);
    packer_fini(&packer);
    session_fini(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compress),
        cmocka_unit_test(test_compress_byte_by_byte_and_pipelined),
        cmocka_unit_test(test_compress_pipelined_and_timed_out),
        cmocka_unit_test(test_compress_bomb),
        cmocka_unit_test(test_compress_garbage),
        cmocka_unit_test(test_compress_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
