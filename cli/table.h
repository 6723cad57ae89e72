/*
 * Tables for people: columns as wide as their widest cell, bytes that could steer a terminal made harmless.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include "base/err.h"

#include <stddef.h>

#define TABLE_COLUMNS_MAX 8

struct table;

/* `heads` (NULL-terminated) are printed above the columns; NULL heads: no such line. */
ERR_RETURN enum err table_new(const char *const *heads, size_t columns, struct table **table_out);
void table_free(struct table **table);
/* Copies one row; NULL cells are empty. */
ERR_RETURN enum err table_add(struct table *table, const char *const *cells);
/* Prints to standard output. */
void table_print(const struct table *table);

#endif
