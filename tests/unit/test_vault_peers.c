/* Records of correspondents in a running vault: who may ask what of them, and who hears that words have changed. */
#include "tests/unit/vault_run.h"

#include "proxy/wire_view.h"
#include "store/peer.h"

#define BOB "bob@example.org"
#define ERIN "erin@example.net"
#define ONE "1111111111111111111111111111111111111111"
#define NOW 1800000000

static struct keyring_word word_of(enum keyring_source source, enum keyring_trust trust)
{
    return (struct keyring_word){
        .address = ERIN, .fingerprint = ONE, .format = KEYRING_OPENPGP, .source = source, .trust = trust, .since = NOW};
}

/* What an answer has in it beside its error is left to the caller. ERR_END: the vault has ended the line. */
static enum err ask(int line, struct ipc_out *out, struct ipc_in *in)
{
    assert_int_equal(ipc_send(line, out), ERR_OK);
    const enum err received = ipc_recv(line, in);
    if (received != ERR_OK)
        return ERR_END;
    assert_int_equal(ipc_type(in), PROXY_VAULT_DONE);
    const enum err err = (enum err)ipc_get_u32(in);
    if (err != ERR_OK) {
        assert_int_equal(ipc_in_end(in), ERR_OK);
        ipc_in_fini(in);
    }
    return err;
}

static void begin(struct ipc_out *out, uint16_t type, const char *account, const char *address)
{
    ipc_out_begin(out, type);
    ipc_put_string(out, account);
    if (address != NULL)
        ipc_put_string(out, address);
}

static enum err ask_hear(int line, const struct keyring_word *one, const struct keyring_word *two, uint32_t *changed)
{
    struct ipc_out out;
    struct ipc_in in;
    struct buf words;
    buf_init(&words, 10000);
    assert_int_equal(keyring_word_add(&words, one), ERR_OK);
    if (two != NULL)
        assert_int_equal(keyring_word_add(&words, two), ERR_OK);
    begin(&out, PROXY_PEER_HEAR, ALICE, NULL);
    ipc_put_span(&out, buf_span(&words));
    buf_fini(&words);
    const enum err err = ask(line, &out, &in);
    if (err != ERR_OK)
        return err;
    *changed = ipc_get_u32(&in);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return ERR_OK;
}

/* How many words the account has; the first one's trust. */
static enum err ask_words(int line, const char *account, size_t *len, enum keyring_trust *trust)
{
    struct ipc_out out;
    struct ipc_in in;
    struct keyring_word word;
    begin(&out, PROXY_PEER_WORDS, account, NULL);
    ipc_put_u64(&out, NOW);
    const enum err err = ask(line, &out, &in);
    if (err != ERR_OK)
        return err;
    struct span words = proxy_get_content(&in, KEYRING_WORDS_SIZE_MAX), rest = words;
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    for (*len = 0; keyring_word_take(&rest, &word) == ERR_OK; (*len)++)
        *trust = *len == 0 ? word.trust : *trust;
    assert_int_equal(rest.len, 0);
    memfd_unmap(&words);
    return ERR_OK;
}

static enum err ask_get(int line, const char *account)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(&out, PROXY_PEER_GET, account, ERIN);
    const enum err err = ask(line, &out, &in);
    if (err == ERR_OK)
        ipc_in_fini(&in);
    return err;
}

static void expect_words(const char *account, size_t wanted, enum keyring_trust wanted_trust)
{
    size_t len;
    enum keyring_trust trust = KEYRING_NEVER;
    int keeper = vault_line(PROXY_VAULT_KEEPER, account);
    assert_int_equal(ask_words(keeper, account, &len, &trust), ERR_OK);
    assert_int_equal(len, wanted);
    assert_int_equal(trust, wanted_trust);
    close(keeper);
}

static enum err ask_unpin(int line, uint32_t format)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(&out, PROXY_PEER_UNPIN, ALICE, ERIN);
    ipc_put_u32(&out, format);
    const enum err err = ask(line, &out, &in);
    if (err == ERR_OK)
        ipc_in_fini(&in);
    return err;
}

static enum err ask_remove(int line)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(&out, PROXY_PEER_REMOVE, ALICE, ERIN);
    const enum err err = ask(line, &out, &in);
    if (err == ERR_OK)
        ipc_in_fini(&in);
    return err;
}

static void test_a_persons_words_come_of_commands(void **state)
{
    const struct keyring_word found = word_of(KEYRING_SOURCE_WKD, KEYRING_FOUND),
                              pin = word_of(KEYRING_SOURCE_PERSON, KEYRING_PINNED);
    uint32_t changed;
    (void)state;
    int command = command_line();
    assert_int_equal(ask_hear(command, &found, NULL, &changed), ERR_OK);
    assert_int_equal(changed, 1);
    assert_int_equal(ask_hear(command, &found, NULL, &changed), ERR_OK);
    assert_int_equal(changed, 0);
    expect_words(ALICE, 1, KEYRING_FOUND);
    expect_words(BOB, 0, KEYRING_NEVER);
    assert_int_equal(ask_hear(command, &pin, NULL, &changed), ERR_OK);
    expect_words(ALICE, 2, KEYRING_FOUND);
    assert_int_equal(ask_unpin(command, KEYRING_SMIME), ERR_NOT_FOUND);
    assert_int_equal(ask_unpin(command, KEYRING_OPENPGP), ERR_OK);
    expect_words(ALICE, 1, KEYRING_FOUND);
    close(command);
    end_vault(SIGKILL);
    start_vault();
    expect_words(ALICE, 1, KEYRING_FOUND);
    command = command_line();
    assert_int_equal(ask_remove(command), ERR_OK);
    assert_int_equal(ask_remove(command), ERR_NOT_FOUND);
    expect_words(ALICE, 0, KEYRING_NEVER);
    close(command);
}

/* The line ends, and nothing has changed. */
static void expect_end(uint16_t line_type, const char *account, const struct keyring_word *one,
                       const struct keyring_word *two)
{
    uint32_t changed;
    int line = vault_line(line_type, account);
    assert_int_equal(ask_hear(line, one, two, &changed), ERR_END);
    close(line);
    expect_words(ALICE, 0, KEYRING_NEVER);
}

/* Whoever has taken net over can lie about what sources said, and no more. */
static void test_net_says_at_most_found(void **state)
{
    struct keyring_word word = word_of(KEYRING_SOURCE_PERSON, KEYRING_PINNED);
    const struct keyring_word found = word_of(KEYRING_SOURCE_WKD, KEYRING_FOUND);
    uint32_t changed;
    size_t len;
    enum keyring_trust trust;
    (void)state;
    expect_end(PROXY_VAULT_CLIENT, NULL, &word, NULL);
    word.trust = KEYRING_NEVER;
    expect_end(PROXY_VAULT_CLIENT, NULL, &word, NULL);
    expect_end(PROXY_VAULT_CLIENT, NULL, &found, &word);
    /* A source that may not say so much: no word at all. */
    word = word_of(KEYRING_SOURCE_KEYSERVER, KEYRING_FOUND);
    expect_end(PROXY_VAULT_CLIENT, NULL, &word, NULL);
    /* Of two addresses. */
    word = found;
    (void)span_copy(SPAN_LIT(BOB), word.address, sizeof word.address);
    expect_end(PROXY_VAULT_CLIENT, NULL, &found, &word);
    /* Autocrypt's state is not for saying. */
    word = word_of(KEYRING_SOURCE_AUTOCRYPT, KEYRING_SEEN);
    int net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_hear(net, &word, NULL, &changed), ERR_REFUSED);
    close(net);
    /* A keeper says nothing, and asks of its own account alone. */
    expect_end(PROXY_VAULT_KEEPER, ALICE, &found, NULL);
    int keeper = vault_line(PROXY_VAULT_KEEPER, BOB);
    assert_int_equal(ask_words(keeper, ALICE, &len, &trust), ERR_END);
    close(keeper);
    keeper = vault_line(PROXY_VAULT_KEEPER, BOB);
    assert_int_equal(ask_get(keeper, BOB), ERR_NOT_FOUND);
    assert_int_equal(ask_get(keeper, ALICE), ERR_END);
    close(keeper);
    /* Net does not hear whom a person writes to. */
    net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_words(net, ALICE, &len, &trust), ERR_END);
    close(net);
    net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_unpin(net, KEYRING_OPENPGP), ERR_END);
    close(net);
    net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_remove(net), ERR_END);
    close(net);
    net = command_line();
    assert_int_equal(ask_unpin(net, 3), ERR_END);
    close(net);
    expect_words(ALICE, 0, KEYRING_NEVER);
}

static enum err ask_due(int line, uint32_t period_s)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(&out, PROXY_PEER_DUE, ALICE, NULL);
    ipc_put_u64(&out, NOW);
    ipc_put_u32(&out, period_s);
    const enum err err = ask(line, &out, &in);
    if (err == ERR_OK)
        ipc_in_fini(&in);
    return err;
}

static enum err ask_refreshed(int line, int64_t at)
{
    struct ipc_out out;
    struct ipc_in in;
    begin(&out, PROXY_PEER_REFRESHED, ALICE, ERIN);
    ipc_put_u64(&out, (uint64_t)at);
    const enum err err = ask(line, &out, &in);
    if (err == ERR_OK)
        ipc_in_fini(&in);
    return err;
}

/* Whose keys are refreshed next, and that it was done, is between net and the vault: it names correspondents, and a
   keeper that could say so would put a revocation off for ever. */
static void test_no_keeper_has_to_do_with_refreshing(void **state)
{
    (void)state;
    int net = vault_line(PROXY_VAULT_CLIENT, NULL), line = vault_line(PROXY_VAULT_KEEPER, ALICE);
    assert_int_equal(ask_due(line, 86400), ERR_END);
    close(line);
    line = vault_line(PROXY_VAULT_KEEPER, ALICE);
    assert_int_equal(ask_refreshed(line, NOW), ERR_END);
    close(line);
    assert_int_equal(ask_due(net, 86400), ERR_OK);
    assert_int_not_equal(ask_refreshed(net, NOW), ERR_END);
    /* What makes no sense ends net's line, too. */
    assert_int_equal(ask_due(net, 0), ERR_END);
    close(net);
    net = vault_line(PROXY_VAULT_CLIENT, NULL);
    assert_int_equal(ask_refreshed(net, -1), ERR_END);
    close(net);
}

/* ---- net's end of the line ---- */

struct heard {
    unsigned peers, words;
    enum err err;
    uint64_t sent, received;
    char chosen[KEYRING_FPR_SIZE], account[MIME_ADDR_SIZE];
};

static void on_peer(enum err err, const struct keyring_peer *peer, void *context)
{
    struct heard *heard = context;
    heard->err = err;
    heard->peers++;
    if (err != ERR_OK)
        return;
    heard->sent = peer->sent;
    heard->received = peer->received;
    memcpy(heard->chosen, peer->chosen[0], sizeof heard->chosen);
}

static void on_words(const char *account, bool is_by_mail, void *context)
{
    struct heard *heard = context;
    assert_false(is_by_mail);
    heard->words++;
    (void)span_copy(span_of(account == NULL ? "any" : account), heard->account, sizeof heard->account);
}

static void get(const char *address, struct heard *heard)
{
    heard->peers = 0;
    assert_int_equal(proxy_vault_peer_get(link_, ALICE, address, on_peer, heard, NULL), ERR_OK);
    run(&heard->peers, 1);
}

static void say(const struct keyring_word *word, struct got *got)
{
    struct buf words;
    buf_init(&words, 10000);
    assert_int_equal(keyring_word_add(&words, word), ERR_OK);
    assert_int_equal(proxy_vault_peer_hear(link_, ALICE, buf_span(&words), on_done, got, NULL), ERR_OK);
    buf_fini(&words);
    run(&got->times, got->times + 1);
}

static void test_net_tells_and_asks(void **state)
{
    struct heard heard = {.peers = 0};
    struct got got = {.times = 0};
    struct keyring_heard mail = {.address = ERIN, .at = NOW};
    struct buf saved;
    int fd;
    (void)state;
    get(ERIN, &heard);
    assert_int_equal(heard.err, ERR_NOT_FOUND);
    struct proxy_vault_sent sent[450];
    for (size_t i = 0; i < 450; i++)
        sent[i] = (struct proxy_vault_sent){i == 449 ? ERIN : BOB, i == 449 ? ONE : ""};
    assert_int_equal(proxy_vault_peer_sent(link_, ALICE, NOW, KEYRING_OPENPGP, sent, 450), ERR_OK);
    get(ERIN, &heard);
    assert_int_equal(heard.err, ERR_OK);
    assert_int_equal(heard.sent, 1);
    assert_string_equal(heard.chosen, ONE);
    get(BOB, &heard);
    assert_int_equal(heard.sent, 449);
    assert_string_equal(heard.chosen, "");
    buf_init(&saved, 1000);
    assert_int_equal(keyring_heard_add(&saved, &mail), ERR_OK);
    (void)span_copy(SPAN_LIT(BOB), mail.address, sizeof mail.address);
    assert_int_equal(keyring_heard_add(&saved, &mail), ERR_OK);
    assert_int_equal(memfd_of("heard", buf_span(&saved), saved.len, &fd), ERR_OK);
    assert_int_equal(proxy_vault_peer_received(link_, ALICE, fd, on_done, &got, NULL), ERR_OK);
    close(fd);
    run(&got.times, 1);
    assert_int_equal(got.err, ERR_OK);
    get(ERIN, &heard);
    assert_int_equal(heard.received, 1);
    get(BOB, &heard);
    assert_int_equal(heard.received, 1);
    buf_fini(&saved);
    assert_int_equal(lost, 0);
}

/* Before the answer to whoever changed them; what changes nothing is not told. */
static void test_net_hears_of_changed_words(void **state)
{
    struct heard heard = {.peers = 0};
    struct got got = {.times = 0};
    uint32_t changed;
    const struct keyring_word found = word_of(KEYRING_SOURCE_WKD, KEYRING_FOUND),
                              pin = word_of(KEYRING_SOURCE_PERSON, KEYRING_PINNED);
    (void)state;
    proxy_vaultlink_on_words(link_, on_words, &heard);
    say(&found, &got);
    assert_int_equal(got.err, ERR_OK);
    assert_int_equal(heard.words, 1);
    assert_string_equal(heard.account, ALICE);
    say(&found, &got);
    assert_int_equal(heard.words, 1);
    /* A command's change is told to net all the same. */
    int command = command_line();
    assert_int_equal(ask_hear(command, &pin, NULL, &changed), ERR_OK);
    run(&heard.words, 2);
    assert_int_equal(ask_unpin(command, KEYRING_OPENPGP), ERR_OK);
    run(&heard.words, 3);
    assert_int_equal(ask_remove(command), ERR_OK);
    run(&heard.words, 4);
    close(command);
    /* And nobody has told what changed while there was no line. */
    end_vault(SIGKILL);
    start_vault();
    assert_int_equal(heard.words, 5);
    assert_string_equal(heard.account, "any");
    proxy_vaultlink_on_words(link_, NULL, NULL);
}

/* One record that does not open is no reason to list nothing, but the words say so; and it is not written over. */
static void test_damaged(void **state)
{
    struct heard heard = {.peers = 0};
    struct got got = {.times = 0};
    struct keyring_word found = word_of(KEYRING_SOURCE_WKD, KEYRING_FOUND);
    char path[600];
    struct store *store;
    (void)state;
    end_vault(SIGKILL);
    snprintf(path, sizeof path, "%s/store", directory);
    assert_int_equal(store_open(path, &store), ERR_OK);
    assert_int_equal(store_peer_put(store, ALICE, ERIN, SPAN_LIT("no record"), STORE_PEER_HEARD, 1), ERR_OK);
    store_close(&store);
    start_vault();
    say(&found, &got);
    assert_int_equal(got.err, ERR_DAMAGED);
    get(ERIN, &heard);
    assert_int_equal(heard.err, ERR_DAMAGED);
    (void)span_copy(SPAN_LIT(BOB), found.address, sizeof found.address);
    say(&found, &got);
    assert_int_equal(got.err, ERR_OK);
    expect_words(ALICE, 2, KEYRING_FOUND);
    int command = command_line();
    assert_int_equal(ask_remove(command), ERR_OK);
    close(command);
    expect_words(ALICE, 1, KEYRING_FOUND);
    get(ERIN, &heard);
    assert_int_equal(heard.err, ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_persons_words_come_of_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_net_says_at_most_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_keeper_has_to_do_with_refreshing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_net_tells_and_asks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_net_hears_of_changed_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, make_state, remove_directory);
}
