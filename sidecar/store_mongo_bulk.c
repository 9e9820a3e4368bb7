/* Unordered: one that fails keeps none of the others back. */

#include "store_mongo_bulk.h"

#include "store_mongo_value.h"


mongoc_bulk_operation_t *
mongo_bulk_create(mongoc_collection_t *coll)
{
    mongoc_bulk_operation_t  *bulk;
    bson_t                    opts = BSON_INITIALIZER;

    BSON_APPEND_BOOL(&opts, "ordered", false);
    bulk = mongoc_collection_create_bulk_operation_with_opts(coll, &opts);
    bson_destroy(&opts);
    return bulk;
}


bool
mongo_bulk_insert(mongoc_bulk_operation_t *bulk, const bson_t *doc)
{
    bson_error_t  e;

    return mongoc_bulk_operation_insert_with_opts(bulk, doc, NULL, &e);
}


/*
 * As an update of many: that of one is read by FerretDB 1 no further than its
 * document, and this reading stays open until the command ends.  A hundred in
 * one command are all of its connections, and it waits for itself.
 */
bool
mongo_bulk_update(mongoc_bulk_operation_t *bulk, const bson_t *query,
    const bson_t *update)
{
    bson_error_t  e;

    return mongoc_bulk_operation_update_many_with_opts(bulk, query, update,
        NULL, &e);
}


enum result
mongo_bulk_run(struct mongo_store *m, mongoc_bulk_operation_t *bulk,
    const char *what, int64_t *matched)
{
    bson_error_t  e;
    bson_iter_t   it;
    bson_t        reply;
    enum result   r = RESULT_OK;

    if (mongoc_bulk_operation_execute(bulk, &reply, &e) == 0) {
        /* only duplicates: an attempt that is there already */
        if (mongo_result(&e) != RESULT_CONFLICT
            || mongo_reply_result(&reply, NULL, NULL) != RESULT_CONFLICT)
        {
            (void) mongo_failed(m, what, &e);
            r = RESULT_UNAVAILABLE;
        }
    }

    if (matched != NULL) {
        *matched = bson_iter_init_find(&it, &reply, "nMatched")
                   ? mongo_get_int(&it) : 0;
    }

    bson_destroy(&reply);
    return r;
}
