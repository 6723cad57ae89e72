#include "cli/table.h"

#include "mime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

/* SIZE_MAX where lines have no end: a file, a pipe. */
static size_t terminal_width(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : SIZE_MAX;
}

/* Where the last column begins. */
static size_t last_column(const struct table *table)
{
    size_t at = 0;
    for (size_t i = 0; i + 1 < table->columns; i++)
        at += table->widths[i] + 2;
    return at;
}

bool table_is_too_wide(const struct table *table)
{
    return last_column(table) + table->widths[table->columns - 1] > terminal_width();
}

/* Bytes of `text` that go into a line of `room` characters: up to a blank if there is one, and one word at least. */
static size_t line_length(const char *text, size_t room)
{
    if (width_of(text) <= room)
        return strlen(text);
    size_t width = 0, at = 0, blank = 0;
    for (; text[at] && (width <= room || blank == 0); at++) {
        if (text[at] == ' ')
            blank = at;
        width += ((unsigned char)text[at + 1] & 0xc0) != 0x80;
    }
    return blank ? blank : at;
}

static void print_last(const char *text, size_t indent)
{
    const size_t width = terminal_width(), room = width > indent + 20 ? width - indent : SIZE_MAX;
    for (;;) {
        const size_t len = line_length(text, room);
        printf("%.*s\n", (int)len, text);
        text += len;
        if (!*text)
            return;
        text++;
        printf("%*s", (int)indent, "");
    }
}

void table_print(const struct table *table)
{
    for (size_t row = 0; row < table->rows_len; row++)
        for (size_t i = 0; i < table->columns; i++) {
            const char *cell = table->cells[row * table->columns + i];
            if (i + 1 == table->columns)
                print_last(cell, last_column(table));
            else
                printf("%s%*s", cell, (int)(table->widths[i] - width_of(cell) + 2), "");
        }
}
