/* The fields and files of the messages about views: what one side writes the other reads, and nothing else. */
#include "proxy/wire_view.h"

#include "base/memfd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Carries `out` over a pair of sockets. */
static void carry(struct ipc_out *out, struct ipc_in *in)
{
    int ends[2];
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    assert_int_equal(ipc_send(ends[0], out), ERR_OK);
    assert_int_equal(ipc_recv(ends[1], in), ERR_OK);
    close(ends[0]);
    close(ends[1]);
}

static void test_view_key(void **state)
{
    struct store_view_key key = {.account = "alice@example.org", .generation = 7}, got;
    char account[MIME_ADDR_SIZE];
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    memset(key.digest, 0xa5, sizeof(key.digest));
    ipc_out_begin(&out, 1);
    proxy_put_view_key(&out, &key);
    carry(&out, &in);
    proxy_get_view_key(&in, account, &got);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_string_equal(got.account, key.account);
    assert_memory_equal(got.digest, key.digest, sizeof(key.digest));
    assert_int_equal(got.generation, 7);
    for (size_t len = 0; len < 40; len++) {
        ipc_out_begin(&out, 1);
        ipc_put_string(&out, "a");
        ipc_put_span(&out, (struct span){"0123456789012345678901234567890123456789", len});
        ipc_put_u32(&out, 0);
        carry(&out, &in);
        proxy_get_view_key(&in, account, &got);
        assert_int_equal(ipc_in_end(&in), len == STORE_DIGEST_SIZE ? ERR_OK : ERR_PEER_PROTOCOL);
        ipc_in_fini(&in);
    }
}

static void test_mailbox(void **state)
{
    static char name[PROXY_MAILBOX_SIZE_MAX + 1];
    struct store_mailbox mailbox = {"alice@example.org", {name, 0}, 12345}, got;
    char account[MIME_ADDR_SIZE];
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    for (size_t len = 0; len <= sizeof(name); len += len < 3 ? 1 : PROXY_MAILBOX_SIZE_MAX - 3) {
        mailbox.name.len = len;
        ipc_out_begin(&out, 1);
        proxy_put_mailbox(&out, &mailbox);
        carry(&out, &in);
        proxy_get_mailbox(&in, account, &got);
        assert_int_equal(ipc_in_end(&in), len <= PROXY_MAILBOX_SIZE_MAX ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_true(span_is_equal(got.name, mailbox.name));
        assert_int_equal(got.uid_validity, 12345);
        ipc_in_fini(&in);
    }
}

static void test_totals(void **state)
{
    const struct store_totals totals = {1, 2, 3, 4, 5, (uint64_t)6 << 40};
    struct store_totals got;
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    ipc_out_begin(&out, 1);
    proxy_put_totals(&out, &totals);
    carry(&out, &in);
    proxy_get_totals(&in, &got);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_memory_equal(&got, &totals, sizeof(got));
}

static void test_content(void **state)
{
    struct ipc_out out;
    struct ipc_in in;
    int fd;
    (void)state;
    for (size_t len = 0; len < 3; len++) {
        ipc_out_begin(&out, 1);
        proxy_put_content(&out, "x", (struct span){"ab", len}, &fd);
        carry(&out, &in);
        close(fd);
        struct span got = proxy_get_content(&in, 1);
        assert_int_equal(ipc_in_end(&in), len < 2 ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_true(span_is_equal(got, (struct span){"ab", len < 2 ? len : 0}));
        memfd_unmap(&got);
        ipc_in_fini(&in);
    }
    /* A file that may still change under the reader. */
    assert_int_equal(memfd_new("open", &fd), ERR_OK);
    ipc_out_begin(&out, 1);
    ipc_put_file(&out, fd);
    carry(&out, &in);
    struct span got = proxy_get_content(&in, 100);
    assert_int_equal(got.len, 0);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
    close(fd);
    ipc_out_begin(&out, 1);
    carry(&out, &in);
    got = proxy_get_content(&in, 100);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
    /* An earlier error is not covered up. */
    ipc_out_begin(&out, 1);
    out.err = ERR_LIMIT;
    proxy_put_content(&out, "x", SPAN_LIT("a"), &fd);
    assert_int_equal(fd, -1);
    assert_int_equal(out.err, ERR_LIMIT);
    ipc_out_fini(&out);
}

static void test_keys(void **state)
{
    struct store_view_key keys[3] = {{.generation = 0}, {.generation = 1}, {.generation = UINT32_MAX}}, *got;
    struct buf bytes;
    size_t len;
    (void)state;
    buf_init(&bytes, 10000);
    for (size_t i = 0; i < 3; i++)
        memset(keys[i].digest, (int)i + 1, sizeof(keys[i].digest));
    assert_int_equal(proxy_write_keys(keys, 3, &bytes), ERR_OK);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        bool is_whole = cut % (bytes.len / 3) == 0;
        enum err err = proxy_read_keys(span_slice(buf_span(&bytes), 0, cut), "alice", &got, &len);
        assert_int_equal(err, is_whole ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_int_equal(len, is_whole ? cut / (bytes.len / 3) : 0);
        for (size_t i = 0; i < len; i++) {
            assert_string_equal(got[i].account, "alice");
            assert_memory_equal(got[i].digest, keys[i].digest, sizeof(keys[i].digest));
            assert_int_equal(got[i].generation, keys[i].generation);
        }
        free(got);
    }
    assert_int_equal(proxy_write_keys(keys, PROXY_VAULT_KEYS_MAX + 1, &bytes), ERR_LIMIT);
    char *many = calloc(1, PROXY_KEYS_SIZE_MAX + STORE_DIGEST_SIZE + 4);
    struct span too_many = {many, PROXY_KEYS_SIZE_MAX + STORE_DIGEST_SIZE + 4};
    assert_int_equal(proxy_read_keys(too_many, "alice", &got, &len), ERR_PEER_PROTOCOL);
    assert_int_equal(len, 0);
    assert_null(got);
    free(many);
    buf_fini(&bytes);
}

static void expect_leaves(struct span bytes, enum err expected)
{
    struct mime_text_leaf *leaves;
    size_t len;
    assert_int_equal(proxy_read_leaves(bytes, &leaves, &len), expected);
    assert_true(expected == ERR_OK || (leaves == NULL && len == 0));
    proxy_free_leaves(leaves, len);
}

static void test_leaves(void **state)
{
    const struct mime_text_leaf leaves[] = {
        {.kind = MIME_TEXT_HEADER, .name = (char[]){"x-spam"}, .needle = (char[]){"YES"}},
        {.kind = MIME_TEXT_ANY, .name = NULL, .needle = (char[]){"W\xc3\x96RT"}},
        {.kind = MIME_TEXT_SENT_SINCE, .number = (uint64_t)-3}};
    struct mime_text_leaf *got;
    struct buf bytes;
    size_t len;
    (void)state;
    buf_init(&bytes, 10000);
    assert_int_equal(proxy_write_leaves(leaves, 3, &bytes), ERR_OK);
    assert_int_equal(proxy_read_leaves(buf_span(&bytes), &got, &len), ERR_OK);
    assert_int_equal(len, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(got[i].kind, leaves[i].kind);
        assert_int_equal(got[i].number, leaves[i].number);
        assert_string_equal(got[i].name, leaves[i].name == NULL ? "" : leaves[i].name);
        assert_string_equal(got[i].needle, leaves[i].needle == NULL ? "" : leaves[i].needle);
    }
    proxy_free_leaves(got, len);
    for (size_t cut = 0; cut < bytes.len; cut++)
        expect_leaves(span_slice(buf_span(&bytes), 0, cut), ERR_PEER_PROTOCOL);
    assert_int_equal(buf_add_byte(&bytes, 'x'), ERR_OK);
    expect_leaves(buf_span(&bytes), ERR_PEER_PROTOCOL);
    buf_clear(&bytes);
    assert_int_equal(proxy_write_leaves(leaves, 0, &bytes), ERR_OK);
    expect_leaves(buf_span(&bytes), ERR_OK);
    expect_leaves(SPAN_LIT("\1\0\0\0"
                           "\377\0\0\0"
                           "\0\0\0\0\0\0\0\0"
                           "\0\0\0\0"
                           "\0\0\0\0"),
                  ERR_PEER_PROTOCOL);
    expect_leaves(SPAN_LIT("\1\0\0\0"
                           "\0\0\0\0"
                           "\0\0\0\0\0\0\0\0"
                           "\1\0\0\0a"
                           "\0\0\0\0"),
                  ERR_OK);
    expect_leaves(SPAN_LIT("\1\0\0\0"
                           "\0\0\0\0"
                           "\0\0\0\0\0\0\0\0"
                           "\1\0\0\0\0"
                           "\0\0\0\0"),
                  ERR_PEER_PROTOCOL);
    expect_leaves(SPAN_LIT("\1\0\0\0"
                           "\0\0\0\0"
                           "\0\0\0\0\0\0\0\0"
                           "\377\377\377\377a"
                           "\0\0\0\0"),
                  ERR_PEER_PROTOCOL);
    expect_leaves(SPAN_LIT("\xe9\3\0\0"), ERR_PEER_PROTOCOL);
    assert_int_equal(proxy_write_leaves(leaves, PROXY_LEAVES_MAX + 1, &bytes), ERR_LIMIT);
    buf_fini(&bytes);
}

static void test_views(void **state)
{
    const struct proxy_vault_found views[] = {
        {.is_found = true,
         .view = {.decision = SPAN_LIT("decided"), .session_keys = SPAN_LIT("k"), .record = SPAN_LIT("a record")}},
        {.is_found = false},
        {.is_found = true, .view = {.decision = SPAN_LIT("other")}}};
    struct proxy_vault_found *got;
    struct buf bytes;
    size_t len, ends[4] = {0};
    (void)state;
    buf_init(&bytes, 10000);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(proxy_write_view(&views[i], &bytes), ERR_OK);
        ends[i + 1] = bytes.len;
    }
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        bool is_whole = cut == ends[1] || cut == ends[2] || cut == ends[3];
        enum err err = proxy_read_views(span_slice(buf_span(&bytes), 0, cut), 3, &got, &len);
        assert_int_equal(err, is_whole ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_int_equal(len, !is_whole ? 0 : cut == ends[1] ? 1 : cut == ends[2] ? 2 : 3);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(got[i].is_found, views[i].is_found);
            assert_true(span_is_equal(got[i].view.decision, views[i].view.decision));
            assert_true(span_is_equal(got[i].view.session_keys, views[i].view.session_keys));
            assert_true(span_is_equal(got[i].view.record, views[i].view.record));
        }
        free(got);
    }
    /* More than were asked for. */
    assert_int_equal(proxy_read_views(buf_span(&bytes), 2, &got, &len), ERR_PEER_PROTOCOL);
    bytes.data[0] = 2;
    assert_int_equal(proxy_read_views(buf_span(&bytes), 3, &got, &len), ERR_PEER_PROTOCOL);
    assert_int_equal(proxy_read_views(buf_span(&bytes), PROXY_VAULT_KEYS_MAX + 1, &got, &len), ERR_LIMIT);
    buf_fini(&bytes);
    /* What does not fit wholly is not there at all. */
    buf_init(&bytes, 20);
    assert_int_equal(proxy_write_view(&views[0], &bytes), ERR_LIMIT);
    assert_int_equal(bytes.len, 0);
    buf_fini(&bytes);
}

static void test_views_beyond_their_bounds(void **state)
{
    static char big[STORE_DECISION_MAX + 1];
    struct proxy_vault_found found = {.is_found = true}, *got;
    struct buf bytes;
    size_t len;
    (void)state;
    buf_init(&bytes, 100000);
    for (unsigned i = 0; i < 4; i++) {
        found.view.decision = (struct span){big, i == 1 ? sizeof(big) : 3};
        found.view.session_keys = (struct span){big, i == 2 ? sizeof(big) : 3};
        buf_clear(&bytes);
        assert_int_equal(proxy_write_view(&found, &bytes), ERR_OK);
        assert_int_equal(proxy_read_views(buf_span(&bytes), 1, &got, &len), i % 3 ? ERR_PEER_PROTOCOL : ERR_OK);
        free(got);
    }
    buf_fini(&bytes);
}

static void test_places(void **state)
{
    struct store_place places[3] = {{.uid = 1},
                                    {.uid = 7, .is_view = true, .generation = 3, .wants_reopen = true},
                                    {.uid = UINT32_MAX, .is_view = true}},
                       *got;
    struct buf bytes;
    size_t len;
    (void)state;
    memset(places[1].digest, 7, STORE_DIGEST_SIZE);
    buf_init(&bytes, 10000);
    assert_int_equal(proxy_write_places(places, 3, &bytes), ERR_OK);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        bool is_whole = cut % (bytes.len / 3) == 0;
        enum err err = proxy_read_places(span_slice(buf_span(&bytes), 0, cut), &got, &len);
        assert_int_equal(err, is_whole ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_int_equal(len, is_whole ? cut / (bytes.len / 3) : 0);
        for (size_t i = 0; i < len; i++) {
            assert_int_equal(got[i].uid, places[i].uid);
            assert_int_equal(got[i].is_view, places[i].is_view);
            assert_int_equal(got[i].generation, places[i].generation);
            assert_int_equal(got[i].wants_reopen, places[i].wants_reopen);
            assert_memory_equal(got[i].digest, places[i].digest, STORE_DIGEST_SIZE);
        }
        free(got);
    }
    bytes.data[4] = 4; /* a bit that nobody knows */
    assert_int_equal(proxy_read_places(buf_span(&bytes), &got, &len), ERR_PEER_PROTOCOL);
    const uint32_t bad[][2] = {{0, 1}, {5, 5}, {6, 5}};
    for (size_t i = 0; i < 3; i++) {
        buf_clear(&bytes);
        places[0].uid = bad[i][0];
        places[1].uid = bad[i][1];
        assert_int_equal(proxy_write_places(places, 2, &bytes), ERR_OK);
        assert_int_equal(proxy_read_places(buf_span(&bytes), &got, &len), ERR_PEER_PROTOCOL);
        assert_null(got);
        assert_int_equal(len, 0);
    }
    buf_fini(&bytes);
}

static void test_uids(void **state)
{
    const uint32_t uids[3] = {9, 0, UINT32_MAX};
    uint32_t *got;
    struct buf bytes;
    size_t len;
    (void)state;
    buf_init(&bytes, 100);
    assert_int_equal(proxy_write_uids(uids, 3, &bytes), ERR_OK);
    for (size_t cut = 0; cut <= 12; cut++) {
        enum err err = proxy_read_uids(span_slice(buf_span(&bytes), 0, cut), &got, &len);
        assert_int_equal(err, cut % 4 ? ERR_PEER_PROTOCOL : ERR_OK);
        assert_int_equal(len, cut % 4 ? 0 : cut / 4);
        if (len > 0)
            assert_memory_equal(got, uids, cut);
        free(got);
    }
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_key), cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_totals),   cmocka_unit_test(test_content),
        cmocka_unit_test(test_keys),     cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_views),    cmocka_unit_test(test_views_beyond_their_bounds),
        cmocka_unit_test(test_places),   cmocka_unit_test(test_uids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
