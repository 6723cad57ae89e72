#include "proxy/master_internal.h"

#include "base/clock.h"
#include "base/sandbox.h"
#include "base/spawn.h"
#include "proxy/keeper.h"
#include "proxy/net.h"
#include "proxy/vault.h"
#include "proxy/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEPERS_MAX 1024
#define END_MAX_MS 5000
/* How long a keeper waits for the vault or the finder, and these for a keeper that does not read. */
#define LINE_KEEPER_S 60
#define LINE_OTHER_S 5
/* A keeper maps a message of message_max bytes and writes one about 1.5 times as large; the rest is room for gpg and
 * ourselves. */
#define KEEPER_MEMORY_BASE ((uint64_t)1024 << 20)

void master_close_others(const int *kept, size_t kept_len)
{
    int limit = (int)sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < limit && fd < 4096; fd++) {
        bool is_kept = false;
        for (size_t i = 0; i < kept_len; i++)
            is_kept = is_kept || kept[i] == fd;
        if (!is_kept)
            close(fd);
    }
}

/* In a child: default signals, end with the master. */
static void begin_child(pid_t master_pid)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != master_pid)
        _exit(3);
}

enum err master_connect_net(int to, uint16_t to_type, struct master_net *net, uint16_t net_type)
{
    int ends[2];
    struct ipc_out out;
    enum err err = ipc_pair(true, ends);
    if (err != ERR_OK)
        return err;
    ipc_out_begin(&out, to_type);
    ipc_put_file(&out, ends[1]);
    err = ipc_send(to, &out);
    if (err == ERR_OK) {
        ipc_out_begin(&out, net_type);
        ipc_put_file(&out, ends[0]);
        err = ipc_send(net->socket, &out);
    }
    close(ends[0]);
    close(ends[1]);
    return err;
}

void master_give_vault(struct master *master, struct master_net *net)
{
    if (master->vault == 0 || net->socket < 0)
        return;
    enum err err = master_connect_net(master->vault_socket, PROXY_VAULT_CLIENT, net, PROXY_NET_VAULT);
    if (err != ERR_OK)
        log_failure(err, "handing the vault to net %d", (int)net->pid);
}

enum err master_start_child(struct master *master, bool is_async, master_child_fn fn, pid_t *pid_out, int *socket_out)
{
    int ends[2];
    pid_t self = getpid();
    enum err err = ipc_pair(is_async, ends);
    if (err != ERR_OK)
        return err;
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return log_failure(err_of_errno(errno), "starting a process");
    }
    if (pid == 0) {
        begin_child(self);
        _exit(fn(master, ends[1]));
    }
    close(ends[1]);
    *pid_out = pid;
    *socket_out = ends[0];
    return ERR_OK;
}

static int vault_child(struct master *master, int socket)
{
    master_close_others(&socket, 1);
    return proxy_vault_main(master->config, socket);
}

enum err master_start_vault(struct master *master)
{
    if (master->vault_socket >= 0)
        close(master->vault_socket);
    master->vault_socket = -1;
    master->vault_started_ms = clock_monotonic_ms();
    enum err err = master_start_child(master, false, vault_child, &master->vault, &master->vault_socket);
    for (size_t i = 0; err == ERR_OK && i < MASTER_NETS_MAX; i++)
        master_give_vault(master, &master->nets[i]);
    return err;
}

static int net_child(struct master *master, int socket)
{
    int *kept = calloc(master->sockets.len + 1, sizeof(*kept));
    if (kept == NULL)
        return 3;
    for (size_t i = 0; i < master->sockets.len; i++)
        kept[i] = master->sockets.items[i].fd;
    kept[master->sockets.len] = socket;
    master_close_others(kept, master->sockets.len + 1);
    free(kept);
    return proxy_net_main(master->config, &master->sockets, socket);
}

enum err master_start_net(struct master *master)
{
    struct master_net *net = NULL;
    struct master_net started = {.pid = 0};
    for (size_t i = 0; i < MASTER_NETS_MAX && net == NULL; i++)
        if (master->nets[i].pid == 0)
            net = &master->nets[i];
    if (net == NULL)
        return ERR_BUSY;
    enum err err = master_start_child(master, true, net_child, &started.pid, &started.socket);
    if (err != ERR_OK)
        return err;
    *net = started;
    net->number = ++master->nets_started;
    master->net_started_ms = clock_monotonic_ms();
    master_give_vault(master, net);
    master_give_finder(master, net);
    return ERR_OK;
}

bool master_has_accepting_net(const struct master *master)
{
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        if (master->nets[i].pid != 0 && !master->nets[i].is_draining)
            return true;
    return false;
}

bool master_has_room_for_net(const struct master *master)
{
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        if (master->nets[i].pid == 0)
            return true;
    return false;
}

void master_take_ready(struct master *master, struct master_net *net)
{
    net->is_ready = true;
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        if (master->nets[i].number < net->number)
            master_drain(master, &master->nets[i]);
}

static bool note_keeper(struct master *master, pid_t pid, pid_t net)
{
    if (master->keepers_len == master->keepers_capacity) {
        size_t capacity = master->keepers_capacity * 2 + 8;
        struct master_keeper *keepers = realloc(master->keepers, capacity * sizeof(*keepers));
        if (keepers == NULL)
            return false;
        master->keepers = keepers;
        master->keepers_capacity = capacity;
    }
    master->keepers[master->keepers_len++] = (struct master_keeper){pid, net};
    return true;
}

/* Each home of the other accounts once, and where the vault listens, which takes whoever of our user comes there for a
   command and gives it the private keys of all. ERR_LIMIT rather than a keeper that could reach one of them. */
static enum err fill_hidden(const struct config *config, const struct config_account *account,
                            struct proxy_keeper_setup *setup)
{
    char run[CONFIG_PATH_SIZE];
    if (config->accounts_len > 1) {
        if (!config_state_path(config, "run", run))
            return ERR_CONFIG;
        snprintf(setup->hidden[setup->hidden_len++], sizeof(setup->hidden[0]), "%s", run);
    }
    for (size_t i = 0; i < config->accounts_len; i++) {
        const char *home = config->accounts[i].gnupghome;
        bool is_known = strcmp(home, account->gnupghome) == 0;
        for (uint32_t j = 0; j < setup->hidden_len && !is_known; j++)
            is_known = strcmp(home, setup->hidden[j]) == 0;
        if (is_known)
            continue;
        if (setup->hidden_len == PROXY_DIRS_MAX) {
            log_error("more than %d homes of other accounts cannot be hidden from a keeper", PROXY_DIRS_MAX);
            return ERR_LIMIT;
        }
        snprintf(setup->hidden[setup->hidden_len++], sizeof(setup->hidden[0]), "%s", home);
    }
    return ERR_OK;
}

static void fill_addresses(const struct config_account *account, struct proxy_keeper_setup *setup)
{
    if (account->addresses_len > PROXY_ADDRESSES_MAX)
        log_warning("%s has more than %d addresses: certificates count as its own by the first of them only",
                    account->address, PROXY_ADDRESSES_MAX);
    for (size_t i = 0; i < account->addresses_len && i < PROXY_ADDRESSES_MAX; i++)
        snprintf(setup->addresses[setup->addresses_len++], sizeof(setup->addresses[0]), "%s", account->addresses[i]);
}

static enum err fill_setup(const struct master *master, const struct config_account *account,
                           struct proxy_keeper_setup *setup)
{
    const struct config *config = master->config;
    memset(setup, 0, sizeof(*setup));
    setup->vault = setup->finder = -1;
    setup->revocation = (uint32_t)account->revocation;
    snprintf(setup->account, sizeof(setup->account), "%s", account->address);
    snprintf(setup->home, sizeof(setup->home), "%s", account->gnupghome);
    snprintf(setup->wrapper, sizeof(setup->wrapper), "%s", master->wrapper);
    snprintf(setup->user, sizeof(setup->user), "%s", config->user);
    snprintf(setup->smime_ca, sizeof(setup->smime_ca), "%s", account->smime_ca);
    snprintf(setup->pkcs11_module, sizeof(setup->pkcs11_module), "%s", account->pkcs11_module);
    snprintf(setup->pkcs11_dir, sizeof(setup->pkcs11_dir), "%s", account->pkcs11_dir);
    setup->smime = account->smime;
    config_authserv_id(config, setup->authserv_id);
    if (!config_key_cache(config, account, setup->key_cache))
        setup->key_cache[0] = '\0';
    if (!config_certificates(config, account, setup->certificates))
        return ERR_CONFIG;
    fill_addresses(account, setup);
    setup->log_level = (uint32_t)config->log_level;
    setup->is_own_home = account->is_own_home;
    setup->output_max = config->message_max * 2;
#if !defined(__SANITIZE_ADDRESS__)
    setup->memory_max = KEEPER_MEMORY_BASE + config->message_max * 4;
#endif
    return fill_hidden(config, account, setup);
}

/* A line from a keeper to the vault or the finder, for what is its account's. Without one it does all else. */
static int open_line(int to, uint16_t type, const struct config_account *account)
{
    const struct timeval keeper_time = {LINE_KEEPER_S, 0}, other_time = {LINE_OTHER_S, 0};
    int ends[2];
    struct ipc_out out;
    enum err err = ipc_pair(false, ends);
    if (err != ERR_OK)
        return -1;
    (void)setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &keeper_time, sizeof(keeper_time));
    (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDTIMEO, &other_time, sizeof(other_time));
    ipc_out_begin(&out, type);
    ipc_put_string(&out, account->address);
    ipc_put_file(&out, ends[1]);
    err = ipc_send(to, &out);
    close(ends[1]);
    if (err == ERR_OK)
        return ends[0];
    log_failure(err, "a line from a keeper to another process");
    close(ends[0]);
    return -1;
}

/* Starts the program with its end of `ends` as descriptor 3 and puts the set-up on the way. */
static enum err launch_keeper(struct master *master, const struct config_account *account, const int ends[2],
                              pid_t *pid)
{
    struct proxy_keeper_setup setup;
    struct ipc_out out;
    const char *const arguments[] = {"privyseal", PROXY_KEEPER_COMMAND, NULL};
    struct spawn_options options = {
        .file = master->program, .arguments = arguments, .inherit_fd = ends[1], .dies_with_parent = true};
    enum err err = fill_setup(master, account, &setup);
    if (err == ERR_OK)
        err = spawn_start(&options, pid);
    if (err != ERR_OK)
        return err;
    if (master->vault != 0)
        setup.vault = open_line(master->vault_socket, PROXY_VAULT_KEEPER, account);
    if (master->finder != 0 && account->revocation != KEYRING_REVOCATION_OFF)
        setup.finder = open_line(master->finder_socket, PROXY_FINDER_KEEPER, account);
    proxy_put_setup(&out, &setup);
    err = ipc_send(ends[0], &out);
    if (setup.vault >= 0)
        close(setup.vault);
    if (setup.finder >= 0)
        close(setup.finder);
    return err;
}

static enum err hand_keeper(struct master *master, struct master_net *net, uint32_t number,
                            const struct config_account *account)
{
    int ends[2];
    pid_t pid = 0;
    struct ipc_out out;
    enum err err = ipc_pair(true, ends);
    if (err != ERR_OK)
        return err;
    err = launch_keeper(master, account, ends, &pid);
    if (pid > 0 && !note_keeper(master, pid, net->pid))
        err = ERR_MEMORY;
    if (err == ERR_OK) {
        ipc_out_begin(&out, PROXY_NET_KEEPER);
        ipc_put_u32(&out, number);
        ipc_put_u32(&out, (uint32_t)pid);
        ipc_put_file(&out, ends[0]);
        err = ipc_send(net->socket, &out);
    }
    close(ends[0]);
    close(ends[1]);
    return err;
}

enum err master_start_keeper(struct master *master, struct master_net *net, uint32_t number, const char *address)
{
    struct ipc_out out;
    const struct config_account *account = config_account_of_address(master->config, address);
    enum err err = account == NULL ? ERR_NOT_FOUND : ERR_OK;
    if (err == ERR_OK && master->keepers_len >= KEEPERS_MAX)
        err = ERR_BUSY;
    if (err == ERR_OK)
        err = hand_keeper(master, net, number, account);
    if (err == ERR_OK)
        return ERR_OK;
    log_failure(err, "starting a keeper for %s", address);
    ipc_out_begin(&out, PROXY_NET_NO_KEEPER);
    ipc_put_u32(&out, number);
    return ipc_send(net->socket, &out);
}

/* A keeper that has not been waited for, and whatever it has started. The process itself too, in case it had no time to
   make the group. */
static void kill_family(pid_t pid)
{
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
}

void master_kill_keeper(struct master *master, const struct master_net *net, pid_t pid)
{
    for (size_t i = 0; i < master->keepers_len; i++) {
        if (master->keepers[i].pid == pid && master->keepers[i].net == net->pid) {
            kill_family(pid);
            return;
        }
    }
    log_warning("net %d asked to end %d, which is no keeper of its own", (int)net->pid, (int)pid);
}

/* The entry of `home`, made if there is none; NULL when memory is short. */
static struct master_agent *agent_of(struct master *master, const char *home)
{
    for (size_t i = 0; i < master->agents_len; i++)
        if (strcmp(master->agents[i].home, home) == 0)
            return &master->agents[i];
    struct master_agent *agents = realloc(master->agents, (master->agents_len + 1) * sizeof(*agents));
    if (agents == NULL)
        return NULL;
    master->agents = agents;
    struct master_agent *agent = &agents[master->agents_len++];
    *agent = (struct master_agent){.pid = 0};
    snprintf(agent->home, sizeof(agent->home), "%s", home);
    return agent;
}

enum err master_start_agents(struct master *master)
{
    for (size_t i = 0; i < master->config->accounts_len; i++) {
        struct master_agent *agent = agent_of(master, master->config->accounts[i].gnupghome);
        if (agent == NULL)
            return ERR_MEMORY;
        if (agent->pid != 0)
            continue;
        bool is_first = agent->started_ms == 0;
        agent->started_ms = clock_monotonic_ms();
        const char *user = master->config->user[0] == '\0' ? NULL : master->config->user;
        enum err err = keyring_gpg_agent_start(agent->home, user, &agent->pid);
        /* No keeper is there yet. */
        if (err == ERR_OK && is_first)
            err = keyring_gpg_agent_settle(agent->home, user);
        if (err != ERR_OK)
            log_failure(err, "gpg-agent of %s", master->config->accounts[i].address);
    }
    return ERR_OK;
}

/* Another one is started by the loop, with a pause where it died at once. */
static void reaped_net(struct master *master, struct master_net *net, int status)
{
    bool is_crash = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (is_crash || !net->is_draining)
        log_error("net %d ended with status %#x", (int)net->pid, (unsigned)status);
    /* Nobody is left to hear what its keepers have to say, nor to end one that hangs. */
    for (size_t i = 0; i < master->keepers_len; i++)
        if (master->keepers[i].net == net->pid)
            kill_family(master->keepers[i].pid);
    if (net->socket >= 0)
        close(net->socket);
    *net = (struct master_net){.pid = 0, .socket = -1};
}

static void take_end(struct master *master, pid_t pid, int status)
{
    for (size_t i = 0; i < master->keepers_len; i++) {
        if (master->keepers[i].pid == pid) {
            if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                log_warning("keeper %d ended with status %#x", (int)pid, (unsigned)status);
            master->keepers[i] = master->keepers[--master->keepers_len];
            return;
        }
    }
    for (size_t i = 0; i < MASTER_NETS_MAX; i++) {
        if (master->nets[i].pid == pid) {
            reaped_net(master, &master->nets[i], status);
            return;
        }
    }
    for (size_t i = 0; i < master->agents_len; i++)
        if (master->agents[i].pid == pid)
            master->agents[i].pid = 0;
    if (pid == master->vault) {
        log_error("vault %d ended with status %#x", (int)pid, (unsigned)status);
        master->vault = 0;
    }
    if (pid == master->finder) {
        log_error("finder %d ended with status %#x", (int)pid, (unsigned)status);
        master->finder = 0;
    }
}

/* A child that has ended keeps its number, and that of its group, until it is waited for: only before that is it sure
   whom a signal to the group meets. */
void master_reap(struct master *master)
{
    siginfo_t info = {.si_pid = 0};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid > 0) {
        pid_t pid = info.si_pid;
        int status;
        for (size_t i = 0; i < master->keepers_len; i++)
            if (master->keepers[i].pid == pid)
                kill_family(pid);
        if (waitpid(pid, &status, 0) == pid)
            take_end(master, pid, status);
        info.si_pid = 0;
    }
}

void master_drain(struct master *master, struct master_net *net)
{
    struct ipc_out out;
    (void)master;
    if (net->pid == 0 || net->is_draining)
        return;
    net->is_draining = true;
    ipc_out_begin(&out, PROXY_NET_DRAIN);
    enum err err = net->socket < 0 ? ERR_END : ipc_send(net->socket, &out);
    if (err != ERR_OK)
        kill(net->pid, SIGKILL);
}

/* Waits for a child that has been asked to end; one that does not in time (an agent whose pinentry nobody answers) is
   killed. */
static void await_end(pid_t *pid)
{
    const struct timespec pause = {0, 10 * 1000000};
    const uint64_t since = clock_monotonic_ms();
    pid_t ended = 0;
    while (ended == 0 && clock_monotonic_ms() - since < END_MAX_MS) {
        ended = waitpid(*pid, NULL, WNOHANG);
        if (ended == 0)
            nanosleep(&pause, NULL);
    }
    if (ended == 0) {
        log_warning("process %d does not end; killed", (int)*pid);
        kill(*pid, SIGKILL);
        while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    *pid = 0;
}

void master_end_children(struct master *master)
{
    for (size_t i = 0; i < MASTER_NETS_MAX; i++) {
        if (master->nets[i].pid <= 0)
            continue;
        kill(master->nets[i].pid, SIGKILL);
        await_end(&master->nets[i].pid);
    }
    for (size_t i = 0; i < master->keepers_len; i++) {
        kill_family(master->keepers[i].pid);
        await_end(&master->keepers[i].pid);
    }
    master->keepers_len = 0;
    /* The vault ends by itself when nobody can ask it any more, with its files closed. */
    if (master->vault_socket >= 0)
        close(master->vault_socket);
    master->vault_socket = -1;
    if (master->vault > 0)
        await_end(&master->vault);
    if (master->finder_socket >= 0)
        close(master->finder_socket);
    master->finder_socket = -1;
    if (master->finder > 0)
        await_end(&master->finder);
    for (size_t i = 0; i < master->agents_len; i++)
        if (master->agents[i].pid > 0)
            kill(master->agents[i].pid, SIGTERM);
    for (size_t i = 0; i < master->agents_len; i++)
        if (master->agents[i].pid > 0)
            await_end(&master->agents[i].pid);
}
