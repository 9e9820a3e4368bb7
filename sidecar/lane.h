/*
 * Which lane a delivery stands in: by its integration (over MLLP by host and
 * port) and the value of order_key, if any.  Pure.
 */

#ifndef LANE_H
#define LANE_H

#include "integration.h"

/*
 * Fills lane, lane_flags and lane_us of D, whose next_attempt_us is when it may
 * first go; a batch also waits for its window.  The value of the key becomes
 * field "order_key".  EVENT NULL: D is sent again and has that field already.
 */
must_check enum result lane_fill(struct logdoc *d,
    const struct integration *i, const json_t *event, struct arena *a);

#endif /* LANE_H */
