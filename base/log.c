#include "base/log.h"

#include "base/span.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1000 /* the line feed included */
#define CUT_MARK "..."

static const char *process_name = "privyseal";
static enum log_level level_most = LOG_LEVEL_INFO;
static bool is_journal;

/* systemd sets JOURNAL_STREAM to "device:inode" of the stream it gave us; stderr may have been redirected since. */
static bool is_journal_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    if (!stream || fstat(STDERR_FILENO, &status) != 0)
        return false;
    struct span inode = span_of(stream);
    struct span device;
    uint64_t device_number, inode_number;
    return span_take_until(&inode, ':', &device) && span_to_u64(device, UINT64_MAX, &device_number) &&
           span_to_u64(inode, UINT64_MAX, &inode_number) && device_number == status.st_dev &&
           inode_number == status.st_ino;
}

void log_init(const char *name, enum log_level most)
{
    process_name = name;
    level_most = most;
    is_journal = is_journal_stderr();
}

/* The length of the printable character at the front of `text`, 0 if it is none: a control byte, one of the controls
   U+0080 to U+009F (terminals obey them too), or not UTF-8. */
static size_t printable_length(struct span text)
{
    const unsigned char *byte = (const unsigned char *)text.ptr;
    if (byte[0] < 0x80)
        return byte[0] >= 0x20 && byte[0] != 0x7f ? 1 : 0;
    size_t length = byte[0] >= 0xc2 && byte[0] <= 0xdf ? 2 : (byte[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || length > text.len)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    }
    bool is_control = byte[0] == 0xc2 && byte[1] < 0xa0;
    bool is_overlong = (byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xf0 && byte[1] < 0x90);
    bool is_no_character = (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf4 && byte[1] > 0x8f);
    return is_control || is_overlong || is_no_character ? 0 : length;
}

struct line {
    char bytes[LINE_MAX_BYTES];
    size_t len;
};

/* Adds the text, made harmless, cutting it where the line would become too long. */
static void add_harmless(struct line *line, struct span text)
{
    const size_t len_max = sizeof line->bytes - sizeof CUT_MARK; /* the mark, and a line feed in place of its NUL */
    while (text.len > 0 && line->len <= len_max) {
        char escape[5];
        struct span piece = span_slice(text, 0, printable_length(text));
        size_t taken = piece.len;
        if (taken == 0) {
            snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)text.ptr[0]);
            piece = (struct span){escape, 4};
            taken = 1;
        }
        bool is_cut = line->len + piece.len > len_max;
        if (is_cut)
            piece = SPAN_LIT(CUT_MARK);
        for (size_t i = 0; i < piece.len; i++)
            line->bytes[line->len++] = piece.ptr[i];
        if (is_cut)
            return;
        text = span_skip(text, taken);
    }
}

static void log_line(enum log_level level, const char *text)
{
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"};
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    struct line line = {.len = 0};
    if (is_journal)
        add_harmless(&line, span_of(priorities[level]));
    add_harmless(&line, span_of(process_name));
    add_harmless(&line, SPAN_LIT(": "));
    if (!is_journal)
        add_harmless(&line, span_of(words[level]));
    add_harmless(&line, span_of(text));
    line.bytes[line.len++] = '\n';
    /* One write, so that the lines of several processes do not mix; there is nowhere to report a failure. */
    ssize_t written = write(STDERR_FILENO, line.bytes, line.len);
    (void)written;
}

static void log_formatted(enum log_level level, const char *format, va_list arguments)
{
    char text[LINE_MAX_BYTES + 1]; /* longer ones are cut when the name stands before them */
    if (level > level_most || vsnprintf(text, sizeof text, format, arguments) < 0)
        return;
    log_line(level, text);
}

void log_error(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_formatted(LOG_LEVEL_ERROR, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_formatted(LOG_LEVEL_WARNING, format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_formatted(LOG_LEVEL_INFO, format, arguments);
    va_end(arguments);
}

void log_debug(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_formatted(LOG_LEVEL_DEBUG, format, arguments);
    va_end(arguments);
}

enum err log_failure(enum err err, const char *format, ...)
{
    char what[LINE_MAX_BYTES + 1];
    va_list arguments;
    va_start(arguments, format);
    int measured = vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    log_warning("%s: %s", measured < 0 ? "" : what, err_sentence(err));
    return err;
}
