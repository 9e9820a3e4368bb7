/* Deliveries that are claimed to be sent, and leases that are renewed. */

#include "store_sqlite.h"

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
