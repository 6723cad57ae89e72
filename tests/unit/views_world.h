/*
 * A net process of one account with everything around its views played by the test: the master that gives keepers, the
 * keepers, and the vault. What they say is decided by the fields of struct world.
 */
#ifndef TESTS_UNIT_VIEWS_WORLD_H
#define TESTS_UNIT_VIEWS_WORLD_H

#include "base/memfd.h"
#include "imap/content.h"
#include "proxy/state.h"
#include "proxy/views.h"
#include "proxy/wire.h"
#include "proxy/wire_view.h"
#include "tests/unit/gpg_home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#define SIZE_MOST ((size_t)8 << 20)
#define VAULT_MAX 64
#define KEEPERS_MAX 8
#define MESSAGE_ID_DIGEST "0123456789abcdef0123456789abcdef"

/* What the vault has of one view. */
struct kept {
    uint8_t digest[STORE_DIGEST_SIZE];
    uint32_t generation;
    char decision[64];
    char record[4096];
    size_t record_len; /* 0: dropped */
    bool has_text;
};

struct world {
    char home[64];
    struct proxy_net net;
    struct config config;
    struct config_account account;
    char *addresses[1];
    int own, master, vault;
    int keepers[KEEPERS_MAX]; /* the tests' ends */
    size_t keepers_len;
    struct kept kept[VAULT_MAX];
    size_t kept_len;
    struct keyring *keyring; /* what LIST answers with */

    /* how they behave */
    enum err job_err, put_err, get_err, unlock_err, keys_err;
    bool is_keeper_dead, holds_jobs, holds_unlock, holds_vault, holds_keys;

    /* what they saw */
    unsigned lists, opens, decided_opens, bodies_alone, gets, puts, unlocks, keys_jobs;
    uint64_t list_number; /* of the home's state, as the last listing was asked for */
    size_t keys_asked;
    uint64_t index_number;
    char unlock_key[KEYRING_FPR_SIZE];
};

static inline struct kept *find_kept(struct world *world, const struct store_view_key *key)
{
    for (size_t i = 0; i < world->kept_len; i++)
        if (world->kept[i].generation == key->generation &&
            memcmp(world->kept[i].digest, key->digest, sizeof(key->digest)) == 0)
            return &world->kept[i];
    return NULL;
}

static inline struct kept *add_kept(struct world *world, const struct store_view_key *key, const char *decision)
{
    struct kept *kept = &world->kept[world->kept_len++];

    assert_true(world->kept_len <= VAULT_MAX);
    *kept = (struct kept){.generation = key->generation};
    memcpy(kept->digest, key->digest, sizeof(kept->digest));
    snprintf(kept->decision, sizeof(kept->decision), "%s", decision);
    return kept;
}

static inline bool has_message(int socket)
{
    char byte;

    return socket >= 0 && recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static inline void answer_vault(struct world *world, enum err err, int fd)
{
    struct ipc_out out;

    ipc_out_begin(&out, PROXY_VAULT_DONE);
    ipc_put_u32(&out, (uint32_t)err);
    if (fd >= 0)
        ipc_put_file(&out, fd);
    assert_int_equal(ipc_send(world->vault, &out), ERR_OK);
    if (fd >= 0)
        close(fd);
}

static inline void vault_get(struct world *world, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key *keys;
    struct buf views;
    size_t len;
    int fd = -1;

    ipc_get_string(in, account, sizeof(account));
    assert_string_equal(account, world->account.address);
    struct span content = proxy_get_content(in, SIZE_MOST);
    assert_int_equal(ipc_in_end(in), ERR_OK);
    assert_int_equal(proxy_read_keys(content, account, &keys, &len), ERR_OK);
    memfd_unmap(&content);
    world->gets++;
    world->keys_asked += len;
    buf_init(&views, SIZE_MOST);
    for (size_t i = 0; i < len; i++) {
        struct kept *kept = find_kept(world, &keys[i]);
        struct proxy_vault_found found = {.is_found = kept != NULL};

        if (kept != NULL) {
            found.view.decision = span_of(kept->decision);
            found.view.session_keys = SPAN_LIT("keys");
            found.view.record = (struct span){kept->record, kept->record_len};
        }
        assert_int_equal(proxy_write_view(&found, &views), ERR_OK);
    }
    if (world->get_err == ERR_OK)
        assert_int_equal(memfd_of("views", buf_span(&views), SIZE_MOST, &fd), ERR_OK);
    answer_vault(world, world->get_err, fd);
    buf_fini(&views);
    free(keys);
}

static inline enum err keep_put(struct world *world, const struct store_view_key *key, struct span decision,
                                struct span record)
{
    struct kept *kept = find_kept(world, key);

    if (world->put_err != ERR_OK)
        return world->put_err;
    if (kept != NULL && !span_is_equal(decision, span_of(kept->decision)))
        return ERR_EXISTS;
    if (kept == NULL) {
        char text[64];

        assert_true(span_copy(decision, text, sizeof(text)));
        kept = add_kept(world, key, text);
    }
    assert_true(record.len > 0 && record.len <= sizeof(kept->record));
    memcpy(kept->record, record.ptr, record.len);
    kept->record_len = record.len;
    kept->has_text = true;
    return ERR_OK;
}

static inline void vault_put(struct world *world, struct ipc_in *in)
{
    char account[MIME_ADDR_SIZE];
    struct store_view_key key;

    proxy_get_view_key(in, account, &key);
    (void)ipc_get_u64(in);
    struct span decision = ipc_get_span(in), keys = ipc_get_span(in), ids = proxy_get_message_ids(in);
    struct span record = proxy_get_content(in, SIZE_MOST), text = proxy_get_content(in, SIZE_MOST);
    assert_int_equal(ipc_in_end(in), ERR_OK);
    assert_true(span_is_equal(keys, SPAN_LIT("keys")));
    assert_true(span_is_equal(ids, SPAN_LIT(MESSAGE_ID_DIGEST)));
    assert_true(span_is_equal(text, SPAN_LIT("text")));
    world->puts++;
    answer_vault(world, keep_put(world, &key, decision, record), -1);
    memfd_unmap(&record);
    memfd_unmap(&text);
}

static inline void serve_vault(struct world *world)
{
    while (!world->holds_vault && has_message(world->vault)) {
        struct ipc_in in;

        assert_int_equal(ipc_recv(world->vault, &in), ERR_OK);
        if (ipc_type(&in) == PROXY_VIEW_GET)
            vault_get(world, &in);
        else if (ipc_type(&in) == PROXY_VIEW_PUT)
            vault_put(world, &in);
        else
            fail();
        ipc_in_fini(&in);
    }
}

static inline void put_new_file(struct ipc_out *out, struct span content)
{
    int fd;

    assert_int_equal(memfd_of("test", content, SIZE_MOST, &fd), ERR_OK);
    ipc_put_file(out, fd); /* closed after sending */
}

/* The view of MESSAGE is the decision as a field, then MESSAGE; but "plain..." needs none. */
static inline void keeper_open(struct world *world, struct ipc_in *in, struct ipc_out *out)
{
    struct proxy_open_request request;
    struct mime_tree *tree;
    struct span message;
    struct buf view, record;
    char decision[64];

    proxy_get_open(in, &request);
    int fd = ipc_get_file(in), index = request.index_number != 0 ? ipc_get_file(in) : -1;
    assert_int_equal(ipc_in_end(in), ERR_OK);
    assert_int_equal(memfd_map(fd, SIZE_MOST, &message), ERR_OK);
    world->opens++;
    world->decided_opens += request.decision.len > 0;
    world->bodies_alone += !request.wants_record;
    if (request.index_number != 0)
        world->index_number = request.index_number;
    assert_true((request.decision.len > 0) == (request.index_number == 0));
    snprintf(decision, sizeof(decision), "judged %u", world->opens);
    if (request.decision.len > 0)
        assert_true(span_copy(request.decision, decision, sizeof(decision)));
    bool is_plain = span_has_prefix(message, SPAN_LIT("plain"));
    const struct proxy_open_answer answer = {.is_plain = is_plain,
                                             .decision = span_of(decision),
                                             .session_keys = SPAN_LIT("keys"),
                                             .encrypted_ids = SPAN_LIT(MESSAGE_ID_DIGEST)};
    proxy_put_opened(out, &answer);
    buf_init(&view, SIZE_MOST);
    buf_init(&record, SIZE_MOST);
    assert_int_equal(buf_addf(&view, "X: %s\r\n\r\n", decision), ERR_OK);
    assert_int_equal(buf_add_span(&view, message), ERR_OK);
    if (!is_plain)
        put_new_file(out, buf_span(&view));
    if (!is_plain && request.wants_record) {
        assert_int_equal(imap_content_parse(buf_span(&view), &tree), ERR_OK);
        assert_int_equal(proxy_record_save(tree->root, buf_span(&view), &record), ERR_OK);
        mime_tree_free(&tree);
        put_new_file(out, buf_span(&record));
        put_new_file(out, SPAN_LIT("text"));
    }
    buf_fini(&view);
    buf_fini(&record);
    memfd_unmap(&message);
    close(fd);
    if (index >= 0)
        close(index);
}

static inline void keeper_list(struct world *world, struct ipc_in *in, struct ipc_out *out)
{
    struct buf saved;

    world->list_number = ipc_get_u64(in);
    assert_int_equal(ipc_in_end(in), ERR_OK);
    buf_init(&saved, SIZE_MOST);
    assert_int_equal(keyring_save(world->keyring, &saved), ERR_OK);
    put_new_file(out, buf_span(&saved));
    buf_fini(&saved);
    world->lists++;
}

static inline void keeper_unlock(struct world *world, struct ipc_in *in)
{
    char reader[KEYRING_FPR_SIZE], signer[KEYRING_FPR_SIZE];
    uint32_t len = ipc_get_u32(in);

    assert_true(len <= 1);
    if (len > 0)
        ipc_get_string(in, world->unlock_key, sizeof(world->unlock_key));
    ipc_get_string(in, reader, sizeof(reader));
    ipc_get_string(in, signer, sizeof(signer));
    assert_int_equal(ipc_in_end(in), ERR_OK);
    if (len > 0) {
        assert_string_equal(reader, world->unlock_key);
        assert_string_equal(signer, world->unlock_key);
    }
    world->unlocks++;
}

/* The keys of the store are open after that. */
static inline void open_store(struct world *world)
{
    world->get_err = world->get_err == ERR_KEY_LOCKED ? ERR_OK : world->get_err;
    world->put_err = world->put_err == ERR_KEY_LOCKED ? ERR_OK : world->put_err;
}

static inline enum err err_of_job(const struct world *world, uint16_t type)
{
    return type == PROXY_JOB_OPEN     ? world->job_err
           : type == PROXY_JOB_UNLOCK ? world->unlock_err
           : type == PROXY_JOB_KEYS   ? world->keys_err
                                      : ERR_OK;
}

static inline void serve_job(struct world *world, int keeper)
{
    struct ipc_in in;
    struct ipc_out out;
    int files[IPC_FILES_MAX];

    assert_int_equal(ipc_recv(keeper, &in), ERR_OK);
    enum err err = err_of_job(world, ipc_type(&in));
    ipc_out_begin(&out, PROXY_JOB_DONE);
    ipc_put_u32(&out, (uint32_t)err);
    if (err == ERR_OK && (ipc_type(&in) == PROXY_JOB_UNLOCK || ipc_type(&in) == PROXY_JOB_KEYS))
        open_store(world);
    if (ipc_type(&in) == PROXY_JOB_UNLOCK)
        keeper_unlock(world, &in);
    else if (ipc_type(&in) == PROXY_JOB_KEYS)
        world->keys_jobs += ipc_in_end(&in) == ERR_OK;
    else if (ipc_type(&in) == PROXY_JOB_LIST)
        keeper_list(world, &in, &out);
    else if (err == ERR_OK)
        keeper_open(world, &in, &out);
    else
        world->opens++;
    size_t files_len = out.files_len;
    memcpy(files, out.files, sizeof(files));
    assert_int_equal(ipc_send(keeper, &out), ERR_OK);
    for (size_t i = 0; i < files_len; i++)
        close(files[i]);
    ipc_in_fini(&in);
}

/* The type of the job that waits at a keeper; 0 if none does. */
static inline uint16_t job_at(int keeper)
{
    uint16_t type = 0;

    return recv(keeper, &type, sizeof(type), MSG_PEEK | MSG_DONTWAIT) == (ssize_t)sizeof(type) ? type : 0;
}

static inline void serve_keepers(struct world *world)
{
    for (size_t i = 0; i < world->keepers_len; i++) {
        uint16_t type = world->keepers[i] < 0 ? 0 : job_at(world->keepers[i]);

        if (type == 0 || (type == PROXY_JOB_OPEN && world->holds_jobs) ||
            (type == PROXY_JOB_UNLOCK && world->holds_unlock) || (type == PROXY_JOB_KEYS && world->holds_keys))
            continue;
        if (type == PROXY_JOB_OPEN && world->is_keeper_dead) {
            close(world->keepers[i]);
            world->keepers[i] = -1;
            continue;
        }
        serve_job(world, world->keepers[i]);
    }
}

static inline void serve_master(struct world *world)
{
    while (has_message(world->master)) {
        struct ipc_in in;
        int ends[2];

        assert_int_equal(ipc_recv(world->master, &in), ERR_OK);
        if (ipc_type(&in) == PROXY_MASTER_NEED_KEEPER) {
            assert_int_equal(ipc_pair(true, ends), ERR_OK);
            assert_true(world->keepers_len < KEEPERS_MAX);
            world->keepers[world->keepers_len++] = ends[1];
            proxy_pool_keeper(world->net.pool, 0, (uint32_t)world->keepers_len, ends[0]);
        }
        ipc_in_fini(&in);
    }
}

static inline void turn(struct world *world)
{
    event_base_loop(world->net.base, EVLOOP_NONBLOCK);
    serve_master(world);
    serve_keepers(world);
    serve_vault(world);
    event_base_loop(world->net.base, EVLOOP_NONBLOCK);
}

static inline void settle(struct world *world)
{
    for (int i = 0; i < 30; i++)
        turn(world);
}

static inline void on_vault_lost(void *context)
{
    (void)context;
    fail();
}

static inline int world_open(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    int ends[2];

    *state = world;
    snprintf(world->home, sizeof(world->home), "/tmp/privyseal-views-XXXXXX");
    assert_non_null(mkdtemp(world->home));
    snprintf(world->account.address, sizeof(world->account.address), "alice@example.org");
    snprintf(world->account.gnupghome, sizeof(world->account.gnupghome), "%s", world->home);
    world->addresses[0] = world->account.address;
    world->account.addresses = world->addresses;
    world->account.addresses_len = 1;
    world->config = (struct config){.accounts = &world->account,
                                    .accounts_len = 1,
                                    .keepers_max = 3,
                                    .job_timeout_ms = 60000,
                                    .message_max = SIZE_MOST / 2,
                                    .view_cache_max = (uint64_t)1 << 20};
    snprintf(world->config.state_dir, sizeof(world->config.state_dir), "%s", world->home);
    assert_int_equal(proxy_state_prepare_account(&world->config, &world->account), ERR_OK);
    world->net.config = &world->config;
    world->net.base = event_base_new();
    assert_int_equal(keyring_new(&world->keyring), ERR_OK);
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    world->own = world->net.master = ends[0];
    world->master = ends[1];
    assert_int_equal(proxy_pool_new(world->net.base, &world->config, ends[0], &world->net.pool), ERR_OK);
    assert_int_equal(proxy_ring_new(&world->config, &world->net.ring), ERR_OK);
    proxy_ring_set_pool(world->net.ring, world->net.pool);
    assert_int_equal(proxy_vaultlink_new(world->net.base, on_vault_lost, world, &world->net.vault), ERR_OK);
    assert_int_equal(ipc_pair(true, ends), ERR_OK);
    world->vault = ends[1];
    proxy_vaultlink_connect(world->net.vault, ends[0]);
    assert_int_equal(proxy_views_new(&world->net, &world->net.views), ERR_OK);
    return 0;
}

static inline int world_close(void **state)
{
    struct world *world = *state;

    proxy_views_free(&world->net.views);
    proxy_vaultlink_free(&world->net.vault);
    proxy_ring_free(&world->net.ring);
    proxy_pool_free(&world->net.pool);
    for (size_t i = 0; i < world->keepers_len; i++)
        if (world->keepers[i] >= 0)
            close(world->keepers[i]);
    close(world->own);
    close(world->master);
    close(world->vault);
    keyring_free(&world->keyring);
    event_base_free(world->net.base);
    gpg_home_remove(world->home);
    free(world);
    return 0;
}

/* What somebody who waits was told. */
struct told {
    unsigned times;
    enum err err;
    bool is_plain, has_record;
    uint64_t size;
    char header[128];
    struct proxy_body *body;
    struct proxy_view_wait *wait;
};

static inline struct proxy_view_id id_of(uint8_t number)
{
    struct proxy_view_id id = {.account = 0, .generation = number % 2};

    memset(id.digest, number, sizeof(id.digest));
    return id;
}

static inline struct store_view_key key_of(uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct store_view_key key = {.account = "alice@example.org", .generation = id.generation};

    memcpy(key.digest, id.digest, sizeof(key.digest));
    return key;
}

static inline void on_record(enum err err, const struct proxy_record *record, bool is_plain, void *context)
{
    struct told *told = context;

    told->wait = NULL;
    told->times++;
    told->err = err;
    told->is_plain = is_plain;
    told->has_record = record != NULL;
    if (record != NULL) {
        told->size = record->size;
        assert_true(span_copy(record->header, told->header, sizeof(told->header)));
    }
}

static inline void on_body(enum err err, struct proxy_body *body, void *context)
{
    struct told *told = context;

    told->wait = NULL;
    told->times++;
    told->err = err;
    told->body = body;
    assert_true((body != NULL) == (err == ERR_OK));
}

static inline int file_of(const char *text)
{
    int fd;

    assert_int_equal(memfd_of("raw", span_of(text), SIZE_MOST, &fd), ERR_OK);
    return fd;
}

static inline void open_view(struct world *world, uint8_t number, const char *text, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_open(world->net.views, &id, file_of(text), false, on_record, told, &told->wait),
                     ERR_OK);
    assert_int_equal(told->times, 0);
}

static inline void ask_body(struct world *world, uint8_t number, const char *text, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_body(world->net.views, &id, file_of(text), on_body, told, &told->wait), ERR_OK);
    assert_int_equal(told->times, 0);
}

static inline void ask_record(struct world *world, uint8_t number, struct told *told)
{
    struct proxy_view_id id = id_of(number);

    *told = (struct told){0};
    assert_int_equal(proxy_views_record(world->net.views, &id, on_record, told, &told->wait), ERR_OK);
    assert_int_equal(told->times, 0);
}

static inline bool has_record(struct world *world, uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct proxy_record record;

    return proxy_views_peek(world->net.views, &id, &record);
}

static inline bool has_body(struct world *world, uint8_t number)
{
    struct proxy_view_id id = id_of(number);
    struct proxy_body *body = proxy_views_hold(world->net.views, &id);
    bool is_there = body != NULL;

    proxy_views_release(world->net.views, &body);
    return is_there;
}

static inline void assert_told(const struct told *told, enum err err, const char *header)
{
    assert_int_equal(told->times, 1);
    assert_int_equal(told->err, err);
    assert_int_equal(told->has_record, header != NULL);
    if (header != NULL)
        assert_string_equal(told->header, header);
}

static inline void assert_body(struct world *world, struct told *told, const char *text)
{
    assert_int_equal(told->times, 1);
    assert_int_equal(told->err, ERR_OK);
    assert_true(span_is_equal(told->body->bytes, span_of(text)));
    assert_non_null(told->body->tree->root);
    proxy_views_release(world->net.views, &told->body);
    assert_null(told->body);
}

#define WORLD_CASE(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)

#endif
