#include "cli/key.h"
#include "cli/wot.h"

#include <stdio.h>
#include <string.h>

#define GRAPH_MAX ((size_t)16 << 20)

static bool is_sure, wants_graph;

static const struct cli_option options[] = {
    {"graph", NULL, "print the web of trust, or what leads to KEY, for Graphviz: `... | dot -Tsvg`", &wants_graph, NULL,
     NULL},
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static enum err add_line(struct table *table, const char *name, const char *value)
{
    const char *const cells[] = {name, value};
    return table_add(table, cells);
}

static int show_all_json(const struct keyring_wot *wot)
{
    json_t *list = json_array();
    for (size_t i = 0; i < keyring_wot_keys_len(wot); i++)
        (void)json_array_append_new(list, cli_wot_key_json(wot, i));
    return cli_print_json(json_pack("{s:o, s:I}", "keys", list, "left_out", (json_int_t)keyring_wot_left_out(wot)));
}

static enum err add_key_row(const struct keyring_wot *wot, size_t index, struct table *table)
{
    const struct keyring_wot_key *key = keyring_wot_key(wot, index);
    char name[CLI_WOT_NAME_SIZE];
    enum err err = ERR_OK;
    cli_wot_name(wot, index, name);
    for (size_t i = 0; !err && i < key->user_ids_len; i++) {
        const char *const cells[] = {i == 0 ? keyring_wot_trust_name(key->ownertrust) : "",
                                     cli_wot_validity(wot, key->user_ids_first + i), i == 0 ? key->fingerprint : "",
                                     keyring_wot_user_id(wot, key->user_ids_first + i)->text};
        err = table_add(table, cells);
        table_colour(table, 0, colour_of(cells[0]));
        table_colour(table, 1, colour_of(cells[1]));
    }
    return err;
}

/* Those about whom there is something to tell: others are nobody's and certified by nobody. */
static int show_all(const struct cli *cli, const struct keyring_wot *wot)
{
    static const char *const heads[] = {"OWNERTRUST", "VALIDITY", "FINGERPRINT", "USER ID"};
    struct table *table;
    if (cli->is_json)
        return show_all_json(wot);
    enum err err = table_new(heads, 4, &table);
    for (size_t i = 0; !err && i < keyring_wot_keys_len(wot); i++)
        err = add_key_row(wot, i, table);
    if (!err)
        table_print(table);
    table_free(&table);
    if (!err && keyring_wot_left_out(wot))
        printf("%zu certifications were not looked at: there are too many\n", keyring_wot_left_out(wot));
    return err ? cli_fail(cli, err, "showing the web of trust") : CLI_DONE;
}

static enum err add_user_ids(const struct keyring_wot *wot, const struct keyring_wot_key *key, struct table *table)
{
    enum err err = ERR_OK;
    for (size_t i = key->user_ids_first; !err && i < key->user_ids_first + key->user_ids_len; i++) {
        char line[CLI_WOT_LINE_SIZE];
        snprintf(line, sizeof line, "%.800s (validity %s)", keyring_wot_user_id(wot, i)->text,
                 cli_wot_validity(wot, i));
        err = add_line(table, "user ID", line);
        if (!err)
            err = cli_wot_add_path(wot, i, table);
    }
    return err;
}

static int show_key(const struct cli *cli, const struct keyring_wot *wot, const struct keyring_entry *entry)
{
    const size_t index = keyring_wot_find(wot, entry->fingerprint);
    const bool is_known = index != KEYRING_WOT_NONE;
    const char *owner = is_known ? keyring_wot_trust_name(keyring_wot_key(wot, index)->ownertrust) : "unknown";
    char grouped[KEY_GROUPED_SIZE];
    struct table *table;
    if (cli->is_json)
        return cli_print_json(is_known ? cli_wot_key_json(wot, index)
                                       : json_pack("{s:s, s:s, s:s, s:[]}", "fingerprint", entry->fingerprint,
                                                   "ownertrust", owner, "word", "unknown", "user_ids"));
    key_group(entry->fingerprint, grouped);
    enum err err = table_new(NULL, 2, &table);
    if (!err)
        err = add_line(table, "fingerprint", grouped);
    if (!err)
        err = add_line(table, "ownertrust", owner);
    if (!err && is_known)
        err = add_user_ids(wot, keyring_wot_key(wot, index), table);
    else if (!err)
        err = add_line(table, "user ID", entry->user_id);
    if (!err && !is_known)
        err = add_line(table, "certified", "by nobody whose key is here");
    if (!err)
        table_print(table);
    table_free(&table);
    return err ? cli_fail(cli, err, "showing the web of trust") : CLI_DONE;
}

static int print_graph(const struct cli *cli, const struct keyring_wot *wot, const struct keyring_entry *entry)
{
    const size_t index = entry ? keyring_wot_find(wot, entry->fingerprint) : KEYRING_WOT_NONE;
    struct buf graph;
    if (entry && index == KEYRING_WOT_NONE) {
        fprintf(stderr, "privyseal key trust: %s is certified by nobody whose key is here: there is nothing to draw\n",
                entry->fingerprint);
        return CLI_REFUSED;
    }
    buf_init(&graph, GRAPH_MAX);
    enum err err = cli_wot_graph(wot, index, &graph);
    if (!err && fwrite(graph.data, 1, graph.len, stdout) != graph.len)
        err = ERR_IO;
    buf_fini(&graph);
    return err ? cli_fail(cli, err, "drawing the web of trust") : CLI_DONE;
}

static int show(const struct cli *cli, const struct keyring_entry *entry)
{
    struct keyring_wot *wot;
    enum err err = cli_wot_open(cli, &wot);
    if (err)
        return cli_exit_of(err);
    const int status = wants_graph ? print_graph(cli, wot, entry)
                       : entry     ? show_key(cli, wot, entry)
                                   : show_all(cli, wot);
    keyring_wot_free(&wot);
    return status;
}

/* Ultimate means "this key is mine": whatever it certifies is then fully valid. */
static bool is_meant(const struct keyring_entry *entry)
{
    char grouped[KEY_GROUPED_SIZE], question[900];
    key_group(entry->fingerprint, grouped);
    snprintf(question, sizeof question,
             "%s\n  %s\n  Ultimate ownertrust says that this key is your own: all that it certifies is believed.\n"
             "  Is it your own?",
             entry->user_id, grouped);
    return is_sure || cli_confirm(question);
}

static int set(const struct cli *cli, const struct keyring_entry *entry, const char *level)
{
    enum keyring_wot_trust trust;
    if (keyring_wot_trust_parse(level, &trust) || trust == KEYRING_WOT_UNDEFINED)
        return cli_usage(cli, "\"%s\" is no level; expected unknown, never, marginal, full or ultimate", level);
    if (trust == KEYRING_WOT_ULTIMATE && !is_meant(entry)) {
        fprintf(stderr, "privyseal key trust: nothing was changed; expected \"yes\", or --yes\n");
        return CLI_REFUSED;
    }
    const enum err err = keyring_gpg_set_owner(cli->gpg, entry->fingerprint, trust);
    if (err)
        return cli_fail(cli, err, "setting the ownertrust of %s", entry->fingerprint);
    if (cli->is_json)
        return cli_print_json(json_pack("{s:s, s:s}", "fingerprint", entry->fingerprint, "ownertrust", level));
    printf("%s: ownertrust %s\n", entry->fingerprint, level);
    return CLI_DONE;
}

static int run(struct cli *cli, int argc, char **argv)
{
    const struct keyring_entry *entry = NULL;
    if (argc > 2 || (wants_graph && argc > 1))
        return cli_usage(cli, "expected %s", wants_graph ? "one key" : "a key and a level");
    if (wants_graph && cli->is_json)
        return cli_usage(cli, "--graph and --json; expected one of them");
    enum err err = argc > 0 ? key_open(cli, argv[0], &entry) : cli_open_account(cli, NULL);
    if (!err && argc == 0)
        err = cli_open_ring(cli, false);
    if (err)
        return cli_exit_of(err);
    if (entry && entry->format != KEYRING_OPENPGP)
        return cli_usage(cli, "%s is a certificate, and trusted by its chain; see `privyseal key show`",
                         entry->fingerprint);
    return argc == 2 ? set(cli, entry, argv[1]) : show(cli, entry);
}

const struct cli_command cli_key_trust = {
    .name = "key trust",
    .operands = "[KEY [unknown|never|marginal|full|ultimate]]",
    .summary = "shows the web of trust; sets how far an owner is trusted to certify others",
    .text =
        "Shows how far the owners of OpenPGP keys are trusted to certify the keys of others, how far each user ID is\n"
        "valid for that, and by which path of certifications. With a level it sets that of KEY: one full or three\n"
        "marginal owners make a key valid that they certified. Ultimate is for keys of your own, and asks.\n"
        "KEY is a fingerprint, its last 16 or more digits, or an address that one key alone carries.",
    .example = "privyseal key trust --graph bob@example.org | dot -Tsvg > bob.svg",
    .options = options,
    .run = run};
