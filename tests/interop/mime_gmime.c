/*
 * Random messages read by mime/part.c and by GMime must have the same parts with the same decoded contents.
 * Usage: mime_gmime [messages [seed]]; prints each difference, then "N passed, N failed".
 */
#include "mime/encoding.h"
#include "mime/part.h"

#include <gmime/gmime.h>
#include <stdio.h>

#define MESSAGE_MAX ((size_t)1 << 24)
#define DEPTH_MAX 5

/* One message being made. */
struct maker {
    uint32_t random;
    unsigned boundaries;
    const char *line_end;
    struct buf text;
};

static void must(enum err result)
{
    if (result != ERR_OK)
        abort();
}

static unsigned pick(struct maker *maker, unsigned count)
{
    maker->random = maker->random * 1664525 + 1013904223;
    return (maker->random >> 8) % count;
}

static const char *pick_of(struct maker *maker, const char *const *choices, unsigned count)
{
    return choices[pick(maker, count)];
}

#define PICK(maker, ...)                                                                                               \
    pick_of(maker, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* One message has one kind of line end: where they are mixed, GMime counts the CR before a boundary as text. */
static void add(struct maker *maker, const char *text)
{
    for (; *text != '\0'; text++)
        must(*text == '\n' ? buf_add_string(&maker->text, maker->line_end) : buf_add_byte(&maker->text, *text));
}

/* Lines of words, some of which look like boundaries. */
static void make_text(struct maker *maker, struct buf *out)
{
    unsigned lines = pick(maker, 8);

    for (unsigned i = 0; i < lines; i++) {
        unsigned words = pick(maker, 12);

        for (unsigned word = 0; word < words; word++)
            must(buf_add_string(out, PICK(maker, "word ", "From ", "--", "--b1x ", "-- b1", ".", "=", "a\tb",
                                          "caf\xC3\xA9 ", "a very long word that goes on ", "--b1 --")));
        if (i + 1 < lines || pick(maker, 2) == 0)
            must(buf_add_string(out, maker->line_end));
    }
}

static void make_leaf_body(struct maker *maker, enum mime_encoding encoding)
{
    struct mime_coder coder = {.encoding = encoding, .is_text = true};
    struct buf plain, encoded;

    buf_init(&plain, MESSAGE_MAX);
    buf_init(&encoded, MESSAGE_MAX);
    make_text(maker, &plain);
    must(mime_encode_feed(&coder, buf_span(&plain), &encoded));
    must(mime_encode_end(&coder, &encoded));
    must(buf_add_span(&maker->text, buf_span(&encoded)));
    buf_fini(&plain);
    buf_fini(&encoded);
}

static void make_leaf(struct maker *maker)
{
    const enum mime_encoding encodings[] = {MIME_7BIT, MIME_8BIT, MIME_QUOTED_PRINTABLE, MIME_BASE64};
    enum mime_encoding encoding = encodings[pick(maker, 4)];
    const char *field =
        PICK(maker, "Content-Transfer-Encoding: ", "content-transfer-encoding:", "Content-Transfer-Encoding:  \t");

    add(maker, PICK(maker, "", "X-Odd:y\n", "Subject: a\n b\n", "Content-Description: x\n"));
    add(maker,
        PICK(maker, "", "Content-Type: text/plain; charset=utf-8\n", "Content-Type:TEXT/Html;charset=\"utf-8\"\n",
             "Content-type: application/octet-stream;\n name=\"a;b\"\n", "CONTENT-TYPE:\timage/png\n",
             "Content-Type: text/x-odd\n"));
    if (encoding != MIME_7BIT || pick(maker, 2) == 0) {
        add(maker, field);
        add(maker, mime_encoding_name(encoding));
        add(maker, "\n");
    }
    add(maker, "\n");
    make_leaf_body(maker, encoding);
}

static void make_entity(struct maker *maker, unsigned depth, const char *outer_boundary);

static void make_multipart(struct maker *maker, unsigned depth, const char *outer_boundary)
{
    unsigned children = pick(maker, 4) + 1;
    char boundary[64];

    /* Some boundaries begin like the one around them. */
    if (outer_boundary != NULL && pick(maker, 3) == 0)
        (void)snprintf(boundary, sizeof boundary, "%s%s", outer_boundary, PICK(maker, "x", "-", "'"));
    else
        (void)snprintf(boundary, sizeof boundary, "=_%u_b", ++maker->boundaries);
    add(maker, "Content-Type: multipart/");
    add(maker, PICK(maker, "mixed", "alternative", "related", "Digest"));
    add(maker, PICK(maker, "; boundary=\"", ";\n\tboundary=\"", ";\n a=b; Boundary = \""));
    add(maker, boundary);
    add(maker, "\"\n\n");
    add(maker, PICK(maker, "", "preamble\n", "\n\n", "--\n--x--\n"));
    for (unsigned i = 0; i < children; i++) {
        add(maker, "--");
        add(maker, boundary);
        add(maker, PICK(maker, "\n", "\n", "\n", " \n", "\t  \n"));
        make_entity(maker, depth + 1, boundary);
        add(maker, "\n");
    }
    if (pick(maker, 8) == 0)
        return;
    add(maker, "--");
    add(maker, boundary);
    add(maker, PICK(maker, "--", "--", "-- ", "--\t\t"));
    add(maker, PICK(maker, "", "\n", "\n\n", "\nepilogue", "\nepilogue\n--\n"));
}

static void make_entity(struct maker *maker, unsigned depth, const char *outer_boundary)
{
    unsigned kind = depth < DEPTH_MAX ? pick(maker, depth == 0 ? 4 : 7) : 9;

    if (kind < 3) {
        make_multipart(maker, depth, outer_boundary);
    } else if (kind == 3) {
        add(maker, "Content-Type: message/rfc822\n");
        add(maker, PICK(maker, "\n", "Content-Transfer-Encoding: 8bit\n\n"));
        add(maker, PICK(maker, "Subject: inner\n", "From: a@example.org\nTo: b@example.org\n"));
        make_entity(maker, depth + 1, outer_boundary);
    } else {
        make_leaf(maker);
    }
}

/* What is compared: one line for each part, with its depth, type, and the size and digest of what it decodes to. */
static void add_leaf(struct buf *out, struct span content)
{
    char *digest = g_compute_checksum_for_data(G_CHECKSUM_SHA1, (const guchar *)content.ptr, content.len);

    must(buf_addf(out, " %zu %.12s", content.len, digest));
    g_free(digest);
}

static void list_ours(struct span message, struct buf *out)
{
    struct mime_tree *tree;

    must(mime_parse(message, MIME_LIMITS_DEFAULT, &tree));
    for (const struct mime_part *part = tree->root; part != NULL; part = mime_part_after(part)) {
        must(buf_addf(out, "%u %s/%s", part->depth, part->type, part->subtype));
        if (part->kind == MIME_LEAF && !mime_part_is(part, "multipart", NULL)) {
            struct buf decoded;

            buf_init(&decoded, MESSAGE_MAX);
            must(mime_decode(part->encoding, mime_part_body(part, message), &decoded));
            add_leaf(out, buf_span(&decoded));
            buf_fini(&decoded);
        }
        must(buf_add_byte(out, '\n'));
    }
    mime_tree_free(&tree);
}

static void list_content(GMimePart *part, struct buf *out)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GMimeDataWrapper *content = g_mime_part_get_content(part);
    GByteArray *bytes;

    if (content != NULL)
        (void)g_mime_data_wrapper_write_to_stream(content, stream);
    bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    add_leaf(out, (struct span){(const char *)bytes->data, bytes->len});
    g_object_unref(stream);
}

/* The depth is bounded by that of the messages made here. */
static void list_theirs(GMimeObject *object, unsigned depth, struct buf *out)
{
    char *type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(object));
    char *lower = g_ascii_strdown(type, -1);

    must(buf_addf(out, "%u %s", depth, lower));
    g_free(type);
    g_free(lower);
    if (GMIME_IS_PART(object))
        list_content(GMIME_PART(object), out);
    must(buf_add_byte(out, '\n'));
    if (GMIME_IS_MULTIPART(object)) {
        GMimeMultipart *multipart = GMIME_MULTIPART(object);

        for (int i = 0; i < g_mime_multipart_get_count(multipart); i++)
            list_theirs(g_mime_multipart_get_part(multipart, i), depth + 1, out);
    } else if (GMIME_IS_MESSAGE_PART(object)) {
        GMimeMessage *message = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));

        if (message != NULL)
            list_theirs(g_mime_message_get_mime_part(message), depth + 1, out);
    }
}

static void list_gmime(struct span message, struct buf *out)
{
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(message.ptr, message.len);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage *parsed = g_mime_parser_construct_message(parser, NULL);

    if (parsed != NULL) {
        list_theirs(g_mime_message_get_mime_part(parsed), 0, out);
        g_object_unref(parsed);
    }
    g_object_unref(parser);
    g_object_unref(stream);
}

static bool is_same(struct span message, struct buf *ours, struct buf *theirs)
{
    buf_clear(ours);
    buf_clear(theirs);
    list_ours(message, ours);
    list_gmime(message, theirs);
    return span_is_equal(buf_span(ours), buf_span(theirs));
}

/* GMime 3.2 misreads now and then a header that lies across the end of its 4 KiB read buffer. Hence a message counts as
   read alike also if it is when all of it lies 100 bytes further on. */
static bool try_message(unsigned number, uint32_t seed)
{
    struct maker maker = {.random = seed * 2654435761u + number};
    struct buf ours, theirs, moved;
    bool result;

    maker.line_end = pick(&maker, 4) == 0 ? "\n" : "\r\n";
    buf_init(&maker.text, MESSAGE_MAX);
    buf_init(&moved, MESSAGE_MAX);
    buf_init(&ours, MESSAGE_MAX);
    buf_init(&theirs, MESSAGE_MAX);
    add(&maker, "From: a@example.org\nSubject: x\nMIME-Version: 1.0\n");
    make_entity(&maker, 0, NULL);
    /* GMime learns the kind of line end from a boundary's own: one that the message ends with must have one. */
    add(&maker, "\n");
    must(buf_addf(&moved, "X-Moved: %090d%s", 0, maker.line_end));
    must(buf_add_span(&moved, buf_span(&maker.text)));
    result = is_same(buf_span(&maker.text), &ours, &theirs) || is_same(buf_span(&moved), &ours, &theirs);
    if (!result)
        printf("message %u of seed %u:\n%s\n--- read here as\n%s--- by GMime as\n%s\n", number, seed, maker.text.data,
               ours.data, theirs.data);
    buf_fini(&maker.text);
    buf_fini(&moved);
    buf_fini(&ours);
    buf_fini(&theirs);
    return result;
}

int main(int argc, char **argv)
{
    uint64_t messages = 500, seed = 1;
    unsigned failed = 0;

    if ((argc > 1 && !span_to_u64(span_of(argv[1]), 1000000, &messages)) ||
        (argc > 2 && !span_to_u64(span_of(argv[2]), UINT32_MAX, &seed))) {
        fprintf(stderr, "usage: %s [messages [seed]]\n", argv[0]);
        return 2;
    }
    g_mime_init();
    for (unsigned i = 0; i < messages; i++)
        failed += !try_message(i, (uint32_t)seed);
    g_mime_shutdown();
    printf("%u passed, %u failed\n", (unsigned)messages - failed, failed);
    return failed > 0;
}
