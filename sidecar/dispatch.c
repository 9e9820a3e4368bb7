/*
 * The dispatch stage: starts and stops the claimer, the finisher and the
 * transports, and says how they do.  Deliveries pass from claimer to transport
 * to finisher; every one that was claimed reaches the finisher once.
 */

#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "clock.h"
#include "direct.h"
#include "dispatch_private.h"
#include "log.h"

#define DELIVERY_ARENA  (16 * 1024 * 1024)     /* a batch: 1000 logs */


int64_t
dispatch_now(const struct dispatch *d)
{
    return clock_wall_us() + atomic_load(&d->offset_us);
}


/* For jitter: splitmix64, seeded once a thread. */
uint32_t
dispatch_random(void)
{
    static _Thread_local uint64_t  state;
    uint64_t                       z;

    if (state == 0) {
        (void) !getrandom(&state, sizeof(state), 0);
        state |= 1;
    }

    z = state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t) (z >> 32);
}


struct delivery *
delivery_create(struct dispatch *d)
{
    struct delivery  *x;

    x = calloc(1, sizeof(*x));
    if (x != NULL) {
        x->d = d;
        arena_init(&x->arena, DELIVERY_ARENA);
    }

    return x;
}


void
delivery_destroy(struct delivery *x)
{
    if (x == NULL) {
        return;
    }

    send_destroy(x->send);

    if (x->pin != NULL) {
        routes_release(x->pin);
    }

    integration_free(x->direct);

    arena_cleanup(&x->arena);
    free(x);
}


bool
dispatch_stops(struct dispatch *d)
{
    bool  stops;

    pthread_mutex_lock(&d->lock);
    stops = d->stopping;
    pthread_mutex_unlock(&d->lock);

    return stops;
}


/* The conditions go by the monotonic clock: a set clock stalls nothing. */
void
dispatch_wait(struct dispatch *d, pthread_cond_t *cond, int64_t us)
{
    struct timespec  ts;
    int64_t          at = clock_mono_us() + us;

    ts.tv_sec = (time_t) (at / 1000000);
    ts.tv_nsec = (long) (at % 1000000) * 1000;
    (void) pthread_cond_timedwait(cond, &d->lock, &ts);
}


void
dispatch_done(struct dispatch *d, struct delivery *x)
{
    x->next = NULL;

    pthread_mutex_lock(&d->lock);
    dispatch_disown(x);
    *d->done_tail = x;
    d->done_tail = &x->next;
    (void) pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}


void
dispatch_give_back(struct delivery *x, int64_t at_us)
{
    x->give_back = true;
    x->back_us = at_us;
    dispatch_done(x->d, x);
}


void
dispatch_submit(struct delivery *x)
{
    x->send->owner = x;

    if (x->integration->transport == INTEGRATION_MLLP) {
        transport_mllp.submit(x->d->mllp, x->send);
    } else {
        transport_http.submit(x->d->http, x->send);
    }
}


/* What waited and was never sent; its send is made anew next time.  AT 0: each
 * at its own time. */
static void
give_back_list(struct limiter_wait *list, int64_t at_us)
{
    struct limiter_wait  *w;
    struct delivery      *x;

    while ((w = list) != NULL) {
        list = w->next;
        x = (struct delivery *) w;
        send_destroy(x->send);
        x->send = NULL;
        dispatch_give_back(x, at_us == 0 ? w->at_us : at_us);
    }
}


static void
tell_breaker(const struct delivery *x, enum limiter_change change)
{
    if (change != LIMITER_SAME) {
        log_write(change == LIMITER_OPENED ? LOG_WARN : LOG_NOTICE, "dispatch",
            "integration %.*s: circuit %s", SLICE_ARG(x->integration->id),
            change == LIMITER_OPENED ? "opened, its deliveries are held"
                                    : "closed");
    }
}


/* In the transport's thread: the slot is free for the next at once, what came
 * of this one goes to the finisher. */
static void
on_sent(void *arg, struct send *s)
{
    struct dispatch      *d = arg;
    struct delivery      *x = s->owner;
    struct limiter_end    end = { 0 };
    struct limiter_next   next;
    struct limiter_wait  *w;

    end.ok = s->outcome.kind == OUTCOME_DELIVERED
             || s->outcome.kind == OUTCOME_COMMITTED;
    end.charged = s->outcome.kind == OUTCOME_RETRY
                  && strcmp(s->outcome.reason, "proxy") != 0;
    end.hold_until_us = s->throttled ? s->outcome.earliest_us : 0;

    tell_breaker(x, limiter_leave(d->limits, x->integration->id, &x->wait,
        &end, dispatch_now(d), dispatch_random(), &next));

    while ((w = next.go) != NULL) {
        next.go = w->next;
        dispatch_submit((struct delivery *) w);
    }

    give_back_list(next.back, 0);
    dispatch_done(d, x);
}


void
dispatch_signal(struct dispatch *d)
{
    pthread_mutex_lock(&d->lock);
    d->woken = true;
    (void) pthread_cond_signal(&d->room);
    pthread_mutex_unlock(&d->lock);
}


void
dispatch_sweep(struct dispatch *d)
{
    pthread_mutex_lock(&d->lock);
    d->sweep = true;
    (void) pthread_cond_signal(&d->keep);
    pthread_mutex_unlock(&d->lock);
}


int64_t
dispatch_room(const struct dispatch *d)
{
    int64_t  left = d->config->dispatch_in_flight - d->in_flight;

    return left < 0 ? 0 : left;
}


int64_t
dispatch_reserve(const struct dispatch *d)
{
    return d->config->dispatch_in_flight / 4;
}


/* -- what is handed over ------------------------------------------------- */

/* What goes to the queue: the claimer knows then whose it is, and puts off what
 * is held without a look into the store. */
static bool
leave_to_queue(struct dispatch *d, const struct logdoc *log)
{
    if (!direct_is(log)) {
        limiter_note(d->limits, log->id, log->integration_id);
    }

    return false;
}


bool
dispatch_offer(struct dispatch *d, struct logdoc *log)
{
    int64_t  now = dispatch_now(d), room, kept = dispatch_reserve(d);
    bool     goes;

    if (log->status != LOG_PENDING) {
        return false;
    }

    if (log->lane.n > 0 || log->next_attempt_us > clock_wall_us()) {
        return leave_to_queue(d, log);
    }

    pthread_mutex_lock(&d->lock);
    room = dispatch_room(d);
    goes = d->idle && !d->stopping && room > kept;
    d->in_flight += goes;
    pthread_mutex_unlock(&d->lock);

    if (!goes) {
        return leave_to_queue(d, log);
    }

    if (limiter_held(d->limits, log->integration_id, room, room - kept, now,
            dispatch_random()) != 0)
    {
        dispatch_take(d, log, false);
        return leave_to_queue(d, log);
    }

    log->token = 1;
    log->attempts = 1;
    log->lease_until_us = now + d->config->dispatch_lease_us;
    return true;
}


void
dispatch_take(struct dispatch *d, const struct logdoc *log, bool kept)
{
    struct delivery  *x = kept ? delivery_create(d) : NULL;

    /* without memory its lease will end, and another try comes */
    if (x != NULL && logdoc_copy(&x->doc, log, &x->arena) != RESULT_OK) {
        delivery_destroy(x);
        x = NULL;
    }

    pthread_mutex_lock(&d->lock);

    if (x == NULL) {
        d->in_flight--;
        d->woken = d->woken || d->starved;

    } else {
        x->since_us = log->next_attempt_us;
        *d->handed_tail = x;
        d->handed_tail = &x->next;
        atomic_fetch_add(&d->claimed, 1);
    }

    (void) pthread_cond_signal(&d->room);
    pthread_mutex_unlock(&d->lock);
}


struct delivery *
dispatch_handed(struct dispatch *d)
{
    struct delivery  *list;

    pthread_mutex_lock(&d->lock);
    list = d->handed;
    d->handed = NULL;
    d->handed_tail = &d->handed;
    pthread_mutex_unlock(&d->lock);

    return list;
}


void
dispatch_wake(struct dispatch *d)
{
    dispatch_signal(d);
}


static enum result
guard_init(struct dispatch *d, char *err, size_t errlen)
{
    const char   *allow = d->config->outbound_allow;
    struct slice  at;

    if (netguard_allow(&d->guard, allow == NULL ? "" : allow, &at)
        != RESULT_OK)
    {
        (void) snprintf(err, errlen, "outbound_allow: \"%.*s\" is no address "
            "range; write such as 10.0.0.0/8 or fd00::/8", SLICE_ARG(at));
        return RESULT_INVALID;
    }

    return netguard_own(&d->guard);
}


static enum result
transports_start(struct dispatch *d)
{
    struct transport_config  c = {
        .guard = &d->guard,
        .max_connections = (unsigned) d->config->dispatch_in_flight,
        .stop_ms = (unsigned) (d->config->shutdown_timeout_us / 1000),
        .allow_ports = d->config->outbound_ports,
        .user_agent = "integrationd/1"
    };
    enum result  r;

    r = transport_http.start(&c, on_sent, d, &d->http);
    return r != RESULT_OK ? r : transport_mllp.start(&c, on_sent, d, &d->mllp);
}


static enum result
threads_start(struct dispatch *d)
{
    d->finisher_runs = pthread_create(&d->finisher, NULL, dispatch_finish_run,
        d) == 0;
    d->claimer_runs = d->finisher_runs
                      && pthread_create(&d->claimer, NULL, dispatch_claim_run,
                             d) == 0;
    d->keeper_runs = d->claimer_runs
                     && pthread_create(&d->keeper, NULL, dispatch_keep_run, d)
                            == 0;
    d->listener_runs = d->keeper_runs
                       && pthread_create(&d->listener, NULL,
                              dispatch_listen_run, d) == 0;

    return d->listener_runs ? RESULT_OK : RESULT_UNAVAILABLE;
}


static void
locks_init(struct dispatch *d)
{
    pthread_condattr_t  attr;

    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&d->lock, NULL);
    (void) pthread_cond_init(&d->work, &attr);
    (void) pthread_cond_init(&d->room, &attr);
    (void) pthread_cond_init(&d->keep, &attr);
    (void) pthread_cond_init(&d->listen, &attr);
    (void) pthread_condattr_destroy(&attr);
}


enum result
dispatch_start(const struct config *c, struct store *s, struct routes *routes,
    const struct secret *secret, struct dispatch **out, char *err,
    size_t errlen)
{
    struct dispatch  *d;
    enum result       r;

    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        (void) snprintf(err, errlen, "out of memory");
        return RESULT_MEMORY;
    }

    d->config = c;
    d->store = s;
    d->routes = routes;
    d->secret = secret;
    d->done_tail = &d->done;
    d->due = d->overdue = LOGDOC_NONE;
    d->handed_tail = &d->handed;
    locks_init(d);
    (void) snprintf(err, errlen, "dispatch cannot start");

    r = guard_init(d, err, errlen);
    r = r != RESULT_OK ? r : limiter_create(c->dispatch_probe_us, &d->limits);
    r = r != RESULT_OK ? r : redis_create(c, &d->claim_redis);
    r = r != RESULT_OK ? r : redis_create(c, &d->finish_redis);
    r = r != RESULT_OK ? r : redis_create(c, &d->keep_redis);
    r = r != RESULT_OK ? r : redis_create(c, &d->listen_redis);
    r = r != RESULT_OK ? r : transports_start(d);
    r = r != RESULT_OK ? r : threads_start(d);

    if (r != RESULT_OK) {
        dispatch_stop(d);
        d = NULL;
    }

    *out = d;
    return r;
}


static void *
stop_mllp(void *arg)
{
    transport_mllp.stop(arg);
    return NULL;
}


/* Both at once: together they have one shutdown_timeout. */
static void
transports_stop(struct dispatch *d)
{
    pthread_t  thread;
    bool       runs;

    runs = d->mllp != NULL
           && pthread_create(&thread, NULL, stop_mllp, d->mllp) == 0;
    transport_http.stop(d->http);

    if (runs) {
        (void) pthread_join(thread, NULL);
    } else {
        transport_mllp.stop(d->mllp);
    }
}


static void
threads_join(struct dispatch *d)
{
    struct delivery  *handed, *x;

    pthread_mutex_lock(&d->lock);
    d->stopping = true;
    (void) pthread_cond_broadcast(&d->room);
    (void) pthread_cond_broadcast(&d->keep);
    (void) pthread_cond_broadcast(&d->listen);
    pthread_mutex_unlock(&d->lock);

    if (d->claimer_runs) {
        (void) pthread_join(d->claimer, NULL);
    }

    if (d->keeper_runs) {
        (void) pthread_join(d->keeper, NULL);
    }

    handed = dispatch_handed(d);

    while ((x = handed) != NULL) {
        handed = x->next;
        dispatch_give_back(x, dispatch_now(d));
    }

    /* what was claimed and waits goes back at once; the transports end what is
     * in flight; all of it is then with the finisher */
    if (d->limits != NULL) {
        give_back_list(limiter_flush(d->limits), dispatch_now(d));
    }

    dispatch_renew_last(d);
    transports_stop(d);

    pthread_mutex_lock(&d->lock);
    d->ending = true;
    (void) pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);

    if (d->finisher_runs) {
        (void) pthread_join(d->finisher, NULL);
    }

    /* last: it may be waiting for Redis meanwhile */
    if (d->listener_runs) {
        (void) pthread_join(d->listener, NULL);
    }
}


void
dispatch_stop(struct dispatch *d)
{
    if (d == NULL) {
        return;
    }

    threads_join(d);
    redis_destroy(d->claim_redis);
    redis_destroy(d->finish_redis);
    redis_destroy(d->keep_redis);
    redis_destroy(d->listen_redis);
    limiter_destroy(d->limits);
    (void) pthread_cond_destroy(&d->work);
    (void) pthread_cond_destroy(&d->room);
    (void) pthread_cond_destroy(&d->keep);
    (void) pthread_cond_destroy(&d->listen);
    (void) pthread_mutex_destroy(&d->lock);
    free(d);
}


void
dispatch_stats(struct dispatch *d, struct dispatch_stats *out)
{
    memset(out, 0, sizeof(*out));

    out->claimed = atomic_load(&d->claimed);
    out->delivered = atomic_load(&d->delivered);
    out->retried = atomic_load(&d->retried);
    out->failed = atomic_load(&d->failed);
    out->rejected = atomic_load(&d->rejected);
    out->late = atomic_load(&d->late);
    out->given_back = atomic_load(&d->given_back);
    out->reconciled = atomic_load(&d->reconciled);
    out->held_lanes = atomic_load(&d->held_lanes);
    out->given_up = atomic_load(&d->given_up);
    out->last_us = atomic_load(&d->last_us);
    out->breakers_open = limiter_open(d->limits);
    out->due = atomic_load(&d->due);
    out->overdue = atomic_load(&d->overdue);

    pthread_mutex_lock(&d->lock);
    out->in_flight = d->in_flight;
    pthread_mutex_unlock(&d->lock);
}


struct each_integration {
    void  (*each)(void *arg, const struct limiter_state *s);
    void   *arg;
};


/* What is sent to an address of its own belongs to no integration. */
static void
each_unless_direct(void *arg, const struct limiter_state *s)
{
    const struct each_integration  *e = arg;

    if (strncmp(s->id, DIRECT_ID, strlen(DIRECT_ID)) != 0) {
        e->each(e->arg, s);
    }
}


void
dispatch_each(struct dispatch *d,
    void (*each)(void *arg, const struct limiter_state *s), void *arg)
{
    struct each_integration  e = { each, arg };

    limiter_each(d->limits, each_unless_direct, &e);
}
