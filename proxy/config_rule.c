/*
 * rule "name" { to encrypt sign trust format mixed may_ask_less replies }
 */
#include "proxy/config_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "*", "*@domain", "*@*.domain" or an address; the domain comes out in lower case and as A-labels. */
static enum err normal_pattern(const char *text, char pattern_out[MIME_ADDR_SIZE])
{
    if (strcmp(text, "*") == 0)
        return span_copy(span_of(text), pattern_out, MIME_ADDR_SIZE) ? ERR_OK : ERR_LIMIT;
    if (text[0] != '*')
        return strchr(text, '*') ? ERR_ADDRESS_SYNTAX : mime_addr_normalise(span_of(text), pattern_out);
    const char *prefix = strncmp(text, "*@*.", 4) == 0 ? "*@*." : "*@";
    if (strncmp(text, prefix, strlen(prefix)) != 0 || strchr(text + strlen(prefix), '*'))
        return ERR_ADDRESS_SYNTAX;
    char sample[MIME_ADDR_SIZE], address[MIME_ADDR_SIZE];
    int count = snprintf(sample, sizeof sample, "x@%s", text + strlen(prefix));
    if (count < 0 || (size_t)count >= sizeof sample || mime_addr_normalise(span_of(sample), address))
        return ERR_ADDRESS_SYNTAX;
    count = snprintf(pattern_out, MIME_ADDR_SIZE, "%s%s", prefix, mime_addr_domain(address));
    return count > 0 && count < MIME_ADDR_SIZE ? ERR_OK : ERR_ADDRESS_SYNTAX;
}

static enum err read_to(struct config_reader *reader, cfg_t *section, struct policy_rule *rule)
{
    const int line = config_reader_line(reader, section, "to");
    for (unsigned i = 0; i < cfg_size(section, "to"); i++) {
        const char *text = cfg_getnstr(section, "to", i);
        char pattern[MIME_ADDR_SIZE];
        if (normal_pattern(text, pattern))
            return config_fail(reader, line, "to = \"%s\"; expected an address, \"*@domain\", \"*@*.domain\" or \"*\"",
                               text);
        enum err err = config_grow(&rule->to, &rule->to_len, sizeof *rule->to);
        if (err)
            return err;
        if (!(rule->to[rule->to_len - 1] = strdup(pattern)))
            return ERR_MEMORY;
    }
    return ERR_OK;
}

static enum err read_trust(struct config_reader *reader, cfg_t *section, struct policy_rule *rule)
{
    const char *text = config_text(reader, section, "trust");
    if (!text || !keyring_trust_parse(span_of(text), &rule->trust))
        return ERR_OK;
    char known[160] = "";
    size_t len = 0;
    for (enum keyring_trust trust = KEYRING_UNVERIFIED; trust < KEYRING_TRUST_COUNT; trust++) {
        int count = snprintf(known + len, sizeof known - len, "%s%s", len ? ", " : "", keyring_trust_name(trust));
        len += count > 0 && (size_t)count < sizeof known - len ? (size_t)count : 0;
    }
    return config_fail(reader, config_reader_line(reader, section, "trust"), "trust = \"%s\"; expected one of %s", text,
                       known);
}

static enum err read_formats(struct config_reader *reader, cfg_t *section, struct policy_rule *rule)
{
    static const struct {
        const char *name;
        enum keyring_format format;
    } known[] = {{"openpgp", KEYRING_OPENPGP}, {"smime", KEYRING_SMIME}};
    const int line = config_reader_line(reader, section, "format");
    const char *text = "";
    rule->formats_len = 0;
    for (unsigned i = 0; i < cfg_size(section, "format"); i++) {
        enum keyring_format format = 0;
        text = cfg_getnstr(section, "format", i);
        for (size_t j = 0; j < sizeof known / sizeof *known; j++)
            if (strcmp(text, known[j].name) == 0)
                format = known[j].format;
        if (format == 0 || rule->formats_len == POLICY_FORMATS_MAX ||
            (rule->formats_len == 1 && rule->formats[0] == format))
            return config_fail(reader, line, "format = \"%s\"; expected openpgp and smime, each once at most", text);
        rule->formats[rule->formats_len++] = format;
    }
    for (size_t j = 0; rule->formats_len == 0 && j < sizeof known / sizeof *known; j++)
        rule->formats[j] = known[j].format;
    if (rule->formats_len == 0)
        rule->formats_len = POLICY_FORMATS_MAX;
    return ERR_OK;
}

static enum err read_choices(struct config_reader *reader, cfg_t *section, struct policy_rule *rule)
{
    static const struct config_word encrypts[] = {{"required", POLICY_ENCRYPT_REQUIRED},
                                                  {"when-possible", POLICY_ENCRYPT_WHEN_POSSIBLE},
                                                  {"never", POLICY_ENCRYPT_NEVER},
                                                  {NULL, 0}};
    static const struct config_word signs[] = {{"always", POLICY_SIGN_ALWAYS},
                                               {"when-possible", POLICY_SIGN_WHEN_POSSIBLE},
                                               {"never", POLICY_SIGN_NEVER},
                                               {NULL, 0}};
    static const struct config_word mixes[] = {{"allow", 0}, {"refuse", 1}, {NULL, 0}};
    static const struct config_word truths[] = {{"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0}, {NULL, 0}};
    static const struct config_word replies_words[] = {{"required", 0}, {"as-rule", 1}, {NULL, 0}};
    int encrypt = POLICY_ENCRYPT_WHEN_POSSIBLE, sign = POLICY_SIGN_ALWAYS, mixed = 0, less = 0;
    enum err err = config_word(reader, section, "encrypt", encrypts, &encrypt);
    if (!err)
        err = config_word(reader, section, "sign", signs, &sign);
    if (!err)
        err = config_word(reader, section, "mixed", mixes, &mixed);
    if (!err)
        err = config_word(reader, section, "may_ask_less", truths, &less);
    /* Who says "never" has said so of replies, too. */
    int replies = encrypt == POLICY_ENCRYPT_NEVER;
    if (!err)
        err = config_word(reader, section, "replies", replies_words, &replies);
    rule->encrypt = (enum policy_encrypt)encrypt;
    rule->sign = (enum policy_sign)sign;
    rule->is_mixed_refused = mixed;
    rule->may_ask_less = less;
    rule->are_replies_as_rule = replies;
    return err;
}

enum err config_read_rules(struct config_reader *reader)
{
    struct policy *policy = &reader->config->policy;
    enum err err = ERR_OK;
    for (unsigned i = 0; !err && i < cfg_size(reader->root, "rule"); i++) {
        cfg_t *section = cfg_getnsec(reader->root, "rule", i);
        err = config_grow(&policy->rules, &policy->rules_len, sizeof *policy->rules);
        if (err)
            break;
        struct policy_rule *rule = &policy->rules[policy->rules_len - 1];
        if (!(rule->name = strdup(cfg_title(section))))
            err = ERR_MEMORY;
        if (!err)
            err = read_to(reader, section, rule);
        if (!err)
            err = read_choices(reader, section, rule);
        if (!err)
            err = read_trust(reader, section, rule);
        if (!err)
            err = read_formats(reader, section, rule);
    }
    return err;
}
