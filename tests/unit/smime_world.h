/*
 * Accounts with certificates of every kind that sealing by S/MIME must do with, in a folder of their own.
 */
#ifndef TESTS_UNIT_SMIME_WORLD_H
#define TESTS_UNIT_SMIME_WORLD_H

#include "tests/unit/x509_made.h"

#include "base/clock.h"
#include "crypto/own.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <sys/mman.h>

enum smime_who {
    SMIME_RSA, /* of Alice */
    SMIME_P256,
    SMIME_P384,
    SMIME_BOB, /* RSA 3072, with an issuer between */
    SMIME_CURVE,
    SMIME_BOTH, /* one address, a key for each purpose */
    SMIME_EXPIRED,
    SMIME_WEAK,
    SMIME_SIGN_ONLY,
    SMIME_STRANGER, /* no chain */
    SMIME_LATE,     /* no chain, and expired */
    SMIME_WHO_COUNT
};

struct smime_world {
    struct made root, middle, made[SMIME_WHO_COUNT];
    char fingerprints[SMIME_WHO_COUNT][KEYRING_FPR_SIZE];
    struct keyring_anchors *anchors;
    struct crypto_smime smime;
    char anchor_path[64], dir[64];
    enum err key_answer;        /* of the private key's keeper */
    enum err revocation_answer; /* of whoever is asked */
    X509 *revoked;              /* for this one alone; NULL: for all */
    bool is_unknown, asked_person;
    unsigned asked, asked_chain;
};

__attribute__((unused)) static enum err smime_world_key(void *context, const struct keyring_certificate *certificate,
                                                        bool asks_person, EVP_PKEY **key_out)
{
    struct smime_world *world = context;
    world->asked_person = asks_person;
    if (world->key_answer != ERR_OK)
        return world->key_answer;
    for (size_t i = 0; i < SMIME_WHO_COUNT; i++)
        if (strcmp(world->fingerprints[i], certificate->fingerprint) == 0) {
            *key_out = world->made[i].key;
            return EVP_PKEY_up_ref(*key_out) == 1 ? ERR_OK : ERR_MEMORY;
        }
    return ERR_NO_KEY;
}

__attribute__((unused)) static enum err smime_world_revocation(void *context, STACK_OF(X509) * chain, int64_t at,
                                                               bool *is_unknown_out)
{
    struct smime_world *world = context;
    assert_int_equal(at, MADE_NOW);
    world->asked++;
    world->asked_chain = chain == NULL ? 0 : (unsigned)sk_X509_num(chain);
    *is_unknown_out = world->is_unknown;
    if (chain == NULL)
        return ERR_OK;
    return world->revoked == NULL || X509_cmp(world->revoked, sk_X509_value(chain, 0)) == 0 ? world->revocation_answer
                                                                                            : ERR_OK;
}

__attribute__((unused)) static void smime_world_put(struct smime_world *world, enum smime_who who, bool takes_gcm)
{
    struct keyring_certificate entry = {
        .certificate = world->made[who].certificate, .takes_gcm = takes_gcm, .seen = MADE_NOW};
    if (who <= SMIME_P384)
        (void)snprintf(entry.key_place, sizeof entry.key_place, "store");
    assert_int_equal(keyring_certificates_put(world->smime.certificates, &entry), ERR_OK);
    assert_int_equal(keyring_x509_fingerprint(entry.certificate, world->fingerprints[who]), ERR_OK);
}

__attribute__((unused)) static void smime_world_open(struct smime_world *world)
{
    static const struct made_wish root = {.name = "Root", .basic = "critical,CA:TRUE", .usage = "keyCertSign,cRLSign"};
    static const struct made_wish middle = {
        .name = "Middle", .basic = "critical,CA:TRUE", .usage = "keyCertSign,cRLSign"};
    static const struct made_wish wishes[SMIME_WHO_COUNT] = {
        [SMIME_RSA] = {.name = "Alice", .san = "email:alice@example.org", .rsa_bits = 2048},
        [SMIME_P256] = {.name = "Alice", .san = "email:alice@example.org", .usage = "digitalSignature,keyAgreement"},
        [SMIME_P384] = {.name = "Alice", .san = "email:alice@example.org", .curve = "P-384"},
        [SMIME_BOB] = {.name = "Bob", .san = "email:bob@example.org", .rsa_bits = 3072},
        [SMIME_CURVE] = {.name = "Carol", .san = "email:carol@example.org", .usage = "keyAgreement"},
        [SMIME_BOTH] = {.name = "Dave", .san = "email:dave@example.org", .usage = "keyEncipherment", .rsa_bits = 2048},
        [SMIME_EXPIRED] = {.name = "Eve",
                           .san = "email:eve@example.org",
                           .rsa_bits = 2048,
                           .from_s = -9 * MADE_DAY,
                           .till_s = -MADE_DAY},
        [SMIME_WEAK] = {.name = "Faythe", .san = "email:faythe@example.org", .rsa_bits = 1024},
        [SMIME_SIGN_ONLY] = {.name = "Grace", .san = "email:grace@example.org", .usage = "digitalSignature"},
        [SMIME_STRANGER] = {.name = "Heidi", .san = "email:heidi@example.org", .rsa_bits = 2048},
        [SMIME_LATE] = {.name = "Ivan",
                        .san = "email:ivan@example.org",
                        .rsa_bits = 2048,
                        .from_s = -9 * MADE_DAY,
                        .till_s = -MADE_DAY}};
    struct keyring_certificate issuer = {.seen = MADE_NOW};
    clock_fix(MADE_NOW);
    *world = (struct smime_world){.key_answer = ERR_OK};
    (void)snprintf(world->dir, sizeof world->dir, "/tmp/privyseal-certificates-XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->root = made_certificate(&root, NULL);
    world->middle = made_certificate(&middle, &world->root);
    world->anchors = made_anchors(world->root.certificate, world->anchor_path);
    world->smime = (struct crypto_smime){
        .anchors = world->anchors, .private_key = smime_world_key, .context = world, .content = CRYPTO_SMIME_CBC};
    assert_int_equal(keyring_certificates_open(world->dir, &world->smime.certificates), ERR_OK);
    for (size_t i = 0; i < SMIME_WHO_COUNT; i++) {
        bool is_alone = i == SMIME_STRANGER || i == SMIME_LATE;
        world->made[i] = made_certificate(&wishes[i], is_alone ? NULL : &world->middle);
        smime_world_put(world, (enum smime_who)i, false);
    }
    issuer.certificate = world->middle.certificate;
    assert_int_equal(keyring_certificates_put(world->smime.certificates, &issuer), ERR_OK);
    issuer.certificate = world->root.certificate;
    assert_int_equal(keyring_certificates_put(world->smime.certificates, &issuer), ERR_OK);
}

__attribute__((unused)) static void smime_world_close(struct smime_world *world)
{
    keyring_certificates_close(&world->smime.certificates);
    keyring_anchors_close(&world->anchors);
    for (size_t i = 0; i < SMIME_WHO_COUNT; i++)
        made_free(&world->made[i]);
    made_free(&world->middle);
    made_free(&world->root);
    (void)unlink(world->anchor_path);
    made_remove_folder(world->dir);
}

#define SMIME_RECIPIENTS 4

/* What is sealed, and how. */
struct smime_wish {
    enum crypto_seal_action action;
    enum smime_who signer;
    enum smime_who to[SMIME_RECIPIENTS];
    size_t to_len;
    bool is_own, is_quiet;
    uint64_t output_max; /* 0: plenty */
};

__attribute__((unused)) static enum err smime_world_seal(struct smime_world *world, const struct smime_wish *wish,
                                                         struct span message, struct buf *out)
{
    struct crypto_seal_request request = {.action = wish->action,
                                          .format = KEYRING_SMIME,
                                          .subject_tag = "[encrypt]",
                                          .is_quiet = wish->is_quiet,
                                          .output_max = wish->output_max == 0 ? 1048576 : wish->output_max,
                                          .smime = &world->smime};
    char to[SMIME_RECIPIENTS][KEYRING_FPR_SIZE];
    struct crypto_seal_result result;
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    assert_true(fd >= 0);
    for (size_t i = 0; i < wish->to_len; i++)
        memcpy(to[i], world->fingerprints[wish->to[i]], KEYRING_FPR_SIZE);
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])to;
    request.recipients_len = wish->to_len;
    if (wish->action != CRYPTO_SEAL_ENCRYPT)
        memcpy(request.signer, world->fingerprints[wish->signer], KEYRING_FPR_SIZE);
    enum err err = wish->is_own ? crypto_seal_own(NULL, &request, message, fd, &result)
                                : crypto_seal(NULL, &request, message, fd, &result);
    assert_int_equal(ERR_peek_error(), 0);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_int_equal(buf_reserve(out, (size_t)size), ERR_OK);
    char piece[4096];
    for (off_t at = 0; at < size;) {
        ssize_t count = pread(fd, piece, sizeof piece, at);
        assert_true(count > 0);
        assert_int_equal(buf_add(out, piece, (size_t)count), ERR_OK);
        at += count;
    }
    if (err == ERR_OK) {
        assert_int_equal(result.size, size);
        assert_false(result.is_8bit);
        assert_string_equal(result.signed_by, request.signer);
    }
    close(fd);
    return err;
}

#endif
