/*
 * A directory for a store, and stores in it. To be included by one file of a test program.
 */
#ifndef TESTS_UNIT_STORE_DIR_H
#define TESTS_UNIT_STORE_DIR_H

#include "base/buf.h"
#include "base/log.h"
#include "store/store.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[128];

static inline struct store *open_store(void)
{
    struct store *store;
    assert_int_equal(store_open(directory, &store), ERR_OK);
    return store;
}

static inline const char *in_directory(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static inline void empty_directory(void)
{
    DIR *dir = opendir(directory);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            unlink(in_directory(entry->d_name));
    closedir(dir);
}

static inline void read_whole(const char *name, struct buf *out)
{
    buf_init(out, 200000000);
    FILE *file = fopen(in_directory(name), "r");
    assert_non_null(file);
    char block[4096];
    size_t count;
    while ((count = fread(block, 1, sizeof block, file)) > 0)
        assert_int_equal(buf_add(out, block, count), ERR_OK);
    fclose(file);
}

static inline void write_whole(const char *name, struct span bytes)
{
    FILE *file = fopen(in_directory(name), "w");
    assert_non_null(file);
    if (bytes.len)
        assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    fclose(file);
}

/* No file of the directory holds `secret`, and nobody else may read it. */
static inline void assert_not_on_disk(const char *secret)
{
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    size_t files = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct buf bytes;
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(stat(in_directory(entry->d_name), &status), 0);
        assert_int_equal(status.st_mode & 077, 0);
        read_whole(entry->d_name, &bytes);
        assert_int_equal(span_find(buf_span(&bytes), 0, span_of(secret)), SIZE_MAX);
        buf_fini(&bytes);
        files++;
    }
    closedir(dir);
    assert_true(files >= 3);
}

static inline int begin_empty(void **state)
{
    (void)state;
    empty_directory();
    return 0;
}

static inline int make_directory(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    snprintf(directory, sizeof directory, "/tmp/test_store.XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static inline int remove_directory(void **state)
{
    (void)state;
    empty_directory();
    return rmdir(directory);
}

#endif
