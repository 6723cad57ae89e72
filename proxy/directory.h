/*
 * A directory of the configuration, ready to be asked: with its TLS and its password. In the finder, and on the command
 * line.
 */
#ifndef PROXY_DIRECTORY_H
#define PROXY_DIRECTORY_H

#include "proxy/config.h"

struct proxy_directory {
    const struct config_directory *config;
    struct secret password;
    SSL_CTX *tls;
    struct keyring_ldap *ldap;
};

/* Runs its password_command, if it has one, and reads its certificates: before a sandbox closes, and after
   keyring_ldap_init. `config` is borrowed for life. What is missing is logged; the directory then fails when it is
   asked. ERR_MEMORY. */
ERR_RETURN enum err proxy_directory_open(const struct config_directory *config, struct event_base *base,
                                         struct evdns_base *dns, struct proxy_directory *directory_out);
void proxy_directory_close(struct proxy_directory *directory);

/* Adds one value of its answer for `address` to `found_out` (keyring/found.h). It counts as found if the directory is
   believed for the address, and for every other one that a certificate names. */
ERR_RETURN enum err proxy_directory_keep(const struct config_directory *config, const char *address,
                                         const struct keyring_ldap_value *value, struct buf *found_out);

/* What a line for the shell prints to standard output, without its last line end. It gets nothing to read, and half a
   minute. ERR_ENGINE, ERR_TIMEOUT; ERR_CONFIG: it printed nothing, or too much. */
ERR_RETURN enum err proxy_password_run(const char *command, struct secret *password_out);

#endif
