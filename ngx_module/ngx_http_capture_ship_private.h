/*
 * The shipper's own parts, all run by its thread: the link to Redis, the
 * judging of a batch, the spool's turn, adoption.  ngx_http_capture_ship.c puts
 * them in order.
 */

#ifndef NGX_HTTP_CAPTURE_SHIP_PRIVATE_H
#define NGX_HTTP_CAPTURE_SHIP_PRIVATE_H

#include <pthread.h>
#include <stdint.h>

#include "ngx_http_capture_batch.h"
#include "ngx_http_capture_note.h"
#include "ngx_http_capture_redis.h"
#include "ngx_http_capture_ship.h"
#include "ngx_http_capture_source.h"
#include "ngx_http_capture_spool.h"
#include "ngx_http_capture_zone.h"

#define MS              1000
#define SECOND          1000000
#define BUSY_WAIT       (100 * MS)

struct capture_ship {
    /* both sides */
    struct capture_ring   *ring;
    struct capture_notes   notes;
    int                    wakefd;
    _Atomic int            hurry, stopping;
    _Atomic int64_t        limit_us;       /* no exchange goes on past it */
    pthread_t              thread;

    /* the thread's own */
    struct capture_zone   *zone;
    char                  *ring_dir;
    struct capture_redis  *redis;
    struct capture_batch   batch;
    struct capture_source  own, orphan;
    int                    has_orphan;
    struct capture_spool  *spool;          /* NULL: off */
    int                    replaying;      /* the batch has its records */

    int                    up;
    int                    full;           /* OOM, MISCONF, NOREPLICAS */
    int                    can_fsync;
    unsigned               fails;          /* in a row */
    int64_t                resume_us;      /* no try before */
    int64_t                away_us;        /* since when Redis takes nothing */
    int64_t                scan_us, fsync_us, fold_us, talk_us, spool_us;
    uint64_t               suspect_seq;
    unsigned               suspect_tries;
    uint64_t               random;
    struct capture_ring_state  folded;     /* of an anonymous ring */
};

static inline int64_t
min_us(int64_t a, int64_t b)
{
    return a < b ? a : b;
}


/* Link.  Times are of CLOCK_MONOTONIC, in microseconds. */

/* Full jitter: anything from nothing to the doubled step. */
int64_t capture_ship_backoff(struct capture_ship *ship);

/* Nothing is sent for WAIT, which a stop shortens. */
void capture_ship_pause(struct capture_ship *ship, int64_t now, int64_t wait);

/* Redis takes nothing from now on. */
void capture_ship_away(struct capture_ship *ship, int64_t now);

/* NEXT: another address is tried. */
void capture_ship_disconnect(struct capture_ship *ship, int64_t now, int next);

/* Tries once; on failure says so and pauses. */
void capture_ship_connect(struct capture_ship *ship, int64_t now);

/* The exchange broke: closed, said, paused. */
void capture_ship_lost(struct capture_ship *ship, int64_t now);

/* A connection that says nothing for long may be one that nobody holds. */
void capture_ship_ping(struct capture_ship *ship, int64_t now);

/* Adds to the ring's counters. */
void capture_ship_count(struct capture_ship *ship, uint64_t errors,
    uint64_t reconnects, uint64_t bytes);


/* Judging */

/* FAILED: the exchange broke before each entry had its reply. */
void capture_ship_judge(struct capture_ship *ship, int failed);

/* Opens S's counters with the start of its oldest unsent record. */
void capture_ship_oldest(struct capture_source *s);


/* Spool */

/* 1 when so many quarters of the ring wait, or are held for Redis' disk. */
int capture_ship_fills(struct capture_ship *ship, unsigned quarters);

/* A capture_silence_pt: 1 ends an exchange early. */
int capture_ship_pressed(void *ctx, int64_t silent_us);

/* 1 when frames went there. */
int capture_ship_spool(struct capture_ship *ship, int64_t now);

/* Unlinks what may go and says what was damaged. */
void capture_ship_tend_spool(struct capture_ship *ship, int64_t now);

/* At exit: what is left, in a bounded time. */
void capture_ship_spool_rest(struct capture_ship *ship);


/* Adoption */

/* Looks for a ring without a worker, now and then; at most one is held. */
void capture_ship_adopt(struct capture_ship *ship, int64_t now);

/* Removes the adopted ring when all of it is settled. */
void capture_ship_orphan_done(struct capture_ship *ship);

#endif /* NGX_HTTP_CAPTURE_SHIP_PRIVATE_H */
