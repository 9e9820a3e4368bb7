/* Logs as rows: read by id. */

#include "store_sqlite.h"


static void
row_numbers(sqlite3_stmt *st, struct logdoc *d)
{
    struct slice  uid = sqlite_column_slice(st, 2);

    if (uid.n == UUID_BYTES) {
        memcpy(d->id, uid.p, UUID_BYTES);
    }

    d->started_us = sqlite3_column_int64(st, 0) - sqlite3_column_int64(st, 1);
    d->org_id = sqlite_column_int(st, 3);
    d->lab_id = sqlite_column_int(st, 4);
    d->kind = (enum log_kind) sqlite3_column_int(st, 5);
    d->status = (enum log_status) sqlite3_column_int(st, 6);
    d->action_id = sqlite_column_int(st, 7);
    d->action_category_id = sqlite_column_int(st, 8);
    d->http_status = sqlite_column_int(st, 13);
    d->error_fingerprint = (uint64_t) sqlite3_column_int64(st, 14);
    d->duration_us = sqlite_column_int(st, 15);
    d->attempts = sqlite_column_int(st, 16);
    d->flags = (uint32_t) sqlite3_column_int64(st, 17);
}


enum result
sqlite_row_decode(struct sqlite_conn *c, sqlite3_stmt *st, struct arena *a,
    struct logdoc *d)
{
    struct slice *const  texts[] = {
        &d->developer_id, &d->integration_id, &d->endpoint, &d->method
    };
    struct slice         detail;
    enum result          result = RESULT_OK;

    logdoc_init(d);
    row_numbers(st, d);

    for (int i = 0; i < 4 && result == RESULT_OK; i++) {
        result = sqlite_dict_text(c, sqlite_column_int(st, 9 + i), a,
            texts[i]);
    }

    if (result != RESULT_OK) {
        return result;
    }

    detail = arena_copy(a, sqlite_column_slice(st, 18));
    if (detail.p == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_unpack_detail(detail, d);

    return result == RESULT_OK ? result
                               : sqlite_result(c, SQLITE_CORRUPT, "row");
}


static enum result
get_body(struct sqlite_conn *c, int64_t id, struct arena *a, struct logdoc *d)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_BODY, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "query");
    }

    sqlite3_bind_int64(st, 1, id);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        result = sqlite_unpack_body(sqlite_column_slice(st, 0), a, d);

        if (result == RESULT_INTERNAL) {
            result = sqlite_result(c, SQLITE_CORRUPT, "body");
        }

    } else {
        result = sqlite_result(c, rc, "query");
    }

    sqlite3_reset(st);
    return result;
}


static enum result
get_row(struct sqlite_conn *c, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *d,
    int64_t *row)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_ROW, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "query");
    }

    sqlite_bind_blob(st, 1, id, UUID_BYTES);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *row = sqlite3_column_int64(st, 0);
        result = scope_sees(sc, sqlite_column_int(st, 3),
            sqlite_column_int(st, 4))
            ? sqlite_row_decode(c, st, a, d) : RESULT_NOT_FOUND;

    } else {
        result = rc == SQLITE_DONE ? RESULT_NOT_FOUND
                                   : sqlite_result(c, rc, "query");
    }

    sqlite3_reset(st);
    return result;
}


enum result
sqlite_log_read(struct sqlite_conn *c, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    enum result  result;
    int64_t      row = 0;

    result = get_row(c, sc, id, a, out, &row);
    return result == RESULT_OK ? get_body(c, row, a, out) : result;
}


enum result
sqlite_log_get(struct store *base, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    struct sqlite_conn  *c;
    enum result          result;

    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = sqlite_log_read(c, sc, id, a, out);
    sqlite_read_end(c);
    return result;
}
