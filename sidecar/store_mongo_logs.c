/*
 * Reading logs.  Pages are keyset pages on (started_us, _id).  A filter that no
 * index leads is looked for in windows of time that grow while they are quick,
 * so that a deadline leaves a page that says how far it looked.  q is judged
 * here: it looks into references of any name, which no portable query does.
 */

#include "store_mongo_logs.h"

#include "clock.h"
#include "store_mongo_doc.h"
#include "store_mongo_query.h"
#include "store_mongo_scan.h"

#define DEFAULT_DEADLINE_US  (MONGO_READ_MS * INT64_C(1000))
#define FIRST_LOGS           1000                  /* in the first window */
#define FIRST_TIME_US        INT64_C(1000000)
#define MIN_WINDOW_US        INT64_C(1000000)
#define SCRATCH_MAX          (4 * 1024 * 1024)
#define FIRST_ROWS           16


/* -- one log --------------------------------------------------------------- */

struct one {
    struct arena        *a;
    const struct scope  *scope;
    struct logdoc       *out;
    bool                 found;
};


static enum result
one_read(const bson_t *doc, void *data)
{
    struct one   *one = data;
    enum result   result;

    result = mongo_log_decode(doc, one->a, one->out);
    one->found = result == RESULT_OK
                 && scope_sees(one->scope, one->out->org_id, one->out->lab_id);
    return result;
}


enum result
mongo_log_get(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1 };
    struct one         one = { a, sc, out, false };
    bson_t             query = BSON_INITIALIZER;
    char               text[UUID_TEXT + 1];
    enum result        result;

    uuid_text(id, text);
    mongo_query_id(&query, slice_of(text));
    scan.query = &query;
    result = mongo_scan((struct mongo_store *) s, &scan, one_read, &one);
    bson_destroy(&query);

    if (result == RESULT_OK && !one.found) {
        logdoc_init(out);                  /* another tenant's stays unseen */
        result = RESULT_NOT_FOUND;
    }

    return result;
}


/* -- attempts -------------------------------------------------------------- */

struct attempts {
    struct arena        *a;
    struct log_attempt  *rows;
    size_t               n, room;
};


/* Room for one more of SIZE bytes, by doubling inside the arena. */
static void *
rows_room(struct arena *a, void *rows, size_t n, size_t *room, size_t size)
{
    void    *more;
    size_t   want;

    if (n < *room) {
        return rows;
    }

    want = *room == 0 ? FIRST_ROWS : *room * 2;
    more = arena_alloc(a, want * size);

    if (more != NULL) {
        if (n > 0) {
            memcpy(more, rows, n * size);
        }
        *room = want;
    }

    return more;
}


static enum result
attempt_read(const bson_t *doc, void *data)
{
    struct attempts     *t = data;
    struct log_attempt  *rows;

    rows = rows_room(t->a, t->rows, t->n, &t->room, sizeof(*rows));
    if (rows == NULL) {
        return RESULT_TOO_BIG;
    }

    t->rows = rows;
    return mongo_attempt_decode(doc, t->a, &rows[t->n++]);
}


enum result
mongo_attempts(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n)
{
    struct mongo_scan  scan = {
        .coll = MONGO_ATTEMPTS, .sort = { "number", NULL }, .ascending = true
    };
    struct attempts    rows = { .a = a };
    struct logdoc     *log;
    bson_t             query = BSON_INITIALIZER;
    char               text[UUID_TEXT + 1];
    enum result        result;

    log = arena_alloc(a, sizeof(*log));
    result = log == NULL ? RESULT_TOO_BIG : mongo_log_get(s, sc, id, a, log);

    if (result == RESULT_OK) {
        uuid_text(id, text);
        BSON_APPEND_UTF8(&query, "integration_directory_id", text);
        scan.query = &query;
        result = mongo_scan((struct mongo_store *) s, &scan, attempt_read,
                            &rows);
    }

    bson_destroy(&query);
    *out = rows.rows;
    *n = rows.n;
    return result;
}


/* -- pages ----------------------------------------------------------------- */

struct page {
    struct mongo_store       *m;
    const struct filter      *f;
    const struct store_page  *p;
    struct arena             *a;
    struct store_rows        *out;
    size_t                    room;
    int64_t                   deadline_us;
    int64_t                   from_us, to_us;      /* still to be looked at */
    struct arena              scratch;             /* of logs that q judges */
};


/* Everything up to this log has been looked at. */
static void
searched_to(struct store_rows *out, const struct logdoc *d)
{
    out->searched_to_us = d->started_us;
    memcpy(out->searched_to_id, d->id, UUID_BYTES);
}


static enum result
row_read(const bson_t *doc, void *data)
{
    struct page    *p = data;
    struct logdoc  *rows, *probe;
    enum result     result;

    if (p->f->q.n > 0) {
        arena_reset(&p->scratch);
        probe = arena_alloc(&p->scratch, sizeof(*probe));
        result = probe == NULL ? RESULT_MEMORY
                               : mongo_log_decode(doc, &p->scratch, probe);
        if (result != RESULT_OK) {
            return result;
        }

        if (!filter_match(p->f, probe)) {
            searched_to(p->out, probe);
            return RESULT_OK;
        }
    }

    if (p->out->n == p->p->limit) {
        p->out->more = true;
        return RESULT_AGAIN;
    }

    rows = rows_room(p->a, p->out->rows, p->out->n, &p->room, sizeof(*rows));
    if (rows == NULL) {
        return RESULT_TOO_BIG;
    }

    p->out->rows = rows;
    result = mongo_log_decode(doc, p->a, &rows[p->out->n]);
    if (result == RESULT_OK) {
        searched_to(p->out, &rows[p->out->n++]);
    }

    return result;
}


static struct mongo_range
page_range(const struct page *p, int64_t from_us, int64_t to_us)
{
    struct mongo_range  r = {
        .time = "started_us", .from_us = from_us, .to_us = to_us,
        .has_after = p->p->has_after, .ascending = p->p->ascending,
        .after_us = p->p->after_us, .after_id = p->p->after_id
    };

    return r;
}


static enum result
window_find(struct page *p, int64_t from_us, int64_t to_us)
{
    struct mongo_scan   scan = {
        .coll = MONGO_LOGS, .sort = { "started_us", "_id" },
        .ascending = p->p->ascending, .fields = mongo_log_bodies,
        .exclude = true,
        .deadline_us = p->deadline_us
    };
    struct mongo_range  range = page_range(p, from_us, to_us);
    bson_t              query = BSON_INITIALIZER;
    enum result         result;

    if (p->f->q.n == 0) {
        scan.limit = (int64_t) (p->p->limit - p->out->n) + 1;
    }

    result = mongo_query(p->f, &range, &query);
    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan(p->m, &scan, row_read, p);
    }

    bson_destroy(&query);
    return result;
}


static enum result
started_read(const bson_t *doc, void *data)
{
    bson_iter_t  it;

    if (bson_iter_init_find(&it, doc, "started_us")) {
        *(int64_t *) data = mongo_get_int(&it);
    }

    return RESULT_OK;
}


/* The start of the log SKIP behind one end of what is to be looked at;
 * LOGDOC_NONE: there is none. */
static enum result
range_end(struct page *p, bool oldest, int64_t skip, int64_t *us)
{
    static const char *const  fields[] = { "started_us", NULL };
    struct mongo_scan         scan = {
        .coll = MONGO_LOGS, .sort = { "started_us", "_id" },
        .ascending = oldest, .limit = 1, .skip = skip, .fields = fields
    };
    struct mongo_range        range = page_range(p, p->from_us, p->to_us);
    struct filter             all;
    bson_t                    query = BSON_INITIALIZER;
    enum result               result;

    *us = LOGDOC_NONE;
    filter_init(&all, &p->f->scope);
    result = mongo_query(&all, &range, &query);

    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan(p->m, &scan, started_read, us);
    }

    bson_destroy(&query);
    return result;
}


static void
searched_nothing(struct page *p)
{
    memcpy(p->out->searched_to_id, p->p->after_id, UUID_BYTES);
    p->out->searched_to_us = p->p->after_us;
}


/* All before what is still to be looked at has been.  The page may begin in
 * the middle of a microsecond, and never ends before that. */
static void
window_edge(struct page *p)
{
    const struct store_page  *at = p->p;

    if (at->has_after && (at->ascending ? p->from_us <= at->after_us
                                        : p->to_us > at->after_us))
    {
        searched_nothing(p);

    } else if (at->ascending) {
        p->out->searched_to_us = p->from_us - 1;
        memset(p->out->searched_to_id, 0xff, UUID_BYTES);

    } else {
        p->out->searched_to_us = p->to_us;
        memset(p->out->searched_to_id, 0, UUID_BYTES);
    }
}


/* The window was looked at whole: the next one starts at its edge. */
static void
window_done(struct page *p, int64_t from_us, int64_t to_us)
{
    if (p->p->ascending) {
        p->from_us = to_us;

    } else {
        p->to_us = from_us;
    }

    window_edge(p);
}


/* Windows from the near end to the far one. */
static enum result
windows_find(struct page *p)
{
    int64_t      oldest, newest, from, to, span, begun, took, deadline_us;
    int64_t      edge = LOGDOC_NONE;
    enum result  result;

    result = range_end(p, true, 0, &oldest);
    if (result == RESULT_OK && oldest != LOGDOC_NONE) {
        result = range_end(p, false, 0, &newest);
    }

    if (result == RESULT_OK) {
        result = range_end(p, p->p->ascending, FIRST_LOGS, &edge);
    }

    if (result != RESULT_OK || oldest == LOGDOC_NONE || newest == LOGDOC_NONE) {
        return result;
    }

    p->from_us = oldest;
    p->to_us = newest + 1;
    window_edge(p);
    span = edge == LOGDOC_NONE ? newest + 1 - oldest
           : p->p->ascending ? edge + 1 - oldest : newest + 1 - edge;

    /* the first window is small and looked at even when time is up: a page
     * always gets on */
    deadline_us = p->deadline_us;
    begun = clock_mono_us();
    if (p->deadline_us < begun + FIRST_TIME_US) {
        p->deadline_us = begun + FIRST_TIME_US;
    }

    while (p->from_us < p->to_us && !p->out->more) {
        from = p->p->ascending || p->to_us - p->from_us <= span
               ? p->from_us : p->to_us - span;
        to = !p->p->ascending || p->to_us - p->from_us <= span
             ? p->to_us : p->from_us + span;

        begun = clock_mono_us();
        result = window_find(p, from, to);
        p->deadline_us = deadline_us;
        if (result != RESULT_OK) {
            return result;
        }

        if (!p->out->more) {
            window_done(p, from, to);
        }

        took = clock_mono_us() - begun;
        if (begun + took >= p->deadline_us && p->from_us < p->to_us) {
            return RESULT_TIMEOUT;
        }

        span = took * 8 < p->deadline_us - begun ? span * 4 : span / 2;
        span = span < MIN_WINDOW_US ? MIN_WINDOW_US : span;
    }

    return RESULT_OK;
}


/* Where the page began: what it has looked at when it looked at nothing. */
static void
page_reset(struct page *p)
{
    struct store_rows        *out = p->out;
    const struct store_page  *at = p->p;

    out->n = 0;

    if (at->has_after) {
        searched_nothing(p);

    } else {
        out->searched_to_us = at->ascending ? p->f->from_us : p->f->to_us;
        memset(out->searched_to_id, 0, UUID_BYTES);
    }

    /* no bound: from before all logs, or from behind them, clocks differing */
    if (out->searched_to_us == LOGDOC_NONE) {
        out->searched_to_us = at->ascending ? 0
                              : clock_wall_us() + HEATMAP_DAY_US;
    }
}


/* A small store is looked through at once, in a quarter of the time that is
 * left; where that does not do, windows follow. */
static enum result
page_find(struct page *p)
{
    int64_t      deadline_us = p->deadline_us, now = clock_mono_us();
    enum result  result;

    page_reset(p);

    if (mongo_query_is_indexed(p->f)) {
        return window_find(p, p->f->from_us, p->f->to_us);
    }

    if (now < deadline_us) {
        p->deadline_us = now + (deadline_us - now) / 4;
        result = window_find(p, p->f->from_us, p->f->to_us);
        p->deadline_us = deadline_us;

        if (result != RESULT_TIMEOUT) {
            return result;
        }

        page_reset(p);
    }

    return windows_find(p);
}


enum result
mongo_logs_find(struct store *s, const struct filter *f,
    const struct store_page *p, struct arena *a, struct store_rows *out)
{
    struct page  page = {
        .m = (struct mongo_store *) s, .f = f, .p = p, .a = a, .out = out,
        .deadline_us = p->deadline_us > 0
                       ? p->deadline_us
                       : clock_mono_us() + DEFAULT_DEADLINE_US,
        .from_us = f->from_us, .to_us = f->to_us
    };
    enum result  result;

    arena_init(&page.scratch, SCRATCH_MAX);
    result = page_find(&page);
    arena_cleanup(&page.scratch);

    if (result == RESULT_TIMEOUT) {
        out->partial = true;
        result = RESULT_OK;
    }

    return result;
}


/* -- counting -------------------------------------------------------------- */

struct count {
    const struct filter  *f;
    struct arena          scratch;
    int64_t               n, cap;
    bool                  capped;
};


static enum result
count_read(const bson_t *doc, void *data)
{
    struct count   *c = data;
    struct logdoc  *d;
    enum result     result;

    if (c->f->q.n > 0) {
        arena_reset(&c->scratch);
        d = arena_alloc(&c->scratch, sizeof(*d));
        result = d == NULL ? RESULT_MEMORY
                           : mongo_log_decode(doc, &c->scratch, d);
        if (result != RESULT_OK || !filter_match(c->f, d)) {
            return result;
        }
    }

    if (c->n == c->cap) {
        c->capped = true;
        return RESULT_AGAIN;
    }

    c->n++;
    return RESULT_OK;
}


enum result
mongo_logs_count(struct store *s, const struct filter *f, int64_t cap,
    int64_t deadline_us, int64_t *n, bool *capped)
{
    static const char *const  id[] = { "_id", NULL };
    struct mongo_scan         scan = {
        .coll = MONGO_LOGS, .fields = f->q.n > 0 ? mongo_log_bodies : id,
        .exclude = f->q.n > 0, .deadline_us = deadline_us
    };
    struct mongo_range        range = {
        .time = "started_us", .from_us = f->from_us, .to_us = f->to_us
    };
    struct count              c = { .f = f, .cap = cap };
    bson_t                    query = BSON_INITIALIZER;
    enum result               result;

    if (f->q.n == 0 && cap < INT64_MAX) {
        scan.limit = cap + 1;
    }

    arena_init(&c.scratch, SCRATCH_MAX);
    result = mongo_query(f, &range, &query);

    if (result == RESULT_OK) {
        scan.query = &query;
        result = mongo_scan((struct mongo_store *) s, &scan, count_read, &c);
    }

    arena_cleanup(&c.scratch);
    bson_destroy(&query);

    *n = c.n;
    *capped = c.capped || result == RESULT_TIMEOUT;
    return result == RESULT_TIMEOUT ? RESULT_OK : result;
}
