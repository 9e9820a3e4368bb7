/* The drain: from the capture stream into the store, ack after store. */

#ifndef DRAIN_H
#define DRAIN_H

#include "catalog.h"
#include "config.h"
#include "store.h"

struct drain;

must_check enum result drain_start(const struct config *c, struct store *s,
    struct catalog *cat, const struct secret *secret, struct drain **out);
/* Stops reading, flushes, acknowledges; returns within the timeout. */
void drain_stop(struct drain *d);

struct drain_stats {
    uint64_t  read, stored, same, dead, errors, reclaimed, batches;
    int64_t   lag;                         /* entries not read; -1 unknown */
    int64_t   pending;
    int64_t   last_us;                     /* wall time of the last progress */
    bool      store_up, redis_up;
    int64_t   beat_us;                     /* monotonic; the slowest thread's
                                              last turn: for the watchdog */
};

void drain_stats(struct drain *d, struct drain_stats *out);

/* Defaults for labs that say nothing; SIGHUP changes them. */
void drain_set_retention(struct drain *d, int64_t ok_us, int64_t fail_us,
    int64_t dead_us);

#endif /* DRAIN_H */
