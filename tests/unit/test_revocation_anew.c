/* Issuers asked anew while an answer counts still: what takes its place, and what does not. */
#include "tests/unit/revocation_asked.h"

/* What is asked anew takes the place of what counts still; where nothing comes, that stays. */
static void list_is_asked_for_anew(void **state)
{
    const struct made_news good = {.made_s = 0}, revoked = {.since_s = -3600};
    struct page *page = page_at(0, "/a.crl", 200);
    struct made leaf = leaf_of(&root, "localhost", "/a.crl", NULL, false);
    STACK_OF(X509) *path = path_of(&leaf, NULL);
    struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
    (void)state;
    made_list(&good, leaf.certificate, &root, &root, &page->body);
    assert_int_equal(ask(asker, path, 0).revocations[0].state, GOOD);
    page->code = 500;
    assert_int_equal(ask_anew(asker, path, 1).revocations[0].state, UNKNOWN);
    assert_int_equal(ask(asker, path, 2).revocations[0].state, GOOD);
    assert_int_equal(page->asked, 2);
    page->code = 200;
    buf_clear(&page->body);
    made_list(&revoked, leaf.certificate, &root, &root, &page->body);
    assert_int_equal(ask(asker, path, 400).revocations[0].state, GOOD);
    assert_int_equal(ask_anew(asker, path, 400).revocations[0].state, REVOKED);
    assert_int_equal(ask(asker, path, 401).revocations[0].state, REVOKED);
    assert_int_equal(page->asked, 3);
    keyring_asker_free(&asker);
    sk_X509_free(path);
    made_free(&leaf);
}

/* Who stands between us and the issuer takes back nothing that was said: not by something that is no answer, nor by an
   earlier answer, which says nothing of what was revoked since. */
static void what_counts_is_kept(void **state)
{
    static const struct {
        const char *what;
        struct made_news first, second;
        enum keyring_revocation_state expected; /* of what is asked anew */
        bool is_stranger, is_garbage, is_ocsp;
    } rows[] = {
        {"garbage", {.made_s = -60, .next_s = DAY}, {0}, UNKNOWN, false, true, false},
        {"garbage, revoked", {.made_s = -60, .next_s = DAY, .since_s = -90}, {0}, UNKNOWN, false, true, false},
        {"garbage of a responder", {.made_s = -60, .next_s = DAY}, {0}, UNKNOWN, false, true, true},
        {"another's list", {.made_s = -60, .next_s = DAY}, {.made_s = -30, .next_s = DAY}, UNKNOWN, true, false, false},
        {"out of date",
         {.made_s = -60, .next_s = DAY},
         {.made_s = -9000, .next_s = -7200},
         UNKNOWN,
         false,
         false,
         false},
        {"the one before",
         {.made_s = -60, .next_s = DAY, .since_s = -90},
         {.made_s = -600, .next_s = DAY},
         REVOKED,
         false,
         false,
         false},
        {"the one before, of a responder",
         {.made_s = -60, .next_s = DAY, .since_s = -90},
         {.made_s = -600, .next_s = DAY},
         REVOKED,
         false,
         false,
         true},
    };
    struct page *page = page_at(0, "/a", 200);
    struct made lists = leaf_of(&root, "localhost", "/a", NULL, false);
    struct made responds = leaf_of(&root, "localhost", NULL, "/a", false);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct made *leaf = rows[i].is_ocsp ? &responds : &lists, *by = rows[i].is_stranger ? &stranger : &root;
        void (*const make)(const struct made_news *, const X509 *, const struct made *, const struct made *,
                           struct buf *) = rows[i].is_ocsp ? made_answer : made_list;
        STACK_OF(X509) *path = path_of(leaf, NULL);
        struct keyring_asker *asker = asker_of(true, DEADLINE_MS);
        const enum keyring_revocation_state before = rows[i].first.since_s != 0 ? REVOKED : GOOD;
        page->asked = 0;
        buf_clear(&page->body);
        make(&rows[i].first, leaf->certificate, &root, &root, &page->body);
        const size_t size = page->body.len;
        assert_int_equal(ask(asker, path, 0).revocations[0].state, before);
        buf_clear(&page->body);
        if (rows[i].is_garbage)
            assert_int_equal(buf_add(&page->body, "<html>no such page</html>", 25), ERR_OK);
        else
            make(&rows[i].second, leaf->certificate, &root, by, &page->body);
        struct told told = ask_anew(asker, path, 1);
        if (told.revocations[0].state != rows[i].expected)
            fail_msg("%s, anew: %d", rows[i].what, told.revocations[0].state);
        told = ask(asker, path, 2);
        if (told.revocations[0].state != before || told.answers[0] != size)
            fail_msg("%s: %d", rows[i].what, told.revocations[0].state);
        assert_int_equal(page->asked, 2);
        /* It counts until it says so, and no longer. */
        assert_int_equal(ask(asker, path, DAY - 1).revocations[0].state, before);
        assert_int_equal(ask(asker, path, DAY + KEYRING_CLOCKS_S + 1).revocations[0].state, UNKNOWN);
        keyring_asker_free(&asker);
        sk_X509_free(path);
    }
    made_free(&lists);
    made_free(&responds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(list_is_asked_for_anew),
        TEST(what_counts_is_kept),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
