#include "tests/servers/imapd.h"

#include <string.h>

static int take_option(struct server *server, const char *name, const char *value)
{
    if (strcmp(name, "--capabilities") != 0 || value == NULL)
        return 0;
    ((struct imapd *)server)->capabilities = value;
    return 2;
}

static void start(struct server *server)
{
    struct imapd *imapd = (struct imapd *)server;
    pthread_mutex_init(&imapd->mail, NULL);
    if (server->store == NULL)
        server_fail("--store is needed");
    store_load(imapd);
}

int main(int argc, char **argv)
{
    static struct imapd imapd = {.server = {.mechanisms = "PLAIN", .user = "alice", .password = "secret"},
                                 .capabilities = IMAPD_CAPABILITIES};
    const struct server_kind kind = {"[--capabilities WORDS]", take_option, start, imapd_session};
    server_run(&imapd.server, argc, argv, &kind);
}
