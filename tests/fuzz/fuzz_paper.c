/* Keys on paper, typed by anybody: what is read can be printed, and is read again as the same. */
#include "keyring/paper.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyring_paper paper, again;
    char problem[KEYRING_PAPER_PROBLEM_SIZE];
    struct buf key, text, second;
    buf_init_secret(&key, KEYRING_PAPER_BYTES_MAX);
    buf_init_secret(&second, KEYRING_PAPER_BYTES_MAX);
    buf_init(&text, KEYRING_PAPER_TEXT_MAX);
    enum err err = keyring_paper_read((struct span){(const char *)data, size}, &paper, &key, problem);
    if ((err == ERR_OK) == (problem[0] != '\0'))
        abort();
    if (err == ERR_OK && key.len > 0 &&
        (keyring_paper_write(&paper, buf_span(&key), &text) != ERR_OK ||
         keyring_paper_read(buf_span(&text), &again, &second, problem) != ERR_OK ||
         !span_is_equal(buf_span(&key), buf_span(&second))))
        abort();
    buf_fini(&key);
    buf_fini(&second);
    buf_fini(&text);
    return 0;
}
