/*
 * Events from Redis: entries of config.events_stream with one field, "event",
 * whose value is the JSON that POST /events takes.  Part of the dispatch stage.
 * At least once from the stream, once as an event: without a key of its own an
 * entry is known by its id and content.  It also lets events be mended.
 */

#ifndef INTAKE_H
#define INTAKE_H

#include "event.h"

struct intake;

/* WAKE is called when deliveries were queued that TAKER did not take. */
must_check enum result intake_start(const struct config *c, struct store *s,
    struct routes *routes, const struct secret *secret,
    void (*wake)(void *arg), void *arg, const struct event_taker *taker,
    struct event_counters *counters, struct intake **out);
void intake_stop(struct intake *i);

struct intake_stats {
    uint64_t  accepted, dead, mended;
    int64_t   lag, pending;                /* -1: Redis did not say */
};

void intake_stats(struct intake *i, struct intake_stats *out);

#endif /* INTAKE_H */
