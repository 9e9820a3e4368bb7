/* The retry policy over every outcome, at its edges. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "retry.h"

#define S    INT64_C(1000000)
#define NOW  (INT64_C(1700000000) * S)

static struct retry_case
a_case(unsigned attempts)
{
    return (struct retry_case) {
        .schedule = &retry_webhook, .auto_retry = true, .attempts = attempts,
        .accepted_us = NOW, .now_us = NOW, .random = 0
    };
}


static const struct outcome  again = { .kind = OUTCOME_RETRY,
    .reason = "http_5xx" };


static void
webhook_schedule_is_27_35_05(void **state)
{
    struct retry_case      c;
    struct retry_decision  d;
    int64_t                sum = 0;

    (void) state;

    for (unsigned n = 1; n <= 7; n++) {
        c = a_case(n);
        d = retry_decide(&c, &again);
        assert_int_equal(d.status, LOG_RETRYING);
        assert_true(d.attempt_used);
        assert_string_equal(d.code, "http_5xx");
        sum += d.next_us - NOW;
    }

    assert_int_equal(sum, (27 * 3600 + 35 * 60 + 5) * S);

    c = a_case(8);
    d = retry_decide(&c, &again);
    assert_int_equal(d.status, LOG_FAIL);
    assert_int_equal(d.next_us, LOGDOC_NONE);
    assert_string_equal(d.code, "exhausted");
    assert_string_equal(d.detail, "http_5xx");
}


static void
jitter_only_adds_up_to_a_fifth(void **state)
{
    struct retry_case      c = a_case(2);
    struct retry_decision  d;

    (void) state;

    for (uint64_t random = 0; random <= UINT32_MAX; random += 0x01010101) {
        c.random = (uint32_t) random;
        d = retry_decide(&c, &again);
        assert_in_range(d.next_us - NOW, 300 * S, 360 * S);
    }

    c.random = UINT32_MAX;
    d = retry_decide(&c, &again);
    assert_true(d.next_us - NOW > 359 * S);
}


static void
retry_after_only_lengthens(void **state)
{
    static const struct {
        int64_t  earliest, want;
    } cases[] = {
        { 0, 5 * S }, { NOW + 1 * S, 5 * S }, { NOW + 60 * S, 60 * S },
        { NOW - 3600 * S, 5 * S }, { NOW + 86400 * S, 86400 * S },
        { NOW + 999 * 86400 * S, 86400 * S }, { INT64_MAX, 86400 * S },
        { -1, 5 * S },
    };
    struct retry_case      c = a_case(1);
    struct outcome         o = again;
    struct retry_decision  d;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        o.earliest_us = cases[i].earliest;
        d = retry_decide(&c, &o);
        assert_int_equal(d.next_us - NOW, cases[i].want);
    }
}


static void
every_other_outcome(void **state)
{
    static const struct {
        enum outcome_kind  kind;
        unsigned           attempts;
        enum log_status    want;
        bool               used;
    } cases[] = {
        { OUTCOME_DELIVERED, 1, LOG_SUCCESS, true },
        { OUTCOME_DELIVERED, 99, LOG_SUCCESS, true },
        { OUTCOME_COMMITTED, 1, LOG_COMMITTED, true },
        { OUTCOME_REJECTED, 1, LOG_FAIL, true },
        { OUTCOME_NOT_SENT, 1, LOG_PENDING, false },
        { OUTCOME_NOT_SENT, 2, LOG_RETRYING, false },
        { OUTCOME_NOT_SENT, 99, LOG_RETRYING, false },
    };
    struct retry_case      c;
    struct outcome         o;
    struct retry_decision  d;

    (void) state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = a_case(cases[i].attempts);
        o = (struct outcome) { .kind = cases[i].kind, .reason = "why" };
        d = retry_decide(&c, &o);
        assert_int_equal(d.status, cases[i].want);
        assert_int_equal(d.attempt_used, cases[i].used);
        assert_int_equal(d.next_us, cases[i].used ? LOGDOC_NONE : NOW + S);
    }
}


static void
manual_capped_and_old_end(void **state)
{
    struct retry_case      c = a_case(1);
    struct outcome         o = again;
    struct retry_decision  d;

    (void) state;

    c.auto_retry = false;
    d = retry_decide(&c, &o);
    assert_int_equal(d.status, LOG_FAIL);

    c = a_case(3);
    c.schedule = &retry_hl7;
    o.tries_cap = 3;
    d = retry_decide(&c, &o);
    assert_int_equal(d.status, LOG_FAIL);
    c.attempts = 2;
    d = retry_decide(&c, &o);
    assert_int_equal(d.status, LOG_RETRYING);

    c = a_case(1);
    c.accepted_us = NOW - 5 * 86400 * S + 5 * S;
    d = retry_decide(&c, &again);
    assert_int_equal(d.status, LOG_RETRYING);
    c.accepted_us -= 1;
    d = retry_decide(&c, &again);
    assert_int_equal(d.status, LOG_FAIL);
}


static void
hl7_repeats_its_last_delay(void **state)
{
    struct retry_case      c = a_case(1000);
    struct retry_decision  d;

    (void) state;

    c.schedule = &retry_hl7;
    d = retry_decide(&c, &again);
    assert_int_equal(d.status, LOG_RETRYING);
    assert_int_equal(d.next_us - NOW, 300 * S);
}


static void
schedules_are_parsed(void **state)
{
    static const char *const  bad[] = {
        "", ",", "5", "5x", "s", "0s", "-1s", "8d", "5s,", ",5s", "5s,,5s",
        "99999999999999999999s", "1.5h", "5 s",
    };
    struct retry_schedule  s = retry_webhook;
    const char            *why = NULL;
    char                   many[33 * 3 + 1] = "";

    (void) state;

    assert_int_equal(retry_schedule_parse(slice_of("5s, 5m ,30m,2h,7d"), &s,
        &why), RESULT_OK);
    assert_int_equal(s.n, 5);
    assert_int_equal(s.delays_us[1], 300 * S);
    assert_int_equal(s.delays_us[4], RETRY_MAX_DELAY_US);
    assert_int_equal(s.jitter_pct, 20);

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        why = NULL;
        if (retry_schedule_parse(slice_of(bad[i]), &s, &why)
            != RESULT_INVALID || why == NULL)
        {
            fail_msg("\"%s\" must be refused with a reason", bad[i]);
        }
    }

    for (int i = 0; i < 33; i++) {
        strcat(many, i == 0 ? "1s" : ",1s");
    }

    assert_int_equal(retry_schedule_parse(slice_of(many), &s, &why),
        RESULT_INVALID);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(webhook_schedule_is_27_35_05),
        cmocka_unit_test(jitter_only_adds_up_to_a_fifth),
        cmocka_unit_test(retry_after_only_lengthens),
        cmocka_unit_test(every_other_outcome),
        cmocka_unit_test(manual_capped_and_old_end),
        cmocka_unit_test(hl7_repeats_its_last_delay),
        cmocka_unit_test(schedules_are_parsed),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
