/*
 * smime_opener ANCHORS FOLDER {CERTIFICATE KEY}... : a message from standard input, opened as the proxy opens it, by an
 * account that has these certificates (PEM) and their keys; ANCHORS may be "". FOLDER is empty and becomes that of its
 * certificates. The view goes to standard output; verdict, reason and, in a line each, the fingerprints of what was
 * learnt to standard error. Made again without any key, the view must be the same.
 */
#include "base/clock.h"
#include "crypto/open.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE_MOST ((size_t)256 << 20)
#define OWN_MAX 8

static struct {
    char fingerprint[KEYRING_FPR_SIZE];
    EVP_PKEY *key;
} own[OWN_MAX];
static size_t own_len;

static enum err private_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                            EVP_PKEY **key_out)
{
    (void)context;
    (void)asks_person;
    for (size_t i = 0; i < own_len; i++)
        if (strcmp(own[i].fingerprint, certificate->fingerprint) == 0) {
            *key_out = own[i].key;
            return EVP_PKEY_up_ref(*key_out) == 1 ? ERR_OK : ERR_MEMORY;
        }
    return ERR_NO_KEY;
}

static bool add_own(struct keyring_certificates *folder, const char *certificate_path, const char *key_path)
{
    struct keyring_certificate entry = {.key_place = "store"};
    FILE *certificate = fopen(certificate_path, "r"), *key = fopen(key_path, "r");
    bool is_added = false;

    if (certificate != NULL && key != NULL && own_len < OWN_MAX) {
        entry.certificate = PEM_read_X509(certificate, NULL, NULL, NULL);
        own[own_len].key = PEM_read_PrivateKey(key, NULL, NULL, NULL);
        is_added = entry.certificate != NULL && own[own_len].key != NULL &&
                   keyring_x509_fingerprint(entry.certificate, own[own_len].fingerprint) == ERR_OK &&
                   keyring_certificates_put(folder, &entry) == ERR_OK;
        own_len++;
    }
    X509_free(entry.certificate);
    if (certificate != NULL)
        (void)fclose(certificate);
    if (key != NULL)
        (void)fclose(key);
    return is_added;
}

static enum err read_all(struct buf *message)
{
    char piece[65536];
    ssize_t count;
    enum err err = ERR_OK;

    while (err == ERR_OK && (count = read(STDIN_FILENO, piece, sizeof(piece))) > 0)
        err = buf_add(message, piece, (size_t)count);
    return err;
}

static enum err open_again(struct span message, const struct crypto_opened *opened, struct span view)
{
    const struct crypto_open_options options = {
        .output_max = SIZE_MOST, .layers_max = 8, .decided = &opened->decision, .session_keys = &opened->session_keys};
    struct crypto_opened again;
    struct buf same;

    buf_init_secret(&same, SIZE_MOST);
    enum err err = crypto_open(NULL, &options, message, &same, &again);
    if (err == ERR_OK && !span_is_equal(buf_span(&same), view))
        err = ERR_INTERNAL;
    buf_fini(&same);
    return err;
}

static enum err open_message(const struct crypto_smime *smime, struct span message, bool is_once)
{
    const struct crypto_open_options options = {
        .smime = smime, .least = KEYRING_FOUND, .output_max = SIZE_MOST, .layers_max = 8};
    struct crypto_opened opened;
    char fingerprint[KEYRING_FPR_SIZE];
    struct buf view, verdict;

    buf_init_secret(&view, SIZE_MOST);
    buf_init(&verdict, 4096);
    enum err err = crypto_open(NULL, &options, message, &view, &opened);
    if (err == ERR_OK && !is_once)
        err = open_again(message, &opened, buf_span(&view));
    if (err == ERR_OK)
        err = crypto_verdict_format(&opened.verdict, &verdict);
    if (err == ERR_OK && fwrite(view.data, 1, view.len, stdout) != view.len)
        err = ERR_IO;
    if (err == ERR_OK) {
        fprintf(stderr, "%s\n%s\n", verdict.data, opened.reason);
        for (size_t i = 0; i < opened.learnt.len; i++)
            if (keyring_x509_fingerprint(opened.learnt.items[i].certificate, fingerprint) == ERR_OK)
                fprintf(stderr, "%s\n", fingerprint);
        crypto_learnt_fini(&opened.learnt);
    }
    buf_fini(&view);
    buf_fini(&verdict);
    return err;
}

int main(int argc, char **argv)
{
    struct crypto_smime smime = {.private_key = private_key};
    struct keyring_anchors *anchors = NULL;
    struct buf message;
    enum err err = ERR_USAGE;

    buf_init(&message, SIZE_MOST);
    if (argc >= 3)
        err = keyring_anchors_open(argv[1], &anchors);
    if (err == ERR_OK)
        err = keyring_certificates_open(argv[2], &smime.certificates);
    for (int i = 3; err == ERR_OK && i + 1 < argc; i += 2)
        if (!add_own(smime.certificates, argv[i], argv[i + 1]))
            err = ERR_CONFIG;
    smime.anchors = anchors;
    if (err == ERR_OK)
        err = read_all(&message);
    if (err == ERR_OK)
        err = open_message(&smime, buf_span(&message), getenv("ONCE") != NULL);
    if (err != ERR_OK)
        fprintf(stderr, "%s\n", err_name(err));
    for (size_t i = 0; i < own_len; i++)
        EVP_PKEY_free(own[i].key);
    keyring_certificates_close(&smime.certificates);
    keyring_anchors_close(&anchors);
    buf_fini(&message);
    return err == ERR_OK ? 0 : 1;
}
