/*
 * The master's own state, shared by the files it is written in: master.c (the loop), master_children.c (starting and
 * ending).
 */
#ifndef PROXY_MASTER_INTERNAL_H
#define PROXY_MASTER_INTERNAL_H

#include "proxy/listen.h"
#include "proxy/master.h"

#include <sys/types.h>

#define MASTER_NETS_MAX 4 /* one that accepts, and some that drain */

struct master_net {
    pid_t pid;  /* 0: no such process */
    int socket; /* to it, non-blocking; -1 when it has closed */
    bool is_ready;
    bool is_draining;
    uint64_t started_ms;
};

struct master_keeper {
    pid_t pid;
    pid_t net; /* which net process it serves */
};

struct master_agent {
    char home[CONFIG_PATH_SIZE];
    pid_t pid; /* 0: somebody else's, or none */
    uint64_t started_ms;
};

struct master {
    struct config *config;
    const char *config_file;
    char program[CONFIG_PATH_SIZE]; /* this very binary, for keepers */
    char wrapper[CONFIG_PATH_SIZE];
    struct proxy_sockets sockets;
    struct master_net nets[MASTER_NETS_MAX];
    pid_t vault;
    int vault_socket;
    uint64_t vault_started_ms;
    struct master_keeper *keepers;
    size_t keepers_len, keepers_capacity;
    struct master_agent *agents; /* one for each home that was ever served */
    size_t agents_len;
    int signals; /* signalfd */
    bool is_ending;
    bool is_announced;
};

/* Starts the vault; net processes that exist get a socket to it. */
ERR_RETURN enum err master_start_vault(struct master *master);
/* Starts a net process on the current sockets. */
ERR_RETURN enum err master_start_net(struct master *master);
/* Starts a keeper for the account with this address and sends its socket to `net`, which knows the account by `number`.
 */
ERR_RETURN enum err master_start_keeper(struct master *master, struct master_net *net, uint32_t number,
                                        const char *address);
/* Ends a keeper that `net` owns, with its children. */
void master_kill_keeper(struct master *master, const struct master_net *net, pid_t pid);
/* Starts the gpg-agent of each account that has none. */
ERR_RETURN enum err master_start_agents(struct master *master);
/* Takes note that child `pid` ended. */
void master_reaped(struct master *master, pid_t pid, int status);
void master_drain(struct master *master, struct master_net *net);
/* Ends vault, keepers and agents and waits for them. */
void master_end_children(struct master *master);

#endif
