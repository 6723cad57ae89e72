/* Where the records of an address are, how one's own are printed, and what is taken out of an answer. */
#include "keyring/dane_internal.h"
#include "mime/addr.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/x509_made.h"

#define HUGH "hugh@example.com"
#define HUGH_DIGEST "c93f1e400f26708f98cb19d936620da35eec8f72e57f9eec01c1afd6"
#define ERIN "erin@example.net"
#define KEY SPAN_LIT("\xc6\x05 a key")

/* ---- names ---- */

static void expect_name(const char *address, const char *expected)
{
    char name[KEYRING_DANE_NAME_SIZE];
    assert_int_equal(keyring_dane_name(address, KEYRING_DANE_OPENPGPKEY, name), ERR_OK);
    assert_string_equal(name, expected);
}

/* The name of `text`, as somebody writes it. */
static void name_of(const char *text, char name[KEYRING_DANE_NAME_SIZE])
{
    char address[MIME_ADDR_SIZE];
    assert_int_equal(mime_addr_normalise(span_of(text), address), ERR_OK);
    assert_int_equal(keyring_dane_name(address, KEYRING_DANE_OPENPGPKEY, name), ERR_OK);
}

static void expect_same_name(const char *text, const char *other, bool is_same)
{
    char first[KEYRING_DANE_NAME_SIZE], second[KEYRING_DANE_NAME_SIZE];
    name_of(text, first);
    name_of(other, second);
    assert_int_equal(strcmp(first, second) == 0, is_same);
}

static void test_names(void **state)
{
    (void)state;
    char name[KEYRING_DANE_NAME_SIZE];
    /* The example of RFC 7929 §3, and of RFC 8162 §3. */
    expect_name(HUGH, HUGH_DIGEST "._openpgpkey.example.com");
    assert_int_equal(keyring_dane_name(HUGH, KEYRING_DANE_SMIMEA, name), ERR_OK);
    assert_string_equal(name, HUGH_DIGEST "._smimecert.example.com");
    expect_name("hugh@xn--bcher-kva.example", HUGH_DIGEST "._openpgpkey.xn--bcher-kva.example");
    /* Case is the local part's own, and not the domain's. */
    expect_same_name("hugh@example.com", "Hugh@example.com", false);
    expect_same_name("hugh@example.com", "hugh@EXAMPLE.com", true);
    expect_same_name("hugh@b\xc3\xbc"
                     "cher.example",
                     "hugh@xn--bcher-kva.example", true);
    /* Quotes and what they need are no part of it. */
    expect_same_name("\"hugh\"@example.com", "hugh@example.com", true);
    expect_same_name("\"h\\u\\g\\h\"@example.com", "hugh@example.com", true);
    expect_name("\"a b\"@example.com",
                "c8687a08aa5d6ed2044328fa6a697ab8e96dc34291e8c2034ae8c38e._openpgpkey.example.com");
    expect_name("\"a \\\"b\"@example.com",
                "ec0ee011916498e8af18f31985dcc84c9ce0e366f0795735094cfb40._openpgpkey.example.com");
    /* Composed or not it is the same letter. */
    expect_same_name("caf\xc3\xa9@example.com", "cafe\xcc\x81@example.com", true);
    expect_name("caf\xc3\xa9@example.com",
                "850f7dc43910ff890f8879c0ed26fe697c93a067ad93a7d50f466a70._openpgpkey.example.com");
}

static void test_addresses_without_a_name(void **state)
{
    (void)state;
    static const char *const addresses[] = {"",
                                            "erin",
                                            "erin@",
                                            "erin@.net",
                                            "erin@example..net",
                                            "erin@example.net.",
                                            "erin@[127.0.0.1]",
                                            "erin@exam\\046ple.net",
                                            "erin@exam ple.net",
                                            "erin@\xc3\xa9.net",
                                            "\xff@example.net"};
    char name[KEYRING_DANE_NAME_SIZE], address[MIME_ADDR_SIZE];
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (keyring_dane_name(addresses[i], KEYRING_DANE_OPENPGPKEY, name) != ERR_ADDRESS_SYNTAX)
            fail_msg("%s has a name", addresses[i]);
    /* Labels and whole names as long as they may be, and a byte longer. */
    for (size_t len = 60; len < 66; len++) {
        snprintf(address, sizeof address, "erin@%0*d.net", (int)len, 0);
        assert_int_equal(keyring_dane_name(address, KEYRING_DANE_OPENPGPKEY, name) == ERR_OK, len <= 63);
    }
    for (int len = 1; len < 63; len++) {
        snprintf(address, sizeof address, "erin@%0*d.%060d.%060d", len, 0, 0, 0);
        const size_t whole = 56 + strlen("._openpgpkey.") + strlen(address + 5);
        assert_int_equal(keyring_dane_name(address, KEYRING_DANE_OPENPGPKEY, name) == ERR_OK, whole <= 253);
    }
}

/* ---- one's own records ---- */

static void expect_printed(enum keyring_dane_type type, bool is_generic, const char *expected)
{
    struct buf out;
    buf_init(&out, KEYRING_DANE_PRINTED_MAX);
    assert_int_equal(keyring_dane_print(HUGH, type, SPAN_LIT("\x99\x01 \xff"), is_generic, &out), ERR_OK);
    assert_string_equal(out.data, expected);
    buf_fini(&out);
}

static void test_printed(void **state)
{
    (void)state;
    static char bytes[KEYRING_DANE_RDATA_MAX + 1];
    struct buf out;
    expect_printed(KEYRING_DANE_OPENPGPKEY, false, HUGH_DIGEST "._openpgpkey.example.com. IN OPENPGPKEY mQEg/w==\n");
    expect_printed(KEYRING_DANE_OPENPGPKEY, true, HUGH_DIGEST "._openpgpkey.example.com. IN TYPE61 \\# 4 990120ff\n");
    expect_printed(KEYRING_DANE_SMIMEA, false, HUGH_DIGEST "._smimecert.example.com. IN SMIMEA 3 0 0 990120ff\n");
    expect_printed(KEYRING_DANE_SMIMEA, true, HUGH_DIGEST "._smimecert.example.com. IN TYPE53 \\# 7 030000990120ff\n");
    buf_init(&out, KEYRING_DANE_PRINTED_MAX);
    const struct span longest = {bytes, KEYRING_DANE_RDATA_MAX - 3}, longer = {bytes, KEYRING_DANE_RDATA_MAX - 2};
    for (int is_generic = 0; is_generic < 2; is_generic++) {
        assert_int_equal(keyring_dane_print(HUGH, KEYRING_DANE_SMIMEA, longest, is_generic, &out), ERR_OK);
        buf_clear(&out);
        assert_int_equal(keyring_dane_print(HUGH, KEYRING_DANE_SMIMEA, longer, is_generic, &out), ERR_LIMIT);
        assert_int_equal(keyring_dane_print(HUGH, KEYRING_DANE_SMIMEA, SPAN_NONE, is_generic, &out), ERR_LIMIT);
        assert_int_equal(keyring_dane_print("hugh@[127.0.0.1]", KEYRING_DANE_SMIMEA, KEY, is_generic, &out),
                         ERR_ADDRESS_SYNTAX);
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
}

static bool print_again(void *context)
{
    struct buf out;
    (void)context;
    buf_init(&out, KEYRING_DANE_PRINTED_MAX);
    const bool is_done = keyring_dane_print("caf\xc3\xa9@example.com", KEYRING_DANE_SMIMEA, KEY, false, &out) == ERR_OK;
    assert_true(is_done || out.len == 0);
    buf_fini(&out);
    return is_done;
}

static void test_printed_without_memory(void **state)
{
    (void)state;
    failing_malloc_run(print_again, NULL);
}

/* ---- answers ---- */

#define QUESTION                                                                                                       \
    "\x04name\x07"                                                                                                     \
    "example\x00\x00\x35\x00\x01"
#define POINTER "\xc0\x0c"

/* A message with the question and `records` records, which are added with add_record. */
static void begin(struct buf *message, unsigned rcode, unsigned records)
{
    const char header[] = {0, 0, (char)0x81, (char)(0x80 | rcode), 0, 1, 0, (char)records, 0, 0, 0, 0};
    buf_init(message, 65535);
    assert_int_equal(buf_add(message, header, sizeof header), ERR_OK);
    assert_int_equal(buf_add(message, QUESTION, sizeof QUESTION - 1), ERR_OK);
}

static void add_record(struct buf *message, unsigned type, struct span rdata)
{
    const char head[] = {(char)(type >> 8), (char)type, 0, 1, 0, 0, 1, 0, (char)(rdata.len >> 8), (char)rdata.len};
    assert_int_equal(buf_add(message, POINTER, 2), ERR_OK);
    assert_int_equal(buf_add(message, head, sizeof head), ERR_OK);
    assert_int_equal(buf_add_span(message, rdata), ERR_OK);
}

static void answer_init(struct dane_answer *answer)
{
    *answer = (struct dane_answer){.records = 0};
    buf_init(&answer->bytes, 2 * KEYRING_DANE_RDATA_MAX);
}

/* What is read of one record; its answer is to be finished. */
static void read_one(enum keyring_dane_type type, struct span rdata, struct dane_answer *answer)
{
    struct buf message;
    unsigned rcode = 9;
    begin(&message, 0, 1);
    add_record(&message, type, rdata);
    answer_init(answer);
    assert_int_equal(dane_answer_read(answer, buf_span(&message), type, &rcode), ERR_OK);
    assert_int_equal(rcode, 0);
    assert_int_equal(answer->records, 1);
    buf_fini(&message);
}

static void expect_openpgpkey(struct span rdata, bool is_taken)
{
    struct dane_answer answer;
    read_one(KEYRING_DANE_OPENPGPKEY, rdata, &answer);
    assert_int_equal(answer.pieces_len, is_taken);
    assert_int_equal(answer.malformed, !is_taken);
    if (is_taken) {
        assert_int_equal(answer.pieces[0].kind, KEYRING_FOUND_OPENPGP);
        assert_true(span_is_equal(buf_span(&answer.bytes), rdata));
    }
    buf_fini(&answer.bytes);
}

static void test_openpgpkey(void **state)
{
    (void)state;
    expect_openpgpkey(KEY, true);
    expect_openpgpkey(SPAN_LIT("\x99\x01 a key"), true);
    expect_openpgpkey(SPAN_LIT("\x95\x01 a secret key"), false);
    expect_openpgpkey(SPAN_LIT("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"), false);
    expect_openpgpkey(SPAN_NONE, false);
}

/* What becomes of a certificate with these three bytes before it. */
static struct dane_answer read_smimea(struct span der, char usage, char selector, char matching)
{
    struct dane_answer answer;
    struct buf rdata;
    buf_init(&rdata, KEYRING_DANE_RDATA_MAX);
    assert_int_equal(buf_add(&rdata, (const char[]){usage, selector, matching}, 3), ERR_OK);
    assert_int_equal(buf_add_span(&rdata, der), ERR_OK);
    read_one(KEYRING_DANE_SMIMEA, buf_span(&rdata), &answer);
    buf_fini(&rdata);
    buf_fini(&answer.bytes);
    return answer;
}

static void test_smimea(void **state)
{
    (void)state;
    struct made erin = made_certificate(&(struct made_wish){.name = "Erin", .san = "email:" ERIN}, NULL);
    unsigned char *der = NULL;
    const int len = i2d_X509(erin.certificate, &der);
    const struct span whole = {(char *)der, (size_t)len};
    for (int usage = 0; usage < 256; usage++)
        for (int selector = 0; selector < 4; selector++)
            for (int matching = 0; matching < 4; matching++) {
                const struct dane_answer answer = read_smimea(whole, (char)usage, (char)selector, (char)matching);
                const bool is_known = usage <= 3 && selector <= 1 && matching <= 2;
                const bool is_whole = selector == 0 && matching == 0;
                assert_int_equal(answer.malformed, !is_known);
                assert_int_equal(answer.digests, is_known && !is_whole);
                assert_int_equal(answer.pieces_len, is_known && is_whole);
                if (answer.pieces_len > 0)
                    assert_int_equal(answer.pieces[0].kind,
                                     usage == 3 ? KEYRING_FOUND_CERTIFICATE : KEYRING_FOUND_HINT);
            }
    for (size_t cut = 0; cut < whole.len; cut++)
        assert_int_equal(read_smimea(span_slice(whole, 0, cut), 3, 0, 0).malformed, 1);
    char longer[4096];
    assert_true(whole.len < sizeof longer);
    memcpy(longer, der, whole.len);
    longer[whole.len] = 'x';
    assert_int_equal(read_smimea((struct span){longer, whole.len + 1}, 3, 0, 0).malformed, 1);
    struct dane_answer answer;
    for (size_t cut = 0; cut < 3; cut++) {
        read_one(KEYRING_DANE_SMIMEA, span_slice(SPAN_LIT("\3\0\0"), 0, cut), &answer);
        assert_int_equal(answer.malformed, 1);
        buf_fini(&answer.bytes);
    }
    OPENSSL_free(der);
    made_free(&erin);
}

static void test_other_records_and_codes(void **state)
{
    (void)state;
    struct buf message;
    struct dane_answer answer;
    unsigned rcode = 0;
    begin(&message, 3, 4);
    add_record(&message, 5, SPAN_LIT("\xc0\x0c"));  /* CNAME */
    add_record(&message, 46, SPAN_LIT("\x00\x3d")); /* RRSIG */
    add_record(&message, KEYRING_DANE_SMIMEA, KEY);
    add_record(&message, KEYRING_DANE_OPENPGPKEY, KEY);
    answer_init(&answer);
    assert_int_equal(dane_answer_read(&answer, buf_span(&message), KEYRING_DANE_OPENPGPKEY, &rcode), ERR_OK);
    assert_int_equal(rcode, DANE_RCODE_NONE);
    assert_int_equal(answer.records, 1);
    assert_int_equal(answer.pieces_len, 1);
    buf_fini(&answer.bytes);
    buf_fini(&message);
}

static void test_too_many_records(void **state)
{
    (void)state;
    struct buf message;
    struct dane_answer answer;
    unsigned rcode = 0;
    begin(&message, 0, DANE_RECORDS_MAX + 5);
    for (size_t i = 0; i < DANE_RECORDS_MAX + 5; i++)
        add_record(&message, KEYRING_DANE_OPENPGPKEY, KEY);
    answer_init(&answer);
    for (size_t questions = 1; questions <= 2; questions++) {
        assert_int_equal(dane_answer_read(&answer, buf_span(&message), KEYRING_DANE_OPENPGPKEY, &rcode), ERR_OK);
        assert_int_equal(answer.pieces_len, questions * DANE_RECORDS_MAX);
        assert_int_equal(answer.surplus, questions * 5);
    }
    buf_fini(&answer.bytes);
    buf_fini(&message);
}

/* Every beginning of a message is none, and what is a message stays one whatever a byte of it is: nothing is read
   beyond its end, which the sanitizers watch. */
static void test_byte_by_byte(void **state)
{
    (void)state;
    struct buf message;
    struct dane_answer answer;
    unsigned rcode = 0;
    begin(&message, 0, 2);
    add_record(&message, KEYRING_DANE_SMIMEA, SPAN_LIT("\3\0\0x"));
    add_record(&message, KEYRING_DANE_SMIMEA, SPAN_LIT("\3\1\1x"));
    for (size_t len = 0; len <= message.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, message.data, len);
        answer_init(&answer);
        const enum err err = dane_answer_read(&answer, (struct span){copy, len}, KEYRING_DANE_SMIMEA, &rcode);
        assert_int_equal(err, len == message.len ? ERR_OK : ERR_MALFORMED);
        buf_fini(&answer.bytes);
        free(copy);
    }
    for (size_t at = 0; at < message.len; at++)
        for (int byte = 0; byte < 256; byte++) {
            char *copy = malloc(message.len);
            memcpy(copy, message.data, message.len);
            copy[at] = (char)byte;
            answer_init(&answer);
            const enum err err =
                dane_answer_read(&answer, (struct span){copy, message.len}, KEYRING_DANE_SMIMEA, &rcode);
            assert_true(err == ERR_OK || err == ERR_MALFORMED);
            assert_true(answer.pieces_len <= DANE_PIECES_MAX);
            buf_fini(&answer.bytes);
            free(copy);
        }
    buf_fini(&message);
}

static bool read_again(void *context)
{
    const struct buf *message = context;
    struct dane_answer answer;
    unsigned rcode;
    answer_init(&answer);
    const enum err err = dane_answer_read(&answer, buf_span(message), KEYRING_DANE_OPENPGPKEY, &rcode);
    assert_true(err == ERR_OK ? answer.pieces_len == 1 : answer.pieces_len == 0);
    buf_fini(&answer.bytes);
    return err == ERR_OK;
}

static void test_read_without_memory(void **state)
{
    (void)state;
    struct buf message;
    begin(&message, 0, 1);
    add_record(&message, KEYRING_DANE_OPENPGPKEY, KEY);
    failing_malloc_run(read_again, &message);
    buf_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_addresses_without_a_name),
        cmocka_unit_test(test_printed),
        cmocka_unit_test(test_printed_without_memory),
        cmocka_unit_test(test_openpgpkey),
        cmocka_unit_test(test_smimea),
        cmocka_unit_test(test_other_records_and_codes),
        cmocka_unit_test(test_too_many_records),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_read_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
