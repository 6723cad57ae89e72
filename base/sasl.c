#include "base/sasl.h"

struct mechanism {
    const char *name;
    bool is_server_first;
    bool is_plaintext;
};

/* Bearer tokens count as plain text: whoever reads one can use it. */
static const struct mechanism mechanisms[SASL_COUNT] = {
    [SASL_NONE] = {"", false, false},
    [SASL_PLAIN] = {"PLAIN", false, true},
    [SASL_LOGIN] = {"LOGIN", false, true},
    [SASL_XOAUTH2] = {"XOAUTH2", false, true},
    [SASL_OAUTHBEARER] = {"OAUTHBEARER", false, true},
    [SASL_CRAM_MD5] = {"CRAM-MD5", true, false},
    [SASL_SCRAM_SHA_1] = {"SCRAM-SHA-1", false, false},
    [SASL_SCRAM_SHA_256] = {"SCRAM-SHA-256", false, false},
};

static const enum sasl_mechanism strongest_first[] = {
    SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1, SASL_OAUTHBEARER, SASL_XOAUTH2, SASL_CRAM_MD5, SASL_PLAIN, SASL_LOGIN,
};
_Static_assert(sizeof strongest_first / sizeof *strongest_first == SASL_COUNT - 1, "a mechanism has no rank");

enum sasl_mechanism sasl_parse(struct span name)
{
    for (int i = SASL_NONE + 1; i < SASL_COUNT; i++) {
        if (span_is_case_equal(name, span_of(mechanisms[i].name)))
            return (enum sasl_mechanism)i;
    }
    return SASL_NONE;
}

static const struct mechanism *get(enum sasl_mechanism mechanism)
{
    size_t index = (size_t)mechanism;
    return &mechanisms[index < SASL_COUNT ? index : SASL_NONE];
}

const char *sasl_name(enum sasl_mechanism mechanism)
{
    return get(mechanism)->name;
}

bool sasl_is_server_first(enum sasl_mechanism mechanism)
{
    return get(mechanism)->is_server_first;
}

bool sasl_is_plaintext(enum sasl_mechanism mechanism)
{
    return get(mechanism)->is_plaintext;
}

enum err sasl_format_set(sasl_set set, struct buf *out)
{
    size_t len_before = out->len;
    for (size_t i = 0; i < SASL_COUNT - 1; i++) {
        enum sasl_mechanism mechanism = strongest_first[i];
        if (!(set & 1u << mechanism))
            continue;
        enum err err = buf_addf(out, "%s%s", out->len > len_before ? " " : "", sasl_name(mechanism));
        if (err != ERR_OK) {
            buf_truncate(out, len_before);
            return err;
        }
    }
    return ERR_OK;
}

/* A name that chooses an account: not empty, and nothing that could end a line in a protocol or in the log. */
static bool is_login(struct span name)
{
    return name.len > 0 && span_find_byte(name, 0, '\r') == name.len && span_find_byte(name, 0, '\n') == name.len;
}

static bool take_login(struct span name, char *login_out, size_t login_size)
{
    return is_login(name) && span_copy(name, login_out, login_size);
}

/* RFC 4616 §2: message = [authzid] UTF8NUL authcid UTF8NUL passwd; each of them is without NUL, the last two not empty.
 */
static bool login_of_plain(struct span response, char *login_out, size_t login_size)
{
    struct span authzid, login, password = response;
    if (!span_take_until(&password, '\0', &authzid) || !span_take_until(&password, '\0', &login))
        return false;
    return password.len > 0 && span_find_byte(password, 0, '\0') == password.len &&
           (authzid.len == 0 || span_is_equal(authzid, login)) && take_login(login, login_out, login_size);
}

#define KVSEP '\x01'

/* Takes key/value pairs up to the empty one that ends them, which must also be the end of the message. True if "auth"
   stands among them once and carries a bearer token.

   RFC 7628 §3.1: kvpair = key "=" value kvsep; client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep */
static bool has_bearer(struct span pairs)
{
    struct span pair;
    unsigned auths = 0;
    while (span_take_until(&pairs, KVSEP, &pair) && pair.len > 0) {
        size_t at = span_find_byte(pair, 0, '=');
        struct span value = span_skip(pair, at + 1);
        if (at == 0 || at == pair.len || span_find_byte(value, 0, '\0') != value.len)
            return false;
        if (!span_is_equal(span_slice(pair, 0, at), SPAN_LIT("auth")))
            continue;
        if (!span_has_case_prefix(value, SPAN_LIT("Bearer ")) || value.len == sizeof "Bearer " - 1)
            return false;
        auths++;
    }
    /* What follows the last separator is one more, empty piece. */
    return auths == 1 && pairs.ptr && pairs.len == 0;
}

/* "user=" login ^A "auth=Bearer " token ^A ^A (Google's and Microsoft's description; there is no RFC). */
static bool login_of_xoauth2(struct span response, char *login_out, size_t login_size)
{
    struct span user, pairs = response;
    return span_take_until(&pairs, KVSEP, &user) && span_has_prefix(user, SPAN_LIT("user=")) && has_bearer(pairs) &&
           take_login(span_skip(user, 5), login_out, login_size);
}

/* RFC 5801 §4: saslname = 1*(UTF8-char-safe / "=2C" / "=3D"). */
static bool decode_saslname(struct span name, char *text_out, size_t text_size)
{
    size_t len = 0;
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.ptr[i];
        if (byte == '=') {
            struct span code = span_slice(name, i, i + 3);
            bool is_comma = span_is_equal(code, SPAN_LIT("=2C"));
            if (!is_comma && !span_is_equal(code, SPAN_LIT("=3D")))
                return false;
            byte = is_comma ? ',' : '=';
            i += 2;
        }
        if (byte == '\0' || len + 1 >= text_size)
            return false;
        text_out[len++] = byte;
    }
    text_out[len] = '\0';
    return len > 0;
}

/* Takes the GS2 header off the front and gives the (still encoded) authorisation identity, which may be none. A relay
   is between the two channels, so channel binding ("p=") cannot hold.

   RFC 5801 §4: gs2-header = [gs2-nonstd-flag ","] gs2-cb-flag "," [gs2-authzid] ","; gs2-authzid = "a=" saslname */
static bool take_gs2_header(struct span *rest, struct span *authzid_out)
{
    struct span flag, authzid;
    if (!span_take_until(rest, ',', &flag) || !span_take_until(rest, ',', &authzid) || !rest->ptr)
        return false;
    bool has_flag = span_is_equal(flag, SPAN_LIT("n")) || span_is_equal(flag, SPAN_LIT("y"));
    bool has_name = authzid.len > 0;
    *authzid_out = has_name ? span_skip(authzid, 2) : SPAN_NONE;
    return has_flag && (!has_name || span_has_prefix(authzid, SPAN_LIT("a=")));
}

/* Here the authorisation identity is the only name that is sent, so that one chooses the account. */
static bool login_of_oauthbearer(struct span response, char *login_out, size_t login_size)
{
    struct span authzid, pairs = response;
    if (!take_gs2_header(&pairs, &authzid) || pairs.len == 0 || pairs.ptr[0] != KVSEP)
        return false;
    return has_bearer(span_skip(pairs, 1)) && decode_saslname(authzid, login_out, login_size) &&
           is_login(span_of(login_out));
}

/* RFC 2195 §2: the user name, a space, and the digest in 32 lower-case hexadecimal digits; the name may hold spaces. */
static bool login_of_cram_md5(struct span response, char *login_out, size_t login_size)
{
    const size_t digest_len = 32;
    if (response.len <= digest_len + 1 || response.ptr[response.len - digest_len - 1] != ' ')
        return false;
    for (size_t i = response.len - digest_len; i < response.len; i++) {
        char digit = response.ptr[i];
        if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f')))
            return false;
    }
    return take_login(span_slice(response, 0, response.len - digest_len - 1), login_out, login_size);
}

/* RFC 5802 §7: client-first-message = gs2-header [reserved-mext ","] username "," nonce ["," extensions];
   username = "n=" saslname; nonce = "r=" c-nonce. A mandatory extension ("m=") is one that nobody knows. */
static bool login_of_scram(struct span response, char *login_out, size_t login_size)
{
    struct span authzid, name, nonce, rest = response;
    if (!take_gs2_header(&rest, &authzid) || !span_take_until(&rest, ',', &name) ||
        !span_take_until(&rest, ',', &nonce))
        return false;
    struct span encoded = span_skip(name, 2);
    return span_has_prefix(name, SPAN_LIT("n=")) && span_has_prefix(nonce, SPAN_LIT("r=")) && nonce.len > 2 &&
           (authzid.len == 0 || span_is_equal(authzid, encoded)) && decode_saslname(encoded, login_out, login_size) &&
           is_login(span_of(login_out));
}

enum err sasl_login(enum sasl_mechanism mechanism, unsigned step, struct span response, char *login_out,
                    size_t login_size)
{
    typedef bool (*login_fn)(struct span response, char *login_out, size_t login_size);
    static const login_fn readers[SASL_COUNT] = {
        [SASL_PLAIN] = login_of_plain,         [SASL_LOGIN] = take_login,
        [SASL_XOAUTH2] = login_of_xoauth2,     [SASL_OAUTHBEARER] = login_of_oauthbearer,
        [SASL_CRAM_MD5] = login_of_cram_md5,   [SASL_SCRAM_SHA_1] = login_of_scram,
        [SASL_SCRAM_SHA_256] = login_of_scram,
    };
    size_t index = (size_t)mechanism;
    login_fn reader = index < SASL_COUNT ? readers[index] : NULL;
    if (login_size == 0)
        return ERR_INTERNAL;
    login_out[0] = '\0';
    if (!reader)
        return ERR_AUTH_FAILED;
    /* All of these name the login in their first response, or not at all. */
    if (step > 0)
        return ERR_AGAIN;
    if (!reader(response, login_out, login_size)) {
        login_out[0] = '\0';
        return ERR_AUTH_FAILED;
    }
    return ERR_OK;
}

enum err sasl_plain_response(struct span login, struct span password, struct buf *out)
{
    size_t len_before = out->len;
    if (login.len == 0 || password.len == 0 || span_find_byte(login, 0, '\0') != login.len ||
        span_find_byte(password, 0, '\0') != password.len)
        return ERR_AUTH_FAILED;
    enum err err = buf_add_byte(out, '\0');
    if (err == ERR_OK)
        err = buf_add_span(out, login);
    if (err == ERR_OK)
        err = buf_add_byte(out, '\0');
    if (err == ERR_OK)
        err = buf_add_span(out, password);
    if (err != ERR_OK)
        buf_truncate(out, len_before);
    return err;
}
