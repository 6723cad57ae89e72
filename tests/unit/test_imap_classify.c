#include "proxy/imap_classify.h"

#include "imap/capability.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PLAIN "(\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 12 1 NIL NIL NIL NIL)"
#define NO_FIELDS "{2}\r\n\r\n"

struct row {
    const char *structure, *fields, *start;
    bool is_candidate;
};

static const struct row rows[] = {
    {PLAIN, NO_FIELDS, "\"hello\"", false},
    {PLAIN, "\"\"", "\"\"", false},
    {PLAIN, NO_FIELDS, "NIL", true},
    {PLAIN, "NIL", "\"hello\"", true},
    {"NIL", NO_FIELDS, "\"hello\"", true},
    {"NIL", "NIL", "NIL", true},
    /* types */
    {"((\"application\" \"pgp-encrypted\" NIL NIL NIL \"7bit\" 11)(\"application\" \"octet-stream\" NIL NIL NIL "
     "\"7bit\" "
     "9) \"encrypted\")",
     NO_FIELDS, "\"Version: 1\"", true},
    {"((\"text\" \"plain\" NIL NIL NIL \"7bit\" 0 0)(\"APPLICATION\" \"PGP-Encrypted\" NIL NIL NIL \"7bit\" 11) "
     "\"mixed\")",
     NO_FIELDS, "\"\"", true},
    {"(" PLAIN "(\"application\" \"pgp-signature\" NIL NIL NIL \"7bit\" 9) \"signed\")", NO_FIELDS, "\"x\"", true},
    {"(\"application\" \"x-pkcs7-mime\" (\"name\" \"smime.p7m\") NIL NIL \"base64\" 9)", NO_FIELDS, "\"x\"", true},
    {"(\"application\" {10}\r\npkcs7-mime NIL NIL NIL \"base64\" 9)", NO_FIELDS, "\"x\"", true},
    {"(" PLAIN "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 99 (NIL) (" PLAIN PLAIN " \"signed\") 7) \"mixed\")",
     NO_FIELDS, "\"x\"", true},
    {"(\"text\" \"plain\" (\"name\" \"signed.txt\") NIL NIL \"7bit\" 12 1)", NO_FIELDS, "\"x\"", false},
#define OCTETS(name) "(\"application\" \"octet-stream\" (\"name\" \"x\") NIL (\"attachment\" (" name ")) \"base64\" 9)"
    /* names */
    {OCTETS("\"filename\" \"smime.P7M\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename\" \"smime.p7s\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename\" \"smime.p7z\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename*\" \"us-ascii''smime%2Ep7m\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename*0\" \"smime.p\" \"filename*1\" \"7m\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename*0\" \"smime.p7\" \"filename*1\" \"m\""), NO_FIELDS, "\"x\"", true},
    {OCTETS("\"filename\" \"smime.p7m.txt\""), NO_FIELDS, "\"x\"", false},
    {OCTETS("\"filename\" \"7mm\""), NO_FIELDS, "\"x\"", false},
    {OCTETS("\"filename\" \"\""), NO_FIELDS, "\"x\"", false},
    /* privyseal's own fields */
    {PLAIN, "{26}\r\nPrivyseal-Verdict: x=y\r\n\r\n", "\"hello\"", true},
    {PLAIN, "{26}\r\npRIVYSEAL-vERDICT: x=y\r\n\r\n", "\"hello\"", true},
    {PLAIN, "{50}\r\nAuthentication-Results: mx.example.org; spf=pass\r\n", "\"hello\"", false},
    {PLAIN, "{45}\r\nAuthentication-Results: privyseal.host; x=y\r\n", "\"hello\"", true},
    {PLAIN, "{43}\r\nAuthentication-Results: \"priv\\yseal.h\"; x\r\n", "\"hello\"", true},
    {PLAIN, "{99999}\r\n", "\"hello\"", true}, /* kept elsewhere: too long to be what was asked for */
    /* armour */
    {PLAIN, NO_FIELDS, "{31}\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n", true},
    {PLAIN, NO_FIELDS, "{36}\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", true},
    {PLAIN, NO_FIELDS, "\"-----BEGIN PGP PUBLIC KEY BLOCK-----\"", false},
    {PLAIN, NO_FIELDS, "\"=2D----BEGIN PGP MESSAGE-----\"", true},
    {PLAIN, NO_FIELDS, "\"-----BEGIN=20PGP=20SIGNED=20MESSAGE-----\"", true},
    {PLAIN, NO_FIELDS, "\"LS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0t\"", true},
    {PLAIN, NO_FIELDS, "\"SGVsbG8gdGhlcmUsIGhvdyBhcmUgeW91Pw==\"", false},
};

static struct imap_answer answer(const char *label, const char *value)
{
    return (struct imap_answer){span_of(label), span_of(value)};
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct imap_answer answers[] = {
            answer("UID", "7"),
            answer("RFC822.SIZE", "1234"),
            answer("BODYSTRUCTURE", row->structure),
            answer("BODY[HEADER.FIELDS (\"PRIVYSEAL-VERDICT\" AUTHENTICATION-RESULTS)]", row->fields),
            answer("BODY[1]<0>", row->start),
        };
        bool is_candidate;
        uint64_t size;
        assert_int_equal(imap_classify(answers, 5, &is_candidate, &size), ERR_OK);
        assert_int_equal(size, 1234);
        if (is_candidate != row->is_candidate)
            fail_msg("row %zu", i);
        /* An answer that lacks something says nothing. */
        for (size_t missing = 1; missing < 5; missing++) {
            struct imap_answer kept = answers[missing];
            answers[missing].label = SPAN_LIT("X");
            assert_int_equal(imap_classify(answers, 5, &is_candidate, &size), ERR_NOT_FOUND);
            answers[missing] = kept;
        }
    }
}

/* What is asked for is what a client might ask for, and sets no flag. */
static void test_items(void **state)
{
    (void)state;
    static const struct {
        uint32_t features;
        size_t items;
        const char *name;
    } servers[] = {{0, 5, NULL},
                   {IMAP_HAS_OBJECTID, 6, "EMAILID"},
                   {IMAP_HAS_GMAIL, 6, "X-GM-MSGID"},
                   {IMAP_HAS_OBJECTID | IMAP_HAS_GMAIL, 6, "EMAILID"}};
    struct imap_fetch *fetch = malloc(sizeof *fetch);
    struct imap_cursor cursor;
    assert_non_null(fetch);
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
        imap_cursor_init_text(&cursor, span_of(imap_classify_items(servers[i].features)));
        assert_int_equal(imap_fetch_parse(&cursor, fetch), ERR_OK);
        assert_int_equal(fetch->len, servers[i].items);
        if (servers[i].name)
            assert_true(span_is_equal(fetch->items[1].label, span_of(servers[i].name)));
        assert_false(fetch->sets_seen);
        imap_fetch_fini(fetch);
    }
    free(fetch);
}

/* The name of an answer; false: none. */
static bool alias_of(const char *text, uint8_t alias[STORE_DIGEST_SIZE])
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    imap_cursor_init_text(&cursor, span_of(text));
    assert_int_equal(imap_fetch_answers(&cursor, answers, &len), ERR_OK);
    return imap_classify_alias(answers, len, alias);
}

/* A name counts together with size and structure: where they differ, it is another one. */
static void test_aliases(void **state)
{
    (void)state;
    static const char *const different[] = {
        "(EMAILID (M1) RFC822.SIZE 7 BODYSTRUCTURE (" PLAIN ") UID 3)",
        "(EMAILID (M2) RFC822.SIZE 7 BODYSTRUCTURE (" PLAIN ") UID 3)",
        "(EMAILID (M1) RFC822.SIZE 8 BODYSTRUCTURE (" PLAIN ") UID 3)",
        "(EMAILID (M1) RFC822.SIZE 7 BODYSTRUCTURE (" PLAIN PLAIN ") UID 3)",
        "(X-GM-MSGID 1 RFC822.SIZE 7 BODYSTRUCTURE (" PLAIN ") UID 3)",
    };
    static const char *const none[] = {
        "(RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(EMAILID NIL RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(EMAILID () RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(EMAILID M1 RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(X-GM-MSGID (1) RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(X-GM-MSGID NIL RFC822.SIZE 7 BODYSTRUCTURE NIL UID 3)",
        "(EMAILID (M1) BODYSTRUCTURE NIL UID 3)",
        "(EMAILID (M1) RFC822.SIZE 7 UID 3)",
    };
    uint8_t aliases[5][STORE_DIGEST_SIZE], again[STORE_DIGEST_SIZE];
    for (size_t i = 0; i < 5; i++) {
        assert_true(alias_of(different[i], aliases[i]));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(aliases[i], aliases[j], STORE_DIGEST_SIZE);
    }
    assert_true(alias_of("(UID 9 BODYSTRUCTURE (" PLAIN ") FLAGS (\\Seen) RFC822.SIZE 7 EMAILID (M1))", again));
    assert_memory_equal(again, aliases[0], STORE_DIGEST_SIZE);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(alias_of(none[i], again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_items),
                                       cmocka_unit_test(test_aliases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
