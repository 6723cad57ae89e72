/*
 * The engine `pkcs11` (libp11). Engines are deprecated in OpenSSL 3, and Debian 12 has no provider for PKCS#11: so all
 * of that interface is in this file.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/log.h"
#include "keyring/token.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <openssl/ui.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE_NAME "pkcs11"

struct keyring_token {
    ENGINE *engine;
    UI_METHOD *nobody;
    bool has_pin; /* the engine was given one */
};

/* The engine asks this for a PIN when it has none: UI_null would answer with an empty one, which the token counts. */
static int read_nothing(UI *ui, UI_STRING *string)
{
    (void)ui;
    (void)string;
    return 0;
}

/* The library's words for what went wrong, if it has any. */
static const char *last_error(char text[256])
{
    const unsigned long error = ERR_peek_last_error();
    ERR_error_string_n(error, text, 256);
    ERR_clear_error();
    return error ? text : "no reason was given";
}

enum err keyring_token_open(const char *module, struct keyring_token **token_out)
{
    char text[256];
    struct keyring_token *token = calloc(1, sizeof *token);
    *token_out = NULL;
    if (!token)
        return ERR_MEMORY;
    ENGINE_load_dynamic();
    ENGINE *engine = ENGINE_by_id(ENGINE_NAME);
    if (!engine) {
        free(token);
        return log_failure(ERR_ENGINE, "OpenSSL's engine pkcs11 (libengine-pkcs11-openssl): %s", last_error(text));
    }
    /* What it has to say comes in the errors that it gives, too. */
    (void)ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, 0);
    if (ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", module, 0) != 1 || ENGINE_init(engine) != 1) {
        ENGINE_free(engine);
        free(token);
        return log_failure(ERR_ENGINE, "the PKCS#11 module %s: %s", module, last_error(text));
    }
    ENGINE_free(engine); /* what is initialised has a reference of its own */
    token->engine = engine;
    token->nobody = UI_create_method("nobody");
    if (!token->nobody || UI_method_set_reader(token->nobody, read_nothing) != 0) {
        keyring_token_close(&token);
        return ERR_MEMORY;
    }
    *token_out = token;
    return ERR_OK;
}

void keyring_token_close(struct keyring_token **token)
{
    if (!*token)
        return;
    ENGINE_finish((*token)->engine);
    UI_destroy_method((*token)->nobody);
    free(*token);
    *token = NULL;
}

/* What libp11 takes for "LOAD_CERT_CTRL". */
struct certificate_wish {
    const char *uri;
    X509 *certificate;
};

enum err keyring_token_certificate(struct keyring_token *token, const char *uri, X509 **certificate_out)
{
    char text[256];
    struct certificate_wish wish = {.uri = uri};
    *certificate_out = NULL;
    if (ENGINE_ctrl_cmd(token->engine, "LOAD_CERT_CTRL", 0, &wish, NULL, 0) != 1 || !wish.certificate)
        return log_failure(ERR_NOT_FOUND, "the certificate %s: %s", uri, last_error(text));
    ERR_clear_error();
    *certificate_out = wish.certificate;
    return ERR_OK;
}

enum err keyring_token_key(struct keyring_token *token, const char *uri, const struct secret *pin, EVP_PKEY **key_out)
{
    *key_out = NULL;
    if (pin && (pin->len == 0 || ENGINE_ctrl_cmd_string(token->engine, "PIN", pin->data, 0) != 1))
        return ERR_KEY_LOCKED;
    token->has_pin = token->has_pin || pin != NULL;
    *key_out = ENGINE_load_private_key(token->engine, uri, token->nobody, NULL);
    if (!*key_out && pin) {
        char text[256];
        log_warning("the private key %s: %s", uri, last_error(text));
    }
    ERR_clear_error();
    return *key_out ? ERR_OK : pin ? ERR_AUTH_FAILED : ERR_KEY_LOCKED;
}

bool keyring_token_has_pin(const struct keyring_token *token)
{
    return token->has_pin;
}

bool keyring_token_is_uri(const char *uri)
{
    struct span rest = span_of(uri), piece;
    bool names_token = false, names_object = false;
    if (!span_has_prefix(rest, SPAN_LIT("pkcs11:")) || strchr(uri, '?') || strpbrk(uri, "\r\n \""))
        return false;
    rest = span_skip(rest, strlen("pkcs11:"));
    while (span_take_until(&rest, ';', &piece)) {
        if (span_has_case_prefix(piece, SPAN_LIT("pin-")))
            return false;
        names_token =
            names_token || span_has_prefix(piece, SPAN_LIT("token=")) || span_has_prefix(piece, SPAN_LIT("serial="));
        names_object =
            names_object || span_has_prefix(piece, SPAN_LIT("id=")) || span_has_prefix(piece, SPAN_LIT("object="));
    }
    return names_token && names_object;
}
