#include "proxy/imap_classify.h"

#include "imap/capability.h"
#include "mime/encoding.h"
#include "mime/field.h"

#include <openssl/evp.h>

#define START_MAX 4096 /* decoded; 1,024 bytes are asked for */
#define ITEMS                                                                                                          \
    "RFC822.SIZE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (Privyseal-Verdict Authentication-Results From Date Autocrypt " \
    "Content-Type Auto-Submitted)] BODY.PEEK[1]<0.1024>)"

const char *imap_classify_items(uint32_t features)
{
    if ((features & IMAP_HAS_OBJECTID) != 0)
        return "(UID EMAILID " ITEMS;
    return (features & IMAP_HAS_GMAIL) != 0 ? "(UID X-GM-MSGID " ITEMS : "(UID " ITEMS;
}

static struct span value_of(const struct imap_answer *answers, size_t len, struct span prefix)
{
    for (size_t i = 0; i < len; i++)
        if (span_has_case_prefix(answers[i].label, prefix))
            return answers[i].value;
    return SPAN_NONE;
}

/* The end of a name like smime.p7m; also if its dot is written "%2E", or it came in pieces (RFC 2231). */
static bool may_end_name(struct span name)
{
    static const struct span ends[] = {SPAN_LIT("p7m"), SPAN_LIT("p7s"), SPAN_LIT("p7z")};
    bool is_one = false;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && name.len > 0; i++)
        is_one |= span_has_case_suffix(name, ends[i]) || span_has_case_suffix(ends[i], name);
    return is_one;
}

static bool is_protected_type(const struct imap_string *string)
{
    static const struct span words[] = {
        SPAN_LIT("encrypted"),  SPAN_LIT("signed"),       SPAN_LIT("pgp-encrypted"),   SPAN_LIT("pgp-signature"),
        SPAN_LIT("pkcs7-mime"), SPAN_LIT("x-pkcs7-mime"), SPAN_LIT("pkcs7-signature"), SPAN_LIT("x-pkcs7-signature")};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_is_case_equal(string->raw, words[i]))
            return true;
    /* Sent as application/octet-stream, it is known by its name. */
    return may_end_name(string->raw);
}

/* Any string of the structure counts, wherever it stands: a parameter that happens to be "signed" costs a look. */
static bool has_protected_type(struct span structure)
{
    struct imap_cursor cursor;
    struct imap_string string;
    imap_cursor_init_text(&cursor, structure);
    while (cursor.at < structure.len) {
        if (!imap_take_astring(&cursor, &string))
            cursor.at++;
        else if (is_protected_type(&string))
            return true;
    }
    return false;
}

/* Literals elsewhere are larger than what was asked for should be, and NIL says nothing: no text, but a reason to look.
 */
static bool take_text(struct span value, struct span *text_out)
{
    struct imap_cursor cursor;
    struct imap_string string;
    imap_cursor_init_text(&cursor, value);
    *text_out = SPAN_NONE;
    if (!imap_take_nstring(&cursor, &string) || string.kind == IMAP_NIL)
        return false;
    *text_out = string.raw;
    return true;
}

/* privyseal's own fields, also where a bare CR begins them within another, or where a quoted string has escapes; and
   results under its name. Elsewhere the word says nothing: people have it in their names. */
static bool has_verdict(struct span fields)
{
    struct mime_field field;
    if (span_find_case(fields, 0, SPAN_LIT("privyseal-")) != SIZE_MAX)
        return true;
    for (size_t at = 0; at < fields.len;) {
        if (!mime_field_next(fields, &at, &field)) {
            at += 2; /* an empty line, which some servers put first */
            continue;
        }
        if ((field.name.len == 0 || mime_field_is(&field, "Authentication-Results")) &&
            (span_find_case(field.whole, 0, SPAN_LIT("privyseal")) != SIZE_MAX ||
             span_find_byte(field.whole, 0, '\\') < field.whole.len))
            return true;
    }
    return false;
}

static bool has_armour(struct span text)
{
    return span_find(text, 0, SPAN_LIT("-----BEGIN PGP MESSAGE")) != SIZE_MAX ||
           span_find(text, 0, SPAN_LIT("-----BEGIN PGP SIGNED MESSAGE")) != SIZE_MAX;
}

static enum err has_encoded_armour(struct span text, enum mime_encoding encoding, bool *has_armour_out)
{
    struct buf decoded;
    buf_init(&decoded, START_MAX);
    enum err err = mime_decode(encoding, text, &decoded);
    /* Nonsense in this encoding, of which there is more than a message's first bytes give: it is in another. */
    *has_armour_out = has_armour(buf_span(&decoded));
    buf_fini(&decoded);
    return err == ERR_MEMORY ? err : ERR_OK;
}

enum err imap_classify(const struct imap_answer *answers, size_t len, bool *is_candidate_out, uint64_t *size_out)
{
    struct span structure = imap_answer_find(answers, len, "BODYSTRUCTURE");
    struct span fields = value_of(answers, len, SPAN_LIT("BODY[HEADER.FIELDS"));
    struct span start = value_of(answers, len, SPAN_LIT("BODY[1]"));
    struct span size = imap_answer_find(answers, len, "RFC822.SIZE");
    enum err err = ERR_OK;
    *is_candidate_out = true;
    *size_out = 0;
    if (!structure.ptr || !fields.ptr || !start.ptr || !span_to_u64(size, INT64_MAX, size_out))
        return ERR_NOT_FOUND;
    if (span_is_case_equal(structure, SPAN_LIT("NIL")) || has_protected_type(structure) ||
        !take_text(fields, &fields) || !take_text(start, &start) || has_verdict(fields) || has_armour(start))
        return ERR_OK;
    err = has_encoded_armour(start, MIME_QUOTED_PRINTABLE, is_candidate_out);
    if (err == ERR_OK && !*is_candidate_out)
        err = has_encoded_armour(start, MIME_BASE64, is_candidate_out);
    return err;
}

enum err imap_classify_fields(const struct imap_answer *answers, size_t len, struct buf *out)
{
    struct imap_cursor cursor;
    struct imap_string string;
    imap_cursor_init_text(&cursor, value_of(answers, len, SPAN_LIT("BODY[HEADER.FIELDS")));
    if (!imap_take_nstring(&cursor, &string) || string.kind == IMAP_NIL)
        return ERR_NOT_FOUND;
    return imap_string_add(&string, out);
}

static bool add(EVP_MD_CTX *digest, struct span bytes)
{
    return EVP_DigestUpdate(digest, bytes.ptr, bytes.len) == 1 && EVP_DigestUpdate(digest, "", 1) == 1;
}

bool imap_classify_alias(const struct imap_answer *answers, size_t len, uint8_t alias_out[STORE_DIGEST_SIZE])
{
    struct span name = imap_answer_find(answers, len, "EMAILID");
    struct span structure = imap_answer_find(answers, len, "BODYSTRUCTURE");
    struct span size = imap_answer_find(answers, len, "RFC822.SIZE");
    bool is_email_id = name.ptr != NULL;
    if (!is_email_id)
        name = imap_answer_find(answers, len, "X-GM-MSGID");
    /* "(" objectid ")", or a number; NIL is no name. */
    if (!name.ptr || name.len < (is_email_id ? 3 : 1) || (name.ptr[0] == '(') != is_email_id ||
        span_is_case_equal(name, SPAN_LIT("NIL")) || !structure.ptr || !size.ptr)
        return false;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool is_done = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 && add(digest, name) &&
                   add(digest, size) && add(digest, structure) && EVP_DigestFinal_ex(digest, alias_out, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return is_done;
}
