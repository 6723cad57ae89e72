/* A secret is asked for by a real agent, whose pinentry is a script that notes what it was told. */
#include "keyring/ask.h"
#include "keyring/gpg_talk.h"
#include "tests/unit/gpg_home.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

#define SECRET "50%25 of \"caf\xc3\xa9\" + more"

static struct gpg_home home;

static void write_file(const char *name, mode_t mode, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", home.path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs(text, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* What the pinentry was told, still escaped, since this was last asked; "" if nobody was asked. */
static const char *told(void)
{
    static char text[8192];
    char path[128];
    (void)snprintf(path, sizeof path, "%s/told", home.path);
    FILE *file = fopen(path, "r");
    size_t len = file != NULL ? fread(text, 1, sizeof text - 1, file) : 0;
    text[len] = '\0';
    if (file != NULL)
        (void)fclose(file);
    (void)unlink(path);
    return text;
}

/* `answer` is in Assuan's form; "": it is cancelled. */
static void will_say(const char *answer)
{
    write_file("answer", 0600, answer);
}

static void use_pinentry(const char *dir, const char *name)
{
    char text[512];
    (void)snprintf(text, sizeof text, "pinentry-program %s/%s\n", dir, name);
    write_file("gpg-agent.conf", 0600, text);
    gpg_home_stop_agent(&home);
    assert_int_equal(keyring_gpg_agent_start(home.path, NULL, &home.agent), ERR_OK);
}

static void make_pinentry(void)
{
    static const char script[] = "#!/bin/sh\n"
                                 "echo 'OK ready'\n"
                                 "while read -r line; do\n"
                                 "    case \"$line\" in\n"
                                 "    SETDESC*|SETPROMPT*|SETERROR*) printf '%%s\\n' \"$line\" >>%s/told; echo OK ;;\n"
                                 "    GETPIN*)\n"
                                 "        if [ -s %s/answer ]; then printf 'D %%s\\nOK\\n' \"$(cat %s/answer)\"\n"
                                 "        else echo 'ERR 83886179 Operation cancelled'; fi ;;\n"
                                 "    BYE) echo OK; exit 0 ;;\n"
                                 "    *) echo OK ;;\n"
                                 "    esac\n"
                                 "done\n";
    char text[2048];
    (void)snprintf(text, sizeof text, script, home.path, home.path, home.path);
    write_file("pinentry", 0700, text);
    use_pinentry(home.path, "pinentry");
}

static int open_home(void **state)
{
    (void)state;
    if (gpg_home_open(&home) != ERR_OK)
        return -1;
    make_pinentry();
    return 0;
}

static int close_home(void **state)
{
    (void)state;
    gpg_home_close(&home);
    return 0;
}

static void check(const struct keyring_question *question, enum err wanted, const char *answer)
{
    struct secret secret = {NULL, 0};
    assert_int_equal(keyring_ask(home.gpg, question, &secret), wanted);
    assert_true(span_is_equal(secret_span(&secret), span_of(answer)));
    secret_fini(&secret);
}

static void what_is_typed_comes_back(void **state)
{
    (void)state;
    const struct keyring_question question = {.description = "The PIN of \"card+1\"\n50% of \xc3\xa9, X",
                                              .prompt = "PIN"};
    will_say("50%2525 of \"caf\xc3\xa9\" + more");
    check(&question, ERR_OK, SECRET);
    const char *text = told();
    assert_non_null(strstr(text, "SETDESC The PIN of \"card%2B1\"%0A50%25 of %C3%A9, X\n"));
    assert_non_null(strstr(text, "SETPROMPT PIN\n"));
    assert_null(strstr(text, "SETERROR"));
    /* It was not remembered. */
    will_say("other");
    check(&question, ERR_OK, "other");
    assert_string_not_equal(told(), "");
}

static void why_it_is_asked_again(void **state)
{
    (void)state;
    const struct keyring_question question = {.description = "d", .prompt = "X", .error = "That was wrong"};
    will_say("again");
    check(&question, ERR_OK, "again");
    const char *text = told();
    assert_non_null(strstr(text, "SETERROR That was wrong\n"));
    assert_non_null(strstr(text, "SETPROMPT %58\n"));
}

static void cancelled(void **state)
{
    (void)state;
    const struct keyring_question question = {.description = "d", .cache_id = "privyseal:cancelled"};
    will_say("");
    check(&question, ERR_KEY_LOCKED, "");
    assert_string_not_equal(told(), "");
}

static void what_the_agent_remembers(void **state)
{
    (void)state;
    struct keyring_question question = {.description = "d", .cache_id = "privyseal:one", .is_only_remembered = true};
    will_say("first");
    check(&question, ERR_KEY_LOCKED, "");
    assert_string_equal(told(), "");
    question.is_only_remembered = false;
    check(&question, ERR_OK, "first");
    assert_string_not_equal(told(), "");
    will_say("second");
    check(&question, ERR_OK, "first");
    question.is_only_remembered = true;
    check(&question, ERR_OK, "first");
    assert_string_equal(told(), "");
    assert_int_equal(keyring_ask_forget(home.gpg, "privyseal:one"), ERR_OK);
    check(&question, ERR_KEY_LOCKED, "");
    question.is_only_remembered = false;
    check(&question, ERR_OK, "second");
    assert_int_equal(keyring_ask_forget(home.gpg, "privyseal:one"), ERR_OK);
    assert_int_equal(keyring_ask_forget(home.gpg, "privyseal:one"), ERR_OK);
}

static void a_cache_id_is_one_word(void **state)
{
    static const char *const ids[] = {"",      "a b",      "a\nKILLAGENT",
                                      "a%20b", "--no-ask", "123456789012345678901234567890123456789012345678901"};
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const struct keyring_question question = {.description = "d", .cache_id = ids[i]};
        check(&question, ERR_INTERNAL, "");
        assert_int_equal(keyring_ask_forget(home.gpg, ids[i]), ERR_INTERNAL);
    }
    const struct keyring_question question = {.description = "d", .cache_id = ids[5] + 1};
    will_say("a");
    check(&question, ERR_OK, "a");
    (void)told();
}

/* All three at their longest, and each character three bytes of the line. */
static void long_texts_are_cut(void **state)
{
    (void)state;
    char text[3001];
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof text - 1] = '\0';
    const struct keyring_question question = {.description = text,
                                              .prompt = text,
                                              .error = text,
                                              .cache_id = "12345678901234567890123456789012345678901234567890"};
    will_say("b");
    check(&question, ERR_OK, "b");
    const char *said = told();
    const char *line = strstr(said, "SETDESC ");
    assert_non_null(line);
    assert_int_equal(strcspn(line + 8, "\n"), 600);
}

static void a_character_is_not_cut(void **state)
{
    struct buf out;
    (void)state;
    for (size_t most = 0; most < 9; most++) {
        buf_init(&out, 64);
        assert_int_equal(buf_add_string(&out, "x "), ERR_OK);
        assert_int_equal(gpg_talk_escape("a \xc3\xa9z", most, &out), ERR_OK);
        assert_string_equal(out.data, most == 0   ? "x "
                                      : most == 1 ? "x a"
                                      : most < 8  ? "x a+"
                                      : most == 8 ? "x a+%C3%A9"
                                                  : "");
        buf_fini(&out);
    }
    buf_init(&out, 64);
    assert_int_equal(gpg_talk_escape("a+b%c\r\n", 64, &out), ERR_OK);
    assert_string_equal(out.data, "a%2Bb%25c%0D%0A");
    buf_fini(&out);
}

/* Last of all: nobody is there to ask. */
static void nobody_to_ask(void **state)
{
    (void)state;
    const struct keyring_question question = {.description = "d"};
    will_say("c");
    use_pinentry("/bin", "false");
    check(&question, ERR_KEY_LOCKED, "");
    gpg_home_stop_agent(&home);
    check(&question, ERR_KEY_LOCKED, "");
    assert_int_equal(keyring_ask_forget(home.gpg, "privyseal:one"), ERR_KEY_LOCKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_typed_comes_back),
        cmocka_unit_test(why_it_is_asked_again),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(what_the_agent_remembers),
        cmocka_unit_test(a_cache_id_is_one_word),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(a_character_is_not_cut),
        cmocka_unit_test(nobody_to_ask),
    };
    return cmocka_run_group_tests(tests, open_home, close_home);
}
