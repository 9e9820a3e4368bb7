/*
 * Logs as rows: the insert.  What costs time without the database (packing,
 * compressing) is done in the caller's thread; the writer only inserts, table
 * by table and many rows a statement: a cursor that stays open on a page is
 * two fifths cheaper than one for each row.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define INSERT_MAX_BYTES  (256 * 1024 * 1024)   /* packed, one call */
#define INSERT_MAX_US     INT64_C(253402300800000000)   /* year 10000 */
#define INSERT_TRIES      64
#define INSERT_STEPS      8                /* by 1 us, then further away */
#define INSERT_COLUMNS    20
#define PART_ENTRIES      200000
#define HOUR_US           HEATMAP_HOUR_US

struct insert_labels {
    int64_t  endpoint, developer, integration, method;
};

struct insert_doc {
    size_t                detail, detail_n;    /* in the buffer */
    size_t                body, body_n;
    struct insert_labels  labels;
    int64_t               id;              /* its row's */
    bool                  refused;
    bool                  fresh;           /* was not there */
};

struct insert_part {                       /* of table ref, the last one */
    int64_t  part, entries, low, high;
};

struct insert_job {
    const struct store_event  *event;      /* written before, or NULL */
    const struct logdoc       *docs;
    size_t                     n;
    struct insert_doc         *packed;
    size_t                    *fit;        /* those that are not refused */
    size_t                     nfit;
    struct buf                 bytes;
    enum store_insert         *outcome;
    struct insert_part         part;
    unsigned                   random;
};

static bool
number_is_fit(int64_t v)
{
    return v == LOGDOC_NONE || v >= 0;
}


static bool
doc_is_fit(const struct logdoc *d)
{
    return d->started_us >= 0 && d->started_us < INSERT_MAX_US
           && (unsigned) d->kind < LOG_KIND_COUNT
           && (unsigned) d->status < LOG_STATUS_COUNT
           && d->nrefs <= LOGDOC_MAX_PAIRS && d->nfields <= LOGDOC_MAX_PAIRS
           && number_is_fit(d->lab_id) && number_is_fit(d->org_id)
           && number_is_fit(d->action_id)
           && number_is_fit(d->action_category_id);
}


/* Packs every document into one buffer. */
static enum result
insert_pack(struct store_sqlite *s, struct insert_job *job)
{
    struct insert_doc  *p;
    enum result         result;

    for (size_t i = 0; i < job->n; i++) {
        p = &job->packed[i];

        if (!doc_is_fit(&job->docs[i])) {
            p->refused = true;
            continue;
        }

        job->fit[job->nfit++] = i;

        p->detail = job->bytes.n;
        sqlite_pack_detail(&job->docs[i], &job->bytes);
        p->body = job->bytes.n;
        p->detail_n = p->body - p->detail;

        result = sqlite_pack_body(s, &job->docs[i], &job->bytes);
        if (result != RESULT_OK) {
            return result;
        }

        p->body_n = job->bytes.n - p->body;
    }

    return job->bytes.failed ? RESULT_TOO_BIG : RESULT_OK;
}


static enum result
part_load(struct sqlite_conn *c, struct insert_part *p)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, SQL_PART_LAST, &rc);
    rc = st == NULL ? rc : sqlite3_step(st);

    p->part = 1;
    p->entries = 0;

    if (rc == SQLITE_ROW) {
        p->part = sqlite3_column_int64(st, 0);
        p->entries = sqlite3_column_int64(st, 1);
        p->low = sqlite3_column_int64(st, 2);
        p->high = sqlite3_column_int64(st, 3);
    }

    if (st != NULL) {
        sqlite3_reset(st);
    }

    if (p->entries >= PART_ENTRIES) {
        p->part++;
        p->entries = 0;
    }

    if (p->entries == 0) {
        p->low = INT64_MAX;
        p->high = INT64_MIN;
    }

    return sqlite_result(c, rc, "insert");
}


static enum result
part_store(struct sqlite_conn *c, const struct insert_part *p)
{
    sqlite3_stmt  *st;
    int            rc;

    if (p->entries == 0) {
        return RESULT_OK;
    }

    st = sqlite_stmt_get(c, SQL_PART_PUT, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, p->part);
        sqlite3_bind_int64(st, 2, p->entries);
        sqlite3_bind_int64(st, 3, p->low);
        sqlite3_bind_int64(st, 4, p->high);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "insert");
}


static enum result
labels_put(struct sqlite_conn *c, const struct logdoc *d,
    struct insert_labels *l)
{
    const struct {
        enum sqlite_label  kind;
        struct slice       text;
        int64_t           *id;
    } all[] = {
        { SQLITE_ENDPOINT, d->endpoint, &l->endpoint },
        { SQLITE_DEVELOPER, d->developer_id, &l->developer },
        { SQLITE_INTEGRATION, d->integration_id, &l->integration },
        { SQLITE_METHOD, d->method, &l->method },
    };
    enum result  result = RESULT_OK;

    for (size_t i = 0; i < 4 && result == RESULT_OK; i++) {
        result = sqlite_dict_put(c, all[i].kind, all[i].text, all[i].id);
    }

    return result;
}


int64_t
sqlite_expires_hour(const struct logdoc *d)
{
    return d->expires_us == LOGDOC_NONE || d->expires_us < 0 ? d->expires_us
        : (d->expires_us + HOUR_US - 1) / HOUR_US;
}


/* As row ROW of the statement. */
static void
row_bind(sqlite3_stmt *st, unsigned row, const struct insert_job *job,
    size_t i, int64_t bump)
{
    const struct logdoc         *d = &job->docs[i];
    const struct insert_labels  *l = &job->packed[i].labels;
    int                          at = (int) (row * INSERT_COLUMNS);

    sqlite3_bind_int64(st, at + 1, d->started_us + bump);
    sqlite3_bind_int64(st, at + 2, bump);
    sqlite_bind_blob(st, at + 3, d->id, UUID_BYTES);
    sqlite_bind_int(st, at + 4, d->org_id);
    sqlite_bind_int(st, at + 5, d->lab_id);
    sqlite_bind_int(st, at + 6, (int64_t) d->kind);
    sqlite_bind_int(st, at + 7, (int64_t) d->status);
    sqlite_bind_int(st, at + 8, d->action_id);
    sqlite_bind_int(st, at + 9, d->action_category_id);
    sqlite_bind_int(st, at + 10, l->developer);
    sqlite_bind_int(st, at + 11, l->integration);
    sqlite_bind_int(st, at + 12, l->endpoint);
    sqlite_bind_int(st, at + 13, l->method);
    sqlite_bind_int(st, at + 14, d->http_status);

    if (d->error_fingerprint != 0) {
        sqlite3_bind_int64(st, at + 15, (int64_t) d->error_fingerprint);
    }

    sqlite_bind_int(st, at + 16, d->duration_us);
    sqlite_bind_int(st, at + 17, d->attempts);
    sqlite_bind_int(st, at + 18, d->flags);
    sqlite_bind_int(st, at + 19, job->part.part);
    sqlite_bind_int(st, at + 20, sqlite_expires_hour(d));
}


/* Where to try next when an id is taken: near first, then ever further. */
static int64_t
bump_next(struct insert_job *job, int64_t bump, unsigned tries)
{
    unsigned  bits;

    if (tries < INSERT_STEPS) {
        return bump + 1;
    }

    bits = tries - INSERT_STEPS + 4;
    bits = bits > 19 ? 19 : bits;
    job->random = job->random * 1664525u + 1013904223u;

    return (int64_t) (job->random >> 8 & ((1u << bits) - 1)) + INSERT_STEPS;
}


/* Finds it a place: the log may be there, or its id another's. */
static enum result
row_insert(struct sqlite_conn *c, struct insert_job *job, size_t i)
{
    const struct logdoc  *d = &job->docs[i];
    sqlite3_stmt         *st;
    int64_t               bump = 0;
    int                   rc;

    st = sqlite_stmt_get(c, SQL_LOG_INSERT, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "insert");
    }

    row_bind(st, 0, job, i, bump);

    for (unsigned tries = 0; tries < INSERT_TRIES; tries++) {
        job->packed[i].id = d->started_us + bump;
        sqlite3_bind_int64(st, 1, job->packed[i].id);
        sqlite3_bind_int64(st, 2, bump);

        rc = sqlite_stmt_done(st);

        if (rc != SQLITE_CONSTRAINT_PRIMARYKEY
            && rc != SQLITE_CONSTRAINT_ROWID)
        {
            break;
        }

        bump = bump_next(job, bump, tries);
    }

    if (rc != SQLITE_DONE) {
        return sqlite_result(c, rc, "insert");
    }

    if (sqlite3_changes(c->db) == 1) {
        job->packed[i].fresh = true;
        job->outcome[i] = STORE_NEW;
    }

    return RESULT_OK;
}


/*
 * SQLITE_ROWS of the fit ones in one statement, which stops at the first that
 * has no place: *done went in.
 */
static enum result
rows_insert_many(struct sqlite_conn *c, struct insert_job *job,
    const size_t *fit, unsigned *done)
{
    struct insert_doc  *p;
    sqlite3_stmt       *st;
    int                 rc;

    st = sqlite_stmt_get(c, SQL_LOG_INSERT_MANY, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "insert");
    }

    for (unsigned i = 0; i < SQLITE_ROWS; i++) {
        row_bind(st, i, job, fit[i], 0);
    }

    rc = sqlite_stmt_done(st);

    if (rc != SQLITE_DONE && (rc & 0xff) != SQLITE_CONSTRAINT) {
        return sqlite_result(c, rc, "insert");
    }

    *done = rc == SQLITE_DONE ? SQLITE_ROWS
                              : (unsigned) sqlite3_changes(c->db);

    for (unsigned i = 0; i < *done; i++) {
        p = &job->packed[fit[i]];
        p->id = job->docs[fit[i]].started_us;
        p->fresh = true;
        job->outcome[fit[i]] = STORE_NEW;
    }

    return RESULT_OK;
}


/* A log that is there already is seldom the only one: the next go alone. */
static enum result
rows_insert(struct sqlite_conn *c, struct insert_job *job)
{
    size_t       alone = 0;
    unsigned     done;
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < job->nfit && r == RESULT_OK; ) {
        done = 0;

        if (i >= alone && job->nfit - i >= SQLITE_ROWS) {
            r = rows_insert_many(c, job, job->fit + i, &done);
            i += done;
        }

        if (r == RESULT_OK && done < SQLITE_ROWS) {
            r = row_insert(c, job, job->fit[i]);
            alone = job->packed[job->fit[i]].fresh ? alone : i + SQLITE_ROWS;
            i++;
        }
    }

    return r;
}


enum result
sqlite_blob_put(struct sqlite_conn *c, enum sqlite_stmt which, int64_t id,
    const char *p, size_t n)
{
    sqlite3_stmt  *st;
    int            rc;

    st = sqlite_stmt_get(c, which, &rc);

    if (st != NULL) {
        sqlite3_bind_int64(st, 1, id);
        sqlite_bind_blob(st, 2, p, n);
        rc = sqlite_stmt_done(st);
    }

    return sqlite_result(c, rc, "insert");
}


static enum result
details_insert(struct sqlite_conn *c, const struct insert_job *job)
{
    const struct insert_doc  *p;
    struct sqlite_lot         lot;
    enum result               r = RESULT_OK;

    sqlite_lot_init(&lot, SQL_DETAIL_INSERT, SQL_DETAIL_INSERT_MANY, 2);

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        p = &job->packed[i];
        r = p->fresh
            ? sqlite_lot_add_blob(c, &lot, p->id, job->bytes.p + p->detail,
                  p->detail_n)
            : RESULT_OK;
    }

    return r == RESULT_OK ? sqlite_lot_flush(c, &lot) : r;
}


static enum result
digest_compare(struct sqlite_conn *c, const struct logdoc *d,
    enum store_insert *outcome)
{
    sqlite3_stmt  *st;
    struct slice   had;
    int            rc;

    st = sqlite_stmt_get(c, SQL_DIGEST, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "insert");
    }

    sqlite_bind_blob(st, 1, d->id, UUID_BYTES);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        had = sqlite_column_slice(st, 0);
        *outcome = had.n == sizeof(d->digest)
            && memcmp(had.p, d->digest, sizeof(d->digest)) == 0
            ? STORE_SAME : STORE_DIFFERENT;
    }

    sqlite3_reset(st);

    return sqlite_result(c, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc,
        "insert");
}


/* Of those that were there; a twin in the same job has its detail by now. */
static enum result
digests_compare(struct sqlite_conn *c, const struct insert_job *job)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < job->nfit && r == RESULT_OK; i++) {
        r = job->packed[job->fit[i]].fresh
            ? RESULT_OK
            : digest_compare(c, &job->docs[job->fit[i]],
                  &job->outcome[job->fit[i]]);
    }

    return r;
}


static enum result
bodies_insert(struct sqlite_conn *c, const struct insert_job *job)
{
    const struct insert_doc  *p;
    struct sqlite_lot         lot;
    enum result               r = RESULT_OK;

    sqlite_lot_init(&lot, SQL_BODY_INSERT, SQL_BODY_INSERT_MANY, 2);

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        p = &job->packed[i];
        r = p->fresh && p->body_n > 0
            ? sqlite_lot_add_blob(c, &lot, p->id, job->bytes.p + p->body,
                  p->body_n)
            : RESULT_OK;
    }

    return r == RESULT_OK ? sqlite_lot_flush(c, &lot) : r;
}


static enum result
refs_insert_of(struct sqlite_conn *c, struct sqlite_lot *lot,
    struct insert_part *part, const struct logdoc *d, int64_t id)
{
    int64_t      keys[SQLITE_MAX_KEYS];
    unsigned     n;
    enum result  r = RESULT_OK;

    n = sqlite_pack_keys(d, keys);

    for (unsigned i = 0; i < n && r == RESULT_OK; i++) {
        r = sqlite_lot_add_ref(c, lot, part->part, keys[i], id);
    }

    if (n > 0) {
        part->entries += n;
        part->low = id < part->low ? id : part->low;
        part->high = id > part->high ? id : part->high;
    }

    return r;
}


static enum result
refs_insert(struct sqlite_conn *c, struct insert_job *job)
{
    struct sqlite_lot  lot;
    enum result        r = RESULT_OK;

    sqlite_lot_init(&lot, SQL_REF_INSERT, SQL_REF_INSERT_MANY, 3);

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        r = job->packed[i].fresh
            ? refs_insert_of(c, &lot, &job->part, &job->docs[i],
                  job->packed[i].id)
            : RESULT_OK;
    }

    return r == RESULT_OK ? sqlite_lot_flush(c, &lot) : r;
}


static int64_t
key_of(int64_t v)
{
    return v == LOGDOC_NONE ? STORE_NO_LABEL : v;
}


static enum result
heat_insert(struct sqlite_heat *heat, const struct logdoc *d,
    const struct insert_labels *l)
{
    struct sqlite_heat_key   key;
    enum heatmap_count       count = heatmap_count_of(d);

    if (count == HEATMAP_NOT_COUNTED) {
        return RESULT_OK;
    }

    key.at = d->started_us / HEATMAP_BUCKET_US;
    key.org = key_of(d->org_id);
    key.lab = key_of(d->lab_id);
    key.kind = (int64_t) d->kind;
    key.action = key_of(d->action_id);
    key.endpoint = key_of(l->endpoint);
    key.developer = key_of(l->developer);

    return sqlite_heat_count(heat, &key, count == HEATMAP_OK, d->duration_us);
}


enum result
sqlite_heat_log(struct sqlite_conn *c, struct sqlite_heat *h,
    const struct logdoc *d)
{
    struct insert_labels  labels;
    enum result           result;

    result = labels_put(c, d, &labels);
    return result == RESULT_OK ? heat_insert(h, d, &labels) : result;
}


/* What else a new log brings: its delivery, its count. */
static enum result
docs_follow(struct sqlite_conn *c, const struct insert_job *job,
    struct sqlite_heat *heat)
{
    const struct insert_doc  *p;
    enum result               r = RESULT_OK;

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        p = &job->packed[i];

        if (!p->fresh) {
            continue;
        }

        r = sqlite_delivery_insert(c, &job->docs[i], p->id);
        r = r == RESULT_OK ? heat_insert(heat, &job->docs[i], &p->labels) : r;
    }

    return r;
}


static enum result
labels_put_all(struct sqlite_conn *c, struct insert_job *job)
{
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < job->n && r == RESULT_OK; i++) {
        job->packed[i].fresh = false;      /* the job may run a second time */

        if (job->packed[i].refused) {
            job->outcome[i] = STORE_REFUSED;
            continue;
        }

        r = labels_put(c, &job->docs[i], &job->packed[i].labels);
    }

    return r;
}


static enum result
insert_tables(struct sqlite_conn *c, struct insert_job *job,
    struct sqlite_heat *heat)
{
    enum result  r;

    r = part_load(c, &job->part);
    r = r == RESULT_OK ? labels_put_all(c, job) : r;
    r = r == RESULT_OK ? rows_insert(c, job) : r;
    r = r == RESULT_OK ? details_insert(c, job) : r;
    r = r == RESULT_OK ? digests_compare(c, job) : r;
    r = r == RESULT_OK ? bodies_insert(c, job) : r;
    r = r == RESULT_OK ? refs_insert(c, job) : r;
    r = r == RESULT_OK ? docs_follow(c, job, heat) : r;
    r = r == RESULT_OK ? part_store(c, &job->part) : r;
    return r == RESULT_OK ? sqlite_heat_flush(heat, c) : r;
}


static enum result
insert_run(struct sqlite_conn *c, void *arg)
{
    struct sqlite_heat  *heat;
    enum result          result;

    result = sqlite_heat_create(&heat);
    if (result != RESULT_OK) {
        return result;
    }

    result = insert_tables(c, arg, heat);
    sqlite_heat_destroy(heat);

    /* rows were written before it: this is not "changed nothing" */
    if (result == RESULT_CONFLICT) {
        log_rate(LOG_ERROR, "store", "%s: insert: %s", c->store->path,
            sqlite3_errmsg(c->db));
        result = RESULT_INTERNAL;
    }

    return result;
}


/* The key first: when it is there, nothing has been changed. */
static enum result
event_run(struct sqlite_conn *c, void *arg)
{
    struct insert_job  *job = arg;
    enum result         r = RESULT_OK;

    if (job->event->key != NULL) {
        r = sqlite_doc_add(c, STORE_IDEMPOTENCY, job->event->key);
    }

    if (r != RESULT_OK) {
        return r;
    }

    r = sqlite_doc_add(c, STORE_EVENT, job->event->event);
    r = r == RESULT_CONFLICT ? RESULT_OK : r;
    return r != RESULT_OK || job->n == 0 ? r : insert_run(c, job);
}


static enum result
insert(struct store_sqlite *s, struct insert_job *job, sqlite_job_pt run)
{
    enum result  result;

    job->random = (unsigned) clock_mono_us();
    sqlite_packer_lend(s, &job->bytes, INSERT_MAX_BYTES);

    job->packed = calloc(job->n + 1, sizeof(job->packed[0]));
    job->fit = malloc((job->n + 1) * sizeof(job->fit[0]));
    result = job->packed == NULL || job->fit == NULL ? RESULT_MEMORY
                                                     : insert_pack(s, job);

    if (result == RESULT_OK) {
        result = sqlite_write(s, run, job);
    }

    sqlite_packer_take_back(s, &job->bytes);
    free(job->fit);
    free(job->packed);
    return result;
}


enum result
sqlite_logs_insert(struct store *base, const struct logdoc *docs, size_t n,
    enum store_insert *outcome)
{
    struct insert_job  job = { .docs = docs, .n = n, .outcome = outcome };

    return insert((struct store_sqlite *) base, &job, insert_run);
}


enum result
sqlite_event_put(struct store *base, const struct store_event *e,
    enum store_insert *outcome)
{
    struct insert_job  job = { .event = e, .docs = e->logs, .n = e->n,
        .outcome = outcome };

    return insert((struct store_sqlite *) base, &job, event_run);
}
