/*
 * One S/MIME message sealed or opened over and over: by a keeper, and by bare OpenSSL in this process, in turns.
 *
 * Usage: bench_cms PRIVYSEAL WRAPPER FOLDER seal|open MESSAGE PROCESSES SECONDS
 * FOLDER holds root.pem and issuer.pem, alice.crt and alice.key, bob.crt and bob.key. Alice signs and encrypts to Bob
 * and herself, or reads what Bob has signed and encrypted to her: the signature beside the text, AES-256-GCM around
 * both, base64 around that; the chain goes along, and is judged. The keeper is the one that privyseal starts, with
 * this program in the places of net and vault; so many of them work at once as there are processes. Prints, in JSON,
 * messages a second of both, and what one message takes of a processor's time.
 */
#include "base/memfd.h"
#include "keyring/x509_key.h"
#include "proxy/keeper.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define MESSAGE_MAX ((size_t)1 << 20)
#define TURNS 4 /* of each of the two */
#define ALICE "alice@example.org"
#define KEEPER_SOCKET 3

struct person {
    X509 *certificate;
    EVP_PKEY *key;
    char fingerprint[KEYRING_FPR_SIZE];
};

struct world {
    const char *privyseal, *wrapper, *folder;
    bool is_sealing;
    struct person alice, bob;
    STACK_OF(X509) * issuers; /* what goes along with a signature */
    X509_STORE *store;
    struct buf text;   /* what is sealed */
    struct buf sealed; /* by Bob for Alice: what is opened */
};

struct keeper {
    pid_t pid;
    int socket, vault; /* this program's ends */
    int message, index;
    const struct world *world;
    pthread_t thread;
};

/* What came of the turns of one process. */
struct tally {
    double count, wall_s, cpu_s;
};

static void fail(const char *what)
{
    unsigned long error = ERR_peek_last_error();
    fprintf(stderr, "bench_cms: %s: %s\n", what, error != 0 ? ERR_reason_error_string(error) : strerror(errno));
    exit(2);
}

static void must(bool is_fine, const char *what)
{
    if (!is_fine)
        fail(what);
}

static double time_of(clockid_t clock)
{
    struct timespec time;
    must(clock_gettime(clock, &time) == 0, "clock");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* ---- files ---- */

static BIO *open_file(const struct world *world, const char *name)
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", world->folder, name);
    BIO *file = BIO_new_file(path, "r");
    must(file != NULL, path);
    return file;
}

static X509 *read_certificate(const struct world *world, const char *name)
{
    BIO *file = open_file(world, name);
    X509 *certificate = PEM_read_bio_X509(file, NULL, NULL, NULL);
    must(certificate != NULL, name);
    BIO_free(file);
    return certificate;
}

static void read_person(const struct world *world, const char *certificate, const char *key, struct person *person)
{
    BIO *file = open_file(world, key);
    person->key = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);
    person->certificate = read_certificate(world, certificate);
    must(person->key != NULL && keyring_x509_fingerprint(person->certificate, person->fingerprint) == ERR_OK, key);
    BIO_free(file);
}

static void read_message(struct world *world, const char *path)
{
    char piece[65536];
    FILE *file = fopen(path, "rb");
    must(file != NULL, path);
    buf_init(&world->text, MESSAGE_MAX);
    for (size_t len; (len = fread(piece, 1, sizeof(piece), file)) > 0;)
        must(buf_add(&world->text, piece, len) == ERR_OK, path);
    fclose(file);
}

/* ---- bare OpenSSL ---- */

static void bare_seal(const struct world *world, const struct person *from, const struct person *to, BIO *out)
{
    const unsigned flags = CMS_BINARY | CMS_CRLFEOL;
    STACK_OF(X509) *recipients = sk_X509_new_null();
    BIO *text = BIO_new_mem_buf(world->text.data, (int)world->text.len), *inner = BIO_new(BIO_s_mem());
    CMS_ContentInfo *is_signed = CMS_sign(from->certificate, from->key, world->issuers, text,
                                          CMS_DETACHED | CMS_CADES | CMS_BINARY | CMS_STREAM);
    must(is_signed != NULL, "CMS_sign");
    must(SMIME_write_CMS(inner, is_signed, text, (int)(flags | CMS_DETACHED)) == 1, "writing what is signed");
    must(sk_X509_push(recipients, to->certificate) > 0 && sk_X509_push(recipients, from->certificate) > 0,
         "recipients");
    CMS_ContentInfo *encrypted = CMS_encrypt(recipients, inner, EVP_aes_256_gcm(), CMS_BINARY);
    must(encrypted != NULL, "CMS_encrypt");
    must(SMIME_write_CMS(out, encrypted, NULL, (int)flags) == 1, "writing what is encrypted");
    CMS_ContentInfo_free(encrypted);
    CMS_ContentInfo_free(is_signed);
    sk_X509_free(recipients);
    BIO_free(inner);
    BIO_free(text);
}

static void bare_open(const struct world *world, const struct person *reader, BIO *in, BIO *out)
{
    BIO *inner = BIO_new(BIO_s_mem()), *text = NULL;
    CMS_ContentInfo *encrypted = SMIME_read_CMS(in, NULL);
    must(encrypted != NULL, "reading what is encrypted");
    must(CMS_decrypt(encrypted, reader->key, reader->certificate, NULL, inner, CMS_BINARY) == 1, "CMS_decrypt");
    CMS_ContentInfo *is_signed = SMIME_read_CMS(inner, &text);
    must(is_signed != NULL && text != NULL, "reading what is signed");
    must(CMS_verify(is_signed, NULL, world->store, text, out, CMS_BINARY) == 1, "CMS_verify");
    CMS_ContentInfo_free(is_signed);
    CMS_ContentInfo_free(encrypted);
    BIO_free(text);
    BIO_free(inner);
}

static void bare_once(const struct world *world)
{
    BIO *out = BIO_new(BIO_s_mem());
    if (world->is_sealing) {
        bare_seal(world, &world->alice, &world->bob, out);
    } else {
        BIO *in = BIO_new_mem_buf(world->sealed.data, (int)world->sealed.len);
        bare_open(world, &world->alice, in, out);
        BIO_free(in);
    }
    must(BIO_pending(out) > 0, "nothing came out");
    BIO_free(out);
}

/* ---- the keeper ---- */

/* The vault's part: no words of correspondents, and a private key when it is asked for. */
static void *answer_for_vault(void *context)
{
    const struct keeper *keeper = context;
    struct ipc_in in;
    while (ipc_recv(keeper->vault, &in) == ERR_OK) {
        struct ipc_out out;
        struct buf saved;
        ipc_out_begin(&out, PROXY_VAULT_DONE);
        ipc_put_u32(&out, ERR_OK);
        if (ipc_type(&in) == PROXY_PEER_WORDS) {
            int fd;
            proxy_put_content(&out, "words", SPAN_NONE, &fd);
            must(ipc_send(keeper->vault, &out) == ERR_OK, "answering for the vault");
            close(fd);
            ipc_in_fini(&in);
            continue;
        }
        must(ipc_type(&in) == PROXY_PRIVATE_GET, "what the keeper asks of the vault");
        buf_init_secret(&saved, KEYRING_KEY_SAVED_MAX);
        must(keyring_key_save(keeper->world->alice.key, &saved) == ERR_OK, "saving a key");
        ipc_put_span(&out, buf_span(&saved));
        must(ipc_send(keeper->vault, &out) == ERR_OK, "answering for the vault");
        buf_fini(&saved);
        ipc_in_fini(&in);
    }
    return NULL;
}

static void put_certificate(struct keyring_certificates *folder, X509 *certificate, const char *key_place)
{
    struct keyring_certificate entry = {.certificate = certificate, .takes_gcm = true};
    (void)snprintf(entry.key_place, sizeof(entry.key_place), "%s", key_place);
    must(keyring_certificates_put(folder, &entry) == ERR_OK, "keeping a certificate");
}

/* Each keeper has folders of its own. */
static void make_setup(const struct world *world, struct proxy_keeper_setup *setup)
{
    struct keyring_certificates *folder;
    char base[256];
    *setup = (struct proxy_keeper_setup){
        .account = ALICE, .addresses = {ALICE}, .addresses_len = 1, .log_level = 1, .output_max = MESSAGE_MAX * 4};
    (void)snprintf(base, sizeof(base), "%s/keeper-%d", world->folder, (int)getpid());
    (void)snprintf(setup->home, sizeof(setup->home), "%s/home", base);
    (void)snprintf(setup->key_cache, sizeof(setup->key_cache), "%s/cache", base);
    (void)snprintf(setup->certificates, sizeof(setup->certificates), "%s/certificates", base);
    (void)snprintf(setup->smime_ca, sizeof(setup->smime_ca), "%s/root.pem", world->folder);
    must(span_copy(span_of(world->wrapper), setup->wrapper, sizeof(setup->wrapper)), "the wrapper's path");
    must(mkdir(base, 0700) == 0 && mkdir(setup->home, 0700) == 0 && mkdir(setup->key_cache, 0700) == 0, base);
    must(keyring_certificates_open(setup->certificates, &folder) == ERR_OK, setup->certificates);
    put_certificate(folder, world->alice.certificate, "store");
    put_certificate(folder, world->bob.certificate, "");
    put_certificate(folder, sk_X509_value(world->issuers, 0), "");
    keyring_certificates_close(&folder);
}

static void receive(const struct keeper *keeper, struct ipc_in *in)
{
    must(ipc_recv(keeper->socket, in) == ERR_OK && ipc_type(in) == PROXY_JOB_DONE, "the keeper has gone");
    must(ipc_get_u32(in) == ERR_OK, "the keeper's job");
}

/* The account's index, which goes along with what is opened. */
static int list(const struct keeper *keeper)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_JOB_LIST);
    ipc_put_u64(&out, 0);
    must(ipc_send(keeper->socket, &out) == ERR_OK, "asking for the index");
    receive(keeper, &in);
    int fd = ipc_get_file(&in);
    must(ipc_in_end(&in) == ERR_OK, "the index");
    ipc_in_fini(&in);
    return fd;
}

static void start(const struct world *world, struct keeper *keeper)
{
    struct proxy_keeper_setup setup;
    int jobs[2], questions[2];
    struct ipc_out out;
    const struct buf *message = world->is_sealing ? &world->text : &world->sealed;
    make_setup(world, &setup);
    must(ipc_pair(false, jobs) == ERR_OK && ipc_pair(false, questions) == ERR_OK, "sockets");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* The same number would keep its flag and be closed. */
        must((jobs[1] == KEEPER_SOCKET ? fcntl(jobs[1], F_SETFD, 0) : dup2(jobs[1], KEEPER_SOCKET)) >= 0, "dup2");
        execl(world->privyseal, "privyseal", PROXY_KEEPER_COMMAND, (char *)NULL);
        fail(world->privyseal);
    }
    *keeper = (struct keeper){.pid = pid, .socket = jobs[0], .vault = questions[0], .world = world};
    setup.vault = questions[1];
    setup.finder = -1;
    proxy_put_setup(&out, &setup);
    must(ipc_send(keeper->socket, &out) == ERR_OK, "the set-up");
    close(jobs[1]);
    close(questions[1]);
    must(pthread_create(&keeper->thread, NULL, answer_for_vault, keeper) == 0, "thread");
    keeper->index = list(keeper);
    must(memfd_of("message", buf_span(message), MESSAGE_MAX * 4, &keeper->message) == ERR_OK, "memfd");
}

static void stop(struct keeper *keeper)
{
    int status;
    close(keeper->socket);
    must(waitpid(keeper->pid, &status, 0) == keeper->pid && status == 0, "the keeper's end");
    pthread_join(keeper->thread, NULL);
    close(keeper->vault);
    close(keeper->message);
    close(keeper->index);
}

static void ask_to_seal(const struct keeper *keeper)
{
    const struct world *world = keeper->world;
    struct crypto_seal_request request = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .format = KEYRING_SMIME, .subject_tag = "", .recipients_len = 2};
    char recipients[2][KEYRING_FPR_SIZE];
    struct ipc_out out;
    memcpy(recipients[0], world->bob.fingerprint, KEYRING_FPR_SIZE);
    memcpy(recipients[1], world->alice.fingerprint, KEYRING_FPR_SIZE);
    memcpy(request.signer, world->alice.fingerprint, KEYRING_FPR_SIZE);
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    ipc_out_begin(&out, PROXY_JOB_SEAL);
    proxy_put_seal(&out, &request);
    ipc_put_file(&out, keeper->message);
    must(ipc_send(keeper->socket, &out) == ERR_OK, "asking to seal");
}

static void ask_to_open(const struct keeper *keeper)
{
    const struct proxy_open_request request = {.index_number = 1, .wants_record = true};
    struct ipc_out out;
    ipc_out_begin(&out, PROXY_JOB_OPEN);
    proxy_put_open(&out, &request);
    ipc_put_file(&out, keeper->message);
    ipc_put_file(&out, keeper->index);
    must(ipc_send(keeper->socket, &out) == ERR_OK, "asking to open");
}

/* Asks, waits, and takes the answer's first file: the sealed message, or the view. */
static int keeper_once(const struct keeper *keeper)
{
    struct proxy_open_answer answer;
    struct ipc_in in;
    if (keeper->world->is_sealing)
        ask_to_seal(keeper);
    else
        ask_to_open(keeper);
    receive(keeper, &in);
    if (keeper->world->is_sealing) {
        (void)ipc_get_u64(&in);
        (void)ipc_get_u32(&in);
    } else {
        proxy_get_opened(&in, &answer);
    }
    int fd = ipc_get_file(&in);
    if (!keeper->world->is_sealing) {
        close(ipc_get_file(&in));
        close(ipc_get_file(&in));
        if (answer.has_heard)
            close(ipc_get_file(&in));
    }
    must(fd >= 0 && ipc_in_end(&in) == ERR_OK, "the answer");
    ipc_in_fini(&in);
    return fd;
}

/* Once to be warm, and to see that what comes out is what the other side takes. */
static void check(const struct keeper *keeper)
{
    struct span bytes;
    int fd = keeper_once(keeper);
    must(memfd_map(fd, MESSAGE_MAX * 4, &bytes) == ERR_OK, "what the keeper made");
    if (keeper->world->is_sealing) {
        BIO *in = BIO_new_mem_buf(bytes.ptr, (int)bytes.len), *out = BIO_new(BIO_s_mem());
        bare_open(keeper->world, &keeper->world->bob, in, out);
        BIO_free(in);
        BIO_free(out);
    } else {
        must(span_find(bytes, 0, SPAN_LIT("signature=good")) != SIZE_MAX, "the keeper's verdict");
    }
    memfd_unmap(&bytes);
    close(fd);
    bare_once(keeper->world);
}

/* ---- turns ---- */

static void take_turn(const struct keeper *keeper, bool is_bare, double seconds, struct tally *tally)
{
    clockid_t clock = CLOCK_PROCESS_CPUTIME_ID;
    must(is_bare || clock_getcpuclockid(keeper->pid, &clock) == 0, "the keeper's clock");
    double cpu = time_of(clock), began = time_of(CLOCK_MONOTONIC), ended;
    do {
        if (is_bare)
            bare_once(keeper->world);
        else
            close(keeper_once(keeper));
        tally->count++;
        ended = time_of(CLOCK_MONOTONIC);
    } while (ended < began + seconds);
    tally->wall_s += ended - began;
    tally->cpu_s += time_of(clock) - cpu;
}

static void work(const struct world *world, double seconds, int report)
{
    struct tally tallies[2] = {{.count = 0}, {.count = 0}};
    struct keeper keeper;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    start(world, &keeper);
    check(&keeper);
    for (int i = 0; i < 2 * TURNS; i++)
        take_turn(&keeper, i % 2 == 1, seconds / (2 * TURNS), &tallies[i % 2]);
    stop(&keeper);
    exit(write(report, tallies, sizeof(tallies)) == (ssize_t)sizeof(tallies) ? 0 : 2);
}

static void make_world(char **argv, struct world *world)
{
    static const char head[] = "From: Bob <bob@example.net>\r\nTo: Alice <" ALICE ">\r\nSubject: sealed\r\n"
                               "Date: Fri, 20 Nov 2026 12:00:00 +0000\r\nMessage-ID: <cms@example.net>\r\n";
    BIO *out = BIO_new(BIO_s_mem());
    char *bytes;
    *world = (struct world){.privyseal = argv[1],
                            .wrapper = argv[2],
                            .folder = argv[3],
                            .is_sealing = strcmp(argv[4], "seal") == 0,
                            .issuers = sk_X509_new_null(),
                            .store = X509_STORE_new()};
    read_person(world, "alice.crt", "alice.key", &world->alice);
    read_person(world, "bob.crt", "bob.key", &world->bob);
    must(sk_X509_push(world->issuers, read_certificate(world, "issuer.pem")) > 0, "issuer");
    must(X509_STORE_add_cert(world->store, read_certificate(world, "root.pem")) == 1, "root");
    read_message(world, argv[5]);
    bare_seal(world, &world->bob, &world->alice, out);
    long len = BIO_get_mem_data(out, &bytes);
    buf_init(&world->sealed, MESSAGE_MAX * 4);
    must(buf_add_string(&world->sealed, head) == ERR_OK && buf_add(&world->sealed, bytes, (size_t)len) == ERR_OK,
         "a message to open");
    BIO_free(out);
}

int main(int argc, char **argv)
{
    long processes = argc == 8 ? strtol(argv[6], NULL, 10) : 0;
    double rates[2] = {0, 0}, cpu_s[2] = {0, 0}, counts[2] = {0, 0};
    struct tally tallies[2];
    struct world world;
    int report[2];
    if (processes < 1 || processes > PROCESSES_MAX || pipe(report) != 0) {
        fputs("usage: bench_cms PRIVYSEAL WRAPPER FOLDER seal|open MESSAGE PROCESSES SECONDS\n", stderr);
        return 2;
    }
    make_world(argv, &world);
    for (long i = 0; i < processes; i++) {
        pid_t pid = fork();
        must(pid >= 0, "fork");
        if (pid == 0)
            work(&world, strtod(argv[7], NULL), report[1]);
    }
    close(report[1]);
    for (long i = 0; i < processes; i++) {
        must(read(report[0], tallies, sizeof(tallies)) == (ssize_t)sizeof(tallies), "a process did not end well");
        for (int j = 0; j < 2; j++) {
            rates[j] += tallies[j].count / tallies[j].wall_s;
            cpu_s[j] += tallies[j].cpu_s;
            counts[j] += tallies[j].count;
        }
    }
    printf("{\"keeper\": %.3f, \"bare\": %.3f, \"keeper_cpu_ms\": %.4f, \"bare_cpu_ms\": %.4f}\n", rates[0], rates[1],
           cpu_s[0] / counts[0] * 1000, cpu_s[1] / counts[1] * 1000);
    return 0;
}
