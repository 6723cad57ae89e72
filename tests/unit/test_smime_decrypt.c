/* EnvelopedData and AuthEnvelopedData as OpenSSL makes them: what comes out, with which key, and what never does. */
#include "crypto/smime_decrypt.h"
#include "tests/unit/smime_open_world.h"

#define TEXT "Content-Type: text/plain\r\n\r\nxyzzy-canary\r\n"
#define CANARY "xyzzy-canary"

static struct world world;
static struct made root, stranger;
static const struct made *rsa[3], *ec[3];

static int set_up(void **state)
{
    (void)state;
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE"};
    static const char *const curves[] = {"P-256", "P-384", "P-521"};
    world_init(&world);
    root = made_certificate(&ca, NULL);
    for (int i = 0; i < 3; i++) {
        const struct made_wish by_rsa = {.name = "R", .rsa_bits = 2048 + 1024 * i};
        const struct made_wish by_ec = {.name = "E", .curve = curves[i]};
        rsa[i] = world_own(&world, made_certificate(&by_rsa, &root));
        ec[i] = world_own(&world, made_certificate(&by_ec, &root));
    }
    const struct made_wish other = {.name = "R", .rsa_bits = 2048};
    stranger = made_certificate(&other, &root);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    made_free(&root);
    made_free(&stranger);
    world_fini(&world);
    return 0;
}

static enum err decrypt(struct span cms, const char *session_key, struct buf *text, struct crypto_smime_opened *opened)
{
    const struct crypto_smime_how how = {
        .smime = session_key == NULL ? &world.smime : NULL, .takes_cbc = true, .session_key = session_key};
    buf_init_secret(text, WORLD_SIZE);
    return crypto_smime_decrypt(cms, &how, text, opened);
}

static void assert_text(struct span cms, const char *expected, bool is_authenticated, bool is_weak)
{
    struct crypto_smime_opened opened, again;
    struct buf text;
    assert_int_equal(decrypt(cms, NULL, &text, &opened), ERR_OK);
    assert_true(span_is_equal(buf_span(&text), span_of(expected)));
    assert_int_equal(opened.is_authenticated, is_authenticated);
    assert_int_equal(opened.is_weak, is_weak);
    buf_fini(&text);
    /* And once more with the key of the content alone. */
    assert_int_equal(decrypt(cms, opened.session_key, &text, &again), ERR_OK);
    assert_true(span_is_equal(buf_span(&text), span_of(expected)));
    assert_string_equal(again.session_key, opened.session_key);
    buf_fini(&text);
}

static void assert_nothing(struct span cms)
{
    struct crypto_smime_opened opened;
    struct buf text;
    assert_int_equal(decrypt(cms, NULL, &text, &opened), ERR_DECRYPT);
    assert_int_equal(text.len, 0);
    assert_string_equal(opened.session_key, "");
    buf_fini(&text);
}

static const struct {
    const char *name;
    bool is_authenticated, is_weak;
} ciphers[] = {
    {"AES-128-CBC", false, false}, {"AES-192-CBC", false, false}, {"AES-256-CBC", false, false},
    {"AES-128-GCM", true, false},  {"AES-192-GCM", true, false},  {"AES-256-GCM", true, false},
    {"DES-EDE3-CBC", false, true}, {"RC2-CBC", false, true},      {"RC2-64-CBC", false, true},
    {"RC2-40-CBC", false, true},
};

static void every_cipher_in_every_form(void **state)
{
    (void)state;
    static const unsigned forms[] = {0, CMS_STREAM, CMS_USE_KEYID, CMS_STREAM | CMS_USE_KEYID};
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
            const struct world_seal how = {.to = {rsa[0]}, .cipher = ciphers[i].name, .flags = forms[form]};
            struct buf der;
            world_seal(&how, span_of(TEXT), &der);
            assert_text(buf_span(&der), TEXT, ciphers[i].is_authenticated, ciphers[i].is_weak);
            buf_fini(&der);
        }
}

static void every_key_in_every_way(void **state)
{
    (void)state;
    static const char *const oaep[] = {NULL, "SHA1", "SHA256", "SHA512"};
    static const char *const kdf[] = {NULL, "SHA224", "SHA256", "SHA384", "SHA512"};
    static const char *const sizes[] = {"AES-128-CBC", "AES-192-CBC", "AES-256-GCM", "DES-EDE3-CBC"};
    struct buf der;
    for (size_t i = 0; i < 3; i++) {
        for (size_t way = 0; way < sizeof oaep / sizeof *oaep; way++) {
            world_seal(&(struct world_seal){.to = {rsa[i]}, .oaep = oaep[way]}, span_of(TEXT), &der);
            assert_text(buf_span(&der), TEXT, false, false);
            buf_fini(&der);
        }
        for (size_t way = 0; way < sizeof kdf / sizeof *kdf; way++)
            for (size_t size = 0; size < sizeof sizes / sizeof *sizes; size++) {
                const unsigned flags = way % 2 == 0 ? CMS_USE_KEYID : 0;
                const struct world_seal how = {.to = {ec[i]}, .kdf = kdf[way], .cipher = sizes[size], .flags = flags};
                world_seal(&how, span_of(TEXT), &der);
                assert_text(buf_span(&der), TEXT, size == 2, size == 3);
                buf_fini(&der);
            }
    }
}

static void texts_of_any_length(void **state)
{
    (void)state;
    char *text = malloc(100001);
    assert_non_null(text);
    static const size_t sizes[] = {1, 15, 16, 17, 1024, 99999, 100000};
    memset(text, 'x', 100000);
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        const struct world_seal how = {
            .to = {ec[0]}, .cipher = i % 2 == 0 ? "AES-128-GCM" : "AES-128-CBC", .flags = CMS_STREAM};
        struct crypto_smime_opened opened;
        struct buf der, small;
        const size_t size = sizes[i / 2];
        text[size] = '\0';
        world_seal(&how, span_of(text), &der);
        assert_text(buf_span(&der), text, i % 2 == 0, false);
        /* Where there is no room for it, nothing is added. */
        const struct crypto_smime_how take = {.smime = &world.smime, .takes_cbc = true};
        buf_init_secret(&small, size - 1);
        assert_int_equal(crypto_smime_decrypt(buf_span(&der), &take, &small, &opened), ERR_LIMIT);
        assert_int_equal(small.len, 0);
        buf_fini(&small);
        text[size] = 'x';
        buf_fini(&der);
    }
    free(text);
}

static void who_else_it_is_for_does_not_matter(void **state)
{
    (void)state;
    struct buf der;
    world_seal(&(struct world_seal){.to = {&stranger, ec[1], rsa[1]}}, span_of(TEXT), &der);
    assert_text(buf_span(&der), TEXT, false, false);
    buf_fini(&der);
    const unsigned used = world.used;
    world_seal(&(struct world_seal){.to = {&stranger}}, span_of(TEXT), &der);
    assert_nothing(buf_span(&der));
    /* No key is tried for another's certificate. */
    assert_int_equal(world.used, used);
    buf_fini(&der);
}

/* Who refuses a PIN, or gives a wrong one, is not asked again because a message names the key again. */
static void who_refused_is_not_asked_again(void **state)
{
    (void)state;
    const struct crypto_smime_how how = {.smime = &world.smime, .takes_cbc = true, .asks_person = true};
    struct crypto_smime_opened opened;
    struct buf der, text;
    world_seal(&(struct world_seal){.to = {rsa[0], rsa[0], rsa[0], rsa[0]}}, span_of(TEXT), &der);
    buf_init_secret(&text, WORLD_SIZE);
    world.is_locked = world.refuses = true;
    world.asked = 0;
    assert_int_equal(crypto_smime_decrypt(buf_span(&der), &how, &text, &opened), ERR_KEY_LOCKED);
    assert_int_equal(world.asked, 1);
    world.is_locked = world.refuses = false;
    buf_fini(&text);
    buf_fini(&der);
}

static void a_key_that_is_locked(void **state)
{
    (void)state;
    struct crypto_smime_how how = {.smime = &world.smime, .takes_cbc = true};
    struct crypto_smime_opened opened;
    struct buf der, text;
    world_seal(&(struct world_seal){.to = {&stranger, rsa[0]}}, span_of(TEXT), &der);
    buf_init_secret(&text, WORLD_SIZE);
    world.is_locked = true;
    assert_int_equal(crypto_smime_decrypt(buf_span(&der), &how, &text, &opened), ERR_KEY_LOCKED);
    assert_int_equal(text.len, 0);
    how.asks_person = true;
    assert_int_equal(crypto_smime_decrypt(buf_span(&der), &how, &text, &opened), ERR_OK);
    world.is_locked = false;
    world.is_empty = true;
    assert_nothing(buf_span(&der));
    world.is_empty = false;
    buf_fini(&text);
    buf_fini(&der);
}

/* One octet after the other is changed: of what is authenticated nothing comes out; else never what was encrypted under
   the name of something sound. */
static void every_changed_octet(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool is_gcm = i < 2;
        const struct world_seal how = {.to = {i % 2 == 0 ? rsa[0] : ec[0]},
                                       .cipher = is_gcm ? "AES-128-GCM" : "AES-128-CBC"};
        struct buf der;
        world_seal(&how, span_of(TEXT), &der);
        for (size_t at = 0; at < der.len; at++) {
            struct crypto_smime_opened opened;
            struct buf text;
            der.data[at] ^= 0x04;
            const enum err err = decrypt(buf_span(&der), NULL, &text, &opened);
            if (err == ERR_OK && is_gcm) /* a version, or an originator's algorithm: nobody asks */
                assert_string_equal(text.data, TEXT);
            else if (err == ERR_OK)
                assert_false(opened.is_authenticated);
            else
                assert_int_equal(text.len, 0);
            der.data[at] ^= 0x04;
            buf_fini(&text);
        }
        for (size_t len = 0; len < der.len; len++)
            assert_nothing(span_slice(buf_span(&der), 0, len));
        buf_fini(&der);
    }
}

/* ---- what OpenSSL would take ---- */

/* The first place of `octets` in `der`, which must have them. */
static char *find(const struct buf *der, const char *octets, size_t len)
{
    const size_t at = span_find(buf_span(der), 0, (struct span){octets, len});
    assert_true(at != SIZE_MAX);
    return der->data + at;
}

#define OID_GCM "\x60\x86\x48\x01\x65\x03\x04\x01\x06" /* aes128-GCM */
#define OID_CBC "\x60\x86\x48\x01\x65\x03\x04\x01\x02" /* aes128-CBC */
#define OID_AUTH "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17"

/* Changes a length that is written in two octets. */
static void grow(char *length, size_t more)
{
    const size_t value = ((size_t)(unsigned char)length[0] * 256 + (size_t)(unsigned char)length[1]) + more;
    assert_true(value <= 0xffff);
    length[0] = (char)(value >> 8);
    length[1] = (char)value;
}

/* A tag of 4 octets can be guessed. */
static void a_short_tag_is_refused(void **state)
{
    (void)state;
    struct buf der, cut;
    world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = "AES-128-GCM"}, span_of(TEXT), &der);
    assert_text(buf_span(&der), TEXT, true, false);
    /* mac OCTET STRING of 16 is the last item; each length above it is two octets. */
    char *mac = der.data + der.len - 18;
    assert_memory_equal(mac, "\x04\x10", 2);
    for (int size = 4; size < 16; size += 4) {
        buf_init(&cut, der.len);
        assert_int_equal(buf_add(&cut, der.data, der.len - 16 + (size_t)size), ERR_OK);
        cut.data[der.len - 17] = (char)size;
        char *icv = find(&cut, OID_GCM, 9) + 9 + 2 + 14;
        assert_memory_equal(icv, "\x02\x01\x10", 3);
        icv[2] = (char)size;
        char *const lengths[] = {cut.data + 2, find(&cut, OID_AUTH, 11) + 13, find(&cut, OID_AUTH, 11) + 17};
        for (size_t i = 0; i < 3; i++)
            grow(lengths[i], (size_t)size - 16);
        /* OpenSSL would show it: this is how such a thing is written. */
        const unsigned char *at = (const unsigned char *)cut.data;
        CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)cut.len);
        BIO *out = BIO_new(BIO_s_mem());
        assert_non_null(cms);
        assert_int_equal(CMS_decrypt(cms, rsa[0]->key, rsa[0]->certificate, NULL, out, 0), 1);
        CMS_ContentInfo_free(cms);
        BIO_free(out);
        assert_nothing(buf_span(&cut));
        buf_fini(&cut);
    }
    buf_fini(&der);
}

#define OID_ATTRIBUTE "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03" /* contentType, for want of a better */

/* One attribute whose value is an OCTET STRING, so long that all are `len` octets. */
static void make_attributes(size_t len, struct buf *out)
{
    const size_t values[] = {len - 4, len - 8 - 11, len - 12 - 11}; /* within SEQUENCE, SET and OCTET STRING */
    const char *const tags = "\x30\x31\x04";
    buf_init(out, len);
    for (size_t i = 0; i < 3; i++) {
        const char head[] = {tags[i], (char)0x82, (char)(values[i] >> 8), (char)values[i]};
        assert_int_equal(buf_add(out, head, sizeof head), ERR_OK);
        if (i == 0)
            assert_int_equal(buf_add(out, "\x06\x09" OID_ATTRIBUTE, 11), ERR_OK);
    }
    while (out->len < len)
        assert_int_equal(buf_add_byte(out, 'a'), ERR_OK);
}

/* `tag` of the text under `key` (hexadecimal) and `iv`, with `aad` authenticated. */
static void make_tag(const char *key, const char *iv, struct span aad, unsigned char tag[16])
{
    unsigned char octets[16], out[sizeof TEXT + 16];
    int len;
    for (size_t i = 0; i < 16; i++) {
        unsigned octet;
        assert_int_equal(sscanf(key + 2 * i, "%2X", &octet), 1);
        octets[i] = (unsigned char)octet;
    }
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, octets, (const unsigned char *)iv), 1);
    assert_int_equal(EVP_EncryptUpdate(context, NULL, &len, (const unsigned char *)aad.ptr, (int)aad.len), 1);
    assert_int_equal(EVP_EncryptUpdate(context, out, &len, (const unsigned char *)TEXT, (int)sizeof TEXT - 1), 1);
    assert_int_equal(EVP_EncryptFinal_ex(context, out + len, &len), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag), 1);
    EVP_CIPHER_CTX_free(context);
}

/* What OpenSSL makes has none; others authenticate attributes with the text (RFC 5083 §2.2). */
static void attributes_are_authenticated(void **state)
{
    (void)state;
    static const size_t sizes[] = {40, 127, 128, 255, 256, 5000};
    struct crypto_smime_opened opened;
    struct buf der, text;
    world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = "AES-128-GCM"}, span_of(TEXT), &der);
    assert_int_equal(decrypt(buf_span(&der), NULL, &text, &opened), ERR_OK);
    buf_fini(&text);
    const char *iv = find(&der, OID_GCM, 9) + 9 + 4;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct buf attributes, message;
        unsigned char tag[16];
        make_attributes(sizes[i], &attributes);
        /* The same items under two tags: in the message [1], where DER has its shortest length. */
        char head[4] = {(char)0xa1};
        int head_len = 1;
        if (sizes[i] > 0xff)
            head[head_len++] = (char)0x82, head[head_len++] = (char)(sizes[i] >> 8);
        else if (sizes[i] > 0x7f)
            head[head_len++] = (char)0x81;
        head[head_len++] = (char)sizes[i];
        buf_init(&message, der.len + 8 + 2 * sizes[i]);
        assert_int_equal(buf_add(&message, der.data, der.len - 18), ERR_OK);
        assert_int_equal(buf_add(&message, head, (size_t)head_len), ERR_OK);
        assert_int_equal(buf_add_span(&message, buf_span(&attributes)), ERR_OK);
        assert_int_equal(buf_add(&message, der.data + der.len - 18, 18), ERR_OK);
        grow(message.data + 2, (size_t)head_len + sizes[i]);
        grow(find(&message, OID_AUTH, 11) + 13, (size_t)head_len + sizes[i]);
        grow(find(&message, OID_AUTH, 11) + 17, (size_t)head_len + sizes[i]);
        /* The tag of the text alone does not do. */
        assert_nothing(buf_span(&message));
        head[0] = 0x31;
        buf_clear(&attributes);
        struct buf aad;
        buf_init(&aad, 8 + sizes[i]);
        assert_int_equal(buf_add(&aad, head, (size_t)head_len), ERR_OK);
        assert_int_equal(buf_add(&aad, message.data + message.len - 18 - sizes[i], sizes[i]), ERR_OK);
        make_tag(opened.session_key + strlen("smime:"), iv, buf_span(&aad), tag);
        memcpy(message.data + message.len - 16, tag, 16);
        assert_text(buf_span(&message), TEXT, true, false);
        message.data[message.len - 19] ^= 1; /* the last octet of the attribute */
        assert_nothing(buf_span(&message));
        buf_fini(&aad);
        buf_fini(&attributes);
        buf_fini(&message);
    }
    buf_fini(&der);
}

static void empty_texts(void **state)
{
    (void)state;
    struct buf der;
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++) {
        world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = ciphers[i].name}, SPAN_LIT(""), &der);
        assert_text(buf_span(&der), "", ciphers[i].is_authenticated, ciphers[i].is_weak);
        buf_fini(&der);
    }
}

/* Of other modes, whoever changes the message can choose what comes out. */
static void other_modes_are_refused(void **state)
{
    (void)state;
    static const char *const modes[] = {"AES-128-CFB", "AES-128-OFB", "DES-EDE3-CFB", "DES-CBC", "CAMELLIA-128-CBC"};
    struct buf der;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = modes[i]}, span_of(TEXT), &der);
        assert_nothing(buf_span(&der));
        buf_fini(&der);
    }
    /* CBC where it is said to be authenticated, and the other way round. */
    world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = "AES-128-CBC"}, span_of(TEXT), &der);
    find(&der, OID_CBC, 9)[8] = 0x06;
    assert_nothing(buf_span(&der));
    buf_fini(&der);
    world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = "AES-128-GCM"}, span_of(TEXT), &der);
    find(&der, OID_GCM, 9)[8] = 0x02;
    assert_nothing(buf_span(&der));
    buf_fini(&der);
}

static void cbc_only_where_it_may_be(void **state)
{
    (void)state;
    static const char *const names[] = {"AES-128-CBC", "AES-128-GCM"};
    const struct crypto_smime_how how = {.smime = &world.smime, .takes_cbc = false};
    for (size_t i = 0; i < 2; i++) {
        struct crypto_smime_opened opened;
        struct buf der, text;
        world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = names[i]}, span_of(TEXT), &der);
        buf_init_secret(&text, WORLD_SIZE);
        assert_int_equal(crypto_smime_decrypt(buf_span(&der), &how, &text, &opened), i == 0 ? ERR_DECRYPT : ERR_OK);
        buf_fini(&text);
        buf_fini(&der);
    }
}

/* A password, and a key that both have otherwise. */
static void passwords_are_seen(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        unsigned char *der = NULL;
        BIO *in = BIO_new_mem_buf(TEXT, -1);
        CMS_ContentInfo *cms = CMS_encrypt(NULL, in, EVP_aes_128_cbc(), CMS_BINARY | CMS_PARTIAL);
        assert_non_null(CMS_add1_recipient_cert(cms, rsa[0]->certificate, 0));
        if (i == 1)
            assert_non_null(CMS_add0_recipient_password(cms, -1, NID_undef, NID_undef,
                                                        (unsigned char *)OPENSSL_strdup("secret"), -1, NULL));
        if (i == 2)
            assert_non_null(CMS_add0_recipient_key(cms, NID_undef, (unsigned char *)OPENSSL_strdup("0123456789abcdef"),
                                                   16, (unsigned char *)OPENSSL_strdup("id"), 2, NULL, NULL, NULL));
        assert_int_equal(CMS_final(cms, in, NULL, CMS_BINARY), 1);
        const int len = i2d_CMS_ContentInfo(cms, &der);
        assert_true(len > 0);
        assert_int_equal(crypto_smime_has_password((struct span){(const char *)der, (size_t)len}), i > 0);
        OPENSSL_free(der);
        CMS_ContentInfo_free(cms);
        BIO_free(in);
    }
}

static void wrong_session_keys(void **state)
{
    (void)state;
    static const char *const wrong[] = {"9:00112233445566778899AABBCCDDEEFF",     "smime:",  "smime:0", "smime:00",
                                        "smime:00112233445566778899AABBCCDDEEFF", "smime:xx"};
    struct buf der;
    world_seal(&(struct world_seal){.to = {rsa[0]}, .cipher = "AES-128-GCM"}, span_of(TEXT), &der);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct crypto_smime_opened opened;
        struct buf text;
        assert_int_equal(decrypt(buf_span(&der), wrong[i], &text, &opened), ERR_DECRYPT);
        assert_int_equal(text.len, 0);
        buf_fini(&text);
    }
    buf_fini(&der);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cipher_in_every_form),
        cmocka_unit_test(every_key_in_every_way),
        cmocka_unit_test(texts_of_any_length),
        cmocka_unit_test(who_else_it_is_for_does_not_matter),
        cmocka_unit_test(who_refused_is_not_asked_again),
        cmocka_unit_test(a_key_that_is_locked),
        cmocka_unit_test(every_changed_octet),
        cmocka_unit_test(a_short_tag_is_refused),
        cmocka_unit_test(other_modes_are_refused),
        cmocka_unit_test(cbc_only_where_it_may_be),
        cmocka_unit_test(passwords_are_seen),
        cmocka_unit_test(wrong_session_keys),
        cmocka_unit_test(attributes_are_authenticated),
        cmocka_unit_test(empty_texts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
