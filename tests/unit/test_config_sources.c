/* Sources of keys in the configuration: their sections, their order, and who is asked for what. */
#include "proxy/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ACCOUNT "account \"alice@example.org\" { smtp = \"smtps://smtp.example.org\" }\n"
#define STATE "state = /tmp/s\n"
#define DIRECTORY "directory d { url = \"ldaps://x\" base = \"dc=x\"\n"

static struct config *expect_good(const char *text)
{
    char path[] = "/tmp/test_config_sources.XXXXXX";
    struct config *config;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(config_read(path, &config), ERR_OK);
    assert_int_equal(unlink(path), 0);
    return config;
}

static void test_directories(void **state)
{
    (void)state;
    struct config *config = expect_good(
        STATE ACCOUNT
        "directory corp { url = \"ldap://[::1]:3389/\" base = \"dc=x\" scope = one bind_dn = \"cn=r\"\n"
        " password_command = \"cat x\" filter = \"(uid=%l)\" attributes = pgpKey timeout = 3 size_limit = 7\n"
        " domains = { \"Example.ORG\", \"*.example.com\" } keep_found = 60 keep_missing = 0 }\n"
        "directory open { url = \"ldapi://%2Frun%2fx\" base = \"\" sasl = external }\n"
        "directory near { url = \"ldap+clear://localhost\" base = \"\" domains = \"example.org\" }\n");
    const struct config_directory *corp = &config->directories[0], *open = &config->directories[1],
                                  *near = &config->directories[2];
    assert_int_equal(config->directories_len, 3);
    assert_string_equal(corp->ldap.host, "::1");
    assert_int_equal(corp->ldap.port, 3389);
    assert_int_equal(corp->ldap.security, KEYRING_LDAP_STARTTLS);
    assert_int_equal(corp->ldap.scope, KEYRING_LDAP_ONE);
    assert_int_equal(corp->ldap.attributes_len, 1);
    assert_int_equal(corp->ldap.timeout_ms, 3000);
    assert_int_equal(corp->ldap.time_limit_s, 3);
    assert_int_equal(corp->ldap.size_limit, 7);
    assert_int_equal(corp->source.found_s, 60);
    assert_int_equal(corp->source.missing_s, 0);
    assert_string_equal(open->ldap.path, "/run/x");
    assert_true(open->ldap.is_external);
    assert_string_equal(open->ldap.filter, "(mail=%a)");
    assert_int_equal(open->ldap.attributes_len, 3);
    assert_int_equal(near->ldap.port, 389);
    static const char *const addresses[] = {"a@example.org", "a@x.example.com", "a@example.com", "a@x.example.org"};
    static const bool serves[] = {true, true, false, false};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(config_source_serves(&corp->source, addresses[i]), serves[i]);
        assert_int_equal(config_source_is_believed(&corp->source, addresses[i], addresses[i]), serves[i]);
        /* Without domains anything may be asked and nothing is believed; nor is anything that came in clear. */
        assert_true(config_source_serves(&open->source, addresses[i]));
        assert_false(config_source_is_believed(&open->source, addresses[i], addresses[i]));
        assert_false(config_source_is_believed(&near->source, addresses[i], addresses[i]));
    }
    assert_int_equal(config_stage_timeout_ms(config, "a@example.com", 0), 10000);
    config_free(&config);
    config = expect_good(STATE ACCOUNT DIRECTORY " domains = \"example.org\" }\n");
    assert_int_equal(config_stage_timeout_ms(config, "a@example.com", 0), 0);
    config_free(&config);
}

static void expect_sources(const char *text, size_t len, const int *kinds)
{
    char whole[4096];
    snprintf(whole, sizeof whole, STATE ACCOUNT "%s", text);
    struct config *config = expect_good(whole);
    assert_int_equal(config->sources_len, len);
    for (size_t i = 0; i < len; i++)
        assert_int_equal((int)config->sources[i]->kind, kinds[i]);
    config_free(&config);
}

static void test_order_of_sources(void **state)
{
    (void)state;
    const int ldap = KEYRING_SOURCE_DIRECTORY, wkd = KEYRING_SOURCE_WKD, hkp = KEYRING_SOURCE_KEYSERVER;
    static const char all[] = DIRECTORY "}\n keyserver k { url = \"hkps://keys.example\" }\n"
                                        "keyserver l { url = \"hkp+clear://127.0.0.1:1\" }\n";
    char text[1024];
    expect_sources("", 0, NULL);
    expect_sources(DIRECTORY "}\n", 1, (int[]){ldap});
    /* None that is asked over the network unless it is named; and with a name alone it is. */
    expect_sources("sources = \"wkd\"\n", 1, (int[]){wkd});
    snprintf(text, sizeof text, "%s sources = { \"autocrypt\", \"wkd\", \"ldap\", \"keyserver\" }\n", all);
    expect_sources(text, 4, (int[]){wkd, ldap, hkp, hkp});
    /* What can give nothing but unverified keys comes last. */
    snprintf(text, sizeof text, "%s sources = { \"keyserver\", \"ldap\", \"wkd\" }\n", all);
    expect_sources(text, 4, (int[]){ldap, wkd, hkp, hkp});
}

/* The stage in which each source is asked; '-': in none. */
static void expect_stages(const struct config *config, const char *address, const char *stages)
{
    for (size_t i = 0; i < config->sources_len; i++) {
        const size_t stage = config_source_stage(config, i, address);
        assert_int_equal(stage == SIZE_MAX ? '-' : (int)('0' + stage), stages[i]);
    }
    assert_int_equal(config_source_stage(config, config->sources_len, address), SIZE_MAX);
}

static void test_stages(void **state)
{
    (void)state;
    struct config *config = expect_good(
        STATE ACCOUNT "directory corp { url = \"ldaps://a\" base = \"\" domains = \"example.org\" timeout = 1 }\n"
                      "directory all { url = \"ldaps://b\" base = \"\" timeout = 2 }\n"
                      "wkd { domains = { \"example.org\", \"example.com\" } timeout = 3 }\n"
                      "keyserver k { url = \"hkps://k\" domains = \"example.com\" timeout = 4 }\n"
                      "keyserver l { url = \"hkps://l\" timeout = 5 }\n"
                      "sources = { \"wkd\", \"ldap\", \"keyserver\" }\n");
    /* wkd, corp, all, k, l: neighbours that count as much are asked together, and no others. */
    expect_stages(config, "a@example.org", "001-2");
    expect_stages(config, "a@example.com", "0-122");
    expect_stages(config, "a@example.net", "--0-1");
    assert_int_equal(config_stage_timeout_ms(config, "a@example.org", 0), 3000);
    assert_int_equal(config_stage_timeout_ms(config, "a@example.org", 1), 2000);
    assert_int_equal(config_stage_timeout_ms(config, "a@example.com", 2), 5000);
    assert_int_equal(config_stage_timeout_ms(config, "a@example.com", 3), 0);
    assert_int_equal(config_stage_keep_s(config, "a@example.org", 0), 86400);
    assert_int_equal(config_stage_keep_s(config, "a@example.com", 3), 0);
    /* A domain speaks for itself alone; a keyserver for nobody. */
    const struct config_source *wkd = config->sources[0], *keyserver = config->sources[3];
    assert_true(config_source_is_believed(wkd, "a@example.com", "b@example.com"));
    assert_false(config_source_is_believed(wkd, "a@example.com", "b@example.org"));
    assert_false(config_source_is_believed(keyserver, "a@example.com", "a@example.com"));
    config_free(&config);
}

static void test_web(void **state)
{
    (void)state;
    struct config *config = expect_good(
        STATE ACCOUNT "wkd { hosts = { \"openpgpkey.example.org\", \"h\" } method = direct timeout = 7 keep_found = 1\n"
                      " keep_missing = 2 keep_failed = 3 }\n"
                      "keyserver k { url = \"hkps://[2001:db8::1]:8443/\" }\n"
                      "keyserver l { url = \"hkp+clear://localhost\" }\n sources = { \"wkd\", \"keyserver\" }\n");
    assert_int_equal(config->webs_len, 3);
    const struct config_web *wkd = &config->webs[0], *k = &config->webs[1], *l = &config->webs[2];
    assert_int_equal(wkd->web.hosts_len, 2);
    assert_string_equal(wkd->web.hosts[1], "h");
    assert_int_equal(wkd->web.method, KEYRING_WKD_DIRECT);
    assert_int_equal(wkd->web.timeout_ms, 7000);
    assert_int_equal(wkd->source.found_s, 1);
    assert_int_equal(wkd->source.missing_s, 2);
    assert_int_equal(wkd->source.failed_s, 3);
    assert_string_equal(k->web.host, "2001:db8::1");
    assert_int_equal(k->web.port, 8443);
    assert_string_equal(k->web.name, "keyserver k");
    assert_false(k->web.is_clear);
    assert_true(l->web.is_clear);
    assert_int_equal(l->web.port, 11371);
    assert_int_equal(l->web.timeout_ms, 10000);
    config_free(&config);
}

static void test_refresh(void **state)
{
    static const char *const bad[] = {"7", "7 moons", "0 days", "-1 days", "days", "400 days", "7days", "1 s"};
    static const struct {
        const char *text;
        uint32_t seconds;
    } rows[] = {{STATE ACCOUNT, 0},
                {STATE ACCOUNT "sources = \"wkd\"\n", 604800},
                {STATE ACCOUNT "sources = \"wkd\"\nrefresh = never\n", 0},
                {STATE ACCOUNT "refresh = \"2 seconds\"\n", 2},
                {STATE ACCOUNT "refresh = \"1 day\"\n", 86400},
                {STATE ACCOUNT "refresh = \" 52  weeks \"\n", 31449600}};
    struct config *config;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        config = expect_good(rows[i].text);
        assert_int_equal(config->refresh_s, rows[i].seconds);
        config_free(&config);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[] = "/tmp/test_config_sources.XXXXXX", text[200];
        const int fd = mkstemp(path);
        assert_true(fd >= 0);
        const int len = snprintf(text, sizeof text, STATE ACCOUNT "refresh = \"%s\"\n", bad[i]);
        assert_int_equal(write(fd, text, (size_t)len), len);
        close(fd);
        assert_int_equal(config_read(path, &config), ERR_CONFIG);
        assert_int_equal(unlink(path), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_directories), cmocka_unit_test(test_order_of_sources), cmocka_unit_test(test_stages),
        cmocka_unit_test(test_web),         cmocka_unit_test(test_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
