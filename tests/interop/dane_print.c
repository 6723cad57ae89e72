/*
 * dane_print openpgpkey|smimea ADDRESS: prints the record of the key or certificate on standard input, as a zone file
 * has it, by name and then generically. For tests/interop/test_dane.py.
 */
#include "keyring/dane.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static char bytes[KEYRING_DANE_RDATA_MAX + 1];
    struct buf out;
    if (argc != 3)
        return 2;
    const struct span piece = {bytes, fread(bytes, 1, sizeof bytes, stdin)};
    const enum keyring_dane_type type = strcmp(argv[1], "smimea") == 0 ? KEYRING_DANE_SMIMEA : KEYRING_DANE_OPENPGPKEY;
    buf_init(&out, 2 * KEYRING_DANE_PRINTED_MAX);
    enum err err = keyring_dane_print(argv[2], type, piece, false, &out);
    if (!err)
        err = keyring_dane_print(argv[2], type, piece, true, &out);
    if (!err)
        fputs(out.data, stdout);
    buf_fini(&out);
    return err ? 3 : 0;
}
