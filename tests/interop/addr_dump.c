/*
 * Reads raw address-list values, one per line of standard input, in which "\xNN" stands for a byte, and prints for each
 * a line of JSON: {"err": "ok", "addresses": [["display", "address"], ...]}. For tests/interop/addr_python.py.
 */
#include "mime/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_json(struct span text)
{
    putchar('"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        if (byte < ' ' || byte == '"' || byte == '\\' || byte >= 0x7F)
            printf("\\u%04x", byte); /* one unit per byte: the reader takes them as Latin-1 */
        else
            putchar(byte);
    }
    putchar('"');
}

static enum err print_address(const struct mime_addr *addr, void *context)
{
    bool *is_first = context;
    printf("%s[", *is_first ? "" : ", ");
    print_json(addr->display);
    printf(", ");
    print_json(span_of(addr->address));
    printf("]");
    *is_first = false;
    return ERR_OK;
}

/* Replaces each "\xNN" in place; returns the new length. */
static size_t unescape(char *line, size_t len)
{
    size_t to = 0;
    for (size_t at = 0; at < len; at++) {
        if (len - at >= 4 && line[at] == '\\' && line[at + 1] == 'x') {
            char digits[] = {line[at + 2], line[at + 3], '\0'};
            line[to++] = (char)strtoul(digits, NULL, 16);
            at += 3;
        } else {
            line[to++] = line[at];
        }
    }
    return to;
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t got;
    while ((got = getline(&line, &size, stdin)) > 0) {
        size_t len = (size_t)got - (line[got - 1] == '\n');
        bool is_first = true;
        printf("{\"addresses\": [");
        enum err err = mime_addr_walk((struct span){line, unescape(line, len)}, print_address, &is_first);
        printf("], \"err\": \"%s\"}\n", err_name(err));
    }
    free(line);
    return 0;
}
