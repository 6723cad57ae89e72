#include "keyring/wot_listing.h"

#include "mime/utf8.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 21
#define OWNERS_MAX 1000000
#define TEXT_MAX 8192
enum { SUBPACKET_REVOCABLE = 7 };
#define OWNERTRUST_DISABLED 128
#define OWNERTRUST_MASK 15

/* Fields are numbered from 1, as doc/DETAILS does. */
struct line {
    struct span fields[FIELDS_MAX];
};

struct reading {
    struct keyring_wot *wot;
    const struct keyring_wot_owner *owners;
    size_t owners_len;
    struct keyring_wot_key key; /* held back until its fingerprint comes */
    bool has_key, is_added;
    bool is_skipping;   /* signatures on what is not in the graph */
    bool has_signature; /* `certification` waits: a line that belongs to it may follow */
    struct keyring_wot_certification certification;
    char domain[TEXT_MAX];
};

static bool split(struct span text, struct line *line)
{
    struct span rest = text;
    size_t len = 1;
    *line = (struct line){.fields = {SPAN_NONE}};
    while (len < FIELDS_MAX && span_take_until(&rest, ':', &line->fields[len]))
        len++;
    return len > 2;
}

static int digit_of(char digit)
{
    const char lower = span_lower(digit);
    if (lower >= '0' && lower <= '9')
        return lower - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Takes the escapes away that gpg puts where a byte would disturb the listing; what does not fit is cut. */
static void unescape(struct span text, char *out, size_t size)
{
    static const char plain[] = "nrfvb0", meant[] = "\n\r\f\v\b\0";
    size_t len = 0;
    for (size_t i = 0; i < text.len && len + 1 < size; i++) {
        char byte = text.ptr[i];
        const char *code = i + 1 < text.len ? memchr(plain, text.ptr[i + 1], sizeof plain - 1) : NULL;
        if (byte == '\\' && code != NULL) {
            byte = meant[code - plain];
            i++;
        } else if (byte == '\\' && i + 3 < text.len && text.ptr[i + 1] == 'x' && digit_of(text.ptr[i + 2]) >= 0 &&
                   digit_of(text.ptr[i + 3]) >= 0) {
            byte = (char)(digit_of(text.ptr[i + 2]) * 16 + digit_of(text.ptr[i + 3]));
            i += 3;
        }
        out[len++] = byte == '\0' ? '?' : byte;
    }
    out[len] = '\0';
    /* As in an index's entry; and JSON has no other text. */
    mime_utf8_copy_shown((struct span){out, len}, out, size);
}

static int64_t time_of(struct span field)
{
    uint64_t seconds;
    return span_to_u64(field, INT64_MAX, &seconds) ? (int64_t)seconds : 0;
}

static bool read_id(struct span field, uint64_t *id_out)
{
    *id_out = 0;
    for (size_t i = 0; i < field.len; i++) {
        if (digit_of(field.ptr[i]) < 0)
            return false;
        *id_out = *id_out << 4 | (uint64_t)digit_of(field.ptr[i]);
    }
    return field.len == 16;
}

static int compare_owners(const void *a, const void *b)
{
    const struct keyring_wot_owner *left = a, *right = b;
    return strcmp(left->fingerprint, right->fingerprint);
}

/* FINGERPRINT:NUMBER: */
static bool read_owner(struct span text, struct keyring_wot_owner *owner)
{
    struct line line;
    uint64_t number;
    if (!split(text, &line) || !span_copy(line.fields[1], owner->fingerprint, sizeof owner->fingerprint) ||
        owner->fingerprint[0] == '#' || !span_to_u64(line.fields[2], 255, &number))
        return false;
    owner->is_disabled = (number & OWNERTRUST_DISABLED) != 0;
    switch (number & OWNERTRUST_MASK) {
    case 2:
        owner->trust = KEYRING_WOT_UNDEFINED;
        break;
    case 3:
        owner->trust = KEYRING_WOT_NEVER;
        break;
    case 4:
        owner->trust = KEYRING_WOT_MARGINAL;
        break;
    case 5:
        owner->trust = KEYRING_WOT_FULL;
        break;
    case 6:
        owner->trust = KEYRING_WOT_ULTIMATE;
        break;
    default:
        owner->trust = KEYRING_WOT_UNKNOWN;
        break;
    }
    return true;
}

enum err keyring_wot_read_owners(struct span text, struct keyring_wot_owner **owners_out, size_t *len_out)
{
    struct keyring_wot_owner *owners = NULL, owner;
    size_t len = 0, capacity = 0;
    struct span line;
    *owners_out = NULL;
    *len_out = 0;
    while (span_take_until(&text, '\n', &line)) {
        if (!read_owner(line, &owner))
            continue;
        if (len == capacity) {
            const size_t wanted = capacity == 0 ? 64 : capacity * 2;
            struct keyring_wot_owner *grown = len < OWNERS_MAX ? realloc(owners, wanted * sizeof *grown) : NULL;
            if (grown == NULL) {
                free(owners);
                return len < OWNERS_MAX ? ERR_MEMORY : ERR_LIMIT;
            }
            owners = grown;
            capacity = wanted;
        }
        owners[len++] = owner;
    }
    if (len > 0)
        qsort(owners, len, sizeof *owners, compare_owners);
    *owners_out = owners;
    *len_out = len;
    return ERR_OK;
}

/* What the graph has no room for is left out, with all that hangs on it. */
static enum err or_left_out(struct reading *reading, enum err err)
{
    reading->is_skipping = err == ERR_LIMIT;
    return err == ERR_LIMIT ? ERR_OK : err;
}

static enum err finish_signature(struct reading *reading)
{
    if (!reading->has_signature)
        return ERR_OK;
    reading->has_signature = false;
    const enum err err = keyring_wot_add_certification(reading->wot, &reading->certification);
    return err == ERR_LIMIT ? ERR_OK : err;
}

static void begin_key(struct reading *reading, const struct line *line)
{
    reading->key = (struct keyring_wot_key){.created = time_of(line->fields[6]),
                                            .expires = time_of(line->fields[7]),
                                            .is_revoked = span_is_equal(line->fields[2], SPAN_LIT("r"))};
    reading->has_key = true;
    reading->is_added = false;
    reading->is_skipping = true; /* no user ID yet */
}

/* The first fingerprint after a key is its own, those after it are of subkeys. */
static enum err take_fingerprint(struct reading *reading, const struct line *line)
{
    struct keyring_wot_owner wanted = {.trust = KEYRING_WOT_UNKNOWN};
    if (!reading->has_key || reading->is_added)
        return ERR_OK;
    if (!span_copy(line->fields[10], reading->key.fingerprint, KEYRING_FPR_SIZE) ||
        strspn(reading->key.fingerprint, "0123456789ABCDEF") != line->fields[10].len || line->fields[10].len < 16)
        return ERR_MALFORMED;
    memcpy(wanted.fingerprint, reading->key.fingerprint, KEYRING_FPR_SIZE);
    const struct keyring_wot_owner *owner =
        reading->owners_len == 0
            ? NULL
            : bsearch(&wanted, reading->owners, reading->owners_len, sizeof *reading->owners, compare_owners);
    if (owner != NULL) {
        reading->key.ownertrust = owner->trust;
        reading->key.is_disabled = owner->is_disabled;
    }
    reading->is_added = true;
    enum err err = keyring_wot_add_key(reading->wot, &reading->key);
    reading->has_key = err == ERR_OK;
    return err == ERR_LIMIT ? ERR_OK : err;
}

static enum err take_user_id(struct reading *reading, const struct line *line, bool is_attribute)
{
    char text[TEXT_MAX];
    if (!reading->has_key || !reading->is_added)
        return ERR_OK;
    unescape(line->fields[10], text, sizeof text);
    const struct keyring_wot_user_id user_id = {.text = is_attribute ? "[picture]" : text,
                                                .expires = time_of(line->fields[7]),
                                                .is_revoked = span_is_equal(line->fields[2], SPAN_LIT("r")),
                                                .is_attribute = is_attribute};
    return or_left_out(reading, keyring_wot_add_user_id(reading->wot, &user_id));
}

/* "10x" to "13l", "30x,00": the type of signature, whether it is exportable, and the reason of a revocation. */
static bool read_class(struct span field, struct keyring_wot_certification *certification)
{
    if (field.len < 3 || digit_of(field.ptr[0]) < 0 || digit_of(field.ptr[1]) < 0)
        return false;
    const int class = digit_of(field.ptr[0]) * 16 + digit_of(field.ptr[1]);
    certification->is_revocation = class == 0x30;
    certification->level = class >= 0x10 && class <= 0x13 ? (unsigned)class - 0x10 : 0;
    certification->is_local = field.ptr[2] == 'l';
    return class == 0x30 || (class >= 0x10 && class <= 0x13);
}

/* "DEPTH AMOUNT" */
static void read_trust(struct span field, struct keyring_wot_certification *certification)
{
    struct span depth;
    uint64_t number;
    if (!span_take_until(&field, ' ', &depth) || !span_to_u64(depth, 255, &number))
        return;
    certification->depth = (unsigned)number;
    if (span_to_u64(field, 255, &number))
        certification->amount = (unsigned)number;
}

static void take_signature(struct reading *reading, const struct line *line)
{
    struct keyring_wot_certification *it = &reading->certification;
    *it = (struct keyring_wot_certification){.made = time_of(line->fields[6]), .expires = time_of(line->fields[7])};
    if (reading->is_skipping || !reading->has_key || !span_is_equal(line->fields[2], SPAN_LIT("!")) ||
        !read_id(line->fields[5], &it->issuer) || !read_class(line->fields[11], it) ||
        span_has_case_suffix(span_of(reading->key.fingerprint), line->fields[5]))
        return;
    if (!span_copy(line->fields[13], it->fingerprint, KEYRING_FPR_SIZE))
        it->fingerprint[0] = '\0';
    read_trust(line->fields[8], it);
    if (line->fields[9].len > 0) {
        unescape(line->fields[9], reading->domain, sizeof reading->domain);
        it->domain = reading->domain;
    }
    reading->has_signature = true;
}

/* spk:TYPE:FLAGS:LENGTH:DATA, where %00 stands for a byte of 0. */
static void take_subpacket(struct reading *reading, const struct line *line)
{
    uint64_t type;
    if (reading->has_signature && span_to_u64(line->fields[2], 127, &type) && type == SUBPACKET_REVOCABLE)
        reading->certification.is_irrevocable = span_is_equal(line->fields[5], SPAN_LIT("%00"));
}

static enum err take_line(struct reading *reading, const struct line *line)
{
    const struct span kind = line->fields[1];
    if (span_is_equal(kind, SPAN_LIT("spk"))) {
        take_subpacket(reading, line);
        return ERR_OK;
    }
    const enum err err = finish_signature(reading);
    if (err != ERR_OK)
        return err;
    if (span_is_equal(kind, SPAN_LIT("pub")))
        begin_key(reading, line);
    else if (span_is_equal(kind, SPAN_LIT("fpr")))
        return take_fingerprint(reading, line);
    else if (span_is_equal(kind, SPAN_LIT("uid")) || span_is_equal(kind, SPAN_LIT("uat")))
        return take_user_id(reading, line, kind.ptr[1] == 'a');
    else if (span_is_equal(kind, SPAN_LIT("sub")))
        reading->is_skipping = true;
    else if (span_is_equal(kind, SPAN_LIT("sig")) || span_is_equal(kind, SPAN_LIT("rev")))
        take_signature(reading, line);
    return ERR_OK;
}

enum err keyring_wot_read_listing(struct span listing, const struct keyring_wot_owner *owners, size_t owners_len,
                                  struct keyring_wot *wot)
{
    struct reading *reading = calloc(1, sizeof *reading);
    struct span text;
    struct line line;
    enum err err = reading == NULL ? ERR_MEMORY : ERR_OK;
    if (reading != NULL) {
        reading->wot = wot;
        reading->owners = owners;
        reading->owners_len = owners_len;
    }
    while (err == ERR_OK && span_take_until(&listing, '\n', &text))
        if (split(text, &line))
            err = take_line(reading, &line);
    if (err == ERR_OK)
        err = finish_signature(reading);
    free(reading);
    return err;
}
