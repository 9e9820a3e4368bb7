/*
 * Heatmaps: sums of buckets.  Days and hours that are rolled up are read from
 * there when the question can be answered so (by one label, kind and lab
 * beside it, slots of quarters); the rest, and all that is newer, comes from
 * the 5-minute buckets.  Every row of one call is of one state of the file.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"

#define CELLS_MAX_LABS  FILTER_MAX_TERMS
#define NO_VALUE        (-3)               /* of a label that no log has */

/* Places of a bucket's key that filters and BY name. */
enum cells_place { AT_KIND, AT_LAB, AT_ACTION, AT_ENDPOINT, AT_DEVELOPER,
                   AT_COUNT };

struct cells_term {
    enum cells_place  place;
    enum filter_op    op;
    int64_t           value;
};

struct cells_row {                         /* of any level */
    int64_t  org;
    int64_t  place[AT_COUNT];              /* STORE_ANY: not known */
};

struct cells {
    const struct scope  *scope;
    enum store_by        by;
    bool                 with_hist;
    struct cells_term    terms[FILTER_MAX_TERMS];
    unsigned             nterms;
    int64_t              from, to;         /* buckets, [from, to) */
    struct sqlite_sum   *sum;

    /* when roll-ups serve */
    bool                 rolled;
    enum sqlite_dim      dim;
    enum sqlite_level    day;              /* whose steps fit the slots */
    bool                 by_lab;           /* only LABS, one by one */
    int64_t              labs[CELLS_MAX_LABS];
    unsigned             nlabs;
    sqlite3_stmt        *raw, *block;
};

static const enum cells_place  place_of_by[] = {
    [STORE_BY_NONE] = AT_COUNT, [STORE_BY_ENDPOINT] = AT_ENDPOINT,
    [STORE_BY_ACTION] = AT_ACTION, [STORE_BY_DEVELOPER] = AT_DEVELOPER,
    [STORE_BY_LAB] = AT_LAB, [STORE_BY_KIND] = AT_KIND
};

static const enum cells_place  place_of_dim[SQLITE_DIM_COUNT] = {
    [SQLITE_DIM_NONE] = AT_COUNT, [SQLITE_DIM_ENDPOINT] = AT_ENDPOINT,
    [SQLITE_DIM_ACTION] = AT_ACTION, [SQLITE_DIM_DEVELOPER] = AT_DEVELOPER,
    [SQLITE_DIM_LAB] = AT_LAB
};


static bool
place_of_field(enum filter_field f, enum cells_place *place)
{
    switch (f) {
    case FILTER_KIND:
        *place = AT_KIND;
        return true;
    case FILTER_LAB:
        *place = AT_LAB;
        return true;
    case FILTER_ACTION:
        *place = AT_ACTION;
        return true;
    case FILTER_ENDPOINT:
        *place = AT_ENDPOINT;
        return true;
    case FILTER_DEVELOPER:
        *place = AT_DEVELOPER;
        return true;
    default:
        return false;
    }
}


static bool
op_joins(enum filter_op op)
{
    return op == FILTER_EQ || op == FILTER_NULL;
}


/* The filter's terms that buckets know, with labels as numbers. */
static enum result
terms_take(struct cells *q, struct sqlite_conn *c, const struct filter *f)
{
    enum sqlite_label  kind;
    enum result        result;

    for (unsigned i = 0; i < f->nterms; i++) {
        struct cells_term  *t = &q->terms[q->nterms];

        if (!place_of_field(f->terms[i].field, &t->place)) {
            continue;
        }

        t->op = f->terms[i].op;
        t->value = f->terms[i].num;

        if (sqlite_where_label(f->terms[i].field, &kind)) {
            result = sqlite_dict_find(c, kind, f->terms[i].text, &t->value);

            if (result == RESULT_NOT_FOUND) {
                t->value = NO_VALUE;

            } else if (result != RESULT_OK) {
                return result;
            }
        }

        q->nterms++;
    }

    return RESULT_OK;
}


static bool
term_holds(const struct cells_term *t, int64_t have)
{
    bool  null = t->op == FILTER_NULL || t->op == FILTER_NOT_NULL;

    return have == (null ? STORE_NO_LABEL : t->value);
}


static bool
terms_match(const struct cells *q, const struct cells_row *r)
{
    for (unsigned i = 0; i < q->nterms; i++) {
        const struct cells_term  *t = &q->terms[i];
        int64_t                   have = r->place[t->place];
        bool                      holds = false;

        if (have == STORE_ANY) {           /* the block was chosen by it */
            continue;
        }

        if (!op_joins(t->op)) {
            holds = !term_holds(t, have);
        }

        for (unsigned j = 0; op_joins(t->op) && j < q->nterms && !holds; j++) {
            holds = q->terms[j].place == t->place && op_joins(q->terms[j].op)
                && term_holds(&q->terms[j], have);
        }

        if (!holds) {
            return false;
        }
    }

    return true;
}


static bool
row_is_visible(const struct cells *q, const struct cells_row *r)
{
    const struct scope  *sc = q->scope;

    if (sc->platform || r->org == STORE_ANY) {
        return true;
    }

    return scope_sees(sc, r->org == STORE_NO_LABEL ? LOGDOC_NONE : r->org,
        r->place[AT_LAB] == STORE_NO_LABEL ? LOGDOC_NONE : r->place[AT_LAB]);
}


static int64_t
row_key(const struct cells *q, const struct cells_row *r)
{
    enum cells_place  place = place_of_by[q->by];

    return place == AT_COUNT ? 0 : r->place[place];
}


static enum result
cell_add(const struct cells *q, int64_t at_us, int64_t key,
    const struct sqlite_quarter *quarter)
{
    struct store_cell  *cell;

    cell = sqlite_sum_at(q->sum, at_us, key);
    if (cell == NULL) {
        return RESULT_TOO_BIG;
    }

    cell->ok += (int64_t) quarter->ok;
    cell->fail += (int64_t) quarter->fail;

    return q->with_hist
        ? heatmap_hist_merge_packed(cell->hist, quarter->hist, quarter->nhist)
        : RESULT_OK;
}


/* The rows of statement RAW, as it is bound. */
static enum result
raw_rows(struct cells *q, struct sqlite_conn *c)
{
    struct sqlite_quarter  quarter;
    struct cells_row       r;
    struct slice           hist;
    enum result            result = RESULT_OK;
    int                    rc;

    while ((rc = sqlite3_step(q->raw)) == SQLITE_ROW && result == RESULT_OK) {
        r.org = sqlite3_column_int64(q->raw, 1);
        r.place[AT_LAB] = sqlite3_column_int64(q->raw, 2);
        r.place[AT_KIND] = sqlite3_column_int64(q->raw, 3);
        r.place[AT_ACTION] = sqlite3_column_int64(q->raw, 4);
        r.place[AT_ENDPOINT] = sqlite3_column_int64(q->raw, 5);
        r.place[AT_DEVELOPER] = sqlite3_column_int64(q->raw, 6);

        if (!row_is_visible(q, &r) || !terms_match(q, &r)) {
            continue;
        }

        quarter.ok = (uint64_t) sqlite3_column_int64(q->raw, 7);
        quarter.fail = (uint64_t) sqlite3_column_int64(q->raw, 8);
        hist = sqlite_column_slice(q->raw, 9);
        quarter.hist = (const uint8_t *) hist.p;
        quarter.nhist = hist.n;
        result = cell_add(q,
            sqlite3_column_int64(q->raw, 0) * HEATMAP_BUCKET_US,
            row_key(q, &r), &quarter);
    }

    if (result == RESULT_OK) {
        result = sqlite_result(c, rc, "heatmap");
    }

    sqlite3_reset(q->raw);
    return result;
}


/* Table heatmap, [from, to): whole, or the labs one by one in each hour. */
static enum result
raw_add(struct cells *q, struct sqlite_conn *c, int64_t from, int64_t to)
{
    enum result  result = RESULT_OK;
    int64_t      hour = from - from % SQLITE_HEAT_HOUR;

    sqlite3_bind_int64(q->raw, 1, hour);
    sqlite3_bind_int64(q->raw, 2, from);
    sqlite3_bind_int64(q->raw, 3, to);

    if (!q->by_lab) {
        return raw_rows(q, c);
    }

    for ( /* void */ ; hour < to; hour += SQLITE_HEAT_HOUR) {
        sqlite3_bind_int64(q->raw, 1, hour);

        for (unsigned i = 0; i < q->nlabs && result == RESULT_OK; i++) {
            sqlite3_bind_int64(q->raw, 4, q->labs[i]);
            result = raw_rows(q, c);
        }
    }

    return result;
}


static enum result
block_row(struct cells *q, struct sqlite_conn *c, int64_t at, int64_t lab)
{
    struct sqlite_quarter  quarter;
    struct cells_row       r;
    struct slice           cells;
    enum result            result = RESULT_OK;
    bool                   bad = false;

    r.org = STORE_ANY;                     /* the block is of the scope */
    for (int i = 0; i < AT_COUNT; i++) {
        r.place[i] = STORE_ANY;
    }

    r.place[AT_KIND] = sqlite3_column_int64(q->block, 0);
    r.place[AT_LAB] = q->by_lab ? lab : STORE_ANY;

    if (q->dim != SQLITE_DIM_NONE) {
        r.place[place_of_dim[q->dim]] = sqlite3_column_int64(q->block, 1);
    }

    if (!terms_match(q, &r)) {
        return RESULT_OK;
    }

    cells = sqlite_column_slice(q->block, 2);

    while (result == RESULT_OK
           && sqlite_quarter_next(&cells, &quarter, &bad))
    {
        result = cell_add(q, at * HEATMAP_BUCKET_US
            + quarter.index * HEATMAP_QUARTER_US, row_key(q, &r), &quarter);
    }

    return bad ? sqlite_result(c, SQLITE_CORRUPT, "heatmap") : result;
}


static enum result
block_add_lab(struct cells *q, struct sqlite_conn *c, enum sqlite_level level,
    int64_t at, int64_t lab)
{
    enum result  result = RESULT_OK;
    int          rc;

    sqlite3_bind_int64(q->block, 1, (int64_t) level);
    sqlite3_bind_int64(q->block, 2, at);
    sqlite3_bind_int64(q->block, 3, lab);

    while ((rc = sqlite3_step(q->block)) == SQLITE_ROW
           && result == RESULT_OK)
    {
        result = block_row(q, c, at, lab);
    }

    if (result == RESULT_OK) {
        result = sqlite_result(c, rc, "heatmap");
    }

    sqlite3_reset(q->block);
    return result;
}


static enum result
block_add(struct cells *q, struct sqlite_conn *c, enum sqlite_level level,
    int64_t at)
{
    enum result  result = RESULT_OK;

    if (!q->by_lab) {
        return block_add_lab(q, c, level, at, STORE_ANY);
    }

    for (unsigned i = 0; i < q->nlabs && result == RESULT_OK; i++) {
        result = block_add_lab(q, c, level, at, q->labs[i]);
    }

    return result;
}


static bool
scope_has_lab(const struct scope *sc, int64_t lab)
{
    if (sc->platform || sc->labs == NULL) {
        return true;
    }

    for (unsigned i = 0; i < sc->nlabs; i++) {
        if (sc->labs[i] == lab) {
            return true;
        }
    }

    return false;
}


static bool
lab_take(struct cells *q, int64_t lab)
{
    for (unsigned i = 0; i < q->nlabs; i++) {
        if (q->labs[i] == lab) {
            return true;
        }
    }

    if (q->nlabs == CELLS_MAX_LABS) {
        return false;
    }

    q->labs[q->nlabs++] = lab;
    return true;
}


/* The labs that are wanted one by one; false: roll-ups cannot serve. */
static bool
labs_choose(struct cells *q, bool *other)
{
    const struct scope  *sc = q->scope;
    bool                 equal = false;

    *other = false;

    for (unsigned i = 0; i < q->nterms; i++) {
        if (q->terms[i].place == AT_LAB) {
            equal = equal || q->terms[i].op == FILTER_EQ;
            *other = *other || q->terms[i].op != FILTER_EQ;
        }
    }

    if (*other) {
        return sc->platform || sc->labs == NULL;
    }

    for (unsigned i = 0; equal && i < q->nterms; i++) {
        if (q->terms[i].place == AT_LAB
            && scope_has_lab(sc, q->terms[i].value)
            && !lab_take(q, q->terms[i].value))
        {
            return false;                  /* too many to name */
        }
    }

    for (unsigned i = 0; !equal && !sc->platform && sc->labs != NULL
                         && i < sc->nlabs; i++)
    {
        if (!lab_take(q, sc->labs[i])) {
            return false;
        }
    }

    q->by_lab = equal || (!sc->platform && sc->labs != NULL);
    return true;
}


static enum sqlite_dim
dim_of_place(enum cells_place place)
{
    for (int i = 0; i < SQLITE_DIM_COUNT; i++) {
        if (place_of_dim[i] == place) {
            return (enum sqlite_dim) i;
        }
    }

    return SQLITE_DIM_NONE;                /* kind is part of every row */
}


/* The longest steps of a day that no slot cuts. */
static enum sqlite_level
day_choose(const struct cells *q, int64_t slot_us, int64_t offset_us)
{
    int64_t  phase = offset_us % HEATMAP_HOUR_US;

    if (q->by_lab || slot_us % HEATMAP_HOUR_US != 0) {
        return SQLITE_LEVEL_DAY;
    }

    return phase == 0 ? SQLITE_LEVEL_DAY_HOURS
        : phase == HEATMAP_HOUR_US / 2 || phase == -HEATMAP_HOUR_US / 2
        ? SQLITE_LEVEL_DAY_HALVES : SQLITE_LEVEL_DAY;
}


/* Can roll-ups answer?  They are split by one label only. */
static void
rolled_choose(struct cells *q, int64_t slot_us, int64_t offset_us)
{
    enum sqlite_dim  dim;
    bool             lab_is_label = false;

    q->dim = dim_of_place(place_of_by[q->by]);
    q->rolled = labs_choose(q, &lab_is_label)
        && slot_us % HEATMAP_QUARTER_US == 0
        && offset_us % HEATMAP_QUARTER_US == 0;

    q->day = day_choose(q, slot_us, offset_us);

    if (q->by_lab && q->dim == SQLITE_DIM_LAB) {
        q->dim = SQLITE_DIM_NONE;
    }

    for (unsigned i = 0; i < q->nterms && q->rolled; i++) {
        if (q->terms[i].place == AT_LAB && !lab_is_label) {
            continue;
        }

        dim = dim_of_place(q->terms[i].place);

        if (dim == SQLITE_DIM_NONE || dim == q->dim) {
            continue;
        }

        /* by lab is answered by rows of single labs, which have any label */
        q->rolled = q->dim == SQLITE_DIM_NONE;
        q->dim = dim;
    }
}


static enum result
statements_prepare(struct cells *q, struct sqlite_conn *c)
{
    enum result  result;

    result = sqlite_prepare(c, q->by_lab
        ? "SELECT at,org,lab,kind,action,endpoint,developer,ok,fail,hist FROM"
          " heatmap WHERE hour=?1 AND lab=?4 AND at>=?2 AND at<?3"
        : "SELECT at,org,lab,kind,action,endpoint,developer,ok,fail,hist FROM"
          " heatmap WHERE hour>=?1 AND hour<?3 AND at>=?2 AND at<?3",
        &q->raw);

    if (result != RESULT_OK || !q->rolled) {
        return result;
    }

    /* rows of a lab under every org: only the platform reads without one */
    result = sqlite_prepare(c, q->scope->platform && q->by_lab
        ? "SELECT kind,label,cells FROM heatmap_roll WHERE level=?1 AND"
          " at=?2 AND lab=?3 AND dim=?5"
        : "SELECT kind,label,cells FROM heatmap_roll WHERE level=?1 AND"
          " at=?2 AND lab=?3 AND org=?4 AND dim=?5", &q->block);

    if (result == RESULT_OK) {
        (void) sqlite3_bind_int64(q->block, 4,
            q->scope->platform ? STORE_ANY : q->scope->org_id);
        (void) sqlite3_bind_int64(q->block, 5, (int64_t) q->dim);
    }

    return result;
}


/* The next rolled-up block that starts at or after AT; false: none. */
static bool
done_next(sqlite3_stmt *st, int64_t level, int64_t at, int64_t to,
    int64_t *out, int *rc)
{
    sqlite3_bind_int64(st, 1, level);
    sqlite3_bind_int64(st, 2, at);
    sqlite3_bind_int64(st, 3,
        to - (level == 0 ? SQLITE_HEAT_HOUR : SQLITE_HEAT_DAY));
    *rc = sqlite3_step(st);

    if (*rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);
    }

    sqlite3_reset(st);
    return *rc == SQLITE_ROW;
}


/* Blocks where there are some, buckets between them. */
static enum result
ranges_walk(struct cells *q, struct sqlite_conn *c, sqlite3_stmt *done)
{
    enum result  result = RESULT_OK;
    int64_t      at = q->from, day = -1, hour = -1, next;
    bool         days = true, hours = !q->by_lab;
    int          rc;

    while (at < q->to && result == RESULT_OK) {
        if (days && day < at) {
            days = done_next(done, 1, at, q->to, &day, &rc);
        }

        if (hours && hour < at) {
            hours = done_next(done, 0, at, q->to, &hour, &rc);
        }

        if (days && day == at) {
            result = block_add(q, c, q->day, at);
            at += SQLITE_HEAT_DAY;

        } else if (hours && hour == at) {
            result = block_add(q, c, SQLITE_LEVEL_HOUR, at);
            at += SQLITE_HEAT_HOUR;

        } else {
            next = days && day < q->to ? day : q->to;
            next = hours && hour < next ? hour : next;
            result = raw_add(q, c, at, next);
            at = next;
        }
    }

    return result;
}


/* Where buckets begin and end; older than all buckets are rolled-up days. */
static enum result
range_choose(struct cells *q, struct sqlite_conn *c, const struct filter *f)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, "SELECT min(ifnull((SELECT min(hour) FROM"
        " heatmap),1e15), ifnull((SELECT min(at) FROM heatmap_done WHERE"
        " level=1),1e15)), (SELECT max(hour)+12 FROM heatmap)", &st);
    if (result != RESULT_OK) {
        return result;
    }

    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        q->from = sqlite3_column_int64(st, 0);
        q->to = sqlite3_column_int64(st, 1);
    }

    sqlite3_finalize(st);

    if (f->from_us != LOGDOC_NONE
        && f->from_us / HEATMAP_BUCKET_US > q->from)
    {
        q->from = f->from_us / HEATMAP_BUCKET_US;
    }

    if (f->to_us != LOGDOC_NONE && (f->to_us + HEATMAP_BUCKET_US - 1)
                                       / HEATMAP_BUCKET_US < q->to)
    {
        q->to = (f->to_us + HEATMAP_BUCKET_US - 1) / HEATMAP_BUCKET_US;
    }

    return sqlite_result(c, rc, "heatmap");
}


static enum result
cells_read(struct cells *q, struct sqlite_conn *c, const struct filter *f,
    int64_t slot_us, int64_t offset_us)
{
    sqlite3_stmt  *done = NULL;
    enum result    result;

    result = terms_take(q, c, f);

    if (result == RESULT_OK) {
        result = range_choose(q, c, f);
    }

    if (result == RESULT_OK) {
        rolled_choose(q, slot_us, offset_us);
        result = statements_prepare(q, c);
    }

    if (result == RESULT_OK && q->rolled) {
        result = sqlite_prepare(c, "SELECT at FROM heatmap_done WHERE"
            " level=?1 AND at>=?2 AND at<=?3 ORDER BY at LIMIT 1", &done);
    }

    if (result == RESULT_OK) {
        result = q->rolled ? ranges_walk(q, c, done)
                           : raw_add(q, c, q->from, q->to);
    }

    sqlite3_finalize(done);
    sqlite3_finalize(q->raw);
    sqlite3_finalize(q->block);
    return result;
}


enum result
sqlite_cells(struct store *base, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, bool with_hist, struct arena *a,
    struct store_cell **out, size_t *n)
{
    struct sqlite_conn  *c;
    struct cells         q;
    enum result          result;

    memset(&q, 0, sizeof(q));
    q.scope = &f->scope;
    q.by = by;
    q.with_hist = with_hist;

    result = sqlite_sum_create(slot_us, offset_us, &q.sum);
    if (result != RESULT_OK) {
        return result;
    }

    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);

    if (result == RESULT_OK) {
        result = cells_read(&q, c, f, slot_us, offset_us);

        if (result == RESULT_OK) {
            result = sqlite_sum_take(q.sum, c, by, a, out, n);
        }

        sqlite_read_end(c);
    }

    sqlite_sum_destroy(q.sum);
    return result;
}
