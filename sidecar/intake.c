/*
 * One thread, one consumer: takes up what it left pending, then reads what is
 * new, and now and then takes over what dead consumers left.  An entry is
 * acknowledged when its event is durable or when it can never be one and lies
 * with the dead letters; while the store is away it waits and is not counted.
 */

#include "intake.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "callback.h"
#include "clock.h"
#include "consumer.h"
#include "deadletter.h"
#include "log.h"
#include "queue.h"

#define READ_COUNT    64
#define READ_BYTES    (8 * 1024 * 1024)
#define NAP_US        INT64_C(100000)
#define KEEP_US       INT64_C(5000000)     /* while the store is away */
#define TRIM_US       INT64_C(1000000)
#define MEND_LAG_US   INT64_C(5000000)
#define EVENT_ARENA   (64 * 1024 * 1024)

struct intake {
    const struct config  *config;
    struct store         *store;
    struct events        *events;
    struct redis         *redis;
    struct consumer      *consumer;
    struct queue         *queue;
    void                (*wake)(void *arg);
    void                 *arg;
    pthread_t             thread;
    bool                  runs;
    _Atomic bool          stop;
    bool                  recover;         /* own pending ones are unknown */
    bool                  mended_once;
    int64_t               trim_us, reclaim_us, mend_us;
    _Atomic uint64_t      accepted, dead, mended;
    _Atomic int64_t       lag, pending;
};


static void
nap(void)
{
    const struct timespec  ts = { 0, NAP_US * 1000 };

    (void) nanosleep(&ts, NULL);
}


/* -- one entry ----------------------------------------------------------- */

/* The value of field "event"; p NULL when it is not alone there. */
static struct slice
entry_event(const struct queue_entry *e)
{
    return e->fields != NULL && e->nfields == 2
        && slice_eq(e->fields[0], SLICE_LIT("event")) ? e->fields[1]
                                                      : SLICE_NONE;
}


/* An id alone may come again after Redis lost its memory. */
static void
entry_key(const struct queue_entry *e, struct slice json, char key[128])
{
    uint8_t  digest[32];
    int      n;

    (void) EVP_Digest(json.p, json.n, digest, NULL, EVP_sha256(), NULL);
    n = snprintf(key, 128, "entry:%s:", e->id);

    for (int i = 0; i < 16; i++) {
        n += snprintf(key + n, 128 - (size_t) n, "%02x", digest[i]);
    }
}


static enum result
accept_entry(struct intake *t, const struct queue_entry *e, char *why,
    size_t len)
{
    struct event_caller    caller = { .scope = { .platform = true } };
    struct event_accepted  accepted;
    struct event_fault     fault;
    struct arena           a;
    struct slice           json = entry_event(e);
    char                   key[128];
    enum result            r;

    if (json.p == NULL) {
        (void) snprintf(why, len, "has not one field, named event");
        return RESULT_INVALID;
    }

    entry_key(e, json, key);
    caller.id = SLICE_LIT("stream");
    caller.key = slice_of(key);
    arena_init(&a, EVENT_ARENA);
    r = event_accept(t->events, &caller, json, &a, &accepted, &fault);

    if (r == RESULT_INVALID) {
        (void) snprintf(why, len, "%s: %s", fault.pointer, fault.detail);

    } else if (r == RESULT_CONFLICT) {
        (void) snprintf(why, len, "#/idempotency_key: was used with another "
            "event");

    } else if (r == RESULT_OK) {
        atomic_fetch_add(&t->accepted, !accepted.repeated);

        if (accepted.queued) {
            t->wake(t->arg);
        }
    }

    arena_cleanup(&a);
    return r;
}


static enum result
bury(struct intake *t, const struct queue_entry *e, const char *why)
{
    enum result  r;

    r = deadletter_put(t->store, t->config->events_stream, e, why,
        t->config->retention_dead_us);
    atomic_fetch_add(&t->dead, r == RESULT_OK);
    return r;
}


/* The entry's fate is durable when this is RESULT_OK. */
static enum result
take_entry(struct intake *t, const struct queue_entry *e)
{
    char         why[400] = "";
    enum result  r;

    if (e->fields == NULL) {
        return RESULT_OK;                  /* trimmed by somebody's hand */
    }

    if (e->deliveries >= t->config->drain_max_deliveries) {
        return bury(t, e, "was not accepted by the last delivery");
    }

    r = accept_entry(t, e, why, sizeof(why));
    return r == RESULT_INVALID || r == RESULT_CONFLICT ? bury(t, e, why) : r;
}


/* Until it is durable or we stop; the rest of the batch is kept meanwhile. */
static enum result
insist(struct intake *t, const struct queue_entry *e, size_t left)
{
    int64_t      kept_us = clock_mono_us();
    enum result  r;

    while ((r = take_entry(t, e)) != RESULT_OK && !t->stop) {
        log_rate(LOG_WARN, "intake", "events wait: %s", result_text(r));
        nap();

        if (clock_mono_us() - kept_us > KEEP_US) {
            (void) queue_keep(t->queue, e, left);
            kept_us = clock_mono_us();
        }
    }

    return r;
}


static enum result
take_batch(struct intake *t, struct queue_batch *b)
{
    size_t       done = 0;
    enum result  r = RESULT_OK;

    while (done < b->n && r == RESULT_OK && !t->stop) {
        r = insist(t, &b->entries[done], b->n - done);
        done += r == RESULT_OK;
    }

    if (done > 0 && queue_ack(t->queue, b->entries, done) != RESULT_OK) {
        t->recover = true;                 /* they come again and are known */
    }

    queue_batch_cleanup(b);
    t->recover = t->recover || r != RESULT_OK;
    return r;
}


/* -- what is pending ----------------------------------------------------- */

static enum result
take_listed(struct intake *t, const struct queue_pending *p,
    int64_t min_idle_us)
{
    struct queue_entry  e = { .deliveries = p->deliveries };
    struct queue_batch  b;
    enum result         r;

    r = queue_claim(t->queue, p, 1, min_idle_us, READ_BYTES, &b);

    if (r == RESULT_TOO_BIG) {
        memcpy(e.id, p->id, sizeof(e.id));
        r = bury(t, &e, "is longer than 8 MB");
        return r != RESULT_OK ? r : queue_ack(t->queue, &e, 1);
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (b.n == 0) {
        queue_batch_cleanup(&b);

        /* ours and no longer in the stream: nothing can be done with it */
        memcpy(e.id, p->id, sizeof(e.id));
        return min_idle_us > 0 ? RESULT_OK : queue_ack(t->queue, &e, 1);
    }

    return take_batch(t, &b);
}


static enum result
take_pending(struct intake *t, int64_t min_idle_us)
{
    struct queue_pending  list[QUEUE_PAGE];
    char                  after[QUEUE_ID] = "";
    size_t                n = 1;
    enum result           r = RESULT_OK;

    while (r == RESULT_OK && n > 0 && !t->stop) {
        r = queue_list(t->queue, after, min_idle_us, list, &n);

        for (size_t i = 0; i < n && r == RESULT_OK && !t->stop; i++) {
            r = take_listed(t, &list[i], min_idle_us);
            memcpy(after, list[i].id, sizeof(after));
        }
    }

    return r;
}


/* -- the thread ---------------------------------------------------------- */

static void
mend(struct intake *t)
{
    unsigned     n = 0, called = 0;
    enum result  r;

    r = events_mend(t->events, clock_wall_us()
        - (t->mended_once ? MEND_LAG_US : 0), !t->mended_once, &n);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "intake", "events cannot be looked through: %s",
            result_text(r));
        return;
    }

    r = callback_sweep(t->store, t->config, t->redis, &called);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "intake", "callbacks cannot be looked through: %s",
            result_text(r));
        return;
    }

    t->mended_once = true;
    t->mend_us = clock_mono_us() + t->config->dispatch_reconcile_us;
    atomic_fetch_add(&t->mended, n);

    if (called > 0) {
        t->wake(t->arg);
    }

    if (n > 0) {
        log_write(LOG_NOTICE, "intake", "%u events that a crash had left "
            "without deliveries were completed", n);
        t->wake(t->arg);
    }
}


static void
maintain(struct intake *t)
{
    int64_t  now = clock_mono_us(), lag, pending;

    if (now >= t->trim_us) {
        t->trim_us = now + TRIM_US;

        if (queue_trim(t->queue, &lag, &pending) == RESULT_OK) {
            t->lag = lag;
            t->pending = pending;
        }
    }

    if (now >= t->reclaim_us) {
        t->reclaim_us = now + t->config->drain_reclaim_us;
        (void) !take_pending(t, t->config->drain_min_idle_us);
    }
}


static void
turn(struct intake *t)
{
    struct queue_batch  b;
    enum result         r = RESULT_OK;

    if (clock_mono_us() >= t->mend_us) {
        mend(t);
    }

    if (t->recover) {
        t->recover = false;
        r = take_pending(t, 0);
    }

    r = r != RESULT_OK ? r : queue_read(t->queue, READ_COUNT, READ_BYTES, &b);

    switch (r) {

    case RESULT_OK:
        (void) !take_batch(t, &b);
        break;

    case RESULT_AGAIN:
        break;

    default:
        t->recover = true;                 /* TOO_BIG: pending, one by one */
        nap();
        return;
    }

    maintain(t);
}


static void *
intake_main(void *arg)
{
    struct intake  *t = arg;

    (void) pthread_setname_np(pthread_self(), "intake");

    while (!t->stop) {
        turn(t);
    }

    return NULL;
}


enum result
intake_start(const struct config *c, struct store *s, struct routes *routes,
    const struct secret *secret, void (*wake)(void *arg), void *arg,
    const struct event_taker *taker, struct event_counters *counters,
    struct intake **out)
{
    struct intake  *t;
    enum result     r;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->config = c;
    t->store = s;
    t->wake = wake;
    t->arg = arg;
    t->recover = true;
    t->lag = t->pending = -1;

    r = events_create(c, s, routes, secret, &t->events);
    r = r != RESULT_OK ? r : redis_create(c, &t->redis);
    r = r != RESULT_OK ? r : consumer_create(c, &t->consumer);
    r = r != RESULT_OK ? r : queue_create(c, t->redis, c->events_stream,
        consumer_name(t->consumer), &t->queue);

    if (r == RESULT_OK) {
        events_taker(t->events, taker);
        events_count(t->events, counters);
        t->runs = pthread_create(&t->thread, NULL, intake_main, t) == 0;
        r = t->runs ? RESULT_OK : RESULT_MEMORY;
    }

    if (r != RESULT_OK) {
        intake_stop(t);
        return r;
    }

    *out = t;
    return RESULT_OK;
}


void
intake_stop(struct intake *t)
{
    if (t == NULL) {
        return;
    }

    t->stop = true;

    if (t->runs) {
        (void) pthread_join(t->thread, NULL);
    }

    queue_destroy(t->queue);
    consumer_destroy(t->consumer);
    redis_destroy(t->redis);
    events_destroy(t->events);
    free(t);
}


void
intake_stats(struct intake *t, struct intake_stats *out)
{
    out->accepted = t->accepted;
    out->dead = t->dead;
    out->mended = t->mended;
    out->lag = t->lag;
    out->pending = t->pending;
}
