/*
 * privyseal open: a message from standard input, as a mail program would see it.
 */
#include "cli/source.h"

#include "base/clock.h"
#include "base/log.h"
#include "crypto/attached.h"
#include "crypto/open.h"
#include "keyring/learn.h"

#include <stdio.h>
#include <unistd.h>

#define OPEN_LAYERS_MAX 8

static bool is_report;

static const struct cli_option options[] = {{"report", NULL, "print only the verdict", &is_report, NULL, NULL},
                                            {NULL, NULL, NULL, NULL, NULL, NULL}};

static json_t *verdict_json(const struct crypto_opened *opened)
{
    const struct crypto_verdict *verdict = &opened->verdict;
    char at[CLOCK_TEXT_SIZE];
    clock_format(verdict->at, at);
    const bool is_signed = verdict->signature != CRYPTO_SIG_NONE;
    return json_pack("{s:s, s:s, s:s, s:s*, s:s*, s:s*, s:s, s:s*}", "signature",
                     crypto_signature_name(verdict->signature), "encryption",
                     crypto_encryption_name(verdict->encryption), "integrity", verdict->has_integrity ? "ok" : "none",
                     "signer", verdict->signer[0] ? verdict->signer : NULL, "fingerprint",
                     verdict->fingerprint[0] ? verdict->fingerprint : NULL, "trust",
                     is_signed ? keyring_trust_name(verdict->trust) : NULL, "at", at, "reason",
                     opened->reason[0] ? opened->reason : NULL);
}

/* The verdict goes to standard output if that is all that was asked for, else beside the view to standard error. */
static int print_verdict(const struct cli *cli, const struct crypto_opened *opened)
{
    FILE *out = is_report ? stdout : stderr;
    if (cli->is_json) {
        json_t *json = verdict_json(opened);
        const bool is_done = json && !json_dumpf(json, out, JSON_INDENT(2) | JSON_SORT_KEYS) && fputc('\n', out) != EOF;
        json_decref(json);
        return is_done ? CLI_DONE : CLI_FAILED;
    }
    struct buf text;
    buf_init(&text, 4096);
    enum err err = crypto_verdict_format(&opened->verdict, &text);
    if (!err)
        fprintf(out, "%s%s%s\n", text.data, opened->reason[0] ? "\n" : "", opened->reason);
    buf_fini(&text);
    return err ? cli_fail(cli, err, "writing the verdict") : CLI_DONE;
}

/* From whom it says it is, as it was sent, and opened. */
static bool is_good(const struct crypto_verdict *verdict)
{
    return verdict->signature == CRYPTO_SIG_GOOD && verdict->has_integrity && verdict->encryption != CRYPTO_ENC_FAILED;
}

/* As a keeper does: keys that came with mail that verified. What fails has been logged, and is no failure of opening.
 */
static void keep_attached(const struct cli *cli, const struct crypto_smime *smime, const char *address,
                          struct span attached)
{
    struct buf said;
    size_t kept;
    buf_init(&said, KEYRING_LEARN_WORDS_MAX);
    const struct keyring_learner learner = {.address = address,
                                            .certificates = smime->certificates,
                                            .anchors = smime->anchors,
                                            .gpg = cli->gpg,
                                            .now = clock_now(),
                                            .is_mail = true,
                                            .words = &said};
    enum err err = keyring_learn(&learner, attached, &kept);
    if (!err)
        err = cli_keep_words(cli, buf_span(&said));
    if (err)
        (void)log_failure(err, "keeping a key that came with mail of %s", address);
    buf_fini(&said);
}

static bool can_read_record(const char *author, void *context)
{
    return cli_can_read_record(context, author);
}

static int open_message(struct cli *cli, struct span message)
{
    char authserv_id[CONFIG_AUTHSERV_ID_SIZE];
    config_authserv_id(cli->config, authserv_id);
    struct crypto_smime smime;
    enum err err = cli_open_smime(cli, &smime);
    if (err)
        return cli_exit_of(err);
    struct buf attached;
    const struct crypto_open_options how = {.keyring = cli->keyring,
                                            .smime = &smime,
                                            .least = KEYRING_FOUND,
                                            .can_read_record = can_read_record,
                                            .record_context = cli,
                                            .output_max = cli->config->message_max * 2,
                                            .layers_max = OPEN_LAYERS_MAX,
                                            .authserv_id = authserv_id,
                                            .attached = &attached,
                                            .asks_person = true};
    struct crypto_opened opened = {.is_changed = false};
    struct buf view;
    buf_init(&attached, CRYPTO_ATTACHED_MAX);
    buf_init_secret(&view, cli->config->message_max * 2 + 65536);
    err = crypto_open(cli->gpg, &how, message, &view, &opened);
    int status = err ? cli_fail(cli, err, "opening the message") : CLI_DONE;
    if (!err && !is_report && (err = cli_write(STDOUT_FILENO, buf_span(&view))))
        status = cli_fail(cli, err, "writing the message");
    buf_fini(&view);
    crypto_session_keys_fini(&opened.session_keys);
    if (!err && smime.certificates && !clock_is_fixed())
        crypto_learnt_keep(&opened.learnt, smime.certificates, clock_now());
    crypto_learnt_fini(&opened.learnt);
    if (!err && attached.len > 0 && !clock_is_fixed())
        keep_attached(cli, &smime, opened.verdict.signer, buf_span(&attached));
    buf_fini(&attached);
    if (status == CLI_DONE)
        status = print_verdict(cli, &opened);
    return status == CLI_DONE && !is_good(&opened.verdict) ? CLI_REFUSED : status;
}

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    enum err err = cli_open_account(cli, NULL);
    if (err)
        return cli_exit_of(err);
    struct buf message;
    buf_init_secret(&message, cli->config->message_max);
    err = cli_read_message(cli, &message);
    int status = err ? cli_fail(cli, err, "reading the message") : CLI_DONE;
    if (!err) {
        err = cli_open_ring(cli, true);
        status = err ? cli_exit_of(err) : open_message(cli, buf_span(&message));
    }
    buf_fini(&message);
    return status;
}

const struct cli_command cli_open = {
    .name = "open",
    .summary = "decrypts and verifies a message from standard input",
    .text = "Reads a message from standard input and writes it to standard output, decrypted, with its verdict in the\n"
            "header if it was signed or encrypted. The verdict also goes to standard error; with --report only the\n"
            "verdict is written, to standard output. Exits 1 unless the verdict is good: a good signature,\n"
            "and nothing encrypted that could not be opened or could have been changed. With --at, keys,\n"
            "certificates and signatures are judged as of that time.",
    .example = "privyseal open --report < message.eml",
    .options = options,
    .run = run};
