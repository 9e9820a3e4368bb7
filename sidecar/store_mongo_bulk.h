/* Many writes of one collection in one unordered command. */

#ifndef STORE_MONGO_BULK_H
#define STORE_MONGO_BULK_H

#include "store_mongo_client.h"

/* The caller destroys it. */
mongoc_bulk_operation_t *mongo_bulk_create(mongoc_collection_t *coll);

/* One write more; false: the driver refuses it. */
bool mongo_bulk_insert(mongoc_bulk_operation_t *bulk, const bson_t *doc);
/* QUERY has an _id and so meets one document at most. */
bool mongo_bulk_update(mongoc_bulk_operation_t *bulk, const bson_t *query,
    const bson_t *update);

/*
 * WHAT is for the log.  *matched, when not NULL: how many filters met a
 * document.  An insert of what is there already is no failure.
 */
must_check enum result mongo_bulk_run(struct mongo_store *m,
    mongoc_bulk_operation_t *bulk, const char *what, int64_t *matched);

#endif /* STORE_MONGO_BULK_H */
