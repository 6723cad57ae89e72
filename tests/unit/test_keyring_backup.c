#include "keyring/backup.h"

#include "tests/unit/failing_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ALICE "0123456789ABCDEF0123456789ABCDEF01234567"
#define BOB "76543210FEDCBA9876543210FEDCBA9876543210"
#define HEAD "privyseal backup of an OpenPGP key\n"
#define ARMOUR "-----BEGIN PGP PRIVATE KEY BLOCK-----\n"

static enum err read_text(const char *text, struct keyring_backup *backup)
{
    keyring_backup_init(backup);
    return keyring_backup_read(span_of(text), backup);
}

/* Line by line; with CRLF, too, as a mail program may have left it. */
static void what_is_written_is_read(void **state)
{
    struct keyring_backup backup, again;
    struct buf file, other;
    (void)state;
    keyring_backup_init(&backup);
    (void)snprintf(backup.fingerprint, sizeof backup.fingerprint, "%s", ALICE);
    (void)snprintf(backup.user_id, sizeof backup.user_id, "Alice <alice@example.org>");
    assert_int_equal(buf_add_string(&backup.trust, BOB ":4:\n" ALICE ":6:\n"), ERR_OK);
    assert_int_equal(buf_add_string(&backup.revocation, "revocation\n\n:-----BEGIN\nabc\n"), ERR_OK);
    buf_init(&file, 10000);
    buf_init(&other, 10000);
    assert_int_equal(keyring_backup_write(&backup, &file), ERR_OK);
    assert_int_equal(buf_add_string(&file, ARMOUR), ERR_OK);
    for (size_t i = 0; i < file.len; i++)
        assert_int_equal(file.data[i] == '\n' ? buf_add_string(&other, "\r\n") : buf_add_byte(&other, file.data[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_text(i == 0 ? file.data : other.data, &again), ERR_OK);
        assert_string_equal(again.fingerprint, ALICE);
        assert_string_equal(again.user_id, backup.user_id);
        assert_string_equal(again.trust.data, BOB ":4:\n");
        assert_string_equal(again.revocation.data, backup.revocation.data);
        keyring_backup_fini(&again);
    }
    keyring_backup_fini(&backup);
    buf_fini(&file);
    buf_fini(&other);
}

static void every_shorter_file_is_malformed(void **state)
{
    static const char text[] = HEAD "Key: " ALICE "\nOwnertrust: " BOB ":5:\nRevocation: x\n\n" ARMOUR;
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        struct keyring_backup backup;
        keyring_backup_init(&backup);
        enum err err = keyring_backup_read((struct span){text, len}, &backup);
        assert_int_equal(err, len + strlen(" BLOCK-----\n") < sizeof text - 1 ? ERR_MALFORMED : ERR_OK);
        keyring_backup_fini(&backup);
    }
}

static void what_is_no_trust_is_left_out(void **state)
{
    static const char *const lines[] = {ALICE ":6:", ALICE ":1:",  ALICE ":25:", ALICE ":5",    ALICE ":5:x",
                                        "ABCD:5:",   "../../x:5:", ":5:",        ALICE "\n:5:", "--option:5:"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct keyring_backup backup;
        char text[600];
        (void)snprintf(text, sizeof text, HEAD "Key: " ALICE "\nOwnertrust: %s\n" ARMOUR, lines[i]);
        assert_int_equal(read_text(text, &backup), ERR_OK);
        assert_int_equal(backup.trust.len, 0);
        keyring_backup_fini(&backup);
    }
}

static void what_is_no_backup_is_malformed(void **state)
{
    static const char *const texts[] = {"",
                                        ARMOUR,
                                        HEAD ARMOUR,
                                        " " HEAD "Key: " ALICE "\n" ARMOUR,
                                        HEAD "Key: ../../../etc/x\n" ARMOUR,
                                        HEAD "Key: " ALICE "\nKey: " BOB "\n" ARMOUR,
                                        HEAD "Key: " ALICE ALICE "\n" ARMOUR,
                                        HEAD "Key: 0123456789abcdef0123456789abcdef01234567\n" ARMOUR,
                                        HEAD "Key: " ALICE "\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n"};
    struct keyring_backup backup;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(read_text(texts[i], &backup), ERR_MALFORMED);
        keyring_backup_fini(&backup);
    }
    assert_int_equal(read_text(HEAD "Key: " ALICE "\nUser ID: \x1b[31m\x7f\n" ARMOUR, &backup), ERR_OK);
    assert_string_equal(backup.user_id, "?[31m?");
    keyring_backup_fini(&backup);
}

static bool read_whole(void *context)
{
    struct keyring_backup backup;
    enum err err = read_text(context, &backup);
    assert_true(err == ERR_OK || err == ERR_MEMORY);
    keyring_backup_fini(&backup);
    return err == ERR_OK;
}

static void no_memory_is_told(void **state)
{
    char text[] = HEAD "Key: " ALICE "\nOwnertrust: " BOB ":5:\nRevocation: x\n\n" ARMOUR;
    (void)state;
    failing_malloc_run(read_whole, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_shorter_file_is_malformed),
        cmocka_unit_test(what_is_no_trust_is_left_out),
        cmocka_unit_test(what_is_no_backup_is_malformed),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
