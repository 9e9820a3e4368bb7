/* MLLP framing: what other readers take, what ours refuses, every cut. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mllp.h"

#define LIT(s)  ((struct slice) { (s), sizeof(s) - 1 })


static void
frames_are_built(void **state)
{
    struct buf  b;

    (void) state;

    buf_init(&b, 1024);
    assert_int_equal(mllp_frame(&b, LIT("MSH|\r")), RESULT_OK);
    assert_true(slice_eq((struct slice) { b.p, b.n },
        LIT("\x0bMSH|\r\x1c\r")));
    assert_int_equal(mllp_frame(&b, LIT("a\x0b" "b")), RESULT_INVALID);
    assert_int_equal(mllp_frame(&b, LIT("a\x1c\r")), RESULT_INVALID);
    assert_int_equal(mllp_frame(&b, LIT("")), RESULT_INVALID);
    buf_cleanup(&b);
}


/* Feeds IN cut at CUT; what the first frame was, or the refusal. */
static enum result
feed_cut(struct slice in, size_t cut, bool lenient, char *got, size_t size)
{
    struct mllp_reader  r;
    struct slice        rest;
    const char         *why = NULL;
    size_t              used;
    enum result         result;

    mllp_reader_init(&r, lenient);
    result = mllp_feed(&r, (struct slice) { in.p, cut }, &used, &why);

    if (result == RESULT_AGAIN) {
        assert_int_equal(used, cut);
        rest = (struct slice) { in.p + cut, in.n - cut };
        result = mllp_feed(&r, rest, &used, &why);
    }

    if (result == RESULT_OK) {
        assert_true(r.payload.n < size);
        memcpy(got, r.payload.p, r.payload.n);
        got[r.payload.n] = '\0';
    }

    assert_true(result != RESULT_INVALID || why != NULL);
    mllp_reader_cleanup(&r);
    return result;
}


static void
reader_cases(void **state)
{
    static const struct {
        struct slice  in;
        bool          lenient;
        enum result   want;
        const char   *payload;
    } cases[] = {
        { { "\x0b" "A\r\x1c\r", 5 }, false, RESULT_OK, "A\r" },
        { { "\r\n\x0b" "A\x1c\r", 6 }, false, RESULT_OK, "A" },
        { { "\x0b" "A\x0b" "B\x1c\r", 6 }, false, RESULT_OK, "A\x0b" "B" },
        { { "\x0b" "A\x1c" "B\x1c\r", 6 }, false, RESULT_INVALID, NULL },
        { { "\x0b" "A\x1c\n", 4 }, false, RESULT_INVALID, NULL },
        { { "\x0b" "A\x1c\n", 4 }, true, RESULT_OK, "A" },
        { { "\x0b\x1c\r", 3 }, false, RESULT_INVALID, NULL },
        { { "\x0b" "A\x1c", 3 }, false, RESULT_AGAIN, NULL },
        { { "MSH|", 4 }, false, RESULT_AGAIN, NULL },
    };
    char         got[64];
    enum result  result;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t cut = 0; cut <= cases[i].in.n; cut++) {
            result = feed_cut(cases[i].in, cut, cases[i].lenient, got,
                sizeof(got));
            assert_int_equal(result, cases[i].want);
            if (result == RESULT_OK) {
                assert_string_equal(got, cases[i].payload);
            }
        }
    }
}


static void
two_frames_in_one_read(void **state)
{
    struct mllp_reader  r;
    struct slice        in = LIT("\x0b" "A\x1c\r\x0b" "B\x1c\r");
    const char         *why;
    size_t              used;

    (void) state;

    mllp_reader_init(&r, false);
    assert_int_equal(mllp_feed(&r, in, &used, &why), RESULT_OK);
    assert_int_equal(used, 4);
    assert_memory_equal(r.payload.p, "A", 1);

    mllp_reader_reset(&r);
    in = (struct slice) { in.p + used, in.n - used };
    assert_int_equal(mllp_feed(&r, in, &used, &why), RESULT_OK);
    assert_int_equal(used, 4);
    assert_memory_equal(r.payload.p, "B", 1);
    mllp_reader_cleanup(&r);
}


static void
junk_and_size_are_bounded(void **state)
{
    static char  junk[MLLP_MAX_JUNK + 1 + 4];
    static char  big[MLLP_MAX_PAYLOAD + 4];
    char        *got;
    size_t       size = MLLP_MAX_PAYLOAD + 1;

    (void) state;

    got = test_malloc(size);

    memset(junk, 'x', sizeof(junk));
    memcpy(junk + MLLP_MAX_JUNK, "\x0b" "A\x1c\r", 4);
    assert_int_equal(feed_cut((struct slice) { junk, MLLP_MAX_JUNK + 4 }, 3,
        false, got, size), RESULT_OK);

    memset(junk, 'x', sizeof(junk));
    memcpy(junk + MLLP_MAX_JUNK + 1, "\x0b" "A\x1c\r", 4);
    assert_int_equal(feed_cut((struct slice) { junk, sizeof(junk) }, 3, false,
        got, size), RESULT_INVALID);

    memset(big, 'A', sizeof(big));
    big[0] = 0x0b;
    memcpy(big + 1 + MLLP_MAX_PAYLOAD, "\x1c\r", 2);
    assert_int_equal(feed_cut((struct slice) { big, MLLP_MAX_PAYLOAD + 3 }, 7,
        false, got, size), RESULT_OK);

    big[1 + MLLP_MAX_PAYLOAD] = 'A';
    assert_int_equal(feed_cut((struct slice) { big, sizeof(big) }, 7, false,
        got, size), RESULT_INVALID);

    test_free(got);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(frames_are_built),
        cmocka_unit_test(reader_cases),
        cmocka_unit_test(two_frames_in_one_read),
        cmocka_unit_test(junk_and_size_are_bounded),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
