/* Issuers asked over HTTP: what is fetched, kept, joined and refused. The server is in this process, on its loop. */
#include "tests/unit/revocation_asked.h"

static void list_is_kept_until_it_runs_out(void **state)
{
    const struct made_news good = {.made_s = -60, .next_s = DAY},
                           later = {.made_s = DAY, .next_s = 2 * DAY, .since_s = DAY};
    struct page *page = page_at(0, "/a.crl", 200);
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    struct made other = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL), *path_of_other = path_of(&other, NULL);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    (void)state;
    made_list(&good, leaf.certificate, &root, &root, &page->body);
    struct told told = ask(asker, path, 0);
    assert_int_equal(told.len, 1);
    assert_int_equal(told.revocations[0].state, GOOD);
    assert_int_equal(told.answers[0], page->body.len);
    assert_int_equal(ask(asker, path, DAY - 1).revocations[0].state, GOOD);
    /* It serves for another certificate of the same issuer. */
    assert_int_equal(ask(asker, path_of_other, 0).revocations[0].state, GOOD);
    assert_int_equal(page->asked, 1);
    buf_clear(&page->body);
    made_list(&later, leaf.certificate, &root, &root, &page->body);
    assert_int_equal(ask(asker, path, DAY + 1).revocations[0].state, REVOKED);
    assert_int_equal(ask(asker, path_of_other, DAY + 1).revocations[0].state, GOOD);
    assert_int_equal(page->asked, 2);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    sk_X509_free(path_of_other);
    made_free(&leaf);
    made_free(&other);
}

static void responder_is_asked_where_no_list_helps(void **state)
{
    const struct made_news good = {.made_s = 0}, revoked = {.since_s = -DAY};
    struct page *list = page_at(0, "/a.crl", 200), *responder = page_at(1, "/ocsp", 200);
    struct made leaf = leaf_of(&root, "127.0.0.1", "/a.crl", "/ocsp", false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    (void)state;
    /* The list is a stranger's. */
    made_list(&good, leaf.certificate, &root, &stranger, &list->body);
    made_answer(&revoked, leaf.certificate, &root, &root, &responder->body);
    struct told told = ask(asker, path, 0);
    assert_int_equal(told.revocations[0].state, REVOKED);
    assert_int_equal(told.revocations[0].since, MADE_NOW - DAY);
    assert_true(responder->posted > 40);
    assert_int_equal(ask(asker, path, 1).revocations[0].state, REVOKED);
    assert_int_equal(list->asked, 1);
    assert_int_equal(responder->asked, 1);
    /* What was of no use is asked for again later. */
    assert_int_equal(ask(asker, path, KEYRING_ANSWER_FAILED_S + 1).revocations[0].state, REVOKED);
    assert_int_equal(list->asked, 2);
    assert_int_equal(responder->asked, 1);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    made_free(&leaf);
}

static void each_certificate_is_asked_about(void **state)
{
    const struct made_news good = {.made_s = 0}, revoked = {.since_s = -DAY};
    struct page *low = page_at(0, "/low.crl", 200), *high = page_at(1, "/high", 200);
    struct made middle = leaf_of(&root, "localhost", NULL, "/high", true);
    struct made leaf = leaf_of(&middle, "localhost", "/low.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, &middle);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    (void)state;
    made_list(&good, leaf.certificate, &middle, &middle, &low->body);
    made_answer(&revoked, middle.certificate, &root, &root, &high->body);
    struct told told = ask(asker, path, 0);
    assert_int_equal(told.len, 2);
    assert_int_equal(told.revocations[0].state, GOOD);
    assert_int_equal(told.revocations[1].state, REVOKED);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    made_free(&leaf);
    made_free(&middle);
}

static void equal_questions_are_joined(void **state)
{
    const struct made_news good = {.made_s = 0};
    struct page *page = page_at(0, "/a.crl", 200);
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    struct told tolds[20];
    struct keyring_ask *cancelled;
    (void)state;
    made_list(&good, leaf.certificate, &root, &root, &page->body);
    for (size_t i = 0; i < 20; i++)
        begin(asker, path, 0, &tolds[i]);
    assert_int_equal(keyring_ask_begin(asker, path, MADE_NOW, MADE_NOW, DEADLINE_MS, on_asked, NULL, &cancelled),
                     ERR_OK);
    keyring_ask_cancel(&cancelled);
    for (size_t i = 0; i < 20; i++) {
        await(&tolds[i]);
        assert_int_equal(tolds[i].revocations[0].state, GOOD);
    }
    assert_int_equal(page->asked, 1);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    made_free(&leaf);
}

/* Whatever a place does instead of answering, the answer is not known, and it is left alone for a while. */
static void no_answer_is_unknown(void **state)
{
    const struct made_news good = {.made_s = 0};
    static const struct {
        const char *what;
        int code;
        const char *elsewhere;
        size_t filling;
        uint32_t timeout_ms;
        bool is_stranger;
    } rows[] = {{"not found", 404, NULL, 0, DEADLINE_MS, false},
                {"its own fault", 500, NULL, 0, DEADLINE_MS, false},
                {"redirect", 302, "/b.crl", 0, DEADLINE_MS, false},
                {"redirect for ever", 301, "/a.crl", 0, DEADLINE_MS, false},
                {"too large", 200, NULL, KEYRING_ANSWER_MAX + 1, DEADLINE_MS, false},
                {"no answer", 0, NULL, 0, 50, false},
                {"no list", 200, NULL, 100, DEADLINE_MS, false},
                {"another's list", 200, NULL, 0, DEADLINE_MS, true}};
    struct page *page = page_at(0, "/a.crl", 200), *elsewhere = page_at(1, "/b.crl", 200);
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    (void)state;
    made_list(&good, leaf.certificate, &root, &root, &elsewhere->body);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keyring_asker *asker = asker_of(true, rows[i].timeout_ms);
        page->code = rows[i].code;
        page->elsewhere = rows[i].elsewhere;
        page->asked = 0;
        buf_clear(&page->body);
        for (size_t j = 0; j < rows[i].filling; j += 64)
            assert_int_equal(
                buf_add(&page->body, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64), ERR_OK);
        if (page->body.len == 0)
            made_list(&good, leaf.certificate, &root, rows[i].is_stranger ? &stranger : &root, &page->body);
        struct told told = ask(asker, path, 0);
        if (told.revocations[0].state != UNKNOWN || told.answers[0] != 0)
            fail_msg("%s: %d", rows[i].what, told.revocations[0].state);
        assert_int_equal(ask(asker, path, 1).revocations[0].state, UNKNOWN);
        if (page->asked != 1)
            fail_msg("%s: asked %u times", rows[i].what, page->asked);
        assert_int_equal(elsewhere->asked, 0);
        keyring_asker_free(&asker);
    }
    sk_X509_free(path);
    made_free(&leaf);
}

static void private_hosts_are_not_asked(void **state)
{
    const struct made_news good = {.made_s = 0};
    struct page *page = page_at(0, "/a.crl", 200);
    static const char *const names[] = {"localhost", "127.0.0.1", "[::ffff:127.0.0.1]"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct made leaf = leaf_of(&root, names[i], "/a.crl", NULL, false);
        STACK_OF(X509) *path = path_of(&leaf, NULL);
        struct keyring_asker *asker = asker_of(false, DEADLINE_MS);
        buf_clear(&page->body);
        made_list(&good, leaf.certificate, &root, &root, &page->body);
        assert_int_equal(ask(asker, path, 0).revocations[0].state, UNKNOWN);
        assert_int_equal(page->asked, 0);
        keyring_asker_free(&asker);
        sk_X509_free(path);
        made_free(&leaf);
    }
}

static void deadline_leaves_unknown(void **state)
{
    struct page *page = page_at(0, "/a.crl", 0);
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    struct keyring_ask *asked;
    struct told told = {.is_told = false};
    (void)state;
    assert_int_equal(keyring_ask_begin(asker, path, MADE_NOW, MADE_NOW, 50, on_asked, &told, &asked), ERR_OK);
    await(&told);
    assert_int_equal(told.revocations[0].state, UNKNOWN);
    assert_true(page->asked <= 1);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    made_free(&leaf);
}

static void silent_places_are_left_alone(void **state)
{
    struct page *page = page_at(0, "/silent", 0);
    struct made leaves[] = {leaf_of(&root, "localhost", NULL, "/silent", false),
                            leaf_of(&root, "localhost", NULL, "/silent", false)};
    struct keyring_asker *asker = asker_of(true, 100);
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        STACK_OF(X509) *path = path_of(&leaves[i > 0], NULL);
        struct told told = ask(asker, path, i < 2 ? 0 : KEYRING_ANSWER_FAILED_S + 1);
        assert_int_equal(told.revocations[0].state, UNKNOWN);
        assert_int_equal(page->asked, i < 2 ? 1 : 2);
        sk_X509_free(path);
    }
    keyring_asker_free(&asker);
    made_free(&leaves[0]);
    made_free(&leaves[1]);
}

/* Also a chain of an anchor alone, of which there is nobody to ask. */
static void nobody_to_ask_is_unknown(void **state)
{
    struct made leaf = leaf_of(&root, "localhost", NULL, NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL), *alone = sk_X509_new_null();
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    (void)state;
    assert_true(sk_X509_push(alone, root.certificate) > 0);
    struct told told = ask(asker, path, 0);
    assert_int_equal(told.revocations[0].state, UNKNOWN);
    assert_non_null(strstr(told.revocations[0].reason, "nobody"));
    assert_int_equal(ask(asker, alone, 0).len, 0);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    sk_X509_free(alone);
    made_free(&leaf);
}

static void cache_is_bounded(void **state)
{
    const struct made_news good = {.made_s = 0};
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    struct made first = {NULL, NULL};
    struct page *page = page_at(0, "/a", 200);
    (void)state;
    for (unsigned i = 0; i <= KEYRING_ANSWERS_MAX; i++) {
        struct made leaf = leaf_of(&root, "localhost", NULL, "/a", false);
        STACK_OF(X509) *path = path_of(&leaf, NULL);
        buf_clear(&page->body);
        made_answer(&good, leaf.certificate, &root, &root, &page->body);
        assert_int_equal(ask(asker, path, 0).revocations[0].state, GOOD);
        if (i == 0)
            first = leaf;
        else
            made_free(&leaf);
        sk_X509_free(path);
    }
    assert_int_equal(page->asked, KEYRING_ANSWERS_MAX + 1);
    /* The first was forgotten. */
    STACK_OF(X509) *path = path_of(&first, NULL);
    (void)ask(asker, path, 0);
    assert_int_equal(page->asked, KEYRING_ANSWERS_MAX + 2);
    sk_X509_free(path);
    made_free(&first);
    keyring_asker_free(&asker);
}

static void addresses_are_told_apart(void **state)
{
    static const char *const public[] = {"8.8.8.8",         "172.15.0.1",     "172.32.0.1",
                                         "192.167.1.1",     "100.128.0.1",    "2a00:1450::1",
                                         "2002:808:808::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"};
    static const char *const private[] = {"0.0.0.0",
                                          "10.1.2.3",
                                          "100.64.0.1",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "169.254.169.254",
                                          "172.16.0.1",
                                          "172.31.255.255",
                                          "192.168.0.1",
                                          "192.0.0.8",
                                          "198.18.0.1",
                                          "198.51.100.1",
                                          "203.0.113.1",
                                          "224.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "fe80::1",
                                          "fc00::1",
                                          "fd00::1",
                                          "ff02::1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::10.0.0.1",
                                          "2002:a00:1::1",
                                          "2001::1",
                                          "2001:db8::1",
                                          "3fff::1",
                                          "::127.0.0.1"};
    struct address_list list;
    (void)state;
    for (size_t i = 0; i < sizeof public / sizeof *public; i++) {
        assert_int_equal(address_literal(public[i], 80, &list), ERR_OK);
        if (!keyring_fetch_is_public(&list.items[0]))
            fail_msg("%s", public[i]);
    }
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        assert_int_equal(address_literal(private[i], 80, &list), ERR_OK);
        if (keyring_fetch_is_public(&list.items[0]))
            fail_msg("%s", private[i]);
    }
}

static void on_nothing(void *context, enum err err, struct span answer)
{
    (void)context;
    (void)err;
    (void)answer;
    fail();
}

static void urls_are_refused(void **state)
{
    static const char *const urls[] = {"",
                                       "http:",
                                       "http://",
                                       "http:///a",
                                       "https://127.0.0.1/",
                                       "ftp://127.0.0.1/",
                                       "file:///etc/passwd",
                                       "http://a@127.0.0.1/",
                                       "http://127.0.0.1:0/",
                                       "http://127.0.0.1:99999/",
                                       "//127.0.0.1/",
                                       "http://127.0.0.1/a b"};
    const struct keyring_fetch_options options = {
        .base = base, .hosts = hosts, .hosts_len = 2, .answer_max = 100, .timeout_ms = DEADLINE_MS};
    struct keyring_fetch *fetch;
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (keyring_fetch_begin(&options, urls[i], NULL, SPAN_NONE, on_nothing, NULL, &fetch) != ERR_MALFORMED)
            fail_msg("%s", urls[i]);
        assert_null(fetch);
    }
}

static void command_asks_in_one_call(void **state)
{
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    size_t len;
    (void)state;
    assert_int_equal(keyring_ask_now(NULL, 0, path, MADE_NOW, MADE_NOW, DEADLINE_MS, revocations, &len), ERR_OK);
    assert_int_equal(len, 1);
    assert_int_equal(revocations[0].state, UNKNOWN);
    sk_X509_free(path);
    made_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(list_is_kept_until_it_runs_out),
        TEST(responder_is_asked_where_no_list_helps),
        TEST(each_certificate_is_asked_about),
        TEST(equal_questions_are_joined),
        TEST(no_answer_is_unknown),
        TEST(private_hosts_are_not_asked),
        TEST(deadline_leaves_unknown),
        TEST(silent_places_are_left_alone),
        TEST(nobody_to_ask_is_unknown),
        TEST(cache_is_bounded),
        TEST(addresses_are_told_apart),
        TEST(urls_are_refused),
        TEST(command_asks_in_one_call),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
