/*
 * What holds a destination back: how many sends are in flight, its rate
 * (GCRA, in Redis for all instances) and its circuit breaker.  One table in
 * memory, by integration, under its own lock.  It also keeps what waits for a
 * free slot, so that a claimed delivery goes on without a look at the queue.
 */

#ifndef LIMITER_H
#define LIMITER_H

#include "integration.h"
#include "redis.h"

struct limiter;

/* PROBE: after how long an open breaker lets the first send through. */
must_check enum result limiter_create(int64_t probe_us, struct limiter **out);
void limiter_destroy(struct limiter *l);

struct limiter_wait {                      /* part of what is sent */
    struct limiter_wait  *next;
    int64_t               at_us;           /* since when it waits or is in
                                              flight; back: when to come */
};

enum limiter_answer {
    LIMITER_GO,                            /* counted in flight */
    LIMITER_WAIT,                          /* W is kept: limiter_leave or
                                              limiter_flush give it back */
    LIMITER_LATER                          /* ask again at *until_us */
};

/*
 * May a send to I begin at NOW?  FREE: how many more this process takes in
 * hand; one destination sends half of it at once, so that slow ones leave some.
 * ROOM: how many of them may wait.  R may be NULL: the rate is not asked.
 */
enum limiter_answer limiter_enter(struct limiter *l, struct redis *r,
    const struct integration *i, struct limiter_wait *w, int64_t free,
    int64_t room, int64_t now_us, uint32_t random, int64_t *until_us);

/* The same question without entering: is it held for certain?  Then its
 * time, else 0.  Cheap: no Redis. */
int64_t limiter_held(struct limiter *l, struct slice id, int64_t free,
    int64_t room, int64_t now_us, uint32_t random);

struct limiter_end {                       /* of a send that was counted */
    bool     ok;
    bool     charged;                      /* a failure of the endpoint */
    int64_t  hold_until_us;                /* others to it wait as long, or 0 */
};

enum limiter_change { LIMITER_SAME, LIMITER_OPENED, LIMITER_CLOSED };

struct limiter_next {                      /* what became of the waiting */
    struct limiter_wait  *go;              /* counted in flight: send them */
    struct limiter_wait  *back;            /* a list: they come at at_us */
};

/* Opens or closes the breaker; the change is to be told once. */
enum limiter_change limiter_leave(struct limiter *l, struct slice id,
    const struct limiter_wait *w, const struct limiter_end *end,
    int64_t now_us, uint32_t random, struct limiter_next *next);

/* All that wait, and nothing waits any more: we are stopping. */
struct limiter_wait *limiter_flush(struct limiter *l);

/* Remembers which integration a log belongs to, for limiter_held by log. */
void limiter_note(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    struct slice integration_id);
bool limiter_noted(struct limiter *l, const uint8_t log_id[UUID_BYTES],
    char integration_id[64]);

struct limiter_state {
    char     id[64];
    int64_t  in_flight, waiting, failures; /* failures in a row */
    bool     open;
    int64_t  probe_us;                     /* the next probe, wall time */
    int64_t  fail_since_us;                /* only failures since; 0: none */
    int64_t  fail_last_us, ok_last_us;     /* 0: none */
};

/* For /integrations/{id} and /system; false: nothing is known. */
bool limiter_state(struct limiter *l, struct slice id,
    struct limiter_state *out);
int64_t limiter_open(struct limiter *l);     /* breakers that are open */

/* Calls EACH for every known integration, with a copy. */
void limiter_each(struct limiter *l,
    void (*each)(void *arg, const struct limiter_state *s), void *arg);

/* Failures so far no longer count: somebody else had success. */
void limiter_forgive(struct limiter *l, struct slice id);

#endif /* LIMITER_H */
