/*
 * Autocrypt fields: what is one for level 1, which one of a message counts, how one is written.
 */
#include "keyring/autocrypt.h"
#include "tests/unit/autocrypt_made.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/gpg_home.h"

#include "keyring/key_packets.h"
#include "mime/encoding.h"

#define KEY "mDMEawDEABYJKwYBBAHaRw8BAQdAYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWG0BWJvYkB4"
#define FROM "bob@example.org"

static enum err parse(const char *value, struct keyring_autocrypt_field *field_out)
{
    char text[KEYRING_AUTOCRYPT_FIELD_MAX * 2];
    struct mime_field field;
    (void)snprintf(text, sizeof text, "Autocrypt: %s\r\n", value);
    assert_true(mime_field_find(span_of(text), "Autocrypt", &field));
    return keyring_autocrypt_parse(&field, field_out);
}

static void what_is_a_field(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool is_valid, is_mutual;
    } rows[] = {
        {("addr=bob@example.org; keydata=" KEY), true, false},
        {("addr=bob@example.org; prefer-encrypt=mutual; keydata=" KEY), true, true},
        {("prefer-encrypt=mutual; addr=bob@example.org; keydata=" KEY), true, true},
        {("addr=bob@example.org;prefer-encrypt=mutual;keydata=" KEY ";"), true, true},
        {(" ADDR = bob@EXAMPLE.org ;\r\n Keydata =\r\n " KEY " "), true, false},
        {("addr=bob@example.org; prefer-encrypt=nopreference; keydata=" KEY), true, false},
        {("addr=bob@example.org; prefer-encrypt=whatever; keydata=" KEY), true, false},
        {("addr=bob@example.org; _note=x=y; keydata=" KEY), true, false},
        {("addr=bob@example.org; _; keydata=" KEY), true, false},
        {("addr=bob@example.org; note; keydata=" KEY), false, false},
        {("addr=bob@example.org; note=x; keydata=" KEY), false, false},
        {("addr=bob@example.org; type=1; keydata=" KEY), false, false},
        {("addr=bob@example.org; keydata=" KEY "; _note=x"), false, false}, /* keydata is the last */
        {("addr=bob@example.org; keydata=" KEY "; prefer-encrypt=mutual"), false, false},
        {("keydata=" KEY), false, false},
        {"addr=bob@example.org; prefer-encrypt=mutual", false, false},
        {"addr=bob@example.org; keydata=", false, false},
        {("addr=; keydata=" KEY), false, false},
        {("addr=bob; keydata=" KEY), false, false},
        {("addr=bob@example.org; addr=bob@example.org; keydata=" KEY), false, false},
        {("addr=bob@example.org; prefer-encrypt=mutual; prefer-encrypt=mutual; keydata=" KEY), false, false},
        {("addr=bob@example.org; keydata=" KEY "!"), false, false},
        {("addr=bob@example.org; keydata=" KEY "A"), false, false},
        {("addr=bob@example.org; keydata=" KEY "===="), false, false},
        {("addr=bob@example.org; keydata==" KEY), false, false},
        {"addr=bob@example.org; keydata=aGVsbG8=", false, false},
        {("addr=bob@example.org; keydata=" KEY KEY), false, false}, /* two keys */
        {"", false, false},
        {";", false, false},
        {"=", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keyring_autocrypt_field field;
        enum err err = parse(rows[i].value, &field);
        if (err != (rows[i].is_valid ? ERR_OK : ERR_MALFORMED))
            fail_msg("%s: %s", rows[i].value, err_name(err));
        if (err != ERR_OK)
            continue;
        assert_string_equal(field.address, "bob@example.org");
        assert_int_equal(field.is_mutual, rows[i].is_mutual);
        assert_int_equal(strlen(field.fingerprint), 40);
        assert_int_equal(field.key.len, 60);
        keyring_autocrypt_field_fini(&field);
    }
}

/* A packet is put after the key; what may stand in a transferable public key and what may not. */
static void what_is_a_key(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        size_t len;
        enum err err;
    } rows[] = {
        {"\xb4\x01x", 3, ERR_OK},        /* another user ID */
        {"\xd1\x01x", 3, ERR_OK},        /* an attribute */
        {"\x88\x01x", 3, ERR_OK},        /* a signature, whatever stands in it */
        {"\xb8\x01x", 3, ERR_OK},        /* a subkey */
        {"\x94\x01x", 3, ERR_MALFORMED}, /* a secret key */
        {"\x9c\x01x", 3, ERR_MALFORMED}, /* a secret subkey */
        {"\x98\x01x", 3, ERR_MALFORMED}, /* another key */
        {"\xcb\x01x", 3, ERR_MALFORMED}, /* literal data */
        {"\xb4\x02x", 3, ERR_MALFORMED}, /* cut */
        {"\x34", 1, ERR_MALFORMED},      /* no packet */
    };
    struct autocrypt_made made;
    char fingerprint[KEYRING_FPR_SIZE];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct span key = autocrypt_make(&made, 'a', "bob@x");
        memcpy(made.bytes + key.len, rows[i].packet, rows[i].len);
        key.len += rows[i].len;
        assert_int_equal(key_packets_single(key, fingerprint), rows[i].err);
    }
    assert_int_equal(key_packets_single(autocrypt_make(&made, 'a', "bob@x"), fingerprint), ERR_OK);
    made.bytes[2] = 6; /* another version */
    assert_int_equal(key_packets_single((struct span){made.bytes, made.len}, fingerprint), ERR_MALFORMED);
    made.bytes[2] = 4;
    assert_int_equal(key_packets_single((struct span){made.bytes, 53}, fingerprint), ERR_MALFORMED); /* no user ID */
    assert_int_equal(key_packets_single(SPAN_NONE, fingerprint), ERR_MALFORMED);
}

static void one_that_is_too_large_is_none(void **state)
{
    (void)state;
    static char value[KEYRING_AUTOCRYPT_FIELD_MAX + 100];
    struct keyring_autocrypt_field field;
    int len = snprintf(value, sizeof value, "addr=bob@example.org; _pad=");
    size_t rest = KEYRING_AUTOCRYPT_FIELD_MAX - sizeof "Autocrypt: " + 1 - (size_t)len - sizeof "; keydata=\r\n" + 1 -
                  strlen(KEY);
    memset(value + len, 'x', rest);
    memcpy(value + len + rest, "; keydata=" KEY, sizeof("; keydata=" KEY));
    assert_int_equal(parse(value, &field), ERR_OK);
    keyring_autocrypt_field_fini(&field);
    memcpy(value + len + rest, "x; keydata=" KEY, sizeof("x; keydata=" KEY));
    assert_int_equal(parse(value, &field), ERR_MALFORMED);
}

#define GOOD "Autocrypt: addr=" FROM "; keydata=" KEY "\r\n"
#define MUTUAL "Autocrypt: addr=BOB@example.org; prefer-encrypt=mutual; keydata=" KEY "\r\n"
#define OTHERS "Autocrypt: addr=eve@example.org; keydata=" KEY "\r\n"
#define FUTURE "Autocrypt: addr=" FROM "; level=2; keydata=" KEY "\r\n"

static void exactly_one_counts(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool is_found, is_mutual;
    } rows[] = {
        {"", false, false},
        {"From: " FROM "\r\n\r\n", false, false},
        {("From: " FROM "\r\n" GOOD "\r\n"), true, false},
        {(MUTUAL "X: y\r\n" OTHERS FUTURE), true, true},
        {(OTHERS FUTURE), false, false},
        {(GOOD GOOD), false, false},
        {(GOOD OTHERS MUTUAL), false, false},
        {("Autocrypt-Gossip: addr=" FROM "; keydata=" KEY "\r\n"), false, false},
        {("X: y\r\n\r\n" GOOD), false, false}, /* a body */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct keyring_autocrypt_field field;
        enum err err = keyring_autocrypt_pick(span_of(rows[i].header), FROM, &field);
        if (err != (rows[i].is_found ? ERR_OK : ERR_NOT_FOUND))
            fail_msg("%s: %s", rows[i].header, err_name(err));
        if (err != ERR_OK)
            continue;
        assert_int_equal(field.is_mutual, rows[i].is_mutual);
        keyring_autocrypt_field_fini(&field);
    }
}

/* Cut anywhere, a field is none: nothing is taken of a key that is not whole. */
static void byte_by_byte(void **state)
{
    (void)state;
    struct autocrypt_made made;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", FROM, true, autocrypt_make(&made, 'q', "bob@x")), ERR_OK);
    for (size_t len = 0; len <= out.len; len++) {
        char *block = malloc(len + 1);
        struct mime_field field;
        struct keyring_autocrypt_field parsed;
        assert_non_null(block);
        memcpy(block, out.data, len);
        if (mime_field_find((struct span){block, len}, "Autocrypt", &field)) {
            enum err err = keyring_autocrypt_parse(&field, &parsed);
            assert_int_equal(err, len >= out.len - 2 ? ERR_OK : ERR_MALFORMED);
            if (err == ERR_OK)
                keyring_autocrypt_field_fini(&parsed);
        }
        free(block);
    }
    buf_fini(&out);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct autocrypt_made made;
    struct span key = autocrypt_make(&made, 'q', "Bob <bob@example.org>"), rest, line;
    struct mime_field field;
    struct keyring_autocrypt_field parsed;
    struct buf out;
    buf_init(&out, 65536);
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", FROM, true, key), ERR_OK);
    rest = buf_span(&out);
    while (rest.len > 0 && span_take_until(&rest, '\n', &line))
        assert_true(line.len <= 79 && line.ptr[line.len - 1] == '\r');
    assert_true(mime_field_find(buf_span(&out), "Autocrypt", &field));
    assert_int_equal(field.whole.len, out.len);
    assert_int_equal(keyring_autocrypt_parse(&field, &parsed), ERR_OK);
    assert_true(parsed.is_mutual && span_is_equal(buf_span(&parsed.key), key));
    assert_string_equal(parsed.address, FROM);
    keyring_autocrypt_field_fini(&parsed);

    /* What cannot be said is not said, and leaves nothing behind. */
    static char large[KEYRING_AUTOCRYPT_FIELD_MAX];
    size_t before = out.len;
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", FROM, true, (struct span){large, 7600}), ERR_LIMIT);
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", FROM, true, (struct span){large, sizeof large}),
                     ERR_LIMIT);
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", "\"a;b\"@x.org", true, key), ERR_MALFORMED);
    assert_int_equal(keyring_autocrypt_add(&out, "Autocrypt", "b\xc3\xb6@x.org", true, key), ERR_MALFORMED);
    assert_int_equal(out.len, before);
    buf_fini(&out);
}

static bool pick_and_write(void *context)
{
    struct keyring_autocrypt_field field;
    struct buf out;
    (void)context;
    buf_init(&out, 4096);
    enum err err = keyring_autocrypt_pick(SPAN_LIT(GOOD OTHERS FUTURE), FROM, &field);
    if (err == ERR_OK) {
        err = keyring_autocrypt_add(&out, "Autocrypt", FROM, false, buf_span(&field.key));
        keyring_autocrypt_field_fini(&field);
        assert_true(err == ERR_OK || out.len == 0);
    }
    assert_true(err == ERR_OK || err == ERR_MEMORY || err == ERR_ENGINE);
    buf_fini(&out);
    return err == ERR_OK;
}

static void without_memory_nothing_is_taken(void **state)
{
    (void)state;
    failing_malloc_run(pick_and_write, NULL);
}

/* ---- cut down ---- */

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE];

static int set_up(void **state)
{
    (void)state;
    return gpg_home_open(&home) == ERR_OK && gpg_home_make_key(&home, "Alice <alice@example.org>", alice) == ERR_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static void export_key(struct buf *out)
{
    char path[256], piece[4096];
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, alice, path, sizeof path), ERR_OK);
    FILE *file = fopen(path, "r");
    size_t count;
    assert_non_null(file);
    buf_init(out, 1 << 16);
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        assert_int_equal(buf_add(out, piece, count), ERR_OK);
    (void)fclose(file);
}

/* The tags of the packets, as one would write them: "6 13 2 14 2". */
static void check_packets(const struct buf *key, const char *tags, const char *user_id)
{
    char path[128], list[128], command[512], line[256], found[64] = "";
    bool has_user_id = false;
    (void)snprintf(path, sizeof path, "%s/key", home.path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(key->data, 1, key->len, file), key->len);
    (void)fclose(file);
    (void)snprintf(list, sizeof list, "%s/packets", home.path);
    (void)snprintf(command, sizeof command, "--list-packets %s >%s", path, list);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    file = fopen(list, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *tag = strstr(line, "tag=");
        has_user_id = has_user_id || strstr(line, user_id) != NULL;
        if (line[0] == '#' && tag != NULL)
            (void)snprintf(found + strlen(found), sizeof found - strlen(found), "%s%.*s", found[0] == '\0' ? "" : " ",
                           (int)strspn(tag + 4, "0123456789"), tag + 4);
    }
    (void)fclose(file);
    assert_string_equal(found, tags);
    assert_true(has_user_id);
}

static void a_key_is_cut_down_to_five_packets(void **state)
{
    (void)state;
    char command[256];
    struct buf key, cut;
    buf_init(&cut, 1 << 16);
    (void)snprintf(command, sizeof command, "--quick-add-uid %s 'Liddell <a.liddell@example.org>'", alice);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    /* Of two that are as old the first would do. */
    (void)snprintf(command, sizeof command, "--faked-system-time %lld --quick-add-key %s cv25519 encr 1y",
                   (long long)time(NULL) + 3600, alice);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    (void)snprintf(command, sizeof command, "--quick-add-key %s ed25519 sign 1y", alice);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    export_key(&key);
    const int64_t now = time(NULL);

    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "a.liddell@example.org", now, &cut), ERR_OK);
    check_packets(&cut, "6 13 2 14 2", "Liddell <a.liddell@example.org>");
    assert_true(cut.len < 1000);
    buf_clear(&cut);
    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "ALICE@example.org", now, &cut), ERR_OK);
    check_packets(&cut, "6 13 2 14 2", "Alice <alice@example.org>");
    buf_clear(&cut);
    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "nobody@example.org", now, &cut), ERR_OK);
    assert_true(cut.len > 0);

    /* The newer subkey runs out in a year; the older one never does. */
    struct buf later;
    buf_init(&later, 1 << 16);
    buf_clear(&cut);
    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "alice@example.org", now, &cut), ERR_OK);
    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "alice@example.org", now + 800 * 86400, &later), ERR_OK);
    assert_true(later.len < cut.len); /* by the subpacket of the expiry */
    buf_fini(&later);

    for (size_t len = 0; len < key.len; len++) {
        size_t before = cut.len;
        enum err err = keyring_autocrypt_reduce((struct span){key.data, len}, "alice@example.org", now, &cut);
        assert_true(err == ERR_OK || err == ERR_MALFORMED || err == ERR_NOT_FOUND);
        assert_true(err == ERR_OK || cut.len == before);
        buf_truncate(&cut, before);
    }
    buf_fini(&key);
    buf_fini(&cut);
}

static void what_is_revoked_is_not_told(void **state)
{
    (void)state;
    char command[512];
    struct buf key, cut;
    buf_init(&cut, 1 << 16);
    (void)snprintf(command, sizeof command, "--quick-revoke-uid %s 'Liddell <a.liddell@example.org>'", alice);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    /* gpg has no quick command for subkeys: both encryption subkeys of three. */
    (void)snprintf(command, sizeof command,
                   "--no-batch --no-tty --command-fd 0 --edit-key %s >/dev/null 2>&1 <<EOF\nkey 1\nkey 2\nrevkey\n"
                   "y\n0\n\ny\nsave\nEOF",
                   alice);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    export_key(&key);
    assert_int_equal(keyring_autocrypt_reduce(buf_span(&key), "a.liddell@example.org", time(NULL), &cut),
                     ERR_NOT_FOUND);
    assert_int_equal(cut.len, 0);
    buf_fini(&key);
    buf_fini(&cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_field),
        cmocka_unit_test(what_is_a_key),
        cmocka_unit_test(one_that_is_too_large_is_none),
        cmocka_unit_test(exactly_one_counts),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(without_memory_nothing_is_taken),
        cmocka_unit_test(a_key_is_cut_down_to_five_packets),
        cmocka_unit_test(what_is_revoked_is_not_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
