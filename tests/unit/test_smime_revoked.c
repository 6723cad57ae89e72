/* A certificate that is found to be revoked while mail is sealed to it: what is noted of it, beside what others note.
 */
#include "keyring/revocation.h"
#include "tests/unit/smime_world.h"

static struct smime_world world;

static int begin(void **state)
{
    (void)state;
    smime_world_open(&world);
    return 0;
}

static int end(void **state)
{
    (void)state;
    smime_world_close(&world);
    return 0;
}

/* Asking takes a while, in which another process writes. */
static enum err say_revoked(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    struct keyring_certificates *others;
    struct keyring_certificate entry = {.certificate = world.made[SMIME_BOB].certificate, .key_place = "store"};
    (void)context;
    (void)at;
    *is_unknown_out = false;
    assert_non_null(chain);
    if (X509_cmp(sk_X509_value(chain, 0), entry.certificate) != 0)
        return ERR_OK;
    assert_int_equal(keyring_certificates_open(world.dir, &others), ERR_OK);
    assert_int_equal(keyring_certificates_put(others, &entry), ERR_OK);
    keyring_certificates_close(&others);
    return ERR_REVOKED;
}

static void what_others_wrote_stays(void **state)
{
    (void)state;
    const struct smime_wish wish = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .signer = SMIME_P256, .to = {SMIME_BOB}, .to_len = 1};
    struct buf sealed;
    buf_init(&sealed, 1 << 20);
    world.smime.revocation = say_revoked;
    assert_int_equal(smime_world_seal(&world, &wish, SPAN_LIT("Subject: x\r\n\r\nx\r\n"), &sealed), ERR_REVOKED);
    world.smime.revocation = NULL;
    const struct keyring_certificate *noted =
        keyring_certificates_find(world.smime.certificates, world.fingerprints[SMIME_BOB]);
    assert_non_null(noted);
    assert_int_equal(noted->revoked, MADE_NOW);
    assert_string_equal(noted->key_place, "store");
    buf_fini(&sealed);
}

/* Hard: nobody can be asked about what leads nowhere. */
static enum err say_unknown(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)at;
    assert_null(chain);
    return keyring_revocation_sum(NULL, 0, KEYRING_REVOCATION_HARD, is_unknown_out);
}

static enum err say_unknown_softly(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)at;
    assert_null(chain);
    const enum err err = keyring_revocation_sum(NULL, 0, KEYRING_REVOCATION_SOFT, is_unknown_out);
    assert_true(*is_unknown_out);
    return err;
}

static enum err seal_to(enum smime_who person, crypto_revocation_fn revocation)
{
    const struct smime_wish wish = {.action = CRYPTO_SEAL_ENCRYPT, .to = {person}, .to_len = 1};
    const struct keyring_anchors *anchors = world.smime.anchors;
    struct buf sealed;
    buf_init(&sealed, 1 << 20);
    world.smime.anchors = NULL;
    world.smime.revocation = revocation;
    const enum err err = smime_world_seal(&world, &wish, SPAN_LIT("Subject: x\r\n\r\nx\r\n"), &sealed);
    world.smime.anchors = anchors;
    world.smime.revocation = NULL;
    buf_fini(&sealed);
    return err;
}

/* About one that leads to no anchor nobody can be asked; one's own is one's own. */
static void without_a_chain(void **state)
{
    (void)state;
    assert_int_equal(seal_to(SMIME_STRANGER, NULL), ERR_OK);
    assert_int_equal(seal_to(SMIME_STRANGER, say_unknown), ERR_LOOKUP);
    assert_int_equal(seal_to(SMIME_STRANGER, say_unknown_softly), ERR_OK);
    assert_int_equal(seal_to(SMIME_P256, say_unknown), ERR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_a_chain), cmocka_unit_test(what_others_wrote_stays)};
    return cmocka_run_group_tests(tests, begin, end);
}
