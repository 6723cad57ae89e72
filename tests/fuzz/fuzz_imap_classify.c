/* What a server says of a message that is not known yet: any text at all gets a verdict, the same each time. */
#include "proxy/imap_classify.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct imap_answer answers[IMAP_ANSWERS_MAX];
    struct imap_cursor cursor;
    size_t len;
    uint64_t bytes, again;
    bool is_candidate, is_again;
    imap_cursor_init_text(&cursor, (struct span){size > 0 ? (const char *)data : "", size});
    if (imap_fetch_answers(&cursor, answers, &len) != ERR_OK)
        return 0;
    enum err err = imap_classify(answers, len, &is_candidate, &bytes);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        abort();
    if (imap_classify(answers, len, &is_again, &again) != err || is_again != is_candidate || again != bytes)
        abort();
    uint8_t alias[STORE_DIGEST_SIZE];
    if (imap_classify_alias(answers, len, alias) && !imap_answer_find(answers, len, "RFC822.SIZE").ptr)
        abort();
    return 0;
}
