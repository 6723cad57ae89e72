/*
 * privyseal-gpg: gpg with options that nobody's gpg.conf can change. GPGME runs it in place of gpg.
 *
 * A person's gpg.conf may fetch keys, add recipients (`group`, `encrypt-to`) or weaken what gpg checks; so no option
 * file is read. The program stands alone (no library of ours) so that it starts quickly: it runs once per operation.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPG_PATH "/usr/bin/gpg"

static const char *const fixed_options[] = {
    "--no-options",
    /* An agent that a keeper started would inherit its sandbox; the master starts it. */
    "--no-autostart",
    /* No network: reading mail must not start a search for keys. */
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
    /* The check takes seconds on a large ring and would hit any operation; keyring_gpg_check_trust runs it. */
    "--no-auto-check-trustdb",
    /* Processes that write this file wait for each other. */
    "--no-random-seed-file",
    "--no-greeting",
    "--no-emit-version",
    "--no-comments",
    "--personal-digest-preferences",
    "SHA512 SHA384 SHA256",
    /* What keys made here ask of others: no AEAD, which gpg 2.2 opens without checking it. */
    "--default-preference-list",
    "AES256 AES192 AES SHA512 SHA384 SHA256 ZLIB BZIP2 ZIP Uncompressed",
};
#define FIXED_COUNT (sizeof fixed_options / sizeof *fixed_options)

/* With a session key nothing is looked up: what was signed was judged when the message was first opened. That leaves
   half of gpg's work. */
static const char *const session_key_options[] = {"--skip-verify", "--no-keyring"};
#define SESSION_KEY_COUNT (sizeof session_key_options / sizeof *session_key_options)

static void complain(const char *what)
{
    fputs("privyseal-gpg: ", stderr);
    perror(what);
}

/* execv promises not to change the strings; its prototype is older than const. */
static void become_gpg(const char **arguments)
{
    execv(GPG_PATH, (char *const *)(void *)arguments);
    complain(GPG_PATH);
}

/* Those of which a caller must know that gpg came to their end. */
static bool is_watched_command(const char *word)
{
    static const char *const commands[] = {"--list-keys",      "--list-secret-keys", "--check-sigs",
                                           "--quick-sign-key", "--quick-lsign-key",  "--quick-revoke-sig"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i]) == 0)
            return true;
    return false;
}

/* Where status lines go if these arguments hold such a command, else -1. */
static int watched_status_fd(int argc, char **argv)
{
    bool is_watched = false;
    int fd = -1;
    for (int i = 1; i < argc; i++) {
        is_watched = is_watched || is_watched_command(argv[i]);
        if (strcmp(argv[i], "--status-fd") == 0 && i + 1 < argc)
            fd = (int)strtol(argv[i + 1], NULL, 10);
    }
    return is_watched ? fd : -1;
}

static bool has_session_key(int argc, char **argv)
{
    static const char option[] = "--override-session-key";
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], option, sizeof option - 1) == 0)
            return true;
    return false;
}

/* GPGME does not look at gpg's exit code, so to it a listing that broke off is a short ring; and mail for keys that
   seem missing may leave plain. A status line of our own says that gpg came to its end and all was well. */
static int watch_gpg(const char **arguments, int status_fd)
{
    static const char done[] = "[GNUPG:] PRIVYSEAL_DONE\n";
    int status = 0;
    pid_t pid = fork();
    if (pid < 0) {
        complain("fork");
        return 2;
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        become_gpg(arguments);
        _exit(2);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 2;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
    return write(status_fd, done, sizeof done - 1) == (ssize_t)sizeof done - 1 ? 0 : 2;
}

int main(int argc, char **argv)
{
    size_t given = argc > 1 ? (size_t)argc - 1 : 0, len = 1 + FIXED_COUNT;
    const char **arguments = calloc(len + SESSION_KEY_COUNT + given + 1, sizeof *arguments);
    if (arguments == NULL) {
        complain("memory");
        return 2;
    }
    arguments[0] = "gpg";
    memcpy(arguments + 1, fixed_options, sizeof fixed_options);
    if (has_session_key(argc, argv)) {
        memcpy(arguments + len, session_key_options, sizeof session_key_options);
        len += SESSION_KEY_COUNT;
    }
    for (size_t i = 0; i < given; i++)
        arguments[len + i] = argv[1 + i];
    int status_fd = watched_status_fd(argc, argv), code = 2;
    if (status_fd >= 0)
        code = watch_gpg(arguments, status_fd);
    else
        become_gpg(arguments);
    free(arguments);
    return code;
}
