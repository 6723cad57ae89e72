#include "base/ipc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TYPE 42

struct pair {
    int ends[2];
    size_t files_before;
};

static size_t count_files(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static int set_up(void **state)
{
    struct pair *pair = malloc(sizeof *pair);
    if (!pair)
        return -1;
    pair->files_before = count_files();
    *state = pair;
    return ipc_pair(true, pair->ends) == ERR_OK ? 0 : -1;
}

/* Whatever a test did, no descriptor may be left over. */
static int tear_down(void **state)
{
    struct pair *pair = *state;
    for (int i = 0; i < 2; i++) {
        if (pair->ends[i] >= 0)
            close(pair->ends[i]);
    }
    bool is_clean = count_files() == pair->files_before;
    free(pair);
    return is_clean ? 0 : -1;
}

static void send_raw(const struct pair *pair, const void *bytes, size_t len)
{
    assert_int_equal(send(pair->ends[0], bytes, len, 0), len);
}

/* A message with one of each, as bytes: its type, then each field behind its tag. */
static size_t whole_message(char *bytes)
{
    const uint16_t type = TYPE;
    const uint32_t number = 7, len = 5;
    const uint64_t big = 1ULL << 40;
    char *at = bytes;
    at = (char *)mempcpy(at, &type, sizeof type);
    *at++ = 'n';
    at = (char *)mempcpy(at, &number, sizeof number);
    *at++ = 'N';
    at = (char *)mempcpy(at, &big, sizeof big);
    *at++ = 's';
    at = (char *)mempcpy(at, &len, sizeof len);
    at = (char *)mempcpy(at, "hello", 5);
    return (size_t)(at - bytes);
}

static enum err read_whole_message(struct ipc_in *in)
{
    char text[8];
    uint32_t number = ipc_get_u32(in);
    uint64_t big = ipc_get_u64(in);
    ipc_get_string(in, text, sizeof text);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK) {
        assert_int_equal(number, 7);
        assert_true(big == 1ULL << 40);
        assert_string_equal(text, "hello");
    }
    return err;
}

static void test_all_kinds_of_fields(void **state)
{
    struct pair *pair = *state;
    struct ipc_out out;
    struct ipc_in in;
    char text[10];
    ipc_out_begin(&out, TYPE);
    ipc_put_u32(&out, UINT32_MAX);
    ipc_put_u64(&out, UINT64_MAX);
    ipc_put_span(&out, (struct span){"a\0b", 3});
    ipc_put_string(&out, "123456789");
    ipc_put_string(&out, NULL);
    ipc_put_span(&out, SPAN_NONE);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_type(&in), TYPE);
    assert_true(ipc_get_u32(&in) == UINT32_MAX);
    assert_true(ipc_get_u64(&in) == UINT64_MAX);
    assert_true(span_is_equal(ipc_get_span(&in), (struct span){"a\0b", 3}));
    ipc_get_string(&in, text, sizeof text);
    assert_string_equal(text, "123456789");
    ipc_get_string(&in, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(ipc_get_span(&in).len, 0);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    ipc_in_fini(&in);
}

static void test_pair_is_close_on_exec_and_blocks_as_asked(void **state)
{
    struct pair *pair = *state;
    int ends[2];
    assert_true(fcntl(pair->ends[0], F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(pair->ends[1], F_GETFL) & O_NONBLOCK);
    assert_int_equal(ipc_pair(false, ends), ERR_OK);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        assert_false(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
        close(ends[i]);
    }
}

static void test_nothing_there_and_no_room(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    struct ipc_out out;
    enum err err = ERR_OK;
    assert_int_equal(ipc_recv(pair->ends[0], &in), ERR_AGAIN);
    for (int i = 0; i < 10000 && err == ERR_OK; i++) {
        ipc_out_begin(&out, TYPE);
        ipc_put_u32(&out, (uint32_t)i);
        err = ipc_send(pair->ends[0], &out);
    }
    assert_int_equal(err, ERR_AGAIN);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_get_u32(&in), 0);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
}

static void test_end_of_the_peer(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    struct ipc_out out;
    close(pair->ends[1]);
    pair->ends[1] = -1;
    assert_int_equal(ipc_recv(pair->ends[0], &in), ERR_END);
    ipc_out_begin(&out, TYPE);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_END);
}

/* A peer that dies with our message unread gives ECONNRESET first. */
static void test_end_of_a_peer_that_had_not_read(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    struct ipc_out out;
    ipc_out_begin(&out, TYPE);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    close(pair->ends[1]);
    pair->ends[1] = -1;
    assert_int_equal(ipc_recv(pair->ends[0], &in), ERR_END);
}

static void test_largest_message(void **state)
{
    struct pair *pair = *state;
    static char bytes[IPC_SIZE_MAX + 1];
    const size_t most = IPC_SIZE_MAX - sizeof(uint16_t) - 1 - sizeof(uint32_t);
    struct ipc_out out;
    struct ipc_in in;
    ipc_out_begin(&out, TYPE);
    ipc_put_span(&out, (struct span){bytes, most});
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_get_span(&in).len, most);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);

    ipc_out_begin(&out, TYPE);
    ipc_put_span(&out, (struct span){bytes, most + 1});
    ipc_put_u32(&out, 1);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_LIMIT);
    ipc_out_begin(&out, TYPE);
    ipc_put_span(&out, (struct span){bytes, SIZE_MAX});
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_LIMIT);
}

static void test_too_large_a_datagram_is_malformed_and_gone(void **state)
{
    struct pair *pair = *state;
    static char bytes[IPC_SIZE_MAX + 1];
    struct ipc_in in;
    send_raw(pair, bytes, sizeof bytes);
    send_raw(pair, "\x2a\0", 2);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_PEER_PROTOCOL);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
}

/* Every beginning of a message but the whole is malformed, and so is the whole with one more byte. */
static void test_cut_and_lengthened_messages(void **state)
{
    struct pair *pair = *state;
    char bytes[64] = {0};
    const size_t whole = whole_message(bytes);
    for (size_t len = 1; len <= whole + 1; len++) {
        struct ipc_in in;
        send_raw(pair, bytes, len);
        enum err err = ipc_recv(pair->ends[1], &in);
        assert_int_equal(err, len < sizeof(uint16_t) ? ERR_PEER_PROTOCOL : ERR_OK);
        if (err != ERR_OK)
            continue;
        assert_int_equal(read_whole_message(&in), len == whole ? ERR_OK : ERR_PEER_PROTOCOL);
        ipc_in_fini(&in);
    }
}

static void test_wrong_tags_and_lengths(void **state)
{
    struct pair *pair = *state;
    char bytes[64];
    const size_t whole = whole_message(bytes);
    static const size_t tags_at[] = {2, 7, 16};
    for (size_t i = 0; i < 3; i++) {
        for (const char *tag = "nNsfx"; *tag; tag++) {
            struct ipc_in in;
            (void)whole_message(bytes);
            bool is_same = bytes[tags_at[i]] == *tag;
            bytes[tags_at[i]] = *tag;
            send_raw(pair, bytes, whole);
            assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
            assert_int_equal(read_whole_message(&in), is_same ? ERR_OK : ERR_PEER_PROTOCOL);
            ipc_in_fini(&in);
        }
    }
    static const uint32_t lengths[] = {0, 4, 6, 0x7fffffff, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct ipc_in in;
        (void)whole_message(bytes);
        memcpy(bytes + 17, &lengths[i], sizeof lengths[i]);
        send_raw(pair, bytes, whole);
        assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
        assert_int_equal(read_whole_message(&in), ERR_PEER_PROTOCOL);
        ipc_in_fini(&in);
    }
}

static void test_gets_after_a_failure_give_nothing(void **state)
{
    struct pair *pair = *state;
    struct ipc_out out;
    struct ipc_in in;
    char text[4] = "xyz";
    ipc_out_begin(&out, TYPE);
    ipc_put_u32(&out, 5);
    ipc_put_u32(&out, 6);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_true(ipc_get_u64(&in) == 0);
    assert_int_equal(ipc_get_u32(&in), 0);
    assert_null(ipc_get_span(&in).ptr);
    ipc_get_string(&in, text, sizeof text);
    assert_string_equal(text, "");
    assert_int_equal(ipc_get_file(&in), -1);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
}

static void test_strings_that_do_not_fit(void **state)
{
    struct pair *pair = *state;
    static const struct span strings[] = {SPAN_LIT("abcd"), SPAN_LIT("a\0b")};
    for (size_t i = 0; i < 2; i++) {
        struct ipc_out out;
        struct ipc_in in;
        char text[4] = "xyz";
        ipc_out_begin(&out, TYPE);
        ipc_put_span(&out, strings[i]);
        assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
        assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
        ipc_get_string(&in, text, sizeof text);
        assert_string_equal(text, "");
        assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
        ipc_in_fini(&in);
    }
}

static int open_null(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void send_files(const struct pair *pair, size_t count)
{
    struct ipc_out out;
    int null = open_null();
    ipc_out_begin(&out, TYPE);
    for (size_t i = 0; i < count; i++)
        ipc_put_file(&out, null);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    close(null);
}

static void test_files_arrive_in_order(void **state)
{
    struct pair *pair = *state;
    struct ipc_out out;
    struct ipc_in in;
    struct stat sent, received;
    int pipes[2];
    int null = open_null();
    assert_int_equal(pipe(pipes), 0);
    ipc_out_begin(&out, TYPE);
    ipc_put_file(&out, null);
    ipc_put_u32(&out, 1);
    ipc_put_file(&out, pipes[0]);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_OK);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    int first = ipc_get_file(&in);
    assert_int_equal(ipc_get_u32(&in), 1);
    int second = ipc_get_file(&in);
    assert_int_equal(ipc_in_end(&in), ERR_OK);
    ipc_in_fini(&in);
    assert_true(fcntl(first, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(fstat(null, &sent), 0);
    assert_int_equal(fstat(first, &received), 0);
    assert_true(sent.st_ino == received.st_ino);
    assert_int_equal(fstat(pipes[0], &sent), 0);
    assert_int_equal(fstat(second, &received), 0);
    assert_true(sent.st_ino == received.st_ino);
    close(first);
    close(second);
    close(null);
    close(pipes[0]);
    close(pipes[1]);
}

/* tear_down counts the descriptors. */
static void test_files_nobody_took_are_closed(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    send_files(pair, IPC_FILES_MAX);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    int taken = ipc_get_file(&in);
    assert_true(taken >= 0);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
    close(taken);
}

static void test_a_missing_file_is_malformed(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    send_raw(pair, "\x2a\0f", 3);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_get_file(&in), -1);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
}

/* The bytes, with `count` files that no field speaks of. */
static void send_raw_files(const struct pair *pair, struct span bytes, size_t count)
{
    char control[CMSG_SPACE(8 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec piece = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int null = open_null();
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (size_t i = 0; i < count; i++)
        memcpy(CMSG_DATA(header) + i * sizeof null, &null, sizeof null);
    assert_int_equal(sendmsg(pair->ends[0], &message, 0), bytes.len);
    close(null);
}

static void test_surplus_files_are_malformed_and_closed(void **state)
{
    struct pair *pair = *state;
    struct ipc_in in;
    send_raw_files(pair, SPAN_LIT("\x2a\0"), 1);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_OK);
    assert_int_equal(ipc_in_end(&in), ERR_PEER_PROTOCOL);
    ipc_in_fini(&in);
    for (size_t count = IPC_FILES_MAX + 1; count <= 8; count++) {
        send_raw_files(pair, SPAN_LIT("\x2a\0"), count);
        assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_PEER_PROTOCOL);
    }
    send_raw_files(pair, SPAN_LIT("x"), 2);
    assert_int_equal(ipc_recv(pair->ends[1], &in), ERR_PEER_PROTOCOL);
}

static void test_files_that_cannot_be_sent(void **state)
{
    struct pair *pair = *state;
    struct ipc_out out;
    int null = open_null();
    ipc_out_begin(&out, TYPE);
    for (size_t i = 0; i < IPC_FILES_MAX + 1; i++)
        ipc_put_file(&out, null);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_LIMIT);
    ipc_out_begin(&out, TYPE);
    ipc_put_file(&out, -1);
    assert_int_equal(ipc_send(pair->ends[0], &out), ERR_INTERNAL);
    ipc_out_begin(&out, TYPE);
    ipc_put_u32(&out, 1);
    ipc_put_file(&out, null);
    ipc_out_fini(&out);
    close(null);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_kinds_of_fields),
        TEST(test_pair_is_close_on_exec_and_blocks_as_asked),
        TEST(test_nothing_there_and_no_room),
        TEST(test_end_of_the_peer),
        TEST(test_end_of_a_peer_that_had_not_read),
        TEST(test_largest_message),
        TEST(test_too_large_a_datagram_is_malformed_and_gone),
        TEST(test_cut_and_lengthened_messages),
        TEST(test_wrong_tags_and_lengths),
        TEST(test_gets_after_a_failure_give_nothing),
        TEST(test_strings_that_do_not_fit),
        TEST(test_files_arrive_in_order),
        TEST(test_files_nobody_took_are_closed),
        TEST(test_a_missing_file_is_malformed),
        TEST(test_surplus_files_are_malformed_and_closed),
        TEST(test_files_that_cannot_be_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
