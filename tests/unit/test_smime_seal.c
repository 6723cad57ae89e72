/* S/MIME that leaves: its layers as OpenSSL itself reads them, with which algorithms, and nothing plain when it fails.
 */
#include "tests/unit/smime_world.h"

#include "crypto/smime.h"
#include "mime/encoding.h"

#define CANARY "xyzzy-canary"
#define BODY_TEXT "Hello " CANARY ",\r\n=20 trailing \r\nFrom here\r\n"
#define MESSAGE                                                                                                        \
    "From: Alice <alice@example.org>\r\nTo: Bob <bob@example.org>\r\nBcc: Zoe <zoe@example.org>\r\n"                   \
    "Subject: [encrypt] " CANARY "\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"        \
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" BODY_TEXT

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

/* As it was at the beginning, whatever a test before changed. */
static int reset(void **state)
{
    (void)state;
    world.smime = (struct crypto_smime){.anchors = world.anchors,
                                        .certificates = world.smime.certificates,
                                        .private_key = smime_world_key,
                                        .context = &world,
                                        .content = CRYPTO_SMIME_CBC};
    world.key_answer = world.revocation_answer = ERR_OK;
    world.is_unknown = world.asked_person = false;
    world.asked = world.asked_chain = 0;
    world.revoked = NULL;
    for (size_t i = 0; i < SMIME_WHO_COUNT; i++)
        smime_world_put(&world, (enum smime_who)i, false);
    return 0;
}

static bool has(struct span text, const char *needle)
{
    return span_find(text, 0, span_of(needle)) != SIZE_MAX;
}

static struct span body_of(struct span entity)
{
    size_t at = span_find(entity, 0, SPAN_LIT("\r\n\r\n"));
    assert_true(at != SIZE_MAX);
    return span_skip(entity, at + 4);
}

static CMS_ContentInfo *cms_of(struct span base64)
{
    struct buf der;
    buf_init(&der, base64.len);
    assert_int_equal(mime_decode(MIME_BASE64, base64, &der), ERR_OK);
    const unsigned char *at = (const unsigned char *)der.data;
    CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)der.len);
    assert_non_null(cms);
    assert_ptr_equal(at, der.data + der.len);
    buf_fini(&der);
    return cms;
}

static void add_bio(BIO *bio, struct buf *out)
{
    char *bytes;
    long len = BIO_get_mem_data(bio, &bytes);
    assert_int_equal(buf_add(out, bytes, (size_t)len), ERR_OK);
    BIO_free(bio);
}

/* The text out of `entity`, as `who` decrypts it; `type` is what it must be. */
static void decrypt(struct span entity, enum smime_who who, int type, struct buf *text)
{
    CMS_ContentInfo *cms = cms_of(body_of(entity));
    BIO *out = BIO_new(BIO_s_mem());
    assert_int_equal(OBJ_obj2nid(CMS_get0_type(cms)), type);
    assert_int_equal(CMS_decrypt(cms, world.made[who].key, world.made[who].certificate, NULL, out, 0), 1);
    CMS_ContentInfo_free(cms);
    add_bio(out, text);
}

/* One signer, whose certificate and the issuer between (no root) are there; `text` gets what is signed. */
static void verify(CMS_ContentInfo *cms, const struct span *content, enum smime_who who, struct buf *text)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, world.root.certificate);
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), MADE_NOW);
    BIO *in = content == NULL ? NULL : BIO_new_mem_buf(content->ptr, (int)content->len);
    BIO *out = BIO_new(BIO_s_mem());
    assert_int_equal(CMS_verify(cms, NULL, store, in, out, CMS_BINARY | CMS_CADES), 1);
    STACK_OF(X509) *certificates = CMS_get1_certs(cms);
    assert_int_equal(sk_X509_num(certificates), 2);
    STACK_OF(X509) *signers = CMS_get0_signers(cms);
    assert_int_equal(sk_X509_num(signers), 1);
    assert_int_equal(X509_cmp(sk_X509_value(signers, 0), world.made[who].certificate), 0);
    for (int i = 0; i < 2; i++)
        assert_int_not_equal(X509_cmp(sk_X509_value(certificates, i), world.root.certificate), 0);
    sk_X509_pop_free(certificates, X509_free);
    sk_X509_free(signers);
    X509_STORE_free(store);
    BIO_free(in);
    add_bio(out, text);
}

/* Splits multipart/signed; the signature is the caller's. */
static CMS_ContentInfo *take_parts(struct span entity, struct span *content_out, struct span *signature_out)
{
    size_t at = span_find(entity, 0, SPAN_LIT("boundary=\"")) + 10;
    struct span boundary = span_slice(entity, at, span_find_byte(entity, at, '"'));
    struct buf line;
    buf_init(&line, 200);
    assert_int_equal(buf_addf(&line, "\r\n--%.*s\r\n", (int)boundary.len, boundary.ptr), ERR_OK);
    size_t first = span_find(entity, 0, buf_span(&line)) + line.len;
    size_t second = span_find(entity, first, buf_span(&line));
    assert_true(second != SIZE_MAX && second > first);
    *content_out = span_slice(entity, first, second);
    struct span part = span_skip(entity, second + line.len);
    assert_true(has(part, "Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\n"));
    struct span body = body_of(part);
    *signature_out = span_slice(body, 0, span_find(body, 0, SPAN_LIT("\r\n--")));
    CMS_ContentInfo *cms = cms_of(*signature_out);
    buf_fini(&line);
    return cms;
}

static void assert_algorithm(CMS_ContentInfo *cms, int hash, int signature)
{
    X509_ALGOR *digest, *algorithm;
    const ASN1_OBJECT *name;
    CMS_SignerInfo *signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(cms), 0);
    CMS_SignerInfo_get0_algs(signer, NULL, NULL, &digest, &algorithm);
    X509_ALGOR_get0(&name, NULL, NULL, digest);
    assert_int_equal(OBJ_obj2nid(name), hash);
    const void *value;
    int type;
    X509_ALGOR_get0(&name, &type, &value, algorithm);
    assert_int_equal(OBJ_obj2nid(name), signature);
    if (signature == NID_rsassaPss) {
        const ASN1_STRING *sequence = value;
        const unsigned char *at = ASN1_STRING_get0_data(sequence);
        RSA_PSS_PARAMS *parameters = d2i_RSA_PSS_PARAMS(NULL, &at, ASN1_STRING_length(sequence));
        assert_int_equal(ASN1_INTEGER_get(parameters->saltLength), 32);
        X509_ALGOR_get0(&name, NULL, NULL, parameters->hashAlgorithm);
        assert_int_equal(OBJ_obj2nid(name), NID_sha256);
        RSA_PSS_PARAMS_free(parameters);
    }
    static const int attributes[] = {NID_pkcs9_contentType, NID_pkcs9_messageDigest, NID_pkcs9_signingTime,
                                     NID_SMIMECapabilities, NID_id_smime_aa_signingCertificateV2};
    assert_int_equal(CMS_signed_get_attr_count(signer), 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(CMS_signed_get_attr_by_NID(signer, attributes[i], -1) >= 0);
    const ASN1_TIME *time = CMS_signed_get0_data_by_OBJ(signer, OBJ_nid2obj(NID_pkcs9_signingTime), -3, V_ASN1_UTCTIME);
    assert_non_null(time);
    assert_int_equal(ASN1_TIME_cmp_time_t(time, MADE_NOW), 0);
    assert_int_equal(CMS_unsigned_get_attr_count(signer), -1);
}

/* What privyseal itself says of the signature in base64. */
static void assert_good(struct span base64, struct span content, bool is_inside)
{
    const struct crypto_smime reader = {.anchors = world.anchors};
    struct crypto_learnt learnt = {0};
    struct crypto_smime_verified verified;
    struct keyring *certificates;
    struct buf der, text;
    buf_init(&der, base64.len);
    buf_init(&text, 1 << 20);
    assert_int_equal(mime_decode(MIME_BASE64, base64, &der), ERR_OK);
    assert_int_equal(keyring_new(&certificates), ERR_OK);
    if (is_inside)
        assert_int_equal(crypto_smime_signed_text(buf_span(&der), &text), ERR_OK);
    assert_true(!is_inside || span_is_equal(buf_span(&text), content));
    assert_int_equal(
        crypto_smime_verify(&reader, buf_span(&der), content, is_inside, MADE_NOW, certificates, &learnt, &verified),
        ERR_OK);
    assert_int_equal(verified.len, 1);
    assert_int_equal(verified.signatures[0].state, CRYPTO_SIG_GOOD);
    assert_int_equal(verified.signatures[0].made, MADE_NOW);
    crypto_learnt_fini(&learnt);
    keyring_free(&certificates);
    buf_fini(&der);
    buf_fini(&text);
}

static void seal(const struct smime_wish *wish, struct buf *out)
{
    buf_init(out, 1 << 22);
    assert_int_equal(smime_world_seal(&world, wish, SPAN_LIT(MESSAGE), out), ERR_OK);
}

static void assert_fails(const struct smime_wish *wish, enum err expected)
{
    struct buf out;
    buf_init(&out, 1 << 22);
    assert_int_equal(smime_world_seal(&world, wish, SPAN_LIT(MESSAGE), &out), expected);
    assert_false(has(buf_span(&out), CANARY));
    buf_fini(&out);
}

/* What the payload holds, whatever lies around it. */
static void assert_payload(struct span payload, const char *hp)
{
    assert_true(has(payload, "Subject: " CANARY "\r\n"));
    assert_true(has(payload, hp));
    assert_true(has(payload, "Hello " CANARY));
    assert_false(has(payload, "zoe@"));
    assert_false(has(payload, "[encrypt]"));
}

static const struct {
    enum smime_who who;
    bool is_pss;
    const char *micalg;
    int hash, signature;
} kinds[] = {{SMIME_RSA, false, "micalg=sha-256;", NID_sha256, NID_rsaEncryption},
             {SMIME_RSA, true, "micalg=sha-256;", NID_sha256, NID_rsassaPss},
             {SMIME_P256, true, "micalg=sha-256;", NID_sha256, NID_ecdsa_with_SHA256},
             {SMIME_P384, false, "micalg=sha-384;", NID_sha384, NID_ecdsa_with_SHA384}};

static void signed_beside_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN, .signer = kinds[i].who};
        struct buf sealed, text;
        struct span content, signature;
        world.smime.is_pss = kinds[i].is_pss;
        seal(&wish, &sealed);
        assert_true(has(buf_span(&sealed), kinds[i].micalg));
        assert_true(has(buf_span(&sealed), "protocol=\"application/pkcs7-signature\""));
        assert_true(has(buf_span(&sealed), "Subject: " CANARY "\r\n"));
        assert_false(has(buf_span(&sealed), "zoe@"));
        CMS_ContentInfo *cms = take_parts(buf_span(&sealed), &content, &signature);
        assert_int_equal(CMS_is_detached(cms), 1);
        buf_init(&text, 1 << 20);
        verify(cms, &content, kinds[i].who, &text);
        assert_payload(content, "hp=\"clear\"");
        assert_good(signature, content, false);
        assert_algorithm(cms, kinds[i].hash, kinds[i].signature);
        CMS_ContentInfo_free(cms);
        buf_fini(&text);
        buf_fini(&sealed);
    }
    assert_true(world.asked_person);
}

static void signed_with_the_text_inside(void **state)
{
    (void)state;
    world.smime.is_opaque = true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN, .signer = kinds[i].who, .is_quiet = true};
        struct buf sealed, text;
        world.smime.is_pss = kinds[i].is_pss;
        seal(&wish, &sealed);
        assert_true(has(buf_span(&sealed), "Content-Type: application/pkcs7-mime; smime-type=signed-data; "
                                           "name=\"smime.p7m\"\r\n"));
        CMS_ContentInfo *cms = cms_of(body_of(buf_span(&sealed)));
        buf_init(&text, 1 << 20);
        verify(cms, NULL, kinds[i].who, &text);
        assert_payload(buf_span(&text), "hp=\"clear\"");
        assert_algorithm(cms, kinds[i].hash, kinds[i].signature);
        assert_good(body_of(buf_span(&sealed)), buf_span(&text), true);
        CMS_ContentInfo_free(cms);
        buf_fini(&text);
        buf_fini(&sealed);
    }
    assert_false(world.asked_person);
}

static void assert_outside(struct span sealed)
{
    assert_true(has(sealed, "Subject: [...]\r\n"));
    assert_false(has(sealed, CANARY));
    assert_false(has(sealed, "zoe@"));
}

/* Signed, either way, and encrypted, either way, for two with keys of either kind. */
static void signed_and_encrypted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        const struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                                        .signer = SMIME_RSA,
                                        .to = {SMIME_BOB, SMIME_CURVE, SMIME_P384},
                                        .to_len = 3};
        bool is_gcm = (i & 2) != 0;
        struct buf sealed, inner, text;
        world.smime.is_opaque = (i & 1) != 0;
        world.smime.content = is_gcm ? CRYPTO_SMIME_GCM : CRYPTO_SMIME_CBC;
        world.smime.is_oaep = (i & 4) != 0;
        world.smime.is_compressed = (i & 8) != 0;
        seal(&wish, &sealed);
        assert_outside(buf_span(&sealed));
        assert_true(has(buf_span(&sealed), is_gcm ? "smime-type=authEnveloped-data" : "smime-type=enveloped-data"));
        for (size_t j = 0; j < wish.to_len; j++) {
            struct span content, signature;
            buf_init(&inner, 1 << 20);
            buf_init(&text, 1 << 20);
            decrypt(buf_span(&sealed), wish.to[j], is_gcm ? NID_id_smime_ct_authEnvelopedData : NID_pkcs7_enveloped,
                    &inner);
            CMS_ContentInfo *cms = world.smime.is_opaque ? cms_of(body_of(buf_span(&inner)))
                                                         : take_parts(buf_span(&inner), &content, &signature);
            verify(cms, world.smime.is_opaque ? NULL : &content, SMIME_RSA, &text);
            if (world.smime.is_compressed) {
                struct buf packed, whole;
                buf_init(&packed, 1 << 20);
                buf_init(&whole, 1 << 20);
                assert_true(has(buf_span(&text), "smime-type=compressed-data; name=\"smime.p7z\""));
                assert_int_equal(mime_decode(MIME_BASE64, body_of(buf_span(&text)), &packed), ERR_OK);
                assert_int_equal(crypto_smime_expand(buf_span(&packed), &whole), ERR_OK);
                assert_payload(buf_span(&whole), "hp=\"cipher\"");
                buf_fini(&packed);
                buf_fini(&whole);
            } else {
                assert_payload(buf_span(&text), "hp=\"cipher\"");
                assert_true(has(buf_span(&text), "HP-Outer: Subject: [...]\r\n"));
            }
            CMS_ContentInfo_free(cms);
            buf_fini(&inner);
            buf_fini(&text);
        }
        buf_fini(&sealed);
    }
}

/* How the key of the content reaches each: what OpenSSL would have taken of its own accord is not it. */
static void keys_by_the_algorithms_wanted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        const struct smime_wish wish = {
            .action = CRYPTO_SEAL_ENCRYPT, .to = {SMIME_BOB, SMIME_CURVE, SMIME_P384}, .to_len = 3};
        static const int kdfs[] = {NID_dhSinglePass_stdDH_sha256kdf_scheme, NID_dhSinglePass_stdDH_sha384kdf_scheme};
        struct buf sealed;
        world.smime.content = CRYPTO_SMIME_GCM;
        world.smime.is_oaep = i == 1;
        seal(&wish, &sealed);
        CMS_ContentInfo *cms = cms_of(body_of(buf_span(&sealed)));
        STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);
        assert_int_equal(sk_CMS_RecipientInfo_num(infos), 3);
        X509_ALGOR *algorithm;
        ASN1_OCTET_STRING *ukm;
        const ASN1_OBJECT *name;
        int curves = 0;
        for (int j = 0; j < 3; j++) {
            CMS_RecipientInfo *info = sk_CMS_RecipientInfo_value(infos, j);
            if (CMS_RecipientInfo_type(info) == CMS_RECIPINFO_TRANS) {
                assert_int_equal(CMS_RecipientInfo_ktri_get0_algs(info, NULL, NULL, &algorithm), 1);
                X509_ALGOR_get0(&name, NULL, NULL, algorithm);
                assert_int_equal(OBJ_obj2nid(name), i == 1 ? NID_rsaesOaep : NID_rsaEncryption);
                continue;
            }
            assert_int_equal(CMS_RecipientInfo_type(info), CMS_RECIPINFO_AGREE);
            assert_int_equal(CMS_RecipientInfo_kari_get0_alg(info, &algorithm, &ukm), 1);
            X509_ALGOR_get0(&name, NULL, NULL, algorithm);
            assert_int_equal(OBJ_obj2nid(name), kdfs[curves++]);
        }
        assert_int_equal(curves, 2);
        CMS_ContentInfo_free(cms);
        buf_fini(&sealed);
    }
}

static int type_of(const struct smime_wish *wish)
{
    struct buf sealed;
    seal(wish, &sealed);
    CMS_ContentInfo *cms = cms_of(body_of(buf_span(&sealed)));
    int type = OBJ_obj2nid(CMS_get0_type(cms));
    CMS_ContentInfo_free(cms);
    buf_fini(&sealed);
    return type;
}

#define GCM NID_id_smime_ct_authEnvelopedData
#define CBC NID_pkcs7_enveloped

static void gcm_for_those_who_take_it(void **state)
{
    (void)state;
    struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                              .signer = SMIME_RSA,
                              .to = {SMIME_BOB, SMIME_CURVE, SMIME_RSA},
                              .to_len = 3};
    world.smime.content = CRYPTO_SMIME_AUTO;
    assert_int_equal(type_of(&wish), CBC);
    smime_world_put(&world, SMIME_BOB, true);
    assert_int_equal(type_of(&wish), CBC);
    smime_world_put(&world, SMIME_CURVE, true);
    assert_int_equal(type_of(&wish), GCM);
    world.smime.content = CRYPTO_SMIME_CBC;
    assert_int_equal(type_of(&wish), CBC);
}

static void cbc_without_signature_only_where_nobody_can_sign(void **state)
{
    (void)state;
    struct smime_wish wish = {.action = CRYPTO_SEAL_ENCRYPT, .to = {SMIME_BOB}, .to_len = 1};
    assert_int_equal(type_of(&wish), GCM);
    world.smime.content = CRYPTO_SMIME_AUTO;
    assert_int_equal(type_of(&wish), GCM);
    world.smime.private_key = NULL;
    assert_int_equal(type_of(&wish), CBC);
    world.smime.content = CRYPTO_SMIME_GCM;
    assert_int_equal(type_of(&wish), GCM);
}

static void keys_that_are_not_used(void **state)
{
    (void)state;
    static const enum smime_who unfit[] = {SMIME_EXPIRED, SMIME_WEAK, SMIME_SIGN_ONLY, SMIME_LATE};
    struct smime_wish wish = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .signer = SMIME_RSA, .to = {SMIME_BOB, SMIME_BOB}, .to_len = 2};
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        wish.to[1] = unfit[i];
        assert_fails(&wish, ERR_NO_KEY);
    }
    /* Whom to trust is the plan's business. */
    wish.to[1] = SMIME_STRANGER;
    struct buf sealed;
    seal(&wish, &sealed);
    buf_fini(&sealed);
    world.smime.anchors = NULL;
    seal(&wish, &sealed);
    buf_fini(&sealed);
    wish.to[1] = SMIME_LATE;
    assert_fails(&wish, ERR_NO_KEY);
    world.smime.anchors = world.anchors;
    wish.to[1] = SMIME_STRANGER;
    assert_int_equal(keyring_certificates_remove(world.smime.certificates, world.fingerprints[SMIME_STRANGER]), ERR_OK);
    assert_fails(&wish, ERR_NO_KEY);
    wish.to_len = 0;
    assert_fails(&wish, ERR_NO_RECIPIENTS);
}

static void signers_that_do_not_sign(void **state)
{
    (void)state;
    static const enum smime_who unfit[] = {SMIME_EXPIRED, SMIME_WEAK, SMIME_BOTH, SMIME_LATE};
    struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN, .signer = SMIME_RSA, .to = {SMIME_BOB}, .to_len = 1};
    for (unsigned i = 0; i < 2; i++) {
        wish.action = i == 0 ? CRYPTO_SEAL_SIGN : CRYPTO_SEAL_SIGN_ENCRYPT;
        for (size_t j = 0; j < sizeof unfit / sizeof *unfit; j++) {
            wish.signer = unfit[j];
            assert_fails(&wish, ERR_NO_SIGNING_KEY);
        }
        wish.signer = SMIME_RSA;
        world.key_answer = ERR_KEY_LOCKED;
        assert_fails(&wish, ERR_KEY_LOCKED);
        world.key_answer = ERR_NO_KEY;
        assert_fails(&wish, ERR_NO_SIGNING_KEY);
        world.key_answer = ERR_OK;
        world.smime.private_key = NULL;
        assert_fails(&wish, ERR_NO_SIGNING_KEY);
        world.smime.private_key = smime_world_key;
    }
    /* The key of another certificate. */
    EVP_PKEY *own = world.made[SMIME_RSA].key;
    world.made[SMIME_RSA].key = world.made[SMIME_BOB].key;
    assert_fails(&wish, ERR_NO_SIGNING_KEY);
    world.made[SMIME_RSA].key = own;
}

static void revocation_is_asked_about_chains(void **state)
{
    (void)state;
    struct smime_wish wish = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .signer = SMIME_RSA, .to = {SMIME_CURVE, SMIME_BOB}, .to_len = 2};
    struct buf sealed;
    world.smime.revocation = smime_world_revocation;
    world.is_unknown = true;
    seal(&wish, &sealed);
    buf_fini(&sealed);
    assert_int_equal(world.asked, 2);
    assert_int_equal(world.asked_chain, 3);
    world.revocation_answer = ERR_LOOKUP;
    assert_fails(&wish, ERR_LOOKUP);
    world.revocation_answer = ERR_REVOKED;
    world.revoked = world.made[SMIME_BOB].certificate;
    assert_fails(&wish, ERR_REVOKED);
    const struct keyring_certificate *bob =
        keyring_certificates_find(world.smime.certificates, world.fingerprints[SMIME_BOB]);
    assert_non_null(bob);
    assert_int_equal(bob->revoked, MADE_NOW);
    assert_int_equal(keyring_certificates_find(world.smime.certificates, world.fingerprints[SMIME_CURVE])->revoked, 0);
    /* Known now, without asking. */
    world.asked = 0;
    assert_fails(&wish, ERR_NO_KEY);
    assert_int_equal(world.asked, 1);
    /* Of one without a chain whoever asks learns that there is none. */
    wish.to[1] = SMIME_STRANGER;
    world.asked = 0;
    seal(&wish, &sealed);
    buf_fini(&sealed);
    assert_int_equal(world.asked, 2);
    assert_int_equal(world.asked_chain, 0);
}

/* Every maximum: the message ends with an error, never with a part of it that counts. */
static void too_large(void **state)
{
    (void)state;
    struct smime_wish wish = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .signer = SMIME_RSA, .to = {SMIME_BOB, SMIME_CURVE}, .to_len = 2};
    struct buf sealed;
    for (unsigned i = 0; i < 4; i++) {
        world.smime.is_opaque = (i & 1) != 0;
        world.smime.is_compressed = (i & 2) != 0;
        seal(&wish, &sealed);
        size_t size = sealed.len;
        buf_fini(&sealed);
        for (uint64_t max = 1; max + 20 < size; max += size / 7) {
            wish.output_max = max;
            assert_fails(&wish, ERR_TOO_BIG);
        }
        wish.output_max = 0;
    }
}

static void own_copy_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char *const messages[] = {MESSAGE, "", "no header\n\rat all", "Subject: x\r\n\r\n\r\n.\r\n\n\r"};
    struct smime_wish wish = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                              .signer = SMIME_RSA,
                              .to = {SMIME_RSA},
                              .to_len = 1,
                              .is_own = true,
                              .is_quiet = true};
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct buf sealed, inner, payload, back;
        struct buf *const all[] = {&sealed, &inner, &payload, &back};
        for (size_t j = 0; j < 4; j++)
            buf_init(all[j], 1 << 20);
        world.smime.is_compressed = true;
        assert_int_equal(smime_world_seal(&world, &wish, span_of(messages[i]), &sealed), ERR_OK);
        assert_false(has(buf_span(&sealed), CANARY));
        decrypt(buf_span(&sealed), SMIME_RSA, CBC, &inner);
        assert_true(has(buf_span(&inner), "Content-Transfer-Encoding: binary\r\n"));
        const unsigned char *der = (const unsigned char *)body_of(buf_span(&inner)).ptr;
        CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &der, (long)body_of(buf_span(&inner)).len);
        assert_non_null(cms);
        assert_ptr_equal(der, inner.data + inner.len);
        verify(cms, NULL, SMIME_RSA, &payload);
        CMS_ContentInfo_free(cms);
        assert_int_equal(crypto_own_unwrap(buf_span(&payload), &back), ERR_OK);
        assert_true(span_is_equal(buf_span(&back), span_of(messages[i])));
        for (size_t j = 0; j < 4; j++)
            buf_fini(all[j]);
    }
    world.key_answer = ERR_KEY_LOCKED;
    assert_fails(&wish, ERR_KEY_LOCKED);
}

static void without_an_account_nothing_is_sealed(void **state)
{
    (void)state;
    struct smime_wish wish = {.action = CRYPTO_SEAL_ENCRYPT, .to = {SMIME_BOB}, .to_len = 1};
    struct keyring_certificates *certificates = world.smime.certificates;
    world.smime.certificates = NULL;
    assert_fails(&wish, ERR_REFUSED);
    world.smime.certificates = certificates;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(signed_beside_the_text, reset),
        cmocka_unit_test_setup(signed_with_the_text_inside, reset),
        cmocka_unit_test_setup(signed_and_encrypted, reset),
        cmocka_unit_test_setup(keys_by_the_algorithms_wanted, reset),
        cmocka_unit_test_setup(gcm_for_those_who_take_it, reset),
        cmocka_unit_test_setup(cbc_without_signature_only_where_nobody_can_sign, reset),
        cmocka_unit_test_setup(keys_that_are_not_used, reset),
        cmocka_unit_test_setup(signers_that_do_not_sign, reset),
        cmocka_unit_test_setup(revocation_is_asked_about_chains, reset),
        cmocka_unit_test_setup(too_large, reset),
        cmocka_unit_test_setup(own_copy_comes_back_as_it_was, reset),
        cmocka_unit_test_setup(without_an_account_nothing_is_sealed, reset),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
