/* Places: what is known of which UID, through changes of UIDVALIDITY, renames, later generations and damage. */
#include "store/view.h"

#include "store_dir.h"

#include <signal.h>
#include <sys/wait.h>

#define NOW INT64_C(1800000000)
#define ALICE "alice@example.org"

static struct store_mailbox mailbox_of(const char *name, uint32_t uid_validity)
{
    return (struct store_mailbox){.account = ALICE, .name = span_of(name), .uid_validity = uid_validity};
}

static struct store_place view_at(uint32_t uid, unsigned message, uint32_t generation)
{
    struct store_place place = {.uid = uid, .is_view = true, .generation = generation};
    memcpy(place.digest, &message, sizeof message);
    return place;
}

static struct store_place plain_at(uint32_t uid)
{
    return (struct store_place){.uid = uid};
}

static void put(struct store *store, const char *name, uint32_t uid_validity, struct store_place place)
{
    const struct store_mailbox mailbox = mailbox_of(name, uid_validity);
    assert_int_equal(store_places_put(store, &mailbox, &place, 1), ERR_OK);
}

static void forget(struct store *store, const char *name, uint32_t uid_validity, uint32_t uid)
{
    const struct store_mailbox mailbox = mailbox_of(name, uid_validity);
    assert_int_equal(store_places_forget(store, &mailbox, &uid, 1), ERR_OK);
}

static void move(struct store *store, const char *from, const char *to)
{
    assert_int_equal(store_places_rename(store, ALICE, span_of(from), span_of(to), '/'), ERR_OK);
}

/* "3 5v7.1 9": UIDs; of a view the message and, if it is not 0, the generation; "!": to be judged again. */
static void expect(struct store *store, const char *name, uint32_t uid_validity, const char *wanted)
{
    const struct store_mailbox mailbox = mailbox_of(name, uid_validity);
    struct store_place *places;
    struct buf text;
    size_t len;
    buf_init(&text, 1000000);
    assert_int_equal(store_places_get(store, &mailbox, &places, &len), ERR_OK);
    for (size_t i = 0; i < len; i++) {
        unsigned message;
        memcpy(&message, places[i].digest, sizeof message);
        assert_int_equal(buf_addf(&text, "%s%u", i ? " " : "", places[i].uid), ERR_OK);
        if (places[i].is_view)
            assert_int_equal(buf_addf(&text, "v%u", message), ERR_OK);
        if (places[i].is_view && places[i].generation)
            assert_int_equal(buf_addf(&text, ".%u", places[i].generation), ERR_OK);
        if (places[i].wants_reopen)
            assert_int_equal(buf_addf(&text, "!"), ERR_OK);
    }
    assert_string_equal(text.data, wanted);
    buf_fini(&text);
    free(places);
}

static struct store *again(struct store *store)
{
    store_close(&store);
    return open_store();
}

static void test_places_are_kept(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_mailbox inbox = mailbox_of("INBOX", 7);
    expect(store, "INBOX", 7, "");
    const struct store_place some[] = {view_at(300, 4, 0), plain_at(5), view_at(UINT32_MAX, 5, 0), plain_at(255),
                                       plain_at(256)};
    assert_int_equal(store_places_put(store, &inbox, some, 5), ERR_OK);
    expect(store, "INBOX", 7, "5 255 256 300v4 4294967295v5");
    put(store, "INBOX", 7, view_at(5, 9, 0));
    put(store, "Sent", 7, plain_at(5));
    put(store, "INBOX", 7, plain_at(0));
    store = again(store);
    expect(store, "INBOX", 7, "5v9 255 256 300v4 4294967295v5");
    expect(store, "Sent", 7, "5");
    expect(store, "inbox", 7, "");
    struct store_mailbox other = inbox;
    struct store_place *places;
    size_t len;
    other.account = "bob@example.org";
    assert_int_equal(store_places_get(store, &other, &places, &len), ERR_OK);
    assert_int_equal(len, 0);
    free(places);
    store_close(&store);
}

/* "1v7 3": of the names 1 to 9 those that are known. */
static void expect_names(struct store *store, const char *wanted)
{
    struct store_view_key names[9];
    struct store_place *places;
    struct buf text;
    size_t len;
    buf_init(&text, 1000);
    for (size_t i = 0; i < 9; i++)
        names[i] = (struct store_view_key){.account = ALICE, .digest = {(uint8_t)(i + 1)}};
    assert_int_equal(store_aliases_get(store, names, 9, &places, &len), ERR_OK);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(places[i].generation, 0);
        assert_int_equal(buf_addf(&text, "%s%u", i ? " " : "", places[i].uid), ERR_OK);
        if (places[i].is_view)
            assert_int_equal(buf_addf(&text, "v%u", places[i].digest[0]), ERR_OK);
    }
    assert_string_equal(text.len ? text.data : "", wanted);
    buf_fini(&text);
    free(places);
}

static void test_other_names(void **state)
{
    (void)state;
    struct store *store = open_store();
    const uint8_t one[STORE_DIGEST_SIZE] = {1}, three[STORE_DIGEST_SIZE] = {3}, four[STORE_DIGEST_SIZE] = {4};
    const struct store_place seven = view_at(99, 7, 0), eight = view_at(99, 8, 0), none = plain_at(5);
    struct store_view_key key = {.account = ALICE};
    const struct store_view view = {.decision = SPAN_LIT("d"), .session_keys = SPAN_LIT("k")};
    expect_names(store, "");
    assert_int_equal(store_alias_put(store, ALICE, one, &eight), ERR_OK);
    expect_names(store, ""); /* never decided */
    for (const struct store_place *place = &seven; place; place = place == &seven ? &eight : NULL) {
        memcpy(key.digest, place->digest, sizeof key.digest);
        assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
    }
    expect_names(store, "1v8");
    assert_int_equal(store_alias_put(store, ALICE, one, &seven), ERR_OK);
    assert_int_equal(store_alias_put(store, ALICE, three, &none), ERR_OK);
    assert_int_equal(store_alias_put(store, "bob@example.org", four, &seven), ERR_OK);
    expect_names(store, "1v7 3");
    store = again(store);
    expect_names(store, "1v7 3");
    /* One that has been judged again: which of the two counts is for the place to say. */
    key.generation = 1;
    memcpy(key.digest, seven.digest, sizeof key.digest);
    assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
    expect_names(store, "3");
    assert_int_equal(store_alias_put(store, ALICE, four, &eight), ERR_OK);
    expect_names(store, "3 4v8");
    assert_int_equal(store_view_clear(store, "bob@example.org"), ERR_OK);
    expect_names(store, "3 4v8");
    assert_int_equal(store_view_clear(store, ALICE), ERR_OK);
    expect_names(store, "");
    store_close(&store);
}

static void test_forgetting(void **state)
{
    (void)state;
    struct store *store = open_store();
    const struct store_mailbox inbox = mailbox_of("INBOX", 7);
    for (uint32_t i = 1; i < 600; i += 2)
        put(store, "INBOX", 7, i % 3 ? plain_at(i) : view_at(i, i, i % 9 ? 0 : 1));
    uint32_t all[600];
    for (uint32_t i = 0; i < 600; i++)
        all[i] = 599 - i;
    assert_int_equal(store_places_forget(store, &inbox, all + 2, 598), ERR_OK);
    expect(store, "INBOX", 7, "599");
    forget(store, "INBOX", 7, 4);
    forget(store, "Nowhere", 7, 4);
    forget(store, "INBOX", 7, 599);
    expect(store, "INBOX", 7, "");
    store_close(&store);
}

static void test_another_uid_validity_forgets(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, "INBOX", 7, plain_at(1));
    put(store, "INBOX", 7, view_at(2, 2, 1));
    put(store, "INBOX", 8, plain_at(3));
    expect(store, "INBOX", 8, "3");
    put(store, "INBOX", 8, view_at(4, 4, 2));
    store = again(store);
    expect(store, "INBOX", 8, "3 4v4.2");
    forget(store, "INBOX", 9, 1);
    expect(store, "INBOX", 9, "");
    expect(store, "INBOX", 8, "");
    store_close(&store);
}

static void test_renaming(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, "a", 1, plain_at(1));
    put(store, "a", 1, view_at(2, 2, 1));
    put(store, "a/x", 1, plain_at(3));
    put(store, "a/x/y", 1, view_at(4, 4, 3));
    put(store, "ab", 1, plain_at(5));
    put(store, "b", 1, plain_at(6));
    put(store, "b/x", 1, view_at(7, 7, 1));
    move(store, "a", "b");
    expect(store, "a", 1, "");
    expect(store, "b", 1, "1 2v2.1");
    expect(store, "b/x", 1, "3");
    expect(store, "b/x/y", 1, "4v4.3");
    expect(store, "ab", 1, "5");
    /* Below itself: every name is another one's old one. */
    move(store, "b", "b/x");
    store = again(store);
    expect(store, "b", 1, "");
    expect(store, "b/x", 1, "1 2v2.1");
    expect(store, "b/x/x", 1, "3");
    expect(store, "b/x/x/y", 1, "4v4.3");
    move(store, "b/x", "b/x");
    move(store, "no such", "thing");
    expect(store, "b/x", 1, "1 2v2.1");
    /* Deleted: what is below stays. */
    move(store, "b/x", "");
    expect(store, "b/x", 1, "");
    expect(store, "b/x/x", 1, "3");
    /* A server without hierarchy. */
    assert_int_equal(store_places_rename(store, ALICE, SPAN_LIT("b/x/x"), SPAN_LIT("c"), '\0'), ERR_OK);
    expect(store, "c", 1, "3");
    expect(store, "b/x/x/y", 1, "4v4.3");
    store_close(&store);
}

/* What has once been shown as another generation is never shown as an earlier one. */
static void test_later_generations_are_never_lost(void **state)
{
    (void)state;
    struct store *store = open_store();
    put(store, "INBOX", 7, view_at(1, 1, 0));
    put(store, "INBOX", 7, view_at(2, 2, 2));
    put(store, "INBOX", 7, plain_at(3));
    put(store, "INBOX", 7, view_at(2, 2, 0));
    put(store, "INBOX", 7, view_at(2, 2, 1));
    expect(store, "INBOX", 7, "1v1 2v2.2 3");
    put(store, "INBOX", 7, view_at(2, 2, 3));
    expect(store, "INBOX", 7, "1v1 2v2.3 3");
    assert_int_equal(store_view_clear(store, ALICE), ERR_OK);
    expect(store, "INBOX", 7, "2v2.3");
    put(store, "INBOX", 7, view_at(1, 1, 0));
    assert_int_equal(store_view_clear(store, NULL), ERR_OK);
    expect(store, "INBOX", 7, "2v2.3");
    put(store, "INBOX", 7, view_at(1, 1, 0));
    store_close(&store);
    assert_int_equal(unlink(in_directory("views.sqlite")), 0);
    store = open_store();
    expect(store, "INBOX", 7, "2v2.3");
    forget(store, "INBOX", 7, 2);
    expect(store, "INBOX", 7, "");
    store_close(&store);
}

static void test_marks(void **state)
{
    (void)state;
    struct store *store = open_store();
    uint64_t messages;
    for (unsigned message = 1; message < 4; message++) {
        struct store_view_key key = {.account = ALICE};
        const struct store_view view = {
            .decision = SPAN_LIT("failed"), .record = SPAN_LIT("record"), .is_failed = message != 3};
        memcpy(key.digest, &message, sizeof message);
        assert_int_equal(store_view_put(store, &key, &view, NOW), ERR_OK);
        put(store, "INBOX", 7, view_at(message, message, 0));
    }
    put(store, "Sent", 7, view_at(9, 2, 0));
    put(store, "Sent", 7, view_at(8, 2, 1));
    put(store, "Sent", 7, plain_at(7));
    expect(store, "INBOX", 7, "1v1 2v2 3v3");
    assert_int_equal(store_view_reopen(store, ALICE, &messages), ERR_OK);
    assert_int_equal(messages, 2);
    store = again(store);
    expect(store, "INBOX", 7, "1v1! 2v2! 3v3");
    expect(store, "Sent", 7, "7 8v2.1 9v2!");
    store_close(&store);
}

static void test_totals(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_totals totals;
    put(store, "INBOX", 7, plain_at(1));
    put(store, "INBOX", 7, plain_at(2000));
    put(store, "INBOX", 7, view_at(2, 2, 1));
    put(store, "Sent", 7, view_at(9, 2, 0));
    assert_int_equal(store_view_totals(store, ALICE, &totals), ERR_OK);
    assert_int_equal(totals.places, 4);
    assert_int_equal(totals.mailboxes, 2);
    assert_int_equal(store_view_totals(store, "bob@example.org", &totals), ERR_OK);
    assert_int_equal(totals.places, 0);
    store_close(&store);
}

static void test_nothing_readable_on_disk(void **state)
{
    (void)state;
    struct store *store = open_store();
    struct store_place place = view_at(7, 1, 0);
    memset(place.digest, 'D', sizeof place.digest);
    put(store, "A secret folder", 7, place);
    place.generation = 1;
    put(store, "A secret folder", 7, place);
    assert_not_on_disk("secret folder");
    assert_not_on_disk("DDDD");
    store_close(&store);
}

static void test_names(void **state)
{
    (void)state;
    struct store *store = open_store();
    char long_name[9001];
    struct store_mailbox mailbox = mailbox_of("", 1);
    const struct store_place place = plain_at(1);
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    put(store, "", 1, plain_at(4));
    expect(store, "", 1, "4");
    mailbox.name = (struct span){"a\0b", 3};
    assert_int_equal(store_places_put(store, &mailbox, &place, 1), ERR_OK);
    expect(store, "a", 1, "");
    mailbox.name = span_of(long_name);
    assert_int_equal(store_places_put(store, &mailbox, &place, 1), ERR_LIMIT);
    mailbox.name.len = 8192;
    assert_int_equal(store_places_put(store, &mailbox, &place, 1), ERR_OK);
    /* Renamed to what is too long: nothing is renamed. */
    put(store, "p", 1, plain_at(1));
    put(store, "p/q", 1, plain_at(2));
    assert_int_equal(store_places_rename(store, ALICE, SPAN_LIT("p"), mailbox.name, '/'), ERR_LIMIT);
    expect(store, "p", 1, "1");
    expect(store, "p/q", 1, "2");
    store_close(&store);
}

/* A big mailbox, made and read in one piece, and then damaged at every page. */
static void test_many_places_and_damage(void **state)
{
    enum { MANY = 50000 };
    (void)state;
    struct store *store = open_store();
    const struct store_mailbox inbox = mailbox_of("INBOX", 7);
    struct store_place *places = calloc(MANY, sizeof *places), *found;
    struct buf whole;
    size_t len;
    for (unsigned i = 0; i < MANY; i++)
        places[i] = i % 10 ? plain_at(i * 3 + 1) : view_at(i * 3 + 1, i, 0);
    assert_int_equal(store_places_put(store, &inbox, places, MANY), ERR_OK);
    put(store, "INBOX", 7, view_at(4, 4, 1));
    assert_int_equal(store_places_get(store, &inbox, &found, &len), ERR_OK);
    assert_int_equal(len, MANY);
    assert_int_equal(found[1].generation, 1);
    for (unsigned i = 2; i < MANY; i++)
        assert_true(found[i].uid == places[i].uid && found[i].is_view == places[i].is_view);
    free(found);
    store_close(&store);
    read_whole("views.sqlite", &whole);
    for (size_t at = 4096; at < whole.len; at += 30011) {
        whole.data[at] = (char)~whole.data[at];
        write_whole("views.sqlite", buf_span(&whole));
        whole.data[at] = (char)~whole.data[at];
        store = open_store();
        assert_int_equal(store_places_get(store, &inbox, &found, &len), ERR_OK);
        assert_true(len >= 1 && len <= MANY);
        free(found);
        assert_int_equal(store_places_put(store, &inbox, places, 5), ERR_OK);
        assert_int_equal(store_places_get(store, &inbox, &found, &len), ERR_OK);
        assert_true(len >= 5 && found[1].generation == 1);
        free(found);
        store_close(&store);
    }
    buf_fini(&whole);
    free(places);
}

static void write_until_killed(int report)
{
    struct store *store;
    if (store_open(directory, &store))
        _exit(1);
    for (uint32_t i = 1;; i++) {
        const struct store_mailbox mailbox = mailbox_of("INBOX", 7);
        const struct store_place place = view_at(i, i, i % 2);
        if (store_places_put(store, &mailbox, &place, 1) || write(report, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

static void test_kill_in_mid_commit(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        empty_directory();
        int ends[2], status;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            write_until_killed(ends[1]);
        }
        close(ends[1]);
        uint32_t last = 0, next;
        while (last < 5 + round * 20 && read(ends[0], &next, sizeof next) == sizeof next)
            last = next;
        usleep(round * 137);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(ends[0], &next, sizeof next) == sizeof next)
            last = next;
        close(ends[0]);
        struct store *store = open_store();
        const struct store_mailbox mailbox = mailbox_of("INBOX", 7);
        struct store_place *places;
        size_t len;
        assert_int_equal(store_places_get(store, &mailbox, &places, &len), ERR_OK);
        assert_in_range(len, last, last + 1);
        for (uint32_t i = 0; i < len; i++)
            assert_true(places[i].uid == i + 1 && places[i].generation == (i + 1) % 2);
        free(places);
        store_close(&store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_places_are_kept, begin_empty),
        cmocka_unit_test_setup(test_forgetting, begin_empty),
        cmocka_unit_test_setup(test_other_names, begin_empty),
        cmocka_unit_test_setup(test_another_uid_validity_forgets, begin_empty),
        cmocka_unit_test_setup(test_renaming, begin_empty),
        cmocka_unit_test_setup(test_later_generations_are_never_lost, begin_empty),
        cmocka_unit_test_setup(test_marks, begin_empty),
        cmocka_unit_test_setup(test_totals, begin_empty),
        cmocka_unit_test_setup(test_nothing_readable_on_disk, begin_empty),
        cmocka_unit_test_setup(test_names, begin_empty),
        cmocka_unit_test_setup(test_many_places_and_damage, begin_empty),
        cmocka_unit_test_setup(test_kill_in_mid_commit, begin_empty),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
