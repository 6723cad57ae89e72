#include "cli/colour.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool colour_is_wanted(int fd)
{
    const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) && !(refused && *refused) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

enum colour colour_of(const char *word)
{
    static const struct {
        const char *word;
        enum colour colour;
    } words[] = {
        {"own", COLOUR_GOOD},    {"pinned", COLOUR_GOOD},     {"full", COLOUR_GOOD},    {"ultimate", COLOUR_GOOD},
        {"ok", COLOUR_GOOD},     {"unverified", COLOUR_CARE}, {"warning", COLOUR_CARE}, {"disabled", COLOUR_CARE},
        {"failed", COLOUR_CARE}, {"never", COLOUR_BAD},       {"revoked", COLOUR_BAD},  {"expired", COLOUR_BAD},
        {"BAD", COLOUR_BAD},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].colour;
    return COLOUR_NONE;
}

const char *colour_begin(enum colour colour)
{
    static const char *const codes[] = {
        [COLOUR_NONE] = "", [COLOUR_GOOD] = "\x1b[32m", [COLOUR_CARE] = "\x1b[33m", [COLOUR_BAD] = "\x1b[1;31m"};
    return codes[colour];
}

const char *colour_end(enum colour colour)
{
    return colour == COLOUR_NONE ? "" : "\x1b[0m";
}
