/*
 * One ordered walk through an index, table ref or the table itself.  What was
 * visited is known also when a deadline breaks the walk: idash_seen notes each
 * id before the filter judges it.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#define WALK_MAX_SQL  (80 * 1024)


/* Only what meets is looked at: one row by its id, as parameter 1. */
static void
meet_sql(const struct sqlite_walk *w, const struct sqlite_where *where,
    struct buf *sql)
{
    (void) buf_addf(sql, "SELECT %s FROM integration_directory d NOT INDEXED"
        "%s WHERE d.id=?1", w->columns, w->with_detail
        ? " CROSS JOIN detail t ON t.id=d.id" : "");
    (void) buf_add(sql, where->sql.p, where->sql.n);
}


/* Parameters: 1 low, 2 high, 3 value, 4 partition, then the filter's. */
static void
walk_sql(const struct sqlite_walk *w, const struct sqlite_plan *p,
    const struct sqlite_where *where, struct buf *sql)
{
    const char  *lead = p->refs ? "r" : "d";

    (void) buf_addf(sql, "SELECT %s FROM %sintegration_directory d %s %s%s",
        w->columns, p->refs ? "ref r CROSS JOIN " : "",
        p->index == NULL ? "NOT INDEXED" : "INDEXED BY",
        p->index == NULL ? "" : p->index, p->refs ? " ON d.id=r.id" : "");

    if (w->with_detail) {
        (void) buf_adds(sql, " CROSS JOIN detail t ON t.id=d.id");
    }

    (void) buf_addf(sql, " WHERE %s.id>=?1 AND %s.id<?2", lead, lead);

    if (p->refs) {
        (void) buf_adds(sql, " AND r.key=?3 AND r.part=?4");

    } else if (p->column != NULL) {
        (void) buf_addf(sql, " AND d.%s=?3%s", p->column,
            p->extra == NULL ? "" : p->extra);
    }

    (void) buf_addf(sql, " AND idash_seen(%s.id)", lead);
    (void) buf_add(sql, where->sql.p, where->sql.n);
    (void) buf_addf(sql, " ORDER BY %s.id %s", lead,
        w->ascending ? "ASC" : "DESC");
}


enum result
sqlite_walk_prepare(struct sqlite_conn *c, struct sqlite_walk *w,
    const struct sqlite_plan *p, const struct sqlite_where *where)
{
    struct buf   sql;
    enum result  result;
    char        *text;

    w->st = NULL;
    w->meet = NULL;
    buf_init(&sql, WALK_MAX_SQL);

    if (p->nalso > 0) {
        meet_sql(w, where, &sql);

    } else {
        walk_sql(w, p, where, &sql);
    }

    text = buf_take(&sql, NULL);
    if (text == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_prepare(c, text, &w->st);
    free(text);

    for (unsigned i = 0; i < where->nbinds && result == RESULT_OK; i++) {
        sqlite3_bind_int64(w->st, (int) (SQLITE_FIRST_BIND + i),
            where->binds[i]);
    }

    return result == RESULT_OK && p->nalso > 0
        ? sqlite_meet_create(c, p, w->ascending, &w->meet) : result;
}


static enum result
walk_meet(struct sqlite_conn *c, struct sqlite_walk *w)
{
    enum result  result;
    int64_t      id;
    int          rc;
    bool         go_on = true;

    result = sqlite_meet_begin(w->meet, w->low, w->high);

    while (result == RESULT_OK && go_on) {
        result = sqlite_meet_next(w->meet, &id);

        if (result != RESULT_OK) {
            break;
        }

        sqlite3_bind_int64(w->st, 1, id);
        rc = sqlite3_step(w->st);

        if (rc == SQLITE_ROW) {
            go_on = w->row(w->arg, c, w->st, &result);

        } else {
            result = sqlite_result(c, rc, "query");
        }

        sqlite3_reset(w->st);
    }

    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}


enum result
sqlite_walk_source(struct sqlite_conn *c, struct sqlite_walk *w,
    const struct sqlite_source *s)
{
    enum result  result = RESULT_OK;
    int          rc;

    c->any_seen = false;

    if (w->meet != NULL) {
        return walk_meet(c, w);
    }

    /* the two last are of no use to most statements: no error */
    (void) sqlite3_bind_int64(w->st, 1, w->low);
    (void) sqlite3_bind_int64(w->st, 2, w->high);
    (void) sqlite3_bind_int64(w->st, 3, s->value);
    (void) sqlite3_bind_int64(w->st, 4, s->part);

    while ((rc = sqlite3_step(w->st)) == SQLITE_ROW) {
        if (!w->row(w->arg, c, w->st, &result)) {
            rc = SQLITE_DONE;
            break;
        }
    }

    if (rc != SQLITE_DONE) {
        result = sqlite_result(c, rc, "query");
    }

    sqlite3_reset(w->st);
    return result;
}


void
sqlite_walk_cleanup(struct sqlite_walk *w)
{
    sqlite3_finalize(w->st);
    w->st = NULL;

    if (w->meet != NULL) {
        sqlite_meet_destroy(w->meet);
        w->meet = NULL;
    }
}


static enum result
table_end(struct sqlite_conn *c, const char *sql, int64_t *out)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
    }

    sqlite3_finalize(st);
    return sqlite_result(c, rc, "query");
}


enum result
sqlite_walk_range(struct sqlite_conn *c, const struct filter *f, int64_t *low,
    int64_t *high)
{
    enum result  result;
    int64_t      first = 0, last = -1;

    result = table_end(c, "SELECT min(id) FROM integration_directory",
        &first);

    if (result == RESULT_OK) {
        result = table_end(c,
            "SELECT ifnull(max(id),-1) FROM integration_directory", &last);
    }

    *low = first;
    *high = last + 1;

    if (f->from_us != LOGDOC_NONE && f->from_us > first) {
        *low = f->from_us;
    }

    if (f->to_us != LOGDOC_NONE && f->to_us < last - SQLITE_BUMP_MAX) {
        *high = f->to_us + SQLITE_BUMP_MAX;
    }

    return result;
}
