#include "imap/search.h"

/* ---- what is true for which message ---- */

struct combining {
    const struct imap_search *search;
    const uint8_t *const *servers;
    const uint8_t *const *leaves;
};

/* Eight messages at once. Depth is bounded by IMAP_SEARCH_DEPTH_MAX. */
static uint8_t eight_of(const struct combining *combining, size_t index, size_t byte)
{
    const struct imap_search_node *nodes = combining->search->nodes, *node = &nodes[index];
    uint8_t bits;

    switch (node->kind) {
    case IMAP_SEARCH_SERVER:
        return combining->servers[node->server][byte];
    case IMAP_SEARCH_VIEW:
        return combining->leaves[node->leaf][byte];
    case IMAP_SEARCH_NOT:
        return (uint8_t)~eight_of(combining, node->first_child, byte);
    case IMAP_SEARCH_OR:
        bits = 0;
        for (size_t child = node->first_child; child != 0; child = nodes[child].next)
            bits |= eight_of(combining, child, byte);
        return bits;
    case IMAP_SEARCH_AND:
        break;
    }
    bits = 0xFF;
    for (size_t child = node->first_child; child != 0; child = nodes[child].next)
        bits &= eight_of(combining, child, byte);
    return bits;
}

void imap_search_combine(const struct imap_search *search, const uint8_t *const *servers, const uint8_t *const *leaves,
                         size_t len, uint8_t *result_out)
{
    struct combining combining = {search, servers, leaves};
    size_t bytes = (len + 7) / 8;

    for (size_t byte = 0; byte < bytes; byte++)
        result_out[byte] = eight_of(&combining, 0, byte);
    /* Bits beyond the last message are nobody's. */
    if (len % 8 != 0)
        result_out[bytes - 1] &= (uint8_t)((1U << (len % 8)) - 1);
}

/* ---- the answer ---- */

/* "* SEARCH" *(SP nz-number) [SP "(" "MODSEQ" SP mod-sequence-value ")"] (RFC 3501 §7.2.5, RFC 7162 §3.1.5) */
static enum err answer_plain(const struct imap_set *found, uint64_t modseq, struct buf *out)
{
    struct imap_set_step step = {0};
    enum err result = buf_add_string(out, "* SEARCH");
    uint32_t number;

    while (result == ERR_OK && imap_set_next(found, &step, &number))
        result = buf_addf(out, " %u", number);
    if (result == ERR_OK && modseq != 0)
        result = buf_addf(out, " (MODSEQ %llu)", (unsigned long long)modseq);
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

/* esearch-response = "ESEARCH" [search-correlator] [SP "UID"] *(SP search-return-data) (RFC 4731 §4) */
static enum err answer_extended(const struct imap_search *search, struct span tag, bool is_uid,
                                const struct imap_set *found, uint64_t modseq, struct buf *out)
{
    bool is_empty = imap_set_is_empty(found);
    enum err result = buf_addf(out, "* ESEARCH (TAG \"%.*s\")%s", (int)tag.len, tag.ptr, is_uid ? " UID" : "");

    if (result == ERR_OK && search->wants_min && !is_empty)
        result = buf_addf(out, " MIN %u", found->ranges[0].first);
    if (result == ERR_OK && search->wants_max && !is_empty)
        result = buf_addf(out, " MAX %u", found->ranges[found->len - 1].last);
    if (result == ERR_OK && search->wants_all && !is_empty) {
        result = buf_add_string(out, " ALL ");
        if (result == ERR_OK)
            result = imap_set_format(found, out);
    }
    if (result == ERR_OK && search->wants_count)
        result = buf_addf(out, " COUNT %llu", (unsigned long long)imap_set_count(found));
    if (result == ERR_OK && modseq != 0)
        result = buf_addf(out, " MODSEQ %llu", (unsigned long long)modseq);
    return result == ERR_OK ? buf_add_string(out, "\r\n") : result;
}

enum err imap_search_answer(const struct imap_search *search, struct span tag, bool is_uid,
                            const struct imap_set *found, uint64_t modseq, struct buf *out)
{
    bool wants_data =
        search->wants_min || search->wants_max || search->wants_all || search->wants_count || search->has_modseq;

    if (!search->is_extended)
        return answer_plain(found, modseq, out);
    /* RFC 5182 §2.1: who asks for SAVE alone gets no ESEARCH response; RFC 7162 §3.1.10 has one for MODSEQ. */
    return wants_data ? answer_extended(search, tag, is_uid, found, modseq, out) : ERR_OK;
}
