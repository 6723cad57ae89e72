/*
 * account "address" { also login smtp imap append autocrypt ca_file smime_* revocation pkcs11_* gnupghome }
 */
#include "proxy/config_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum err add_address(struct config_reader *reader, struct config_account *account, const char *text, int line)
{
    char address[MIME_ADDR_SIZE];
    if (strchr(text, '*') || mime_addr_normalise(span_of(text), address))
        return config_fail(reader, line, "\"%s\" is no address; expected something like \"alice@example.org\"", text);
    const struct config_account *other = config_account_of_address(reader->config, address);
    if (other)
        return config_fail(reader, line, "%s belongs to account \"%s\" already; expected each address once", address,
                           other->address);
    enum err err = config_grow(&account->addresses, &account->addresses_len, sizeof *account->addresses);
    if (err)
        return err;
    char *copy = strdup(address);
    account->addresses[account->addresses_len - 1] = copy;
    if (!copy) {
        account->addresses_len--;
        return ERR_MEMORY;
    }
    return ERR_OK;
}

static enum err read_addresses(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    enum err err = add_address(reader, account, cfg_title(section), config_reader_line(reader, section, NULL));
    if (!err)
        snprintf(account->address, sizeof account->address, "%s", account->addresses[0]);
    for (unsigned i = 0; !err && i < cfg_size(section, "also"); i++)
        err =
            add_address(reader, account, cfg_getnstr(section, "also", i), config_reader_line(reader, section, "also"));
    return err;
}

static enum err read_login(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    if (!span_copy(span_of(account->address), account->login, sizeof account->login) &&
        !config_reader_has(reader, section, "login"))
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "the address is too long to log in with; expected login = \"...\"");
    enum err err = config_string(reader, section, "login", account->login, sizeof account->login);
    if (err)
        return err;
    const int line = config_reader_line(reader, section, "login");
    if (!account->login[0])
        return config_fail(reader, line, "login is empty; expected the name that the server knows");
    for (size_t i = 0; i + 1 < reader->config->accounts_len; i++)
        if (strcmp(reader->config->accounts[i].login, account->login) == 0)
            return config_fail(reader, line, "login \"%s\" is that of account \"%s\" already; expected another",
                               account->login, reader->config->accounts[i].address);
    return ERR_OK;
}

/* One scheme of a server's URL. */
struct scheme {
    const char *name;
    enum config_security security;
    int port;
};

/* SCHEME://HOST[:PORT][/]; what it says goes into `upstream`. */
static bool read_url(const struct scheme *scheme, const char *url, struct config_upstream *upstream)
{
    struct span rest = span_skip(span_of(url), strlen(scheme->name));
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    upstream->security = scheme->security;
    upstream->port = scheme->port;
    return config_split_host(rest, upstream->host, sizeof upstream->host, &upstream->port) && upstream->port != 0 &&
           upstream->host[0] && !strpbrk(upstream->host, "/@?# \t");
}

static enum err read_upstream(struct config_reader *reader, cfg_t *section, struct config_account *account,
                              enum config_protocol protocol)
{
    static const struct scheme schemes[CONFIG_PROTOCOL_COUNT][3] = {
        [CONFIG_SMTP] = {{"smtps://", CONFIG_TLS_FROM_START, 465},
                         {"smtp://", CONFIG_TLS_BY_COMMAND, 587},
                         {"smtp+clear://", CONFIG_CLEAR, 25}},
        [CONFIG_IMAP] = {{"imaps://", CONFIG_TLS_FROM_START, 993},
                         {"imap://", CONFIG_TLS_BY_COMMAND, 143},
                         {"imap+clear://", CONFIG_CLEAR, 143}}};
    const char *name = config_protocol_name(protocol);
    struct config_upstream upstream = {.port = 0};
    enum err err = config_path(reader, section, "ca_file", upstream.ca_file);
    const char *url = config_text(reader, section, name);
    if (err || !url)
        return err;
    const int line = config_reader_line(reader, section, name);
    const struct scheme *scheme = NULL;
    for (size_t i = 0; i < 3; i++)
        if (span_has_case_prefix(span_of(url), span_of(schemes[protocol][i].name)))
            scheme = &schemes[protocol][i];
    if (!scheme || !read_url(scheme, url, &upstream))
        return config_fail(reader, line,
                           "%s = \"%s\"; expected \"%ss://HOST\" (TLS at once) or \"%s://HOST\" (STARTTLS), with "
                           ":PORT if it is not the usual one",
                           name, url, name, name);
    if (scheme->security == CONFIG_CLEAR && !config_is_loopback(upstream.host))
        return config_fail(reader, line,
                           "%s = \"%s\" would send passwords and mail in clear; expected %ss:// or %s:// "
                           "(%s+clear:// is for this machine only)",
                           name, url, name, name, name);
    account->upstreams[protocol] = upstream;
    return ERR_OK;
}

/* Certificates are read by whoever needs them; that there are some is looked at now. */
static enum err read_smime_ca(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    const char *given = config_text(reader, section, "smime_ca");
    if (given && strcmp(given, "system") == 0) {
        snprintf(account->smime_ca, sizeof account->smime_ca, "%s", given);
        return ERR_OK;
    }
    enum err err = config_path(reader, section, "smime_ca", account->smime_ca);
    if (!err && account->smime_ca[0] && access(account->smime_ca, R_OK) != 0)
        return config_fail(reader, config_reader_line(reader, section, "smime_ca"),
                           "smime_ca = \"%s\": %s; expected a file or a folder of certificates, or \"system\"",
                           account->smime_ca, strerror(errno));
    return err;
}

/* How what goes out by S/MIME is made. */
static enum err read_smime(struct config_reader *reader, cfg_t *section, struct crypto_smime *smime)
{
    static const struct config_word signs[] = {{"detached", 0}, {"opaque", 1}, {NULL, 0}};
    static const struct config_word paddings[] = {{"pkcs1", 0}, {"modern", 1}, {NULL, 0}};
    static const struct config_word ciphers[] = {
        {"auto", CRYPTO_SMIME_AUTO}, {"gcm", CRYPTO_SMIME_GCM}, {"cbc", CRYPTO_SMIME_CBC}, {NULL, 0}};
    static const struct config_word answers[] = {{"no", 0}, {"yes", 1}, {NULL, 0}};
    int is_opaque = 0, is_modern = 0, cipher = CRYPTO_SMIME_AUTO, is_compressed = 0;
    enum err err = config_word(reader, section, "smime_sign", signs, &is_opaque);
    if (!err)
        err = config_word(reader, section, "smime_rsa", paddings, &is_modern);
    if (!err)
        err = config_word(reader, section, "smime_cipher", ciphers, &cipher);
    if (!err)
        err = config_word(reader, section, "smime_compress", answers, &is_compressed);
    *smime = (struct crypto_smime){.is_opaque = is_opaque,
                                   .is_pss = is_modern,
                                   .is_oaep = is_modern,
                                   .is_compressed = is_compressed,
                                   .content = (enum crypto_smime_content)cipher};
    return err;
}

static enum err read_token(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    static const char *const names[] = {"pkcs11_module", "pkcs11_dir"};
    char *const paths[] = {account->pkcs11_module, account->pkcs11_dir};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < 2; i++) {
        err = config_path(reader, section, names[i], paths[i]);
        if (!err && paths[i][0] && access(paths[i], R_OK) != 0)
            err = config_fail(reader, config_reader_line(reader, section, names[i]), "%s = \"%s\": %s; expected %s",
                              names[i], paths[i], strerror(errno),
                              i == 0 ? "the PKCS#11 module of a token" : "the folder in which that module keeps files");
    }
    return err;
}

static enum err read_append(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    static const struct config_word words[] = {{"seal", 0}, {"plain", 1}, {NULL, 0}};
    int is_plain = 0;
    enum err err = config_word(reader, section, "append", words, &is_plain);
    account->append_plain = is_plain;
    return err;
}

static enum err read_autocrypt(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    static const struct config_word words[] = {{"mutual", KEYRING_PREFERENCE_MUTUAL},
                                               {"nopreference", KEYRING_PREFERENCE_NONE},
                                               {"off", KEYRING_PREFERENCE_OFF},
                                               {NULL, 0}};
    int preference = KEYRING_PREFERENCE_MUTUAL;
    enum err err = config_word(reader, section, "autocrypt", words, &preference);
    account->autocrypt = (enum keyring_preference)preference;
    return err;
}

static enum err read_revocation(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    static const struct config_word words[] = {{"off", KEYRING_REVOCATION_OFF},
                                               {"soft", KEYRING_REVOCATION_SOFT},
                                               {"hard", KEYRING_REVOCATION_HARD},
                                               {NULL, 0}};
    int mode = KEYRING_REVOCATION_OFF;
    enum err err = config_word(reader, section, "revocation", words, &mode);
    account->revocation = (enum keyring_revocation_mode)mode;
    return err;
}

/* gpg-agent makes its sockets in the home; a socket's path must fit into sockaddr_un. */
static enum err check_home(struct config_reader *reader, cfg_t *section, const struct config_account *account)
{
    const size_t sun_path_max = 107;
    const size_t len = strlen(account->gnupghome) + sizeof "/S.gpg-agent.browser" - 1;
    if (len <= sun_path_max)
        return ERR_OK;
    return config_fail(reader, config_reader_line(reader, section, NULL),
                       "the key directory %s is %zu bytes too long for gpg-agent's sockets; expected a shorter `state`",
                       account->gnupghome, len - sun_path_max);
}

static enum err read_home(struct config_reader *reader, cfg_t *section, struct config_account *account)
{
    enum err err = config_path(reader, section, "gnupghome", account->gnupghome);
    if (err || account->gnupghome[0])
        return err;
    account->is_own_home = true;
    char name[CONFIG_PATH_SIZE];
    int count = snprintf(name, sizeof name, "keys/%s", account->address);
    char path[CONFIG_PATH_SIZE];
    if (count < 0 || (size_t)count >= sizeof name || !config_state_path(reader->config, name, path))
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "the state directory's path is too long; expected a shorter `state`");
    count = snprintf(account->gnupghome, sizeof account->gnupghome, "%s/gnupg", path);
    if (count < 0 || (size_t)count >= sizeof account->gnupghome)
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "the state directory's path is too long; expected a shorter `state`");
    return check_home(reader, section, account);
}

static enum err read_account(struct config_reader *reader, cfg_t *section)
{
    struct config *config = reader->config;
    enum err err = config_grow(&config->accounts, &config->accounts_len, sizeof *config->accounts);
    if (err)
        return err;
    struct config_account *account = &config->accounts[config->accounts_len - 1];
    err = read_addresses(reader, section, account);
    if (!err)
        err = read_login(reader, section, account);
    if (!err)
        err = read_upstream(reader, section, account, CONFIG_SMTP);
    if (!err)
        err = read_upstream(reader, section, account, CONFIG_IMAP);
    if (!err)
        err = read_append(reader, section, account);
    if (!err)
        err = read_autocrypt(reader, section, account);
    if (!err)
        err = read_smime_ca(reader, section, account);
    if (!err)
        err = read_revocation(reader, section, account);
    if (!err)
        err = read_smime(reader, section, &account->smime);
    if (!err)
        err = read_token(reader, section, account);
    if (!err)
        err = read_home(reader, section, account);
    return err;
}

enum err config_read_accounts(struct config_reader *reader)
{
    const unsigned count = cfg_size(reader->root, "account");
    if (count == 0)
        return config_fail(reader, 1,
                           "there is no account; expected at least one `account \"you@example.org\" { ... }`");
    for (unsigned i = 0; i < count; i++) {
        enum err err = read_account(reader, cfg_getnsec(reader->root, "account", i));
        if (err)
            return err;
    }
    return ERR_OK;
}
