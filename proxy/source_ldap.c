/* An LDAP directory, with its TLS and its password. */
#include "proxy/source.h"

#include "base/memfd.h"
#include "base/spawn.h"
#include "base/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_MAX 1024
#define PASSWORD_COMMAND_MS 30000

struct directory {
    struct secret password;
    SSL_CTX *tls;
    struct keyring_ldap *ldap;
};

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

/* What a line for the shell prints to standard output, without its last line end. It gets nothing to read, and half a
   minute. ERR_ENGINE, ERR_TIMEOUT; ERR_CONFIG: it printed nothing, or too much. */
static enum err run_command(const char *command, struct secret *password)
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
    enum err err = tls_client_new(config->source.ca_file[0] == '\0' ? NULL : config->source.ca_file, tls);
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

static void close_directory(void *state)
{
    struct directory *directory = state;
    keyring_ldap_free(&directory->ldap);
    SSL_CTX_free(directory->tls);
    secret_fini(&directory->password);
    free(directory);
}

static enum err open_directory(const struct config_source *source, struct event_base *base, struct evdns_base *dns,
                               void **state_out)
{
    const struct config_directory *config = PROXY_SECTION(struct config_directory, source);
    struct directory *directory = calloc(1, sizeof(*directory));
    if (directory == NULL)
        return ERR_MEMORY;
    enum err err =
        config->password_command[0] == '\0' ? ERR_OK : run_command(config->password_command, &directory->password);
    if (err != ERR_OK)
        log_failure(err, "directory %s: password_command", source->name);
    err = open_tls(config, &directory->tls);
    if (err != ERR_OK) {
        log_failure(err, "directory %s: its certificates", source->name);
        SSL_CTX_free(directory->tls);
        directory->tls = NULL;
    }
    err = keyring_ldap_new(base, dns, &config->ldap, &directory->password, directory->tls, &directory->ldap);
    if (err == ERR_OK)
        *state_out = directory;
    else
        close_directory(directory);
    return err;
}

static enum err ask(void *state, const char *address, keyring_answer_fn fn, void *context)
{
    return keyring_ldap_find(((struct directory *)state)->ldap, address, fn, context, NULL);
}

static enum err try(void *state, keyring_answer_fn fn, void *context)
{
    return keyring_ldap_try(((struct directory *)state)->ldap, fn, context, NULL);
}

struct keyring_ldap *proxy_source_directory(const struct proxy_source *source)
{
    return source->ops == &proxy_source_ldap ? ((const struct directory *)source->state)->ldap : NULL;
}

const struct proxy_source_ops proxy_source_ldap = {
    .open = open_directory, .close = close_directory, .ask = ask, .try = try};
