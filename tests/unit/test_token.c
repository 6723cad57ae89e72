/* Keys on a token, with SoftHSM: used through the key function, and a PIN that is refused goes to the token once. */
#include "keyring/token.h"

#include "base/spawn.h"
#include "keyring/x509_key.h"
#include "tests/unit/gpg_home.h"
#include "tests/unit/x509_made.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/cms.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define SPY "/usr/lib/x86_64-linux-gnu/pkcs11/pkcs11-spy.so" /* notes every call, and makes it of MODULE */
#define PIN "123456"
#define URI "pkcs11:token=tests;id=%01"
#define CERTIFICATE_URI URI

static struct gpg_home home;
static struct made alice;
static struct keyring_token *token;
static char spied[128]; /* every call of the module is written there */

/* What the spy itself does not give back is nothing of ours. */
const char *suppressions(void) __asm__("__lsan_default_suppressions");
const char *suppressions(void)
{
    return "leak:pkcs11-spy.so";
}

static const char *in_home(const char *name)
{
    static char paths[8][160];
    static size_t next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", home.path, name);
    return path;
}

static void write_file(const char *name, mode_t mode, const char *text)
{
    FILE *file = fopen(in_home(name), "w");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(in_home(name), mode), 0);
}

static void run_program(const char *const *arguments)
{
    const struct spawn_options options = {
        .file = arguments[0], .arguments = arguments, .inherit_fd = -1, .is_quiet = true};
    assert_int_equal(spawn_run(&options, 60000), ERR_OK);
}

/* Notes each prompt in `told`, and says what is in `answer`. */
static void make_pinentry(void)
{
    static const char script[] = "#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in\n"
                                 "GETPIN) echo asked >>%s/told; if [ -s %s/answer ]; then echo \"D $(cat %s/answer)\"; "
                                 "echo OK; else echo 'ERR 83886179 Operation cancelled'; fi;;\n"
                                 "BYE) echo OK; exit;;\n*) echo OK;;\nesac; done\n";
    char text[2048];
    (void)snprintf(text, sizeof text, script, home.path, home.path, home.path);
    write_file("pinentry", 0700, text);
    (void)snprintf(text, sizeof text, "pinentry-program %s/pinentry\n", home.path);
    write_file("gpg-agent.conf", 0600, text);
    gpg_home_stop_agent(&home);
    assert_int_equal(keyring_gpg_agent_start(home.path, NULL, &home.agent), ERR_OK);
}

static void make_token(void)
{
    static const struct made_wish wish = {.name = "Alice", .san = "email:alice@example.org", .rsa_bits = 2048};
    char text[512], key[160], certificate[160];
    unsigned char *bytes = NULL;
    (void)snprintf(text, sizeof text, "directories.tokendir = %s/tokens\nobjectstore.backend = file\n", home.path);
    assert_int_equal(mkdir(in_home("tokens"), 0700), 0);
    write_file("softhsm2.conf", 0600, text);
    assert_int_equal(setenv("SOFTHSM2_CONF", in_home("softhsm2.conf"), 1), 0);
    run_program((const char *const[]){"/usr/bin/softhsm2-util", "--init-token", "--free", "--label", "tests",
                                      "--so-pin", "0000", "--pin", PIN, NULL});
    alice = made_certificate(&wish, NULL);
    (void)snprintf(key, sizeof key, "%s", in_home("key.pem"));
    (void)snprintf(certificate, sizeof certificate, "%s", in_home("certificate.der"));
    FILE *file = fopen(key, "w");
    assert_int_equal(PEM_write_PKCS8PrivateKey(file, alice.key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
    run_program((const char *const[]){"/usr/bin/softhsm2-util", "--import", key, "--token", "tests", "--label", "alice",
                                      "--id", "01", "--pin", PIN, NULL});
    file = fopen(certificate, "w");
    const int len = i2d_X509(alice.certificate, &bytes);
    assert_int_equal(fwrite(bytes, 1, (size_t)len, file), len);
    assert_int_equal(fclose(file), 0);
    OPENSSL_free(bytes);
    run_program((const char *const[]){"/usr/bin/pkcs11-tool", "--module", MODULE, "--token-label", "tests", "--login",
                                      "--pin", PIN, "--write-object", certificate, "--type", "cert", "--id", "01",
                                      "--label", "alice", NULL});
}

static int open_all(void **state)
{
    (void)state;
    if (gpg_home_open(&home) != ERR_OK)
        return -1;
    make_pinentry();
    make_token();
    (void)snprintf(spied, sizeof spied, "%s/spied", home.path);
    assert_int_equal(setenv("PKCS11SPY", MODULE, 1), 0);
    assert_int_equal(setenv("PKCS11SPY_OUTPUT", spied, 1), 0);
    assert_int_equal(keyring_token_open(SPY, &token), ERR_OK);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    keyring_token_close(&token);
    made_free(&alice);
    gpg_home_close(&home);
    return 0;
}

static size_t count(const char *path, const char *word)
{
    char line[1000];
    size_t len = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        len += strstr(line, word) != NULL;
    if (file != NULL)
        (void)fclose(file);
    return len;
}

static size_t logins(void)
{
    return count(spied, ": C_Login");
}

static size_t prompts(void)
{
    return count(in_home("told"), "asked");
}

static enum err unlock(bool asks_person, EVP_PKEY **key_out)
{
    return keyring_token_unlock(token, home.gpg, home.path, URI, asks_person, key_out);
}

static void test_uris(void **state)
{
    static const char *const good[] = {URI, "pkcs11:serial=1;object=a", "pkcs11:token=a%20b;id=%01%02"};
    static const char *const bad[] = {"",
                                      "store",
                                      "pkcs11:",
                                      "pkcs11:id=%01",
                                      "pkcs11:token=a",
                                      "pkcs11:token=a;id=%01;pin-value=1234",
                                      "pkcs11:token=a;id=%01?pin-value=1234",
                                      "pkcs11:token=a;id=%01?pin-source=/etc/pin",
                                      "pkcs11:token=a;id=%01\nX: y"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(keyring_token_is_uri(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(keyring_token_is_uri(bad[i]));
}

/* Nobody may be asked, or nobody answers, or the answer is wrong: the token hears of a PIN only in the last case, and
   once for each time that a person has typed one. */
static void test_refused_once(void **state)
{
    EVP_PKEY *key;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(unlock(false, &key), ERR_KEY_LOCKED);
    assert_int_equal(prompts(), 0);
    write_file("answer", 0600, "");
    assert_int_equal(unlock(true, &key), ERR_KEY_LOCKED);
    assert_int_equal(prompts(), 1);
    assert_int_equal(logins(), 0);
    write_file("answer", 0600, "999999");
    assert_int_equal(unlock(true, &key), ERR_KEY_LOCKED);
    assert_null(key);
    assert_int_equal(prompts(), 2);
    assert_int_equal(logins(), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(unlock(false, &key), ERR_KEY_LOCKED);
    assert_int_equal(prompts(), 2);
    assert_int_equal(logins(), 1);
    assert_int_equal(unlock(true, &key), ERR_KEY_LOCKED);
    assert_int_equal(prompts(), 3);
    assert_int_equal(logins(), 2);
}

static void sign_and_open(EVP_PKEY *key)
{
    BIO *text = BIO_new_mem_buf("hello", 5), *out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *signed_ = CMS_sign(alice.certificate, key, NULL, text, CMS_BINARY);
    assert_non_null(signed_);
    assert_int_equal(CMS_verify(signed_, NULL, NULL, NULL, out, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY), 1);
    CMS_ContentInfo_free(signed_);
    BIO_free(text);
    BIO_free(out);
    STACK_OF(X509) *to = sk_X509_new_null();
    assert_true(sk_X509_push(to, alice.certificate) == 1);
    text = BIO_new_mem_buf("hello", 5);
    out = BIO_new(BIO_s_mem());
    CMS_ContentInfo *sealed = CMS_encrypt(to, text, EVP_aes_256_cbc(), CMS_BINARY);
    assert_non_null(sealed);
    assert_int_equal(CMS_decrypt(sealed, key, alice.certificate, NULL, out, CMS_BINARY), 1);
    char *bytes;
    assert_int_equal(BIO_get_mem_data(out, &bytes), 5);
    assert_memory_equal(bytes, "hello", 5);
    CMS_ContentInfo_free(sealed);
    sk_X509_free(to);
    BIO_free(text);
    BIO_free(out);
}

static void test_signs_and_opens(void **state)
{
    EVP_PKEY *key, *again;
    X509 *certificate;
    (void)state;
    assert_int_equal(keyring_token_certificate(token, CERTIFICATE_URI, &certificate), ERR_OK);
    assert_int_equal(X509_cmp(certificate, alice.certificate), 0);
    X509_free(certificate);
    const size_t before = logins(), asked = prompts();
    write_file("answer", 0600, PIN);
    assert_int_equal(unlock(true, &key), ERR_OK);
    assert_int_equal(logins(), before + 1);
    assert_int_equal(prompts(), asked + 1);
    assert_int_equal(X509_check_private_key(alice.certificate, key), 1);
    sign_and_open(key);
    /* Who is logged in asks nobody. */
    assert_int_equal(unlock(false, &again), ERR_OK);
    sign_and_open(again);
    assert_int_equal(logins(), before + 1);
    EVP_PKEY_free(again);
    EVP_PKEY_free(key);
}

/* ---- the next process ---- */

#define CHILD "TEST_TOKEN_HOME"

/* A PIN that is remembered is tried, and nobody is asked. */
static int run_child(const char *path)
{
    EVP_PKEY *key = NULL;
    enum err err = keyring_gpg_open(path, getenv("TEST_TOKEN_WRAPPER"), &home.gpg);
    if (err == ERR_OK)
        err = keyring_token_open(getenv("TEST_TOKEN_MODULE"), &token);
    if (err == ERR_OK)
        err = keyring_token_unlock(token, home.gpg, path, URI, false, &key);
    EVP_PKEY_free(key);
    return (int)err;
}

static int next_process(const char *module)
{
    int status;
    assert_int_equal(setenv(CHILD, home.path, 1), 0);
    assert_int_equal(setenv("TEST_TOKEN_WRAPPER", home.wrapper, 1), 0);
    assert_int_equal(setenv("TEST_TOKEN_MODULE", module, 1), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/proc/self/exe", "test_token", NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *pin_file(void)
{
    static char name[128];
    DIR *dir = opendir(home.path);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (strncmp(entry->d_name, "pin-", 4) == 0)
            (void)snprintf(name, sizeof name, "%.100s", entry->d_name);
    closedir(dir);
    assert_int_not_equal(name[0], '\0');
    return name;
}

/* The engine holds the PIN that it was given, and what fails may have failed for that: the agent's is not tried after
   it, in no process, and is not forgotten for it. */
static void test_one_try_of_the_engine(void **state)
{
    EVP_PKEY *key;
    char how = '\0';
    (void)state;
    const size_t before = logins();
    assert_int_equal(keyring_token_unlock(token, home.gpg, home.path, "pkcs11:token=tests;id=%09", false, &key),
                     ERR_KEY_LOCKED);
    const int fd = open(in_home(pin_file()), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, &how, 1), 1);
    close(fd);
    assert_int_equal(how, '?');
    assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    assert_int_equal(logins(), before);
    write_file(pin_file(), 0600, "g");
    assert_int_equal(next_process(SPY), ERR_OK);
    assert_int_equal(logins(), before + 1);
}

/* The agent remembers a PIN that was right. But where a process died over one, or it was refused, it is not tried by
   the next one, whatever the agent remembers; nor while another is about it. */
static void test_remembered(void **state)
{
    (void)state;
    const size_t before = logins(), asked = prompts();
    assert_int_equal(next_process(SPY), ERR_OK);
    assert_int_equal(logins(), before + 1);
    const int fd = open(in_home(pin_file()), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    close(fd);
    assert_int_equal(next_process(SPY), ERR_OK);
    assert_int_equal(logins(), before + 2);
    write_file(pin_file(), 0600, "?");
    assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    assert_int_equal(logins(), before + 2);
    /* It was right, and is so no more: tried once, then forgotten. */
    write_file(pin_file(), 0600, "g");
    run_program((const char *const[]){"/usr/bin/pkcs11-tool", "--module", MODULE, "--token-label", "tests", "--login",
                                      "--pin", PIN, "--change-pin", "--new-pin", "654321", NULL});
    assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    assert_int_equal(logins(), before + 3);
    for (int i = 0; i < 2; i++)
        assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    write_file(pin_file(), 0600, "g");
    assert_int_equal(next_process(SPY), ERR_KEY_LOCKED);
    assert_int_equal(logins(), before + 3);
    assert_int_equal(prompts(), asked);
}

static void test_nothing_there(void **state)
{
    X509 *certificate;
    (void)state;
    assert_int_equal(keyring_token_certificate(token, "pkcs11:token=tests;id=%09;type=cert", &certificate),
                     ERR_NOT_FOUND);
    const int err = next_process("/nowhere/module.so");
    assert_true(err == ERR_ENGINE || err == ERR_KEY_LOCKED);
}

int main(void)
{
    if (getenv(CHILD) != NULL)
        _exit(run_child(getenv(CHILD))); /* at once: what the module that spies leaves behind is not looked at */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_refused_once),

        cmocka_unit_test(test_signs_and_opens),
        cmocka_unit_test(test_one_try_of_the_engine),
        cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_nothing_there),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
