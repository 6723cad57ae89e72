/* Mail by S/MIME from the outermost layer inwards: the verdict, the view, and the view made again without a key. */
#include "crypto/learnt.h"
#include "crypto/open.h"
#include "crypto/own.h"
#include "mime/encoding.h"
#include "mime/field.h"
#include "tests/unit/smime_open_world.h"

#include "base/base64.h"
#include "base/clock.h"

#define ALICE "alice@example.org"
#define FROM "From: Bob <bob@example.org>\r\nTo: " ALICE "\r\nSubject: outer\r\n"
#define TEXT "Content-Type: text/plain\r\n\r\nxyzzy-canary\r\n"
#define HTML                                                                                                           \
    "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8;"           \
    " format=flowed\r\n\r\nxyzzy-canary\r\n--x\r\nContent-Type: text/html\r\n\r\n<img src=\"http://mallory/\">\r\n"    \
    "--x--\r\n"

static struct world world;
static struct made root, middle, bob, mallory;
static const struct made *alice;
static char anchor_path[64];
static struct keyring_anchors *anchors;
static struct keyring *nobody;

static int set_up(void **state)
{
    (void)state;
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE"};
    const struct made_wish ca2 = {.name = "Middle", .basic = "critical,CA:TRUE"};
    const struct made_wish a = {.name = "Alice", .san = "email:" ALICE, .rsa_bits = 2048};
    const struct made_wish b = {.name = "Bob", .san = "email:bob@example.org"};
    root = made_certificate(&ca, NULL);
    middle = made_certificate(&ca2, &root);
    bob = made_certificate(&b, &middle);
    mallory = made_certificate(&b, NULL);
    anchors = made_anchors(root.certificate, anchor_path);
    clock_fix(MADE_NOW);
    return keyring_new(&nobody) == ERR_OK && (world_init(&world), true) &&
                   (alice = world_own(&world, made_certificate(&a, &root))) != NULL
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keyring_anchors_close(&anchors);
    keyring_free(&nobody);
    made_free(&root);
    made_free(&middle);
    made_free(&bob);
    made_free(&mallory);
    world_fini(&world);
    return unlink(anchor_path);
}

/* ---- making ---- */

static void wrap(const char *parameters, struct span der, struct buf *out)
{
    buf_init(out, WORLD_SIZE);
    assert_int_equal(buf_addf(out,
                              "Content-Type: application/pkcs7-mime; %s\r\nContent-Transfer-Encoding: base64\r\n\r\n",
                              parameters),
                     ERR_OK);
    assert_int_equal(base64_encode(der, out), ERR_OK);
    assert_int_equal(buf_add_string(out, "\r\n"), ERR_OK);
}

static struct buf encrypted_to(const struct made *to, const char *cipher, const char *text)
{
    struct buf der, out;
    world_seal(&(struct world_seal){.to = {to}, .cipher = cipher}, span_of(text), &der);
    wrap("smime-type=enveloped-data", buf_span(&der), &out);
    buf_fini(&der);
    return out;
}

static struct buf encrypted(const char *cipher, const char *text)
{
    return encrypted_to(alice, cipher, text);
}

/* `more`: a certificate to send along, or NULL. */
static struct buf signed_by(const struct made *signer, X509 *more, bool is_opaque, unsigned flags, const char *text)
{
    const unsigned all = CMS_BINARY | flags | (is_opaque ? 0 : CMS_DETACHED);
    STACK_OF(X509) *others = sk_X509_new_null();
    unsigned char *der = NULL;
    struct buf out, encoded;
    BIO *in = BIO_new_mem_buf(text, -1);
    if (more != NULL)
        sk_X509_push(others, more);
    CMS_ContentInfo *cms = CMS_sign(signer->certificate, signer->key, others, in, all);
    assert_non_null(cms);
    const int len = i2d_CMS_ContentInfo(cms, &der);
    assert_true(len > 0);
    const struct span bytes = {(const char *)der, (size_t)len};
    if (is_opaque) {
        wrap("smime-type=signed-data", bytes, &out);
    } else {
        buf_init(&out, WORLD_SIZE);
        buf_init(&encoded, WORLD_SIZE);
        assert_int_equal(base64_encode(bytes, &encoded), ERR_OK);
        assert_int_equal(buf_addf(&out,
                                  "Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; "
                                  "micalg=sha-256; boundary=s\r\n\r\npreamble\r\n--s\r\n%s\r\n--s\r\n"
                                  "Content-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: base64\r\n"
                                  "\r\n%s\r\n--s--\r\n",
                                  text, encoded.data),
                         ERR_OK);
        buf_fini(&encoded);
    }
    OPENSSL_free(der);
    CMS_ContentInfo_free(cms);
    sk_X509_free(others);
    BIO_free(in);
    return out;
}

/* ---- opening ---- */

struct mail {
    struct buf message, view;
    struct crypto_opened opened;
};

static void mail_fini(struct mail *mail)
{
    buf_fini(&mail->message);
    buf_fini(&mail->view);
    crypto_session_keys_fini(&mail->opened.session_keys);
    crypto_learnt_fini(&mail->opened.learnt);
}

/* The same bytes from what was decided, with no key, no anchor and no folder. */
static void open_again(const struct mail *mail)
{
    const struct crypto_open_options options = {.output_max = WORLD_SIZE,
                                                .layers_max = 8,
                                                .decided = &mail->opened.decision,
                                                .session_keys = &mail->opened.session_keys};
    struct crypto_opened opened;
    struct buf view;
    buf_init_secret(&view, WORLD_SIZE);
    assert_int_equal(crypto_open(NULL, &options, buf_span(&mail->message), &view, &opened), ERR_OK);
    assert_true(span_is_equal(buf_span(&view), buf_span(&mail->view)));
    assert_memory_equal(&opened.session_keys, &mail->opened.session_keys, sizeof opened.session_keys);
    assert_int_equal(opened.learnt.len, 0);
    buf_fini(&view);
}

static enum err try_open(const struct crypto_smime *smime, struct mail *mail)
{
    const struct crypto_open_options options = {
        .keyring = nobody, .smime = smime, .least = KEYRING_FOUND, .output_max = WORLD_SIZE, .layers_max = 8};
    buf_init_secret(&mail->view, WORLD_SIZE);
    return crypto_open(NULL, &options, buf_span(&mail->message), &mail->view, &mail->opened);
}

/* Opens `part`, which is wiped, as the whole of a message by Bob. */
static void open_part(struct buf part, struct mail *mail)
{
    buf_init(&mail->message, WORLD_SIZE);
    assert_int_equal(buf_addf(&mail->message, FROM "%s", part.data), ERR_OK);
    buf_fini(&part);
    world.smime.anchors = anchors;
    assert_int_equal(try_open(&world.smime, mail), ERR_OK);
    open_again(mail);
}

static void assert_verdict(const struct mail *mail, const char *expected)
{
    struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(crypto_verdict_format(&mail->opened.verdict, &text), ERR_OK);
    if (strstr(text.data, expected) == NULL)
        fail_msg("%s: wanted %s (%s)", text.data, expected, mail->opened.reason);
    buf_fini(&text);
}

static bool has(const struct mail *mail, const char *needle)
{
    return strstr(mail->view.data, needle) != NULL;
}

/* ---- integrity ---- */

static void gcm_is_sound(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-256-GCM", HTML), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=ok");
    assert_true(has(&mail, "multipart/alternative") && has(&mail, "text/html"));
    mail_fini(&mail);
}

static void cbc_alone_shows_text_and_attachments(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-128-CBC", HTML), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=none");
    assert_true(has(&mail, "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
                           "Content-Transfer-Encoding: 7bit\r\n\r\nxyzzy-canary\r\n--privyseal-"));
    assert_true(
        has(&mail, "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=part-2"));
    assert_false(has(&mail, "text/html") || has(&mail, "multipart/alternative"));
    assert_string_not_equal(mail.opened.reason, "");
    mail_fini(&mail);
    open_part(encrypted("AES-128-CBC", TEXT), &mail);
    assert_verdict(&mail, "integrity=none");
    assert_true(has(&mail, "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nxyzzy-canary\r\n"));
    mail_fini(&mail);
}

static void a_part_stands_alone(const char *text, const char *shown)
{
    struct mail mail;
    open_part(encrypted("AES-128-CBC", text), &mail);
    if (!has(&mail, shown))
        fail_msg("%s\nin\n%s", shown, mail.view.data);
    assert_false(has(&mail, "text/html") || has(&mail, "image/") || has(&mail, "message/rfc822"));
    mail_fini(&mail);
}

static void what_may_not_be_shown_is_saved(void **state)
{
    (void)state;
    static const char saved[] = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=";
    struct buf shown;
    buf_init(&shown, 4096);
    static const struct {
        const char *text, *name;
    } rows[] = {
        {"Content-Type: text/html\r\n\r\n<b>\r\n", "part-1\r\n"},
        {"Content-Type: image/png; name=\"a b.png\"\r\n\r\nx\r\n", "\"a b.png\"\r\n"},
        {"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nx\r\n", "a.txt\r\n"},
        {"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\nx\r\n", "part-1.eml\r\n"},
        {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n", "part-1\r\n"},
        {"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-odd\r\n\r\nx\r\n", "part-1\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i == 3 || i == 4) { /* the type of what is saved stands in its own bytes */
            struct mail mail;
            open_part(encrypted("AES-128-CBC", rows[i].text), &mail);
            assert_true(has(&mail, rows[i].name));
            mail_fini(&mail);
            continue;
        }
        buf_clear(&shown);
        assert_int_equal(buf_addf(&shown, "%s%s", saved, rows[i].name), ERR_OK);
        a_part_stands_alone(rows[i].text, shown.data);
    }
    buf_fini(&shown);
    /* Nothing of a header inside becomes one outside. */
    a_part_stands_alone(
        "Content-Type: text/plain; charset=\"a\\\"b\"; x=\"\r\n y\"\r\nContent-Base: http://mallory/\r\n\r\nx\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n");
}

/* A signature over all of it proves what the cipher does not; and that alone is shown. */
static void cbc_around_a_good_signature_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, i == 1, 0, HTML);
        open_part(encrypted("AES-256-CBC", inner.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
        assert_true(has(&mail, "multipart/alternative") && has(&mail, "text/html"));
        assert_false(has(&mail, "preamble") || has(&mail, "pkcs7"));
        mail_fini(&mail);
        buf_fini(&inner);
    }
}

static void cbc_around_any_other_signature_is_not(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&mallory, NULL, i == 1, 0, HTML), beside;
        open_part(encrypted("AES-256-CBC", inner.data), &mail);
        assert_verdict(&mail, "signature=untrusted; signer=bob@example.org; trust=unverified; encryption=smime; "
                              "integrity=none");
        assert_false(has(&mail, "text/html"));
        assert_true(has(&mail, "xyzzy-canary"));
        mail_fini(&mail);
        buf_fini(&inner);
        /* A good one of a part. */
        inner = signed_by(&bob, middle.certificate, i == 1, 0, HTML);
        buf_init(&beside, WORLD_SIZE);
        assert_int_equal(
            buf_addf(&beside, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n%s\r\n--m--\r\n", inner.data),
            ERR_OK);
        open_part(encrypted("AES-256-CBC", beside.data), &mail);
        assert_verdict(&mail, "signature=partial; encryption=smime; integrity=none");
        assert_false(has(&mail, "Content-Type: text/html\r\nContent-Tr"));
        mail_fini(&mail);
        buf_fini(&beside);
        buf_fini(&inner);
    }
}

static void weak_ciphers_say_so(void **state)
{
    (void)state;
    static const char *const names[] = {"DES-EDE3-CBC", "RC2-40-CBC"};
    for (size_t i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, true, 0, HTML);
        open_part(encrypted(names[i], inner.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=none");
        assert_true(has(&mail, "text/html"));
        assert_non_null(strstr(mail.opened.reason, "weak"));
        mail_fini(&mail);
        buf_fini(&inner);
    }
}

/* ---- layers ---- */

static void triple_wrap(void **state)
{
    (void)state;
    static const char *const names[] = {"AES-128-CBC", "AES-128-GCM"};
    for (size_t i = 0; i < 4; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, i % 2 == 0, 0, HTML);
        struct buf between = encrypted(names[i / 2], inner.data);
        open_part(signed_by(&bob, middle.certificate, i % 2 == 1, 0, between.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
        assert_true(has(&mail, "text/html"));
        mail_fini(&mail);
        buf_fini(&inner);
        buf_fini(&between);
    }
}

/* A signature outside does not prove what the cipher inside gives. */
static void encrypted_within_signed(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = encrypted("AES-128-CBC", HTML);
    open_part(signed_by(&bob, middle.certificate, true, 0, inner.data), &mail);
    assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=none");
    assert_false(has(&mail, "text/html"));
    mail_fini(&mail);
    buf_fini(&inner);
}

static void cbc_lies_in_nothing_but_signatures(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = signed_by(&bob, middle.certificate, true, 0, TEXT),
               between = encrypted("AES-128-CBC", inner.data);
    open_part(encrypted("AES-128-GCM", between.data), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=ok");
    assert_true(has(&mail, "application/pkcs7-mime"));
    assert_int_equal(mail.opened.decision.layers, 1);
    mail_fini(&mail);
    buf_fini(&between);
    between = encrypted("AES-128-GCM", inner.data);
    open_part(encrypted("AES-128-GCM", between.data), &mail);
    assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
    mail_fini(&mail);
    buf_fini(&between);
    buf_fini(&inner);
}

static void the_header_inside_counts(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = signed_by(&bob, middle.certificate, true, 0,
                                 "From: Bob <bob@example.org>\r\nSubject: inner\r\nHP-Outer: Subject: outer\r\n"
                                 "Content-Type: text/plain; hp=\"cipher\"\r\n\r\nxyzzy-canary\r\n");
    open_part(encrypted("AES-256-CBC", inner.data), &mail);
    assert_verdict(&mail, "signature=good");
    assert_true(has(&mail, "Subject: inner\r\n") && !has(&mail, "Subject: outer"));
    mail_fini(&mail);
    buf_fini(&inner);
}

static void beside_other_parts_it_stays_closed(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = encrypted("AES-256-GCM", TEXT), outer;
    for (int i = 0; i < 2; i++) {
        buf_init(&outer, WORLD_SIZE);
        assert_int_equal(
            buf_addf(&outer, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n%s\r\n--m--\r\n", inner.data),
            ERR_OK);
        open_part(outer, &mail);
        /* What it is, its content says: the type is the same in both. */
        assert_verdict(&mail, i == 0 ? "signature=none; encryption=partial" : "signature=partial; encryption=none");
        assert_false(has(&mail, "xyzzy"));
        mail_fini(&mail);
        buf_fini(&inner);
        inner = signed_by(&bob, NULL, true, 0, TEXT);
        memcpy(strstr(inner.data, "signed-data"), "other-thing", 11);
    }
    buf_fini(&inner);
}

/* ---- what cannot be opened ---- */

static void assert_shown_as_it_came(const struct mail *mail)
{
    assert_verdict(mail, "encryption=failed");
    const char *body = strstr(mail->message.data, "\r\n\r\n");
    assert_non_null(strstr(mail->view.data, body));
    assert_false(has(mail, "xyzzy"));
}

static void all_failures_look_alike(void **state)
{
    (void)state;
    char first[128] = "";
    for (int i = 0; i < 4; i++) {
        struct mail mail;
        struct buf part = encrypted_to(i == 0 ? &bob : alice, i == 3 ? "AES-128-CFB" : "AES-128-GCM", TEXT);
        world.is_empty = i == 1;
        if (i == 2)
            part.data[part.len - 12] ^= 1;
        open_part(part, &mail);
        world.is_empty = false;
        assert_shown_as_it_came(&mail);
        if (i == 0)
            assert_true(span_copy(span_of(mail.opened.reason), first, sizeof first));
        assert_string_equal(mail.opened.reason, first);
        mail_fini(&mail);
    }
}

static void a_locked_key_is_not_a_verdict(void **state)
{
    (void)state;
    struct mail mail;
    struct buf part = encrypted("AES-128-GCM", TEXT);
    buf_init(&mail.message, WORLD_SIZE);
    assert_int_equal(buf_addf(&mail.message, FROM "%s", part.data), ERR_OK);
    world.is_locked = true;
    assert_int_equal(try_open(&world.smime, &mail), ERR_KEY_LOCKED);
    world.is_locked = false;
    assert_int_equal(mail.view.len, 0);
    mail_fini(&mail);
    buf_fini(&part);
}

/* Of an own view nothing is shown if the key of its content is another one. */
static void another_session_key_shows_nothing(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-128-CBC", TEXT), &mail);
    char *digit = &mail.opened.session_keys.keys[0][10];
    *digit = *digit == 'A' ? 'B' : 'A';
    const struct crypto_open_options options = {.output_max = WORLD_SIZE,
                                                .layers_max = 8,
                                                .decided = &mail.opened.decision,
                                                .session_keys = &mail.opened.session_keys};
    struct crypto_opened opened;
    buf_clear(&mail.view);
    assert_int_equal(crypto_open(NULL, &options, buf_span(&mail.message), &mail.view, &opened), ERR_DECRYPT);
    assert_int_equal(mail.view.len, 0);
    mail_fini(&mail);
}

/* ---- own copies ---- */

static void own_copies_come_back(void **state)
{
    (void)state;
    static const char saved[] = "From: a\r\nX: y\r\n\r\nas it was saved\r\n";
    struct mime_pieces payload;
    struct buf outer, whole, inner;
    buf_init(&outer, WORLD_SIZE);
    buf_init(&whole, WORLD_SIZE);
    mime_pieces_init(&payload);
    assert_int_equal(crypto_own_wrap(span_of(saved), &payload, &outer), ERR_OK);
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(buf_add_span(&whole, payload.items[i].bytes), ERR_OK);
    for (int i = 0; i < 6; i++) {
        const bool is_own = i < 4;
        struct mail mail;
        inner = signed_by(is_own ? alice : &bob, middle.certificate, i % 2 == 1, 0, whole.data);
        open_part(encrypted(i < 2 ? "AES-256-GCM" : "AES-256-CBC", inner.data), &mail);
        assert_int_equal(mail.opened.decision.is_own, is_own);
        if (is_own)
            assert_string_equal(mail.view.data, saved);
        mail_fini(&mail);
        buf_fini(&inner);
    }
    /* The mark alone, and under a signature that anybody could read: nothing of the kind. */
    struct mail mail;
    open_part(encrypted("AES-256-GCM", whole.data), &mail);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    open_part(signed_by(alice, NULL, true, 0, whole.data), &mail);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    mime_pieces_fini(&payload);
    buf_fini(&outer);
    buf_fini(&whole);
}

/* ---- what is learnt ---- */

static void certificates_of_good_signers_are_kept(void **state)
{
    (void)state;
    struct mail mail;
    char fingerprint[KEYRING_FPR_SIZE], issuer[KEYRING_FPR_SIZE];
    const struct keyring_certificate *found;
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(middle.certificate, issuer), ERR_OK);
    /* Without its issuer it leads nowhere. */
    open_part(signed_by(&bob, NULL, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=untrusted");
    assert_int_equal(mail.opened.learnt.len, 0);
    mail_fini(&mail);
    open_part(signed_by(&mallory, middle.certificate, false, 0, TEXT), &mail);
    assert_int_equal(mail.opened.learnt.len, 0);
    mail_fini(&mail);
    open_part(signed_by(&bob, middle.certificate, false, CMS_NOSMIMECAP, TEXT), &mail);
    assert_verdict(&mail, "signature=good");
    assert_int_equal(mail.opened.learnt.len, 2);
    crypto_learnt_keep(&mail.opened.learnt, world.certificates, MADE_NOW);
    mail_fini(&mail);
    assert_non_null(found = keyring_certificates_find(world.certificates, fingerprint));
    assert_int_equal(found->source, KEYRING_SOURCE_MAIL);
    assert_false(found->takes_gcm);
    assert_non_null(keyring_certificates_find(world.certificates, issuer));
    /* What was seen then closes the chain now. */
    open_part(signed_by(&bob, NULL, false, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=good");
    mail_fini(&mail);
    assert_int_equal(keyring_certificates_remove(world.certificates, issuer), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

/* A signature that says its owner's programs read `algorithm`. */
static struct buf signed_with_capability(int algorithm)
{
    struct buf out;
    unsigned char *der = NULL;
    STACK_OF(X509_ALGOR) *capabilities = NULL;
    BIO *in = BIO_new_mem_buf(TEXT, -1);
    const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP;
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, CMS_BINARY | CMS_PARTIAL);
    CMS_SignerInfo *signer = CMS_add1_signer(cms, bob.certificate, bob.key, EVP_sha256(), flags);
    assert_int_equal(CMS_add_simple_smimecap(&capabilities, algorithm, -1), 1);
    assert_int_equal(CMS_add_smimecap(signer, capabilities), 1);
    assert_int_equal(CMS_add1_cert(cms, middle.certificate), 1);
    assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
    const int len = i2d_CMS_ContentInfo(cms, &der);
    wrap("smime-type=signed-data", (struct span){(const char *)der, (size_t)len}, &out);
    OPENSSL_free(der);
    sk_X509_ALGOR_pop_free(capabilities, X509_ALGOR_free);
    CMS_ContentInfo_free(cms);
    BIO_free(in);
    return out;
}

static void keep_capability(int algorithm, int64_t made, bool expected)
{
    struct mail mail;
    char fingerprint[KEYRING_FPR_SIZE];
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    open_part(signed_with_capability(algorithm), &mail);
    assert_int_equal(mail.opened.learnt.len, 2);
    mail.opened.learnt.items[0].made = made;
    crypto_learnt_keep(&mail.opened.learnt, world.certificates, MADE_NOW);
    assert_int_equal(keyring_certificates_find(world.certificates, fingerprint)->takes_gcm, expected);
    mail_fini(&mail);
}

static void capabilities_follow_the_newest_mail(void **state)
{
    (void)state;
    char fingerprint[KEYRING_FPR_SIZE];
    const struct keyring_certificate *found;
    struct keyring_certificate entry = {
        .certificate = bob.certificate, .source = KEYRING_SOURCE_IMPORT, .key_place = "store", .seen = MADE_NOW - 100};
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    keep_capability(NID_aes_256_gcm, MADE_NOW - 200, false); /* older than what is known */
    keep_capability(NID_aes_256_gcm, MADE_NOW + 200, false); /* of the future */
    keep_capability(NID_aes_256_gcm, MADE_NOW - 50, true);
    keep_capability(NID_aes_256_cbc, MADE_NOW - 60, true);
    keep_capability(NID_aes_256_cbc, MADE_NOW - 40, false);
    /* Where it came from, and where its key is, stays. */
    assert_non_null(found = keyring_certificates_find(world.certificates, fingerprint));
    assert_int_equal(found->source, KEYRING_SOURCE_IMPORT);
    assert_string_equal(found->key_place, "store");
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
    keep_capability(NID_aes_256_gcm, MADE_NOW - 50, true);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

/* ---- revocation ---- */

static enum err answer;
static bool answer_is_unknown;
static int asked;

static enum err ask(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)at;
    assert_int_equal(X509_cmp(sk_X509_value(chain, 0), bob.certificate), 0);
    assert_int_equal(sk_X509_num(chain), 3);
    asked++;
    *is_unknown_out = answer_is_unknown;
    return answer;
}

static void what_is_revoked_is_never_good(void **state)
{
    (void)state;
    static const struct {
        enum err answer;
        bool is_unknown;
        const char *verdict;
        bool has_reason;
    } rows[] = {{ERR_OK, false, "signature=good; signer=bob@example.org; trust=full", false},
                {ERR_OK, true, "signature=good; signer=bob@example.org; trust=full", true},
                {ERR_REVOKED, false, "signature=revoked", true},
                {ERR_LOOKUP, false, "signature=untrusted; signer=bob@example.org; trust=unverified", true},
                {ERR_TIMEOUT, false, "signature=untrusted", true}};
    world.smime.revocation = ask;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mail mail;
        answer = rows[i].answer;
        answer_is_unknown = rows[i].is_unknown;
        asked = 0;
        open_part(signed_by(&bob, middle.certificate, true, 0, TEXT), &mail);
        assert_int_equal(asked, 1); /* not when the view is made again */
        assert_verdict(&mail, rows[i].verdict);
        assert_int_equal(mail.opened.reason[0] != '\0', rows[i].has_reason);
        assert_int_equal(mail.opened.learnt.len, rows[i].answer == ERR_OK ? 2 : 0);
        assert_true(has(&mail, "xyzzy-canary"));
        mail_fini(&mail);
    }
    /* Nobody is asked about what is not good anyway. */
    struct mail mail;
    asked = 0;
    open_part(signed_by(&mallory, NULL, true, 0, TEXT), &mail);
    assert_int_equal(asked, 0);
    mail_fini(&mail);
    world.smime.revocation = NULL;
    /* What is known already. */
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_certificate entry = {.certificate = bob.certificate, .revoked = MADE_NOW - 1};
    assert_int_equal(keyring_certificates_put(world.certificates, &entry), ERR_OK);
    open_part(signed_by(&bob, middle.certificate, true, 0, TEXT), &mail);
    assert_verdict(&mail, "signature=revoked");
    mail_fini(&mail);
    assert_int_equal(keyring_x509_fingerprint(bob.certificate, fingerprint), ERR_OK);
    assert_int_equal(keyring_certificates_remove(world.certificates, fingerprint), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_is_sound),
        cmocka_unit_test(cbc_alone_shows_text_and_attachments),
        cmocka_unit_test(what_may_not_be_shown_is_saved),
        cmocka_unit_test(cbc_around_a_good_signature_is_sound),
        cmocka_unit_test(cbc_around_any_other_signature_is_not),
        cmocka_unit_test(weak_ciphers_say_so),
        cmocka_unit_test(triple_wrap),
        cmocka_unit_test(encrypted_within_signed),
        cmocka_unit_test(cbc_lies_in_nothing_but_signatures),
        cmocka_unit_test(the_header_inside_counts),
        cmocka_unit_test(beside_other_parts_it_stays_closed),
        cmocka_unit_test(all_failures_look_alike),
        cmocka_unit_test(a_locked_key_is_not_a_verdict),
        cmocka_unit_test(another_session_key_shows_nothing),
        cmocka_unit_test(own_copies_come_back),
        cmocka_unit_test(certificates_of_good_signers_are_kept),
        cmocka_unit_test(capabilities_follow_the_newest_mail),
        cmocka_unit_test(what_is_revoked_is_never_good),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
