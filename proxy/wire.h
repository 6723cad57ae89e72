/*
 * What privyseal's processes say to each other: the types of messages on base/ipc.h and the fields of each.
 *
 * Fields stand in the order of the comment beside each type. A reply to a job always begins with its error. Writing and
 * reading of the larger ones stands in wire.c, so that both sides share one description.
 */
#ifndef PROXY_WIRE_H
#define PROXY_WIRE_H

#include "base/ipc.h"
#include "crypto/decision.h"
#include "crypto/inspect.h"
#include "crypto/seal.h"
#include "crypto/smime_account.h"
#include "keyring/learn.h"
#include "keyring/revocation.h"
#include "store/account.h"
#include "store/delivery.h"

enum proxy_message {
    /* master to net */
    PROXY_NET_KEEPER = 1, /* account u32, pid u32, socket */
    PROXY_NET_NO_KEEPER,  /* account u32: it could not be started */
    PROXY_NET_DRAIN,      /* accept no more, end when the last session has ended */
    PROXY_NET_VAULT,      /* socket to a new vault */
    PROXY_NET_FINDER,     /* socket to a new finder */
    /* net to master */
    PROXY_MASTER_READY,
    PROXY_MASTER_NEED_KEEPER, /* account u32, its address */
    PROXY_MASTER_KILL_KEEPER, /* pid u32 */
    PROXY_MASTER_NEED_VAULT,  /* -: the line to the vault is lost */
    PROXY_MASTER_NEED_FINDER, /* -: the line to the finder is lost */
    /* master to vault */
    PROXY_VAULT_CLIENT,  /* socket of a net process */
    PROXY_VAULT_COMMAND, /* what it must show first, socket of a command of our own user */
    PROXY_VAULT_KEEPER,  /* account, socket of a keeper of that account */
    /* master to finder */
    PROXY_FINDER_CLIENT, /* socket of a net process */
    PROXY_FINDER_KEEPER, /* account, socket of a keeper of that account */
    /* master to keeper: the first message on the socket that net gets the other end of */
    PROXY_KEEPER_SETUP, /* see struct proxy_keeper_setup; sockets to the vault and the finder if there are */
    /* net to keeper, and back */
    PROXY_JOB_LIST,    /* number u64 of the state of the GnuPG home, which changes with it; 0: not known */
    PROXY_JOB_INSPECT, /* subject tag, recipients u32, each; message file */
    PROXY_JOB_SEAL,    /* see proxy_put_seal; message file */
    PROXY_JOB_OPEN,    /* see proxy_put_open; message file, and unless the index number is 0, index file */
    PROXY_JOB_OWN,     /* as PROXY_JOB_SEAL, for an own copy (crypto/own.h); message file */
    PROXY_JOB_UNLOCK,  /* keys u32, fingerprint of each, those to encrypt to and to sign with or empty: asks the person
                          for those that are locked, one after the other; may take long. The store's keys are opened
                          then, and wrapped to the account's own key if they are not */
    PROXY_JOB_KEYS,    /* -: opens the account's keys in the store, if that asks nobody */
    PROXY_JOB_LEARN,   /* address, who may be heard (proxy_put_tellers); file of what was found for it
                          (keyring/found.h) */
    PROXY_JOB_REVOKED, /* fingerprint of a certificate: its issuers are asked anew, and what they have revoked is noted
                        */
    PROXY_JOB_DONE, /* err u32, then by job: index file | facts | size u64, is_8bit u32, file | (learn) kept u32, words
                       (keyring/learn.h) | (open) see    proxy_put_opened; view file, and if asked for record file,
                       searchable text file, unless it is    plain */
    /* net to vault, and back */
    PROXY_DELIVERY_GET,    /* key */
    PROXY_DELIVERY_ADD,    /* key, now u64, recipients u32, each */
    PROXY_DELIVERY_FORGET, /* key */
    PROXY_ENCRYPTED_FIND,  /* account, message IDs; answered with u32: 1 if a message with one of them came encrypted */
    PROXY_VIEW_GET,        /* account; keys file; answered with views file (wire_view.h says what stands in files) */
    PROXY_VIEW_PUT, /* account, digest, generation u32, now u64, decision, session keys, message IDs; record file,
                       text file */
    PROXY_VIEW_GENERATION, /* account, digest; answered with u32 */
    PROXY_VIEW_SEARCH,   /* account; keys file, leaves file; answered with missing u32 (UINT32_MAX: none), bits file */
    PROXY_PLACES_GET,    /* account, mailbox, UIDVALIDITY u32; answered with places file */
    PROXY_PLACES_PUT,    /* account, mailbox, UIDVALIDITY u32; places file */
    PROXY_PLACES_FORGET, /* account, mailbox, UIDVALIDITY u32; UIDs file */
    PROXY_PLACES_RENAME, /* account, from, to, separator u32 */
    PROXY_ALIASES_GET,   /* account; keys file, of names; answered with places file, UIDs being the keys' numbers from 1
                          */
    PROXY_ALIAS_PUT,     /* account, name, is_view u32, digest */
    PROXY_STORE_TOTALS,  /* account; answered with views, failed, records, places, mailboxes, bytes u64 */
    PROXY_STORE_CLEAR,   /* account, or an empty one for all; u32: 0, 1: decisions and keys, too, 2: and private keys */
    PROXY_STORE_REOPEN,  /* account; answered with the number of messages u64 */
    PROXY_STORE_KEPT,    /* account; answered with how its keys are kept */
    PROXY_PEER_GET,      /* account, address; answered with file of the saved record (keyring/peer.h) */
    PROXY_PEER_HEAR, /* account, words (keyring/peer.h) of one address; answered with changed u32. Net may say at most
                        `found`, and nothing in a person's name */
    PROXY_PEER_RECEIVED, /* account; file of what a message tells (keyring_heard_add); answered with changed u32 */
    PROXY_PEER_SENT,     /* account, at u64, format u32, recipients u32, of each: address, fingerprint ("": plain) */
    /* account, now u64, period in seconds u32; answered with addresses in use u32, of the first one: when it is due u64
       (0: there is none), address, fingerprint */
    PROXY_PEER_DUE,
    PROXY_PEER_REFRESHED,   /* account, address, at u64 */
    PROXY_STORE_PASSPHRASE, /* account, key of the old passphrase or nothing, new recipe, key of the new one: opens the
                               account's keys with the first if they are not, and seals them under the second; with no
                               recipe a passphrase is taken away */
    /* vault to net, between answers: account whose words have changed, u32: 1 if received mail alone has changed them;
       the ring is to be listed anew */
    PROXY_PEER_CHANGED,
    /* keeper to vault, about its own account, and command to vault */
    PROXY_PEER_WORDS, /* account, now u64; answered with file of words */
    /* command to vault */
    PROXY_PEER_UNPIN,  /* account, address, format u32 */
    PROXY_PEER_REMOVE, /* account, address */
    /* keeper to vault, about its own account */
    PROXY_KEYS_GET,  /* account; answered with how its keys are kept, and if they are locked what holds them */
    PROXY_KEYS_OPEN, /* account, keys */
    PROXY_KEYS_TAKE, /* account; answered with the keys, and what tells them from others */
    PROXY_KEYS_WRAP, /* account, name of the key to which they are wrapped, what holds them, what tells them from others
                      */
    PROXY_KEYS_UNSEAL, /* account, key that was made of the passphrase; ERR_DECRYPT: that is the wrong one */
    /* keeper, about its own account, and command to vault; never net */
    PROXY_PRIVATE_GET, /* account, fingerprint; answered with the private key */
    /* command to vault; it may also get and open the keys of any account, as a keeper does */
    PROXY_PRIVATE_PUT,    /* account, fingerprint, private key */
    PROXY_PRIVATE_REMOVE, /* account, fingerprint */
    PROXY_PRIVATE_LIST,   /* account; answered with their number u32, the fingerprint of each */
    PROXY_VAULT_PROOF,    /* what commands have to show (vault_socket.h): the first message, and not answered */
    /* vault to keeper, unasked */
    PROXY_PRIVATE_FORGET, /* a private key of its account has been removed */
    PROXY_VAULT_DONE,     /* err u32; if that is 0, by request: recipients u32, each (deliveries) | what stands above */
    /* net to finder, and back; answers come in any order */
    PROXY_FIND, /* number u32, address, stage u32 (proxy/config.h), fingerprint of the only key that is wanted or "",
                   1 u32 if it is asked for anew, whatever was answered before, else 0 */
    /* keeper to finder, about its own account's anchors, and back */
    PROXY_REVOCATION, /* number u32, 1 u32 if it is to be asked anew, else 0; file of the path's certificates, DER, leaf
                         first */
    PROXY_FINDER_DONE /* number u32, err u32; if that is 0, by request: (find) seconds u32 for which the answer counts,
                          certificates and keys u32, 0 or 1 u32, and if 1, file (keyring/found.h) | (revocation) answers
                         u32, each: index of its certificate u32, kind u32, size u32; if there are any, file of them */
};

#define PROXY_DIRS_MAX 29
#define PROXY_ADDRESSES_MAX 64 /* of an account, in a set-up */

struct proxy_keeper_setup {
    char account[MIME_ADDR_SIZE];
    char home[512];
    char wrapper[512];
    char key_cache[512];
    char user[64];
    char smime_ca[512];                                  /* as the configuration has it */
    char authserv_id[CRYPTO_AUTHSERV_ID_SIZE];           /* "": Authentication-Results is not written */
    char pkcs11_module[512];                             /* "": the account has no token */
    char pkcs11_dir[512];                                /* where that module keeps files; "": nowhere */
    char certificates[512];                              /* the folder of keyring/certificates.h */
    char addresses[PROXY_ADDRESSES_MAX][MIME_ADDR_SIZE]; /* the account's own, normal form */
    uint32_t addresses_len;
    struct crypto_smime smime; /* how it seals; nothing else is in it */
    uint32_t log_level;
    uint32_t is_own_home;
    uint64_t output_max;
    uint64_t memory_max;
    char hidden[PROXY_DIRS_MAX][512]; /* homes of other accounts, and where the vault listens */
    uint32_t hidden_len;
    uint32_t revocation; /* enum keyring_revocation_mode */
    int vault;           /* a line to the vault; -1: there is none. Who reads a set-up owns it */
    int finder;          /* the same to the finder */
};
void proxy_put_setup(struct ipc_out *out, const struct proxy_keeper_setup *setup);
ERR_RETURN enum err proxy_get_setup(struct ipc_in *in, struct proxy_keeper_setup *setup_out);

/* How the keys of an account are kept. */
void proxy_put_kept(struct ipc_out *out, const struct store_kept *kept);
void proxy_get_kept(struct ipc_in *in, struct store_kept *kept_out);

/* Facts and, for each of `recipients_len` recipients, its visibility. */
void proxy_put_facts(struct ipc_out *out, const struct crypto_facts *facts, const bool *is_visible,
                     size_t recipients_len);
void proxy_get_facts(struct ipc_in *in, struct crypto_facts *facts_out, bool *is_visible_out, size_t recipients_len);

/* A seal request without its output bound and key cache, which the keeper knows. */
void proxy_put_seal(struct ipc_out *out, const struct crypto_seal_request *request);
/* What a request that was read points to. */
struct proxy_seal_lists {
    char subject_tag[64];
    char (*recipients)[KEYRING_FPR_SIZE];
    struct crypto_announced *gossip;
};
/* `lists_out` is finished by the caller, also after an error. */
ERR_RETURN enum err proxy_get_seal(struct ipc_in *in, struct crypto_seal_request *request_out,
                                   struct proxy_seal_lists *lists_out);
void proxy_seal_lists_fini(struct proxy_seal_lists *lists);

/* What is asked of a keeper that opens a message. */
struct proxy_open_request {
    uint64_t index_number; /* of the account's key index, which the keeper keeps; 0: none is needed */
    bool wants_record;     /* and the searchable text */
    /* Saved forms (crypto/decision.h) of an earlier opening; empty: the first time. Reading borrows from the message.
     */
    struct span decision, session_keys;
};
void proxy_put_open(struct ipc_out *out, const struct proxy_open_request *request);
void proxy_get_open(struct ipc_in *in, struct proxy_open_request *request_out);
/* And its answer. */
struct proxy_open_answer {
    bool is_plain; /* the message needs no view; nothing else follows */
    struct span decision, session_keys;
    struct span encrypted_ids; /* crypto_message_ids_span of the view, if it came encrypted and was opened */
    bool has_heard;            /* the last file is of what it tells by Autocrypt (keyring_heard_add) */
};
void proxy_put_opened(struct ipc_out *out, const struct proxy_open_answer *answer);
void proxy_get_opened(struct ipc_in *in, struct proxy_open_answer *answer_out);

/* Who may be heard of what was found; at most KEYRING_TELLERS_MAX, of which there are as many as it says, in
   `tellers_out`. */
void proxy_put_tellers(struct ipc_out *out, const struct keyring_teller *tellers, size_t len);
size_t proxy_get_tellers(struct ipc_in *in, struct keyring_teller *tellers_out);

/* A field that holds the digests of message IDs (crypto/message_ids.h), borrowed from the message. */
struct span proxy_get_message_ids(struct ipc_in *in);

/* The key of a delivery record; the strings of `key_out` point into the two buffers. */
void proxy_put_delivery(struct ipc_out *out, const struct store_delivery_key *key);
void proxy_get_delivery(struct ipc_in *in, char account_out[MIME_ADDR_SIZE],
                        char message_id_out[CRYPTO_MESSAGE_ID_SIZE], struct store_delivery_key *key_out);

#endif
