/* Cursors: options, deadline on both sides of the wire, errors; updates. */

#include "store_mongo_scan.h"

#include "clock.h"
#include "store_mongo_value.h"

#define CLOCK_EVERY  64                    /* documents between two looks */


static void
scan_sort(bson_t *opts, const struct mongo_scan *scan)
{
    bson_t  sub;

    if (scan->sort[0] == NULL) {
        return;
    }

    bson_append_document_begin(opts, "sort", 4, &sub);
    for (int i = 0; i < 2 && scan->sort[i] != NULL; i++) {
        bson_append_int32(&sub, scan->sort[i], -1, scan->ascending ? 1 : -1);
    }
    bson_append_document_end(opts, &sub);
}


static void
scan_projection(bson_t *opts, const struct mongo_scan *scan)
{
    bson_t  sub;

    if (scan->fields == NULL) {
        return;
    }

    bson_append_document_begin(opts, "projection", 10, &sub);
    for (size_t i = 0; scan->fields[i] != NULL; i++) {
        bson_append_int32(&sub, scan->fields[i], -1, scan->exclude ? 0 : 1);
    }
    bson_append_document_end(opts, &sub);
}


static enum result
scan_walk(mongoc_cursor_t *cursor, int64_t deadline_us, mongo_each_pt each,
    void *data)
{
    const bson_t  *doc;
    unsigned       n = 0;
    enum result    result;

    while (mongoc_cursor_next(cursor, &doc)) {
        result = each(doc, data);
        if (result != RESULT_OK) {
            return result;
        }

        if (deadline_us > 0 && ++n % CLOCK_EVERY == 0
            && clock_mono_us() >= deadline_us)
        {
            return RESULT_TIMEOUT;
        }
    }

    return RESULT_OK;
}


enum result
mongo_scan(struct mongo_store *m, const struct mongo_scan *scan,
    mongo_each_pt each, void *data)
{
    mongoc_cursor_t    *cursor;
    struct mongo_call   call;
    bson_error_t        e;
    bson_t              opts = BSON_INITIALIZER;
    enum result         result;

    result = mongo_begin(m, scan->coll, &call);
    if (result != RESULT_OK) {
        bson_destroy(&opts);
        return result;
    }

    scan_sort(&opts, scan);
    scan_projection(&opts, scan);
    mongo_opts_time(&opts, scan->deadline_us);
    if (scan->limit > 0) {
        /* in one answer; one more than will come, or some servers keep the
         * cursor open.  No singleBatch: that would lose what is behind 16 MB */
        BSON_APPEND_INT64(&opts, "limit", scan->limit);
        BSON_APPEND_INT64(&opts, "batchSize", scan->limit + 1);
    }

    if (scan->skip > 0) {
        BSON_APPEND_INT64(&opts, "skip", scan->skip);
    }

    cursor = mongoc_collection_find_with_opts(call.coll, scan->query, &opts,
                                              NULL);
    result = scan_walk(cursor, scan->deadline_us, each, data);
    if (result == RESULT_OK && mongoc_cursor_error(cursor, &e)) {
        result = mongo_failed(m, scan->coll, &e);
    }

    mongoc_cursor_destroy(cursor);
    bson_destroy(&opts);
    mongo_end(m, &call);
    return result == RESULT_AGAIN ? RESULT_OK : result;
}


enum result
mongo_update(struct mongo_store *m, const char *coll, const bson_t *query,
    const bson_t *update, unsigned how, int64_t *matched)
{
    struct mongo_call  call;
    bson_error_t       e;
    bson_iter_t        it;
    bson_t             opts = BSON_INITIALIZER, reply;
    bool               ok;
    enum result        r;

    r = mongo_begin(m, coll, &call);
    if (r != RESULT_OK) {
        bson_destroy(&opts);
        return r;
    }

    BSON_APPEND_BOOL(&opts, "upsert", (how & MONGO_UPSERT) != 0);
    ok = (how & MONGO_MANY)
         ? mongoc_collection_update_many(call.coll, query, update, &opts,
               &reply, &e)
         : mongoc_collection_update_one(call.coll, query, update, &opts,
               &reply, &e);

    if (!ok && mongo_result(&e) == RESULT_CONFLICT) {
        r = RESULT_CONFLICT;

    } else if (!ok) {
        (void) mongo_failed(m, coll, &e);
        r = RESULT_UNAVAILABLE;
    }

    if (matched != NULL) {
        *matched = ok && bson_iter_init_find(&it, &reply, "matchedCount")
                   ? mongo_get_int(&it) : 0;
    }

    bson_destroy(&reply);
    bson_destroy(&opts);
    mongo_end(m, &call);
    return r;
}


void
mongo_query_id(bson_t *out, struct slice id)
{
    bson_append_utf8(out, "_id", 3, id.p == NULL ? "" : id.p, (int) id.n);
}


void
mongo_query_ids(bson_t *out, const uint8_t *ids, size_t stride, size_t n)
{
    bson_t       in, list;
    char         number[16], text[UUID_TEXT + 1];
    const char  *key;

    bson_append_document_begin(out, "_id", 3, &in);
    bson_append_array_begin(&in, "$in", 3, &list);

    for (size_t i = 0; i < n; i++) {
        uuid_text(ids + i * stride, text);
        bson_uint32_to_string((uint32_t) i, &key, number, sizeof(number));
        bson_append_utf8(&list, key, -1, text, UUID_TEXT);
    }

    bson_append_array_end(&in, &list);
    bson_append_document_end(out, &in);
}


void
mongo_query_bound(bson_t *b, const char *name, const char *op, int64_t v)
{
    bson_t  sub;

    bson_append_document_begin(b, name, -1, &sub);
    bson_append_int64(&sub, op, -1, v);
    bson_append_document_end(b, &sub);
}


bool
mongo_doc_id(const bson_t *doc, uint8_t id[UUID_BYTES])
{
    bson_iter_t  it;

    return bson_iter_init_find(&it, doc, "_id")
           && uuid_parse(mongo_get_text(&it), id) == RESULT_OK;
}


int64_t
mongo_doc_int(const bson_t *doc, const char *name)
{
    bson_iter_t  it;

    return bson_iter_init_find(&it, doc, name) ? mongo_get_int(&it)
                                               : LOGDOC_NONE;
}


enum result
mongo_change(struct mongo_store *m, const char *coll, bson_t *query,
    bson_t *update, unsigned how, int64_t *matched)
{
    enum result  r = mongo_update(m, coll, query, update, how, matched);

    bson_destroy(query);
    bson_destroy(update);
    return r;
}
