#include "crypto/ber.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>

#define DEPTH_MAX 32

/* Its content, for an indefinite length, is all that follows the header. */
static bool read_item(struct span bytes, struct crypto_ber *item_out)
{
    const unsigned char *start = (const unsigned char *)bytes.ptr, *at = start;
    long length = 0, left = bytes.len <= LONG_MAX ? (long)bytes.len : 0;
    int flags;

    if (left == 0)
        return false;
    flags = ASN1_get_object(&at, &length, &item_out->tag, &item_out->class, left);
    if ((flags & 0x80) != 0 || length < 0) {
        ERR_clear_error();
        return false;
    }
    item_out->is_constructed = (flags & V_ASN1_CONSTRUCTED) != 0;
    item_out->is_indefinite = (flags & 1) != 0;
    item_out->content = span_skip(bytes, (size_t)(at - start));
    if (!item_out->is_indefinite)
        item_out->content = span_slice(item_out->content, 0, (size_t)length);
    return true;
}

/* The end-of-contents octets are those of X.690 §8.1.3.6. */
static bool take_item(struct span *rest, unsigned depth, struct crypto_ber *item_out)
{
    struct crypto_ber inner;
    struct span inside;

    if (depth > DEPTH_MAX || !read_item(*rest, item_out))
        return false;
    if (!item_out->is_indefinite) {
        *rest = span_skip(*rest, (size_t)(item_out->content.ptr - rest->ptr) + item_out->content.len);
        return true;
    }
    inside = item_out->content;
    while (!span_has_prefix(inside, (struct span){"\0\0", 2}))
        if (!take_item(&inside, depth + 1, &inner))
            return false;
    item_out->content.len = (size_t)(inside.ptr - item_out->content.ptr);
    *rest = span_skip(inside, 2);
    return true;
}

bool crypto_ber_take(struct span *rest, struct crypto_ber *item_out)
{
    return take_item(rest, 0, item_out);
}

bool crypto_ber_expect(struct span *rest, int class, int tag, struct crypto_ber *item_out)
{
    return crypto_ber_take(rest, item_out) && item_out->class == class && item_out->tag == tag;
}

int crypto_ber_take_oid(struct span *rest)
{
    const unsigned char *start = (const unsigned char *)rest->ptr, *at = start;
    ASN1_OBJECT *object = rest->len > 0 && rest->len <= LONG_MAX ? d2i_ASN1_OBJECT(NULL, &at, (long)rest->len) : NULL;
    int nid;

    ERR_clear_error();
    if (object == NULL)
        return NID_undef;
    nid = OBJ_obj2nid(object);
    ASN1_OBJECT_free(object);
    *rest = span_skip(*rest, (size_t)(at - start));
    return nid;
}

static enum err each_octets(const struct crypto_ber *item, unsigned depth, crypto_ber_fn take, void *context)
{
    struct span rest = item->content;
    struct crypto_ber piece;
    enum err result = ERR_OK;

    if (!item->is_constructed)
        return take(rest, context);
    if (depth > DEPTH_MAX)
        return ERR_MALFORMED;
    while (result == ERR_OK && rest.len > 0)
        result = crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_OCTET_STRING, &piece)
                     ? each_octets(&piece, depth + 1, take, context)
                     : ERR_MALFORMED;
    return result;
}

enum err crypto_ber_each_octets(const struct crypto_ber *item, crypto_ber_fn take, void *context)
{
    return each_octets(item, 0, take, context);
}

static enum err add_octets(struct span octets, void *context)
{
    return buf_add_span(context, octets);
}

enum err crypto_ber_add_octets(const struct crypto_ber *item, struct buf *out)
{
    return each_octets(item, 0, add_octets, out);
}

int crypto_cms_content(struct span cms, struct span *content_out)
{
    struct crypto_ber item;
    struct span rest = cms;
    int nid;

    if (!crypto_ber_expect(&rest, V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, &item) || rest.len > 0)
        return NID_undef;
    rest = item.content;
    nid = crypto_ber_take_oid(&rest);
    if (nid == NID_undef || !crypto_ber_expect(&rest, V_ASN1_CONTEXT_SPECIFIC, 0, &item) || rest.len > 0)
        return NID_undef;
    *content_out = item.content;
    return nid;
}
