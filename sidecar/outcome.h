/*
 * What one attempt came to.  Transports say it, retry.c alone decides what
 * follows.  Plain record.
 */

#ifndef OUTCOME_H
#define OUTCOME_H

#include <stdint.h>

enum outcome_kind {
    OUTCOME_DELIVERED,                     /* the peer has it and said so */
    OUTCOME_COMMITTED,                     /* HL7: safe there, not processed */
    OUTCOME_RETRY,                         /* may pass later */
    OUTCOME_REJECTED,                      /* will never pass */
    OUTCOME_NOT_SENT                       /* our own fault: no attempt used */
};

struct outcome {
    enum outcome_kind  kind;
    const char        *reason;             /* static: "http_5xx", .. */
    int64_t            earliest_us;        /* Retry-After as wall time, or 0 */
    unsigned           tries_cap;          /* at most so many tries, 0: none */
};

#endif /* OUTCOME_H */
