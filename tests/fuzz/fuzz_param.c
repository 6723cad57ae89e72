/*
 * Parameters of any value are read within bounds, can be removed, and come back as they were added.
 */
#include "mime/param.h"

#include <stdlib.h>
#include <string.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_get(struct span value, const char *name)
{
    struct buf got;
    enum err result;

    buf_init(&got, 1 << 20);
    result = mime_param_get(value, name, &got);
    check(result == ERR_OK || ((result == ERR_NOT_FOUND || result == ERR_LIMIT) && got.len == 0));
    check(got.len <= MIME_PARAM_MAX);
    for (size_t i = 0; i < got.len; i++)
        check(got.data[i] != '\r' && got.data[i] != '\n' && got.data[i] != '\0');
    buf_fini(&got);
}

static void check_remove(struct span value)
{
    static const char *const names[] = {"name", NULL}, *const none[] = {NULL};
    struct buf left, got;

    buf_init(&left, 1 << 20);
    buf_init(&got, 1 << 20);
    check(mime_param_remove(value, none, &left) == ERR_OK && span_is_equal(buf_span(&left), value));
    buf_clear(&left);
    check(mime_param_remove(value, names, &left) == ERR_OK && left.len <= value.len);
    check(mime_param_get(buf_span(&left), "name", &got) == ERR_NOT_FOUND);
    buf_fini(&left);
    buf_fini(&got);
}

static void check_add(struct span text)
{
    struct buf value, got;
    enum err result;
    bool is_clean = true;

    for (size_t i = 0; i < text.len; i++)
        is_clean = is_clean && text.ptr[i] != '\r' && text.ptr[i] != '\n' && text.ptr[i] != '\0';
    buf_init(&value, 1 << 20);
    buf_init(&got, 1 << 20);
    check(buf_add_string(&value, "a/b") == ERR_OK);
    result = mime_param_add(&value, "name", text);
    check(result == (text.len > MIME_PARAM_MAX ? ERR_LIMIT : ERR_OK));
    if (result == ERR_OK) {
        check(mime_param_get(buf_span(&value), "name", &got) == ERR_OK);
        check(got.len == text.len && (!is_clean || span_is_equal(buf_span(&got), text)));
        for (size_t i = 0; i < value.len; i++)
            check(value.data[i] >= ' ' && value.data[i] < 127);
    }
    buf_fini(&value);
    buf_fini(&got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span value = {(const char *)data, size};
    char type[32], subtype[32];

    check_get(value, "name");
    check_get(value, "n");
    check_remove(value);
    check_add(value);
    if (mime_type_parse(value, type, subtype, sizeof type))
        check(type[0] != '\0' && subtype[0] != '\0' && strlen(type) < sizeof type && strlen(subtype) < sizeof subtype);
    return 0;
}
