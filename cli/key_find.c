#include "cli/key.h"
#include "cli/source.h"
#include "cli/table.h"
#include "cli/vault.h"

#include "base/clock.h"
#include "keyring/autocrypt.h"
#include "keyring/key_packets.h"
#include "keyring/learn.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static bool is_importing;

static const struct cli_option options[] = {
    {"import", NULL, "keep what is good of it, as the proxy would", &is_importing, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

struct finding {
    struct cli *cli;
    struct keyring_learner learner;
    struct table *table;
    json_t *list;
    size_t good;     /* pieces that could be kept, or are here already */
    size_t failures; /* sources that could not be asked */
};

struct line {
    const struct config_source *source; /* NULL: mail has told it, by Autocrypt or its gossip (`heard`) */
    enum keyring_source heard;
    int64_t heard_at;
    const char *state, *what, *trust;
    char name[300], until[CLI_DATE_SIZE];
    const char *reason;
};

static enum err add_line(struct finding *finding, const struct line *line)
{
    char source[PROXY_SOURCE_NAME_SIZE];
    const enum keyring_source kind = line->source ? line->source->kind : line->heard;
    const char *const cells[] = {source, line->state, line->what, line->trust, line->until, line->name, line->reason};
    if (line->source)
        proxy_source_name(line->source, source);
    else
        snprintf(source, sizeof source, "%s", keyring_source_name(kind));
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "source", keyring_source_name(kind),
                             "directory", line->source ? line->source->name : "", "state", line->state, "kind",
                             line->what, "trust", line->trust, "until", line->until, "name", line->name, "reason",
                             line->reason, "heard", line->source ? json_null() : json_integer(line->heard_at));
    if (json_array_append_new(finding->list, json))
        return ERR_MEMORY;
    const enum err err = table_add(finding->table, cells);
    table_colour(finding->table, 1, colour_of(line->state));
    table_colour(finding->table, 3, colour_of(line->trust));
    return err;
}

/* The trust that it would have, were it kept. */
static enum err describe(const struct finding *finding, const struct keyring_found *found, X509 *certificate,
                         STACK_OF(X509) * issuers, struct line *line)
{
    const struct keyring_learner *learner = &finding->learner;
    struct keyring *entries;
    enum keyring_chain chain;
    enum err err = keyring_new(&entries);
    if (!err)
        err = keyring_x509_add(certificate, KEYRING_UNVERIFIED, entries);
    if (!err && keyring_len(entries) > 0) {
        const struct keyring_entry *entry = keyring_at(entries, 0);
        snprintf(line->name, sizeof line->name, "%s", entry->user_id);
        cli_date(entry->expires, line->until);
    }
    keyring_free(&entries);
    line->trust = keyring_trust_name(found->is_found ? KEYRING_FOUND : KEYRING_UNVERIFIED);
    if (err || !learner->anchors)
        return err;
    const char *reason = "";
    err = keyring_x509_judge(learner->anchors, certificate, issuers, KEYRING_ENCRYPT, learner->now, &chain, &reason);
    if (!err && chain == KEYRING_CHAIN_GOOD)
        line->trust = keyring_trust_name(KEYRING_FULL);
    else if (!err && !found->is_found)
        line->reason = reason;
    return err;
}

/* A key_packets_fn: what a person compares, of the first key alone. */
static enum err name_key(const struct key_packets_key *key, void *context)
{
    struct line *line = context;
    if (!line->name[0])
        snprintf(line->name, sizeof line->name, "%s", key->fingerprint);
    return ERR_OK;
}

static enum err show(struct finding *finding, const struct config_source *source, const struct keyring_found *found,
                     STACK_OF(X509) * issuers)
{
    enum keyring_learnt learnt;
    X509 *certificate;
    enum err err = keyring_learn_judge(&finding->learner, found, &learnt, &certificate);
    const bool is_issuer = certificate && learnt >= KEYRING_LEARNT_ISSUER && X509_check_ca(certificate) > 0;
    const bool is_good = learnt >= KEYRING_LEARNT_KNOWN && !is_issuer;
    struct line line = {.source = source,
                        .state = is_good     ? "found"
                                 : is_issuer ? "issuer"
                                             : "ignored",
                        .what = certificate                            ? "S/MIME"
                                : found->kind == KEYRING_FOUND_OPENPGP ? "OpenPGP"
                                                                       : "",
                        .trust =
                            is_good ? keyring_trust_name(found->is_found ? KEYRING_FOUND : KEYRING_UNVERIFIED) : "",
                        .reason = keyring_learnt_text(learnt)};
    if (!err && certificate && is_good)
        err = describe(finding, found, certificate, issuers, &line);
    else if (found->kind == KEYRING_FOUND_OPENPGP && key_packets_walk(found->bytes, name_key, &line) != ERR_OK)
        line.name[0] = '\0'; /* Of what is no key nothing is to be said. */
    X509_free(certificate);
    finding->good += is_good;
    return err ? err : add_line(finding, &line);
}

/* Those that are known, and those that came with the answer. NULL: no memory. */
static STACK_OF(X509) * all_issuers(const struct finding *finding, struct span rest)
{
    struct keyring_found found;
    STACK_OF(X509) *known = keyring_certificates_issuers(finding->learner.certificates);
    STACK_OF(X509) *issuers = known ? X509_chain_up_ref(known) : NULL;
    while (issuers && keyring_found_take(&rest, &found) == ERR_OK) {
        enum keyring_learnt learnt;
        X509 *certificate;
        if (keyring_learn_judge(&finding->learner, &found, &learnt, &certificate))
            return issuers;
        if (learnt != KEYRING_LEARNT_ISSUER || sk_X509_push(issuers, certificate) <= 0)
            X509_free(certificate);
    }
    return issuers;
}

static enum err show_source(struct finding *finding, const struct cli_source *source)
{
    struct line line = {.source = source->config, .what = "", .trust = ""};
    struct span rest = buf_span(&source->found);
    struct keyring_found found;
    enum err err;
    if (!source->is_asked) {
        line.state = "not asked";
        line.reason = "its domains are others";
        return add_line(finding, &line);
    }
    if (source->err) {
        finding->failures++;
        line.state = "failed";
        line.reason = source->problem;
        if ((err = add_line(finding, &line)) != ERR_OK || rest.len == 0)
            return err;
    }
    if (rest.len == 0) {
        line.state = "nothing";
        line.reason = source->problem[0] ? source->problem : "it knows no key for the address";
        return add_line(finding, &line);
    }
    STACK_OF(X509) *issuers = all_issuers(finding, rest);
    if (!issuers)
        return ERR_MEMORY;
    while ((err = keyring_found_take(&rest, &found)) == ERR_OK)
        if ((err = show(finding, source->config, &found, issuers)) != ERR_OK)
            break;
    sk_X509_pop_free(issuers, X509_free);
    return err == ERR_END ? ERR_OK : err;
}

static enum err import(struct finding *finding, const struct cli_source *sources)
{
    struct buf said;
    enum err err = ERR_OK;
    buf_init(&said, KEYRING_LEARN_WORDS_MAX);
    finding->learner.words = &said;
    for (size_t i = 0; !err && i < finding->cli->config->sources_len; i++) {
        char name[PROXY_SOURCE_NAME_SIZE];
        size_t kept;
        proxy_source_name(sources[i].config, name);
        buf_clear(&said);
        err = keyring_learn(&finding->learner, buf_span(&sources[i].found), &kept);
        if (!err)
            err = cli_keep_words(finding->cli, buf_span(&said));
        if (!err && kept > 0)
            fprintf(finding->cli->is_json ? stderr : stdout, "%s: %zu kept\n", name, kept);
    }
    finding->learner.words = NULL;
    buf_fini(&said);
    return err;
}

static enum err show_heard(struct finding *finding, enum keyring_source source, const char *fingerprint, int64_t at,
                           const char *advice)
{
    char date[CLI_DATE_SIZE], reason[200];
    struct line line = {.heard = source,
                        .heard_at = at,
                        .state = "found",
                        .what = "OpenPGP",
                        .trust = keyring_trust_name(keyring_source_trust_max(source)),
                        .reason = reason};
    cli_date(at, date);
    snprintf(line.name, sizeof line.name, "%s", fingerprint);
    snprintf(reason, sizeof reason, "%s %s; %s", source == KEYRING_SOURCE_GOSSIP ? "in others' mail of" : "last sent",
             date, advice);
    finding->good++;
    return add_line(finding, &line);
}

/* What mail has told stands in the correspondent's record: nobody is asked, and gpg does not look at it before the
   proxy wants it. Of a record that is damaged the log tells. */
static enum err show_record(struct finding *finding)
{
    struct cli *cli = finding->cli;
    struct cli_vault vault;
    struct keyring_peer peer;
    if (!cli->config->has_autocrypt)
        return ERR_OK;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (!err) {
        err = cli_vault_peer_get(&vault, cli->account->address, finding->learner.address, &peer);
        cli_vault_close(&vault);
    }
    if (err)
        return err == ERR_NOT_FOUND || err == ERR_DAMAGED ? ERR_OK : err;
    const struct keyring_autocrypt *autocrypt = &peer.autocrypt;
    if (autocrypt->key.len > 0)
        err = show_heard(finding, KEYRING_SOURCE_AUTOCRYPT, autocrypt->fingerprint, autocrypt->timestamp,
                         key_advice_text(keyring_autocrypt_advice(&peer)));
    if (!err && autocrypt->gossip_key.len > 0)
        err = show_heard(finding, KEYRING_SOURCE_GOSSIP, autocrypt->gossip_fingerprint, autocrypt->gossip_timestamp,
                         "used in replies to encrypted mail");
    keyring_peer_fini(&peer);
    return err;
}

static enum err ask_all(struct finding *finding)
{
    const struct config *config = finding->cli->config;
    const struct cli_question question = {.address = finding->learner.address};
    struct cli_source *sources;
    enum err err = cli_ask_sources(config, &question, &sources);
    for (size_t i = 0; !err && i < config->sources_len; i++)
        err = show_source(finding, &sources[i]);
    if (!err && !finding->cli->is_json)
        table_print(finding->table);
    if (!err && is_importing)
        err = import(finding, sources);
    cli_sources_free(config, &sources);
    return err;
}

static bool is_vain(const struct finding *finding)
{
    return finding->cli->config->sources_len == 0 && finding->good == 0;
}

static enum err find_all(struct finding *finding)
{
    static const char *const heads[] = {"SOURCE", "STATE", "KIND", "TRUST", "UNTIL", "KEY OR NAME", "REASON"};
    enum err err = table_new(heads, 7, &finding->table);
    if (!err)
        err = show_record(finding);
    return err || is_vain(finding) ? err : ask_all(finding);
}

static int run(struct cli *cli, int argc, char **argv)
{
    char address[MIME_ADDR_SIZE], path[CONFIG_PATH_SIZE];
    struct keyring_certificates *certificates = NULL;
    struct keyring_anchors *anchors = NULL;
    if (argc != 1)
        return cli_usage(cli, "expected one address");
    if (mime_addr_normalise(span_of(argv[0]), address))
        return cli_usage(cli, "\"%s\" is no address; expected one like bob@example.org", argv[0]);
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    if (keyring_anchors_open(cli->account->smime_ca, &anchors))
        return cli_fail(cli, ERR_CONFIG, "reading the trust anchors in %s", cli->account->smime_ca);
    err = config_certificates(cli->config, cli->account, path) ? keyring_certificates_open(path, &certificates)
                                                               : ERR_CONFIG;
    struct finding finding = {.cli = cli, .list = json_array()};
    finding.learner = (struct keyring_learner){
        .address = address, .certificates = certificates, .anchors = anchors, .gpg = cli->gpg, .now = clock_now()};
    if (!err)
        err = find_all(&finding);
    int status = err ? cli_fail(cli, err, "looking for %s", address)
                 : is_vain(&finding)
                     ? cli_usage(cli, "there is nobody to ask; expected `sources`, or a section directory, in the "
                                      "configuration")
                 : cli->is_json ? cli_print_json(json_incref(finding.list))
                                : CLI_DONE;
    table_free(&finding.table);
    json_decref(finding.list);
    keyring_certificates_close(&certificates);
    keyring_anchors_close(&anchors);
    if (status)
        return status;
    return finding.good > 0 ? CLI_DONE : finding.failures > 0 ? CLI_FAILED : CLI_REFUSED;
}

const struct cli_command cli_key_find = {
    .name = "key find",
    .operands = "ADDRESS",
    .summary = "asks the sources of keys for an address, and shows what each of them has",
    .text =
        "Asks every source of keys whose `domains` let it be asked for ADDRESS, all at once, and shows what each of\n"
        "them has, what it would be trusted for, or why it would be ignored. Nothing is kept unless --import says so.\n"
        "Before them stands what mail has told of ADDRESS by Autocrypt, when, and what that is used for.\n"
        "Exits 1 if there is no key that could be kept, 3 if that is because a source could not be asked.",
    .example = "privyseal key find bob@example.org",
    .options = options,
    .run = run};
