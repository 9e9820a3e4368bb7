/* Slices, capped buffers, the arena. */

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"


static void
test_int(void **state)
{
    static const struct {
        const char   *text;
        int64_t       want;
        enum result   result;
    } cases[] = {
        { "0", 0, RESULT_OK }, { "-1", -1, RESULT_OK }, { "+7", 7, RESULT_OK },
        { "9223372036854775807", INT64_MAX, RESULT_OK },
        { "-9223372036854775808", INT64_MIN, RESULT_OK },
        { "9223372036854775808", 0, RESULT_INVALID },
        { "-9223372036854775809", 0, RESULT_INVALID },
        { "", 0, RESULT_INVALID }, { "-", 0, RESULT_INVALID },
        { "1 ", 0, RESULT_INVALID }, { "0x1", 0, RESULT_INVALID },
        { "1.0", 0, RESULT_INVALID }, { "--1", 0, RESULT_INVALID },
    };
    int64_t  n;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        n = 0;
        assert_int_equal(slice_int(slice_of(cases[i].text), &n),
            cases[i].result);
        assert_true(n == cases[i].want);
    }
}


static void
test_utf8(void **state)
{
    static const char *const  good[] = {
        "", "abc", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xf4\x8f\xbf\xbf",
        "12345678\xc3\xa4" "12345678"
    };
    static const char *const  bad[] = {
        "\x80", "\xc3", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xed\xa0\x80",
        "\xf0\x80\x80\xaf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
        "12345678\xff", "\xe2\x82", "a\xc3" "b"
    };

    (void) state;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(slice_utf8(slice_of(good[i])));
    }

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(slice_utf8(slice_of(bad[i])));
    }

    assert_true(slice_utf8((struct slice) { "a\0b", 3 }));
}


static void
test_compare(void **state)
{
    (void) state;
    assert_true(slice_eq(SLICE_NONE, SLICE_LIT("")));
    assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("A")));
    assert_true(slice_eq_nocase(SLICE_LIT("aZ-"), SLICE_LIT("Az-")));
    assert_false(slice_eq_nocase(SLICE_LIT("@"), SLICE_LIT("`")));
    assert_false(slice_eq_nocase(SLICE_LIT("a"), SLICE_LIT("ab")));
}


static void
test_numbers(void **state)
{
    static const int64_t  numbers[] = {
        0, 7, -1, 10, INT64_MAX, INT64_MIN
    };
    struct buf  b;
    char        text[32];

    (void) state;
    buf_init(&b, 64);

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        buf_reset(&b);
        assert_int_equal(buf_addi(&b, numbers[i]), RESULT_OK);
        assert_int_equal(snprintf(text, sizeof(text), "%" PRId64, numbers[i]),
            (int) b.n);
        assert_memory_equal(b.p, text, b.n);
    }

    buf_cleanup(&b);
}


static void
test_cap(void **state)
{
    struct buf  b;
    size_t      n;
    char       *text;

    (void) state;
    buf_init(&b, 5);
    assert_int_equal(buf_add(&b, "abc", 3), RESULT_OK);
    assert_int_equal(buf_addi(&b, 12), RESULT_OK);
    text = buf_take(&b, &n);
    assert_int_equal(n, 5);
    assert_string_equal(text, "abc12");
    free(text);

    assert_int_equal(buf_adds(&b, "123456"), RESULT_TOO_BIG);
    assert_int_equal(buf_adds(&b, "1"), RESULT_TOO_BIG);
    assert_null(buf_take(&b, NULL));
    buf_reset(&b);
    assert_int_equal(buf_adds(&b, "1"), RESULT_OK);
    buf_cleanup(&b);

    buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_addf(&b, "%d", i % 10), RESULT_OK);
    }
    assert_int_equal(b.n, 10000);
    assert_memory_equal(b.p + 9990, "0123456789", 10);
    buf_cleanup(&b);
}


static void
test_arena(void **state)
{
    struct arena  a;
    struct slice  s;
    char         *p;

    (void) state;
    arena_init(&a, 10000);
    s = arena_copy(&a, SLICE_LIT("abc"));
    assert_string_equal(s.p, "abc");
    s = arena_printf(&a, "%s-%d", "x", 7);
    assert_int_equal(s.n, 3);
    p = arena_alloc(&a, 5000);
    assert_non_null(p);
    assert_int_equal((uintptr_t) p % 16, 0);
    memset(p, 0, 5000);
    assert_null(arena_alloc(&a, 5000));
    assert_null(arena_alloc(&a, SIZE_MAX));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 10000));
    arena_cleanup(&a);
    assert_null(arena_copy(&a, (struct slice) { NULL, 20000 }).p);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_arena),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
