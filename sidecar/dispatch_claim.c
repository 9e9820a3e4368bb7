/*
 * The claimer: takes what is due, claims it in the store under a lease, and
 * hands it to a transport.  It also samples Redis' clock and puts back into
 * the queue what the store knows to be due and the queue has lost.
 */

#include "dispatch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"

#define SAMPLE_US     (INT64_C(10) * 1000000)
#define IDLE_US       (INT64_C(1) * 1000000)
#define AWAY_US       INT64_C(200000)      /* Redis or store: ask again */
#define HELD_US       (INT64_C(30) * 1000000)
#define ORDER_US      (INT64_C(5) * 1000000)
#define OVERDUE_US    (INT64_C(120) * 1000000)
#define RECONCILE_PAGE  1000


/* -- time ---------------------------------------------------------------- */

static void
sample_clock(struct dispatch *d)
{
    const char  *argv[] = { "TIME" };
    redisReply  *reply;
    int64_t      now = clock_wall_us(), theirs;

    if (redis_context(d->claim_redis) == NULL) {
        return;
    }

    reply = redis_argv(d->claim_redis, 1, argv, NULL);

    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == 2 && reply->element[0]->str != NULL
        && reply->element[1]->str != NULL)
    {
        theirs = strtoll(reply->element[0]->str, NULL, 10) * 1000000
                 + strtoll(reply->element[1]->str, NULL, 10);

        /* half the round trip has passed since they looked */
        atomic_store(&d->offset_us,
            theirs - (now + (clock_wall_us() - now) / 2));
    }

    freeReplyObject(reply);
    d->sample_us = clock_mono_us();
}


/* -- the reconciler ------------------------------------------------------ */

/* Everything open goes back; NX leaves alone what is still there. */
static enum result
reconcile_page(struct dispatch *d, struct store_due *page, size_t n)
{
    struct due_item  *items;
    enum result       r;

    items = malloc(n * sizeof(*items));
    if (items == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < n; i++) {
        memcpy(items[i].id, page[i].id, UUID_BYTES);
        items[i].due_us = page[i].due_us;
        items[i].priority = page[i].priority;
    }

    r = due_add(d->claim_redis, items, n, true);
    free(items);
    return r;
}


static void
reconcile(struct dispatch *d, bool all)
{
    struct arena       a;
    struct store_due  *page;
    uint8_t            after_id[UUID_BYTES] = { 0 };
    int64_t            after = INT64_MIN + 1, before;
    size_t             n;
    enum result        r;

    /* at the start everything, later only what nobody has looked at */
    before = all ? INT64_MAX : dispatch_now(d) - OVERDUE_US;
    arena_init(&a, 4 * 1024 * 1024);

    do {
        arena_reset(&a);
        n = 0;
        r = store_due(d->store, before, after, after_id, RECONCILE_PAGE, &a,
            &page, &n);

        if (r == RESULT_OK && n > 0) {
            r = reconcile_page(d, page, n);
            after = page[n - 1].due_us;
            memcpy(after_id, page[n - 1].id, UUID_BYTES);
            atomic_fetch_add(&d->reconciled, n);
        }
    } while (r == RESULT_OK && n == RECONCILE_PAGE && !d->stopping);

    arena_cleanup(&a);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "reconciling the due queue: %s",
            result_text(r));
        return;
    }

    d->reconcile_us = clock_mono_us();
}


/* -- one delivery -------------------------------------------------------- */

static void
give_back(struct delivery *x, int64_t at_us)
{
    x->give_back = true;
    x->back_us = at_us;
    dispatch_done(x->d, x);
}


/* Is an older delivery of the same destination (and key) still open? */
static bool
is_behind(struct dispatch *d, const struct delivery *x)
{
    struct filter      f;
    struct scope       all = { .platform = true };
    struct store_page  page = { .limit = 1, .ascending = true };
    struct store_rows  rows;
    struct arena       a;
    bool               behind;

    filter_init(&f, &all);
    f.terms[f.nterms++] = (struct filter_term) {
        .field = FILTER_INTEGRATION, .op = FILTER_EQ,
        .text = x->integration->id };
    f.terms[f.nterms++] = (struct filter_term) {
        .field = FILTER_STATUS, .op = FILTER_EQ, .num = LOG_PENDING };
    f.terms[f.nterms++] = (struct filter_term) {
        .field = FILTER_STATUS, .op = FILTER_EQ, .num = LOG_RETRYING };
    page.deadline_us = clock_mono_us() + 2000000;

    arena_init(&a, 1024 * 1024);
    behind = store_logs_find(d->store, &f, &page, &a, &rows) != RESULT_OK
             || (rows.n > 0
                 && memcmp(rows.rows[0].id, x->doc.id, UUID_BYTES) < 0);
    arena_cleanup(&a);
    return behind;
}


static void
deliver(struct dispatch *d, struct delivery *x, int64_t now_us)
{
    const char   *why = NULL;
    bool          held = false;
    int64_t       until;
    enum result   r;

    r = routes_get(d->routes, x->doc.integration_id, &x->pin, &x->integration,
        &held);

    if (r == RESULT_NOT_FOUND) {
        x->cancel = true;
        x->code = "integration_deleted";
        dispatch_done(d, x);
        return;
    }

    if (r != RESULT_OK) {
        give_back(x, now_us + AWAY_US);
        return;
    }

    limiter_note(d->limits, x->doc.id, x->doc.integration_id);

    if (held) {
        give_back(x, now_us + HELD_US);
        return;
    }

    if (x->integration->ordered && is_behind(d, x)) {
        give_back(x, now_us + ORDER_US);
        return;
    }

    until = limiter_enter(d->limits, d->claim_redis, x->integration, now_us,
        dispatch_random());
    if (until != 0) {
        give_back(x, until);
        return;
    }

    x->entered = true;
    r = integration_send(x->integration, d->secret, &x->doc, &x->send, &why);

    if (r != RESULT_OK) {
        x->code = "config";
        (void) snprintf(x->why, sizeof(x->why), "%s",
            why == NULL ? result_text(r) : why);
        dispatch_done(d, x);
        return;
    }

    x->send->owner = x;

    if (x->integration->transport == INTEGRATION_MLLP) {
        transport_mllp.submit(d->mllp, x->send);
    } else {
        transport_http.submit(d->http, x->send);
    }
}


/* -- claiming ------------------------------------------------------------ */

/* What is known to be held is moved without asking the store. */
static size_t
skip_held(struct dispatch *d, struct due_item *items, size_t n, int64_t now_us)
{
    struct due_item  held[DISPATCH_BATCH];
    char             id[64];
    int64_t          until;
    size_t           kept = 0, nheld = 0;

    for (size_t i = 0; i < n; i++) {
        until = limiter_noted(d->limits, items[i].id, id)
                    ? limiter_held(d->limits, slice_of(id), now_us) : 0;

        if (until == 0) {
            items[kept++] = items[i];

        } else {
            held[nheld] = items[i];
            held[nheld].due_us = until;
            nheld++;
        }
    }

    if (nheld > 0 && due_add(d->claim_redis, held, nheld, false) != RESULT_OK)
    {
        log_rate(LOG_WARN, "dispatch", "held deliveries could not be moved");
    }

    return kept;
}


/* The claimed stay in the queue until their lease ends: a crash makes them due
 * again.  The others go where the store says. */
static void
queue_after_claim(struct dispatch *d, const struct due_item *items,
    const struct store_claim *claims, size_t n, int64_t lease_until_us)
{
    struct due_item  moved[DISPATCH_BATCH], gone[DISPATCH_BATCH];
    size_t           nmoved = 0, ngone = 0;

    for (size_t i = 0; i < n; i++) {
        if (claims[i].claimed || claims[i].due_us != LOGDOC_NONE) {
            moved[nmoved] = items[i];
            moved[nmoved++].due_us = claims[i].claimed ? lease_until_us
                                                       : claims[i].due_us;
        } else {
            gone[ngone++] = items[i];
        }
    }

    if ((nmoved > 0
            && due_add(d->claim_redis, moved, nmoved, false) != RESULT_OK)
        || (ngone > 0
            && due_remove(d->claim_redis, gone, ngone) != RESULT_OK))
    {
        log_rate(LOG_WARN, "dispatch", "the due queue could not be written; "
            "the reconciler will mend it");
    }
}


static enum result
claim(struct dispatch *d, const struct due_item *items, size_t n,
    int64_t now_us)
{
    struct store_claim   claims[DISPATCH_BATCH];
    struct delivery     *x;
    struct arena         a;
    int64_t              lease = now_us + d->config->dispatch_lease_us;
    enum result          r;

    memset(claims, 0, sizeof(claims));

    for (size_t i = 0; i < n; i++) {
        memcpy(claims[i].id, items[i].id, UUID_BYTES);
    }

    arena_init(&a, (size_t) DISPATCH_BATCH * 2 * 1024 * 1024);
    r = store_claim(d->store, now_us, lease, &a, claims, n);

    if (r != RESULT_OK) {
        arena_cleanup(&a);
        return r;
    }

    queue_after_claim(d, items, claims, n, lease);

    for (size_t i = 0; i < n; i++) {
        if (!claims[i].claimed) {
            continue;
        }

        x = delivery_create(d);

        /* its lease will end and another try comes */
        if (x == NULL || logdoc_copy(&x->doc, &claims[i].doc, &x->arena)
            != RESULT_OK)
        {
            delivery_destroy(x);
            continue;
        }

        pthread_mutex_lock(&d->lock);
        d->in_flight++;
        pthread_mutex_unlock(&d->lock);
        atomic_fetch_add(&d->claimed, 1);
        deliver(d, x, now_us);
    }

    arena_cleanup(&a);
    return RESULT_OK;
}


/* Claims once; *more when it was a full batch. */
static enum result
claim_due(struct dispatch *d, size_t room, bool *more)
{
    struct due_item  items[DISPATCH_BATCH];
    int64_t          now = dispatch_now(d);
    size_t           n, max;
    enum result      r;

    max = room < DISPATCH_BATCH ? room : DISPATCH_BATCH;
    r = due_peek(d->claim_redis, now, &d->calls, items, max, &n);

    if (r != RESULT_OK) {
        return r;
    }

    *more = n == max;
    n = skip_held(d, items, n, now);
    return n == 0 ? RESULT_OK : claim(d, items, n, now);
}


/* -- the thread ---------------------------------------------------------- */

static void
wait_until(struct dispatch *d, int64_t us)
{
    struct timespec  ts;
    int64_t          at = clock_mono_us() + us;

    ts.tv_sec = (time_t) (at / 1000000);
    ts.tv_nsec = (long) (at % 1000000) * 1000;

    if (!d->woken && !d->stopping) {
        (void) pthread_cond_timedwait(&d->room, &d->lock, &ts);
    }

    d->woken = false;
}


static size_t
room_left(struct dispatch *d)
{
    int64_t  left = d->config->dispatch_in_flight - d->in_flight;

    return left < 0 ? 0 : (size_t) left;
}


/* How long nothing will be due. */
static int64_t
idle_time(struct dispatch *d)
{
    int64_t  due, left;

    if (due_next(d->claim_redis, &due) != RESULT_OK) {
        return AWAY_US;
    }

    if (due == LOGDOC_NONE) {
        return IDLE_US;
    }

    left = due - dispatch_now(d);
    return left < 1000 ? 1000 : left > IDLE_US ? IDLE_US : left;
}


static void
claim_step(struct dispatch *d, bool first)
{
    bool         more = false;
    size_t       room;
    int64_t      pause = 0;
    enum result  r = RESULT_OK;

    if (first || clock_mono_us() - d->sample_us > SAMPLE_US) {
        sample_clock(d);
    }

    if (first || d->reconcile_us == 0 || clock_mono_us() - d->reconcile_us
                                         > d->config->dispatch_reconcile_us)
    {
        reconcile(d, d->reconcile_us == 0);
    }

    pthread_mutex_lock(&d->lock);
    room = room_left(d);
    pthread_mutex_unlock(&d->lock);

    if (room > 0) {
        r = claim_due(d, room, &more);
        atomic_store(&d->last_us, clock_wall_us());
    }

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "claiming: %s; deliveries wait",
            result_text(r));
        pause = AWAY_US;

    } else if (!more) {
        pause = room == 0 ? IDLE_US : idle_time(d);
    }

    if (pause > 0) {
        pthread_mutex_lock(&d->lock);
        wait_until(d, pause);
        pthread_mutex_unlock(&d->lock);
    }
}


void *
dispatch_claim_run(void *arg)
{
    struct dispatch  *d = arg;
    bool              first = true, stopping;

    for ( ;; ) {
        pthread_mutex_lock(&d->lock);
        stopping = d->stopping;
        pthread_mutex_unlock(&d->lock);

        if (stopping) {
            return NULL;
        }

        claim_step(d, first);
        first = false;
    }
}
