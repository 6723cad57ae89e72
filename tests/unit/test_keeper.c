/* A keeper as net sees it: a process at the other end of a socket that opens, seals for oneself and unlocks. */
#include "proxy/keeper.h"

#include "base/memfd.h"
#include "crypto/own.h"
#include "mime/text.h"
#include "proxy/record.h"
#include "proxy/wire.h"
#include "tests/unit/open_mail.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define AUTHSERV_ID "privyseal.test"
#define SIZE_MOST ((size_t)4 << 20)

struct keeper {
    int socket;
    pid_t pid;
};

static int index_fd;

static struct keeper start_with(const char *smime_ca)
{
    struct proxy_keeper_setup setup = {
        .authserv_id = AUTHSERV_ID, .log_level = 1, .is_own_home = 1, .output_max = SIZE_MOST, .vault = -1};
    struct keeper keeper;
    struct ipc_out out;
    int ends[2];

    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    snprintf(setup.home, sizeof(setup.home), "%s", home.path);
    snprintf(setup.smime_ca, sizeof(setup.smime_ca), "%s", smime_ca);
    snprintf(setup.key_cache, sizeof(setup.key_cache), "%s", home.cache);
    snprintf(setup.certificates, sizeof(setup.certificates), "%s/certificates", home.path);
    assert_true(mkdir(setup.certificates, 0700) == 0 || errno == EEXIST);
    assert_true(span_copy(span_of(home.wrapper), setup.wrapper, sizeof(setup.wrapper)));
    keeper.pid = fork();
    assert_true(keeper.pid >= 0);
    if (keeper.pid == 0) {
        close(ends[0]);
        if (ends[1] != 3 && dup2(ends[1], 3) != 3)
            _exit(9);
        _exit(proxy_keeper_main());
    }
    close(ends[1]);
    keeper.socket = ends[0];
    proxy_put_setup(&out, &setup);
    assert_int_equal(ipc_send(keeper.socket, &out), ERR_OK);
    return keeper;
}

static struct keeper start(void)
{
    return start_with("");
}

/* Ends a keeper in its orderly way, or sees that it has ended by itself. */
static void stop(struct keeper *keeper, int wanted)
{
    int status;

    close(keeper->socket);
    assert_int_equal(waitpid(keeper->pid, &status, 0), keeper->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), wanted);
}

static int file_of(struct span bytes)
{
    int fd;

    assert_int_equal(memfd_of("test", bytes, SIZE_MOST, &fd), ERR_OK);
    return fd;
}

/* What came of an opening. */
struct opened {
    enum err err;
    bool is_plain;
    struct buf decision, session_keys, encrypted_ids, view, record, text, heard;
};

static void opened_fini(struct opened *opened)
{
    buf_fini(&opened->decision);
    buf_fini(&opened->session_keys);
    buf_fini(&opened->encrypted_ids);
    buf_fini(&opened->view);
    buf_fini(&opened->record);
    buf_fini(&opened->text);
    buf_fini(&opened->heard);
}

static void take_file(struct ipc_in *in, struct buf *out)
{
    struct span bytes;
    int fd = ipc_get_file(in);

    assert_int_equal(memfd_map(fd, SIZE_MOST, &bytes), ERR_OK);
    assert_int_equal(buf_add_span(out, bytes), ERR_OK);
    memfd_unmap(&bytes);
    close(fd);
}

static void receive(const struct keeper *keeper, bool wants_record, struct opened *opened)
{
    struct proxy_open_answer answer;
    struct ipc_in in;

    buf_init(&opened->decision, SIZE_MOST);
    buf_init(&opened->session_keys, SIZE_MOST);
    buf_init(&opened->encrypted_ids, SIZE_MOST);
    buf_init(&opened->view, SIZE_MOST);
    buf_init(&opened->record, SIZE_MOST);
    buf_init(&opened->text, SIZE_MOST);
    buf_init(&opened->heard, SIZE_MOST);
    assert_int_equal(ipc_recv(keeper->socket, &in), ERR_OK);
    assert_int_equal(ipc_type(&in), PROXY_JOB_DONE);
    opened->err = (enum err)ipc_get_u32(&in);
    if (opened->err == ERR_OK) {
        proxy_get_opened(&in, &answer);
        opened->is_plain = answer.is_plain;
        assert_int_equal(buf_add_span(&opened->decision, answer.decision), ERR_OK);
        assert_int_equal(buf_add_span(&opened->session_keys, answer.session_keys), ERR_OK);
        assert_int_equal(buf_add_span(&opened->encrypted_ids, answer.encrypted_ids), ERR_OK);
        if (!answer.is_plain)
            take_file(&in, &opened->view);
        if (!answer.is_plain && wants_record) {
            take_file(&in, &opened->record);
            take_file(&in, &opened->text);
        }
        if (answer.has_heard)
            take_file(&in, &opened->heard);
    }
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
}

static void send_open(const struct keeper *keeper, const struct proxy_open_request *request, struct span message)
{
    struct ipc_out out;
    int fd = file_of(message);

    ipc_out_begin(&out, PROXY_JOB_OPEN);
    proxy_put_open(&out, request);
    ipc_put_file(&out, fd);
    if (request->index_number != 0)
        ipc_put_file(&out, index_fd);
    assert_int_equal(ipc_send(keeper->socket, &out), ERR_OK);
    close(fd);
}

static void open_first(const struct keeper *keeper, struct span message, struct opened *opened)
{
    const struct proxy_open_request request = {.index_number = 1, .wants_record = true};

    send_open(keeper, &request, message);
    receive(keeper, true, opened);
}

static void test_opens_and_opens_again(void **state)
{
    struct keeper keeper = start();
    struct proxy_record record;
    struct opened first, again;
    struct buf sealed;

    (void)state;
    seal(CRYPTO_SEAL_SIGN_ENCRYPT, alice, MESSAGE, &sealed);
    open_first(&keeper, buf_span(&sealed), &first);
    assert_int_equal(first.err, ERR_OK);
    assert_false(first.is_plain);
    assert_non_null(strstr(first.view.data, "Privyseal-Verdict: signature=good; signer=alice@example.org; trust=own;"));
    assert_non_null(strstr(first.view.data, "Authentication-Results: " AUTHSERV_ID "; x-privyseal=pass"));
    assert_non_null(strstr(first.view.data, "\r\n\r\nthe body\r\n"));
    assert_int_equal(proxy_record_load(buf_span(&first.record), &record), ERR_OK);
    assert_int_equal(record.size, first.view.len);
    assert_true(span_has_prefix(buf_span(&first.view), record.header));
    assert_true(span_find(record.envelope, 0, SPAN_LIT("\"plans\"")) != SIZE_MAX);
    for (int wants_record = 0; wants_record < 2; wants_record++) {
        const struct proxy_open_request request = {.wants_record = wants_record,
                                                   .decision = buf_span(&first.decision),
                                                   .session_keys = buf_span(&first.session_keys)};

        send_open(&keeper, &request, buf_span(&sealed));
        receive(&keeper, wants_record, &again);
        assert_int_equal(again.err, ERR_OK);
        assert_true(span_is_equal(buf_span(&again.view), buf_span(&first.view)));
        assert_true(span_is_equal(buf_span(&again.decision), buf_span(&first.decision)));
        assert_true(span_is_equal(buf_span(&again.session_keys), buf_span(&first.session_keys)));
        if (wants_record) {
            assert_true(span_is_equal(buf_span(&again.record), buf_span(&first.record)));
            assert_true(span_is_equal(buf_span(&again.text), buf_span(&first.text)));
        }
        assert_true(span_is_equal(buf_span(&again.encrypted_ids), buf_span(&first.encrypted_ids)));
        opened_fini(&again);
    }
    opened_fini(&first);
    buf_fini(&sealed);
    stop(&keeper, 0);
}

/* Trust anchors that are not there, hold nothing or cannot be parsed: without them nobody would have a certificate, and
   what must leave encrypted might leave plain. Such a keeper does no job. */
static void test_anchors_that_cannot_be_read(void **state)
{
    static const char *const anchors[] = {"/nonexistent/anchors", "/dev/null", "/proc/self/stat"};
    struct ipc_out out;
    struct ipc_in in;

    (void)state;
    for (size_t i = 0; i < sizeof(anchors) / sizeof(*anchors); i++) {
        struct keeper keeper = start_with(anchors[i]);
        ipc_out_begin(&out, PROXY_JOB_LIST);
        ipc_put_u64(&out, 0);
        (void)!ipc_send(keeper.socket, &out);
        assert_int_not_equal(ipc_recv(keeper.socket, &in), ERR_OK);
        stop(&keeper, 3);
    }
}

/* What a message of its own is known by: that of the view, under protection too, and only if it was encrypted. */
static void test_ids_of_what_came_encrypted(void **state)
{
    static const char *const names[] = {"Message-ID", NULL};
    static const char message[] = FROM "Message-ID: <in.it@example.org>\r\n" TAIL;
    struct crypto_message_ids wanted = {.len = 0};
    struct keeper keeper = start();
    struct opened opened;
    struct buf sealed;

    (void)state;
    assert_int_equal(crypto_message_ids_add(&wanted, span_of(message), names), ERR_OK);
    assert_int_equal(wanted.len, 1);
    for (int i = 0; i < 4; i++) {
        seal(i == 2 ? CRYPTO_SEAL_SIGN : CRYPTO_SEAL_SIGN_ENCRYPT, alice, message, &sealed);
        struct span id = SPAN_LIT("in.it");
        size_t at = span_find(buf_span(&sealed), 0, id);
        assert_true(at != SIZE_MAX);
        if (i == 1)
            memcpy(sealed.data + at, "other", id.len); /* on the way; what was protected counts */
        if (i == 3)
            memset(strstr(sealed.data, "BEGIN PGP MESSAGE") + 40, 'A', 60);
        open_first(&keeper, buf_span(&sealed), &opened);
        assert_int_equal(opened.err, ERR_OK);
        assert_true(
            span_is_equal(buf_span(&opened.encrypted_ids), i < 2 ? crypto_message_ids_span(&wanted) : SPAN_NONE));
        opened_fini(&opened);
        buf_fini(&sealed);
    }
    open_first(&keeper, span_of(message), &opened);
    assert_int_equal(opened.encrypted_ids.len, 0);
    opened_fini(&opened);
    stop(&keeper, 0);
}

static void test_plain_needs_no_view(void **state)
{
    struct keeper keeper = start();
    struct opened opened;

    (void)state;
    open_first(&keeper, span_of(MESSAGE), &opened);
    assert_int_equal(opened.err, ERR_OK);
    assert_true(opened.is_plain);
    opened_fini(&opened);
    /* What pretends to be judged is not plain: its field must go. */
    open_first(&keeper, SPAN_LIT("Privyseal-Verdict: signature=good\r\nSubject: a\r\n\r\nb"), &opened);
    assert_false(opened.is_plain);
    assert_string_equal(opened.view.data, "Subject: a\r\n\r\nb");
    opened_fini(&opened);
    stop(&keeper, 0);
}

static void test_searchable_text_is_that_of_the_view(void **state)
{
    struct mime_text_leaf leaves[2] = {{.kind = MIME_TEXT_BODY, .needle = (char[]){"THE BODY"}},
                                       {.kind = MIME_TEXT_ANY, .needle = (char[]){"BEGIN PGP"}}};
    struct keeper keeper = start();
    struct opened opened;
    struct buf sealed;
    bool is_found[2];

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &sealed);
    open_first(&keeper, buf_span(&sealed), &opened);
    assert_int_equal(mime_text_match(buf_span(&opened.text), leaves, 2, is_found), ERR_OK);
    assert_true(is_found[0]);
    assert_false(is_found[1]);
    opened_fini(&opened);
    buf_fini(&sealed);
    stop(&keeper, 0);
}

static void send_own(const struct keeper *keeper, const char *key, const char *message)
{
    struct crypto_seal_request request = {
        .action = CRYPTO_SEAL_SIGN_ENCRYPT, .format = KEYRING_OPENPGP, .recipients_len = 1};
    char recipients[1][KEYRING_FPR_SIZE];
    struct ipc_out out;

    memcpy(recipients[0], key, sizeof(recipients[0]));
    memcpy(request.signer, key, sizeof(request.signer));
    request.recipients = (const char(*)[KEYRING_FPR_SIZE])recipients;
    int fd = file_of(span_of(message));
    ipc_out_begin(&out, PROXY_JOB_OWN);
    proxy_put_seal(&out, &request);
    ipc_put_file(&out, fd);
    assert_int_equal(ipc_send(keeper->socket, &out), ERR_OK);
    close(fd);
}

static void test_own_copy_comes_back(void **state)
{
    static const char message[] = "Bcc: secret@example.net\r\nSubject: draft\r\nMessage-ID: <1@x>\r\nX-Draft: 1\r\n\r\n"
                                  "not yet\r\n";
    struct keeper keeper = start();
    struct opened opened;
    struct ipc_in in;
    struct span sealed;
    int fd;

    (void)state;
    send_own(&keeper, alice, message);
    assert_int_equal(ipc_recv(keeper.socket, &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), ERR_OK);
    uint64_t size = ipc_get_u64(&in);
    assert_int_equal(ipc_get_u32(&in), 0);
    fd = ipc_get_file(&in);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_int_equal(memfd_map(fd, SIZE_MOST, &sealed), ERR_OK);
    assert_int_equal(size, sealed.len);
    assert_int_equal(span_find(sealed, 0, SPAN_LIT("draft")), SIZE_MAX);
    open_first(&keeper, sealed, &opened);
    assert_int_equal(opened.err, ERR_OK);
    assert_string_equal(opened.view.data, message);
    assert_int_equal(opened.encrypted_ids.len, 0);
    opened_fini(&opened);
    memfd_unmap(&sealed);
    close(fd);
    stop(&keeper, 0);
}

/* A decision of another version, or of another message, fails the job and not the keeper. */
static void test_what_cannot_be_followed_fails_alone(void **state)
{
    struct keeper keeper = start();
    struct opened first, again;
    struct buf sealed;

    (void)state;
    seal(CRYPTO_SEAL_ENCRYPT, "", MESSAGE, &sealed);
    open_first(&keeper, buf_span(&sealed), &first);
    struct proxy_open_request request = {.decision = SPAN_LIT("\x7f"), .session_keys = buf_span(&first.session_keys)};
    send_open(&keeper, &request, buf_span(&sealed));
    receive(&keeper, false, &again);
    assert_int_equal(again.err, ERR_STORE);
    opened_fini(&again);
    request.decision = buf_span(&first.decision);
    send_open(&keeper, &request, span_of(MESSAGE));
    receive(&keeper, false, &again);
    assert_int_equal(again.err, ERR_DECRYPT);
    opened_fini(&again);
    open_first(&keeper, buf_span(&sealed), &again);
    assert_int_equal(again.err, ERR_OK);
    opened_fini(&again);
    opened_fini(&first);
    buf_fini(&sealed);
    stop(&keeper, 0);
}

static void test_malformed_request_ends_it(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct proxy_open_request request = {.index_number = i == 0 ? 0 : 1};
        struct keeper keeper = start();
        struct ipc_out out;
        int fd = i == 1 ? memfd_create("unsealed", MFD_CLOEXEC) : file_of(span_of(MESSAGE));

        ipc_out_begin(&out, i == 4 ? PROXY_JOB_UNLOCK : PROXY_JOB_OPEN);
        if (i == 4)
            ipc_put_u32(&out, UINT32_MAX);
        else
            proxy_put_open(&out, &request); /* 0: neither an index nor a decision */
        if (i < 4)
            ipc_put_file(&out, fd);
        if (i == 1)
            ipc_put_file(&out, index_fd);
        if (i == 2) /* an index that is none */
            ipc_put_file(&out, fd);
        if (i == 3) /* and one too many */
            for (int j = 0; j < 2; j++)
                ipc_put_file(&out, index_fd);
        assert_int_equal(ipc_send(keeper.socket, &out), ERR_OK);
        close(fd);
        struct ipc_in in;
        assert_int_equal(ipc_recv(keeper.socket, &in), ERR_END);
        stop(&keeper, 3);
    }
}

/* An index is read once: what comes along under the same number is not looked at. */
static void test_index_is_kept_by_its_number(void **state)
{
    struct proxy_open_request request = {.index_number = 1};
    struct keeper keeper = start();
    struct opened opened;
    struct ipc_in in;
    int right = index_fd, wrong = file_of(SPAN_LIT("no index"));

    (void)state;
    open_first(&keeper, span_of(MESSAGE), &opened);
    opened_fini(&opened);
    index_fd = wrong;
    send_open(&keeper, &request, span_of(MESSAGE));
    receive(&keeper, false, &opened);
    assert_int_equal(opened.err, ERR_OK);
    opened_fini(&opened);
    request.index_number = 2;
    send_open(&keeper, &request, span_of(MESSAGE));
    assert_int_equal(ipc_recv(keeper.socket, &in), ERR_END);
    stop(&keeper, 3);
    index_fd = right;
    close(wrong);
}

/* ---- a key with a passphrase, and a pinentry that notes each prompt ---- */

static char locked[KEYRING_FPR_SIZE], pinentry[128], prompts[128];

static void write_pinentry(const char *answer)
{
    FILE *file = fopen(pinentry, "w");

    assert_non_null(file);
    fprintf(file,
            "#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in\n"
            "SETDESC) echo \"$rest\" >>%s; echo OK;;\nGETPIN) %s;;\nBYE) echo OK; exit;;\n*) echo OK;;\nesac; done\n",
            prompts, answer);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(pinentry, 0700), 0);
}

static size_t count_prompts(void)
{
    FILE *file = fopen(prompts, "r");
    char line[2000];
    size_t len = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        len++;
    if (file != NULL)
        fclose(file);
    return len;
}

static void restart_agent(void)
{
    gpg_home_stop_agent(&home);
    assert_int_equal(keyring_gpg_agent_start(home.path, NULL, &home.agent), ERR_OK);
}

static void make_locked_key(void)
{
    struct secret passphrase = {0};
    char path[128];

    assert_int_equal(secret_set(&passphrase, SPAN_LIT("correct horse"), 100), ERR_OK);
    assert_int_equal(keyring_gpg_make_key(home.gpg, "Locked <locked@example.org>", 0, &passphrase, locked), ERR_OK);
    secret_fini(&passphrase);
    snprintf(pinentry, sizeof(pinentry), "%s/pinentry.sh", home.path);
    snprintf(prompts, sizeof(prompts), "%s/prompts", home.path);
    snprintf(path, sizeof(path), "%s/gpg-agent.conf", home.path);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "pinentry-program %s\n", pinentry);
    fclose(file);
    restart_agent();
}

static enum err unlock(const struct keeper *keeper, size_t len)
{
    struct ipc_out out;
    struct ipc_in in;

    ipc_out_begin(&out, PROXY_JOB_UNLOCK);
    ipc_put_u32(&out, (uint32_t)len);
    if (len > 1)
        ipc_put_string(&out, alice);
    if (len > 0)
        ipc_put_string(&out, locked);
    ipc_put_string(&out, NULL);
    ipc_put_string(&out, NULL);
    assert_int_equal(ipc_send(keeper->socket, &out), ERR_OK);
    assert_int_equal(ipc_recv(keeper->socket, &in), ERR_OK);
    enum err err = (enum err)ipc_get_u32(&in);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    return err;
}

/* Last of all: it changes the agent. Opening and saving never prompt; unlocking does, once for a key and its subkeys.
 */
static void test_unlocking(void **state)
{
    const char *encrypt[] = {"--armor", "--trust-model", "always", "--encrypt", "-r", locked, NULL};
    struct keeper keeper = start();
    struct opened opened;
    struct buf armour, message;
    struct ipc_in in;

    (void)state;
    make_locked_key();
    buf_init(&armour, SIZE_MOST);
    buf_init(&message, SIZE_MOST);
    assert_int_equal(plain_gpg(&home, encrypt, SPAN_LIT("for few\n"), &armour), 0);
    assert_int_equal(buf_addf(&message, FROM "\r\n%s", armour.data), ERR_OK);
    write_pinentry("echo 'D correct horse'; echo OK");
    open_first(&keeper, buf_span(&message), &opened);
    assert_int_equal(opened.err, ERR_KEY_LOCKED);
    opened_fini(&opened);
    send_own(&keeper, locked, MESSAGE);
    assert_int_equal(ipc_recv(keeper.socket, &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), ERR_KEY_LOCKED);
    ipc_in_fini(&in);
    assert_int_equal(count_prompts(), 0);
    write_pinentry("echo 'ERR 83886179 Operation cancelled <Pinentry>'");
    assert_int_equal(unlock(&keeper, 2), ERR_KEY_LOCKED);
    assert_int_equal(count_prompts(), 1);
    write_pinentry("echo 'D correct horse'; echo OK");
    assert_int_equal(unlock(&keeper, 2), ERR_OK);
    assert_int_equal(count_prompts(), 2);
    open_first(&keeper, buf_span(&message), &opened);
    assert_int_equal(opened.err, ERR_OK);
    assert_non_null(strstr(opened.view.data, "\r\n\r\nfor few\r\n"));
    assert_int_equal(unlock(&keeper, 2), ERR_OK);
    assert_int_equal(unlock(&keeper, 0), ERR_OK);
    assert_int_equal(count_prompts(), 2);
    /* With the session key nothing needs to be unlocked again. */
    restart_agent();
    const struct proxy_open_request request = {.decision = buf_span(&opened.decision),
                                               .session_keys = buf_span(&opened.session_keys)};
    struct opened again;
    send_open(&keeper, &request, buf_span(&message));
    receive(&keeper, false, &again);
    assert_int_equal(again.err, ERR_OK);
    assert_true(span_is_equal(buf_span(&again.view), buf_span(&opened.view)));
    assert_int_equal(count_prompts(), 2);
    opened_fini(&again);
    opened_fini(&opened);
    buf_fini(&armour);
    buf_fini(&message);
    stop(&keeper, 0);
}

static int begin_all(void **state)
{
    struct buf saved;

    begin(state);
    buf_init(&saved, SIZE_MOST);
    assert_int_equal(keyring_save(keyring, &saved), ERR_OK);
    index_fd = file_of(buf_span(&saved));
    buf_fini(&saved);
    return 0;
}

static int end_all(void **state)
{
    close(index_fd);
    return end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_and_opens_again),       cmocka_unit_test(test_ids_of_what_came_encrypted),
        cmocka_unit_test(test_plain_needs_no_view),         cmocka_unit_test(test_searchable_text_is_that_of_the_view),
        cmocka_unit_test(test_own_copy_comes_back),         cmocka_unit_test(test_what_cannot_be_followed_fails_alone),
        cmocka_unit_test(test_malformed_request_ends_it),   cmocka_unit_test(test_index_is_kept_by_its_number),
        cmocka_unit_test(test_anchors_that_cannot_be_read), cmocka_unit_test(test_unlocking),
    };

    return cmocka_run_group_tests(tests, begin_all, end_all);
}
