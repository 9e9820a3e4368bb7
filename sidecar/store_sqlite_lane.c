/*
 * Lanes: deliveries that stand in line.  In an ordered lane only the first by
 * (since, uid) may be claimed; a failure that holds its lane stays first until
 * it is let go or sent again.  In a lane of batches those that wait are closed
 * into one, once and for good.  All of it in the writer's transaction, so two
 * dispatchers never see different lines.
 */

#include "store_sqlite.h"

#include <stdlib.h>


static bool
uid_is(struct slice s, const uint8_t uid[UUID_BYTES])
{
    return s.n == UUID_BYTES && memcmp(s.p, uid, UUID_BYTES) == 0;
}


static sqlite3_stmt *
lane_first(struct sqlite_conn *c, const struct sqlite_delivery *row, int *rc)
{
    sqlite3_stmt  *st = sqlite_stmt_get(c, SQL_LANE_FIRST, rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, row->lane, row->nlane);
        *rc = sqlite3_step(st);
    }

    return st;
}


enum result
sqlite_lane_is_first(struct sqlite_conn *c, const uint8_t uid[UUID_BYTES],
    const struct sqlite_delivery *row, bool *first)
{
    sqlite3_stmt  *st;
    int            rc;

    *first = true;
    st = lane_first(c, row, &rc);

    if (rc == SQLITE_ROW) {
        *first = uid_is(sqlite_column_slice(st, 0), uid)
                 || (row->batched
                     && uid_is(sqlite_column_slice(st, 4), row->batch));
    }

    if (st != NULL) {
        sqlite3_reset(st);
    }

    return sqlite_result(c, rc, "lane");
}


enum result
sqlite_lane_next(struct sqlite_conn *c, const struct sqlite_delivery *row,
    struct store_finish *f)
{
    sqlite3_stmt  *st;
    struct slice   uid;
    int            rc;

    st = lane_first(c, row, &rc);

    if (rc == SQLITE_ROW && sqlite3_column_int(st, 3) == 0) {
        uid = sqlite_column_slice(st, 0);
        f->next = uid.n == UUID_BYTES;

        if (f->next) {
            memcpy(f->next_id, uid.p, UUID_BYTES);
            f->next_due_us = sqlite3_column_int64(st, 1);
            f->next_priority = sqlite3_column_int64(st, 2);
        }
    }

    if (st != NULL) {
        sqlite3_reset(st);
    }

    return sqlite_result(c, rc, "lane");
}


static enum result
run_by_id(struct sqlite_conn *c, enum sqlite_stmt which,
    const uint8_t id[UUID_BYTES])
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, which, &rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, id, UUID_BYTES);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "lane");
}


enum result
sqlite_lane_let_go(struct sqlite_conn *c, const uint8_t uid[UUID_BYTES],
    const struct sqlite_delivery *row)
{
    return row->batched ? run_by_id(c, SQL_BATCH_LET_GO, row->batch)
                        : run_by_id(c, SQL_DELIVERY_DELETE, uid);
}


/* What is sent again takes the place of what held the lane. */
enum result
sqlite_lane_take_over(struct sqlite_conn *c, const struct logdoc *d)
{
    struct sqlite_delivery  old;
    sqlite3_stmt           *st;
    uint8_t                 id[UUID_BYTES];
    enum result             r;
    int                     rc;

    if (uuid_parse(d->resend_of, id) != RESULT_OK) {
        return RESULT_OK;
    }

    r = sqlite_delivery_read(c, id, &old);

    if (r != RESULT_OK || !old.held) {
        return r == RESULT_NOT_FOUND ? RESULT_OK : r;
    }

    st = sqlite_stmt_get(c, SQL_LANE_TAKE_OVER, &rc);

    if (st != NULL) {
        sqlite_bind_blob(st, 1, d->id, UUID_BYTES);
        sqlite3_bind_int64(st, 2, old.since);
        rc = sqlite_stmt_done(st);
    }

    r = sqlite_result(c, rc, "lane");
    return r != RESULT_OK ? r : sqlite_lane_let_go(c, id, &old);
}


/* -- batches ------------------------------------------------------------- */

#define BATCH_MAX  10000

struct batch_job {
    struct store_batch  *b;
    uint8_t            (*members)[UUID_BYTES];
    unsigned             n;
    bool                 full;
};


/* An ordered lane forms its next batch only when the one before has ended. */
static enum result
batch_lane_is_free(struct sqlite_conn *c, const struct batch_job *job,
    bool *is_free)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LANE_FIRST, &rc);
    *is_free = true;

    if (st != NULL) {
        sqlite_bind_blob(st, 1, job->b->lane.p, job->b->lane.n);
        rc = sqlite3_step(st);
        *is_free = rc != SQLITE_ROW
                   || (sqlite3_column_int(st, 3) == 0
                       && sqlite_column_slice(st, 4).n == 0);
        sqlite3_reset(st);
    }

    return sqlite_result(c, rc, "batch");
}


/* Who would be in it, and when the first's window ends. */
static enum result
batch_collect(struct sqlite_conn *c, struct batch_job *job)
{
    struct store_batch  *b = job->b;
    sqlite3_stmt        *st;
    struct slice         uid;
    int64_t              bytes = 2, more;
    int                  rc;

    st = sqlite_stmt_get(c, SQL_LANE_WAITING, &rc);

    if (st == NULL) {
        return sqlite_result(c, rc, "batch");
    }

    sqlite_bind_blob(st, 1, b->lane.p, b->lane.n);
    sqlite3_bind_int64(st, 2, b->now_us);
    sqlite3_bind_int64(st, 3, (int64_t) b->size + 1);

    while (!job->full && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        uid = sqlite_column_slice(st, 0);
        more = sqlite3_column_int64(st, 2) + 1;

        if (job->n == 0) {
            b->due_us = sqlite3_column_int64(st, 1);
        }

        job->full = job->n > 0 && (job->n == b->size
                                   || bytes + more > b->bytes);

        if (!job->full && uid.n == UUID_BYTES) {
            memcpy(job->members[job->n++], uid.p, UUID_BYTES);
            bytes += more;
            job->full = job->n == b->size;
        }
    }

    sqlite3_reset(st);
    return job->full ? RESULT_OK : sqlite_result(c, rc, "batch");
}


static enum result
batch_take(struct sqlite_conn *c, const struct batch_job *job)
{
    sqlite3_stmt  *st;
    int            rc = SQLITE_DONE;

    for (unsigned i = 0; i < job->n && rc == SQLITE_DONE; i++) {
        st = sqlite_stmt_get(c, SQL_LANE_TAKE, &rc);

        if (st != NULL) {
            sqlite_bind_blob(st, 1, job->members[i], UUID_BYTES);
            sqlite_bind_blob(st, 2, job->b->id, UUID_BYTES);
            sqlite3_bind_int64(st, 3, job->b->now_us);
            rc = sqlite_stmt_done(st);
        }
    }

    return sqlite_result(c, rc, "batch");
}


static enum result
batch_run(struct sqlite_conn *c, void *arg)
{
    struct batch_job    *job = arg;
    struct store_batch  *b = job->b;
    bool                 is_free = true;
    enum result          r;

    job->n = 0;
    job->full = false;
    b->closed = false;
    b->due_us = LOGDOC_NONE;

    r = b->ordered ? batch_lane_is_free(c, job, &is_free) : RESULT_OK;

    if (r != RESULT_OK || !is_free) {
        return r;
    }

    r = batch_collect(c, job);

    if (r != RESULT_OK || job->n == 0
        || (!job->full && b->due_us > b->now_us))
    {
        return r;
    }

    r = batch_take(c, job);
    b->closed = r == RESULT_OK;
    memcpy(b->first, job->members[0], UUID_BYTES);
    return r;
}


enum result
sqlite_batch_close(struct store *base, struct store_batch *b)
{
    struct batch_job  job = { .b = b };
    enum result       r;

    if (b->size == 0 || b->size > BATCH_MAX) {
        return RESULT_INVALID;
    }

    job.members = calloc(b->size, sizeof(*job.members));

    if (job.members == NULL) {
        return RESULT_MEMORY;
    }

    r = sqlite_write((struct store_sqlite *) base, batch_run, &job);
    free(job.members);
    return r;
}


/* A claim gives all open members its token, in one transaction. */
static enum result
batch_ids(struct sqlite_conn *c, const uint8_t id[UUID_BYTES], int64_t token,
    struct logdoc *docs, size_t max, size_t *n)
{
    sqlite3_stmt  *st;
    struct slice   uid;
    enum result    r;
    int            rc = SQLITE_DONE;

    r = sqlite_prepare(c, "SELECT uid FROM delivery WHERE batch=?1"
        " AND token=?2 AND held=0 ORDER BY since,uid", &st);

    if (r != RESULT_OK) {
        return r;
    }

    sqlite_bind_blob(st, 1, id, UUID_BYTES);
    sqlite3_bind_int64(st, 2, token);

    while (*n < max && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        uid = sqlite_column_slice(st, 0);

        if (uid.n == UUID_BYTES) {
            memcpy(docs[(*n)++].id, uid.p, UUID_BYTES);
        }
    }

    sqlite3_finalize(st);
    return sqlite_result(c, rc, "batch");
}


static size_t
batch_count(struct sqlite_conn *c, const uint8_t id[UUID_BYTES])
{
    sqlite3_stmt  *st;
    size_t         n = 0;

    if (sqlite_prepare(c, "SELECT count(*) FROM delivery WHERE batch=?1", &st)
        != RESULT_OK)
    {
        return 0;
    }

    sqlite_bind_blob(st, 1, id, UUID_BYTES);

    if (sqlite3_step(st) == SQLITE_ROW) {
        n = (size_t) sqlite3_column_int64(st, 0);
    }

    sqlite3_finalize(st);
    return n;
}


enum result
sqlite_batch_get(struct store *base, const uint8_t id[UUID_BYTES],
    int64_t token, struct arena *a, struct logdoc **out, size_t *n)
{
    const struct scope   all = { .platform = true };
    struct sqlite_conn  *c;
    struct slice         text;
    char                 batch[UUID_TEXT + 1];
    size_t               max;
    enum result          r;

    r = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (r != RESULT_OK) {
        return r;
    }

    max = batch_count(c, id);
    *out = arena_alloc(a, (max + 1) * sizeof(**out));
    uuid_text(id, batch);
    text = arena_copy(a, slice_of(batch));
    r = *out == NULL || text.p == NULL ? RESULT_TOO_BIG
                                       : batch_ids(c, id, token,
                                                     *out, max, n);

    for (size_t i = 0; i < *n && r == RESULT_OK; i++) {
        uint8_t  uid[UUID_BYTES];

        memcpy(uid, (*out)[i].id, UUID_BYTES);
        r = sqlite_log_read(c, &all, uid, a, &(*out)[i]);
        (*out)[i].token = token;
        (*out)[i].batch_id = text;
    }

    sqlite_read_end(c);
    return r;
}


/* The log is found by its batch from its first end on. */
enum result
sqlite_batch_note(struct sqlite_conn *c, const struct sqlite_delivery *row)
{
    sqlite3_stmt  *st = NULL;
    char           text[UUID_TEXT + 1];
    int64_t        part = 0;
    enum result    r;
    int            rc;

    uuid_text(row->batch, text);
    r = sqlite_prepare(c, "SELECT part FROM integration_directory"
        " WHERE id=?1", &st);

    if (r != RESULT_OK) {
        return r;
    }

    sqlite3_bind_int64(st, 1, row->id);

    if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        part = sqlite3_column_int64(st, 0);
    }

    sqlite3_finalize(st);
    st = rc != SQLITE_ROW ? NULL : sqlite_stmt_get(c, SQL_REF_INSERT, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, part);
        sqlite3_bind_int64(st, 2, sqlite_key_hash(FILTER_BATCH, SLICE_NONE,
            slice_of(text)));
        sqlite3_bind_int64(st, 3, row->id);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "batch");
}
