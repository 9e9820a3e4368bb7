/* jq programs under limits: right results, and every way to run away. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "jq_child.h"

static struct jq_child  *child;

static int
setup(void **state)
{
    const char  *path = getenv("INTEGRATIOND_JQ");

    (void) state;
    return jq_child_create(path == NULL ? "build/integrationd-jq" : path, 200,
        &child) != RESULT_OK;
}


static int
teardown(void **state)
{
    (void) state;
    jq_child_destroy(child);
    return 0;
}


static void
check(enum jq_mode mode, const char *program, const char *input,
    enum result want, const char *text)
{
    struct buf   out;
    char        *got;
    enum result  r;

    buf_init(&out, JQ_MAX_OUTPUT);
    r = jq_child_run(child, mode, slice_of(program), slice_of(input), &out);
    got = buf_take(&out, NULL);

    if (r != want || (text != NULL && strstr(got, text) == NULL)) {
        fail_msg("%s on %s: %s, \"%.200s\"", program, input, result_text(r),
            got);
    }

    free(got);
}


static void
programs_run(void **state)
{
    (void) state;

    check(JQ_CHECK, ".a | .b", "", RESULT_OK, "");
    check(JQ_TRANSFORM, "{bill: .refs.bill_id, n: (.items | length)}",
        "{\"refs\":{\"bill_id\":\"B-77\"},\"items\":[1,2]}", RESULT_OK,
        "{\"bill\":\"B-77\",\"n\":2}");
    check(JQ_FILTER, ".lab_id == 12", "{\"lab_id\":12}", RESULT_OK, "true");
    check(JQ_FILTER, ".lab_id == 12", "{\"lab_id\":13}", RESULT_OK, "false");
    check(JQ_FILTER, "empty", "{}", RESULT_OK, "false");
    check(JQ_FILTER, ".x", "{}", RESULT_OK, "false");
    check(JQ_FILTER, "0", "{}", RESULT_OK, "true");
}


static void
wrong_programs_say_why(void **state)
{
    (void) state;

    check(JQ_CHECK, ".a |", "", RESULT_INVALID, "syntax error");
    check(JQ_CHECK, "nosuch(1)", "", RESULT_INVALID, "nosuch/1");
    check(JQ_TRANSFORM, ".", "{", RESULT_INVALID, "not JSON");
    check(JQ_TRANSFORM, ".", "", RESULT_INVALID, "not JSON");
    check(JQ_TRANSFORM, "error(\"no bill\")", "{}", RESULT_INVALID, "no bill");
    check(JQ_TRANSFORM, "1, 2", "{}", RESULT_INVALID, "more than one");
    check(JQ_TRANSFORM, "empty", "{}", RESULT_INVALID, "no output");
    check(JQ_TRANSFORM, "1, error(\"x\")", "{}", RESULT_INVALID, "x");
    check(JQ_TRANSFORM, "halt", "{}", RESULT_INVALID, "halted");
    check(JQ_TRANSFORM, "input", "{}", RESULT_INVALID, NULL);
    check(JQ_TRANSFORM, ".a.b", "{\"a\":1}", RESULT_INVALID, "Cannot index");
}


static void
nothing_outside_is_reached(void **state)
{
    (void) state;

    check(JQ_TRANSFORM, "env", "{}", RESULT_OK, "{}");
    check(JQ_TRANSFORM, "$ENV", "{}", RESULT_OK, "{}");
    check(JQ_CHECK, "import \"a\" as $d {search:\"/etc\"}; .", "",
        RESULT_INVALID, "not allowed");
    check(JQ_CHECK, " # x\n include \"a\"; .", "", RESULT_INVALID,
        "not allowed");
    check(JQ_CHECK, ".imported", "", RESULT_OK, "");
    check(JQ_TRANSFORM, "input_filename", "{}", RESULT_OK, "null");
    check(JQ_TRANSFORM, "\"secret\" | stderr", "{}", RESULT_OK, "secret");
}


/* After each runaway the next program must run as ever. */
static void
runaways_are_ended(void **state)
{
    (void) state;

    check(JQ_TRANSFORM, "def f: f; f", "{}", RESULT_TIMEOUT, "200 ms");
    check(JQ_TRANSFORM, ".a", "{\"a\":1}", RESULT_OK, "1");
    check(JQ_TRANSFORM, "[range(1e9)]", "{}", RESULT_TIMEOUT, NULL);
    check(JQ_TRANSFORM, ".a", "{\"a\":2}", RESULT_OK, "2");
}


/* What other limits end is given the time to reach them, on a busy machine. */
static void
bombs_are_ended(void **state)
{
    struct jq_child  *usual = child;
    const char       *path = getenv("INTEGRATIOND_JQ");

    (void) state;

    assert_int_equal(jq_child_create(path == NULL ? "build/integrationd-jq"
        : path, 20000, &child), RESULT_OK);

    for (int i = 0; i < 3; i++) {
        check(JQ_TRANSFORM, "reduce range(40) as $i (\"0123456789abcdef\";"
            " . + .) | length", "{}", RESULT_MEMORY, "256 MB");
        check(JQ_TRANSFORM, ".a", "{\"a\":4}", RESULT_OK, "4");
    }

    check(JQ_TRANSFORM, "\"x\" * 2000000", "{}", RESULT_TOO_BIG, "1 MB");
    check(JQ_TRANSFORM, ".a", "{\"a\":3}", RESULT_OK, "3");
    check(JQ_FILTER, "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!\""
        " | test(\"^(a+)+$\")", "{}", RESULT_INVALID, "retry-limit");

    jq_child_destroy(child);
    child = usual;
}


static void
many_programs_are_cached_and_dropped(void **state)
{
    char  program[32], want[16];

    (void) state;

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 80; i++) {
            (void) snprintf(program, sizeof(program), ".a + %d", i);
            (void) snprintf(want, sizeof(want), "%d", i + 1);
            check(JQ_TRANSFORM, program, "{\"a\":1}", RESULT_OK, want);
        }
    }
}


static void
sizes_and_encodings_are_checked(void **state)
{
    struct buf   out;
    char        *big;

    (void) state;

    buf_init(&out, JQ_MAX_OUTPUT);
    big = test_malloc(JQ_MAX_INPUT + 1);
    memset(big, ' ', JQ_MAX_INPUT + 1);
    assert_int_equal(jq_child_run(child, JQ_CHECK,
        (struct slice) { big, JQ_MAX_PROGRAM + 1 }, SLICE_NONE, &out),
        RESULT_TOO_BIG);
    assert_int_equal(jq_child_run(child, JQ_TRANSFORM, slice_of("."),
        (struct slice) { big, JQ_MAX_INPUT + 1 }, &out), RESULT_TOO_BIG);
    assert_int_equal(jq_child_run(child, JQ_TRANSFORM, slice_of("."),
        slice_of("\"\xff\""), &out), RESULT_INVALID);
    assert_int_equal(jq_child_run(child, JQ_TRANSFORM,
        (struct slice) { ".\0a", 3 }, slice_of("1"), &out), RESULT_INVALID);
    test_free(big);
    buf_cleanup(&out);
}


static void
same(const char *program, const char *input, const char *want)
{
    struct buf   out;
    char        *got;
    enum result  r;

    buf_init(&out, JQ_MAX_OUTPUT);
    r = jq_child_run(child, JQ_TRANSFORM, slice_of(program), slice_of(input),
        &out);
    got = buf_take(&out, NULL);

    if (r != RESULT_OK || strcmp(got, want) != 0) {
        fail_msg("%s on %s: %s, \"%.200s\"", program, input, result_text(r),
            got);
    }

    free(got);
}


/* Numbers are doubles, printed in 17 digits: what must survive is text. */
static void
numbers_are_doubles(void **state)
{
    (void) state;

    same(".", "10000000000000001", "1e+16");
    same(".", "9007199254740993", "9007199254740992");
    same(".", "9007199254740992", "9007199254740992");
    same(".", "\"10000000000000001\"", "\"10000000000000001\"");
    same(".", "1.0", "1");
    same(".", "1E2", "100");
    same(".", "0.1", "0.1");
    same(".", "1e1000", "1.7976931348623157e+308");
    same(".", "-1e1000", "-1.7976931348623157e+308");
    same(".", "1e-400", "0");
    same("[infinite]", "{}", "[1.7976931348623157e+308]");
    same("{n: nan}", "{}", "{\"n\":null}");
    same(".", "[nan]", "[null]");
    same("nan < nan", "{}", "true");
    same(".n | tojson", "{\"n\":10000000000000001}", "\"1e+16\"");
}


static char *
nested(unsigned depth)
{
    char  *text = calloc(2, depth + 1);

    assert_non_null(text);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    return text;
}


static void
depth_is_limited(void **state)
{
    char  *deep = nested(256), *deeper = nested(257);

    (void) state;

    same("length", deep, "1");
    same(".", deep, deep);
    check(JQ_TRANSFORM, "length", deeper, RESULT_INVALID, "too deep");
    check(JQ_FILTER, "true", deeper, RESULT_INVALID, "too deep");
    same("reduce range(255) as $i ([]; [.])", "{}", deep);
    check(JQ_TRANSFORM, "reduce range(256) as $i ([]; [.])", "{}",
        RESULT_INVALID, "deeper than 256");
    check(JQ_TRANSFORM, "reduce range(300) as $i ({}; {a: .})", "{}",
        RESULT_INVALID, "deeper than 256");
    same("[\"[\\\"{\" * 300] | length", "{}", "1");
    check(JQ_TRANSFORM, "\"[\\\"\" * 300", "{}", RESULT_OK, "[\\\"[");

    free(deep);
    free(deeper);
}


/* Of the printing, which recurses, nothing is left but the child's end. */
static void
what_is_too_deep_to_print_ends_the_child(void **state)
{
    struct buf  out;

    (void) state;

    buf_init(&out, JQ_MAX_OUTPUT);
    assert_int_not_equal(jq_child_run(child, JQ_TRANSFORM,
        slice_of("reduce range(30000) as $i ([]; [.])"), slice_of("{}"),
        &out), RESULT_OK);
    buf_cleanup(&out);
    check(JQ_TRANSFORM, ".a", "{\"a\":5}", RESULT_OK, "5");
}


static void
a_missing_child_is_unavailable(void **state)
{
    struct jq_child  *none;
    struct buf        out;

    (void) state;

    buf_init(&out, JQ_MAX_OUTPUT);
    assert_int_equal(jq_child_create("/nonexistent/jq", 200, &none),
        RESULT_OK);
    assert_int_equal(jq_child_run(none, JQ_CHECK, slice_of("."), SLICE_NONE,
        &out), RESULT_UNAVAILABLE);
    jq_child_destroy(none);
    buf_cleanup(&out);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(programs_run),
        cmocka_unit_test(wrong_programs_say_why),
        cmocka_unit_test(nothing_outside_is_reached),
        cmocka_unit_test(runaways_are_ended),
        cmocka_unit_test(bombs_are_ended),
        cmocka_unit_test(many_programs_are_cached_and_dropped),
        cmocka_unit_test(sizes_and_encodings_are_checked),
        cmocka_unit_test(numbers_are_doubles),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(what_is_too_deep_to_print_ends_the_child),
        cmocka_unit_test(a_missing_child_is_unavailable),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
