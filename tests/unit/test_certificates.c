/* The folder of certificates: files, changes by others, and what is listed of it. */
#include "base/log.h"
#include "keyring/certificates_internal.h"
#include "tests/unit/x509_made.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CA .basic = "critical,CA:TRUE", .usage = "critical,keyCertSign,cRLSign"
#define ALICE "alice@example.org"
#define YEAR (365 * MADE_DAY)

static char folder[64];
static struct made root, middle, alice;
static struct keyring_anchors *anchors;
static char anchor_path[64];

static int make_all(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    root = made_certificate(&(struct made_wish){.name = "Root", CA}, NULL);
    middle = made_certificate(&(struct made_wish){.name = "Middle", CA}, &root);
    alice = made_certificate(&(struct made_wish){.name = "Alice", .san = "email:" ALICE}, &middle);
    anchors = made_anchors(root.certificate, anchor_path);
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    keyring_anchors_close(&anchors);
    made_free(&root);
    made_free(&middle);
    made_free(&alice);
    return unlink(anchor_path);
}

static int begin(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/privyseal-certificates-XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int end(void **state)
{
    const struct dirent *entry;
    (void)state;
    DIR *dir = opendir(folder);
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.' || strncmp(entry->d_name, ".new", 4) == 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    return rmdir(folder);
}

static struct keyring_certificates *open_folder(void)
{
    struct keyring_certificates *certificates;
    assert_int_equal(keyring_certificates_open(folder, &certificates), ERR_OK);
    return certificates;
}

static void put(struct keyring_certificates *certificates, X509 *certificate, struct keyring_certificate entry)
{
    entry.certificate = certificate;
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_OK);
}

static const char *fingerprint_of(const struct made *made)
{
    static char fingerprint[KEYRING_FPR_SIZE];
    assert_int_equal(keyring_x509_fingerprint(made->certificate, fingerprint), ERR_OK);
    return fingerprint;
}

static void assert_alice(const struct keyring_certificate *found)
{
    assert_non_null(found);
    assert_int_equal(X509_cmp(found->certificate, alice.certificate), 0);
    assert_string_equal(found->fingerprint, fingerprint_of(&alice));
    assert_int_equal(found->source, KEYRING_SOURCE_DIRECTORY);
    assert_string_equal(found->directory, "corp");
    assert_true(found->is_found && found->takes_gcm);
    assert_string_equal(found->key_place, "pkcs11:token=x;id=%01");
    assert_int_equal(found->seen, 1700000000);
    assert_int_equal(found->until, 1800000000);
    assert_int_equal(found->revoked, 5);
}

static const struct keyring_certificate everything = {.source = KEYRING_SOURCE_DIRECTORY,
                                                      .directory = "corp",
                                                      .is_found = true,
                                                      .takes_gcm = true,
                                                      .key_place = "pkcs11:token=x;id=%01",
                                                      .seen = 1700000000,
                                                      .until = 1800000000,
                                                      .revoked = 5};

static void what_is_put_is_read(void **state)
{
    (void)state;
    struct stat status;
    struct keyring_certificates *certificates = open_folder();
    put(certificates, alice.certificate, everything);
    assert_alice(keyring_certificates_find(certificates, fingerprint_of(&alice)));
    keyring_certificates_close(&certificates);
    certificates = open_folder();
    assert_int_equal(keyring_certificates_len(certificates), 1);
    assert_alice(keyring_certificates_at(certificates, 0));
    assert_null(keyring_certificates_find(certificates, fingerprint_of(&root)));
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s.pem", folder, fingerprint_of(&alice));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    /* In place of the earlier one. */
    put(certificates, alice.certificate, (struct keyring_certificate){.source = KEYRING_SOURCE_MAIL});
    assert_int_equal(keyring_certificates_len(certificates), 1);
    assert_int_equal(keyring_certificates_at(certificates, 0)->source, KEYRING_SOURCE_MAIL);
    assert_string_equal(keyring_certificates_at(certificates, 0)->key_place, "");
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&alice)), ERR_OK);
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&alice)), ERR_NOT_FOUND);
    assert_int_equal(keyring_certificates_len(certificates), 0);
    assert_int_equal(stat(path, &status), -1);
    keyring_certificates_close(&certificates);
}

static void folder_is_made(void **state)
{
    (void)state;
    struct stat status;
    struct keyring_certificates *certificates;
    assert_int_equal(rmdir(folder), 0);
    certificates = open_folder();
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    keyring_certificates_close(&certificates);
    assert_int_equal(keyring_certificates_open("/nonexistent/folder", &certificates), ERR_IO);
    assert_null(certificates);
}

static void values_that_no_line_can_hold_are_refused(void **state)
{
    (void)state;
    struct keyring_certificates *certificates = open_folder();
    struct keyring_certificate entry = {.certificate = alice.certificate, .key_place = "store\nRevoked: 1"};
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_MALFORMED);
    entry = (struct keyring_certificate){.certificate = alice.certificate, .directory = " corp"};
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_MALFORMED);
    entry = (struct keyring_certificate){.certificate = alice.certificate, .seen = -1};
    assert_int_equal(keyring_certificates_put(certificates, &entry), ERR_MALFORMED);
    assert_int_equal(keyring_certificates_len(certificates), 0);
    keyring_certificates_close(&certificates);
}

static void changes_of_others_are_seen(void **state)
{
    (void)state;
    struct keyring_certificates *mine = open_folder(), *theirs = open_folder();
    put(theirs, alice.certificate, (struct keyring_certificate){.seen = 1});
    assert_int_equal(keyring_certificates_len(mine), 0);
    assert_int_equal(keyring_certificates_refresh(mine), ERR_OK);
    assert_int_equal(keyring_certificates_len(mine), 1);
    /* At once, within one tick of the file system's clock. */
    put(theirs, alice.certificate, (struct keyring_certificate){.seen = 2});
    assert_int_equal(keyring_certificates_refresh(mine), ERR_OK);
    assert_int_equal(keyring_certificates_at(mine, 0)->seen, 2);
    put(theirs, root.certificate, (struct keyring_certificate){.seen = 3});
    put(theirs, middle.certificate, (struct keyring_certificate){.seen = 3});
    assert_int_equal(keyring_certificates_refresh(mine), ERR_OK);
    assert_int_equal(keyring_certificates_len(mine), 3);
    for (size_t i = 1; i < 3; i++)
        assert_true(strcmp(keyring_certificates_at(mine, i - 1)->fingerprint,
                           keyring_certificates_at(mine, i)->fingerprint) < 0);
    assert_int_equal(sk_X509_num(keyring_certificates_issuers(mine)), 2);
    assert_int_equal(keyring_certificates_remove(theirs, fingerprint_of(&root)), ERR_OK);
    assert_int_equal(keyring_certificates_refresh(mine), ERR_OK);
    assert_int_equal(keyring_certificates_len(mine), 2);
    assert_int_equal(sk_X509_num(keyring_certificates_issuers(mine)), 1);
    keyring_certificates_close(&mine);
    keyring_certificates_close(&theirs);
}

/* Where nothing has changed for a while, nothing is read: a folder that cannot be read any more does no harm. */
static void quiet_folder_is_left_alone(void **state)
{
    (void)state;
    struct keyring_certificates *certificates = open_folder();
    put(certificates, alice.certificate, (struct keyring_certificate){.seen = 1});
    assert_int_equal(keyring_certificates_refresh(certificates), ERR_OK);
    assert_false(certificates->is_settled);
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, folder, old, 0), 0);
    /* The change of the time is itself a change, just now. */
    assert_int_equal(keyring_certificates_refresh(certificates), ERR_OK);
    assert_false(certificates->is_settled);
    certificates->is_settled = true;
    assert_int_equal(unlink("/nonexistent"), -1);
    struct certificates_item *item = certificates->items[0];
    item->is_there = false;
    assert_int_equal(keyring_certificates_refresh(certificates), ERR_OK);
    assert_false(item->is_there); /* not looked at */
    keyring_certificates_close(&certificates);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void what_is_no_certificate_is_passed_over(void **state)
{
    (void)state;
    struct buf text;
    char name[KEYRING_FPR_SIZE + 8];
    struct keyring_certificate entry = {.certificate = alice.certificate, .seen = 1};
    buf_init(&text, CERTIFICATES_FILE_MAX);
    assert_int_equal(certificates_print(&entry, &text), ERR_OK);
    (void)snprintf(name, sizeof name, "%s.pem", fingerprint_of(&root));
    write_file(name, text.data); /* not the one that it is named for */
    (void)snprintf(name, sizeof name, "%s.pem", fingerprint_of(&middle));
    write_file(name, "Source: import\n\nnothing\n");
    write_file("alice.pem", text.data);
    write_file(".new-abcdef", text.data);
    (void)snprintf(name, sizeof name, "%s.pem", fingerprint_of(&alice));
    write_file(name, text.data);
    struct keyring_certificates *certificates = open_folder();
    assert_int_equal(keyring_certificates_len(certificates), 1);
    assert_string_equal(keyring_certificates_at(certificates, 0)->fingerprint, fingerprint_of(&alice));
    keyring_certificates_close(&certificates);
    buf_fini(&text);
}

/* The file of `lines` and alice's certificate. */
static enum err parse(const char *lines, const char *after, struct keyring_certificate *entry_out)
{
    struct buf text, pem;
    struct keyring_certificate entry = {.certificate = alice.certificate};
    buf_init(&text, 2 * CERTIFICATES_FILE_MAX);
    buf_init(&pem, CERTIFICATES_FILE_MAX);
    assert_int_equal(certificates_print(&entry, &pem), ERR_OK);
    assert_int_equal(buf_add_string(&text, lines), ERR_OK);
    assert_int_equal(
        buf_add_span(&text, span_skip(buf_span(&pem), span_find(buf_span(&pem), 0, SPAN_LIT("-----BEGIN")))), ERR_OK);
    assert_int_equal(buf_add_string(&text, after), ERR_OK);
    enum err err = certificates_parse(buf_span(&text), entry_out);
    buf_fini(&text);
    buf_fini(&pem);
    return err;
}

static void lines_are_read_strictly(void **state)
{
    static const char *const wrong[] = {
        "\n",
        "",
        "Source: import\n",
        "Source: import\r\n\n",
        "Source: elsewhere\n\n",
        "source: import\n\n",
        "Source:import\n\n",
        "Source: import \n\n",
        "Seen: 1\n\n",
        "Source: import\nSource: import\n\n",
        "Source: import\nSeen: -1\n\n",
        "Source: import\nSeen: 0\n\n",
        "Source: import\nSeen: 9223372036854775808\n\n",
        "Source: import\nFound: no\n\n",
        "Source: import\nKey: \n\n",
        "Source: import\nKey: a\tb\n\n",
        "Source: import\nUnknown: 1\n\n",
        "Source: import\nDirectory: 0123456789012345678901234567890123456789012345678901234567890123\n\n",
        "Source: import\n\n\n",
    };
    struct keyring_certificate entry;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (parse(wrong[i], "", &entry) != ERR_MALFORMED)
            fail_msg("taken: %s", wrong[i]);
        assert_null(entry.certificate);
    }
    assert_int_equal(parse("Source: mail\nSeen: 9223372036854775807\n\n", "\n", &entry), ERR_MALFORMED);
    assert_int_equal(parse("Source: mail\nSeen: 9223372036854775807\n\n", "", &entry), ERR_OK);
    assert_int_equal(entry.source, KEYRING_SOURCE_MAIL);
    assert_true(entry.seen == INT64_MAX);
    X509_free(entry.certificate);
}

/* Cut anywhere, a file is none. */
static void files_that_end_early_are_malformed(void **state)
{
    struct buf text;
    struct keyring_certificate entry = everything;
    (void)state;
    entry.certificate = alice.certificate;
    buf_init(&text, CERTIFICATES_FILE_MAX);
    assert_int_equal(certificates_print(&entry, &text), ERR_OK);
    for (size_t len = 0; len < text.len; len++) {
        char *block = malloc(len + 1);
        assert_non_null(block);
        memcpy(block, text.data, len);
        assert_int_equal(certificates_parse((struct span){block, len}, &entry), ERR_MALFORMED);
        free(block);
    }
    buf_fini(&text);
}

/* ---- listing ---- */

struct row {
    const char *what;
    struct made_wish leaf;
    struct keyring_certificate entry;
    bool is_below_root;    /* else by itself */
    int64_t encrypt, sign; /* 0: the end of the certificate */
    enum keyring_trust trust;
};

#define NAMED .name = "A", .san = "email:" ALICE
static const struct row rows[] = {
    {"a chain", {NAMED}, {.seen = 1}, true, 0, 0, KEYRING_FULL},
    {"own", {NAMED}, {.key_place = "store"}, false, 0, 0, KEYRING_OWN},
    {"own, of another's address",
     {.name = "A", .san = "email:bob@example.org"},
     {.key_place = "store"},
     false,
     0,
     0,
     KEYRING_UNVERIFIED},
    {"own address, but no key", {NAMED}, {.seen = 1}, false, 0, 0, KEYRING_UNVERIFIED},
    {"found",
     {NAMED},
     {.source = KEYRING_SOURCE_DIRECTORY, .is_found = true, .until = MADE_NOW + 1},
     false,
     0,
     0,
     KEYRING_FOUND},
    {"found, and stale",
     {NAMED},
     {.source = KEYRING_SOURCE_DIRECTORY, .is_found = true, .until = MADE_NOW},
     false,
     0,
     0,
     KEYRING_FOUND},
    {"of a directory whose word does not count",
     {NAMED},
     {.source = KEYRING_SOURCE_DIRECTORY},
     false,
     0,
     0,
     KEYRING_UNVERIFIED},
    {"out of mail that says found",
     {NAMED},
     {.source = KEYRING_SOURCE_MAIL, .is_found = true},
     false,
     0,
     0,
     KEYRING_UNVERIFIED},
    {"for signing only", {NAMED, .usage = "critical,digitalSignature"}, {.seen = 1}, true, -1, 0, KEYRING_FULL},
    {"for encipherment only", {NAMED, .usage = "critical,keyEncipherment"}, {.seen = 1}, true, 0, -1, KEYRING_FULL},
    {"for signing only, no chain",
     {NAMED, .usage = "critical,digitalSignature"},
     {.seen = 1},
     false,
     -1,
     0,
     KEYRING_UNVERIFIED},
    {"for web servers", {NAMED, .extended = "serverAuth"}, {.seen = 1}, true, -1, -1, KEYRING_UNVERIFIED},
    {"weak", {NAMED, .rsa_bits = 1024}, {.seen = 1}, true, -1, -1, KEYRING_UNVERIFIED},
    {"own, weak", {NAMED, .rsa_bits = 1024}, {.key_place = "store"}, false, -1, -1, KEYRING_OWN},
    {"weak hash", {NAMED, .hash = "SHA1"}, {.seen = 1}, true, -1, -1, KEYRING_UNVERIFIED},
    {"expired", {NAMED, .from_s = -YEAR, .till_s = -1}, {.seen = 1}, true, 0, 0, KEYRING_FULL},
    {"to come", {NAMED, .from_s = 10, .till_s = YEAR}, {.seen = 1}, true, 0, 0, KEYRING_FULL},
    {"longer than its issuer",
     {NAMED, .from_s = -1, .till_s = 9 * YEAR},
     {.seen = 1},
     true,
     MADE_NOW + YEAR,
     MADE_NOW + YEAR,
     KEYRING_FULL},
};

static struct keyring *list(struct keyring_certificates *certificates, const struct keyring_anchors *by, int64_t at)
{
    static const char *const own[] = {"a.liddell@example.org", "Alice@example.org"};
    struct keyring *keyring;
    assert_int_equal(keyring_new(&keyring), ERR_OK);
    assert_int_equal(keyring_certificates_list(certificates, by, own, 2, at, keyring), ERR_OK);
    return keyring;
}

static void check_row(const struct row *row)
{
    struct made leaf = made_certificate(&row->leaf, row->is_below_root ? &root : NULL);
    struct keyring_certificates *certificates = open_folder();
    put(certificates, leaf.certificate, row->entry);
    struct keyring *keyring = list(certificates, anchors, MADE_NOW);
    assert_int_equal(keyring_len(keyring), 1);
    const struct keyring_entry *entry = keyring_at(keyring, 0);
    int64_t end_of_it = MADE_NOW + (row->leaf.till_s != 0 ? row->leaf.till_s : YEAR);
    if (entry->trust != row->trust || entry->encrypt_until != (row->encrypt == 0 ? end_of_it : row->encrypt) ||
        entry->sign_until != (row->sign == 0 ? end_of_it : row->sign))
        fail_msg("%s: trust %s, encrypt %lld, sign %lld", row->what, keyring_trust_name(entry->trust),
                 (long long)entry->encrypt_until, (long long)entry->sign_until);
    assert_int_equal(entry->format, KEYRING_SMIME);
    assert_int_equal(entry->has_secret, row->entry.key_place[0] != '\0');
    assert_string_equal(entry->algorithm, row->leaf.rsa_bits == 0 ? "ec-p256" : "rsa1024");
    assert_false(entry->is_revoked);
    keyring_free(&keyring);
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&leaf)), ERR_OK);
    keyring_certificates_close(&certificates);
    made_free(&leaf);
}

static void certificates_are_listed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

static enum keyring_trust trust_of_alice(struct keyring_certificates *certificates, const struct keyring_anchors *by,
                                         int64_t at)
{
    struct keyring *keyring = list(certificates, by, at);
    assert_int_equal(keyring_len(keyring), 1);
    enum keyring_trust trust = keyring_at(keyring, 0)->trust;
    assert_string_equal(keyring_at(keyring, 0)->address, ALICE);
    keyring_free(&keyring);
    return trust;
}

/* What was judged before counts only while anchors, issuers and time let it. */
static void chains_follow_changes(void **state)
{
    (void)state;
    struct made other = made_certificate(&(struct made_wish){.name = "Root", CA}, NULL);
    struct made later =
        made_certificate(&(struct made_wish){.name = "Middle", CA, .from_s = 2 * MADE_DAY, .till_s = YEAR}, &root);
    struct made below = made_certificate(&(struct made_wish){NAMED}, &later);
    char path[64];
    struct keyring_anchors *others = made_anchors(other.certificate, path);
    struct keyring_certificates *certificates = open_folder();
    put(certificates, alice.certificate, (struct keyring_certificate){.seen = 1});
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_UNVERIFIED);
    put(certificates, middle.certificate, (struct keyring_certificate){.source = KEYRING_SOURCE_MAIL});
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_FULL);
    assert_int_equal(trust_of_alice(certificates, NULL, MADE_NOW), KEYRING_UNVERIFIED);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_FULL);
    assert_int_equal(trust_of_alice(certificates, others, MADE_NOW), KEYRING_UNVERIFIED);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_FULL);
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&middle)), ERR_OK);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_UNVERIFIED);
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&alice)), ERR_OK);
    put(certificates, later.certificate, (struct keyring_certificate){.seen = 1});
    put(certificates, below.certificate, (struct keyring_certificate){.seen = 1});
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_UNVERIFIED);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW + 3 * MADE_DAY), KEYRING_FULL);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_UNVERIFIED);
    keyring_certificates_close(&certificates);
    keyring_anchors_close(&others);
    assert_int_equal(unlink(path), 0);
    made_free(&other);
    made_free(&later);
    made_free(&below);
}

static void assert_chain(struct keyring_certificates *certificates, const struct keyring_anchors *by, int64_t at,
                         enum keyring_chain wanted)
{
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
    for (int i = 0; i < 2; i++) { /* judged, and remembered */
        assert_int_equal(keyring_certificates_judge(certificates, by, fingerprint_of(&alice), KEYRING_SIGN, at, &chain,
                                                    &reason, &path),
                         ERR_OK);
        assert_int_equal(chain, wanted);
        assert_int_equal(sk_X509_num(path), wanted == KEYRING_CHAIN_GOOD ? 3 : -1);
        sk_X509_pop_free(path, X509_free);
    }
}

static void good_path_is_kept_while_it_holds(void **state)
{
    static const struct made_wish wish = {.name = "Other", .basic = "critical,CA:TRUE"};
    struct keyring_certificates *certificates = open_folder();
    struct made other = made_certificate(&wish, NULL);
    enum keyring_chain chain;
    const char *reason;
    STACK_OF(X509) * path;
    char path_name[64];
    (void)state;
    struct keyring_anchors *others = made_anchors(other.certificate, path_name);
    assert_int_equal(keyring_certificates_judge(certificates, anchors, fingerprint_of(&alice), KEYRING_SIGN, MADE_NOW,
                                                &chain, &reason, &path),
                     ERR_NOT_FOUND);
    put(certificates, alice.certificate, everything);
    assert_chain(certificates, anchors, MADE_NOW, KEYRING_CHAIN_UNTRUSTED);
    put(certificates, middle.certificate, everything);
    assert_chain(certificates, anchors, MADE_NOW, KEYRING_CHAIN_GOOD);
    assert_chain(certificates, others, MADE_NOW, KEYRING_CHAIN_UNTRUSTED);
    assert_chain(certificates, anchors, MADE_NOW, KEYRING_CHAIN_GOOD);
    assert_chain(certificates, anchors, MADE_NOW + 4000 * MADE_DAY, KEYRING_CHAIN_EXPIRED);
    assert_chain(certificates, anchors, MADE_NOW, KEYRING_CHAIN_GOOD);
    assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&middle)), ERR_OK);
    assert_chain(certificates, anchors, MADE_NOW, KEYRING_CHAIN_UNTRUSTED);
    keyring_anchors_close(&others);
    keyring_certificates_close(&certificates);
    (void)unlink(path_name);
    made_free(&other);
}

static void revoked_is_listed_as_such(void **state)
{
    (void)state;
    struct keyring_certificates *certificates = open_folder();
    put(certificates, alice.certificate, (struct keyring_certificate){.revoked = MADE_NOW});
    struct keyring *keyring = list(certificates, anchors, MADE_NOW);
    assert_true(keyring_at(keyring, 0)->is_revoked);
    keyring_free(&keyring);
    keyring_certificates_close(&certificates);
}

/* Where no chain tells. */
static void weak_ones_without_a_chain_are_of_no_use(void **state)
{
    static const struct made_wish wishes[] = {{NAMED, .hash = "SHA1"}, {NAMED, .rsa_bits = 1024}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct made weak = made_certificate(&wishes[i], &middle);
        struct keyring_certificates *certificates = open_folder();
        put(certificates, weak.certificate, (struct keyring_certificate){.seen = 1});
        struct keyring *keyring = list(certificates, i == 0 ? anchors : NULL, MADE_NOW);
        assert_int_equal(keyring_at(keyring, 0)->encrypt_until, -1);
        assert_int_equal(keyring_at(keyring, 0)->sign_until, -1);
        keyring_free(&keyring);
        assert_int_equal(keyring_certificates_remove(certificates, fingerprint_of(&weak)), ERR_OK);
        keyring_certificates_close(&certificates);
        made_free(&weak);
    }
}

/* Many issuers in the folder: the right one is still found. */
static void many_issuers_do_not_hide_one(void **state)
{
    (void)state;
    struct keyring_certificates *certificates = open_folder();
    put(certificates, alice.certificate, (struct keyring_certificate){.seen = 1});
    put(certificates, middle.certificate, (struct keyring_certificate){.seen = 1});
    for (int i = 0; i < KEYRING_OTHERS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "CA %d", i);
        struct made made = made_certificate(&(struct made_wish){.name = name, CA}, NULL);
        put(certificates, made.certificate, (struct keyring_certificate){.seen = 1});
        made_free(&made);
    }
    assert_true(sk_X509_num(keyring_certificates_issuers(certificates)) > KEYRING_OTHERS_MAX);
    assert_int_equal(trust_of_alice(certificates, anchors, MADE_NOW), KEYRING_FULL);
    keyring_certificates_close(&certificates);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(what_is_put_is_read),
        WITH(folder_is_made),
        WITH(values_that_no_line_can_hold_are_refused),
        WITH(changes_of_others_are_seen),
        WITH(quiet_folder_is_left_alone),
        WITH(what_is_no_certificate_is_passed_over),
        WITH(lines_are_read_strictly),
        WITH(files_that_end_early_are_malformed),
        WITH(certificates_are_listed),
        WITH(chains_follow_changes),
        WITH(good_path_is_kept_while_it_holds),
        WITH(revoked_is_listed_as_such),
        WITH(weak_ones_without_a_chain_are_of_no_use),
        WITH(many_issuers_do_not_hide_one),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
