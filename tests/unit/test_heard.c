/*
 * What a message tells of its sender and of others: whom it is about, when it was, and what is passed over.
 */
#include "crypto/heard.h"
#include "keyring/autocrypt.h"
#include "tests/unit/failing_malloc.h"

#include <string.h>

#define NOW ((int64_t)1700000000) /* Tue, 14 Nov 2023 22:13:20 +0000 */
#define KEY "mDMEawDEABYJKwYBBAHaRw8BAQdAYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWG0BWJvYkB4"
#define FIELD(address) "Autocrypt: addr=" address "; prefer-encrypt=mutual; keydata=" KEY "\r\n"
#define GOSSIP(address) "Autocrypt-Gossip: addr=" address "; keydata=" KEY "\r\n"

static const char *const own[] = {"alice@example.org", "a@example.org"};
static const struct crypto_hearer hearer = {.own = own, .own_len = 2, .now = NOW};

static void what_a_header_tells(void **state)
{
    (void)state;
    static const struct {
        const char *header, *address; /* "": nothing */
        bool has_key;
        int64_t at;
    } rows[] = {
        {("From: bob@example.net\r\n" FIELD("bob@example.net")), "bob@example.net", true, NOW},
        {("From: Bob <bob@example.net>\r\nDate: Tue, 14 Nov 2023 22:13:19 +0000\r\n" FIELD("BOB@example.net")),
         "bob@example.net", true, NOW - 1},
        {"From: bob@example.net\r\nDate: Tue, 14 Nov 2023 23:13:10 +0100\r\n", "bob@example.net", false, NOW - 10},
        {"From: bob@example.net\r\nDate: 14 Nov 2023 17:13:10 EST\r\n", "bob@example.net", false, NOW - 10},
        {"From: bob@example.net\r\nDate: 14 Nov 2023 22:13 GMT\r\n", "bob@example.net", false, NOW - 20},
        {"From: bob@example.net\r\nDate: Tue, 14 Nov 2033 22:13:19 +0000\r\n", "bob@example.net", false, NOW},
        {"From: bob@example.net\r\nDate: the day after\r\n", "bob@example.net", false, NOW},
        {"From: bob@example.net\r\nDate: 1 Jan 1960 00:00:00 +0000\r\n", "bob@example.net", false, NOW},
        {("From: bob@example.net\r\n" FIELD("eve@example.net")), "bob@example.net", false, NOW},
        {("From: bob@example.net\r\n" FIELD("bob@example.net") FIELD("bob@example.net")), "bob@example.net", false,
         NOW},
        {("From: bob@example.net\r\nContent-Type: multipart/mixed; boundary=x\r\nAuto-Submitted: no\r\n" FIELD(
             "bob@example.net")),
         "bob@example.net", true, NOW},
        /* of no person, or not of one */
        {("From: bob@example.net, eve@example.net\r\n" FIELD("bob@example.net")), "", false, 0},
        {("From: bob@example.net\r\nFrom: bob@example.net\r\n" FIELD("bob@example.net")), "", false, 0},
        {("From: undisclosed:;\r\n" FIELD("bob@example.net")), "", false, 0},
        {FIELD("bob@example.net"), "", false, 0},
        {("From: bob@example.net\r\nContent-Type: Multipart/Report; report-type=x\r\n" FIELD("bob@example.net")), "",
         false, 0},
        {("From: bob@example.net\r\nAuto-Submitted: auto-replied (away)\r\n" FIELD("bob@example.net")), "", false, 0},
        /* oneself */
        {("From: ALICE@example.org\r\n" FIELD("alice@example.org")), "", false, 0},
        {("From: a@example.org\r\n" FIELD("a@example.org")), "", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keyring_heard heard = {.at = 0};
        struct buf out;
        buf_init(&out, CRYPTO_HEARD_MAX);
        assert_int_equal(crypto_heard_add(&hearer, span_of(rows[i].header), &out), ERR_OK);
        struct span rest = buf_span(&out);
        enum err err = keyring_heard_take(&rest, &heard);
        if (err != (rows[i].address[0] == '\0' ? ERR_END : ERR_OK) || strcmp(heard.address, rows[i].address) != 0 ||
            heard.has_key != rows[i].has_key || heard.is_mutual != rows[i].has_key || heard.at != rows[i].at)
            fail_msg("%s: %s, key %d, at %+lld", rows[i].header, heard.address, heard.has_key,
                     (long long)(heard.at - NOW));
        assert_int_equal(rest.len, 0);
        buf_fini(&out);
    }
}

/* What stands before a NUL, raw or in somebody's encoding, is no address: who reads C strings would take it for one. */
static void no_address_ends_at_a_nul(void **state)
{
#define BEFORE "Autocrypt: addr=bob@example.net"
#define BEHIND "; prefer-encrypt=mutual; keydata=" KEY "\r\n"
    static const struct {
        const char *header;
        size_t len;
        bool is_bob; /* From */
    } rows[] = {
#define ROW(header, is_bob) {header, sizeof(header) - 1, is_bob}
        ROW("From: bob@example.net\r\n" BEFORE "\0" BEHIND, true),
        ROW("From: bob@example.net\r\n" BEFORE "\0@evil.example" BEHIND, true),
        ROW("From: bob@example.net\r\nAutocrypt: addr=\0bob@example.net" BEHIND, true),
        ROW("From: bob@example.net\r\n" BEFORE "=00" BEHIND, true),
        ROW("From: bob@example.net\r\n" BEFORE "%00" BEHIND, true),
        ROW("From: bob@example.net\r\nAutocrypt: addr==?utf-8?q?bob=40example.net=00?=" BEHIND, true),
        ROW("From: bob@example.net\r\nAutocrypt: addr==?utf-8?q?bob=40example.net?=" BEHIND, true),
        ROW("From: bob@example.net\r\nAutocrypt: addr=\"bob\\\0\"@example.net" BEHIND, true),
        ROW("From: bob@example.net\0\r\n" BEFORE BEHIND, false),
        ROW("From: bob@example.net\0 <eve@evil.example>\r\n" BEFORE BEHIND, false),
        ROW("From: bob@example.net\0@evil.example\r\n" BEFORE BEHIND, false),
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keyring_heard heard;
        struct buf out;
        buf_init(&out, CRYPTO_HEARD_MAX);
        assert_int_equal(crypto_heard_add(&hearer, (struct span){rows[i].header, rows[i].len}, &out), ERR_OK);
        struct span rest = buf_span(&out);
        while (keyring_heard_take(&rest, &heard) == ERR_OK)
            if (heard.has_key || (strcmp(heard.address, "bob@example.net") == 0) != rows[i].is_bob)
                fail_msg("row %zu: %s", i, heard.address);
        buf_fini(&out);
    }
}

static size_t gossip_of(const char *payload, const char *header, char addresses_out[4][MIME_ADDR_SIZE])
{
    struct keyring_heard heard;
    struct buf out;
    size_t count = 0;
    buf_init(&out, CRYPTO_HEARD_MAX);
    assert_int_equal(crypto_heard_gossip(&hearer, span_of(payload), span_of(header), &out), ERR_OK);
    for (struct span rest = buf_span(&out); keyring_heard_take(&rest, &heard) == ERR_OK; count++) {
        assert_true(heard.is_gossip && heard.has_key && !heard.is_mutual && heard.key.len == 60);
        assert_int_equal(heard.at, NOW - 1);
        if (count < 4)
            memcpy(addresses_out[count], heard.address, MIME_ADDR_SIZE);
    }
    buf_fini(&out);
    return count;
}

#define DATE "Date: Tue, 14 Nov 2023 22:13:19 +0000\r\n"

/* Of those alone to whom the message went. */
static void whose_gossip_counts(void **state)
{
    char addresses[4][MIME_ADDR_SIZE];
    (void)state;
    assert_int_equal(gossip_of(GOSSIP("bob@example.net") GOSSIP("carol@example.com") GOSSIP("dave@example.edu")
                                   GOSSIP("eve@example.net") GOSSIP("alice@example.org"),
                               DATE "To: Bob <BOB@example.net>, alice@example.org\r\nCc: x: carol@example.com;\r\n"
                                    "Bcc: eve@example.net\r\nReply-To: dave@example.edu\r\n",
                               addresses),
                     3);
    assert_string_equal(addresses[0], "bob@example.net");
    assert_string_equal(addresses[1], "carol@example.com");
    assert_string_equal(addresses[2], "dave@example.edu");
    /* Recipients may stand inside alone; one that is not valid does not end it; another kind of field is none. */
    assert_int_equal(gossip_of("To: bob@example.net\r\nAutocrypt-Gossip: addr=bob@example.net; keydata=AAAA\r\n" FIELD(
                                   "bob@example.net") GOSSIP("bob@example.net"),
                               DATE "To: undisclosed:;\r\n", addresses),
                     1);
}

static void gossip_is_bounded(void **state)
{
    char addresses[4][MIME_ADDR_SIZE];
    struct buf payload;
    (void)state;
    buf_init(&payload, 1 << 20);
    for (size_t i = 0; i < KEYRING_AUTOCRYPT_GOSSIPS_MAX + 10; i++)
        assert_int_equal(buf_add_string(&payload, GOSSIP("bob@example.net")), ERR_OK);
    assert_int_equal(gossip_of(payload.data, DATE "To: bob@example.net\r\n", addresses), KEYRING_AUTOCRYPT_GOSSIPS_MAX);
    buf_fini(&payload);
}

static bool hear(void *context)
{
    struct buf out;
    (void)context;
    buf_init(&out, CRYPTO_HEARD_MAX);
    enum err err = crypto_heard_add(&hearer, SPAN_LIT("From: bob@example.net\r\n" FIELD("bob@example.net")), &out);
    if (err == ERR_OK)
        err = crypto_heard_gossip(&hearer, SPAN_LIT(GOSSIP("bob@example.net")), SPAN_LIT("To: bob@example.net\r\n"),
                                  &out);
    buf_fini(&out);
    return err == ERR_OK;
}

static void without_memory_it_is_said(void **state)
{
    (void)state;
    failing_malloc_run(hear, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_header_tells),       cmocka_unit_test(no_address_ends_at_a_nul),
        cmocka_unit_test(whose_gossip_counts),       cmocka_unit_test(gossip_is_bounded),
        cmocka_unit_test(without_memory_it_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
