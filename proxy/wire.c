#include "proxy/wire.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMIME_OPAQUE = 1, SMIME_PSS = 2, SMIME_OAEP = 4, SMIME_COMPRESSED = 8, SMIME_ALL = 15 };

static void put_smime(struct ipc_out *out, const struct crypto_smime *smime)
{
    ipc_put_u32(out, (smime->is_opaque ? SMIME_OPAQUE : 0u) | (smime->is_pss ? SMIME_PSS : 0u) |
                         (smime->is_oaep ? SMIME_OAEP : 0u) | (smime->is_compressed ? SMIME_COMPRESSED : 0u));
    ipc_put_u32(out, smime->content);
}

static bool get_smime(struct ipc_in *in, struct crypto_smime *smime)
{
    uint32_t flags = ipc_get_u32(in), content = ipc_get_u32(in);
    if (flags > SMIME_ALL || content > CRYPTO_SMIME_CBC)
        return false;
    smime->is_opaque = (flags & SMIME_OPAQUE) != 0;
    smime->is_pss = (flags & SMIME_PSS) != 0;
    smime->is_oaep = (flags & SMIME_OAEP) != 0;
    smime->is_compressed = (flags & SMIME_COMPRESSED) != 0;
    smime->content = (enum crypto_smime_content)content;
    return true;
}

void proxy_put_setup(struct ipc_out *out, const struct proxy_keeper_setup *setup)
{
    ipc_out_begin(out, PROXY_KEEPER_SETUP);
    ipc_put_string(out, setup->account);
    ipc_put_string(out, setup->home);
    ipc_put_string(out, setup->wrapper);
    ipc_put_string(out, setup->key_cache);
    ipc_put_string(out, setup->user);
    ipc_put_string(out, setup->smime_ca);
    ipc_put_string(out, setup->pkcs11_module);
    ipc_put_string(out, setup->pkcs11_dir);
    ipc_put_string(out, setup->authserv_id);
    ipc_put_string(out, setup->certificates);
    ipc_put_u32(out, setup->addresses_len);
    for (uint32_t i = 0; i < setup->addresses_len; i++)
        ipc_put_string(out, setup->addresses[i]);
    put_smime(out, &setup->smime);
    ipc_put_u32(out, setup->log_level);
    ipc_put_u32(out, setup->is_own_home);
    ipc_put_u64(out, setup->output_max);
    ipc_put_u64(out, setup->memory_max);
    ipc_put_u32(out, setup->hidden_len);
    for (uint32_t i = 0; i < setup->hidden_len; i++)
        ipc_put_string(out, setup->hidden[i]);
    ipc_put_u32(out, setup->revocation);
    ipc_put_u32(out, setup->vault >= 0);
    if (setup->vault >= 0)
        ipc_put_file(out, setup->vault);
    ipc_put_u32(out, setup->finder >= 0);
    if (setup->finder >= 0)
        ipc_put_file(out, setup->finder);
}

enum err proxy_get_setup(struct ipc_in *in, struct proxy_keeper_setup *setup)
{
    memset(setup, 0, sizeof(*setup));
    setup->vault = setup->finder = -1;
    if (ipc_type(in) != PROXY_KEEPER_SETUP)
        return ERR_PEER_PROTOCOL;
    ipc_get_string(in, setup->account, sizeof(setup->account));
    ipc_get_string(in, setup->home, sizeof(setup->home));
    ipc_get_string(in, setup->wrapper, sizeof(setup->wrapper));
    ipc_get_string(in, setup->key_cache, sizeof(setup->key_cache));
    ipc_get_string(in, setup->user, sizeof(setup->user));
    ipc_get_string(in, setup->smime_ca, sizeof(setup->smime_ca));
    ipc_get_string(in, setup->pkcs11_module, sizeof(setup->pkcs11_module));
    ipc_get_string(in, setup->pkcs11_dir, sizeof(setup->pkcs11_dir));
    ipc_get_string(in, setup->authserv_id, sizeof(setup->authserv_id));
    ipc_get_string(in, setup->certificates, sizeof(setup->certificates));
    setup->addresses_len = ipc_get_u32(in);
    if (setup->addresses_len > PROXY_ADDRESSES_MAX)
        return ERR_PEER_PROTOCOL;
    for (uint32_t i = 0; i < setup->addresses_len; i++)
        ipc_get_string(in, setup->addresses[i], sizeof(setup->addresses[i]));
    if (!get_smime(in, &setup->smime))
        return ERR_PEER_PROTOCOL;
    setup->log_level = ipc_get_u32(in);
    setup->is_own_home = ipc_get_u32(in);
    setup->output_max = ipc_get_u64(in);
    setup->memory_max = ipc_get_u64(in);
    setup->hidden_len = ipc_get_u32(in);
    if (setup->hidden_len > PROXY_DIRS_MAX)
        return ERR_PEER_PROTOCOL;
    for (uint32_t i = 0; i < setup->hidden_len; i++)
        ipc_get_string(in, setup->hidden[i], sizeof(setup->hidden[i]));
    setup->revocation = ipc_get_u32(in);
    if (ipc_get_u32(in) != 0)
        setup->vault = ipc_get_file(in);
    if (ipc_get_u32(in) != 0)
        setup->finder = ipc_get_file(in);
    enum err err = ipc_in_end(in);
    if (err == ERR_OK && setup->revocation > KEYRING_REVOCATION_HARD)
        err = ERR_PEER_PROTOCOL;
    if (err != ERR_OK && setup->vault >= 0)
        close(setup->vault);
    if (err != ERR_OK && setup->finder >= 0)
        close(setup->finder);
    if (err != ERR_OK)
        setup->vault = setup->finder = -1;
    return err;
}

void proxy_put_kept(struct ipc_out *out, const struct store_kept *kept)
{
    ipc_put_u32(out, (uint32_t)kept->wrap);
    ipc_put_string(out, kept->holder);
    ipc_put_u32(out, kept->is_open);
}

void proxy_get_kept(struct ipc_in *in, struct store_kept *kept)
{
    const uint32_t wrap = ipc_get_u32(in);
    *kept = (struct store_kept){.wrap = (enum store_wrap)wrap};
    ipc_get_string(in, kept->holder, sizeof(kept->holder));
    kept->is_open = ipc_get_u32(in) != 0;
    if (wrap >= STORE_WRAP_COUNT)
        in->err = ERR_PEER_PROTOCOL;
}

struct span proxy_get_message_ids(struct ipc_in *in)
{
    struct span ids = ipc_get_span(in);
    if (crypto_message_ids_is(ids))
        return ids;
    in->err = ERR_PEER_PROTOCOL;
    return SPAN_NONE;
}

/* The bits of a crypto_facts that are yes or no. */
enum { FACT_WANTS_ENCRYPTION = 1, FACT_WANTS_PLAIN = 2, FACT_8BIT = 4, FACT_8BIT_HEADER = 8 };

void proxy_put_facts(struct ipc_out *out, const struct crypto_facts *facts, const bool *is_visible,
                     size_t recipients_len)
{
    char visible[CRYPTO_RECIPIENTS_MAX];
    uint32_t bits = (facts->wants_encryption ? FACT_WANTS_ENCRYPTION : 0u) |
                    (facts->wants_plain ? FACT_WANTS_PLAIN : 0u) | (facts->is_8bit ? FACT_8BIT : 0u) |
                    (facts->has_8bit_header ? FACT_8BIT_HEADER : 0u);
    ipc_put_u64(out, facts->from_len);
    ipc_put_string(out, facts->from);
    ipc_put_string(out, facts->message_id);
    ipc_put_span(out, (struct span){(const char *)facts->digest, sizeof(facts->digest)});
    ipc_put_u32(out, (uint32_t)facts->sealed);
    ipc_put_u32(out, bits);
    for (size_t i = 0; i < recipients_len && i < sizeof(visible); i++)
        visible[i] = is_visible[i] ? 'y' : 'n';
    ipc_put_span(out, (struct span){visible, recipients_len});
    ipc_put_span(out, crypto_message_ids_span(&facts->answered));
}

void proxy_get_facts(struct ipc_in *in, struct crypto_facts *facts, bool *is_visible, size_t recipients_len)
{
    memset(facts, 0, sizeof(*facts));
    facts->from_len = ipc_get_u64(in);
    ipc_get_string(in, facts->from, sizeof(facts->from));
    ipc_get_string(in, facts->message_id, sizeof(facts->message_id));
    struct span digest = ipc_get_span(in);
    uint32_t sealed = ipc_get_u32(in);
    uint32_t bits = ipc_get_u32(in);
    struct span visible = ipc_get_span(in);
    struct span answered = ipc_get_span(in);
    if (digest.len != sizeof(facts->digest) || sealed > CRYPTO_SEALED_SMIME || visible.len != recipients_len ||
        !crypto_message_ids_load(answered, &facts->answered)) {
        in->err = ERR_PEER_PROTOCOL;
        return;
    }
    memcpy(facts->digest, digest.ptr, digest.len);
    facts->sealed = (enum crypto_sealed)sealed;
    facts->wants_encryption = (bits & FACT_WANTS_ENCRYPTION) != 0;
    facts->wants_plain = (bits & FACT_WANTS_PLAIN) != 0;
    facts->is_8bit = (bits & FACT_8BIT) != 0;
    facts->has_8bit_header = (bits & FACT_8BIT_HEADER) != 0;
    for (size_t i = 0; i < recipients_len; i++)
        is_visible[i] = visible.ptr[i] == 'y';
}

static void put_announced(struct ipc_out *out, const struct crypto_announced *announced)
{
    ipc_put_string(out, announced->address);
    ipc_put_string(out, announced->fingerprint);
}

static void get_announced(struct ipc_in *in, struct crypto_announced *announced_out)
{
    ipc_get_string(in, announced_out->address, sizeof(announced_out->address));
    ipc_get_string(in, announced_out->fingerprint, sizeof(announced_out->fingerprint));
}

void proxy_put_seal(struct ipc_out *out, const struct crypto_seal_request *request)
{
    ipc_put_u32(out, (uint32_t)request->action);
    ipc_put_u32(out, (uint32_t)request->format);
    ipc_put_string(out, request->signer);
    ipc_put_u32(out, request->wants_7bit);
    ipc_put_string(out, request->subject_tag);
    put_announced(out, &request->autocrypt);
    ipc_put_u32(out, request->is_mutual);
    ipc_put_u32(out, (uint32_t)request->recipients_len);
    for (size_t i = 0; i < request->recipients_len; i++)
        ipc_put_string(out, request->recipients[i]);
    ipc_put_u32(out, (uint32_t)request->gossip_len);
    for (size_t i = 0; i < request->gossip_len; i++)
        put_announced(out, &request->gossip[i]);
}

static enum err get_recipients(struct ipc_in *in, struct crypto_seal_request *request, struct proxy_seal_lists *lists)
{
    uint32_t len = ipc_get_u32(in);
    if (len > CRYPTO_RECIPIENTS_MAX + 1)
        return ERR_PEER_PROTOCOL;
    lists->recipients = calloc(len + 1u, sizeof(*lists->recipients));
    if (lists->recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < len; i++)
        ipc_get_string(in, lists->recipients[i], sizeof(lists->recipients[i]));
    request->recipients = (const char(*)[KEYRING_FPR_SIZE])lists->recipients;
    request->recipients_len = len;
    return ERR_OK;
}

static enum err get_gossip(struct ipc_in *in, struct crypto_seal_request *request, struct proxy_seal_lists *lists)
{
    uint32_t len = ipc_get_u32(in);
    if (len > CRYPTO_GOSSIP_MAX)
        return ERR_PEER_PROTOCOL;
    lists->gossip = calloc(len + 1u, sizeof(*lists->gossip));
    if (lists->gossip == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < len; i++)
        get_announced(in, &lists->gossip[i]);
    request->gossip = lists->gossip;
    request->gossip_len = len;
    return ERR_OK;
}

enum err proxy_get_seal(struct ipc_in *in, struct crypto_seal_request *request, struct proxy_seal_lists *lists)
{
    memset(request, 0, sizeof(*request));
    memset(lists, 0, sizeof(*lists));
    uint32_t action = ipc_get_u32(in);
    uint32_t format = ipc_get_u32(in);
    ipc_get_string(in, request->signer, sizeof(request->signer));
    request->wants_7bit = ipc_get_u32(in) != 0;
    ipc_get_string(in, lists->subject_tag, sizeof(lists->subject_tag));
    get_announced(in, &request->autocrypt);
    request->is_mutual = ipc_get_u32(in) != 0;
    if (action > CRYPTO_SEAL_PASS || (format != 0 && format != KEYRING_OPENPGP && format != KEYRING_SMIME))
        return ERR_PEER_PROTOCOL;
    request->subject_tag = lists->subject_tag;
    enum err err = get_recipients(in, request, lists);
    if (err == ERR_OK)
        err = get_gossip(in, request, lists);
    if (err != ERR_OK)
        return err;
    request->action = (enum crypto_seal_action)action;
    request->format = (enum keyring_format)format;
    return ERR_OK;
}

void proxy_seal_lists_fini(struct proxy_seal_lists *lists)
{
    free(lists->recipients);
    free(lists->gossip);
}

void proxy_put_delivery(struct ipc_out *out, const struct store_delivery_key *key)
{
    ipc_put_string(out, key->account);
    ipc_put_string(out, key->message_id);
    ipc_put_span(out, (struct span){(const char *)key->digest, sizeof(key->digest)});
}

void proxy_get_delivery(struct ipc_in *in, char account[MIME_ADDR_SIZE], char message_id[CRYPTO_MESSAGE_ID_SIZE],
                        struct store_delivery_key *key)
{
    ipc_get_string(in, account, MIME_ADDR_SIZE);
    ipc_get_string(in, message_id, CRYPTO_MESSAGE_ID_SIZE);
    struct span digest = ipc_get_span(in);
    memset(key, 0, sizeof(*key));
    key->account = account;
    key->message_id = message_id;
    if (digest.len == sizeof(key->digest))
        memcpy(key->digest, digest.ptr, digest.len);
    else
        in->err = ERR_PEER_PROTOCOL;
}

void proxy_put_open(struct ipc_out *out, const struct proxy_open_request *request)
{
    ipc_put_u64(out, request->index_number);
    ipc_put_u32(out, request->wants_record);
    ipc_put_span(out, request->decision);
    ipc_put_span(out, request->session_keys);
}

void proxy_get_open(struct ipc_in *in, struct proxy_open_request *request)
{
    request->index_number = ipc_get_u64(in);
    request->wants_record = ipc_get_u32(in) != 0;
    request->decision = ipc_get_span(in);
    request->session_keys = ipc_get_span(in);
}

void proxy_put_opened(struct ipc_out *out, const struct proxy_open_answer *answer)
{
    ipc_put_u32(out, answer->is_plain);
    ipc_put_span(out, answer->decision);
    ipc_put_span(out, answer->session_keys);
    ipc_put_span(out, answer->encrypted_ids);
    ipc_put_u32(out, answer->has_heard);
}

void proxy_get_opened(struct ipc_in *in, struct proxy_open_answer *answer)
{
    answer->is_plain = ipc_get_u32(in) != 0;
    answer->decision = ipc_get_span(in);
    answer->session_keys = ipc_get_span(in);
    answer->encrypted_ids = proxy_get_message_ids(in);
    answer->has_heard = ipc_get_u32(in) != 0;
}

void proxy_put_tellers(struct ipc_out *out, const struct keyring_teller *tellers, size_t len)
{
    ipc_put_u32(out, (uint32_t)len);
    for (size_t i = 0; i < len; i++) {
        ipc_put_u32(out, tellers[i].source);
        ipc_put_string(out, tellers[i].title);
        ipc_put_u32(out, tellers[i].is_believed);
        ipc_put_u32(out, tellers[i].seconds);
    }
}

size_t proxy_get_tellers(struct ipc_in *in, struct keyring_teller *tellers)
{
    const uint32_t len = ipc_get_u32(in);
    if (in->err == ERR_OK && len > KEYRING_TELLERS_MAX)
        in->err = ERR_PEER_PROTOCOL;
    for (uint32_t i = 0; i < len && in->err == ERR_OK; i++) {
        const uint32_t source = ipc_get_u32(in);
        ipc_get_string(in, tellers[i].title, sizeof(tellers[i].title));
        const uint32_t is_believed = ipc_get_u32(in);
        if (in->err == ERR_OK && (source >= KEYRING_SOURCE_COUNT || is_believed > 1))
            in->err = ERR_PEER_PROTOCOL;
        tellers[i].source = (enum keyring_source)source;
        tellers[i].is_believed = is_believed != 0;
        tellers[i].seconds = ipc_get_u32(in);
    }
    return in->err == ERR_OK ? len : 0;
}
