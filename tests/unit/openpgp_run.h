/*
 * What the tests of crypto/openpgp.h share: a home with the keys of Alice and Bob, and short ways to seal and open.
 */
#ifndef TESTS_UNIT_OPENPGP_RUN_H
#define TESTS_UNIT_OPENPGP_RUN_H

#include "base/clock.h"
#include "base/memfd.h"
#include "crypto/openpgp.h"
#include "tests/unit/gpg_home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SIZE_MOST (64u << 20)
#define TEXT "Content-Type: text/plain\r\n\r\nxyzzy-canary\r\n"

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE], bob[KEYRING_FPR_SIZE];

__attribute__((unused)) static int set_up(void **state)
{
    (void)state;
    if (gpg_home_open(&home) != ERR_OK)
        return -1;
    return gpg_home_make_key(&home, "Alice <alice@example.org>", alice) == ERR_OK &&
                   gpg_home_make_key(&home, "Bob <bob@example.org>", bob) == ERR_OK
               ? 0
               : -1;
}

__attribute__((unused)) static int tear_down(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

/* Runs gpg in the home on a file "in" with `text` and gives what it wrote; false if gpg failed. */
__attribute__((unused)) static bool gpg_on(struct span text, const char *arguments, struct buf *out)
{
    char path[128], command[1024], piece[4096];
    (void)snprintf(path, sizeof path, "%s/in", home.path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.ptr, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(command, sizeof command, "%s --output %s/out %s/in", arguments, home.path, home.path);
    bool is_ok = gpg_home_shell(&home, command) == ERR_OK;
    (void)snprintf(path, sizeof path, "%s/out", home.path);
    buf_init(out, SIZE_MOST);
    file = fopen(path, "r");
    size_t count;
    while (file != NULL && (count = fread(piece, 1, sizeof piece, file)) > 0)
        assert_int_equal(buf_add(out, piece, count), ERR_OK);
    if (file != NULL)
        (void)fclose(file);
    (void)unlink(path);
    return is_ok;
}

__attribute__((unused)) static void read_fd(int fd, struct buf *out)
{
    char piece[4096];
    ssize_t count;
    buf_init(out, SIZE_MOST);
    for (off_t at = 0; (count = pread(fd, piece, sizeof piece, at)) > 0; at += count)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
}

__attribute__((unused)) static enum err encrypt(const char *signer, const char *const *recipients,
                                                size_t recipients_len, struct span text, uint64_t output_max,
                                                struct buf *out)
{
    char paths[4][4096];
    const char *files[4];
    struct mime_pieces pieces;
    int fd;
    for (size_t i = 0; i < recipients_len; i++) {
        assert_int_equal(keyring_gpg_key_file(home.gpg, home.cache, recipients[i], paths[i], sizeof paths[i]), ERR_OK);
        files[i] = paths[i];
    }
    mime_pieces_init(&pieces);
    size_t half = text.len / 2;
    assert_int_equal(mime_pieces_copy(&pieces, span_slice(text, 0, half)), ERR_OK);
    assert_int_equal(mime_pieces_borrow(&pieces, span_skip(text, half)), ERR_OK);
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    enum err err = crypto_openpgp_encrypt(home.gpg, signer, false, files, recipients_len, &pieces, fd, output_max);
    read_fd(fd, out);
    close(fd);
    mime_pieces_fini(&pieces);
    return err;
}

__attribute__((unused)) static void encrypt_to_alice(const char *signer, struct span text, struct buf *out)
{
    const char *const recipients[] = {alice};
    assert_int_equal(encrypt(signer, recipients, 1, text, SIZE_MOST, out), ERR_OK);
}

__attribute__((unused)) static void assert_opens_to(struct span cipher, struct span text,
                                                    enum crypto_signature_state state, const char *signer)
{
    struct crypto_openpgp_opened opened;
    const struct crypto_openpgp_how how = {.text_max = SIZE_MOST};
    assert_int_equal(crypto_openpgp_decrypt(home.gpg, cipher, &how, &opened), ERR_OK);
    assert_true(opened.is_encrypted);
    assert_true(span_is_equal(buf_span(&opened.text), text));
    assert_int_equal(opened.signatures_len, state == CRYPTO_SIG_NONE ? 0 : 1);
    if (state != CRYPTO_SIG_NONE) {
        assert_int_equal(opened.signatures[0].state, state);
        assert_string_equal(opened.signatures[0].fingerprint, signer);
        assert_true(opened.signatures[0].made > clock_now() - 600 && opened.signatures[0].made <= clock_now());
    }
    crypto_openpgp_opened_fini(&opened);
}

__attribute__((unused)) static void assert_refused(struct span cipher, size_t text_max)
{
    struct crypto_openpgp_opened opened;
    const struct crypto_openpgp_how how = {.text_max = text_max};
    assert_int_equal(crypto_openpgp_decrypt(home.gpg, cipher, &how, &opened), ERR_DECRYPT);
    assert_int_equal(opened.text.len, 0);
    assert_int_equal(opened.signatures_len, 0);
    assert_int_equal(opened.text.capacity, 0);
}

__attribute__((unused)) static void sign_text(const char *signer, const char *text, struct buf *signature)
{
    struct mime_pieces pieces;
    char micalg[24];
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(text)), ERR_OK);
    buf_init(signature, 1 << 16);
    assert_int_equal(crypto_openpgp_sign(home.gpg, signer, &pieces, signature, micalg), ERR_OK);
    assert_string_equal(micalg, "pgp-sha512");
    mime_pieces_fini(&pieces);
}

__attribute__((unused)) static enum crypto_signature_state state_of(struct span signature, const char *text,
                                                                    const char *signer)
{
    struct crypto_openpgp_opened opened;
    assert_int_equal(crypto_openpgp_verify(home.gpg, signature, span_of(text), &opened), ERR_OK);
    assert_false(opened.is_encrypted);
    assert_int_equal(opened.signatures_len, 1);
    if (signer != NULL)
        assert_string_equal(opened.signatures[0].fingerprint, signer);
    enum crypto_signature_state state = opened.signatures[0].state;
    crypto_openpgp_opened_fini(&opened);
    return state;
}

__attribute__((unused)) static void assert_only_crlf(const struct buf *text)
{
    assert_true(text->len > 0);
    for (size_t i = 0; i < text->len; i++)
        assert_true((text->data[i] == '\n') == (i > 0 && text->data[i - 1] == '\r'));
}

#endif
