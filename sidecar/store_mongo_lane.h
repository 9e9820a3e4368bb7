/*
 * Lanes on the Mongo protocol: ordered deliveries that stand in line.  A log
 * has lane, lane_us and lane_flags while it is open; one that failed and holds
 * its lane keeps them, without due_us.
 */

#ifndef STORE_MONGO_LANE_H
#define STORE_MONGO_LANE_H

#include "store_mongo_client.h"

/* Sets behind and due_us of those that are not the first of their lane. */
must_check enum result mongo_lane_judge(struct mongo_store *m,
    struct store_claim *claims, size_t n);

/* Who is first in the lane now, for the finisher to wake. */
must_check enum result mongo_lane_next(struct mongo_store *m,
    struct slice lane, struct store_finish *f);

/* The members of an $unset that takes a log out of its lane. */
bool mongo_lane_leave(bson_t *unset);

/* A failure stops holding its lane. */
must_check enum result mongo_lane_let_go(struct mongo_store *m,
    const uint8_t id[UUID_BYTES]);

/* D was inserted: what is sent again takes the place of what held the lane. */
must_check enum result mongo_lane_take_over(struct mongo_store *m,
    const struct logdoc *d);

#endif /* STORE_MONGO_LANE_H */
