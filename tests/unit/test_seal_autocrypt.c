/*
 * What copies tell of keys: one field outside, gossip inside alone, and nothing else of the message changed.
 */
#include "crypto/seal_internal.h"
#include "keyring/autocrypt.h"
#include "tests/unit/failing_malloc.h"
#include "tests/unit/plain_gpg.h"

#define MESSAGE                                                                                                        \
    "From: alice@example.org\r\nTo: bob@example.org, carol@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n"         \
    "\r\nHello\r\n"

static struct gpg_home home;
static char alice[KEYRING_FPR_SIZE], bob[KEYRING_FPR_SIZE];
static struct crypto_announced gossip[2];
static char recipients[2][KEYRING_FPR_SIZE];

static int begin(void **state)
{
    (void)state;
    assert_int_equal(gpg_home_open(&home), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Alice <alice@example.org>", alice), ERR_OK);
    assert_int_equal(gpg_home_make_key(&home, "Bob <bob@example.org>", bob), ERR_OK);
    gossip[0] = (struct crypto_announced){.address = "bob@example.org"};
    gossip[1] = (struct crypto_announced){.address = "alice@example.org"};
    memcpy(gossip[0].fingerprint, bob, sizeof bob);
    memcpy(gossip[1].fingerprint, alice, sizeof alice);
    memcpy(recipients[0], alice, sizeof alice);
    memcpy(recipients[1], bob, sizeof bob);
    return 0;
}

static int end(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static struct crypto_seal_request request_for(enum crypto_seal_action action)
{
    bool is_encrypted = action == CRYPTO_SEAL_ENCRYPT || action == CRYPTO_SEAL_SIGN_ENCRYPT;
    struct crypto_seal_request request = {.action = action,
                                          .format = KEYRING_OPENPGP,
                                          .subject_tag = "",
                                          .key_cache_dir = home.cache,
                                          .output_max = 1048576,
                                          .autocrypt = {.address = "alice@example.org"},
                                          .is_mutual = true,
                                          .gossip = gossip,
                                          .gossip_len = 2};
    memcpy(request.autocrypt.fingerprint, alice, sizeof alice);
    if (action != CRYPTO_SEAL_PLAIN && action != CRYPTO_SEAL_ENCRYPT)
        memcpy(request.signer, alice, sizeof alice);
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    request.recipients_len = is_encrypted ? 2 : 0;
    return request;
}

static void seal(const struct crypto_seal_request *request, const char *message, struct buf *out)
{
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    struct crypto_seal_result result;
    char piece[4096];
    ssize_t count;
    buf_init(out, 1048576);
    assert_int_equal(crypto_seal(home.gpg, request, span_of(message), fd, &result), ERR_OK);
    lseek(fd, 0, SEEK_SET);
    while ((count = read(fd, piece, sizeof(piece))) > 0)
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
    close(fd);
}

static struct span header_of(const struct buf *message)
{
    return span_slice(buf_span(message), 0, span_find(buf_span(message), 0, SPAN_LIT("\r\n\r\n")) + 2);
}

static void check_field(const struct buf *sealed, bool is_mutual)
{
    struct keyring_autocrypt_field field;
    assert_int_equal(mime_field_count(header_of(sealed), "Autocrypt"), 1);
    assert_int_equal(mime_field_count(header_of(sealed), "Autocrypt-Gossip"), 0);
    assert_int_equal(keyring_autocrypt_pick(header_of(sealed), "alice@example.org", &field), ERR_OK);
    assert_string_equal(field.fingerprint, alice);
    assert_int_equal(field.is_mutual, is_mutual);
    keyring_autocrypt_field_fini(&field);
}

static void every_copy_tells_the_own_key(void **state)
{
    static const enum crypto_seal_action actions[] = {CRYPTO_SEAL_PLAIN, CRYPTO_SEAL_SIGN, CRYPTO_SEAL_ENCRYPT,
                                                      CRYPTO_SEAL_SIGN_ENCRYPT};
    (void)state;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        struct crypto_seal_request request = request_for(actions[i]);
        struct buf sealed;
        seal(&request, MESSAGE, &sealed);
        check_field(&sealed, true);
        buf_fini(&sealed);
        request.is_mutual = false;
        seal(&request, MESSAGE, &sealed);
        check_field(&sealed, false);
        buf_fini(&sealed);
    }
}

/* Without the field the plain copy is the message, byte for byte. */
static void nothing_else_is_changed(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_PLAIN);
    struct mime_field field;
    struct buf sealed, rest;
    (void)state;
    seal(&request, MESSAGE, &sealed);
    buf_init(&rest, 1048576);
    assert_true(mime_field_find(buf_span(&sealed), "Autocrypt", &field));
    size_t at = (size_t)(field.whole.ptr - sealed.data);
    assert_int_equal(buf_add_span(&rest, span_slice(buf_span(&sealed), 0, at)), ERR_OK);
    assert_int_equal(buf_add_span(&rest, span_skip(buf_span(&sealed), at + field.whole.len)), ERR_OK);
    assert_true(span_is_equal(buf_span(&rest), SPAN_LIT(MESSAGE)));
    buf_fini(&rest);
    buf_fini(&sealed);

    request.autocrypt.fingerprint[0] = '\0';
    seal(&request, MESSAGE, &sealed);
    assert_true(span_is_equal(buf_span(&sealed), SPAN_LIT(MESSAGE)));
    buf_fini(&sealed);

    /* A key that is not there does not hold mail back. */
    memset(request.autocrypt.fingerprint, 'A', 40);
    seal(&request, MESSAGE, &sealed);
    assert_true(span_is_equal(buf_span(&sealed), SPAN_LIT(MESSAGE)));
    buf_fini(&sealed);
}

/* A mail program's own field stays alone; one that is not valid for the From does not count. */
static void a_field_that_is_there_is_left_alone(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_PLAIN);
    struct buf sealed, twice;
    (void)state;
    seal(&request, MESSAGE, &sealed);
    seal(&request, sealed.data, &twice);
    assert_true(span_is_equal(buf_span(&sealed), buf_span(&twice)));
    buf_fini(&sealed);
    buf_fini(&twice);
    seal(&request, "Autocrypt: addr=alice@example.org; level=2; keydata=AAAA\r\n" MESSAGE, &sealed);
    struct keyring_autocrypt_field field;
    assert_int_equal(mime_field_count(buf_span(&sealed), "Autocrypt"), 2);
    assert_int_equal(keyring_autocrypt_pick(buf_span(&sealed), "alice@example.org", &field), ERR_OK);
    keyring_autocrypt_field_fini(&field);
    buf_fini(&sealed);
}

static void gossip_is_inside_alone(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_SIGN_ENCRYPT);
    struct keyring_autocrypt_field field;
    struct buf sealed, text;
    struct mime_field found;
    size_t at = 0, count = 0;
    (void)state;
    seal(&request, MESSAGE, &sealed);
    check_field(&sealed, true);
    assert_true(span_find(buf_span(&sealed), 0, SPAN_LIT("Gossip")) == SIZE_MAX);
    const char *const arguments[] = {"--decrypt", NULL};
    size_t armour = span_find(buf_span(&sealed), 0, SPAN_LIT("-----BEGIN"));
    buf_init(&text, 1048576);
    assert_int_equal(plain_gpg(&home, arguments, span_skip(buf_span(&sealed), armour), &text), 0);
    while (mime_field_next(buf_span(&text), &at, &found)) {
        if (!mime_field_is(&found, "Autocrypt-Gossip"))
            continue;
        assert_int_equal(keyring_autocrypt_parse(&found, &field), ERR_OK);
        assert_string_equal(field.address, gossip[count].address);
        assert_string_equal(field.fingerprint, gossip[count].fingerprint);
        assert_false(field.is_mutual);
        keyring_autocrypt_field_fini(&field);
        count++;
    }
    assert_int_equal(count, 2);
    buf_fini(&text);
    buf_fini(&sealed);

    /* What is not encrypted tells nobody else's key, whatever is asked. */
    request = request_for(CRYPTO_SEAL_SIGN);
    seal(&request, MESSAGE, &sealed);
    assert_true(span_find(buf_span(&sealed), 0, SPAN_LIT("Gossip")) == SIZE_MAX);
    buf_fini(&sealed);
}

static size_t gossip_of(const struct crypto_seal_request *request, const char *header, struct keyring_gpg *gpg,
                        struct buf *out)
{
    buf_init(out, 1048576);
    assert_int_equal(seal_add_gossip(gpg, request, span_of(header), out), ERR_OK);
    return mime_field_count(buf_span(out), KEYRING_AUTOCRYPT_GOSSIP_NAME);
}

/* S/MIME has none; a program's own stands alone; a key that cannot be told holds neither the others' nor mail back; and
   all together stay within what is kept free of a server's limit. */
static void how_much_is_gossiped(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_SIGN_ENCRYPT);
    struct crypto_announced many[64], some[2] = {gossip[0], gossip[1]};
    struct buf out;
    (void)state;
    assert_int_equal(gossip_of(&request, MESSAGE, home.gpg, &out), 2);
    buf_fini(&out);
    assert_int_equal(gossip_of(&request, "Autocrypt-Gossip: addr=x; keydata=AAAA\r\n" MESSAGE, home.gpg, &out), 0);
    buf_fini(&out);
    assert_int_equal(gossip_of(&request, MESSAGE, NULL, &out), 0);
    buf_fini(&out);
    request.format = KEYRING_SMIME;
    assert_int_equal(gossip_of(&request, MESSAGE, home.gpg, &out), 0);
    buf_fini(&out);
    request.format = KEYRING_OPENPGP;
    request.gossip = some;
    memset(some[0].fingerprint, 'A', 40);
    assert_int_equal(gossip_of(&request, MESSAGE, home.gpg, &out), 1);
    buf_fini(&out);
    for (size_t i = 0; i < 64; i++)
        many[i] = gossip[0];
    request.gossip = many;
    request.gossip_len = 64;
    assert_in_range(gossip_of(&request, MESSAGE, home.gpg, &out), 8, 63);
    assert_in_range(out.len, 32768, 32768 + KEYRING_AUTOCRYPT_FIELD_MAX);
    buf_fini(&out);
}

static bool tell_all(void *context)
{
    const struct crypto_seal_request request = request_for(CRYPTO_SEAL_SIGN_ENCRYPT);
    size_t *short_of_memory = context;
    struct buf own, others;
    buf_init(&own, 1048576);
    buf_init(&others, 1048576);
    enum err err = seal_add_autocrypt(home.gpg, &request, SPAN_LIT(MESSAGE), &own);
    if (err == ERR_OK)
        err = seal_add_gossip(home.gpg, &request, SPAN_LIT(MESSAGE), &others);
    *short_of_memory += err == ERR_MEMORY;
    buf_fini(&own);
    buf_fini(&others);
    return err == ERR_OK;
}

/* That there is no memory is no reason to leave a field out: the copy fails, and is made again. */
static void without_memory(void **state)
{
    size_t short_of_memory = 0;
    (void)state;
    failing_malloc_run(tell_all, &short_of_memory);
#ifndef FAILING_MALLOC_IS_OFF
    assert_in_range(short_of_memory, 10, 1000);
#endif
}

/* Only what the address needs is told: not the key's other names. */
static void the_key_is_cut_down(void **state)
{
    struct crypto_seal_request request = request_for(CRYPTO_SEAL_PLAIN);
    char command[256];
    struct keyring_autocrypt_field field;
    struct buf sealed;
    (void)state;
    (void)snprintf(command, sizeof command, "--quick-add-uid %s 'Robert <robert@elsewhere.example>'", bob);
    assert_int_equal(gpg_home_shell(&home, command), ERR_OK);
    request.autocrypt = gossip[0];
    seal(&request, "From: bob@example.org\r\n\r\nHello\r\n", &sealed);
    assert_int_equal(keyring_autocrypt_pick(header_of(&sealed), "bob@example.org", &field), ERR_OK);
    assert_true(span_find(buf_span(&field.key), 0, SPAN_LIT("Bob <bob@")) < SIZE_MAX);
    assert_true(span_find(buf_span(&field.key), 0, SPAN_LIT("robert@")) == SIZE_MAX);
    keyring_autocrypt_field_fini(&field);
    buf_fini(&sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_copy_tells_the_own_key),
        cmocka_unit_test(nothing_else_is_changed),
        cmocka_unit_test(a_field_that_is_there_is_left_alone),
        cmocka_unit_test(gossip_is_inside_alone),
        cmocka_unit_test(how_much_is_gossiped),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(the_key_is_cut_down),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
