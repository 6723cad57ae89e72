/*
 * Log lines: one per event, to stderr (with the systemd priority prefix when the journal listens) and nowhere else.
 *
 * No message content, no password, no key material is ever passed in here. What came from outside is made harmless:
 * control bytes are printed as \xNN and a line is cut at 1,000 bytes. Used in every process; the process name stands in
 * each line.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the process in every line ("master", "net", ...); `name` must be static. Lines above `most` are dropped. */
void log_init(const char *name, enum log_level most);
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Logs "<what>: <sentence of err>" as a warning and returns `err`, so that a failing branch is one line. */
enum err log_failure(enum err err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
