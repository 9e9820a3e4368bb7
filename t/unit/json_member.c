/* The bytes of a member as they stand, whatever surrounds them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "json_member.h"


static void
ranges(void **state)
{
    static const struct {
        const char   *json;
        enum result   result;
        const char   *range;
    } cases[] = {
        { "{\"payload\":1}", RESULT_OK, "1" },
        { " { \"a\" : 1 , \"payload\" :  { \"x\": 1.10 }  } ", RESULT_OK,
            "{ \"x\": 1.10 }" },
        { "{\"payload\":10000000000000001,\"b\":2}", RESULT_OK,
            "10000000000000001" },
        { "{\"a\":\"\\\"payload\\\":3\",\"payload\":\"}\"}", RESULT_OK,
            "\"}\"" },
        { "{\"a\":{\"payload\":1},\"payload\":[2]}", RESULT_OK, "[2]" },
        { "{\"p\\u0061yload\":true}", RESULT_OK, "true" },
        { "{\"payload\":\"N\xc3\xba\\u00f1\"}", RESULT_OK,
            "\"N\xc3\xba\\u00f1\"" },
        { "{\"a\":1}", RESULT_NOT_FOUND, NULL },
        { "{}", RESULT_NOT_FOUND, NULL },
        { "", RESULT_INVALID, NULL },
        { "[]", RESULT_INVALID, NULL },
        { "{\"a\"}", RESULT_INVALID, NULL },
        { "{\"payload\":}", RESULT_INVALID, NULL },
        { "{\"payload", RESULT_INVALID, NULL },
        { "{\"a\":1", RESULT_INVALID, NULL },
        { "{\"a\":1 \"payload\":2}", RESULT_INVALID, NULL },
        { "{\"a\":1,}", RESULT_INVALID, NULL },
    };
    struct slice  out;
    enum result   r;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        r = json_member_range(slice_of(cases[i].json), "payload", &out);

        if (r != cases[i].result
            || (r == RESULT_OK && !slice_eq(out, slice_of(cases[i].range))))
        {
            fail_msg("%s: %s", cases[i].json, result_text(r));
        }
    }
}


/* jansson reads 1.5, NUL as 1.5 and then ends a byte early */
static void
no_nul(void **state)
{
    static const char  json[] = "{\"a\":1,\"payload\":[1.5\0,true]}";
    struct slice       out;

    (void) state;
    assert_int_equal(json_member_range((struct slice) { json,
        sizeof(json) - 1 }, "payload", &out), RESULT_INVALID);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(no_nul),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
