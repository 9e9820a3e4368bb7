/*
 * What became of a batch: each entry's outcome goes to where it came from, and
 * what Redis said decides whether the thread goes on, waits, or tries another
 * address.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ship_private.h"

#define FULL_WAIT_MAX   (4 * SECOND)
#define DENIED_WAIT     (30 * SECOND)
#define SUSPECT_TRIES   3


static void
ship_poison(struct capture_ship *ship, const struct capture_entry *entry)
{
    int  kept;

    kept = ship->spool != NULL
           && capture_spool_set_aside(ship->spool, entry->id,
                                      ship->batch.out.p + entry->at,
                                      entry->len) == 0;

    capture_note(&ship->notes, CAPTURE_NOTE_POISON, CAPTURE_LOG_ERR,
                 "Redis refuses one record of %zu bytes and takes others: "
                 "\"%s\"; it is dropped%s", entry->len, ship->batch.text,
                 kept ? " and kept in the spool as *.refused" : "");
}


/* Gives each entry its outcome, in order, until one of its source has none. */
static uint64_t
ship_outcomes(struct capture_ship *ship, struct capture_source *s)
{
    struct capture_batch  *b = &ship->batch;
    struct capture_entry  *entry;
    uint64_t               acked;

    acked = 0;

    for (unsigned i = 0; i < b->n; i++) {
        entry = &b->entries[i];

        if (entry->source != s) {
            continue;
        }

        if (entry->state == CAPTURE_ENTRY_OK) {
            capture_source_outcome(s, &entry->upto, 1, CAPTURE_ACKED,
                                   CAPTURE_DROP_RING);
            acked++;

        } else if (entry->state == CAPTURE_ENTRY_UNREADABLE) {
            capture_source_outcome(s, &entry->upto, entry->frames,
                                   CAPTURE_DROPPED, CAPTURE_DROP_ENCODE);
            capture_note(&ship->notes, CAPTURE_NOTE_RING, CAPTURE_LOG_ERR,
                         "%llu records of the ring cannot be read and are "
                         "dropped", (unsigned long long) entry->frames);

        } else if (capture_batch_poisonous(b, i)
                   || (entry->state == CAPTURE_ENTRY_REFUSED
                       && ship->suspect_tries >= SUSPECT_TRIES
                       && ship->suspect_seq == entry->upto.seq))
        {
            ship_poison(ship, entry);
            capture_source_outcome(s, &entry->upto, 1, CAPTURE_DROPPED,
                                   CAPTURE_DROP_POISON);
            ship->suspect_tries = 0;

        } else {
            break;
        }
    }

    return acked;
}


void
capture_ship_oldest(struct capture_source *s)
{
    const struct capture_frame    *f;
    struct capture_ship_counters  *c;
    struct capture_cursor          next;
    int                            bad;

    next = s->pos;
    f = capture_ring_next(s->ring, &next, &bad);
    c = capture_ring_ship_begin(s->ring);
    c->oldest_us = f == NULL || f->start_us < 0 ? 0 : (uint64_t) f->start_us;
}


static void
ship_judge_source(struct capture_ship *ship, struct capture_source *s,
    int64_t now)
{
    uint64_t  acked;

    acked = ship_outcomes(ship, s);
    capture_ship_oldest(s);
    capture_ring_ship_end(s->ring);

    if (acked > 0) {
        capture_source_acked(s, capture_redis_run_id(ship->redis), now);
    }
}


/* The same for records of the spool, which keeps its own counts. */
static void
ship_judge_spool(struct capture_ship *ship, int64_t now)
{
    struct capture_batch  *b = &ship->batch;
    struct capture_entry  *entry;

    for (unsigned i = 0; i < b->n; i++) {
        entry = &b->entries[i];

        if (entry->source != NULL) {
            continue;
        }

        if (entry->state == CAPTURE_ENTRY_OK) {
            capture_spool_acked(ship->spool, entry->upto.off);

        } else if (capture_batch_poisonous(b, i)) {
            ship_poison(ship, entry);
            capture_spool_dropped(ship->spool, entry->upto.off,
                                  CAPTURE_DROP_POISON);

        } else {
            break;
        }
    }

    capture_spool_flush(ship->spool, capture_redis_run_id(ship->redis), now);
    capture_spool_rewind(ship->spool);
}


/* One that is refused first and hangs up may be refused for itself. */
static void
ship_suspect(struct capture_ship *ship)
{
    struct capture_entry  *entry;

    if (ship->batch.n == 0 || ship->batch.ok > 0) {
        return;
    }

    entry = &ship->batch.entries[0];
    if (entry->state != CAPTURE_ENTRY_REFUSED
        || entry->class != CAPTURE_REPLY_BAD)
    {
        return;
    }

    if (ship->suspect_seq != entry->upto.seq) {
        ship->suspect_seq = entry->upto.seq;
        ship->suspect_tries = 0;
    }

    ship->suspect_tries++;
}


static void
ship_refused(struct capture_ship *ship, int64_t now)
{
    struct capture_batch  *b = &ship->batch;
    const char            *name;
    int64_t                wait;

    name = capture_redis_name(ship->redis);
    capture_ship_count(ship, b->refused, 0, 0);

    switch (b->class) {

    case CAPTURE_REPLY_BUSY:
        capture_ship_pause(ship, now, BUSY_WAIT);
        return;

    case CAPTURE_REPLY_FULL:
        ship->full = 1;
        capture_ship_away(ship, now);

        /* what was freed meanwhile was used: more may be soon */
        ship->fails = b->ok > 0 ? 0 : ship->fails;
        wait = min_us((int64_t) SECOND << (ship->fails < 2 ? ship->fails : 2),
                      FULL_WAIT_MAX);
        capture_ship_pause(ship, now, wait);
        ship->fails++;
        capture_note(&ship->notes, CAPTURE_NOTE_FULL, CAPTURE_LOG_ERR,
                     "Redis at %s takes no more: \"%s\"; give it memory or "
                     "disk, or let integrationd drain it", name, b->text);
        return;

    case CAPTURE_REPLY_MOVE:
        capture_ship_disconnect(ship, now, 1);
        capture_ship_pause(ship, now, capture_ship_backoff(ship));
        ship->fails++;
        capture_note(&ship->notes, CAPTURE_NOTE_DOWN, CAPTURE_LOG_WARN,
                     "Redis at %s cannot write now: \"%s\"; the next address "
                     "is tried", name, b->text);
        return;

    default:
        break;
    }

    if (b->ok > 0 && b->class == CAPTURE_REPLY_BAD) {
        return;
    }

    /* one record alone may be the reason: more will soon be behind it */
    capture_ship_away(ship, now);
    capture_ship_pause(ship, now, b->n == 1 && b->class == CAPTURE_REPLY_BAD
                          ? SECOND : DENIED_WAIT);
    capture_note(&ship->notes, CAPTURE_NOTE_DENIED, CAPTURE_LOG_ERR,
                 "Redis at %s refuses records: \"%s\"; check user, password, "
                 "ACL and stream of \"capture_redis\"", name, b->text);
}


void
capture_ship_judge(struct capture_ship *ship, int failed)
{
    int64_t  now;

    now = capture_mono_us();

    if (failed) {
        ship_suspect(ship);
    }

    ship_judge_source(ship, &ship->own, now);
    if (ship->has_orphan) {
        ship_judge_source(ship, &ship->orphan, now);
    }

    if (ship->replaying) {
        ship_judge_spool(ship, now);
    }

    if (failed) {
        capture_ship_lost(ship, now);
        return;
    }

    ship->talk_us = now;
    capture_ship_count(ship, 0, 0, ship->batch.out.n);

    if (ship->batch.fsynced < 0) {
        ship->can_fsync = 0;

    } else if (ship->batch.fsynced > 0) {
        capture_source_release(&ship->own, now, 1);
        if (ship->has_orphan) {
            capture_source_release(&ship->orphan, now, 1);
        }

        if (ship->spool != NULL) {
            capture_spool_release(ship->spool, now, 1);
        }
    }

    if (ship->batch.refused > 0) {
        ship_refused(ship, now);

    } else if (ship->batch.ok > 0) {
        ship->full = 0;
        ship->fails = 0;
        ship->away_us = 0;
    }
}
