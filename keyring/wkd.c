/* draft-koch-openpgp-webkey-service §3.1 */
#include "keyring/web.h"

#include "keyring/web_internal.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define HASH_SIZE 20
#define HASHED_SIZE (HASH_SIZE * 8 / 5 + 1)

/* Z-base-32 (RFC 6189 §5.1.6): five bits each, none left over. */
static void zbase32(const unsigned char hash[HASH_SIZE], char text_out[HASHED_SIZE])
{
    static const char letters[] = "ybndrfg8ejkmcpqxot1uwisza345h769";
    for (size_t i = 0; i < HASHED_SIZE - 1; i++) {
        const size_t bit = i * 5, byte = bit / 8;
        const unsigned two = (unsigned)hash[byte] << 8 | (byte + 1 < HASH_SIZE ? hash[byte + 1] : 0u);
        text_out[i] = letters[two >> (11 - bit % 8) & 31];
    }
    text_out[HASHED_SIZE - 1] = '\0';
}

/* Of the local part with its ASCII letters in lower case; all else stays as it is. */
static enum err hash_local(struct span local, char text_out[HASHED_SIZE])
{
    char lower[MIME_ADDR_SIZE];
    unsigned char hash[EVP_MAX_MD_SIZE];
    if (!span_copy(local, lower, sizeof lower))
        return ERR_ADDRESS_SYNTAX;
    for (char *at = lower; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at += 'a' - 'A';
    if (EVP_Digest(lower, local.len, hash, NULL, EVP_sha1(), NULL) != 1)
        return ERR_ENGINE;
    zbase32(hash, text_out);
    return ERR_OK;
}

/* No literal address, nothing that means something in a URL; in lower case already. */
static bool is_host(const char *domain)
{
    const size_t len = strlen(domain);
    return len > 0 && len + sizeof "openpgpkey." <= KEYRING_WEB_HOST_SIZE && domain[0] != '.' && domain[0] != '-' &&
           domain[strspn(domain, "abcdefghijklmnopqrstuvwxyz0123456789-._")] == '\0' &&
           strspn(domain, "0123456789.") < len;
}

static enum err add_folder(const char *address, bool is_direct, struct buf *text)
{
    const char *domain = mime_addr_domain(address);
    if (!is_host(domain))
        return ERR_ADDRESS_SYNTAX;
    return is_direct ? buf_add_string(text, ".well-known/openpgpkey/")
                     : buf_addf(text, ".well-known/openpgpkey/%s/", domain);
}

static enum err add_path(const char *address, bool is_direct, struct buf *text)
{
    const struct span local = {address, (size_t)(mime_addr_domain(address) - address) - 1};
    char hash[HASHED_SIZE];
    enum err err = add_folder(address, is_direct, text);
    if (err == ERR_OK)
        err = hash_local(local, hash);
    return err == ERR_OK ? buf_addf(text, "hu/%s", hash) : err;
}

static enum err finish(enum err err, struct buf *text, char out[KEYRING_WEB_URL_SIZE])
{
    if (err == ERR_OK && !span_copy(buf_span(text), out, KEYRING_WEB_URL_SIZE))
        err = ERR_LIMIT;
    buf_fini(text);
    return err;
}

enum err keyring_wkd_path(const char *address, bool is_direct, char path[KEYRING_WEB_URL_SIZE])
{
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    return finish(add_path(address, is_direct, &text), &text, path);
}

enum err keyring_wkd_policy_path(const char *address, bool is_direct, char path[KEYRING_WEB_URL_SIZE])
{
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    enum err err = add_folder(address, is_direct, &text);
    if (err == ERR_OK)
        err = buf_add_string(&text, "policy");
    return finish(err, &text, path);
}

enum err keyring_wkd_url(const char *address, bool is_direct, char url[KEYRING_WEB_URL_SIZE])
{
    const char *domain = mime_addr_domain(address);
    struct buf text;
    buf_init(&text, KEYRING_WEB_URL_SIZE - 1);
    enum err err = buf_addf(&text, "https://%s%s/", is_direct ? "" : "openpgpkey.", domain);
    if (err == ERR_OK)
        err = add_path(address, is_direct, &text);
    if (err == ERR_OK)
        err = buf_add_string(&text, "?l=");
    if (err == ERR_OK)
        err = web_add_escaped((struct span){address, (size_t)(domain - address) - 1}, &text);
    return finish(err, &text, url);
}
