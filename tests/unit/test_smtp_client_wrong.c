/* Servers that say too much, too little, or at the wrong time. */
#include "smtp_talk.h"

/* The owner's next command is queued from within a reply, with a surplus one behind it. */
static void on_reply_go_on(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    on_reply(client, reply, context);
    assert_int_equal(smtp_client_noop(client, on_reply, context), ERR_OK);
}

static void test_surplus_reply_answers_nothing(void **state)
{
    static const char *const surplus[] = {"250 a\r\n250 surplus\r\n", "250 a\r\n250-sur", "250 a\r\n250-sur\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof surplus / sizeof *surplus; i++) {
        struct talk talk;
        talk_start(&talk, "250-PIPELINING\r\n");
        assert_int_equal(smtp_client_noop(talk.client, on_reply_go_on, &talk), ERR_OK);
        hear(&talk, "NOOP\r\n");
        say(&talk, surplus[i]);
        hear(&talk, "");
        if (i > 0) {
            expect_told(&talk, "250  a;");
            say(&talk, i == 1 ? "plus\r\n250 end\r\n" : "250 end\r\n");
            expect_told(&talk, "close upstream-protocol;");
        } else {
            expect_told(&talk, "250  a;close upstream-protocol;");
        }
        talk_fini(&talk);
    }
}

/* The server is alive, but a byte now and then is no reply. Where nothing may take any time, connecting may fail, too:
   that says nothing of this, and is tried again. */
static void test_dripping_server(void **state)
{
    struct talk talk;
    bool is_connected = false;
    (void)state;
    for (int tries = 0; !is_connected && tries < 100; tries++) {
        talk_init(&talk, SMTP_CLEAR);
        talk.options.timeout_percent = 0;
        talk_connect(&talk);
        for (int i = 0; i < 500 && talk.client != NULL; i++) {
            (void)send(talk.peer.fd, "2", 1, MSG_NOSIGNAL);
            peer_run(&talk.peer);
            usleep(100);
        }
        is_connected = strcmp(talk.told.data, "close upstream-down;") != 0;
        if (is_connected)
            expect_told(&talk, "close timeout;");
        talk_fini(&talk);
    }
    assert_true(is_connected);
}

static void test_421_for_the_message(void **state)
{
    struct talk talk;
    (void)state;
    talk_start(&talk, "");
    assert_int_equal(smtp_client_data(talk.client, SPAN_LIT("x\r\n"), on_reply, &talk), ERR_OK);
    say(&talk, "354 go\r\n");
    say(&talk, "421 later\r\n");
    expect_told(&talk, "421  later;close upstream-lost;");
    talk_fini(&talk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_surplus_reply_answers_nothing),
                                       cmocka_unit_test(test_421_for_the_message),
                                       cmocka_unit_test(test_dripping_server)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
