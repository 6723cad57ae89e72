/*
 * What a command is doing, for people who wait: a line on standard error if that is a terminal, from the first second
 * on, and taken away when it is done. A thread of its own writes it, so that it is there whatever the command waits
 * for.
 *
 * Not around what may ask a person: a question, or pinentry, would stand in the same place. One at a time.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stddef.h>

#define PROGRESS_DELAY_MS 1000

/* "asking the sources of keys"; copied. Without memory, or a thread, there is no line. */
void progress_begin(const char *what);
/* So many of so many are done; a total of 0 is not shown. */
void progress_step(size_t done, size_t total);
/* Takes the line away; nothing if none was begun. */
void progress_end(void);

#endif
