/*
 * Error groups and counts of what is open, from index dir_trouble: it holds
 * only rows that are PENDING, RETRYING or FAIL, and what is most often asked
 * of them, so that the table is not looked at.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#define ERRORS_FIRST  64                   /* slots, power of two */
#define ERRORS_MAX    (64 * 1024)

struct error_group {
    int64_t  fingerprint;
    int64_t  count, first_us, last_us, last_row;   /* count 0: free */
};

struct errors {
    const struct filter  *f;
    bool                  check;           /* by filter_match */
    struct error_group   *slots;
    size_t                size, n;
    struct arena          scratch;
};


static struct error_group *
errors_slot(struct error_group *slots, size_t size, int64_t fingerprint)
{
    uint64_t  h = (uint64_t) fingerprint * 0x9e3779b97f4a7c15u;
    size_t    i = (size_t) (h >> 32) & (size - 1);

    while (slots[i].count != 0 && slots[i].fingerprint != fingerprint) {
        i = (i + 1) & (size - 1);
    }

    return &slots[i];
}


static enum result
errors_grow(struct errors *e)
{
    struct error_group  *slots;
    size_t               size = e->size == 0 ? ERRORS_FIRST : e->size * 2;

    if (size > ERRORS_MAX) {
        return RESULT_TOO_BIG;
    }

    slots = calloc(size, sizeof(slots[0]));
    if (slots == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < e->size; i++) {
        if (e->slots[i].count != 0) {
            *errors_slot(slots, size, e->slots[i].fingerprint) = e->slots[i];
        }
    }

    free(e->slots);
    e->slots = slots;
    e->size = size;
    return RESULT_OK;
}


static enum result
errors_add(struct errors *e, int64_t fingerprint, int64_t row,
    int64_t started_us)
{
    struct error_group  *g;

    if (e->n * 2 >= e->size) {
        enum result  result = errors_grow(e);

        if (result != RESULT_OK) {
            return result;
        }
    }

    g = errors_slot(e->slots, e->size, fingerprint);

    if (g->count == 0) {
        g->fingerprint = fingerprint;
        g->first_us = g->last_us = started_us;
        g->last_row = row;
        e->n++;
    }

    g->count++;
    g->first_us = started_us < g->first_us ? started_us : g->first_us;

    if (started_us > g->last_us) {
        g->last_us = started_us;
        g->last_row = row;
    }

    return RESULT_OK;
}


/* Columns: id, start, error; or a whole row, when the filter is to decide. */
static bool
errors_row(void *arg, struct sqlite_conn *c, sqlite3_stmt *st,
    enum result *result)
{
    struct errors  *e = arg;
    struct logdoc  *d;

    if (!e->check) {
        *result = errors_add(e, sqlite3_column_int64(st, 2),
            sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1));
        return *result == RESULT_OK;
    }

    arena_reset(&e->scratch);
    d = arena_alloc(&e->scratch, sizeof(*d));
    *result = d == NULL ? RESULT_MEMORY
                        : sqlite_row_decode(c, st, &e->scratch, d);

    if (*result == RESULT_OK && filter_match(e->f, d)) {
        *result = errors_add(e, (int64_t) d->error_fingerprint,
            sqlite3_column_int64(st, 0), d->started_us);
    }

    return *result == RESULT_OK;
}


static int
group_order(const void *a, const void *b)
{
    const struct error_group  *x = a, *y = b;

    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }

    if (x->last_us != y->last_us) {
        return x->last_us < y->last_us ? 1 : -1;
    }

    return x->fingerprint < y->fingerprint ? -1
        : x->fingerprint > y->fingerprint;
}


/* Texts of a group are those of its last log. */
static enum result
group_fill(struct sqlite_conn *c, sqlite3_stmt *st,
    const struct error_group *g, struct arena *a,
    struct store_error_group *out)
{
    struct logdoc  *d;
    enum result     result;
    int             rc;

    d = arena_alloc(a, sizeof(*d));
    if (d == NULL) {
        return RESULT_TOO_BIG;
    }

    sqlite3_bind_int64(st, 1, g->last_row);
    rc = sqlite3_step(st);
    result = rc == SQLITE_ROW ? sqlite_row_decode(c, st, a, d)
        : sqlite_result(c, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "row");
    sqlite3_reset(st);

    if (result != RESULT_OK) {
        return result;
    }

    out->fingerprint = (uint64_t) g->fingerprint;
    out->kind = d->kind;
    out->endpoint = d->endpoint;
    out->code = d->error_code;
    out->message = d->error_message;
    out->http_status = d->http_status;
    out->count = g->count;
    out->first_us = g->first_us;
    out->last_us = g->last_us;
    memcpy(out->last_id, d->id, UUID_BYTES);
    return RESULT_OK;
}


static enum result
errors_take(struct errors *e, struct sqlite_conn *c, unsigned limit,
    struct arena *a, struct store_error_group **out, size_t *n)
{
    sqlite3_stmt  *st;
    enum result    result;
    size_t         used = 0;

    for (size_t i = 0; i < e->size; i++) {
        if (e->slots[i].count != 0) {
            e->slots[used++] = e->slots[i];
        }
    }

    if (used > 1) {
        qsort(e->slots, used, sizeof(e->slots[0]), group_order);
    }

    used = used > limit ? limit : used;
    *out = arena_alloc(a, (used == 0 ? 1 : used) * sizeof((*out)[0]));
    if (*out == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_prepare(c, "SELECT " SQLITE_ROW_COLUMNS
        " FROM integration_directory d JOIN detail t ON t.id=d.id"
        " WHERE d.id=?1", &st);

    for (*n = 0; *n < used && result == RESULT_OK; (*n)++) {
        result = group_fill(c, st, &e->slots[*n], a, &(*out)[*n]);
    }

    sqlite3_finalize(st);
    return result;
}


/* FAIL first; a deadline in between leaves part of the picture. */
static enum result
errors_walk(struct errors *e, struct sqlite_conn *c, struct sqlite_where *w,
    bool *partial)
{
    struct sqlite_plan  plan;
    struct sqlite_walk  walk;
    enum result         result;

    memset(&plan, 0, sizeof(plan));
    memset(&walk, 0, sizeof(walk));
    plan.index = "dir_trouble";
    plan.column = "status";
    plan.extra = " AND " SQLITE_TROUBLE("d.");

    e->check = w->needs_detail;
    walk.f = e->f;
    walk.with_detail = e->check;
    walk.columns = e->check ? SQLITE_ROW_COLUMNS
                            : "d.id,d.id-d.bump,ifnull(d.error,0)";
    walk.row = errors_row;
    walk.arg = e;

    result = sqlite_walk_range(c, e->f, &walk.low, &walk.high);

    if (result == RESULT_OK) {
        result = sqlite_plan_add(&plan, LOG_FAIL, 0, walk.low, walk.high);
    }

    if (result == RESULT_OK) {
        result = sqlite_plan_add(&plan, LOG_RETRYING, 0, walk.low, walk.high);
    }

    if (result == RESULT_OK) {
        result = sqlite_walk_prepare(c, &walk, &plan, w);
    }

    for (unsigned i = 0; i < plan.nsources && result == RESULT_OK; i++) {
        result = sqlite_walk_source(c, &walk, &plan.sources[i]);
    }

    if (result == RESULT_TIMEOUT) {
        *partial = true;
        result = RESULT_OK;
    }

    sqlite_walk_cleanup(&walk);
    sqlite_plan_cleanup(&plan);
    return result;
}


enum result
sqlite_error_groups(struct store *base, const struct filter *f,
    unsigned limit, int64_t deadline_us, struct arena *a,
    struct store_error_group **out, size_t *n, bool *partial)
{
    struct sqlite_conn   *c;
    struct sqlite_where   where;
    struct errors         e;
    enum result           result;

    result = sqlite_read_begin((struct store_sqlite *) base, deadline_us, &c);
    if (result != RESULT_OK) {
        return result;
    }

    memset(&e, 0, sizeof(e));
    e.f = f;
    arena_init(&e.scratch, 4 * 1024 * 1024);
    sqlite_where_init(&where);
    result = sqlite_where_build(c, f, &where);

    if (result == RESULT_OK && !where.nothing) {
        result = errors_walk(&e, c, &where, partial);
    }

    if (result == RESULT_OK) {
        c->deadline_us = 0;
        result = errors_take(&e, c, limit, a, out, n);
    }

    sqlite_where_cleanup(&where);
    arena_cleanup(&e.scratch);
    free(e.slots);
    sqlite_read_end(c);
    return result;
}


enum result
sqlite_open_counts(struct store *base, const struct scope *sc,
    int64_t *pending, int64_t *retrying)
{
    struct sqlite_conn   *c;
    struct sqlite_where   where;
    struct filter         f;
    struct buf            sql;
    sqlite3_stmt         *st = NULL;
    enum result           result;
    int                   rc = SQLITE_DONE;

    *pending = *retrying = 0;
    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    filter_init(&f, sc);
    sqlite_where_init(&where);
    buf_init(&sql, 16 * 1024);
    result = sqlite_where_build(c, &f, &where);

    if (result == RESULT_OK && !where.nothing) {
        (void) buf_adds(&sql, "SELECT d.status, count(*) FROM"
            " integration_directory d INDEXED BY dir_trouble"
            " WHERE " SQLITE_TROUBLE("d.") " AND d.status<3");
        (void) buf_add(&sql, where.sql.p, where.sql.n);
        (void) buf_add(&sql, " GROUP BY d.status", 19);
        result = sql.failed ? RESULT_TOO_BIG : sqlite_prepare(c, sql.p, &st);
    }

    for (unsigned i = 0; i < where.nbinds && st != NULL; i++) {
        sqlite3_bind_int64(st, (int) (SQLITE_FIRST_BIND + i), where.binds[i]);
    }

    while (st != NULL && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        *(sqlite3_column_int(st, 0) == LOG_PENDING ? pending : retrying) =
            sqlite3_column_int64(st, 1);
    }

    if (result == RESULT_OK) {
        result = sqlite_result(c, rc, "query");
    }

    sqlite3_finalize(st);
    buf_cleanup(&sql);
    sqlite_where_cleanup(&where);
    sqlite_read_end(c);
    return result;
}
