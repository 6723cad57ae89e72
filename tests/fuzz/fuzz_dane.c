/* DNS messages about keys: the first byte chooses the type that was asked for. Whatever they are, what is taken of them
   stays within its bounds. */
#include "keyring/dane_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dane_answer answer = {.pieces_len = 0};
    unsigned rcode = 0;
    if (size == 0 || size > KEYRING_DANE_RDATA_MAX)
        return 0;
    buf_init(&answer.bytes, 2 * KEYRING_DANE_RDATA_MAX);
    const enum err err = dane_answer_read(&answer, (struct span){(const char *)data + 1, size - 1},
                                          data[0] % 2 == 0 ? KEYRING_DANE_SMIMEA : KEYRING_DANE_OPENPGPKEY, &rcode);
    if (err != ERR_OK && err != ERR_MALFORMED)
        abort();
    if (answer.pieces_len > DANE_RECORDS_MAX || rcode > 15 ||
        answer.pieces_len + answer.malformed + answer.digests + answer.surplus != answer.records)
        abort();
    for (size_t i = 0; i < answer.pieces_len; i++)
        if (answer.pieces[i].len == 0 || answer.pieces[i].at + answer.pieces[i].len > answer.bytes.len)
            abort();
    buf_fini(&answer.bytes);
    return 0;
}
