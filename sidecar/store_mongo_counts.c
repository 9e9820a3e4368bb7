/*
 * Heatmap cells and groups of errors.  The servers' $group differs too much to
 * lean on, so narrow projections are read and summed here: the cost is the
 * number of buckets, or of logs up to the deadline for the exact forms.
 */

#include "store_mongo_counts.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "heatmap.h"
#include "store_mongo_doc.h"
#include "store_mongo_query.h"
#include "store_mongo_scan.h"

#define SCRATCH_MAX  (4 * 1024 * 1024)
#define FIRST_CELLS  64
#define MAX_GROUPS   10000                 /* distinct errors kept in mind */


/* -- a growing table of cells ---------------------------------------------- */

struct cells {
    const struct filter  *f;
    enum store_by         by;
    int64_t               slot_us, offset_us;
    bool                  with_hist;
    struct arena         *a;               /* keys and the result */
    struct arena          scratch;
    struct store_cell    *cells;
    size_t                n, room;
    uint32_t             *table;           /* index + 1; twice ROOM */
};


static size_t
cell_hash(struct slice key, int64_t at_us)
{
    uint64_t  h = 0xcbf29ce484222325ull ^ (uint64_t) at_us;

    for (size_t i = 0; i < key.n; i++) {
        h = (h ^ (unsigned char) key.p[i]) * 0x100000001b3ull;
    }

    h *= 0x9e3779b97f4a7c15ull;
    return (size_t) (h ^ h >> 32);
}


static size_t
cell_place(const struct cells *c, struct slice key, int64_t at_us)
{
    size_t  mask = c->room * 2 - 1;
    size_t  i = cell_hash(key, at_us) & mask;

    while (c->table[i] != 0
           && (c->cells[c->table[i] - 1].at_us != at_us
               || !slice_eq(c->cells[c->table[i] - 1].key, key)))
    {
        i = (i + 1) & mask;
    }

    return i;
}


static bool
cells_grow(struct cells *c)
{
    struct store_cell  *cells;
    size_t              room = c->room == 0 ? FIRST_CELLS : c->room * 2;

    if (room * sizeof(*cells) > c->a->cap || room > UINT32_MAX / 2) {
        return false;
    }

    cells = realloc(c->cells, room * sizeof(*cells));
    if (cells == NULL) {
        return false;
    }

    c->cells = cells;
    free(c->table);
    c->table = calloc(room * 2, sizeof(*c->table));
    if (c->table == NULL) {
        return false;
    }

    c->room = room;
    for (size_t i = 0; i < c->n; i++) {
        c->table[cell_place(c, cells[i].key, cells[i].at_us)]
            = (uint32_t) i + 1;
    }

    return true;
}


/* The cell of KEY at the slot of AT; NULL: over the arena's cap. */
static struct store_cell *
cell_find(struct cells *c, struct slice key, int64_t at_us)
{
    struct store_cell  *cell;
    size_t              i;

    if (c->n == c->room && !cells_grow(c)) {
        return NULL;
    }

    at_us = heatmap_slot_start(at_us, c->slot_us, c->offset_us);
    i = cell_place(c, key, at_us);

    if (c->table[i] == 0) {
        cell = &c->cells[c->n];
        memset(cell, 0, sizeof(*cell));
        cell->at_us = at_us;
        cell->key = arena_copy(c->a, key);
        if (cell->key.p == NULL) {
            return NULL;
        }
        c->table[i] = (uint32_t) ++c->n;
    }

    return &c->cells[c->table[i] - 1];
}


static enum result
cells_take(struct cells *c, struct store_cell **out, size_t *n)
{
    if (c->n > 0) {
        *out = arena_alloc(c->a, c->n * sizeof(**out));
        if (*out == NULL) {
            return RESULT_TOO_BIG;
        }
        memcpy(*out, c->cells, c->n * sizeof(**out));
    }

    *n = c->n;
    return RESULT_OK;
}


static void
cells_cleanup(struct cells *c)
{
    arena_cleanup(&c->scratch);
    free(c->cells);
    free(c->table);
}


/* The log's value of BY as text. */
static struct slice
label_of(enum store_by by, const struct logdoc *d, char number[24])
{
    int64_t  v;

    switch (by) {
    case STORE_BY_ENDPOINT:
        return d->endpoint;
    case STORE_BY_DEVELOPER:
        return d->developer_id;
    case STORE_BY_KIND:
        return slice_of(log_kind_text(d->kind));
    case STORE_BY_ACTION:
        v = d->action_id;
        break;
    case STORE_BY_LAB:
        v = d->lab_id;
        break;
    default:
        return SLICE_NONE;
    }

    if (v == LOGDOC_NONE) {
        return SLICE_NONE;
    }

    snprintf(number, 24, "%lld", (long long) v);
    return slice_of(number);
}


/* -- from buckets ---------------------------------------------------------- */

struct bucket_row {                        /* labels as a log's, counts */
    struct slice   key;
    int64_t        at_us, ok, fail;
    uint32_t       hist[HIST_SLOTS];
};


static void
bucket_hist_read(const bson_iter_t *at, uint32_t hist[HIST_SLOTS])
{
    bson_iter_t   it;
    int64_t       slot, n;

    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &it)) {
        return;
    }

    while (bson_iter_next(&it)) {
        n = mongo_get_int(&it);
        if (slice_int(slice_of(bson_iter_key(&it)), &slot) == RESULT_OK
            && slot >= 0 && slot < HIST_SLOTS && n > 0)
        {
            hist[slot] = n > UINT32_MAX ? UINT32_MAX : (uint32_t) n;
        }
    }
}


static const char *const  by_fields[] = {
    [STORE_BY_NONE] = "", [STORE_BY_ENDPOINT] = "endpoint",
    [STORE_BY_ACTION] = "action_id", [STORE_BY_DEVELOPER] = "developer_id",
    [STORE_BY_LAB] = "lab_id", [STORE_BY_KIND] = "kind"
};


static void
bucket_row_read(const bson_t *doc, enum store_by by, char number[24],
    struct bucket_row *row)
{
    bson_iter_t  it;

    memset(row, 0, sizeof(*row));
    row->at_us = LOGDOC_NONE;

    (void) bson_iter_init(&it, doc);

    while (bson_iter_next(&it)) {
        const char  *name = bson_iter_key(&it);

        if (strcmp(name, "at_us") == 0) {
            row->at_us = mongo_get_int(&it);

        } else if (strcmp(name, "ok") == 0) {
            row->ok = mongo_get_int(&it);

        } else if (strcmp(name, "fail") == 0) {
            row->fail = mongo_get_int(&it);

        } else if (strcmp(name, "h") == 0) {
            bucket_hist_read(&it, row->hist);

        } else if (strcmp(name, by_fields[by]) == 0) {
            row->key = mongo_get_text(&it);
            if (BSON_ITER_HOLDS_INT(&it)) {
                snprintf(number, 24, "%lld",
                         (long long) bson_iter_as_int64(&it));
                row->key = slice_of(number);
            }
        }
    }
}


static enum result
bucket_read(const bson_t *doc, void *data)
{
    struct cells       *c = data;
    struct store_cell  *cell;
    struct bucket_row   row;
    char                number[24];

    bucket_row_read(doc, c->by, number, &row);

    if (row.at_us == LOGDOC_NONE || row.ok < 0 || row.fail < 0
        || row.ok + row.fail == 0)
    {
        return RESULT_OK;                  /* made, not yet counted into */
    }

    cell = cell_find(c, row.key, row.at_us);
    if (cell == NULL) {
        return RESULT_TOO_BIG;
    }

    cell->ok += row.ok;
    cell->fail += row.fail;
    if (c->with_hist) {
        heatmap_hist_merge(cell->hist, row.hist);
    }

    return RESULT_OK;
}


enum result
mongo_cells(struct store *s, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, bool with_hist, struct arena *a,
    struct store_cell **out, size_t *n)
{
    /* the last two only when asked for */
    const char          *fields[] = {
        "at_us", "ok", "fail", NULL, NULL, NULL
    };
    size_t               nfields = 3;
    struct mongo_scan    scan = { .coll = MONGO_HEATMAP, .fields = fields };
    struct mongo_range   range = {
        .time = "at_us", .buckets = true, .to_us = f->to_us,
        .from_us = f->from_us == LOGDOC_NONE ? LOGDOC_NONE
                   : heatmap_slot_start(f->from_us, HEATMAP_BUCKET_US, 0)
    };
    struct cells         c = {
        .f = f, .by = by, .slot_us = slot_us, .offset_us = offset_us,
        .with_hist = with_hist, .a = a
    };
    bson_t               query = BSON_INITIALIZER;
    enum result          result;

    if (by != STORE_BY_NONE) {
        fields[nfields++] = by_fields[by];
    }

    if (with_hist) {
        fields[nfields] = "h";
    }

    arena_init(&c.scratch, SCRATCH_MAX);
    result = mongo_query(f, &range, &query);

    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan((struct mongo_store *) s, &scan, bucket_read, &c);
    }

    if (result == RESULT_OK) {
        result = cells_take(&c, out, n);
    }

    cells_cleanup(&c);
    bson_destroy(&query);
    return result;
}


/* -- from logs ------------------------------------------------------------- */

static const char *const  count_fields[] = {
    "kind", "status", "started_us", "endpoint", "action_id", "developer_id",
    "lab_id", "org_id", "timing.duration_us", NULL
};


/* Decodes into the scratch arena; *OUT is NULL when q does not hold. */
static enum result
log_read(const bson_t *doc, const struct filter *f, struct arena *scratch,
    struct logdoc **out)
{
    enum result  result;

    arena_reset(scratch);
    *out = arena_alloc(scratch, sizeof(**out));
    if (*out == NULL) {
        return RESULT_MEMORY;
    }

    result = mongo_log_decode(doc, scratch, *out);
    if (result == RESULT_OK && f->q.n > 0 && !filter_match(f, *out)) {
        *out = NULL;
    }

    return result;
}


static enum result
exact_read(const bson_t *doc, void *data)
{
    struct cells        *c = data;
    struct store_cell   *cell;
    struct logdoc       *d;
    enum heatmap_count   count;
    char                 number[24];
    enum result          result;

    result = log_read(doc, c->f, &c->scratch, &d);
    if (result != RESULT_OK || d == NULL) {
        return result;
    }

    count = heatmap_count_of(d);
    if (count == HEATMAP_NOT_COUNTED) {
        return RESULT_OK;
    }

    cell = cell_find(c, label_of(c->by, d, number), d->started_us);
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


enum result
mongo_cells_exact(struct store *s, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, int64_t deadline_us, struct arena *a,
    struct store_cell **out, size_t *n, bool *partial)
{
    struct mongo_scan   scan = {
        .coll = MONGO_LOGS, .deadline_us = deadline_us,
        .fields = f->q.n > 0 ? mongo_log_bodies : count_fields,
        .exclude = f->q.n > 0
    };
    struct mongo_range  range = {
        .time = "started_us", .from_us = f->from_us, .to_us = f->to_us
    };
    struct cells        c = {
        .f = f, .by = by, .slot_us = slot_us, .offset_us = offset_us,
        .with_hist = true, .a = a
    };
    bson_t              query = BSON_INITIALIZER;
    enum result         result;

    arena_init(&c.scratch, SCRATCH_MAX);
    result = mongo_query(f, &range, &query);

    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan((struct mongo_store *) s, &scan, exact_read, &c);
    }

    if (result == RESULT_TIMEOUT) {
        *partial = true;
        result = RESULT_OK;
    }

    if (result == RESULT_OK) {
        result = cells_take(&c, out, n);
    }

    cells_cleanup(&c);
    bson_destroy(&query);
    return result;
}


/* -- groups of errors ------------------------------------------------------ */

struct groups {
    const struct filter       *f;
    struct arena              *a;
    struct arena               scratch;
    struct store_error_group  *groups;     /* MAX_GROUPS of them, malloc */
    uint32_t                   table[MAX_GROUPS * 2];
    size_t                     n;
};


/* The group of the log's error, NULL when there are too many. */
static struct store_error_group *
group_find(struct groups *g, const struct logdoc *d, bool *is_new)
{
    size_t  i = d->error_fingerprint % (MAX_GROUPS * 2);

    *is_new = false;

    while (g->table[i] != 0) {
        struct store_error_group  *e = &g->groups[g->table[i] - 1];

        if (e->fingerprint == d->error_fingerprint) {
            return e;
        }

        i = (i + 1) % (MAX_GROUPS * 2);
    }

    if (g->n == MAX_GROUPS) {
        return NULL;
    }

    *is_new = true;
    g->table[i] = (uint32_t) ++g->n;
    return &g->groups[g->n - 1];
}


/* Logs come newest first: the first of a group is its last. */
static enum result
group_read(const bson_t *doc, void *data)
{
    struct groups             *g = data;
    struct store_error_group  *e;
    struct logdoc             *d;
    bool                       is_new;
    enum result                result;

    result = log_read(doc, g->f, &g->scratch, &d);
    if (result != RESULT_OK || d == NULL || d->error_fingerprint == 0) {
        return result;
    }

    e = group_find(g, d, &is_new);
    if (e == NULL) {
        return RESULT_TIMEOUT;             /* partial, as for the deadline */
    }

    if (is_new) {
        memset(e, 0, sizeof(*e));
        e->fingerprint = d->error_fingerprint;
        e->kind = d->kind;
        e->endpoint = arena_copy(g->a, d->endpoint);
        e->code = arena_copy(g->a, d->error_code);
        e->message = arena_copy(g->a, d->error_message);
        e->http_status = d->http_status;
        e->last_us = d->started_us;
        memcpy(e->last_id, d->id, UUID_BYTES);
    }

    e->count++;
    e->first_us = d->started_us;
    return e->message.p == NULL ? RESULT_TOO_BIG : RESULT_OK;
}


static int
group_compare(const void *a, const void *b)
{
    const struct store_error_group  *x = a, *y = b;

    if (x->count != y->count) {
        return x->count < y->count ? 1 : -1;
    }

    return x->last_us < y->last_us ? 1 : x->last_us > y->last_us ? -1 : 0;
}


/* {"$and": [the filter's, {"status": {"$in": ["FAIL", "RETRYING"]}}]} */
static enum result
errors_query(const struct filter *f, bson_t *out)
{
    struct mongo_range  range = {
        .time = "started_us", .from_us = f->from_us, .to_us = f->to_us
    };
    bson_t              in, list;

    bson_append_document_begin(out, "status", -1, &in);
    bson_append_array_begin(&in, "$in", -1, &list);
    BSON_APPEND_UTF8(&list, "0", log_status_text(LOG_FAIL));
    BSON_APPEND_UTF8(&list, "1", log_status_text(LOG_RETRYING));
    bson_append_array_end(&in, &list);
    bson_append_document_end(out, &in);

    return mongo_query(f, &range, out);
}


enum result
mongo_error_groups(struct store *s, const struct filter *f, unsigned limit,
    int64_t deadline_us, struct arena *a, struct store_error_group **out,
    size_t *n, bool *partial)
{
    struct mongo_scan   scan = {
        .coll = MONGO_LOGS, .sort = { "started_us", "_id" },
        .fields = mongo_log_bodies, .exclude = true, .deadline_us = deadline_us
    };
    struct groups      *g;
    bson_t              query = BSON_INITIALIZER;
    enum result         result = RESULT_MEMORY;

    g = calloc(1, sizeof(*g));
    if (g == NULL) {
        return RESULT_MEMORY;
    }

    g->f = f;
    g->a = a;
    arena_init(&g->scratch, SCRATCH_MAX);
    g->groups = malloc(MAX_GROUPS * sizeof(*g->groups));

    if (g->groups != NULL) {
        result = errors_query(f, &query);
    }

    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan((struct mongo_store *) s, &scan, group_read, g);
    }

    if (result == RESULT_TIMEOUT) {
        *partial = true;
        result = RESULT_OK;
    }

    if (result == RESULT_OK && g->n > 0) {
        qsort(g->groups, g->n, sizeof(*g->groups), group_compare);
        *n = g->n < limit ? g->n : limit;
        *out = arena_alloc(a, *n * sizeof(**out));
        result = *out == NULL ? RESULT_TOO_BIG : RESULT_OK;
        if (*out != NULL) {
            memcpy(*out, g->groups, *n * sizeof(**out));
        }
    }

    arena_cleanup(&g->scratch);
    free(g->groups);
    free(g);
    bson_destroy(&query);
    return result;
}


/* -- open deliveries ------------------------------------------------------- */

static enum result
status_count(struct mongo_store *m, const struct scope *sc,
    enum log_status status, int64_t *n)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_t             query = BSON_INITIALIZER;
    bson_t             opts = BSON_INITIALIZER;
    enum result        result;

    BSON_APPEND_UTF8(&query, "status", log_status_text(status));
    mongo_opts_time(&opts, 0);

    result = mongo_query_scope(sc, &query);
    if (result == RESULT_OK) {
        result = mongo_begin(m, MONGO_LOGS, &call);
    }

    if (result == RESULT_OK) {
        *n = mongoc_collection_count_documents(call.coll, &query, &opts, NULL,
                                               NULL, &e);
        if (*n < 0) {
            *n = 0;
            result = mongo_failed(m, "count of open logs", &e);
        }
        mongo_end(m, &call);
    }

    bson_destroy(&query);
    bson_destroy(&opts);
    return result;
}


enum result
mongo_open_counts(struct store *s, const struct scope *sc, int64_t *pending,
    int64_t *retrying)
{
    enum result  result;

    result = status_count((struct mongo_store *) s, sc, LOG_PENDING, pending);
    if (result == RESULT_OK) {
        result = status_count((struct mongo_store *) s, sc, LOG_RETRYING,
                              retrying);
    }

    return result;
}
