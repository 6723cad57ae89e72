/* Certificates: anchors, and the addresses that one names. What chains are worth: test_x509_chains.c. */
#include "tests/unit/x509_made.h"

#include <sys/stat.h>

#define ALICE "email:alice@example.org"
#define YEAR (365 * MADE_DAY)

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

/* "a@x,b@y" in the order of the index; "" if there is an entry without an address alone. Takes `made` over. */
static void assert_addresses_of(struct made made, const char *expected)
{
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

static void assert_addresses(const struct made_wish *wish, const char *expected)
{
    assert_addresses_of(made_certificate(wish, NULL), expected);
}

/* With this as its SmtpUTF8Mailbox. */
static void assert_mailbox(const char *mailbox, const char *expected)
{
    struct made made = made_certificate(&(struct made_wish){.name = "A"}, NULL);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_TYPE *value = ASN1_TYPE_new();
    ASN1_UTF8STRING *text = ASN1_UTF8STRING_new();
    assert_int_equal(ASN1_STRING_set(text, mailbox, -1), 1);
    ASN1_TYPE_set(value, V_ASN1_UTF8STRING, text);
    assert_int_equal(GENERAL_NAME_set0_othername(name, OBJ_nid2obj(NID_id_on_SmtpUTF8Mailbox), value), 1);
    assert_true(sk_GENERAL_NAME_push(names, name) > 0);
    assert_int_equal(X509_add1_ext_i2d(made.certificate, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
    assert_addresses_of(made, expected);
}

/* The domain that an issuer may not name, in a form that its name constraints do not see. */
static void what_constraints_do_not_see_is_no_address(void **state)
{
    (void)state;
    static const char *const sans[] = {"email:bob@\xef\xbd\x85xample.org", "email:bob@ex\xc2\xad\x61mple.org",
                                       "email:bob@example\xe3\x80\x82org", "email:\"bob\"@example.org"};
    const struct made_wish ca = {.name = "Root", .basic = "critical,CA:TRUE"};
    const struct made_wish ca2 = {
        .name = "Middle", .basic = "critical,CA:TRUE", .names = "critical,excluded;email:example.org"};
    struct made root = made_certificate(&ca, NULL), middle = made_certificate(&ca2, &root);
    STACK_OF(X509) *others = sk_X509_new_null();
    enum keyring_chain chain;
    const char *reason;
    char path[64];
    struct keyring_anchors *anchors = made_anchors(root.certificate, path);
    assert_true(sk_X509_push(others, middle.certificate) > 0);
    for (size_t i = 0; i < sizeof sans / sizeof *sans; i++) {
        struct made leaf = made_certificate(&(struct made_wish){.name = "Bob", .san = sans[i]}, &middle);
        assert_int_equal(keyring_x509_judge(anchors, leaf.certificate, others, KEYRING_SIGN, MADE_NOW, &chain, &reason),
                         ERR_OK);
        assert_int_equal(chain, i < 3 ? KEYRING_CHAIN_GOOD : KEYRING_CHAIN_UNTRUSTED);
        made_free(&leaf);
        assert_addresses(&(struct made_wish){.name = "Bob", .san = sans[i]}, "");
        assert_mailbox(sans[i] + strlen("email:"), "");
    }
    assert_mailbox("bob@example.org", "bob@example.org");
    assert_mailbox("j\xc3\xb6rg@b\xc3\xbc"
                   "cher.example",
                   "j\xc3\xb6rg@xn--bcher-kva.example");
    keyring_anchors_close(&anchors);
    assert_int_equal(unlink(path), 0);
    sk_X509_free(others);
    made_free(&middle);
    made_free(&root);
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
    /* Twice the same is once. */
    assert_addresses(&(struct made_wish){.name = "A", .san = "email:a@example.org,email:a@EXAMPLE.org"},
                     "a@example.org");
    assert_addresses(
        &(struct made_wish){.name = "A", .san = "email:a@example.org,otherName:1.3.6.1.5.5.7.8.9;UTF8:a@example.org"},
        "a@example.org");
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
        cmocka_unit_test(leaf_may_be_its_own_anchor),
        cmocka_unit_test(addresses_are_found),
        cmocka_unit_test(what_constraints_do_not_see_is_no_address),
        cmocka_unit_test(anchors_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
