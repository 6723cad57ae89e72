/* Keys of strangers, cut down to what serves one address. */
#include "tests/unit/failing_malloc.h"

#include "base/base64.h"
#include "base/log.h"
#include "keyring/key_packets.h"
#include "keyring/key_trim.h"

#include <string.h>

#include "tests/unit/gpg_home.h"

#define BOB "bob@example.org"
#define KEY_MAX 262144

/* A version 4 key packet of Ed25519, made by hand; its key ID is the end of the fingerprint. */
#define KEY_BODY                                                                                                       \
    "\x04\x6b\x00\xc4\x00\x16\x09\x2b\x06\x01\x04\x01\xda\x47\x0f\x01\x01\x07\x40"                                     \
    "0123456789abcdef0123456789abcdef"
#define KEY_ID "\x49\x5e\xc9\x31\xcb\x93\xcb\x6c" /* not the key's */

static struct buf answer, wanted, got;
static size_t keys;
static char own_id[8], own_fingerprint[20];

static enum err note(struct span key, void *context)
{
    (void)context;
    keys++;
    return buf_add_span(&got, key);
}

static void add_to(struct buf *buf, unsigned tag, const char *bytes, size_t len)
{
    const char head[] = {(char)(0xc0 | tag), (char)0xff,       (char)(len >> 24),
                         (char)(len >> 16),  (char)(len >> 8), (char)len};
    assert_int_equal(buf_add(buf, head, sizeof head), ERR_OK);
    assert_int_equal(buf_add(buf, bytes, len), ERR_OK);
}

/* A packet; `is_wanted`: it is to be kept. */
static void add(unsigned tag, const char *bytes, size_t len, bool is_wanted)
{
    add_to(&answer, tag, bytes, len);
    if (is_wanted)
        add_to(&wanted, tag, bytes, len);
}

static void add_key(bool is_wanted)
{
    add(6, KEY_BODY, sizeof KEY_BODY - 1, is_wanted);
}

static void add_name(const char *name, bool is_wanted)
{
    add(13, name, strlen(name), is_wanted);
}

/* A signature with one subpacket, hashed or not. */
static void add_signature(unsigned type, const char *value, size_t len, bool is_hashed, bool is_wanted)
{
    char body[64] = {4, 0x13, 22, 8};
    size_t at = 4;
    body[at++] = 0;
    body[at++] = (char)(is_hashed ? len + 2 : 0);
    if (!is_hashed) {
        body[at++] = 0;
        body[at++] = (char)(len + 2);
    }
    body[at++] = (char)(len + 1);
    body[at++] = (char)type;
    memcpy(body + at, value, len);
    at += len;
    if (is_hashed)
        at += 2;
    add(2, body, at + 10, is_wanted);
}

static void add_own(bool is_wanted)
{
    add_signature(16, own_id, sizeof own_id, false, is_wanted);
}

static void begin(void)
{
    buf_init(&answer, (size_t)64 << 20);
    buf_init(&wanted, (size_t)64 << 20);
    buf_init(&got, (size_t)64 << 20);
    keys = 0;
}

static void end(void)
{
    buf_fini(&answer);
    buf_fini(&wanted);
    buf_fini(&got);
}

static enum err trim(struct span bytes)
{
    keys = 0;
    buf_clear(&got);
    return key_trim(bytes, &(struct key_trim_want){.address = BOB, .key_max = KEY_MAX}, note, NULL);
}

static void expect(size_t count)
{
    assert_int_equal(trim(buf_span(&answer)), ERR_OK);
    assert_int_equal(keys, count);
    assert_true(span_is_equal(buf_span(&got), buf_span(&wanted)));
    end();
}

static enum err trim_as(const struct key_trim_want *want)
{
    keys = 0;
    buf_clear(&got);
    return key_trim(buf_span(&answer), want, note, NULL);
}

/* By its fingerprint, with those user IDs that have the address, or none; and no other key. */
static void one_key(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    (void)state;
    assert_int_equal(key_packets_fingerprint((struct span){KEY_BODY, sizeof KEY_BODY - 1}, fingerprint), ERR_OK);
    struct key_trim_want want = {.address = BOB, .fingerprint = fingerprint, .key_max = KEY_MAX};
    begin();
    add_key(true);
    add_own(true);
    add_name("Eve <eve@example.org>", false);
    add_own(false);
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 1);
    assert_true(span_is_equal(buf_span(&got), buf_span(&wanted)));
    want.fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 0);
    /* All user IDs. */
    want = (struct key_trim_want){.fingerprint = fingerprint, .key_max = KEY_MAX};
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 1);
    assert_int_equal(got.len, answer.len);
    /* A secret key is none, unless it is asked for. */
    answer.data[0] = (char)0xc5;
    assert_int_equal(trim_as(&want), ERR_MALFORMED);
    assert_int_equal(keys, 0);
    want.is_secret = true;
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 1);
    answer.data[0] = (char)0xc6;
    assert_int_equal(trim_as(&want), ERR_MALFORMED);
    want.fingerprint = NULL;
    assert_int_equal(trim_as(&want), ERR_USAGE);
    end();
}

static int set_up(void **state)
{
    char text[KEYRING_FPR_SIZE];
    (void)state;
    if (key_packets_fingerprint((struct span){KEY_BODY, sizeof KEY_BODY - 1}, text) != ERR_OK)
        return -1;
    for (size_t i = 0; i < sizeof own_fingerprint; i++) {
        const char digits[] = {text[2 * i], text[2 * i + 1], '\0'};
        own_fingerprint[i] = (char)strtoul(digits, NULL, 16);
    }
    memcpy(own_id, own_fingerprint + 12, sizeof own_id);
    return 0;
}

static void only_what_serves_the_address(void **state)
{
    (void)state;
    char fingerprint[21] = {4};
    memcpy(fingerprint + 1, own_fingerprint, sizeof own_fingerprint);
    begin();
    add(2, "\x04", 1, false); /* of no key */
    add_key(true);
    add_own(true); /* a direct signature */
    add_name("Mallory <mallory@example.org>", false);
    add_own(false);
    add_name("Bob <bob@example.org>", true);
    add_own(true);
    add_signature(16, KEY_ID, 8, false, false); /* another's */
    add_signature(33, fingerprint, sizeof fingerprint, true, true);
    add_signature(33, fingerprint, sizeof fingerprint - 1, true, false);
    add_signature(2, "", 0, true, false); /* nobody's */
    add(12, "trust", 5, false);
    add(17, "picture", 7, false);
    add_own(false);
    add_name("BOB@EXAMPLE.ORG", true);
    add_own(true);
    add_name("bob@example.org <eve@example.org>", false);
    add(14, "subkey", 6, true);
    add_own(true);
    add_signature(16, KEY_ID, 8, true, false);
    add(14, "another", 7, true);
    expect(1);
}

static void each_key_for_itself(void **state)
{
    (void)state;
    begin();
    add_key(false); /* no user ID at all */
    add(14, "s", 1, false);
    add_key(false);
    add_name("eve@example.org", false);
    add_own(false);
    add(14, "s", 1, false);
    add_key(true);
    add_name("<bob@example.org>", true);
    add(6, "\x06rest", 5, false); /* another version */
    add_name("<bob@example.org>", false);
    add_own(false);
    add(14, "s", 1, false);
    add_key(true);
    add_name("bob@example.org", true);
    expect(2);
}

static void no_user_id_that_only_looks_so(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        "bob",
                                        "bob@example.org.evil.example",
                                        "xbob@example.org",
                                        "Bob <bob@example.org> x",
                                        "Bob <bob@example.org",
                                        "bob@example.org>",
                                        "Bob <bob@example.org>>",
                                        "Bob <<bob@example.org>",
                                        "Bob <bob@example.org,eve@example.org>",
                                        "<bob@example.org\n>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        /* What gpg would not take for the address is not; "<<" begins it anew. */
        const bool is_his = strcmp(names[i], "Bob <<bob@example.org>") == 0;
        begin();
        add_key(is_his);
        add_name(names[i], is_his);
        expect(is_his);
    }
    begin();
    add_key(false);
    add(13, "bob@example.org\0<bob@example.org>", 16, false);
    expect(0);
}

static void floods_are_cut(void **state)
{
    (void)state;
    begin();
    add_key(true);
    add_name(BOB, true);
    for (size_t i = 0; i < 100000; i++)
        add_signature(16, KEY_ID, 8, false, false);
    for (size_t i = 0; i < KEY_TRIM_SIGNATURES_MAX + 1000; i++)
        add_own(i < KEY_TRIM_SIGNATURES_MAX);
    for (size_t i = 0; i < KEY_TRIM_SUBKEYS_MAX + 1000; i++)
        add(14, "s", 1, i < KEY_TRIM_SUBKEYS_MAX);
    for (size_t i = 0; i < 10000; i++)
        add_name("Bob <eve@example.org>", false);
    expect(1);
    begin();
    for (size_t i = 0; i < KEY_TRIM_KEYS_MAX + 100; i++) {
        add_key(i < KEY_TRIM_KEYS_MAX);
        add_name(BOB, i < KEY_TRIM_KEYS_MAX);
    }
    expect(KEY_TRIM_KEYS_MAX);
    /* One that is too large is left out; the next is not. */
    static const char large[KEY_MAX];
    begin();
    add_key(false);
    add_name(BOB, false);
    add(14, large, sizeof large, false);
    add_key(true);
    add_name(BOB, true);
    expect(1);
}

/* One of the key's own, of a type and a time, which may be large. */
static void add_dated(unsigned type, uint32_t created, size_t len, bool is_wanted)
{
    static char body[8192] = {4, 0, 22, 8, 0, 6, 5, 2, 0, 0, 0, 0, 0, 10, 9, 16};
    body[1] = (char)type;
    for (size_t i = 0; i < 4; i++)
        body[8 + i] = (char)(created >> (24 - 8 * i));
    memcpy(body + 16, own_id, sizeof own_id);
    assert_true(len >= 32 && len <= sizeof body);
    add(2, body, len, is_wanted);
}

/* What says that it is the key's own, and is of no use: as large as such are. */
static void add_flood(size_t len, uint32_t created, size_t kept)
{
    for (size_t i = 0; i < len; i++)
        add_dated(0x13, created, 100, i < kept);
}

/* Whoever can put signatures to a key that look like its own must not push out those by which it says that it is
   revoked, or what it is now. */
static void floods_hide_no_revocation(void **state)
{
    static const unsigned revocations[] = {0x20, 0x30, 0x28};
    (void)state;
    for (size_t row = 0; row < 3; row++) {
        begin();
        add_key(true);
        if (row > 0)
            add_name(BOB, true);
        if (row == 2)
            add(14, "subkey", 6, true);
        add_flood(1000, 500, KEY_TRIM_SIGNATURES_MAX - 3);
        add_dated(revocations[row], 600, 100, true);
        add_flood(1000, 500, 0);
        add_dated(0x13, 700, 100, true);
        add_flood(1000, 500, 0);
        add_dated(revocations[row], 400, 100, true);
        if (row == 0)
            add_name(BOB, true);
        expect(1);
    }
    /* Made-up revocations do not push out what it is now. */
    begin();
    add_key(true);
    add_name(BOB, true);
    for (size_t i = 0; i < 1000; i++)
        add_dated(0x30, 600, 100, i < KEY_TRIM_SIGNATURES_MAX - 8);
    add_flood(100, 500, 7);
    add_dated(0x13, 700, 100, true);
    expect(1);
}

static void the_newest_stay(void **state)
{
    (void)state;
    begin();
    add_key(true);
    add_name(BOB, true);
    for (uint32_t i = 0; i < 1000; i++)
        add_dated(0x13, 1000 + i, 100, i >= 1000 - KEY_TRIM_SIGNATURES_MAX);
    expect(1);
    begin();
    add_key(true);
    add_name(BOB, true);
    for (uint32_t i = 0; i < 1000; i++)
        add_dated(0x13, 1000 - i, 100, i < KEY_TRIM_SIGNATURES_MAX);
    expect(1);
    /* Of large ones there are fewer. */
    begin();
    add_key(true);
    add_name(BOB, true);
    add_dated(0x13, 1000, 8000, true);
    for (uint32_t i = 0; i < 100; i++)
        add_dated(0x13, 900, 8000, i < KEY_TRIM_ROW_MAX / 8006 - 2);
    add_dated(0x30, 500, 8000, true);
    expect(1);
}

/* A key that has been blown up beyond what is taken still says that it is revoked, to whoever asks for it by its
   fingerprint; and to nobody else, who could not use it. */
static void too_large_and_revoked(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    (void)state;
    assert_int_equal(key_packets_fingerprint((struct span){KEY_BODY, sizeof KEY_BODY - 1}, fingerprint), ERR_OK);
    struct key_trim_want want = {
        .address = BOB, .fingerprint = fingerprint, .key_max = KEY_MAX, .is_head_enough = true};
    begin();
    add_key(true);
    add_flood(1000, 500, KEY_TRIM_SIGNATURES_MAX - 1);
    add_dated(0x20, 400, 100, true);
    for (size_t i = 0; i < KEY_TRIM_SUBKEYS_MAX; i++) {
        add(14, "subkey", 6, false);
        for (size_t j = 0; j < KEY_TRIM_SIGNATURES_MAX; j++)
            add_dated(0x18, 500, 100, false);
    }
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 1);
    assert_true(span_is_equal(buf_span(&got), buf_span(&wanted)));
    want.is_head_enough = false;
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 0);
    want = (struct key_trim_want){.key_max = KEY_MAX, .is_head_enough = true};
    assert_int_equal(trim_as(&want), ERR_USAGE);
    end();
}

/* As many keys as are wanted. */
static void many_keys(void **state)
{
    (void)state;
    const struct key_trim_want want = {.address = BOB, .key_max = KEY_MAX, .keys_max = 100};
    begin();
    for (size_t i = 0; i < 200; i++) {
        add_key(i < 100);
        add_name(BOB, i < 100);
    }
    assert_int_equal(trim_as(&want), ERR_OK);
    assert_int_equal(keys, 100);
    assert_true(span_is_equal(buf_span(&got), buf_span(&wanted)));
    end();
}

static void what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "<html>404</html>",
                                        "\xff",
                                        "\x85",
                                        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
                                        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n",
                                        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nmDM\n"
                                         "-----END PGP PRIVATE KEY BLOCK-----\n")};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        begin();
        assert_int_equal(trim(span_of(texts[i])), ERR_MALFORMED);
        assert_int_equal(keys, 0);
        end();
    }
    /* Secret keys are nobody's to hand out. */
    for (unsigned tag = 5; tag <= 7; tag += 2) {
        begin();
        add_key(false);
        add_name(BOB, false);
        add(tag, "secret", 6, false);
        assert_int_equal(trim(buf_span(&answer)), ERR_MALFORMED);
        assert_int_equal(keys, 0);
        end();
    }
}

static void make_answer(void)
{
    begin();
    add_key(true);
    add_name("Bob <" BOB ">", true);
    add_own(true);
    add_name("eve@example.org", false);
    add_key(true);
    add_name(BOB, true);
}

static void cut_anywhere(void **state)
{
    (void)state;
    make_answer();
    size_t handed_up = 0;
    for (size_t len = 0; len < answer.len; len++) {
        const enum err err = trim(span_slice(buf_span(&answer), 0, len));
        assert_true(err == ERR_OK || err == ERR_MALFORMED);
        assert_true(keys <= 2 && span_has_prefix(buf_span(&wanted), buf_span(&got)));
        assert_true(keys >= handed_up || keys == 0 || err == ERR_MALFORMED);
        handed_up = keys;
    }
    /* And changed anywhere: nothing that is not in it comes out. */
    for (size_t i = 0; i < answer.len; i++) {
        answer.data[i] ^= 0x55;
        (void)!trim(buf_span(&answer));
        assert_true(got.len <= answer.len);
        answer.data[i] ^= 0x55;
    }
    end();
}

static void armoured(void **state)
{
    (void)state;
    struct buf base64, text;
    make_answer();
    buf_init(&base64, 65536);
    buf_init(&text, 65536);
    assert_int_equal(base64_encode(buf_span(&answer), &base64), ERR_OK);
    for (int form = 0; form < 3; form++) {
        const char *end_line = form == 0 ? "\n" : "\r\n";
        buf_clear(&text);
        assert_int_equal(buf_addf(&text, "%s-----BEGIN PGP PUBLIC KEY BLOCK-----%s%s%s", form == 2 ? "hello\r\n" : "",
                                  end_line, form == 1 ? "Comment: x\r\n" : "", end_line),
                         ERR_OK);
        for (size_t at = 0; at < base64.len; at += 64)
            assert_int_equal(buf_addf(&text, "%.*s%s", (int)(base64.len - at < 64 ? base64.len - at : 64),
                                      base64.data + at, end_line),
                             ERR_OK);
        assert_int_equal(buf_addf(&text, "=AAAA%s-----END PGP PUBLIC KEY BLOCK-----%s", end_line, end_line), ERR_OK);
        assert_int_equal(trim(buf_span(&text)), ERR_OK);
        assert_int_equal(keys, 2);
        assert_true(span_is_equal(buf_span(&got), buf_span(&wanted)));
    }
    /* Cut, it is not taken for all of it. */
    for (size_t len = 0; len < text.len - sizeof "-----END PGP PUBLIC KEY BLOCK-----" + 2; len++)
        assert_int_equal(trim(span_slice(buf_span(&text), 0, len)), ERR_MALFORMED);
    buf_fini(&base64);
    buf_fini(&text);
    end();
}

static void without_memory(void **state)
{
    (void)state;
    enum err err;
    make_answer();
    size_t left = 0;
    do {
        failing_malloc_left = left++;
        failing_malloc_has_failed = false;
        err = trim(buf_span(&answer));
        failing_malloc_left = SIZE_MAX;
        if (failing_malloc_has_failed)
            assert_true(err == ERR_MEMORY || err == ERR_ENGINE || err == ERR_OK);
    } while (failing_malloc_has_failed && left < 1000);
    assert_int_equal(err, ERR_OK);
    assert_true(left < 1000);
    end();
}

/* gpg takes what is left of its own keys, and it does what it did. */
static void gpg_reads_what_is_left(void **state)
{
    static const struct secret no_passphrase;
    struct gpg_home home, other;
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_import result;
    struct buf key;
    bool is_theirs = false;
    (void)state;
    begin();
    buf_init(&key, 1 << 20);
    assert_int_equal(gpg_home_open(&home), ERR_OK);
    assert_int_equal(gpg_home_open(&other), ERR_OK);
    assert_int_equal(keyring_gpg_make_key(home.gpg, "Bob <" BOB ">", 0, &no_passphrase, fingerprint), ERR_OK);
    char arguments[256];
    (void)snprintf(arguments, sizeof arguments, "--quick-add-uid %s 'Rob <rob@example.com>' >/dev/null 2>&1",
                   fingerprint);
    assert_int_equal(gpg_home_shell(&home, arguments), ERR_OK);
    assert_int_equal(keyring_gpg_export(home.gpg, fingerprint, false, &key), ERR_OK);
    assert_int_equal(trim(buf_span(&key)), ERR_OK);
    assert_int_equal(keys, 1);
    assert_int_equal(keyring_gpg_carries(other.gpg, buf_span(&got), BOB, &is_theirs), ERR_OK);
    assert_true(is_theirs);
    assert_int_equal(keyring_gpg_carries(other.gpg, buf_span(&got), "rob@example.com", &is_theirs), ERR_OK);
    assert_false(is_theirs);
    assert_int_equal(keyring_gpg_import(other.gpg, buf_span(&got), true, &result), ERR_OK);
    assert_int_equal(result.imported, 1);
    assert_int_equal(gpg_home_shell(&other, "--with-colons --list-keys | grep -q '^sub:.*:e'"), ERR_OK);
    assert_int_not_equal(gpg_home_shell(&other, "--with-colons --list-keys | grep -q rob@"), ERR_OK);
    buf_fini(&key);
    gpg_home_close(&home);
    gpg_home_close(&other);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_serves_the_address),
        cmocka_unit_test(one_key),
        cmocka_unit_test(each_key_for_itself),
        cmocka_unit_test(no_user_id_that_only_looks_so),
        cmocka_unit_test(floods_are_cut),
        cmocka_unit_test(floods_hide_no_revocation),
        cmocka_unit_test(the_newest_stay),
        cmocka_unit_test(too_large_and_revoked),
        cmocka_unit_test(many_keys),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(armoured),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(gpg_reads_what_is_left),
    };
    log_init("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
