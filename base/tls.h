/*
 * TLS contexts: one per listener (our certificate), one per upstream trust store. OpenSSL does the rest.
 *
 * TLS 1.2 is the least that is spoken on either leg. Contexts are made before a process enters its sandbox, since
 * making them reads files. The per-install certificate is made once, for localhost, 127.0.0.1 and ::1.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "base/err.h"

#include <openssl/ssl.h>
#include <stdbool.h>

/* A server context with this PEM certificate chain and key; the caller frees with SSL_CTX_free. */
ERR_RETURN enum err tls_server_new(const char *certificate_file, const char *key_file, SSL_CTX **context_out);
/* A client context that verifies the peer against `ca_file` (PEM), or the system's store if NULL. */
ERR_RETURN enum err tls_client_new(const char *ca_file, SSL_CTX **context_out);
/* A session for one connection to `host`: sets SNI and requires the certificate to name `host` (a DNS name or an IP).
 */
ERR_RETURN enum err tls_client_session(SSL_CTX *context, const char *host, SSL **session_out);

/* Makes certificate and key (P-256, self-signed, ten years, usable as a trust anchor for itself alone) unless both
   files exist. The key file is made with mode 0600; both are complete or absent. */
ERR_RETURN enum err tls_make_certificate(const char *certificate_file, const char *key_file);
/* Lower-case hexadecimal SHA-256 of the certificate in `certificate_file`, for a person to compare. */
ERR_RETURN enum err tls_fingerprint(const char *certificate_file, char text_out[65]);
/* Logs and empties OpenSSL's error queue, saying what was being done. */
void tls_log_errors(const char *doing);

#endif
