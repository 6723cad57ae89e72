#include "keyring/backup.h"

#include "mime/utf8.h"

#include <string.h>

#define TITLE "privyseal backup of an OpenPGP key"
static const struct span KEY = SPAN_LIT("Key: "), USER_ID = SPAN_LIT("User ID: "), TRUST = SPAN_LIT("Ownertrust: "),
                         REVOCATION = SPAN_LIT("Revocation: "), ARMOUR = SPAN_LIT("-----BEGIN PGP PRIVATE KEY");

void keyring_backup_init(struct keyring_backup *backup)
{
    *backup = (struct keyring_backup){.fingerprint = ""};
    buf_init(&backup->trust, KEYRING_BACKUP_TEXT_MAX);
    buf_init(&backup->revocation, KEYRING_BACKUP_TEXT_MAX);
}

void keyring_backup_fini(struct keyring_backup *backup)
{
    buf_fini(&backup->trust);
    buf_fini(&backup->revocation);
}

static bool take_line(struct span *rest, struct span *line_out)
{
    if (!span_take_until(rest, '\n', line_out))
        return false;
    if (line_out->len > 0 && line_out->ptr[line_out->len - 1] == '\r')
        line_out->len--;
    return true;
}

bool keyring_backup_is(struct span file)
{
    struct span line;
    return take_line(&file, &line) && span_is_equal(line, SPAN_LIT(TITLE));
}

/* Each line of `text` with `name` before it. */
static enum err add_lines(struct span name, struct span text, struct buf *out)
{
    struct span line;
    enum err err = ERR_OK;
    while (err == ERR_OK && text.len > 0 && take_line(&text, &line)) {
        err = buf_add_span(out, name);
        if (err == ERR_OK)
            err = buf_add_span(out, line);
        if (err == ERR_OK)
            err = buf_add_byte(out, '\n');
    }
    return err;
}

enum err keyring_backup_write(const struct keyring_backup *backup, struct buf *out)
{
    enum err err = buf_add_string(out, TITLE "\n\n`privyseal key import FILE` takes back all that is here, `gpg "
                                             "--import FILE` the key alone.\nWhoever has this file and its passphrase "
                                             "reads your mail, and signs as you: keep it away from this\nmachine.\n\n");
    if (err == ERR_OK)
        err = add_lines(KEY, span_of(backup->fingerprint), out);
    if (err == ERR_OK)
        err = add_lines(USER_ID, span_of(backup->user_id), out);
    if (err == ERR_OK)
        err = add_lines(TRUST, buf_span(&backup->trust), out);
    if (err == ERR_OK)
        err = add_lines(REVOCATION, buf_span(&backup->revocation), out);
    return err == ERR_OK ? buf_add_byte(out, '\n') : err;
}

static bool is_fingerprint(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.ptr[i] < '0' || text.ptr[i] > '9') && (text.ptr[i] < 'A' || text.ptr[i] > 'F'))
            return false;
    return text.len >= 32 && text.len < KEYRING_FPR_SIZE;
}

/* Undefined, never, marginal, full: 2 to 5. */
static bool is_trust(struct span line)
{
    struct span fingerprint;
    return span_take_until(&line, ':', &fingerprint) && is_fingerprint(fingerprint) && line.len == 2 &&
           line.ptr[0] >= '2' && line.ptr[0] <= '5' && line.ptr[1] == ':';
}

static enum err add_line(struct buf *out, struct span line)
{
    enum err err = buf_add_span(out, line);
    return err == ERR_OK ? buf_add_byte(out, '\n') : err;
}

static enum err take(struct span line, struct keyring_backup *backup)
{
    if (span_has_prefix(line, KEY)) {
        const struct span fingerprint = span_skip(line, KEY.len);
        if (!is_fingerprint(fingerprint) || backup->fingerprint[0] != '\0')
            return ERR_MALFORMED;
        return span_copy(fingerprint, backup->fingerprint, KEYRING_FPR_SIZE) ? ERR_OK : ERR_MALFORMED;
    }
    if (span_has_prefix(line, USER_ID))
        mime_utf8_copy_shown(span_skip(line, USER_ID.len), backup->user_id, sizeof backup->user_id);
    else if (span_has_prefix(line, TRUST) && is_trust(span_skip(line, TRUST.len)))
        return add_line(&backup->trust, span_skip(line, TRUST.len));
    else if (span_has_prefix(line, REVOCATION))
        return add_line(&backup->revocation, span_skip(line, REVOCATION.len));
    return ERR_OK;
}

enum err keyring_backup_read(struct span file, struct keyring_backup *backup)
{
    struct span line;
    if (!keyring_backup_is(file))
        return ERR_MALFORMED;
    while (take_line(&file, &line)) {
        if (span_has_prefix(line, ARMOUR))
            return backup->fingerprint[0] == '\0' ? ERR_MALFORMED : ERR_OK;
        enum err err = take(line, backup);
        if (err != ERR_OK)
            return err;
    }
    return ERR_MALFORMED;
}
