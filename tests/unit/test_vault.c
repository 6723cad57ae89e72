/* The vault process as net sees it: everything that can be asked for, through a real one, which may be killed. */
#include "tests/unit/vault_run.h"

#include <fcntl.h>
#include <sys/socket.h>

static void test_views(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[3] = {key_of(1), key_of(2), key_of(3)};
    put(1, false, "Subject: one\r\n\r\nhello\r\n");
    put(3, false, "Subject: three\r\n\r\nworld\r\n");
    assert_int_equal(proxy_vault_views_get(link_, keys, 3, on_views, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 3);
    assert_true(got.is_found[0] && !got.is_found[1] && got.is_found[2]);
    assert_int_equal(got.records[0], 101);
    assert_int_equal(got.records[2], 103);
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, keys[0].digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.generation, 0);
    assert_int_equal(proxy_vault_view_generation(link_, ALICE, keys[1].digest, on_generation, &got, NULL), ERR_OK);
    run(&got.times, 3);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    /* Another decision for what was decided. */
    struct proxy_vault_request *request = begin_put(1, true, 10, "\r\n", &got);
    assert_non_null(request);
    run(&got.times, 4);
    assert_int_equal(got.err, ERR_EXISTS);
    assert_int_equal(lost, 0);
}

static void on_encrypted(enum err err, bool is_found, void *context)
{
    ((struct got *)context)->is_found[0] = is_found;
    on_done(err, context);
}

/* What was acknowledged is known to the next vault, too. */
static void test_encrypted_ids(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct crypto_message_ids ids;
    put(1, false, "\r\n");
    put(2, true, "\r\n");
    for (unsigned i = 0; i < 8; i++) {
        const unsigned number = i % 4 == 3 ? 1 : i % 4;
        if (i == 4) {
            end_vault(SIGKILL);
            start_vault();
        }
        assert_true(crypto_message_ids_load(id_of(number), &ids));
        assert_int_equal(
            proxy_vault_find_encrypted(link_, i % 4 == 3 ? "bob@example.org" : ALICE, &ids, on_encrypted, &got, NULL),
            ERR_OK);
        run(&got.times, i + 1);
        assert_int_equal(got.err, ERR_OK);
        assert_int_equal(got.is_found[0], i % 4 == 1);
    }
    struct proxy_vault_request *request;
    assert_int_equal(proxy_vault_find_encrypted(link_, ALICE, &ids, on_encrypted, &got, &request), ERR_OK);
    proxy_vault_cancel(&request);
    assert_int_equal(proxy_vault_find_encrypted(link_, ALICE, &ids, on_encrypted, &got, NULL), ERR_OK);
    run(&got.times, 9);
    assert_int_equal(got.times, 9);
}

static void test_search(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[3] = {key_of(1), key_of(2), key_of(3)};
    const struct mime_text_leaf leaves[] = {{.kind = MIME_TEXT_BODY, .needle = (char[]){"HELLO"}},
                                            {.kind = MIME_TEXT_ANY, .needle = (char[]){"SHARED"}}};
    put(1, false, "Subject: shared\r\n\r\nhello\r\n");
    put(3, false, "Subject: three\r\n\r\nshared\r\n");
    assert_int_equal(proxy_vault_view_search(link_, keys, 3, leaves, 2, on_search, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_NOT_FOUND);
    assert_int_equal(got.missing, 1);
    keys[1] = key_of(3);
    assert_int_equal(proxy_vault_view_search(link_, keys, 3, leaves, 2, on_search, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.bits[0], 1);
    assert_int_equal(got.bits[1], 7);
    assert_int_equal(lost, 0);
}

static void test_places(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7}, moved = {ALICE, SPAN_LIT("Old"), 7};
    struct store_place places[] = {{.uid = 9, .is_view = true, .generation = 1}, {.uid = 2}, {.uid = 9}, {.uid = 4}};
    const uint32_t gone[] = {2, 77};
    places[2] = places[0];
    places[2].generation = 2;
    assert_int_equal(proxy_vault_places_put(link_, &inbox, places, 4, on_done, &got, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_forget(link_, &inbox, gone, 2, NULL, NULL, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_rename(link_, ALICE, inbox.name, moved.name, '/', on_done, &got, NULL), ERR_OK);
    assert_int_equal(proxy_vault_places_get(link_, &moved, on_places, &got, NULL), ERR_OK);
    run(&got.times, 3);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.places[0].uid, 4);
    assert_int_equal(got.places[1].uid, 9);
    assert_int_equal(got.places[1].generation, 2);
    assert_int_equal(proxy_vault_places_get(link_, &inbox, on_places, &got, NULL), ERR_OK);
    run(&got.times, 4);
    assert_int_equal(got.len, 0);
    assert_int_equal(lost, 0);
}

static void test_other_names(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    const struct store_view_key names[] = {key_of(1), key_of(2), key_of(3)};
    struct store_place view = {.is_view = true}, none = {.is_view = false};
    memcpy(view.digest, key_of(9).digest, sizeof view.digest);
    (void)begin_put(9, false, 10, "text", &got);
    run(&got.times, 1);
    assert_int_equal(proxy_vault_alias_put(link_, ALICE, names[1].digest, &none), ERR_OK);
    assert_int_equal(proxy_vault_alias_put(link_, ALICE, names[2].digest, &view), ERR_OK);
    assert_int_equal(proxy_vault_aliases_get(link_, names, 3, on_places, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.places[0].uid, 2);
    assert_false(got.places[0].is_view);
    assert_int_equal(got.places[1].uid, 3);
    assert_true(got.places[1].is_view);
    assert_memory_equal(got.places[1].digest, view.digest, sizeof view.digest);
    assert_int_equal(proxy_vault_aliases_get(link_, names, 0, on_places, &got, NULL), ERR_INTERNAL);
    assert_int_equal(lost, 0);
}

static void on_count(enum err err, struct ipc_in *answer, void *context)
{
    ((struct got *)context)->len = err == ERR_OK ? (size_t)ipc_get_u64(answer) : 0;
    on_done(err, context);
}

/* What the command line asks for: whatever could not be opened is marked. */
static void test_reopening(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_mailbox inbox = {ALICE, SPAN_LIT("INBOX"), 7};
    struct store_place places[2] = {{.uid = 1, .is_view = true}, {.uid = 2, .is_view = true}};
    struct ipc_out out;
    for (unsigned i = 0; i < 2; i++) {
        memcpy(places[i].digest, key_of(i + 1).digest, STORE_DIGEST_SIZE);
        put(i + 1, i == 1, "\r\n");
    }
    assert_int_equal(proxy_vault_places_put(link_, &inbox, places, 2, NULL, NULL, NULL), ERR_OK);
    ipc_out_begin(&out, PROXY_STORE_REOPEN);
    ipc_put_string(&out, ALICE);
    assert_int_equal(proxy_vault_ask(link_, &out, on_count, &got, NULL), ERR_OK);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 1);
    assert_int_equal(proxy_vault_places_get(link_, &inbox, on_places, &got, NULL), ERR_OK);
    run(&got.times, 2);
    assert_int_equal(got.len, 2);
    assert_false(got.places[0].wants_reopen);
    assert_true(got.places[1].wants_reopen);
    assert_int_equal(lost, 0);
}

/* Many at once, of which every third is cancelled and every seventh cannot be answered for. */
static void test_many_at_once(void **state)
{
    enum { MANY = 500 };
    (void)state;
    static struct got all[MANY];
    memset(all, 0, sizeof all);
    struct got last = {.times = 0};
    for (unsigned i = 0; i < MANY; i++) {
        struct proxy_vault_request *request =
            begin_put(i - (i % 7 == 6), i % 7 == 6, 3000, "Subject: x\r\n\r\ntext\r\n", &all[i]);
        if (i % 3 == 0)
            proxy_vault_cancel(&request);
        assert_true((request == NULL) == (i % 3 == 0));
    }
    struct store_view_key key = key_of(MANY - 1);
    assert_int_equal(proxy_vault_views_get(link_, &key, 1, on_views, &last, NULL), ERR_OK);
    run(&last.times, 1);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(all[i].times, i % 3 == 0 ? 0 : 1);
        if (i % 3 != 0)
            assert_int_equal(all[i].err, i % 7 == 6 ? ERR_EXISTS : ERR_OK);
    }
    static struct store_view_key keys[MANY];
    for (unsigned i = 0; i < MANY; i++)
        keys[i] = key_of(i);
    assert_int_equal(proxy_vault_views_get(link_, keys, MANY, on_views, &last, NULL), ERR_OK);
    run(&last.times, 2);
    assert_int_equal(last.len, MANY);
    assert_int_equal(lost, 0);
}

/* Answers are bounded: what does not fit is asked for again. */
static void test_answers_are_bounded(void **state)
{
    (void)state;
    struct got got = {.times = 0};
    struct store_view_key keys[5];
    for (unsigned i = 0; i < 5; i++) {
        keys[i] = key_of(i);
        (void)begin_put(i, false, (size_t)12 << 20, "\r\n", &got);
    }
    run(&got.times, 5);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(proxy_vault_views_get(link_, keys, 5, on_views, &got, NULL), ERR_OK);
    run(&got.times, 6);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(got.len, 3);
    assert_int_equal(proxy_vault_views_get(link_, keys + 3, 2, on_views, &got, NULL), ERR_OK);
    run(&got.times, 7);
    assert_int_equal(got.len, 2);
    assert_int_equal(got.records[1], 12 << 20);
}

static void test_a_killed_vault_loses_nothing(void **state)
{
    (void)state;
    static struct got all[60];
    memset(all, 0, sizeof all);
    struct got got = {.times = 0};
    for (unsigned i = 0; i < 60; i++) {
        (void)begin_put(i, false, 100, "\r\n", &all[i]);
        if (i == 30) {
            end_vault(SIGKILL);
            start_vault();
        }
    }
    struct store_view_key keys[60];
    for (unsigned i = 0; i < 60; i++)
        keys[i] = key_of(i);
    assert_int_equal(proxy_vault_views_get(link_, keys, 60, on_views, &got, NULL), ERR_OK);
    run(&got.times, 1);
    /* Those that the first one had not answered went to the next. */
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(all[i].times, 1);
        assert_int_equal(all[i].err, ERR_OK);
    }
    assert_int_equal(got.len, 60);
}

static void test_the_bound_is_kept(void **state)
{
    (void)state;
    static struct got all[100];
    memset(all, 0, sizeof all);
    end_vault(0);
    config.store_max = 1 << 20;
    start_vault();
    for (unsigned i = 0; i < 100; i++)
        (void)begin_put(i, false, 100000, "\r\n", &all[i]);
    run(&all[99].times, 1);
    struct got got = {.times = 0};
    struct store_view_key keys[2] = {key_of(0), key_of(99)};
    /* It is brought about a step at a time, between requests. */
    for (unsigned i = 0; i < 1000 && (got.times == 0 || got.records[0] > 0); i++) {
        assert_int_equal(proxy_vault_views_get(link_, keys, 2, on_views, &got, NULL), ERR_OK);
        run(&got.times, i + 1);
    }
    assert_true(got.is_found[0] && got.is_found[1]);
    assert_int_equal(got.records[0], 0);
    assert_int_equal(got.records[1], 100000);
    const struct mime_text_leaf leaf = {.kind = MIME_TEXT_LARGER, .number = 0};
    struct got found = {.times = 0};
    assert_int_equal(proxy_vault_view_search(link_, keys + 1, 1, &leaf, 1, on_search, &found, NULL), ERR_OK);
    run(&found.times, 1);
    assert_int_equal(found.err, ERR_OK);
    assert_int_equal(proxy_vault_view_search(link_, keys, 1, &leaf, 1, on_search, &found, NULL), ERR_OK);
    run(&found.times, 2);
    assert_int_equal(found.err, ERR_NOT_FOUND);
}

static void send_raw(struct ipc_out *out, enum err expected)
{
    int client[2];
    struct ipc_out give;
    struct ipc_in in;
    assert_int_equal(ipc_pair(false, client), ERR_OK);
    ipc_out_begin(&give, PROXY_VAULT_CLIENT);
    ipc_put_file(&give, client[1]);
    assert_int_equal(ipc_send(control, &give), ERR_OK);
    close(client[1]);
    assert_int_equal(ipc_send(client[0], out), ERR_OK);
    assert_int_equal(ipc_recv(client[0], &in), expected);
    if (expected == ERR_OK)
        ipc_in_fini(&in);
    close(client[0]);
}

/* Whatever makes no sense ends the client that sent it, and nobody else. */
static void test_malformed_requests(void **state)
{
    (void)state;
    struct ipc_out out;
    int fd, other;
    for (unsigned type = 0; type < PROXY_VAULT_DONE + 3; type++) {
        ipc_out_begin(&out, (uint16_t)type);
        send_raw(&out, ERR_END);
        ipc_out_begin(&out, (uint16_t)type);
        for (unsigned i = 0; i < 8; i++)
            ipc_put_u32(&out, i);
        send_raw(&out, ERR_END);
    }
    assert_int_equal(memfd_of("bad", SPAN_LIT("no keys"), 100, &fd), ERR_OK);
    assert_int_equal(memfd_of("bad", SPAN_LIT("no leaves"), 100, &other), ERR_OK);
    ipc_out_begin(&out, PROXY_VIEW_GET);
    ipc_put_string(&out, ALICE);
    ipc_put_file(&out, fd);
    send_raw(&out, ERR_END);
    ipc_out_begin(&out, PROXY_VIEW_SEARCH);
    ipc_put_string(&out, ALICE);
    ipc_put_file(&out, fd);
    ipc_put_file(&out, other);
    send_raw(&out, ERR_END);
    const uint16_t types[] = {PROXY_PLACES_PUT, PROXY_PLACES_FORGET};
    for (size_t i = 0; i < 2; i++) {
        ipc_out_begin(&out, types[i]);
        ipc_put_string(&out, ALICE);
        ipc_put_string(&out, "INBOX");
        ipc_put_u32(&out, 1);
        ipc_put_file(&out, fd);
        send_raw(&out, ERR_END);
    }
    /* IDs that are none. */
    ipc_out_begin(&out, PROXY_ENCRYPTED_FIND);
    ipc_put_string(&out, ALICE);
    ipc_put_string(&out, "half a digest");
    send_raw(&out, ERR_END);
    /* A decision that is none. */
    ipc_out_begin(&out, PROXY_VIEW_PUT);
    const struct store_view_key key = key_of(1);
    ipc_put_string(&out, ALICE);
    ipc_put_span(&out, (struct span){(const char *)key.digest, sizeof key.digest});
    ipc_put_u32(&out, 0);
    ipc_put_u64(&out, 0);
    ipc_put_string(&out, "decided");
    ipc_put_string(&out, "k");
    ipc_put_string(&out, "");
    ipc_put_file(&out, fd);
    ipc_put_file(&out, other);
    send_raw(&out, ERR_END);
    close(fd);
    close(other);
    ipc_out_begin(&out, PROXY_STORE_TOTALS);
    ipc_put_string(&out, ALICE);
    send_raw(&out, ERR_OK);
    put(1, false, "\r\n");
    assert_int_equal(lost, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encrypted_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_search, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopening, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_killed_vault_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_bound_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_requests, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
