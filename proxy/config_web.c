/*
 * wkd { domains timeout keep_found keep_missing keep_failed ca_file hosts method }
 * keyserver "name" { url domains timeout keep_found keep_missing keep_failed ca_file }
 */
#include "proxy/config_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HKPS "hkps://"
#define HKP_CLEAR "hkp+clear://"

static enum err read_hosts(struct config_reader *reader, cfg_t *section, struct config_web *web)
{
    for (unsigned i = 0; section && i < cfg_size(section, "hosts"); i++) {
        const int line = config_reader_line(reader, section, "hosts");
        const char *text = cfg_getnstr(section, "hosts", i);
        if (!text[0] || strlen(text) >= CONFIG_HOST_SIZE || strpbrk(text, "/@:?# \t*[]"))
            return config_fail(reader, line, "hosts = \"%s\"; expected the name of a host, as \"openpgpkey.example\"",
                               text);
        enum err err = config_grow(&web->hosts, &web->hosts_len, sizeof *web->hosts);
        if (err)
            return err;
        if (!(web->hosts[web->hosts_len - 1] = strdup(text)))
            return ERR_MEMORY;
    }
    web->web.hosts = (const char *const *)web->hosts;
    web->web.hosts_len = web->hosts_len;
    return ERR_OK;
}

static enum err read_wkd(struct config_reader *reader, cfg_t *section, struct config_web *web)
{
    static const struct config_word methods[] = {
        {"any", KEYRING_WKD_ANY}, {"advanced", KEYRING_WKD_ADVANCED}, {"direct", KEYRING_WKD_DIRECT}, {NULL, 0}};
    int method = KEYRING_WKD_ANY;
    enum err err = config_read_source(reader, section, &web->source);
    if (!err)
        err = config_word(reader, section, "method", methods, &method);
    web->web.method = (enum keyring_wkd_method)method;
    return err ? err : read_hosts(reader, section, web);
}

static enum err read_url(struct config_reader *reader, cfg_t *section, struct config_web *web)
{
    struct keyring_web_options *options = &web->web;
    const char *url = config_text(reader, section, "url");
    if (!url)
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "keyserver \"%s\" has no url; expected url = \"hkps://HOST\"", web->source.name);
    const int line = config_reader_line(reader, section, "url");
    options->is_clear = span_has_case_prefix(span_of(url), SPAN_LIT(HKP_CLEAR));
    options->port = options->is_clear ? 11371 : 443;
    struct span rest = span_skip(span_of(url), options->is_clear ? sizeof HKP_CLEAR - 1 : sizeof HKPS - 1);
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    if ((!options->is_clear && !span_has_case_prefix(span_of(url), SPAN_LIT(HKPS))) ||
        !config_split_host(rest, options->host, sizeof options->host, &options->port) || options->port == 0 ||
        !options->host[0] || strpbrk(options->host, "/@?# \t%"))
        return config_fail(reader, line,
                           "url = \"%s\"; expected \"hkps://HOST\", with :PORT if it is not 443; nothing behind it",
                           url);
    if (options->is_clear && !config_is_loopback(options->host))
        return config_fail(reader, line,
                           "url = \"%s\" would ask in clear; expected hkps:// (hkp+clear:// is for this machine only)",
                           url);
    return ERR_OK;
}

static enum err read_keyserver(struct config_reader *reader, cfg_t *section, struct config_web *web)
{
    web->web.is_keyserver = true;
    enum err err = config_read_source(reader, section, &web->source);
    return err ? err : read_url(reader, section, web);
}

static enum err read_web(struct config_reader *reader, cfg_t *section, enum keyring_source kind)
{
    struct config *config = reader->config;
    enum err err = config_grow(&config->webs, &config->webs_len, sizeof *config->webs);
    if (err)
        return err;
    struct config_web *web = &config->webs[config->webs_len - 1];
    const bool is_keyserver = kind == KEYRING_SOURCE_KEYSERVER;
    web->source.kind = kind;
    web->source.belief = is_keyserver ? CONFIG_BELIEVED_NEVER : CONFIG_BELIEVED_BY_DOMAIN;
    err = is_keyserver ? read_keyserver(reader, section, web) : read_wkd(reader, section, web);
    web->web.timeout_ms = web->source.timeout_ms;
    (void)snprintf(web->web.name, sizeof web->web.name, "%s%s%s", keyring_source_name(kind),
                   web->source.name[0] ? " " : "", web->source.name);
    return err;
}

enum err config_read_webs(struct config_reader *reader)
{
    const unsigned directories = cfg_size(reader->root, "wkd"), keyservers = cfg_size(reader->root, "keyserver");
    enum err err = ERR_OK;
    if (directories > 1)
        return config_fail(reader, config_reader_line(reader, cfg_getnsec(reader->root, "wkd", 1), NULL),
                           "there is a second section wkd; expected one");
    if (keyservers > CONFIG_KEYSERVERS_MAX)
        return config_fail(
            reader, config_reader_line(reader, cfg_getnsec(reader->root, "keyserver", CONFIG_KEYSERVERS_MAX), NULL),
            "there are too many keyservers; expected at most %d", CONFIG_KEYSERVERS_MAX);
    /* There is one without a section, too, for `sources` to name. */
    err = read_web(reader, directories == 0 ? NULL : cfg_getnsec(reader->root, "wkd", 0), KEYRING_SOURCE_WKD);
    for (unsigned i = 0; !err && i < keyservers; i++)
        err = read_web(reader, cfg_getnsec(reader->root, "keyserver", i), KEYRING_SOURCE_KEYSERVER);
    return err;
}

void config_free_webs(struct config *config)
{
    for (size_t i = 0; i < config->webs_len; i++) {
        config_free_source(&config->webs[i].source);
        for (size_t j = 0; j < config->webs[i].hosts_len; j++)
            free(config->webs[i].hosts[j]);
        free(config->webs[i].hosts);
    }
    free(config->webs);
}
