/*
 * Messages sealed and opened with one throw-away home: what the tests of crypto/open.h share.
 */
#ifndef TESTS_UNIT_OPEN_MAIL_H
#define TESTS_UNIT_OPEN_MAIL_H

#include "crypto/open.h"
#include "crypto/seal.h"
#include "mime/field.h"
#include "tests/unit/plain_gpg.h"

#define SIZE_OF_ALL 1048576

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE], mallory[KEYRING_FPR_SIZE];
static struct keyring *keyring;

static inline int begin(void **state)
{
    (void)state;
    assert_int_equal(gpg_home_open(&home), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Alice <alice@example.org>", alice), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Mallory <mallory@example.org>", mallory), ERR_OK);
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_gpg_list(home.gpg, keyring), ERR_OK);
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    keyring_free(&keyring);
    gpg_home_close(&home);
    return 0;
}

/* A message and what became of it. */
struct mail {
    struct buf sealed, view;
    struct crypto_opened opened;
};

static inline void mail_fini(struct mail *mail)
{
    buf_fini(&mail->sealed);
    buf_fini(&mail->view);
}

/* The view is made again from what was decided: the same bytes, without any trust and under another configuration. */
static inline void open_again(const struct mail *mail)
{
    struct crypto_open_options options = {.output_max = SIZE_OF_ALL,
                                          .layers_max = 8,
                                          .authserv_id = "other.example",
                                          .decided = &mail->opened.decision,
                                          .session_keys = &mail->opened.session_keys};
    struct crypto_opened opened;
    struct buf view;

    buf_init_secret(&view, SIZE_OF_ALL);
    /* Where nothing was encrypted no engine is needed: signatures are not looked at again. */
    assert_int_equal(crypto_open(mail->opened.decision.layers > 0 ? home.gpg : NULL, &options, buf_span(&mail->sealed),
                                 &view, &opened),
                     ERR_OK);
    assert_int_equal(view.len, mail->view.len);
    assert_memory_equal(view.data, mail->view.data, view.len);
    assert_int_equal(opened.is_plain, mail->opened.is_plain);
    assert_int_equal(opened.is_changed, mail->opened.is_changed);
    assert_memory_equal(&opened.session_keys, &mail->opened.session_keys, sizeof(opened.session_keys));
    buf_fini(&view);
}

static inline void open_with(struct mail *mail, const char *authserv_id)
{
    struct crypto_open_options options = {.keyring = keyring,
                                          .least = KEYRING_FOUND,
                                          .output_max = SIZE_OF_ALL,
                                          .layers_max = 8,
                                          .authserv_id = authserv_id};

    buf_init_secret(&mail->view, SIZE_OF_ALL);
    assert_int_equal(crypto_open(home.gpg, &options, buf_span(&mail->sealed), &mail->view, &mail->opened), ERR_OK);
    open_again(mail);
}

static inline void open_text(const char *message, struct mail *mail)
{
    buf_init(&mail->sealed, SIZE_OF_ALL);
    assert_int_equal(buf_add_string(&mail->sealed, message), ERR_OK);
    open_with(mail, NULL);
}

static inline void seal(enum crypto_seal_action action, const char *signer, const char *message, struct buf *out)
{
    struct crypto_seal_request request = {
        .action = action, .format = KEYRING_OPENPGP, .key_cache_dir = home.cache, .output_max = SIZE_OF_ALL};
    char recipients[1][KEYRING_FPR_SIZE];
    struct crypto_seal_result result;
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    char piece[4096];
    ssize_t count;

    memcpy(recipients[0], alice, sizeof(alice));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    request.recipients_len = 1;
    assert_true(span_copy(span_of(signer), request.signer, sizeof(request.signer)));
    assert_int_equal(crypto_seal(home.gpg, &request, span_of(message), fd, &result), ERR_OK);
    lseek(fd, 0, SEEK_SET);
    buf_init(out, SIZE_OF_ALL);
    while ((count = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    close(fd);
}

static inline void round_trip(enum crypto_seal_action action, const char *signer, const char *message,
                              struct mail *mail)
{
    seal(action, signer, message, &mail->sealed);
    open_with(mail, NULL);
}

static inline void assert_verdict(const struct mail *mail, enum crypto_signature_state signature,
                                  enum crypto_encryption_state encryption)
{
    assert_string_equal(crypto_signature_name(mail->opened.verdict.signature), crypto_signature_name(signature));
    assert_string_equal(crypto_encryption_name(mail->opened.verdict.encryption), crypto_encryption_name(encryption));
    if (signature != CRYPTO_SIG_NONE || encryption != CRYPTO_ENC_NONE)
        assert_memory_equal(mail->view.data, "Privyseal-Verdict: signature=", 29);
}

/* The view without its verdict field. */
static inline const char *after_verdict(const struct mail *mail)
{
    struct mime_field field;
    size_t at = 0;

    assert_true(mime_field_next(buf_span(&mail->view), &at, &field));
    assert_true(mime_field_is(&field, CRYPTO_VERDICT_FIELD));
    return mail->view.data + at;
}

static inline bool has(const struct mail *mail, const char *needle)
{
    return strstr(mail->view.data, needle) != NULL;
}

#define FROM "From: Alice <alice@example.org>\r\nTo: bob@example.org\r\n"
#define TAIL "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe body\r\n.\r\n\r\n"
#define MESSAGE FROM "Subject: plans\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n" TAIL
/* MIME-Version comes after the structural fields of the payload */
#define VIEW                                                                                                           \
    FROM "Subject: plans\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"                  \
         "Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\nthe body\r\n.\r\n\r\n"

#endif
