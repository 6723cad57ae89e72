#include "cli/key_own.h"

#include "base/clock.h"
#include "cli/key.h"
#include "cli/vault.h"
#include "keyring/token.h"

#include <openssl/x509v3.h>
#include <string.h>

#define TRIES_MAX 3
#define PEM_START SPAN_LIT("-----BEGIN ")
#define PGP_START SPAN_LIT("-----BEGIN PGP ")

_Static_assert(KEYRING_KEY_SAVED_MAX <= STORE_PRIVATE_KEY_MAX, "a private key fits into the store");

/* In DER everything is a SEQUENCE; no packet of OpenPGP begins with that byte (RFC 4880 §4.2). */
bool key_is_x509(struct span bytes)
{
    const size_t pem = span_find(bytes, 0, PEM_START), pgp = span_find(bytes, 0, PGP_START);
    if (pem != SIZE_MAX || pgp != SIZE_MAX)
        return pem < pgp;
    return bytes.len > 1 && bytes.ptr[0] == '\x30';
}

/* ---- reading ---- */

static void say_unread(const struct cli *cli, enum err err, const char *name)
{
    const char *why = err == ERR_KEY_LOCKED     ? "it is locked with a passphrase; give it on the terminal, to a "
                                                  "pinentry, or with --passphrase-fd"
                      : err == ERR_AUTH_FAILED  ? "this is not its passphrase"
                      : err == ERR_MALFORMED    ? "it is damaged, or holds no certificate or key that can be read"
                      : err == ERR_LIMIT        ? "it is too large, or wants its passphrase hashed too often"
                      : err == ERR_KEY_UNUSABLE ? "a key or cipher in it cannot be used (expected RSA or an elliptic "
                                                  "curve that has a name)"
                                                : NULL;
    if (why)
        fprintf(stderr, "privyseal %s: %s: %s\n", cli->command->name, name, why);
    else if (err != ERR_USAGE)
        (void)cli_fail(cli, err, "reading %s", name);
}

/* Asks until it fits, or three times; what comes from a descriptor comes once. */
static enum err read_locked(struct cli *cli, const char *name, struct span bytes, const char *passphrase_fd,
                            struct keyring_key_files *files)
{
    char what[600];
    struct secret passphrase = {NULL, 0};
    enum err err = ERR_AUTH_FAILED;
    (void)snprintf(what, sizeof what, "Passphrase of %.500s", name);
    for (int i = 0; err == ERR_AUTH_FAILED && i < (passphrase_fd ? 1 : TRIES_MAX); i++) {
        err = key_ask_passphrase(cli, passphrase_fd, what, i > 0 ? "That is not its passphrase." : NULL, &passphrase);
        if (!err)
            err = keyring_key_files_read(files, bytes, &passphrase);
    }
    secret_fini(&passphrase);
    return err;
}

enum err key_own_read(struct cli *cli, const char *name, struct span bytes, const char *passphrase_fd,
                      struct keyring_key_files *files)
{
    enum err err = keyring_key_files_read(files, bytes, NULL);
    if (err == ERR_KEY_LOCKED)
        err = read_locked(cli, name, bytes, passphrase_fd, files);
    if (err)
        say_unread(cli, err, name);
    return err;
}

/* ---- keeping ---- */

struct keeping {
    struct cli *cli;
    struct cli_vault vault;
    struct keyring_certificates *certificates;
    FILE *words;
    json_t *list;
};

static enum err open_folder(struct keeping *keeping)
{
    const struct cli *cli = keeping->cli;
    char dir[CONFIG_PATH_SIZE];
    enum err err = config_certificates(cli->config, cli->account, dir) ? ERR_OK : ERR_CONFIG;
    if (!err)
        err = keyring_certificates_open(dir, &keeping->certificates);
    if (err)
        (void)cli_fail(cli, err, "opening the certificates of %s", cli->account->address);
    return err;
}

static enum err open_all(struct keeping *keeping)
{
    const struct cli *cli = keeping->cli;
    enum err err = open_folder(keeping);
    if (err)
        return err;
    err = cli_vault_open_to_keep(cli->config, &keeping->vault);
    if (!err)
        err = cli_vault_unlock(&keeping->vault, cli->gpg, cli->account->address);
    if (err == ERR_REFUSED)
        fprintf(stderr, "privyseal %s: the store belongs to %s; do this as that user\n", cli->command->name,
                cli->config->user);
    else if (err == ERR_KEY_LOCKED)
        fprintf(stderr,
                "privyseal %s: what the store's keys of %s are kept by is locked or not here, so no private key can be "
                "put there or had; see `privyseal check`\n",
                cli->command->name, cli->account->address);
    else if (err)
        (void)cli_fail(cli, err, "opening the store");
    return err;
}

static void close_all(struct keeping *keeping)
{
    keyring_certificates_close(&keeping->certificates);
    cli_vault_close(&keeping->vault);
}

/* What is known of a certificate stays, but for where its key is. */
static enum err put_certificate(struct keeping *keeping, X509 *certificate, const char *fingerprint,
                                const char *key_place)
{
    const struct keyring_certificate *known = keyring_certificates_find(keeping->certificates, fingerprint);
    struct keyring_certificate entry = {.source = KEYRING_SOURCE_IMPORT, .seen = clock_now()};
    if (known && !key_place)
        return ERR_OK;
    if (known)
        entry = *known;
    entry.certificate = certificate;
    if (key_place)
        (void)snprintf(entry.key_place, sizeof entry.key_place, "%s", key_place);
    return keyring_certificates_put(keeping->certificates, &entry);
}

/* The key first: a certificate never says that it is where it is not. */
static enum err put_key(struct keeping *keeping, const char *fingerprint, EVP_PKEY *key)
{
    struct buf saved;
    buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
    enum err err = keyring_key_save(key, &saved);
    if (!err)
        err = cli_vault_private_put(&keeping->vault, keeping->cli->account->address, fingerprint, buf_span(&saved));
    buf_fini(&saved);
    return err;
}

static bool is_own(const struct config_account *account, const char *address)
{
    for (size_t i = 0; i < account->addresses_len; i++)
        if (mime_addr_is_same(account->addresses[i], address))
            return true;
    return false;
}

/* Says whose it is, and what a person would not expect. */
static enum err describe(const struct keeping *keeping, const X509 *certificate, const char *fingerprint)
{
    const struct config_account *account = keeping->cli->account;
    struct keyring *keyring;
    bool names_account = false;
    enum err err = keyring_new(&keyring);
    if (!err)
        err = keyring_x509_add(certificate, KEYRING_OWN, keyring);
    for (size_t i = 0; !err && i < keyring_len(keyring); i++)
        names_account = names_account || is_own(account, keyring_at(keyring, i)->address);
    if (!err)
        fprintf(keeping->words, "%s: %s\n%s: yours\n", fingerprint, keyring_at(keyring, 0)->user_id, fingerprint);
    bool is_marked = false;
    char address[MIME_ADDR_SIZE];
    if (!err)
        err = key_certificate_is_marked(certificate, &is_marked, address);
    if (!err && is_marked)
        fprintf(keeping->words,
                "%s: is marked as one that issues others (CA:TRUE), so it is not used for your mail; have one with "
                "CA:FALSE (`openssl req -x509` makes such only with -addext basicConstraints=CA:FALSE)\n",
                fingerprint);
    if (!err && !names_account)
        fprintf(keeping->words,
                "%s: names no address of %s: mail sealed to it is read, but nothing is signed with it\n", fingerprint,
                account->address);
    if (!err && json_array_append_new(keeping->list, json_pack("{s:s, s:s, s:b}", "fingerprint", fingerprint, "subject",
                                                               keyring_at(keyring, 0)->user_id, "secret", 1)))
        err = ERR_MEMORY;
    keyring_free(&keyring);
    return err;
}

static enum err keep_pair(struct keeping *keeping, const struct keyring_key_pair *pair)
{
    char fingerprint[KEYRING_FPR_SIZE];
    enum err err = keyring_x509_fingerprint(pair->certificate, fingerprint);
    if (!err)
        err = put_key(keeping, fingerprint, pair->key);
    if (!err)
        err = put_certificate(keeping, pair->certificate, fingerprint, "store");
    if (!err)
        err = describe(keeping, pair->certificate, fingerprint);
    return err;
}

static enum err keep_others(struct keeping *keeping, const STACK_OF(X509) * others)
{
    enum err err = ERR_OK;
    for (int i = 0; !err && i < sk_X509_num(others); i++) {
        char fingerprint[KEYRING_FPR_SIZE];
        err = keyring_x509_fingerprint(sk_X509_value(others, i), fingerprint);
        if (!err)
            err = put_certificate(keeping, sk_X509_value(others, i), fingerprint, NULL);
    }
    return err;
}

/* A key may come alone when its certificate is here already. */
static enum err find_certificates(const struct keeping *keeping, struct keyring_key_files *files)
{
    bool is_lone = false;
    enum err err = ERR_OK;
    for (size_t i = 0; i < files->pairs_len; i++)
        is_lone = is_lone || !files->pairs[i].certificate;
    for (size_t i = 0; !err && is_lone && i < keyring_certificates_len(keeping->certificates); i++) {
        X509 *certificate = keyring_certificates_at(keeping->certificates, i)->certificate;
        for (size_t j = 0; !err && j < files->pairs_len; j++)
            if (!files->pairs[j].certificate && X509_check_private_key(certificate, files->pairs[j].key) == 1)
                err = keyring_key_files_add(files, certificate);
    }
    return err;
}

static enum err check(const struct cli *cli, const struct keyring_key_files *files)
{
    const char *why =
        files->pairs_len == 0 ? "there is no private key; certificates alone are imported without --own" : NULL;
    for (size_t i = 0; !why && i < files->pairs_len; i++)
        if (!files->pairs[i].certificate)
            why = "there is a private key without its certificate; name the file of that, too";
    if (why)
        fprintf(stderr, "privyseal %s: %s\n", cli->command->name, why);
    return why ? ERR_MALFORMED : ERR_OK;
}

enum err key_own_keep(struct cli *cli, struct keyring_key_files *files, FILE *words, json_t *list)
{
    struct keeping keeping = {.cli = cli, .vault = {.socket = -1}, .words = words, .list = list};
    enum err err = open_all(&keeping);
    if (err) {
        close_all(&keeping);
        return err;
    }
    err = find_certificates(&keeping, files);
    const enum err checked = err ? ERR_OK : check(cli, files);
    for (size_t i = 0; !err && !checked && i < files->pairs_len; i++)
        err = keep_pair(&keeping, &files->pairs[i]);
    if (!err && !checked)
        err = keep_others(&keeping, files->others);
    if (err)
        (void)cli_fail(cli, err, "keeping the private key");
    close_all(&keeping);
    return err ? err : checked;
}

/* Without the type of object, which the certificate and its key do not share. */
static enum err clean_uri(const char *uri, char out[KEYRING_KEY_PLACE_SIZE])
{
    struct span rest = span_of(uri), piece;
    struct buf clean;
    buf_init(&clean, KEYRING_KEY_PLACE_SIZE - 1);
    enum err err = keyring_token_is_uri(uri) ? ERR_OK : ERR_USAGE;
    while (!err && span_take_until(&rest, ';', &piece))
        if (!span_has_prefix(piece, SPAN_LIT("type=")))
            err = buf_addf(&clean, "%s%.*s", clean.len ? ";" : "", (int)piece.len, piece.ptr);
    if (!err)
        (void)span_copy(buf_span(&clean), out, KEYRING_KEY_PLACE_SIZE);
    buf_fini(&clean);
    return err;
}

static enum err take_from_token(struct keeping *keeping, const char *uri)
{
    const char *module = keeping->cli->account->pkcs11_module;
    char fingerprint[KEYRING_FPR_SIZE];
    struct keyring_token *token;
    X509 *certificate = NULL;
    enum err err = keyring_token_open(module, &token);
    if (err)
        return err;
    err = keyring_token_certificate(token, uri, &certificate);
    if (!err)
        err = keyring_x509_fingerprint(certificate, fingerprint);
    if (!err)
        err = put_certificate(keeping, certificate, fingerprint, uri);
    if (!err)
        err = describe(keeping, certificate, fingerprint);
    X509_free(certificate);
    keyring_token_close(&token);
    return err;
}

enum err key_own_token(struct cli *cli, const char *uri, FILE *words, json_t *list)
{
    struct keeping keeping = {.cli = cli, .vault = {.socket = -1}, .words = words, .list = list};
    char place[KEYRING_KEY_PLACE_SIZE];
    enum err err = clean_uri(uri, place);
    if (!cli->account->pkcs11_module[0]) {
        fprintf(stderr, "privyseal %s: expected pkcs11_module in the account's configuration\n", cli->command->name);
        return ERR_CONFIG;
    }
    if (err) {
        fprintf(stderr,
                "privyseal %s: expected a URI like \"pkcs11:token=NAME;id=%%01\" that names a token and an object, and "
                "holds no PIN\n",
                cli->command->name);
        return ERR_USAGE;
    }
    err = open_folder(&keeping);
    if (!err && (err = take_from_token(&keeping, place)))
        (void)cli_fail(cli, err, "taking the certificate %s", place);
    close_all(&keeping);
    return err;
}

/* ---- removing and giving back ---- */

enum err key_own_remove(struct cli *cli, const struct keyring_certificate *certificate)
{
    struct cli_vault vault;
    if (strcmp(certificate->key_place, "store") != 0)
        return ERR_OK;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (!err)
        err = cli_vault_private_remove(&vault, cli->account->address, certificate->fingerprint);
    cli_vault_close(&vault);
    if (err == ERR_NOT_FOUND)
        err = ERR_OK;
    if (err)
        (void)cli_fail(cli, err, "removing the private key %s", certificate->fingerprint);
    return err;
}

/* The path to the root as far as it is known, by names and signatures. */
static STACK_OF(X509) * find_issuers(struct keyring_certificates *certificates, X509 *certificate)
{
    STACK_OF(X509) *known = keyring_certificates_issuers(certificates), *path = sk_X509_new_null();
    for (int depth = 0; path && certificate && depth < KEYRING_CHAIN_MAX; depth++) {
        X509 *issuer = NULL;
        for (int i = 0; !issuer && i < sk_X509_num(known); i++)
            if (X509_cmp(sk_X509_value(known, i), certificate) != 0 &&
                X509_check_issued(sk_X509_value(known, i), certificate) == X509_V_OK)
                issuer = sk_X509_value(known, i);
        if (issuer && !sk_X509_push(path, issuer))
            issuer = NULL;
        certificate = issuer;
    }
    return path;
}

static enum err get_key(struct keeping *keeping, const char *fingerprint, EVP_PKEY **key_out)
{
    struct buf saved;
    buf_init_secret(&saved, STORE_PRIVATE_KEY_MAX + 1);
    enum err err = cli_vault_private_get(&keeping->vault, keeping->cli->account->address, fingerprint, &saved);
    if (!err)
        err = keyring_key_load(buf_span(&saved), key_out);
    buf_fini(&saved);
    return err;
}

/* Twice, where a person types it and does not see it. */
static enum err ask_new(struct cli *cli, const char *passphrase_fd, struct secret *passphrase)
{
    struct secret again = {NULL, 0};
    enum err err = key_ask_passphrase(cli, passphrase_fd, "Passphrase for the file", NULL, passphrase);
    if (err || passphrase_fd)
        return err;
    err = key_ask_passphrase(cli, NULL, "The same passphrase again", NULL, &again);
    if (!err && !secret_is_equal(secret_span(passphrase), secret_span(&again))) {
        fprintf(stderr, "privyseal %s: the two passphrases differ\n", cli->command->name);
        err = ERR_USAGE;
    }
    secret_fini(&again);
    return err;
}

static enum err export_key(struct keeping *keeping, const struct keyring_certificate *certificate,
                           const char *passphrase_fd, STACK_OF(X509) * issuers, struct buf *out)
{
    struct secret passphrase = {NULL, 0};
    EVP_PKEY *key = NULL;
    enum err err = get_key(keeping, certificate->fingerprint, &key);
    if (err)
        (void)cli_fail(keeping->cli, err, "the private key %s", certificate->fingerprint);
    if (!err && (err = ask_new(keeping->cli, passphrase_fd, &passphrase)) == ERR_KEY_LOCKED)
        fprintf(stderr, "privyseal %s: expected a passphrase for the file\n", keeping->cli->command->name);
    if (!err && (err = keyring_key_export(certificate->certificate, key, issuers, &passphrase, out)))
        (void)cli_fail(keeping->cli, err, "writing PKCS#12");
    secret_fini(&passphrase);
    EVP_PKEY_free(key);
    return err;
}

enum err key_own_export(struct cli *cli, struct keyring_certificates *certificates,
                        const struct keyring_certificate *certificate, const char *passphrase_fd, struct buf *out)
{
    struct keeping keeping = {.cli = cli, .vault = {.socket = -1}};
    if (strcmp(certificate->key_place, "store") != 0) {
        (void)cli_fail(cli, ERR_NOT_FOUND, "the private key of %s in the store", certificate->fingerprint);
        return ERR_NOT_FOUND;
    }
    enum err err = open_all(&keeping);
    STACK_OF(X509) *issuers = err ? NULL : find_issuers(certificates, certificate->certificate);
    if (!err)
        err = issuers ? export_key(&keeping, certificate, passphrase_fd, issuers, out) : ERR_MEMORY;
    sk_X509_free(issuers);
    close_all(&keeping);
    return err;
}
