/* Closing a batch: who is in it, once and for good. */

#ifndef STORE_MONGO_BATCH_CLOSE_H
#define STORE_MONGO_BATCH_CLOSE_H

#include "store_mongo_batch_doc.h"

/* store_batch_close */
enum result mongo_batch_close(struct store *s, struct store_batch *b);

/* Closed, but not all know it yet: the one who closed it is gone or slow.  Does
 * the rest and reads B anew. */
must_check enum result mongo_batch_help(struct mongo_store *m,
    struct mongo_batch *b);

#endif /* STORE_MONGO_BATCH_CLOSE_H */
