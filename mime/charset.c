#include "mime/charset.h"

#include <errno.h>
#include <string.h>

#define CHARSET_MAX 40

/* Spelled so that the beginning decides. */
static const char *const charsets[] = {
    "utf-8",       "utf8",      "us-ascii", "ascii",          "iso-8859-", "iso8859-",    "iso_8859-", "latin",
    "windows-125", "cp125",     "cp437",    "cp850",          "cp866",     "ibm850",      "koi8-",     "gb2312",
    "gbk",         "gb18030",   "big5",     "euc-jp",         "euc-kr",    "iso-2022-jp", "tis-620",   "viscii",
    "iso-2022-kr", "shift_jis", "utf-16",   "ks_c_5601-1987", "macintosh",
};

bool mime_charset_is_utf8(struct span name)
{
    static const struct span names[] = {SPAN_LIT(""), SPAN_LIT("utf-8"), SPAN_LIT("utf8"), SPAN_LIT("us-ascii"),
                                        SPAN_LIT("ascii")};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (span_is_case_equal(name, names[i]))
            return true;
    return false;
}

/* The bytes allowed leave out "/", with which a name could choose iconv's options. */
static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++) {
        char byte = span_lower(name.ptr[i]);

        if ((byte < 'a' || byte > 'z') && (byte < '0' || byte > '9') && byte != '-' && byte != '_')
            return false;
    }
    return name.len < CHARSET_MAX;
}

bool mime_charset_is_known(struct span name)
{
    for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++)
        if (span_has_case_prefix(name, span_of(charsets[i])))
            return is_name(name);
    return false;
}

iconv_t mime_charset_open(struct span name)
{
    char copy[CHARSET_MAX];

    errno = 0;
    if (!mime_charset_is_known(name) || !span_copy(name, copy, sizeof copy))
        return (iconv_t)-1;
    return iconv_open("UTF-8", copy);
}

/* iconv unloads what nobody has open. */
void mime_charset_keep(void)
{
    static const char *const names[] = {"iso-8859-1",   "iso-8859-2",   "iso-8859-15", "windows-1250", "windows-1251",
                                        "windows-1252", "koi8-r",       "koi8-u",      "gb2312",       "gbk",
                                        "gb18030",      "big5",         "euc-jp",      "euc-kr",       "iso-2022-jp",
                                        "shift_jis",    "windows-1256", "iso-8859-7",  "tis-620"};
    static iconv_t kept[sizeof names / sizeof *names];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (kept[i] == NULL)
            kept[i] = mime_charset_open(span_of(names[i]));
}
