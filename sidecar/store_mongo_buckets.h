/*
 * Counting logs into the heatmap exactly once, without transactions.
 *
 * Each insert of up to MONGO_BATCH logs is a batch of a writer: its documents
 * carry "writer-seq", a marker in heatmap_writer is written before them, and
 * every bucket remembers the last batch that each writer added.  An increment
 * is guarded by that memory, so the live writer and whoever recovers its batch
 * after a crash may both try: one of them counts.
 */

#ifndef STORE_MONGO_BUCKETS_H
#define STORE_MONGO_BUCKETS_H

#include "store_mongo_client.h"

#define MONGO_BATCH       500
#define MONGO_BATCH_NAME  48               /* bytes of "writer-seq", NUL too */

struct mongo_writer;

/* An idle writer or a new one; one thread uses it at a time. */
struct mongo_writer *mongo_writer_take(struct mongo_store *m);
void mongo_writer_put(struct mongo_store *m, struct mongo_writer *w);
/* Frees the idle ones, at close. */
void mongo_writers_destroy(struct mongo_store *m);

/* Starts the next batch and names it. */
void mongo_writer_next(struct mongo_writer *w, char name[MONGO_BATCH_NAME]);
/* The batch's outcome is unknown: its marker stays, the writer is renamed. */
void mongo_writer_abandon(struct mongo_writer *w);

/* Writes the marker; needed before any of DOCS may reach the server. */
must_check enum result mongo_writer_mark(struct mongo_store *m,
    struct mongo_call *call, struct mongo_writer *w,
    const struct logdoc *docs, size_t n);

/* Counts those of DOCS (at most MONGO_BATCH) whose OUTCOME is STORE_NEW; on
 * failure the batch is abandoned and mongo_recount will count it. */
void mongo_writer_count(struct mongo_store *m, struct mongo_call *call,
    struct mongo_writer *w, const struct logdoc *docs, size_t n,
    const enum store_insert *outcome);

/* store_recount: finishes batches whose writer went away. */
enum result mongo_recount(struct store *s, unsigned max_buckets,
    unsigned *done);

#endif /* STORE_MONGO_BUCKETS_H */
