/*
 * dane { anchor servers domains timeout keep_found keep_missing keep_failed }
 */
#include "proxy/config_reader.h"

#include "base/address.h"

#include <stdio.h>
#include <string.h>

#define ANCHOR "/usr/share/dns/root.key" /* where Debian's dns-root-data has the root's */

/* "192.0.2.1", "192.0.2.1@5353", "::1@5353". */
static bool is_server(const char *text)
{
    struct address_list list;
    char host[KEYRING_DANE_SERVER_SIZE];
    uint64_t port = 53;
    const size_t len = strcspn(text, "@");
    if (!span_copy((struct span){text, len}, host, sizeof host) || address_literal(host, 53, &list))
        return false;
    return text[len] == '\0' || (span_to_u64(span_of(text + len + 1), 65535, &port) && port > 0);
}

static enum err read_servers(struct config_reader *reader, cfg_t *section, struct keyring_dane_options *dane)
{
    const int line = config_reader_line(reader, section, "servers");
    const unsigned given = cfg_size(section, "servers");
    if (given == 1 && strcmp(cfg_getnstr(section, "servers", 0), "root") == 0) {
        dane->is_recursive = true;
        return ERR_OK;
    }
    if (given > KEYRING_DANE_SERVERS_MAX)
        return config_fail(reader, line, "there are too many servers; expected at most %d", KEYRING_DANE_SERVERS_MAX);
    for (unsigned i = 0; i < given; i++) {
        const char *text = cfg_getnstr(section, "servers", i);
        if (!is_server(text) || !span_copy(span_of(text), dane->servers[i], sizeof dane->servers[i]))
            return config_fail(reader, line,
                               "servers = \"%s\"; expected addresses, as \"127.0.0.1\" or \"127.0.0.1@5353\", or "
                               "\"root\" alone",
                               text);
    }
    dane->servers_len = given;
    return ERR_OK;
}

enum err config_read_dane(struct config_reader *reader)
{
    struct config_dane *dane = &reader->config->dane;
    const unsigned sections = cfg_size(reader->root, "dane");
    cfg_t *section = sections > 0 ? cfg_getnsec(reader->root, "dane", 0) : NULL;
    if (sections > 1)
        return config_fail(reader, config_reader_line(reader, cfg_getnsec(reader->root, "dane", 1), NULL),
                           "there is a second section dane; expected one");
    dane->source.kind = KEYRING_SOURCE_DANE;
    dane->source.belief = CONFIG_BELIEVED_BY_DOMAIN;
    snprintf(dane->dane.anchor, sizeof dane->dane.anchor, "%s", ANCHOR);
    enum err err = config_read_source(reader, section, &dane->source);
    dane->dane.timeout_ms = dane->source.timeout_ms;
    if (err || !section)
        return err;
    err = config_path(reader, section, "anchor", dane->dane.anchor);
    if (!err && config_reader_has(reader, section, "anchor"))
        err = config_check_file(reader, section, "anchor", "DS or DNSKEY records", dane->dane.anchor);
    return err ? err : read_servers(reader, section, &dane->dane);
}
