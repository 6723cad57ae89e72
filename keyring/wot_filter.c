#include "keyring/wot_filter.h"

#include "keyring/key_packets.h"

#include <stdlib.h>
#include <string.h>

enum { SUBPACKET_ISSUER = 16, SUBPACKET_ISSUER_FINGERPRINT = 33 };

/* A key of the ring. */
struct place {
    uint64_t id;
    const char *fingerprint; /* borrowed from the index */
    size_t strangers;
    bool is_wanted, is_kept, is_maker;
};

struct maker {
    uint64_t id;
    size_t len; /* what it made on the user ID at hand */
};

struct keyring_wot_filter {
    keyring_wot_kept_fn fn;
    void *context;
    struct place *places;
    size_t places_len;
    struct buf pending; /* bytes of a packet that is not whole yet */
    size_t skip;        /* of a packet that is too long, to come */
    enum err err;
    /* The key at hand: */
    struct buf kept;
    uint64_t id;
    bool is_in_key;    /* it is one that can be kept */
    bool is_certified; /* by another that is here */
    bool is_dropping;  /* signatures on something that is not kept */
    size_t signatures;
    struct maker makers[KEYRING_WOT_PER_KEY_MAX]; /* of the user ID at hand */
    size_t makers_len;
    size_t strangers;
    size_t left_out; /* of all keys */
};

static uint64_t id_of(const char *fingerprint)
{
    const size_t len = strlen(fingerprint);
    return strtoull(fingerprint + (len > 16 ? len - 16 : 0), NULL, 16);
}

static int compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    if (left->id != right->id)
        return left->id < right->id ? -1 : 1;
    return strcmp(left->fingerprint, right->fingerprint);
}

static struct place *find(const struct keyring_wot_filter *filter, uint64_t id)
{
    size_t low = 0, high = filter->places_len;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (filter->places[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < filter->places_len && filter->places[low].id == id ? &filter->places[low] : NULL;
}

/* A key has an entry in the index for each of its user IDs. */
static void note_places(struct keyring_wot_filter *filter, const struct keyring *keyring)
{
    size_t len = 0, kept = 0;
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);
        if (entry->format == KEYRING_OPENPGP)
            filter->places[len++] = (struct place){.id = id_of(entry->fingerprint), .fingerprint = entry->fingerprint};
    }
    if (len > 0)
        qsort(filter->places, len, sizeof *filter->places, compare);
    for (size_t i = 0; i < len; i++)
        if (kept == 0 || strcmp(filter->places[kept - 1].fingerprint, filter->places[i].fingerprint) != 0)
            filter->places[kept++] = filter->places[i];
    filter->places_len = kept;
}

enum err keyring_wot_filter_new(const struct keyring *keyring, keyring_wot_kept_fn fn, void *context,
                                struct keyring_wot_filter **filter_out)
{
    struct keyring_wot_filter *filter = calloc(1, sizeof *filter);
    *filter_out = filter;
    if (filter == NULL)
        return ERR_MEMORY;
    filter->fn = fn;
    filter->context = context;
    buf_init(&filter->pending, (size_t)3 * KEYRING_WOT_PACKET_MAX);
    buf_init(&filter->kept, KEYRING_WOT_KEY_MAX);
    filter->places = calloc(keyring_len(keyring) + 1, sizeof *filter->places);
    if (filter->places == NULL) {
        keyring_wot_filter_free(filter_out);
        return ERR_MEMORY;
    }
    note_places(filter, keyring);
    return ERR_OK;
}

void keyring_wot_filter_free(struct keyring_wot_filter **filter)
{
    if (*filter == NULL)
        return;
    buf_fini(&(*filter)->pending);
    buf_fini(&(*filter)->kept);
    free((*filter)->places);
    free(*filter);
    *filter = NULL;
}

void keyring_wot_filter_want(struct keyring_wot_filter *filter, const char *fingerprint)
{
    struct place *place = find(filter, id_of(fingerprint));
    if (place != NULL)
        place->is_wanted = true;
}

/* Hands the key at hand on if it is of use. */
static enum err finish_key(struct keyring_wot_filter *filter)
{
    struct place *place = filter->is_in_key ? find(filter, filter->id) : NULL;
    enum err err = ERR_OK;
    if (place != NULL)
        place->strangers = filter->strangers;
    if (place != NULL && (filter->is_certified || place->is_wanted) && filter->kept.len > 0) {
        place->is_kept = true;
        err = filter->fn(buf_span(&filter->kept), filter->context);
    }
    buf_clear(&filter->kept);
    filter->is_in_key = filter->is_certified = false;
    filter->signatures = filter->makers_len = filter->strangers = 0;
    return err;
}

static enum err begin_key(struct keyring_wot_filter *filter, struct span body)
{
    char fingerprint[KEYRING_FPR_SIZE];
    enum err err = finish_key(filter);
    if (err == ERR_OK)
        err = key_packets_fingerprint(body, fingerprint);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    filter->id = id_of(fingerprint);
    filter->is_in_key = find(filter, filter->id) != NULL;
    filter->is_dropping = false;
    return ERR_OK;
}

static uint64_t number_of(struct span bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes.len; i++)
        number = number << 8 | (unsigned char)bytes.ptr[i];
    return number;
}

/* RFC 4880 §5.2.3.5 and RFC 9580 §5.2.3.35; a signature that names nobody is checked by nobody. */
static bool find_issuer(struct span subpackets, uint64_t *issuer_out, bool *is_exact)
{
    struct span body;
    unsigned type;
    bool is_found = false;
    while (key_packets_subpacket(&subpackets, &type, &body)) {
        if (type == SUBPACKET_ISSUER && body.len == 8) {
            *issuer_out = number_of(body);
            *is_exact = true;
            return true;
        }
        if (type == SUBPACKET_ISSUER_FINGERPRINT && body.len == 21 && !is_found) {
            *issuer_out = number_of(span_skip(body, 13));
            is_found = true;
        }
    }
    return is_found;
}

static bool issuer_of(struct span body, uint64_t *issuer_out)
{
    struct key_packets_signature signature;
    bool is_exact = false;
    if (key_packets_signature(body, &signature)) {
        const bool is_hashed = find_issuer(signature.hashed, issuer_out, &is_exact);
        uint64_t other;
        if (!is_exact && find_issuer(signature.unhashed, &other, &is_exact) && (is_exact || !is_hashed))
            *issuer_out = other;
        else if (!is_hashed)
            return false;
        return true;
    }
    /* Version 3: 3, 5, type, four bytes of time, key ID (§5.2.2). */
    if (signature.version != 3 || body.len < 15)
        return false;
    *issuer_out = number_of(span_slice(body, 7, 15));
    return true;
}

/* Whether the maker may have one more on the user ID at hand. */
static bool has_room(struct keyring_wot_filter *filter, uint64_t issuer)
{
    if (filter->signatures >= KEYRING_WOT_PER_KEY_MAX)
        return false;
    for (size_t i = 0; i < filter->makers_len; i++)
        if (filter->makers[i].id == issuer)
            return ++filter->makers[i].len <= KEYRING_WOT_PER_ISSUER_MAX;
    filter->makers[filter->makers_len++] = (struct maker){issuer, 1};
    return true;
}

/* Whether it stays; a limit leaves the first ones, since what comes later is appended. */
static bool is_kept(struct keyring_wot_filter *filter, struct span body)
{
    uint64_t issuer;
    if (filter->is_dropping || !issuer_of(body, &issuer))
        return false;
    struct place *maker = find(filter, issuer);
    if (maker == NULL) {
        filter->strangers++;
        return false;
    }
    if (!has_room(filter, issuer)) {
        filter->left_out++;
        return false;
    }
    filter->signatures++;
    if (issuer != filter->id) {
        maker->is_maker = true;
        filter->is_certified = true;
    }
    return true;
}

/* `packet` is `body` with what stands before it. */
static enum err take_packet(struct keyring_wot_filter *filter, size_t tag, struct span packet, struct span body)
{
    enum err err = ERR_OK;
    if (tag == KEY_PACKETS_PUBLIC_KEY)
        err = begin_key(filter, body);
    if (err != ERR_OK || !filter->is_in_key)
        return err;
    switch (tag) {
    case KEY_PACKETS_USER_ID:
    case KEY_PACKETS_ATTRIBUTE:
        filter->is_dropping = false;
        filter->makers_len = 0;
        break;
    case KEY_PACKETS_PUBLIC_KEY:
        break;
    case KEY_PACKETS_SIGNATURE:
        if (!is_kept(filter, body))
            return ERR_OK;
        break;
    default: /* subkeys, and what belongs to them */
        filter->is_dropping = true;
        return ERR_OK;
    }
    err = buf_add_span(&filter->kept, packet);
    if (err != ERR_LIMIT)
        return err;
    filter->is_dropping = true;
    filter->left_out++;
    return ERR_OK;
}

/* The first packet of what is pending; ERR_AGAIN if it is not whole. */
static enum err take_one(struct keyring_wot_filter *filter, struct span *rest)
{
    struct key_packets_head head;
    enum err err = key_packets_head(*rest, &head);
    if (err != ERR_OK)
        return err;
    if (head.body_len > KEYRING_WOT_PACKET_MAX) {
        const size_t here = rest->len - head.head_len < head.body_len ? rest->len - head.head_len : head.body_len;
        filter->skip = head.body_len - here;
        *rest = span_skip(*rest, head.head_len + here);
        filter->is_dropping = true;
        filter->left_out++;
        return head.tag == KEY_PACKETS_PUBLIC_KEY ? finish_key(filter) : ERR_OK;
    }
    const size_t len = head.head_len + head.body_len;
    if (rest->len < len)
        return ERR_AGAIN;
    const struct span packet = span_slice(*rest, 0, len);
    *rest = span_skip(*rest, len);
    return take_packet(filter, head.tag, packet, span_skip(packet, head.head_len));
}

static enum err feed(struct keyring_wot_filter *filter, struct span bytes)
{
    const size_t skip = filter->skip < bytes.len ? filter->skip : bytes.len;
    filter->skip -= skip;
    enum err err = buf_add_span(&filter->pending, span_skip(bytes, skip));
    struct span rest = buf_span(&filter->pending);
    while (err == ERR_OK && filter->skip == 0 && rest.len > 0)
        err = take_one(filter, &rest);
    buf_drop(&filter->pending, filter->pending.len - rest.len);
    return err == ERR_AGAIN ? ERR_OK : err;
}

enum err keyring_wot_filter_feed(struct keyring_wot_filter *filter, struct span bytes)
{
    while (filter->err == ERR_OK && bytes.len > 0) {
        const struct span piece = span_slice(bytes, 0, KEYRING_WOT_PACKET_MAX);
        bytes = span_skip(bytes, piece.len);
        filter->err = feed(filter, piece);
    }
    return filter->err;
}

enum err keyring_wot_filter_end(struct keyring_wot_filter *filter)
{
    if (filter->err == ERR_OK && (filter->pending.len > 0 || filter->skip > 0))
        filter->err = ERR_MALFORMED;
    if (filter->err == ERR_OK)
        filter->err = finish_key(filter);
    return filter->err;
}

const char *keyring_wot_filter_missing(const struct keyring_wot_filter *filter, size_t *at)
{
    while (*at < filter->places_len) {
        const struct place *place = &filter->places[(*at)++];
        if ((place->is_maker || place->is_wanted) && !place->is_kept)
            return place->fingerprint;
    }
    return NULL;
}

size_t keyring_wot_filter_left_out(const struct keyring_wot_filter *filter)
{
    return filter->left_out;
}

size_t keyring_wot_filter_strangers(const struct keyring_wot_filter *filter, const char *fingerprint)
{
    const struct place *place = find(filter, id_of(fingerprint));
    return place == NULL ? 0 : place->strangers;
}
