/* The per-install certificate and the contexts. Handshakes are in test_conn.c. */
#include "base/tls.h"

#include "base/log.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_tls.XXXXXX";
static char certificate_file[64];
static char key_file[64];

static X509 *read_certificate(void)
{
    FILE *file = fopen(certificate_file, "re");
    assert_non_null(file);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(certificate);
    return certificate;
}

static void certificate_is_for_this_machine_alone(void **state)
{
    (void)state;
    X509 *certificate = read_certificate();
    assert_int_equal(X509_check_host(certificate, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(certificate, "::1", 0), 1);
    assert_int_equal(X509_check_host(certificate, "example.org", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(certificate, "127.0.0.2", 0), 0);
    assert_int_equal(X509_check_ca(certificate), 0);
    assert_int_equal(X509_get_extended_key_usage(certificate), XKU_SSL_SERVER);
    assert_int_equal(X509_check_issued(certificate, certificate), X509_V_OK);
    int days = 0, seconds = 0;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)), 1);
    assert_in_range(days, 3649, 3650);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0);
    char name[80] = "";
    assert_true(X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name) > 0);
    assert_int_equal(strncmp(name, "privyseal on ", 13), 0);
    assert_true(strlen(name) <= 64);
    X509_free(certificate);
}

static void key_is_private_and_neither_file_is_made_twice(void **state)
{
    (void)state;
    struct stat info;
    char before[65], after[65];
    assert_int_equal(stat(key_file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(stat(certificate_file, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
    assert_int_equal(tls_fingerprint(certificate_file, before), ERR_OK);
    assert_int_equal(strspn(before, "0123456789abcdef"), 64);
    assert_int_equal(tls_make_certificate(certificate_file, key_file), ERR_OK);
    assert_int_equal(tls_fingerprint(certificate_file, after), ERR_OK);
    assert_string_equal(before, after);
    /* Half a pair is made anew, whichever half is left. */
    assert_int_equal(unlink(key_file), 0);
    assert_int_equal(tls_make_certificate(certificate_file, key_file), ERR_OK);
    assert_int_equal(tls_fingerprint(certificate_file, after), ERR_OK);
    assert_string_not_equal(before, after);
    assert_int_equal(unlink(certificate_file), 0);
    assert_int_equal(tls_make_certificate(certificate_file, key_file), ERR_OK);
    SSL_CTX *context = NULL;
    assert_int_equal(tls_server_new(certificate_file, key_file, &context), ERR_OK);
    SSL_CTX_free(context);
}

static void failures_leave_nothing_behind(void **state)
{
    (void)state;
    char text[65];
    SSL_CTX *context = NULL;
    char missing[80];
    snprintf(missing, sizeof missing, "%s/none/cert.pem", folder);
    assert_int_not_equal(tls_make_certificate(missing, key_file), ERR_OK);
    snprintf(missing, sizeof missing, "%s/other.pem", folder);
    assert_int_not_equal(tls_make_certificate(missing, "/nonexistent/key.pem"), ERR_OK);
    assert_int_equal(access(missing, F_OK), -1);
    assert_int_equal(tls_fingerprint(missing, text), ERR_NOT_FOUND);
    assert_string_equal(text, "");
    assert_int_equal(tls_fingerprint(key_file, text), ERR_CONFIG);
    assert_int_equal(tls_server_new(missing, key_file, &context), ERR_CONFIG);
    assert_int_equal(tls_server_new(certificate_file, certificate_file, &context), ERR_CONFIG);
    assert_int_equal(tls_client_new(missing, &context), ERR_CONFIG);
    assert_int_equal(tls_client_new(key_file, &context), ERR_CONFIG);
    assert_null(context);
}

static void check_session(SSL_CTX *context, const char *host, const char *server_name, enum err expected)
{
    SSL *session = NULL;
    assert_int_equal(tls_client_session(context, host, &session), expected);
    if (expected != ERR_OK) {
        assert_null(session);
        return;
    }
    const char *name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name);
    if (server_name == NULL)
        assert_null(name);
    else
        assert_string_equal(name, server_name);
    assert_int_equal(SSL_get_verify_mode(session) & SSL_VERIFY_PEER, SSL_VERIFY_PEER);
    assert_int_equal(SSL_get_min_proto_version(session), TLS1_2_VERSION);
    SSL_free(session);
}

static void sessions_name_their_peer(void **state)
{
    (void)state;
    SSL_CTX *context = NULL;
    assert_int_equal(tls_client_new(certificate_file, &context), ERR_OK);
    check_session(context, "mail.example.org", "mail.example.org", ERR_OK);
    check_session(context, "mail.example.org.", "mail.example.org", ERR_OK);
    check_session(context, "127.0.0.1", NULL, ERR_OK);
    check_session(context, "::1", NULL, ERR_OK);
    check_session(context, "[::1]", NULL, ERR_OK);
    check_session(context, "fe80::1%lo", NULL, ERR_OK);
    check_session(context, "", NULL, ERR_CONFIG); /* would switch the check off */
    check_session(context, NULL, NULL, ERR_CONFIG);
    char long_host[300];
    memset(long_host, 'a', sizeof long_host - 1);
    long_host[sizeof long_host - 1] = '\0';
    check_session(context, long_host, NULL, ERR_CONFIG);
    SSL_CTX_free(context);
}

static void old_and_weak_tls_is_off(void **state)
{
    (void)state;
    SSL_CTX *contexts[2] = {NULL, NULL};
    assert_int_equal(tls_server_new(certificate_file, key_file, &contexts[0]), ERR_OK);
    assert_int_equal(tls_client_new(NULL, &contexts[1]), ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(SSL_CTX_get_min_proto_version(contexts[i]), TLS1_2_VERSION);
        assert_true(SSL_CTX_get_options(contexts[i]) & SSL_OP_NO_RENEGOTIATION);
        STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(contexts[i]);
        assert_true(sk_SSL_CIPHER_num(ciphers) > 4);
        for (int c = 0; c < sk_SSL_CIPHER_num(ciphers); c++) {
            const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, c);
            int exchange = SSL_CIPHER_get_kx_nid(cipher);
            assert_true(exchange == NID_kx_any || exchange == NID_kx_ecdhe || exchange == NID_kx_dhe);
            assert_int_not_equal(SSL_CIPHER_get_auth_nid(cipher), NID_auth_null);
            assert_true(SSL_CIPHER_get_bits(cipher, NULL) >= 128);
        }
        SSL_CTX_free(contexts[i]);
    }
}

static int make_folder(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(certificate_file, sizeof certificate_file, "%s/cert.pem", folder);
    snprintf(key_file, sizeof key_file, "%s/key.pem", folder);
    return tls_make_certificate(certificate_file, key_file) == ERR_OK ? 0 : -1;
}

/* Fails if a temporary file was left. */
static int remove_folder(void **state)
{
    (void)state;
    unlink(certificate_file);
    unlink(key_file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificate_is_for_this_machine_alone),
        cmocka_unit_test(key_is_private_and_neither_file_is_made_twice),
        cmocka_unit_test(failures_leave_nothing_behind),
        cmocka_unit_test(sessions_name_their_peer),
        cmocka_unit_test(old_and_weak_tls_is_off),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
