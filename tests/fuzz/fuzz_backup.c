/* Backups: any bytes end in an answer; what is read has a whole fingerprint, and never makes a key one's own. */
#include "keyring/backup.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keyring_backup backup;
    keyring_backup_init(&backup);
    enum err err = keyring_backup_read((struct span){(const char *)data, size}, &backup);
    if (err != ERR_OK && err != ERR_MALFORMED && err != ERR_LIMIT)
        abort();
    if (err == ERR_OK && strlen(backup.fingerprint) < 32)
        abort();
    if (strstr(backup.trust.data, ":6:") != NULL || strpbrk(backup.user_id, "\r\n\x1b") != NULL)
        abort();
    keyring_backup_fini(&backup);
    return 0;
}
