/*
 * The state of an IMAP session, shared by imap_session.c (its life, and the order of commands), imap_auth.c (login),
 * imap_mailbox.c (what is selected), imap_relay.c (what passes through), imap_prepare.c (which messages have views),
 * imap_fetch.c, imap_search.c and imap_append.c.
 *
 * Each command of the client becomes a work; works are carried out in the order in which they came. What merely passes
 * through may follow the work before it without waiting; all else waits until it is alone, and holds up what comes
 * after it. Untagged responses belong to the oldest work that is not done: it may keep them; else they stream to the
 * client. (Servers answer a FETCH before the NOOP that came first: content belongs to a FETCH that asked for some.) The
 * number-to-UID map follows whatever is said, before the client hears it. Commands of our own are of the kind that the
 * client's allows: by number while EXPUNGE is forbidden (design 1.2.9).
 */
#ifndef PROXY_IMAP_INTERNAL_H
#define PROXY_IMAP_INTERNAL_H

#include "base/secret.h"
#include "imap/client.h"
#include "imap/fetch.h"
#include "imap/search.h"
#include "imap/server.h"
#include "imap/set.h"
#include "proxy/imap_guard.h"
#include "proxy/net_internal.h"
#include "proxy/views.h"

struct imap_session;
struct imap_work;

/* What becomes of an untagged response that came while a work was the oldest. */
enum imap_fate {
    IMAP_FATE_PASS,  /* streams to the client */
    IMAP_FATE_KEEP,  /* the work's on_response gets all of it; the client nothing */
    IMAP_FATE_FILTER /* as KEEP, but what on_response gives back true for goes on to the client as it stands */
};

struct imap_work_type {
    const char *name;
    /* The work is alone now (or may pass): begins. It ends with imap_work_done, in here or later. */
    void (*start)(struct imap_work *work);
    /* NULL: everything passes. */
    enum imap_fate (*on_head)(struct imap_work *work, const struct imap_head *head);
    /* True (FILTER only): the client gets the response, too. The map has taken note of it already. */
    bool (*on_response)(struct imap_work *work, const struct imap_head *head, struct imap_unit *unit);
    /* The client takes more output. May be NULL. */
    void (*on_drain)(struct imap_work *work);
    /* The session ends: gives up what is under way. Also called by imap_work_done. May be NULL. */
    void (*fini)(struct imap_work *work);
    size_t size; /* of the struct that begins with struct imap_work */
};

struct imap_work {
    TAILQ_ENTRY(imap_work) link;
    struct imap_session *session;
    const struct imap_work_type *type;
    struct imap_command *command;
    bool may_follow; /* passes through: need not be alone */
    bool has_started;
    bool is_done;
};

/* A message's class in the selected mailbox. */
enum imap_class {
    IMAP_CLASS_UNKNOWN,
    IMAP_CLASS_CANDIDATE, /* it may have a view: the raw message will tell. This session's own knowledge */
    IMAP_CLASS_PLAIN,
    IMAP_CLASS_VIEW
};

struct imap_mailbox; /* imap_mailbox.c */

enum imap_auth_state {
    IMAP_AUTH_NONE,
    IMAP_AUTH_INITIAL,     /* the client owes its first response */
    IMAP_AUTH_PASSWORD,    /* LOGIN mechanism: the client owes the password */
    IMAP_AUTH_CONNECT,     /* waiting for the upstream to be ready */
    IMAP_AUTH_RELAY,       /* the upstream has the word */
    IMAP_AUTH_CAPABILITIES /* accepted; what it offers now is being asked */
};

struct imap_session {
    struct proxy_client client; /* proxy/client.h: in the net process's list */
    struct proxy_net *net;
    const struct config_listener *listener;
    struct imap_server *server;   /* NULL once the client is gone */
    struct imap_client *upstream; /* NULL until login */
    size_t account;
    char peer[80];
    struct proxy_probe_wait *probe_wait;

    enum imap_auth_state auth;
    char auth_tag[IMAP_TAG_MAX + 1];
    enum sasl_mechanism mechanism;
    unsigned auth_step;
    char login[256];
    struct secret response; /* the client's first response, until it is sent */
    struct secret password; /* of LOGIN, and of the mechanisms PLAIN and LOGIN, until it is sent */
    struct buf login_reply; /* the upstream's "OK ..." while its capabilities are asked */

    struct buf shown;             /* the capabilities that the client was shown after login */
    struct imap_mailbox *mailbox; /* NULL: none is selected */
    TAILQ_HEAD(, imap_work) works;
    size_t works_len;
    size_t appends_len; /* of them, those that hold messages of the client's */
    struct event *wake; /* frees what is done, and starts what may start */
    bool is_starting;
    enum imap_fate fate; /* of the response that is coming in */
    bool is_guarded;     /* it is a FETCH response */
    struct imap_guard guard;
    bool is_hidden;  /* that response is nobody's but ours: capabilities, and all before login */
    bool is_checked; /* it passes if it says nothing of a message's content */
    bool is_line;    /* it passes, in one piece, when the map has taken note of it */
    bool is_ending;
    bool has_utf8;        /* UTF8=ACCEPT is enabled (RFC 6855): names are in UTF-8 */
    uint64_t progress_ms; /* when the client last heard that work is under way */
};

static inline const struct config_account *imap_session_account(const struct imap_session *session)
{
    return &session->net->config->accounts[session->account];
}

/* ---- imap_session.c ---- */

/* Ends a work: frees it, and starts what may start now. The answer to the client has been written. */
void imap_work_done(struct imap_work *work);
/* Answers "tag NO/BAD ..." by the table of errors, and ends the work. */
void imap_work_fail(struct imap_work *work, enum err err);
/* Answers with what the upstream said of a command, and ends the work. */
void imap_work_reply(struct imap_work *work, const struct imap_reply *reply);
/* Sends a command of ours or the client's upstream; a failure ends the session with BYE. */
void imap_session_send(struct imap_session *session, struct imap_out *out, imap_more_fn more, imap_reply_fn fn,
                       void *context);
/* BYE, then the end. */
void imap_session_end(struct imap_session *session, enum err why);
/* "* OK [INPROGRESS ("tag" done total)] text" at most every second or so; for work that takes long (RFC 9585). */
void imap_session_progress(struct imap_session *session, const char *tag, size_t done, size_t total);

extern const struct imap_client_handlers imap_session_upstream;

/* ---- imap_auth.c ---- */
void imap_auth_on_login(struct imap_server *server, const char *tag, struct span user, struct span password,
                        void *owner);
void imap_auth_on_authenticate(struct imap_server *server, const char *tag, enum sasl_mechanism mechanism,
                               bool has_initial, struct span initial, void *owner);
void imap_auth_on_response(struct imap_server *server, struct span response, void *owner);
void imap_auth_on_cancel(struct imap_server *server, void *owner);
void imap_auth_on_ready(struct imap_client *client, void *owner);
/* The upstream was lost while logging in. */
void imap_auth_lost(struct imap_session *session, enum err why);

/* ---- the works ---- */
extern const struct imap_work_type imap_relay_type;  /* passes the command and all answers through */
extern const struct imap_work_type imap_select_type; /* SELECT, EXAMINE; CLOSE, UNSELECT */
extern const struct imap_work_type imap_places_type; /* RENAME, DELETE, COPY, MOVE: places follow */
extern const struct imap_work_type imap_idle_type;
extern const struct imap_work_type imap_enable_type;
extern const struct imap_work_type imap_fetch_type;  /* FETCH, UID FETCH */
extern const struct imap_work_type imap_search_type; /* SEARCH, UID SEARCH */
extern const struct imap_work_type imap_append_type;
/* Told by the server session when a literal of APPEND is announced: ERR_TOO_BIG beyond what may be appended. */
enum err imap_append_on_literal(struct imap_session *session, const struct imap_command *command,
                                const struct imap_literal_mark *mark);
/* True if the FETCH can go through at once: it asks for nothing of views, or all its messages are known to need none.
 */
bool imap_fetch_may_follow(struct imap_session *session, const struct imap_command *command);
/* True if the work, begun, is a FETCH of content that passes through. */
bool imap_fetch_passes_content(const struct imap_work *work);

/* ---- imap_mailbox.c ---- */
ERR_RETURN enum err imap_mailbox_new(struct imap_session *session, struct span name, struct imap_mailbox **mailbox_out);
void imap_mailbox_free(struct imap_mailbox **mailbox);
struct span imap_mailbox_name(const struct imap_mailbox *mailbox);
/* By which name the vault knows it: the same whether or not the session has UTF8=ACCEPT. */
struct span imap_mailbox_key(const struct imap_mailbox *mailbox);
struct imap_map *imap_mailbox_map(struct imap_mailbox *mailbox);
uint32_t imap_mailbox_uid_validity(const struct imap_mailbox *mailbox);
/* Takes note of an untagged response of any kind (EXISTS, EXPUNGE, VANISHED, FETCH with UID, OK [UIDVALIDITY]).
   ERR_UPSTREAM_PROTOCOL if it contradicts what is known. */
ERR_RETURN enum err imap_mailbox_hear(struct imap_mailbox *mailbox, const struct imap_head *head,
                                      const struct imap_unit *unit);
/* What is known of a message; `id_out` for IMAP_CLASS_VIEW. Needs imap_mailbox_load first. */
enum imap_class imap_mailbox_class(const struct imap_mailbox *mailbox, uint32_t uid, struct proxy_view_id *id_out);
/* Remembers classes, here and in the vault (in groups; nobody waits for it). */
void imap_mailbox_set_plain(struct imap_mailbox *mailbox, uint32_t uid);
/* Nothing is taken of what mail here tells by Autocrypt: it is junk, or was thrown away. */
void imap_mailbox_set_unheard(struct imap_mailbox *mailbox);
bool imap_mailbox_is_heard(const struct imap_mailbox *mailbox);
/* Takes note of what a plain message's header fields tell by Autocrypt; the vault is told as it is told of classes. */
void imap_mailbox_hear_fields(struct imap_mailbox *mailbox, struct span fields);
/* What is known of one of IMAP_CLASS_CANDIDATE. */
struct imap_candidate {
    uint64_t size; /* of the raw message */
    bool has_alias;
    uint8_t alias[STORE_DIGEST_SIZE]; /* imap_classify.h: what becomes of it holds for all that have this name, too */
};
void imap_mailbox_set_candidate(struct imap_mailbox *mailbox, uint32_t uid, const struct imap_candidate *candidate);
/* False: it is of another class. */
bool imap_mailbox_candidate(const struct imap_mailbox *mailbox, uint32_t uid, struct imap_candidate *candidate_out);
void imap_mailbox_set_view(struct imap_mailbox *mailbox, uint32_t uid, const struct proxy_view_id *id);
/* Brings the places from the vault and learns all UIDs (FETCH n:m (UID) by number for those not known). `fn` fires from
   the loop, or at once if there is nothing to do; only one at a time. */
typedef void (*imap_mailbox_fn)(enum err err, void *context);
void imap_mailbox_load(struct imap_mailbox *mailbox, imap_mailbox_fn fn, void *context);
/* The places alone. */
void imap_mailbox_load_places(struct imap_mailbox *mailbox, imap_mailbox_fn fn, void *context);
/* UIDs of messages whose views `privyseal store reopen` wants to be judged again; needs the places. */
const struct imap_set *imap_mailbox_reopens(const struct imap_mailbox *mailbox);
/* Whoever waits for imap_mailbox_load waits no more: its function will not fire. */
void imap_mailbox_stop(struct imap_mailbox *mailbox);
bool imap_mailbox_is_loaded(const struct imap_mailbox *mailbox);
/* True while its own question for UIDs is open; the session keeps the answers from the client and from the work. */
bool imap_mailbox_is_loading(const struct imap_mailbox *mailbox);
/* All UIDs that are known to hold views, ascending; borrowed until the next change. */
const struct imap_set *imap_mailbox_views(const struct imap_mailbox *mailbox);

/* ---- imap_reopen.c ---- */

struct imap_reopen;
/* Judges marked messages of the mailbox that was just selected again (design 1.2.1): each is copied within the mailbox,
   its copy gets the next generation, and the old one is expunged. The work that runs it keeps all untagged responses
   from the client, and selects anew afterwards. `fn` fires once, whatever came of it. */
typedef void (*imap_reopen_fn)(void *context);
ERR_RETURN enum err imap_reopen_new(struct imap_work *work, imap_reopen_fn fn, void *context,
                                    struct imap_reopen **reopen_out);
void imap_reopen_free(struct imap_reopen **reopen);

/* ---- imap_prepare.c: what must be known of messages before they can be answered for ---- */

/* A message of a command. */
struct imap_target {
    uint32_t number; /* at the time of preparing */
    uint32_t uid;
    enum imap_class class;
    struct proxy_view_id id; /* IMAP_CLASS_VIEW */
    /* ERR_OK; ERR_KEY_LOCKED; ERR_NOT_FOUND: it is gone; ERR_UPSTREAM_PROTOCOL: the server says nothing of it, and not
       why. */
    enum err err;
    struct proxy_body *body; /* with IMAP_PREPARE_BODY: held; who takes it sets this to NULL, and releases it */
};
enum imap_prepare_need {
    IMAP_PREPARE_RECORD = 1 << 0, /* records of views are in memory or in the vault */
    IMAP_PREPARE_BODY = 1 << 1,   /* and bodies are held */
    IMAP_PREPARE_TEXT = 1 << 2,   /* views are made again whatever is in memory: the vault misses their texts */
    IMAP_PREPARE_CLASS = 1 << 3   /* no more than which messages may have views; all UIDs are known already */
};
struct imap_prepare;
typedef void (*imap_prepare_fn)(enum err err, struct imap_target *targets, size_t len, void *context);
/* Classifies `numbers` (what is unknown is asked upstream, by number), opens what has no record, several at once, and
   holds bodies if asked. Uses upstream commands of its own: while it runs the work must hand every kept FETCH response
   to imap_prepare_hear. With is_uid own commands are UID commands. `fn` fires once; the targets are borrowed until
   imap_prepare_free. */
ERR_RETURN enum err imap_prepare_new(struct imap_work *work, const struct imap_set *numbers, bool is_uid,
                                     unsigned needs, imap_prepare_fn fn, void *context,
                                     struct imap_prepare **prepare_out);
/* It is a part of something longer: what the client is told of how far it is (INPROGRESS) counts from `before` on, of
   `total`. Else of its own messages. */
void imap_prepare_progress(struct imap_prepare *prepare, size_t before, size_t total);
/* True if the response was an answer to one of its commands. */
bool imap_prepare_hear(struct imap_prepare *prepare, const struct imap_head *head, struct imap_unit *unit);
void imap_prepare_free(struct imap_prepare **prepare);

#endif
