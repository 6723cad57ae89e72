/*
 * listen "smtp[:NAME]" and "imap[:NAME]" { at tls accounts }
 */
#include "proxy/config_reader.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum err read_title(struct config_reader *reader, cfg_t *section, struct config_listener *listener)
{
    const struct span title = span_of(cfg_title(section));
    struct span rest = title, protocol = SPAN_NONE;
    (void)span_take_until(&rest, ':', &protocol);
    bool is_known = false;
    for (int i = 0; i < CONFIG_PROTOCOL_COUNT && !is_known; i++) {
        listener->protocol = (enum config_protocol)i;
        is_known = span_is_equal(protocol, span_of(config_protocol_name(listener->protocol)));
    }
    if (!is_known || (title.len > protocol.len && rest.len == 0) ||
        !span_copy(title, listener->name, sizeof listener->name))
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "listen \"%s\"; expected \"smtp\", \"imap\", or one of them with \":NAME\" behind it",
                           cfg_title(section));
    return ERR_OK;
}

static enum err read_tls(struct config_reader *reader, cfg_t *section, struct config_listener *listener)
{
    static const struct config_word words[] = {
        {"starttls", CONFIG_TLS_STARTTLS}, {"implicit", CONFIG_TLS_IMPLICIT}, {"none", CONFIG_TLS_NONE}, {NULL, 0}};
    int tls = CONFIG_TLS_STARTTLS;
    enum err err = config_word(reader, section, "tls", words, &tls);
    listener->tls = (enum config_tls)tls;
    return err;
}

static enum err read_at(struct config_reader *reader, cfg_t *section, struct config_listener *listener)
{
    const int line = config_reader_line(reader, section, "at");
    if (cfg_size(section, "at") == 0)
        return config_fail(reader, line, "listen \"%s\" has no address; expected at = \"127.0.0.1:1025\"",
                           listener->name);
    for (unsigned i = 0; i < cfg_size(section, "at"); i++) {
        const char *text = cfg_getnstr(section, "at", i);
        enum err err = config_grow(&listener->at, &listener->at_len, sizeof *listener->at);
        if (err)
            return err;
        struct config_address *at = &listener->at[listener->at_len - 1];
        at->port = -1;
        unsigned char bytes[16];
        if (!config_split_host(span_of(text), at->host, sizeof at->host, &at->port) || at->port < 0 ||
            (inet_pton(AF_INET, at->host, bytes) != 1 && inet_pton(AF_INET6, at->host, bytes) != 1))
            return config_fail(reader, line,
                               "at = \"%s\"; expected an address and a port, as \"127.0.0.1:1025\" or \"[::1]:1025\"",
                               text);
        at->is_loopback = config_is_loopback(at->host);
        if (listener->tls == CONFIG_TLS_NONE && !at->is_loopback)
            return config_fail(reader, config_reader_line(reader, section, "tls"),
                               "tls = none with \"%s\"; expected starttls or implicit (none is for loopback "
                               "addresses only)",
                               text);
    }
    return ERR_OK;
}

static enum err add_account(struct config_listener *listener, size_t index)
{
    for (size_t i = 0; i < listener->accounts_len; i++)
        if (listener->accounts[i] == index)
            return ERR_OK;
    enum err err = config_grow(&listener->accounts, &listener->accounts_len, sizeof *listener->accounts);
    if (!err)
        listener->accounts[listener->accounts_len - 1] = index;
    return err;
}

static enum err read_accounts(struct config_reader *reader, cfg_t *section, struct config_listener *listener)
{
    const struct config *config = reader->config;
    enum err err = ERR_OK;
    const unsigned count = cfg_size(section, "accounts");
    for (size_t i = 0; !err && count == 0 && i < config->accounts_len; i++)
        if (config_has_upstream(&config->accounts[i], listener->protocol))
            err = add_account(listener, i);
    for (unsigned i = 0; !err && i < count; i++) {
        const char *text = cfg_getnstr(section, "accounts", i);
        const int line = config_reader_line(reader, section, "accounts");
        char address[MIME_ADDR_SIZE];
        const struct config_account *account = NULL;
        if (!mime_addr_normalise(span_of(text), address))
            account = config_account_of_address(config, address);
        if (!account)
            return config_fail(reader, line, "there is no account \"%s\"; expected the title of an account section",
                               text);
        const char *name = config_protocol_name(listener->protocol);
        if (!config_has_upstream(account, listener->protocol))
            return config_fail(reader, line, "account \"%s\" has no server; expected %s = \"%ss://...\" in it",
                               account->address, name, name);
        err = add_account(listener, (size_t)(account - config->accounts));
    }
    const char *name = config_protocol_name(listener->protocol);
    if (!err && listener->accounts_len == 0)
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "no account has a server for listen \"%s\"; expected %s = \"%ss://...\" in one of them",
                           listener->name, name, name);
    return err;
}

enum err config_read_listeners(struct config_reader *reader)
{
    struct config *config = reader->config;
    enum err err = ERR_OK;
    for (unsigned i = 0; !err && i < cfg_size(reader->root, "listen"); i++) {
        cfg_t *section = cfg_getnsec(reader->root, "listen", i);
        err = config_grow(&config->listeners, &config->listeners_len, sizeof *config->listeners);
        if (err)
            break;
        struct config_listener *listener = &config->listeners[config->listeners_len - 1];
        err = read_title(reader, section, listener);
        if (!err)
            err = read_tls(reader, section, listener);
        if (!err)
            err = read_at(reader, section, listener);
        if (!err)
            err = read_accounts(reader, section, listener);
    }
    return err;
}
