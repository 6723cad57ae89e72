#include "proxy/config.h"

#include "proxy/config_reader.h"

#include "base/address.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_FILE_MAX 4194304 /* bytes of a configuration file */

static void set_defaults(struct config *config)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    config->log_level = LOG_LEVEL_INFO;
    config->message_max = UINT64_C(100) << 20;
    config->recipients_max = 1000;
    config->groups_max = 50;
    snprintf(config->subject_tag, sizeof config->subject_tag, "[encrypt]");
    config->keepers_max = cores > 0 ? (size_t)cores + 1 : 2;
    config->job_timeout_ms = 60000;
    config->find_timeout_ms = 20000;
    config->sessions_max = 2000;
    config->sessions_per_address = 1000;
    config->timeout_percent = 100;
    config->view_cache_max = UINT64_C(64) << 20;
    config->store_max = UINT64_C(1) << 30;
    if (gethostname(config->host_name, sizeof config->host_name) || !config->host_name[0])
        snprintf(config->host_name, sizeof config->host_name, "localhost");
    config->host_name[sizeof config->host_name - 1] = '\0';
}

static bool join(char target[CONFIG_PATH_SIZE], const char *before, const char *after)
{
    int count = snprintf(target, CONFIG_PATH_SIZE, "%s%s", before, after);
    return count > 0 && count < CONFIG_PATH_SIZE;
}

static const char *absolute_variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

/* A service that root starts keeps its state where services do; a person's proxy keeps it in her home. */
static enum err default_state(struct config_reader *reader)
{
    struct config *config = reader->config;
    const char *state_home = absolute_variable("XDG_STATE_HOME");
    const char *home = absolute_variable("HOME");
    bool is_in_home = home && strncmp(config->file, home, strlen(home)) == 0 && config->file[strlen(home)] == '/';
    bool is_fit;
    if (state_home)
        is_fit = join(config->state_dir, state_home, "/privyseal");
    else if (geteuid() == 0 && !is_in_home)
        is_fit = join(config->state_dir, "/var/lib/privyseal", "");
    else if (home)
        is_fit = join(config->state_dir, home, "/.local/state/privyseal");
    else
        is_fit = false;
    return is_fit ? ERR_OK : config_fail(reader, 1, "HOME says nothing usable; expected state = \"/a/directory\"");
}

static enum err read_state(struct config_reader *reader)
{
    struct config *config = reader->config;
    if (!config_reader_has(reader, reader->root, "state"))
        return default_state(reader);
    enum err err = config_path(reader, reader->root, "state", config->state_dir);
    size_t len = strlen(config->state_dir);
    while (len > 1 && config->state_dir[len - 1] == '/')
        config->state_dir[--len] = '\0';
    return err;
}

static enum err read_names(struct config_reader *reader)
{
    struct config *config = reader->config;
    cfg_t *root = reader->root;
    enum err err = config_string(reader, root, "user", config->user, sizeof config->user);
    if (!err && config->user[0] && !getpwnam(config->user))
        err = config_fail(reader, config_reader_line(reader, root, "user"),
                          "user = \"%s\"; expected the name of a user of this machine", config->user);
    if (!err)
        err = config_string(reader, root, "host_name", config->host_name, sizeof config->host_name);
    if (!err && (!config->host_name[0] || strpbrk(config->host_name, " <>()\"")))
        err = config_fail(reader, config_reader_line(reader, root, "host_name"),
                          "host_name = \"%s\"; expected a host name, as \"mail.example.org\"", config->host_name);
    if (!err)
        err = config_string(reader, root, "subject_tag", config->subject_tag, sizeof config->subject_tag);
    return err;
}

static enum err read_hosts(struct config_reader *reader)
{
    struct config *config = reader->config;
    for (unsigned i = 0; i < cfg_size(reader->root, "revocation_hosts"); i++) {
        const char *text = cfg_getnstr(reader->root, "revocation_hosts", i);
        char host[CONFIG_HOST_SIZE];
        if (strpbrk(text, "/@* ") || address_host(text, host))
            return config_fail(reader, config_reader_line(reader, reader->root, "revocation_hosts"),
                               "revocation_hosts = \"%s\"; expected the name or the address of a host, without a port",
                               text);
        enum err err =
            config_grow(&config->revocation_hosts, &config->revocation_hosts_len, sizeof *config->revocation_hosts);
        if (err)
            return err;
        if (!(config->revocation_hosts[config->revocation_hosts_len - 1] = strdup(host)))
            return ERR_MEMORY;
    }
    return ERR_OK;
}

static enum err read_words(struct config_reader *reader)
{
    static const struct config_word levels[] = {{"error", LOG_LEVEL_ERROR},
                                                {"warning", LOG_LEVEL_WARNING},
                                                {"info", LOG_LEVEL_INFO},
                                                {"debug", LOG_LEVEL_DEBUG},
                                                {NULL, 0}};
    static const struct config_word ends[] = {{"refuse", 0}, {"repair", 1}, {NULL, 0}};
    int level = LOG_LEVEL_INFO, is_repairing = 0;
    enum err err = config_word(reader, reader->root, "log", levels, &level);
    if (!err)
        err = config_word(reader, reader->root, "bare_line_ends", ends, &is_repairing);
    reader->config->log_level = (enum log_level)level;
    reader->config->is_repairing = is_repairing;
    return err;
}

static enum err read_numbers(struct config_reader *reader)
{
    struct config *config = reader->config;
    uint64_t message_max = config->message_max, recipients = config->recipients_max, groups = config->groups_max;
    uint64_t keepers = config->keepers_max, timeout = config->job_timeout_ms / 1000, sessions = config->sessions_max;
    uint64_t per_address = config->sessions_per_address, percent = config->timeout_percent;
    uint64_t find = config->find_timeout_ms / 1000;
    uint64_t view_cache = config->view_cache_max, store = config->store_max;
    const struct {
        const char *option;
        uint64_t least, most;
        bool has_unit;
        uint64_t *number;
    } rows[] = {{"message_max", 1024, UINT64_C(1) << 31, true, &message_max},
                {"recipients_max", 1, 1000, false, &recipients},
                {"groups_max", 1, 1000, false, &groups},
                {"keepers", 1, 256, false, &keepers},
                {"job_timeout", 1, 3600, false, &timeout},
                {"find_timeout", 1, 300, false, &find},
                {"sessions_max", 1, 100000, false, &sessions},
                {"sessions_per_address", 1, 100000, false, &per_address},
                {"timeout_percent", 1, 1000, false, &percent},
                {"view_cache_max", 1 << 20, UINT64_C(1) << 40, true, &view_cache},
                {"store_max", 1 << 20, UINT64_C(1) << 44, true, &store}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum err err = config_number(reader, reader->root, rows[i].option, rows[i].least, rows[i].most,
                                     rows[i].has_unit, rows[i].number);
        if (err)
            return err;
    }
    config->message_max = message_max;
    config->recipients_max = (size_t)recipients;
    config->groups_max = (size_t)groups;
    config->keepers_max = (size_t)keepers;
    config->job_timeout_ms = (uint32_t)timeout * 1000;
    config->find_timeout_ms = (uint32_t)find * 1000;
    config->sessions_max = (size_t)sessions;
    config->sessions_per_address = (size_t)per_address;
    config->timeout_percent = (unsigned)percent;
    config->view_cache_max = view_cache;
    config->store_max = store;
    return ERR_OK;
}

static enum err interpret(struct config_reader *reader)
{
    static enum err (*const steps[])(struct config_reader *) = {read_state,
                                                                read_names,
                                                                read_hosts,
                                                                read_words,
                                                                read_numbers,
                                                                config_read_accounts,
                                                                config_read_listeners,
                                                                config_read_rules,
                                                                config_read_directories,
                                                                config_read_dane,
                                                                config_read_webs,
                                                                config_read_sources,
                                                                config_read_refresh};
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < sizeof steps / sizeof *steps; i++)
        err = steps[i](reader);
    return err;
}

static enum err load(const char *file, struct buf *text)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return ERR_NOT_FOUND;
        fprintf(stderr, "%s:0: cannot be opened: %s; expected a readable file\n", file, strerror(errno));
        return ERR_CONFIG;
    }
    enum err err = ERR_OK;
    char block[8192];
    ssize_t count;
    while (!err && (count = read(fd, block, sizeof block)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        err = count < 0 ? err_of_errno(errno) : buf_add(text, block, (size_t)count);
    }
    close(fd);
    if (err || memchr(text->data, '\0', text->len)) {
        fprintf(stderr, "%s:0: cannot be read; expected a text file of at most %d bytes\n", file, CONFIG_FILE_MAX);
        return ERR_CONFIG;
    }
    return ERR_OK;
}

static bool make_absolute(const char *file, char path_out[CONFIG_PATH_SIZE])
{
    if (file[0] == '/')
        return join(path_out, file, "");
    char directory[CONFIG_PATH_SIZE];
    if (!getcwd(directory, sizeof directory))
        return false;
    int count = snprintf(path_out, CONFIG_PATH_SIZE, "%s/%s", directory, file);
    return count > 0 && count < CONFIG_PATH_SIZE;
}

/* The person's file if there is one, else the machine's. */
static bool default_file(char path_out[CONFIG_PATH_SIZE])
{
    const char *config_home = absolute_variable("XDG_CONFIG_HOME");
    const char *home = absolute_variable("HOME");
    bool has_path = config_home ? join(path_out, config_home, "/privyseal/privyseal.conf")
                    : home      ? join(path_out, home, "/.config/privyseal/privyseal.conf")
                                : false;
    if (has_path && access(path_out, F_OK) == 0)
        return true;
    return join(path_out, "/etc/privyseal/privyseal.conf", "");
}

enum err config_read(const char *file, struct config **config_out)
{
    *config_out = NULL;
    struct config *config = calloc(1, sizeof *config);
    if (!config)
        return ERR_MEMORY;
    struct config_reader reader = {.config = config};
    struct buf text;
    buf_init(&text, CONFIG_FILE_MAX);
    enum err err = ERR_OK;
    set_defaults(config);
    if (file ? !make_absolute(file, config->file) : !default_file(config->file))
        err = ERR_NOT_FOUND;
    if (!err)
        err = load(config->file, &text);
    if (!err)
        err = config_reader_parse(&reader, buf_span(&text));
    if (!err)
        err = interpret(&reader);
    config_reader_fini(&reader);
    buf_fini(&text);
    if (err)
        config_free(&config);
    *config_out = config;
    return err;
}

void config_free(struct config **config)
{
    struct config *old = *config;
    if (!old)
        return;
    for (size_t i = 0; i < old->listeners_len; i++) {
        free(old->listeners[i].at);
        free(old->listeners[i].accounts);
    }
    for (size_t i = 0; i < old->accounts_len; i++) {
        for (size_t j = 0; j < old->accounts[i].addresses_len; j++)
            free(old->accounts[i].addresses[j]);
        free(old->accounts[i].addresses);
    }
    for (size_t i = 0; i < old->revocation_hosts_len; i++)
        free(old->revocation_hosts[i]);
    free(old->revocation_hosts);
    free(old->listeners);
    free(old->accounts);
    config_free_directories(old);
    config_free_source(&old->dane.source);
    config_free_webs(old);
    policy_fini(&old->policy);
    free(old);
    *config = NULL;
}

static bool is_login(const struct config_account *account, const char *login)
{
    if (strcmp(account->login, login) == 0)
        return true;
    return strchr(account->login, '@') && strcasecmp(account->login, login) == 0;
}

const struct config_account *config_account_of_login(const struct config *config,
                                                     const struct config_listener *listener, const char *login)
{
    const size_t count = listener ? listener->accounts_len : config->accounts_len;
    for (size_t i = 0; i < count; i++) {
        const struct config_account *account = &config->accounts[listener ? listener->accounts[i] : i];
        if (is_login(account, login))
            return account;
    }
    return NULL;
}

const struct config_account *config_account_of_address(const struct config *config, const char *address)
{
    for (size_t i = 0; i < config->accounts_len; i++)
        for (size_t j = 0; j < config->accounts[i].addresses_len; j++)
            if (mime_addr_is_same(config->accounts[i].addresses[j], address))
                return &config->accounts[i];
    return NULL;
}

bool config_has_upstream(const struct config_account *account, enum config_protocol protocol)
{
    return account->upstreams[protocol].host[0] != '\0';
}

const char *config_protocol_name(enum config_protocol protocol)
{
    static const char *const names[] = {[CONFIG_SMTP] = "smtp", [CONFIG_IMAP] = "imap"};
    return names[protocol];
}

void config_authserv_id(const struct config *config, char id[CONFIG_AUTHSERV_ID_SIZE])
{
    snprintf(id, CONFIG_AUTHSERV_ID_SIZE, "privyseal.%s", config->host_name);
}

bool config_upstream_is_same(const struct config_upstream *a, const struct config_upstream *b)
{
    return strcasecmp(a->host, b->host) == 0 && a->port == b->port && a->security == b->security &&
           strcmp(a->ca_file, b->ca_file) == 0;
}

/* Bytes that mean something in a path, or nothing to a shell, are written as %XX; "keys/" itself stays. */
static bool add_component(struct buf *path, struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        const char byte = name.ptr[i];
        bool is_plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                        strchr("@._+-=", byte);
        if (is_plain ? buf_add_byte(path, byte) : buf_addf(path, "%%%02X", (unsigned char)byte))
            return false;
    }
    return true;
}

bool config_state_path(const struct config *config, const char *name, char path_out[CONFIG_PATH_SIZE])
{
    struct buf path;
    buf_init(&path, CONFIG_PATH_SIZE - 1);
    struct span rest = span_of(name);
    struct span top;
    bool is_fit = !buf_add_string(&path, config->state_dir) && !buf_add_byte(&path, '/');
    /* Only the first slash divides: what follows is one name, often an address, whose own slashes must not. */
    if (is_fit && span_find_byte(rest, 0, '/') < rest.len && span_take_until(&rest, '/', &top))
        is_fit = add_component(&path, top) && !buf_add_byte(&path, '/');
    is_fit = is_fit && add_component(&path, rest) && span_copy(buf_span(&path), path_out, CONFIG_PATH_SIZE);
    buf_fini(&path);
    return is_fit;
}

static bool account_path(const struct config *config, const struct config_account *account, const char *name,
                         char path_out[CONFIG_PATH_SIZE])
{
    char folder[CONFIG_PATH_SIZE], path[CONFIG_PATH_SIZE];
    return join(folder, "keys/", account->address) && config_state_path(config, folder, path) &&
           join(path_out, path, name);
}

bool config_key_cache(const struct config *config, const struct config_account *account,
                      char path_out[CONFIG_PATH_SIZE])
{
    return account_path(config, account, "/cache", path_out);
}

bool config_certificates(const struct config *config, const struct config_account *account,
                         char path_out[CONFIG_PATH_SIZE])
{
    return account_path(config, account, "/certificates", path_out);
}
