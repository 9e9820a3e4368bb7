/*
 * The due queue: idash:due:{0,1,2}, sorted sets of log ids by due time in ms.
 * An index that may vanish at any time; the store is the truth.
 */

#ifndef DUE_H
#define DUE_H

#include "redis.h"
#include "uuid.h"

#define DUE_PRIORITIES  3

struct due_item {
    uint8_t  id[UUID_BYTES];
    int64_t  due_us;
    int64_t  priority;
};

/* Adds or moves; NX: only what is not there (the reconciler). */
must_check enum result due_add(struct redis *r, const struct due_item *items,
    size_t n, bool nx);
must_check enum result due_remove(struct redis *r,
    const struct due_item *items, size_t n);

/*
 * Up to MAX ids due at NOW: priority 2 before 1 before 0, FIFO inside, and on
 * every eighth call the oldest due of all first.  They stay in the set.
 */
must_check enum result due_peek(struct redis *r, int64_t now_us,
    unsigned *calls, struct due_item *out, size_t max, size_t *n);

/* The next due time of all, or LOGDOC_NONE. */
must_check enum result due_next(struct redis *r, int64_t *due_us);

/* Lengths for /system and metrics. */
must_check enum result due_count(struct redis *r,
    int64_t count[DUE_PRIORITIES], int64_t now_us, int64_t *overdue);

#endif /* DUE_H */
