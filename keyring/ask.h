/*
 * Asking a person for a secret: through the gpg-agent of a GnuPG home, which knows where its pinentry is and remembers
 * what it was told for as long as it is set to.
 *
 * Used in keepers and by the command line; synchronous: it waits for as long as the person does.
 */
#ifndef KEYRING_ASK_H
#define KEYRING_ASK_H

#include "base/secret.h"
#include "keyring/gpg.h"

#define KEYRING_ASK_SECRET_MAX 255   /* what gpg-agent takes */
#define KEYRING_ASK_CACHE_ID_SIZE 51 /* with its NUL */

/* Texts are UTF-8 of any length, of which a pinentry shows the first: 600 bytes of the description, 150 of the error
   and 60 of the prompt, less where they are not ASCII. */
struct keyring_question {
    const char *description; /* what is asked for and why, in lines */
    const char *prompt;      /* the word before the field; NULL: the agent's own */
    const char *error;       /* why it is asked for again; NULL: the first time */
    /* Under which the agent remembers the answer and gives it again without asking, a wrong one too, until it is
       forgotten; printable, no blanks, shorter than KEYRING_ASK_CACHE_ID_SIZE. NULL: it is not remembered. */
    const char *cache_id;
    bool is_only_remembered; /* nobody is asked: it is what the agent remembers, or ERR_KEY_LOCKED */
};

/* `answer` is replaced; what the person typed may be empty. ERR_KEY_LOCKED: cancelled, not remembered, or there is no
   agent or pinentry to ask. */
ERR_RETURN enum err keyring_ask(struct keyring_gpg *gpg, const struct keyring_question *question,
                                struct secret *answer);
/* Has the agent forget what it remembers under `cache_id`: it was wrong, or is not valid any more. */
ERR_RETURN enum err keyring_ask_forget(struct keyring_gpg *gpg, const char *cache_id);

#endif
