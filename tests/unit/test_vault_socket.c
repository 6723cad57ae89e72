/* Who may ask the vault as a command: our own user, and none of our own processes that run as it. */
#include "base/sandbox.h"
#include "base/spawn.h"
#include "proxy/vault_socket.h"
#include "tests/unit/vault_run.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listener = -1;

/* As the master does it. */
static enum err hand_on(void)
{
    struct secret proof = {NULL, 0};
    struct ipc_out out;
    int fd;
    enum err err = proxy_vault_socket_accept(&config, listener, &fd);
    if (err != ERR_OK)
        return err;
    assert_int_equal(proxy_vault_socket_proof(&config, &proof), ERR_OK);
    assert_int_equal(proof.len, PROXY_VAULT_PROOF_SIZE);
    ipc_out_begin(&out, PROXY_VAULT_COMMAND);
    ipc_put_span(&out, secret_span(&proof));
    ipc_put_file(&out, fd);
    assert_int_equal(ipc_send(control, &out), ERR_OK);
    secret_fini(&proof);
    close(fd);
    return ERR_OK;
}

static bool is_served(int fd)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, PROXY_PRIVATE_LIST);
    ipc_put_string(&out, ALICE);
    if (ipc_send(fd, &out) != ERR_OK || ipc_recv(fd, &in) != ERR_OK)
        return false;
    ipc_in_fini(&in);
    return true;
}

static int connect_bare(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/run/vault", directory);
    return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

static int open_all(void **state)
{
    struct stat status;
    assert_int_equal(setup(state), 0);
    assert_int_equal(mkdir(in_directory("run"), 0700), 0);
    assert_int_equal(mkdir(in_directory("own"), 0700), 0);
    assert_int_equal(proxy_vault_socket_listen(&config, &listener), ERR_OK);
    assert_int_equal(stat(in_directory("run/vault.proof"), &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    return 0;
}

static int close_all(void **state)
{
    proxy_vault_socket_close(&config, &listener);
    assert_int_equal(access(in_directory("run/vault.proof"), F_OK), -1);
    assert_int_equal(rmdir(in_directory("run")), 0);
    assert_int_equal(rmdir(in_directory("own")), 0);
    return teardown(state);
}

static void test_a_command(void **state)
{
    int fd;
    (void)state;
    assert_int_equal(proxy_vault_socket_connect(&config, &fd), ERR_OK);
    assert_int_equal(hand_on(), ERR_OK);
    assert_true(is_served(fd));
    close(fd);
    /* Another `serve` finds this one, and leaves the file alone. */
    int other;
    assert_int_equal(proxy_vault_socket_listen(&config, &other), ERR_BUSY);
    assert_int_equal(hand_on(), ERR_OK);
    assert_int_equal(proxy_vault_socket_connect(&config, &fd), ERR_OK);
    assert_int_equal(hand_on(), ERR_OK);
    assert_true(is_served(fd));
    close(fd);
}

static void test_nothing_shown(void **state)
{
    (void)state;
    const int fd = connect_bare();
    assert_true(fd >= 0);
    assert_int_equal(hand_on(), ERR_OK);
    assert_false(is_served(fd));
    close(fd);
}

static void test_no_file(void **state)
{
    int fd;
    (void)state;
    assert_int_equal(unlink(in_directory("run/vault.proof")), 0);
    assert_int_equal(proxy_vault_socket_connect(&config, &fd), ERR_NOT_OWNER);
    assert_int_equal(fd, -1);
}

/* The keeper of the only account, from which no folder is hidden: it reaches the socket, and the vault ends the line.
 */
static void keeper_body(int told)
{
    const struct sandbox_options options = {.role = SANDBOX_KEEPER, .writable_dirs = {in_directory("own")}};
    int fd;
    if (sandbox_enter(&options) != ERR_OK || proxy_vault_socket_connect(&config, &fd) == ERR_OK ||
        open(in_directory("run/vault.proof"), O_RDONLY) >= 0)
        _exit(1);
    fd = connect_bare();
    if (fd < 0 || write(told, "x", 1) != 1)
        _exit(2);
    _exit(is_served(fd) ? 3 : 0);
}

static void test_a_keeper(void **state)
{
    int ends[2], status;
    char byte;
    (void)state;
    if (sandbox_landlock_abi() == 0)
        skip();
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        keeper_body(ends[1]);
    close(ends[1]);
    const bool has_come = read(ends[0], &byte, 1) == 1;
    while (has_come && hand_on() == ERR_OK) {
    }
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_command, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_nothing_shown, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_no_file, open_all, close_all),
        cmocka_unit_test_setup_teardown(test_a_keeper, open_all, close_all),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
