/*
 * Lanes on the Mongo protocol: ordered deliveries that stand in line.  A log
 * has lane, lane_us and lane_flags while it is open; one that failed and holds
 * its lane keeps them, without due_us.
 */

#ifndef STORE_MONGO_LANE_H
#define STORE_MONGO_LANE_H

#include "store_mongo_client.h"

#define MONGO_MARK  20                     /* "c", 16 hex digits, NUL */

/* What tells a claim from all others. */
must_check enum result mongo_claim_mark(char mark[MONGO_MARK]);

/*
 * Sets behind of those that are not the first of their lane; forming, lane and
 * due_us of those that wait for a batch; doc.batch_id of members of one.
 */
must_check enum result mongo_lane_judge(struct mongo_store *m,
    int64_t now_us, struct arena *a, struct store_claim *claims, size_t n);

/* Neither a batch nor a failure is before those that wait. */
must_check enum result mongo_lane_is_free(struct mongo_store *m,
    struct slice lane, bool *is_free);

/* Who is first in the lane now, for the finisher to wake. */
must_check enum result mongo_lane_next(struct mongo_store *m,
    struct slice lane, struct store_finish *f);

/* The members of an $unset that takes a log out of its lane. */
bool mongo_lane_leave(bson_t *unset);

/* A failure stops holding its lane, and all of its BATCH ("" none) with it. */
must_check enum result mongo_lane_let_go(struct mongo_store *m,
    const uint8_t id[UUID_BYTES], struct slice lane, struct slice batch);

/* D was inserted: what is sent again takes the place of what held the lane. */
must_check enum result mongo_lane_take_over(struct mongo_store *m,
    const struct logdoc *d);

#endif /* STORE_MONGO_LANE_H */
