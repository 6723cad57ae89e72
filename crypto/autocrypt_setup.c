#include "crypto/autocrypt_setup.h"

#include "base/log.h"
#include "mime/encoding.h"
#include "mime/field.h"
#include "mime/part.h"
#include "mime/transfer.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define FIELD "Autocrypt-Setup-Message"
#define BEGIN_MESSAGE "-----BEGIN PGP MESSAGE-----"
#define END_MESSAGE "-----END PGP MESSAGE-----"
#define BEGIN_KEY "-----BEGIN PGP PRIVATE KEY BLOCK-----"
#define END_KEY "-----END PGP PRIVATE KEY BLOCK-----"
#define DIGITS 36u
#define MDC_METHOD_SHA1 '2'

/* ---- the code ---- */

static enum err set_code(const char digits[DIGITS], struct secret *code)
{
    char text[CRYPTO_SETUP_CODE_LEN + 1];
    size_t len = 0;

    for (size_t i = 0; i < DIGITS; i++) {
        if (i > 0 && i % 4 == 0)
            text[len++] = '-';
        text[len++] = digits[i];
    }
    enum err err = secret_set(code, (struct span){text, len}, CRYPTO_SETUP_CODE_LEN);
    secret_wipe(text, sizeof text);
    return err;
}

enum err crypto_setup_code(struct secret *code)
{
    char digits[DIGITS];
    enum err err = ERR_OK;

    for (size_t i = 0; err == ERR_OK && i < DIGITS;) {
        unsigned char byte;

        if (RAND_priv_bytes(&byte, 1) != 1)
            err = log_failure(ERR_INTERNAL, "a random code");
        else if (byte < 250) /* what is left of 256 would favour some */
            digits[i++] = (char)('0' + byte % 10);
    }
    if (err == ERR_OK)
        err = set_code(digits, code);
    secret_wipe(digits, sizeof digits);
    return err;
}

enum err crypto_setup_normalise(struct span typed, struct secret *code)
{
    char digits[DIGITS];
    size_t len = 0, others = 0;

    for (size_t i = 0; i < typed.len; i++) {
        char byte = typed.ptr[i];

        if (byte >= '0' && byte <= '9' && len++ < DIGITS)
            digits[len - 1] = byte;
        others += (byte < '0' || byte > '9') && byte != '-' && byte != ' ';
    }
    enum err err = len == DIGITS && others == 0 ? set_code(digits, code) : secret_set(code, typed, typed.len);
    secret_wipe(digits, sizeof digits);
    return err;
}

/* ---- symmetric, by gpg ---- */

struct code_use {
    const struct secret *code;
    bool is_proven; /* gpg said that what it decrypted had its integrity protected, by MDC and no AEAD (1.1.2) */
};

static gpgme_error_t give_code(void *context, const char *hint, const char *info, int was_bad, int fd)
{
    const struct code_use *use = context;
    const struct span code = secret_span(use->code);

    (void)hint;
    (void)info;
    if (was_bad || gpgme_io_writen(fd, code.ptr, code.len) != 0 || gpgme_io_writen(fd, "\n", 1) != 0)
        return gpgme_error(GPG_ERR_CANCELED);
    return 0;
}

/* "DECRYPTION_INFO <mdc_method> <sym_algo> [<aead_algo>]" */
static gpgme_error_t on_status(void *context, const char *keyword, const char *arguments)
{
    struct code_use *use = context;

    if (strcmp(keyword, "DECRYPTION_INFO") == 0)
        use->is_proven = arguments[0] == MDC_METHOD_SHA1 && arguments[1] == ' ';
    return 0;
}

static gpgme_ctx_t context_with(struct keyring_gpg *gpg, struct code_use *use)
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);

    gpgme_set_passphrase_cb(context, give_code, use);
    (void)gpgme_set_pinentry_mode(context, GPGME_PINENTRY_MODE_LOOPBACK);
    (void)gpgme_set_ctx_flag(context, "full-status", "1");
    (void)gpgme_set_ctx_flag(context, "no-symkey-cache", "1");
    gpgme_set_status_cb(context, on_status, use);
    return context;
}

/* The context as others find it. */
static void give_back(struct keyring_gpg *gpg, gpgme_ctx_t context)
{
    gpgme_set_status_cb(context, NULL, NULL);
    (void)gpgme_set_ctx_flag(context, "full-status", "0");
    (void)gpgme_set_ctx_flag(context, "no-symkey-cache", "0");
    (void)keyring_gpg_context(gpg);
}

static enum err read_data(gpgme_data_t data, struct buf *out)
{
    char piece[4096];
    enum err err = gpgme_data_seek(data, 0, SEEK_SET) == 0 ? ERR_OK : ERR_ENGINE;

    while (err == ERR_OK) {
        ssize_t count = gpgme_data_read(data, piece, sizeof piece);

        if (count <= 0) {
            err = count == 0 ? ERR_END : ERR_ENGINE;
            break;
        }
        err = buf_add(out, piece, (size_t)count);
    }
    secret_wipe(piece, sizeof piece);
    return err == ERR_END ? ERR_OK : err;
}

static enum err encrypt(struct keyring_gpg *gpg, const struct secret *code, struct span text, struct buf *out)
{
    struct code_use use = {.code = code};
    gpgme_ctx_t context = context_with(gpg, &use);
    gpgme_data_t in = NULL, sealed = NULL;
    enum err err = keyring_gpg_error(gpgme_data_new_from_mem(&in, text.ptr, text.len, 0), "data");

    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_data_new(&sealed), "data");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_op_encrypt(context, NULL, GPGME_ENCRYPT_SYMMETRIC, in, sealed),
                                "encrypting under a setup code");
    if (err == ERR_OK)
        err = read_data(sealed, out);
    gpgme_data_release(in);
    gpgme_data_release(sealed);
    give_back(gpg, context);
    return err;
}

static enum err decrypt(struct keyring_gpg *gpg, const struct secret *code, struct span armour, struct buf *out)
{
    struct code_use use = {.code = code};
    gpgme_ctx_t context = context_with(gpg, &use);
    gpgme_data_t in = NULL, text = NULL;
    enum err err = keyring_gpg_error(gpgme_data_new_from_mem(&in, armour.ptr, armour.len, 0), "data");

    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_data_new(&text), "data");
    if (err == ERR_OK) {
        const gpgme_error_t error = gpgme_op_decrypt(context, in, text);
        const gpgme_decrypt_result_t result = gpgme_op_decrypt_result(context);

        /* A key of the ring must not open it in the code's stead: the code is what says that it is from oneself. */
        if (error == 0 && (!use.is_proven || result == NULL || result->recipients != NULL))
            err = ERR_MALFORMED;
        else if (error != 0)
            err = gpgme_err_code(error) == GPG_ERR_NO_DATA ? ERR_MALFORMED : ERR_AUTH_FAILED;
    }
    if (err == ERR_OK)
        err = read_data(text, out);
    gpgme_data_release(in);
    gpgme_data_release(text);
    give_back(gpg, context);
    return err;
}

/* ---- writing ---- */

/* Adds armour with `headers` after its first line, and CRLF or LF at each line's end. */
static enum err add_armour(struct span armour, const char *headers, const char *line_end, struct buf *out)
{
    struct span line;
    bool is_first = true;
    enum err err = ERR_OK;

    armour = span_trim(armour);
    while (err == ERR_OK && span_take_until(&armour, '\n', &line)) {
        line = span_trim(line);
        err = buf_add_span(out, line);
        if (err == ERR_OK)
            err = buf_add_string(out, line_end);
        if (err == ERR_OK && is_first)
            err = buf_add_string(out, headers);
        is_first = false;
    }
    return err;
}

static enum err add_header(const char *address, int64_t at, const char *boundary, struct buf *out)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t seconds = (time_t)at;
    struct tm time;

    if (gmtime_r(&seconds, &time) == NULL)
        return ERR_INTERNAL;
    return buf_addf(out,
                    "From: <%s>\r\nTo: <%s>\r\nSubject: Autocrypt Setup Message\r\n"
                    "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\nMessage-ID: <%s@privyseal.invalid>\r\n" FIELD
                    ": v1\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n",
                    address, address, days[time.tm_wday], time.tm_mday, months[time.tm_mon], time.tm_year + 1900,
                    time.tm_hour, time.tm_min, time.tm_sec, boundary, boundary);
}

static enum err add_parts(struct span armour, const struct secret *code, const char *boundary, struct buf *out)
{
    char headers[96];
    enum err err;

    (void)snprintf(headers, sizeof headers, "Passphrase-Format: numeric9x4\r\nPassphrase-Begin: %.2s\r\n",
                   secret_span(code).ptr);
    err = buf_addf(out,
                   "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
                   "This message holds your key for encrypted mail. To use it in another mail program,\r\n"
                   "open it there and type the setup code that was shown when the message was made.\r\n\r\n"
                   "--%s\r\nContent-Type: application/autocrypt-setup\r\n"
                   "Content-Disposition: attachment; filename=\"autocrypt-setup-message.html\"\r\n\r\n"
                   "<html><body>\r\n<p>This is the Autocrypt setup file, by which a key moves from one mail program\r\n"
                   "to another. It is opened by the setup code.</p>\r\n<pre>\r\n",
                   boundary, boundary);
    if (err == ERR_OK)
        err = add_armour(armour, headers, "\r\n", out);
    secret_wipe(headers, sizeof headers);
    return err == ERR_OK ? buf_addf(out, "</pre></body></html>\r\n--%s--\r\n", boundary) : err;
}

enum err crypto_setup_write(struct keyring_gpg *gpg, const char *fingerprint, const char *address,
                            enum keyring_preference preference, const struct secret *code, int64_t at, struct buf *out)
{
    const char *headers = preference == KEYRING_PREFERENCE_MUTUAL ? "Autocrypt-Prefer-Encrypt: mutual\n"
                                                                  : "Autocrypt-Prefer-Encrypt: nopreference\n";
    char boundary[MIME_BOUNDARY_SIZE];
    struct buf exported, key, sealed;
    size_t before = out->len;
    enum err err;

    buf_init_secret(&exported, CRYPTO_SETUP_MAX);
    buf_init_secret(&key, CRYPTO_SETUP_MAX);
    buf_init(&sealed, CRYPTO_SETUP_MAX);
    err = keyring_gpg_export(gpg, fingerprint, true, &exported);
    if (err == ERR_OK)
        err = add_armour(buf_span(&exported), headers, "\n", &key);
    if (err == ERR_OK)
        err = encrypt(gpg, code, buf_span(&key), &sealed);
    if (err == ERR_OK)
        err = mime_boundary_make(boundary);
    if (err == ERR_OK)
        err = add_header(address, at, boundary, out);
    if (err == ERR_OK)
        err = add_parts(buf_span(&sealed), code, boundary, out);
    if (err != ERR_OK)
        buf_truncate(out, before);
    buf_fini(&exported);
    buf_fini(&key);
    buf_fini(&sealed);
    return err;
}

/* ---- reading ---- */

bool crypto_setup_is(struct span message)
{
    struct mime_field field;

    return mime_field_find(message, FIELD, &field) && span_is_case_equal(span_trim(field.value), SPAN_LIT("v1"));
}

static void take_header(struct span line, struct crypto_setup *setup)
{
    struct span name, value = line;

    if (!span_take_until(&value, ':', &name))
        return;
    value = span_trim(value);
    if (span_is_case_equal(name, SPAN_LIT("Passphrase-Format")))
        setup->is_numeric = span_is_case_equal(value, SPAN_LIT("numeric9x4"));
    else if (span_is_case_equal(name, SPAN_LIT("Passphrase-Begin")) && value.len > 0 &&
             strspn(value.ptr, "0123456789") >= value.len)
        (void)span_copy(value, setup->begin, sizeof setup->begin);
}

/* Keeps the armour without its headers, which gpg need not know; text before and after it counts for nothing. */
static enum err take_armour(struct span text, struct crypto_setup *setup)
{
    size_t from = span_find(text, 0, SPAN_LIT(BEGIN_MESSAGE));
    size_t to = from == SIZE_MAX ? SIZE_MAX : span_find(text, from, SPAN_LIT(END_MESSAGE));
    bool is_header = true;
    struct span line, rest;
    enum err err;

    if (to == SIZE_MAX)
        return ERR_MALFORMED;
    rest = span_slice(text, from + sizeof BEGIN_MESSAGE - 1, to);
    (void)span_take_until(&rest, '\n', &line);
    err = buf_add_string(&setup->armour, BEGIN_MESSAGE "\n\n");
    while (err == ERR_OK && span_take_until(&rest, '\n', &line)) {
        line = span_trim(line);
        if (is_header && span_find_byte(line, 0, ':') < line.len) {
            take_header(line, setup);
            continue;
        }
        is_header = false;
        if (line.len > 0)
            err = buf_add_span(&setup->armour, line);
        if (err == ERR_OK && line.len > 0)
            err = buf_add_string(&setup->armour, "\n");
    }
    return err == ERR_OK ? buf_add_string(&setup->armour, END_MESSAGE "\n") : err;
}

enum err crypto_setup_read(struct span message, struct crypto_setup *setup)
{
    struct mime_tree *tree = NULL;
    const struct mime_part *part = NULL;
    struct buf text;
    enum err err = message.len <= CRYPTO_SETUP_MAX && crypto_setup_is(message) ? ERR_OK : ERR_MALFORMED;

    *setup = (struct crypto_setup){.is_numeric = false};
    buf_init(&setup->armour, CRYPTO_SETUP_MAX);
    buf_init(&text, CRYPTO_SETUP_MAX);
    if (err == ERR_OK)
        err = mime_parse(message, MIME_LIMITS_DEFAULT, &tree);
    if (err == ERR_OK && mime_part_is(tree->root, "multipart", "mixed") && tree->root->first_child != NULL)
        part = tree->root->first_child->next;
    if (err == ERR_OK && (part == NULL || !mime_part_is(part, "application", "autocrypt-setup")))
        err = ERR_MALFORMED;
    if (err == ERR_OK)
        err = mime_decode(part->encoding, mime_part_body(part, message), &text);
    if (err == ERR_OK)
        err = take_armour(buf_span(&text), setup);
    mime_tree_free(&tree);
    buf_fini(&text);
    if (err != ERR_OK)
        crypto_setup_fini(setup);
    return err == ERR_LIMIT ? ERR_MALFORMED : err;
}

void crypto_setup_fini(struct crypto_setup *setup)
{
    buf_fini(&setup->armour);
}

enum err crypto_setup_open(struct keyring_gpg *gpg, const struct crypto_setup *setup, const struct secret *code,
                           struct buf *key)
{
    struct buf text;
    size_t from, to;
    enum err err;

    buf_init_secret(&text, CRYPTO_SETUP_MAX);
    err = decrypt(gpg, code, buf_span(&setup->armour), &text);
    from = err == ERR_OK ? span_find(buf_span(&text), 0, SPAN_LIT(BEGIN_KEY)) : 0;
    to = err == ERR_OK && from != SIZE_MAX ? span_find(buf_span(&text), from, SPAN_LIT(END_KEY)) : SIZE_MAX;
    if (err == ERR_OK && to == SIZE_MAX)
        err = ERR_MALFORMED;
    /* What comes after the key is to be stripped (4.4.1). */
    if (err == ERR_OK)
        err = buf_add_span(key, span_slice(buf_span(&text), from, to + sizeof END_KEY - 1));
    if (err == ERR_OK)
        err = buf_add_string(key, "\n");
    buf_fini(&text);
    return err == ERR_LIMIT ? ERR_MALFORMED : err;
}
