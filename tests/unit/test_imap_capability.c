/* The allow-list: what a client sees of a server's capabilities, before and after login. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "imap/capability.h"

#include <stdio.h>
#include <string.h>

#define OWN "IMAP4rev1 SASL-IR LITERAL+ ID"

static struct imap_capabilities server;
static struct buf shown;

static int set_up(void **state)
{
    (void)state;
    imap_capabilities_init(&server);
    buf_init(&shown, 4096);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    imap_capabilities_fini(&server);
    buf_fini(&shown);
    return 0;
}

static void parse(const char *words)
{
    assert_int_equal(imap_capabilities_parse(span_of(words), &server), ERR_OK);
}

static void expect_after(const char *words, unsigned percent, const char *expected)
{
    const struct imap_offer offer = {.offers_compress = false};
    parse(words);
    buf_clear(&shown);
    assert_int_equal(imap_capabilities_after(&server, &offer, percent, 1000, &shown), ERR_OK);
    assert_string_equal(shown.data, expected);
}

static void test_parses_features(void **state)
{
    (void)state;
    parse(" imap4REV1 STARTTLS AUTH=PLAIN auth=xoauth2 AUTH=UNHEARD-OF  LOGINDISABLED LITERAL- APPENDLIMIT=12345 ");
    assert_int_equal(server.features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_STARTTLS | IMAP_HAS_LOGINDISABLED |
                                          IMAP_HAS_LITERAL_MINUS | IMAP_HAS_APPENDLIMIT);
    assert_int_equal(server.mechanisms, 1u << SASL_PLAIN | 1u << SASL_XOAUTH2);
    assert_int_equal(server.append_limit, 12345);
    assert_string_equal(server.words.data, "imap4REV1 STARTTLS AUTH=PLAIN auth=xoauth2 AUTH=UNHEARD-OF LOGINDISABLED "
                                           "LITERAL- APPENDLIMIT=12345");
    /* The next list replaces the one before. */
    parse("IMAP4rev1 UIDPLUS");
    assert_int_equal(server.features, IMAP_HAS_IMAP4REV1 | IMAP_HAS_UIDPLUS);
    assert_int_equal(server.mechanisms, 0);
    assert_int_equal(server.append_limit, 0);
    parse("");
    assert_int_equal(server.features, 0);
}

static void test_every_feature(void **state)
{
    (void)state;
    parse("IMAP4rev1 STARTTLS LOGINDISABLED SASL-IR LITERAL+ LITERAL- UIDPLUS CONDSTORE QRESYNC ESEARCH SEARCHRES "
          "MULTIAPPEND OBJECTID COMPRESS=DEFLATE IDLE ENABLE UTF8=ACCEPT ID APPENDLIMIT INPROGRESS MOVE");
    assert_int_equal(server.features, (IMAP_HAS_MOVE << 1) - 1);
}

static void test_malformed(void **state)
{
    static const char *const bad[] = {"A (B", "A\tB", "A\"B", "A{1}", "A\x7f", "A \xc3\xa4"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(imap_capabilities_parse(span_of(bad[i]), &server), ERR_MALFORMED);
        assert_int_equal(server.words.len, 0);
    }
    char many[20000];
    memset(many, 'A', sizeof many);
    assert_int_equal(imap_capabilities_parse((struct span){many, sizeof many}, &server), ERR_MALFORMED);
}

static void test_before_login(void **state)
{
    struct imap_offer offer = {.offers_starttls = true, .has_login_disabled = true, .mechanisms = 1u << SASL_PLAIN};
    (void)state;
    assert_int_equal(imap_capabilities_before(&offer, &shown), ERR_OK);
    assert_string_equal(shown.data, OWN " STARTTLS LOGINDISABLED");
    buf_clear(&shown);
    offer = (struct imap_offer){.mechanisms = 1u << SASL_PLAIN | 1u << SASL_OAUTHBEARER};
    assert_int_equal(imap_capabilities_before(&offer, &shown), ERR_OK);
    assert_string_equal(shown.data, OWN " AUTH=OAUTHBEARER AUTH=PLAIN");
    buf_clear(&shown);
    offer = (struct imap_offer){.mechanisms = 0};
    assert_int_equal(imap_capabilities_before(&offer, &shown), ERR_OK);
    assert_string_equal(shown.data, OWN);
}

/* Word for word the list of what passes, is our own, is rewritten, is hidden. */
static void test_each_word(void **state)
{
    static const char *const passes[] = {
        "UIDPLUS",       "MOVE",        "UNSELECT",      "IDLE",        "NAMESPACE",          "CHILDREN",
        "LIST-EXTENDED", "LIST-STATUS", "LIST-MYRIGHTS", "SPECIAL-USE", "CREATE-SPECIAL-USE", "ACL",
        "RIGHTS=texk",   "METADATA",    "QUOTA",         "QUOTASET",    "QUOTA=RES-STORAGE",  "SAVEDATE",
        "OBJECTID",      "INPROGRESS",  "XLIST",         "ENABLE",      "CONDSTORE",          "QRESYNC",
        "SEARCHRES",     "X-GM-EXT-1",  "ESEARCH",       "WITHIN",      "MULTIAPPEND",        "UTF8=ACCEPT",
        "uidplus"};
    static const char *const hidden[] = {"STARTTLS",
                                         "SASL-IR",
                                         "AUTH=PLAIN",
                                         "LOGINDISABLED",
                                         "LITERAL+",
                                         "LITERAL-",
                                         "ID",
                                         "COMPRESS=DEFLATE",
                                         "IMAP4rev1",
                                         "SORT",
                                         "SORT=DISPLAY",
                                         "THREAD=REFERENCES",
                                         "THREAD=ORDEREDSUBJECT",
                                         "PREVIEW",
                                         "PREVIEW=FUZZY",
                                         "SNIPPET=FUZZY",
                                         "BINARY",
                                         "STATUS=SIZE",
                                         "PARTIAL",
                                         "SEARCH=FUZZY",
                                         "CATENATE",
                                         "URLAUTH",
                                         "URL-PARTIAL",
                                         "REPLACE",
                                         "CONVERT",
                                         "ANNOTATE-EXPERIMENT-1",
                                         "CONTEXT=SEARCH",
                                         "CONTEXT=SORT",
                                         "NOTIFY",
                                         "MULTISEARCH",
                                         "IMAP4rev2",
                                         "UIDONLY",
                                         "LOGIN-REFERRALS",
                                         "MAILBOX-REFERRALS",
                                         "UNAUTHENTICATE",
                                         "I18NLEVEL=1",
                                         "UTF8=ONLY",
                                         "METADATA-SERVER",
                                         "FILTERS",
                                         "ESORT",
                                         "JMAPACCESS",
                                         "RIGHTS",
                                         "RIGHTS=",
                                         "XUIDPLUS",
                                         "UIDPLUSX",
                                         "X-GM-EXT-2",
                                         "APPENDLIMIT=",
                                         "MESSAGELIMIT=1000",
                                         "COMPRESS=GZIP",
                                         "X"};
    char expected[200];
    (void)state;
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        snprintf(expected, sizeof expected, OWN " %s", passes[i]);
        expect_after(passes[i], 50, expected);
    }
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        expect_after(hidden[i], 50, OWN);
}

static void test_dovecot_and_gmail(void **state)
{
    (void)state;
    expect_after("IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
                 "THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS "
                 "LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH "
                 "LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY "
                 "SPECIAL-USE",
                 50,
                 OWN " ENABLE IDLE MULTIAPPEND UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED CONDSTORE QRESYNC "
                     "ESEARCH SEARCHRES WITHIN LIST-STATUS MOVE SAVEDATE SPECIAL-USE");
    expect_after("IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS COMPRESS=DEFLATE ENABLE "
                 "MOVE CONDSTORE ESEARCH UTF8=ACCEPT LIST-EXTENDED LIST-STATUS LITERAL- SPECIAL-USE "
                 "APPENDLIMIT=35651584",
                 0,
                 OWN " UNSELECT IDLE NAMESPACE QUOTA XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE MOVE CONDSTORE ESEARCH "
                     "UTF8=ACCEPT LIST-EXTENDED LIST-STATUS SPECIAL-USE APPENDLIMIT=35651584");
}

static void test_append_limit(void **state)
{
    (void)state;
    expect_after("APPENDLIMIT=101000", 70, OWN " APPENDLIMIT=70000");
    expect_after("APPENDLIMIT=1000", 70, OWN " APPENDLIMIT=0");
    expect_after("APPENDLIMIT=999", 70, OWN " APPENDLIMIT=0");
    expect_after("APPENDLIMIT=1199", 70, OWN " APPENDLIMIT=139");
    expect_after("APPENDLIMIT=18446744073709551615", 70, OWN " APPENDLIMIT=12912720851596685430");
    expect_after("APPENDLIMIT=5", 0, OWN " APPENDLIMIT=5");
    /* Each mailbox has its own, and STATUS tells it as the server has it. */
    expect_after("APPENDLIMIT", 70, OWN);
    expect_after("APPENDLIMIT", 0, OWN " APPENDLIMIT");
}

static void test_compress_is_of_this_leg(void **state)
{
    const struct imap_offer offer = {.offers_compress = true};
    (void)state;
    parse("IMAP4rev1 IDLE");
    assert_int_equal(imap_capabilities_after(&server, &offer, 0, 0, &shown), ERR_OK);
    assert_string_equal(shown.data, OWN " COMPRESS=DEFLATE IDLE");
}

static void test_has(void **state)
{
    struct span words = SPAN_LIT("IMAP4rev1 MOVE LITERAL+");
    (void)state;
    assert_true(imap_capabilities_has(words, "move"));
    assert_true(imap_capabilities_has(words, "LITERAL+"));
    assert_true(imap_capabilities_has(words, "IMAP4rev1"));
    assert_false(imap_capabilities_has(words, "MOV"));
    assert_false(imap_capabilities_has(words, "LITERAL"));
    assert_false(imap_capabilities_has(words, "UIDPLUS"));
    assert_false(imap_capabilities_has(SPAN_NONE, "MOVE"));
}

static void test_no_room(void **state)
{
    const struct imap_offer offer = {.mechanisms = 1u << SASL_PLAIN};
    struct buf small;
    (void)state;
    parse("IDLE MOVE");
    for (size_t max = 0; max < 20; max++) {
        buf_init(&small, max);
        assert_int_equal(imap_capabilities_after(&server, &offer, 0, 0, &small), ERR_LIMIT);
        buf_clear(&small);
        assert_int_equal(imap_capabilities_before(&offer, &small), ERR_LIMIT);
        buf_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parses_features, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_feature, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_before_login, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_dovecot_and_gmail, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_append_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_compress_is_of_this_leg, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_has, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
