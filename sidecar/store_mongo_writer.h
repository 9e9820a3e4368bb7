/*
 * Counting logs into the heatmap exactly once, without transactions.
 *
 * Each insert of up to MONGO_BATCH logs is a batch of a writer: its documents
 * carry "writer-seq", and a marker in heatmap_writer is written before them, by
 * which store_mongo_recount.c counts the batch of a writer that went away.
 */

#ifndef STORE_MONGO_WRITER_H
#define STORE_MONGO_WRITER_H

#include "store_mongo_buckets.h"

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

#endif /* STORE_MONGO_WRITER_H */
