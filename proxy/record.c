#include "proxy/record.h"

#include "base/packed.h"
#include "imap/content.h"
#include "store/view.h"

#define RECORD_VERSION 1u

#define ENVELOPE_MAX ((size_t)4 << 20) /* of a short record */

enum form { WHOLE, SHORT };

static enum err make_envelope(const struct mime_part *root, struct span view, enum form form, struct buf *value)
{
    struct span header = mime_part_header(root, view);
    enum err err = imap_envelope_add(header, value);
    if (form == WHOLE || (err != ERR_LIMIT && value->len <= ENVELOPE_MAX))
        return err;
    buf_clear(value);
    return buf_add_string(value, IMAP_ENVELOPE_EMPTY);
}

/* Adds what one of the functions of imap/content.h adds, after its length. */
static enum err add_value(const struct mime_part *root, struct span view, int number, enum form form, struct buf *out)
{
    struct buf value;
    enum err err;
    buf_init_secret(&value, STORE_RECORD_MAX);
    if (number == 0)
        err = make_envelope(root, view, form, &value);
    else if (form == WHOLE)
        err = imap_structure_add(root, view, number == 2, &value);
    else
        err = imap_structure_add_short(root, view, number == 2, &value);
    if (err == ERR_OK)
        err = packed_add_bytes(out, buf_span(&value));
    buf_fini(&value);
    return err;
}

static enum err save(const struct mime_part *root, struct span view, enum form form, struct buf *out)
{
    size_t before = out->len;
    enum err err = packed_add_number(out, RECORD_VERSION, 1);
    if (err == ERR_OK)
        err = packed_add_number(out, view.len, 8);
    if (err == ERR_OK)
        err = packed_add_bytes(out, mime_part_header(root, view));
    for (int i = 0; err == ERR_OK && i < 3; i++)
        err = add_value(root, view, i, form, out);
    if (err != ERR_OK)
        buf_truncate(out, before);
    return err;
}

enum err proxy_record_save(const struct mime_part *root, struct span view, struct buf *out)
{
    return save(root, view, WHOLE, out);
}

enum err proxy_record_save_short(const struct mime_part *root, struct span view, struct buf *out)
{
    return save(root, view, SHORT, out);
}

/* A value that stands in a FETCH response: one list. What the list holds is not looked at again. */
static bool is_list(struct span value)
{
    return value.len >= 2 && value.ptr[0] == '(' && value.ptr[value.len - 1] == ')';
}

enum err proxy_record_load(struct span saved, struct proxy_record *record_out)
{
    struct proxy_record record = {.size = 0};
    unsigned version;
    bool is_good = packed_take_small(&saved, RECORD_VERSION, &version) && version == RECORD_VERSION &&
                   packed_take_number(&saved, 8, &record.size) && packed_take_bytes(&saved, &record.header) &&
                   packed_take_bytes(&saved, &record.envelope) && packed_take_bytes(&saved, &record.body) &&
                   packed_take_bytes(&saved, &record.structure) && saved.len == 0;
    if (!is_good || record.header.len > record.size || !is_list(record.envelope) || !is_list(record.body) ||
        !is_list(record.structure))
        return ERR_PEER_PROTOCOL;
    *record_out = record;
    return ERR_OK;
}
