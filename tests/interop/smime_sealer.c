/*
 * Seals a message from standard input by S/MIME, as privyseal would, to standard output.
 *
 * Usage: smime_sealer FOLDER ANCHORS ISSUER.pem sign|encrypt|both|own OPTIONS SIGNER.pem KEY.pem [RECIPIENT.pem...]
 * FOLDER becomes a folder of certificates; SIGNER and KEY may be "-". OPTIONS is a list with commas, of: opaque, pss,
 * oaep, compressed, gcm, cbc, auto, known (recipients are known to read GCM). Prints the error's name on failure.
 */
#include "base/memfd.h"
#include "crypto/own.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_MAX ((size_t)1 << 28)
#define RECIPIENTS_MAX 16

static const char *key_path, *options;

static bool has(const char *option)
{
    struct span rest = span_of(options), piece;
    while (span_take_until(&rest, ',', &piece))
        if (span_is_equal(piece, span_of(option)))
            return true;
    return span_is_equal(rest, span_of(option));
}

static enum err find_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                         EVP_PKEY **key_out)
{
    FILE *file = fopen(key_path, "r");
    (void)context;
    (void)certificate;
    (void)asks_person;
    *key_out = file == NULL ? NULL : PEM_read_PrivateKey(file, NULL, NULL, NULL);
    if (file != NULL)
        (void)fclose(file);
    return *key_out == NULL ? ERR_NO_KEY : ERR_OK;
}

static enum err put(struct keyring_certificates *certificates, const char *path, const char *place,
                    char fingerprint_out[KEYRING_FPR_SIZE])
{
    struct keyring_certificate entry = {.takes_gcm = has("known")};
    FILE *file = fopen(path, "r");
    enum err err = ERR_IO;
    entry.certificate = file == NULL ? NULL : PEM_read_X509(file, NULL, NULL, NULL);
    (void)span_copy(span_of(place), entry.key_place, sizeof entry.key_place);
    if (entry.certificate != NULL)
        err = keyring_x509_fingerprint(entry.certificate, fingerprint_out);
    if (err == ERR_OK)
        err = keyring_certificates_put(certificates, &entry);
    X509_free(entry.certificate);
    if (file != NULL)
        (void)fclose(file);
    return err;
}

static enum err copy_out(int fd)
{
    char block[65536];
    ssize_t count;
    for (off_t at = 0; (count = pread(fd, block, sizeof block, at)) > 0; at += count)
        if (fwrite(block, 1, (size_t)count, stdout) != (size_t)count)
            return ERR_IO;
    return fflush(stdout) == 0 ? ERR_OK : ERR_IO;
}

static enum crypto_seal_action action_of(const char *name)
{
    return strcmp(name, "sign") == 0      ? CRYPTO_SEAL_SIGN
           : strcmp(name, "encrypt") == 0 ? CRYPTO_SEAL_ENCRYPT
                                          : CRYPTO_SEAL_SIGN_ENCRYPT;
}

/* As in a keeper: the message is a file that is mapped. */
static enum err seal(const struct crypto_seal_request *request, bool is_own)
{
    struct crypto_seal_result result;
    struct stat status;
    int fd;
    enum err err = memfd_new("sealed", &fd);
    if (err != ERR_OK || fstat(STDIN_FILENO, &status) != 0 || status.st_size <= 0)
        return err == ERR_OK ? ERR_IO : err;
    void *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
    if (bytes == MAP_FAILED)
        return ERR_IO;
    const struct span message = {bytes, (size_t)status.st_size};
    err = is_own ? crypto_seal_own(NULL, request, message, fd, &result)
                 : crypto_seal(NULL, request, message, fd, &result);
    if (err == ERR_OK)
        err = copy_out(fd);
    (void)close(fd);
    (void)munmap(bytes, (size_t)status.st_size);
    return err;
}

/* With PRIVYSEAL_PEAK in the environment, to standard error: kilobytes resident at most, and of them in files. */
static void say_peak(void)
{
    struct rusage usage;
    if (getenv("PRIVYSEAL_PEAK") != NULL && getrusage(RUSAGE_SELF, &usage) == 0)
        (void)fprintf(stderr, "peak %ld kB\n", usage.ru_maxrss);
}

int main(int argc, char **argv)
{
    static char recipients[RECIPIENTS_MAX][KEYRING_FPR_SIZE];
    struct crypto_smime smime = {.private_key = find_key};
    struct crypto_seal_request request = {.format = KEYRING_SMIME,
                                          .subject_tag = "[encrypt]",
                                          .recipients = (const char(*)[KEYRING_FPR_SIZE])recipients,
                                          .output_max = MESSAGE_MAX,
                                          .smime = &smime};
    struct keyring_anchors *anchors = NULL;
    char issuer[KEYRING_FPR_SIZE];
    if (argc < 8 || argc - 8 > RECIPIENTS_MAX)
        return 2;
    options = argv[5];
    key_path = argv[7];
    request.action = action_of(argv[4]);
    enum err err = keyring_certificates_open(argv[1], &smime.certificates);
    if (err == ERR_OK)
        err = keyring_anchors_open(argv[2], &anchors);
    if (err == ERR_OK)
        err = put(smime.certificates, argv[3], "", issuer);
    if (err == ERR_OK && strcmp(argv[6], "-") != 0)
        err = put(smime.certificates, argv[6], "store", request.signer);
    for (int i = 8; err == ERR_OK && i < argc; i++)
        err = put(smime.certificates, argv[i], "", recipients[request.recipients_len++]);
    smime.anchors = anchors;
    smime.is_opaque = has("opaque");
    smime.is_pss = has("pss");
    smime.is_oaep = has("oaep");
    smime.is_compressed = has("compressed");
    smime.content = has("gcm") ? CRYPTO_SMIME_GCM : has("cbc") ? CRYPTO_SMIME_CBC : CRYPTO_SMIME_AUTO;
    if (err == ERR_OK)
        err = seal(&request, strcmp(argv[4], "own") == 0);
    if (err != ERR_OK)
        (void)fprintf(stderr, "%s\n", err_name(err));
    say_peak();
    keyring_certificates_close(&smime.certificates);
    keyring_anchors_close(&anchors);
    return err == ERR_OK ? 0 : 1;
}
