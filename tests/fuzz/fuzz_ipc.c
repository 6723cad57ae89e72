/* The first byte says how many files travel along, the second how many of the next bytes are gets; what follows is the
   datagram. */
#include "base/ipc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GETS_MAX 15
#define FILES_MOST (IPC_FILES_MAX + 2)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_datagram(int socket, struct span bytes, size_t files)
{
    char control[CMSG_SPACE(FILES_MOST * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec piece = {(void *)(uintptr_t)bytes.ptr, bytes.len};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (files > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(files * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(files * sizeof(int));
        for (size_t i = 0; i < files; i++)
            memcpy(CMSG_DATA(header) + i * sizeof socket, &socket, sizeof socket);
    }
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != (ssize_t)bytes.len)
        abort();
}

static void get(struct ipc_in *in, unsigned kind)
{
    char text[16];
    bool was_good = in->err == ERR_OK;
    switch (kind % 5) {
    case 0:
        if (ipc_get_u32(in) != 0 && !was_good)
            abort();
        break;
    case 1:
        if (ipc_get_u64(in) != 0 && !was_good)
            abort();
        break;
    case 2: {
        struct span bytes = ipc_get_span(in);
        if (bytes.len > 0 && (!was_good || bytes.ptr < in->data || bytes.ptr + bytes.len > in->data + in->len))
            abort();
        break;
    }
    case 3:
        ipc_get_string(in, text, sizeof text);
        if (strnlen(text, sizeof text) == sizeof text)
            abort();
        break;
    default: {
        int fd = ipc_get_file(in);
        if (fd >= 0 && close(fd) != 0)
            abort();
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int ends[2];
    struct ipc_in in;
    if (size < 2)
        return 0;
    size_t files = data[0] % (FILES_MOST + 1);
    size_t gets = data[1] % (GETS_MAX + 1);
    struct span rest = {(const char *)data + 2, size - 2};
    struct span datagram = span_skip(rest, gets);
    if (datagram.len == 0 || ipc_pair(true, ends) != ERR_OK)
        return 0;
    send_datagram(ends[1], datagram, files);
    enum err err = ipc_recv(ends[0], &in);
    if (err == ERR_OK) {
        for (size_t i = 0; i < gets && i < rest.len; i++)
            get(&in, (unsigned char)rest.ptr[i]);
        (void)(ipc_in_end(&in) == ERR_OK);
        ipc_in_fini(&in);
    } else if (err != ERR_PEER_PROTOCOL) {
        abort();
    }
    /* A descriptor that leaked would use up the numbers in time; this sees the first. */
    close(ends[0]);
    close(ends[1]);
    int lowest = dup(STDERR_FILENO);
    if (lowest > ends[0])
        abort();
    close(lowest);
    return 0;
}
