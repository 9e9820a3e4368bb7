/* The documents of batches on the Mongo protocol; store_mongo_batch.h tells
 * what they are for. */

#ifndef STORE_MONGO_BATCH_DOC_H
#define STORE_MONGO_BATCH_DOC_H

#include "store_mongo_client.h"

#define MONGO_BATCHES      "batch"
#define MONGO_BATCH_ARENA  (4 * 1024 * 1024)

/* A document of batch. */
struct mongo_batch {
    struct arena  *a;
    struct slice   id, lane, claim;
    int64_t        due_us, token, attempts;
    bson_t        *outcome;                /* NULL: none */
    bool           found;
};

/* Reads b->id anew: found, and what it holds, in b->a.  Clear it afterwards. */
must_check enum result mongo_batch_read(struct mongo_store *m,
    struct mongo_batch *b);
void mongo_batch_clear(struct mongo_batch *b);
must_check enum result mongo_batch_delete(struct mongo_store *m,
    struct slice id);

/* {lane, batch_id, FIELD > 0}; the caller destroys it. */
bson_t *mongo_members_query(struct slice lane, struct slice batch,
    const char *field);

struct mongo_first {
    uint8_t  id[UUID_BYTES];
    bool     found;
};

/* FIELD due_us: of the open members the first; lease_until_us: of the
 * leased. */
must_check enum result mongo_members_first(struct mongo_store *m,
    struct slice lane, struct slice batch, const char *field,
    struct mongo_first *f);

/* A text of DOC into the arena; p NULL: it has none. */
must_check enum result mongo_part_copy(const bson_t *doc, const char *name,
    struct arena *a, struct slice *out);
/* A document or array of DOC, to be destroyed; NULL: it has none. */
bson_t *mongo_part(const bson_t *doc, const char *name);

#endif /* STORE_MONGO_BATCH_DOC_H */
