/* The breaker and the batch size. */

#include "breaker.h"


void
breaker_fail(struct breaker *b, int64_t now_us, uint64_t random)
{
    int64_t  step = BREAKER_FIRST_US;

    for (unsigned i = 0; i < b->failures && step < BREAKER_LAST_US; i++) {
        step *= 2;
    }

    step = step > BREAKER_LAST_US ? BREAKER_LAST_US : step;
    b->open = true;
    b->failures++;
    b->next_us = now_us + (int64_t) (random % (uint64_t) (step + 1));
}


void
breaker_ok(struct breaker *b)
{
    b->open = false;
    b->failures = 0;
}


void
aimd_init(struct aimd *a, unsigned max)
{
    a->max = max;
    a->size = max;
}


void
aimd_ok(struct aimd *a)
{
    a->size += a->max / 10 + 1;
    a->size = a->size > a->max ? a->max : a->size;
}


void
aimd_fail(struct aimd *a)
{
    a->size = a->size > 1 ? a->size / 2 : 1;
}
