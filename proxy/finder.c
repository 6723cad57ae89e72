#include "proxy/finder_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "proxy/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define FILES_MAX 4096
#define RENEW_S 600
#define MEMORY_MAX ((uint64_t)1 << 30)
#define RESOLV_CONF "/etc/resolv.conf"
#define ANSWERS_MAX 1024 /* that wait for one client: each may hold a file open */

/* What can be asked, and by whom. */
static const struct {
    enum proxy_message type;
    finder_serve_fn serve;
    bool is_for_keepers;
} SERVICES[] = {
    {PROXY_FIND, finder_find, false},
    {PROXY_REVOCATION, finder_revocation_ask, true},
};

static void answer_free(struct finder_client *client)
{
    struct finder_answer *answer = STAILQ_FIRST(&client->answers);
    STAILQ_REMOVE_HEAD(&client->answers, link);
    client->answers_len--;
    for (size_t i = 0; i < answer->out.files_len; i++)
        close(answer->out.files[i]);
    ipc_out_fini(&answer->out);
    free(answer);
}

static void client_free(struct finder_client *client)
{
    while (!STAILQ_EMPTY(&client->answers))
        answer_free(client);
    finder_keys_forget(client->finder->keys, client);
    finder_revocation_forget(client->finder->revocation, client);
    LIST_REMOVE(client, link);
    event_free(client->readable);
    event_free(client->writable);
    close(client->socket);
    free(client);
}

static void end_if_done(struct finder *finder)
{
    if (finder->is_ending && LIST_EMPTY(&finder->clients))
        event_base_loopbreak(finder->base);
}

void finder_renew(struct finder *finder, const char *directory, bool was_taken)
{
    if (!was_taken && clock_now() - finder->started < RENEW_S)
        return;
    log_info("directory %s refuses its password: another finder asks for it again", directory);
    event_base_loopexit(finder->base, NULL);
}

void finder_answer_begin(struct ipc_out *out, uint32_t number, enum err err)
{
    ipc_out_begin(out, PROXY_FINDER_DONE);
    ipc_put_u32(out, number);
    ipc_put_u32(out, (uint32_t)err);
}

/* Takes `out` over, and files of its own. */
static enum err keep_answer(struct finder_client *client, const struct ipc_out *out)
{
    struct finder_answer *answer = client->answers_len < ANSWERS_MAX ? calloc(1, sizeof(*answer)) : NULL;
    if (answer == NULL)
        return client->answers_len < ANSWERS_MAX ? ERR_MEMORY : ERR_LIMIT;
    answer->out = *out;
    for (size_t i = 0; i < out->files_len; i++) {
        answer->out.files[i] = fcntl(out->files[i], F_DUPFD_CLOEXEC, 0);
        if (answer->out.files[i] >= 0)
            continue;
        enum err err = err_of_errno(errno);
        while (i-- > 0)
            close(answer->out.files[i]);
        free(answer);
        return err;
    }
    STAILQ_INSERT_TAIL(&client->answers, answer, link);
    client->answers_len++;
    return event_add(client->writable, NULL) == 0 ? ERR_OK : ERR_MEMORY;
}

/* Freed from its own event, which the end of the socket brings about: whoever answers may be in the midst of others. */
static void end_client(struct finder_client *client, enum err why)
{
    if (why != ERR_END)
        log_failure(why, "answering");
    client->is_gone = true;
    (void)shutdown(client->socket, SHUT_RDWR);
}

void finder_answer_send(struct finder_client *client, struct ipc_out *out)
{
    enum err err = client->is_gone ? ERR_END : ERR_AGAIN;
    if (!client->is_gone && client->answers_len == 0)
        err = ipc_send_now(client->socket, out);
    if (err == ERR_OK)
        return;
    const bool has_kept = err == ERR_AGAIN && (err = keep_answer(client, out)) == ERR_OK;
    if (!has_kept)
        ipc_out_fini(out);
    if (!has_kept && !client->is_gone)
        end_client(client, err);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct finder_client *client = context;
    enum err err = ERR_OK;
    (void)what;
    while (err == ERR_OK && !client->is_gone && !STAILQ_EMPTY(&client->answers)) {
        err = ipc_send_now(fd, &STAILQ_FIRST(&client->answers)->out);
        if (err != ERR_AGAIN)
            answer_free(client);
    }
    if (err == ERR_AGAIN)
        err = event_add(client->writable, NULL) == 0 ? ERR_OK : ERR_MEMORY;
    if (err != ERR_OK && !client->is_gone)
        end_client(client, err);
}

static enum err take_request(struct finder_client *client, struct ipc_in *in)
{
    const uint32_t number = ipc_get_u32(in);
    for (size_t i = 0; i < sizeof(SERVICES) / sizeof(*SERVICES); i++)
        if (SERVICES[i].type == ipc_type(in) && SERVICES[i].is_for_keepers == (client->account != NULL))
            return SERVICES[i].serve(client, number, in);
    return ERR_PEER_PROTOCOL;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct finder_client *client = context;
    struct finder *finder = client->finder;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_OK) {
        err = take_request(client, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK || err == ERR_AGAIN)
        return;
    if (err != ERR_END)
        log_failure(err, "request of a client");
    client_free(client);
    end_if_done(finder);
}

/* Takes the socket over. */
static enum err add_client(struct finder *finder, int socket, const struct config_account *account)
{
    const struct finder_client *other;
    size_t len = 0;
    LIST_FOREACH(other, &finder->clients, link)
    len++;
    struct finder_client *client = len < CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
    if (client != NULL) {
        STAILQ_INIT(&client->answers);
        client->readable = event_new(finder->base, socket, EV_READ | EV_PERSIST, on_readable, client);
        client->writable = event_new(finder->base, socket, EV_WRITE, on_writable, client);
    }
    if (client == NULL || client->readable == NULL || client->writable == NULL ||
        event_add(client->readable, NULL) != 0) {
        if (client != NULL && client->readable != NULL)
            event_free(client->readable);
        if (client != NULL && client->writable != NULL)
            event_free(client->writable);
        free(client);
        close(socket);
        return ERR_MEMORY;
    }
    client->finder = finder;
    client->socket = socket;
    client->account = account;
    LIST_INSERT_HEAD(&finder->clients, client, link);
    return ERR_OK;
}

static void on_control(evutil_socket_t fd, short what, void *context)
{
    struct finder *finder = context;
    struct ipc_in in;
    (void)what;
    enum err err = ipc_recv(fd, &in);
    if (err == ERR_OK) {
        const struct config_account *account = NULL;
        char address[MIME_ADDR_SIZE];
        const bool is_keeper = ipc_type(&in) == PROXY_FINDER_KEEPER;
        if (is_keeper) {
            ipc_get_string(&in, address, sizeof(address));
            account = config_account_of_address(finder->config, address);
        }
        int socket = is_keeper || ipc_type(&in) == PROXY_FINDER_CLIENT ? ipc_get_file(&in) : -1;
        err = socket < 0 || is_keeper != (account != NULL) ? ERR_PEER_PROTOCOL : ipc_in_end(&in);
        ipc_in_fini(&in);
        if (err == ERR_OK)
            err = add_client(finder, socket, account);
        else if (socket >= 0)
            close(socket);
    }
    if (err == ERR_OK || err == ERR_AGAIN)
        return;
    if (err != ERR_END)
        log_failure(err, "the master");
    event_del(finder->control);
    finder->is_ending = true;
    end_if_done(finder);
}

/* A directory on this machine is asked over a local socket; then those of gpg-agents, and the one at which the vault
   takes whoever comes for a command, must be out of reach. */
static enum err enter_sandbox(const struct config *config)
{
    struct sandbox_options options = {
        .role = SANDBOX_FINDER, .user = config->user, .memory_max = MEMORY_MAX, .files_max = FILES_MAX};
    const size_t hidden_max = sizeof(options.hidden_dirs) / sizeof(*options.hidden_dirs) - 1;
    char run[CONFIG_PATH_SIZE];
    for (size_t i = 0; i < config->directories_len; i++)
        if (config->directories[i].ldap.security == KEYRING_LDAP_LOCAL)
            options.role = SANDBOX_FINDER_LOCAL;
    if (options.role == SANDBOX_FINDER_LOCAL && config->accounts_len > hidden_max)
        return log_failure(ERR_LIMIT, "more than %zu accounts, whose agents cannot be hidden", hidden_max);
    if (!config_state_path(config, "run", run))
        return ERR_CONFIG;
    for (size_t i = 0; options.role == SANDBOX_FINDER_LOCAL && i < config->accounts_len; i++)
        options.hidden_dirs[i + 1] = config->accounts[i].gnupghome;
    if (options.role == SANDBOX_FINDER_LOCAL)
        options.hidden_dirs[0] = run;
    return sandbox_enter(&options);
}

static enum err start(struct finder *finder, int control)
{
    keyring_ldap_init();
    finder->base = event_base_new();
    finder->dns = finder->base == NULL ? NULL : evdns_base_new(finder->base, 0);
    if (finder->dns == NULL)
        return ERR_MEMORY;
    finder->whole_dns = evdns_base_new(finder->base, 0);
    if (finder->whole_dns == NULL)
        return ERR_MEMORY;
    if (evdns_base_resolv_conf_parse(finder->dns, DNS_OPTIONS_ALL, RESOLV_CONF) != 0 ||
        evdns_base_resolv_conf_parse(finder->whole_dns, DNS_OPTIONS_ALL & ~DNS_OPTION_SEARCH, RESOLV_CONF) != 0)
        log_info("no name server is configured");
    /* Without any libevent puts the host's own domain there. */
    evdns_base_search_clear(finder->whole_dns);
    enum err err = finder_keys_new(finder, &finder->keys);
    if (err == ERR_OK)
        err = finder_revocation_new(finder, &finder->revocation);
    if (err == ERR_OK)
        err = enter_sandbox(finder->config);
    if (err != ERR_OK)
        return err;
    finder->control = event_new(finder->base, control, EV_READ | EV_PERSIST, on_control, finder);
    return finder->control != NULL && event_add(finder->control, NULL) == 0 ? ERR_OK : ERR_MEMORY;
}

int proxy_finder_main(const struct config *config, int control)
{
    struct finder finder = {.config = config, .started = clock_now()};
    LIST_INIT(&finder.clients);
    log_init("finder", config->log_level);
    signal(SIGPIPE, SIG_IGN);
    /* It ends with its clients. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    enum err err = start(&finder, control);
    if (err == ERR_OK && event_base_dispatch(finder.base) < 0)
        err = ERR_INTERNAL;
    while (!LIST_EMPTY(&finder.clients))
        client_free(LIST_FIRST(&finder.clients));
    finder_revocation_free(&finder.revocation);
    finder_keys_free(&finder.keys);
    if (finder.control != NULL)
        event_free(finder.control);
    if (finder.dns != NULL)
        evdns_base_free(finder.dns, 0);
    if (finder.whole_dns != NULL)
        evdns_base_free(finder.whole_dns, 0);
    if (finder.base != NULL)
        event_base_free(finder.base);
    if (err == ERR_OK)
        return 0;
    log_failure(err, "finder");
    return 3;
}
