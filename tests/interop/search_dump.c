/*
 * Answers searches over messages: reads records from standard input, each a line "message N" or "search N" and N bytes,
 * and prints one line for each search: the numbers of the messages (from 1) that it finds, or the name of the error.
 * Messages come before the searches.
 */
#include "imap/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)1 << 26)
#define MESSAGES_MAX 10000

static struct buf texts[MESSAGES_MAX];
static size_t texts_len;

static enum err read_message(struct span message)
{
    struct mime_tree *tree = NULL;
    enum err result = texts_len < MESSAGES_MAX ? mime_parse(message, MIME_LIMITS_DEFAULT, &tree) : ERR_LIMIT;

    if (result == ERR_OK) {
        buf_init(&texts[texts_len], TEXT_MAX);
        result = mime_text_save(tree->root, message, &texts[texts_len++]);
    }
    mime_tree_free(&tree);
    return result;
}

/* Server keys are true for no message. */
static enum err search(struct imap_search *search, uint8_t *found)
{
    size_t bytes = (texts_len + 7) / 8;
    uint8_t *rows = calloc(search->leaves_len + 1, bytes);
    const uint8_t **servers = calloc(search->servers_len + 1, sizeof *servers);
    const uint8_t **leaves = calloc(search->leaves_len + 1, sizeof *leaves);
    bool *is_found = calloc(search->leaves_len + 1, sizeof *is_found);
    enum err result = rows != NULL && servers != NULL && leaves != NULL && is_found != NULL ? ERR_OK : ERR_MEMORY;

    for (size_t i = 0; i < search->servers_len && result == ERR_OK; i++)
        servers[i] = rows + search->leaves_len * bytes;
    for (size_t i = 0; i < search->leaves_len && result == ERR_OK; i++)
        leaves[i] = rows + i * bytes;
    for (size_t i = 0; i < texts_len && result == ERR_OK; i++) {
        result = mime_text_match(buf_span(&texts[i]), search->leaves, search->leaves_len, is_found);
        for (size_t leaf = 0; leaf < search->leaves_len && result == ERR_OK; leaf++)
            rows[leaf * bytes + i / 8] |= (uint8_t)(is_found[leaf] << (i % 8));
    }
    if (result == ERR_OK)
        imap_search_combine(search, servers, leaves, texts_len, found);
    free(rows);
    free(servers);
    free(leaves);
    free(is_found);
    return result;
}

static enum err read_search(struct span keys)
{
    static struct imap_search program;
    static uint8_t found[MESSAGES_MAX / 8];
    struct imap_cursor cursor;
    enum err result;

    imap_cursor_init_text(&cursor, keys);
    result = imap_search_parse(&cursor, &program);
    if (result == ERR_OK) {
        result = search(&program, found);
        imap_search_fini(&program);
    }
    for (size_t i = 0; i < texts_len && result == ERR_OK; i++)
        if ((found[i / 8] >> (i % 8) & 1) != 0)
            printf("%zu ", i + 1);
    printf("%s\n", result == ERR_OK ? "" : err_name(result));
    return ERR_OK;
}

int main(void)
{
    enum err result = ERR_OK;
    char kind[16];
    size_t len;

    while (result == ERR_OK && scanf("%15s %zu", kind, &len) == 2 && getchar() == '\n' && len <= TEXT_MAX) {
        char *bytes = malloc(len + 1);

        if (bytes == NULL || fread(bytes, 1, len, stdin) != len)
            result = ERR_IO;
        else
            result = (strcmp(kind, "message") == 0 ? read_message : read_search)((struct span){bytes, len});
        free(bytes);
    }
    while (texts_len > 0)
        buf_fini(&texts[--texts_len]);
    if (result != ERR_OK)
        fprintf(stderr, "search_dump: %s\n", err_name(result));
    return result == ERR_OK ? 0 : 3;
}
