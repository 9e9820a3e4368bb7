/*
 * What holds a destination back: how many sends are in flight, its rate
 * (GCRA, in Redis for all instances) and its circuit breaker.  One table in
 * memory, by integration; used by the claimer and the finisher under its own
 * lock.
 */

#ifndef LIMITER_H
#define LIMITER_H

#include "integration.h"
#include "redis.h"

struct limiter;

must_check enum result limiter_create(struct limiter **out);
void limiter_destroy(struct limiter *l);

/*
 * May a send to I begin at NOW?  0: yes, and it is counted in flight.  Else
 * the wall time when to ask again.  R may be NULL: the rate is not asked.
 */
int64_t limiter_enter(struct limiter *l, struct redis *r,
    const struct integration *i, int64_t now_us, uint32_t random);

/* The same question without entering: is it held for certain?  Then its
 * time, else 0.  Cheap: no Redis. */
int64_t limiter_held(struct limiter *l, struct slice id, int64_t now_us);

/* A counted send ended: opens or closes the breaker.  HOLD_UNTIL: others to
 * it wait as long (Retry-After), 0 none.  CHARGED false: not the endpoint's
 * fault.  Returns the state to tell people, once at each change. */
enum limiter_change { LIMITER_SAME, LIMITER_OPENED, LIMITER_CLOSED };
enum limiter_change limiter_leave(struct limiter *l, struct slice id, bool ok,
    bool charged, int64_t hold_until_us, int64_t now_us, uint32_t random);

/* Remembers which integration a log belongs to, for limiter_held by log. */
void limiter_note(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    struct slice integration_id);
bool limiter_noted(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    char integration_id[64]);

struct limiter_state {
    int64_t  in_flight, failures;          /* failures in a row */
    bool     open;
    int64_t  probe_us;                     /* the next probe, wall time */
};

/* For /integrations/{id} and /system; false: nothing is known. */
bool limiter_state(struct limiter *l, struct slice id,
    struct limiter_state *out);
int64_t limiter_open(struct limiter *l);     /* breakers that are open */

#endif /* LIMITER_H */
