/*
 * A message being opened: what open*.c share. Nobody else includes this.
 */
#ifndef CRYPTO_OPEN_INTERNAL_H
#define CRYPTO_OPEN_INTERNAL_H

#include "crypto/open.h"
#include "crypto/open_header.h"
#include "crypto/open_layer.h"

#define OPEN_LAYERS_MAX CRYPTO_SESSION_KEYS_MAX /* whatever the options say */
#define OPEN_SIGNATURES_MAX 16                  /* of all layers together */

/* What came out of one layer that had its text inside. */
struct open_decrypted {
    struct crypto_openpgp_opened opened;
    struct mime_tree *tree; /* of opened.text; NULL for inline text */
};

/* A layer whose cipher does not show that what it holds was changed: CBC (design 1.1.2). There is one at most. */
struct open_unproven {
    bool is_there, is_weak;
    bool may_be_covered; /* what comes next, once it is expanded, is the whole of it */
    bool is_covered;     /* a signature is over all of it */
    bool is_covering;    /* the layer that is being peeled is that signature: what it is over is all that is shown */
    unsigned covered_by; /* the signed layer */
    bool is_proven;      /* and that signature is the author's, and good */
};

struct opening {
    struct keyring_gpg *gpg;
    const struct crypto_open_options *options;
    const struct crypto_decision *decided; /* NULL: the first time */
    struct span message;
    struct mime_tree *tree;
    struct open_decrypted decrypted[OPEN_LAYERS_MAX];
    size_t decrypted_len; /* also of signed and compressed layers that had their text inside */
    size_t encrypted_len; /* those that were encrypted */
    size_t compressed_len;
    struct open_unproven unproven;
    struct crypto_signature signatures[OPEN_SIGNATURES_MAX];
    size_t signatures_len;
    unsigned signed_layers;
    struct keyring *certificates;  /* of signers by S/MIME; NULL: there were none */
    struct span bytes;             /* what `part` and `shown` are slices of */
    const struct mime_part *part;  /* where peeling has come to: in the end the payload */
    const struct mime_part *shown; /* what the view shows the body of: the content of the last encrypted layer */
    struct span header;            /* of `part`; stays so when the text of inline PGP has taken its place */
    bool is_inline, is_clearsigned, is_header_signed;
    bool is_outermost_encrypted;
    bool keeps_outer_from;
    struct buf own; /* the message out of an own copy */
    struct crypto_opened *result;
};

/* The first reason that is given counts. */
void open_give_reason(const struct opening *opening, const char *reason);

/* open_peel.c: decrypts and verifies layer after layer. */
ERR_RETURN enum err open_peel(struct opening *opening);

/* Keeps what one layer was signed with. One by S/MIME whose signers are more than there is room for is bad: who is not
   looked at could be the weakest. By OpenPGP any good signature will do, and those that do not fit are left out. */
void open_keep_signatures(struct opening *opening, const struct crypto_signature *signatures, size_t len);
/* The header of what comes now is signed if a signature so far is valid. */
void open_note_signed(struct opening *opening);
/* Goes on with the part that was signed, or with the text that has been put into the next of opening->decrypted. */
void open_enter_signed(struct opening *opening, const struct crypto_layer *layer);
ERR_RETURN enum err open_enter_text(struct opening *opening);
/* Notes that a layer cannot be opened; the view then ends at the layer before it, or is the message as it came.
 * ERR_END.
 */
ERR_RETURN enum err open_fail_layer(struct opening *opening, const char *reason);
/* Bytes that the text of a layer may have. */
size_t open_text_max(const struct opening *opening);

/* Bad data ends in a verdict; only what says nothing of the data is an error. */
bool open_is_about_data(enum err result);

/* open_smime.c: one layer of the kind; ERR_END: it ends here. */
ERR_RETURN enum err open_smime_encrypted(struct opening *opening, const struct crypto_layer *layer);
ERR_RETURN enum err open_smime_signed(struct opening *opening, const struct crypto_layer *layer);
ERR_RETURN enum err open_smime_opaque(struct opening *opening, const struct crypto_layer *layer);
ERR_RETURN enum err open_smime_compressed(struct opening *opening, const struct crypto_layer *layer);

/* open_judge.c: takes the message out of an own copy, after each layer that was not inline. ERR_END: it is one. */
ERR_RETURN enum err open_find_own(struct opening *opening);
/* Decides what the verdict is and which header counts. */
ERR_RETURN enum err open_judge(struct opening *opening, struct crypto_header_merge *merge);
/* Which header counts, as it was decided before. */
ERR_RETURN enum err open_follow(struct opening *opening, struct crypto_header_merge *merge);

#endif
