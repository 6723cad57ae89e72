/* Keys that are attached to a message: which parts are taken, and how much of them. */
#include "crypto/attached.h"
#include "tests/unit/failing_malloc.h"

#include <string.h>

#define KEY(text) "Content-Type: application/pgp-keys; name=k.asc\r\n\r\n" text "\r\n"
#define MIXED(boundary) "Content-Type: multipart/mixed; boundary=" boundary "\r\n\r\n"
#define TEXT "Content-Type: text/plain\r\n\r\ntext\r\n"

/* The keys' first bytes, one after the other. */
static enum err look(struct span message, char *got, size_t size)
{
    struct mime_tree *tree = NULL;
    struct keyring_found found;
    struct buf out;
    *got = '\0';
    buf_init(&out, CRYPTO_ATTACHED_MAX);
    enum err err = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);
    if (err == ERR_OK)
        err = crypto_attached_add(tree->root, message, &out);
    for (struct span rest = buf_span(&out); err == ERR_OK && keyring_found_take(&rest, &found) == ERR_OK;) {
        assert_int_equal(found.kind, KEYRING_FOUND_OPENPGP);
        assert_int_equal(found.source, KEYRING_SOURCE_MAIL);
        assert_false(found.is_found);
        const size_t len = strlen(got);
        assert_true(len + 2 < size);
        got[len] = found.bytes.ptr[0];
        got[len + 1] = '\0';
    }
    mime_tree_free(&tree);
    buf_fini(&out);
    return err;
}

static const struct {
    const char *message, *keys;
} rows[] = {
    {KEY("a"), "a"},
    {"Content-Type: application/pgp-keys\r\nContent-Transfer-Encoding: base64\r\n\r\nYg==\r\n", "b"},
    {"Content-Type: application/pgp-keys\r\nContent-Transfer-Encoding: base64\r\n\r\n****\r\n", ""},
    {(MIXED("x") "--x\r\n" TEXT "--x\r\n" KEY("a") "--x\r\n" KEY("b") "--x--\r\n"), "ab"},
    {(MIXED("x") "--x\r\n" MIXED("y") "--y\r\n" TEXT "--y\r\n" KEY("a") "--y--\r\n--x\r\n" KEY("b") "--x--\r\n"), "ab"},
    {(MIXED("x") "--x\r\n" KEY("a") "--x\r\n" KEY("b") "--x\r\n" KEY("c") "--x\r\n" KEY("d") "--x\r\n" KEY(
         "e") "--x--\r\n"),
     "abcd"},
    /* of others, or beside something else */
    {("Content-Type: message/rfc822\r\n\r\n" KEY("a")), ""},
    {(MIXED("x") "--x\r\nContent-Type: message/rfc822\r\n\r\n" KEY("a") "--x\r\n" KEY("b") "--x--\r\n"), "b"},
    {("Content-Type: multipart/signed; boundary=x\r\n\r\n--x\r\n" KEY("a") "--x\r\n" TEXT "--x--\r\n"), ""},
    {("Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n" KEY("a") "--x--\r\n"), ""},
    {"Content-Type: application/pgp-keys\r\n\r\n", ""},
    {"Content-Type: application/pgp-encrypted\r\n\r\na\r\n", ""},
    {TEXT, ""},
};

static void which_parts(void **state)
{
    char got[16];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(look(span_of(rows[i].message), got, sizeof got), ERR_OK);
        if (strcmp(got, rows[i].keys) != 0)
            fail_msg("%s: %s", rows[i].message, got);
    }
}

static void how_large(void **state)
{
    struct buf message;
    char got[16];
    (void)state;
    for (size_t over = 0; over < 2; over++) {
        buf_init(&message, 1 << 20);
        assert_int_equal(buf_add_string(&message, "Content-Type: application/pgp-keys\r\n\r\n"), ERR_OK);
        for (size_t i = 0; i < KEYRING_FOUND_PIECE_MAX + over; i++)
            assert_int_equal(buf_add_byte(&message, 'a'), ERR_OK);
        assert_int_equal(look(buf_span(&message), got, sizeof got), ERR_OK);
        assert_string_equal(got, over ? "" : "a");
        buf_fini(&message);
    }
}

static bool look_at_all(void *context)
{
    char got[16];
    (void)context;
    return look(span_of(rows[3].message), got, sizeof got) == ERR_OK;
}

static void without_memory_it_is_said(void **state)
{
    (void)state;
    failing_malloc_run(look_at_all, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_parts),
        cmocka_unit_test(how_large),
        cmocka_unit_test(without_memory_it_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
