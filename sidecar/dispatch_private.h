/*
 * What the files of the dispatch stage share: the claimer, the finisher and
 * the deliveries between them.
 */

#ifndef DISPATCH_PRIVATE_H
#define DISPATCH_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "due.h"
#include "limiter.h"
#include "routes.h"

#define DISPATCH_BATCH  64                 /* claims and finishes at once */

/* One claimed delivery on its way through a transport. */
struct delivery {
    struct delivery           *next;
    struct dispatch           *d;
    struct arena               arena;      /* of doc */
    struct logdoc              doc;
    struct routes_pin         *pin;
    const struct integration  *integration;
    struct send               *send;       /* NULL: nothing was sent */
    bool                       entered;    /* counted in limits */
    /* without a send: what to do with it */
    bool                       give_back;  /* due again at back_us */
    int64_t                    back_us;
    const char                *code;       /* else it FAILs with this */
    char                       why[256];
    bool                       cancel;     /* its integration is gone */
};

struct dispatch {
    const struct config  *config;
    struct store         *store;
    struct routes        *routes;
    const struct secret  *secret;
    struct netguard       guard;
    struct limiter        *limits;
    struct transport     *http, *mllp;

    pthread_t             claimer, finisher;
    bool                  claimer_runs, finisher_runs;
    struct redis         *claim_redis, *finish_redis;

    pthread_mutex_t       lock;            /* of what follows */
    pthread_cond_t        work;            /* the finisher's */
    pthread_cond_t        room;            /* the claimer's */
    struct delivery      *done, **done_tail;
    int64_t               in_flight;
    bool                  woken;
    bool                  stopping;        /* claim nothing more */
    bool                  ending;          /* the finisher: drain and leave */

    _Atomic int64_t       offset_us;       /* Redis' time - ours */
    unsigned              calls;           /* of due_peek */
    int64_t               reconcile_us, sample_us;

    _Atomic uint64_t      claimed, delivered, retried, failed, rejected, late,
                          given_back, reconciled;
    _Atomic int64_t       last_us;
};

/* Wall time by Redis' clock, so that all instances agree on what is due. */
int64_t dispatch_now(const struct dispatch *d);
uint32_t dispatch_random(void);

/* There is room or work for the claimer; any thread. */
void dispatch_signal(struct dispatch *d);

/* Hands a delivery to the finisher; any thread. */
void dispatch_done(struct dispatch *d, struct delivery *x);

void *dispatch_claim_run(void *arg);
void *dispatch_finish_run(void *arg);

struct delivery *delivery_create(struct dispatch *d);
void delivery_destroy(struct delivery *x);

#endif /* DISPATCH_PRIVATE_H */
