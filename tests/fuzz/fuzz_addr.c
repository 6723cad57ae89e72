/*
 * Addresses: a normal form normalises to itself and has nothing in it that could end a line or a string; read back
 * inside angle brackets, behind any name, it is the one address of that field.
 */
#include "mime/addr.h"
#include "mime/utf8.h"

#include <stdlib.h>
#include <string.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static void check_normal(const char *address)
{
    char again[MIME_ADDR_SIZE];
    size_t len = strlen(address);
    check(len >= 3 && len < MIME_ADDR_SIZE);
    check(mime_addr_normalise(span_of(address), again) == ERR_OK);
    check(strcmp(address, again) == 0);
    check(mime_utf8_is_valid(span_of(address)));
    for (const char *at = address; *at != '\0'; at++)
        check((unsigned char)*at >= ' ' && *at != 0x7F);
    for (const char *at = mime_addr_domain(address); *at != '\0'; at++)
        check(*at > ' ' && *at < 127 && *at != '@' && (*at < 'A' || *at > 'Z'));
    check(mime_addr_is_same(address, again) && mime_addr_matches(address, address) && mime_addr_matches(address, "*"));
}

struct found {
    struct span value;
    size_t count;
    char last[MIME_ADDR_SIZE];
};

static enum err note(const struct mime_addr *addr, void *context)
{
    struct found *found = context;
    check_normal(addr->address);
    if (addr->display.ptr != NULL)
        check(addr->display.len > 0 && addr->display.ptr >= found->value.ptr &&
              addr->display.ptr + addr->display.len < found->value.ptr + found->value.len);
    found->count++;
    memcpy(found->last, addr->address, sizeof found->last);
    return ERR_OK;
}

/* Puts a name before and a comment behind the address. */
static void check_in_brackets(struct span name, const char *address)
{
    struct buf value;
    buf_init(&value, 1 << 20);
    check(buf_add_span(&value, name) == ERR_OK);
    check(buf_addf(&value, " <%s> (x@y)", address) == ERR_OK);
    struct found found = {.value = buf_span(&value), .count = 0};
    check(mime_addr_walk(found.value, note, &found) == ERR_OK);
    check(found.count == 1 && strcmp(found.last, address) == 0);
    buf_fini(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct found found = {.value = {(const char *)data, size}, .count = 0};
    char address[MIME_ADDR_SIZE];
    enum err err = mime_addr_walk(found.value, note, &found);
    check(err == ERR_OK || err == ERR_MALFORMED || err == ERR_LIMIT);
    if (found.count > 0) {
        check_in_brackets(SPAN_LIT(""), found.last);
        check_in_brackets(SPAN_LIT("\"a, b\" c@d"), found.last);
        check_in_brackets(span_of(found.last), found.last);
    }
    err = mime_addr_normalise(found.value, address);
    check(err == ERR_OK || err == ERR_ADDRESS_SYNTAX);
    if (err == ERR_OK) {
        check_normal(address);
        struct found one = {.value = found.value, .count = 0};
        check(mime_addr_walk(found.value, note, &one) == ERR_OK);
        check(one.count == 1 && strcmp(one.last, address) == 0);
    } else {
        check(address[0] == '\0');
    }
    return 0;
}
