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

#include "ngx_http_capture_ship_private.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS         50
#define AWAY_POLL_MS    10                 /* with a ring that fills */
#define GATHER_MS       10                 /* between batches that are small */
#define GATHER_BYTES    (CAPTURE_BATCH_BYTES / 2)
#define FSYNC_PERIOD    (250 * MS)
#define FOLD_PERIOD     SECOND
#define JOIN_EXTRA_MS   1000
#define THREAD_STACK    (1024 * 1024)


/* Sending */

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
        capture_ship_pause(ship, now, BUSY_WAIT);
    }

    if (b->n == 0 && !b->asks_fsync) {
        if (ship->replaying) {
            capture_spool_flush(ship->spool,
                                capture_redis_run_id(ship->redis), now);
        }

        capture_ship_ping(ship, now);
        return 0;
    }

    capture_ship_judge(ship, capture_batch_exchange(b, ship->redis));
    return b->n > 0;
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
        capture_ship_lost(ship, capture_mono_us());
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
        capture_ship_orphan_done(ship);
    }

    capture_ship_tend_spool(ship, now);
    capture_ship_adopt(ship, now);
    ship_fold_anonymous(ship, now);

    if (now >= ship->resume_us) {
        if (!ship->up) {
            capture_ship_connect(ship, now);
        }

        if (ship->up && now >= ship->resume_us) {
            sent = ship_send(ship, now);
        }
    }

    spooled = capture_ship_spool(ship, capture_mono_us());

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


/* What is left in a file is adopted; anonymous memory ends here. */
static void
ship_finish(struct capture_ship *ship)
{
    struct capture_cursor  c;
    uint64_t               left;

    capture_ship_spool_rest(ship);
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
    ship->redis = capture_redis_create(&conf->redis, ship->wakefd,
                                       &ship->limit_us);
    capture_source_init(&ship->own, ring, 0, now);

    if (encoder == NULL || ship->ring_dir == NULL || ship->redis == NULL) {
        goto failed;
    }

    capture_redis_on_silence(ship->redis, capture_ship_pressed, ship);

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
