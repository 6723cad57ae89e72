/*
 * The saved form of an index, as it travels between our own processes: a line that names the form, whether it is
 * incomplete, the number of entries, then each entry as texts with a two-byte length before them and numbers, low byte
 * first.
 */
#include "keyring/index.h"

#include <string.h>

#define SAVED_NAME "privyseal keyring 4\n"

enum { FLAG_REVOKED = 1, FLAG_DISABLED = 2, FLAG_SECRET = 4, FLAG_AEAD = 8, FLAG_PRIMARY = 16, FLAGS_ALL = 31 };

static enum err add_number(struct buf *out, uint64_t number, size_t bytes)
{
    unsigned char encoded[8];
    for (size_t i = 0; i < bytes; i++)
        encoded[i] = (unsigned char)(number >> (8 * i));
    return buf_add(out, encoded, bytes);
}

static enum err add_text(struct buf *out, const char *text)
{
    size_t len = strlen(text);
    enum err err = add_number(out, len, 2);
    return err == ERR_OK ? buf_add(out, text, len) : err;
}

static unsigned flags_of(const struct keyring_entry *entry)
{
    return (entry->is_revoked ? FLAG_REVOKED : 0u) | (entry->is_disabled ? FLAG_DISABLED : 0u) |
           (entry->has_secret ? FLAG_SECRET : 0u) | (entry->has_aead ? FLAG_AEAD : 0u) |
           (entry->is_primary_uid ? FLAG_PRIMARY : 0u);
}

static enum err save_entry(const struct keyring_entry *entry, struct buf *out)
{
    const char *const texts[] = {entry->address, entry->fingerprint, entry->algorithm, entry->user_id};
    const int64_t times[] = {entry->created, entry->expires, entry->encrypt_until, entry->sign_until, entry->ask_again};
    const unsigned bytes[] = {(unsigned)entry->format, (unsigned)entry->trust, (unsigned)entry->source,
                              (unsigned)entry->advice, flags_of(entry)};
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof texts / sizeof *texts; i++)
        err = add_text(out, texts[i]);
    for (size_t i = 0; err == ERR_OK && i < sizeof times / sizeof *times; i++)
        err = add_number(out, (uint64_t)times[i], 8);
    for (size_t i = 0; err == ERR_OK && i < sizeof bytes / sizeof *bytes; i++)
        err = add_number(out, bytes[i], 1);
    return err;
}

enum err keyring_save(const struct keyring *keyring, struct buf *out)
{
    size_t before = out->len;
    enum err err = buf_add_string(out, SAVED_NAME);
    if (err == ERR_OK)
        err = add_number(out, keyring_is_incomplete(keyring), 1);
    if (err == ERR_OK)
        err = add_number(out, keyring_len(keyring), 4);
    for (size_t i = 0; err == ERR_OK && i < keyring_len(keyring); i++)
        err = save_entry(keyring_at(keyring, i), out);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

static bool take_number(struct span *rest, size_t bytes, uint64_t *number_out)
{
    if (rest->len < bytes)
        return false;
    *number_out = 0;
    for (size_t i = 0; i < bytes; i++)
        *number_out |= (uint64_t)(unsigned char)rest->ptr[i] << (8 * i);
    *rest = span_skip(*rest, bytes);
    return true;
}

static bool take_text(struct span *rest, char *target, size_t target_size)
{
    uint64_t len;
    if (!take_number(rest, 2, &len) || rest->len < len)
        return false;
    bool is_copied = span_copy(span_slice(*rest, 0, (size_t)len), target, target_size);
    *rest = span_skip(*rest, (size_t)len);
    return is_copied;
}

static bool is_fingerprint(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789ABCDEF")] == '\0';
}

static bool take_times(struct span *rest, struct keyring_entry *entry)
{
    int64_t *const times[] = {&entry->created, &entry->expires, &entry->encrypt_until, &entry->sign_until,
                              &entry->ask_again};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        uint64_t number;
        if (!take_number(rest, 8, &number))
            return false;
        *times[i] = (int64_t)number;
    }
    return entry->encrypt_until >= -1 && entry->sign_until >= -1 && entry->expires >= 0 && entry->ask_again >= 0;
}

static bool take_entry(struct span *rest, struct keyring_entry *entry)
{
    uint64_t format, trust, source, advice, flags;
    *entry = (struct keyring_entry){0};
    if (!take_text(rest, entry->address, sizeof entry->address) ||
        !take_text(rest, entry->fingerprint, sizeof entry->fingerprint) || !is_fingerprint(entry->fingerprint) ||
        !take_text(rest, entry->algorithm, sizeof entry->algorithm) ||
        !take_text(rest, entry->user_id, sizeof entry->user_id) || !take_times(rest, entry))
        return false;
    if (!take_number(rest, 1, &format) || !take_number(rest, 1, &trust) || !take_number(rest, 1, &source) ||
        !take_number(rest, 1, &advice) || !take_number(rest, 1, &flags))
        return false;
    if ((format != KEYRING_OPENPGP && format != KEYRING_SMIME) || trust >= KEYRING_TRUST_COUNT ||
        source >= KEYRING_SOURCE_COUNT || advice >= KEYRING_ADVICE_COUNT || flags > FLAGS_ALL)
        return false;
    entry->format = (enum keyring_format)format;
    entry->trust = (enum keyring_trust)trust;
    entry->source = (enum keyring_source)source;
    entry->advice = (enum keyring_advice)advice;
    entry->is_revoked = (flags & FLAG_REVOKED) != 0;
    entry->is_disabled = (flags & FLAG_DISABLED) != 0;
    entry->has_secret = (flags & FLAG_SECRET) != 0;
    entry->has_aead = (flags & FLAG_AEAD) != 0;
    entry->is_primary_uid = (flags & FLAG_PRIMARY) != 0;
    return true;
}

enum err keyring_load(struct span saved, struct keyring **keyring_out)
{
    struct keyring *keyring = NULL;
    struct keyring_entry entry;
    uint64_t is_incomplete, count;
    *keyring_out = NULL;
    size_t name_len = sizeof SAVED_NAME - 1;
    if (saved.len < name_len || memcmp(saved.ptr, SAVED_NAME, name_len) != 0)
        return ERR_PEER_PROTOCOL;
    struct span rest = span_skip(saved, name_len);
    if (!take_number(&rest, 1, &is_incomplete) || is_incomplete > 1 || !take_number(&rest, 4, &count) ||
        count > KEYRING_ENTRIES_MAX)
        return ERR_PEER_PROTOCOL;
    enum err err = keyring_new(&keyring);
    if (err == ERR_OK && is_incomplete)
        keyring_set_incomplete(keyring);
    for (uint64_t i = 0; err == ERR_OK && i < count; i++)
        err = take_entry(&rest, &entry) ? keyring_add(keyring, &entry) : ERR_PEER_PROTOCOL;
    if (err == ERR_OK && rest.len != 0)
        err = ERR_PEER_PROTOCOL;
    if (err != ERR_OK) {
        keyring_free(&keyring);
        return err;
    }
    *keyring_out = keyring;
    return ERR_OK;
}
