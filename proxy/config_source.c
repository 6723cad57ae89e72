/*
 * refresh = "7 days" | "never"
 * sources = { "autocrypt", "ldap", "wkd", "dane", "keyserver" }, and what the sections of all of them share:
 * domains timeout keep_found keep_missing keep_failed ca_file
 */
#include "proxy/config_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "example.org", "*.example.org"; kept as patterns of mime_addr_matches. */
static enum err read_domains(struct config_reader *reader, cfg_t *section, struct config_source *source)
{
    for (unsigned i = 0; section && i < cfg_size(section, "domains"); i++) {
        const int line = config_reader_line(reader, section, "domains");
        const char *text = cfg_getnstr(section, "domains", i);
        const char *prefix = strncmp(text, "*.", 2) == 0 ? "*." : "";
        char sample[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE], pattern[MIME_ADDR_SIZE + 8];
        int count = snprintf(sample, sizeof sample, "x@%s", text + strlen(prefix));
        if (count < 0 || (size_t)count >= sizeof sample || strpbrk(text + strlen(prefix), "*@ ") ||
            mime_addr_normalise(span_of(sample), address))
            return config_fail(reader, line, "domains = \"%s\"; expected \"example.org\" or \"*.example.org\"", text);
        snprintf(pattern, sizeof pattern, "*@%s%s", prefix, mime_addr_domain(address));
        enum err err = config_grow(&source->domains, &source->domains_len, sizeof *source->domains);
        if (err)
            return err;
        if (!(source->domains[source->domains_len - 1] = strdup(pattern)))
            return ERR_MEMORY;
    }
    return ERR_OK;
}

static enum err read_limits(struct config_reader *reader, cfg_t *section, struct config_source *source)
{
    uint64_t timeout = 10, found = 86400, missing = 600, failed = 30;
    const struct {
        const char *option;
        uint64_t least, most;
        uint64_t *number;
    } rows[] = {{"timeout", 1, 300, &timeout},
                {"keep_found", 0, 31536000, &found},
                {"keep_missing", 0, 31536000, &missing},
                {"keep_failed", 0, 3600, &failed}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err err =
            config_number(reader, section, rows[i].option, rows[i].least, rows[i].most, false, rows[i].number);
        if (err)
            return err;
    }
    source->timeout_ms = (uint32_t)timeout * 1000;
    source->found_s = (uint32_t)found;
    source->missing_s = (uint32_t)missing;
    source->failed_s = (uint32_t)failed;
    return ERR_OK;
}

/* What is read when the finder starts is looked at now, so that the line can be named. */
enum err config_check_file(struct config_reader *reader, cfg_t *section, const char *option, const char *expected,
                           const char *path)
{
    if (!path[0] || access(path, R_OK) == 0)
        return ERR_OK;
    return config_fail(reader, config_reader_line(reader, section, option), "%s = \"%s\": %s; expected %s", option,
                       path, strerror(errno), expected);
}

enum err config_read_source(struct config_reader *reader, cfg_t *section, struct config_source *source)
{
    const char *title = section ? cfg_title(section) : NULL;
    if (title && (!title[0] || !span_copy(span_of(title), source->name, sizeof source->name)))
        return config_fail(reader, config_reader_line(reader, section, NULL),
                           "%s \"%s\"; expected a name of at most %zu bytes", cfg_name(section), title,
                           sizeof source->name - 1);
    enum err err = read_domains(reader, section, source);
    if (!err)
        err = read_limits(reader, section, source);
    if (!err)
        err = config_path(reader, section, "ca_file", source->ca_file);
    return err ? err : config_check_file(reader, section, "ca_file", "a PEM file", source->ca_file);
}

void config_free_source(struct config_source *source)
{
    for (size_t i = 0; i < source->domains_len; i++)
        free(source->domains[i]);
    free(source->domains);
}

/* ---- the order ---- */

static void add(struct config *config, const struct config_source *source)
{
    if (config->sources_len < CONFIG_SOURCES_MAX)
        config->sources[config->sources_len++] = source;
}

static void add_directories(struct config *config)
{
    for (size_t i = 0; i < config->directories_len; i++)
        add(config, &config->directories[i].source);
}

static void add_dane(struct config *config)
{
    add(config, &config->dane.source);
}

static void add_webs(struct config *config, enum keyring_source kind)
{
    for (size_t i = 0; i < config->webs_len; i++)
        if (config->webs[i].source.kind == kind)
            add(config, &config->webs[i].source);
}

static void add_wkd(struct config *config)
{
    add_webs(config, KEYRING_SOURCE_WKD);
}

static void add_keyservers(struct config *config)
{
    add_webs(config, KEYRING_SOURCE_KEYSERVER);
}

/* Keyservers come last wherever they are named: their word never counts for anything by itself. */
static const struct kind {
    const char *name;    /* in the list */
    const char *section; /* NULL: it has none */
    void (*add)(struct config *config);
    bool is_default;
    bool needs_section;
    bool is_last;
} kinds[] = {
    {.name = "autocrypt", .is_default = true},
    {.name = "ldap", .section = "directory", .add = add_directories, .is_default = true},
    {.name = "wkd", .section = "wkd", .add = add_wkd},
    {.name = "dane", .section = "dane", .add = add_dane},
    {.name = "keyserver", .section = "keyserver", .add = add_keyservers, .needs_section = true, .is_last = true}};
#define KINDS_LEN (sizeof kinds / sizeof *kinds)

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < KINDS_LEN; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static enum err refuse_name(struct config_reader *reader, const char *name, const char *problem)
{
    char known[128] = "";
    size_t len = 0;
    for (size_t i = 0; i < KINDS_LEN; i++)
        len += (size_t)snprintf(known + len, sizeof known - len, "%s\"%s\"", len ? ", " : "", kinds[i].name);
    return config_fail(reader, config_reader_line(reader, reader->root, "sources"),
                       "sources: \"%s\"%s; expected some of %s", name, problem, known);
}

/* What has a section and is not asked would be a surprise. */
static enum err refuse_forgotten(struct config_reader *reader, const bool *is_named)
{
    for (size_t i = 0; i < KINDS_LEN; i++)
        if (!is_named[i] && kinds[i].section && cfg_size(reader->root, kinds[i].section) > 0)
            return config_fail(reader, config_reader_line(reader, cfg_getnsec(reader->root, kinds[i].section, 0), NULL),
                               "the section %s is not used; expected sources = { ..., \"%s\" }, or no such section",
                               kinds[i].section, kinds[i].name);
    return ERR_OK;
}

enum err config_read_sources(struct config_reader *reader)
{
    const struct kind *order[KINDS_LEN];
    bool is_named[KINDS_LEN] = {false};
    size_t len = 0;
    const unsigned given = cfg_size(reader->root, "sources");
    for (unsigned i = 0; i < given; i++) {
        const char *name = cfg_getnstr(reader->root, "sources", i);
        const struct kind *kind = find_kind(name);
        if (!kind)
            return refuse_name(reader, name, " is no source");
        if (is_named[kind - kinds])
            return refuse_name(reader, name, " stands twice");
        if (kind->needs_section && cfg_size(reader->root, kind->section) == 0)
            return refuse_name(reader, name, " has no section of its own");
        is_named[kind - kinds] = true;
        order[len++] = kind;
    }
    for (size_t i = 0; given == 0 && i < KINDS_LEN; i++)
        if (kinds[i].is_default) {
            is_named[i] = true;
            order[len++] = &kinds[i];
        }
    enum err err = refuse_forgotten(reader, is_named);
    for (int is_last = 0; !err && is_last <= 1; is_last++)
        for (size_t i = 0; i < len; i++)
            if (order[i]->add && order[i]->is_last == (bool)is_last)
                order[i]->add(reader->config);
    reader->config->has_autocrypt = is_named[0];
    return err;
}

/* ---- how often ---- */

#define REFRESH_S (7 * 86400)
#define REFRESH_MAX_S (366 * 86400)

/* "7 days": a number and its unit. */
static bool take_period(struct span text, uint64_t *seconds_out)
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } units[] = {{"second", 1}, {"minute", 60}, {"hour", 3600}, {"day", 86400}, {"week", 604800}};
    struct span number, unit = span_trim(text);
    uint64_t count;
    if (!span_take_until(&unit, ' ', &number) || !span_to_u64(number, REFRESH_MAX_S, &count) || count == 0)
        return false;
    unit = span_trim(unit);
    if (unit.len > 1 && unit.ptr[unit.len - 1] == 's')
        unit.len--;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (span_is_equal(unit, span_of(units[i].name))) {
            *seconds_out = count * units[i].seconds;
            return *seconds_out <= REFRESH_MAX_S;
        }
    return false;
}

/* By itself only where somebody is asked about others' keys anyway. */
enum err config_read_refresh(struct config_reader *reader)
{
    struct config *config = reader->config;
    char text[64] = "";
    uint64_t seconds = config->sources_len > 0 ? REFRESH_S : 0;
    enum err err = config_string(reader, reader->root, "refresh", text, sizeof text);
    if (!err && strcmp(text, "never") == 0)
        seconds = 0;
    else if (!err && text[0] && !take_period(span_of(text), &seconds))
        err = config_fail(
            reader, config_reader_line(reader, reader->root, "refresh"),
            "refresh = \"%s\"; expected \"7 days\", \"12 hours\" or the like, a year at most, or \"never\"", text);
    config->refresh_s = (uint32_t)seconds;
    return err;
}

/* ---- questions ---- */

static bool is_listed(const struct config_source *source, const char *address)
{
    for (size_t i = 0; i < source->domains_len; i++)
        if (mime_addr_matches(address, source->domains[i]))
            return true;
    return false;
}

bool config_source_serves(const struct config_source *source, const char *address)
{
    return source->domains_len == 0 || is_listed(source, address);
}

bool config_source_is_believed(const struct config_source *source, const char *address, const char *named)
{
    switch (source->belief) {
    case CONFIG_BELIEVED_IF_LISTED:
        return is_listed(source, named);
    case CONFIG_BELIEVED_BY_DOMAIN:
        return strcmp(mime_addr_domain(address), mime_addr_domain(named)) == 0;
    case CONFIG_BELIEVED_NEVER:
        break;
    }
    return false;
}

static bool counts_as_much(const struct config_source *a, const struct config_source *b, const char *address)
{
    return config_source_is_believed(a, address, address) == config_source_is_believed(b, address, address) &&
           (a->kind == KEYRING_SOURCE_KEYSERVER) == (b->kind == KEYRING_SOURCE_KEYSERVER);
}

size_t config_source_stage(const struct config *config, size_t index, const char *address)
{
    const struct config_source *last = NULL;
    size_t stage = 0;
    for (size_t i = 0; i <= index && i < config->sources_len; i++) {
        const struct config_source *source = config->sources[i];
        if (!config_source_serves(source, address))
            continue;
        stage += last && !counts_as_much(last, source, address);
        last = source;
        if (i == index)
            return stage;
    }
    return SIZE_MAX;
}

uint32_t config_stage_timeout_ms(const struct config *config, const char *address, size_t stage)
{
    uint32_t longest = 0;
    for (size_t i = 0; i < config->sources_len; i++)
        if (config_source_stage(config, i, address) == stage && config->sources[i]->timeout_ms > longest)
            longest = config->sources[i]->timeout_ms;
    return longest;
}

uint32_t config_stage_keep_s(const struct config *config, const char *address, size_t stage)
{
    uint32_t longest = 0;
    for (size_t i = 0; i < config->sources_len; i++) {
        const struct config_source *source = config->sources[i];
        const uint32_t keep_s = source->found_s > source->missing_s ? source->found_s : source->missing_s;
        if (config_source_stage(config, i, address) == stage && keep_s > longest)
            longest = keep_s;
    }
    return longest;
}
