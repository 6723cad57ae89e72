/*
 * Message bodies between processes: anonymous memory files, written by one side, sealed, and mapped by the other.
 *
 * The writer fills the file, then memfd_seal forbids write, grow, shrink and further sealing. The reader trusts
 * nothing: memfd_map checks the seals and the size first, so what it parsed cannot change under it. No file on disk is
 * involved.
 */
#ifndef BASE_MEMFD_H
#define BASE_MEMFD_H

#include "base/err.h"
#include "base/span.h"

/* A new, empty, close-on-exec file of this name (for /proc only); the caller closes `*fd_out`. */
ERR_RETURN enum err memfd_new(const char *name, int *fd_out);
/* Appends all of `bytes`; ERR_LIMIT if the file would pass `size_max`, ERR_DISK_FULL if memory is short. */
ERR_RETURN enum err memfd_add(int fd, struct span bytes, size_t size_max);
/* Seals the file against every change. All writable mappings must be gone. */
ERR_RETURN enum err memfd_seal(int fd);
/* Checks that `fd` is fully sealed and at most `size_max` long; ERR_PEER_PROTOCOL otherwise. */
ERR_RETURN enum err memfd_check(int fd, size_t size_max, size_t *size_out);
/* memfd_check, then maps it read-only; an empty file gives an empty span. Ends with memfd_unmap. */
ERR_RETURN enum err memfd_map(int fd, size_t size_max, struct span *content_out);
void memfd_unmap(struct span *content);
/* A sealed file that holds `content`. */
ERR_RETURN enum err memfd_of(const char *name, struct span content, size_t size_max, int *fd_out);

#endif
