/*
 * privyseal seal: a message from standard input, as the proxy would send it.
 */
#include "cli/vault.h"

#include "base/clock.h"
#include "base/memfd.h"
#include "mime/field.h"
#include "proxy/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *from, *output_dir;
static struct cli_list to;

static const struct cli_option options[] = {
    {"from", "ADDRESS", "the sender; default: the message's From", NULL, &from, NULL},
    {"to", "ADDRESS", "a recipient (may be repeated); default: the message's To, Cc and Bcc", NULL, NULL, &to},
    {"output-dir", "DIR", "write each copy to a file of its own in DIR", NULL, &output_dir, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

struct seal {
    struct cli *cli;
    struct buf message;
    char *addresses[CRYPTO_RECIPIENTS_MAX]; /* normal form, owned */
    size_t addresses_len;
    struct crypto_facts facts;
    bool is_visible[CRYPTO_RECIPIENTS_MAX];
    struct policy_recipient recipients[CRYPTO_RECIPIENTS_MAX];
    struct policy_message planned; /* what the plan was made for */
    struct policy_plan plan;
    struct proxy_copy copy;
    json_t *report;
};

static enum err add_address(struct seal *seal, const char *address)
{
    for (size_t i = 0; i < seal->addresses_len; i++)
        if (mime_addr_is_same(seal->addresses[i], address))
            return ERR_OK;
    if (seal->addresses_len >= seal->cli->config->recipients_max)
        return ERR_TOO_MANY_RECIPIENTS;
    char *copy = strdup(address);
    if (!copy)
        return ERR_MEMORY;
    seal->addresses[seal->addresses_len++] = copy;
    return ERR_OK;
}

static enum err add_mailbox(const struct mime_addr *addr, void *context)
{
    return add_address(context, addr->address);
}

static struct span header_of(struct span message)
{
    const size_t end = span_find(message, 0, SPAN_LIT("\r\n\r\n"));
    return end == SIZE_MAX ? message : span_slice(message, 0, end + 4);
}

static enum err recipients_of_message(struct seal *seal)
{
    /* A resent message goes to those it is resent to (RFC 5322 §3.6.6). */
    static const char *const resent[] = {"Resent-To", "Resent-Cc", "Resent-Bcc", NULL};
    static const char *const plain[] = {"To", "Cc", "Bcc", NULL};
    const struct span header = header_of(buf_span(&seal->message));
    struct mime_field field;
    const char *const *names = mime_field_find(header, "Resent-To", &field) ? resent : plain;
    size_t at = 0;
    enum err err = ERR_OK;
    while (!err && mime_field_next(header, &at, &field))
        for (size_t i = 0; !err && names[i]; i++)
            if (mime_field_is(&field, names[i]) && span_trim(field.value).len)
                err = mime_addr_walk(field.value, add_mailbox, seal);
    return err;
}

static enum err find_recipients(struct seal *seal)
{
    if (to.len == 0) {
        enum err err = recipients_of_message(seal);
        if (err)
            (void)cli_fail(seal->cli, err, "reading the recipients in the message (name them with --to)");
        return err;
    }
    for (size_t i = 0; i < to.len; i++) {
        char address[MIME_ADDR_SIZE];
        enum err err = mime_addr_normalise(span_of(to.items[i]), address);
        if (!err)
            err = add_address(seal, address);
        if (err) {
            (void)cli_fail(seal->cli, err, "--to %s", to.items[i]);
            return err;
        }
    }
    return ERR_OK;
}

/* The address for which an account is looked for before the message has been inspected with its settings. */
static enum err open_account(struct seal *seal)
{
    const struct crypto_inspect_options none = {.subject_tag = NULL};
    struct crypto_facts facts = {.from_len = 0};
    enum err err = from ? ERR_OK : crypto_inspect(buf_span(&seal->message), &none, &facts, NULL);
    if (err) {
        (void)cli_fail(seal->cli, err, "reading the message");
        return err;
    }
    err = cli_open_account(seal->cli, from ? from : facts.from);
    return err ? err : cli_open_ring(seal->cli, false);
}

/* As the proxy asks before it plans: where nothing was ever kept, nothing came encrypted. */
static enum err find_encrypted(const struct seal *seal, bool *is_found_out)
{
    struct cli_vault vault;
    *is_found_out = false;
    if (seal->facts.answered.len == 0)
        return ERR_OK;
    enum err err = cli_vault_open(seal->cli->config, false, &vault);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (!err) {
        err = cli_vault_find_encrypted(&vault, seal->cli->account->address, &seal->facts.answered, is_found_out);
        cli_vault_close(&vault);
    }
    if (err)
        (void)cli_fail(seal->cli, err, "asking the store whether this is a reply to an encrypted message");
    return err;
}

static enum err make_plan(struct seal *seal)
{
    const struct config *config = seal->cli->config;
    const struct config_account *account = seal->cli->account;
    const struct crypto_inspect_options inspect = {.subject_tag = config->subject_tag,
                                                   .recipients = (const char *const *)seal->addresses,
                                                   .recipients_len = seal->addresses_len};
    enum err err = crypto_inspect(buf_span(&seal->message), &inspect, &seal->facts, seal->is_visible);
    if (err) {
        (void)cli_fail(seal->cli, err, "reading the message");
        return err;
    }
    bool is_reply_to_encrypted;
    err = find_encrypted(seal, &is_reply_to_encrypted);
    if (err)
        return err;
    for (size_t i = 0; i < seal->addresses_len; i++)
        seal->recipients[i] =
            (struct policy_recipient){.address = seal->addresses[i],
                                      .is_visible = seal->is_visible[i],
                                      .is_record_read = cli_can_read_record(seal->cli, seal->addresses[i])};
    seal->planned = (struct policy_message){.recipients = seal->recipients,
                                            .recipients_len = seal->addresses_len,
                                            .from = seal->facts.from,
                                            .own = (const char *const *)account->addresses,
                                            .own_len = account->addresses_len,
                                            .is_sealed = seal->facts.sealed != CRYPTO_NOT_SEALED,
                                            .is_reply_to_encrypted = is_reply_to_encrypted,
                                            .wants_encryption = seal->facts.wants_encryption,
                                            .wants_plain = seal->facts.wants_plain,
                                            .is_mutual = account->autocrypt == KEYRING_PREFERENCE_MUTUAL,
                                            .now = clock_now(),
                                            .groups_max = config->groups_max};
    char detail[POLICY_DETAIL_SIZE];
    err = policy_plan_make(&config->policy, seal->cli->keyring, &seal->planned, &seal->plan, detail);
    if (err)
        (void)cli_fail(seal->cli, err, "%s", detail);
    else if (seal->plan.warning[0])
        fprintf(stderr, "privyseal seal: %s\n", seal->plan.warning);
    return err;
}

static enum err seal_group(struct seal *seal, const struct policy_group *group, int *fd_out)
{
    char cache[CONFIG_PATH_SIZE];
    *fd_out = -1;
    if (!config_key_cache(seal->cli->config, seal->cli->account, cache))
        return ERR_CONFIG;
    struct crypto_seal_request request;
    struct crypto_smime smime;
    enum err err = cli_open_smime(seal->cli, &smime);
    if (err)
        return err;
    seal->copy = (struct proxy_copy){.config = seal->cli->config,
                                     .account = seal->cli->account,
                                     .keyring = seal->cli->keyring,
                                     .message = &seal->planned};
    proxy_copy_request(&seal->copy, group, &request);
    request.smime = &smime;
    request.key_cache_dir = cache;
    struct crypto_seal_result result;
    err = memfd_new("sealed", fd_out);
    if (!err)
        err = crypto_seal(seal->cli->gpg, &request, buf_span(&seal->message), *fd_out, &result);
    return err;
}

static enum err write_copy(int sealed, int target)
{
    char block[65536];
    off_t at = 0;
    ssize_t count;
    while ((count = pread(sealed, block, sizeof block, at)) > 0) {
        enum err err = cli_write(target, (struct span){block, (size_t)count});
        if (err)
            return err;
        at += count;
    }
    return count < 0 ? err_of_errno(errno) : ERR_OK;
}

static enum err write_file(int sealed, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == EEXIST ? ERR_EXISTS : cli_file_failure(path);
    enum err err = write_copy(sealed, fd);
    if (close(fd) && !err)
        err = err_of_errno(errno);
    return err;
}

static void report_group(struct seal *seal, const struct policy_group *group, const char *path)
{
    json_t *recipients = json_array(), *keys = json_array();
    for (size_t i = 0; i < group->recipients_len; i++)
        (void)json_array_append_new(recipients, json_string(seal->addresses[group->recipients[i]]));
    for (size_t i = 0; i < group->keys_len; i++)
        (void)json_array_append_new(keys, json_string(group->keys[i]));
    (void)json_array_append_new(seal->report, json_pack("{s:s, s:s, s:o, s:o, s:s*}", "action",
                                                        plan_action_name(group->action), "signer", group->signer,
                                                        "recipients", recipients, "keys", keys, "file", path));
    if (seal->cli->is_json || !path)
        return;
    printf("%s: %s, for", path, plan_action_name(group->action));
    for (size_t i = 0; i < group->recipients_len; i++)
        printf(" %s", seal->addresses[group->recipients[i]]);
    printf("\n");
}

static enum err write_all(struct seal *seal, const int *sealed)
{
    enum err err = output_dir && mkdir(output_dir, 0700) && errno != EEXIST ? err_of_errno(errno) : ERR_OK;
    if (err)
        (void)cli_fail(seal->cli, err, "making %s", output_dir);
    for (size_t i = 0; !err && i < seal->plan.groups_len; i++) {
        char path[CONFIG_PATH_SIZE];
        const int count = snprintf(path, sizeof path, "%s/%zu.eml", output_dir ? output_dir : "", i + 1);
        if (!output_dir)
            err = write_copy(sealed[i], STDOUT_FILENO);
        else
            err = count > 0 && (size_t)count < sizeof path ? write_file(sealed[i], path) : ERR_LIMIT;
        if (err)
            (void)cli_fail(seal->cli, err, "writing %s", output_dir ? path : "standard output");
        else
            report_group(seal, &seal->plan.groups[i], output_dir ? path : NULL);
    }
    return err;
}

/* All copies are sealed before the first is written, as the proxy seals all before it sends one. */
static enum err seal_all(struct seal *seal)
{
    const size_t len = seal->plan.groups_len;
    int *sealed = calloc(len, sizeof *sealed);
    if (!sealed)
        return ERR_MEMORY;
    enum err err = ERR_OK;
    size_t done = 0;
    while (!err && done < len) {
        err = seal_group(seal, &seal->plan.groups[done], &sealed[done]);
        done++;
    }
    if (err)
        (void)cli_fail(seal->cli, err, "sealing");
    else
        err = write_all(seal, sealed);
    for (size_t i = 0; i < done; i++)
        if (sealed[i] >= 0)
            close(sealed[i]);
    free(sealed);
    return err;
}

static int say_several(const struct seal *seal)
{
    fprintf(stderr,
            "privyseal seal: the message becomes %zu different copies; expected --output-dir, or --to for one:\n",
            seal->plan.groups_len);
    for (size_t i = 0; i < seal->plan.groups_len; i++) {
        const struct policy_group *group = &seal->plan.groups[i];
        fprintf(stderr, "  %s:", plan_action_name(group->action));
        for (size_t j = 0; j < group->recipients_len; j++)
            fprintf(stderr, " %s", seal->addresses[group->recipients[j]]);
        fputc('\n', stderr);
    }
    return CLI_REFUSED;
}

/* The message has standard output unless it goes to files: the report goes where it does no harm. */
static int print_report(struct seal *seal)
{
    if (!seal->cli->is_json)
        return CLI_DONE;
    if (output_dir)
        return cli_print_json(json_incref(seal->report));
    return json_dumpf(seal->report, stderr, JSON_INDENT(2) | JSON_SORT_KEYS) || fputc('\n', stderr) == EOF ? CLI_FAILED
                                                                                                           : CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    enum err err = cli_open_config(cli);
    if (err)
        return cli_exit_of(err);
    static struct seal seal;
    seal.cli = cli;
    seal.report = json_array();
    buf_init_secret(&seal.message, cli->config->message_max);
    err = cli_read_message(cli, &seal.message);
    int status = err ? cli_fail(cli, err, "reading the message") : CLI_DONE;
    if (!err)
        err = open_account(&seal);
    if (!err)
        err = find_recipients(&seal);
    if (!err)
        err = make_plan(&seal);
    if (!err && seal.plan.groups_len > 1 && !output_dir)
        status = say_several(&seal);
    else if (!err)
        err = seal_all(&seal);
    if (err)
        status = cli_exit_of(err);
    if (status == CLI_DONE)
        status = print_report(&seal);
    policy_plan_fini(&seal.plan);
    for (size_t i = 0; i < seal.addresses_len; i++)
        free(seal.addresses[i]);
    buf_fini(&seal.message);
    json_decref(seal.report);
    return status;
}

const struct cli_command cli_seal = {
    .name = "seal",
    .summary = "protects a message from standard input, as the proxy would",
    .text =
        "Reads a message from standard input and writes it to standard output as the proxy would send it: signed and\n"
        "encrypted as the rules say. Where recipients get different copies (each Bcc recipient does), --output-dir\n"
        "takes one file for each. Exits 1 if the proxy would refuse the message. With --json, what was done goes\n"
        "to standard error (with --output-dir: to standard output).",
    .example = "privyseal seal --to bob@example.org < message.eml > sealed.eml",
    .options = options,
    .run = run};
