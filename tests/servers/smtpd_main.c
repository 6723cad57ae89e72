#include "tests/servers/smtpd.h"

#include <string.h>

static int take_option(struct server *server, const char *name, const char *value)
{
    struct smtpd *smtpd = (struct smtpd *)server;
    if (strcmp(name, "--lenient") == 0) {
        smtpd->is_lenient = true;
        return 1;
    }
    if (strcmp(name, "--features") != 0 || value == NULL)
        return 0;
    smtpd->features = value;
    return 2;
}

int main(int argc, char **argv)
{
    static struct smtpd smtpd = {.server = {.user = "alice", .password = "secret"},
                                 .features = "PIPELINING,SIZE=104857600,8BITMIME,ENHANCEDSTATUSCODES,DSN,SMTPUTF8"};
    const struct server_kind kind = {"[--features WORDS] [--lenient]", take_option, NULL, smtpd_session};
    server_run(&smtpd.server, argc, argv, &kind);
}
