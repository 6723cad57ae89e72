/*
 * Raw messages that are needed: fetched a few at a time, told apart by their digest, and opened by keepers several at
 * once. What is under way is bounded in number and in bytes.
 */
#include "proxy/imap_prepare.h"

#include "base/memfd.h"
#include "proxy/vault_views.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPENINGS_MAX 16
#define OPENINGS_SIZE_MAX ((uint64_t)32 << 20) /* or a single message */
#define SIZE_UNKNOWN ((uint64_t)1 << 20)
#define RAW_ITEMS "(UID BODY.PEEK[])"

/* ---- the life of an opening ---- */

static void free_opening(struct imap_opening *opening)
{
    struct imap_prepare *prepare = opening->prepare;
    proxy_views_cancel(&opening->wait);
    proxy_vault_cancel(&opening->request);
    if (opening->fd >= 0)
        (void)close(opening->fd);
    if (opening->body >= 0)
        (void)close(opening->body);
    TAILQ_REMOVE(&prepare->openings, opening, link);
    prepare->openings_len--;
    prepare->openings_size -= opening->size;
    free(opening);
}

static void end_opening(struct imap_opening *opening, enum err err)
{
    struct imap_prepare *prepare = opening->prepare;
    size_t index = opening->index;
    free_opening(opening);
    if (err != ERR_OK && err != ERR_KEY_LOCKED)
        log_failure(err, "%s: opening message with UID %u", imap_prepare_session(prepare)->peer,
                    prepare->targets[index].uid);
    imap_prepare_settle(prepare, index, err);
    imap_prepare_step(prepare);
}

static struct imap_target *target_of(const struct imap_opening *opening)
{
    return &opening->prepare->targets[opening->index];
}

static struct proxy_views *views_of(const struct imap_opening *opening)
{
    return imap_prepare_session(opening->prepare)->net->views;
}

static int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* ---- opening ---- */

static void on_body(enum err err, struct proxy_body *body, void *context)
{
    struct imap_opening *opening = context;
    opening->wait = NULL;
    target_of(opening)->body = err == ERR_OK ? body : NULL;
    end_opening(opening, err);
}

static void make_body(struct imap_opening *opening, int fd)
{
    enum err err = proxy_views_body(views_of(opening), &target_of(opening)->id, fd, on_body, opening, &opening->wait);
    if (err != ERR_OK)
        end_opening(opening, err);
}

static void on_opened(enum err err, const struct proxy_record *record, bool is_plain, void *context)
{
    struct imap_opening *opening = context;
    struct imap_mailbox *mailbox = imap_prepare_session(opening->prepare)->mailbox;
    struct imap_target *target = target_of(opening);
    (void)record;
    opening->wait = NULL;
    if (err == ERR_OK && is_plain) {
        target->class = IMAP_CLASS_PLAIN;
        imap_mailbox_set_plain(mailbox, target->uid);
        end_opening(opening, ERR_OK);
        return;
    }
    bool is_known = target->class == IMAP_CLASS_VIEW;
    target->class = IMAP_CLASS_VIEW;
    if (err == ERR_OK && !is_known)
        imap_mailbox_set_view(mailbox, target->uid, &target->id);
    if (err != ERR_OK || (opening->prepare->needs & IMAP_PREPARE_BODY) == 0) {
        end_opening(opening, err);
        return;
    }
    target->body = proxy_views_hold(views_of(opening), &target->id);
    if (target->body)
        end_opening(opening, ERR_OK);
    else
        make_body(opening, take_fd(&opening->body));
}

static void open_view(struct imap_opening *opening)
{
    int fd = take_fd(&opening->fd);
    enum err err = ERR_OK;
    if ((opening->prepare->needs & IMAP_PREPARE_BODY) != 0) {
        opening->body = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (opening->body < 0)
            err = ERR_IO;
    }
    if (err == ERR_OK)
        err = proxy_views_open(views_of(opening), &target_of(opening)->id, fd,
                               imap_mailbox_is_heard(imap_prepare_session(opening->prepare)->mailbox), on_opened,
                               opening, &opening->wait);
    else
        (void)close(fd);
    if (err != ERR_OK)
        end_opening(opening, err);
}

/* ---- which view it is ---- */

static void on_places(enum err err, const struct store_place *places, size_t len, void *context)
{
    struct imap_opening *opening = context;
    struct imap_target *target = target_of(opening);
    opening->request = NULL;
    for (size_t i = 0; err == ERR_OK && i < len; i++)
        if (places[i].uid == target->uid && places[i].is_view &&
            memcmp(places[i].digest, target->id.digest, sizeof target->id.digest) == 0)
            target->id.generation = places[i].generation;
    if (err == ERR_OK)
        open_view(opening);
    else
        end_opening(opening, err);
}

/* Generation 0, whatever a copy elsewhere was judged later: places of later generations are never lost, so a UID
   without one has never been shown as another (store/view.h). But where there is a later one, a session may have made
   this message as a copy, and its place, since this session asked for places. */
static void on_generation(enum err err, uint32_t generation, void *context)
{
    struct imap_opening *opening = context;
    struct imap_session *session = imap_prepare_session(opening->prepare);
    opening->request = NULL;
    if (err == ERR_NOT_FOUND || (err == ERR_OK && generation == 0)) {
        open_view(opening);
        return;
    }
    struct store_mailbox mailbox = {.account = imap_session_account(session)->address,
                                    .name = imap_mailbox_key(session->mailbox),
                                    .uid_validity = imap_mailbox_uid_validity(session->mailbox)};
    if (err == ERR_OK)
        err = proxy_vault_places_get(session->net->vault, &mailbox, on_places, opening, &opening->request);
    if (err != ERR_OK)
        end_opening(opening, err);
}

static void ask_generation(struct imap_opening *opening)
{
    struct imap_session *session = imap_prepare_session(opening->prepare);
    enum err err =
        proxy_vault_view_generation(session->net->vault, imap_session_account(session)->address,
                                    target_of(opening)->id.digest, on_generation, opening, &opening->request);
    if (err != ERR_OK)
        end_opening(opening, err);
}

static enum err digest_of(int fd, uint64_t size_max, uint8_t digest_out[STORE_DIGEST_SIZE])
{
    struct span content;
    enum err err = memfd_map(fd, (size_t)size_max, &content);
    if (err != ERR_OK)
        return err;
    if (EVP_Digest(content.ptr ? content.ptr : "", content.len, digest_out, NULL, EVP_sha256(), NULL) != 1)
        err = ERR_INTERNAL;
    memfd_unmap(&content);
    return err;
}

static void begin(struct imap_opening *opening)
{
    struct imap_session *session = imap_prepare_session(opening->prepare);
    struct imap_target *target = target_of(opening);
    uint8_t digest[STORE_DIGEST_SIZE];
    struct proxy_record record;
    enum err err = digest_of(opening->fd, opening->size, digest);
    bool is_same = target->class == IMAP_CLASS_VIEW && memcmp(digest, target->id.digest, sizeof digest) == 0;
    if (err != ERR_OK) {
        end_opening(opening, err);
        return;
    }
    if (is_same) {
        if ((opening->prepare->needs & IMAP_PREPARE_TEXT) == 0 &&
            proxy_views_peek(session->net->views, &target->id, &record))
            make_body(opening, take_fd(&opening->fd));
        else
            open_view(opening);
        return;
    }
    if (target->class == IMAP_CLASS_VIEW)
        log_warning("%s: the server has changed the message with UID %u", session->peer, target->uid);
    target->class = IMAP_CLASS_UNKNOWN;
    target->id = (struct proxy_view_id){.account = session->account};
    memcpy(target->id.digest, digest, sizeof digest);
    ask_generation(opening);
}

/* ---- what the server says ---- */

/* The content of the string at the front of `value`, as a sealed file. ERR_TOO_BIG: it was not kept; ERR_NOT_FOUND:
   there is none, as Dovecot says of what others have expunged. */
static enum err file_of(struct imap_unit *unit, struct span value, int *fd_out, uint64_t *size_out)
{
    struct imap_cursor cursor;
    struct imap_string string;
    struct buf text;
    *fd_out = -1;
    imap_cursor_init(&cursor, unit);
    cursor.at = (size_t)(value.ptr - cursor.text.ptr);
    if (!imap_take_nstring(&cursor, &string) || string.kind == IMAP_NIL)
        return ERR_NOT_FOUND;
    *size_out = string.len;
    if (string.kind == IMAP_LITERAL && !string.raw.ptr) {
        *fd_out = imap_unit_take_file(unit, string.literal);
        return *fd_out >= 0 ? ERR_OK : ERR_TOO_BIG;
    }
    if (string.kind == IMAP_LITERAL)
        return memfd_of("message", string.raw, string.raw.len, fd_out);
    buf_init(&text, (size_t)string.len + 1);
    enum err err = imap_string_add(&string, &text);
    if (err == ERR_OK)
        err = memfd_of("message", buf_span(&text), text.len, fd_out);
    *size_out = text.len;
    buf_fini(&text);
    return err;
}

/* One that grew beyond what may be opened is shown as it came. */
static void give_up(struct imap_prepare *prepare, size_t index, enum err err)
{
    struct imap_target *target = &prepare->targets[index];
    if (err == ERR_TOO_BIG && target->class != IMAP_CLASS_VIEW) {
        target->class = IMAP_CLASS_PLAIN;
        imap_mailbox_set_plain(imap_prepare_session(prepare)->mailbox, target->uid);
        err = ERR_OK;
    }
    imap_prepare_settle(prepare, index, err);
}

bool imap_raw_hear(struct imap_prepare *prepare, size_t index, const struct imap_answer *answers, size_t len,
                   struct imap_unit *unit)
{
    struct span value = imap_answer_find(answers, len, "BODY[]");
    uint64_t size = 0;
    int fd = -1;
    if (!value.ptr)
        return false;
    enum err err = file_of(unit, value, &fd, &size);
    if (err == ERR_NOT_FOUND)
        return true;
    if (err == ERR_OK && size > imap_prepare_session(prepare)->net->config->message_max)
        err = ERR_TOO_BIG;
    struct imap_opening *opening = err == ERR_OK ? calloc(1, sizeof *opening) : NULL;
    if (!opening) {
        if (fd >= 0)
            (void)close(fd);
        give_up(prepare, index, err == ERR_OK ? ERR_MEMORY : err);
        return true;
    }
    *opening = (struct imap_opening){.prepare = prepare, .index = index, .size = size, .fd = fd, .body = -1};
    TAILQ_INSERT_TAIL(&prepare->openings, opening, link);
    prepare->openings_len++;
    prepare->openings_size += size;
    prepare->pending[index].state = PENDING_OPENING;
    begin(opening);
    return true;
}

static void on_fetched(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    (void)client;
    imap_prepare_answered(context, PENDING_FETCHING, reply);
}

/* Marks what is to be asked for next: as many as there is room for, half of the room at least. */
static size_t choose(struct imap_prepare *prepare)
{
    size_t chosen = 0, room = OPENINGS_MAX - prepare->openings_len;
    uint64_t size = prepare->openings_size;
    if (room < OPENINGS_MAX / 2)
        return 0;
    for (; prepare->next < prepare->len && chosen < room; prepare->next++) {
        struct imap_pending *pending = &prepare->pending[prepare->next];
        if (pending->state != PENDING_RAW)
            continue;
        size += pending->size > 0 ? pending->size : SIZE_UNKNOWN;
        if (size > OPENINGS_SIZE_MAX && chosen + prepare->openings_len > 0)
            break;
        pending->state = PENDING_FETCHING;
        chosen++;
    }
    return chosen;
}

void imap_raw_step(struct imap_prepare *prepare)
{
    while (!prepare->is_asking && choose(prepare) > 0) {
        enum err err = imap_prepare_ask(prepare, PENDING_FETCHING, RAW_ITEMS, on_fetched);
        for (size_t i = 0; i < prepare->len && err != ERR_OK; i++)
            if (prepare->pending[i].state == PENDING_FETCHING)
                imap_prepare_settle(prepare, i, err);
    }
}

void imap_raw_free(struct imap_prepare *prepare)
{
    struct imap_opening *opening;
    while ((opening = TAILQ_FIRST(&prepare->openings)) != NULL)
        free_opening(opening);
}
