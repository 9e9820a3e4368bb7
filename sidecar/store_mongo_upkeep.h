/* Indexes, retention and figures on the Mongo protocol. */

#ifndef STORE_MONGO_UPKEEP_H
#define STORE_MONGO_UPKEEP_H

#include "store_mongo_client.h"

/* Reads the schema's version; 0: the database is new. */
must_check enum result mongo_schema_read(struct mongo_store *m,
    int64_t *version, bson_error_t *e);

/* Makes every index that is missing and writes the schema's version. */
must_check enum result mongo_schema_write(struct mongo_store *m,
    bson_error_t *e);

#define MONGO_SCHEMA  2

enum result mongo_expire(struct store *s, int64_t now_us, unsigned max,
    unsigned *done);
enum result mongo_stats(struct store *s, struct store_stats *out);

#endif /* STORE_MONGO_UPKEEP_H */
