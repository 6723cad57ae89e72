#include "base/buf.h"
#include "keyring/key_packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A version 4 key packet of Ed25519, made by hand. Its fingerprint was computed elsewhere (Python's hashlib): SHA-1
   over 99 00 33 and the body. */
#define KEY_BODY                                                                                                       \
    "\x04\x6b\x00\xc4\x00\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01\x01\x07\x40"                                     \
    "0123456789abcdef0123456789abcdef"
#define KEY_BODY_LEN 51

struct seen {
    size_t count, aead;
    char fingerprint[KEYRING_FPR_SIZE];
};

static enum err note(const struct key_packets_key *key, void *context)
{
    struct seen *seen = context;
    seen->count++;
    seen->aead += key->has_aead;
    memcpy(seen->fingerprint, key->fingerprint, sizeof seen->fingerprint);
    return ERR_OK;
}

static enum err stop(const struct key_packets_key *key, void *context)
{
    (void)key;
    (*(int *)context)++;
    return ERR_BUSY;
}

static void add(struct buf *out, const char *bytes, size_t count)
{
    assert_int_equal(buf_add(out, bytes, count), ERR_OK);
}

static void add_key(struct buf *out)
{
    add(out, "\x98\x33", 2);
    add(out, KEY_BODY, KEY_BODY_LEN);
}

/* A new-format signature packet of `type` with these hashed subpackets. */
static void add_signature(struct buf *out, unsigned char type, const char *hashed, size_t hashed_len)
{
    const char head[] = {(char)0xc2, (char)(6 + hashed_len), 4, (char)type, 22, 10, 0, (char)hashed_len};
    add(out, head, sizeof head);
    add(out, hashed, hashed_len);
}

static struct seen walk(const struct buf *packets)
{
    struct seen seen = {0};
    assert_int_equal(key_packets_walk(buf_span(packets), note, &seen), ERR_OK);
    return seen;
}

static void preferences_are_read_from_self_signatures(void **state)
{
    (void)state;
    static const struct {
        unsigned char type;
        const char *hashed;
        size_t len;
        size_t aead;
    } rows[] = {
        {0x13, "\x02\x1e\x01", 3, 0},                 /* features: MDC alone */
        {0x13, "\x02\x1e\x03", 3, 1},                 /* and AEAD */
        {0x13, "\x02\x9e\x03", 3, 1},                 /* the same, critical */
        {0x1f, "\x02\x1e\x08", 3, 1},                 /* SEIPD version 2, by a direct signature */
        {0x10, "\x03\x22\x02\x01", 4, 1},             /* preferred AEAD */
        {0x13, "\x03\x27\x09\x02", 4, 1},             /* preferred AEAD suites */
        {0x13, "\x03\x0b\x09\x08\x02\x1e\x02", 7, 1}, /* behind another */
        {0x13, "\xff\x00\x00\x00\x02\x1e\x02", 7, 1}, /* a long length */
        {0x18, "\x02\x1e\x03", 3, 0},                 /* a subkey's binding */
        {0x30, "\x02\x1e\x03", 3, 0},                 /* a revocation */
        {0x13, "\x02\x1e", 2, 0},                     /* cut */
        {0x13, "\x00\x02\x1e\x03", 4, 1},             /* an empty one before */
        {0x13, "", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf packets;
        buf_init(&packets, 4096);
        add_key(&packets);
        add(&packets,
            "\xb4\x03"
            "A B",
            5);
        add_signature(&packets, rows[i].type, rows[i].hashed, rows[i].len);
        struct seen seen = walk(&packets);
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.aead, rows[i].aead);
        buf_fini(&packets);
    }
}

static void each_key_counts_for_itself(void **state)
{
    (void)state;
    struct buf packets;
    buf_init(&packets, 4096);
    add_signature(&packets, 0x13, "\x02\x1e\x03", 3); /* of no key */
    add_key(&packets);
    add_signature(&packets, 0x13, "\x02\x1e\x03", 3);
    add_key(&packets);
    add(&packets, "\xc6\x01\x05", 3); /* a key of version 5 is skipped with what belongs to it */
    add_signature(&packets, 0x13, "\x02\x1e\x03", 3);
    struct seen seen = walk(&packets);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.aead, 1);
    assert_string_equal(seen.fingerprint, "E6B4B41F9142645F49125AE6BF495EC931CB936C");
    int count = 0;
    assert_int_equal(key_packets_walk(buf_span(&packets), stop, &count), ERR_BUSY);
    assert_int_equal(count, 1);
    buf_fini(&packets);
}

static void what_is_cut_or_no_packet_is_malformed(void **state)
{
    (void)state;
    struct buf packets;
    struct seen seen = {0};
    buf_init(&packets, 4096);
    add_key(&packets);
    size_t whole = packets.len;
    add_signature(&packets, 0x13, "\x02\x1e\x03", 3);
    for (size_t len = 1; len < packets.len; len++)
        assert_int_equal(key_packets_walk(span_slice(buf_span(&packets), 0, len), note, &seen),
                         len == whole ? ERR_OK : ERR_MALFORMED);
    assert_int_equal(key_packets_walk(SPAN_NONE, note, &seen), ERR_OK);
    assert_int_equal(key_packets_walk(SPAN_LIT("-----BEGIN"), note, &seen), ERR_MALFORMED);
    assert_int_equal(key_packets_walk(SPAN_LIT("\xc6\xff\xff\xff\xff\xff"), note, &seen), ERR_MALFORMED);
    assert_int_equal(key_packets_walk(SPAN_LIT("\xc6\xe1\x04\x04"), note, &seen), ERR_MALFORMED); /* partial */
    assert_int_equal(key_packets_walk(SPAN_LIT("\x9b\x04\x04"), note, &seen), ERR_MALFORMED);     /* no length */
    buf_fini(&packets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preferences_are_read_from_self_signatures),
        cmocka_unit_test(each_key_counts_for_itself),
        cmocka_unit_test(what_is_cut_or_no_packet_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
