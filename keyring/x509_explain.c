/*
 * A path and how its certificates stand, as lines for people.
 */
#include "keyring/revocation_internal.h"

#include "base/clock.h"

#include <openssl/err.h>

/* RFC 4514, control characters escaped, in UTF-8. */
static enum err add_name(const X509_NAME *name, struct buf *out)
{
    char *text = NULL;
    enum err err = ERR_MEMORY;
    BIO *target = BIO_new(BIO_s_mem());
    if (target != NULL &&
        X509_NAME_print_ex(target, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
        long len = BIO_get_mem_data(target, &text);
        err = len > 0 ? buf_add(out, text, (size_t)len) : buf_add_string(out, "(without a name)");
    }
    BIO_free(target);
    ERR_clear_error();
    return err;
}

static enum err add_certificate(const X509 *certificate, size_t number, struct buf *out)
{
    char from[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];
    clock_format(revocation_seconds(X509_get0_notBefore(certificate)), from);
    clock_format(revocation_seconds(X509_get0_notAfter(certificate)), until);
    enum err err = buf_addf(out, "%zu: ", number);
    if (err == ERR_OK)
        err = add_name(X509_get_subject_name(certificate), out);
    if (err == ERR_OK)
        err = buf_add_string(out, "\n   issued by ");
    if (err == ERR_OK)
        err = add_name(X509_get_issuer_name(certificate), out);
    return err == ERR_OK ? buf_addf(out, "\n   valid from %s until %s\n", from, until) : err;
}

static enum err add_revocation(const struct keyring_revocation *revocation, struct buf *out)
{
    char since[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];
    clock_format(revocation->since, since);
    clock_format(revocation->until, until);
    switch (revocation->state) {
    case KEYRING_REVOCATION_REVOKED:
        return buf_addf(out, "   revoked since %s: %s\n", since, revocation->reason);
    case KEYRING_REVOCATION_GOOD:
        if (revocation->since != 0)
            return buf_addf(out, "   not revoked then; revoked since %s: %s\n", since, revocation->reason);
        return buf_addf(out, "   not revoked; its issuer's word counts until %s\n", until);
    default:
        return buf_addf(out, "   not known whether it has been revoked: %s\n", revocation->reason);
    }
}

enum err keyring_x509_explain(enum keyring_chain chain, const char *reason, STACK_OF(X509) * path,
                              const struct keyring_revocation *revocations, struct buf *out)
{
    static const char *const verdicts[] = {[KEYRING_CHAIN_UNTRUSTED] = "leads to no trust anchor",
                                           [KEYRING_CHAIN_UNFIT] = "is not for this purpose",
                                           [KEYRING_CHAIN_WEAK] = "is too weak",
                                           [KEYRING_CHAIN_EXPIRED] = "is not valid now",
                                           [KEYRING_CHAIN_GOOD] = "leads to a trust anchor"};
    enum err err = buf_addf(out, "the certificate %s", verdicts[chain]);
    if (err == ERR_OK)
        err = chain == KEYRING_CHAIN_GOOD ? buf_add_byte(out, '\n') : buf_addf(out, " (%s)\n", reason);
    for (int i = 0; err == ERR_OK && i < sk_X509_num(path); i++) {
        const bool is_last = i + 1 == sk_X509_num(path);
        err = add_certificate(sk_X509_value(path, i), (size_t)i + 1, out);
        if (err == ERR_OK && is_last && chain != KEYRING_CHAIN_UNTRUSTED)
            err = buf_add_string(out, "   a trust anchor\n");
        if (err == ERR_OK && !is_last && revocations != NULL)
            err = add_revocation(&revocations[i], out);
    }
    return err;
}
