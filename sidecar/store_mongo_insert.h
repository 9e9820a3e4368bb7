/* Inserting logs on a server of the Mongo protocol: contract in store.h. */

#ifndef STORE_MONGO_INSERT_H
#define STORE_MONGO_INSERT_H

#include "store_mongo_client.h"

enum result mongo_logs_insert(struct store *s, const struct logdoc *docs,
    size_t n, enum store_insert *outcome);

#endif /* STORE_MONGO_INSERT_H */
