/*
 * Batches whose writer went away are counted by their documents.  A marker
 * older than stale_us belongs to an insert that cannot be on its way any more
 * (twice the socket's time-out): what it has stored, it has stored.
 */

#include "store_mongo_recount.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "heatmap.h"
#include "store_mongo_doc.h"
#include "store_mongo_scan.h"
#include "store_mongo_value.h"
#include "store_mongo_writer.h"

#define RECOVER_ARENA  (16 * 1024 * 1024)

struct recovery {
    struct mongo_store   *m;
    struct mongo_buckets  buckets;
    char                  name[MONGO_WRITER_NAME];
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

    if (name.n == 0 || name.n >= MONGO_WRITER_NAME || r->seq == LOGDOC_NONE) {
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
marker_delete(struct recovery *r, mongoc_collection_t *coll)
{
    bson_error_t  e;
    bson_t        query = BSON_INITIALIZER;
    enum result   result = RESULT_OK;

    mongo_query_id(&query, slice_of(r->name));
    BSON_APPEND_INT64(&query, "seq", r->seq);

    if (!mongoc_collection_delete_one(coll, &query, NULL, NULL, &e)) {
        result = mongo_failed(r->m, "delete from heatmap_writer", &e);
    }

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

    mongo_buckets_forget(&r->buckets);
    mongo_buckets_reset(&r->buckets);
    for (size_t i = 0; i < r->n; i++) {
        mongo_buckets_add(&r->buckets, &r->docs[i]);
    }

    result = mongo_begin(r->m, MONGO_WRITERS, &call);
    if (result != RESULT_OK) {
        return result;
    }

    result = mongo_buckets_write(r->m, call.client, &r->buckets, r->name,
                                 r->seq, &matched);
    if (result == RESULT_OK) {
        result = marker_delete(r, call.coll);
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
    r->docs = malloc(MONGO_BATCH * sizeof(*r->docs));
    arena_init(&r->arena, RECOVER_ARENA);
    result = r->docs == NULL ? RESULT_MEMORY : RESULT_OK;

    while (result == RESULT_OK && *done < max_buckets) {
        result = marker_find(r);
        if (result != RESULT_OK || !r->found) {
            break;
        }

        arena_reset(&r->arena);
        result = batch_recover(r);
        *done += (unsigned) r->buckets.n;
    }

    arena_cleanup(&r->arena);
    free(r->docs);
    free(r);
    return result;
}
