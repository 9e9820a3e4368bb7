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
 * Takes up to MAX ids due at NOW: priority 2 before 1 before 0, FIFO inside,
 * and on every eighth call the oldest of all whatever their priority.  They
 * stay in their sets, due at UNTIL: another dispatcher takes others, and a
 * crash brings them back.  *next_us: when the next is due of those that are
 * left, LOGDOC_NONE: nothing waits.
 */
must_check enum result due_take(struct redis *r, int64_t now_us,
    int64_t until_us, unsigned *calls, struct due_item *out, size_t max,
    size_t *n, int64_t *next_us);

/*
 * Wakes the dispatchers of other processes: something was added.  A stream of
 * one entry, which each of them reads from where it last was, so that no call
 * is missed between two reads and many calls are one.
 */
must_check enum result due_tell(struct redis *r);

#define DUE_MARK  48

/* Waits half a second for it; *told: it came.  AFTER starts as "0-0". */
must_check enum result due_listen(struct redis *r, char after[DUE_MARK],
    bool *told);

/* Lengths for /system and metrics. */
must_check enum result due_count(struct redis *r,
    int64_t count[DUE_PRIORITIES], int64_t now_us, int64_t *overdue);

#endif /* DUE_H */
