/*
 * Reading the web of trust out of a home: an export through a filter into a small ring of its own, in which gpg then
 * checks every signature. That ring lies in a temporary folder for as long as it is read, and holds public keys only.
 */
#include "keyring/gpg_internal.h"

#include "base/log.h"
#include "keyring/wot_filter.h"
#include "keyring/wot_listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWNERTRUST_MAX ((size_t)64 << 20)
#define LISTING_MAX ((size_t)64 << 20)
#define MISSING_AT_ONCE 64

struct place {
    char folder[GPG_PATH_SIZE], ring[GPG_PATH_SIZE + 16];
    int fd;
    struct keyring_wot_filter *filter;
    enum err err; /* of what was written last */
};

static enum err make_place(struct place *place)
{
    const char *temporary = getenv("XDG_RUNTIME_DIR");
    const bool is_usable = temporary != NULL && access(temporary, W_OK) == 0;
    const int len =
        snprintf(place->folder, sizeof place->folder, "%s/privyseal-web.XXXXXX", is_usable ? temporary : "/tmp");
    if (len < 0 || (size_t)len >= sizeof place->folder)
        return ERR_LIMIT;
    if (mkdtemp(place->folder) == NULL) {
        place->folder[0] = '\0';
        return log_failure(err_of_errno(errno), "making a temporary folder");
    }
    (void)snprintf(place->ring, sizeof place->ring, "%s/ring.gpg", place->folder);
    place->fd = open(place->ring, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    return place->fd < 0 ? log_failure(err_of_errno(errno), "making %s", place->ring) : ERR_OK;
}

static void remove_place(struct place *place)
{
    if (place->fd >= 0)
        close(place->fd);
    if (place->folder[0] == '\0')
        return;
    if (place->ring[0] != '\0')
        (void)unlink(place->ring);
    if (rmdir(place->folder) != 0)
        log_warning("%s could not be removed: %s", place->folder, strerror(errno));
}

static enum err write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        const ssize_t count = write(fd, bytes.ptr, bytes.len);
        if (count < 0 && errno != EINTR)
            return log_failure(err_of_errno(errno), "writing a ring");
        bytes = span_skip(bytes, count > 0 ? (size_t)count : 0);
    }
    return ERR_OK;
}

static enum err keep(struct span packets, void *context)
{
    const struct place *place = context;
    return write_all(place->fd, packets);
}

/* What gpg exports; status lines would be among it, but for a file descriptor of their own. */
static ssize_t take_export(void *context, const void *bytes, size_t count)
{
    struct place *place = context;
    if (place->err == ERR_OK)
        place->err = keyring_wot_filter_feed(place->filter, (struct span){bytes, count});
    if (place->err == ERR_OK)
        return (ssize_t)count;
    errno = EIO;
    return -1;
}

static ssize_t take_missing(void *context, const void *bytes, size_t count)
{
    struct place *place = context;
    if (place->err == ERR_OK)
        place->err = write_all(place->fd, (struct span){bytes, count});
    if (place->err == ERR_OK)
        return (ssize_t)count;
    errno = EIO;
    return -1;
}

static enum err export_to(struct keyring_gpg *gpg, struct place *place, const char *const *arguments,
                          gpgme_data_write_cb_t write)
{
    struct gpgme_data_cbs callbacks = {NULL, write, NULL, NULL};
    gpgme_data_t data = NULL;
    enum err err = keyring_gpg_error(gpgme_data_new_from_cbs(&data, &callbacks, place), "data");
    if (err == ERR_OK)
        err = gpg_run_into(gpg, gpg->home, arguments, data);
    gpgme_data_release(data);
    return place->err != ERR_OK ? place->err : err;
}

/* Keys that certify others and that nobody certified: without their signatures by others, of which none is of use. */
static enum err add_missing(struct keyring_gpg *gpg, struct place *place)
{
    const char *arguments[MISSING_AT_ONCE + 6] = {"--status-fd", "2", "--export-options", "export-minimal", "--export"};
    enum err err = ERR_OK;
    size_t at = 0;
    while (err == ERR_OK) {
        size_t len = 0;
        while (len < MISSING_AT_ONCE && (arguments[5 + len] = keyring_wot_filter_missing(place->filter, &at)) != NULL)
            len++;
        arguments[5 + len] = NULL;
        if (len == 0)
            break;
        err = export_to(gpg, place, arguments, take_missing);
    }
    return err;
}

static enum err fill_ring(struct keyring_gpg *gpg, const struct keyring *keyring,
                          const struct keyring_wot_owner *owners, size_t owners_len, struct place *place)
{
    static const char *const everything[] = {"--status-fd",       "2",        "--export-options",
                                             "export-local-sigs", "--export", NULL};
    enum err err = keyring_wot_filter_new(keyring, keep, place, &place->filter);
    if (err != ERR_OK)
        return err;
    for (size_t i = 0; i < owners_len; i++)
        keyring_wot_filter_want(place->filter, owners[i].fingerprint);
    err = export_to(gpg, place, everything, take_export);
    if (err == ERR_OK)
        err = keyring_wot_filter_end(place->filter);
    return err == ERR_OK ? add_missing(gpg, place) : err;
}

/* The ring's own trust is of no interest: trust-model always spares gpg a trust database. */
static enum err check(struct keyring_gpg *gpg, const struct place *place, struct buf *listing)
{
    const char *const arguments[] = {"--trust-model",
                                     "always",
                                     "--no-default-keyring",
                                     "--keyring",
                                     place->ring,
                                     "--fast-list-mode",
                                     "--with-colons",
                                     "--with-fingerprint",
                                     "--list-options",
                                     "show-sig-subpackets=7",
                                     "--check-sigs",
                                     NULL};
    struct span rest, nothing;
    gpgme_data_t out = NULL;
    enum err err = keyring_gpg_error(gpgme_data_new(&out), "data");
    if (err == ERR_OK)
        err = gpg_run_into(gpg, place->folder, arguments, out);
    if (err == ERR_OK)
        err = gpg_data_read(out, listing);
    gpgme_data_release(out);
    rest = buf_span(listing);
    if (err == ERR_OK && !gpg_next_status(&rest, "PRIVYSEAL_DONE", &nothing))
        err = log_failure(ERR_ENGINE, "gpg did not check all signatures of %s", gpg->home);
    return err;
}

static enum err read_web(struct keyring_gpg *gpg, const struct keyring *keyring, const struct keyring_wot_owner *owners,
                         size_t owners_len, struct keyring_wot *wot)
{
    struct place place = {.fd = -1};
    struct buf listing;
    buf_init(&listing, LISTING_MAX);
    enum err err = make_place(&place);
    if (err == ERR_OK)
        err = fill_ring(gpg, keyring, owners, owners_len, &place);
    if (err == ERR_OK) {
        keyring_wot_leave_out(wot, keyring_wot_filter_left_out(place.filter));
        err = check(gpg, &place, &listing);
    }
    if (err == ERR_OK)
        err = keyring_wot_read_listing(buf_span(&listing), owners, owners_len, wot);
    for (size_t i = 0; err == ERR_OK && i < keyring_wot_keys_len(wot); i++)
        keyring_wot_set_strangers(wot, i,
                                  keyring_wot_filter_strangers(place.filter, keyring_wot_key(wot, i)->fingerprint));
    keyring_wot_filter_free(&place.filter);
    remove_place(&place);
    buf_fini(&listing);
    return err;
}

enum err keyring_gpg_wot(struct keyring_gpg *gpg, const struct keyring *keyring, struct keyring_wot **wot_out)
{
    static const char *const arguments[] = {"--export-ownertrust", NULL};
    struct keyring_wot_owner *owners = NULL;
    size_t owners_len = 0;
    struct buf text;
    enum err err = keyring_wot_new(NULL, wot_out);
    if (err != ERR_OK)
        return err;
    buf_init(&text, OWNERTRUST_MAX);
    err = gpg_run(gpg, arguments, SPAN_NONE, &text);
    if (err == ERR_OK)
        err = keyring_wot_read_owners(buf_span(&text), &owners, &owners_len);
    if (err == ERR_OK)
        err = read_web(gpg, keyring, owners, owners_len, *wot_out);
    free(owners);
    buf_fini(&text);
    if (err != ERR_OK)
        keyring_wot_free(wot_out);
    return err;
}
