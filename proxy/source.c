#include "proxy/source.h"

#include "base/clock.h"
#include "keyring/certificates.h"
#include "keyring/x509.h"

#include <stdio.h>
#include <string.h>

static const struct proxy_source_ops *const ops[KEYRING_SOURCE_COUNT] = {
    [KEYRING_SOURCE_DIRECTORY] = &proxy_source_ldap,
    [KEYRING_SOURCE_WKD] = &proxy_source_wkd,
    [KEYRING_SOURCE_KEYSERVER] = &proxy_source_keyserver,
    [KEYRING_SOURCE_DANE] = &proxy_source_dane,
};

enum err proxy_source_open(const struct config_source *config, struct event_base *base, struct evdns_base *dns,
                           struct proxy_source *source)
{
    *source = (struct proxy_source){.config = config, .ops = ops[config->kind]};
    if (source->ops == NULL)
        return ERR_INTERNAL;
    return source->ops->open(config, base, dns, &source->state);
}

void proxy_source_close(struct proxy_source *source)
{
    if (source->state != NULL)
        source->ops->close(source->state);
    source->state = NULL;
}

void proxy_source_name(const struct config_source *config, char name[PROXY_SOURCE_NAME_SIZE])
{
    (void)snprintf(name, PROXY_SOURCE_NAME_SIZE, "%s%s%s", keyring_source_name(config->kind),
                   config->name[0] == '\0' ? "" : " ", config->name);
}

/* Of all that the certificate names: whoever may speak for one address may not slip another in beside it. */
static enum err names_only_believed(const struct config_source *config, const char *address, struct span bytes,
                                    bool *is_so)
{
    STACK_OF(X509) *certificates = NULL;
    struct keyring *keyring = NULL;
    size_t wrong;
    enum err err = keyring_x509_read(bytes, &certificates, &wrong);
    if (err == ERR_OK)
        err = keyring_new(&keyring);
    for (int i = 0; err == ERR_OK && i < sk_X509_num(certificates); i++)
        err = keyring_x509_add(sk_X509_value(certificates, i), KEYRING_UNVERIFIED, keyring);
    *is_so = err == ERR_OK;
    for (size_t i = 0; *is_so && i < keyring_len(keyring); i++)
        *is_so = config_source_is_believed(config, address, keyring_at(keyring, i)->address);
    keyring_free(&keyring);
    sk_X509_pop_free(certificates, X509_free);
    return err == ERR_MALFORMED ? ERR_OK : err;
}

enum err proxy_source_keep(const struct config_source *config, const char *address, const struct keyring_piece *piece,
                           struct buf *found_out)
{
    const bool is_hint = piece->kind == KEYRING_FOUND_HINT;
    struct keyring_found found = {.kind = is_hint ? KEYRING_FOUND_CERTIFICATE : piece->kind,
                                  .source = config->kind,
                                  .is_found = !is_hint && config_source_is_believed(config, address, address),
                                  .until = clock_now() + config->found_s + KEYRING_WORD_LONGER_S,
                                  .bytes = piece->bytes};
    enum err err = ERR_OK;
    memcpy(found.directory, config->name, sizeof(found.directory));
    if (found.is_found && found.kind == KEYRING_FOUND_CERTIFICATE)
        err = names_only_believed(config, address, piece->bytes, &found.is_found);
    return err == ERR_OK ? keyring_found_add(found_out, &found) : err;
}

_Static_assert(CONFIG_SOURCES_MAX <= KEYRING_TELLERS_MAX, "there is room for all of them");

size_t proxy_source_tellers(const struct config *config, const char *address, size_t stage,
                            struct keyring_teller *tellers)
{
    size_t len = 0;
    for (size_t i = 0; i < config->sources_len; i++) {
        const struct config_source *source = config->sources[i];
        if (config_source_stage(config, i, address) != stage)
            continue;
        tellers[len] = (struct keyring_teller){.source = source->kind,
                                               .is_believed = config_source_is_believed(source, address, address),
                                               .seconds = source->found_s + KEYRING_WORD_LONGER_S};
        memcpy(tellers[len++].title, source->name, sizeof(source->name));
    }
    return len;
}
