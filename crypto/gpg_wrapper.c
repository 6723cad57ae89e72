/*
 * privyseal-gpg: gpg with options that nobody's gpg.conf can change. GPGME runs it in place of gpg.
 *
 * A person's gpg.conf may fetch keys, add recipients (`group`, `encrypt-to`) or weaken what gpg checks; so no option
 * file is read. The program stands alone (no library of ours) so that it starts quickly: it runs once per operation.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GPG_PATH "/usr/bin/gpg"

static const char *const fixed_options[] = {
    "--no-options",
    /* An agent that a keeper started would inherit its sandbox; the master starts it. */
    "--no-autostart",
    /* No network: reading mail must not start a search for keys. */
    "--disable-dirmngr",
    "--no-auto-key-retrieve",
    "--no-auto-key-locate",
    /* The check takes seconds on a large ring and would hit any operation; keyring_gpg_check_trust runs it. */
    "--no-auto-check-trustdb",
    /* Processes that write this file wait for each other. */
    "--no-random-seed-file",
    "--no-greeting",
    "--no-emit-version",
    "--no-comments",
    "--personal-digest-preferences",
    "SHA512 SHA384 SHA256",
    /* What keys made here ask of others: no AEAD, which gpg 2.2 opens without checking it. */
    "--default-preference-list",
    "AES256 AES192 AES SHA512 SHA384 SHA256 ZLIB BZIP2 ZIP Uncompressed",
};
#define FIXED_COUNT (sizeof fixed_options / sizeof *fixed_options)

static void complain(const char *what)
{
    fputs("privyseal-gpg: ", stderr);
    perror(what);
}

int main(int argc, char **argv)
{
    size_t given = argc > 1 ? (size_t)argc - 1 : 0;
    const char **arguments = calloc(1 + FIXED_COUNT + given + 1, sizeof *arguments);
    if (arguments == NULL) {
        complain("memory");
        return 2;
    }
    arguments[0] = "gpg";
    memcpy(arguments + 1, fixed_options, sizeof fixed_options);
    for (size_t i = 0; i < given; i++)
        arguments[1 + FIXED_COUNT + i] = argv[1 + i];
    /* execv promises not to change the strings; its prototype is older than const. */
    execv(GPG_PATH, (char *const *)(void *)arguments);
    complain(GPG_PATH);
    free(arguments);
    return 2;
}
