/* The index that a keeper makes: OpenPGP keys and certificates, the account's own by its addresses. */
#include "proxy/keeper.h"

#include "base/memfd.h"
#include "crypto/memory.h"
#include "proxy/wire.h"
#include "tests/unit/gpg_home.h"
#include "tests/unit/x509_made.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define INDEX_SIZE_MAX ((size_t)1 << 20)
#define OTHER "a.liddell@example.org"

struct running {
    char home[64], wrapper[512], certificates[128];
    int socket;
    pid_t pid;
};

/* Where more is asked for than there can be, sanitizers end the program unless they are told. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* `lacks_memory`: OpenSSL in the keeper has been without. */
static void start(struct running *running, bool lacks_memory)
{
    struct proxy_keeper_setup setup = {.log_level = 1,
                                       .is_own_home = 1,
                                       .output_max = INDEX_SIZE_MAX,
                                       .vault = -1,
                                       .addresses = {"alice@example.org", OTHER},
                                       .addresses_len = 2};
    struct ipc_out out;
    int ends[2];
    (void)snprintf(running->home, sizeof(running->home), "/tmp/privyseal-list-XXXXXX");
    assert_non_null(mkdtemp(running->home));
    (void)snprintf(running->certificates, sizeof(running->certificates), "%s/certificates", running->home);
    assert_int_equal(mkdir(running->certificates, 0700), 0);
    assert_int_equal(keyring_gpg_wrapper(running->wrapper, sizeof(running->wrapper)), ERR_OK);
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    (void)snprintf(setup.home, sizeof(setup.home), "%s", running->home);
    (void)snprintf(setup.key_cache, sizeof(setup.key_cache), "%s", running->home);
    (void)snprintf(setup.certificates, sizeof(setup.certificates), "%s", running->certificates);
    (void)snprintf(setup.wrapper, sizeof(setup.wrapper), "%s", running->wrapper);
    running->pid = fork();
    assert_true(running->pid >= 0);
    if (running->pid == 0) {
        close(ends[0]);
        if (ends[1] != 3 && dup2(ends[1], 3) != 3)
            _exit(9);
        if (lacks_memory && OPENSSL_malloc(SIZE_MAX / 2) != NULL)
            _exit(8);
        _exit(proxy_keeper_main());
    }
    close(ends[1]);
    running->socket = ends[0];
    proxy_put_setup(&out, &setup);
    assert_int_equal(ipc_send(running->socket, &out), ERR_OK);
}

static void stop(struct running *running, int wanted)
{
    int status;
    close(running->socket);
    assert_int_equal(waitpid(running->pid, &status, 0), running->pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == wanted);
    gpg_home_remove(running->home);
}

static struct keyring *list_of(const struct running *running, uint64_t number)
{
    struct keyring *keyring;
    struct ipc_out out;
    struct ipc_in in;
    struct span saved;
    ipc_out_begin(&out, PROXY_JOB_LIST);
    ipc_put_u64(&out, number);
    assert_int_equal(ipc_send(running->socket, &out), ERR_OK);
    assert_int_equal(ipc_recv(running->socket, &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), ERR_OK);
    int fd = ipc_get_file(&in);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_int_equal(memfd_map(fd, INDEX_SIZE_MAX, &saved), ERR_OK);
    assert_int_equal(keyring_load(saved, &keyring), ERR_OK);
    memfd_unmap(&saved);
    close(fd);
    return keyring;
}

static struct keyring *list(const struct running *running)
{
    return list_of(running, 1);
}

/* What is put into the folder later counts for the next listing. */
static void certificates_are_listed_with_the_ring(void **state)
{
    struct running running;
    struct keyring_certificates *certificates;
    struct made made = made_certificate(&(struct made_wish){.name = "Alice", .san = "email:" OTHER}, NULL);
    struct keyring_certificate entry = {.certificate = made.certificate};
    (void)state;
    start(&running, false);
    struct keyring *keyring = list(&running);
    assert_int_equal(keyring_len(keyring), 0);
    keyring_free(&keyring);
    assert_int_equal(keyring_certificates_open(running.certificates, &certificates), ERR_OK);
    for (int has_key = 0; has_key < 2; has_key++) {
        (void)snprintf(entry.key_place, sizeof(entry.key_place), "%s", has_key ? "store" : "");
        assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_OK);
        keyring = list(&running);
        assert_int_equal(keyring_len(keyring), 1);
        assert_string_equal(keyring_at(keyring, 0)->address, OTHER);
        assert_int_equal(keyring_at(keyring, 0)->format, KEYRING_SMIME);
        assert_int_equal(keyring_at(keyring, 0)->trust, has_key ? KEYRING_OWN : KEYRING_UNVERIFIED);
        assert_int_equal(keyring_at(keyring, 0)->has_secret, has_key);
        keyring_free(&keyring);
    }
    keyring_certificates_close(&certificates);
    stop(&running, 0);
    made_free(&made);
}

/* gpg is asked again when net says that the home has changed, or does not know. */
static void the_home_is_listed_when_it_has_changed(void **state)
{
    static const struct {
        uint64_t number;
        size_t len;
    } rows[] = {{7, 0}, {8, 1}, {8, 1}, {0, 1}};
    struct running running;
    struct gpg_home home = {.agent = 0};
    char fingerprint[KEYRING_FPR_SIZE];
    (void)state;
    start(&running, false);
    struct keyring *keyring = list_of(&running, 7);
    assert_int_equal(keyring_len(keyring), 0);
    keyring_free(&keyring);
    assert_int_equal(keyring_gpg_agent_start(running.home, NULL, &home.agent), ERR_OK);
    assert_int_equal(keyring_gpg_open(running.home, running.wrapper, &home.gpg), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Bob <bob@example.org>", fingerprint), ERR_OK);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        keyring = list_of(&running, rows[i].number);
        assert_int_equal(keyring_len(keyring), rows[i].len);
        keyring_free(&keyring);
    }
    keyring_gpg_close(&home.gpg);
    gpg_home_stop_agent(&home);
    stop(&running, 0);
}

/* OpenSSL may say from then on that there is no such cipher: nothing that such a keeper finds counts, and it ends. */
static void without_memory_it_answers_and_ends(void **state)
{
    static const uint16_t jobs[] = {PROXY_JOB_LIST, PROXY_JOB_KEYS};
    (void)state;
    for (size_t i = 0; i < sizeof(jobs) / sizeof(*jobs); i++) {
        struct running running;
        struct ipc_out out;
        struct ipc_in in;
        start(&running, true);
        ipc_out_begin(&out, jobs[i]);
        if (jobs[i] == PROXY_JOB_LIST)
            ipc_put_u64(&out, 1);
        assert_int_equal(ipc_send(running.socket, &out), ERR_OK);
        assert_int_equal(ipc_recv(running.socket, &in), ERR_OK);
        assert_int_equal(ipc_type(&in), PROXY_JOB_DONE);
        assert_int_equal(ipc_get_u32(&in), ERR_MEMORY);
        assert_int_equal(ipc_in_end(&in), ERR_OK);
        ipc_in_fini(&in);
        assert_int_equal(ipc_recv(running.socket, &in), ERR_END);
        stop(&running, 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(certificates_are_listed_with_the_ring),
                                       cmocka_unit_test(the_home_is_listed_when_it_has_changed),
                                       cmocka_unit_test(without_memory_it_answers_and_ends)};
    crypto_memory_watch();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
