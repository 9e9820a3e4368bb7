/*
 * The items of a job, RETRY_CHUNK together: what is to be sent again, as which
 * log, and what became of it.
 */

#ifndef RETRY_ITEMS_H
#define RETRY_ITEMS_H

#include "resend.h"
#include "retry_doc.h"

enum retry_state { RETRY_WAITING, RETRY_SENT, RETRY_SUCCEEDED, RETRY_FAILED,
                   RETRY_SKIPPED, RETRY_CANCELLED, RETRY_STATES };

/* "waiting" ..; -1: unknown */
const char *retry_state_text(enum retry_state s);
int retry_state_parse(struct slice s);

struct retry_item {
    uint8_t           log[UUID_BYTES];     /* the original */
    uint8_t           copy[UUID_BYTES];    /* null: none is planned yet */
    enum retry_state  state;
    char              why[32];             /* skipped: reason; failed: code */
    char              endpoint[128];
    int64_t           sent_us;             /* NONE */
    int64_t           check_us;            /* not kept: when to look */
};

struct retry_items {
    struct retry_items  *next;
    int64_t              n;                /* number of the chunk */
    struct retry_doc     doc;
    size_t               count;
    struct retry_item    item[RETRY_CHUNK];
};

/*
 * Chunk N of the job.  Without a document of its own it is read from the plan,
 * all waiting (doc.version 0).  NOT_FOUND: neither is there.
 */
must_check enum result retry_items_get(struct store *s, const char *job,
    const char *plan, int64_t n, struct retry_items **out);
must_check enum result retry_items_put(struct store *s,
    struct retry_items *c);
void retry_items_free(struct retry_items *c);

#endif /* RETRY_ITEMS_H */
