/*
 * Tables for people: columns as wide as their widest cell, or as the terminal lets them be; bytes that could steer a
 * terminal made harmless. What colours mean something there is in cli/colour.h.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/err.h"
#include "cli/colour.h"

#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 8

struct table;

/* `heads`, one for each column, are printed above them; NULL heads: no such line. */
ERR_RETURN enum err table_new(const char *const *heads, size_t columns, struct table **table_out);
void table_free(struct table **table);
/* Copies one row; NULL cells are empty. */
ERR_RETURN enum err table_add(struct table *table, const char *const *cells);
/* Colours a cell of the row that was added last. */
void table_colour(struct table *table, size_t column, enum colour colour);
/* Whether standard output is a terminal on which a line of the table would be broken. */
bool table_is_too_wide(const struct table *table);
/* Prints to standard output. On a terminal the widest columns are made narrower until a line fits, and what does not
   fit into them goes on below, broken at blanks if there are any. */
void table_print(const struct table *table);

#endif
