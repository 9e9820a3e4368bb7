/*
 * What the files of event_*.c share: one event on its way in.
 */

#ifndef EVENT_PRIVATE_H
#define EVENT_PRIVATE_H

#include <jansson.h>

#include "event.h"
#include "redis.h"

#define EVENT_MAX             (2 * 1024 * 1024)
#define EVENT_MAX_DELIVERIES  256          /* of one event */
#define EVENT_MAX_AHEAD_US    (INT64_C(366) * 86400 * 1000000)

struct events {
    const struct config  *config;
    struct store         *store;
    struct routes        *routes;
    struct redis         *redis;
    struct jq_child      *jq;
    struct event_taker    taker;           /* offer NULL: there is none */
    struct event_counters *counters;       /* or NULL */
};

/* One event being accepted. */
struct accepting {
    struct events              *e;
    const struct event_caller  *caller;
    struct arena               *a;
    struct event_fault         *fault;
    json_t                     *root;
    struct slice                json, payload;     /* exact bytes */
    int64_t                     action_id, lab_id, org_id, category_id;
    int64_t                     priority, deliver_us, now_us;
    struct slice                key;
    uint8_t                     digest[32];
    uint8_t                     id[UUID_BYTES];
    char                        id_text[UUID_TEXT + 1];
    struct logdoc              *logs;
    size_t                      nlogs;
    bool                        queued;    /* some wait in the queue */
};

/* Checks the text and fills X; RESULT_INVALID: x->fault. */
must_check enum result event_check(struct accepting *x);

/* Fills *x->fault; always RESULT_INVALID. */
enum result event_wrong(struct accepting *x, const char *pointer,
    const char *code, const char *detail);

/* RFC 3339 or Unix seconds, within a year of NOW; not before it. */
must_check enum result event_time(const json_t *v, int64_t now_us,
    int64_t *out, const char **code, const char **why);

/*
 * Writes what is missing of an event that was planned: PLAN is its document or
 * that of its key.  The logs get the ids that were promised, so that this is
 * harmless when they are there, or being written elsewhere at the same time.
 */
must_check enum result event_complete(struct accepting *x,
    const json_t *plan);

/* Is a log of the plan not there? */
must_check enum result event_logs_missing(struct events *e,
    const json_t *plan, struct arena *a, bool *missing);

#endif /* EVENT_PRIVATE_H */
