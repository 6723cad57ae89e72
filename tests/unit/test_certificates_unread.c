/* The folder of certificates where files cannot be read for a moment: that is an error, and nothing is forgotten. */
#include "keyring/certificates.h"
#include "tests/unit/x509_made.h"

#include <fcntl.h>
#include <sys/resource.h>

static void set_files_max(rlim_t count, struct rlimit *before_out)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (before_out != NULL)
        *before_out = limit;
    limit.rlim_cur = count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void what_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    char dir[] = "/tmp/privyseal-unread-XXXXXX", path[128];
    struct made alice = made_certificate(&(struct made_wish){.name = "Alice", .san = "email:alice@example.org"}, NULL);
    struct made bob = made_certificate(&(struct made_wish){.name = "Bob", .san = "email:bob@example.org"}, NULL);
    struct keyring_certificate entry = {.certificate = alice.certificate};
    struct keyring_certificates *mine, *others;
    struct rlimit before;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(keyring_certificates_open(dir, &mine), ERR_OK);
    assert_int_equal(keyring_certificates_put(mine, &entry), ERR_OK);
    assert_int_equal(keyring_certificates_open(dir, &others), ERR_OK);
    entry.certificate = bob.certificate;
    assert_int_equal(keyring_certificates_put(others, &entry), ERR_OK);
    /* One descriptor for the folder, and none for what is in it. */
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(next >= 0);
    close(next);
    set_files_max((rlim_t)next + 1, &before);
    enum err err = keyring_certificates_refresh(mine);
    set_files_max(before.rlim_cur, NULL);
    assert_int_not_equal(err, ERR_OK);
    assert_int_equal(keyring_certificates_len(mine), 1);
    assert_int_equal(keyring_certificates_refresh(mine), ERR_OK);
    assert_int_equal(keyring_certificates_len(mine), 2);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s.pem", dir, keyring_certificates_at(mine, i)->fingerprint);
        assert_int_equal(unlink(path), 0);
    }
    keyring_certificates_close(&mine);
    keyring_certificates_close(&others);
    assert_int_equal(rmdir(dir), 0);
    made_free(&alice);
    made_free(&bob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_cannot_be_read_is_an_error)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
