/* The configuration file: whatever is in it, it is read or refused, and what was read is sound. */
#include "base/memfd.h"
#include "proxy/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct config *config)
{
    char path[CONFIG_PATH_SIZE];
    if (config->accounts_len == 0 || config->state_dir[0] != '/' || config->recipients_max > 1000)
        abort();
    for (size_t i = 0; i < config->accounts_len; i++) {
        const struct config_account *account = &config->accounts[i];
        if (account->gnupghome[0] != '/' || config_account_of_address(config, account->address) != account)
            abort();
        if (config_has_upstream(account, CONFIG_SMTP) && account->upstreams[CONFIG_SMTP].port <= 0)
            abort();
        (void)!config_key_cache(config, account, path);
    }
    for (size_t i = 0; i < config->listeners_len; i++)
        if (config->listeners[i].at_len == 0 || config->listeners[i].accounts_len == 0)
            abort();
    (void)policy_match(&config->policy, "bob@example.org");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_quiet;
    if (!is_quiet && !freopen("/dev/null", "w", stderr))
        abort();
    is_quiet = true;
    int fd;
    char path[64];
    struct config *config;
    if (memfd_new("config", &fd))
        return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!memfd_add(fd, (struct span){(const char *)data, size}, 1048576) && !config_read(path, &config)) {
        check(config);
        config_free(&config);
    }
    close(fd);
    return 0;
}
