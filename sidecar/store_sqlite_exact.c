/* Heatmaps from the logs themselves: for filters that buckets do not know. */

#include "store_sqlite.h"

struct exact {
    const struct filter  *f;
    bool                  check;           /* by filter_match */
    struct sqlite_sum    *sum;
    struct arena          scratch;
};

/* Columns: id, start, status, duration, key. */
static const char *const  columns[] = {
    [STORE_BY_NONE] = "d.id,d.id-d.bump,d.status,d.dur,0",
    [STORE_BY_ENDPOINT] = "d.id,d.id-d.bump,d.status,d.dur,d.endpoint",
    [STORE_BY_ACTION] = "d.id,d.id-d.bump,d.status,d.dur,d.action",
    [STORE_BY_DEVELOPER] = "d.id,d.id-d.bump,d.status,d.dur,d.developer",
    [STORE_BY_LAB] = "d.id,d.id-d.bump,d.status,d.dur,d.lab",
    [STORE_BY_KIND] = "d.id,d.id-d.bump,d.status,d.dur,d.kind",
};

/* The same behind a whole row. */
static const char *const  checked_columns[] = {
    [STORE_BY_NONE] = SQLITE_ROW_COLUMNS ",0",
    [STORE_BY_ENDPOINT] = SQLITE_ROW_COLUMNS ",d.endpoint",
    [STORE_BY_ACTION] = SQLITE_ROW_COLUMNS ",d.action",
    [STORE_BY_DEVELOPER] = SQLITE_ROW_COLUMNS ",d.developer",
    [STORE_BY_LAB] = SQLITE_ROW_COLUMNS ",d.lab",
    [STORE_BY_KIND] = SQLITE_ROW_COLUMNS ",d.kind",
};


static enum result
exact_add(struct exact *e, const struct logdoc *d, int64_t key)
{
    struct store_cell   *cell;
    enum heatmap_count   count = heatmap_count_of(d);

    if (count == HEATMAP_NOT_COUNTED) {
        return RESULT_OK;
    }

    cell = sqlite_sum_at(e->sum, d->started_us,
        key == LOGDOC_NONE ? STORE_NO_LABEL : key);
    if (cell == NULL) {
        return RESULT_TOO_BIG;
    }

    cell->ok += count == HEATMAP_OK;
    cell->fail += count == HEATMAP_FAIL;

    if (d->duration_us != LOGDOC_NONE) {
        heatmap_hist_add(cell->hist, d->duration_us, 1);
    }

    return RESULT_OK;
}


static bool
exact_row(void *arg, struct sqlite_conn *c, sqlite3_stmt *st,
    enum result *result)
{
    struct exact   *e = arg;
    struct logdoc  *d;

    arena_reset(&e->scratch);
    d = arena_alloc(&e->scratch, sizeof(*d));
    if (d == NULL) {
        *result = RESULT_MEMORY;
        return false;
    }

    if (!e->check) {
        d->started_us = sqlite3_column_int64(st, 1);
        d->status = (enum log_status) sqlite3_column_int(st, 2);
        d->duration_us = sqlite_column_int(st, 3);
        *result = exact_add(e, d, sqlite_column_int(st, 4));

    } else {
        *result = sqlite_row_decode(c, st, &e->scratch, d);

        if (*result == RESULT_OK && filter_match(e->f, d)) {
            *result = exact_add(e, d,
                sqlite_column_int(st, SQLITE_ROW_COUNT));
        }
    }

    return *result == RESULT_OK;
}


static enum result
exact_walk(struct exact *e, struct sqlite_conn *c, enum store_by by,
    const struct sqlite_where *w, bool *partial)
{
    struct sqlite_plan  plan;
    struct sqlite_walk  walk;
    enum result         result;

    memset(&plan, 0, sizeof(plan));
    memset(&walk, 0, sizeof(walk));
    e->check = w->needs_detail;
    walk.f = e->f;
    walk.with_detail = e->check;
    walk.columns = (e->check ? checked_columns : columns)[by];
    walk.row = exact_row;
    walk.arg = e;

    result = sqlite_walk_range(c, e->f, &walk.low, &walk.high);

    if (result == RESULT_OK && walk.low < walk.high) {
        result = sqlite_plan_make(c, e->f, walk.low, walk.high, false, &plan);
    }

    if (result == RESULT_OK && plan.nsources > 0) {
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
sqlite_cells_exact(struct store *base, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us, int64_t deadline_us,
    struct arena *a, struct store_cell **out, size_t *n, bool *partial)
{
    struct sqlite_conn   *c;
    struct sqlite_where   where;
    struct exact          e;
    enum result           result;

    memset(&e, 0, sizeof(e));
    e.f = f;
    result = sqlite_sum_create(slot_us, offset_us, &e.sum);
    if (result != RESULT_OK) {
        return result;
    }

    arena_init(&e.scratch, 4 * 1024 * 1024);
    sqlite_where_init(&where);
    result = sqlite_read_begin((struct store_sqlite *) base, deadline_us, &c);

    if (result == RESULT_OK) {
        result = sqlite_where_build(c, f, &where);

        if (result == RESULT_OK && !where.nothing) {
            result = exact_walk(&e, c, by, &where, partial);
        }

        if (result == RESULT_OK) {
            c->deadline_us = 0;
            result = sqlite_sum_take(e.sum, c, by, a, out, n);
        }

        sqlite_read_end(c);
    }

    sqlite_where_cleanup(&where);
    arena_cleanup(&e.scratch);
    sqlite_sum_destroy(e.sum);
    return result;
}
