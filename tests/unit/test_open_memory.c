/* Opening without memory: an error each time, and never a view or a payload other than the right one. */
#include "tests/unit/failing_malloc.h"

#include "base/clock.h"
#include "crypto/open.h"
#include "crypto/open_header.h"
#include "crypto/open_layer.h"
#include "crypto/own.h"
#include "imap/content.h"
#include "proxy/record.h"

#include <string.h>

#define OUT_MAX 1048576

/* Messages that are judged without an engine, by what stands in them alone. */
static const char *const messages[] = {
    "Privyseal-Verdict: forged\r\nAuthentication-Results: me.example; forged\r\nSubject: a\r\n\r\nb\r\n",
    "From: a@example.org\r\nContent-Type: application/pkcs7-mime; smime-type=\"signed-data\"\r\n\r\nx\r\n",
    "From: a@example.org\r\nContent-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nx\r\n",
    "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nx\r\n--b\r\n"
    "Content-Type: application/pkcs7-mime; smime-type=\"signed-data\"\r\n\r\nx\r\n--b\r\nContent-Type: text/plain\r\n"
    "Content-Transfer-Encoding: base64\r\n\r\nLS0tLS1CRUdJTiBQR1AgTUVTU0FHRS0tLS0tCg==\r\n--b--\r\n",
    "From: a@example.org\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; "
    "boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\nContent-Type: "
    "application/pkcs7-signature\r\n\r\nx\r\n--b--\r\n",
};

struct opening {
    struct span message;
    const struct crypto_decision *decided;
    struct keyring *keyring;
    struct buf *wanted; /* NULL: takes the view as the right one */
    struct crypto_decision decision;
    struct buf view;
};

static bool open_once(void *context)
{
    struct opening *opening = context;
    struct crypto_open_options options = {.keyring = opening->keyring,
                                          .least = KEYRING_FOUND,
                                          .output_max = OUT_MAX,
                                          .layers_max = 8,
                                          .authserv_id = "me.example",
                                          .decided = opening->decided};
    struct crypto_opened opened;
    struct buf view;
    bool is_right;

    buf_init_secret(&view, OUT_MAX);
    is_right = crypto_open(NULL, &options, opening->message, &view, &opened) == ERR_OK;
    if (is_right && opening->wanted != NULL)
        assert_true(span_is_equal(buf_span(&view), buf_span(opening->wanted)));
    assert_true(is_right || view.len == 0);
    if (is_right && opening->wanted == NULL) {
        opening->decision = opened.decision;
        opening->view = view;
        return true;
    }
    buf_fini(&view);
    return is_right;
}

static void test_views(void **state)
{
    (void)state;
    clock_fix(1795176000); /* stands in the verdict */
    for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
        struct opening first = {.message = span_of(messages[i])}, again;

        assert_int_equal(keyring_new(&first.keyring), ERR_OK);
        assert_true(open_once(&first));
        again = (struct opening){.message = first.message, .decided = &first.decision, .wanted = &first.view};
        failing_malloc_run(open_once, &again);
        again.decided = NULL;
        again.keyring = first.keyring;
        failing_malloc_run(open_once, &again);
        keyring_free(&first.keyring);
        buf_fini(&first.view);
    }
}

static bool protection(void *context)
{
    enum crypto_header_protection found;
    enum err err = crypto_header_protection(
        SPAN_LIT("Content-Type: text/plain; x*0=\"a\"; x*1=b; hp*=utf-8''cip%68er\r\n\r\n"), &found);

    (void)context;
    assert_true(err == ERR_OK || err == ERR_MEMORY);
    assert_true(err != ERR_OK || found == CRYPTO_HEADER_RFC9788);
    return err == ERR_OK;
}

static bool same(void *context)
{
    const struct crypto_header_merge merge = {.outer = SPAN_LIT("From: a@x\r\nSubject: one\r\n two\r\n\r\n"),
                                              .inner = SPAN_LIT("From: a@x\r\nSubject: one  two\r\n\r\n"),
                                              .protection = CRYPTO_HEADER_RFC9788};
    bool is_same;
    enum err err = crypto_header_is_same(&merge, &is_same);

    (void)context;
    assert_true(err == ERR_MEMORY || (err == ERR_OK && is_same));
    return err == ERR_OK;
}

static bool find_layer(void *context)
{
    static const char message[] =
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
        "--b\r\nContent-Type: application/pgp-signature\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\n";
    struct mime_tree *tree = context;
    struct crypto_layer layer;
    enum err err = crypto_layer_find(tree->root, SPAN_LIT(message), &layer);

    if (err != ERR_OK)
        return false;
    assert_int_equal(layer.kind, CRYPTO_LAYER_SIGNED);
    assert_true(span_is_equal(layer.signature, SPAN_LIT("x")));
    crypto_layer_fini(&layer);
    return true;
}

static bool wrap(void *context)
{
    static const char message[] = "Subject: a\r\nContent-Type: text/plain\r\n\r\nb";
    struct mime_pieces payload;
    struct buf outer, back;
    bool is_right;

    (void)context;
    mime_pieces_init(&payload);
    buf_init(&outer, OUT_MAX);
    buf_init(&back, OUT_MAX);
    is_right = crypto_own_wrap(SPAN_LIT(message), &payload, &outer) == ERR_OK;
    if (is_right) {
        assert_true(payload.len == 2 && crypto_own_has_mark(payload.items[0].bytes));
        is_right = crypto_own_unwrap(payload.items[0].bytes, &back) == ERR_OK;
        assert_true(!is_right || strncmp(back.data, message, back.len) == 0);
    }
    buf_fini(&outer);
    buf_fini(&back);
    mime_pieces_fini(&payload);
    return is_right;
}

static bool record(void *context)
{
    struct mime_tree *tree = NULL;
    struct span view = span_of(messages[3]);
    struct proxy_record loaded;
    struct buf saved;
    bool is_right;

    (void)context;
    buf_init(&saved, OUT_MAX);
    is_right = imap_content_parse(view, &tree) == ERR_OK && proxy_record_save(tree->root, view, &saved) == ERR_OK;
    assert_true(is_right || saved.len == 0);
    assert_true(!is_right || proxy_record_load(buf_span(&saved), &loaded) == ERR_OK);
    mime_tree_free(&tree);
    buf_fini(&saved);
    return is_right;
}

static void test_pieces(void **state)
{
    static const char message[] =
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n"
        "--b\r\nContent-Type: application/pgp-signature\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n--b--\r\n";
    struct mime_tree *tree;

    (void)state;
    failing_malloc_run(protection, NULL);
    failing_malloc_run(same, NULL);
    failing_malloc_run(wrap, NULL);
    failing_malloc_run(record, NULL);
    assert_int_equal(mime_parse(SPAN_LIT(message), MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    failing_malloc_run(find_layer, tree);
    mime_tree_free(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_views),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
