/*
 * Colour for people: only on a terminal, only where it means something. https://no-color.org
 */
#ifndef CLI_COLOUR_H
#define CLI_COLOUR_H

#include <stdbool.h>

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_CARE, COLOUR_BAD };

/* Whether what goes to this descriptor may be coloured: a terminal that is not `TERM=dumb`, and NO_COLOR is not set, or
   empty. */
bool colour_is_wanted(int fd);
/* What a word of trust, of a key's state, or of `check` deserves; COLOUR_NONE for all others. */
enum colour colour_of(const char *word);
/* What begins the colour, and what ends it; both are empty for COLOUR_NONE. */
const char *colour_begin(enum colour colour);
const char *colour_end(enum colour colour);

#endif
