/*
 * Roll-ups: the buckets of an hour or a day as rows of quarters.  They are made
 * after the time is over, by whoever calls recount: read and summed on a
 * reader, then written in one job that first looks whether a bucket has changed
 * meanwhile (the generation on the list).
 *
 * A row is split by kind and one label (or none), for all labs and orgs, for
 * each org, and in days for each lab too.  Hours only bridge the time until
 * their day is over: the day's job removes them.  A day has its rows (but for
 * single labs) also in steps of an hour, from :00 and from :30 for the zones
 * that need it, since long ranges would sum very many quarters.
 */

#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

#define ROLL_MAX_BYTES  (128 * 1024 * 1024)
#define ROLL_GRACE_US   INT64_C(120000000) /* after its end: late records */
#define ROLL_QUIET_US   INT64_C(600000000) /* a day changed late: so long */
#define ROLL_READ_US    INT64_C(60000000)
#define ROLL_QUARTERS   96

enum roll_scope { ROLL_ALL, ROLL_ORG, ROLL_LAB, ROLL_SCOPES };

struct roll_key {
    int64_t  lab, org, dim, kind, label;
};

struct roll_row {
    struct roll_key  key;
    int64_t          level;                /* enum sqlite_level */
    size_t           at, n;                /* in the bytes */
};

struct roll_cell {
    uint64_t  ok, fail;
    uint32_t  hist[HIST_SLOTS];
};

/* One block on its way; rows come in order of their keys. */
struct roll {
    int64_t           level, at, gen;
    struct roll_row  *rows;
    size_t            n, room;
    struct buf        bytes;
    struct roll_key   key;                 /* of the row being summed */
    bool              open;
    struct roll_cell  cells[ROLL_QUARTERS];
    bool              changed;             /* meanwhile: try again later */
};


static void
put_uint(struct buf *b, uint64_t v)
{
    uint8_t   bytes[10];
    unsigned  n = 0;

    while (v >= 0x80) {
        bytes[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }

    bytes[n++] = (uint8_t) v;
    (void) buf_add(b, bytes, n);
}


static bool
get_uint(struct slice *p, uint64_t *v)
{
    *v = 0;

    for (unsigned shift = 0; shift < 64 && p->n > 0; shift += 7) {
        uint8_t  byte = (uint8_t) *p->p++;

        p->n--;
        *v |= (uint64_t) (byte & 0x7f) << shift;

        if ((byte & 0x80) == 0) {
            return true;
        }
    }

    return false;
}


void
sqlite_quarter_pack(struct buf *b, const struct sqlite_quarter *q)
{
    put_uint(b, q->index);
    put_uint(b, q->ok);
    put_uint(b, q->fail);
    put_uint(b, q->nhist);
    (void) buf_add(b, q->hist, q->nhist);
}


bool
sqlite_quarter_next(struct slice *p, struct sqlite_quarter *q, bool *bad)
{
    uint64_t  index, n;

    if (p->n == 0) {
        return false;
    }

    if (!get_uint(p, &index) || !get_uint(p, &q->ok) || !get_uint(p, &q->fail)
        || !get_uint(p, &n) || index >= ROLL_QUARTERS || n > p->n)
    {
        *bad = true;
        return false;
    }

    q->index = (unsigned) index;
    q->hist = (const uint8_t *) p->p;
    q->nhist = (size_t) n;
    p->p += n;
    p->n -= (size_t) n;
    return true;
}


/* Cells [from, to) as one. */
static void
roll_pack(struct roll *r, unsigned from, unsigned to)
{
    struct sqlite_quarter  q = { .index = from };
    uint32_t               hist[HIST_SLOTS];
    uint8_t                packed[HEATMAP_HIST_MAX];

    memset(hist, 0, sizeof(hist));

    for (unsigned i = from; i < to; i++) {
        q.ok += r->cells[i].ok;
        q.fail += r->cells[i].fail;

        if (r->cells[i].ok != 0 || r->cells[i].fail != 0) {
            heatmap_hist_merge(hist, r->cells[i].hist);
        }
    }

    if (q.ok != 0 || q.fail != 0) {
        q.hist = packed;
        q.nhist = heatmap_hist_pack(hist, packed);
        sqlite_quarter_pack(&r->bytes, &q);
    }
}


/* The row that was summed goes to the others, in steps of STEP quarters, the
 * first of them FIRST long. */
static enum result
roll_emit(struct roll *r, int64_t level, unsigned first, unsigned step)
{
    struct roll_row  *more;
    size_t            at = r->bytes.n, room;
    unsigned          to;

    for (unsigned i = 0; i < ROLL_QUARTERS; i = to) {
        to = i == 0 ? first : i + step;
        to = to > ROLL_QUARTERS ? ROLL_QUARTERS : to;
        roll_pack(r, i, to);
    }

    if (r->bytes.failed) {
        return RESULT_TOO_BIG;
    }

    if (r->n == r->room) {
        room = r->room == 0 ? 256 : r->room * 2;
        more = realloc(r->rows, room * sizeof(more[0]));
        if (more == NULL) {
            return RESULT_MEMORY;
        }

        r->rows = more;
        r->room = room;
    }

    r->rows[r->n++] = (struct roll_row) {
        .key = r->key, .level = level, .at = at, .n = r->bytes.n - at
    };

    return RESULT_OK;
}


static enum result
roll_close(struct roll *r)
{
    enum result  result;

    if (!r->open) {
        return RESULT_OK;
    }

    r->open = false;
    result = roll_emit(r, r->level, 1, 1);

    if (r->level != SQLITE_LEVEL_DAY || r->key.lab != STORE_ANY) {
        return result;
    }

    if (result == RESULT_OK) {
        result = roll_emit(r, SQLITE_LEVEL_DAY_HOURS, 4, 4);
    }

    return result == RESULT_OK
        ? roll_emit(r, SQLITE_LEVEL_DAY_HALVES, 2, 4) : result;
}


static enum result
roll_add(struct roll *r, const struct roll_key *key,
    const struct sqlite_quarter *q)
{
    struct roll_cell  *cell;
    enum result        result;

    if (!r->open || memcmp(&r->key, key, sizeof(*key)) != 0) {
        result = roll_close(r);
        if (result != RESULT_OK) {
            return result;
        }

        r->key = *key;
        r->open = true;
        memset(r->cells, 0, sizeof(r->cells));
    }

    cell = &r->cells[q->index];
    cell->ok += q->ok;
    cell->fail += q->fail;

    return heatmap_hist_merge_packed(cell->hist, q->hist, q->nhist)
        == RESULT_OK ? RESULT_OK : RESULT_INTERNAL;
}


static int64_t
roll_span(const struct roll *r)
{
    return r->level == SQLITE_LEVEL_HOUR ? SQLITE_HEAT_HOUR : SQLITE_HEAT_DAY;
}


/* One reading of the buckets, in the order of one scope and label. */
static enum result
roll_pass(struct roll *r, struct sqlite_conn *c, enum roll_scope scope,
    enum sqlite_dim dim)
{
    static const char *const  labs[] = { "-2", "-2", "lab" };
    static const char *const  orgs[] = { "-2", "org", "org" };
    static const char *const  labels[] = {
        "0", "endpoint", "action", "developer", "lab"
    };
    struct sqlite_quarter     q;
    struct roll_key           key;
    struct slice              hist;
    sqlite3_stmt             *st;
    enum result               result;
    char                      sql[256];
    int                       rc;

    snprintf(sql, sizeof(sql), "SELECT %s,%s,kind,%s,at,ok,fail,hist FROM"
        " heatmap WHERE hour>=?1 AND hour<?2%s ORDER BY 1,2,3,4,5",
        labs[scope], orgs[scope], labels[dim],
        scope == ROLL_LAB ? " AND lab>=0" : "");
    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, r->at);
    sqlite3_bind_int64(st, 2, r->at + roll_span(r));
    key.dim = (int64_t) dim;

    while ((rc = sqlite3_step(st)) == SQLITE_ROW && result == RESULT_OK) {
        key.lab = sqlite3_column_int64(st, 0);
        key.org = sqlite3_column_int64(st, 1);
        key.kind = sqlite3_column_int64(st, 2);
        key.label = sqlite3_column_int64(st, 3);
        q.index = (unsigned) (sqlite3_column_int64(st, 4) - r->at) / 3;
        q.ok = (uint64_t) sqlite3_column_int64(st, 5);
        q.fail = (uint64_t) sqlite3_column_int64(st, 6);
        hist = sqlite_column_slice(st, 7);
        q.hist = (const uint8_t *) hist.p;
        q.nhist = hist.n;
        result = roll_add(r, &key, &q);
    }

    sqlite3_finalize(st);

    if (result == RESULT_OK) {
        result = sqlite_result(c, rc, "heatmap");
    }

    return result == RESULT_OK ? roll_close(r) : result;
}


static enum result
roll_sum(struct roll *r, struct sqlite_conn *c)
{
    enum result  result = RESULT_OK;
    int          scopes = r->level == SQLITE_LEVEL_HOUR ? ROLL_LAB
                                                        : ROLL_SCOPES;

    for (int scope = 0; scope < scopes; scope++) {
        for (int dim = 0; dim < SQLITE_DIM_COUNT && result == RESULT_OK;
             dim++)
        {
            /* a lab's rows are of that lab already */
            if (scope != ROLL_LAB || dim != SQLITE_DIM_LAB) {
                result = roll_pass(r, c, (enum roll_scope) scope,
                    (enum sqlite_dim) dim);
            }
        }
    }

    return result;
}


/* Runs SQL with level, start and end; *value of a row, if any. */
static enum result
roll_exec(struct sqlite_conn *c, const char *sql, const struct roll *r,
    int64_t *value)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    (void) sqlite3_bind_int64(st, 1, r->level);
    (void) sqlite3_bind_int64(st, 2, r->at);
    (void) sqlite3_bind_int64(st, 3, r->at + roll_span(r));
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW && value != NULL) {
        *value = sqlite3_column_int64(st, 0);
    }

    result = sqlite_result(c, rc, "heatmap");
    sqlite3_finalize(st);
    return result;
}


static enum result
roll_rows(struct sqlite_conn *c, const struct roll *r)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc = SQLITE_DONE;

    result = sqlite_prepare(c,
        "INSERT INTO heatmap_roll VALUES(?1,?2,?3,?4,?5,?6,?7,?8)", &st);
    if (result != RESULT_OK) {
        return result;
    }

    for (size_t i = 0; i < r->n && rc == SQLITE_DONE; i++) {
        const struct roll_row  *row = &r->rows[i];

        sqlite3_bind_int64(st, 1, row->level);
        sqlite3_bind_int64(st, 2, r->at);
        sqlite3_bind_int64(st, 3, row->key.lab);
        sqlite3_bind_int64(st, 4, row->key.org);
        sqlite3_bind_int64(st, 5, row->key.dim);
        sqlite3_bind_int64(st, 6, row->key.kind);
        sqlite3_bind_int64(st, 7, row->key.label);
        sqlite_bind_blob(st, 8, r->bytes.p + row->at, row->n);
        rc = sqlite_stmt_done(st);
    }

    sqlite3_finalize(st);
    result = sqlite_result(c, rc, "heatmap");
    return result == RESULT_CONFLICT ? RESULT_INTERNAL : result;
}


/* A day that is whole needs its hours no more. */
static enum result
hours_remove(struct sqlite_conn *c, const struct roll *r)
{
    static const char *const  removes[] = {
        "DELETE FROM heatmap_roll WHERE level=0 AND at>=?2 AND at<?3",
        "DELETE FROM heatmap_done WHERE level=0 AND at>=?2 AND at<?3",
        "DELETE FROM heatmap_todo WHERE level=0 AND at>=?2 AND at<?3",
    };
    enum result  result = RESULT_OK;

    for (int i = 0; i < 3 && result == RESULT_OK; i++) {
        result = roll_exec(c, removes[i], r, NULL);
    }

    return result;
}


/* The writer's part: all or nothing. */
static enum result
roll_run(struct sqlite_conn *c, void *arg)
{
    struct roll  *r = arg;
    enum result   result;
    int64_t       gen = -1;

    result = roll_exec(c, "SELECT gen FROM heatmap_todo WHERE level=?1 AND"
        " at=?2", r, &gen);

    r->changed = gen != r->gen;
    if (result != RESULT_OK || r->changed) {
        return result;
    }

    /* a day's three levels are 1, 2 and 3 */
    result = roll_exec(c, r->level == SQLITE_LEVEL_HOUR
        ? "DELETE FROM heatmap_roll WHERE level=0 AND at=?2"
        : "DELETE FROM heatmap_roll WHERE level IN (1,2,3) AND at=?2", r,
        NULL);

    if (result == RESULT_OK) {
        result = roll_rows(c, r);
    }

    if (result == RESULT_OK) {
        result = roll_exec(c, "DELETE FROM heatmap_todo WHERE level=?1 AND"
            " at=?2", r, NULL);
    }

    if (result == RESULT_OK) {
        result = roll_exec(c,
            "INSERT OR REPLACE INTO heatmap_done VALUES(?1,?2)", r, NULL);
    }

    return result == RESULT_OK && r->level == SQLITE_LEVEL_DAY
        ? hours_remove(c, r) : result;
}


/*
 * A block whose time is over; RESULT_AGAIN: there is none.  Hours come first,
 * those of a day that is over excepted; a day that has changed long after is
 * done again only when it is quiet, for it is read whole.
 */
static enum result
roll_next(struct roll *r, struct sqlite_conn *c)
{
    sqlite3_stmt  *st;
    enum result    result;
    int64_t        now = clock_wall_us(), over;
    int            rc;

    over = (now - ROLL_GRACE_US) / HEATMAP_BUCKET_US;
    result = sqlite_prepare(c, "SELECT level,at,gen FROM heatmap_todo WHERE"
        " (level=0 AND at<=?1-12 AND at-at%288>?1-288) OR (level=1 AND"
        " at<=?1-288 AND (touched<=?2 OR NOT EXISTS (SELECT 1 FROM"
        " heatmap_roll r WHERE r.level=1 AND r.at=heatmap_todo.at)))"
        " ORDER BY level,at LIMIT 1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, over);
    sqlite3_bind_int64(st, 2, now - ROLL_QUIET_US);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        r->level = sqlite3_column_int64(st, 0);
        r->at = sqlite3_column_int64(st, 1);
        r->gen = sqlite3_column_int64(st, 2);
    }

    result = rc == SQLITE_DONE ? RESULT_AGAIN
                               : sqlite_result(c, rc, "heatmap");
    sqlite3_finalize(st);
    return result;
}


/* RESULT_AGAIN: nothing is left to do. */
static enum result
roll_one(struct store_sqlite *s)
{
    struct sqlite_conn  *c;
    struct roll         *r;
    enum result          result;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return RESULT_MEMORY;
    }

    buf_init(&r->bytes, ROLL_MAX_BYTES);
    result = sqlite_read_begin(s, clock_mono_us() + ROLL_READ_US, &c);

    if (result == RESULT_OK) {
        result = roll_next(r, c);

        if (result == RESULT_OK) {
            result = roll_sum(r, c);
        }

        sqlite_read_end(c);
    }

    if (result == RESULT_OK) {
        result = sqlite_write(s, roll_run, r);
    }

    /* a block that changes all the time waits for the next call */
    if (result == RESULT_OK && r->changed) {
        result = RESULT_AGAIN;
    }

    buf_cleanup(&r->bytes);
    free(r->rows);
    free(r);
    return result;
}


enum result
sqlite_recount(struct store *base, unsigned max, unsigned *done)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    enum result           result = RESULT_OK;

    for (*done = 0; *done < max; (*done)++) {
        result = roll_one(s);

        if (result != RESULT_OK) {
            break;
        }
    }

    return result == RESULT_AGAIN ? RESULT_OK : result;
}
