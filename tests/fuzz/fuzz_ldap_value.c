/* Values that a directory sends: whatever they are, what is taken of them stays within its bounds. */
#include "keyring/ldap_internal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ldap_answer answer = {.pieces_len = 0};
    buf_init(&answer.bytes, KEYRING_LDAP_ANSWER_MAX);
    if (ldap_answer_add(&answer, (struct span){(const char *)data, size}) != ERR_OK && size < KEYRING_FOUND_PIECE_MAX)
        abort();
    for (size_t i = 0; i < answer.pieces_len; i++)
        if (answer.pieces[i].len == 0 || answer.pieces[i].at + answer.pieces[i].len > answer.bytes.len)
            abort();
    buf_fini(&answer.bytes);
    return 0;
}
