/*
 * A submission under way, shared by submit.c (up to the plan), submit_seal.c (every copy sealed), submit_send.c
 * (delivery) and submit_told.c.
 */
#ifndef PROXY_SUBMIT_INTERNAL_H
#define PROXY_SUBMIT_INTERNAL_H

#include "proxy/copy.h"
#include "proxy/session_internal.h"

struct submit_group {
    const struct policy_group *planned; /* NULL when nothing of it is left to send */
    size_t *recipients;                 /* indices into session.recipients: those that do not have it yet; owned */
    size_t recipients_len;
    struct proxy_job *job;
    int fd; /* the sealed copy; -1 until it is there */
    size_t size;
    bool is_8bit;
    struct submit_ready { /* context of its job */
        struct proxy_submit *submit;
        size_t number;
    } ready;
};

struct proxy_submit {
    struct proxy_session *session;
    int fd; /* the message as the client sent it; closed when all is sealed */
    size_t size;
    struct proxy_job *inspect;
    struct proxy_vault_request *encrypted_find;
    struct proxy_ring_wait *ring_wait;
    struct crypto_facts facts;
    bool is_reply_to_encrypted;
    bool *is_visible, *is_delivered; /* for each recipient */
    struct store_delivery_key key;
    bool has_record; /* the vault knows this message */
    struct policy_plan plan;
    char (*chosen)[KEYRING_FPR_SIZE]; /* for each recipient, the key that its copy is encrypted to; "": none */
    struct submit_group *groups;
    size_t groups_len, unsealed_len;

    /* delivery */
    size_t current;
    struct span content;            /* the current group's copy, mapped */
    size_t replies_due;             /* to RCPT */
    size_t *accepted, accepted_len; /* recipients of the current group that the upstream took */
    bool is_refused;   /* RSET or MAIL of the current group was refused: nothing may be sent in its place */
    bool has_sent_any; /* the upstream has said 250 to a copy */
    struct smtp_reply last_ok;
    struct smtp_reply failure; /* code 0: none so far */

    unsigned vault_waits; /* answers of the vault that will still come */
    bool is_dead;         /* frees itself when they have come */
};

/* submit.c */
/* Takes note of an answer of the vault; false if it came too late for anybody (then `submit` may be freed). */
bool submit_is_alive(struct proxy_submit *submit);
/* Ends with a failure that the client is told (if it is there) and frees. */
void submit_fail(struct proxy_submit *submit, enum err err, const char *detail);
/* Ends with this reply and frees. */
void submit_end(struct proxy_submit *submit, const struct smtp_reply *reply);

/* submit_seal.c: makes the groups from the plan and seals each; then goes on with submit_send. */
void submit_seal(struct proxy_submit *submit, struct proxy_copy *copy);
void submit_groups_free(struct proxy_submit *submit);

/* submit_told.c: what the records of correspondents get to know of it. */
/* The plan is made: which key is whose. */
ERR_RETURN enum err submit_note_keys(struct proxy_submit *submit, const struct keyring *keyring);
/* The server has taken a copy: tells the vault, and waits for nothing. A failure is logged. */
void submit_tell_sent(struct proxy_submit *submit);

/* submit_send.c: sends group by group. */
void submit_send(struct proxy_submit *submit);
/* Notes a failure: of several a temporary one is told, since a retry may help. */
void submit_note_failure(struct proxy_submit *submit, const struct smtp_reply *reply);

#endif
