#include "cli/key_import.h"
#include "cli/key.h"
#include "cli/key_certify.h"
#include "cli/key_own.h"
#include "cli/progress.h"
#include "cli/vault.h"

#include "crypto/autocrypt_setup.h"
#include "keyring/backup.h"
#include "keyring/gpg_life.h"
#include "keyring/paper.h"

#include <stdio.h>
#include <string.h>

#define KEY_FILE_MAX 67108864

static bool is_certifying, is_own, is_dropping_aead, is_keeping;
static const char *passphrase_fd, *token_uri;
static struct cli_list fingerprints;
/* What the files hold of one's own certificates: a key and its certificate may come in two of them. */
static struct keyring_key_files own_files;
static bool has_own_files;
/* Where words go: with --json standard output is for JSON alone. */
static FILE *words;

static const struct cli_option options[] = {
    {"certify", NULL, "sign the keys locally: you compared the fingerprint with their owner", &is_certifying, NULL,
     NULL},
    {"fingerprint", "FPR", "the fingerprint that you compared; nothing is asked for it", NULL, NULL, &fingerprints},
    {"own", NULL, "the keys are your own: secret keys are taken, and trusted as yours", &is_own, NULL, NULL},
    {"passphrase-fd", "N", "read the passphrase of a PKCS#12 or PEM file, or a setup code, from this descriptor", NULL,
     &passphrase_fd, NULL},
    {"token", "URI", "take your certificate from a token (pkcs11_module); the private key stays there", NULL,
     &token_uri, NULL},
    {"re-issue", NULL, "re-issue own keys that ask for AEAD; nothing is asked", &is_dropping_aead, NULL, NULL},
    {"keep-signatures", NULL, "keep what others signed (for the web of trust)", &is_keeping, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* NULL: no file was imported so far. */
static json_t *report;

int key_import_report(json_t *one)
{
    const char *name;
    json_t *value;
    int failed = !one || (!report && !(report = json_object()));
    json_object_foreach(one, name, value)
    {
        json_t *sum = json_object_get(report, name);
        if (!sum)
            failed |= json_object_set(report, name, value);
        else if (json_is_array(sum))
            failed |= json_array_extend(sum, value);
        else
            failed |= json_integer_set(sum, json_integer_value(sum) + json_integer_value(value));
    }
    json_decref(one);
    return failed ? CLI_FAILED : CLI_DONE;
}

/* The fingerprint that a person typed, without the blanks and in capitals. */
static bool is_compared(const char *fingerprint)
{
    for (size_t i = 0; i < fingerprints.len; i++) {
        const char *text = fingerprints.items[i];
        size_t at = 0;
        for (; *text; text++) {
            if (*text == ' ')
                continue;
            if (!fingerprint[at] || span_lower(*text) != span_lower(fingerprint[at]))
                break;
            at++;
        }
        if (!*text && at > 0 && !fingerprint[at])
            return true;
    }
    return false;
}

static bool ask(const struct keyring_entry *key, const char *question)
{
    char grouped[KEY_GROUPED_SIZE], whole[800];
    key_group(key->fingerprint, grouped);
    snprintf(whole, sizeof whole, "%s\n  %s\n  %s\n", key->user_id, grouped, question);
    return cli_confirm(whole);
}

static enum err claim(struct cli *cli, const struct keyring_entry *key)
{
    if (!is_own && !ask(key, "The secret key is here. Is it your own?")) {
        fprintf(words, "%s: not marked as yours, so nothing is signed with it; import it again with --own\n",
                key->fingerprint);
        return ERR_OK;
    }
    enum err err = keyring_gpg_own(cli->gpg, key->fingerprint);
    if (!err)
        fprintf(words, "%s: yours\n", key->fingerprint);
    return err;
}

/* gpg 2.2 copies preferences that it does not know into the new self-signature, so the result is looked at. */
static enum err re_issue(struct cli *cli, const char *fingerprint, bool *is_refused)
{
    const struct keyring_entry *key = key_of_fingerprint(cli->keyring, fingerprint);
    if (!is_dropping_aead &&
        !ask(key, "This key asks others for AEAD (OCB), and such mail cannot be checked and is refused.\n"
                  "  Re-issue its preferences without AEAD?")) {
        fprintf(words,
                "%s: asks for AEAD, and mail that is sealed so will be refused; import it again with --re-issue\n",
                fingerprint);
        return ERR_OK;
    }
    enum err err = keyring_gpg_drop_aead(cli->gpg, fingerprint);
    if (!err)
        err = cli_list_ring(cli);
    if (err)
        return err;
    key = key_of_fingerprint(cli->keyring, fingerprint);
    *is_refused = !key || key->has_aead;
    fprintf(words,
            *is_refused ? "%s: still asks for AEAD; do `setpref` with the newer gpg that made it, or make another key\n"
                        : "%s: re-issued without AEAD; give others the new public part\n",
            fingerprint);
    return ERR_OK;
}

static enum err certify(struct cli *cli, const struct keyring_entry *key, bool *is_refused)
{
    const struct keyring_entry *signer = cli_own_key(cli, KEYRING_OPENPGP, cli->account->address);
    if (!signer) {
        (void)cli_fail(cli, ERR_NO_SIGNING_KEY, "%s has no own key to certify with; see `privyseal key make`",
                       cli->account->address);
        return ERR_NO_SIGNING_KEY;
    }
    static const struct cli_list all;
    struct key_certify_names names;
    enum err err = key_certify_choose(cli, key->fingerprint, &all, &names);
    *is_refused = *is_refused || err == ERR_NOT_FOUND;
    if (err)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    if (!is_compared(key->fingerprint) &&
        !key_certify_ask(&names, key->fingerprint, "Did its owner tell you this very fingerprint?")) {
        fprintf(stderr, "privyseal key import: %s is not certified; expected %s\n", key->fingerprint,
                fingerprints.len ? "this fingerprint with --fingerprint: another one was given"
                                 : "\"yes\" on the terminal, or --fingerprint");
        *is_refused = true;
        return ERR_OK;
    }
    const struct keyring_gpg_certification how = {
        .signer = signer->fingerprint, .user_ids = names.names, .user_ids_len = names.len};
    err = keyring_gpg_certify_as(cli->gpg, key->fingerprint, &how);
    if (!err)
        fprintf(words, "%s: certified\n", key->fingerprint);
    return err;
}

/* Each step changes the ring, so that is listed and the entry looked up anew. */
static enum err follow_up(struct cli *cli, const char *fingerprint, bool *is_refused)
{
    const struct keyring_entry *key = key_of_fingerprint(cli->keyring, fingerprint);
    enum err err = ERR_OK;
    if (key && key->has_secret && key->trust < KEYRING_OWN) {
        err = claim(cli, key);
        if (!err)
            err = cli_list_ring(cli);
        key = err ? NULL : key_of_fingerprint(cli->keyring, fingerprint);
    }
    if (key && key->has_secret && key->has_aead)
        err = re_issue(cli, fingerprint, is_refused);
    else if (key && !key->has_secret && is_certifying) {
        err = certify(cli, key, is_refused);
        if (!err)
            err = cli_list_ring(cli);
    }
    if (err)
        (void)cli_fail(cli, err, "%s", fingerprint);
    return err;
}

/* A key that nobody vouched for is taken by no rule unless it says trust = unverified. */
static void advise(const struct cli *cli, const char *fingerprint)
{
    const struct keyring_entry *key = key_of_fingerprint(cli->keyring, fingerprint);
    if (key && key->trust == KEYRING_UNVERIFIED && !key->has_secret && !is_certifying)
        fprintf(words, "%s: unverified; compare the fingerprint with its owner, then import it with --certify\n",
                fingerprint);
    if (key && key->encrypt_until < 0)
        fprintf(words, "%s: cannot encrypt, so nothing can be sealed to it\n", fingerprint);
}

static enum err import_keys(struct cli *cli, const char *name, struct span bytes, struct keyring_import *result)
{
    char what[300];
    snprintf(what, sizeof what, "importing %s", name);
    if (!is_own) /* Of one's own keys gpg-agent may ask for the passphrase. */
        progress_begin(what);
    enum err err = keyring_gpg_import(cli->gpg, bytes, !is_own && !is_keeping, result);
    progress_end();
    if (err == ERR_MALFORMED)
        fprintf(stderr, "privyseal key import: %s holds no key that can be read%s\n", name,
                is_own ? "" : ", or a secret key, which is taken only with --own");
    else if (err)
        (void)cli_fail(cli, err, "importing %s", name);
    return err;
}

static int report_json(const struct cli *cli, const struct keyring_import *result)
{
    json_t *list = json_array();
    for (size_t i = 0; i < result->fingerprints_len; i++) {
        const struct keyring_entry *key = key_of_fingerprint(cli->keyring, result->fingerprints[i]);
        if (key)
            (void)json_array_append_new(list, key_json(key));
    }
    return key_import_report(json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:o}", "considered", (int)result->considered,
                                       "imported", (int)result->imported, "changed", (int)result->changed, "unchanged",
                                       (int)result->unchanged, "secret", (int)result->secret_imported, "rejected",
                                       (int)result->rejected, "keys", list));
}

/* A file that is not what it should be, or that its passphrase does not open, is refused. */
static int own_exit_of(enum err err)
{
    return err == ERR_MALFORMED || err == ERR_AUTH_FAILED || err == ERR_KEY_LOCKED || err == ERR_KEY_UNUSABLE ||
                   err == ERR_LIMIT || err == ERR_REFUSED
               ? CLI_REFUSED
               : cli_exit_of(err);
}

static bool is_own_x509(struct span bytes)
{
    return is_own && key_is_x509(bytes);
}

/* They are kept when all files have been read. */
static int read_own(struct cli *cli, const char *name, struct span bytes)
{
    has_own_files = true;
    enum err err = key_own_read(cli, name, bytes, passphrase_fd, &own_files);
    return err ? own_exit_of(err) : CLI_DONE;
}

static int keep_own(struct cli *cli)
{
    json_t *list = json_array();
    enum err err = key_own_keep(cli, &own_files, words, list);
    if (!err && cli->is_json)
        return key_import_report(json_pack("{s:o}", "certificates", list));
    json_decref(list);
    return err ? own_exit_of(err) : CLI_DONE;
}

static int import_token(struct cli *cli)
{
    json_t *list = json_array();
    enum err err = key_own_token(cli, token_uri, words, list);
    if (!err && cli->is_json)
        return key_import_report(json_pack("{s:o}", "certificates", list));
    json_decref(list);
    return err == ERR_NOT_FOUND ? CLI_REFUSED : cli_exit_of(err);
}

static int import_openpgp(struct cli *cli, const char *name, struct span bytes)
{
    struct keyring_import result = {0};
    enum err err = import_keys(cli, name, bytes, &result);
    if (!err)
        err = cli_list_ring(cli);
    bool is_refused = false;
    for (size_t i = 0; !err && i < result.fingerprints_len; i++) {
        const struct keyring_entry *key = key_of_fingerprint(cli->keyring, result.fingerprints[i]);
        fprintf(words, "%s: %s\n", result.fingerprints[i], key ? key->user_id : "no usable user ID");
        err = follow_up(cli, result.fingerprints[i], &is_refused);
        if (!err)
            advise(cli, result.fingerprints[i]);
    }
    if (err)
        return cli_exit_of(err);
    int status = CLI_DONE;
    if (cli->is_json)
        status = report_json(cli, &result);
    else
        printf("%u read: %u new, %u changed, %u unchanged, %u rejected\n", result.considered, result.imported,
               result.changed, result.unchanged, result.rejected);
    return status ? status : is_refused || result.rejected ? CLI_REFUSED : CLI_DONE;
}

/* Nothing but the secret key that its first lines, which the person is shown, say that it is. */
static enum err check_backup(const struct cli *cli, const char *fingerprint, struct span bytes)
{
    bool is_it = false;
    enum err err = keyring_gpg_is_secret_of(cli->gpg, bytes, fingerprint, &is_it);
    return !err && !is_it ? ERR_MALFORMED : err;
}

/* Whose key is one's own is for a person to say: from here on the file is as good as one given with --own. */
static bool is_claimed(const char *fingerprint, const char *user_id, const char *name)
{
    char grouped[KEY_GROUPED_SIZE], question[900];
    key_group(fingerprint, grouped);
    snprintf(question, sizeof question,
             "%.200s is a backup of a secret key that is said to be\n  %s\n  %s\nIs it your own?", name, user_id,
             grouped);
    /* What names no key cannot be asked about. */
    is_own = is_own || (fingerprint[0] && cli_confirm(question));
    if (!is_own)
        fprintf(stderr, "privyseal key import: %s is a backup of a secret key; expected \"yes\", or --own\n", name);
    return is_own;
}

static int import_paper(struct cli *cli, const char *name, struct span bytes)
{
    char problem[KEYRING_PAPER_PROBLEM_SIZE];
    struct keyring_paper paper;
    struct buf key;
    int status = CLI_DONE;
    buf_init_secret(&key, KEYRING_PAPER_BYTES_MAX);
    enum err err = keyring_paper_read(bytes, &paper, &key, problem);
    if (!err && paper.is_secret && paper.fingerprint[0] && (err = check_backup(cli, paper.fingerprint, buf_span(&key))))
        snprintf(problem, sizeof problem, "it does not hold the key that it names, alone");
    if (err == ERR_MALFORMED)
        fprintf(stderr, "privyseal key import: %s: %s\n", name, problem);
    if (err)
        status = err == ERR_MALFORMED ? CLI_REFUSED : cli_fail(cli, err, "importing %s", name);
    else if (paper.is_secret && !is_claimed(paper.fingerprint, paper.user_id, name))
        status = CLI_REFUSED;
    if (!status)
        status = import_openpgp(cli, name, buf_span(&key));
    buf_fini(&key);
    return status;
}

static int import_backup(struct cli *cli, const char *name, struct span bytes)
{
    struct keyring_backup backup;
    keyring_backup_init(&backup);
    enum err err = keyring_backup_read(bytes, &backup);
    if (!err)
        err = check_backup(cli, backup.fingerprint, bytes);
    if (err == ERR_MALFORMED)
        fprintf(stderr, "privyseal key import: %s is a damaged backup, or does not hold the key that it names, alone\n",
                name);
    else if (err)
        (void)cli_fail(cli, err, "reading %s", name);
    int status = err ? cli_exit_of(err) : is_claimed(backup.fingerprint, backup.user_id, name) ? CLI_DONE : CLI_REFUSED;
    if (!status)
        status = import_openpgp(cli, name, bytes);
    const struct keyring_entry *key = status ? NULL : key_of_fingerprint(cli->keyring, backup.fingerprint);
    if (key && key->has_secret) {
        /* What the person has said since stays. */
        err = keyring_gpg_add_ownertrust(cli->gpg, buf_span(&backup.trust));
        if (!err && backup.revocation.len)
            err = keyring_gpg_put_revocation(cli->gpg, backup.fingerprint, buf_span(&backup.revocation));
        if (err)
            status = cli_fail(cli, err, "%s: what belongs to the key", name);
    }
    keyring_backup_fini(&backup);
    return status;
}

static int import_setup(struct cli *cli, const char *name, struct span bytes)
{
    struct buf key;
    buf_init_secret(&key, CRYPTO_SETUP_MAX);
    int status = own_exit_of(key_import_open_setup(cli, name, bytes, passphrase_fd, is_own, &key));
    if (!status) {
        is_own = true;
        status = import_openpgp(cli, name, buf_span(&key));
    }
    buf_fini(&key);
    return status;
}

static bool is_anything(struct span bytes)
{
    (void)bytes;
    return true;
}

/* The first that knows the file takes it. */
static const struct key_import_kind kinds[] = {{keyring_backup_is, import_backup},
                                               {crypto_setup_is, import_setup},
                                               {keyring_paper_is, import_paper},
                                               {is_own_x509, read_own},
                                               {key_import_is_certificates, key_import_certificates},
                                               {is_anything, import_openpgp}};

static int import_one(struct cli *cli, const char *path)
{
    const char *name = path && strcmp(path, "-") != 0 ? path : "standard input";
    struct buf bytes;
    buf_init_secret(&bytes, KEY_FILE_MAX);
    enum err err = cli_read_file(path, &bytes);
    int status = err ? cli_fail(cli, err, "importing %s", name) : CLI_DONE;
    /* What a person says of one file is not said of the next. */
    const bool was_own = is_own;
    for (size_t i = 0; !err && i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].is_it(buf_span(&bytes))) {
            status = kinds[i].import_all(cli, name, buf_span(&bytes));
            break;
        }
    is_own = was_own;
    buf_fini(&bytes);
    return status;
}

/* A key that is new may open what could not be opened before. What cannot be asked is not worth an error here. */
static void offer_reopen(const struct cli *cli)
{
    struct cli_vault vault;
    struct store_totals totals = {.failed = 0};
    if (cli_vault_open(cli->config, false, &vault))
        return;
    if (cli_vault_totals(&vault, cli->account->address, &totals) == ERR_OK && totals.failed > 0)
        fprintf(words, "%llu %s could not be opened before; `privyseal store reopen` has it judged again\n",
                (unsigned long long)totals.failed, totals.failed == 1 ? "message" : "messages");
    cli_vault_close(&vault);
}

static int run(struct cli *cli, int argc, char **argv)
{
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    words = cli->is_json ? stderr : stdout;
    keyring_key_files_init(&own_files, KEYRING_KEY_ITERATIONS_MAX);
    if (token_uri && argc > 0)
        return cli_usage(cli, "expected --token or files, not both");
    int status = token_uri ? import_token(cli) : argc == 0 ? import_one(cli, NULL) : CLI_DONE;
    for (int i = 0; i < argc; i++) {
        const int one = import_one(cli, argv[i]);
        status = one > status ? one : status;
    }
    if (has_own_files && status == CLI_DONE)
        status = keep_own(cli);
    keyring_key_files_fini(&own_files);
    if (status == CLI_DONE && !token_uri)
        offer_reopen(cli);
    if (report && cli_print_json(report) && status == CLI_DONE)
        status = CLI_FAILED;
    return status;
}

const struct cli_command cli_key_import = {
    .name = "key import",
    .operands = "[FILE...]",
    .summary = "takes keys into the key ring; --certify confirms whose they are",
    .text =
        "Imports OpenPGP keys (binary or ASCII armour) and certificates (PEM, DER or PKCS#7, several in a file) from\n"
        "files or standard input. An OpenPGP key of somebody else is unverified until you have compared its\n"
        "fingerprint with its owner and say so with --certify: then it is signed with your own key, for this machine\n"
        "alone. A certificate is trusted by its chain to one of the account's trust anchors. A secret key that you\n"
        "bring along is taken only with --own.\n"
        "With --own also your S/MIME certificates and their private keys: PKCS#12 (.p12, .pfx), or PEM and DER\n"
        "in one file or several. A passphrase is asked for on the terminal or by gpg-agent. The private key is\n"
        "kept in the store, sealed with the account's key for secrets.\n"
        "What was printed by `key export --paper` is read as it was typed in: tolerant of blanks and of case; a line\n"
        "that is wrong is named.\n"
        "A backup (`key make --backup`, `key backup`) brings back the key as your own, with what belongs to it; you\n"
        "are asked, unless you give --own.\n"
        "An Autocrypt setup message of another mail program (a saved .eml file) brings your key from there; the code\n"
        "that was shown with it is asked for, and whether you made it, if the key has no address of the account or\n"
        "there is another own key.",
    .example = "privyseal key import --certify bob.asc",
    .options = options,
    .run = run};
