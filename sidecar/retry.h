/*
 * When a failure is tried again: sole owner of time and attempts.  Pure: the
 * clock and the random number come as arguments.
 */

#ifndef RETRY_H
#define RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "logdoc.h"
#include "outcome.h"
#include "result.h"

#define RETRY_MAX_DELAYS      32
#define RETRY_MAX_DELAY_US    (INT64_C(7) * 86400 * 1000000)
#define RETRY_AFTER_MAX_US    (INT64_C(86400) * 1000000)
#define RETRY_NOT_SENT_US     INT64_C(1000000)

struct retry_schedule {
    int64_t   delays_us[RETRY_MAX_DELAYS]; /* [0]: after the first attempt */
    unsigned  n;
    bool      endless;                     /* the last delay repeats */
    int64_t   max_age_us;                  /* since accepted; 0: none */
    unsigned  jitter_pct;                  /* up to so much is added */
};

extern const struct retry_schedule  retry_webhook;     /* 8 in 27:35:05 */
extern const struct retry_schedule  retry_hl7;         /* 1, 2, 4 .. 300 s */

/*
 * Reads "5s,5m,30m,2h" into S (jitter and age stay).  RESULT_INVALID: *why is
 * static text.
 */
must_check enum result retry_schedule_parse(struct slice text,
    struct retry_schedule *s, const char **why);

struct retry_case {
    const struct retry_schedule  *schedule;
    bool      auto_retry;                  /* is_auto_retry */
    unsigned  attempts;                    /* used, this one included */
    int64_t   accepted_us;                 /* the 202, wall time */
    int64_t   now_us;
    uint32_t  random;                      /* uniform */
};

struct retry_decision {
    enum log_status  status;               /* to move to */
    bool             attempt_used;         /* false: give it back */
    int64_t          next_us;              /* PENDING, RETRYING; else NONE */
    const char      *code;                 /* error code; NULL on success */
    const char      *detail;               /* "exhausted: .." reason or NULL */
};

/* Total over every outcome: there is always a decision. */
struct retry_decision retry_decide(const struct retry_case *c,
    const struct outcome *o);

#endif /* RETRY_H */
