/*
 * Events in: checked, made idempotent, routed, filtered, transformed, and kept
 * as PENDING logs before they are accepted.
 */

#ifndef EVENT_H
#define EVENT_H

#include <stdatomic.h>

#include "config.h"
#include "due.h"
#include "jq_child.h"
#include "routes.h"

struct events;                             /* one a thread that accepts */

must_check enum result events_create(const struct config *c, struct store *s,
    struct routes *routes, const struct secret *secret, struct events **out);
void events_destroy(struct events *e);

/*
 * A dispatcher in this process, which may send a new delivery at once.  OFFER,
 * before it is written: true when it will be taken, with token and lease set.
 * TAKE, after: KEPT when it is durable.
 */
struct event_taker {
    bool (*offer)(void *arg, struct logdoc *d);
    void (*take)(void *arg, const struct logdoc *d, bool kept);
    void  *arg;
};

void events_taker(struct events *e, const struct event_taker *taker);

/* Why an event is refused. */
enum event_reason { EVENT_INVALID, EVENT_UNKNOWN, EVENT_TOO_BIG,
                    EVENT_KEY_REUSED, EVENT_UNAVAILABLE, EVENT_INTERNAL,
                    EVENT_REASONS };

const char *event_reason_text(enum event_reason r);

/* What became of events; several acceptors may count into one. */
struct event_counters {
    _Atomic uint64_t  accepted, repeated;  /* repeated: by idempotency */
    _Atomic uint64_t  unrouted;            /* accepted, and nobody wants it */
    _Atomic uint64_t  deliveries;
    _Atomic uint64_t  refused[EVENT_REASONS];
};

/* They outlive E; NULL: nobody counts. */
void events_count(struct events *e, struct event_counters *counters);

struct event_caller {
    struct scope  scope;
    struct slice  id;                      /* namespace of idempotency keys */
    struct slice  key;                     /* of events without one, or "" */
    struct slice  only;                    /* integration; "": all */
};

struct event_accepted {
    char      event_id[UUID_TEXT + 1];
    char    (*log_ids)[UUID_TEXT + 1];     /* in the arena */
    size_t    nlogs;
    bool      repeated;                    /* the first answer again */
    bool      queued;                      /* a dispatcher must look for it */
};

struct event_fault {
    char      pointer[128];
    char      code[32];
    char      detail[256];
};

/*
 * One event as JSON text {action_id, lab_id, refs, payload, idempotency_key?,
 * priority?, deliver_at?}; the payload keeps its exact bytes.  RESULT_OK: event
 * and logs are durable.  RESULT_INVALID: *fault.  RESULT_CONFLICT: the key was
 * used with another body.  RESULT_UNAVAILABLE: nothing was accepted for
 * certain; the same call again is harmless with a key.
 */
must_check enum result event_accept(struct events *e,
    const struct event_caller *caller, struct slice json, struct arena *a,
    struct event_accepted *out, struct event_fault *fault);

/*
 * The mender: events that were planned before BEFORE and whose logs are
 * missing are completed.  Each event is looked at once by all instances; ALL
 * (at a start) goes back a little further.  *mended counts.
 */
must_check enum result events_mend(struct events *e, int64_t before_us,
    bool all, unsigned *mended);

/* Puts open logs into the due queue (ended ones out) and tells who watches. */
void events_queue(struct events *e, const struct logdoc *logs, size_t n);

/* The child that runs programs, for whoever shares the thread. */
struct jq_child *events_jq(struct events *e);

#endif /* EVENT_H */
