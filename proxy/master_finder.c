#include "proxy/master_internal.h"

#include "base/clock.h"
#include "proxy/finder.h"
#include "proxy/wire.h"

#include <unistd.h>

bool master_needs_finder(const struct master *master)
{
    for (size_t i = 0; i < master->config->accounts_len; i++)
        if (master->config->accounts[i].revocation != KEYRING_REVOCATION_OFF)
            return true;
    return master->config->sources_len > 0;
}

void master_give_finder(struct master *master, struct master_net *net)
{
    if (master->finder == 0 || net->pid == 0 || net->socket < 0)
        return;
    enum err err = master_connect_net(master->finder_socket, PROXY_FINDER_CLIENT, net, PROXY_NET_FINDER);
    if (err != ERR_OK)
        log_failure(err, "handing the finder to net %d", (int)net->pid);
}

static int finder_child(struct master *master, int socket)
{
    master_close_others(&socket, 1);
    return proxy_finder_main(master->config, socket);
}

enum err master_start_finder(struct master *master)
{
    if (master->finder_socket >= 0)
        close(master->finder_socket);
    master->finder_socket = -1;
    master->finder = 0;
    if (!master_needs_finder(master))
        return ERR_OK;
    master->finder_started_ms = clock_monotonic_ms();
    /* Nobody waits for a finder that does not read. */
    enum err err = master_start_child(master, true, finder_child, &master->finder, &master->finder_socket);
    for (size_t i = 0; err == ERR_OK && i < MASTER_NETS_MAX; i++)
        master_give_finder(master, &master->nets[i]);
    return err;
}
