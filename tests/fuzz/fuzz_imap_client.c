/*
 * A whole IMAP session with a server that says any bytes, in pieces whose size the first byte chooses. What reaches the
 * owner must be consistent: heads as the text has them, literals of the announced length, each command answered once.
 */
#include "base/log.h"
#include "base/memfd.h"
#include "imap/client.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LITERAL_MAX 100000u

struct owner {
    struct imap_client *client;
    unsigned choice; /* what on_head says, and when reading is paused */
    unsigned heads;
    unsigned open; /* commands that wait for their answer */
    uint64_t literal_left;
    bool is_ready;
};

static void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    struct owner *owner = context;
    (void)client;
    if (owner->open-- == 0 || reply->rest.len < 2 || reply->rest.ptr[reply->rest.len - 1] != '\n')
        abort();
    if (reply->code.ptr != NULL &&
        (reply->code.ptr < reply->rest.ptr || reply->code.ptr + reply->code.len > reply->rest.ptr + reply->rest.len))
        abort();
}

static void on_more(struct imap_client *client, struct span text, void *context)
{
    (void)context;
    if (memchr(text.ptr, '\n', text.len) != NULL)
        abort();
    if (imap_client_line(client, "DONE") != ERR_OK)
        abort();
}

static void send_commands(struct owner *owner)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("SELECT "));
    imap_out_astring(&out, SPAN_LIT("a\xff"));
    if (imap_client_send(owner->client, &out, NULL, on_reply, owner) == ERR_OK)
        owner->open++;
    imap_out_init(&out);
    imap_out_text(&out, SPAN_LIT("IDLE"));
    if (imap_client_send(owner->client, &out, on_more, on_reply, owner) == ERR_OK)
        owner->open++;
}

static void on_ready(struct imap_client *client, void *context)
{
    struct owner *owner = context;
    owner->is_ready = true;
    if (imap_client_login(client, SPAN_LIT("me"), SPAN_LIT("p\xff"), on_reply, owner) == ERR_OK)
        owner->open++;
    send_commands(owner);
    if (imap_client_refresh(client, on_reply, owner) == ERR_OK)
        owner->open++;
}

static bool on_head(struct imap_client *client, const struct imap_head *head, void *context)
{
    struct owner *owner = context;
    if (owner->literal_left != 0 || head->word.len == 0 || head->text.len < 4 ||
        (head->kind == IMAP_RESPONSE_FETCH && head->number == 0))
        abort();
    owner->heads++;
    if ((owner->choice & 2) != 0 && owner->heads % 3 == 0)
        imap_client_pause(client);
    return (owner->choice & 1) != 0 && owner->heads % 2 == 0;
}

static void on_text(struct imap_client *client, struct span text, const struct imap_literal_mark *mark, void *context)
{
    struct owner *owner = context;
    (void)client;
    if (owner->literal_left != 0 || text.len < 2 || memcmp(text.ptr + text.len - 2, "\r\n", 2) != 0)
        abort();
    owner->literal_left = mark->is_there ? mark->len : 0;
}

static void on_literal(struct imap_client *client, struct evbuffer *input, size_t count, void *context)
{
    struct owner *owner = context;
    (void)client;
    if (count == 0 || count > owner->literal_left || count > evbuffer_get_length(input))
        abort();
    owner->literal_left -= count;
    evbuffer_drain(input, owner->heads % 4 == 0 ? count : count / 2);
}

static void on_response(struct imap_client *client, const struct imap_head *head, struct imap_unit *unit, void *context)
{
    struct owner *owner = context;
    struct imap_cursor cursor;
    struct span value;
    (void)client;
    if (owner->literal_left != 0 || head->text.ptr != unit->text.data || head->text.len > unit->text.len)
        abort();
    for (size_t i = 0; i < unit->literals_len; i++) {
        const struct imap_literal *literal = &unit->literals[i];
        size_t size = 0;
        if (literal->place == IMAP_LITERAL_HERE && literal->len > unit->text.len - literal->at)
            abort();
        if (literal->place == IMAP_LITERAL_FILE &&
            (memfd_check(literal->fd, LITERAL_MAX, &size) != ERR_OK || size != literal->len))
            abort();
    }
    imap_cursor_init(&cursor, unit);
    if (!imap_take_char(&cursor, '*'))
        abort();
    while (imap_take_space(&cursor) && imap_take_value(&cursor, &value))
        continue;
}

static void on_close(struct imap_client *client, enum err why, void *context)
{
    struct owner *owner = context;
    (void)client, (void)why;
    imap_client_free(&owner->client);
}

static const struct imap_client_handlers HANDLERS = {.on_ready = on_ready,
                                                     .on_head = on_head,
                                                     .on_text = on_text,
                                                     .on_literal = on_literal,
                                                     .on_response = on_response,
                                                     .on_close = on_close};

static int listener = -1;
static int port;

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    (void)count, (void)arguments;
    log_init("fuzz", LOG_LEVEL_ERROR);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0)
        abort();
    port = ntohs(address.sin_port);
    return 0;
}

static void turn(struct owner *owner, struct event_base *base, int fd)
{
    char words[16384];
    for (int i = 0; i < 4; i++) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(fd, words, sizeof words, MSG_DONTWAIT) > 0)
            continue;
        if (owner->client != NULL)
            imap_client_resume(owner->client);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 65536)
        return 0;
    struct owner owner = {.choice = data[0]};
    struct event_base *base = event_base_new();
    const struct imap_client_options options = {.base = base,
                                                .handlers = &HANDLERS,
                                                .owner = &owner,
                                                .host = "127.0.0.1",
                                                .port = port,
                                                .security = IMAP_CLEAR,
                                                .literal_max = LITERAL_MAX,
                                                .response_max = 8192,
                                                .timeout_percent = 100000};
    if (imap_client_new(&options, &owner.client) != ERR_OK)
        abort();
    for (int i = 0; i < 4; i++)
        event_base_loop(base, EVLOOP_NONBLOCK);
    int fd = accept(listener, NULL, NULL);
    static const char greeting[] = "* OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE] x\r\n";
    if ((data[0] & 4) != 0)
        (void)send(fd, greeting, sizeof greeting - 1, MSG_NOSIGNAL);
    turn(&owner, base, fd);
    size_t step = (size_t)(data[0] >> 3) * 32 + 1;
    step = size / step > 200 ? size / 200 : step; /* bounds the number of turns */
    for (size_t at = 1; at < size && owner.client != NULL; at += step) {
        size_t len = size - at < step ? size - at : step;
        (void)send(fd, data + at, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        turn(&owner, base, fd);
    }
    if ((data[0] & 1) != 0 && owner.client != NULL)
        imap_client_quit(&owner.client);
    shutdown(fd, SHUT_WR);
    turn(&owner, base, fd);
    imap_client_free(&owner.client);
    /* Resets: thousands of closed connections would use up the ports. */
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    close(fd);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
    return 0;
}
