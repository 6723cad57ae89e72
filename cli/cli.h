/*
 * What the commands share: their description, from which options are read and help is printed, and what most of them
 * open before they work (configuration, account, key ring).
 *
 * A process runs one command. Tables go to standard output for people, JSON with --json; errors go to standard error
 * with what to do. The exit status is 0 done, 1 refused or not good, 2 usage or configuration, 3 could not.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "crypto/smime_account.h"
#include "keyring/gpg.h"
#include "keyring/revocation.h"
#include "keyring/token.h"
#include "proxy/config.h"

#include <jansson.h>

enum cli_exit { CLI_DONE = 0, CLI_REFUSED = 1, CLI_USAGE = 2, CLI_FAILED = 3 };

#define CLI_LIST_MAX 1000

/* The values of an option that may be given several times. */
struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t len;
};

/* One option: exactly one of flag, value and list is set. The table ends with a NULL name. */
struct cli_option {
    const char *name;
    const char *argument; /* what stands for the value in help: FILE and DIR for paths, "one|two" for these words alone
                             (shells complete by it); NULL for a flag */
    const char *help;
    bool *flag;
    const char **value;
    struct cli_list *list;
};

struct cli;

struct cli_command {
    const char *name;     /* one or two words: "key make" */
    const char *operands; /* "ADDRESS", "[FILE...]", as for options; NULL: none are taken */
    const char *summary;  /* one line */
    const char *text;     /* what it does, for --help */
    const char *example;
    const struct cli_option *options;                   /* its own, beside the common ones; may be NULL */
    int (*run)(struct cli *cli, int argc, char **argv); /* operands only; returns the exit status */
};

extern const struct cli_command cli_serve, cli_check, cli_why, cli_seal, cli_open, cli_certificate, cli_completion;
extern const struct cli_command cli_key_make, cli_key_import, cli_key_list, cli_key_show, cli_key_export,
    cli_key_delete, cli_key_find, cli_key_backup, cli_key_renew, cli_key_rotate, cli_key_revoke, cli_key_pin,
    cli_key_publish, cli_key_refresh, cli_key_certify, cli_key_trust;
extern const struct cli_command cli_store_show, cli_store_clear, cli_store_reopen, cli_store_passphrase;

/* What a command has opened; closed by main. */
struct cli {
    const struct cli_command *command;
    const char *config_file; /* --config, or NULL */
    const char *account_name;
    bool is_json;
    struct config *config;
    const struct config_account *account; /* borrowed from config */
    struct keyring_gpg *gpg;
    struct keyring *keyring;
    struct buf words;                          /* what is known of correspondents' keys; empty: none was read */
    struct keyring_certificates *certificates; /* of the account, and its trust anchors: see cli_open_smime */
    struct keyring_anchors *anchors;
    struct keyring_token *token; /* NULL: not needed so far */
    pid_t agent;                 /* 0 unless we started one */
    char copy[CONFIG_PATH_SIZE]; /* throw-away home to be removed; "" if there is none */
};

/* Reads options and leaves the operands: `*argc` and `*argv` are moved on. CLI_DONE to go on, with `*is_over_out` set
   if help or version was all that was asked for. */
int cli_options_read(struct cli *cli, int *argc, char ***argv, bool *is_over_out);
void cli_help(const struct cli_command *command);

/* The exit status that stands for `err`. */
int cli_exit_of(enum err err);
/* Says "privyseal COMMAND: <what>: <sentence>" on standard error and gives the exit status. */
int cli_fail(const struct cli *cli, enum err err, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a command line that is wrong; points to --help. */
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each opens what is needed and has said what was wrong if it fails. */
ERR_RETURN enum err cli_open_config(struct cli *cli);
/* The account of --account, else the one that owns `address` (may be NULL), else the only one. */
ERR_RETURN enum err cli_open_account(struct cli *cli, const char *address);
/* Agent and gpg alone, for who asks them and looks at no key: the store need not be free for it. */
ERR_RETURN enum err cli_open_gpg(struct cli *cli, bool is_as_of);
/* The account's key ring: agent, gpg, certificates and the index, with what is known of correspondents. Not while this
   command has the store open: there it is read. With `is_as_of`, gpg itself judges by the time of
   --at, on a throw-away copy of the home. */
ERR_RETURN enum err cli_open_ring(struct cli *cli, bool is_as_of);
/* Where the ring is incomplete, whether the address's own record is not what is damaged (policy_recipient). */
bool cli_can_read_record(const struct cli *cli, const char *address);
/* Lists the ring anew, after it was changed; what is known of correspondents stays as it was read. */
ERR_RETURN enum err cli_list_ring(struct cli *cli);
/* The same, after what is known of correspondents has changed too. */
ERR_RETURN enum err cli_list_ring_anew(struct cli *cli);
/* Closes what cli_open_ring opened, so that another account's can be opened. */
void cli_close_ring(struct cli *cli);
void cli_close(struct cli *cli);
/* What there is of S/MIME for the open account, as sealing and opening want it: current, borrowed until cli_close_ring.
 */
ERR_RETURN enum err cli_open_smime(struct cli *cli, struct crypto_smime *smime_out);
/* Asks the issuers of a path that verified (leaf first) how its certificates stand at `at`: one answer for each but the
   anchor. For accounts whose `revocation` is not off. */
ERR_RETURN enum err cli_ask_revocation(const struct cli *cli, STACK_OF(X509) * path, int64_t at,
                                       struct keyring_revocation revocations_out[KEYRING_CHAIN_MAX], size_t *len_out);

/* Adds the account's certificates to the index, and the issuers among them without an address. */
ERR_RETURN enum err cli_list_certificates(struct cli *cli);

/* The own key of this format that signs for the address, or NULL. */
const struct keyring_entry *cli_own_key(const struct cli *cli, enum keyring_format format, const char *address);

/* Makes a throw-away home beside `home` in which gpg believes it is `now`; `wrapper_out` starts that gpg. */
ERR_RETURN enum err cli_copy_home(const char *home, const char *wrapper, int64_t now, char copy_out[CONFIG_PATH_SIZE],
                                  char wrapper_out[CONFIG_PATH_SIZE]);
void cli_remove_home(const char *copy);

/* Logs what errno says of the file, of which err_of_errno, that is returned, keeps little. */
ERR_RETURN enum err cli_file_failure(const char *path);
/* Reads a whole file ("-" or NULL: standard input) into `out`. ERR_NOT_FOUND; why another could not be read is logged.
 */
ERR_RETURN enum err cli_read_file(const char *path, struct buf *out);
ERR_RETURN enum err cli_write(int fd, struct span bytes);
/* A message from standard input with CRLF line ends: one that has bare LF throughout is converted; one that mixes them
   is refused as the proxy would. */
ERR_RETURN enum err cli_read_message(const struct cli *cli, struct buf *out);
/* Asks on the terminal; true only after "yes". Without a terminal the answer is no. */
bool cli_confirm(const char *question);
bool cli_has_terminal(void);
/* Reads a passphrase, one line, from the descriptor that stands for the option; it was said what is wrong with it: an
   empty one and one longer than `len_max` are ERR_USAGE. */
ERR_RETURN enum err cli_read_passphrase(const struct cli *cli, const char *option, const char *fd_text, size_t len_max,
                                        struct secret *passphrase);
/* Prints JSON and frees it; CLI_FAILED if it could not be made or written. */
int cli_print_json(json_t *json);
/* "2026-11-20", or "never" for 0. */
#define CLI_DATE_SIZE 24
void cli_date(int64_t seconds, char text_out[CLI_DATE_SIZE]);

#endif
