#include "tests/unit/gpg_home.h"

#include "base/clock.h"
#include "keyring/gpg_internal.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE];

static int set_up(void **state)
{
    (void)state;
    if (gpg_home_open(&home) != ERR_OK || home.agent == 0)
        return -1;
    return gpg_home_make_key(&home, "Alice <alice@example.org>", alice) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static struct keyring *list(void)
{
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    return keyring;
}

/* A copy of the one entry of `address`. */
static struct keyring_entry entry_of(const char *address)
{
    struct keyring *keyring = list();
    size_t first;
    assert_int_equal(keyring_find(keyring, address, &first), 1);
    struct keyring_entry entry = *keyring_at(keyring, first);
    keyring_free(&keyring);
    return entry;
}

static void add_key_of_another_home(const char *user_id, const char *more, char fingerprint[KEYRING_FPR_SIZE])
{
    struct gpg_home other;
    struct keyring_import result;
    struct buf key;
    char command[512];
    keyring_gpg_close(&home.gpg);
    assert_int_equal(gpg_home_open(&other), ERR_OK);
    assert_int_equal(gpg_home_make_key(&other, user_id, fingerprint), ERR_OK);
    (void)snprintf(command, sizeof command, more, fingerprint);
    if (*more != '\0')
        assert_int_equal(gpg_home_shell(&other, command), 0);
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_export(other.gpg, fingerprint, false, &key), ERR_OK);
    gpg_home_close(&other);
    assert_int_equal(keyring_gpg_open(home.path, home.wrapper, &home.gpg), ERR_OK);
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&key), true, &result), ERR_OK);
    assert_int_equal(result.imported, 1);
    assert_int_equal(result.fingerprints_len, 1);
    assert_string_equal(result.fingerprints[0], fingerprint);
    buf_fini(&key);
}

/* Only an address that is the user ID's beyond doubt finds the key. */
static void address_beside_another_is_none(void **state)
{
    static const char *const user_ids[] = {"<dora@example.net> <mallory@evil.example>",
                                           "dora@example.net <mallory@evil.example>", "Mallory dora@example.net",
                                           "mallory@evil.example (dora@example.net)"};
    struct keyring *keyring;
    size_t first;
    (void)state;
    for (size_t i = 0; i < sizeof user_ids / sizeof *user_ids; i++) {
        char command[256];
        (void)snprintf(command, sizeof command, "--allow-freeform-uid --quick-gen-key '%s' ed25519 sign never",
                       user_ids[i]);
        assert_int_equal(gpg_home_shell(&home, command), 0);
    }
    keyring = list();
    assert_int_equal(keyring_find(keyring, "dora@example.net", &first), 0);
    assert_int_equal(keyring_find(keyring, "mallory@evil.example", &first), 1);
    keyring_free(&keyring);
}

static void own_key_is_listed_whole(void **state)
{
    (void)state;
    struct keyring_entry entry = entry_of("ALICE@example.org");
    assert_string_equal(entry.fingerprint, alice);
    assert_string_equal(entry.user_id, "Alice <alice@example.org>");
    assert_string_equal(entry.algorithm, "ed25519/cv25519");
    assert_int_equal(entry.trust, KEYRING_OWN);
    assert_true(entry.has_secret && entry.is_primary_uid);
    assert_false(entry.has_aead || entry.is_revoked || entry.is_disabled);
    assert_int_equal(entry.encrypt_until, 0);
    assert_int_equal(entry.sign_until, 0);
    assert_int_equal(entry.expires, 0);
    assert_true(entry.created > clock_now() - 600 && entry.created <= clock_now());
}

static void agent_that_runs_is_not_started_again(void **state)
{
    (void)state;
    pid_t pid = 1;
    assert_int_equal(keyring_gpg_agent_start(home.path, NULL, &pid), ERR_OK);
    assert_int_equal(pid, 0);
}

/* How many secret keys are as an import left them, of how many. */
static size_t count_unsettled(const struct gpg_home *place, size_t *keys_out)
{
    char path[512], bytes[4096];
    size_t unsettled = 0;
    (void)snprintf(path, sizeof path, "%s/private-keys-v1.d", place->path);
    DIR *files = opendir(path);
    assert_non_null(files);
    *keys_out = 0;
    for (struct dirent *file; (file = readdir(files)) != NULL;) {
        if (strlen(file->d_name) != 44)
            continue;
        (void)snprintf(path, sizeof path, "%s/private-keys-v1.d/%s", place->path, file->d_name);
        FILE *key = fopen(path, "r");
        assert_non_null(key);
        size_t len = fread(bytes, 1, sizeof bytes, key);
        (void)fclose(key);
        *keys_out += 1;
        unsettled += span_find((struct span){bytes, len}, 0, SPAN_LIT("openpgp-native")) != SIZE_MAX;
    }
    (void)closedir(files);
    return unsettled;
}

static void imported_secret_keys_are_used_once(void **state)
{
    (void)state;
    struct gpg_home other;
    struct keyring_import result;
    char command[512];
    size_t keys;
    struct buf secret;
    buf_init(&secret, 1 << 20);
    assert_int_equal(keyring_gpg_export(home.gpg, alice, true, &secret), ERR_OK);
    (void)snprintf(command, sizeof command, "%s/secret", home.path);
    FILE *file = fopen(command, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(secret.data, 1, secret.len, file), secret.len);
    assert_int_equal(fclose(file), 0);
    /* As a person's own gpg does it. */
    assert_int_equal(gpg_home_open(&other), ERR_OK);
    (void)snprintf(command, sizeof command, "--import %s/secret", home.path);
    assert_int_equal(gpg_home_shell(&other, command), ERR_OK);
    assert_int_equal(count_unsettled(&other, &keys), 2);
    assert_int_equal(keyring_gpg_agent_settle(other.path, NULL), ERR_OK);
    assert_int_equal(count_unsettled(&other, &keys), 0);
    assert_int_equal(keys, 2);
    gpg_home_close(&other);
    assert_int_equal(gpg_home_open(&other), ERR_OK);
    assert_int_equal(keyring_gpg_import(other.gpg, buf_span(&secret), false, &result), ERR_OK);
    assert_int_equal(result.secret_imported, 1);
    assert_int_equal(count_unsettled(&other, &keys), 0);
    assert_int_equal(keys, 2);
    gpg_home_close(&other);
    buf_fini(&secret);
}

static void agent_of_too_long_a_path_is_an_error(void **state)
{
    (void)state;
    char path[160] = "/tmp/";
    pid_t pid;
    memset(path + 5, 'x', 130);
    assert_int_equal(keyring_gpg_agent_start(path, NULL, &pid), ERR_CONFIG);
    assert_int_equal(pid, 0);
}

static void export_and_import_again_change_nothing(void **state)
{
    (void)state;
    struct buf key;
    struct keyring_import result;
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_export(home.gpg, alice, false, &key), ERR_OK);
    assert_true(span_has_prefix(buf_span(&key), SPAN_LIT("-----BEGIN PGP PUBLIC KEY BLOCK-----")));
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&key), false, &result), ERR_OK);
    assert_int_equal(result.unchanged, 1);
    assert_int_equal(result.imported, 0);
    buf_clear(&key);
    assert_int_equal(keyring_gpg_export(home.gpg, alice, true, &key), ERR_OK);
    assert_true(span_has_prefix(buf_span(&key), SPAN_LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----")));
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&key), true, &result), ERR_MALFORMED);
    buf_fini(&key);
}

static void import_of_what_is_no_key_is_malformed(void **state)
{
    (void)state;
    struct keyring_import result;
    assert_int_equal(keyring_gpg_import(home.gpg, SPAN_LIT("no key\n"), false, &result), ERR_MALFORMED);
    assert_int_equal(keyring_gpg_import(home.gpg, SPAN_NONE, true, &result), ERR_MALFORMED);
}

/* gpg ends at what is damaged, and leaves more behind than a pipe holds; whoever writes there must notice. */
static void damage_at_the_front_of_much_ends(void **state)
{
    /* A signature whose second number has so many bits that gpg does not read on. */
    static const char damaged[72] = "\xc2\x46\x04\x13\x16\x08\0\x06\x05\x02\x60\0\0\0\0\0\0\0\0\x08\x80\xff\xff";
    struct keyring_import result;
    struct buf key;
    (void)state;
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_export_minimal(home.gpg, alice, &key), ERR_OK);
    while (key.len < 300000)
        assert_int_equal(buf_add(&key, damaged, sizeof damaged), ERR_OK);
    alarm(60); /* else it would never end */
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&key), false, &result), ERR_MALFORMED);
    alarm(0);
    buf_fini(&key);
}

/* gpg is shown no more of a stranger's key than it needs: 3,000 signatures that call themselves its own take it
 * seconds. */
static void strangers_keys_are_trimmed(void **state)
{
    char signature[72] = "\xc2\x46\x04\x13\x16\x08\0\x06\x05\x02\x60\0\0\0\0\x0a\x09\x10";
    struct buf key, trimmed;
    (void)state;
    for (size_t i = 0; i < 8; i++) {
        const char digits[] = {alice[24 + 2 * i], alice[25 + 2 * i], '\0'};
        signature[18 + i] = (char)strtoul(digits, NULL, 16);
    }
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_export_minimal(home.gpg, alice, &key), ERR_OK);
    struct span data = buf_span(&key);
    /* What is short stays as it is. */
    assert_int_equal(gpg_trim(&data, &trimmed), ERR_OK);
    assert_true(span_is_equal(data, buf_span(&key)));
    buf_fini(&trimmed);
    const size_t len = key.len;
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(buf_add(&key, signature, sizeof signature), ERR_OK);
    data = buf_span(&key);
    assert_int_equal(gpg_trim(&data, &trimmed), ERR_OK);
    assert_true(data.len > len && data.len <= len + 128 * sizeof signature);
    buf_fini(&trimmed);
    /* What is no row of keys is not shown to it at all. */
    assert_int_equal(buf_add_byte(&key, 'x'), ERR_OK);
    data = buf_span(&key);
    assert_int_equal(gpg_trim(&data, &trimmed), ERR_MALFORMED);
    buf_fini(&trimmed);
    buf_fini(&key);
}

/* What a key says of itself is taken by those that are here, and by no others. */
static void merging_brings_no_key(void **state)
{
    struct gpg_home other;
    struct keyring_import result;
    struct buf key;
    char fingerprint[KEYRING_FPR_SIZE], command[512];
    (void)state;
    assert_int_equal(gpg_home_open(&other), ERR_OK);
    assert_int_equal(gpg_home_make_key(&other, "Mona <mona@example.net>", fingerprint), ERR_OK);
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_export(other.gpg, fingerprint, false, &key), ERR_OK);
    struct keyring *before = list();
    const size_t len = keyring_len(before);
    keyring_free(&before);
    assert_int_equal(keyring_gpg_merge(home.gpg, buf_span(&key), &result), ERR_OK);
    assert_int_equal(result.imported, 0);
    struct keyring *after = list();
    assert_int_equal(keyring_len(after), len);
    keyring_free(&after);
    /* Once it is here, it is revoked by its own word, and gets no more of others' than that. */
    assert_int_equal(keyring_gpg_import(home.gpg, buf_span(&key), true, &result), ERR_OK);
    assert_int_equal(result.imported, 1);
    assert_false(entry_of("mona@example.net").is_revoked);
    /* The certificate that gpg has made lies there behind a colon. */
    (void)snprintf(
        command, sizeof command,
        "--version >/dev/null && sed 's/^:-----BEGIN/-----BEGIN/' %s/openpgp-revocs.d/%s.rev | gpg --homedir %s "
        "--no-autostart --batch --quiet --import 2>/dev/null",
        other.path, fingerprint, other.path);
    assert_int_equal(gpg_home_shell(&other, command), ERR_OK);
    buf_clear(&key);
    assert_int_equal(keyring_gpg_export(other.gpg, fingerprint, false, &key), ERR_OK);
    assert_int_equal(keyring_gpg_merge(home.gpg, buf_span(&key), &result), ERR_OK);
    assert_int_equal(result.imported, 0);
    assert_true(result.changed > 0);
    assert_true(entry_of("mona@example.net").is_revoked);
    /* Nor what is no key, or a secret one. */
    assert_int_equal(keyring_gpg_merge(home.gpg, SPAN_LIT("garbage"), &result), ERR_OK);
    assert_int_equal(result.changed, 0);
    buf_clear(&key);
    assert_int_equal(keyring_gpg_export(other.gpg, fingerprint, true, &key), ERR_OK);
    assert_int_equal(keyring_gpg_merge(home.gpg, buf_span(&key), &result), ERR_MALFORMED);
    buf_fini(&key);
    gpg_home_close(&other);
    assert_int_equal(keyring_gpg_delete(home.gpg, fingerprint, false), ERR_OK);
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    const char *nobody = "0123456789ABCDEF0123456789ABCDEF01234567";
    char path[4096];
    gpgme_key_t key;
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(keyring_gpg_export(home.gpg, nobody, false, &out), ERR_NOT_FOUND);
    assert_int_equal(keyring_gpg_export(home.gpg, "alice", false, &out), ERR_NOT_FOUND);
    assert_int_equal(keyring_gpg_delete(home.gpg, nobody, true), ERR_NOT_FOUND);
    assert_int_equal(keyring_gpg_signer(home.gpg, nobody, &key), ERR_NO_SIGNING_KEY);
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, nobody, path, sizeof path), ERR_NO_KEY);
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, "../../x", path, sizeof path), ERR_NO_KEY);
    buf_fini(&out);
}

static enum err certify(const char *fingerprint, const char *signer, const char *user_id)
{
    const struct keyring_gpg_certification how = {
        .signer = signer, .user_ids = &user_id, .user_ids_len = user_id == NULL ? 0 : 1};
    return keyring_gpg_certify_as(home.gpg, fingerprint, &how);
}

static void strangers_key_is_unverified_until_certified(void **state)
{
    (void)state;
    char bob[KEYRING_FPR_SIZE];
    add_key_of_another_home("Bob <bob@example.org>", "", bob);
    struct keyring_entry entry = entry_of("bob@example.org");
    assert_int_equal(entry.trust, KEYRING_UNVERIFIED);
    assert_false(entry.has_secret);
    assert_int_equal(certify(bob, alice, "Bob <bob@example.org>"), ERR_OK);
    entry = entry_of("bob@example.org");
    assert_int_equal(entry.trust, KEYRING_FULL);
    /* Once more is no error. */
    assert_int_equal(certify(bob, alice, "Bob <bob@example.org>"), ERR_OK);
    assert_int_equal(certify(bob, bob, "Bob <bob@example.org>"), ERR_NO_SIGNING_KEY);
    assert_int_equal(certify(bob, alice, "bob@example.org"), ERR_NOT_FOUND);
    assert_int_equal(certify(bob, alice, NULL), ERR_USAGE);
    assert_int_equal(keyring_gpg_delete(home.gpg, bob, false), ERR_OK);
    struct keyring *keyring = list();
    size_t first;
    assert_int_equal(keyring_find(keyring, "bob@example.org", &first), 0);
    keyring_free(&keyring);
}

/* Both within one second, most often: of two signatures of the same second gpg takes the certification. */
static void what_was_certified_is_withdrawn_at_once(void **state)
{
    (void)state;
    char dan[KEYRING_FPR_SIZE], command[512];
    const char *const both[] = {"Dan <dan@example.org>", "Dan <dan@example.net>"};
    add_key_of_another_home(both[0], "--quick-add-uid %s 'Dan <dan@example.net>'", dan);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(certify(dan, alice, both[0]), ERR_OK);
        assert_int_equal(entry_of("dan@example.org").trust, KEYRING_FULL);
        assert_int_equal(entry_of("dan@example.net").trust, KEYRING_UNVERIFIED);
        assert_int_equal(keyring_gpg_revoke_certification(home.gpg, dan, alice, i == 0 ? both : NULL, i == 0 ? 1 : 0),
                         ERR_OK);
        assert_int_equal(entry_of("dan@example.org").trust, KEYRING_UNVERIFIED);
    }
    /* As gpg alone leaves it, to which it is revoked, and good: nothing more can be had of it, and that is said. The
       same of what was certified in the future. */
    assert_true(clock_wait_after(clock_real()));
    for (int i = 0; i < 2; i++) {
        const long long at = i == 0 ? (long long)clock_real() : 1900000000;
        (void)snprintf(
            command, sizeof command,
            "--faked-system-time %lld! --force-sign-key --quick-lsign-key %s && gpg --homedir %s --batch --yes -q "
            "--faked-system-time %lld! --quick-revoke-sig %s %s",
            at, dan, home.path, at, dan, alice);
        assert_int_equal(gpg_home_shell(&home, command), 0);
        assert_int_equal(keyring_gpg_revoke_certification(home.gpg, dan, alice, NULL, 0), ERR_REFUSED);
    }
    assert_int_equal(keyring_gpg_delete(home.gpg, dan, false), ERR_OK);
}

static void only_the_certified_user_id_is_trusted(void **state)
{
    (void)state;
    char carol[KEYRING_FPR_SIZE], command[512];
    add_key_of_another_home("Carol <carol@example.org>", "--quick-add-uid %s 'Boss <boss@example.org>'", carol);
    (void)snprintf(command, sizeof command,
                   "--quick-lsign-key %s carol@example.org && gpg --homedir %s --batch -q "
                   "--check-trustdb",
                   carol, home.path);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    assert_int_equal(entry_of("carol@example.org").trust, KEYRING_FULL);
    assert_int_equal(entry_of("boss@example.org").trust, KEYRING_UNVERIFIED);
}

static void revoked_user_id_and_key_are_seen(void **state)
{
    (void)state;
    char dave[KEYRING_FPR_SIZE], command[512];
    assert_int_equal(gpg_home_make_key(&home, "Dave <dave@example.org>", dave), ERR_OK);
    (void)snprintf(command, sizeof command, "--quick-add-uid %s 'D <old@example.org>'", dave);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    (void)snprintf(command, sizeof command, "--quick-revoke-uid %s 'D <old@example.org>'", dave);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    assert_true(entry_of("old@example.org").is_revoked);
    assert_false(entry_of("dave@example.org").is_revoked);
    (void)snprintf(command, sizeof command,
                   "--version >/dev/null; sed 's/^:-/-/' %s/openpgp-revocs.d/%s.rev | "
                   "gpg --homedir %s --batch -q --import",
                   home.path, dave, home.path);
    assert_int_equal(gpg_home_shell(&home, command), 0);
    assert_true(entry_of("dave@example.org").is_revoked);
    assert_int_equal(keyring_gpg_delete(home.gpg, dave, false), ERR_REFUSED);
    assert_int_equal(keyring_gpg_delete(home.gpg, dave, true), ERR_OK);
}

static void key_with_an_end_says_when(void **state)
{
    (void)state;
    char erin[KEYRING_FPR_SIZE];
    struct secret passphrase = {0};
    assert_int_equal(secret_set(&passphrase, SPAN_LIT("correct horse"), 100), ERR_OK);
    assert_int_equal(keyring_gpg_make_key(home.gpg, "Erin <erin@example.org>", 86400, &passphrase, erin), ERR_OK);
    secret_fini(&passphrase);
    struct keyring_entry entry = entry_of("erin@example.org");
    assert_true(entry.expires >= entry.created + 86400 - 60 && entry.expires <= entry.created + 86400 + 60);
    assert_int_equal(entry.sign_until, entry.expires);
    struct keyring_want want = {KEYRING_SIGN, KEYRING_OPENPGP, KEYRING_FULL, clock_now()};
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_TAKEN);
    want.now += 2 * 86400;
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_EXPIRED);
    want.purpose = KEYRING_ENCRYPT; /* gpg gives the subkey no end of its own: the key's counts */
    assert_int_equal(keyring_judge(&entry, &want), KEYRING_EXPIRED);
    assert_int_equal(keyring_gpg_delete(home.gpg, erin, true), ERR_OK);
}

static void key_file_is_made_once_per_stamp(void **state)
{
    (void)state;
    char first[4096], second[4096], third[4096], other[KEYRING_FPR_SIZE];
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, alice, first, sizeof first), ERR_OK);
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, alice, second, sizeof second), ERR_OK);
    assert_string_equal(first, second);
    assert_int_equal(access(first, R_OK), 0);
    assert_int_equal(gpg_home_make_key(&home, "Fred <fred@example.org>", other), ERR_OK);
    assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, alice, third, sizeof third), ERR_OK);
    assert_string_not_equal(first, third);
    assert_int_equal(keyring_gpg_delete(home.gpg, other, true), ERR_OK);
}

static void signer_is_cached(void **state)
{
    (void)state;
    gpgme_key_t first, second;
    unsigned bits;
    assert_int_equal(keyring_gpg_signer(home.gpg, alice, &first), ERR_OK);
    assert_int_equal(keyring_gpg_signer(home.gpg, alice, &second), ERR_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(keyring_gpg_key_bits(home.gpg, alice, &bits), ERR_OK);
    assert_int_equal(bits, 255);
}

/* What was lent before the ring changed is gone; the slot that held it must not be given back twice. */
static void signer_is_looked_up_again_when_the_ring_changed(void **state)
{
    (void)state;
    char other[KEYRING_FPR_SIZE];
    gpgme_key_t key;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(keyring_gpg_signer(home.gpg, alice, &key), ERR_OK);
        assert_string_equal(key->fpr, alice);
        assert_int_equal(gpg_home_make_key(&home, "Gil <gil@example.org>", other), ERR_OK);
        assert_int_equal(keyring_gpg_signer(home.gpg, other, &key), ERR_OK);
        assert_int_equal(keyring_gpg_delete(home.gpg, other, true), ERR_OK);
        assert_int_equal(keyring_gpg_signer(home.gpg, other, &key), ERR_NO_SIGNING_KEY);
    }
}

static void dropping_aead_keeps_the_key(void **state)
{
    (void)state;
    assert_int_equal(keyring_gpg_drop_aead(home.gpg, alice), ERR_OK);
    struct keyring_entry entry = entry_of("alice@example.org");
    assert_false(entry.has_aead);
    assert_int_equal(entry.trust, KEYRING_OWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_key_is_listed_whole),
        cmocka_unit_test(agent_that_runs_is_not_started_again),
        cmocka_unit_test(imported_secret_keys_are_used_once),
        cmocka_unit_test(agent_of_too_long_a_path_is_an_error),
        cmocka_unit_test(export_and_import_again_change_nothing),
        cmocka_unit_test(import_of_what_is_no_key_is_malformed),
        cmocka_unit_test(damage_at_the_front_of_much_ends),
        cmocka_unit_test(merging_brings_no_key),
        cmocka_unit_test(strangers_keys_are_trimmed),
        cmocka_unit_test(what_is_not_there_is_not_found),
        cmocka_unit_test(strangers_key_is_unverified_until_certified),
        cmocka_unit_test(what_was_certified_is_withdrawn_at_once),
        cmocka_unit_test(only_the_certified_user_id_is_trusted),
        cmocka_unit_test(revoked_user_id_and_key_are_seen),
        cmocka_unit_test(key_with_an_end_says_when),
        cmocka_unit_test(key_file_is_made_once_per_stamp),
        cmocka_unit_test(signer_is_cached),
        cmocka_unit_test(signer_is_looked_up_again_when_the_ring_changed),
        cmocka_unit_test(dropping_aead_keeps_the_key),
        cmocka_unit_test(address_beside_another_is_none),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
