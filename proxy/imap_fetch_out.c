/*
 * An answer on its way to the client. The bytes of a view are lent to the connection, which holds the view until they
 * have been sent; long ones in pieces, so that no more than one is waiting at a time.
 */
#include "proxy/imap_fetch.h"

#include <stdlib.h>

#define TEXT_MAX ((size_t)256 << 20)  /* of headers, several times if they are asked for so */
#define LEND_LEAST ((size_t)16 << 10) /* what is shorter is copied */
#define PIECE_MAX ((size_t)1 << 20)

void fetch_out_init(struct fetch_out *out)
{
    *out = (struct fetch_out){0};
    buf_init_secret(&out->text, TEXT_MAX);
}

void fetch_out_fini(struct fetch_out *out)
{
    buf_fini(&out->text);
    free(out->slices);
    out->slices = NULL;
}

void fetch_out_begin(struct fetch_out *out, const struct fetch_view *view)
{
    buf_clear(&out->text);
    out->slices_len = 0;
    out->slice = out->text_done = out->slice_done = 0;
    out->id = view->id;
    out->body = view->body ? view->body->bytes : SPAN_NONE;
}

static bool is_within(struct span whole, struct span part)
{
    return whole.ptr && part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

enum err fetch_out_slice(struct fetch_out *out, struct span bytes)
{
    if (bytes.len < LEND_LEAST || !is_within(out->body, bytes))
        return buf_add_span(&out->text, bytes);
    if (out->slices_len == out->slices_capacity) {
        size_t capacity = out->slices_capacity > 0 ? 2 * out->slices_capacity : 4;
        struct fetch_slice *slices = reallocarray(out->slices, capacity, sizeof *slices);
        if (!slices)
            return ERR_MEMORY;
        out->slices = slices;
        out->slices_capacity = capacity;
    }
    out->slices[out->slices_len++] = (struct fetch_slice){.at = out->text.len, .bytes = bytes};
    return ERR_OK;
}

struct loan {
    struct proxy_views *views;
    struct proxy_body *body;
};

static void end_loan(void *context)
{
    struct loan *loan = context;
    proxy_views_release(loan->views, &loan->body);
    free(loan);
}

/* Without memory for the loan the bytes are copied. */
static void lend(struct fetch_work *fetch, struct span bytes)
{
    struct imap_session *session = fetch_session(fetch);
    struct loan *loan = malloc(sizeof *loan);
    if (loan)
        *loan =
            (struct loan){.views = session->net->views, .body = proxy_views_hold(session->net->views, &fetch->out.id)};
    if (loan && loan->body && is_within(loan->body->bytes, bytes)) {
        imap_server_lend(session->server, bytes, end_loan, loan);
        return;
    }
    imap_server_write(session->server, bytes);
    if (loan && loan->body)
        proxy_views_release(loan->views, &loan->body);
    free(loan);
}

bool fetch_out_write(struct fetch_work *fetch, bool is_bounded)
{
    struct imap_server *server = fetch_session(fetch)->server;
    struct fetch_out *out = &fetch->out;
    for (;;) {
        bool is_last = out->slice == out->slices_len;
        size_t text_end = is_last ? out->text.len : out->slices[out->slice].at;
        struct span text = span_slice(buf_span(&out->text), out->text_done, text_end);
        struct span bytes = is_last ? SPAN_NONE : span_skip(out->slices[out->slice].bytes, out->slice_done);
        if (text.len == 0 && bytes.len == 0 && is_last)
            return true;
        if (is_bounded && imap_server_output_len(server) > FETCH_OUTPUT_HIGH)
            return false;
        if (text.len > 0) {
            text.len = text.len < PIECE_MAX ? text.len : PIECE_MAX;
            imap_server_write(server, text);
            out->text_done += text.len;
        } else if (bytes.len > 0) {
            bytes.len = bytes.len < PIECE_MAX ? bytes.len : PIECE_MAX;
            lend(fetch, bytes);
            out->slice_done += bytes.len;
        } else {
            out->slice++;
            out->slice_done = 0;
        }
    }
}
