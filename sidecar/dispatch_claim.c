/*
 * The claimer: takes what is due, claims it in the store under a lease, and
 * hands it to a transport, or lets it wait for a free slot.  Nothing in it
 * waits for an endpoint or for one delivery's store call.
 */

#include "dispatch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "direct.h"
#include "log.h"

#define AWAY_US       INT64_C(200000)      /* Redis or store: ask again */
#define RESERVE_STEP  16
#define IDLE_LEAST_US  INT64_C(10000)      /* put off: in handfuls */

/* One round: what was taken from the queue and what the store said of it. */
struct round {
    struct dispatch    *d;
    struct due_item     items[DISPATCH_BATCH];
    size_t              n;
    struct store_claim  claims[DISPATCH_BATCH];
    struct due_item     moved[DISPATCH_BATCH], gone[DISPATCH_BATCH];
    size_t              nmoved, ngone;
    struct arena        arena;             /* of claims */
    int64_t             now_us, lease_us;
};


static int64_t
free_room(struct dispatch *d)
{
    int64_t  left;

    pthread_mutex_lock(&d->lock);
    left = dispatch_room(d);
    pthread_mutex_unlock(&d->lock);

    return left;
}


/* -- one delivery -------------------------------------------------------- */

static void
fail_unsent(struct delivery *x, const char *code, const char *why)
{
    x->code = code;
    (void) snprintf(x->why, sizeof(x->why), "%s", why);
    dispatch_done(x->d, x);
}


/* A delivery to its own URL. */
static bool
find_direct(struct delivery *x, int64_t now_us)
{
    struct dispatch  *d = x->d;
    const char       *why = "it cannot be read";
    enum result       r;

    r = direct_load(d->store, d->config, d->secret, &x->doc, &x->direct, &why);
    x->integration = x->direct;

    if (r == RESULT_INVALID) {
        fail_unsent(x, "config", why);

    } else if (r != RESULT_OK) {
        dispatch_give_back(x, now_us + AWAY_US);

    } else if (now_us - x->since_us > x->integration->schedule.max_age_us) {
        fail_unsent(x, "exhausted", "it could not be sent within its age");
        r = RESULT_TIMEOUT;
    }

    return r == RESULT_OK;
}


/* True when its integration is there and lets it go now. */
static bool
find_integration(struct delivery *x, int64_t now_us)
{
    struct dispatch  *d = x->d;
    bool              held = false;
    enum result       r;

    if (direct_is(&x->doc)) {
        return find_direct(x, now_us);
    }

    r = routes_get(d->routes, x->doc.integration_id, &x->pin, &x->integration,
        &held);

    if (r == RESULT_NOT_FOUND || (r == RESULT_OK && x->integration->gone)) {
        x->cancel = true;
        fail_unsent(x, r == RESULT_OK ? "gone" : "integration_deleted",
            r == RESULT_OK ? "the endpoint answered 410 to another delivery"
                           : "its integration was deleted");
        return false;
    }

    if (r != RESULT_OK) {
        dispatch_give_back(x, now_us + AWAY_US);
        return false;
    }

    limiter_note(d->limits, x->doc.id, x->doc.integration_id);

    /* however it was held, it ends by its age */
    if (now_us - x->since_us > x->integration->schedule.max_age_us) {
        fail_unsent(x, "exhausted", "it could not be sent within its age");
        return false;
    }

    if (held) {
        dispatch_give_back(x, now_us + d->config->dispatch_probe_us);
    }

    return !held;
}


static void
deliver(struct delivery *x, int64_t now_us)
{
    struct dispatch  *d = x->d;
    const char       *why = NULL;
    int64_t           until, room = free_room(d);
    enum result       r;

    if (!find_integration(x, now_us)) {
        return;
    }

    until = limiter_held(d->limits, x->integration->id, room, room
        - dispatch_reserve(d), now_us, dispatch_random());

    if (until != 0) {
        dispatch_give_back(x, until);
        return;
    }

    r = integration_send(x->integration, d->secret, &x->doc, &x->send, &why);

    if (r != RESULT_OK) {
        fail_unsent(x, "config", why == NULL ? result_text(r) : why);
        return;
    }

    dispatch_own(x);

    switch (limiter_enter(d->limits, d->claim_redis, x->integration, &x->wait,
        room, room - dispatch_reserve(d), now_us, dispatch_random(), &until))
    {
    case LIMITER_GO:
        dispatch_submit(x);
        break;

    case LIMITER_WAIT:
        break;                             /* it may be gone already */

    case LIMITER_LATER:
        send_destroy(x->send);
        x->send = NULL;
        dispatch_give_back(x, until);
        break;
    }
}


/* -- batches ------------------------------------------------------------- */

/* The members' bodies as one JSON array. */
static bool
join_members(struct delivery *x)
{
    struct buf  b;
    bool        ok;

    buf_init(&b, SEND_MAX_BODY);
    (void) buf_adds(&b, "[");

    for (size_t i = 0; i < x->nmembers; i++) {
        (void) buf_adds(&b, i == 0 ? "" : ",");
        (void) buf_add(&b, x->members[i].request.data.p,
            x->members[i].request.data.n);
    }

    (void) buf_adds(&b, "]");
    x->doc.request.data = arena_copy(&x->arena, (struct slice) { b.p, b.n });
    ok = !b.failed && x->doc.request.data.p != NULL;
    buf_cleanup(&b);
    return ok;
}


/* X was claimed as one member: the others are fetched. */
static enum result
fetch_members(struct delivery *x)
{
    uint8_t      id[UUID_BYTES];
    enum result  r;

    r = uuid_parse(x->doc.batch_id, id);
    r = r != RESULT_OK ? r : store_batch_get(x->d->store, id, x->doc.token,
        &x->arena, &x->members, &x->nmembers);

    if (r != RESULT_OK || x->nmembers == 0) {
        x->members = NULL;
        return r == RESULT_OK ? RESULT_NOT_FOUND : r;
    }

    x->doc.message_id = x->doc.batch_id;
    return join_members(x) ? RESULT_OK : RESULT_TOO_BIG;
}


static void
take_claim(struct round *r, const struct store_claim *claim)
{
    struct delivery  *x = delivery_create(r->d);
    enum result       result;

    /* its lease will end and another try comes */
    if (x == NULL || logdoc_copy(&x->doc, &claim->doc, &x->arena)
        != RESULT_OK)
    {
        delivery_destroy(x);
        return;
    }

    x->since_us = claim->since_us == 0 ? x->doc.started_us : claim->since_us;

    pthread_mutex_lock(&r->d->lock);
    r->d->in_flight++;
    pthread_mutex_unlock(&r->d->lock);
    atomic_fetch_add(&r->d->claimed, 1);

    if (x->doc.batch_id.n > 0) {
        result = fetch_members(x);

        if (result == RESULT_TOO_BIG) {
            fail_unsent(x, "config", "the batch is longer than 1 MB");
            return;
        }

        if (result != RESULT_OK) {
            dispatch_give_back(x, r->now_us + AWAY_US);
            return;
        }
    }

    deliver(x, r->now_us);
}


/* Claims the batch that was just closed by one of its members. */
static enum result
claim_batch(struct round *r, const struct store_batch *b)
{
    struct store_claim  *claim = calloc(1, sizeof(*claim));
    enum result          result;

    if (claim == NULL) {
        return RESULT_MEMORY;
    }

    memcpy(claim->id, b->first, UUID_BYTES);
    result = store_claim(r->d->store, r->now_us, r->lease_us, &r->arena,
        claim, 1);

    if (result == RESULT_OK && claim->claimed) {
        take_claim(r, claim);
    }

    free(claim);
    return result;
}


/* Closes what may be closed of a lane; *due_us: when to ask again. */
static enum result
form_batches(struct round *r, const struct integration *i, struct slice lane,
    int64_t *due_us)
{
    struct store_batch  b = { .lane = lane, .ordered = i->ordered,
        .size = (unsigned) i->batch_size, .bytes = SEND_MAX_BODY,
        .now_us = r->now_us };
    enum result         result;

    do {
        *due_us = r->now_us + AWAY_US;

        if (free_room(r->d) == 0) {
            return RESULT_OK;
        }

        uuid_make(b.id, clock_wall_us());
        result = store_batch_close(r->d->store, &b);

        if (result == RESULT_OK && b.closed) {
            result = claim_batch(r, &b);
        }
    } while (result == RESULT_OK && b.closed);

    /* nothing waits, or the batch before has to end first */
    *due_us = result != RESULT_OK ? r->now_us + AWAY_US
              : b.due_us == LOGDOC_NONE ? r->lease_us : b.due_us;
    return result;
}


/* Each lane once, whatever number of its deliveries was taken. */
static void
form_lanes(struct round *r)
{
    const struct integration  *integration;
    struct routes_pin         *pin;
    struct slice               lane;
    int64_t                    due;
    bool                       held;

    for (size_t i = 0; i < r->n; i++) {
        if (!r->claims[i].forming) {
            continue;
        }

        lane = r->claims[i].lane;
        due = r->now_us + r->d->config->dispatch_probe_us;

        if (routes_get(r->d->routes, lane, &pin, &integration, &held)
            == RESULT_OK)
        {
            /* what is held and too old is closed to be given up */
            held = held && r->now_us - uuid_time_us(r->items[i].id)
                           < integration->schedule.max_age_us;

            if (!held && form_batches(r, integration, lane, &due)
                != RESULT_OK)
            {
                log_rate(LOG_WARN, "dispatch", "a batch could not be closed; "
                    "its members wait");
            }

            routes_release(pin);
        }

        for (size_t j = i; j < r->n; j++) {
            if (r->claims[j].forming && slice_eq(r->claims[j].lane, lane)) {
                r->claims[j].forming = false;
                r->moved[r->nmoved] = r->items[j];
                r->moved[r->nmoved++].due_us = due;
            }
        }
    }
}


/* -- claiming ------------------------------------------------------------ */

/* What is known to be held goes back without asking the store; what is too
 * old is looked at all the same. */
static int64_t
known_hold(struct dispatch *d, const struct due_item *item, int64_t now_us)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    char                       id[64];
    bool                       held = false, wait = false;
    int64_t                    room = free_room(d);

    if (!limiter_noted(d->limits, item->id, id)
        || routes_get(d->routes, slice_of(id), &pin, &i, &held)
               != RESULT_OK)
    {
        return 0;
    }

    wait = now_us - uuid_time_us(item->id) < i->schedule.max_age_us;
    held = held && wait && !i->gone;
    routes_release(pin);

    return held ? now_us + d->config->dispatch_probe_us
           : !wait ? 0 : limiter_held(d->limits, slice_of(id), room,
                 room - dispatch_reserve(d), now_us, dispatch_random());
}


static void
skip_held(struct round *r)
{
    int64_t  until;
    size_t   kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        until = known_hold(r->d, &r->items[i], r->now_us);

        if (until == 0) {
            r->items[kept++] = r->items[i];

        } else {
            r->moved[r->nmoved] = r->items[i];
            r->moved[r->nmoved++].due_us = until;
        }
    }

    r->n = kept;
}


/* Claimed ones stay due at the end of their lease, and those behind another
 * of their lane too: whoever ends that one makes them due. */
static void
sort_claims(struct round *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct store_claim  *c = &r->claims[i];

        if (c->claimed || c->forming || c->behind) {
            continue;
        }

        if (c->due_us == LOGDOC_NONE) {
            r->gone[r->ngone++] = r->items[i];

        } else {
            r->moved[r->nmoved] = r->items[i];
            r->moved[r->nmoved++].due_us = c->due_us;
        }
    }
}


static void
write_queue(struct round *r)
{
    enum result  moved = RESULT_OK, gone = RESULT_OK;
    int64_t     *next = &r->d->next_us;

    for (size_t i = 0; i < r->nmoved; i++) {
        if (*next == LOGDOC_NONE || r->moved[i].due_us < *next) {
            *next = r->moved[i].due_us;
        }
    }

    if (r->nmoved > 0) {
        moved = due_add(r->d->claim_redis, r->moved, r->nmoved, false);
    }

    if (r->ngone > 0) {
        gone = due_remove(r->d->claim_redis, r->gone, r->ngone);
    }

    if (moved != RESULT_OK || gone != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "the due queue could not be written; "
            "the reconciler will mend it");
    }

    r->nmoved = r->ngone = 0;
}


static enum result
claim(struct round *r)
{
    enum result  result;

    memset(r->claims, 0, r->n * sizeof(r->claims[0]));

    for (size_t i = 0; i < r->n; i++) {
        memcpy(r->claims[i].id, r->items[i].id, UUID_BYTES);
    }

    result = store_claim(r->d->store, r->now_us, r->lease_us, &r->arena,
        r->claims, r->n);

    if (result != RESULT_OK) {
        /* nothing is known: they are due again, if only after their lease */
        memcpy(r->moved, r->items, r->n * sizeof(r->items[0]));
        r->nmoved = r->n;
        return result;
    }

    for (size_t i = 0; i < r->n; i++) {
        if (r->claims[i].claimed) {
            take_claim(r, &r->claims[i]);
        }
    }

    sort_claims(r);
    form_lanes(r);
    return RESULT_OK;
}


/* Claims once; *more when it was a full batch. */
static enum result
claim_due(struct round *r, size_t room, bool *more)
{
    struct dispatch  *d = r->d;
    size_t            kept = (size_t) dispatch_reserve(d), max;
    enum result       result;

    /* into the reserve only by small steps: it is for others */
    max = room > kept + RESERVE_STEP ? room - kept
          : room < RESERVE_STEP ? room : RESERVE_STEP;
    max = max < DISPATCH_BATCH ? max : DISPATCH_BATCH;

    r->now_us = dispatch_now(d);
    r->lease_us = r->now_us + d->config->dispatch_lease_us;
    r->nmoved = r->ngone = 0;

    result = due_take(d->claim_redis, r->now_us, r->lease_us, &d->calls,
        r->items, max, &r->n, &d->next_us);

    if (result != RESULT_OK) {
        return result;
    }

    *more = r->n == max;
    skip_held(r);
    write_queue(r);

    if (r->n > 0) {
        arena_init(&r->arena, (size_t) DISPATCH_BATCH * 2 * 1024 * 1024);
        result = claim(r);
        arena_cleanup(&r->arena);
        write_queue(r);
    }

    return result;
}


/* -- the thread ---------------------------------------------------------- */

/* How long nothing will be due. */
static int64_t
idle_time(const struct dispatch *d)
{
    int64_t  left, most = d->config->dispatch_poll_us;

    if (d->next_us == LOGDOC_NONE) {
        return most;
    }

    left = d->next_us - dispatch_now(d);
    return left < IDLE_LEAST_US ? IDLE_LEAST_US : left > most ? most : left;
}


/* What was accepted here and is leased already. */
static void
begin_handed(struct dispatch *d)
{
    struct delivery  *list = dispatch_handed(d), *x;
    int64_t           now = dispatch_now(d);

    while ((x = list) != NULL) {
        list = x->next;
        x->next = NULL;
        deliver(x, now);
    }
}


/* Room at the moment; none: the finisher wakes us when there is some. */
static int64_t
room_or_starve(struct dispatch *d)
{
    int64_t  room;

    pthread_mutex_lock(&d->lock);
    room = dispatch_room(d);
    d->starved = room == 0;
    pthread_mutex_unlock(&d->lock);

    return room;
}


/* Looks into the queue; how long it need not do so again. */
static int64_t
claim_step(struct round *r)
{
    struct dispatch  *d = r->d;
    bool              more = false;
    int64_t           pause = 0, room = room_or_starve(d);
    enum result       result = RESULT_OK;

    if (room > 0) {
        result = claim_due(r, (size_t) room, &more);
        atomic_store(&d->last_us, clock_wall_us());
    }

    if (result != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "claiming: %s; deliveries wait",
            result_text(result));
        pause = AWAY_US;

    } else if (!more) {
        pause = room == 0 ? d->config->dispatch_poll_us : idle_time(d);
    }

    pthread_mutex_lock(&d->lock);
    d->idle = room > 0 && result == RESULT_OK && !more;
    pthread_mutex_unlock(&d->lock);

    return pause;
}


/* Waits for work; true when it is time to look into the queue. */
static bool
claim_wait(struct dispatch *d, int64_t look_us)
{
    int64_t  left;
    bool     look;

    pthread_mutex_lock(&d->lock);
    left = look_us - clock_mono_us();

    if (left > 0 && !d->woken && !d->stopping && d->handed == NULL) {
        dispatch_wait(d, &d->room, left);
        left = look_us - clock_mono_us();
    }

    look = d->woken || left <= 0;
    d->woken = d->woken && !look;
    pthread_mutex_unlock(&d->lock);

    return look;
}


void *
dispatch_claim_run(void *arg)
{
    struct round  *r = calloc(1, sizeof(*r));
    int64_t        look_us = 0;

    if (r == NULL) {
        log_write(LOG_ERROR, "dispatch", "out of memory: nothing is claimed");
        return NULL;
    }

    r->d = arg;

    while (!dispatch_stops(r->d)) {
        begin_handed(r->d);

        if (claim_wait(r->d, look_us)) {
            look_us = clock_mono_us();
            look_us += claim_step(r);
        }
    }

    free(r);
    return NULL;
}
