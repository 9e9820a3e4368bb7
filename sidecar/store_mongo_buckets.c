/*
 * Buckets of the heatmap: collect a batch, make the buckets exist, add to them
 * under the guard, and recover batches of writers that died.
 *
 * A marker older than stale_us belongs to an insert that cannot be on its way
 * any more (twice the socket's time-out): what it has stored, it has stored.
 */

#include "store_mongo_buckets.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "heatmap.h"
#include "log.h"
#include "store_mongo_bulk.h"
#include "store_mongo_doc.h"
#include "store_mongo_scan.h"

#define WRITER_NAME   20
#define TABLE_SLOTS   1024                 /* twice MONGO_BATCH, power of 2 */
#define KNOWN_SLOTS   2048
#define RECOVER_ARENA (16 * 1024 * 1024)

struct bucket {
    const struct logdoc  *label;           /* the first of it */
    int64_t               at_us;
    uint32_t              ok, fail;
    uint32_t              hist[HIST_SLOTS];
};

struct mongo_writer {
    struct mongo_writer  *next;
    char                  name[WRITER_NAME];
    int64_t               seq;
    size_t                nbuckets;
    uint16_t              table[TABLE_SLOTS];      /* index + 1, 0: free */
    struct bucket         buckets[MONGO_BATCH];
    uint64_t              known[KNOWN_SLOTS];      /* buckets that exist */
};


/* -- writers --------------------------------------------------------------- */

/* "w" and 16 hex digits: fit for the name of a field. */
static bool
writer_name(struct mongo_writer *w)
{
    uint64_t  r;

    if (RAND_bytes((unsigned char *) &r, sizeof(r)) != 1) {
        return false;
    }

    snprintf(w->name, sizeof(w->name), "w%016llx", (unsigned long long) r);
    w->seq = 0;
    return true;
}


struct mongo_writer *
mongo_writer_take(struct mongo_store *m)
{
    struct mongo_writer  *w;

    pthread_mutex_lock(&m->lock);
    w = m->writers;
    if (w != NULL) {
        m->writers = w->next;
    }
    pthread_mutex_unlock(&m->lock);

    if (w != NULL) {
        return w;
    }

    w = calloc(1, sizeof(*w));
    if (w != NULL && !writer_name(w)) {
        free(w);
        w = NULL;
    }

    return w;
}


void
mongo_writer_put(struct mongo_store *m, struct mongo_writer *w)
{
    pthread_mutex_lock(&m->lock);
    w->next = m->writers;
    m->writers = w;
    pthread_mutex_unlock(&m->lock);
}


void
mongo_writers_destroy(struct mongo_store *m)
{
    struct mongo_writer  *w;

    while ((w = m->writers) != NULL) {
        m->writers = w->next;
        free(w);
    }
}


void
mongo_writer_next(struct mongo_writer *w, char name[MONGO_BATCH_NAME])
{
    w->seq++;
    snprintf(name, MONGO_BATCH_NAME, "%s-%lld", w->name, (long long) w->seq);
}


void
mongo_writer_abandon(struct mongo_writer *w)
{
    /* without random bytes the old name goes on: its last batch then stays
     * uncounted, no bucket is ever counted twice */
    if (!writer_name(w)) {
        log_rate(LOG_ERROR, "store", "no random bytes for a writer's name");
    }

    memset(w->known, 0, sizeof(w->known));
}


static int64_t
slot_of(const struct logdoc *d)
{
    return heatmap_slot_start(d->started_us, HEATMAP_BUCKET_US, 0);
}


/* The distinct slots of what will be counted; false when nothing is. */
static bool
marker_slots(bson_t *set, const struct logdoc *docs, size_t n)
{
    bson_t        list;
    char          number[16];
    const char   *key;
    int64_t       slot, last[4] = { -1, -1, -1, -1 };
    uint32_t      k = 0;

    bson_append_array_begin(set, "slots", 5, &list);

    for (size_t i = 0; i < n; i++) {
        /* one without a start will be refused */
        if (docs[i].started_us == LOGDOC_NONE
            || heatmap_count_of(&docs[i]) == HEATMAP_NOT_COUNTED)
        {
            continue;
        }

        /* logs come nearly in order: a short memory removes most doubles,
         * and those left cost the recovery a look */
        slot = slot_of(&docs[i]);
        if (k > 0 && (slot == last[0] || slot == last[1] || slot == last[2]
                      || slot == last[3]))
        {
            continue;
        }

        last[k % 4] = slot;
        bson_uint32_to_string(k++, &key, number, sizeof(number));
        bson_append_int64(&list, key, -1, slot);
    }

    bson_append_array_end(set, &list);
    return k > 0;
}


enum result
mongo_writer_mark(struct mongo_store *m, struct mongo_call *call,
    struct mongo_writer *w, const struct logdoc *docs, size_t n)
{
    mongoc_collection_t  *coll = NULL;
    bson_error_t          e;
    bson_t                query = BSON_INITIALIZER;
    bson_t                update = BSON_INITIALIZER;
    bson_t                opts = BSON_INITIALIZER;
    bson_t                set;
    bool                  needed;
    enum result           result = RESULT_OK;

    bson_append_document_begin(&update, "$set", 4, &set);
    BSON_APPEND_INT64(&set, "seq", w->seq);
    BSON_APPEND_INT64(&set, "at_us", clock_wall_us());
    needed = marker_slots(&set, docs, n);
    bson_append_document_end(&update, &set);

    if (!needed) {
        goto out;
    }

    mongo_query_id(&query, slice_of(w->name));
    BSON_APPEND_BOOL(&opts, "upsert", true);
    coll = mongoc_client_get_collection(call->client, m->db, MONGO_WRITERS);

    if (!mongoc_collection_update_one(coll, &query, &update, &opts, NULL, &e)) {
        (void) mongo_failed(m, "update heatmap_writer", &e);
        mongo_writer_abandon(w);
        result = RESULT_UNAVAILABLE;
    }

out:

    if (coll != NULL) {
        mongoc_collection_destroy(coll);
    }

    bson_destroy(&query);
    bson_destroy(&update);
    bson_destroy(&opts);
    return result;
}


/* -- collecting ------------------------------------------------------------ */

static bool
bucket_is(const struct bucket *b, const struct logdoc *d, int64_t at_us)
{
    const struct logdoc  *l = b->label;

    return b->at_us == at_us && l->lab_id == d->lab_id
           && l->org_id == d->org_id && l->kind == d->kind
           && l->action_id == d->action_id
           && slice_eq(l->endpoint, d->endpoint)
           && slice_eq(l->developer_id, d->developer_id);
}


static uint64_t
hash_mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char  *c = p;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ c[i]) * 0x100000001b3ull;
    }

    return h;
}


static size_t
bucket_hash(const struct logdoc *d, int64_t at_us)
{
    uint64_t  h = 0xcbf29ce484222325ull;

    h = hash_mix(h, &at_us, sizeof(at_us));
    h = hash_mix(h, &d->lab_id, sizeof(d->lab_id));
    h = hash_mix(h, &d->action_id, sizeof(d->action_id));
    h = hash_mix(h, d->endpoint.p, d->endpoint.n);
    h = hash_mix(h, d->developer_id.p, d->developer_id.n);

    return (size_t) (h ^ h >> 32);
}


static void
bucket_collect(struct mongo_writer *w, const struct logdoc *d)
{
    enum heatmap_count   count = heatmap_count_of(d);
    struct bucket       *b;
    int64_t              at_us;
    size_t               i;

    if (count == HEATMAP_NOT_COUNTED) {
        return;
    }

    at_us = slot_of(d);
    i = bucket_hash(d, at_us) % TABLE_SLOTS;

    while (w->table[i] != 0
           && !bucket_is(&w->buckets[w->table[i] - 1], d, at_us))
    {
        i = (i + 1) % TABLE_SLOTS;
    }

    if (w->table[i] == 0) {
        b = &w->buckets[w->nbuckets++];
        memset(b, 0, sizeof(*b));
        b->label = d;
        b->at_us = at_us;
        w->table[i] = (uint16_t) w->nbuckets;
    }

    b = &w->buckets[w->table[i] - 1];
    b->ok += count == HEATMAP_OK;
    b->fail += count == HEATMAP_FAIL;
    if (d->duration_us != LOGDOC_NONE) {
        heatmap_hist_add(b->hist, d->duration_us, 1);
    }
}


static void
collect_reset(struct mongo_writer *w)
{
    w->nbuckets = 0;
    memset(w->table, 0, sizeof(w->table));
}


/* -- writing --------------------------------------------------------------- */

#define BUCKET_ID  64

/* "<slot>:<hash of the labels>"; *hash is for the memory of known ones. */
static bool
bucket_id(const struct bucket *b, char id[BUCKET_ID], uint64_t *hash)
{
    const struct logdoc  *l = b->label;
    unsigned char         md[EVP_MAX_MD_SIZE];
    struct buf            text;
    bool                  ok;

    buf_init(&text, 1024 * 1024);
    (void) buf_addf(&text, "%lld %lld %lld %lld %d %zu ", (long long) b->at_us,
                    (long long) l->org_id, (long long) l->lab_id,
                    (long long) l->action_id, (int) l->kind,
                    l->developer_id.n);
    (void) buf_add(&text, l->developer_id.p, l->developer_id.n);
    (void) buf_add(&text, l->endpoint.p, l->endpoint.n);

    ok = !text.failed
         && EVP_Digest(text.p, text.n, md, NULL, EVP_sha256(), NULL) == 1;
    buf_cleanup(&text);

    if (!ok) {
        return false;
    }

    memcpy(hash, md, sizeof(*hash));
    snprintf(id, BUCKET_ID, "%lld:%02x%02x%02x%02x%02x%02x%02x%02x"
             "%02x%02x%02x%02x%02x%02x%02x%02x",
             (long long) (b->at_us / HEATMAP_BUCKET_US), md[0], md[1], md[2],
             md[3], md[4], md[5], md[6], md[7], md[8], md[9], md[10], md[11],
             md[12], md[13], md[14], md[15]);
    return true;
}


static bool
shell_put(bson_t *doc, const struct bucket *b, const char *id)
{
    const struct logdoc  *l = b->label;

    return BSON_APPEND_UTF8(doc, "_id", id)
           && mongo_put_int(doc, "at_us", b->at_us)
           && mongo_put_int(doc, "org_id", l->org_id)
           && mongo_put_int(doc, "lab_id", l->lab_id)
           && BSON_APPEND_UTF8(doc, "kind", log_kind_text(l->kind))
           && mongo_put_text(doc, "endpoint", l->endpoint)
           && mongo_put_int(doc, "action_id", l->action_id)
           && mongo_put_text(doc, "developer_id", l->developer_id)
           && BSON_APPEND_INT64(doc, "ok", 0)
           && BSON_APPEND_INT64(doc, "fail", 0);
}


/* Makes buckets exist: one that does already is fine. */
static enum result
shells_write(struct mongo_store *m, mongoc_collection_t *coll,
    struct mongo_writer *w)
{
    mongoc_bulk_operation_t  *bulk = mongo_bulk_create(coll);
    bson_t                    doc;
    char                      id[BUCKET_ID];
    uint64_t                  hash;
    unsigned                  n = 0;
    bool                      ok = true;
    enum result               result;

    for (size_t i = 0; ok && i < w->nbuckets; i++) {
        ok = bucket_id(&w->buckets[i], id, &hash);
        if (!ok || w->known[hash % KNOWN_SLOTS] == hash) {
            continue;
        }

        bson_init(&doc);
        ok = shell_put(&doc, &w->buckets[i], id)
             && mongo_bulk_insert(bulk, &doc);
        bson_destroy(&doc);
        w->known[hash % KNOWN_SLOTS] = hash;
        n++;
    }

    result = !ok ? RESULT_INTERNAL : n == 0 ? RESULT_OK
             : mongo_bulk_run(m, bulk, "insert into heatmap", NULL);
    mongoc_bulk_operation_destroy(bulk);
    return result;
}


static bool
increment_put(mongoc_bulk_operation_t *bulk, const struct bucket *b,
    const char *name, int64_t seq)
{
    bson_t    query = BSON_INITIALIZER;
    bson_t    update = BSON_INITIALIZER;
    bson_t    sub;
    char      id[BUCKET_ID], guard[WRITER_NAME + 4], slot[16];
    uint64_t  hash;
    bool      ok;

    snprintf(guard, sizeof(guard), "w.%s", name);

    ok = bucket_id(b, id, &hash)
         && BSON_APPEND_UTF8(&query, "_id", id)
         && bson_append_document_begin(&query, guard, -1, &sub)
         && BSON_APPEND_INT64(&sub, "$ne", seq)
         && bson_append_document_end(&query, &sub)
         && bson_append_document_begin(&update, "$inc", -1, &sub)
         && BSON_APPEND_INT64(&sub, "ok", b->ok)
         && BSON_APPEND_INT64(&sub, "fail", b->fail);

    for (unsigned i = 0; ok && i < HIST_SLOTS; i++) {
        if (b->hist[i] > 0) {
            snprintf(slot, sizeof(slot), "h.%u", i);
            ok = BSON_APPEND_INT64(&sub, slot, b->hist[i]);
        }
    }

    ok = ok && bson_append_document_end(&update, &sub)
         && bson_append_document_begin(&update, "$set", -1, &sub)
         && BSON_APPEND_INT64(&sub, guard, seq)
         && bson_append_document_end(&update, &sub)
         && mongo_bulk_update(bulk, &query, &update);

    bson_destroy(&query);
    bson_destroy(&update);
    return ok;
}


/* *matched: how many buckets were there and had not counted the batch. */
static enum result
increments_write(struct mongo_store *m, mongoc_collection_t *coll,
    struct mongo_writer *w, const char *name, int64_t seq, int64_t *matched)
{
    mongoc_bulk_operation_t  *bulk = mongo_bulk_create(coll);
    bool                      ok = true;
    enum result               result;

    *matched = 0;

    for (size_t i = 0; ok && i < w->nbuckets; i++) {
        ok = increment_put(bulk, &w->buckets[i], name, seq);
    }

    result = !ok ? RESULT_INTERNAL
             : mongo_bulk_run(m, bulk, "update heatmap", matched);
    mongoc_bulk_operation_destroy(bulk);
    return result;
}


void
mongo_writer_count(struct mongo_store *m, struct mongo_call *call,
    struct mongo_writer *w, const struct logdoc *docs, size_t n,
    const enum store_insert *outcome)
{
    mongoc_collection_t  *coll;
    int64_t               matched = 0;
    enum result           result;

    collect_reset(w);
    for (size_t i = 0; i < n; i++) {
        if (outcome[i] == STORE_NEW) {
            bucket_collect(w, &docs[i]);
        }
    }

    if (w->nbuckets == 0) {
        return;
    }

    coll = mongoc_client_get_collection(call->client, m->db, MONGO_HEATMAP);
    result = shells_write(m, coll, w);
    if (result == RESULT_OK) {
        result = increments_write(m, coll, w, w->name, w->seq, &matched);
    }
    mongoc_collection_destroy(coll);

    /* fewer: somebody emptied the heatmap, or took this writer for dead */
    if (result != RESULT_OK || matched != (int64_t) w->nbuckets) {
        log_rate(LOG_WARN, "store", "mongo: a batch is not counted in the "
                 "heatmap yet; the next recount does it");
        mongo_writer_abandon(w);
    }
}


/* -- recovery -------------------------------------------------------------- */

struct recovery {
    struct mongo_store   *m;
    struct mongo_writer  *w;               /* borrowed for its table */
    char                  name[WRITER_NAME];
    int64_t               seq;
    int64_t               slots[MONGO_BATCH];
    size_t                nslots;
    struct arena          arena;
    struct logdoc        *docs;
    size_t                n;
    bool                  found;
};


/* The marker's fields; one that is not ours is skipped, and stays. */
static enum result
marker_read(const bson_t *doc, void *data)
{
    struct recovery  *r = data;
    struct slice      name = SLICE_NONE;
    bson_iter_t       it, list;

    r->nslots = 0;
    r->seq = LOGDOC_NONE;

    if (bson_iter_init_find(&it, doc, "_id")) {
        name = mongo_get_text(&it);
    }

    if (bson_iter_init_find(&it, doc, "seq")) {
        r->seq = mongo_get_int(&it);
    }

    if (bson_iter_init_find(&it, doc, "slots") && BSON_ITER_HOLDS_ARRAY(&it)
        && bson_iter_recurse(&it, &list))
    {
        while (bson_iter_next(&list) && r->nslots < MONGO_BATCH) {
            r->slots[r->nslots++] = mongo_get_int(&list);
        }
    }

    if (name.n == 0 || name.n >= WRITER_NAME || r->seq == LOGDOC_NONE) {
        return RESULT_OK;
    }

    memcpy(r->name, name.p, name.n);
    r->name[name.n] = '\0';
    r->found = true;
    return RESULT_AGAIN;
}


static enum result
marker_find(struct recovery *r)
{
    struct mongo_scan  scan = {
        .coll = MONGO_WRITERS, .sort = { "at_us", NULL }, .ascending = true,
        .limit = 100
    };
    bson_t             query = BSON_INITIALIZER;
    bson_t             sub;
    enum result        result;

    bson_append_document_begin(&query, "at_us", -1, &sub);
    BSON_APPEND_INT64(&sub, "$lte", clock_wall_us() - r->m->stale_us);
    bson_append_document_end(&query, &sub);

    scan.query = &query;
    r->found = false;
    result = mongo_scan(r->m, &scan, marker_read, r);
    bson_destroy(&query);
    return result;
}


static enum result
doc_read(const bson_t *doc, void *data)
{
    struct recovery  *r = data;

    if (r->n == MONGO_BATCH) {
        return RESULT_INTERNAL;            /* a batch has no more */
    }

    return mongo_log_decode(doc, &r->arena, &r->docs[r->n++]);
}


/* The documents of the batch, looked for in the marker's slots. */
static enum result
docs_find(struct recovery *r)
{
    static const char *const  fields[] = {
        "kind", "status", "started_us", "endpoint", "action_id",
        "developer_id", "lab_id", "org_id", "timing.duration_us", NULL
    };
    struct mongo_scan         scan = { .coll = MONGO_LOGS, .fields = fields };
    bson_t                    query, sub;
    char                      batch[MONGO_BATCH_NAME];
    enum result               result = RESULT_OK;

    snprintf(batch, sizeof(batch), "%s-%lld", r->name, (long long) r->seq);
    r->n = 0;

    for (size_t i = 0; result == RESULT_OK && i < r->nslots; i++) {
        bool  seen = false;

        for (size_t j = 0; j < i; j++) {
            seen |= r->slots[j] == r->slots[i];
        }

        if (seen) {
            continue;
        }

        bson_init(&query);
        bson_append_document_begin(&query, "started_us", -1, &sub);
        BSON_APPEND_INT64(&sub, "$gte", r->slots[i]);
        BSON_APPEND_INT64(&sub, "$lt", r->slots[i] + HEATMAP_BUCKET_US);
        bson_append_document_end(&query, &sub);
        BSON_APPEND_UTF8(&query, "batch", batch);

        scan.query = &query;
        result = mongo_scan(r->m, &scan, doc_read, r);
        bson_destroy(&query);
    }

    return result;
}


/* Unless its writer has begun another batch meanwhile. */
static enum result
marker_delete(struct recovery *r, mongoc_client_t *client)
{
    mongoc_collection_t  *coll;
    bson_error_t          e;
    bson_t                query = BSON_INITIALIZER;
    enum result           result = RESULT_OK;

    mongo_query_id(&query, slice_of(r->name));
    BSON_APPEND_INT64(&query, "seq", r->seq);

    coll = mongoc_client_get_collection(client, r->m->db, MONGO_WRITERS);
    if (!mongoc_collection_delete_one(coll, &query, NULL, NULL, &e)) {
        result = mongo_failed(r->m, "delete from heatmap_writer", &e);
    }

    mongoc_collection_destroy(coll);
    bson_destroy(&query);
    return result;
}


static enum result
batch_recover(struct recovery *r)
{
    struct mongo_call  call;
    int64_t            matched;
    enum result        result;

    result = docs_find(r);
    if (result != RESULT_OK) {
        return result;
    }

    collect_reset(r->w);
    memset(r->w->known, 0, sizeof(r->w->known));
    for (size_t i = 0; i < r->n; i++) {
        bucket_collect(r->w, &r->docs[i]);
    }

    result = mongo_begin(r->m, MONGO_HEATMAP, &call);
    if (result != RESULT_OK) {
        return result;
    }

    if (r->w->nbuckets > 0) {
        result = shells_write(r->m, call.coll, r->w);
        if (result == RESULT_OK) {
            result = increments_write(r->m, call.coll, r->w, r->name, r->seq,
                                      &matched);
        }
    }

    if (result == RESULT_OK) {
        result = marker_delete(r, call.client);
    }

    mongo_end(r->m, &call);
    return result;
}


enum result
mongo_recount(struct store *s, unsigned max_buckets, unsigned *done)
{
    struct recovery  *r;
    enum result       result;

    *done = 0;
    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return RESULT_MEMORY;
    }

    r->m = (struct mongo_store *) s;
    r->w = mongo_writer_take(r->m);
    r->docs = malloc(MONGO_BATCH * sizeof(*r->docs));
    arena_init(&r->arena, RECOVER_ARENA);
    result = r->w == NULL || r->docs == NULL ? RESULT_MEMORY : RESULT_OK;

    while (result == RESULT_OK && *done < max_buckets) {
        result = marker_find(r);
        if (result != RESULT_OK || !r->found) {
            break;
        }

        arena_reset(&r->arena);
        result = batch_recover(r);
        *done += (unsigned) r->w->nbuckets;
    }

    if (r->w != NULL) {
        mongo_writer_put(r->m, r->w);
    }

    arena_cleanup(&r->arena);
    free(r->docs);
    free(r);
    return result;
}
