#include "keyring/x509_internal.h"

#include "base/log.h"
#include "mime/utf8.h"

#include <idn2.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm broken = {0};
    return ASN1_TIME_to_tm(time, &broken) == 1 ? (int64_t)timegm(&broken) : 0;
}

void x509_validity(STACK_OF(X509) * chain, int64_t *from_out, int64_t *until_out)
{
    *from_out = INT64_MIN;
    *until_out = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t from = seconds_of(X509_get0_notBefore(sk_X509_value(chain, i)));
        int64_t until = seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));
        *from_out = from > *from_out ? from : *from_out;
        *until_out = until < *until_out ? until : *until_out;
    }
}

enum err keyring_x509_fingerprint(const X509 *certificate, char fingerprint_out[KEYRING_FPR_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1 || len * 2 + 1 != KEYRING_FPR_SIZE)
        return ERR_MEMORY;
    for (unsigned i = 0; i < len; i++)
        (void)snprintf(fingerprint_out + (size_t)2 * i, 3, "%02X", digest[i]);
    return ERR_OK;
}

/* ---- the addresses ---- */

static bool is_ascii(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] & 0x80) != 0)
            return false;
    return true;
}

/* An address counts only in the form in which OpenSSL has held it against the name constraints of issuers: another one
   that comes to the same (full-width letters, quotes) would be excluded there and stand here. `may_be_utf8`: of
   SmtpUTF8Mailbox, whose domain may be in U-labels (RFC 8398 §3). */
static bool is_written_so(struct span text, const char *address, bool may_be_utf8)
{
    size_t before = strlen(address) - strlen(mime_addr_domain(address));
    char *labels = NULL;
    bool is_same = span_is_case_equal(text, span_of(address));
    if (is_same || !may_be_utf8)
        return is_same && (may_be_utf8 || is_ascii(text));
    if (!span_is_case_equal(span_slice(text, 0, before), span_slice(span_of(address), 0, before)) ||
        idn2_to_unicode_8z8z(mime_addr_domain(address), &labels, 0) != IDN2_OK)
        return false;
    is_same = span_is_equal(span_skip(text, before), span_of(labels));
    idn2_free(labels);
    return is_same;
}

/* A NUL inside would be a name that others read otherwise. */
static void add_address(struct x509_addresses *addresses, const ASN1_STRING *string, bool may_be_utf8)
{
    struct span text = {(const char *)ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string)};
    char *item = addresses->items[addresses->len];
    bool is_known = false;
    addresses->has_any = true;
    if (addresses->len + 1 >= X509_ADDRESSES_MAX || span_find_byte(text, 0, '\0') < text.len ||
        mime_addr_normalise(text, item) != ERR_OK || !is_written_so(text, item, may_be_utf8))
        return;
    for (size_t i = 0; i < addresses->len; i++)
        is_known = is_known || span_is_case_equal(span_of(item), span_of(addresses->items[i]));
    addresses->len += !is_known;
}

static void add_alternative(struct x509_addresses *addresses, const GENERAL_NAME *name)
{
    int type;
    const void *value = GENERAL_NAME_get0_value(name, &type);
    if (type == GEN_EMAIL)
        add_address(addresses, value, false);
    if (type != GEN_OTHERNAME)
        return;
    const OTHERNAME *other = value;
    if (OBJ_obj2nid(other->type_id) == NID_id_on_SmtpUTF8Mailbox && other->value->type == V_ASN1_UTF8STRING)
        add_address(addresses, other->value->value.utf8string, true);
}

void x509_find_addresses(const X509 *certificate, struct x509_addresses *addresses)
{
    *addresses = (struct x509_addresses){.len = 0};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        add_alternative(addresses, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    const X509_NAME *subject = X509_get_subject_name(certificate);
    for (int at = -1;
         !addresses->has_any && (at = X509_NAME_get_index_by_NID(subject, NID_pkcs9_emailAddress, at)) >= 0;) {
        add_address(addresses, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), false);
        addresses->has_any = false;
    }
    ERR_clear_error();
}

/* ---- the entry ---- */

static void name_algorithm(const X509 *certificate, char *out, size_t size)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    char group[16] = "";
    if (key == NULL)
        return;
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
        (void)EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
        const char *name = EC_curve_nid2nist(OBJ_sn2nid(group));
        if (name != NULL && name[0] == 'P' && name[1] == '-')
            (void)snprintf(out, size, "ec-p%s", name + 2);
        else
            (void)snprintf(out, size, "ec-%s", group);
    } else {
        (void)snprintf(out, size, "%s%d", EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? "rsa" : "other",
                       EVP_PKEY_get_bits(key));
    }
}

static void name_subject(const X509 *certificate, char *out, size_t size)
{
    BIO *text = BIO_new(BIO_s_mem());
    if (text != NULL && X509_NAME_print_ex(text, X509_get_subject_name(certificate), 0,
                                           XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        char *name;
        const long len = BIO_get_mem_data(text, &name);
        mime_utf8_copy_shown((struct span){name, len > 0 ? (size_t)len : 0}, out, size);
    }
    BIO_free(text);
}

void x509_describe(const X509 *certificate, struct keyring_entry *entry)
{
    entry->format = KEYRING_SMIME;
    entry->created = seconds_of(X509_get0_notBefore(certificate));
    entry->expires = entry->encrypt_until = entry->sign_until = seconds_of(X509_get0_notAfter(certificate));
    name_algorithm(certificate, entry->algorithm, sizeof entry->algorithm);
    name_subject(certificate, entry->user_id, sizeof entry->user_id);
}

enum err x509_add_each(struct keyring_entry *entry, const struct x509_addresses *addresses, struct keyring *keyring)
{
    enum err err = ERR_OK;
    if (addresses->len == 0)
        return keyring_add(keyring, entry);
    for (size_t i = 0; err == ERR_OK && i < addresses->len; i++) {
        (void)span_copy(span_of(addresses->items[i]), entry->address, sizeof entry->address);
        entry->is_primary_uid = i == 0;
        err = keyring_add(keyring, entry);
    }
    return err;
}

enum err keyring_x509_add(const X509 *certificate, enum keyring_trust trust, struct keyring *keyring)
{
    struct keyring_entry entry = {.trust = trust};
    struct x509_addresses addresses;
    enum err err = keyring_x509_fingerprint(certificate, entry.fingerprint);
    if (err != ERR_OK)
        return err;
    x509_describe(certificate, &entry);
    x509_find_addresses(certificate, &addresses);
    return x509_add_each(&entry, &addresses, keyring);
}
