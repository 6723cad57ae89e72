#include "proxy/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Carries `out` over a pair of sockets. */
static void carry(struct ipc_out *out, struct ipc_in *in)
{
    int ends[2];
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    assert_int_equal(ipc_send(ends[0], out), ERR_OK);
    assert_int_equal(ipc_recv(ends[1], in), ERR_OK);
    close(ends[0]);
    close(ends[1]);
}

static struct proxy_keeper_setup some_setup(void)
{
    struct proxy_keeper_setup setup = {.account = "alice@example.org",
                                       .home = "/h/a",
                                       .wrapper = "/w/gpg",
                                       .key_cache = "/k",
                                       .user = "someone",
                                       .log_level = 2,
                                       .is_own_home = 1,
                                       .output_max = (uint64_t)1 << 40,
                                       .memory_max = 7,
                                       .hidden = {"/h/b", "/h/c"},
                                       .hidden_len = 2,
                                       .certificates = "/c",
                                       .addresses = {"alice@example.org", "a@example.org"},
                                       .addresses_len = 2,
                                       .smime = {.is_opaque = true, .is_oaep = true, .content = CRYPTO_SMIME_CBC},
                                       .revocation = KEYRING_REVOCATION_HARD,
                                       .vault = -1,
                                       .finder = -1};
    return setup;
}

static void test_setup_round_trip(void **state)
{
    struct proxy_keeper_setup setup = some_setup(), got;
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    proxy_put_setup(&out, &setup);
    carry(&out, &in);
    assert_int_equal(proxy_get_setup(&in, &got), ERR_OK);
    ipc_in_fini(&in);
    assert_memory_equal(&setup, &got, sizeof(setup));
}

static void test_full_setup_fits(void **state)
{
    struct proxy_keeper_setup setup = some_setup(), got;
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    setup.hidden_len = PROXY_DIRS_MAX;
    for (uint32_t i = 0; i < PROXY_DIRS_MAX; i++) {
        memset(setup.hidden[i], 'x', sizeof(setup.hidden[i]) - 1);
        setup.hidden[i][sizeof(setup.hidden[i]) - 1] = '\0';
    }
    setup.addresses_len = PROXY_ADDRESSES_MAX;
    for (uint32_t i = 0; i < PROXY_ADDRESSES_MAX; i++) {
        memset(setup.addresses[i], 'x', sizeof(setup.addresses[i]) - 1);
        setup.addresses[i][sizeof(setup.addresses[i]) - 1] = '\0';
    }
    proxy_put_setup(&out, &setup);
    carry(&out, &in);
    assert_int_equal(proxy_get_setup(&in, &got), ERR_OK);
    ipc_in_fini(&in);
    assert_memory_equal(&setup, &got, sizeof(setup));
}

static void test_setup_malformed(void **state)
{
    struct proxy_keeper_setup got;
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    ipc_out_begin(&out, PROXY_JOB_LIST);
    carry(&out, &in);
    assert_int_equal(proxy_get_setup(&in, &got), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);

    /* More than there is room for of addresses and of directories, and options that there are not. */
    const uint32_t wrong[][4] = {
        {PROXY_ADDRESSES_MAX + 1, 0, 0, 0}, {0, 16, 0, 0}, {0, 0, 3, 0}, {0, 0, 0, PROXY_DIRS_MAX + 1}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        ipc_out_begin(&out, PROXY_KEEPER_SETUP);
        for (int j = 0; j < 8; j++)
            ipc_put_string(&out, "x");
        for (int j = 0; j < 3; j++)
            ipc_put_u32(&out, wrong[i][j]);
        ipc_put_u32(&out, 0);
        ipc_put_u32(&out, 0);
        ipc_put_u64(&out, 0);
        ipc_put_u64(&out, 0);
        ipc_put_u32(&out, wrong[i][3]);
        carry(&out, &in);
        assert_int_equal(proxy_get_setup(&in, &got), ERR_PEER_PROTOCOL);
        ipc_in_fini(&in);
    }
}

static struct crypto_facts some_facts(void)
{
    struct crypto_facts facts;
    memset(&facts, 0, sizeof(facts));
    facts.from_len = 1;
    snprintf(facts.from, sizeof(facts.from), "alice@example.org");
    snprintf(facts.message_id, sizeof(facts.message_id), "<1@example.org>");
    for (size_t i = 0; i < sizeof(facts.digest); i++)
        facts.digest[i] = (uint8_t)i;
    facts.sealed = CRYPTO_SEALED_SMIME;
    facts.answered.len = 3;
    memset(facts.answered.digests, 0x5a, 3 * sizeof(facts.answered.digests[0]));
    return facts;
}

static void test_facts_round_trip(void **state)
{
    const bool visible[3] = {true, false, true};
    (void)state;
    for (unsigned bits = 0; bits < 16; bits++) {
        struct crypto_facts facts = some_facts(), got;
        struct ipc_out out;
        struct ipc_in in;
        bool seen[3] = {false, false, false};
        facts.wants_encryption = (bits & 1) != 0;
        facts.wants_plain = (bits & 2) != 0;
        facts.is_8bit = (bits & 4) != 0;
        facts.has_8bit_header = (bits & 8) != 0;
        ipc_out_begin(&out, PROXY_JOB_DONE);
        proxy_put_facts(&out, &facts, visible, 3);
        carry(&out, &in);
        proxy_get_facts(&in, &got, seen, 3);
        assert_int_equal(ipc_in_end(&in), ERR_OK);
        ipc_in_fini(&in);
        assert_int_equal(got.from_len, 1);
        assert_string_equal(got.from, facts.from);
        assert_string_equal(got.message_id, facts.message_id);
        assert_memory_equal(got.digest, facts.digest, sizeof(facts.digest));
        assert_int_equal(got.sealed, CRYPTO_SEALED_SMIME);
        assert_int_equal(got.answered.len, 3);
        assert_memory_equal(got.answered.digests, facts.answered.digests, 3 * sizeof(facts.answered.digests[0]));
        assert_int_equal(got.wants_encryption, facts.wants_encryption);
        assert_int_equal(got.wants_plain, facts.wants_plain);
        assert_int_equal(got.is_8bit, facts.is_8bit);
        assert_int_equal(got.has_8bit_header, facts.has_8bit_header);
        assert_memory_equal(seen, visible, sizeof(visible));
    }
}

static void put_facts(struct ipc_out *out, const char *digest, uint32_t sealed, const char *visible,
                      const char *answered)
{
    ipc_out_begin(out, PROXY_JOB_DONE);
    ipc_put_u64(out, 1);
    ipc_put_string(out, "alice@example.org");
    ipc_put_string(out, "");
    ipc_put_string(out, digest);
    ipc_put_u32(out, sealed);
    ipc_put_u32(out, 0);
    ipc_put_string(out, visible);
    ipc_put_string(out, answered);
}

static void test_facts_malformed(void **state)
{
    static const char digest[] = "0123456789abcdef0123456789abcdef";
    const struct {
        const char *digest;
        uint32_t sealed;
        const char *visible, *answered;
        enum err expected;
    } cases[] = {{digest, CRYPTO_NOT_SEALED, "yn", "", ERR_OK},
                 {digest, CRYPTO_NOT_SEALED, "yn", digest, ERR_OK},
                 {"short", CRYPTO_NOT_SEALED, "yn", "", ERR_PEER_PROTOCOL},
                 {digest, CRYPTO_SEALED_SMIME + 1, "yn", "", ERR_PEER_PROTOCOL},
                 {digest, CRYPTO_NOT_SEALED, "y", "", ERR_PEER_PROTOCOL},
                 {digest, CRYPTO_NOT_SEALED, "yny", "", ERR_PEER_PROTOCOL},
                 {digest, CRYPTO_NOT_SEALED, "yn", "half a digest", ERR_PEER_PROTOCOL}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct crypto_facts facts;
        struct ipc_out out;
        struct ipc_in in;
        bool seen[2] = {false, false};
        put_facts(&out, cases[i].digest, cases[i].sealed, cases[i].visible, cases[i].answered);
        carry(&out, &in);
        proxy_get_facts(&in, &facts, seen, 2);
        assert_int_equal(ipc_in_end(&in), cases[i].expected);
        assert_int_equal(seen[0], cases[i].expected == ERR_OK);
        ipc_in_fini(&in);
    }
}

static void test_opened_round_trip(void **state)
{
    char ids[(CRYPTO_MESSAGE_IDS_MAX + 1) * 32];
    (void)state;
    memset(ids, 7, sizeof(ids));
    for (size_t len = 0; len <= sizeof(ids); len += 16) {
        const struct proxy_open_answer answer = {
            .decision = SPAN_LIT("d"), .session_keys = SPAN_LIT("k"), .encrypted_ids = {ids, len}};
        bool is_good = len % 32 == 0 && len < sizeof(ids);
        struct proxy_open_answer got;
        struct ipc_out out;
        struct ipc_in in;
        ipc_out_begin(&out, PROXY_JOB_DONE);
        proxy_put_opened(&out, &answer);
        carry(&out, &in);
        proxy_get_opened(&in, &got);
        assert_int_equal(ipc_in_end(&in), is_good ? ERR_OK : ERR_PEER_PROTOCOL);
        assert_true(!is_good || span_is_equal(got.encrypted_ids, answer.encrypted_ids));
        ipc_in_fini(&in);
    }
}

static void test_seal_round_trip(void **state)
{
    static const char keys[2][KEYRING_FPR_SIZE] = {"AAAA", "BBBB"};
    static const struct crypto_announced gossip[2] = {{"bob@example.org", "AAAA"}, {"carol@example.org", "BBBB"}};
    struct crypto_seal_request request = {.action = CRYPTO_SEAL_SIGN_ENCRYPT,
                                          .autocrypt = {"alice@example.org", "DDDD"},
                                          .is_mutual = true,
                                          .gossip = gossip,
                                          .gossip_len = 2,
                                          .format = KEYRING_OPENPGP,
                                          .signer = "CCCC",
                                          .recipients = keys,
                                          .recipients_len = 2,
                                          .wants_7bit = true,
                                          .subject_tag = "[encrypt]"};
    struct crypto_seal_request got;
    struct proxy_seal_lists lists;
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    ipc_out_begin(&out, PROXY_JOB_SEAL);
    proxy_put_seal(&out, &request);
    carry(&out, &in);
    assert_int_equal(proxy_get_seal(&in, &got, &lists), ERR_OK);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_int_equal(got.action, CRYPTO_SEAL_SIGN_ENCRYPT);
    assert_int_equal(got.format, KEYRING_OPENPGP);
    assert_string_equal(got.signer, "CCCC");
    assert_true(got.wants_7bit);
    assert_string_equal(got.subject_tag, "[encrypt]");
    assert_int_equal(got.recipients_len, 2);
    assert_string_equal(got.recipients[0], "AAAA");
    assert_string_equal(got.recipients[1], "BBBB");
    assert_string_equal(got.autocrypt.address, "alice@example.org");
    assert_string_equal(got.autocrypt.fingerprint, "DDDD");
    assert_true(got.is_mutual);
    assert_int_equal(got.gossip_len, 2);
    assert_string_equal(got.gossip[1].address, "carol@example.org");
    assert_string_equal(got.gossip[1].fingerprint, "BBBB");
    proxy_seal_lists_fini(&lists);
}

static void put_seal(struct ipc_out *out, uint32_t action, uint32_t format, uint32_t len, uint32_t put, uint32_t gossip)
{
    ipc_out_begin(out, PROXY_JOB_SEAL);
    ipc_put_u32(out, action);
    ipc_put_u32(out, format);
    ipc_put_string(out, "");
    ipc_put_u32(out, 0);
    ipc_put_string(out, "");
    ipc_put_string(out, "alice@example.org");
    ipc_put_string(out, "");
    ipc_put_u32(out, 0);
    ipc_put_u32(out, len);
    for (uint32_t i = 0; i < put; i++)
        ipc_put_string(out, "AAAA");
    ipc_put_u32(out, gossip);
}

/* What is not whole must come out as refusal: CRYPTO_SEAL_REFUSE, never as something to be sent. */
static void test_seal_malformed(void **state)
{
    const struct {
        uint32_t action, format, len, put;
        enum err expected;
        uint32_t gossip;
    } cases[] = {{CRYPTO_SEAL_PASS, 0, 0, 0, ERR_OK, 0},
                 {CRYPTO_SEAL_PASS + 1, 0, 0, 0, ERR_PEER_PROTOCOL, 0},
                 {CRYPTO_SEAL_ENCRYPT, 99, 1, 1, ERR_PEER_PROTOCOL, 0},
                 {CRYPTO_SEAL_ENCRYPT, KEYRING_OPENPGP, CRYPTO_RECIPIENTS_MAX + 2, 0, ERR_PEER_PROTOCOL, 0},
                 {CRYPTO_SEAL_ENCRYPT, KEYRING_OPENPGP, 2, 1, ERR_PEER_PROTOCOL, 0},
                 {CRYPTO_SEAL_ENCRYPT, KEYRING_OPENPGP, 1, 2, ERR_PEER_PROTOCOL, 0},
                 {CRYPTO_SEAL_ENCRYPT, KEYRING_OPENPGP, 1, 1, ERR_PEER_PROTOCOL, 1},
                 {CRYPTO_SEAL_ENCRYPT, KEYRING_OPENPGP, 1, 1, ERR_PEER_PROTOCOL, CRYPTO_GOSSIP_MAX + 1}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct crypto_seal_request got;
        struct proxy_seal_lists lists;
        struct ipc_out out;
        struct ipc_in in;
        put_seal(&out, cases[i].action, cases[i].format, cases[i].len, cases[i].put, cases[i].gossip);
        carry(&out, &in);
        enum err err = proxy_get_seal(&in, &got, &lists);
        if (err != ERR_OK)
            assert_int_equal(got.action, CRYPTO_SEAL_REFUSE);
        else
            err = ipc_in_end(&in);
        assert_int_equal(err, cases[i].expected);
        ipc_in_fini(&in);
        proxy_seal_lists_fini(&lists);
    }
}

static void test_delivery(void **state)
{
    struct store_delivery_key key = {.account = "alice@example.org", .message_id = "<1@x>"}, got;
    char account[MIME_ADDR_SIZE], message_id[CRYPTO_MESSAGE_ID_SIZE];
    struct ipc_out out;
    struct ipc_in in;
    (void)state;
    memset(key.digest, 0xa5, sizeof(key.digest));
    ipc_out_begin(&out, PROXY_DELIVERY_GET);
    proxy_put_delivery(&out, &key);
    carry(&out, &in);
    proxy_get_delivery(&in, account, message_id, &got);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_string_equal(got.account, key.account);
    assert_string_equal(got.message_id, key.message_id);
    assert_memory_equal(got.digest, key.digest, sizeof(key.digest));

    ipc_out_begin(&out, PROXY_DELIVERY_GET);
    ipc_put_string(&out, "a");
    ipc_put_string(&out, "b");
    ipc_put_string(&out, "no digest");
    carry(&out, &in);
    proxy_get_delivery(&in, account, message_id, &got);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
}

static size_t carry_tellers(const struct keyring_teller *tellers, size_t len, struct keyring_teller *got, enum err *err)
{
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, 1);
    proxy_put_tellers(&out, tellers, len);
    carry(&out, &in);
    const size_t got_len = proxy_get_tellers(&in, got);
    *err = ipc_in_end(&in);
    ipc_in_fini(&in);
    return got_len;
}

static void test_tellers(void **state)
{
    static struct keyring_teller many[KEYRING_TELLERS_MAX + 1], got[KEYRING_TELLERS_MAX];
    struct keyring_teller tellers[] = {{KEYRING_SOURCE_DIRECTORY, "corp", true, 86400},
                                       {KEYRING_SOURCE_AUTOCRYPT, "", false, 0}};
    enum err err;
    (void)state;
    assert_int_equal(carry_tellers(tellers, 2, got, &err), 2);
    assert_int_equal(err, ERR_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(got[i].source, tellers[i].source);
        assert_string_equal(got[i].title, tellers[i].title);
        assert_int_equal(got[i].is_believed, tellers[i].is_believed);
        assert_int_equal(got[i].seconds, tellers[i].seconds);
    }
    assert_int_equal(carry_tellers(tellers, 0, got, &err), 0);
    assert_int_equal(err, ERR_OK);
    memset(many, 0, sizeof(many));
    assert_int_equal(carry_tellers(many, KEYRING_TELLERS_MAX, got, &err), KEYRING_TELLERS_MAX);
    assert_int_equal(err, ERR_OK);
    assert_int_equal(carry_tellers(many, KEYRING_TELLERS_MAX + 1, got, &err), 0);
    assert_int_equal(err, ERR_PEER_PROTOCOL);
    tellers[1].source = KEYRING_SOURCE_COUNT;
    assert_int_equal(carry_tellers(tellers, 2, got, &err), 0);
    assert_int_equal(err, ERR_PEER_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setup_round_trip),  cmocka_unit_test(test_full_setup_fits),
        cmocka_unit_test(test_setup_malformed),   cmocka_unit_test(test_facts_round_trip),
        cmocka_unit_test(test_facts_malformed),   cmocka_unit_test(test_seal_round_trip),
        cmocka_unit_test(test_seal_malformed),    cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_opened_round_trip), cmocka_unit_test(test_tellers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
