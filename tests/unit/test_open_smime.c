/* Mail by S/MIME from the outermost layer inwards: the verdict, the view, and the view made again without a key. */
#include "tests/unit/smime_mail.h"

/* ---- integrity ---- */

static void gcm_is_sound(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-256-GCM", HTML), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=ok");
    assert_true(has(&mail, "multipart/alternative") && has(&mail, "text/html"));
    mail_fini(&mail);
}

static void cbc_alone_shows_text_and_attachments(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-128-CBC", HTML), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=none");
    assert_true(has(&mail, "Content-Type: text/plain; charset=utf-8; format=flowed\r\n"
                           "Content-Transfer-Encoding: 7bit\r\n\r\nxyzzy-canary\r\n--privyseal-"));
    assert_true(
        has(&mail, "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=part-2"));
    assert_false(has(&mail, "text/html") || has(&mail, "multipart/alternative"));
    assert_string_not_equal(mail.opened.reason, "");
    mail_fini(&mail);
    open_part(encrypted("AES-128-CBC", TEXT), &mail);
    assert_verdict(&mail, "integrity=none");
    assert_true(has(&mail, "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nxyzzy-canary\r\n"));
    mail_fini(&mail);
}

static void a_part_stands_alone(const char *text, const char *shown)
{
    struct mail mail;
    open_part(encrypted("AES-128-CBC", text), &mail);
    if (!has(&mail, shown))
        fail_msg("%s\nin\n%s", shown, mail.view.data);
    assert_false(has(&mail, "text/html") || has(&mail, "image/") || has(&mail, "message/rfc822"));
    mail_fini(&mail);
}

static void what_may_not_be_shown_is_saved(void **state)
{
    (void)state;
    static const char saved[] = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=";
    struct buf shown;
    buf_init(&shown, 4096);
    static const struct {
        const char *text, *name;
    } rows[] = {
        {"Content-Type: text/html\r\n\r\n<b>\r\n", "part-1\r\n"},
        {"Content-Type: image/png; name=\"a b.png\"\r\n\r\nx\r\n", "\"a b.png\"\r\n"},
        {"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nx\r\n", "a.txt\r\n"},
        {"Content-Type: message/rfc822\r\n\r\nContent-Type: text/html\r\n\r\nx\r\n", "part-1.eml\r\n"},
        {"Content-Type: multipart/mixed; boundary=b\r\n\r\nno parts\r\n", "part-1\r\n"},
        {"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-odd\r\n\r\nx\r\n", "part-1\r\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i == 3 || i == 4) { /* the type of what is saved stands in its own bytes */
            struct mail mail;
            open_part(encrypted("AES-128-CBC", rows[i].text), &mail);
            assert_true(has(&mail, rows[i].name));
            mail_fini(&mail);
            continue;
        }
        buf_clear(&shown);
        assert_int_equal(buf_addf(&shown, "%s%s", saved, rows[i].name), ERR_OK);
        a_part_stands_alone(rows[i].text, shown.data);
    }
    buf_fini(&shown);
    /* Nothing of a header inside becomes one outside. */
    a_part_stands_alone(
        "Content-Type: text/plain; charset=\"a\\\"b\"; x=\"\r\n y\"\r\nContent-Base: http://mallory/\r\n\r\nx\r\n",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\nx\r\n");
}

/* A signature over all of it proves what the cipher does not; and that alone is shown. */
static void cbc_around_a_good_signature_is_sound(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, i == 1, 0, HTML);
        open_part(encrypted("AES-256-CBC", inner.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
        assert_true(has(&mail, "multipart/alternative") && has(&mail, "text/html"));
        assert_false(has(&mail, "preamble") || has(&mail, "pkcs7"));
        mail_fini(&mail);
        buf_fini(&inner);
    }
}

static void cbc_around_any_other_signature_is_not(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&mallory, NULL, i == 1, 0, HTML), beside;
        open_part(encrypted("AES-256-CBC", inner.data), &mail);
        assert_verdict(&mail, "signature=untrusted; signer=bob@example.org; trust=unverified; encryption=smime; "
                              "integrity=none");
        assert_false(has(&mail, "text/html"));
        assert_true(has(&mail, "xyzzy-canary"));
        mail_fini(&mail);
        buf_fini(&inner);
        /* A good one of a part. */
        inner = signed_by(&bob, middle.certificate, i == 1, 0, HTML);
        buf_init(&beside, WORLD_SIZE);
        assert_int_equal(
            buf_addf(&beside, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n%s\r\n--m--\r\n", inner.data),
            ERR_OK);
        open_part(encrypted("AES-256-CBC", beside.data), &mail);
        assert_verdict(&mail, "signature=partial; encryption=smime; integrity=none");
        assert_false(has(&mail, "Content-Type: text/html\r\nContent-Tr"));
        mail_fini(&mail);
        buf_fini(&beside);
        buf_fini(&inner);
    }
}

static void weak_ciphers_say_so(void **state)
{
    (void)state;
    static const char *const names[] = {"DES-EDE3-CBC", "RC2-40-CBC"};
    for (size_t i = 0; i < 2; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, true, 0, HTML);
        open_part(encrypted(names[i], inner.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=none");
        assert_true(has(&mail, "text/html"));
        assert_non_null(strstr(mail.opened.reason, "weak"));
        mail_fini(&mail);
        buf_fini(&inner);
    }
}

/* ---- layers ---- */

static void triple_wrap(void **state)
{
    (void)state;
    static const char *const names[] = {"AES-128-CBC", "AES-128-GCM"};
    for (size_t i = 0; i < 4; i++) {
        struct mail mail;
        struct buf inner = signed_by(&bob, middle.certificate, i % 2 == 0, 0, HTML);
        struct buf between = encrypted(names[i / 2], inner.data);
        open_part(signed_by(&bob, middle.certificate, i % 2 == 1, 0, between.data), &mail);
        assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
        assert_true(has(&mail, "text/html"));
        mail_fini(&mail);
        buf_fini(&inner);
        buf_fini(&between);
    }
}

/* A signature outside does not prove what the cipher inside gives. */
static void encrypted_within_signed(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = encrypted("AES-128-CBC", HTML);
    open_part(signed_by(&bob, middle.certificate, true, 0, inner.data), &mail);
    assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=none");
    assert_false(has(&mail, "text/html"));
    mail_fini(&mail);
    buf_fini(&inner);
}

static void cbc_lies_in_nothing_but_signatures(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = signed_by(&bob, middle.certificate, true, 0, TEXT),
               between = encrypted("AES-128-CBC", inner.data);
    open_part(encrypted("AES-128-GCM", between.data), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=ok");
    assert_true(has(&mail, "application/pkcs7-mime"));
    assert_int_equal(mail.opened.decision.layers, 1);
    mail_fini(&mail);
    buf_fini(&between);
    between = encrypted("AES-128-GCM", inner.data);
    open_part(encrypted("AES-128-GCM", between.data), &mail);
    assert_verdict(&mail, "signature=good; signer=bob@example.org; trust=full; encryption=smime; integrity=ok");
    mail_fini(&mail);
    buf_fini(&between);
    buf_fini(&inner);
}

static void the_header_inside_counts(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = signed_by(&bob, middle.certificate, true, 0,
                                 "From: Bob <bob@example.org>\r\nSubject: inner\r\nHP-Outer: Subject: outer\r\n"
                                 "Content-Type: text/plain; hp=\"cipher\"\r\n\r\nxyzzy-canary\r\n");
    open_part(encrypted("AES-256-CBC", inner.data), &mail);
    assert_verdict(&mail, "signature=good");
    assert_true(has(&mail, "Subject: inner\r\n") && !has(&mail, "Subject: outer"));
    mail_fini(&mail);
    buf_fini(&inner);
}

/* Fields that anybody could have changed: none of them is shown, and no From of theirs is judged. */
static void the_header_inside_counts_if_it_is_proven(void **state)
{
    (void)state;
    struct mail mail;
    static const char text[] = "From: Mallory <mallory@example.org>\r\nSubject: inner\r\nReply-To: m@example.org\r\n"
                               "HP-Outer: Subject: outer\r\n"
                               "Content-Type: text/plain; hp=\"cipher\"\r\n\r\nxyzzy-canary\r\n";
    open_part(encrypted("AES-256-CBC", text), &mail);
    assert_verdict(&mail, "signature=none; encryption=smime; integrity=none");
    assert_true(has(&mail, "xyzzy-canary") && has(&mail, "From: Bob <bob@example.org>\r\n"));
    assert_false(has(&mail, "inner") || has(&mail, "m@example.org") || has(&mail, "mallory"));
    mail_fini(&mail);
    open_part(encrypted("AES-256-GCM", text), &mail);
    assert_verdict(&mail, "encryption=smime; integrity=ok");
    assert_true(has(&mail, "Subject: inner\r\n") && has(&mail, "Reply-To: m@example.org\r\n"));
    mail_fini(&mail);
    /* A stranger's signature around it proves nothing, and is not hers whom the inside names. */
    struct buf inner = encrypted("AES-256-CBC", text), outer = signed_by(&mallory, NULL, true, 0, inner.data);
    open_part(outer, &mail);
    assert_false(has(&mail, "signature=good"));
    assert_true(has(&mail, "integrity=none") && has(&mail, "From: Bob <bob@example.org>\r\n"));
    assert_false(has(&mail, "Subject: inner") || has(&mail, "m@example.org"));
    mail_fini(&mail);
    buf_fini(&inner);
}

static void beside_other_parts_it_stays_closed(void **state)
{
    (void)state;
    struct mail mail;
    struct buf inner = encrypted("AES-256-GCM", TEXT), outer;
    for (int i = 0; i < 2; i++) {
        buf_init(&outer, WORLD_SIZE);
        assert_int_equal(
            buf_addf(&outer, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n%s\r\n--m--\r\n", inner.data),
            ERR_OK);
        open_part(outer, &mail);
        /* What it is, its content says: the type is the same in both. */
        assert_verdict(&mail, i == 0 ? "signature=none; encryption=partial" : "signature=partial; encryption=none");
        assert_false(has(&mail, "xyzzy"));
        mail_fini(&mail);
        buf_fini(&inner);
        inner = signed_by(&bob, NULL, true, 0, TEXT);
        memcpy(strstr(inner.data, "signed-data"), "other-thing", 11);
    }
    buf_fini(&inner);
}

/* ---- what cannot be opened ---- */

static void assert_shown_as_it_came(const struct mail *mail)
{
    assert_verdict(mail, "encryption=failed");
    const char *body = strstr(mail->message.data, "\r\n\r\n");
    assert_non_null(strstr(mail->view.data, body));
    assert_false(has(mail, "xyzzy"));
}

static void all_failures_look_alike(void **state)
{
    (void)state;
    char first[128] = "";
    for (int i = 0; i < 4; i++) {
        struct mail mail;
        struct buf part = encrypted_to(i == 0 ? &bob : alice, i == 3 ? "AES-128-CFB" : "AES-128-GCM", TEXT);
        world.is_empty = i == 1;
        if (i == 2)
            part.data[part.len - 12] ^= 1;
        open_part(part, &mail);
        world.is_empty = false;
        assert_shown_as_it_came(&mail);
        if (i == 0)
            assert_true(span_copy(span_of(mail.opened.reason), first, sizeof first));
        assert_string_equal(mail.opened.reason, first);
        mail_fini(&mail);
    }
}

static void a_locked_key_is_not_a_verdict(void **state)
{
    (void)state;
    struct mail mail;
    struct buf part = encrypted("AES-128-GCM", TEXT);
    buf_init(&mail.message, WORLD_SIZE);
    assert_int_equal(buf_addf(&mail.message, FROM "%s", part.data), ERR_OK);
    world.is_locked = true;
    assert_int_equal(try_open(&world.smime, &mail), ERR_KEY_LOCKED);
    world.is_locked = false;
    assert_int_equal(mail.view.len, 0);
    mail_fini(&mail);
    buf_fini(&part);
}

/* Of an own view nothing is shown if the key of its content is another one. */
static void another_session_key_shows_nothing(void **state)
{
    (void)state;
    struct mail mail;
    open_part(encrypted("AES-128-CBC", TEXT), &mail);
    char *digit = &mail.opened.session_keys.keys[0][10];
    *digit = *digit == 'A' ? 'B' : 'A';
    const struct crypto_open_options options = {.output_max = WORLD_SIZE,
                                                .layers_max = 8,
                                                .decided = &mail.opened.decision,
                                                .session_keys = &mail.opened.session_keys};
    struct crypto_opened opened;
    buf_clear(&mail.view);
    assert_int_equal(crypto_open(NULL, &options, buf_span(&mail.message), &mail.view, &opened), ERR_DECRYPT);
    assert_int_equal(mail.view.len, 0);
    mail_fini(&mail);
}

/* ---- own copies ---- */

static enum err answer;

static enum err ask(void *context, STACK_OF(X509) * chain, int64_t at, bool *is_unknown_out)
{
    (void)context;
    (void)chain;
    (void)at;
    *is_unknown_out = false;
    return answer;
}

/* One's own certificate has expired since, or nobody can say whether it has been revoked; or it has been. */
static void check_own_later(const char *whole, const char *saved)
{
    static const struct {
        int64_t at;
        enum err answer;
        bool is_own;
    } rows[] = {
        {MADE_NOW + 400 * MADE_DAY, ERR_OK, true}, {MADE_NOW, ERR_LOOKUP, true}, {MADE_NOW, ERR_REVOKED, false}};
    world.smime.revocation = ask;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf inner = signed_by(alice, middle.certificate, true, 0, whole);
        struct mail mail;
        clock_fix(rows[i].at);
        answer = rows[i].answer;
        open_part(encrypted("AES-256-CBC", inner.data), &mail);
        assert_int_equal(mail.opened.decision.is_own, rows[i].is_own);
        assert_int_equal(strcmp(mail.view.data, saved) == 0, rows[i].is_own);
        mail_fini(&mail);
        buf_fini(&inner);
    }
    clock_fix(MADE_NOW);
    world.smime.revocation = NULL;
}

static void own_copies_come_back(void **state)
{
    (void)state;
    static const char saved[] = "From: a\r\nX: y\r\n\r\nas it was saved\r\n";
    struct mime_pieces payload;
    struct buf outer, whole, inner;
    buf_init(&outer, WORLD_SIZE);
    buf_init(&whole, WORLD_SIZE);
    mime_pieces_init(&payload);
    assert_int_equal(crypto_own_wrap(span_of(saved), &payload, &outer), ERR_OK);
    for (size_t i = 0; i < payload.len; i++)
        assert_int_equal(buf_add_span(&whole, payload.items[i].bytes), ERR_OK);
    for (int i = 0; i < 8; i++) {
        const bool is_own = i % 4 != 3;
        struct mail mail;
        /* Also when the certificate has expired since. */
        clock_fix(MADE_NOW + (i < 4 ? 0 : 400 * MADE_DAY));
        inner = signed_by(is_own ? alice : &bob, middle.certificate, i % 2 == 1, 0, whole.data);
        open_part(encrypted(i % 4 < 2 ? "AES-256-GCM" : "AES-256-CBC", inner.data), &mail);
        assert_int_equal(mail.opened.decision.is_own, is_own);
        if (is_own)
            assert_string_equal(mail.view.data, saved);
        mail_fini(&mail);
        buf_fini(&inner);
    }
    clock_fix(MADE_NOW);
    check_own_later(whole.data, saved);
    /* The mark alone, and under a signature that anybody could read: nothing of the kind. */
    struct mail mail;
    open_part(encrypted("AES-256-GCM", whole.data), &mail);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    open_part(signed_by(alice, NULL, true, 0, whole.data), &mail);
    assert_false(mail.opened.decision.is_own);
    mail_fini(&mail);
    mime_pieces_fini(&payload);
    buf_fini(&outer);
    buf_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_is_sound),
        cmocka_unit_test(cbc_alone_shows_text_and_attachments),
        cmocka_unit_test(what_may_not_be_shown_is_saved),
        cmocka_unit_test(cbc_around_a_good_signature_is_sound),
        cmocka_unit_test(cbc_around_any_other_signature_is_not),
        cmocka_unit_test(weak_ciphers_say_so),
        cmocka_unit_test(triple_wrap),
        cmocka_unit_test(encrypted_within_signed),
        cmocka_unit_test(cbc_lies_in_nothing_but_signatures),
        cmocka_unit_test(the_header_inside_counts),
        cmocka_unit_test(the_header_inside_counts_if_it_is_proven),
        cmocka_unit_test(beside_other_parts_it_stays_closed),
        cmocka_unit_test(all_failures_look_alike),
        cmocka_unit_test(a_locked_key_is_not_a_verdict),
        cmocka_unit_test(another_session_key_shows_nothing),
        cmocka_unit_test(own_copies_come_back),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
