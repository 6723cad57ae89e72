/*
 * A secret key as it is kept away from the machine, and the ownertrust that belongs to it.
 *
 * gpg exports a key under the passphrase that it has here, and with the count that the agent of this home is set to,
 * which is small so that mail opens quickly (keyring_gpg_make_home). A backup lies about for years, so it goes through
 * a home for the moment, whose agent takes its time. That home is removed by a process of its own, which waits for the
 * end of this one: also when this one is killed, nothing of the key is left there.
 */
#include "keyring/gpg_internal.h"
#include "keyring/gpg_life.h"

#include "base/log.h"
#include "keyring/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT_MAX (4u << 20)
#define FOLDER_MAX 60 /* the agent's socket lies below it */
#define REMOVALS_MAX 100

/* The most that OpenPGP has a word for (RFC 4880, 3.7.1.3). */
static const char agent_conf[] = "s2k-count 65011712\nallow-loopback-pinentry\ndisable-scdaemon\n";

struct moment {
    struct keyring_gpg gpg; /* as the real one, but for the home */
    char home[FOLDER_MAX + 32];
    char key[FOLDER_MAX + 64], backup[FOLDER_MAX + 64];
    pid_t agent, remover;
    int line; /* to the remover: it is closed when this process ends, however it ends */
};

static void remove_below(int folder)
{
    DIR *entries = fdopendir(folder);
    if (entries == NULL) {
        close(folder);
        return;
    }
    for (const struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(entries), entry->d_name, 0) == 0)
            continue;
        const int below = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (below >= 0)
            remove_below(below);
        (void)unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
    }
    closedir(entries);
}

/* A gpg that outlives its parent for a while may make files meanwhile. */
static int remove_home(const char *home)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < REMOVALS_MAX; i++) {
        const int folder = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder >= 0)
            remove_below(folder);
        if (rmdir(home) == 0 || errno == ENOENT)
            return 0;
        (void)nanosleep(&pause, NULL);
    }
    return 1;
}

/* In the child: out of reach of what ends a group of processes, and of terminals. The agent dies with its parent. */
static _Noreturn void await_end(const char *home, int line)
{
    static const int endings[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    char nothing;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        (void)signal(endings[i], SIG_IGN);
    (void)setsid();
    while (read(line, &nothing, 1) < 0 && errno == EINTR)
        continue;
    _exit(remove_home(home));
}

static enum err start_remover(struct moment *moment)
{
    int line[2];
    if (pipe2(line, O_CLOEXEC) != 0)
        return log_failure(err_of_errno(errno), "making a pipe");
    moment->remover = fork();
    if (moment->remover == 0) {
        close(line[1]);
        await_end(moment->home, line[0]);
    }
    close(line[0]);
    if (moment->remover < 0) {
        close(line[1]);
        return log_failure(ERR_IO, "fork: %s", strerror(errno));
    }
    moment->line = line[1];
    return ERR_OK;
}

static void end(struct moment *moment)
{
    int status = 1;
    if (moment->agent > 0) {
        kill(moment->agent, SIGTERM);
        while (waitpid(moment->agent, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    if (moment->line >= 0)
        close(moment->line);
    if (moment->remover > 0)
        while (waitpid(moment->remover, &status, 0) < 0 && errno == EINTR)
            continue;
    else if (moment->home[0] != '\0')
        status = remove_home(moment->home);
    if (moment->home[0] != '\0' && status != 0)
        log_warning("%s could not be removed", moment->home);
}

static bool may_write(const char *folder)
{
    return folder != NULL && strlen(folder) <= FOLDER_MAX && access(folder, W_OK) == 0;
}

/* In memory, where there is a folder that is. */
static enum err begin(const struct keyring_gpg *gpg, struct moment *moment)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *folder = may_write(runtime) ? runtime : may_write("/dev/shm") ? "/dev/shm" : "/tmp";
    *moment = (struct moment){.gpg = *gpg, .line = -1};
    (void)snprintf(moment->home, sizeof moment->home, "%s/privyseal.XXXXXX", folder);
    if (mkdtemp(moment->home) == NULL) {
        moment->home[0] = '\0';
        return log_failure(err_of_errno(errno), "making a folder in %s", folder);
    }
    char conf[FOLDER_MAX + 64];
    (void)snprintf(conf, sizeof conf, "%s/gpg-agent.conf", moment->home);
    (void)snprintf(moment->key, sizeof moment->key, "%s/key", moment->home);
    (void)snprintf(moment->backup, sizeof moment->backup, "%s/backup", moment->home);
    moment->gpg.home = moment->home;
    enum err err = start_remover(moment);
    if (err == ERR_OK)
        err = keyring_file_write(moment->home, conf, span_of(agent_conf), false);
    return err == ERR_OK ? keyring_gpg_agent_start(moment->home, NULL, &moment->agent) : err;
}

/* Writes the secret key to `path`, which is not there yet if nothing was exported. */
static enum err export_to(struct keyring_gpg *gpg, const char *fingerprint, const char *path,
                          const struct secret *passphrase)
{
    const char *const arguments[] = {"--armor", "--output", path, "--export-secret-keys", fingerprint, NULL};
    struct stat status;
    struct buf output;
    struct span rest, ignored;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run_with(gpg, passphrase, arguments, "", &output);
    rest = buf_span(&output);
    if (err == ERR_OK && (gpg_next_status(&rest, "ERROR", &ignored) || stat(path, &status) != 0 || status.st_size == 0))
        err = gpg_run_failure(buf_span(&output), "exporting a secret key");
    buf_fini(&output);
    return err;
}

/* Tells what came of it by what `keyword` says; gpg's exit code is not known. */
static enum err run_for(struct keyring_gpg *gpg, const struct secret *passphrase, const char *const *arguments,
                        const char *keyword, const char *action)
{
    struct buf output;
    struct span rest, ignored;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run_with(gpg, passphrase, arguments, "", &output);
    rest = buf_span(&output);
    if (err == ERR_OK && !gpg_next_status(&rest, keyword, &ignored))
        err = gpg_run_failure(buf_span(&output), action);
    buf_fini(&output);
    return err;
}

static enum err pass_through(struct keyring_gpg *gpg, struct moment *moment, const char *fingerprint,
                             const struct secret *passphrase, const struct secret *replacement)
{
    const char *const import[] = {"--import", moment->key, NULL};
    const char *const protect[] = {"--passwd", fingerprint, NULL};
    enum err err = export_to(gpg, fingerprint, moment->key, passphrase);
    if (err == ERR_OK)
        err = run_for(&moment->gpg, NULL, import, "IMPORT_RES", "keeping a key for a moment");
    if (err == ERR_OK && replacement != NULL)
        err = run_for(&moment->gpg, replacement, protect, "SUCCESS", "protecting a key");
    if (err == ERR_OK)
        err = export_to(&moment->gpg, fingerprint, moment->backup, replacement != NULL ? replacement : passphrase);
    return err;
}

enum err keyring_gpg_backup(struct keyring_gpg *gpg, const char *fingerprint, const struct secret *passphrase,
                            const struct secret *replacement, struct buf *out)
{
    struct moment moment;
    bool is_unprotected;
    enum err err = keyring_gpg_is_unprotected(gpg, fingerprint, &is_unprotected);
    if (err == ERR_OK && is_unprotected && (replacement == NULL || replacement->len == 0))
        err = ERR_USAGE;
    if (err != ERR_OK)
        return err;
    err = begin(gpg, &moment);
    if (err == ERR_OK)
        err = pass_through(gpg, &moment, fingerprint, passphrase, is_unprotected ? replacement : NULL);
    if (err == ERR_OK)
        err = keyring_file_read(moment.backup, out);
    end(&moment);
    return err;
}

static bool is_trust_line(struct span line)
{
    struct span fingerprint, level;
    char digits[KEYRING_FPR_SIZE];
    return span_take_until(&line, ':', &fingerprint) && span_copy(fingerprint, digits, sizeof digits) &&
           gpg_is_fingerprint(digits) && span_take_until(&line, ':', &level) && level.len > 0 && level.len < 3;
}

enum err keyring_gpg_ownertrust(struct keyring_gpg *gpg, struct buf *out)
{
    static const char *const arguments[] = {"--export-ownertrust", NULL};
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, SPAN_NONE, &output);
    struct span rest = buf_span(&output), line;
    while (err == ERR_OK && span_take_until(&rest, '\n', &line)) {
        if (is_trust_line(line))
            err = buf_add_span(out, line);
        if (err == ERR_OK && is_trust_line(line))
            err = buf_add_byte(out, '\n');
    }
    buf_fini(&output);
    return err;
}

enum err keyring_gpg_set_ownertrust(struct keyring_gpg *gpg, struct span lines)
{
    static const char *const arguments[] = {"--import-ownertrust", NULL};
    struct buf output;
    buf_init(&output, OUTPUT_MAX);
    enum err err = gpg_run(gpg, arguments, lines, &output);
    buf_fini(&output);
    return err == ERR_OK ? keyring_gpg_check_trust(gpg) : err;
}

/* Whether one of `lines` is of the key that `line` is of. */
static bool has_trust(struct span lines, struct span line)
{
    struct span fingerprint, other, known;
    (void)span_take_until(&line, ':', &fingerprint);
    while (span_take_until(&lines, '\n', &other))
        if (span_take_until(&other, ':', &known) && span_is_case_equal(known, fingerprint))
            return true;
    return false;
}

enum err keyring_gpg_add_ownertrust(struct keyring_gpg *gpg, struct span lines)
{
    struct buf present, missing;
    struct span line;
    buf_init(&present, OUTPUT_MAX);
    buf_init(&missing, OUTPUT_MAX);
    enum err err = keyring_gpg_ownertrust(gpg, &present);
    while (err == ERR_OK && span_take_until(&lines, '\n', &line)) {
        if (!is_trust_line(line) || has_trust(buf_span(&present), line))
            continue;
        err = buf_add_span(&missing, line);
        if (err == ERR_OK)
            err = buf_add_byte(&missing, '\n');
    }
    if (err == ERR_OK && missing.len > 0)
        err = keyring_gpg_set_ownertrust(gpg, buf_span(&missing));
    buf_fini(&missing);
    buf_fini(&present);
    return err;
}
