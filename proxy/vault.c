#include "proxy/vault.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "base/secret.h"
#include "proxy/vault_internal.h"
#include "proxy/vault_socket.h"
#include "proxy/wire.h"
#include "store/account.h"
#include "store/delivery.h"
#include "store/view.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VAULT_CLIENTS_MAX 16
#define VAULT_KEEPERS_MAX 512
#define VAULT_SOCKETS_MAX (1 + VAULT_CLIENTS_MAX + VAULT_KEEPERS_MAX)
#define VAULT_EXPIRE_EVERY_S 3600
#define TURN_MAX 128
#define CREDENTIAL_NAME "privyseal.store"
#define CREDENTIAL_MAX 4096

struct vault {
    const struct config *config;
    struct store *store;
    struct pollfd sockets[VAULT_SOCKETS_MAX]; /* [0] is the master's; those that are to be closed: -1 */
    char *accounts[VAULT_SOCKETS_MAX];        /* whose keeper is at the other end; NULL: none is */
    bool are_commands[VAULT_SOCKETS_MAX];     /* a command of our own user is */
    struct secret proofs[VAULT_SOCKETS_MAX];  /* what it must show before it is heard; empty: nothing */
    nfds_t sockets_len, keepers_len;
    int64_t expired_at;
    bool is_too_big; /* more than config->store_max is kept, and some of it can go */
};

/* A request that was carried out, in a turn of all that were waiting. */
struct served {
    nfds_t client;
    enum err result;
    struct vault_answer answer;
};

struct turn {
    struct served items[TURN_MAX];
    size_t len;
    bool is_changed; /* one of them was to change the store */
    bool is_full;    /* its answers are big enough to be sent first */
};

struct service {
    enum proxy_message type;
    vault_serve_fn serve;
};

static const struct service SERVICES[] = {
    {PROXY_DELIVERY_GET, vault_delivery_get},
    {PROXY_DELIVERY_ADD, vault_delivery_add},
    {PROXY_DELIVERY_FORGET, vault_delivery_forget},
    {PROXY_ENCRYPTED_FIND, vault_encrypted_find},
    {PROXY_VIEW_GET, vault_view_get},
    {PROXY_VIEW_PUT, vault_view_put},
    {PROXY_VIEW_GENERATION, vault_view_generation},
    {PROXY_VIEW_SEARCH, vault_view_search},
    {PROXY_PLACES_GET, vault_places_get},
    {PROXY_PLACES_PUT, vault_places_put},
    {PROXY_PLACES_FORGET, vault_places_forget},
    {PROXY_PLACES_RENAME, vault_places_rename},
    {PROXY_ALIASES_GET, vault_aliases_get},
    {PROXY_ALIAS_PUT, vault_alias_put},
    {PROXY_STORE_TOTALS, vault_store_totals},
    {PROXY_STORE_REOPEN, vault_store_reopen},
    {PROXY_STORE_KEPT, vault_store_kept},
    {PROXY_PEER_GET, vault_peer_get},
    {PROXY_PEER_HEAR, vault_peer_hear},
    {PROXY_PEER_RECEIVED, vault_peer_received},
    {PROXY_PEER_SENT, vault_peer_sent},
    {PROXY_PEER_DUE, vault_peer_due},
    {PROXY_PEER_REFRESHED, vault_peer_refreshed},
};

/* Keepers are served nothing else. */
static const struct service KEEPER_SERVICES[] = {
    {PROXY_KEYS_GET, vault_keys_get},       {PROXY_KEYS_OPEN, vault_keys_open},
    {PROXY_KEYS_TAKE, vault_keys_take},     {PROXY_KEYS_WRAP, vault_keys_wrap},
    {PROXY_KEYS_UNSEAL, vault_keys_unseal}, {PROXY_PRIVATE_GET, vault_private_get},
    {PROXY_PEER_WORDS, vault_peer_words},   {PROXY_PEER_GET, vault_peer_get},
};

/* Commands have these beside what net has. What nothing brings back is forgotten for them alone. */
static const struct service COMMAND_SERVICES[] = {
    {PROXY_STORE_CLEAR, vault_store_clear},   {PROXY_STORE_PASSPHRASE, vault_store_passphrase},
    {PROXY_KEYS_UNSEAL, vault_keys_unseal},   {PROXY_KEYS_GET, vault_keys_get},
    {PROXY_KEYS_OPEN, vault_keys_open},       {PROXY_PRIVATE_GET, vault_private_get},
    {PROXY_PRIVATE_PUT, vault_private_put},   {PROXY_PRIVATE_REMOVE, vault_private_remove},
    {PROXY_PRIVATE_LIST, vault_private_list}, {PROXY_PEER_WORDS, vault_peer_words},
    {PROXY_PEER_UNPIN, vault_peer_unpin},     {PROXY_PEER_REMOVE, vault_peer_remove},
};

static vault_serve_fn find_in(const struct service *services, size_t len, uint16_t type)
{
    for (size_t i = 0; i < len; i++)
        if (services[i].type == type)
            return services[i].serve;
    return NULL;
}

static vault_serve_fn find_service(bool is_keeper, bool is_command, uint16_t type)
{
    if (is_keeper)
        return find_in(KEEPER_SERVICES, sizeof(KEEPER_SERVICES) / sizeof(*KEEPER_SERVICES), type);
    vault_serve_fn serve = find_in(SERVICES, sizeof(SERVICES) / sizeof(*SERVICES), type);
    if (serve == NULL && is_command)
        serve = find_in(COMMAND_SERVICES, sizeof(COMMAND_SERVICES) / sizeof(*COMMAND_SERVICES), type);
    return serve;
}

static void begin_answer(struct vault_answer *answer, enum err result)
{
    ipc_out_begin(&answer->out, PROXY_VAULT_DONE);
    ipc_put_u32(&answer->out, (uint32_t)result);
}

static void end_answer(struct vault_answer *answer)
{
    ipc_out_fini(&answer->out);
    if (answer->file >= 0)
        close(answer->file);
    answer->file = -1;
}

/* Carries one request out. An error is the client's fault and ends it, not the vault. */
static enum err serve_request(struct vault *vault, nfds_t client, struct ipc_in *in, struct served *served)
{
    const char *account = vault->accounts[client];
    const bool is_command = vault->are_commands[client];
    vault_serve_fn serve = find_service(account != NULL, is_command, ipc_type(in));
    if (serve == NULL)
        return ERR_PEER_PROTOCOL;
    served->answer = (struct vault_answer){.file = -1, .account = account, .is_command = is_command};
    begin_answer(&served->answer, ERR_OK);
    served->result = serve(vault->store, in, &served->answer);
    if (served->result == ERR_OK && served->answer.out.err != ERR_OK)
        served->result = ERR_STORE; /* more than fits into a message, or no memory for it */
    if (in->err != ERR_PEER_PROTOCOL)
        return ERR_OK;
    end_answer(&served->answer);
    return ERR_PEER_PROTOCOL;
}

static void drop_client(struct vault *vault, nfds_t client, enum err why)
{
    if (why != ERR_END)
        log_failure(why, "request of a client");
    close(vault->sockets[client].fd);
    vault->sockets[client].fd = -1;
}

static bool is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return fd >= 0 && poll(&one, 1, 0) > 0;
}

/* Whoever shows the wrong thing, or asks first, is nobody's command. */
static enum err take_proof(struct vault *vault, nfds_t client, struct ipc_in *in)
{
    struct secret *proof = &vault->proofs[client];
    const struct span shown = ipc_type(in) == PROXY_VAULT_PROOF ? ipc_get_span(in) : SPAN_NONE;
    if (!secret_is_equal(shown, secret_span(proof)) || ipc_in_end(in) != ERR_OK)
        return ERR_NOT_OWNER;
    secret_fini(proof);
    return ERR_OK;
}

static void take_request(struct vault *vault, nfds_t client, struct turn *turn)
{
    struct served *served = &turn->items[turn->len];
    struct ipc_in in;
    enum err err = ipc_recv(vault->sockets[client].fd, &in);
    const bool is_proof = vault->proofs[client].len > 0;
    if (err == ERR_OK) {
        err = is_proof ? take_proof(vault, client, &in) : serve_request(vault, client, &in, served);
        ipc_in_fini(&in);
    }
    if (err != ERR_OK) {
        drop_client(vault, client, err);
        return;
    }
    if (is_proof)
        return;
    served->client = client;
    turn->is_changed = turn->is_changed || served->answer.is_changed;
    turn->len++;
    turn->is_full = turn->len == TURN_MAX || served->answer.file >= 0;
}

/* All requests that wait, of one client after the other. */
static void take_requests(struct vault *vault, struct turn *turn)
{
    for (bool has_any = true; has_any && !turn->is_full;) {
        has_any = false;
        for (nfds_t i = 1; i < vault->sockets_len && !turn->is_full; i++) {
            if (!is_readable(vault->sockets[i].fd))
                continue;
            take_request(vault, i, turn);
            has_any = true;
        }
    }
}

static void send_answer(struct vault *vault, struct served *served)
{
    if (served->result != ERR_OK) {
        end_answer(&served->answer);
        begin_answer(&served->answer, served->result);
    }
    int fd = vault->sockets[served->client].fd;
    enum err err = fd < 0 ? ERR_OK : ipc_send(fd, &served->answer.out);
    if (err != ERR_OK)
        drop_client(vault, served->client, err);
    end_answer(&served->answer);
}

static void close_dropped(struct vault *vault)
{
    for (nfds_t i = vault->sockets_len; i-- > 1;) {
        if (vault->sockets[i].fd >= 0)
            continue;
        vault->keepers_len -= vault->accounts[i] != NULL;
        free(vault->accounts[i]);
        secret_fini(&vault->proofs[i]);
        vault->sockets[i] = vault->sockets[--vault->sockets_len];
        vault->accounts[i] = vault->accounts[vault->sockets_len];
        vault->are_commands[i] = vault->are_commands[vault->sockets_len];
        vault->proofs[i] = vault->proofs[vault->sockets_len];
        vault->proofs[vault->sockets_len] = (struct secret){NULL, 0};
    }
}

/* What they have in memory is else used until they end. */
static void tell_keepers(struct vault *vault, const char *account)
{
    for (nfds_t i = 1; i < vault->sockets_len; i++) {
        struct ipc_out out;
        if (vault->sockets[i].fd < 0 || vault->accounts[i] == NULL || strcmp(vault->accounts[i], account) != 0)
            continue;
        ipc_out_begin(&out, PROXY_PRIVATE_FORGET);
        enum err err = ipc_send(vault->sockets[i].fd, &out);
        if (err != ERR_OK)
            drop_client(vault, i, err);
    }
}

/* Net lists an account anew whose words have changed: it hears so before anybody hears that they have. */
static void tell_words(struct vault *vault, const char *account, bool is_by_mail)
{
    for (nfds_t i = 1; i < vault->sockets_len; i++) {
        struct ipc_out out;
        if (vault->sockets[i].fd < 0 || vault->accounts[i] != NULL || vault->are_commands[i])
            continue;
        ipc_out_begin(&out, PROXY_PEER_CHANGED);
        ipc_put_string(&out, account);
        ipc_put_u32(&out, is_by_mail);
        enum err err = ipc_send(vault->sockets[i].fd, &out);
        if (err != ERR_OK)
            drop_client(vault, i, err);
    }
}

static void tell_changes(struct vault *vault, const struct turn *turn)
{
    for (size_t i = 0; i < turn->len; i++) {
        const struct vault_answer *answer = &turn->items[i].answer;
        if (turn->items[i].result == ERR_OK && answer->words_changed[0] != '\0')
            tell_words(vault, answer->words_changed, answer->is_by_mail);
    }
}

/* One commit for all that wait: a first sync would else cost a flush of the disk for each message. */
static void serve_clients(struct vault *vault)
{
    static struct turn turn;
    turn.len = 0;
    turn.is_changed = turn.is_full = false;
    bool is_group = store_group_begin(vault->store) == ERR_OK;
    take_requests(vault, &turn);
    enum err err = is_group ? store_group_end(vault->store) : ERR_OK;
    for (size_t i = 0; i < turn.len; i++)
        if (err != ERR_OK && turn.items[i].answer.is_changed)
            turn.items[i].result = err;
    tell_changes(vault, &turn);
    for (size_t i = 0; i < turn.len; i++) {
        if (turn.items[i].result == ERR_OK && turn.items[i].answer.forgets[0] != '\0')
            tell_keepers(vault, turn.items[i].answer.forgets);
        send_answer(vault, &turn.items[i]);
    }
    close_dropped(vault);
    if (turn.is_changed)
        vault->is_too_big = true;
}

/* Takes the socket over; "" for the account: it is no keeper's. */
static void add_client(struct vault *vault, int client, const char *account, struct span proof)
{
    const bool is_command = proof.len > 0;
    const bool is_keeper = *account != '\0';
    const nfds_t others = vault->sockets_len - 1 - vault->keepers_len;
    char *name = is_keeper ? strdup(account) : NULL;
    if ((is_keeper && (name == NULL || vault->keepers_len == VAULT_KEEPERS_MAX)) ||
        (!is_keeper && others == VAULT_CLIENTS_MAX)) {
        log_warning("too many clients");
        free(name);
        close(client);
        return;
    }
    vault->accounts[vault->sockets_len] = name;
    if (is_command && secret_set(&vault->proofs[vault->sockets_len], proof, PROXY_VAULT_PROOF_SIZE) != ERR_OK) {
        log_warning("a command cannot be heard");
        free(name);
        close(client);
        return;
    }
    vault->are_commands[vault->sockets_len] = is_command;
    vault->sockets[vault->sockets_len++] = (struct pollfd){.fd = client, .events = POLLIN};
    vault->keepers_len += is_keeper;
}

static enum err take_client(struct vault *vault)
{
    char account[MIME_ADDR_SIZE] = "";
    struct span proof = SPAN_NONE;
    struct ipc_in in;
    enum err err = ipc_recv(vault->sockets[0].fd, &in);
    if (err != ERR_OK)
        return err;
    const bool is_keeper = ipc_type(&in) == PROXY_VAULT_KEEPER;
    if (is_keeper)
        ipc_get_string(&in, account, sizeof(account));
    const bool is_command = ipc_type(&in) == PROXY_VAULT_COMMAND;
    if (is_command)
        proof = ipc_get_span(&in);
    int client = is_keeper || is_command || ipc_type(&in) == PROXY_VAULT_CLIENT ? ipc_get_file(&in) : -1;
    err = client < 0 || (is_keeper && account[0] == '\0') || (is_command && proof.len == 0) ? ERR_PEER_PROTOCOL
                                                                                            : ipc_in_end(&in);
    if (err == ERR_OK)
        add_client(vault, client, account, proof);
    else if (client >= 0)
        close(client);
    ipc_in_fini(&in);
    return err;
}

static void expire(struct vault *vault)
{
    int64_t now = clock_now();
    if (vault->expired_at != 0 && now - vault->expired_at < VAULT_EXPIRE_EVERY_S)
        return;
    vault->expired_at = now;
    enum err err = store_delivery_expire(vault->store, now);
    if (err != ERR_OK)
        log_failure(err, "dropping old delivery records");
}

/* A step at a time, so that nobody waits long. */
static void shrink(struct vault *vault)
{
    if (!vault->is_too_big)
        return;
    enum err err = store_view_shrink(vault->store, vault->config->store_max);
    vault->is_too_big = err == ERR_AGAIN;
    if (err != ERR_OK && err != ERR_AGAIN)
        log_failure(err, "dropping old views");
}

static enum err serve(struct vault *vault)
{
    for (;;) {
        expire(vault);
        shrink(vault);
        int wait_ms = vault->is_too_big ? 0 : VAULT_EXPIRE_EVERY_S * 1000;
        if (poll(vault->sockets, vault->sockets_len, wait_ms) < 0) {
            if (errno == EINTR)
                continue;
            return err_of_errno(errno);
        }
        serve_clients(vault);
        if (vault->sockets[0].revents != 0) {
            enum err err = take_client(vault);
            if (err != ERR_OK)
                return err;
        }
    }
}

/* What systemd has for us, if it has anything (systemd.exec(5), LoadCredential). What cannot be used is as good as not
   there: what is sealed with it stays locked. */
static void read_credential(struct secret *credential)
{
    char path[CONFIG_PATH_SIZE], bytes[CREDENTIAL_MAX + 1];
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (dir == NULL || (size_t)snprintf(path, sizeof(path), "%s/" CREDENTIAL_NAME, dir) >= sizeof(path))
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno != ENOENT)
            log_error("%s: %s", path, strerror(errno));
        return;
    }
    ssize_t len = read(fd, bytes, sizeof(bytes));
    close(fd);
    enum err err = len < 0 ? err_of_errno(errno) : len < STORE_CREDENTIAL_MIN ? ERR_LIMIT : ERR_OK;
    if (err == ERR_OK)
        err = secret_set(credential, (struct span){bytes, (size_t)len}, CREDENTIAL_MAX);
    if (err != ERR_OK)
        log_failure(err, "%s: expected %d to %d bytes", path, STORE_CREDENTIAL_MIN, CREDENTIAL_MAX);
    secret_wipe(bytes, sizeof(bytes));
}

static enum err open_store(struct vault *vault, const char *dir, const struct secret *credential)
{
    enum err err = store_open(dir, &vault->store);
    if (err == ERR_OK && credential->len > 0)
        err = store_use_credential(vault->store, secret_span(credential));
    return err;
}

int proxy_vault_main(const struct config *config, int control)
{
    struct vault vault = {
        .config = config, .sockets = {{.fd = control, .events = POLLIN}}, .sockets_len = 1, .is_too_big = true};
    struct secret credential = {NULL, 0};
    char dir[CONFIG_PATH_SIZE];
    log_init("vault", config->log_level);
    read_credential(&credential);
    /* Net processes that drain still need it; it ends when the master closes its socket. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the request */
    enum err err = config_state_path(config, "store", dir) ? ERR_OK : ERR_CONFIG;
    if (err == ERR_OK) {
        struct sandbox_options options = {.role = SANDBOX_VAULT, .writable_dirs = {dir}, .user = config->user};
        err = sandbox_enter(&options);
    }
    if (err == ERR_OK)
        err = open_store(&vault, dir, &credential);
    secret_fini(&credential);
    if (err == ERR_OK)
        err = serve(&vault);
    for (nfds_t i = 1; i < vault.sockets_len; i++) {
        free(vault.accounts[i]);
        secret_fini(&vault.proofs[i]);
    }
    store_close(&vault.store);
    if (err == ERR_END)
        return 0;
    log_failure(err, "vault");
    return 3;
}
