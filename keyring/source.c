#include "keyring/source.h"

static const struct {
    const char *name, *text;
    enum keyring_trust trust_max;
    bool is_asked;
} SOURCES[] = {
    [KEYRING_SOURCE_IMPORT] = {"import", "an import", KEYRING_UNVERIFIED, false},
    [KEYRING_SOURCE_MAIL] = {"mail", "signed mail", KEYRING_SEEN, false},
    [KEYRING_SOURCE_DIRECTORY] = {"directory", "an LDAP directory", KEYRING_FOUND, true},
    [KEYRING_SOURCE_WKD] = {"wkd", "a Web Key Directory", KEYRING_FOUND, true},
    [KEYRING_SOURCE_DANE] = {"dane", "a signed zone (DANE)", KEYRING_FOUND, true},
    [KEYRING_SOURCE_KEYSERVER] = {"keyserver", "a keyserver", KEYRING_UNVERIFIED, true},
    [KEYRING_SOURCE_AUTOCRYPT] = {"autocrypt", "an Autocrypt field", KEYRING_SEEN, false},
    [KEYRING_SOURCE_GOSSIP] = {"gossip", "another correspondent's Autocrypt gossip", KEYRING_SEEN, false},
    [KEYRING_SOURCE_PERSON] = {"person", "you", KEYRING_PINNED, false},
};
_Static_assert(sizeof SOURCES / sizeof *SOURCES == KEYRING_SOURCE_COUNT, "each source needs a name");

const char *keyring_source_name(enum keyring_source source)
{
    return (size_t)source < KEYRING_SOURCE_COUNT ? SOURCES[source].name : SOURCES[KEYRING_SOURCE_IMPORT].name;
}

const char *keyring_source_text(enum keyring_source source)
{
    return (size_t)source < KEYRING_SOURCE_COUNT ? SOURCES[source].text : SOURCES[KEYRING_SOURCE_IMPORT].text;
}

enum err keyring_source_parse(struct span name, enum keyring_source *source_out)
{
    for (size_t i = 0; i < KEYRING_SOURCE_COUNT; i++)
        if (span_is_equal(name, span_of(SOURCES[i].name))) {
            *source_out = (enum keyring_source)i;
            return ERR_OK;
        }
    return ERR_CONFIG;
}

bool keyring_source_is_asked(enum keyring_source source)
{
    return (size_t)source < KEYRING_SOURCE_COUNT && SOURCES[source].is_asked;
}

enum keyring_trust keyring_source_trust_max(enum keyring_source source)
{
    return (size_t)source < KEYRING_SOURCE_COUNT ? SOURCES[source].trust_max : KEYRING_NEVER;
}
