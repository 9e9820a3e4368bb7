/*
 * What a batch retry would send: counted before anything is, frozen by the ids
 * of the logs.  Selections of any size are walked by pages.
 */

#ifndef RETRY_PLAN_H
#define RETRY_PLAN_H

#include "resend.h"
#include "retry_doc.h"

struct retry_ask {
    const struct filter  *filter;          /* to_us is set */
    const char           *query;           /* the same as text, to be shown */
    int64_t               org_id;          /* who asks */
    int64_t               deadline_us;     /* clock_mono_us() */
    size_t                looked;          /* out: logs looked at */
};

/*
 * Keeps the plan and gives its document, ID as its id.  TIMEOUT: the deadline
 * passed; TOO_BIG: over RETRY_MAX logs match; nothing is kept then.
 */
must_check enum result retry_plan_make(struct store *s, struct routes *routes,
    struct retry_ask *ask, const uint8_t id[UUID_BYTES],
    struct retry_doc *out);

struct retry_order {
    const char   *plan;
    const char   *key_id, *name;           /* who orders it */
    int64_t       rate, stop_after;
    struct slice  reason;
};

/*
 * A job of the plan, of that id, and tells the runners.  The same call again is
 * harmless.  NOT_FOUND: no such plan in the scope; INVALID: it has nothing
 * to send; CONFLICT: it was used, *used is its job.
 */
must_check enum result retry_job_make(struct store *s, const struct scope *sc,
    const struct retry_order *o, const uint8_t id[UUID_BYTES],
    struct retry_doc *out, char used[UUID_TEXT + 1]);

enum retry_act { RETRY_PAUSE, RETRY_RESUME, RETRY_CANCEL };

/* INVALID: its state does not allow it; *out is the job all the same. */
must_check enum result retry_job_act(struct store *s, const struct scope *sc,
    const char *job, enum retry_act act, struct retry_doc *out);

#endif /* RETRY_PLAN_H */
