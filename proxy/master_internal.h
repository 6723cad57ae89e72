/*
 * The master's own state, shared by the files it is written in: master.c (the loop), master_children.c (starting and
 * ending), master_finder.c (the same of the finder).
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
    unsigned number; /* a later one has a higher number */
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
    unsigned nets_started;
    uint64_t net_started_ms; /* the last one */
    pid_t vault;
    int vault_socket;
    int vault_listener; /* for the command line (vault_socket.h); -1: another serve has it */
    uint64_t vault_started_ms;
    pid_t finder; /* 0: none, or none is needed */
    int finder_socket;
    uint64_t finder_started_ms;
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
/* Gives `net` a new line to the vault, if there is one; a vault that starts gives it by itself. */
void master_give_vault(struct master *master, struct master_net *net);
/* Starts a finder if the configuration has something to look for, in place of an earlier one, which ends with the last
   net process that it serves; net processes that exist get a line to it. */
ERR_RETURN enum err master_start_finder(struct master *master);
/* True if the configuration needs one. */
bool master_needs_finder(const struct master *master);
/* As master_give_vault. */
void master_give_finder(struct master *master, struct master_net *net);
/* Ends a keeper that `net` owns, with its children. */
void master_kill_keeper(struct master *master, const struct master_net *net, pid_t pid);
/* Starts the gpg-agent of each account that has none. */
ERR_RETURN enum err master_start_agents(struct master *master);
/* True if there is a net process that accepts, and if there is room to start one. */
bool master_has_accepting_net(const struct master *master);
bool master_has_room_for_net(const struct master *master);
/* `net` serves now: those that were started before it drain. */
void master_take_ready(struct master *master, struct master_net *net);
/* Takes note of all children that have ended. */
void master_reap(struct master *master);
void master_drain(struct master *master, struct master_net *net);
typedef int (*master_child_fn)(struct master *master, int socket);
/* Forks a child that runs `fn` on its end of a pair; ours, non-blocking if `is_async`, goes to `*socket_out`. */
ERR_RETURN enum err master_start_child(struct master *master, bool is_async, master_child_fn fn, pid_t *pid_out,
                                       int *socket_out);
/* In such a child: nothing of the master's is left open but standard streams and `kept`. */
void master_close_others(const int *kept, size_t kept_len);
/* Sends one end of a new pair over `to` (as a message of type `to_type`) and the other to `net`. */
ERR_RETURN enum err master_connect_net(int to, uint16_t to_type, struct master_net *net, uint16_t net_type);
/* Ends vault, finder, keepers and agents and waits for them. */
void master_end_children(struct master *master);

#endif
