/*
 * The client against a server that a test plays by hand, on loopback; its owner writes down what it was told. For
 * test_smtp_client*.c.
 */
#ifndef TESTS_SMTP_TALK_H
#define TESTS_SMTP_TALK_H

#include "peer.h"

#include "smtp/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

struct talk {
    struct event_base *base;
    struct peer peer; /* the server's end */
    int listener;
    struct smtp_client *client;
    struct smtp_client_options options;
    struct buf told;
    bool frees_in_reply;
};

static SSL_CTX *server_tls __attribute__((unused)), *client_tls;

static inline void on_ready(struct smtp_client *client, void *owner)
{
    struct talk *talk = owner;
    (void)client;
    assert_int_equal(buf_add_string(&talk->told, "ready;"), ERR_OK);
}

static inline void on_close(struct smtp_client *client, enum err why, void *owner)
{
    struct talk *talk = owner;
    const char *doubt = smtp_client_is_in_doubt(client) ? " in doubt" : "";
    assert_int_equal(buf_addf(&talk->told, "close %s%s;", err_name(why), doubt), ERR_OK);
    smtp_client_free(&talk->client);
}

static const struct smtp_client_handlers handlers = {.on_ready = on_ready, .on_close = on_close};

static inline void on_reply(struct smtp_client *client, const struct smtp_reply *reply, void *context)
{
    struct talk *talk = context;
    assert_ptr_equal(reply, smtp_client_last_reply(client));
    assert_int_equal(buf_addf(&talk->told, "%d %s %s;", reply->code, reply->enhanced, reply->text.data), ERR_OK);
    if (talk->frees_in_reply)
        smtp_client_free(&talk->client);
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

static inline void talk_init(struct talk *talk, enum smtp_security security)
{
    int port;
    *talk = (struct talk){.base = event_base_new(), .listener = listen_on_loopback(&port)};
    peer_init(&talk->peer, talk->base);
    buf_init(&talk->told, 65536);
    talk->options = (struct smtp_client_options){.base = talk->base,
                                                 .handlers = &handlers,
                                                 .owner = talk,
                                                 .host = "127.0.0.1",
                                                 .port = port,
                                                 .security = security,
                                                 .tls = security == SMTP_CLEAR ? NULL : client_tls,
                                                 .hello_name = "me.example",
                                                 .timeout_percent = 100};
}

static inline void talk_connect(struct talk *talk)
{
    assert_int_equal(smtp_client_new(&talk->options, &talk->client), ERR_OK);
    for (int i = 0; i < 10; i++)
        event_base_loop(talk->base, EVLOOP_NONBLOCK);
    const int on = 1;
    talk->peer.fd = accept4(talk->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(talk->peer.fd >= 0);
    assert_int_equal(setsockopt(talk->peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

static inline void talk_fini(struct talk *talk)
{
    smtp_client_free(&talk->client);
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

static inline void hear(struct talk *talk, const char *text)
{
    peer_expect(&talk->peer, text);
}

/* A session in clear, ready; `offers` are lines of the EHLO reply ("250-X\r\n"). */
static inline void talk_start(struct talk *talk, const char *offers)
{
    talk_init(talk, SMTP_CLEAR);
    talk_connect(talk);
    hear(talk, "");
    say(talk, "220 there\r\n");
    hear(talk, "EHLO me.example\r\n");
    say(talk, "250-there\r\n");
    say(talk, offers);
    say(talk, "250 HELP\r\n");
    expect_told(talk, "ready;");
}

static inline struct smtp_mail mail_from(const char *path)
{
    struct smtp_mail mail = {0};
    snprintf(mail.from.path, sizeof mail.from.path, "%s", path);
    return mail;
}

static inline enum err send_mail(struct talk *talk, const char *path)
{
    struct smtp_mail mail = mail_from(path);
    return smtp_client_mail(talk->client, &mail, on_reply, talk);
}

static inline enum err send_rcpt(struct talk *talk, const char *path)
{
    struct smtp_rcpt rcpt = {0};
    snprintf(rcpt.to.path, sizeof rcpt.to.path, "%s", path);
    return smtp_client_rcpt(talk->client, &rcpt, on_reply, talk);
}

#endif
