/* Revocation: where to ask, and what each kind of answer is worth. */
#include "tests/unit/revocation_made.h"

#define DAY 86400
#define POINT "http://crl.example.org/a.crl"
#define GOOD KEYRING_REVOCATION_GOOD
#define REVOKED KEYRING_REVOCATION_REVOKED
#define UNKNOWN KEYRING_REVOCATION_UNKNOWN

enum who {
    ISSUER,
    ROOT,
    NAMESAKE,
    STRANGER,
    DELEGATE,
    OTHERS_DELEGATE,
    LEAF,
    OLD_DELEGATE,
    DEEP_DELEGATE,
    MUTE,
    WHO_COUNT
};
static struct made made[WHO_COUNT];

static int set_up(void **state)
{
    (void)state;
    const char *const basic = "critical,CA:TRUE", *const usage = "critical,keyCertSign,cRLSign";
    const struct made_wish root = {.name = "Root", .basic = basic, .usage = usage};
    const struct made_wish issuer = {.name = "Issuer", .basic = basic, .usage = usage};
    const struct made_wish stranger = {.name = "Stranger", .basic = basic, .usage = usage};
    const struct made_wish mute = {.name = "Issuer", .basic = basic, .usage = "critical,keyCertSign"};
    const struct made_wish delegate = {.name = "Responder", .extended = "OCSPSigning"};
    const struct made_wish old = {.name = "Responder", .extended = "OCSPSigning", .from_s = -2 * DAY, .till_s = -DAY};
    const struct made_wish leaf = {.name = "Alice", .san = "email:alice@example.org", .crl = "URI:" POINT};
    made[ROOT] = made_certificate(&root, NULL);
    made[ISSUER] = made_certificate(&issuer, &made[ROOT]);
    made[NAMESAKE] = made_certificate(&issuer, &made[ROOT]);
    made[STRANGER] = made_certificate(&stranger, NULL);
    made[MUTE] = made_with_key(&mute, &made[ROOT], made[ISSUER].key);
    made[DELEGATE] = made_certificate(&delegate, &made[ISSUER]);
    made[OTHERS_DELEGATE] = made_certificate(&delegate, &made[ROOT]);
    made[OLD_DELEGATE] = made_certificate(&old, &made[ISSUER]);
    made[DEEP_DELEGATE] = made_certificate(&delegate, &made[STRANGER]);
    made[LEAF] = made_certificate(&leaf, &made[ISSUER]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < WHO_COUNT; i++)
        made_free(&made[i]);
    return 0;
}

struct row {
    const char *what;
    struct made_news news;
    enum keyring_revocation_state expected;
    enum who signer;
    int64_t at_s;        /* relative to MADE_NOW */
    const char *because; /* part of the reason; NULL: any */
};

/* clang-format off */
/* What holds for lists and answers alike. */
static const struct row rows[] = {
    {.what = "not revoked", {.made_s = 0}, GOOD},
    {.what = "another is revoked", {.since_s = -DAY, .is_other = true}, GOOD},
    {.what = "revoked", {.since_s = -DAY}, REVOKED, .because = "no reason"},
    {.what = "revoked now", {.since_s = -1}, REVOKED},
    {.what = "on hold", {.since_s = -DAY, .reason = 6}, REVOKED, .because = "hold"},
    {.what = "superseded", {.since_s = -DAY, .reason = 4}, REVOKED, .because = "superseded"},
    {.what = "revoked, judged as of before", {.since_s = -DAY}, GOOD, .at_s = -2 * DAY},
    {.what = "revoked, judged as of that second", {.since_s = -DAY}, REVOKED, .at_s = -DAY},
    {.what = "its key was stolen, judged as of before", {.since_s = -DAY, .reason = 1}, REVOKED, .at_s = -2 * DAY},
    {.what = "its issuer's key was stolen, judged as of before", {.since_s = -DAY, .reason = 2}, REVOKED,
     .at_s = -2 * DAY},
    {.what = "superseded, judged as of before", {.since_s = -DAY, .reason = 4}, GOOD, .at_s = -2 * DAY},
    {.what = "out of date", {.made_s = -2 * DAY, .next_s = -DAY}, UNKNOWN, .because = "out of date"},
    {.what = "revoked, out of date", {.made_s = -2 * DAY, .next_s = -DAY, .since_s = -3 * DAY}, UNKNOWN},
    {.what = "out of date by less than clocks differ", {.made_s = -2 * DAY, .next_s = -200}, GOOD},
    {.what = "out of date by more than clocks differ", {.made_s = -2 * DAY, .next_s = -400}, UNKNOWN},
    {.what = "of tomorrow", {.made_s = DAY, .next_s = 2 * DAY}, UNKNOWN, .because = "to come"},
    {.what = "ahead by less than clocks differ", {.made_s = 200, .next_s = DAY}, GOOD},
    {.what = "does not say until when, new", {.made_s = -60, .next_s = -1}, GOOD},
    {.what = "does not say until when, old", {.made_s = -7200, .next_s = -1}, UNKNOWN},
    {.what = "signed with SHA-1", {.hash = "SHA1"}, UNKNOWN, .because = "weak"},
    {.what = "signed by a stranger", {.made_s = 0}, UNKNOWN, STRANGER},
    {.what = "signed by the issuer's namesake", {.made_s = 0}, UNKNOWN, NAMESAKE},
    {.what = "signed by the issuer's issuer", {.made_s = 0}, UNKNOWN, ROOT},
    {.what = "signed by the one whom it concerns", {.made_s = 0}, UNKNOWN, LEAF},
};
static const struct row list_rows[] = {
    {.what = "invalid before it was revoked", {.since_s = -DAY, .invalid_s = -3 * DAY}, REVOKED, .at_s = -2 * DAY},
    {.what = "removed from the list", {.since_s = -DAY, .reason = 8}, GOOD},
    {.what = "what has changed", {.is_delta = true}, UNKNOWN, .because = "changed"},
    {.what = "revoked by what has changed", {.is_delta = true, .since_s = -DAY}, UNKNOWN},
    {.what = "unknown critical extension", {.has_unknown = true}, UNKNOWN, .because = "critical"},
    {.what = "of users", {.scope = "critical,onlyuser:TRUE"}, GOOD},
    {.what = "of issuers alone", {.scope = "critical,onlyCA:TRUE"}, UNKNOWN, .because = "scope"},
    {.what = "of attributes alone", {.scope = "critical,onlyAA:TRUE"}, UNKNOWN},
    {.what = "of this point", {.scope = "critical,fullname:URI:" POINT}, GOOD},
    {.what = "of another point", {.scope = "critical,fullname:URI:http://crl.example.org/b.crl"}, UNKNOWN,
     .because = "scope"},
    {.what = "indirect", {.scope = "critical,indirectCRL:TRUE"}, UNKNOWN},
    {.what = "for some reasons alone", {.scope = "critical,onlysomereasons:keyCompromise"}, UNKNOWN},
    {.what = "signed by a responder", {.made_s = 0}, UNKNOWN, DELEGATE},
};
static const struct row answer_rows[] = {
    {.what = "about another", {.is_other = true}, UNKNOWN, .because = "another certificate"},
    {.what = "does not know it", {.is_unknown = true}, UNKNOWN, .because = "does not know"},
    {.what = "later, please", {.is_busy = true}, UNKNOWN, .because = "now"},
    {.what = "identifier by SHA-256", {.id_hash = "SHA256"}, GOOD},
    {.what = "revoked, identifier by SHA-256", {.id_hash = "SHA256", .since_s = -DAY}, REVOKED},
    {.what = "by a responder of the issuer's", {.made_s = 0}, GOOD, DELEGATE},
    {.what = "revoked, by a responder of the issuer's", {.since_s = -DAY}, REVOKED, DELEGATE},
    {.what = "by a responder of the issuer's issuer's", {.made_s = 0}, UNKNOWN, OTHERS_DELEGATE, .because = "charged"},
    {.what = "by a responder of a stranger's", {.made_s = 0}, UNKNOWN, DEEP_DELEGATE},
    {.what = "by a responder that has expired", {.made_s = 0}, UNKNOWN, OLD_DELEGATE},
};
/* clang-format on */

static struct keyring_revocation judge(enum keyring_answer_kind kind, struct span answer, enum who issuer, int64_t at_s)
{
    struct keyring_revocation revocation;
    assert_int_equal(keyring_revocation_judge(kind, answer, made[LEAF].certificate, made[issuer].certificate, MADE_NOW,
                                              MADE_NOW + at_s, &revocation),
                     ERR_OK);
    return revocation;
}

static void check_row(const struct row *row, enum keyring_answer_kind kind)
{
    struct buf answer;
    buf_init(&answer, 65536);
    /* A list speaks of what it names; one that names another speaks of all others. */
    if (kind == KEYRING_ANSWER_LIST)
        made_list(&row->news, made[LEAF].certificate, &made[ISSUER], &made[row->signer], &answer);
    else
        made_answer(&row->news, made[LEAF].certificate, &made[ISSUER], &made[row->signer], &answer);
    struct keyring_revocation found = judge(kind, buf_span(&answer), ISSUER, row->at_s);
    if (found.state != row->expected || (row->because != NULL && strstr(found.reason, row->because) == NULL))
        fail_msg("%d %s: %d, expected %d (%s)", kind, row->what, found.state, row->expected, found.reason);
    assert_int_equal(found.until > MADE_NOW - KEYRING_CLOCKS_S, found.state != UNKNOWN);
    assert_true(found.until <= MADE_NOW + KEYRING_ANSWER_KEPT_S);
    if (found.state == REVOKED && row->news.invalid_s == 0)
        assert_int_equal(found.since, MADE_NOW + row->news.since_s);
    buf_fini(&answer);
}

static void lists_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i], KEYRING_ANSWER_LIST);
    for (size_t i = 0; i < sizeof list_rows / sizeof *list_rows; i++)
        check_row(&list_rows[i], KEYRING_ANSWER_LIST);
}

static void answers_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!rows[i].news.is_other)
            check_row(&rows[i], KEYRING_ANSWER_OCSP);
    for (size_t i = 0; i < sizeof answer_rows / sizeof *answer_rows; i++)
        check_row(&answer_rows[i], KEYRING_ANSWER_OCSP);
}

/* An issuer whose certificate says that it signs no lists. */
static void list_needs_usage(void **state)
{
    const struct made_news news = {.made_s = 0};
    struct buf answer;
    (void)state;
    buf_init(&answer, 65536);
    made_list(&news, made[LEAF].certificate, &made[ISSUER], &made[ISSUER], &answer);
    assert_int_equal(judge(KEYRING_ANSWER_LIST, buf_span(&answer), ISSUER, 0).state, GOOD);
    assert_int_equal(judge(KEYRING_ANSWER_LIST, buf_span(&answer), MUTE, 0).state, UNKNOWN);
    buf_fini(&answer);
}

/* Lists forget certificates that have expired. */
static void expired_is_unknown(void **state)
{
    const struct made_wish wish = {.name = "Old", .from_s = -30 * DAY, .till_s = -DAY};
    const struct made_news good = {.made_s = 0}, revoked = {.since_s = -2 * DAY};
    struct made old = made_certificate(&wish, &made[ISSUER]);
    struct keyring_revocation found;
    struct buf answer;
    (void)state;
    buf_init(&answer, 65536);
    for (int is_revoked = 0; is_revoked < 2; is_revoked++) {
        buf_clear(&answer);
        made_list(is_revoked ? &revoked : &good, old.certificate, &made[ISSUER], &made[ISSUER], &answer);
        assert_int_equal(keyring_revocation_judge(KEYRING_ANSWER_LIST, buf_span(&answer), old.certificate,
                                                  made[ISSUER].certificate, MADE_NOW, MADE_NOW - DAY - 1, &found),
                         ERR_OK);
        assert_int_equal(found.state, is_revoked ? REVOKED : UNKNOWN);
    }
    buf_fini(&answer);
    made_free(&old);
}

/* Whatever happens to a byte of bad news, it does not become good news; and half of it is none. */
static void damage_is_no_good_news(void **state)
{
    const struct made_news news = {.since_s = -DAY, .reason = 4};
    (void)state;
    for (enum keyring_answer_kind kind = 0; kind < KEYRING_ANSWER_COUNT; kind++) {
        struct buf answer;
        buf_init(&answer, 65536);
        if (kind == KEYRING_ANSWER_LIST)
            made_list(&news, made[LEAF].certificate, &made[ISSUER], &made[ISSUER], &answer);
        else
            made_answer(&news, made[LEAF].certificate, &made[ISSUER], &made[DELEGATE], &answer);
        assert_int_equal(judge(kind, buf_span(&answer), ISSUER, 0).state, REVOKED);
        for (size_t i = 0; i < answer.len; i++) {
            assert_int_equal(judge(kind, span_slice(buf_span(&answer), 0, i), ISSUER, 0).state, UNKNOWN);
            answer.data[i] ^= 1;
            assert_int_not_equal(judge(kind, buf_span(&answer), ISSUER, 0).state, GOOD);
            answer.data[i] ^= 1;
        }
        buf_fini(&answer);
    }
}

static void assert_questions(const struct made_wish *wish, const char *expected)
{
    struct made asked = made_certificate(wish, &made[ISSUER]);
    struct keyring_revocation_question questions[KEYRING_QUESTIONS_MAX];
    size_t len = keyring_revocation_questions(asked.certificate, questions);
    char found[2048] = "";
    for (size_t i = 0; i < len; i++) {
        size_t at = strlen(found);
        (void)snprintf(found + at, sizeof found - at, "%s%s", questions[i].kind == KEYRING_ANSWER_LIST ? " L " : " O ",
                       questions[i].url);
    }
    assert_string_equal(found, expected);
    made_free(&asked);
}

static void questions_are_found(void **state)
{
    (void)state;
    assert_questions(&(struct made_wish){.name = "A"}, "");
    assert_questions(&(struct made_wish){.name = "A", .crl = "URI:http://a/1"}, " L http://a/1");
    assert_questions(&(struct made_wish){.name = "A", .access = "OCSP;URI:http://o/,caIssuers;URI:http://i/"},
                     " O http://o/");
    assert_questions(&(struct made_wish){.name = "A", .crl = "URI:http://a/1", .access = "OCSP;URI:http://o/"},
                     " L http://a/1 O http://o/");
    /* The same once; others than http and, of lists, ldap, and what is no URL, not at all; a responder among many. */
    assert_questions(&(struct made_wish){.name = "A", .crl = "URI:http://a/1,URI:http://a/1,URI:ldap://a/cn=x"},
                     " L http://a/1 L ldap://a/cn=x");
    assert_questions(&(struct made_wish){.name = "A", .crl = "URI:ldaps://a/cn=x", .access = "OCSP;URI:ldap://o/cn=x"},
                     "");
    assert_questions(&(struct made_wish){.name = "A", .crl = "URI:file:///etc/passwd,URI:https://a/,URI:http://a b/"},
                     "");
    assert_questions(&(struct made_wish){.name = "A",
                                         .crl = "URI:http://a/1,URI:http://a/2,URI:http://a/3,URI:http://a/4",
                                         .access = "OCSP;URI:http://o/"},
                     " L http://a/1 L http://a/2 L http://a/3 O http://o/");
}

static void request_is_for_certificate(void **state)
{
    struct buf request;
    (void)state;
    buf_init(&request, 4096);
    assert_int_equal(keyring_revocation_request(made[LEAF].certificate, made[ISSUER].certificate, &request), ERR_OK);
    const unsigned char *at = (const unsigned char *)request.data;
    OCSP_REQUEST *parsed = d2i_OCSP_REQUEST(NULL, &at, (long)request.len);
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), made[LEAF].certificate, made[ISSUER].certificate);
    assert_non_null(parsed);
    assert_int_equal(OCSP_request_onereq_count(parsed), 1);
    assert_int_equal(OCSP_id_cmp(OCSP_onereq_get0_id(OCSP_request_onereq_get0(parsed, 0)), id), 0);
    assert_int_equal(OCSP_REQUEST_get_ext_count(parsed), 0);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(parsed);
    buf_fini(&request);
}

static void sum_is_the_worst(void **state)
{
    const struct keyring_revocation good = {.state = GOOD}, revoked = {.state = REVOKED}, unknown = {.state = UNKNOWN};
    const struct {
        struct keyring_revocation of[2];
        enum keyring_revocation_mode mode;
        enum err expected;
        bool is_unknown;
    } sums[] = {
        {{good, good}, KEYRING_REVOCATION_HARD, ERR_OK, false},
        {{good, unknown}, KEYRING_REVOCATION_SOFT, ERR_OK, true},
        {{unknown, good}, KEYRING_REVOCATION_HARD, ERR_LOOKUP, false},
        {{unknown, revoked}, KEYRING_REVOCATION_SOFT, ERR_REVOKED, false},
        {{unknown, revoked}, KEYRING_REVOCATION_HARD, ERR_REVOKED, false},
        {{revoked, good}, KEYRING_REVOCATION_SOFT, ERR_REVOKED, false},
        {{unknown, revoked}, KEYRING_REVOCATION_OFF, ERR_OK, false},
    };
    bool is_unknown;
    (void)state;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        assert_int_equal(keyring_revocation_sum(sums[i].of, 2, sums[i].mode, &is_unknown), sums[i].expected);
        assert_int_equal(is_unknown, sums[i].is_unknown);
    }
}

static void path_is_explained(void **state)
{
    const struct keyring_revocation revocations[] = {
        {.state = REVOKED, .since = MADE_NOW, .reason = "on hold"},
        {.state = UNKNOWN, .reason = "there was no answer"},
    };
    const struct made_wish odd = {.name = "A\033[2J\nB", .san = "email:a@example.org"};
    struct made leaf = made_certificate(&odd, &made[ISSUER]);
    STACK_OF(X509) *path = sk_X509_new_null();
    struct buf text;
    (void)state;
    assert_true(sk_X509_push(path, leaf.certificate) > 0 && sk_X509_push(path, made[ISSUER].certificate) > 0 &&
                sk_X509_push(path, made[ROOT].certificate) > 0);
    buf_init(&text, 4096);
    assert_int_equal(keyring_x509_explain(KEYRING_CHAIN_GOOD, "", path, revocations, &text), ERR_OK);
    assert_string_equal(text.data, "the certificate leads to a trust anchor\n"
                                   "1: CN=A\\1B[2J\\0AB\n"
                                   "   issued by CN=Issuer\n"
                                   "   valid from 2026-01-15T08:00:00Z until 2028-01-15T08:00:00Z\n"
                                   "   revoked since 2027-01-15T08:00:00Z: on hold\n"
                                   "2: CN=Issuer\n"
                                   "   issued by CN=Root\n"
                                   "   valid from 2026-01-15T08:00:00Z until 2028-01-15T08:00:00Z\n"
                                   "   not known whether it has been revoked: there was no answer\n"
                                   "3: CN=Root\n"
                                   "   issued by CN=Root\n"
                                   "   valid from 2026-01-15T08:00:00Z until 2028-01-15T08:00:00Z\n"
                                   "   a trust anchor\n");
    buf_clear(&text);
    (void)sk_X509_pop(path);
    assert_int_equal(keyring_x509_explain(KEYRING_CHAIN_UNTRUSTED, "no issuer", path, NULL, &text), ERR_OK);
    assert_non_null(strstr(text.data, "leads to no trust anchor (no issuer)\n"));
    assert_null(strstr(text.data, "a trust anchor\n2"));
    assert_null(strstr(text.data, "revoked"));
    buf_fini(&text);
    sk_X509_free(path);
    made_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_judged),           cmocka_unit_test(answers_are_judged),
        cmocka_unit_test(list_needs_usage),           cmocka_unit_test(expired_is_unknown),
        cmocka_unit_test(damage_is_no_good_news),     cmocka_unit_test(questions_are_found),
        cmocka_unit_test(request_is_for_certificate), cmocka_unit_test(sum_is_the_worst),
        cmocka_unit_test(path_is_explained),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
