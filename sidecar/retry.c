/*
 * The retry policy.  Waiting is only ever added: next = max(delay plus jitter,
 * Retry-After up to a day).  A delivery ends when it succeeds, is rejected,
 * has used its schedule, or would next be tried past its greatest age.
 */

#include "retry.h"

#include <string.h>

#define SECOND  INT64_C(1000000)
#define MINUTE  (60 * SECOND)
#define HOUR    (60 * MINUTE)
#define DAY     (24 * HOUR)

const struct retry_schedule  retry_webhook = {
    .delays_us = { 5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR,
        10 * HOUR, 10 * HOUR },
    .n = 7,
    .max_age_us = 5 * DAY,
    .jitter_pct = 20,
};

const struct retry_schedule  retry_hl7 = {
    .delays_us = { 1 * SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 16 * SECOND,
        32 * SECOND, 64 * SECOND, 128 * SECOND, 256 * SECOND, 300 * SECOND },
    .n = 10,
    .endless = true,
    .max_age_us = 5 * DAY,
    .jitter_pct = 20,
};


/* "30m" in microseconds, 0 when it is none. */
static int64_t
delay_parse(struct slice s)
{
    int64_t  unit, n;

    if (s.n < 2) {
        return 0;
    }

    switch (s.p[s.n - 1]) {
    case 's': unit = SECOND; break;
    case 'm': unit = MINUTE; break;
    case 'h': unit = HOUR; break;
    case 'd': unit = DAY; break;
    default: return 0;
    }

    s.n--;

    if (slice_int(s, &n) != RESULT_OK || n < 1
        || n > RETRY_MAX_DELAY_US / unit)
    {
        return 0;
    }

    return n * unit;
}


static struct slice
item_trim(const char *p, size_t n)
{
    while (n > 0 && *p == ' ') {
        p++;
        n--;
    }

    while (n > 0 && p[n - 1] == ' ') {
        n--;
    }

    return (struct slice) { p, n };
}


enum result
retry_schedule_parse(struct slice text, struct retry_schedule *s,
    const char **why)
{
    const char  *p, *comma, *end;
    int64_t      delay;

    s->n = 0;
    p = text.p;
    end = text.p + text.n;

    while (p < end) {
        comma = memchr(p, ',', (size_t) (end - p));
        comma = comma == NULL ? end : comma;

        if (s->n == RETRY_MAX_DELAYS) {
            *why = "at most 32 delays";
            return RESULT_INVALID;
        }

        delay = delay_parse(item_trim(p, (size_t) (comma - p)));
        if (delay == 0) {
            *why = "delays are a number and s, m, h or d, at most 7d, "
                   "for example 5s,5m,30m,2h";
            return RESULT_INVALID;
        }

        s->delays_us[s->n++] = delay;
        p = comma + 1;
    }

    if (s->n == 0 || text.p[text.n - 1] == ',') {
        *why = "give at least one delay, for example 5s,5m,30m,2h";
        return RESULT_INVALID;
    }

    return RESULT_OK;
}


static int64_t
delay_with_jitter(const struct retry_schedule *s, unsigned attempts,
    uint32_t random)
{
    unsigned  i = attempts == 0 ? 0 : attempts - 1;
    int64_t   delay, most;

    i = i >= s->n ? s->n - 1 : i;
    delay = s->delays_us[i];
    most = delay / 100 * s->jitter_pct;

    /* most < 2^38: 24 bits of the random number fit beside it */
    return delay + (most * (int64_t) (random >> 8) >> 24);
}


static struct retry_decision
decision_end(enum log_status status, const char *code, const char *detail)
{
    return (struct retry_decision) {
        .status = status, .attempt_used = true, .next_us = LOGDOC_NONE,
        .code = code, .detail = detail
    };
}


static bool
tries_are_used(const struct retry_case *c, const struct outcome *o)
{
    if (!c->auto_retry) {
        return true;
    }

    if (o->tries_cap != 0 && c->attempts >= o->tries_cap) {
        return true;
    }

    return !c->schedule->endless && c->attempts > c->schedule->n;
}


static struct retry_decision
decide_retry(const struct retry_case *c, const struct outcome *o)
{
    int64_t  next, after;

    if (tries_are_used(c, o)) {
        return decision_end(LOG_FAIL, "exhausted", o->reason);
    }

    next = c->now_us + delay_with_jitter(c->schedule, c->attempts, c->random);

    if (o->earliest_us > 0) {
        after = o->earliest_us;
        if (after > c->now_us + RETRY_AFTER_MAX_US) {
            after = c->now_us + RETRY_AFTER_MAX_US;
        }

        next = after > next ? after : next;
    }

    if (c->schedule->max_age_us > 0
        && next - c->accepted_us > c->schedule->max_age_us)
    {
        return decision_end(LOG_FAIL, "exhausted", o->reason);
    }

    return (struct retry_decision) {
        .status = LOG_RETRYING, .attempt_used = true, .next_us = next,
        .code = o->reason, .detail = NULL
    };
}


struct retry_decision
retry_decide(const struct retry_case *c, const struct outcome *o)
{
    switch (o->kind) {

    case OUTCOME_DELIVERED:
        return decision_end(LOG_SUCCESS, NULL, NULL);

    case OUTCOME_COMMITTED:
        return decision_end(LOG_COMMITTED, NULL, NULL);

    case OUTCOME_REJECTED:
        return decision_end(LOG_FAIL, o->reason, NULL);

    case OUTCOME_NOT_SENT:
        /* a first attempt given back leaves the delivery as it was */
        return (struct retry_decision) {
            .status = c->attempts <= 1 ? LOG_PENDING : LOG_RETRYING,
            .attempt_used = false,
            .next_us = strcmp(o->reason, "shutdown") == 0 ? c->now_us
                           : c->now_us + RETRY_NOT_SENT_US,
            .code = o->reason, .detail = NULL
        };

    case OUTCOME_RETRY:
        break;
    }

    return decide_retry(c, o);
}
