/* Deliveries that somebody moves: sent now, later, released, cancelled. */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"

#define MOVE_MAX  (64 * 1024 * 1024)       /* of one log */


struct move_job {
    const struct scope  *scope;
    const uint8_t       *id;
    enum store_move      move;
    int64_t              at_us, now_us;
    struct slice         reason;
    enum log_status      status;
};


static enum result
move_log(struct sqlite_conn *c, struct move_job *job, struct logdoc *d,
    struct arena *a)
{
    struct sqlite_delivery  row;
    bool                    ends = store_move_code(job->move) != NULL;
    enum result             r;

    r = sqlite_log_read(c, job->scope, job->id, a, d);
    if (r != RESULT_OK) {
        return r;
    }

    job->status = d->status;
    r = sqlite_delivery_read(c, job->id, &row);

    if (r == RESULT_OK && row.held) {
        return ends ? sqlite_lane_let_go(c, job->id, &row) : RESULT_CONFLICT;
    }

    if (r == RESULT_NOT_FOUND
        || (r == RESULT_OK && job->move != STORE_RELEASE
            && (row.leased > job->now_us
                || (row.batched && !store_move_drops(job->move)))))
    {
        return RESULT_CONFLICT;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (ends) {
        d->status = LOG_CANCELLED;
        d->next_attempt_us = LOGDOC_NONE;
        d->error_code = slice_of(store_move_code(job->move));
        d->error_message = job->reason;
        d->error_fingerprint = 0;
    } else {
        d->next_attempt_us = job->at_us;
    }

    job->status = d->status;
    r = sqlite_log_update(c, row.id, d);
    return r != RESULT_OK ? r : sqlite_delivery_settle(c, job->id,
        ends ? LOGDOC_NONE : job->at_us);
}


static enum result
move_run(struct sqlite_conn *c, void *arg)
{
    struct move_job  *job = arg;
    struct logdoc    *d = malloc(sizeof(*d));
    struct arena      a;
    enum result       r;

    if (d == NULL) {
        return RESULT_MEMORY;
    }

    arena_init(&a, MOVE_MAX);
    r = move_log(c, job, d, &a);
    arena_cleanup(&a);
    free(d);
    return r;
}


enum result
sqlite_move(struct store *base, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status)
{
    struct move_job  job = { sc, id, move, at_us, clock_wall_us(), reason,
        LOG_PENDING };
    enum result      r;

    r = sqlite_write((struct store_sqlite *) base, move_run, &job);
    *status = job.status;
    return r;
}
