/*
 * Small typed messages between privyseal's own processes, over SOCK_SEQPACKET pairs.
 *
 * One datagram is one message: a 16-bit type, then fields in an order that sender and receiver agree on, each with a
 * tag for its kind; files travel beside it. The receiver trusts nothing: a field of another kind, a length that does
 * not fit, a missing or a surplus field or file make the message malformed (ERR_PEER_PROTOCOL), after which the caller
 * ends that peer. Blocking and non-blocking sockets both work; ERR_AGAIN says that a non-blocking one would block.
 */
#ifndef BASE_IPC_H
#define BASE_IPC_H

#include "base/buf.h"

#define IPC_SIZE_MAX 131072 /* bytes in one message; whatever is larger travels as a memfd */
#define IPC_FILES_MAX 4

/* A message being written. Errors are remembered and come out at ipc_send, so that puts need no checks. */
struct ipc_out {
    struct buf bytes;
    int files[IPC_FILES_MAX]; /* borrowed: the sender keeps its own descriptors */
    size_t files_len;
    enum err err;
};

/* A message being read. Gets after a failure give zeros; ipc_in_end tells. */
struct ipc_in {
    char *data;
    size_t len;
    size_t at;
    uint16_t type;
    int files[IPC_FILES_MAX]; /* owned until taken with ipc_get_file */
    size_t files_len;
    size_t files_taken;
    enum err err;
};

/* A connected pair: close-on-exec; ends[0] non-blocking if `is_first_async`, ends[1] blocking. */
ERR_RETURN enum err ipc_pair(bool is_first_async, int ends[2]);

void ipc_out_begin(struct ipc_out *out, uint16_t type);
void ipc_put_u32(struct ipc_out *out, uint32_t number);
void ipc_put_u64(struct ipc_out *out, uint64_t number);
void ipc_put_span(struct ipc_out *out, struct span bytes);
/* NULL travels as an empty string. */
void ipc_put_string(struct ipc_out *out, const char *string);
void ipc_put_file(struct ipc_out *out, int fd);
/* Sends in one piece and finishes `out` whatever happens. ERR_END when the peer is gone. */
ERR_RETURN enum err ipc_send(int socket, struct ipc_out *out);
/* The same without waiting, whatever the socket: after ERR_AGAIN the message is whole, and may be sent later. */
ERR_RETURN enum err ipc_send_now(int socket, struct ipc_out *out);
uint16_t ipc_out_type(const struct ipc_out *out);
/* Gives up a message that will not be sent. */
void ipc_out_fini(struct ipc_out *out);

/* Receives one message; ERR_END at the end of the connection. `in` must be finished with ipc_in_fini after ERR_OK. */
ERR_RETURN enum err ipc_recv(int socket, struct ipc_in *in);
uint16_t ipc_type(const struct ipc_in *in);
uint32_t ipc_get_u32(struct ipc_in *in);
uint64_t ipc_get_u64(struct ipc_in *in);
/* Borrows from the message; valid until ipc_in_fini. */
struct span ipc_get_span(struct ipc_in *in);
/* Copies into `target` with a NUL; a longer field or one that holds a NUL makes the message malformed. */
void ipc_get_string(struct ipc_in *in, char *target, size_t target_size);
/* Takes the next file; the caller closes it. -1 if there is none (and the message is malformed). */
int ipc_get_file(struct ipc_in *in);
/* ERR_OK if every get fitted and nothing is left over. */
ERR_RETURN enum err ipc_in_end(struct ipc_in *in);
/* Wipes and frees; closes files nobody took. */
void ipc_in_fini(struct ipc_in *in);

#endif
