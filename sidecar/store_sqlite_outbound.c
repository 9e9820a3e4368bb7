/*
 * Deliveries under way.  Table delivery holds one row for each log that is
 * PENDING or RETRYING: when it is due (or its lease ends), who owns it by
 * token.  A row is gone when the log has ended, so the table stays as small as
 * what is open (and what holds its lane).  Attempts are rows of
 * integration_retry_log, written once.  Lanes: store_sqlite_lane.c.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"

#define PACK_MAX  (64 * 1024 * 1024)


static size_t
lane_copy(struct slice from, char to[SQLITE_MAX_LANE])
{
    size_t  n = from.n < SQLITE_MAX_LANE ? from.n : SQLITE_MAX_LANE;

    if (n > 0) {
        memcpy(to, from.p, n);
    }

    return n;
}


enum result
sqlite_delivery_read(struct sqlite_conn *c, const uint8_t uid[UUID_BYTES],
    struct sqlite_delivery *row)
{
    sqlite3_stmt  *st;
    struct slice   batch;
    int            rc;

    st = sqlite_stmt_get(c, SQL_DELIVERY_READ, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "delivery");
    }

    sqlite_bind_blob(st, 1, uid, UUID_BYTES);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        row->id = sqlite3_column_int64(st, 0);
        row->due = sqlite3_column_int64(st, 1);
        row->token = sqlite3_column_int64(st, 2);
        row->leased = sqlite3_column_int64(st, 3);
        row->since = sqlite3_column_int64(st, 4);
        row->flags = (uint32_t) sqlite3_column_int64(st, 5);
        row->held = sqlite3_column_int(st, 6) != 0;
        row->nlane = lane_copy(sqlite_column_slice(st, 7), row->lane);
        batch = sqlite_column_slice(st, 8);
        row->batched = batch.n == UUID_BYTES;

        if (row->batched) {
            memcpy(row->batch, batch.p, UUID_BYTES);
        }
    }

    sqlite3_reset(st);
    return rc == SQLITE_ROW ? RESULT_OK
           : rc == SQLITE_DONE ? RESULT_NOT_FOUND
                               : sqlite_result(c, rc, "delivery");
}


enum result
sqlite_delivery_insert(struct sqlite_conn *c, const struct logdoc *d,
    int64_t id)
{
    bool           leased = d->lease_until_us != LOGDOC_NONE;
    sqlite3_stmt  *st;
    int            rc;

    if ((d->status != LOG_PENDING && d->status != LOG_RETRYING)
        || d->next_attempt_us == LOGDOC_NONE)
    {
        return RESULT_OK;
    }

    st = sqlite_stmt_get(c, SQL_DELIVERY_INSERT, &rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, d->id, UUID_BYTES);
        sqlite3_bind_int64(st, 2, id);
        sqlite3_bind_int64(st, 3, leased ? d->lease_until_us
                                         : d->next_attempt_us);
        sqlite3_bind_int64(st, 4, d->priority == LOGDOC_NONE ? 1
                                                             : d->priority);
        sqlite3_bind_int64(st, 5, d->lane_us != LOGDOC_NONE ? d->lane_us
                                      : d->next_attempt_us);

        if (d->lane.n > 0) {
            sqlite_bind_blob(st, 6, d->lane.p, d->lane.n < SQLITE_MAX_LANE
                ? d->lane.n : SQLITE_MAX_LANE);
        }

        sqlite3_bind_int64(st, 7, d->lane.n > 0 ? d->lane_flags : 0);
        sqlite3_bind_int64(st, 8, (int64_t) d->request.data.n);
        sqlite3_bind_int64(st, 9, leased ? d->token : 0);
        sqlite3_bind_int64(st, 10, leased ? d->lease_until_us : 0);
        rc = sqlite_stmt_done(st);
    }

    return rc != SQLITE_DONE || d->lane.n == 0 || d->resend_of.n == 0
               ? sqlite_result(c, rc, "delivery")
               : sqlite_lane_take_over(c, d);
}


/* -- claiming ------------------------------------------------------------ */

struct claim_job {
    struct store_claim  *claims;
    size_t               n;
    int64_t              now_us, lease_us;
    struct arena        *a;
};


/* One more attempt and token for the row, or for all of its batch. */
static enum result
claim_take(struct sqlite_conn *c, const struct claim_job *job,
    const struct store_claim *claim, const struct sqlite_delivery *row)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, row->batched ? SQL_BATCH_CLAIM
                                         : SQL_DELIVERY_CLAIM, &rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, row->batched ? row->batch : claim->id,
            UUID_BYTES);
        sqlite3_bind_int64(st, 2, job->lease_us);
        rc = sqlite_stmt_done(st);
    }

    if (rc != SQLITE_DONE) {
        return sqlite_result(c, rc, "claim");
    }

    st = sqlite_stmt_get(c, row->batched ? SQL_BATCH_ATTEMPT
                                         : SQL_LOG_ATTEMPT, &rc);

    if (st != NULL) {
        if (row->batched) {
            sqlite_bind_blob(st, 1, row->batch, UUID_BYTES);
        } else {
            sqlite3_bind_int64(st, 1, row->id);
            sqlite3_bind_int64(st, 2, 1);
        }

        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "claim");
}


struct renew_job {
    const struct store_lease  *leases;
    size_t                     n, kept;
    int64_t                    until_us;
};


static enum result
renew_run(struct sqlite_conn *c, void *arg)
{
    struct renew_job  *job = arg;
    sqlite3_stmt      *st;
    int                rc = SQLITE_DONE;

    job->kept = 0;

    for (size_t i = 0; i < job->n && rc == SQLITE_DONE; i++) {
        const struct store_lease  *l = &job->leases[i];

        st = sqlite_stmt_get(c, l->batched ? SQL_BATCH_RENEW
                                           : SQL_DELIVERY_RENEW, &rc);

        if (st != NULL) {
            sqlite_bind_blob(st, 1, l->id, UUID_BYTES);
            sqlite3_bind_int64(st, 2, l->token);
            sqlite3_bind_int64(st, 3, job->until_us);
            rc = sqlite_stmt_done(st);
            job->kept += rc == SQLITE_DONE && sqlite3_changes(c->db) > 0;
        }
    }

    return sqlite_result(c, rc, "renewal");
}


enum result
sqlite_renew(struct store *base, const struct store_lease *leases, size_t n,
    int64_t lease_until_us, size_t *kept)
{
    struct renew_job  job = { leases, n, 0, lease_until_us };
    enum result       r;

    r = sqlite_write((struct store_sqlite *) base, renew_run, &job);
    *kept = job.kept;
    return r;
}


/* May the row go now?  Else the claim says why not. */
static enum result
claim_judge(struct sqlite_conn *c, const struct claim_job *job,
    struct store_claim *claim, const struct sqlite_delivery *row, bool *may)
{
    enum result  r = RESULT_OK;

    *may = false;

    if (row->held) {
        return RESULT_OK;
    }

    claim->due_us = row->due;

    /* an open batch is asked for early: it may be full */
    if ((row->flags & LOG_LANE_BATCH) && !row->batched) {
        claim->forming = row->since <= job->now_us;
        claim->due_us = claim->forming ? row->due : row->since;
        claim->lane = arena_copy(job->a,
            (struct slice) { row->lane, row->nlane });

        return RESULT_OK;
    }

    if (row->due > job->now_us) {
        return RESULT_OK;
    }

    *may = true;

    if (row->flags & LOG_LANE_ORDERED) {
        r = sqlite_lane_is_first(c, claim->id, row, may);
        claim->behind = !*may;
    }

    return r;
}


static enum result
claim_row(struct sqlite_conn *c, const struct claim_job *job,
    struct store_claim *claim)
{
    struct sqlite_delivery  row;
    bool                    may = false;
    enum result             r;

    claim->claimed = claim->behind = claim->forming = false;
    claim->due_us = LOGDOC_NONE;
    r = sqlite_delivery_read(c, claim->id, &row);

    if (r != RESULT_OK) {
        return r == RESULT_NOT_FOUND ? RESULT_OK : r;
    }

    r = claim_judge(c, job, claim, &row, &may);

    if (r != RESULT_OK || !may) {
        return r;
    }

    r = claim_take(c, job, claim, &row);
    claim->claimed = r == RESULT_OK;
    claim->since_us = row.since;
    claim->doc.token = row.token + 1;
    claim->doc.batch_id = SLICE_NONE;

    if (row.batched) {
        char  text[UUID_TEXT + 1];

        uuid_text(row.batch, text);
        claim->doc.batch_id = arena_copy(job->a, slice_of(text));
    }

    return r;
}


static enum result
claim_run(struct sqlite_conn *c, void *arg)
{
    struct claim_job  *job = arg;
    enum result        r = RESULT_OK;

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        r = claim_row(c, job, &job->claims[i]);
    }

    return r;
}


/* What was claimed is read afterwards: the lease keeps it as it is. */
static enum result
claim_read(struct store_sqlite *s, const struct claim_job *job)
{
    const struct scope   all = { .platform = true };
    struct sqlite_conn  *c;
    struct slice         batch;
    int64_t              token;
    enum result          r;

    r = sqlite_read_begin(s, 0, &c);
    if (r != RESULT_OK) {
        return r;
    }

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        struct store_claim  *claim = &job->claims[i];

        if (claim->claimed) {
            token = claim->doc.token;
            batch = claim->doc.batch_id;
            r = sqlite_log_read(c, &all, claim->id, job->a, &claim->doc);
            claim->doc.token = token;
            claim->doc.batch_id = batch;
            claim->doc.lease_until_us = job->lease_us;
        }
    }

    sqlite_read_end(c);
    return r;
}


enum result
sqlite_claim(struct store *base, int64_t now_us, int64_t lease_until_us,
    struct arena *a, struct store_claim *claims, size_t n)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    struct claim_job      job = { claims, n, now_us, lease_until_us, a };
    enum result           r;

    r = sqlite_write(s, claim_run, &job);
    return r != RESULT_OK ? r : claim_read(s, &job);
}


/* -- finishing ----------------------------------------------------------- */

/* A log as it will be, packed before the writer has it: compressing is work of
 * the caller's thread. */
struct finish_log {
    struct logdoc  d;
    size_t         detail, detail_n;       /* in the job's bytes */
    size_t         body, body_n, attempt, attempt_n;
    bool           packed;
};

struct finish_job {
    struct store_finish  *f;
    size_t                n;
    struct finish_log    *logs;
    struct buf            bytes;
};


static enum result
attempt_pack(struct store_sqlite *s, const struct log_attempt *t,
    struct buf *out)
{
    struct logdoc  *d = malloc(sizeof(*d));
    enum result     r;

    if (d == NULL) {
        return RESULT_MEMORY;
    }

    logdoc_init(d);
    d->request = t->request;
    d->response = t->response;
    r = sqlite_pack_body(s, d, out);
    free(d);
    return r;
}


static enum result
attempt_insert(struct sqlite_conn *c, int64_t id, const struct log_attempt *t,
    struct slice body)
{
    sqlite3_stmt   *st;
    int             rc;

    st = sqlite_stmt_get(c, SQL_ATTEMPT_INSERT, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, id);
        sqlite3_bind_int64(st, 2, t->number);
        sqlite_bind_int(st, 3, t->started_us);
        sqlite_bind_int(st, 4, t->duration_us);
        sqlite_bind_int(st, 5, t->connect_us);
        sqlite_bind_int(st, 6, t->first_byte_us);
        sqlite_bind_int(st, 7, t->http_status);
        sqlite_bind_int(st, 8, t->next_attempt_us);
        sqlite_bind_slice(st, 9, t->outcome);
        sqlite_bind_slice(st, 10, t->error_code);
        sqlite_bind_slice(st, 11, t->error_message);
        sqlite_bind_int(st, 12, t->request.bytes);
        sqlite_bind_int(st, 13, t->response.bytes);
        sqlite_bind_slice(st, 14, t->response.cut);
        sqlite_bind_blob(st, 15, body.p, body.n);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "attempt");
}


static enum result
log_pack(struct store_sqlite *s, struct finish_log *l,
    const struct log_attempt *t, struct buf *bytes)
{
    enum result  r;

    l->detail = bytes->n;
    sqlite_pack_detail(&l->d, bytes);
    l->body = bytes->n;
    l->detail_n = l->body - l->detail;
    r = sqlite_pack_body(s, &l->d, bytes);
    l->attempt = bytes->n;
    l->body_n = l->attempt - l->body;

    if (r == RESULT_OK && t != NULL) {
        r = attempt_pack(s, t, bytes);
    }

    l->attempt_n = bytes->n - l->attempt;
    l->packed = true;
    return bytes->failed ? RESULT_TOO_BIG : r;
}


static enum result
log_write_row(struct sqlite_conn *c, int64_t id, const struct logdoc *d)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_UPDATE, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, id);
        sqlite_bind_int(st, 2, (int64_t) d->status);
        sqlite_bind_int(st, 3, d->http_status);

        if (d->error_fingerprint != 0) {
            sqlite3_bind_int64(st, 4, (int64_t) d->error_fingerprint);
        }

        sqlite_bind_int(st, 5, d->duration_us);
        sqlite_bind_int(st, 6, d->attempts);
        sqlite_bind_int(st, 7, (int64_t) d->flags);
        sqlite_bind_int(st, 8, sqlite_expires_hour(d));
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "finish");
}


static enum result
log_put(struct sqlite_conn *c, int64_t id, const struct finish_log *l,
    const struct buf *bytes)
{
    enum result  r;

    r = log_write_row(c, id, &l->d);
    r = r != RESULT_OK ? r : sqlite_blob_put(c, SQL_DETAIL_PUT, id,
        bytes->p + l->detail, l->detail_n);

    return r != RESULT_OK ? r : sqlite_blob_put(c, SQL_BODY_PUT, id,
        bytes->p + l->body, l->body_n);
}


/* A log that was changed otherwise: packed here. */
static enum result
log_update(struct sqlite_conn *c, int64_t id, const struct logdoc *d)
{
    struct finish_log  *l = malloc(sizeof(*l));
    struct buf          bytes;
    enum result         r;

    if (l == NULL) {
        return RESULT_MEMORY;
    }

    l->d = *d;
    buf_init(&bytes, PACK_MAX);
    r = log_pack(c->store, l, NULL, &bytes);
    r = r != RESULT_OK ? r : log_put(c, id, l, &bytes);
    buf_cleanup(&bytes);
    free(l);
    return r;
}


/* DUE: when it goes on, LOGDOC_NONE: it has ended, INT64_MAX: it is held. */
static enum result
delivery_settle(struct sqlite_conn *c, const uint8_t uid[UUID_BYTES],
    int64_t due_us)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, due_us == LOGDOC_NONE ? SQL_DELIVERY_DELETE
                            : due_us == INT64_MAX ? SQL_DELIVERY_HOLD
                                                  : SQL_DELIVERY_MOVE, &rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, uid, UUID_BYTES);

        if (due_us != LOGDOC_NONE) {
            sqlite3_bind_int64(st, 2, due_us);
        }

        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "finish");
}


/* Nothing happened to it: only its turn is another, and no attempt was used. */
static enum result
finish_give_back(struct sqlite_conn *c, const struct store_finish *f,
    const struct sqlite_delivery *row)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_ATTEMPT, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, row->id);
        sqlite3_bind_int64(st, 2, -1);
        rc = sqlite_stmt_done(st);
    }

    return rc != SQLITE_DONE ? sqlite_result(c, rc, "finish")
                             : delivery_settle(c, f->id, f->next_attempt_us);
}


/* The caller did not have the log: it is read, in the writer's thread. */
static enum result
finish_read(struct sqlite_conn *c, struct finish_job *job, size_t i,
    const struct sqlite_delivery *row, struct arena *a)
{
    const struct scope  all = { .platform = true };
    struct finish_log  *l = &job->logs[i];
    char                batch[UUID_TEXT + 1];
    enum result         r;

    r = sqlite_log_read(c, &all, job->f[i].id, a, &l->d);

    if (r == RESULT_OK && row->batched) {
        uuid_text(row->batch, batch);
        l->d.batch_id = arena_copy(a, slice_of(batch));
    }

    if (r == RESULT_OK) {
        store_finish_apply(&l->d, &job->f[i]);
        r = log_pack(c->store, l, job->f[i].attempt, &job->bytes);
        l->packed = false;                 /* the next run reads anew */
    }

    return r;
}


static enum result
finish_log(struct sqlite_conn *c, struct finish_job *job, size_t i,
    const struct sqlite_delivery *row, struct sqlite_heat *heat)
{
    const struct store_finish  *f = &job->f[i];
    struct finish_log          *l = &job->logs[i];
    struct arena                a;
    enum result                 r = RESULT_OK;

    arena_init(&a, PACK_MAX);

    if (!l->packed) {
        r = finish_read(c, job, i, row, &a);
    }

    if (r == RESULT_OK && f->attempt != NULL) {
        r = attempt_insert(c, row->id, f->attempt,
            (struct slice) { job->bytes.p + l->attempt, l->attempt_n });
    }

    r = r != RESULT_OK ? r : log_put(c, row->id, l, &job->bytes);
    r = r != RESULT_OK || !row->batched ? r : sqlite_batch_note(c, row);
    r = r != RESULT_OK || !log_status_ended(f->status) ? r
        : sqlite_heat_log(c, heat, &l->d);

    arena_cleanup(&a);
    return r;
}


static enum result
finish_row(struct sqlite_conn *c, struct finish_job *job, size_t i,
    struct sqlite_heat *heat)
{
    struct store_finish    *f = &job->f[i];
    struct sqlite_delivery  row;
    enum result             r;

    f->late = f->next = false;
    r = sqlite_delivery_read(c, f->id, &row);

    if (r == RESULT_NOT_FOUND
        || (r == RESULT_OK && (row.token != f->token || row.held)))
    {
        f->late = true;
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (!log_status_ended(f->status) && !f->attempt_used) {
        return finish_give_back(c, f, &row);
    }

    r = finish_log(c, job, i, &row, heat);
    r = r != RESULT_OK ? r : delivery_settle(c, f->id,
        !log_status_ended(f->status) ? f->next_attempt_us
            : f->hold && (row.flags & LOG_LANE_ORDERED) ? INT64_MAX
                                                        : LOGDOC_NONE);

    return r != RESULT_OK || !log_status_ended(f->status)
               || !(row.flags & LOG_LANE_ORDERED) ? r
                   : sqlite_lane_next(c, &row, f);
}


static enum result
finish_run(struct sqlite_conn *c, void *arg)
{
    struct finish_job   *job = arg;
    struct sqlite_heat  *heat;
    enum result          r;

    r = sqlite_heat_create(&heat);
    if (r != RESULT_OK) {
        return r;
    }

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        r = finish_row(c, job, i, heat);
    }

    r = r != RESULT_OK ? r : sqlite_heat_flush(heat, c);
    sqlite_heat_destroy(heat);

    /* rows were written before it: this is not "changed nothing" */
    return r == RESULT_CONFLICT || r == RESULT_NOT_FOUND ? RESULT_INTERNAL : r;
}


/* What changes nothing but its turn needs no log. */
static enum result
finish_pack(struct store_sqlite *s, struct finish_job *job)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        const struct store_finish  *f = &job->f[i];

        if (f->doc == NULL || (!log_status_ended(f->status) && !f->attempt_used)) {
            continue;
        }

        job->logs[i].d = *f->doc;
        store_finish_apply(&job->logs[i].d, f);
        r = log_pack(s, &job->logs[i], f->attempt, &job->bytes);
    }

    return r;
}


enum result
sqlite_finish(struct store *base, struct store_finish *f, size_t n)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    struct finish_job     job = { .f = f, .n = n };
    enum result           r;

    buf_init(&job.bytes, (size_t) 4 * PACK_MAX);
    job.logs = calloc(n, sizeof(*job.logs));
    r = job.logs == NULL ? RESULT_MEMORY : finish_pack(s, &job);
    r = r != RESULT_OK ? r : sqlite_write(s, finish_run, &job);
    buf_cleanup(&job.bytes);
    free(job.logs);
    return r;
}


/* -- moves by hand ------------------------------------------------------- */

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
    bool                    ends = job->move == STORE_CANCEL
                                   || job->move == STORE_DROP;
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
                || (row.batched && job->move != STORE_DROP))))
    {
        return RESULT_CONFLICT;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (ends) {
        d->status = LOG_CANCELLED;
        d->next_attempt_us = LOGDOC_NONE;
        d->error_code = SLICE_LIT("cancelled");
        d->error_message = job->reason;
        d->error_fingerprint = 0;
    } else {
        d->next_attempt_us = job->at_us;
    }

    job->status = d->status;
    r = log_update(c, row.id, d);
    return r != RESULT_OK ? r : delivery_settle(c, job->id,
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

    arena_init(&a, PACK_MAX);
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


/* -- what is open -------------------------------------------------------- */

enum result
sqlite_due(struct store *base, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
    struct store_due **out, size_t *n)
{
    struct sqlite_conn  *c;
    sqlite3_stmt        *st = NULL;
    struct slice         uid;
    enum result          r;
    int                  rc = SQLITE_DONE;

    *n = 0;
    *out = arena_alloc(a, (limit + 1) * sizeof(**out));

    if (*out == NULL) {
        return RESULT_TOO_BIG;
    }

    r = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (r != RESULT_OK) {
        return r;
    }

    r = sqlite_prepare(c, "SELECT e.uid,e.due,e.priority,d.integration"
        " FROM delivery e JOIN integration_directory d ON d.id=e.id"
        " WHERE (e.due,e.uid)>(?1,?2) AND e.due<?3 ORDER BY e.due,e.uid"
        " LIMIT ?4", &st);

    if (r == RESULT_OK) {
        sqlite3_bind_int64(st, 1, after_us);
        sqlite_bind_blob(st, 2, after_id, UUID_BYTES);
        sqlite3_bind_int64(st, 3, before_us);
        sqlite3_bind_int64(st, 4, limit);
    }

    while (r == RESULT_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_due  *d = &(*out)[*n];

        uid = sqlite_column_slice(st, 0);

        if (uid.n == UUID_BYTES) {
            memcpy(d->id, uid.p, UUID_BYTES);
            d->due_us = sqlite3_column_int64(st, 1);
            d->priority = sqlite3_column_int64(st, 2);
            r = sqlite_dict_text(c, sqlite_column_int(st, 3), a,
                &d->integration_id);
            (*n)++;
        }
    }

    r = r != RESULT_OK || rc == SQLITE_ROW ? r : sqlite_result(c, rc, "due");
    sqlite3_finalize(st);
    sqlite_read_end(c);
    return r;
}


/* -- attempts ------------------------------------------------------------ */

static enum result
attempt_decode(sqlite3_stmt *st, struct arena *a, struct log_attempt *t)
{
    struct logdoc  *d = arena_alloc(a, sizeof(*d));
    struct slice    body;
    enum result     r = RESULT_OK;

    if (d == NULL) {
        return RESULT_TOO_BIG;
    }

    logdoc_init(d);
    t->number = sqlite3_column_int64(st, 0);
    t->started_us = sqlite_column_int(st, 1);
    t->duration_us = sqlite_column_int(st, 2);
    t->connect_us = sqlite_column_int(st, 3);
    t->first_byte_us = sqlite_column_int(st, 4);
    t->http_status = sqlite_column_int(st, 5);
    t->next_attempt_us = sqlite_column_int(st, 6);
    t->outcome = arena_copy(a, sqlite_column_slice(st, 7));
    t->error_code = arena_copy(a, sqlite_column_slice(st, 8));
    t->error_message = arena_copy(a, sqlite_column_slice(st, 9));
    body = arena_copy(a, sqlite_column_slice(st, 13));

    if (body.n > 0) {
        r = sqlite_unpack_body(body, a, d);
    }

    t->request = d->request;
    t->response = d->response;
    t->request.bytes = sqlite_column_int(st, 10);
    t->response.bytes = sqlite_column_int(st, 11);
    t->response.cut = arena_copy(a, sqlite_column_slice(st, 12));
    return r;
}


enum result
sqlite_attempts(struct store *base, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n)
{
    struct sqlite_conn  *c;
    sqlite3_stmt        *st = NULL;
    struct logdoc       *d = arena_alloc(a, sizeof(*d));
    enum result          r;
    int                  rc = SQLITE_DONE;

    *n = 0;
    *out = arena_alloc(a, SQLITE_MAX_ATTEMPTS * sizeof(**out));

    if (d == NULL || *out == NULL) {
        return RESULT_TOO_BIG;
    }

    r = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (r != RESULT_OK) {
        return r;
    }

    /* only who sees the log sees its attempts */
    r = sqlite_log_read(c, sc, id, a, d);
    r = r != RESULT_OK ? r : sqlite_prepare(c, "SELECT t.n,t.started,t.dur,"
        "t.connect,t.first,t.http,t.next,t.outcome,t.code,t.message,"
        "t.req_bytes,t.res_bytes,t.res_cut,t.body"
        " FROM integration_retry_log t JOIN integration_directory d"
        " ON d.id=t.id WHERE d.uid=?1 ORDER BY t.n DESC LIMIT ?2", &st);

    if (r == RESULT_OK) {
        sqlite_bind_blob(st, 1, id, UUID_BYTES);
        sqlite3_bind_int64(st, 2, SQLITE_MAX_ATTEMPTS);
    }

    while (r == RESULT_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        memset(&(*out)[*n], 0, sizeof(**out));
        memcpy((*out)[*n].log_id, id, UUID_BYTES);
        r = attempt_decode(st, a, &(*out)[*n]);
        (*n)++;
    }

    r = r != RESULT_OK || rc == SQLITE_ROW ? r
        : sqlite_result(c, rc, "attempts");
    sqlite3_finalize(st);
    sqlite_read_end(c);

    /* the newest were asked for; they are shown in order */
    for (size_t i = 0; i < *n / 2; i++) {
        struct log_attempt  t = (*out)[i];

        (*out)[i] = (*out)[*n - 1 - i];
        (*out)[*n - 1 - i] = t;
    }

    return r;
}
