#include "cli/table.h"

#include "mime/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <unistr.h>
#include <uniwidth.h>

#define COLUMN_MIN 12 /* none is made narrower */
#define LAST_MIN 20   /* nor the last one, of which no word is cut */
#define GAP 2

struct cell {
    char *text;
    enum colour colour;
};

struct table {
    size_t columns;
    size_t rows_len, rows_capacity;
    struct cell *cells; /* rows_len * columns */
    size_t widths[TABLE_COLUMNS_MAX];
};

/* Columns of a terminal that the first character of `text` takes; its bytes go to `*len_out`. */
static size_t character_width(const char *text, size_t *len_out)
{
    ucs4_t character;
    const int len = u8_mbtouc(&character, (const uint8_t *)text, strlen(text));
    const int width = uc_width(character, "UTF-8");
    *len_out = len > 0 ? (size_t)len : 1;
    return width > 0 ? (size_t)width : 0;
}

static size_t width_of(const char *text, size_t bytes)
{
    size_t width = 0, len;
    for (size_t at = 0; at < bytes; at += len)
        width += character_width(text + at, &len);
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
        free((*table)->cells[i].text);
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
        struct cell *grown = realloc(table->cells, size);
        if (!grown)
            return ERR_MEMORY;
        table->cells = grown;
        table->rows_capacity = capacity;
    }
    struct cell *row = table->cells + table->rows_len * table->columns;
    for (size_t i = 0; i < table->columns; i++) {
        row[i] = (struct cell){strdup(cells[i] ? cells[i] : ""), COLOUR_NONE};
        if (!row[i].text) {
            while (i-- > 0)
                free(row[i].text);
            return ERR_MEMORY;
        }
        mime_utf8_copy_shown(span_of(row[i].text), row[i].text, strlen(row[i].text) + 1);
        const size_t width = width_of(row[i].text, strlen(row[i].text));
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    table->rows_len++;
    return ERR_OK;
}

void table_colour(struct table *table, size_t column, enum colour colour)
{
    if (table->rows_len > 0 && column < table->columns)
        table->cells[(table->rows_len - 1) * table->columns + column].colour = colour;
}

/* SIZE_MAX where lines have no end: a file, a pipe. */
static size_t terminal_width(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col ? size.ws_col : SIZE_MAX;
}

/* Of a column where none is to be wider than `column_max`. */
static size_t column_width(const struct table *table, size_t column, size_t column_max)
{
    const size_t max = column + 1 == table->columns && column_max < LAST_MIN ? LAST_MIN : column_max;
    return table->widths[column] < max ? table->widths[column] : max;
}

static size_t line_width(const struct table *table, size_t column_max)
{
    size_t width = GAP * (table->columns - 1);
    for (size_t i = 0; i < table->columns; i++)
        width += column_width(table, i, column_max);
    return width;
}

bool table_is_too_wide(const struct table *table)
{
    return line_width(table, SIZE_MAX) > terminal_width();
}

/* The widest columns become narrower until the line fits. */
static void fit(const struct table *table, size_t widths_out[TABLE_COLUMNS_MAX])
{
    const size_t width = terminal_width();
    size_t column_max = 0;
    for (size_t i = 0; i < table->columns; i++)
        column_max = table->widths[i] > column_max ? table->widths[i] : column_max;
    while (column_max > COLUMN_MIN && line_width(table, column_max) > width)
        column_max--;
    for (size_t i = 0; i < table->columns; i++)
        widths_out[i] = column_width(table, i, column_max);
}

/* Bytes of `text` that go into a line of `room` columns: up to a blank if there is one. A word that is too long is cut,
   or stays whole where nothing stands beside it. */
static size_t line_length(const char *text, size_t room, bool may_cut)
{
    size_t width = 0, blank = 0, len;
    for (size_t at = 0; text[at]; at += len) {
        width += character_width(text + at, &len);
        if (width > room && (blank > 0 || (may_cut && at > 0)))
            return blank > 0 ? blank : at;
        if (text[at] == ' ' && at > 0)
            blank = at;
        if (width > room && blank > 0)
            return blank;
    }
    return strlen(text);
}

/* Prints the next line of each cell of a row and moves on in them; whether there is more. */
static bool print_line(const struct table *table, const struct cell *row, const size_t *widths, bool is_coloured,
                       const char *rest[TABLE_COLUMNS_MAX])
{
    size_t blanks = 0;
    bool is_more = false;
    for (size_t i = 0; i < table->columns; i++) {
        const size_t len = line_length(rest[i], widths[i], i + 1 < table->columns);
        const size_t width = width_of(rest[i], len);
        const enum colour colour = is_coloured ? row[i].colour : COLOUR_NONE;
        if (len > 0)
            printf("%*s%s%.*s%s", (int)blanks, "", colour_begin(colour), (int)len, rest[i], colour_end(colour));
        blanks = (len > 0 ? 0 : blanks) + (width < widths[i] ? widths[i] - width : 0) + GAP;
        rest[i] += len;
        rest[i] += *rest[i] == ' ';
        is_more = is_more || *rest[i];
    }
    puts("");
    return is_more;
}

void table_print(const struct table *table)
{
    const bool is_coloured = colour_is_wanted(STDOUT_FILENO);
    size_t widths[TABLE_COLUMNS_MAX];
    fit(table, widths);
    for (size_t i = 0; i < table->rows_len; i++) {
        const struct cell *row = table->cells + i * table->columns;
        const char *rest[TABLE_COLUMNS_MAX];
        for (size_t column = 0; column < table->columns; column++)
            rest[column] = row[column].text;
        while (print_line(table, row, widths, is_coloured, rest)) {
        }
    }
}
