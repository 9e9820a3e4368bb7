/* store_recount: finishes batches whose writer went away. */

#ifndef STORE_MONGO_RECOUNT_H
#define STORE_MONGO_RECOUNT_H

#include "store_mongo_client.h"

enum result mongo_recount(struct store *s, unsigned max_buckets,
    unsigned *done);

#endif /* STORE_MONGO_RECOUNT_H */
