/*
 * One consumer of a consumer group on a Redis stream: read, take over,
 * acknowledge, trim.  At least once; what was read and not acknowledged stays
 * pending under the consumer's name.  Not for more than one thread.
 */

#ifndef QUEUE_H
#define QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "redis.h"

#define QUEUE_ID    48                     /* "1700000000000-0", with the NUL */
#define QUEUE_PAGE  100                    /* pending entries listed at once */

struct queue;

struct queue_pending {
    char      id[QUEUE_ID];
    int64_t   deliveries;                  /* so far, without success */
};

struct queue_entry {
    char                 id[QUEUE_ID];
    int64_t              deliveries;       /* before this one; 0 when new */
    const struct slice  *fields;           /* name, value ..; or NULL: no
                                              longer in the stream */
    size_t               nfields;          /* names and values */
    size_t               bytes;
};

/*
 * Entries borrow the queue's memory: one batch of a queue at a time, until
 * queue_batch_cleanup.
 */
struct queue_batch {
    struct queue_entry  *entries;
    size_t               n;
    size_t               bytes;
};

void queue_batch_cleanup(struct queue_batch *b);

/* Borrows C, R and STREAM; the group is config.capture_group.  CONSUMER is
 * copied. */
must_check enum result queue_create(const struct config *c, struct redis *r,
    const char *stream, const char *consumer, struct queue **out);
void queue_destroy(struct queue *q);
/* Gives memory back that only the next batch would need. */
void queue_idle(struct queue *q);

/*
 * Up to COUNT new entries, waiting at most a second.  RESULT_AGAIN: none.
 * RESULT_TOO_BIG: they are together over MAX bytes and now pending, unread.
 * RESULT_UNAVAILABLE: unknown; what was read is pending.
 */
must_check enum result queue_read(struct queue *q, unsigned count, size_t max,
    struct queue_batch *out);

/*
 * Pending entries behind AFTER ("": from the first), QUEUE_PAGE at most: the
 * consumer's own, or with MIN_IDLE_US > 0 anybody's idle for so long.
 */
must_check enum result queue_list(struct queue *q, const char *after,
    int64_t min_idle_us, struct queue_pending *out, size_t *n);

/*
 * Takes N listed entries over, which counts as a delivery.  Left out: what
 * another consumer took or acknowledged meanwhile.  Results as queue_read.
 */
must_check enum result queue_claim(struct queue *q,
    const struct queue_pending *list, size_t n, int64_t min_idle_us,
    size_t max, struct queue_batch *out);

/*
 * The entries are still being worked on: not idle, and this delivery does not
 * count (their count is set back to .deliveries).
 */
enum result queue_keep(struct queue *q, const struct queue_entry *e, size_t n);

must_check enum result queue_ack(struct queue *q, const struct queue_entry *e,
    size_t n);

/*
 * Deletes what every group of the stream has acknowledged, and tells this
 * group's LAG (-1: Redis does not know) and PENDING.
 */
must_check enum result queue_trim(struct queue *q, int64_t *lag,
    int64_t *pending);

/* Deletes consumers of the group with nothing pending, idle for IDLE_US. */
enum result queue_forget(struct queue *q, int64_t idle_us);

#endif /* QUEUE_H */
