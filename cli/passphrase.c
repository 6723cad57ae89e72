#include "cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

enum err cli_read_passphrase(const struct cli *cli, const char *option, const char *fd_text, size_t len_max,
                             struct secret *passphrase)
{
    uint64_t fd;
    if (!span_to_u64(span_of(fd_text), 1023, &fd)) {
        (void)cli_usage(cli, "--%s %s; expected the number of an open descriptor", option, fd_text);
        return ERR_USAGE;
    }
    struct buf text;
    buf_init_secret(&text, len_max);
    char byte = '\0';
    enum err err = ERR_OK;
    ssize_t count;
    while (!err && (count = read((int)fd, &byte, 1)) != 0 && byte != '\n')
        err = count < 0 ? ERR_IO : buf_add_byte(&text, byte);
    secret_wipe(&byte, sizeof byte);
    if (err == ERR_LIMIT || (!err && text.len == 0)) {
        (void)cli_usage(cli, "--%s: the passphrase is %s; expected one of 1 to %zu bytes", option,
                        err ? "too long" : "empty", len_max);
        err = ERR_USAGE;
    } else if (err == ERR_IO && fcntl((int)fd, F_GETFD) < 0) {
        (void)cli_usage(cli, "--%s %s; expected the number of an open descriptor", option, fd_text);
        err = ERR_USAGE;
    } else if (err) {
        (void)cli_fail(cli, err, "reading the passphrase");
    } else {
        err = secret_set(passphrase, buf_span(&text), len_max);
    }
    buf_fini(&text);
    return err;
}
