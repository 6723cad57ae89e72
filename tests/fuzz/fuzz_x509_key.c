/* Files of private keys: whatever the bytes are, what comes out of them can be kept and read again, and what is paired
   belongs together. The passphrase is the one of the seeds. */
#include "keyring/x509_key.h"

#include <stdlib.h>

#define ITERATIONS_MAX 4096

static void check_key(EVP_PKEY *key)
{
    struct buf saved;
    EVP_PKEY *again = NULL;
    buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
    const enum err err = keyring_key_save(key, &saved);
    if (err == ERR_OK && (keyring_key_load(buf_span(&saved), &again) != ERR_OK || EVP_PKEY_eq(key, again) != 1))
        abort();
    EVP_PKEY_free(again);
    buf_fini(&saved);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct secret passphrase;
    struct keyring_key_files files;
    EVP_PKEY *key = NULL;
    const struct span bytes = {(const char *)data, size};
    if (passphrase.data == NULL && secret_set(&passphrase, SPAN_LIT("xyzzy"), 100) != ERR_OK)
        abort();
    keyring_key_files_init(&files, ITERATIONS_MAX);
    (void)!keyring_key_files_read(&files, bytes, &passphrase);
    if (files.pairs_len > KEYRING_KEYS_MAX || sk_X509_num(files.others) > KEYRING_KEY_CERTIFICATES_MAX)
        abort();
    for (size_t i = 0; i < files.pairs_len; i++) {
        if (files.pairs[i].certificate != NULL && !keyring_key_fits(files.pairs[i].certificate, files.pairs[i].key))
            abort();
        check_key(files.pairs[i].key);
    }
    keyring_key_files_fini(&files);
    if ((keyring_key_load(bytes, &key) == ERR_OK) != (key != NULL))
        abort();
    EVP_PKEY_free(key);
    return 0;
}
