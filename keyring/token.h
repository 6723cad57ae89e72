/*
 * Private keys on a token (PKCS#11), through OpenSSL's engine `pkcs11` and the module of the token's maker.
 *
 * A token counts wrong PINs and locks itself after a few. So a PIN goes to it once: what it has refused is forgotten at
 * once and never tried again, by no process and not after a crash, until a person has been asked anew. gpg-agent asks,
 * and remembers a PIN that was right for as long as it is set to.
 *
 * Used in keepers, which open the token before their sandbox closes, and by the command line; synchronous. One module
 * for a process's life.
 */
#ifndef KEYRING_TOKEN_H
#define KEYRING_TOKEN_H

#include "base/secret.h"
#include "keyring/gpg.h"

#include <openssl/x509.h>

struct keyring_token;

/* Loads engine and module (an absolute path). ERR_ENGINE: one of them is not there or does not work. */
ERR_RETURN enum err keyring_token_open(const char *module, struct keyring_token **token_out);
void keyring_token_close(struct keyring_token **token);

/* Whether this is a URI (RFC 7512) that may be kept: it names one token, by label or serial number, and one object, and
   holds no PIN, nor says where one is. */
bool keyring_token_is_uri(const char *uri);

/* The certificate that the URI names; no PIN is needed. ERR_NOT_FOUND. The caller frees it. */
ERR_RETURN enum err keyring_token_certificate(struct keyring_token *token, const char *uri, X509 **certificate_out);
/* The private key that the URI names, from the session that is open, or after logging in with `pin` (NULL: none), which
   is tried once. ERR_KEY_LOCKED: there is no such key, as far as can be seen without a PIN; ERR_AUTH_FAILED: `pin` was
   given, and this failed. The caller frees the key, before the token is closed. */
ERR_RETURN enum err keyring_token_key(struct keyring_token *token, const char *uri, const struct secret *pin,
                                      EVP_PKEY **key_out);

/* Whether the engine holds a PIN that was given to it: it may use that by itself, when the token has come back. */
bool keyring_token_has_pin(const struct keyring_token *token);

/* token_pin.c: the same with a PIN that the agent remembers, or, if `asks_person`, that a person is asked for, once.
   What became of it is noted in a file in `dir`, which all who use the account's tokens share. ERR_KEY_LOCKED: not
   remembered, refused, cancelled, or somebody else is about it just now. */
ERR_RETURN enum err keyring_token_unlock(struct keyring_token *token, struct keyring_gpg *gpg, const char *dir,
                                         const char *uri, bool asks_person, EVP_PKEY **key_out);

#endif
