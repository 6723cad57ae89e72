/* What chains of certificates are worth: each row is a hierarchy, and the verdict that it must get. */
#include "tests/unit/x509_made.h"

#define CERTIFICATES_MAX 6
#define YEAR (365 * MADE_DAY)

/* Certificates from the anchor down to the leaf, which is the last; all but the anchors and the leaf lie beside the
   signature. Bits are 1 << index. */
struct row {
    const char *what;
    struct made_wish certificates[CERTIFICATES_MAX]; /* up to one without a name */
    enum keyring_chain expected;
    bool encrypts;             /* else it signs */
    int64_t at;                /* seconds from MADE_NOW */
    int by[CERTIFICATES_MAX];  /* 1 + index of its issuer, which may come later; 0: the one before, the first: itself */
    int key[CERTIFICATES_MAX]; /* 1 + index of an earlier one that has the same key; 0: a key of its own */
    unsigned anchors;          /* bits; 0: the first */
    unsigned lost;             /* bits: not to be found */
    int path;                  /* 0: any; else how long the path must be */
};

#define GOOD KEYRING_CHAIN_GOOD
#define UNTRUSTED KEYRING_CHAIN_UNTRUSTED
#define UNFIT KEYRING_CHAIN_UNFIT
#define WEAK KEYRING_CHAIN_WEAK
#define EXPIRED KEYRING_CHAIN_EXPIRED

/* An issuer, a leaf, a leaf with a usage, each with more of a row's own. */
#define CA(NAME, ...)                                                                                                  \
    {                                                                                                                  \
        .name = NAME, .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign", __VA_ARGS__                \
    }
#define SHORT(NAME, LENGTH)                                                                                            \
    {                                                                                                                  \
        .name = (NAME), .basic = "critical,CA:TRUE,pathlen:" LENGTH, .usage = "critical,keyCertSign"                   \
    }
#define LEAF(...)                                                                                                      \
    {                                                                                                                  \
        .name = "Alice", .san = "email:alice@example.org", __VA_ARGS__                                                 \
    }
#define ROOT CA("Root", )
#define MIDDLE CA("Middle", )
#define PAST .from_s = -2 * YEAR, .till_s = -1
#define FUTURE .from_s = 10, .till_s = YEAR

/* clang-format off */
static const struct row rows[] = {
    /* paths */
    {.what = "below the root", {ROOT, LEAF()}, GOOD, .path = 2},
    {.what = "below an intermediate", {ROOT, MIDDLE, LEAF()}, GOOD, .path = 3},
    {.what = "below two", {ROOT, MIDDLE, CA("Low", ), LEAF()}, GOOD, .path = 4},
    {.what = "below three", {ROOT, MIDDLE, CA("Low", ), CA("Lower", ), LEAF()}, GOOD, .path = 5},
    {.what = "intermediate missing", {ROOT, MIDDLE, LEAF()}, UNTRUSTED, .lost = 2},
    {.what = "upper of two intermediates missing", {ROOT, MIDDLE, CA("Low", ), LEAF()}, UNTRUSTED, .lost = 2},
    {.what = "another anchor", {ROOT, CA("Other", ), LEAF()}, UNTRUSTED, .by = {0, 2, 2}},
    {.what = "a root beside the signature is believed nothing", {CA("Other", ), ROOT, LEAF()}, UNTRUSTED, .by = {0, 2,
     2}},
    {.what = "no anchor of that name, none at all beside", {CA("Other", ), ROOT, LEAF()}, UNTRUSTED, .by = {0, 2, 2},
     .lost = 2},
    {.what = "an intermediate as the anchor", {ROOT, MIDDLE, LEAF()}, GOOD, .anchors = 2, .path = 2},
    {.what = "an intermediate as the anchor, its root unknown", {ROOT, MIDDLE, LEAF()}, GOOD, .anchors = 2, .lost = 1,
     .path = 2},
    {.what = "leaf as its own anchor", {LEAF()}, GOOD, .path = 1},
    {.what = "leaf as its own anchor, expired", {LEAF(PAST)}, EXPIRED},
    {.what = "leaf as an anchor, signed by somebody", {ROOT, LEAF()}, GOOD, .anchors = 2, .lost = 1, .path = 1},
    {.what = "leaf signed by itself, no anchor", {ROOT, LEAF()}, UNTRUSTED, .by = {0, 2}},
    {.what = "leaf with the name of the root, signed by itself", {ROOT, {.name = "Root",
     .san = "email:a@example.org"}}, UNTRUSTED,
     .by = {0, 2}},
    {.what = "forged: a root of that name, with another key", {ROOT, ROOT, LEAF()}, UNTRUSTED, .by = {0, 2, 2}},
    {.what = "forged, with another key and no key identifiers", {CA("Root", .has_no_ids = true), CA("Root",
     .has_no_ids = true),
     LEAF(.has_no_ids = true)}, UNTRUSTED, .by = {0, 2, 2}},
    {.what = "forged below an expired root", {CA("Root", .has_no_ids = true, PAST), CA("Root", .has_no_ids = true),
     LEAF(.has_no_ids = true)}, UNTRUSTED, .by = {0, 2, 2}},
    {.what = "forged below a weak root", {CA("Root", .has_no_ids = true, .rsa_bits = 1024), CA("Root",
     .has_no_ids = true),
     LEAF(.has_no_ids = true)}, UNTRUSTED, .by = {0, 2, 2}},
    {.what = "issuer named by key identifier is another", {ROOT, MIDDLE, LEAF(.has_wrong_issuer = true)}, UNTRUSTED},
    {.what = "no key identifiers", {CA("Root", .has_no_ids = true), LEAF(.has_no_ids = true)}, GOOD},
    {.what = "two anchors of one name, the first", {CA("Root", .has_no_ids = true), CA("Root", .has_no_ids = true),
     LEAF(.has_no_ids = true)}, GOOD, .by = {0, 2, 1}, .anchors = 3, .path = 2},
    {.what = "two anchors of one name, the second", {CA("Root", .has_no_ids = true), CA("Root", .has_no_ids = true),
     LEAF(.has_no_ids = true)}, GOOD, .by = {0, 2, 2}, .anchors = 3, .path = 2},
    {.what = "two anchors of one name, told apart by identifier", {ROOT, ROOT, LEAF()}, GOOD, .by = {0, 2, 2},
     .anchors = 3},

    /* several paths: Middle is signed by Root and, with the same name and key, by others */
    {.what = "cross-signed by a stranger", {ROOT, CA("Stranger", ), MIDDLE, MIDDLE, LEAF()}, GOOD, .by = {0, 2, 2, 1,
     3},
     .key = {0, 0, 0, 3}, .path = 3},
    {.what = "cross-signed, the one expired", {ROOT, CA("Middle", PAST), MIDDLE, LEAF()}, GOOD, .by = {0, 1, 1},
     .key = {0, 0, 2}},
    {.what = "cross-signed, the one not for mail", {ROOT, CA("Middle", .extended = "serverAuth"), MIDDLE, LEAF()}, GOOD,
     .by = {0, 1, 1}, .key = {0, 0, 2}, .path = 3},
    {.what = "cross-signed, the other not for mail", {ROOT, MIDDLE, CA("Middle", .extended = "serverAuth"), LEAF()},
     GOOD,
     .by = {0, 1, 1}, .key = {0, 0, 2}},
    {.what = "cross-signed, the one for other names", {ROOT, CA("Middle",
     .names = "critical,permitted;email:example.net"), MIDDLE,
     LEAF()}, GOOD, .by = {0, 1, 1}, .key = {0, 0, 2}},
    {.what = "cross-signed, the one weak", {ROOT, CA("Middle", .hash = "SHA1"), MIDDLE, LEAF()}, GOOD, .by = {0, 1, 1},
     .key = {0, 0, 2}},
    {.what = "cross-signed with SHA-1 below an expired root", {CA("Old", PAST), ROOT, CA("Middle", .hash = "SHA1"),
     MIDDLE, LEAF()},
     GOOD, .by = {0, 2, 1, 2}, .key = {0, 0, 0, 3}, .anchors = 3},
    {.what = "cross-signed, both expired", {ROOT, CA("Middle", PAST), CA("Middle", PAST), LEAF()}, EXPIRED, .by = {0,
     1, 1},
     .key = {0, 0, 2}},
    {.what = "cross-signed, the one expired, the other leads nowhere", {ROOT, CA("Other", ), CA("Middle", PAST),
     MIDDLE, LEAF()},
     EXPIRED, .by = {0, 2, 1, 2}, .key = {0, 0, 0, 3}},
    {.what = "two that cross-signed each other, no anchor", {ROOT, CA("A", ), CA("B", ), CA("A", ), LEAF()}, UNTRUSTED,
     .by = {0, 2, 2, 3}, .key = {0, 0, 0, 2}},

    /* time */
    {.what = "leaf expired", {ROOT, LEAF(PAST)}, EXPIRED},
    {.what = "leaf expired, judged as of then", {ROOT, LEAF(PAST)}, GOOD, .at = -MADE_DAY},
    {.what = "leaf before its last second", {ROOT, LEAF(PAST)}, GOOD, .at = -2},
    {.what = "leaf before its first second", {ROOT, LEAF(FUTURE)}, EXPIRED, .at = 9},
    {.what = "leaf not valid yet", {ROOT, LEAF(FUTURE)}, EXPIRED},
    {.what = "leaf not valid yet, judged as of then", {ROOT, LEAF(FUTURE)}, GOOD, .at = MADE_DAY},
    {.what = "root expired", {CA("Root", PAST), LEAF()}, EXPIRED},
    {.what = "root expired, judged as of then", {CA("Root", PAST), LEAF()}, GOOD, .at = -MADE_DAY},
    {.what = "root not valid yet", {CA("Root", FUTURE), LEAF()}, EXPIRED},
    {.what = "intermediate expired", {ROOT, CA("Middle", PAST), LEAF()}, EXPIRED},
    {.what = "intermediate expired, judged as of then", {ROOT, CA("Middle", PAST), LEAF()}, GOOD, .at = -MADE_DAY},
    {.what = "intermediate not valid yet", {ROOT, CA("Middle", FUTURE), LEAF()}, EXPIRED},
    {.what = "all valid, judged before any was", {ROOT, MIDDLE, LEAF()}, EXPIRED, .at = -3 * YEAR},
    {.what = "expired and for web servers", {ROOT, LEAF(PAST, .extended = "serverAuth")}, UNFIT},
    {.what = "expired and weak", {ROOT, LEAF(PAST, .hash = "SHA1")}, WEAK},
    {.what = "expired, with a name that is excluded", {CA("Root", .names = "excluded;email:example.org"), LEAF(PAST)},
     UNTRUSTED},

    /* who may issue */
    {.what = "intermediate that is no CA", {ROOT, {.name = "Middle", .basic = "CA:FALSE"}, LEAF()}, UNTRUSTED},
    {.what = "intermediate that does not say it is a CA", {ROOT, {.name = "Middle"}, LEAF()}, UNTRUSTED},
    {.what = "another's leaf as an intermediate", {ROOT, {.name = "Bob", .san = "email:bob@example.org"}, LEAF()},
     UNTRUSTED},
    {.what = "intermediate that may not sign certificates", {ROOT, {.name = "Middle", .basic = "critical,CA:TRUE",
     .usage = "critical,digitalSignature"}, LEAF()}, UNTRUSTED},
    {.what = "intermediate without a usage", {ROOT, {.name = "Middle", .basic = "critical,CA:TRUE"}, LEAF()}, GOOD},
    {.what = "intermediate for web servers", {ROOT, CA("Middle", .extended = "serverAuth"), LEAF()}, UNTRUSTED},
    {.what = "intermediate for mail", {ROOT, CA("Middle", .extended = "emailProtection"), LEAF()}, GOOD},
    {.what = "intermediate for any purpose", {ROOT, CA("Middle", .extended = "anyExtendedKeyUsage"), LEAF()}, GOOD},
    {.what = "path too long for the root", {SHORT("Root", "0"), MIDDLE, LEAF()}, UNTRUSTED},
    {.what = "path as long as it may be", {SHORT("Root", "0"), LEAF()}, GOOD},
    {.what = "path too long for an intermediate", {ROOT, SHORT("Middle", "0"), CA("Low", ), LEAF()}, UNTRUSTED},
    {.what = "path as long as it may be, with intermediates", {SHORT("Root", "1"), SHORT("Middle", "0"), LEAF()}, GOOD},

    /* names */
    {.what = "name permitted", {CA("Root", .names = "critical,permitted;email:example.org"), LEAF()}, GOOD},
    {.what = "name permitted by mailbox", {CA("Root", .names = "critical,permitted;email:alice@example.org"), LEAF()},
     GOOD},
    {.what = "name not permitted", {ROOT, CA("Middle", .names = "critical,permitted;email:example.net"), LEAF()},
     UNTRUSTED},
    {.what = "name of a host below the permitted", {CA("Root", .names = "critical,permitted;email:example.org"),
     {.name = "A", .san = "email:a@host.example.org"}}, UNTRUSTED},
    {.what = "name of a host below a permitted domain", {CA("Root", .names = "critical,permitted;email:.example.org"),
     {.name = "A", .san = "email:a@host.example.org"}}, GOOD},
    {.what = "one of two names not permitted", {CA("Root", .names = "critical,permitted;email:example.org"),
     {.name = "A", .san = "email:a@example.org,email:a@example.net"}}, UNTRUSTED},
    {.what = "name excluded", {ROOT, CA("Middle", .names = "critical,excluded;email:example.org"), LEAF()}, UNTRUSTED},
    {.what = "another name excluded", {ROOT, CA("Middle", .names = "critical,excluded;email:example.net"), LEAF()},
     GOOD},
    {.what = "permitted above, excluded below", {CA("Root", .names = "critical,permitted;email:example.org"),
     CA("Middle", .names = "critical,excluded;email:alice@example.org"), LEAF()}, UNTRUSTED},
    {.what = "name in the subject alone, not permitted", {CA("Root", .names = "critical,permitted;email:example.net"),
     {.name = "A", .email = "a@example.org"}}, UNTRUSTED},
    {.what = "name in the subject alone, permitted", {CA("Root", .names = "critical,permitted;email:example.org"),
     {.name = "A", .email = "a@example.org"}}, GOOD},
    {.what = "international name, not permitted", {CA("Root", .names = "critical,permitted;email:example.net"),
     {.name = "A", .san = "otherName:1.3.6.1.5.5.7.8.9;UTF8:j\xc3\xb6rg@example.org"}}, UNTRUSTED},
    {.what = "international name, permitted", {CA("Root", .names = "critical,permitted;email:example.org"),
     {.name = "A", .san = "otherName:1.3.6.1.5.5.7.8.9;UTF8:j\xc3\xb6rg@example.org"}}, GOOD},

    /* policies */
    {.what = "policy demanded and there", {ROOT, CA("Middle", .policies = "1.2.3.4",
     .demand = "critical,requireExplicitPolicy:0"), LEAF(.policies = "1.2.3.4")}, GOOD},
    {.what = "policy demanded, the leaf has another", {ROOT, CA("Middle", .policies = "1.2.3.4",
     .demand = "critical,requireExplicitPolicy:0"), LEAF(.policies = "1.2.3.5")}, UNTRUSTED},
    {.what = "policy demanded, the leaf has none", {ROOT, CA("Middle", .policies = "1.2.3.4",
     .demand = "critical,requireExplicitPolicy:0"), LEAF()}, UNTRUSTED},
    {.what = "other policies, nobody demands one", {ROOT, CA("Middle", .policies = "1.2.3.4"),
     LEAF(.policies = "1.2.3.5")}, GOOD},
    {.what = "any policy will do", {ROOT, CA("Middle", .policies = "2.5.29.32.0",
     .demand = "critical,requireExplicitPolicy:0"),
     LEAF(.policies = "1.2.3.5")}, GOOD},
    {.what = "any policy inhibited", {ROOT, CA("Middle", .policies = "1.2.3.4",
     .demand = "critical,requireExplicitPolicy:0",
     .inhibit = "critical,0"), CA("Low", .policies = "2.5.29.32.0"), LEAF(.policies = "1.2.3.4")}, UNTRUSTED},

    /* what a leaf is for */
    {.what = "for encipherment, signing", {ROOT, LEAF(.usage = "critical,keyEncipherment")}, UNFIT},
    {.what = "for encipherment, encrypting", {ROOT, LEAF(.usage = "critical,keyEncipherment", .rsa_bits = 2048)}, GOOD,
     .encrypts = true},
    {.what = "for signatures, signing", {ROOT, LEAF(.usage = "critical,digitalSignature")}, GOOD},
    {.what = "for signatures, encrypting", {ROOT, LEAF(.usage = "critical,digitalSignature")}, UNFIT, .encrypts = true},
    {.what = "for non-repudiation, signing", {ROOT, LEAF(.usage = "critical,nonRepudiation")}, GOOD},
    {.what = "for certificates alone, signing", {ROOT, LEAF(.usage = "critical,keyCertSign")}, UNFIT},
    {.what = "for key agreement, encrypting", {ROOT, LEAF(.usage = "critical,keyAgreement")}, GOOD, .encrypts = true},
    {.what = "RSA for key agreement, encrypting", {ROOT, LEAF(.usage = "critical,keyAgreement", .rsa_bits = 2048)},
     UNFIT,
     .encrypts = true},
    {.what = "for web servers", {ROOT, LEAF(.extended = "serverAuth")}, UNFIT},
    {.what = "for mail", {ROOT, LEAF(.extended = "emailProtection")}, GOOD},
    {.what = "for mail and web clients, encrypting", {ROOT, LEAF(.extended = "clientAuth,emailProtection")}, GOOD,
     .encrypts = true},
    {.what = "for any purpose", {ROOT, LEAF(.extended = "anyExtendedKeyUsage")}, GOOD},
    {.what = "for any purpose, and encipherment, signing", {ROOT, LEAF(.extended = "anyExtendedKeyUsage",
     .usage = "critical,keyEncipherment")}, UNFIT},
    {.what = "unknown critical extension", {ROOT, LEAF(.has_unknown = true)}, UNTRUSTED},
    {.what = "unknown critical extension of an intermediate", {ROOT, CA("Middle", .has_unknown = true), LEAF()},
     UNTRUSTED},

    /* strength */
    {.what = "leaf signed with SHA-1", {ROOT, LEAF(.hash = "SHA1")}, WEAK},
    {.what = "leaf signed with MD5", {CA("Root", .rsa_bits = 2048), LEAF(.hash = "MD5")}, WEAK},
    {.what = "leaf signed with SHA-224", {ROOT, LEAF(.hash = "SHA224")}, GOOD},
    {.what = "intermediate signed with SHA-1", {ROOT, CA("Middle", .hash = "SHA1"), LEAF()}, WEAK},
    {.what = "root signed with SHA-1, which nobody relies on", {CA("Root", .hash = "SHA1"), LEAF()}, GOOD},
    {.what = "leaf of 1024 bits", {ROOT, LEAF(.rsa_bits = 1024)}, WEAK},
    {.what = "leaf of 2048 bits", {ROOT, LEAF(.rsa_bits = 2048)}, GOOD},
    {.what = "leaf of a curve of 192 bits", {ROOT, LEAF(.curve = "P-192")}, WEAK},
    {.what = "intermediate of 1024 bits", {ROOT, CA("Middle", .rsa_bits = 1024), LEAF()}, WEAK},
    {.what = "root of 1024 bits", {CA("Root", .rsa_bits = 1024), LEAF()}, WEAK},
    {.what = "P-384 below P-521", {CA("Root", .curve = "P-521", .hash = "SHA512"), CA("Middle", .curve = "P-384",
     .hash = "SHA512"),
     LEAF(.hash = "SHA384")}, GOOD},
    {.what = "RSA signed by PSS", {CA("Root", .rsa_bits = 2048, .is_pss = true), CA("Middle", .rsa_bits = 2048,
     .is_pss = true),
     LEAF(.rsa_bits = 2048, .is_pss = true)}, GOOD},
    {.what = "leaf of a curve, signed by PSS, below RSA signed by ECDSA", {ROOT, CA("Middle", .rsa_bits = 2048),
     LEAF(.is_pss = true)}, GOOD},
    {.what = "leaf signed by PSS with SHA-1", {CA("Root", .rsa_bits = 2048), LEAF(.is_pss = true, .hash = "SHA1")},
     WEAK},
};
/* clang-format on */

static size_t made_of(const struct row *row, struct made made[CERTIFICATES_MAX])
{
    size_t len = 0;
    bool is_made[CERTIFICATES_MAX] = {false};
    while (len < CERTIFICATES_MAX && row->certificates[len].name != NULL)
        len++;
    /* An issuer may come later than what it signs. */
    for (size_t round = 0; round < len; round++) {
        for (size_t i = 0; i < len; i++) {
            size_t by = row->by[i] > 0 ? (size_t)row->by[i] - 1 : i > 0 ? i - 1 : 0;
            if (is_made[i] || (by != i && !is_made[by]))
                continue;
            made[i] = made_with_key(&row->certificates[i], by == i ? NULL : &made[by],
                                    row->key[i] > 0 ? made[row->key[i] - 1].key : NULL);
            is_made[i] = true;
        }
    }
    return len;
}

static struct keyring_anchors *anchors_of(const struct made *made, size_t len, unsigned wanted, const char *folder)
{
    struct keyring_anchors *anchors;
    char path[96];
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(path, sizeof path, "%s/%zu.pem", folder, i);
        FILE *file = ((wanted == 0 ? 1 : wanted) & 1U << i) != 0 ? fopen(path, "w") : NULL;
        if (file != NULL)
            assert_true(PEM_write_X509(file, made[i].certificate) == 1 && fclose(file) == 0);
    }
    assert_int_equal(keyring_anchors_open(folder, &anchors), ERR_OK);
    for (size_t i = 0; i < len; i++) {
        (void)snprintf(path, sizeof path, "%s/%zu.pem", folder, i);
        (void)unlink(path);
    }
    return anchors;
}

static void check_path(const struct row *row, STACK_OF(X509) * path, X509 *leaf)
{
    assert_non_null(path);
    assert_int_equal(X509_cmp(sk_X509_value(path, 0), leaf), 0);
    if (row->path > 0 && sk_X509_num(path) != row->path)
        fail_msg("%s: a path of %d, expected %d", row->what, sk_X509_num(path), row->path);
    for (int i = 0; row->expected == GOOD && i + 1 < sk_X509_num(path); i++)
        assert_int_equal(X509_verify(sk_X509_value(path, i), X509_get0_pubkey(sk_X509_value(path, i + 1))), 1);
}

/* False, and says so, if it is judged otherwise: so one run shows all that are. */
static bool check_row(const struct row *row, const char *folder)
{
    struct made made[CERTIFICATES_MAX] = {{NULL, NULL}};
    size_t len = made_of(row, made);
    struct keyring_anchors *anchors = anchors_of(made, len, row->anchors, folder);
    STACK_OF(X509) *others = sk_X509_new_null(), *path;
    enum keyring_chain chain;
    const char *reason;
    for (size_t i = 0; i + 1 < len; i++)
        if ((row->lost & 1U << i) == 0)
            assert_true(sk_X509_push(others, made[i].certificate) > 0);
    assert_int_equal(keyring_x509_chain(anchors, made[len - 1].certificate, others,
                                        row->encrypts ? KEYRING_ENCRYPT : KEYRING_SIGN, MADE_NOW + row->at, &chain,
                                        &reason, &path),
                     ERR_OK);
    bool is_right = chain == row->expected;
    if (is_right)
        check_path(row, path, made[len - 1].certificate);
    else
        print_error("%s: %d, expected %d (%s)\n", row->what, chain, row->expected, reason);
    sk_X509_pop_free(path, X509_free);
    keyring_anchors_close(&anchors);
    sk_X509_free(others);
    for (size_t i = 0; i < len; i++)
        made_free(&made[i]);
    return is_right;
}

static void chains_are_judged(void **state)
{
    char folder[] = "/tmp/privyseal-chains-XXXXXX";
    size_t wrong = 0;
    (void)state;
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        wrong += !check_row(&rows[i], folder);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_are_judged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
