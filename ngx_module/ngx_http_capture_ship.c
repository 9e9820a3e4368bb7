/*
 * The shipper's thread.  Each turn it frees what may be freed, connects when it
 * is time to, sends one batch, and moves frames to the spool while Redis takes
 * none.  It waits in one place for the loop's wake, and in the exchange of a
 * batch for Redis, both ended by the eventfd.
 *
 * The loop shares with it the ring, the atomics of struct capture_ship, the
 * eventfd and the notes; everything else belongs to the thread.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_ship.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ngx_http_capture_batch.h"
#include "ngx_http_capture_note.h"
#include "ngx_http_capture_redis.h"
#include "ngx_http_capture_source.h"
#include "ngx_http_capture_spool.h"
#include "ngx_http_capture_zone.h"

#define MS              1000
#define SECOND          1000000
#define POLL_MS         50
#define AWAY_POLL_MS    10                 /* with a ring that fills */
#define GATHER_MS       10                 /* between batches that are small */
#define GATHER_BYTES    (CAPTURE_BATCH_BYTES / 2)
#define BACKOFF_FIRST   (50 * MS)
#define BACKOFF_MAX     (5 * SECOND)
#define BUSY_WAIT       (100 * MS)
#define FULL_WAIT_MAX   (4 * SECOND)
#define DENIED_WAIT     (30 * SECOND)
#define STOPPING_WAIT   (100 * MS)
#define SCAN_PERIOD     (3 * SECOND)
#define SPOOL_AFTER     (2 * SECOND)       /* of Redis taking nothing */
#define SPOOL_RETRY     (500 * MS)         /* after the disk said no */
#define PRESSED_AFTER   (50 * MS)          /* of silence in an exchange */
#define FSYNC_PERIOD    (250 * MS)
#define FOLD_PERIOD     SECOND
#define PING_AFTER      (30 * SECOND)
#define STALE_NEW_S     60
#define SPOOL_AT_EXIT   (800 * MS)
#define JOIN_EXTRA_MS   1000
#define SUSPECT_TRIES   3
#define THREAD_STACK    (1024 * 1024)

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


/* Waiting */

static int64_t
min_us(int64_t a, int64_t b)
{
    return a < b ? a : b;
}


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
static int64_t
ship_backoff(struct capture_ship *ship)
{
    int64_t   step;
    unsigned  doublings;

    doublings = ship->fails < 7 ? ship->fails : 7;
    step = min_us((int64_t) BACKOFF_FIRST << doublings, BACKOFF_MAX);
    return 10 * MS + (int64_t) (ship_random(ship) % (uint64_t) step);
}


static void
ship_pause(struct capture_ship *ship, int64_t now, int64_t wait)
{
    if (atomic_load(&ship->stopping)) {
        wait = min_us(wait, STOPPING_WAIT);
    }

    ship->resume_us = now + wait;
}


/* Redis takes nothing from now on. */
static void
ship_away(struct capture_ship *ship, int64_t now)
{
    if (ship->away_us == 0) {
        ship->away_us = now;
    }
}


static void
ship_disconnect(struct capture_ship *ship, int64_t now, int next)
{
    capture_redis_close(ship->redis, next);
    ship->up = 0;
    ship_away(ship, now);
}


static void
ship_count(struct capture_ship *ship, uint64_t errors, uint64_t reconnects,
    uint64_t bytes)
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
    ship_count(ship, 0, 1, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_UP, CAPTURE_LOG_NOTICE,
                 "connected to Redis at %s; records sent again, since it may "
                 "have lost them: %llu", capture_redis_name(ship->redis),
                 (unsigned long long) again);
}


static void
ship_connect(struct capture_ship *ship, int64_t now)
{
    if (capture_redis_connect(ship->redis) == 0) {
        ship_connected(ship, now);
        return;
    }

    ship_away(ship, now);
    ship_count(ship, 1, 0, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_DOWN, CAPTURE_LOG_ERR,
                 "Redis at %s: %s; records wait in the ring, check "
                 "\"capture_redis\" and that Redis runs",
                 capture_redis_name(ship->redis),
                 capture_redis_error(ship->redis));

    /* the clock, since a connect may take its second */
    ship_pause(ship, capture_mono_us(), ship_backoff(ship));
    ship->fails++;
}


/* Judging a batch */

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


static void
ship_oldest(struct capture_source *s)
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
    ship_oldest(s);
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
ship_lost(struct capture_ship *ship, int64_t now)
{
    ship_disconnect(ship, now, 0);
    ship_count(ship, 1, 0, 0);

    capture_note(&ship->notes, CAPTURE_NOTE_DOWN, CAPTURE_LOG_ERR,
                 "Redis at %s: %s%s%s; what was not acknowledged is sent "
                 "again", capture_redis_name(ship->redis),
                 capture_redis_error(ship->redis),
                 ship->batch.refused > 0 ? " after " : "",
                 ship->batch.refused > 0 ? ship->batch.text : "");

    ship_pause(ship, now, ship_backoff(ship));
    ship->fails++;
}


static void
ship_refused(struct capture_ship *ship, int64_t now)
{
    struct capture_batch  *b = &ship->batch;
    const char            *name;
    int64_t                wait;

    name = capture_redis_name(ship->redis);
    ship_count(ship, b->refused, 0, 0);

    switch (b->class) {

    case CAPTURE_REPLY_BUSY:
        ship_pause(ship, now, BUSY_WAIT);
        return;

    case CAPTURE_REPLY_FULL:
        ship->full = 1;
        ship_away(ship, now);

        /* what was freed meanwhile was used: more may be soon */
        ship->fails = b->ok > 0 ? 0 : ship->fails;
        wait = min_us((int64_t) SECOND << (ship->fails < 2 ? ship->fails : 2),
                      FULL_WAIT_MAX);
        ship_pause(ship, now, wait);
        ship->fails++;
        capture_note(&ship->notes, CAPTURE_NOTE_FULL, CAPTURE_LOG_ERR,
                     "Redis at %s takes no more: \"%s\"; give it memory or "
                     "disk, or let integrationd drain it", name, b->text);
        return;

    case CAPTURE_REPLY_MOVE:
        ship_disconnect(ship, now, 1);
        ship_pause(ship, now, ship_backoff(ship));
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
    ship_away(ship, now);
    ship_pause(ship, now, b->n == 1 && b->class == CAPTURE_REPLY_BAD
                          ? SECOND : DENIED_WAIT);
    capture_note(&ship->notes, CAPTURE_NOTE_DENIED, CAPTURE_LOG_ERR,
                 "Redis at %s refuses records: \"%s\"; check user, password, "
                 "ACL and stream of \"capture_redis\"", name, b->text);
}


static void
ship_judge(struct capture_ship *ship, int failed)
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
        ship_lost(ship, now);
        return;
    }

    ship->talk_us = now;
    ship_count(ship, 0, 0, ship->batch.out.n);

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


/* Sending */

static int
ping_reply(void *ctx, unsigned i, const struct capture_reply *reply)
{
    (void) ctx;
    (void) i;
    (void) reply;
    return 0;
}


/* A connection that says nothing for long may be one that nobody holds. */
static void
ship_ping(struct capture_ship *ship, int64_t now)
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
        ship_lost(ship, capture_mono_us());
    }
}


/* So many quarters of the ring wait for an outcome or for Redis' disk. */
static int
ship_fills(struct capture_ship *ship, unsigned quarters)
{
    size_t  used, size;

    capture_ring_usage(ship->ring, &used, &size);
    return used > size / 4 * quarters;
}


/*
 * An exchange that hears nothing ends early when the ring would overflow and
 * the spool could take what waits.
 */
static int
ship_pressed(void *ctx, int64_t silent_us)
{
    struct capture_ship  *ship = ctx;

    return ship->spool != NULL && silent_us > PRESSED_AFTER
           && capture_mono_us() >= ship->spool_us && ship_fills(ship, 2);
}


static uint64_t
ship_held(struct capture_ship *ship)
{
    return capture_source_held(&ship->own)
           + (ship->has_orphan ? capture_source_held(&ship->orphan) : 0);
}


/*
 * The spool is read only while the ring is nearly empty.  A Redis that was full
 * is asked with a record of the ring; without one only the spool can tell that
 * it takes records again.
 */
static int
ship_replays(struct capture_ship *ship)
{
    uint64_t  waiting;
    size_t    used, size;

    if (ship->spool == NULL || atomic_load(&ship->stopping)) {
        return 0;
    }

    waiting = capture_source_waiting(&ship->own);
    if (ship->full && waiting > 0) {
        return 0;
    }

    capture_ring_usage(ship->ring, &used, &size);
    used = waiting == 0 ? 0 : used;
    return used < size / 4;
}


static void
ship_add_spooled(struct capture_ship *ship)
{
    struct capture_batch  *b = &ship->batch;
    const char            *command;
    size_t                 len;
    uint64_t               end;

    while (b->n < CAPTURE_BATCH_COMMANDS && b->out.n < CAPTURE_BATCH_BYTES
           && capture_spool_next(ship->spool, &command, &len, &end))
    {
        if (capture_batch_add_command(b, command, len, end) != 0) {
            b->no_memory = 1;
            capture_spool_rewind(ship->spool);
            return;
        }
    }
}


/* 1 when something was sent. */
static int
ship_send(struct capture_ship *ship, int64_t now)
{
    struct capture_batch  *b = &ship->batch;
    int                    orphan, others;

    orphan = ship->has_orphan && capture_source_waiting(&ship->orphan) > 0;
    ship->replaying = !orphan && ship_replays(ship);
    others = orphan || ship->replaying;

    capture_batch_reset(b);
    (void) capture_batch_add_frames(b, &ship->own,
                                    CAPTURE_BATCH_COMMANDS >> others,
                                    CAPTURE_BATCH_BYTES >> others);
    if (orphan) {
        (void) capture_batch_add_frames(b, &ship->orphan,
                                        CAPTURE_BATCH_COMMANDS,
                                        CAPTURE_BATCH_BYTES);
    }

    if (ship->replaying) {
        ship_add_spooled(ship);
    }

    if (ship->can_fsync && now - ship->fsync_us >= FSYNC_PERIOD
        && (b->n > 0 || ship_held(ship) > 0)
        && capture_batch_add_fsync(b) == 0)
    {
        ship->fsync_us = now;
    }

    if (b->no_memory) {
        capture_note(&ship->notes, CAPTURE_NOTE_MEMORY, CAPTURE_LOG_ERR,
                     "no memory to encode records; they wait in the ring");
        ship_pause(ship, now, BUSY_WAIT);
    }

    if (b->n == 0 && !b->asks_fsync) {
        if (ship->replaying) {
            capture_spool_flush(ship->spool,
                                capture_redis_run_id(ship->redis), now);
        }

        ship_ping(ship, now);
        return 0;
    }

    ship_judge(ship, capture_batch_exchange(b, ship->redis));
    return b->n > 0;
}


/* Spooling */

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
    return ship_fills(ship, ship->away_us != 0 ? 2 : 3);
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

    ship_oldest(&ship->own);
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
static int
ship_spool(struct capture_ship *ship, int64_t now)
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


static void
ship_tend_spool(struct capture_ship *ship, int64_t now)
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


/* Freeing ring space */

static void
ship_release_source(struct capture_ship *ship, struct capture_source *s,
    int64_t now)
{
    capture_source_relieve(s);

    if (ship->up || s->nmarks == 0) {
        /* while Redis is away nobody knows whether it kept what it had */
        capture_source_release(s, now, 0);
    }
}


static void
ship_fold_anonymous(struct capture_ship *ship, int64_t now)
{
    struct capture_ring_state  state;

    if (!capture_ring_anonymous(ship->ring) || now < ship->fold_us) {
        return;
    }

    ship->fold_us = now + FOLD_PERIOD;
    capture_ring_state(ship->ring, &state);
    capture_zone_fold(ship->zone, &state, &ship->folded);
    ship->folded = state;
}


/* Orphans */

static int
has_suffix(const char *name, const char *suffix)
{
    size_t  len, n;

    len = strlen(name);
    n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}


/* A ring whose worker died before it was published. */
static void
adopt_unpublished(int dirfd, const char *name)
{
    struct stat  st;
    int          fd;

    fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1) {
        return;
    }

    if (fstat(fd, &st) == 0 && st.st_mtime < time(NULL) - STALE_NEW_S
        && flock(fd, LOCK_EX | LOCK_NB) == 0)
    {
        (void) unlinkat(dirfd, name, 0);
    }

    (void) close(fd);
}


static void
adopt_unreadable(struct capture_ship *ship, int dirfd, const char *name)
{
    char  aside[300];

    (void) snprintf(aside, sizeof(aside), "%s.unreadable", name);

    if (renameat(dirfd, name, dirfd, aside) == 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_RING, CAPTURE_LOG_ERR,
                     "%s/%s is no ring that this version can read: it is set "
                     "aside as %s", ship->ring_dir, name, aside);
    }
}


static int
adopt_ring(struct capture_ship *ship, int dirfd, const char *name, int64_t now)
{
    struct capture_ring  *ring;

    ring = capture_ring_open(dirfd, name);
    if (ring == NULL) {
        if (errno == EPROTO) {
            adopt_unreadable(ship, dirfd, name);
        }
        return 0;
    }

    capture_source_init(&ship->orphan, ring, 1, now);
    ship->has_orphan = 1;

    (void) capture_source_connected(&ship->orphan,
                                    capture_redis_run_id(ship->redis));

    if (capture_source_waiting(&ship->orphan) > 0) {
        capture_note(&ship->notes, CAPTURE_NOTE_ADOPT, CAPTURE_LOG_NOTICE,
                     "adopting the ring %s of a worker that is gone: %llu "
                     "records", name,
                     (unsigned long long)
                     capture_source_waiting(&ship->orphan));
    }

    return 1;
}


static void
ship_adopt(struct capture_ship *ship, int64_t now)
{
    struct dirent  *entry;
    DIR            *dir;

    if (ship->has_orphan || !ship->up || now < ship->scan_us
        || atomic_load(&ship->hurry) || atomic_load(&ship->stopping))
    {
        return;
    }

    ship->scan_us = now + SCAN_PERIOD;
    dir = opendir(ship->ring_dir);
    if (dir == NULL) {
        return;
    }

    while (!ship->has_orphan && (entry = readdir(dir)) != NULL) {
        if (has_suffix(entry->d_name, ".ring")) {
            (void) adopt_ring(ship, dirfd(dir), entry->d_name, now);

        } else if (has_suffix(entry->d_name, ".new")) {
            adopt_unpublished(dirfd(dir), entry->d_name);
        }
    }

    (void) closedir(dir);
}


static void
ship_orphan_done(struct capture_ship *ship)
{
    struct capture_ring_state  state;

    if (!ship->has_orphan || capture_source_waiting(&ship->orphan) > 0
        || capture_source_held(&ship->orphan) > 0)
    {
        return;
    }

    capture_ring_state(ship->orphan.ring, &state);
    capture_zone_fold(ship->zone, &state, NULL);
    capture_ring_destroy(ship->orphan.ring);
    ship->has_orphan = 0;
    ship->scan_us = 0;
}


/* The thread */

static void
ship_wait(struct capture_ship *ship, int64_t wait)
{
    struct pollfd  fds[2];
    uint64_t       count;
    char           byte;

    fds[0].fd = ship->wakefd;
    fds[0].events = POLLIN;
    fds[1].fd = ship->up ? capture_redis_fd(ship->redis) : -1;
    fds[1].events = POLLIN;
    fds[0].revents = 0;
    fds[1].revents = 0;

    (void) poll(fds, 2, (int) ((wait + MS - 1) / MS));
    capture_ring_awake(ship->ring);

    if (fds[0].revents != 0) {
        (void) !read(ship->wakefd, &count, sizeof(count));
    }

    /* nothing was asked: it hangs up, or it is no Redis */
    if (fds[1].fd != -1 && fds[1].revents != 0
        && !(recv(fds[1].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1
             && errno == EAGAIN))
    {
        capture_redis_close(ship->redis, 1);
        capture_batch_reset(&ship->batch);
        ship_lost(ship, capture_mono_us());
    }
}


static void
ship_sleep(struct capture_ship *ship, int64_t now)
{
    int64_t  wait;

    wait = POLL_MS * MS;

    if (ship->resume_us > now) {
        /* nobody wakes it: it looks whether the ring wants the spool */
        wait = min_us(ship->spool != NULL ? AWAY_POLL_MS * MS : wait,
                      ship->resume_us - now);

    } else if (ship->up && !capture_ring_sleep(ship->ring, ship->own.pos.seq))
    {
        return;
    }

    ship_wait(ship, wait);
}


/*
 * A steady trickle is sent in batches: the loop need not wake the thread for
 * each record, nor the thread ask Redis for each.  A record after a pause still
 * goes at once.
 */
static void
ship_gather(struct capture_ship *ship)
{
    struct capture_batch  *b = &ship->batch;

    if (!ship->up || ship->replaying || b->refused > 0
        || b->n > CAPTURE_BATCH_COMMANDS / 4
        || b->out.n > CAPTURE_BATCH_BYTES / 4
        || (ship->has_orphan && capture_source_waiting(&ship->orphan) > 0)
        || atomic_load(&ship->hurry) || atomic_load(&ship->stopping))
    {
        return;
    }

    if (capture_ring_doze(ship->ring, &ship->own.pos, GATHER_BYTES)) {
        ship_wait(ship, GATHER_MS * MS);
    }
}


static void
ship_turn(struct capture_ship *ship)
{
    int64_t  now;
    int      sent, spooled;

    now = capture_mono_us();
    sent = 0;

    ship_release_source(ship, &ship->own, now);
    if (ship->has_orphan) {
        ship_release_source(ship, &ship->orphan, now);
        ship_orphan_done(ship);
    }

    ship_tend_spool(ship, now);
    ship_adopt(ship, now);
    ship_fold_anonymous(ship, now);

    if (now >= ship->resume_us) {
        if (!ship->up) {
            ship_connect(ship, now);
        }

        if (ship->up && now >= ship->resume_us) {
            sent = ship_send(ship, now);
        }
    }

    spooled = ship_spool(ship, capture_mono_us());

    if (!sent && !spooled) {
        ship_sleep(ship, capture_mono_us());

    } else if (!spooled) {
        ship_gather(ship);
    }
}


static int
ship_done(struct capture_ship *ship)
{
    if (!atomic_load(&ship->stopping)) {
        return 0;
    }

    return capture_source_waiting(&ship->own) == 0
           || capture_mono_us() >= atomic_load(&ship->limit_us);
}


/* The disk survives what the ring does not: a reboot. */
static void
ship_spool_rest(struct capture_ship *ship)
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


/* What is left in a file is adopted; anonymous memory ends here. */
static void
ship_finish(struct capture_ship *ship)
{
    struct capture_cursor  c;
    uint64_t               left;

    ship_spool_rest(ship);
    if (ship->own.nmarks == 0) {
        capture_source_release(&ship->own, capture_mono_us(), 1);
    }

    capture_spool_close(ship->spool);
    ship->spool = NULL;
    left = capture_source_waiting(&ship->own);

    if (capture_ring_anonymous(ship->ring)) {
        c = ship->own.pos;
        (void) capture_ring_skip(ship->ring, &c);
        capture_source_outcome(&ship->own, &c, left, CAPTURE_DROPPED,
                               CAPTURE_DROP_EXIT);
        capture_ring_ship_end(ship->ring);
        ship->fold_us = 0;
        ship_fold_anonymous(ship, 1);
    }

    if (ship->has_orphan) {
        capture_ring_destroy(ship->orphan.ring);
        ship->has_orphan = 0;
    }
}


static void *
ship_thread(void *arg)
{
    struct capture_ship  *ship = arg;
    cpu_set_t             cpus;

    /* a worker pinned to one CPU would have the thread compete for it */
    memset(&cpus, 0xff, sizeof(cpus));
    (void) sched_setaffinity(0, sizeof(cpus), &cpus);
    (void) pthread_setname_np(pthread_self(), "capture-ship");

    capture_ring_populate(ship->ring);

    while (!ship_done(ship)) {
        ship_turn(ship);
    }

    ship_finish(ship);
    return NULL;
}


/* The loop's side */

static void
ship_free(struct capture_ship *ship)
{
    capture_batch_cleanup(&ship->batch);
    capture_redis_destroy(ship->redis);
    capture_spool_close(ship->spool);
    capture_notes_cleanup(&ship->notes);

    if (ship->wakefd != -1) {
        (void) close(ship->wakefd);
    }

    free(ship->ring_dir);
    free(ship);
}


static int
ship_spawn(struct capture_ship *ship)
{
    pthread_attr_t  attr;
    sigset_t        all, old;
    int             err;

    err = pthread_attr_init(&attr);
    if (err != 0) {
        return err;
    }

    (void) pthread_attr_setstacksize(&attr, THREAD_STACK);

    /* inherited by the thread: signals are nginx' */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    err = pthread_create(&ship->thread, &attr, ship_thread, ship);
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    (void) pthread_attr_destroy(&attr);
    return err;
}


struct capture_ship *
capture_ship_start(const struct capture_ship_conf *conf,
    struct capture_ring *ring, struct capture_zone *zone, char *err,
    size_t errlen)
{
    struct capture_encoder  *encoder;
    struct capture_ship     *ship;
    const char              *what;
    int64_t                  now;
    int                      rc;

    ship = calloc(1, sizeof(*ship));
    if (ship == NULL) {
        (void) snprintf(err, errlen, "no memory");
        return NULL;
    }

    now = capture_mono_us();
    ship->ring = ring;
    ship->zone = zone;
    ship->away_us = now;
    ship->wakefd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    atomic_store(&ship->limit_us, INT64_MAX);

    if (getrandom(&ship->random, sizeof(ship->random), 0)
        != sizeof(ship->random) || ship->random == 0)
    {
        ship->random = (uint64_t) now | 1;
    }

    what = "no memory";
    rc = ENOMEM;

    if (capture_notes_init(&ship->notes) != 0) {
        goto failed;
    }

    encoder = capture_encoder_create(conf->stream);
    capture_batch_init(&ship->batch, encoder);
    ship->ring_dir = strdup(conf->ring_dir);
    ship->redis = capture_redis_create(conf, ship->wakefd, &ship->limit_us);
    capture_source_init(&ship->own, ring, 0, now);

    if (encoder == NULL || ship->ring_dir == NULL || ship->redis == NULL) {
        goto failed;
    }

    capture_redis_on_silence(ship->redis, ship_pressed, ship);

    if (ship->wakefd == -1) {
        what = "no eventfd";
        rc = errno;
        goto failed;
    }

    if (conf->spool != NULL) {
        ship->spool = capture_spool_open(conf->spool, conf->spool_max,
                                         conf->spool_segment,
                                         conf->spool_drop_old, zone);
        if (ship->spool == NULL) {
            capture_note(&ship->notes, CAPTURE_NOTE_SPOOL, CAPTURE_LOG_ERR,
                         "no spool: \"%s\": %s; it must be a directory that "
                         "only the worker's user can write", conf->spool,
                         strerror(errno));
        }
    }

    rc = ship_spawn(ship);
    if (rc != 0) {
        what = "no thread";
        goto failed;
    }

    return ship;

failed:

    (void) snprintf(err, errlen, "%s: %s", what, strerror(rc));
    ship_free(ship);
    return NULL;
}


static void
ship_poke(struct capture_ship *ship)
{
    uint64_t  one = 1;

    (void) !write(ship->wakefd, &one, sizeof(one));
}


void
capture_ship_wake(struct capture_ship *ship)
{
    if (capture_ring_asleep(ship->ring)) {
        ship_poke(ship);
    }
}


void
capture_ship_hurry(struct capture_ship *ship)
{
    if (!atomic_exchange(&ship->hurry, 1)) {
        ship_poke(ship);
    }
}


void
capture_ship_stop(struct capture_ship *ship, unsigned drain_ms)
{
    struct capture_ring_state  state;
    struct timespec            until;
    int64_t                    limit;

    limit = capture_mono_us() + (int64_t) drain_ms * MS;
    atomic_store(&ship->limit_us, limit);
    atomic_store(&ship->stopping, 1);
    ship_poke(ship);

    limit += JOIN_EXTRA_MS * MS;
    until.tv_sec = limit / SECOND;
    until.tv_nsec = limit % SECOND * 1000;

    if (pthread_clockjoin_np(ship->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
    {
        return;
    }

    if (!capture_ring_anonymous(ship->ring)
        && capture_ring_released(ship->ring)
           == capture_ring_committed(ship->ring))
    {
        capture_ring_state(ship->ring, &state);
        capture_zone_fold(ship->zone, &state, NULL);
    }

    capture_ring_destroy(ship->ring);
    ship_free(ship);
}


int
capture_ship_message(struct capture_ship *ship, int *level, char *buf,
    size_t size)
{
    return capture_note_take(&ship->notes, capture_mono_us(), level, buf,
                             size);
}
