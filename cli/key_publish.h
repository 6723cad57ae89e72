/*
 * Files for a web server: each is there whole or not at all, and everybody may read it.
 */
#ifndef CLI_KEY_PUBLISH_H
#define CLI_KEY_PUBLISH_H

#include "base/buf.h"

/* Writes DIR/PATH (0644) unless it holds these bytes already, or, without `is_replacing`, is there; the folders that
   are missing are made (0755). `*is_new_out`: it was written. `path` is relative, and has no "..". What is wrong is
   logged: ERR_IO, ERR_DISK_FULL, ERR_LIMIT. */
ERR_RETURN enum err publish_file(const char *dir, const char *path, struct span bytes, bool is_replacing,
                                 bool *is_new_out);

#endif
