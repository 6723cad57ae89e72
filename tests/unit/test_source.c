#include "keyring/source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void each_source_has_a_name_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < KEYRING_SOURCE_COUNT; i++) {
        enum keyring_source source = KEYRING_SOURCE_COUNT;
        assert_int_equal(keyring_source_parse(span_of(keyring_source_name((enum keyring_source)i)), &source), ERR_OK);
        assert_int_equal(source, i);
    }
    enum keyring_source source;
    assert_int_equal(keyring_source_parse(SPAN_LIT("WKD"), &source), ERR_CONFIG);
    assert_int_equal(keyring_source_parse(SPAN_LIT(""), &source), ERR_CONFIG);
}

static void only_a_person_gives_more_than_found(void **state)
{
    (void)state;
    for (int i = 0; i < KEYRING_SOURCE_COUNT; i++) {
        const enum keyring_trust max = keyring_source_trust_max((enum keyring_source)i);
        if (i == KEYRING_SOURCE_PERSON)
            assert_int_equal(max, KEYRING_PINNED);
        else
            assert_true(max > KEYRING_NEVER && max <= KEYRING_FOUND);
    }
    assert_int_equal(keyring_source_trust_max(KEYRING_SOURCE_KEYSERVER), KEYRING_UNVERIFIED);
    assert_int_equal(keyring_source_trust_max(KEYRING_SOURCE_COUNT), KEYRING_NEVER);
    assert_false(keyring_source_is_asked(KEYRING_SOURCE_AUTOCRYPT));
    assert_true(keyring_source_is_asked(KEYRING_SOURCE_WKD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_source_has_a_name_both_ways),
        cmocka_unit_test(only_a_person_gives_more_than_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
