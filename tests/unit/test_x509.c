/* Certificates judged: chains, usage, strength, time, addresses. */
#include "tests/unit/x509_made.h"

#include <sys/stat.h>

#define CA "critical,CA:TRUE"
#define CA_USAGE "critical,keyCertSign,cRLSign"
#define ALICE "email:alice@example.org"
#define YEAR (365 * MADE_DAY)

/* A chain of up to three below or at the anchor; what must come of it. */
struct row {
    const char *what;
    struct made_wish root, middle, leaf; /* a middle without a name: the root signs the leaf */
    int64_t at;                          /* 0: MADE_NOW */
    enum keyring_chain expected;
    enum keyring_purpose purpose;
    bool lacks_middle; /* it is not among the certificates beside the signature */
    bool lacks_anchor; /* another one is trusted */
};

#define ROOT                                                                                                           \
    {                                                                                                                  \
        .name = "Root", .basic = CA, .usage = CA_USAGE                                                                 \
    }
#define MIDDLE                                                                                                         \
    {                                                                                                                  \
        .name = "Middle", .basic = CA, .usage = CA_USAGE                                                               \
    }
#define LEAF                                                                                                           \
    {                                                                                                                  \
        .name = "Alice", .san = ALICE, .usage = "critical,digitalSignature"                                            \
    }

static const struct row rows[] = {
    {"below the root", ROOT, {.name = NULL}, LEAF, 0, KEYRING_CHAIN_GOOD, KEYRING_SIGN, false, false},
    {"below an intermediate", ROOT, MIDDLE, LEAF, 0, KEYRING_CHAIN_GOOD, KEYRING_SIGN, false, false},
    {"intermediate missing", ROOT, MIDDLE, LEAF, 0, KEYRING_CHAIN_UNTRUSTED, KEYRING_SIGN, true, false},
    {"another anchor", ROOT, {.name = NULL}, LEAF, 0, KEYRING_CHAIN_UNTRUSTED, KEYRING_SIGN, false, true},
    {"leaf expired",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .from_s = -2 * YEAR, .till_s = -1},
     0,
     KEYRING_CHAIN_EXPIRED,
     KEYRING_SIGN,
     false,
     false},
    {"leaf expired, judged as of then",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .from_s = -2 * YEAR, .till_s = -1},
     MADE_NOW - MADE_DAY,
     KEYRING_CHAIN_GOOD,
     KEYRING_SIGN,
     false,
     false},
    {"leaf not valid yet",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .from_s = 10, .till_s = YEAR},
     0,
     KEYRING_CHAIN_EXPIRED,
     KEYRING_SIGN,
     false,
     false},
    {"root expired",
     {.name = "Root", .basic = CA, .usage = CA_USAGE, .from_s = -YEAR, .till_s = -1},
     {.name = NULL},
     LEAF,
     0,
     KEYRING_CHAIN_EXPIRED,
     KEYRING_SIGN,
     false,
     false},
    {"intermediate expired",
     ROOT,
     {.name = "Middle", .basic = CA, .usage = CA_USAGE, .from_s = -YEAR, .till_s = -1},
     LEAF,
     0,
     KEYRING_CHAIN_EXPIRED,
     KEYRING_SIGN,
     false,
     false},
    {"intermediate that is no CA",
     ROOT,
     {.name = "Middle", .san = "email:bob@example.org", .basic = "CA:FALSE"},
     LEAF,
     0,
     KEYRING_CHAIN_UNTRUSTED,
     KEYRING_SIGN,
     false,
     false},
    {"intermediate that may not sign certificates",
     ROOT,
     {.name = "Middle", .basic = CA, .usage = "critical,digitalSignature"},
     LEAF,
     0,
     KEYRING_CHAIN_UNTRUSTED,
     KEYRING_SIGN,
     false,
     false},
    {"path too long",
     {.name = "Root", .basic = "critical,CA:TRUE,pathlen:0", .usage = CA_USAGE},
     MIDDLE,
     LEAF,
     0,
     KEYRING_CHAIN_UNTRUSTED,
     KEYRING_SIGN,
     false,
     false},
    {"name constraints kept",
     {.name = "Root", .basic = CA, .usage = CA_USAGE, .names = "critical,permitted;email:example.org"},
     {.name = NULL},
     LEAF,
     0,
     KEYRING_CHAIN_GOOD,
     KEYRING_SIGN,
     false,
     false},
    {"name constraints violated",
     ROOT,
     {.name = "Middle", .basic = CA, .usage = CA_USAGE, .names = "critical,permitted;email:example.net"},
     LEAF,
     0,
     KEYRING_CHAIN_UNTRUSTED,
     KEYRING_SIGN,
     false,
     false},
    {"name excluded",
     ROOT,
     {.name = "Middle", .basic = CA, .usage = CA_USAGE, .names = "critical,excluded;email:example.org"},
     LEAF,
     0,
     KEYRING_CHAIN_UNTRUSTED,
     KEYRING_SIGN,
     false,
     false},
    {"leaf for encipherment, signing",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .usage = "critical,keyEncipherment"},
     0,
     KEYRING_CHAIN_UNFIT,
     KEYRING_SIGN,
     false,
     false},
    {"leaf for encipherment, encrypting",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .usage = "critical,keyEncipherment"},
     0,
     KEYRING_CHAIN_GOOD,
     KEYRING_ENCRYPT,
     false,
     false},
    {"leaf for web servers",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .extended = "serverAuth"},
     0,
     KEYRING_CHAIN_UNFIT,
     KEYRING_SIGN,
     false,
     false},
    {"leaf for mail",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .extended = "emailProtection"},
     0,
     KEYRING_CHAIN_GOOD,
     KEYRING_SIGN,
     false,
     false},
    {"leaf signed with SHA-1",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .hash = "SHA1"},
     0,
     KEYRING_CHAIN_WEAK,
     KEYRING_SIGN,
     false,
     false},
    {"leaf of 1024 bits",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .rsa_bits = 1024},
     0,
     KEYRING_CHAIN_WEAK,
     KEYRING_SIGN,
     false,
     false},
    {"leaf of 2048 bits",
     ROOT,
     {.name = NULL},
     {.name = "A", .san = ALICE, .rsa_bits = 2048},
     0,
     KEYRING_CHAIN_GOOD,
     KEYRING_SIGN,
     false,
     false},
    {"intermediate of 1024 bits",
     ROOT,
     {.name = "Middle", .basic = CA, .usage = CA_USAGE, .rsa_bits = 1024},
     LEAF,
     0,
     KEYRING_CHAIN_WEAK,
     KEYRING_SIGN,
     false,
     false},
    {"root signed with SHA-1, which nobody relies on",
     {.name = "Root", .basic = CA, .usage = CA_USAGE, .hash = "SHA1"},
     {.name = NULL},
     LEAF,
     0,
     KEYRING_CHAIN_GOOD,
     KEYRING_SIGN,
     false,
     false},
};

static void check_row(const struct row *row)
{
    struct made root = made_certificate(&row->root, NULL), other = made_certificate(&row->root, NULL), middle = {0};
    if (row->middle.name != NULL)
        middle = made_certificate(&row->middle, &root);
    struct made leaf = made_certificate(&row->leaf, row->middle.name != NULL ? &middle : &root);
    STACK_OF(X509) *others = sk_X509_new_null();
    enum keyring_chain chain;
    const char *reason;
    char path[64];
    if (row->middle.name != NULL && !row->lacks_middle)
        assert_true(sk_X509_push(others, middle.certificate) > 0);
    /* A root beside the signature is believed nothing. */
    assert_true(sk_X509_push(others, root.certificate) > 0);
    struct keyring_anchors *anchors = made_anchors(row->lacks_anchor ? other.certificate : root.certificate, path);
    assert_int_equal(keyring_x509_judge(anchors, leaf.certificate, others, row->purpose,
                                        row->at == 0 ? MADE_NOW : row->at, &chain, &reason),
                     ERR_OK);
    if (chain != row->expected)
        fail_msg("%s: %d, expected %d (%s)", row->what, chain, row->expected, reason);
    keyring_anchors_close(&anchors);
    assert_int_equal(unlink(path), 0);
    sk_X509_free(others);
    made_free(&root);
    made_free(&other);
    made_free(&middle);
    made_free(&leaf);
}

static void chains_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

static void leaf_may_be_its_own_anchor(void **state)
{
    (void)state;
    const struct made_wish wish = {.name = "Alice", .san = ALICE};
    struct made leaf = made_certificate(&wish, NULL);
    enum keyring_chain chain;
    const char *reason;
    char path[64];
    struct keyring_anchors *anchors = made_anchors(leaf.certificate, path), *none;
    assert_int_equal(keyring_x509_judge(anchors, leaf.certificate, NULL, KEYRING_SIGN, MADE_NOW, &chain, &reason),
                     ERR_OK);
    assert_int_equal(chain, KEYRING_CHAIN_GOOD);
    keyring_anchors_close(&anchors);
    assert_int_equal(keyring_anchors_open("", &none), ERR_OK);
    assert_int_equal(keyring_x509_judge(none, leaf.certificate, NULL, KEYRING_SIGN, MADE_NOW, &chain, &reason), ERR_OK);
    assert_int_equal(chain, KEYRING_CHAIN_UNTRUSTED);
    keyring_anchors_close(&none);
    assert_int_equal(unlink(path), 0);
    made_free(&leaf);
}

/* "a@x,b@y" in the order of the index; "" if there is an entry without an address alone. */
static void assert_addresses(const struct made_wish *wish, const char *expected)
{
    struct made made = made_certificate(wish, NULL);
    struct keyring *keyring;
    char found[1024] = "";
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_x509_add(made.certificate, KEYRING_FULL, keyring), ERR_OK);
    for (size_t i = 0; i < keyring_len(keyring); i++) {
        const struct keyring_entry *entry = keyring_at(keyring, i);
        size_t len = strlen(found);
        (void)snprintf(found + len, sizeof found - len, "%s%s", i > 0 ? "," : "", entry->address);
        assert_int_equal(entry->format, KEYRING_SMIME);
        assert_int_equal(entry->trust, KEYRING_FULL);
        assert_int_equal(strlen(entry->fingerprint), 64);
        assert_int_equal(entry->expires, MADE_NOW + YEAR);
    }
    assert_string_equal(found, expected);
    keyring_free(&keyring);
    made_free(&made);
}

static void addresses_are_found(void **state)
{
    (void)state;
    assert_addresses(&(struct made_wish){.name = "A", .san = ALICE}, "alice@example.org");
    assert_addresses(&(struct made_wish){.name = "A", .san = "email:b@example.org,email:a@Example.ORG,DNS:example.org"},
                     "a@example.org,b@example.org");
    assert_addresses(&(struct made_wish){.name = "A", .email = "alice@example.org"}, "alice@example.org");
    /* The subject's counts only where there is no other. */
    assert_addresses(&(struct made_wish){.name = "A", .email = "mallory@example.org", .san = ALICE},
                     "alice@example.org");
    assert_addresses(&(struct made_wish){.name = "A", .email = "mallory@example.org", .san = "email:not an address"},
                     "");
    assert_addresses(&(struct made_wish){.name = "A", .email = "alice@example.org", .san = "DNS:example.org"},
                     "alice@example.org");
    assert_addresses(&(struct made_wish){.name = "A", .san = "otherName:1.3.6.1.5.5.7.8.9;UTF8:joerg@example.org"},
                     "joerg@example.org");
    assert_addresses(&(struct made_wish){.name = "A"}, "");
}

static void anchors_are_read(void **state)
{
    (void)state;
    const struct made_wish wish = {.name = "Alice", .san = ALICE};
    struct made leaf = made_certificate(&wish, NULL);
    struct keyring_anchors *anchors;
    enum keyring_chain chain;
    const char *reason;
    char folder[64] = "/tmp/privyseal-anchors-XXXXXX", der[96], junk[96];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(der, sizeof der, "%s/a.der", folder);
    (void)snprintf(junk, sizeof junk, "%s/junk.txt", folder);
    FILE *file = fopen(der, "w");
    assert_non_null(file);
    assert_int_equal(i2d_X509_fp(file, leaf.certificate), 1);
    assert_int_equal(fclose(file), 0);
    file = fopen(junk, "w");
    assert_non_null(file);
    assert_true(fputs("no certificate\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(keyring_anchors_open(folder, &anchors), ERR_OK);
    assert_int_equal(keyring_x509_judge(anchors, leaf.certificate, NULL, KEYRING_SIGN, MADE_NOW, &chain, &reason),
                     ERR_OK);
    assert_int_equal(chain, KEYRING_CHAIN_GOOD);
    keyring_anchors_close(&anchors);
    assert_int_equal(keyring_anchors_open(junk, &anchors), ERR_MALFORMED);
    assert_null(anchors);
    assert_int_equal(keyring_anchors_open("/nonexistent/anchors", &anchors), ERR_IO);
    assert_int_equal(unlink(der), 0);
    assert_int_equal(unlink(junk), 0);
    assert_int_equal(rmdir(folder), 0);
    made_free(&leaf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_judged),
        cmocka_unit_test(leaf_may_be_its_own_anchor),
        cmocka_unit_test(addresses_are_found),
        cmocka_unit_test(anchors_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
