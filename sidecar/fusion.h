/*
 * Items as the task queue Fusion takes them, for task 4 (webhook): checked all
 * before any is queued, mapped to a delivery to their own URL, kept as event
 * and PENDING log like any other.
 */

#ifndef FUSION_H
#define FUSION_H

#include "event.h"

#define FUSION_MAX_ITEMS   1000
#define FUSION_MAX_FAULTS  50
#define FUSION_MAX_RETRY   10

struct fusion_fault {
    size_t  index;
    char    field[64];
    char    message[200];
};

/* Whose calls these are; lives for one call. */
struct fusion_call {
    const struct config  *config;
    struct store         *store;
    const struct secret  *secret;
    struct events        *events;
    struct redis         *redis;
    struct arena         *arena;
    struct slice          developer_id;
    int64_t               org_id;

    struct fusion_fault   faults[FUSION_MAX_FAULTS];
    size_t                nfaults;
    struct fusion_fault   warnings[FUSION_MAX_FAULTS];
    size_t                nwarnings;
    uint8_t             (*jobs)[UUID_BYTES];   /* in the arena */
    size_t                njobs;
};

/*
 * BODY is the text of an array of items; SCHEDULED: each has deliver_at.
 * RESULT_INVALID: c->faults, nothing was queued.  RESULT_OK: c->jobs, one an
 * item, all durable.
 */
must_check enum result fusion_queue(struct fusion_call *c, struct slice body,
    bool scheduled);

/* An ended job goes out anew, as a new one. */
must_check enum result fusion_again(struct fusion_call *c,
    const struct logdoc *of, int64_t due_us, uint8_t id[UUID_BYTES]);

/* What a crash left without its log: the document of an event with "fusion". */
must_check enum result fusion_complete(struct events *e,
    const json_t *doc, struct arena *a);

/* Notes a fault; always RESULT_INVALID. */
enum result fusion_wrong(struct fusion_call *c, size_t index,
    const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* FUSION_H */
