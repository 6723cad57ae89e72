#include "proxy/master_internal.h"

#include "base/clock.h"
#include "base/sandbox.h"
#include "keyring/gpg.h"
#include "proxy/state.h"
#include "proxy/vault_socket.h"
#include "proxy/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DRAIN_MAX_MS 30000
#define TICK_MS 1000
/* What dies within this time of its start is started again only at the next tick, so that nothing spins. */
#define RESTART_PAUSE_MS 2000

static void notify_ready(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(address.sun_path))
        return;
    memcpy(address.sun_path, path, strlen(path));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, "READY=1", 7, 0, (const struct sockaddr *)&address, len) < 0)
        log_warning("telling systemd that we are ready: %s", strerror(errno));
    close(fd);
}

static void announce(struct master *master)
{
    if (master->is_announced)
        return;
    master->is_announced = true;
    for (size_t i = 0; i < master->sockets.len; i++) {
        const struct proxy_socket *item = &master->sockets.items[i];
        const char *format = strchr(item->host, ':') == NULL ? "ready %s %s:%d\n" : "ready %s [%s]:%d\n";
        printf(format, master->config->listeners[item->listener].name, item->host, item->bound_port);
    }
    printf("ready\n");
    fflush(stdout);
    notify_ready();
}

static enum err take_message(struct master *master, struct master_net *net, struct ipc_in *in)
{
    uint32_t number = 0;
    char address[MIME_ADDR_SIZE];
    uint16_t type = ipc_type(in);
    if (type == PROXY_MASTER_NEED_KEEPER || type == PROXY_MASTER_KILL_KEEPER)
        number = ipc_get_u32(in);
    if (type == PROXY_MASTER_NEED_KEEPER)
        ipc_get_string(in, address, sizeof(address));
    enum err err = ipc_in_end(in);
    if (err != ERR_OK)
        return err;
    switch (type) {
    case PROXY_MASTER_READY:
        master_take_ready(master, net);
        announce(master);
        return ERR_OK;
    case PROXY_MASTER_NEED_KEEPER:
        return master_start_keeper(master, net, number, address);
    case PROXY_MASTER_KILL_KEEPER:
        master_kill_keeper(master, net, (pid_t)number);
        return ERR_OK;
    case PROXY_MASTER_NEED_VAULT:
        master_give_vault(master, net);
        return ERR_OK;
    case PROXY_MASTER_NEED_FINDER:
        master_give_finder(master, net);
        return ERR_OK;
    default:
        return ERR_PEER_PROTOCOL;
    }
}

/* Reads what a net process asks for; a malformed message ends that process. */
static void serve_net(struct master *master, struct master_net *net)
{
    struct ipc_in in;
    enum err err = ipc_recv(net->socket, &in);
    if (err == ERR_AGAIN)
        return;
    if (err == ERR_OK) {
        err = take_message(master, net, &in);
        ipc_in_fini(&in);
    }
    if (err == ERR_OK)
        return;
    if (err != ERR_END) {
        log_failure(err, "message from net %d", (int)net->pid);
        kill(net->pid, SIGKILL);
    }
    close(net->socket);
    net->socket = -1;
}

/* Sessions that are open keep their net process and its configuration; those that come later find the new one. The old
   process goes on accepting until the new one is ready, and for good if that never is. */
static void reload(struct master *master)
{
    struct config *fresh = NULL;
    if (!master_has_room_for_net(master)) {
        log_error("sessions of earlier configurations are still open; the new one was not taken");
        return;
    }
    enum err err = config_read(master->config_file, &fresh);
    if (err == ERR_OK)
        err = proxy_state_prepare(fresh);
    if (err == ERR_OK)
        err = proxy_listen(fresh, &master->sockets, &master->sockets);
    if (err != ERR_OK) {
        config_free(&fresh);
        log_failure(err, "the new configuration was not taken; the old one goes on");
        return;
    }
    config_free(&master->config);
    master->config = fresh;
    err = master_start_agents(master);
    if (err == ERR_OK)
        err = master_start_finder(master);
    if (err == ERR_OK)
        err = master_start_net(master);
    if (err != ERR_OK)
        log_failure(err, "starting net with the new configuration");
    else
        log_info("configuration read again");
}

static void end(struct master *master)
{
    master->is_ending = true;
    /* Or the kernel would go on taking connections that nobody will ever serve. */
    proxy_listen_close(&master->sockets);
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        master_drain(master, &master->nets[i]);
}

static void take_signals(struct master *master)
{
    struct signalfd_siginfo info;
    while (read(master->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP && !master->is_ending)
            reload(master);
        else if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
            end(master);
    }
    master_reap(master);
}

static bool has_net(const struct master *master)
{
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        if (master->nets[i].pid != 0)
            return true;
    return false;
}

/* Starts again what has died, with a pause where it died at once. */
static void mend(struct master *master)
{
    uint64_t now = clock_monotonic_ms();
    bool is_agent_missing = false;
    enum err err = ERR_OK;
    if (master->is_ending)
        return;
    /* Before the first one has been ready its end is the end of all: run(). */
    if (master->is_announced && !master_has_accepting_net(master) && master_has_room_for_net(master) &&
        now - master->net_started_ms > RESTART_PAUSE_MS)
        err = master_start_net(master);
    if (err == ERR_OK && master->vault == 0 && now - master->vault_started_ms > RESTART_PAUSE_MS)
        err = master_start_vault(master);
    if (err == ERR_OK && master->finder == 0 && master_needs_finder(master) &&
        now - master->finder_started_ms > RESTART_PAUSE_MS)
        err = master_start_finder(master);
    for (size_t i = 0; i < master->agents_len; i++)
        is_agent_missing = is_agent_missing || (master->agents[i].pid == 0 && master->agents[i].started_ms != 0 &&
                                                now - master->agents[i].started_ms > RESTART_PAUSE_MS * 30);
    if (err == ERR_OK && is_agent_missing)
        err = master_start_agents(master);
    if (err != ERR_OK)
        log_failure(err, "starting again what had ended");
}

/* A connection of the command line goes to the vault. */
static void take_client(struct master *master)
{
    struct secret proof = {NULL, 0};
    struct ipc_out out;
    int fd;
    enum err err = proxy_vault_socket_accept(master->config, master->vault_listener, &fd);
    if (err == ERR_OK) {
        err = proxy_vault_socket_proof(master->config, &proof);
        if (err == ERR_OK) {
            ipc_out_begin(&out, PROXY_VAULT_COMMAND);
            ipc_put_span(&out, secret_span(&proof));
            ipc_put_file(&out, fd);
            err = ipc_send(master->vault_socket, &out);
        }
        secret_fini(&proof);
        close(fd);
    }
    if (err != ERR_OK && err != ERR_AGAIN)
        log_failure(err, "a connection to the vault's socket");
}

static void poll_once(struct master *master)
{
    struct pollfd polls[2 + MASTER_NETS_MAX] = {{.fd = master->signals, .events = POLLIN}};
    struct pollfd *listener = &polls[1 + MASTER_NETS_MAX];
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        polls[1 + i] = (struct pollfd){.fd = master->nets[i].socket, .events = POLLIN};
    *listener = (struct pollfd){.fd = master->vault == 0 ? -1 : master->vault_listener, .events = POLLIN};
    if (poll(polls, 2 + MASTER_NETS_MAX, TICK_MS) < 0)
        return;
    if (listener->revents != 0)
        take_client(master);
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        if (polls[1 + i].revents != 0 && master->nets[i].socket == polls[1 + i].fd)
            serve_net(master, &master->nets[i]);
    if (polls[0].revents != 0)
        take_signals(master);
    mend(master);
}

static enum err run(struct master *master)
{
    uint64_t ending_since = 0;
    for (;;) {
        poll_once(master);
        if (!master->is_announced && !has_net(master))
            return ERR_WORKER;
        if (!master->is_ending)
            continue;
        if (ending_since == 0)
            ending_since = clock_monotonic_ms();
        if (!has_net(master))
            return ERR_OK;
        if (clock_monotonic_ms() - ending_since > DRAIN_MAX_MS) {
            log_warning("sessions did not end in %d s; ending them", DRAIN_MAX_MS / 1000);
            return ERR_OK;
        }
    }
}

static enum err catch_signals(int *fd_out)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return err_of_errno(errno);
    *fd_out = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return *fd_out < 0 ? err_of_errno(errno) : ERR_OK;
}

static enum err find_program(char *path, size_t size)
{
    ssize_t len = readlink("/proc/self/exe", path, size - 1);
    if (len <= 0)
        return err_of_errno(errno);
    path[len] = '\0';
    return ERR_OK;
}

/* Mail passes without it; commands that need it then say what is wrong. */
static void open_vault_socket(struct master *master)
{
    enum err err = proxy_vault_socket_listen(master->config, &master->vault_listener);
    if (err != ERR_OK)
        log_failure(err, "the socket for the command line, run/vault");
}

enum err proxy_serve(struct config *config, const char *config_file)
{
    struct master master = {.config = config,
                            .config_file = config_file,
                            .vault_socket = -1,
                            .vault_listener = -1,
                            .finder_socket = -1,
                            .signals = -1};
    for (size_t i = 0; i < MASTER_NETS_MAX; i++)
        master.nets[i].socket = -1;
    log_init("master", config->log_level);
    sandbox_no_dumps();
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    enum err err = find_program(master.program, sizeof(master.program));
    if (err == ERR_OK)
        err = keyring_gpg_wrapper(master.wrapper, sizeof(master.wrapper));
    if (err == ERR_OK)
        err = catch_signals(&master.signals);
    if (err == ERR_OK)
        err = proxy_state_prepare(config);
    if (err == ERR_OK)
        err = proxy_listen(config, NULL, &master.sockets);
    if (err == ERR_OK)
        err = master_start_agents(&master);
    if (err == ERR_OK)
        err = master_start_vault(&master);
    if (err == ERR_OK)
        err = master_start_finder(&master);
    if (err == ERR_OK)
        err = master_start_net(&master);
    if (err == ERR_OK)
        open_vault_socket(&master);
    if (err == ERR_OK)
        err = run(&master);
    proxy_vault_socket_close(master.config, &master.vault_listener);
    master_end_children(&master);
    proxy_listen_close(&master.sockets);
    if (master.signals >= 0)
        close(master.signals);
    free(master.keepers);
    free(master.agents);
    config_free(&master.config);
    return err;
}
