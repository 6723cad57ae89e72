#include "base/tls.h"

#include "base/address.h"
#include "base/log.h"
#include "base/span.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Only key exchanges with forward secrecy; CBC is kept for upstream servers that know nothing newer under TLS 1.2. */
#define CIPHERS_SERVER "ECDHE+AESGCM:ECDHE+CHACHA20"
#define CIPHERS_CLIENT CIPHERS_SERVER ":DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:!aNULL"

#define CERTIFICATE_SECONDS (3650L * 24 * 3600)
#define SERIAL_BITS 127    /* positive in DER, at most 20 octets (RFC 5280 §4.1.2.2) */
#define COMMON_NAME_MAX 64 /* ub-common-name (RFC 5280 appendix A) */

/* OpenSSL's own default is a directory that it reads while a handshake goes on, which the sandbox forbids; so the
   bundle is read whole, from where the distributions keep it. */
static const char *const ca_bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
};

void tls_log_errors(const char *doing)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code;
    while ((code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags)) != 0) {
        char text[256];
        /* libevent leaves codes of no library behind that say nothing. */
        if (ERR_GET_LIB(code) == 0)
            continue;
        ERR_error_string_n(code, text, sizeof text);
        log_warning("%s: %s%s%s", doing, text, (flags & ERR_TXT_STRING) ? ": " : "",
                    (flags & ERR_TXT_STRING) ? data : "");
    }
}

/* A daemon has nobody to ask: without this OpenSSL would prompt on the terminal for an encrypted key. */
static int no_passphrase(char *text, int size, int is_writing, void *context)
{
    (void)text, (void)size, (void)is_writing, (void)context;
    return -1;
}

static SSL_CTX *new_context(const SSL_METHOD *method, const char *ciphers)
{
    SSL_CTX *context = SSL_CTX_new(method);
    if (context == NULL)
        return NULL;
    /* The plain text of a record is wiped when it has been handed over: it may be a password. */
    SSL_CTX_set_options(context,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CLEANSE_PLAINTEXT);
    /* Idle connections are many (IMAP IDLE): each would hold 34 kB of empty buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, ciphers) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

enum err tls_server_new(const char *certificate_file, const char *key_file, SSL_CTX **context_out)
{
    *context_out = NULL;
    SSL_CTX *context = new_context(TLS_server_method(), CIPHERS_SERVER);
    if (context == NULL) {
        tls_log_errors("making a TLS server context");
        return ERR_MEMORY;
    }
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* SSL_OP_NO_TICKET alone leaves TLS 1.3 sending stateful tickets, which nothing here could redeem. */
    if (SSL_CTX_set_num_tickets(context, 0) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, certificate_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        log_error("reading the certificate %s and its key %s failed", certificate_file, key_file);
        tls_log_errors("reading a TLS certificate");
        SSL_CTX_free(context);
        return ERR_CONFIG;
    }
    *context_out = context;
    return ERR_OK;
}

static enum err trust_system(SSL_CTX *context)
{
    const char *chosen = secure_getenv(X509_get_default_cert_file_env());
    if (chosen != NULL && *chosen != '\0') {
        if (SSL_CTX_load_verify_file(context, chosen) == 1)
            return ERR_OK;
        log_error("reading trusted certificates from %s (%s) failed", chosen, X509_get_default_cert_file_env());
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < sizeof ca_bundles / sizeof ca_bundles[0]; i++)
        if (access(ca_bundles[i], R_OK) == 0 && SSL_CTX_load_verify_file(context, ca_bundles[i]) == 1)
            return ERR_OK;
    log_error("no bundle of trusted certificates found (package ca-certificates); ca_file can name one");
    return ERR_CONFIG;
}

static enum err trust_file(SSL_CTX *context, const char *ca_file)
{
    if (SSL_CTX_load_verify_file(context, ca_file) != 1) {
        log_error("reading trusted certificates from %s failed", ca_file);
        return ERR_CONFIG;
    }
    /* Who names a server's own certificate or an intermediate one means to trust just that. */
    return X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN) == 1 ? ERR_OK
                                                                                                    : ERR_MEMORY;
}

enum err tls_client_new(const char *ca_file, SSL_CTX **context_out)
{
    *context_out = NULL;
    SSL_CTX *context = new_context(TLS_client_method(), CIPHERS_CLIENT);
    if (context == NULL) {
        tls_log_errors("making a TLS client context");
        return ERR_MEMORY;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    enum err err = ca_file == NULL ? trust_system(context) : trust_file(context, ca_file);
    tls_log_errors("reading trusted certificates");
    if (err != ERR_OK) {
        SSL_CTX_free(context);
        return err;
    }
    *context_out = context;
    return ERR_OK;
}

/* `host` without brackets, IPv6 scope and the root's dot; false if nothing is left or it is too long. */
static bool bare_host(const char *host, char name_out[ADDRESS_HOST_SIZE])
{
    char unbracketed[ADDRESS_HOST_SIZE];
    if (address_host(host, unbracketed) != ERR_OK)
        return false;
    struct span name = span_of(unbracketed);
    if (span_find_byte(name, 0, ':') < name.len)
        name = span_slice(name, 0, span_find_byte(name, 0, '%'));
    else if (name.len > 1 && name.ptr[name.len - 1] == '.')
        name = span_slice(name, 0, name.len - 1);
    return name.len > 0 && span_copy(name, name_out, ADDRESS_HOST_SIZE);
}

enum err tls_client_session(SSL_CTX *context, const char *host, SSL **session_out)
{
    *session_out = NULL;
    char name[ADDRESS_HOST_SIZE];
    /* An empty name would switch OpenSSL's check off. */
    if (host == NULL || !bare_host(host, name))
        return ERR_CONFIG;
    SSL *session = SSL_new(context);
    if (session == NULL) {
        tls_log_errors("making a TLS session");
        return ERR_MEMORY;
    }
    unsigned char address[sizeof(struct in6_addr)];
    bool is_literal = inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    int is_set;
    if (is_literal) {
        is_set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name);
    } else {
        /* RFC 9525 §2 and §6.3: the common name is no identity, and a wildcard stands for a whole label. */
        SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
        is_set = SSL_set1_host(session, name) == 1 && SSL_set_tlsext_host_name(session, name) == 1;
    }
    if (is_set != 1) {
        tls_log_errors("naming the peer of a TLS session");
        SSL_free(session);
        return ERR_CONFIG;
    }
    *session_out = session;
    return ERR_OK;
}

static bool add_extension(X509 *certificate, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool is_added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return is_added;
}

static bool set_names(X509 *certificate)
{
    char host[HOST_NAME_MAX + 1] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        memcpy(host, "localhost", sizeof "localhost");
    char common[COMMON_NAME_MAX + 1];
    snprintf(common, sizeof common, "privyseal on %.*s", COMMON_NAME_MAX - (int)sizeof "privyseal on " + 1, host);
    X509_NAME *name = X509_get_subject_name(certificate);
    return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) ==
               1 &&
           X509_set_issuer_name(certificate, name) == 1;
}

static bool set_serial(X509 *certificate)
{
    BIGNUM *serial = BN_new();
    bool is_set = serial != NULL && BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                  BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(certificate)) != NULL;
    BN_free(serial);
    return is_set;
}

/* Not a CA: whoever imports it trusts this one certificate, and a stolen key can vouch for no other name. Without key
   usage: one that lacks keyCertSign keeps OpenSSL 1.1 and its kin from seeing that the certificate is its own anchor.
 */
static const struct {
    int nid;
    const char *value;
} extensions[] = {
    {NID_basic_constraints, "critical,CA:FALSE"},
    {NID_ext_key_usage, "serverAuth"},
    {NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:::1"},
    {NID_subject_key_identifier, "hash"},
    {NID_authority_key_identifier, "keyid:always"},
};

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    if (certificate == NULL)
        return NULL;
    X509V3_CTX context;
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    bool is_made = X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
                   X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) != NULL &&
                   X509_gmtime_adj(X509_getm_notAfter(certificate), CERTIFICATE_SECONDS) != NULL &&
                   set_names(certificate) && X509_set_pubkey(certificate, key) == 1;
    for (size_t i = 0; is_made && i < sizeof extensions / sizeof extensions[0]; i++)
        is_made = add_extension(certificate, &context, extensions[i].nid, extensions[i].value);
    if (!is_made || X509_sign(certificate, key, EVP_sha256()) == 0) {
        X509_free(certificate);
        return NULL;
    }
    return certificate;
}

/* One of the two as PEM: `certificate` if it is not NULL, else `key`. `path` ends in XXXXXX and gets its name here. */
static enum err write_temporary(char *path, mode_t mode, X509 *certificate, EVP_PKEY *key)
{
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return log_failure(err_of_errno(errno), "creating %s", path);
    BIO *out = BIO_new_fd(fd, BIO_NOCLOSE);
    bool is_written = out != NULL && (certificate != NULL ? PEM_write_bio_X509(out, certificate)
                                                          : PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0,
                                                                                          no_passphrase, NULL)) == 1;
    BIO_free(out);
    is_written = is_written && fchmod(fd, mode) == 0 && fsync(fd) == 0;
    int failure = is_written ? 0 : errno;
    close(fd);
    if (is_written)
        return ERR_OK;
    unlink(path);
    tls_log_errors("writing a certificate");
    return log_failure(failure != 0 ? err_of_errno(failure) : ERR_IO, "writing %s", path);
}

static enum err write_pair(const char *certificate_file, const char *key_file, X509 *certificate, EVP_PKEY *key)
{
    char certificate_new[PATH_MAX];
    char key_new[PATH_MAX];
    if (snprintf(certificate_new, PATH_MAX, "%s.XXXXXX", certificate_file) >= PATH_MAX ||
        snprintf(key_new, PATH_MAX, "%s.XXXXXX", key_file) >= PATH_MAX)
        return ERR_LIMIT;
    enum err err = write_temporary(key_new, S_IRUSR | S_IWUSR, NULL, key);
    if (err != ERR_OK)
        return err;
    err = write_temporary(certificate_new, S_IRUSR | S_IWUSR | S_IRGRP | S_IROTH, certificate, NULL);
    if (err != ERR_OK) {
        unlink(key_new);
        return err;
    }
    /* The certificate comes last: a crash in between leaves a pair that is incomplete, and so is made anew. */
    unlink(certificate_file);
    if (rename(key_new, key_file) != 0 || rename(certificate_new, certificate_file) != 0) {
        err = log_failure(err_of_errno(errno), "putting %s and %s in place", certificate_file, key_file);
        unlink(key_new);
        unlink(certificate_new);
        unlink(key_file);
    }
    return err;
}

/* The folder of the certificate, locked against another process that makes the same pair; -1 on failure. */
static int lock_folder(const char *certificate_file)
{
    char *copy = strdup(certificate_file);
    if (copy == NULL)
        return -1;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

enum err tls_make_certificate(const char *certificate_file, const char *key_file)
{
    int folder = lock_folder(certificate_file);
    if (folder < 0)
        return log_failure(err_of_errno(errno), "opening the folder of %s", certificate_file);
    enum err err = ERR_OK;
    EVP_PKEY *key = NULL;
    X509 *certificate = NULL;
    if (access(certificate_file, F_OK) == 0 && access(key_file, F_OK) == 0)
        goto done;
    key = EVP_EC_gen("P-256");
    certificate = key != NULL ? make_certificate(key) : NULL;
    if (certificate == NULL) {
        tls_log_errors("making a certificate");
        err = ERR_INTERNAL;
        goto done;
    }
    err = write_pair(certificate_file, key_file, certificate, key);
    if (err == ERR_OK && fsync(folder) != 0)
        err = err_of_errno(errno);
done:
    X509_free(certificate);
    EVP_PKEY_free(key);
    close(folder);
    return err;
}

enum err tls_fingerprint(const char *certificate_file, char text_out[65])
{
    text_out[0] = '\0';
    BIO *in = BIO_new_file(certificate_file, "r");
    X509 *certificate = in != NULL ? PEM_read_bio_X509(in, NULL, no_passphrase, NULL) : NULL;
    BIO_free(in);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool is_done = certificate != NULL && X509_digest(certificate, EVP_sha256(), digest, &len) == 1;
    X509_free(certificate);
    if (!is_done) {
        tls_log_errors("reading a certificate");
        return access(certificate_file, F_OK) == 0 ? ERR_CONFIG : ERR_NOT_FOUND;
    }
    for (unsigned i = 0; i < len && i < 32; i++)
        snprintf(text_out + (size_t)i * 2, 3, "%02x", digest[i]);
    return ERR_OK;
}
