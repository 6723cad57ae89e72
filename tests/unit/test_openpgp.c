/* Encryption: what is sealed opens, here and in plain gpg; what is not whole gives no byte. */
#include "tests/unit/openpgp_run.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/inotify.h>

static void encrypted_message_opens_and_plain_gpg_agrees(void **state)
{
    (void)state;
    const char *const both[] = {alice, bob};
    static const char *const signers[] = {"", alice};
    for (size_t i = 0; i < 2; i++) {
        struct buf sealed, text;
        assert_int_equal(encrypt(signers[i], both, 2, span_of(TEXT), SIZE_MOST, &sealed), ERR_OK);
        assert_only_crlf(&sealed);
        assert_true(span_has_prefix(buf_span(&sealed), SPAN_LIT("-----BEGIN PGP MESSAGE-----\r\n")));
        assert_opens_to(buf_span(&sealed), span_of(TEXT), i == 0 ? CRYPTO_SIG_NONE : CRYPTO_SIG_GOOD, alice);
        assert_true(gpg_on(buf_span(&sealed), "--decrypt", &text));
        assert_string_equal(text.data, TEXT);
        buf_fini(&text);
        buf_fini(&sealed);
    }
}

static void empty_and_large_texts_keep_their_bytes(void **state)
{
    (void)state;
    struct buf sealed, text;
    encrypt_to_alice("", SPAN_NONE, &sealed);
    assert_opens_to(buf_span(&sealed), SPAN_NONE, CRYPTO_SIG_NONE, NULL);
    buf_fini(&sealed);
    buf_init(&text, 4 << 20);
    uint32_t seed = 1;
    while (text.len < (3u << 20)) {
        seed = seed * 1664525u + 1013904223u;
        assert_int_equal(buf_add_byte(&text, (char)(seed >> 24)), ERR_OK);
    }
    encrypt_to_alice(bob, buf_span(&text), &sealed);
    assert_opens_to(buf_span(&sealed), buf_span(&text), CRYPTO_SIG_GOOD, bob);
    buf_fini(&sealed);
    buf_fini(&text);
}

static void what_cannot_be_encrypted_fails(void **state)
{
    (void)state;
    const char *const recipients[] = {alice};
    const char *const missing[] = {"/nonexistent/key"}, *const option[] = {"--hidden"};
    struct mime_pieces pieces;
    struct buf sealed;
    int fd;
    assert_int_equal(encrypt("", recipients, 0, span_of(TEXT), SIZE_MOST, &sealed), ERR_NO_RECIPIENTS);
    assert_int_equal(sealed.len, 0);
    buf_fini(&sealed);
    assert_int_equal(encrypt("", recipients, 1, span_of(TEXT), 100, &sealed), ERR_TOO_BIG);
    buf_fini(&sealed);
    assert_int_equal(
        encrypt("0123456789ABCDEF0123456789ABCDEF01234567", recipients, 1, span_of(TEXT), SIZE_MOST, &sealed),
        ERR_NO_SIGNING_KEY);
    assert_int_equal(sealed.len, 0);
    buf_fini(&sealed);
    mime_pieces_init(&pieces);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(TEXT)), ERR_OK);
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_int_not_equal(crypto_openpgp_encrypt(home.gpg, "", false, missing, 1, &pieces, fd, SIZE_MOST), ERR_OK);
    assert_int_not_equal(crypto_openpgp_encrypt(home.gpg, "", false, option, 1, &pieces, fd, SIZE_MOST), ERR_OK);
    read_fd(fd, &sealed);
    assert_int_equal(sealed.len, 0);
    buf_fini(&sealed);
    close(fd);
    mime_pieces_fini(&pieces);
}

static void damaged_message_gives_no_text(void **state)
{
    (void)state;
    struct buf text, armoured, binary;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 4000; i++)
        assert_int_equal(buf_addf(&text, "line %d %x\r\n", i, (unsigned)i * 2654435761u), ERR_OK);
    encrypt_to_alice("", buf_span(&text), &armoured);
    assert_true(gpg_on(buf_span(&armoured), "--dearmor", &binary));
    assert_opens_to(buf_span(&binary), buf_span(&text), CRYPTO_SIG_NONE, NULL);
    static const size_t ends[] = {0, 1, 50, 120, 1000, 20000};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        assert_refused(span_slice(buf_span(&binary), 0, ends[i]), SIZE_MOST);
    for (size_t missing = 1; missing < 30; missing += 7)
        assert_refused(span_slice(buf_span(&binary), 0, binary.len - missing), SIZE_MOST);
    for (size_t at = 0; at < binary.len; at += 1 + binary.len / 12) {
        binary.data[at] = (char)(binary.data[at] ^ 1);
        assert_refused(buf_span(&binary), SIZE_MOST);
        binary.data[at] = (char)(binary.data[at] ^ 1);
    }
    binary.data[binary.len - 1] = (char)(binary.data[binary.len - 1] ^ 1);
    assert_refused(buf_span(&binary), SIZE_MOST);
    buf_fini(&binary);
    buf_fini(&armoured);
    buf_fini(&text);
}

static void message_without_integrity_is_refused(void **state)
{
    (void)state;
    char arguments[256];
    struct buf sealed;
    (void)snprintf(arguments, sizeof arguments, "--rfc2440 --trust-model always -r %s --encrypt", alice);
    assert_true(gpg_on(span_of(TEXT), arguments, &sealed));
    assert_refused(buf_span(&sealed), SIZE_MOST);
    buf_fini(&sealed);
}

static void what_is_not_encrypted_is_refused(void **state)
{
    (void)state;
    char arguments[256];
    struct buf message;
    (void)snprintf(arguments, sizeof arguments, "--local-user %s --sign", alice);
    assert_true(gpg_on(span_of(TEXT), arguments, &message));
    assert_refused(buf_span(&message), SIZE_MOST);
    buf_fini(&message);
    assert_true(gpg_on(span_of(TEXT), "--store", &message));
    assert_refused(buf_span(&message), SIZE_MOST);
    buf_fini(&message);
    assert_refused(span_of(TEXT), SIZE_MOST);
    assert_refused(SPAN_NONE, SIZE_MOST);
}

static void two_messages_in_one_are_refused(void **state)
{
    (void)state;
    struct buf armoured, binary, twice;
    encrypt_to_alice("", span_of(TEXT), &armoured);
    assert_true(gpg_on(buf_span(&armoured), "--dearmor", &binary));
    buf_init(&twice, SIZE_MOST);
    assert_int_equal(buf_add_span(&twice, buf_span(&binary)), ERR_OK);
    assert_int_equal(buf_add_span(&twice, buf_span(&binary)), ERR_OK);
    assert_refused(buf_span(&twice), SIZE_MOST);
    buf_fini(&twice);
    buf_fini(&binary);
    buf_fini(&armoured);
}

static void expansion_is_bounded(void **state)
{
    (void)state;
    char arguments[256];
    struct buf zeros, sealed;
    buf_init(&zeros, 16 << 20);
    assert_int_equal(buf_reserve(&zeros, 8 << 20), ERR_OK);
    for (size_t i = 0; i < (8u << 20) / 64; i++)
        assert_int_equal(
            buf_add_span(&zeros, SPAN_LIT("0000000000000000000000000000000000000000000000000000000000000000")), ERR_OK);
    (void)snprintf(arguments, sizeof arguments, "-z 9 --compress-algo bzip2 --trust-model always -r %s --encrypt",
                   alice);
    assert_true(gpg_on(buf_span(&zeros), arguments, &sealed));
    assert_true(sealed.len < 10000);
    assert_refused(buf_span(&sealed), 1 << 20);
    assert_refused(buf_span(&sealed), (8 << 20) - 1);
    assert_opens_to(buf_span(&sealed), buf_span(&zeros), CRYPTO_SIG_NONE, NULL);
    buf_fini(&sealed);
    buf_fini(&zeros);
}

/* Encrypts `plain` with AES-256 in OCB, the data cut as one chunk, and adds the two tags of an AEAD packet (tag 20 of
   GnuPG: version 1, cipher, mode, chunk size, nonce). */
static void add_aead_packet(const unsigned char key[32], struct span plain, struct buf *out)
{
    const unsigned char head[] = {0xd4, 1, 9, 2, 10};
    unsigned char nonce[15] = {7}, cipher[256], tags[2][16];
    int count, rest;
    assert_true(plain.len < sizeof cipher);
    for (unsigned chunk = 0; chunk < 2; chunk++) {
        unsigned char now[15], data[21] = {0};
        memcpy(now, nonce, sizeof now);
        now[14] = (unsigned char)(now[14] ^ chunk);
        memcpy(data, head, sizeof head);
        data[12] = (unsigned char)chunk;
        data[20] = (unsigned char)plain.len;
        EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_256_ocb(), NULL, NULL, NULL), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, 15, NULL), 1);
        assert_int_equal(EVP_EncryptInit_ex(context, NULL, NULL, key, now), 1);
        assert_int_equal(EVP_EncryptUpdate(context, NULL, &count, data, chunk == 0 ? 13 : 21), 1);
        count = 0;
        unsigned char *target = cipher;
        if (chunk == 0) {
            assert_int_equal(
                EVP_EncryptUpdate(context, target, &count, (const unsigned char *)plain.ptr, (int)plain.len), 1);
            target += count;
        } else {
            target = tags[1]; /* the last tag covers no data */
        }
        assert_int_equal(EVP_EncryptFinal_ex(context, target, &rest), 1);
        assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tags[chunk]), 1);
        EVP_CIPHER_CTX_free(context);
    }
    size_t len = 4 + 15 + plain.len + 32;
    assert_true(len < 192);
    const unsigned char start[] = {head[0], (unsigned char)len, 1, 9, 2, 10};
    assert_int_equal(buf_add(out, start, sizeof start), ERR_OK);
    assert_int_equal(buf_add(out, nonce, sizeof nonce), ERR_OK);
    assert_int_equal(buf_add(out, cipher, plain.len), ERR_OK);
    assert_int_equal(buf_add(out, tags, sizeof tags), ERR_OK);
}

/* The session key that gpg prints: "9:" and 64 hexadecimal digits. */
static void find_session_key(struct span sealed, unsigned char key[32])
{
    struct buf opened;
    char path[160], command[512], text[8192];
    (void)snprintf(path, sizeof path, "%s/session", home.path);
    (void)snprintf(command, sizeof command, "--show-session-key --status-file %s --decrypt", path);
    assert_true(gpg_on(sealed, command, &opened));
    buf_fini(&opened);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    const char *at = strstr(text, "SESSION_KEY 9:");
    assert_non_null(at);
    for (size_t i = 0; i < 32; i++) {
        unsigned byte;
        assert_int_equal(sscanf(at + 14 + 2 * i, "%2x", &byte), 1);
        key[i] = (unsigned char)byte;
    }
}

/* gpg 2.2 cannot make such a message, but opens it, and takes a tampered one for whole. */
static void aead_is_refused_by_name(void **state)
{
    (void)state;
    char arguments[256];
    unsigned char key[32];
    struct buf sealed, aead, text;
    (void)snprintf(arguments, sizeof arguments, "--trust-model always -r %s --encrypt", alice);
    assert_true(gpg_on(span_of(TEXT), arguments, &sealed));
    find_session_key(buf_span(&sealed), key);
    /* The first packet (old format, one-byte length) carries the session key. */
    assert_int_equal((unsigned char)sealed.data[0], 0x84);
    buf_init(&aead, SIZE_MOST);
    assert_int_equal(buf_add(&aead, sealed.data, 2 + (unsigned char)sealed.data[1]), ERR_OK);
    /* A literal packet: binary, no name, no date. */
    add_aead_packet(key,
                    (struct span){"\xcb\x0d"
                                  "b\0\0\0\0\0canary\n",
                                  15},
                    &aead);
    assert_true(gpg_on(buf_span(&aead), "--decrypt", &text));
    assert_string_equal(text.data, "canary\n");
    assert_refused(buf_span(&aead), SIZE_MOST);
    buf_fini(&text);
    buf_fini(&aead);
    buf_fini(&sealed);
}

static void message_for_somebody_else_looks_like_a_broken_one(void **state)
{
    (void)state;
    char key[KEYRING_FPR_SIZE];
    struct buf sealed;
    assert_int_equal(gpg_home_make_key(&home, "Gone <gone@example.org>", key), ERR_OK);
    const char *const recipients[] = {key};
    assert_int_equal(encrypt("", recipients, 1, span_of(TEXT), SIZE_MOST, &sealed), ERR_OK);
    assert_int_equal(keyring_gpg_delete(home.gpg, key, true), ERR_OK);
    assert_refused(buf_span(&sealed), SIZE_MOST);
    buf_fini(&sealed);
}

static void use_no_pinentry(void)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/gpg-agent.conf", home.path);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    (void)fputs("pinentry-program /bin/false\n", file);
    (void)fclose(file);
    gpg_home_stop_agent(&home);
    assert_int_equal(keyring_gpg_agent_start(home.path, NULL, &home.agent), ERR_OK);
}

/* What a card is tried with; here the key is on disk. */
static void key_is_tried_by_a_decryption(void **state)
{
    (void)state;
    assert_int_equal(crypto_openpgp_unlock_card(home.gpg, home.cache, alice), ERR_OK);
    assert_int_equal(crypto_openpgp_unlock_card(home.gpg, home.cache, "0000000000000000000000000000000000000000"),
                     ERR_NO_KEY);
}

/* Last of all: it changes the agent. */
static void locked_key_is_told_from_a_broken_message(void **state)
{
    (void)state;
    char key[KEYRING_FPR_SIZE], micalg[24];
    struct secret passphrase = {0};
    const struct crypto_openpgp_how how = {.text_max = SIZE_MOST};
    struct crypto_openpgp_opened opened;
    struct mime_pieces pieces;
    struct buf sealed, signature;
    assert_int_equal(secret_set(&passphrase, SPAN_LIT("correct horse"), 100), ERR_OK);
    assert_int_equal(keyring_gpg_make_key(home.gpg, "Locked <locked@example.org>", 0, &passphrase, key), ERR_OK);
    secret_fini(&passphrase);
    const char *const recipients[] = {key};
    assert_int_equal(encrypt("", recipients, 1, span_of(TEXT), SIZE_MOST, &sealed), ERR_OK);
    use_no_pinentry();
    mime_pieces_init(&pieces);
    buf_init(&signature, 1 << 16);
    assert_int_equal(mime_pieces_borrow(&pieces, span_of(TEXT)), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(crypto_openpgp_decrypt(home.gpg, buf_span(&sealed), &how, &opened), ERR_KEY_LOCKED);
        assert_int_equal(opened.text.len, 0);
        assert_int_equal(crypto_openpgp_unlock_card(home.gpg, home.cache, key), ERR_KEY_LOCKED);
        assert_int_equal(crypto_openpgp_sign(home.gpg, key, &pieces, &signature, micalg), ERR_KEY_LOCKED);
        /* The second time there is no agent at all. */
        gpg_home_stop_agent(&home);
    }
    mime_pieces_fini(&pieces);
    buf_fini(&signature);
    buf_fini(&sealed);
}

#define SECRET_KEYS_MAX 16

/* The files of the secret keys, in the agent's folder. */
static size_t find_secret_keys(char paths_out[SECRET_KEYS_MAX][512])
{
    char folder[128];
    size_t len = 0;
    (void)snprintf(folder, sizeof folder, "%s/private-keys-v1.d", home.path);
    DIR *files = opendir(folder);
    assert_non_null(files);
    for (struct dirent *file; (file = readdir(files)) != NULL;)
        if (strlen(file->d_name) == 44 && len < SECRET_KEYS_MAX)
            (void)snprintf(paths_out[len++], 512, "%s/%s", folder, file->d_name);
    (void)closedir(files);
    assert_true(len > 0 && len < SECRET_KEYS_MAX);
    return len;
}

/* Takes the end off each file, as who reads it sees it while the agent rewrites it; and gives it back whole. */
static void cut_secret_keys(bool is_back)
{
    char paths[SECRET_KEYS_MAX][512], whole[520], bytes[4096];
    size_t len = find_secret_keys(paths);
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(whole, sizeof whole, "%s.whole", paths[i]);
        if (is_back) {
            assert_int_equal(rename(whole, paths[i]), 0);
            continue;
        }
        assert_int_equal(rename(paths[i], whole), 0);
        int from = open(whole, O_RDONLY), to = open(paths[i], O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(from >= 0 && to >= 0);
        ssize_t count = read(from, bytes, sizeof bytes);
        assert_true(count > 100 && write(to, bytes, 60) == 60);
        close(from);
        close(to);
    }
}

/* A process that gives the files back once one of them has been read. */
static pid_t restore_when_read(void)
{
    char paths[SECRET_KEYS_MAX][512], event[4096];
    size_t len = find_secret_keys(paths);
    int notify = inotify_init1(IN_CLOEXEC);
    for (size_t i = 0; i < len; i++)
        assert_true(inotify_add_watch(notify, paths[i], IN_CLOSE_NOWRITE) >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        bool is_read = read(notify, event, sizeof event) > 0;
        cut_secret_keys(true);
        _exit(is_read ? 0 : 1);
    }
    close(notify);
    return pid;
}

static void key_that_is_being_rewritten_is_waited_for(void **state)
{
    (void)state;
    struct buf sealed;
    int status = -1;
    encrypt_to_alice(alice, span_of(TEXT), &sealed);
    cut_secret_keys(false);
    pid_t restorer = restore_when_read();
    assert_opens_to(buf_span(&sealed), span_of(TEXT), CRYPTO_SIG_GOOD, alice);
    assert_int_equal(waitpid(restorer, &status, 0), restorer);
    assert_int_equal(status, 0);
    /* But not for ever. */
    cut_secret_keys(false);
    assert_refused(buf_span(&sealed), SIZE_MOST);
    cut_secret_keys(true);
    assert_opens_to(buf_span(&sealed), span_of(TEXT), CRYPTO_SIG_GOOD, alice);
    buf_fini(&sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encrypted_message_opens_and_plain_gpg_agrees),
        cmocka_unit_test(empty_and_large_texts_keep_their_bytes),
        cmocka_unit_test(what_cannot_be_encrypted_fails),
        cmocka_unit_test(damaged_message_gives_no_text),
        cmocka_unit_test(message_without_integrity_is_refused),
        cmocka_unit_test(what_is_not_encrypted_is_refused),
        cmocka_unit_test(two_messages_in_one_are_refused),
        cmocka_unit_test(expansion_is_bounded),
        cmocka_unit_test(aead_is_refused_by_name),
        cmocka_unit_test(message_for_somebody_else_looks_like_a_broken_one),
        cmocka_unit_test(key_is_tried_by_a_decryption),
        cmocka_unit_test(key_that_is_being_rewritten_is_waited_for),
        cmocka_unit_test(locked_key_is_told_from_a_broken_message),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
