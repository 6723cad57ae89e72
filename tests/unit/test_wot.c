/* The web of trust: circles, depth, limits, paths, domains; the listing and the filter it is read by. */
#include "keyring/wot.h"
#include "keyring/wot_filter.h"
#include "keyring/wot_listing.h"
#include "tests/unit/failing_malloc.h"

#include <stdio.h>
#include <string.h>

#define NOW 1000000
static const char fingerprint_form[] = "%040X";

static void add_key(struct keyring_wot *wot, unsigned number, enum keyring_wot_trust owner)
{
    struct keyring_wot_key key = {.created = 1, .ownertrust = owner};
    const struct keyring_wot_user_id user_id = {.text = "Somebody <somebody@example.org>"};
    (void)snprintf(key.fingerprint, sizeof key.fingerprint, fingerprint_form, number);
    assert_int_equal(keyring_wot_add_key(wot, &key), ERR_OK);
    assert_int_equal(keyring_wot_add_user_id(wot, &user_id), ERR_OK);
}

/* On the key that was added last. */
static void add_signed_by(struct keyring_wot *wot, unsigned signer, unsigned level)
{
    const struct keyring_wot_certification it = {.issuer = signer, .level = level, .made = 10};
    assert_int_equal(keyring_wot_add_certification(wot, &it), ERR_OK);
}

static enum keyring_wot_trust validity(const struct keyring_wot *wot, size_t key)
{
    return keyring_wot_user_id(wot, keyring_wot_key(wot, key)->user_ids_first)->validity;
}

static struct keyring_wot *begin(void)
{
    struct keyring_wot *wot;
    assert_int_equal(keyring_wot_new(NULL, &wot), ERR_OK);
    return wot;
}

static void circles_have_an_end(void **state)
{
    (void)state;
    struct keyring_wot *wot = begin();
    struct keyring_wot_path path;
    add_key(wot, 1, KEYRING_WOT_ULTIMATE);
    add_signed_by(wot, 3, 0);
    add_key(wot, 2, KEYRING_WOT_FULL);
    add_signed_by(wot, 3, 3);
    add_signed_by(wot, 1, 0);
    add_key(wot, 3, KEYRING_WOT_FULL);
    add_signed_by(wot, 2, 0);
    add_key(wot, 4, KEYRING_WOT_FULL); /* two that only certify each other */
    add_signed_by(wot, 5, 0);
    add_key(wot, 5, KEYRING_WOT_FULL);
    add_signed_by(wot, 4, 0);
    assert_int_equal(keyring_wot_judge(wot, NOW), ERR_OK);
    assert_int_equal(validity(wot, 0), KEYRING_WOT_ULTIMATE);
    assert_int_equal(validity(wot, 2), KEYRING_WOT_FULL);
    assert_int_equal(validity(wot, 3), KEYRING_WOT_UNKNOWN);
    assert_int_equal(keyring_wot_path(wot, 2, &path), ERR_OK);
    assert_int_equal(path.len, 2);
    assert_int_equal(keyring_wot_certification(wot, path.certifications[0])->signer, 0);
    assert_int_equal(keyring_wot_certification(wot, path.certifications[1])->signer, 1);
    keyring_wot_free(&wot);
}

static void depth_is_limited(void **state)
{
    (void)state;
    struct keyring_wot *wot = begin();
    struct keyring_wot_path path;
    add_key(wot, 1, KEYRING_WOT_ULTIMATE);
    for (unsigned i = 2; i < 9; i++) {
        add_key(wot, i, KEYRING_WOT_FULL);
        add_signed_by(wot, i - 1, 0);
    }
    assert_int_equal(keyring_wot_judge(wot, NOW), ERR_OK);
    for (size_t i = 1; i < 8; i++) {
        assert_int_equal(validity(wot, i), i <= 5 ? KEYRING_WOT_FULL : KEYRING_WOT_UNKNOWN);
        assert_int_equal(keyring_wot_path(wot, i, &path), ERR_OK);
        assert_int_equal(path.len, i <= 5 ? i : 0);
    }
    keyring_wot_free(&wot);
}

/* Three of them make it full; the path shows each, with its own way. */
static void marginal_words_add_up(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= 4; count++) {
        struct keyring_wot *wot = begin();
        struct keyring_wot_path path;
        add_key(wot, 1, KEYRING_WOT_ULTIMATE);
        for (unsigned i = 0; i < count; i++) {
            add_key(wot, 10 + i, KEYRING_WOT_MARGINAL);
            add_signed_by(wot, 1, 0);
        }
        add_key(wot, 99, KEYRING_WOT_UNKNOWN);
        for (unsigned i = 0; i < count; i++)
            add_signed_by(wot, 10 + i, 2);
        assert_int_equal(keyring_wot_judge(wot, NOW), ERR_OK);
        assert_int_equal(validity(wot, count + 1), count >= 3 ? KEYRING_WOT_FULL : KEYRING_WOT_MARGINAL);
        assert_int_equal(keyring_wot_path(wot, count + 1, &path), ERR_OK);
        assert_int_equal(path.len, (size_t)2 * count);
        keyring_wot_free(&wot);
    }
}

/* The same certifications in another order give the same step: the higher level, then the older, then the smaller
   fingerprint. */
static void best_step_does_not_depend_on_the_order(void **state)
{
    (void)state;
    static const unsigned orders[][3] = {{2, 3, 4}, {4, 3, 2}, {3, 2, 4}};
    for (size_t i = 0; i < 3; i++) {
        struct keyring_wot *wot = begin();
        struct keyring_wot_path path;
        add_key(wot, 2, KEYRING_WOT_ULTIMATE);
        add_key(wot, 3, KEYRING_WOT_ULTIMATE);
        add_key(wot, 4, KEYRING_WOT_ULTIMATE);
        add_key(wot, 9, KEYRING_WOT_UNKNOWN);
        for (size_t j = 0; j < 3; j++)
            add_signed_by(wot, orders[i][j], orders[i][j] == 2 ? 2 : 3);
        assert_int_equal(keyring_wot_judge(wot, NOW), ERR_OK);
        assert_int_equal(keyring_wot_path(wot, 3, &path), ERR_OK);
        assert_int_equal(path.len, 1);
        assert_int_equal(keyring_wot_certification(wot, path.certifications[0])->signer, 1);
        keyring_wot_free(&wot);
    }
}

static void judged_again_for_another_time(void **state)
{
    (void)state;
    struct keyring_wot *wot = begin();
    add_key(wot, 1, KEYRING_WOT_ULTIMATE);
    add_key(wot, 2, KEYRING_WOT_UNKNOWN);
    const struct keyring_wot_certification first = {.issuer = 1, .made = 10, .expires = 100},
                                           revocation = {.issuer = 1, .made = 200, .is_revocation = true};
    assert_int_equal(keyring_wot_add_certification(wot, &first), ERR_OK);
    assert_int_equal(keyring_wot_judge(wot, 99), ERR_OK);
    assert_int_equal(validity(wot, 1), KEYRING_WOT_FULL);
    assert_int_equal(keyring_wot_judge(wot, 100), ERR_OK);
    assert_int_equal(validity(wot, 1), KEYRING_WOT_UNKNOWN);
    assert_int_equal(keyring_wot_certification(wot, 0)->state, KEYRING_WOT_EXPIRED);
    assert_int_equal(keyring_wot_add_certification(wot, &revocation), ERR_OK);
    assert_int_equal(keyring_wot_judge(wot, 99), ERR_OK);
    assert_int_equal(keyring_wot_certification(wot, 0)->state, KEYRING_WOT_REVOKED);
    keyring_wot_free(&wot);
}

static void a_full_graph_takes_no_more_and_counts_it(void **state)
{
    (void)state;
    struct keyring_wot *wot = begin();
    const struct keyring_wot_certification it = {.issuer = 1};
    assert_int_equal(keyring_wot_add_certification(wot, &it), ERR_INTERNAL);
    add_key(wot, 1, KEYRING_WOT_ULTIMATE);
    for (size_t i = 0; i < KEYRING_WOT_CERTIFICATIONS_MAX; i++)
        assert_int_equal(keyring_wot_add_certification(wot, &it), ERR_OK);
    assert_int_equal(keyring_wot_add_certification(wot, &it), ERR_LIMIT);
    assert_int_equal(keyring_wot_left_out(wot), 1);
    keyring_wot_free(&wot);
}

static void domains_are_two_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *domain, *user_id;
        bool is_in;
    } cases[] = {{"<[^>]+[@.]example\\.org>$", "A <a@example.org>", true},
                 {"<[^>]+[@.]example\\.org>$", "A <a@SUB.example.ORG>", true},
                 {"<[^>]+[@.]example\\.org>$", "A <a@badexample.org>", false},
                 {"<[^>]+[@.]example\\.org>$", "A <a@example.org> x", false},
                 {"<[^>]+[@.]example\\.org>$", "A <@example.org>", false},
                 {"<[^>]+[@.]example\\.org>$", "A <a@exampleXorg>", false},
                 {"<[^>]+[@.]example\\.org>$", "example.org", false},
                 {"<[^>]+[@.]example\\.org>$", "A <b> a@example.org>", false},
                 {"example.org", "A <a@exampleXorg>", true},
                 {"(a|b)+", "A (a|b)+ <x@y>", true},
                 {"(a|b)+", "aaa", false},
                 {"", "whatever", true},
                 {"long", "lon", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(keyring_wot_is_in_domain(cases[i].domain, cases[i].user_id), cases[i].is_in);
}

static const char listing[] = ("tru::1:0:0:3:1:5\n"
                               "pub:u:255:22:0000000000000001:5:::u:::scSC:::::ed25519:::0:\n"
                               "fpr:::::::::0000000000000000000000000000000000000001:\n"
                               "uid:u::::5::X::Me\\x3a <me@example.org>::::::::::0:\n"
                               "pub:f:255:22:0000000000000002:6:900::-:::scSC:::::ed25519:::0:\n"
                               "fpr:::::::::0000000000000000000000000000000000000002:\n"
                               "uid:f::::6::X::You <you@example.org>::::::::::0:\n"
                               "sig:!::22:0000000000000002:6:::::13x:::::8:\n"
                               "sig:!::22:0000000000000001:7:800:2 120:example.org::12l:::::8:\n"
                               "spk:7:1:1:%00\n"
                               "sig:-::22:0000000000000001:8:::::13x:::::8:\n"
                               "sig:?::22:0000000000000003:8:::::13x:::::8:\n"
                               "sub:f:255:18:0000000000000009:6::::::e:::::cv25519:::0:\n"
                               "fpr:::::::::0000000000000000000000000000000000000009:\n"
                               "sig:!::22:0000000000000001:7:::::18x:::::8:\n");
static const char owners_text[] = "# made\n0000000000000000000000000000000000000001:6:\n"
                                  "0000000000000000000000000000000000000002:132:\n";

static bool read_listing(void *context)
{
    struct keyring_wot_owner *owners;
    struct keyring_wot *wot;
    size_t owners_len;
    bool is_right = false;
    (void)context;
    if (keyring_wot_new(NULL, &wot) != ERR_OK)
        return false;
    if (keyring_wot_read_owners(SPAN_LIT(owners_text), &owners, &owners_len) == ERR_OK) {
        if (keyring_wot_read_listing(SPAN_LIT(listing), owners, owners_len, wot) == ERR_OK &&
            keyring_wot_judge(wot, NOW / 10000) == ERR_OK) {
            struct keyring_wot_path path;
            const struct keyring_wot_certification *it = keyring_wot_certification(wot, 0);
            is_right = keyring_wot_path(wot, 1, &path) == ERR_OK;
            assert_true(!is_right || path.len == 1);
            assert_int_equal(keyring_wot_certifications_len(wot), 1);
            assert_int_equal(it->level, 2);
            assert_true(it->is_local && it->is_irrevocable && it->depth == 2 && it->amount == 120);
            assert_int_equal(it->made, 7);
            assert_int_equal(it->expires, 800);
            assert_string_equal(it->domain, "example.org");
            assert_string_equal(keyring_wot_user_id(wot, 0)->text, "Me: <me@example.org>");
            assert_int_equal(keyring_wot_key(wot, 1)->ownertrust, KEYRING_WOT_MARGINAL);
            assert_true(keyring_wot_key(wot, 1)->is_disabled);
            assert_int_equal(keyring_wot_key(wot, 1)->expires, 900);
        }
        free(owners);
    }
    keyring_wot_free(&wot);
    return is_right;
}

static void listing_is_read(void **state)
{
    (void)state;
    assert_true(read_listing(NULL));
}

static void memory_that_is_short_gives_nothing_wrong(void **state)
{
    (void)state;
#ifdef FAILING_MALLOC_IS_OFF
    skip();
#else
    failing_malloc_run(read_listing, NULL);
#endif
}

/* Two keys of version 4; the first has certified the second, as has one that is not here. */
static void add_packet(struct buf *ring, unsigned tag, const char *body, size_t len)
{
    assert_int_equal(buf_addf(ring, "%c%c", (int)(0xC0 | tag), (int)len), ERR_OK);
    assert_int_equal(buf_add(ring, body, len), ERR_OK);
}

static void add_signature(struct buf *ring, uint64_t issuer)
{
    char body[] = "\x04\x10\x16\x08\0\x06\x05\x02\0\0\0\x01\0\x0a\x09\x10........\0\0\0\x01\x01\0\x01\x01";
    for (size_t i = 0; i < 8; i++)
        body[16 + i] = (char)(issuer >> (56 - 8 * i));
    add_packet(ring, 2, body, sizeof body - 1);
}

static void make_ring(struct buf *ring, struct keyring *keyring, struct keyring_entry entries[2])
{
    static const char *const bodies[2] = {"\x04\x01\x01\x01\x01\x16one", "\x04\x01\x01\x01\x01\x16two"};
    /* SHA-1 of 0x99, the length, and the body. */
    static const char *const fingerprints[2] = {"E094795375D1211EFA877DE3F81D8170587E8F2C",
                                                "0D3ADA511200E303785BF03AA42C81CE6FC03D40"};
    for (size_t i = 0; i < 2; i++) {
        entries[i] = (struct keyring_entry){.format = KEYRING_OPENPGP};
        (void)snprintf(entries[i].fingerprint, KEYRING_FPR_SIZE, "%s", fingerprints[i]);
        assert_int_equal(keyring_add(keyring, &entries[i]), ERR_OK);
    }
    const uint64_t first = strtoull(fingerprints[0] + 24, NULL, 16), second = strtoull(fingerprints[1] + 24, NULL, 16);
    add_packet(ring, 6, bodies[0], 9);
    add_packet(ring, 13, "a", 1);
    add_signature(ring, first);
    add_packet(ring, 6, bodies[1], 9);
    add_packet(ring, 13, "b", 1);
    add_signature(ring, second);
    for (size_t i = 0; i < 20; i++)
        add_signature(ring, first);
    add_signature(ring, 77);
    add_packet(ring, 14, bodies[0], 9);
    add_signature(ring, first);
}

static enum err note_kept(struct span packets, void *context)
{
    struct buf *kept = context;
    return buf_add_span(kept, packets);
}

struct filtering {
    struct span ring;
    struct keyring *keyring;
    size_t step;
    const char *first, *second;
};

static bool filter(void *context)
{
    const struct filtering *how = context;
    struct keyring_wot_filter *filter;
    struct buf kept;
    bool is_right = false;
    buf_init(&kept, 65536);
    enum err err = keyring_wot_filter_new(how->keyring, note_kept, &kept, &filter);
    for (size_t at = 0; err == ERR_OK && at < how->ring.len; at += how->step)
        err = keyring_wot_filter_feed(filter, span_slice(how->ring, at, at + how->step));
    if (err == ERR_OK)
        err = keyring_wot_filter_end(filter);
    assert_true(err == ERR_OK || err == ERR_MEMORY || err == ERR_ENGINE); /* OpenSSL does not say which */
    if (err == ERR_OK) {
        size_t at = 0;
        is_right = true;
        /* The second key: its head, its user ID, its own signature, 16 by the first. */
        assert_int_equal(kept.len, 11 + 3 + 17 * (2 + 32));
        assert_int_equal(keyring_wot_filter_left_out(filter), 4);
        assert_int_equal(keyring_wot_filter_strangers(filter, how->second), 1);
        assert_string_equal(keyring_wot_filter_missing(filter, &at), how->first);
        assert_null(keyring_wot_filter_missing(filter, &at));
    }
    keyring_wot_filter_free(&filter);
    buf_fini(&kept);
    return is_right;
}

static void filter_keeps_what_counts(void **state)
{
    (void)state;
    struct keyring_entry entries[2];
    struct filtering how = {.keyring = NULL};
    struct buf ring;
    buf_init(&ring, 65536);
    assert_int_equal(keyring_new(&how.keyring), ERR_OK);
    make_ring(&ring, how.keyring, entries);
    how.first = entries[0].fingerprint;
    how.second = entries[1].fingerprint;
    how.ring = buf_span(&ring);
    static const size_t steps[] = {1, 2, 7, 65536};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        how.step = steps[i];
        assert_true(filter(&how));
    }
#ifndef FAILING_MALLOC_IS_OFF
    failing_malloc_run(filter, &how);
#endif
    struct keyring_wot_filter *cut;
    struct buf kept;
    buf_init(&kept, 65536);
    assert_int_equal(keyring_wot_filter_new(how.keyring, note_kept, &kept, &cut), ERR_OK);
    assert_int_equal(keyring_wot_filter_feed(cut, span_slice(how.ring, 0, how.ring.len - 1)), ERR_OK);
    assert_int_equal(keyring_wot_filter_end(cut), ERR_MALFORMED);
    keyring_wot_filter_free(&cut);
    assert_int_equal(keyring_wot_filter_new(how.keyring, note_kept, &kept, &cut), ERR_OK);
    assert_int_equal(keyring_wot_filter_feed(cut, SPAN_LIT("no packet")), ERR_MALFORMED);
    assert_int_equal(keyring_wot_filter_feed(cut, how.ring), ERR_MALFORMED);
    keyring_wot_filter_free(&cut);
    buf_fini(&kept);
    keyring_free(&how.keyring);
    buf_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(circles_have_an_end),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(marginal_words_add_up),
        cmocka_unit_test(best_step_does_not_depend_on_the_order),
        cmocka_unit_test(judged_again_for_another_time),
        cmocka_unit_test(a_full_graph_takes_no_more_and_counts_it),
        cmocka_unit_test(domains_are_two_shapes),
        cmocka_unit_test(listing_is_read),
        cmocka_unit_test(memory_that_is_short_gives_nothing_wrong),
        cmocka_unit_test(filter_keeps_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
