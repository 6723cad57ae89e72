/*
 * The private keys of the account's own certificates, as the engine asks a keeper for them: out of the store, through
 * the vault, or on a token. What was had once stays in memory for as long as the keeper
 * lives, or until the vault says that a key of the account has been removed.
 */
#include "proxy/keeper_internal.h"

#include "base/log.h"
#include "keyring/x509_key.h"
#include "store/private_key.h"

#include <string.h>

_Static_assert(KEYRING_KEY_SAVED_MAX <= STORE_PRIVATE_KEY_MAX, "a private key fits into the store");
_Static_assert(KEYRING_FPR_SIZE <= STORE_FINGERPRINT_SIZE, "so does its name");

static struct keeper_private_key *find(struct keeper *keeper, const char *fingerprint)
{
    for (size_t i = 0; i < keeper->private_keys_len; i++)
        if (strcmp(keeper->private_keys[i].fingerprint, fingerprint) == 0)
            return &keeper->private_keys[i];
    return NULL;
}

/* The oldest makes room. */
static void keep(struct keeper *keeper, const char *fingerprint, EVP_PKEY *key)
{
    struct keeper_private_key *keys = keeper->private_keys;
    if (keeper->private_keys_len == KEEPER_PRIVATE_KEYS_MAX) {
        EVP_PKEY_free(keys[0].key);
        memmove(keys, keys + 1, --keeper->private_keys_len * sizeof(*keys));
    }
    struct keeper_private_key *slot = &keys[keeper->private_keys_len++];
    (void)span_copy(span_of(fingerprint), slot->fingerprint, sizeof(slot->fingerprint));
    slot->key = key;
    EVP_PKEY_up_ref(key);
}

static enum err ask_vault(struct keeper *keeper, const char *fingerprint, EVP_PKEY **key_out)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_PRIVATE_GET);
    ipc_put_string(&out, keeper->setup.account);
    ipc_put_string(&out, fingerprint);
    enum err err = keeper_ask_vault(keeper, &out, &in);
    if (err != ERR_OK)
        return err;
    const struct span saved = ipc_get_span(&in);
    err = ipc_in_end(&in);
    if (err == ERR_OK)
        err = keyring_key_load(saved, key_out);
    ipc_in_fini(&in);
    return err;
}

static enum err get_stored(struct keeper *keeper, const char *fingerprint, EVP_PKEY **key_out)
{
    if (keeper->setup.vault < 0)
        return ERR_STORE;
    enum err err = ask_vault(keeper, fingerprint, key_out);
    if (err != ERR_KEY_LOCKED)
        return err;
    err = keeper_keys_open(keeper);
    return err == ERR_OK ? ask_vault(keeper, fingerprint, key_out) : err;
}

static enum err get_on_token(struct keeper *keeper, const char *uri, bool asks_person, EVP_PKEY **key_out)
{
    if (keeper->token == NULL)
        return log_failure(ERR_NO_KEY, "the token of %s", uri);
    return keyring_token_unlock(keeper->token, keeper->gpg, keeper->setup.key_cache, uri, asks_person, key_out);
}

static enum err get(struct keeper *keeper, const struct keyring_certificate *certificate, bool asks_person,
                    EVP_PKEY **key_out)
{
    const bool is_stored = strcmp(certificate->key_place, "store") == 0;
    if (certificate->key_place[0] == '\0')
        return ERR_NO_KEY;
    enum err err = is_stored ? get_stored(keeper, certificate->fingerprint, key_out)
                             : get_on_token(keeper, certificate->key_place, asks_person, key_out);
    /* It is to be in the store and is not: somebody has removed it, or the store is another. */
    if (err == ERR_NOT_FOUND) {
        log_failure(err, "the private key %s of %s in the store", certificate->fingerprint, keeper->setup.account);
        return ERR_NO_KEY;
    }
    if (err != ERR_OK)
        return err;
    /* Of what is on a token only the public part can be looked at. */
    const bool fits = is_stored ? keyring_key_fits(certificate->certificate, *key_out)
                                : X509_check_private_key(certificate->certificate, *key_out) == 1;
    if (fits)
        return ERR_OK;
    EVP_PKEY_free(*key_out);
    *key_out = NULL;
    return log_failure(ERR_KEY_UNUSABLE, "the private key %s of %s is another's", certificate->fingerprint,
                       keeper->setup.account);
}

enum err keeper_private_key(void *context, const struct keyring_certificate *certificate, bool asks_person,
                            EVP_PKEY **key_out)
{
    struct keeper *keeper = context;
    const struct keeper_private_key *kept = find(keeper, certificate->fingerprint);
    *key_out = NULL;
    if (kept != NULL) {
        EVP_PKEY_up_ref(kept->key);
        *key_out = kept->key;
        return ERR_OK;
    }
    enum err err = get(keeper, certificate, asks_person, key_out);
    if (err == ERR_OK)
        keep(keeper, certificate->fingerprint, *key_out);
    return err;
}

enum err keeper_private_unlock(struct keeper *keeper)
{
    const struct crypto_smime *smime;
    if (keeper->token == NULL)
        return ERR_OK;
    enum err err = keeper_smime(keeper, &smime);
    for (size_t i = 0; err == ERR_OK && i < keyring_certificates_len(smime->certificates); i++) {
        const struct keyring_certificate *certificate = keyring_certificates_at(smime->certificates, i);
        EVP_PKEY *key;
        if (!keyring_token_is_uri(certificate->key_place))
            continue;
        err = keeper_private_key(keeper, certificate, true, &key);
        EVP_PKEY_free(key);
    }
    return err;
}

void keeper_private_fini(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->private_keys_len; i++)
        EVP_PKEY_free(keeper->private_keys[i].key);
    keeper->private_keys_len = 0;
}
