/* UUIDv7: form, order, time. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "uuid.h"


static void
test_make(void **state)
{
    uint8_t  id[UUID_BYTES], again[UUID_BYTES];
    char     text[UUID_TEXT + 1];

    (void) state;
    uuid_make(id, 1748965469712291);
    assert_true(uuid_time_us(id) == 1748965469712291);
    assert_int_equal(id[6] >> 4, 7);
    assert_int_equal(id[8] >> 6, 2);
    uuid_text(id, text);
    assert_memory_equal(text, "0197366f-", 6);
    assert_int_equal(uuid_parse(slice_of(text), again), RESULT_OK);
    assert_memory_equal(id, again, UUID_BYTES);
    uuid_make(again, 1748965469712291);
    assert_memory_not_equal(id, again, UUID_BYTES);
    assert_false(uuid_is_null(id));
}


/* Ids of later microseconds sort behind, over the millisecond's edge too. */
static void
test_order(void **state)
{
    uint8_t  last[UUID_BYTES] = { 0 }, id[UUID_BYTES];

    (void) state;

    for (int64_t us = 1748965469710000; us < 1748965469713000; us++) {
        uuid_make(id, us);
        assert_true(memcmp(last, id, UUID_BYTES) < 0);
        memcpy(last, id, UUID_BYTES);
    }
}


static void
test_parse(void **state)
{
    static const char *const  bad[] = {
        "", "01973a5c-2e10-7123-9abc-def01234567",
        "01973a5c-2e10-7123-9abc-def0123456789",
        "01973a5c02e10-7123-9abc-def012345678",
        "01973a5c-2e10-7123-9abc-def01234567g",
        "01973a5c-2e10-7123-9abcd-ef012345678",
        "{1973a5c-2e10-7123-9abc-def01234567}"
    };
    uint8_t  id[UUID_BYTES];

    (void) state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(uuid_parse(slice_of(bad[i]), id), RESULT_INVALID);
    }

    assert_int_equal(uuid_parse(
        SLICE_LIT("01973A5C-2E10-7123-9ABC-DEF012345678"), id), RESULT_OK);
    assert_int_equal(id[15], 0x78);
    assert_int_equal(uuid_parse(
        SLICE_LIT("00000000-0000-0000-0000-000000000000"), id), RESULT_OK);
    assert_true(uuid_is_null(id));
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_parse),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
