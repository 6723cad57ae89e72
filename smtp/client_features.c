/*
 * ehlo-line = ehlo-keyword *( SP ehlo-param )   (RFC 5321 §4.1.1.1); the first line of the reply is the server's name.
 */
#include "smtp/client_internal.h"

static void parse_auth(struct span names, struct smtp_features *features)
{
    struct span name;
    while (span_take_until(&names, ' ', &name)) {
        enum sasl_mechanism mechanism = sasl_parse(name);
        if (mechanism != SASL_NONE)
            features->mechanisms |= (sasl_set)1 << mechanism;
    }
    features->flags |= SMTP_HAS_AUTH;
}

static void parse_line(struct span line, struct smtp_features *features)
{
    static const struct {
        struct span keyword;
        enum smtp_feature feature;
    } known[] = {{SPAN_LIT("PIPELINING"), SMTP_HAS_PIPELINING},
                 {SPAN_LIT("8BITMIME"), SMTP_HAS_8BITMIME},
                 {SPAN_LIT("ENHANCEDSTATUSCODES"), SMTP_HAS_ENHANCED},
                 {SPAN_LIT("CHUNKING"), SMTP_HAS_CHUNKING},
                 {SPAN_LIT("STARTTLS"), SMTP_HAS_STARTTLS},
                 {SPAN_LIT("DSN"), SMTP_HAS_DSN},
                 {SPAN_LIT("SMTPUTF8"), SMTP_HAS_SMTPUTF8},
                 {SPAN_LIT("SIZE"), SMTP_HAS_SIZE},
                 {SPAN_LIT("BINARYMIME"), SMTP_HAS_BINARYMIME}};
    struct span keyword;
    struct span rest = span_trim(line);
    if (!span_take_until(&rest, ' ', &keyword))
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (span_is_case_equal(keyword, known[i].keyword))
            features->flags |= known[i].feature;
    if (span_is_case_equal(keyword, SPAN_LIT("SIZE")))
        (void)span_to_u64(span_trim(rest), UINT64_MAX, &features->size_max);
    else if (span_is_case_equal(keyword, SPAN_LIT("AUTH")))
        parse_auth(rest, features);
}

void client_features_parse(const struct smtp_reply *reply, struct smtp_features *features_out)
{
    struct span line;
    struct span rest = buf_span(&reply->text);
    *features_out = (struct smtp_features){0};
    (void)span_take_until(&rest, '\n', &line);
    while (span_take_until(&rest, '\n', &line))
        parse_line(line, features_out);
}
