/* The configuration: what it says, and every way in which it can be wrong. */
#include "proxy/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ACCOUNT "account \"alice@example.org\" { smtp = \"smtps://smtp.example.org\" }\n"
#define STATE "state = /tmp/s\n"
#define DIRECTORY "directory d { url = \"ldaps://x\" base = \"dc=x\"\n"

static char directory[64], path[128], errors[160], said[2048];

static enum err read_text(const char *text, struct config **config)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    fflush(stderr);
    int before = dup(STDERR_FILENO);
    assert_non_null(freopen(errors, "w", stderr));
    enum err err = config_read(path, config);
    fflush(stderr);
    dup2(before, STDERR_FILENO);
    close(before);
    FILE *written = fopen(errors, "r");
    assert_non_null(written);
    said[fread(said, 1, sizeof said - 1, written)] = '\0';
    fclose(written);
    return err;
}

static struct config *expect_good(const char *text)
{
    struct config *config;
    enum err err = read_text(text, &config);
    if (err)
        print_error("%s", said);
    assert_int_equal(err, ERR_OK);
    assert_string_equal(said, "");
    return config;
}

static void assert_accounts(const struct config *config)
{
    const struct config_account *alice = &config->accounts[0], *bob = &config->accounts[1];
    assert_string_equal(alice->address, "alice@example.org");
    assert_int_equal(alice->addresses_len, 2);
    assert_string_equal(alice->upstreams[CONFIG_SMTP].host, "::1");
    assert_int_equal(alice->upstreams[CONFIG_SMTP].port, 2525);
    assert_int_equal(alice->upstreams[CONFIG_SMTP].security, CONFIG_TLS_BY_COMMAND);
    assert_string_equal(alice->upstreams[CONFIG_SMTP].ca_file, "/etc/ca.pem");
    assert_true(alice->smime.is_opaque && alice->smime.is_pss && alice->smime.is_oaep && alice->smime.is_compressed);
    assert_int_equal(alice->smime.content, CRYPTO_SMIME_GCM);
    assert_false(bob->smime.is_opaque || bob->smime.is_pss || bob->smime.is_oaep || bob->smime.is_compressed);
    assert_int_equal(bob->smime.content, CRYPTO_SMIME_AUTO);
    assert_false(alice->is_own_home);
    assert_memory_equal(alice->gnupghome, directory, strlen(directory));
    assert_string_equal(alice->gnupghome + strlen(directory), "/keys");
    assert_int_equal(bob->upstreams[CONFIG_SMTP].security, CONFIG_CLEAR);
    assert_int_equal(bob->upstreams[CONFIG_SMTP].port, 25);
    assert_int_equal(bob->upstreams[CONFIG_IMAP].port, 143);
    assert_int_equal(bob->upstreams[CONFIG_IMAP].security, CONFIG_TLS_BY_COMMAND);
    assert_true(bob->append_plain && !alice->append_plain);
    assert_false(config_has_upstream(alice, CONFIG_IMAP));
    assert_true(bob->is_own_home);
    assert_string_equal(bob->gnupghome, "/tmp/s/keys/bob@example.org/gnupg");
}

static void test_all_of_it(void **state)
{
    (void)state;
    struct config *config = expect_good(
        "# a comment\n" STATE "user = root\nhost_name = mail.example.org\nlog = debug\nsubject_tag = \"[encrypt]\"\n"
        "bare_line_ends = repair\nmessage_max = 25M\nrecipients_max = 10\ngroups_max = 5\nkeepers = 7\n"
        "job_timeout = 30\nfind_timeout = 9\nsessions_max = 20\nsessions_per_address = 4\ntimeout_percent = 10\n"
        "view_cache_max = 32M\nstore_max = 2G\n"
        "listen smtp { at = { \"127.0.0.1:1025\", \"[::1]:0\" } }\n"
        "listen \"smtp:gate\" { at = \"0.0.0.0:465\" tls = implicit accounts = \"b.ob@Example.org\" }\n"
        "account \"alice@EXAMPLE.org\" { also = \"a@example.org\" login = alice\n smtp = \"smtp://[::1]:2525\"\n"
        "  gnupghome = \"keys\" ca_file = \"/etc/ca.pem\"\n"
        "  smime_sign = opaque smime_rsa = modern smime_cipher = gcm smime_compress = yes }\n"
        "listen imap { at = \"127.0.0.1:1143\" }\n"
        "account \"bob@example.org\" { imap = \"imap://imap.example\" append = plain also = { \"b.ob@example.org\" } "
        "smtp = \"smtp+clear://localhost\" }\n"
        "rule lists { to = { \"*@Lists.example\", \"*@*.lists.example\", \"*\", \"x@Y.example\" } encrypt = never\n"
        " sign = when-possible mixed = refuse may_ask_less = yes trust = full format = { openpgp } }\n");
    assert_string_equal(config->state_dir, "/tmp/s");
    assert_string_equal(config->host_name, "mail.example.org");
    assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
    assert_string_equal(config->subject_tag, "[encrypt]");
    assert_true(config->is_repairing);
    assert_int_equal(config->message_max, 25u << 20);
    assert_int_equal(config->recipients_max, 10);
    assert_int_equal(config->groups_max, 5);
    assert_int_equal(config->keepers_max, 7);
    assert_int_equal(config->job_timeout_ms, 30000);
    assert_int_equal(config->find_timeout_ms, 9000);
    assert_int_equal(config->sessions_max, 20);
    assert_int_equal(config->sessions_per_address, 4);
    assert_int_equal(config->timeout_percent, 10);
    assert_int_equal(config->view_cache_max, 32u << 20);
    assert_int_equal(config->store_max, UINT64_C(2) << 30);
    assert_int_equal(config->listeners_len, 3);
    const struct config_listener *first = &config->listeners[0], *second = &config->listeners[1];
    assert_int_equal(first->at_len, 2);
    assert_string_equal(first->at[1].host, "::1");
    assert_int_equal(first->at[1].port, 0);
    assert_true(first->at[0].is_loopback && first->at[1].is_loopback);
    assert_int_equal(first->accounts_len, 2);
    assert_int_equal(first->protocol, CONFIG_SMTP);
    assert_int_equal(config->listeners[2].protocol, CONFIG_IMAP);
    assert_int_equal(config->listeners[2].accounts_len, 1);
    assert_int_equal(config->listeners[2].accounts[0], 1);
    assert_string_equal(second->name, "smtp:gate");
    assert_int_equal(second->tls, CONFIG_TLS_IMPLICIT);
    assert_false(second->at[0].is_loopback);
    assert_int_equal(second->accounts_len, 1);
    assert_int_equal(second->accounts[0], 1);
    assert_accounts(config);
    const struct policy_rule *rule = &config->policy.rules[0];
    assert_int_equal(rule->to_len, 4);
    assert_string_equal(rule->to[0], "*@lists.example");
    assert_string_equal(rule->to[1], "*@*.lists.example");
    assert_string_equal(rule->to[3], "x@y.example");
    assert_int_equal(rule->encrypt, POLICY_ENCRYPT_NEVER);
    assert_int_equal(rule->sign, POLICY_SIGN_WHEN_POSSIBLE);
    assert_int_equal(rule->trust, KEYRING_FULL);
    assert_true(rule->is_mixed_refused && rule->may_ask_less);
    assert_int_equal(rule->formats_len, 1);
    assert_int_equal(rule->formats[0], KEYRING_OPENPGP);
    config_free(&config);
    assert_null(config);
}

static void test_replies(void **state)
{
    (void)state;
    struct config *config = expect_good(STATE ACCOUNT "rule a { }\n rule b { encrypt = never }\n"
                                                      "rule c { replies = as-rule }\n rule d { replies = required }\n"
                                                      "rule e { encrypt = never replies = required }\n");
    const bool expected[] = {false, true, true, false, false};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(config->policy.rules[i].are_replies_as_rule, expected[i]);
    config_free(&config);
}

static void test_revocation(void **state)
{
    (void)state;
    struct config *config =
        expect_good(STATE ACCOUNT "account \"b@example.org\" { smtp = \"smtps://s.example\" revocation = soft }\n"
                                  "account \"c@example.org\" { smtp = \"smtps://s.example\" revocation = hard }\n"
                                  "revocation_hosts = { \"ca.example\", \"[::1]\" }\n");
    assert_int_equal(config->accounts[0].revocation, KEYRING_REVOCATION_OFF);
    assert_int_equal(config->accounts[1].revocation, KEYRING_REVOCATION_SOFT);
    assert_int_equal(config->accounts[2].revocation, KEYRING_REVOCATION_HARD);
    assert_int_equal(config->revocation_hosts_len, 2);
    assert_string_equal(config->revocation_hosts[0], "ca.example");
    assert_string_equal(config->revocation_hosts[1], "::1");
    config_free(&config);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config *config = expect_good(STATE ACCOUNT "rule r {}\n");
    assert_int_equal(config->message_max, 100u << 20);
    assert_string_equal(config->subject_tag, "[encrypt]");
    assert_int_equal(config->recipients_max, 1000);
    assert_int_equal(config->groups_max, 50);
    assert_true(config->keepers_max >= 2);
    assert_int_equal(config->job_timeout_ms, 60000);
    assert_int_equal(config->find_timeout_ms, 20000);
    assert_int_equal(config->timeout_percent, 100);
    assert_false(config->is_repairing);
    assert_true(config->host_name[0]);
    assert_int_equal(config->accounts[0].upstreams[CONFIG_SMTP].port, 465);
    assert_string_equal(config->accounts[0].login, "alice@example.org");
    const struct policy_rule *rule = &config->policy.rules[0];
    assert_int_equal(rule->encrypt, POLICY_ENCRYPT_WHEN_POSSIBLE);
    assert_int_equal(rule->sign, POLICY_SIGN_ALWAYS);
    assert_int_equal(rule->trust, KEYRING_NEVER);
    assert_int_equal(rule->to_len, 0);
    assert_int_equal(rule->formats_len, POLICY_FORMATS_MAX);
    config_free(&config);
}

/* What is wrong, the line in which it is, a word of what is wrong and one of what was expected. */
static const struct {
    const char *text;
    int line;
    const char *what, *expected;
} wrong[] = {
    {STATE "colour = red\n" ACCOUNT, 2, "'colour'", "state"},
    {STATE ACCOUNT "rule r {\n\n to = \"*\"\n encript = never }\n", 6, "'encript'", "encrypt"},
    {STATE "\nlisten smtp { at = \"127.0.0.1:1\"\n}\n\nlisten smtp {\n at = \"127.0.0.1:2\" }\n" ACCOUNT, 6, "line 4",
     "each title once"},
    {STATE ACCOUNT "rule a {}\n\nrule a { }\n", 5, "rule \"a\"", "once"},
    {STATE ACCOUNT ACCOUNT, 3, "alice@example.org", "once"},
    {STATE "log = info\nlog = debug\n" ACCOUNT, 3, "line 2", "once"},
    {STATE "log = loud\n" ACCOUNT, 2, "loud", "warning"},
    {STATE "message_max = many\n" ACCOUNT, 2, "many", "number"},
    {STATE "message_max = 3G\n" ACCOUNT, 2, "3G", "2147483648"},
    {STATE "message_max = 99999999999999999999G\n" ACCOUNT, 2, "G\"", "number"},
    {STATE "recipients_max = 1001\n" ACCOUNT, 2, "1001", "1000"},
    {STATE "groups_max = 0\n" ACCOUNT, 2, "\"0\"", "from 1"},
    {STATE "keepers = -1\n" ACCOUNT, 2, "-1", "number"},
    {STATE "user = no-such-user-here\n" ACCOUNT, 2, "no-such-user-here", "user"},
    {STATE "bare_line_ends = pass\n" ACCOUNT, 2, "pass", "refuse"},
    {STATE "host_name = \"a b\"\n" ACCOUNT, 2, "a b", "host name"},
    {STATE, 1, "no account", "account"},
    {STATE ACCOUNT "listen pop4 { at = \"127.0.0.1:1\" }\n", 3, "pop4", "imap"},
    {STATE ACCOUNT "listen imap { at = \"127.0.0.1:1\" }\n", 3, "no account", "imaps://"},
    {STATE ACCOUNT "listen imap { at = \"127.0.0.1:1\" accounts = \"alice@example.org\" }\n", 3, "has no server",
     "imaps://"},
    {STATE "account \"a@b.example\" {\n imap = \"imap+clear://mail.example\" }\n", 3, "in clear", "imaps://"},
    {STATE "account \"a@b.example\" {\n imap = \"smtps://mail.example\" }\n", 3, "smtps://", "imaps://"},
    {STATE "account \"a@b.example\" {\n append = maybe }\n", 3, "maybe", "seal"},
    {STATE "store_max = 1\n" ACCOUNT, 2, "\"1\"", "from 1048576"},
    {STATE ACCOUNT "listen \"smtp:\" { at = \"127.0.0.1:1\" }\n", 3, "smtp:", ":NAME"},
    {STATE ACCOUNT "listen smtp { }\n", 3, "no address", "127.0.0.1:1025"},
    {STATE ACCOUNT "listen smtp { at = \"localhost:25\" }\n", 3, "localhost:25", "[::1]:1025"},
    {STATE ACCOUNT "listen smtp { at = \"127.0.0.1\" }\n", 3, "127.0.0.1", "port"},
    {STATE ACCOUNT "listen smtp { at = \"::1:25\" }\n", 3, "::1:25", "[::1]"},
    {STATE ACCOUNT "listen smtp { at = \"127.0.0.1:65536\" }\n", 3, "65536", "port"},
    {STATE ACCOUNT "listen smtp {\n at = { \"127.0.0.1:1\", \"192.0.2.1:25\" }\n tls = none\n}\n", 5, "192.0.2.1:25",
     "loopback"},
    {STATE ACCOUNT "listen smtp { at = \"127.0.0.1:1\" tls = maybe }\n", 3, "maybe", "starttls"},
    {STATE ACCOUNT "listen smtp { at = \"127.0.0.1:1\" accounts = \"eve@example.org\" }\n", 3, "eve", "title"},
    {STATE "account alice { }\n", 2, "alice", "address"},
    {STATE "account \"*@example.org\" { }\n", 2, "*@", "address"},
    {STATE "account \"a@b.example\" {\n also = nonsense }\n", 3, "nonsense", "address"},
    {STATE ACCOUNT "account \"c@d.example\" { also = \"Alice@example.org\" }\n", 3, "belongs", "once"},
    {STATE ACCOUNT "account \"c@d.example\" { login = \"alice@example.org\" }\n", 3, "login", "another"},
    {STATE "account \"a@b.example\" {\n smtp = \"http://x\" }\n", 3, "http", "smtps://"},
    {STATE "account \"a@b.example\" {\n smtp = \"smtps://\" }\n", 3, "smtps://", "HOST"},
    {STATE "account \"a@b.example\" {\n smtp = \"smtps://x:0\" }\n", 3, "x:0", "PORT"},
    {STATE "account \"a@b.example\" {\n smtp = \"smtps://u@x\" }\n", 3, "u@x", "HOST"},
    {STATE "account \"a@b.example\" {\n smtp = \"smtp+clear://mail.example\" }\n", 3, "in clear", "smtps://"},
    {STATE "account \"a@b.example\" {\n gnupghome = \"~bob/x\" }\n", 3, "~bob", "~/"},
    {STATE ACCOUNT "rule r {\n encrypt = sometimes }\n", 4, "sometimes", "when-possible"},
    {STATE ACCOUNT "rule r {\n sign = sometimes }\n", 4, "sometimes", "always"},
    {STATE ACCOUNT "rule r {\n trust = never }\n", 4, "never", "found"},
    {STATE "account \"a@b.example\" {\n smime_sign = clear }\n", 3, "clear", "detached"},
    {STATE "account \"a@b.example\" {\n smime_rsa = pss }\n", 3, "pss", "modern"},
    {STATE "account \"a@b.example\" {\n smime_cipher = ecb }\n", 3, "ecb", "gcm"},
    {STATE "account \"a@b.example\" {\n smime_compress = maybe }\n", 3, "maybe", "yes"},
    {STATE ACCOUNT "rule r {\n format = { openpgp, pgp } }\n", 4, "\"pgp\"", "smime"},
    {STATE ACCOUNT "rule r {\n format = { smime, smime } }\n", 4, "smime", "once"},
    {STATE ACCOUNT "rule r {\n format = { openpgp, smime, openpgp } }\n", 4, "openpgp", "once"},
    {STATE ACCOUNT "rule r {\n mixed = maybe }\n", 4, "maybe", "refuse"},
    {STATE ACCOUNT "rule r {\n may_ask_less = maybe }\n", 4, "maybe", "yes"},
    {STATE ACCOUNT "rule r {\n replies = maybe }\n", 4, "maybe", "as-rule"},
    {STATE ACCOUNT "rule r {\n to = \"*@*\" }\n", 4, "*@*", "*@domain"},
    {STATE ACCOUNT "rule r {\n to = \"b*b@x.example\" }\n", 4, "b*b", "address"},
    {STATE ACCOUNT "rule r {\n to = {} }\n", 4, "empty", "to"},
    {STATE ACCOUNT "listen smtp { at = \"127.0.0.1:1\" accounts = {} }\n", 3, "empty", "accounts"},
    {STATE ACCOUNT "rule r { format = {} }\n", 3, "empty", "format"},
    {STATE ACCOUNT "directory d {\n base = \"dc=x\" }\n", 4, "no url", "ldaps://"},
    {STATE ACCOUNT "directory d {\n url = \"ldaps://x\" }\n", 4, "no base", "dc="},
    {STATE ACCOUNT "directory \"\" { }\n", 3, "\"\"", "name"},
    {STATE ACCOUNT "sources = { \"ldap\", \"carrier-pigeon\" }\n", 3, "carrier-pigeon", "\"wkd\""},
    {STATE ACCOUNT "sources = { \"wkd\", \"wkd\" }\n", 3, "twice", "some of"},
    {STATE ACCOUNT "sources = \"keyserver\"\n", 3, "no section", "some of"},
    {STATE ACCOUNT "wkd {\n}\n", 4, "not used", "\"wkd\""},
    {STATE ACCOUNT "keyserver k {\n url = \"hkps://x\" }\n", 4, "not used", "\"keyserver\""},
    {STATE ACCOUNT DIRECTORY "}\n sources = \"wkd\"\n", 4, "not used", "\"ldap\""},
    {STATE ACCOUNT "wkd { }\n wkd { }\n", 4, "second section", "one"},
    {STATE ACCOUNT "wkd {\n hosts = \"https://x\" }\n", 4, "https://x", "host"},
    {STATE ACCOUNT "wkd {\n method = advance }\n", 4, "advance", "direct"},
    {STATE ACCOUNT "wkd {\n ca_file = \"nowhere\" }\n", 4, "nowhere", "PEM"},
    {STATE ACCOUNT "wkd {\n domains = \"a@b\" }\n", 4, "a@b", "example.org"},
    {STATE ACCOUNT "dane {\n}\n", 4, "not used", "\"dane\""},
    {STATE ACCOUNT "dane { }\n dane { }\n", 4, "second section", "one"},
    {STATE ACCOUNT "dane {\n anchor = \"nowhere\" }\n", 4, "nowhere", "DNSKEY"},
    {STATE ACCOUNT "dane {\n servers = \"ns.example\" }\n", 4, "ns.example", "127.0.0.1@5353"},
    {STATE ACCOUNT "dane {\n servers = { \"192.0.2.1@0\" } }\n", 4, "@0", "127.0.0.1@5353"},
    {STATE ACCOUNT "dane {\n servers = { \"192.0.2.1@65536\" } }\n", 4, "@65536", "127.0.0.1@5353"},
    {STATE ACCOUNT "dane {\n servers = { \"192.0.2.1\", \"root\" } }\n", 4, "root", "alone"},
    {STATE ACCOUNT "dane {\n servers = {} }\n", 4, "empty", "servers"},
    {STATE ACCOUNT "dane {\n ca_file = \"x\" }\n", 4, "ca_file", "anchor"},
    {STATE ACCOUNT "keyserver k {\n}\n", 4, "no url", "hkps://"},
    {STATE ACCOUNT "keyserver k {\n url = \"hkp://x\" }\n", 4, "hkp://x", "hkps://"},
    {STATE ACCOUNT "keyserver k {\n url = \"hkps://x/path\" }\n", 4, "/path", "nothing behind"},
    {STATE ACCOUNT "keyserver k {\n url = \"hkps://x:0\" }\n", 4, ":0", ":PORT"},
    {STATE ACCOUNT "keyserver k {\n url = \"hkp+clear://keys.example\" }\n", 4, "in clear", "hkps://"},
    {STATE ACCOUNT "directory d { url = \"ldaps://x\" base = x }\n directory d { }\n", 4, "directory \"d\"", "once"},
    {STATE ACCOUNT "directory d {\n url = \"http://x\" }\n", 4, "http", "ldaps://"},
    {STATE ACCOUNT "directory d {\n url = \"ldaps://x/dc=org\" }\n", 4, "dc=org", ":PORT"},
    {STATE ACCOUNT "directory d {\n url = \"ldap+clear://ldap.example\" }\n", 4, "in clear", "ldaps://"},
    {STATE ACCOUNT "directory d {\n url = \"ldapi://%2\" }\n", 4, "ldapi", "socket"},
    {STATE ACCOUNT DIRECTORY "referral_hosts = \"ldaps://x\" }\n", 4, "ldaps://x", "HOST"},
    {STATE ACCOUNT "directory d { url = \"ldap+clear://localhost\" base = x\n referral_hosts = far.example }\n", 4,
     "far.example", "in clear"},
    {STATE ACCOUNT "directory d {\n url = \"ldapi://run\" }\n", 4, "ldapi", "socket"},
    {STATE ACCOUNT DIRECTORY " scope = all }\n", 4, "all", "sub"},
    {STATE ACCOUNT DIRECTORY " referrals = yes }\n", 4, "referrals", "keep_found"},
    {STATE ACCOUNT DIRECTORY " filter = \"mail=%a\" }\n", 4, "mail=", "(mail=%a)"},
    {STATE ACCOUNT DIRECTORY " filter = \"(mail=x)\" }\n", 4, "mail=x", "(mail=%a)"},
    {STATE ACCOUNT DIRECTORY " attributes = { \"a b\" } }\n", 4, "a b", "attribute"},
    {STATE ACCOUNT DIRECTORY " attributes = {} }\n", 4, "empty", "attributes"},
    {STATE ACCOUNT DIRECTORY " domains = {} }\n", 4, "empty", "domains"},
    {STATE ACCOUNT DIRECTORY " domains = \"a@b.example\" }\n", 4, "a@b.example", "example.org"},
    {STATE ACCOUNT DIRECTORY " domains = \"*\" }\n", 4, "\"*\"", "example.org"},
    {STATE ACCOUNT DIRECTORY " bind_dn = \"cn=x\" }\n", 4, "bind_dn", "both"},
    {STATE ACCOUNT DIRECTORY " password_command = \"cat x\" }\n", 4, "bind_dn", "both"},
    {STATE ACCOUNT DIRECTORY " sasl = external }\n", 4, "nothing to show", "ldapi://"},
    {STATE ACCOUNT DIRECTORY " sasl = gssapi }\n", 4, "gssapi", "external"},
    {STATE ACCOUNT DIRECTORY " key_file = \"/etc/passwd\" }\n", 4, "belong together", "both"},
    {STATE ACCOUNT DIRECTORY " ca_file = \"/nowhere/ca\" }\n", 4, "/nowhere/ca", "PEM"},
    {STATE ACCOUNT DIRECTORY " timeout = 0 }\n", 4, "\"0\"", "from 1"},
    {STATE ACCOUNT DIRECTORY " size_limit = 1001 }\n", 4, "1001", "1000"},
    {STATE ACCOUNT DIRECTORY " keep_found = never }\n", 4, "never", "number"},
    {STATE ACCOUNT "rule r {\n encrypt = required\n", 5, "not closed", "'}'"},
    {STATE ACCOUNT "host_name = \"open\n", 0, "", "expected"},
    {STATE "revocation_hosts = { \"ca.example\", \"http://ca.example/\" }\n" ACCOUNT, 2, "http://ca", "name"},
    {STATE ACCOUNT "account \"b@example.org\" {\n smtp = \"smtps://s.example\"\n revocation = maybe\n}\n", 5, "maybe",
     "hard"},
    {STATE ACCOUNT "rule r {\n to = { \"*\"\n", 0, "", "expected"},
    {STATE ACCOUNT "}\n", 3, "", "expected"},
    {STATE ACCOUNT "rule { }\n", 3, "", "expected"},
    {STATE "state =\n", 0, "", "expected"},
    {"include(\"/etc/passwd\")\n", 1, "include", "expected"},
};

static void test_every_error_names_file_line_and_expectation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct config *config;
        enum err err = read_text(wrong[i].text, &config);
        char start[160];
        snprintf(start, sizeof start, wrong[i].line ? "%s:%d: " : "%s:", path, wrong[i].line);
        if (err != ERR_CONFIG || strncmp(said, start, strlen(start)) != 0 || !strstr(said, wrong[i].what) ||
            !strstr(said, wrong[i].expected) || !strstr(said, "expected") ||
            strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("case %zu (%s): %d, line %d: %s", i, wrong[i].text, (int)err, wrong[i].line, said);
        assert_null(config);
    }
}

static void test_long_state_leaves_no_room_for_sockets(void **state)
{
    (void)state;
    struct config *config;
    char text[600];
    snprintf(text, sizeof text, "state = \"/tmp/%0*d\"\n%s", 80, 0, ACCOUNT);
    assert_int_equal(read_text(text, &config), ERR_CONFIG);
    assert_non_null(strstr(said, "gpg-agent"));
    snprintf(text, sizeof text, "state = \"/tmp/%0*d\"\n%s", 20, 0, ACCOUNT);
    config = expect_good(text);
    config_free(&config);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct config *config;
    assert_int_equal(config_read("/nonexistent/privyseal.conf", &config), ERR_NOT_FOUND);
    assert_null(config);
}

static void test_default_file_and_state(void **state)
{
    (void)state;
    char folder[160], file[200];
    struct config *config = expect_good(STATE ACCOUNT);
    config_free(&config);
    snprintf(folder, sizeof folder, "%s/privyseal", directory);
    snprintf(file, sizeof file, "%s/privyseal.conf", folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    FILE *out = fopen(file, "w");
    fputs(ACCOUNT, out);
    fclose(out);
    setenv("XDG_CONFIG_HOME", directory, 1);
    setenv("XDG_STATE_HOME", "/tmp/xdg", 1);
    assert_int_equal(config_read(NULL, &config), ERR_OK);
    assert_string_equal(config->file, file);
    assert_string_equal(config->state_dir, "/tmp/xdg/privyseal");
    config_free(&config);
    unsetenv("XDG_STATE_HOME");
    setenv("HOME", directory, 1);
    assert_int_equal(config_read(NULL, &config), ERR_OK);
    snprintf(folder, sizeof folder, "%s/.local/state/privyseal", directory);
    assert_string_equal(config->state_dir, folder);
    config_free(&config);
    unlink(file);
    snprintf(folder, sizeof folder, "%s/privyseal", directory);
    rmdir(folder);
}

static void test_look_ups(void **state)
{
    (void)state;
    struct config *config =
        expect_good(STATE "account \"a@x.example\" { also = \"b@x.example\" login = Ann smtp = \"smtps://s\" }\n"
                          "account \"c/d@x.example\" { smtp = \"smtps://S:465\" }\n"
                          "listen smtp { at = \"127.0.0.1:0\" accounts = \"a@x.example\" }\n");
    const struct config_account *a = &config->accounts[0], *c = &config->accounts[1];
    assert_ptr_equal(config_account_of_login(config, NULL, "Ann"), a);
    assert_null(config_account_of_login(config, NULL, "ann"));
    assert_null(config_account_of_login(config, NULL, "a@x.example"));
    assert_null(config_account_of_login(config, NULL, ""));
    assert_ptr_equal(config_account_of_login(config, NULL, "C/D@X.example"), c);
    assert_null(config_account_of_login(config, &config->listeners[0], "c/d@x.example"));
    assert_ptr_equal(config_account_of_login(config, &config->listeners[0], "Ann"), a);
    assert_ptr_equal(config_account_of_address(config, "B@x.example"), a);
    assert_null(config_account_of_address(config, "z@x.example"));
    assert_true(config_upstream_is_same(&a->upstreams[CONFIG_SMTP], &c->upstreams[CONFIG_SMTP]));
    char where[CONFIG_PATH_SIZE];
    assert_true(config_state_path(config, "tls/key.pem", where));
    assert_string_equal(where, "/tmp/s/tls/key.pem");
    assert_true(config_key_cache(config, c, where));
    assert_string_equal(where, "/tmp/s/keys/c%2Fd@x.example/cache");
    assert_true(config_certificates(config, c, where));
    assert_string_equal(where, "/tmp/s/keys/c%2Fd@x.example/certificates");
    char name[CONFIG_PATH_SIZE];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_false(config_state_path(config, name, where));
    config_free(&config);
}

/* Whatever is cut off a file, the rest is an error or a configuration that says no less than was there. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    static const char whole[] = STATE ACCOUNT "rule strict { to = \"*\" encrypt = required }\n";
    const size_t last = strlen(whole) - 1;
    for (size_t len = 0; len < last; len++) {
        char text[sizeof whole];
        memcpy(text, whole, len);
        text[len] = 0;
        struct config *config;
        enum err err = read_text(text, &config);
        if (err) {
            assert_int_equal(err, ERR_CONFIG);
            continue;
        }
        assert_int_equal(config->policy.rules_len, 0);
        config_free(&config);
    }
}

static int make_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/test_config.XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/file.conf", directory);
    snprintf(errors, sizeof errors, "%s/errors", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(path);
    unlink(errors);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_revocation),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_error_names_file_line_and_expectation),
        cmocka_unit_test(test_long_state_leaves_no_room_for_sockets),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_default_file_and_state),
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
