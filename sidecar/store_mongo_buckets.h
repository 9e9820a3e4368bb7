/*
 * What one batch of logs adds to the heatmap, by bucket.
 *
 * Every bucket remembers the last batch that each writer added, and is added to
 * under the guard that this is another: so the live writer and whoever recovers
 * its batch after a crash may both try, and one of them counts.
 */

#ifndef STORE_MONGO_BUCKETS_H
#define STORE_MONGO_BUCKETS_H

#include "heatmap.h"
#include "store_mongo_client.h"

#define MONGO_BATCH         500
#define MONGO_WRITER_NAME   20             /* bytes, NUL too */
#define MONGO_BUCKET_SLOTS  1024           /* twice MONGO_BATCH, power of 2 */
#define MONGO_KNOWN_SLOTS   2048

struct mongo_bucket {
    const struct logdoc  *label;           /* the first of it */
    int64_t               at_us;
    uint32_t              ok, fail;
    uint32_t              hist[HIST_SLOTS];
};

/* Zeroed is empty. */
struct mongo_buckets {
    size_t               n;
    uint16_t             table[MONGO_BUCKET_SLOTS];    /* index + 1, 0: free */
    struct mongo_bucket  list[MONGO_BATCH];
    uint64_t             known[MONGO_KNOWN_SLOTS];     /* such as exist */
};

void mongo_buckets_reset(struct mongo_buckets *all);
/* At most MONGO_BATCH since the reset; D must live until the write. */
void mongo_buckets_add(struct mongo_buckets *all, const struct logdoc *d);

/*
 * Adds the batch SEQ of the writer NAME.  *matched: how many of the buckets
 * had not counted it; fewer than all when somebody else did, or emptied the
 * heatmap.
 */
must_check enum result mongo_buckets_write(struct mongo_store *m,
    mongoc_client_t *client, struct mongo_buckets *all, const char *name,
    int64_t seq, int64_t *matched);
/* After a write that failed: none is known to exist. */
void mongo_buckets_forget(struct mongo_buckets *all);

#endif /* STORE_MONGO_BUCKETS_H */
