/* A listing that broke off must never pass for a short ring: mail for a key that seems missing may leave plain. */
#include "tests/unit/gpg_home.h"

#include "keyring/key_trim.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE];

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
}

static enum err list(const char *wrapper, size_t *len_out)
{
    struct keyring *keyring;
    struct keyring_gpg *gpg;
    keyring_gpg_close(&home.gpg);
    assert_int_equal(keyring_gpg_open(home.path, wrapper, &gpg), ERR_OK);
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    enum err err = keyring_gpg_list(gpg, keyring);
    *len_out = keyring_len(keyring);
    keyring_free(&keyring);
    keyring_gpg_close(&gpg);
    return err;
}

/* Replaces gpg by a shell script. */
static enum err list_with(const char *script, size_t *len_out)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/wrapper", home.path);
    write_file(path, script, 0700);
    return list(path, len_out);
}

static void test_whole_ring(void **state)
{
    (void)state;
    char wrapper[512];
    size_t len;
    assert_int_equal(keyring_gpg_wrapper(wrapper, sizeof wrapper), ERR_OK);
    assert_int_equal(list(wrapper, &len), ERR_OK);
    assert_int_equal(len, 1);
}

static void test_gpg_without_the_word_at_its_end(void **state)
{
    (void)state;
    size_t len;
    assert_int_equal(list_with("#!/bin/sh\nexec gpg --no-options --no-autostart \"$@\"\n", &len), ERR_ENGINE);
}

static void test_gpg_that_dies_in_the_middle(void **state)
{
    (void)state;
    size_t len;
    assert_int_equal(list_with("#!/bin/sh\ngpg --no-options --no-autostart \"$@\"\nkill -9 $$\n", &len), ERR_ENGINE);
    assert_int_equal(list_with("#!/bin/sh\nexit 0\n", &len), ERR_ENGINE);
}

static void test_ring_that_gpg_cannot_read(void **state)
{
    (void)state;
    char wrapper[512], path[256];
    size_t len;
    (void)snprintf(path, sizeof path, "%s/pubring.kbx", home.path);
    write_file(path, "this is no key box, whatever its name may say", 0600);
    assert_int_equal(keyring_gpg_wrapper(wrapper, sizeof wrapper), ERR_OK);
    assert_int_equal(list(wrapper, &len), ERR_ENGINE);
}

static enum err carries_with(const char *wrapper, struct span key, bool *is_theirs)
{
    struct keyring_gpg *gpg;
    assert_int_equal(keyring_gpg_open(home.path, wrapper, &gpg), ERR_OK);
    enum err err = keyring_gpg_carries(gpg, key, "alice@example.org", is_theirs);
    keyring_gpg_close(&gpg);
    return err;
}

static enum err import_with(const char *wrapper, struct span key)
{
    struct keyring_gpg *gpg;
    struct keyring_import result;
    assert_int_equal(keyring_gpg_open(home.path, wrapper, &gpg), ERR_OK);
    enum err err = keyring_gpg_import(gpg, key, true, &result);
    keyring_gpg_close(&gpg);
    return err;
}

/* Nor for a stranger's key that is none: its source would seem to have taken the true one back. */
static void test_gpg_that_dies_over_a_key(void **state)
{
    static const char *const ends[] = {"exit 0", "kill -9 $$"};
    (void)state;
    char wrapper[512], path[256], script[256];
    bool is_theirs;
    struct buf key;
    buf_init(&key, 1 << 20);
    assert_int_equal(keyring_gpg_wrapper(wrapper, sizeof wrapper), ERR_OK);
    keyring_gpg_close(&home.gpg);
    assert_int_equal(keyring_gpg_open(home.path, wrapper, &home.gpg), ERR_OK);
    assert_int_equal(keyring_gpg_export(home.gpg, alice, false, &key), ERR_OK);
    assert_int_equal(carries_with(wrapper, buf_span(&key), &is_theirs), ERR_OK);
    assert_true(is_theirs);
    assert_int_equal(import_with(wrapper, buf_span(&key)), ERR_OK);
    assert_int_equal(carries_with(wrapper, SPAN_LIT("no key"), &is_theirs), ERR_MALFORMED);
    assert_int_equal(import_with(wrapper, SPAN_LIT("no key")), ERR_MALFORMED);
    (void)snprintf(path, sizeof path, "%s/wrapper", home.path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        /* GPGME asks which gpg it is, first. */
        (void)snprintf(script, sizeof script, "#!/bin/sh\ncase \"$*\" in *--version*) exec gpg --version;; esac\n%s\n",
                       ends[i]);
        write_file(path, script, 0700);
        assert_int_equal(carries_with(path, buf_span(&key), &is_theirs), ERR_ENGINE);
        assert_int_equal(import_with(path, buf_span(&key)), ERR_ENGINE);
    }
    write_file(path, "#!/bin/sh\ngpg --no-options --no-autostart \"$@\" | grep -v IMPORT_RES\n", 0700);
    assert_int_equal(import_with(path, buf_span(&key)), ERR_ENGINE);
    buf_fini(&key);
}

static enum err take_key(struct span key, void *context)
{
    return buf_add_span(context, key);
}

/* gpg gives up at a subkey that it cannot read, with more behind it than a pipe holds. */
static void test_key_that_gpg_does_not_read_to_its_end(void **state)
{
    static const char subkey[] = "\xce\x08\x09\x09\x09\x09\x09\x09\x09\x09";
    (void)state;
    char wrapper[512], name[203] = "\xcd\xc0\x08";
    bool is_theirs;
    struct buf armour, key;
    buf_init(&armour, 1 << 20);
    buf_init(&key, 1 << 20);
    memset(name + 3, 'y', sizeof name - 3);
    assert_int_equal(keyring_gpg_wrapper(wrapper, sizeof wrapper), ERR_OK);
    keyring_gpg_close(&home.gpg);
    assert_int_equal(keyring_gpg_open(home.path, wrapper, &home.gpg), ERR_OK);
    assert_int_equal(keyring_gpg_export(home.gpg, alice, false, &armour), ERR_OK);
    const struct key_trim_want want = {.fingerprint = alice, .key_max = 1 << 20};
    assert_int_equal(key_trim(buf_span(&armour), &want, take_key, &key), ERR_OK);
    assert_int_equal(buf_add(&key, subkey, sizeof subkey - 1), ERR_OK);
    for (size_t i = 0; i < 1200; i++)
        assert_int_equal(buf_add(&key, name, sizeof name), ERR_OK);
    assert_int_equal(carries_with(wrapper, buf_span(&key), &is_theirs), ERR_MALFORMED);
    assert_int_equal(import_with(wrapper, buf_span(&key)), ERR_MALFORMED);
    buf_fini(&armour);
    buf_fini(&key);
}

static int set_up(void **state)
{
    (void)state;
    gpg_home_open(&home);
    return gpg_home_make_key(&home, "Alice <alice@example.org>", alice) == ERR_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_ring),
                                       cmocka_unit_test(test_gpg_without_the_word_at_its_end),
                                       cmocka_unit_test(test_gpg_that_dies_in_the_middle),
                                       cmocka_unit_test(test_gpg_that_dies_over_a_key),
                                       cmocka_unit_test(test_key_that_gpg_does_not_read_to_its_end),
                                       cmocka_unit_test(test_ring_that_gpg_cannot_read)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
