/*
 * The state of a session, shared by session.c (its life), session_auth.c (login), session_mail.c (MAIL and RCPT) and
 * submit*.c (from a whole message to its delivery).
 */
#ifndef PROXY_SESSION_INTERNAL_H
#define PROXY_SESSION_INTERNAL_H

#include "base/secret.h"
#include "crypto/inspect.h"
#include "policy/plan.h"
#include "proxy/net_internal.h"
#include "proxy/submit.h"

enum session_auth {
    SESSION_AUTH_NONE,
    SESSION_AUTH_INITIAL,  /* the client owes its first response */
    SESSION_AUTH_PASSWORD, /* LOGIN: the client owes the password */
    SESSION_AUTH_CONNECT,  /* waiting for the upstream to be ready */
    SESSION_AUTH_RELAY     /* the upstream has the word */
};

struct session_recipient {
    struct smtp_rcpt rcpt;
    bool had_word, had_heard, had_key, is_unasked, is_record_read; /* as in policy_recipient */
};

/*
 * One client session of the SMTP proxy: the server side towards the mail program, the client side towards the account's
 * upstream, and what joins them. It is bound to an account when the upstream has accepted the login, and never to
 * another afterwards; it frees itself when the client is gone and nothing of it is under way.
 */
struct proxy_session {
    struct proxy_client client;
    struct proxy_net *net;
    const struct config_listener *listener;
    struct smtp_server *server;   /* NULL once the client is gone */
    struct smtp_client *upstream; /* NULL until AUTH, and after a loss */
    size_t account;               /* meaningful from SESSION_AUTH_CONNECT on */
    bool is_authenticated;
    char peer[80];

    enum session_auth auth;
    enum sasl_mechanism mechanism;
    unsigned auth_step; /* responses that went to the upstream */
    char login[256];
    struct secret response; /* the client's first response, until it is sent; for LOGIN the password */

    struct smtp_mail mail;
    uint64_t announced_size;              /* what the open transaction said by SIZE; 0: nothing */
    bool is_open;                         /* the upstream has a transaction open */
    bool is_envelope_spoilt;              /* it holds a recipient that `recipients` does not */
    struct session_recipient *recipients; /* accepted so far */
    size_t recipients_len, recipients_capacity;
    size_t addresses_size;    /* bytes of their addresses */
    struct smtp_rcpt pending; /* the RCPT that is being answered */

    struct proxy_probe_wait *probe_wait;
    struct proxy_ring_wait *ring_wait;
    struct proxy_lookup *lookup;       /* sources of keys are asked for the recipient */
    struct proxy_heard heard;          /* of the record of the pending recipient */
    unsigned records_read;             /* so many times, for this RCPT */
    uint64_t lookup_until_ms;          /* when this RCPT has waited long enough for sources; monotonic */
    size_t lookup_stage;               /* the first of which they have not been, for this RCPT (proxy/config.h) */
    enum err looked_up;                /* whether all could be */
    bool had_word, had_heard, had_key; /* for this RCPT, as in policy_recipient */
    struct proxy_submit *submit;       /* a message is on its way */
    struct store_delivery_key told;    /* record to forget once the client shows that it has the 250 */
    bool has_told;
    char told_message_id[CRYPTO_MESSAGE_ID_SIZE];
};

const struct config_account *session_account(const struct proxy_session *session);

/* session_auth.c: handlers of smtp_server_handlers. */
void session_on_auth(struct smtp_server *server, enum sasl_mechanism mechanism, bool has_initial, struct span initial,
                     void *owner);
void session_on_auth_response(struct smtp_server *server, struct span response, void *owner);
void session_on_auth_cancel(struct smtp_server *server, void *owner);

/* session_mail.c: likewise. */
void session_on_mail(struct smtp_server *server, const struct smtp_mail *mail, void *owner);
void session_on_rcpt(struct smtp_server *server, const struct smtp_rcpt *rcpt, void *owner);
void session_on_reset(struct smtp_server *server, void *owner);
void session_on_message(struct smtp_server *server, int fd, size_t size, void *owner);
/* Forgets envelope and recipients. */
void session_clear_envelope(struct proxy_session *session);
/* Ends the transaction that the upstream may have open. */
ERR_RETURN enum err session_reset_upstream(struct proxy_session *session);

/* session.c */
void session_lose_upstream(struct proxy_session *session, enum err why);
/* The client has spoken after a 250, or ended in order: it knows, so the record that would skip recipients goes. */
void session_was_told(struct proxy_session *session);
/* A submission has ended (it is freed and `session->submit` NULL): ends the session if nobody is there any more. */
void session_submit_ended(struct proxy_session *session);
extern const struct smtp_client_handlers session_upstream_handlers;

#endif
