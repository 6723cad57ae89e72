/*
 * The peer that sealing is measured against: GPGME alone, signing and encrypting one message over and over.
 *
 * Usage: bench_gpgme WRAPPER HOME SIGNER KEY_FILE OWN_KEY_FILE MESSAGE PROCESSES SECONDS
 * The same gpg with the same fixed options and the same keys, the recipient's and the author's own from files, in as
 * many processes as are asked for; no mail is read or made. Prints how many messages a second all of them sealed.
 */
#include <errno.h>
#include <gpgme.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define MESSAGE_MAX (1u << 20)

struct engine {
    gpgme_ctx_t context;
    char *recipients;
    char *message;
    size_t message_len;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_gpgme: %s: %s\n", what, why);
    exit(2);
}

static void must(gpgme_error_t error, const char *what)
{
    if (error != 0)
        fail(what, gpgme_strerror(error));
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void read_message(struct engine *engine, const char *path)
{
    FILE *file = fopen(path, "rb");
    engine->message = malloc(MESSAGE_MAX);
    if (file == NULL || engine->message == NULL)
        fail(path, strerror(errno));
    engine->message_len = fread(engine->message, 1, MESSAGE_MAX, file);
    fclose(file);
}

static void open_engine(struct engine *engine, char **arguments)
{
    gpgme_key_t signer;
    gpgme_check_version(NULL);
    must(gpgme_set_engine_info(GPGME_PROTOCOL_OpenPGP, arguments[1], arguments[2]), "engine");
    must(gpgme_new(&engine->context), "context");
    gpgme_set_armor(engine->context, 1);
    gpgme_set_offline(engine->context, 1);
    must(gpgme_get_key(engine->context, arguments[3], &signer, 1), "signer");
    must(gpgme_signers_add(engine->context, signer), "signer");
    gpgme_key_unref(signer);
    if (asprintf(&engine->recipients, "--file\n%s\n%s\n", arguments[4], arguments[5]) < 0)
        fail("recipients", strerror(errno));
    read_message(engine, arguments[6]);
}

static void seal(const struct engine *engine)
{
    gpgme_data_t in, out;
    const gpgme_encrypt_flags_t flags = GPGME_ENCRYPT_ALWAYS_TRUST | GPGME_ENCRYPT_NO_ENCRYPT_TO;
    must(gpgme_data_new_from_mem(&in, engine->message, engine->message_len, 0), "data");
    must(gpgme_data_new(&out), "data");
    must(gpgme_op_encrypt_sign_ext(engine->context, NULL, engine->recipients, flags, in, out), "sealing");
    if (gpgme_data_seek(out, 0, SEEK_END) < (off_t)engine->message_len / 4)
        fail("sealing", "nothing came out");
    gpgme_data_release(in);
    gpgme_data_release(out);
}

/* One process: seals once to be warm, then counts for `seconds` and tells the rate. */
static void work(char **arguments, double seconds, int report)
{
    struct engine engine;
    unsigned long count = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_engine(&engine, arguments);
    seal(&engine);
    double began = now(), ended;
    do {
        seal(&engine);
        count++;
        ended = now();
    } while (ended < began + seconds);
    double rate = (double)count / (ended - began);
    _exit(write(report, &rate, sizeof(rate)) == (ssize_t)sizeof(rate) ? 0 : 2);
}

int main(int argc, char **argv)
{
    long processes = argc == 9 ? strtol(argv[7], NULL, 10) : 0;
    int report[2];
    double total = 0, rate;
    bool is_fine = true;
    if (processes < 1 || processes > PROCESSES_MAX || pipe(report) != 0) {
        fputs("usage: bench_gpgme WRAPPER HOME SIGNER KEY_FILE OWN_KEY_FILE MESSAGE PROCESSES SECONDS\n", stderr);
        return 2;
    }
    for (long i = 0; i < processes; i++) {
        pid_t pid = fork();
        if (pid < 0)
            fail("fork", strerror(errno));
        if (pid == 0)
            work(argv, strtod(argv[8], NULL), report[1]);
    }
    close(report[1]);
    for (long i = 0; i < processes; i++)
        if (read(report[0], &rate, sizeof(rate)) == (ssize_t)sizeof(rate))
            total += rate;
        else
            is_fine = false;
    for (int status; wait(&status) > 0;)
        is_fine = is_fine && status == 0;
    if (!is_fine)
        fail("a process", "did not end well");
    printf("%.3f\n", total);
    return 0;
}
