/*
 * Deliveries under way.  Table delivery holds one row for each log that is
 * PENDING or RETRYING: when it is due (or its lease ends), who owns it by
 * token.  A row is gone when the log has ended, so the table stays as small as
 * what is open (and what holds its lane).  Lanes: store_sqlite_lane.c.
 */

#include "store_sqlite.h"


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


enum result
sqlite_delivery_settle(struct sqlite_conn *c, const uint8_t uid[UUID_BYTES],
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
