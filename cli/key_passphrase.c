/*
 * A passphrase of a file or a key, from wherever a person can give it; never from the command line, which others can
 * read.
 */
#include "cli/key_life.h"
#include "cli/key_own.h"

#include "keyring/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

#define TRIES_MAX 3

static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define ENDINGS_LEN (sizeof endings / sizeof *endings)

/* The last of them that came. */
static volatile sig_atomic_t ending;

static void on_ending(int number)
{
    ending = number;
}

/* How the process took those signals before. */
struct endings {
    struct sigaction actions[ENDINGS_LEN];
    sigset_t mask;
};

/* What would end or stop us ends the reading instead, so that the terminal is not left without its echo. They arrive
   only while it waits for input: one that came just before would leave it waiting. */
static void catch_endings(struct endings *before)
{
    struct sigaction action = {.sa_handler = on_ending};
    sigset_t blocked;
    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    ending = 0;
    for (size_t i = 0; i < ENDINGS_LEN; i++)
        sigaddset(&blocked, endings[i]);
    (void)sigprocmask(SIG_BLOCK, &blocked, &before->mask);
    for (size_t i = 0; i < ENDINGS_LEN; i++) {
        (void)sigaction(endings[i], NULL, &before->actions[i]);
        if (before->actions[i].sa_handler != SIG_IGN)
            (void)sigaction(endings[i], &action, NULL);
    }
}

static void release_endings(const struct endings *before)
{
    (void)sigprocmask(SIG_SETMASK, &before->mask, NULL);
    for (size_t i = 0; i < ENDINGS_LEN; i++)
        (void)sigaction(endings[i], &before->actions[i], NULL);
    if (ending != 0)
        (void)raise(ending);
}

/* One byte of what is typed, as read() says; -1, too, if a signal came. */
static ssize_t read_byte(int terminal, const sigset_t *mask, char *byte)
{
    struct pollfd event = {.fd = terminal, .events = POLLIN};
    while (ppoll(&event, 1, NULL, mask) < 0)
        if (errno != EINTR || ending != 0)
            return -1;
    return read(terminal, byte, 1);
}

static enum err read_line(int terminal, const sigset_t *mask, struct secret *passphrase)
{
    struct buf text;
    char byte = '\0';
    ssize_t count = 0;
    enum err err = ERR_OK;
    buf_init_secret(&text, KEYRING_KEY_PASSPHRASE_MAX);
    while (!err && (count = read_byte(terminal, mask, &byte)) == 1 && byte != '\n')
        err = buf_add_byte(&text, byte);
    secret_wipe(&byte, sizeof byte);
    if (!err)
        err = count < 0 || text.len == 0 ? ERR_KEY_LOCKED
                                         : secret_set(passphrase, buf_span(&text), KEYRING_KEY_PASSPHRASE_MAX);
    buf_fini(&text);
    return err;
}

/* Without showing it. */
static enum err ask_terminal(int terminal, const char *what, const char *error, struct secret *passphrase)
{
    struct endings before;
    struct termios shown, hidden;
    if (tcgetattr(terminal, &shown) != 0)
        return ERR_KEY_LOCKED;
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    catch_endings(&before);
    enum err err = tcsetattr(terminal, TCSAFLUSH, &hidden) == 0 ? ERR_OK : ERR_KEY_LOCKED;
    /* Whoever reads the question may answer at once, and nothing of it is shown. */
    if (!err) {
        dprintf(terminal, "%s%s%s: ", error ? error : "", error ? "\n" : "", what);
        err = read_line(terminal, &before.mask, passphrase);
    }
    (void)tcsetattr(terminal, TCSAFLUSH, &shown);
    dprintf(terminal, "\n");
    release_endings(&before);
    return err;
}

enum err key_ask_passphrase(struct cli *cli, const char *passphrase_fd, const char *what, const char *error,
                            struct secret *passphrase)
{
    if (passphrase_fd)
        return cli_read_passphrase(cli, "passphrase-fd", passphrase_fd, KEYRING_KEY_PASSPHRASE_MAX, passphrase);
    const int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal >= 0) {
        enum err err = ask_terminal(terminal, what, error, passphrase);
        close(terminal);
        return err;
    }
    const struct keyring_question question = {.description = what, .prompt = "Passphrase", .error = error};
    enum err err = keyring_ask(cli->gpg, &question, passphrase);
    return !err && passphrase->len == 0 ? ERR_KEY_LOCKED : err;
}

enum err key_take_passphrase(const struct cli *cli, const char *passphrase_fd, struct secret *passphrase,
                             const struct secret **given_out)
{
    *given_out = NULL;
    if (!passphrase_fd)
        return ERR_OK;
    *given_out = passphrase;
    return cli_read_passphrase(cli, "passphrase-fd", passphrase_fd, KEYRING_KEY_PASSPHRASE_MAX, passphrase);
}

enum err key_ask_twice(key_ask_fn ask, void *context, const char *what, const char *again, struct secret *passphrase)
{
    const char *error = NULL;
    for (int i = 0; i < TRIES_MAX; i++) {
        struct secret second = {NULL, 0};
        enum err err = ask(context, what, error, passphrase);
        error = "It must not be empty.";
        if (!err && passphrase->len == 0)
            continue;
        if (!err)
            err = ask(context, again, NULL, &second);
        const bool is_same = !err && secret_is_equal(secret_span(passphrase), secret_span(&second));
        secret_fini(&second);
        if (err || is_same)
            return err;
        error = "They were not the same.";
    }
    return ERR_KEY_LOCKED;
}

static enum err ask_for_key(void *context, const char *what, const char *error, struct secret *passphrase)
{
    return key_ask_passphrase(context, NULL, what, error, passphrase);
}

enum err key_ask_new_passphrase(struct cli *cli, const char *passphrase_fd, const char *what, struct secret *passphrase)
{
    if (passphrase_fd)
        return key_ask_passphrase(cli, passphrase_fd, what, NULL, passphrase);
    enum err err = key_ask_twice(ask_for_key, cli, what, "Once more the passphrase", passphrase);
    if (err == ERR_KEY_LOCKED)
        fprintf(stderr,
                "privyseal %s: no passphrase was given; expected one on the terminal, by gpg-agent, or by "
                "descriptor (see --help)\n",
                cli->command->name);
    else if (err)
        (void)cli_fail(cli, err, "asking for a passphrase");
    return err;
}
