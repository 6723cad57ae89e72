#include "cli/table.h"

#include "mime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    size_t columns;
    size_t rows_len, rows_capacity;
    char **cells; /* rows_len * columns */
    size_t widths[TABLE_COLUMNS_MAX];
};

/* What steers a terminal (C0, DEL, the C1 characters of UTF-8, bytes that are no UTF-8) becomes "?". */
static void make_harmless(char *text)
{
    const struct span span = span_of(text);
    for (size_t at = 0; at < span.len;) {
        const size_t len = mime_utf8_length(span, at);
        const unsigned char first = (unsigned char)text[at];
        const bool is_c1 = len == 2 && first == 0xc2 && (unsigned char)text[at + 1] < 0xa0;
        if (len == 0 || first < 0x20 || first == 0x7f)
            text[at] = '?';
        else if (is_c1)
            text[at] = text[at + 1] = '?';
        at += len ? len : 1;
    }
}

static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

enum err table_new(const char *const *heads, size_t columns, struct table **table_out)
{
    *table_out = NULL;
    if (columns == 0 || columns > TABLE_COLUMNS_MAX)
        return ERR_INTERNAL;
    struct table *table = calloc(1, sizeof *table);
    if (!table)
        return ERR_MEMORY;
    table->columns = columns;
    *table_out = table;
    return heads ? table_add(table, heads) : ERR_OK;
}

void table_free(struct table **table)
{
    if (!*table)
        return;
    for (size_t i = 0; i < (*table)->rows_len * (*table)->columns; i++)
        free((*table)->cells[i]);
    free((*table)->cells);
    free(*table);
    *table = NULL;
}

enum err table_add(struct table *table, const char *const *cells)
{
    if (table->rows_len == table->rows_capacity) {
        size_t capacity = table->rows_capacity ? table->rows_capacity * 2 : 32, size;
        if (__builtin_mul_overflow(capacity, table->columns * sizeof *table->cells, &size))
            return ERR_LIMIT;
        char **grown = realloc(table->cells, size);
        if (!grown)
            return ERR_MEMORY;
        table->cells = grown;
        table->rows_capacity = capacity;
    }
    char **row = table->cells + table->rows_len * table->columns;
    for (size_t i = 0; i < table->columns; i++) {
        row[i] = strdup(cells[i] ? cells[i] : "");
        if (!row[i]) {
            while (i-- > 0)
                free(row[i]);
            return ERR_MEMORY;
        }
        make_harmless(row[i]);
        const size_t width = width_of(row[i]);
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    table->rows_len++;
    return ERR_OK;
}

void table_print(const struct table *table)
{
    for (size_t row = 0; row < table->rows_len; row++)
        for (size_t i = 0; i < table->columns; i++) {
            const char *cell = table->cells[row * table->columns + i];
            if (i + 1 == table->columns)
                printf("%s\n", cell);
            else
                printf("%s%*s", cell, (int)(table->widths[i] - width_of(cell) + 2), "");
        }
}
