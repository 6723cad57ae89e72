/*
 * Whole files, read and written. For what the keyring keeps outside of gpg's homes.
 */
#ifndef KEYRING_FILE_H
#define KEYRING_FILE_H

#include "base/buf.h"

/* Adds what is in the file `path`. ERR_IO (logged), ERR_LIMIT if the buffer may not hold it. */
ERR_RETURN enum err keyring_file_read(const char *path, struct buf *out);
/* Writes `path`, a file of the folder `dir`, in place of an earlier one: whoever reads it sees the one or the other,
   whole. Mode 0600. `is_durable`: also after a power cut. ERR_IO, ERR_DISK_FULL (logged), ERR_LIMIT. */
ERR_RETURN enum err keyring_file_write(const char *dir, const char *path, struct span bytes, bool is_durable);

#endif
