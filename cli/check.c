/*
 * privyseal check: what the proxy stands on, each with ok or what to do.
 */
#include "cli/check.h"

#include "base/sandbox.h"
#include "base/tls.h"
#include "cli/table.h"
#include "proxy/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_offline, is_repairing, is_sure;

static const struct cli_option options[] = {
    {"offline", NULL, "do not connect to servers and sources of keys", &is_offline, NULL, NULL},
    {"repair", NULL, "mend what can be mended, after asking", &is_repairing, NULL, NULL},
    {"yes", NULL, "with --repair: do not ask", &is_sure, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL, NULL}};

void check_note(struct check *check, enum check_state state, const char *subject, const char *format, ...)
{
    static const char *const names[] = {[CHECK_OK] = "ok", [CHECK_WARNING] = "warning", [CHECK_BAD] = "BAD"};
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->is_bad = check->is_bad || state == CHECK_BAD;
    const char *const cells[] = {names[state], subject, text};
    if (!check->err)
        check->err = table_add(check->table, cells);
    table_colour(check->table, 0, colour_of(names[state]));
    /* A path or a server's words need not be UTF-8; then JSON says so instead of failing as a whole. */
    json_t *line = json_pack("{s:s, s:s, s:s}", "state", state == CHECK_BAD ? "bad" : names[state], "subject", subject,
                             "text", text);
    if (!line)
        line = json_pack("{s:s, s:s, s:s}", "state", state == CHECK_BAD ? "bad" : names[state], "subject", "?", "text",
                         "cannot be shown as UTF-8");
    if (json_array_append_new(check->list, line) && !check->err)
        check->err = ERR_MEMORY;
}

bool check_mend(struct check *check, enum check_state state, const char *subject, const char *what, const char *how,
                check_mend_fn mend, void *context)
{
    char question[1500];
    snprintf(question, sizeof question, "%s: %s.\n%s?", subject, what, how);
    if (!check->is_repairing) {
        check_note(check, state, subject, "%s; `privyseal check --repair` can mend it", what);
        return false;
    }
    if (!check->is_sure && !cli_confirm(question)) {
        check_note(check, state, subject, "%s; not mended: expected \"yes\", or --yes", what);
        return false;
    }
    const enum err err = mend(context);
    if (err)
        check_note(check, CHECK_BAD, subject, "%s; it could not be mended: %s", what, err_sentence(err));
    else
        check_note(check, CHECK_OK, subject, "%s: mended", what);
    return !err;
}

static enum err make_private(void *context)
{
    const char *path = context;
    struct stat status;
    if (lstat(path, &status) || S_ISLNK(status.st_mode) || chmod(path, status.st_mode & 0700))
        return log_failure(ERR_IO, "chmod %s", path);
    return ERR_OK;
}

bool check_is_private(struct check *check, const char *subject, const char *path)
{
    char what[CONFIG_PATH_SIZE + 200], own[CONFIG_PATH_SIZE + 160];
    struct stat status;
    if (stat(path, &status) || !(status.st_mode & 077))
        return true;
    snprintf(what, sizeof what, "%s can be read by others", path);
    snprintf(own, sizeof own, "%s", path);
    return check_mend(check, CHECK_BAD, subject, what, "Make it readable for you alone", make_private, own);
}

static void check_private(struct check *check, const char *subject, const char *path)
{
    struct stat status;
    if (stat(path, &status))
        check_note(check, errno == ENOENT ? CHECK_OK : CHECK_BAD, subject, "%s: %s", path,
                   errno == ENOENT ? "not there yet" : strerror(errno));
    else if (check_is_private(check, subject, path) && !(status.st_mode & 077))
        check_note(check, CHECK_OK, subject, "%s", path);
}

static void check_state_directory(struct check *check)
{
    const struct config *config = check->cli->config;
    char path[CONFIG_PATH_SIZE];
    check_private(check, "state", config->state_dir);
    if (config_state_path(config, "store/key", path))
        check_private(check, "store key", path);
    if (config_state_path(config, "store/key", path) && access(path, F_OK) == 0)
        check_note(check, CHECK_OK, "store key",
                   "lies in a file beside what it seals: which recipients a message has reached, for some days");
}

static void check_certificate(struct check *check)
{
    char certificate[CONFIG_PATH_SIZE], key[CONFIG_PATH_SIZE], fingerprint[65];
    if (proxy_state_certificate(check->cli->config, certificate, key))
        check_note(check, CHECK_BAD, "certificate", "its path is too long; choose a shorter `state`");
    else if (access(certificate, F_OK))
        check_note(check, CHECK_WARNING, "certificate", "not made yet; do `privyseal certificate`");
    else if (tls_fingerprint(certificate, fingerprint))
        check_note(check, CHECK_BAD, "certificate", "%s cannot be read; remove it and do `privyseal certificate`",
                   certificate);
    else
        check_note(check, CHECK_OK, "certificate", "%s, SHA-256 %s", certificate, fingerprint);
    if (!access(key, F_OK))
        check_private(check, "certificate key", key);
}

static void check_listeners(struct check *check)
{
    const struct config *config = check->cli->config;
    if (config->listeners_len == 0)
        check_note(check, CHECK_BAD, "listeners", "there are none; add `listen smtp { at = \"127.0.0.1:1025\" }`");
    for (size_t i = 0; i < config->listeners_len; i++)
        for (size_t j = 0; j < config->listeners[i].at_len; j++)
            check_note(check, CHECK_OK, config->listeners[i].name, "%s port %d%s", config->listeners[i].at[j].host,
                       config->listeners[i].at[j].port,
                       config->listeners[i].at[j].is_loopback ? "" : ", for other machines too");
}

static void check_machine(struct check *check)
{
    const int abi = sandbox_landlock_abi();
    if (abi > 0)
        check_note(check, CHECK_OK, "landlock", "version %d", abi);
    else
        check_note(check, CHECK_WARNING, "landlock",
                   "the kernel has none, so processes are confined by seccomp alone; use Linux 5.13 or later with "
                   "lsm=landlock");
}

static void check_account(struct check *check, const struct config_account *account)
{
    check_keys(check, account);
    if (!config_has_upstream(account, CONFIG_SMTP) && !config_has_upstream(account, CONFIG_IMAP))
        check_note(check, CHECK_WARNING, account->address,
                   "has no server; add smtp = \"smtps://...\" and imap = \"imaps://...\"");
    for (int protocol = 0; protocol < CONFIG_PROTOCOL_COUNT && !is_offline; protocol++)
        if (config_has_upstream(account, (enum config_protocol)protocol))
            check_server(check, account, (enum config_protocol)protocol);
}

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    enum err err = cli_open_config(cli);
    if (!err && cli->account_name)
        err = cli_open_account(cli, NULL);
    if (err)
        return cli_exit_of(err);
    if (is_sure && !is_repairing)
        return cli_usage(cli, "--yes is for --repair");
    const struct config_account *only = cli->account;
    struct check check = {.cli = cli, .list = json_array(), .is_repairing = is_repairing, .is_sure = is_sure};
    check.err = table_new(NULL, 3, &check.table);
    if (check.err) {
        json_decref(check.list);
        return cli_fail(cli, check.err, "checking");
    }
    check_note(&check, CHECK_OK, "configuration", "%s", cli->config->file);
    check_state_directory(&check);
    check_certificate(&check);
    check_listeners(&check);
    check_machine(&check);
    for (size_t i = 0; i < cli->config->accounts_len; i++)
        if (!only || only == &cli->config->accounts[i])
            check_account(&check, &cli->config->accounts[i]);
    if (!is_offline)
        check_sources(&check);
    int status = CLI_DONE;
    if (check.err)
        status = cli_fail(cli, check.err, "checking");
    else if (cli->is_json)
        status = cli_print_json(json_incref(check.list));
    else
        table_print(check.table);
    table_free(&check.table);
    json_decref(check.list);
    return status ? status : check.is_bad ? CLI_REFUSED : CLI_DONE;
}

const struct cli_command cli_check = {
    .name = "check",
    .summary = "checks configuration, keys, agent, servers and sources of keys: each ok, or what to do",
    .text =
        "Looks at the configuration, the state directory, the certificate, the key rings with their agents and own\n"
        "keys, and asks every server for its EHLO (ten seconds each at most) and every directory\n"
        "and keyserver whether it is there. Prints one line for each: ok, or what to do. Exits 1 if something is\n"
        "bad; warnings do not count.\n"
        "With --repair it mends, after asking, what can be mended without loss: files and folders of keys that others\n"
        "can read, locks that processes left behind, a trust database that is out of date, own keys that ask for "
        "AEAD.\n"
        "What it cannot mend it never touches.",
    .example = "privyseal check",
    .options = options,
    .run = run};
