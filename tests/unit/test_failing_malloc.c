/* Parsers and builders without memory: an error each time, nothing kept, and never an answer that would let a message
   leave less protected than it should. */
#include "tests/unit/failing_malloc.h"

#include "crypto/inspect.h"
#include "crypto/open_header.h"
#include "crypto/protect.h"
#include "crypto/seal.h"
#include "mime/transfer.h"
#include "policy/plan.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MESSAGE                                                                                                        \
    "From: \"A, B\" <alice@example.org>\r\nTo: g: bob@example.org, =?utf-8?q?C?= <carol@example.org>;\r\n"             \
    "Subject: =?utf-8?b?W2VuY3J5cHRd?= plans\r\nSensitivity: none\r\nMIME-Version: 1.0\r\n"                            \
    "Content-Type: multipart/mixed; boundary*0=\"b\"; boundary*1=c\r\n\r\n"                                            \
    "--bc\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xc3\xa9\r\n"        \
    "--bc\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n\xe2\x82\xac\r\n--bc--\r\n"

static bool parse(void *context)
{
    struct mime_tree *tree = NULL;
    enum err result = mime_parse(SPAN_LIT(MESSAGE), MIME_LIMITS_DEFAULT, &tree);
    size_t parts = tree == NULL ? 0 : tree->parts_len;

    (void)context;
    mime_tree_free(&tree);
    assert_true(result == ERR_OK || result == ERR_MEMORY);
    assert_true(result != ERR_OK || parts == 4);
    return result == ERR_OK;
}

static bool inspect(void *context)
{
    static const char *const recipients[] = {"bob@example.org", "dave@example.org"};
    struct crypto_inspect_options options = {"[encrypt]", recipients, 2};
    struct crypto_facts facts;
    bool is_visible[2];
    enum err result = crypto_inspect(SPAN_LIT(MESSAGE), &options, &facts, is_visible);

    (void)context;
    if (result != ERR_OK)
        return false;
    assert_true(facts.wants_encryption);
    assert_int_equal(facts.sealed, CRYPTO_NOT_SEALED);
    assert_false(is_visible[1]);
    assert_true(facts.from[0] == '\0' || strcmp(facts.from, "alice@example.org") == 0);
    return facts.from[0] != '\0' && is_visible[0];
}

static bool seal_plain(void *context)
{
    struct crypto_seal_request request = {
        .action = CRYPTO_SEAL_PLAIN, .wants_7bit = true, .subject_tag = "[encrypt]", .output_max = 65536};
    struct crypto_seal_result sealed;
    int fd = memfd_create("sealed", MFD_CLOEXEC);
    enum err result = crypto_seal(NULL, &request, SPAN_LIT(MESSAGE), fd, &sealed);

    (void)context;
    close(fd);
    assert_true(result != ERR_OK || !sealed.is_8bit);
    return result == ERR_OK;
}

static bool protect(void *context)
{
    struct mime_tree *tree = context;
    struct span header = mime_part_header(tree->root, SPAN_LIT(MESSAGE));
    struct buf outer, inner;
    bool is_right;

    buf_init(&outer, CRYPTO_HEADER_MAX);
    buf_init(&inner, CRYPTO_HEADER_MAX);
    is_right =
        crypto_protect_outer(header, CRYPTO_PROTECT_CIPHER, "[encrypt]", &outer) == ERR_OK &&
        crypto_protect_inner(header, tree->root, MIME_7BIT, CRYPTO_PROTECT_CIPHER, "[encrypt]", &inner) == ERR_OK;
    if (is_right) {
        assert_int_equal(span_find(buf_span(&outer), 0, SPAN_LIT("plans")), SIZE_MAX);
        assert_int_not_equal(span_find(buf_span(&inner), 0, SPAN_LIT("hp=\"cipher\"")), SIZE_MAX);
    }
    buf_fini(&outer);
    buf_fini(&inner);
    return is_right;
}

static bool transfer(void *context)
{
    struct mime_tree *tree = context;
    struct mime_pieces pieces;
    enum mime_encoding encoding;
    unsigned flags;
    enum err result;

    mime_pieces_init(&pieces);
    result = mime_transfer_body(tree->root, SPAN_LIT(MESSAGE), MIME_SAFE_SIGN, &pieces, &encoding, &flags);
    mime_pieces_fini(&pieces);
    return result == ERR_OK;
}

static bool merge(void *context)
{
    struct crypto_header_merge merge = {
        .outer = SPAN_LIT("From: a@example.org\r\nSubject: [...]\r\nPrivyseal-Verdict: forged\r\n\r\n"),
        .inner = SPAN_LIT("From: a@example.org\r\nSubject: x\r\nContent-Type: text/plain; hp=\"cipher\"\r\n\r\n"),
        .protection = CRYPTO_HEADER_RFC9788,
        .authserv_id = "me.example"};
    struct buf out;
    bool is_right;

    (void)context;
    buf_init_secret(&out, 65536);
    is_right =
        crypto_header_merge(&merge, &out) == ERR_OK && crypto_header_add_structural(merge.inner, true, &out) == ERR_OK;
    if (is_right)
        assert_string_equal(out.data,
                            "From: a@example.org\r\nSubject: x\r\nContent-Type: text/plain\r\nMIME-Version: 1.0\r\n");
    buf_fini(&out);
    return is_right;
}

static void add_key(struct keyring *keyring, const char *address, unsigned number)
{
    struct keyring_entry entry = {.format = KEYRING_OPENPGP, .trust = KEYRING_FULL, .created = 1};

    snprintf(entry.address, sizeof(entry.address), "%s", address);
    snprintf(entry.fingerprint, sizeof(entry.fingerprint), "%040X", number);
    assert_int_equal(keyring_add(keyring, &entry), ERR_OK);
}

static bool plan(void *context)
{
    static char name[] = "all";
    static struct policy_rule rule = {.name = name,
                                      .encrypt = POLICY_ENCRYPT_REQUIRED,
                                      .sign = POLICY_SIGN_NEVER,
                                      .formats = {KEYRING_OPENPGP},
                                      .formats_len = 1};
    static const struct policy_recipient recipients[] = {{.address = "bob@example.org", .is_visible = true},
                                                         {.address = "carol@example.org"},
                                                         {.address = "dave@example.org", .is_visible = true}};
    const struct policy policy = {.rules = &rule, .rules_len = 1};
    const struct policy_message message = {
        .recipients = recipients, .recipients_len = 3, .from = "", .now = 100, .groups_max = 9};
    char detail[POLICY_DETAIL_SIZE];
    struct policy_plan made;
    enum err result = policy_plan_make(&policy, context, &message, &made, detail);

    assert_int_equal(made.groups_len, result == ERR_OK ? 2 : 0);
    policy_plan_fini(&made);
    return result == ERR_OK;
}

static bool save_and_load(void *context)
{
    struct keyring *loaded = NULL;
    struct buf saved;
    bool is_right;

    buf_init(&saved, 65536);
    is_right = keyring_save(context, &saved) == ERR_OK && keyring_load(buf_span(&saved), &loaded) == ERR_OK;
    assert_true(is_right || loaded == NULL);
    assert_true(!is_right || keyring_len(loaded) == 3);
    keyring_free(&loaded);
    buf_fini(&saved);
    return is_right;
}

static void test_messages(void **state)
{
    struct mime_tree *tree = NULL;

    (void)state;
    failing_malloc_run(parse, NULL);
    failing_malloc_run(inspect, NULL);
    failing_malloc_run(seal_plain, NULL);
    failing_malloc_run(merge, NULL);
    assert_int_equal(mime_parse(SPAN_LIT(MESSAGE), MIME_LIMITS_DEFAULT, &tree), ERR_OK);
    failing_malloc_run(protect, tree);
    failing_malloc_run(transfer, tree);
    mime_tree_free(&tree);
}

static void test_keys_and_plans(void **state)
{
    struct keyring *keyring;

    (void)state;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    add_key(keyring, "bob@example.org", 1);
    add_key(keyring, "carol@example.org", 2);
    add_key(keyring, "dave@example.org", 3);
    failing_malloc_run(plan, keyring);
    failing_malloc_run(save_and_load, keyring);
    keyring_free(&keyring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_keys_and_plans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
