/*
 * What became of a delivery: the log as it is now, its attempt, its turn and
 * its count, in one transaction.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#define FINISH_MAX  (64 * 1024 * 1024)     /* packed, one log */


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
        r = sqlite_attempt_pack(s, t, bytes);
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


enum result
sqlite_log_update(struct sqlite_conn *c, int64_t id, const struct logdoc *d)
{
    struct finish_log  *l = malloc(sizeof(*l));
    struct buf          bytes;
    enum result         r;

    if (l == NULL) {
        return RESULT_MEMORY;
    }

    l->d = *d;
    buf_init(&bytes, FINISH_MAX);
    r = log_pack(c->store, l, NULL, &bytes);
    r = r != RESULT_OK ? r : log_put(c, id, l, &bytes);
    buf_cleanup(&bytes);
    free(l);
    return r;
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

    return rc != SQLITE_DONE
               ? sqlite_result(c, rc, "finish")
               : sqlite_delivery_settle(c, f->id, f->next_attempt_us);
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

    arena_init(&a, FINISH_MAX);

    if (!l->packed) {
        r = finish_read(c, job, i, row, &a);
    }

    if (r == RESULT_OK && f->attempt != NULL) {
        r = sqlite_attempt_insert(c, row->id, f->attempt,
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
    r = r != RESULT_OK ? r : sqlite_delivery_settle(c, f->id,
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

        if (f->doc == NULL
            || (!log_status_ended(f->status) && !f->attempt_used))
        {
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

    buf_init(&job.bytes, (size_t) 4 * FINISH_MAX);
    job.logs = calloc(n, sizeof(*job.logs));
    r = job.logs == NULL ? RESULT_MEMORY : finish_pack(s, &job);
    r = r != RESULT_OK ? r : sqlite_write(s, finish_run, &job);
    buf_cleanup(&job.bytes);
    free(job.logs);
    return r;
}
