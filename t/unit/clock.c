/* Time as text and back. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "clock.h"


static void
test_text(void **state)
{
    char  text[CLOCK_RFC3339 + 1];

    (void) state;
    clock_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_text(1748965469712999, text);
    assert_string_equal(text, "2025-06-03T15:44:29.712Z");
    clock_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    clock_text(INT64_C(253402300799) * 1000000, text);
    assert_string_equal(text, "9999-12-31T23:59:59.000Z");
    clock_text(INT64_C(-62167219200) * 1000000, text);
    assert_string_equal(text, "0000-01-01T00:00:00.000Z");
    clock_text(INT64_MAX, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}


static void
test_parse(void **state)
{
    static const struct {
        const char  *text;
        int64_t      us;
    } good[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "2025-06-03T15:44:29.712999Z", 1748965469712999 },
        { "2025-06-03t15:44:29.7z", 1748965469700000 },
        { "2025-06-03T21:14:29.712999999+05:30", 1748965469712999 },
        { "2025-06-03T14:44:29-01:00", 1748965469000000 },
        { "2024-02-29T00:00:00Z", 1709164800000000 },
        { "1969-12-31T23:59:59.5Z", -500000 },
        { "2016-12-31T23:59:60Z", 1483228800000000 },
    };
    static const char *const  bad[] = {
        "", "2025", "2025-06-03", "2025-06-03T15:44:29", "2025-6-03T15:44:29Z",
        "2025-06-03 15:44:29Z", "2025-13-03T15:44:29Z", "2025-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z", "2025-06-03T24:61:00Z", "2025-06-03T15:44:29.Z",
        "2025-06-03T15:44:29.1234567890Z", "2025-06-03T15:44:29+5:30",
        "2025-06-03T15:44:29+24:00", "2025-06-03T15:44:29Zx",
        "2025-06-03T15:44:29+05:3 ", "x025-06-03T15:44:29Z",
        "2025-06-03T15:44:29+ 5:30", "2025-06-03T15:44:29+-5:30",
        "2025-06-03T15:44:29+05: 3", "2025-02-30T23:59:60Z",
        "2016-12-31T23:59:61Z"
    };
    int64_t  us;

    (void) state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(clock_parse(good[i].text, &us), RESULT_OK);
        assert_true(us == good[i].us);
    }

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (clock_parse(bad[i], &us) != RESULT_INVALID) {
            fail_msg("takes \"%s\"", bad[i]);
        }
    }
}


static void
test_now(void **state)
{
    char     text[CLOCK_RFC3339 + 1];
    int64_t  now = clock_wall_us(), back, mono = clock_mono_us();

    (void) state;
    clock_text(now, text);
    assert_int_equal(clock_parse(text, &back), RESULT_OK);
    assert_true(back == now / 1000 * 1000);
    assert_true(clock_mono_us() >= mono);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_now),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
