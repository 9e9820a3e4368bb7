/* The few results that calls in the sidecar end in, and what each means. */

#ifndef RESULT_H
#define RESULT_H

#define must_check __attribute__((warn_unused_result))

enum result {
    RESULT_OK = 0,
    RESULT_AGAIN,          /* nothing there now; ask again later */
    RESULT_NOT_FOUND,      /* no such thing, or it is another tenant's */
    RESULT_CONFLICT,       /* version or unique key does not match */
    RESULT_INVALID,        /* the input is wrong; trying again cannot help */
    RESULT_TOO_BIG,        /* over a stated cap */
    RESULT_UNAVAILABLE,    /* Redis, store or peer is away: outcome unknown */
    RESULT_TIMEOUT,        /* the caller's deadline passed */
    RESULT_MEMORY,         /* out of memory */
    RESULT_INTERNAL        /* a bug or a corrupt file; logged where found */
};

/* "not found" ..., for logs. */
const char *result_text(enum result r);

#endif /* RESULT_H */
