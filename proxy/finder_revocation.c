/*
 * What issuers have revoked: asked for keepers, about chains that lead to an anchor of their account. Answers go back
 * as they came, since the keeper judges them; here they are judged to know which are worth keeping.
 */
#include "proxy/finder_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memfd.h"
#include "keyring/revocation_ask.h"
#include "proxy/wire.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#define FETCH_MAX_MS 5000
/* All of a chain: much less than a job may take, or a keeper waits. */
#define ASK_MAX_MS 10000
#define PATH_SIZE_MAX ((size_t)1 << 20)
#define ANSWERS_SIZE_MAX (KEYRING_ANSWER_MAX * 2)

struct asking {
    LIST_ENTRY(asking) link;
    struct finder_client *client;
    uint32_t number;
    struct keyring_ask *ask;
};

struct finder_revocation {
    const struct config *config;
    struct keyring_asker *asker;
    struct keyring_fetch_directory *directories;
    struct keyring_anchors **anchors; /* one for each account; NULL: nobody asks for it */
    LIST_HEAD(, asking) askings;
};

static void asking_free(struct asking *asking)
{
    LIST_REMOVE(asking, link);
    keyring_ask_cancel(&asking->ask);
    free(asking);
}

static void answer_error(struct finder_client *client, uint32_t number, enum err err)
{
    struct ipc_out out;
    finder_answer_begin(&out, number, err);
    finder_answer_send(client, &out);
}

/* Puts together what was answered; what would be too much is left out, and so unknown. */
static enum err gather(const struct keyring_asked *asked, size_t len, bool *is_in, struct buf *bytes)
{
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        is_in[i] = asked[i].answer.len > 0 && asked[i].answer.len <= ANSWERS_SIZE_MAX - bytes->len;
        if (is_in[i])
            err = buf_add_span(bytes, asked[i].answer);
    }
    return err;
}

static void on_asked(void *context, const struct keyring_asked *asked, size_t len)
{
    struct asking *asking = context;
    bool is_in[KEYRING_CHAIN_MAX] = {false};
    uint32_t count = 0;
    struct ipc_out out;
    struct buf bytes;
    int fd = -1;
    buf_init(&bytes, ANSWERS_SIZE_MAX);
    enum err err = gather(asked, len, is_in, &bytes);
    if (err == ERR_OK && bytes.len > 0)
        err = memfd_of("revocation", buf_span(&bytes), ANSWERS_SIZE_MAX, &fd);
    buf_fini(&bytes);
    for (size_t i = 0; i < len; i++)
        count += is_in[i];
    finder_answer_begin(&out, asking->number, err);
    if (err == ERR_OK)
        ipc_put_u32(&out, count);
    for (uint32_t i = 0; err == ERR_OK && i < len; i++) {
        if (!is_in[i])
            continue;
        ipc_put_u32(&out, i);
        ipc_put_u32(&out, (uint32_t)asked[i].kind);
        ipc_put_u32(&out, (uint32_t)asked[i].answer.len);
    }
    if (err == ERR_OK && fd >= 0)
        ipc_put_file(&out, fd);
    finder_answer_send(asking->client, &out);
    if (fd >= 0)
        close(fd);
    /* It is over. */
    asking->ask = NULL;
    asking_free(asking);
}

/* ---- the chain ---- */

/* Certificates one after the other. NULL: they are not, or too many. */
static STACK_OF(X509) * read_path(struct span bytes)
{
    const unsigned char *at = (const unsigned char *)bytes.ptr, *const end = at + bytes.len;
    STACK_OF(X509) *path = sk_X509_new_null();
    while (path != NULL && at < end) {
        X509 *certificate = sk_X509_num(path) > KEYRING_CHAIN_MAX ? NULL : d2i_X509(NULL, &at, (long)(end - at));
        if (certificate == NULL || sk_X509_push(path, certificate) <= 0) {
            X509_free(certificate);
            sk_X509_pop_free(path, X509_free);
            path = NULL;
        }
    }
    ERR_clear_error();
    return path;
}

static bool is_same(STACK_OF(X509) * a, STACK_OF(X509) * b)
{
    bool is = sk_X509_num(a) == sk_X509_num(b);
    for (int i = 0; is && i < sk_X509_num(a); i++)
        is = X509_cmp(sk_X509_value(a, i), sk_X509_value(b, i)) == 0;
    return is;
}

/* True if this is the path that we would go ourselves. */
static bool is_verified(const struct keyring_anchors *anchors, STACK_OF(X509) * path, int64_t now)
{
    static const enum keyring_purpose purposes[] = {KEYRING_SIGN, KEYRING_ENCRYPT};
    bool is_good = false;
    for (size_t i = 0; !is_good && anchors != NULL && i < sizeof(purposes) / sizeof(*purposes); i++) {
        enum keyring_chain chain;
        const char *reason;
        STACK_OF(X509) *found = NULL, *others = sk_X509_dup(path);
        X509 *leaf = others == NULL ? NULL : sk_X509_shift(others);
        is_good = leaf != NULL &&
                  keyring_x509_chain(anchors, leaf, others, purposes[i], now, &chain, &reason, &found) == ERR_OK &&
                  chain == KEYRING_CHAIN_GOOD && is_same(found, path);
        sk_X509_pop_free(found, X509_free);
        sk_X509_free(others);
    }
    return is_good;
}

static enum err begin(struct finder_client *client, uint32_t number, STACK_OF(X509) * path, bool is_anew)
{
    struct finder_revocation *revocation = client->finder->revocation;
    const struct keyring_anchors *anchors = revocation->anchors[client->account - revocation->config->accounts];
    const int64_t now = clock_now();
    if (!is_verified(anchors, path, now)) {
        log_warning("a keeper asks about a chain that leads to no anchor of %s", client->account->address);
        return ERR_REFUSED;
    }
    struct asking *asking = calloc(1, sizeof(*asking));
    if (asking == NULL)
        return ERR_MEMORY;
    *asking = (struct asking){.client = client, .number = number};
    enum err err = keyring_ask_begin(revocation->asker, path, now, now, ASK_MAX_MS, on_asked, asking, &asking->ask);
    if (err == ERR_OK && is_anew)
        keyring_ask_anew(asking->ask);
    if (err == ERR_OK)
        LIST_INSERT_HEAD(&revocation->askings, asking, link);
    else
        free(asking);
    return err;
}

enum err finder_revocation_ask(struct finder_client *client, uint32_t number, struct ipc_in *in)
{
    struct span bytes;
    const bool is_anew = ipc_get_u32(in) != 0;
    int fd = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK)
        err = memfd_map(fd, PATH_SIZE_MAX, &bytes);
    if (err == ERR_OK) {
        STACK_OF(X509) *path = read_path(bytes);
        memfd_unmap(&bytes);
        err = sk_X509_num(path) > 0 ? ERR_OK : ERR_PEER_PROTOCOL;
        if (err == ERR_OK) {
            enum err result = begin(client, number, path, is_anew);
            if (result != ERR_OK)
                answer_error(client, number, result);
        }
        sk_X509_pop_free(path, X509_free);
    }
    if (fd >= 0)
        close(fd);
    return err;
}

/* ---- */

void finder_revocation_forget(struct finder_revocation *revocation, const struct finder_client *client)
{
    struct asking *asking, *next;
    if (revocation == NULL)
        return;
    for (asking = LIST_FIRST(&revocation->askings); asking != NULL; asking = next) {
        next = LIST_NEXT(asking, link);
        if (asking->client == client)
            asking_free(asking);
    }
}

enum err finder_revocation_new(struct finder *finder, struct finder_revocation **revocation_out)
{
    const struct config *config = finder->config;
    struct finder_revocation *revocation = calloc(1, sizeof(*revocation));
    *revocation_out = revocation;
    if (revocation == NULL)
        return ERR_MEMORY;
    revocation->config = config;
    LIST_INIT(&revocation->askings);
    size_t directories_len;
    revocation->directories = finder_keys_directories(finder->keys, &directories_len);
    const struct keyring_fetch_options options = {.base = finder->base,
                                                  .dns = finder->whole_dns,
                                                  .hosts = (const char *const *)config->revocation_hosts,
                                                  .hosts_len = config->revocation_hosts_len,
                                                  .directories = revocation->directories,
                                                  .directories_len = directories_len,
                                                  .answer_max = KEYRING_ANSWER_MAX,
                                                  .timeout_ms = FETCH_MAX_MS};
    enum err err = keyring_asker_new(&options, &revocation->asker);
    if (err == ERR_OK && (revocation->anchors = calloc(config->accounts_len, sizeof(*revocation->anchors))) == NULL)
        err = ERR_MEMORY;
    for (size_t i = 0; err == ERR_OK && i < config->accounts_len; i++) {
        const struct config_account *account = &config->accounts[i];
        if (account->revocation == KEYRING_REVOCATION_OFF)
            continue;
        err = keyring_anchors_open(account->smime_ca, &revocation->anchors[i]);
        /* Has been logged: then no chain of the account's is asked about. */
        if (err != ERR_OK && err != ERR_MEMORY)
            err = ERR_OK;
    }
    return err;
}

void finder_revocation_free(struct finder_revocation **revocation_pointer)
{
    struct finder_revocation *revocation = *revocation_pointer;
    *revocation_pointer = NULL;
    if (revocation == NULL)
        return;
    while (!LIST_EMPTY(&revocation->askings))
        asking_free(LIST_FIRST(&revocation->askings));
    keyring_asker_free(&revocation->asker);
    for (size_t i = 0; revocation->anchors != NULL && i < revocation->config->accounts_len; i++)
        keyring_anchors_close(&revocation->anchors[i]);
    free(revocation->anchors);
    free(revocation->directories);
    free(revocation);
}
