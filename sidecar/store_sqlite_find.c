/*
 * Pages and counts.  First only ids are gathered, at most a page from each
 * source, then the rows of the page are read.  With several sources the range
 * is cut in windows of time, so that a deadline leaves a place from which to go
 * on; with one the walk itself tells how far it came.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"

#define FIND_WINDOW_US   INT64_C(3600000000)
#define FIND_WINDOW_MIN  INT64_C(1000000)
#define FIND_FAST_US     5000
#define FIND_SLOW_US     50000
#define FIND_MORE_US     20000             /* to get one window done at all */
#define FIND_SCRATCH     (4 * 1024 * 1024)

struct find_ids {
    int64_t  *v;
    size_t    n, room;
};

struct find {
    const struct filter  *f;
    struct sqlite_plan    plan;
    struct sqlite_where   where;
    struct sqlite_walk    walk;
    struct find_ids       ids;
    size_t                need;            /* ids that are enough */
    size_t                from_source;     /* gathered from this one */
    struct arena          scratch;
    int64_t               searched;        /* when partial */
    bool                  partial;
};


static bool
find_row(void *arg, struct sqlite_conn *c, sqlite3_stmt *st,
    enum result *result)
{
    struct find    *find = arg;
    struct logdoc  *d;
    int64_t        *more;

    if (find->walk.with_detail) {
        arena_reset(&find->scratch);
        d = arena_alloc(&find->scratch, sizeof(*d));
        *result = d == NULL ? RESULT_MEMORY
                            : sqlite_row_decode(c, st, &find->scratch, d);

        if (*result != RESULT_OK) {
            return false;
        }

        if (!filter_match(find->f, d)) {
            return true;
        }
    }

    if (find->ids.n == find->ids.room) {
        find->ids.room = find->ids.room == 0 ? 256 : find->ids.room * 2;
        more = realloc(find->ids.v, find->ids.room * sizeof(*more));
        if (more == NULL) {
            *result = RESULT_MEMORY;
            return false;
        }

        find->ids.v = more;
    }

    find->ids.v[find->ids.n++] = sqlite3_column_int64(st, 0);
    find->from_source++;
    return find->from_source < find->need;
}


static int
id_rising(const void *a, const void *b)
{
    int64_t  x = *(const int64_t *) a, y = *(const int64_t *) b;

    return x < y ? -1 : x > y;
}


static int
id_falling(const void *a, const void *b)
{
    return id_rising(b, a);
}


/* In order, each once, no more than are needed. */
static void
ids_trim(struct find *find)
{
    struct find_ids  *ids = &find->ids;
    size_t            n = 0;

    if (ids->n > 1) {
        qsort(ids->v, ids->n, sizeof(ids->v[0]),
            find->walk.ascending ? id_rising : id_falling);
    }

    for (size_t i = 0; i < ids->n; i++) {
        if (i == 0 || ids->v[i] != ids->v[i - 1]) {
            ids->v[n++] = ids->v[i];
        }
    }

    ids->n = n > find->need ? find->need : n;
}


/* One source inside [low, high), less what cannot come onto the page. */
static enum result
find_source(struct find *find, struct sqlite_conn *c,
    const struct sqlite_source *s, int64_t low, int64_t high)
{
    int64_t  worst;

    if (find->ids.n >= find->need) {
        worst = find->ids.v[find->need - 1];

        if (find->walk.ascending) {
            high = worst < high ? worst : high;

        } else {
            low = worst >= low ? worst + 1 : low;
        }
    }

    find->walk.low = s->low > low ? s->low : low;
    find->walk.high = s->high < high ? s->high : high;
    find->from_source = 0;

    return find->walk.low >= find->walk.high ? RESULT_OK
        : sqlite_walk_source(c, &find->walk, s);
}


static enum result
find_sources(struct find *find, struct sqlite_conn *c, int64_t low,
    int64_t high, unsigned *at)
{
    enum result  result = RESULT_OK;

    for (*at = 0; *at < find->plan.nsources; (*at)++) {
        result = find_source(find, c, &find->plan.sources[*at], low, high);

        if (result != RESULT_OK) {
            break;
        }

        ids_trim(find);
    }

    return result;
}


/* What was surely looked at when source AT was broken off. */
static void
find_broken(struct find *find, const struct sqlite_conn *c, unsigned at,
    int64_t low, int64_t high)
{
    bool     up = find->walk.ascending;
    int64_t  reached;

    /* the last one seen may not have been judged yet: it is visited again */
    if (c->any_seen) {
        reached = up ? c->seen - 1 : c->seen + 1;

    } else {
        reached = up ? find->walk.low - 1 : find->walk.high;
    }

    for (unsigned i = at + 1; i < find->plan.nsources; i++) {
        const struct sqlite_source  *s = &find->plan.sources[i];

        if (up && s->low - 1 < reached) {
            reached = s->low - 1;

        } else if (!up && s->high > reached) {
            reached = s->high;
        }
    }

    reached = up && reached < low ? low - 1 : reached > high ? high : reached;
    find->searched = reached;
    find->partial = true;

    /* beyond it other sources may still have something in between */
    ids_trim(find);
    while (find->ids.n > 0
           && (up ? find->ids.v[find->ids.n - 1] > reached
                  : find->ids.v[find->ids.n - 1] < reached))
    {
        find->ids.n--;
    }
}


static enum result
find_once(struct find *find, struct sqlite_conn *c, int64_t low, int64_t high)
{
    enum result  result;
    unsigned     at;

    result = find_sources(find, c, low, high, &at);

    if (result == RESULT_TIMEOUT) {
        find_broken(find, c, at, low, high);
        result = RESULT_OK;
    }

    return result;
}


/* The next window from PLACE on. */
static void
window_cut(const struct find *find, int64_t place, int64_t width, int64_t low,
    int64_t high, int64_t *from, int64_t *to)
{
    if (find->walk.ascending) {
        *from = place;
        *to = high - place > width ? place + width : high;

    } else {
        *to = place;
        *from = place - low > width ? place - width : low;
    }
}


static enum result
find_windows(struct find *find, struct sqlite_conn *c, int64_t low,
    int64_t high)
{
    enum result  result;
    int64_t      width = FIND_WINDOW_US, began, took, from, to;
    int64_t      place = find->walk.ascending ? low : high;
    size_t       had = 0;
    unsigned     at;
    bool         any = false;

    while (low < high && find->ids.n < find->need
           && (find->walk.ascending ? place < high : place > low))
    {
        window_cut(find, place, width, low, high, &from, &to);
        began = clock_mono_us();
        result = find_sources(find, c, from, to, &at);
        took = clock_mono_us() - began;

        if (result == RESULT_TIMEOUT) {
            find->ids.n = had;             /* those came first: all older */

            if (!any && width > FIND_WINDOW_MIN) {
                width /= 64;
                c->deadline_us = clock_mono_us() + FIND_MORE_US;
                continue;
            }

            find->partial = true;
            find->searched = find->walk.ascending ? place - 1 : place;
            return RESULT_OK;
        }

        if (result != RESULT_OK) {
            return result;
        }

        any = true;
        had = find->ids.n;
        place = find->walk.ascending ? to : from;
        width = took < FIND_FAST_US ? width * 8
            : took > FIND_SLOW_US ? width / 4 : width;
        width = width < FIND_WINDOW_MIN ? FIND_WINDOW_MIN : width;
    }

    return RESULT_OK;
}


static enum result
find_begin(struct find *find, struct sqlite_conn *c, const struct filter *f,
    bool ascending)
{
    memset(find, 0, sizeof(*find));
    find->f = f;
    find->walk.f = f;
    find->walk.ascending = ascending;
    find->walk.row = find_row;
    find->walk.arg = find;
    arena_init(&find->scratch, FIND_SCRATCH);
    sqlite_where_init(&find->where);

    return sqlite_where_build(c, f, &find->where);
}


static void
find_end(struct find *find)
{
    sqlite_walk_cleanup(&find->walk);
    sqlite_plan_cleanup(&find->plan);
    sqlite_where_cleanup(&find->where);
    arena_cleanup(&find->scratch);
    free(find->ids.v);
}


/* Gathers the ids of [low, high) that match. */
static enum result
find_gather(struct find *find, struct sqlite_conn *c, int64_t low,
    int64_t high)
{
    enum result  result;

    if (find->where.nothing || low >= high) {
        return RESULT_OK;
    }

    result = sqlite_plan_make(c, find->f, low, high, find->walk.ascending,
        &find->plan);

    if (result == RESULT_OK && find->plan.nsources == 0) {
        return RESULT_OK;                  /* a label that no log has */
    }

    if (result == RESULT_OK) {
        find->walk.with_detail = find->where.needs_detail;
        find->walk.columns = find->walk.with_detail ? SQLITE_ROW_COLUMNS
                                                    : "d.id";
        result = sqlite_walk_prepare(c, &find->walk, &find->plan,
            &find->where);
    }

    if (result == RESULT_TIMEOUT) {
        find->partial = true;
        find->searched = find->walk.ascending ? low - 1 : high;
        return RESULT_OK;
    }

    if (result != RESULT_OK) {
        return result;
    }

    return find->plan.refs || find->plan.nsources <= 1
        ? find_once(find, c, low, high) : find_windows(find, c, low, high);
}


static enum result
rows_load(struct find *find, struct sqlite_conn *c, struct arena *a,
    size_t limit, struct store_rows *out)
{
    sqlite3_stmt  *st;
    enum result    result;
    size_t         n = find->ids.n > limit ? limit : find->ids.n;
    int            rc = SQLITE_DONE;

    out->rows = arena_alloc(a, (n == 0 ? 1 : n) * sizeof(out->rows[0]));
    if (out->rows == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_prepare(c, "SELECT " SQLITE_ROW_COLUMNS
        " FROM integration_directory d JOIN detail t ON t.id=d.id"
        " WHERE d.id=?1", &st);

    for (size_t i = 0; i < n && result == RESULT_OK; i++) {
        sqlite3_bind_int64(st, 1, find->ids.v[i]);
        rc = sqlite3_step(st);

        if (rc == SQLITE_ROW) {
            result = sqlite_row_decode(c, st, a, &out->rows[out->n]);

            /* the last word on who sees what is not SQL's */
            if (result == RESULT_OK
                && filter_match(find->f, &out->rows[out->n]))
            {
                out->n++;
            }

        } else {
            result = sqlite_result(c, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc,
                "row");
        }

        sqlite3_reset(st);
    }

    sqlite3_finalize(st);
    return result;
}


/* The row after which the page begins; when it is gone, its time. */
static enum result
page_place(struct sqlite_conn *c, const struct store_page *p, int64_t *place)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c,
        "SELECT id FROM integration_directory WHERE uid=?1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite_bind_blob(st, 1, p->after_id, UUID_BYTES);
    rc = sqlite3_step(st);
    *place = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : p->after_us;
    sqlite3_finalize(st);

    return sqlite_result(c, rc, "query");
}


static enum result
find_range(struct sqlite_conn *c, const struct filter *f,
    const struct store_page *p, int64_t *low, int64_t *high)
{
    enum result  result;
    int64_t      place = 0;

    result = sqlite_walk_range(c, f, low, high);

    if (result != RESULT_OK || !p->has_after) {
        return result;
    }

    result = page_place(c, p, &place);

    if (p->ascending) {
        *low = place + 1 > *low ? place + 1 : *low;

    } else {
        *high = place < *high ? place : *high;
    }

    return result;
}


/* A place, not a log: its id has a time and nothing else. */
static void
rows_searched(const struct find *find, struct store_rows *out)
{
    out->partial = true;
    out->searched_to_us = find->searched < 0 ? 0 : find->searched;
    uuid_make(out->searched_to_id, out->searched_to_us);
    memset(out->searched_to_id + 9, 0, UUID_BYTES - 9);
    out->searched_to_id[8] = 0x80;
}


enum result
sqlite_logs_find(struct store *base, const struct filter *f,
    const struct store_page *p, struct arena *a, struct store_rows *out)
{
    struct sqlite_conn  *c;
    struct find          find;
    enum result          result;
    int64_t              low = 0, high = 0;

    memset(out, 0, sizeof(*out));
    result = sqlite_read_begin((struct store_sqlite *) base, p->deadline_us,
        &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = find_begin(&find, c, f, p->ascending);
    find.need = (size_t) p->limit + 1;

    if (result == RESULT_OK) {
        result = find_range(c, f, p, &low, &high);
    }

    if (result == RESULT_OK) {
        result = find_gather(&find, c, low, high);
    }

    if (result == RESULT_OK) {
        c->deadline_us = 0;                /* a page is short */
        result = rows_load(&find, c, a, p->limit, out);
    }

    if (result == RESULT_OK) {
        out->more = find.ids.n > p->limit;

        if (find.partial && !out->more) {
            rows_searched(&find, out);
        }
    }

    find_end(&find);
    sqlite_read_end(c);
    return result;
}


enum result
sqlite_logs_count(struct store *base, const struct filter *f, int64_t cap,
    int64_t deadline_us, int64_t *n, bool *capped)
{
    struct sqlite_conn  *c;
    struct find          find;
    enum result          result;
    int64_t              low = 0, high = 0;

    result = sqlite_read_begin((struct store_sqlite *) base, deadline_us, &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = find_begin(&find, c, f, false);
    find.need = (size_t) cap + 1;

    if (result == RESULT_OK) {
        result = sqlite_walk_range(c, f, &low, &high);
    }

    if (result == RESULT_OK) {
        result = find_gather(&find, c, low, high);
    }

    if (result == RESULT_OK) {
        *capped = find.partial || find.ids.n > (size_t) cap;
        *n = find.ids.n > (size_t) cap ? cap : (int64_t) find.ids.n;
    }

    find_end(&find);
    sqlite_read_end(c);
    return result;
}
