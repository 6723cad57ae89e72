#include "cli/key_certify.h"
#include "cli/key.h"
#include "cli/wot.h"

#include <stdio.h>
#include <string.h>

static bool is_sure, is_exportable, is_revoking;
static const char *level_text;
static struct cli_list user_ids;

static const struct cli_option options[] = {
    {"exportable", NULL, "for everybody to see; default: for this machine alone", &is_exportable, NULL, NULL},
    {"level", "0|2|3", "how well you checked whose key it is: 0 not said (default), 2 casually, 3 carefully", NULL,
     &level_text, NULL},
    {"user-id", "TEXT", "only this user ID, or address; may be given several times", NULL, NULL, &user_ids},
    {"revoke", NULL, "withdraw what you certified", &is_revoking, NULL, NULL},
    {"yes", NULL, "do not ask: you compared the fingerprint with its owner", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static bool is_named(const struct keyring_entry *entry, const struct cli_list *names)
{
    for (size_t i = 0; i < names->len; i++)
        if (strcmp(names->items[i], entry->user_id) == 0 ||
            (entry->address[0] && mime_addr_is_same(names->items[i], entry->address)))
            return true;
    return names->len == 0;
}

/* What is revoked or expired is not certified. */
enum err key_certify_choose(const struct cli *cli, const char *fingerprint, const struct cli_list *names,
                            struct key_certify_names *chosen)
{
    chosen->len = 0;
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        bool is_there = strcmp(entry->fingerprint, fingerprint) != 0 || entry->is_revoked || !is_named(entry, names);
        for (size_t j = 0; j < chosen->len; j++)
            is_there = is_there || strcmp(chosen->names[j], entry->user_id) == 0;
        if (is_there)
            continue;
        if (chosen->len == KEY_CERTIFY_MAX)
            return ERR_LIMIT;
        chosen->names[chosen->len++] = entry->user_id;
    }
    if (chosen->len > 0)
        return ERR_OK;
    fprintf(stderr, "privyseal %s: %s has no valid user ID%s; see `privyseal key show`\n", cli->command->name,
            fingerprint, names->len ? " like that" : "");
    return ERR_NOT_FOUND;
}

bool key_certify_ask(const struct key_certify_names *chosen, const char *fingerprint, const char *question)
{
    char grouped[KEY_GROUPED_SIZE];
    struct buf text;
    buf_init(&text, 65536);
    key_group(fingerprint, grouped);
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < chosen->len; i++)
        err = buf_addf(&text, "%s%s\n", i == 0 ? "" : "  ", chosen->names[i]);
    if (!err)
        err = buf_addf(&text, "  %s\n  %s", grouped, question);
    const bool is_confirmed = !err && cli_confirm(text.data);
    buf_fini(&text);
    return is_confirmed;
}

static json_t *names_json(const struct key_certify_names *chosen)
{
    json_t *list = json_array();
    for (size_t i = 0; i < chosen->len; i++)
        (void)json_array_append_new(list, json_string(chosen->names[i]));
    return list;
}

/* Opens everything and finds the key, the account's own, and the user IDs that are meant. */
static enum err open_all(struct cli *cli, const char *name, const struct cli_list *names,
                         const struct keyring_entry **key_out, const struct keyring_entry **own_out,
                         struct key_certify_names *chosen)
{
    enum err err = key_open(cli, name, key_out);
    if (err)
        return err;
    if ((*key_out)->format != KEYRING_OPENPGP) {
        (void)cli_usage(cli, "%s is a certificate: its issuer certifies it, and `privyseal key pin` is your own word",
                        (*key_out)->fingerprint);
        return ERR_USAGE;
    }
    *own_out = cli_own_key(cli, KEYRING_OPENPGP, cli->account->address);
    if (!*own_out) {
        (void)cli_fail(cli, ERR_NO_SIGNING_KEY, "%s has no own key to certify with; see `privyseal key make`",
                       cli->account->address);
        return ERR_NO_SIGNING_KEY;
    }
    return key_certify_choose(cli, (*key_out)->fingerprint, names, chosen);
}

int key_certify_revoke(struct cli *cli, const char *name, const struct cli_list *names, bool is_confirmed)
{
    const struct keyring_entry *key, *own;
    struct key_certify_names chosen;
    const enum err opened = open_all(cli, name, names, &key, &own, &chosen);
    if (opened)
        return cli_exit_of(opened);
    char fingerprint[KEYRING_FPR_SIZE];
    memcpy(fingerprint, key->fingerprint, sizeof fingerprint);
    if (!is_confirmed && !key_certify_ask(&chosen, fingerprint, "Withdraw what you certified of this key?")) {
        fprintf(stderr, "privyseal %s: nothing was revoked; expected \"yes\", or --yes\n", cli->command->name);
        return CLI_REFUSED;
    }
    const enum err err = keyring_gpg_revoke_certification(
        cli->gpg, fingerprint, own->fingerprint, names->len ? chosen.names : NULL, names->len ? chosen.len : 0);
    if (err == ERR_REFUSED) {
        fprintf(stderr,
                "privyseal %s: what you certified of %s still counts: it was revoked within the very second in which "
                "it was made, or made in the future. Certify it once more, then withdraw that\n",
                cli->command->name, fingerprint);
        return CLI_REFUSED;
    }
    if (err)
        return cli_fail(cli, err, "revoking the certification of %s", fingerprint);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:o}", "fingerprint", fingerprint, "revoked", names_json(&chosen)));
    for (size_t i = 0; i < chosen.len; i++)
        printf("%s: no longer certified: %s\n", fingerprint, chosen.names[i]);
    return CLI_DONE;
}

static int certify(struct cli *cli, const char *name, unsigned level)
{
    const struct keyring_entry *key, *own;
    struct key_certify_names chosen;
    const enum err opened = open_all(cli, name, &user_ids, &key, &own, &chosen);
    if (opened)
        return cli_exit_of(opened);
    if (strcmp(key->fingerprint, own->fingerprint) == 0)
        return cli_usage(cli, "%s is your own key", key->fingerprint);
    if (!is_sure &&
        !key_certify_ask(&chosen, key->fingerprint,
                         is_exportable ? "Did its owner tell you this very fingerprint, and may everybody know?"
                                       : "Did its owner tell you this very fingerprint?")) {
        fprintf(stderr, "privyseal key certify: nothing was certified; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    const struct keyring_gpg_certification how = {.signer = own->fingerprint,
                                                  .level = level,
                                                  .is_exportable = is_exportable,
                                                  .user_ids = chosen.names,
                                                  .user_ids_len = chosen.len};
    const enum err err = keyring_gpg_certify_as(cli->gpg, key->fingerprint, &how);
    if (err)
        return cli_fail(cli, err, "certifying %s", key->fingerprint);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s, s:o, s:i, s:b}", "fingerprint", key->fingerprint, "signer",
                                        own->fingerprint, "certified", names_json(&chosen), "level", (int)level,
                                        "exportable", is_exportable));
    for (size_t i = 0; i < chosen.len; i++)
        printf("%s: certified%s: %s\n", key->fingerprint, is_exportable ? " for everybody" : "", chosen.names[i]);
    if (is_exportable)
        printf("Give its owner the key as you have it now: `privyseal key export %s`\n", key->fingerprint);
    return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    uint64_t level = 0;
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    if (level_text && (!span_to_u64(span_of(level_text), 3, &level) || level == 1))
        return cli_usage(cli, "--level %s; expected 0, 2 or 3 (1, not checked at all, is no certification)",
                         level_text);
    if (is_revoking && (is_exportable || level_text))
        return cli_usage(cli, "--revoke stands with --user-id and --yes only");
    return is_revoking ? key_certify_revoke(cli, argv[0], &user_ids, is_sure) : certify(cli, argv[0], (unsigned)level);
}

const struct cli_command cli_key_certify = {
    .name = "key certify",
    .operands = "KEY",
    .summary = "signs the key of somebody whose fingerprint you compared, or withdraws that",
    .text =
        "Certifies the user IDs of an OpenPGP key with your own key, after showing its fingerprint and asking: it is\n"
        "then fully valid for you, and where you trust its owner so (`privyseal key trust`) what it certifies, too.\n"
        "For this machine alone, unless --exportable. --revoke withdraws it.\n"
        "KEY is a fingerprint, its last 16 or more digits, or an address that one key alone carries.",
    .example = "privyseal key certify --level 3 bob@example.org",
    .options = options,
    .run = run};
