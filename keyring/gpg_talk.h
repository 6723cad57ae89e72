/*
 * Words with gpg-agent in its own protocol (Assuan): one command and its answer after the other. For the files of
 * keyring alone.
 *
 * Answers may hold secrets: what was read is wiped when the talk ends.
 */
#ifndef KEYRING_GPG_TALK_H
#define KEYRING_GPG_TALK_H

#include "keyring/gpg_internal.h"

#define GPG_TALK_LINE_MAX 1002 /* an Assuan line and its end */

struct gpg_talk {
    int fd;
    char line[GPG_TALK_LINE_MAX];
    size_t len; /* bytes at hand, of which the first `taken` have been given out */
    size_t taken;
};

/* Takes a line of an answer that is not its end; it is gone afterwards. An error ends the talk. */
typedef enum err (*gpg_talk_fn)(struct span line, void *context);

/* Takes `fd`, of gpg_agent_connect, over and reads the rest of the greeting. gpg_talk_end follows, also after an error.
 */
ERR_RETURN enum err gpg_talk_begin(struct gpg_talk *talk, int fd);
void gpg_talk_end(struct gpg_talk *talk);
/* Sends a command and reads to the end of its answer, for as long as that takes; other lines go to `hear` (NULL:
   nobody wants them), and what the agent inquires is answered with nothing. `argument` may be NULL. `*error_out` is the
   agent's own. ERR_KEY_LOCKED: the agent went away. */
ERR_RETURN enum err gpg_talk(struct gpg_talk *talk, const char *command, const char *argument, gpg_talk_fn hear,
                             void *context, gpgme_error_t *error_out);
/* Tells the agent where a prompt is to appear. */
ERR_RETURN enum err gpg_talk_place(struct gpg_talk *talk);
/* Adds text as an argument: "+" for a blank, %XX for what is no plain character. What would make it longer than
   `escaped_max` is left out, whole characters of UTF-8. */
ERR_RETURN enum err gpg_talk_escape(const char *text, size_t escaped_max, struct buf *out);

#endif
