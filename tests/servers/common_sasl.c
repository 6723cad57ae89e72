/* Checks logins for real, with OpenSSL's primitives. */
#include "tests/servers/common.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX 8192

struct dialogue {
    struct server_io *io;
    server_challenge_fn challenge;
};

static void encode(const unsigned char *bytes, size_t len, char *text)
{
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
}

/* Length, or -1 for bad base64; "=" is empty. */
static long decode(const char *text, unsigned char *bytes)
{
    size_t len = strlen(text);
    if (strcmp(text, "=") == 0 || len == 0)
        return 0;
    int count = len % 4 == 0 && len < TEXT_MAX ? EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len) : -1;
    if (count < 0)
        return -1;
    for (size_t i = len; i > 0 && text[i - 1] == '='; i--)
        count--;
    bytes[count] = '\0';
    return count;
}

/* Sends a challenge and takes the answer; -1 if it is "*" or no base64. */
static long challenge(const struct dialogue *dialogue, const unsigned char *bytes, size_t len, unsigned char *answer)
{
    char text[TEXT_MAX * 2], line[TEXT_MAX * 2];
    encode(bytes, len, text);
    return dialogue->challenge(dialogue->io, text, line, sizeof(line)) < 0 ? -1 : decode(line, answer);
}

static bool is_user(const struct server *server, const char *name)
{
    return strcmp(name, server->user) == 0;
}

bool server_is_login(const struct server *server, const char *user, const char *password)
{
    return is_user(server, user) && strcmp(password, server->password) == 0;
}

static bool check_plain(const struct server *server, const unsigned char *response, long len, char *login, size_t size)
{
    const char *identity = (const char *)response;
    const char *name = identity + strlen(identity) + 1;
    if (len < 3 || name > identity + len)
        return false;
    const char *password = name + strlen(name) + 1;
    if (password > identity + len)
        return false;
    snprintf(login, size, "%s", name);
    return identity[0] == '\0' && server_is_login(server, name, password);
}

static bool check_login(const struct dialogue *dialogue, const unsigned char *first, long len, char *login, size_t size)
{
    unsigned char answer[TEXT_MAX];
    if (len >= 0)
        snprintf(login, size, "%s", (const char *)first);
    else if (challenge(dialogue, (const unsigned char *)"Username:", 9, answer) > 0)
        snprintf(login, size, "%s", (const char *)answer);
    else
        return false;
    if (challenge(dialogue, (const unsigned char *)"Password:", 9, answer) <= 0)
        return false;
    return server_is_login(dialogue->io->server, login, (const char *)answer);
}

/* XOAUTH2 and OAUTHBEARER: the token is the password. */
static bool check_token(const struct dialogue *dialogue, const unsigned char *response, long len, char *login,
                        size_t size)
{
    const char *text = (const char *)response;
    char expected[256];
    unsigned char answer[TEXT_MAX];
    const char *name = len > 5 && strncmp(text, "user=", 5) == 0  ? text + 5
                       : len > 4 && strncmp(text, "n,a=", 4) == 0 ? text + 4
                                                                  : "";
    snprintf(login, size, "%.*s", (int)strcspn(name, ",\001"), name);
    snprintf(expected, sizeof(expected), "auth=Bearer %s\001", dialogue->io->server->password);
    if (is_user(dialogue->io->server, login) && strstr(text, expected) != NULL)
        return true;
    static const char problem[] = "{\"status\":\"invalid_token\"}";
    challenge(dialogue, (const unsigned char *)problem, sizeof(problem) - 1, answer);
    return false;
}

static bool check_cram(const struct dialogue *dialogue, char *login, size_t size)
{
    unsigned char answer[TEXT_MAX], mac[EVP_MAX_MD_SIZE], random[8];
    char nonce[64], expected[256];
    unsigned mac_len = 0;
    RAND_bytes(random, sizeof(random));
    snprintf(nonce, sizeof(nonce), "<%02x%02x%02x%02x@reference.example>", random[0], random[1], random[2], random[3]);
    if (challenge(dialogue, (const unsigned char *)nonce, strlen(nonce), answer) <= 0)
        return false;
    HMAC(EVP_md5(), dialogue->io->server->password, (int)strlen(dialogue->io->server->password),
         (const unsigned char *)nonce, strlen(nonce), mac, &mac_len);
    snprintf(login, size, "%.*s", (int)strcspn((const char *)answer, " "), (const char *)answer);
    int len = snprintf(expected, sizeof(expected), "%s ", login);
    for (unsigned i = 0; i < mac_len; i++)
        len += snprintf(expected + len, sizeof(expected) - (size_t)len, "%02x", mac[i]);
    return is_user(dialogue->io->server, login) && strcmp((const char *)answer, expected) == 0;
}

/* The proof that a client with the right password sends (RFC 5802 §3); adds the server's signature. */
static bool scram_proof(const EVP_MD *hash, const char *password, const unsigned char *salt, size_t salt_len,
                        const char *text, char *proof_text, char *signature_text)
{
    unsigned char salted[EVP_MAX_MD_SIZE], client[EVP_MAX_MD_SIZE], stored[EVP_MAX_MD_SIZE], signature[EVP_MAX_MD_SIZE],
        server[EVP_MAX_MD_SIZE];
    int size = EVP_MD_get_size(hash);
    unsigned len = 0;
    if (PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, (int)salt_len, 4096, hash, size, salted) != 1)
        return false;
    HMAC(hash, salted, size, (const unsigned char *)"Client Key", 10, client, &len);
    EVP_Digest(client, (size_t)size, stored, &len, hash, NULL);
    HMAC(hash, stored, size, (const unsigned char *)text, strlen(text), signature, &len);
    for (int i = 0; i < size; i++)
        client[i] ^= signature[i];
    encode(client, (size_t)size, proof_text);
    HMAC(hash, salted, size, (const unsigned char *)"Server Key", 10, server, &len);
    HMAC(hash, server, size, (const unsigned char *)text, strlen(text), signature, &len);
    encode(signature, (size_t)size, signature_text);
    return true;
}

static bool check_scram(const struct dialogue *dialogue, const EVP_MD *hash, const unsigned char *first, char *login,
                        size_t size)
{
    static const unsigned char salt[] = "reference salt";
    unsigned char random[12], answer[TEXT_MAX];
    char bare[512], salt_text[64], nonce_text[32], server_first[1024], text[10240], proof[128], signature[128],
        final[160];
    const char *start = strstr((const char *)first, "n=");
    const char *nonce = strstr((const char *)first, ",r=");
    if (start == NULL || nonce == NULL || strncmp((const char *)first, "n,", 2) != 0)
        return false;
    snprintf(bare, sizeof(bare), "%s", start);
    snprintf(login, size, "%.*s", (int)strcspn(start + 2, ","), start + 2);
    RAND_bytes(random, sizeof(random));
    encode(random, sizeof(random), nonce_text);
    encode(salt, sizeof(salt) - 1, salt_text);
    snprintf(server_first, sizeof(server_first), "r=%s%s,s=%s,i=4096", nonce + 3, nonce_text, salt_text);
    if (challenge(dialogue, (const unsigned char *)server_first, strlen(server_first), answer) <= 0)
        return false;
    char *given = strstr((char *)answer, ",p=");
    if (given == NULL)
        return false;
    *given = '\0';
    snprintf(text, sizeof(text), "%s,%s,%s", bare, server_first, (const char *)answer);
    if (!scram_proof(hash, dialogue->io->server->password, salt, sizeof(salt) - 1, text, proof, signature) ||
        !is_user(dialogue->io->server, login) || strcmp(given + 3, proof) != 0)
        return false;
    snprintf(final, sizeof(final), "v=%s", signature);
    return challenge(dialogue, (const unsigned char *) final, strlen(final), answer) >= 0;
}

static bool is_offered(const struct server *server, const char *mechanism)
{
    size_t len = strlen(mechanism);
    for (const char *at = server->mechanisms; at != NULL && len > 0; at = strchr(at, ' ')) {
        at += strspn(at, " ");
        if (strncasecmp(at, mechanism, len) == 0 && (at[len] == ' ' || at[len] == '\0'))
            return true;
    }
    return false;
}

enum server_sasl server_sasl(struct server_io *io, const char *mechanism, const char *initial,
                             server_challenge_fn challenge_fn, char *login, size_t login_size)
{
    const struct dialogue dialogue = {io, challenge_fn};
    unsigned char first[TEXT_MAX] = "";
    long len = -1;
    bool is_good = false;
    if (!is_offered(io->server, mechanism))
        return SERVER_SASL_UNKNOWN;
    if (initial != NULL && (len = decode(initial, first)) < 0)
        return SERVER_SASL_MALFORMED;
    bool is_login = strcasecmp(mechanism, "LOGIN") == 0, is_cram = strcasecmp(mechanism, "CRAM-MD5") == 0;
    if (len < 0 && !is_login && !is_cram)
        len = challenge(&dialogue, (const unsigned char *)"", 0, first);
    if (is_login)
        is_good = check_login(&dialogue, first, len, login, login_size);
    else if (is_cram)
        is_good = check_cram(&dialogue, login, login_size);
    else if (len > 0 && strcasecmp(mechanism, "PLAIN") == 0)
        is_good = check_plain(io->server, first, len, login, login_size);
    else if (len > 0 && strncasecmp(mechanism, "SCRAM-SHA-", 10) == 0)
        is_good = check_scram(&dialogue, strcmp(mechanism + 10, "1") == 0 ? EVP_sha1() : EVP_sha256(), first, login,
                              login_size);
    else if (len > 0)
        is_good = check_token(&dialogue, first, len, login, login_size);
    return is_good ? SERVER_SASL_GOOD : SERVER_SASL_BAD;
}
