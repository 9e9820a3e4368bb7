/* Routes and a small pool of acceptors. */

#include "outbound.h"

#include <pthread.h>
#include <stdlib.h>

struct outbound {
    struct routes    *routes;
    struct events   **events;
    unsigned          n, free;
    pthread_mutex_t   lock;
    pthread_cond_t    given;
    void            (*wake)(void *arg);
    void             *arg;
    struct event_counters  counters;
    struct intake    *intake;              /* NULL: none reads here */
};


enum result
outbound_create(const struct config *c, struct store *s,
    const struct secret *secret, unsigned acceptors, struct outbound **out)
{
    struct outbound  *o;
    enum result       r;

    o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return RESULT_MEMORY;
    }

    (void) pthread_mutex_init(&o->lock, NULL);
    (void) pthread_cond_init(&o->given, NULL);
    o->events = calloc(acceptors, sizeof(*o->events));
    r = o->events == NULL ? RESULT_MEMORY : routes_create(s, &o->routes);

    while (r == RESULT_OK && o->n < acceptors) {
        r = events_create(c, s, o->routes, secret, &o->events[o->n]);

        if (r == RESULT_OK) {
            events_count(o->events[o->n++], &o->counters);
        }
    }

    o->free = o->n;

    if (r != RESULT_OK) {
        outbound_destroy(o);
        return r;
    }

    *out = o;
    return RESULT_OK;
}


void
outbound_destroy(struct outbound *o)
{
    if (o == NULL) {
        return;
    }

    for (unsigned i = 0; i < o->n; i++) {
        events_destroy(o->events[i]);
    }

    routes_destroy(o->routes);
    (void) pthread_cond_destroy(&o->given);
    (void) pthread_mutex_destroy(&o->lock);
    free(o->events);
    free(o);
}


struct routes *
outbound_routes(struct outbound *o)
{
    return o->routes;
}


struct event_counters *
outbound_counters(struct outbound *o)
{
    return &o->counters;
}


void
outbound_intake(struct outbound *o, struct intake *i)
{
    o->intake = i;
}


bool
outbound_intake_stats(struct outbound *o, struct intake_stats *out)
{
    if (o->intake != NULL) {
        intake_stats(o->intake, out);
    }

    return o->intake != NULL;
}


struct events *
outbound_take(struct outbound *o)
{
    struct events  *e;

    pthread_mutex_lock(&o->lock);

    while (o->free == 0) {
        (void) pthread_cond_wait(&o->given, &o->lock);
    }

    e = o->events[--o->free];
    pthread_mutex_unlock(&o->lock);

    return e;
}


void
outbound_give(struct outbound *o, struct events *e)
{
    pthread_mutex_lock(&o->lock);
    o->events[o->free++] = e;
    (void) pthread_cond_signal(&o->given);
    pthread_mutex_unlock(&o->lock);
}


void
outbound_on_work(struct outbound *o, void (*wake)(void *arg), void *arg)
{
    o->wake = wake;
    o->arg = arg;
}


void
outbound_work(struct outbound *o)
{
    if (o->wake != NULL) {
        o->wake(o->arg);
    }
}


void
outbound_taker(struct outbound *o, const struct event_taker *taker)
{
    for (unsigned i = 0; i < o->n; i++) {
        events_taker(o->events[i], taker);
    }
}
