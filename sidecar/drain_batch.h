/*
 * One batch of a drain's thread: entries become logs or dead letters and are
 * acknowledged after the store has them.  Holds the thread's buffers.
 */

#ifndef DRAIN_BATCH_H
#define DRAIN_BATCH_H

#include "breaker.h"
#include "catalog.h"
#include "config.h"
#include "queue.h"
#include "store.h"

/* shared by all threads of a drain */
struct drain_shared {
    const struct config  *config;
    struct store         *store;
    struct catalog       *catalog;
    const struct secret  *secret;          /* of signed replays */
    _Atomic bool          stop;
    _Atomic int64_t       retention_ok_us, retention_fail_us;
    _Atomic int64_t       retention_dead_us;
    _Atomic uint64_t      read, stored, same, dead, errors, reclaimed;
    _Atomic uint64_t      batches;
    _Atomic int64_t       last_us;
};

/* deliveries without success: crashed two drains, tried alone */
#define DRAIN_SUSPECT  2

struct drain_work;

must_check enum result drain_work_create(struct drain_shared *d,
    struct redis *r, struct queue *q, struct drain_work **out);
void drain_work_destroy(struct drain_work *w);

/*
 * Stores the batch and acknowledges it.  Waits for the store as long as it
 * takes, in which time the entries stay this consumer's.  UNAVAILABLE: told to
 * stop, or Redis is away; what is not acknowledged is pending.
 */
must_check enum result drain_work_run(struct drain_work *w,
    const struct queue_batch *b);

/* An entry that cannot even be read: a dead letter without its content. */
must_check enum result drain_work_bury(struct drain_work *w,
    const struct queue_entry *e, const char *reason);

/* How many entries to ask for, and the bytes they may have together. */
unsigned drain_work_count(const struct drain_work *w);
size_t drain_work_max(const struct drain_work *w);

/* Gives memory back after a time without work. */
void drain_work_idle(struct drain_work *w);

/* Monotonic time of the last turn of any of its loops. */
int64_t drain_work_beat_us(const struct drain_work *w);
void drain_work_beat(struct drain_work *w);
bool drain_work_store_up(const struct drain_work *w);
/* Asks the store when nothing else did. */
void drain_work_ping(struct drain_work *w);

#endif /* DRAIN_BATCH_H */
