/*
 * The configuration: read once by the master (and by each command), checked wholly, never changed afterwards.
 *
 * libconfuse reads the syntax; this module knows the meaning. Every error names file, line and what was expected. Paths
 * are absolute after reading ("~/" and paths beside the configuration file resolved), addresses in normal form.
 */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include "base/log.h"
#include "base/sasl.h"
#include "crypto/smime_account.h"
#include "keyring/autocrypt.h"
#include "keyring/dane.h"
#include "keyring/ldap.h"
#include "keyring/revocation.h"
#include "keyring/web.h"
#include "policy/rule.h"

#define CONFIG_PATH_SIZE 512
#define CONFIG_HOST_SIZE 256

enum config_security { CONFIG_TLS_FROM_START, CONFIG_TLS_BY_COMMAND /* required */, CONFIG_CLEAR /* loopback only */ };

/* Where one of an account's servers is: from "smtps://host:port". */
struct config_upstream {
    char host[CONFIG_HOST_SIZE]; /* "" : the account has none of this kind */
    int port;                    /* defaults: smtps 465, smtp 587, smtp+clear 25; imaps 993, imap and imap+clear 143 */
    enum config_security security;
    char ca_file[CONFIG_PATH_SIZE]; /* "" : the system's */
};

enum config_protocol { CONFIG_SMTP, CONFIG_IMAP, CONFIG_PROTOCOL_COUNT };

struct config_account {
    char address[MIME_ADDR_SIZE];
    char **addresses; /* address and `also`, normal form; [0] is address */
    size_t addresses_len;
    char login[256]; /* the address if not given */
    struct config_upstream upstreams[CONFIG_PROTOCOL_COUNT];
    bool append_plain; /* append = plain: what is saved is not sealed */
    enum keyring_preference autocrypt;
    char gnupghome[CONFIG_PATH_SIZE];
    bool is_own_home;                     /* privyseal's own, under the state directory */
    char smime_ca[CONFIG_PATH_SIZE];      /* trust anchors for S/MIME: a file, a folder, "system"; "": none */
    char pkcs11_module[CONFIG_PATH_SIZE]; /* of the token with its S/MIME keys; "": none */
    char pkcs11_dir[CONFIG_PATH_SIZE];    /* where that module keeps files of its own; "": nowhere */
    enum keyring_revocation_mode revocation;
    struct crypto_smime smime; /* how it seals; the rest is for whoever seals to fill in */
};

enum config_tls { CONFIG_TLS_STARTTLS, CONFIG_TLS_IMPLICIT, CONFIG_TLS_NONE };

struct config_listener {
    char name[64]; /* the section's title, "smtp", "imap" or "smtp:NAME" */
    enum config_protocol protocol;
    struct config_address {
        char host[64]; /* a literal IPv4 or IPv6 address */
        int port;      /* 0: the kernel chooses */
        bool is_loopback;
    } * at;
    size_t at_len;
    enum config_tls tls;
    size_t *accounts; /* indices into config.accounts; all that have such a server if none were named */
    size_t accounts_len;
};

#define CONFIG_DIRECTORIES_MAX 32
#define CONFIG_SOURCES_MAX 80

/* For which addresses a source's word counts as `found`. */
enum config_belief {
    CONFIG_BELIEVED_NEVER,
    CONFIG_BELIEVED_IF_LISTED, /* of its `domains` */
    CONFIG_BELIEVED_BY_DOMAIN  /* each domain speaks for its own addresses */
};

/* What all sources of keys that are asked over the network have in common. */
struct config_source {
    enum keyring_source kind;
    char name[64];  /* the title of its section; "" where there is one of its kind */
    char **domains; /* patterns of mime_addr_matches that it may be asked about; none: all */
    size_t domains_len;
    enum config_belief belief;
    uint32_t timeout_ms;            /* of a question as a whole */
    uint32_t found_s, missing_s;    /* how long its answers count */
    uint32_t failed_s;              /* how long it is left alone after it did not answer */
    char ca_file[CONFIG_PATH_SIZE]; /* "": the system's */
};

/* An LDAP directory. */
struct config_directory {
    struct config_source source;
    struct keyring_ldap_options ldap;
    char password_command[1024]; /* a line for the shell that prints the password; "": none */
    char certificate_file[CONFIG_PATH_SIZE], key_file[CONFIG_PATH_SIZE]; /* shown to the server; "": none */
};

/* The domains' own zones. */
struct config_dane {
    struct config_source source;
    struct keyring_dane_options dane;
};

#define CONFIG_KEYSERVERS_MAX 16

/* The Web Key Directories, or a keyserver. */
struct config_web {
    struct config_source source;
    struct keyring_web_options web;
    char **hosts; /* of `web` */
    size_t hosts_len;
};

struct config {
    char file[CONFIG_PATH_SIZE];
    char state_dir[CONFIG_PATH_SIZE];
    char user[64];                    /* "" : stay who we are */
    char host_name[CONFIG_HOST_SIZE]; /* for greetings and EHLO; default: the machine's name */
    enum log_level log_level;
    struct config_listener *listeners;
    size_t listeners_len;
    struct config_account *accounts;
    size_t accounts_len;
    struct config_directory *directories;
    size_t directories_len;
    struct config_dane dane;
    struct config_web *webs;
    size_t webs_len;
    const struct config_source *sources[CONFIG_SOURCES_MAX]; /* that are asked, in order; each is part of its section */
    size_t sources_len;
    uint32_t refresh_s;      /* how often a key that is in use is asked for again; 0: never */
    bool has_autocrypt;      /* `sources` names it */
    char **revocation_hosts; /* that may have private addresses (keyring/fetch.h) */
    size_t revocation_hosts_len;
    struct policy policy;
    char subject_tag[64];        /* "[encrypt]"; "" : off */
    bool is_repairing;           /* bare_line_ends = repair (default: refuse) */
    uint64_t message_max;        /* bytes; default 100 MiB */
    size_t recipients_max;       /* per message; default and maximum 1000 */
    size_t groups_max;           /* per message; default 50 */
    size_t keepers_max;          /* busy at once over all accounts; default cores + 1 */
    uint32_t job_timeout_ms;     /* default 60,000 */
    uint32_t find_timeout_ms;    /* of all sources together, for one recipient; default 20,000 */
    size_t sessions_max;         /* default 2,000 */
    size_t sessions_per_address; /* default 1,000 (loopback shares one address) */
    unsigned timeout_percent;    /* of the times in RFC 5321 §4.5.3.2; default 100 */
    uint64_t view_cache_max;     /* bytes of opened messages kept in memory; default 64 MiB */
    uint64_t store_max;          /* bytes of views kept on disk; default 1 GiB */
};

/* Reads `file`, or the first of ~/.config/privyseal/privyseal.conf ($XDG_CONFIG_HOME heeded) and
   /etc/privyseal/privyseal.conf if NULL. ERR_CONFIG: what is wrong was written to standard error as
   "FILE:LINE: what is wrong; expected ...". ERR_NOT_FOUND: no such file. */
ERR_RETURN enum err config_read(const char *file, struct config **config_out);
void config_free(struct config **config);

/* The account whose login this is (exact; an address as login matches without regard to case) among those of the
   listener (all accounts if `listener` is NULL); NULL if there is none. */
const struct config_account *config_account_of_login(const struct config *config,
                                                     const struct config_listener *listener, const char *login);
/* The account one of whose addresses this is, or NULL. */
const struct config_account *config_account_of_address(const struct config *config, const char *address);
bool config_has_upstream(const struct config_account *account, enum config_protocol protocol);
/* "smtp", "imap". */
const char *config_protocol_name(enum config_protocol protocol);
/* Under which name this installation writes Authentication-Results (RFC 8601 §2.2): not the machine's own, which is the
   mail server's where both are one machine. */
#define CONFIG_AUTHSERV_ID_SIZE (CONFIG_HOST_SIZE + 16)
void config_authserv_id(const struct config *config, char id_out[CONFIG_AUTHSERV_ID_SIZE]);
/* True if both servers are the same. */
bool config_upstream_is_same(const struct config_upstream *a, const struct config_upstream *b);

/* Sources in an order: those of one stage are asked together, and the next stage only where that has brought nothing
   that will do, so that a weaker source hears of no address that a stronger one answers. Neighbours whose word counts
   as much for an address are one stage. Addresses are in normal form. */

/* Whether the source may be asked for the address. */
bool config_source_serves(const struct config_source *source, const char *address);
/* Whether what it says of `named` (an address, one of a certificate's others) counts as `found`, when it was asked for
   `address`. */
bool config_source_is_believed(const struct config_source *source, const char *address, const char *named);
/* The stage in which config->sources[index] is asked for the address; SIZE_MAX: in none. */
size_t config_source_stage(const struct config *config, size_t index, const char *address);
/* How long the answers of a stage may take together; 0: there is no such stage. */
uint32_t config_stage_timeout_ms(const struct config *config, const char *address, size_t stage);
/* For how many seconds an answer of it may count at most. */
uint32_t config_stage_keep_s(const struct config *config, const char *address, size_t stage);

/* Paths below the state directory: "tls/certificate.pem", "tls/key.pem", "keys/<account>". False if too long. */
bool config_state_path(const struct config *config, const char *name, char path_out[CONFIG_PATH_SIZE]);
/* Where the account's exported recipient keys are kept (keyring_gpg_key_file). */
bool config_key_cache(const struct config *config, const struct config_account *account,
                      char path_out[CONFIG_PATH_SIZE]);
/* Where its certificates are (keyring/certificates.h). */
bool config_certificates(const struct config *config, const struct config_account *account,
                         char path_out[CONFIG_PATH_SIZE]);

#endif
