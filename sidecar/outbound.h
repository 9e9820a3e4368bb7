/*
 * What the API and the dispatch stage need to accept events: the routes, and
 * as many acceptors as there are threads that accept at once.
 */

#ifndef OUTBOUND_H
#define OUTBOUND_H

#include "event.h"
#include "intake.h"

struct outbound;

must_check enum result outbound_create(const struct config *c,
    struct store *s, const struct secret *secret, unsigned acceptors,
    struct outbound **out);
void outbound_destroy(struct outbound *o);

struct routes *outbound_routes(struct outbound *o);

/* Waits for a free acceptor; give it back soon. */
struct events *outbound_take(struct outbound *o);
void outbound_give(struct outbound *o, struct events *e);

/* Who must look at the queue when something was accepted here; may be NULL. */
void outbound_on_work(struct outbound *o, void (*wake)(void *arg), void *arg);
void outbound_work(struct outbound *o);

/* What all that accept in this process count. */
struct event_counters *outbound_counters(struct outbound *o);
/* Who reads events from Redis here; stats of none: false. */
void outbound_intake(struct outbound *o, struct intake *i);
bool outbound_intake_stats(struct outbound *o, struct intake_stats *out);

/* Before anything is accepted. */
void outbound_taker(struct outbound *o, const struct event_taker *taker);

#endif /* OUTBOUND_H */
