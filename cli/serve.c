#include "cli/cli.h"

#include "base/clock.h"
#include "proxy/master.h"

static int run(struct cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (clock_is_fixed())
        return cli_usage(cli, "--at is for judging single messages; expected none");
    enum err err = cli_open_config(cli);
    if (err)
        return cli_exit_of(err);
    struct config *config = cli->config;
    cli->config = NULL;
    err = proxy_serve(config, cli->config_file);
    return err ? cli_fail(cli, err, "serving") : CLI_DONE;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .summary = "runs the proxy, in the foreground",
    .text = "Runs the proxy in the foreground. For each listening address it prints \"ready NAME HOST:PORT\", then\n"
            "\"ready\". SIGTERM lets sessions end and stops; SIGHUP reads the configuration again.",
    .example = "privyseal serve",
    .run = run};
