/*
 * The drain's threads.  Each is a consumer of its own: it first takes up what
 * it left pending, then reads what is new.  The first thread also trims the
 * stream, takes over what dead consumers left, and counts.
 */

#include "drain.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "consumer.h"
#include "drain_batch.h"
#include "drain_gate.h"
#include "log.h"
#include "queue.h"

#define DRAIN_TRIM_US    250000
#define DRAIN_COUNT_US   1000000
#define DRAIN_PING_US    5000000
#define DRAIN_IDLE_US    5000000           /* then memory is given back */
#define DRAIN_FORGET_US  (INT64_C(600) * 1000000)
#define DRAIN_GONE_US    (INT64_C(3600) * 1000000)
#define DRAIN_NAP_US     50000

struct drain_thread {
    struct drain       *drain;
    unsigned            number;
    pthread_t           thread;
    bool                running;
    struct redis       *redis;
    struct queue       *queue;
    struct drain_work  *work;
    bool                recover;           /* own pending entries are unknown */
    _Atomic bool        redis_up;
    int64_t             busy_us;           /* last work, monotonic */
};

struct drain {
    struct drain_shared   shared;
    struct drain_gate     gate;
    struct consumer      *consumer;
    struct drain_thread  *threads;
    unsigned              nthreads;
    _Atomic int64_t       lag, pending;
    int64_t               trim_us, count_us, reclaim_us, ping_us, forget_us;
    _Atomic bool          acked;           /* since the last trim */
};


static void
drain_nap(void)
{
    const struct timespec  nap = { 0, DRAIN_NAP_US * 1000 };

    (void) nanosleep(&nap, NULL);
}


/* Keeps and processes what was claimed or read. */
static enum result
drain_process(struct drain_thread *t, struct queue_batch *b)
{
    enum result  r;

    r = drain_work_run(t->work, b);
    queue_batch_cleanup(b);
    t->busy_us = clock_mono_us();
    t->drain->acked = true;
    t->recover = t->recover || r != RESULT_OK;
    return r;
}


/*
 * Until the gate lets the thread have entries in hand.  BATCH: what was read
 * already and is kept from looking abandoned.
 */
static enum result
drain_enter(struct drain_thread *t, bool alone, const struct queue_batch *batch)
{
    struct drain  *d = t->drain;
    int64_t        keep_us;
    enum result    r;

    keep_us = clock_mono_us() + d->shared.config->drain_min_idle_us / 3;

    do {
        drain_work_beat(t->work);
        r = drain_gate_enter(&d->gate, alone, DRAIN_NAP_US);

        if (r == RESULT_AGAIN && d->shared.stop) {
            return RESULT_UNAVAILABLE;
        }

        if (batch != NULL && clock_mono_us() >= keep_us) {
            keep_us = clock_mono_us() + d->shared.config->drain_min_idle_us / 3;
            (void) queue_keep(t->queue, batch->entries, batch->n);
        }
    } while (r == RESULT_AGAIN);

    return r;
}


/* One listed entry is over the bound alone: nothing may read it. */
static enum result
drain_oversize(struct drain_thread *t, const struct queue_pending *p)
{
    struct queue_entry  e;
    char                reason[96];

    memset(&e, 0, sizeof(e));
    memcpy(e.id, p->id, sizeof(e.id));
    e.deliveries = p->deliveries;
    (void) snprintf(reason, sizeof(reason), "has more than %zu bytes",
        drain_work_max(t->work));
    return drain_work_bury(t->work, &e, reason);
}


/* How many of the list may go together; suspects go alone. */
static size_t
drain_run_length(struct drain_thread *t, const struct queue_pending *list,
    size_t n)
{
    size_t  run, most = drain_work_count(t->work);

    for (run = 0; run < n && run < most
         && list[run].deliveries < DRAIN_SUSPECT; run++)
    {
        /* void */
    }

    return run == 0 ? 1 : run;
}


static enum result
drain_claim_run(struct drain_thread *t, const struct queue_pending *list,
    size_t run, int64_t min_idle_us)
{
    struct queue_batch  b;
    enum result         r;

    r = queue_claim(t->queue, list, run, min_idle_us, drain_work_max(t->work),
        &b);

    if (r == RESULT_TOO_BIG) {
        if (run == 1) {
            return drain_oversize(t, list);
        }

        r = drain_claim_run(t, list, run / 2, min_idle_us);
        return r == RESULT_OK ? drain_claim_run(t, list + run / 2,
                                    run - run / 2, min_idle_us)
                              : r;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (min_idle_us == 0 && b.n < run) {
        log_write(LOG_ERROR, "drain", "ALERT %zu pending entries are no longer "
            "in the stream", run - b.n);

    } else if (min_idle_us > 0) {
        t->drain->shared.reclaimed += b.n;
    }

    return drain_process(t, &b);
}


/* To be claimed counts as a delivery: not before the gate is open. */
static enum result
drain_take_run(struct drain_thread *t, const struct queue_pending *list,
    size_t run, int64_t min_idle_us)
{
    bool         alone = list[0].deliveries >= DRAIN_SUSPECT;
    enum result  r;

    r = drain_enter(t, alone, NULL);
    if (r == RESULT_OK) {
        r = drain_claim_run(t, list, run, min_idle_us);
        drain_gate_leave(&t->drain->gate, alone);
    }

    return r;
}


static enum result
drain_take_list(struct drain_thread *t, const struct queue_pending *list,
    size_t n, int64_t min_idle_us)
{
    size_t       run;
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i += run) {
        run = drain_run_length(t, list + i, n - i);
        r = t->drain->shared.stop ? RESULT_UNAVAILABLE
                                  : drain_take_run(t, list + i, run,
                                        min_idle_us);
    }

    return r;
}


/* Own pending entries (MIN_IDLE_US 0), or what others left. */
static enum result
drain_take_pending(struct drain_thread *t, int64_t min_idle_us)
{
    struct queue_pending  list[QUEUE_PAGE];
    char                  after[QUEUE_ID] = "";
    size_t                n = 1;
    enum result           r = RESULT_OK;

    while (r == RESULT_OK && n > 0) {
        drain_work_beat(t->work);
        r = queue_list(t->queue, after, min_idle_us, list, &n);

        if (r == RESULT_OK && n > 0) {
            memcpy(after, list[n - 1].id, sizeof(after));
            r = drain_take_list(t, list, n, min_idle_us);
        }
    }

    return r;
}


static void
drain_count(struct drain *d, struct drain_thread *t)
{
    int64_t  lag, pending;

    if (queue_trim(t->queue, &lag, &pending) == RESULT_OK) {
        d->lag = lag;
        d->pending = pending;
    }
}


/* What one thread does for all. */
static void
drain_maintain(struct drain *d, struct drain_thread *t)
{
    int64_t  now = clock_mono_us();

    if (now >= d->count_us || (d->acked && now >= d->trim_us)) {
        d->acked = false;
        d->count_us = now + DRAIN_COUNT_US;
        d->trim_us = now + DRAIN_TRIM_US;
        drain_count(d, t);
    }

    if (now >= d->reclaim_us) {
        d->reclaim_us = now + d->shared.config->drain_reclaim_us;
        (void) drain_take_pending(t, d->shared.config->drain_min_idle_us);
    }

    if (now >= d->forget_us) {
        d->forget_us = now + DRAIN_FORGET_US;
        (void) queue_forget(t->queue, DRAIN_GONE_US);
    }

    if (now >= d->ping_us) {
        d->ping_us = now + DRAIN_PING_US;
        drain_work_ping(t->work);
    }
}


static void
drain_turn(struct drain_thread *t)
{
    struct drain        *d = t->drain;
    struct queue_batch   b;
    enum result          r;

    drain_work_beat(t->work);

    if (t->recover) {
        t->recover = false;
        r = drain_take_pending(t, 0);
        t->recover = t->recover || r != RESULT_OK;
        t->redis_up = r == RESULT_OK;

        if (r != RESULT_OK) {
            drain_nap();
            return;
        }
    }

    r = queue_read(t->queue, drain_work_count(t->work),
        drain_work_max(t->work), &b);

    switch (r) {

    case RESULT_OK:
        t->redis_up = true;

        if (drain_enter(t, false, &b) == RESULT_OK) {
            (void) drain_process(t, &b);
            drain_gate_leave(&d->gate, false);

        } else {
            queue_batch_cleanup(&b);       /* stopping: it stays pending */
        }

        break;

    case RESULT_AGAIN:
        t->redis_up = true;
        d->shared.last_us = drain_work_store_up(t->work) ? clock_wall_us()
                                                    : d->shared.last_us;
        if (clock_mono_us() - t->busy_us > DRAIN_IDLE_US) {
            drain_work_idle(t->work);
        }

        break;

    case RESULT_TOO_BIG:
        t->recover = true;                 /* pending now: one by one */
        break;

    default:
        t->redis_up = false;
        t->recover = true;
        drain_nap();
    }

    if (t->number == 0 && t->redis_up) {
        drain_maintain(d, t);
    }
}


static void *
drain_main(void *arg)
{
    struct drain_thread  *t = arg;
    char                  name[16];

    (void) snprintf(name, sizeof(name), "drain-%u", t->number);
    (void) pthread_setname_np(pthread_self(), name);

    while (!t->drain->shared.stop) {
        drain_turn(t);
    }

    /* what was just acknowledged need not wait for the next start */
    if (t->number == 0 && t->redis_up) {
        drain_count(t->drain, t);
    }

    return NULL;
}


static enum result
drain_thread_start(struct drain *d, unsigned number)
{
    struct drain_thread  *t = &d->threads[number];
    char                  name[192];
    enum result           r;

    t->drain = d;
    t->number = number;
    t->recover = true;
    (void) snprintf(name, sizeof(name), "%s/%u", consumer_name(d->consumer),
        number);

    r = redis_create(d->shared.config, &t->redis);
    r = r == RESULT_OK ? queue_create(d->shared.config, t->redis,
                             d->shared.config->capture_stream, name,
                             &t->queue)
                       : r;
    r = r == RESULT_OK ? drain_work_create(&d->shared, t->redis, t->queue,
                             &t->work)
                       : r;

    if (r == RESULT_OK
        && pthread_create(&t->thread, NULL, drain_main, t) != 0)
    {
        r = RESULT_MEMORY;
    }

    t->running = r == RESULT_OK;
    return r;
}


enum result
drain_start(const struct config *c, struct store *s, struct catalog *cat,
    const struct secret *secret, struct drain **out)
{
    struct drain  *d;
    enum result    r;

    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return RESULT_MEMORY;
    }

    drain_gate_init(&d->gate);
    d->shared.config = c;
    d->shared.store = s;
    d->shared.catalog = cat;
    d->shared.secret = secret;
    d->shared.last_us = clock_wall_us();
    d->lag = -1;
    d->reclaim_us = clock_mono_us() + c->drain_reclaim_us;
    d->forget_us = clock_mono_us() + DRAIN_FORGET_US;
    drain_set_retention(d, c->retention_ok_us, c->retention_fail_us,
        c->retention_dead_us);

    d->nthreads = (unsigned) c->drain_threads;
    d->threads = calloc(d->nthreads, sizeof(*d->threads));
    r = d->threads == NULL ? RESULT_MEMORY : consumer_create(c, &d->consumer);

    for (unsigned i = 0; i < d->nthreads && r == RESULT_OK; i++) {
        r = drain_thread_start(d, i);
    }

    if (r != RESULT_OK) {
        drain_stop(d);
        return r;
    }

    *out = d;
    return RESULT_OK;
}


void
drain_stop(struct drain *d)
{
    if (d == NULL) {
        return;
    }

    d->shared.stop = true;

    for (unsigned i = 0; d->threads != NULL && i < d->nthreads; i++) {
        if (d->threads[i].running) {
            (void) pthread_join(d->threads[i].thread, NULL);
        }

        drain_work_destroy(d->threads[i].work);
        queue_destroy(d->threads[i].queue);
        redis_destroy(d->threads[i].redis);
    }

    drain_gate_cleanup(&d->gate);
    consumer_destroy(d->consumer);
    free(d->threads);
    free(d);
}


void
drain_set_retention(struct drain *d, int64_t ok_us, int64_t fail_us,
    int64_t dead_us)
{
    d->shared.retention_ok_us = ok_us;
    d->shared.retention_fail_us = fail_us;
    d->shared.retention_dead_us = dead_us;
}


void
drain_stats(struct drain *d, struct drain_stats *out)
{
    struct drain_thread  *t;
    int64_t               beat;

    memset(out, 0, sizeof(*out));
    out->read = d->shared.read;
    out->stored = d->shared.stored;
    out->same = d->shared.same;
    out->dead = d->shared.dead;
    out->errors = d->shared.errors;
    out->reclaimed = d->shared.reclaimed;
    out->batches = d->shared.batches;
    out->lag = d->lag;
    out->pending = d->pending;
    out->last_us = d->shared.last_us;
    out->store_up = true;
    out->redis_up = true;
    out->beat_us = INT64_MAX;

    for (unsigned i = 0; i < d->nthreads; i++) {
        t = &d->threads[i];
        out->store_up = out->store_up && drain_work_store_up(t->work);
        out->redis_up = out->redis_up && t->redis_up;
        beat = drain_work_beat_us(t->work);
        out->beat_us = beat < out->beat_us ? beat : out->beat_us;
    }
}
