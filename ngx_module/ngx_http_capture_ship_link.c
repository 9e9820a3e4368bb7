/*
 * The shipper's link to Redis: when it is tried, what is said when it breaks,
 * and how long the thread then leaves it alone.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ship_private.h"

#include <stdatomic.h>

#define BACKOFF_FIRST   (50 * MS)
#define BACKOFF_MAX     (5 * SECOND)
#define STOPPING_WAIT   (100 * MS)
#define PING_AFTER      (30 * SECOND)


/* Waiting */

static uint64_t
ship_random(struct capture_ship *ship)
{
    uint64_t  x = ship->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    ship->random = x;
    return x;
}


/* Full jitter: anything from nothing to the doubled step. */
int64_t
capture_ship_backoff(struct capture_ship *ship)
{
    int64_t   step;
    unsigned  doublings;

    doublings = ship->fails < 7 ? ship->fails : 7;
    step = min_us((int64_t) BACKOFF_FIRST << doublings, BACKOFF_MAX);
    return 10 * MS + (int64_t) (ship_random(ship) % (uint64_t) step);
}


void
capture_ship_pause(struct capture_ship *ship, int64_t now, int64_t wait)
{
    if (atomic_load(&ship->stopping)) {
        wait = min_us(wait, STOPPING_WAIT);
    }

    ship->resume_us = now + wait;
}


/* Redis takes nothing from now on. */
void
capture_ship_away(struct capture_ship *ship, int64_t now)
{
    if (ship->away_us == 0) {
        ship->away_us = now;
    }
}


void
capture_ship_disconnect(struct capture_ship *ship, int64_t now, int next)
{
    capture_redis_close(ship->redis, next);
    ship->up = 0;
    capture_ship_away(ship, now);
}


void
capture_ship_count(struct capture_ship *ship, uint64_t errors,
    uint64_t reconnects, uint64_t bytes)
{
    struct capture_ship_counters  *c;

    c = capture_ring_ship_begin(ship->ring);
    c->errors += errors;
    c->reconnects += reconnects;
    c->bytes += bytes;
    capture_ring_ship_end(ship->ring);
}


/* Connecting */

static void
ship_connected(struct capture_ship *ship, int64_t now)
{
    uint64_t    again;
    const char *run_id;

    run_id = capture_redis_run_id(ship->redis);
    again = capture_source_connected(&ship->own, run_id);

    if (ship->has_orphan) {
        again += capture_source_connected(&ship->orphan, run_id);
    }

    if (ship->spool != NULL) {
        capture_spool_connected(ship->spool, run_id);
    }

    ship->up = 1;
    ship->can_fsync = capture_redis_has_waitaof(ship->redis);
    ship->talk_us = now;
    capture_ship_count(ship, 0, 1, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_UP, CAPTURE_LOG_NOTICE,
                 "connected to Redis at %s; records sent again, since it may "
                 "have lost them: %llu", capture_redis_name(ship->redis),
                 (unsigned long long) again);
}


void
capture_ship_connect(struct capture_ship *ship, int64_t now)
{
    if (capture_redis_connect(ship->redis) == 0) {
        ship_connected(ship, now);
        return;
    }

    capture_ship_away(ship, now);
    capture_ship_count(ship, 1, 0, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_DOWN, CAPTURE_LOG_ERR,
                 "Redis at %s: %s; records wait in the ring, check "
                 "\"capture_redis\" and that Redis runs",
                 capture_redis_name(ship->redis),
                 capture_redis_error(ship->redis));

    /* the clock, since a connect may take its second */
    capture_ship_pause(ship, capture_mono_us(), capture_ship_backoff(ship));
    ship->fails++;
}


void
capture_ship_lost(struct capture_ship *ship, int64_t now)
{
    capture_ship_disconnect(ship, now, 0);
    capture_ship_count(ship, 1, 0, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_DOWN, CAPTURE_LOG_ERR,
                 "Redis at %s: %s%s%s; what was not acknowledged is sent "
                 "again", capture_redis_name(ship->redis),
                 capture_redis_error(ship->redis),
                 ship->batch.refused > 0 ? " after " : "",
                 ship->batch.refused > 0 ? ship->batch.text : "");

    capture_ship_pause(ship, now, capture_ship_backoff(ship));
    ship->fails++;
}


static int
ping_reply(void *ctx, unsigned i, const struct capture_reply *reply)
{
    (void) ctx;
    (void) i;
    (void) reply;
    return 0;
}


/* A connection that says nothing for long may be one that nobody holds. */
void
capture_ship_ping(struct capture_ship *ship, int64_t now)
{
    static const char  ping[] = "*1\r\n$4\r\nPING\r\n";

    if (now - ship->talk_us < PING_AFTER) {
        return;
    }

    ship->talk_us = now;

    if (capture_redis_exchange(ship->redis, ping, sizeof(ping) - 1, 1,
                               ping_reply, NULL) != 1)
    {
        capture_batch_reset(&ship->batch);
        capture_ship_lost(ship, capture_mono_us());
    }
}
