/*
 * Logs as rows: insert and read by id.  What costs time without the database
 * (packing, compressing) is done in the caller's thread; the writer only
 * inserts.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define INSERT_MAX_BYTES  (256 * 1024 * 1024)   /* packed, one call */
#define INSERT_MAX_US     INT64_C(253402300800000000)   /* year 10000 */
#define INSERT_TRIES      64
#define INSERT_STEPS      8                /* by 1 us, then further away */
#define PART_ENTRIES      200000
#define HOUR_US           HEATMAP_HOUR_US

struct insert_doc {
    size_t  detail, detail_n;              /* in the buffer */
    size_t  body, body_n;
    bool    refused;
};

struct insert_part {                       /* of table ref, the last one */
    int64_t  part, entries, low, high;
};

struct insert_job {
    const struct store_event  *event;      /* written before, or NULL */
    const struct logdoc       *docs;
    size_t                     n;
    struct insert_doc         *packed;
    struct buf                 bytes;
    enum store_insert         *outcome;
    struct insert_part         part;
    unsigned                   random;
};

struct insert_labels {
    int64_t  endpoint, developer, integration, method;
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


static void
row_bind(sqlite3_stmt *st, const struct logdoc *d,
    const struct insert_labels *l, int64_t part)
{
    sqlite_bind_blob(st, 3, d->id, UUID_BYTES);
    sqlite_bind_int(st, 4, d->org_id);
    sqlite_bind_int(st, 5, d->lab_id);
    sqlite_bind_int(st, 6, (int64_t) d->kind);
    sqlite_bind_int(st, 7, (int64_t) d->status);
    sqlite_bind_int(st, 8, d->action_id);
    sqlite_bind_int(st, 9, d->action_category_id);
    sqlite_bind_int(st, 10, l->developer);
    sqlite_bind_int(st, 11, l->integration);
    sqlite_bind_int(st, 12, l->endpoint);
    sqlite_bind_int(st, 13, l->method);
    sqlite_bind_int(st, 14, d->http_status);

    if (d->error_fingerprint != 0) {
        sqlite3_bind_int64(st, 15, (int64_t) d->error_fingerprint);
    }

    sqlite_bind_int(st, 16, d->duration_us);
    sqlite_bind_int(st, 17, d->attempts);
    sqlite_bind_int(st, 18, d->flags);
    sqlite_bind_int(st, 19, part);
    sqlite_bind_int(st, 20, sqlite_expires_hour(d));
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


/* *changed false: the log was there.  *id is where it went. */
static enum result
row_insert(struct sqlite_conn *c, struct insert_job *job,
    const struct logdoc *d, const struct insert_labels *l, int64_t *id,
    bool *changed)
{
    sqlite3_stmt  *st;
    int64_t        bump = 0;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_INSERT, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "insert");
    }

    row_bind(st, d, l, job->part.part);

    for (unsigned tries = 0; tries < INSERT_TRIES; tries++) {
        *id = d->started_us + bump;
        sqlite3_bind_int64(st, 1, *id);
        sqlite3_bind_int64(st, 2, bump);

        rc = sqlite_stmt_done(st);
        *changed = rc == SQLITE_DONE && sqlite3_changes(c->db) == 1;

        if (rc != SQLITE_CONSTRAINT_PRIMARYKEY
            && rc != SQLITE_CONSTRAINT_ROWID)
        {
            break;
        }

        bump = bump_next(job, bump, tries);
    }

    return sqlite_result(c, rc, "insert");
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
refs_insert(struct sqlite_conn *c, struct insert_part *part,
    const struct logdoc *d, int64_t id)
{
    int64_t        keys[SQLITE_MAX_KEYS];
    sqlite3_stmt  *st;
    unsigned       n;
    int            rc = SQLITE_DONE;

    n = sqlite_pack_keys(d, keys);

    for (unsigned i = 0; i < n && rc == SQLITE_DONE; i++) {
        st = sqlite_stmt_get(c, SQL_REF_INSERT, &rc);

        if (st != NULL) {
            sqlite3_bind_int64(st, 1, part->part);
            sqlite3_bind_int64(st, 2, keys[i]);
            sqlite3_bind_int64(st, 3, id);
            rc = sqlite_stmt_done(st);
        }
    }

    if (n > 0) {
        part->entries += n;
        part->low = id < part->low ? id : part->low;
        part->high = id > part->high ? id : part->high;
    }

    return sqlite_result(c, rc, "insert");
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


static enum result
doc_insert(struct sqlite_conn *c, struct insert_job *job, size_t i,
    struct sqlite_heat *heat)
{
    const struct logdoc      *d = &job->docs[i];
    const struct insert_doc  *p = &job->packed[i];
    struct insert_labels      labels;
    enum result               result;
    int64_t                   id = 0;
    bool                      changed = false;

    result = labels_put(c, d, &labels);

    if (result == RESULT_OK) {
        result = row_insert(c, job, d, &labels, &id, &changed);
    }

    if (result != RESULT_OK) {
        return result;
    }

    if (!changed) {
        return digest_compare(c, d, &job->outcome[i]);
    }

    job->outcome[i] = STORE_NEW;
    result = sqlite_blob_put(c, SQL_DETAIL_INSERT, id, job->bytes.p + p->detail,
        p->detail_n);

    if (result == RESULT_OK && p->body_n > 0) {
        result = sqlite_blob_put(c, SQL_BODY_INSERT, id, job->bytes.p + p->body,
            p->body_n);
    }

    if (result == RESULT_OK) {
        result = refs_insert(c, &job->part, d, id);
    }

    if (result == RESULT_OK) {
        result = sqlite_delivery_insert(c, d, id);
    }

    if (result == RESULT_OK) {
        result = heat_insert(heat, d, &labels);
    }

    return result;
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


static enum result
insert_run(struct sqlite_conn *c, void *arg)
{
    struct insert_job   *job = arg;
    struct sqlite_heat  *heat;
    enum result          result;

    result = sqlite_heat_create(&heat);
    if (result != RESULT_OK) {
        return result;
    }

    result = part_load(c, &job->part);

    for (size_t i = 0; i < job->n && result == RESULT_OK; i++) {
        if (job->packed[i].refused) {
            job->outcome[i] = STORE_REFUSED;
            continue;
        }

        result = doc_insert(c, job, i, heat);
    }

    if (result == RESULT_OK) {
        result = part_store(c, &job->part);
    }

    if (result == RESULT_OK) {
        result = sqlite_heat_flush(heat, c);
    }

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
    buf_init(&job->bytes, INSERT_MAX_BYTES);

    job->packed = calloc(job->n + 1, sizeof(job->packed[0]));
    result = job->packed == NULL ? RESULT_MEMORY : insert_pack(s, job);

    if (result == RESULT_OK) {
        result = sqlite_write(s, run, job);
    }

    buf_cleanup(&job->bytes);
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


static void
row_numbers(sqlite3_stmt *st, struct logdoc *d)
{
    struct slice  uid = sqlite_column_slice(st, 2);

    if (uid.n == UUID_BYTES) {
        memcpy(d->id, uid.p, UUID_BYTES);
    }

    d->started_us = sqlite3_column_int64(st, 0) - sqlite3_column_int64(st, 1);
    d->org_id = sqlite_column_int(st, 3);
    d->lab_id = sqlite_column_int(st, 4);
    d->kind = (enum log_kind) sqlite3_column_int(st, 5);
    d->status = (enum log_status) sqlite3_column_int(st, 6);
    d->action_id = sqlite_column_int(st, 7);
    d->action_category_id = sqlite_column_int(st, 8);
    d->http_status = sqlite_column_int(st, 13);
    d->error_fingerprint = (uint64_t) sqlite3_column_int64(st, 14);
    d->duration_us = sqlite_column_int(st, 15);
    d->attempts = sqlite_column_int(st, 16);
    d->flags = (uint32_t) sqlite3_column_int64(st, 17);
}


enum result
sqlite_row_decode(struct sqlite_conn *c, sqlite3_stmt *st, struct arena *a,
    struct logdoc *d)
{
    struct slice *const  texts[] = {
        &d->developer_id, &d->integration_id, &d->endpoint, &d->method
    };
    struct slice         detail;
    enum result          result = RESULT_OK;

    logdoc_init(d);
    row_numbers(st, d);

    for (int i = 0; i < 4 && result == RESULT_OK; i++) {
        result = sqlite_dict_text(c, sqlite_column_int(st, 9 + i), a,
            texts[i]);
    }

    if (result != RESULT_OK) {
        return result;
    }

    detail = arena_copy(a, sqlite_column_slice(st, 18));
    if (detail.p == NULL) {
        return RESULT_TOO_BIG;
    }

    result = sqlite_unpack_detail(detail, d);

    return result == RESULT_OK ? result
                               : sqlite_result(c, SQLITE_CORRUPT, "row");
}


static enum result
get_body(struct sqlite_conn *c, int64_t id, struct arena *a, struct logdoc *d)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_BODY, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "query");
    }

    sqlite3_bind_int64(st, 1, id);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        result = sqlite_unpack_body(sqlite_column_slice(st, 0), a, d);

        if (result == RESULT_INTERNAL) {
            result = sqlite_result(c, SQLITE_CORRUPT, "body");
        }

    } else {
        result = sqlite_result(c, rc, "query");
    }

    sqlite3_reset(st);
    return result;
}


static enum result
get_row(struct sqlite_conn *c, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *d,
    int64_t *row)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    st = sqlite_stmt_get(c, SQL_LOG_ROW, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "query");
    }

    sqlite_bind_blob(st, 1, id, UUID_BYTES);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *row = sqlite3_column_int64(st, 0);
        result = scope_sees(sc, sqlite_column_int(st, 3),
            sqlite_column_int(st, 4))
            ? sqlite_row_decode(c, st, a, d) : RESULT_NOT_FOUND;

    } else {
        result = rc == SQLITE_DONE ? RESULT_NOT_FOUND
                                   : sqlite_result(c, rc, "query");
    }

    sqlite3_reset(st);
    return result;
}


enum result
sqlite_log_read(struct sqlite_conn *c, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    enum result  result;
    int64_t      row = 0;

    result = get_row(c, sc, id, a, out, &row);
    return result == RESULT_OK ? get_body(c, row, a, out) : result;
}


enum result
sqlite_log_get(struct store *base, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    struct sqlite_conn  *c;
    enum result          result;

    result = sqlite_read_begin((struct store_sqlite *) base, 0, &c);
    if (result != RESULT_OK) {
        return result;
    }

    result = sqlite_log_read(c, sc, id, a, out);
    sqlite_read_end(c);
    return result;
}
