/*
 * Search programs: what is accepted is a tree within its bounds, whose parts lie in the text, with as many leaves as it
 * says; combining it stays within its bits. A program of the server's alone reads the same when it is read again.
 */
#include "imap/search.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGES 21

static struct imap_search search, again;

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

static bool is_within(struct span part, struct span text)
{
    return part.ptr >= text.ptr && part.ptr + part.len <= text.ptr + text.len;
}

static void check_nodes(struct span text)
{
    size_t servers = 0, leaves = 0;

    check(search.nodes_len >= 2 && search.nodes_len <= IMAP_SEARCH_NODES_MAX);
    for (size_t i = 0; i < search.nodes_len; i++) {
        const struct imap_search_node *node = &search.nodes[i];

        check(node->first_child < search.nodes_len && node->next < search.nodes_len);
        check(node->first_child == 0 || node->first_child > i);
        check(node->next == 0 || node->next > i);
        if (node->kind == IMAP_SEARCH_SERVER) {
            check(node->server == servers++ && node->raw.len > 0 && is_within(node->raw, text));
        } else if (node->kind == IMAP_SEARCH_VIEW) {
            check(node->leaf == leaves++);
            check(node->raw.len > 0 && is_within(node->raw, text));
        } else {
            check(node->first_child != 0);
        }
    }
    check(servers == search.servers_len && leaves == search.leaves_len);
}

static void check_combining(void)
{
    uint8_t bits[3] = {0x5A, 0xC3, 0x1F}, result[4] = {0, 0, 0, 0xEE};
    const uint8_t **rows = calloc(search.servers_len + search.leaves_len + 1, sizeof *rows);

    check(rows != NULL);
    for (size_t i = 0; i < search.servers_len + search.leaves_len; i++)
        rows[i] = bits;
    imap_search_combine(&search, rows, rows, MESSAGES, result);
    check(result[3] == 0xEE && result[2] < 0x20);
    free(rows);
}

static void check_answer(void)
{
    struct imap_set found;
    struct buf out;

    imap_set_init(&found);
    buf_init(&out, 1000);
    check(imap_set_add_range(&found, 3, 9) == ERR_OK);
    check(imap_search_answer(&search, SPAN_LIT("tag"), true, &found, 5, &out) == ERR_OK);
    check(out.len == 0 || memcmp(out.data + out.len - 2, "\r\n", 2) == 0);
    imap_set_fini(&found);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = {(const char *)data, size};
    struct imap_cursor cursor;
    enum err result;

    imap_cursor_init_text(&cursor, text);
    result = imap_search_parse(&cursor, &search);
    check(result == ERR_OK || result == ERR_COMMAND_SYNTAX || result == ERR_NOT_FOUND || result == ERR_REFUSED ||
          result == ERR_LIMIT);
    if (result != ERR_OK) {
        check(search.leaves == NULL);
        return 0;
    }
    check(is_within(search.keys, text) && is_within(search.program, text));
    check_nodes(text);
    check_combining();
    check_answer();
    if (imap_search_is_server(&search)) {
        imap_cursor_init_text(&cursor, search.keys);
        check(imap_search_parse(&cursor, &again) == ERR_OK && again.servers_len == search.servers_len);
    }
    imap_search_fini(&search);
    return 0;
}
