/*
 * What the files that make up keyring/gpg.h share. Nobody else includes this.
 */
#ifndef KEYRING_GPG_INTERNAL_H
#define KEYRING_GPG_INTERNAL_H

#include "keyring/gpg.h"

#include <sys/socket.h>
#include <sys/un.h>

#define GPG_SIGNERS_MAX 16
#define GPG_BITS_MAX 256
#define GPG_PATH_SIZE 4096

struct keyring_gpg {
    gpgme_ctx_t context; /* lent out by keyring_gpg_context */
    gpgme_ctx_t lister;  /* looks keys up without disturbing what the other one is set to */
    gpgme_ctx_t runner;  /* runs the wrapper for what GPGME has no call for */
    char *home, *wrapper;
    struct sockaddr_un agent; /* where it was last found; no path: not looked for yet */
    uint64_t stamp;           /* of the ring that the two caches speak of */
    gpgme_key_t signers[GPG_SIGNERS_MAX];
    size_t signers_len, signers_next;
    struct gpg_bits {
        char fingerprint[KEYRING_FPR_SIZE];
        unsigned bits;
    } bits[GPG_BITS_MAX];
    size_t bits_len, bits_next;
    const struct secret *passphrase; /* while a key is being made */
};

/* Runs the wrapper with `arguments` (without its name and the home; ends with NULL), `input` on its standard input, and
   adds its standard output to `output`. Its success must be read from there: its exit code is not known. */
ERR_RETURN enum err gpg_run(struct keyring_gpg *gpg, const char *const *arguments, struct span input,
                            struct buf *output);
/* The same with another home and no input; its output is written to `output` as it comes. */
ERR_RETURN enum err gpg_run_into(struct keyring_gpg *gpg, const char *home, const char *const *arguments,
                                 gpgme_data_t output);
/* The same for work with secret keys whose passphrase is known: nobody is asked. NULL: gpg-agent asks where it must;
   empty: they have none. ERR_USAGE: it holds a line end. `input`, for what gpg asks by --command-fd 0, is short. */
ERR_RETURN enum err gpg_run_with(struct keyring_gpg *gpg, const struct secret *passphrase, const char *const *arguments,
                                 const char *input, struct buf *output);
/* Gets each key that is listed, which is the caller's no longer when it returns. */
typedef void (*gpg_key_fn)(gpgme_key_t key, void *context);
/* Lists the keys in `data`, a stranger's, on the loop of gpg_run: GPGME's own turns for ever where gpg ends before it
   has read them all. */
gpgme_error_t gpg_list_data(gpgme_ctx_t lister, gpgme_data_t data, gpg_key_fn fn, void *context);
/* Makes `*data`, a stranger's keys, what gpg need read of it: signatures by others than the keys themselves, and too
   many of their own, cost gpg time without end. What is short stays as it is. `*data` may then lie in `trimmed`, which
   the caller finishes, also after an error. ERR_MALFORMED: it is no row of public keys. */
ERR_RETURN enum err gpg_trim(struct span *data, struct buf *trimmed);
/* What the status lines of gpg, which has not done what it should, say of the reason; never ERR_OK. It is logged. */
enum err gpg_run_failure(struct span output, const char *action);
/* True if `fingerprint` is 16 to 64 hexadecimal digits and so cannot be taken for an option or a pattern. */
bool gpg_is_fingerprint(const char *fingerprint);
/* A public (or secret) key by its fingerprint; ERR_NOT_FOUND. The caller unrefs it. */
ERR_RETURN enum err gpg_find(struct keyring_gpg *gpg, const char *fingerprint, bool is_secret, gpgme_key_t *key_out);
/* The address that a user ID carries beyond doubt (normal form); false: none. */
bool gpg_address(gpgme_user_id_t user_id, char address_out[MIME_ADDR_SIZE]);
/* The next line that begins with "[GNUPG:] " and `keyword`; `*arguments_out` is what follows the keyword. */
bool gpg_next_status(struct span *rest, const char *keyword, struct span *arguments_out);
/* Empties the caches if the ring has changed since they were filled. */
ERR_RETURN enum err gpg_refresh(struct keyring_gpg *gpg);
void gpg_forget(struct keyring_gpg *gpg);
/* A connection to the agent of the home, its greeting read. ERR_KEY_LOCKED if none answers. */
ERR_RETURN enum err gpg_agent_connect(struct keyring_gpg *gpg, int *fd_out);
/* The same without an open home; `user` as for keyring_gpg_agent_start. */
ERR_RETURN enum err gpg_agent_connect_at(const char *home, const char *user, int *fd_out);
/* A gpgme_data_t over borrowed bytes. */
ERR_RETURN enum err gpg_data_of(struct span bytes, gpgme_data_t *data_out);
/* Adds all that was written to `data` to `out`. */
ERR_RETURN enum err gpg_data_read(gpgme_data_t data, struct buf *out);

#endif
