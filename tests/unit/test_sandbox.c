/* Each role in a process of its own: what is forbidden fails, and what the role is for still works. */
#include "base/sandbox.h"

#include "base/buf.h"
#include "base/ipc.h"
#include "base/memfd.h"
#include "base/secret.h"
#include "base/spawn.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534
#define PATH_SIZE 128

/* In the child a failed assertion of cmocka would go on with the next test; so this ends it instead. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);                          \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

#define FAILS_WITH(call, expected) CHECK((errno = 0, (call)) < 0 && errno == (expected))
#define FAILS(call) CHECK((call) < 0 && (errno == EPERM || errno == EACCES))

/* A directory for writing, one that is hidden, one that is simply elsewhere; a file lies in each of the last two. */
struct places {
    char root[PATH_SIZE / 2];
    char own[PATH_SIZE];
    char hidden[PATH_SIZE];
    char elsewhere[PATH_SIZE];
    char hidden_file[PATH_SIZE + 8];
    char foreign_file[PATH_SIZE + 8];
};

static struct places places;

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    assert_int_equal(chmod(path, 0666), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(places.root, sizeof places.root, "/tmp/test-sandbox-XXXXXX");
    assert_non_null(mkdtemp(places.root));
    snprintf(places.own, sizeof places.own, "%s/own", places.root);
    snprintf(places.hidden, sizeof places.hidden, "%s/hidden", places.root);
    snprintf(places.elsewhere, sizeof places.elsewhere, "%s/elsewhere", places.root);
    snprintf(places.hidden_file, sizeof places.hidden_file, "%s/file", places.hidden);
    snprintf(places.foreign_file, sizeof places.foreign_file, "%s/file", places.elsewhere);
    const char *const dirs[] = {places.root, places.own, places.hidden, places.elsewhere};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        assert_true(mkdir(dirs[i], 0777) == 0 || errno == EEXIST);
        assert_int_equal(chmod(dirs[i], 0777), 0);
    }
    make_file(places.hidden_file);
    make_file(places.foreign_file);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    const char *const arguments[] = {"rm", "-rf", places.root, NULL};
    const struct spawn_options options = {.file = "/bin/rm", .arguments = arguments, .inherit_fd = -1};
    return spawn_run(&options, 10000) == ERR_OK ? 0 : -1;
}

/* Runs `body` in a child; it has succeeded when it returns and nothing ended it before. */
static int status_of(void (*body)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        body();
        exit(0); /* not _exit, so that the sanitizers' work at the end is covered as well */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_child(void (*body)(void))
{
    assert_int_equal(status_of(body), 0);
}

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    if (fd >= 0)
        close(fd);
    return fd;
}

/* What no role may do. */
static void check_common_denials(void)
{
    const pid_t parent = getppid();
    FAILS(open_file(places.foreign_file, O_RDONLY));
    FAILS(open_file(places.foreign_file, O_WRONLY));
    FAILS(open_file("/etc/privyseal-test", O_WRONLY | O_CREAT));
    FAILS(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    FAILS(ptrace(PTRACE_ATTACH, parent, NULL, NULL));
    FAILS(kill(parent, SIGCONT));
    FAILS(kill(0, SIGCONT));
    FAILS(syscall(SYS_tgkill, parent, parent, SIGKILL));
    FAILS(syscall(SYS_pidfd_send_signal, 0, SIGCONT, NULL, 0));
    FAILS(unshare(CLONE_NEWUSER));
    FAILS(mount("none", "/tmp", "tmpfs", 0, NULL));
    FAILS(syscall(SYS_bpf, 0, NULL, 0));
    FAILS(syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    FAILS(syscall(SYS_add_key, "user", "k", "v", 1, -3));
    FAILS(syscall(SYS_perf_event_open, NULL, 0, 0, -1, 0));
    FAILS(syscall(SYS_userfaultfd, 0));
    FAILS(syscall(SYS_io_uring_setup, 1, NULL));
    FAILS(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0));
    FAILS(syscall(SYS_finit_module, -1, "", 0));
    FAILS(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
    FAILS(socket(AF_PACKET, SOCK_RAW, 0));
    FAILS(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
    FAILS(socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG));
}

static void check_no_exec(void)
{
    char *const arguments[] = {(char[]){"true"}, NULL};
    FAILS_WITH(execv("/bin/true", arguments), EPERM);
    FAILS_WITH(syscall(SYS_execveat, AT_FDCWD, "/bin/true", arguments, NULL, 0), EPERM);
    FAILS_WITH(fork(), EPERM);
    FAILS_WITH(vfork(), EPERM);
    void *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(code == MAP_FAILED && errno == EPERM);
}

/* What every role works with: memory files, messages, random numbers, secrets. */
static void check_common_tools(void)
{
    int fd, ends[2];
    struct span content;
    unsigned char random[16];
    struct secret secret = {NULL, 0};
    CHECK(memfd_of("test", SPAN_LIT("body"), 100, &fd) == ERR_OK);
    CHECK(memfd_map(fd, 100, &content) == ERR_OK && span_is_equal(content, SPAN_LIT("body")));
    memfd_unmap(&content);
    CHECK(ipc_pair(true, ends) == ERR_OK);
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, 7);
    ipc_put_file(&out, fd);
    CHECK(ipc_send(ends[0], &out) == ERR_OK);
    CHECK(ipc_recv(ends[1], &in) == ERR_OK);
    int received = ipc_get_file(&in);
    CHECK(ipc_in_end(&in) == ERR_OK && memfd_check(received, 4, &(size_t){0}) == ERR_OK);
    ipc_in_fini(&in);
    close(received);
    close(fd);
    CHECK(RAND_bytes(random, sizeof random) == 1);
    CHECK(secret_set(&secret, SPAN_LIT("password"), 100) == ERR_OK);
    secret_fini(&secret);
    char *block = malloc(1000000);
    CHECK(block);
    free(block);
}

static void check_file_size(size_t most)
{
    int fd;
    struct buf big;
    buf_init(&big, most + 1);
    CHECK(buf_reserve(&big, most + 1) == ERR_OK);
    memset(big.data, 'x', most + 1);
    big.len = most + 1;
    CHECK(memfd_new("test", &fd) == ERR_OK);
    CHECK(memfd_add(fd, buf_span(&big), 2 * most) == ERR_LIMIT);
    close(fd);
    buf_fini(&big);
}

static void check_limits(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 200 && limit.rlim_max == 200);
    CHECK(getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_max == 100);
    check_file_size(1 << 20);
}

static const struct sandbox_options limits = {.files_max = 200, .cpu_seconds_max = 100, .file_size_max = 1 << 20};

static struct sandbox_options options_of(enum sandbox_role role)
{
    struct sandbox_options options = limits;
    options.role = role;
    if (role == SANDBOX_VAULT || role == SANDBOX_KEEPER)
        options.writable_dirs[0] = places.own;
    return options;
}

static int listen_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 1) == 0);
    return listener;
}

static enum sandbox_role net_role; /* the finder has what net has, ports of its choice, and perhaps local sockets */
static void check_tcp(int listener)
{
    const struct sockaddr_in any = {.sin_family = AF_INET};
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK((bind(client, (const struct sockaddr *)&any, sizeof any) == 0) == (net_role != SANDBOX_NET));
    FAILS(listen(client, 1));
    FAILS(fcntl(client, F_SETOWN, getppid()));
    FAILS(fcntl(client, F_SETSIG, SIGKILL));
    CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
    int server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    CHECK(server >= 0 && send(client, "x", 1, MSG_NOSIGNAL) == 1);
    struct pollfd ready = {.fd = server, .events = POLLIN};
    char byte;
    CHECK(poll(&ready, 1, 1000) == 1 && recv(server, &byte, 1, 0) == 1 && byte == 'x');
    close(client);
    close(server);
    close(listener);
}

static void on_time(evutil_socket_t fd, short what, void *count)
{
    (void)fd;
    (void)what;
    ++*(int *)count;
}

static void check_event_loop(void)
{
    int count = 0;
    struct event_base *base = event_base_new();
    CHECK(base);
    CHECK(event_base_once(base, -1, EV_TIMEOUT, on_time, &count, &(struct timeval){0, 1000}) == 0);
    struct event *end = evsignal_new(base, SIGTERM, on_time, &count);
    CHECK(end && event_add(end, NULL) == 0);
    CHECK(event_base_loop(base, EVLOOP_ONCE) == 0 && count == 1);
    event_free(end);
    event_base_free(base);
}

static void net_body(void)
{
    struct sandbox_options options = options_of(net_role);
    const int listener = listen_tcp();
    CHECK(sandbox_enter(&options) == ERR_OK);
    check_common_denials();
    check_no_exec();
    FAILS(open_file("/etc/passwd", O_RDONLY));
    FAILS(open_file("/dev/null", O_RDONLY));
    CHECK((socket(AF_UNIX, SOCK_STREAM, 0) >= 0) == (net_role == SANDBOX_FINDER_LOCAL));
    FAILS(socketpair(AF_UNIX, SOCK_DGRAM, 0, (int[2]){0, 0}));
    FAILS(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
    FAILS(setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}));
    FAILS(unlink(places.foreign_file));
    check_common_tools();
    check_limits();
    check_tcp(listener);
    check_event_loop();
}

static void test_net(void **state)
{
    (void)state;
    for (net_role = SANDBOX_NET; net_role < SANDBOX_COUNT; net_role++)
        if (net_role != SANDBOX_VAULT && net_role != SANDBOX_KEEPER)
            assert_child(net_body);
}

static void check_database(void)
{
    char path[PATH_SIZE + 16];
    sqlite3 *database = NULL;
    snprintf(path, sizeof path, "%s/vault.db", places.own);
    CHECK(sqlite3_open(path, &database) == SQLITE_OK);
    CHECK(sqlite3_exec(database,
                       "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1); DELETE FROM t; VACUUM;",
                       NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_close(database) == SQLITE_OK);
    CHECK(access(path, F_OK) == 0 && unlink(path) == 0);
}

static void vault_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_VAULT);
    CHECK(sandbox_enter(&options) == ERR_OK);
    check_common_denials();
    check_no_exec();
    FAILS(socket(AF_INET, SOCK_STREAM, 0));
    FAILS(socket(AF_UNIX, SOCK_STREAM, 0));
    if (sandbox_landlock_abi() > 0) {
        FAILS(open_file("/etc/passwd", O_RDONLY));
        FAILS(rename(places.foreign_file, places.own));
        FAILS(unlink(places.foreign_file));
    }
    check_common_tools();
    check_limits();
    check_database();
}

static void test_vault(void **state)
{
    (void)state;
    assert_child(vault_body);
}

static bool is_empty_dir(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;
    if (!dir)
        return errno == EACCES; /* nothing to be seen at all */
    while (readdir(dir))
        count++;
    closedir(dir);
    return count == 2;
}

static bool has_no_capabilities(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    char line[256];
    int fields = 0;
    while (file && fgets(line, sizeof line, file)) {
        /* Permitted, effective and ambient; an ordinary user's bounding set may be full, no_new_privs makes it void. */
        if (strncmp(line, "CapPrm:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0 || strncmp(line, "CapAmb:", 7) == 0)
            fields += strstr(line, "0000000000000000") != NULL;
        if (strncmp(line, "NoNewPrivs:\t1", 13) == 0)
            fields++;
    }
    if (file)
        fclose(file);
    return fields == 4;
}

static enum err run(const char *file, const char *const *arguments)
{
    const struct spawn_options options = {.file = file, .arguments = arguments, .inherit_fd = -1, .is_quiet = true};
    return spawn_run(&options, 20000);
}

static void check_gpg(void)
{
    char home[PATH_SIZE + 8], list[PATH_SIZE + 32];
    snprintf(home, sizeof home, "%s/gnupg", places.own);
    snprintf(list, sizeof list, "%s/pubring.kbx", home);
    CHECK(mkdir(home, 0700) == 0 || errno == EEXIST);
    const char *const arguments[] = {"gpg", "--batch", "--no-autostart", "--homedir", home, "--list-keys", NULL};
    CHECK(run("/usr/bin/gpg", arguments) == ERR_OK);
    CHECK(access(list, F_OK) == 0);
}

/* A program that was put where the keeper may write cannot be run. */
static void check_no_new_programs(void)
{
    char path[PATH_SIZE + 8], bytes[4096];
    snprintf(path, sizeof path, "%s/true", places.own);
    int from = open("/bin/true", O_RDONLY);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0700);
    ssize_t len;
    CHECK(from >= 0 && to >= 0);
    while ((len = read(from, bytes, sizeof bytes)) > 0)
        CHECK(write(to, bytes, (size_t)len) == len);
    close(from);
    close(to);
    const char *const arguments[] = {"true", NULL};
    CHECK(run("/bin/true", arguments) == ERR_OK);
    CHECK(sandbox_landlock_abi() == 0 || run(path, arguments) == ERR_ENGINE);
    CHECK(unlink(path) == 0);
}

/* A socket in a hidden directory, as a gpg-agent has one; made before the sandbox. */
static struct sockaddr_un agent_address(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/agent", places.hidden);
    return address;
}

static int connect_agent(void)
{
    struct sockaddr_un address = agent_address();
    int socket_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(socket_fd >= 0);
    int result = connect(socket_fd, (struct sockaddr *)&address, sizeof address);
    int error = errno;
    close(socket_fd);
    errno = error;
    return result;
}

static int listen_agent(void)
{
    struct sockaddr_un address = agent_address();
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(listener, 1) == 0 && chmod(address.sun_path, 0777) == 0);
    CHECK(connect_agent() == 0);
    return listener;
}

static void keeper_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_KEEPER);
    char missing[PATH_SIZE + 8];
    snprintf(missing, sizeof missing, "%s/none", places.root);
    options.hidden_dirs[0] = missing;
    options.hidden_dirs[1] = places.hidden;
    int listener = listen_agent();
    const uid_t uid = geteuid();
    sandbox_no_dumps();
    CHECK(sandbox_enter(&options) == ERR_OK);
    CHECK(geteuid() == uid && getuid() == uid && has_no_capabilities());
    CHECK(prctl(PR_GET_DUMPABLE) == 0);

    check_common_denials();
    FAILS(socket(AF_INET, SOCK_STREAM, 0));
    FAILS(socket(AF_INET6, SOCK_DGRAM, 0));
    FAILS_WITH(connect_agent(), ENOENT);
    CHECK(is_empty_dir(places.hidden));
    FAILS_WITH(access(places.hidden_file, F_OK), ENOENT);
    CHECK(umount(places.hidden) < 0);
    if (sandbox_landlock_abi() > 0) {
        FAILS(open_file("/root/.profile", O_RDONLY));
        FAILS(unlink(places.foreign_file));
    }
    check_common_tools();
    check_limits();
    check_no_new_programs();
    check_gpg();
    close(listener);
}

/* Again, since a test before may have left its socket there. */
static void remove_agent(void)
{
    struct sockaddr_un address = agent_address();
    assert_true(unlink(address.sun_path) == 0 || errno == ENOENT);
}

static void test_keeper(void **state)
{
    (void)state;
    assert_child(keeper_body);
    remove_agent();
}

static void keeper_as_nobody_body(void)
{
    CHECK(geteuid() != 0 || (setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0));
    snprintf(places.own, sizeof places.own, "%s/own/nobody", places.root);
    CHECK(mkdir(places.own, 0700) == 0 || errno == EEXIST);
    keeper_body();
}

static void namespace_body(void)
{
    CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0 && unshare(CLONE_NEWUSER) == 0);
}

static void test_keeper_hides_dirs_without_privilege(void **state)
{
    (void)state;
    if (status_of(namespace_body) != 0)
        skip(); /* in a chroot, or where they are forbidden */
    assert_child(keeper_as_nobody_body);
    remove_agent();
}

static void user_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_NET);
    options.user = "nobody";
    CHECK(sandbox_enter(&options) == ERR_OK);
    CHECK(geteuid() == NOBODY && getuid() == NOBODY && getegid() != 0);
    CHECK(prctl(PR_SET_NAME, "test") == 0);
}

static void unknown_user_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_NET);
    options.user = "no-such-user-here";
    CHECK(sandbox_enter(&options) == ERR_CONFIG);
}

static void test_user(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_child(user_body);
    assert_child(unknown_user_body);
}

static void bad_options_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_VAULT);
    options.role = SANDBOX_COUNT;
    CHECK(sandbox_enter(&options) == ERR_INTERNAL);
    options = options_of(SANDBOX_VAULT);
    options.writable_dirs[1] = "/no/such/dir";
    CHECK(sandbox_landlock_abi() == 0 || sandbox_enter(&options) == ERR_WORKER);
}

static void test_what_cannot_be_set_up_is_an_error(void **state)
{
    (void)state;
    assert_child(bad_options_body);
}

static void memory_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_NET);
    options.memory_max = 256 << 20;
    CHECK(sandbox_enter(&options) == ERR_OK);
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_AS, &limit) == 0);
    CHECK(limit.rlim_max == 256 << 20 || limit.rlim_max == RLIM_INFINITY);
    CHECK(limit.rlim_max == RLIM_INFINITY ||
          mmap(NULL, 512 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

static void test_memory(void **state)
{
    (void)state;
    assert_child(memory_body);
}

static void abort_body(void)
{
    struct sandbox_options options = options_of(SANDBOX_NET);
    CHECK(sandbox_enter(&options) == ERR_OK);
    abort();
}

static void test_abort_still_ends_the_process(void **state)
{
    (void)state;
    int status = status_of(abort_body);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_net),    cmocka_unit_test(test_vault),
        cmocka_unit_test(test_keeper), cmocka_unit_test(test_keeper_hides_dirs_without_privilege),
        cmocka_unit_test(test_user),   cmocka_unit_test(test_what_cannot_be_set_up_is_an_error),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_abort_still_ends_the_process),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
