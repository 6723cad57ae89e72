/*
 * A throw-away GnuPG home with an agent of its own, for tests. Each test program that includes this leaves no process
 * and no file behind.
 */
#ifndef TESTS_UNIT_GPG_HOME_H
#define TESTS_UNIT_GPG_HOME_H

#include "base/spawn.h"
#include "keyring/gpg.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct gpg_home {
    char path[64], cache[64], wrapper[4096];
    pid_t agent;
    struct keyring_gpg *gpg;
};

__attribute__((unused)) static int gpg_home_remove_one(const char *path, const struct stat *status, int type,
                                                       struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

__attribute__((unused)) static void gpg_home_remove(const char *path)
{
    (void)nftw(path, gpg_home_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((unused)) static void gpg_home_stop_agent(struct gpg_home *home)
{
    if (home->agent > 0) {
        kill(home->agent, SIGTERM);
        waitpid(home->agent, NULL, 0);
    }
    home->agent = 0;
}

__attribute__((unused)) static enum err gpg_home_open(struct gpg_home *home)
{
    *home = (struct gpg_home){.path = "/tmp/privyseal-home-XXXXXX", .cache = "/tmp/privyseal-cache-XXXXXX"};
    if (mkdtemp(home->path) == NULL || mkdtemp(home->cache) == NULL)
        return ERR_IO;
    enum err err = keyring_gpg_wrapper(home->wrapper, sizeof home->wrapper);
    if (err == ERR_OK)
        err = keyring_gpg_make_home(home->path);
    if (err == ERR_OK)
        err = keyring_gpg_agent_start(home->path, NULL, &home->agent);
    return err == ERR_OK ? keyring_gpg_open(home->path, home->wrapper, &home->gpg) : err;
}

__attribute__((unused)) static void gpg_home_close(struct gpg_home *home)
{
    keyring_gpg_close(&home->gpg);
    gpg_home_stop_agent(home);
    gpg_home_remove(home->path);
    gpg_home_remove(home->cache);
}

/* Runs `gpg ARGUMENTS` by the shell in this home, as a person would; ERR_ENGINE if it fails. */
__attribute__((unused)) static enum err gpg_home_shell(const struct gpg_home *home, const char *arguments)
{
    char command[8192];
    const char *const words[] = {"sh", "-c", command, NULL};
    const struct spawn_options options = {.file = "/bin/sh", .arguments = words, .inherit_fd = -1, .is_quiet = true};
    (void)snprintf(command, sizeof command,
                   "gpg --homedir %s --no-autostart --batch --yes --quiet --pinentry-mode loopback --passphrase '' %s",
                   home->path, arguments);
    return spawn_run(&options, 60000);
}

__attribute__((unused)) static enum err gpg_home_make_key(struct gpg_home *home, const char *user_id,
                                                          char fingerprint_out[KEYRING_FPR_SIZE])
{
    struct secret none = {.data = NULL, .len = 0};
    return keyring_gpg_make_key(home->gpg, user_id, 0, &none, fingerprint_out);
}

#endif
