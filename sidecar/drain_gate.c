/* A lock of many or one, with a time limit, where the one goes first. */

#include "drain_gate.h"

#include <time.h>

#include "clock.h"


void
drain_gate_init(struct drain_gate *g)
{
    pthread_condattr_t  attr;

    g->sharing = 0;
    g->waiting = 0;
    g->alone = false;

    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&g->changed, &attr);
    (void) pthread_condattr_destroy(&attr);
    (void) pthread_mutex_init(&g->lock, NULL);
}


void
drain_gate_cleanup(struct drain_gate *g)
{
    (void) pthread_cond_destroy(&g->changed);
    (void) pthread_mutex_destroy(&g->lock);
}


static bool
gate_is_open(const struct drain_gate *g, bool alone)
{
    return alone ? !g->alone && g->sharing == 0
                 : !g->alone && g->waiting == 0;
}


enum result
drain_gate_enter(struct drain_gate *g, bool alone, int64_t wait_us)
{
    struct timespec  ts;
    int64_t          until = clock_mono_us() + wait_us;
    bool             open;

    ts.tv_sec = (time_t) (until / 1000000);
    ts.tv_nsec = (long) (until % 1000000) * 1000;

    (void) pthread_mutex_lock(&g->lock);
    g->waiting += alone;

    while (!gate_is_open(g, alone)
           && pthread_cond_timedwait(&g->changed, &g->lock, &ts) == 0)
    {
        /* woken: look again */
    }

    open = gate_is_open(g, alone);
    g->waiting -= alone;

    if (open && alone) {
        g->alone = true;

    } else if (open) {
        g->sharing++;

    } else if (alone) {
        (void) pthread_cond_broadcast(&g->changed);
    }

    (void) pthread_mutex_unlock(&g->lock);
    return open ? RESULT_OK : RESULT_AGAIN;
}


void
drain_gate_leave(struct drain_gate *g, bool alone)
{
    (void) pthread_mutex_lock(&g->lock);

    if (alone) {
        g->alone = false;

    } else {
        g->sharing--;
    }

    (void) pthread_cond_broadcast(&g->changed);
    (void) pthread_mutex_unlock(&g->lock);
}
