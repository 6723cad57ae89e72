#include "cli/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define TEXT_SIZE 200
#define AGAIN_MS 500

/* Under `mutex`, but for the thread itself and whether it is there. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char what[TEXT_SIZE];
    size_t done, total;
    bool is_over;
    size_t shown; /* columns of the line that stands there */
    pthread_t thread;
    bool is_begun;
} progress = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static struct timespec in_ms(long ms)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += ms % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* Over what stands there, with blanks where that is longer; so any terminal will do. */
static void show(const char *text)
{
    struct winsize size;
    char line[2 * TEXT_SIZE + 8];
    const size_t room = !ioctl(STDERR_FILENO, TIOCGWINSZ, &size) && size.ws_col > 1 ? size.ws_col - 1u : 79;
    size_t len = strlen(text);
    len = len < room ? len : room;
    const size_t blanks = progress.shown > len && progress.shown <= room ? progress.shown - len : 0;
    const int count = snprintf(line, sizeof line, "\r%.*s%*s%s", (int)len, text, (int)blanks, "", len ? "" : "\r");
    progress.shown = len;
    if (count > 0 && write(STDERR_FILENO, line, (size_t)count) < 0)
        progress.shown = 0;
}

static void *run(void *unused)
{
    char text[TEXT_SIZE];
    long ms = PROGRESS_DELAY_MS;
    (void)pthread_mutex_lock(&progress.mutex);
    while (!progress.is_over) {
        const struct timespec until = in_ms(ms);
        while (!progress.is_over && pthread_cond_timedwait(&progress.changed, &progress.mutex, &until) == 0) {
        }
        if (progress.is_over)
            break;
        if (progress.total > 0)
            snprintf(text, sizeof text, "%.140s: %zu of %zu ...", progress.what, progress.done, progress.total);
        else
            snprintf(text, sizeof text, "%.140s ...", progress.what);
        show(text);
        ms = AGAIN_MS;
    }
    if (progress.shown > 0)
        show("");
    (void)pthread_mutex_unlock(&progress.mutex);
    return unused;
}

/* The thread takes no signals: they are the command's. */
static bool start(void)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    if (pthread_condattr_init(&attributes))
        return false;
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    const bool is_ready = pthread_cond_init(&progress.changed, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    if (!is_ready)
        return false;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool is_started = pthread_create(&progress.thread, NULL, run, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!is_started)
        (void)pthread_cond_destroy(&progress.changed);
    return is_started;
}

void progress_begin(const char *what)
{
    if (progress.is_begun || !isatty(STDERR_FILENO))
        return;
    snprintf(progress.what, sizeof progress.what, "%s", what);
    progress.done = progress.total = 0;
    progress.is_over = false;
    progress.is_begun = start();
}

void progress_step(size_t done, size_t total)
{
    (void)pthread_mutex_lock(&progress.mutex);
    progress.done = done;
    progress.total = total;
    (void)pthread_mutex_unlock(&progress.mutex);
}

void progress_end(void)
{
    if (!progress.is_begun)
        return;
    (void)pthread_mutex_lock(&progress.mutex);
    progress.is_over = true;
    (void)pthread_cond_signal(&progress.changed);
    (void)pthread_mutex_unlock(&progress.mutex);
    (void)pthread_join(progress.thread, NULL);
    (void)pthread_cond_destroy(&progress.changed);
    progress.is_begun = false;
}
