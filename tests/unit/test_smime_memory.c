/* Sealing and opening by S/MIME where memory ends, at any point: an error, nothing plain, no verdict but the right one,
   nothing crashes. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/smime_world.h"

#include "crypto/learnt.h"
#include "crypto/memory.h"
#include "crypto/open.h"

#include <signal.h>
#include <sys/wait.h>

#define CANARY "xyzzy-canary"
#define MESSAGE "From: Alice <alice@example.org>\r\nSubject: " CANARY "\r\n\r\nHello " CANARY "\r\n"
/* Far apart where they are many: OpenSSL makes thousands of allocations. */
#define NEXT(count) ((count) + 1 + (count) / 24)

static struct smime_world world;

static int begin(void **state)
{
    (void)state;
    smime_world_open(&world);
    return 0;
}

static int end(void **state)
{
    (void)state;
    smime_world_close(&world);
    return 0;
}

static bool holds_canary(int fd)
{
    static char bytes[65536];
    ssize_t count = pread(fd, bytes, sizeof bytes, 0);
    return memmem(bytes, count < 0 ? 0 : (size_t)count, CANARY, strlen(CANARY)) != NULL;
}

enum attempt { ATTEMPT_ENDED, ATTEMPT_SEALED, ATTEMPT_BAD };

/* OpenSSL 3.0 itself crashes where there is no memory for the key derivation of ECDH (its sskdf_new): a keeper dies of
   that, which costs one job. Nothing else may crash. */
static enum attempt wait_for(pid_t child, bool has_curves)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV && has_curves)
        return ATTEMPT_ENDED;
    return WIFEXITED(status) ? (enum attempt)WEXITSTATUS(status) : ATTEMPT_BAD;
}

/* With the allocation after `count` others failing, and all that follow. In a process of its own: OpenSSL keeps for
   good that something was not to be had. */
static enum attempt seal(const struct crypto_seal_request *request, size_t count)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        struct crypto_seal_result result;
        int fd = memfd_create("sealed", MFD_CLOEXEC);
        failing_malloc_left = count;
        enum err err = crypto_seal(NULL, request, SPAN_LIT(MESSAGE), fd, &result);
        failing_malloc_left = SIZE_MAX;
        bool is_bad = holds_canary(fd) || (err != ERR_OK && !failing_malloc_has_failed);
        _exit(is_bad ? ATTEMPT_BAD : failing_malloc_has_failed ? ATTEMPT_ENDED : ATTEMPT_SEALED);
    }
    return wait_for(child, request->recipients_len > 1);
}

/* Whatever failed: what is said to be sealed is, and what is not holds nothing of the text. */
static void memory_ends(void **state)
{
    (void)state;
    char to[2][KEYRING_FPR_SIZE];
    struct crypto_seal_request request = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                                          .format = KEYRING_SMIME,
                                          .recipients = (const char(*)[KEYRING_FPR_SIZE])to,
                                          .recipients_len = 2,
                                          .output_max = 65536,
                                          .smime = &world.smime};
    memcpy(to[0], world.fingerprints[SMIME_BOB], KEYRING_FPR_SIZE);
    memcpy(to[1], world.fingerprints[SMIME_CURVE], KEYRING_FPR_SIZE);
    memcpy(request.signer, world.fingerprints[SMIME_P256], KEYRING_FPR_SIZE);
    for (unsigned i = 0; i < 8; i++) {
        enum attempt attempt = ATTEMPT_ENDED;
        request.recipients_len = i < 4 ? 1 : 2;
        world.smime.is_opaque = (i & 1) != 0;
        world.smime.is_compressed = (i & 2) != 0;
        world.smime.content = (i & 1) != 0 ? CRYPTO_SMIME_GCM : CRYPTO_SMIME_CBC;
        for (size_t count = 0; attempt == ATTEMPT_ENDED; count = NEXT(count))
            attempt = seal(&request, count);
        assert_int_equal(attempt, ATTEMPT_SEALED);
    }
}

/* A view that is not the right one counts only where nobody could have noticed: OpenSSL calls good signatures bad. */
static enum attempt open_sealed(const struct crypto_open_options *options, struct span sealed, struct span view,
                                bool has_curves, size_t count)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL);
        struct crypto_opened opened;
        struct buf out;
        buf_init_secret(&out, 1 << 20);
        failing_malloc_left = count;
        enum err err = crypto_open(NULL, options, sealed, &out, &opened);
        failing_malloc_left = SIZE_MAX;
        bool is_right = err == ERR_OK && span_is_equal(buf_span(&out), view);
        bool is_noticed = (err != ERR_OK && failing_malloc_has_failed) || crypto_memory_has_failed();
        _exit(!is_right && !is_noticed ? ATTEMPT_BAD : failing_malloc_has_failed ? ATTEMPT_ENDED : ATTEMPT_SEALED);
    }
    return wait_for(child, has_curves);
}

static void memory_ends_in_opening(void **state)
{
    (void)state;
    struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN_ENCRYPT, .signer = SMIME_P256, .to_len = 1};
    struct keyring *nobody;
    assert_int_equal(keyring_new(&nobody), ERR_OK);
    for (unsigned i = 0; i < 4; i++) {
        enum attempt attempt = ATTEMPT_ENDED;
        struct crypto_opened opened;
        struct buf sealed, view;
        const struct crypto_open_options options = {
            .keyring = nobody, .smime = &world.smime, .least = KEYRING_FOUND, .output_max = 1 << 20, .layers_max = 8};
        world.smime.is_opaque = (i & 1) != 0;
        world.smime.content = (i & 1) != 0 ? CRYPTO_SMIME_GCM : CRYPTO_SMIME_CBC;
        wish.to[0] = (i & 2) != 0 ? SMIME_P384 : SMIME_RSA;
        buf_init(&sealed, 1 << 20);
        buf_init_secret(&view, 1 << 20);
        assert_int_equal(smime_world_seal(&world, &wish, SPAN_LIT(MESSAGE), &sealed), ERR_OK);
        assert_int_equal(crypto_open(NULL, &options, buf_span(&sealed), &view, &opened), ERR_OK);
        assert_non_null(strstr(view.data, "signature=good"));
        assert_non_null(strstr(view.data, CANARY));
        crypto_session_keys_fini(&opened.session_keys);
        crypto_learnt_fini(&opened.learnt);
        for (size_t count = 0; attempt == ATTEMPT_ENDED; count = NEXT(count))
            attempt = open_sealed(&options, buf_span(&sealed), buf_span(&view), (i & 2) != 0, count);
        assert_int_equal(attempt, ATTEMPT_SEALED);
        buf_fini(&sealed);
        buf_fini(&view);
    }
    keyring_free(&nobody);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_ends), cmocka_unit_test(memory_ends_in_opening)};
    crypto_memory_watch();
    return cmocka_run_group_tests(tests, begin, end);
}
