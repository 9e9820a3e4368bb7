/* Attempts: rows of integration_retry_log, written once. */

#include "store_sqlite.h"

#include <stdlib.h>


enum result
sqlite_attempt_pack(struct store_sqlite *s, const struct log_attempt *t,
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


enum result
sqlite_attempt_insert(struct sqlite_conn *c, int64_t id,
    const struct log_attempt *t, struct slice body)
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
