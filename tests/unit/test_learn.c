/* What directories said: its saved form, and what is kept of it. */
#include "base/log.h"
#include "crypto/learnt.h"
#include "keyring/learn.h"
#include "tests/unit/x509_made.h"

#include <dirent.h>
#include <fcntl.h>

#define ERIN "erin@example.net"
#define UNTIL (MADE_NOW + 1000)

static char folder[64];
static struct keyring_certificates *certificates;
static struct keyring_anchors *anchors; /* of tests that need some */

static int begin(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    (void)snprintf(folder, sizeof folder, "/tmp/privyseal-learn-XXXXXX");
    return mkdtemp(folder) == NULL || keyring_certificates_open(folder, &certificates) != ERR_OK ? -1 : 0;
}

static int end(void **state)
{
    const struct dirent *entry;
    (void)state;
    keyring_certificates_close(&certificates);
    DIR *dir = opendir(folder);
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    return rmdir(folder);
}

static void save(struct buf *saved, const struct made *made, bool is_found)
{
    unsigned char *der = NULL;
    const int len = i2d_X509(made->certificate, &der);
    const struct keyring_found found = {.kind = KEYRING_FOUND_CERTIFICATE,
                                        .source = KEYRING_SOURCE_DIRECTORY,
                                        .is_found = is_found,
                                        .until = UNTIL,
                                        .directory = "corp",
                                        .bytes = {(char *)der, (size_t)len}};
    assert_int_equal(keyring_found_add(saved, &found), ERR_OK);
    OPENSSL_free(der);
}

/* How many of what `made` is are kept, and how it then stands in the folder (NULL: not at all). */
static const struct keyring_certificate *learn(const struct made *made, bool is_found, size_t expected)
{
    const struct keyring_learner learner = {
        .address = ERIN, .certificates = certificates, .anchors = anchors, .now = MADE_NOW};
    char fingerprint[KEYRING_FPR_SIZE];
    struct buf saved;
    size_t kept;
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    save(&saved, made, is_found);
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_OK);
    assert_int_equal(kept, expected);
    buf_fini(&saved);
    assert_int_equal(keyring_x509_fingerprint(made->certificate, fingerprint), ERR_OK);
    return keyring_certificates_find(certificates, fingerprint);
}

static enum keyring_trust trust_at(int64_t at, int64_t now)
{
    struct keyring *keyring;
    enum keyring_reason reason;
    enum keyring_trust trust = KEYRING_NEVER;
    const struct keyring_want want = {
        .purpose = KEYRING_ENCRYPT, .formats = KEYRING_SMIME, .least = KEYRING_UNVERIFIED, .now = now};
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_certificates_list(certificates, anchors, NULL, 0, at, keyring), ERR_OK);
    const struct keyring_entry *entry = keyring_choose(keyring, ERIN, &want, &reason);
    if (entry != NULL && !keyring_is_unconfirmed(entry, now))
        trust = entry->trust;
    keyring_free(&keyring);
    return trust;
}

static void test_kept(void **state)
{
    (void)state;
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    const struct keyring_certificate *kept = learn(&erin, true, 1);
    assert_non_null(kept);
    assert_int_equal(kept->source, KEYRING_SOURCE_DIRECTORY);
    assert_string_equal(kept->directory, "corp");
    assert_true(kept->is_found);
    assert_int_equal(kept->until, UNTIL);
    /* The directory's word stands until it is taken back, though not for ever as far. */
    for (int64_t listed_at = MADE_NOW; listed_at <= UNTIL; listed_at += UNTIL - MADE_NOW) {
        assert_int_equal(trust_at(listed_at, MADE_NOW), KEYRING_FOUND);
        assert_int_equal(trust_at(listed_at, UNTIL + KEYRING_STALE_S - 1), KEYRING_FOUND);
        assert_int_equal(trust_at(listed_at, UNTIL + KEYRING_STALE_S), KEYRING_NEVER);
    }
    /* A word that counts less does not replace it. */
    kept = learn(&erin, false, 0);
    assert_true(kept->is_found);
    made_free(&erin);
}

/* What the finder says of a certificate counts no longer than the configuration lets its directory's word. */
static void test_no_longer_than_configured(void **state)
{
    const struct keyring_teller teller = {KEYRING_SOURCE_DIRECTORY, "corp", true, 10};
    struct keyring_learner learner = {
        .address = ERIN, .certificates = certificates, .now = MADE_NOW, .tellers = &teller, .tellers_len = 1};
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    char fingerprint[KEYRING_FPR_SIZE];
    struct buf saved;
    size_t kept;
    (void)state;
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    save(&saved, &erin, true);
    assert_int_equal(keyring_x509_fingerprint(erin.certificate, fingerprint), ERR_OK);
    /* Nobody was asked. */
    learner.tellers_len = 0;
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_REFUSED);
    assert_null(keyring_certificates_find(certificates, fingerprint));
    learner.tellers_len = 1;
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_OK);
    assert_int_equal(keyring_certificates_find(certificates, fingerprint)->until, MADE_NOW + 10);
    buf_fini(&saved);
    made_free(&erin);
}

static void test_not_believed(void **state)
{
    (void)state;
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    assert_false(learn(&erin, false, 1)->is_found);
    assert_int_equal(trust_at(MADE_NOW, MADE_NOW), KEYRING_UNVERIFIED);
    assert_true(learn(&erin, true, 1)->is_found);
    made_free(&erin);
}

static void test_not_kept(void **state)
{
    static const struct made_wish wishes[] = {
        {.name = "another's", .san = "email:frank@example.net"},
        {.name = "nobody's"},
        {.name = "expired", .san = "email:" ERIN, .from_s = -20 * MADE_DAY, .till_s = -10},
        {.name = "not yet", .san = "email:" ERIN, .from_s = 10, .till_s = 20 * MADE_DAY},
        {.name = "for servers", .san = "email:" ERIN, .extended = "serverAuth"},
        {.name = "signs alone", .san = "email:" ERIN, .usage = "critical,digitalSignature", .rsa_bits = 2048},
        {.name = "an authority", .san = "email:" ERIN, .basic = "critical,CA:TRUE"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct made made = made_certificate(&wishes[i], NULL);
        if (learn(&made, true, 0) != NULL)
            fail_msg("%s is kept", wishes[i].name);
        made_free(&made);
    }
    assert_int_equal(keyring_certificates_len(certificates), 0);
}

static const struct keyring_certificate *known(const struct made *made)
{
    char fingerprint[KEYRING_FPR_SIZE];
    assert_int_equal(keyring_x509_fingerprint(made->certificate, fingerprint), ERR_OK);
    return keyring_certificates_find(certificates, fingerprint);
}

/* Whoever issues others is kept for chains, and is no more trusted for it. */
static void test_issuers(void **state)
{
    (void)state;
    struct made root = made_certificate(&(struct made_wish){.name = "root", .basic = "critical,CA:TRUE"}, NULL);
    struct made between = made_certificate(
        &(struct made_wish){.name = "between", .san = "email:" ERIN, .basic = "critical,CA:TRUE"}, &root);
    struct made old = made_certificate(
        &(struct made_wish){.name = "old", .basic = "critical,CA:TRUE", .from_s = -20 * MADE_DAY, .till_s = -10},
        &root);
    char path[64];
    /* Without an anchor above it there is no use for it. */
    assert_null(learn(&between, true, 0));
    anchors = made_anchors(root.certificate, path);
    assert_null(learn(&root, true, 0));
    assert_null(learn(&old, true, 0));
    const struct keyring_certificate *kept = learn(&between, true, 0);
    assert_non_null(kept);
    assert_false(kept->is_found);
    assert_int_equal(trust_at(MADE_NOW, MADE_NOW), KEYRING_NEVER);
    keyring_anchors_close(&anchors);
    assert_int_equal(unlink(path), 0);
    made_free(&root);
    made_free(&between);
    made_free(&old);
}

/* Whoever names certificates in a zone of his own must not stand in the way of chains that have nothing to do with
   him. */
static void test_issuers_that_are_none(void **state)
{
    (void)state;
    static const struct made_wish top = {.name = "root", .basic = "critical,CA:TRUE"},
                                  middle = {.name = "between", .basic = "critical,CA:TRUE"},
                                  low = {.name = "low", .basic = "critical,CA:TRUE"};
    struct made_wish like[] = {middle, low};
    struct made root = made_certificate(&top, NULL), between = made_certificate(&middle, &root),
                below = made_certificate(&low, &between), forged = made_certificate(&top, NULL),
                erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, &below);
    struct buf saved;
    size_t kept;
    char path[64];
    anchors = made_anchors(root.certificate, path);
    const struct keyring_learner learner = {
        .address = ERIN, .certificates = certificates, .anchors = anchors, .now = MADE_NOW};
    /* In whatever order they come. */
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    save(&saved, &erin, false);
    save(&saved, &below, false);
    save(&saved, &between, false);
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_OK);
    assert_int_equal(kept, 1);
    assert_int_equal(trust_at(MADE_NOW, MADE_NOW), KEYRING_FULL);
    buf_clear(&saved);
    for (size_t i = 0; i < 70; i++) {
        struct made_wish *wish = &like[i % 2];
        wish->has_no_ids = true;
        wish->from_s = -1000;
        wish->till_s = MADE_DAY;
        struct made same = made_certificate(wish, &forged);
        save(&saved, &same, true);
        made_free(&same);
    }
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_OK);
    assert_int_equal(keyring_certificates_len(certificates), 3);
    assert_int_equal(trust_at(MADE_NOW, MADE_NOW), KEYRING_FULL);
    buf_fini(&saved);
    keyring_anchors_close(&anchors);
    assert_int_equal(unlink(path), 0);
    made_free(&root);
    made_free(&between);
    made_free(&below);
    made_free(&forged);
    made_free(&erin);
}

/* `directory` says that `made` (may be NULL) is all that it has for `address`. */
static void hear_all(const char *address, const char *directory, const struct made *made)
{
    const struct keyring_learner learner = {.address = address, .certificates = certificates, .now = MADE_NOW};
    struct keyring_found all = {.kind = KEYRING_FOUND_ALL, .source = KEYRING_SOURCE_DIRECTORY};
    struct buf saved;
    size_t kept;
    buf_init(&saved, KEYRING_FOUND_SIZE_MAX);
    if (made != NULL)
        save(&saved, made, true);
    (void)span_copy(span_of(directory), all.directory, sizeof all.directory);
    assert_int_equal(keyring_found_add(&saved, &all), ERR_OK);
    assert_int_equal(keyring_learn(&learner, buf_span(&saved), &kept), ERR_OK);
    buf_fini(&saved);
}

static void test_gone(void **state)
{
    (void)state;
    struct made first = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    struct made second = made_certificate(&(struct made_wish){.name = "Erin 2", .san = "email:" ERIN}, NULL);
    const struct keyring_certificate other = {
        .certificate = second.certificate, .source = KEYRING_SOURCE_MAIL, .seen = MADE_NOW};
    assert_non_null(learn(&first, true, 1));
    /* What others say, or of others, does not concern it. */
    hear_all(ERIN, "other", NULL);
    assert_non_null(known(&first));
    hear_all("frank@example.net", "corp", NULL);
    assert_non_null(known(&first));
    hear_all(ERIN, "corp", &first);
    assert_non_null(known(&first));
    assert_int_equal(keyring_certificates_put(certificates, &other), ERR_OK);
    hear_all(ERIN, "corp", NULL);
    assert_null(known(&first));
    assert_non_null(known(&second));
    /* In the place of the one that it had. */
    assert_non_null(learn(&first, true, 1));
    hear_all(ERIN, "corp", &second);
    assert_null(known(&first));
    assert_int_equal(known(&second)->source, KEYRING_SOURCE_DIRECTORY);
    made_free(&first);
    made_free(&second);
}

static void test_a_persons_stays(void **state)
{
    (void)state;
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    struct keyring_certificate entry = {
        .certificate = erin.certificate, .source = KEYRING_SOURCE_IMPORT, .seen = MADE_NOW, .takes_gcm = true};
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_OK);
    assert_int_equal(learn(&erin, true, 0)->source, KEYRING_SOURCE_IMPORT);
    /* What mail has shown gives way to a word that counts, and what is known of it stays. */
    entry.source = KEYRING_SOURCE_MAIL;
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_OK);
    assert_int_equal(learn(&erin, false, 0)->source, KEYRING_SOURCE_MAIL);
    const struct keyring_certificate *kept = learn(&erin, true, 1);
    assert_int_equal(kept->source, KEYRING_SOURCE_DIRECTORY);
    assert_true(kept->takes_gcm);
    made_free(&erin);
}

/* What another process has put there meanwhile is seen first: where a private key is must not be forgotten. */
static void test_what_came_meanwhile_stays(void **state)
{
    (void)state;
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    const struct keyring_certificate entry = {
        .certificate = erin.certificate, .source = KEYRING_SOURCE_IMPORT, .key_place = "store", .seen = MADE_NOW};
    struct crypto_learnt learnt = {.items = {{.certificate = erin.certificate, .takes_gcm = true}}, .len = 1};
    struct keyring_certificates *theirs;
    assert_int_equal(keyring_certificates_open(folder, &theirs), ERR_OK);
    assert_int_equal(keyring_certificates_put(theirs, &entry), ERR_OK);
    assert_string_equal(learn(&erin, true, 0)->key_place, "store");
    assert_int_equal(keyring_certificates_remove(theirs, keyring_certificates_at(theirs, 0)->fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_refresh(certificates), ERR_OK);
    assert_int_equal(keyring_certificates_len(certificates), 0);
    assert_int_equal(keyring_certificates_put(theirs, &entry), ERR_OK);
    crypto_learnt_keep(&learnt, certificates, MADE_NOW);
    assert_string_equal(keyring_certificates_at(certificates, 0)->key_place, "store");
    keyring_certificates_close(&theirs);
    assert_int_equal(keyring_certificates_open(folder, &theirs), ERR_OK);
    assert_string_equal(keyring_certificates_at(theirs, 0)->key_place, "store");
    keyring_certificates_close(&theirs);
    made_free(&erin);
}

/* What a directory said once and nobody vouches for goes when more comes; all else stays. */
static void test_stale_ones_go(void **state)
{
    static const struct keyring_certificate others[] = {
        {.source = KEYRING_SOURCE_DIRECTORY, .directory = "corp", .until = MADE_NOW + 1},
        {.source = KEYRING_SOURCE_DIRECTORY, .directory = "corp", .until = MADE_NOW - 1, .key_place = "store"},
        {.source = KEYRING_SOURCE_IMPORT},
        {.source = KEYRING_SOURCE_MAIL},
        {.source = KEYRING_SOURCE_DIRECTORY, .directory = "corp", .until = MADE_NOW - 364 * MADE_DAY, .is_found = true},
        /* These two go. */
        {.source = KEYRING_SOURCE_DIRECTORY, .directory = "corp", .until = MADE_NOW - 1},
        {.source = KEYRING_SOURCE_DIRECTORY, .directory = "corp", .until = MADE_NOW - 366 * MADE_DAY, .is_found = true},
    };
    const size_t len = sizeof others / sizeof *others;
    char fingerprints[sizeof others / sizeof *others][KEYRING_FPR_SIZE];
    struct made made[sizeof others / sizeof *others],
        erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    (void)state;
    for (size_t i = 0; i < len; i++) {
        struct keyring_certificate entry = others[i];
        made[i] = made_certificate(&(struct made_wish){.name = "Frank", .san = "email:frank@example.net"}, NULL);
        entry.certificate = made[i].certificate;
        entry.seen = MADE_NOW - MADE_DAY;
        assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_OK);
        assert_int_equal(keyring_x509_fingerprint(made[i].certificate, fingerprints[i]), ERR_OK);
    }
    assert_non_null(learn(&erin, true, 1));
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(keyring_certificates_find(certificates, fingerprints[i]) != NULL, i < len - 2);
        made_free(&made[i]);
    }
    made_free(&erin);
}

static void test_saved_form(void **state)
{
    (void)state;
    const struct keyring_found one = {.kind = KEYRING_FOUND_CERTIFICATE,
                                      .source = KEYRING_SOURCE_DIRECTORY,
                                      .is_found = true,
                                      .until = 7,
                                      .directory = "corp",
                                      .bytes = span_of("der")},
                               two = {.kind = KEYRING_FOUND_OPENPGP, .directory = "other", .bytes = span_of("key")};
    struct keyring_found found;
    struct buf saved;
    size_t kept;
    buf_init(&saved, 1000);
    assert_int_equal(keyring_found_add(&saved, &one), ERR_OK);
    const size_t first = saved.len;
    assert_int_equal(keyring_found_add(&saved, &two), ERR_OK);
    struct span rest = buf_span(&saved);
    assert_int_equal(keyring_found_take(&rest, &found), ERR_OK);
    assert_true(found.is_found && found.until == 7 && span_is_equal(found.bytes, one.bytes));
    assert_string_equal(found.directory, "corp");
    assert_int_equal(keyring_found_take(&rest, &found), ERR_OK);
    assert_int_equal(found.kind, KEYRING_FOUND_OPENPGP);
    assert_int_equal(keyring_found_take(&rest, &found), ERR_END);
    /* Only what is no certificate and no key has no bytes, and that has none. */
    for (unsigned kind = KEYRING_FOUND_RAW; kind <= KEYRING_FOUND_ALL + 1; kind++)
        for (size_t len = 0; len < 2; len++) {
            const struct keyring_found odd = {.kind = kind, .bytes = span_slice(span_of("x"), 0, len)};
            struct buf other;
            buf_init(&other, 1000);
            assert_int_equal(keyring_found_add(&other, &odd), ERR_OK);
            rest = buf_span(&other);
            const bool is_good = kind == KEYRING_FOUND_ALL
                                     ? len == 0
                                     : len == 1 && kind != KEYRING_FOUND_RAW && kind < KEYRING_FOUND_ALL;
            assert_int_equal(keyring_found_take(&rest, &found), is_good ? ERR_OK : ERR_PEER_PROTOCOL);
            buf_fini(&other);
        }
    const struct keyring_learner learner = {.address = ERIN, .certificates = certificates, .now = MADE_NOW};
    for (size_t cut = 1; cut < saved.len; cut++)
        assert_int_equal(keyring_learn(&learner, span_slice(buf_span(&saved), 0, cut), &kept),
                         cut == first ? ERR_OK : ERR_PEER_PROTOCOL);
    buf_fini(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_not_believed, begin, end),
        cmocka_unit_test_setup_teardown(test_no_longer_than_configured, begin, end),
        cmocka_unit_test_setup_teardown(test_not_kept, begin, end),
        cmocka_unit_test_setup_teardown(test_issuers, begin, end),
        cmocka_unit_test_setup_teardown(test_issuers_that_are_none, begin, end),
        cmocka_unit_test_setup_teardown(test_gone, begin, end),
        cmocka_unit_test_setup_teardown(test_a_persons_stays, begin, end),
        cmocka_unit_test_setup_teardown(test_what_came_meanwhile_stays, begin, end),
        cmocka_unit_test_setup_teardown(test_stale_ones_go, begin, end),
        cmocka_unit_test_setup_teardown(test_saved_form, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
