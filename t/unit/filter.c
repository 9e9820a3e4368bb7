/* The filter grammar and its meaning. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "filter.h"

static const struct scope  everything = { .platform = true };


static enum result
add(struct filter *f, const char *name, const char *value)
{
    const char  *why;

    return filter_add(f, slice_of(name), slice_of(value), &why);
}


static struct logdoc
sample(void)
{
    struct logdoc  d;

    logdoc_init(&d);
    d.kind = LOG_KIND_WEBHOOK;
    d.status = LOG_FAIL;
    d.http_status = 503;
    d.action_id = 57;
    d.lab_id = 12;
    d.org_id = 3;
    d.attempts = 2;
    d.duration_us = 500000;
    d.started_us = 1700000000000000;
    d.endpoint = SLICE_LIT("POST /a");
    d.method = SLICE_LIT("POST");
    d.url = SLICE_LIT("/a?x=Needle");
    d.error_code = SLICE_LIT("http");
    d.refs[0].name = SLICE_LIT("bill_id");
    d.refs[0].value = SLICE_LIT("B-77");
    d.nrefs = 1;
    d.error_fingerprint = logdoc_fingerprint(&d);
    return d;
}


/* PARAMS: name, value, name, value, NULL */
static bool
matches(const char *const *params)
{
    struct logdoc  d = sample();
    struct filter  f;

    filter_init(&f, &everything);
    for (int i = 0; params[i] != NULL; i += 2) {
        assert_int_equal(add(&f, params[i], params[i + 1]), RESULT_OK);
    }

    return filter_match(&f, &d);
}

#define MATCHES(...)  matches((const char *const []) { __VA_ARGS__, NULL })


static void
test_or_and_not(void **state)
{
    (void) state;
    assert_true(MATCHES("status", "FAIL"));
    assert_true(MATCHES("status", "SUCCESS", "status", "FAIL"));
    assert_false(MATCHES("status", "FAIL", "kind", "api"));
    assert_false(MATCHES("status", "!FAIL"));
    assert_true(MATCHES("status", "!SUCCESS", "status", "!PENDING"));
    assert_false(MATCHES("status", "!SUCCESS", "status", "!FAIL"));
}


static void
test_http(void **state)
{
    (void) state;
    assert_true(MATCHES("http", "5xx"));
    assert_true(MATCHES("http", "404", "http", "5xx"));
    assert_false(MATCHES("http", "!5xx"));
    assert_false(MATCHES("http", "none"));
    assert_true(MATCHES("http", "!none"));
    assert_true(MATCHES("http", "none", "http", "503"));
    assert_true(MATCHES("http", "!404"));
}


static void
test_null_is_not_equal(void **state)
{
    struct logdoc  d = sample();
    struct filter  f;

    (void) state;
    d.http_status = LOGDOC_NONE;
    filter_init(&f, &everything);
    assert_int_equal(add(&f, "http", "!404"), RESULT_OK);
    assert_true(filter_match(&f, &d));
    assert_int_equal(add(&f, "http", "404"), RESULT_OK);
    assert_false(filter_match(&f, &d));
}


static void
test_ordered(void **state)
{
    (void) state;
    assert_true(MATCHES("attempts[gt]", "1", "attempts[lt]", "3"));
    assert_false(MATCHES("attempts[gt]", "2"));
    assert_true(MATCHES("attempts", "2"));
    assert_true(MATCHES("duration_ms[gte]", "500"));
    assert_false(MATCHES("duration_ms[gt]", "500"));
    assert_true(MATCHES("duration_ms[lte]", "500"));
}


static void
test_ref_q_error(void **state)
{
    (void) state;
    assert_true(MATCHES("ref[bill_id]", "B-77"));
    assert_false(MATCHES("ref[patient_id]", "B-77"));
    assert_false(MATCHES("ref[bill_id]", "!B-77"));
    assert_true(MATCHES("ref[bill_id]", "!B-78"));
    assert_false(MATCHES("ref[bill_id]", "B-77", "ref[report_id]", "R"));
    assert_true(MATCHES("q", "nEEdle"));
    assert_true(MATCHES("q", "b-77"));
    assert_false(MATCHES("q", "absent"));
    assert_false(MATCHES("error", "none"));
    assert_true(MATCHES("error", "!0000000000000001"));
}


static void
test_literal_bang(void **state)
{
    struct logdoc  d = sample();
    struct filter  f;

    (void) state;
    d.endpoint = SLICE_LIT("!odd");
    filter_init(&f, &everything);
    assert_int_equal(add(&f, "endpoint", "\\!odd"), RESULT_OK);
    assert_true(filter_match(&f, &d));
}


static void
test_time_is_half_open(void **state)
{
    struct logdoc  d = sample();
    struct filter  f;

    (void) state;
    filter_init(&f, &everything);
    assert_int_equal(add(&f, "from", "2023-11-14T22:13:20Z"), RESULT_OK);
    assert_true(filter_match(&f, &d));

    filter_init(&f, &everything);
    assert_int_equal(add(&f, "to", "2023-11-14T22:13:20Z"), RESULT_OK);
    assert_false(filter_match(&f, &d));
    assert_int_equal(add(&f, "from", "2023-11-14T22:13:20Z"), RESULT_INVALID);
}


static void
test_refusals(void **state)
{
    static const char *const  bad[][2] = {
        { "status", "fail" }, { "kind", "" }, { "http", "6xx" },
        { "http", "-1" }, { "http", "x" }, { "attempts[ne]", "1" },
        { "duration_ms", "5" }, { "action_id", "99999999999999999999" },
        { "ref", "B" }, { "ref[]", "B" }, { "ref[a.b]", "B" },
        { "ref[a", "B" }, { "endpoint", "" }, { "endpoint[gt]", "a" },
        { "from", "yesterday" }, { "id", "1" }, { "error", "12" },
        { "endpoint", "\xff" }, { "flag", "nice" }
    };
    struct filter             f;

    (void) state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char  *why;

        filter_init(&f, &everything);
        assert_int_equal(filter_add(&f, slice_of(bad[i][0]),
            slice_of(bad[i][1]), &why), RESULT_INVALID);
        assert_true(why[0] != '\0');
        assert_int_equal(f.nterms, 0);
    }

    filter_init(&f, &everything);
    assert_int_equal(add(&f, "nonsense", "1"), RESULT_NOT_FOUND);
    assert_int_equal(add(&f, "q[gt]", "1"), RESULT_NOT_FOUND);
    assert_int_equal(add(&f, "", ""), RESULT_NOT_FOUND);
    assert_int_equal(add(&f, "q", "a"), RESULT_OK);
    assert_int_equal(add(&f, "q", "b"), RESULT_INVALID);

    for (unsigned i = 0; i < FILTER_MAX_TERMS; i++) {
        assert_int_equal(add(&f, "action_id", "1"), RESULT_OK);
    }
    assert_int_equal(add(&f, "action_id", "1"), RESULT_INVALID);
}


static void
test_scope(void **state)
{
    const int64_t  labs[] = { 11, 12 };
    struct logdoc  d = sample();
    struct scope   org3 = { .org_id = 3 };
    struct scope   org4 = { .org_id = 4 };
    struct scope   two = { .org_id = 3, .labs = labs, .nlabs = 2 };
    struct scope   none = { .org_id = 3, .labs = labs, .nlabs = 0 };
    struct filter  f;

    (void) state;
    assert_true(scope_sees(&org3, 3, LOGDOC_NONE));
    assert_false(scope_sees(&org4, 3, 12));
    assert_false(scope_sees(&org3, LOGDOC_NONE, LOGDOC_NONE));
    assert_true(scope_sees(&two, 3, 12));
    assert_false(scope_sees(&two, 3, 13));
    assert_false(scope_sees(&two, 3, LOGDOC_NONE));
    assert_false(scope_sees(&none, 3, 12));
    assert_true(scope_sees(&everything, LOGDOC_NONE, LOGDOC_NONE));

    filter_init(&f, &org4);
    assert_false(filter_match(&f, &d));
    filter_init(&f, &two);
    assert_true(filter_match(&f, &d));
}


static void
test_hash_and_buckets(void **state)
{
    struct filter  a, b;

    (void) state;
    filter_init(&a, &everything);
    filter_init(&b, &everything);
    assert_int_equal(filter_hash(&a), filter_hash(&b));

    assert_int_equal(add(&a, "kind", "api"), RESULT_OK);
    assert_int_equal(add(&a, "action_id", "5"), RESULT_OK);
    assert_int_equal(add(&b, "action_id", "5"), RESULT_OK);
    assert_int_not_equal(filter_hash(&a), filter_hash(&b));
    assert_int_equal(add(&b, "kind", "api"), RESULT_OK);
    assert_int_equal(filter_hash(&a), filter_hash(&b));
    assert_true(filter_is_bucket(&a));

    assert_int_equal(add(&a, "status", "FAIL"), RESULT_OK);
    assert_false(filter_is_bucket(&a));
    assert_int_equal(add(&b, "q", "x"), RESULT_OK);
    assert_false(filter_is_bucket(&b));
    b.scope.platform = false;
    assert_int_not_equal(filter_hash(&a), filter_hash(&b));
}


/* each row of the table stands at its own index */
static void
test_table(void **state)
{
    (void) state;
    for (int i = 0; i < FILTER_FIELD_COUNT; i++) {
        assert_non_null(filter_fields[i].param);
        assert_int_equal((int) filter_fields[i].field, i);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_or_and_not),
        cmocka_unit_test(test_http),
        cmocka_unit_test(test_null_is_not_equal),
        cmocka_unit_test(test_ordered),
        cmocka_unit_test(test_ref_q_error),
        cmocka_unit_test(test_literal_bang),
        cmocka_unit_test(test_time_is_half_open),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_scope),
        cmocka_unit_test(test_hash_and_buckets),
        cmocka_unit_test(test_table)
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
