#include "cli/why.h"
#include "cli/heard.h"
#include "cli/vault.h"
#include "cli/wot.h"

#include "base/clock.h"
#include "proxy/source.h"

#include <stdio.h>
#include <string.h>

static const char *from;

static const struct cli_option options[] = {
    {"from", "ADDRESS", "as if sent from this address; default: the account's", NULL, &from, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

/* As the proxy does before it answers a recipient (proxy/session_mail.c): what mail has told by Autocrypt is imported
   when it is first wanted. */
static enum err import_heard(struct cli *cli, const struct why *answer)
{
    struct policy_choice choice;
    policy_choose(&cli->config->policy, cli->keyring, answer->address, answer->now, &choice);
    if (!answer->has_peer || !cli->config->has_autocrypt || !policy_wants_record(&choice))
        return ERR_OK;
    return cli_learn_heard(cli, &answer->peer);
}

static void find_answer(const struct cli *cli, const char *sender, struct why *answer)
{
    const struct policy_recipient recipient = {
        .address = answer->address, .is_visible = true, .is_record_read = cli_can_read_record(cli, answer->address)};
    const struct policy_message message = {.recipients = &recipient,
                                           .recipients_len = 1,
                                           .from = sender,
                                           .own = (const char *const *)cli->account->addresses,
                                           .own_len = cli->account->addresses_len,
                                           .is_mutual = cli->account->autocrypt == KEYRING_PREFERENCE_MUTUAL,
                                           .now = answer->now,
                                           .groups_max = cli->config->groups_max};
    struct policy_plan plan;
    policy_choose(&cli->config->policy, cli->keyring, answer->address, message.now, &answer->choice);
    answer->err = policy_plan_make(&cli->config->policy, cli->keyring, &message, &plan, answer->detail);
    if (!answer->err) {
        answer->action = plan.groups[0].action;
        memcpy(answer->signer, plan.groups[0].signer, sizeof answer->signer);
        answer->is_discouraged = answer->choice.key && policy_is_discouraged(answer->choice.key, &message);
    }
    policy_plan_fini(&plan);
    for (size_t i = 0; i < WHY_FORMATS; i++) {
        const struct keyring_want want = {.purpose = KEYRING_ENCRYPT,
                                          .formats = i == 0 ? KEYRING_OPENPGP : KEYRING_SMIME,
                                          .least = policy_least_trust(answer->choice.rule),
                                          .now = answer->now};
        keyring_answer(cli->keyring, answer->address, &want, &answer->formats[i]);
    }
}

/* Where nothing was ever kept, nothing is known; and of what is damaged the answer tells. */
static enum err find_peer(const struct cli *cli, struct why *answer)
{
    struct cli_vault vault;
    enum err err = cli_vault_open(cli->config, false, &vault);
    if (!err) {
        err = cli_vault_peer_get(&vault, cli->account->address, answer->address, &answer->peer);
        cli_vault_close(&vault);
    }
    answer->has_peer = !err;
    return err == ERR_NOT_FOUND || err == ERR_DAMAGED ? ERR_OK : err;
}

static const char *outcome(const struct why *answer)
{
    switch (answer->action) {
    case PLAN_PLAIN:
        return "leaves in clear, unsigned";
    case PLAN_SIGN:
        return "leaves signed, not encrypted";
    case PLAN_ENCRYPT:
        return "leaves encrypted, unsigned";
    case PLAN_SIGN_ENCRYPT:
        return "leaves signed and encrypted";
    case PLAN_PASS:
        return "leaves as it is";
    case PLAN_REFUSE:
        break;
    }
    return "is refused";
}

static enum colour outcome_colour(const struct why *answer)
{
    const bool is_encrypted = answer->action == PLAN_ENCRYPT || answer->action == PLAN_SIGN_ENCRYPT;
    return answer->action == PLAN_REFUSE ? COLOUR_BAD : is_encrypted ? COLOUR_GOOD : COLOUR_NONE;
}

/* Those that would be asked before the recipient is answered; why asks none. */
static bool is_asked(const struct config_source *source, const struct why *answer)
{
    return policy_wants_sources(&answer->choice, answer->now) && config_source_serves(source, answer->address);
}

static bool is_any_asked(const struct why *answer)
{
    const struct config *config = answer->cli->config;
    for (size_t i = 0; i < config->sources_len; i++)
        if (is_asked(config->sources[i], answer))
            return true;
    return false;
}

/* Why a copy that could have been encrypted is not. */
static const char *missing_key(const struct why *answer)
{
    if (!answer->choice.has_candidate && is_any_asked(answer))
        return "none here; the proxy asks for one when you write, `privyseal key find` asks now";
    if (!answer->choice.has_candidate)
        return "none; import one with `privyseal key import`";
    if (answer->choice.reason == KEYRING_TOO_LITTLE_TRUST && answer->choice.tried == KEYRING_SMIME)
        return "there is a certificate, not trusted enough; see `privyseal key show`, and `smime_ca`";
    if (answer->choice.reason == KEYRING_TOO_LITTLE_TRUST)
        return "there is one, not trusted enough; compare its fingerprint and do `privyseal key pin`";
    return keyring_reason_text(answer->choice.reason);
}

/* Why a copy for which there is a key leaves in clear; NULL: it does not, or the rule says so. */
static const char *plain_with_key(const struct why *answer)
{
    const bool is_plain = answer->action == PLAN_PLAIN || answer->action == PLAN_SIGN;
    return is_plain && answer->is_discouraged ? "there is a key, but neither asks for encryption" : NULL;
}

static json_t *sources_json(const struct config *config, const struct why *answer)
{
    json_t *list = json_array();
    for (size_t i = 0; i < config->sources_len; i++) {
        char name[PROXY_SOURCE_NAME_SIZE];
        proxy_source_name(config->sources[i], name);
        if (is_asked(config->sources[i], answer))
            (void)json_array_append_new(list, json_string(name));
    }
    return list;
}

static int print_json(const struct cli *cli, const struct why *answer)
{
    const struct policy_choice *choice = &answer->choice;
    json_t *key = choice->key ? key_json(choice->key) : json_null();
    json_t *more = choice->key ? key_certificate_json(cli, choice->key) : NULL;
    if (key && more)
        (void)json_object_update(key, more);
    json_decref(more);
    if (choice->key) {
        (void)json_object_set_new(key, "words", why_words_json(answer, choice->key));
        (void)json_object_set_new(key, "path", cli_wot_entry_json(cli, choice->key));
        (void)json_object_set_new(key, "stale_since", why_stale_json(answer, choice->key));
    }
    return cli_print_json(
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:s*, s:s*, s:s, s:o, s:o, s:o, s:o, s:o}", "address",
                  answer->address, "rule", choice->rule->name ? choice->rule->name : "", "encrypt",
                  policy_encrypt_name(choice->rule->encrypt), "sign", policy_sign_name(choice->rule->sign), "trust",
                  keyring_trust_name(policy_least_trust(choice->rule)), "action", plan_action_name(answer->action),
                  "result", answer->err ? err_name(answer->err) : "ok", "key", key, "reason",
                  choice->key ? plain_with_key(answer) : missing_key(answer), "detail",
                  answer->detail[0] ? answer->detail : NULL, "signer", answer->signer, "sources",
                  sources_json(cli->config, answer), "candidates", why_candidates_json(answer), "conflict",
                  why_conflict_json(answer), "successor", why_successor_json(answer), "peer", why_peer_json(answer)));
}

/* Certificates for the address that are not taken: where each came from, and why its chain does not lead on. */
static enum err add_others(const struct cli *cli, struct table *table, const char *address)
{
    size_t first;
    const size_t len = keyring_find(cli->keyring, address, &first);
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < len; i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, first + i);
        const struct keyring_certificate *certificate = key_certificate(cli, entry);
        if (!certificate)
            continue;
        char source[KEY_TEXT_SIZE], grouped[KEY_GROUPED_SIZE];
        key_group(entry->fingerprint, grouped);
        key_certificate_source(certificate, source);
        err = why_add(table, "certificate", grouped);
        if (!err)
            err = why_add(table, "source", source);
        if (!err)
            err = key_certificate_explain(cli, certificate, KEYRING_ENCRYPT, table);
    }
    return err;
}

static enum err add_key(const struct cli *cli, struct table *table, const struct why *answer)
{
    const struct keyring_entry *key = answer->choice.key;
    if (!key) {
        enum err err = why_add(table, "key", missing_key(answer));
        return err ? err : add_others(cli, table, answer->address);
    }
    char grouped[KEY_GROUPED_SIZE];
    key_group(key->fingerprint, grouped);
    enum err err = why_add(table, "key", grouped);
    if (!err)
        err = why_add(table, "user ID", key->user_id);
    const struct keyring_certificate *certificate = key_certificate(cli, key);
    char text[KEY_TEXT_SIZE] = "the account's GnuPG key ring";
    size_t words_len = 0;
    if (!err)
        err = why_add_words(answer, key, table, &words_len);
    if (certificate)
        key_certificate_source(certificate, text);
    if (!err && (certificate || words_len == 0))
        err = why_add(table, "source", text);
    if (!err && certificate)
        err = key_certificate_explain(cli, certificate, KEYRING_ENCRYPT, table);
    if (!err)
        err = why_add(table, "trust", keyring_trust_name(key->trust));
    table_colour(table, 1, colour_of(keyring_trust_name(key->trust)));
    if (!err)
        err = why_add_stale(answer, key, table);
    return err ? err : cli_wot_add_entry(cli, key, table);
}

/* In what order they would be asked: those of one stage together, the next stage if that has brought nothing. */
static enum err add_sources(struct table *table, const struct config *config, const struct why *answer)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < config->sources_len; i++) {
        const struct config_source *source = config->sources[i];
        char name[PROXY_SOURCE_NAME_SIZE], text[200];
        proxy_source_name(source, name);
        const char *state = !config_source_serves(source, answer->address)    ? "is never asked: its domains are others"
                            : !is_asked(source, answer) && answer->choice.key ? "is not asked: there is a key"
                            : !is_asked(source, answer)                       ? "is not asked: nothing is encrypted"
                            : config_source_stage(config, i, answer->address) == 0
                                ? "is asked for a key"
                                : "is asked for a key if those before it have none";
        snprintf(text, sizeof text, "%s %s", name, state);
        err = why_add(table, "asks", text);
    }
    return err;
}

static int print_table(const struct cli *cli, const struct why *answer)
{
    const struct policy_rule *rule = answer->choice.rule;
    struct table *table;
    enum err err = table_new(NULL, 2, &table);
    if (!err)
        err = why_add(table, "mail for", answer->address);
    if (!err)
        err = why_add(table, "rule", rule->name ? rule->name : "");
    if (!err)
        err = why_add(table, "encrypt", policy_encrypt_name(rule->encrypt));
    if (!err)
        err = why_add(table, "sign", policy_sign_name(rule->sign));
    if (!err)
        err = why_add(table, "least trust", keyring_trust_name(policy_least_trust(rule)));
    if (!err)
        err = add_key(cli, table, answer);
    if (!err)
        err = why_add_conflict(answer, table);
    if (!err)
        err = why_add_passed(answer, table);
    if (!err)
        err = why_add_successor(answer, table);
    if (!err)
        err = why_add_peer(answer, table);
    if (!err)
        err = add_sources(table, cli->config, answer);
    if (!err && answer->signer[0])
        err = why_add(table, "signed by", answer->signer);
    if (!err)
        err = why_add(table, "result", outcome(answer));
    table_colour(table, 1, outcome_colour(answer));
    if (!err && answer->detail[0])
        err = why_add(table, "because", answer->detail);
    if (!err && plain_with_key(answer))
        err = why_add(table, "because", plain_with_key(answer));
    if (!err)
        table_print(table);
    table_free(&table);
    return err ? cli_fail(cli, err, "explaining") : CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    static char address[MIME_ADDR_SIZE];
    char sender[MIME_ADDR_SIZE];
    if (argc != 1)
        return cli_usage(cli, "expected one address");
    if (mime_addr_normalise(span_of(argv[0]), address))
        return cli_usage(cli, "\"%s\" is no address; expected one like bob@example.org", argv[0]);
    if (from && mime_addr_normalise(span_of(from), sender))
        return cli_usage(cli, "--from %s is no address", from);
    enum err err = cli_open_account(cli, from);
    if (!err)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    static struct why answer;
    answer.cli = cli;
    answer.address = address;
    answer.now = clock_now();
    err = find_peer(cli, &answer);
    if (err)
        return cli_fail(cli, err, "reading what is known of %s", address);
    err = import_heard(cli, &answer);
    if (err)
        return cli_fail(cli, err, "importing what mail has told of %s", address);
    find_answer(cli, from ? sender : cli->account->address, &answer);
    const int status = cli->is_json ? print_json(cli, &answer) : print_table(cli, &answer);
    if (answer.has_peer)
        keyring_peer_fini(&answer.peer);
    return status ? status : answer.err ? CLI_REFUSED : CLI_DONE;
}

const struct cli_command cli_why = {
    .name = "why",
    .operands = "ADDRESS",
    .summary = "tells what would happen to mail for an address, and why",
    .text =
        "Tells what would happen to mail for ADDRESS: which rule decides, which key would be used, how far it is\n"
        "trusted and by whose word, which other keys were passed over and why, whether two sources contradict each\n"
        "other, whether the key in use has certified a later one, what is known of the correspondent, or why the\n"
        "mail would be refused and what to do.\n"
        "Exits 1 if it would be refused.",
    .example = "privyseal why bob@example.org",
    .options = options,
    .run = run};
