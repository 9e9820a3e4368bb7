/* The documents of batches, and questions about their members. */

#include "store_mongo_batch_doc.h"

#include "store_mongo_doc.h"
#include "store_mongo_scan.h"


void
mongo_batch_clear(struct mongo_batch *b)
{
    if (b->outcome != NULL) {
        bson_destroy(b->outcome);
        b->outcome = NULL;
    }
}


enum result
mongo_part_copy(const bson_t *doc, const char *name, struct arena *a,
    struct slice *out)
{
    bson_iter_t  it;

    *out = SLICE_NONE;

    if (!bson_iter_init_find(&it, doc, name)) {
        return RESULT_OK;
    }

    *out = arena_copy(a, mongo_get_text(&it));
    return out->p == NULL ? RESULT_TOO_BIG : RESULT_OK;
}


bson_t *
mongo_part(const bson_t *doc, const char *name)
{
    const uint8_t  *bytes = NULL;
    bson_iter_t     it;
    uint32_t        n = 0;

    if (!bson_iter_init_find(&it, doc, name)) {
        return NULL;
    }

    if (BSON_ITER_HOLDS_DOCUMENT(&it)) {
        bson_iter_document(&it, &n, &bytes);

    } else if (BSON_ITER_HOLDS_ARRAY(&it)) {
        bson_iter_array(&it, &n, &bytes);
    }

    return bytes == NULL ? NULL : bson_new_from_data(bytes, n);
}


static enum result
batch_doc(const bson_t *doc, void *data)
{
    struct mongo_batch  *b = data;
    enum result    r;

    b->found = true;
    b->due_us = mongo_doc_int(doc, "due_us");
    b->token = mongo_doc_int(doc, "token");
    b->attempts = mongo_doc_int(doc, "attempts");
    b->outcome = mongo_part(doc, "outcome");
    r = mongo_part_copy(doc, "lane", b->a, &b->lane);
    return r != RESULT_OK ? r : mongo_part_copy(doc, "claim", b->a, &b->claim);
}


enum result
mongo_batch_read(struct mongo_store *m, struct mongo_batch *b)
{
    struct mongo_scan  scan = { .coll = MONGO_BATCHES, .limit = 1 };
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    mongo_batch_clear(b);
    b->found = false;
    mongo_query_id(&query, b->id);
    scan.query = &query;
    r = mongo_scan(m, &scan, batch_doc, b);
    bson_destroy(&query);
    return r;
}


static enum result
first_doc(const bson_t *doc, void *data)
{
    struct mongo_first  *f = data;

    f->found = mongo_doc_id(doc, f->id);
    return RESULT_OK;
}


/* {lane, batch_id, FIELD > 0} */
bson_t *
mongo_members_query(struct slice lane, struct slice batch, const char *field)
{
    bson_t  *query = bson_new();
    bson_t   sub;

    (void) mongo_put_text(query, "lane", lane);
    (void) mongo_put_text(query, "batch_id", batch);
    bson_append_document_begin(query, field, -1, &sub);
    BSON_APPEND_INT64(&sub, "$gt", 0);
    bson_append_document_end(query, &sub);
    return query;
}


/* FIELD due_us: of the open members the first; lease_until_us: of the
 * leased. */
enum result
mongo_members_first(struct mongo_store *m, struct slice lane,
    struct slice batch, const char *field, struct mongo_first *f)
{
    static const char *const  fields[] = { "_id", NULL };
    struct mongo_scan  scan = { .coll = MONGO_LOGS, .limit = 1,
        .sort = { "lane_us", "_id" }, .ascending = true, .fields = fields };
    bson_t            *query = mongo_members_query(lane, batch, field);
    enum result        r;

    f->found = false;
    scan.query = query;
    r = mongo_scan(m, &scan, first_doc, f);
    bson_destroy(query);
    return r;
}


enum result
mongo_batch_delete(struct mongo_store *m, struct slice id)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_t             query = BSON_INITIALIZER;
    enum result        r;

    mongo_query_id(&query, id);
    r = mongo_begin(m, MONGO_BATCHES, &call);

    if (r == RESULT_OK) {
        if (!mongoc_collection_delete_one(call.coll, &query, NULL, NULL, &e)) {
            r = mongo_failed(m, "delete of a batch", &e);
        }

        mongo_end(m, &call);
    }

    bson_destroy(&query);
    return r;
}
