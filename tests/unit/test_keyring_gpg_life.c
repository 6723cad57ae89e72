#include "keyring/gpg_life.h"

#include "base/clock.h"
#include "tests/unit/plain_gpg.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#define DAY 86400
#define TEXT_MAX ((size_t)1 << 20)

static struct gpg_home home;
static struct secret given, wrong, none;

static int set_up(void **state)
{
    (void)state;
    if (secret_set(&given, SPAN_LIT("through the looking glass"), 100) != ERR_OK ||
        secret_set(&wrong, SPAN_LIT("jabberwocky"), 100) != ERR_OK)
        return -1;
    return gpg_home_open(&home) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    secret_fini(&given);
    secret_fini(&wrong);
    gpg_home_close(&home);
    return 0;
}

static void make(const char *user_id, int64_t expires_s, const struct secret *passphrase, char out[KEYRING_FPR_SIZE])
{
    assert_int_equal(keyring_gpg_make_key(home.gpg, user_id, expires_s, passphrase, out), ERR_OK);
}

/* A copy of the entry of `address`. */
static struct keyring_entry entry_of(const char *address)
{
    struct keyring *keyring;
    size_t first;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    assert_int_equal(keyring_find(keyring, address, &first), 1);
    struct keyring_entry entry = *keyring_at(keyring, first);
    keyring_free(&keyring);
    return entry;
}

/* What plain gpg says to `arguments`. */
static void ask_gpg(const char *const *arguments, struct span input, struct buf *out)
{
    buf_init(out, TEXT_MAX);
    assert_int_equal(plain_gpg(&home, arguments, input, out), 0);
}

static void set_end_is_that_of_all_parts(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    const int64_t end = clock_now() + 700 * (int64_t)DAY;
    (void)state;
    make("Ada <ada@example.org>", 10 * (int64_t)DAY, &given, fingerprint);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, end, &wrong), ERR_KEY_LOCKED);
    assert_int_not_equal(entry_of("ada@example.org").expires, end);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, end, &given), ERR_OK);
    struct keyring_entry entry = entry_of("ada@example.org");
    assert_int_equal(entry.expires, end);
    assert_int_equal(entry.encrypt_until, end);
    assert_int_equal(entry.sign_until, end);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, 0, &given), ERR_OK);
    entry = entry_of("ada@example.org");
    assert_int_equal(entry.expires + entry.encrypt_until, 0);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, clock_now() - 1, &given), ERR_USAGE);
}

/* Made in the past with short lives: the older encryption subkey was replaced by the younger, and stays as it is. */
static void what_has_run_out_is_renewed_but_not_what_was_replaced(void **state)
{
    char command[400], listing_end[32];
    struct keyring_entry entry;
    struct buf listing;
    const int64_t now = clock_now(), end = now + 300 * (int64_t)DAY;
    (void)state;
    (void)snprintf(command, sizeof command,
                   "--faked-system-time %lld --quick-gen-key '<bea@example.org>' ed25519 default 30d",
                   (long long)(now - 100 * (int64_t)DAY));
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    entry = entry_of("bea@example.org");
    for (int i = 0; i < 2; i++) {
        (void)snprintf(command, sizeof command, "--faked-system-time %lld --quick-add-key %s cv25519 encr %s",
                       (long long)(now - (99 - i) * (int64_t)DAY), entry.fingerprint, i == 0 ? "5d" : "6d");
        assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    }
    assert_int_equal(keyring_gpg_own(home.gpg, entry.fingerprint), ERR_OK);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, entry.fingerprint, end, NULL), ERR_OK);
    entry = entry_of("bea@example.org");
    assert_int_equal(entry.expires, end);
    assert_int_equal(entry.encrypt_until, end);
    const char *const list[] = {"--with-colons", "--list-keys", entry.fingerprint, NULL};
    ask_gpg(list, SPAN_NONE, &listing);
    (void)snprintf(listing_end, sizeof listing_end, ":%lld:", (long long)(now - 94 * (int64_t)DAY));
    assert_int_not_equal(span_find(buf_span(&listing), 0, span_of(listing_end)), SIZE_MAX);
    buf_fini(&listing);
}

static void revoked_with_a_reason_that_all_can_read(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    struct buf packets, key;
    static const char *const list[] = {"--list-packets", NULL};
    (void)state;
    make("Cleo <cleo@example.org>", 0, &given, fingerprint);
    assert_int_equal(keyring_gpg_revoke(home.gpg, fingerprint, KEYRING_GPG_SUPERSEDED, "two\nlines", &given),
                     ERR_USAGE);
    assert_false(entry_of("cleo@example.org").is_revoked);
    assert_int_equal(keyring_gpg_revoke(home.gpg, fingerprint, KEYRING_GPG_SUPERSEDED, "by ABCD", &given), ERR_OK);
    assert_true(entry_of("cleo@example.org").is_revoked);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, 0, &given), ERR_KEY_UNUSABLE);
    buf_init(&key, TEXT_MAX);
    assert_int_equal(keyring_gpg_export(home.gpg, fingerprint, false, &key), ERR_OK);
    ask_gpg(list, buf_span(&key), &packets);
    assert_int_not_equal(span_find(buf_span(&packets), 0, SPAN_LIT("revocation reason 0x01 (by ABCD)")), SIZE_MAX);
    buf_fini(&packets);
    buf_fini(&key);
}

static void kept_certificate_revokes_without_a_passphrase(void **state)
{
    char first[KEYRING_FPR_SIZE], second[KEYRING_FPR_SIZE], path[4200];
    struct stat status;
    (void)state;
    make("Dot <dot@example.org>", 0, &given, first);
    make("Eve <eve@example.org>", 0, &given, second);
    /* Once that of gpg, which lets others read it here, once one of our own. */
    assert_int_equal(keyring_gpg_revocation_file(home.gpg, first, path, sizeof path), ERR_OK);
    assert_int_equal(chmod(path, 0644), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(keyring_gpg_keep_revocation(home.gpg, first, i == 0 ? &wrong : &given, path, sizeof path),
                         ERR_OK);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
        if (i == 0)
            assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(keyring_gpg_revoke_by(home.gpg, first, SPAN_LIT("no certificate")), ERR_MALFORMED);
    FILE *file = fopen(path, "r");
    char content[4096];
    assert_non_null(file);
    const size_t len = fread(content, 1, sizeof content, file);
    fclose(file);
    assert_int_not_equal(span_find((struct span){content, len}, 0, SPAN_LIT("\n:-----BEGIN")), SIZE_MAX);
    assert_int_equal(keyring_gpg_revoke_by(home.gpg, second, (struct span){content, len}), ERR_REFUSED);
    assert_false(entry_of("eve@example.org").is_revoked);
    assert_false(entry_of("dot@example.org").is_revoked);
    assert_int_equal(keyring_gpg_revoke_by(home.gpg, first, (struct span){content, len}), ERR_OK);
    assert_true(entry_of("dot@example.org").is_revoked);
    /* What is there is not written over; what is not is put there. */
    assert_int_equal(keyring_gpg_put_revocation(home.gpg, first, SPAN_LIT("other")), ERR_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal((size_t)status.st_size, len);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(keyring_gpg_put_revocation(home.gpg, first, (struct span){content, len}), ERR_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void user_ids_come_and_go(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE];
    (void)state;
    make("Fay <fay@example.org>", 0, &given, fingerprint);
    assert_int_equal(keyring_gpg_add_user_id(home.gpg, fingerprint, "Fay <f@example.net>", &given), ERR_OK);
    assert_int_equal(keyring_gpg_set_primary(home.gpg, fingerprint, "Fay <fay@example.org>", &given), ERR_OK);
    assert_true(entry_of("fay@example.org").is_primary_uid);
    assert_int_equal(entry_of("f@example.net").trust, KEYRING_OWN);
    assert_int_equal(keyring_gpg_revoke_user_id(home.gpg, fingerprint, "f@example.net", &given), ERR_NOT_FOUND);
    assert_int_equal(keyring_gpg_revoke_user_id(home.gpg, fingerprint, "Fay <f@example.net>", &given), ERR_OK);
    assert_true(entry_of("f@example.net").is_revoked);
    assert_false(entry_of("fay@example.org").is_revoked);
}

static void vouching_shows_to_all(void **state)
{
    char old[KEYRING_FPR_SIZE], new[KEYRING_FPR_SIZE], signer[32];
    struct buf key, packets;
    static const char *const list[] = {"--list-packets", NULL};
    (void)state;
    make("Gil <gil@example.org>", 0, &given, old);
    make("Gil <gil@example.org>", 0, &none, new);
    assert_int_equal(keyring_gpg_vouch(home.gpg, new, old, &given), ERR_OK);
    buf_init(&key, TEXT_MAX);
    assert_int_equal(keyring_gpg_export(home.gpg, new, false, &key), ERR_OK);
    ask_gpg(list, buf_span(&key), &packets);
    (void)snprintf(signer, sizeof signer, "keyid %.16s", old + strlen(old) - 16);
    assert_int_not_equal(span_find(buf_span(&packets), 0, span_of(signer)), SIZE_MAX);
    buf_fini(&packets);
    buf_fini(&key);
}

/* The passphrase with which the backup is opened takes gpg's longest. */
static void backup_is_protected(void **state)
{
    char protected[KEYRING_FPR_SIZE], open[KEYRING_FPR_SIZE];
    static const char *const list[] = {"--list-packets", NULL};
    struct buf backup, packets;
    bool is_unprotected;
    (void)state;
    make("Hal <hal@example.org>", 0, &given, protected);
    make("Ida <ida@example.org>", 0, &none, open);
    assert_int_equal(keyring_gpg_is_unprotected(home.gpg, protected, &is_unprotected), ERR_OK);
    assert_false(is_unprotected);
    assert_int_equal(keyring_gpg_is_unprotected(home.gpg, open, &is_unprotected), ERR_OK);
    assert_true(is_unprotected);
    buf_init_secret(&backup, TEXT_MAX);
    assert_int_equal(keyring_gpg_backup(home.gpg, protected, &wrong, NULL, &backup), ERR_KEY_LOCKED);
    assert_int_equal(keyring_gpg_backup(home.gpg, open, NULL, NULL, &backup), ERR_USAGE);
    assert_int_equal(keyring_gpg_backup(home.gpg, open, NULL, &none, &backup), ERR_USAGE);
    assert_int_equal(backup.len, 0);
    for (int i = 0; i < 2; i++) {
        buf_clear(&backup);
        assert_int_equal(i == 0 ? keyring_gpg_backup(home.gpg, protected, &given, NULL, &backup)
                                : keyring_gpg_backup(home.gpg, open, NULL, &given, &backup),
                         ERR_OK);
        ask_gpg(list, buf_span(&backup), &packets);
        assert_int_not_equal(span_find(buf_span(&packets), 0, SPAN_LIT("protect count: 65011712 (255)")), SIZE_MAX);
        assert_int_equal(span_find(buf_span(&packets), 0, SPAN_LIT("protect count: 65536")), SIZE_MAX);
        buf_fini(&packets);
    }
    buf_fini(&backup);
}

static void ownertrust_is_given_back(void **state)
{
    char fingerprint[KEYRING_FPR_SIZE], line[KEYRING_FPR_SIZE + 8];
    struct buf lines;
    (void)state;
    make("Jo <jo@example.org>", 0, &none, fingerprint);
    (void)snprintf(line, sizeof line, "%s:6:\n", fingerprint);
    buf_init(&lines, TEXT_MAX);
    assert_int_equal(keyring_gpg_ownertrust(home.gpg, &lines), ERR_OK);
    assert_int_not_equal(span_find(buf_span(&lines), 0, span_of(line)), SIZE_MAX);
    assert_int_equal(span_find_byte(buf_span(&lines), 0, '#'), lines.len);
    assert_int_equal(span_find_byte(buf_span(&lines), 0, '['), lines.len);
    (void)snprintf(line, sizeof line, "%s:4:\n", fingerprint);
    assert_int_equal(keyring_gpg_set_ownertrust(home.gpg, span_of(line)), ERR_OK);
    buf_clear(&lines);
    assert_int_equal(keyring_gpg_ownertrust(home.gpg, &lines), ERR_OK);
    assert_int_not_equal(span_find(buf_span(&lines), 0, span_of(line)), SIZE_MAX);
    buf_fini(&lines);
}

static void key_that_is_not_here_has_no_life(void **state)
{
    static const char fingerprint[] = "0123456789ABCDEF0123456789ABCDEF01234567";
    bool is_unprotected;
    struct buf out;
    (void)state;
    buf_init(&out, TEXT_MAX);
    assert_int_equal(keyring_gpg_set_expiry(home.gpg, fingerprint, 0, &none), ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_revoke(home.gpg, fingerprint, KEYRING_GPG_RETIRED, "", &none), ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_backup(home.gpg, fingerprint, &none, &given, &out), ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_is_unprotected(home.gpg, fingerprint, &is_unprotected), ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_vouch(home.gpg, fingerprint, fingerprint, &none), ERR_NOT_FOUND);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_end_is_that_of_all_parts),
        cmocka_unit_test(what_has_run_out_is_renewed_but_not_what_was_replaced),
        cmocka_unit_test(revoked_with_a_reason_that_all_can_read),
        cmocka_unit_test(kept_certificate_revokes_without_a_passphrase),
        cmocka_unit_test(user_ids_come_and_go),
        cmocka_unit_test(vouching_shows_to_all),
        cmocka_unit_test(backup_is_protected),
        cmocka_unit_test(ownertrust_is_given_back),
        cmocka_unit_test(key_that_is_not_here_has_no_life),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
