/*
 * The selected mailbox: which message has which UID, and which of them have views.
 */
#include "proxy/imap_internal.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "crypto/heard.h"
#include "proxy/vault_views.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_SIZE 4096
/* Places are told to the vault in groups: nobody waits for them, and each costs a commit. */
#define PENDING_MAX 1024
#define FLUSH_AFTER_MS 200
#define HEARD_MAX ((size_t)1 << 20) /* bytes told at once */

struct place {
    uint32_t uid;
    enum imap_class class; /* IMAP_CLASS_VIEW or IMAP_CLASS_CANDIDATE */
    uint32_t generation;
    uint32_t size; /* of a candidate; what may be opened is smaller than 4 GiB */
    bool has_alias;
    uint8_t digest[STORE_DIGEST_SIZE]; /* of a candidate: its alias */
};

struct imap_mailbox {
    struct imap_session *session;
    struct buf name, key; /* as the client says it, and as the vault knows it */
    uint32_t uid_validity;
    struct imap_map *map;
    struct imap_set plain; /* UIDs of messages that need no view */
    struct imap_set views; /* those of `places` that are known to have one */
    struct place *places;  /* ascending by UID */
    size_t places_len, places_capacity;
    struct store_place *pending; /* not told to the vault yet; allocated when needed */
    size_t pending_len;
    struct buf heard; /* what messages tell by Autocrypt, not told to the vault yet */
    bool is_unheard;  /* nothing is taken of mail here */
    struct event *flush;

    struct imap_set reopens; /* UIDs whose views are to be judged again */

    bool has_places; /* the vault was asked */
    bool wants_uids; /* by whoever waits */
    bool is_asking;  /* our question for UIDs is open */
    uint32_t asked;  /* the last number that it is about */
    struct proxy_vault_request *request;
    imap_mailbox_fn fn; /* who waits for imap_mailbox_load */
    void *context;
};

static struct store_mailbox key_of(const struct imap_mailbox *mailbox)
{
    return (struct store_mailbox){.account = imap_session_account(mailbox->session)->address,
                                  .name = buf_span(&mailbox->key),
                                  .uid_validity = mailbox->uid_validity};
}

/* ---- classes ---- */

static size_t find_place(const struct imap_mailbox *mailbox, uint32_t uid)
{
    size_t low = 0, high = mailbox->places_len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (mailbox->places[middle].uid < uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct place *insert_place(struct imap_mailbox *mailbox, uint32_t uid)
{
    size_t at = find_place(mailbox, uid);
    if (at < mailbox->places_len && mailbox->places[at].uid == uid)
        return &mailbox->places[at];
    if (mailbox->places_len == mailbox->places_capacity) {
        size_t capacity = mailbox->places_capacity == 0 ? 64 : mailbox->places_capacity * 2;
        struct place *places = reallocarray(mailbox->places, capacity, sizeof(*places));
        if (places == NULL)
            return NULL;
        mailbox->places = places;
        mailbox->places_capacity = capacity;
    }
    memmove(mailbox->places + at + 1, mailbox->places + at, (mailbox->places_len - at) * sizeof(*mailbox->places));
    mailbox->places_len++;
    return &mailbox->places[at];
}

static void remove_candidate(struct imap_mailbox *mailbox, uint32_t uid)
{
    size_t at = find_place(mailbox, uid);
    if (at == mailbox->places_len || mailbox->places[at].uid != uid ||
        mailbox->places[at].class != IMAP_CLASS_CANDIDATE)
        return;
    mailbox->places_len--;
    memmove(mailbox->places + at, mailbox->places + at + 1, (mailbox->places_len - at) * sizeof(*mailbox->places));
}

static enum err keep_place(struct imap_mailbox *mailbox, const struct store_place *place)
{
    if (!place->is_view) {
        remove_candidate(mailbox, place->uid);
        return imap_set_add(&mailbox->plain, place->uid);
    }
    struct place *kept = insert_place(mailbox, place->uid);
    if (kept == NULL)
        return ERR_MEMORY;
    kept->uid = place->uid;
    kept->class = IMAP_CLASS_VIEW;
    kept->generation = place->generation;
    memcpy(kept->digest, place->digest, sizeof(kept->digest));
    return imap_set_add(&mailbox->views, place->uid);
}

enum imap_class imap_mailbox_class(const struct imap_mailbox *mailbox, uint32_t uid, struct proxy_view_id *id_out)
{
    size_t at = find_place(mailbox, uid);
    if (at < mailbox->places_len && mailbox->places[at].uid == uid) {
        const struct place *place = &mailbox->places[at];
        if (place->class != IMAP_CLASS_VIEW)
            return place->class;
        *id_out = (struct proxy_view_id){.account = mailbox->session->account, .generation = place->generation};
        memcpy(id_out->digest, place->digest, sizeof(id_out->digest));
        return IMAP_CLASS_VIEW;
    }
    return imap_set_has(&mailbox->plain, uid) ? IMAP_CLASS_PLAIN : IMAP_CLASS_UNKNOWN;
}

const struct imap_set *imap_mailbox_views(const struct imap_mailbox *mailbox)
{
    return &mailbox->views;
}

/* Nobody waits for that either. */
static void flush_heard(struct imap_mailbox *mailbox)
{
    int fd;
    if (mailbox->heard.len == 0)
        return;
    enum err err = memfd_of("heard", buf_span(&mailbox->heard), HEARD_MAX, &fd);
    if (err == ERR_OK)
        err = proxy_vault_peer_received(mailbox->session->net->vault, imap_session_account(mailbox->session)->address,
                                        fd, NULL, NULL, NULL);
    if (fd >= 0)
        close(fd);
    if (err != ERR_OK)
        log_failure(err, "telling what messages say of keys");
    buf_clear(&mailbox->heard);
}

static void flush(struct imap_mailbox *mailbox)
{
    struct store_mailbox key = key_of(mailbox);
    if (mailbox->pending_len == 0)
        return;
    enum err err = proxy_vault_places_put(mailbox->session->net->vault, &key, mailbox->pending, mailbox->pending_len,
                                          NULL, NULL, NULL);
    if (err != ERR_OK)
        log_failure(err, "remembering where views are");
    mailbox->pending_len = 0;
}

static void on_flush(evutil_socket_t fd, short what, void *context)
{
    struct imap_mailbox *mailbox = context;
    (void)fd;
    (void)what;
    flush(mailbox);
    flush_heard(mailbox);
    free(mailbox->pending);
    mailbox->pending = NULL;
}

/* Starts the clock for what is to be told. */
static enum err flush_soon(struct imap_mailbox *mailbox)
{
    const struct timeval after = {0, FLUSH_AFTER_MS * 1000};
    if (mailbox->flush == NULL)
        mailbox->flush = evtimer_new(mailbox->session->net->base, on_flush, mailbox);
    if (mailbox->flush == NULL)
        return log_failure(ERR_MEMORY, "remembering what a mailbox holds");
    if (!evtimer_pending(mailbox->flush, NULL))
        evtimer_add(mailbox->flush, &after);
    return ERR_OK;
}

void imap_mailbox_set_unheard(struct imap_mailbox *mailbox)
{
    mailbox->is_unheard = true;
}

bool imap_mailbox_is_heard(const struct imap_mailbox *mailbox)
{
    return !mailbox->is_unheard;
}

void imap_mailbox_hear_fields(struct imap_mailbox *mailbox, struct span fields)
{
    const struct config_account *account = imap_session_account(mailbox->session);
    const struct crypto_hearer hearer = {
        .own = (const char *const *)account->addresses, .own_len = account->addresses_len, .now = clock_now()};
    if (mailbox->heard.len > HEARD_MAX / 2)
        flush_heard(mailbox);
    enum err err = crypto_heard_add(&hearer, fields, &mailbox->heard);
    if (err == ERR_OK && mailbox->heard.len > 0)
        err = flush_soon(mailbox);
    if (err != ERR_OK)
        log_failure(err, "taking note of what a message says of keys");
}

/* What cannot be remembered is found out again next time. */
static void tell_vault(struct imap_mailbox *mailbox, const struct store_place *place)
{
    /* Without UIDVALIDITY a UID means nothing beyond this session (RFC 3501 §2.3.1.1). */
    if (mailbox->uid_validity == 0)
        return;
    if (mailbox->pending == NULL)
        mailbox->pending = calloc(PENDING_MAX, sizeof(*mailbox->pending));
    if (mailbox->pending == NULL || flush_soon(mailbox) != ERR_OK) {
        log_failure(ERR_MEMORY, "remembering where views are");
        return;
    }
    mailbox->pending[mailbox->pending_len++] = *place;
    if (mailbox->pending_len == PENDING_MAX)
        flush(mailbox);
}

static void set_place(struct imap_mailbox *mailbox, const struct store_place *place)
{
    struct imap_candidate candidate;
    enum err err = ERR_OK;
    if (imap_mailbox_candidate(mailbox, place->uid, &candidate) && candidate.has_alias)
        err = proxy_vault_alias_put(mailbox->session->net->vault, imap_session_account(mailbox->session)->address,
                                    candidate.alias, place);
    if (err == ERR_OK)
        err = keep_place(mailbox, place);
    if (err != ERR_OK)
        log_failure(err, "remembering where views are");
    tell_vault(mailbox, place);
}

void imap_mailbox_set_plain(struct imap_mailbox *mailbox, uint32_t uid)
{
    set_place(mailbox, &(struct store_place){.uid = uid});
}

void imap_mailbox_set_candidate(struct imap_mailbox *mailbox, uint32_t uid, const struct imap_candidate *candidate)
{
    struct place *place = insert_place(mailbox, uid);
    if (place == NULL) {
        log_failure(ERR_MEMORY, "remembering which messages may have views");
        return;
    }
    *place = (struct place){.uid = uid,
                            .class = IMAP_CLASS_CANDIDATE,
                            .size = candidate->size < UINT32_MAX ? (uint32_t)candidate->size : UINT32_MAX,
                            .has_alias = candidate->has_alias};
    memcpy(place->digest, candidate->alias, sizeof(place->digest));
}

bool imap_mailbox_candidate(const struct imap_mailbox *mailbox, uint32_t uid, struct imap_candidate *candidate)
{
    size_t at = find_place(mailbox, uid);
    if (at == mailbox->places_len || mailbox->places[at].uid != uid ||
        mailbox->places[at].class != IMAP_CLASS_CANDIDATE)
        return false;
    const struct place *place = &mailbox->places[at];
    *candidate = (struct imap_candidate){.size = place->size, .has_alias = place->has_alias};
    memcpy(candidate->alias, place->digest, sizeof(candidate->alias));
    return true;
}

void imap_mailbox_set_view(struct imap_mailbox *mailbox, uint32_t uid, const struct proxy_view_id *id)
{
    struct store_place place = {.uid = uid, .is_view = true, .generation = id->generation};
    memcpy(place.digest, id->digest, sizeof(place.digest));
    set_place(mailbox, &place);
}

/* ---- what the server says ---- */

/* "* VANISHED [(EARLIER)] uids" (RFC 7162 §3.2.10). */
static enum err hear_vanished(struct imap_mailbox *mailbox, struct imap_cursor *cursor)
{
    struct imap_set uids;
    struct span text;
    if (imap_take_char(cursor, '('))
        return ERR_OK;
    imap_set_init(&uids);
    enum err err = imap_take_atom(cursor, &text) ? imap_set_parse(text, 0, &uids, NULL) : ERR_MALFORMED;
    if (err == ERR_OK)
        err = imap_map_vanished(mailbox->map, &uids);
    imap_set_fini(&uids);
    return err;
}

static enum err hear_fetch(struct imap_mailbox *mailbox, uint32_t number, struct imap_cursor *cursor)
{
    struct imap_answer answers[IMAP_ANSWERS_MAX];
    size_t len;
    uint64_t uid;
    enum err err = imap_fetch_answers(cursor, answers, &len);
    if (err != ERR_OK)
        return err;
    struct span value = imap_answer_find(answers, len, "UID");
    if (value.ptr == NULL)
        return ERR_OK;
    return span_to_u64(value, UINT32_MAX, &uid) ? imap_map_learn(mailbox->map, number, (uint32_t)uid) : ERR_MALFORMED;
}

/* "* OK [UIDVALIDITY n] ..." of the mailbox being selected; "* OK [CLOSED] ..." ends what was said of the one before.
 */
static enum err hear_status(struct imap_mailbox *mailbox, struct imap_cursor *cursor)
{
    struct span word, code;
    uint64_t number;
    if (!imap_take_atom(cursor, &word) || !imap_take_space(cursor) || !imap_take_code(cursor, &code))
        return ERR_OK;
    if (span_is_case_equal(code, SPAN_LIT("CLOSED")))
        imap_map_clear(mailbox->map);
    if (!span_has_case_prefix(code, SPAN_LIT("UIDVALIDITY ")))
        return ERR_OK;
    if (!span_to_u64(span_trim(span_skip(code, 12)), UINT32_MAX, &number) || number == 0)
        return ERR_MALFORMED;
    if (mailbox->uid_validity != 0 && mailbox->uid_validity != number)
        return ERR_MALFORMED;
    mailbox->uid_validity = (uint32_t)number;
    return ERR_OK;
}

enum err imap_mailbox_hear(struct imap_mailbox *mailbox, const struct imap_head *head, const struct imap_unit *unit)
{
    struct imap_cursor cursor;
    struct span word;
    uint64_t number;
    uint32_t uid;
    enum err err = ERR_OK;
    imap_cursor_init(&cursor, unit);
    if (!imap_take_char(&cursor, '*') || !imap_take_space(&cursor))
        return ERR_UPSTREAM_PROTOCOL;
    switch (head->kind) {
    case IMAP_RESPONSE_EXISTS:
        err = imap_map_exists(mailbox->map, head->number);
        break;
    case IMAP_RESPONSE_EXPUNGE:
        err = imap_map_expunge(mailbox->map, head->number, &uid);
        break;
    case IMAP_RESPONSE_FETCH:
        if (imap_take_number(&cursor, UINT32_MAX, &number) && imap_take_space(&cursor) &&
            imap_take_atom(&cursor, &word) && imap_take_space(&cursor))
            err = hear_fetch(mailbox, head->number, &cursor);
        break;
    case IMAP_RESPONSE_STATUS:
        err = hear_status(mailbox, &cursor);
        break;
    case IMAP_RESPONSE_OTHER:
        if (span_is_case_equal(head->word, SPAN_LIT("VANISHED")) && imap_take_atom(&cursor, &word) &&
            imap_take_space(&cursor))
            err = hear_vanished(mailbox, &cursor);
        break;
    default:
        break;
    }
    return err == ERR_MEMORY ? err : err == ERR_OK ? ERR_OK : ERR_UPSTREAM_PROTOCOL;
}

/* ---- loading ---- */

static void finish(struct imap_mailbox *mailbox, enum err err)
{
    imap_mailbox_fn fn = mailbox->fn;
    mailbox->fn = NULL;
    mailbox->is_asking = false;
    if (fn != NULL)
        fn(err, mailbox->context);
}

/* What has come meanwhile may stay unknown; any other message of which the server does not say the UID cannot be
   answered for, and must not be missing in silence. */
static enum err judge_uids(struct imap_mailbox *mailbox, const struct imap_reply *reply)
{
    struct imap_set unknown;
    if (reply->status != IMAP_OK)
        return ERR_UPSTREAM_REJECTED;
    imap_set_init(&unknown);
    enum err err = imap_map_unknown(mailbox->map, &unknown);
    if (err == ERR_OK && !imap_set_is_empty(&unknown) && unknown.ranges[0].first <= mailbox->asked)
        err = ERR_UPSTREAM_PROTOCOL;
    imap_set_fini(&unknown);
    return err;
}

static void on_uids(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct imap_session *session = context;
    (void)client;
    /* The mailbox may have been left meanwhile: then nobody waits. */
    if (session->mailbox == NULL || !session->mailbox->is_asking)
        return;
    enum err err = judge_uids(session->mailbox, reply);
    if (err != ERR_OK)
        log_warning("%s: the server does not tell its UIDs", session->peer);
    finish(session->mailbox, err);
}

/* By number, never by UID: so no EXPUNGE can come in between (design 1.2.9). */
static void ask_uids(struct imap_mailbox *mailbox)
{
    struct imap_set unknown;
    struct imap_out out;
    struct buf text;
    imap_set_init(&unknown);
    buf_init(&text, 1 << 20);
    enum err err = imap_map_unknown(mailbox->map, &unknown);
    if (err == ERR_OK && !imap_set_is_empty(&unknown)) {
        /* One range that covers them all: what is known already is heard again. */
        err = buf_addf(&text, "FETCH %u:%u (UID)", unknown.ranges[0].first, unknown.ranges[unknown.len - 1].last);
        if (err == ERR_OK) {
            imap_out_init(&out);
            imap_out_text(&out, buf_span(&text));
            mailbox->is_asking = true;
            mailbox->asked = unknown.ranges[unknown.len - 1].last;
            imap_session_send(mailbox->session, &out, NULL, on_uids, mailbox->session);
        }
    }
    imap_set_fini(&unknown);
    buf_fini(&text);
    if (!mailbox->is_asking)
        finish(mailbox, err);
}

static void on_places(enum err err, const struct store_place *places, size_t len, void *context)
{
    struct imap_mailbox *mailbox = context;
    mailbox->request = NULL;
    for (size_t i = 0; err == ERR_OK && i < len; i++) {
        err = keep_place(mailbox, &places[i]);
        if (err == ERR_OK && places[i].is_view && places[i].wants_reopen)
            err = imap_set_add(&mailbox->reopens, places[i].uid);
    }
    mailbox->has_places = err == ERR_OK;
    /* What needs no view is shown all the same; views stay locked one by one, and places are asked for again. */
    if (err == ERR_KEY_LOCKED)
        err = ERR_OK;
    if (err == ERR_OK && mailbox->wants_uids)
        ask_uids(mailbox);
    else
        finish(mailbox, err);
}

bool imap_mailbox_is_loaded(const struct imap_mailbox *mailbox)
{
    return mailbox->has_places && imap_map_is_known(mailbox->map);
}

bool imap_mailbox_is_loading(const struct imap_mailbox *mailbox)
{
    return mailbox->is_asking;
}

static void load(struct imap_mailbox *mailbox, bool wants_uids, imap_mailbox_fn fn, void *context)
{
    struct store_mailbox key = key_of(mailbox);
    if (mailbox->fn != NULL) {
        fn(ERR_INTERNAL, context);
        return;
    }
    mailbox->fn = fn;
    mailbox->context = context;
    mailbox->wants_uids = wants_uids;
    mailbox->has_places = mailbox->has_places || mailbox->uid_validity == 0;
    if (mailbox->has_places) {
        if (wants_uids)
            ask_uids(mailbox);
        else
            finish(mailbox, ERR_OK);
        return;
    }
    enum err err = proxy_vault_places_get(mailbox->session->net->vault, &key, on_places, mailbox, &mailbox->request);
    if (err != ERR_OK)
        finish(mailbox, err);
}

void imap_mailbox_load(struct imap_mailbox *mailbox, imap_mailbox_fn fn, void *context)
{
    load(mailbox, true, fn, context);
}

void imap_mailbox_load_places(struct imap_mailbox *mailbox, imap_mailbox_fn fn, void *context)
{
    load(mailbox, false, fn, context);
}

const struct imap_set *imap_mailbox_reopens(const struct imap_mailbox *mailbox)
{
    return &mailbox->reopens;
}

void imap_mailbox_stop(struct imap_mailbox *mailbox)
{
    mailbox->fn = NULL;
    proxy_vault_cancel(&mailbox->request);
}

/* ---- life ---- */

enum err imap_mailbox_new(struct imap_session *session, struct span name, struct imap_mailbox **mailbox_out)
{
    struct imap_mailbox *mailbox = calloc(1, sizeof(*mailbox));
    *mailbox_out = NULL;
    if (mailbox == NULL)
        return ERR_MEMORY;
    mailbox->session = session;
    buf_init(&mailbox->name, NAME_MAX_SIZE);
    buf_init(&mailbox->key, 4 * NAME_MAX_SIZE);
    imap_set_init(&mailbox->plain);
    imap_set_init(&mailbox->views);
    imap_set_init(&mailbox->reopens);
    buf_init(&mailbox->heard, HEARD_MAX);
    enum err err = imap_mailbox_normalise(name, &mailbox->name);
    if (err == ERR_OK)
        err = session->has_utf8 ? imap_mailbox_encode(buf_span(&mailbox->name), &mailbox->key)
                                : buf_add_span(&mailbox->key, buf_span(&mailbox->name));
    if (err == ERR_OK)
        err = imap_map_new(&mailbox->map);
    if (err != ERR_OK)
        imap_mailbox_free(&mailbox);
    *mailbox_out = mailbox;
    return err;
}

void imap_mailbox_free(struct imap_mailbox **mailbox_pointer)
{
    struct imap_mailbox *mailbox = *mailbox_pointer;
    *mailbox_pointer = NULL;
    if (mailbox == NULL)
        return;
    flush(mailbox);
    flush_heard(mailbox);
    proxy_vault_cancel(&mailbox->request);
    if (mailbox->flush != NULL)
        event_free(mailbox->flush);
    imap_map_free(&mailbox->map);
    imap_set_fini(&mailbox->plain);
    imap_set_fini(&mailbox->views);
    imap_set_fini(&mailbox->reopens);
    free(mailbox->places);
    free(mailbox->pending);
    buf_fini(&mailbox->name);
    buf_fini(&mailbox->key);
    buf_fini(&mailbox->heard);
    free(mailbox);
}

struct span imap_mailbox_name(const struct imap_mailbox *mailbox)
{
    return buf_span(&mailbox->name);
}

struct span imap_mailbox_key(const struct imap_mailbox *mailbox)
{
    return buf_span(&mailbox->key);
}

struct imap_map *imap_mailbox_map(struct imap_mailbox *mailbox)
{
    return mailbox->map;
}

uint32_t imap_mailbox_uid_validity(const struct imap_mailbox *mailbox)
{
    return mailbox->uid_validity;
}
