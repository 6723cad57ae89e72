/*
 * Who said that a key is an address's: the sources of keys, as the configuration orders them, indexes list them and
 * people read them.
 */
#ifndef KEYRING_SOURCE_H
#define KEYRING_SOURCE_H

#include "keyring/trust.h"

/* The order is that of certificates' files in the beginning, and means nothing. */
enum keyring_source {
    KEYRING_SOURCE_IMPORT,    /* a person put it there, or it lay in the GnuPG home */
    KEYRING_SOURCE_MAIL,      /* signed mail that verified, or came with it as part of its chain */
    KEYRING_SOURCE_DIRECTORY, /* an LDAP directory */
    KEYRING_SOURCE_WKD,       /* a Web Key Directory of the address's domain */
    KEYRING_SOURCE_DANE,      /* the domain's zone, signed: OPENPGPKEY (RFC 7929), SMIMEA (RFC 8162) */
    KEYRING_SOURCE_KEYSERVER, /* HKP */
    KEYRING_SOURCE_AUTOCRYPT, /* an Autocrypt field of the correspondent's own mail */
    KEYRING_SOURCE_GOSSIP,    /* an Autocrypt-Gossip field of somebody else's mail */
    KEYRING_SOURCE_PERSON,    /* `key pin` */
    KEYRING_SOURCE_COUNT
};

/* A source is asked again so many seconds before its word runs out, which it then does in an index alone whose source
   has not been heard (keyring_is_stale). */
#define KEYRING_WORD_LONGER_S 600

/* One word, as in the configuration and in files: "import", "wkd". */
const char *keyring_source_name(enum keyring_source source);
/* For people, to stand after "by the word of": "a Web Key Directory". */
const char *keyring_source_text(enum keyring_source source);
/* ERR_CONFIG if there is none such. */
ERR_RETURN enum err keyring_source_parse(struct span name, enum keyring_source *source_out);
/* True for those that are asked over the network, whose word runs out and may be taken back. */
bool keyring_source_is_asked(enum keyring_source source);
/* The most that its word can give. */
enum keyring_trust keyring_source_trust_max(enum keyring_source source);

#endif
