/*
 * When to try again what is away: a breaker with full jitter, and a batch size
 * that grows by steps and halves (AIMD).  Pure: clock and random come in.
 */

#ifndef BREAKER_H
#define BREAKER_H

#include <stdbool.h>
#include <stdint.h>

#define BREAKER_FIRST_US  100000
#define BREAKER_LAST_US   30000000

struct breaker {
    bool      open;
    unsigned  failures;                    /* in a row */
    int64_t   next_us;                     /* no probe before */
};

/* A failure at NOW: anything up to the doubled step from now on. */
void breaker_fail(struct breaker *b, int64_t now_us, uint64_t random);
void breaker_ok(struct breaker *b);

struct aimd {
    unsigned  size, max;
};

void aimd_init(struct aimd *a, unsigned max);
void aimd_ok(struct aimd *a);              /* a step of a tenth more */
void aimd_fail(struct aimd *a);            /* half, at least 1 */

#endif /* BREAKER_H */
