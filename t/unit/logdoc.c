/* Words, defaults and the fingerprint of a log. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "logdoc.h"


static void
test_words(void **state)
{
    (void) state;
    for (int i = 0; i < LOG_KIND_COUNT; i++) {
        assert_int_equal(log_kind_parse(slice_of(log_kind_text(i))), i);
    }
    for (int i = 0; i < LOG_STATUS_COUNT; i++) {
        assert_int_equal(log_status_parse(slice_of(log_status_text(i))), i);
    }
    for (unsigned i = 0; i < LOG_FLAG_COUNT; i++) {
        assert_int_equal(log_flag_parse(slice_of(log_flag_text(i))), 1u << i);
    }
    assert_int_equal(log_kind_parse(SLICE_LIT("API")), -1);
    assert_int_equal(log_status_parse(SLICE_NONE), -1);
    assert_int_equal(log_flag_parse(SLICE_LIT("")), 0);
    assert_string_equal(log_status_text(LOG_COMMITTED), "COMMITTED");
    assert_string_equal(log_flag_text(5), "bad_replay");
}


static void
test_init(void **state)
{
    struct logdoc  d;

    (void) state;
    memset(&d, 0x5a, sizeof(d));
    logdoc_init(&d);
    assert_true(d.lab_id == LOGDOC_NONE && d.org_id == LOGDOC_NONE);
    assert_true(d.http_status == LOGDOC_NONE);
    assert_true(d.request.bytes == LOGDOC_NONE);
    assert_true(d.expires_us == LOGDOC_NONE);
    assert_true(d.attempts == 0 && d.error_fingerprint == 0);
    assert_true(d.url.n == 0 && d.nrefs == 0);
    assert_true(uuid_is_null(d.id));
}


static void
test_fingerprint(void **state)
{
    struct logdoc  a, b;

    (void) state;
    logdoc_init(&a);
    logdoc_init(&b);
    a.endpoint = SLICE_LIT("ab");
    a.error_code = SLICE_LIT("c");
    b.endpoint = SLICE_LIT("a");
    b.error_code = SLICE_LIT("bc");
    assert_int_not_equal(logdoc_fingerprint(&a), logdoc_fingerprint(&b));

    b = a;
    b.url = SLICE_LIT("/other");
    assert_int_equal(logdoc_fingerprint(&a), logdoc_fingerprint(&b));
    b.http_status = 500;
    assert_int_not_equal(logdoc_fingerprint(&a), logdoc_fingerprint(&b));
    b = a;
    b.kind = LOG_KIND_HL7;
    assert_int_not_equal(logdoc_fingerprint(&a), logdoc_fingerprint(&b));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_fingerprint)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
