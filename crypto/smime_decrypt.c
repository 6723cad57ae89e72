#include "crypto/smime_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#define KEY_PREFIX "smime:"
#define TAG_SIZE 16
#define OWN_MAX 100 /* certificates of an account that have a private key */
#define PIECE_MAX ((size_t)1 << 28)

struct cipher {
    const char *name;
    size_t key_len; /* 0: as long as whoever encrypted wanted */
    size_t iv_len;
    int nid;
    bool is_authenticated, is_weak;
};

static const struct cipher ciphers[] = {
    {"AES-128-CBC", 16, 16, NID_aes_128_cbc, false, false},
    {"AES-192-CBC", 24, 16, NID_aes_192_cbc, false, false},
    {"AES-256-CBC", 32, 16, NID_aes_256_cbc, false, false},
    {"DES-EDE3-CBC", 24, 8, NID_des_ede3_cbc, false, true},
    {"RC2-CBC", 0, 8, NID_rc2_cbc, false, true},
    {"AES-128-GCM", 16, 12, NID_aes_128_gcm, true, false},
    {"AES-192-GCM", 24, 12, NID_aes_192_gcm, true, false},
    {"AES-256-GCM", 32, 12, NID_aes_256_gcm, true, false},
};

/* What an EnvelopedData or AuthEnvelopedData says; borrows. */
struct envelope {
    struct span recipients; /* what the SET holds */
    const struct cipher *cipher;
    struct span iv;
    unsigned rc2_bits;
    struct crypto_ber content; /* [0] IMPLICIT OCTET STRING */
    struct span attributes;    /* what the SET of authenticated attributes holds; ptr NULL: there is none */
    struct span tag;
};

/* ---- reading ---- */

/* GCMParameters ::= SEQUENCE { aes-nonce OCTET STRING, aes-ICVlen INTEGER DEFAULT 12 } (RFC 5084 §3.2) */
static bool take_gcm_parameters(struct span rest, struct envelope *envelope)
{
    struct crypto_ber item;

    if (!crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) || rest.len > 0)
        return false;
    rest = item.content;
    return smime_take_octets(&rest, &envelope->iv) &&
           crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) && rest.len == 0 &&
           item.content.len == 1 && item.content.ptr[0] == TAG_SIZE;
}

/* RC2CBCParameter ::= SEQUENCE { rc2ParameterVersion INTEGER, iv OCTET STRING } (RFC 3370 §5.2): the version is a code
   for the number of bits. */
static bool take_rc2_parameters(struct span rest, struct envelope *envelope)
{
    struct crypto_ber item;
    unsigned char version;

    if (!crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) || rest.len > 0)
        return false;
    rest = item.content;
    if (!crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item) || item.content.len == 0)
        return false;
    version = (unsigned char)item.content.ptr[item.content.len - 1];
    envelope->rc2_bits = version == 160 ? 40 : version == 120 ? 64 : version == 58 ? 128 : 0;
    return envelope->rc2_bits != 0 && smime_take_octets(&rest, &envelope->iv) && rest.len == 0;
}

static bool take_cipher(struct span algorithm, bool is_authenticated, struct envelope *envelope)
{
    int nid = crypto_ber_take_oid(&algorithm);

    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        if (ciphers[i].nid == nid && ciphers[i].is_authenticated == is_authenticated)
            envelope->cipher = &ciphers[i];
    if (envelope->cipher == NULL)
        return false;
    if (nid == NID_rc2_cbc ? !take_rc2_parameters(algorithm, envelope)
        : is_authenticated ? !take_gcm_parameters(algorithm, envelope)
                           : !smime_take_octets(&algorithm, &envelope->iv) || algorithm.len > 0)
        return false;
    return envelope->iv.len == envelope->cipher->iv_len;
}

/* EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm, encryptedContent [0] IMPLICIT OPTIONAL }
   (RFC 5652 §6.1), with mail in it. */
static bool take_content(struct span *rest, bool is_authenticated, struct envelope *envelope)
{
    struct crypto_ber item;
    struct span inside;

    if (!crypto_ber_expect(rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item))
        return false;
    inside = item.content;
    return crypto_ber_take_oid(&inside) == NID_pkcs7_data &&
           crypto_ber_expect(&inside, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) &&
           take_cipher(item.content, is_authenticated, envelope) &&
           crypto_ber_expect(&inside, V_ASN1_CONTEXT_SPECIFIC, 0, &envelope->content) && inside.len == 0;
}

/* Takes `[tag]` if it comes next. */
static bool take_optional(struct span *rest, int tag, struct crypto_ber *item_out)
{
    struct span ahead = *rest;

    if (!crypto_ber_expect(&ahead, V_ASN1_CONTEXT_SPECIFIC, tag, item_out))
        return false;
    *rest = ahead;
    return true;
}

/* Up to and including the recipients: version, originatorInfo [0]?, recipientInfos SET. */
static bool take_recipients(struct span cms, int *type_out, struct span *rest_out, struct span *recipients_out)
{
    struct crypto_ber item;
    struct span content;

    *type_out = crypto_cms_content(cms, &content);
    if ((*type_out != NID_pkcs7_enveloped && *type_out != NID_id_smime_ct_authEnvelopedData) ||
        !crypto_ber_expect(&content, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) || content.len > 0)
        return false;
    *rest_out = item.content;
    if (!crypto_ber_expect(rest_out, V_ASN1_UNIVERSAL, V_ASN1_INTEGER, &item))
        return false;
    (void)take_optional(rest_out, 0, &item);
    if (!crypto_ber_expect(rest_out, V_ASN1_UNIVERSAL, V_ASN1_SET, &item))
        return false;
    *recipients_out = item.content;
    return true;
}

/* Then the content; and of AuthEnvelopedData authAttrs [1]?, mac; at last attributes that nothing protects. */
static bool read_envelope(struct span cms, struct envelope *envelope)
{
    struct crypto_ber item;
    struct span rest;
    bool is_authenticated;
    int type;

    *envelope = (struct envelope){.cipher = NULL};
    if (!take_recipients(cms, &type, &rest, &envelope->recipients))
        return false;
    is_authenticated = type == NID_id_smime_ct_authEnvelopedData;
    if (!take_content(&rest, is_authenticated, envelope))
        return false;
    if (is_authenticated) {
        if (take_optional(&rest, 1, &item))
            envelope->attributes = item.content;
        if (!smime_take_octets(&rest, &envelope->tag) || envelope->tag.len != TAG_SIZE)
            return false;
    }
    (void)take_optional(&rest, is_authenticated ? 2 : 1, &item);
    return rest.len == 0;
}

static enum err pass_over(const struct smime_recipient *recipient, void *context)
{
    (void)recipient;
    (void)context;
    return ERR_OK;
}

bool crypto_smime_has_password(struct span cms)
{
    struct span rest, recipients;
    bool has_password = false;
    int type;

    return take_recipients(cms, &type, &rest, &recipients) &&
           smime_each_recipient(recipients, pass_over, NULL, &has_password) == ERR_OK && has_password;
}

/* ---- the key ---- */

struct search {
    const struct crypto_smime_how *how;
    const struct keyring_certificate *own[OWN_MAX];
    size_t own_len;
    bool was_locked[OWN_MAX]; /* in this round; a message may name one key thousands of times */
    bool asks_person, is_locked;
    struct smime_key *key;
};

static void find_own(struct search *search)
{
    struct keyring_certificates *all = search->how->smime->certificates;
    size_t len = all == NULL ? 0 : keyring_certificates_len(all);

    for (size_t i = 0; i < len && search->own_len < OWN_MAX; i++)
        if (keyring_certificates_at(all, i)->key_place[0] != '\0')
            search->own[search->own_len++] = keyring_certificates_at(all, i);
}

/* A key that does not fit is no reason to try another one: the search ends with the first that is there. ERR_END:
   found, or it does not fit. */
static enum err try_recipient(const struct smime_recipient *recipient, void *context)
{
    struct search *search = context;
    const struct crypto_smime *smime = search->how->smime;

    for (size_t i = 0; i < search->own_len; i++) {
        EVP_PKEY *own = NULL;
        enum err result;

        if (search->was_locked[i] || !smime_recipient_is(recipient, search->own[i]->certificate))
            continue;
        result = smime->private_key(smime->context, search->own[i], search->asks_person, &own);
        if (result == ERR_KEY_LOCKED)
            search->is_locked = search->was_locked[i] = true;
        if (result == ERR_KEY_LOCKED || result == ERR_NO_KEY)
            continue;
        if (result != ERR_OK)
            return result;
        if (smime_unwrap(own, recipient, search->key) != ERR_OK)
            search->key->len = 0;
        EVP_PKEY_free(own);
        return ERR_END;
    }
    return ERR_OK;
}

/* First without asking anybody: another key may do. A key of no octets stands for one that did not fit. */
static enum err find_key(const struct crypto_smime_how *how, struct span recipients, struct smime_key *key)
{
    struct search search = {.how = how, .key = key};
    bool has_password;
    enum err result = ERR_DECRYPT;

    if (how->smime == NULL || how->smime->private_key == NULL)
        return ERR_DECRYPT;
    find_own(&search);
    for (int i = 0; i <= (how->asks_person ? 1 : 0); i++) {
        search.asks_person = i > 0;
        if (i > 0 && !search.is_locked)
            break;
        search.is_locked = false;
        memset(search.was_locked, 0, sizeof search.was_locked);
        result = smime_each_recipient(recipients, try_recipient, &search, &has_password);
        if (result != ERR_OK)
            return result == ERR_END ? ERR_OK : result;
    }
    return search.is_locked ? ERR_KEY_LOCKED : ERR_DECRYPT;
}

static bool read_session_key(const char *text, struct smime_key *key)
{
    struct span digits = span_of(text);
    unsigned octet;

    if (!span_has_prefix(digits, SPAN_LIT(KEY_PREFIX)))
        return false;
    digits = span_skip(digits, sizeof KEY_PREFIX - 1);
    if (digits.len == 0 || digits.len % 2 != 0 || digits.len / 2 > SMIME_KEY_MAX)
        return false;
    for (key->len = 0; digits.len > 0; digits = span_skip(digits, 2)) {
        if (sscanf(digits.ptr, "%2X", &octet) != 1)
            return false;
        key->octets[key->len++] = (unsigned char)octet;
    }
    return true;
}

static void write_session_key(const struct smime_key *key, char text_out[CRYPTO_SESSION_KEY_SIZE])
{
    size_t at = sizeof KEY_PREFIX - 1;

    memcpy(text_out, KEY_PREFIX, sizeof KEY_PREFIX);
    for (size_t i = 0; i < key->len; i++, at += 2)
        (void)snprintf(text_out + at, CRYPTO_SESSION_KEY_SIZE - at, "%02X", key->octets[i]);
}

/* ---- the content ---- */

/* RC2 is of the legacy provider, which must not become part of everything else. Lives as long as the process. */
static OSSL_LIB_CTX *legacy(void)
{
    static OSSL_LIB_CTX *context;

    if (context == NULL && (context = OSSL_LIB_CTX_new()) != NULL && OSSL_PROVIDER_load(context, "legacy") == NULL)
        log_warning("OpenSSL has no legacy provider: mail with RC2 cannot be read");
    return context;
}

struct decrypting {
    EVP_CIPHER_CTX *context;
    struct buf *out;
};

static bool start(struct decrypting *decrypting, const struct envelope *envelope, const struct smime_key *key)
{
    size_t key_len = key->len;
    unsigned bits = envelope->rc2_bits;
    const bool is_rc2 = bits != 0;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(is_rc2 ? legacy() : NULL, envelope->cipher->name, NULL);
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_CIPHER_PARAM_KEYLEN, &key_len),
                               OSSL_PARAM_construct_uint(OSSL_CIPHER_PARAM_RC2_KEYBITS, &bits),
                               OSSL_PARAM_construct_end()};
    bool is_started;

    decrypting->context = EVP_CIPHER_CTX_new();
    is_started =
        cipher != NULL && decrypting->context != NULL &&
        EVP_DecryptInit_ex2(decrypting->context, cipher, NULL, NULL, is_rc2 ? parameters : NULL) == 1 &&
        EVP_DecryptInit_ex2(decrypting->context, NULL, key->octets, (const unsigned char *)envelope->iv.ptr, NULL) == 1;
    EVP_CIPHER_free(cipher);
    return is_started;
}

/* The attributes are authenticated as the SET OF that they are (RFC 5083 §2.2). */
static bool authenticate(struct decrypting *decrypting, struct span attributes)
{
    unsigned char head[8] = {V_ASN1_SET | V_ASN1_CONSTRUCTED};
    int len = 1, done;

    if (attributes.ptr == NULL)
        return true;
    if (attributes.len > 0xffffff)
        return false;
    if (attributes.len < 0x80) {
        head[len++] = (unsigned char)attributes.len;
    } else {
        int octets = attributes.len > 0xffff ? 3 : attributes.len > 0xff ? 2 : 1;

        head[len++] = (unsigned char)(0x80 | octets);
        for (int shift = 8 * (octets - 1); shift >= 0; shift -= 8)
            head[len++] = (unsigned char)(attributes.len >> shift);
    }
    return EVP_DecryptUpdate(decrypting->context, NULL, &done, head, len) == 1 &&
           EVP_DecryptUpdate(decrypting->context, NULL, &done, (const unsigned char *)attributes.ptr,
                             (int)attributes.len) == 1;
}

static enum err count_octets(struct span octets, void *context)
{
    size_t *len = context;

    *len += octets.len;
    return ERR_OK;
}

/* From the message straight into the text, for which there is room. */
static enum err decrypt_octets(struct span octets, void *context)
{
    struct decrypting *decrypting = context;
    struct buf *out = decrypting->out;
    int len;

    for (; octets.len > 0; octets = span_skip(octets, PIECE_MAX)) {
        struct span piece = span_slice(octets, 0, PIECE_MAX);

        if (EVP_DecryptUpdate(decrypting->context, (unsigned char *)out->data + out->len, &len,
                              (const unsigned char *)piece.ptr, (int)piece.len) != 1)
            return ERR_DECRYPT;
        out->len += (size_t)len;
    }
    return ERR_OK;
}

static enum err finish(struct decrypting *decrypting, const struct envelope *envelope)
{
    struct buf *out = decrypting->out;
    int len = 0;

    if (envelope->cipher->is_authenticated && EVP_CIPHER_CTX_ctrl(decrypting->context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE,
                                                                  (void *)(uintptr_t)envelope->tag.ptr) != 1)
        return ERR_DECRYPT;
    /* The tag, or the padding. */
    if (EVP_DecryptFinal_ex(decrypting->context, (unsigned char *)out->data + out->len, &len) != 1)
        return ERR_DECRYPT;
    out->len += (size_t)len;
    out->data[out->len] = '\0';
    return ERR_OK;
}

static enum err decrypt_content(const struct envelope *envelope, const struct smime_key *key, struct buf *out)
{
    struct decrypting decrypting = {.out = out};
    size_t len = 0, before = out->len;
    enum err result = crypto_ber_each_octets(&envelope->content, count_octets, &len);

    if (result == ERR_OK)
        result = buf_reserve(out, len + EVP_MAX_BLOCK_LENGTH);
    if (result == ERR_OK && (!start(&decrypting, envelope, key) || !authenticate(&decrypting, envelope->attributes)))
        result = ERR_DECRYPT;
    if (result == ERR_OK)
        result = crypto_ber_each_octets(&envelope->content, decrypt_octets, &decrypting);
    if (result == ERR_OK)
        result = finish(&decrypting, envelope);
    EVP_CIPHER_CTX_free(decrypting.context);
    ERR_clear_error();
    if (result != ERR_OK)
        buf_truncate(out, before);
    return result == ERR_MALFORMED ? ERR_DECRYPT : result;
}

/* A key that did not fit costs the sender's patience as one that did: the content is decrypted with another one, for
   nothing (RFC 3218 §2.3.2). */
static enum err decrypt(const struct envelope *envelope, struct smime_key *key, struct buf *out)
{
    size_t wanted = envelope->cipher->key_len, before = out->len;
    bool fits = wanted == 0 ? key->len >= 5 && key->len <= 16 : key->len == wanted;
    enum err result;

    if (!fits) {
        key->len = wanted == 0 ? 16 : wanted;
        if (RAND_bytes(key->octets, (int)key->len) != 1)
            return ERR_DECRYPT;
    }
    result = decrypt_content(envelope, key, out);
    if (fits || result == ERR_MEMORY || result == ERR_LIMIT)
        return result;
    buf_truncate(out, before);
    return ERR_DECRYPT;
}

enum err crypto_smime_decrypt(struct span cms, const struct crypto_smime_how *how, struct buf *out,
                              struct crypto_smime_opened *opened_out)
{
    struct smime_key key = {.len = 0};
    struct envelope envelope;
    enum err result = ERR_OK;

    *opened_out = (struct crypto_smime_opened){.is_weak = false};
    if (!read_envelope(cms, &envelope) || (!envelope.cipher->is_authenticated && !how->takes_cbc))
        return ERR_DECRYPT;
    if (how->session_key == NULL || how->session_key[0] == '\0')
        result = find_key(how, envelope.recipients, &key);
    else if (!read_session_key(how->session_key, &key))
        result = ERR_DECRYPT;
    if (result == ERR_OK)
        result = decrypt(&envelope, &key, out);
    if (result == ERR_OK) {
        opened_out->is_authenticated = envelope.cipher->is_authenticated;
        opened_out->is_weak = envelope.cipher->is_weak;
        write_session_key(&key, opened_out->session_key);
    }
    secret_wipe(&key, sizeof key);
    return result;
}
