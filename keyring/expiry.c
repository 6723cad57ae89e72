#include "keyring/expiry.h"

#include "base/clock.h"

#include <stdio.h>

/* The earlier of two ends, of which 0 is never, and -1 that there is no such part. */
static int64_t earlier(int64_t a, int64_t b)
{
    return b > 0 && (a == 0 || b < a) ? b : a;
}

static int64_t end_of(const struct keyring_entry *entry)
{
    return earlier(earlier(entry->expires, entry->sign_until), entry->encrypt_until);
}

static bool is_own(const struct keyring_entry *entry, enum keyring_format format)
{
    return entry->format == format && entry->trust == KEYRING_OWN && entry->has_secret && !entry->is_revoked &&
           !entry->is_disabled;
}

const struct keyring_entry *keyring_expiry_own(const struct keyring *keyring, const char *address,
                                               enum keyring_format format, int64_t now, enum keyring_expiry *expiry_out,
                                               int64_t *end_out)
{
    const struct keyring_want want = {
        .purpose = KEYRING_SIGN, .formats = (unsigned)format, .least = KEYRING_OWN, .now = now};
    enum keyring_reason reason;
    const struct keyring_entry *own = keyring_choose(keyring, address, &want, &reason);
    size_t first;
    const size_t len = own != NULL ? 0 : keyring_find(keyring, address, &first);
    for (size_t i = 0; i < len; i++) {
        const struct keyring_entry *entry = keyring_at(keyring, first + i);
        if (is_own(entry, format) && end_of(entry) != 0 && end_of(entry) <= now &&
            (own == NULL || end_of(entry) > end_of(own)))
            own = entry;
    }
    *end_out = own == NULL ? 0 : end_of(own);
    *expiry_out = *end_out == 0 || *end_out > now + KEYRING_EXPIRY_SOON_S ? KEYRING_LASTS
                  : *end_out > now                                        ? KEYRING_ENDS_SOON
                                                                          : KEYRING_HAS_ENDED;
    return own;
}

void keyring_expiry_text(const struct keyring_entry *entry, enum keyring_expiry expiry, int64_t end,
                         char text_out[KEYRING_EXPIRY_TEXT_SIZE])
{
    char date[CLOCK_TEXT_SIZE];
    text_out[0] = '\0';
    if (expiry == KEYRING_LASTS)
        return;
    clock_format(end, date);
    const bool is_ended = expiry == KEYRING_HAS_ENDED;
    if (entry->format == KEYRING_SMIME)
        (void)snprintf(text_out, KEYRING_EXPIRY_TEXT_SIZE,
                       "the own certificate %s %s %.10s%s; have another one issued, and import it with `privyseal key "
                       "import --own FILE`",
                       entry->fingerprint, is_ended ? "has expired on" : "expires", date,
                       is_ended ? ": mail is still read with it, but not signed" : "");
    else
        (void)snprintf(text_out, KEYRING_EXPIRY_TEXT_SIZE,
                       "the own key %s %s %.10s%s; give it a later end with `privyseal key renew %s`",
                       entry->fingerprint, is_ended ? "has expired on" : "expires", date,
                       is_ended ? ": mail is still read with it, but not signed, nor sealed to it" : "",
                       entry->fingerprint);
}
