/*
 * Callbacks of Fusion items: when a delivery has settled its handlers are told,
 * by deliveries with logs of their own.  Once for each settled log and handler:
 * the callback's id is made of the log's, and a note in the store says that it
 * is due until it is written.
 */

#ifndef CALLBACK_H
#define CALLBACK_H

#include "config.h"
#include "redis.h"
#include "store.h"

/* HANDLERS: {"success":url,"failed":url,"subscribe":url}, some of them.
 * Written before the log. */
must_check enum result callback_plan(struct store *s,
    const uint8_t log_id[UUID_BYTES], int64_t org_id, const json_t *handlers,
    int64_t expires_us);

/* The log may have settled: if so, its callbacks are written and queued. */
must_check enum result callback_settle(struct store *s,
    const struct config *c, struct redis *r, const uint8_t log_id[UUID_BYTES]);

/* The same for all that are noted, *n of which were written now. */
must_check enum result callback_sweep(struct store *s,
    const struct config *c, struct redis *r, unsigned *n);

#endif /* CALLBACK_H */
