/*
 * The steps of sandbox_enter that fill a file of their own. For base/sandbox*.c only; everybody else uses
 * base/sandbox.h.
 */
#ifndef BASE_SANDBOX_PARTS_H
#define BASE_SANDBOX_PARTS_H

#include "base/sandbox.h"

#include <stdbool.h>

/* 1 under AddressSanitizer, which needs address space and some calls beyond the program's own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_IS_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_IS_SANITIZED
#define SANDBOX_IS_SANITIZED 0
#endif

/* Covers options->hidden_dirs by empty, read-only file systems in a mount namespace of the process's own. One that does
   not exist is passed over: a keeper is started anew when the configuration changes. Needs no privilege. */
ERR_RETURN enum err sandbox_hide_dirs(const struct sandbox_options *options);
/* Confines files, and where the kernel can also TCP, abstract sockets and signals, with Landlock. */
ERR_RETURN enum err sandbox_confine_files(const struct sandbox_options *options);
/* Loads the filter of system calls of this role; nothing that needs another call may come after it. */
ERR_RETURN enum err sandbox_confine_calls(enum sandbox_role role);

#endif
