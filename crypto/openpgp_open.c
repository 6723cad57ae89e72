/*
 * Decrypting and verifying. Nothing is taken for good but what gpg says in so many words: the return code, its status
 * lines DECRYPTION_INFO and VALIDSIG, and each signature's own status.
 */
#include "crypto/openpgp_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"

#include <poll.h>
#include <string.h>

#define SIGNATURES_MAX (sizeof((struct crypto_openpgp_opened *)0)->signatures / sizeof(struct crypto_signature))
#define RECIPIENTS_TRIED 20
/* Clocks of senders are not exact. */
#define CLOCK_SKEW_S 86400
/* A view shows for good what is found here: a gpg that was killed must not look like a message that is damaged. */
#define TRIES_MAX 2
/* At its first use gpg-agent rewrites a key that was imported, in place: who asks for it at that moment hears of no
   secret key, or of half a one. A message made to fail with the agent looks the same: that must come to an end. */
#define TRIES_WITH_KEY_MAX 4
#define PAUSE_MS 10

/* What the status lines of one operation said. */
struct heard {
    unsigned decryptions;       /* DECRYPTION_INFO lines */
    unsigned sound_decryptions; /* those with a modification detection code (mdc_method 2) and no AEAD */
    bool is_locked;             /* a key was there and could not be used */
    bool wants_password;        /* for the message itself, not for a key */
    bool has_plaintext;
    bool has_decrypted; /* it came to the end of decrypting, well or not */
    bool has_verified;  /* it said something of a signature */
    bool is_considered; /* a key of this home was looked at */
    bool lacks_key;     /* but there was no secret to it, or nobody to ask for that, or the agent could not use it */
    struct valid {
        char fingerprint[KEYRING_FPR_SIZE], primary[KEYRING_FPR_SIZE];
        bool is_document; /* class 0x00 or 0x01 */
    } valid[SIGNATURES_MAX];
    size_t valid_len;
};

static bool take_word(struct span *rest, struct span *word_out)
{
    return span_take_until(rest, ' ', word_out) && word_out->len > 0;
}

/* DECRYPTION_INFO <mdc_method> <sym_algo> [<aead_algo>] */
static void hear_decryption(struct span arguments, struct heard *heard)
{
    struct span mdc, cipher, aead;
    heard->decryptions++;
    bool has_mdc = take_word(&arguments, &mdc) && span_is_equal(mdc, SPAN_LIT("2")) && take_word(&arguments, &cipher);
    bool has_aead = take_word(&arguments, &aead) && !span_is_equal(aead, SPAN_LIT("0"));
    if (has_aead)
        log_warning("gpg: a message with AEAD is refused: gpg 2.2 does not check it");
    if (has_mdc && !has_aead)
        heard->sound_decryptions++;
}

/* VALIDSIG <fpr> <date> <time> <expire> <version> <reserved> <pubkey-algo> <hash-algo> <class> <primary-fpr> */
static void hear_valid(struct span arguments, struct heard *heard)
{
    struct span words[10];
    size_t len = 0;
    while (len < 10 && take_word(&arguments, &words[len]))
        len++;
    if (len != 10 || heard->valid_len == SIGNATURES_MAX)
        return;
    struct valid *valid = &heard->valid[heard->valid_len];
    valid->is_document = span_is_equal(words[8], SPAN_LIT("00")) || span_is_equal(words[8], SPAN_LIT("01"));
    if (span_copy(words[0], valid->fingerprint, KEYRING_FPR_SIZE) &&
        span_copy(words[9], valid->primary, KEYRING_FPR_SIZE))
        heard->valid_len++;
}

/* ERROR <where> <code>: why the secret key could not be used. */
static void hear_error(struct span arguments, struct heard *heard)
{
    struct span where, code;
    uint64_t number;
    if (!take_word(&arguments, &where) || !take_word(&arguments, &code) || !span_to_u64(code, UINT32_MAX, &number))
        return;
    switch (gpgme_err_code((gpgme_error_t)number)) {
    case GPG_ERR_CANCELED:
    case GPG_ERR_FULLY_CANCELED:
    case GPG_ERR_NO_PIN_ENTRY:
    case GPG_ERR_NO_AGENT:
    case GPG_ERR_NO_PASSPHRASE:
    case GPG_ERR_BAD_PASSPHRASE:
    case GPG_ERR_TIMEOUT:
    case GPG_ERR_CARD_NOT_PRESENT:
        heard->is_locked = true;
        break;
    default:
        if (!span_is_equal(where, SPAN_LIT("pkdecrypt_failed")))
            break;
        heard->lacks_key = true;
        /* The agent's own trouble (no memory, a connection cut), not the message's. */
        if ((gpgme_err_code((gpgme_error_t)number) & GPG_ERR_SYSTEM_ERROR) != 0 ||
            gpgme_err_code((gpgme_error_t)number) == GPG_ERR_EOF)
            heard->is_locked = true;
        break;
    }
}

static bool is_one_of(const char *keyword, const char *const *words, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (strcmp(keyword, words[i]) == 0)
            return true;
    return false;
}

/* How far it came. What is killed, or cannot read the armour, ends without any of these. */
static void hear_progress(const char *keyword, struct heard *heard)
{
    static const char *const ends[] = {"END_DECRYPTION", "NODATA", "UNEXPECTED", "FAILURE"};
    static const char *const signatures[] = {"GOODSIG",   "BADSIG", "ERRSIG",     "EXPSIG", "EXPKEYSIG",
                                             "REVKEYSIG", "NODATA", "UNEXPECTED", "FAILURE"};
    heard->has_decrypted = heard->has_decrypted || is_one_of(keyword, ends, sizeof ends / sizeof *ends);
    heard->has_verified = heard->has_verified || is_one_of(keyword, signatures, sizeof signatures / sizeof *signatures);
    heard->is_considered = heard->is_considered || strcmp(keyword, "KEY_CONSIDERED") == 0;
    heard->lacks_key = heard->lacks_key || strcmp(keyword, "NO_SECKEY") == 0;
}

static gpgme_error_t hear(void *hook, const char *keyword, const char *arguments)
{
    struct heard *heard = hook;
    struct span rest = span_of(arguments == NULL ? "" : arguments);
    if (strcmp(keyword, "DECRYPTION_INFO") == 0)
        hear_decryption(rest, heard);
    else if (strcmp(keyword, "VALIDSIG") == 0)
        hear_valid(rest, heard);
    else if (strcmp(keyword, "ERROR") == 0)
        hear_error(rest, heard);
    else if (strcmp(keyword, "PLAINTEXT") == 0)
        heard->has_plaintext = true;
    hear_progress(keyword, heard);
    /* The person would be asked for a password that a stranger chose. */
    heard->wants_password = heard->wants_password || strcmp(keyword, "NEED_PASSPHRASE_SYM") == 0;
    return heard->wants_password ? gpgme_error(GPG_ERR_UNSUPPORTED_PROTOCOL) : 0;
}

static bool is_weak_hash(gpgme_hash_algo_t hash)
{
    switch (hash) {
    case GPGME_MD_SHA224:
    case GPGME_MD_SHA256:
    case GPGME_MD_SHA384:
    case GPGME_MD_SHA512:
        return false;
    default:
        return true;
    }
}

/* A look-up that fails is neither a pass nor a verdict, which would stand for good: ERR_LOOKUP. The key is here, as the
   signature has just been verified with it; a listing that broke off looks like one without it. */
static enum err find_weak_key(struct keyring_gpg *gpg, gpgme_pubkey_algo_t algorithm, const char *fingerprint,
                              bool *is_weak_out)
{
    unsigned bits;
    enum err err;
    *is_weak_out = true;
    switch (algorithm) {
    case GPGME_PK_ECDSA:
    case GPGME_PK_EDDSA:
        *is_weak_out = false;
        return ERR_OK;
    case GPGME_PK_RSA:
    case GPGME_PK_RSA_S:
    case GPGME_PK_DSA:
        err = keyring_gpg_key_bits(gpg, fingerprint, &bits);
        if (err != ERR_OK)
            return err == ERR_MEMORY ? err : log_failure(ERR_LOOKUP, "how long the key %s is", fingerprint);
        *is_weak_out = bits < 2048;
        return ERR_OK;
    default:
        return ERR_OK;
    }
}

static enum crypto_signature_state judge_status(gpgme_signature_t signature)
{
    switch (gpgme_err_code(signature->status)) {
    case GPG_ERR_NO_ERROR:
        break;
    case GPG_ERR_SIG_EXPIRED:
    case GPG_ERR_KEY_EXPIRED:
        return CRYPTO_SIG_EXPIRED;
    case GPG_ERR_CERT_REVOKED:
        return CRYPTO_SIG_REVOKED;
    case GPG_ERR_NO_PUBKEY:
        return CRYPTO_SIG_UNKNOWN_KEY;
    case GPG_ERR_DIGEST_ALGO:
        return CRYPTO_SIG_WEAK;
    default:
        return CRYPTO_SIG_BAD;
    }
    /* The summary never makes a signature good; what it holds against one counts. */
    if ((signature->summary & GPGME_SIGSUM_KEY_REVOKED) != 0)
        return CRYPTO_SIG_REVOKED;
    if ((signature->summary & (GPGME_SIGSUM_KEY_EXPIRED | GPGME_SIGSUM_SIG_EXPIRED)) != 0)
        return CRYPTO_SIG_EXPIRED;
    if ((signature->summary & (GPGME_SIGSUM_RED | GPGME_SIGSUM_SYS_ERROR | GPGME_SIGSUM_BAD_POLICY)) != 0 ||
        signature->wrong_key_usage)
        return CRYPTO_SIG_BAD;
    return CRYPTO_SIG_GOOD;
}

static const struct valid *find_valid(const struct heard *heard, const char *fingerprint)
{
    for (size_t i = 0; fingerprint != NULL && i < heard->valid_len; i++)
        if (strcasecmp(heard->valid[i].fingerprint, fingerprint) == 0)
            return &heard->valid[i];
    return NULL;
}

static enum err judge_signature(struct keyring_gpg *gpg, gpgme_signature_t signature, const struct heard *heard,
                                struct crypto_signature *judged)
{
    const struct valid *valid = find_valid(heard, signature->fpr);
    *judged = (struct crypto_signature){.state = judge_status(signature), .made = (int64_t)signature->timestamp};
    if (valid != NULL)
        (void)span_copy(span_of(valid->primary), judged->fingerprint, KEYRING_FPR_SIZE);
    bool is_sound =
        judged->state == CRYPTO_SIG_GOOD || judged->state == CRYPTO_SIG_EXPIRED || judged->state == CRYPTO_SIG_REVOKED;
    if (!is_sound)
        return ERR_OK;
    /* Also expired and revoked ones are said to be so only if they verify. */
    if (valid == NULL || !valid->is_document)
        judged->state = CRYPTO_SIG_BAD;
    else if (judged->state == CRYPTO_SIG_GOOD && judged->made > clock_now() + CLOCK_SKEW_S)
        judged->state = CRYPTO_SIG_EXPIRED;
    if (judged->state != CRYPTO_SIG_GOOD)
        return ERR_OK;
    bool is_weak = is_weak_hash(signature->hash_algo);
    enum err err = is_weak ? ERR_OK : find_weak_key(gpg, signature->pubkey_algo, signature->fpr, &is_weak);
    if (is_weak)
        judged->state = CRYPTO_SIG_WEAK;
    return err;
}

static enum err judge_all(struct keyring_gpg *gpg, gpgme_ctx_t context, const struct heard *heard,
                          struct crypto_openpgp_opened *opened)
{
    gpgme_verify_result_t result = gpgme_op_verify_result(context);
    enum err err = ERR_OK;
    if (result == NULL)
        return ERR_OK;
    for (gpgme_signature_t signature = result->signatures;
         err == ERR_OK && signature != NULL && opened->signatures_len < SIGNATURES_MAX; signature = signature->next)
        err = judge_signature(gpg, signature, heard, &opened->signatures[opened->signatures_len++]);
    return err;
}

void crypto_openpgp_opened_fini(struct crypto_openpgp_opened *opened)
{
    buf_fini(&opened->text);
    secret_wipe(opened->session_key, sizeof opened->session_key);
    *opened = (struct crypto_openpgp_opened){.text = opened->text};
}

/* All failures look alike but for a key that cannot be unlocked now. */
static enum err judge_failure(gpgme_error_t error, struct keyring_gpg *gpg, const struct heard *heard)
{
    enum err err = keyring_gpg_error(error, "decrypting");
    if (err == ERR_MEMORY || err == ERR_KEY_LOCKED)
        return err;
    bool has_no_agent = gpgme_err_code(error) == GPG_ERR_NO_SECKEY && !keyring_gpg_has_agent(gpg);
    return heard->is_locked || has_no_agent ? ERR_KEY_LOCKED : ERR_DECRYPT;
}

/* Success of the operation, one decryption, and that with a modification detection code. */
static enum err judge_decryption(gpgme_error_t error, struct keyring_gpg *gpg, gpgme_ctx_t context,
                                 const struct heard *heard)
{
    gpgme_decrypt_result_t result = gpgme_op_decrypt_result(context);
    if (error != 0)
        return judge_failure(error, gpg, heard);
    bool is_sound = heard->decryptions == 1 && heard->sound_decryptions == 1 && result != NULL &&
                    !result->legacy_cipher_nomdc && result->unsupported_algorithm == NULL;
    return is_sound ? ERR_OK : ERR_DECRYPT;
}

/* Sets the context for one decryption; `how` NULL: back again. */
static enum err set_how(gpgme_ctx_t context, const struct crypto_openpgp_how *how)
{
    const char *key = how != NULL && how->session_key != NULL ? how->session_key : "";
    gpgme_error_t error = gpgme_set_ctx_flag(context, "override-session-key", key);
    if (error == 0)
        error = gpgme_set_ctx_flag(context, "export-session-key", how != NULL && *key == '\0' ? "1" : "0");
    /* "error", not "cancel": gpg then goes on to the next of several keys. */
    if (error == 0)
        error = gpgme_set_pinentry_mode(context, how != NULL && !how->asks_person ? GPGME_PINENTRY_MODE_ERROR
                                                                                  : GPGME_PINENTRY_MODE_DEFAULT);
    return keyring_gpg_error(error, "setting how to decrypt");
}

static void keep_session_key(gpgme_ctx_t context, struct crypto_openpgp_opened *opened)
{
    gpgme_decrypt_result_t result = gpgme_op_decrypt_result(context);
    if (result != NULL && result->session_key != NULL)
        (void)span_copy(span_of(result->session_key), opened->session_key, sizeof opened->session_key);
}

/* True if a secret key that the message is for is here, though gpg could not use it. */
static bool has_secret(struct keyring_gpg *gpg, gpgme_ctx_t context)
{
    const gpgme_decrypt_result_t result = gpgme_op_decrypt_result(context);
    unsigned count = 0;
    for (gpgme_recipient_t recipient = result == NULL ? NULL : result->recipients;
         recipient != NULL && count < RECIPIENTS_TRIED; recipient = recipient->next, count++)
        if (recipient->keyid != NULL && keyring_gpg_has_secret(gpg, recipient->keyid))
            return true;
    return false;
}

/* `*tries_out`: how often this is worth another try; 0: the same would come of it each time. */
static enum err decrypt(struct keyring_gpg *gpg, gpgme_ctx_t context, struct span cipher,
                        const struct crypto_openpgp_how *how, struct crypto_openpgp_opened *opened, unsigned *tries_out)
{
    struct heard heard = {0};
    struct openpgp_sink sink = {.buf = &opened->text};
    gpgme_data_t in = NULL, out = NULL;
    gpgme_error_t error = 0;
    gpgme_set_status_cb(context, hear, &heard);
    enum err err = set_how(context, how);
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_data_new_from_mem(&in, cipher.len == 0 ? "" : cipher.ptr, cipher.len, 0), "data");
    if (err == ERR_OK)
        err = openpgp_sink_data(&sink, &out);
    if (err == ERR_OK) {
        error = gpgme_op_decrypt_verify(context, in, out);
        err = judge_decryption(error, gpg, context, &heard);
    }
    if (sink.err != ERR_OK)
        err = sink.err == ERR_MEMORY ? ERR_MEMORY : ERR_DECRYPT;
    if (err == ERR_OK && (how->session_key == NULL || *how->session_key == '\0')) {
        err = judge_all(gpg, context, &heard, opened);
        keep_session_key(context, opened);
    }
    bool lacks_key = (heard.lacks_key || gpgme_err_code(error) == GPG_ERR_NO_SECKEY) && heard.is_considered;
    bool is_sure =
        err != ERR_DECRYPT || sink.err != ERR_OK || heard.wants_password || (heard.has_decrypted && !lacks_key);
    *tries_out = is_sure ? 0 : lacks_key && has_secret(gpg, context) ? TRIES_WITH_KEY_MAX : TRIES_MAX;
    gpgme_set_status_cb(context, NULL, NULL);
    gpgme_data_release(in);
    gpgme_data_release(out);
    return err;
}

enum err crypto_openpgp_decrypt(struct keyring_gpg *gpg, struct span cipher, const struct crypto_openpgp_how *how,
                                struct crypto_openpgp_opened *opened_out)
{
    gpgme_ctx_t context = keyring_gpg_context(gpg);
    unsigned tries_max;
    *opened_out = (struct crypto_openpgp_opened){.is_encrypted = true};
    buf_init_secret(&opened_out->text, how->text_max);
    enum err err = decrypt(gpg, context, cipher, how, opened_out, &tries_max);
    for (unsigned tries = 1; tries < tries_max; tries++) {
        if (tries > 1)
            (void)poll(NULL, 0, PAUSE_MS << tries);
        buf_clear(&opened_out->text);
        err = decrypt(gpg, context, cipher, how, opened_out, &tries_max);
    }
    enum err reset = set_how(context, NULL);
    if (err == ERR_OK)
        err = reset;
    /* GPGME hands plain text out before it knows that the message is whole. */
    if (err != ERR_OK)
        crypto_openpgp_opened_fini(opened_out);
    return err;
}

static enum err judge_verification(gpgme_error_t error, struct keyring_gpg *gpg, gpgme_ctx_t context,
                                   const struct heard *heard, struct crypto_openpgp_opened *opened)
{
    enum err err = ERR_OK;
    switch (gpgme_err_code(error)) {
    case GPG_ERR_NO_ERROR:
        err = judge_all(gpg, context, heard, opened);
        break;
    case GPG_ERR_NO_DATA:
    case GPG_ERR_BAD_DATA:
    case GPG_ERR_INV_ARMOR:
    case GPG_ERR_INV_PACKET:
        break;
    default:
        return keyring_gpg_error(error, "verifying");
    }
    /* No signature at all where one was said to be, or one that brings a text of its own. */
    if (opened->signatures_len == 0 || heard->has_plaintext) {
        opened->signatures[0] = (struct crypto_signature){.state = CRYPTO_SIG_BAD};
        opened->signatures_len = 1;
    }
    return err;
}

static enum err verify(struct keyring_gpg *gpg, gpgme_ctx_t context, struct span signature, struct span content,
                       struct crypto_openpgp_opened *opened_out, bool *is_sure_out)
{
    struct heard heard = {0};
    gpgme_data_t sig = NULL, text = NULL;
    gpgme_set_status_cb(context, hear, &heard);
    enum err err = keyring_gpg_error(
        gpgme_data_new_from_mem(&sig, signature.len == 0 ? "" : signature.ptr, signature.len, 0), "data");
    if (err == ERR_OK)
        err = keyring_gpg_error(gpgme_data_new_from_mem(&text, content.len == 0 ? "" : content.ptr, content.len, 0),
                                "data");
    if (err == ERR_OK)
        err = judge_verification(gpgme_op_verify(context, sig, text, NULL), gpg, context, &heard, opened_out);
    gpgme_set_status_cb(context, NULL, NULL);
    gpgme_data_release(sig);
    gpgme_data_release(text);
    *is_sure_out = err != ERR_OK || heard.has_verified;
    return err;
}

enum err crypto_openpgp_verify(struct keyring_gpg *gpg, struct span signature, struct span content,
                               struct crypto_openpgp_opened *opened_out)
{
    bool is_sure = false;
    enum err err = ERR_OK;
    *opened_out = (struct crypto_openpgp_opened){.is_encrypted = false};
    buf_init(&opened_out->text, 0);
    for (unsigned tries = 0; tries < TRIES_MAX && !is_sure; tries++) {
        opened_out->signatures_len = 0;
        err = verify(gpg, keyring_gpg_context(gpg), signature, content, opened_out, &is_sure);
    }
    if (err != ERR_OK)
        crypto_openpgp_opened_fini(opened_out);
    return err;
}
