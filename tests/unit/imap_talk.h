/*
 * The IMAP client against a server that a test plays by hand, on loopback; its owner writes down what it was told. For
 * test_imap_client*.c.
 */
#ifndef TESTS_IMAP_TALK_H
#define TESTS_IMAP_TALK_H

#include "peer.h"

#include "base/memfd.h"
#include "imap/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

struct talk {
    struct event_base *base;
    struct peer peer; /* the server's end */
    int listener;
    struct imap_client *client;
    struct imap_client_options options;
    struct buf told;
    bool is_streaming;    /* what on_head says */
    bool leaves_literals; /* on_literal takes nothing */
    bool frees_in_reply;  /* imap_client_free from within a reply */
    bool frees_in_head, frees_in_text, frees_in_literal, frees_in_response;
    uint64_t streamed; /* bytes of literals */
};

static SSL_CTX *server_tls __attribute__((unused)), *client_tls;

static inline void note(struct talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline void note(struct talk *talk, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    assert_int_equal(buf_addv(&talk->told, format, arguments), ERR_OK);
    va_end(arguments);
}

static inline void note_span(struct talk *talk, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] != '\r')
            assert_int_equal(buf_add_byte(&talk->told, text.ptr[i] == '\n' ? '|' : text.ptr[i]), ERR_OK);
}

static inline void on_ready(struct imap_client *client, void *owner)
{
    (void)client;
    note(owner, "ready;");
}

static inline bool on_head(struct imap_client *client, const struct imap_head *head, void *owner)
{
    struct talk *talk = owner;
    static const char *const kinds[] = {"other", "status", "bye", "exists", "recent", "expunge", "fetch"};
    (void)client;
    note(talk, "%s %u %.*s:", kinds[head->kind], head->number, (int)head->word.len, head->word.ptr);
    note_span(talk, head->text);
    note(talk, ";");
    if (talk->frees_in_head)
        imap_client_free(&talk->client);
    return talk->is_streaming;
}

static inline void on_text(struct imap_client *client, struct span text, const struct imap_literal_mark *mark,
                           void *owner)
{
    struct talk *talk = owner;
    (void)client;
    note(talk, "text ");
    note_span(talk, text);
    note(talk, "%llu;", mark->is_there ? (unsigned long long)mark->len : 0);
    if (talk->frees_in_text)
        imap_client_free(&talk->client);
}

static inline void on_literal(struct imap_client *client, struct evbuffer *input, size_t count, void *owner)
{
    struct talk *talk = owner;
    (void)client;
    assert_true(evbuffer_get_length(input) >= count);
    assert_true(count > 0);
    if (!talk->leaves_literals)
        evbuffer_drain(input, count);
    talk->streamed += count;
    if (talk->frees_in_literal)
        imap_client_free(&talk->client);
}

static inline void on_response(struct imap_client *client, const struct imap_head *head, struct imap_unit *unit,
                               void *owner)
{
    static const char *const places[] = {"here", "file", "gone"};
    struct talk *talk = owner;
    (void)client;
    assert_memory_equal(head->text.ptr, unit->text.data, head->text.len);
    assert_true(head->word.ptr > unit->text.data && head->word.ptr < unit->text.data + unit->text.len);
    note(talk, "response %.*s ", (int)head->word.len, head->word.ptr);
    note_span(talk, unit->text.len < 500 ? buf_span(&unit->text) : SPAN_LIT("long"));
    for (size_t i = 0; i < unit->literals_len; i++) {
        struct imap_literal *literal = &unit->literals[i];
        note(talk, " %s %llu", places[literal->place], (unsigned long long)literal->len);
        if (literal->place == IMAP_LITERAL_FILE) {
            struct span content;
            int fd = imap_unit_take_file(unit, i);
            assert_int_equal(memfd_map(fd, SIZE_MAX / 2, &content), ERR_OK);
            assert_int_equal(content.len, literal->len);
            note(talk, " %c%c", content.ptr[0], content.ptr[content.len - 1]);
            memfd_unmap(&content);
            close(fd);
        }
    }
    note(talk, ";");
    if (talk->frees_in_response)
        imap_client_free(&talk->client);
}

static inline void on_close(struct imap_client *client, enum err why, void *owner)
{
    struct talk *talk = owner;
    (void)client;
    note(talk, "close %s;", err_name(why));
    imap_client_free(&talk->client);
}

static const struct imap_client_handlers handlers = {.on_ready = on_ready,
                                                     .on_head = on_head,
                                                     .on_text = on_text,
                                                     .on_literal = on_literal,
                                                     .on_response = on_response,
                                                     .on_close = on_close};

static inline void on_reply(struct imap_client *client, const struct imap_reply *reply, void *context)
{
    static const char *const names[] = {"OK", "NO", "BAD"};
    struct talk *talk = context;
    (void)client;
    note(talk, "%s [%.*s] ", names[reply->status], (int)reply->code.len,
         reply->code.ptr == NULL ? "" : reply->code.ptr);
    note_span(talk, reply->rest);
    note(talk, ";");
    if (talk->frees_in_reply)
        imap_client_free(&talk->client);
}

static inline void on_more(struct imap_client *client, struct span text, void *context)
{
    (void)client;
    note(context, "more %.*s;", (int)text.len, text.ptr);
}

static inline void expect_told(struct talk *talk, const char *told)
{
    peer_run(&talk->peer);
    assert_string_equal(talk->told.data, told);
    buf_clear(&talk->told);
}

static inline int listen_on_loopback(int *port_out)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port_out = ntohs(address.sin_port);
    return fd;
}

static inline void talk_init(struct talk *talk, enum imap_security security)
{
    int port;
    *talk = (struct talk){.base = event_base_new(), .listener = listen_on_loopback(&port)};
    peer_init(&talk->peer, talk->base);
    buf_init(&talk->told, 1 << 20);
    talk->options = (struct imap_client_options){.base = talk->base,
                                                 .handlers = &handlers,
                                                 .owner = talk,
                                                 .host = "127.0.0.1",
                                                 .port = port,
                                                 .security = security,
                                                 .tls = security == IMAP_CLEAR ? NULL : client_tls,
                                                 .literal_max = 1000000,
                                                 .response_max = 300000,
                                                 .timeout_percent = 100};
}

static inline void talk_connect(struct talk *talk)
{
    assert_int_equal(imap_client_new(&talk->options, &talk->client), ERR_OK);
    for (int i = 0; i < 10; i++)
        event_base_loop(talk->base, EVLOOP_NONBLOCK);
    const int on = 1;
    talk->peer.fd = accept4(talk->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(talk->peer.fd >= 0);
    assert_int_equal(setsockopt(talk->peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

static inline void talk_fini(struct talk *talk)
{
    imap_client_free(&talk->client);
    peer_close(&talk->peer);
    peer_run(&talk->peer);
    peer_fini(&talk->peer);
    close(talk->listener);
    buf_fini(&talk->told);
    event_base_free(talk->base);
}

static inline void say(struct talk *talk, const char *text)
{
    peer_send(&talk->peer, span_of(text));
}

static inline void say_many(struct talk *talk, char byte, size_t count)
{
    char *bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, byte, count);
    peer_send(&talk->peer, (struct span){bytes, count});
    free(bytes);
}

static inline void hear(struct talk *talk, const char *text)
{
    peer_expect(&talk->peer, text);
}

/* A session in clear, ready; `offers` are the server's capabilities besides IMAP4rev1. */
static inline void talk_start(struct talk *talk, const char *offers)
{
    char greeting[400];
    talk_init(talk, IMAP_CLEAR);
    talk_connect(talk);
    snprintf(greeting, sizeof greeting, "* OK [CAPABILITY IMAP4rev1 %s] there\r\n", offers);
    say(talk, greeting);
    expect_told(talk, "ready;");
}

/* The same, logged in: the server may say as much as it likes. The next command is P2. */
static inline void talk_start_logged_in(struct talk *talk)
{
    talk_start(talk, "");
    assert_int_equal(imap_client_login(talk->client, SPAN_LIT("a"), SPAN_LIT("b"), on_reply, talk), ERR_OK);
    hear(talk, "P1 LOGIN a b\r\n");
    say(talk, "P1 OK in\r\n");
    expect_told(talk, "OK [] OK in|;");
}

static inline enum err send_line(struct talk *talk, const char *line)
{
    struct imap_out out;
    imap_out_init(&out);
    imap_out_text(&out, span_of(line));
    return imap_client_send(talk->client, &out, NULL, on_reply, talk);
}

#endif
