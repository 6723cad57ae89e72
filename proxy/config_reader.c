#include "proxy/config_reader.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* libconfuse takes the end of the file for the end of every open section, and even of a string. This option is added
   behind the text: if it does not arrive at the top level, something was left open. */
#define CONFIG_END "end_of_configuration"

/* libconfuse hands its callbacks no pointer of ours. A process reads one configuration at a time. */
static struct config_reader *current;

enum err config_fail(struct config_reader *reader, int line, const char *format, ...)
{
    if (reader->has_failed)
        return ERR_CONFIG;
    reader->has_failed = true;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", reader->config->file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return ERR_CONFIG;
}

enum err config_grow(void *array, size_t *len, size_t element_size)
{
    void **items = array;
    size_t size;
    if (__builtin_mul_overflow(*len + 1, element_size, &size))
        return ERR_LIMIT;
    char *grown = realloc(*items, size);
    if (!grown)
        return ERR_MEMORY;
    memset(grown + *len * element_size, 0, element_size);
    *items = grown;
    (*len)++;
    return ERR_OK;
}

static const struct config_mark *find_mark(const struct config_reader *reader, const cfg_t *section, const char *option)
{
    for (size_t i = 0; i < reader->marks_len; i++)
        if (reader->marks[i].section == section && strcmp(reader->marks[i].option, option) == 0)
            return &reader->marks[i];
    return NULL;
}

int config_reader_line(const struct config_reader *reader, const cfg_t *section, const char *option)
{
    const struct config_mark *mark = option ? find_mark(reader, section, option) : NULL;
    return mark ? mark->line : section->line;
}

bool config_reader_has(const struct config_reader *reader, const cfg_t *section, const char *option)
{
    return find_mark(reader, section, option) != NULL;
}

/* A second value would replace the first in silence; only lists may be given again, element by element. */
static int note_option(cfg_t *section, cfg_opt_t *option)
{
    struct config_reader *reader = current;
    const struct config_mark *before = find_mark(reader, section, option->name);
    if (before) {
        if (option->flags & CFGF_LIST)
            return 0;
        (void)!config_fail(reader, section->line, "'%s' is given twice, first in line %d; expected to be given once",
                           option->name, before->line);
        return -1;
    }
    if (reader->marks_len >= CONFIG_MARKS_MAX)
        return -1;
    if (reader->marks_len == reader->marks_capacity) {
        size_t capacity = reader->marks_capacity ? reader->marks_capacity * 2 : 64;
        struct config_mark *marks = realloc(reader->marks, capacity * sizeof *marks);
        if (!marks)
            return -1;
        reader->marks = marks;
        reader->marks_capacity = capacity;
    }
    reader->marks[reader->marks_len++] = (struct config_mark){section, option->name, section->line};
    return 0;
}

static void say_unknown(cfg_t *section, const char *name)
{
    if (strcmp(name, CONFIG_END) == 0) {
        (void)!config_fail(current, section->line, "the section is not closed; expected '}'");
        return;
    }
    char known[512] = "";
    size_t len = 0;
    for (const cfg_opt_t *option = section->opts; option->name && len < sizeof known - 1; option++)
        if (strcmp(option->name, CONFIG_END) != 0) {
            int count = snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", option->name);
            len += count > 0 ? (size_t)count : 0;
        }
    (void)!config_fail(current, section->line, "there is no option '%s'; expected one of %s", name, known);
}

static const char *section_of_title(cfg_t *root, const char *title, int *line_out)
{
    static const char *const names[] = {"listen", "account", "rule", "directory", "keyserver"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cfg_t *section = cfg_gettsec(root, names[i], title);
        if (section && section->line >= *line_out) {
            *line_out = section->line;
            return names[i];
        }
    }
    return NULL;
}

/* The last section to be parsed before the second of its title stood open is not known to libconfuse; each kind is
   looked through for the title, which is what a person needs to find both. */
static void say_twice(cfg_t *root, const char *title)
{
    int line = 0;
    const char *name = section_of_title(root, title, &line);
    (void)!config_fail(current, root->line,
                       "a second section %s \"%s\"; the first ends in line %d; expected each title once",
                       name ? name : "of the same title", title, line);
}

static void on_confuse_error(cfg_t *section, const char *format, va_list arguments)
{
    char text[512];
    vsnprintf(text, sizeof text, format, arguments);
    char *quote = strchr(text, '\'');
    char name[256] = "";
    if (quote)
        snprintf(name, sizeof name, "%.*s", (int)strcspn(quote + 1, "'"), quote + 1);
    if (strncmp(text, "no such option", 14) == 0)
        say_unknown(section, name);
    else if (strncmp(text, "found duplicate title", 21) == 0)
        say_twice(section, name);
    else
        (void)!config_fail(current, section ? section->line : 0, "%s; expected `option = value` or `section { ... }`",
                           text);
}

static void watch_options(cfg_t *root, const char *prefix, const cfg_opt_t *options)
{
    for (const cfg_opt_t *option = options; option->name; option++) {
        if (option->type == CFGT_SEC)
            continue;
        char path[128];
        snprintf(path, sizeof path, "%s%s", prefix, option->name);
        cfg_set_validate_func(root, path, note_option);
    }
}

/* What the sections of all sources of keys have. libconfuse copies every table. */
#define SOURCE_OPTIONS                                                                                                 \
    CFG_STR_LIST("domains", NULL, CFGF_NODEFAULT), CFG_STR("timeout", NULL, CFGF_NODEFAULT),                           \
        CFG_STR("ca_file", NULL, CFGF_NODEFAULT), CFG_STR("keep_found", NULL, CFGF_NODEFAULT),                         \
        CFG_STR("keep_missing", NULL, CFGF_NODEFAULT), CFG_STR("keep_failed", NULL, CFGF_NODEFAULT)

static cfg_opt_t directory_options[] = {SOURCE_OPTIONS,
                                        CFG_STR("url", NULL, CFGF_NODEFAULT),
                                        CFG_STR("base", NULL, CFGF_NODEFAULT),
                                        CFG_STR("scope", NULL, CFGF_NODEFAULT),
                                        CFG_STR("bind_dn", NULL, CFGF_NODEFAULT),
                                        CFG_STR("password_command", NULL, CFGF_NODEFAULT),
                                        CFG_STR("sasl", NULL, CFGF_NODEFAULT),
                                        CFG_STR("certificate_file", NULL, CFGF_NODEFAULT),
                                        CFG_STR("key_file", NULL, CFGF_NODEFAULT),
                                        CFG_STR("filter", NULL, CFGF_NODEFAULT),
                                        CFG_STR("time_limit", NULL, CFGF_NODEFAULT),
                                        CFG_STR("size_limit", NULL, CFGF_NODEFAULT),
                                        CFG_STR_LIST("attributes", NULL, CFGF_NODEFAULT),
                                        CFG_STR_LIST("referral_hosts", NULL, CFGF_NODEFAULT),
                                        CFG_END()};
/* Without ca_file: there is no TLS. */
static cfg_opt_t dane_options[] = {
    CFG_STR_LIST("domains", NULL, CFGF_NODEFAULT), CFG_STR("timeout", NULL, CFGF_NODEFAULT),
    CFG_STR("keep_found", NULL, CFGF_NODEFAULT),   CFG_STR("keep_missing", NULL, CFGF_NODEFAULT),
    CFG_STR("keep_failed", NULL, CFGF_NODEFAULT),  CFG_STR("anchor", NULL, CFGF_NODEFAULT),
    CFG_STR_LIST("servers", NULL, CFGF_NODEFAULT), CFG_END()};
static cfg_opt_t wkd_options[] = {SOURCE_OPTIONS, CFG_STR("method", NULL, CFGF_NODEFAULT),
                                  CFG_STR_LIST("hosts", NULL, CFGF_NODEFAULT), CFG_END()};
static cfg_opt_t keyserver_options[] = {SOURCE_OPTIONS, CFG_STR("url", NULL, CFGF_NODEFAULT), CFG_END()};

static cfg_t *make_grammar(void)
{
    cfg_opt_t listen_options[] = {CFG_STR_LIST("at", NULL, CFGF_NODEFAULT), CFG_STR("tls", NULL, CFGF_NODEFAULT),
                                  CFG_STR_LIST("accounts", NULL, CFGF_NODEFAULT), CFG_END()};
    cfg_opt_t account_options[] = {CFG_STR_LIST("also", NULL, CFGF_NODEFAULT),
                                   CFG_STR("login", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smtp", NULL, CFGF_NODEFAULT),
                                   CFG_STR("imap", NULL, CFGF_NODEFAULT),
                                   CFG_STR("append", NULL, CFGF_NODEFAULT),
                                   CFG_STR("ca_file", NULL, CFGF_NODEFAULT),
                                   CFG_STR("gnupghome", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smime_ca", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smime_sign", NULL, CFGF_NODEFAULT),
                                   CFG_STR("pkcs11_module", NULL, CFGF_NODEFAULT),
                                   CFG_STR("pkcs11_dir", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smime_rsa", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smime_cipher", NULL, CFGF_NODEFAULT),
                                   CFG_STR("smime_compress", NULL, CFGF_NODEFAULT),
                                   CFG_STR("revocation", NULL, CFGF_NODEFAULT),
                                   CFG_STR("autocrypt", NULL, CFGF_NODEFAULT),
                                   CFG_END()};
    cfg_opt_t rule_options[] = {CFG_STR_LIST("to", NULL, CFGF_NODEFAULT),
                                CFG_STR("encrypt", NULL, CFGF_NODEFAULT),
                                CFG_STR("sign", NULL, CFGF_NODEFAULT),
                                CFG_STR("trust", NULL, CFGF_NODEFAULT),
                                CFG_STR_LIST("format", NULL, CFGF_NODEFAULT),
                                CFG_STR("mixed", NULL, CFGF_NODEFAULT),
                                CFG_STR("may_ask_less", NULL, CFGF_NODEFAULT),
                                CFG_STR("replies", NULL, CFGF_NODEFAULT),
                                CFG_END()};
    const cfg_flag_t titled = CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES;
    cfg_opt_t options[] = {CFG_STR("state", NULL, CFGF_NODEFAULT),
                           CFG_STR("user", NULL, CFGF_NODEFAULT),
                           CFG_STR("host_name", NULL, CFGF_NODEFAULT),
                           CFG_STR("log", NULL, CFGF_NODEFAULT),
                           CFG_STR("subject_tag", NULL, CFGF_NODEFAULT),
                           CFG_STR("bare_line_ends", NULL, CFGF_NODEFAULT),
                           CFG_STR("message_max", NULL, CFGF_NODEFAULT),
                           CFG_STR("recipients_max", NULL, CFGF_NODEFAULT),
                           CFG_STR("groups_max", NULL, CFGF_NODEFAULT),
                           CFG_STR("keepers", NULL, CFGF_NODEFAULT),
                           CFG_STR("job_timeout", NULL, CFGF_NODEFAULT),
                           CFG_STR("find_timeout", NULL, CFGF_NODEFAULT),
                           CFG_STR("sessions_max", NULL, CFGF_NODEFAULT),
                           CFG_STR("sessions_per_address", NULL, CFGF_NODEFAULT),
                           CFG_STR("timeout_percent", NULL, CFGF_NODEFAULT),
                           CFG_STR("view_cache_max", NULL, CFGF_NODEFAULT),
                           CFG_STR("store_max", NULL, CFGF_NODEFAULT),
                           CFG_STR_LIST("revocation_hosts", NULL, CFGF_NODEFAULT),
                           CFG_STR_LIST("sources", NULL, CFGF_NODEFAULT),
                           CFG_STR("refresh", NULL, CFGF_NODEFAULT),
                           CFG_SEC("listen", listen_options, titled),
                           CFG_SEC("account", account_options, titled),
                           CFG_SEC("rule", rule_options, titled),
                           CFG_SEC("directory", directory_options, titled),
                           CFG_SEC("dane", dane_options, CFGF_MULTI),
                           CFG_SEC("keyserver", keyserver_options, titled),
                           CFG_SEC("wkd", wkd_options, CFGF_MULTI),
                           CFG_STR(CONFIG_END, NULL, CFGF_NODEFAULT),
                           CFG_END()};
    cfg_t *root = cfg_init(options, CFGF_NONE);
    if (!root)
        return NULL;
    cfg_set_error_function(root, on_confuse_error);
    watch_options(root, "", options);
    watch_options(root, "listen|", listen_options);
    watch_options(root, "account|", account_options);
    watch_options(root, "rule|", rule_options);
    watch_options(root, "directory|", directory_options);
    watch_options(root, "dane|", dane_options);
    watch_options(root, "keyserver|", keyserver_options);
    watch_options(root, "wkd|", wkd_options);
    return root;
}

/* `to = {}` would mean everybody and `accounts = {}` all of them: the opposite of what they say. libconfuse calls no
   validator for a list without elements, it only marks the option as changed. */
static enum err refuse_empty_lists(struct config_reader *reader, cfg_t *section)
{
    enum err err = ERR_OK;
    for (cfg_opt_t *option = section->opts; !err && option->name; option++) {
        if (option->type == CFGT_SEC)
            for (unsigned i = 0; !err && i < cfg_opt_size(option); i++)
                err = refuse_empty_lists(reader, cfg_opt_getnsec(option, i));
        else if (option->flags & CFGF_LIST && option->flags & CFGF_MODIFIED && cfg_opt_size(option) == 0)
            err = config_fail(reader, section->line, "%s is an empty list; expected at least one element, or no %s",
                              option->name, option->name);
    }
    return err;
}

enum err config_reader_parse(struct config_reader *reader, struct span text)
{
    struct buf whole;
    buf_init(&whole, text.len + 64);
    enum err err = buf_add_span(&whole, text);
    if (!err && text.len && text.ptr[text.len - 1] != '\n')
        err = buf_add_byte(&whole, '\n');
    if (!err)
        err = buf_add_string(&whole, CONFIG_END " = here\n");
    if (!err && !(reader->root = make_grammar()))
        err = ERR_MEMORY;
    if (!err) {
        current = reader;
        int parsed = cfg_parse_buf(reader->root, whole.data);
        current = NULL;
        if (parsed != CFG_SUCCESS)
            err = config_fail(reader, reader->root->line, "cannot be read; expected `option = value`");
        else if (!config_reader_has(reader, reader->root, CONFIG_END))
            err =
                config_fail(reader, reader->root->line, "the file ends in the middle; expected a closing '\"' or '}'");
        else
            err = refuse_empty_lists(reader, reader->root);
    }
    buf_fini(&whole);
    return err;
}

void config_reader_fini(struct config_reader *reader)
{
    if (reader->root)
        cfg_free(reader->root);
    free(reader->marks);
    *reader = (struct config_reader){0};
}

const char *config_text(const struct config_reader *reader, cfg_t *section, const char *option)
{
    return config_reader_has(reader, section, option) ? cfg_getstr(section, option) : NULL;
}

enum err config_word(struct config_reader *reader, cfg_t *section, const char *option, const struct config_word *words,
                     int *value_out)
{
    const char *text = config_text(reader, section, option);
    if (!text)
        return ERR_OK;
    char known[256] = "";
    size_t len = 0;
    for (const struct config_word *word = words; word->name; word++) {
        if (strcmp(word->name, text) == 0) {
            *value_out = word->value;
            return ERR_OK;
        }
        int count = snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", word->name);
        len += count > 0 && (size_t)count < sizeof known - len ? (size_t)count : 0;
    }
    return config_fail(reader, config_reader_line(reader, section, option), "%s = \"%s\"; expected %s%s", option, text,
                       words[1].name ? "one of " : "", known);
}

enum err config_number(struct config_reader *reader, cfg_t *section, const char *option, uint64_t least, uint64_t most,
                       bool has_unit, uint64_t *number_out)
{
    const char *text = config_text(reader, section, option);
    if (!text)
        return ERR_OK;
    struct span digits = span_of(text);
    uint64_t unit = 1;
    if (has_unit && digits.len > 1) {
        static const char letters[] = "kmg";
        const char *letter = strchr(letters, span_lower(digits.ptr[digits.len - 1]));
        if (letter && *letter) {
            unit = UINT64_C(1) << (10 * (letter - letters + 1));
            digits.len--;
        }
    }
    uint64_t number;
    if (!span_to_u64(digits, most / unit, &number) || number * unit < least)
        return config_fail(reader, config_reader_line(reader, section, option),
                           "%s = \"%s\"; expected a number from %llu to %llu%s", option, text,
                           (unsigned long long)least, (unsigned long long)most,
                           has_unit ? ", with K, M or G if you like" : "");
    *number_out = number * unit;
    return ERR_OK;
}

enum err config_string(struct config_reader *reader, cfg_t *section, const char *option, char *target,
                       size_t target_size)
{
    const char *text = config_text(reader, section, option);
    if (!text)
        return ERR_OK;
    bool is_printable = true;
    for (const char *byte = text; *byte; byte++)
        is_printable = is_printable && (unsigned char)*byte >= 0x20 && *byte != 0x7f;
    if (!is_printable || !span_copy(span_of(text), target, target_size))
        return config_fail(reader, config_reader_line(reader, section, option),
                           "%s is no usable text; expected at most %zu printable bytes", option, target_size - 1);
    return ERR_OK;
}

enum err config_path(struct config_reader *reader, cfg_t *section, const char *option, char target[CONFIG_PATH_SIZE])
{
    char given[CONFIG_PATH_SIZE] = "";
    enum err err = config_string(reader, section, option, given, sizeof given);
    if (err || !config_reader_has(reader, section, option))
        return err;
    const int line = config_reader_line(reader, section, option);
    if (!given[0])
        return config_fail(reader, line, "%s is empty; expected a path", option);
    int count;
    const char *home = getenv("HOME");
    const char *file = reader->config->file;
    if (given[0] == '/')
        count = snprintf(target, CONFIG_PATH_SIZE, "%s", given);
    else if (given[0] == '~' && (given[1] == '/' || !given[1]) && home && home[0] == '/')
        count = snprintf(target, CONFIG_PATH_SIZE, "%s%s", home, given + 1);
    else if (given[0] == '~')
        return config_fail(reader, line, "%s = \"%s\"; expected \"~/...\" (with HOME set) or an absolute path", option,
                           given);
    else
        count = snprintf(target, CONFIG_PATH_SIZE, "%.*s/%s", (int)(strrchr(file, '/') - file), file, given);
    if (count < 0 || count >= CONFIG_PATH_SIZE)
        return config_fail(reader, line, "%s is too long; expected at most %d bytes", option, CONFIG_PATH_SIZE - 1);
    return ERR_OK;
}

bool config_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcasecmp(host, "localhost") == 0;
}

bool config_split_host(struct span text, char *host_out, size_t host_size, int *port)
{
    struct span host, rest;
    if (text.len && text.ptr[0] == '[') {
        size_t close = span_find_byte(text, 1, ']');
        if (close == text.len)
            return false;
        host = span_slice(text, 1, close);
        rest = span_skip(text, close + 1);
        char literal[64];
        struct in6_addr v6;
        if (!span_copy(host, literal, sizeof literal) || inet_pton(AF_INET6, literal, &v6) != 1)
            return false;
    } else {
        size_t colon = span_find_byte(text, 0, ':');
        host = span_slice(text, 0, colon);
        rest = span_skip(text, colon);
    }
    if (rest.len) {
        uint64_t number;
        if (rest.ptr[0] != ':' || !span_to_u64(span_skip(rest, 1), 65535, &number))
            return false;
        *port = (int)number;
    }
    return host.len > 0 && span_copy(host, host_out, host_size);
}
