#include "proxy/vault_socket.h"

#include "base/ipc.h"
#include "proxy/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_NAME "vault"
#define PROOF_NAME "vault.proof"
#define ANSWER_TIMEOUT_S 5
#define REQUEST_TIMEOUT_S 60

/* A socket's address holds 108 bytes, a path may be longer: it is named by its open directory. */
static enum err open_directory(const struct config *config, int *dir_out)
{
    char path[CONFIG_PATH_SIZE];
    if (!config_state_path(config, "run", path))
        return ERR_CONFIG;
    *dir_out = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*dir_out >= 0)
        return ERR_OK;
    return errno == ENOENT ? ERR_NOT_FOUND : err_of_errno(errno);
}

static struct sockaddr_un address_in(int dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME, dir);
    return address;
}

static enum err new_socket(int flags, int *fd_out)
{
    *fd_out = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
    return *fd_out < 0 ? err_of_errno(errno) : ERR_OK;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static enum err connect_in(int dir, int *fd_out)
{
    const struct sockaddr_un address = address_in(dir);
    enum err err = new_socket(0, fd_out);
    if (err != ERR_OK)
        return err;
    if (connect(*fd_out, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return ERR_OK;
    int number = errno;
    close_fd(fd_out);
    return number == ENOENT || number == ECONNREFUSED ? ERR_NOT_FOUND : err_of_errno(number);
}

static enum err read_proof(int dir, struct secret *proof)
{
    char bytes[PROXY_VAULT_PROOF_SIZE];
    const int fd = openat(dir, PROOF_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return ERR_NOT_OWNER;
    enum err err = read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) ? ERR_OK : ERR_NOT_OWNER;
    close(fd);
    if (err == ERR_OK)
        err = secret_set(proof, (struct span){bytes, sizeof(bytes)}, sizeof(bytes));
    secret_wipe(bytes, sizeof(bytes));
    return err;
}

enum err proxy_vault_socket_proof(const struct config *config, struct secret *proof)
{
    int dir;
    enum err err = open_directory(config, &dir);
    if (err != ERR_OK)
        return err;
    err = read_proof(dir, proof);
    close(dir);
    return err;
}

static enum err show_proof(int dir, int fd)
{
    struct secret proof = {NULL, 0};
    struct ipc_out out;
    enum err err = read_proof(dir, &proof);
    if (err != ERR_OK)
        return err;
    ipc_out_begin(&out, PROXY_VAULT_PROOF);
    ipc_put_span(&out, secret_span(&proof));
    err = ipc_send(fd, &out);
    secret_fini(&proof);
    return err;
}

enum err proxy_vault_socket_connect(const struct config *config, int *fd_out)
{
    const struct timeval time = {REQUEST_TIMEOUT_S, 0};
    int dir;
    *fd_out = -1;
    enum err err = open_directory(config, &dir);
    if (err != ERR_OK)
        return err;
    err = connect_in(dir, fd_out);
    if (err == ERR_OK && (err = show_proof(dir, *fd_out)) != ERR_OK)
        close_fd(fd_out);
    close(dir);
    if (err == ERR_OK)
        (void)setsockopt(*fd_out, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
    return err;
}

static bool find_user(const char *user, uid_t *uid_out, gid_t *gid_out)
{
    const struct passwd *entry = user[0] == '\0' ? NULL : getpwnam(user);
    if (entry == NULL)
        return false;
    *uid_out = entry->pw_uid;
    *gid_out = entry->pw_gid;
    return true;
}

/* If it is root who makes it, it is for the configured user. */
static enum err hand_over(int dir, const char *name, const struct config *config)
{
    uid_t uid;
    gid_t gid;
    if (geteuid() != 0 || !find_user(config->user, &uid, &gid))
        return ERR_OK;
    return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 ? ERR_OK : err_of_errno(errno);
}

static enum err make_proof(int dir, const struct config *config)
{
    unsigned char bytes[PROXY_VAULT_PROOF_SIZE];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return ERR_INTERNAL;
    (void)unlinkat(dir, PROOF_NAME, 0);
    const int fd = openat(dir, PROOF_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    enum err err = fd < 0 ? err_of_errno(errno) : ERR_OK;
    if (err == ERR_OK && write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
        err = ERR_IO;
    secret_wipe(bytes, sizeof(bytes));
    if (fd >= 0)
        close(fd);
    return err == ERR_OK ? hand_over(dir, PROOF_NAME, config) : err;
}

/* The name of a socket that nobody listens at any more is taken over. */
static enum err bind_in(int dir, const struct config *config, int listener)
{
    const struct sockaddr_un address = address_in(dir);
    int other;
    if (connect_in(dir, &other) == ERR_OK) {
        close(other);
        return ERR_BUSY;
    }
    enum err err = make_proof(dir, config);
    if (err != ERR_OK)
        return err;
    (void)unlinkat(dir, SOCKET_NAME, 0);
    mode_t mask = umask(0177);
    int result = bind(listener, (const struct sockaddr *)&address, sizeof(address));
    int number = errno;
    umask(mask);
    if (result != 0)
        return err_of_errno(number);
    err = hand_over(dir, SOCKET_NAME, config);
    if (err != ERR_OK)
        return err;
    return listen(listener, SOMAXCONN) == 0 ? ERR_OK : err_of_errno(errno);
}

enum err proxy_vault_socket_listen(const struct config *config, int *listener_out)
{
    int dir;
    *listener_out = -1;
    enum err err = open_directory(config, &dir);
    if (err != ERR_OK)
        return err;
    err = new_socket(SOCK_NONBLOCK, listener_out);
    if (err == ERR_OK)
        err = bind_in(dir, config, *listener_out);
    if (err != ERR_OK)
        close_fd(listener_out);
    close(dir);
    return err;
}

void proxy_vault_socket_close(const struct config *config, int *listener)
{
    int dir;
    if (*listener < 0)
        return;
    close_fd(listener);
    if (open_directory(config, &dir) != ERR_OK)
        return;
    (void)unlinkat(dir, SOCKET_NAME, 0);
    (void)unlinkat(dir, PROOF_NAME, 0);
    close(dir);
}

static bool is_welcome(const struct config *config, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    uid_t uid;
    gid_t gid;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 || len != sizeof(peer))
        return false;
    return peer.uid == 0 || peer.uid == geteuid() || (find_user(config->user, &uid, &gid) && peer.uid == uid);
}

enum err proxy_vault_socket_accept(const struct config *config, int listener, int *fd_out)
{
    const struct timeval time = {ANSWER_TIMEOUT_S, 0};
    *fd_out = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (*fd_out < 0)
        return errno == ECONNABORTED ? ERR_AGAIN : err_of_errno(errno);
    if (!is_welcome(config, *fd_out)) {
        close_fd(fd_out);
        return ERR_NOT_OWNER;
    }
    if (setsockopt(*fd_out, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) != 0) {
        enum err err = err_of_errno(errno);
        close_fd(fd_out);
        return err;
    }
    return ERR_OK;
}
