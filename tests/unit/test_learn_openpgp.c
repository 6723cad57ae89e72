/* OpenPGP keys that sources have: kept in the ring, and whose word they are there by. */
#include "tests/unit/gpg_home.h"

#include "base/log.h"
#include "keyring/learn.h"
#include "keyring/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BOB "bob@example.net"
#define NOW 1800000000
#define UNTIL (NOW + 1000)

static struct gpg_home home;
static struct keyring_certificates *certificates;
static char folder[] = "/tmp/privyseal-learn-XXXXXX", fingerprint[KEYRING_FPR_SIZE];
static struct buf key, saved, words;

static int set_up(void **state)
{
    struct gpg_home other;
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    buf_init(&key, 1 << 20);
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    buf_init(&words, KEYRING_LEARN_WORDS_MAX);
    if (mkdtemp(folder) == NULL || keyring_certificates_open(folder, &certificates) != ERR_OK ||
        gpg_home_open(&other) != ERR_OK || gpg_home_make_key(&other, "Bob <" BOB ">", fingerprint) != ERR_OK ||
        keyring_gpg_export(other.gpg, fingerprint, false, &key) != ERR_OK)
        return -1;
    gpg_home_close(&other);
    return gpg_home_open(&home) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    keyring_certificates_close(&certificates);
    gpg_home_remove(folder);
    buf_fini(&key);
    buf_fini(&saved);
    buf_fini(&words);
    return 0;
}

static void add(enum keyring_found_kind kind, enum keyring_source source, bool is_found, struct span bytes)
{
    const struct keyring_found found = {
        .kind = kind, .source = source, .is_found = is_found, .until = UNTIL, .directory = "corp", .bytes = bytes};
    assert_int_equal(keyring_found_add(&saved, &found), ERR_OK);
}

static enum err learn(size_t *kept)
{
    const struct keyring_learner learner = {
        .address = BOB, .certificates = certificates, .gpg = home.gpg, .now = NOW, .words = &words};
    buf_clear(&words);
    const enum err err = keyring_learn(&learner, buf_span(&saved), kept);
    buf_clear(&saved);
    return err;
}

/* The next word, of `source`; one without a fingerprint is an end. */
static struct keyring_word next(struct span *rest, enum keyring_source source, const char *wanted)
{
    struct keyring_word word;
    assert_int_equal(keyring_word_take(rest, &word), ERR_OK);
    assert_string_equal(word.address, BOB);
    assert_string_equal(word.fingerprint, wanted);
    assert_string_equal(word.title, "corp");
    assert_int_equal(word.source, source);
    assert_int_equal(word.since, NOW);
    assert_int_equal(word.until, UNTIL);
    return word;
}

static size_t count_keys(void)
{
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    const size_t len = keyring_len(keyring);
    keyring_free(&keyring);
    return len;
}

/* A finder that lies cannot speak for a person, nor for mail that verified. */
static void only_sources_that_are_asked(void **state)
{
    static const enum keyring_source sources[] = {KEYRING_SOURCE_IMPORT, KEYRING_SOURCE_MAIL, KEYRING_SOURCE_PERSON};
    size_t kept;
    (void)state;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        add(KEYRING_FOUND_OPENPGP, sources[i], true, buf_span(&key));
        assert_int_equal(learn(&kept), ERR_REFUSED);
        add(KEYRING_FOUND_ALL, sources[i], true, SPAN_NONE);
        assert_int_equal(learn(&kept), ERR_REFUSED);
        assert_int_equal(words.len, 0);
    }
    assert_int_equal(count_keys(), 0);
}

static void a_word_for_each_key(void **state)
{
    size_t kept;
    (void)state;
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_DIRECTORY, true, buf_span(&key));
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_WKD, false, buf_span(&key));
    /* No keyserver is believed, whatever its finding says. */
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_KEYSERVER, true, buf_span(&key));
    add(KEYRING_FOUND_ALL, KEYRING_SOURCE_DIRECTORY, true, SPAN_NONE);
    assert_int_equal(learn(&kept), ERR_OK);
    assert_int_equal(kept, 3);
    assert_int_equal(count_keys(), 1);
    struct span rest = buf_span(&words);
    assert_int_equal(next(&rest, KEYRING_SOURCE_DIRECTORY, fingerprint).trust, KEYRING_FOUND);
    assert_int_equal(next(&rest, KEYRING_SOURCE_WKD, fingerprint).trust, KEYRING_UNVERIFIED);
    assert_int_equal(next(&rest, KEYRING_SOURCE_KEYSERVER, fingerprint).trust, KEYRING_UNVERIFIED);
    (void)next(&rest, KEYRING_SOURCE_DIRECTORY, "");
    assert_int_equal(rest.len, 0);
}

/* What comes out of another process, as the finder, which may have been taken over. */
static enum err learn_of(const struct keyring_teller *tellers, size_t len, size_t *kept)
{
    const struct keyring_learner learner = {.address = BOB,
                                            .certificates = certificates,
                                            .gpg = home.gpg,
                                            .now = NOW,
                                            .tellers = tellers,
                                            .tellers_len = len,
                                            .words = &words};
    buf_clear(&words);
    const enum err err = keyring_learn(&learner, buf_span(&saved), kept);
    buf_clear(&saved);
    return err;
}

static void add_until(enum keyring_source source, const char *title, int64_t until)
{
    struct keyring_found found = {
        .kind = KEYRING_FOUND_OPENPGP, .source = source, .is_found = true, .until = until, .bytes = buf_span(&key)};
    (void)snprintf(found.directory, sizeof found.directory, "%s", title);
    assert_int_equal(keyring_found_add(&saved, &found), ERR_OK);
}

/* A finding says neither for how long it counts nor, beyond its source, how much; and no source speaks that was not
   asked. */
static void only_within_what_is_configured(void **state)
{
    static const struct keyring_teller tellers[] = {{KEYRING_SOURCE_DIRECTORY, "corp", true, 1000},
                                                    {KEYRING_SOURCE_WKD, "", false, 100}};
    struct keyring_word word;
    size_t kept;
    (void)state;
    add_until(KEYRING_SOURCE_DIRECTORY, "corp", NOW + (int64_t)100 * 365 * 86400);
    add_until(KEYRING_SOURCE_WKD, "", INT64_MAX);
    add_until(KEYRING_SOURCE_DIRECTORY, "corp", NOW + 5);
    assert_int_equal(learn_of(tellers, 2, &kept), ERR_OK);
    struct span rest = buf_span(&words);
    static const struct {
        enum keyring_trust trust;
        int64_t until;
    } wanted[] = {{KEYRING_FOUND, NOW + 1000}, {KEYRING_UNVERIFIED, NOW + 100}, {KEYRING_FOUND, NOW + 5}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(keyring_word_take(&rest, &word), ERR_OK);
        assert_int_equal(word.trust, wanted[i].trust);
        assert_int_equal(word.until, wanted[i].until);
    }
    assert_int_equal(rest.len, 0);
    /* Others: of another section, of another kind, or of what mail tells, which Autocrypt would take without a look at
       user IDs. */
    static const struct {
        enum keyring_source source;
        const char *title;
    } others[] = {{KEYRING_SOURCE_DIRECTORY, "other"}, {KEYRING_SOURCE_DIRECTORY, ""}, {KEYRING_SOURCE_WKD, "corp"},
                  {KEYRING_SOURCE_DANE, ""},           {KEYRING_SOURCE_KEYSERVER, ""}, {KEYRING_SOURCE_AUTOCRYPT, ""},
                  {KEYRING_SOURCE_GOSSIP, ""},         {KEYRING_SOURCE_PERSON, ""},    {KEYRING_SOURCE_MAIL, ""}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        add_until(others[i].source, others[i].title, NOW + 5);
        const struct keyring_found all = {.kind = KEYRING_FOUND_ALL, .source = others[i].source, .until = NOW + 5};
        assert_int_equal(keyring_found_add(&saved, &all), ERR_OK);
        if (i == 1) /* the one of the two that was asked tells beside it */
            add_until(KEYRING_SOURCE_WKD, "", NOW + 5);
        assert_int_equal(learn_of(tellers, 2, &kept), i == 1 ? ERR_OK : ERR_REFUSED);
        assert_int_equal(kept, i == 1);
        rest = buf_span(&words);
        while (keyring_word_take(&rest, &word) == ERR_OK)
            assert_true(i == 1 && word.source == KEYRING_SOURCE_WKD);
    }
    /* Nobody was asked. */
    add_until(KEYRING_SOURCE_WKD, "", NOW + 5);
    assert_int_equal(learn_of(tellers, 0, &kept), ERR_REFUSED);
    /* What net takes out of a record itself. */
    static const struct keyring_teller heard[] = {{.source = KEYRING_SOURCE_AUTOCRYPT}};
    add_until(KEYRING_SOURCE_AUTOCRYPT, "", 0);
    assert_int_equal(learn_of(heard, 1, &kept), ERR_OK);
    assert_int_equal(kept, 1);
}

/* What is wrong with one piece is no reason to lose the others; that one cannot be looked at is: it may be the key. */
static void junk_and_failures(void **state)
{
    size_t kept;
    (void)state;
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_AUTOCRYPT, false, SPAN_LIT("no key"));
    assert_int_equal(learn(&kept), ERR_MALFORMED);
    assert_int_equal(kept, 0);
    assert_true(keyring_learn_is_junk(ERR_MALFORMED));
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_AUTOCRYPT, false, SPAN_LIT("no key"));
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_GOSSIP, false, buf_span(&key));
    assert_int_equal(learn(&kept), ERR_OK);
    assert_int_equal(kept, 1);
    /* gpg finds no ring to write to. */
    char away[] = "/tmp/privyseal-away-XXXXXX";
    assert_non_null(mkdtemp(away));
    assert_int_equal(rename(home.path, away), 0);
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_AUTOCRYPT, false, buf_span(&key));
    const enum err err = learn(&kept);
    assert_int_equal(rename(away, home.path), 0);
    assert_int_equal(err, ERR_ENGINE);
    assert_false(keyring_learn_is_junk(err));
}

static enum err learn_attached(const char *address)
{
    const struct keyring_learner learner = {.address = address,
                                            .certificates = certificates,
                                            .gpg = home.gpg,
                                            .now = NOW,
                                            .is_mail = true,
                                            .words = &words};
    size_t kept;
    buf_clear(&words);
    enum err err = keyring_learn(&learner, buf_span(&saved), &kept);
    buf_clear(&saved);
    return err;
}

/* Whoever has seen that mail verify hears what came with it: for good, and no more than that it was seen. */
static void what_came_with_mail(void **state)
{
    (void)state;
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_MAIL, true, buf_span(&key));
    assert_int_equal(learn_attached("eve@example.net"), ERR_OK);
    assert_int_equal(words.len, 0);
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_MAIL, true, buf_span(&key));
    assert_int_equal(learn_attached(BOB), ERR_OK);
    struct span rest = buf_span(&words);
    struct keyring_word word;
    assert_int_equal(keyring_word_take(&rest, &word), ERR_OK);
    assert_int_equal(word.source, KEYRING_SOURCE_MAIL);
    assert_int_equal(word.trust, KEYRING_SEEN);
    assert_int_equal(word.until, 0);
    assert_string_equal(word.fingerprint, fingerprint);
    assert_int_equal(rest.len, 0);
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_PERSON, true, buf_span(&key));
    assert_int_equal(learn_attached(BOB), ERR_REFUSED);
}

/* Of what is not kept there is no word; that a source has told all is one all the same. */
static void none_for_what_is_not_kept(void **state)
{
    size_t kept;
    (void)state;
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_DIRECTORY, true, SPAN_LIT("garbage"));
    add(KEYRING_FOUND_ALL, KEYRING_SOURCE_DIRECTORY, true, SPAN_NONE);
    assert_int_equal(learn(&kept), ERR_OK);
    assert_int_equal(kept, 0);
    struct span rest = buf_span(&words);
    (void)next(&rest, KEYRING_SOURCE_DIRECTORY, "");
    assert_int_equal(rest.len, 0);
    /* But if a key could not be kept, the source has more than was heard. */
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_PERSON, true, buf_span(&key));
    add(KEYRING_FOUND_OPENPGP, KEYRING_SOURCE_DIRECTORY, true, buf_span(&key));
    add(KEYRING_FOUND_ALL, KEYRING_SOURCE_DIRECTORY, true, SPAN_NONE);
    assert_int_equal(learn(&kept), ERR_OK);
    rest = buf_span(&words);
    (void)next(&rest, KEYRING_SOURCE_DIRECTORY, fingerprint);
    assert_int_equal(rest.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_sources_that_are_asked),
        cmocka_unit_test(a_word_for_each_key),
        cmocka_unit_test(only_within_what_is_configured),
        cmocka_unit_test(junk_and_failures),
        cmocka_unit_test(what_came_with_mail),
        cmocka_unit_test(none_for_what_is_not_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
