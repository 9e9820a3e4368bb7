/* When frames go to the spool, and what the disk says to that. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ship_private.h"

#include <errno.h>
#include <string.h>

#define SPOOL_AFTER     (2 * SECOND)       /* of Redis taking nothing */
#define SPOOL_RETRY     (500 * MS)         /* after the disk said no */
#define PRESSED_AFTER   (50 * MS)          /* of silence in an exchange */
#define SPOOL_AT_EXIT   (800 * MS)


/* So many quarters of the ring wait for an outcome or for Redis' disk. */
int
capture_ship_fills(struct capture_ship *ship, unsigned quarters)
{
    size_t  used, size;

    capture_ring_usage(ship->ring, &used, &size);
    return used > size / 4 * quarters;
}


/*
 * An exchange that hears nothing ends early when the ring would overflow and
 * the spool could take what waits.
 */
int
capture_ship_pressed(void *ctx, int64_t silent_us)
{
    struct capture_ship  *ship = ctx;

    return ship->spool != NULL && silent_us > PRESSED_AFTER
           && capture_mono_us() >= ship->spool_us
           && capture_ship_fills(ship, 2);
}


static int
ship_must_spool(struct capture_ship *ship, int64_t now)
{
    if (ship->spool == NULL || now < ship->spool_us
        || capture_source_waiting(&ship->own) == 0)
    {
        return 0;
    }

    if (ship->away_us != 0 && now - ship->away_us > SPOOL_AFTER) {
        return 1;
    }

    /* while Redis takes records, half may be what it has and is held */
    return capture_ship_fills(ship, ship->away_us != 0 ? 2 : 3);
}


/* 0, 1 when the spool is full, -1 with errno. */
static int
ship_spool_batch(struct capture_ship *ship)
{
    struct capture_batch  *b = &ship->batch;
    struct capture_entry  *entry;
    int                    rc;

    capture_batch_reset(b);
    (void) capture_batch_add_frames(b, &ship->own, CAPTURE_BATCH_COMMANDS,
                                    CAPTURE_BATCH_BYTES);
    rc = b->n == 0 ? 1 : 0;

    for (unsigned i = 0; i < b->n; i++) {
        entry = &b->entries[i];

        if (entry->state == CAPTURE_ENTRY_UNREADABLE) {
            capture_source_outcome(&ship->own, &entry->upto, entry->frames,
                                   CAPTURE_DROPPED, CAPTURE_DROP_ENCODE);
            continue;
        }

        rc = capture_spool_append(ship->spool, entry->id,
                                  b->out.p + entry->at, entry->len);
        if (rc != 0) {
            break;
        }

        capture_source_outcome(&ship->own, &entry->upto, 1, CAPTURE_SPOOLED,
                               CAPTURE_DROP_RING);
    }

    capture_ship_oldest(&ship->own);
    capture_ring_ship_end(ship->ring);
    return rc;
}


static void
ship_spool_refused(struct capture_ship *ship, int64_t now, int rc, int err)
{
    ship->spool_us = now + SPOOL_RETRY;
    capture_ring_set_spool_full(ship->ring, 1);

    capture_note(&ship->notes, CAPTURE_NOTE_SPOOL, CAPTURE_LOG_ERR,
                 "the spool takes no more: %s; when the ring is full as well, "
                 "records are dropped", rc == 1 ? "it is at its \"max=\""
                                                : strerror(err));
}


/* 1 when frames went there. */
int
capture_ship_spool(struct capture_ship *ship, int64_t now)
{
    uint64_t  before, lost;
    int       rc, err;

    if (!ship_must_spool(ship, now)) {
        return 0;
    }

    before = ship->own.pos.seq;
    rc = ship_spool_batch(ship);
    err = errno;

    if (rc == 0) {
        capture_ring_set_spool_full(ship->ring, 0);

    } else if (!ship->batch.no_memory) {
        ship_spool_refused(ship, now, rc, err);
    }

    lost = capture_spool_given_up(ship->spool);
    if (lost > 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_SPOOL, CAPTURE_LOG_ERR,
                     "the spool is at its \"max=\": its %llu oldest records "
                     "are dropped", (unsigned long long) lost);
    }

    return ship->own.pos.seq != before;
}


void
capture_ship_tend_spool(struct capture_ship *ship, int64_t now)
{
    uint64_t  torn;

    if (ship->spool == NULL) {
        return;
    }

    if (ship->up) {
        capture_spool_release(ship->spool, now, 0);
    }

    torn = capture_spool_torn(ship->spool);
    if (torn > 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_TORN, CAPTURE_LOG_WARN,
                     "the spool has %llu damaged places, which are skipped; "
                     "check the disk if no worker was killed",
                     (unsigned long long) torn);
    }
}


/* The disk survives what the ring does not: a reboot. */
void
capture_ship_spool_rest(struct capture_ship *ship)
{
    int64_t  limit;

    limit = capture_mono_us() + SPOOL_AT_EXIT;

    while (ship->spool != NULL && capture_source_waiting(&ship->own) > 0
           && capture_mono_us() < limit)
    {
        if (ship_spool_batch(ship) != 0) {
            return;
        }
    }
}
