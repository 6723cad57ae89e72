/*
 * directory "name" { url base scope bind_dn password_command sasl certificate_file key_file filter attributes domains
 *                    timeout time_limit size_limit ca_file keep_found keep_missing keep_failed referral_hosts }
 */
#include "proxy/config_reader.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_SOCKET "/var/run/slapd/ldapi" /* where Debian's slapd listens */

static const struct scheme {
    const char *name;
    enum keyring_ldap_security security;
    int port;
} schemes[] = {{"ldaps://", KEYRING_LDAP_TLS, 636},
               {"ldap://", KEYRING_LDAP_STARTTLS, 389},
               {"ldap+clear://", KEYRING_LDAP_CLEAR, 389},
               {"ldapi://", KEYRING_LDAP_LOCAL, 0}};

/* A path with %XX for what an authority may not hold (RFC 3986 §3.2.2, as libldap writes it). */
static bool read_socket_path(struct span text, char *path, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte == '%') {
            char digits[3] = "";
            if (i + 2 >= text.len || !isxdigit((unsigned char)text.ptr[i + 1]) ||
                !isxdigit((unsigned char)text.ptr[i + 2]))
                return false;
            memcpy(digits, text.ptr + i + 1, 2);
            byte = (char)strtoul(digits, NULL, 16);
            i += 2;
        }
        if (byte == '\0' || len + 1 >= size)
            return false;
        path[len++] = byte;
    }
    path[len] = '\0';
    return path[0] == '/';
}

static bool read_place(const struct scheme *scheme, const char *url, struct keyring_ldap_options *ldap)
{
    struct span rest = span_skip(span_of(url), strlen(scheme->name));
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    ldap->security = scheme->security;
    ldap->port = scheme->port;
    if (scheme->security != KEYRING_LDAP_LOCAL)
        return config_split_host(rest, ldap->host, sizeof ldap->host, &ldap->port) && ldap->port != 0 &&
               ldap->host[0] && !strpbrk(ldap->host, "/@?# \t");
    return read_socket_path(rest.len ? rest : span_of(LOCAL_SOCKET), ldap->path, sizeof ldap->path);
}

static enum err read_url(struct config_reader *reader, cfg_t *section, struct keyring_ldap_options *ldap)
{
    const char *url = config_text(reader, section, "url");
    if (!url)
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "directory \"%s\" has no url; expected url = \"ldaps://HOST\"", ldap->name);
    const int line = config_reader_line(reader, section, "url");
    const struct scheme *scheme = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (span_has_case_prefix(span_of(url), span_of(schemes[i].name)))
            scheme = &schemes[i];
    if (!scheme || !read_place(scheme, url, ldap))
        return config_fail(reader, line,
                           "url = \"%s\"; expected \"ldaps://HOST\" (TLS at once), \"ldap://HOST\" (StartTLS), with "
                           ":PORT if it is not the usual one, or \"ldapi://%%2Fpath%%2Fof%%2Fsocket\"",
                           url);
    if (scheme->security == KEYRING_LDAP_CLEAR && !config_is_loopback(ldap->host))
        return config_fail(reader, line,
                           "url = \"%s\" would ask in clear; expected ldaps:// or ldap:// (ldap+clear:// is for this "
                           "machine only)",
                           url);
    return ERR_OK;
}

static enum err read_referral_hosts(struct config_reader *reader, cfg_t *section, struct keyring_ldap_options *ldap)
{
    const unsigned len = cfg_size(section, "referral_hosts");
    const int line = config_reader_line(reader, section, "referral_hosts");
    if (len > KEYRING_LDAP_HOSTS_MAX)
        return config_fail(reader, line, "referral_hosts has %u elements; expected at most %d", len,
                           KEYRING_LDAP_HOSTS_MAX);
    for (unsigned i = 0; i < len; i++) {
        struct keyring_ldap_host *named = &ldap->referral_hosts[i];
        const char *text = cfg_getnstr(section, "referral_hosts", i);
        if (!config_split_host(span_of(text), named->host, sizeof named->host, &named->port) || !named->host[0] ||
            strpbrk(named->host, "/@?# \t"))
            return config_fail(reader, line, "referral_hosts = \"%s\"; expected \"HOST\" or \"HOST:PORT\"", text);
        if (ldap->security == KEYRING_LDAP_CLEAR && !config_is_loopback(named->host))
            return config_fail(
                reader, line,
                "referral_hosts = \"%s\" would be asked in clear, as the directory is; expected ldaps:// "
                "or ldap:// as its url, or a server on this machine",
                text);
    }
    ldap->referral_hosts_len = len;
    return ERR_OK;
}

/* An attribute's description (RFC 4512 §2.5): a name or numbers, and options. */
static bool is_attribute(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.;_";
    return text[0] && text[strspn(text, allowed)] == '\0' &&
           strlen(text) < sizeof(((struct keyring_ldap_options *)0)->attributes[0]);
}

static enum err read_attributes(struct config_reader *reader, cfg_t *section, struct keyring_ldap_options *ldap)
{
    static const char *const defaults[] = {"userCertificate;binary", "userSMIMECertificate", "pgpKey"};
    const unsigned given = cfg_size(section, "attributes");
    const int line = config_reader_line(reader, section, "attributes");
    if (given > KEYRING_LDAP_ATTRIBUTES_MAX)
        return config_fail(reader, line, "attributes has %u elements; expected at most %d", given,
                           KEYRING_LDAP_ATTRIBUTES_MAX);
    ldap->attributes_len = given ? given : sizeof defaults / sizeof *defaults;
    for (size_t i = 0; i < ldap->attributes_len; i++) {
        const char *text = given ? cfg_getnstr(section, "attributes", (unsigned)i) : defaults[i];
        if (!is_attribute(text))
            return config_fail(reader, line,
                               "attributes = \"%s\"; expected the name of an attribute, as "
                               "\"userCertificate;binary\"",
                               text);
        snprintf(ldap->attributes[i], sizeof ldap->attributes[i], "%s", text);
    }
    return ERR_OK;
}

static enum err read_filter(struct config_reader *reader, cfg_t *section, struct keyring_ldap_options *ldap)
{
    struct buf filter;
    snprintf(ldap->filter, sizeof ldap->filter, "(mail=%%a)");
    enum err err = config_string(reader, section, "filter", ldap->filter, sizeof ldap->filter);
    if (err)
        return err;
    buf_init(&filter, 8192);
    err = keyring_ldap_filter(ldap->filter, "x@example.org", &filter);
    buf_fini(&filter);
    if (err)
        return config_fail(reader, config_reader_line(reader, section, "filter"),
                           "filter = \"%s\"; expected a filter in brackets in which %%a stands for the address (or %%l "
                           "and %%d for its local part and domain), as \"(mail=%%a)\"",
                           ldap->filter);
    return ERR_OK;
}

static enum err check_login(struct config_reader *reader, cfg_t *section, struct config_directory *directory)
{
    const struct keyring_ldap_options *ldap = &directory->ldap;
    const bool has_command = directory->password_command[0] != '\0', has_key = directory->key_file[0] != '\0';
    if (has_command != (ldap->bind_dn[0] != '\0'))
        return config_fail(reader, config_reader_line(reader, section, has_command ? "password_command" : "bind_dn"),
                           "bind_dn and password_command belong together; expected both, or neither");
    if (has_key != (directory->certificate_file[0] != '\0'))
        return config_fail(reader, config_reader_line(reader, section, has_key ? "key_file" : "certificate_file"),
                           "certificate_file and key_file belong together; expected both, or neither");
    if (has_command && ldap->is_external)
        return config_fail(reader, config_reader_line(reader, section, "sasl"),
                           "sasl = external takes no password; expected it without bind_dn");
    if (ldap->is_external && !has_key && ldap->security != KEYRING_LDAP_LOCAL)
        return config_fail(reader, config_reader_line(reader, section, "sasl"),
                           "sasl = external has nothing to show; expected ldapi://, or certificate_file and key_file");
    return ERR_OK;
}

static enum err read_login(struct config_reader *reader, cfg_t *section, struct config_directory *directory)
{
    static const struct config_word sasls[] = {{"none", 0}, {"external", 1}, {NULL, 0}};
    struct keyring_ldap_options *ldap = &directory->ldap;
    int is_external = 0;
    enum err err = config_string(reader, section, "bind_dn", ldap->bind_dn, sizeof ldap->bind_dn);
    if (!err)
        err = config_string(reader, section, "password_command", directory->password_command,
                            sizeof directory->password_command);
    if (!err)
        err = config_word(reader, section, "sasl", sasls, &is_external);
    if (!err)
        err = config_path(reader, section, "certificate_file", directory->certificate_file);
    if (!err)
        err = config_path(reader, section, "key_file", directory->key_file);
    ldap->is_external = is_external;
    return err ? err : check_login(reader, section, directory);
}

static enum err read_limits(struct config_reader *reader, cfg_t *section, struct config_directory *directory)
{
    uint64_t time = directory->source.timeout_ms / 1000, size = 20;
    enum err err = config_number(reader, section, "time_limit", 1, 300, false, &time);
    if (!err)
        err = config_number(reader, section, "size_limit", 1, 1000, false, &size);
    directory->ldap.timeout_ms = directory->source.timeout_ms;
    directory->ldap.time_limit_s = (uint32_t)time;
    directory->ldap.size_limit = (uint32_t)size;
    return err;
}

static enum err read_search(struct config_reader *reader, cfg_t *section, struct keyring_ldap_options *ldap)
{
    static const struct config_word scopes[] = {
        {"sub", KEYRING_LDAP_SUB}, {"one", KEYRING_LDAP_ONE}, {"base", KEYRING_LDAP_BASE}, {NULL, 0}};
    int scope = KEYRING_LDAP_SUB;
    enum err err = config_string(reader, section, "base", ldap->base, sizeof ldap->base);
    if (!err && !config_reader_has(reader, section, "base"))
        err = config_fail(reader, config_reader_line(reader, section, NULL),
                          "directory \"%s\" has no base; expected base = \"dc=example,dc=org\"", ldap->name);
    if (!err)
        err = config_word(reader, section, "scope", scopes, &scope);
    ldap->scope = (enum keyring_ldap_scope)scope;
    if (!err)
        err = read_filter(reader, section, ldap);
    return err ? err : read_attributes(reader, section, ldap);
}

static enum err read_directory(struct config_reader *reader, cfg_t *section, struct config_directory *directory)
{
    struct keyring_ldap_options *ldap = &directory->ldap;
    directory->source.kind = KEYRING_SOURCE_DIRECTORY;
    enum err err = config_read_source(reader, section, &directory->source);
    memcpy(ldap->name, directory->source.name, sizeof ldap->name);
    if (!err)
        err = read_url(reader, section, ldap);
    /* Nothing that came in clear is believed. */
    directory->source.belief = ldap->security == KEYRING_LDAP_CLEAR ? CONFIG_BELIEVED_NEVER : CONFIG_BELIEVED_IF_LISTED;
    if (!err)
        err = read_search(reader, section, ldap);
    if (!err)
        err = read_login(reader, section, directory);
    if (!err)
        err = read_referral_hosts(reader, section, &directory->ldap);
    if (!err)
        err = read_limits(reader, section, directory);
    if (!err)
        err = config_check_file(reader, section, "certificate_file", "a PEM file", directory->certificate_file);
    return err ? err : config_check_file(reader, section, "key_file", "a PEM file", directory->key_file);
}

enum err config_read_directories(struct config_reader *reader)
{
    struct config *config = reader->config;
    enum err err = ERR_OK;
    for (unsigned i = 0; !err && i < cfg_size(reader->root, "directory"); i++) {
        if (config->directories_len == CONFIG_DIRECTORIES_MAX)
            return config_fail(reader, config_reader_line(reader, cfg_getnsec(reader->root, "directory", i), NULL),
                               "there are too many directories; expected at most %d", CONFIG_DIRECTORIES_MAX);
        err = config_grow(&config->directories, &config->directories_len, sizeof *config->directories);
        if (!err)
            err = read_directory(reader, cfg_getnsec(reader->root, "directory", i),
                                 &config->directories[config->directories_len - 1]);
    }
    return err;
}

void config_free_directories(struct config *config)
{
    for (size_t i = 0; i < config->directories_len; i++)
        config_free_source(&config->directories[i].source);
    free(config->directories);
}
