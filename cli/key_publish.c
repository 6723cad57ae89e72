/*
 * privyseal key publish: a key where others find it: in a Web Key Directory, in the DNS, on keyservers.
 */
#include "cli/key_publish.h"
#include "cli/key.h"
#include "cli/key_life.h"
#include "cli/source.h"
#include "cli/table.h"

#include "base/clock.h"
#include "keyring/key_trim.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ADDRESSES_MAX 64
#define PRINTED_MAX ((size_t)4 << 20)

static const char *wkd_dir;
static struct cli_list titles;
static bool is_direct, is_dns, is_generic, is_sent, is_sure;

static const struct cli_option options[] = {
    {"wkd", "DIR", "write the files of a Web Key Directory below this folder", NULL, &wkd_dir, NULL},
    {"direct", NULL, "with --wkd: for the domain's own host, and not for openpgpkey.DOMAIN", &is_direct, NULL, NULL},
    {"dns", NULL, "print the DNS records (OPENPGPKEY, SMIMEA), as lines of a zone file", &is_dns, NULL, NULL},
    {"generic", NULL, "with --dns: for name servers that do not know these types", &is_generic, NULL, NULL},
    {"keyserver", NULL, "send the key to the configured keyservers, after asking", &is_sent, NULL, NULL},
    {"to", "TITLE", "with --keyserver: to this one alone; may be given several times", NULL, NULL, &titles},
    {"yes", NULL, "do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

struct publishing {
    struct cli *cli;
    const struct keyring_entry *key, *certificate; /* either may be NULL */
    const char *address;                           /* the only one that is meant; NULL: all of the key */
    const char *addresses[ADDRESSES_MAX];
    size_t addresses_len;
    json_t *list;
};

static enum err take(struct span key, void *context)
{
    return buf_add_span(context, key);
}

/* The public key with the user IDs of this address alone (NULL: all), and with nothing but its own signatures. */
static enum err collect(const struct publishing *publishing, const char *address, struct buf *out)
{
    const char *fingerprint = publishing->key->fingerprint;
    const struct key_trim_want want = {
        .address = address, .fingerprint = fingerprint, .key_max = KEYRING_FOUND_PIECE_MAX};
    struct buf minimal;
    buf_init(&minimal, (size_t)4 << 20);
    enum err err = keyring_gpg_export_minimal(publishing->cli->gpg, fingerprint, &minimal);
    if (!err)
        err = key_trim(buf_span(&minimal), &want, take, out);
    buf_fini(&minimal);
    return !err && out->len == 0 ? ERR_LIMIT : err;
}

static enum err note(struct publishing *publishing, const char *what, const char *address, const char *where,
                     const char *state)
{
    return json_array_append_new(publishing->list, json_pack("{s:s, s:s, s:s, s:s}", "kind", what, "address",
                                                             address ? address : "", "where", where, "state", state))
               ? ERR_MEMORY
               : ERR_OK;
}

/* ---- a Web Key Directory ---- */

static enum err write_wkd_of(struct publishing *publishing, const char *address)
{
    char key_path[KEYRING_WEB_URL_SIZE], policy_path[KEYRING_WEB_URL_SIZE];
    bool is_new = false, is_new_policy;
    struct buf key;
    buf_init(&key, KEYRING_FOUND_PIECE_MAX);
    enum err err = keyring_wkd_path(address, is_direct, key_path);
    if (err == ERR_ADDRESS_SYNTAX)
        fprintf(stderr, "privyseal key publish: there can be no Web Key Directory for %s\n", address);
    if (!err)
        err = keyring_wkd_policy_path(address, is_direct, policy_path);
    if (!err)
        err = collect(publishing, address, &key);
    if (!err)
        err = publish_file(wkd_dir, policy_path, SPAN_NONE, false, &is_new_policy);
    if (!err)
        err = publish_file(wkd_dir, key_path, buf_span(&key), true, &is_new);
    buf_fini(&key);
    if (!err && !publishing->cli->is_json)
        printf("%s: %s/%s%s\n", address, wkd_dir, key_path, is_new ? "" : " (unchanged)");
    return err ? err : note(publishing, "wkd", address, key_path, is_new ? "written" : "unchanged");
}

static int write_wkd(struct publishing *publishing)
{
    enum err err = ERR_OK;
    if (!publishing->key)
        return cli_usage(publishing->cli, "a Web Key Directory holds OpenPGP keys; expected one, or --dns");
    if (publishing->addresses_len == 0)
        return cli_fail(publishing->cli, ERR_NOT_FOUND, "an address in a user ID of %s that is not revoked",
                        publishing->key->fingerprint);
    for (size_t i = 0; !err && i < publishing->addresses_len; i++)
        if ((err = write_wkd_of(publishing, publishing->addresses[i])))
            return cli_fail(publishing->cli, err, "writing the key of %s below %s", publishing->addresses[i], wkd_dir);
    if (!publishing->cli->is_json)
        fprintf(stderr,
                is_direct ? "Serve %s as the root of https://DOMAIN/\n"
                          : "Serve %s as the root of https://openpgpkey.DOMAIN/\n",
                wkd_dir);
    return CLI_DONE;
}

/* ---- the DNS ---- */

static enum err print_record(struct publishing *publishing, const char *address, enum keyring_dane_type type,
                             struct span bytes)
{
    struct buf line;
    buf_init(&line, PRINTED_MAX);
    enum err err = keyring_dane_print(address, type, bytes, is_generic, &line);
    if (!err && !publishing->cli->is_json)
        err = cli_write(STDOUT_FILENO, buf_span(&line));
    if (!err)
        err = note(publishing, type == KEYRING_DANE_SMIMEA ? "smimea" : "openpgpkey", address, line.data, "printed");
    buf_fini(&line);
    return err;
}

static enum err print_key(struct publishing *publishing, const char *address)
{
    struct buf key;
    buf_init(&key, KEYRING_FOUND_PIECE_MAX);
    enum err err = collect(publishing, address, &key);
    if (!err)
        err = print_record(publishing, address, KEYRING_DANE_OPENPGPKEY, buf_span(&key));
    buf_fini(&key);
    return err;
}

static enum err print_certificate(struct publishing *publishing, const char *address)
{
    const struct keyring_certificate *certificate = key_certificate(publishing->cli, publishing->certificate);
    unsigned char *der = NULL;
    const int len = certificate ? i2d_X509(certificate->certificate, &der) : -1;
    enum err err =
        len > 0 ? print_record(publishing, address, KEYRING_DANE_SMIMEA, (struct span){(const char *)der, (size_t)len})
                : ERR_MEMORY;
    OPENSSL_free(der);
    return err;
}

static int print_records(struct publishing *publishing)
{
    for (size_t i = 0; i < publishing->addresses_len; i++) {
        const char *address = publishing->addresses[i];
        enum err err = publishing->key ? print_key(publishing, address) : ERR_OK;
        if (!err && publishing->certificate)
            err = print_certificate(publishing, address);
        if (err)
            return cli_fail(publishing->cli, err, "printing the records of %s", address);
    }
    return publishing->addresses_len > 0 ? CLI_DONE
                                         : cli_fail(publishing->cli, ERR_NOT_FOUND, "an address that is not revoked");
}

/* ---- keyservers ---- */

static bool is_titled(const char *title)
{
    for (size_t i = 0; i < titles.len; i++)
        if (strcmp(titles.items[i], title) == 0)
            return true;
    return titles.len == 0;
}

/* Which of the sources are left alone; how many keyservers are not. */
static size_t choose_servers(const struct config *config, bool is_left[CONFIG_SOURCES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < config->sources_len; i++) {
        is_left[i] = config->sources[i]->kind != KEYRING_SOURCE_KEYSERVER || !is_titled(config->sources[i]->name);
        count += !is_left[i];
    }
    return count;
}

/* What is sent, and to whom: it cannot be taken back. */
static bool is_agreed(const struct publishing *publishing, const bool is_left[CONFIG_SOURCES_MAX])
{
    const struct cli *cli = publishing->cli;
    char grouped[KEY_GROUPED_SIZE];
    key_group(publishing->key->fingerprint, grouped);
    fprintf(stderr, "To be sent, for everybody to see and not to be taken back:\n  %s\n", grouped);
    for (size_t i = 0; i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *entry = keyring_at(cli->keyring, i);
        if (strcmp(entry->fingerprint, publishing->key->fingerprint) == 0 &&
            (!publishing->address || mime_addr_is_same(entry->address, publishing->address)))
            fprintf(stderr, "  %s\n", entry->user_id);
    }
    fprintf(stderr, "to:\n");
    for (size_t i = 0; i < cli->config->sources_len; i++)
        if (!is_left[i]) {
            const struct config_web *web = PROXY_SECTION(struct config_web, cli->config->sources[i]);
            fprintf(stderr, "  %s (%s)\n", web->source.name, web->web.host);
        }
    if (is_sure || cli_confirm("Send it?"))
        return true;
    fprintf(stderr, "privyseal key publish: nothing was sent; expected \"yes\", or --yes\n");
    return false;
}

static enum err report_sent(struct publishing *publishing, const struct cli_source *sources, size_t *failures)
{
    enum err err = ERR_OK;
    for (size_t i = 0; !err && i < publishing->cli->config->sources_len; i++) {
        const struct cli_source *source = &sources[i];
        char name[PROXY_SOURCE_NAME_SIZE];
        if (!source->is_asked)
            continue;
        proxy_source_name(source->config, name);
        *failures += source->err != ERR_OK;
        if (!publishing->cli->is_json)
            printf("%s: %s\n", name, source->err ? source->problem : "it has taken the key");
        err = note(publishing, "keyserver", publishing->address, source->config->name,
                   source->err ? source->problem : "sent");
    }
    return err;
}

static int send_key(struct publishing *publishing)
{
    struct cli *cli = publishing->cli;
    bool is_left[CONFIG_SOURCES_MAX];
    struct cli_source *sources = NULL;
    size_t failures = 0;
    struct buf key;
    if (!publishing->key)
        return cli_usage(cli, "keyservers hold OpenPGP keys; expected one, or --dns");
    if (choose_servers(cli->config, is_left) == 0)
        return cli_usage(cli, titles.len > 0 ? "there is no such keyserver; expected the title of a section keyserver"
                                             : "there is no keyserver; expected a section keyserver, and \"keyserver\" "
                                               "in `sources`");
    if (!is_agreed(publishing, is_left))
        return CLI_REFUSED;
    buf_init(&key, KEYRING_FOUND_PIECE_MAX);
    enum err err = collect(publishing, publishing->address, &key);
    const struct cli_question question = {.key = buf_span(&key), .is_left = is_left};
    if (!err)
        err = cli_ask_sources(cli->config, &question, &sources);
    if (!err)
        err = report_sent(publishing, sources, &failures);
    cli_sources_free(cli->config, &sources);
    buf_fini(&key);
    if (err)
        return cli_fail(cli, err, "sending %s", publishing->key->fingerprint);
    return failures > 0 ? CLI_FAILED : CLI_DONE;
}

/* ---- what is meant ---- */

static void add_address(struct publishing *publishing, const char *address)
{
    for (size_t i = 0; i < publishing->addresses_len; i++)
        if (strcmp(publishing->addresses[i], address) == 0)
            return;
    if (publishing->addresses_len < ADDRESSES_MAX)
        publishing->addresses[publishing->addresses_len++] = address;
}

static const struct keyring_entry *own_certificate(const struct cli *cli, const char *address)
{
    const struct keyring_want want = {
        .purpose = KEYRING_ENCRYPT, .formats = KEYRING_SMIME, .least = KEYRING_OWN, .now = clock_now()};
    enum keyring_reason reason;
    return keyring_choose(cli->keyring, address, &want, &reason);
}

/* One's own keys for an address, else the only key with it; or a key by its fingerprint, with all of its addresses. */
static enum err find(struct publishing *publishing, const char *name, char address[MIME_ADDR_SIZE])
{
    const struct cli *cli = publishing->cli;
    const struct keyring_entry *entry = NULL;
    if (strchr(name, '@') && !mime_addr_normalise(span_of(name), address)) {
        publishing->address = address;
        publishing->key = key_own_of(cli, address);
        publishing->certificate = own_certificate(cli, address);
    }
    if (!publishing->key && !publishing->certificate) {
        enum err err = key_find_named(cli, name, &entry);
        if (err)
            return err;
        *(entry->format == KEYRING_OPENPGP ? &publishing->key : &publishing->certificate) = entry;
    }
    if (publishing->address)
        add_address(publishing, publishing->address);
    for (size_t i = 0; !publishing->address && i < keyring_len(cli->keyring); i++) {
        const struct keyring_entry *at = keyring_at(cli->keyring, i);
        if (strcmp(at->fingerprint, entry->fingerprint) == 0 && at->address[0] && !at->is_revoked)
            add_address(publishing, at->address);
    }
    return ERR_OK;
}

static int run(struct cli *cli, int argc, char **argv)
{
    char address[MIME_ADDR_SIZE];
    struct publishing publishing = {.cli = cli};
    if (argc != 1)
        return cli_usage(cli, "expected one fingerprint or address");
    if ((wkd_dir ? 1 : 0) + is_dns + is_sent != 1)
        return cli_usage(cli, "expected one of --wkd, --dns and --keyserver");
    if ((is_direct && !wkd_dir) || (is_generic && !is_dns) || (titles.len > 0 && !is_sent))
        return cli_usage(cli, "--direct goes with --wkd, --generic with --dns, --to with --keyserver");
    enum err err = cli_open_account(cli, NULL);
    if (!err)
        err = cli_open_ring(cli, false);
    if (!err)
        err = find(&publishing, argv[0], address);
    if (err)
        return cli_exit_of(err);
    publishing.list = json_array();
    int status = wkd_dir ? write_wkd(&publishing) : is_dns ? print_records(&publishing) : send_key(&publishing);
    if (cli->is_json && status != CLI_USAGE && json_array_size(publishing.list) > 0) {
        const int printed = cli_print_json(json_incref(publishing.list));
        status = status ? status : printed;
    }
    json_decref(publishing.list);
    return status;
}

const struct cli_command cli_key_publish = {
    .name = "key publish",
    .operands = "KEY",
    .summary = "puts a public key where others find it: Web Key Directory, DNS, keyservers",
    .text =
        "Publishes the public part of a key, with nothing but its own signatures. KEY is an address, for which your\n"
        "own keys are taken, or where you have none the only key that carries it, and then nothing else is told of\n"
        "them than that address; or a fingerprint, for all addresses of that key that are not revoked.\n"
        "--wkd writes the files that a web server has to serve, and changes nothing where they are as they should be;\n"
        "--dns prints lines for the domain's zone, which must be signed; --keyserver shows what is sent and to whom,\n"
        "asks, and sends it: what a keyserver has been told cannot be taken back.",
    .example = "privyseal key publish alice@example.org --wkd /srv/openpgpkey",
    .options = options,
    .run = run};
