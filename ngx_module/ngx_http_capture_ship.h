/*
 * The shipper: one thread a worker that takes finished requests from the ring,
 * redacts, hashes and encodes them, pipelines them to Redis, and writes the
 * spool when Redis cannot take them.  It calls no nginx function and blocks
 * all signals; the loop talks to it through the ring, an eventfd and counters.
 */

#ifndef NGX_HTTP_CAPTURE_SHIP_H
#define NGX_HTTP_CAPTURE_SHIP_H

#include <stddef.h>
#include <stdint.h>

#include "ngx_http_capture_redis.h"
#include "ngx_http_capture_ring.h"
#include "ngx_http_capture_zone.h"

/* Borrowed for the call of capture_ship_start, which copies all of it. */
struct capture_ship_conf {
    struct capture_redis_conf  redis;
    const char  *stream;
    const char  *ring_dir;                 /* adopted from: this nginx' own */
    const char  *spool;                    /* NULL: off */
    uint64_t     spool_max, spool_segment;
    int          spool_drop_old;           /* full=drop_old */
    unsigned     drain_ms;
};

struct capture_ship;

/* NULL with a message in ERR.  Never blocks on Redis or names. */
struct capture_ship *capture_ship_start(const struct capture_ship_conf *conf,
    struct capture_ring *ring, struct capture_zone *zone, char *err,
    size_t errlen);

/* After commits, once a loop turn: one write(2) only if the thread sleeps. */
void capture_ship_wake(struct capture_ship *ship);

/* ngx_exiting was seen: send at once, adopt nothing more. */
void capture_ship_hurry(struct capture_ship *ship);

/*
 * From exit_process.  Gives the thread DRAIN_MS for Redis (0: spool at once),
 * then under a second to spool, joins it and frees it with the ring.  A thread
 * that is stuck is left, and its ring with it, for the next worker to adopt.
 */
void capture_ship_stop(struct capture_ship *ship, unsigned drain_ms);

/*
 * One message for the error log, at most one a second of a kind; the loop's
 * timer calls it until 0.  LEVEL is nginx' (NGX_LOG_ERR 4, WARN 5, NOTICE 6).
 */
int capture_ship_message(struct capture_ship *ship, int *level, char *buf,
    size_t size);

#endif /* NGX_HTTP_CAPTURE_SHIP_H */
