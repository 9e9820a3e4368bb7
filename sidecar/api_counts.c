/*
 * Ranges snap to 5 minutes, so that tiles, heatmap and list agree.  Filters
 * that buckets know are answered from buckets; for others the summary counts
 * documents within the deadline, and the heatmap names what it leaves aside.
 */

#include "api_counts.h"

#include <inttypes.h>
#include <stdlib.h>

#include "clock.h"
#include "heatmap.h"
#include "json.h"

#define COUNTS_RANGE      HEATMAP_HOUR_US
#define COUNTS_RANGE_MAX  (800 * HEATMAP_DAY_US)
#define COUNTS_GROUPS     100
#define HEATMAP_ROWS      30
#define HEATMAP_ROWS_MAX  200

struct counts_range {
    int64_t   from_us, to_us, slot_us, offset_us, start_us;
    size_t    columns;
};

struct counts_sum {
    int64_t   ok, fail;
    uint32_t  hist[HIST_SLOTS];
};

struct counts_pair {
    int64_t  ok, fail;
};

struct counts_row {
    struct slice         key;
    struct counts_pair   sum;
    struct counts_pair  *cells;            /* of range.columns */
};


int64_t
api_counts_slot(int64_t range_us)
{
    static const struct {
        int64_t  range, slot;
    }  slots[] = {
        { 8 * HEATMAP_HOUR_US, HEATMAP_BUCKET_US },
        { 24 * HEATMAP_HOUR_US, HEATMAP_QUARTER_US },
        { 48 * HEATMAP_HOUR_US, HEATMAP_HOUR_US / 2 },
        { 7 * HEATMAP_DAY_US, 3 * HEATMAP_HOUR_US },
        { 30 * HEATMAP_DAY_US, 12 * HEATMAP_HOUR_US }
    };

    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        if (range_us <= slots[i].range) {
            return slots[i].slot;
        }
    }

    return HEATMAP_DAY_US;
}


enum result
api_counts_offset(struct slice s, int64_t *us)
{
    int64_t  hours, minutes;

    *us = 0;

    if (slice_eq(s, SLICE_LIT("Z")) || slice_eq(s, SLICE_LIT("UTC"))) {
        return RESULT_OK;
    }

    if (s.n != 6 || (s.p[0] != '+' && s.p[0] != '-') || s.p[3] != ':'
        || s.p[1] < '0' || s.p[1] > '9' || s.p[4] < '0' || s.p[4] > '5'
        || slice_int((struct slice) { s.p + 1, 2 }, &hours) != RESULT_OK
        || slice_int((struct slice) { s.p + 4, 2 }, &minutes) != RESULT_OK
        || hours > 14)
    {
        return RESULT_INVALID;
    }

    *us = (hours * 60 + minutes) * 60000000;
    if (s.p[0] == '-') {
        *us = -*us;
    }

    return RESULT_OK;
}


/* Snaps the filter's range, an hour up to now when it has none. */
static bool
range_parse(struct api_call *c, struct filter *f, struct counts_range *r)
{
    int64_t  b = HEATMAP_BUCKET_US;

    if (f->to_us == LOGDOC_NONE) {
        f->to_us = f->from_us == LOGDOC_NONE || f->from_us < clock_wall_us()
                       ? clock_wall_us() : f->from_us + COUNTS_RANGE;
    }

    if (f->from_us == LOGDOC_NONE) {
        f->from_us = f->to_us - COUNTS_RANGE;
    }

    f->from_us = heatmap_slot_start(f->from_us, b, 0);
    f->to_us = heatmap_slot_start(f->to_us + b - 1, b, 0);

    r->from_us = f->from_us;
    r->to_us = f->to_us;

    if (f->to_us - f->from_us > COUNTS_RANGE_MAX) {
        return api_problem_param(c, SLICE_LIT("from"), "range",
            "The range is longer than 800 days.");
    }

    r->slot_us = api_counts_slot(r->to_us - r->from_us);
    if (r->slot_us < HEATMAP_HOUR_US) {
        r->offset_us = 0;
    }

    r->start_us = heatmap_slot_start(r->from_us, r->slot_us, r->offset_us);
    r->columns = (size_t) ((r->to_us - r->start_us + r->slot_us - 1)
                           / r->slot_us);
    return true;
}


static bool
offset_parse(struct api_call *c, struct counts_range *r)
{
    struct slice  tz;

    if (!api_param(c, "tz", &tz)) {
        return false;
    }

    r->offset_us = 0;
    if (tz.p != NULL && api_counts_offset(tz, &r->offset_us) != RESULT_OK) {
        return api_problem_param(c, SLICE_LIT("tz"), "invalid",
            "Must be Z or an offset, as +05:30.");
    }

    return true;
}


/* -- summary --------------------------------------------------------------- */

/* Cells of the range, from buckets when they know all filters. */
static bool
cells_read(struct api_call *c, const struct filter *f,
    const struct counts_range *r, struct store_cell **cells, size_t *n,
    bool *partial)
{
    enum result  result;

    if (filter_is_bucket(f)) {
        result = store_cells(c->env->store, f, STORE_BY_NONE, r->slot_us,
            r->offset_us, true, &c->arena, cells, n);
    } else {
        result = store_cells_exact(c->env->store, f, STORE_BY_NONE,
            r->slot_us, r->offset_us,
            c->deadline_us, &c->arena,
            cells, n, partial);
    }

    return result == RESULT_OK || api_problem_result(c, result);
}


static void
cells_sum(const struct store_cell *cells, size_t n, struct counts_sum *sum)
{
    memset(sum, 0, sizeof(*sum));

    for (size_t i = 0; i < n; i++) {
        sum->ok += cells[i].ok;
        sum->fail += cells[i].fail;
        heatmap_hist_merge(sum->hist, cells[i].hist);
    }
}


static void
sum_print(struct buf *b, const struct counts_sum *sum)
{
    (void) buf_addf(b, "{\"ok\":%" PRId64 ",\"fail\":%" PRId64
        ",\"latency_ms\":{\"p50\":", sum->ok, sum->fail);
    json_ms(b, heatmap_hist_percentile(sum->hist, 0.5));
    (void) buf_adds(b, ",\"p95\":");
    json_ms(b, heatmap_hist_percentile(sum->hist, 0.95));
    (void) buf_adds(b, ",\"p99\":");
    json_ms(b, heatmap_hist_percentile(sum->hist, 0.99));
    (void) buf_adds(b, "}}");
}


/* Column of a cell; false when it lies outside (buckets count whole). */
static bool
column_of(const struct counts_range *r, int64_t at_us, size_t *column)
{
    if (at_us < r->start_us) {
        return false;
    }

    *column = (size_t) ((at_us - r->start_us) / r->slot_us);
    return *column < r->columns;
}


static void
pairs_print(struct buf *b, const struct counts_pair *pairs, size_t n)
{
    (void) buf_adds(b, "[");

    for (size_t i = 0; i < n; i++) {
        (void) buf_adds(b, i == 0 ? "[" : ",[");
        (void) buf_addi(b, pairs[i].ok);
        (void) buf_add(b, ",", 1);
        (void) buf_addi(b, pairs[i].fail);
        (void) buf_add(b, "]", 1);
    }

    (void) buf_adds(b, "]");
}


static void
range_print(struct buf *b, const struct counts_range *r)
{
    (void) buf_adds(b, "\"from\":");
    json_time(b, r->from_us);
    (void) buf_adds(b, ",\"to\":");
    json_time(b, r->to_us);
    (void) buf_adds(b, ",\"as_of\":");
    json_time(b, clock_wall_us());
}


/* What a column of the course over time adds up to. */
struct counts_column {
    int64_t       n;
    uint32_t      hist[HIST_SLOTS];
};


static void
latencies_print(struct buf *b, const struct counts_column *columns, size_t n)
{
    (void) buf_adds(b, ",\"latency_ms\":[");

    for (size_t i = 0; i < n; i++) {
        (void) buf_adds(b, i == 0 ? "" : ",");

        if (columns[i].n == 0) {
            (void) buf_adds(b, "null");
            continue;
        }

        (void) buf_adds(b, "[");
        json_ms(b, heatmap_hist_percentile(columns[i].hist, 0.5));
        (void) buf_adds(b, ",");
        json_ms(b, heatmap_hist_percentile(columns[i].hist, 0.95));
        (void) buf_adds(b, "]");
    }

    (void) buf_adds(b, "]");
}


static bool
spark_print(struct api_call *c, const struct counts_range *r,
    const struct store_cell *cells, size_t n)
{
    struct counts_column  *columns;
    struct counts_pair    *pairs;
    size_t                 column;

    pairs = arena_alloc(&c->arena, r->columns * sizeof(pairs[0]) + 1);
    columns = arena_alloc(&c->arena, r->columns * sizeof(columns[0]) + 1);
    if (pairs == NULL || columns == NULL) {
        return api_problem_result(c, RESULT_MEMORY);
    }

    memset(pairs, 0, r->columns * sizeof(pairs[0]));
    memset(columns, 0, r->columns * sizeof(columns[0]));

    for (size_t i = 0; i < n; i++) {
        if (column_of(r, cells[i].at_us, &column)) {
            pairs[column].ok += cells[i].ok;
            pairs[column].fail += cells[i].fail;
            columns[column].n += cells[i].ok + cells[i].fail;
            heatmap_hist_merge(columns[column].hist, cells[i].hist);
        }
    }

    (void) buf_addf(&c->out, ",\"sparkline\":{\"bucket_s\":%" PRId64
        ",\"start\":", r->slot_us / 1000000);
    json_time(&c->out, r->start_us);
    (void) buf_adds(&c->out, ",\"cells\":");
    pairs_print(&c->out, pairs, r->columns);
    latencies_print(&c->out, columns, r->columns);
    (void) buf_adds(&c->out, "}");
    return true;
}


/* The same length of time, right before. */
static bool
previous_read(struct api_call *c, const struct filter *f,
    const struct counts_range *r, struct counts_sum *sum, bool *partial)
{
    struct store_cell    *cells = NULL;
    struct filter         before = *f;
    struct counts_range   range = *r;
    size_t                n = 0;

    before.to_us = f->from_us;
    before.from_us = f->from_us - (f->to_us - f->from_us);
    range.from_us = before.from_us;
    range.to_us = before.to_us;

    if (!cells_read(c, &before, &range, &cells, &n, partial)) {
        return false;
    }

    cells_sum(cells, n, sum);
    return true;
}


static void
summary_totals(struct api_call *c, struct filter *f, struct counts_range *r)
{
    struct store_cell  *cells = NULL;
    struct counts_sum   sum, previous;
    int64_t             pending, retrying;
    size_t              n = 0;
    bool                partial = false;
    enum result         result;

    if (!cells_read(c, f, r, &cells, &n, &partial)
        || !previous_read(c, f, r, &previous, &partial))
    {
        return;
    }

    result = store_open_counts(c->env->store, &f->scope, &pending, &retrying);
    if (result != RESULT_OK) {
        (void) api_problem_result(c, result);
        return;
    }

    cells_sum(cells, n, &sum);

    (void) buf_adds(&c->out, "{");
    range_print(&c->out, r);
    (void) buf_adds(&c->out, ",\"total\":");
    sum_print(&c->out, &sum);
    (void) buf_adds(&c->out, ",\"previous\":");
    sum_print(&c->out, &previous);
    (void) buf_addf(&c->out, ",\"in_flight\":{\"pending\":%" PRId64
        ",\"retrying\":%" PRId64 "},\"count\":{\"value\":%" PRId64
        ",\"relation\":\"%s\"},\"rate_per_s\":%.3f", pending, retrying,
        sum.ok + sum.fail, partial ? "gte" : "eq",
        (double) (sum.ok + sum.fail) * 1e6 / (double) (r->to_us - r->from_us));

    if (spark_print(c, r, cells, n)) {
        (void) buf_addf(&c->out, ",\"partial\":%s}",
            partial ? "true" : "false");
        api_send_cached(c, API_JSON);
    }
}


static void
group_print(struct buf *b, const struct store_error_group *g)
{
    char  id[UUID_TEXT + 1];

    uuid_text(g->last_id, id);
    (void) buf_addf(b, "{\"fingerprint\":\"%016" PRIx64 "\",\"kind\":\"%s\","
        "\"endpoint\":", g->fingerprint, log_kind_text(g->kind));
    json_text(b, g->endpoint);
    (void) buf_adds(b, ",\"code\":");
    json_text(b, g->code);
    (void) buf_adds(b, ",\"message\":");
    json_text(b, g->message);
    (void) buf_adds(b, ",\"http\":");
    json_int(b, g->http_status);
    (void) buf_addf(b, ",\"count\":%" PRId64 ",\"first_at\":", g->count);
    json_time(b, g->first_us);
    (void) buf_adds(b, ",\"last_at\":");
    json_time(b, g->last_us);
    (void) buf_addf(b, ",\"last_id\":\"%s\"}", id);
}


static void
summary_errors(struct api_call *c, const struct filter *f,
    const struct counts_range *r, unsigned limit)
{
    struct store_error_group  *groups = NULL;
    size_t                     n = 0;
    bool                       partial = false;
    enum result                result;

    result = store_error_groups(c->env->store, f, limit,
        c->deadline_us, &c->arena, &groups,
        &n, &partial);
    if (result != RESULT_OK) {
        (void) api_problem_result(c, result);
        return;
    }

    (void) buf_adds(&c->out, "{");
    range_print(&c->out, r);
    (void) buf_adds(&c->out, ",\"data\":[");

    for (size_t i = 0; i < n; i++) {
        (void) buf_adds(&c->out, i == 0 ? "" : ",");
        group_print(&c->out, &groups[i]);
    }

    (void) buf_addf(&c->out, "],\"partial\":%s}", partial ? "true" : "false");
    api_send_cached(c, API_JSON);
}


void
api_summary(struct api_call *c)
{
    static const char *const  groupings[] = { "error", NULL };
    struct counts_range       r;
    struct filter             f;
    int64_t                   limit;
    int                       grouping;

    memset(&r, 0, sizeof(r));

    if (!api_param_word(c, "group_by", groupings, &grouping)
        || !api_param_int(c, "limit", 1, COUNTS_GROUPS, COUNTS_GROUPS, &limit)
        || !offset_parse(c, &r) || !api_filter(c, &f) || !api_params_end(c)
        || !range_parse(c, &f, &r))
    {
        return;
    }

    if (grouping == 0) {
        summary_errors(c, &f, &r, (unsigned) limit);
    } else {
        summary_totals(c, &f, &r);
    }
}


/* -- heatmap --------------------------------------------------------------- */

static int
key_order(struct slice x, struct slice y)
{
    size_t  n = x.n < y.n ? x.n : y.n;
    int     order;

    order = n == 0 || x.p == y.p ? 0 : memcmp(x.p, y.p, n);
    return order != 0 ? order : (x.n > y.n) - (x.n < y.n);
}


static int
cell_order(const void *a, const void *b)
{
    const struct store_cell *const  *x = a, *const  *y = b;

    return key_order((*x)->key, (*y)->key);
}


/* Worst first: failures, then traffic, then by name so that order is stable. */
static int
row_order(const void *a, const void *b)
{
    const struct counts_row  *x = a, *y = b;

    if (x->sum.fail != y->sum.fail) {
        return x->sum.fail > y->sum.fail ? -1 : 1;
    }

    if (x->sum.ok != y->sum.ok) {
        return x->sum.ok > y->sum.ok ? -1 : 1;
    }

    return key_order(x->key, y->key);
}


static void
row_add(struct counts_row *row, const struct counts_range *r,
    const struct store_cell *cell)
{
    size_t  column;

    row->sum.ok += cell->ok;
    row->sum.fail += cell->fail;

    if (row->cells != NULL && column_of(r, cell->at_us, &column)) {
        row->cells[column].ok += cell->ok;
        row->cells[column].fail += cell->fail;
    }
}


/* The cells by key: they are large, so it is not them that are moved. */
static const struct store_cell **
cells_sort(struct api_call *c, const struct store_cell *cells, size_t n)
{
    const struct store_cell  **sorted;

    sorted = arena_alloc(&c->arena, n * sizeof(sorted[0]) + 1);

    for (size_t i = 0; i < n && sorted != NULL; i++) {
        sorted[i] = &cells[i];
    }

    if (sorted != NULL && n > 1) {
        qsort(sorted, n, sizeof(sorted[0]), cell_order);
    }

    return sorted;
}


/* One row a key, without columns yet. */
static struct counts_row *
rows_collect(struct api_call *c, const struct counts_range *r,
    const struct store_cell **cells, size_t n, size_t *nrows)
{
    struct counts_row  *rows;

    *nrows = 0;

    rows = arena_alloc(&c->arena, (n + 1) * sizeof(rows[0]));
    if (rows == NULL) {
        return NULL;
    }

    for (size_t i = 0; i < n; i++) {
        if (i == 0 || key_order(cells[i]->key, cells[i - 1]->key) != 0) {
            memset(&rows[*nrows], 0, sizeof(rows[0]));
            rows[(*nrows)++].key = cells[i]->key;
        }

        row_add(&rows[*nrows - 1], r, cells[i]);
    }

    qsort(rows, *nrows, sizeof(rows[0]), row_order);
    return rows;
}


static struct counts_row *
row_of(struct counts_row *rows, size_t nrows, struct slice key)
{
    for (size_t i = 0; i < nrows; i++) {
        if (slice_eq(rows[i].key, key)) {
            return &rows[i];
        }
    }

    return NULL;
}


/* Gives the first LIMIT rows and OTHER their columns. */
static bool
rows_fill(struct api_call *c, const struct counts_range *r,
    const struct store_cell **cells, size_t n, struct counts_row *rows,
    size_t shown, struct counts_row *other)
{
    struct counts_row   *row = NULL;
    struct counts_pair  *pairs;
    size_t               size = r->columns * sizeof(pairs[0]);

    memset(other, 0, sizeof(*other));
    pairs = arena_alloc(&c->arena, (shown + 1) * size + 1);
    if (pairs == NULL) {
        return api_problem_result(c, RESULT_MEMORY);
    }

    memset(pairs, 0, (shown + 1) * size);
    other->cells = pairs + shown * r->columns;

    for (size_t i = 0; i < shown; i++) {
        memset(&rows[i].sum, 0, sizeof(rows[i].sum));
        rows[i].cells = pairs + i * r->columns;
    }

    /* equal keys lie together: one search a key */
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || key_order(cells[i]->key, cells[i - 1]->key) != 0) {
            row = row_of(rows, shown, cells[i]->key);
        }

        row_add(row == NULL ? other : row, r, cells[i]);
    }

    return true;
}


static void
row_print(struct buf *b, const struct counts_row *row, size_t columns,
    bool other)
{
    (void) buf_adds(b, "{\"key\":");

    if (other || row->key.n == 0) {
        (void) buf_adds(b, "null");
    } else {
        json_text(b, row->key);
    }

    (void) buf_addf(b, ",\"other\":%s,\"ok\":%" PRId64 ",\"fail\":%" PRId64
        ",\"cells\":", other ? "true" : "false", row->sum.ok, row->sum.fail);
    pairs_print(b, row->cells, columns);
    (void) buf_adds(b, "}");
}


static void
ignored_print(struct buf *b, const struct filter *f)
{
    bool  first = true;

    (void) buf_adds(b, ",\"ignored_filters\":[");

    for (int i = 0; i < FILTER_FIELD_COUNT; i++) {
        for (unsigned j = 0; j < f->nterms; j++) {
            if ((int) f->terms[j].field == i && !filter_fields[i].bucket) {
                (void) buf_addf(b, "%s\"%s\"", first ? "" : ",",
                    filter_fields[i].param);
                first = false;
                break;
            }
        }
    }

    if (f->q.n > 0) {
        (void) buf_addf(b, "%s\"q\"", first ? "" : ",");
    }

    (void) buf_adds(b, "]");
}


static void
heatmap_answer(struct api_call *c, const struct filter *f,
    const struct counts_range *r, enum store_by by, size_t limit)
{
    const struct store_cell  **sorted;
    struct store_cell         *cells = NULL;
    struct counts_row         *rows = NULL, other;
    size_t                     n = 0, nrows = 0, shown;
    enum result                result;

    result = store_cells(c->env->store, f, by, r->slot_us, r->offset_us, false,
        &c->arena, &cells, &n);
    if (result != RESULT_OK) {
        (void) api_problem_result(c, result);
        return;
    }

    sorted = cells_sort(c, cells, n);
    if (sorted != NULL) {
        rows = rows_collect(c, r, sorted, n, &nrows);
    }

    if (rows == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    shown = nrows < limit ? nrows : limit;
    if (!rows_fill(c, r, sorted, n, rows, shown, &other)) {
        return;
    }

    (void) buf_addf(&c->out, "{\"bucket_s\":%" PRId64 ",\"start\":",
        r->slot_us / 1000000);
    json_time(&c->out, r->start_us);
    (void) buf_adds(&c->out, ",");
    range_print(&c->out, r);
    ignored_print(&c->out, f);
    (void) buf_addf(&c->out, ",\"keys\":%zu,\"rows\":[", nrows);

    for (size_t i = 0; i < shown; i++) {
        (void) buf_adds(&c->out, i == 0 ? "" : ",");
        row_print(&c->out, &rows[i], r->columns, false);
    }

    if (shown < nrows) {
        (void) buf_adds(&c->out, shown == 0 ? "" : ",");
        row_print(&c->out, &other, r->columns, true);
    }

    (void) buf_adds(&c->out, "]}");
    api_send_cached(c, API_JSON);
}


void
api_heatmap(struct api_call *c)
{
    static const char *const    words[] = { "endpoint", "action", "developer",
                                            "lab", "kind", NULL };
    static const enum store_by  by[] = { STORE_BY_ENDPOINT, STORE_BY_ACTION,
                                         STORE_BY_DEVELOPER, STORE_BY_LAB,
                                         STORE_BY_KIND };
    struct counts_range         r;
    struct filter               f;
    int64_t                     limit;
    int                         word;

    memset(&r, 0, sizeof(r));

    if (api_param_word(c, "by", words, &word)
        && api_param_int(c, "limit", 1, HEATMAP_ROWS_MAX, HEATMAP_ROWS, &limit)
        && offset_parse(c, &r) && api_filter(c, &f) && api_params_end(c)
        && range_parse(c, &f, &r))
    {
        heatmap_answer(c, &f, &r, by[word < 0 ? 0 : word], (size_t) limit);
    }
}
