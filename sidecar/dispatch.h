/*
 * The dispatch stage: claims due deliveries under a lease, sends them, decides
 * with retry.c what follows, and reconciles the due queue with the store.
 */

#ifndef DISPATCH_H
#define DISPATCH_H

#include "config.h"
#include "limiter.h"
#include "routes.h"
#include "secret.h"
#include "store.h"

struct dispatch;

must_check enum result dispatch_start(const struct config *c, struct store *s,
    struct routes *routes, const struct secret *secret, struct dispatch **out,
    char *err, size_t errlen);
/* Claims nothing more, lets what is in flight finish, gives the rest back. */
void dispatch_stop(struct dispatch *d);

/* New work was added here: claim at once. */
void dispatch_wake(struct dispatch *d);

/*
 * A delivery that is about to be written here: true when it goes at once, and
 * not by the queue.  LOG is leased then, and dispatch_take must follow; KEPT:
 * it was written so.  While something waits, what is new waits behind it.
 */
bool dispatch_offer(struct dispatch *d, struct logdoc *log);
void dispatch_take(struct dispatch *d, const struct logdoc *log, bool kept);

struct dispatch_stats {
    uint64_t  claimed, delivered, retried, failed, rejected, late, given_back;
    uint64_t  reconciled, held_lanes, given_up;
    int64_t   in_flight, held, breakers_open;
    int64_t   due, overdue;                /* in the queue of all dispatchers;
                                              LOGDOC_NONE: not known */
    int64_t   last_us;
};

void dispatch_stats(struct dispatch *d, struct dispatch_stats *out);

/* Calls EACH for every integration that this process had deliveries for. */
void dispatch_each(struct dispatch *d,
    void (*each)(void *arg, const struct limiter_state *s), void *arg);

#endif /* DISPATCH_H */
