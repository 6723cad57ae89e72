#include "keyring/dane.h"

#include "base/base64.h"
#include "mime/addr.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uninorm.h>
#include <unistr.h>

#define DIGEST_LEN 28 /* octets of SHA-256 that are kept (RFC 7929 §3) */
#define LABEL_MAX 63

static const char *prefix_of(enum keyring_dane_type type)
{
    return type == KEYRING_DANE_SMIMEA ? "_smimecert" : "_openpgpkey";
}

/* Without quotes and what they need (RFC 7929 §3, step 2); a normal form has them only where they are needed. */
static size_t unquote(const char *address, char local[MIME_ADDR_SIZE])
{
    const size_t end = (size_t)(mime_addr_domain(address) - address) - 1;
    const bool is_quoted = end >= 2 && address[0] == '"' && address[end - 1] == '"';
    size_t len = 0;
    for (size_t i = is_quoted; i < end - is_quoted; i++) {
        if (is_quoted && address[i] == '\\' && i + 1 < end - is_quoted)
            i++;
        local[len++] = address[i];
    }
    return len;
}

static enum err digest_of(const char *address, unsigned char digest[EVP_MAX_MD_SIZE])
{
    char local[MIME_ADDR_SIZE];
    size_t len = 0;
    const size_t local_len = unquote(address, local);
    if (u8_check((const uint8_t *)local, local_len) != NULL)
        return ERR_ADDRESS_SYNTAX;
    uint8_t *normal = u8_normalize(UNINORM_NFC, (const uint8_t *)local, local_len, NULL, &len);
    if (normal == NULL)
        return ERR_MEMORY;
    const int is_done = EVP_Digest(normal, len, digest, NULL, EVP_sha256(), NULL);
    free(normal);
    return is_done == 1 ? ERR_OK : ERR_MEMORY;
}

/* Letters, digits, hyphens and underscores: nothing that means something else in a zone file or in libunbound. */
static bool is_host(const char *domain)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    for (;;) {
        const size_t len = strspn(domain, allowed);
        if (len == 0 || len > LABEL_MAX || (domain[len] != '.' && domain[len] != '\0'))
            return false;
        if (domain[len] == '\0')
            return true;
        domain += len + 1;
    }
}

enum err keyring_dane_name(const char *address, enum keyring_dane_type type, char name[KEYRING_DANE_NAME_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hexadecimal[2 * DIGEST_LEN + 1];
    const char *domain = mime_addr_domain(address);
    if (!is_host(domain))
        return ERR_ADDRESS_SYNTAX;
    enum err err = digest_of(address, digest);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < DIGEST_LEN; i++)
        snprintf(hexadecimal + 2 * i, 3, "%02x", digest[i]);
    const int len = snprintf(name, KEYRING_DANE_NAME_SIZE, "%s.%s.%s", hexadecimal, prefix_of(type), domain);
    return len > 0 && len < KEYRING_DANE_NAME_SIZE ? ERR_OK : ERR_ADDRESS_SYNTAX;
}

static enum err add_hexadecimal(struct span bytes, struct buf *out)
{
    enum err err = buf_reserve(out, 2 * bytes.len);
    for (size_t i = 0; err == ERR_OK && i < bytes.len; i++)
        err = buf_addf(out, "%02x", (unsigned char)bytes.ptr[i]);
    return err;
}

/* What stands before the certificate: usage 3 (the certificate itself), selector 0 (all of it), matching 0 (as it is;
   RFC 6698 §2.1). */
static const struct {
    const char *named, *generic;
    size_t len;
} SMIMEA_HEAD = {"3 0 0 ", "030000", 3};

static enum err add_generic(enum keyring_dane_type type, struct span bytes, struct buf *out)
{
    const bool is_smimea = type == KEYRING_DANE_SMIMEA;
    enum err err = buf_addf(out, "TYPE%d \\# %zu %s", (int)type, bytes.len + (is_smimea ? SMIMEA_HEAD.len : 0),
                            is_smimea ? SMIMEA_HEAD.generic : "");
    return err == ERR_OK ? add_hexadecimal(bytes, out) : err;
}

static enum err add_named(enum keyring_dane_type type, struct span bytes, struct buf *out)
{
    if (type == KEYRING_DANE_SMIMEA) {
        enum err err = buf_addf(out, "SMIMEA %s", SMIMEA_HEAD.named);
        return err == ERR_OK ? add_hexadecimal(bytes, out) : err;
    }
    enum err err = buf_add_string(out, "OPENPGPKEY ");
    return err == ERR_OK ? base64_encode(bytes, out) : err;
}

enum err keyring_dane_print(const char *address, enum keyring_dane_type type, struct span bytes, bool is_generic,
                            struct buf *out)
{
    char name[KEYRING_DANE_NAME_SIZE];
    const size_t before = out->len;
    if (bytes.len == 0 || bytes.len > KEYRING_DANE_RDATA_MAX - SMIMEA_HEAD.len)
        return ERR_LIMIT;
    enum err err = keyring_dane_name(address, type, name);
    if (err == ERR_OK)
        err = buf_addf(out, "%s. IN ", name);
    if (err == ERR_OK)
        err = is_generic ? add_generic(type, bytes, out) : add_named(type, bytes, out);
    if (err == ERR_OK)
        err = buf_add_byte(out, '\n');
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}
