/*
 * revocation_dump ANCHORS OTHERS DEADLINE_MS [HOST ...]: reads names of certificates, one per line of standard input,
 * and prints for each what keyring_x509_explain says, its issuers asked (those of HOSTs may have private addresses),
 * and a line that ends it: "= SUM", the name of the error, "unknown" or "good". What is asked is kept between them. For
 * tests/interop/test_revocation.py.
 */
#include "base/log.h"
#include "keyring/revocation_ask.h"

#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct told {
    struct keyring_revocation revocations[KEYRING_CHAIN_MAX];
    size_t len;
    bool is_told;
};

static void on_asked(void *context, const struct keyring_asked *asked, size_t len)
{
    struct told *told = context;
    for (size_t i = 0; i < len; i++)
        told->revocations[i] = asked[i].revocation;
    told->len = len;
    told->is_told = true;
}

static STACK_OF(X509) * read_all(const char *path)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    FILE *file = fopen(path, "r");
    X509 *certificate;
    if (all == NULL || file == NULL)
        exit(3);
    while ((certificate = PEM_read_X509(file, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(all, certificate) <= 0)
            exit(3);
    (void)fclose(file);
    return all;
}

static const char *sum_of(const struct told *told)
{
    bool is_unknown;
    enum err err = keyring_revocation_sum(told->revocations, told->len, KEYRING_REVOCATION_SOFT, &is_unknown);
    return err != ERR_OK ? err_name(err) : is_unknown ? "unknown" : "good";
}

static void dump(const struct keyring_anchors *anchors, STACK_OF(X509) * others, struct keyring_asker *asker,
                 struct event_base *base, uint32_t deadline_ms, const char *path)
{
    STACK_OF(X509) *leaf = read_all(path), *found;
    struct told told = {.is_told = false};
    const int64_t now = (int64_t)time(NULL);
    enum keyring_chain chain;
    const char *reason;
    struct keyring_ask *ask;
    struct buf text;
    buf_init(&text, 65536);
    if (keyring_x509_chain(anchors, sk_X509_value(leaf, 0), others, KEYRING_SIGN, now, &chain, &reason, &found) !=
        ERR_OK)
        exit(3);
    if (chain == KEYRING_CHAIN_GOOD) {
        if (keyring_ask_begin(asker, found, now, now, deadline_ms, on_asked, &told, &ask) != ERR_OK)
            exit(3);
        while (!told.is_told)
            if (event_base_loop(base, EVLOOP_ONCE) != 0)
                exit(3);
    }
    if (keyring_x509_explain(chain, reason, found, told.is_told ? told.revocations : NULL, &text) != ERR_OK)
        exit(3);
    printf("%s= %s\n", text.data, chain == KEYRING_CHAIN_GOOD ? sum_of(&told) : "no chain");
    (void)fflush(stdout);
    buf_fini(&text);
    sk_X509_pop_free(found, X509_free);
    sk_X509_pop_free(leaf, X509_free);
}

int main(int argc, char **argv)
{
    struct keyring_anchors *anchors;
    struct keyring_asker *asker;
    char line[4096];
    log_init("revocation_dump", LOG_LEVEL_INFO);
    (void)signal(SIGPIPE, SIG_IGN);
    struct event_base *base = event_base_new();
    if (argc < 4 || base == NULL || keyring_anchors_open(argv[1], &anchors) != ERR_OK)
        return 3;
    STACK_OF(X509) *others = read_all(argv[2]);
    const uint32_t deadline_ms = (uint32_t)strtoul(argv[3], NULL, 10);
    const struct keyring_fetch_options options = {.base = base,
                                                  .hosts = (const char *const *)(argv + 4),
                                                  .hosts_len = (size_t)argc - 4,
                                                  .answer_max = KEYRING_ANSWER_MAX,
                                                  .timeout_ms = deadline_ms};
    if (keyring_asker_new(&options, &asker) != ERR_OK)
        return 3;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        dump(anchors, others, asker, base, deadline_ms, line);
    }
    keyring_asker_free(&asker);
    sk_X509_pop_free(others, X509_free);
    keyring_anchors_close(&anchors);
    event_base_free(base);
    return 0;
}
