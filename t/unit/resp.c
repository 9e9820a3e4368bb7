/* Answers of Redis taken apart where they lie: whole, cut anywhere, wrong. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "resp.h"

static const char  entries[] =
    "*1\r\n*2\r\n$6\r\nstream\r\n*3\r\n"
    "*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$2\r\n\r\n\r\n$1\r\n$\r\n"
    "*2\r\n$3\r\n2-0\r\n*-1\r\n"
    "*0\r\n";


/* What it is of, in one line: S3 a string of 3, A2 an array of 2, .. */
static const char *
shape(const struct resp *r)
{
    static char  text[1024];
    size_t       n = 0;

    for (size_t i = 0; i < r->nitems; i++) {
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s%c%u",
            i == 0 ? "" : " ", "SA_ITE"[r->items[i].type], r->items[i].n);
    }

    return text;
}


static void
test_whole(void **state)
{
    static const char *const  all[][2] = {
        { "+OK\r\n", "T2" },
        { "+\r\n", "T0" },
        { ":-12\r\n", "I3" },
        { "-NOGROUP no such\r\n", "E15" },
        { "$-1\r\n", "_0" },
        { "*-1\r\n", "_0" },
        { "*0\r\n", "A0" },
        { "*1\r\n*1\r\n*1\r\n*0\r\n", "A1 A1 A1 A0" },
        { "*2\r\n*1\r\n:1\r\n:2\r\n", "A2 A1 I1 I1" },
        { entries, "A1 A2 S6 A3 A2 S3 A4 S1 S0 S2 S1 A2 S3 _0 A0" },
    };
    struct resp  r;

    (void) state;
    resp_init(&r, 4096);

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        resp_reset(&r, 4096);
        assert_int_equal(buf_adds(&r.bytes, all[i][0]), RESULT_OK);
        assert_int_equal(resp_parse(&r), RESULT_OK);
        assert_string_equal(shape(&r), all[i][1]);
        assert_int_equal(r.at, strlen(all[i][0]));
    }

    assert_memory_equal(resp_text(&r, &r.items[9]).p, "\r\n", 2);
    assert_memory_equal(resp_text(&r, &r.items[10]).p, "$", 1);
    resp_cleanup(&r);
}


/* Byte by byte each but the last asks for more, and the bytes may move. */
static void
test_cut(void **state)
{
    struct resp  r;
    size_t       n = sizeof(entries) - 1;

    (void) state;
    resp_init(&r, 4096);

    for (size_t i = 0; i < n; i++) {
        assert_int_equal(buf_add(&r.bytes, entries + i, 1), RESULT_OK);
        assert_int_equal(resp_parse(&r), i + 1 < n ? RESULT_AGAIN : RESULT_OK);
    }

    assert_string_equal(shape(&r),
        "A1 A2 S6 A3 A2 S3 A4 S1 S0 S2 S1 A2 S3 _0 A0");
    assert_memory_equal(resp_text(&r, &r.items[2]).p, "stream", 6);
    resp_cleanup(&r);
}


/* What follows an answer is not of it. */
static void
test_behind(void **state)
{
    struct resp  r;

    (void) state;
    resp_init(&r, 4096);
    assert_int_equal(buf_adds(&r.bytes, ":1\r\n:2\r\n"), RESULT_OK);
    assert_int_equal(resp_parse(&r), RESULT_OK);
    assert_int_equal(r.at, 4);
    assert_int_equal(r.nitems, 1);
    resp_cleanup(&r);
}


static void
test_wrong(void **state)
{
    static const char *const  all[] = {
        "\r\n", "x", "_\r\n", "%1\r\n", "$\r\n", "$-\r\n", "$-2\r\n",
        "$-1x", "$-11\r\n", "$+1\r\n", "$ 1\r\n", "$1x", "$1\rx", "$1\r\nabc",
        "$1\r\na\rx", "$2147483648\r\n", "$000000000000000000001\r\n",
        "*\r\n", "*x\r\n", "*-2\r\n", "*99999999999\r\n", "*1\r\n\r\n",
        "+OK\rx", "+OK\r\r", ":123456789012345678901\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    };
    struct resp  r;

    (void) state;
    resp_init(&r, 4096);

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        resp_reset(&r, 4096);
        assert_int_equal(buf_adds(&r.bytes, all[i]), RESULT_OK);

        if (resp_parse(&r) != RESULT_INVALID) {
            fail_msg("case %zu: \"%s\"", i, all[i]);
        }
    }

    resp_cleanup(&r);
}


/* A claim costs nothing, and a line without an end is no answer. */
static void
test_bounds(void **state)
{
    struct resp  r;

    (void) state;
    resp_init(&r, 65536);
    assert_int_equal(buf_adds(&r.bytes, "*2147483647\r\n*2147483647\r\n"),
        RESULT_OK);
    assert_int_equal(resp_parse(&r), RESULT_AGAIN);
    assert_int_equal(r.nitems, 2);
    assert_true(r.room < 4096);

    resp_reset(&r, 65536);
    assert_int_equal(buf_add(&r.bytes, "-", 1), RESULT_OK);

    for (int i = 0; i < 5000; i++) {
        assert_int_equal(buf_add(&r.bytes, "e", 1), RESULT_OK);
    }

    assert_int_equal(resp_parse(&r), RESULT_INVALID);
    resp_cleanup(&r);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_behind),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_bounds),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests_name("resp", tests, NULL, NULL);
}
