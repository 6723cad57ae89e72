/*
 * Inside proxy/config: one reading of the file, shared by the sections' modules and by nobody else.
 *
 * libconfuse keeps every value as text here; the tables below say what each text means, so that every error can name
 * the line and what was expected. The line of an option is noted while libconfuse parses, because afterwards it knows
 * only where a section ended.
 */
#ifndef PROXY_CONFIG_READER_H
#define PROXY_CONFIG_READER_H

#include "proxy/config.h"

#include <confuse.h>

#define CONFIG_MARKS_MAX 20000

struct config_reader {
    struct config *config;
    cfg_t *root;
    struct config_mark {
        const cfg_t *section;
        const char *option; /* borrowed from libconfuse */
        int line;
    } * marks;
    size_t marks_len, marks_capacity;
    bool has_failed;
};

/* Reads the text of a configuration file into reader->root. */
ERR_RETURN enum err config_reader_parse(struct config_reader *reader, struct span text);
void config_reader_fini(struct config_reader *reader);

/* Where `option` of `section` was given; without an option, or if it was not given, where the section ended. */
int config_reader_line(const struct config_reader *reader, const cfg_t *section, const char *option);
bool config_reader_has(const struct config_reader *reader, const cfg_t *section, const char *option);
/* Says "FILE:LINE: <format>" on standard error, once per reading, and returns ERR_CONFIG. */
ERR_RETURN enum err config_fail(struct config_reader *reader, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A word of the language and what it stands for; a table ends with a NULL name. */
struct config_word {
    const char *name;
    int value;
};
/* The option's text, or NULL if it was not given. */
const char *config_text(const struct config_reader *reader, cfg_t *section, const char *option);
/* Sets `*value_out` if the option was given; it must be one of `words`. */
ERR_RETURN enum err config_word(struct config_reader *reader, cfg_t *section, const char *option,
                                const struct config_word *words, int *value_out);
/* Sets `*number_out` if the option was given; decimal, within the limits. With `has_unit`, K, M or G may follow. */
ERR_RETURN enum err config_number(struct config_reader *reader, cfg_t *section, const char *option, uint64_t least,
                                  uint64_t most, bool has_unit, uint64_t *number_out);
/* Copies the option's text if it was given; it must be printable and fit. */
ERR_RETURN enum err config_string(struct config_reader *reader, cfg_t *section, const char *option, char *target,
                                  size_t target_size);
/* The same for a path, made absolute: "~/" is the home directory, other relative paths begin beside the file. */
ERR_RETURN enum err config_path(struct config_reader *reader, cfg_t *section, const char *option,
                                char target[CONFIG_PATH_SIZE]);
/* Makes `array` one element larger, the new one zeroed; `*array` must be a pointer to the elements. */
ERR_RETURN enum err config_grow(void *array, size_t *len, size_t element_size);

/* Literal loopback addresses, and for upstream servers the name "localhost". */
bool config_is_loopback(const char *host);
/* "host:port" or "[host]:port"; without a port `*port` stays. False if it is neither. */
bool config_split_host(struct span text, char *host_out, size_t host_size, int *port);

ERR_RETURN enum err config_read_accounts(struct config_reader *reader);
ERR_RETURN enum err config_read_listeners(struct config_reader *reader); /* after the accounts */
ERR_RETURN enum err config_read_rules(struct config_reader *reader);
/* What each source's section has (config_source.c); the caller has set what is not in it. `section` NULL: there is
   none, and all is as it is by default. */
ERR_RETURN enum err config_read_source(struct config_reader *reader, cfg_t *section, struct config_source *source);
void config_free_source(struct config_source *source);
/* A file that is read later can be read: else the line is named, and `expected` ("a PEM file"). */
ERR_RETURN enum err config_check_file(struct config_reader *reader, cfg_t *section, const char *option,
                                      const char *expected, const char *path);
ERR_RETURN enum err config_read_directories(struct config_reader *reader);
ERR_RETURN enum err config_read_dane(struct config_reader *reader);
void config_free_directories(struct config *config);
ERR_RETURN enum err config_read_webs(struct config_reader *reader);
void config_free_webs(struct config *config);
/* Their order; after all of their sections. */
ERR_RETURN enum err config_read_sources(struct config_reader *reader);
ERR_RETURN enum err config_read_refresh(struct config_reader *reader); /* after the sources */

#endif
