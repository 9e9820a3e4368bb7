/*
 * An answer of Redis (RESP 2) taken apart where it lies: no copy of a value, no
 * allocation an element.  For answers with a hundred thousand elements, where
 * objects of hiredis are half of the time of reading them.  Bounded by the
 * bytes that came, whatever they claim.
 */

#ifndef RESP_H
#define RESP_H

#include "buf.h"

#define RESP_DEPTH  8                      /* arrays in arrays */

enum resp_type {
    RESP_STRING,
    RESP_ARRAY,                            /* its elements follow it */
    RESP_NIL,                              /* of both kinds */
    RESP_INTEGER,                          /* its digits */
    RESP_STATUS,
    RESP_ERROR
};

struct resp_item {
    uint32_t        at;                    /* in the bytes; they may move */
    uint32_t        n;                     /* bytes, or elements of an array */
    enum resp_type  type;
};

struct resp {
    struct buf         bytes;
    struct resp_item  *items;              /* in the order that they came */
    size_t             nitems, room;
    size_t             at;                 /* bytes that are taken apart */
    uint32_t           left[RESP_DEPTH];   /* elements that are due */
    unsigned           depth;
};

/* MAX: bytes of an answer.  Emptied by resp_reset, which keeps the memory. */
void resp_init(struct resp *r, size_t max);
void resp_cleanup(struct resp *r);
void resp_reset(struct resp *r, size_t max);

/*
 * Takes apart what came since the last call.  OK: the answer is whole, and
 * r->at its length; AGAIN: more of it is due; INVALID: it is no RESP 2, or too
 * deep; MEMORY.
 */
must_check enum result resp_parse(struct resp *r);

/* The bytes of an item that is no array. */
static inline struct slice
resp_text(const struct resp *r, const struct resp_item *i)
{
    return (struct slice) { r->bytes.p + i->at, i->n };
}

#endif /* RESP_H */
