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

#define DISPATCH_BATCH  128                /* claims and finishes at once */

/* One claimed delivery on its way through a transport; a batch is one too. */
struct delivery {
    struct limiter_wait        wait;       /* first: what waits is this */
    struct delivery           *next;
    struct dispatch           *d;
    struct arena               arena;      /* of doc */
    struct logdoc              doc;        /* batch: with the array as body */
    struct logdoc             *members;    /* of a batch, else NULL */
    size_t                     nmembers;
    int64_t                    since_us;   /* first due: its age */
    struct routes_pin         *pin;
    const struct integration  *integration;
    struct integration        *direct;     /* made for this one, or NULL */
    struct send               *send;       /* NULL: nothing was sent */
    struct delivery           *own_next, *own_prev;      /* of dispatch.owned */
    bool                       owned;      /* it is in that list */
    int64_t                    renew_us;   /* its lease, monotonic */
    /* nothing was sent: what to do with it */
    bool                       give_back;  /* due again at back_us */
    int64_t                    back_us;
    const char                *code;       /* else it FAILs with this */
    char                       why[256];
    bool                       cancel;     /* CANCELLED with it */
};

struct dispatch {
    const struct config  *config;
    struct store         *store;
    struct routes        *routes;
    const struct secret  *secret;
    struct netguard       guard;
    struct limiter       *limits;
    struct transport     *http, *mllp;

    pthread_t             claimer, finisher, keeper, listener;
    bool                  claimer_runs, finisher_runs, keeper_runs,
                          listener_runs;
    struct redis         *claim_redis, *finish_redis, *keep_redis,
                         *listen_redis;

    pthread_mutex_t       lock;            /* of what follows */
    pthread_cond_t        work;            /* the finisher's */
    pthread_cond_t        room;            /* the claimer's */
    pthread_cond_t        keep;            /* the keeper's */
    pthread_cond_t        listen;          /* the listener's */
    struct delivery      *done, **done_tail;
    struct delivery      *handed, **handed_tail;     /* to the claimer */
    struct delivery      *owned;           /* sent or waiting for a slot */
    bool                  idle;            /* nothing due was left behind */
    bool                  starved;         /* the claimer waits for room */
    int64_t               in_flight;       /* claimed and not yet settled */
    bool                  woken;
    bool                  sweep;           /* the keeper: look at all now */
    bool                  stopping;        /* claim nothing more */
    bool                  ending;          /* the finisher: drain and leave */

    _Atomic int64_t       offset_us;       /* Redis' time - ours */
    unsigned              calls;           /* of due_take */
    int64_t               next_us;         /* when the next is due, or NONE */

    _Atomic uint64_t      claimed, delivered, retried, failed, rejected, late,
                          given_back, reconciled, held_lanes, given_up;
    _Atomic int64_t       last_us;
    _Atomic int64_t       due, overdue;    /* of the queue; NONE: not known */
};

/* Wall time by Redis' clock, so that all instances agree on what is due. */
int64_t dispatch_now(const struct dispatch *d);
uint32_t dispatch_random(void);

/* There is room or work for the claimer; any thread. */
void dispatch_signal(struct dispatch *d);

/* Hands a delivery to the finisher; any thread. */
void dispatch_done(struct dispatch *d, struct delivery *x);
void dispatch_give_back(struct delivery *x, int64_t at_us);

/* To its transport; it is counted in flight. */
void dispatch_submit(struct delivery *x);

/* What waits for a slot or is sent for longer than a part of its lease keeps
 * it: another attempt beside it would be one too many.  From here on, until
 * dispatch_done. */
void dispatch_own(struct delivery *x);
void dispatch_disown(struct delivery *x);  /* lock held */
void dispatch_renew(struct dispatch *d);
/* Nobody renews while we stop: once, for as long as that may take. */
void dispatch_renew_last(struct dispatch *d);
int64_t dispatch_renew_tick(const struct dispatch *d);

/* How many more fit, lock held; and what is kept of it for destinations that
 * do not have much in hand already. */
int64_t dispatch_room(const struct dispatch *d);
int64_t dispatch_reserve(const struct dispatch *d);

/* What was handed over and not yet begun, to be given up or begun. */
struct delivery *dispatch_handed(struct dispatch *d);

/* The keeper looks at everything that is open soon: something was disabled,
 * deleted or changed. */
void dispatch_sweep(struct dispatch *d);

bool dispatch_stops(struct dispatch *d);

/* Waits on COND, lock held, for US at most. */
void dispatch_wait(struct dispatch *d, pthread_cond_t *cond, int64_t us);

void *dispatch_claim_run(void *arg);
void *dispatch_finish_run(void *arg);
void *dispatch_keep_run(void *arg);
void *dispatch_listen_run(void *arg);

struct delivery *delivery_create(struct dispatch *d);
void delivery_destroy(struct delivery *x);

#endif /* DISPATCH_PRIVATE_H */
