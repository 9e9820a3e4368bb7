/*
 * Who may have entries in hand: many threads ordinary ones, or one thread a
 * suspect, alone in the process.  An entry that kills the process then takes
 * no neighbour's deliveries with it: of what else is in hand only ordinary
 * ones can be hit, which become suspects by it and are alone from then on.
 */

#ifndef DRAIN_GATE_H
#define DRAIN_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "result.h"

struct drain_gate {
    pthread_mutex_t  lock;
    pthread_cond_t   changed;
    unsigned         sharing;              /* threads with ordinary entries */
    unsigned         waiting;              /* threads with a suspect to try */
    bool             alone;                /* a suspect is in hand */
};

void drain_gate_init(struct drain_gate *g);
void drain_gate_cleanup(struct drain_gate *g);

/* Waits for WAIT_US at most; RESULT_AGAIN: not yet.  ALONE goes first. */
must_check enum result drain_gate_enter(struct drain_gate *g, bool alone,
    int64_t wait_us);
void drain_gate_leave(struct drain_gate *g, bool alone);

#endif /* DRAIN_GATE_H */
