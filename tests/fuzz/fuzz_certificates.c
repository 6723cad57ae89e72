/* Files of the certificates' folder: what is taken is printed to something that is taken again and printed alike. */
#include "keyring/certificates_internal.h"

#include <stdlib.h>

static void check(bool is_right)
{
    if (!is_right)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyring_certificate entry, again;
    struct buf printed, twice;
    if (certificates_parse((struct span){(const char *)data, size}, &entry) != ERR_OK) {
        check(entry.certificate == NULL);
        return 0;
    }
    buf_init(&printed, CERTIFICATES_FILE_MAX);
    buf_init(&twice, CERTIFICATES_FILE_MAX);
    check(certificates_print(&entry, &printed) == ERR_OK);
    check(certificates_parse(buf_span(&printed), &again) == ERR_OK);
    check(certificates_print(&again, &twice) == ERR_OK && span_is_equal(buf_span(&printed), buf_span(&twice)));
    X509_free(entry.certificate);
    X509_free(again.certificate);
    buf_fini(&printed);
    buf_fini(&twice);
    return 0;
}
