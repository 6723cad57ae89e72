#include "proxy/directory.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "base/spawn.h"
#include "base/tls.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_MAX 1024
#define PASSWORD_COMMAND_MS 30000

/* Reads the file that the command has written, and wipes it. */
static enum err take_output(int fd, struct secret *password)
{
    char bytes[PASSWORD_MAX + 2];
    static const char zeros[sizeof(bytes)];
    struct stat status;
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    enum err err = len < 0 ? ERR_IO : ERR_OK;
    if (err == ERR_OK && len > 0 && bytes[len - 1] == '\n')
        len--;
    if (err == ERR_OK && (len == 0 || len > PASSWORD_MAX || memchr(bytes, '\0', (size_t)len) != NULL))
        err = ERR_CONFIG;
    if (err == ERR_OK)
        err = secret_set(password, (struct span){bytes, (size_t)len}, PASSWORD_MAX);
    secret_wipe(bytes, sizeof(bytes));
    if (fstat(fd, &status) == 0)
        for (off_t at = 0; at < status.st_size; at += (off_t)sizeof(zeros))
            if (pwrite(fd, zeros, sizeof(zeros), at) < 0)
                break;
    return err;
}

enum err proxy_password_run(const char *command, struct secret *password)
{
    char script[2048];
    int fd;
    /* Standard output is the file that we hold; the password is in no argument and in no file that has a name. */
    const int len = snprintf(script, sizeof(script), "exec </dev/null >&3 3>&-\n%s", command);
    if (len < 0 || (size_t)len >= sizeof(script))
        return ERR_LIMIT;
    enum err err = memfd_new("password", &fd);
    if (err != ERR_OK)
        return err;
    const char *const arguments[] = {"sh", "-c", script, NULL};
    const struct spawn_options options = {
        .file = "/bin/sh", .arguments = arguments, .inherit_fd = fd, .dies_with_parent = true};
    err = spawn_run(&options, PASSWORD_COMMAND_MS);
    enum err taken = take_output(fd, password);
    close(fd);
    if (err == ERR_OK)
        return taken;
    secret_fini(password);
    return err;
}

static enum err open_tls(const struct config_directory *config, SSL_CTX **tls)
{
    const bool has_tls = config->ldap.security == KEYRING_LDAP_TLS || config->ldap.security == KEYRING_LDAP_STARTTLS;
    if (!has_tls && config->ldap.referral_hosts_len == 0)
        return ERR_OK;
    enum err err = tls_client_new(config->ca_file[0] == '\0' ? NULL : config->ca_file, tls);
    if (err != ERR_OK || config->certificate_file[0] == '\0')
        return err;
    if (SSL_CTX_use_certificate_chain_file(*tls, config->certificate_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(*tls, config->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(*tls) != 1) {
        tls_log_errors("a client's certificate");
        return ERR_CONFIG;
    }
    return ERR_OK;
}

enum err proxy_directory_open(const struct config_directory *config, struct event_base *base, struct evdns_base *dns,
                              struct proxy_directory *directory)
{
    const char *name = config->ldap.name;
    *directory = (struct proxy_directory){.config = config};
    enum err err = config->password_command[0] == '\0'
                       ? ERR_OK
                       : proxy_password_run(config->password_command, &directory->password);
    if (err != ERR_OK)
        log_failure(err, "directory %s: password_command", name);
    err = open_tls(config, &directory->tls);
    if (err != ERR_OK) {
        log_failure(err, "directory %s: its certificates", name);
        SSL_CTX_free(directory->tls);
        directory->tls = NULL;
    }
    err = keyring_ldap_new(base, dns, &config->ldap, &directory->password, directory->tls, &directory->ldap);
    if (err != ERR_OK)
        proxy_directory_close(directory);
    return err;
}

/* Of all that the certificate names: whoever may speak for one address may not slip another in beside it. */
static enum err names_only_believed(const struct config_directory *config, struct span bytes, bool *is_so)
{
    STACK_OF(X509) *certificates = NULL;
    struct keyring *keyring = NULL;
    size_t wrong;
    enum err err = keyring_x509_read(bytes, &certificates, &wrong);
    if (err == ERR_OK)
        err = keyring_new(&keyring);
    for (int i = 0; err == ERR_OK && i < sk_X509_num(certificates); i++)
        err = keyring_x509_add(sk_X509_value(certificates, i), KEYRING_UNVERIFIED, keyring);
    *is_so = err == ERR_OK;
    for (size_t i = 0; *is_so && i < keyring_len(keyring); i++)
        *is_so = config_directory_is_believed(config, keyring_at(keyring, i)->address);
    keyring_free(&keyring);
    sk_X509_pop_free(certificates, X509_free);
    return err == ERR_MALFORMED ? ERR_OK : err;
}

enum err proxy_directory_keep(const struct config_directory *config, const char *address,
                              const struct keyring_ldap_value *value, struct buf *found_out)
{
    struct keyring_found found = {.kind = value->kind,
                                  .source = KEYRING_SOURCE_DIRECTORY,
                                  .is_found = config_directory_is_believed(config, address),
                                  .until = clock_now() + config->found_s + KEYRING_WORD_LONGER_S,
                                  .bytes = value->bytes};
    enum err err = ERR_OK;
    memcpy(found.directory, config->ldap.name, sizeof(found.directory));
    if (found.is_found && found.kind == KEYRING_FOUND_CERTIFICATE)
        err = names_only_believed(config, value->bytes, &found.is_found);
    return err == ERR_OK ? keyring_found_add(found_out, &found) : err;
}

void proxy_directory_close(struct proxy_directory *directory)
{
    keyring_ldap_free(&directory->ldap);
    SSL_CTX_free(directory->tls);
    directory->tls = NULL;
    secret_fini(&directory->password);
}
