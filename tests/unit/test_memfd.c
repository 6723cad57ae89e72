#include "base/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE_MOST 100

static void test_written_sealed_mapped(void **state)
{
    (void)state;
    int fd;
    struct span content;
    size_t size;
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(memfd_add(fd, SPAN_LIT("one "), SIZE_MOST), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_NONE, SIZE_MOST), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_LIT("two"), SIZE_MOST), ERR_OK);
    assert_int_equal(memfd_seal(fd), ERR_OK);
    assert_int_equal(memfd_check(fd, 7, &size), ERR_OK);
    assert_int_equal(size, 7);
    assert_int_equal(memfd_map(fd, 7, &content), ERR_OK);
    close(fd);
    assert_true(span_is_equal(content, SPAN_LIT("one two")));
    memfd_unmap(&content);
    assert_null(content.ptr);
    memfd_unmap(&content);
}

static void test_sealed_is_final(void **state)
{
    (void)state;
    int fd;
    assert_int_equal(memfd_of("test", SPAN_LIT("content"), SIZE_MOST, &fd), ERR_OK);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 1), -1);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_ptr_equal(mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(memfd_add(fd, SPAN_LIT("x"), SIZE_MOST), ERR_IO);
    close(fd);
}

static void test_sealing_needs_writable_mappings_gone(void **state)
{
    (void)state;
    int fd;
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_LIT("content"), SIZE_MOST), ERR_OK);
    void *mapping = mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(mapping, MAP_FAILED);
    assert_int_equal(memfd_seal(fd), ERR_IO);
    munmap(mapping, 7);
    assert_int_equal(memfd_seal(fd), ERR_OK);
    close(fd);
}

static void test_limits(void **state)
{
    (void)state;
    int fd;
    struct span content;
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_LIT("12345"), 4), ERR_LIMIT);
    assert_int_equal(memfd_add(fd, SPAN_LIT("1234"), 4), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_LIT("5"), 4), ERR_LIMIT);
    assert_int_equal(memfd_add(fd, SPAN_LIT("5"), 3), ERR_LIMIT);
    assert_int_equal(memfd_seal(fd), ERR_OK);
    assert_int_equal(memfd_map(fd, 3, &content), ERR_PEER_PROTOCOL);
    assert_null(content.ptr);
    assert_int_equal(memfd_map(fd, 4, &content), ERR_OK);
    memfd_unmap(&content);
    close(fd);
    fd = 77;
    assert_int_equal(memfd_of("test", SPAN_LIT("12345"), 4, &fd), ERR_LIMIT);
    assert_int_equal(fd, -1);
}

static void test_empty(void **state)
{
    (void)state;
    int fd;
    struct span content;
    assert_int_equal(memfd_of("test", SPAN_NONE, 0, &fd), ERR_OK);
    assert_int_equal(memfd_map(fd, 0, &content), ERR_OK);
    assert_non_null(content.ptr);
    assert_int_equal(content.len, 0);
    memfd_unmap(&content);
    close(fd);
}

/* Each seal is needed: without one of them the content could change under the reader. */
static void test_reader_wants_every_seal(void **state)
{
    (void)state;
    static const int seals[] = {F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE};
    struct span content;
    for (size_t lacking = 0; lacking < 4; lacking++) {
        int fd, added = 0;
        assert_int_equal(memfd_new("test", &fd), ERR_OK);
        assert_int_equal(memfd_add(fd, SPAN_LIT("content"), SIZE_MOST), ERR_OK);
        for (size_t i = 0; i < 4; i++)
            added |= i == lacking ? 0 : seals[i];
        assert_int_equal(fcntl(fd, F_ADD_SEALS, added), 0);
        assert_int_equal(memfd_map(fd, SIZE_MOST, &content), ERR_PEER_PROTOCOL);
        close(fd);
    }
}

static void test_reader_refuses_other_files(void **state)
{
    (void)state;
    struct span content;
    FILE *file = tmpfile();
    int ends[2];
    assert_non_null(file);
    assert_int_equal(memfd_map(fileno(file), SIZE_MOST, &content), ERR_PEER_PROTOCOL);
    fclose(file);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(memfd_map(ends[0], SIZE_MOST, &content), ERR_PEER_PROTOCOL);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(memfd_map(-1, SIZE_MOST, &content), ERR_PEER_PROTOCOL);
}

/* More than the kernel takes in one go does not matter here; that the position is the end of the file does. */
static void test_adding_does_not_depend_on_the_file_position(void **state)
{
    (void)state;
    int fd;
    struct span content;
    assert_int_equal(memfd_new("test", &fd), ERR_OK);
    assert_int_equal(memfd_add(fd, SPAN_LIT("one"), SIZE_MOST), ERR_OK);
    assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
    assert_int_equal(memfd_add(fd, SPAN_LIT("two"), SIZE_MOST), ERR_OK);
    assert_int_equal(memfd_seal(fd), ERR_OK);
    assert_int_equal(memfd_map(fd, SIZE_MOST, &content), ERR_OK);
    assert_true(span_is_equal(content, SPAN_LIT("onetwo")));
    memfd_unmap(&content);
    close(fd);
}

static void test_file_size_limit_is_reported(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd;
        const struct rlimit limit = {4, 4};
        (void)signal(SIGXFSZ, SIG_IGN);
        bool is_right = setrlimit(RLIMIT_FSIZE, &limit) == 0 && memfd_new("test", &fd) == ERR_OK &&
                        memfd_add(fd, SPAN_LIT("12345"), SIZE_MOST) == ERR_LIMIT;
        _exit(is_right ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_sealed_mapped),
        cmocka_unit_test(test_sealed_is_final),
        cmocka_unit_test(test_sealing_needs_writable_mappings_gone),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_reader_wants_every_seal),
        cmocka_unit_test(test_reader_refuses_other_files),
        cmocka_unit_test(test_adding_does_not_depend_on_the_file_position),
        cmocka_unit_test(test_file_size_limit_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
