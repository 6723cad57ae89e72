/* Files of private keys: what is in them, what is wrong with them, and how much work they may ask for. */
#include "keyring/x509_key.h"

#include "base/spawn.h"
#include "tests/unit/store_dir.h"
#include "tests/unit/x509_made.h"

#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>

#define PASSPHRASE "correct horse"
#define LONG_MS 60000
#define ARGUMENTS_MAX 24

static struct made ca, alice, bob, curve;

static int make_all(void **state)
{
    static const struct made_wish wishes[] = {
        {.name = "Test CA", .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign", .rsa_bits = 2048},
        {.name = "Alice", .san = "email:alice@example.org", .rsa_bits = 2048},
        {.name = "Bob", .san = "email:bob@example.org", .rsa_bits = 2048},
        {.name = "Curve", .san = "email:curve@example.org"}};
    ca = made_certificate(&wishes[0], NULL);
    alice = made_certificate(&wishes[1], &ca);
    bob = made_certificate(&wishes[2], &ca);
    curve = made_certificate(&wishes[3], &ca);
    return make_directory(state);
}

static int drop_all(void **state)
{
    made_free(&ca);
    made_free(&alice);
    made_free(&bob);
    made_free(&curve);
    return remove_directory(state);
}

static struct secret *passphrase_of(const char *text)
{
    static struct secret secret;
    if (text == NULL)
        return NULL;
    assert_int_equal(secret_set(&secret, span_of(text), 1000), ERR_OK);
    return &secret;
}

static enum err read_bytes(struct keyring_key_files *files, struct span bytes, const char *passphrase)
{
    return keyring_key_files_read(files, bytes, passphrase_of(passphrase));
}

/* Reads with no earlier files. */
static enum err read_alone(struct span bytes, const char *passphrase, struct keyring_key_files *files)
{
    keyring_key_files_init(files, KEYRING_KEY_ITERATIONS_MAX);
    return read_bytes(files, bytes, passphrase);
}

/* The error alone. */
static enum err try_read(struct span bytes, const char *passphrase)
{
    struct keyring_key_files files;
    const enum err err = read_alone(bytes, passphrase, &files);
    keyring_key_files_fini(&files);
    assert_int_equal(ERR_peek_error(), 0);
    return err;
}

static void expect_pair(const struct keyring_key_files *files, size_t index, const struct made *made)
{
    assert_true(index < files->pairs_len);
    assert_non_null(files->pairs[index].certificate);
    assert_int_equal(X509_cmp(files->pairs[index].certificate, made->certificate), 0);
    assert_int_equal(EVP_PKEY_eq(files->pairs[index].key, made->key), 1);
}

/* Alice's key, her certificate and its issuer. */
static void expect_alice(const struct keyring_key_files *files)
{
    assert_int_equal(files->pairs_len, 1);
    expect_pair(files, 0, &alice);
    assert_int_equal(sk_X509_num(files->others), 1);
    assert_int_equal(X509_cmp(sk_X509_value(files->others, 0), ca.certificate), 0);
}

static void of_bio(BIO *bio, struct buf *out)
{
    char *bytes;
    const long len = BIO_get_mem_data(bio, &bytes);
    assert_int_equal(buf_add(out, bytes, (size_t)len), ERR_OK);
    BIO_free(bio);
}

static void add_certificate(const struct made *made, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, made->certificate), 1);
    of_bio(bio, out);
}

static void add_key(const struct made *made, bool is_traditional, const EVP_CIPHER *cipher, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *passphrase = cipher == NULL ? NULL : (char[]){PASSPHRASE};
    assert_int_equal(is_traditional
                         ? PEM_write_bio_PrivateKey_traditional(bio, made->key, cipher, NULL, 0, NULL, passphrase)
                         : PEM_write_bio_PKCS8PrivateKey(bio, made->key, cipher, NULL, 0, NULL, passphrase),
                     1);
    of_bio(bio, out);
}

static void make_pkcs12_of(const struct made *owner, int key_nid, int certificate_nid, int iterations,
                           int mac_iterations, struct buf *out)
{
    unsigned char *bytes = NULL;
    STACK_OF(X509) *issuers = sk_X509_new_null();
    assert_true(sk_X509_push(issuers, ca.certificate) == 1);
    PKCS12 *file = PKCS12_create(PASSPHRASE, "alice", owner->key, owner->certificate, issuers, key_nid, certificate_nid,
                                 iterations, mac_iterations, 0);
    assert_non_null(file);
    const int len = i2d_PKCS12(file, &bytes);
    assert_true(len > 0);
    assert_int_equal(buf_add(out, bytes, (size_t)len), ERR_OK);
    OPENSSL_free(bytes);
    PKCS12_free(file);
    sk_X509_free(issuers);
}

static void make_pkcs12(int key_nid, int certificate_nid, int iterations, int mac_iterations, struct buf *out)
{
    make_pkcs12_of(&alice, key_nid, certificate_nid, iterations, mac_iterations, out);
}

/* openssl with these arguments, in the directory of the test. */
static void run_openssl(const char *const *words)
{
    const char *arguments[ARGUMENTS_MAX + 2] = {"openssl"};
    for (size_t i = 0; words[i] != NULL; i++) {
        assert_true(i < ARGUMENTS_MAX);
        arguments[i + 1] = words[i];
    }
    const struct spawn_options options = {
        .file = "/usr/bin/openssl", .arguments = arguments, .inherit_fd = -1, .is_quiet = true};
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(spawn_run(&options, LONG_MS), ERR_OK);
    assert_int_equal(chdir(before), 0);
}

static void write_pems(void)
{
    struct buf pem;
    buf_init(&pem, 100000);
    add_key(&alice, false, NULL, &pem);
    write_whole("key.pem", buf_span(&pem));
    buf_clear(&pem);
    add_certificate(&alice, &pem);
    write_whole("certificate.pem", buf_span(&pem));
    buf_clear(&pem);
    add_certificate(&ca, &pem);
    write_whole("ca.pem", buf_span(&pem));
    buf_fini(&pem);
}

static void expect_pkcs12(struct span bytes)
{
    struct keyring_key_files files;
    assert_int_equal(read_alone(bytes, PASSPHRASE, &files), ERR_OK);
    expect_alice(&files);
    /* Read once more, nothing is there twice. */
    assert_int_equal(read_bytes(&files, bytes, PASSPHRASE), ERR_OK);
    expect_alice(&files);
    keyring_key_files_fini(&files);
    assert_int_equal(try_read(bytes, NULL), ERR_KEY_LOCKED);
    assert_int_equal(try_read(bytes, ""), ERR_KEY_LOCKED);
    assert_int_equal(try_read(bytes, "wrong"), ERR_AUTH_FAILED);
    assert_int_equal(try_read(bytes, PASSPHRASE " "), ERR_AUTH_FAILED);
}

static void test_pkcs12(void **state)
{
    (void)state;
    struct buf file;
    buf_init(&file, 100000);
    make_pkcs12(NID_aes_256_cbc, NID_aes_256_cbc, 1000, 1000, &file);
    expect_pkcs12(buf_span(&file));
    buf_clear(&file);
    make_pkcs12(NID_pbe_WithSHA1And3_Key_TripleDES_CBC, -1, 1000, 1000, &file);
    expect_pkcs12(buf_span(&file));
    buf_fini(&file);
}

/* RC2 with 40 bits and 3DES, as other programs wrote for twenty years; what opens them is in no other context. */
static void test_old_pkcs12(void **state)
{
    (void)state;
    static const char *const forms[][2] = {{"PBE-SHA1-RC2-40", "PBE-SHA1-3DES"},
                                           {"PBE-SHA1-RC2-128", "PBE-SHA1-RC4-128"}};
    write_pems();
    for (size_t i = 0; i < 2; i++) {
        struct buf file;
        const char *const words[] = {"pkcs12",
                                     "-export",
                                     "-legacy",
                                     "-inkey",
                                     "key.pem",
                                     "-in",
                                     "certificate.pem",
                                     "-certfile",
                                     "ca.pem",
                                     "-out",
                                     "old.p12",
                                     "-passout",
                                     ("pass:" PASSPHRASE),
                                     "-certpbe",
                                     forms[i][0],
                                     "-keypbe",
                                     forms[i][1],
                                     "-macalg",
                                     "sha1",
                                     NULL};
        run_openssl(words);
        read_whole("old.p12", &file);
        expect_pkcs12(buf_span(&file));
        buf_fini(&file);
    }
    assert_int_equal(OSSL_PROVIDER_available(NULL, "legacy"), 0);
    assert_null(EVP_CIPHER_fetch(NULL, "RC2-40-CBC", NULL));
    ERR_clear_error();
}

/* Without a passphrase there are two ways to have none. */
static void test_pkcs12_without_passphrase(void **state)
{
    (void)state;
    for (int is_null = 0; is_null < 2; is_null++) {
        unsigned char *bytes = NULL;
        PKCS12 *made = PKCS12_create(is_null ? NULL : "", NULL, alice.key, alice.certificate, NULL, NID_aes_128_cbc,
                                     NID_aes_128_cbc, 100, 100, 0);
        struct keyring_key_files files;
        assert_non_null(made);
        const int len = i2d_PKCS12(made, &bytes);
        assert_int_equal(read_alone((struct span){(char *)bytes, (size_t)len}, NULL, &files), ERR_OK);
        expect_pair(&files, 0, &alice);
        keyring_key_files_fini(&files);
        OPENSSL_free(bytes);
        PKCS12_free(made);
    }
}

/* No byte that is wrong lets a key through, and none that lies in what is encrypted passes for a wrong passphrase. The
   key is of a curve: to check an RSA key each time would take a hundred times as long. */
static void test_damaged_pkcs12(void **state)
{
    (void)state;
    struct buf file;
    size_t malformed = 0;
    buf_init(&file, 100000);
    make_pkcs12_of(&curve, NID_aes_256_cbc, NID_aes_256_cbc, 1, 1, &file);
    for (size_t at = 0; at < file.len; at += 3) {
        file.data[at] ^= 0x20;
        const enum err err = try_read(buf_span(&file), PASSPHRASE);
        assert_true(err != ERR_OK || at < 100);
        malformed += err == ERR_MALFORMED;
        file.data[at] ^= 0x20;
    }
    assert_true(malformed > file.len / 3 * 8 / 10);
    for (size_t len = 0; len < file.len; len += 5)
        assert_int_equal(try_read(span_slice(buf_span(&file), 0, len), PASSPHRASE), ERR_MALFORMED);
    buf_fini(&file);
}

static void test_pem(void **state)
{
    (void)state;
    static const struct {
        bool is_traditional, is_sealed;
    } forms[] = {{false, false}, {false, true}, {true, false}, {true, true}};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const EVP_CIPHER *cipher = forms[i].is_sealed ? EVP_aes_256_cbc() : NULL;
        struct keyring_key_files files;
        struct buf pem;
        buf_init(&pem, 100000);
        /* In any order, with words between. */
        add_certificate(&ca, &pem);
        add_certificate(&alice, &pem);
        assert_int_equal(buf_add_string(&pem, "subject=CN = Alice\r\n\n"), ERR_OK);
        add_key(&alice, forms[i].is_traditional, cipher, &pem);
        add_key(&curve, forms[i].is_traditional, cipher, &pem);
        add_certificate(&curve, &pem);
        assert_int_equal(read_alone(buf_span(&pem), PASSPHRASE, &files), ERR_OK);
        assert_int_equal(files.pairs_len, 2);
        expect_pair(&files, 0, &alice);
        expect_pair(&files, 1, &curve);
        assert_int_equal(sk_X509_num(files.others), 1);
        keyring_key_files_fini(&files);
        assert_int_equal(try_read(buf_span(&pem), NULL), forms[i].is_sealed ? ERR_KEY_LOCKED : ERR_OK);
        assert_int_equal(try_read(buf_span(&pem), "wrong"), forms[i].is_sealed ? ERR_AUTH_FAILED : ERR_OK);
        assert_int_equal(try_read(span_slice(buf_span(&pem), 0, pem.len - 40), PASSPHRASE), ERR_MALFORMED);
        buf_fini(&pem);
    }
}

/* A key and its certificate in two files, and one that is somebody else's. */
static void test_several_files(void **state)
{
    (void)state;
    struct keyring_key_files files;
    struct buf key, certificate, other;
    buf_init(&key, 100000);
    buf_init(&certificate, 100000);
    buf_init(&other, 100000);
    add_key(&alice, false, NULL, &key);
    add_certificate(&alice, &certificate);
    add_certificate(&bob, &other);
    assert_int_equal(read_alone(buf_span(&key), NULL, &files), ERR_OK);
    assert_null(files.pairs[0].certificate);
    assert_int_equal(read_bytes(&files, buf_span(&other), NULL), ERR_OK);
    assert_null(files.pairs[0].certificate);
    assert_int_equal(read_bytes(&files, buf_span(&certificate), NULL), ERR_OK);
    assert_int_equal(files.pairs_len, 1);
    expect_pair(&files, 0, &alice);
    assert_int_equal(sk_X509_num(files.others), 1);
    keyring_key_files_fini(&files);
    assert_true(keyring_key_fits(alice.certificate, alice.key));
    assert_false(keyring_key_fits(alice.certificate, bob.key));
    assert_false(keyring_key_fits(alice.certificate, curve.key));
    buf_fini(&key);
    buf_fini(&certificate);
    buf_fini(&other);
}

static void test_der(void **state)
{
    (void)state;
    struct keyring_key_files files;
    struct buf saved, sealed;
    unsigned char *bytes = NULL;
    buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
    buf_init(&sealed, 100000);
    assert_int_equal(keyring_key_save(alice.key, &saved), ERR_OK);
    assert_int_equal(read_alone(buf_span(&saved), NULL, &files), ERR_OK);
    assert_int_equal(EVP_PKEY_eq(files.pairs[0].key, alice.key), 1);
    keyring_key_files_fini(&files);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(i2d_PKCS8PrivateKey_bio(bio, alice.key, EVP_aes_128_cbc(), NULL, 0, NULL, (char[]){PASSPHRASE}),
                     1);
    of_bio(bio, &sealed);
    assert_int_equal(read_alone(buf_span(&sealed), PASSPHRASE, &files), ERR_OK);
    assert_int_equal(EVP_PKEY_eq(files.pairs[0].key, alice.key), 1);
    keyring_key_files_fini(&files);
    assert_int_equal(try_read(buf_span(&sealed), NULL), ERR_KEY_LOCKED);
    assert_int_equal(try_read(buf_span(&sealed), "wrong"), ERR_AUTH_FAILED);
    const int len = i2d_X509(alice.certificate, &bytes);
    assert_int_equal(read_alone((struct span){(char *)bytes, (size_t)len}, NULL, &files), ERR_OK);
    assert_int_equal(sk_X509_num(files.others), 1);
    keyring_key_files_fini(&files);
    OPENSSL_free(bytes);
    buf_fini(&saved);
    buf_fini(&sealed);
}

/* Replaces the first encoded number `from` (with its tag) by `to` of the same length. */
static size_t replace(struct buf *file, const char *from, const char *to, size_t len)
{
    size_t count = 0;
    for (size_t at = 0; (at = span_find(buf_span(file), at, (struct span){from, len})) != SIZE_MAX; at += len) {
        memcpy(file->data + at, to, len);
        count++;
    }
    return count;
}

static enum err read_within(uint64_t iterations_max, const struct buf *file)
{
    struct keyring_key_files files;
    keyring_key_files_init(&files, iterations_max);
    const enum err err = read_bytes(&files, buf_span(file), PASSPHRASE);
    keyring_key_files_fini(&files);
    return err;
}

/* What a file asks for is added up, and looked at before it is done: 2^31 would take minutes, and these are not. */
static void test_work_is_bounded(void **state)
{
    (void)state;
    static const char low[] = "\x02\x03\x01\x23\x45", high[] = "\x02\x03\x7f\xff\xff",
                      negative[] = "\x02\x03\xff\x7f\xff";
    struct buf file;
    buf_init(&file, 100000);
    make_pkcs12(NID_aes_256_cbc, NID_aes_256_cbc, 5000, 3000, &file);
    assert_int_equal(read_within(13000, &file), ERR_OK);
    assert_int_equal(read_within(12999, &file), ERR_LIMIT);
    assert_int_equal(read_within(7999, &file), ERR_LIMIT);
    assert_int_equal(read_within(2999, &file), ERR_LIMIT);
    buf_clear(&file);
    make_pkcs12(NID_aes_256_cbc, NID_aes_256_cbc, 0x12345, 1, &file);
    assert_int_equal(replace(&file, low, high, 5), 2);
    assert_int_equal(read_within(0x7fffff, &file), ERR_LIMIT);
    assert_int_equal(replace(&file, high, negative, 5), 2);
    assert_int_equal(read_within(UINT64_MAX, &file), ERR_LIMIT);
    buf_clear(&file);
    make_pkcs12(NID_aes_256_cbc, NID_aes_256_cbc, 1, 0x12345, &file);
    assert_int_equal(replace(&file, low, high, 5), 1);
    assert_int_equal(read_within(0x7ffffe, &file), ERR_LIMIT);
    assert_int_equal(replace(&file, high, negative, 5), 1);
    assert_int_equal(read_within(UINT64_MAX, &file), ERR_LIMIT);
    buf_clear(&file);
    make_pkcs12(NID_pbe_WithSHA1And3_Key_TripleDES_CBC, -1, 0x12345, 1, &file);
    assert_int_equal(replace(&file, low, high, 5), 1);
    assert_int_equal(read_within(0x7ffffe, &file), ERR_LIMIT);
    buf_fini(&file);
}

static void test_scrypt_is_bounded(void **state)
{
    (void)state;
    struct buf file;
    write_pems();
    const char *const words[] = {
        "pkcs8", "-topk8",   "-in", "key.pem", "-scrypt_N", "1024",     "-scrypt_r",          "8", "-scrypt_p",
        "1",     "-outform", "DER", "-out",    "key.p8",    "-passout", ("pass:" PASSPHRASE), NULL};
    run_openssl(words);
    read_whole("key.p8", &file);
    assert_int_equal(try_read(buf_span(&file), PASSPHRASE), ERR_OK);
    assert_int_equal(read_within(8191, &file), ERR_LIMIT);
    buf_fini(&file);
}

static void test_kept(void **state)
{
    (void)state;
    const struct made *const all[] = {&alice, &curve};
    for (size_t i = 0; i < 2; i++) {
        struct buf saved;
        EVP_PKEY *key;
        buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
        assert_int_equal(keyring_key_save(all[i]->key, &saved), ERR_OK);
        assert_int_equal(keyring_key_load(buf_span(&saved), &key), ERR_OK);
        assert_true(keyring_key_fits(all[i]->certificate, key));
        EVP_PKEY_free(key);
        for (size_t len = 0; len < saved.len; len += 3)
            assert_int_equal(keyring_key_load(span_slice(buf_span(&saved), 0, len), &key), ERR_MALFORMED);
        assert_int_equal(buf_add_byte(&saved, '\0'), ERR_OK);
        assert_int_equal(keyring_key_load(buf_span(&saved), &key), ERR_MALFORMED);
        assert_null(key);
        buf_fini(&saved);
    }
}

/* What others read, and no weaker than we say. */
static void test_export(void **state)
{
    (void)state;
    struct keyring_key_files files;
    struct buf file, words;
    STACK_OF(X509) *issuers = sk_X509_new_null();
    buf_init(&file, 100000);
    assert_true(sk_X509_push(issuers, ca.certificate) == 1);
    assert_int_equal(keyring_key_export(alice.certificate, alice.key, issuers, passphrase_of(PASSPHRASE), &file),
                     ERR_OK);
    assert_int_equal(read_alone(buf_span(&file), PASSPHRASE, &files), ERR_OK);
    expect_alice(&files);
    keyring_key_files_fini(&files);
    write_whole("out.p12", buf_span(&file));
    const char *const arguments[] = {"pkcs12", "-in",  "out.p12", "-passin", ("pass:" PASSPHRASE),
                                     "-nodes", "-out", "out.pem", NULL};
    run_openssl(arguments);
    read_whole("out.pem", &words);
    assert_int_equal(read_alone(buf_span(&words), NULL, &files), ERR_OK);
    expect_alice(&files);
    keyring_key_files_fini(&files);
    sk_X509_free(issuers);
    buf_fini(&file);
    buf_fini(&words);
}

/* Ed25519: OpenSSL 3.0 makes no CMS with it. */
static void test_unusable(void **state)
{
    (void)state;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct buf pem;
    buf_init(&pem, 10000);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    of_bio(bio, &pem);
    assert_int_equal(try_read(buf_span(&pem), NULL), ERR_KEY_UNUSABLE);
    EVP_PKEY_free(key);
    buf_clear(&pem);
    assert_int_equal(try_read(buf_span(&pem), NULL), ERR_MALFORMED);
    assert_int_equal(try_read(SPAN_LIT("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxyzzy\n"), NULL), ERR_MALFORMED);
    assert_int_equal(try_read((struct span){"", KEYRING_KEY_FILE_MAX + 1}, NULL), ERR_LIMIT);
    buf_fini(&pem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs12),
        cmocka_unit_test(test_old_pkcs12),
        cmocka_unit_test(test_pkcs12_without_passphrase),
        cmocka_unit_test(test_damaged_pkcs12),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_several_files),
        cmocka_unit_test(test_der),
        cmocka_unit_test(test_work_is_bounded),
        cmocka_unit_test(test_scrypt_is_bounded),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_export),
        cmocka_unit_test(test_unusable),
    };
    return cmocka_run_group_tests(tests, make_all, drop_all);
}
