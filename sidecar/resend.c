/* May it be sent again, and the copy that is. */

#include "resend.h"

#include "clock.h"
#include "direct.h"
#include "lane.h"

#define RESEND_DEPTH   8                   /* copies of copies */
#define RESEND_COPIES  20                  /* of one log, newest first */
#define RESEND_US      2000000             /* to look for them */

static const char *const  why_text[RESEND_WHYS] = {
    [RESEND_OK] = "",
    [RESEND_INBOUND] = "inbound",
    [RESEND_CAPTURED] = "captured",
    [RESEND_IN_FLIGHT] = "in_flight",
    [RESEND_BODY_CUT] = "body_cut",
    [RESEND_BODY_NOT_KEPT] = "body_not_kept",
    [RESEND_SUCCEEDED] = "already_succeeded",
    [RESEND_COMMITTED] = "committed",
    [RESEND_SUPERSEDED] = "superseded",
    [RESEND_DISABLED] = "integration_disabled",
    [RESEND_DELETED] = "integration_deleted",
    [RESEND_DEVELOPER] = "developer_disabled",
    [RESEND_GONE] = "gone"
};


const char *
resend_why_text(enum resend_why w)
{
    return why_text[w];
}


static bool
is_open(const struct logdoc *d)
{
    return d->status == LOG_PENDING || d->status == LOG_RETRYING;
}


enum resend_why
resend_log(const struct logdoc *d)
{
    return d->kind == LOG_KIND_API ? RESEND_INBOUND
           : d->integration_id.n == 0 ? RESEND_CAPTURED
           : is_open(d) ? RESEND_IN_FLIGHT
           : d->request.cut.n > 0 ? RESEND_BODY_CUT
           : d->request.data.n == 0 ? RESEND_BODY_NOT_KEPT : RESEND_OK;
}


/* The copies of a log, newest first, in any tenant: they are its owner's. */
static enum result
copies_find(struct store *s, const struct logdoc *d, struct arena *a,
    struct store_rows *rows)
{
    const struct scope  all = { .platform = true };
    struct store_page   page = {
        .limit = RESEND_COPIES, .deadline_us = clock_mono_us() + RESEND_US
    };
    struct filter      *f = arena_alloc(a, sizeof(*f));
    char               *id = arena_alloc(a, UUID_TEXT + 1);
    enum result         r;

    if (f == NULL || id == NULL) {
        return RESULT_TOO_BIG;
    }

    uuid_text(d->id, id);
    filter_init(f, &all);
    f->terms[f->nterms++] = (struct filter_term) {
        .field = FILTER_RESEND_OF, .op = FILTER_EQ, .text = slice_of(id)
    };

    r = store_logs_find(s, f, &page, a, rows);
    return r == RESULT_OK && rows->partial ? RESULT_TIMEOUT : r;
}


static enum result
judge_copies(struct store *s, const struct logdoc *d, struct arena *a,
    unsigned depth, enum resend_why *why)
{
    struct store_rows  rows;
    enum resend_why    below;
    enum result        r;

    memset(&rows, 0, sizeof(rows));
    *why = RESEND_OK;
    r = copies_find(s, d, a, &rows);

    for (size_t i = 0; r == RESULT_OK && i < rows.n; i++) {
        const struct logdoc  *copy = &rows.rows[i];

        below = is_open(copy) ? RESEND_IN_FLIGHT
                : copy->status == LOG_SUCCESS || copy->status == LOG_COMMITTED
                    ? RESEND_SUCCEEDED : RESEND_SUPERSEDED;

        if (below == RESEND_SUPERSEDED && depth > 1) {
            r = judge_copies(s, copy, a, depth - 1, &below);
            below = below == RESEND_OK ? RESEND_SUPERSEDED : below;
        }

        /* what went well, or may yet, says more than what failed */
        if (*why == RESEND_OK || *why == RESEND_SUPERSEDED) {
            *why = below;
        }
    }

    return r;
}


static enum result
judge_receiver(struct routes *routes, const struct logdoc *d,
    enum resend_why *why)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    bool                       held;
    enum result                r;

    if (direct_is(d)) {
        *why = RESEND_OK;                  /* to its own URL */
        return RESULT_OK;
    }

    r = routes_get(routes, d->integration_id, &pin, &i, &held);

    if (r == RESULT_NOT_FOUND) {
        *why = RESEND_DELETED;
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    *why = !held ? RESEND_OK : i->enabled ? RESEND_DEVELOPER : RESEND_DISABLED;
    routes_release(pin);
    return RESULT_OK;
}


enum result
resend_one_of_many(struct store *s, struct routes *routes,
    const struct logdoc *d, struct arena *a, enum resend_why *why)
{
    enum result  r;

    *why = d->kind != LOG_KIND_API && d->status == LOG_SUCCESS
               ? RESEND_SUCCEEDED
           : d->status == LOG_COMMITTED ? RESEND_COMMITTED : resend_log(d);

    if (*why != RESEND_OK) {
        return RESULT_OK;
    }

    r = judge_receiver(routes, d, why);
    return r != RESULT_OK || *why != RESEND_OK ? r
        : judge_copies(s, d, a, RESEND_DEPTH, why);
}


/* As its integration is now; it may be gone, then dispatch says so. */
static void
stand_in_line(struct logdoc *d, struct routes *routes, struct arena *a)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    bool                       held;

    if (routes_get(routes, d->integration_id, &pin, &i, &held) != RESULT_OK) {
        return;
    }

    if (lane_fill(d, i, NULL, a) != RESULT_OK) {
        d->lane_flags = 0;
    }

    routes_release(pin);
}


enum result
resend_copy(struct logdoc *d, const uint8_t id[UUID_BYTES], struct slice body,
    struct routes *routes, struct arena *a)
{
    char  *of = arena_alloc(a, UUID_TEXT + 1);
    char  *own = arena_alloc(a, UUID_TEXT + 1);

    if (of == NULL || own == NULL) {
        return RESULT_TOO_BIG;
    }

    uuid_text(d->id, of);
    uuid_text(id, own);
    memcpy(d->id, id, UUID_BYTES);
    d->resend_of = slice_of(of);

    if (body.p != NULL) {
        d->message_id = slice_of(own);
        d->request = (struct log_body) {
            .headers = d->request.headers, .data = body,
            .bytes = (int64_t) body.n
        };

    } else if (d->message_id.n == 0) {
        d->message_id = d->resend_of;
    }

    d->started_us = uuid_time_us(id);
    d->status = LOG_PENDING;
    d->attempts = 0;
    d->token = 0;
    d->lease_until_us = LOGDOC_NONE;
    d->next_attempt_us = d->started_us;
    d->flags = 0;
    d->batch_id = SLICE_NONE;
    d->error_code = d->error_message = SLICE_NONE;
    d->error_fingerprint = 0;
    d->http_status = LOGDOC_NONE;
    d->duration_us = d->connect_us = d->first_byte_us = LOGDOC_NONE;
    d->expires_us = LOGDOC_NONE;
    d->response = (struct log_body) { .bytes = LOGDOC_NONE };
    memset(d->digest, 0, sizeof(d->digest));
    d->lane = SLICE_NONE;
    d->lane_flags = 0;
    d->lane_us = LOGDOC_NONE;
    stand_in_line(d, routes, a);

    return RESULT_OK;
}
