#include "smtp/command.h"

#include "mime/utf8.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define LOCAL_PART_MAX 64 /* RFC 5321 §4.5.3.1 */
#define DOMAIN_MAX 255
#define SIZE_DIGITS_MAX 20 /* RFC 1870 §3 */

static const char *const verb_names[SMTP_VERB_COUNT] = {
    [SMTP_UNKNOWN] = "unknown", [SMTP_HELO] = "HELO", [SMTP_EHLO] = "EHLO", [SMTP_STARTTLS] = "STARTTLS",
    [SMTP_AUTH] = "AUTH",       [SMTP_MAIL] = "MAIL", [SMTP_RCPT] = "RCPT", [SMTP_DATA] = "DATA",
    [SMTP_BDAT] = "BDAT",       [SMTP_RSET] = "RSET", [SMTP_NOOP] = "NOOP", [SMTP_VRFY] = "VRFY",
    [SMTP_EXPN] = "EXPN",       [SMTP_HELP] = "HELP", [SMTP_QUIT] = "QUIT",
};

static const char *const body_names[] = {
    [SMTP_BODY_7BIT] = "7BIT", [SMTP_BODY_8BITMIME] = "8BITMIME", [SMTP_BODY_BINARYMIME] = "BINARYMIME"};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct span trim_blanks(struct span text)
{
    while (text.len > 0 && is_blank(text.ptr[0]))
        text = span_skip(text, 1);
    while (text.len > 0 && is_blank(text.ptr[text.len - 1]))
        text.len--;
    return text;
}

enum smtp_verb smtp_command_split(struct span line, struct span *argument_out)
{
    size_t len = 0;
    while (len < line.len && !is_blank(line.ptr[len]))
        len++;
    *argument_out = trim_blanks(span_skip(line, len));
    struct span name = span_slice(line, 0, len);
    for (int verb = SMTP_UNKNOWN + 1; verb < SMTP_VERB_COUNT; verb++)
        if (span_is_case_equal(name, span_of(verb_names[verb])))
            return (enum smtp_verb)verb;
    return SMTP_UNKNOWN;
}

const char *smtp_verb_name(enum smtp_verb verb)
{
    return (unsigned)verb < SMTP_VERB_COUNT ? verb_names[verb] : verb_names[SMTP_UNKNOWN];
}

/* ---- Paths: RFC 5321 §4.1.2, with UTF-8 as in RFC 6531 §3.3. Each function takes what it reads off the front of
 * `*rest`. ---- */

static bool is_alnum(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_8bit(char byte)
{
    return (unsigned char)byte >= 0x80;
}

static bool take(struct span *rest, char byte)
{
    if (rest->len == 0 || rest->ptr[0] != byte)
        return false;
    *rest = span_skip(*rest, 1);
    return true;
}

/* Dot-string = Atom *("." Atom), but with dots anywhere: such mailboxes exist, and no server takes them for two things.
 */
static size_t dot_string_len(struct span text)
{
    size_t len = 0;
    while (len < text.len && (is_alnum(text.ptr[len]) || is_8bit(text.ptr[len]) ||
                              (text.ptr[len] != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", text.ptr[len]) != NULL)))
        len++;
    return len;
}

/* Quoted-string = DQUOTE *( qtextSMTP / "\" %d32-126 ) DQUOTE, its length or 0. */
static size_t quoted_string_len(struct span text)
{
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '"')
            return i + 1;
        i += text.ptr[i] == '\\';
        if (i == text.len || (unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            return 0;
    }
    return 0;
}

static bool take_local_part(struct span *rest)
{
    size_t len = rest->len > 0 && rest->ptr[0] == '"' ? quoted_string_len(*rest) : dot_string_len(*rest);
    *rest = span_skip(*rest, len);
    return len > 0 && len <= LOCAL_PART_MAX;
}

/* Domain = sub-domain *("." sub-domain); "_" is taken as hosts with it exist. */
static bool take_domain(struct span *rest)
{
    size_t len = 0;
    bool is_label_end = false; /* the byte before may end a label */
    for (; len < rest->len; len++) {
        char byte = rest->ptr[len];
        bool is_letter = is_alnum(byte) || is_8bit(byte) || byte == '_';
        if (!is_letter && !(byte == '-' && len > 0 && rest->ptr[len - 1] != '.') && !(byte == '.' && is_label_end))
            break;
        is_label_end = is_letter;
    }
    *rest = span_skip(*rest, len);
    return is_label_end && len <= DOMAIN_MAX;
}

/* address-literal = "[" 1*dcontent "]", dcontent = %d33-90 / %d94-126 */
static bool take_address_literal(struct span *rest)
{
    size_t len = 1;
    while (len < rest->len && rest->ptr[len] > ' ' && rest->ptr[len] < 0x7f && strchr("[\\]", rest->ptr[len]) == NULL)
        len++;
    *rest = span_skip(*rest, len);
    return len > 1 && len <= DOMAIN_MAX && take(rest, ']');
}

/* Mailbox = Local-part "@" ( Domain / address-literal ) */
static bool take_mailbox(struct span *rest)
{
    if (!take_local_part(rest) || !take(rest, '@'))
        return false;
    return rest->len > 0 && rest->ptr[0] == '[' ? take_address_literal(rest) : take_domain(rest);
}

/* A-d-l = At-domain *( "," At-domain ), then ":"; RFC 5321 appendix C: to be ignored. */
static bool take_source_route(struct span *rest)
{
    if (rest->len == 0 || rest->ptr[0] != '@')
        return true;
    do {
        if (!take(rest, '@') || !take_domain(rest))
            return false;
    } while (take(rest, ','));
    return take(rest, ':');
}

/* Path = "<" [ A-d-l ":" ] Mailbox ">", or "<>" where that is allowed. */
static enum err take_path(struct span *rest, bool may_be_null, struct smtp_path *path_out)
{
    if (!take(rest, '<'))
        return ERR_PARAMETER_SYNTAX;
    if (may_be_null && take(rest, '>'))
        return ERR_OK;
    if (!take_source_route(rest))
        return ERR_ADDRESS_SYNTAX;
    struct span mailbox = *rest;
    if (!take_mailbox(rest))
        return ERR_ADDRESS_SYNTAX;
    mailbox = span_slice(mailbox, 0, mailbox.len - rest->len);
    if (!take(rest, '>') || !mime_utf8_is_valid(mailbox) || !span_copy(mailbox, path_out->path, MIME_ADDR_SIZE))
        return ERR_ADDRESS_SYNTAX;
    return mime_addr_normalise(mailbox, path_out->address);
}

static bool has_8bit(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (is_8bit(text.ptr[i]))
            return true;
    return false;
}

/* ---- Parameters ---- */

static bool is_upper_hex(char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'F');
}

/* xtext = *( xchar / hexchar ), xchar = %d33-126 without "+" and "=", hexchar = "+" 2 upper-case digits (RFC 3461 §4)
 */
static bool is_xtext(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.ptr[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '=')
            return false;
        if (byte != '+')
            continue;
        if (text.len - i < 3 || !is_upper_hex(text.ptr[i + 1]) || !is_upper_hex(text.ptr[i + 2]))
            return false;
        i += 2;
    }
    return true;
}

static void copy_upper(struct span text, char *target, size_t size)
{
    if (span_copy(text, target, size))
        for (char *c = target; *c != '\0'; c++)
            *c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
}

static bool set_size(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    mail->has_size = true;
    return value.len <= SIZE_DIGITS_MAX && span_to_u64(value, UINT64_MAX, &mail->size);
}

static bool set_body(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    for (int body = SMTP_BODY_7BIT; body <= SMTP_BODY_BINARYMIME; body++)
        if (span_is_case_equal(value, span_of(body_names[body])))
            mail->body = (enum smtp_body)body;
    return mail->body != SMTP_BODY_NONE;
}

static bool set_smtputf8(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    mail->smtputf8 = true;
    return value.ptr == NULL;
}

static bool set_ret(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    copy_upper(value, mail->ret, sizeof mail->ret);
    return strcmp(mail->ret, "FULL") == 0 || strcmp(mail->ret, "HDRS") == 0;
}

static bool set_envid(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    return value.len > 0 && is_xtext(value) && span_copy(value, mail->envid, sizeof mail->envid);
}

/* RFC 4954 §5: "<>" or a mailbox, as xtext. */
static bool set_auth(struct span value, void *target)
{
    struct smtp_mail *mail = target;
    return value.len > 0 && is_xtext(value) && span_copy(value, mail->auth, sizeof mail->auth);
}

/* notify-list-element = "SUCCESS" / "FAILURE" / "DELAY", each once, or "NEVER" alone (RFC 3461 §4.1) */
static bool is_notify(struct span value)
{
    static const char *const names[] = {"SUCCESS", "FAILURE", "DELAY"};
    if (span_is_equal(value, SPAN_LIT("NEVER")))
        return true;
    unsigned seen = 0;
    size_t from = 0;
    do {
        size_t to = span_find_byte(value, from, ',');
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (span_is_equal(span_slice(value, from, to), span_of(names[i])))
                bit = 1u << i;
        if (bit == 0 || (seen & bit) != 0)
            return false;
        seen |= bit;
        from = to + 1;
    } while (from <= value.len);
    return true;
}

static bool set_notify(struct span value, void *target)
{
    struct smtp_rcpt *rcpt = target;
    copy_upper(value, rcpt->notify, sizeof rcpt->notify);
    return is_notify(span_of(rcpt->notify));
}

/* original-recipient-address = addr-type ";" xtext (RFC 3461 §4.2) */
static bool is_orcpt(struct span value)
{
    size_t type_len = span_find_byte(value, 0, ';');
    for (size_t i = 0; i < type_len; i++)
        if (!is_alnum(value.ptr[i]) && value.ptr[i] != '-')
            return false;
    return type_len > 0 && type_len + 1 < value.len && is_xtext(span_skip(value, type_len + 1));
}

static bool set_orcpt(struct span value, void *target)
{
    struct smtp_rcpt *rcpt = target;
    return is_orcpt(value) && span_copy(value, rcpt->orcpt, sizeof rcpt->orcpt);
}

struct parameter {
    const char *name;
    bool (*set)(struct span value, void *target);
};

static const struct parameter mail_parameters[] = {
    {"SIZE", set_size}, {"BODY", set_body},   {"SMTPUTF8", set_smtputf8},
    {"RET", set_ret},   {"ENVID", set_envid}, {"AUTH", set_auth},
};

static const struct parameter rcpt_parameters[] = {{"NOTIFY", set_notify}, {"ORCPT", set_orcpt}};

/* esmtp-param = esmtp-keyword ["=" esmtp-value]; the value is SPAN_NONE without "=". */
static bool split_parameter(struct span text, struct span *name_out, struct span *value_out)
{
    size_t name_len = span_find_byte(text, 0, '=');
    *name_out = span_slice(text, 0, name_len);
    *value_out = name_len < text.len ? span_skip(text, name_len + 1) : SPAN_NONE;
    for (size_t i = 0; i < name_len; i++)
        if (!is_alnum(text.ptr[i]) && !(text.ptr[i] == '-' && i > 0))
            return false;
    for (size_t i = 0; i < value_out->len; i++)
        if (value_out->ptr[i] <= ' ' || value_out->ptr[i] >= 0x7f)
            return false;
    return name_len > 0;
}

static enum err parse_parameters(struct span rest, const struct parameter *known, size_t known_count, void *target)
{
    unsigned seen = 0;
    while (rest.len > 0) {
        if (!take(&rest, ' '))
            return ERR_PARAMETER_SYNTAX;
        size_t len = span_find_byte(rest, 0, ' ');
        struct span name, value;
        if (len == 0)
            continue;
        if (!split_parameter(span_slice(rest, 0, len), &name, &value))
            return ERR_PARAMETER_SYNTAX;
        size_t which = 0;
        while (which < known_count && !span_is_case_equal(name, span_of(known[which].name)))
            which++;
        if (which == known_count)
            return ERR_PARAMETER_UNKNOWN;
        /* Given twice, servers differ on which one counts. */
        if ((seen & 1u << which) != 0 || !known[which].set(value, target))
            return ERR_PARAMETER_SYNTAX;
        seen |= 1u << which;
        rest = span_skip(rest, len);
    }
    return ERR_OK;
}

/* Takes "FROM:" or "TO:" off the front, and the blanks that some clients put behind it. */
static bool take_keyword(struct span *rest, struct span keyword)
{
    if (!span_has_case_prefix(*rest, keyword))
        return false;
    *rest = trim_blanks(span_skip(*rest, keyword.len));
    return true;
}

/* mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF */
enum err smtp_mail_parse(struct span argument, struct smtp_mail *mail_out)
{
    *mail_out = (struct smtp_mail){.body = SMTP_BODY_NONE};
    struct smtp_mail mail = *mail_out;
    if (!take_keyword(&argument, SPAN_LIT("FROM:")))
        return ERR_PARAMETER_SYNTAX;
    enum err err = take_path(&argument, true, &mail.from);
    if (err == ERR_OK)
        err = parse_parameters(argument, mail_parameters, sizeof mail_parameters / sizeof mail_parameters[0], &mail);
    if (err == ERR_OK && has_8bit(span_of(mail.from.path)) && !mail.smtputf8)
        err = ERR_NEEDS_SMTPUTF8;
    if (err == ERR_OK)
        *mail_out = mail;
    return err;
}

/* rcpt = "RCPT TO:" Forward-path [SP Rcpt-parameters] CRLF */
enum err smtp_rcpt_parse(struct span argument, struct smtp_rcpt *rcpt_out)
{
    *rcpt_out = (struct smtp_rcpt){.notify = ""};
    struct smtp_rcpt rcpt = *rcpt_out;
    if (!take_keyword(&argument, SPAN_LIT("TO:")))
        return ERR_PARAMETER_SYNTAX;
    enum err err = take_path(&argument, false, &rcpt.to);
    if (err == ERR_OK)
        err = parse_parameters(argument, rcpt_parameters, sizeof rcpt_parameters / sizeof rcpt_parameters[0], &rcpt);
    if (err == ERR_OK)
        *rcpt_out = rcpt;
    return err;
}

/* ---- Writing: what goes into a command line is checked once more, wherever the values came from. ---- */

static bool is_mailbox(struct span path)
{
    return mime_utf8_is_valid(path) && take_mailbox(&path) && path.len == 0;
}

static enum err add_parameter(struct buf *out, const char *name, const char *value)
{
    return *value == '\0' ? ERR_OK : buf_addf(out, " %s=%s", name, value);
}

static enum err add_mail(const struct smtp_mail *mail, struct buf *out)
{
    enum err err = buf_addf(out, "MAIL FROM:<%s>", mail->from.path);
    if (err == ERR_OK && mail->has_size)
        err = buf_addf(out, " SIZE=%" PRIu64, mail->size);
    if (err == ERR_OK && mail->body != SMTP_BODY_NONE)
        err = add_parameter(out, "BODY", body_names[mail->body]);
    if (err == ERR_OK && mail->smtputf8)
        err = buf_add_string(out, " SMTPUTF8");
    if (err == ERR_OK)
        err = add_parameter(out, "RET", mail->ret);
    if (err == ERR_OK)
        err = add_parameter(out, "ENVID", mail->envid);
    if (err == ERR_OK)
        err = add_parameter(out, "AUTH", mail->auth);
    return err == ERR_OK ? buf_add(out, "\r\n", 2) : err;
}

enum err smtp_mail_format(const struct smtp_mail *mail, struct buf *out)
{
    size_t before = out->len;
    if (mail->from.path[0] != '\0' && !is_mailbox(span_of(mail->from.path)))
        return ERR_ADDRESS_SYNTAX;
    if (!is_xtext(span_of(mail->ret)) || !is_xtext(span_of(mail->envid)) || !is_xtext(span_of(mail->auth)) ||
        (unsigned)mail->body > SMTP_BODY_BINARYMIME)
        return ERR_PARAMETER_SYNTAX;
    enum err err = add_mail(mail, out);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err smtp_rcpt_format(const struct smtp_rcpt *rcpt, struct buf *out)
{
    size_t before = out->len;
    if (!is_mailbox(span_of(rcpt->to.path)))
        return ERR_ADDRESS_SYNTAX;
    if ((rcpt->notify[0] != '\0' && !is_notify(span_of(rcpt->notify))) ||
        (rcpt->orcpt[0] != '\0' && !is_orcpt(span_of(rcpt->orcpt))))
        return ERR_PARAMETER_SYNTAX;
    enum err err = buf_addf(out, "RCPT TO:<%s>", rcpt->to.path);
    if (err == ERR_OK)
        err = add_parameter(out, "NOTIFY", rcpt->notify);
    if (err == ERR_OK)
        err = add_parameter(out, "ORCPT", rcpt->orcpt);
    if (err == ERR_OK)
        err = buf_add(out, "\r\n", 2);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}
